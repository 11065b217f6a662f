"""Torch without its compiler is Torch to the last bit."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from lla.common.eager import Adam, Uninitialised

ROOT = Path(__file__).parents[3]
TRAIN = """
import sys
import torch
from torch import nn
from lla.common.eager import Adam, Uninitialised
with Uninitialised():
    layers = nn.ModuleList([nn.Embedding(3, 2), nn.LSTM(2, 2), nn.Linear(2, 1), nn.LayerNorm(2)])
for parameter in layers.parameters():
    nn.init.zeros_(parameter)
for fused in (None, True):
    optimizer = Adam(layers.parameters(), fused=fused)
    optimizer.zero_grad()
    sum(parameter.sum() for parameter in layers.parameters()).backward()
    optimizer.step()
    optimizer.load_state_dict(optimizer.state_dict())
print(*sys.modules)
"""


@pytest.mark.parametrize("fused", [None, True])
def test_adam_is_torchs_adam(fused):
    """Interrupted half-way, too: the state is the same."""
    found = []
    for kind in (Adam, torch.optim.Adam):
        generator = torch.Generator().manual_seed(1)
        weights = [torch.rand(n, requires_grad=True, generator=generator) for n in (2, 7, 33)]
        optimizer = kind(weights, lr=0.1, fused=fused)
        for step in range(6):
            if step == 3:
                state = optimizer.state_dict()
                optimizer = kind(weights, lr=0.1, fused=fused)
                optimizer.load_state_dict(state)
            optimizer.zero_grad()
            loss = sum((w * torch.rand(w.shape, generator=generator)).sin().sum() for w in weights)
            loss.backward()
            optimizer.step()
        found.append((weights, optimizer.state_dict()["state"]))
    (ours, our_state), (theirs, their_state) = found
    assert all(torch.equal(one, other) for one, other in zip(ours, theirs, strict=True))
    for n, moments in their_state.items():
        assert our_state[n].keys() == moments.keys()
        assert all(torch.equal(our_state[n][name], value) for name, value in moments.items())


def test_modules_without_values_draw_nothing():
    before = torch.get_rng_state()
    with Uninitialised():
        layers = [nn.Embedding(3, 4), nn.Linear(4, 5), nn.LayerNorm(5), nn.Conv1d(2, 3, 2)]
        layers += [nn.LSTM(4, 5, bidirectional=True), nn.GRU(4, 5)]
    assert torch.equal(torch.get_rng_state(), before)
    assert all(p.device.type == "cpu" for layer in layers for p in layer.parameters())
    nn.Linear(4, 5)
    assert not torch.equal(torch.get_rng_state(), before)


def test_training_loads_no_compiler():
    done = subprocess.run(
        [sys.executable, "-c", TRAIN], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert not {"torch._dynamo", "torch._inductor", "sympy"} & set(done.stdout.split())
