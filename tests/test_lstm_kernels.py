"""The LSTM step in one pass: the equations in float64, compiled and as plain Python."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from test_samplers import always_the_same

from lla import lstm_kernels
from lla.lstm_kernels import decay, move_lanes, move_lanes_short, move_row

H, LANES, INPUTS = 19, 3, 5  # a whole vector of states, and some left over
FORMS = ("compiled", "plain")


def form(kernel, which):
    return kernel if which == "compiled" else kernel.py_func


def problem(seed=0, scale=2.0):
    rng = np.random.Generator(np.random.Philox(seed))
    product, table = (
        (scale * rng.normal(size=(n, 4 * H))).astype(np.float32) for n in (LANES, INPUTS)
    )
    h, cell = np.zeros((LANES, H + 2), np.float32), rng.normal(size=(LANES, H)).astype(np.float32)
    return product, table, rng.integers(INPUTS, size=LANES), h, cell


def expected(product, table, ids, h, cell):
    """Hochreiter & Schmidhuber's step as the paper uses it, float64."""
    i, f, o, g = np.split(product.astype(float) + table[ids], 4, axis=1)

    def sigma(x):
        return 1 / (1 + np.exp(-x))

    c = sigma(f) * cell + sigma(i) * np.tanh(g)
    return sigma(o) * np.tanh(c), c


@always_the_same
@given(st.floats(-25, 25, width=32), st.sampled_from(FORMS))
def test_decay_is_the_exponential(x, which):
    assert form(decay, which)(np.float32(x)) == pytest.approx(np.exp(-np.float64(x)), rel=2e-6)


@pytest.mark.parametrize("which", FORMS)
def test_decay_of_far_numbers_is_finite_and_of_none_is_none(which):
    exp = form(decay, which)
    for x in (26.0, 1e30, np.inf):
        assert exp(np.float32(x)) == exp(np.float32(25.0)) < 2e-11
        assert exp(np.float32(-x)) == exp(np.float32(-25.0)) < 1e11
    with np.errstate(invalid="ignore"):
        assert np.isnan(exp(np.float32(np.nan)))


@pytest.mark.parametrize("which", FORMS)
@pytest.mark.parametrize("scale", [0.1, 2.0, 30.0, 1e20])
def test_a_step_is_that_of_the_equations(scale, which):
    p = problem(scale=scale)
    with np.errstate(over="ignore"):
        h, c = expected(*p)
    form(move_lanes, which)(*p)
    np.testing.assert_allclose(p[3][:, :H], h, atol=1e-6)
    np.testing.assert_allclose(p[4], c, rtol=2e-6, atol=1e-6)
    assert not p[3][:, H:].any()


@pytest.mark.parametrize("which", FORMS)
def test_products_in_bfloat16_are_read_as_they_are(which):
    product, *rest = problem(1)
    short = torch.from_numpy(product).bfloat16()
    h, c = expected(short.float().numpy(), *rest)
    form(move_lanes_short, which)(short.view(torch.uint16).numpy(), *rest)
    np.testing.assert_allclose(rest[2][:, :H], h, atol=1e-6)
    np.testing.assert_allclose(rest[3], c, atol=1e-6)


def test_what_is_no_number_stays_none():
    """A network that has diverged must show."""
    p = problem()
    p[0][1, 4] = np.nan
    move_lanes(*p)
    assert np.isnan(p[3][1]).any() and not np.isnan(p[3][[0, 2]]).any()


def test_one_row_by_itself():
    for run in (move_row, move_row.py_func):
        product, table, ids, h, cell = problem(2)
        run(product[0], table[ids[0]], h[0], cell[0])
        whole = problem(2)
        move_lanes(*whole)
        np.testing.assert_allclose(h[0], whole[3][0], rtol=1e-5, atol=1e-6)


def test_every_kernel_is_tested():
    kernels = {name for name, f in vars(lstm_kernels).items() if hasattr(f, "py_func")}
    assert kernels == {"decay", "move_row", "move_lanes", "move_lanes_short"}
