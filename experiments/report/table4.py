"""The paper's Table 4 with a row per corpus: the paper's own, and each of ours under it."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from experiments import claims
from experiments.claims import Judged
from experiments.report.tables import DATA_LABELS, NONE
from experiments.results import format_measure, format_number

TABLE_4 = ("table-4-wikipedia", "table-4-size", "table-4-clicks")
HEADER = ("corpus", "LDA, θ updated", "independent", "joint", "joint against independent")


class CorpusRow(NamedTuple):
    """Perplexities on one corpus, as text, and what they say of the claim."""

    corpus: str
    lda: str
    independent: str
    joint: str
    change: str


def table4(
    results: Mapping[str, Mapping[str, Mapping[str, Any]]], data: frozenset[str] = frozenset()
) -> list[CorpusRow]:
    """The rows, each of the paper's followed by ours: one per profile and data set.

    Parameters
    ----------
    results : by profile and name
    data : the data sets wanted, such as "clicks"; all of them if empty
    """
    rows: list[CorpusRow] = []
    shown = set()  # the paper's lines, and data sets by profile
    for row_id in TABLE_4:
        row = claims.paper(row_id)
        independent, joint = row.numbers["independent"], row.numbers["topic_lla"]
        change = f"{100 * (joint / independent - 1):+.1f}%".replace("-", "−")
        title = f"**paper**, {row.where.split(', ')[-1]}"
        printed = CorpusRow(title, NONE, format_number(independent), format_number(joint), change)
        if title not in shown:
            rows.append(printed)
            shown.add(title)
        for profile, found in results.items():
            for judged, name in _judged(row, found):
                corpus = f"`{profile}`, {DATA_LABELS.get(name, name)}"
                if corpus not in shown and (not data or name in data):
                    rows.append(_ours(judged, corpus, found))
                    shown.add(corpus)
    return rows


def _judged(
    row: claims.Row, found: Mapping[str, Mapping[str, Any]]
) -> Iterator[tuple[Judged, str]]:
    for judged in claims.judge(row, found):
        yield judged, claims.data_of(row, judged.result, found) or claims.corpus_of(found)


def _ours(judged: Judged, corpus: str, found: Mapping[str, Mapping[str, Any]]) -> CorpusRow:
    measures = found[judged.result]["measures"]
    lda = measures.get(judged.lower.replace("topic_lla", "lda_online"))
    claim = judged.claim
    return CorpusRow(
        corpus,
        format_measure(lda) if lda else NONE,
        format_measure(measures[judged.higher]),
        format_measure(measures[judged.lower]),
        f"{claim.change.replace('-', '−')}, {claim.evidence}: {claim.verdict}",
    )
