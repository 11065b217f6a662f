"""What the paper says, what we measured, and whether the second bears out the first.

The paper's claims stand in ``paper.yaml``, our own in ``findings.yaml``; `judge` compares them
with the measures of result files.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import yaml

VERDICTS = ("holds", "does not hold", "undecided")


# Differences below this are rounding, not findings.
ROUNDING = 1e-9


@dataclass(frozen=True)
class Claim:
    """A statement beside our measurement.

    Attributes
    ----------
    name : short name of the claim
    statement : what is claimed
    paper : what the paper prints for it; empty for a finding of our own
    ours : our value as we would print it
    margin : how large `measured` must be, in either direction, to decide
    measured : the quantity compared with `margin`
    verdict : one of ``VERDICTS``
    """

    name: str
    statement: str
    paper: str
    ours: str
    margin: float
    measured: float
    verdict: str

    def __post_init__(self) -> None:
        if self.verdict not in VERDICTS:
            raise ValueError(f"verdict {self.verdict!r}: choose one of {', '.join(VERDICTS)}")

    def __str__(self) -> str:
        paper = f", paper: {self.paper}" if self.paper else ""
        return f"{self.name}: {self.ours}{paper} -> {self.verdict}"


def compare(
    name: str,
    statement: str,
    paper: str,
    better: Sequence[float],
    worse: Sequence[float],
    *,
    unit: str = "perplexity",
    margin: float | None = None,
) -> Claim:
    """Judge the claim that one model's measure is below another's, seed by seed.

    Parameters
    ----------
    better, worse : one positive value per seed, in the same order of seeds
        The measure, where lower is better, of the model the claim puts first and of the other.
    unit : what the values are
    margin : least relative reduction that decides
        Without it, twice the standard deviation of the relative reduction over seeds; a single
        seed then decides nothing.

    Returns
    -------
    Claim
        `measured` is the mean over seeds of 1 - better/worse. The claim holds when it is above
        `margin`, does not hold when it is below -`margin`, and is undecided between.

    Raises
    ------
    ValueError
        When the sequences are empty, differ in length, or hold a value that is not finite and
        positive; or when `margin` is negative.
    """
    better, worse = [float(x) for x in better], [float(x) for x in worse]
    if not better or len(better) != len(worse):
        raise ValueError(f"{name}: {len(better)} and {len(worse)} values; give one pair per seed")
    for value in better + worse:
        if not (math.isfinite(value) and value > 0):
            raise ValueError(f"{name}: {value} is not a finite positive {unit}")
    if margin is not None and not margin >= 0:
        raise ValueError(f"{name}: margin {margin} must not be negative")
    reductions = [1 - b / w for b, w in zip(better, worse, strict=True)]
    measured = fmean(reductions)
    if margin is None:
        margin = 2 * stdev(reductions) if len(reductions) > 1 else math.inf
    return Claim(
        name=name,
        statement=statement,
        paper=paper,
        ours=_ours(better, worse, measured, unit),
        # JSON has no infinity: a margin that nothing passes is a reduction to nothing, 1.
        margin=1.0 if math.isinf(margin) else margin,
        measured=measured,
        verdict=_verdict(measured, max(margin, ROUNDING)),
    )


def _verdict(measured: float, margin: float) -> str:
    if measured > margin:
        return "holds"
    return "does not hold" if measured < -margin else "undecided"


def _ours(better: list[float], worse: list[float], measured: float, unit: str) -> str:
    means = f"{_number(fmean(worse))} -> {_number(fmean(better))} {unit}"
    seeds = "1 seed" if len(better) == 1 else f"{len(better)} seeds"
    return f"{means} ({-100 * measured:+.1f}%, {seeds})"


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


@dataclass(frozen=True)
class Row:
    """A claim of the paper, or a finding of ours, and how it is tested.

    Attributes
    ----------
    id : unique name
    where : place in the paper; empty for our own
    states : what is claimed
    numbers : those that the paper prints, by model or by what they are
    notebook : the one that measures it
    results : names of the result files that hold the measures
    checks : mappings with ``lower`` and ``higher``, and maybe ``label``, ``margin``, ``times``
    show : measures to print where nothing is judged
    untested : why nothing is judged, where nothing is measured
    """

    id: str
    states: str
    notebook: str
    where: str = ""
    numbers: Mapping[str, float] = field(default_factory=dict)
    results: tuple[str, ...] = ()
    checks: tuple[Mapping[str, Any], ...] = ()
    show: tuple[str, ...] = ()
    untested: str = ""

    @property
    def paper(self) -> str:
        """The paper's two numbers, where it compares models by number."""
        if len(self.numbers) != 2 or "independent" not in self.numbers:
            return "no number" if self.where else ""
        worse, better = self.numbers.values()
        return f"{worse} -> {better} ({100 * (better / worse - 1):+.1f}%)"


@cache
def rows(source: str) -> tuple[Row, ...]:
    """The rows of ``SOURCE.yaml``, "paper" or "findings"."""
    return tuple(
        Row(
            **{
                **row,
                "results": tuple(row.get("results") or [row["notebook"].split("_", 1)[1]]),
                "checks": tuple(row.get("checks", ())),
                "show": tuple(row.get("show", ())),
            }
        )
        for row in _load(source)["rows"]
    )


@cache
def _load(source: str) -> dict[str, Any]:
    path = Path(__file__).with_name(f"{source}.yaml")
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def paper(row_id: str) -> Row:
    """The row of ``paper.yaml`` with this id, for example ``paper("table-4-wikipedia").numbers``.

    Raises
    ------
    KeyError
        When there is none.
    """
    found = {row.id: row for row in rows("paper")}
    if row_id not in found:
        raise KeyError(f"{row_id}: no row of paper.yaml; it has {', '.join(found)}")
    return found[row_id]


def paper_corpora() -> dict[str, dict[str, int]]:
    """Sizes of the paper's two data sets."""
    return _load("paper")["corpora"]


@dataclass(frozen=True)
class Judged:
    """One check of a row on one result.

    Attributes
    ----------
    result : name of the result
    check : the check as the row has it
    lower, higher : the two measures, with ``@min`` and ``@max`` resolved
    values : of both, one per seed
    claim : the verdict
    """

    result: str
    check: Mapping[str, Any]
    lower: str
    higher: str
    values: tuple[list[float], list[float]]
    claim: Claim


Results = Mapping[str, Mapping[str, Any]]  # by name, as `load_result` returns them


def judge(row: Row, results: Results) -> list[Judged]:
    """Every check of a row whose measures are among these results."""
    judged = []
    for result in row.results:
        for check in row.checks:
            lower, higher = (resolve(check[side], result, results) for side in ("lower", "higher"))
            better, worse = (values_of(measure, result, results) for measure in (lower, higher))
            if better is not None and worse is not None:
                claim = _claim(row, check, result, (lower, higher), (better, worse))
                judged.append(Judged(result, check, lower, higher, (better, worse), claim))
    return judged


def _claim(
    row: Row,
    check: Mapping[str, Any],
    result: str,
    measures: tuple[str, str],
    values: tuple[list[float], list[float]],
) -> Claim:
    lower, higher = values
    times, unit = check.get("times", 1), unit_of(check["lower"])
    label = check.get("label") or " below ".join(map(_model_name, measures))
    data = f", {result.rsplit('_', 1)[-1]}" if len(row.results) > 1 else ""
    claim = compare(
        f"{row.id}: {label}{data}",
        row.states,
        row.paper,
        lower,
        [times * value for value in higher],
        unit=unit,
        margin=check.get("margin"),
    )
    if times == 1:
        return claim
    means = f"{_number(fmean(higher))} -> {_number(fmean(lower))} {unit}"
    return replace(claim, ours=f"{means} (allowed: {times} times)")


def _model_name(measure: str) -> str:
    """The model of a measure as the rows write it, by its name for people."""
    from experiments.report.tables import model_label  # which reads claims in its turn

    if " / " in measure:
        return " / ".join(map(_model_name, measure.split(" / ")))
    model, _, part = measure.split(":")[-1].split(".", 1)[-1].partition(".")
    return model_label(model) + (f", {part}" if part else "")


def claims_of(result: str, results: Results) -> list[Claim]:
    """All claims, the paper's first, that are tested on one result."""
    return [
        judged.claim
        for source in ("paper", "findings")
        for row in rows(source)
        for judged in judge(row, results)
        if judged.result == result
    ]


def resolve(measure: str, result: str, results: Results) -> str:
    """A measure with ``@min`` or ``@max`` replaced by the number of topics that was run."""
    match = re.fullmatch(r"(.+)@(min|max)", measure)
    if not match:
        return measure
    prefix = f"{match[1]}@"
    keys = results.get(result, {}).get("measures", {})
    counts = [int(key.removeprefix(prefix)) for key in keys if re.fullmatch(r".+@\d+", key)
              and key.startswith(prefix)]  # fmt: skip
    choose = min if match[2] == "min" else max
    return f"{prefix}{choose(counts)}" if counts else measure


def values_of(measure: str, result: str, results: Results) -> list[float] | None:
    """One value per seed of a measure as the rows write it; None where it was not measured."""
    if " / " in measure:
        above, below = (values_of(part, result, results) for part in measure.split(" / "))
        if above is None or below is None or len(above) != len(below):
            return None
        return [a / b for a, b in zip(above, below, strict=True)]
    if measure.startswith("1 - "):
        found = values_of(measure.removeprefix("1 - "), result, results)
        return None if found is None else [1 - value for value in found]
    if ":" in measure:
        result, measure = measure.split(":", 1)
    measures = results.get(result, {}).get("measures", {})
    return list(measures[measure]["values"]) if measure in measures else None


def unit_of(measure: str) -> str:
    """What the values of a measure as the rows write it are."""
    if " / " in measure:
        return "ratio of perplexities"
    if measure.startswith("1 - "):
        return f"1 - {unit_of(measure.removeprefix('1 - '))}"
    name = measure.split(":", 1)[-1].split(".", 1)[0]
    return {"seconds_to_converge": "seconds", "se_seconds": "seconds", "decoded": "nats"}.get(
        name, name
    )
