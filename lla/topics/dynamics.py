"""What follows what, from the topics (N,) of tokens in the order of their documents.

Everything here is counted within documents: no pair of tokens crosses from one into the next. What
a trained LSTM expects instead is in `lla.model.dynamics`.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from lla.common.arrays import as_array, blocks, check_topics, count_ids
from lla.common.errors import (
    InputError,
    check_integer,
    check_list,
    check_positive,
    check_share,
)
from lla.corpus.folder import check_offsets

if TYPE_CHECKING:
    import pandas as pd


def check_assignments(topics: Any, offsets: Any, n_topics: Any) -> tuple[np.ndarray, np.ndarray]:
    """Topics (N,) and offsets (D+1,) as arrays; raise InputError unless they belong together."""
    check_integer("n_topics", n_topics)
    starts = as_array("offsets", offsets)
    if starts.ndim != 1 or starts.dtype.kind not in "iu":
        raise InputError(
            f"offsets: {starts.dtype} {starts.shape}; give where documents start, as corpus.offsets"
        )
    check_offsets(starts, "offsets")
    return check_topics("topics", topics, int(starts[-1]), n_topics), starts


def topic_share(topics: np.ndarray, n_topics: int) -> np.ndarray:
    """Share of the tokens that have each topic, (K,); `topics` (N,) are at least one."""
    check_integer("n_topics", n_topics)
    array = check_topics("topics", topics, as_array("topics", topics).size, n_topics)
    if not len(array):
        raise InputError("topics: there is none; give those of one token at least")
    return count_ids(array, n_topics) / len(array)


def transition_counts(
    topics: np.ndarray, offsets: np.ndarray, n_topics: int, lag: int = 1
) -> np.ndarray:
    """Pairs of tokens of one document, `lag` apart, by their topics: (K, K) int64, from and to.

    Parameters
    ----------
    topics : (N,) of all tokens
    offsets : (D+1,) where each document starts, and the end of the last
    """
    topics, offsets = check_assignments(topics, offsets, n_topics)
    check_integer("lag", lag)
    counts = np.zeros(n_topics * n_topics, np.int64)
    lengths = np.diff(offsets)
    for documents, places in blocks(offsets, 0, len(lengths)):
        z = topics[places].astype(np.int64)
        left = np.repeat(np.cumsum(lengths[documents]), lengths[documents]) - np.arange(len(z))
        first = np.flatnonzero(left > lag)  # whose partner is in the same document
        counts += np.bincount(z[first] * n_topics + z[first + lag], minlength=len(counts))
    return counts.reshape(n_topics, n_topics)


def observed_after(
    topics: np.ndarray, offsets: np.ndarray, n_topics: int, steps: int = 20
) -> np.ndarray:
    """Share of topic j among the tokens h after one of topic k: (steps, K, K), h = 1..steps.

    The empirical counterpart of `lla.model.dynamics.expected_after`.

    Parameters
    ----------
    topics, offsets : as in `transition_counts`

    Returns
    -------
    [h - 1, k] sums to 1; it is NaN where topic k has no token that has one h after it
    """
    check_integer("steps", steps)
    lags = [transition_counts(topics, offsets, n_topics, h) for h in range(1, steps + 1)]
    counts = np.array(lags, np.float64)
    total = counts.sum(axis=2, keepdims=True)
    return np.divide(counts, total, out=np.full_like(counts, np.nan), where=total > 0)


def transition_lift(counts: np.ndarray) -> np.ndarray:
    """How often two topics follow each other, in either order, over what their frequencies say.

    With S = C + Cᵀ, the lift of i and j is S_ij S_.. / (S_i. S_j.): 1 where order does not matter.

    Parameters
    ----------
    counts : (K, K), as `transition_counts` returns them

    Returns
    -------
    (K, K), symmetric; NaN in the rows and columns of topics that no pair has
    """
    array = as_array("counts", counts)
    if array.ndim != 2 or array.shape[0] != array.shape[1] or array.dtype.kind not in "iuf":
        raise InputError(f"counts: {array.dtype} {array.shape}; give numbers (K, K)")
    if not (np.isfinite(array).all() and (array >= 0).all() and array.any()):
        raise InputError("counts: give finite counts, 0 or more, and not all of them 0")
    symmetric = array.astype(np.float64) / array.max()
    symmetric = symmetric + symmetric.T
    margin = symmetric.sum(axis=1)
    expected = np.outer(margin, margin) / margin.sum()
    return np.divide(symmetric, expected, out=np.full_like(expected, np.nan), where=expected > 0)


class Visits(NamedTuple):
    """Runs of one topic: every document as the sequence of topics it visits.

    topics : (M,) of each run; two that follow in a document differ
    offsets : (D+1,) where each document's runs start
    lengths : (M,) tokens of each run
    """

    topics: np.ndarray
    offsets: np.ndarray
    lengths: np.ndarray


def visits(topics: np.ndarray, offsets: np.ndarray) -> Visits:
    """Collapse runs: with these topics and offsets, lags count visits instead of tokens.

    Parameters
    ----------
    topics, offsets : as in `transition_counts`
    """
    ids = as_array("topics", topics)
    largest = int(ids.max()) if ids.size and ids.dtype.kind in "iu" else 0
    topics, offsets = check_assignments(ids, offsets, max(0, largest) + 1)
    starts_run = np.ones(len(topics), bool)
    starts_run[1:] = topics[1:] != topics[:-1]
    starts_run[offsets[:-1]] = True
    starts = np.flatnonzero(starts_run)
    return Visits(
        topics[starts], np.searchsorted(starts, offsets), np.diff(starts, append=len(topics))
    )


class Dwell(NamedTuple):
    """How long a topic stays, in tokens; (K,) each, NaN where there is nothing to tell from.

    runs : runs of the topic
    cut : those of them that a document's end cut short; they count with the length they have
    mean, spread : of the lengths of the runs, and their standard deviation
    stay : probability that the next token has the same topic
    geometric_mean, geometric_spread : 1 / (1 - stay) and √stay / (1 - stay), of a chain that
        forgets how long it has stayed; infinite where no run was seen to end
    """

    runs: np.ndarray
    cut: np.ndarray
    mean: np.ndarray
    spread: np.ndarray
    stay: np.ndarray
    geometric_mean: np.ndarray
    geometric_spread: np.ndarray


def dwell_times(topics: np.ndarray, offsets: np.ndarray, n_topics: int) -> Dwell:
    """Lengths of the runs of each topic, and what the geometric distribution expects of them.

    But for runs that the ends of documents cut, `mean` and `geometric_mean` are the same number,
    since the share of tokens that end a run is one over the mean length. Whether stays are
    geometric shows in the spread: below `geometric_spread` they are more regular, above it less.

    Parameters
    ----------
    topics, offsets : as in `transition_counts`
    """
    topics, offsets = check_assignments(topics, offsets, n_topics)
    found = visits(topics, offsets)
    runs = np.bincount(found.topics, minlength=n_topics)
    cut = np.bincount(found.topics[found.offsets[1:] - 1], minlength=n_topics)
    tokens = np.bincount(found.topics, found.lengths, minlength=n_topics)
    squares = np.bincount(found.topics, found.lengths.astype(float) ** 2, minlength=n_topics)
    mean = _ratio(tokens, runs)
    spread = np.sqrt(np.maximum(_ratio(squares, runs) - mean**2, 0.0))
    stay = _ratio(tokens - runs, tokens - cut)  # over the tokens that have a next one
    leave = 1.0 - stay
    ends = leave > 0
    geometric_mean = np.where(np.isnan(stay), np.nan, np.inf)
    geometric_spread = geometric_mean.copy()
    geometric_mean[ends] = 1.0 / leave[ends]
    geometric_spread[ends] = np.sqrt(stay[ends]) / leave[ends]
    return Dwell(runs, cut, mean, spread, stay, geometric_mean, geometric_spread)


def _ratio(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """`one` / `other`, NaN where that is 0."""
    return np.divide(one, other, out=np.full(len(other), np.nan), where=other > 0)


def delayed_pairs(
    after: np.ndarray,
    share: np.ndarray,
    *,
    names: Sequence[str] | None = None,
    within: int = 10,
    at_once: float = 1.0,
    soon: float = 1.5,
    min_share: float = 0.005,
) -> "pd.DataFrame":
    """Topics that follow soon but not at once, such as a hotel after a flight.

    Rule of the delayed lift: with lift_h = p(topic j, h tokens after k) / p(j), a pair k ≠ j is
    listed when lift_1 ≤ `at_once` and the largest of lift_2..lift_within is ≥ `soon`; the pair of
    the largest lift comes first. Where topics stay long, whatever follows at all follows late: on
    the topics and offsets of `visits`, lags count visits, and stays play no part.

    Parameters
    ----------
    after : (steps, K, K), as `observed_after` or `lla.model.dynamics.expected_after` return it
    share : (K,) p(j), as `topic_share` returns it
    names : of the K topics; their numbers where left out
    within : lags looked at, at least 2; no more than `after` has
    min_share : a rarer topic j is left out, for its lift says little

    Returns
    -------
    A row per pair: topic, then, lift_at_once, lag (of the largest lift), lift and probability there
    """
    import pandas as pd

    array, base = _check_after(after, share)
    n_topics = len(base)
    check_integer("within", within, least=2)
    check_positive("at_once", at_once)
    check_positive("soon", soon)
    check_share("min_share", min_share)
    labels = list(range(n_topics)) if names is None else list(check_list("names", names))
    if len(labels) != n_topics:
        raise InputError(f"names: {len(labels)}; give one for each of the {n_topics} topics")
    if len(array) < 2:
        raise InputError(f"after: {len(array)} step; give 2 or more")
    known = (base >= min_share) & (base > 0)
    lift = np.full((min(within, len(array)), n_topics, n_topics), np.nan)
    lift[:, :, known] = array[: len(lift)][:, :, known] / base[known]
    later = np.nan_to_num(lift[1:], nan=-1.0)  # what is unknown is no lift
    lag = later.argmax(axis=0) + 2  # (K, K)
    peak = later.max(axis=0)
    chosen = (lift[0] <= at_once) & (peak >= soon) & ~np.eye(n_topics, dtype=bool)
    rows = np.argwhere(chosen)
    rows = rows[np.argsort(-peak[chosen], kind="stable")]
    k, j = rows[:, 0], rows[:, 1]
    return pd.DataFrame(
        {
            "topic": [labels[i] for i in k],
            "then": [labels[i] for i in j],
            "lift_at_once": lift[0, k, j],
            "lag": lag[k, j],
            "lift": peak[k, j],
            "probability": array[lag[k, j] - 1, k, j],
        }
    )


def _check_after(after: Any, share: Any) -> tuple[np.ndarray, np.ndarray]:
    """Both as arrays; raise InputError unless they are (steps, K, K) and (K,)."""
    array, base = as_array("after", after), as_array("share", share)
    if array.ndim != 3 or array.shape[1] != array.shape[2] or array.dtype.kind != "f":
        raise InputError(f"after: {array.dtype} {array.shape}; give probabilities (steps, K, K)")
    if base.shape != array.shape[1:2] or base.dtype.kind not in "iuf":
        raise InputError(f"share: {base.shape}; give the share of each of {array.shape[1]} topics")
    if ((array < 0) | (array > 1 + 1e-6)).any():
        raise InputError("after: give probabilities, from 0 to 1, or NaN where they are not known")
    if not ((base >= 0) & (base <= 1 + 1e-6)).all():
        raise InputError("share: give shares from 0 to 1")
    return array, base.astype(np.float64)


class Flow(NamedTuple):
    """Moves among a few topics.

    topics : (n,) their numbers, the largest first
    share : (n,) of the tokens
    moves : (n, n) share of the runs of a topic (those with a next one) that end in each other;
        rows sum to less than 1 where they lead to topics that are not among these
    stay : (n,) probability that the next token has the same topic
    """

    topics: np.ndarray
    share: np.ndarray
    moves: np.ndarray
    stay: np.ndarray


def topic_flow(topics: np.ndarray, offsets: np.ndarray, n_topics: int, n_largest: int = 10) -> Flow:
    """Where the largest topics lead, once a run of them ends.

    Parameters
    ----------
    topics, offsets : as in `transition_counts`
    n_largest : topics shown; fewer where fewer occur
    """
    topics, offsets = check_assignments(topics, offsets, n_topics)
    check_integer("n_largest", n_largest)
    share = topic_share(topics, n_topics)
    largest = np.argsort(-share, kind="stable")[: min(n_largest, int((share > 0).sum()))]
    counts = transition_counts(topics, offsets, n_topics).astype(np.float64)
    stay = _ratio(np.diag(counts), counts.sum(axis=1))
    np.fill_diagonal(counts, 0.0)
    left = counts.sum(axis=1, keepdims=True)
    moves = np.divide(counts, left, out=np.zeros_like(counts), where=left > 0)
    return Flow(largest, share[largest], moves[np.ix_(largest, largest)], stay[largest])
