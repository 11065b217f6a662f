"""Temporary files of records of one type; of tokens, with the types met so far."""

import tempfile
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

BLOCK = 1 << 20
MAX_TYPES = 2_000_000


class Records:
    """Records of one type in a file without a name: it is gone whatever happens.

    Parameters
    ----------
    folder : Path
        Where there is room for all of them.
    dtype : NumPy dtype

    Attributes
    ----------
    n : int
        How many there are.
    """

    def __init__(self, folder: Path, dtype: np.dtype | type) -> None:
        self.dtype, self.n = np.dtype(dtype), 0
        self._file = tempfile.TemporaryFile(dir=folder, prefix=".tmp-", buffering=0)  # noqa: SIM115

    def __enter__(self) -> "Records":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def append(self, records: np.ndarray) -> None:
        """Put `records` after the last."""
        self.write(self.n, records)

    def write(self, start: int, records: np.ndarray) -> None:
        """Put `records` at number `start` and the following."""
        self._file.seek(self.dtype.itemsize * start)
        # A raw write may take only a part: the next one then says that the disk is full.
        left = memoryview(np.ascontiguousarray(records, self.dtype).view(np.uint8))
        while left:
            left = left[self._file.write(left) :]
        self.n = max(self.n, start + len(records))

    def read(self, start: int, count: int) -> np.ndarray:
        """Records `start` to `start` + `count`, (count,)."""
        records = np.empty(count, self.dtype)
        self._file.seek(self.dtype.itemsize * start)
        left = memoryview(records.view(np.uint8))
        while left:
            n = self._file.readinto(left)
            if not n:
                raise EOFError("a temporary file has been cut short")
            left = left[n:]
        return records

    def blocks(self) -> Iterator[np.ndarray]:
        """All of them, in order, a block at a time."""
        for start in range(0, self.n, BLOCK):
            yield self.read(start, min(BLOCK, self.n - start))


class Spill:
    """Documents as provisional int32 ids on disk.

    Parameters
    ----------
    folder : Path
        Where there is room for four bytes a token.
    max_types : int
        Once more types are met, those met once are forgotten (their token becomes -1), so that
        misspelt words do not fill the memory. A word so rare is in no vocabulary of use.

    Attributes
    ----------
    lengths : array of int64, one a document
    index : dict from word to id
    words : list, word of each id
    """

    def __init__(self, folder: Path, max_types: int | None = None) -> None:
        self.lengths, self.n_forgotten = array("q"), 0
        self.index: dict[str, int] = {}
        self.words: list[str] = []
        self._free: list[int] = []
        self._max_types = max_types or MAX_TYPES
        self._buffer, self._tokens = array("i"), Records(folder, np.int32)

    def __enter__(self) -> "Spill":
        return self

    def __exit__(self, *_: object) -> None:
        self._tokens.__exit__()

    def add(self, tokens: Sequence[str]) -> None:
        """Append a document."""
        index, buffer = self.index, self._buffer
        for word in tokens:
            i = index.get(word)
            buffer.append(self._new(word) if i is None else i)
        self.lengths.append(len(tokens))
        if len(buffer) >= BLOCK:
            self._flush()
        if len(index) > self._max_types:
            self._forget()

    def extend(self, ids: np.ndarray, lengths: np.ndarray) -> None:
        """Append documents whose ids, flat, are those of `words` already."""
        self._flush()
        self._tokens.append(ids)
        self.lengths.frombytes(np.ascontiguousarray(lengths, np.int64).tobytes())

    def count(self, chosen: np.ndarray) -> np.ndarray:
        """Tokens of each id in the chosen documents, (n_ids,) int64."""
        frequency = np.zeros(len(self.words), np.int64)
        for types, _ in self.blocks(chosen):
            frequency += np.bincount(types[types >= 0], minlength=len(frequency))
        return frequency

    def blocks(self, chosen: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Ids, flat, and lengths of some of the chosen documents, in order, until all were given.

        Parameters
        ----------
        chosen : (D,) bool
        """
        self._flush()
        lengths = np.frombuffer(self.lengths, np.int64)
        ends = np.cumsum(lengths)
        first = 0
        while first < len(lengths):
            start = int(ends[first] - lengths[first])
            # At least one document, and no more than a block of them.
            last = max(first + 1, int(np.searchsorted(ends, start + BLOCK, side="right")))
            part = slice(first, last)
            if chosen[part].any():
                types = self._tokens.read(start, int(ends[last - 1]) - start)
                yield types[np.repeat(chosen[part], lengths[part])], lengths[part][chosen[part]]
            first = last

    def _new(self, word: str) -> int:
        if self._free:
            i = self._free.pop()
            self.words[i] = word
        else:
            i = len(self.words)
            self.words.append(word)
        self.index[word] = i
        return i

    def _forget(self) -> None:
        everything = np.ones(len(self.lengths), bool)
        single = self.count(everything) == 1
        position = 0
        while position < self._tokens.n:
            types = self._tokens.read(position, min(BLOCK, self._tokens.n - position))
            types[(types >= 0) & single[types]] = -1
            self._tokens.write(position, types)
            position += len(types)
        for i in np.flatnonzero(single):
            del self.index[self.words[i]]
            self._free.append(int(i))
        self.n_forgotten += int(single.sum())
        # All left were met twice or more: there is no use in looking again at once.
        self._max_types = max(self._max_types, 2 * len(self.index))

    def _flush(self) -> None:
        if self._buffer:
            self._tokens.append(np.frombuffer(self._buffer, np.int32))
            self._buffer = array("i")
