"""Bags of words, and predictions of held-out words by one distribution per document."""

from collections.abc import Callable

import numpy as np
import torch
from scipy.sparse import coo_array, csr_array
from torch import Tensor

from lla.corpus import Corpus, Split
from lla.evaluate import ScoreCallback
from lla.evaluate.perplexity import SCORES

OnRows = Callable[[range, np.ndarray], None]  # documents and their log p (B, V)
Predict = Callable[[OnRows], None]  # hands over the rows of all documents, batch by batch


def bag_of_words(corpus: Corpus) -> csr_array:
    """n_dw, (D, V) float32."""
    document = np.repeat(np.arange(corpus.n_documents), corpus.lengths)
    ones = np.ones(corpus.n_tokens, np.float32)
    entries = (ones, (document, corpus.words.astype(np.int64)))
    return coo_array(entries, (corpus.n_documents, corpus.n_words)).tocsr()


def dense(rows: csr_array) -> Tensor:
    """(B, V) float32."""
    return torch.from_numpy(rows.toarray())


def drop(bags: csr_array, dropout: float, draw: np.random.Generator) -> csr_array:
    """Drop a share `dropout` of the entries and scale the others up, which keeps the means."""
    kept = draw.random(bags.nnz, np.float32) >= dropout
    data = bags.data * (kept / np.float32(1 - dropout))
    return csr_array((data, bags.indices, bags.indptr), bags.shape)


def score_rows(split: Split, predict: Predict) -> np.ndarray:
    """log p(held-out words) of every document, (D,) nats, by the document's one distribution."""
    corpus = split.corpus
    log_p = np.zeros(corpus.n_tokens)

    def look_up(documents: range, rows: np.ndarray) -> None:
        for d, row in zip(documents, rows, strict=True):
            held_out = slice(corpus.offsets[d] + split.n_observed[d], corpus.offsets[d + 1])
            log_p[held_out] = row[corpus.words[held_out]]

    predict(look_up)
    return split.sum_held_out(log_p)


def rank_rows(split: Split, predict: Predict, on_scores: ScoreCallback) -> None:
    """Hand `on_scores` the document's log p (B, V) at each of its held-out tokens."""
    corpus = split.corpus
    step = max(1, SCORES // corpus.n_words)

    def rank(documents: range, rows: np.ndarray) -> None:
        for d, row in zip(documents, rows, strict=True):
            first = corpus.offsets[d] + split.n_observed[d]
            last = corpus.offsets[d + 1]
            for i in range(first, last, step):
                positions = np.arange(i, min(i + step, last))
                on_scores(positions, np.tile(row, (len(positions), 1)))

    predict(rank)
