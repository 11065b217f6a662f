"""Arrays that grow with the number of tokens: allocated, counted, hashed, cut into blocks."""

import hashlib
import io
import mmap
import os
import tempfile
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from lla.common.errors import InputError, describe, is_disk_full

SPILL_BYTES = 2**28  # from this size on a copy of words or topics is not kept in memory


def id_dtype(n_ids: int) -> np.dtype:
    """The type of ids of words or topics: uint16 where `n_ids` of them fit, int32 otherwise."""
    return np.dtype(np.uint16 if n_ids <= 2**16 else np.int32)


def as_readonly(array: np.ndarray) -> np.ndarray:
    """`array` itself, made read-only."""
    array.flags.writeable = False
    return array


def check_range(ids: np.ndarray, n_ids: int, size: int = 2**20) -> int | None:
    """The first bound that `ids` break, their lowest or highest; None if all are in 0..n_ids-1.

    Looked at `size` at a time, so that a memory-mapped array does not fill the memory.
    """
    for first in range(0, len(ids), size):
        block = ids[first : first + size]
        low, high = int(block.min()), int(block.max())
        if low < 0 or high >= n_ids:
            return low if low < 0 else high
    return None


def check_id_list(name: str, ids: Any) -> np.ndarray:
    """Ids of words as an array (n,) int64; raise InputError unless they are whole numbers."""
    shown = f"{name} is {describe(ids)}"
    if not isinstance(ids, (str, bytes)) and (
        isinstance(ids, Sequence) or bool(getattr(ids, "shape", None))
    ):
        try:
            array = np.asarray(ids)
        except (ValueError, OverflowError):  # rows of different lengths
            array = np.empty(0, object)
        if array.ndim == 1 and (array.dtype.kind in "iu" or not len(ids)):
            return array.astype(np.int64)
        entries = ids if np.ndim(array) else ()  # one of no dimension cannot be walked through
        others = (entry for entry in entries if type(entry) is not int or abs(entry) >= 2**63)
        shown = f"{name} holds {describe(next(others, ids))}"
    raise InputError(f"{shown}: give whole numbers, places in the vocabulary")


def check_topics(name: str, topics: Any, n_tokens: int, n_topics: int) -> np.ndarray:
    """Topics (N,) as an array.

    Raises
    ------
    InputError
        Unless there are `n_tokens` whole numbers from 0 to `n_topics` - 1: kernels check no bounds.
    """
    if hasattr(topics, "topics"):
        raise InputError(f"{name} is {describe(topics)}: give its topics, as in {name}=lda.topics")
    if isinstance(topics, (str, bytes)) or not (
        isinstance(topics, Sequence) or hasattr(topics, "__array__")
    ):
        raise InputError(f"{name} is {describe(topics)}: give the topics of an LDA, an array")
    try:
        array = np.asarray(topics)
    except ValueError:  # rows of different lengths
        array = np.empty((0, 0))
    if array.shape != (n_tokens,):
        found = f"{array.size} topics" if array.ndim == 1 else f"an array of shape {array.shape}"
        raise InputError(
            f"{name}: {found} for {n_tokens} observed tokens; give those of an LDA of this split"
        )
    if array.dtype.kind not in "iu":
        raise InputError(f"{name} is an array of {array.dtype}: give whole numbers")
    if (bad := check_range(array, n_topics)) is not None:
        raise InputError(
            f"{name}: topic {bad}, but n_topics is {n_topics}; give both the same number of topics"
        )
    return array


def as_array(name: str, value: Any) -> np.ndarray:
    """`value` as an array; raise `InputError` where it is none, such as rows of several lengths."""
    try:
        array = np.asarray(value)
    except (ValueError, TypeError):
        raise InputError(f"{name} is {describe(value)}: give an array") from None
    if array.dtype == object:
        raise InputError(f"{name} is {describe(value)}: give an array of numbers")
    return array


def check_mask(name: str, mask: np.ndarray, n: int) -> None:
    """Raise `InputError` unless `mask` holds one boolean for each of `n` documents."""
    array = as_array(name, mask)
    if array.shape != (n,) or array.dtype != bool:
        raise InputError(
            f"{name}: {array.dtype} {array.shape}; give {n} booleans, such as split.reported"
        )


def check_tokens(
    words: np.ndarray,
    offsets: np.ndarray,
    n_words: int,
    topics: np.ndarray,
    n_topics: int,
) -> None:
    """Raise `InputError` unless a sampler may run over these arrays; it checks no bounds.

    Parameters
    ----------
    words, topics : (N,)
    offsets : (D+1,) from 0 to N, never falling
    """
    check_topics("topics", topics, len(words), n_topics)
    if (bad := check_range(words, n_words)) is not None:
        raise InputError(f"words: id {bad}, but V is {n_words}; give ids of 0 to {n_words - 1}")
    if offsets[0] != 0 or offsets[-1] != len(words) or (np.diff(offsets) < 0).any():
        raise InputError(
            f"offsets: they go from {offsets[0]} to {offsets[-1]}; give where documents start, "
            f"from 0 to {len(words)}, rising"
        )


def blocks(
    starts: np.ndarray, first: int, end: int, max_places: int = 2**18
) -> Iterator[tuple[slice, slice]]:
    """Numbers first..end-1 in runs of at most `max_places` places, or one number: run and places.

    Per-token temporaries then exist for one block only.

    Parameters
    ----------
    starts : (n+1,) where the places of each number start, such as a corpus' offsets
    """
    while first < end:
        last = np.searchsorted(starts, starts[first] + max_places, side="right") - 1
        stop = min(end, max(first + 1, int(last)))
        yield slice(first, stop), slice(int(starts[first]), int(starts[stop]))
        first = stop


def count_ids(ids: np.ndarray, n_ids: int, size: int = 2**20) -> np.ndarray:
    """How often each id occurs, (n_ids,): `np.bincount`, which would copy small types whole."""
    total = np.zeros(n_ids, np.int64)
    for i in range(0, len(ids), size):
        total += np.bincount(ids[i : i + size], minlength=n_ids)
    return total


def allocate_tokens(n_tokens: int, dtype: np.dtype, spill_bytes: int | None = None) -> np.ndarray:
    """(N,) for words or topics: in memory or, where large, in a nameless file under TMPDIR.

    Parameters
    ----------
    spill_bytes : size from which on it is a file, by default `SPILL_BYTES`
    """
    n_bytes = n_tokens * dtype.itemsize
    if n_bytes < (SPILL_BYTES if spill_bytes is None else spill_bytes):
        return np.empty(n_tokens, dtype)
    with tempfile.TemporaryFile() as file:  # what is mapped stays when the file is closed
        try:  # a full disk says so here, not by a signal once it is mapped
            os.posix_fallocate(file.fileno(), 0, n_bytes)
        except (AttributeError, OSError) as error:  # not every system has it, nor every disk
            if isinstance(error, OSError) and is_disk_full(error):
                raise
        return np.memmap(file, dtype, "w+", shape=(n_tokens,)).view(np.ndarray)


def release_pages(array: np.ndarray) -> None:
    """Take what was read of a mapped file out of this process' memory, until it is read again."""
    base: Any = array
    while isinstance(base, np.ndarray):
        base = base.base
    if isinstance(base, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        base.madvise(mmap.MADV_DONTNEED)


def array_hash(array: np.ndarray) -> str:
    """SHA-256 of the .npy file that `array` is saved as."""
    array = np.ascontiguousarray(array)
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, np.lib.format.header_data_from_array_1_0(array))
    digest = hashlib.sha256(header.getvalue())
    digest.update(array.data.cast("B") if array.size else b"")  # where it lies, not a copy
    return digest.hexdigest()
