"""The LSTM without padding: Torch's own on every sequence by itself, forward and back."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from lla.common.threads import one_thread
from lla.inference.packed_lstm import gate_table, last_states, packed_lstm
from lla.lstm import Network, NetworkConfig

N_INPUTS, E, H = 7, 5, 9


def an_lstm(seed=0, **options):
    torch.manual_seed(seed)
    return nn.LSTM(E, H, **options), torch.randn(N_INPUTS, E)


def run_parallel(sequences):
    """Ids step after step, and how many sequences run at each; longest first."""
    lengths = np.array([len(s) for s in sequences])
    sizes = [int((lengths > t).sum()) for t in range(lengths[0])]
    ids = [sequences[lane][t] for t, n in enumerate(sizes) for lane in range(n)]
    return torch.tensor(ids), sizes, torch.from_numpy(lengths)


def both_ways(sequences, state=None):
    """(states of all steps, gradients) by ours and by Torch, in the order of ours."""
    lstm, embedding = an_lstm()
    embedding.requires_grad_()
    weights = [embedding, *lstm.parameters()]
    ids, sizes, _ = run_parallel(sequences)
    outer = torch.randn(len(ids), H)
    first = None if state is None else tuple(part[0] for part in state)
    states, cells = packed_lstm(gate_table(lstm, embedding), lstm.weight_hh_l0, ids, sizes, first)
    ours = states.detach(), torch.autograd.grad(states, weights, outer), cells
    theirs, ends = [], []
    for lane, sequence in enumerate(sequences):
        own = state and tuple(part[:, lane : lane + 1] for part in state)
        out, (_, c) = lstm(embedding[torch.tensor(sequence)][:, None], own)
        theirs.append(out[:, 0])
        ends.append(c[0, 0].detach())
    order = [(lane, t) for t, n in enumerate(sizes) for lane in range(n)]
    theirs = torch.stack([theirs[lane][t] for lane, t in order])
    return ours, (theirs.detach(), torch.autograd.grad(theirs, weights, outer), ends)


falling = st.lists(
    st.lists(st.integers(0, N_INPUTS - 1), min_size=1, max_size=9), min_size=1, max_size=6
).map(lambda sequences: sorted(sequences, key=len, reverse=True))


@settings(derandomize=True, deadline=None, max_examples=60)
@given(falling, st.booleans())
def test_states_and_gradients_are_those_of_each_sequence_by_itself(sequences, goes_on):
    torch.manual_seed(1)
    state = tuple(torch.randn(1, len(sequences), H) for _ in "hc") if goes_on else None
    with one_thread():
        ours, theirs = both_ways(sequences, state)
    torch.testing.assert_close(ours[0], theirs[0], rtol=1e-5, atol=1e-6)
    for one, other in zip(ours[1], theirs[1], strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
    _, sizes, lengths = run_parallel(sequences)
    torch.testing.assert_close(
        last_states(ours[2], sizes, lengths), torch.stack(theirs[2]), rtol=1e-5, atol=1e-6
    )


def test_nothing_is_kept_where_no_gradient_is_asked():
    lstm, embedding = an_lstm()
    ids, sizes, _ = run_parallel([[1, 2, 3, 4], [5, 6], [0]])
    given_ = gate_table(lstm, embedding), lstm.weight_hh_l0, ids, sizes
    with torch.no_grad():
        silent = packed_lstm(*given_)
    for one, other in zip(silent, packed_lstm(*given_), strict=True):
        assert torch.equal(one, other) and not one.requires_grad


def test_the_way_back_is_gone_once():
    lstm, embedding = an_lstm()
    ids, sizes, _ = run_parallel([[1, 2], [3]])
    states, cells = packed_lstm(gate_table(lstm, embedding), lstm.weight_hh_l0, ids, sizes)
    assert not cells.requires_grad
    states.sum().backward(retain_graph=True)
    with pytest.raises(AttributeError):
        states.sum().backward()


@pytest.mark.parametrize("dropout", [0.0, 0.4])
def test_a_network_reads_packed_windows_as_padded_ones(dropout):
    network = Network(NetworkConfig(N_INPUTS, 4, E, H, dropout), torch.Generator().manual_seed(0))
    sequences = [[1, 1, 3, 0, 6], [2, 5, 5], [4]]
    ids, sizes, lengths = run_parallel(sequences)
    padded = torch.zeros(5, 3, dtype=torch.int64)
    for lane, sequence in enumerate(sequences):
        padded[: len(sequence), lane] = torch.tensor(sequence)
    there = torch.arange(5)[:, None] < lengths
    torch.manual_seed(2)
    state = tuple(torch.randn(1, 3, H) for _ in "hc")
    found = []
    for read, given_ in ((network.packed_states, (ids, sizes)), (network.states, (padded,))):
        states, after = read(*given_, state, torch.Generator().manual_seed(3))
        states = states if read == network.packed_states else states[there]
        loss = (states * torch.arange(H)).sum()
        gradients = torch.autograd.grad(loss, list(network.parameters())[:-2])
        found.append([states, *(part[:, : sizes[-1]] for part in after), *gradients])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
