"""Whole fits in parallel, each in its own process and on one thread.

Threads wait for each other at the end of every step of a fit; whole fits do not. Results do not
depend on the number of processes. Each imports the script that was started, which therefore needs
``if __name__ == "__main__":``; one without it is told so.
"""

import os
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import partial
from multiprocessing import active_children, get_context
from multiprocessing.context import BaseContext
from typing import Any, TypeVar

from experiments.results import MAX_PROCESSES
from lla.common.errors import check_integer
from lla.common.parallel import default_threads, end_with_parent, spawned_processes
from lla.common.progress import progress

T = TypeVar("T")
LIBRARIES = ["numba", "pandas", "scipy.optimize", "torch"]  # they take seconds to import


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


def _run_spawned(
    calls: Sequence[Callable[[], T]], description: str, n: int, fresh: bool, names: Sequence[str]
) -> list[T]:
    """`run_parallel` in `n` new processes."""
    before = set(active_children())
    calls_each = 1 if fresh else None
    with ProcessPoolExecutor(
        n, new_processes(), _init_worker, (dict(os.environ),), max_tasks_per_child=calls_each
    ) as pool:
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
            for child in set(active_children()) - before:
                child.terminate()
            raise  # leaving the pool waits for all of them to end
    return [task.result() for task in tasks]


def running(names: Sequence[str], done: Sequence[bool], n: int) -> str:
    """Which of the calls run: they are taken in order, so the first `n` that are not done."""
    return " | ".join([name for name, ended in zip(names, done, strict=False) if not ended][:n])


def new_processes() -> BaseContext:
    """How processes are made: on Linux, copies of one that has imported the large libraries.

    That one is started with the first of them and runs no thread of ours, so that no lock is
    copied while it is held. Elsewhere, where a copy of such a process is not safe, each process
    imports them anew.
    """
    if sys.platform != "linux":
        return get_context("spawn")
    context = get_context("forkserver")
    context.set_forkserver_preload(LIBRARIES)
    return context


def _init_worker(environment: dict[str, str]) -> None:
    """The caller's environment, but one thread, and no progress bar but the caller's.

    It ends with the caller: a fit that went on would keep its checkpoint from the next run.
    """
    end_with_parent()
    os.environ.clear()
    os.environ |= environment | {"LLA_THREADS": "1", "LLA_PROGRESS": os.devnull}
