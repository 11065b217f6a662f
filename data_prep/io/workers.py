"""Slow functions in several processes, with results in order."""

import multiprocessing
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from itertools import islice
from multiprocessing import resource_tracker
from typing import Any

from lla.common.parallel import end_with_parent, spawned_processes

BATCH = 32


def ordered_map(
    function: Callable[[Any], Any], items: Iterable[Any], processes: int
) -> Iterator[Any]:
    """``map(function, items)`` in `processes` processes; at most a few batches are in memory.

    The processes are spawned, not forked. They ignore Ctrl-C, which their parent handles, and exit
    when their parent has ended.
    """
    if processes == 1:
        yield from map(function, items)
        return
    with spawned_processes(instead="processes=1"):
        yield from _map_spawned(function, iter(items), processes)


def _map_spawned(
    function: Callable[[Any], Any], items: Iterator[Any], processes: int
) -> Iterator[Any]:
    """`ordered_map` in new processes."""
    waiting = deque[Future[list[Any]]]()
    context = multiprocessing.get_context("spawn")
    # It takes a moment to start, and an interrupt then would leave a semaphore behind.
    resource_tracker.ensure_running()
    executor = ProcessPoolExecutor(processes, context, initializer=_init_worker)
    try:
        while True:
            while len(waiting) < 2 * processes and (batch := list(islice(items, BATCH))):
                waiting.append(executor.submit(_apply, function, batch))
            if not waiting:
                return
            yield from waiting.popleft().result()
    finally:
        executor.shutdown(wait=True, cancel_futures=True)


def _apply(function: Callable[[Any], Any], batch: list[Any]) -> list[Any]:
    return [function(item) for item in batch]


def _init_worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent()
