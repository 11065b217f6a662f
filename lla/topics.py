"""Reading topics: their top words, and how topics of two models correspond."""

import numpy as np
from scipy.optimize import linear_sum_assignment


def top_words(phi: np.ndarray, vocabulary: tuple[str, ...], n: int = 10) -> list[list[str]]:
    """The `n` likeliest words of every topic, likeliest first; φ is (V, K)."""
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
    counts = np.zeros((n_topics, n_true))
    np.add.at(counts, (topics, truth), 1.0)
    counts[counts.sum(axis=1) == 0] = 1.0
    return counts / counts.sum(axis=1, keepdims=True)
