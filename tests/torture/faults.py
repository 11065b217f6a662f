"""Trainings that are stopped, starved of disk, spoilt or doubled: they end as if nothing had been.

A trial is drawn from its own stream, so that the seed and its number repeat it. It passes when the
training, started again as its line says, leaves the same files as one that nothing disturbed.
"""

import io
import re
import shutil
import signal
import subprocess
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from children import Child, End, Moment
from trainings import LLA_FIT, Training, checkpoints, command, prepare, state

SIGNALS = ("SIGKILL", "SIGTERM", "SIGINT")
FAULTS = (*SIGNALS, "full disk", "truncated checkpoint", "flipped bit", "two runs at once")
NEW_PROCESS = 15  # every so many trials of a signal, a new Python is stopped instead of a fork
PAGE = 4096  # bytes
LEAST = 1000  # bytes of a limit on files: what a child prints goes to files, too
MOST_STARTS = 6  # of a training, until it must have ended
PROGRESS = re.compile(r"corpus: |LDA: |iteration \d+: |\S+/m: exists, made from the same")


@dataclass
class Reference:
    """A training that nothing disturbs.

    Attributes
    ----------
    seconds : of CPU time
    file_calls : calls of the file system
    end : what it leaves
    size, largest : bytes of all that, and of the largest file
    """

    training: Training
    seconds: float
    file_calls: int
    end: dict[str, Any]
    size: int
    largest: int


@dataclass
class Trial:
    """What became of one.

    Attributes
    ----------
    resumed, refused : whether it had not ended at first; whether a line said that it could not
    failure : empty where it ended as it must
    """

    number: int
    fault: str
    training: str
    what: str = ""
    resumed: bool = False
    refused: bool = False
    failure: str = ""
    ends: list[End] = field(default_factory=list)


class Failure(Exception):
    """What is wrong with a trial."""


class Disk:
    """A small disk that can grow.

    Parameters
    ----------
    folder : empty
    size : bytes
    """

    def __init__(self, folder: Path, size: int) -> None:
        self.folder = folder
        done = _mount("-t", "tmpfs", "-o", f"size={size},nr_inodes=1000", "tmpfs", str(folder))
        self.is_mounted = done is not None and done.returncode == 0

    def grow(self) -> None:
        """Room enough."""
        if self.is_mounted:
            _mount("-o", "remount,size=64m", str(self.folder))

    def remove(self) -> None:
        """Unmount it."""
        if self.is_mounted:
            subprocess.run(["umount", str(self.folder)], check=False, capture_output=True)


def _mount(*arguments: str) -> subprocess.CompletedProcess | None:
    with suppress(OSError):
        return subprocess.run(["mount", *arguments], check=False, capture_output=True)
    return None


def refer(training: Training, folder: Path) -> Reference:
    """Train without a fault: here, so that no child has to load kernels, and twice in children."""
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        training.run(prepare(folder / "0" / "w"))
    for number in (1, 2):
        place = prepare(folder / str(number) / "w")
        end = Child(partial(training.run, place), place, folder / "notes").wait()
        if end.status:
            raise RuntimeError(f"{training.name}: it fails undisturbed\n{end.err}")
    found = state(place)
    if found != state(folder / "1" / "w"):
        raise RuntimeError(f"{training.name}: it never ends twice the same")
    sizes = [path.stat().st_size for path in place.rglob("*") if path.is_file()]
    shutil.rmtree(folder)
    return Reference(training, end.seconds, end.file_calls, found, sum(sizes), max(sizes))


def run_trial(number: int, seed: int, references: Sequence[Reference], folder: Path) -> Trial:
    """The trial of this number: its fault, training and moment follow from that and the seed."""
    draw = np.random.default_rng([seed, number])
    fault = FAULTS[number % len(FAULTS)]
    # Every other trial is of the command line.
    others = references[1:]
    reference = references[0]
    if others and draw.random() < 0.5:
        reference = others[int(draw.integers(len(others)))]
    trial = Trial(number, fault, reference.training.name)
    shutil.rmtree(folder, ignore_errors=True)
    try:
        _RUNS[fault](trial, reference, folder, draw)
    except Failure as failure:
        trial.failure = str(failure)
    shutil.rmtree(folder, ignore_errors=True)
    return trial


def a_moment(kind: str, reference: Reference, draw: np.random.Generator) -> Moment:
    """A random one: a time, or a call of the file system; each half of the time."""
    number = signal.Signals[kind]
    if draw.random() < 0.5:
        return Moment(number, seconds=float(draw.random() * reference.seconds))
    return Moment(number, file_call=int(draw.integers(reference.file_calls)))


def start(
    trial: Trial,
    reference: Reference,
    place: Path,
    moment: Moment | None = None,
    file_size: int | None = None,
) -> End:
    """Train once more in `place`, and note the end."""
    job = partial(reference.training.run, place)
    notes = place.parent / "notes"
    end = Child(job, place, notes, moment, file_size).wait()
    trial.ends.append(end)
    return end


def finish(
    trial: Trial, reference: Reference, place: Path, remedy: Callable[[str], None] | None = None
) -> None:
    """Start the training until it has ended, and compare what it leaves.

    Parameters
    ----------
    remedy : follows the line of a refusal; without one none is expected
    """
    for _ in range(MOST_STARTS):
        end = start(trial, reference, place)
        if end.status == 0:
            check_same(reference, place)
            return
        line = refusal(end)
        if remedy is None:
            raise Failure(f"it cannot be started again: {line}")
        trial.refused = True
        remedy(line)
    raise Failure(f"after {MOST_STARTS} starts it has not ended: {line}")


def check_same(reference: Reference, place: Path) -> None:
    """Raise Failure unless the folder is as that of the undisturbed training."""
    found, wanted = state(place), reference.end
    if more := sorted(found.keys() - wanted.keys()):
        raise Failure(f"it leaves {', '.join(more)}")
    if missing := sorted(wanted.keys() - found.keys()):
        raise Failure(f"it lacks {', '.join(missing)}")
    if other := sorted(name for name in wanted if found[name] != wanted[name]):
        raise Failure(f"{', '.join(other)} differ")


def said(end: End) -> list[str]:
    """The lines of stderr that are no progress."""
    return [line for line in end.err.splitlines() if line and not PROGRESS.match(line)]


def refusal(end: End) -> str:
    """The one line of an error; raise Failure where it is none, or not one."""
    lines = said(end)
    if end.status != 2 or len(lines) != 1 or not lines[0].startswith("error: "):
        raise Failure(f"status {end.status}, {len(lines)} lines: {' / '.join(lines)[-1000:]}")
    return lines[0]


# ------------------------------------------------------------------------------- the faults


def stopped(trial: Trial, reference: Reference, folder: Path, draw: np.random.Generator) -> None:
    """A signal at a random moment."""
    moment, place = a_moment(trial.fault, reference, draw), prepare(folder / "w")
    is_new = reference.training.name == LLA_FIT and draw.integers(NEW_PROCESS) == 0
    if is_new:
        moment = Moment(moment.signal, seconds=float(draw.random() * (2 + 2 * reference.seconds)))
        job = ["-m", "lla", *command(place)]
        end = Child(job, place, folder / "notes", moment).wait()
        trial.ends.append(end)
    else:
        end = start(trial, reference, place, moment)
    trial.what = f"{moment}{' of a new process' if is_new else ''}"
    check_stopped(end, moment)
    trial.resumed = end.status != 0
    finish(trial, reference, place)


def check_stopped(end: End, moment: Moment) -> None:
    """Raise Failure unless it ended before the signal, or as that has it."""
    if end.status == 0:
        return
    number = moment.signal
    if number == signal.SIGKILL:
        if end.status != -number:
            raise Failure(f"status {end.status}: {' / '.join(said(end))[-1000:]}")
        return
    lines = said(end)
    if end.status != 128 + number or len(lines) != 1 or not lines[0].startswith("stopped"):
        raise Failure(f"status {end.status}, {len(lines)} lines: {' / '.join(lines)[-1000:]}")


def starved(trial: Trial, reference: Reference, folder: Path, draw: np.random.Generator) -> None:
    """A disk of random size that then grows; half of the time, and where none can be mounted, a
    limit on the size of a file that is then lifted."""
    text = prepare(folder / "t") / "texts.txt"
    (place := folder / "w").mkdir()
    n_pages = 2 + int(draw.integers(2 * reference.size // PAGE + 4))
    file_size: int | None = int(draw.integers(LEAST, LEAST + reference.largest))
    disk = Disk(place, PAGE * n_pages) if draw.random() < 0.5 else None
    try:
        shutil.copy(text, place)
        trial.what = f"a file of {file_size} bytes at most"
        if disk is not None and disk.is_mounted:
            file_size, trial.what = None, f"tmpfs of {n_pages} pages"
        end = start(trial, reference, place, file_size=file_size)
        if end.status:
            trial.resumed = trial.refused = True
            line = refusal(end)
            if "free some space" not in line and "raise the limit" not in line:
                raise Failure(f"no remedy: {line}")
            if left := [p.name for p in place.rglob(".tmp-*")]:
                raise Failure(f"half-written: {', '.join(left)}")
        if disk is not None:
            disk.grow()
        finish(trial, reference, place)
    finally:
        if disk is not None:
            disk.remove()


def spoilt(trial: Trial, reference: Reference, folder: Path, draw: np.random.Generator) -> None:
    """A checkpoint that is cut, or has a bit flipped, after a random moment."""
    for attempt in range(MOST_STARTS):
        place = prepare(folder / f"{attempt}" / "w")
        start(trial, reference, place, a_moment("SIGKILL", reference, draw))
        if found := checkpoints(place):
            break
    else:
        trial.what = "no checkpoint was there"
        finish(trial, reference, place)
        return
    trial.resumed = True
    path = found[int(draw.integers(len(found)))]
    content = bytearray(path.read_bytes())
    at = int(draw.integers(len(content)))
    if trial.fault == "flipped bit":
        content[at] ^= 1 << int(draw.integers(8))
    else:
        content = content[:at]
    trial.what = f"{path.name}, byte {at}"
    path.write_bytes(content)

    def delete(line: str) -> None:
        if path.name not in line or "delete it" not in line or not path.exists():
            raise Failure(f"no remedy: {line}")
        path.unlink()

    finish(trial, reference, place, delete)


def doubled(trial: Trial, reference: Reference, folder: Path, draw: np.random.Generator) -> None:
    """A second run is started at a random moment of the first, in the same folder."""
    place = prepare(folder / "w")
    job = partial(reference.training.run, place)
    first = Child(job, place, folder / "first")
    at = float(draw.random() * reference.seconds)
    trial.what = f"the second after {at:.3f} s"
    while first.seconds() < at and not first.has_ended():
        pass
    second = Child(job, place, folder / "second")
    ends = [first.wait(), second.wait()]
    trial.ends += ends
    trial.resumed = all(end.status for end in ends)
    for end in ends:
        if end.status:
            trial.refused = True
            if "another run is in progress" not in refusal(end):
                raise Failure(refusal(end))
    if trial.resumed:
        raise Failure("both were refused")
    finish(trial, reference, place)


_RUNS = {
    **dict.fromkeys(SIGNALS, stopped),
    "full disk": starved,
    "truncated checkpoint": spoilt,
    "flipped bit": spoilt,
    "two runs at once": doubled,
}
