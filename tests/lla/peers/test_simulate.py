"""What is simulated follows the model it came from, and the model knows its own corpus best."""

import numpy as np
import pytest
import torch
from enumeration import LEVEL, exact, histories, history_number, p_value, within_standard_errors

from lla.common.parallel import thread_pool
from lla.inference.emission import SharedEmission
from lla.inference.filter import FilterConfig, infer
from lla.lstm import NetworkConfig
from lla.peers.simulate import random_network, random_phi, simulate

K, V, T = 3, 4, 4
NETWORK = random_network(NetworkConfig(K, K, 4, 5), seed=3, gain=12.0)
PHI = random_phi(V, K, 0.3, seed=5)
N = 20_000


@pytest.fixture(scope="module")
def drawn():
    """N documents of T words: words and topics, both (N, T)."""
    corpus, topics = simulate(NETWORK, PHI, [T] * N, seed=6)
    return corpus.words.reshape(N, T), topics.reshape(N, T)


def log_evidence(corpus, n_particles, seed=1):
    emission = SharedEmission(torch.tensor(PHI, dtype=torch.float32))
    with thread_pool(1) as pool:
        config = FilterConfig(n_particles)
        found = infer(NETWORK, emission, corpus, config, seed=seed, key=(5,), pool=pool)
    return np.add.reduceat(found.log_evidence, corpus.offsets[:-1])


def test_topics_follow_the_network(drawn):
    """Whole histories: p(z_1..z_T) = Π_t θ_t,z_t, the state fed by the topics before."""
    theta = exact(NETWORK, PHI, [0] * T).theta  # does not depend on the words
    p = np.take_along_axis(theta, histories(K, T)[:, :, None], axis=2).prod(axis=(1, 2))
    counts = np.bincount(history_number(drawn[1], K), minlength=K**T)
    assert p_value(counts, p) > LEVEL
    assert p_value(np.bincount(drawn[1][:, 0], minlength=K), theta[0, 0]) > LEVEL


def test_words_follow_phi(drawn):
    words, topics = drawn
    for t in range(T):
        for k in range(K):
            counts = np.bincount(words[topics[:, t] == k, t], minlength=V)
            assert p_value(counts, PHI[:, k]) > LEVEL


def test_a_word_is_drawn_from_its_topic_alone(drawn):
    """Given z_2, the word w_2 says nothing about w_1 beyond what z_1 and z_2 say."""
    words, topics = drawn
    for pair in histories(K, 2):
        chosen = (topics[:, :2] == pair).all(axis=1)
        if chosen.sum() > 200:
            counts = np.bincount(words[chosen, 0] * V + words[chosen, 1], minlength=V * V)
            assert p_value(counts, np.outer(PHI[:, pair[0]], PHI[:, pair[1]])) > LEVEL


def test_lengths_shapes_and_seeds():
    lengths = [3, 1, 7, 2]
    corpus, topics = simulate(NETWORK, PHI, lengths, seed=8)
    assert corpus.lengths.tolist() == lengths and corpus.n_words == V
    assert topics.shape == (13,) and topics.dtype == np.int32
    again, same = simulate(NETWORK, PHI, lengths, seed=8)
    other, _ = simulate(NETWORK, PHI, lengths, seed=9)
    np.testing.assert_array_equal(again.words, corpus.words)
    np.testing.assert_array_equal(same, topics)
    assert (other.words != corpus.words).any()


def test_topics_match_their_words_when_lengths_differ():
    """φ = identity: each word is its own topic's."""
    corpus, topics = simulate(NETWORK, np.eye(K), [5, 1, 9, 2, 9], seed=10)
    np.testing.assert_array_equal(corpus.words, topics)


def test_the_filter_scores_at_most_what_the_model_does():
    """log p̂ is too low in the mean, by Jensen, and closes the gap as particles are added."""
    corpus, _ = simulate(NETWORK, PHI, [T] * 1500, seed=11)
    all_words = np.array([exact(NETWORK, PHI, w).joint.sum() for w in histories(V, T)])
    truth = np.log(all_words[history_number(corpus.words.reshape(-1, T), V)])
    gaps = [truth - log_evidence(corpus, n_particles) for n_particles in (1, 8, 64)]
    one, some, many = (gap.mean() for gap in gaps)
    assert one > 5 * gaps[0].std() / np.sqrt(len(truth)), "one particle loses something"
    assert 0.0 < some < 0.3 * one and abs(many) < 0.1 * one


def test_the_oracle_beats_the_unigram_and_scores_its_entropy():
    """Perplexity of the true model: that of its own entropy, and below any unigram's."""
    corpus, _ = simulate(NETWORK, PHI, [T] * 4000, seed=12)
    all_words = np.array([exact(NETWORK, PHI, w).joint.sum() for w in histories(V, T)])
    np.testing.assert_allclose(all_words.sum(), 1.0, rtol=1e-10)
    scores = np.log(all_words[history_number(corpus.words.reshape(-1, T), V)])
    assert within_standard_errors(scores, all_words @ np.log(all_words))
    frequencies = np.bincount(corpus.words, minlength=V) / corpus.n_tokens
    best_unigram = corpus.n_tokens * frequencies @ np.log(frequencies)
    filtered = log_evidence(corpus, 64).sum()
    assert np.exp(-filtered / corpus.n_tokens) < 0.98 * np.exp(-best_unigram / corpus.n_tokens)


def test_random_phi_and_network():
    """Columns are distributions; small β makes them peaked; gain touches what makes structure."""
    phi = random_phi(50, 8, 0.1, seed=1)
    assert phi.shape == (50, 8) and (phi >= 0).all()
    np.testing.assert_allclose(phi.sum(axis=0), 1.0, rtol=1e-12)
    assert phi.max(axis=0).mean() > 3 * random_phi(50, 8, 10.0, seed=1).max(axis=0).mean()
    config = NetworkConfig(K, K, 4, 5)
    plain, scaled = (random_network(config, seed=2, gain=g) for g in (1.0, 8.0))
    for (name, a), b in zip(plain.named_parameters(), scaled.parameters(), strict=True):
        factor = 8.0 if name in ("input.weight", "output.weight") else 1.0
        torch.testing.assert_close(b, factor * a, msg=name)


def test_personal_words_are_drawn_from_the_documents_urns():
    """All V^T words of a history have the probability that the urns' definition gives."""
    n, tau = 20_000, np.array([0.5, 2.0, 9.0])
    corpus, topics = simulate(NETWORK, PHI, [T] * n, seed=13, tau=tau)
    words, topics = corpus.words.reshape(n, T), topics.reshape(n, T)
    z = histories(K, T)
    theta = exact(NETWORK, PHI, [0] * T).theta
    p_z = np.take_along_axis(theta, z[:, :, None], axis=2).prod(axis=(1, 2))
    assert p_value(np.bincount(history_number(topics, K), minlength=K**T), p_z) > LEVEL
    p_w = np.array([exact(NETWORK, PHI, w, tau).joint.sum() for w in histories(V, T)])
    counts = np.bincount(history_number(words, V), minlength=V**T)
    assert p_value(counts, p_w) > LEVEL
    shared = np.array([exact(NETWORK, PHI, w).joint.sum() for w in histories(V, T)])
    assert p_value(counts, shared) < 1e-12
