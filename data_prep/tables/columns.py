"""The columns of a table of events: which hold user, item and time, and what an id is.

One rule for every format: white space around an id is removed; an id that is then empty, a null or
a NaN is missing; any other text is an id as it is written, ``NULL`` and ``NaN`` included; whole
numbers are their digits, also those in a column of floats or decimals. (Where all ids of a column
of text are whole numbers, ``12.0`` is ``12``, too: see `data_prep.tables.event_table`.)
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lla.common.errors import InputError

# Column names looked for by default, in this order; case and punctuation are ignored.
KNOWN = {
    "user": "user userid uid session sessionid visitor visitorid customer customerid person "
    "personid member memberid account accountid",
    "item": "item itemid iid product productid venue venueid location locationid place placeid "
    "track trackid song songid artist artistid movie movieid article articleid page url query",
    "time": "time timestamp datetime ts eventtime utctime utctimestamp createdat date order "
    "position rank step",
}
NUMBERS = "--user 1 --item 2 and, where there are times, --time 3"
EXACT = 2**53  # above it, floats cannot tell whole numbers apart
GIVE_IDS = "give ids as text or whole numbers"


def find_columns(
    names: Sequence[str], wanted: Mapping[str, str | None], where: Any, header: bool = True
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
    header : bool
        Whether the names are those of the table, or numbers from 1.
    """
    plain_names = [_normalised(name) for name in names]
    found = {}
    for role, name in wanted.items():
        if name is None:
            known = (k for k in KNOWN[role].split() if k in plain_names)
            name = next((names[plain_names.index(k)] for k in known), "")
        if not name and role == "time":
            continue
        if name not in names and plain_names.count(_normalised(name)) == 1:
            name = names[plain_names.index(_normalised(name))]
        if name not in names:
            raise _no_column(names, role, name, where, header)
        if names.count(name) > 1:
            raise InputError(f"{where}: {names.count(name)} columns are {name!r}; rename them")
        found[role] = names.index(name)
    if len(set(found.values())) < len(found):
        twice = {role: names[i] for role, i in found.items()}
        raise InputError(f"{where}: one column for two uses ({twice}); name other columns")
    return found


def _no_column(names: Sequence[str], role: str, name: str, where: Any, header: bool) -> InputError:
    if not header and not name:
        return InputError(f"{where}: has no header; name its columns by number: {NUMBERS}")
    what = f"column {name!r}" if name else f"column that is known to hold the {role}"
    there = ", ".join(map(repr, names[:20])) or "none"
    remedy = f"name one with --{role}" if names else "give a table with columns"
    if len(names) == 1:
        remedy += ", or give the separator of columns with --separator"
    if header and any(is_number(cell) for cell in names):
        remedy += f", or, if its first line is an event, give --no-header {NUMBERS}"
    return InputError(f"{where}: no {what}; it has {there}: {remedy}")


def is_header(cells: Sequence[str]) -> bool:
    """Whether cells are names that are known to hold users and items."""
    names = {_normalised(cell) for cell in cells}
    return all(not names.isdisjoint(KNOWN[role].split()) for role in ("user", "item"))


def is_number(text: str) -> bool:
    """Whether a text is a number."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def _normalised(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum())


def plain(column: pa.Array) -> pa.Array:
    """A column with one value per row, text as `pa.large_string`, for Arrow's functions.

    Dictionaries, repeated values and views save memory, but few functions take them.
    """
    kind = column.type
    if pa.types.is_dictionary(kind):
        return plain(column.dictionary).take(column.indices)
    if pa.types.is_run_end_encoded(kind):
        return plain(pc.run_end_decode(column))
    if pa.types.is_string(kind) or pa.types.is_string_view(kind):
        return column.cast(pa.large_string())
    return column


def trimmed(column: pa.Array) -> pa.Array:
    """Text (`pa.string` or `pa.large_string`) without the white space around it."""
    data = column.buffers()[2]
    # Most columns hold visible ASCII alone (33 to 126), where nothing can be removed.
    if data is None or not ((np.frombuffer(data, np.uint8) - 33) > 93).any():
        return column
    return pc.utf8_trim_whitespace(column)


def missing(column: pa.Array) -> np.ndarray:
    """Which values of a `plain` and `trimmed` column are missing, (n,) bool."""
    empty = pc.is_null(column, nan_is_null=pa.types.is_floating(column.type))
    if pa.types.is_large_string(column.type):
        empty = pc.or_(empty, pc.fill_null(pc.equal(pc.binary_length(column), 0), True))
    return empty.to_numpy(zero_copy_only=False)


def as_ids(column: pa.Array, name: str, place: Callable[[int], str]) -> pa.Array:
    """Ids as text, null where missing.

    Parameters
    ----------
    column : (n,) Arrow array
        As `plain` yields it.
    name : str
        Of the column, for the error message.
    place : callable
        File and row of the i-th value, for the error message.
    """
    kind = column.type
    if pa.types.is_large_string(kind):
        return trimmed(column)
    if pa.types.is_floating(kind):
        numbers = column.cast(pa.float64())
        column = pc.if_else(pc.is_nan(numbers), None, numbers)
        if pc.any(pc.greater(pc.abs(column), EXACT)).as_py():
            raise _no_id(column, name, place)
    try:
        if pa.types.is_integer(kind) or pa.types.is_null(kind):
            return column.cast(pa.large_string())
        if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
            # Refuses fractions.
            return column.cast(pa.int64()).cast(pa.large_string())
        if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
            return trimmed(column.cast(pa.large_string()))
    except pa.ArrowInvalid:
        raise _no_id(column, name, place) from None
    raise InputError(f"{place(0)}: column {name!r} holds {kind}; {GIVE_IDS}")


def _no_id(column: pa.Array, name: str, place: Callable[[int], str]) -> InputError:
    """The error for the first value that is neither text nor a whole number."""
    wanted = pa.large_string() if pa.types.is_binary(column.type) else pa.int64()
    for i in range(len(column)):
        value = column[i].as_py()
        rounded = isinstance(value, float) and value.is_integer() and abs(value) > EXACT
        try:
            column.slice(i, 1).cast(wanted)
        except pa.ArrowInvalid:
            pass
        else:
            if not rounded:
                continue
        why = ", a float that has lost digits" if rounded else ""
        return InputError(f"{place(i)}: column {name!r} holds {value}{why}; {GIVE_IDS}")
    raise AssertionError("each value can be converted by itself")
