"""What the paper says, what we measured, and whether the second bears out the first."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

VERDICTS = ("holds", "does not hold", "undecided")


# Differences below this are rounding, not findings.
ROUNDING = 1e-9


@dataclass(frozen=True)
class Claim:
    """A statement of the paper beside our measurement.

    Attributes
    ----------
    name : short name of the claim
    statement : what the paper says
    paper : the paper's value as printed, or "no number"
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
        return f"{self.name}: {self.ours}, paper: {self.paper} -> {self.verdict}"


def compare(
    name: str,
    statement: str,
    paper: str,
    better: Sequence[float],
    worse: Sequence[float],
    unit: str = "perplexity",
    margin: float | None = None,
) -> Claim:
    """Judge the claim that one model's measure is below another's, seed by seed.

    Parameters
    ----------
    better, worse : one positive value a seed, in the same order of seeds
        The measure, where lower is better, of the model the paper puts first and of the other.
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
        raise ValueError(f"{name}: {len(better)} and {len(worse)} values; give one pair a seed")
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


def compare_all(
    statement: str,
    checks: Sequence[tuple[str, str, str]],
    measures: Mapping[str, Mapping[str, Any]],
    paper: str = "no number",
) -> list[Claim]:
    """One claim a check of (name, the lower measure, the higher measure).

    Measures are named ``UNIT.MODEL``, so the unit is read off their names.
    """
    return [
        compare(
            name,
            statement,
            paper,
            measures[lower]["values"],
            measures[higher]["values"],
            lower.split(".", 1)[0].split("_", 1)[0],
        )
        for name, lower, higher in checks
    ]
