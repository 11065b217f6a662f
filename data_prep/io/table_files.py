"""The files that hold a table of events: found, hashed, piped, recognised by their content."""

import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from data_prep.io.inputs import COMPRESSED, as_input_error, find_inputs
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
    passed_over : list of str
        Files and folders that are no table; hidden ones are not mentioned.
    folder : Path or None
        Where the files are, unless a single one was given.
    """

    name: str
    files: list[tuple[Path, str]]
    passed_over: list[str]
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
    if str(source) == "-":
        path, is_pipe, name = Path("/dev/stdin"), True, STANDARD_INPUT
    else:
        (path,) = find_inputs([Path(source)])
        is_pipe, name = not path.is_dir() and not path.is_file(), shown(path)
    if is_pipe:
        with tempfile.TemporaryDirectory(prefix="data_prep-") as folder:
            copy = Path(folder) / "input"
            with as_input_error(name), open(path, "rb") as content, open(copy, "wb") as file:
                shutil.copyfileobj(content, file, 1 << 20)
            yield TableFiles(name, [(copy, name)], [])
    elif path.is_dir():
        yield _in_folder(path)
    else:
        yield TableFiles(shown(path.resolve().name), [(path, name)], [])


def _in_folder(folder: Path) -> TableFiles:
    """The tables below `folder` by their paths, without hidden files and corpora."""
    files: list[tuple[Path, str]] = []
    passed_over: list[str] = []

    def unreadable(error: OSError) -> None:
        raise not_readable(Path(error.filename), error) from None

    for parent, below, names in os.walk(folder, onerror=unreadable):
        if parent != str(folder) and {"manifest.json", "words.npy"} <= set(names):
            below.clear()
            passed_over.append(shown(parent))
            continue
        links = [name for name in below if os.path.islink(os.path.join(parent, name))]
        below[:] = [name for name in below if not is_hidden(name) and name not in links]
        for name in sorted(links + names):
            path = Path(parent, name)
            if is_hidden(name):
                continue
            if path.is_file() and is_table(path):
                files.append((path, shown(path)))
            else:
                passed_over.append(shown(path))
    if not files:
        raise InputError(f"{shown(folder)}: no table in this folder; name one that holds {FORMS}")
    files.sort(key=lambda file: file[0].relative_to(folder).as_posix())
    say_passed_over(shown(folder), passed_over)
    return TableFiles(shown(folder.resolve().name), files, sorted(passed_over), folder)


def say_passed_over(name: str, files: list[str]) -> None:
    """Say which files are no tables; at most three by name."""
    if files:
        some = ", ".join(Path(file).name for file in sorted(files)[:3])
        more = f" and {len(files) - 3} more" if len(files) > 3 else ""
        log.info("%s: %d passed over, no table: %s%s", name, len(files), some, more)


def is_hidden(name: str) -> bool:
    """Whether a file or folder is one that programs put there, by its name."""
    return name.startswith(".") or name == "__MACOSX"


def hash_tables(found: TableFiles) -> dict[str, str]:
    """SHA-256 of a file by its name; of a folder, that of its tables' names and SHA-256."""
    total, last = sha256(), ""
    names: dict[str, str] = {}
    for path, name in progress(found.files, description="checking the raw files", unit="file"):
        with as_input_error(name):
            try:
                last = file_hash(path)
            except PermissionError as error:
                raise not_readable(path, error) from None
        if last in names:
            log.info("%s: has the same content as %s; its events count again", name, names[last])
        names[last] = name
        if found.folder is not None:
            below = os.fsencode(path.relative_to(found.folder).as_posix())
            total.update(last.encode() + b"  " + below + b"\n")
    return {found.name: last if found.folder is None else total.hexdigest()}


def not_readable(path: Path, error: OSError) -> InputError:
    """The one line for what the system does not let us read."""
    return InputError(f"{shown(path)}: cannot be read ({error.strerror}); make it readable")


def is_table(path: Path) -> bool:
    """Whether a file is a table by its name."""
    return suffix(path) in TABLES


def suffix(path: Path | str) -> str:
    """What the name of a file ends in, in lower case, without that of a compression."""
    path = Path(path)
    return (path.with_suffix("") if path.suffix.lower() in COMPRESSED else path).suffix.lower()


def shown(path: str | os.PathLike[str]) -> str:
    """A path as text that can be printed and written, also where its name is not UTF-8."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")
