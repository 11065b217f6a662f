"""φ follows from the counts, and the emission is φ and nothing else."""

import numpy as np
import pytest
import torch
from scipy import stats

import lla.inference.emission
from lla.inference.emission import SharedEmission
from lla.samplers.lda import phi_from_counts, topic_counts

WORDS = np.array([0, 3, 3, 1, 0, 3, 2], np.uint16)
TOPICS = np.array([0, 1, 1, 0, 1, 0, 0], np.int32)


def test_counts_add_up():
    word_topic, topic_total = topic_counts(WORDS, TOPICS, 5, 3)
    np.testing.assert_array_equal(word_topic.T, [[1, 1, 1, 1, 0], [1, 0, 0, 2, 0], [0] * 5])
    np.testing.assert_array_equal(topic_total, word_topic.sum(axis=0))
    assert word_topic.sum() == len(WORDS)


@pytest.mark.parametrize("beta", [1e-3, 0.1, 2.0])
def test_phi_is_the_closed_form(beta):
    """Each column a distribution; an empty topic the uniform one."""
    counts = topic_counts(WORDS, TOPICS, 5, 3)
    phi = phi_from_counts(*counts, beta)
    assert phi.dtype == np.float64 and (phi > 0).all()
    np.testing.assert_allclose(phi.sum(axis=0), 1.0, rtol=1e-15)
    np.testing.assert_allclose(phi[3, 1], (2 + beta) / (3 + 5 * beta), rtol=1e-15)
    np.testing.assert_allclose(phi[4, 0], beta / (4 + 5 * beta), rtol=1e-15)
    np.testing.assert_allclose(phi[:, 2], 0.2, rtol=1e-15)


def test_phi_without_smoothing_is_the_maximiser():
    """Σ n_wk log φ_wk is largest at the frequencies, among all other distributions tried."""
    word_topic, topic_total = topic_counts(WORDS, TOPICS, 5, 2)
    best = phi_from_counts(word_topic, topic_total, 0.0)
    rng = np.random.Generator(np.random.Philox(1))

    def score(phi):
        return np.where(word_topic > 0, word_topic * np.log(np.maximum(phi, 1e-300)), 0).sum()

    others = rng.dirichlet(np.ones(5), size=(200, 2)).transpose(0, 2, 1)
    assert all(score(0.9 * best + 0.1 * other) < score(best) for other in others)


@pytest.mark.parametrize("cells", [1, 7, 2**20])
def test_phi_and_its_entropy_do_not_hang_on_how_much_is_computed_at_once(monkeypatch, cells):
    phi = phi_from_counts(*topic_counts(WORDS, TOPICS, 5, 3), 0.1)
    monkeypatch.setattr(lla.emission, "CELLS", cells)
    emission = SharedEmission.from_assignments(WORDS, TOPICS, 5, 3, 0.1)
    np.testing.assert_array_equal(emission.phi.numpy(), phi.astype(np.float32))
    assert emission.entropy() == pytest.approx(stats.entropy(phi, axis=0).mean(), rel=1e-6)


def test_likelihood_is_a_row_of_phi():
    emission = SharedEmission.from_assignments(WORDS, TOPICS, 5, 3, 0.1)
    phi = phi_from_counts(*topic_counts(WORDS, TOPICS, 5, 3), 0.1).astype(np.float32)
    assert emission.phi.dtype == torch.float32
    ids = torch.tensor([4, 0, 3, 3])
    np.testing.assert_array_equal(emission.likelihood(ids), phi[ids.numpy()])


def test_entropy_of_topics():
    """log V when uniform, 0 when each topic has one word, the mean in between."""
    uniform, one_word = torch.full((4, 3), 0.25), torch.eye(4)[:, :3]
    assert SharedEmission(uniform).entropy() == pytest.approx(np.log(4), rel=1e-12)
    assert SharedEmission(one_word).entropy() == 0.0
    both = torch.cat([uniform[:, :1], one_word[:, :1]], dim=1)
    assert SharedEmission(both).entropy() == pytest.approx(np.log(4) / 2, rel=1e-12)
