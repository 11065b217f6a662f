"""The page's rule: how it reads words and forecasts, in NumPy; `rule.js` does the same.

    θ_t = softmax(W_p s_t + b_p)             what is expected of the next topic
    q_k ∝ θ_tk φ_wk                          which topic the word w has, given the words before
    s_{t+1} = LSTM(s_t, x)                   x = e_k of the likeliest topic where topics are read,
                                             x = e_w where words or characters are read
    s_{t+h+1} = LSTM(s_{t+h}, Σ_k θ_k e_k)   steps ahead: the expected input in place of a draw

e_k is the embedding of topic k; where words are read, the mean embedding of its words. The model
itself carries many histories of topics (particles) and draws futures. Next topics are exact where
the LSTM reads words and φ is shared; elsewhere, and further ahead, they are approximate.
"""

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from lla.common.errors import InputError, NumericalError


@dataclass(frozen=True)
class Weights:
    """The weights of an LSTM, rounded to 16 bits; all arrays are float16.

    Attributes
    ----------
    topic_input : (K, E) what the LSTM reads of a topic: its embedding e_k
    start : (E,) embedding of the start symbol
    word_input : (V, E) embeddings of words; None where the LSTM reads topics
    input_weight, state_weight, bias : (4H, E), (4H, H), (4H,), gates in the order i, f, g, o
    output_weight, output_bias : (K, H), (K,)
    """

    topic_input: np.ndarray
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


class Reading(NamedTuple):
    """Documents side by side after each of T words.

    Attributes
    ----------
    theta : (T+1, B, K) p(next topic) before each word, and after the last
    posterior : (T, B, K) p(topic of the word | words up to it)
    state : h and c after the last word, (B, H) each
    """

    theta: np.ndarray
    posterior: np.ndarray
    state: tuple[np.ndarray, np.ndarray]


class Rule:
    """The rule with its weights, as float64."""

    def __init__(self, weights: Weights, phi: SparsePhi) -> None:
        self.phi = phi
        self.word_input = weights.word_input
        self.topic_input = weights.topic_input.astype(np.float64)
        self.start = weights.start.astype(np.float64)
        self.input_weight = weights.input_weight.astype(np.float64)
        self.state_weight = weights.state_weight.astype(np.float64)
        self.bias = weights.bias.astype(np.float64)
        self.output_weight = weights.output_weight.astype(np.float64)
        self.output_bias = weights.output_bias.astype(np.float64)

    def begin(self, n_documents: int) -> tuple[np.ndarray, np.ndarray]:
        """h and c after the start symbol, (B, H) each."""
        zero = np.zeros((n_documents, self.state_weight.shape[1]))
        return self.step(np.tile(self.start, (n_documents, 1)), (zero, zero))

    def step(
        self, x: np.ndarray, state: tuple[np.ndarray, np.ndarray]
    ) -> tuple[np.ndarray, np.ndarray]:
        """h and c after the input x (B, E)."""
        h, c = state
        i, f, g, o = np.split(x @ self.input_weight.T + h @ self.state_weight.T + self.bias, 4, 1)
        c = _sigmoid(f) * c + _sigmoid(i) * np.tanh(g)
        return _sigmoid(o) * np.tanh(c), c

    def theta(self, state: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
        """p(next topic), (B, K)."""
        logits = state[0] @ self.output_weight.T + self.output_bias
        weight = np.exp(logits - logits.max(axis=1, keepdims=True))
        return weight / weight.sum(axis=1, keepdims=True)

    def assign(self, theta: np.ndarray, words: np.ndarray) -> np.ndarray:
        """p(topic | word, words before), (B, K); θ itself where no topic can emit the word."""
        joint = theta * self.phi.rows(words)
        total = joint.sum(axis=1, keepdims=True)
        return np.where(total > 0, joint / np.where(total > 0, total, 1.0), theta)

    def input_of(self, posterior: np.ndarray, words: np.ndarray) -> np.ndarray:
        """What the LSTM reads after words (B,), (B, E)."""
        if self.word_input is None:
            return self.topic_input[posterior.argmax(axis=1)]
        return self.word_input[words].astype(np.float64)

    def read(self, words: np.ndarray) -> Reading:
        """Documents of equal length, words (T, B)."""
        state = self.begin(words.shape[1])
        theta, posterior = [self.theta(state)], []
        for row in words:
            posterior.append(self.assign(theta[-1], row))
            state = self.step(self.input_of(posterior[-1], row), state)
            theta.append(self.theta(state))
        found = np.stack(posterior) if posterior else np.empty((0, *theta[0].shape))
        return Reading(np.stack(theta), found, state)

    def ahead(self, state: tuple[np.ndarray, np.ndarray], steps: int) -> np.ndarray:
        """p(topic) of the next `steps` places, (steps, B, K)."""
        found = [self.theta(state)]
        while len(found) < steps:
            state = self.step(found[-1] @ self.topic_input, state)
            found.append(self.theta(state))
        return np.stack(found)

    def after_topics(self, steps: int) -> np.ndarray:
        """What is expected after each topic where it begins a sequence, (steps, K, K)."""
        return self.ahead(self.step(self.topic_input, self.begin(len(self.topic_input))), steps)

    def likeliest(self, words: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        """The likeliest topic of each word given those before, (T, B), of several lengths.

        Parameters
        ----------
        words : (T, B), any id past a document's end
        lengths : (B,) falling
        """
        state = self.begin(words.shape[1])
        topics = np.zeros(words.shape, np.int64)
        for t, row in enumerate(words):
            n = int(np.searchsorted(-lengths, -t, side="left"))
            h, c = state
            state = (h[:n], c[:n])
            posterior = self.assign(self.theta(state), row[:n])
            topics[t, :n] = posterior.argmax(axis=1)
            state = self.step(self.input_of(posterior, row[:n]), state)
        return topics


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 0.5 * (1.0 + np.tanh(0.5 * x))


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
    reads_topics = network.config.input == "topic"
    embedded = table[:-1] if reads_topics else (phi.T @ table[:-1])
    return Weights(
        topic_input=to_half("the embeddings", embedded),
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


PHI_SCALE = 2.0**14  # 16 bits hold 3.7e-9 to 1 with full precision, times this


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
