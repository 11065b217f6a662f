"""A corpus: documents as flat arrays of word ids."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from lla.common.arrays import (
    allocate_tokens,
    array_hash,
    as_array,
    as_readonly,
    check_id_list,
    check_range,
    id_dtype,
    release_pages,
)
from lla.common.display import Summarized
from lla.common.errors import (
    InputError,
    check_instance,
    check_integer,
    check_path,
    check_texts,
)
from lla.corpus.folder import (
    DATA_FILES,
    CorpusWriter,
    check_ids,
    check_names,
    check_offsets,
    check_vocabulary,
    offsets_of,
    read_folder,
    vocabulary_bytes,
)

# What of a manifest is as true of a part of the documents: where they are from, how a text was
# cut into words, whether these have an order.
DESCRIPTION = ("source", "licence", "tokenizer", "order")


@dataclass(frozen=True, eq=False, repr=False)
class Corpus(Summarized):
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
    names : tuple of str
        What each document is: a title, a file, a user; empty where they have no names.
    """

    words: np.ndarray
    offsets: np.ndarray
    vocabulary: tuple[str, ...]
    manifest: dict[str, Any] = field(default_factory=dict)
    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check the arrays once, here: no kernel that reads a corpus checks bounds."""
        words, offsets = as_array("words", self.words), as_array("offsets", self.offsets)
        for name, array in (("words", words), ("offsets", offsets)):
            if array.ndim != 1 or array.dtype.kind not in "iu":
                raise InputError(
                    f"{name}: {array.dtype} {array.shape}; give one row of whole numbers"
                )
        offsets = np.ascontiguousarray(offsets, np.int64)
        check_offsets(offsets, "offsets")
        if offsets[-1] != len(words):
            raise InputError(
                f"offsets: they end at {offsets[-1]}, but there are {len(words)} words; give both "
                "of one corpus"
            )
        vocabulary = check_texts("vocabulary", self.vocabulary)
        check_ids(words, len(vocabulary), "words")
        release_pages(words)  # of a large corpus a process may need a part alone
        names = check_texts("names", self.names)
        check_names(names, len(offsets) - 1, "names")
        object.__setattr__(self, "words", _readonly_view(np.ascontiguousarray(words)))
        object.__setattr__(self, "offsets", _readonly_view(offsets))
        object.__setattr__(self, "vocabulary", vocabulary)
        object.__setattr__(self, "names", names)

    @classmethod
    def from_documents(
        cls,
        documents: Iterable[Sequence[int] | np.ndarray],
        vocabulary: Iterable[str],
        names: Iterable[str] = (),
    ) -> "Corpus":
        """A corpus in memory.

        Raises
        ------
        InputError
            When there is no document, one is empty, a word id is not in 0..V-1, or there are names
            but not one per document.
        """
        vocabulary = check_texts("vocabulary", vocabulary)
        check_instance("documents", documents, Iterable)
        columns = [check_id_list(f"document {d}", ids) for d, ids in enumerate(documents)]
        offsets = offsets_of([len(column) for column in columns])
        check_vocabulary(vocabulary, "vocabulary")
        check_offsets(offsets, "documents")
        words = np.concatenate(columns)
        check_ids(words, len(vocabulary), "documents")  # before they are cut to a smaller type
        names = check_texts("names", names)
        return cls(words.astype(id_dtype(len(vocabulary))), offsets, vocabulary, names=names)

    def summary_facts(self) -> dict[str, Any]:
        """Counts, where it is from, and its first names."""
        found: dict[str, Any] = {
            "documents": self.n_documents,
            "tokens": self.n_tokens,
            "words": self.n_words,
        }
        if source := self.manifest.get("source"):
            found["source"] = str(source)
        if self.names:
            found["names"] = ", ".join(self.names[:3])
        return found

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
        return as_readonly(np.diff(self.offsets))

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
        d = self._number(d)
        return self.words[self.offsets[d] : self.offsets[d + 1]]

    def items(self, document: str | int) -> list[str]:
        """The words of one document, by its name or its number: a history as models take it.

        Raises
        ------
        InputError
            When there is no such document, or several of that name.
        """
        d = self._number(document)
        return [self.vocabulary[w] for w in self.document(d)]

    def _number(self, document: str | int) -> int:
        """The number of the document of this name, or the number itself."""
        if not isinstance(document, str):
            check_integer("document", document, least=0)
            if document >= self.n_documents:
                raise InputError(f"document {document}: give 0 to {self.n_documents - 1}")
            return int(document)
        if not self.names:
            raise InputError(
                f"document {document!r}: this corpus' documents have no names; give a number, "
                f"0 to {self.n_documents - 1}"
            )
        found = [d for d, name in enumerate(self.names) if name == document]
        if len(found) != 1:
            there = f"documents {found[0]} and {found[1]}" if found else "no document"
            raise InputError(f"document {document!r}: {there} of that name; give a number")
        return found[0]

    def select(self, documents: np.ndarray) -> "Corpus":
        """A copy of the chosen documents, in this order, with the same vocabulary.

        Parameters
        ----------
        documents : (D,) bool, or document numbers

        Raises
        ------
        InputError
            When none is chosen, or one does not exist.
        """
        chosen = self.document_numbers(documents)
        return self._cut(chosen, self.lengths[chosen])

    def document_numbers(self, documents: np.ndarray) -> np.ndarray:
        """The numbers of the documents that a mask, or numbers, choose."""
        documents, n_documents = as_array("documents", documents), self.n_documents
        if documents.dtype == bool and documents.shape == (n_documents,):
            documents = np.flatnonzero(documents)
        if documents.shape == (0,):
            raise InputError("documents: none is chosen; choose at least one")
        if documents.ndim != 1 or documents.dtype.kind not in "iu":
            raise InputError(
                f"documents: {documents.dtype} {documents.shape}; give {n_documents} booleans, or "
                "numbers of documents"
            )
        if (bad := check_range(documents, n_documents)) is not None:
            raise InputError(f"documents: there is no {bad}; give 0 to {n_documents - 1}")
        return documents

    def beginnings(self, lengths: np.ndarray) -> "Corpus":
        """A copy with the first `lengths` (D,) words of every document, at least one of each."""
        lengths = as_array("lengths", lengths)
        n_documents = self.n_documents
        if lengths.shape != (n_documents,) or lengths.dtype.kind not in "iu":
            raise InputError(
                f"lengths: {lengths.dtype} {lengths.shape}; give {n_documents} whole numbers"
            )
        if ((lengths < 1) | (lengths > self.lengths)).any():
            raise InputError("lengths: not all in 1 to the length of their document; give others")
        return self._cut(np.arange(n_documents), lengths)

    def _cut(self, chosen: np.ndarray, lengths: np.ndarray) -> "Corpus":
        """The first `lengths` tokens of each `chosen` document."""
        offsets = offsets_of(lengths)
        words = allocate_tokens(offsets[-1], self.words.dtype)
        for i, d in enumerate(chosen):
            first = self.offsets[d]
            words[offsets[i] : offsets[i + 1]] = self.words[first : first + lengths[i]]
        names = tuple(self.names[d] for d in chosen) if self.names else ()
        manifest = {key: self.manifest[key] for key in DESCRIPTION if key in self.manifest}
        return Corpus(as_readonly(words), offsets, self.vocabulary, manifest, names)


def _readonly_view(array: np.ndarray) -> np.ndarray:
    """`array` if it is read-only, else a view that is: the caller's own stays as it was."""
    return as_readonly(array.view()) if array.flags.writeable else array


def check_same_vocabulary(corpus: Corpus, vocabulary: tuple[str, ...], n_words: int) -> None:
    """Raise `InputError` unless `corpus` has the words that a model was trained on, in their order.

    A word is known to a model by its number alone: under another vocabulary it would read other
    words, and its numbers would mean nothing.

    Parameters
    ----------
    vocabulary : of the model; empty where it is not known
    n_words : V of the model
    """
    check_instance("corpus", corpus, Corpus)
    remedy = "make the corpus with --vocabulary-of the one that the model was trained on"
    if corpus.n_words != n_words:
        raise InputError(f"corpus: {corpus.n_words} words, but the model has {n_words}; {remedy}")
    if not vocabulary or corpus.vocabulary == vocabulary:
        return
    pairs = zip(corpus.vocabulary, vocabulary, strict=True)
    w, (mine, theirs) = next((w, pair) for w, pair in enumerate(pairs) if pair[0] != pair[1])
    raise InputError(f"corpus: its word {w} is {mine!r}, but the model's is {theirs!r}; {remedy}")


def save_corpus(corpus: Corpus, folder: str | Path) -> None:
    """Write `corpus` to `folder`, atomically."""
    check_instance("corpus", corpus, Corpus)
    folder = check_path("folder", folder)
    with CorpusWriter(folder, corpus.vocabulary, corpus.manifest, corpus.names) as writer:
        writer.add(corpus.words, corpus.lengths)


def load_corpus(folder: str | Path, verify: bool = True) -> Corpus:
    """Read a corpus folder; its words stay on disk, memory-mapped.

    Parameters
    ----------
    verify : bool
        Also compare the files with their SHA-256 and check every word id.

    Raises
    ------
    InputError
        When a file is missing, damaged or does not fit the others.
    """
    return Corpus(*read_folder(check_path("folder", folder), verify))
