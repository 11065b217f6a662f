"""Baselines that only count: unigram, cache unigram, personalised most popular, bigram.

    unigram     p(w) = (n_w + a) / (N + V a)
    popular     p(w_t = v | w_<t) = (m_v + c p(v)) / (m + c)
                m_v = Σ_{s<t} 2^{-(t-1-s)/h} [w_s = v],   m = Σ_v m_v
    bigram      p(w_t = w | w_{t-1} = v) = (n_vw + c p(w)) / (n_v + c)

p is the unigram, h the half-life of an event, counted in events, and c a concentration. The cache
unigram is the popular model without decay: m_v is the count of v in the document so far. With h of
1 or less an item's latest event outweighs all that came before it, so own items stand in the order
of recency; a small c ranks all of them before the rest, which follows by popularity ("personalised
most popular" in recommendation; arXiv 2409.04329 shows how hard to beat it is). Concentrations and
half-lives are chosen on the development documents.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from time import perf_counter
from typing import Literal, TypeVar

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.sparse import coo_array, csr_array

from lla.common.compile import njit
from lla.common.errors import (
    InputError,
    check_development,
    check_each,
    check_function,
    check_instance,
    check_positive,
    check_prior,
    check_seed,
    optional,
)
from lla.common.summary import Summarized
from lla.corpus import Split, check_same_vocabulary
from lla.evaluate import ScoreCallback, Size
from lla.evaluate.perplexity import SCORES, perplexity

Config = TypeVar("Config")

HALF_LIVES = (None, 300.0, 100.0, 30.0, 10.0, 3.0, 1.0)


@dataclass(frozen=True, kw_only=True, repr=False)
class _Counted(Summarized):
    """What all fits of this module share: one pass over the data, without iterations.

    Attributes
    ----------
    vocabulary : the V words it was fitted to; empty where they are not known
    """

    seconds: float = 0.0
    history: list[dict[str, float]] = field(default_factory=list)
    vocabulary: tuple[str, ...] = field(default=(), repr=False)


def _check_split(split: Split, vocabulary: tuple[str, ...], probability: np.ndarray) -> None:
    """Raise InputError unless the split has the words of a fit."""
    check_instance("split", split, Split)
    check_same_vocabulary(split.corpus, vocabulary, len(probability))


def unigram_probability(split: Split, smoothing: float = 1.0) -> np.ndarray:
    """p(w) = (n_w + a)/(N + Va) from the observed part of all documents, (V,)."""
    counts = np.bincount(split.observed.words, minlength=split.corpus.n_words)
    return (counts + smoothing) / (counts.sum() + smoothing * len(counts))


def _checked(
    split: Split, config: Config | None, kind: type[Config], seed: int, unused: Mapping[str, object]
) -> Config:
    """The configuration, by default that of the class, once all arguments are as they should be.

    Parameters
    ----------
    unused : what other fits take; a name that none takes is refused
    """
    check_instance("split", split, Split)
    config = kind() if config is None else config
    check_instance("config", config, kind)
    check_seed(seed)
    if others := sorted(unused.keys() - {"start", "checkpoint", "on_iteration", "n_threads"}):
        raise InputError(f"{others[0]} is no argument of a fit: give options as {kind.__name__}")
    return config


def _check_development(split: Split) -> None:
    """Refuse a split on which no concentration can be chosen."""
    try:
        check_development(split)
    except InputError as error:
        raise InputError(f"{error}; or give the config a concentration") from None


# ------------------------------------------------------------------------------------ unigram


@dataclass(frozen=True)
class UnigramConfig:
    """`smoothing` : a, added to each word's count."""

    smoothing: float = 1.0

    def __post_init__(self) -> None:
        check_each(self, check_prior, "smoothing")


@dataclass(frozen=True, repr=False)
class Unigram(_Counted):
    """`probability` : (V,), the same at every position."""

    probability: np.ndarray

    def score(self, split: Split, *, seed: int = 0) -> np.ndarray:
        """log p(held-out words) of every document, (D,) nats."""
        _check_split(split, self.vocabulary, self.probability)
        return split.sum_held_out(np.log(self.probability)[split.corpus.words])

    def next_items(self, split: Split, on_scores: ScoreCallback, *, seed: int = 0) -> None:
        """Hand `on_scores` the same probabilities, float32, for all held-out positions."""
        _check_split(split, self.vocabulary, self.probability)
        check_function("on_scores", on_scores)
        positions = np.flatnonzero(split.held_out)
        step = max(1, SCORES // len(self.probability))
        rows = np.tile(self.probability.astype(np.float32), (min(step, len(positions)), 1))
        for i in range(0, len(positions), step):
            batch = positions[i : i + step]
            on_scores(batch, rows[: len(batch)])

    def size(self) -> Size:
        """One number per word."""
        return Size(0, len(self.probability), 4 * len(self.probability))


def fit_unigram(
    split: Split, config: UnigramConfig | None = None, seed: int = 0, **unused: object
) -> Unigram:
    """Count the observed words; nothing is drawn, resumed or run in threads."""
    config = _checked(split, config, UnigramConfig, seed, unused)
    start = perf_counter()
    probability = unigram_probability(split, config.smoothing)
    return Unigram(probability, seconds=perf_counter() - start, vocabulary=split.corpus.vocabulary)


# --------------------------------------------------- cache unigram, personalised most popular


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
class Popular(_Counted):
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
        _check_split(split, self.vocabulary, self.probability)
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
        _check_split(split, self.vocabulary, self.probability)
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
    config = _checked(split, config, CacheUnigramConfig, seed, unused)
    start = perf_counter()
    p = unigram_probability(split)
    concentration = config.concentration
    if concentration is None:
        _check_development(split)
        part = split.restrict(split.development)
        concentration, _loss = _tune_concentration(
            lambda log_c: CacheUnigram(p, np.exp(log_c)).score(part), part, lowest=-3.0
        )
    return CacheUnigram(
        p, concentration, seconds=perf_counter() - start, vocabulary=split.corpus.vocabulary
    )


def fit_popular(
    split: Split, config: PopularConfig | None = None, seed: int = 0, **unused: object
) -> Popular:
    """Count the observed events; choose what `config` leaves open."""
    config = _checked(split, config, PopularConfig, seed, unused)
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
    _check_development(split)
    half_lives = HALF_LIVES if config.half_life == "tuned" else (config.half_life,)
    part = split.restrict(split.development)
    candidates = []
    # math.exp, where the cache has np.exp: they differ in the last bit, and so would the results.
    for half_life in half_lives:

        def score(log_c: float, half_life: float | None = half_life) -> np.ndarray:
            return Popular(p, math.exp(log_c), half_life).score(part)

        concentration, loss = _tune_concentration(score, part, lowest=-7.0)
        candidates.append((loss, concentration, half_life))
    concentration, half_life = min(candidates, key=lambda candidate: candidate[0])[1:]
    return Popular(
        p,
        concentration,
        half_life,
        seconds=perf_counter() - start,
        vocabulary=split.corpus.vocabulary,
    )


def _tune_concentration(
    score: Callable[[float], np.ndarray], part: Split, lowest: float
) -> tuple[float, float]:
    """The concentration of the lowest perplexity on the development documents, and its log.

    Parameters
    ----------
    score : log concentration -> log-likelihoods of the documents of `part`
    part : the development documents
    lowest : log of the smallest concentration that is tried
    """

    def loss(log_concentration: float) -> float:
        return np.log(perplexity(score(log_concentration), part, part.development))

    best = minimize_scalar(loss, bounds=(lowest, 12.0), method="bounded", options={"xatol": 0.01})
    return float(np.exp(best.x)), float(best.fun)


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


# ------------------------------------------------------------------------------------- bigram


@dataclass(frozen=True)
class BigramConfig:
    """`concentration` : c, in words; None chooses it on the development documents."""

    concentration: float | None = None

    def __post_init__(self) -> None:
        check_each(self, optional(check_prior), "concentration")


@dataclass(frozen=True, repr=False)
class Bigram(_Counted):
    """The bigram with a Dirichlet prior.

    Attributes
    ----------
    counts : n_vw, (V, V) int64 in sparse rows
    probability : (V,) the unigram, above 0; alone it predicts a document's first word
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
        _check_split(split, self.vocabulary, self.probability)
        corpus = split.corpus
        token = np.flatnonzero(split.held_out)
        after = corpus.words[token].astype(np.int64)
        before = corpus.words[token - 1].astype(np.int64)
        has_before = ~np.isin(token, corpus.offsets[:-1])
        n_pair = np.zeros(len(token))
        if has_before.any():  # SciPy returns a sparse array for an empty selection
            n_pair[has_before] = self.counts[before[has_before], after[has_before]]
        n_before = np.where(has_before, self.counts.sum(axis=1)[before], 0)
        c = self.concentration
        log_p = np.zeros(corpus.n_tokens)
        log_p[token] = np.log((n_pair + c * self.probability[after]) / (n_before + c))
        return split.sum_held_out(log_p)

    def next_items(self, split: Split, on_scores: ScoreCallback, *, seed: int = 0) -> None:
        """Hand `on_scores` the probabilities, float64, for all held-out words."""
        _check_split(split, self.vocabulary, self.probability)
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


def fit_bigram(
    split: Split, config: BigramConfig | None = None, seed: int = 0, **unused: object
) -> Bigram:
    """Count pairs within the observed part of each document; choose the concentration."""
    config = _checked(split, config, BigramConfig, seed, unused)
    start = perf_counter()
    p = unigram_probability(split)
    counts = count_pairs(split)
    concentration = config.concentration
    if concentration is None:
        _check_development(split)
        part = split.restrict(split.development)
        concentration, _loss = _tune_concentration(
            lambda log_c: Bigram(counts, p, np.exp(log_c)).score(part), part, lowest=-3.0
        )
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
