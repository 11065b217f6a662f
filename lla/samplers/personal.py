"""Numba kernels of the personal emission: a Pólya urn a document and topic.

Token t of a document, its topic being k, is word w with probability

    p(w | z_t = k, w_<t, z_<t) = (n_dwk + τ_k φ_wk) / (n_dk + τ_k),

n_dwk and n_dk counting the document's earlier tokens: the Dirichlet compound multinomial (Doyle &
Elkan, 2009), revealed word by word. All that a document keeps is its topics and, for every token,
the last earlier place of the same word: no table of it is as wide as the vocabulary.
"""

import numpy as np
from numba import njit


@njit(nogil=True, cache=True)
def previous_occurrence(words, lengths, n_words):
    """Last earlier place of each token's word in its document, -1 where there is none.

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


@njit(nogil=True, cache=True)
def urn_likelihood(words, previous, t, phi, tau, history, totals, likelihood):
    """p(w_t | z_t = k, history) of each lane's word, for every particle's own history.

    Parameters
    ----------
    words, previous : (T, L) ids, and `previous_occurrence` of them
    phi, tau : (V, K), (K,)
    history : (L·P, T) topics of the tokens before t
    totals : (L·P, K) their counts, n_dk
    likelihood : (L'·P, K) output, for the first L' lanes
    """
    n_rows, n_topics = likelihood.shape
    n_particles = history.shape[0] // words.shape[1]
    base = np.empty(n_topics)
    joint = np.empty(n_topics)
    for row in range(n_rows):
        lane = row // n_particles
        if row % n_particles == 0:
            for k in range(n_topics):
                base[k] = np.float64(tau[k]) * phi[words[t, lane], k]
        joint[:] = base
        s = previous[t, lane]
        while s >= 0:
            joint[history[row, s]] += 1.0
            s = previous[s, lane]
        for k in range(n_topics):
            likelihood[row, k] = joint[k] / (totals[row, k] + np.float64(tau[k]))


@njit(nogil=True, cache=True)
def urn_advance(t, topics, ancestors, n_particles, history, totals):
    """Every particle goes on from its ancestor's history with its own topic of token t.

    Parameters
    ----------
    topics, ancestors : (L'·P,) what `filter_step` drew
    history, totals : as in `urn_likelihood`; updated
    """
    n_topics = totals.shape[1]
    for first in range(0, topics.shape[0], n_particles):
        end = first + n_particles
        moved = False
        for row in range(first, end):
            moved = moved or ancestors[row] != row
        if moved:
            before, counts = history[first:end, :t].copy(), totals[first:end].copy()
            for row in range(first, end):
                history[row, :t] = before[ancestors[row] - first]
                totals[row] = counts[ancestors[row] - first]
        for row in range(first, end):
            if topics[row] < n_topics:  # it is not where no topic can emit the word
                history[row, t] = topics[row]
                totals[row, topics[row]] += 1


@njit(nogil=True, cache=True)
def add_own_words(words, t, lanes, weights, theta, tau, history, totals, scores):
    """Add to p(v | w_<t) what a document's own earlier words have beyond their share of φ.

    Token s < t of particle p, of topic k, adds W_p θ_pk / (n_pk + τ_k) to its word.

    Parameters
    ----------
    lanes : (B,) which lanes
    weights, theta : (L, P); (L, K), or (L·P, K) where every particle has its own
    scores : (B, V) output, added to
    """
    n_particles = weights.shape[1]
    own = theta.shape[0] > weights.shape[0]
    for b in range(lanes.shape[0]):
        lane = lanes[b]
        for p in range(n_particles):
            row = lane * n_particles + p
            for s in range(t):
                k = history[row, s]
                share = weights[lane, p] * theta[row if own else lane, k]
                scores[b, words[s, lane]] += share / (totals[row, k] + np.float64(tau[k]))


@njit(nogil=True, cache=True)
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
