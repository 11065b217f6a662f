"""What the paper says, what we measured, and whether the second bears out the first.

``rows`` reads the paper's claims (``paper.yaml``) and our own (``findings.yaml``), ``judge``
compares them with result files, ``claim`` says what a verdict is, ``bootstrap`` computes intervals
and ``scores`` keeps what they are computed from.
"""

from experiments.claims.claim import VERDICTS, Claim, compare, format_change
from experiments.claims.judge import (
    Judged,
    claims_of,
    compare_measures,
    compared_measures,
    corpus_of,
    data_of,
    judge,
    unit_of,
    values_of,
)
from experiments.claims.rows import Group, Row, groups, paper, paper_corpora, rows
from experiments.claims.scores import Scores, read_scores, scores_of, write_scores

__all__ = [
    "VERDICTS",
    "Claim",
    "Group",
    "Judged",
    "Row",
    "Scores",
    "claims_of",
    "compare",
    "compare_measures",
    "compared_measures",
    "corpus_of",
    "data_of",
    "format_change",
    "groups",
    "judge",
    "paper",
    "paper_corpora",
    "read_scores",
    "rows",
    "scores_of",
    "unit_of",
    "values_of",
    "write_scores",
]
