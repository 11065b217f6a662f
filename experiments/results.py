"""Result files: measures, claims and provenance of a notebook, as JSON."""

import hashlib
import math
import os
import platform
import resource
import statistics
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from experiments import paths
from lla.common.errors import InputError
from lla.common.files import package_versions, read_json, write_json

MEASURE_KEYS = {"value", "spread", "n_seeds", "unit"}


MAX_PROCESSES = 4  # side by side, however many cores: each holds the data and its fit


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
        "packages": package_versions(),
        "cpu": _cpu(),
        "cores": os.cpu_count() or 1,
        "threads": _threads(),
        "lock": hashlib.sha256(lock.read_bytes()).hexdigest() if lock.is_file() else None,
    }


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
    return (own.ru_maxrss + min(_threads(), MAX_PROCESSES) * ended.ru_maxrss) * unit
