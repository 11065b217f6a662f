"""p(w | z): how a topic emits words. Whoever needs it asks the emission and knows no more.

Documents that stand side by side in lock-step begin with `emission.begin`, which gives what holds
for them as they move on: the likelihood of their words, and the probability of every other word.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from lla.samplers import count_topics
from lla.urns import add_own_words, same_before, urn_advance, urn_likelihood

CELLS = 2**20  # of φ that are computed at once


def topic_counts(
    words: np.ndarray, topics: np.ndarray, n_words: int, n_topics: int
) -> tuple[np.ndarray, np.ndarray]:
    """n_wk (V, K) int32 and n_k (K,) int64 of assignments `topics` (N,) to `words` (N,)."""
    word_topic = np.empty((n_words, n_topics), np.int32)
    topic_total = np.empty(n_topics, np.int64)
    count_topics(words, topics, word_topic, topic_total)
    return word_topic, topic_total


def phi_from_counts(word_topic: np.ndarray, topic_total: np.ndarray, beta: float) -> np.ndarray:
    """φ_wk = (n_wk + β)/(n_k + Vβ), (V, K) float64, each column summing to 1 (Algorithm 1, line 9).

    With β > 0 this is the posterior mean; the paper calls it the maximiser.
    """
    n_words = word_topic.shape[0]
    return (word_topic + beta) / (topic_total + n_words * beta)


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
    remembers : whether a word's probability hangs on the topics before it, and not on its own
        topic alone; then no model is exact without all topic histories
    """

    phi: Tensor
    remembers: ClassVar[bool] = False

    def arrays(self) -> tuple[Tensor, ...]:
        """All that it predicts with, φ first."""
        return (self.phi,)

    def entropy(self) -> float:
        """Mean entropy of a topic's words, nats; topics that say less about words have more."""
        parts = self.phi.split(max(1, CELLS // len(self.phi)), dim=1)  # a (V, ·) each
        found = [torch.special.xlogy(p, p).sum(dim=0) for p in (part.double() for part in parts)]
        return -float(torch.cat(found).mean())

    def told(self) -> dict[str, float]:
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
    remembers: ClassVar[bool] = True

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

    def told(self) -> dict[str, float]:
        """Its entropy, and the mean of τ."""
        return {**super().told(), "tau": float(self.tau.double().mean())}

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
        self.previous = same_before(words, lengths, n_words)
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
