"""The filter against all K^T topic histories, and against models it must become at its edges."""

import numpy as np
import pytest
import torch
from enumeration import LEVEL, exact, history_number, p_value, within_standard_errors

from lla.common.parallel import thread_pool
from lla.corpus import Corpus
from lla.inference.emission import SharedEmission
from lla.inference.filter import FilterConfig, infer
from lla.lstm import NetworkConfig
from lla.peers.simulate import random_network, random_phi

K, V = 3, 4
WORDS = [2, 0, 3, 1]
NETWORK = random_network(NetworkConfig(K, K, 4, 5), seed=3, gain=12.0)
PHI = random_phi(V, K, 0.5, seed=4)
EXACT = exact(NETWORK, PHI, WORDS)
EVIDENCE = EXACT.joint.sum()  # p(w)


def run(documents, network=NETWORK, phi=PHI, seed=0, threads=1, **config):
    """Topics and log-evidence, flat, of documents given as lists of word ids."""
    emission = SharedEmission(torch.tensor(np.asarray(phi), dtype=torch.float32))
    corpus = Corpus.from_documents(documents, [f"w{w}" for w in range(len(phi))])
    with thread_pool(threads) as pool:
        return infer(
            network,
            emission,
            corpus,
            FilterConfig(**config),
            seed=seed,
            key=(5,),
            pool=pool,
        )


def estimates(n_documents, **config):
    """exp Σ_t log p̂(w_t | w_<t) of as many documents, all of the same words."""
    found = run([WORDS] * n_documents, **config)
    return np.exp(found.log_evidence.reshape(n_documents, -1).sum(axis=1))


def random_documents(lengths, n_words=V, seed=1):
    rng = np.random.Generator(np.random.Philox(seed))
    return [rng.integers(n_words, size=n) for n in lengths]


# ----------------------------------------------------------------- against all histories


def test_the_enumeration_itself():
    """Evidences multiply to p(w); probabilities of all words and of all histories sum to 1."""
    np.testing.assert_allclose(EXACT.evidence.prod(), EVIDENCE, rtol=1e-12)
    np.testing.assert_allclose(EXACT.drawn.sum(), 1.0, rtol=1e-12)
    pairs = [exact(NETWORK, PHI, [a, b]).joint.sum() for a in range(V) for b in range(V)]
    np.testing.assert_allclose(sum(pairs), 1.0, rtol=1e-12)
    assert np.ptp(EXACT.theta[:, 1:], axis=0).max() > 0.5, "the next topic depends on the past"
    assert abs(EXACT.drawn - EXACT.joint / EVIDENCE).sum() > 0.05, "a filter is no posterior"


def test_the_se_step_draws_each_topic_given_the_past():
    """Equation 2: z_1..z_T of one particle has probability Π_t θ_t φ / Σ_k θ_t φ."""
    n = 20_000
    topics = run([WORDS] * n, seed=11).topics.reshape(n, 4)
    numbers = history_number(topics, K)
    assert p_value(np.bincount(numbers, minlength=K**4), EXACT.drawn) > LEVEL


@pytest.mark.parametrize("threshold", [0.0, 0.5, 1.1])
@pytest.mark.parametrize("n_particles", [1, 2, 7])
def test_the_evidence_is_unbiased(n_particles, threshold):
    sample = estimates(4000, n_particles=n_particles, threshold=threshold, seed=12)
    assert within_standard_errors(sample, EVIDENCE)
    assert sample.std() < 2 * EVIDENCE, "or the mean would show little: a standard error is 3%"


def test_the_spread_falls_with_the_particles():
    """As 1/P when nobody is resampled, for then the particles are independent."""
    spread = [estimates(8000, n_particles=p, threshold=0.0, seed=13).var() for p in (1, 4, 16)]
    np.testing.assert_allclose([spread[0] / spread[1], spread[1] / spread[2]], 4.0, rtol=0.2)
    resampled = [estimates(2000, n_particles=p, seed=13).var() for p in (1, 4, 16)]
    assert resampled[1] < 0.4 * resampled[0] and resampled[2] < 0.4 * resampled[1]


@pytest.mark.parametrize("threshold", [0.5, 1.1])
def test_many_particles_find_the_exact_conditional(threshold):
    """log p(w_3, w_4 | w_1, w_2), the kind of thing perplexity is made of."""
    found = run([WORDS] * 4, n_particles=20_000, threshold=threshold, n_lanes=20_000, seed=14)
    ours = found.log_evidence.reshape(4, 4)
    np.testing.assert_allclose(ours, np.tile(np.log(EXACT.evidence), (4, 1)), atol=0.02)
    np.testing.assert_allclose(
        ours[:, 2:].sum(axis=1), np.log(EXACT.evidence[2:].prod()), atol=0.02
    )
    blind = np.log((EXACT.theta[:, 2:].mean(axis=0) * PHI[WORDS[2:]]).sum(axis=1)).sum()
    assert abs(blind - np.log(EXACT.evidence[2:].prod())) > 0.06, "without the past it is another"


def test_trajectories_of_many_particles_follow_the_posterior():
    """p(z_1..z_T | w_1..w_T), which draws given the past alone do not."""
    n = 3000
    found = run([WORDS] * n, n_particles=300, n_lanes=30_000, seed=16, trajectories=True)
    counts = np.bincount(history_number(found.topics.reshape(n, 4), K), minlength=K**4)
    assert p_value(counts, EXACT.joint / EVIDENCE) > LEVEL
    assert p_value(counts, EXACT.drawn) < LEVEL


def test_the_trajectory_of_one_particle_is_the_se_step():
    texts = [[1], [2, 0, 3, 1], [0, 0]] * 20
    one, whole = (run(texts, seed=17, trajectories=w) for w in (False, True))
    np.testing.assert_array_equal(one.topics, whole.topics)
    np.testing.assert_array_equal(one.log_evidence, whole.log_evidence)


@pytest.mark.parametrize("n_particles", [1, 5])
def test_documents_of_all_lengths_side_by_side(n_particles):
    """Each document's estimate is unbiased for its own words; one word is scored exactly."""
    texts = [[1], [2, 0, 3, 1], [0, 0], [3], [1, 2, 2]]
    n = 3000
    found = run(texts * n, n_particles=n_particles, seed=15)
    per_round = found.log_evidence.reshape(n, -1)
    topics = found.topics.reshape(n, -1)
    ends = np.cumsum([len(text) for text in texts])
    for text, end in zip(texts, ends, strict=True):
        columns = slice(end - len(text), end)
        truth = exact(NETWORK, PHI, text)
        first = np.log(truth.evidence[0])
        np.testing.assert_allclose(per_round[:, columns.start], first, rtol=1e-5)
        if len(text) > 1:
            sample = np.exp(per_round[:, columns].sum(axis=1))
            assert within_standard_errors(sample, truth.joint.sum())
        if n_particles == 1:
            counts = np.bincount(history_number(topics[:, columns], K), minlength=K ** len(text))
            assert p_value(counts, truth.drawn) > LEVEL


# ------------------------------------------------------------------- models it must become


@pytest.mark.parametrize("n_particles", [1, 7])
def test_one_topic_is_the_unigram_model(n_particles):
    phi = random_phi(V, 1, 0.5, seed=6)
    network = random_network(NetworkConfig(1, 1, 4, 5), seed=7)
    documents = random_documents([5, 1, 12])
    found = run(documents, network, phi, n_particles=n_particles)
    unigram = np.log(phi.astype(np.float32)[np.concatenate(documents), 0].astype(np.float64))
    np.testing.assert_allclose(found.log_evidence, unigram, rtol=1e-14)
    assert not found.topics.any()


@pytest.mark.parametrize("n_particles", [1, 7])
def test_a_uniform_model_has_perplexity_v(n_particles):
    found = run(random_documents([5, 1, 12]), phi=np.full((V, K), 1 / V), n_particles=n_particles)
    np.testing.assert_allclose(np.exp(-found.log_evidence), V, rtol=1e-6)


@pytest.mark.parametrize("n_particles", [1, 2, 7])
@pytest.mark.parametrize("threshold", [0.0, 1.1])
@torch.no_grad()
def test_when_each_topic_is_a_word_it_is_the_word_lstm(n_particles, threshold):
    """φ = identity: the topics are the words, and every history but one is impossible."""
    network = random_network(NetworkConfig(V, V, 4, 5), seed=8)
    documents = random_documents([6, 1, 15], seed=2)
    found = run(documents, network, np.eye(V), n_particles=n_particles, threshold=threshold)
    np.testing.assert_array_equal(found.topics, np.concatenate(documents))
    expected = []
    for words in documents:
        ids = torch.tensor([V, *words[:-1].tolist()])[:, None]
        log_p = network(ids)[0][:, 0].double().log_softmax(dim=1)
        expected.extend(log_p[torch.arange(len(words)), torch.from_numpy(words)].tolist())
    np.testing.assert_allclose(found.log_evidence, expected, rtol=0, atol=1e-4)


# ---------------------------------------------------------------------- lanes and threads


MIXED = random_documents([1, 30, 7, 30, 1, 2, 19] * 6, seed=3)


@pytest.mark.parametrize("n_particles", [1, 3])
def test_two_threads_and_the_same_seed_give_identical_results(n_particles):
    config = {"n_particles": n_particles, "n_lanes": 8}
    one, two, other = (run(MIXED, threads=n, seed=s, **config) for n, s in ((1, 0), (2, 0), (2, 1)))
    np.testing.assert_array_equal(one.topics, two.topics)
    np.testing.assert_array_equal(one.log_evidence, two.log_evidence)
    assert (one.topics != other.topics).any()


def same_but_for_rounding(ours, theirs):
    """Matrix products of another height may round otherwise; a flipped draw would show as more."""
    return (
        np.mean(ours.topics == theirs.topics) > 0.9
        and np.median(abs(ours.log_evidence - theirs.log_evidence)) < 1e-5
    )


@pytest.mark.parametrize("n_particles", [1, 3])
def test_grouping_changes_no_more_than_rounding(n_particles):
    few, many = (run(MIXED, n_particles=n_particles, n_lanes=n) for n in (4, 512))
    assert same_but_for_rounding(few, many)


def test_a_documents_draws_do_not_depend_on_its_neighbours():
    """Its draws depend only on its number, whatever the other documents are."""
    kept, n = MIXED[:5], sum(len(d) for d in MIXED[:5])
    beside = run([*kept, *random_documents([40, 3, 1, 60], seed=9)])
    alone = run(kept)
    assert np.mean(beside.topics[:n] == alone.topics) > 0.9
    assert np.median(abs(beside.log_evidence[:n] - alone.log_evidence)) < 1e-5
    moved = run(MIXED[1:5])
    assert (moved.topics != alone.topics[1:]).any(), "numbers, not words, name the draws"


# --------------------------------------------------------------------------- bad models


@pytest.mark.parametrize("n_particles", [1, 2, 7])
@pytest.mark.parametrize("value", [0.0, np.nan])
def test_a_document_the_model_cannot_emit_is_named(n_particles, value):
    phi = PHI.copy()
    phi[1] = value
    documents = [[0, 2, 3], [0, 0], [2, 1, 0], [3]]
    with pytest.raises(FloatingPointError, match=r"^document 2 has probability 0 or NaN"):
        run(documents, phi=phi, n_particles=n_particles)
    del documents[2]
    assert np.isfinite(run(documents, phi=phi, n_particles=n_particles).log_evidence).all()


def test_zero_particles_are_refused():
    with pytest.raises(ValueError, match=r"^n_particles is 0: give 1 or more$"):
        FilterConfig(n_particles=0)
