"""The files that hold a table of events: found, hashed, piped, recognised by their content."""

import logging
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from data_prep.io.find import COMPRESSED, find_input, printable, search
from data_prep.io.inputs import as_input_error
from lla.common.errors import InputError
from lla.common.files import file_hash
from lla.common.progress import progress

log = logging.getLogger("data_prep")
SEPARATORS = {".csv": ",", ".tsv": "\t", ".tab": "\t"}
JSON = {".jsonl", ".ndjson", ".json"}
PARQUET, ARROW = {".parquet", ".pq"}, {".arrow", ".feather", ".ipc"}
TABLES = {*SEPARATORS, *JSON, *PARQUET, *ARROW, ".zip"}
FORMS = "a table: .csv, .tsv, .jsonl, .parquet or .arrow, compressed or not"
STANDARD_INPUT = "standard input"


class TableFiles(NamedTuple):
    """The files of a table, and what else there was.

    Attributes
    ----------
    name : str
        What was given, for the manifest.
    files : list of (Path, str)
        Each file, and how messages call it.
    n_passed_over : int
        Files and folders that are hidden, or no table.
    folder : Path or None
        Where the files are, unless a single one was given.
    """

    name: str
    files: list[tuple[Path, str]]
    n_passed_over: int = 0
    folder: Path | None = None

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.stat().st_size for file, _ in self.files)


@contextmanager
def find_tables(source: str | os.PathLike[str]) -> Iterator[TableFiles]:
    """The tables at `source`: a file, a folder, ``-`` for standard input, or a pipe.

    What is piped can be read only once, so it is copied to a temporary file first.
    """
    path, name = _path(source)
    if path.is_dir():
        yield _in_folder(path, name)
    elif path.is_file():
        yield TableFiles(printable(path.resolve().name), [(path, name)])
    else:
        with tempfile.TemporaryDirectory(prefix="data_prep-") as folder:
            copy = Path(folder) / "input"
            with as_input_error(name), open(path, "rb") as content, open(copy, "wb") as file:
                shutil.copyfileobj(content, file, 1 << 20)
            yield TableFiles(name, [(copy, name)])


def _path(source: str | os.PathLike[str]) -> tuple[Path, str]:
    """The path of a source, pipes included, and how messages call it."""
    if str(source) == "-":
        return Path("/dev/stdin"), STANDARD_INPUT
    name = printable(os.fspath(source))
    try:
        mode = Path(source).expanduser().stat().st_mode
    except (OSError, ValueError, RuntimeError):
        path = find_input(Path(source))
        return path, printable(str(path))
    if stat.S_ISREG(mode) or stat.S_ISDIR(mode):
        return Path(source).expanduser(), name
    return Path(source), name


def _in_folder(folder: Path, name: str) -> TableFiles:
    """The tables below `folder`, by their paths."""
    found = search(folder)
    tables = list(filter(is_table, found.files))
    for file in found.files:
        if not is_table(file):
            found.pass_over("no table", file.relative_to(folder).as_posix())
    others = found.others()
    if not tables:
        there = f", but {others}" if others else ""
        raise InputError(f"{name}: no table in this folder{there}; name one that holds {FORMS}")
    if others:
        log.info("%s: passed over: %s", name, others)
    n_others = sum(len(names) for names in found.passed_over.values())
    files = [(file, printable(str(file))) for file in tables]
    return TableFiles(printable(folder.resolve().name), files, n_others, folder)


def hash_tables(found: TableFiles) -> dict[str, str]:
    """SHA-256 of a file by its name; of a folder, that of its tables' names and SHA-256."""
    total, last = sha256(), ""
    names: dict[str, str] = {}
    for path, name in progress(found.files, description="checking the raw files", unit="file"):
        with as_input_error(name):
            last = file_hash(path)
        if last in names:
            log.info("%s: has the same content as %s; its events count again", name, names[last])
        names[last] = name
        if found.folder is not None:
            below = os.fsencode(path.relative_to(found.folder).as_posix())
            total.update(last.encode() + b"  " + below + b"\n")
    return {found.name: last if found.folder is None else total.hexdigest()}


def is_table(path: Path) -> bool:
    """Whether a file is a table by its name."""
    return suffix(path) in TABLES


def suffix(path: Path | str) -> str:
    """What the name of a file ends in, in lower case, without that of a compression."""
    path = Path(path)
    return (path.with_suffix("") if path.suffix.lower() in COMPRESSED else path).suffix.lower()
