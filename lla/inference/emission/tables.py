"""The tables of the personal emission: which tokens were drawn from φ, and τ, given the topics.

A token of a document and topic repeats one of its own earlier words or opens a table, that is,
takes a new word from φ (the Chinese restaurant of the Pólya urn). φ is counted from the tokens
that opened a table alone.
"""

from dataclasses import dataclass

import numpy as np

from lla.common.arrays import check_tokens
from lla.common.display import Summarized
from lla.common.random import StreamId, stream
from lla.samplers.lda import topic_counts
from lla.samplers.personal import urn_ranks

MIN_TAU, MAX_TAU = 1e-6, 1e12


@dataclass(frozen=True, repr=False)
class Tables(Summarized):
    """What the personal emission is computed from, besides words and topics.

    Attributes
    ----------
    opened : (N,) bool, the tokens that opened a table
    tau : (K,) float64
    """

    opened: np.ndarray
    tau: np.ndarray


@dataclass(frozen=True)
class TauConfig:
    """How τ is learned.

    Attributes
    ----------
    start : initial τ, and the mean of its prior
    per_topic : one τ per topic, or one for all
    learn : False keeps the initial τ
    """

    start: float = 10.0
    per_topic: bool = False
    learn: bool = True


def draw_tables(
    words: np.ndarray,
    offsets: np.ndarray,
    topics: np.ndarray,
    n_words: int,
    beta: float,
    tau: np.ndarray,
    config: TauConfig,
    *,
    n_sweeps: int,
    seed: int,
    key: tuple[int, ...],
) -> Tables:
    """Draw the tables of the assignments `topics` (N,), and fit τ.

    A sweep computes φ from the tables, draws the tables given φ and τ, and then maximises τ. The
    first φ counts every word once per document and topic.

    Parameters
    ----------
    words, offsets : (N,), (D+1,)
    tau : (K,) the current τ
    seed, key : the stream (seed, StreamId.TABLES, *key, sweep) holds one uniform per token
    """
    n_topics = len(tau)
    check_tokens(words, offsets, n_words, topics, n_topics)
    same_topic, same_both = urn_ranks(words, offsets, topics, n_words, n_topics)
    opened = same_both == 0
    for sweep in range(n_sweeps):
        word_topic, total = topic_counts(words[opened], topics[opened], n_words, n_topics)
        # φ of the tokens' own words and topics: no (V, K) array of float64
        phi = (word_topic[words, topics] + beta) / (total[topics] + n_words * beta)
        uniforms = stream(seed, StreamId.TABLES, *key, sweep).random(len(words), np.float32)
        opened = uniforms < opening_probability(tau[topics] * phi, same_both)
        if config.learn:
            tau = map_tau(opened, topics, same_topic, n_topics, config)
    return Tables(opened, tau)


def opening_probability(base: np.ndarray, same_both: np.ndarray) -> np.ndarray:
    """Probability that a token opened a table, given all words and topics, (N,).

    Parameters
    ----------
    base : (N,) τ_k φ_wk
    same_both : (N,) earlier tokens of its document with its word and topic; the first always opens
    """
    return np.where(same_both == 0, 1.0, base / (base + same_both))


def map_tau(
    opened: np.ndarray,
    topics: np.ndarray,
    same_topic: np.ndarray,
    n_topics: int,
    config: TauConfig,
) -> np.ndarray:
    """τ (K,) at the posterior mode of log τ given the tables.

    A token with r = n_dk before it opens a table with probability τ/(τ + r), so that with T tables

        T + 1 = Σ_t τ/(τ + r_t) + τ/τ_0,

    where 1 and τ/τ_0 come from a Gamma prior of mean τ_0. The right side rises with τ, so
    bisection finds the only root.

    Parameters
    ----------
    opened, topics, same_topic : (N,); the last holds r
    """
    group = topics.astype(np.int64) if config.per_topic else np.zeros(len(topics), np.int64)
    n_groups = n_topics if config.per_topic else 1
    tables = np.bincount(group[opened], minlength=n_groups)
    n_ranks = int(same_topic.max(initial=0)) + 1
    pairs, count = np.unique(group * n_ranks + same_topic, return_counts=True)
    group, rank = np.divmod(pairs, n_ranks)
    low, high = np.full(n_groups, np.log(MIN_TAU)), np.full(n_groups, np.log(MAX_TAU))
    for _ in range(60):
        middle = (low + high) / 2
        tau = np.exp(middle)
        expected = np.bincount(group, count * tau[group] / (tau[group] + rank), n_groups)
        above = tables + 1 > expected + tau / config.start
        low, high = np.where(above, middle, low), np.where(above, high, middle)
    return np.broadcast_to(np.exp(low), n_topics).copy()
