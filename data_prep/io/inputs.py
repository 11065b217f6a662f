"""Raw files: hashing, decompressing and decoding them, one-line errors for damaged ones."""

import bz2
import codecs
import csv
import gzip
import hashlib
import io
import json
import lzma
import tarfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO
from xml.etree.ElementTree import ParseError
from zipfile import BadZipFile

import pyarrow

from data_prep.io.find import COMPRESSED, data_dir, find_input, find_inputs, list_files, printable
from lla.common.errors import InputError, describe, is_disk_full
from lla.common.files import file_hash
from lla.common.progress import progress

__all__ = [
    "COMPRESSED",
    "HEAD",
    "REMEDY",
    "ReadProgress",
    "as_input_error",
    "as_lines",
    "as_utf8",
    "bounded",
    "data_dir",
    "decode",
    "decode_text",
    "decoded_lines",
    "find_input",
    "find_inputs",
    "hash_inputs",
    "json_objects",
    "list_files",
    "open_raw",
    "open_text",
    "printable",
    "refuse_binary",
    "text_of",
]


def _open_zstandard(raw: BinaryIO) -> BinaryIO:
    return pyarrow.CompressedInputStream(pyarrow.PythonFile(raw, "r"), "zstd")


OPENERS: dict[bytes, Callable[[BinaryIO], Any]] = {
    b"BZh": bz2.open,
    b"\xfd7zXZ\x00": lzma.open,
    b"\x1f\x8b": gzip.open,
    b"\x28\xb5\x2f\xfd": _open_zstandard,
}
BYTE_ORDER_MARKS = {
    b"\xff\xfe\0\0": "utf-32",
    b"\0\0\xfe\xff": "utf-32",
    b"\xff\xfe": "utf-16",
    b"\xfe\xff": "utf-16",
}
UNPACK = "unpack it, or save a spreadsheet as CSV in UTF-8"
# The first bytes of what is sometimes given for text, what it is, and what to do.
BINARY = {
    b"PK\x03\x04": ("a zip archive or a spreadsheet", UNPACK),
    b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1": ("an old spreadsheet or Word file", UNPACK),
    b"7z\xbc\xaf\x27\x1c": ("a 7z archive", UNPACK),
    b"Rar!\x1a\x07": ("a rar archive", UNPACK),
    b"PAR1": ("a Parquet file", "give it a name that ends in .parquet"),
    b"%PDF-": ("a PDF file", "convert it, for example with pdftotext"),
    b"{\\rtf": ("an RTF file", "save it as plain text"),
    b"\x89PNG": ("a picture", "give the text"),
    b"\xff\xd8\xff": ("a picture", "give the text"),
    b"SQLite format 3\0": ("a database", "export the table as CSV"),
}
MOST_GROWTH, ANY_SIZE = 200, 2**28  # unpacked bytes per packed one, of what is larger than this
LONGEST_LINE = 2**28  # bytes
HEAD = 512  # bytes at the start of a file that are looked at
REMEDY = "fetch or make the file again"
DAMAGED = (lzma.LZMAError, zlib.error, gzip.BadGzipFile, tarfile.TarError, csv.Error, BadZipFile)


@dataclass
class ReadProgress:
    """Progress of reading raw files.

    Attributes
    ----------
    position : int
        Raw bytes consumed.
    skipped : int
        Pages that are no article, or incomplete rows, that were left out.
    """

    position: int = 0
    skipped: int = 0


def hash_inputs(paths: Sequence[Path], suffix: str = "") -> dict[str, str]:
    """SHA-256 of each input by its name; of a folder, that of its files' names and SHA-256."""
    hashes: dict[str, str] = {}
    for path in progress(paths, description="checking the raw files", unit="file"):
        name = printable(path.resolve().name)
        # Two inputs may have the same name in different folders.
        name = name if name not in hashes else f"{name} ({len(hashes) + 1})"
        hashes[name] = _folder_hash(path, suffix) if path.is_dir() else _file_hash(path)
    return hashes


def _folder_hash(folder: Path, suffix: str) -> str:
    total = hashlib.sha256()
    for file in list_files(folder, suffix):
        name = file.relative_to(folder).as_posix().encode("utf-8", "surrogateescape")
        total.update(_file_hash(file).encode() + b"  " + name + b"\n")
    return total.hexdigest()


def _file_hash(path: Path) -> str:
    with as_input_error(path):
        return file_hash(path)


class _CountingFile(io.RawIOBase):
    """A raw file that adds the bytes read from it to `read_progress.position`."""

    def __init__(self, path: Path, read_progress: ReadProgress) -> None:
        self._file = open(path, "rb", buffering=0)  # noqa: SIM115
        self._read_progress = read_progress

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:
        count = self._file.readinto(buffer)
        self._read_progress.position += count
        return count

    def close(self) -> None:
        self._file.close()
        super().close()


@contextmanager
def open_raw(path: Path, read_progress: ReadProgress) -> "Iterator[io.BufferedReader[Any]]":
    """The content of `path` as a buffered binary file; compression is detected by content."""
    with (
        as_input_error(path),
        io.BufferedReader(_CountingFile(path, read_progress), 1 << 18) as raw,
    ):
        start = raw.peek(8)[:8]
        for magic, opener in OPENERS.items():
            if start.startswith(magic):
                with opener(raw) as content:
                    yield as_utf8(bounded(content, path, path.stat().st_size), path)
                return
        yield as_utf8(raw, path)


def bounded(content: Any, path: Path | str, packed_size: int) -> "io.BufferedReader[Any]":
    """Unpacked `content`, refused once it is far more than the packed bytes can honestly hold."""
    most = max(ANY_SIZE, MOST_GROWTH * packed_size)
    return io.BufferedReader(_Bounded(content, path, most), 1 << 18)


class _Bounded(io.RawIOBase):
    """A file that may hold `most` bytes."""

    def __init__(self, content: Any, path: Path | str, most: int) -> None:
        self._content, self._path, self._left = content, path, most

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:
        count = self._content.readinto(buffer)
        self._left -= count
        if self._left < 0:
            raise InputError(
                f"{self._path}: unpacks to more than {MOST_GROWTH} times its size; unpack it "
                "yourself, and name what is in it if that is right"
            )
        return count


def as_utf8(file: "io.BufferedReader[Any]", path: Path | str) -> "io.BufferedReader[Any]":
    """`file`, recoded when it begins with the byte order mark of UTF-16 or UTF-32."""
    start = file.peek(4)[:4]
    for mark, encoding in BYTE_ORDER_MARKS.items():
        if start.startswith(mark):
            return _decoded(file, encoding, path)
    return file


def as_lines(content: "io.BufferedReader[Any]", path: Path | str) -> "io.BufferedReader[Any]":
    """`content` as UTF-8, also where it is UTF-16 without a mark or lines end in returns alone."""
    content = as_utf8(content, path)
    start = content.peek(HEAD)[:HEAD]
    # Every other byte of English letters is 0 in UTF-16.
    zeros = bytes(byte == 0 for byte in start[:4])
    if encoding := {b"\0\1\0\1": "utf-16-le", b"\1\0\1\0": "utf-16-be"}.get(zeros):
        return _decoded(content, encoding, path)
    if b"\r" in start and b"\n" not in content.peek(HEAD):
        return _changed(content, lambda data: data.replace(b"\r", b"\n"), path)
    return content


def _decoded(
    content: "io.BufferedReader[Any]", encoding: str, path: Path | str
) -> "io.BufferedReader[Any]":
    decode = codecs.getincrementaldecoder(encoding)().decode
    return _changed(content, lambda data: decode(data, final=not data).encode(), path)


def _changed(
    content: "io.BufferedReader[Any]", change: Callable[[bytes], bytes], path: Path | str
) -> "io.BufferedReader[Any]":
    return io.BufferedReader(_Changed(content, change, path), 1 << 18)


class _Changed(io.RawIOBase):
    """A file whose bytes `change` turns into others, at the end those of nothing."""

    def __init__(
        self,
        content: "io.BufferedReader[Any]",
        change: Callable[[bytes], bytes],
        path: Path | str,
    ) -> None:
        self._content, self._change, self._path = content, change, path
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
                    f"{self._path}: not whole {encoding}, as which it begins; {REMEDY}"
                ) from None
            if not data and not self._rest:
                return 0
        size = min(len(buffer), len(self._rest))
        buffer[:size], self._rest = self._rest[:size], self._rest[size:]
        return size


@contextmanager
def open_text(path: Path, read_progress: ReadProgress) -> "Iterator[io.BufferedReader[Any]]":
    """As `open_raw`, of running text in UTF-8; refuses what is none."""
    with open_raw(path, read_progress) as content:
        refuse_binary(content, path, allow_zero=True)
        lines = as_lines(content, path)
        _refuse_zero(lines.peek(HEAD), path, 0)
        yield lines


def refuse_binary(
    content: "io.BufferedReader[Any]", path: Path | str, allow_zero: bool = False
) -> None:
    """Raise `InputError` if a file that should be text is an archive, a spreadsheet or the like.

    Parameters
    ----------
    allow_zero : bool
        Whether the text may contain bytes that are 0.
    """
    start = content.peek(HEAD)
    for magic, (kind, remedy) in BINARY.items():
        if start.startswith(magic):
            raise InputError(f"{path}: {kind}, not text; {remedy}")
    if start[257:262] == b"ustar":
        raise InputError(f"{path}: a tar archive, not text; unpack it and name the folder")
    if not allow_zero:
        _refuse_zero(start, path, 0)


@contextmanager
def as_input_error(path: Path | str) -> Iterator[None]:
    """Turn errors of reading a damaged or unsupported file into an `InputError` that names it."""
    try:
        yield
    except EOFError:
        raise InputError(f"{path}: unexpected end of the file, it is truncated; {REMEDY}") from None
    except DAMAGED as error:
        raise InputError(f"{path}: truncated or damaged ({error}); {REMEDY}") from None
    except ParseError as error:
        raise InputError(f"{path}: not well-formed XML ({error}); {REMEDY}") from None
    except OSError as error:
        if is_disk_full(error):
            raise
        reason = error.strerror or error
        remedy = "make it readable" if isinstance(error, PermissionError) else REMEDY
        raise InputError(f"{path}: cannot be read ({reason}); {remedy}") from None


def _refuse_zero(data: bytes, name: Path | str, start: int) -> None:
    if (place := data.find(b"\0")) >= 0:
        raise InputError(
            f"{name}: byte {start + place} is 0, so this is no text, or UTF-16 without a byte "
            "order mark; convert the latter, for example with iconv -f utf-16le -t utf-8"
        )


def decode_text(data: bytes, name: Path | str, start: int = 0) -> str:
    """As `decode`, of a running text, which contains no zero byte."""
    _refuse_zero(data, name, start)
    return decode(data, name, start)


def decode(data: bytes, name: Path | str, start: int = 0) -> str:
    """`data`, found `start` bytes into the file `name`, as text."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(
            f"{name}: byte {start + error.start} is not UTF-8; convert the file, for example with "
            "iconv -f latin1 -t utf-8"
        ) from None


def decoded_lines(file: BinaryIO, name: Path | str) -> Iterator[str]:
    """The lines of a UTF-8 file with their line ends, without the byte order mark."""
    position = 0
    for line in iter(partial(file.readline, LONGEST_LINE + 1), b""):
        if len(line) > LONGEST_LINE:
            raise InputError(f"{name}: a line of more than {LONGEST_LINE:,} bytes; break it")
        text = decode_text(line, name, position)
        yield text.removeprefix("\ufeff") if position == 0 else text
        position += len(line)


def _unique_fields(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON, unless a field stands twice: `json` would keep the last without a word."""
    found = dict(pairs)
    if len(found) < len(pairs):
        ((name, _),) = Counter(name for name, _ in pairs).most_common(1)
        raise InputError(f"field {describe(name)} stands twice; leave one of them")
    return found


def json_objects(lines: Iterable[str], path: Path | str) -> Iterator[tuple[int, dict[str, Any]]]:
    """The objects of JSON Lines, each with the number of its line."""
    read = json.JSONDecoder(object_pairs_hook=_unique_fields).decode
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        place = f"{path}: line {number}"
        try:
            record = read(line)
        except InputError as error:
            raise InputError(f"{place}: {error}") from None
        except (ValueError, RecursionError) as error:
            reason = "nested too deeply" if isinstance(error, RecursionError) else error
            raise InputError(
                f"{place} is not JSON ({reason}); give one JSON object per line"
            ) from None
        if not isinstance(record, dict):
            raise InputError(f"{place} is not a JSON object; give one JSON object per line")
        yield number, record


def text_of(value: Any, place: str) -> str:
    """A value that should be text; nothing is the empty text."""
    if value is None:
        return ""
    if not isinstance(value, str):
        raise InputError(f"{place} holds {type(value).__name__}, not text; choose another")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise InputError(f"{place} holds half a character (a lone surrogate); fix it") from None
    return value
