"""Topics of two models side by side: which correspond, what changed, and which were divided."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from lla.common.arrays import as_array, check_topics
from lla.common.errors import (
    InputError,
    check_integer,
    check_list,
    check_not_negative,
    check_share,
    check_texts,
)
from lla.topics.words import check_phi, check_topic_tokens, match_topics, top_words

if TYPE_CHECKING:
    import pandas as pd


def alignment_table(
    phi: np.ndarray,
    other: np.ndarray,
    vocabulary: Sequence[str],
    n: int = 10,
    *,
    topic_tokens: np.ndarray | None = None,
    other_tokens: np.ndarray | None = None,
) -> "pd.DataFrame":
    """A row per topic: the topic of the other model that corresponds to it, and how they differ.

    The correspondence is one to one and maximises the summed overlap (`match_topics`), so that a
    pair of small overlap is what was left over, and need not be one topic.

    Parameters
    ----------
    phi, other : (V, K) of two models, such as LDA and LLA, or of two seeds
    n : words compared, the likeliest of each topic
    topic_tokens, other_tokens : (K,) tokens of each topic; given both, the table holds them

    Returns
    -------
    DataFrame
        `match`; `overlap` Σ_w min(φ_wk, φ'_wj); perhaps `tokens` and `other_tokens`; the words
        that both have among their first `n` (`shared`), the second alone (`gained`), and the
        first alone (`lost`), each the likeliest first.
    """
    import pandas as pd

    check_phi(phi, len(vocabulary))
    check_phi(other, len(vocabulary))
    match, overlap = match_topics(phi, other)
    columns: dict[str, object] = {"match": match, "overlap": overlap}
    if topic_tokens is not None and other_tokens is not None:
        first = check_topic_tokens("topic_tokens", topic_tokens, len(match))
        second = check_topic_tokens("other_tokens", other_tokens, len(match))
        columns |= {
            "tokens": first.astype(np.int64),
            "other_tokens": second[match].astype(np.int64),
        }
    before, after = top_words(phi, vocabulary, n), top_words(other, vocabulary, n)
    changes = [word_changes(before[k], after[j]) for k, j in enumerate(match)]
    for place, name in enumerate(("shared", "gained", "lost")):
        columns[name] = [", ".join(change[place]) for change in changes]
    return pd.DataFrame(columns, index=pd.RangeIndex(len(match), name="topic"))


def word_changes(
    before: Sequence[str], after: Sequence[str]
) -> tuple[list[str], list[str], list[str]]:
    """Words of both lists, of the second alone, and of the first alone: shared, gained, lost."""
    before, after = check_texts("before", before), check_texts("after", after)
    return (
        [word for word in before if word in after],
        [word for word in after if word not in before],
        [word for word in before if word not in after],
    )


def most_changed(
    overlap: np.ndarray,
    tokens: np.ndarray,
    n: int = 4,
    *,
    min_tokens: float = 500,
    min_overlap: float = 0.0,
) -> np.ndarray:
    """The `n` topics of lowest overlap, lowest first, among those that say something; (<= n,) ids.

    Parameters
    ----------
    overlap : (K,) as `match_topics` gives it
    tokens : (K,) of each topic; of a pair take the smaller number
    min_tokens : topics of fewer tokens are left out: their words are chance
    min_overlap : pairs of less are left out: they are not one topic that changed, but two
    """
    overlap = as_array("overlap", overlap)
    if overlap.ndim != 1 or overlap.dtype.kind not in "fiu" or not len(overlap):
        raise InputError(f"overlap: {overlap.dtype} {overlap.shape}; give a number for each topic")
    tokens = check_topic_tokens("tokens", tokens, len(overlap))
    check_integer("n", n)
    check_not_negative("min_tokens", min_tokens)
    check_share("min_overlap", min_overlap)
    order = np.argsort(overlap, kind="stable")
    kept = (tokens[order] >= min_tokens) & (overlap[order] >= min_overlap)
    return order[kept][:n]


def topic_contingency(
    topics: np.ndarray, other: np.ndarray, n_topics: int, n_other: int, size: int = 2**20
) -> np.ndarray:
    """How many tokens have topic k in one model and topic j in the other: (K, L) int64.

    Parameters
    ----------
    topics, other : (N,) assignments of the same tokens
    n_topics, n_other : K, L
    size : tokens counted at a time
    """
    check_integer("n_topics", n_topics)
    check_integer("n_other", n_other)
    check_integer("size", size)
    topics = check_topics("topics", topics, np.size(other), n_topics)
    other = check_topics("other", other, len(topics), n_other)
    total = np.zeros(n_topics * n_other, np.int64)
    for i in range(0, len(topics), size):
        pairs = topics[i : i + size].astype(np.int64) * n_other + other[i : i + size]
        total += np.bincount(pairs, minlength=len(total))
    return total.reshape(n_topics, n_other)


def split_topics(
    counts: np.ndarray,
    *,
    min_share: float = 0.2,
    min_ratio: float = 2.0,
    min_tokens: float = 500,
) -> "pd.DataFrame":
    """Topics whose tokens two or more topics of the other model divide, the evenest first.

    Topic j is a part of topic k if it has at least `min_share` of k's tokens, and at least
    `min_ratio` times as many as if the two models' assignments were independent. The second
    condition leaves out large topics that have a share of every topic. Topics are in the order
    of the share of their second-largest part. For topics that were merged give ``counts.T``.

    Parameters
    ----------
    counts : (K, L) as `topic_contingency` gives them
    min_tokens : topics of fewer tokens are left out

    Returns
    -------
    DataFrame
        A row per divided topic: `tokens`, `n_parts`, `second_share`, and of its parts, the largest
        first, the numbers (`parts`) and the shares of the topic's tokens (`shares`), as tuples.
    """
    import pandas as pd

    counts = _check_counts(counts)
    check_share("min_share", min_share)
    check_not_negative("min_ratio", min_ratio)
    check_not_negative("min_tokens", min_tokens)
    tokens = counts.sum(axis=1)  # (K,)
    shares = counts / np.maximum(tokens, 1)[:, None]  # (K, L) p(j | k)
    independent = counts.sum(axis=0) / max(counts.sum(), 1)  # (L,) p(j)
    is_part = (shares >= max(min_share, np.finfo(float).tiny)) & (shares >= min_ratio * independent)
    rows = {}
    for k in np.flatnonzero((is_part.sum(axis=1) >= 2) & (tokens >= min_tokens)):
        order = np.argsort(-shares[k], kind="stable")
        parts = order[is_part[k, order]]
        rows[int(k)] = {
            "tokens": int(tokens[k]),
            "n_parts": len(parts),
            "second_share": float(shares[k, parts[1]]),
            "parts": tuple(parts.tolist()),
            "shares": tuple(shares[k, parts].tolist()),
        }
    names = ["tokens", "n_parts", "second_share", "parts", "shares"]
    table = pd.DataFrame.from_dict(rows, orient="index", columns=names)
    table.index.name = "topic"
    return table.sort_values("second_share", ascending=False, kind="stable")


def split_table(
    counts: np.ndarray,
    phi: np.ndarray,
    other: np.ndarray,
    vocabulary: Sequence[str],
    n_topics: int = 4,
    n_words: int = 10,
    *,
    names: Sequence[str] = ("LDA", "LLA"),
    min_share: float = 0.2,
    min_ratio: float = 2.0,
    min_tokens: float = 500,
) -> "pd.DataFrame":
    """The first topics of `split_topics` to read, as in the paper's Table 3.

    Parameters
    ----------
    counts : (K, L)
    phi, other : (V, K), (V, L)
    n_topics : topics shown, fewer where fewer were divided
    names : of the two models
    min_share, min_ratio, min_tokens : what a part is, see `split_topics`

    Returns
    -------
    DataFrame
        For every divided topic a row of its own, then one per part: `model`, `number` of the topic
        in that model, `share` of the divided topic's tokens, `words`. The index is the divided
        topic.
    """
    import pandas as pd

    counts = _check_counts(counts)
    for name, of, size in (("phi", phi, counts.shape[0]), ("other", other, counts.shape[1])):
        check_phi(of, len(vocabulary))
        if of.shape[1] != size:
            raise InputError(
                f"{name}: {of.shape[1]} topics, but counts has {size}; give both alike"
            )
    check_integer("n_topics", n_topics)
    first, second = _check_names(names)
    before, after = top_words(phi, vocabulary, n_words), top_words(other, vocabulary, n_words)
    divided = split_topics(counts, min_share=min_share, min_ratio=min_ratio, min_tokens=min_tokens)
    rows = []
    for k, parts, shares in divided[["parts", "shares"]].head(n_topics).itertuples(name=None):
        rows.append((k, first, k, 1.0, ", ".join(before[k])))
        for j, share in zip(parts, shares, strict=True):
            rows.append((k, second, j, share, ", ".join(after[j])))
    columns = ["topic", "model", "number", "share", "words"]
    return pd.DataFrame(rows, columns=columns).set_index("topic")


def _check_counts(counts: np.ndarray) -> np.ndarray:
    """`counts` as an array; raise InputError unless they are whole numbers (K, L), 0 or more."""
    array = as_array("counts", counts)
    if array.ndim != 2 or array.dtype.kind not in "iu" or (array < 0).any():
        raise InputError(
            f"counts: {array.dtype} {array.shape}; give what topic_contingency returns, (K, L)"
        )
    return array


def _check_names(names: Sequence[str]) -> tuple[str, str]:
    """The names of two models."""
    found = check_texts("names", check_list("names", names))
    if len(found) != 2:
        raise InputError(f"names: {len(found)}; give a name for each of the two models")
    return found[0], found[1]
