"""An LSTM step, and a softmax, in one pass: the equations in float64, compiled and as Python."""

import numpy as np
import pytest
import torch
from draws import always_the_same
from hypothesis import given
from hypothesis import strategies as st
from scipy import special

from lla.samplers import fused
from lla.samplers.fused import (
    WIDTH,
    bf16_to_f32,
    exp_neg,
    f32_to_bf16,
    lstm_cell,
    max_of,
    softmax_gradients,
    step_lanes,
    step_lanes_bf16,
    sum_of,
)

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
def test_exp_neg_is_the_exponential(x, which):
    assert form(exp_neg, which)(np.float32(x)) == pytest.approx(np.exp(-np.float64(x)), rel=2e-6)


@pytest.mark.parametrize("which", FORMS)
def test_exp_neg_clips_its_argument_and_keeps_nan(which):
    exp = form(exp_neg, which)
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
    form(step_lanes, which)(*p)
    np.testing.assert_allclose(p[3][:, :H], h, atol=1e-6)
    np.testing.assert_allclose(p[4], c, rtol=2e-6, atol=1e-6)
    assert not p[3][:, H:].any()


@pytest.mark.parametrize("which", FORMS)
def test_products_and_tables_in_bfloat16_are_read_as_they_are(which):
    product, table, *rest = problem(1)
    short = [torch.from_numpy(x).bfloat16() for x in (product, table)]
    h, c = expected(*(x.float().numpy() for x in short), *rest)
    form(step_lanes_bf16, which)(*(x.view(torch.uint16).numpy() for x in short), *rest)
    np.testing.assert_allclose(rest[1][:, :H], h, atol=1e-6)
    np.testing.assert_allclose(rest[2], c, atol=1e-6)


def test_nan_propagates_within_its_lane():
    """A network that has diverged must show."""
    p = problem()
    p[0][1, 4] = np.nan
    step_lanes(*p)
    assert np.isnan(p[3][1]).any() and not np.isnan(p[3][[0, 2]]).any()


def test_lstm_cell_is_one_row_of_step_lanes():
    for run in (lstm_cell, lstm_cell.py_func):
        product, table, ids, h, cell = problem(2)
        run(product[0], table[ids[0]], h[0], cell[0])
        whole = problem(2)
        step_lanes(*whole)
        np.testing.assert_allclose(h[0], whole[3][0], rtol=1e-5, atol=1e-6)


@always_the_same
@given(st.floats(width=32, allow_nan=False, allow_infinity=False), st.sampled_from(FORMS))
def test_bfloat16_is_rounded_as_torch_does(x, which):
    short = torch.tensor(x).bfloat16()
    bits = form(f32_to_bf16, which)(np.float32(x))
    assert bits == short.view(torch.uint16).item()
    with np.errstate(over="ignore"):
        assert form(bf16_to_f32, which)(bits) == short.item()


@pytest.mark.parametrize("which", FORMS)
@pytest.mark.parametrize(("n_outputs", "spread"), [(2, 1), (37, 3), (128, 3), (1000, 9), (1, 1)])
def test_softmax_gradients_are_those_of_the_loss(n_outputs, spread, which):
    rng = np.random.Generator(np.random.Philox(n_outputs))
    x = torch.from_numpy(rng.normal(scale=spread, size=(6, n_outputs))).bfloat16()
    targets = rng.integers(n_outputs, size=6)
    softmax = special.softmax(x.double().numpy(), axis=1)
    expected = softmax - np.eye(n_outputs)[targets]
    loss, bias = np.empty(6), np.ones(n_outputs, np.float32)
    form(softmax_gradients, which)(x.view(torch.uint16).numpy(), targets, loss, bias)
    np.testing.assert_allclose(loss, -np.log(softmax[np.arange(6), targets]), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(x.float().numpy(), expected, rtol=2**-8, atol=1e-6)
    np.testing.assert_allclose(bias - 1, expected.sum(axis=0), rtol=1e-4, atol=1e-5)


@always_the_same
@given(
    st.lists(st.integers(-1000, 1000), min_size=1, max_size=3 * WIDTH + 1), st.sampled_from(FORMS)
)
def test_sums_and_maxima_are_of_every_number(numbers, which):
    """Whole numbers, whose sums float32 holds exactly in whatever order."""
    x, part = np.array(numbers, np.float32), np.empty(WIDTH, np.float32)
    assert form(sum_of, which)(x, part) == sum(numbers)
    assert form(max_of, which)(x, part) == max(numbers)


def test_softmax_gradients_keep_nan():
    x = torch.zeros(2, 20).bfloat16()
    x[1, 3] = np.nan
    loss = np.empty(2)
    given = (np.zeros(2, np.int64), loss, np.zeros(20, np.float32))
    softmax_gradients(x.view(torch.uint16).numpy(), *given)
    assert loss[0] == pytest.approx(np.log(20)) and np.isnan(loss[1])


def test_every_kernel_is_tested():
    kernels = {name for name, f in vars(fused).items() if hasattr(f, "py_func")}
    moves = {"lstm_cell", "step_lanes", "step_lanes_bf16"}
    softmax = {"softmax_gradients", "sum_of", "max_of"}
    assert kernels == moves | softmax | {"exp_neg", "bf16_to_f32", "f32_to_bf16"}
