"""The user's own text: a folder of .txt, one document per line, JSON Lines, CSV or Parquet."""

import csv
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

from data_prep.io.build import Source, prepare
from data_prep.io.find import list_files, open_inputs, say_passed_over
from data_prep.io.inputs import (
    COMPRESSED,
    ReadProgress,
    decode_text,
    decoded_lines,
    hash_inputs,
    json_objects,
    open_text,
    text_of,
)
from data_prep.io.options import Document, Options
from lla.common.errors import InputError, check_instance, check_text, optional
from lla.common.files import folder_to_write
from lla.corpus import Corpus
from lla.corpus.tokens import Tokenizer

ROWS = 1024
SUFFIX = ".txt"
SEPARATORS = {",": "a comma", "\t": "a tab", ";": "a semicolon", "|": "a bar"}
# Columns and fields that name a document, in this order; case is ignored.
NAMES: tuple[str, ...] = ("id", "_id", "doc_id", "docid", "document_id", "docno", "uid", "key")
NAMES += ("name", "title", "file", "filename", "url")


class Text(NamedTuple):
    """A document before it is cut into words."""

    name: str
    text: str


@dataclass(frozen=True, repr=False)
class TextOptions(Options):
    """Which documents and words, and where the text is.

    Attributes
    ----------
    field, column : str
        Name of the text in JSON Lines, and in CSV or Parquet.
    name : str or None
        Field or column with the documents' names; by default a well-known one (`NAMES`), else
        documents are called by their line or row. Files of a folder have their own names.
    licence : str
        Copied into the manifest.
    """

    field: str = "text"
    column: str = "text"
    name: str | None = None
    licence: str = "not stated"

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("field", "column", "licence"):
            self._check(check_text, name)
        self._check(optional(check_text), "name")


def prepare_text(
    output: str | Path, options: TextOptions, path: str | Path, overwrite: bool = False
) -> Corpus:
    """Make the corpus folder `output` from the text at `path`, unless it exists and is current.

    Parameters
    ----------
    output : path
    options : TextOptions
    path : path
        A folder (every .txt below it is a document, in the order of their names; what is hidden,
        and corpora, are passed over), .jsonl, .csv, .tsv or .parquet; any other file holds one
        document per line. All but Parquet may be compressed, and in UTF-16. ``"-"`` is the
        standard input.
    overwrite : bool
        Whether a corpus that `output` holds, made from other sources or with other options, is
        replaced.

    Raises
    ------
    InputError
        If the input cannot be used, or no document is left.
    """
    output = folder_to_write(output, "--output")
    check_instance("options", options, TextOptions)
    with open_inputs([path]) as (found,):
        files = list_files(found, SUFFIX)
        say_passed_over(found, SUFFIX)
        size = sum(file.stat().st_size for file in files)
        source = Source("text", options.licence, hash_inputs([found], SUFFIX), size)

        def read(tokenizer: Tokenizer, read_progress: ReadProgress) -> Iterator[Document]:
            for name, text in read_texts(found, options, read_progress):
                yield Document(name, tokenizer.tokens(text), tokenizer.misreads(text))

        return prepare(read, source, options, output, overwrite)


def read_texts(path: Path, options: TextOptions, read_progress: ReadProgress) -> Iterator[Text]:
    """The name and the text of each document."""
    bare = path.with_suffix("") if path.suffix.lower() in COMPRESSED else path
    kind = bare.suffix.lower()
    rows = kind in (".csv", ".tsv", ".parquet", ".jsonl", ".ndjson", ".json")
    if options.name is not None and (path.is_dir() or not rows):
        raise InputError(
            f"--name is {options.name}: {path} has no columns; leave it out, "
            f"documents are called by their {'file' if path.is_dir() else 'line'}"
        )
    if path.is_dir():
        for file in list_files(path, SUFFIX):
            with open_text(file, read_progress) as content:
                text = decode_text(content.read(), file).removeprefix("\ufeff")
            yield Text(file.relative_to(path).as_posix(), text)
        return
    if kind == ".parquet":
        if bare != path:
            raise InputError(f"{path}: Parquet is compressed inside, not as a whole; unpack it")
        yield from _parquet(path, options, read_progress)
        return
    with open_text(path, read_progress) as content:
        lines = decoded_lines(content, path)
        if kind in (".csv", ".tsv"):
            yield from _csv(lines, path, options)
        elif kind in (".jsonl", ".ndjson", ".json"):
            yield from _json_lines(lines, path, options)
        else:
            numbered = enumerate(lines, 1)
            yield from (Text(f"line {i}", line) for i, line in numbered if line.strip())


def _json_lines(lines: Iterator[str], path: Path, options: TextOptions) -> Iterator[Text]:
    field = options.field
    for number, record in json_objects(lines, path):
        place = f"{path}: line {number}"
        if field not in record:
            raise InputError(f"{place} has no field {field!r}; {_choose('--field', record)}")
        chosen = _name_column(record, options.name, field, place)
        name = "" if chosen is None else _as_name(record[chosen])
        yield Text(name or f"line {number}", text_of(record[field], f"{place}, field {field!r}"))


def _csv(lines: Iterator[str], path: Path, options: TextOptions) -> Iterator[Text]:
    # The default limit of 128 KiB per cell is too small for a long article.
    csv.field_size_limit(sys.maxsize)
    column, first = options.column, next(lines, "")
    separator = _separator(first, column, path)
    rows = csv.reader(chain([first], lines), delimiter=separator, strict=True)
    try:
        header = [cell.strip() for cell in next(rows, [])]
        if column not in header:
            raise InputError(f"{path}: no column {column!r}; {_choose('--column', header)}")
        if header.count(column) > 1:
            raise InputError(f"{path}: {header.count(column)} columns are {column!r}; rename them")
        place = header.index(column)
        chosen = _name_column(header, options.name, column, str(path))
        named = None if chosen is None else header.index(chosen)
        number = 0
        for row in rows:
            if not row:
                continue
            number += 1
            _check_width(row, header, place, f"{path}: line {rows.line_num}", separator)
            name = row[named].strip() if named is not None and named < len(row) else ""
            yield Text(name or f"row {number}", row[place])
    except csv.Error as error:
        raise InputError(
            f"{path}: line {rows.line_num}, truncated or damaged ({error}); a cell with quotation "
            "marks stands in quotation marks, and those inside are doubled"
        ) from None


def _separator(first: str, column: str, path: Path) -> str:
    """What stands between cells: by the name of the file, unless the first line tells otherwise."""
    usual = "\t" if ".tsv" in path.name.lower() else ","
    for separator in (usual, *SEPARATORS):
        names = first.rstrip("\r\n").split(separator)
        if column in (name.strip().strip('"').strip() for name in names):
            return separator
    return usual


def _check_width(
    row: list[str], header: list[str], column: int, place: str, separator: str
) -> None:
    """Refuse a row that ends before the `column` of the text, or has cells beyond the header."""
    if len(row) <= column:
        raise InputError(f"{place} has {len(row)} of {len(header)} columns; fix it")
    if any(cell.strip() for cell in row[len(header) :]):
        raise InputError(
            f"{place} has {len(row)} cells, the header {len(header)}; put text that contains "
            f"{SEPARATORS[separator]} in quotation marks, or give a .txt with "
            "one document per line"
        )


def _parquet(path: Path, options: TextOptions, read_progress: ReadProgress) -> Iterator[Text]:
    import pyarrow
    from pyarrow.parquet import ParquetFile

    column, row = options.column, 0
    try:
        with ParquetFile(path) as file:
            names, n_rows = file.schema_arrow.names, max(1, file.metadata.num_rows)
            if column not in names:
                raise InputError(f"{path}: no column {column!r}; {_choose('--column', names)}")
            if names.count(column) > 1:
                raise InputError(f"{path}: several columns are {column!r}; rename them")
            named = _name_column(names, options.name, column, str(path))
            size = path.stat().st_size
            for batch in file.iter_batches(ROWS, columns=[column, *([named] if named else [])]):
                texts = batch.column(column).to_pylist()
                titles = batch.column(named).to_pylist() if named else [None] * len(texts)
                for text, title in zip(texts, titles, strict=True):
                    row += 1
                    text = text_of(text, f"{path}: row {row}, column {column!r}")
                    yield Text(_as_name(title) or f"row {row}", text)
                read_progress.position = size * row // n_rows
    except UnicodeDecodeError:
        raise InputError(f"{path}: after row {row} a text is no UTF-8; make it again") from None
    except (pyarrow.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{path}: not a complete Parquet file ({reason}); make it again") from None


def _name_column(names: Iterable[str], wanted: str | None, text: str, place: str) -> str | None:
    """The column or field that names documents, if there is one beside the `text`."""
    names = list(names)
    if wanted is not None:
        if wanted not in names:
            raise InputError(f"{place}: no column {wanted!r}; {_choose('--name', names)}")
        return wanted
    by_lower = {str(name).lower(): name for name in reversed(names) if name != text}
    return next((by_lower[name] for name in NAMES if name in by_lower), None)


def _as_name(value: Any) -> str:
    """An id or title as text; a whole number that missing values made a float has no decimals."""
    if value is None or value != value:
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return value.strip() if isinstance(value, str) else str(value)


def _choose(option: str, names: Any) -> str:
    names = [str(name) for name in names]
    return f"choose with {option} one of {', '.join(names[:20])}" if names else "it has none"
