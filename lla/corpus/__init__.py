"""Corpora: documents as flat arrays, split in observed and held-out parts, kept in a folder.

Texts become words by the rules of `lla.corpus.tokens`; `data_prep` makes corpora of raw data.
"""

from lla.corpus.documents import (
    DESCRIPTION,
    Corpus,
    check_same_vocabulary,
    load_corpus,
    save_corpus,
)
from lla.corpus.split import Split, split_corpus, split_last

__all__ = [
    "DESCRIPTION",
    "Corpus",
    "Split",
    "check_same_vocabulary",
    "load_corpus",
    "save_corpus",
    "split_corpus",
    "split_last",
]
