"""Tables of events in blocks of rows: CSV, TSV, Parquet, Arrow and pandas."""

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import IO, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow.parquet import ParquetFile

from data_prep.io.delimited import Layout, Rows, TextFile, incomplete, read_header, read_rows
from data_prep.io.inputs import COMPRESSED, ReadProgress, as_input_error, list_files, open_raw
from data_prep.io.times import is_text
from lla.common.errors import InputError

ROWS = 1 << 17  # rows per block of Parquet files and frames
SEPARATORS = {".csv": ",", ".tsv": "\t", ".tab": "\t"}
PARQUET = {".parquet", ".pq"}
FORMS = "a table: .csv, .tsv or .parquet, compressed or not"
# Column names looked for by default, in this order; case and punctuation are ignored.
KNOWN = {
    "user": "user userid uid session sessionid visitor visitorid customer customerid person "
    "personid member memberid account accountid",
    "item": "item itemid iid product productid venue venueid location locationid place placeid "
    "track trackid song songid artist artistid movie movieid article articleid page url query",
    "time": "time timestamp datetime ts eventtime utctime utctimestamp createdat date order "
    "position rank step",
}


@dataclass(frozen=True)
class Form:
    """Format of a text file, where its name does not tell.

    Attributes
    ----------
    separator : str or None
        Between columns; by default a comma for .csv, a tab for .tsv.
    names : tuple of str
        The columns of a file without a header.
    quoted : bool
        Whether quotation marks may enclose separators and line breaks.
    encoding : str
    """

    separator: str | None = None
    names: tuple[str, ...] = ()
    quoted: bool = True
    encoding: str = "utf-8"


def in_memory(source: Any, wanted: Mapping[str, str | None]) -> pa.Table:
    """User, item and perhaps time of a pandas or Arrow frame, as an Arrow table."""
    name = f"the {type(source).__name__}"
    try:
        if isinstance(source, pd.DataFrame):
            chosen = find_columns([str(column) for column in source.columns], wanted, name)
            source = source.iloc[:, list(chosen.values())].rename(columns=str)
            return pa.Table.from_pandas(source, preserve_index=False).replace_schema_metadata()
        table = pa.table(source)
    except InputError:
        raise
    except (pa.ArrowException, UnicodeError, TypeError, ValueError) as error:
        raise InputError(f"{name}: {error}; give each column one type of values") from None
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


def find_columns(
    names: Sequence[str], wanted: Mapping[str, str | None], where: Any
) -> dict[str, int]:
    """Which columns hold user, item and time, by position; time is optional.

    Parameters
    ----------
    names : sequence of str
        All columns of the table.
    wanted : mapping
        The given names of ``"user"``, ``"item"`` and ``"time"``, or None to search for one.
        An empty time means no column.
    where : path or str
        For the error message.
    """
    plain = [_normalised(name) for name in names]
    found = {}
    for role, name in wanted.items():
        if name is None:
            name = next((names[plain.index(k)] for k in KNOWN[role].split() if k in plain), "")
        if not name and role == "time":
            continue
        if name not in names and plain.count(_normalised(name)) == 1:
            name = names[plain.index(_normalised(name))]
        if name not in names:
            what = f"column {name!r}" if name else f"column that is known to hold the {role}"
            there = ", ".join(map(repr, names[:20])) or "none"
            raise InputError(
                f"{where}: no {what}; it has {there}: name one with --{role}"
                + (", or give the separator of columns with --separator" if len(names) == 1 else "")
            )
        if names.count(name) > 1:
            raise InputError(f"{where}: {names.count(name)} columns are {name!r}; rename them")
        found[role] = names.index(name)
    if len(set(found.values())) < len(found):
        twice = {role: names[i] for role, i in found.items()}
        raise InputError(f"{where}: one column for two uses ({twice}); name other columns")
    return found


def _normalised(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum())


def is_table(path: Path) -> bool:
    """Whether a file is a table by its name."""
    return _suffix(path) in PARQUET | SEPARATORS.keys()


def is_parquet(path: Path) -> bool:
    """Whether a file is Parquet by its name."""
    return _suffix(path) in PARQUET


def _suffix(path: Path) -> str:
    return (path.with_suffix("") if path.suffix.lower() in COMPRESSED else path).suffix.lower()


def read_path(
    path: Path,
    form: Form,
    wanted: Mapping[str, str | None],
    drop: bool,
    read_progress: ReadProgress,
) -> Iterator[tuple[list[str], Rows]]:
    """Blocks of rows of a file, or of all tables in a folder by their names.

    Yields
    ------
    columns : list of str
        The names of the columns taken as user, item and, where there is one, time.
    rows : Rows
    """
    files = [path] if path.is_file() else [file for file in list_files(path) if is_table(file)]
    if not files:
        raise InputError(f"{path}: no table in this folder; name one that holds {FORMS}")
    for file in files:
        if is_parquet(file):
            yield from _parquet(file, wanted, drop, read_progress)
            continue
        separator = form.separator or SEPARATORS.get(_suffix(file))
        if separator is None:
            raise InputError(f"{file}: not {FORMS}; rename it, or give --separator")
        with open_raw(file, read_progress) as content:
            form_of_file = replace(form, separator=separator)
            yield from read_text(content, file, form_of_file, wanted, drop, read_progress)


def read_text(
    content: IO[bytes],
    path: Path | str,
    form: Form,
    wanted: Mapping[str, str | None],
    drop: bool,
    read_progress: ReadProgress,
) -> Iterator[tuple[list[str], Rows]]:
    """Blocks of rows of decompressed text; `form` names a separator; see `read_path`."""
    assert form.separator is not None
    text = TextFile(content, path, form.encoding)
    with as_input_error(path):
        names = list(form.names) or read_header(text, form.separator, form.quoted)
        if names is None:
            raise InputError(f"{path}: empty; name a file with a header and one row per event")
        chosen = list(find_columns(names, wanted, path).values())
        layout = Layout(
            path=path,
            width=len(names),
            chosen=chosen,
            separator=form.separator,
            quoted=form.quoted,
            encoding=form.encoding,
            drop=drop,
        )
        for rows in read_rows(text, layout, read_progress):
            yield [names[i] for i in chosen], rows


def _parquet(
    path: Path, wanted: Mapping[str, str | None], drop: bool, read_progress: ReadProgress
) -> Iterator[tuple[list[str], Rows]]:
    size, start = path.stat().st_size, read_progress.position
    try:
        # Read-ahead would load the whole file into memory.
        with ParquetFile(path, pre_buffer=False) as file:
            names, n_rows = file.schema_arrow.names, max(1, file.metadata.num_rows)
            chosen = [names[i] for i in find_columns(names, wanted, path).values()]
            first = 0
            for batch in file.iter_batches(ROWS, columns=chosen):
                rows = _arrow_rows(batch.select(chosen), first, str(path), drop, read_progress)
                first += len(batch)
                read_progress.position = start + size * first // n_rows
                yield chosen, rows
    except (pa.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{path}: not a complete Parquet file ({reason}); make it again") from None


def read_table(
    table: pa.Table, name: str, drop: bool, read_progress: ReadProgress
) -> Iterator[tuple[list[str], Rows]]:
    """Blocks of rows of a table in memory whose columns are user, item and perhaps time."""
    first = 0
    for batch in table.to_batches(ROWS):
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
    user, item = (_texts(batch.column(i), batch.schema.names[i], place) for i in (0, 1))
    time = batch.column(2) if batch.num_columns == 3 else None
    missing = _missing(user) | _missing(item)
    if time is not None:
        missing |= _missing(time)
    if missing.any():
        if not drop:
            raise incomplete(place(int(np.argmax(missing))), 0, 0)
        read_progress.skipped += int(missing.sum())
        numbers = np.flatnonzero(~missing)
        user, item = user.take(numbers), item.take(numbers)
        time = None if time is None else time.take(numbers)
    return Rows(user, item, time, place)


def _missing(column: pa.Array) -> np.ndarray:
    empty = pc.is_null(column, nan_is_null=pa.types.is_floating(column.type))
    if is_text(column.type):
        empty = pc.or_(empty, pc.fill_null(pc.equal(column, ""), True))
    return empty.to_numpy(zero_copy_only=False)


def _texts(column: pa.Array, name: str, place: Callable[[int], str]) -> pa.Array:
    """Ids as text; whole numbers as digits, also those that missing values turned into floats."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        return _texts(column.dictionary_decode(), name, place)
    if pa.types.is_floating(kind):
        column = pc.if_else(pc.is_nan(column), None, column)
        try:
            return column.cast(pa.int64()).cast(pa.large_string())
        except pa.ArrowInvalid:
            pass
    elif pa.types.is_integer(kind) or pa.types.is_null(kind) or is_text(kind):
        return column.cast(pa.large_string())
    raise InputError(f"{place(0)}: column {name!r} holds {kind}; give ids as text or whole numbers")
