"""Documents as word ids in a temporary file, with the vocabulary met so far."""

import tempfile
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

BLOCK = 1 << 20  # ids read or written at once
MAX_TYPES = 2_000_000


class IdFile:
    """int32 ids in a file without a name, which the system removes whatever happens.

    Parameters
    ----------
    folder : Path
        Where there is room for four bytes per id.

    Attributes
    ----------
    n : int
        Number of ids.
    """

    def __init__(self, folder: Path) -> None:
        self.n = 0
        self._file = tempfile.TemporaryFile(dir=folder, prefix=".tmp-", buffering=0)  # noqa: SIM115

    def __enter__(self) -> "IdFile":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def append(self, ids: np.ndarray) -> None:
        """Write `ids` at the end."""
        self.write(self.n, ids)

    def write(self, start: int, ids: np.ndarray) -> None:
        """Write `ids` at position `start`."""
        self._file.seek(4 * start)
        # A raw write may write only a part; the next one then reports a full disk.
        left = memoryview(np.ascontiguousarray(ids, np.int32).view(np.uint8))
        while left:
            left = left[self._file.write(left) :]
        self.n = max(self.n, start + len(ids))

    def read(self, start: int, count: int) -> np.ndarray:
        """Ids `start` to `start` + `count`, (count,)."""
        ids = np.empty(count, np.int32)
        self._file.seek(4 * start)
        left = memoryview(ids.view(np.uint8))
        while left:
            n = self._file.readinto(left)
            if not n:
                raise EOFError("a temporary file was truncated")
            left = left[n:]
        return ids


class TokenFile:
    """Documents as provisional int32 ids on disk.

    Parameters
    ----------
    folder : Path
        Where there is room for four bytes per token.
    max_types : int
        Above this many types, those seen once are dropped (their tokens become -1), so that
        misspelt words do not fill the memory. No useful vocabulary contains a word that rare.
    vocabulary : sequence of str
        The words to know, with ids in this order; all others become -1. Empty: all words met.

    Attributes
    ----------
    lengths : array of int64, one per document
    index : dict from word to id
    words : list, word of each id
    n_dropped : int
        Types dropped so far.
    """

    def __init__(
        self, folder: Path, max_types: int | None = None, vocabulary: Sequence[str] = ()
    ) -> None:
        self.lengths, self.n_dropped = array("q"), 0
        self.words: list[str] = list(vocabulary)
        self.index: dict[str, int] = {word: i for i, word in enumerate(vocabulary)}
        self._is_fixed = bool(vocabulary)
        self._free: list[int] = []
        self._max_types = max_types or MAX_TYPES
        self._buffer, self._tokens = array("i"), IdFile(folder)

    def __enter__(self) -> "TokenFile":
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
        if len(index) > self._max_types and not self._is_fixed:
            self._drop_rare()

    def count(self, chosen: np.ndarray) -> np.ndarray:
        """Tokens of each id in the chosen documents, (n_ids,) int64."""
        frequency = np.zeros(len(self.words), np.int64)
        for types, _ in self.blocks(chosen):
            frequency += np.bincount(types[types >= 0], minlength=len(frequency))
        return frequency

    def blocks(self, chosen: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Blocks of the chosen documents, in order: their ids, flat, and their lengths.

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
            # Documents of at most BLOCK ids together, or a single longer one.
            last = max(first + 1, int(np.searchsorted(ends, start + BLOCK, side="right")))
            part = slice(first, last)
            if chosen[part].any():
                types = self._tokens.read(start, int(ends[last - 1]) - start)
                yield types[np.repeat(chosen[part], lengths[part])], lengths[part][chosen[part]]
            first = last

    def _new(self, word: str) -> int:
        if self._is_fixed:
            return -1
        if self._free:
            i = self._free.pop()
            self.words[i] = word
        else:
            i = len(self.words)
            self.words.append(word)
        self.index[word] = i
        return i

    def _drop_rare(self) -> None:
        all_documents = np.ones(len(self.lengths), bool)
        single = self.count(all_documents) == 1
        for start in range(0, self._tokens.n, BLOCK):
            types = self._tokens.read(start, min(BLOCK, self._tokens.n - start))
            types[(types >= 0) & single[types]] = -1
            self._tokens.write(start, types)
        for i in np.flatnonzero(single):
            del self.index[self.words[i]]
            self._free.append(int(i))
        self.n_dropped += int(single.sum())
        # The others were seen at least twice, so counting again soon would find nothing to drop.
        self._max_types = max(self._max_types, 2 * len(self.index))

    def _flush(self) -> None:
        if self._buffer:
            self._tokens.append(np.frombuffer(self._buffer, np.int32))
            self._buffer = array("i")
