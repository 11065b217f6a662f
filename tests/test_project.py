"""The project around the code: locked versions, set-up, make, packaging, CI."""

import itertools
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import lla

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


def test_an_environment_that_is_a_link_is_refused_and_left_as_it_is(tmp_path):
    """`python -m venv --clear` would empty the folder that it leads to."""
    checkout, shared = tmp_path / "checkout", tmp_path / "shared"
    (checkout / ".ci").mkdir(parents=True)
    for name in (".ci/setup", "requirements.lock", "pyproject.toml"):
        (checkout / name).write_text((ROOT / name).read_text())
    (shared / "bin").mkdir(parents=True)
    (shared / ".ready").write_text("of another checkout\n")
    (checkout / ".venv").symlink_to(shared)
    run = subprocess.run(
        ["bash", str(checkout / ".ci/setup")],
        env={"PATH": os.environ["PATH"], "PYTHON": sys.executable},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 2 and run.stdout == ""
    assert run.stderr.startswith(f"error: .venv is a link to {shared}: remove the link, then")
    assert run.stderr.count("\n") == 1
    assert sorted(path.name for path in shared.iterdir()) == [".ready", "bin"]


def test_setup_is_skipped_when_current_and_repeated_when_the_lock_changes(tmp_path):
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


def test_a_wheel_holds_the_packages_with_their_data_and_imports(tmp_path):
    """Built from a copy, so that nothing is left in the working tree."""
    for name in ("lla", "data_prep", "experiments"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, tmp_path / "tree" / name, ignore=ignored)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path / "tree" / name)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "--quiet"]
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", str(tmp_path)]
    subprocess.run([*pip, *options, str(tmp_path / "tree")], check=True)
    (wheel,) = tmp_path.glob("*.whl")
    assert wheel.name == f"lla-{lla.__version__}-py3-none-any.whl"
    zipfile.ZipFile(wheel).extractall(tmp_path / "installed")
    expected = {
        file.relative_to(ROOT).as_posix()
        for name in ("lla", "data_prep", "experiments")
        for file in (ROOT / name).rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }
    found = {f.relative_to(tmp_path / "installed").as_posix()
             for f in (tmp_path / "installed").rglob("*") if f.is_file()}  # fmt: skip
    assert {name for name in found if ".dist-info/" not in name} == expected
    assert {"lla/py.typed", "experiments/configs/small.yaml"} <= expected
    # Isolated, so that the working tree is not on the path; from elsewhere, all the same.
    code = f"import sys; sys.path.insert(0, {str(tmp_path / 'installed')!r}); import lla; "
    code += "import lla.lda, data_prep; print(lla.__version__, lla.__file__)"
    command = [sys.executable, "-I", "-c", code]
    run = subprocess.run(command, check=True, capture_output=True, text=True, cwd=tmp_path)
    version, file = run.stdout.split()
    assert version == lla.__version__ and Path(file).is_relative_to(tmp_path)


def test_one_version_everywhere():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == lla.__version__


def test_ci_runs_make_test_on_both_systems_with_the_oldest_and_the_newest_python():
    text = (ROOT / ".github" / "workflows" / "test.yml").read_text(encoding="utf-8")
    job = yaml.safe_load(text)["jobs"]["test"]
    matrix = job["strategy"]["matrix"]
    assert {name.split("-")[0] for name in matrix["os"]} == {"ubuntu", "macos"}
    newest = re.search(r"for candidate in python3 python(3\.\d+)", (ROOT / ".ci/setup").read_text())
    assert matrix["python"] == [project()["requires-python"].removeprefix(">="), newest[1]]
    assert any(step.get("run", "").startswith("make test") for step in job["steps"])
    assert "secrets." not in text


def test_the_pre_commit_hooks_use_the_locked_ruff():
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    (ruff,) = hooks["repos"]
    assert ruff["rev"] == f"v{locked()['ruff']}"
    assert [hook["id"] for hook in ruff["hooks"]] == ["ruff-check", "ruff-format"]


def test_every_benchmark_is_run_by_make_bench():
    """All but the module that they share."""
    listed = re.search(r"^BENCHMARKS := (.+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    names = {file.stem for file in (ROOT / "benchmarks").glob("*.py")} - {"common"}
    assert set(listed[1].split()) == names
