"""Reading topics: top words, and which topic of one model is which of another."""

import itertools

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from lla.peers.ddlda.kernels import ddlda_theta
from lla.samplers.lda import lda_theta
from lla.topics.words import ddlda_ahead, distance_between, lda_ahead, match_topics, top_words


def random_phi(n_words, n_topics, seed, concentration=0.3):
    draw = np.random.default_rng(seed)
    return draw.dirichlet(np.full(n_words, concentration), size=n_topics).T


def test_top_words_come_likeliest_first_and_ties_in_the_order_of_the_vocabulary():
    phi = np.array([[0.1, 0.25], [0.6, 0.25], [0.3, 0.5]])
    vocabulary = ("sea", "land", "air")
    assert top_words(phi, vocabulary, 2) == [["land", "air"], ["air", "sea"]]
    assert top_words(phi, vocabulary) == [["land", "air", "sea"], ["air", "sea", "land"]]


@given(st.permutations(range(6)), st.integers(0, 50))
def test_a_permuted_model_is_matched_to_itself(order, seed):
    phi = random_phi(30, 6, seed)
    match, overlap = match_topics(phi, phi[:, order])
    assert [order[j] for j in match] == list(range(6))
    np.testing.assert_allclose(overlap, 1, rtol=1e-12)


@given(st.integers(0, 50))
def test_the_match_is_the_best_of_all_permutations(seed):
    """Against all 4! of them, where taking the largest overlap first is often not the best."""
    one, other = random_phi(5, 4, seed), random_phi(5, 4, seed + 1000)
    match, overlap = match_topics(one, other)

    def shared(k, j):
        return sum(min(a, b) for a, b in zip(one[:, k], other[:, j], strict=True))

    best = max(
        sum(shared(k, j) for k, j in enumerate(order)) for order in itertools.permutations(range(4))
    )
    assert sorted(match) == [0, 1, 2, 3]
    np.testing.assert_allclose(overlap, [shared(k, j) for k, j in enumerate(match)], rtol=1e-12)
    np.testing.assert_allclose(overlap.sum(), best, rtol=1e-12)
    _, overlap_back = match_topics(other, one)
    np.testing.assert_allclose(overlap_back.sum(), best, rtol=1e-12)


def test_topics_without_common_words_have_no_overlap():
    _, overlap = match_topics(np.array([[1.0], [0.0]]), np.array([[0.0], [1.0]]))
    assert overlap.tolist() == [0.0]


def test_lda_forecast_agrees_with_its_scores():
    """θ after a history is the θ that the word after it is scored with, at every step alike."""
    draw = np.random.default_rng(0)
    phi, alpha, words = random_phi(9, 4, 1), draw.random(4), draw.integers(9, size=6)
    theta = np.empty((7, 4))
    lda_theta(np.append(words, 0), phi, alpha, np.zeros(4), theta)
    ahead = lda_ahead(phi, alpha, words, 3)
    np.testing.assert_allclose(ahead, np.tile(theta[-1], (3, 1)), rtol=1e-12)
    np.testing.assert_allclose(lda_ahead(phi, alpha, [], 1)[0], alpha / alpha.sum())


@given(st.integers(0, 1000), st.integers(0, 8), st.integers(1, 6))
@settings(max_examples=30, deadline=None)
def test_ddlda_forecast_agrees_with_its_scores(seed, n_words, reach):
    draw = np.random.default_rng(seed)
    phi, alpha = random_phi(9, 4, seed), 0.1 + draw.random(4)
    words, decay = draw.integers(9, size=n_words), np.append(0.0, draw.random(reach))
    # By hand, and the kernel from the expected topics so found.
    topics = np.zeros((n_words + 1, 4))
    theta = np.empty((n_words + 1, 4))
    for t in range(n_words + 1):
        ddlda_theta.py_func(0, alpha, decay, topics, theta)
        if t < n_words:
            joint = theta[t] * phi[words[t]]
            topics[t] = joint / joint.sum()
    ahead = ddlda_ahead(phi, alpha, decay, words, reach + 2)
    np.testing.assert_allclose(ahead[0], theta[-1], rtol=1e-10)
    np.testing.assert_allclose(ahead.sum(axis=1), 1)
    # Past the reach of every word there is nothing but α.
    np.testing.assert_allclose(ahead[-1], alpha / alpha.sum(), rtol=1e-12)


def test_ddlda_without_decay_is_lda():
    phi, alpha, words = random_phi(9, 4, 3), np.full(4, 0.2), np.array([1, 5, 5, 2])
    decay = np.append(0.0, np.ones(20))
    np.testing.assert_allclose(
        ddlda_ahead(phi, alpha, decay, words, 4), lda_ahead(phi, alpha, words, 4), rtol=1e-12
    )


def test_distance_between_forecasts():
    one, other = np.array([[0.5, 0.5, 0], [1, 0, 0]]), np.array([[0.5, 0.5, 0], [0, 0.25, 0.75]])
    np.testing.assert_allclose(distance_between(one, other), [0, 1])
