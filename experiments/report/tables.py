"""Tables in Markdown, and claims as their cells: what is compared, both means, the verdict."""

import re
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean
from typing import Any

from experiments import claims
from experiments.claims import Judged, Row
from experiments.results import format_number

NOT_RUN = "not run"
NONE = "–"
DATA_LABELS = {
    "wikipedia": "Wikipedia",
    "articles": "250 Wikipedia articles",
    "gensim_articles": "250 Wikipedia articles",
    "documentation": "documentation",
    "news20_clean": "20 Newsgroups, ProdLDA's files",
    "newsgroups": "20 Newsgroups",
    "imdb": "film reviews",
    "clicks": "simulated clicks",
    "foursquare": "Foursquare",
    "brightkite": "Brightkite",
    "diginetica": "Diginetica",
    "online_retail": "Online Retail",
}


def table(header: Sequence[str], rows: Iterable[Sequence[object]], aligned: bool = False) -> str:
    """A Markdown table; `aligned` pads its columns, for a terminal."""
    cells = [[" ".join(str(x).split()).replace("|", "\\|") for x in row] for row in (header, *rows)]
    widths = [
        3 if not aligned else max(3, *(len(row[i]) for row in cells)) for i in range(len(header))
    ]
    cells.insert(1, ["-" * width for width in widths])
    if aligned:
        cells = [list(map(str.ljust, row, widths)) for row in cells]
    return "\n".join(f"| {' | '.join(row)} |" for row in cells)


def claim_cell(row: Row, judged: Sequence[Judged], found: Mapping[str, Mapping[str, Any]]) -> str:
    """Ours, for one row and profile: each check's two means, or the measures that are shown."""
    if row.show:
        return _shown_cell(row, found)
    if not judged:
        return NONE if row.untested else NOT_RUN
    groups: dict[str, list[str]] = {}  # by data set
    evidence = _evidence_after(judged)
    same = not any(evidence[:-1])
    for j, rests_on in zip(judged, evidence, strict=True):
        text = f"{_check_label(row, j)} {means(j)}".strip() + ("" if same else rests_on)
        groups.setdefault(j.result, []).append(text)
    parts = [f"{_data_label(row, result, found)}{'; '.join(of)}" for result, of in groups.items()]
    scored = (found.get(name, {}) for j in judged if _is_filtered(j) for name in _results_of(j))
    counts = {n for n in map(particles_of, scored) if n}
    particles = f", {', '.join(map(str, sorted(counts)))} particles" if counts else ""
    return "; ".join(parts) + _unit(judged) + particles + (evidence[-1] if same else "")


def _evidence_after(judged: Sequence[Judged]) -> list[str]:
    """What a check's interval rests on, to be written after it; "" where the next has the same."""
    found = [j.claim.evidence for j in judged]
    following = [*found[1:], ""]
    return ["" if own == then else f", {own}" for own, then in zip(found, following, strict=True)]


def _shown_cell(row: Row, found: Mapping[str, Mapping[str, Any]]) -> str:
    (result,) = row.results
    measures = found.get(result, {}).get("measures", {})
    keys = [key for key in row.show if key in measures]
    if not keys:
        return NOT_RUN
    shown = (f"{model_label(_model(key))} {format_number(measures[key]['value'])}" for key in keys)
    particles = particles_of(found[result])
    return "; ".join(shown) + (f", {particles} particles" if particles else "")


def _unit(judged: Sequence[Judged]) -> str:
    """The unit, unless it is a perplexity or the checks' labels name several."""
    units = {claims.unit_of(j.lower) for j in judged}
    if len(units) > 1:
        return ""
    (unit,) = units
    named = {"perplexity": "", "ratio of perplexities": " (joint / independent)"}
    return named.get(unit, f" {unit.removeprefix('1 - ').replace('ndcg', 'NDCG')}")


def means(judged: Judged) -> str:
    """Both means of a comparison, the claim's model last, and their relative difference."""
    lower, higher = (fmean(values) for values in judged.values)
    if _is_complement(judged):
        lower, higher = 1 - lower, 1 - higher
    return f"{format_number(higher)} → {format_number(lower)} ({_change(judged)})"


def _change(judged: Judged) -> str:
    change = judged.claim.change.replace("-", "−")
    return f"misses {change}" if _is_complement(judged) else change


def _is_complement(judged: Judged) -> bool:
    """Whether a measure is shown as it is and judged by what it lacks to 1."""
    return judged.check["lower"].startswith("1 - ")


def _check_label(row: Row, judged: Judged) -> str:
    """The models that tell a check from the others of its row."""
    if label := judged.check.get("label"):
        return label
    lower, higher = _model(judged.lower), _model(judged.higher)
    varies = [len({_model(c[side]) for c in row.checks}) > 1 for side in ("lower", "higher")]
    if "@" in lower or all(varies):
        return f"{model_label(lower)} vs {model_label(higher)}"
    if varies[0]:
        return model_label(lower)
    return f"vs {model_label(higher)}" if varies[1] else ""


def _data_label(row: Row, result: str, found: Mapping[str, Mapping[str, Any]]) -> str:
    if not (key := claims.data_of(row, result, found)):
        return ""
    return f"{DATA_LABELS.get(key, key)}{':' if len(row.checks) > 1 else ''} "


def _model(measure: str) -> str:
    return measure.removeprefix("1 - ").split(":")[-1].split(".", 1)[-1]


def model_label(model: str) -> str:
    """A model's name for people; with its K where the key has one."""
    from experiments.families import LABELS  # loads Torch and Numba, so only when it is needed

    model, _, topics = model.partition("@")
    return LABELS.get(model, model) + (f", K={topics}" if topics else "")


def _is_filtered(judged: Judged) -> bool:
    """Whether one side of the comparison is scored by a particle filter."""
    models = [_model(measure).split(".")[0] for measure in (judged.lower, judged.higher)]
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


def particles_of(result: Mapping[str, Any]) -> int | None:
    """With how many particles a result was scored: the most, where it tried several."""
    used = result.get("extra", {}).get("particles") or result.get("config", {}).get("particles")
    return max(used) if isinstance(used, list) else used


def verdict(row: Row, judged: Sequence[Judged]) -> str:
    """One word for all checks of a row, or how many of them hold."""
    found = [j.claim.verdict for j in judged]
    if not found:
        return ""
    if len(set(found)) == 1:
        return found[0]
    return f"{found.count('holds')} of {len(found)} hold"
