"""The two baselines anyone would try first: a unigram, and one with a cache of the document."""

import numpy as np
from numba import njit
from scipy.optimize import minimize_scalar
from scipy.sparse import coo_array, csr_array

from lla.common.errors import InputError, check_positive
from lla.corpus import Split
from lla.evaluate import ScoreCallback
from lla.evaluate.perplexity import SCORES, perplexity


def unigram(split: Split, smoothing: float = 1.0) -> np.ndarray:
    """p(w) = (n_w + a)/(N + Va) from the observed part of all documents, (V,)."""
    counts = np.bincount(split.observed.words, minlength=split.corpus.n_words)
    return (counts + smoothing) / (counts.sum() + smoothing * len(counts))


def score_unigram(probability: np.ndarray, split: Split) -> np.ndarray:
    """log p(held-out words) of every document, (D,) nats."""
    return split.sum_held_out(np.log(probability)[split.corpus.words])


def next_items_unigram(probability: np.ndarray, split: Split, visit: ScoreCallback) -> None:
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
    counts: csr_array,
    probability: np.ndarray,
    concentration: float,
    split: Split,
    visit: ScoreCallback,
) -> None:
    """Call `visit(positions (B,), p (B, V))` for all held-out words (see `score_bigram`)."""
    check_positive("concentration", concentration)
    _check(counts, probability, split)
    words, positions = split.corpus.words.astype(np.int64), np.flatnonzero(split.held_out)
    before = np.where(np.isin(positions, split.corpus.offsets[:-1]), -1, words[positions - 1])
    table = (counts.indptr, counts.indices, counts.data, probability, float(concentration))
    step = max(1, SCORES // len(probability))
    for i in range(0, len(positions), step):
        batch = positions[i : i + step]
        rows = np.empty((len(batch), len(probability)))
        bigram_rows(before[i : i + step], *table, rows)
        visit(batch, rows)


@njit(nogil=True, cache=True)
def bigram_rows(before, indptr, indices, data, probability, concentration, rows):
    """Fill rows (B, V) with p(· | v) for the words v of `before` (B,); -1 is no word, the unigram.

    Parameters
    ----------
    indptr, indices, data : n_vw in sparse rows
    probability, concentration : (V,), c
    """
    for b in range(before.shape[0]):
        first, last = 0, 0
        if before[b] >= 0:
            first, last = indptr[before[b]], indptr[before[b] + 1]
        total = concentration
        for j in range(first, last):
            total += data[j]
        for w in range(probability.shape[0]):
            rows[b, w] = concentration * probability[w] / total
        for j in range(first, last):
            rows[b, indices[j]] += data[j] / total


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
