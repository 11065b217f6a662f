"""Locks on a folder or a file: two runs that wrote the same files would spoil each other."""

import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lla.common.errors import InputError

LOCK = ".lock"


@contextmanager
def exclusive(folder: Path, what: str = "") -> Iterator[None]:
    """Hold the lock of `folder`, which must exist; it ends with the block, or with the process.

    Parameters
    ----------
    folder : its file `LOCK` is locked, and says who holds the lock
    what : what the message calls the folder, by default its path

    Raises
    ------
    InputError
        When another process holds the lock: the line names it, its machine and its start.
    """
    descriptor = _locked(folder / LOCK, what or str(folder))
    try:
        _sign(descriptor)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def exclusive_file(file: Path) -> Iterator[None]:
    """Hold the lock of `file`, which need not exist; it ends with the block, or with the process.

    What is locked is a file beside it, `lock_of(file)`, which is removed at the end of the block;
    that of a killed process is removed by the next that locks the same file.

    Raises
    ------
    InputError
        When another process, or another thread of this one, holds the lock.
    """
    path = lock_of(file)
    descriptor = _locked(path, str(file))
    try:
        _sign(descriptor)
        yield
    finally:
        if _is_still(descriptor, path):
            path.unlink(missing_ok=True)
        os.close(descriptor)


def lock_of(file: Path) -> Path:
    """What `exclusive_file` locks."""
    return file.with_name(f".{file.name}{LOCK}")


def _sign(descriptor: int) -> None:
    """Write into a locked file who holds the lock."""
    holder = {"pid": os.getpid(), "host": socket.gethostname(), "since": time.time()}
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, json.dumps(holder).encode(), 0)


def _locked(path: Path, what: str) -> int:
    """A descriptor of the file at `path` that holds its lock."""
    while True:
        try:
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
            descriptor = os.open(path, flags, 0o644)
        except OSError as error:
            raise InputError(f"{path}: cannot be locked ({error.strerror}); remove it") from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_still(descriptor, path):
                return descriptor
        except BlockingIOError:
            holder = _holder(descriptor)
            os.close(descriptor)
            raise InputError(
                f"{what}: another run is in progress{holder}; wait for it or stop it"
            ) from None
        except OSError as error:
            os.close(descriptor)
            raise InputError(
                f"{path}: cannot be locked ({error.strerror}); name a folder on a local disk"
            ) from None
        os.close(descriptor)


def _is_still(descriptor: int, path: Path) -> bool:
    """Whether the locked file is the one at `path`: its last holder may have deleted it."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False


def _holder(descriptor: int) -> str:
    """Who holds the lock, in brackets; empty where the file does not say so (yet)."""
    try:
        found = json.loads(os.pread(descriptor, 4096, 0))
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(float(found["since"])))
        return f" (process {int(found['pid'])} on {str(found['host'])[:100]}, since {since})"
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError, OSError):
        return ""
