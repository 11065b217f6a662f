"""Reading topics: their top words, and how topics of two models correspond."""

from collections.abc import Sequence

import numpy as np

from lla.common.arrays import as_array, check_range, check_topics
from lla.common.errors import (
    InputError,
    check_choice,
    check_integer,
    check_not_negative,
    check_number,
    describe,
)

ORDERS = ("probability", "lift", "relevance")


def check_phi(phi: np.ndarray, n_words: int | None = None) -> None:
    """Raise InputError unless φ is an array (V, K), and of as many words if `n_words` is given."""
    if not isinstance(phi, np.ndarray) or phi.dtype.kind not in "fiu":
        raise InputError(f"phi is {describe(phi)}: give an array (V, K) of probabilities")
    if phi.ndim != 2 or not phi.size or n_words not in (None, len(phi)):
        of = "" if n_words is None else f" of the {n_words} words"
        raise InputError(f"phi: {phi.shape}; give (V, K){of}")


def check_topic_tokens(name: str, topic_tokens: object, n_topics: int) -> np.ndarray:
    """The tokens of each topic, (K,) float64.

    Raises
    ------
    InputError
        Unless there is a number, 0 or more, for each topic, and one of them is above 0.
    """
    tokens = as_array(name, topic_tokens)
    if tokens.shape != (n_topics,) or tokens.dtype.kind not in "iuf":
        raise InputError(
            f"{name}: {tokens.dtype} {tokens.shape}; give the tokens of each of the {n_topics} "
            "topics"
        )
    tokens = tokens.astype(np.float64)
    if not np.isfinite(tokens).all() or (tokens < 0).any() or not (tokens > 0).any():
        raise InputError(f"{name}: give finite numbers, 0 or more, one of them above 0")
    return tokens


def word_lift(phi: np.ndarray, topic_tokens: np.ndarray) -> np.ndarray:
    """Lift φ_wk / p(w), (V, K) float64, where p(w) = Σ_k p(k) φ_wk and p(k) = n_k / N.

    Numerator and denominator are smoothed by the same β, so that of two words that occur in one
    topic alone the more frequent one has the larger lift. A word that no topic has gets 0.

    Parameters
    ----------
    phi : (V, K)
    topic_tokens : (K,) n_k
    """
    check_phi(phi)
    tokens = check_topic_tokens("topic_tokens", topic_tokens, phi.shape[1])
    word_share = (phi @ (tokens / tokens.sum()))[:, None]  # (V, 1)
    lift = np.zeros(phi.shape)
    return np.divide(phi, word_share, out=lift, where=word_share > 0)


def top_word_ids(
    phi: np.ndarray,
    n: int = 10,
    *,
    by: str = "probability",
    relevance: float = 0.6,
    topic_tokens: np.ndarray | None = None,
    min_count: float = 5,
) -> np.ndarray:
    """Ids of the first `n` words of every topic, (min(n, V), K); ties in the vocabulary's order.

    Parameters
    ----------
    phi : (V, K)
    by : "probability" φ_wk; "lift" φ_wk / p(w); or "relevance" λ log φ_wk + (1 - λ) log lift, of
        Sievert and Shirley (2014)
    relevance : λ, from 0 (the order of lift) to 1 (the order of probability)
    topic_tokens : (K,) n_k, which p(w) is computed from; lift and relevance need them
    min_count : lift and relevance would put words first that occur once or twice. Words of which
        the topic has fewer tokens than this, n_k φ_wk, follow all others, the likeliest first
    """
    check_integer("n", n)
    check_choice("by", by, ORDERS)
    if not 0 <= check_number("relevance", relevance, "a number from 0 to 1") <= 1:
        raise InputError(f"relevance is {describe(relevance)}: give a number from 0 to 1")
    check_not_negative("min_count", min_count)
    check_phi(phi)
    if by == "probability":
        return np.argsort(-phi, axis=0, kind="stable")[:n]
    if topic_tokens is None:
        raise InputError(
            f"by is {by!r}, which compares a topic with all tokens: give topic_tokens, the tokens "
            'of each topic, or by="probability"'
        )
    tokens = check_topic_tokens("topic_tokens", topic_tokens, phi.shape[1])
    weight = relevance if by == "relevance" else 0.0
    word_share = phi @ (tokens / tokens.sum())  # (V,) p(w)
    log_share = np.log(word_share, out=np.zeros(len(phi)), where=word_share > 0)
    order = np.empty((min(n, len(phi)), phi.shape[1]), np.int64)
    for k, column in enumerate(phi.T):  # one after another: (V, K) numbers need not fit twice
        possible = (column > 0) & (word_share > 0)
        log_phi = np.log(column.astype(np.float64), out=np.zeros(len(phi)), where=possible)
        # λ log φ + (1 - λ) log lift, of which log φ is a part whatever λ is.
        score = np.where(possible, log_phi - (1 - weight) * log_share, -np.inf)
        rare = column * tokens[k] < min_count
        order[:, k] = np.lexsort((np.where(rare, -column, -score), rare))[:n]
    return order


def top_words(
    phi: np.ndarray,
    vocabulary: Sequence[str],
    n: int = 10,
    *,
    by: str = "probability",
    relevance: float = 0.6,
    topic_tokens: np.ndarray | None = None,
    min_count: float = 5,
) -> list[list[str]]:
    """The first `n` words of every topic, by default the likeliest (see `top_word_ids`).

    Parameters
    ----------
    phi : (V, K)
    """
    check_phi(phi, len(vocabulary))
    order = top_word_ids(
        phi, n, by=by, relevance=relevance, topic_tokens=topic_tokens, min_count=min_count
    )
    return [[vocabulary[w] for w in words] for words in order.T]


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
    from scipy.optimize import linear_sum_assignment

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
