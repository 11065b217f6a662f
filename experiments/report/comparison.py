"""Which measures of a run are the committed ones, and which differ beyond rounding."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from experiments.results import format_measure

ROUNDING = 1e-6  # relative difference that another order of additions may make
TIMES = ("seconds", "ms ", "memory")  # how the units of times and memory begin

Results = Mapping[str, Mapping[str, Any]]  # by name, as `results.load_result` returns them
Measure = Mapping[str, Any]  # as `results.measure` returns it


@dataclass(frozen=True)
class Pair:
    """One measure in both places; None where it is missing.

    Attributes
    ----------
    result, name : of the result and of the measure in it
    """

    result: str
    name: str
    committed: Measure | None
    own: Measure | None

    @property
    def is_cost(self) -> bool:
        """Whether it is a time or memory, which differ between machines."""
        return str((self.own or self.committed or {})["unit"]).startswith(TIMES)

    @property
    def change(self) -> float:
        """Largest relative difference of the values, seed by seed; infinite where they lack."""
        here, there = (list(m["values"]) if m else [] for m in (self.own, self.committed))
        if not here or len(here) != len(there):
            return float("inf")
        return max(_relative(a, b) for a, b in zip(here, there, strict=True))

    @property
    def within_spread(self) -> bool:
        """Whether mean ± standard deviation over seeds of both overlap."""
        if self.own is None or self.committed is None:
            return False
        apart = abs(self.own["value"] - self.committed["value"])
        return bool(apart <= self.own["spread"] + self.committed["spread"])

    def __str__(self) -> str:
        committed, own = (format_measure(m) if m else "none" for m in (self.committed, self.own))
        return f"{self.result}: {self.name}, committed {committed}, own {own}"


def _relative(value: float, other: float) -> float:
    return 0.0 if value == other else abs(value - other) / max(abs(value), abs(other))


@dataclass(frozen=True)
class Comparison:
    """A run beside the committed results.

    Attributes
    ----------
    same : measures that are the same to the last digit
    rounded : those that differ by rounding alone
    differing : all others, with those that only one side has
    costs : times and memory, which are not compared
    not_committed : results of the run that are committed nowhere
    processors : the committed runs' and this one's, where not known to be of one kind
    """

    same: tuple[Pair, ...]
    rounded: tuple[Pair, ...]
    differing: tuple[Pair, ...]
    costs: tuple[Pair, ...]
    not_committed: tuple[str, ...]
    processors: tuple[str, str] | None = None

    def summary(self, most: int = 10) -> str:
        """A few lines for people; of the measures that differ, the first `most` are named."""
        n = len(self.same) + len(self.rounded) + len(self.differing)
        lines = [
            f"{len(self.same)} of {n} measures are the same as the committed ones to the last digit"
        ]
        if self.rounded:
            lines[0] += f", {len(self.rounded)} but for rounding"
        lines[0] += (
            f"; {len(self.differing)} differ (times and memory apart)."
            if n
            else " (none to compare)."
        )
        lines += self._reasons()
        lines += [f"  {pair}" for pair in self.differing[:most]]
        if len(self.differing) > most > 0:
            lines.append(f"  and {len(self.differing) - most} more, which the report lists")
        if self.not_committed:
            lines.append(f"Committed nowhere yet: {', '.join(self.not_committed)}.")
        return "\n".join(lines)

    def _reasons(self) -> list[str]:
        """How far measures differ, and whether another processor may be why."""
        if not self.differing:
            return []
        within = sum(pair.within_spread for pair in self.differing)
        lines = [f"Of those that differ, {within} do so within the spread over seeds."]
        if self.processors:
            committed, own = self.processors
            lines.append(
                f"Committed on {committed}, run on {own}: other vector instructions round sums in "
                "another order, and training may take another path."
            )
        return lines


def compare(committed: Results, own: Results) -> Comparison:
    """Compare every measure of the run's results with the committed value, seed by seed.

    Committed results that the run has not made are left out.
    """
    pairs = list(pairs_of(committed, own))
    compared = [pair for pair in pairs if not pair.is_cost]
    return Comparison(
        same=tuple(pair for pair in compared if pair.change == 0),
        rounded=tuple(pair for pair in compared if 0 < pair.change <= ROUNDING),
        differing=tuple(pair for pair in compared if pair.change > ROUNDING),
        costs=tuple(pair for pair in pairs if pair.is_cost),
        not_committed=tuple(sorted(own.keys() - committed.keys())),
        processors=_different_processors(committed, own),
    )


def _different_processors(committed: Results, own: Results) -> tuple[str, str] | None:
    """The first pair not known to be of one kind, among results that both sides have."""
    for name in own:
        there, here = (_processor(results.get(name, {})) for results in (committed, own))
        if there and here and there != here:
            return there, here
    return None


def _processor(result: Mapping[str, Any]) -> str | None:
    """Name and vector instructions, which the order of a sum depends on; None where not stored."""
    environment = result.get("environment", {})
    if "cpu" not in environment:
        return None
    return f"{environment['cpu']} ({environment.get('vectors', 'vectors not recorded')})"


def pairs_of(committed: Results, own: Results) -> Iterator[Pair]:
    """Every measure of the results that both sides have, in the run's order."""
    for result in own:
        if result not in committed:
            continue
        here: Mapping[str, Measure] = own[result]["measures"]
        there: Mapping[str, Measure] = committed[result]["measures"]
        names: Sequence[str] = list(dict.fromkeys([*here, *there]))
        for name in names:
            yield Pair(result, name, there.get(name), here.get(name))
