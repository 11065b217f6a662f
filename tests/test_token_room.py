"""Room for words or topics: memory for few, a mapped file for many."""

import errno
import mmap
import os

import numpy as np
import pytest

from lla.corpus import token_room


def is_mapped(array):
    while isinstance(array.base, np.ndarray):
        array = array.base
    return isinstance(array.base, mmap.mmap)


@pytest.mark.parametrize(("n_tokens", "mapped"), [(0, False), (7, False), (8, True), (9, True)])
def test_room_for_many_tokens_is_a_file(n_tokens, mapped):
    room = token_room(n_tokens, np.dtype(np.uint16), on_disk=16)
    assert room.shape == (n_tokens,) and room.dtype == np.uint16
    room[:] = np.arange(n_tokens)
    assert room.tolist() == list(range(n_tokens)) and is_mapped(room) == mapped


def fails_with(error):
    def call(file, begin, size):
        raise error

    return call


def test_a_disk_that_is_full_says_so_before_anything_is_mapped(monkeypatch):
    """Written through a map, a full disk would end the process by a signal."""
    full = fails_with(OSError(errno.ENOSPC, "No space left on device"))
    monkeypatch.setattr(os, "posix_fallocate", full, raising=False)
    with pytest.raises(OSError, match="No space left"):
        token_room(8, np.dtype(np.uint16), on_disk=1)


@pytest.mark.parametrize("has_the_call", [True, False])
def test_where_nothing_can_be_set_aside_there_is_room_all_the_same(monkeypatch, has_the_call):
    """Some systems lack the call, some disks refuse it."""
    if has_the_call:
        refused = fails_with(OSError(errno.EOPNOTSUPP, "Operation not supported"))
        monkeypatch.setattr(os, "posix_fallocate", refused, raising=False)
    else:
        monkeypatch.delattr(os, "posix_fallocate", raising=False)
    room = token_room(8, np.dtype(np.uint16), on_disk=1)
    room[:] = 3
    assert room.tolist() == [3] * 8 and is_mapped(room)
