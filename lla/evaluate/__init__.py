"""Perplexity, ranking, model size; and the interface of everything that has been fitted."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from safetensors.numpy import save
from scipy.sparse import csr_array

from lla.common.display import Summarized
from lla.corpus import Split

# Positions (B,) in split.corpus.words and scores (B, V) float32. Calls come one at a time.
ScoreCallback = Callable[[np.ndarray, np.ndarray], None]


@dataclass(frozen=True, repr=False)
class Size(Summarized):
    """A model's size.

    Attributes
    ----------
    network : parameters of the network; the start symbol and Torch's second bias are left out
    phi : parameters of the emission: its non-zero counts, as the paper counts them, and τ
    n_bytes : of the file that holds both, weights in float32, counts in compressed rows
    """

    network: int
    phi: int
    n_bytes: int

    @property
    def parameters(self) -> int:
        """All parameters."""
        return self.network + self.phi


def size_of_counts(word_topic: np.ndarray) -> Size:
    """Size of φ alone, from the counts n_wk (V, K): LDA's, and an LLA's without its network."""
    counts = csr_array(word_topic.astype(np.int32))
    parts = {name: getattr(counts, name) for name in ("data", "indices", "indptr")}
    return Size(0, counts.nnz, len(save(parts)))


class Fitted(Protocol):
    """The interface of every fitted model.

    Attributes
    ----------
    history : one row per iteration; may be empty
    seconds : of training
    """

    @property
    def history(self) -> list[dict[str, float]]: ...

    @property
    def seconds(self) -> float: ...

    def score(self, split: Split, *, seed: int = 0) -> np.ndarray:
        """log p(held-out words | observed words) of every document, (D,) nats."""
        ...

    def next_items(self, split: Split, on_scores: ScoreCallback, *, seed: int = 0) -> None:
        """Hand `on_scores` a row of scores per held-out token, batch after batch.

        Every held-out position comes once, in any order; a higher score is a likelier next item.
        Scores are probabilities, or logits where the model's ``gives_logits`` is true
        (`lla.evaluate.probabilities` makes probabilities of either).
        """
        ...

    def size(self) -> Size:
        """Parameters and bytes."""
        ...
