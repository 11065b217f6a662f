"""Metropolis-Hastings for topics (paper, section 3.2): Numba kernels on plain arrays.

A token's topic has p(k) ∝ exp(o_k) (s_k + d_k), with logits o = W_p s_t + b_p, a sparse part
s_k = n_wk / (n_k + Vβ) and a dense part d_k = β / (n_k + Vβ). Proposals come from
q(k) ∝ exp(o_k - c) s_k + d_k: the sparse part is exact, the dense part knows no LSTM and is drawn
through an alias table. p / q up to a constant is what `importance` says, and a move from topic k
to l is accepted with probability min(1, importance(l) / importance(k)). Any c is right; the nearer
exp(c) is to the mean of exp(o_k), the more is accepted. No softmax over K is computed.

Kernels take arrays one by one: inside named tuples they would be counted at every use, which
takes as long as all the rest.
"""

import math

import numpy as np
from numba import njit

LARGEST = 700.0  # exp of more is infinite


@njit(nogil=True, cache=True)
def sparse_rows(words, topics, n_words, n_topics, n_pieces):
    """n_wk in compressed rows: starts (V + 1,), topics and counts (nnz,), and n_k (K,).

    Topics are put in the order of their words for a part of the vocabulary at a time, about
    1 / `n_pieces` of the tokens, so that no second array of N topics is needed. The first time
    round pairs are only counted.
    """
    ends = np.zeros(n_words + 1, np.int64)
    for i in range(words.shape[0]):
        ends[words[i] + 1] += 1
    most = words.shape[0] // n_pieces + 1
    for w in range(n_words):
        most = max(most, ends[w + 1])
        ends[w + 1] += ends[w]
    piece = np.empty(most, topics.dtype)
    starts = np.zeros(n_words + 1, np.int64)
    total = np.zeros(n_topics, np.int64)
    last = np.full(n_topics, -1, np.int64)  # word that a topic was last seen with
    first = 0
    while first < n_words:
        beyond = gather_topics(words, topics, ends, first, piece)
        for w in range(first, beyond):
            starts[w + 1] = starts[w]
            for i in range(ends[w] - ends[first], ends[w + 1] - ends[first]):
                total[piece[i]] += 1
                if last[piece[i]] != w:
                    last[piece[i]] = w
                    starts[w + 1] += 1
        first = beyond
    row_topics = np.empty(starts[n_words], np.int32)
    counts = np.empty(starts[n_words], np.int32)
    tally = np.zeros(n_topics, np.int32)  # n_wk of the word at hand
    first = 0
    while first < n_words:
        beyond = n_words
        if first > 0 or ends[n_words] > most:  # else the piece is still there
            beyond = gather_topics(words, topics, ends, first, piece)
        for w in range(first, beyond):
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
        first = beyond
    return starts, row_topics, counts, total


@njit(nogil=True, cache=True)
def gather_topics(words, topics, ends, first, piece):
    """Topics of the words from `first` on, word after word, into `piece`; the word beyond them.

    Word w has its place at ends[w] - ends[first], as many whole words as there is room for.
    """
    beyond = first
    while beyond < ends.shape[0] - 1 and ends[beyond + 1] - ends[first] <= piece.shape[0]:
        beyond += 1
    place = ends[first:beyond] - ends[first]
    for i in range(words.shape[0]):
        w = words[i]
        if first <= w < beyond:
            piece[place[w - first]] = topics[i]
            place[w - first] += 1
    return beyond


@njit(nogil=True, cache=True)
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
        rich = large[n_large - 1]
        other[k] = rich
        keep[rich] -= 1.0 - keep[k]
        if keep[rich] < 1.0:
            n_large -= 1
            small[n_small] = rich
            n_small += 1
    for i in range(n_large):  # what rounding left over is full, not empty
        keep[large[i]] = 1.0
    for i in range(n_small):
        if weights[small[i]] > 0.0:
            keep[small[i]] = 1.0


@njit(nogil=True, cache=True)
def draw_alias(keep, other, uniform):
    """A topic by one uniform in [0, 1): its cell, and what is left over decides within it."""
    n = keep.shape[0]
    k = min(int(uniform * n), n - 1)
    return k if uniform * n - k < keep[k] else other[k]


# The order of a sum is left to the compiler here alone: only then is it a vector operation.
@njit(nogil=True, cache=True, fastmath={"reassoc", "contract"})
def logit(weight, bias, k, states, lane):
    """o_k = W_p[k]·s + b_k."""
    total = np.float32(0.0)
    for j in range(states.shape[1]):
        total += weight[k, j] * states[lane, j]
    return total + bias[k]


@njit(nogil=True, cache=True)
def lift(o, log_scale):
    """exp(o - c), finite."""
    return math.exp(min(np.float64(o) - log_scale, LARGEST))


@njit(nogil=True, cache=True)
def importance(lifted, sparse, dense):
    """p / q of a topic, up to a constant: the conditional over the proposal."""
    return lifted * (sparse + dense) / (lifted * sparse + dense)


@njit(nogil=True, cache=True)
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


@njit(nogil=True, cache=True)
def first_above(running, length, target):
    """First of the rising running[:length] above `target`, the last when none is."""
    begin = 0
    end = length - 1
    while begin < end:
        middle = (begin + end) // 2
        if running[middle] > target:
            end = middle
        else:
            begin = middle + 1
    return begin


@njit(nogil=True, cache=True)
def weigh_row(
    weight, bias, row_topics, row_phi, begin, end, states, lane, log_scale, lifted, running
):
    """Fill exp(o_k - c) and the running sum of exp(o_k - c) s_k over a word's row; its total."""
    for i in range(end - begin):
        lifted[i] = logit(weight, bias, row_topics[begin + i], states, lane)
    total = 0.0
    for i in range(end - begin):
        lifted[i] = lift(lifted[i], log_scale)
        total += lifted[i] * row_phi[begin + i]
        running[i] = total
    return total


@njit(nogil=True, cache=True)
def weigh(
    weight, bias, row_topics, row_phi, begin, end, dense, k, states, lane, log_scale, lifted
):  # fmt: skip
    """`importance` of topic k, in the row or not."""
    i = find(row_topics, begin, end, k)
    if i >= 0:
        return importance(lifted[i - begin], row_phi[i], dense[k])
    return importance(lift(logit(weight, bias, k, states, lane), log_scale), 0.0, dense[k])


@njit(nogil=True, cache=True)
def move_topics(
    weight, bias, starts, row_topics, row_phi, dense, keep, other, dense_total, log_scale,
    words, topics, position, states, uniforms, column, fed, drawn, inputs, lifted, running,
):  # fmt: skip
    """Metropolis-Hastings steps for one token in each of L lanes.

    Parameters
    ----------
    weight, bias : (K, H padded) and (K,) the output layer
    starts, row_topics, row_phi : the sparse part (`Rows`)
    dense, keep, other, dense_total : the dense part (`Alias`), and Σ_k d_k
    log_scale : c
    words, topics : (N,) the corpus and its last assignments; `drawn` may be the same array
    position : (L,) int64 the lanes' tokens; moves on by one
    states : (L, H padded)
    uniforms : (L, B, 2·n_mh) in [0, 1), of which [:, column] is used: a proposal and an acceptance
        for each step
    fed : (N,) what the LSTM reads of a token: `words`, or `drawn`
    drawn : (N,) output
    inputs : (L,) int64 output, the next inputs
    lifted, running : scratch, as long as the longest row

    Returns
    -------
    accepted, sparse, changed, failed : number of proposals accepted; of those from the sparse
        part; of topics that are others than before; and a token for which the model gives no
        probabilities, or -1
    """
    n_changed = 0
    n_accepted = 0
    n_sparse = 0
    failed = -1
    for lane in range(position.shape[0]):
        token = position[lane]
        position[lane] += 1
        begin = starts[words[token]]
        end = starts[words[token] + 1]
        row_total = weigh_row(
            weight, bias, row_topics, row_phi, begin, end, states, lane, log_scale, lifted, running
        )
        total = row_total + dense_total
        k = topics[token]
        here = weigh(
            weight, bias, row_topics, row_phi, begin, end, dense, k, states, lane, log_scale, lifted
        )
        drawn[token] = k
        inputs[lane] = fed[token]
        if not (total < math.inf and here >= 0.0):
            failed = token
            continue
        for step in range(0, uniforms.shape[2], 2):
            target = uniforms[lane, column, step] * total
            if target < row_total:
                i = first_above(running, end - begin, target)
                proposal = row_topics[begin + i]
                there = importance(lifted[i], row_phi[begin + i], dense[proposal])
                n_sparse += 1
            else:
                proposal = draw_alias(keep, other, (target - row_total) / dense_total)
                there = weigh(
                    weight, bias, row_topics, row_phi, begin, end, dense, proposal, states, lane,
                    log_scale, lifted,
                )  # fmt: skip
            if uniforms[lane, column, step + 1] * here < there:
                k = proposal
                here = there
                n_accepted += 1
        n_changed += k != topics[token]
        drawn[token] = k
        inputs[lane] = fed[token]
    return n_accepted, n_sparse, n_changed, failed
