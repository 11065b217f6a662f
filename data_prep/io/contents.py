"""What a file holds, by its first bytes: names may be wrong."""

import codecs
import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO
from zipfile import ZipFile

from lla.common.errors import InputError

HEAD = 512  # bytes that are looked at
# How files begin that are no text, and what to do about it.
FOREIGN = {
    b"%PDF": "a PDF file; export the table as .csv",
    b"\xd0\xcf\x11\xe0": "an old spreadsheet (.xls); save the sheet as .csv",
    b"SQLite format 3": "an SQLite database; export the table as .csv",
    b"7z\xbc\xaf": "a 7z archive; unpack it",
    b"Rar!": "a RAR archive; unpack it",
    b"\x89HDF": "an HDF5 file; export the table as .csv",
    b"\x93NUMPY": "a NumPy array; export the table as .csv",
    b"\x80\x04\x95": "a pickle; export the table as .csv",
    b"\x80\x05\x95": "a pickle; export the table as .csv",
    b"<!doctype": "a web page; fetch the file it links to",
    b"<html": "a web page; fetch the file it links to",
    b"<?xml": "XML; export the table as .csv",
    b"PK": "a zip archive inside another file; unpack it",
    b"PAR1": "a Parquet file inside another file; unpack it",
    b"ARROW1": "an Arrow file inside another file; unpack it",
}
# Byte order marks, the longest first.
MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


def check_is_text(start: bytes, name: str) -> None:
    """Raise `InputError` if the first bytes of a file are not those of a text."""
    if start[257:262] == b"ustar":
        raise InputError(f"{name}: a tar archive; unpack it, then name the table in it")
    begins = start.lstrip(b"\xef\xbb\xbf \r\n\t").lower()
    for magic, what in FOREIGN.items():
        if start.startswith(magic) or (magic.startswith(b"<") and begins.startswith(magic)):
            raise InputError(f"{name}: no text but {what}")


def as_utf8(content: io.BufferedReader, name: str) -> io.BufferedReader:
    """`content`, recoded if it is UTF-16 or UTF-32, or if its lines end in carriage returns."""
    start = content.peek(HEAD)[:HEAD]
    encoding = next((MARKS[mark] for mark in MARKS if start.startswith(mark)), "")
    # Without a mark: every other byte of English letters is 0.
    if not encoding and len(start) >= 4:
        zeros = [byte == 0 for byte in start[:4]]
        for name_of, places in (("utf-16-le", [0, 1, 0, 1]), ("utf-16-be", [1, 0, 1, 0])):
            encoding = name_of if zeros == places else encoding
    if encoding:
        decode = codecs.getincrementaldecoder(encoding)().decode
        return _changed(content, lambda data: decode(data, final=not data).encode(), name)
    beginning = content.peek(HEAD)
    if b"\r" in beginning and b"\n" not in beginning:
        return _changed(content, lambda data: data.replace(b"\r", b"\n"), name)
    return content


def _changed(content: IO[bytes], change: Callable[[bytes], bytes], name: str) -> io.BufferedReader:
    return io.BufferedReader(_Changed(content, change, name), 1 << 18)


class _Changed(io.RawIOBase):
    """A file whose bytes `change` turns into others, at the end those of nothing."""

    def __init__(self, content: IO[bytes], change: Callable[[bytes], bytes], name: str) -> None:
        self._content, self._change, self._name = content, change, name
        self._rest = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:
        while not self._rest:
            data = self._content.read(1 << 16)
            try:
                self._rest = self._change(data)
            except UnicodeError as error:
                encoding = getattr(error, "encoding", "UTF-16").upper()
                raise InputError(
                    f"{self._name}: begins as {encoding}, but is truncated or damaged; fetch or "
                    "make the file again"
                ) from None
            if not data and not self._rest:
                return 0
        size = min(len(buffer), len(self._rest))
        buffer[:size], self._rest = self._rest[:size], self._rest[size:]
        return size


@contextmanager
def open_member(archive: ZipFile, member: str, name: str) -> Iterator[io.BufferedReader]:
    """A file inside a zip archive, decompressed."""
    try:
        content = archive.open(member)
    except (RuntimeError, NotImplementedError) as error:
        # Encrypted, or compressed by a method that Python does not know.
        raise InputError(f"{name}: {error}; unpack it, then name the table in it") from None
    with content, io.BufferedReader(content, 1 << 18) as file:  # type: ignore[type-var]
        yield file  # type: ignore[misc]


def spreadsheet(archive: ZipFile) -> bool:
    """Whether a zip archive is a spreadsheet (.xlsx, .ods)."""
    names = archive.namelist()
    return "[Content_Types].xml" in names or "mimetype" in names
