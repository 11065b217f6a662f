"""Whole fits in parallel, each in its own process and on one thread.

Threads wait for each other at the end of every step of a fit; whole fits do not. Results do not
depend on the number of processes. Processes are spawned, so a script that calls this needs
``if __name__ == "__main__":``; one without it is told so.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from functools import partial
from multiprocessing import active_children, get_context
from typing import Any, TypeVar

from experiments.results import MAX_PROCESSES
from lla.common.errors import check_integer
from lla.common.progress import progress
from lla.common.threads import default_threads, spawned_processes

T = TypeVar("T")


def run_parallel(
    calls: Sequence[Callable[[], T]],
    description: str = "",
    n_processes: int | None = None,
    fresh: bool = False,
    names: Sequence[str] = (),
) -> list[T]:
    """Results of all calls, in their order; at most `MAX_PROCESSES` run at once.

    Parameters
    ----------
    calls : anything that pickles, such as a `functools.partial` of a module's function; a single
        one, or all if only one process is allowed, run in this process
    n_processes : how many at once, None for `default_threads`
    fresh : run every call in a new process, also a single one
    names : of the calls, such as "topic_lla, seed 1"; those that run are shown

    Raises
    ------
    InputError
        When the script that was started would be run again by every process.
    Exception
        The first that a call raises; the others are stopped.
    """
    if n_processes is not None:
        check_integer("n_processes", n_processes)
    n = min(n_processes or default_threads(), len(calls), MAX_PROCESSES)
    if (n <= 1 and not fresh) or not calls:
        return [call() for call in calls]
    with spawned_processes():
        return _run_spawned(calls, description, n, fresh, names)


def run_cached(
    calls: Sequence[Callable[[], T]], description: str = "fits", names: Sequence[str] = ()
) -> list[T]:
    """Results of calls that leave what they made in a checkpoint: run at once, then read back here.

    Parameters
    ----------
    calls : such as ``partial(cached, lla.fit_sem, split, config, seed, checkpoint=file)``
    names : of the calls, such as "topic_lla, seed 1"; those that run are shown
    """
    if min(default_threads(), len(calls)) > 1:
        run_parallel([partial(_run, call) for call in calls], description, names=names)
    return [call() for call in calls]


def _run(call: Callable[[], Any]) -> None:
    """Run a call whose result is not sent back."""
    call()


@contextmanager
def shared_workers() -> Iterator[None]:
    """Calls of `run_parallel` inside share their processes: each imports Torch and Numba once.

    Those that ask for more processes, or for fresh ones, have their own. Inside another, it is the
    outer one that holds.
    """
    global _shared
    if _shared is not None:
        yield
        return
    _shared = _Workers()
    try:
        yield
    finally:
        _shared.close()
        _shared = None


class _Workers:
    """A pool of processes, started when it is first asked for."""

    def __init__(self) -> None:
        self.pool: ProcessPoolExecutor | None = None
        self.n = 0
        self._before: set[Any] = set()

    def start(self, n: int, fresh: bool = False) -> ProcessPoolExecutor:
        """The pool of `n` processes; one of another number ends first."""
        if n != self.n:
            self.close()
        if self.pool is None:
            self.n, self._before = n, set(active_children())
            context = get_context("spawn")  # a fork would copy locks in whatever state they are
            calls_each = 1 if fresh else None
            self.pool = ProcessPoolExecutor(
                n, context, _init_worker, max_tasks_per_child=calls_each
            )
        return self.pool

    def close(self) -> None:
        """Wait for all processes to end."""
        if self.pool is not None:
            self.pool.shutdown()
            self.pool = None

    def stop(self) -> None:
        """End all processes, whatever they are at."""
        for child in set(active_children()) - self._before:
            child.terminate()
        self.close()


_shared: _Workers | None = None


def _run_spawned(
    calls: Sequence[Callable[[], T]], description: str, n: int, fresh: bool, names: Sequence[str]
) -> list[T]:
    """`run_parallel` in `n` processes, new ones unless they are shared."""
    workers = _Workers() if _shared is None or fresh else _shared
    try:
        pool = workers.start(n, fresh)
        tasks = [pool.submit(call) for call in calls]
        try:
            shown = running(names, [False] * len(tasks), n) or description
            with progress(total=len(tasks), description=shown, unit="fit") as bar:
                for task in as_completed(tasks):
                    task.result()
                    shown = running(names, [other.done() for other in tasks], n) or description
                    bar.set_description(shown, refresh=False)
                    bar.update()
        except BaseException:
            for task in tasks:
                task.cancel()
            workers.stop()
            raise
    finally:
        if workers is not _shared:
            workers.close()
    return [task.result() for task in tasks]


def running(names: Sequence[str], done: Sequence[bool], n: int) -> str:
    """Which of the calls run: they are taken in order, so the first `n` that are not done."""
    return " | ".join([name for name, ended in zip(names, done, strict=False) if not ended][:n])


def _init_worker() -> None:
    """One thread, and no progress bar but the caller's."""
    os.environ |= {"LLA_THREADS": "1", "LLA_PROGRESS": os.devnull}
