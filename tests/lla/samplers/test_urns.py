"""Kernels of the personal emission against their definitions, compiled and plain."""

import numpy as np
import pytest
from draws import always_the_same
from hypothesis import given
from hypothesis import strategies as st

from lla.samplers import personal as urns

V, K = 4, 3
PHI = np.random.default_rng(0).dirichlet(np.ones(V), size=K).T
TAU = np.array([0.5, 3.0, 40.0], np.float32)
FORMS = ["compiled", "plain"]


def kernel(name, form):
    found = getattr(urns, name)
    return found if form == "compiled" else found.py_func


def run_parallel(lengths, seed=1):
    """Random words of as many documents, longest first, (T, L); 0 past their ends."""
    rng = np.random.default_rng(seed)
    words = rng.integers(V, size=(max(lengths), len(lengths)))
    return np.where(np.arange(max(lengths))[:, None] < lengths, words, 0)


def histories(n_rows, t, seed=2):
    """Topics of the tokens before t, more columns than that, and their counts n_dk."""
    rng = np.random.default_rng(seed)
    history = rng.integers(K, size=(n_rows, t + 3)).astype(np.int32)
    totals = np.stack([(history[:, :t] == k).sum(axis=1) for k in range(K)], axis=1)
    return history, totals.astype(np.int32)


def test_every_kernel_is_tested_here():
    names = {name for name, of in vars(urns).items() if hasattr(of, "py_func")}
    assert names == {
        "previous_occurrence", "urn_likelihood", "urn_advance", "add_own_words", "urn_ranks",
    }  # fmt: skip


documents = st.lists(st.lists(st.integers(0, V - 1), min_size=1, max_size=12), min_size=1)


@pytest.mark.parametrize("form", FORMS)
@always_the_same
@given(documents)
def test_same_before_is_the_last_place_of_the_word(form, documents):
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


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("n_particles", [1, 3])
@pytest.mark.parametrize("t", [0, 1, 6])
def test_the_likelihood_is_the_urns(form, n_particles, t):
    lengths = np.array([9, 8, 7, 2])
    n_lanes = 3 if t > 1 else 4  # the last one has ended
    words = run_parallel(lengths)
    previous = urns.previous_occurrence(words, lengths, V)
    history, totals = histories(4 * n_particles, t)
    out = np.full((n_lanes * n_particles, K), np.nan)
    given = words, previous, t, PHI, TAU, history, totals, out
    kernel("urn_likelihood", form)(*given)
    for row in range(len(out)):
        own = words[:t, row // n_particles] == words[t, row // n_particles]
        for k in range(K):
            of_topic = history[row, :t] == k
            expected = (own & of_topic).sum() + TAU[k] * PHI[words[t, row // n_particles], k]
            expected /= of_topic.sum() + TAU[k]
            np.testing.assert_allclose(out[row, k], expected, rtol=1e-12)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("n_particles", [1, 4])
def test_particles_go_on_from_their_ancestors(form, n_particles):
    t, n_lanes = 5, 3
    history, totals = histories(n_lanes * n_particles, t)
    rng = np.random.default_rng(3)
    rows = (n_lanes - 1) * n_particles  # the last lane has ended
    ancestors = rng.integers(n_particles, size=rows) + np.arange(rows) // n_particles * n_particles
    ancestors[:n_particles] = np.arange(n_particles)  # nobody moves in the first one
    topics = rng.integers(K, size=rows)
    before, last = history.copy(), totals[rows:].copy()
    kernel("urn_advance", form)(t, topics, ancestors, n_particles, history, totals)
    np.testing.assert_array_equal(history[:rows, :t], before[ancestors, :t])
    np.testing.assert_array_equal(history[:rows, t], topics)
    for k in range(K):
        np.testing.assert_array_equal(totals[:rows, k], (history[:rows, : t + 1] == k).sum(axis=1))
    np.testing.assert_array_equal(history[rows:], before[rows:])
    np.testing.assert_array_equal(totals[rows:], last)


@pytest.mark.parametrize("form", FORMS)
def test_a_topic_that_was_not_drawn_is_not_counted(form):
    """Where no topic can emit the word, the number of none, K, stands in its place."""
    history, totals = histories(2, 1)
    before = totals.copy()
    ancestors = np.arange(2)
    kernel("urn_advance", form)(1, np.array([K, 0]), ancestors, 1, history, totals)
    np.testing.assert_array_equal(totals - before, [[0, 0, 0], [1, 0, 0]])


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("own", [True, False])
def test_own_words_add_their_counts(form, own):
    """Σ_p W_p Σ_k θ_pk n_dvk / (n_dk + τ_k), for the chosen lanes alone."""
    t, n_particles, words = 5, 2, run_parallel(np.array([8, 8, 6]))
    history, totals = histories(6, t)
    rng = np.random.default_rng(4)
    theta = rng.dirichlet(np.ones(K), size=6 if own else 3)
    weights = rng.dirichlet(np.ones(n_particles), size=3)
    lanes, scores = np.array([2, 0]), np.ones((2, V))
    given = words, t, lanes, weights, theta, TAU, history, totals, scores
    kernel("add_own_words", form)(*given)
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
