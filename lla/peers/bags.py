"""Bags of words, and predictions of held-out words by one distribution per document."""

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from scipy.sparse import coo_array, csr_array
from torch import Tensor

from lla.common.errors import InputError, check_function
from lla.common.parallel import on_one_thread
from lla.corpus import Corpus, Split
from lla.evaluate import ScoreCallback
from lla.evaluate.perplexity import repeat_row
from lla.peers.training import FittedNetwork

OnRows = Callable[[range, np.ndarray], None]  # documents and their log p (B, V)
Predict = Callable[[OnRows], None]  # hands over the rows of all documents, batch by batch


class FittedBags(FittedNetwork):
    """A trained network with one distribution per document; families add `predict`."""

    def predict(self, observed: Corpus, on_rows: OnRows) -> None:
        """Call `on_rows(documents, log p (B, V))`, float64, batch by batch."""
        raise NotImplementedError

    def score(self, split: Split, *, seed: int = 0) -> np.ndarray:
        """log p(held-out words) of every document given its observed words, (D,) nats."""
        self.check_split(split)
        predict = partial(self.predict, split.observed)
        return on_one_thread(partial(score_rows, split, predict))

    def next_items(self, split: Split, on_scores: ScoreCallback, *, seed: int = 0) -> None:
        """Hand `on_scores` log p (B, V), float64: the same for all held-out words of a document."""
        self.check_split(split)
        check_function("on_scores", on_scores)
        predict = partial(self.predict, split.observed)
        on_one_thread(partial(rank_rows, split, predict, on_scores))


def bag_of_words(corpus: Corpus) -> csr_array:
    """n_dw, (D, V) float32."""
    document = np.repeat(np.arange(corpus.n_documents), corpus.lengths)
    ones = np.ones(corpus.n_tokens, np.float32)
    entries = (ones, (document, corpus.words.astype(np.int64)))
    return coo_array(entries, (corpus.n_documents, corpus.n_words)).tocsr()


def held_out_parts(split: Split, chosen: np.ndarray, of: str) -> Corpus:
    """The held-out part of every document chosen, as a document of its own: never trained on.

    Parameters
    ----------
    chosen : (D,) bool; documents without a held-out word are left out
    of : what the chosen documents are called, where none has a held-out word
    """
    documents = np.flatnonzero(chosen & (split.n_held_out > 0))
    if not len(documents):
        raise InputError(
            f"split: no {of} document has a held-out word; give longer documents, or a smaller "
            "observed part"
        )
    words = [split.corpus.document(d)[split.n_observed[d] :] for d in documents.tolist()]
    return Corpus.from_documents(words, split.corpus.vocabulary)


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

    def rank(documents: range, rows: np.ndarray) -> None:
        for d, row in zip(documents, rows, strict=True):
            repeat_row(row, split, d, on_scores)

    predict(rank)
