"""Are topics that are close in an embedding close in sequence? (Paper, section 4.2; Figures 6, 7.)

The claim in numbers: the rank correlation, over pairs of topics, of their similarity in an
embedding and of how often they follow each other.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy.stats import rankdata

from lla.common.errors import InputError, check_integer, check_list, check_seed
from lla.common.progress import progress
from lla.common.random import StreamId, stream
from lla.topics.dynamics import check_assignments, transition_counts, transition_lift
from lla.topics.hierarchy import check_square, cosine_distances

if TYPE_CHECKING:
    import pandas as pd

ROUNDING = 1e-12  # of a correlation: the same pairs summed in another order


class Mantel(NamedTuple):
    """A permutation test of two matrices over the same topics.

    correlation : Spearman's, of the pairs off the diagonal
    p_value : (1 + permutations with as large a correlation) / (1 + permutations), one-sided
    n_topics : topics that were compared
    """

    correlation: float
    p_value: float
    n_topics: int


def mantel(
    similarity: np.ndarray, other: np.ndarray, *, n_permutations: int = 999, seed: int = 0
) -> Mantel:
    """Spearman's correlation of two symmetric matrices, with Mantel's (1967) permutation test.

    The diagonal does not count: a topic's similarity to itself is 1 whatever the model, and how
    often it follows itself is a matter of dwell times. Pairs are not independent, so the topics of
    one matrix are permuted, rows and columns jointly. The alternative is a positive correlation.

    Parameters
    ----------
    similarity, other : (K, K), symmetric; a topic with NaN beside the diagonal, in all its pairs,
        is left out, such as one that never occurs
    seed : of the permutations

    Raises
    ------
    InputError
        When fewer than three topics are left, or one of the matrices has one value alone.
    """
    check_integer("n_permutations", n_permutations)
    seed = check_seed(seed)
    one = check_square("similarity", similarity)
    two = check_square("other", other, len(one))
    known = _known(one) & _known(two)
    n_topics = int(known.sum())
    if n_topics < 3:
        raise InputError(f"other: {n_topics} topics to compare; give 3 or more that occur")
    x = _centred_ranks("similarity", one[np.ix_(known, known)])
    y = _centred_ranks("other", two[np.ix_(known, known)])
    observed = float(np.vdot(x, y))
    draw = stream(seed, StreamId.TOPIC_MAP, 0)
    n_as_large = 0
    for _ in progress(range(n_permutations), description="Mantel's test", unit="permutation"):
        order = draw.permutation(n_topics)
        n_as_large += float(np.vdot(x, y[order[:, None], order])) >= observed - ROUNDING
    return Mantel(observed, (1 + n_as_large) / (1 + n_permutations), n_topics)


def _known(matrix: np.ndarray) -> np.ndarray:
    """Topics with a number in some pair with another, (K,) bool."""
    return (~np.isnan(matrix) & ~np.eye(len(matrix), dtype=bool)).any(axis=1)


def _centred_ranks(name: str, matrix: np.ndarray) -> np.ndarray:
    """Ranks of the pairs, (K, K), such that the sum of products of two is their correlation.

    The same before and after topics are permuted; the diagonal is 0.
    """
    pairs = np.triu_indices(len(matrix), 1)
    if not (np.isfinite(matrix[pairs]).all() and np.isfinite(matrix.T[pairs]).all()):
        raise InputError(f"{name}: a pair of topics has no finite number; give one to each pair")
    if not np.allclose(matrix[pairs], matrix.T[pairs], rtol=1e-9, atol=0.0):
        raise InputError(f"{name}: it is not symmetric; give the mean of both orders")
    values = matrix[pairs]
    if np.ptp(values) == 0:
        raise InputError(f"{name}: all pairs of topics have the same value; there is no order")
    ranks = rankdata(values)
    ranks -= ranks.mean()
    result = np.zeros(matrix.shape)
    result[pairs] = ranks / np.linalg.norm(ranks) / np.sqrt(2.0)  # each pair stands twice
    return result + result.T


def sequence_proximity(
    embedding: np.ndarray,
    topics: np.ndarray,
    offsets: np.ndarray,
    *,
    lags: Sequence[int] = (1, 2, 5, 10),
    n_permutations: int = 999,
    seed: int = 0,
) -> "pd.DataFrame":
    """Whether topics close in an embedding follow each other more often than their frequencies say.

    Cosine similarity against `transition_lift`, by `mantel`; the diagonal does not count. The
    topics of an embedding are compared by their own assignments. A co-occurrence embedding is
    counted from the documents that the transitions are in, so it has an advantage at long lags.

    Parameters
    ----------
    embedding : (K, E), such as `Model.topic_embedding` or `cooccurrence_embedding` return
    topics, offsets : (N,) assignments of the tokens, (D+1,) where each document starts
    lags : tokens between the two of a pair

    Returns
    -------
    A row per lag: correlation, p_value and n_topics, the topics that were compared
    """
    import pandas as pd

    similarity = 1.0 - cosine_distances(embedding)
    n_topics = len(similarity)
    topics, offsets = check_assignments(topics, offsets, n_topics)
    chosen = [check_integer("lags", lag) for lag in check_list("lags", lags)]
    longest = int(np.diff(offsets).max())
    if not chosen or max(chosen) >= longest:
        raise InputError(
            f"lags: {', '.join(map(str, chosen)) or 'none'}; give some below {longest}, the length "
            "of the longest document"
        )
    rows = []
    for lag in chosen:
        lift = transition_lift(transition_counts(topics, offsets, n_topics, lag))
        rows.append(mantel(similarity, lift, n_permutations=n_permutations, seed=seed))
    return pd.DataFrame(rows, index=pd.Index(chosen, name="lag"))
