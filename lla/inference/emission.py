"""p(w | z): how a topic emits words. Whoever needs it asks the emission and knows no more.

Documents that stand side by side in lock-step begin with `emission.begin`, which gives what holds
for them as they move on: the likelihood of their words, and the probability of every other word.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from lla.common.random import StreamId, stream
from lla.samplers.lda import phi_from_counts, topic_counts
from lla.samplers.personal import (
    add_own_words,
    previous_occurrence,
    urn_advance,
    urn_likelihood,
    urn_ranks,
)

CELLS = 2**20  # of φ that are computed at once


def phi_tensor(word_topic: np.ndarray, topic_total: np.ndarray, beta: float) -> Tensor:
    """`phi_from_counts` rounded to float32, some words at a time: no (V, K) array of float64."""
    n_words, n_topics = word_topic.shape
    phi, size = np.empty((n_words, n_topics), np.float32), max(1, CELLS // n_topics)
    for first in range(0, n_words, size):
        rows = slice(first, first + size)
        phi[rows] = (word_topic[rows] + beta) / (topic_total + n_words * beta)
    return torch.from_numpy(phi)


@dataclass(frozen=True)
class Emission:
    """What every emission is made of, and tells.

    Attributes
    ----------
    phi : (V, K) float32
    history_dependent : whether a word's probability depends on earlier topics as well as its own;
        then no model is exact without all topic histories
    """

    phi: Tensor
    history_dependent: ClassVar[bool] = False

    def arrays(self) -> tuple[Tensor, ...]:
        """All that it predicts with, φ first."""
        return (self.phi,)

    def entropy(self) -> float:
        """Mean entropy of a topic's words, nats; topics that say less about words have more."""
        parts = self.phi.split(max(1, CELLS // len(self.phi)), dim=1)  # a (V, ·) each
        found = [torch.special.xlogy(p, p).sum(dim=0) for p in (part.double() for part in parts)]
        return -float(torch.cat(found).mean())

    def summary(self) -> dict[str, float]:
        """What the history of a fit says of it."""
        return {"topic_entropy": self.entropy()}


@dataclass(frozen=True)
class SharedEmission(Emission):
    """The paper's emission: p(w | z = k) = φ_wk, the same for every document."""

    @classmethod
    def from_assignments(
        cls, words: np.ndarray, topics: np.ndarray, n_words: int, n_topics: int, beta: float
    ) -> "SharedEmission":
        """The closed-form M-step: φ from the counts of `topics` (N,) on `words` (N,)."""
        return cls(phi_tensor(*topic_counts(words, topics, n_words, n_topics), beta))

    def begin(self, words: np.ndarray, lengths: np.ndarray, n_particles: int) -> "SharedLanes":
        """Lanes at their beginnings: documents `words` (T, L) int64 of `lengths` (L,)."""
        return SharedLanes(self.phi, torch.from_numpy(words))

    def likelihood(self, words: Tensor) -> Tensor:
        """p(w | z = k) of each lane's word: (L,) ids -> (L, K)."""
        return self.phi.index_select(0, words)


@dataclass(frozen=True)
class SharedLanes:
    """Documents side by side under a φ that knows none of them; words (T, L)."""

    phi: Tensor
    words: Tensor

    def likelihood(self, t: int, n_lanes: int) -> np.ndarray:
        """p(w_t | z_t = k) of the first lanes' words, (L, K)."""
        return self.phi.index_select(0, self.words[t, :n_lanes]).numpy()

    def advance(self, t: int, topics: np.ndarray, ancestors: np.ndarray) -> None:
        """The topics of token t are drawn: nothing here hangs on them."""

    def predict(self, t: int, lanes: np.ndarray, theta: Tensor, weights: np.ndarray) -> Tensor:
        """p(w_t = v | w_<t) of all words v for the lanes numbered `lanes` (B,), (B, V).

        Parameters
        ----------
        theta : (L·P, K), or (L, K) where a lane's particles share it
        weights : (L, P) of the particles before token t
        """
        return _mixed(theta, weights, lanes) @ self.phi.T


@dataclass(frozen=True)
class PersonalEmission(Emission):
    """Every document has its own words in a topic: p(w | z = k) = (n_dwk + τ_k φ_wk)/(n_dk + τ_k).

    n_dwk and n_dk count the document's tokens so far: a Pólya urn a document and topic, the
    Dirichlet compound multinomial of Doyle & Elkan (2009) inside LLA. τ → ∞ is `SharedEmission`.

    Attributes
    ----------
    tau : (K,) float32, in words: after so many of a topic, a document's own count half
    """

    tau: Tensor
    history_dependent: ClassVar[bool] = True

    @classmethod
    def from_tables(
        cls,
        words: np.ndarray,
        topics: np.ndarray,
        opened: np.ndarray,
        tau: np.ndarray,
        n_words: int,
        beta: float,
    ) -> "PersonalEmission":
        """φ from the tokens that opened a table, `opened` (N,) bool, alone; τ (K,)."""
        counts = topic_counts(words[opened], topics[opened], n_words, len(tau))
        return cls(phi_tensor(*counts, beta), torch.from_numpy(tau.astype(np.float32)))

    def arrays(self) -> tuple[Tensor, ...]:
        """φ and τ, one number where topics share it."""
        return (self.phi, self.tau[:1] if (self.tau == self.tau[0]).all() else self.tau)

    def summary(self) -> dict[str, float]:
        """Its entropy, and the mean of τ."""
        return {**super().summary(), "tau": float(self.tau.double().mean())}

    def begin(self, words: np.ndarray, lengths: np.ndarray, n_particles: int) -> "PersonalLanes":
        """Lanes at their beginnings: documents `words` (T, L) int64 of `lengths` (L,)."""
        return PersonalLanes(self, words, lengths, n_particles)


class PersonalLanes:
    """Documents side by side with the topic histories of their particles.

    Parameters
    ----------
    words, lengths : (T, L) and (L,)
    """

    def __init__(
        self, emission: PersonalEmission, words: np.ndarray, lengths: np.ndarray, n_particles: int
    ) -> None:
        steps, n_lanes = words.shape
        n_words, n_topics = emission.phi.shape
        self.emission, self.words, self.n_particles = emission, words, n_particles
        self.phi, self.tau = emission.phi.numpy(), emission.tau.numpy()
        self.previous = previous_occurrence(words, lengths, n_words)
        self.history = np.zeros((n_lanes * n_particles, steps), np.int32)
        self.totals = np.zeros((n_lanes * n_particles, n_topics), np.int32)  # n_dk
        self._out = np.empty((n_lanes * n_particles, n_topics), np.float32)

    def likelihood(self, t: int, n_lanes: int) -> np.ndarray:
        """p(w_t | z_t = k, history) of the first lanes' words for each of their particles."""
        out = self._out[: n_lanes * self.n_particles]  # (L·P, K)
        urns = self.phi, self.tau, self.history, self.totals
        urn_likelihood(self.words, self.previous, t, *urns, out)
        return out

    def advance(self, t: int, topics: np.ndarray, ancestors: np.ndarray) -> None:
        """The topics of token t are drawn, (L·P,) as their ancestors: histories go on from them."""
        urn_advance(t, topics, ancestors, self.n_particles, self.history, self.totals)

    def predict(self, t: int, lanes: np.ndarray, theta: Tensor, weights: np.ndarray) -> Tensor:
        """p(w_t = v | w_<t) of all words v, (B, V); see `SharedLanes.predict`.

        Σ_p W_p Σ_k θ_pk τ_k/(n_pk + τ_k) φ_vk is one product for all particles; beyond it there
        are only the document's own words.
        """
        tau = self.emission.tau
        n_lanes, n_particles = weights.shape
        share = tau / (torch.from_numpy(self.totals[: n_lanes * n_particles]) + tau)  # (L·P, K)
        each = theta.view(n_lanes, -1, theta.shape[1]) * share.view(n_lanes, n_particles, -1)
        mixed = _mixed(each.flatten(0, 1), weights, lanes)
        scores = mixed @ self.emission.phi.T
        urns = self.tau, self.history, self.totals
        add_own_words(self.words, t, lanes, weights, theta.numpy(), *urns, scores.numpy())
        return scores


def _mixed(theta: Tensor, weights: np.ndarray, lanes: np.ndarray) -> Tensor:
    """Σ_p W_p θ_p of the chosen lanes, (B, K)."""
    theta = theta.view(len(weights), -1, theta.shape[1])[lanes]  # (B, P or 1, K)
    if theta.shape[1] == 1:
        return theta[:, 0]
    return torch.einsum("bp,bpk->bk", torch.from_numpy(weights[lanes]).float(), theta)


class SharedWords:
    """p(v | z = k) = φ_vk, whatever came before."""

    personal = False

    def __init__(self, phi: torch.Tensor) -> None:
        self.phi = phi  # (V, K)

    def likelihood(self, word: int) -> np.ndarray:
        """p(word | z = k) for every particle, (1, K): all have the same."""
        return self.phi[word : word + 1].numpy()

    def mixed(self, weights: np.ndarray) -> np.ndarray:
        """Σ_p Σ_k weights_pk p(v | k), (V,) float32; weights (P, K) float64."""
        return torch.mv(self.phi, _float32(weights.sum(axis=0))).numpy()

    def draw(self, topics: np.ndarray, uniforms: np.ndarray) -> np.ndarray:
        """A word of each particle's topic, (P,) ids."""
        words = np.empty(len(topics), np.int64)
        for k in np.unique(topics):
            chosen = topics == k
            running = np.cumsum(self.phi[:, k].numpy(), dtype=np.float64)
            words[chosen] = place(running, uniforms[chosen])
        return words

    def remember(self, words: np.ndarray, topics: np.ndarray) -> None:
        """Nothing is kept."""

    def fork(self, particles: np.ndarray) -> "SharedWords":
        """The same for particles `particles` (M,) of these."""
        return self


class PersonalWords(SharedWords):
    """(n_vk + τ_k φ_vk)/(n_k + τ_k), counted by each particle from the events it has topics for.

    Attributes
    ----------
    words, topics : (P, T) events so far, and each particle's topics of them
    total : (P, K) n_k
    """

    personal = True

    def __init__(self, phi: torch.Tensor, tau: torch.Tensor, n_particles: int) -> None:
        super().__init__(phi)
        self.tau = tau.double().numpy()
        self._n = 0
        self._room = np.zeros((2, n_particles, 64), np.int64)
        self.total = np.zeros((n_particles, len(self.tau)))

    @property
    def words(self) -> np.ndarray:
        return self._room[0, :, : self._n]

    @property
    def topics(self) -> np.ndarray:
        return self._room[1, :, : self._n]

    def likelihood(self, word: int) -> np.ndarray:
        """p(word | z = k) for every particle, (P, K)."""
        n_particles, n_topics = self.total.shape
        particle, event = np.nonzero(self.words == word)
        cells = particle * n_topics + self.topics[particle, event]
        own = np.bincount(cells, minlength=n_particles * n_topics).reshape(n_particles, n_topics)
        base = self.phi[word].double().numpy()
        return ((own + self.tau * base) / (self.total + self.tau)).astype(np.float32)

    def mixed(self, weights: np.ndarray) -> np.ndarray:
        """Σ_p Σ_k weights_pk p(v | k, history of p), (V,): φ's part, and the own events'."""
        scale = weights / (self.total + self.tau)  # (P, K)
        base = super().mixed(scale * self.tau).astype(np.float64)
        own = np.take_along_axis(scale, self.topics, axis=1)  # (P, T): one event of n_vk each
        return base + np.bincount(self.words.ravel(), own.ravel(), minlength=len(base))

    def draw(self, topics: np.ndarray, uniforms: np.ndarray) -> np.ndarray:
        """An own event of the topic again, with probability n_k/(n_k + τ_k); else a word of φ_k."""
        rows = np.arange(len(topics))
        n, tau = self.total[rows, topics], self.tau[topics]
        target = uniforms * (n + tau)
        again = target < n
        running = np.cumsum(self.topics == topics[:, None], axis=1)  # (P, T)
        words = super().draw(topics, np.clip((target - n) / tau, 0.0, np.nextafter(1.0, 0.0)))
        event = (running <= np.floor(target)[:, None]).sum(axis=1)
        words[again] = self.words[again, event[again]]
        return words

    def remember(self, words: np.ndarray, topics: np.ndarray) -> None:
        """Count one more event of every particle: words and topics (P,)."""
        if self._n == self._room.shape[2]:
            self._room = np.concatenate([self._room, np.zeros_like(self._room)], axis=2)
        self._room[0, :, self._n], self._room[1, :, self._n] = words, topics
        self._n += 1
        self.total[np.arange(len(topics)), topics] += 1.0

    def fork(self, particles: np.ndarray) -> "PersonalWords":
        """A copy for particles `particles` (M,) of these: each may go another way from here."""
        other = object.__new__(PersonalWords)
        other.phi, other.tau, other._n = self.phi, self.tau, self._n
        other._room, other.total = self._room[:, particles], self.total[particles]
        return other


def incremental_emission(
    emission: SharedEmission | PersonalEmission, n_particles: int
) -> SharedWords:
    """Incremental form of `emission`, at the start of a history."""
    phi = emission.phi.detach().float().contiguous()
    if not emission.history_dependent:
        return SharedWords(phi)
    return PersonalWords(phi, emission.tau.detach(), n_particles)


def place(running: np.ndarray, uniforms: np.ndarray) -> np.ndarray:
    """Index at which a running sum first exceeds each uniform's share of the whole.

    Rounding may not lead past the end, nor to an index of weight zero.
    """
    targets = np.minimum(uniforms * running[-1], np.nextafter(running[-1], 0.0))
    return np.searchsorted(running, targets, side="right")


def _float32(values: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(values.astype(np.float32))


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
    seed, key : the stream (seed, StreamId.TABLES, *key, sweep) holds a uniform a token
    """
    n_topics = len(tau)
    same_topic, same_both = urn_ranks(words, offsets, topics, n_words, n_topics)
    opened = same_both == 0
    for sweep in range(n_sweeps):
        phi = phi_from_counts(*topic_counts(words[opened], topics[opened], n_words, n_topics), beta)
        uniforms = stream(seed, StreamId.TABLES, *key, sweep).random(len(words), np.float32)
        opened = uniforms < opening_probability(tau[topics] * phi[words, topics], same_both)
        if config.learn:
            tau = map_tau(opened, topics, same_topic, n_topics, config)
    return Tables(opened, tau)


def opening_probability(base: np.ndarray, same_both: np.ndarray) -> np.ndarray:
    """Probability that a token opened a table, given all words and topics, (N,).

    Parameters
    ----------
    base : (N,) τ_k φ_wk
    same_both : (N,) earlier tokens of its document with its word and topic; the first one opens
    """
    return np.where(same_both == 0, 1.0, base / (base + same_both))


def map_tau(
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
