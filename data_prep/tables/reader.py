"""Tables of events in blocks of rows: CSV, TSV, JSON Lines, zip, Parquet, Arrow and pandas."""

import io
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import IO, Any
from zipfile import ZipFile

import numpy as np
import pandas as pd
import pyarrow as pa
from pyarrow.parquet import ParquetFile

from data_prep.io.find import MAX_NAMED, is_hidden_path
from data_prep.io.inputs import COMPRESSED, HEAD, ReadProgress, as_input_error, as_lines, open_raw
from data_prep.tables.columns import as_ids, find_columns, is_header, missing, plain, trimmed
from data_prep.tables.contents import check_is_table, open_member, spreadsheet
from data_prep.tables.delimited import (
    Layout,
    Rows,
    TextFile,
    first_cells,
    first_line,
    incomplete,
    read_header,
    read_rows,
)
from data_prep.tables.files import (
    ARROW,
    FORMS,
    JSON,
    PARQUET,
    SEPARATORS,
    TableFiles,
    is_table,
    suffix,
)
from data_prep.tables.json_rows import read_json_rows
from lla.common.errors import InputError

log = logging.getLogger("data_prep")
ROWS = 1 << 17  # rows per block of Parquet files and frames
# Looked for, in this order, in the first line of a file whose name does not tell the separator.
LIKELY_SEPARATORS = ("\t", "::", ";", ",", "|")
FRAMES = "give a path, a pandas DataFrame, or an Arrow table or stream"
Block = tuple[list[str], Rows]


@dataclass(frozen=True)
class Form:
    """Format of a text file, where its name does not tell.

    Attributes
    ----------
    separator : str or None
        Between columns; by default by the name of the file, else by its first line.
    names : tuple of str
        The columns of a file without a header.
    header : bool
        Whether a file has a header, unless `names` are given; else columns are numbered from 1.
    quoted : bool or None
        Whether quotation marks may enclose separators and line breaks; None: where tabs separate
        the columns, only if all marks are such (`data_prep.tables.delimited.marks_are_quotes`).
    encoding : str
    """

    separator: str | None = None
    names: tuple[str, ...] = ()
    header: bool = True
    quoted: bool | None = None
    encoding: str = "utf-8"


def in_memory(source: Any, wanted: Mapping[str, str | None]) -> pa.Table:
    """User, item and perhaps time of a pandas or Arrow frame, as an Arrow table."""
    name = f"the {type(source).__name__}"
    try:
        if isinstance(source, pd.DataFrame):
            # A named index is a column, too.
            names = [name for name in source.index.names if name is not None]
            if names := [name for name in names if name not in source.columns]:
                source = source.reset_index(names)
            chosen = find_columns([str(column) for column in source.columns], wanted, name)
            source = source.iloc[:, list(chosen.values())].rename(columns=str)
            return pa.Table.from_pandas(source, preserve_index=False).replace_schema_metadata()
        protocols = ("__arrow_c_stream__", "__arrow_c_array__")
        if not isinstance(source, dict) and not any(hasattr(source, p) for p in protocols):
            raise InputError(f"the source is {type(source).__name__}: {FRAMES}")
        table = pa.table(source)
    except InputError:
        raise
    except (pa.ArrowException, OverflowError, TypeError, ValueError) as error:
        raise InputError(
            f"{name}: {error}; give each column one type of values, such as text"
        ) from None
    return table.select(list(find_columns(table.column_names, wanted, name).values()))


def table_hash(table: pa.Table) -> str:
    """SHA-256 of the content of an Arrow table."""
    sink = io.BytesIO()
    total = sha256(str(table.schema).encode())
    with pa.ipc.new_stream(sink, table.schema) as stream:
        for batch in table.to_batches(ROWS):
            stream.write(batch)
            total.update(sink.getvalue())
            sink.seek(0)
            sink.truncate()
    return total.hexdigest()


def read_tables(
    found: TableFiles,
    form: Form,
    wanted: Mapping[str, str | None],
    drop: bool,
    read_progress: ReadProgress,
) -> Iterator[Block]:
    """Blocks of rows of all files, one after the other.

    Yields
    ------
    columns : list of str
        The names of the columns taken as user, item and, where there is one, time.
    rows : Rows
    """
    for path, name in found.files:
        with as_input_error(name), open(path, "rb") as raw:
            start = raw.read(8)
        packed = start.startswith((b"PAR1", b"ARROW1", b"PK\x03\x04", b"PK\x05\x06"))
        if not packed and suffix(path) in {*PARQUET, *ARROW, ".zip"}:
            raise InputError(
                f"{name}: no {suffix(path)[1:]} file by its content; make it again, or give it the "
                "name of what it is"
            )
        if not packed:
            with open_raw(path, read_progress) as content:
                yield from _read_stream(content, name, form, wanted, drop, read_progress)
        elif start.startswith(b"PK"):
            yield from _zip(path, name, form, wanted, drop, read_progress)
        elif not form.header:
            raise InputError(f"{name}: has names of columns; leave out --no-header")
        else:
            read = _parquet if start.startswith(b"PAR1") else _arrow_file
            yield from read(path, name, wanted, drop, read_progress)


def _zip(
    path: Path,
    name: str,
    form: Form,
    wanted: Mapping[str, str | None],
    drop: bool,
    read_progress: ReadProgress,
) -> Iterator[Block]:
    """Blocks of rows of the tables in an archive, or of the only file in it."""
    with as_input_error(name), ZipFile(path) as archive:
        if spreadsheet(archive):
            raise InputError(f"{name}: no table but a spreadsheet; save the sheet as .csv")
        members = [
            member.filename
            for member in archive.infolist()
            if member.filename and not member.is_dir() and not is_hidden_path(member.filename)
        ]
        tables = sorted(member for member in members if is_table(Path(member)))
        chosen = tables or (members if len(members) == 1 else [])
        if not chosen:
            there = ", ".join(members[:5]) or "nothing"
            raise InputError(f"{name}: no table in this archive but {there}; unpack it, name one")
        packed = {*PARQUET, *ARROW, ".zip"}
        for member in chosen:
            if suffix(member) in packed or Path(member).suffix.lower() in COMPRESSED:
                raise InputError(f"{name}: {member} is no bare text; unpack the archive, name it")
        if others := sorted(set(members) - set(chosen)):
            named = ", ".join(others[:MAX_NAMED]) + (", ..." if len(others) > MAX_NAMED else "")
            log.info("%s: passed over: %d no table (%s)", name, len(others), named)
        for member in chosen:
            place = f"{name}: {member}"
            with open_member(archive, member, place) as content:
                yield from _read_stream(content, place, form, wanted, drop, read_progress)
            read_progress.position = path.stat().st_size


def _read_stream(
    content: io.BufferedReader,
    name: str,
    form: Form,
    wanted: Mapping[str, str | None],
    drop: bool,
    read_progress: ReadProgress,
) -> Iterator[Block]:
    """Blocks of rows of text whose form is told by its name or its beginning."""
    content = as_lines(content, name)
    check_is_table(content, name)
    start = content.peek(HEAD)[:HEAD].removeprefix(b"\xef\xbb\xbf")
    if suffix(name) in JSON or start.lstrip().startswith(b'{"'):
        if not form.header:
            raise InputError(f"{name}: has names of fields; leave out --no-header")
        with as_input_error(name):
            text = TextFile(content, name, "utf-8")
            yield from read_json_rows(text, name, wanted, drop, read_progress)
        return
    yield from read_text(content, name, form, wanted, drop, read_progress)


def read_text(
    content: IO[bytes],
    path: Path | str,
    form: Form,
    wanted: Mapping[str, str | None],
    drop: bool,
    read_progress: ReadProgress,
) -> Iterator[Block]:
    """Blocks of rows of decompressed text; see `read_tables`."""
    text = TextFile(content, path, form.encoding)
    with as_input_error(path):
        separator = form.separator or SEPARATORS.get(suffix(path)) or _separator(text, path)
        quoted = form.quoted
        if len(separator) > 1:
            quoted = False
        elif separator != "\t" and quoted is None:
            quoted = True
        names: list[str] | None = list(form.names)
        if not names:
            read = read_header if form.header else first_cells
            names = read(text, separator, quoted)
        if names is None:
            raise InputError(f"{path}: empty; name a file with a header and one row per event")
        if not form.header and not form.names:
            if is_header(names):
                raise InputError(f"{path}: its first line is a header; leave out --no-header")
            names = [str(i + 1) for i in range(len(names))]
        chosen = list(find_columns(names, wanted, path, form.header).values())
        layout = Layout(
            path=path,
            width=len(names),
            chosen=chosen,
            separator=separator,
            quoted=quoted,
            encoding=form.encoding,
            drop=drop,
        )
        for rows in read_rows(text, layout, read_progress):
            yield [names[i] for i in chosen], rows


def _separator(text: TextFile, path: Path | str) -> str:
    """The separator of a file whose name does not tell it."""
    first = first_line(text)
    found = next((separator for separator in LIKELY_SEPARATORS if separator in first), None)
    if found is None and first.strip():
        raise InputError(f"{path}: not {FORMS}; rename it, or give --separator")
    return found or ","


def _parquet(
    path: Path,
    name: str,
    wanted: Mapping[str, str | None],
    drop: bool,
    read_progress: ReadProgress,
) -> Iterator[Block]:
    size, start = path.stat().st_size, read_progress.position
    # Read-ahead would load the whole file into memory.
    with _as_incomplete(name, "Parquet"), ParquetFile(path, pre_buffer=False) as file:
        names, n_rows = file.schema_arrow.names, max(1, file.metadata.num_rows)
        chosen = [names[i] for i in find_columns(names, wanted, name).values()]
        first = 0
        for batch in filter(len, file.iter_batches(ROWS, columns=chosen)):
            rows = _arrow_rows(batch.select(chosen), first, name, drop, read_progress)
            first += len(batch)
            read_progress.position = start + size * first // n_rows
            yield chosen, rows


def _arrow_file(
    path: Path,
    name: str,
    wanted: Mapping[str, str | None],
    drop: bool,
    read_progress: ReadProgress,
) -> Iterator[Block]:
    size, start = path.stat().st_size, read_progress.position
    with (
        _as_incomplete(name, "Arrow"),
        pa.memory_map(str(path)) as content,
        pa.ipc.open_file(content) as file,
    ):
        names = file.schema.names
        chosen = [names[i] for i in find_columns(names, wanted, name).values()]
        first = 0
        for i in range(file.num_record_batches):
            whole = file.get_batch(i).select(chosen)
            # Arrow takes a damaged file as it is, and its functions then read beyond its end.
            whole.validate(full=True)
            for batch in filter(len, pa.Table.from_batches([whole]).to_batches(ROWS)):
                yield chosen, _arrow_rows(batch, first, name, drop, read_progress)
                first += len(batch)
            read_progress.position = start + size * (i + 1) // file.num_record_batches


@contextmanager
def _as_incomplete(name: str, kind: str) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{name}: not a complete {kind} file ({reason}); make it again") from None


def read_table(
    table: pa.Table, name: str, drop: bool, read_progress: ReadProgress
) -> Iterator[Block]:
    """Blocks of rows of a table in memory whose columns are user, item and perhaps time."""
    first = 0
    for batch in filter(len, table.to_batches(ROWS)):
        yield table.column_names, _arrow_rows(batch, first, f"the {name}", drop, read_progress)
        first += len(batch)
        read_progress.position = table.nbytes * first // max(1, len(table))


def _arrow_rows(
    batch: pa.RecordBatch, first: int, name: str, drop: bool, read_progress: ReadProgress
) -> Rows:
    """The complete rows of a batch of user, item and perhaps time, after `first` earlier rows."""

    def place(i: int) -> str:
        return f"{name}: row {first + int(numbers[i]) + 1}"

    numbers = np.arange(len(batch))
    columns = [plain(column) for column in batch.columns]
    columns[:2] = [as_ids(columns[i], batch.schema.names[i], place) for i in (0, 1)]
    if len(columns) == 3 and pa.types.is_large_string(columns[2].type):
        columns[2] = trimmed(columns[2])
    gaps = [missing(column) for column in columns]
    gap = np.any(gaps, axis=0)
    if gap.any():
        if not drop:
            i = int(np.argmax(gap))
            raise incomplete(place(i), [not column[i] for column in gaps])
        read_progress.skipped += int(gap.sum())
        numbers = np.flatnonzero(~gap)
        columns = [column.take(numbers) for column in columns]
    user, item, *time = columns
    return Rows(user, item, time[0] if time else None, place)
