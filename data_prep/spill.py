"""A temporary file of tokens, and the types met so far."""

import tempfile
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

BLOCK = 1 << 20
MAX_TYPES = 2_000_000


class Spill:
    """Documents as provisional int32 ids in a file without a name: it is gone whatever happens.

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
        self._buffer, self._n_tokens = array("i"), 0
        self._file = tempfile.TemporaryFile(dir=folder, prefix=".tmp-", buffering=0)  # noqa: SIM115

    def __enter__(self) -> "Spill":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

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
                types = self._read(start, int(ends[last - 1]) - start)
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
        while position < self._n_tokens:
            types = self._read(position, min(BLOCK, self._n_tokens - position))
            types[(types >= 0) & single[types]] = -1
            self._file.seek(4 * position)
            self._put(types)
            position += len(types)
        for i in np.flatnonzero(single):
            del self.index[self.words[i]]
            self._free.append(int(i))
        self.n_forgotten += int(single.sum())
        # All left were met twice or more: there is no use in looking again at once.
        self._max_types = max(self._max_types, 2 * len(self.index))

    def _flush(self) -> None:
        if self._buffer:
            self._file.seek(4 * self._n_tokens)
            self._put(self._buffer)
            self._n_tokens += len(self._buffer)
            del self._buffer[:]

    def _put(self, numbers: array | np.ndarray) -> None:
        # A raw write may take only a part: the next one then says that the disk is full.
        left = memoryview(numbers).cast("B")
        while left:
            left = left[self._file.write(left) :]

    def _read(self, start: int, count: int) -> np.ndarray:
        types = np.empty(count, np.int32)
        self._file.seek(4 * start)
        left = memoryview(types).cast("B")
        while left:
            n = self._file.readinto(left)
            if not n:
                raise EOFError("the temporary file of tokens has been cut short")
            left = left[n:]
        return types
