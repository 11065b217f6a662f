"""LDA by sparse collapsed Gibbs sampling, word by word: the cost of a token does not grow with K.

With q_k = (n_wk + β)/(n_k + Vβ) the conditional of a token has two parts (Yu et al., 2015, after
Yao et al., 2009):

    (n_dk + α_k) q_k = n_dk q_k + α_k q_k

The first has as many terms as the document has topics, and is summed for every token. The second
is updated: a token that moves changes two of its K terms. Its sums over blocks of about √K topics
are a tree of two levels, in which a change costs one addition; an F+ tree would need log₂ K of them
to save a little on draws from this part, which are few (2% at K = 100, 13% at K = 1,000). One array
(K,) holds the q_k of the current word; only the entries of its topics are set when the word begins
and reset when it ends. n_wk is counted from the word's tokens then, and never stored.
"""

import math
from typing import NamedTuple

import numpy as np

from lla.common.compile import njit

# α_k q_k is summed again after this many changes per topic. A change errs by at most half a unit in
# the last place, so the sums are within 8K·2⁻⁵³ of the largest since then: 1e-12 at K = 1,000.
CHANGES = 8
RUN = 16  # n_dk q_k is summed in runs of so many entries: independent sums run in parallel


class Documents(NamedTuple):
    """n_dk without its zeros: the entries of document d are slots[d] .. slots[d] + sizes[d] - 1.

    slots : (D+1,) int64, min(N_d, K) slots per document
    sizes : (D,) int32
    topic, count : uint16 where K and the longest document allow, since their rows are read for
        every token; else int32
    """

    slots: np.ndarray
    sizes: np.ndarray
    topic: np.ndarray
    count: np.ndarray  # type: ignore[assignment]


class Word(NamedTuple):
    """Counts and weights of the current word; one per thread.

    count, total : (K,) n_wk and n_k
    scale : (K,) 1/(n_k + Vβ): divisions happen only where a count changes
    weight : (K,) q_k = (n_wk + β)/(n_k + Vβ)
    blocks : sums of α_k q_k over 2^shift topics each
    """

    count: np.ndarray  # type: ignore[assignment]
    total: np.ndarray
    scale: np.ndarray
    weight: np.ndarray
    blocks: np.ndarray


@njit(nogil=True)
def block_shift(n_topics):
    """The smallest shift at which there are no more blocks of 2^shift topics than topics in one."""
    shift = 0
    while (1 << (2 * shift)) < n_topics:
        shift += 1
    return shift


@njit(nogil=True)
def set_weight(weight, blocks, k, value, alpha, shift):
    """Set q_k to `value`, and update the sum of its block."""
    blocks[k >> shift] += alpha[k] * (value - weight[k])
    weight[k] = value


@njit(nogil=True)
def find_topic(entry_topic, first, last, topic):
    """Index of `topic` among the entries first..last-1; `last` when it is not there."""
    at = first
    while at < last and entry_topic[at] != topic:
        at += 1
    return at


@njit(nogil=True)
def draw_smooth(weight, blocks, alpha, shift, target):
    """The topic at which the running sum of α_k q_k first exceeds `target`, or the last one."""
    running, block = 0.0, 0
    while block < blocks.shape[0] - 1 and running + blocks[block] <= target:
        running += blocks[block]
        block += 1
    k = block << shift
    last = min(alpha.shape[0], k + (1 << shift)) - 1
    running += alpha[k] * weight[k]
    while k < last and running <= target:
        k += 1
        running += alpha[k] * weight[k]
    return k


@njit(nogil=True)
def draw_entry(entry_topic, entry_count, first, last, weight, runs, target):
    """The entry of first..last-1 at which the running sum of n_dk q_k first exceeds `target`.

    `runs` holds the sums over every RUN entries; `target` is below their sum, in this order.
    """
    run, running = 0, runs[0]
    while running <= target:
        run += 1
        running += runs[run]
    target -= running - runs[run]
    j = first + run * RUN
    end = min(j + RUN, last) - 1
    running = entry_count[j] * weight[entry_topic[j]]
    while j < end and running <= target:
        j += 1
        running += entry_count[j] * weight[entry_topic[j]]
    while entry_count[j] == 0:  # rounding let `target` reach the run's end
        j -= 1
    return j


@njit(nogil=True)
def sample_word(topics, documents, uniforms, entries, word, alpha, beta, n_words):
    """Draw every token of one word; `topics`, `documents` and `uniforms` are those of its tokens.

    Returns the number of counts that changed.
    """
    shift, v_beta = block_shift(alpha.shape[0]), n_words * beta
    # Unpacked once: reading a field of a tuple counts a reference every time.
    slots, sizes, entry_topic, entry_count = entries
    word_count, topic_total, scale, weight, blocks = word
    smooth, changes = blocks.sum(), 0
    runs = np.empty(alpha.shape[0] // RUN + 1)  # Σ n_dk q_k over runs of a document's entries
    for i in range(topics.shape[0]):
        old, d = topics[i], documents[i]
        low = slots[d]
        high = low + sizes[d]
        at = find_topic(entry_topic, low, high, old)
        entry_count[at] -= 1
        kept = weight[old]
        scale_old = 1.0 / (topic_total[old] - 1 + v_beta)
        weight[old] = (word_count[old] - 1 + beta) * scale_old
        change = alpha[old] * (weight[old] - kept)
        total, run, j = 0.0, 0, low
        while j < high:
            end, here = min(j + RUN, high), 0.0
            while j < end:
                here += entry_count[j] * weight[entry_topic[j]]
                j += 1
            runs[run] = here
            total += here
            run += 1
        target = uniforms[i] * (total + smooth + change)
        if target < total:
            to = draw_entry(entry_topic, entry_count, low, high, weight, runs, target)
            new = entry_topic[to]
            if new == old:  # the most common case: restore everything, to the last bit
                entry_count[at] += 1
                weight[old] = kept
                continue
            blocks[old >> shift] += change
        else:
            blocks[old >> shift] += change
            new = draw_smooth(weight, blocks, alpha, shift, target - total)
            to = find_topic(entry_topic, low, high, new)
            if to == high:  # the slot that has just become free may be the only one
                to = high if entry_count[at] > 0 else at
                high += to == high
                entry_topic[to], entry_count[to] = new, 0
        entry_count[to] += 1
        if entry_count[at] == 0:
            high -= 1
            entry_topic[at], entry_count[at] = entry_topic[high], entry_count[high]
        sizes[d] = high - low
        word_count[old] -= 1
        topic_total[old] -= 1
        scale[old] = scale_old
        word_count[new] += 1
        topic_total[new] += 1
        scale[new] = 1.0 / (topic_total[new] + v_beta)
        kept = weight[new]
        set_weight(weight, blocks, new, (word_count[new] + beta) * scale[new], alpha, shift)
        smooth += change + alpha[new] * (weight[new] - kept)
        topics[i] = new
        changes += 2
    return changes


@njit(nogil=True)
def sample_block(
    first, last, shard, starts, topics, documents, entries, total, alpha, beta, uniforms
):
    """One shard's tokens of the words first..last-1, each drawn from its conditional, in place.

    Parameters
    ----------
    starts : (S, V+1) where in `topics` a shard's tokens of a word start
    topics, documents : (N,) of the tokens, ordered by shard, word, document
    entries : Documents, kept in step with `topics`
    total : (K,) int64 n_k, kept in step
    alpha, beta : (K,) and the parameter of one word
    uniforms : in [0, 1), one for each of these tokens, in their order
    """
    n_topics, n_words = alpha.shape[0], starts.shape[1] - 1
    shift = block_shift(n_topics)
    count, seen = np.zeros(n_topics, np.int32), np.empty(n_topics, topics.dtype)
    scale = 1.0 / (total + n_words * beta)
    weight, blocks = beta * scale, np.zeros(((n_topics - 1) >> shift) + 1)
    word = Word(count, total, scale, weight, blocks)
    changes = CHANGES * n_topics
    for w in range(first, last):
        low, high = starts[shard, w], starts[shard, w + 1]
        if low == high:
            continue
        if changes >= CHANGES * n_topics:
            changes = 0
            blocks[:] = 0.0
            for k in range(n_topics):
                blocks[k >> shift] += alpha[k] * weight[k]
        n_seen = 0
        for s in range(starts.shape[0]):
            for k in topics[starts[s, w] : starts[s, w + 1]]:
                if count[k] == 0:
                    seen[n_seen] = k
                    n_seen += 1
                count[k] += 1
        for k in seen[:n_seen]:
            set_weight(weight, blocks, k, (count[k] + beta) * scale[k], alpha, shift)
        begin = starts[shard, first]
        word_topics = topics[low:high]
        changes += sample_word(
            word_topics, documents[low:high], uniforms[low - begin : high - begin],
            entries, word, alpha, beta, n_words,
        )  # fmt: skip
        # New topics of the word are among those just drawn.
        for used in (seen[:n_seen], word_topics):
            for k in used:
                count[k] = 0
                set_weight(weight, blocks, k, beta * scale[k], alpha, shift)
        changes += 2 * n_seen


@njit(nogil=True)
def sort_entries(entries, first, last):
    """Entries of documents first..last-1 by falling count, then topic.

    The order depends only on the assignments, so that an interrupted run resumes bit by bit; and
    searches for a topic meet the most frequent ones first.
    """
    topic, count = entries.topic, entries.count
    for d in range(first, last):
        low = entries.slots[d]
        for i in range(low + 1, low + entries.sizes[d]):
            k, n = topic[i], count[i]
            j = i
            while j > low and (count[j - 1] < n or (count[j - 1] == n and topic[j - 1] > k)):
                topic[j], count[j] = topic[j - 1], count[j - 1]
                j -= 1
            topic[j], count[j] = k, n


@njit(nogil=True)
def count_documents(offsets, topics, n_topics, entries):
    """Fill `entries` from assignments `topics` (N,), document after document."""
    slots, sizes, entry_topic, entry_count = entries
    count = np.zeros(n_topics, np.int32)
    for d in range(sizes.shape[0]):
        high = slots[d]
        for k in topics[offsets[d] : offsets[d + 1]]:
            if count[k] == 0:
                entry_topic[high] = k
                high += 1
            count[k] += 1
        sizes[d] = high - slots[d]
        for j in range(slots[d], high):
            entry_count[j] = count[entry_topic[j]]
            count[entry_topic[j]] = 0


@njit(nogil=True)
def find_places(words, rank, next_place, places):
    """Position in word order of each of a shard's tokens; `next_place` (V,) is overwritten."""
    for i in range(words.shape[0]):
        r = rank[words[i]]
        places[i] = next_place[r]
        next_place[r] += 1


@njit(nogil=True)
def words_log_likelihood(first, last, starts, topics, n_topics, beta):
    """Σ log Γ(n_wk + β)/Γ(β) over the words first..last-1."""
    count, total, log_gamma = np.zeros(n_topics, np.int32), 0.0, math.lgamma(beta)
    for w in range(first, last):
        for s in range(starts.shape[0]):
            for k in topics[starts[s, w] : starts[s, w + 1]]:
                count[k] += 1
        for s in range(starts.shape[0]):
            for k in topics[starts[s, w] : starts[s, w + 1]]:
                if count[k] > 0:
                    total += math.lgamma(count[k] + beta) - log_gamma
                    count[k] = 0
    return total


@njit(nogil=True)
def documents_log_likelihood(first, last, entries, alpha):
    """Σ log Γ(n_dk + α_k)/Γ(α_k) over the documents first..last-1."""
    slots, sizes, entry_topic, entry_count = entries
    log_gamma = np.empty(alpha.shape[0])
    for k in range(alpha.shape[0]):
        log_gamma[k] = math.lgamma(alpha[k])
    total = 0.0
    for d in range(first, last):
        for j in range(slots[d], slots[d] + sizes[d]):
            k = entry_topic[j]
            total += math.lgamma(entry_count[j] + alpha[k]) - log_gamma[k]
    return total
