"""A claim, its verdict, and the interval that the verdict rests on."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np

from experiments.claims.bootstrap import Interval, student_interval

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
    margin : what all of the interval must exceed for the claim to hold
    measured : the relative difference: mean over seeds of 1 - lower / (times * higher)
    low, high : its 95% interval; None where there is no evidence for one
    evidence : what the interval was computed from, such as "2520 documents, 3 seeds"
    verdict : one of ``VERDICTS``
    times : what `higher` was multiplied by
    """

    name: str
    statement: str
    paper: str
    ours: str
    margin: float
    measured: float
    low: float | None
    high: float | None
    evidence: str
    verdict: str
    times: float = 1

    def __post_init__(self) -> None:
        if self.verdict not in VERDICTS:
            raise ValueError(f"verdict {self.verdict!r}: choose one of {', '.join(VERDICTS)}")

    def __str__(self) -> str:
        paper = f", paper: {self.paper}" if self.paper else ""
        return f"{self.name}: {self.ours}{paper} -> {self.verdict}"

    @property
    def change(self) -> str:
        """The relative difference with its interval: "-4.1% [-5.0, -3.2]", or "2.1 times [...]"."""
        return format_change(self.measured, self.low, self.high, self.times)


def format_change(measured: float, low: float | None, high: float | None, times: float = 1) -> str:
    """A relative difference as text; an interval that prints as one number is left out."""
    if times == 1:
        shown = [_percent(x) for x in (measured, high, low) if x is not None]
        unit = "%"
    else:
        ratios = [times * (1 - x) for x in (measured, high, low) if x is not None]
        shown = [f"{ratio:.1f}" if ratio >= 1 else f"{ratio:.2f}" for ratio in ratios]
        unit = " times"
    interval = f" [{', '.join(shown[1:])}]" if len(set(shown)) > 1 else ""
    return f"{shown[0]}{unit}{interval}"


def _percent(reduction: float) -> str:
    return f"{-100 * reduction:+.1f}".replace("-0.0", "+0.0")


def compare(
    name: str,
    statement: str,
    paper: str,
    better: Sequence[float],
    worse: Sequence[float],
    *,
    unit: str = "perplexity",
    margin: float | None = None,
    times: float = 1,
    interval: Interval | None = None,
    evidence: str = "",
) -> Claim:
    """Judge the claim that one model's measure is below another's.

    Parameters
    ----------
    better, worse : one positive value per seed, in the same order of seeds
        The measure, where lower is better, of the model the claim puts first and of the other.
        With an interval there may be more seeds of one than of the other.
    unit : what the values are
    margin : least relative reduction that counts
    times : the claim is that `better` is below this multiple of `worse`
    interval, evidence : of the relative reduction, and what it was computed from
        Without them Student's interval over the seeds given. One seed has none and decides
        nothing, unless a margin is given: then the value itself decides.

    Returns
    -------
    Claim
        `measured` is the mean over seeds of 1 - better / (times * worse). The claim holds when its
        whole interval is above `margin`, does not hold when the whole interval is below zero, and
        is undecided otherwise.

    Raises
    ------
    ValueError
        When the sequences are empty, differ in length, or hold a value that is not finite and
        positive; or when `margin` is negative.
    """
    better, worse = [float(x) for x in better], [times * float(x) for x in worse]
    _check(name, better, worse, unit, margin, paired=interval is None)
    if interval is None:
        measured = fmean(1 - b / w for b, w in zip(better, worse, strict=True))
        interval = student_interval(np.array(better), np.array(worse))
        evidence = evidence or ("1 seed" if len(better) == 1 else f"{len(better)} seeds")
    else:
        measured = interval.estimate
    if interval is None and margin is not None:
        interval = Interval(measured, measured, measured)
    low, high = (interval.low, interval.high) if interval else (None, None)
    change = format_change(measured, low, high, times)
    allowed = "" if times == 1 else f", allowed: {times:g}"
    means = f"{_number(fmean(worse) / times)} -> {_number(fmean(better))} {unit}"
    return Claim(
        name=name,
        statement=statement,
        paper=paper,
        ours=f"{means} ({change}{allowed}, {evidence})",
        margin=margin or 0.0,
        measured=measured,
        low=low,
        high=high,
        evidence=evidence,
        verdict=_verdict(low, high, margin or 0.0),
        times=times,
    )


def _check(
    name: str,
    better: list[float],
    worse: list[float],
    unit: str,
    margin: float | None,
    *,
    paired: bool,
) -> None:
    if not (better and worse) or (paired and len(better) != len(worse)):
        raise ValueError(f"{name}: {len(better)} and {len(worse)} values; give one pair per seed")
    for value in better + worse:
        if not (math.isfinite(value) and value > 0):
            raise ValueError(f"{name}: {value} is not a finite positive {unit}")
    if margin is not None and not margin >= 0:
        raise ValueError(f"{name}: margin {margin} must not be negative")


def _verdict(low: float | None, high: float | None, margin: float) -> str:
    if low is None or high is None:
        return "undecided"
    if low > max(margin, ROUNDING):
        return "holds"
    return "does not hold" if high < -ROUNDING else "undecided"


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"
