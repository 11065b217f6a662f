"""Locks on a folder or a file: two runs that wrote the same files would spoil each other.

Some network disks have no locks. There the file itself is the lock: one process alone can make it,
and removes it at its end. A killed process leaves it, and from here nothing tells that from a run
on another machine, so whoever comes next is told what to delete.
"""

import errno
import fcntl
import json
import logging
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

from lla.common.errors import InputError

LOCK = ".lock"
NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)  # says a disk without

log = logging.getLogger("lla")


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
    with _held(folder / LOCK, what or str(folder), is_kept=True):
        yield


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
    with _held(lock_of(file), str(file), is_kept=False):
        yield


def lock_of(file: Path) -> Path:
    """What `exclusive_file` locks."""
    return file.with_name(f".{file.name}{LOCK}")


@contextmanager
def _held(path: Path, what: str, is_kept: bool) -> Iterator[None]:
    """Hold the lock of the file at `path`, which stays afterwards where it `is_kept`."""
    descriptor, by_name = _locked(path, what)
    try:
        _sign(descriptor, by_name)
        yield
    finally:
        if (by_name or not is_kept) and _is_still(descriptor, path):
            path.unlink(missing_ok=True)
        os.close(descriptor)


def _sign(descriptor: int, by_name: bool) -> None:
    """Write into a locked file who holds the lock, and whether its name alone is the lock."""
    holder = {"pid": os.getpid(), "host": socket.gethostname(), "since": time.time()}
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, json.dumps(holder | {"by_name": by_name}).encode(), 0)


def _locked(path: Path, what: str) -> tuple[int, bool]:
    """A descriptor of the file at `path` that holds its lock, and whether its name alone does."""
    while True:
        descriptor, is_new = _opened(path)
        try:
            has_locks = _lock(descriptor, path, what)
            if not has_locks and is_new:
                _warn_of(path.parent)
                return descriptor, True
            if not has_locks or _signature(descriptor).get("by_name") is True:
                raise InputError(
                    f"{what}: another run is in progress{_holder(descriptor)}, or was killed; wait "
                    f"for it or stop it, and where none runs delete {path}: its disk has no locks"
                )
            if _is_still(descriptor, path):
                return descriptor, False
        except InputError:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _lock(descriptor: int, path: Path, what: str) -> bool:
    """Lock a file, unless another run has; False where its disk has no locks."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise InputError(
            f"{what}: another run is in progress{_holder(descriptor)}; wait for it or stop it"
        ) from None
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise InputError(
                f"{path}: cannot be locked ({error.strerror}); name a folder on a local disk"
            ) from None
        return False
    return True


def _opened(path: Path) -> tuple[int, bool]:
    """A descriptor of the file at `path`, and whether it was made just now, by nobody else."""
    flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        while True:
            with suppress(FileExistsError):
                return os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o644), True
            with suppress(FileNotFoundError):  # its holder has just deleted it
                return os.open(path, flags), False
    except OSError as error:
        raise InputError(f"{path}: cannot be locked ({error.strerror}); remove it") from None


@cache
def _warn_of(folder: Path) -> None:
    """Say once what holds in a folder on a disk without locks."""
    log.warning(
        "%s: its disk has no locks; a file stands for one, and a run that is killed leaves it",
        folder,
    )


def _is_still(descriptor: int, path: Path) -> bool:
    """Whether the locked file is the one at `path`: its last holder may have deleted it."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False


def _signature(descriptor: int) -> dict[str, Any]:
    """What `_sign` wrote; empty where the file does not say so (yet)."""
    try:
        found = json.loads(os.pread(descriptor, 4096, 0))
        return found if isinstance(found, dict) else {}
    except (ValueError, RecursionError, OSError):
        return {}


def _holder(descriptor: int) -> str:
    """Who holds the lock, in brackets; empty where the file does not say so (yet)."""
    found = _signature(descriptor)
    try:
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(float(found["since"])))
        return f" (process {int(found['pid'])} on {str(found['host'])[:100]}, since {since})"
    except (ValueError, KeyError, TypeError, OverflowError, OSError):
        return ""
