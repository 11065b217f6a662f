"""Model size: parameters as the paper counts them, and bytes."""

from dataclasses import dataclass

import numpy as np
from safetensors.numpy import save
from scipy.sparse import csr_array


@dataclass(frozen=True)
class Size:
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
