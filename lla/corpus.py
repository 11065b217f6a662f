"""A corpus: all documents as one flat array of word ids, on disk and memory-mapped; its splits."""

import hashlib
import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from lla.corpus_folder import (
    DATA_FILES,
    CorpusWriter,
    array_hash,
    check_ids,
    check_offsets,
    check_vocabulary,
    frozen,
    id_dtype,
    offsets_of,
    read_folder,
    read_users,
    vocabulary_bytes,
)
from lla.errors import InputError, is_disk_full

__all__ = [
    "Corpus",
    "CorpusWriter",
    "Split",
    "blocks",
    "count_ids",
    "id_dtype",
    "load_corpus",
    "load_users",
    "save_corpus",
    "split_corpus",
]


ON_DISK = 2**28  # bytes of words from which on a copy of them is not kept in memory


@dataclass(frozen=True, eq=False)
class Corpus:
    """D documents of N tokens in all, over V words. Its arrays are read-only.

    Attributes
    ----------
    words : (N,) uint16 or int32
        Word ids, document after document; memory-mapped when loaded.
    offsets : (D+1,) int64
        Document d is ``words[offsets[d]:offsets[d + 1]]``; none is empty.
    vocabulary : tuple of str
    manifest : dict
        Source, licence, options and counts; empty for a corpus made in memory.
    """

    words: np.ndarray
    offsets: np.ndarray
    vocabulary: tuple[str, ...]
    manifest: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def from_documents(
        cls, documents: Iterable[Sequence[int]], vocabulary: Iterable[str]
    ) -> "Corpus":
        """A corpus in memory.

        Raises
        ------
        InputError
            When there is no document, one is empty, or a word id is not in 0..V-1.
        """
        vocabulary = tuple(vocabulary)
        columns = [np.asarray(document, np.int64) for document in documents]
        offsets = offsets_of([len(column) for column in columns])
        check_vocabulary(vocabulary, "vocabulary")
        check_offsets(offsets, "documents")
        words = np.concatenate(columns)
        check_ids(words, len(vocabulary), "documents")
        return cls(frozen(words.astype(id_dtype(len(vocabulary)))), offsets, vocabulary)

    @property
    def n_documents(self) -> int:
        """D."""
        return len(self.offsets) - 1

    @property
    def n_tokens(self) -> int:
        """N."""
        return len(self.words)

    @property
    def n_words(self) -> int:
        """V."""
        return len(self.vocabulary)

    @cached_property
    def lengths(self) -> np.ndarray:
        """Tokens of each document, (D,) int64."""
        return frozen(np.diff(self.offsets))

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of words, offsets and vocabulary; the same in memory and on disk."""
        hashes = self.manifest.get("sha256") or {
            "words.npy": array_hash(self.words),
            "offsets.npy": array_hash(self.offsets),
            "vocabulary.txt": hashlib.sha256(vocabulary_bytes(self.vocabulary)).hexdigest(),
        }
        return hashlib.sha256("".join(hashes[name] for name in DATA_FILES).encode()).hexdigest()

    def document(self, d: int) -> np.ndarray:
        """The word ids of document `d`, a view."""
        return self.words[self.offsets[d] : self.offsets[d + 1]]

    def select(self, documents: np.ndarray) -> "Corpus":
        """A copy of the chosen documents, in this order, with the same vocabulary.

        Parameters
        ----------
        documents : (D,) bool, or document numbers
        """
        chosen = np.arange(self.n_documents)[documents]
        return self._cut(chosen, self.lengths[chosen])

    def _cut(self, chosen: np.ndarray, lengths: np.ndarray) -> "Corpus":
        """The first `lengths` tokens of each `chosen` document."""
        offsets = offsets_of(lengths)
        words = token_room(offsets[-1], self.words.dtype)
        for i, d in enumerate(chosen):
            first = self.offsets[d]
            words[offsets[i] : offsets[i + 1]] = self.words[first : first + lengths[i]]
        return Corpus(frozen(words), offsets, self.vocabulary)


def blocks(
    starts: np.ndarray, first: int, end: int, most: int = 2**18
) -> Iterator[tuple[slice, slice]]:
    """Numbers first..end-1 in runs of at most `most` places, or one number: the run, its places.

    What is held a token, but only while a run is at hand, takes no memory that grows with N.

    Parameters
    ----------
    starts : (n+1,) where the places of each number begin, such as a corpus' offsets
    """
    while first < end:
        reach = np.searchsorted(starts, starts[first] + most, side="right") - 1
        beyond = min(end, max(first + 1, int(reach)))
        yield slice(first, beyond), slice(int(starts[first]), int(starts[beyond]))
        first = beyond


def count_ids(ids: np.ndarray, n_ids: int, size: int = 2**20) -> np.ndarray:
    """How often each id occurs, (n_ids,): `np.bincount`, which would copy small types whole."""
    total = np.zeros(n_ids, np.int64)
    for i in range(0, len(ids), size):
        total += np.bincount(ids[i : i + size], minlength=n_ids)
    return total


def token_room(n_tokens: int, dtype: np.dtype, on_disk: int | None = None) -> np.ndarray:
    """(N,) for words or topics: in memory or, where many, in a nameless file where TMPDIR says.

    Parameters
    ----------
    on_disk : bytes from which on it is a file, by default `ON_DISK`
    """
    n_bytes = n_tokens * dtype.itemsize
    if n_bytes < (ON_DISK if on_disk is None else on_disk):
        return np.empty(n_tokens, dtype)
    with tempfile.TemporaryFile() as file:  # what is mapped stays when the file is closed
        try:  # a full disk says so here, not by a signal once it is mapped
            os.posix_fallocate(file.fileno(), 0, n_bytes)
        except (AttributeError, OSError) as error:  # not every system has it, nor every disk
            if isinstance(error, OSError) and is_disk_full(error):
                raise
        return np.memmap(file, dtype, "w+", shape=(n_tokens,)).view(np.ndarray)


@dataclass(frozen=True, eq=False)
class Split:
    """Every document cut in an observed and a held-out part; some documents for development.

    Attributes
    ----------
    corpus : Corpus
        The whole documents.
    observed : Corpus
        The first `n_observed` tokens of each.
    n_observed : (D,) int64
    development : (D,) bool
        Documents for early stopping and tuning, never in a reported figure.
    """

    corpus: Corpus
    observed: Corpus
    n_observed: np.ndarray
    development: np.ndarray

    @property
    def reported(self) -> np.ndarray:
        """Documents whose held-out part is reported, (D,) bool."""
        return ~self.development

    @cached_property
    def n_held_out(self) -> np.ndarray:
        """Held-out tokens of each document, (D,) int64."""
        return frozen(self.corpus.lengths - self.n_observed)

    @cached_property
    def held_out(self) -> np.ndarray:
        """Which tokens are held out, (N,) bool."""
        ends = np.stack([self.n_observed, self.n_held_out], axis=1).ravel()
        return frozen(np.repeat(np.arange(len(ends)) % 2 == 1, ends))

    def sum_held_out(self, values: np.ndarray) -> np.ndarray:
        """Sum of `values` (N,) over each document's held-out tokens, (D,) float64."""
        document = np.repeat(np.arange(self.corpus.n_documents), self.n_held_out)
        held_out = np.asarray(values)[self.held_out]
        return np.bincount(document, held_out, minlength=self.corpus.n_documents)

    def restrict(self, documents: np.ndarray) -> "Split":
        """The same split of the chosen documents alone; `documents` is (D,) bool."""
        return Split(
            self.corpus.select(documents),
            self.observed.select(documents),
            frozen(self.n_observed[documents]),
            frozen(self.development[documents]),
        )


def split_corpus(
    corpus: Corpus, observed: float = 0.6, development: float = 0.1, seed: int = 0
) -> Split:
    """Observe the first 60% of every document (paper, 4.1); draw a tenth for development.

    Parameters
    ----------
    observed : float in (0, 1)
        Part of each document, rounded up to whole tokens: a document of one token is observed.
    development : float in [0, 1)
        Part of the documents. Unless 0, at least one document, as long as one is left to report.
    seed : int
        Which documents are for development.
    """
    if not 0 < observed < 1:
        raise InputError(f"observed={observed}: choose a part above 0 and below 1, such as 0.6")
    if not 0 <= development < 1:
        raise InputError(f"development={development}: choose a part from 0 to below 1")
    # Counted in fractions: in floating point ceil(0.55 * 100) is 56.
    part = Fraction(observed).limit_denominator(1_000_000)
    n_observed = -(-corpus.lengths * part.numerator // part.denominator)
    n_observed = frozen(np.clip(n_observed, 1, corpus.lengths))
    n_documents = corpus.n_documents
    size = max(round(development * n_documents), int(development > 0))
    draw = np.random.Generator(np.random.Philox(seed))
    chosen = np.zeros(n_documents, bool)
    chosen[draw.permutation(n_documents)[: min(size, n_documents - 1)]] = True
    first = corpus._cut(np.arange(n_documents), n_observed)
    return Split(corpus, first, n_observed, frozen(chosen))


def save_corpus(corpus: Corpus, folder: str | Path) -> None:
    """Write `corpus` to `folder`, whole or not at all."""
    with CorpusWriter(folder, corpus.vocabulary, corpus.manifest) as writer:
        writer.add(corpus.words, corpus.lengths)


def load_corpus(folder: str | Path, verify: bool = True) -> Corpus:
    """Read a corpus folder; its words stay on disk, memory-mapped.

    Parameters
    ----------
    verify : bool
        Also compare the files with their SHA-256 and look at every word id.

    Raises
    ------
    InputError
        When a file is missing, damaged or does not fit the others.
    """
    return Corpus(*read_folder(Path(folder), verify))


def load_users(folder: str | Path) -> tuple[str, ...]:
    """The user that each document of a corpus of events is, in the order of its documents.

    Raises
    ------
    InputError
        When the folder names no users, or their file is missing or damaged.
    """
    return read_users(Path(folder))
