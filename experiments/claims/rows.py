"""The claims as they are written down: ``paper.yaml`` and ``findings.yaml``."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cache
from pathlib import Path
from typing import Any

from lla.common.errors import InputError
from lla.common.yaml_file import read_yaml

FOLDER = Path(__file__).parents[1]
MAX_DEPTH = 8  # of lists and mappings in the files
SIDES = ("lower", "higher")  # which every check has
CHECK_KEYS = (*SIDES, "label", "margin", "times")


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
    checks : mappings whose keys are among `CHECK_KEYS`
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
    found = []
    for number, group in enumerate(_load("findings").get("groups", ()), 1):
        _check_keys(group, f"{_label('findings')}, group {number}", _names(Group), ("title",))
        found.append(Group(**{**group, "notebooks": tuple(group.get("notebooks", ()))}))
    return tuple(found)


@cache
def rows(source: str) -> tuple[Row, ...]:
    """The rows of ``SOURCE.yaml``, "paper" or "findings".

    Raises
    ------
    InputError
        When a row or a check lacks a key, or has one that nothing reads, such as a misspelt one.
    """
    return tuple(_row(row, n, _label(source)) for n, row in enumerate(_load(source)["rows"], 1))


def _row(row: Mapping[str, Any], number: int, label: str) -> Row:
    """A row as the file has it, its keys and those of its checks looked through."""
    of_row = f"{label}, row {row.get('id', number) if isinstance(row, Mapping) else number}"
    _check_keys(row, of_row, _names(Row), ("id", "states", "notebook"))
    checks = tuple(row.get("checks", ()))
    for n, check in enumerate(checks, 1):
        _check_keys(check, f"{of_row}, check {n}", CHECK_KEYS, SIDES)
    results = tuple(row.get("results") or [row["notebook"].split("_", 1)[1]])
    show = tuple(row.get("show", ()))
    return Row(**{**row, "results": results, "checks": checks, "show": show})


def _check_keys(entry: object, where: str, known: tuple[str, ...], needed: tuple[str, ...]) -> None:
    """Raise InputError unless `entry` is a mapping with the needed keys and none but the known."""
    if not isinstance(entry, Mapping):
        raise InputError(f"{where}: {entry!r} has no keys; give {', '.join(needed)}")
    if unknown := [key for key in entry if key not in known]:
        raise InputError(f"{where}: {unknown[0]} is no key; there are {', '.join(known)}")
    if missing := [key for key in needed if key not in entry]:
        raise InputError(f"{where}: lacks {missing[0]}; give {', '.join(needed)}")


def _names(kind: type) -> tuple[str, ...]:
    return tuple(option.name for option in fields(kind))


def _label(source: str) -> str:
    return f"experiments/{source}.yaml"


@cache
def _load(source: str) -> dict[str, Any]:
    return read_yaml(FOLDER / f"{source}.yaml", _label(source), max_depth=MAX_DEPTH)


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
