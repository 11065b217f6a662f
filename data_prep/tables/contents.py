"""What a file holds, by its first bytes: names may be wrong."""

import codecs
import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO
from zipfile import ZipFile

from data_prep.io.inputs import as_utf8, refuse_binary
from lla.common.errors import InputError

HEAD = 512  # bytes that are looked at
# How files begin that are no tables, and what to do about it.
FOREIGN = {
    b"PAR1": "a Parquet file inside another file; unpack it",
    b"ARROW1": "an Arrow file inside another file; unpack it",
    b"\x89HDF": "an HDF5 file; export the table as .csv",
    b"\x93NUMPY": "a NumPy array; export the table as .csv",
    b"\x80\x04\x95": "a pickle; export the table as .csv",
    b"\x80\x05\x95": "a pickle; export the table as .csv",
    b"<!doctype": "a web page; fetch the file it links to",
    b"<html": "a web page; fetch the file it links to",
    b"<?xml": "XML; export the table as .csv",
}


def check_is_table(content: io.BufferedReader, name: str) -> None:
    """Raise `InputError` if the first bytes of a file are not those of a table of text."""
    start = content.peek(HEAD)[:HEAD]
    begins = start.lstrip(b"\xef\xbb\xbf \r\n\t").lower()
    for magic, what in FOREIGN.items():
        if start.startswith(magic) or (magic.startswith(b"<") and begins.startswith(magic)):
            raise InputError(f"{name}: no table but {what}")
    # An id may contain a zero.
    refuse_binary(content, name, allow_zero=True)


def as_lines(content: io.BufferedReader, name: str) -> io.BufferedReader:
    """`content` as UTF-8, also where it is UTF-16 without a mark or lines end in returns alone."""
    content = as_utf8(content, name)
    start = content.peek(HEAD)[:HEAD]
    # Every other byte of English letters is 0 in UTF-16.
    zeros = bytes(byte == 0 for byte in start[:4])
    if encoding := {b"\0\1\0\1": "utf-16-le", b"\1\0\1\0": "utf-16-be"}.get(zeros):
        decode = codecs.getincrementaldecoder(encoding)().decode
        return _changed(content, lambda data: decode(data, final=not data).encode(), name)
    if b"\r" in start and b"\n" not in content.peek(HEAD):
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
                encoding = error.encoding.upper()  # type: ignore[attr-defined]
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
