"""``make reproduce``: run the notebooks of a profile, each unless its last run is still current."""

import argparse
import ast
import fcntl
import hashlib
import json
import logging
import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nbformat
from nbclient.exceptions import DeadKernelError
from papermill import PapermillExecutionError, execute_notebook
from papermill.clientwrap import PapermillNotebookClient
from papermill.engines import Engine, papermill_engines

from data_prep.io import inputs
from experiments import results
from experiments.display import Display, clock
from experiments.notebook import read_profile
from lla.common.errors import InputError, run_main
from lla.common.files import file_hash
from lla.common.threads import default_threads

CODE = Path(__file__).resolve().parents[1]


READS_LLA_DATA = ("medium", "paper")


@dataclass(frozen=True)
class Step:
    """One notebook of a profile.

    Attributes
    ----------
    parameters : what papermill puts in place of the notebook's own
    settings : of models, which the notebook reads from the profile's file (`notebook.settings`)
    """

    profile: str
    name: str
    parameters: dict[str, Any]
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def source(self) -> Path:
        """The notebook as committed."""
        return results.NOTEBOOKS / f"{self.name}.ipynb"

    @property
    def output(self) -> Path:
        """The executed copy."""
        return results.profile_dir(self.profile) / "notebooks" / f"{self.name}.ipynb"

    @property
    def stamp(self) -> Path:
        """Fingerprint and result hashes of the last finished run."""
        return self.output.with_suffix(".stamp.json")

    @property
    def results(self) -> list[Path]:
        """Its result files: named like the notebook without its number, or beginning so."""
        name, folder = self.name.split("_", 1)[-1], results.profile_dir(self.profile)
        return sorted((*folder.glob(f"{name}.json"), *folder.glob(f"{name}_*.json")))

    def result_hashes(self) -> dict[str, str]:
        """SHA-256 of each result file."""
        return {file.name: file_hash(file) for file in self.results}

    @property
    def seconds_before(self) -> float:
        """How long an earlier run took, here or where the result was made; 0 if not known."""
        seconds = [_read_json(file).get("seconds") for file in self.results]
        return float(sum(s for s in seconds if isinstance(s, (int, float))))


def load_steps(profile: str) -> tuple[Step, ...]:
    """Read ``experiments/configs/PROFILE.yaml`` and check it against the notebooks it names.

    Returns
    -------
    tuple of Step
        In the order of the notebooks' file names.

    Raises
    ------
    InputError
        For an unknown profile, broken YAML, a missing notebook, a parameter no notebook has, or
        text where the notebook has a number.
    """
    config, label = read_profile(profile), f"experiments/configs/{profile}.yaml"
    return tuple(_step(profile, label, name, config[name]) for name in sorted(config, key=str))


def _step(profile: str, label: str, name: Any, block: Any) -> Step:
    if block is not None and not isinstance(block, dict):
        raise InputError(f"{label}: {name} is {block!r}; give a mapping of parameters")
    block = block or {}
    parameters = {key: value for key, value in block.items() if not isinstance(value, dict)}
    settings = {key: value for key, value in block.items() if isinstance(value, dict)}
    step = Step(profile, str(name), parameters, settings)
    defaults = declared_parameters(step.source)
    if "profile" in defaults and parameters.setdefault("profile", profile) != profile:
        raise InputError(
            f"{label}: {name} has profile={parameters['profile']!r}; leave it out, it is "
            f"{profile!r} here"
        )
    for key, value in parameters.items():
        if key not in defaults:
            raise InputError(
                f"{label}: {name} has no parameter {key!r}; it has {', '.join(defaults) or 'none'}"
            )
        number = isinstance(defaults[key], (int, float)) and not isinstance(defaults[key], bool)
        if number and isinstance(value, str):
            raise InputError(
                f"{label}: {name}: {key}={value!r} is text to YAML; write a number, such as 1.0e-3"
            )
    return step


def declared_parameters(notebook: Path) -> dict[str, Any]:
    """Names assigned in the notebook's cell tagged ``parameters``, with their literal values.

    A name whose value is not a literal maps to ``None``.
    """
    source = "\n".join(c.source for c in read_cells(notebook) if is_tagged(c, "parameters"))
    try:
        body = ast.parse(source).body
    except SyntaxError as error:
        raise InputError(
            f"{notebook.name}: its parameters cell is not Python ({error}); correct it"
        ) from None
    found: dict[str, Any] = {}
    for node in body:
        if not isinstance(node, (ast.Assign, ast.AnnAssign)) or node.value is None:
            continue
        for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
            if isinstance(target, ast.Name):
                try:
                    found[target.id] = ast.literal_eval(node.value)
                except (ValueError, TypeError):
                    found[target.id] = None
    return found


def read_cells(notebook: Path) -> list[Any]:
    try:
        return nbformat.read(notebook, as_version=4).cells
    except FileNotFoundError:
        raise InputError(
            f"notebooks/{notebook.name}: no such file; add it or take it out of the profile"
        ) from None
    except (nbformat.reader.NotJSONError, nbformat.ValidationError, AttributeError):
        raise InputError(f"notebooks/{notebook.name}: not a notebook; restore it") from None


def is_tagged(cell: Any, tag: str) -> bool:
    return tag in cell.metadata.get("tags", ())


def fingerprints(steps: Sequence[Step]) -> dict[str, str]:
    """SHA-256 of everything that decides a step's result, the steps before it included.

    Cell sources, parameters, settings, the model's code, those modules of ``experiments`` that the
    notebook imports, the locked packages and, where a profile reads it, the names and sizes of the
    files in ``LLA_DATA``. The notebook's outputs and formatting do not count.
    """
    code = [*(CODE / "lla").rglob("*.py"), *(CODE / "data_prep").rglob("*.py")]
    found, previous = {}, _hash_of([*code, CODE / "requirements.lock"])
    for step in steps:
        data = inputs.data_dir() if step.profile in READS_LLA_DATA else None
        files = sorted(p for p in data.iterdir() if p.is_file()) if data else []
        cells = read_cells(step.source)
        parts = {
            "previous": previous,
            "cells": [cell.source for cell in cells],
            "experiments": _hash_of(imported_experiments(cells)),
            "parameters": step.parameters,
            "settings": step.settings,
            "data": [(file.name, file.stat().st_size) for file in files],
        }
        text = json.dumps(parts, sort_keys=True, default=str)
        found[step.name] = previous = hashlib.sha256(text.encode()).hexdigest()
    return found


def _hash_of(files: Sequence[Path]) -> str:
    """SHA-256 of names and contents of those files that exist."""
    digest = hashlib.sha256()
    for file in sorted(files):
        if file.is_file():
            digest.update(f"{file.relative_to(CODE)}\0".encode() + file.read_bytes() + b"\0")
    return digest.hexdigest()


def imported_experiments(cells: Sequence[Any]) -> list[Path]:
    """Files of ``experiments`` that a notebook's code imports, directly or through one another."""
    sources = [cell.source for cell in cells if cell.cell_type == "code"]
    found: dict[Path, None] = {}
    while sources:
        for name in _imports(sources.pop()):
            if name.split(".")[0] != "experiments":
                continue
            for file in (CODE.joinpath(*name.split(".")), CODE / "experiments" / "__init__"):
                file = file.with_suffix(".py")
                if file.is_file() and file not in found:
                    found[file] = None
                    sources.append(file.read_text(encoding="utf-8"))
    return list(found)


def _imports(source: str) -> set[str]:
    """Dotted names of what a piece of Python imports; none when it is no Python."""
    try:
        tree = ast.parse(source)
    except SyntaxError:
        return set()
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def up_to_date(step: Step, fingerprint: str) -> bool:
    """Whether the step's last run had this fingerprint and its result still stands as written."""
    stamp = _read_json(step.stamp)
    return (
        stamp.get("fingerprint") == fingerprint
        and bool(step.results)
        and stamp.get("result_sha256") == step.result_hashes()
    )


def _read_json(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


MAX_BLAS_THREADS = 8  # the matrices of these models are too small to feed more
KERNEL_START_SECONDS = 180
ONE_LINE_ERRORS = ("InputError", "NotRunYet")  # whose message says all


class StepFailed(Exception):
    """A notebook stopped with an error; the message is the one line to show."""


class LiveEngine(Engine):
    """Execute a notebook, show progress on the display, log kernel output to a file."""

    display: Display
    log: Path

    @classmethod
    def execute_managed_notebook(cls, nb_man: Any, kernel_name: str, **_: Any) -> Any:
        """Execute the cells; see `papermill.engines.Engine`."""
        start, cells = nb_man.cell_start, nb_man.nb.cells

        def cell_start(cell: Any, index: int, **more: Any) -> None:
            cls.display.start_cell(source_number(cells, index), source_number(cells, len(cells)))
            start(cell, index, **more)

        nb_man.cell_start = cell_start
        client = PapermillNotebookClient(
            nb_man, kernel_name=kernel_name, timeout=None, startup_timeout=KERNEL_START_SECONDS
        )
        with cls.log.open("w", encoding="utf-8") as log:
            return client.execute(stdout=log, stderr=log)


def source_number(cells: Sequence[Any], index: int) -> int:
    """Number, from 1, in the committed notebook of cell `index` of an executed copy."""
    return sum(not is_tagged(cell, "injected-parameters") for cell in cells[: index + 1])


def run_step(step: Step, fingerprint: str, display: Display) -> None:
    """Execute one notebook into a copy and, when its result is there, record the fingerprint."""
    step.output.parent.mkdir(parents=True, exist_ok=True)
    step.stamp.unlink(missing_ok=True)
    LiveEngine.display, LiveEngine.log = display, step.output.with_suffix(".log")
    display.start()
    try:
        execute_notebook(
            str(step.source),
            str(step.output),
            step.parameters,
            engine_name="lla",
            kernel_name="python3",
            language="python",
            progress_bar=False,
            cwd=str(results.NOTEBOOKS),
        )
    except PapermillExecutionError as error:
        last = (str(error.evalue).strip().splitlines() or [""])[-1]
        message = last if error.ename in ONE_LINE_ERRORS else f"{error.ename}: {last}"
        raise StepFailed(_failure(step, f"cell {display.cell[0]}", message)) from None
    except DeadKernelError:
        message = "the kernel died, probably out of memory; free some and run it again"
        raise StepFailed(_failure(step, f"cell {display.cell[0]}", message)) from None
    if not step.results:
        wanted = results.profile_dir(step.profile) / f"{step.name.split('_', 1)[-1]}.json"
        raise StepFailed(_failure(step, "end", f"it wrote no {_relative(wanted)}"))
    stamp = {"fingerprint": fingerprint, "result_sha256": step.result_hashes()}
    temporary = step.stamp.with_suffix(".tmp")
    temporary.write_text(json.dumps(stamp) + "\n", encoding="utf-8")
    temporary.replace(step.stamp)
    display.end()


def _failure(step: Step, where: str, message: str) -> str:
    return f"{step.name}, {where}: {message} (executed copy: {_relative(step.output)})"


def _relative(path: Path) -> str:
    return str(path.relative_to(results.ROOT))


def prepare_environment(loop_file: Path) -> None:
    """Set what the kernels inherit: this code, the data, no more threads than cores."""
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(variable, str(min(default_threads(), MAX_BLAS_THREADS)))
    if data := inputs.data_dir():
        os.environ["LLA_DATA"] = str(data)
    path = [str(CODE), *filter(None, [os.environ.get("PYTHONPATH")])]
    os.environ |= {
        "LLA_ROOT": str(results.ROOT),
        "LLA_PROGRESS": str(loop_file),
        "PYTHONPATH": os.pathsep.join(path),
        # The kernel of this interpreter, whatever kernels the user has elsewhere.
        "JUPYTER_PATH": str(Path(sys.prefix) / "share" / "jupyter"),
        "JUPYTER_PREFER_ENV_PATH": "1",
    }


@contextmanager
def only_run(profile: str) -> Iterator[None]:
    """Hold the profile's lock: two runs would write the same files."""
    with open(results.work_dir(profile) / ".lock", "w", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(
                f"profile {profile!r}: another run is in progress; wait for it or stop it"
            ) from None
        yield


@contextmanager
def stop_once() -> Iterator[None]:
    """Turn the first Ctrl-C or SIGTERM into `KeyboardInterrupt` and ignore further ones."""

    def stop(*_: Any) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def choose(steps: Sequence[Step], only: Sequence[str]) -> list[Step]:
    """The steps named in `only` by number or by name; all of them when it is empty."""
    for word in only:
        if not any(word in (step.name, step.name.split("_", 1)[0]) for step in steps):
            names = ", ".join(step.name for step in steps)
            raise InputError(f"--only {word}: no such notebook in this profile; it has {names}")
    return [s for s in steps if not only or {s.name, s.name.split("_", 1)[0]} & set(only)]


def reproduce(profile: str, only: Sequence[str] = (), force: bool = False) -> None:
    """Bring a profile's results up to date and print its table.

    Parameters
    ----------
    profile : str
        One of ``results.PROFILES``.
    only : sequence of str
        Notebooks to consider, by number or name; empty for all.
    force : bool
        Run them even if they are up to date; fits cached in the work folder are still used.

    Raises
    ------
    InputError
        For a profile, parameter or notebook that cannot be used.
    StepFailed
        When a notebook stops with an error.
    KeyboardInterrupt
        When the user stops it, with a line that says how to resume.
    """
    start = time.monotonic()
    steps = load_steps(profile)
    current = fingerprints(steps)
    with only_run(profile), stop_once():
        chosen = choose(steps, only)
        to_run = [s for s in chosen if force or not up_to_date(s, current[s.name])]
        loop_file = results.work_dir(profile) / "progress.json"
        prepare_environment(loop_file)
        papermill_engines.register("lla", LiveEngine)
        expected = {s.name: s.seconds_before for s in to_run}
        with Display([step.name for step in steps], expected, loop_file) as display:
            for step in chosen:
                if step not in to_run:
                    display.note(step.name, "up to date")
                    continue
                try:
                    run_step(step, current[step.name], display)
                except KeyboardInterrupt:
                    # The kernel's client would add that its task was never waited for.
                    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
                    raise KeyboardInterrupt(
                        f"stopped in {step.name}; the same command resumes from its last checkpoint"
                    ) from None
        show_results(profile, steps, time.monotonic() - start)


def show_results(profile: str, steps: Sequence[Step], seconds: float) -> None:
    """Write the report, print the profile's table, the time and where the report lies."""
    missing = [step.name for step in steps if not step.results]
    if missing:
        print(f"\nNo table yet: {', '.join(missing)} has not run in this profile.")
    elif profile == "smoke":
        print("\nsmoke only shows that everything runs; its numbers are in no table.")
    else:
        from experiments.report import pages as report

        report.write_report()
        print(f"\n{report.headline_table(profile)}")
        print(f"\nThe report: {_relative(results.ROOT / 'REPRODUCIBILITY.md')}")
    print(f"{clock(seconds)} in total.")


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m experiments.runner", description=__doc__)
    parser.add_argument("--profile", default="small", help=", ".join(results.PROFILES))
    parser.add_argument("--only", nargs="+", default=(), metavar="NN", help="these notebooks alone")
    parser.add_argument("--force", action="store_true", help="run them even if up to date")
    options = parser.parse_args(argv)
    try:
        reproduce(options.profile, options.only, options.force)
    except StepFailed as failure:
        print(f"error: {failure}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    run_main(main)
