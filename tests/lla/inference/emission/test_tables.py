"""Tables against the Antoniak distribution; τ against its equation, and found in simulated urns."""

import itertools

import numpy as np
import pytest
from enumeration import LEVEL, p_value, within_standard_errors
from scipy.special import gammaln

from lla.inference.emission import PersonalEmission, SharedEmission
from lla.inference.emission.tables import TauConfig, draw_tables, map_tau, opening_probability
from lla.peers.simulate import random_phi
from lla.samplers.lda import phi_from_counts, topic_counts
from lla.samplers.personal import urn_ranks


def stirling(n):
    """Unsigned Stirling numbers of the first kind |s(n, m)|, m = 0..n: the coefficients of
    x(x+1)...(x+n-1)."""
    coefficients = np.array([1.0])
    for i in range(n):
        coefficients = np.append(0.0, coefficients) + np.append(i * coefficients, 0.0)
    return coefficients


def draw_urns(n_documents, length, phi, tau, seed=0):
    """Documents with random topics, each word by the Pólya urn of its document and topic.

    Written from the urn's story, not from its probabilities: one of the balls so far, or a new
    one. Returns words, offsets, topics and which words were new.
    """
    rng = np.random.default_rng(seed)
    n_words, n_topics = phi.shape
    words = np.empty((n_documents, length), np.int64)
    topics = rng.integers(n_topics, size=words.shape)
    new = np.zeros(words.shape, bool)
    for d in range(n_documents):
        balls = [[] for _ in range(n_topics)]
        for t, k in enumerate(topics[d]):
            new[d, t] = rng.random() < tau[k] / (tau[k] + len(balls[k]))
            fresh = rng.choice(n_words, p=phi[:, k]) if new[d, t] else None
            words[d, t] = fresh if new[d, t] else balls[k][rng.integers(len(balls[k]))]
            balls[k].append(words[d, t])
    offsets = np.arange(n_documents + 1) * length
    return words.ravel(), offsets, topics.ravel().astype(np.int32), new.ravel()


# ----------------------------------------------------------------------------------- tables


@pytest.mark.parametrize(("n", "base"), [(2, 0.3), (5, 0.3), (5, 2.5), (6, 0.02)])
def test_the_number_of_tables_is_antoniaks(n, base):
    """n tokens of one word: p(t tables) = |s(n, t)| (τφ)^t Γ(τφ)/Γ(τφ + n)."""
    p = stirling(n) * base ** np.arange(n + 1) * np.exp(gammaln(base) - gammaln(base + n))
    np.testing.assert_allclose(p.sum(), 1.0, rtol=1e-12)
    uniforms = np.random.default_rng(1).random((20_000, n))
    opened = uniforms < opening_probability(np.full(n, base), np.arange(n))
    assert p_value(np.bincount(opened.sum(axis=1), minlength=n + 1)[1:], p[1:]) > LEVEL
    assert opened[:, 0].all(), "the first of its kind always opens one"


def test_tables_equal_the_opened_ones():
    """Which words were new has, given all words and topics, the probability that is drawn from."""
    phi, tau = np.array([[0.5, 0.1], [0.3, 0.1], [0.2, 0.8]]), np.array([2.0, 6.0])
    words, offsets, topics, new = draw_urns(4000, 6, phi, tau)
    _, same_both = urn_ranks(words, offsets, topics, 3, 2)
    p = opening_probability(tau[topics] * phi[words, topics], same_both)
    for k, j in itertools.product(range(2), range(3)):
        chosen = (topics == k) & (same_both == j)
        assert within_standard_errors(new[chosen] - p[chosen], 0.0) or (
            j == 0 and new[chosen].all()
        )


def given_tables(words, offsets, topics, tau, config, n_sweeps=10, n_words=None, seed=0, beta=0.1):
    n_words = n_words or int(words.max()) + 1
    tau = np.broadcast_to(np.asarray(tau, float), int(topics.max()) + 1)
    return draw_tables(
        words, offsets, topics, n_words, beta, tau, config, n_sweeps=n_sweeps, seed=seed, key=(1,)
    )


def test_an_infinite_tau_counts_every_token():
    """τ → ∞: every token opens a table, and φ is the shared emission's to the last bit."""
    phi = random_phi(9, 3, 0.5, seed=1)
    words, offsets, topics, _ = draw_urns(30, 12, phi, np.full(3, 5.0))
    endless = TauConfig(1e12, learn=False)
    tables = given_tables(words, offsets, topics, 1e12, endless, n_words=9)
    assert tables.opened.all()
    ours = PersonalEmission.from_tables(words, topics, tables.opened, tables.tau, 9, 0.1)
    theirs = SharedEmission.from_assignments(words, topics, 9, 3, 0.1)
    assert ours.phi.numpy().tobytes() == theirs.phi.numpy().tobytes()


def test_a_vanishing_tau_counts_every_word_once_per_document_and_topic():
    words, offsets, topics, _ = draw_urns(30, 12, random_phi(9, 3, 0.5, seed=1), np.full(3, 5.0))
    tables = given_tables(words, offsets, topics, 1e-9, TauConfig(1e-9, learn=False))
    document = np.repeat(np.arange(30), 12)
    kinds = len({*zip(document.tolist(), words.tolist(), topics.tolist(), strict=True)})
    assert tables.opened.sum() == kinds < len(words)


def test_counting_tables_recovers_phi_better_than_counting_tokens():
    """Documents of many repeats: counting tables comes nearer to φ than counting tokens."""
    phi = random_phi(20, 2, 1.0, seed=3)
    words, offsets, topics, _ = draw_urns(400, 60, phi, np.full(2, 3.0), seed=4)
    tables = given_tables(words, offsets, topics, 10.0, TauConfig(), n_words=20)
    ours, theirs = (
        phi_from_counts(*topic_counts(words[chosen], topics[chosen], 20, 2), 0.1)
        for chosen in (tables.opened, slice(None))
    )
    assert abs(ours - phi).sum() < 0.75 * abs(theirs - phi).sum()


# -------------------------------------------------------------------------------------- τ


@pytest.mark.parametrize("truth", [1.5, 12.0, 80.0])
@pytest.mark.parametrize("start", [1.0, 100.0])
def test_tau_is_recovered(truth, start):
    """Within a tenth from 12,000 tokens, wherever it starts."""
    phi = random_phi(60, 2, 0.5, seed=5)
    drawn = draw_urns(200, 60, phi, np.full(2, truth), seed=6)
    tau = given_tables(*drawn[:3], start, TauConfig(start), n_sweeps=30, n_words=60).tau
    assert tau[0] == tau[1]
    assert tau[0] == pytest.approx(truth, rel=0.15)


def test_tau_is_recovered_per_topic():
    phi, truth = random_phi(60, 3, 0.5, seed=5), np.array([1.0, 8.0, 50.0])
    drawn = draw_urns(250, 90, phi, truth, seed=7)
    config = TauConfig(10.0, per_topic=True)
    tau = given_tables(*drawn[:3], 10.0, config, n_sweeps=30, n_words=60).tau
    np.testing.assert_allclose(tau, truth, rtol=0.2)


@pytest.mark.parametrize("per_topic", [False, True])
def test_tau_is_the_posterior_mode(per_topic):
    """Of log τ under Gamma(1, mean τ_0) and Π_dk Γ(τ)/Γ(τ + n_dk) τ^T_dk, looked for on a grid."""
    config = TauConfig(4.0, per_topic=per_topic)
    words, offsets, topics, new = draw_urns(6, 15, random_phi(7, 2, 0.5, seed=8), [2.0, 9.0])
    same_topic, _ = urn_ranks(words, offsets, topics, 7, 2)
    tau = map_tau(new, topics, same_topic, 2, config)
    document = np.repeat(np.arange(6), 15)
    grid = np.geomspace(0.05, 500, 4001)
    for k in range(2):
        mine = topics == k if per_topic else np.ones(len(topics), bool)
        score = (new & mine).sum() * np.log(grid) + np.log(grid) - grid / 4.0
        for key in {*zip(document[mine].tolist(), topics[mine].tolist(), strict=True)}:
            n_dk = ((document == key[0]) & (topics == key[1])).sum()
            score += gammaln(grid) - gammaln(grid + n_dk)
        assert tau[k] == pytest.approx(grid[score.argmax()], rel=0.003)


def test_a_topic_without_tokens_keeps_the_prior_and_no_repeats_stay_finite():
    topics, none = np.zeros(5, np.int32), np.zeros(5, np.int32)
    tau = map_tau(np.ones(5, bool), topics, none, 2, TauConfig(7.0, per_topic=True))
    np.testing.assert_allclose(tau, 7.0, rtol=1e-9)
    ranks = np.arange(5)
    grows = map_tau(np.ones(5, bool), topics, ranks, 2, TauConfig(7.0))
    assert 7.0 < grows[0] < 100.0


def test_the_same_stream_gives_the_same_tables():
    drawn = draw_urns(30, 12, random_phi(9, 3, 0.5, seed=1), np.full(3, 5.0))[:3]
    one, same, other = (given_tables(*drawn, 10.0, TauConfig(), seed=s) for s in (0, 0, 1))
    assert one.opened.tobytes() == same.opened.tobytes() and one.tau.tobytes() == same.tau.tobytes()
    assert (one.opened != other.opened).any()
