"""The tree and the map of topics, against definitions, planted trees and degenerate embeddings."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import lla
from data_prep.clicks.simulate import simulate_clicks
from data_prep.clicks.world import SMOKE, ClickConfig, make_world
from lla.common.errors import InputError
from lla.samplers.lda import document_topic_counts
from lla.topics.hierarchy import (
    Hierarchy,
    cooccurrence_embedding,
    cophenetic_correlation,
    cosine_distances,
    merge_topics,
    topic_hierarchy,
    topic_map,
)


def tree_distances(root):
    """1 within a root, 2 between roots, 0 on the diagonal."""
    return 2.0 - (root[:, None] == root) - np.eye(len(root))


def planted(root, spread, seed=0, size=20):
    """A centre per root, all equally far apart, and leaves around it."""
    noise = np.random.default_rng(seed).normal(size=(len(root), size))
    return np.eye(root.max() + 1, size)[root] + spread * noise


def average_linkage(distances):
    """Heights of UPGMA by its definition: clusters of lists, all pairs averaged."""
    clusters, heights = [[k] for k in range(len(distances))], []
    cophenetic = np.zeros_like(distances)
    while len(clusters) > 1:
        pairs = [
            (distances[np.ix_(clusters[i], clusters[j])].mean(), i, j)
            for i in range(len(clusters))
            for j in range(i)
        ]
        height, i, j = min(pairs)
        for a in clusters[i]:
            for b in clusters[j]:
                cophenetic[a, b] = cophenetic[b, a] = height
        heights.append(height)
        clusters[j] = clusters[j] + clusters.pop(i)
    return np.array(heights), cophenetic


def test_average_linkage_is_that_of_the_definition():
    embedding = np.random.default_rng(3).normal(size=(12, 4))
    heights, cophenetic = average_linkage(cosine_distances(embedding))
    tree = topic_hierarchy(embedding)
    np.testing.assert_allclose(tree.heights, heights)
    np.testing.assert_allclose(tree.cophenetic(), cophenetic)


def test_cosine_distances_ignore_lengths():
    embedding = np.array([[3.0, 0.0], [0.0, 2.0], [-1e200, 0.0], [0.0, 0.0], [1e-300, 1e-300]])
    expected = [0.0, 1.0, 2.0, 1.0, 1 - 0.5**0.5]
    np.testing.assert_allclose(cosine_distances(embedding)[0], expected, atol=1e-12)
    assert (np.diag(cosine_distances(embedding)) == 0).all()
    assert cosine_distances(embedding)[3].tolist() == [1, 1, 1, 0, 1]


@pytest.mark.parametrize("method", ["average", "ward"])
def test_the_tree_of_interests_is_recovered_from_a_planted_embedding(method):
    root = make_world(SMOKE).leaf_root
    truth = tree_distances(root)
    clear = topic_hierarchy(planted(root, 0.05), method)
    found = clear.cut(root.max() + 1)
    assert len(set(zip(found, root, strict=True))) == root.max() + 1  # the same partition
    assert cophenetic_correlation(clear.cophenetic(), truth) > 0.95
    # The noisier the embedding, the less of the tree is left.
    correlations = [
        cophenetic_correlation(topic_hierarchy(planted(root, s), method).cophenetic(), truth)
        for s in (0.05, 0.2, 5.0)
    ]
    assert correlations == sorted(correlations, reverse=True) and correlations[-1] < 0.3


def test_documents_tell_the_tree_of_interests():
    """True interests of simulated clicks, embedded by the users that share them."""
    corpus, leaves = simulate_clicks(SMOKE)
    world = make_world(SMOKE)
    counts = document_topic_counts(corpus.offsets, leaves, len(world.leaves))
    tree = topic_hierarchy(cooccurrence_embedding(counts))
    found = cophenetic_correlation(tree.cophenetic(), tree_distances(world.leaf_root))
    shuffled = np.random.default_rng(0).permutation(world.leaf_root)
    chance = cophenetic_correlation(tree.cophenetic(), tree_distances(shuffled))
    print(f"cophenetic correlation with the tree of interests: {found:.2f}")
    assert found > 0.6 > 0.3 > chance


def test_an_lstm_trained_on_the_true_interests_embeds_their_tree():
    config = ClickConfig(n_users=150)
    corpus, leaves = simulate_clicks(config)
    split, root = lla.split_corpus(corpus), make_world(config).leaf_root
    options = lla.SEMConfig(
        n_topics=len(root),
        joint=False,
        embedding_size=16,
        hidden_size=32,
        learning_rate=0.01,
        batch_size=16,
        initial_epochs=6,
        n_iterations=1,
    )
    model = lla.fit_sem(split, options, 1, start=leaves[~split.held_out], n_threads=1)
    cophenetic = topic_hierarchy(model.topic_embedding()).cophenetic()
    found = cophenetic_correlation(cophenetic, tree_distances(root))
    draw = np.random.default_rng(0)
    chance = [
        cophenetic_correlation(cophenetic, tree_distances(draw.permutation(root)))
        for _ in range(200)
    ]
    print(f"cophenetic correlation with the tree of interests: {found:.2f}")
    assert found > 0.3 and found > max(chance)


def test_a_cut_has_as_many_clusters_as_asked_in_the_order_of_the_leaves():
    embedding = np.random.default_rng(1).normal(size=(30, 5))
    tree, cophenetic = topic_hierarchy(embedding), topic_hierarchy(embedding).cophenetic()
    assert sorted(tree.order) == list(range(30))
    for n in (1, 2, 7, 30):
        labels = tree.cut(n)
        assert (np.diff(labels[tree.order]) >= 0).all() and set(labels) == set(range(n))
        # Topics of one cluster are merged below the height at which the cut is made.
        height = np.r_[0.0, tree.heights][30 - n]
        np.testing.assert_array_equal(
            labels[:, None] == labels, (cophenetic <= height) | np.eye(30, dtype=bool)
        )
    assert (tree.cut_at(tree.heights[11]) == tree.cut(18)).all()
    assert (tree.cut_at(-1.0) == tree.cut(30)).all() and (tree.cut_at(9.0) == 0).all()


def test_a_cut_where_all_heights_are_the_same():
    tree = topic_hierarchy(np.eye(6))
    assert [len(set(tree.cut(n))) for n in range(1, 7)] == [1, 2, 3, 4, 5, 6]
    assert len(set(tree.cut_at(0.5))) == 6 and len(set(tree.cut_at(1.0))) == 1


@settings(max_examples=40, deadline=None)
@given(
    arrays(np.float64, st.tuples(st.integers(2, 9), st.integers(1, 4)), elements=st.floats(-9, 9))
)
def test_any_embedding_has_a_tree_and_a_map(embedding):
    n = len(embedding)
    for method in ("average", "ward"):
        tree = topic_hierarchy(embedding, method)
        cophenetic = tree.cophenetic()
        assert sorted(tree.order) == list(range(n)) and (np.diff(tree.heights) >= -1e-9).all()
        # A tree's distances are an ultrametric.
        for i in range(n):
            assert (cophenetic <= np.maximum(cophenetic[:, [i]], cophenetic[[i]]) + 1e-9).all()
    found = topic_map(embedding)
    assert found.places.shape == (n, 2) and np.isfinite(found.places).all()
    assert 0 <= found.explained.sum() <= 1 + 1e-9


def test_the_map_keeps_the_distances_of_vectors_on_a_plane():
    angle = np.array([0.1, 0.5, 1.7, 3.0, 4.4])
    basis = np.linalg.qr(np.random.default_rng(0).normal(size=(6, 2)))[0]
    embedding = np.column_stack([np.cos(angle), np.sin(angle)]) @ basis.T
    found = topic_map(embedding * [[1], [2], [3], [4], [5]])
    apart = np.linalg.norm(found.places[:, None] - found.places, axis=2)
    np.testing.assert_allclose(apart, np.sqrt(2 * cosine_distances(embedding)), atol=1e-9)
    assert found.explained.sum() == pytest.approx(1)


def test_the_map_does_not_depend_on_the_sign_or_the_turn_of_the_embedding():
    draw = np.random.default_rng(5)
    embedding = draw.normal(size=(9, 4))
    turn = np.linalg.qr(draw.normal(size=(4, 4)))[0]
    places = topic_map(embedding).places
    for other in (-embedding, embedding @ turn):
        np.testing.assert_allclose(topic_map(other).places, places, atol=1e-9)
    assert (places[np.abs(places).argmax(axis=0), [0, 1]] > 0).all()


def test_topics_at_one_place_are_at_one_place():
    found = topic_map(np.ones((4, 3)))
    assert np.abs(found.places).max() < 1e-12 and (found.explained <= 1).all()
    assert topic_map(np.array([[1.0], [2.0]])).places.shape == (2, 2)


def pmi(counts):
    """Positive pointwise mutual information of two tokens of one document, token by token."""
    tokens = [np.repeat(np.arange(len(row)), row) for row in counts]
    total = sum(map(len, tokens))
    joint = np.zeros((counts.shape[1],) * 2)
    for document in tokens:
        for i in document:
            for j in document:
                joint[i, j] += 1 / (total * len(document))
    share = counts.sum(axis=0) / total
    np.testing.assert_allclose(joint.sum(axis=0), share)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.nan_to_num(np.maximum(np.log(joint / np.outer(share, share)), 0.0))


def test_cooccurrence_embedding_factors_the_mutual_information():
    counts = np.random.default_rng(2).integers(0, 4, size=(7, 5))
    counts[:, 3] = 0  # a topic that never occurs
    counts[4] = 0  # a document without tokens
    embedding, expected = cooccurrence_embedding(counts, 9), pmi(counts)
    assert embedding.shape == (5, 5) and (embedding[3] == 0).all()
    # U √S has the matrix's absolute value, (M²)^½, for its products.
    values, vectors = np.linalg.eigh(expected)
    np.testing.assert_allclose(
        embedding @ embedding.T, vectors * np.abs(values) @ vectors.T, atol=1e-9
    )
    cut = cooccurrence_embedding(counts, 2)
    np.testing.assert_allclose(cut, embedding[:, :2])
    np.testing.assert_allclose(cooccurrence_embedding(counts * 1e300, 2), cut)


def test_topics_that_never_share_a_document_are_orthogonal():
    counts = np.array([[4, 1, 0, 0], [2, 3, 0, 0], [0, 0, 5, 1]])
    distances = cosine_distances(cooccurrence_embedding(counts))
    np.testing.assert_allclose(distances[:2, 2:], 1.0, atol=1e-9)
    assert distances[0, 1] < 0.9 and distances[2, 3] < 0.9


def test_words_of_a_cluster_are_mixed_by_the_topics_shares():
    phi = np.array([[0.5, 0.0, 1.0], [0.5, 1.0, 0.0]])
    mixed = merge_topics(phi, np.array([3.0, 1.0, 0.0]), np.array([1, 1, 0]))
    np.testing.assert_allclose(mixed, [[1.0, 0.375], [0.0, 0.625]])
    np.testing.assert_allclose(merge_topics(phi, np.zeros(3), np.array([0, 0, 0]))[:, 0], 0.5)


def test_cophenetic_correlation_is_pearsons_over_pairs():
    tree = topic_hierarchy(np.random.default_rng(0).normal(size=(8, 3)))
    other = np.random.default_rng(1).random((8, 8))
    pairs = np.triu_indices(8, 1)
    expected = np.corrcoef(tree.cophenetic()[pairs], other[pairs])[0, 1]
    assert cophenetic_correlation(tree.cophenetic(), other) == pytest.approx(expected)
    assert np.isnan(cophenetic_correlation(np.ones((3, 3)), np.ones((3, 3))))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: topic_hierarchy(np.ones((1, 3))),
            r"embedding: float64 \(1, 3\); give numbers \(K",
        ),
        (lambda: topic_hierarchy(np.array([[1.0], [np.nan]])), "embedding: that of topic 1 is not"),
        (lambda: topic_hierarchy(np.eye(3), "single"), "method is 'single': choose one of average"),
        (lambda: topic_hierarchy(np.eye(3)).cut(4), "n_clusters is 4: give 3 or less"),
        (lambda: cooccurrence_embedding(-np.eye(3)), "document_topic: give finite counts, 0 or"),
        (lambda: cooccurrence_embedding(np.eye(3)[:, :1]), r"document_topic: float64 \(3, 1\)"),
        (lambda: cophenetic_correlation(np.eye(3), np.eye(4)), r"distances: \(4, 4\); give \(3, 3"),
        (lambda: merge_topics(np.eye(3), np.ones(3), np.array([0, 2, 2])), "labels: a cluster has"),
        (lambda: merge_topics(np.eye(3), np.ones(2), np.zeros(3, int)), r"share: \(2,\); give a"),
    ],
)
def test_what_does_not_fit_is_refused(call, message):
    with pytest.raises(InputError, match=f"^{message}"):
        call()


def test_a_hierarchy_shows_its_shape():
    tree = topic_hierarchy(np.eye(4))
    assert isinstance(tree, Hierarchy) and tree.n_topics == 4
    assert repr(tree).startswith("Hierarchy(merges=")
