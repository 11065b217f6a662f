"""Raw files: found, hashed, decompressed while they are read, and their faults put in one line."""

import bz2
import csv
import gzip
import hashlib
import io
import lzma
import os
import tarfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from xml.etree.ElementTree import ParseError
from zipfile import BadZipFile

import pyarrow

from lla.common.errors import InputError, is_disk_full
from lla.common.files import file_hash
from lla.common.progress import progress


def _open_zstandard(raw: BinaryIO) -> BinaryIO:
    return pyarrow.CompressedInputStream(pyarrow.PythonFile(raw, "r"), "zstd")


OPENERS = {
    b"BZh": bz2.open,
    b"\xfd7zXZ\x00": lzma.open,
    b"\x1f\x8b": gzip.open,
    b"\x28\xb5\x2f\xfd": _open_zstandard,
}


COMPRESSED = {".bz2", ".gz", ".xz", ".zst"}


AGAIN = "fetch or make the file again"


DAMAGED = (lzma.LZMAError, zlib.error, gzip.BadGzipFile, tarfile.TarError, csv.Error, BadZipFile)


@dataclass
class Reading:
    """How far reading is: raw bytes consumed, and pages passed over because they are no article."""

    position: int = 0
    passed_over: int = 0


def find_inputs(names: Sequence[str | Path]) -> list[Path]:
    """Paths of the inputs; a name that is not there is looked up in the folder ``LLA_DATA``."""
    return [_find(Path(name).expanduser()) for name in names]


def _find(path: Path) -> Path:
    if path.exists():
        return path
    folder = data_dir()
    if folder is not None and (folder / path).exists():
        return folder / path
    where = (
        f"here or in LLA_DATA={folder}"
        if folder
        else "(LLA_DATA, where it is also sought, is not set)"
    )
    raise InputError(f"{path}: no such file or folder {where}; check the name")


def files_of(path: Path, pattern: str = "*") -> list[Path]:
    """`path` itself, or all files below it whose name fits `pattern`, sorted; hidden ones not."""
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
        # Two inputs of one name, from two folders, are two inputs.
        name = name if name not in hashes else f"{name} ({len(hashes) + 1})"
        with one_line(path):
            hashes[name] = _folder_hash(path, pattern) if path.is_dir() else file_hash(path)
    return hashes


def _folder_hash(folder: Path, pattern: str) -> str:
    total = hashlib.sha256()
    for file in files_of(folder, pattern):
        total.update(f"{file_hash(file)}  {file.relative_to(folder).as_posix()}\n".encode())
    return total.hexdigest()


class _Counted(io.RawIOBase):
    """A raw file that adds what is read of it to `reading.position`."""

    def __init__(self, path: Path, reading: Reading) -> None:
        self._file = open(path, "rb", buffering=0)  # noqa: SIM115
        self._reading = reading

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:
        count = self._file.readinto(buffer)
        self._reading.position += count
        return count

    def close(self) -> None:
        self._file.close()
        super().close()


@contextmanager
def open_raw(path: Path, reading: Reading) -> Iterator[BinaryIO]:
    """The content of `path`, decompressed whatever its name says, as a buffered binary file."""
    with one_line(path), io.BufferedReader(_Counted(path, reading), 1 << 18) as raw:
        start = raw.peek(8)[:8]
        for magic, opener in OPENERS.items():
            if start.startswith(magic):
                with opener(raw) as content, io.BufferedReader(content, 1 << 18) as file:
                    yield file
                return
        yield raw


@contextmanager
def one_line(path: Path | str) -> Iterator[None]:
    """Turn what reading a damaged or foreign file raises into an `InputError` that names it."""
    try:
        yield
    except EOFError:
        raise InputError(f"{path}: ends before its end, it is truncated; {AGAIN}") from None
    except DAMAGED as error:
        raise InputError(f"{path}: truncated or damaged ({error}); {AGAIN}") from None
    except ParseError as error:
        raise InputError(f"{path}: no whole XML ({error}); {AGAIN}") from None
    except OSError as error:
        if is_disk_full(error):
            raise
        reason = error.strerror or error
        raise InputError(f"{path}: cannot be read ({reason}); {AGAIN}") from None


def decode(data: bytes, name: Path | str, start: int = 0) -> str:
    """`data`, which stands `start` bytes into the file `name`, as text."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(
            f"{name}: byte {start + error.start} is not UTF-8; convert the file, for example with "
            "iconv -f latin1 -t utf-8"
        ) from None


def lines_of(file: BinaryIO, name: Path | str) -> Iterator[str]:
    """The lines of a UTF-8 file, with their ends, without its byte order mark."""
    position = 0
    for line in file:
        text = decode(line, name, position)
        yield text.removeprefix("\ufeff") if position == 0 else text
        position += len(line)


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
