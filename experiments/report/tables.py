"""Tables in Markdown, and what models, data sets and comparisons are called in them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from statistics import fmean
from typing import Any

from experiments.claims import Judged
from experiments.results import format_number

NOT_RUN = "not run"
NONE = "–"
MISSES = "misses "  # before a difference of what measures lack to 1
DATA_LABELS = {
    "wikipedia": "Wikipedia",
    "articles": "250 Wikipedia articles",
    "gensim_articles": "250 Wikipedia articles",
    "documentation": "documentation",
    "newsgroups": "20 Newsgroups",
    "news20_clean": "20 Newsgroups (ProdLDA's files)",
    "imdb": "movie reviews",
    "clicks": "simulated clicks",
    "personal_dynamics": "simulated personal dynamics",
    "foursquare": "Foursquare",
    "foursquare_core": "Foursquare, 10-core",
    "brightkite": "Brightkite",
    "brightkite_core": "Brightkite, 10-core",
    "lastfm_core": "Last.fm, 10-core",
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


def means(judged: Judged) -> str:
    """Both means of a comparison, the claim's model last, and their relative difference.

    Of a p-value that alone: the other one is the level, which the claim states.
    """
    lower, higher = (fmean(values) for values in judged.values)
    if judged.check["lower"].startswith("p_value."):
        return format_number(lower)
    if is_complement(judged):
        lower, higher = 1 - lower, 1 - higher
    values = f"{format_number(higher)} → {format_number(lower)}".replace("-", "−")
    return f"{values} ({change_of(judged)})"


def change_of(judged: Judged) -> str:
    """The relative difference with its interval, of the misses where those are compared."""
    change = judged.claim.change.replace("-", "−")
    return f"{MISSES}{change}" if is_complement(judged) else change


def is_complement(judged: Judged) -> bool:
    """Whether a measure is shown as it is and judged by what it lacks to 1."""
    return judged.check["lower"].startswith("1 - ")


SYMBOLS = {"beta": "β", "prior": "α"}  # of options that are swept
SIZES = {"n_topics": "K", "n_factors": "factors", "hidden_size": "H"}  # the first a model has
OF_METRIC = {"bound": "samples", "proximity": "lag", "p_value": "lag", "memory": "lag"}
OF_RESULT = {"joint_vs_independent": "particles"}  # what its perplexities were computed with
HUNDREDTHS = 100
COUNTED = ("documents",)  # options whose values are counts


def model_of(measure: str) -> str:
    """The key of the model in a measure as the rows of claims write it."""
    return measure.removeprefix("1 - ").split(":")[-1].split(".", 1)[-1]


def model_label(model: str, metric: str = "", result: str = "") -> str:
    """A model's name for people, and what follows ``@`` in its key.

    ``topic_lla@100`` has 100 topics and ``c_gru@16`` a state of size 16;
    ``topic_lla@documents=900`` read as many documents; of ``vae@beta=400`` the option is 4, in
    hundredths; ``sasrec@clicks`` is of a data set.

    Parameters
    ----------
    metric, result : of a measure whose number may be another: of samples, particles or a lag
    """
    from experiments.families import LABELS  # loads Torch and Numba, so only when it is needed

    name, at, value = model.partition("@")
    label = LABELS.get(name, name)
    if not at:
        return label
    option, named, hundredths = value.partition("=")
    if option in COUNTED:
        count = f"{int(hundredths):,}" if hundredths.isdecimal() else hundredths
        return f"{label}, {count} {option}"
    if named:
        return f"{label}, {SYMBOLS.get(option, option)} = {int(hundredths) / HUNDREDTHS:g}"
    if not value[:1].isdecimal():
        return f"{label}, {DATA_LABELS.get(value, value)}"
    studies = [counted for study, counted in OF_RESULT.items() if result.startswith(study)]
    counted = OF_METRIC.get(metric) or (studies or [_size_of(name)])[0]
    return f"{label}, {counted}={value}"


def _size_of(name: str) -> str:
    """The symbol of the size that a model is run at: K where it has topics, else its state's H."""
    from experiments.families import LLA, base_of, family_of

    name = base_of(name) or name
    options = {option.name for option in fields(family_of(name).config)}
    if family_of(name) is LLA and name.startswith(("word_lstm", "char_lstm")):
        options.discard("n_topics")  # the models of Table 1 without topics
    return next((symbol for option, symbol in SIZES.items() if option in options), "size")


def particles_of(result: Mapping[str, Any]) -> int | None:
    """With how many particles a result was scored: the most, where it tried several."""
    used = result.get("extra", {}).get("particles") or result.get("config", {}).get("particles")
    return max(used) if isinstance(used, list) else used
