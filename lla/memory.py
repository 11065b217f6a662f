"""How much memory a fit takes: the largest resident set while it ran, beyond what there was."""

import ctypes
import gc
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from lla.store import read_json, write_json

SECONDS_BETWEEN_LOOKS = 0.05


@contextmanager
def watch_memory(file: Path) -> Iterator[None]:
    """Keep in `file` the most bytes this process has held above what it held at the start.

    A fit that is interrupted and goes on keeps the larger of its measurements; one that is only
    read back from its checkpoint leaves the earlier one standing.
    """
    _give_back()
    process = psutil.Process()
    start = largest = process.memory_info().rss
    done = threading.Event()

    def look() -> None:
        nonlocal largest
        while not done.wait(SECONDS_BETWEEN_LOOKS):
            largest = max(largest, process.memory_info().rss)

    watcher = threading.Thread(target=look, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()
        largest = max(largest, process.memory_info().rss)
        write_json(file, {"bytes": max(largest - start, memory_kept(file))})


def _give_back() -> None:
    """What is free goes to the system, where the C library can: else a fit could hold it unseen."""
    gc.collect()
    with suppress(AttributeError, OSError):  # glibc alone has it
        ctypes.CDLL(None).malloc_trim(0)


def memory_kept(file: Path) -> int:
    """What `watch_memory` wrote into `file`; 0 when there is none."""
    return int(read_json(file)["bytes"]) if file.exists() else 0
