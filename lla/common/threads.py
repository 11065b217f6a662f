"""Threads that cannot change a result.

Work is cut into pieces that depend on the configuration alone, every piece runs on one thread,
and pieces are put together in their order. More threads only mean that more pieces run at once.
"""

import os
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

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
def thread_pool(n_threads: int | None = None) -> Iterator[ThreadPoolExecutor]:
    """A pool of `n_threads` threads (default: `default_threads`), Torch on one thread in each.

    Torch's own setting is put back at the end. Import Torch before, if the pool is to use it.
    """
    if n_threads is not None:
        check_integer("n_threads", n_threads)
    with (
        one_thread(),
        ThreadPoolExecutor(
            n_threads or default_threads(), initializer=_torch_threads, initargs=(1,)
        ) as pool,
    ):
        yield pool
