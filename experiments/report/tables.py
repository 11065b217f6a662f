"""Tables in Markdown, and what models, data sets and comparisons are called in them."""

from collections.abc import Iterable, Mapping, Sequence
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
    """Both means of a comparison, the claim's model last, and their relative difference."""
    lower, higher = (fmean(values) for values in judged.values)
    if is_complement(judged):
        lower, higher = 1 - lower, 1 - higher
    return f"{format_number(higher)} → {format_number(lower)} ({change_of(judged)})"


def change_of(judged: Judged) -> str:
    """The relative difference with its interval, of the misses where those are compared."""
    change = judged.claim.change.replace("-", "−")
    return f"{MISSES}{change}" if is_complement(judged) else change


def is_complement(judged: Judged) -> bool:
    """Whether a measure is shown as it is and judged by what it lacks to 1."""
    return judged.check["lower"].startswith("1 - ")


SYMBOLS = {"beta": "β", "prior": "α"}  # of options that are swept
HUNDREDTHS = 100
COUNTED = ("documents",)  # options whose values are counts


def model_of(measure: str) -> str:
    """The key of the model in a measure as the rows of claims write it."""
    return measure.removeprefix("1 - ").split(":")[-1].split(".", 1)[-1]


def model_label(model: str) -> str:
    """A model's name for people; with its K, or the value of a swept option, where the key has one.

    ``topic_lla@100`` has 100 topics, ``topic_lla@documents=900`` as many documents; of
    ``vae@beta=400`` the option is 4, in hundredths.
    """
    from experiments.families import LABELS  # loads Torch and Numba, so only when it is needed

    model, at, value = model.partition("@")
    option, named, hundredths = value.partition("=")
    if option in COUNTED:
        count = f"{int(hundredths):,}" if hundredths.isdecimal() else hundredths
        value = f"{count} {option}"
    elif named:
        value = f"{SYMBOLS.get(option, option)} = {int(hundredths) / HUNDREDTHS:g}"
    return LABELS.get(model, model) + (f", {value if named else f'K={value}'}" if at else "")


def particles_of(result: Mapping[str, Any]) -> int | None:
    """With how many particles a result was scored: the most, where it tried several."""
    used = result.get("extra", {}).get("particles") or result.get("config", {}).get("particles")
    return max(used) if isinstance(used, list) else used
