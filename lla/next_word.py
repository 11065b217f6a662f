"""p(v | z = k, history) while one history grows: what a topic emits to a user who is known so far.

A shared emission knows no history. A personal one counts, in every particle's own telling of it,

    p(v | z = k, w_<t, z_<t) = (n_vk + τ_k φ_vk) / (n_k + τ_k)

with n_vk the events of item v that this particle gave topic k, and n_k = Σ_v n_vk. It is asked in
four ways: of one item, of all items at once, for a draw, and to remember what came. Nothing
outside this file knows which of the two emissions it is.
"""

import numpy as np
import torch

from lla.emission import PersonalEmission, SharedEmission


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


def words_of(emission: SharedEmission | PersonalEmission, n_particles: int) -> SharedWords:
    """How `emission` speaks at the beginning of a history."""
    phi = emission.phi.detach().float().contiguous()
    if not emission.remembers:
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
