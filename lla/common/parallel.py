"""Threads and processes that cannot change a result, and what a script needs to start processes.

Work is cut into pieces that depend on the configuration alone, every piece runs on one thread of
one process, and pieces are put together in their order. More threads only mean that more pieces run
at once. With more processes, all then have all results; `lla.inference.distributed` has those that
torchrun starts.
"""

import ast
import multiprocessing
import os
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import reduce
from operator import add
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from lla.common.errors import InputError, check_integer

T = TypeVar("T")
MAIN_GUARD = 'if __name__ == "__main__":'


class Workers:
    """The processes that share the work of a fit; here the only one, which owns every piece.

    Attributes
    ----------
    rank, size : number of this process, and of all
    """

    rank: int = 0
    size: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this process writes files and shows progress."""
        return self.rank == 0

    def owners(self, sizes: Sequence[int] | np.ndarray) -> np.ndarray:
        """The process of each piece, (n,): runs of pieces of about the same size in all."""
        ends = np.cumsum(np.asarray(sizes, np.float64))
        middle = ends - np.asarray(sizes) / 2
        return np.minimum(
            middle * self.size / max(1.0, ends[-1] if len(ends) else 0), self.size - 1
        ).astype(np.int64)

    def part(self, n: int) -> slice:
        """This process' share of 0..n-1: a run, about 1 / `size` of them."""
        return slice(n * self.rank // self.size, n * (self.rank + 1) // self.size)

    def share(
        self, array: np.ndarray, starts: np.ndarray, ends: np.ndarray, owners: np.ndarray
    ) -> None:
        """Give every process array[starts[i]:ends[i]] as its owner has it, for every piece i."""

    def add_up(self, array: np.ndarray) -> None:
        """Sum over processes, in place: of whole numbers, or of floats that one process has.

        All others must have zero where a process has a float, so that no order can matter.
        """

    def exchange(self, array: np.ndarray, cuts: np.ndarray) -> np.ndarray:
        """What all processes have for this one, process after process.

        Parameters
        ----------
        array : (n,); n may differ
        cuts : (size + 1,) from 0 to n: array[cuts[i]:cuts[i + 1]] is for process i
        """
        return array

    def mean_gradients(
        self,
        gradients: Mapping[int, Sequence[Any]],
        owners: np.ndarray,
        like: Sequence[Any],
        n_tokens: int,
    ) -> list[Any]:
        """The sum over pieces, in their order, of each of their tensors; by the number of tokens.

        Parameters
        ----------
        gradients : by piece, of those that this process owns
        owners : of all pieces
        like : tensors of the same shapes
        """
        pieces = [gradients[i] for i in sorted(gradients)]
        return [reduce(add, parts) / n_tokens for parts in zip(*pieces, strict=True)]

    def check_same(self, what: str, *values: str | np.ndarray) -> None:
        """Raise InputError unless all processes have these values."""

    def wait(self) -> None:
        """Go on once all processes have come here."""


ALONE = Workers()


class Pool(ThreadPoolExecutor):
    """Threads, and the processes that share the pieces of a fit with this one.

    Attributes
    ----------
    workers : by default this process alone
    """

    workers: Workers = ALONE


def default_threads() -> int:
    """Cores this process may use, or what the variable LLA_THREADS says.

    The cores of a machine are for all processes that torchrun has started there.

    Raises
    ------
    InputError
        When the variable is set and not a whole number of 1 or more.
    """
    if value := os.environ.get("LLA_THREADS", "").strip():
        if not value.isdecimal() or int(value) < 1:
            raise InputError(f"LLA_THREADS={value}: give a whole number, 1 or more, or unset it")
        return int(value)
    n_processes = os.environ.get("LOCAL_WORLD_SIZE", "1")
    share = int(n_processes) if n_processes.isdecimal() else 1
    if hasattr(os, "sched_getaffinity"):
        n_cores = len(os.sched_getaffinity(0))
    else:
        n_cores = os.cpu_count() or 1
    return max(1, n_cores // max(1, share))


def check_threads(n_threads: int | None) -> None:
    """Raise InputError unless it is a whole number of 1 or more, or None for `default_threads`."""
    if n_threads is not None:
        check_integer("n_threads", n_threads)


def _torch_threads(n_threads: int) -> int:
    """Set the threads of Torch's operations in this thread; what it was. 0 without Torch.

    Torch is not imported for this: where it is not loaded there is nothing to set.
    """
    torch = sys.modules.get("torch")
    if torch is None or n_threads == 0:
        return 0
    before = torch.get_num_threads()
    torch.set_num_threads(n_threads)
    return before


@contextmanager
def one_thread() -> Iterator[None]:
    """Torch on one thread inside: a product that is not split always adds in the same order."""
    before = _torch_threads(1)
    try:
        yield
    finally:
        _torch_threads(before)


@contextmanager
def thread_pool(n_threads: int | None = None, workers: Workers = ALONE) -> Iterator[Pool]:
    """A pool of `n_threads` threads (default: `default_threads`), Torch on one thread in each.

    Torch's own setting is put back at the end. Import Torch before, if the pool is to use it. When
    the block is left by an error, or Ctrl-C, tasks that have not begun are dropped.
    """
    check_threads(n_threads)
    with (
        one_thread(),
        Pool(n_threads or default_threads(), initializer=_torch_threads, initargs=(1,)) as pool,
    ):
        pool.workers = workers
        try:
            yield pool
        except BaseException:  # such as Ctrl-C: what has not begun would only be waited for
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def on_one_thread(call: Callable[[], T]) -> T:
    """What `call` returns, called on a thread of its own with Torch on one thread."""
    with thread_pool(1) as pool:
        return pool.submit(call).result()


@contextmanager
def spawned_processes(instead: str = "") -> Iterator[None]:
    """Refuse, in one line, what keeps spawned processes from their work.

    Each imports the script that was started, so a script without ``if __name__ == "__main__":``
    would start processes in every one of them.

    Parameters
    ----------
    instead : what works without more processes, such as "processes=1"

    Raises
    ------
    InputError
        When the script has no such line, or a process has ended before its work was done.
    """
    remedy = f"put its lines under `{MAIN_GUARD}`" + (f", or give {instead}" if instead else "")
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        # This process is one of them, importing a script that has come here a second time.
        sys.exit(1)
    if script := _unguarded_script():
        raise InputError(f"{script}: every new process would run this script again; {remedy}")
    try:
        yield
    except BrokenProcessPool:
        raise InputError(
            "a process ended before its work was done: give it more memory, or, where a script "
            f"starts it, {remedy}"
        ) from None


def end_with_parent() -> None:
    """Have this process, which another one spawned, end when that one has ended: also if killed.

    It would otherwise work to its end, and then wait for ever for more.
    """
    threading.Thread(target=_wait_for_parent, daemon=True).start()


def _wait_for_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None, "for spawned processes alone"
    parent.join()
    os._exit(1)


def _unguarded_script() -> Path | None:
    """The script that new processes would import, when it does not ask for its name."""
    main = sys.modules.get("__main__")
    spec, file = getattr(main, "__spec__", None), getattr(main, "__file__", None)
    if file is None or (spec is not None and spec.name.endswith("__main__")):
        return None  # such a one is not imported again
    if hasattr(sys, "ps1") or sys.flags.interactive:
        return None  # the script has ended
    try:
        tree = ast.parse(Path(file).read_bytes())
    except (OSError, SyntaxError, ValueError):
        return None
    tests = [node.test for node in tree.body if isinstance(node, ast.If)]
    names = {node.id for test in tests for node in ast.walk(test) if isinstance(node, ast.Name)}
    return None if "__name__" in names else Path(file)
