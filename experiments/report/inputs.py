"""What the report is made of: results of the real profiles, verdicts, deviations, benchmarks."""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from experiments import claims
from experiments.results import MEASURE_KEYS, read_seconds, with_scores
from lla.common.errors import InputError
from lla.common.files import read_json

PROFILES = ("small", "medium", "large")
ALWAYS_SHOWN = PROFILES[:2]  # the third runs a few notebooks only
SOURCES = ("paper", "findings")  # of claims, `experiments.claims.rows`
MAIN_SET = "lla"  # notebooks of the paper that is replicated, in `experiments/notebooks.yaml`
RESULT_KEYS = {"measures", "claims", "seeds", "environment", "seconds", "peak_memory"}
REHEARSAL = "rehearsal.json"  # beside the benchmarks', and no row of theirs
STAGE_KEYS = {"tokens", "seconds", "cpu_seconds", "memory"}
BENCH_KEYS = {"case", "peer", "ours", "theirs", "unit", "ratio"}


@dataclass(frozen=True)
class Notebook:
    """A notebook as the report needs it.

    Attributes
    ----------
    name : of its file, without ending
    set : the one that ``experiments/notebooks.yaml`` puts it in
    deviations : from its paper, an entry per bullet
    """

    name: str
    set: str
    deviations: tuple[str, ...]


@dataclass(frozen=True)
class ReportInputs:
    """results[profile][name], the notebooks in order, and the rows of ``results/bench/*.json``.

    `rehearsal` is what ``benchmarks/rehearsal.py`` measured, None where it has not been run.

    A result has its `Scores` under "scores", where they were saved. `seconds` is by profile how
    long the LLA paper's notebooks took from start to end, 0 where that is not known.
    """

    results: Mapping[str, Mapping[str, Mapping[str, Any]]]
    notebooks: tuple[Notebook, ...]
    bench: tuple[Mapping[str, Any], ...]
    seconds: Mapping[str, float]
    rehearsal: Mapping[str, Any] | None = None

    @property
    def profiles(self) -> tuple[str, ...]:
        """Those that tables have lines or columns for."""
        return tuple(p for p in PROFILES if p in ALWAYS_SHOWN or self.results.get(p))

    @cached_property
    def judged(self) -> Mapping[str, Mapping[str, list[claims.Judged]]]:
        """Every comparison of every claim, by the claim's id and profile; computed once."""
        return {
            row.id: {profile: claims.judge(row, found) for profile, found in self.results.items()}
            for source in SOURCES
            for row in claims.rows(source)
        }


def load(root: Path) -> ReportInputs:
    """Read the results of the real profiles and the notebooks; `InputError` for a broken one."""
    found = {profile: read_results(root / "results" / profile) for profile in PROFILES}
    rehearsal = root / "results" / "bench" / REHEARSAL
    files = sorted(set(rehearsal.parent.glob("*.json")) - {rehearsal})
    bench = tuple(row for file in files for row in _read_bench(file))
    rehearsed = check_rehearsal(rehearsal, read_json(rehearsal)) if rehearsal.is_file() else None
    sets = _read_sets(root / "experiments" / "notebooks.yaml")
    notebooks = tuple(
        _read_notebook(file, sets.get(file.stem, MAIN_SET))
        for file in sorted((root / "notebooks").glob("[0-9]*.ipynb"))
    )
    seconds = {}
    for profile in PROFILES:
        taken = read_seconds(root / "results" / profile)
        main = [time for name, time in taken.items() if sets.get(name, MAIN_SET) == MAIN_SET]
        seconds[profile] = sum(main)
    return ReportInputs(found, notebooks, bench, seconds, rehearsed)


def _read_sets(file: Path) -> dict[str, str]:
    """The set of each notebook, by name; empty where no file says it."""
    sets = yaml.safe_load(file.read_text(encoding="utf-8")) if file.is_file() else {}
    return {name: of_set for of_set, names in sets.items() for name in names}


def read_results(folder: Path) -> dict[str, Mapping[str, Any]]:
    """The results in a folder, by name; `InputError` for a broken one."""
    return {file.stem: _read_result(file) for file in sorted(folder.glob("*.json"))}


def _read_bench(file: Path) -> list[dict[str, Any]]:
    rows = read_json(file)
    if not isinstance(rows, list) or any(BENCH_KEYS - row.keys() for row in rows):
        raise InputError(f"{file}: not rows of a benchmark; run `make bench` again or remove it")
    return rows


def check_rehearsal(label: object, result: Any) -> dict[str, Any]:
    """What ``benchmarks/rehearsal.py`` wrote; `InputError` when `result` is something else."""
    stages = result.get("stages") if _has(result, {"sizes"}) else None
    if not isinstance(stages, dict) or not all(_has(s, STAGE_KEYS) for s in stages.values()):
        raise InputError(f"{label}: not a rehearsal; delete it and run benchmarks/rehearsal.py")
    return dict(result)


def _read_result(file: Path) -> dict[str, Any]:
    result = read_json(file)
    measures: Any = result["measures"] if _has(result, RESULT_KEYS) else None
    if not _has(measures, ()) or not all(_has(m, MEASURE_KEYS) for m in measures.values()):
        raise InputError(f"{file}: not a result of lla; run its notebook again or remove it")
    return with_scores(file, result)


def _has(value: Any, keys: Collection[str]) -> bool:
    """Whether it is a mapping with these keys."""
    return isinstance(value, dict) and value.keys() >= set(keys)


def _read_notebook(file: Path, of_set: str) -> Notebook:
    try:
        texts = [
            "".join(cell["source"])
            for cell in read_json(file)["cells"]
            if cell["cell_type"] == "markdown" and "deviations" in cell["metadata"].get("tags", ())
        ]
    except (KeyError, TypeError, AttributeError):
        raise InputError(f"{file}: not a notebook; restore it") from None
    deviations: list[str] = []
    for text in texts:
        if not (bullets := _bullets(text)):
            raise InputError(f"{file}: the cell `deviations` has no bullet; make it a list")
        deviations += bullets
    return Notebook(file.stem, of_set, tuple(deviations))


def _bullets(markdown: str) -> list[str]:
    """The items of a Markdown list, each on one line; what follows a blank line ends an item."""
    items: list[str] = []
    inside = False
    for line in markdown.splitlines():
        if match := re.match(r"[-*+]\s+(.*)", line):
            items.append(match[1].strip())
        elif inside and line.strip():
            items[-1] += f" {line.strip()}"
        inside = bool(match) or (inside and bool(line.strip()))
    return items
