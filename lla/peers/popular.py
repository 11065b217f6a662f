"""Personalised most popular: one's own favourites, the recent ones first, then everyone's.

    p(v | w_<t) = (m_v + c p(v)) / (m + c),   m_v = Σ_{s<t} 2^{-(t-1-s)/h} [w_s = v],   m = Σ_v m_v

p is the unigram, h the half-life of an event, counted in events. Without decay m_v is a count and
this is the cache unigram. With h of 1 or less an item's latest event outweighs all that came
before it, so own items stand in the order of recency; a small c ranks all of them before the
rest, which follows by popularity ("personalised most popular" in recommendation; arXiv 2409.04329
shows how hard to beat it is).
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from scipy.optimize import minimize_scalar

from lla.common.errors import InputError, check_positive
from lla.corpus import Split
from lla.evaluate import ScoreCallback
from lla.evaluate.perplexity import SCORES, perplexity

HALF_LIVES = (None, 300.0, 100.0, 30.0, 10.0, 3.0, 1.0)


@dataclass(frozen=True)
class Popular:
    """What is mixed, and how.

    Attributes
    ----------
    probability : (V,) everyone's popularity, above 0 and summing to 1 (`unigram.unigram`)
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
        """What one more event leaves of a weight: 2^{-1/h}."""
        return 1.0 if self.half_life is None else 2.0 ** (-1.0 / self.half_life)


def score_popular(model: Popular, split: Split) -> np.ndarray:
    """log p(held-out events) of every user, each event given all before it, (D,) nats."""
    corpus, found = split.corpus, np.empty(split.corpus.n_documents)
    _check(model, split)
    arrays = (corpus.words, corpus.offsets, split.n_observed, model.probability)
    popular_scores(*arrays, float(model.concentration), model.decay, found)
    return found


def next_items_popular(model: Popular, split: Split, visit: ScoreCallback) -> None:
    """Call `visit(positions (B,), p (B, V))` for all held-out events; p is float64 and sums to 1.

    In float32 a favourite's m_v would swallow a small c p(v), which tells favourites apart.
    """
    _check(model, split)
    n_words, corpus = split.corpus.n_words, split.corpus
    step = max(1, SCORES // n_words)
    for d in range(corpus.n_documents):
        words = np.asarray(corpus.document(d))
        for begin in range(int(split.n_observed[d]), len(words), step):
            rows = np.empty((min(step, len(words) - begin), n_words))
            arrays = (words, begin, model.probability, float(model.concentration))
            popular_rows(*arrays, model.decay, rows)
            visit(corpus.offsets[d] + begin + np.arange(len(rows)), rows)


def tune_popular(
    probability: np.ndarray,
    split: Split,
    half_lives: tuple[float | None, ...] = HALF_LIVES,
) -> Popular:
    """The half-life of these, and the concentration, with the lowest development perplexity."""
    part = split.restrict(split.development)
    best, lowest = None, math.inf
    for half_life in half_lives:

        def loss(log_concentration: float, half_life: float | None = half_life) -> float:
            model = Popular(probability, math.exp(log_concentration), half_life)
            return np.log(perplexity(score_popular(model, part), part, part.development))

        options = {"method": "bounded", "options": {"xatol": 0.01}}
        found = minimize_scalar(loss, bounds=(-7.0, 12.0), **options)
        if found.fun < lowest:
            best, lowest = Popular(probability, float(np.exp(found.x)), half_life), found.fun
    if best is None:
        raise InputError("half_lives: give one or more; None is no decay")
    return best


def popular_of(probability: np.ndarray, split: Split, settings: dict[str, Any]) -> Popular:
    """The model of these settings; what they leave open is chosen on the development users."""
    if unknown := set(settings) - {"half_life", "concentration"}:
        raise InputError(f"{sorted(unknown)[0]}: give half_life and concentration, or less")
    if "concentration" in settings:
        return Popular(probability, **settings)
    half_lives = (settings["half_life"],) if "half_life" in settings else HALF_LIVES
    return tune_popular(probability, split, half_lives)


def _check(model: Popular, split: Split) -> None:
    if len(model.probability) != split.corpus.n_words:
        raise InputError(
            f"probability has {len(model.probability)} items: give that of the "
            f"{split.corpus.n_words} items of this split"
        )


@njit(nogil=True, cache=True)
def popular_scores(words, offsets, n_observed, probability, concentration, decay, scores):
    """Fill `scores` (D,) with log p of words (N,) past each document's `n_observed` (D,).

    An item's weight is kept as it was at its last event, and decays when it is next looked at.
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


@njit(nogil=True, cache=True)
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
