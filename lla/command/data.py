"""What a command reads: a corpus folder, or a text file with a document on each line."""

from array import array
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from lla.common.arrays import id_dtype
from lla.common.errors import InputError, check_path
from lla.common.files import file_hash
from lla.common.progress import progress
from lla.corpus import Corpus, load_corpus
from lla.corpus.folder import offsets_of
from lla.corpus.tokens import Tokenizer

TABLES = (".csv", ".tsv", ".json", ".jsonl", ".ndjson", ".parquet", ".arrow", ".xlsx")
SPLIT = Tokenizer("split", min_letters=1)  # what stands between blanks, unchanged
LONGEST_LINE = 2**28  # bytes
PACKED = (".gz", ".bz2", ".xz", ".zst", ".zip", ".tar", ".7z")


def read_corpus(name: str, min_count: int, vocabulary: int) -> Corpus:
    """The corpus in a folder, or of a text file.

    Parameters
    ----------
    min_count, vocabulary : of a text file: words that are less frequent are left out, and all but
        so many of the most frequent ones; ties in alphabetical order
    """
    path = check_path("CORPUS", name)
    if path.is_dir():
        return load_corpus(path)
    ids, lengths, lines, words = _read_lines(path, {}, SPLIT)
    counts = np.bincount(ids, minlength=len(words))  # (types,)
    order = sorted(range(len(words)), key=lambda i: (-counts[i], words[i]))[:vocabulary]
    kept = [i for i in order if counts[i] >= min_count]
    if not kept:
        raise InputError(f"{path}: no word occurs {min_count} times; give a smaller min_count")
    number = np.full(len(words), -1)
    number[kept] = np.arange(len(kept))
    return _corpus(path, number[ids], lengths, lines, tuple(words[i] for i in kept), SPLIT)


def read_known(name: str, vocabulary: tuple[str, ...], tokenizer: Any) -> tuple[Corpus, int]:
    """The corpus in a folder, or of a text file in the words of a model, and how many it lacks.

    Parameters
    ----------
    vocabulary : of the model
    tokenizer : options of the tokenizer of its corpus, None where it had none
    """
    path = check_path("CORPUS", name)
    if path.is_dir():
        return load_corpus(path), 0
    known = {word: i for i, word in enumerate(vocabulary)}
    tokenizer = SPLIT if tokenizer is None else Tokenizer.from_options(tokenizer)
    ids, lengths, lines, _ = _read_lines(path, known, tokenizer)
    if not (ids >= 0).any():
        raise InputError(f"{path}: no word that the model knows; give other documents")
    corpus = _corpus(path, ids, lengths, lines, vocabulary, tokenizer)
    return corpus, int((ids < 0).sum())


def _read_lines(
    path: Path, known: dict[str, int], tokenizer: Tokenizer
) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[str]]:
    """Ids of all words (N,), the words on each line that has any, its number, and the words.

    Parameters
    ----------
    known : ids of words, where no others are to have one: they get -1. Empty: all have one
    """
    words, ids, lengths, lines = dict(known), array("i"), array("q"), array("q")
    for number, line in _lines(path):
        tokens = tokenizer.tokens(line)
        if known:
            ids.extend(words.get(token, -1) for token in tokens)
        else:
            ids.extend(words.setdefault(token, len(words)) for token in tokens)
        if tokens:
            lengths.append(len(tokens))
            lines.append(number)
    if not lengths:
        raise InputError(f"{path}: no word in it; give a file with a document on each line")
    columns = np.frombuffer(ids, np.int32), np.frombuffer(lengths, np.int64)
    return *columns, np.frombuffer(lines, np.int64), list(words)


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """The lines of a UTF-8 file, each with its number."""
    if path.suffix.lower() in TABLES:
        raise InputError(
            f"{path}: a table is no text file; make a corpus folder of it with python -m data_prep "
            "text, or events, and give that"
        )
    if path.suffix.lower() in PACKED:
        raise InputError(
            f"{path}: compressed; unpack it, or make a corpus folder of it with python -m data_prep"
        )
    try:
        if path.exists() and not path.is_file():  # a pipe could be read only once
            raise InputError(f"{path}: no file; give a text file or a corpus folder")
        size = path.stat().st_size
        bar = progress(total=size, description=f"read {path.name}", unit="byte")
        with open(path, "rb") as file, bar:
            for number, line in enumerate(iter(partial(file.readline, LONGEST_LINE + 1), b""), 1):
                if len(line) > LONGEST_LINE:
                    raise InputError(
                        f"{path}: line {number} has more than {LONGEST_LINE:,} bytes; give a "
                        "document on each line"
                    )
                bar.update(len(line))
                try:
                    yield number, line.decode("utf-8-sig" if number == 1 else "utf-8")
                except UnicodeDecodeError:
                    raise InputError(
                        f"{path}: line {number} is no UTF-8; save the file as text in UTF-8"
                    ) from None
    except FileNotFoundError:
        raise InputError(f"{path}: no such file or folder; give a corpus") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); give a corpus") from None


def _corpus(
    path: Path,
    ids: np.ndarray,
    lengths: np.ndarray,
    lines: np.ndarray,
    vocabulary: tuple[str, ...],
    tokenizer: Tokenizer,
) -> Corpus:
    """The documents without what has the id -1; empty ones are left out."""
    is_known = ids >= 0
    document = np.repeat(np.arange(len(lengths)), lengths)
    lengths = np.bincount(document[is_known], minlength=len(lengths))
    full = lengths > 0
    words = ids[is_known].astype(id_dtype(len(vocabulary)))
    names = tuple(f"line {number}" for number in lines[full])
    corpus = Corpus(words, offsets_of(lengths[full]), vocabulary, names=names)
    manifest = {
        "source": f"text: {path.name}",
        "raw_sha256": {path.name: file_hash(path)},
        "tokenizer": tokenizer.options(),
    }
    return replace(corpus, manifest=manifest)
