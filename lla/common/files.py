"""Files written atomically: JSON, safetensors, folders."""

import dataclasses
import hashlib
import json
import os
import re
import secrets
import shutil
import zlib
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib import metadata
from pathlib import Path
from typing import IO, Any

import numpy as np

from lla.common.arrays import allocate_tokens
from lla.common.errors import InputError, check_path, disk_full, is_disk_full

FORMAT = "1"
CHECKSUM = "crc32"  # in the header of a safetensors file; files of earlier versions have none
PACKAGES = ("torch", "numpy", "numba", "gensim")


@contextmanager
def atomic_write(path: str | Path, mode: str = "wb") -> Iterator[IO[Any]]:
    """Open a file that takes its name only when it is whole and on the disk.

    Parameters
    ----------
    path : where the file will stand; its folder is made when missing
    mode : "wb" for bytes, "w" for UTF-8 text

    Raises
    ------
    InputError
        When the disk is full or the file cannot be written. Whatever goes wrong, a file that
        was there before stays as it was and no temporary file is left. What a process left that
        was killed while it wrote the same file is removed by the next that succeeds.
    """
    if mode not in ("wb", "w"):
        raise ValueError(f"mode {mode!r}: choose 'wb' or 'w'")
    path = Path(path)
    temporary = temporary_sibling(path)
    encoding, newline = (None, None) if mode == "wb" else ("utf-8", "\n")
    with _one_line(path, temporary):
        path.parent.mkdir(parents=True, exist_ok=True)
        exclusive = mode.replace("w", "x")
        file = open(temporary, exclusive, encoding=encoding, newline=newline)  # noqa: SIM115
    try:
        with _one_line(path, temporary, disk_only=True):
            yield file
            flush(file)
            file.close()
        with _one_line(path, temporary):
            os.replace(temporary, path)
        remove_abandoned(path)
    except BaseException:
        # Closing flushes once more, which a full disk refuses once more.
        with suppress(OSError):
            file.close()
        temporary.unlink(missing_ok=True)
        raise


@contextmanager
def _one_line(path: Path, temporary: Path, disk_only: bool = False) -> Iterator[None]:
    """Turn what the file system refuses into an `InputError` that names `path`."""
    try:
        yield
    except OSError as error:
        if is_disk_full(error):
            if error.filename in (None, str(temporary)):
                error.filename = str(path)
            raise disk_full(error) from None
        if disk_only:
            raise
        reason = error.strerror or error
        raise InputError(f"{path}: cannot be written ({reason}); make it writable") from None


def write_json(path: str | Path, obj: Any) -> None:
    """Write `obj` as indented JSON; NumPy numbers and arrays, paths and dataclasses are taken too.

    Raises
    ------
    ValueError
        When a number is NaN or infinite; JSON has neither.
    """
    text = json.dumps(obj, indent=2, ensure_ascii=False, allow_nan=False, default=_plain)
    with atomic_write(path, "w") as file:
        file.write(text + "\n")


def _plain(value: Any) -> Any:
    if isinstance(value, (np.generic, np.ndarray)):
        return value.tolist()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")


def read_json(path: str | Path, remedy: str = "delete it and run again") -> Any:
    """Read a JSON file; `remedy` ends the message about a broken one.

    Raises
    ------
    InputError
        When the file is missing, truncated or not JSON.
    """
    path = Path(path)
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; give the name of one that exists") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); make it readable") from None
    except (ValueError, RecursionError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise InputError(f"{path}: not whole JSON ({reason}); {remedy}") from None


def save_tensors(path: str | Path, tensors: Mapping[str, Any], meta: Mapping[str, Any]) -> None:
    """Write named arrays and what they mean into one safetensors file.

    Parameters
    ----------
    tensors : numpy.ndarray or torch.Tensor by name
    meta : anything JSON can hold; it goes into the file's header
    """
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    arrays = {name: _as_array(value) for name, value in tensors.items()}
    text = json.dumps(meta, allow_nan=False, default=_plain)
    header = {"lla_format": FORMAT, "meta": text, CHECKSUM: checksum(arrays, text)}
    with atomic_write(path) as file:
        mode = os.fstat(file.fileno()).st_mode
        try:  # it puts a file of its own, with its own mode, in the place of this one
            save_file(arrays, file.name, header)
        except SafetensorError as error:
            if number := re.search(r"os error (\d+)", str(error)):
                raise OSError(int(number[1]), os.strerror(int(number[1]))) from None
            raise
        os.chmod(file.name, mode)
        with open(file.name, "r+b") as written:
            _sort_header(written)
            flush(written)


def checksum(arrays: Mapping[str, np.ndarray], meta: str) -> str:
    """CRC-32 of arrays, their names, types and shapes, and of what they mean.

    It finds every bit that a disk or a copy has flipped, and costs little beside writing the file.
    It is no proof against somebody who changes a file on purpose.
    """
    total = zlib.crc32(meta.encode())
    for name, array in sorted(arrays.items()):
        total = zlib.crc32(f"{name} {array.dtype.str} {array.shape}".encode(), total)
        total = zlib.crc32(array.reshape(-1).view(np.uint8), total)
    return f"{total:08x}"


def _sort_header(file: IO[bytes]) -> None:
    """Put the entries of a safetensors header in order: the library's own changes between runs."""
    size = int.from_bytes(file.read(8), "little")
    header = json.loads(file.read(size))
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode().ljust(size)
    if len(text) == size:
        file.seek(8)
        file.write(text)


def _as_array(value: Any) -> np.ndarray:
    """A contiguous array of the same values; copied only where it must be."""
    if not isinstance(value, np.ndarray):  # a tensor: Torch is not imported for this
        value = value.detach().cpu().numpy()
    return np.require(value, requirements="C")


def check_writable(name: str, path: Path) -> None:
    """Raise `InputError` unless a file can be written at `path`, which is left as it is.

    Parameters
    ----------
    name : of the argument that `path` was given as
    """
    folder = path.parent
    try:
        if path.is_dir():
            raise InputError(f"{name} is {str(path)!r}, a folder: give the name of a file in it")
        if not folder.is_dir():
            raise InputError(
                f"{name} is {str(path)!r}: there is no folder {folder}; make it, or name another"
            )
        if path.exists() and not path.is_file():
            raise InputError(f"{name} is {str(path)!r}, which is no file: name another")
        # The name that a file has until it is whole: the longest that will be needed.
        temporary = temporary_sibling(path)
        open(temporary, "xb").close()
        temporary.unlink()
    except OSError as error:
        raise InputError(
            f"{name} is {str(path)!r}: cannot be written ({error.strerror or error}); name a file "
            "in a folder that you may write to"
        ) from None


def load_arrays(path: str | Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Read what `save_tensors` wrote: arrays by name, and what they mean.

    Raises
    ------
    InputError
        When the file is missing, truncated, damaged, of another format or of another version.
    """
    from safetensors import SafetensorError, safe_open

    path = check_path("path", path)
    remedy = "give another file, or delete it and run again"
    try:
        with safe_open(path, framework="np") as file:
            header = file.metadata() or {}
            version = header.get("lla_format")
            if version != FORMAT:
                found = "not a model of lla" if version is None else f"format {version}"
                raise InputError(f"{path}: {found}, format {FORMAT} is needed; {remedy}")
            arrays = {name: _copy(file.get_tensor(name)) for name in file.keys()}  # noqa: SIM118
        written = header.get(CHECKSUM)
        if written is not None and written != checksum(arrays, header["meta"]):
            raise InputError(f"{path}: damaged, its checksum is another; {remedy}")
        meta = json.loads(header["meta"])
        if not isinstance(meta, dict):
            raise InputError(f"{path}: not a model of lla; {remedy}")
        return arrays, meta
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; give the name of one that exists") from None
    except OSError as error:
        if path.is_dir():
            raise InputError(f"{path}: cannot be read, a folder; name a file in it") from None
        raise InputError(f"{path}: cannot be read ({error}); make it readable") from None
    except InputError:
        raise
    except (SafetensorError, KeyError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: not whole safetensors ({error}); {remedy}") from None


def _copy(array: np.ndarray) -> np.ndarray:
    """Of what safetensors hands out, which may be a view of the file; a file if it is of tokens."""
    if array.ndim != 1:
        return np.array(array)
    copy = allocate_tokens(len(array), array.dtype)
    copy[:] = array
    return copy


def load_tensors(path: str | Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """`load_arrays`, as Torch's tensors."""
    import torch

    arrays, meta = load_arrays(path)
    return {name: torch.from_numpy(value) for name, value in arrays.items()}, meta


def file_hash(path: Path) -> str:
    """SHA-256 of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def temporary_sibling(path: Path) -> Path:
    """An unused hidden name beside `path`: on the same disk, so that a rename is enough."""
    return path.with_name(f".tmp-{path.name}-{os.getpid()}-{secrets.token_hex(4)}")


def remove_abandoned(path: Path) -> None:
    """Remove what processes that no longer run have left beside `path` under a temporary name."""
    pattern = re.compile(rf"\.tmp-{re.escape(path.name)}-(\d+)-[0-9a-f]{{8}}")
    with suppress(OSError):
        for name in os.listdir(path.parent):
            found = pattern.fullmatch(name)
            if found is None or _is_running(int(found[1])):
                continue
            left = path.with_name(name)
            if left.is_dir() and not left.is_symlink():
                shutil.rmtree(left, ignore_errors=True)
            else:
                left.unlink(missing_ok=True)


def _is_running(pid: int) -> bool:
    """Whether a process of this number runs on this machine; elsewhere than on Unix, always."""
    if os.name != "posix":
        return True
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass
    return True


def not_writable(error: OSError, path: Path) -> InputError:
    """The one line for what the file system refuses."""
    if is_disk_full(error):
        error.filename = str(path)
        return disk_full(error)
    return InputError(f"{path}: cannot be written ({error.strerror}); name a folder that can be")


def folder_to_write(name: str | Path, option: str = "folder") -> Path:
    """The path of a folder to be made or replaced; ``~`` is the home folder.

    Raises
    ------
    InputError
        When there is no name, or it is the current folder, which a replacement would take away.
    """
    if not isinstance(name, (str, os.PathLike)) or not os.fspath(name).strip():
        raise InputError(f"{option} is {name!r}: name a folder")
    try:
        path = Path(name).expanduser()
        here, there = Path.cwd(), path.resolve()
        path.exists()  # fails where the name is too long
    except (RuntimeError, OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{option} is {name}: no usable name ({reason}); name a folder") from None
    if there == here or there in here.parents:
        raise InputError(
            f"{option} is {name}: this is the current folder or one above it; name a folder in "
            "it, such as my_corpus"
        )
    return there if path.name in ("", "..") else path


def check_replaceable(folder: Path) -> None:
    """Raise `InputError` when `folder` holds something that is not a corpus."""
    if not folder.exists() or (folder / "manifest.json").is_file():
        return
    if not folder.is_dir() or any(folder.iterdir()):
        raise InputError(f"{folder}: exists and is no corpus; name another folder")


def check_holds_only(folder: Path, names: Collection[str], kind: str) -> None:
    """Raise `InputError` if `folder` holds anything but files of these names: none is deleted."""
    if not folder.exists():
        return
    if not folder.is_dir():
        raise InputError(f"{folder}: is a file; name a folder for the {kind}")
    if others := sorted({path.name for path in folder.iterdir()} - set(names)):
        raise InputError(f"{folder}: holds {others[0]}, not of a {kind}; name another folder")


def replace_folder(new: Path, folder: Path) -> None:
    """Give `new` the name `folder`, and remove what had it."""
    old = temporary_sibling(folder)
    if folder.exists():
        os.rename(folder, old)
    os.rename(new, folder)
    if old.is_symlink():  # what it leads to is left alone
        old.unlink()
    shutil.rmtree(old, ignore_errors=True)
    remove_abandoned(folder)


def flush(file: Any) -> None:
    """Have what was written on the disk."""
    file.flush()
    os.fsync(file.fileno())


def package_versions() -> dict[str, str | None]:
    """Installed versions of what results depend on; None for a package that is not there."""
    return {name: _version(name) for name in PACKAGES}


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
