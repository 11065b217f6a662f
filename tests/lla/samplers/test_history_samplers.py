"""Kernels over topic histories: weights, evidence and draws of a filter step; paths traced back."""

import itertools
import math

import numpy as np
import pytest
from draws import ALMOST_ONE, draw
from enumeration import LEVEL, p_value

from lla.samplers import histories as history_samplers
from lla.samplers.histories import (
    ConditionalWeights,
    choose_rows,
    filter_step,
    systematic_resample,
    trace_paths,
)

THETA = np.array([[0.5, 0.2, 0.3], [0.1, 0.8, 0.1], [0.3, 0.3, 0.4]])  # three particles
LIKELIHOOD = np.array([0.2, 0.05, 0.6])
WEIGHTS = np.array([0.5, 0.3, 0.2])
MASS = THETA @ LIKELIHOOD


def resample(weights, uniform):
    ancestors = np.full(len(weights), -1, np.int64)
    systematic_resample(weights, uniform, ancestors)
    return ancestors


def step(theta, likelihood, weights, threshold, uniforms):
    """Topics, ancestors, log-evidence and the new weights of one call; nothing is changed."""
    n_lanes, n_particles = weights.shape
    weights, log_evidence = weights.copy(), np.full(n_lanes, np.nan)
    topics, ancestors = (np.full(n_lanes * n_particles, -7, np.int64) for _ in range(2))
    filter_step(theta, likelihood, uniforms, threshold, weights, topics, ancestors, log_evidence)
    return topics.reshape(weights.shape), ancestors.reshape(weights.shape), log_evidence, weights


def many(n_lanes, threshold, seed, dtype=np.float32):
    """The three particles above in every lane, each lane with its own uniforms."""
    return step(
        np.tile(THETA, (n_lanes, 1)).astype(dtype),
        np.tile(LIKELIHOOD, (n_lanes, 1)).astype(dtype),
        np.tile(WEIGHTS, (n_lanes, 1)),
        threshold,
        draw(seed).random((n_lanes, 4), np.float32),
    )


def cases():
    """Arguments for each kernel: two lanes of four particles, three topics."""
    rng = draw(1)
    theta, likelihood = rng.dirichlet(np.ones(3), size=8), rng.dirichlet(np.ones(3), size=2)
    weights, uniforms = rng.dirichlet(np.ones(4), size=2), rng.random((2, 8))
    particles = ConditionalWeights(
        weights, before=np.zeros((2, 4)), mass=np.zeros((2, 4)), resample=np.zeros(2, bool)
    )
    drawn, ancestors, log_evidence = np.zeros(8, np.int64), np.zeros(8, np.int64), np.zeros(2)
    rows = np.arange(8) // 4 * 4
    return {
        "predictive_masses": (theta, likelihood, 1, 2, np.zeros(4)),
        "update_weights": (weights[0], theta[:4, 0].copy(), 0.9),
        "filter_step": (
            theta, likelihood, uniforms, 0.9, weights, drawn, ancestors, log_evidence,
        ),
        "topics_of_sources": (
            theta, likelihood, 1 - uniforms / 50, 2, np.array([0, 2, 2, 1, 2, 2, 2, 0]),
            rows + np.arange(8) % 4,
        ),
        "weigh_particles": (theta, likelihood, 0.9, particles, log_evidence),
        "conditional_step": (
            theta, likelihood, uniforms, particles._replace(resample=np.array([True, False])),
            rng.random((2, 4)), np.array([2, 1]), drawn, ancestors,
        ),
        "beam_step": (theta, likelihood, np.log(np.sort(weights)[:, ::-1]), drawn, ancestors),
        "choose_rows": (weights, uniforms[:, 0].copy(), np.zeros(2, np.int64)),
        "trace_paths": (
            rng.integers(5, size=(6, 8)), rng.integers(4, size=(6, 8)) + rows,
            np.array([6, 4]), np.array([2, 7]), np.zeros((6, 2), np.int64),
        ),
        "count_paths": (
            rng.integers(5, size=(6, 8)), rng.integers(4, size=(6, 8)) + rows,
            np.array([6, 4]), weights, np.zeros((2, 5)),
        ),
    }  # fmt: skip


def flat(arguments):
    parts = [part for x in arguments for part in (x if isinstance(x, tuple) else (x,))]
    return np.concatenate([np.ravel(part).astype(np.float64) for part in parts])


def test_every_kernel_has_a_case():
    kernels = {name for name, f in vars(history_samplers).items() if hasattr(f, "py_func")}
    assert cases().keys() == kernels - {"draw_index", "systematic_resample"}


@pytest.mark.parametrize("name", cases())
def test_compiled_and_plain_agree(name):
    compiled, plain, before = cases()[name], cases()[name], cases()[name]
    kernel = getattr(history_samplers, name)
    ours, theirs = kernel(*compiled), kernel.py_func(*plain)
    if theirs is not None:
        np.testing.assert_allclose(ours, theirs, rtol=1e-14)
    np.testing.assert_allclose(flat(compiled), flat(plain), rtol=1e-14, atol=0)
    assert not np.array_equal(flat(compiled), flat(before))


# ------------------------------------------------------------------------------- filter_step


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_evidence_weights_and_draws_without_resampling(dtype):
    topics, ancestors, log_evidence, weights = many(20_000, 0.0, seed=21, dtype=dtype)
    np.testing.assert_array_equal(ancestors, np.arange(60_000).reshape(-1, 3))
    np.testing.assert_allclose(log_evidence, np.log(WEIGHTS @ MASS), rtol=1e-6)
    np.testing.assert_allclose(weights[0], WEIGHTS * MASS / (WEIGHTS @ MASS), rtol=1e-6)
    np.testing.assert_allclose(weights.sum(axis=1), 1.0, rtol=1e-15)
    for p in range(3):
        counts = np.bincount(topics[:, p], minlength=3)
        assert p_value(counts, THETA[p] * LIKELIHOOD / MASS[p]) > LEVEL
    pair = np.bincount(topics[:, 0] * 3 + topics[:, 1], minlength=9)  # particles are independent
    joint = np.outer(THETA[0] / MASS[0], THETA[1] / MASS[1]) * np.outer(LIKELIHOOD, LIKELIHOOD)
    assert p_value(pair, joint) > LEVEL


def test_evidence_weights_and_draws_with_resampling():
    topics, ancestors, log_evidence, weights = many(20_000, 1.1, seed=22)
    np.testing.assert_allclose(log_evidence, np.log(WEIGHTS @ MASS), rtol=1e-6)
    np.testing.assert_array_equal(weights, np.full_like(weights, 1 / 3))
    source = ancestors - 3 * np.arange(20_000)[:, None]
    after = WEIGHTS * MASS / (WEIGHTS @ MASS)
    uniforms = draw(22).random((20_000, 4), np.float32)
    expected = [resample(after, u) for u in uniforms[:500, 3].astype(np.float64)]
    np.testing.assert_array_equal(source[:500], expected)
    for p in range(3):  # the draw follows θ of the particle that was copied
        counts = np.bincount(topics[source == p], minlength=3)
        assert p_value(counts, THETA[p] * LIKELIHOOD / MASS[p]) > LEVEL


@pytest.mark.parametrize(("threshold", "resampled"), [(0.79, False), (0.81, True), (1.0, True)])
def test_resampling_happens_when_the_effective_number_falls_below_the_threshold(
    threshold, resampled
):
    """Two weights of 3/4 and 1/4 are worth 1.6 particles: 0.8 of them."""
    theta, weights = np.full((2, 3), 1 / 3), np.array([[0.75, 0.25]])
    uniforms = np.array([[0.1, 0.2, 0.4]])
    _, ancestors, _, after = step(theta, np.ones((1, 3)), weights, threshold, uniforms)
    np.testing.assert_allclose(after, [[0.5, 0.5]] if resampled else weights, rtol=1e-12)
    np.testing.assert_array_equal(ancestors, [[0, 0]] if resampled else [[0, 1]])


@pytest.mark.parametrize(("threshold", "resampled"), [(0.0, False), (1.1, True)])
def test_resampling_never_and_always(threshold, resampled):
    """At 0 even the most uneven weights stay; above 1 even equal ones are resampled."""
    uneven, equal = np.array([[1.0, 0.0, 0.0]]), np.full((1, 3), 1 / 3)
    uniforms = np.array([[0.1, 0.2, 0.3, 0.5]])
    _, ancestors, _, after = step(THETA, np.ones((1, 3)), uneven, threshold, uniforms)
    np.testing.assert_array_equal(ancestors, [[0, 0, 0]] if resampled else [[0, 1, 2]])
    np.testing.assert_allclose(after, equal if resampled else uneven, rtol=1e-12)
    # Weights that were equal to the last bit are 1/P again, and nobody is copied.
    _, ancestors, _, after = step(THETA, np.ones((1, 3)), equal, threshold, uniforms)
    np.testing.assert_array_equal(ancestors, [[0, 1, 2]])
    np.testing.assert_allclose(after, equal, rtol=1e-12)


@pytest.mark.parametrize("n_particles", [1, 3])
@pytest.mark.parametrize("bad", [0.0, np.nan])
def test_an_impossible_word_affects_its_own_lane_alone(n_particles, bad):
    """-inf for its lane, no NaN, rows that exist; the lanes beside it are as without it."""
    rng = draw(23)
    theta = rng.dirichlet(np.ones(3), size=4 * n_particles)
    likelihood, uniforms = rng.random((4, 3)), rng.random((4, n_particles + 1))
    weights = np.full((4, n_particles), 1 / n_particles)
    good = step(theta, likelihood, weights, 0.9, uniforms)
    likelihood[1] = bad
    topics, ancestors, log_evidence, after = step(theta, likelihood, weights, 0.9, uniforms)
    assert log_evidence[1] == -math.inf
    others = [0, 2, 3]
    for ours, without in zip((topics, ancestors, log_evidence, after), good, strict=True):
        np.testing.assert_array_equal(ours[others], without[others])
    np.testing.assert_array_equal(ancestors[1], np.arange(n_particles, 2 * n_particles))


def test_impossible_topics_and_dead_particles_are_never_drawn():
    theta = np.array([[0.0, 0.5, 0.5], [1.0, 0.0, 0.0]])  # the second cannot emit the word
    likelihood, weights = np.array([[0.0, 0.3, 0.0]]), np.array([[0.5, 0.5]])
    for u in (0.0, 0.5, float(ALMOST_ONE)):
        uniforms = np.full((1, 3), u, np.float32)
        topics, ancestors, log_evidence, after = step(theta, likelihood, weights, 0.9, uniforms)
        np.testing.assert_array_equal((topics, ancestors), ([[1, 1]], [[0, 0]]))
        np.testing.assert_allclose(log_evidence, np.log(0.5 * 0.15), rtol=1e-12)
        np.testing.assert_array_equal(after, [[0.5, 0.5]])
        _, ancestors, _, after = step(theta, likelihood, weights, 0.0, uniforms)
        np.testing.assert_array_equal((ancestors, after), ([[0, 1]], [[1.0, 0.0]]))


@pytest.mark.parametrize("form", [filter_step, filter_step.py_func])
@pytest.mark.parametrize("threshold", [0.0, 1.1])
def test_one_row_per_lane_equals_the_same_row_per_particle(form, threshold):
    """θ, or the likelihood, or both: one row a lane says what P equal rows say."""
    rng = draw(12)
    theta, likelihood = rng.dirichlet(np.ones(5), size=4), rng.random((4, 5))
    weights = rng.dirichlet(np.ones(3), size=4)
    uniforms = rng.random((4, 4))
    found = []
    for rows in itertools.product([1, 3], repeat=2):
        mine, topics, ancestors = weights.copy(), np.zeros(12, np.int64), np.zeros(12, np.int64)
        log_evidence = np.zeros(4)
        given = (x.repeat(n, axis=0) for x, n in zip((theta, likelihood), rows, strict=True))
        form(*given, uniforms, threshold, mine, topics, ancestors, log_evidence)
        found.append(np.concatenate([mine.ravel(), topics, ancestors, log_evidence]))
    assert all(np.array_equal(one, found[0]) for one in found[1:])


@pytest.mark.parametrize("threshold", [0.0, 1.1])
def test_every_particle_has_its_own_likelihood(threshold):
    """Weights, evidence and draws follow W_p m_p with m_p = Σ_k θ_pk p_pk."""
    likelihood = np.array([[0.2, 0.05, 0.6], [0.5, 0.1, 0.0], [0.0, 0.9, 0.3]])
    n = 20_000
    topics, ancestors, log_evidence, _ = step(
        np.tile(THETA, (n, 1)),
        np.tile(likelihood, (n, 1)),
        np.tile(WEIGHTS, (n, 1)),
        threshold,
        draw(13).random((n, 4)),
    )
    mass = (THETA * likelihood).sum(axis=1)
    np.testing.assert_allclose(log_evidence, np.log(WEIGHTS @ mass), rtol=1e-12)
    source = ancestors % 3
    for p in range(3):
        drawn = np.bincount(topics[source == p], minlength=3)
        assert p_value(drawn, THETA[p] * likelihood[p] / mass[p]) > LEVEL
    if threshold > 1:
        expected = WEIGHTS * mass / (WEIGHTS @ mass) * n * 3
        np.testing.assert_allclose(np.bincount(source.ravel()), expected, rtol=0.02)


@pytest.mark.parametrize("form", [trace_paths, trace_paths.py_func])
def test_a_history_is_traced_back_through_its_ancestors(form):
    topics = np.array([[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 0, 0]], np.int32)
    ancestors = np.array([[0, 1, 2, 3], [1, 0, 3, 3], [0, 0, 0, 0]], np.int32)
    paths = np.full((3, 2), -1, np.int32)
    form(topics, ancestors, np.array([3, 2]), np.array([1, 3]), paths)
    # Lane 0: particle 1 at the end, from particle 0, from particle 1; lane 1 ends a step earlier.
    assert paths.tolist() == [[1, 3], [4, 7], [9, -1]]


@pytest.mark.parametrize("form", [choose_rows, choose_rows.py_func])
def test_the_last_particle_is_chosen_by_its_weight(form):
    weights, rows = np.tile([0.2, 0.0, 1.0, 0.8], (20_000, 1)), np.empty(20_000, np.int64)
    form(weights, draw(3).random(20_000), rows)
    np.testing.assert_array_equal(rows // 4, np.arange(20_000))
    assert p_value(np.bincount(rows % 4, minlength=4), np.array([0.1, 0.0, 0.5, 0.4])) > LEVEL
