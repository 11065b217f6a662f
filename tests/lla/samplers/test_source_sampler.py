"""Kernels of the sources: compiled and as plain Python they give the same."""

import numpy as np
import pytest
from source_model import DOCUMENTS, LEARNED, V, by_definition, corpus_of, sources_of

from lla.inference.emission.source_emission import empty_trail
from lla.samplers import sources

FORMS = ["compiled", "plain"]
WORDS = np.array([[2, 1, 2, 1, 1, 0, 2, 1], [3, 3, 0, 0, 0, 0, 0, 0]])
LENGTHS = np.array([8, 3])
DECAY = LEARNED.decay


def kernel(name, form):
    found = getattr(sources, name)
    return found if form == "compiled" else found.py_func


def trail_of(form="compiled", counted=None):
    trail = empty_trail(*WORDS.shape)
    trail.words[:] = WORDS
    last = np.full(V, -1, np.int64)
    kernel("fill_trail", form)(trail, LENGTHS, DECAY, last)
    assert (last == -1).all(), "left as it was for the next documents"
    if counted is not None:
        kernel("count_left", form)(trail, LENGTHS, counted)
    return trail


def test_every_kernel_is_tested():
    names = {name for name, of in vars(sources).items() if hasattr(of, "py_func")}
    assert names == {
        "count_of_pair", "extend_trail", "append_word", "fill_trail", "count_left", "evidence_of",
        "source_probabilities", "lane_probabilities", "row_probabilities", "corpus_evidence",
        "recent_evidence", "add_sources", "draw_from_sources",
    }  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_a_trail_by_definition(form):
    trail = trail_of(form)
    for lane, length in enumerate(LENGTHS):
        words = WORDS[lane, :length].tolist()
        for t, w in enumerate(words):
            earlier = [s for s in range(t) if words[s] == w]
            pairs = [s for s in range(1, t) if words[s - 1 : s + 1] == words[t - 1 : t + 1]]
            assert trail.previous[lane, t] == (earlier[-1] if earlier else -1)
            assert trail.seen[lane, t] == len(earlier)
            assert trail.pairs[lane, t] == (len(pairs) if t else 0)
            assert trail.same_pair[lane, t] == (pairs[-1] if t and pairs else -1)
            weight = sum(DECAY ** (t - s) for s in [*earlier, t])
            np.testing.assert_allclose(trail.weight[lane, t], weight)
            np.testing.assert_allclose(trail.mass[lane, t], sum(DECAY**s for s in range(t + 1)))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("n_counted", [0, 5, 8])
def test_what_is_left_by_definition(form, n_counted):
    counted = np.arange(8)[None] < np.array([[n_counted], [min(n_counted, 3)]])
    trail = trail_of(form, counted)
    for lane, length in enumerate(LENGTHS):
        words, n = WORDS[lane, :length], min(n_counted, length)
        for t in range(length):
            later = np.arange(t, n)
            assert trail.token_left[lane, t] == len(later)
            assert trail.word_left[lane, t] == (words[later] == words[t]).sum()
            if t:
                follows = later[words[later - 1] == words[t - 1]]
                assert trail.follower_left[lane, t - 1] == len(follows)
                assert trail.pair_left[lane, t] == (words[follows] == words[t]).sum()


@pytest.mark.parametrize("form", FORMS)
def test_words_one_by_one_leave_the_same_trail(form):
    whole, growing = trail_of(), empty_trail(*WORDS.shape)
    for t in range(WORDS.shape[1]):
        kernel("append_word", form)(growing, t, WORDS[:, t], DECAY)
    for one, other in zip(whole, growing, strict=True):
        np.testing.assert_array_equal(one[0], other[0])
        np.testing.assert_array_equal(one[1, :3], other[1, :3])
    kernel("extend_trail", form)(growing, 0, 7, DECAY)
    np.testing.assert_array_equal(growing.weight[0], whole.weight[0])


@pytest.mark.parametrize("form", FORMS)
def test_pairs_are_found_where_they_occur(form):
    counts = sources_of().counts()
    expected = np.zeros((V, V))
    for words in DOCUMENTS:
        np.add.at(expected, (words[:-1], words[1:]), 1)
    found = [[kernel("count_of_pair", form)(counts, v, w) for w in range(V)] for v in range(V)]
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("form", FORMS)
def test_probabilities_by_definition(form):
    trail, model, kinds = trail_of(), sources_of(), np.array([2, 0, 1])
    table = np.zeros((8, 2, 3))
    counts, c = model.counts(), LEARNED.concentration
    kernel("lane_probabilities", form)(trail, LENGTHS, counts, c, DECAY, kinds, table)
    row = np.zeros((2, 3))
    kernel("row_probabilities", form)(trail, 2, counts, c, DECAY, kinds, row)
    np.testing.assert_array_equal(row, table[2])
    for lane, length in enumerate(LENGTHS):
        for t in range(length):
            history = WORDS[lane, :t].tolist()
            expected = by_definition(DOCUMENTS, history, WORDS[lane, t], LEARNED)[kinds]
            np.testing.assert_allclose(table[t, lane], expected, rtol=1e-12)
    evidence, found = kernel("evidence_of", form)(trail, 0, 7, counts, DECAY), np.zeros(3)
    kernel("source_probabilities", form)(evidence, c, found)
    np.testing.assert_allclose(found[kinds], table[7, 0])


@pytest.mark.parametrize("form", FORMS)
def test_evidence_of_a_corpus(form):
    corpus = corpus_of(DOCUMENTS)
    words, offsets = corpus.words.astype(np.int64), corpus.offsets
    evidence, m_w, m = np.zeros((corpus.n_tokens, 7)), *np.zeros((2, corpus.n_tokens))
    every = np.ones(corpus.n_tokens, bool)
    kernel("corpus_evidence", form)(words, offsets, sources_of().counts(), DECAY, every, evidence)
    kernel("recent_evidence", form)(words, offsets, V, DECAY, m_w, m)
    np.testing.assert_allclose(evidence[:, 5], m_w)
    np.testing.assert_allclose(evidence[:, 6], m)
    first = evidence[offsets[:-1]]
    assert (first[:, 1:] == 0).all(), "nothing is known before the first word"


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("t", [0, 1, 8])
def test_what_sources_add_is_their_probability(form, t):
    trail, model = trail_of(), sources_of()
    for j in range(3):
        share, scores, base_share = np.zeros((1, 3)), np.zeros((1, V)), np.zeros(1)
        share[0, j] = 0.25
        kernel("add_sources", form)(
            trail,
            t,
            np.zeros(1, np.int64),
            share,
            model.counts(),
            LEARNED.concentration,
            DECAY,
            base_share,
            scores,
        )
        found = scores[0] + base_share[0] * model.unigram()
        history = WORDS[0, :t].tolist()
        expected = [0.25 * by_definition(DOCUMENTS, history, w, LEARNED)[j] for w in range(V)]
        np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("source", [0, 1, 2])
@pytest.mark.parametrize("t", [0, 8])
def test_draws_go_through_the_whole_distribution(form, source, t):
    """Uniforms at even distances give each word its share, to the width of a step."""
    trail, model, n = trail_of(), sources_of(), 4000
    drawn, rest = np.zeros(n, np.int64), np.zeros(n)
    kernel("draw_from_sources", form)(
        trail,
        t,
        np.zeros(n, np.int64),
        np.full(n, source),
        (np.arange(n) + 0.5) / n,
        model.counts(),
        LEARNED.concentration,
        DECAY,
        drawn,
        rest,
    )
    assert ((rest >= 0) & (rest < 1)).all()
    new = drawn < 0
    drawn[new] = np.searchsorted(np.cumsum(model.unigram()), rest[new], side="right")
    history = WORDS[0, :t].tolist()
    expected = [by_definition(DOCUMENTS, history, w, LEARNED)[source] for w in range(V)]
    np.testing.assert_allclose(np.bincount(drawn, minlength=V) / n, expected, atol=0.003)
