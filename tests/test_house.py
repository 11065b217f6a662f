"""The house itself: one set of versions, the walls between the rooms, files one can read."""

import ast
import itertools
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]


def locked() -> dict[str, str]:
    """Package -> version, from the lines of the lock."""
    lines = (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
    found: dict[str, str] = {}
    for line in lines:
        if line.startswith("#"):
            continue
        match = re.fullmatch(r"([a-z0-9][a-z0-9-]*)==([0-9][\w.!]*)(?: ; .+)?", line)
        assert match, f"not NAME==VERSION [; marker]: {line!r}"
        assert match[1] not in found, f"{match[1]} is locked twice"
        found[match[1]] = match[2]
    return found


def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def declared() -> list[Requirement]:
    extras = project()["optional-dependencies"].values()
    return [Requirement(text) for text in (*project()["dependencies"], *itertools.chain(*extras))]


def test_every_declared_package_is_locked_at_a_version_it_allows():
    lock = locked()
    for requirement in declared():
        version = lock.get(canonicalize_name(requirement.name))
        assert version, f"{requirement.name} is not locked: make lock"
        assert requirement.specifier.contains(version), f"{requirement}, locked {version}"


def test_lock_is_closed_under_the_requirements_of_what_is_installed():
    """Every transitive package has its one version; only what CUDA builds of torch need is out."""
    from importlib import metadata

    lock, seen, queue = locked(), set(), [r.name for r in declared()]
    while queue:
        name = canonicalize_name(queue.pop())
        if name in seen or re.match(r"(nvidia|cuda)-|triton$", name):
            continue
        seen.add(name)
        assert name in lock, f"{name} is needed but not locked: make lock"
        assert metadata.version(name).split("+")[0] == lock[name], f"{name}: make setup"
        for text in metadata.requires(name) or ():
            requirement = Requirement(text)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                queue.append(requirement.name)


def test_torch_has_one_exact_version_and_its_cuda_parts_are_left_to_it():
    torch = next(r for r in declared() if r.name == "torch")
    assert [s.operator for s in torch.specifier] == ["=="]
    assert not [n for n in locked() if re.match(r"(nvidia|cuda)-|triton$", n)]


def test_lock_and_environment_name_no_address():
    for name in ("requirements.lock", "environment.yml", "pyproject.toml", "Makefile"):
        text = (ROOT / name).read_text(encoding="utf-8")
        assert not re.search(r"https?://|file://|--(extra-)?index[a-z-]* |--find-links", text), name


def test_conda_users_get_the_lock_and_a_python_the_project_allows():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    *conda, pip = environment["dependencies"]
    assert pip == {"pip": ["--requirement requirements.lock", "--editable ."]}
    python = next(text for text in conda if text.startswith("python="))
    lowest = project()["requires-python"].removeprefix(">=")
    assert python == f"python={lowest}"
    # Whatever else conda installed would be a second source of versions.
    assert [text for text in conda if text != python] == ["pip"]


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


# Who may import whom, a row per place; a place may also import itself.
MODELS = {"common", "corpus", "evaluate", "inference", "lda", "lstm", "samplers", "topics"}
ALLOWED = {
    "lla.common": set(),
    "lla.samplers": {"common"},
    "lla.lstm": {"common"},
    "lla.corpus": {"common"},
    "lla.evaluate": {"common", "corpus"},
    "lla.topics": {"common", "corpus"},
    "lla.lda": {"common", "corpus", "evaluate", "samplers"},
    "lla.inference": {"common", "corpus", "lstm", "samplers"},
    "lla.model": MODELS,
    "lla.sem": MODELS | {"model"},
    "lla.peers": MODELS | {"model", "sem"},
    "data_prep": {"common", "corpus", "samplers"},
}


def files_of(place: str) -> list[Path]:
    path = ROOT / place.replace(".", "/")
    return sorted(path.rglob("*.py")) if path.is_dir() else [path.with_suffix(".py")]


def imported_places(file: Path) -> set[str]:
    """Files and folders directly under ``lla`` that a file imports."""
    parts = [name.split(".") for name in imports(file)]
    return {p[1] for p in parts if p[0] == "lla" and len(p) > 1} & {
        path.stem for path in (ROOT / "lla").iterdir()
    }


@pytest.mark.parametrize("place", ALLOWED)
def test_who_imports_whom(place):
    for file in files_of(place):
        others = imported_places(file) - {place.removeprefix("lla.")}
        assert others <= ALLOWED[place], file.relative_to(ROOT)


def test_every_place_has_its_row():
    places = {f"lla.{p.stem}" for p in (ROOT / "lla").iterdir() if p.name[0] not in "_."}
    assert places - {"lla.py"} == {*ALLOWED} - {"data_prep"}


def test_the_library_and_data_prep_know_no_experiment():
    for place in ("lla", "data_prep"):
        for file in (ROOT / place).rglob("*.py"):
            tops = {name.split(".")[0] for name in imports(file)}
            assert not tops & {"experiments", "tests", "benchmarks"}, file.relative_to(ROOT)
            if place == "lla":
                assert "data_prep" not in tops, file.relative_to(ROOT)


# Families share training code and nothing else.
SHARED_BY_PEERS = {"training", "sequence"}


def test_no_peer_imports_another():
    for file in (ROOT / "lla" / "peers").rglob("*.py"):
        parts = [name.split(".") for name in imports(file)]
        others = {p[2] for p in parts if p[:2] == ["lla", "peers"] and len(p) > 2}
        assert others - {file.stem, file.parent.name} <= SHARED_BY_PEERS, file.name


NO_TORCH = ["lla", "lla.lda", *(f"lla.samplers.{p.stem}" for p in files_of("lla.samplers"))]


@pytest.mark.parametrize(
    ("banned", "modules"),
    [("torch", NO_TORCH), ("numba", ["lla", "lla.lstm"])],
    ids=["samplers and LDA load no Torch", "the LSTM loads no Numba"],
)
def test_what_a_fresh_process_loads(banned, modules):
    """Also through whatever these import."""
    code = f"import sys, {', '.join(modules)}; sys.exit({banned!r} in sys.modules)"
    command = [sys.executable, "-c", code.replace(".__init__", "")]
    assert subprocess.run(command, cwd=ROOT).returncode == 0


def make(*arguments: str) -> str:
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "MFLAGS"))}
    command = ["make", "--no-print-directory", "-C", str(ROOT), *arguments]
    return subprocess.run(
        command, check=True, capture_output=True, text=True, env=environment
    ).stdout


def test_help_is_the_default_and_lists_every_target():
    text = make()
    assert text == make("help")
    phony = re.search(r"^\.PHONY: (.+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)[1].split()
    assert re.findall(r"^  make ([a-z]+) +\S", text, re.MULTILINE) == phony


def test_warnings_are_errors_here():
    """The setting all other tests rely on."""
    import warnings

    with pytest.raises(UserWarning, match="loud"):
        warnings.warn("loud", stacklevel=1)


def test_a_python_that_cannot_serve_is_refused_in_one_line(tmp_path):
    """The set-up says what is wrong before it makes anything."""
    (tmp_path / ".ci").mkdir()
    for name in (".ci/setup", "requirements.lock", "pyproject.toml"):
        (tmp_path / name).write_text((ROOT / name).read_text())
    old = tmp_path / "python3.9"
    # An interpreter that says it is 3.9 and that 3.11 is more; one as Debian has it, without venv.
    old.write_text('#!/bin/sh\ncase "$2" in *print*) echo 3.9.2;; *) exit 1;; esac\n')
    bare = tmp_path / "python3.12"
    bare.write_text('#!/bin/sh\ncase "$2" in *venv*) exit 1;; *) echo 3.12.0;; esac\n')
    for file in (old, bare):
        file.chmod(0o755)
    for python, words in (
        (old, "is Python 3.9.2: 3.11 or newer"),
        (bare, "apt install python3-venv"),
        ("no-such-python", "not found"),
    ):
        run = subprocess.run(
            ["bash", str(tmp_path / ".ci/setup")],
            env={"PATH": os.environ["PATH"], "PYTHON": str(python), "CHOSEN_PYTHON": str(python)},
            capture_output=True,
            text=True,
        )
        assert run.returncode == 2
        assert run.stderr.startswith("error: ") and run.stderr.count("\n") == 1
        assert words in run.stderr
        assert not (tmp_path / ".venv").exists()


def test_a_current_set_up_is_left_alone_and_a_changed_lock_is_not(tmp_path):
    """The stamp is a copy of what .venv was made of, so times of files do not matter."""
    (tmp_path / ".ci").mkdir()
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    ingredients = ("requirements.lock", "pyproject.toml", ".ci/setup")
    for name in ingredients:
        (tmp_path / name).write_text((ROOT / name).read_text())
    made_of = "".join((tmp_path / name).read_text() for name in ingredients)
    (tmp_path / ".venv" / ".ready").write_text(f"{tmp_path}\n{made_of}")

    def setup() -> subprocess.CompletedProcess:
        python = "no-such-python"
        environment = {"PATH": os.environ["PATH"], "PYTHON": python, "CHOSEN_PYTHON": python}
        command = ["bash", str(tmp_path / ".ci/setup")]
        return subprocess.run(command, env=environment, capture_output=True, text=True)

    current = setup()
    assert (current.returncode, current.stdout, current.stderr) == (0, "", "")
    (tmp_path / "requirements.lock").write_text("numpy==1.0\n")
    assert setup().returncode == 2


def test_without_a_choice_the_first_python_that_serves_is_taken(tmp_path):
    """Too old a python3, as macOS has it, does not stop one who also has a newer one."""
    (tmp_path / ".ci").mkdir()
    for name in (".ci/setup", "requirements.lock", "pyproject.toml"):
        (tmp_path / name).write_text((ROOT / name).read_text())
    folder = tmp_path / "bin"
    folder.mkdir()
    serves = 'case "$2" in *print*) echo 3.12.4;; venv) exit 1;; esac\n'
    for name, body in {"python3": "exit 1", "python3.13": "exit 1", "python3.12": serves}.items():
        (folder / name).write_text(f"#!/bin/sh\n{body}\n")
        (folder / name).chmod(0o755)
    run = subprocess.run(
        ["bash", str(tmp_path / ".ci/setup")],
        env={"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
    )
    assert run.stdout == "[1/3] .venv with Python 3.12.4\n"
    assert run.returncode == 2 and "python3.12 -m venv .venv did not work" in run.stderr
