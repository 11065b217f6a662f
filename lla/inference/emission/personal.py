"""The personal emission: words of a document's own within each topic, beside the shared φ."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lla.common.arrays import check_range
from lla.common.errors import InputError
from lla.inference.emission.shared import (
    FIRST_CAPACITY,
    Emission,
    SharedLanes,
    mean_theta,
    phi_tensor,
)
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
