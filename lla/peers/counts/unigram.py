"""The uniform distribution and the unigram: the same at every position."""

from dataclasses import dataclass
from time import perf_counter

import numpy as np

from lla.common.errors import check_each, check_function, check_prior
from lla.corpus import Split
from lla.evaluate import ScoreCallback, Size
from lla.evaluate.perplexity import SCORES
from lla.peers.counts.shared import Counted, check_split, checked, unigram_probability


@dataclass(frozen=True)
class UnigramConfig:
    """`smoothing` : a, added to each word's count."""

    smoothing: float = 1.0

    def __post_init__(self) -> None:
        check_each(self, check_prior, "smoothing")


@dataclass(frozen=True, repr=False)
class Unigram(Counted):
    """`probability` : (V,), the same at every position."""

    probability: np.ndarray

    def score(self, split: Split, *, seed: int = 0) -> np.ndarray:
        """log p(held-out words) of every document, (D,) nats."""
        check_split(split, self.vocabulary, self.probability)
        return split.sum_held_out(np.log(self.probability)[split.corpus.words])

    def next_items(self, split: Split, on_scores: ScoreCallback, *, seed: int = 0) -> None:
        """Hand `on_scores` the same probabilities, float32, for all held-out positions."""
        check_split(split, self.vocabulary, self.probability)
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
    config = checked(split, config, UnigramConfig, seed, unused)
    start = perf_counter()
    probability = unigram_probability(split, config.smoothing)
    return Unigram(probability, seconds=perf_counter() - start, vocabulary=split.corpus.vocabulary)


@dataclass(frozen=True)
class UniformConfig:
    """The uniform distribution has no settings."""


class Uniform(Unigram):
    """All words alike: V is its perplexity."""

    def size(self) -> Size:
        """Nothing was learned."""
        return Size(0, 0, 0)


def fit_uniform(
    split: Split, config: UniformConfig | None = None, seed: int = 0, **unused: object
) -> Uniform:
    """p(w) = 1/V; nothing is counted."""
    checked(split, config, UniformConfig, seed, unused)
    n_words = split.corpus.n_words
    return Uniform(np.full(n_words, 1 / n_words), vocabulary=split.corpus.vocabulary)
