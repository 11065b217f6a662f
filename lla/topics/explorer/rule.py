"""The page's rule: how it reads words and forecasts, in NumPy; `rule.js` does the same.

    θ_t = softmax(W_p s_t + b_p)             what is expected of the next topic
    q_k ∝ θ_tk p(w | k)                      which topic the word w has, given the words before
    p(w | k) = φ_wk, or (n_wk + τ_k φ_wk)/(n_k + τ_k) of a personal emission, where n counts the
                                             words before, each by its likeliest topic
    s_{t+1} = LSTM(s_t, x)                   x = e_k of the likeliest topic where topics are read,
                                             x = e_w where words or characters are read
    s_{t+h+1} = LSTM(s_{t+h}, Σ_k θ_k e_k)   steps ahead: the expected input in place of a draw

e_k is the embedding of topic k; where words are read, the mean embedding of its words. The model
itself carries many histories of topics (particles) and draws futures. Next topics are exact where
the LSTM reads words and φ is shared; elsewhere, and further ahead, they are approximate.
"""

from typing import NamedTuple

import numpy as np

from lla.topics.explorer.weights import SparsePhi, Weights


class Urns:
    """What a personal emission keeps of B documents: how often each word had each topic.

    Parameters
    ----------
    tau : (K,) as in `lla.inference.emission.PersonalEmission`
    """

    def __init__(self, tau: np.ndarray, n_documents: int) -> None:
        self.tau = tau
        self.totals = np.zeros((n_documents, len(tau)))
        self._own: list[dict[int, np.ndarray]] = [{} for _ in range(n_documents)]

    def likelihood(self, rows: np.ndarray, words: np.ndarray) -> np.ndarray:
        """p(w | topic) of a word of each of the first documents, (B, K), from φ's rows."""
        n = len(words)
        own = np.stack([self._of(d, w) for d, w in enumerate(words)]) if n else rows
        return (own + self.tau * rows) / (self.totals[:n] + self.tau)

    def add(self, words: np.ndarray, topics: np.ndarray) -> None:
        """One more word of each of the first documents, with its topic."""
        for d, (w, k) in enumerate(zip(words.tolist(), topics.tolist(), strict=True)):
            self.totals[d, k] += 1
            self._own[d].setdefault(w, np.zeros(len(self.tau)))[k] += 1

    def mix(self, phi: SparsePhi, theta: np.ndarray) -> np.ndarray:
        """p(w) of all words for the first document, (V,); θ (K,)."""
        part = theta / (self.totals[0] + self.tau)
        found = phi.mix(part * self.tau)
        for w, counts in self._own[0].items():
            found[w] += counts @ part
        return found

    def _of(self, d: int, word: int) -> np.ndarray:
        found = self._own[d].get(int(word))
        return np.zeros(len(self.tau)) if found is None else found


class Reading(NamedTuple):
    """Documents side by side after each of T words.

    Attributes
    ----------
    theta : (T+1, B, K) p(next topic) before each word, and after the last
    posterior : (T, B, K) p(topic of the word | words up to it)
    state : h and c after the last word, (B, H) each
    urns : of a personal emission after the last word; None where φ is shared
    """

    theta: np.ndarray
    posterior: np.ndarray
    state: tuple[np.ndarray, np.ndarray]
    urns: Urns | None


class Rule:
    """The rule with its weights, as float64.

    Parameters
    ----------
    tau : (K,) of a personal emission; None where φ is shared
    """

    def __init__(self, weights: Weights, phi: SparsePhi, tau: np.ndarray | None = None) -> None:
        self.phi, self.tau = phi, tau
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
        gates = _product(x, self.input_weight) + _product(h, self.state_weight) + self.bias
        i, f, g, o = np.split(gates, 4, axis=1)
        c = _sigmoid(f) * c + _sigmoid(i) * np.tanh(g)
        return _sigmoid(o) * np.tanh(c), c

    def theta(self, state: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
        """p(next topic), (B, K)."""
        logits = _product(state[0], self.output_weight) + self.output_bias
        weight = np.exp(logits - logits.max(axis=1, keepdims=True))
        return weight / weight.sum(axis=1, keepdims=True)

    def begin_urns(self, n_documents: int) -> Urns | None:
        """The urns of documents without words; None where φ is shared."""
        return None if self.tau is None else Urns(self.tau, n_documents)

    def assign(self, theta: np.ndarray, words: np.ndarray, urns: Urns | None = None) -> np.ndarray:
        """p(topic | word, words before), (B, K); θ itself where no topic can emit the word.

        The word is added to the urns, where there are some.
        """
        rows = self.phi.rows(words)
        joint = theta * (rows if urns is None else urns.likelihood(rows, words))
        total = joint.sum(axis=1, keepdims=True)
        posterior = np.where(total > 0, joint / np.where(total > 0, total, 1.0), theta)
        if urns is not None:
            urns.add(words, posterior.argmax(axis=1))
        return posterior

    def input_of(self, posterior: np.ndarray, words: np.ndarray) -> np.ndarray:
        """What the LSTM reads after words (B,), (B, E)."""
        if self.word_input is None:
            return self.topic_input[posterior.argmax(axis=1)]
        return self.word_input[words].astype(np.float64)

    def read(self, words: np.ndarray) -> Reading:
        """Documents of equal length, words (T, B)."""
        state, urns = self.begin(words.shape[1]), self.begin_urns(words.shape[1])
        theta, posterior = [self.theta(state)], []
        for row in words:
            posterior.append(self.assign(theta[-1], row, urns))
            state = self.step(self.input_of(posterior[-1], row), state)
            theta.append(self.theta(state))
        found = np.stack(posterior) if posterior else np.empty((0, *theta[0].shape))
        return Reading(np.stack(theta), found, state, urns)

    def next_words(self, reading: Reading) -> np.ndarray:
        """p(next word) after the last word of the first document, (V,)."""
        theta = reading.theta[-1, 0]
        return self.phi.mix(theta) if reading.urns is None else reading.urns.mix(self.phi, theta)

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
        state, urns = self.begin(words.shape[1]), self.begin_urns(words.shape[1])
        topics = np.zeros(words.shape, np.int64)
        for t, row in enumerate(words):
            n = int(np.searchsorted(-lengths, -t, side="left"))
            h, c = state
            state = (h[:n], c[:n])
            posterior = self.assign(self.theta(state), row[:n], urns)
            topics[t, :n] = posterior.argmax(axis=1)
            state = self.step(self.input_of(posterior, row[:n]), state)
        return topics


def _product(x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """x (B, n) times the transpose of a weight (m, n), by Torch, whose threads can be limited."""
    import torch  # here: it is loaded where there is a network

    return torch.mm(torch.from_numpy(np.ascontiguousarray(x)), torch.from_numpy(weight).T).numpy()


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 0.5 * (1.0 + np.tanh(0.5 * x))
