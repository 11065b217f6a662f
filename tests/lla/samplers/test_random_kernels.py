"""One draw from weights, and systematic resampling: distribution, edges, compiled and plain."""

import numpy as np
import pytest
from draws import ALMOST_ONE, always_the_same, draw, unit, weights_with_zeros
from enumeration import LEVEL, p_value
from hypothesis import assume, given

from lla.samplers.histories import draw_index, systematic_resample


def resample(weights, uniform, form=systematic_resample):
    ancestors = np.full(len(weights), -1, np.int64)
    form(weights, uniform, ancestors)
    return ancestors


# ------------------------------------------------------------------------------- draw_index


@pytest.mark.parametrize("form", [draw_index, draw_index.py_func])
@pytest.mark.parametrize(
    "weights",
    [[1.0, 3.0], [0.0, 2.0, 0.0, 0.5, 1.5, 0.0, 4.0], [0.2] * 11, [0.01, 5.0, 0.0, 1.0]],
)
def test_draw_index_follows_the_weights(form, weights):
    weights = np.array(weights)
    uniforms = draw(5).random(20_000, np.float32)
    drawn = [form(weights, float(u) * weights.sum()) for u in uniforms]
    counts = np.bincount(drawn, minlength=len(weights))
    assert p_value(counts, weights / weights.sum()) > LEVEL


@always_the_same
@given(weights_with_zeros, unit)
def test_draw_index_is_the_first_running_sum_above_the_target(weights, u):
    assume(weights.sum() > 0)
    target = u * weights.sum()
    k = draw_index(weights, target)
    above = np.flatnonzero(np.cumsum(weights) > target)
    assert k == (above[0] if len(above) else np.flatnonzero(weights)[-1])
    assert weights[k] > 0
    assert k == draw_index.py_func(weights, target)


@pytest.mark.parametrize("form", [draw_index, draw_index.py_func])
def test_draw_index_at_its_edges(form):
    weights = np.array([0.0, 0.0, 1.0, 0.0, 2.0, 0.0])
    assert form(weights, 0.0) == 2
    assert form(weights, np.nextafter(1.0, 0.0)) == 2
    assert form(weights, 1.0) == 4, "a sum equal to the target does not exceed it"
    for target in (np.nextafter(3.0, 0.0), 3.0, np.nextafter(3.0, 4.0), float(ALMOST_ONE) * 3.0):
        assert form(weights, target) == 4, "never the trailing zero"
    assert form(np.array([0.7]), 0.0) == form(np.array([0.7]), 0.7) == 0


@pytest.mark.parametrize("form", [draw_index, draw_index.py_func])
def test_draw_index_when_the_running_sum_ends_below_the_target(form):
    """The last index of positive weight is drawn, never the zero behind it."""
    assert form(np.append(np.full(10, 0.1), 0.0), 1.0) == 9, "ten times 0.1 is less than 1"
    weights = np.array([0.5, 0.4999999, 0.0], np.float32)
    assert form(weights, float(ALMOST_ONE)) == 1
    assert form(weights.astype(np.float64), float(ALMOST_ONE)) == 1


# ----------------------------------------------------------------------- systematic_resample


@always_the_same
@given(weights_with_zeros, unit)
def test_each_particle_gets_floor_or_ceil_of_its_share(weights, uniform):
    assume(weights.sum() > 0)
    weights = weights / weights.sum()
    for form in (systematic_resample, systematic_resample.py_func):
        ancestors = resample(weights, uniform, form)
        copies, share = np.bincount(ancestors, minlength=len(weights)), len(weights) * weights
        assert (np.floor(share - 1e-9) <= copies).all() and (copies <= np.ceil(share + 1e-9)).all()
        assert copies.sum() == len(weights) and (np.diff(ancestors) >= 0).all()
        assert not copies[weights == 0].any()


@pytest.mark.parametrize(
    "weights", [[0.5, 0.3, 0.2], [0.0, 0.9, 0.1, 0.0], [0.25] * 4, [1.0], [0.3, 0.7]]
)
def test_resampling_is_unbiased(weights):
    """Averaged over a fine grid of uniforms every particle has P·W copies."""
    weights, grid = np.array(weights), (np.arange(1000) + 0.5) / 1000
    copies = [np.bincount(resample(weights, u), minlength=len(weights)) for u in grid]
    np.testing.assert_allclose(np.mean(copies, axis=0), len(weights) * weights, atol=2e-3)


@pytest.mark.parametrize("uniform", [0.0, float(ALMOST_ONE)])
def test_resampling_at_its_edges(uniform):
    np.testing.assert_array_equal(resample(np.full(4, 0.25), uniform), np.arange(4))
    np.testing.assert_array_equal(resample(np.array([0.0, 0.0, 1.0, 0.0]), uniform), [2] * 4)
    np.testing.assert_array_equal(resample(np.array([0.5, 0.5, 0.0, 0.0]), uniform), [0, 0, 1, 1])
