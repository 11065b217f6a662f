"""A word follows the word before it: the bigram with a Dirichlet prior (MacKay & Peto, 1995).

    p(w | v) = (n_vw + c p(w)) / (n_v + c)

n_vw counts v followed by w, n_v = Σ_w n_vw, p is the unigram, and c says how many words after v it
takes to trust them as much as p.
"""

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.sparse import coo_array, csr_array

from lla.corpus import Split
from lla.errors import InputError, check_positive
from lla.evaluate import SCORES, Visit, perplexity


def fit_bigram(split: Split) -> csr_array:
    """n_vw, (V, V) int64, from the observed part of all documents; no pair crosses two."""
    observed = split.observed
    document = np.repeat(np.arange(observed.n_documents), observed.lengths)
    inside = document[1:] == document[:-1]
    before = observed.words[:-1][inside].astype(np.int64)
    after = observed.words[1:][inside].astype(np.int64)
    shape = (observed.n_words, observed.n_words)
    return coo_array((np.ones(len(before), np.int64), (before, after)), shape).tocsr()


def score_bigram(
    counts: csr_array, probability: np.ndarray, concentration: float, split: Split
) -> np.ndarray:
    """log p(held-out words) of every document, each word given the one before it, (D,) nats.

    Parameters
    ----------
    counts : (V, V) from `fit_bigram`
    probability : (V,) the unigram, above 0; alone it predicts a document's first word
    concentration : c, in words
    """
    check_positive("concentration", concentration)
    return _score(*_held_out(counts, probability, split), concentration, split)


def tune_bigram(counts: csr_array, probability: np.ndarray, split: Split) -> float:
    """The concentration with the lowest perplexity on the development documents."""
    part = split.restrict(split.development)
    pairs = _held_out(counts, probability, part)

    def loss(log_concentration: float) -> float:
        scores = _score(*pairs, np.exp(log_concentration), part)
        return np.log(perplexity(scores, part, part.development))

    found = minimize_scalar(loss, bounds=(-3.0, 12.0), method="bounded", options={"xatol": 0.01})
    return float(np.exp(found.x))


def next_items_bigram(
    counts: csr_array, probability: np.ndarray, concentration: float, split: Split, visit: Visit
) -> None:
    """Call `visit(positions (B,), p (B, V))` for all held-out words (see `score_bigram`)."""
    check_positive("concentration", concentration)
    _check(counts, probability, split)
    words, positions = split.corpus.words.astype(np.int64), np.flatnonzero(split.held_out)
    begins, n_before = np.isin(positions, split.corpus.offsets[:-1]), counts.sum(axis=1)
    step = max(1, SCORES // len(probability))
    for i in range(0, len(positions), step):
        batch, first = positions[i : i + step], begins[i : i + step]
        before = np.where(first, 0, words[batch - 1])
        seen = (~first)[:, None]  # (B, 1)
        rows = counts[before].toarray() * seen + concentration * probability  # (B, V)
        visit(batch, rows / (n_before[before][:, None] * seen + concentration))


def n_parameters(counts: csr_array) -> int:
    """Numbers the model keeps: the counts above zero, and the unigram."""
    return int(counts.count_nonzero()) + counts.shape[0]


def _held_out(
    counts: csr_array, probability: np.ndarray, split: Split
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """n_vw, n_v and p(w) of every held-out token, each (n,)."""
    corpus = split.corpus
    _check(counts, probability, split)
    token = np.flatnonzero(split.held_out)
    after = corpus.words[token].astype(np.int64)
    before = corpus.words[token - 1].astype(np.int64)
    has_before = ~np.isin(token, corpus.offsets[:-1])
    n_pair = np.zeros(len(token))
    if has_before.any():  # of no pair at all SciPy makes a sparse array
        n_pair[has_before] = counts[before[has_before], after[has_before]]
    n_before = np.where(has_before, counts.sum(axis=1)[before], 0)
    return n_pair, n_before, probability[after]


def _check(counts: csr_array, probability: np.ndarray, split: Split) -> None:
    n_words = split.corpus.n_words
    if probability.shape != (n_words,) or counts.shape != (n_words,) * 2:
        raise InputError(
            f"counts {counts.shape}, probability {probability.shape}: "
            f"give those of the {n_words} words of this split"
        )


def _score(
    n_pair: np.ndarray, n_before: np.ndarray, p: np.ndarray, concentration: float, split: Split
) -> np.ndarray:
    log_p = np.zeros(split.corpus.n_tokens)
    log_p[split.held_out] = np.log((n_pair + concentration * p) / (n_before + concentration))
    return split.sum_held_out(log_p)
