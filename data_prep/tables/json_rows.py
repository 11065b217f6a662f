"""JSON Lines (an object per line) in blocks of rows."""

import json
import math
from collections.abc import Iterator, Mapping
from itertools import chain, islice
from pathlib import Path
from typing import Any

import pyarrow as pa

from data_prep.io.inputs import ReadProgress, json_objects
from data_prep.tables.columns import EXACT, GIVE_IDS, find_columns
from data_prep.tables.delimited import Rows, TextFile, incomplete
from lla.common.errors import InputError

ROWS = 1 << 17  # rows per block


def read_json_rows(
    text: TextFile,
    path: Path | str,
    wanted: Mapping[str, str | None],
    drop: bool,
    progress: ReadProgress,
) -> Iterator[tuple[list[str], Rows]]:
    """Names of the columns and rows of a file with one object per line, in blocks.

    The names are those of the objects of the first block, as an object need not have all.
    """
    records = json_objects(text.lines(), path)
    names: list[str] = []
    while block := list(islice(records, ROWS)):
        if not names:
            there = list(dict.fromkeys(chain.from_iterable(record for _, record in block)))
            names = [there[i] for i in find_columns(there, wanted, path).values()]
        yield names, _rows(block, names, path, drop, progress)


def _rows(
    block: list[tuple[int, dict[str, Any]]],
    names: list[str],
    path: Path | str,
    drop: bool,
    progress: ReadProgress,
) -> Rows:
    numbers: list[int] = []
    columns: list[list[str]] = [[] for _ in names]
    for number, record in block:
        where = f"{path}: line {number}"
        cells = [_id(record.get(name), name, where) for name in names[:2]]
        cells += [_time(record.get(name), where) for name in names[2:]]
        if all(cells):
            numbers.append(number)
            for column, cell in zip(columns, cells, strict=True):
                column.append(cell)
        elif drop:
            progress.skipped += 1
        else:
            raise incomplete(where, cells)
    try:
        user, item, *time = (pa.array(column, pa.large_string()) for column in columns)
    except UnicodeEncodeError:
        rows = zip(numbers, zip(*columns, strict=True), strict=True)
        number = next(n for n, cells in rows if not all(map(_is_whole, cells)))
        raise InputError(
            f"{path}: line {number}: an id or time has half a character (a lone surrogate); fix it"
        ) from None
    return Rows(user, item, time[0] if time else None, lambda i: f"{path}: line {numbers[i]}")


def _is_whole(text: str) -> bool:
    """Whether no character of a text is half of one, which UTF-8 does not have."""
    return not any("\ud800" <= letter <= "\udfff" for letter in text)


def _id(value: Any, name: str, where: str) -> str:
    """An id as text, empty if it is missing; as `data_prep.tables.columns.as_ids`."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, float) and value.is_integer() and abs(value) <= EXACT:
        return str(int(value))
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    raise InputError(f"{where}: field {name!r} holds {_shown(value)}; {GIVE_IDS}")


def _time(value: Any, where: str) -> str:
    """A time as text, empty if it is missing."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, int | float) and not isinstance(value, bool):
        return repr(value)
    raise InputError(f"{where}: its time is {_shown(value)}; give text or a number")


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 40 else f"{text[:40]}..."
