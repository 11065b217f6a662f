"""Results and models on disk: JSON and safetensors, whole or not at all, with their provenance."""

import dataclasses
import hashlib
import json
import math
import os
import platform
import re
import resource
import secrets
import statistics
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib import metadata
from pathlib import Path
from typing import IO, Any

import numpy as np

from lla import paths
from lla.errors import InputError, disk_full, is_disk_full

FORMAT = "1"
PACKAGES = ("torch", "numpy", "numba", "gensim")
MEASURE_KEYS = {"value", "spread", "n_seeds", "unit"}
MOST_PROCESSES = 4  # side by side, however many cores: each holds the data and its fit


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
        stood there before stays as it was and no temporary file is left.
    """
    if mode not in ("wb", "w"):
        raise ValueError(f"mode {mode!r}: choose 'wb' or 'w'")
    path = Path(path)
    temporary = path.with_name(f".tmp-{path.name}-{os.getpid()}-{secrets.token_hex(4)}")
    text = {} if mode == "wb" else {"encoding": "utf-8", "newline": "\n"}
    with _one_line(path, temporary):
        path.parent.mkdir(parents=True, exist_ok=True)
        file = open(temporary, mode.replace("w", "x"), **text)  # noqa: SIM115
    try:
        with _one_line(path, temporary, disk_only=True):
            yield file
            file.flush()
            os.fsync(file.fileno())
            file.close()
        with _one_line(path, temporary):
            os.replace(temporary, path)
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
        raise InputError(f"{path}: no such file; make it by running the step before") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); make it readable") from None
    except ValueError as error:
        reason = f"{type(error).__name__}: {error}"
        raise InputError(f"{path}: not whole JSON ({reason}); {remedy}") from None


def save_tensors(path: str | Path, tensors: Mapping[str, Any], meta: Mapping[str, Any]) -> None:
    """Write named arrays and what they mean into one safetensors file.

    Parameters
    ----------
    tensors : torch.Tensor or numpy.ndarray by name
    meta : anything JSON can hold; it goes into the file's header
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    header = {
        "lla_format": FORMAT,
        "meta": json.dumps(meta, allow_nan=False, default=_plain),
    }
    with atomic_write(path) as file:
        mode = os.fstat(file.fileno()).st_mode
        try:  # it puts a file of its own, with its own mode, in the place of this one
            save_file(_apart(tensors), file.name, header)
        except SafetensorError as error:
            if number := re.search(r"os error (\d+)", str(error)):
                raise OSError(int(number[1]), os.strerror(int(number[1]))) from None
            raise
        os.chmod(file.name, mode)
        with open(file.name, "rb") as written:
            os.fsync(written.fileno())


def _apart(tensors: Mapping[str, Any]) -> dict[str, Any]:
    """Contiguous CPU tensors no two of which share memory; copied only where they would."""
    import torch

    found, places = {}, set()
    for name, value in tensors.items():
        if not isinstance(value, torch.Tensor):  # Torch takes what is contiguous and writable
            value = torch.from_numpy(np.require(value, requirements="CW"))
        tensor = value.detach().cpu().contiguous()
        place = tensor.untyped_storage().data_ptr()
        found[name] = tensor.clone() if place in places else tensor
        places.add(place)
    return found


def load_tensors(path: str | Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read what `save_tensors` wrote.

    Returns
    -------
    tensors, meta : dict of torch.Tensor, dict

    Raises
    ------
    InputError
        When the file is missing, truncated, of another format or of another version.
    """
    from safetensors import SafetensorError, safe_open

    path = Path(path)
    remedy = "delete it and run again"
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            version = header.get("lla_format")
            if version != FORMAT:
                found = "not a model of lla" if version is None else f"format {version}"
                raise InputError(f"{path}: {found}, format {FORMAT} is needed; {remedy}")
            # A copy: what safetensors hands out is a view of the file.
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
        return tensors, json.loads(header["meta"])
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; make it by running the step before") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error}); make it readable") from None
    except InputError:
        raise
    except (SafetensorError, KeyError, ValueError) as error:
        raise InputError(f"{path}: not whole safetensors ({error}); {remedy}") from None


def measure(values: Sequence[float], unit: str) -> dict[str, Any]:
    """Mean and spread of one value a seed.

    Returns
    -------
    dict
        ``value`` is the mean, ``spread`` the standard deviation with ddof=1 (0.0 for one seed),
        ``n_seeds``, ``unit`` and the ``values`` themselves.

    Raises
    ------
    ValueError
        When there is no value, or one is NaN or infinite.
    """
    values = [float(x) for x in values]
    if not values or not all(map(math.isfinite, values)):
        raise ValueError(f"{values}: give at least one value, all of them finite {unit}")
    return {
        "value": statistics.fmean(values),
        "spread": statistics.stdev(values) if len(values) > 1 else 0.0,
        "n_seeds": len(values),
        "unit": unit,
        "values": values,
    }


def save_result(
    profile: str,
    name: str,
    *,
    config: Any,
    seeds: Sequence[int],
    measures: Mapping[str, Mapping[str, Any]],
    claims: Sequence[Any],
    corpus: str,
    seconds: float,
    extra: Mapping[str, Any] | None = None,
) -> Path:
    """Write ``results/PROFILE/NAME.json`` with where its numbers come from; no time of day.

    Parameters
    ----------
    config : dict or dataclass
    measures : by name, each as `measure` returns it
    claims : `Claim` or its dict
    corpus : fingerprint of the corpus the numbers were measured on
    seconds : time the measurement took
    extra : anything else the figures need

    Returns
    -------
    Path
        The file written.

    Raises
    ------
    ValueError
        When a measure lacks one of its keys, or a number is NaN or infinite.
    """
    for key, value in measures.items():
        if lacking := sorted(MEASURE_KEYS - set(value)):
            raise ValueError(f"measure {key}: {', '.join(lacking)} missing; use `measure`")
    path = paths.profile_dir(profile) / f"{name}.json"
    result = {
        "config": config,
        "seeds": [int(seed) for seed in seeds],
        "measures": measures,
        "claims": list(claims),
        "environment": environment() | {"corpus": corpus},
        "seconds": round(float(seconds), 1),
        "peak_memory": peak_memory(),
        "extra": extra or {},
    }
    write_json(path, result)
    return path


def load_result(profile: str, name: str) -> dict[str, Any]:
    """Read ``results/PROFILE/NAME.json``.

    Raises
    ------
    InputError
        When the profile does not exist or its result is missing or broken.
    """
    path = paths.profile_dir(profile) / f"{name}.json"
    if not path.is_file():
        raise InputError(f"{path}: no such result; run `make reproduce PROFILE={profile}`")
    return read_json(path)


def committed_result(name: str) -> tuple[str, dict[str, Any]]:
    """Profile and result of the largest run there is: medium's, small's, or smoke's."""
    found = (p for p in ("medium", "small") if (paths.profile_dir(p) / f"{name}.json").is_file())
    profile = next(found, "smoke")
    return profile, load_result(profile, name)


def environment() -> dict[str, Any]:
    """What a result may depend on: versions, machine, threads and the lock file's hash."""
    lock = paths.ROOT / "requirements.lock"
    return {
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "packages": {name: package_version(name) for name in PACKAGES},
        "cpu": _cpu(),
        "cores": os.cpu_count() or 1,
        "threads": _threads(),
        "lock": hashlib.sha256(lock.read_bytes()).hexdigest() if lock.is_file() else None,
    }


def package_version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _cpu() -> str:
    # platform.processor() is empty on most Linux systems, or only repeats the architecture.
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.lower().startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def _threads() -> int:
    if "LLA_THREADS" in os.environ:
        return max(1, int(os.environ["LLA_THREADS"]))
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def peak_memory() -> int:
    """Bytes held at most: this process's largest resident set, and the largest other's for each."""
    own, ended = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    unit = 1 if sys.platform == "darwin" else 1024  # bytes on macOS, KiB elsewhere
    return (own.ru_maxrss + min(_threads(), MOST_PROCESSES) * ended.ru_maxrss) * unit
