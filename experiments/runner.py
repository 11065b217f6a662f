"""``make reproduce``: run the notebooks of a profile, each unless its last run is still current.

All that is written goes to ``results/PROFILE/run``; the checkout stays as it is.
"""

import argparse
import logging
import os
import re
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from nbclient.exceptions import DeadKernelError
from papermill import PapermillExecutionError, execute_notebook
from papermill.clientwrap import PapermillNotebookClient
from papermill.engines import Engine, papermill_engines

from data_prep.io import inputs
from experiments import results
from experiments.display import Display, clock
from experiments.steps import (
    CODE,
    Step,
    choose,
    fingerprints,
    is_tagged,
    load_steps,
    read_stamp,
    up_to_date,
)
from lla.common.errors import run_main
from lla.common.files import write_json
from lla.common.lock import exclusive
from lla.common.parallel import default_threads

MAX_BLAS_THREADS = 8  # the matrices of these models are too small to feed more
KERNEL_START_SECONDS = 180
ONE_LINE_ERRORS = ("InputError", "NotRunYet")  # whose message says all


class StepFailed(Exception):
    """A notebook stopped with an error; the message is the one line to show."""


class LiveEngine(Engine):
    """Execute a notebook, show progress on the display, log kernel output to a file.

    Relative links of the copy lead where those of the committed notebook do.
    """

    display: Display
    log: Path
    to_root: str

    @classmethod
    def execute_managed_notebook(cls, nb_man: Any, kernel_name: str, **_: Any) -> Any:
        """Execute the cells; see `papermill.engines.Engine`."""
        start, cells = nb_man.cell_start, nb_man.nb.cells

        def cell_start(cell: Any, index: int, **more: Any) -> None:
            cls.display.start_cell(source_number(cells, index), source_number(cells, len(cells)))
            start(cell, index, **more)

        nb_man.cell_start = cell_start
        for cell in cells:
            if cell.cell_type == "markdown":
                cell.source = relink(cell.source, cls.to_root)
        client = PapermillNotebookClient(
            nb_man, kernel_name=kernel_name, timeout=None, startup_timeout=KERNEL_START_SECONDS
        )
        with cls.log.open("w", encoding="utf-8") as log:
            return client.execute(stdout=log, stderr=log)


def source_number(cells: Sequence[Any], index: int) -> int:
    """Number, from 1, in the committed notebook of cell `index` of an executed copy."""
    return sum(not is_tagged(cell, "injected-parameters") for cell in cells[: index + 1])


def relink(markdown: str, to_root: str) -> str:
    """The text with its links ``../``, from `notebooks/` to the root, led there by `to_root`."""
    return re.sub(r"\]\(\.\./", f"]({to_root}/", markdown)


def run_step(step: Step, fingerprint: str, display: Display) -> None:
    """Execute one notebook into a copy and, when its result is there, record the fingerprint."""
    whole = not step.output.exists()  # else fits of an earlier run may be read back
    step.output.parent.mkdir(parents=True, exist_ok=True)
    for file in (step.stamp, *step.files(results.run_dir(step.profile))):
        file.unlink(missing_ok=True)
    display.start()
    with _whole_copy(step.output) as copy:
        LiveEngine.display, LiveEngine.log = display, step.output.with_suffix(".log")
        LiveEngine.to_root = os.path.relpath(results.ROOT, step.output.parent)
        try:
            execute_notebook(
                str(step.source),
                str(copy),
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
        wanted = results.run_dir(step.profile) / f"{step.name.split('_', 1)[-1]}.json"
        raise StepFailed(_failure(step, "end", f"it wrote no {_relative(wanted)}"))
    seconds = display.end(calibrates=whole)
    stamp = {"fingerprint": fingerprint, "sha256": step.hashes()}
    write_json(step.stamp, stamp | ({"seconds": round(seconds, 1)} if whole else {}))


@contextmanager
def _whole_copy(output: Path) -> Iterator[Path]:
    """Where to write a notebook that then takes the name `output`, unless only half is written."""
    copy = output.with_name(f".tmp-{output.name}")
    try:
        yield copy
    finally:
        if read_stamp(copy):
            copy.replace(output)
        copy.unlink(missing_ok=True)


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
    with exclusive(results.work_dir(profile), f"profile {profile!r}"):
        yield


@contextmanager
def stop_once() -> Iterator[None]:
    """Turn the first Ctrl-C or SIGTERM into `KeyboardInterrupt` and ignore further ones.

    Who handled the signal before is told: `run_main` ends with another status after SIGTERM.
    """

    def stop(number: int, frame: FrameType | None) -> None:
        for each in before:
            signal.signal(each, signal.SIG_IGN)
        handler = before[number]
        if callable(handler):
            handler(number, frame)
        raise KeyboardInterrupt

    numbers: tuple[int, ...] = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def reproduce(
    profile: str, only: Sequence[str] = (), force: bool = False, of_set: str = ""
) -> None:
    """Bring a profile's results up to date and print its table.

    Parameters
    ----------
    profile : str
        One of ``results.PROFILES``.
    only : sequence of str
        Notebooks to consider, by number or name; empty for all of the set.
    force : bool
        Run them even if they are up to date; fits cached in the work folder are still used.
    of_set : str
        "" for the notebooks of the LLA paper, "all" for those of other papers, too (`choose`).

    Raises
    ------
    InputError
        Before anything runs: for a wrong profile, notebook, set or parameter, or when another run
        of the profile is in progress.
    StepFailed
        When a notebook fails; those before it keep their results.
    KeyboardInterrupt
        When the user stops it, with a line that says how to resume.
    """
    start = time.monotonic()
    steps = load_steps(profile)
    current = fingerprints(steps)
    chosen = choose(steps, only, of_set)
    shown = [s for s in steps if s in chosen or s in choose(steps, of_set=of_set)]
    with only_run(profile), stop_once():
        to_run = [s for s in chosen if force or not up_to_date(s, current[s.name])]
        loop_file = results.work_dir(profile) / "progress.json"
        prepare_environment(loop_file)
        papermill_engines.register("lla", LiveEngine)
        expected = {s.name: s.seconds_before for s in to_run}
        with Display([step.name for step in shown], expected, loop_file) as display:
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
        show_results(profile, shown, current, time.monotonic() - start)


def show_results(
    profile: str, steps: Sequence[Step], current: dict[str, str], seconds: float
) -> None:
    """Write the run's report, print its table, the time and where the report lies."""
    missing = [step.name for step in steps if not step.results]
    old = [s.name for s in steps if s.results and not up_to_date(s, current[s.name])]
    if len(missing) == len(steps):
        print("\nNothing has run in this profile.")
    elif profile == "smoke":
        print("\nsmoke only shows that everything runs; its numbers are in no table.")
    else:
        print("Writing the report.", file=sys.stderr, flush=True)
        from experiments.report import run_page

        report = run_page.write(profile)
        print(f"\n{run_page.closing_table(profile)}")
        print(f"\nThe report of this run: {_relative(report)}")
    if missing:
        print(f"Not run yet in this profile: {', '.join(missing)}.")
    if old:
        print(f"Made by other code or settings than the present: {', '.join(old)}.")
    print(f"{clock(seconds)} in total.")


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m experiments.runner", description=__doc__)
    parser.add_argument("--profile", default="small", help=", ".join(results.PROFILES))
    parser.add_argument("--only", nargs="+", default=(), metavar="NN", help="these notebooks alone")
    parser.add_argument(
        "--set",
        default="",
        metavar="NAME",
        help="also the notebooks of this set; all: of every set",
    )
    parser.add_argument("--force", action="store_true", help="run them even if up to date")
    options = parser.parse_args(argv)
    try:
        reproduce(options.profile, options.only, options.force, options.set)
    except StepFailed as failure:
        print(f"error: {failure}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    run_main(main)
