"""What a topic emits to a user: the formula, counted anew, and its draws."""

import numpy as np
import pytest
from enumeration import LEVEL, p_value
from hypothesis import given
from hypothesis import strategies as st
from served import PHI, TAU, K, V, emission, word_given_topic

from lla.inference.emission import PersonalWords, incremental_emission, place

P, T = 3, 90  # more events than the first room holds
DRAW = np.random.default_rng(8)
WORDS, TOPICS = DRAW.integers(V, size=(T, P)), DRAW.integers(K, size=(T, P))


def told(tau=TAU, n_events=T):
    """Three particles, each with a history of its own."""
    words = incremental_emission(emission(tau), P)
    for w, z in zip(WORDS[:n_events], TOPICS[:n_events], strict=True):
        words.remember(w, z)
    return words


def formula(particle, n_events=T, tau=TAU):
    """p(v | z = k, history of the particle), (V, K)."""
    return word_given_topic(tau, WORDS[:n_events, particle], TOPICS[:n_events, particle])


@pytest.mark.parametrize("n_events", [0, 1, T])
def test_the_likelihood_is_the_formula(n_events):
    words = told(n_events=n_events)
    for w in range(V):
        expected = [formula(p, n_events)[w] for p in range(P)]
        np.testing.assert_allclose(words.likelihood(w), expected, rtol=1e-6)


@pytest.mark.parametrize("tau", [None, TAU])
def test_all_words_at_once_are_every_word_by_itself(tau):
    words, weights = told(tau), DRAW.dirichlet(np.ones(P * K)).reshape(P, K)
    expected = sum(formula(p, tau=tau) @ weights[p] for p in range(P))
    np.testing.assert_allclose(words.mixed(weights), expected, rtol=1e-5)
    singly = [(weights * words.likelihood(w)).sum() for w in range(V)]
    np.testing.assert_allclose(words.mixed(weights), singly, rtol=1e-5)


@pytest.mark.parametrize(("tau", "n_events"), [(None, T), (TAU, 0), (TAU, 7), (TAU * 20, T)])
@pytest.mark.parametrize("topic", range(K))
def test_draws_follow_the_formula(tau, n_events, topic):
    """Chi-square of as many particles as draws, all with the history of the first."""
    n = 20_000
    words = told(tau, n_events).fork(np.zeros(n, np.int64))
    uniforms = np.random.default_rng(topic).random(n)
    drawn = words.draw(np.full(n, topic), uniforms)
    expected = formula(0, n_events, tau)[:, topic]
    assert p_value(np.bincount(drawn, minlength=V), expected) > LEVEL


def test_each_particle_draws_from_its_own_topic_and_history():
    words = told(np.full(K, 1e-9))  # all but certain to repeat
    topics = np.array([0, 2, 1])
    for u in np.linspace(0, 0.999, 50):
        drawn = words.draw(topics, np.full(P, u))
        for p in range(P):
            assert drawn[p] in WORDS[TOPICS[:, p] == topics[p], p]


def test_a_fork_goes_its_own_way():
    words = told()
    before = words.likelihood(1)
    other = words.fork(np.array([2, 2, 0]))
    np.testing.assert_array_equal(other.likelihood(1), before[[2, 2, 0]])
    for _ in range(50):
        other.remember(np.full(P, 1), np.full(P, 1))
    assert isinstance(other, PersonalWords)
    np.testing.assert_array_equal(words.likelihood(1), before)
    assert (other.likelihood(1)[:, 1] > 0.6).all()


def test_a_shared_emission_has_no_memory():
    words = incremental_emission(emission(), P)
    words.remember(np.zeros(P, np.int64), np.zeros(P, np.int64))
    assert words.fork(np.zeros(2, np.int64)) is words
    np.testing.assert_array_equal(words.likelihood(2)[0], PHI[2].astype(np.float32))


@given(
    st.lists(st.sampled_from([0.0, 0.1, 0.5, 3.0]), min_size=1).filter(any),
    st.floats(0, 1, exclude_max=True),
)
def test_an_index_of_weight_zero_is_never_drawn(weights, uniform):
    running = np.cumsum(weights)
    for u in (uniform, 0.0, np.nextafter(1.0, 0.0)):
        found = place(running, np.array([u]))[0]
        assert weights[found] > 0
        assert running[found] > u * running[-1] * (1 - 1e-15)
        assert found == 0 or running[found - 1] <= u * running[-1] * (1 + 1e-15)
