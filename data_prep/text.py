"""The user's own text: a folder of .txt, one document per line, JSON Lines, CSV or Parquet."""

import csv
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gensim.utils import tokenize

from data_prep.io.build import Options, Source, prepare
from data_prep.io.inputs import (
    COMPRESSED,
    ReadProgress,
    as_input_error,
    decode,
    decoded_lines,
    find_inputs,
    hash_inputs,
    list_files,
    open_raw,
)
from data_prep.io.output import output_folder
from lla.common.errors import InputError
from lla.corpus import Corpus

ROWS = 1024


@dataclass(frozen=True, repr=False)
class TextOptions(Options):
    """Which documents and words, and where the text is.

    Attributes
    ----------
    tokens : "words" or "split"
        Runs of letters in lower case; or everything between white space, unchanged, for text that
        is already tokenised and for sequences of items.
    keep_case : bool
        Keep capital letters in words.
    field, column : str
        Name of the text in JSON Lines, and in CSV or Parquet.
    stop_words : "remove" or "keep"
        By default, they are removed from words and kept in split tokens.
    licence : str
        Copied into the manifest.
    """

    stop_words: str = ""
    tokens: str = "words"
    keep_case: bool = False
    field: str = "text"
    column: str = "text"
    licence: str = "not stated"

    def __post_init__(self) -> None:
        if self.tokens not in ("words", "split"):
            raise InputError(f"--tokens {self.tokens}: choose words or split")
        if not self.stop_words:
            choice = "remove" if self.tokens == "words" else "keep"
            object.__setattr__(self, "stop_words", choice)
        super().__post_init__()


def prepare_text(
    output: str | Path, options: TextOptions, path: str | Path, overwrite: bool = False
) -> Corpus:
    """Make the corpus folder `output` from the text at `path`, unless it exists and is current.

    Parameters
    ----------
    output : path
    options : TextOptions
    path : path
        A folder (every .txt below it is a document, in the order of their names), .jsonl, .csv,
        .tsv or .parquet; any other file holds one document per line. All but Parquet may be
        compressed.
    overwrite : bool
        Whether a corpus that `output` holds, made from other sources or with other options, is
        replaced.

    Raises
    ------
    InputError
        If the input cannot be used, or no document is left.
    """
    output = output_folder(output)
    (path,) = find_inputs([path])
    files = list_files(path, "*.txt")
    size = sum(file.stat().st_size for file in files)
    source = Source("text", options.licence, hash_inputs([path], "*.txt"), size)
    return prepare(
        read=lambda read_progress: _tokens(path, options, read_progress),
        source=source,
        options=options,
        output=output,
        overwrite=overwrite,
    )


def _tokens(path: Path, options: TextOptions, read_progress: ReadProgress) -> Iterator[list[str]]:
    for text in read_texts(path, options, read_progress):
        if options.tokens == "split":
            yield text.split()
        else:
            yield list(tokenize(text, lowercase=not options.keep_case))


def read_texts(path: Path, options: TextOptions, read_progress: ReadProgress) -> Iterator[str]:
    """The text of each document."""
    if path.is_dir():
        for file in list_files(path, "*.txt"):
            with open_raw(file, read_progress) as content:
                yield decode(content.read(), file).removeprefix("\ufeff")
        return
    name = path.with_suffix("") if path.suffix.lower() in COMPRESSED else path
    kind = name.suffix.lower()
    if kind == ".parquet":
        yield from _parquet(path, options.column, read_progress)
        return
    with open_raw(path, read_progress) as content:
        lines = decoded_lines(content, path)
        if kind in (".csv", ".tsv"):
            yield from _csv(lines, path, options.column, "," if kind == ".csv" else "\t")
        elif kind in (".jsonl", ".ndjson", ".json"):
            yield from _json_lines(lines, path, options.field)
        else:
            yield from (line for line in lines if line.strip())


def _json_lines(lines: Iterator[str], path: Path, field: str) -> Iterator[str]:
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        place = f"{path}: line {number}"
        try:
            record = json.loads(line)
        except ValueError as error:
            raise InputError(
                f"{place} is not JSON ({error}); give one JSON object per line"
            ) from None
        if not isinstance(record, dict):
            raise InputError(f"{place} is not a JSON object; give one JSON object per line")
        if field not in record:
            raise InputError(f"{place} has no field {field!r}; {_choose('--field', record)}")
        yield _text(record[field], f"{place}, field {field!r}")


def _csv(lines: Iterator[str], path: Path, column: str, separator: str) -> Iterator[str]:
    # The default limit of 128 KiB per cell is too small for a long article.
    csv.field_size_limit(sys.maxsize)
    with as_input_error(path):
        rows = csv.reader(lines, delimiter=separator, strict=True)
        header = next(rows, [])
        if column not in header:
            raise InputError(f"{path}: no column {column!r}; {_choose('--column', header)}")
        place = header.index(column)
        for row in rows:
            if row and len(row) <= place:
                raise InputError(
                    f"{path}: line {rows.line_num} has {len(row)} of {len(header)} columns; fix it"
                )
            if row:
                yield row[place]


def _parquet(path: Path, column: str, read_progress: ReadProgress) -> Iterator[str]:
    import pyarrow
    from pyarrow.parquet import ParquetFile

    try:
        with ParquetFile(path) as file:
            names, n_rows = file.schema_arrow.names, max(1, file.metadata.num_rows)
            if column not in names:
                raise InputError(f"{path}: no column {column!r}; {_choose('--column', names)}")
            size, row = path.stat().st_size, 0
            for batch in file.iter_batches(ROWS, columns=[column]):
                for value in batch.column(0).to_pylist():
                    row += 1
                    yield _text(value, f"{path}: row {row}, column {column!r}")
                read_progress.position = size * row // n_rows
    except (pyarrow.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{path}: not a complete Parquet file ({reason}); make it again") from None


def _choose(option: str, names: Any) -> str:
    names = [str(name) for name in names]
    return f"choose with {option} one of {', '.join(names[:20])}" if names else "it has none"


def _text(value: Any, place: str) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise InputError(f"{place} holds {type(value).__name__}, not text; choose another")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise InputError(f"{place} holds half a character (a lone surrogate); fix it") from None
    return value
