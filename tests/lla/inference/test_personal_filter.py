"""The personal emission in the filter: against all K^T histories, and as the models it must become.

Words repeat in these documents, so that a likelihood of another history would show.
"""

import numpy as np
import pytest
from enumeration import LEVEL, exact, histories, history_number, p_value, within_standard_errors
from personal_model import EXACT, NETWORKS, PHI, READS, TAU, WORDS, K, V, any_network, personal
from simulated import random_corpus

from lla.common.parallel import thread_pool
from lla.corpus import Corpus, split_corpus
from lla.inference.emission import SharedEmission
from lla.inference.filter import FilterConfig, infer
from lla.peers.counts import CacheUnigram
from lla.peers.simulate import random_phi


def run(documents, network, emission=None, seed=0, threads=1, **config):
    """Topics and log-evidence, flat, of documents given as lists of word ids."""
    emission = emission or personal(PHI, TAU)
    corpus = documents
    if not isinstance(documents, Corpus):
        corpus = Corpus.from_documents(documents, [f"w{w}" for w in range(len(emission.phi))])
    with thread_pool(threads) as pool:
        config = FilterConfig(**config)
        return infer(network, emission, corpus, config, seed=seed, key=(5,), pool=pool)


def test_the_enumeration_itself():
    """All words of all documents have probability 1; histories and repeats matter."""
    for network in NETWORKS.values():
        every = [exact(network, PHI, w, TAU).joint.sum() for w in histories(V, 3)]
        np.testing.assert_allclose(sum(every), 1.0, rtol=1e-12)
    for reads, network in NETWORKS.items():
        ours, shared = EXACT[reads], exact(network, PHI, WORDS)
        assert abs(np.log(ours.joint.sum() / shared.joint.sum())) > 0.3
        assert abs(ours.drawn - ours.joint / ours.joint.sum()).sum() > 0.03


@pytest.mark.parametrize("reads", READS)
def test_the_se_step_draws_each_topic_given_the_past(reads):
    """z_1..z_T has probability Π_t θ_tk p(w_t | k, history) / Σ_k."""
    n = 10_000
    topics = run([WORDS] * n, NETWORKS[reads], seed=11).topics.reshape(n, 4)
    counts = np.bincount(history_number(topics, K), minlength=K**4)
    assert p_value(counts, EXACT[reads].drawn) > LEVEL
    shared = exact(NETWORKS[reads], PHI, WORDS).drawn
    assert p_value(counts, shared) < 1e-12, "the test would see a φ that knows no document"


@pytest.mark.parametrize("reads", READS)
@pytest.mark.parametrize("threshold", [0.0, 0.5, 1.1])
@pytest.mark.parametrize("n_particles", [1, 2, 7])
def test_the_evidence_is_unbiased(reads, n_particles, threshold):
    found = run(
        [WORDS] * 3000, NETWORKS[reads], n_particles=n_particles, threshold=threshold, seed=12
    )
    sample = np.exp(found.log_evidence.reshape(3000, -1).sum(axis=1))
    truth = EXACT[reads].joint.sum()
    assert within_standard_errors(sample, truth)
    assert sample.std() < 2 * truth, "or the mean would show little: a standard error is 3%"


@pytest.mark.parametrize("reads", READS)
@pytest.mark.parametrize("threshold", [0.5, 1.1])
def test_many_particles_find_the_exact_conditional(reads, threshold):
    found = run(
        [WORDS] * 3,
        NETWORKS[reads],
        n_particles=20_000,
        threshold=threshold,
        n_lanes=20_000,
        seed=14,
    )
    expected = np.tile(np.log(EXACT[reads].evidence), (3, 1))
    np.testing.assert_allclose(found.log_evidence.reshape(3, 4), expected, atol=0.02)


@pytest.mark.parametrize("reads", READS)
def test_documents_of_all_lengths_side_by_side(reads):
    texts, n = [[1], [2, 0, 2, 2], [0, 0], [3], [1, 1, 2]], 2000
    found = run(texts * n, NETWORKS[reads], n_particles=2, threshold=1.1, seed=15)
    ends = np.cumsum([len(text) for text in texts])
    for text, end in zip(texts, ends, strict=True):
        sample = found.log_evidence.reshape(n, -1)[:, end - len(text) : end].sum(axis=1)
        truth = exact(NETWORKS[reads], PHI, text, TAU)
        if len(text) == 1:
            np.testing.assert_allclose(sample, np.log(truth.evidence[0]), rtol=1e-5)
        else:
            assert within_standard_errors(np.exp(sample), truth.joint.sum())


# ------------------------------------------------------------------- models it must become


@pytest.mark.parametrize("reads", ["topic", "word", "character"])
@pytest.mark.parametrize("n_particles", [1, 5])
def test_an_endless_tau_is_the_shared_emission(reads, n_particles):
    corpus, network, phi = random_corpus(longest=70), any_network(reads), random_phi(12, 4, 0.5, 6)
    ours = run(corpus, network, personal(phi, 1e12), n_particles=n_particles)
    shared = SharedEmission(personal(phi, 1).phi)
    theirs = run(corpus, network, shared, n_particles=n_particles)
    if reads == "topic" or n_particles == 1:
        assert ours.topics.tobytes() == theirs.topics.tobytes()
    np.testing.assert_allclose(ours.log_evidence, theirs.log_evidence, rtol=1e-6)


@pytest.mark.parametrize("reads", ["topic", "word", "character"])
@pytest.mark.parametrize("n_particles", [1, 3])
@pytest.mark.parametrize("tau", [0.3, 20.0])
def test_one_topic_is_the_cache_unigram(reads, n_particles, tau):
    """K = 1: the Dirichlet-multinomial of concentration τ, particles or none."""
    split, phi = split_corpus(random_corpus(longest=40)), random_phi(12, 1, 0.5, seed=6)
    network = any_network(reads, n_topics=1)
    found = run(split.corpus, network, personal(phi, tau), n_particles=n_particles)
    expected = CacheUnigram(phi[:, 0], tau).score(split)
    np.testing.assert_allclose(split.sum_held_out(found.log_evidence), expected, rtol=1e-6)


def test_one_topics_words_may_come_in_any_order():
    """A Pólya urn is exchangeable."""
    rng, words = np.random.default_rng(7), np.array([3, 1, 1, 0, 3, 3, 2, 1])
    documents = [rng.permutation(words) for _ in range(20)]
    emission = personal(random_phi(V, 1, 0.5, seed=6), 2.5)
    found = run(documents, any_network("topic", V, 1), emission).log_evidence.reshape(20, -1)
    np.testing.assert_allclose(found.sum(axis=1), found[0].sum(), rtol=1e-5)
    assert np.ptp(found[:, -1]) > 0.1, "each word's own probability depends on the order"


# ---------------------------------------------------------------------- lanes and threads


@pytest.mark.parametrize("reads", READS)
@pytest.mark.parametrize("n_particles", [1, 3])
def test_two_threads_give_identical_results(reads, n_particles):
    rng = np.random.default_rng(3)
    documents = [rng.integers(V, size=n) for n in [1, 30, 7, 80, 1, 2, 19] * 12]
    config = {"n_particles": n_particles, "n_lanes": 8}
    one, two, other = (
        run(documents, NETWORKS[reads], threads=n, seed=s, **config)
        for n, s in ((1, 0), (2, 0), (2, 1))
    )
    assert one.topics.tobytes() == two.topics.tobytes()
    assert one.log_evidence.tobytes() == two.log_evidence.tobytes()
    assert (one.topics != other.topics).any()


@pytest.mark.parametrize("reads", READS)
@pytest.mark.parametrize("n_particles", [1, 3])
def test_a_document_the_model_cannot_emit_is_named(reads, n_particles):
    """And nothing is written where no topic was drawn, at its first word least of all."""
    phi = PHI.copy()
    phi[1] = 0.0
    documents = [[0, 2, 3], [0, 0], [1, 2, 1, 0], [3]]
    emission = personal(phi, TAU)
    with pytest.raises(FloatingPointError, match=r"^document 2 has probability 0 or NaN"):
        run(documents, NETWORKS[reads], emission, n_particles=n_particles)
    del documents[2]
    found = run(documents, NETWORKS[reads], emission, n_particles=n_particles)
    assert np.isfinite(found.log_evidence).all()


def test_the_summary_of_the_personal_emission():
    """φ's entropy and τ's mean; a τ that topics share is one number."""
    shared, own = personal(PHI, 2.0), personal(PHI, TAU)
    assert own.summary() == {"topic_entropy": own.entropy(), "tau": pytest.approx(TAU.mean(), 1e-6)}
    assert [len(x.arrays()[1]) for x in (shared, own)] == [1, 3]
    assert own.entropy() == SharedEmission(own.phi).entropy()
