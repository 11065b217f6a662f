"""Kernels of the personal emission against their definitions, compiled and plain."""

import numpy as np
import pytest
from draws import always_the_same
from hypothesis import given
from hypothesis import strategies as st

from lla.samplers import personal
from lla.samplers.personal import Urns

V, K = 4, 3
PHI = np.random.default_rng(0).dirichlet(np.ones(V), size=K).T
TAU = np.array([0.5, 3.0, 40.0], np.float32)
FORMS = ["compiled", "plain"]


def kernel(name, form):
    found = getattr(personal, name)
    return found if form == "compiled" else found.py_func


def random_words(lengths, seed=1):
    """Random words of as many documents, longest first, (T, L); 0 past their ends."""
    rng = np.random.default_rng(seed)
    words = rng.integers(V, size=(max(lengths), len(lengths)))
    return np.where(np.arange(max(lengths))[:, None] < lengths, words, 0)


def histories(n_rows, t, seed=2):
    """Topics of the tokens before t, more columns than that, and their counts n_dk."""
    rng = np.random.default_rng(seed)
    history = rng.integers(K, size=(n_rows, t + 3)).astype(np.int32)
    return history, count_topics(history[:, :t])


def count_topics(history):
    """n_dk of every row, (rows, K)."""
    return np.stack([(history == k).sum(axis=1) for k in range(K)], axis=1).astype(np.int32)


def urns_of(words, lengths, history, totals, common=0):
    previous = personal.previous_occurrence(words, lengths, V)
    common = np.full(len(lengths), common)
    return Urns(words, previous, history, common, totals, PHI, TAU)


def test_every_kernel_is_tested_here():
    names = {name for name, of in vars(personal).items() if hasattr(of, "py_func")}
    assert names == {
        "previous_occurrence", "find_previous", "urn_likelihood", "first_difference", "urn_advance",
        "add_own_words", "repeat_own_words", "urn_ranks",
    }  # fmt: skip


documents = st.lists(st.lists(st.integers(0, V - 1), min_size=1, max_size=12), min_size=1)


@pytest.mark.parametrize("form", FORMS)
@always_the_same
@given(documents)
def test_the_previous_occurrence_is_the_last_one_before(form, documents):
    lengths = np.array([len(document) for document in documents])
    words = np.zeros((lengths.max(), len(lengths)), np.int64)
    for lane, document in enumerate(documents):
        words[: len(document), lane] = document
    found = kernel("previous_occurrence", form)(words, lengths, V)
    for lane, document in enumerate(documents):
        for t, w in enumerate(document):
            earlier = [s for s in range(t) if document[s] == w]
            assert found[t, lane] == (earlier[-1] if earlier else -1)
        assert (found[len(document) :, lane] == -1).all()
    row_by_row = np.full(words.shape, -1, np.int32)
    for t in range(len(words)):
        kernel("find_previous", form)(words, t, row_by_row)
    within = np.arange(len(words))[:, None] < lengths
    np.testing.assert_array_equal(row_by_row[within], found[within])


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("n_particles", [1, 3])
@pytest.mark.parametrize(("t", "common"), [(0, 0), (1, 0), (6, 0), (6, 3), (6, 6)])
def test_the_likelihood_is_the_urns(form, n_particles, t, common):
    """Whatever the number of first tokens that a document's particles are known to agree on."""
    lengths = np.array([9, 8, 7, 2])
    n_lanes = 3 if t > 1 else 4  # the last one has ended
    words = random_words(lengths)
    first = np.repeat(np.arange(4), n_particles) * n_particles
    history, _ = histories(4 * n_particles, t)
    history[:, :common] = history[first, :common]
    totals = count_topics(history[:, :t])
    out = np.full((n_lanes * n_particles, K), np.nan)
    kernel("urn_likelihood", form)(urns_of(words, lengths, history, totals, common), t, out)
    for row in range(len(out)):
        own = words[:t, row // n_particles] == words[t, row // n_particles]
        for k in range(K):
            of_topic = history[row, :t] == k
            expected = (own & of_topic).sum() + TAU[k] * PHI[words[t, row // n_particles], k]
            expected /= of_topic.sum() + TAU[k]
            np.testing.assert_allclose(out[row, k], expected, rtol=1e-12)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("n_particles", [1, 4])
def test_particles_continue_their_ancestors_histories(form, n_particles):
    t, n_lanes = 5, 3
    history, totals = histories(n_lanes * n_particles, t)
    rng = np.random.default_rng(3)
    rows = (n_lanes - 1) * n_particles  # the last lane has ended
    ancestors = rng.integers(n_particles, size=rows) + np.arange(rows) // n_particles * n_particles
    ancestors[:n_particles] = np.arange(n_particles)  # nobody moves in the first one
    topics = rng.integers(K, size=rows)
    before, last = history.copy(), totals[rows:].copy()
    lengths = np.array([8, 8, 5])
    urns = urns_of(random_words(lengths), lengths, history, totals)
    kernel("urn_advance", form)(urns, t, topics, ancestors)
    np.testing.assert_array_equal(history[:rows, :t], before[ancestors, :t])
    np.testing.assert_array_equal(history[:rows, t], topics)
    for k in range(K):
        np.testing.assert_array_equal(totals[:rows, k], (history[:rows, : t + 1] == k).sum(axis=1))
    np.testing.assert_array_equal(history[rows:], before[rows:])
    np.testing.assert_array_equal(totals[rows:], last)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("n_particles", [1, 2, 4])
def test_histories_are_those_of_whole_paths(form, n_particles):
    """Step by step beside lists that are copied whole, tokens of no topic among them.

    The lanes know exactly how many first tokens their particles agree on.
    """
    lengths, rng = np.array([14, 14, 9]), np.random.default_rng(5)
    n_rows = 3 * n_particles
    history, totals = np.full((n_rows, 14), -1, np.int32), np.zeros((n_rows, K), np.int32)
    urns, paths = urns_of(random_words(lengths), lengths, history, totals), [[]] * n_rows
    agreed = []
    for t in range(14):
        rows = (lengths > t).sum() * n_particles
        ancestors = np.arange(rows)
        if t % 3 == 2:  # of all lanes but the first, in any order
            drawn = rng.integers(n_particles, size=rows) + ancestors // n_particles * n_particles
            ancestors[n_particles:] = drawn[n_particles:]
        topics = rng.integers(K + 1, size=rows)
        kernel("urn_advance", form)(urns, t, topics, ancestors)
        paths[:rows] = [[*paths[a], k] for a, k in zip(ancestors, topics, strict=True)]
        for lane in range(3):
            mine = slice(lane * n_particles, (lane + 1) * n_particles)
            texts = paths[mine]
            length = len(texts[0])
            assert history[mine, :length].tolist() == texts
            np.testing.assert_array_equal(totals[mine], count_topics(history[mine, :length]))
            differ = [s for s in range(length) if len({text[s] for text in texts}) > 1]
            assert urns.common[lane] == (differ[0] if differ else length)
        agreed.append(urns.common.tolist())
    if n_particles > 1:
        assert 0 < agreed[8][1] < 9, "or no history would be cut in two"


@pytest.mark.parametrize("form", FORMS)
def test_the_first_difference_of_rows(form):
    rows = np.array([[1, 2, 3, 4], [1, 2, 0, 4], [1, 2, 3, 5]])
    found = kernel("first_difference", form)
    assert [found(rows, start, 4) for start in range(5)] == [2, 2, 2, 3, 4]
    assert found(rows, 0, 2) == 2
    assert found(rows[:1], 0, 4) == 4


@pytest.mark.parametrize("form", FORMS)
def test_a_topic_that_was_not_drawn_is_not_counted(form):
    """Where no topic can emit the word, the number of none, K, stands in its place."""
    history, totals = histories(2, 1)
    before = totals.copy()
    lengths = np.array([4, 4])
    urns = urns_of(random_words(lengths), lengths, history, totals)
    kernel("urn_advance", form)(urns, 1, np.array([K, 0]), np.arange(2))
    np.testing.assert_array_equal(totals - before, [[0, 0, 0], [1, 0, 0]])


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("own", [True, False])
def test_own_words_add_their_counts(form, own):
    """Σ_p W_p Σ_k θ_pk n_dvk / (n_dk + τ_k), for the chosen lanes alone."""
    t, n_particles, lengths = 5, 2, np.array([8, 8, 6])
    words = random_words(lengths)
    history, totals = histories(6, t)
    rng = np.random.default_rng(4)
    theta = rng.dirichlet(np.ones(K), size=6 if own else 3)
    weights = rng.dirichlet(np.ones(n_particles), size=3)
    lanes, scores = np.array([2, 0]), np.ones((2, V))
    urns = urns_of(words, lengths, history, totals)
    kernel("add_own_words", form)(urns, t, lanes, weights, theta, scores)
    for b, lane in enumerate(lanes):
        for v in range(V):
            expected = 1.0
            for p in range(n_particles):
                row = lane * n_particles + p
                for k in range(K):
                    n_dvk = ((history[row, :t] == k) & (words[:t, lane] == v)).sum()
                    share = weights[lane, p] * theta[row if own else lane, k]
                    expected += share * n_dvk / (totals[row, k] + TAU[k])
            np.testing.assert_allclose(scores[b, v], expected, rtol=1e-12)


@pytest.mark.parametrize("form", FORMS)
def test_own_words_are_repeated_with_the_urn_probability(form):
    """The share n/(n + τ) of [0, 1) is cut among the n own words; the rest is stretched anew."""
    t, n_particles, lengths = 5, 2, np.array([8, 8])
    words = random_words(lengths)
    history, totals = histories(4, t)
    urns = urns_of(words, lengths, history, totals)
    for k in range(K):
        for u in np.linspace(0, 1, 101)[:-1]:
            drawn, rest = np.empty(4, np.int64), np.empty(4)
            kernel("repeat_own_words", form)(urns, t, np.full(4, k), np.full(4, u), drawn, rest)
            for row in range(4):
                own = words[:t, row // n_particles][history[row, :t] == k]
                place = u * (len(own) + np.float64(TAU[k]))
                if place < len(own):
                    assert drawn[row] == own[int(place)]
                else:
                    assert drawn[row] == -1
                    assert rest[row] == pytest.approx((place - len(own)) / TAU[k])
                    assert 0 <= rest[row] < 1


tokens = st.lists(st.tuples(st.integers(0, V - 1), st.integers(0, K - 1)), min_size=1, max_size=12)


@pytest.mark.parametrize("form", FORMS)
@always_the_same
@given(st.lists(tokens, min_size=1, max_size=4))
def test_ranks_count_the_earlier_tokens_of_the_document(form, documents):
    flat = np.array([token for document in documents for token in document])
    offsets = np.cumsum([0, *(len(document) for document in documents)])
    words, topics = flat[:, 0].copy(), flat[:, 1].copy()
    same_topic, same_both = kernel("urn_ranks", form)(words, offsets, topics, V, K)
    i = 0
    for document in documents:
        for t, (w, k) in enumerate(document):
            assert same_topic[i] == sum(z == k for _, z in document[:t])
            assert same_both[i] == sum((v, z) == (w, k) for v, z in document[:t])
            i += 1
