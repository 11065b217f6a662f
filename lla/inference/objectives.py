"""What the M-step minimises: -log p of the targets, each given the state before it.

An objective is called as ``objective(network, states, targets, generator)`` with states (M, H) and
targets (M,), and returns the sum over the M tokens, nats.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lla.common.errors import InputError, check_integer
from lla.lstm import Network
from lla.samplers.fused import softmax_gradients

PROPOSALS = ("log_uniform", "unigram")

Objective = Callable[[Network, Tensor, Tensor, torch.Generator], Tensor]


def full_softmax(
    network: Network, states: Tensor, targets: Tensor, generator: torch.Generator
) -> Tensor:
    """-Σ log softmax(W_p s + b_p)[target] over all outputs."""
    if states.dtype == torch.bfloat16 and states.device.type == "cpu":
        return BFloat16Softmax.apply(states, network.output.weight, network.output.bias, targets)
    return F.cross_entropy(network.output(states), targets, reduction="sum")


@dataclass(frozen=True)
class GatedSoftmax:
    """-Σ log θ[k] - Σ log π[c] of targets k + K c: a topic, and where its item came from.

    c is 0 where the topic produced it, j + 1 where source j did (see `lla.lstm.probabilities`).

    Attributes
    ----------
    n_topics, n_sources : K and S
    """

    n_topics: int
    n_sources: int

    @property
    def n_targets(self) -> int:
        """Pairs of k and c."""
        return self.n_topics * (1 + self.n_sources)

    def __call__(
        self, network: Network, states: Tensor, targets: Tensor, generator: torch.Generator
    ) -> Tensor:
        logits, n_topics = network.output(states), self.n_topics  # (M, K + 1 + S)
        loss = F.cross_entropy(logits[:, :n_topics], targets % n_topics, reduction="sum")
        return loss + F.cross_entropy(logits[:, n_topics:], targets // n_topics, reduction="sum")


class BFloat16Softmax(torch.autograd.Function):
    """Loss of the full softmax of bfloat16 states; the forward pass computes the gradient.

    Products and logits are bfloat16, exponentials and their sums float32. The loss stays float32.
    """

    @staticmethod
    def forward(ctx, states: Tensor, weight: Tensor, bias: Tensor, targets: Tensor) -> Tensor:
        """From states (M, H) bfloat16, W_p (K, H) and b_p (K,) float32, and targets (M,)."""
        weight_bf16 = weight.bfloat16()
        logits = torch.addmm(bias.bfloat16(), states, weight_bf16.T)  # (M, K)
        loss = np.empty(len(targets))  # the kernel overwrites logits by their gradient
        grad_bias = torch.zeros(bias.shape)
        bits = logits.view(torch.uint16).numpy()
        softmax_gradients(bits, targets.numpy(), loss, grad_bias.numpy())
        ctx.save_for_backward(states, weight_bf16, logits, grad_bias)
        return torch.tensor(loss.sum(), dtype=torch.float32)

    @staticmethod
    def backward(ctx, scale: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of states, W_p and b_p."""
        states, weight_bf16, grad_logits, grad_bias = ctx.saved_tensors
        grad_states = grad_logits @ weight_bf16
        grad_weight = (grad_logits.T @ states).float()
        return grad_states.mul_(scale), grad_weight.mul_(scale), grad_bias * scale, None


@dataclass(frozen=True)
class SampledSoftmax:
    """The softmax with its normaliser estimated from `n_samples` outputs (Jean et al., 2015).

        Ẑ = exp(o_y) + Σ_{j drawn from q, j ≠ y} exp(o_j) / (n q_j)

    is unbiased for Z at any n; its logarithm, and the gradient, are so as n grows. One set of
    samples serves all tokens of a window.

    Attributes
    ----------
    probability : (n_outputs,) q, positive and summing to 1
    n_samples : n
    """

    probability: Tensor
    n_samples: int

    def __post_init__(self) -> None:
        check_integer("n_samples", self.n_samples)

    @classmethod
    def of_targets(
        cls, targets: np.ndarray, n_outputs: int, n_samples: int, proposal: str = "log_uniform"
    ) -> "SampledSoftmax":
        """The proposal for these targets (N,).

        Log-uniform gives the r-th most frequent output (log(r + 1) - log r) / log(n_outputs + 1);
        unigram its frequency, with one added so that none is impossible.
        """
        if proposal not in PROPOSALS:
            raise InputError(f"proposal is {proposal!r}: choose one of {', '.join(PROPOSALS)}")
        counts = np.bincount(targets, minlength=n_outputs)
        if proposal == "unigram":
            q = (counts + 1.0) / (counts.sum() + n_outputs)
        else:
            ranks = np.empty(n_outputs)
            ranks[np.argsort(-counts, kind="stable")] = np.arange(1, n_outputs + 1)
            q = np.log1p(1 / ranks) / np.log(n_outputs + 1)
        return cls(torch.from_numpy(q.astype(np.float32)), n_samples)

    def __call__(
        self, network: Network, states: Tensor, targets: Tensor, generator: torch.Generator
    ) -> Tensor:
        drawn = torch.multinomial(self.probability, self.n_samples, True, generator=generator)
        log_expected = (self.n_samples * self.probability[drawn]).log().to(states.device)
        drawn = drawn.to(states.device)
        weight, bias = network.output.weight, network.output.bias
        logits = F.linear(states, weight[drawn], bias[drawn])  # (M, n)
        logits = logits - log_expected
        logits = logits.masked_fill(drawn == targets[:, None], -torch.inf)
        own = (states * weight[targets]).sum(dim=1) + bias[targets]  # (M,)
        normaliser = torch.logsumexp(torch.cat([own[:, None], logits], dim=1), dim=1)
        return (normaliser - own).sum()


def softmax_of(targets: np.ndarray, n_outputs: int, n_samples: int) -> Objective:
    """The softmax with `n_samples` outputs sampled for targets (N,), or with all if that is 0."""
    return SampledSoftmax.of_targets(targets, n_outputs, n_samples) if n_samples else full_softmax


class TopicWords(nn.Module):
    """φ as free parameters, for the marginal objective: each column a softmax over words."""

    def __init__(self, phi: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(phi.log())  # (V, K)

    def log_phi(self) -> Tensor:
        """log φ_wk, (V, K)."""
        return F.log_softmax(self.weight, dim=0)


def marginal(
    network: Network, states: Tensor, targets: Tensor, generator: torch.Generator
) -> Tensor:
    """-Σ log Σ_k θ_tk φ_wk: topics summed out, exact when the inputs are words.

    The control of SEM, which the paper lacks: no topic is drawn, and φ learns by gradient too.
    """
    log_theta = F.log_softmax(network.output(states), dim=1)  # (M, K)
    log_phi = network.topic_words.log_phi()  # (V, K)
    return -torch.logsumexp(log_theta + log_phi.index_select(0, targets), dim=1).sum()
