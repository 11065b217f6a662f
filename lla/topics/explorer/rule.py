"""The page's rule: how it reads words and forecasts, in NumPy; `rule.js` does the same.

    θ_t = softmax(W_p s_t + b_p)             what is expected of the next topic
    q_k ∝ θ_tk p(w | k)                      which topic the word w has, given the words before
    p(w | k) = φ_wk, or (n_wk + τ_k φ_wk)/(n_k + τ_k) of a personal emission, where n counts the
                                             words before, each by its likeliest topic
    s_{t+1} = LSTM(s_t, x)                   x = e_k of the likeliest topic where topics are read,
                                             x = e_w where words or characters are read
    s_{t+h+1} = LSTM(s_{t+h}, Σ_k θ_k e_k)   steps ahead: the expected input in place of a draw

e_k is the embedding of topic k; where words are read, the mean embedding of its words. With running
counts the logits of topics are moved by η log(n_k + α), where n counts the likeliest topics so far.
With sources a gate π_t, a softmax of more logits of s_t, says where the next word comes from:

    p(w) = π_t0 Σ_k θ_tk p(w | k) + Σ_j π_tj p_j(w)      o_j ∝ π_tj p_j(w)   where it came from

Where topics are read, the embedding of the likeliest source is added to the topic's, and both are
counted; steps ahead take their expectation. Where words are read, steps ahead read the mean
embedding of the expected topics alone.

The model itself carries many histories of topics (particles) and draws futures. Next topics, and
where the next word comes from, are exact where the LSTM reads words and φ is shared; elsewhere, and
further ahead, they are approximate.
"""

from typing import NamedTuple

import numpy as np

from lla.topics.explorer.sources import PageSources, Trail
from lla.topics.explorer.weights import CountWeights, SparsePhi, Weights


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


class State(NamedTuple):
    """What the output reads.

    Attributes
    ----------
    h, c : (B, H) of the LSTM
    counts : (B, logits) how often each topic has come, and beside a gate each origin; zeros where
        nothing is counted
    """

    h: np.ndarray
    c: np.ndarray
    counts: np.ndarray

    def first(self, n: int) -> "State":
        """Of the first `n` documents."""
        return State(self.h[:n], self.c[:n], self.counts[:n])


class Reading(NamedTuple):
    """Documents side by side after each of T words.

    Attributes
    ----------
    theta : (T+1, B, K) p(next topic) before each word, and after the last
    gate : (T+1, B, 1+S) p(where the next word comes from): the topics, then each source
    posterior : (T, B, K) p(topic of the word | words up to it)
    origin : (T, B, 1+S) p(where the word came from | words up to it)
    state : after the last word
    memory : what the documents' own words say after the last one
    """

    theta: np.ndarray
    gate: np.ndarray
    posterior: np.ndarray
    origin: np.ndarray
    state: State
    memory: "Memory"


class Memory(NamedTuple):
    """What is kept of the words of B documents beside the state.

    Attributes
    ----------
    urns : of a personal emission; None where φ is shared
    trails : one per document where there are sources
    """

    urns: Urns | None
    trails: tuple[Trail, ...]


class Rule:
    """The rule with its weights, as float64.

    Parameters
    ----------
    tau : (K,) of a personal emission; None where φ is shared
    sources : beside the topics; None without
    counts : where logits depend on running counts; None without
    """

    def __init__(
        self,
        weights: Weights,
        phi: SparsePhi,
        tau: np.ndarray | None = None,
        sources: PageSources | None = None,
        counts: CountWeights | None = None,
    ) -> None:
        self.phi, self.tau, self.sources, self.counts = phi, tau, sources, counts
        self.word_input = weights.word_input
        self.topic_input = weights.topic_input.astype(np.float64)
        n_sources = 0 if sources is None else len(sources.names)
        self.source_input = np.zeros((n_sources, self.topic_input.shape[1]))
        if weights.source_input is not None:
            self.source_input = weights.source_input.astype(np.float64)
        self.start = weights.start.astype(np.float64)
        self.input_weight = weights.input_weight.astype(np.float64)
        self.state_weight = weights.state_weight.astype(np.float64)
        self.bias = weights.bias.astype(np.float64)
        self.output_weight = weights.output_weight.astype(np.float64)
        self.output_bias = weights.output_bias.astype(np.float64)

    def begin(self, n_documents: int) -> State:
        """The state after the start symbol."""
        zero = np.zeros((n_documents, self.state_weight.shape[1]))
        none = np.zeros((n_documents, len(self.output_bias)))
        return self.step(np.tile(self.start, (n_documents, 1)), State(zero, zero, none), none)

    def step(self, x: np.ndarray, state: State, counted: np.ndarray) -> State:
        """The state after the input x (B, E), which counts as `counted` (B, logits)."""
        gates = _product(x, self.input_weight) + _product(state.h, self.state_weight) + self.bias
        i, f, g, o = np.split(gates, 4, axis=1)
        c = _sigmoid(f) * state.c + _sigmoid(i) * np.tanh(g)
        return State(_sigmoid(o) * np.tanh(c), c, state.counts + counted)

    def expect(self, state: State) -> tuple[np.ndarray, np.ndarray]:
        """p(next topic) (B, K), and p(where the item comes from) (B, 1+S)."""
        logits = _product(state.h, self.output_weight) + self.output_bias
        n_topics = len(self.topic_input)
        parts = [slice(0, n_topics), slice(n_topics, logits.shape[1])]
        if self.counts is not None:
            pairs = zip(self.counts.exponent, self.counts.prior, strict=True)
            for part, (exponent, prior) in zip(parts, pairs, strict=False):
                logits[:, part] += exponent * np.log(state.counts[:, part] + prior)
        if self.sources is None:
            return _softmax(logits), np.ones((len(logits), 1))
        return _softmax(logits[:, parts[0]]), _softmax(logits[:, parts[1]])

    def begin_memory(self, n_documents: int) -> Memory:
        """Of documents without words."""
        urns = None if self.tau is None else Urns(self.tau, n_documents)
        if self.sources is None:
            return Memory(urns, ())
        return Memory(urns, tuple(Trail(self.sources) for _ in range(n_documents)))

    def assign(
        self, theta: np.ndarray, gate: np.ndarray, words: np.ndarray, memory: Memory
    ) -> tuple[np.ndarray, np.ndarray]:
        """p(topic | words up to it) (B, K), and p(where the word came from) (B, 1+S).

        θ itself where no topic can emit the word, and π where nothing can. The word is added to
        the memory, with its likeliest topic.
        """
        rows, urns = self.phi.rows(words), memory.urns
        joint = theta * (rows if urns is None else urns.likelihood(rows, words))
        total = joint.sum(axis=1, keepdims=True)
        posterior = np.where(total > 0, joint / np.where(total > 0, total, 1.0), theta)
        if urns is not None:
            urns.add(words, posterior.argmax(axis=1))
        likelihood = total
        if self.sources is not None:
            trails = list(zip(memory.trails, words.tolist(), strict=False))
            of_sources = np.array([trail.likelihood(w) for trail, w in trails])  # (B, S)
            likelihood = np.concatenate([total, of_sources], axis=1)
            for trail, w in trails:
                trail.add(w)
        joint = gate * likelihood
        total = joint.sum(axis=1, keepdims=True)
        return posterior, np.where(total > 0, joint / np.where(total > 0, total, 1.0), gate)

    def input_of(
        self, posterior: np.ndarray, origin: np.ndarray, words: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """What the LSTM reads after words (B,), (B, E), and how they count, (B, logits)."""
        topic, source = np.eye(posterior.shape[1]), np.eye(origin.shape[1])
        theta, gate = topic[posterior.argmax(axis=1)], source[origin.argmax(axis=1)]
        counted = self._counted(theta, gate)
        if self.word_input is None:
            return self._mean_input(theta, gate), counted
        return self.word_input[words].astype(np.float64), counted

    def _mean_input(self, theta: np.ndarray, gate: np.ndarray) -> np.ndarray:
        """Σ_k θ_k e_k + Σ_j π_j e_j, (B, E)."""
        return theta @ self.topic_input + gate[:, 1:] @ self.source_input

    def _counted(self, theta: np.ndarray, gate: np.ndarray) -> np.ndarray:
        """What shares of topics and origins add to the counts, (B, logits)."""
        return theta if self.sources is None else np.concatenate([theta, gate], axis=1)

    def read(self, words: np.ndarray) -> Reading:
        """Documents of equal length, words (T, B)."""
        n = words.shape[1]
        state, memory = self.begin(n), self.begin_memory(n)
        expected, found = [self.expect(state)], []
        for row in words:
            found.append(self.assign(*expected[-1], row, memory))
            x, counted = self.input_of(*found[-1], row)
            state = self.step(x, state, counted)
            expected.append(self.expect(state))
        theta, gate = (np.stack(part) for part in zip(*expected, strict=True))
        empty = np.empty((0, *theta[0].shape)), np.empty((0, *gate[0].shape))
        posterior, origin = (
            (np.stack(part) for part in zip(*found, strict=True)) if found else empty
        )
        return Reading(theta, gate, posterior, origin, state, memory)

    def next_words(self, reading: Reading) -> np.ndarray:
        """p(next word) after the last word of the first document, (V,)."""
        theta, gate, memory = reading.theta[-1, 0], reading.gate[-1, 0], reading.memory
        urns = memory.urns
        of_topics = self.phi.mix(theta) if urns is None else urns.mix(self.phi, theta)
        if self.sources is None:
            return of_topics
        return gate[0] * of_topics + memory.trails[0].mix(gate[1:].tolist())

    def ahead(self, state: State, steps: int) -> np.ndarray:
        """p(topic) of the next `steps` places, (steps, B, K)."""
        found = [self.expect(state)]
        while len(found) < steps:
            state = self.step(self._mean_input(*found[-1]), state, self._counted(*found[-1]))
            found.append(self.expect(state))
        return np.stack([theta for theta, _ in found])

    def after_topics(self, steps: int) -> np.ndarray:
        """What is expected after each topic where it begins a sequence, (steps, K, K)."""
        topics = np.eye(len(self.topic_input))
        of_topics = np.eye(1 + len(self.source_input))[np.zeros(len(topics), int)]
        counted = self._counted(topics, of_topics)
        return self.ahead(self.step(self.topic_input, self.begin(len(topics)), counted), steps)

    def likeliest(self, words: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        """The likeliest topic of each word given those before, (T, B), of several lengths.

        Parameters
        ----------
        words : (T, B), any id past a document's end
        lengths : (B,) falling
        """
        state, memory = self.begin(words.shape[1]), self.begin_memory(words.shape[1])
        topics = np.zeros(words.shape, np.int64)
        for t, row in enumerate(words):
            n = int(np.searchsorted(-lengths, -t, side="left"))
            state = state.first(n)
            posterior, origin = self.assign(*self.expect(state), row[:n], memory)
            topics[t, :n] = posterior.argmax(axis=1)
            x, counted = self.input_of(posterior, origin, row[:n])
            state = self.step(x, state, counted)
        return topics


def _product(x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """x (B, n) times the transpose of a weight (m, n), by Torch, whose threads can be limited."""
    import torch  # here: it is loaded where there is a network

    return torch.mm(torch.from_numpy(np.ascontiguousarray(x)), torch.from_numpy(weight).T).numpy()


def _softmax(logits: np.ndarray) -> np.ndarray:
    weight = np.exp(logits - logits.max(axis=1, keepdims=True))
    return weight / weight.sum(axis=1, keepdims=True)


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 0.5 * (1.0 + np.tanh(0.5 * x))
