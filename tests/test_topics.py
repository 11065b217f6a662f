"""Reading topics: top words, and which topic of one model is which of another."""

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from lla.topics import match_topics, top_words


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


def test_topics_with_no_word_in_common_share_nothing():
    _, overlap = match_topics(np.array([[1.0], [0.0]]), np.array([[0.0], [1.0]]))
    assert overlap.tolist() == [0.0]
