"""The parameters of a page: the LSTM's weights in 16 bits, and φ with few entries."""

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from lla.common.errors import InputError, NumericalError

PHI_SCALE = 2.0**14  # 16 bits hold 3.7e-9 to 1 with full precision, times this


@dataclass(frozen=True)
class Weights:
    """The weights of an LSTM, rounded to 16 bits; all arrays are float16.

    Attributes
    ----------
    topic_input : (K, E) what the LSTM reads of a topic: its embedding e_k
    source_input : (S, E) what it reads beside it where a source produced the item; None where there
        is no gate, or where the LSTM reads words
    start : (E,) embedding of the start symbol
    word_input : (V, E) embeddings of words; None where the LSTM reads topics
    input_weight, state_weight, bias : (4H, E), (4H, H), (4H,), gates in the order i, f, g, o
    output_weight, output_bias : (K, H), (K,); beside a gate 1 + S more rows, its own
    """

    topic_input: np.ndarray
    source_input: np.ndarray | None
    start: np.ndarray
    word_input: np.ndarray | None
    input_weight: np.ndarray
    state_weight: np.ndarray
    bias: np.ndarray
    output_weight: np.ndarray
    output_bias: np.ndarray

    def select(self, words: np.ndarray) -> "Weights":
        """The same with the embeddings of these words alone."""
        if self.word_input is None:
            return self
        return replace(self, word_input=self.word_input[words])


class CountWeights(NamedTuple):
    """How logits depend on what was counted so far (`lla.lstm.CountingOutput`).

    Attributes
    ----------
    exponent, prior : η and α, of topics and, beside a gate, of where items came from
    """

    exponent: tuple[float, ...]
    prior: tuple[float, ...]


def count_weights_of(network: Any) -> CountWeights | None:
    """Those of a fitted network; None where it counts nothing."""
    if not network.config.running_counts:
        return None
    output = network.output
    return CountWeights(tuple(output.exponent.tolist()), tuple(output.log_prior.exp().tolist()))


class SparsePhi(NamedTuple):
    """φ with few entries: those of each word that were kept, all others of a topic alike.

    Attributes
    ----------
    offsets : (V+1,) where the entries of each word start
    topics, values : (n,) topic and φ_wk of each entry
    rest : (K,) φ_wk of the words of a topic that have no entry; columns sum to 1
    """

    offsets: np.ndarray
    topics: np.ndarray
    values: np.ndarray
    rest: np.ndarray

    def rows(self, words: np.ndarray) -> np.ndarray:
        """φ of words (B,), (B, K) float64."""
        found = np.tile(self.rest, (len(words), 1))
        for row, w in zip(found, words, strict=True):
            kept = slice(self.offsets[w], self.offsets[w + 1])
            row[self.topics[kept]] = self.values[kept]
        return found

    def mix(self, theta: np.ndarray) -> np.ndarray:
        """p(w) = Σ_k θ_k φ_wk of all words, (V,); θ (K,)."""
        more = theta[self.topics] * (self.values - self.rest[self.topics])
        word = np.repeat(np.arange(len(self.offsets) - 1), np.diff(self.offsets))
        return np.bincount(word, more, len(self.offsets) - 1) + theta @ self.rest


def weights_of(network: Any, phi: np.ndarray) -> Weights:
    """The weights of a fitted network in 16 bits.

    Parameters
    ----------
    network : a `lla.lstm.Network` that predicts topics
    phi : (V, K)
    """
    import torch  # here: it is loaded where there is a network

    with torch.no_grad():
        table = network.input.table().detach().numpy()  # (inputs + 1, E), the start symbol last
        output = {k: value.detach().numpy() for k, value in network.output.named_parameters()}
        cell = {k: value.detach().numpy() for k, value in network.lstm.named_parameters()}
        origin = network.input.origin.detach().numpy() if network.config.reads_pairs else None
    reads_topics = network.config.input == "topic"
    # Beside a gate, the first K rows are those of topics that produced their items.
    embedded = table[: phi.shape[1]] if reads_topics else (phi.T @ table[:-1])
    return Weights(
        topic_input=to_half("the embeddings", embedded),
        source_input=None if origin is None else to_half("the embeddings", origin),
        start=to_half("the start symbol", table[-1]),
        word_input=None if reads_topics else to_half("the embeddings", table[:-1]),
        input_weight=to_half("the LSTM", cell["weight_ih_l0"]),
        state_weight=to_half("the LSTM", cell["weight_hh_l0"]),
        bias=to_half("the LSTM", cell["bias_ih_l0"] + cell["bias_hh_l0"]),
        output_weight=to_half("the output", output["weight"]),
        output_bias=to_half("the output", output["bias"]),
    )


def to_half(name: str, values: np.ndarray) -> np.ndarray:
    """`values` as float16; raise `NumericalError` where one is too large, infinite or NaN."""
    if not (np.abs(values) < 65504).all():
        raise NumericalError(
            f"model: a weight of {name} is not finite in 16 bits; train with a smaller "
            "learning_rate"
        )
    return np.asarray(values, np.float32).astype(np.float16)


def sparse_phi(phi: np.ndarray, n_entries: int, n_top: int) -> SparsePhi:
    """The entries of φ (V, K) that matter most, at most about `n_entries`.

    Kept are the `n_top` likeliest words of every topic, then the likeliest topics of every word
    until half the entries are used, then the largest of the others. Values are rounded to 16 bits.
    """
    n_words, n_topics = phi.shape
    if n_entries >= phi.size:
        keep = np.ones(phi.shape, bool)
    else:
        keep = _kept_entries(phi, n_entries, n_top)
    words, topics = np.nonzero(keep)
    values = (phi[keep] * PHI_SCALE).astype(np.float16).astype(np.float64) / PHI_SCALE
    n_kept = keep.sum(axis=0)
    kept_mass = np.bincount(topics, values, n_topics)
    left = np.maximum(phi.sum(axis=0, dtype=np.float64) - kept_mass, 0.0)
    rest = np.where(n_kept < n_words, left / np.maximum(n_words - n_kept, 1), 0.0)
    offsets = np.concatenate([[0], np.cumsum(np.bincount(words, minlength=n_words))])
    return SparsePhi(offsets, topics, values, rest)


def _kept_entries(phi: np.ndarray, n_entries: int, n_top: int) -> np.ndarray:
    """Which entries of φ are kept, (V, K) bool."""
    n_words, n_topics = phi.shape
    n_top = min(n_top, n_words)
    if n_top * n_topics > n_entries:
        raise InputError(f"n_entries is {n_entries}: give {n_top * n_topics} or more")
    keep = np.zeros(phi.shape, bool)
    for k in range(n_topics):
        keep[np.argpartition(-phi[:, k], n_top - 1)[:n_top], k] = True
    n_each = min(n_topics, (n_entries - n_top * n_topics) // 2 // n_words)
    if n_each > 0:
        for row, kept in zip(phi, keep, strict=True):
            kept[np.argpartition(-row, n_each - 1)[:n_each]] = True
    n_left = n_entries - int(keep.sum())
    if n_left > 0:
        others = np.where(keep, -1.0, phi).ravel()
        least = np.partition(others, len(others) - n_left)[len(others) - n_left]
        keep |= np.where(keep, -1.0, phi) > least  # ties at the bound are left out
    return keep
