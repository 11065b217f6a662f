"""Mantel's test: its statistic by SciPy, its p-value under the null and on planted proximity."""

import itertools

import numpy as np
import pytest
from scipy.stats import kstest, spearmanr

from lla.common.errors import InputError
from lla.topics.hierarchy import cosine_distances
from lla.topics.proximity import mantel, sequence_proximity


def symmetric(seed, n):
    matrix = np.random.default_rng(seed).normal(size=(n, n))
    return matrix + matrix.T


def test_the_correlation_is_spearmans_off_the_diagonal():
    one, other = symmetric(0, 9), symmetric(1, 9)
    other[0, 1] = other[1, 0] = other[2, 3] = other[3, 2] = 0.0  # a tie
    pairs = np.triu_indices(9, 1)
    expected = spearmanr(one[pairs], other[pairs]).statistic
    for diagonal in (0.0, 1e9, np.nan):
        np.fill_diagonal(one, diagonal)
        found = mantel(one, other, n_permutations=9)
        assert found.correlation == pytest.approx(expected) and found.n_topics == 9


def test_the_p_value_is_that_of_all_permutations():
    """With four topics all 24 permutations can be written out."""
    one, other = symmetric(3, 4), symmetric(23, 4)
    pairs = np.triu_indices(4, 1)

    def correlation(order):
        return spearmanr(one[pairs], other[np.ix_(order, order)][pairs]).statistic

    observed = correlation([0, 1, 2, 3])
    every = [correlation(list(order)) for order in itertools.permutations(range(4))]
    exact = np.mean([value >= observed - 1e-12 for value in every])
    assert 0.05 < exact < 0.95
    found = mantel(one, other, n_permutations=4000, seed=1)
    assert found.p_value == pytest.approx(exact, abs=0.03)


def test_the_p_value_is_uniform_where_nothing_is_related():
    """Similarities of independent vectors depend on each other, which the test must bear."""
    values = []
    for seed in range(300):
        draw = np.random.default_rng([7, seed])
        one, other = (1 - cosine_distances(draw.normal(size=(12, 3))) for _ in range(2))
        values.append(mantel(one, other, n_permutations=99, seed=seed).p_value)
    assert kstest(np.array(values) - 0.005, "uniform").pvalue > 1e-3
    assert 0.01 < np.mean(np.array(values) <= 0.05) < 0.1


def test_an_order_reversed_has_a_p_value_of_one():
    one = symmetric(4, 8)
    assert mantel(one, one, n_permutations=199).p_value == 1 / 200
    found = mantel(one, -one, n_permutations=199)
    assert found.correlation == pytest.approx(-1) and found.p_value == 1.0


def walk_on_a_ring(n_topics, n_tokens, seed=0):
    steps = np.random.default_rng(seed).choice([-1, 0, 1], size=n_tokens)
    return np.cumsum(steps) % n_topics


def ring(n_topics):
    angle = 2 * np.pi * np.arange(n_topics) / n_topics
    return np.column_stack([np.cos(angle), np.sin(angle)])


def test_neighbours_on_a_ring_are_found_and_a_shuffled_embedding_is_not():
    topics, offsets = walk_on_a_ring(12, 4000), np.arange(0, 4001, 400)
    table = sequence_proximity(ring(12), topics, offsets, lags=(1, 2, 5), n_permutations=199)
    assert list(table.index) == [1, 2, 5] and table.index.name == "lag"
    assert (table["p_value"] == 1 / 200).all() and (table["correlation"] > 0.4).all()
    assert table.loc[5, "correlation"] > table.loc[1, "correlation"]  # one step has ties at 0
    shuffled = ring(12)[np.random.default_rng(1).permutation(12)]
    other = sequence_proximity(shuffled, topics, offsets, lags=[1], n_permutations=199)
    assert other.loc[1, "p_value"] > 0.05


def test_topics_that_do_not_occur_are_left_out():
    topics, offsets = walk_on_a_ring(12, 4000), np.arange(0, 4001, 400)
    embedding = np.vstack([ring(12), [[5.0, 1.0]]])  # a topic more, which no token has
    table = sequence_proximity(embedding, topics, offsets, lags=[5], n_permutations=99)
    same = sequence_proximity(ring(12), topics, offsets, lags=[5], n_permutations=99)
    assert table.equals(same) and table.loc[5, "n_topics"] == 12


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: mantel(np.eye(2), np.eye(2)), "other: 2 topics to compare; give 3 or more"),
        (lambda: mantel(np.ones((4, 4)), symmetric(0, 4)), "similarity: all pairs of topics have"),
        (
            lambda: mantel(symmetric(0, 4), np.arange(16).reshape(4, 4)),
            "other: it is not symmetric",
        ),
        (lambda: mantel(symmetric(0, 4), symmetric(0, 5)), r"other: \(5, 5\); give \(4, 4\)"),
        (lambda: mantel(np.full((4, 4), np.inf), symmetric(0, 4)), "similarity: a pair of topics"),
        (
            lambda: sequence_proximity(ring(3), np.array([0, 1, 2]), np.array([0, 3]), lags=(1, 3)),
            "lags: 1, 3; give some below 3, the length of the longest document",
        ),
    ],
)
def test_what_cannot_be_compared_is_refused(call, message):
    with pytest.raises(InputError, match=f"^{message}"):
        call()
