"""Metropolis-Hastings for topics (paper, section 3.2): Numba kernels on plain arrays.

A token's topic has p(k) ∝ exp(o_k) (s_k + d_k), with logits o = W_p s_t + b_p, a sparse part
s_k = n_wk / (n_k + Vβ) and a dense part d_k = β / (n_k + Vβ). Proposals come from
q(k) ∝ exp(o_k - c) s_k + d_k: the sparse part is exact, the dense part ignores the LSTM and is
drawn from an alias table. With r = p / q, known up to a constant, a move from topic k to l is
accepted with probability min(1, r_l / r_k). Any c is correct; the nearer exp(c) is to the mean of
exp(o_k), the more is accepted. No softmax over K is computed.

Named tuples are unpacked once per call of `move_topics`: Numba counts a reference whenever a field
is read, which in the loop over tokens would take as long as all the rest.
"""

import math
from typing import NamedTuple

import numpy as np

from lla.common.compile import njit

MAX_EXPONENT = 700.0  # exp of more is infinite


class Output(NamedTuple):
    """The output layer: W_p (K, H padded with zeros) and b_p (K,), float32."""

    weight: np.ndarray
    bias: np.ndarray


class Rows(NamedTuple):
    """The sparse part of every word, in compressed rows.

    starts : (V + 1,) int64 where the row of a word begins
    topics : (nnz,) int32, rising within a row
    phi : (nnz,) float32 s_k
    """

    starts: np.ndarray
    topics: np.ndarray
    phi: np.ndarray


class Alias(NamedTuple):
    """A Walker alias table: cell k is drawn uniformly, then k with `keep[k]`, else `other[k]`.

    weights : (K,) float64 d_k, from which it was built
    keep : (K,) float64
    other : (K,) int32
    """

    weights: np.ndarray
    keep: np.ndarray
    other: np.ndarray


class Proposal(NamedTuple):
    """All that the topics of one SE-step are drawn from.

    dense_total : Σ_k d_k
    log_scale : c
    """

    output: Output
    rows: Rows
    alias: Alias
    dense_total: float
    log_scale: float


class TokenLanes(NamedTuple):
    """The current token of each of L lanes, and scratch space.

    position : (L,) int64 the tokens; moves on by one
    states : (L, H padded)
    uniforms : (L, B, 2·n_mh) in [0, 1): a proposal and an acceptance for each step, B tokens ahead
    inputs : (L,) int64 output, the next inputs of the LSTM
    scaled, running : as long as the longest row
    """

    position: np.ndarray
    states: np.ndarray
    uniforms: np.ndarray
    inputs: np.ndarray
    scaled: np.ndarray
    running: np.ndarray


@njit(nogil=True)
def sparse_rows(words, topics, n_words, n_topics, n_pieces):
    """n_wk in compressed rows: starts (V + 1,), topics and counts (nnz,), and n_k (K,).

    Topics are sorted by word for a part of the vocabulary at a time, about 1 / `n_pieces` of the
    tokens, so that no second array of N topics is needed. The first pass only counts pairs.
    """
    ends = np.zeros(n_words + 1, np.int64)
    for i in range(words.shape[0]):
        ends[words[i] + 1] += 1
    size = words.shape[0] // n_pieces + 1
    for w in range(n_words):
        size = max(size, ends[w + 1])
        ends[w + 1] += ends[w]
    piece = np.empty(size, topics.dtype)
    starts = np.zeros(n_words + 1, np.int64)
    total = np.zeros(n_topics, np.int64)
    last = np.full(n_topics, -1, np.int64)  # word that a topic was last seen with
    none = np.int64(0)  # for the constant 0 `gather_topics` would be compiled once more
    first = none
    while first < n_words:
        stop = gather_topics(words, topics, ends, first, piece)
        for w in range(first, stop):
            starts[w + 1] = starts[w]
            for i in range(ends[w] - ends[first], ends[w + 1] - ends[first]):
                total[piece[i]] += 1
                if last[piece[i]] != w:
                    last[piece[i]] = w
                    starts[w + 1] += 1
        first = stop
    row_topics = np.empty(starts[n_words], np.int32)
    counts = np.empty(starts[n_words], np.int32)
    tally = np.zeros(n_topics, np.int32)  # n_wk of the current word
    first = none
    while first < n_words:
        stop = n_words
        if first > 0 or ends[n_words] > size:  # else the piece is still there
            stop = gather_topics(words, topics, ends, first, piece)
        for w in range(first, stop):
            row = row_topics[starts[w] : starts[w + 1]]
            n = 0
            for i in range(ends[w] - ends[first], ends[w + 1] - ends[first]):
                k = piece[i]
                if tally[k] == 0:
                    row[n] = k
                    n += 1
                tally[k] += 1
            row.sort()
            for i in range(n):
                counts[starts[w] + i] = tally[row[i]]
                tally[row[i]] = 0
        first = stop
    return starts, row_topics, counts, total


@njit(nogil=True)
def gather_topics(words, topics, ends, first, piece):
    """Topics of the words from `first` on, word after word, into `piece`; the word after the last.

    The topics of word w begin at ends[w] - ends[first]; as many whole words as there is room for.
    """
    stop = first
    while stop < ends.shape[0] - 1 and ends[stop + 1] - ends[first] <= piece.shape[0]:
        stop += 1
    place = ends[first:stop] - ends[first]
    for i in range(words.shape[0]):
        w = words[i]
        if first <= w < stop:
            piece[place[w - first]] = topics[i]
            place[w - first] += 1
    return stop


@njit(nogil=True)
def merge_rows(lengths, topics, counts, n_topics):
    """`sparse_rows` of several parts of a corpus, added: lengths (V,), topics and counts (nnz,).

    lengths : (P, V) of the rows of every part
    topics, counts : of all rows, part after part, within it word after word
    """
    n_parts, n_words = lengths.shape
    place = np.zeros(n_parts, np.int64)  # of the next pair of each part
    for p in range(1, n_parts):
        place[p] = place[p - 1] + lengths[p - 1].sum()
    length = np.empty(n_words, np.int64)
    row_topics = np.empty_like(topics)
    row_counts = np.empty_like(counts)
    tally = np.zeros(n_topics, np.int32)  # n_wk of the current word
    n = 0
    for w in range(n_words):
        first = n
        for p in range(n_parts):
            for i in range(place[p], place[p] + lengths[p, w]):
                k = topics[i]
                if tally[k] == 0:
                    row_topics[n] = k
                    n += 1
                tally[k] += counts[i]
            place[p] += lengths[p, w]
        row_topics[first:n].sort()
        for i in range(first, n):
            row_counts[i] = tally[row_topics[i]]
            tally[row_topics[i]] = 0
        length[w] = n - first
    return length, row_topics[:n], row_counts[:n]


@njit(nogil=True)
def fill_alias(weights, keep, other):
    """Vose's method: `keep` and `other` (K,) such that a draw has probability weights / Σ."""
    n = weights.shape[0]
    mean = weights.sum() / n
    other[:] = np.argmax(weights)  # where rounding leaves a cell of weight zero without a partner
    small = np.empty(n, np.int64)
    large = np.empty(n, np.int64)
    n_small = 0
    n_large = 0
    for k in range(n):
        keep[k] = weights[k] / mean
        if keep[k] < 1.0:
            small[n_small] = k
            n_small += 1
        else:
            large[n_large] = k
            n_large += 1
    while n_small > 0 and n_large > 0:
        n_small -= 1
        k = small[n_small]
        donor = large[n_large - 1]
        other[k] = donor
        keep[donor] -= 1.0 - keep[k]
        if keep[donor] < 1.0:
            n_large -= 1
            small[n_small] = donor
            n_small += 1
    for i in range(n_large):  # rounding leaves these full, not empty
        keep[large[i]] = 1.0
    for i in range(n_small):
        if weights[small[i]] > 0.0:
            keep[small[i]] = 1.0


@njit(nogil=True)
def draw_alias(keep, other, uniform):
    """A topic by one uniform in [0, 1): its cell, and what is left over decides within it."""
    n = keep.shape[0]
    k = min(int(uniform * n), n - 1)
    return k if uniform * n - k < keep[k] else other[k]


# Only here is the order of a sum left to the compiler: otherwise it is no vector operation.
@njit(nogil=True, fastmath={"reassoc", "contract"})
def logit(weight, bias, k, states, lane):
    """o_k = W_p[k]·s + b_k."""
    total = np.float32(0.0)
    for j in range(states.shape[1]):
        total += weight[k, j] * states[lane, j]
    return total + bias[k]


@njit(nogil=True)
def scaled_exp(o, log_scale):
    """exp(o - c), finite."""
    return math.exp(min(np.float64(o) - log_scale, MAX_EXPONENT))


@njit(nogil=True)
def target_over_proposal(scaled, sparse, dense):
    """r = p / q of a topic, up to a constant: the conditional over the proposal."""
    return scaled * (sparse + dense) / (scaled * sparse + dense)


@njit(nogil=True)
def find(topics, begin, end, k):
    """Position of `k` in the rising topics[begin:end], -1 when it is not there."""
    last = end
    while begin < end:
        middle = (begin + end) // 2
        if topics[middle] < k:
            begin = middle + 1
        else:
            end = middle
    return begin if begin < last and topics[begin] == k else -1


@njit(nogil=True)
def first_above(running, length, target):
    """First index of the rising running[:length] above `target`, the last when none is."""
    begin = 0
    end = length - 1
    while begin < end:
        middle = (begin + end) // 2
        if running[middle] > target:
            end = middle
        else:
            begin = middle + 1
    return begin


@njit(nogil=True)
def row_weights(
    weight, bias, row_topics, row_phi, begin, end, states, lane, log_scale, scaled, running
):
    """Fill exp(o_k - c) and the running sum of exp(o_k - c) s_k over a word's row; its total."""
    for i in range(end - begin):
        scaled[i] = logit(weight, bias, row_topics[begin + i], states, lane)
    total = 0.0
    for i in range(end - begin):
        scaled[i] = scaled_exp(scaled[i], log_scale)
        total += scaled[i] * row_phi[begin + i]
        running[i] = total
    return total


@njit(nogil=True)
def acceptance_weight(
    weight, bias, row_topics, row_phi, begin, end, dense, k, states, lane, log_scale, scaled
):  # fmt: skip
    """`target_over_proposal` of topic k, in the row or not."""
    i = find(row_topics, begin, end, k)
    if i >= 0:
        return target_over_proposal(scaled[i - begin], row_phi[i], dense[k])
    outside = scaled_exp(logit(weight, bias, k, states, lane), log_scale)
    return target_over_proposal(outside, 0.0, dense[k])


@njit(nogil=True)
def move_topics(proposal, words, topics, lanes, column, lstm_inputs, drawn):
    """Metropolis-Hastings steps for one token in each of L lanes.

    Parameters
    ----------
    proposal : Proposal
    words, topics : (N,) the corpus and its last assignments; `drawn` may be the same array
    lanes : TokenLanes
    column : which of the B uniforms to use
    lstm_inputs : (N,) what the LSTM reads of a token: `words`, or `drawn`
    drawn : (N,) output

    Returns
    -------
    accepted, sparse, changed, failed : number of proposals accepted; of those from the sparse
        part; of topics that differ from the last ones; and a token for which the model gives no
        probabilities, or -1
    """
    (weight, bias), rows, alias, dense_total, log_scale = proposal
    starts, row_topics, row_phi = rows
    dense, keep, other = alias
    position, states, uniforms, inputs, scaled, running = lanes
    n_changed = 0
    n_accepted = 0
    n_sparse = 0
    failed = -1
    for lane in range(position.shape[0]):
        token = position[lane]
        position[lane] += 1
        begin = starts[words[token]]
        end = starts[words[token] + 1]
        row_total = row_weights(
            weight, bias, row_topics, row_phi, begin, end, states, lane, log_scale, scaled, running
        )
        total = row_total + dense_total
        k = topics[token]
        here = acceptance_weight(
            weight, bias, row_topics, row_phi, begin, end, dense, k, states, lane, log_scale, scaled
        )
        drawn[token] = k
        inputs[lane] = lstm_inputs[token]
        if not (total < math.inf and here >= 0.0):
            failed = token
            continue
        for step in range(0, uniforms.shape[2], 2):
            target = uniforms[lane, column, step] * total
            if target < row_total:
                i = first_above(running, end - begin, target)
                proposed = row_topics[begin + i]
                there = target_over_proposal(scaled[i], row_phi[begin + i], dense[proposed])
                n_sparse += 1
            else:
                proposed = draw_alias(keep, other, (target - row_total) / dense_total)
                there = acceptance_weight(
                    weight, bias, row_topics, row_phi, begin, end, dense, proposed, states, lane,
                    log_scale, scaled,
                )  # fmt: skip
            if uniforms[lane, column, step + 1] * here < there:
                k = proposed
                here = there
                n_accepted += 1
        n_changed += k != topics[token]
        drawn[token] = k
        inputs[lane] = lstm_inputs[token]
    return n_accepted, n_sparse, n_changed, failed
