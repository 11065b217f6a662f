"""The SE-step on a Torch device, here the CPU: same uniforms, same draws as the particle filter."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare
from small_sem import SMALL, small_split, start_topics

from lla.common.errors import InputError
from lla.common.parallel import thread_pool
from lla.inference.device import dense_topics, draw_topics, find_device, move, on_device
from lla.inference.emission import SharedEmission
from lla.inference.filter import FilterConfig, infer
from lla.lstm import NetworkConfig
from lla.peers.simulate import random_network, random_phi, simulate
from lla.sem import fit_sem

LENGTHS = [90, 3, 1, 70, 33, 12, 65, 64]


def model(n_topics=7, n_words=30):
    network = random_network(NetworkConfig(n_topics, n_topics, 6, 8), 0, gain=4.0)
    phi = random_phi(n_words, n_topics, 0.2, 0) + 1e-6
    return network, SharedEmission(torch.from_numpy((phi / phi.sum(0)).astype(np.float32)))


def test_draws_what_the_particle_filter_draws():
    network, emission = model()
    corpus, _ = simulate(network, emission.phi.double().numpy(), LENGTHS, 1)
    with thread_pool(1) as pool:
        config = FilterConfig()
        exact = infer(network, emission, corpus, config, seed=5, key=(1,), pool=pool).topics
    for n_lanes in (3, 4096):
        found = dense_topics(network, emission, corpus, seed=5, key=(1,), n_lanes=n_lanes)
        topics = found.topics
        assert topics.dtype == np.int32 and found.changed == np.count_nonzero(topics)
        # Another order of summing moves a uniform across a border now and then, and with it the
        # rest of that document.
        assert np.mean(topics == exact) > 0.95
    other = dense_topics(network, emission, corpus, seed=6, key=(1,)).topics
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


def test_an_unavailable_device_is_named():
    assert find_device("cpu").type == "cpu"
    for name in ("cuda:77", "abacus"):
        with pytest.raises(InputError, match=rf"device is '{name}'.*give 'cpu'"):
            find_device(name)


def test_a_fit_on_a_device_is_the_same_fit_but_for_rounding():
    """Every M-step and SE-step goes the device's way; here the device is the CPU."""
    split = small_split()
    topics = start_topics(split)
    config = replace(SMALL, n_iterations=3, patience=3)
    usual = fit_sem(split, config, 1, start=topics)
    moved = fit_sem(split, config, 1, start=topics, device="cpu")
    rows, there = usual.history, moved.history
    assert there[0]["topic_loss"] == rows[0]["topic_loss"]
    for one, other in zip(rows, there, strict=True):
        assert other["topic_loss"] == pytest.approx(one["topic_loss"], rel=0.02)
        assert other["changed"] == pytest.approx(one["changed"], abs=0.05)
    assert np.mean(moved.topics == usual.topics) > 0.5
    assert all(p.device.type == "cpu" for p in moved.network.parameters())


@pytest.mark.parametrize("fused", [None, True])
def test_moments_move_with_the_weights(fused):
    network, _ = model()
    optimizer = torch.optim.Adam(network.parameters(), fused=fused)
    sum(p.sum() for p in network.parameters()).backward()
    optimizer.step()
    before = [moments["exp_avg"].clone() for moments in optimizer.state.values()]
    with on_device(network, torch.device("cpu"), optimizer):
        pass
    for moments, old in zip(optimizer.state.values(), before, strict=True):
        assert torch.equal(moments["exp_avg"], old)
    move(network, optimizer, torch.device("meta"))  # the one other device there always is
    assert all(p.is_meta for p in network.parameters())
    for moments in optimizer.state.values():
        assert moments["exp_avg"].is_meta and moments["exp_avg_sq"].is_meta
        assert moments["step"].is_meta == bool(fused)  # where each of the two looks for it
