"""Children of this process that are stopped at a chosen moment, or held to little memory or disk.

A child is forked: it has all modules loaded and all kernels compiled, so a training takes a moment.
"""

import contextlib
import os
import resource
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tqdm.std import tqdm

from lla.common.errors import run_main

FILE_CALLS = ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "os.chmod")
LIMIT, CPU_LIMIT = 900.0, 60.0  # seconds until a child counts as hanging
POLL = 0.002
STOPS = {signal.SIGTERM, signal.SIGINT}


@dataclass(frozen=True)
class Moment:
    """When a child is stopped, and how.

    Attributes
    ----------
    signal : such as SIGKILL
    seconds : of CPU time since the fork; or
    file_call : just before this call of the file system in its folder, counted from 0
    """

    signal: int
    seconds: float | None = None
    file_call: int | None = None

    def __str__(self) -> str:
        when = f"after {self.seconds:.3f} s" if self.seconds is not None else ""
        return f"{signal.Signals(self.signal).name} {when or f'at file call {self.file_call}'}"


@dataclass(frozen=True)
class End:
    """How a child ended.

    Attributes
    ----------
    status : its exit status, or minus the number of the signal that ended it
    out, err : what it printed
    seconds : of CPU time
    file_calls : calls of the file system in its folder; 0 where a signal ended it
    """

    status: int
    out: str
    err: str
    seconds: float
    file_calls: int = 0


class Child:
    """A forked process that runs a command line.

    Parameters
    ----------
    job : what it runs, inside `run_main`; or the arguments of a new Python, which loads all anew
        and is stopped once it can say so, not before
    folder : whose files its file calls are counted in
    notes : a folder for what it prints
    moment : when it is to be stopped
    file_size : the largest file that it may write, bytes
    """

    def __init__(
        self,
        job: Callable[[], object] | Sequence[str],
        folder: Path,
        notes: Path,
        moment: Moment | None = None,
        file_size: int | None = None,
    ) -> None:
        self.moment, self.notes = moment, notes
        notes.mkdir(parents=True, exist_ok=True)
        self.start = time.monotonic()
        # A stop waits until the child is where it can say so.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)
        self.pid = os.fork()
        if not self.pid:
            try:
                _run(job, folder, notes, moment, file_size, mask)
            finally:
                os._exit(70)  # never reached: whatever happens, a child does not return
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        self._is_new = not callable(job)
        self._clock = (~self.pid << 3) | 2  # of the CPU time of another process, on Linux

    def seconds(self) -> float:
        """CPU time so far; since the start where the system does not tell."""
        try:
            return time.clock_gettime(self._clock)
        except OSError:
            return time.monotonic() - self.start

    def has_ended(self) -> bool:
        """Whether it only waits to be waited for."""
        time.sleep(POLL)
        flags = os.WEXITED | os.WNOHANG | os.WNOWAIT
        return os.waitid(os.P_PID, self.pid, flags) is not None

    def wait(self) -> End:
        """Stop it at its moment, and wait until it has ended."""
        pending = self.moment if self.moment and self.moment.seconds is not None else None
        seconds = 0.0
        while True:
            seconds = max(seconds, self.seconds())
            pid, status, usage = os.wait4(self.pid, os.WNOHANG)
            if pid:
                break
            if pending and seconds >= (pending.seconds or 0) and self._can_say_so():
                os.kill(self.pid, pending.signal)
                pending = None
            if time.monotonic() - self.start > LIMIT or seconds > CPU_LIMIT:
                os.kill(self.pid, signal.SIGKILL)
                _, _, usage = os.wait4(self.pid, 0)
                text = "error: it hung\nTraceback: none\n"
                return End(-signal.SIGALRM, "", text, usage.ru_utime + usage.ru_stime)
            time.sleep(POLL)
        out, err, calls = (self._read(name) for name in ("out", "err", "calls"))
        code = os.waitstatus_to_exitcode(status)
        return End(code, out, err, usage.ru_utime + usage.ru_stime, int(calls or 0))

    def _can_say_so(self) -> bool:
        """Whether it handles SIGTERM already, where it is a new Python."""
        return not self._is_new or handles_sigterm(self.pid)

    def _read(self, name: str) -> str:
        path = self.notes / name
        return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""


def handles_sigterm(pid: int) -> bool:
    """Whether a process has a handler of SIGTERM; false where the system does not tell."""
    with contextlib.suppress(OSError, StopIteration):
        lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
        caught = next(line.split()[1] for line in lines if line.startswith("SigCgt"))
        return bool(int(caught, 16) >> (signal.SIGTERM - 1) & 1)
    return False


def _run(
    job: Callable[[], object] | Sequence[str],
    folder: Path,
    notes: Path,
    moment: Moment | None,
    file_size: int | None,
    mask: set[int],
) -> None:
    """The child's life; it ends in here. `mask` has the signals that its parent blocks."""
    for descriptor, name in ((1, "out"), (2, "err")):
        path = notes / name
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644), descriptor)
    (notes / "calls").unlink(missing_ok=True)
    if file_size is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (file_size, file_size))
    if not callable(job):
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        os.execv(sys.executable, [sys.executable, *job])
    sys.stdout, sys.stderr = (os.fdopen(os.dup(n), "w", buffering=1) for n in (1, 2))
    # Bars share a lock between processes, which one that is killed never gives back.
    tqdm.set_lock(threading.RLock())
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    calls = _watch(folder, moment)
    status = 1

    def stoppable() -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        job()
        signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)  # it has ended, whatever comes now

    try:
        run_main(stoppable)
    except SystemExit as stop:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        status = int(stop.code or 0)
    except BaseException:
        with contextlib.suppress(OSError):
            traceback.print_exc()
    with contextlib.suppress(OSError):
        sys.stdout.flush()
        (notes / "calls").write_text(str(calls[0]))
    os._exit(status)


def _watch(folder: Path, moment: Moment | None) -> list[int]:
    """Count calls of the file system in `folder`, in the list's one number; stop at the moment's.

    Python tells of each call before it is made.
    """
    prefix, count = f"{folder}{os.sep}", [0]
    stop_at = moment.file_call if moment else None

    def hook(event: str, arguments: tuple) -> None:
        if event in FILE_CALLS and str(arguments[0]).startswith(prefix):
            if moment and count[0] == stop_at:
                os.kill(os.getpid(), moment.signal)
            count[0] += 1

    sys.addaudithook(hook)
    return count
