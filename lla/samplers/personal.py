"""Numba kernels of the personal emission: a Pólya urn per document and topic.

Token t of a document, its topic being k, is word w with probability

    p(w | z_t = k, w_<t, z_<t) = (n_dwk + τ_k φ_wk) / (n_dk + τ_k),

n_dwk and n_dk counting the document's earlier tokens: the Dirichlet compound multinomial (Doyle &
Elkan, 2009), revealed word by word. A document keeps its topics and, for every token, the last
earlier position of the same word: no table is as wide as the vocabulary.
"""

from typing import NamedTuple

import numpy as np

from lla.common.compile import njit


class Urns(NamedTuple):
    """L documents side by side, each with the topic histories of its P particles.

    words : (T, L) int64 ids
    previous : (T, L) int32 last earlier position of each token's word, -1 where there is none
    history : (L·P, T) int32 topics so far; K where a token belongs to none
    common : (L,) int64 as many first tokens have the same topics in all of a lane's particles
    totals : (L·P, K) int32 their counts n_dk
    phi, tau : (V, K), (K,)
    """

    words: np.ndarray
    previous: np.ndarray
    history: np.ndarray
    common: np.ndarray
    totals: np.ndarray
    phi: np.ndarray
    tau: np.ndarray


@njit(nogil=True)
def previous_occurrence(words, lengths, n_words):
    """Last earlier position of each token's word in its document, -1 where there is none.

    Parameters
    ----------
    words : (T, L) ids; column l is a document of lengths[l] tokens

    Returns
    -------
    previous : (T, L) int32
    """
    previous = np.full(words.shape, -1, np.int32)
    last = np.full(n_words, -1, np.int32)
    for lane in range(words.shape[1]):
        for t in range(lengths[lane]):
            previous[t, lane] = last[words[t, lane]]
            last[words[t, lane]] = t
        for t in range(lengths[lane]):
            last[words[t, lane]] = -1
    return previous


@njit(nogil=True)
def find_previous(words, t, previous):
    """`previous_occurrence` of row t alone, (T, L) both: for documents that grow."""
    for lane in range(words.shape[1]):
        s = t - 1
        while s >= 0 and words[s, lane] != words[t, lane]:
            s -= 1
        previous[t, lane] = s


@njit(nogil=True, error_model="numpy")  # τ > 0, and divisions without a check become vectors
def urn_likelihood(urns, t, likelihood):
    """p(w_t | z_t = k, history) of each lane's word, for every particle's own history.

    Parameters
    ----------
    urns : Urns whose histories reach up to t - 1
    likelihood : (L'·P, K) output, for the first L' lanes
    """
    words, previous, history, common, totals, phi, tau = urns
    n_rows, n_topics = likelihood.shape
    n_particles = history.shape[0] // words.shape[1]
    tau_f64 = tau.astype(np.float64)
    # n_dwk + τ_k φ_wk; the last place counts tokens that belong to no topic.
    shared, joint = np.zeros(n_topics + 1), np.empty(n_topics + 1)
    for first in range(0, n_rows, n_particles):
        lane = first // n_particles
        for k in range(n_topics):
            shared[k] = tau_f64[k] * phi[words[t, lane], k]
        s = previous[t, lane]
        while s >= common[lane]:
            s = previous[s, lane]
        while s >= 0:
            shared[history[first, s]] += 1.0
            s = previous[s, lane]
        for row in range(first, first + n_particles):
            for k in range(n_topics + 1):
                joint[k] = shared[k]
            s = previous[t, lane]
            while s >= common[lane]:
                joint[history[row, s]] += 1.0
                s = previous[s, lane]
            for k in range(n_topics):
                likelihood[row, k] = joint[k] / (totals[row, k] + tau_f64[k])


@njit(nogil=True)
def first_difference(rows, start, end):
    """First column from `start` on at which not all rows are equal; `end` where there is none."""
    for s in range(start, end):
        for row in range(1, rows.shape[0]):
            if rows[row, s] != rows[0, s]:
                return s
    return end


@njit(nogil=True)
def urn_advance(urns, t, topics, ancestors):
    """Every particle continues its ancestor's history with its own topic of token t.

    Only what particles do not share is copied: resampling soon leaves them one early history, so
    that the cost of a step does not grow with the document.

    Parameters
    ----------
    topics, ancestors : (L'·P,) as `filter_step` draws them, for the first L' lanes
    """
    words, _, history, common, totals, _, _ = urns
    n_particles = history.shape[0] // words.shape[1]
    n_topics = totals.shape[1]
    for lane in range(topics.shape[0] // n_particles):
        first, end, start = lane * n_particles, (lane + 1) * n_particles, common[lane]
        moved = False
        for row in range(first, end):
            moved = moved or ancestors[row] != row
        if moved:
            before, counts = history[first:end, start:t].copy(), totals[first:end].copy()
            for row in range(first, end):
                if ancestors[row] != row:
                    ancestor = ancestors[row] - first
                    for s in range(start, t):
                        history[row, s] = before[ancestor, s - start]
                    for k in range(n_topics):
                        totals[row, k] = counts[ancestor, k]
        for row in range(first, end):
            history[row, t] = min(topics[row], n_topics)
            if topics[row] < n_topics:  # it is not where a source, or no topic, emits the word
                totals[row, topics[row]] += 1
        common[lane] = first_difference(history[first:end], start, t + 1)


@njit(nogil=True)
def add_own_words(urns, t, lanes, weights, theta, scores):
    """Add to p(v | w_<t) what a document's own earlier words have beyond their share of φ.

    Token s < t of particle p, of topic k, adds W_p θ_pk / (n_pk + τ_k) to its word.

    Parameters
    ----------
    lanes : (B,) which lanes
    weights, theta : (L, P); (L, K), or (L·P, K) where every particle has its own
    scores : (B, V) output, added to
    """
    words, _, history, _, totals, _, tau = urns
    n_particles, n_topics = weights.shape[1], totals.shape[1]
    theta_per_particle = theta.shape[0] > weights.shape[0]
    for b in range(lanes.shape[0]):
        lane = lanes[b]
        for p in range(n_particles):
            row = lane * n_particles + p
            for s in range(t):
                k = history[row, s]
                if k == n_topics:
                    continue
                share = weights[lane, p] * theta[row if theta_per_particle else lane, k]
                scores[b, words[s, lane]] += share / (totals[row, k] + np.float64(tau[k]))


@njit(nogil=True)
def repeat_own_words(urns, t, topics, uniforms, drawn, rest):
    """Draw one of the n_dk earlier words of a topic with probability n_dk / (n_dk + τ_k).

    Parameters
    ----------
    topics, uniforms : (L·P,), in [0, 1)
    drawn : (L·P,) output, word ids; -1 where the word is to be drawn from φ_k
    rest : (L·P,) output, a uniform in [0, 1) for that draw
    """
    words, _, history, _, totals, _, tau = urns
    n_particles = history.shape[0] // words.shape[1]
    below_one = np.nextafter(1.0, 0.0)
    for row in range(topics.shape[0]):
        k = topics[row]
        n, tau_k = np.float64(totals[row, k]), np.float64(tau[k])
        target = uniforms[row] * (n + tau_k)
        drawn[row] = -1
        rest[row] = min(max((target - n) / tau_k, 0.0), below_one)
        if target < n:
            left = int(target)
            for s in range(t):
                if history[row, s] == k:
                    if left == 0:
                        drawn[row] = words[s, row // n_particles]
                        break
                    left -= 1


@njit(nogil=True)
def urn_ranks(words, offsets, topics, n_words, n_topics):
    """How many earlier tokens of its document share each token's topic, and word and topic.

    Returns
    -------
    same_topic, same_both : (N,) int32, n_dk and n_dwk before the token
    """
    same_topic = np.empty(words.shape[0], np.int32)
    same_both = np.zeros(words.shape[0], np.int32)
    previous = np.empty(words.shape[0], np.int64)
    totals = np.zeros(n_topics, np.int32)
    last = np.full(n_words, -1, np.int64)
    for d in range(offsets.shape[0] - 1):
        for i in range(offsets[d], offsets[d + 1]):
            previous[i] = last[words[i]]
            last[words[i]] = i
            same_topic[i] = totals[topics[i]]
            totals[topics[i]] += 1
            # The chain ends at the last one of the same topic, whose own number is known.
            s = previous[i]
            while s >= 0 and topics[s] != topics[i]:
                s = previous[s]
            if s >= 0:
                same_both[i] = same_both[s] + 1
        for i in range(offsets[d], offsets[d + 1]):
            last[words[i]] = -1
            totals[topics[i]] = 0
    return same_topic, same_both
