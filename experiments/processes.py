"""Whole fits side by side, each in a process of its own and on one thread.

Threads share the work of one step and wait for each other at its end; fits wait for nobody. What a
fit comes to hangs on neither. A script that calls this is read again in every process: what it does
stands under ``if __name__ == "__main__":``.
"""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import active_children, get_context
from typing import TypeVar

from experiments.results import MAX_PROCESSES
from lla.common.progress import progress
from lla.common.threads import default_threads

T = TypeVar("T")


def run_parallel(
    calls: Sequence[Callable[[], T]],
    description: str = "",
    n_processes: int | None = None,
    fresh: bool = False,
) -> list[T]:
    """Results of all calls, in their order; as many at once as there are threads, 4 at most.

    Parameters
    ----------
    calls : a `functools.partial` of a function at the top of a module, or what else pickles; one
        alone, or on one thread, runs in this process
    n_processes : at once, None for `default_threads`
    fresh : a new process for every call, for one alone as well

    Raises
    ------
    Exception
        The first that a call raises; the others are stopped where they are.
    """
    n = min(n_processes or default_threads(), len(calls), MAX_PROCESSES)
    if (n <= 1 and not fresh) or not calls:
        return [call() for call in calls]
    before = set(active_children())
    # A fork would copy threads' locks in whatever state they are.
    context, once = get_context("spawn"), 1 if fresh else None
    with ProcessPoolExecutor(n, context, _init_worker, max_tasks_per_child=once) as pool:
        tasks = [pool.submit(call) for call in calls]
        try:
            done = as_completed(tasks)
            for task in progress(done, total=len(tasks), description=description, unit="fit"):
                task.result()
        except BaseException:
            for task in tasks:
                task.cancel()
            for child in set(active_children()) - before:
                child.terminate()
            raise  # once the pool, left, has seen all of them end
    return [task.result() for task in tasks]


def _init_worker() -> None:
    """In a new process: one thread, and the bar is the caller's."""
    os.environ |= {"LLA_THREADS": "1", "LLA_PROGRESS": os.devnull}
