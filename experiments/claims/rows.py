"""The claims as they are written down: ``paper.yaml`` and ``findings.yaml``."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import yaml


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
    needs : data that it is measured on, where `small` has none of them
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
    needs: str = ""

    @property
    def paper(self) -> str:
        """The paper's two numbers, where it compares models by number."""
        if len(self.numbers) != 2 or "independent" not in self.numbers:
            return "no number" if self.where else ""
        worse, better = self.numbers.values()
        return f"{worse} -> {better} ({100 * (better / worse - 1):+.1f}%)"


@dataclass(frozen=True)
class Group:
    """Findings that the report shows under one heading.

    Attributes
    ----------
    title, about : the heading, and what is asked or compared, in a sentence or two
    set : of notebooks (``notebooks.yaml``) whose findings these are
    notebooks : those whose findings these are, where a set is divided
    """

    title: str
    about: str = ""
    set: str = ""
    notebooks: tuple[str, ...] = ()


@cache
def groups() -> tuple[Group, ...]:
    """The groups of ``findings.yaml``, in the order of the report."""
    return tuple(
        Group(**{**group, "notebooks": tuple(group.get("notebooks", ()))})
        for group in _load("findings").get("groups", ())
    )


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
    path = Path(__file__).parents[1] / f"{source}.yaml"
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
