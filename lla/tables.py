"""φ and τ of the personal emission given topics: tables are drawn, and the rest follows.

A token of topic k either repeats one of its document's own or opens a table, whose word comes
from φ (Antoniak, 1974). So what a document repeats counts once in φ: with t_dwk tables of word w,
φ_wk = (Σ_d t_dwk + β)/(Σ_dv t_dvk + Vβ); and τ weighs tables against tokens.
"""

from dataclasses import dataclass

import numpy as np

from lla.emission import phi_from_counts, topic_counts
from lla.streams import Use, stream
from lla.urns import urn_ranks

BOUNDS = 1e-6, 1e12  # of τ


@dataclass(frozen=True)
class Tables:
    """What the personal emission follows from, besides words and topics.

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
    start : where τ starts, and the mode of its prior
    per_topic : one τ a topic, or one for all
    learn : False leaves τ where it starts
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
    n_sweeps: int,
    seed: int,
    key: tuple[int, ...],
) -> Tables:
    """Tables of the assignments `topics` (N,), and τ: rounds of tables given φ and τ, then these.

    The first φ counts every word once a document and topic.

    Parameters
    ----------
    words, offsets : (N,), (D+1,)
    tau : (K,) where τ stands
    seed, key : the stream (seed, Use.TABLES, *key, sweep) holds a uniform a token
    """
    n_topics = len(tau)
    same_topic, same_both = urn_ranks(words, offsets, topics, n_words, n_topics)
    opened = same_both == 0
    for sweep in range(n_sweeps):
        phi = phi_from_counts(*topic_counts(words[opened], topics[opened], n_words, n_topics), beta)
        uniforms = stream(seed, Use.TABLES, *key, sweep).random(len(words), np.float32)
        opened = uniforms < opening_probability(tau[topics] * phi[words, topics], same_both)
        if config.learn:
            tau = likeliest_tau(opened, topics, same_topic, n_topics, config)
    return Tables(opened, tau)


def opening_probability(base: np.ndarray, same_both: np.ndarray) -> np.ndarray:
    """Probability that a token opened a table, given all words and topics, (N,).

    Parameters
    ----------
    base : (N,) τ_k φ_wk
    same_both : (N,) earlier tokens of its document with its word and topic; the first one opens
    """
    return np.where(same_both == 0, 1.0, base / (base + same_both))


def likeliest_tau(
    opened: np.ndarray,
    topics: np.ndarray,
    same_topic: np.ndarray,
    n_topics: int,
    config: TauConfig,
) -> np.ndarray:
    """τ (K,) of highest posterior density of log τ given the tables.

    A token with r = n_dk before it opens a table with probability τ/(τ + r), so that with T tables

        T + 1 = Σ_t τ/(τ + r_t) + τ/τ_0,

    the 1 and τ/τ_0 being those of a Gamma prior of mean τ_0. The right side rises with τ: there is
    one root, and bisection finds it.

    Parameters
    ----------
    opened, topics, same_topic : (N,); the last holds r
    """
    group = topics.astype(np.int64) if config.per_topic else np.zeros(len(topics), np.int64)
    n_groups = n_topics if config.per_topic else 1
    tables = np.bincount(group[opened], minlength=n_groups)
    most = int(same_topic.max(initial=0)) + 1
    pairs, count = np.unique(group * most + same_topic, return_counts=True)
    group, rank = np.divmod(pairs, most)
    low, high = (np.full(n_groups, np.log(bound)) for bound in BOUNDS)
    for _ in range(60):
        middle = (low + high) / 2
        tau = np.exp(middle)
        expected = np.bincount(group, count * tau[group] / (tau[group] + rank), n_groups)
        above = tables + 1 > expected + tau / config.start
        low, high = np.where(above, middle, low), np.where(above, high, middle)
    return np.broadcast_to(np.exp(low), n_topics).copy()
