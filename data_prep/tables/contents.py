"""What a file holds, by its first bytes: names may be wrong."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from zipfile import ZipFile

from data_prep.io.inputs import HEAD, bounded, refuse_binary
from lla.common.errors import InputError

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


@contextmanager
def open_member(archive: ZipFile, member: str, name: str) -> Iterator[io.BufferedReader]:
    """A file inside a zip archive, decompressed."""
    try:
        content = archive.open(member)
    except (RuntimeError, NotImplementedError) as error:
        # Encrypted, or compressed by a method that Python does not know.
        raise InputError(f"{name}: {error}; unpack it, then name the table in it") from None
    with content, bounded(content, name, archive.getinfo(member).compress_size) as file:
        yield file


def spreadsheet(archive: ZipFile) -> bool:
    """Whether a zip archive is a spreadsheet (.xlsx, .ods)."""
    names = archive.namelist()
    return "[Content_Types].xml" in names or "mimetype" in names
