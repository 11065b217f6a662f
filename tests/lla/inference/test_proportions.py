"""Topic proportions of documents: the posterior mean over all topic histories."""

import numpy as np
import pytest
import torch
from enumeration import exact, histories
from personal_model import NETWORKS, PHI, TAU, WORDS, K, V, any_network, personal
from simulated import random_corpus

from lla.common.errors import InputError
from lla.common.parallel import thread_pool
from lla.corpus import Corpus
from lla.inference.emission import SharedEmission
from lla.inference.filter import FilterConfig, FilterResult, infer
from lla.lstm import CharacterConfig, Network, NetworkConfig
from lla.model import Model
from lla.samplers.histories import count_paths

NAMES = [f"w{w}" for w in range(V)]
DOCUMENTS = [WORDS, [1], [3, 3, 0], [0, 2, 1, 2, 3], [1, 1]]
CORPUS = Corpus.from_documents(DOCUMENTS, NAMES)


def model(reads="topic", tau=None):
    phi = torch.tensor(PHI, dtype=torch.float32)
    emission = SharedEmission(phi) if tau is None else personal(PHI, tau)
    return Model(NETWORKS[reads], emission, np.empty(0, np.int32), tuple(NAMES))


def posterior_mean(words, reads, tau):
    """E[n_k | w] / N over all K^N topic histories, (K,)."""
    joint = exact(NETWORKS[reads], PHI, words, tau).joint
    z = histories(K, len(words))
    shares = (z[:, :, None] == np.arange(K)).mean(axis=1)  # (K^N, K)
    return joint @ shares / joint.sum()


@pytest.mark.parametrize("tau", [None, TAU], ids=["shared", "personal"])
@pytest.mark.parametrize("reads", ["topic", "word"])
def test_many_particles_find_the_posterior_mean(reads, tau):
    found = model(reads, tau).topic_proportions(CORPUS, n_particles=20_000, seed=3)
    expected = [posterior_mean(words, reads, tau) for words in DOCUMENTS]
    # Without an urn, topics that do not depend on each other need no sampling.
    is_exact = reads == "word" and tau is None
    np.testing.assert_allclose(found, expected, atol=1e-6 if is_exact else 0.015)
    np.testing.assert_allclose(found.sum(axis=1), 1.0, rtol=1e-12)


def test_later_words_influence_earlier_topics():
    """So it is no mean of the topics as they were drawn, or the test above would show little."""
    truth = exact(NETWORKS["topic"], PHI, WORDS)
    shares = (histories(K, len(WORDS))[:, :, None] == np.arange(K)).mean(axis=1)
    drawn = truth.drawn @ shares / truth.drawn.sum()
    assert abs(drawn - posterior_mean(WORDS, "topic", None)).max() > 0.05


def test_one_particle_counts_its_own_draws():
    topics, counts = np.zeros(CORPUS.n_tokens, np.int32), np.zeros((CORPUS.n_documents, K))
    infer_into(counts, topics)
    for d, row in enumerate(counts):
        drawn = topics[CORPUS.offsets[d] : CORPUS.offsets[d + 1]]
        np.testing.assert_array_equal(row, np.bincount(drawn, minlength=K))


def test_paths_are_followed_back_through_their_ancestors():
    topics = np.array([[0, 1, 2, 2], [1, 1, 0, 0]])  # (T, L·P), two lanes of two particles
    ancestors = np.array([[0, 1, 2, 3], [1, 1, 2, 3]])
    counts, weights = np.zeros((2, 3)), np.array([[0.25, 0.75], [0.5, 0.5]])
    count_paths(topics, ancestors, np.array([2, 1]), weights, counts)
    # Lane 0: both particles come from particle 1, with topics 1 and 1. Lane 1 has one token.
    np.testing.assert_allclose(counts, [[0.0, 2.0, 0.0], [0.0, 0.0, 1.0]])


@pytest.mark.parametrize("tau", [None, TAU], ids=["shared", "personal"])
@pytest.mark.parametrize("reads", ["topic", "word"])
def test_a_row_depends_on_its_document_alone(reads, tau):
    any_model = model(reads, tau)
    rows = any_model.topic_proportions(CORPUS, seed=1)
    for d in range(CORPUS.n_documents):
        alone = any_model.topic_proportions(CORPUS.select([d]), seed=1)
        np.testing.assert_allclose(alone[0], rows[d], atol=1e-6)
    again = any_model.topic_proportions(CORPUS.select([4, 0, 0, 2, 3, 1]), seed=1, n_threads=2)
    np.testing.assert_allclose(again, rows[[4, 0, 0, 2, 3, 1]], atol=1e-6)


def test_the_seed_decides_the_draws():
    first, same, other = (model().topic_proportions(CORPUS, seed=s) for s in (1, 1, 2))
    np.testing.assert_array_equal(first, same)
    assert abs(first - other).max() > 1e-3


def test_every_kind_of_model_with_topics_gives_proportions():
    corpus = random_corpus(20, n_words=12, longest=40, seed=2)
    phi = torch.rand(12, 4, generator=torch.Generator().manual_seed(1))
    emission = SharedEmission(phi / phi.sum(dim=0))
    for reads in ("topic", "word", "character"):
        net = any_network(reads)
        found = Model(net, emission, np.empty(0, np.int32)).topic_proportions(corpus)
        assert found.shape == (20, 4) and (found >= 0).all()
        np.testing.assert_allclose(found.sum(axis=1), 1.0, rtol=1e-9)


def test_a_model_without_topics_and_a_wrong_place_are_named():
    config = NetworkConfig(V, V, 4, 5, 0.0, "word", CharacterConfig())
    words = Model(Network(config, torch.Generator()), None, np.empty(0, np.int32))
    with pytest.raises(InputError, match="predicts words, it has no topics"):
        words.topic_proportions(CORPUS)
    with pytest.raises(InputError, match=r"topic_counts: \(2, 3\); give room for 5 documents"):
        infer_into(np.zeros((2, 3)))


def infer_into(counts, topics=None):
    with thread_pool(1) as pool:
        infer(
            NETWORKS["topic"],
            model().emission,
            CORPUS,
            FilterConfig(1),
            seed=0,
            key=(1,),
            pool=pool,
            out=FilterResult(topics=topics, log_evidence=None, topic_counts=counts),
        )
