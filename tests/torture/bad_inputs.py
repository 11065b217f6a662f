"""Generated bad inputs: each is read, or refused in one line, in bounded time and memory."""

import contextlib
import hashlib
import json
import resource
import shutil
import signal
import sys
import traceback
import warnings
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from time import process_time
from types import FrameType
from typing import Any

import numpy as np
import psutil
from children import Child
from readers import OUT, Kind

from lla.common.errors import InputError

BATCH, AT_ONCE = 100, 2  # inputs in one child, and children at once
SECONDS, MORE_MEMORY = 10, 2**31  # of CPU time, and bytes of address space, that an input may take
RESIDENT = 300 * 2**20  # bytes by which one may raise the peak of what is held
LONGEST_LINE = 2000


@dataclass
class Result:
    """What became of one input.

    Attributes
    ----------
    refused : whether a line said what is wrong
    failure : empty where it was read or refused as it must be
    """

    number: int
    kind: str
    refused: bool = False
    failure: str = ""
    seconds: float = 0.0
    memory: int = 0


class TooLong(BaseException):
    """An input took more than `SECONDS`; no reader may catch this."""


def run_input(number: int, seed: int, kind: Kind, valid: Path, folder: Path) -> Result:
    """Make the input of this number from the valid one, and read it."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(valid, folder, symlinks=True)
    kind.change(folder, np.random.default_rng([seed, number]))
    before, peak, start = digest(folder), peak_memory(), process_time()
    result = Result(number, kind.name)
    try:
        with time_limit():
            kind.read(folder)
    except InputError as error:
        result.refused = True
        result.failure = fault_of_line(str(error))
    except (Exception, SystemExit, TooLong):  # a traceback of any kind is what is looked for
        result.failure = traceback.format_exc()[-1500:]
    result.seconds, result.memory = process_time() - start, peak_memory() - peak
    result.failure = result.failure or fault_of_files(folder, before, result.refused)
    if not result.failure and result.memory > RESIDENT:
        result.failure = f"it took {result.memory / 2**20:,.0f} MB"
    return result


def fault_of_line(line: str) -> str:
    """What is wrong with the line of a refusal; empty if nothing is."""
    if not line or "\n" in line or len(line) > LONGEST_LINE:
        return f"a message of {line.count(chr(10)) + 1} lines, {len(line)} characters: {line[:300]}"
    return ""


def fault_of_files(folder: Path, before: dict[str, str], refused: bool) -> str:
    """What is wrong with the files afterwards: half-written, or changed; empty if nothing is."""
    after = digest(folder)
    written = {name for name in after if name.split("/")[0] == OUT}
    if refused and written:
        return f"refused, and yet written: {', '.join(sorted(written))}"
    if left := [name for name in after if ".tmp-" in name]:
        return f"half-written: {', '.join(left)}"
    if before != {name: value for name, value in after.items() if name not in written}:
        return "it changed what it was to read"
    return ""


def digest(folder: Path) -> dict[str, str]:
    """SHA-256 of each file; where a link or a pipe leads is not followed."""
    found = {}
    for path in sorted(folder.rglob("*")):
        regular = path.is_file() and not path.is_symlink()
        content = path.read_bytes() if regular else b""
        found[path.relative_to(folder).as_posix()] = hashlib.sha256(content).hexdigest()
    return found


def peak_memory() -> int:
    """Most bytes that this process has held."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


@contextlib.contextmanager
def time_limit() -> Iterator[None]:
    """Raise TooLong after `SECONDS` of CPU time."""

    def stop(_: int, __: FrameType | None) -> None:
        raise TooLong

    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


@contextlib.contextmanager
def memory_limit() -> Iterator[None]:
    """`MORE_MEMORY` of address space above what is used now; only Linux has such a limit."""
    if sys.platform != "linux":
        yield
        return
    before = resource.getrlimit(resource.RLIMIT_AS)
    used = psutil.Process().memory_info().vms
    resource.setrlimit(resource.RLIMIT_AS, (used + MORE_MEMORY, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def run_batch(numbers: range, seed: int, kinds: list[Kind], valid: Path, folder: Path) -> None:
    """The inputs of these numbers; a line of JSON before and after each."""
    with memory_limit(), warnings.catch_warnings():
        warnings.simplefilter("error")
        for number in numbers:
            kind = kinds[number % len(kinds)]
            print(json.dumps({"begun": number}), flush=True)
            result = run_input(number, seed, kind, valid / kind.name, folder)
            print(json.dumps(asdict(result)), flush=True)


def run_inputs(
    numbers: range,
    seed: int,
    kinds: list[Kind],
    folder: Path,
    watch: Callable[[list[Result]], object] = lambda results: None,
) -> list[Result]:
    """The inputs in batches, each batch in a child; one that ends a child is a failure, too.

    Parameters
    ----------
    folder : where valid files are made, and then changed
    watch : called with those of each batch
    """
    valid = folder / "valid"
    for kind in kinds:
        if not (valid / kind.name).exists():
            (valid / kind.name).mkdir(parents=True)
            kind.make(valid / kind.name)
            if kind.loads_kernels:  # here, so that no child has to
                kind.read(valid / kind.name)
    results: list[Result] = []
    waiting = deque(
        range(first, min(first + BATCH, numbers.stop))
        for first in range(numbers.start, numbers.stop, BATCH)
    )
    running: deque[tuple[range, Child]] = deque()
    while waiting or running:
        while waiting and len(running) < AT_ONCE:
            batch = waiting.popleft()
            place = folder / f"{batch.start}"
            job = partial(run_batch, batch, seed, kinds, valid, place)
            running.append((batch, Child(job, folder / "nothing", place.with_suffix(".notes"))))
        batch, child = running.popleft()
        end = child.wait()
        rows = [json.loads(line) for line in end.out.splitlines() if line.startswith("{")]
        done = [Result(**row) for row in rows if "begun" not in row]
        first = batch.start + len(done)
        if first < batch.stop:  # the child ended in the midst of an input
            name = kinds[first % len(kinds)].name
            reason = f"the process ended with status {end.status}: {end.err[-1000:]}"
            done.append(Result(first, name, failure=reason))
            if first + 1 < batch.stop:
                waiting.appendleft(range(first + 1, batch.stop))
        results += done
        watch(done)
        shutil.rmtree(folder / f"{batch.start}", ignore_errors=True)
    return results


def values_of(results: list[Result], kind: str) -> dict[str, Any]:
    """A row of the table."""
    of_kind = [r for r in results if r.kind == kind]
    return {
        "kind": kind,
        "inputs": len(of_kind),
        "refused": sum(r.refused for r in of_kind),
        "read": sum(not r.refused and not r.failure for r in of_kind),
        "failures": sum(bool(r.failure) for r in of_kind),
        "slowest_seconds": round(max(r.seconds for r in of_kind), 2),
        "most_memory_mb": round(max(r.memory for r in of_kind) / 2**20),
    }
