"""Raw files: finding, hashing and decompressing them, and one-line errors for damaged ones."""

import bz2
import csv
import gzip
import hashlib
import io
import lzma
import os
import tarfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO
from xml.etree.ElementTree import ParseError
from zipfile import BadZipFile

import pyarrow

from lla.common.errors import InputError, is_disk_full
from lla.common.files import file_hash
from lla.common.progress import progress


def _open_zstandard(raw: BinaryIO) -> BinaryIO:
    return pyarrow.CompressedInputStream(pyarrow.PythonFile(raw, "r"), "zstd")


OPENERS: dict[bytes, Callable[[BinaryIO], Any]] = {
    b"BZh": bz2.open,
    b"\xfd7zXZ\x00": lzma.open,
    b"\x1f\x8b": gzip.open,
    b"\x28\xb5\x2f\xfd": _open_zstandard,
}
COMPRESSED = {".bz2", ".gz", ".xz", ".zst"}
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


def data_dir() -> Path | None:
    """Folder of large raw data, named by the environment variable ``LLA_DATA``.

    Returns
    -------
    Path or None
        ``None`` when the variable is not set.

    Raises
    ------
    InputError
        When it names something that is not a folder.
    """
    value = os.environ.get("LLA_DATA")
    if not value:
        return None
    folder = Path(value).expanduser().resolve()
    if not folder.is_dir():
        raise InputError(f"LLA_DATA={value}: no such folder; name the folder that holds the data")
    return folder


def find_inputs(names: Sequence[str | Path]) -> list[Path]:
    """Paths of the inputs; names that do not exist are looked up in the folder ``LLA_DATA``."""
    return [_find(Path(name).expanduser()) for name in names]


def _find(path: Path) -> Path:
    if path.exists():
        return path
    folder = data_dir()
    if folder is not None and (folder / path).exists():
        return folder / path
    where = f"here or in LLA_DATA={folder}" if folder else "(LLA_DATA, also searched, is not set)"
    raise InputError(f"{path}: no such file or folder {where}; check the name")


def list_files(path: Path, pattern: str = "*") -> list[Path]:
    """`path` itself, or the sorted, not hidden files below it whose name matches `pattern`."""
    if not path.is_dir():
        return [path]
    below = (p for p in path.rglob(pattern) if not p.name.startswith(".") and p.is_file())
    files = sorted(below, key=lambda p: p.relative_to(path).as_posix())
    if not files:
        raise InputError(f"{path}: no {pattern} file in this folder; name one that holds documents")
    return files


def hash_inputs(paths: Sequence[Path], pattern: str = "*") -> dict[str, str]:
    """SHA-256 of each input by its name; of a folder, that of its files' names and SHA-256."""
    hashes: dict[str, str] = {}
    for path in progress(paths, description="checking the raw files", unit="file"):
        name = path.resolve().name
        # Two inputs may have the same name in different folders.
        name = name if name not in hashes else f"{name} ({len(hashes) + 1})"
        with as_input_error(path):
            hashes[name] = _folder_hash(path, pattern) if path.is_dir() else file_hash(path)
    return hashes


def _folder_hash(folder: Path, pattern: str) -> str:
    total = hashlib.sha256()
    for file in list_files(folder, pattern):
        total.update(f"{file_hash(file)}  {file.relative_to(folder).as_posix()}\n".encode())
    return total.hexdigest()


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
                with opener(raw) as content, io.BufferedReader(content, 1 << 18) as file:
                    yield file
                return
        yield raw


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
        raise InputError(f"{path}: cannot be read ({reason}); {REMEDY}") from None


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
    for line in file:
        text = decode(line, name, position)
        yield text.removeprefix("\ufeff") if position == 0 else text
        position += len(line)
