"""Exact answers for tiny models, in plain NumPy and float64: every topic history written out."""

import itertools
from typing import NamedTuple

import numpy as np
from scipy import stats

# The probability with which a right sampler would fail, had its seed not been fixed.
LEVEL = 1e-4


def histories(n_topics, length):
    """All K^T topic histories, (K^T, T), in the order of `history_number`."""
    return np.array(list(itertools.product(range(n_topics), repeat=length)))


def history_number(topics, n_topics):
    """Row of `histories` at which each history of `topics` (..., T) stands."""
    topics = np.asarray(topics, np.int64)
    return topics @ n_topics ** np.arange(topics.shape[-1])[::-1]


def softmax(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def sigmoid(x):
    return 1.0 / (1.0 + np.exp(-x))


def lstm_logits(network, ids, user=None):
    """The network's logits after each of `ids` (T, B), by the textbook equations: (T, B, K).

    Where the network knows its users, `user` is who is read; None is a new one.
    """
    w = {name: p.detach().numpy().astype(np.float64) for name, p in network.named_parameters()}
    hidden = network.config.hidden_size
    h = c = np.zeros((ids.shape[1], hidden))
    own = own_matrix(w, user) if user is not None else np.zeros((4 * hidden, hidden + 1))
    logits = []
    for x in input_vectors(w)[ids]:
        gates = x @ w["lstm.weight_ih_l0"].T + w["lstm.bias_ih_l0"]
        gates = gates + h @ w["lstm.weight_hh_l0"].T + w["lstm.bias_hh_l0"]
        gates = gates + h @ own[:, :-1].T + own[:, -1]
        i, f, g, o = (gates[:, n * hidden : (n + 1) * hidden] for n in range(4))
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        logits.append(h @ w["output.weight"].T + w["output.bias"])
    return np.array(logits) + of_counts(network.config, w, ids)


def own_matrix(w, user):
    """A diag(d_u) B, (4H, H + 1), the last column beside the constant."""
    a, b = w["users.writing"], w["users.reading"]
    a = a / np.sqrt((a**2).mean(axis=0))
    b = b / np.sqrt((b**2).mean(axis=1, keepdims=True))
    return a @ np.diag(w["users.own"][user]) @ b


def input_vectors(w):
    """What the LSTM reads of every id, from its weights: of k + K c the sum of two vectors."""
    topics, start = w["input.weight"][:-1], w["input.weight"][-1:]
    origins = w.get("input.origin", np.zeros((0, topics.shape[1])))
    pairs = [topics + origin for origin in [0.0, *origins]]
    return np.concatenate([*pairs, start])


def of_counts(config, w, ids):
    """η log(n + α) of the counts of topics, and of origins, among `ids` so far; 0 without."""
    if not config.running_counts:
        return 0.0
    sizes, n_topics = config.softmax_sizes, config.n_topics
    counts = np.zeros((*ids.shape, sum(sizes)))
    for t, lane in np.ndindex(ids.shape):
        for value in ids[: t + 1, lane]:
            if value < config.n_inputs:  # the start symbol is no topic
                counts[t, lane, value % n_topics] += 1
                if config.n_sources:
                    counts[t, lane, n_topics + value // n_topics] += 1
    exponent, prior = np.repeat(w["output.exponent"], sizes), np.exp(w["output.log_prior"])
    return exponent * np.log(counts + np.repeat(prior, sizes))


class Exact(NamedTuple):
    """One document under topic LLA, over all its topic histories.

    theta : (K^T, T, K) topic proportions before each token
    joint : (K^T,) p(z, w)
    drawn : (K^T,) Π_t p(z_t | z_<t, w_t): what a filter of one particle draws
    evidence : (T,) p(w_t | w_<t)
    """

    theta: np.ndarray
    joint: np.ndarray
    drawn: np.ndarray
    evidence: np.ndarray


def urns(phi, tau, words, z):
    """(n_dwk + τ_k φ_wk)/(n_dk + τ_k) before every token of `words` (T,), by definition.

    For topic histories z (M, T): (M, T, K); n counts the tokens before.
    """
    found = np.empty((*z.shape, phi.shape[1]))
    for t, w in enumerate(words):
        for k in range(phi.shape[1]):
            of_topic = z[:, :t] == k  # (M, t)
            n_dwk, n_dk = (of_topic & (words[:t] == w)).sum(axis=1), of_topic.sum(axis=1)
            found[:, t, k] = (n_dwk + tau[k] * phi[w, k]) / (n_dk + tau[k])
    return found


def exact(network, phi, words, tau=None, sources=None, user=None):
    """Enumerate the topic histories of a document of `words` (T,) under φ (V, K).

    With `tau` (K,) the emission is personal; a network may read words in the topics' stead. With
    `sources` (T, S), the probabilities of the words under sources, z has K + S values; where the
    network has a gate, values k + K c of topics and origins, while θ is of K + S outcomes. `user`
    is whose document it is, as in `lstm_logits`.
    """
    phi, words = np.asarray(phi, np.float64), np.asarray(words)
    n_topics, length = phi.shape[1] + (0 if sources is None else sources.shape[1]), len(words)
    if network.config.n_sources:
        return gated(network, phi, words, tau, sources, user)
    z = histories(n_topics, length)
    start = np.full((1, len(z)), network.config.n_inputs)
    read = z.T if network.config.input == "topic" else np.tile(words[:, None], len(z))
    logits = lstm_logits(network, np.concatenate([start, read[:-1]]), user)
    theta = softmax(logits).transpose(1, 0, 2)
    likelihood = phi[words] if tau is None else urns(phi, np.asarray(tau), words, z)
    if sources is not None:
        of_sources = np.broadcast_to(sources, (*likelihood.shape[:-1], sources.shape[1]))
        likelihood = np.concatenate([likelihood, of_sources], axis=-1)
    step = theta * likelihood  # (K^T, T, K): p(z_t = k, w_t | z_<t)
    return over_histories(theta, step, z)


def gated(network, phi, words, tau, sources, user):
    """`exact` where a gate says where each word came from: p(c), then w and z."""
    n_topics, n_sources, length = phi.shape[1], sources.shape[1], len(words)
    values = histories(n_topics * (1 + n_sources), length)
    z = values % n_topics
    start = np.full((1, len(z)), network.config.n_inputs)
    read = values.T if network.config.input == "topic" else np.tile(words[:, None], len(z))
    logits = lstm_logits(network, np.concatenate([start, read[:-1]]), user).transpose(1, 0, 2)
    theta, pi = softmax(logits[..., :n_topics]), softmax(logits[..., n_topics:])
    joint = theta * (phi[words] if tau is None else urns(phi, np.asarray(tau), words, z))
    of_topics = joint.sum(axis=2, keepdims=True)
    of_origins = [of_topics, np.broadcast_to(sources, (len(z), length, n_sources))]
    origins = pi * np.concatenate(of_origins, axis=2)  # (·, T, 1 + S): p(c_t, w_t | z_<t)
    step = origins[..., None] * (joint / of_topics)[:, :, None]
    outcomes = np.concatenate([pi[..., :1] * theta, pi[..., 1:]], axis=2)
    return over_histories(outcomes, step.reshape(len(z), length, -1), values)


def over_histories(theta, step, z):
    """`Exact` of histories z (M, T), given p(z_t = k, w_t | z_<t) (M, T, K)."""
    n_topics, length = step.shape[2], step.shape[1]
    chosen = np.take_along_axis(step, z[:, :, None], axis=2)[:, :, 0]
    drawn = (chosen / step.sum(axis=2)).prod(axis=1)
    # Histories that share their first t topics are counted once: each stands K^(T-t) times.
    copies = float(n_topics) ** np.arange(length - 1, -1, -1)
    prefix = np.cumprod(chosen, axis=1).sum(axis=0) / copies  # p(w_1..w_t)
    return Exact(theta, chosen.prod(axis=1), drawn, prefix / np.append(1.0, prefix[:-1]))


def p_value(counts, probability):
    """Of the chi-square test of `counts` against `probability`; cells below 5 are put together."""
    counts, expected = np.asarray(counts, float).ravel(), np.ravel(probability) * np.sum(counts)
    assert not counts[expected == 0].any(), "drawn, and of probability 0"
    order = np.argsort(expected)
    counts, expected = counts[order], expected[order]
    cut = np.searchsorted(expected, 5)  # the cells before it are put together, with one more
    counts = np.append(counts[: cut + 1].sum(), counts[cut + 1 :])
    expected = np.append(expected[: cut + 1].sum(), expected[cut + 1 :])
    assert len(counts) > 1, "nothing is left to compare"
    return stats.chisquare(counts, expected * counts.sum() / expected.sum()).pvalue


def within_standard_errors(sample, value):
    """Whether `value` could be the mean of what `sample` was drawn from, at `LEVEL`."""
    error = np.std(sample, ddof=1) / np.sqrt(len(sample))
    return abs(np.mean(sample) - value) <= stats.norm.isf(LEVEL / 2) * error
