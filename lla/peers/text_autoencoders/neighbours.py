"""Nearest phrases in a latent space, and what they have in common."""

import numpy as np

from lla.common.errors import check_choice, check_integer

METRICS = ("euclidean", "cosine")
CELLS = 2**22  # distances at once


def nearest(
    queries: np.ndarray,
    points: np.ndarray,
    k: int,
    *,
    metric: str = "euclidean",
    own: np.ndarray | None = None,
) -> np.ndarray:
    """Rows of the `k` nearest points of every query, the nearest first, (Q, k).

    Parameters
    ----------
    queries, points : (Q, L), (P, L)
    own : (Q,) row of the query itself among the points, left out; -1 where it is none of them
    """
    check_choice("metric", metric, METRICS)
    check_integer("k", k, most=len(points) - (own is not None))
    if metric == "cosine":
        queries, points = _unit(queries), _unit(points)
    norms = (points**2).sum(axis=1)
    found = np.empty((len(queries), k), np.int64)
    size = max(1, CELLS // len(points))
    for begin in range(0, len(queries), size):
        rows = slice(begin, begin + size)
        distance = norms - 2 * queries[rows] @ points.T  # up to the query's own norm
        if own is not None:
            there = np.flatnonzero(own[rows] >= 0)
            distance[there, own[rows][there]] = np.inf
        part = np.argpartition(distance, k - 1, axis=1)[:, :k]
        order = np.argsort(np.take_along_axis(distance, part, axis=1), axis=1, kind="stable")
        found[rows] = np.take_along_axis(part, order, axis=1)
    return found


def _unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)


def n_shared(phrases: np.ndarray, others: np.ndarray) -> np.ndarray:
    """How many words of each phrase the other has, wherever they stand, (..., n) -> (...)."""
    return (phrases[..., :, None] == others[..., None, :]).any(axis=-1).sum(axis=-1)


def base_rate(positive: np.ndarray) -> float:
    """Share of random pairs with the same sign, from signs (N,) bool."""
    share = positive.mean()
    return float(share**2 + (1 - share) ** 2)
