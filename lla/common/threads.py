"""Threads that cannot change a result.

Work is cut into pieces that depend on the configuration alone, every piece runs on one thread,
and pieces are put together in their order. More threads only mean that more pieces run at once.
"""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import torch

from lla.common.errors import InputError, check_integer


def default_threads() -> int:
    """Cores this process may use, or what the variable LLA_THREADS says.

    Raises
    ------
    InputError
        When the variable is set and not a whole number of 1 or more.
    """
    if value := os.environ.get("LLA_THREADS", "").strip():
        if not value.isdecimal() or int(value) < 1:
            raise InputError(f"LLA_THREADS={value}: give a whole number, 1 or more, or unset it")
        return int(value)
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextmanager
def thread_pool(n_threads: int | None = None) -> Iterator[ThreadPoolExecutor]:
    """A pool of `n_threads` threads inside each of which Torch runs on one thread.

    A matrix product split over threads may add its terms in another order; one that is not
    split cannot. Torch's own setting is put back on the way out.
    """
    if n_threads is not None:
        check_integer("n_threads", n_threads)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with ThreadPoolExecutor(
            n_threads or default_threads(), initializer=torch.set_num_threads, initargs=(1,)
        ) as pool:
            yield pool
    finally:
        torch.set_num_threads(before)


@contextmanager
def one_thread() -> Iterator[None]:
    """Torch on one thread in this one: for calls too small for a pool."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
