"""Reading topics: their top words, and how topics of two models correspond."""

import numpy as np
from scipy.optimize import linear_sum_assignment

from lla.common.arrays import check_range, check_topics
from lla.common.errors import InputError, check_integer


def check_phi(phi: np.ndarray, n_words: int) -> None:
    """Raise InputError unless φ is (V, K) of these words."""
    if np.ndim(phi) != 2 or len(phi) != n_words:
        raise InputError(f"phi: {np.shape(phi)}; give (V, K) of the {n_words} words")


def top_words(phi: np.ndarray, vocabulary: tuple[str, ...], n: int = 10) -> list[list[str]]:
    """The `n` likeliest words of every topic, likeliest first; φ is (V, K)."""
    check_integer("n", n)
    check_phi(phi, len(vocabulary))
    order = np.argsort(-phi, axis=0, kind="stable")[:n]
    return [[vocabulary[w] for w in order[:, k]] for k in range(phi.shape[1])]


def match_topics(phi: np.ndarray, other: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """One-to-one correspondence of topics that maximises the overlap Σ_w min(φ_wk, φ'_wj).

    Parameters
    ----------
    phi, other : (V, K) and (V, K)

    Returns
    -------
    match, overlap : topic match[k] of `other` corresponds to topic k, and they share overlap[k],
        from 0 (no word in common) to 1 (the same distribution)
    """
    if phi.ndim != 2 or phi.shape != other.shape:
        raise InputError(f"phi: {phi.shape}, other: {other.shape}; give two of one (V, K)")
    n_topics = phi.shape[1]
    shared = np.array([np.minimum(phi[:, [k]], other).sum(axis=0) for k in range(n_topics)])
    _, match = linear_sum_assignment(shared, maximize=True)
    return match, shared[np.arange(n_topics), match]


def true_topics(topics: np.ndarray, truth: np.ndarray, n_topics: int, n_true: int) -> np.ndarray:
    """p(true topic | topic) where the truth of every token is known, (K, L).

    A forecast over a model's topics times this matrix is one over the true ones. A topic that no
    token has says nothing: its row is uniform.

    Parameters
    ----------
    topics, truth : (N,) of the same tokens
    """
    check_topics("topics", topics, len(truth), n_topics)
    check_topics("truth", truth, len(topics), n_true)
    counts = np.zeros((n_topics, n_true))
    np.add.at(counts, (topics, truth), 1.0)
    counts[counts.sum(axis=1) == 0] = 1.0
    return counts / counts.sum(axis=1, keepdims=True)


def lda_ahead(phi: np.ndarray, alpha: np.ndarray, words: np.ndarray, steps: int) -> np.ndarray:
    """What LDA expects of the next events: θ after `words`, whatever the step; (steps, K).

    Every word adds its expected topic counts, as when held-out words are scored. LDA knows no
    order, so that all steps are alike.

    Parameters
    ----------
    phi, alpha : (V, K), (K,)
    words : (n,) ids of the history
    """
    _check_history(phi, alpha, words)
    check_integer("steps", steps)
    weight = np.array(alpha, np.float64)
    for w in words:
        joint = weight * phi[w]
        weight += joint / joint.sum()
    return np.tile(weight / weight.sum(), (steps, 1))


def ddlda_ahead(
    phi: np.ndarray, alpha: np.ndarray, decay: np.ndarray, words: np.ndarray, steps: int
) -> np.ndarray:
    """What ddLDA expects of the next events: topics of near words count most; (steps, K).

    θ of a place is α and the topics of the words before it, each weighed by its distance.

    Parameters
    ----------
    phi, alpha : (V, K), (K,)
    decay : (W+1,) weight of a word at distance 0, 1, ... (`ddlda.decay_table`); none beyond W
    words : (n,) ids of the history
    """
    _check_history(phi, alpha, words)
    check_integer("steps", steps)
    topics = np.zeros((len(words), len(alpha)))  # expected, of every word
    ahead = np.empty((steps, len(alpha)))
    for place in range(len(words) + steps):
        known = min(place, len(words))
        distance = place - np.arange(known)
        near = distance < len(decay)
        weight = alpha + decay[distance[near]] @ topics[:known][near]
        if place < len(words):
            joint = weight * phi[words[place]]
            topics[place] = joint / joint.sum()
        else:
            ahead[place - len(words)] = weight / weight.sum()
    return ahead


def _check_history(phi: np.ndarray, alpha: np.ndarray, words: np.ndarray) -> None:
    """Raise InputError unless φ and α are of one model that knows all `words`."""
    if phi.ndim != 2 or np.shape(alpha) != phi.shape[1:]:
        raise InputError(f"phi: {phi.shape}, alpha: {np.shape(alpha)}; give (V, K) and (K,)")
    if (bad := check_range(np.asarray(words), len(phi))) is not None:
        raise InputError(f"words: id {bad}; give ids of 0 to {len(phi) - 1}")


def distance_between(forecast: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Total variation ½ Σ |p - q| of forecasts over the same topics, (..., L) each -> (...)."""
    return np.abs(forecast - truth).sum(axis=-1) / 2
