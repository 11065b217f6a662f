"""The two networks by themselves, against plain loops."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from test_sequence import GRU, SAS, V, untrained

from lla.common.random import torch_stream
from lla.peers import sasrec
from lla.peers.sequence import GRU4Rec, drop

WINDOW = 5


def by_windows(network, items, generator=None):
    """States after the start symbol and after each item but the last, window by window, (T, H)."""
    ids = torch.tensor([V, *items[:-1]])[:, None]
    state, found = None, []
    for begin in range(0, len(items), WINDOW):
        states, state = network.states(ids[begin : begin + WINDOW], state, generator)
        found.append(states[:, 0])
    return torch.cat(found).detach()


def numpy_gru(network, items):
    """States in float64 by the equations of Cho et al. (2014), event after event, (T, H).

    r = σ(W_r x + U_r h), z = σ(W_z x + U_z h), n = tanh(W_n x + r ∘ (U_n h)), each with biases, and
    h ← (1 - z) ∘ n + z ∘ h, in which the reset gate stands after the product, as in the authors'
    code.
    """
    weights = {k: v.detach().double().numpy() for k, v in network.gru.named_parameters()}
    embedding = network.input.weight.detach().double().numpy()
    h, found = np.zeros(weights["weight_hh_l0"].shape[1]), []
    for item in [V, *items[:-1]]:
        of_x = weights["weight_ih_l0"] @ embedding[item] + weights["bias_ih_l0"]
        of_h = weights["weight_hh_l0"] @ h + weights["bias_hh_l0"]
        (xr, xz, xn), (hr, hz, hn) = np.split(of_x, 3), np.split(of_h, 3)
        r, z = 1 / (1 + np.exp(-xr - hr)), 1 / (1 + np.exp(-xz - hz))
        h = (1 - z) * np.tanh(xn + r * hn) + z * h
        found.append(h)
    return np.array(found)


@pytest.mark.parametrize("tied", [True, False])
def test_gru4rec_is_the_equations_of_a_gru_in_a_loop(tied):
    network = untrained("gru4rec", replace(GRU, tied=tied))
    with torch.no_grad():
        for name, parameter in network.gru.named_parameters():
            if "bias" in name:  # they begin at 0
                parameter.uniform_(-1, 1, generator=torch_stream(3))
    items = np.random.default_rng(0).integers(V, size=13).tolist()
    states = by_windows(network, items)
    np.testing.assert_allclose(states.numpy(), numpy_gru(network, items), rtol=1e-4, atol=1e-5)
    rows = network.input.weight[:V] if tied else network.output.weight
    logits = states @ rows.T + network.output.bias
    torch.testing.assert_close(network.output(states), logits)


def numpy_layer_norm(x, layer):
    x = (x - x.mean()) / np.sqrt(x.var() + layer.eps)
    return x * layer.weight.detach().double().numpy() + layer.bias.detach().double().numpy()


def numpy_linear(x, layer):
    return x @ layer.weight.detach().double().numpy().T + layer.bias.detach().double().numpy()


def numpy_block(block, xs, n_heads):
    """One block, event after event, each looking back at those before it and at itself."""
    normed = [numpy_layer_norm(x, block.attention_norm) for x in xs]
    q, k, v = (
        [numpy_linear(x, layer).reshape(n_heads, -1) for x in normed]
        for layer in (block.query, block.key, block.value)
    )
    out = []
    for t, x in enumerate(xs):
        heads = []
        for head in range(n_heads):
            logits = [q[t][head] @ k[s][head] / math.sqrt(len(k[s][head])) for s in range(t + 1)]
            weights = np.exp(logits) / np.exp(logits).sum()
            heads.append(sum(w * v[s][head] for s, w in enumerate(weights)))
        x = x + numpy_linear(np.concatenate(heads), block.joined)
        inner = np.maximum(numpy_linear(numpy_layer_norm(x, block.feed_norm), block.feed_in), 0)
        out.append(x + numpy_linear(inner, block.feed_out))
    return out


def numpy_sasrec(network, items):
    """States in float64; window number b reads itself and the one before it."""
    config, late, found = network.config, [V, *items[:-1]], []
    embedding = network.input.weight.detach().double().numpy()
    positions = network.positions.detach().double().numpy()
    for begin in range(0, len(late), WINDOW):
        first = max(0, begin - WINDOW)
        read = late[first : begin + WINDOW]
        xs = [
            embedding[item] * math.sqrt(config.hidden_size) + positions[first - begin + WINDOW + i]
            for i, item in enumerate(read)
        ]
        for block in network.blocks:
            xs = numpy_block(block, xs, config.n_heads)
        found += [numpy_layer_norm(x, network.norm) for x in xs[begin - first :]]
    return np.array(found)


@pytest.mark.parametrize("options", [{}, {"n_blocks": 1, "n_heads": 1}, {"n_blocks": 3}])
@pytest.mark.parametrize("length", [1, 4, 5, 17])
def test_sasrec_is_attention_written_out(options, length):
    network = untrained("sasrec", replace(SAS, **options), gain=5.0)
    items = np.random.default_rng(0).integers(V, size=length).tolist()
    states = by_windows(network, items).numpy()
    np.testing.assert_allclose(states, numpy_sasrec(network, items), rtol=1e-3, atol=1e-4)


def test_sasrec_sees_at_least_one_window_and_less_than_two():
    """Reach of each prediction in the third window: from the second window's first input on."""
    network = untrained("sasrec")
    items = np.random.default_rng(3).integers(V, size=15)
    before = by_windows(network, items.tolist())
    for changed in range(14):
        other = items.copy()
        other[changed] = (other[changed] + 1) % V
        differs = (by_windows(network, other.tolist()) - before).abs().amax(dim=1) > 1e-4
        # Input s + 1 is item s; the third window, outputs 10 to 14, reads inputs 5 to 14.
        assert differs[10:].any() == (changed >= 4)
        assert not differs[: changed + 1].any()


@pytest.mark.parametrize("peer", ["gru4rec", "sasrec"])
def test_dropout_keeps_the_mean_and_comes_from_the_generator_alone(peer):
    network = untrained(peer)
    items = np.arange(10)
    one, same, other = (by_windows(network, items, torch_stream(s)) for s in (0, 0, 1))
    assert torch.equal(one, same) and not torch.equal(one, other)
    without = by_windows(network, items)
    assert torch.equal(without, by_windows(network, items)) and not torch.equal(without, one)


def test_sasrec_drops_where_the_paper_and_its_code_do(monkeypatch):
    """Embedding with position, attention weights, both sublayers, and within the feed-forward."""
    shapes = []

    def seen(x, dropout, generator):
        shapes.append(tuple(x.shape))
        return drop(x, dropout, generator)

    monkeypatch.setattr(sasrec, "drop", seen)
    config = replace(SAS, n_blocks=1, n_heads=2, hidden_size=8)
    network = sasrec.SASRec(config, np.full(V, 1 / V), torch_stream(0))
    network.states(torch.zeros(WINDOW, 3, dtype=torch.int64), None, torch_stream(1))
    row = (WINDOW, 3, 8)
    assert shapes == [row, (3, 2, WINDOW, WINDOW), row, row, row]


def test_dropped_units_are_zero_and_the_others_grow():
    dropped = drop(torch.ones(300, 300), 0.4, torch_stream(2))
    kept = dropped > 0
    torch.testing.assert_close(dropped[kept], torch.full((int(kept.sum()),), 1 / 0.6))
    assert abs(kept.float().mean() - 0.6) < 5 * math.sqrt(0.24 / 300**2)


def test_gru4rec_drops_the_same_units_in_all_steps_of_a_window():
    config = replace(GRU, dropout=0.5)
    network = GRU4Rec(config, np.full(V, 1 / V), torch_stream(0))
    states = by_windows(network, np.arange(WINDOW), torch_stream(0))
    zero = states == 0
    assert 0 < zero.float().mean() < 1 and (zero == zero[0]).all()
