"""Delimited text (CSV, TSV) in blocks of rows.

Arrow parses a block where it certainly reads what Python's `csv` would: every character of the
block is checked before. All other blocks, such as those with a malformed row, are read row by row
with Python's `csv`, which also knows the line of every row for the error message.
"""

import csv
import io
import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from operator import itemgetter
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv as arrow_csv

from data_prep.io.inputs import ReadProgress, decode
from data_prep.tables.columns import trimmed
from lla.common.errors import InputError
from lla.common.parallel import default_threads

log = logging.getLogger("data_prep")
BLOCK = 1 << 24  # bytes of text parsed at once
ROWS = 1 << 17  # rows per block where they are read one by one
BYTE_ORDER_MARK = "\ufeff".encode()
STAND_IN = b"\x1f"  # for separators of several bytes, which Arrow does not take
QUOTE, LINE_BREAK, RETURN = (ord(letter) for letter in '"\n\r')


class Rows(NamedTuple):
    """A block of complete rows.

    Attributes
    ----------
    user, item : (n,) Arrow array of text
        Without white space around it.
    time : (n,) Arrow array or None
        As it is in the table; text without white space around it.
    place : callable
        ``place(i)`` is the file and line of row i, for error messages.
    """

    user: pa.Array
    item: pa.Array
    time: pa.Array | None
    place: Callable[[int], str]


@dataclass(frozen=True)
class Layout:
    """How to read one text file.

    Attributes
    ----------
    path : path or str
        For error messages.
    width : int
        Columns of the file.
    chosen : list of int
        Places of the columns user, item and, if there is one, time.
    separator : str
    quoted : bool or None
        Whether quotation marks may enclose separators and line breaks; None: see
        `marks_are_quotes`.
    encoding : str
    drop : bool
        Leave out incomplete rows and count them, instead of refusing them.
    """

    path: Path | str
    width: int
    chosen: list[int]
    separator: str
    quoted: bool | None
    encoding: str
    drop: bool


class TextFile:
    """A decompressed text file, read by blocks of whole lines or line by line.

    Attributes
    ----------
    position : int
        Bytes before the next line.
    line : int
        Number of the last line read, from 1.
    """

    def __init__(
        self, content: IO[bytes], path: Path | str, encoding: str, position: int = 0,
        line: int = 0,
    ) -> None:  # fmt: skip
        self.position, self.line = position, line
        self.path, self.encoding, self._content = path, encoding, content
        self._peeked = io.BytesIO()

    def peek(self) -> bytes:
        """The next block; it will be read again."""
        data = self.next_block()
        self._peeked = io.BytesIO(data)
        return data

    def next_block(self) -> bytes:
        """About `BLOCK` bytes of whole lines, empty at the end; `skip` or `lines` consume them."""
        data = self._peeked.read()
        self._peeked = io.BytesIO()
        if len(data) < BLOCK:
            data += self._content.read(BLOCK - len(data))
        if data and not data.endswith(b"\n"):
            data += self._content.readline()
        return data

    def skip(self, data: bytes) -> None:
        """Count `data`, a block, as read."""
        self.position += len(data)
        self.line += data.count(b"\n")

    def lines(self, data: bytes = b"") -> Iterator[str]:
        """Lines with their ends: of `data`, a block not yet counted as read, then of the file."""
        for source in (io.BytesIO(data), self._peeked, self._content):
            for line in source:
                start = self.position
                self.position += len(line)
                self.line += 1
                if self.encoding != "utf-8":
                    yield line.decode(self.encoding)
                    continue
                text = decode(line, self.path, start)
                yield text.removeprefix("\ufeff") if start == 0 else text


def read_header(text: TextFile, separator: str, quoted: bool | None) -> list[str] | None:
    """Cells of the first record that is not blank, None if there is none."""
    if quoted is None:
        quoted = marks_are_quotes(first_line(text).encode(), separator)
    return next((cells for _, cells in _records(text, separator, quoted)), None)


def first_cells(text: TextFile, separator: str, quoted: bool | None) -> list[str] | None:
    """As `read_header`, but the record will be read again."""
    data = text.peek()
    copy = TextFile(io.BytesIO(data), text.path, text.encoding, text.position, text.line)
    return read_header(copy, separator, quoted)


def first_line(text: TextFile) -> str:
    """The next line that is not blank; it will be read again."""
    lines = io.BytesIO(text.peek())
    line = next((line for line in lines if line.strip()), b"")
    return line.decode(text.encoding, "replace")


def marks_are_quotes(data: bytes, separator: str) -> bool | None:
    """Whether quotation marks in a block enclose cells, as in CSV; None if none opens a cell.

    Text with tabs often has marks that mean themselves, as in ``12" vinyl`` or ``"Heroes``, and
    some programs write it with the quotes of CSV. It is taken for the latter if every mark of the
    first block with such marks is plainly one.
    """
    mark = separator.encode()
    if not (data.startswith(b'"') or b'\n"' in data or mark + b'"' in data):
        return None
    # A block of a longer file may end inside a cell.
    last = data.rfind(b'"')
    return _is_plainly_quoted(data, separator) or (
        len(data) >= BLOCK and _is_plainly_quoted(data[:last], separator)
    )


def read_rows(text: TextFile, layout: Layout, progress: ReadProgress) -> Iterator[Rows]:
    """The remaining rows of a file, in blocks."""
    while data := text.next_block():
        if layout.quoted is None and (quoted := marks_are_quotes(data, layout.separator)) in (0, 1):
            layout = replace(layout, quoted=quoted)
            if not quoted:
                log.info("%s: its quotation marks are taken as ordinary characters", layout.path)
        start = text.position, text.line
        parsed = _parse(data, layout, is_start=text.position == 0)
        if parsed is None:
            yield from _read_one_by_one(text, data, layout, progress)
            continue
        columns, n_dropped = parsed
        text.skip(data)
        progress.skipped += n_dropped
        user, item, *time = columns
        yield Rows(user, item, time[0] if time else None, _finder(data, start, layout))


def _parse(data: bytes, layout: Layout, is_start: bool) -> tuple[list[pa.Array], int] | None:
    """The chosen columns of a block and how many rows were dropped; None if not certain."""
    if layout.encoding == "utf-8":
        try:
            data.isascii() or data.decode()
        except UnicodeDecodeError:
            return None
        data = data.removeprefix(BYTE_ORDER_MARK) if is_start else data
    else:
        data = data.decode(layout.encoding).encode()
    has_quotes = bool(layout.quoted) and b'"' in data
    separator = layout.separator
    if len(separator.encode()) > 1 and not layout.quoted and STAND_IN not in data:
        data, separator = data.replace(separator.encode(), STAND_IN), STAND_IN.decode()
    if (
        len(separator.encode()) > 1
        # Arrow ends lines at a carriage return alone, and skips a byte order mark in any block.
        or (b"\r" in data and data.count(b"\r") != data.count(b"\r\n"))
        or data.startswith(BYTE_ORDER_MARK)
        or (has_quotes and not _is_plainly_quoted(data, layout.separator))
    ):
        return None
    n_dropped = 0

    def on_invalid_row(_: arrow_csv.InvalidRow) -> str:
        nonlocal n_dropped
        n_dropped += 1
        return "skip" if layout.drop else "error"

    names = [str(i) for i in range(layout.width)]
    chosen = [names[i] for i in layout.chosen]
    try:
        table = arrow_csv.read_csv(
            pa.py_buffer(data),
            arrow_csv.ReadOptions(column_names=names, use_threads=default_threads() > 1),
            arrow_csv.ParseOptions(
                delimiter=separator,
                quote_char='"' if has_quotes else False,
                newlines_in_values=has_quotes,
                invalid_row_handler=on_invalid_row,
            ),
            arrow_csv.ConvertOptions(
                include_columns=chosen,
                column_types=dict.fromkeys(chosen, pa.string()),
                strings_can_be_null=False,
                check_utf8=False,
            ),
        )
    except pa.ArrowInvalid:
        return None
    columns = [trimmed(column.combine_chunks()) for column in table.columns]
    empty = np.any([pc.equal(pc.binary_length(c), 0).to_numpy(False) for c in columns], axis=0)
    if empty.any():
        if not layout.drop:
            return None
        n_dropped += int(empty.sum())
        columns = [column.filter(pa.array(~empty)) for column in columns]
    return columns, n_dropped


def _is_plainly_quoted(data: bytes, separator: str) -> bool:
    """Whether quotation marks only enclose whole cells, and are doubled inside them.

    The first mark of such text opens a cell, so the marks open and close in turn. A doubled mark
    closes a cell and opens it again at once.
    """
    text = np.frombuffer(data, np.uint8)
    marks = np.flatnonzero(text == QUOTE)
    if len(marks) % 2:
        return False
    opening, closing = marks[::2], marks[1::2]
    before = np.where(opening > 0, text[opening - 1], LINE_BREAK)
    after = np.where(closing < len(text) - 1, text[(closing + 1) % len(text)], LINE_BREAK)
    doubled = np.zeros(len(opening) + 1, bool)
    doubled[1:-1] = opening[1:] == closing[:-1] + 1
    opens = (before == ord(separator)) | (before == LINE_BREAK) | doubled[:-1]
    closes = (after == ord(separator)) | (after == LINE_BREAK) | (after == RETURN) | doubled[1:]
    return bool(opens.all() and closes.all())


def _read_one_by_one(
    text: TextFile, data: bytes, layout: Layout, progress: ReadProgress
) -> Iterator[Rows]:
    """The rows that start in `data`, as Python's `csv` reads them."""
    records = _records(text, layout.separator, layout.quoted, data)
    take = itemgetter(*layout.chosen)
    numbers, rows = [], []
    for number, cells in records:
        if _is_complete(cells, layout):
            numbers.append(number)
            rows.append(tuple(cell.strip() for cell in take(cells)))
            if len(rows) == ROWS:
                yield _as_rows(numbers, rows, layout)
                numbers, rows = [], []
        elif layout.drop:
            progress.skipped += 1
        elif len(cells) != layout.width:
            raise _wrong_width(f"{layout.path}: line {number}", len(cells), layout)
        else:
            chosen = [cells[i].strip() for i in layout.chosen]
            raise incomplete(f"{layout.path}: line {number}", chosen)
    if rows:
        yield _as_rows(numbers, rows, layout)


def _as_rows(numbers: list[int], rows: list[tuple[str, ...]], layout: Layout) -> Rows:
    user, item, *time = (pa.array(column, pa.large_string()) for column in zip(*rows, strict=True))
    return Rows(
        user, item, time[0] if time else None, lambda i: f"{layout.path}: line {numbers[i]}"
    )


def _records(
    text: TextFile, separator: str, quoted: bool | None, data: bytes | None = None
) -> Iterator[tuple[int, list[str]]]:
    """The number of its last line and the cells of each record that is not blank.

    With `data`, a block of the file, only of those that start in it; the last may end after it.
    """
    end = None if data is None else text.position + len(data)
    lines = text.lines(data or b"")
    records: Iterator[list[str]]
    if quoted:
        # The default limit of 128 KiB per cell is too small for some tables.
        csv.field_size_limit(sys.maxsize)
        records = csv.reader(lines, delimiter=separator, strict=True)
    else:
        bare = (line.rstrip("\r\n") for line in lines)
        records = (line.split(separator) if line else [] for line in bare)
    while True:
        try:
            cells = next(records, None)
        except csv.Error as error:
            raise InputError(
                f"{text.path}: line {text.line}: truncated or damaged ({error}); fetch or make the "
                "file again, or, if its quotation marks are ordinary characters, give --quotes none"
            ) from None
        if cells is None:
            return
        if cells:
            yield text.line, cells
        if end is not None and text.position >= end:
            return


def _is_complete(cells: list[str], layout: Layout) -> bool:
    return len(cells) == layout.width and all(cells[i].strip() for i in layout.chosen)


def _finder(data: bytes, start: tuple[int, int], layout: Layout) -> Callable[[int], str]:
    """`Rows.place` of a block that Arrow has parsed: the block is read again, row by row."""

    def place(i: int) -> str:
        position, line = start
        text = TextFile(io.BytesIO(), layout.path, layout.encoding, position, line)
        records = _records(text, layout.separator, layout.quoted, data)
        numbers = (number for number, cells in records if _is_complete(cells, layout))
        return f"{layout.path}: line {next(islice(numbers, i, None))}"

    return place


def incomplete(where: str, values: Sequence[object]) -> InputError:
    """The error for a row that lacks one of its values of user, item and perhaps time."""
    roles = zip(("user", "item", "time"), values, strict=False)
    lacking = " and ".join(role for role, value in roles if not value)
    remedy = ', or leave out the column of times with --time ""' if lacking == "time" else ""
    return InputError(
        f"{where} lacks its {lacking}; fix it, or leave out such rows with --incomplete drop"
        + remedy
    )


def _wrong_width(where: str, n: int, layout: Layout) -> InputError:
    marks = ", or, if its quotation marks are ordinary characters, give --quotes none"
    return InputError(
        f"{where} has {n} of {layout.width} columns; fix it, or leave out such rows with "
        f"--incomplete drop{marks if layout.quoted else ''}"
    )
