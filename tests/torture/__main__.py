"""Kill trainings and notebooks at random moments, and read bad inputs: all must end well.

    python tests/torture --moments 200 --inputs 10000

A training that is stopped, starved of disk, spoilt or doubled must end bit-identical to one that
was not, or be refused in one line whose remedy helps; so must a run of notebooks that is stopped. A
bad input is read, or refused in one line: no traceback, no hang, no half-written file, no flood of
memory. It ends with 1 and prints each failure if anything else happened; a failure's number and the
seed repeat it (``--only 17``).
"""

import argparse
import logging
import os
import platform
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
# Before NumPy, Numba and Torch are loaded: a process with one thread can be forked.
for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_variable] = "1"
os.environ["NUMBA_NUM_THREADS"] = "1"
os.environ["LLA_PROGRESS"] = os.devnull
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "helpers")]


def run_faults(numbers: Sequence[int], seed: int, folder: Path) -> tuple[list[Any], int]:
    """Rows of the table by fault, and how many trials failed."""
    from faults import FAULTS, refer, run_trial
    from trainings import trainings

    print("trainings without a fault", file=sys.stderr)
    references = [refer(training, folder / "reference") for training in trainings()]
    found = []
    for number in watched(numbers, "trial"):
        trial = run_trial(number, seed, references, folder / "trial")
        found.append(trial)
        if trial.failure:
            what = f"trial {number}: {trial.fault}, {trial.training}, {trial.what}"
            print(f"{what}\n  {trial.failure}", file=sys.stderr)
    rows = []
    for fault in FAULTS:
        of_fault = [trial for trial in found if trial.fault == fault]
        rows.append(
            {
                "fault": fault,
                "moments": len(of_fault),
                "undisturbed": sum(not (t.resumed or t.refused or t.failure) for t in of_fault),
                "resumed": sum(t.resumed and not t.refused and not t.failure for t in of_fault),
                "refused": sum(t.refused and not t.failure for t in of_fault),
                "failures": sum(bool(t.failure) for t in of_fault),
            }
        )
    return rows, sum(bool(trial.failure) for trial in found)


def run_notebooks(numbers: Sequence[int], seed: int, folder: Path) -> tuple[list[Any], int]:
    """Rows of the table by signal, and how many trials failed."""
    from notebooks import committed, refer, run_trial

    print("notebooks without a fault", file=sys.stderr)
    project = committed(folder)
    wanted, seconds = refer(project)
    found = []
    for number in watched(numbers, "notebook run"):
        trial = run_trial(number, seed, project, wanted, seconds)
        found.append(trial)
        if trial.failure:
            what = f"run of notebooks {number}: {trial.fault}, {trial.what}"
            print(f"{what}\n  {trial.failure}", file=sys.stderr)
    rows = []
    for fault in dict.fromkeys(trial.fault for trial in found):
        of_fault = [trial for trial in found if trial.fault == fault]
        rows.append(
            {
                "run of notebooks": fault,
                "moments": len(of_fault),
                "undisturbed": sum(not (t.resumed or t.failure) for t in of_fault),
                "resumed": sum(t.resumed and not t.failure for t in of_fault),
                "failures": sum(bool(t.failure) for t in of_fault),
            }
        )
    return rows, sum(bool(trial.failure) for trial in found)


def run_bad_inputs(numbers: range, seed: int, folder: Path) -> tuple[list[Any], int]:
    """Rows of the table by kind, and how many inputs failed."""
    from bad_inputs import run_inputs, values_of
    from readers import kinds

    logging.disable(logging.WARNING)  # what data_prep passes over
    print("valid inputs", file=sys.stderr)
    shown = Shown(len(numbers), "input")
    every = kinds()

    def show(results: list[Any]) -> None:
        for result in results:
            if result.failure:
                print(f"input {result.number}: {result.kind}\n{result.failure}", file=sys.stderr)
        shown.add(len(results))

    found = run_inputs(numbers, seed, every, folder, show)
    read = {result.kind for result in found}
    rows = [values_of(found, kind.name) for kind in every if kind.name in read]
    return rows, sum(bool(result.failure) for result in found)


class Shown:
    """Lines on how far it is: after 5 s at most."""

    def __init__(self, total: int, unit: str) -> None:
        self.total, self.unit, self.done = total, unit, 0
        self.begin = self.last = time.monotonic()

    def add(self, n: int) -> None:
        """Count `n` more."""
        self.done += n
        now = time.monotonic()
        if self.done == self.total or now - self.last >= 5:
            self.last = now
            left = (now - self.begin) / max(1, self.done) * (self.total - self.done)
            line = f"{self.done:,} of {self.total:,} {self.unit}s, {left / 60:.1f} min left"
            print(line, file=sys.stderr, flush=True)


def watched(numbers: Sequence[int], unit: str) -> Iterator[int]:
    """The numbers, with how far it is."""
    shown = Shown(len(numbers), unit)
    for number in numbers:
        yield number
        shown.add(1)


def main() -> int:
    """All parts, their tables, and the file of the last run."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--moments", type=int, default=200, help="(default: 200)")
    parser.add_argument("--inputs", type=int, default=10_000, help="(default: 10000)")
    parser.add_argument("--notebooks", type=int, default=10, help="runs of them (default: 10)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, metavar="NUMBER", help="this one of each part alone")
    parser.add_argument("--publish", action="store_true", help="replace the committed tables")
    options = parser.parse_args()
    begin = time.monotonic()
    parts = [range(n) for n in (options.moments, options.notebooks, options.inputs)]
    if options.only is not None:
        one = range(options.only, options.only + 1)
        parts = [one if part else part for part in parts]
    moments, notebooks, inputs = parts
    tables: dict[str, Any] = {
        "platform": f"{platform.system()}, Python {platform.python_version()}",
        "seed": options.seed,
        "faults": [],
        "notebooks": [],
        "inputs": [],
    }
    n_failures = 0
    with tempfile.TemporaryDirectory(prefix="torture-") as folder:
        for name, run, numbers in (
            ("faults", run_faults, moments),
            ("notebooks", run_notebooks, notebooks),
            ("inputs", run_bad_inputs, inputs),
        ):
            if numbers:
                tables[name], n = run(numbers, options.seed, Path(folder) / name)
                n_failures += n
    from tables import PARTS, text_of, write

    for name in PARTS:
        if tables[name]:
            print(f"{text_of(tables[name], aligned=True)}\n")
    print(f"{n_failures} failures, {(time.monotonic() - begin) / 60:.1f} min")
    if options.publish:
        write(tables)
    return 1 if n_failures else 0


if __name__ == "__main__":
    sys.exit(main())
