"""What the M-step minimises, against the full softmax and against plain sums."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from lla.common.errors import InputError
from lla.common.random import torch_stream
from lla.inference.objectives import SampledSoftmax, TopicWords, full_softmax, marginal
from lla.lstm import Network, NetworkConfig

N_OUTPUTS, HIDDEN, TOKENS = 7, 5, 11


@pytest.fixture
def network():
    net = Network(NetworkConfig(N_OUTPUTS, N_OUTPUTS, 3, HIDDEN), torch_stream(0))
    with torch.no_grad():
        net.output.weight.normal_(generator=torch_stream(1))
        net.output.bias.normal_(generator=torch_stream(2))
    return net


@pytest.fixture
def tokens():
    states = torch.randn(TOKENS, HIDDEN, generator=torch_stream(3))
    return states, torch.arange(TOKENS) % N_OUTPUTS


def gradient(objective, network, states, targets, generator):
    loss = objective(network, states, targets, generator)
    return torch.autograd.grad(loss, [network.output.weight, network.output.bias])


def test_states_in_bfloat16_have_the_gradients_of_float32_but_for_rounding(network, tokens):
    """The loss scaled, as a sum over windows may be; products of 8 bits on both sides."""
    states, targets = tokens
    output, rounded = network.output, states.bfloat16()
    weights = [output.weight, output.bias]
    found = []
    for leaf in (rounded.clone().requires_grad_(), rounded.float().requires_grad_()):
        loss = 3.0 * full_softmax(network, leaf, targets, torch_stream(0))
        found.append((loss, *torch.autograd.grad(loss, [leaf, *weights])))
    (short, *ours), (exact, *theirs) = found
    assert short.dtype == torch.float32 and ours[1].dtype == torch.float32
    torch.testing.assert_close(short, exact, rtol=5e-3, atol=0)
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one.float(), other, rtol=0.03, atol=0.03 * other.abs().max())


def test_the_full_softmax_is_its_formula(network, tokens):
    states, targets = tokens
    theta = network.output(states).double().softmax(dim=1)
    expected = -theta[torch.arange(TOKENS), targets].log().sum()
    torch.testing.assert_close(
        full_softmax(network, states, targets, None).double(), expected, rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize("proposal", ["log_uniform", "unigram"])
def test_the_estimated_normaliser_is_unbiased(network, tokens, proposal):
    """E[exp(loss_i + o_y)] = Z_i: mean over draws within four of its standard errors."""
    states, targets = tokens
    counts = np.repeat(np.arange(N_OUTPUTS), [50, 20, 9, 5, 3, 2, 1])
    objective = SampledSoftmax.of_targets(counts, N_OUTPUTS, 3, proposal)
    with torch.no_grad():
        logits = network.output(states).double()
        own = logits[torch.arange(TOKENS), targets]
        generator, n_draws = torch_stream(4), 4000
        for i in range(3):
            one, y = states[i : i + 1], targets[i : i + 1]
            z = torch.stack(
                [(objective(network, one, y, generator) + own[i]).exp() for _ in range(n_draws)]
            )
            error = z.std() / n_draws**0.5
            assert abs(z.mean() - logits[i].exp().sum()) < 4 * error


def test_the_gradient_goes_to_the_full_ones_as_samples_are_added(network, tokens):
    states, targets = tokens
    full = torch.cat([g.flatten() for g in gradient(full_softmax, network, states, targets, None)])
    gap = {}
    for n_samples in (2, 16, 128):
        objective = SampledSoftmax.of_targets(targets.numpy(), N_OUTPUTS, n_samples, "unigram")
        generator, n_draws = torch_stream(5), 3000
        total = torch.zeros_like(full)
        for _ in range(n_draws):
            found = gradient(objective, network, states, targets, generator)
            total += torch.cat([g.flatten() for g in found])
        gap[n_samples] = float((total / n_draws - full).norm() / full.norm())
    assert gap[16] < gap[2] / 2  # the bias falls as 1/n
    assert gap[128] < 0.02


def test_the_target_is_never_among_the_negative_samples(network, tokens):
    """All samples on the target: nothing is left but its own logit, and the loss is 0."""
    states, _ = tokens
    only = torch.zeros(N_OUTPUTS)
    only[2] = 1.0
    loss = SampledSoftmax(only, 5)(network, states, torch.full((TOKENS,), 2), torch_stream(0))
    assert loss.item() == pytest.approx(0.0, abs=1e-5)


def test_proposals_are_their_formulas():
    targets = np.array([2, 2, 2, 0, 0, 1])
    unigram = SampledSoftmax.of_targets(targets, 4, 1, "unigram").probability
    np.testing.assert_allclose(unigram, np.array([3, 2, 4, 1]) / 10, rtol=1e-6)
    log_uniform = SampledSoftmax.of_targets(targets, 4, 1, "log_uniform").probability
    ranks = np.array([2, 3, 1, 4])  # of outputs 0 to 3 by frequency
    np.testing.assert_allclose(
        log_uniform, (np.log(ranks + 1) - np.log(ranks)) / np.log(5), rtol=1e-6
    )


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.integers(0, 8), min_size=1, max_size=30),
    st.sampled_from(["unigram", "log_uniform"]),
)
def test_every_output_can_be_sampled(targets, proposal):
    q = SampledSoftmax.of_targets(np.array(targets), 9, 2, proposal).probability
    assert (q > 0).all()
    assert q.sum().item() == pytest.approx(1.0, abs=1e-5)


def test_bad_options_are_refused():
    with pytest.raises(InputError, match="proposal is 'uniform'"):
        SampledSoftmax.of_targets(np.array([0]), 2, 1, "uniform")
    with pytest.raises(InputError, match="n_samples is 0"):
        SampledSoftmax(torch.ones(1), 0)


def test_marginal_sums_the_topics_out(network, tokens):
    states, _ = tokens
    n_words = 4
    phi = torch.rand(n_words, N_OUTPUTS, generator=torch_stream(6))
    phi /= phi.sum(dim=0)
    network.topic_words = TopicWords(phi)
    words = torch.arange(TOKENS) % n_words
    theta = network.output(states).softmax(dim=1)
    expected = 0.0
    for t in range(TOKENS):
        expected -= sum(theta[t, k] * phi[words[t], k] for k in range(N_OUTPUTS)).log()
    torch.testing.assert_close(marginal(network, states, words, None), expected)


def test_marginal_probabilities_sum_to_one(network, tokens):
    states, _ = tokens
    network.topic_words = TopicWords(torch.rand(4, N_OUTPUTS, generator=torch_stream(7)))
    total = sum(
        (-marginal(network, states[:1], torch.tensor([w]), None)).exp().item() for w in range(4)
    )
    assert total == pytest.approx(1.0, abs=1e-5)


def test_the_marginals_gradient_is_the_posteriors_expectation(network, tokens):
    """Fisher's identity: ∇ log Σ_k θ_k φ_wk = E over p(z | w) of ∇ log θ_z."""
    states, _ = tokens
    phi = torch.rand(4, N_OUTPUTS, generator=torch_stream(8))
    phi /= phi.sum(dim=0)
    network.topic_words = TopicWords(phi)
    words = torch.arange(TOKENS) % 4
    exact = gradient(marginal, network, states, words, None)
    theta = network.output(states).softmax(dim=1)
    posterior = (theta * phi[words]).detach()
    posterior /= posterior.sum(dim=1, keepdim=True)
    loss = -(posterior * F.log_softmax(network.output(states), dim=1)).sum()
    expected = torch.autograd.grad(loss, [network.output.weight, network.output.bias])
    for one, other in zip(exact, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
