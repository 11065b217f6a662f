"""The bigram with a Dirichlet prior, whose mean is the unigram or uniform."""

from dataclasses import dataclass
from time import perf_counter

import numpy as np
from scipy.sparse import coo_array, csr_array

from lla.common.compile import njit
from lla.common.errors import (
    InputError,
    check_choice,
    check_each,
    check_function,
    check_positive,
    check_prior,
    optional,
)
from lla.corpus import Split
from lla.evaluate import ScoreCallback, Size
from lla.evaluate.perplexity import SCORES
from lla.peers.counts.shared import (
    Counted,
    best_concentration,
    check_split,
    checked,
    unigram_probability,
)

PRIORS = ("unigram", "uniform")


@dataclass(frozen=True)
class BigramConfig:
    """What is fixed in advance.

    Attributes
    ----------
    concentration : c, in words; None chooses it on the development documents
    prior : p of the formula: "unigram", or "uniform", additive smoothing by c/V per pair
    """

    concentration: float | None = None
    prior: str = "unigram"

    def __post_init__(self) -> None:
        check_each(self, optional(check_prior), "concentration")
        check_each(self, check_choice, "prior", choices=PRIORS)


@dataclass(frozen=True, repr=False)
class Bigram(Counted):
    """The bigram with a Dirichlet prior.

    Attributes
    ----------
    counts : n_vw, (V, V) int64 in sparse rows
    probability : (V,) the prior's mean, above 0; alone it predicts a document's first word
    concentration : c, in words
    """

    counts: csr_array
    probability: np.ndarray
    concentration: float

    def __post_init__(self) -> None:
        check_positive("concentration", self.concentration)
        n_words = len(self.probability)
        if self.counts.shape != (n_words, n_words):
            raise InputError(f"counts: {self.counts.shape}; give those of {n_words} words")

    def score(self, split: Split, *, seed: int = 0) -> np.ndarray:
        """log p(held-out words) of every document, each word given the one before it, nats."""
        check_split(split, self.vocabulary, self.probability)
        corpus = split.corpus
        token = np.flatnonzero(split.held_out)
        before = corpus.words[token - 1].astype(np.int64)
        before[np.isin(token, corpus.offsets[:-1])] = -1
        log_p = np.zeros(corpus.n_tokens)
        log_p[token] = np.log(pair_probability(self, before, corpus.words[token].astype(np.int64)))
        return split.sum_held_out(log_p)

    def next_items(self, split: Split, on_scores: ScoreCallback, *, seed: int = 0) -> None:
        """Hand `on_scores` the probabilities, float64, for all held-out words."""
        check_split(split, self.vocabulary, self.probability)
        check_function("on_scores", on_scores)
        words = split.corpus.words.astype(np.int64)
        positions = np.flatnonzero(split.held_out)
        before = np.where(np.isin(positions, split.corpus.offsets[:-1]), -1, words[positions - 1])
        step = max(1, SCORES // len(self.probability))
        for i in range(0, len(positions), step):
            batch = positions[i : i + step]
            rows = np.empty((len(batch), len(self.probability)))
            bigram_rows(
                before=before[i : i + step],
                indptr=self.counts.indptr,
                indices=self.counts.indices,
                data=self.counts.data,
                probability=self.probability,
                concentration=float(self.concentration),
                rows=rows,
            )
            on_scores(batch, rows)

    def size(self) -> Size:
        """Counts above zero and the unigram; a pair is a word and a count, a row one offset."""
        n_words = len(self.probability)
        n_parameters = int(self.counts.count_nonzero()) + n_words
        return Size(0, n_parameters, 8 * self.counts.nnz + 4 * (2 * n_words + 1))


def pair_probability(bigram: Bigram, before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """p(w | v), (M,), for words v, -1 where there is none, and words w after them, (M,) each."""
    has_before = before >= 0
    n_pair, n_before = np.zeros(len(after)), np.zeros(len(after))
    if has_before.any():  # SciPy returns a sparse array for an empty selection
        n_pair[has_before] = bigram.counts[before[has_before], after[has_before]]
        n_before[has_before] = bigram.counts.sum(axis=1)[before[has_before]]
    c = bigram.concentration
    return (n_pair + c * bigram.probability[after]) / (n_before + c)


def fit_bigram(
    split: Split, config: BigramConfig | None = None, seed: int = 0, **unused: object
) -> Bigram:
    """Count pairs within the observed part of each document; choose the concentration."""
    config = checked(split, config, BigramConfig, seed, unused)
    start = perf_counter()
    n_words = split.corpus.n_words
    p = unigram_probability(split) if config.prior == "unigram" else np.full(n_words, 1 / n_words)
    counts = count_pairs(split)
    concentration = config.concentration
    if concentration is None:
        concentration = best_concentration(split, lambda c: Bigram(counts, p, c))
    return Bigram(
        counts, p, concentration, seconds=perf_counter() - start, vocabulary=split.corpus.vocabulary
    )


def count_pairs(split: Split) -> csr_array:
    """n_vw, (V, V) int64, from the observed part of all documents; no pair crosses two."""
    observed = split.observed
    document = np.repeat(np.arange(observed.n_documents), observed.lengths)
    inside = document[1:] == document[:-1]
    before = observed.words[:-1][inside].astype(np.int64)
    after = observed.words[1:][inside].astype(np.int64)
    shape = (observed.n_words, observed.n_words)
    return coo_array((np.ones(len(before), np.int64), (before, after)), shape).tocsr()


@njit(nogil=True)
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
