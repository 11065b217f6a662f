"""``results/FINDINGS.md``: our own findings and those of other papers, under a heading each."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from experiments import claims
from experiments.claims import Group, Row
from experiments.report.claims_tables import claims_table, link_targets
from experiments.report.inputs import MAIN_SET, Notebook, ReportInputs
from experiments.report.reproducibility import deviations, is_of_paper
from experiments.report.tables import NOT_RUN, table

UP = "../"  # from this page's folder to the project's
INTRODUCTION = """\
# Findings

Written by `make report` from the files in `results/`; edits made here are lost. These are our own
findings, and statements of papers other than the one that is replicated.
[REPRODUCIBILITY.md](../REPRODUCIBILITY.md#2-the-paper-figure-by-figure) has that one, and says how
to read the lines. Where higher is better, a relative difference is of *misses*, 1 minus the
measure. Both values of every comparison, its numbers of documents, seeds and particles are in
[claims.csv](claims.csv)."""


@dataclass(frozen=True)
class Chapter:
    """A heading of the page with its rows, and the notebooks whose deviations stand under it."""

    group: Group
    rows: tuple[Row, ...]
    notebooks: tuple[Notebook, ...]


def findings(inputs: ReportInputs) -> str:
    """The text of ``results/FINDINGS.md``."""
    found = chapters(claims.rows("findings"), inputs.notebooks, claims.groups())
    parts = [INTRODUCTION, _overview(inputs, found)]
    for chapter in found:
        parts += [f"## {chapter.group.title}", chapter.group.about]
        if chapter.rows:
            parts.append(claims_table(inputs, chapter.rows))
        if differs := deviations(chapter.notebooks):
            parts.append(f"What differs from the paper, and why:\n\n{differs}")
    text = "\n\n".join(part for part in parts if part)
    return "\n\n".join(filter(None, (text, link_targets(inputs, text, UP)))) + "\n"


def chapters(
    rows: Sequence[Row], notebooks: Sequence[Notebook], groups: Sequence[Group]
) -> list[Chapter]:
    """The rows by group, in the order of the groups; then those of sets without a group.

    A row goes to the group that names its notebook, else to that of its notebook's set. Notebooks
    whose deviations are in REPRODUCIBILITY.md are left out.
    """
    sets = {notebook.name: notebook.set for notebook in notebooks}
    names = dict.fromkeys([*sets, *(row.notebook for row in rows)])
    group_of = {name: _group_of(name, sets.get(name, MAIN_SET), groups) for name in names}
    found = [
        Chapter(
            group,
            tuple(row for row in rows if group_of[row.notebook] == group),
            tuple(n for n in notebooks if group_of[n.name] == group and not is_of_paper(n)),
        )
        for group in dict.fromkeys([*groups, *group_of.values()])
    ]
    return [c for c in found if c.rows or any(n.deviations for n in c.notebooks)]


def _group_of(notebook: str, of_set: str, groups: Sequence[Group]) -> Group:
    named = [group for group in groups if notebook in group.notebooks]
    of_its_set = [group for group in groups if group.set == of_set]
    if fitting := named + of_its_set:
        return fitting[0]
    title = "Other findings" if of_set == MAIN_SET else of_set.replace("_", " ").capitalize()
    return Group(title, set=of_set)


def _overview(inputs: ReportInputs, found: Sequence[Chapter]) -> str:
    """How many claims and comparisons hold under each heading, by profile."""
    lines = [
        (f"[{c.group.title}](#{_anchor(c.group.title)})", *_counts(inputs, c.rows)) for c in found
    ]
    every_row = [row for chapter in found for row in chapter.rows]
    lines.append(("**all**", *_counts(inputs, every_row)))
    note = "A claim holds here when all its comparisons do."
    return f"{table(('findings', *inputs.profiles), lines)}\n\n{note}"


def _counts(inputs: ReportInputs, rows: Sequence[Row]) -> list[str]:
    cells = []
    for profile in inputs.profiles:
        tested = [judged for row in rows if (judged := inputs.judged[row.id][profile])]
        holding = [[j.claim.verdict == "holds" for j in judged] for judged in tested]
        n_claims, n_comparisons = sum(map(all, holding)), sum(map(sum, holding))
        cells.append(
            f"{n_claims} of {len(tested)} claims hold, "
            f"{n_comparisons} of {sum(map(len, holding))} comparisons"
            if tested
            else NOT_RUN
        )
    return cells


def _anchor(title: str) -> str:
    """The address that GitHub and Jupyter give a heading."""
    return re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")
