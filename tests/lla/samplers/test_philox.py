"""Streams made by kernels: NumPy's own, to the last bit, compiled and as Python."""

import numpy as np
import pytest
from draws import always_the_same
from hypothesis import given
from hypothesis import strategies as st
from numba import njit

from lla.common.random import stream
from lla.samplers import philox
from lla.samplers.philox import (
    entropy_of,
    fill_block,
    fill_uniforms,
    folded,
    mixed,
    stream_keys,
    times,
    upper,
)

FORMS = ("compiled", "plain")
WORD = st.integers(0, 2**64 - 1)


def form(kernel, which):
    return kernel if which == "compiled" else kernel.py_func


def keys_of(seed, key, numbers, which="compiled"):
    keys = np.zeros((len(numbers), 2), np.uint64)
    form(stream_keys, which)(entropy_of(seed, *key), np.array(numbers, np.int64), keys)
    return keys


@pytest.mark.parametrize("which", FORMS)
@always_the_same
@given(
    st.integers(0, 2**130),
    st.lists(st.integers(0, 2**70), max_size=4),
    st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=3),
)
def test_keys_are_those_of_numpy(which, seed, key, numbers):
    found = keys_of(seed, key, numbers, which)
    for number, row in zip(numbers, found, strict=True):
        generator = stream(seed, *key, number)
        assert row.tolist() == generator.bit_generator.state["state"]["key"].tolist()


@pytest.mark.parametrize("which", FORMS)
@pytest.mark.parametrize("draws", [1, 2, 3, 4, 6])
def test_uniforms_are_those_of_numpy_wherever_a_block_ends(which, draws):
    """Three lanes, of which two draw; they begin late in their first block of time steps."""
    keys, taken = keys_of(3, (5, 1), [0, 7, 2**32 - 1]), np.array([0, 0, 9])
    lanes, uniforms = np.array([2, 0]), np.full((3, 5, draws), -1.0)
    generators = {lane: stream(3, 5, 1, number) for lane, number in ((2, 2**32 - 1), (0, 0))}
    generators[2].random(9)
    for column in (3, 0, 0):
        with np.errstate(over="ignore"):  # Philox is arithmetic modulo 2^64
            form(fill_uniforms, which)(keys, taken, lanes, column, uniforms)
        for lane, generator in generators.items():
            assert np.array_equal(uniforms[lane, column:], generator.random((5 - column, draws)))
    assert (uniforms[1] == -1).all()
    assert taken.tolist() == [12 * draws, 0, 9 + 12 * draws]


@pytest.mark.parametrize("which", FORMS)
def test_blocks_far_on(which):
    key, block = keys_of(1, (2,), [3])[0], np.empty(4, np.uint64)
    generator = np.random.Philox(np.random.SeedSequence(1, spawn_key=(2, 3)))
    generator.advance(10**15)
    with np.errstate(over="ignore"):
        form(fill_block, which)(*key, 10**15, block)
    assert block.tolist() == generator.random_raw(4).tolist()


@always_the_same
@given(WORD, WORD)
def test_the_upper_word_of_a_product(a, b):
    exact = a * b >> 64
    assert int(upper(np.uint64(a), np.uint64(b))) == exact
    assert int(compiled_upper(np.uint64(a), np.uint64(b))) == exact


@njit
def compiled_upper(a, b):
    return upper(a, b)


@pytest.mark.parametrize("which", FORMS)
@always_the_same
@given(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1))
def test_numbers_of_32_bits_stay_so(which, x, y):
    a, b = np.uint64(x), np.uint64(y)
    assert form(times, which)(a, b) == x * y % 2**32
    assert form(folded, which)(a) == x ^ x >> 16
    difference = (0xCA01F9DD * x - 0x4973F715 * y) % 2**32
    assert form(mixed, which)(a, b) == difference ^ difference >> 16


def test_a_negative_seed_is_refused():
    with pytest.raises(ValueError, match="give numbers of 0 or more"):
        entropy_of(-1, 2)
    with pytest.raises(ValueError, match="give numbers of 0 or more"):
        entropy_of(1, -2)


def test_every_kernel_is_tested():
    kernels = {name for name, f in vars(philox).items() if hasattr(f, "py_func")}
    assert kernels == {"times", "folded", "mixed", "stream_keys", "fill_block", "fill_uniforms"}
