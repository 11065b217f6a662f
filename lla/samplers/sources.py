"""Numba kernels of the sources: what usually follows an item, and what its user took lately.

With v the document's last word before token t, and p the smoothed unigram of all documents,

    next      p(w | v) = (n_vw + c p(w)) / (n_v + c)                  n over all documents
    own_next  p(w | v, w_<t) = (m_vw + c p_next(w | v)) / (m_v + c)   m over w_<t
    recent    p(w | w_<t) = (m_w + c p(w)) / (m + c)                  m decayed over w_<t

A decayed count is m_w = Σ_{s<t} 2^{-(t-1-s)/h} [w_s = w], and m is Σ_w m_w.
Each has its own c. A document has no last word before its first; then n_v and m_v are 0.

A token that was itself counted in n and p leaves its own contribution out, or `next` would explain
whatever it has seen; and with it those of the later tokens of its document, of which nothing would
be known when a new token is predicted. All arrays of documents have a row per lane, so that a row
is a document.
"""

from typing import NamedTuple

import numpy as np

from lla.common.compile import njit

N_SOURCES = 3  # next, own_next, recent: the columns of every table here


class Counts(NamedTuple):
    """Words and pairs of neighbours over all documents, n_vw in sparse rows.

    first : (V + 1,) int64, where the row of each v begins in `follower` and `count`
    follower, pair_count : (pairs,) int32, followers rising within a row, and n_vw
    pair_total : (V,) int64 n_v, the pairs that begin with v
    word_count : (V,) int64 n_w
    n_tokens : their sum
    smoothing : a of p(w) = (n_w + a) / (N + V a)
    """

    first: np.ndarray
    follower: np.ndarray
    pair_count: np.ndarray
    pair_total: np.ndarray
    word_count: np.ndarray
    n_tokens: int
    smoothing: float


class Trail(NamedTuple):
    """What a document's own past says, (L, T) each.

    words : int64 ids
    previous : int32 last earlier position of the same word, -1 where there is none
    seen : int32 earlier tokens of the same word
    pairs : int32 earlier places where the same word followed the same word
    weight : float64 decayed count of the token's word, up to and with the token
    mass : float64 decayed count of all words, up to and with the token
    same_pair : int32 last earlier place of the same pair, -1 where there is none
    token_left, word_left, pair_left : int32 counted tokens from this one on: all of them, those of
        its word, and those of its pair
    follower_left : int32 counted tokens that follow its word, from this one's follower on
    """

    words: np.ndarray
    previous: np.ndarray
    seen: np.ndarray
    pairs: np.ndarray
    weight: np.ndarray
    mass: np.ndarray
    same_pair: np.ndarray
    token_left: np.ndarray
    word_left: np.ndarray
    pair_left: np.ndarray
    follower_left: np.ndarray


class Evidence(NamedTuple):
    """Counts from which the sources' probabilities of one token follow, see the module's text.

    base : p(w)
    n_vw, n_v, m_vw, m_v, m_w, m : as above
    """

    base: float
    n_vw: float
    n_v: float
    m_vw: float
    m_v: float
    m_w: float
    m: float


@njit(nogil=True)
def count_of_pair(counts, v, w):
    """n_vw, by bisection in the row of v."""
    low, high = counts.first[v], counts.first[v + 1]
    end = high
    while low < high:
        middle = (low + high) // 2
        if counts.follower[middle] < w:
            low = middle + 1
        else:
            high = middle
    if low < end and counts.follower[low] == w:
        return counts.pair_count[low]
    return 0


@njit(nogil=True)
def extend_trail(trail, lane, t, decay):
    """Fill row t of a lane's trail from the rows before; words and `previous` are there already."""
    words, previous = trail.words[lane], trail.previous[lane]
    s = previous[t]
    trail.seen[lane, t] = trail.seen[lane, s] + 1 if s >= 0 else 0
    trail.weight[lane, t] = 1.0 + (trail.weight[lane, s] * decay ** (t - s) if s >= 0 else 0.0)
    trail.mass[lane, t] = 1.0 + (trail.mass[lane, t - 1] * decay if t > 0 else 0.0)
    trail.pairs[lane, t], trail.same_pair[lane, t] = 0, -1
    if t > 0:
        # The chain ends at the last place of the same pair, whose own number is known.
        s = previous[t - 1]
        while s >= 0 and words[s + 1] != words[t]:
            s = previous[s]
        if s >= 0:
            trail.pairs[lane, t] = trail.pairs[lane, s + 1] + 1
            trail.same_pair[lane, t] = s + 1


@njit(nogil=True)
def append_word(trail, t, words, decay):
    """Put `words` (L,) into row t of every lane, and fill it."""
    for lane in range(trail.words.shape[0]):
        trail.words[lane, t] = words[lane]
        s = t - 1
        while s >= 0 and trail.words[lane, s] != words[lane]:
            s -= 1
        trail.previous[lane, t] = s
        extend_trail(trail, lane, t, decay)


@njit(nogil=True)
def fill_trail(trail, lengths, decay, last):
    """Fill the trails of whole documents, whose words are there already.

    Parameters
    ----------
    lengths : (L,) tokens of each
    last : (V,) int64 of -1; so again afterwards
    """
    for lane in range(lengths.shape[0]):
        words = trail.words[lane]
        for t in range(lengths[lane]):
            trail.previous[lane, t] = last[words[t]]
            last[words[t]] = t
            extend_trail(trail, lane, t, decay)
        for t in range(lengths[lane]):
            last[words[t]] = -1


@njit(nogil=True)
def count_left(trail, lengths, counted):
    """Fill what is left from each token on, for documents some of whose tokens were counted.

    Parameters
    ----------
    lengths : (L,) tokens of each
    counted : (L, T) bool, the first tokens of each document, or all, or none
    """
    for lane in range(lengths.shape[0]):
        n = lengths[lane]
        for t in range(n):
            own = 1 if counted[lane, t] else 0
            trail.token_left[lane, t] = own
            trail.word_left[lane, t] = own
            trail.pair_left[lane, t] = own
            trail.follower_left[lane, t] = 1 if t + 1 < n and counted[lane, t + 1] else 0
        for t in range(n - 1, -1, -1):
            if t > 0:
                trail.token_left[lane, t - 1] += trail.token_left[lane, t]
            s = trail.previous[lane, t]
            if s >= 0:
                trail.word_left[lane, s] += trail.word_left[lane, t]
                trail.follower_left[lane, s] += trail.follower_left[lane, t]
            s = trail.same_pair[lane, t]
            if s >= 0:
                trail.pair_left[lane, s] += trail.pair_left[lane, t]


@njit(nogil=True)
def evidence_of(trail, lane, t, counts, decay):
    """The `Evidence` of token t; below 0 nothing falls, where other documents were counted."""
    w, s = trail.words[lane, t], trail.previous[lane, t]
    n_w = max(counts.word_count[w] - trail.word_left[lane, t], 0)
    n = max(counts.n_tokens - trail.token_left[lane, t], n_w)
    a = counts.smoothing
    base = (n_w + a) / (n + a * counts.word_count.shape[0])
    n_vw, n_v, m_vw, m_v, m_w, m = 0, 0, 0, 0, 0.0, 0.0
    if t > 0:
        v = trail.words[lane, t - 1]
        n_vw = max(count_of_pair(counts, v, w) - trail.pair_left[lane, t], 0)
        n_v = max(counts.pair_total[v] - trail.follower_left[lane, t - 1], n_vw)
        m_vw, m_v = trail.pairs[lane, t], trail.seen[lane, t - 1]
        m = trail.mass[lane, t - 1]
        if s >= 0:
            m_w = trail.weight[lane, s] * decay ** (t - 1 - s)
    return Evidence(base, float(n_vw), float(n_v), float(m_vw), float(m_v), m_w, m)


@njit(nogil=True)
def source_probabilities(evidence, concentration, found):
    """Fill `found` (N_SOURCES,) with each source's probability of the token."""
    c_next, c_own, c_recent = concentration[0], concentration[1], concentration[2]
    found[0] = (evidence.n_vw + c_next * evidence.base) / (evidence.n_v + c_next)
    found[1] = (evidence.m_vw + c_own * found[0]) / (evidence.m_v + c_own)
    found[2] = (evidence.m_w + c_recent * evidence.base) / (evidence.m + c_recent)


@njit(nogil=True)
def lane_probabilities(trail, lengths, counts, concentration, decay, kinds, table):
    """Fill `table` (T, L, S) with the probabilities of all tokens.

    Parameters
    ----------
    kinds : (S,) which sources, columns of `source_probabilities`
    """
    found = np.empty(N_SOURCES)
    for lane in range(lengths.shape[0]):
        for t in range(lengths[lane]):
            evidence = evidence_of(trail, lane, t, counts, decay)
            source_probabilities(evidence, concentration, found)
            for j in range(kinds.shape[0]):
                table[t, lane, j] = found[kinds[j]]


@njit(nogil=True)
def row_probabilities(trail, t, counts, concentration, decay, kinds, row):
    """`lane_probabilities` of row t alone, `row` (L, S)."""
    found = np.empty(N_SOURCES)
    for lane in range(row.shape[0]):
        evidence = evidence_of(trail, lane, t, counts, decay)
        source_probabilities(evidence, concentration, found)
        for j in range(kinds.shape[0]):
            row[lane, j] = found[kinds[j]]


@njit(nogil=True)
def corpus_evidence(words, offsets, counts, decay, counted, evidence):
    """Fill `evidence` (N, 7) with the `Evidence` of the tokens of a corpus.

    Parameters
    ----------
    counted : (N,) bool, as in `count_left`
    """
    longest = 0
    for d in range(offsets.shape[0] - 1):
        longest = max(longest, offsets[d + 1] - offsets[d])
    ints = np.empty((8, 1, longest), np.int32)
    floats = np.empty((2, 1, longest))
    words_of_one = np.empty((1, longest), np.int64)
    trail = Trail(
        words_of_one,
        ints[0],
        ints[1],
        ints[2],
        floats[0],
        floats[1],
        ints[3],
        ints[4],
        ints[5],
        ints[6],
        ints[7],
    )
    counted_of_one = np.empty((1, longest), np.bool_)
    last = np.full(counts.word_count.shape[0], -1, np.int64)
    length = np.empty(1, np.int64)
    lane = np.int64(0)  # for the constant 0 `evidence_of` would be compiled once more
    for d in range(offsets.shape[0] - 1):
        first = offsets[d]
        length[0] = offsets[d + 1] - first
        for t in range(length[0]):
            trail.words[0, t] = words[first + t]
            counted_of_one[0, t] = counted[first + t]
        fill_trail(trail, length, decay, last)
        count_left(trail, length, counted_of_one)
        for t in range(length[0]):
            found = evidence_of(trail, lane, t, counts, decay)
            for j in range(7):
                evidence[first + t, j] = found[j]


@njit(nogil=True)
def recent_evidence(words, offsets, n_words, decay, m_w, m):
    """Fill m_w and m (N,) alone: the decayed counts before each token, of its word and of all."""
    weight = np.zeros(n_words)
    last = np.full(n_words, -1, np.int64)
    for d in range(offsets.shape[0] - 1):
        total = 0.0
        for i in range(offsets[d], offsets[d + 1]):
            w, s = words[i], last[words[i]]
            m_w[i] = weight[w] * decay ** (i - 1 - s) if s >= 0 else 0.0
            m[i] = total
            weight[w] = 1.0 + m_w[i] * decay
            total = 1.0 + total * decay
            last[w] = i
        for i in range(offsets[d], offsets[d + 1]):
            last[words[i]] = -1


@njit(nogil=True)
def add_sources(trail, t, lanes, share, counts, concentration, decay, base_share, scores):
    """Add to p(v | w_<t) what the sources say, but for the unigram's part.

    Parameters
    ----------
    lanes : (B,) which lanes
    share : (B, N_SOURCES) probability of each source
    base_share : (B,) output, the probability with which a word comes from the unigram
    scores : (B, V) output, added to
    """
    for b in range(lanes.shape[0]):
        lane = lanes[b]
        words = trail.words[lane]
        next_share, own_share, recent_share = share[b, 0], share[b, 1], share[b, 2]
        if t == 0:
            base_share[b] = next_share + own_share + recent_share
            continue
        v = words[t - 1]
        m_v = trail.seen[lane, t - 1]
        each = own_share / (m_v + concentration[1])
        s = trail.previous[lane, t - 1]
        while s >= 0:
            scores[b, words[s + 1]] += each
            s = trail.previous[lane, s]
        next_share += each * concentration[1]
        each = next_share / (counts.pair_total[v] + concentration[0])
        for j in range(counts.first[v], counts.first[v + 1]):
            scores[b, counts.follower[j]] += each * counts.pair_count[j]
        base_share[b] = each * concentration[0]
        each = recent_share / (trail.mass[lane, t - 1] + concentration[2])
        base_share[b] += each * concentration[2]
        if recent_share > 0.0:
            for s in range(t - 1, -1, -1):
                scores[b, words[s]] += each
                each *= decay


@njit(nogil=True)
def draw_from_sources(trail, t, lanes, source, uniforms, counts, concentration, decay, drawn, rest):
    """Draw a word of each row's source by inversion.

    Parameters
    ----------
    lanes, source, uniforms : (R,) each; a source is a column of `source_probabilities`
    drawn : (R,) output, word ids; -1 where the word is to be drawn from the unigram
    rest : (R,) output, a uniform in [0, 1) for that draw
    """
    below_one = np.nextafter(1.0, 0.0)
    for row in range(source.shape[0]):
        lane, kind, u = lanes[row], source[row], uniforms[row]
        words = trail.words[lane]
        drawn[row], rest[row] = -1, u
        if t == 0:
            continue
        if kind == 2:
            mass = trail.mass[lane, t - 1]
            target = u * (mass + concentration[2])
            rest[row] = min(max((target - mass) / concentration[2], 0.0), below_one)
            weight = 1.0
            for s in range(t - 1, -1, -1):
                if target < weight:
                    drawn[row] = words[s]
                    break
                target -= weight
                weight *= decay
            continue
        if kind == 1:
            m_v = trail.seen[lane, t - 1]
            target = u * (m_v + concentration[1])
            s = trail.previous[lane, t - 1]
            while s >= 0 and target >= 1.0:
                target -= 1.0
                s = trail.previous[lane, s]
            if s >= 0:
                drawn[row] = words[s + 1]
                continue
            u = min(max(target / concentration[1], 0.0), below_one)
        v = words[t - 1]
        target = u * (counts.pair_total[v] + concentration[0])
        for j in range(counts.first[v], counts.first[v + 1]):
            if target < counts.pair_count[j]:
                drawn[row] = counts.follower[j]
                break
            target -= counts.pair_count[j]
        rest[row] = min(max(target / concentration[0], 0.0), below_one)
