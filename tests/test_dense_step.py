"""The SE-step on a Torch device, here the CPU: same uniforms, same draws as the particle filter."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from lla.dense_step import dense_topics, draw_topics, find_device
from lla.emission import SharedEmission
from lla.errors import InputError
from lla.inference import infer
from lla.lstm import NetworkConfig
from lla.particles import FilterConfig
from lla.simulate import random_network, random_phi, simulate
from lla.threads import workers

LENGTHS = [90, 3, 1, 70, 33, 12, 65, 64]


def model(n_topics=7, n_words=30):
    network = random_network(NetworkConfig(n_topics, n_topics, 6, 8), 0, gain=4.0)
    phi = random_phi(n_words, n_topics, 0.2, 0) + 1e-6
    return network, SharedEmission(torch.from_numpy((phi / phi.sum(0)).astype(np.float32)))


def test_draws_what_the_particle_filter_draws():
    network, emission = model()
    corpus, _ = simulate(network, emission.phi.double().numpy(), LENGTHS, 1)
    with workers(1) as pool:
        exact = infer(network, emission, corpus, FilterConfig(), 5, (1,), pool, "exact").topics
    for n_lanes in (3, 4096):
        topics = dense_topics(network, emission, corpus, 5, (1,), n_lanes=n_lanes)
        assert topics.dtype == np.int32
        # Another order of summing moves a uniform across a border now and then, and with it the
        # rest of that document.
        assert np.mean(topics == exact) > 0.95
    other = dense_topics(network, emission, corpus, 6, (1,))
    assert np.mean(other == exact) < 0.9


@given(st.integers(1, 9), st.integers(0, 2**31), st.data())
@settings(max_examples=80, deadline=None)
def test_no_topic_of_weight_zero_is_drawn(n_topics, seed, data):
    draw = np.random.default_rng(seed)
    logits = torch.from_numpy(draw.normal(0, 5, (16, n_topics)).astype(np.float32))
    likelihood = draw.random((16, n_topics)).astype(np.float32)
    likelihood[draw.random((16, n_topics)) < 0.5] = 0.0
    likelihood[np.arange(16), draw.integers(n_topics, size=16)] = 0.3
    top = float(np.nextafter(np.float32(1), np.float32(0)))
    uniforms = torch.full((16, 1), data.draw(st.sampled_from([0.0, 0.5, top])))
    found = draw_topics(logits, torch.from_numpy(likelihood), uniforms).numpy()
    assert (likelihood[np.arange(16), found] > 0).all()


def test_draws_follow_the_exact_conditional():
    n, draw = 40_000, torch.Generator().manual_seed(3)
    logits = torch.tensor([0.5, -1.0, 2.0, 0.0, -3.0])
    likelihood = torch.tensor([0.2, 0.5, 0.01, 0.0, 0.9])
    weights = logits.softmax(0) * likelihood
    uniforms = torch.rand(n, 1, generator=draw)
    found = draw_topics(logits.expand(n, 5), likelihood.expand(n, 5), uniforms)
    counts = torch.bincount(found, minlength=5).numpy()
    assert counts[3] == 0
    expected = (n * weights / weights.sum()).numpy().astype(float)
    keep = expected > 0
    assert chisquare(counts[keep], expected[keep], sum_check=False).pvalue > 1e-3


def test_a_device_that_is_not_there_is_named():
    assert find_device("cpu").type == "cpu"
    for name in ("cuda:77", "abacus"):
        with pytest.raises(InputError, match=rf"device is '{name}'.*give 'cpu'"):
            find_device(name)
