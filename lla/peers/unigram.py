"""The two baselines anyone would try first: a unigram, and one that remembers the document."""

import numpy as np
from numba import njit
from scipy.optimize import minimize_scalar

from lla.corpus import Split
from lla.evaluate import SCORES, Visit, perplexity


def unigram(split: Split, smoothing: float = 1.0) -> np.ndarray:
    """p(w) = (n_w + a)/(N + Va) from the observed part of all documents, (V,)."""
    counts = np.bincount(split.observed.words, minlength=split.corpus.n_words)
    return (counts + smoothing) / (counts.sum() + smoothing * len(counts))


def score_unigram(probability: np.ndarray, split: Split) -> np.ndarray:
    """log p(held-out words) of every document, (D,) nats."""
    return split.sum_held_out(np.log(probability)[split.corpus.words])


def next_items_unigram(probability: np.ndarray, split: Split, visit: Visit) -> None:
    """Call `visit(positions (B,), p (B, V) float32)` for all held-out words: the same p for each.

    The cache unigram's ranks are those of `popular.next_items_popular` without decay.
    """
    positions = np.flatnonzero(split.held_out)
    step = max(1, SCORES // len(probability))
    rows = np.tile(probability.astype(np.float32), (min(step, len(positions)), 1))
    for i in range(0, len(positions), step):
        batch = positions[i : i + step]
        visit(batch, rows[: len(batch)])


def score_cache_unigram(probability: np.ndarray, concentration: float, split: Split) -> np.ndarray:
    """The Dirichlet cache: p(w_t) = (n_dw(<t) + c p(w))/(t - 1 + c), words revealed one by one.

    Parameters
    ----------
    probability : (V,) the unigram
    concentration : c, in words

    Returns
    -------
    (D,) log p(held-out words) of every document, nats
    """
    corpus = split.corpus
    log_likelihood = np.empty(corpus.n_documents)
    _cache(
        corpus.words,
        corpus.offsets,
        split.n_observed,
        probability,
        float(concentration),
        log_likelihood,
    )
    return log_likelihood


def tune_concentration(probability: np.ndarray, split: Split) -> float:
    """The concentration with the lowest perplexity on the development documents."""

    part = split.restrict(split.development)

    def loss(log_concentration: float) -> float:
        scores = score_cache_unigram(probability, np.exp(log_concentration), part)
        return np.log(perplexity(scores, part, part.development))

    found = minimize_scalar(loss, bounds=(-3.0, 12.0), method="bounded", options={"xatol": 0.01})
    return float(np.exp(found.x))


@njit(nogil=True, cache=True)
def _cache(words, offsets, n_observed, probability, concentration, log_likelihood):
    seen = np.zeros(probability.shape[0])
    for d in range(offsets.shape[0] - 1):
        first = offsets[d]
        total = 0.0
        for i in range(first, offsets[d + 1]):
            w = words[i]
            if i - first >= n_observed[d]:
                p = (seen[w] + concentration * probability[w]) / (i - first + concentration)
                total += np.log(p)
            seen[w] += 1.0
        for i in range(first, offsets[d + 1]):
            seen[words[i]] = 0.0
        log_likelihood[d] = total
