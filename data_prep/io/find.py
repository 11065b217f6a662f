"""Finding raw files: one that is named, or those of a folder and what is passed over there."""

import logging
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from lla.common.errors import InputError, is_disk_full
from lla.corpus.folder import DATA_FILES

log = logging.getLogger("data_prep")

COMPRESSED = {".bz2", ".gz", ".xz", ".zst"}
STANDARD_INPUT = "standard input"
OF_MACOS = "__MACOSX"  # a folder of hidden copies that macOS adds to archives
MAX_NAMED = 3  # files that a message names


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
    return [find_input(name) for name in names]


@contextmanager
def open_inputs(names: Sequence[str | Path]) -> Iterator[list[Path]]:
    """As `find_inputs`; also pipes, and ``-`` for the standard input.

    What is piped can be read only once, so it is copied to a temporary file first.
    """
    with ExitStack() as stack:
        paths = []
        for name in names:
            pipe = _pipe(name)
            if pipe is None:
                paths.append(find_input(name))
                continue
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="data_prep-"))
            # Of the same name, so that its suffix still tells what it is.
            copy = Path(folder, STANDARD_INPUT if str(name) == "-" else pipe.name)
            try:
                with open(pipe, "rb") as content, open(copy, "wb") as file:
                    shutil.copyfileobj(content, file, 1 << 20)
            except OSError as error:
                if is_disk_full(error):
                    raise
                raise InputError(
                    f"{name}: cannot be read ({error.strerror}); name a file"
                ) from None
            paths.append(copy)
        yield paths


def _pipe(name: str | Path) -> Path | None:
    """The path of a pipe or of the standard input; None for anything else."""
    if not isinstance(name, (str, os.PathLike)):
        return None
    if os.fspath(name) == "-":
        return Path("/dev/stdin")
    try:
        path = Path(name).expanduser()
        return path if stat.S_ISFIFO(path.stat().st_mode) else None
    except (OSError, ValueError, RuntimeError):  # `find_input` says what is wrong
        return None


def find_input(name: str | Path) -> Path:
    """Path of a file or folder that can be read more than once."""
    if not isinstance(name, (str, os.PathLike)) or not os.fspath(name):
        raise InputError(f"input is {name!r}: name a file or folder")
    try:
        path = Path(name).expanduser()
        found = _existing(path)
        mode = found.stat().st_mode
    except InputError:
        raise
    except RuntimeError:  # ~ of a user that does not exist
        raise InputError(f"{name}: no such home folder; check the name") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{name}: cannot be read ({reason}); check the name") from None
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        kind = "a pipe" if stat.S_ISFIFO(mode) else "no regular file"
        raise InputError(
            f"{name}: {kind}, which cannot be read twice; write it to a file and name that"
        )
    return found


def _existing(path: Path) -> Path:
    if path.exists():
        return path
    folder = data_dir()
    if folder is not None and (folder / path).exists():
        return folder / path
    where = f"here or in LLA_DATA={folder}" if folder else "(LLA_DATA, also searched, is not set)"
    raise InputError(f"{path}: no such file or folder {where}; check the name")


@dataclass
class Found:
    """The files of a folder.

    Attributes
    ----------
    files : list of Path
        Those to be read.
    passed_over : dict
        Names of the others by the reason for it.
    """

    files: list[Path] = field(default_factory=list)
    passed_over: dict[str, list[str]] = field(default_factory=dict)

    def pass_over(self, reason: str, name: str) -> None:
        """Note that `name` is not read."""
        self.passed_over.setdefault(reason, []).append(name)

    def others(self) -> str:
        """What is passed over, as a part of a sentence."""
        parts = []
        for reason, names in sorted(self.passed_over.items()):
            named = ", ".join(map(printable, sorted(names)[:MAX_NAMED]))
            more = ", ..." if len(names) > MAX_NAMED else ""
            parts.append(f"{len(names):,} {reason} ({named}{more})")
        return "; ".join(parts)


def list_files(path: Path, suffix: str = "") -> list[Path]:
    """`path` itself, or the sorted files below it whose names end in `suffix`; see `search`."""
    if not path.is_dir():
        return [path]
    found = search(path, suffix)
    if not found.files:
        others = f", but {found.others()}" if found.passed_over else ""
        raise InputError(
            f"{path}: no {suffix or 'readable'} file in this folder{others}; name one that holds "
            "documents, or a single file"
        )
    return found.files


def say_passed_over(path: Path, suffix: str = "") -> None:
    """One line in the log about what a folder holds and is not read."""
    if path.is_dir() and (others := search(path, suffix).others()):
        log.info("%s: passed over: %s", printable(str(path)), others)


def search(folder: Path, suffix: str = "") -> Found:
    """The files below `folder`, in the order of their paths.

    Passed over are: what is hidden, corpora, files with another suffix (case is ignored, and a
    further suffix of compression is no other), links to folders, and links to files that are
    read anyway.
    """
    if _is_corpus(folder):
        raise InputError(
            f"{folder}: is a corpus already; load it with lla.load_corpus, or name what it was "
            "made from"
        )
    found = Found()
    for directory, name in _walk(folder, found):
        file = directory / name
        shown = file.relative_to(folder).as_posix()
        if _is_hidden(name):
            found.pass_over("hidden", shown)
        elif not name.lower().endswith((suffix, *(suffix + c for c in COMPRESSED if suffix))):
            found.pass_over(f"not {suffix}", shown)
        elif not file.exists():
            found.pass_over("broken links", shown)
        elif not file.is_file():
            found.pass_over("no regular files", shown)
        elif file.suffix.lower() in COMPRESSED and file.with_suffix("").is_file():
            found.pass_over("compressed beside the same uncompressed", shown)
        else:
            found.files.append(file)
    # A link to a file that is read anyway would double it.
    links = {file for file in found.files if file.is_symlink()}
    real = {file.resolve() for file in found.files if file not in links} if links else set()
    for file in {link for link in links if link.resolve() in real}:
        found.files.remove(file)
        found.pass_over("links to other files here", file.relative_to(folder).as_posix())
    found.files.sort(key=lambda file: file.relative_to(folder).as_posix())
    return found


def _walk(folder: Path, found: Found) -> Iterator[tuple[Path, str]]:
    """Directory and name of all files below `folder`, without what is in passed over folders."""

    def refuse(error: OSError) -> None:
        raise InputError(
            f"{error.filename}: cannot be read ({error.strerror}); make it readable"
        ) from None

    for root, folders, files in os.walk(folder, onerror=refuse):
        directory, kept = Path(root), []
        for name in folders:
            below = directory / name
            shown = below.relative_to(folder).as_posix() + "/"
            if _is_hidden(name):
                found.pass_over("hidden", shown)
            elif below.is_symlink():
                found.pass_over("links to folders", shown)
            elif _is_corpus(below):
                found.pass_over("corpora", shown)
            else:
                kept.append(name)
        folders[:] = kept
        for name in files:
            yield directory, name


def is_hidden_path(name: str) -> bool:
    """Whether a file in an archive is hidden, or in a hidden folder."""
    return any(_is_hidden(part) for part in name.split("/") if part not in (".", ".."))


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name == OF_MACOS


def _is_corpus(folder: Path) -> bool:
    return (folder / "manifest.json").is_file() and any(
        (folder / name).is_file() for name in DATA_FILES
    )


def printable(name: str) -> str:
    """`name` as one line of UTF-8: bytes that are none, and what breaks lines, are escaped."""
    if name.isprintable():
        return name
    return "".join(_escape(c) if c < " " or c in ESCAPED or _is_half(c) else c for c in name)


ESCAPED = "\x7f\x85\u2028\u2029"


def _is_half(character: str) -> bool:
    """Whether it is a lone surrogate, with which Python writes bytes that are not UTF-8."""
    return "\ud800" <= character <= "\udfff"


def _escape(character: str) -> str:
    if "\udc80" <= character <= "\udcff":
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("unicode_escape").decode()
