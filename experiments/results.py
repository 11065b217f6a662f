"""Folders of the project, and result files: measures, claims and provenance of a notebook.

A notebook calls `require` for what an earlier notebook has made, and `publish` once, at its end.
Whatever a run writes stands in ``results/PROFILE/run``, which git ignores; the results in
``results/PROFILE`` itself are the committed ones, which only `make publish` replaces.
"""

import csv
import hashlib
import math
import os
import platform
import resource
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from experiments.claims import (
    Claim,
    Scores,
    claims_of,
    compared_measures,
    read_scores,
    write_scores,
)
from lla.common.checkpoint import OtherFitError
from lla.common.errors import InputError
from lla.common.files import atomic_write, package_versions, read_json, write_json
from lla.common.parallel import default_threads

T = TypeVar("T")

PROFILES = ("smoke", "small", "medium", "large", "paper")
ROOT = Path(os.environ.get("LLA_ROOT") or Path(__file__).parents[1]).resolve()
CONFIGS = ROOT / "experiments" / "configs"
NOTEBOOKS = ROOT / "notebooks"
RESULTS = ROOT / "results"

MEASURE_KEYS = {"value", "spread", "n_seeds", "unit"}
MAX_PROCESSES = 4  # at once, however many cores: each holds the data and its fit
DPI = 110
SECONDS_FILE = "notebook_seconds.csv"  # among the committed results of a profile


class NotRunYet(InputError):
    """A notebook that must run before has not; Jupyter shows this one line and no traceback."""

    def _render_traceback_(self) -> list[str]:
        return [str(self)]


def profile_dir(profile: str) -> Path:
    """Folder of a profile's committed results (``results/PROFILE``); not created.

    Raises
    ------
    InputError
        When `profile` is not one of ``PROFILES``.
    """
    if profile not in PROFILES:
        raise InputError(f"profile {profile!r} does not exist; choose one of {', '.join(PROFILES)}")
    return RESULTS / profile


def run_dir(profile: str) -> Path:
    """Folder that holds all a run writes (``results/PROFILE/run``), ignored by git; not created."""
    return profile_dir(profile) / "run"


def work_dir(profile: str) -> Path:
    """Folder of a run's corpora, models and checkpoints; created if missing."""
    folder = run_dir(profile) / "work"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def cached(call: Callable[..., T], *arguments: Any, checkpoint: Path, **options: Any) -> T:
    """``call(*arguments, checkpoint=checkpoint, **options)``; a file of another fit is replaced.

    For files of a work folder. Their names do not tell all settings apart, and after a change of
    one, `lla` would refuse what was made before it.

    Parameters
    ----------
    call : such as `lla.fit_lda` or a model's `score`
    """
    try:
        return call(*arguments, checkpoint=checkpoint, **options)
    except OtherFitError:
        checkpoint.unlink(missing_ok=True)  # another process may have been here
        return call(*arguments, checkpoint=checkpoint, **options)


def require(profile: str, file: str, notebook: str) -> Path:
    """Path of something that an earlier notebook has left in the profile's work folder.

    Parameters
    ----------
    file : file or folder below ``results/PROFILE/run/work``, such as "corpus"
    notebook : the one that makes it, such as "01_data_prep"

    Raises
    ------
    NotRunYet
        When it is missing: one line that names the notebook to run.
    """
    path = work_dir(profile) / file
    if not path.exists():
        raise _run_first(profile, notebook, f"{_shown(path)} is missing")
    return path


def _run_first(profile: str, notebook: str, what: str) -> NotRunYet:
    command = f"make reproduce PROFILE={profile} ONLY={notebook.split('_', 1)[0]}"
    return NotRunYet(f"{what}: run notebooks/{notebook}.ipynb first, or `{command}`")


def _shown(path: Path) -> str:
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)


def measure(values: Sequence[float], unit: str) -> dict[str, Any]:
    """Mean and spread of one value per seed.

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


def format_measure(measure: Mapping[str, Any]) -> str:
    """A measure as text: its mean, and ± its spread where seeds differ.

    Two digits of the spread are shown, one from 100 on, so that no spread is rounded to zero.
    """
    value, spread = float(measure["value"]), float(measure["spread"])
    if spread:
        digits = 1 if abs(value) >= 100 else 2
        decimals = max(0, digits - 1 - math.floor(math.log10(spread)))
        return f"{value:,.{decimals}f} ± {spread:,.{decimals}f}"
    return format_number(value)


def format_number(value: float) -> str:
    """Three digits at least, thousands separated, no exponent."""
    if abs(value) >= 100 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:#.3g}"


def publish(
    name: str,
    profile: str,
    *,
    config: Any,
    seeds: Sequence[int],
    measures: Mapping[str, Mapping[str, Any] | Sequence[float]],
    corpus: Any,
    seconds: float,
    claims: Sequence[Claim] = (),
    scores: Scores | None = None,
    figure: Any = None,
    extra: Mapping[str, Any] | None = None,
) -> list[Claim]:
    """Save what a notebook measured, with its figure, and print the verdict on every claim.

    Parameters
    ----------
    name : of the result, that is the notebook's without its number (and, say, a data set's)
    config : dict or dataclass
    measures : by name, ``METRIC.MODEL``: as `measure` returns it, or one value per seed, whose
        unit is then the name's metric
    corpus : a `Corpus`, or the fingerprint of one
    seconds : time the measurement took
    claims : more than those that ``paper.yaml`` and ``findings.yaml`` test on this result
    scores : values per document, from `scores_of`: claims are judged by them, and those of measures
        that a claim compares are saved as ``results/PROFILE/run/NAME.safetensors``
    figure : Figure, Axes or array of Axes, saved as ``results/PROFILE/run/NAME.png``, and for print
        as ``run/svg/NAME.svg``; or a mapping from a suffix to one of them, saved as ``NAME_SUFFIX``
    extra : anything else the figures need

    Returns
    -------
    list of Claim
        All claims judged, those of the paper first.
    """
    measured = {
        key: dict(value) if isinstance(value, Mapping) else measure(value, key.split(".", 1)[0])
        for key, value in measures.items()
    }
    beside = results_beside(run_dir(profile), name, measured)
    if scores is not None:
        scores = scores.only(compared_measures(name, beside) & measured.keys())
        beside[name]["scores"] = scores
    judged = [*claims_of(name, beside), *claims]
    path = save_result(
        profile,
        name,
        config=config,
        seeds=seeds,
        measures=measured,
        claims=judged,
        corpus=getattr(corpus, "fingerprint", corpus),
        seconds=seconds,
        extra=extra,
    )
    write_scores(path.with_suffix(".safetensors"), scores)
    print(*judged, f"saved {_shown(path)}", sep="\n")
    figures = figure if isinstance(figure, Mapping) else {"": figure}
    for suffix, drawn in figures.items():
        if drawn is not None:
            stem = "_".join(filter(None, (name, suffix)))
            save_figure(drawn, path.with_name(f"{stem}.png"))
            save_figure(drawn, path.parent / "svg" / f"{stem}.svg")
    return judged


def results_beside(
    folder: Path, name: str, measures: Mapping[str, Mapping[str, Any]]
) -> dict[str, dict[str, Any]]:
    """The results in a folder, with these measures under `name`: claims compare them.

    The others have their scores, where there are any.
    """
    files = folder.glob("*.json")
    others = {file.stem: with_scores(file, read_json(file)) for file in files if file.stem != name}
    return {k: v for k, v in others.items() if isinstance(v, dict)} | {name: {"measures": measures}}


def with_scores(file: Path, result: Any) -> Any:
    """A result as read from its file, and under "scores" those beside it, where there are any."""
    scores = read_scores(file, result) if isinstance(result, dict) else None
    return result if scores is None else result | {"scores": scores}


def save_figure(drawn: Any, path: Path, about: str = "") -> None:
    """Save a Figure, or that of Axes or of an array of Axes, as PNG or SVG, with a note on it.

    The same figure is the same file: without the drawing program's version, the date, or an SVG's
    random ids.
    """
    import matplotlib as mpl  # here: a second of import that most callers do without

    first = drawn.flat[0] if hasattr(drawn, "flat") else drawn
    figure = first if hasattr(first, "savefig") else first.get_figure(root=True)
    kind = path.suffix.removeprefix(".")
    unset = {"png": ("Software",), "svg": ("Creator", "Date")}[kind]
    metadata = dict.fromkeys(unset) | {"Description": about or None}
    path.parent.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context({"svg.hashsalt": path.stem}), atomic_write(path) as file:
        figure.savefig(file, dpi=DPI, format=kind, metadata=metadata)


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
    """Write ``results/PROFILE/run/NAME.json`` with where its numbers come from; no time of day.

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
    path = run_dir(profile) / f"{name}.json"
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
    """Read a run's result, ``results/PROFILE/run/NAME.json``.

    Raises
    ------
    InputError
        When the profile does not exist or its result is broken; `NotRunYet`, with the notebook to
        run, when it is missing.
    """
    path = run_dir(profile) / f"{name}.json"
    if not path.is_file():
        raise _run_first(profile, notebook_of(name), f"{_shown(path)} is missing")
    return read_json(path)


def notebook_of(result: str) -> str:
    """Name of the notebook that makes a result: without its number, that or what it begins with."""
    named = {file.stem.split("_", 1)[-1]: file.stem for file in NOTEBOOKS.glob("[0-9]*.ipynb")}
    names = [name for name in named if belongs_to(result, name)]
    return named[max(names, key=len)] if names else result


def belongs_to(result: str, name: str) -> bool:
    """Whether a result has a notebook's name, or that and, say, the data set it is of."""
    return result == name or result.startswith(f"{name}_")


def read_seconds(folder: Path) -> dict[str, float]:
    """How long each notebook took in the run committed to a folder; empty where it is not known."""
    file = folder / SECONDS_FILE
    if not file.is_file():
        return {}
    with file.open(encoding="utf-8", newline="") as lines:
        return {row["notebook"]: float(row["seconds"]) for row in csv.DictReader(lines)}


def write_seconds(folder: Path, seconds: Mapping[str, float]) -> None:
    """Write what `read_seconds` reads."""
    rows = [f"{name},{value:.0f}\n" for name, value in sorted(seconds.items())]
    with atomic_write(folder / SECONDS_FILE, "w") as file:
        file.write("".join(["notebook,seconds\n", *rows]))


def committed_result(name: str) -> tuple[str, dict[str, Any]]:
    """Profile and committed result of the largest profile that has one (`committed_path`)."""
    path = committed_path(name)
    profile = path.relative_to(RESULTS).parts[0]
    return profile, read_json(path) if path.is_file() else load_result(profile, name)


def data_sets(study: str) -> list[str]:
    """The data sets that a study has a committed result of, ``STUDY_DATA``; else those of a run."""
    folders = [profile_dir("small"), profile_dir("medium"), run_dir("small"), run_dir("smoke")]
    names = [
        f.stem.removeprefix(f"{study}_") for d in folders for f in sorted(d.glob(f"{study}_*.json"))
    ]
    return list(dict.fromkeys(names))


def committed_path(name: str) -> Path:
    """The file that `committed_result` reads: where none is committed, that of a run."""
    committed = [profile_dir(profile) for profile in ("large", "medium", "small")]
    folders = [*committed, run_dir("small"), run_dir("smoke")]
    paths = [folder / f"{name}.json" for folder in folders]
    return next((path for path in paths if path.is_file()), paths[-1])


def environment() -> dict[str, Any]:
    """What a result may depend on: versions, machine, threads and the lock file's hash.

    The vector instructions that Torch chose decide in which order a sum is rounded.
    """
    from torch.backends.cpu import get_cpu_capability  # the report runs without Torch

    lock = ROOT / "requirements.lock"
    return {
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "packages": package_versions(),
        "cpu": _cpu(),
        "vectors": get_cpu_capability(),
        "cores": os.cpu_count() or 1,
        "threads": default_threads(),
        "lock": hashlib.sha256(lock.read_bytes()).hexdigest() if lock.is_file() else None,
    }


def _cpu() -> str:
    # platform.processor() is empty on most Linux systems, or only repeats the architecture.
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.lower().startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def peak_memory() -> int:
    """Bytes: this process's largest resident set, and its children's for each that runs at once."""
    own, ended = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    unit = 1 if sys.platform == "darwin" else 1024  # bytes on macOS, KiB elsewhere
    return (own.ru_maxrss + min(default_threads(), MAX_PROCESSES) * ended.ru_maxrss) * unit
