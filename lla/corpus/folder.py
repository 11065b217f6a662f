"""The folder of a corpus: written whole or not at all, validated when it is read."""

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from tokenize import TokenError
from typing import Any, Literal

import numpy as np

from lla.common.arrays import as_readonly, check_range, id_dtype
from lla.common.errors import InputError, is_disk_full
from lla.common.files import (
    check_replaceable,
    file_hash,
    flush,
    folder_to_write,
    not_writable,
    replace_folder,
    temporary_sibling,
)

FORMAT = 1
DATA_FILES = ("words.npy", "offsets.npy", "vocabulary.txt")
FILES = (*DATA_FILES, "manifest.json")
# What each document is called: names change no result, so they are no part of the fingerprint.
NAMES, NAMES_HASH = "documents.txt", "documents_sha256"
EARLIER_NAMES = "users.txt", "users_sha256"  # of corpora of events up to version 0.2
REMEDY = "make the corpus again"
# What NumPy raises for a file that is none of its own, cut short, or whose header lies.
NO_ARRAY: tuple[type[Exception], ...]
NO_ARRAY = (ValueError, EOFError, OSError, MemoryError, OverflowError, TokenError, SyntaxError)
NO_ARRAY += (TypeError, RecursionError)
MAGIC = b"\x93NUMPY"


class CorpusWriter:
    """Write a corpus block by block; the folder takes its name only when it is whole.

    Parameters
    ----------
    folder : Path
        Replaced when it holds a corpus; anything else that stands there is left alone.
    vocabulary : sequence of str
    manifest : mapping
        May be completed through the attribute `manifest` until the ``with`` block ends.
    names : sequence of str
        What each document is, in their order; empty where they have no names. May be given
        through the attribute `names` until the ``with`` block ends.

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
        names: Sequence[str] = (),
    ) -> None:
        self.folder = folder_to_write(folder)
        self.vocabulary = tuple(vocabulary)
        self.manifest = dict(manifest)
        self.names = names
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
        for name in (NAMES_HASH, EARLIER_NAMES[1]):
            self.manifest.pop(name, None)
        if self.names:
            check_names(self.names, len(offsets) - 1, self.folder)
            self._write_lines(NAMES, self.names)
            self.manifest[NAMES_HASH] = file_hash(self._temporary / NAMES)
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
) -> tuple[np.ndarray, np.ndarray, tuple[str, ...], dict[str, Any], tuple[str, ...]]:
    """Words (memory-mapped), offsets, vocabulary, manifest and names of a corpus folder."""
    if not os.path.isdir(folder):  # a name that is too long is no folder either
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
    names = _read_names(folder, manifest, len(offsets) - 1)
    return words, offsets, vocabulary, manifest, names


def _read_names(folder: Path, manifest: dict[str, Any], n_documents: int) -> tuple[str, ...]:
    """What each document is; empty where the manifest promises no names."""
    for name, key in ((NAMES, NAMES_HASH), EARLIER_NAMES):
        if key not in manifest:
            continue
        path = folder / name
        if not path.is_file() or file_hash(path) != manifest[key]:
            raise InputError(f"{path}: missing, or its SHA-256 is not the manifest's; {REMEDY}")
        names = tuple(_read_vocabulary(path))
        check_names(names, n_documents, path)
        return names
    return ()


def _read_manifest(path: Path) -> dict[str, Any]:
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        raise InputError(f"{path}: not whole JSON; {REMEDY}") from None
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise InputError(f"{path}: not a corpus of format {FORMAT}; {REMEDY}")
    hashes = manifest.get("sha256")
    if not isinstance(hashes, dict) or set(hashes) != set(DATA_FILES):
        raise InputError(f"{path}: lacks the SHA-256 of the three files; {REMEDY}")
    return manifest


def _read_array(path: Path, dtype: np.dtype, mode: Literal["r"] | None) -> np.ndarray:
    try:
        with open(path, "rb") as file:
            if file.read(len(MAGIC)) != MAGIC:  # NumPy would try archives, and leave them open
                raise ValueError("it begins as none")
        array = np.load(path, mmap_mode=mode, allow_pickle=False)
    except NO_ARRAY as error:
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
    try:
        "".join(vocabulary).encode()
    except UnicodeEncodeError as error:
        half = error.object[error.start]
        raise InputError(f"{name}: {half!r} is half a character; fix the words with it") from None
    for word in vocabulary:
        if not word or "\n" in word:
            raise InputError(f"{name}: {word!r} is no word; leave out empty ones and line breaks")


def check_names(names: Sequence[str], n_documents: int, name: Any) -> None:
    """Raise `InputError` unless there is no name at all, or one per document on one line."""
    if not names:
        return
    if len(names) != n_documents:
        raise InputError(
            f"{name}: {len(names)} names, {n_documents} documents; give one per document, or none"
        )
    for i, text in enumerate(names):
        if not isinstance(text, str) or "\n" in text:
            raise InputError(f"{name}: {text!r} of document {i} is no name; give a line of text")


def check_offsets(offsets: np.ndarray, name: Any) -> None:
    """Raise `InputError` unless `offsets` start at 0 and rise: documents, none of them empty."""
    if len(offsets) < 2:
        raise InputError(f"{name}: no document; give at least one")
    falls = offsets[1:] <= offsets[:-1]  # a difference may overflow
    if offsets[0] != 0 or falls.any():
        d = int(np.argmax(falls))
        raise InputError(
            f"{name}: offsets do not rise from 0, document {d} holds no word; leave out empty ones"
        )


def check_ids(words: np.ndarray, n_words: int, name: Any) -> None:
    """Raise `InputError` unless every id is in 0..n_words-1."""
    if (bad := check_range(words, n_words)) is not None:
        raise InputError(
            f"{name}: word id {bad} is not in a vocabulary of {n_words}; use 0 to {n_words - 1}"
        )


def offsets_of(lengths: Sequence[int] | np.ndarray) -> np.ndarray:
    """Where each document starts, and the end of the last, (D+1,) int64."""
    offsets = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return as_readonly(offsets)
