"""One function in three forms, whole windows, step by step, and by hand; private randomness."""

import numpy as np
import pytest
import torch
from enumeration import lstm_logits, softmax, within_standard_errors

from lla import lstm
from lla.inference import batch
from lla.inference.batch import LaneStates, Stepper
from lla.lstm import Network, NetworkConfig

CONFIG = NetworkConfig(n_inputs=6, n_outputs=5, embedding_size=4, hidden_size=7)


def test_every_name_of_the_package_is_there_and_a_wrong_one_is_named():
    assert all(hasattr(lstm, name) for name in lstm.__all__)
    with pytest.raises(AttributeError, match=r"^module 'lla\.lstm' has no attribute 'Netwerk'$"):
        lstm.Netwerk  # noqa: B018


def network(config=CONFIG, seed=0, gain=3.0):
    """Weights larger than those training starts from, and biases away from 0."""
    generator = torch.Generator().manual_seed(seed)
    made = Network(config, generator)
    with torch.no_grad():
        for p in made.parameters():
            p.mul_(gain).add_(0.3 * torch.randn(p.shape, generator=generator))
    return made


def random_ids(length, n_lanes, seed=1):
    """The start symbol in the first row, as at a document's beginning; anything after it."""
    ids = np.random.Generator(np.random.Philox(seed)).integers(7, size=(length, n_lanes))
    ids[0] = 6
    return ids


@torch.no_grad()
def test_windows_steps_and_textbook_are_one_function():
    net, ids = network(), random_ids(30, 9)
    by_hand = lstm_logits(net, ids)
    logits, (h, c) = net(torch.from_numpy(ids))
    np.testing.assert_allclose(logits, by_hand, rtol=0, atol=2e-5)
    assert np.ptp(by_hand, axis=0).min() > 0.1, "the logits move, or nothing is compared"

    stepper = Stepper(net)
    assert stepper.start == 6
    state = stepper.initial_state(9)
    for t, row in enumerate(torch.from_numpy(ids)):
        theta = stepper.step(row, *state)
        np.testing.assert_allclose(theta, softmax(by_hand[t]), rtol=0, atol=5e-6)
        np.testing.assert_allclose(theta.sum(dim=1), 1.0, rtol=1e-6)
    np.testing.assert_allclose(state[0], h[0], rtol=0, atol=5e-6)
    np.testing.assert_allclose(state[1], c[0], rtol=0, atol=2e-5)


@torch.no_grad()
def test_the_state_carried_along_makes_windows_one_document():
    net, ids = network(), torch.from_numpy(random_ids(20, 3))
    whole, end = net(ids)
    first, state = net(ids[:8])
    second, state = net(ids[8:], state)
    torch.testing.assert_close(torch.cat([first, second]), whole)
    torch.testing.assert_close(state, end)
    assert not torch.allclose(net(ids[8:])[0], whole[8:], atol=1e-2), "the state matters"


def test_steps_do_not_change_the_network_and_a_stepper_keeps_its_weights():
    net, ids = network(), torch.tensor([6, 0])
    before = {name: p.clone() for name, p in net.named_parameters()}
    stepper = Stepper(net)
    theta = stepper.step(ids, *stepper.initial_state(2))
    assert not theta.requires_grad
    torch.testing.assert_close(dict(net.named_parameters()), before, rtol=0, atol=0)
    with torch.no_grad():
        net.input.weight.zero_()
        net.output.bias.zero_()
    torch.testing.assert_close(stepper.step(ids, *stepper.initial_state(2)), theta, rtol=0, atol=0)


def test_weights_come_from_the_generator_alone():
    torch_before, numpy_before = torch.get_rng_state(), np.random.get_state()  # noqa: NPY002
    one, same, other = (Network(CONFIG, torch.Generator().manual_seed(s)) for s in (3, 3, 4))
    assert torch.equal(torch.get_rng_state(), torch_before)
    for now, before in zip(np.random.get_state(), numpy_before, strict=True):  # noqa: NPY002
        np.testing.assert_array_equal(now, before)
    for (name, a), b, c in zip(
        one.named_parameters(), same.parameters(), other.parameters(), strict=True
    ):
        assert torch.equal(a, b), name
        assert torch.equal(a, c) == ("bias" in name), name


def test_training_starts_from_small_weights_and_an_open_forget_gate():
    net = Network(CONFIG, torch.Generator().manual_seed(5))
    bound = 7**-0.5
    for name, p in net.named_parameters():
        if "bias" not in name:
            assert bound / 2 < p.abs().max() <= bound, name
    assert not net.output.bias.any()
    bias = (net.lstm.bias_ih_l0 + net.lstm.bias_hh_l0).detach().view(4, 7)
    np.testing.assert_array_equal(bias, np.repeat([[0.0], [1.0], [0.0], [0.0]], 7, axis=1))


@pytest.mark.parametrize(("k", "e", "h"), [(1, 1, 1), (6, 3, 5), (1000, 50, 50), (1000, 250, 250)])
def test_number_of_parameters(k, e, h):
    n = Network(NetworkConfig(k, k, e, h), torch.Generator()).n_parameters()
    assert n == (k + 1) * e + 4 * h * (e + h) + 8 * h + k * (h + 1)
    if k == 1000:  # from 0.12 to 1.0 million at the paper's sizes
        assert round(n / 1e6, 2) == {50: 0.12, 250: 1.0}[h]


@torch.no_grad()
def test_dropout_needs_a_generator_and_a_share():
    ids = torch.from_numpy(random_ids(10, 4))
    plain = network()
    dropping = Network(NetworkConfig(6, 5, 4, 7, dropout=0.4), torch.Generator())
    dropping.load_state_dict(plain.state_dict())
    without = plain(ids)[0]
    assert torch.equal(dropping(ids)[0], without)
    assert torch.equal(plain(ids, None, torch.Generator().manual_seed(1))[0], without)
    one, same, other = (dropping(ids, None, torch.Generator().manual_seed(s))[0] for s in (1, 1, 2))
    assert torch.equal(one, same) and not torch.equal(one, other)
    assert not torch.allclose(one, without, atol=0.1)


def test_a_dropout_mask_is_constant_over_time_and_preserves_the_mean():
    net = Network(NetworkConfig(1, 1, dropout=0.3), torch.Generator())
    ones = torch.ones(6, 200, 100)
    dropped = net._drop(ones, torch.Generator().manual_seed(6)).double().numpy()
    np.testing.assert_array_equal(dropped, np.broadcast_to(dropped[:1], dropped.shape))
    mask = dropped[0]
    np.testing.assert_allclose(np.unique(mask), [0.0, 1 / 0.7], rtol=1e-6)
    assert within_standard_errors(mask.ravel(), 1.0)
    lanes, units = np.unique(mask, axis=0), np.unique(mask, axis=1)
    assert len(lanes) == 200 and units.shape[1] == 100, "each lane and unit has its own"


@torch.no_grad()
def test_dropout_falls_on_the_embedding_and_on_the_state():
    """With almost everything dropped the inputs are forgotten, and only the biases speak."""
    net = Network(NetworkConfig(6, 5, 4, 7, dropout=1 - 1e-9), torch.Generator().manual_seed(0))
    net.output.bias.copy_(torch.arange(5.0))
    net.lstm.bias_ih_l0.fill_(0.5)
    ids = torch.from_numpy(random_ids(10, 4))
    logits, (h, _) = net(ids, None, torch.Generator().manual_seed(7))
    assert torch.equal(logits, net.output.bias.expand(10, 4, 5)), "the state is dropped"
    other = net(torch.roll(ids, 1, dims=0), None, torch.Generator().manual_seed(7))[1][0]
    assert torch.equal(h, other), "the embedding is dropped"
    assert h.any(), "but what the LSTM carries within is not"


@pytest.mark.parametrize("name", ["n_inputs", "n_outputs", "embedding_size", "hidden_size"])
@pytest.mark.parametrize("value", [0, -3])
def test_sizes_out_of_range(name, value):
    sizes = {"n_inputs": 3, "n_outputs": 3, name: value}
    with pytest.raises(ValueError, match=f"^{name} is {value}: give 1 or more$"):
        NetworkConfig(**sizes)


@pytest.mark.parametrize("dropout", [-0.1, 1.0, float("nan")])
def test_dropout_out_of_range(dropout):
    with pytest.raises(ValueError, match=f"^dropout is {dropout}: "):
        NetworkConfig(3, 3, dropout=dropout)


@torch.no_grad()
@pytest.mark.parametrize(
    ("bfloat16", "one_dnn", "off"), [(False, True, 1e-5), (False, False, 1e-5), (True, True, 0.1)]
)
def test_lane_states_advance_as_the_stepper_does(monkeypatch, bfloat16, one_dnn, off):
    """Some lanes, then fewer: the others stand still, and the padding of h stays 0."""
    monkeypatch.setattr(batch, "ONE_DNN", one_dnn and batch.ONE_DNN)
    stepper, ids = Stepper(network()), torch.from_numpy(random_ids(30, 9))
    h, c = stepper.initial_state(9)
    lanes = LaneStates(stepper, 9, bfloat16)
    for t, row in enumerate(ids):
        n = 9 if t < 20 else 4
        stepper.advance(row[:n], h[:n], c[:n])
        lanes.advance(row[:n])
        torch.testing.assert_close(lanes.h, h, rtol=0, atol=off)
        torch.testing.assert_close(lanes.cell, c, rtol=off, atol=off)
    assert (abs(lanes.h - h).max() > 1e-5) == bfloat16
    assert lanes.padded.shape == (9, 16) and not lanes.padded[:, 7:].any()
