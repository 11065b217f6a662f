"""Corpora: documents as flat arrays of word ids, split in observed and held-out parts; their files.

The folder of a corpus is written atomically and validated when it is read.
"""

import hashlib
import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

from lla.common.arrays import allocate_tokens, array_hash, as_readonly, id_dtype
from lla.common.errors import InputError, is_disk_full
from lla.common.files import (
    check_replaceable,
    file_hash,
    flush,
    not_writable,
    replace_folder,
    temporary_sibling,
)

FORMAT = 1
DATA_FILES = ("words.npy", "offsets.npy", "vocabulary.txt")
FILES = (*DATA_FILES, "manifest.json")
# Who each document is: a file that only corpora of events have, so no part of the corpus itself.
USERS, USERS_HASH = "users.txt", "users_sha256"
REMEDY = "make the corpus again"


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
        cls, documents: Iterable[Sequence[int] | np.ndarray], vocabulary: Iterable[str]
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
        return cls(as_readonly(words.astype(id_dtype(len(vocabulary)))), offsets, vocabulary)

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
        words = allocate_tokens(offsets[-1], self.words.dtype)
        for i, d in enumerate(chosen):
            first = self.offsets[d]
            words[offsets[i] : offsets[i + 1]] = self.words[first : first + lengths[i]]
        return Corpus(as_readonly(words), offsets, self.vocabulary)


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
        return as_readonly(self.corpus.lengths - self.n_observed)

    @cached_property
    def held_out(self) -> np.ndarray:
        """Which tokens are held out, (N,) bool."""
        ends = np.stack([self.n_observed, self.n_held_out], axis=1).ravel()
        return as_readonly(np.repeat(np.arange(len(ends)) % 2 == 1, ends))

    def sum_held_out(self, values: np.ndarray) -> np.ndarray:
        """Sum of `values` (N,) over each document's held-out tokens, (D,) float64."""
        document = np.repeat(np.arange(self.corpus.n_documents), self.n_held_out)
        held_out = np.asarray(values)[self.held_out]
        return np.bincount(document, held_out, minlength=self.corpus.n_documents)

    def identity(self) -> dict[str, str]:
        """Hashes that identify this split, for checkpoints."""
        return {
            "corpus": self.corpus.fingerprint,
            "development": hashlib.sha256(np.packbits(self.development)).hexdigest(),
            "n_observed": hashlib.sha256(self.n_observed).hexdigest(),
        }

    def restrict(self, documents: np.ndarray) -> "Split":
        """The same split of the chosen documents alone; `documents` is (D,) bool."""
        return Split(
            self.corpus.select(documents),
            self.observed.select(documents),
            as_readonly(self.n_observed[documents]),
            as_readonly(self.development[documents]),
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
    n_observed = as_readonly(np.clip(n_observed, 1, corpus.lengths))
    n_documents = corpus.n_documents
    size = max(round(development * n_documents), int(development > 0))
    draw = np.random.Generator(np.random.Philox(seed))
    chosen = np.zeros(n_documents, bool)
    chosen[draw.permutation(n_documents)[: min(size, n_documents - 1)]] = True
    first = corpus._cut(np.arange(n_documents), n_observed)
    return Split(corpus, first, n_observed, as_readonly(chosen))


def save_corpus(corpus: Corpus, folder: str | Path) -> None:
    """Write `corpus` to `folder`, atomically."""
    with CorpusWriter(folder, corpus.vocabulary, corpus.manifest) as writer:
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
    return Corpus(*read_folder(Path(folder), verify))


def load_users(folder: str | Path) -> tuple[str, ...]:
    """The user that each document of a corpus of events is, in the order of its documents.

    Raises
    ------
    InputError
        When the folder names no users, or their file is missing or damaged.
    """
    return read_users(Path(folder))


class CorpusWriter:
    """Write a corpus block by block; the folder takes its name only when it is whole.

    Parameters
    ----------
    folder : Path
        Replaced when it holds a corpus; anything else that stands there is left alone.
    vocabulary : sequence of str
    manifest : mapping
        May be completed through the attribute `manifest` until the ``with`` block ends.
    users : sequence of str, optional
        Who each document is; see `read_users`.

    Examples
    --------
    >>> with CorpusWriter(folder, vocabulary, {"source": "mine"}) as writer:  # doctest: +SKIP
    ...     writer.add(words, lengths)
    """

    def __init__(
        self,
        folder: str | Path,
        vocabulary: Sequence[str],
        manifest: Mapping[str, Any],
        users: Sequence[str] | None = None,
    ) -> None:
        self.folder = Path(folder)
        self.vocabulary = tuple(vocabulary)
        self.manifest = dict(manifest)
        self.users = users
        self._dtype = id_dtype(len(self.vocabulary))
        self._lengths: list[np.ndarray] = []
        self._temporary = temporary_sibling(self.folder)

    def __enter__(self) -> "CorpusWriter":
        check_replaceable(self.folder)
        check_vocabulary(self.vocabulary, self.folder)
        try:
            self._temporary.mkdir(parents=True)
            self._file = open(self._temporary / "words.npy", "wb")
            self._write_header(0)
        except OSError as error:
            shutil.rmtree(self._temporary, ignore_errors=True)
            raise not_writable(error, self.folder) from None
        return self

    def add(self, words: np.ndarray, lengths: np.ndarray) -> None:
        """Append whole documents: their word ids, flat, and the length of each."""
        check_ids(words, len(self.vocabulary), self.folder)
        if len(words) != np.sum(lengths):
            raise ValueError(f"{len(words)} words do not fill documents of {np.sum(lengths)}")
        self._file.write(np.ascontiguousarray(words, self._dtype).data)
        self._lengths.append(np.asarray(lengths, np.int64))

    def __exit__(self, kind: type | None, error: BaseException | None, _: Any) -> None:
        try:
            if error is None:
                self._finish()
        except OSError as failure:
            error = failure
            raise not_writable(failure, self.folder) from None
        finally:
            # Closing flushes once more, which a full disk refuses once more.
            with suppress(OSError):
                self._file.close()
            shutil.rmtree(self._temporary, ignore_errors=True)
        if isinstance(error, OSError) and is_disk_full(error):
            raise not_writable(error, self.folder) from None

    def _write_header(self, n_tokens: int) -> None:
        # NumPy pads the header so that the length can grow: it is as long for 0 tokens as for N.
        header = {"descr": self._dtype.str, "fortran_order": False, "shape": (n_tokens,)}
        np.lib.format.write_array_header_1_0(self._file, header)

    def _finish(self) -> None:
        offsets = offsets_of(np.concatenate([np.empty(0, np.int64), *self._lengths]))
        check_offsets(offsets, self.folder)
        self._file.seek(0)
        self._write_header(int(offsets[-1]))
        flush(self._file)
        with open(self._temporary / "offsets.npy", "wb") as file:
            np.save(file, offsets)
            flush(file)
        self._write_lines("vocabulary.txt", self.vocabulary)
        self.manifest.pop(USERS_HASH, None)
        if self.users is not None:
            if len(self.users) != len(offsets) - 1:
                raise ValueError(f"{len(self.users)} users, {len(offsets) - 1} documents")
            self._write_lines(USERS, self.users)
            self.manifest[USERS_HASH] = file_hash(self._temporary / USERS)
        counts = {"documents": len(offsets) - 1, "tokens": int(offsets[-1])}
        counts["words"] = len(self.vocabulary)
        self.manifest["counts"] = {**counts, **self.manifest.get("counts", {}), **counts}
        hashes = {name: file_hash(self._temporary / name) for name in DATA_FILES}
        self.manifest |= {"sha256": hashes, "format": FORMAT}
        with open(self._temporary / "manifest.json", "w", encoding="utf-8") as file:
            json.dump(self.manifest, file, indent=2, ensure_ascii=False)
            file.write("\n")
            flush(file)
        replace_folder(self._temporary, self.folder)

    def _write_lines(self, name: str, lines: Sequence[str]) -> None:
        with open(self._temporary / name, "wb") as file:
            file.write(vocabulary_bytes(lines))
            flush(file)


def read_folder(
    folder: Path, verify: bool
) -> tuple[np.ndarray, np.ndarray, tuple[str, ...], dict[str, Any]]:
    """Words (memory-mapped), offsets, vocabulary and manifest of a corpus folder."""
    if not folder.is_dir():
        raise InputError(f"{folder}: no such corpus folder; make it with python -m data_prep")
    if missing := [name for name in FILES if not (folder / name).is_file()]:
        raise InputError(f"{folder}: {', '.join(missing)} missing; {REMEDY}")
    manifest = _read_manifest(folder / "manifest.json")
    if verify:
        for name in DATA_FILES:
            if file_hash(folder / name) != manifest["sha256"][name]:
                raise InputError(f"{folder / name}: SHA-256 is not the manifest's; {REMEDY}")
    vocabulary = tuple(_read_vocabulary(folder / "vocabulary.txt"))
    # A plain view: NumPy and Numba treat it as any array, and its base keeps the map open.
    words = _read_array(folder / "words.npy", id_dtype(len(vocabulary)), "r").view(np.ndarray)
    offsets = as_readonly(_read_array(folder / "offsets.npy", np.dtype(np.int64), None))
    check_vocabulary(vocabulary, folder / "vocabulary.txt")
    check_offsets(offsets, folder / "offsets.npy")
    if offsets[-1] != len(words):
        raise InputError(
            f"{folder}: offsets end at {offsets[-1]}, words.npy has {len(words)}; {REMEDY}"
        )
    if verify:
        check_ids(words, len(vocabulary), folder / "words.npy")
    return words, offsets, vocabulary, manifest


def read_users(folder: Path) -> tuple[str, ...]:
    """Who each document of the corpus `folder` is, as CorpusWriter got them."""
    *_, offsets, _, manifest = read_folder(folder, verify=False)
    path = folder / USERS
    if USERS_HASH not in manifest:
        raise InputError(f"{folder}: this corpus names no users; only one of events does")
    if not path.is_file() or file_hash(path) != manifest[USERS_HASH]:
        raise InputError(f"{path}: missing, or its SHA-256 is not the manifest's; {REMEDY}")
    users = tuple(_read_vocabulary(path))
    if len(users) != len(offsets) - 1:
        raise InputError(f"{path}: {len(users)} users, {len(offsets) - 1} documents; {REMEDY}")
    return users


def _read_manifest(path: Path) -> dict[str, Any]:
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        raise InputError(f"{path}: not whole JSON; {REMEDY}") from None
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise InputError(f"{path}: not a corpus of format {FORMAT}; {REMEDY}")
    hashes = manifest.get("sha256")
    if not isinstance(hashes, dict) or set(hashes) != set(DATA_FILES):
        raise InputError(f"{path}: lacks the SHA-256 of the three files; {REMEDY}")
    return manifest


def _read_array(path: Path, dtype: np.dtype, mode: Literal["r"] | None) -> np.ndarray:
    try:
        array = np.load(path, mmap_mode=mode, allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise InputError(f"{path}: not a whole NumPy array ({error}); {REMEDY}") from None
    if not isinstance(array, np.ndarray) or array.dtype != dtype or array.ndim != 1:
        raise InputError(f"{path}: not one row of {dtype} numbers; {REMEDY}")
    return array


def _read_vocabulary(path: Path) -> list[str]:
    try:
        text = path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: no UTF-8 at byte {error.start}; {REMEDY}") from None
    return text.removesuffix("\n").split("\n") if text else []


def vocabulary_bytes(vocabulary: Sequence[str]) -> bytes:
    """The file vocabulary.txt: UTF-8, a word a line."""
    return "".join(f"{word}\n" for word in vocabulary).encode()


def check_vocabulary(vocabulary: Sequence[str], name: Any) -> None:
    """Raise `InputError` unless there is a word, none twice, none empty or with a line break."""
    if not vocabulary:
        raise InputError(f"{name}: the vocabulary is empty; give at least one word")
    if len(set(vocabulary)) != len(vocabulary):
        raise InputError(f"{name}: a word stands twice in the vocabulary; give each once")
    for word in vocabulary:
        if not word or "\n" in word:
            raise InputError(f"{name}: {word!r} is no word; leave out empty ones and line breaks")


def check_offsets(offsets: np.ndarray, name: Any) -> None:
    """Raise `InputError` unless `offsets` start at 0 and rise: documents, none of them empty."""
    if len(offsets) < 2:
        raise InputError(f"{name}: no document; give at least one")
    if offsets[0] != 0 or (np.diff(offsets) < 1).any():
        d = int(np.argmax(np.diff(offsets) < 1))
        raise InputError(
            f"{name}: offsets do not rise from 0, document {d} holds no word; leave out empty ones"
        )


def check_ids(words: np.ndarray, n_words: int, name: Any, size: int = 2**20) -> None:
    """Raise `InputError` unless every id is in 0..n_words-1; `size` of them at a time."""
    for first in range(0, len(words), size):
        block = words[first : first + size]
        low, high = int(block.min()), int(block.max())
        if low < 0 or high >= n_words:
            bad = low if low < 0 else high
            raise InputError(
                f"{name}: word id {bad} is not in a vocabulary of {n_words}; use 0 to {n_words - 1}"
            )


def offsets_of(lengths: Sequence[int] | np.ndarray) -> np.ndarray:
    """Where each document starts, and the end of the last, (D+1,) int64."""
    offsets = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return as_readonly(offsets)
