"""φ is the closed form of the counts; what a topic emits given a history, and its draws."""

import numpy as np
import pytest
import torch
from enumeration import LEVEL, p_value
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from served import PHI, TAU, K, V, emission, word_given_topic

import lla.inference.emission.shared
from lla.inference.emission import SharedEmission
from lla.inference.emission.shared import inverse_cdf
from lla.samplers.lda import phi_from_counts, topic_counts

COUNTED = np.array([0, 3, 3, 1, 0, 3, 2], np.uint16)  # words, and their topics
ASSIGNED = np.array([0, 1, 1, 0, 1, 0, 0], np.int32)


def test_counts_add_up():
    word_topic, topic_total = topic_counts(COUNTED, ASSIGNED, 5, 3)
    np.testing.assert_array_equal(word_topic.T, [[1, 1, 1, 1, 0], [1, 0, 0, 2, 0], [0] * 5])
    np.testing.assert_array_equal(topic_total, word_topic.sum(axis=0))
    assert word_topic.sum() == len(COUNTED)


@pytest.mark.parametrize("beta", [1e-3, 0.1, 2.0])
def test_phi_is_the_closed_form(beta):
    """Each column a distribution; an empty topic the uniform one."""
    counts = topic_counts(COUNTED, ASSIGNED, 5, 3)
    phi = phi_from_counts(*counts, beta)
    assert phi.dtype == np.float64 and (phi > 0).all()
    np.testing.assert_allclose(phi.sum(axis=0), 1.0, rtol=1e-15)
    np.testing.assert_allclose(phi[3, 1], (2 + beta) / (3 + 5 * beta), rtol=1e-15)
    np.testing.assert_allclose(phi[4, 0], beta / (4 + 5 * beta), rtol=1e-15)
    np.testing.assert_allclose(phi[:, 2], 0.2, rtol=1e-15)


def test_phi_without_smoothing_is_the_maximiser():
    """Σ n_wk log φ_wk is largest at the frequencies, among all other distributions tried."""
    word_topic, topic_total = topic_counts(COUNTED, ASSIGNED, 5, 2)
    best = phi_from_counts(word_topic, topic_total, 0.0)
    rng = np.random.Generator(np.random.Philox(1))

    def score(phi):
        return np.where(word_topic > 0, word_topic * np.log(np.maximum(phi, 1e-300)), 0).sum()

    others = rng.dirichlet(np.ones(5), size=(200, 2)).transpose(0, 2, 1)
    assert all(score(0.9 * best + 0.1 * other) < score(best) for other in others)


@pytest.mark.parametrize("cells", [1, 7, 2**20])
def test_phi_and_its_entropy_do_not_depend_on_the_block_size(monkeypatch, cells):
    phi = phi_from_counts(*topic_counts(COUNTED, ASSIGNED, 5, 3), 0.1)
    monkeypatch.setattr(lla.inference.emission.shared, "MAX_CELLS", cells)
    shared = SharedEmission.from_assignments(COUNTED, ASSIGNED, 5, 3, 0.1)
    np.testing.assert_array_equal(shared.phi.numpy(), phi.astype(np.float32))
    assert shared.entropy() == pytest.approx(stats.entropy(phi, axis=0).mean(), rel=1e-6)


def test_likelihood_is_a_row_of_phi():
    shared = SharedEmission.from_assignments(COUNTED, ASSIGNED, 5, 3, 0.1)
    phi = phi_from_counts(*topic_counts(COUNTED, ASSIGNED, 5, 3), 0.1).astype(np.float32)
    assert shared.phi.dtype == torch.float32
    words = np.array([[4, 0, 3, 3]])
    lanes = shared.lanes(words, np.ones(4, np.int64), n_particles=1)
    np.testing.assert_array_equal(lanes.likelihood(4), phi[words[0]])
    np.testing.assert_array_equal(lanes.likelihood(2), phi[words[0, :2]])


def test_entropy_of_topics():
    """log V when uniform, 0 when each topic has one word, the mean in between."""
    uniform, one_word = torch.full((4, 3), 0.25), torch.eye(4)[:, :3]
    assert SharedEmission(uniform).entropy() == pytest.approx(np.log(4), rel=1e-12)
    assert SharedEmission(one_word).entropy() == 0.0
    both = torch.cat([uniform[:, :1], one_word[:, :1]], dim=1)
    assert SharedEmission(both).entropy() == pytest.approx(np.log(4) / 2, rel=1e-12)


# --------------------------------------------------------------- documents that grow


P, T = 3, 90  # more events than there is room for at first
DRAW = np.random.default_rng(8)
WORDS, TOPICS = DRAW.integers(V, size=(T, P)), DRAW.integers(K, size=(T, P))


def grown(tau=TAU, n_events=T):
    """Three documents of one particle, each with words and topics of its own."""
    lanes = emission(tau).growing_lanes(n_particles=1, n_lanes=P)
    for w, z in zip(WORDS[:n_events], TOPICS[:n_events], strict=True):
        lanes.append(w)
        lanes.advance(z, np.arange(P))
    return lanes


def likelihood(lanes, word):
    """p(word | z = k) in every lane, were it the next one."""
    lanes.append(np.full(P, word))
    return lanes.likelihood(P).copy()


def formula(particle, n_events=T, tau=TAU):
    """p(v | z = k, history of the particle), (V, K)."""
    return word_given_topic(tau, WORDS[:n_events, particle], TOPICS[:n_events, particle])


@pytest.mark.parametrize("n_events", [0, 1, T])
def test_the_likelihood_is_the_formula(n_events):
    lanes = grown(n_events=n_events)
    for w in range(V):
        expected = [formula(p, n_events)[w] for p in range(P)]
        np.testing.assert_allclose(likelihood(lanes, w), expected, rtol=1e-6)


@pytest.mark.parametrize("tau", [None, TAU])
def test_all_words_at_once_are_every_word_by_itself(tau):
    """Particles of one document: the same words, topics of their own."""
    lanes = emission(tau).growing_lanes(n_particles=P)
    for w, z in zip(WORDS[:, 0], TOPICS, strict=True):
        lanes.append(w[None])
        lanes.advance(z, np.arange(P))
    weights = DRAW.dirichlet(np.ones(P * K)).reshape(P, K)
    given = [word_given_topic(tau, WORDS[:, 0], TOPICS[:, p]) for p in range(P)]
    expected = sum(given[p] @ weights[p] for p in range(P))
    np.testing.assert_allclose(lanes.predictive(weights), expected, rtol=1e-5)
    for w in range(V):
        lanes.append(np.array([w]))
        np.testing.assert_allclose((weights * lanes.likelihood(1)).sum(), expected[w], rtol=1e-5)


@pytest.mark.parametrize(("tau", "n_events"), [(None, T), (TAU, 0), (TAU, 7), (TAU * 20, T)])
@pytest.mark.parametrize("topic", range(K))
def test_draws_follow_the_formula(tau, n_events, topic):
    """Chi-square of as many particles as draws, all with the history of the first."""
    n = 20_000
    lanes = grown(tau, n_events).fork(np.zeros(n, np.int64))
    uniforms = np.random.default_rng(topic).random(n)
    drawn = lanes.draw(np.full(n, topic), uniforms)
    expected = formula(0, n_events, tau)[:, topic]
    assert p_value(np.bincount(drawn, minlength=V), expected) > LEVEL


def test_each_particle_draws_from_its_own_topic_and_history():
    lanes = grown(np.full(K, 1e-9))  # all but certain to repeat
    topics = np.array([0, 2, 1])
    for u in np.linspace(0, 0.999, 50):
        drawn = lanes.draw(topics, np.full(P, u))
        for p in range(P):
            assert drawn[p] in WORDS[TOPICS[:, p] == topics[p], p]


def test_a_fork_is_independent():
    lanes = grown()
    before = likelihood(lanes, 1)
    other = lanes.fork(np.array([2, 2, 0]))
    np.testing.assert_array_equal(likelihood(other, 1), before[[2, 2, 0]])
    for _ in range(50):
        other.append(np.full(P, 1))
        other.advance(np.full(P, 1), np.arange(P))
    np.testing.assert_array_equal(likelihood(lanes, 1), before)
    assert (likelihood(other, 1)[:, 1] > 0.6).all()


def test_a_shared_emission_has_no_memory():
    lanes = emission().growing_lanes(n_particles=P)
    lanes.append(np.zeros(1, np.int64))
    lanes.advance(np.zeros(P, np.int64), np.arange(P))
    for each in (lanes, lanes.fork(np.zeros(1, np.int64))):
        each.append(np.full(1, 2))
        np.testing.assert_array_equal(each.likelihood(1)[0], PHI[2].astype(np.float32))


@pytest.mark.parametrize("n_particles", [1, 3])
def test_incremental_likelihoods_equal_batch_likelihoods(n_particles):
    """The same words and topics, given at once or one by one: the same bits."""
    rows = P * n_particles
    whole = emission(TAU).lanes(WORDS.astype(np.int64), np.full(P, T), n_particles)
    growing = emission(TAU).growing_lanes(n_particles, n_lanes=P)
    draw = np.random.default_rng(3)
    for t in range(T):
        growing.append(WORDS[t])
        assert whole.likelihood(P).tobytes() == growing.likelihood(P).tobytes()
        topics = draw.integers(K, size=rows)
        ancestors = (
            draw.integers(n_particles, size=rows) + np.arange(rows) // n_particles * n_particles
        )
        whole.advance(topics, ancestors)
        growing.advance(topics, ancestors)


@given(
    st.lists(st.sampled_from([0.0, 0.1, 0.5, 3.0]), min_size=1).filter(any),
    st.floats(0, 1, exclude_max=True),
)
def test_an_index_of_weight_zero_is_never_drawn(weights, uniform):
    running = np.cumsum(weights)
    for u in (uniform, 0.0, np.nextafter(1.0, 0.0)):
        found = inverse_cdf(running, np.array([u]))[0]
        assert weights[found] > 0
        assert running[found] > u * running[-1] * (1 - 1e-15)
        assert found == 0 or running[found - 1] <= u * running[-1] * (1 + 1e-15)
