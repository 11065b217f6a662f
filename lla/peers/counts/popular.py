"""Cache unigram and personalised most popular: a user's own items, then everyone's."""

import math
from dataclasses import dataclass
from time import perf_counter
from typing import Literal

import numpy as np

from lla.common.compile import njit
from lla.common.errors import (
    InputError,
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
    check_tunable,
    checked,
    tune_concentration,
    unigram_probability,
)

HALF_LIVES = (None, 300.0, 100.0, 30.0, 10.0, 3.0, 1.0)


@dataclass(frozen=True)
class CacheUnigramConfig:
    """`concentration` : c, in words; None chooses it on the development documents."""

    concentration: float | None = None

    def __post_init__(self) -> None:
        check_each(self, optional(check_prior), "concentration")


@dataclass(frozen=True)
class PopularConfig:
    """What is fixed in advance; the rest is chosen on the development users.

    Attributes
    ----------
    half_life : h, in events; None is no decay; "tuned" chooses among `HALF_LIVES`
    concentration : c, in events; None chooses it
    """

    half_life: float | Literal["tuned"] | None = "tuned"
    concentration: float | None = None

    def __post_init__(self) -> None:
        if self.half_life is not None and not isinstance(self.half_life, str):
            check_each(self, check_positive, "half_life")
        elif self.half_life not in (None, "tuned"):
            raise InputError(f"half_life is {self.half_life!r}: give a number, 'tuned' or None")
        check_each(self, optional(check_prior), "concentration")
        if self.concentration is not None and self.half_life == "tuned":
            raise InputError(
                f"concentration is {self.concentration} and half_life 'tuned': give half_life a "
                "number or None for no decay, or leave concentration out"
            )


@dataclass(frozen=True, repr=False)
class Popular(Counted):
    """Each user's own items, the recent ones first, then everyone's.

    Attributes
    ----------
    probability : (V,) everyone's popularity, above 0 and summing to 1
    concentration : c, in events
    half_life : h, in events; None for no decay
    """

    probability: np.ndarray
    concentration: float
    half_life: float | None = None

    def __post_init__(self) -> None:
        check_positive("concentration", self.concentration)
        if self.half_life is not None:
            check_positive("half_life", self.half_life)
        p = self.probability
        if p.ndim != 1 or not (p > 0).all() or not math.isclose(p.sum(), 1, rel_tol=1e-6):
            raise InputError("probability: give one above 0 for each item, 1 in all")

    @property
    def decay(self) -> float:
        """The factor by which one more event shrinks a weight: 2^{-1/h}."""
        return 1.0 if self.half_life is None else 2.0 ** (-1.0 / self.half_life)

    def score(self, split: Split, *, seed: int = 0) -> np.ndarray:
        """log p(held-out events) of every user, each event given all before it, (D,) nats."""
        check_split(split, self.vocabulary, self.probability)
        corpus = split.corpus
        scores = np.empty(corpus.n_documents)
        popular_scores(
            words=corpus.words,
            offsets=corpus.offsets,
            n_observed=split.n_observed,
            probability=self.probability,
            concentration=float(self.concentration),
            decay=self.decay,
            scores=scores,
        )
        return scores

    def next_items(self, split: Split, on_scores: ScoreCallback, *, seed: int = 0) -> None:
        """Hand `on_scores` the probabilities for all held-out events, user by user.

        They are float64: in float32 a favourite's m_v would swallow a small c p(v), which tells
        favourites apart.
        """
        check_split(split, self.vocabulary, self.probability)
        check_function("on_scores", on_scores)
        n_words, corpus = split.corpus.n_words, split.corpus
        step = max(1, SCORES // n_words)
        for d in range(corpus.n_documents):
            words = np.asarray(corpus.document(d))
            for begin in range(int(split.n_observed[d]), len(words), step):
                rows = np.empty((min(step, len(words) - begin), n_words))
                popular_rows(
                    words=words,
                    begin=begin,
                    probability=self.probability,
                    concentration=float(self.concentration),
                    decay=self.decay,
                    rows=rows,
                )
                on_scores(corpus.offsets[d] + begin + np.arange(len(rows)), rows)

    def size(self) -> Size:
        """One number per item, the concentration, and the half-life."""
        return Size(0, len(self.probability) + 2, 4 * len(self.probability) + 8)


class CacheUnigram(Popular):
    """The Dirichlet cache: the popular model without decay."""

    def size(self) -> Size:
        """One number per word, and the concentration."""
        return Size(0, len(self.probability) + 1, 4 * len(self.probability) + 4)


def fit_cache_unigram(
    split: Split, config: CacheUnigramConfig | None = None, seed: int = 0, **unused: object
) -> CacheUnigram:
    """Count the observed words and choose the concentration."""
    config = checked(split, config, CacheUnigramConfig, seed, unused)
    start = perf_counter()
    p = unigram_probability(split)
    concentration = config.concentration
    if concentration is None:
        concentration = best_concentration(split, lambda c: CacheUnigram(p, c))
    return CacheUnigram(
        p, concentration, seconds=perf_counter() - start, vocabulary=split.corpus.vocabulary
    )


def fit_popular(
    split: Split, config: PopularConfig | None = None, seed: int = 0, **unused: object
) -> Popular:
    """Count the observed events; choose what `config` leaves open."""
    config = checked(split, config, PopularConfig, seed, unused)
    start = perf_counter()
    p = unigram_probability(split)
    if config.concentration is not None:
        half_life = None if config.half_life == "tuned" else config.half_life
        return Popular(
            p,
            config.concentration,
            half_life,
            seconds=perf_counter() - start,
            vocabulary=split.corpus.vocabulary,
        )
    check_tunable(split)
    half_lives = HALF_LIVES if config.half_life == "tuned" else (config.half_life,)
    part = split.restrict(split.development)
    candidates = []
    # math.exp, where the cache has np.exp: they differ in the last bit, and so would the results.
    for half_life in half_lives:

        def score(log_c: float, half_life: float | None = half_life) -> np.ndarray:
            return Popular(p, math.exp(log_c), half_life).score(part)

        concentration, loss = tune_concentration(score, part, lowest=-7.0)
        candidates.append((loss, concentration, half_life))
    concentration, half_life = min(candidates, key=lambda candidate: candidate[0])[1:]
    return Popular(
        p,
        concentration,
        half_life,
        seconds=perf_counter() - start,
        vocabulary=split.corpus.vocabulary,
    )


@njit(nogil=True)
def popular_scores(words, offsets, n_observed, probability, concentration, decay, scores):
    """Fill `scores` (D,) with log p of words (N,) past each document's `n_observed` (D,).

    An item's weight is stored as of its last event, and decays when it is next read.
    """
    weight = np.zeros(probability.shape[0])
    last = np.zeros(probability.shape[0], np.int64)
    for d in range(offsets.shape[0] - 1):
        first, total, score = offsets[d], 0.0, 0.0
        for i in range(first, offsets[d + 1]):
            w = words[i]
            own = weight[w] * decay ** (i - 1 - last[w]) if weight[w] > 0.0 else 0.0
            if i - first >= n_observed[d]:
                score += np.log((own + concentration * probability[w]) / (total + concentration))
            weight[w] = own * decay + 1.0
            last[w] = i
            total = total * decay + 1.0
        for i in range(first, offsets[d + 1]):
            weight[words[i]] = 0.0
        scores[d] = score


@njit(nogil=True)
def popular_rows(words, begin, probability, concentration, decay, rows):
    """Fill rows (B, V) with p(· | words[:begin + b]) for one document's words (T,)."""
    n_words = probability.shape[0]
    weight, last = np.zeros(n_words), np.zeros(n_words, np.int64)
    own, n_own, total = np.empty(len(words), np.int64), 0, 0.0
    for t in range(begin + rows.shape[0]):
        if t >= begin:
            scale = 1.0 / (total + concentration)
            for v in range(n_words):
                rows[t - begin, v] = concentration * probability[v] * scale
            for j in range(n_own):
                v = own[j]
                rows[t - begin, v] += weight[v] * decay ** (t - 1 - last[v]) * scale
        w = words[t]
        if weight[w] == 0.0:  # a weight is 1 or more once its item has occurred
            own[n_own] = w
            n_own += 1
        weight[w] = weight[w] * decay ** (t - last[w]) + 1.0
        last[w] = t
        total = total * decay + 1.0
