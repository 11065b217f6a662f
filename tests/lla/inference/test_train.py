"""Training: batches, padding, truncated back-propagation, shards and threads, divergence."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from lla.common.parallel import thread_pool
from lla.inference.config import TrainConfig
from lla.inference.gradient import (
    PAD,
    adam,
    averaged_weights,
    make_batches,
    pad_shard,
    train_epoch,
    update_average,
)
from lla.lstm import HAS_BFLOAT16, Network, NetworkConfig

LENGTHS = np.array([7, 1, 4, 12, 3, 9, 1, 5])
OFFSETS = np.concatenate([[0], np.cumsum(LENGTHS)])
NO_CLIP = 1e9
needs_bfloat16 = pytest.mark.skipif(
    not HAS_BFLOAT16, reason="this processor has no bfloat16; it is refused"
)


def network(n_topics=5, dropout=0.0, seed=0):
    config = NetworkConfig(n_topics, n_topics, 6, 8, dropout)
    return Network(config, torch.Generator().manual_seed(seed))


def ids(n_topics=5, seed=0):
    return np.random.default_rng(seed).integers(n_topics, size=OFFSETS[-1], dtype=np.int32)


class Recorder:
    """Stands in for an optimiser: keeps every gradient and leaves the weights alone."""

    def __init__(self, net):
        self.net, self.gradients = net, []

    def step(self):
        self.gradients.append([p.grad.clone() for p in self.net.parameters()])


def gradients(net, config, topics, n_threads=1, offsets=OFFSETS, inputs=None, **options):
    """Mean loss and the gradients, one list of tensors an optimiser step, at fixed weights."""
    recorder = Recorder(net)
    inputs = topics if inputs is None else inputs
    with thread_pool(n_threads) as pool:
        loss = train_epoch(net, recorder, inputs, topics, offsets, config, 0, (0,), pool, **options)
    return loss, recorder.gradients


def by_hand(net, inputs, targets, window):
    """Loss (sum, nats) and gradient of one document, a window at a time, by `nn.LSTM` alone."""
    table, start = net.input.weight, net.input.weight.shape[0] - 1
    lstm = nn.LSTM(net.config.embedding_size, net.config.hidden_size)
    lstm.load_state_dict(net.lstm.state_dict())
    weights = [table, *lstm.parameters(), net.output.weight, net.output.bias]
    total, gradient, state = 0.0, [torch.zeros_like(w) for w in weights], None
    late = torch.tensor([start, *inputs[:-1].tolist()])
    targets = torch.from_numpy(targets.astype(np.int64))
    for begin in range(0, len(targets), window):
        x = table[late[begin : begin + window]].unsqueeze(1)
        states, (h, c) = lstm(x, state)
        state = (h.detach(), c.detach())
        log_theta = F.log_softmax(states[:, 0] @ net.output.weight.T + net.output.bias, dim=1)
        loss = -log_theta.gather(1, targets[begin : begin + window, None]).sum()
        for total_gradient, g in zip(gradient, torch.autograd.grad(loss, weights), strict=True):
            total_gradient += g
        total += loss.item()
    return total, gradient


def all_by_hand(net, topics, window, inputs=None):
    """Sum of `by_hand` over the documents one by one."""
    inputs = topics if inputs is None else inputs
    spans = [slice(OFFSETS[d], OFFSETS[d + 1]) for d in range(len(LENGTHS))]
    results = [by_hand(net, inputs[span], topics[span], window) for span in spans]
    sums = [sum(parts) for parts in zip(*(r[1] for r in results), strict=True)]
    return sum(r[0] for r in results), sums


def assert_close(gradient, expected):
    for one, other in zip(gradient, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


@given(st.lists(st.integers(0, 30), max_size=80), st.integers(1, 40), st.integers(0, 100))
def test_every_document_with_words_is_in_one_batch(lengths, batch_size, seed):
    lengths = np.array(lengths, np.int64)
    batches = make_batches(lengths, batch_size, np.random.default_rng(seed))
    assert sorted(d for batch in batches for d in batch) == np.flatnonzero(lengths).tolist()
    for batch in batches:
        assert 1 <= len(batch) <= batch_size
        assert (np.diff(lengths[batch]) <= 0).all()


def test_batches_are_shuffled_and_group_similar_lengths():
    lengths = np.random.default_rng(0).integers(1, 500, size=512)
    draw = np.random.default_rng(1)
    one, other = (make_batches(lengths, 16, draw) for _ in range(2))
    assert {tuple(sorted(b)) for b in one} != {tuple(sorted(b)) for b in other}
    longest = [lengths[batch].max() for batch in one]
    assert longest != sorted(longest) and longest != sorted(longest, reverse=True)
    padded = sum(lengths[batch].max() * len(batch) for batch in one)
    assert padded < 1.15 * lengths.sum()  # in the order of the corpus it is 1.9 times


def test_pack_puts_the_start_symbol_first_and_inputs_one_step_late():
    inputs, targets = np.arange(10, 16), np.arange(20, 26)
    shard = pad_shard(99, inputs, targets, np.array([0, 1, 4, 6]), np.array([1, 2, 0]))
    assert shard.inputs[:, 0].tolist() == [99, 11, 12]
    assert shard.inputs[:2, 1].tolist() == [99, 14]
    assert shard.inputs[0, 2] == 99
    assert shard.targets.T.tolist() == [[21, 22, 23], [24, 25, PAD], [20, PAD, PAD]]
    assert shard.lengths.tolist() == [3, 2, 1] and shard.state is None


@pytest.mark.parametrize("n_shards", [1, 3])
def test_a_padded_batch_is_its_documents_one_by_one(n_shards):
    """One batch, whole documents: the gradient is full back-propagation, padding adds nothing."""
    net, topics = network(), ids()
    inputs = ids(seed=1)  # as word-LLA has it, what is read is not what is predicted
    config = TrainConfig(batch_size=8, window=12, clip=NO_CLIP, n_shards=n_shards)
    loss, steps = gradients(net, config, topics, inputs=inputs)
    expected, gradient = all_by_hand(net, topics, 12, inputs)
    assert len(steps) == 1
    assert loss == pytest.approx(expected / len(topics), rel=1e-5)
    assert_close(steps[0], [g / len(topics) for g in gradient])


@pytest.mark.parametrize("window", [1, 3, 5, 11])
def test_the_state_passes_from_window_to_window_and_the_gradient_does_not(window):
    net, topics = network(), ids()
    config = TrainConfig(batch_size=8, window=window, clip=NO_CLIP)
    loss, steps = gradients(net, config, topics)
    whole, full_gradient = all_by_hand(net, topics, 12)
    assert loss == pytest.approx(whole / len(topics), rel=1e-5)
    # A step's gradient is a mean over the tokens of its window.
    n_tokens = [np.clip(LENGTHS - begin, 0, window).sum() for begin in range(0, 12, window)]
    assert len(steps) == len(n_tokens) and sum(n_tokens) == len(topics)
    total = [
        sum(n * g for n, g in zip(n_tokens, parts, strict=True))
        for parts in zip(*steps, strict=True)
    ]
    _, truncated = all_by_hand(net, topics, window)
    assert_close(total, truncated)
    assert any(
        not torch.allclose(a, b, rtol=0.01) for a, b in zip(total, full_gradient, strict=True)
    )


def train(n_threads=1, n_epochs=3, dropout=0.0, seed=0, **options):
    net, topics = network(dropout=dropout), ids()
    config = TrainConfig(**({"batch_size": 4, "window": 5, "n_shards": 3} | options))
    optimizer = torch.optim.Adam(net.parameters(), lr=config.learning_rate)
    with thread_pool(n_threads) as pool:
        losses = [
            train_epoch(net, optimizer, topics, topics, OFFSETS, config, seed, (6, e), pool)
            for e in range(n_epochs)
        ]
    return losses, torch.cat([p.detach().flatten() for p in net.parameters()])


@pytest.mark.parametrize("dropout", [0.0, 0.4])
def test_result_depends_on_the_seed_not_on_threads(dropout):
    (one, weights), (two, other) = (train(n, dropout=dropout) for n in (1, 2))
    assert one == two and torch.equal(weights, other)
    assert one != train(seed=1, dropout=dropout)[0]


def test_shards_change_only_rounding():
    for shards in (2, 3, 8):
        losses, weights = train(n_shards=shards)
        expected, whole = train(n_shards=1)
        assert losses == pytest.approx(expected, rel=1e-4)
        torch.testing.assert_close(weights, whole, rtol=1e-2, atol=1e-3)


def test_gradients_are_clipped_to_their_norm():
    net, topics = network(), ids()
    _, free = gradients(net, TrainConfig(clip=NO_CLIP, window=12), topics)
    _, clipped = gradients(net, TrainConfig(clip=0.01, window=12), topics)
    norm = torch.cat([g.flatten() for g in clipped[0]]).norm().item()
    assert norm == pytest.approx(0.01, rel=1e-3)
    ratio = [(c / f).nan_to_num() for c, f in zip(clipped[0], free[0], strict=True)]
    present = torch.cat([r[r > 0].flatten() for r in ratio])
    torch.testing.assert_close(present, present[0].expand_as(present), rtol=1e-3, atol=0)


def test_ten_sentences_are_learned_by_heart():
    """The mean loss comes near the least possible: that of choosing a sentence, log 10 each."""
    sentences = np.random.default_rng(2).integers(6, size=(10, 12))
    assert len({tuple(s) for s in sentences}) == 10
    least = np.log(10) * 10 / sentences.size
    config = NetworkConfig(6, 6, 16, 48)
    net = Network(config, torch.Generator().manual_seed(0))
    training = TrainConfig(learning_rate=0.01, batch_size=10, window=12)
    optimizer = torch.optim.Adam(net.parameters(), lr=training.learning_rate)
    topics, offsets = sentences.ravel(), np.arange(0, 121, 12)
    with thread_pool(1) as pool:
        losses = [
            train_epoch(net, optimizer, topics, topics, offsets, training, 0, (e,), pool)
            for e in range(300)
        ]
    assert losses[0] > 1.5
    assert least < losses[-1] < 1.1 * least


@pytest.mark.parametrize("harm", [float("nan"), float("inf")])
def test_training_that_diverged_stops_and_names_the_learning_rate(harm):
    net, topics = network(), ids()
    net.output.weight.data[0, 0] = harm
    before = [p.detach().clone() for p in net.parameters()]
    optimizer = torch.optim.Adam(net.parameters(), lr=0.5)
    message = r"^training diverged: .* learning_rate=0\.5; give a smaller learning_rate$"
    with pytest.raises(FloatingPointError, match=message), thread_pool(1) as pool:
        train_epoch(
            net, optimizer, topics, topics, OFFSETS, TrainConfig(learning_rate=0.5), 0, (0,), pool
        )
    for parameter, old in zip(net.parameters(), before, strict=True):
        assert torch.equal(parameter.nan_to_num(7.0), old.nan_to_num(7.0))  # no step was made


@pytest.mark.parametrize("option", ["learning_rate", "batch_size", "window", "clip", "n_shards"])
@pytest.mark.parametrize("value", [0, -1, float("nan")])
def test_options_out_of_range_are_named(option, value):
    with pytest.raises(ValueError, match=f"^{option} is {value}: give"):
        TrainConfig(**{option: value})


@pytest.mark.parametrize("learning_rate", [1e3, 1e9])
def test_a_learning_rate_that_runs_away_is_named(learning_rate):
    """Clipped gradients stay finite; the loss, far above log K, tells."""
    network = Network(NetworkConfig(5, 5, 4, 6), torch.Generator().manual_seed(0))
    config = TrainConfig(learning_rate=learning_rate, batch_size=2, window=4)
    optimizer = torch.optim.Adam(network.parameters(), lr=learning_rate)
    topics = np.random.default_rng(0).integers(5, size=400).astype(np.int32)
    offsets = np.arange(0, 401, 20)
    with (
        pytest.raises(FloatingPointError, match=r"training diverged.*learning_rate=.*smaller"),
        thread_pool(1) as pool,
    ):
        for epoch in range(3):
            train_epoch(network, optimizer, topics, topics, offsets, config, 0, (epoch,), pool)


@pytest.mark.parametrize("decay", [0.5, 0.95])
def test_averaged_weights_are_a_running_mean_that_begins_with_the_first_step(decay):
    net = network()
    optimizer = adam(net, TrainConfig(learning_rate=0.1))
    expected = None
    for step in range(1, 25):
        for parameter in net.parameters():
            parameter.grad = torch.ones_like(parameter)
        optimizer.step()
        update_average(net, optimizer, decay)
        weights = net.output.bias.detach().double().numpy().copy()
        kept = min(decay, step / (step + 10))
        expected = weights if step == 1 else kept * expected + (1 - kept) * weights
    own = {name: value.clone() for name, value in net.state_dict().items()}
    with averaged_weights(net, optimizer):
        assert net.output.bias.detach().numpy() == pytest.approx(expected, rel=1e-5)
        assert not torch.equal(net.output.bias, own["output.bias"])
    assert all(torch.equal(value, own[name]) for name, value in net.state_dict().items())


def test_without_an_average_the_weights_are_their_own():
    net = network()
    optimizer = adam(net, TrainConfig())
    before = net.output.bias.detach().clone()
    with averaged_weights(net, optimizer):
        assert torch.equal(net.output.bias, before)


@needs_bfloat16
def test_bfloat16_gradients_equal_float32_up_to_rounding():
    net, topics = network(), ids()
    config = TrainConfig(batch_size=4, window=5, clip=NO_CLIP)
    exact, short = (gradients(net, config, topics, bfloat16=b) for b in (False, True))
    assert short[0] == pytest.approx(exact[0], rel=1e-2)
    assert short[0] != exact[0]
    for one, other in zip(short[1], exact[1], strict=True):
        for a, b in zip(one, other, strict=True):
            assert a.dtype == torch.float32
            assert (a - b).norm() <= 0.05 * b.norm() + 1e-4


def test_fused_adam_equals_adam_up_to_rounding():
    rng, config = torch.Generator().manual_seed(1), TrainConfig(learning_rate=0.01)
    nets = [network() for _ in range(3)]
    for net, bfloat16 in zip(nets, (False, True), strict=False):
        optimizer = adam(net, config, bfloat16)
        assert bool(optimizer.defaults["fused"]) == bfloat16
        rng.manual_seed(1)
        for _ in range(20):
            for p in net.parameters():
                p.grad = torch.randn(p.shape, generator=rng)
            optimizer.step()
    plain, fused, start = (torch.cat([p.flatten() for p in n.parameters()]).detach() for n in nets)
    assert (plain - start).abs().max() > 0.01
    torch.testing.assert_close(fused, plain, rtol=1e-5, atol=1e-6)


@needs_bfloat16
def test_bfloat16_result_does_not_depend_on_threads():
    net, topics, config = network(dropout=0.3), ids(), TrainConfig(batch_size=4, window=5)
    one, two = (gradients(net, config, topics, n, bfloat16=True) for n in (1, 2))
    assert one[0] == two[0]
    for a, b in zip(one[1], two[1], strict=True):
        assert all(torch.equal(x, y) for x, y in zip(a, b, strict=True))
