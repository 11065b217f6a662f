"""Who may import whom."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def imports(file: Path) -> set[str]:
    """Dotted names of all modules a file imports, at its top or inside a function."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file.name}: write imports in full"
            found.add(node.module)
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


# Who may import whom, a row per place; a place may also import itself. A file that may import more
# than the rest of its folder has a row of its own, and is then no part of the folder.
MODELS = {"common", "corpus", "evaluate", "inference", "lda", "lstm", "samplers", "topics"}
ALLOWED = {
    "lla.common": set(),
    "lla.samplers": {"common"},
    "lla.lstm": {"common"},
    "lla.corpus": {"common"},
    "lla.evaluate": {"common", "corpus"},
    "lla.topics": {"common", "corpus"},
    "lla.lda": {"common", "corpus", "evaluate", "samplers", "topics"},
    "lla.inference": {"common", "corpus", "lstm", "samplers"},
    "lla.model": MODELS,
    "lla.sem": MODELS | {"model"},
    "lla.model.estimator": MODELS | {"model", "sem"},
    "lla.peers": MODELS | {"model", "sem"},
    "lla.command": MODELS | {"model", "sem", "peers"},
    "lla.__main__": {"command", "common"},
    "data_prep": {"common", "corpus", "samplers"},
}


def files_of(place: str) -> list[Path]:
    path = ROOT / place.replace(".", "/")
    return sorted(path.rglob("*.py")) if path.is_dir() else [path.with_suffix(".py")]


def place_of(module: str) -> str | None:
    """The row of a module: its own, else that of its folder; None without one."""
    rows = [row for row in ALLOWED if f"{module}.".startswith(f"{row}.")]
    return max(rows, key=len, default=None)


def own_files(place: str) -> list[Path]:
    """The files of a row, without those that have one of their own."""
    names = {file: file.relative_to(ROOT).with_suffix("") for file in files_of(place)}
    return [file for file, name in names.items() if place_of(".".join(name.parts)) == place]


@pytest.mark.parametrize("place", ALLOWED)
def test_who_imports_whom(place):
    files = own_files(place)
    assert files
    for file in files:
        places = {place_of(name) for name in imports(file)} - {place, None}
        assert {name.removeprefix("lla.") for name in places} <= ALLOWED[place], file


def test_every_place_has_its_row():
    places = {f"lla.{p.stem}" for p in (ROOT / "lla").iterdir() if p.name[0] not in "_."}
    rows = {row for row in ALLOWED if row.count(".") == 1}
    assert places - {"lla.py"} == rows - {"lla.__main__"}


def test_the_library_and_data_prep_know_no_experiment():
    for place in ("lla", "data_prep"):
        for file in (ROOT / place).rglob("*.py"):
            tops = {name.split(".")[0] for name in imports(file)}
            assert not tops & {"experiments", "tests", "benchmarks"}, file.relative_to(ROOT)
            if place == "lla":
                assert "data_prep" not in tops, file.relative_to(ROOT)


def test_kernels_are_compiled_in_one_place():
    """Where Numba's own `njit` stood, a place without a cache would be an error."""
    for place in ("lla", "data_prep"):
        for file in (ROOT / place).rglob("*.py"):
            if file != ROOT / "lla" / "common" / "compile.py":
                assert "numba" not in {name.split(".")[0] for name in imports(file)}, file


# Families share training code and nothing else.
SHARED_BY_PEERS = {"training", "sequence", "iterations", "bags"}


def test_no_peer_imports_another():
    for file in (ROOT / "lla" / "peers").rglob("*.py"):
        parts = [name.split(".") for name in imports(file)]
        others = {p[2] for p in parts if p[:2] == ["lla", "peers"] and len(p) > 2}
        own = {file.stem, f"{file.stem}_kernels", file.parent.name}
        assert others - own <= SHARED_BY_PEERS, file.name


NO_TORCH = ["lla", "lla.lda", *(f"lla.samplers.{p.stem}" for p in files_of("lla.samplers"))]
NO_TORCH += ["lla.lstm", "lla.inference.config", "lla.command.options", "lla.command.settings"]
NO_NUMBA = ["lla", *(f"lla.lstm.{p.stem}" for p in files_of("lla.lstm"))]


@pytest.mark.parametrize(
    ("banned", "modules"),
    [("torch", NO_TORCH), ("numba", NO_NUMBA)],
    ids=["samplers, LDA and configurations load no Torch", "the LSTM loads no Numba"],
)
def test_what_a_fresh_process_loads(banned, modules):
    """Also through whatever these import."""
    code = f"import sys, {', '.join(modules)}; sys.exit({banned!r} in sys.modules)"
    command = [sys.executable, "-c", code.replace(".__init__", "")]
    assert subprocess.run(command, cwd=ROOT).returncode == 0


def test_importing_lla_loads_nothing_heavy():
    """So `import lla` takes no more than a moment; names are loaded when they are first used."""
    heavy = {"gensim", "numba", "numpy", "pandas", "safetensors", "scipy", "sklearn", "torch"}
    heavy |= {"tqdm"}
    code = "import sys, lla; lla.__version__; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert not heavy & set(done.stdout.split())
