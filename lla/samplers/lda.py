"""Numba kernels of LDA on plain arrays: Gibbs sweeps, folding in, prediction.

Uniforms are passed as arrays, one per token, so that a result does not depend on the number of
threads. Each kernel has a plain Python form (`kernel.py_func`) that the tests compare with the
compiled one. All of them release the GIL: callers run disjoint documents in parallel.
"""

import math
from collections.abc import Callable, Iterable

import numpy as np
from scipy.special import digamma, gammaln

from lla.common.arrays import check_tokens, check_topics
from lla.common.compile import njit
from lla.common.parallel import ALONE, Workers


@njit(nogil=True)
def count_topics(words, topics, word_topic, topic_total):
    """Fill n_wk, `word_topic` (V, K), and n_k, `topic_total` (K,), from the assignments."""
    word_topic[:] = 0
    topic_total[:] = 0
    for i in range(words.shape[0]):
        word_topic[words[i], topics[i]] += 1
        topic_total[topics[i]] += 1


def topic_counts(
    words: np.ndarray, topics: np.ndarray, n_words: int, n_topics: int
) -> tuple[np.ndarray, np.ndarray]:
    """n_wk (V, K) int32 and n_k (K,) int64 of assignments `topics` (N,) to `words` (N,).

    Raises
    ------
    InputError
        When the arrays differ in length, or an id is out of range.
    """
    check_tokens(words, np.array([0, len(words)]), n_words, topics, n_topics)
    word_topic = np.empty((n_words, n_topics), np.int32)
    topic_total = np.empty(n_topics, np.int64)
    count_topics(words, topics, word_topic, topic_total)
    return word_topic, topic_total


def phi_from_counts(word_topic: np.ndarray, topic_total: np.ndarray, beta: float) -> np.ndarray:
    """φ_wk = (n_wk + β)/(n_k + Vβ), (V, K) float64, each column summing to 1 (Algorithm 1, line 9).

    With β > 0 this is the posterior mean; the paper calls it the maximiser.
    """
    n_words = word_topic.shape[0]
    return (word_topic + beta) / (topic_total + n_words * beta)


@njit(nogil=True)
def lda_sweep(words, offsets, topics, word_topic, topic_total, alpha, beta, uniforms):
    """One sweep of collapsed Gibbs sampling for LDA (Griffiths & Steyvers, 2004), in place.

    Every z_i is drawn from (n_dk + α_k) (n_wk + β) / (n_k + Vβ), its own count taken out.

    Parameters
    ----------
    words, topics : (N,) word ids and topic assignments
    offsets : (D+1,) where each document starts
    word_topic, topic_total : (V, K) and (K,) counts, kept in step with `topics`
    alpha : (K,) Dirichlet parameters of a document's topics
    beta : Dirichlet parameter of a topic's words
    uniforms : (N,) in [0, 1)
    """
    n_words, n_topics = word_topic.shape
    v_beta = n_words * beta
    scale = np.empty(n_topics)  # 1 / (n_k + Vβ): divisions happen only where a count changes
    for k in range(n_topics):
        scale[k] = 1.0 / (topic_total[k] + v_beta)
    doc_topic = np.empty(n_topics)
    running = np.empty(n_topics)
    for d in range(offsets.shape[0] - 1):
        for k in range(n_topics):
            doc_topic[k] = alpha[k]
        for i in range(offsets[d], offsets[d + 1]):
            doc_topic[topics[i]] += 1.0
        for i in range(offsets[d], offsets[d + 1]):
            w = words[i]
            old = topics[i]
            doc_topic[old] -= 1.0
            word_topic[w, old] -= 1
            topic_total[old] -= 1
            scale[old] = 1.0 / (topic_total[old] + v_beta)
            total = 0.0
            for k in range(n_topics):
                total += doc_topic[k] * (word_topic[w, k] + beta) * scale[k]
                running[k] = total
            new = np.searchsorted(running, uniforms[i] * total, side="right")
            new = min(new, n_topics - 1)
            topics[i] = new
            doc_topic[new] += 1.0
            word_topic[w, new] += 1
            topic_total[new] += 1
            scale[new] = 1.0 / (topic_total[new] + v_beta)


@njit(nogil=True)
def fold_in_sweep(words, offsets, topics, phi, alpha, uniforms, document_topic):
    """One Gibbs sweep over documents with φ fixed; adds the counts n_dk it ends with.

    Parameters
    ----------
    words, topics : (N,); `topics` is updated in place
    phi : (V, K) probability of a word in a topic
    alpha : (K,)
    uniforms : (N,) in [0, 1)
    document_topic : (D, K) float64, to which this sweep's n_dk are added
    """
    n_topics = phi.shape[1]
    counts = np.empty(n_topics)
    running = np.empty(n_topics)
    for d in range(offsets.shape[0] - 1):
        counts[:] = 0.0
        for i in range(offsets[d], offsets[d + 1]):
            counts[topics[i]] += 1.0
        for i in range(offsets[d], offsets[d + 1]):
            counts[topics[i]] -= 1.0
            total = 0.0
            for k in range(n_topics):
                total += (counts[k] + alpha[k]) * phi[words[i], k]
                running[k] = total
            new = np.searchsorted(running, uniforms[i] * total, side="right")
            topics[i] = min(new, n_topics - 1)
            counts[topics[i]] += 1.0
        for k in range(n_topics):
            document_topic[d, k] += counts[k]


@njit(nogil=True)
def lda_predict(words, starts, ends, phi, alpha, document_topic, update, log_likelihood):
    """Log-probability of words[starts[d]:ends[d]] for every document, word after word, under LDA.

    θ_dk is proportional to n_dk + α_k. With `update` the expected count of each word's topic,
    θ_k φ_wk / Σ, is added once the word has been scored (assumed-density filtering); without,
    θ stays what the observed part made it.

    Parameters
    ----------
    starts, ends : (D,) positions in `words`
    document_topic : (D, K) expected n_dk of the observed part
    log_likelihood : (D,) output, nats
    """
    n_topics = phi.shape[1]
    weight = np.empty(n_topics)
    joint = np.empty(n_topics)
    for d in range(starts.shape[0]):
        norm = 0.0
        for k in range(n_topics):
            weight[k] = document_topic[d, k] + alpha[k]
            norm += weight[k]
        total = 0.0
        for i in range(starts[d], ends[d]):
            p = 0.0
            for k in range(n_topics):
                joint[k] = weight[k] * phi[words[i], k]
                p += joint[k]
            total += math.log(p / norm)
            if update:
                for k in range(n_topics):
                    weight[k] += joint[k] / p
                norm += 1.0
        log_likelihood[d] = total


@njit(nogil=True, error_model="numpy")
def lda_theta(words, phi, alpha, document_topic, theta):
    """θ before each of one document's held-out words, as `lda_predict` with `update` has it.

    Parameters
    ----------
    words : (n,) the held-out words, in order
    phi, alpha : (V, K), (K,)
    document_topic : (K,) expected n_dk of the observed part
    theta : (n, K) output
    """
    weight = document_topic + alpha
    for i in range(words.shape[0]):
        total = weight.sum()
        for k in range(weight.shape[0]):
            theta[i, k] = weight[k] / total
        joint = weight * phi[words[i]]
        weight += joint / joint.sum()


def joint_log_likelihood(
    document_topic: np.ndarray,
    word_topic: np.ndarray,
    topic_total: np.ndarray,
    alpha: np.ndarray,
    beta: float,
) -> float:
    """log p(w, z | α, β), φ and θ integrated out (Griffiths & Steyvers, 2004), nats.

    Parameters
    ----------
    document_topic, word_topic, topic_total : (D, K), (V, K), (K,) counts
    """
    n_words = word_topic.shape[0]
    # Γ(n + β)/Γ(β) is 1 where n = 0, so only the counts above zero are visited.
    n_wk = word_topic[word_topic > 0]
    words = (gammaln(n_wk + beta) - gammaln(beta)).sum()
    words -= (gammaln(topic_total + n_words * beta) - gammaln(n_words * beta)).sum()
    d, k = np.nonzero(document_topic)
    documents = (gammaln(document_topic[d, k] + alpha[k]) - gammaln(alpha[k])).sum()
    lengths = document_topic.sum(axis=1)
    documents -= (gammaln(lengths + alpha.sum()) - gammaln(alpha.sum())).sum()
    return float(words + documents)


def update_alpha(document_topic: np.ndarray, alpha: np.ndarray, n_steps: int = 5) -> np.ndarray:
    """α (K,) moved by `n_steps` of Minka's fixed point (2000, eq. 55) towards the likeliest.

    A topic that no document uses keeps a small α, so that it can come back.
    """
    lengths = document_topic.sum(axis=1)
    for _ in range(n_steps):
        gain = (digamma(document_topic + alpha) - digamma(alpha)).sum(axis=0)
        loss = (digamma(lengths + alpha.sum()) - digamma(alpha.sum())).sum()
        alpha = np.maximum(alpha * gain / loss, 1e-4)
    return alpha


def update_alpha_of_entries(
    entries: Callable[[], Iterable[tuple[np.ndarray, np.ndarray] | None]],
    lengths: np.ndarray,
    alpha: np.ndarray,
    n_steps: int = 5,
    workers: Workers = ALONE,
) -> np.ndarray:
    """`update_alpha` from the n_dk above zero: blocks of their topics (E,) and counts (E,).

    A block is None where another process has it.
    """
    for _ in range(n_steps):
        gains = np.array([_gain_of_block(block, alpha) for block in entries()])  # (blocks, K)
        workers.add_up(gains)
        gain = np.zeros(len(alpha))
        for of_block in gains:
            gain += of_block
        loss = (digamma(lengths + alpha.sum()) - digamma(alpha.sum())).sum()
        alpha = np.maximum(alpha * gain / loss, 1e-4)
    return alpha


def _gain_of_block(block: tuple[np.ndarray, np.ndarray] | None, alpha: np.ndarray) -> np.ndarray:
    """Σ ψ(n_dk + α_k) - ψ(α_k) over the entries of a block, (K,); 0 where there is none."""
    if block is None:
        return np.zeros(len(alpha))
    topic, count = block
    gains = digamma(count + alpha[topic]) - digamma(alpha)[topic]
    return np.bincount(topic, gains, minlength=len(alpha))


def document_topic_counts(offsets: np.ndarray, topics: np.ndarray, n_topics: int) -> np.ndarray:
    """n_dk, (D, K) int64, of assignments `topics` (N,) in documents from `offsets` (D+1,) on."""
    check_topics("topics", topics, int(offsets[-1]), n_topics)
    n_documents = len(offsets) - 1
    document = np.repeat(np.arange(n_documents), np.diff(offsets))
    flat = np.bincount(document * n_topics + topics, minlength=n_documents * n_topics)
    return flat.reshape(n_documents, n_topics)
