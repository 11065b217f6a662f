"""Tables of events in any form, a block of rows at a time: CSV, TSV, Parquet, Arrow, pandas."""

import csv
import io
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow.parquet import ParquetFile

from data_prep.inputs import COMPRESSED, Reading, files_of, lines_of, one_line, open_raw
from data_prep.times import is_text
from lla.common.errors import InputError

ROWS = 1 << 17
SEPARATORS = {".csv": ",", ".tsv": "\t", ".tab": "\t"}
PARQUET = {".parquet", ".pq"}
FORMS = "a table: .csv, .tsv or .parquet, compressed or not"
# Taken when the user names none, the first that is there; case and signs between do not count.
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
    """How a text file holds its table, where its name does not say.

    Attributes
    ----------
    separator : str or None
        Between columns; by the name of the file: a comma for .csv, a tab for .tsv.
    names : tuple of str
        The columns of a file whose first line is no header.
    quoted : bool
        Whether quotation marks may enclose separators and line breaks.
    encoding : str
    """

    separator: str | None = None
    names: tuple[str, ...] = ()
    quoted: bool = True
    encoding: str = "utf-8"


class Rows(NamedTuple):
    """A block of whole rows: ids as text, times as they are; `place` says where the i-th stands."""

    user: list[str]
    item: list[str]
    time: pa.Array | None
    place: Callable[[int], str]


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
        raise InputError(f"{name}: {error}; give a column one type of values") from None
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
    """Which columns hold user, item and time, by their place; time may be left out.

    Parameters
    ----------
    names : sequence of str
        All columns of the table.
    wanted : mapping
        The name the user gave for ``"user"``, ``"item"`` and ``"time"``, or None to look for one.
        An empty time means none.
    where : path or str
        For the error message.
    """
    plain = [_plain(name) for name in names]
    found = {}
    for role, name in wanted.items():
        if name is None:
            name = next((names[plain.index(k)] for k in KNOWN[role].split() if k in plain), "")
        if not name and role == "time":
            continue
        if name not in names and plain.count(_plain(name)) == 1:
            name = names[plain.index(_plain(name))]
        if name not in names:
            what = f"column {name!r}" if name else f"column that is known to hold the {role}"
            there = ", ".join(map(repr, names[:20])) or "none"
            raise InputError(
                f"{where}: no {what}; it has {there}: name one with --{role}"
                + (", or say with --separator what stands between them" if len(names) == 1 else "")
            )
        if names.count(name) > 1:
            raise InputError(f"{where}: {names.count(name)} columns are {name!r}; rename them")
        found[role] = names.index(name)
    if len(set(found.values())) < len(found):
        twice = {role: names[i] for role, i in found.items()}
        raise InputError(f"{where}: one column for two uses ({twice}); name others")
    return found


def _plain(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum())


def is_table(path: Path) -> bool:
    """Whether the name of a file says which form of table it is."""
    return _suffix(path) in PARQUET | SEPARATORS.keys()


def is_parquet(path: Path) -> bool:
    """Whether a file is Parquet by its name."""
    return _suffix(path) in PARQUET


def _suffix(path: Path) -> str:
    return (path.with_suffix("") if path.suffix.lower() in COMPRESSED else path).suffix.lower()


def read_path(
    path: Path, form: Form, wanted: Mapping[str, str | None], drop: bool, reading: Reading
) -> Iterator[tuple[list[str], Rows]]:
    """Blocks of rows of a file, or of all tables in a folder by their names.

    Yields
    ------
    columns : list of str
        The names of the columns taken as user, item and, where there is one, time.
    rows : Rows
    """
    files = [path] if path.is_file() else [file for file in files_of(path) if is_table(file)]
    if not files:
        raise InputError(f"{path}: no table in this folder; name one that holds {FORMS}")
    for file in files:
        if is_parquet(file):
            yield from _parquet(file, wanted, drop, reading)
            continue
        separator = form.separator or SEPARATORS.get(_suffix(file))
        if separator is None:
            raise InputError(f"{file}: not {FORMS}; name it so, or give --separator")
        with open_raw(file, reading) as content:
            yield from read_text(content, file, separator, form, wanted, drop, reading)


def read_text(
    content: io.BufferedIOBase,
    path: Path | str,
    separator: str,
    form: Form,
    wanted: Mapping[str, str | None],
    drop: bool,
    reading: Reading,
) -> Iterator[tuple[list[str], Rows]]:
    """Blocks of rows of decompressed text; see `read_path`."""
    if form.encoding == "utf-8":
        lines = lines_of(content, path)
    else:
        lines = (line.decode(form.encoding) for line in content)
    with one_line(path):
        numbered = _records(lines, separator, form.quoted)
        names = list(form.names) or next((cells for _, cells in numbered), None)
        if names is None:
            raise InputError(f"{path}: empty; name a file with a header and a row an event")
        columns = find_columns(names, wanted, path)
        chosen = list(columns.values())
        while block := _block(numbered, chosen, len(names), path, drop, reading):
            numbers, user, item, *time = block
            times = pa.array(time[0], pa.large_string()) if time else None
            yield [names[i] for i in chosen], Rows(user, item, times, _line(path, numbers))


def _line(path: Path | str, numbers: Sequence[int]) -> Callable[[int], str]:
    return lambda i: f"{path}: line {numbers[i]}"


def _records(lines: Iterator[str], separator: str, quoted: bool) -> Iterator[tuple[int, list[str]]]:
    """The number of its last line and the cells of each record that is not blank."""
    if not quoted:
        for number, line in enumerate(lines, 1):
            if line := line.rstrip("\r\n"):
                yield number, line.split(separator)
        return
    # The default of 128 KiB a cell is less than some tables hold beside their events.
    csv.field_size_limit(sys.maxsize)
    records = csv.reader(lines, delimiter=separator, strict=True)
    for cells in records:
        if cells:
            yield records.line_num, cells


def _block(
    numbered: Iterator[tuple[int, list[str]]],
    chosen: list[int],
    width: int,
    path: Path | str,
    drop: bool,
    reading: Reading,
) -> list[list] | None:
    """Line numbers and the chosen columns of the next whole records, None after the last."""
    numbers, rows, take = [], [], itemgetter(*chosen)
    for number, cells in numbered:
        if len(cells) == width and all(taken := take(cells)):
            numbers.append(number)
            rows.append(taken)
            if len(rows) == ROWS:
                break
        elif drop:
            reading.passed_over += 1
        else:
            raise _incomplete(f"{path}: line {number}", len(cells), width)
    return [numbers, *map(list, zip(*rows, strict=True))] if rows else None


def _incomplete(where: str, n: int, width: int) -> InputError:
    has = f"has {n} of {width} columns" if n != width else "lacks its user, item or time"
    return InputError(f"{where} {has}; mend it, or leave out such rows with --incomplete drop")


def _parquet(
    path: Path, wanted: Mapping[str, str | None], drop: bool, reading: Reading
) -> Iterator[tuple[list[str], Rows]]:
    size, start = path.stat().st_size, reading.position
    try:
        # Buffered ahead, the whole file would come to stand in memory.
        with ParquetFile(path, pre_buffer=False) as file:
            names, n_rows = file.schema_arrow.names, max(1, file.metadata.num_rows)
            chosen = [names[i] for i in find_columns(names, wanted, path).values()]
            first = 0
            for batch in file.iter_batches(ROWS, columns=chosen):
                rows = _arrow_rows(batch.select(chosen), first, str(path), drop, reading)
                first += len(batch)
                reading.position = start + size * first // n_rows
                yield chosen, rows
    except (pa.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{path}: not a whole Parquet file ({reason}); make it again") from None


def read_table(
    table: pa.Table, name: str, drop: bool, reading: Reading
) -> Iterator[tuple[list[str], Rows]]:
    """Blocks of rows of a table in memory whose columns are user, item and perhaps time."""
    first = 0
    for batch in table.to_batches(ROWS):
        yield table.column_names, _arrow_rows(batch, first, f"the {name}", drop, reading)
        first += len(batch)
        reading.position = table.nbytes * first // max(1, len(table))


def _arrow_rows(batch: pa.RecordBatch, first: int, name: str, drop: bool, reading: Reading) -> Rows:
    """The whole rows of a batch of user, item and perhaps time; `first` counts those before."""

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
            raise _incomplete(place(int(np.argmax(missing))), 0, 0)
        reading.passed_over += int(missing.sum())
        numbers = np.flatnonzero(~missing)
        user, item = user.take(numbers), item.take(numbers)
        time = None if time is None else time.take(numbers)
    return Rows(user.to_pylist(), item.to_pylist(), time, place)


def _missing(column: pa.Array) -> np.ndarray:
    empty = pc.is_null(column, nan_is_null=pa.types.is_floating(column.type))
    if is_text(column.type):
        empty = pc.or_(empty, pc.fill_null(pc.equal(column, ""), True))
    return empty.to_numpy(zero_copy_only=False)


def _texts(column: pa.Array, name: str, place: Callable[[int], str]) -> pa.Array:
    """Ids as text; whole numbers as their digits, even where gaps made floats of them."""
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
