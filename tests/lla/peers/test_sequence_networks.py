"""The two networks by themselves, against plain loops."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from test_sequence import GRU, SAS, V, untrained
from torch import nn

from lla.common.random import torch_stream
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


@pytest.mark.parametrize("tied", [True, False])
def test_gru4rec_is_a_gru_cell_in_a_loop(tied):
    network = untrained("gru4rec", replace(GRU, tied=tied))
    items = np.random.default_rng(0).integers(V, size=13).tolist()
    cell = nn.GRUCell(8, 8)
    weights = network.gru.state_dict()
    cell.load_state_dict({name.removesuffix("_l0"): value for name, value in weights.items()})
    h, expected = torch.zeros(1, 8), []
    for item in [V, *items[:-1]]:
        h = cell(network.input.weight[item][None], h)
        expected.append(h[0].detach())
    states = by_windows(network, items)
    torch.testing.assert_close(states, torch.stack(expected), rtol=1e-4, atol=1e-5)
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
