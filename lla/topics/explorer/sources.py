"""What a page knows of sources beside the topics, as `lla.samplers.sources` has them.

    next      p(w | v) = (n_vw + (c + n_v - Σ_kept n_vw) p(w)) / (n_v + c)
    own_next  p(w | v, w_<t) = (m_vw + c p_next(w | v)) / (m_v + c)
    recent    p(w | w_<t) = (m_w + c p(w)) / (m + c)

v is the last word, and p(w) the smoothed unigram. Of the pairs of neighbours n_vw the page keeps
the most frequent; what it leaves out follows p(w), so that each source stays a distribution. The
text that is read is taken as new to the model: nothing of it is left out of the counts.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

MAX_COUNT = 2**16 - 1  # of a pair: 16 bits


class PageSources(NamedTuple):
    """Counts and parameters of S sources, over the V words of a page.

    Attributes
    ----------
    names : of the sources
    base : (V,) p(w), float32 as the page has it
    offsets : (V+1,) where the pairs that begin with each word start
    followers, counts : (pairs,) the word that follows, rising within a row, and n_vw
    totals : (V,) n_v, float32
    concentrations : c of next, own_next and recent
    decay : factor by which one more event shrinks a weight of `recent`
    """

    names: tuple[str, ...]
    base: np.ndarray
    offsets: np.ndarray
    followers: np.ndarray
    counts: np.ndarray
    totals: np.ndarray
    concentrations: tuple[float, float, float]
    decay: float

    def next_chance(self, last: int | None, word: int) -> float:
        """p_next of a word; `last` is None at the beginning."""
        base = float(self.base[word])
        if last is None:
            return base
        row = slice(self.offsets[last], self.offsets[last + 1])
        counts, total = self.counts[row], float(self.totals[last])
        n = float(counts[self.followers[row] == word].sum())
        c = self.concentrations[0]
        return (n + (c + total - float(counts.sum())) * base) / (total + c)


def page_sources(sources: Any, chosen: np.ndarray, n_pairs: int) -> PageSources:
    """What a page of the words `chosen` (ids, rising) holds, with at most `n_pairs` pairs.

    Parameters
    ----------
    sources : a `lla.inference.emission.sources.Sources`
    """
    n_words = len(sources.word_count)
    number = np.full(n_words, -1)
    number[chosen] = np.arange(len(chosen))
    before = number[np.repeat(np.arange(n_words), np.diff(sources.first))]
    after, counts = number[sources.follower], np.minimum(sources.count, MAX_COUNT)
    known = np.flatnonzero((before >= 0) & (after >= 0))
    if len(known) > n_pairs:
        known = np.sort(known[np.argsort(-counts[known], kind="stable")[:n_pairs]])
    totals = np.zeros(n_words)
    np.add.at(totals, np.repeat(np.arange(n_words), np.diff(sources.first)), sources.count)
    base = sources.unigram()[chosen]
    learned = sources.parameters
    return PageSources(
        names=sources.names,
        base=(base / base.sum()).astype(np.float32),
        offsets=np.append(0, np.cumsum(np.bincount(before[known], minlength=len(chosen)))),
        followers=after[known],
        counts=counts[known],
        totals=totals[chosen].astype(np.float32),
        concentrations=(learned.next, learned.own_next, learned.recent),
        decay=learned.decay,
    )


class Trail:
    """What a document's own words say so far; a step costs the same however long it is."""

    def __init__(self, sources: PageSources) -> None:
        self.sources = sources
        self.last: int | None = None
        self.n_words = 0
        self._pairs: Counter[tuple[int, int]] = Counter()  # m_vw
        self._followed: Counter[int] = Counter()  # m_v
        self._weight: dict[int, tuple[float, int]] = {}  # m_w when it was last seen, and when
        self._mass = 0.0

    def likelihood(self, word: int) -> list[float]:
        """p_j(word) of every source."""
        sources, last = self.sources, self.last
        _, c_own, c_recent = sources.concentrations
        found = {"next": sources.next_chance(last, word)}
        m_vw, m_v = (0, 0) if last is None else (self._pairs[last, word], self._followed[last])
        found["own_next"] = (m_vw + c_own * found["next"]) / (m_v + c_own)
        m_w = self._weight_now(word)
        found["recent"] = (m_w + c_recent * float(sources.base[word])) / (self._mass + c_recent)
        return [found[name] for name in sources.names]

    def add(self, word: int) -> None:
        """One more word."""
        weight = 1.0 + self.sources.decay * self._weight_now(word)
        if self.last is not None:
            self._pairs[self.last, word] += 1
            self._followed[self.last] += 1
        self._mass = 1.0 + self.sources.decay * self._mass
        self._weight[word] = weight, self.n_words
        self.last, self.n_words = word, self.n_words + 1

    def _weight_now(self, word: int) -> float:
        """m_w before the next word."""
        weight, at = self._weight.get(word, (0.0, 0))
        return weight * self.sources.decay ** (self.n_words - 1 - at)

    def mix(self, share: Sequence[float]) -> np.ndarray:
        """Σ_j share_j p_j(w) of all words, (V,)."""
        rows = [self.likelihood(w) for w in range(len(self.sources.base))]
        return np.array(rows) @ np.asarray(share)
