"""Claims as tables: verdicts at a glance, and a short line per comparison.

What a line leaves out, both means, sample sizes and particles, stands in ``results/claims.csv``.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from experiments import claims
from experiments.claims import VERDICTS, Judged, Row, format_change
from experiments.report.inputs import ALWAYS_SHOWN, ReportInputs
from experiments.report.tables import (
    DATA_LABELS,
    MISSES,
    NONE,
    NOT_RUN,
    change_of,
    is_complement,
    means,
    model_label,
    model_of,
    particles_of,
    table,
)
from experiments.results import format_number

LONGEST_CELL = 360  # characters; longer ones are summed up, with a table of their own below
# What the values of a measure are, where its name in result files does not say it.
UNITS = {
    "central_gaussian": "share of phrases",
    "deviation": "standard deviation over users",
    "effective": "topics",
    "elbo": "perplexity by the ELBO",
    "inner": "share of pairs of phrases",
    "kl": "KL, nats",
    "opposites": "distance relative to a random word's",
    "p_value": "p-value",
    "prior_distinct": "share of sentences",
    "prior_perplexity": "perplexity under the trigram",
    "proximity": "rank correlation",
    "purity": "share of neighbours",
    "refined": "perplexity by the ELBO",
    "same_order": "share of pairs of models",
    "shared": "share of neighbours",
}
SHOWN_WITH_MEANS = 2  # comparisons in a cell, at most, that show both means beside their change
SEEDS_ALONE = "†"  # after intervals that rest on seeds alone
BREAK = "<br>"

Found = Mapping[str, Mapping[str, Any]]


def notebook_link(notebook: str, named: bool = False) -> str:
    """A link to a notebook by its number, or by its name; `link_targets` says where it leads."""
    number = notebook.partition("_")[0]
    return f"[{notebook}][{number}]" if named else f"[{number}]"


def link_targets(inputs: ReportInputs, text: str, up: str = "") -> str:
    """The addresses of the notebooks that a page's text links to, for its end.

    Parameters
    ----------
    up : leads from the page's folder to the project's
    """
    names = {notebook.name.partition("_")[0]: notebook.name for notebook in inputs.notebooks}
    linked = {number: name for number, name in names.items() if f"[{number}]" in text}
    return "\n".join(f"[{n}]: {up}notebooks/{name}.ipynb" for n, name in linked.items())


# ------------------------------------------------------------------------------------ whole tables


def claims_table(inputs: ReportInputs, rows: Sequence[Row]) -> str:
    """Rows of ``paper.yaml`` or ``findings.yaml`` with what each profile measured.

    A place in the paper is named by the first of its rows that follow one another. Comparisons too
    many for a cell follow, in a table per row.
    """
    profiles = _profiles_of(inputs, rows)
    lines: list[list[str]] = []
    following: list[str] = []
    for row in rows:
        judged = inputs.judged[row.id]
        cells = [claim_cell(row, judged[p], inputs.results[p]) for p in profiles]
        if max(map(len, cells)) > LONGEST_CELL:
            cells = [claim_cell(row, judged[p], inputs.results[p], brief=True) for p in profiles]
            following.append(comparisons_table(inputs, row))
        states = f"{row.states} (not tested: {row.untested})" if row.untested else row.states
        states += f" (needs {row.needs})" if row.needs else ""
        again = bool(lines) and row.where == rows[len(lines) - 1].where
        where = ["" if again else row.where] if row.where else []
        lines.append([*where, states, *cells, notebook_link(row.notebook)])
    first = ["where", "the paper"] if any(row.where for row in rows) else ["finding"]
    header = [*first, *(f"ours, {profile}" for profile in profiles), "notebook"]
    return "\n\n".join((table(header, lines), *following))


def _profiles_of(inputs: ReportInputs, rows: Sequence[Row]) -> list[str]:
    """The profiles that have a column: the last has none where it measured nothing."""
    measured = {p for row in rows for p, judged in inputs.judged[row.id].items() if judged}
    return [p for p in inputs.profiles if p in ALWAYS_SHOWN or p in measured]


def comparisons_table(inputs: ReportInputs, row: Row) -> str:
    """All comparisons of a row: a line per data set, a column per check."""
    every = [j for judged in inputs.judged[row.id].values() for j in judged]
    labels = {row.checks.index(j.check): _check_label(row, j) for j in every}
    lines = []
    for profile, judged in inputs.judged[row.id].items():
        for result in dict.fromkeys(j.result for j in judged):
            cells = {row.checks.index(j.check): _in_table(j) for j in judged if j.result == result}
            data = _data_label(row, result, inputs.results[profile])
            lines.append((profile, data or NONE, *(cells.get(i, NONE) for i in sorted(labels))))
    header = ("profile", "data", *(labels[i] or NONE for i in sorted(labels)))
    unit = _unit(every)
    if is_complement(every[0]):
        unit = unit.replace("(", f"({MISSES}of ")
    about = f"All comparisons of: *{row.states}*{unit}"
    return f"{about}\n\n{table(header, lines)}"


def _in_table(judged: Judged) -> str:
    return _comparison(judged).removeprefix(MISSES)


def glance(inputs: ReportInputs, rows: Sequence[Row], of: str) -> str:
    """How many claims hold in all, some or none of their comparisons, by profile.

    Parameters
    ----------
    of : what the claims are, for the table's header
    """
    lines = []
    for profile in _profiles_of(inputs, rows):
        by_claim = [inputs.judged[row.id][profile] for row in rows]
        tested = [[j.claim.verdict for j in judged] for judged in by_claim if judged]
        holding = [verdicts.count("holds") / len(verdicts) for verdicts in tested]
        n_all, n_none = holding.count(1), holding.count(0)
        all_verdicts = [verdict for verdicts in tested for verdict in verdicts]
        counts = [all_verdicts.count(verdict) for verdict in VERDICTS]
        some = len(tested) - n_all - n_none
        lines.append((profile, len(tested), n_all, some, n_none, len(all_verdicts), *counts))
    header = (
        *("profile", of, "hold in every comparison", "in some", "in none"),
        *("comparisons", *VERDICTS),
    )
    return table(header, lines)


def in_no_comparison(inputs: ReportInputs, rows: Iterable[Row]) -> str:
    """A list of the claims of which a profile bears out no comparison, with their verdicts."""
    lines = []
    for row in rows:
        by_profile = {p: judged for p, judged in inputs.judged[row.id].items() if judged}
        if any("holds" not in {j.claim.verdict for j in of} for of in by_profile.values()):
            said = "; ".join(f"{profile}: {verdict(of)}" for profile, of in by_profile.items())
            lines.append(f"- {row.where.split(',')[0]}, {row.states} ({said})")
    return "\n".join(lines)


# ------------------------------------------------------------------------------------------- cells


def claim_cell(row: Row, judged: Sequence[Judged], found: Found, brief: bool = False) -> str:
    """One row and profile: the verdict and a line per comparison, or the measures that are shown.

    Parameters
    ----------
    brief : a line per data set, with the range of its differences
    """
    if row.show:
        return _shown_cell(row, found)
    if not judged:
        return NONE if row.untested else NOT_RUN
    data = dict.fromkeys(_data_label(row, j.result, found) for j in judged)
    of_all = next(iter(data)) if len(data) == 1 and len(judged) > 1 else ""  # not on every line
    first = f"**{verdict(judged)}**{_unit(judged)}{f', {of_all}' if of_all else ''}"
    return BREAK.join([first, *(_brief if brief else _lines)(row, judged, found, not of_all)])


def _shown_cell(row: Row, found: Found) -> str:
    (result,) = row.results
    measures = found.get(result, {}).get("measures", {})
    keys = [key for key in row.show if key in measures]
    if not keys:
        return NOT_RUN
    shown = [
        f"{model_label(model_of(key))} {format_number(measures[key]['value'])}" for key in keys
    ]
    particles = particles_of(found[result])
    return BREAK.join(shown + ([f"{particles} particles"] if particles else []))


def _lines(row: Row, judged: Sequence[Judged], found: Found, with_data: bool = True) -> list[str]:
    """A line per comparison; the verdict of one that does not hold where others do."""
    same = len({j.claim.verdict for j in judged}) == 1
    lines = []
    for j in judged:
        data = _data_label(row, j.result, found) if with_data else ""
        label = ", ".join(filter(None, (data, _check_label(row, j))))
        with_means = len(judged) <= SHOWN_WITH_MEANS
        lines.append((f"{label}: " if label else "") + _comparison(j, with_means, not same))
    return lines


def _comparison(judged: Judged, with_means: bool = False, with_verdict: bool = True) -> str:
    """The difference with its interval and what it rests on, and a verdict other than "holds"."""
    evidence = judged.claim.evidence
    alone = SEEDS_ALONE if evidence.endswith("alone") else ""
    one_seed = ", 1 seed" if evidence.endswith("1 seed") else ""
    shown = means(judged) if with_means else change_of(judged)
    said = judged.claim.verdict
    return shown + alone + one_seed + (f", {said}" if with_verdict and said != "holds" else "")


def _brief(row: Row, judged: Sequence[Judged], found: Found, with_data: bool = True) -> list[str]:
    """A line per data set, or one for all of them where a row has one check."""
    by_result: dict[str, list[Judged]] = {}
    for j in judged:
        by_result.setdefault(j.result if len(row.checks) > 1 else "", []).append(j)
    lines = []
    for result, of in by_result.items():
        label = _data_label(row, result, found) if result else f"{len(of)} data sets"
        least, most = min(of, key=_ratio), max(of, key=_ratio)
        ends = [format_change(j.claim.measured, None, None, j.claim.times) for j in (least, most)]
        between = (MISSES if is_complement(of[0]) else "") + " to ".join(ends).replace("-", "−")
        own_verdict = f"{verdict(of)}, " if len(by_result) > 1 else ""
        lines.append((f"{label}: " if label and with_data else "") + own_verdict + between)
    return lines


def _ratio(judged: Judged) -> float:
    return judged.claim.times * (1 - judged.claim.measured)


def _unit(judged: Sequence[Judged]) -> str:
    """The unit in brackets, unless it is a perplexity or the checks' labels name several."""
    units = {claims.unit_of(j.lower) for j in judged}
    if len(units) != 1:
        return ""
    (unit,) = units
    if unit == "ratio of perplexities" and "independent" in judged[0].lower:
        unit = "joint / independent"
    unit = unit.removeprefix("1 - ")
    unit = UNITS.get(unit, unit.replace("ndcg", "NDCG"))
    return "" if unit == "perplexity" else f" ({unit})"


def verdict(judged: Sequence[Judged]) -> str:
    """One word for all comparisons, or how many of them hold."""
    found = [j.claim.verdict for j in judged]
    if len(set(found)) <= 1:
        return "".join(found[:1])
    return f"{found.count('holds')} of {len(found)} hold"


def _check_label(row: Row, judged: Judged) -> str:
    """The models that tell a check from the others of its row."""
    if label := judged.check.get("label"):
        return label
    varies = [len({model_of(c[side]) for c in row.checks}) > 1 for side in ("lower", "higher")]
    if "@" in model_of(judged.lower) or all(varies):
        return f"{_label(judged.lower, judged)} vs {_label(judged.higher, judged)}"
    if varies[0]:
        return _label(judged.lower, judged)
    return f"vs {_label(judged.higher, judged)}" if varies[1] else ""


def _label(measure: str, judged: Judged) -> str:
    """The model of one of the two measures, by its name for people."""
    metric = measure.removeprefix("1 - ").split(":")[-1].split(".", 1)[0]
    return model_label(model_of(measure), metric, judged.result)


def _data_label(row: Row, result: str, found: Found) -> str:
    key = claims.data_of(row, result, found)
    return DATA_LABELS.get(key, key)


# --------------------------------------------------------------------------------------- particles


def particle_counts(judged: Judged, found: Found) -> list[int]:
    """With how many particles a comparison was scored, where a particle filter scores a side."""
    if not _is_filtered(judged):
        return []
    used = (particles_of(found.get(name, {})) for name in _results_of(judged))
    return sorted({n for n in used if n})


def _is_filtered(judged: Judged) -> bool:
    """Whether one side of the comparison is scored by a particle filter."""
    models = [model_of(measure).split(".")[0] for measure in (judged.lower, judged.higher)]
    predicts = claims.unit_of(judged.lower).endswith(("perplexity", "perplexities", "10", "error"))
    return predicts and any(map(_by_particles, models))


def _by_particles(model: str) -> bool:
    from experiments.families import family_of

    # With words or letters as the LSTM's input there is no history of topics to sum over.
    return family_of(model).particles and not model.startswith(("word_", "char_"))


def _results_of(judged: Judged) -> set[str]:
    """Names of the results that a check reads: its own, and those its measures name."""
    measures = f"{judged.lower} {judged.higher}"
    return {judged.result, *re.findall(r"(\w+):", measures)}
