"""p(w | z, history): how a topic emits words. All other code goes through this interface.

`emission.lanes` gives the state of documents side by side (see `batch`): the likelihood of their
words token by token, the probabilities of all other words, and words drawn.
"""

from dataclasses import dataclass, fields
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from lla.common.arrays import check_range
from lla.common.errors import InputError
from lla.common.summary import Summarized
from lla.common.workers import ALONE, Workers
from lla.samplers.lda import topic_counts
from lla.samplers.personal import (
    Urns,
    add_own_words,
    find_previous,
    previous_occurrence,
    repeat_own_words,
    urn_advance,
    urn_likelihood,
)

MAX_CELLS = 2**20  # of φ that are computed at once


FIRST_CAPACITY = 64  # tokens of documents that grow; doubled when it is full


def phi_tensor(word_topic: np.ndarray, topic_total: np.ndarray, beta: float) -> Tensor:
    """`phi_from_counts` rounded to float32, some words at a time: no (V, K) array of float64."""
    n_words, n_topics = word_topic.shape
    phi = np.empty((n_words, n_topics), np.float32)
    size = max(1, MAX_CELLS // n_topics)
    for first in range(0, n_words, size):
        rows = slice(first, first + size)
        phi[rows] = (word_topic[rows] + beta) / (topic_total + n_words * beta)
    return torch.from_numpy(phi)


@dataclass(frozen=True, repr=False)
class Emission(Summarized):
    """Base class.

    Attributes
    ----------
    phi : (V, K) float32
    """

    phi: Tensor

    @property
    def history_dependent(self) -> bool:
        """Whether a word's probability depends on earlier topics as well as its own.

        Then no model is exact without all topic histories.
        """
        return False

    @property
    def reads_words(self) -> bool:
        """Whether a word's probability depends on the document's earlier words."""
        return self.history_dependent

    @property
    def source_names(self) -> tuple[str, ...]:
        """Names of the sources, the outcomes from K on; most emissions have none."""
        return ()

    @property
    def shape(self) -> tuple[int, int]:
        """V, and how many outcomes there are: K, and the sources where there are any."""
        n_words, n_topics = self.phi.shape
        return n_words, n_topics + len(self.source_names)

    def tensors(self) -> dict[str, Tensor]:
        """All parameters by name, as they are saved."""
        return {part.name: getattr(self, part.name) for part in fields(self)}

    def lanes(
        self,
        words: np.ndarray,
        lengths: np.ndarray,
        n_particles: int,
        counted: np.ndarray | None = None,
    ) -> "Lanes":
        """Documents side by side.

        Parameters
        ----------
        words : (T, L) int64
        lengths : (L,), which fall
        counted : (T, L) bool, tokens that the parameters were counted from, the first of each
            document: sources leave their own contribution out, and those of the tokens after them.
            None where none was
        """
        raise NotImplementedError

    def growing_lanes(self, n_particles: int, n_lanes: int = 1) -> "Lanes":
        """Documents whose words come one by one (`append`)."""
        raise NotImplementedError

    def arrays(self) -> tuple[Tensor, ...]:
        """All parameters, φ first."""
        return (self.phi,)

    def entropy(self) -> float:
        """Mean entropy of a topic's words, nats; topics that say less about words have more."""
        parts = self.phi.split(max(1, MAX_CELLS // len(self.phi)), dim=1)  # (V, ·) each
        found = [torch.special.xlogy(p, p).sum(dim=0) for p in (part.double() for part in parts)]
        return -float(torch.cat(found).mean())

    def summary(self) -> dict[str, float]:
        """Its columns of a fit's history."""
        return {"topic_entropy": self.entropy()}


@dataclass(frozen=True, repr=False)
class SharedEmission(Emission):
    """The paper's emission: p(w | z = k) = φ_wk, the same for every document."""

    @classmethod
    def from_assignments(
        cls,
        words: np.ndarray,
        topics: np.ndarray,
        n_words: int,
        n_topics: int,
        beta: float,
        workers: Workers = ALONE,
    ) -> "SharedEmission":
        """The closed-form M-step: φ from the counts of `topics` (N,) on `words` (N,).

        Each of the processes counts a part of the tokens.
        """
        part = workers.part(len(words))
        word_topic, topic_total = topic_counts(words[part], topics[part], n_words, n_topics)
        workers.add_up(word_topic)
        workers.add_up(topic_total)
        return cls(phi_tensor(word_topic, topic_total, beta))

    def lanes(
        self,
        words: np.ndarray,
        lengths: np.ndarray,
        n_particles: int,
        counted: np.ndarray | None = None,
    ) -> "SharedLanes":
        """Documents side by side: `words` (T, L) int64 of `lengths` (L,)."""
        return SharedLanes(self.phi, words)

    def growing_lanes(self, n_particles: int, n_lanes: int = 1) -> "SharedLanes":
        """Documents whose words come one by one (`append`)."""
        return SharedLanes(self.phi, np.empty((0, n_lanes), np.int64))


class SharedLanes:
    """Documents side by side under a shared φ.

    Attributes
    ----------
    words : (T, L); of documents that grow, the current word alone
    t : the row whose topics are drawn next
    """

    def __init__(self, phi: Tensor, words: np.ndarray) -> None:
        self.phi, self.words, self.t = phi, torch.from_numpy(words), 0

    def append(self, words: np.ndarray) -> None:
        """The next word of every lane, (L,); replaced by another `append` before `advance`."""
        self.words, self.t = torch.from_numpy(words)[None], 0

    def likelihood(self, n_lanes: int) -> np.ndarray:
        """p(w_t | z_t = k) of the first lanes' words, (L, K)."""
        return self.phi.index_select(0, self.words[self.t, :n_lanes]).numpy()

    def advance(self, topics: np.ndarray, ancestors: np.ndarray) -> None:
        """Go on to the next token; φ does not depend on the topics (L·P,) that were drawn."""
        self.t += 1

    def predict(self, lanes: np.ndarray, theta: Tensor, weights: np.ndarray) -> Tensor:
        """p(w_t = v | w_<t) of all words v for the lanes numbered `lanes` (B,), (B, V).

        Parameters
        ----------
        theta : (L·P, K), or (L, K) where a lane's particles share it
        weights : (L, P) of the particles before token t
        """
        return mean_theta(theta, weights, lanes) @ self.phi.T

    def predictive(self, weights: np.ndarray) -> np.ndarray:
        """Σ_p Σ_k weights_pk p(v | k), (V,) float32, of the only lane; weights (P, K) float64."""
        mean = torch.from_numpy(weights.sum(axis=0).astype(np.float32))
        return torch.mv(self.phi.contiguous(), mean).numpy()

    def draw(self, topics: np.ndarray, uniforms: np.ndarray) -> np.ndarray:
        """A word of each row's topic, (L·P,) ids."""
        words = np.empty(len(topics), np.int64)
        for k in np.unique(topics):
            chosen = topics == k
            cumulative = np.cumsum(self.phi[:, k].numpy(), dtype=np.float64)
            words[chosen] = inverse_cdf(cumulative, uniforms[chosen])
        return words

    def fork(self, rows: np.ndarray) -> "SharedLanes":
        """A copy for the particles `rows` (M,), each in a lane of its own."""
        return SharedLanes(self.phi, np.empty((0, len(rows)), np.int64))


@dataclass(frozen=True, repr=False)
class PersonalEmission(Emission):
    """Every document has its own words in a topic: p(w | z = k) = (n_dwk + τ_k φ_wk)/(n_dk + τ_k).

    n_dwk and n_dk count the document's tokens so far: a Pólya urn per document and topic, the
    Dirichlet compound multinomial of Doyle & Elkan (2009) inside LLA. τ → ∞ is `SharedEmission`.

    Attributes
    ----------
    tau : (K,) float32; after τ words of a topic, own counts weigh as much as φ
    """

    tau: Tensor

    def __post_init__(self) -> None:
        """Check what the kernels index: they check no bounds."""
        if self.tau.shape != self.phi.shape[1:]:
            raise InputError(
                f"tau: {tuple(self.tau.shape)}, phi: {tuple(self.phi.shape)}; give (K,) and (V, K)"
            )

    @property
    def history_dependent(self) -> bool:
        """Through n_dwk and n_dk."""
        return True

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
        """φ from the tokens that opened a table alone, `opened` (N,) bool; τ (K,)."""
        word_topic, topic_total = topic_counts(words[opened], topics[opened], n_words, len(tau))
        phi = phi_tensor(word_topic, topic_total, beta)
        return cls(phi, torch.from_numpy(tau.astype(np.float32)))

    def arrays(self) -> tuple[Tensor, ...]:
        """φ and τ, one number where topics share it."""
        return (self.phi, self.tau[:1] if (self.tau == self.tau[0]).all() else self.tau)

    def summary(self) -> dict[str, float]:
        """Its columns of a fit's history: the entropy, and the mean of τ."""
        return {**super().summary(), "tau": float(self.tau.double().mean())}

    def lanes(
        self,
        words: np.ndarray,
        lengths: np.ndarray,
        n_particles: int,
        counted: np.ndarray | None = None,
    ) -> "PersonalLanes":
        """Documents side by side: `words` (T, L) int64 of `lengths` (L,), which fall."""
        if (bad := check_range(words.ravel(), len(self.phi))) is not None:
            raise InputError(f"words: id {bad}, but V is {len(self.phi)}; give known words alone")
        previous = previous_occurrence(words, lengths, len(self.phi))
        return self._lanes(words, previous, n_particles)

    def growing_lanes(self, n_particles: int, n_lanes: int = 1) -> "PersonalLanes":
        """Documents whose words come one by one (`append`)."""
        words = np.zeros((FIRST_CAPACITY, n_lanes), np.int64)
        return self._lanes(words, np.zeros(words.shape, np.int32), n_particles)

    def _lanes(self, words: np.ndarray, previous: np.ndarray, n_particles: int) -> "PersonalLanes":
        n_tokens, n_rows = len(words), words.shape[1] * n_particles
        urns = Urns(
            words=words,
            previous=previous,
            history=np.zeros((n_rows, n_tokens), np.int32),
            common=np.zeros(words.shape[1], np.int64),
            totals=np.zeros((n_rows, len(self.tau)), np.int32),
            phi=self.phi.contiguous().numpy(),
            tau=self.tau.numpy(),
        )
        return PersonalLanes(self, urns)


class PersonalLanes:
    """Documents side by side with the topic histories of their particles; see `SharedLanes`."""

    def __init__(self, emission: PersonalEmission, urns: Urns, t: int = 0) -> None:
        self.emission, self.urns, self.t = emission, urns, t
        self._shared = SharedLanes(emission.phi, urns.words[:0])
        self._likelihood = np.empty(urns.totals.shape, np.float32)

    @property
    def n_particles(self) -> int:
        """P."""
        return len(self.urns.history) // self.urns.words.shape[1]

    def append(self, words: np.ndarray) -> None:
        """The next word of every lane, (L,); replaced by another `append` before `advance`."""
        if self.t == len(self.urns.words):
            self._double()
        self.urns.words[self.t] = words
        find_previous(self.urns.words, self.t, self.urns.previous)

    def likelihood(self, n_lanes: int) -> np.ndarray:
        """p(w_t | z_t = k, history) of the first lanes' words for each of their particles.

        Overwritten by the next call; (L·P, K) float32.
        """
        likelihood = self._likelihood[: n_lanes * self.n_particles]
        urn_likelihood(self.urns, self.t, likelihood)
        return likelihood

    def advance(self, topics: np.ndarray, ancestors: np.ndarray) -> None:
        """Every particle goes on from its ancestor's history with its topic of token t."""
        urn_advance(self.urns, self.t, topics, ancestors)
        self.t += 1

    def predict(self, lanes: np.ndarray, theta: Tensor, weights: np.ndarray) -> Tensor:
        """p(w_t = v | w_<t) of all words v, (B, V); see `SharedLanes.predict`.

        Σ_p W_p Σ_k θ_pk τ_k/(n_pk + τ_k) φ_vk is one product for all particles; beyond it there
        are only the document's own words.
        """
        tau = self.emission.tau
        n_lanes, n_particles = weights.shape
        totals = torch.from_numpy(self.urns.totals[: n_lanes * n_particles])
        share = tau / (totals + tau)  # (L·P, K)
        each = theta.view(n_lanes, -1, theta.shape[1]) * share.view(n_lanes, n_particles, -1)
        scores = mean_theta(each.flatten(0, 1), weights, lanes) @ self.emission.phi.T
        add_own_words(self.urns, self.t, lanes, weights, theta.numpy(), scores.numpy())
        return scores

    def predictive(self, weights: np.ndarray) -> np.ndarray:
        """Σ_p Σ_k weights_pk p(v | k, history of p), (V,); see `SharedLanes.predictive`."""
        tau = self.urns.tau.astype(np.float64)
        shared = self._shared.predictive(weights / (self.urns.totals + tau) * tau)
        own = np.zeros((1, len(shared)))
        only_lane, equal = np.zeros(1, np.int64), np.ones((1, len(weights)))
        add_own_words(self.urns, self.t, only_lane, equal, weights, own)
        return shared.astype(np.float64) + own[0]

    def draw(self, topics: np.ndarray, uniforms: np.ndarray) -> np.ndarray:
        """A word of each row's topic, (L·P,): one of its own again, or a new one from φ."""
        words, rest = np.empty(len(topics), np.int64), np.empty(len(topics))
        repeat_own_words(self.urns, self.t, topics, uniforms, words, rest)
        new = words < 0
        words[new] = self._shared.draw(topics[new], rest[new])
        return words

    def fork(self, rows: np.ndarray) -> "PersonalLanes":
        """A copy for the particles `rows` (M,), each in a lane of its own."""
        lanes = rows // self.n_particles
        urns = self.urns._replace(
            words=self.urns.words.take(lanes, axis=1),
            previous=self.urns.previous.take(lanes, axis=1),
            history=self.urns.history[rows],
            common=np.full(len(rows), self.t),  # a particle alone shares all with itself
            totals=self.urns.totals[rows],
        )
        return PersonalLanes(self.emission, urns, self.t)

    def _double(self) -> None:
        """Twice as much room for tokens."""
        urns = self.urns
        self.urns = urns._replace(
            words=np.concatenate([urns.words, np.zeros_like(urns.words)]),
            previous=np.concatenate([urns.previous, np.zeros_like(urns.previous)]),
            history=np.concatenate([urns.history, np.zeros_like(urns.history)], axis=1),
        )


class Lanes(Protocol):
    """Documents side by side under any emission; `SharedLanes` documents the methods."""

    def append(self, words: np.ndarray) -> None: ...

    def likelihood(self, n_lanes: int) -> np.ndarray: ...

    def advance(self, topics: np.ndarray, ancestors: np.ndarray) -> None: ...

    def predict(self, lanes: np.ndarray, theta: Tensor, weights: np.ndarray) -> Tensor: ...

    def predictive(self, weights: np.ndarray) -> np.ndarray: ...

    def draw(self, topics: np.ndarray, uniforms: np.ndarray) -> np.ndarray: ...

    def fork(self, rows: np.ndarray) -> "Lanes": ...


def mean_theta(theta: Tensor, weights: np.ndarray, lanes: np.ndarray) -> Tensor:
    """Σ_p W_p θ_p of the chosen lanes, (B, K)."""
    theta = theta.view(len(weights), -1, theta.shape[1])[lanes]  # (B, P or 1, K)
    if theta.shape[1] == 1:
        return theta[:, 0]
    return torch.einsum("bp,bpk->bk", torch.from_numpy(weights[lanes]).float(), theta)


def inverse_cdf(cumulative: np.ndarray, uniforms: np.ndarray) -> np.ndarray:
    """Index at which a running sum first exceeds each uniform's share of the total.

    Rounding may not lead past the end, nor to an index of weight zero.
    """
    targets = np.minimum(uniforms * cumulative[-1], np.nextafter(cumulative[-1], 0.0))
    return np.searchsorted(cumulative, targets, side="right")
