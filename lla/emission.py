"""p(w | z): how a topic emits words. Whoever needs it asks the emission and knows no more."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lla.samplers import count_topics


def topic_counts(
    words: np.ndarray, topics: np.ndarray, n_words: int, n_topics: int
) -> tuple[np.ndarray, np.ndarray]:
    """n_wk (V, K) and n_k (K,), int64, of assignments `topics` (N,) to `words` (N,)."""
    word_topic = np.empty((n_words, n_topics), np.int64)
    topic_total = np.empty(n_topics, np.int64)
    count_topics(words, topics, word_topic, topic_total)
    return word_topic, topic_total


def phi_from_counts(word_topic: np.ndarray, topic_total: np.ndarray, beta: float) -> np.ndarray:
    """φ_wk = (n_wk + β)/(n_k + Vβ), (V, K) float64, each column summing to 1 (Algorithm 1, line 9).

    With β > 0 this is the posterior mean; the paper calls it the maximiser.
    """
    n_words = word_topic.shape[0]
    return (word_topic + beta) / (topic_total + n_words * beta)


@dataclass(frozen=True)
class SharedEmission:
    """The paper's emission: p(w | z = k) = φ_wk, the same for every document.

    Attributes
    ----------
    phi : (V, K) float32
    """

    phi: Tensor

    @classmethod
    def from_assignments(
        cls, words: np.ndarray, topics: np.ndarray, n_words: int, n_topics: int, beta: float
    ) -> "SharedEmission":
        """The closed-form M-step: φ from the counts of `topics` (N,) on `words` (N,)."""
        phi = phi_from_counts(*topic_counts(words, topics, n_words, n_topics), beta)
        return cls(torch.from_numpy(phi.astype(np.float32)))

    def likelihood(self, words: Tensor) -> Tensor:
        """p(w | z = k) of each lane's word: (L,) ids -> (L, K)."""
        return self.phi.index_select(0, words)

    def entropy(self) -> float:
        """Mean entropy of a topic's words, nats; topics that say less about words have more."""
        phi = self.phi.double()
        return float(-torch.special.xlogy(phi, phi).sum(dim=0).mean())
