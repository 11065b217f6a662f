"""The first sheet of an .xlsx file, row by row: a zip archive of XML, read as a stream."""

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any
from xml.etree.ElementTree import Element, iterparse
from zipfile import ZipFile

from data_prep.io.inputs import as_input_error, bounded
from lla.common.errors import InputError

SHEET, STRINGS = "xl/worksheets/sheet1.xml", "xl/sharedStrings.xml"
LETTERS = re.compile("[A-Z]+")


def sheet_rows(file: IO[bytes], name: Path | str) -> Iterator[dict[str, str]]:
    """The cells of each row that are not empty, as texts by the letters of their columns.

    Numbers are as they stand in the file; so are dates, as days since 30 December 1899.
    """
    with as_input_error(name), ZipFile(file) as archive:
        members = archive.namelist()
        if SHEET not in members:
            raise InputError(f"{name}: no {SHEET} in it, so it is no .xlsx; save the sheet as .csv")
        strings = _shared_strings(archive, name) if STRINGS in members else []
        with _open(archive, SHEET, name) as content:
            for row in _elements(content, "row", parent="sheetData"):
                yield _cells(row, strings)


@contextmanager
def _open(archive: ZipFile, member: str, name: Path | str) -> "Iterator[io.BufferedReader[Any]]":
    """A file of the archive, decompressed."""
    with archive.open(member) as content:
        yield bounded(content, name, archive.getinfo(member).compress_size)


def _shared_strings(archive: ZipFile, name: Path | str) -> list[str]:
    """The texts that cells refer to by their numbers."""
    with _open(archive, STRINGS, name) as content:
        return [_text(item) for item in _elements(content, "si", parent="sst")]


def _elements(content: IO[bytes], name: str, parent: str) -> Iterator[Element]:
    """The elements `name`, each forgotten once the next is read."""
    holder: Element | None = None
    for event, element in iterparse(content, events=("start", "end")):
        tag = element.tag.rpartition("}")[2]
        if event == "start" and tag == parent:
            holder = element
        elif event == "end" and tag == name and holder is not None:
            yield element
            holder.clear()


def _cells(row: Element, strings: list[str]) -> dict[str, str]:
    found = {}
    for cell in row:
        column = LETTERS.match(cell.get("r", ""))
        kind = cell.get("t", "n")
        value = _text(cell) if kind == "inlineStr" else _value(cell)
        if kind == "s" and value:
            value = strings[int(value)]
        if column and value and kind != "e":  # "e": an error of a formula
            found[column[0]] = value
    return found


def _value(cell: Element) -> str:
    return next((part.text or "" for part in cell if part.tag.endswith("}v")), "")


def _text(element: Element) -> str:
    """The text of an element, whose parts may be formatted each in its way."""
    return "".join(part.text or "" for part in element.iter() if part.tag.endswith("}t"))
