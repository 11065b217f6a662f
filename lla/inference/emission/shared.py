"""The interface of all emissions, and the paper's own, a φ that all documents share."""

from dataclasses import dataclass, fields
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from lla.common.display import Summarized
from lla.common.parallel import ALONE, Workers
from lla.samplers.lda import topic_counts

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
