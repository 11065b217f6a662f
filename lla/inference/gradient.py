"""What the M-step minimises: -log p of the targets, each given the state before it.

An objective is called as ``objective(network, states, targets, generator)`` with states (M, H) and
targets (M,), and returns the sum over the M tokens, nats.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lla.common.arrays import check_range
from lla.common.eager import Adam
from lla.common.errors import (
    InputError,
    NumericalError,
    check_each,
    check_integer,
    check_not_negative,
    check_positive,
    check_share,
)
from lla.common.progress import progress
from lla.common.random import stream, torch_stream
from lla.common.summary import Configuration
from lla.common.threads import Pool
from lla.inference.batch import columns, group_by_length, input_columns
from lla.inference.users import UserSteps
from lla.lstm import Network, State
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


AVERAGE = "average"  # its name in the optimiser's state, and so in checkpoints
PAD = -100  # a target that counts neither in the loss nor in its gradient


@dataclass(frozen=True, repr=False)
class TrainConfig(Configuration):
    """How the LSTM is fitted; the paper states only Adam.

    Attributes
    ----------
    learning_rate : of Adam
    batch_size : documents per batch
    window : tokens per window of truncated back-propagation
    clip : largest norm of a gradient
    n_shards : parts of a batch whose gradients are computed separately; changes the rounding
    n_samples : outputs sampled for the softmax's normaliser; 0 computes all of it
    user_penalty : λ of (λ/2) ‖Δ‖² in nats, beside -log p of a user's tokens, where users' recurrent
        matrices differ by a Δ of low rank (`lla.lstm.users`)
    average : decay per step of a running average of the weights, which then predicts and draws
        topics in their place (Polyak and Juditsky, 1992); 0 keeps none
    """

    learning_rate: float = 2e-3
    batch_size: int = 64
    window: int = 64
    clip: float = 1.0
    n_shards: int = 2
    n_samples: int = 0
    average: float = 0.0
    user_penalty: float = 10.0

    def __post_init__(self) -> None:
        check_each(self, check_integer, "batch_size", "window", "n_shards")
        check_each(self, check_share, "average")
        check_each(self, check_integer, "n_samples", least=0)
        check_each(self, check_positive, "learning_rate", "clip")
        check_each(self, check_not_negative, "user_penalty")


@dataclass
class Shard:
    """Part of a batch: documents sorted by falling length, time first.

    Attributes
    ----------
    inputs, targets : (T, B) ids; targets hold PAD past a document's end
    lengths : (B,)
    state : of the network at the start of the next window, None for s_0 = 0
    """

    inputs: Tensor
    targets: Tensor
    lengths: np.ndarray
    state: State | None = None


def adam(network: Network, config: TrainConfig, bfloat16: bool = False) -> torch.optim.Adam:
    """Adam on all weights but users' own, which have `UserSteps`.

    Torch's fused Adam, the same but for rounding, makes fewer passes over memory; it pays beside
    products in bfloat16. float32 keeps the plain one, so that its results stay bit-identical.
    """
    fused = bfloat16 or None  # False would rule out what Torch chooses on a GPU
    own = own_parameter(network)
    shared = [parameter for parameter in network.parameters() if parameter is not own]
    return Adam(shared, lr=config.learning_rate, fused=fused)


def own_parameter(network: nn.Module) -> nn.Parameter | None:
    """The d_u of all users, (U, R), of a network that knows its users; else None."""
    users = getattr(network, "users", None)
    return users.own if users is not None else None


def update_average(network: Network, optimizer: torch.optim.Adam, decay: float) -> None:
    """One step of the running average of the weights, kept beside Adam's moments.

    A step of Adam is of one window of a few documents, and leaves the weights close to these. In
    the first steps the average forgets faster, so that it does not remember the untrained weights.
    """
    parameters = list(network.parameters())
    states = [optimizer.state[parameter] for parameter in parameters]
    for parameter, state in zip(parameters, states, strict=True):
        if AVERAGE not in state:
            state[AVERAGE] = parameter.detach().clone()
    n_steps = float(states[0]["step"])
    kept = min(decay, n_steps / (n_steps + 10))
    averages = [state[AVERAGE] for state in states]
    torch._foreach_lerp_(averages, [p.detach() for p in parameters], 1 - kept)


@contextmanager
def averaged_weights(network: Network, optimizer: torch.optim.Adam) -> Iterator[None]:
    """Inside, the network has the running average of its weights, where one is kept."""
    own = {p: p.data for p in network.parameters() if AVERAGE in optimizer.state.get(p, {})}
    for parameter in own:
        parameter.data = optimizer.state[parameter][AVERAGE]
    try:
        yield
    finally:
        for parameter, data in own.items():
            parameter.data = data


def train_epoch(
    network: Network,
    optimizer: torch.optim.Adam,
    inputs: np.ndarray,
    targets: np.ndarray,
    offsets: np.ndarray,
    config: TrainConfig,
    seed: int,
    key: tuple[int, ...],
    pool: Pool,
    *,
    description: str = "M-step",
    objective: Objective = full_softmax,
    bfloat16: bool = False,
) -> float:
    """One pass over all documents; the mean of -log p(target), nats per token.

    Parameters
    ----------
    network : an LSTM, or another module with `input.start`, `states` and `output`
    inputs, targets : (N,) ids per token: at position t of a document the network has read
        inputs[< t] and predicts targets[t]
    offsets : (D+1,)
    seed, key : name the streams of batch order, dropout masks and sampled outputs
        where the network knows its users, document d is the d-th of them
    objective : -log p(target) summed over tokens; by default the full softmax
    bfloat16 : round the factors of matrix products to 8 bits; weights, sums over tokens and Adam's
        moments stay float32

    Raises
    ------
    NumericalError
        When training diverges: a gradient that is not finite, or a loss far above chance.
    """
    sums_topics_out = objective is marginal
    n_targets = len(network.topic_words.weight if sums_topics_out else network.output.bias)
    n_targets = getattr(objective, "n_targets", n_targets)  # where they are no outputs
    _check_ids(inputs, targets, offsets, network.input.start, n_targets)
    own = own_parameter(network)
    parameters, workers, steps = list(network.parameters()), pool.workers, None
    shared = [parameter for parameter in parameters if parameter is not own]
    if own is not None and network.users is not None:
        if len(own) != len(offsets) - 1:
            raise InputError(
                f"network: it knows {len(own)} users, but there are {len(offsets) - 1} documents; "
                "give those it was made for"
            )
        steps = UserSteps(
            own,
            optimizer,
            np.diff(offsets),
            learning_rate=config.learning_rate,
            penalty=config.user_penalty * network.users.n_entries,
            clip=config.clip,
        )
    losses: list[list[float]] = []  # a row per window, 0 where another process has the piece
    order = make_batches(np.diff(offsets), config.batch_size, stream(seed, *key))
    for number, documents in enumerate(progress(order, description=description, unit="batch")):
        pieces = [documents[i :: config.n_shards] for i in range(config.n_shards)]
        owners = workers.owners([1] * config.n_shards)
        lengths = [offsets[piece + 1] - offsets[piece] for piece in pieces if len(piece)]
        shards = {
            i: pad_shard(network.input.start, inputs, targets, offsets, pieces[i])
            for i in np.flatnonzero(owners[: len(lengths)] == workers.rank).tolist()
        }
        if own is not None:
            for i, shard in shards.items():
                shard.state = network.first_state(torch.from_numpy(pieces[i]).to(own.device))
        generators = {i: torch_stream(seed, *key, number, i) for i in shards}
        for begin in range(0, int(max(of[0] for of in lengths)), config.window):
            running = [i for i, of in enumerate(lengths) if of[0] > begin]
            tasks = {
                i: pool.submit(
                    _window_gradient,
                    network,
                    objective,
                    shards[i],
                    slice(begin, begin + config.window),
                    generators[i],
                    bfloat16,
                )
                for i in running
                if i in shards
            }
            results = {i: task.result() for i, task in tasks.items()}
            losses.append([results[i][0] if i in results else 0.0 for i in range(config.n_shards)])
            n_tokens = sum(int((of - begin).clip(0, config.window).sum()) for of in lengths)
            summed = workers.sum_gradients(
                {i: gradients for i, (_, gradients) in results.items()},
                owners[running],
                parameters,
            )
            for parameter, gradient in zip(parameters, summed, strict=True):
                parameter.grad = gradient / n_tokens
            norm = torch.nn.utils.clip_grad_norm_(shared, config.clip)
            if not torch.isfinite(norm):
                raise NumericalError(
                    f"training diverged: gradient norm {norm.item()} at learning_rate="
                    f"{config.learning_rate}; give a smaller learning_rate"
                )
            optimizer.step()
            if steps is not None and own is not None and own.grad is not None:
                steps.step(
                    own.grad * n_tokens, pieces[: len(lengths)], slice(begin, begin + config.window)
                )
            if config.average:
                update_average(network, optimizer, config.average)
    every_loss = np.array(losses).reshape(-1, config.n_shards)
    workers.add_up(every_loss)
    loss = sum(sum(row) for row in every_loss.tolist()) / max(1, len(targets))
    # Clipped gradients stay finite while the weights run away; an untrained network has the log of
    # the number of outputs.
    n_outputs = max(network.output.bias.numel(), int(targets.max(initial=0)) + 1)
    if not loss <= 2 * np.log(n_outputs) + 5:
        raise NumericalError(
            f"training diverged: loss {loss:.3g} nats per token at learning_rate="
            f"{config.learning_rate}; give a smaller learning_rate"
        )
    return loss


def _check_ids(
    inputs: np.ndarray,
    targets: np.ndarray,
    offsets: np.ndarray,
    n_inputs: int,
    n_targets: int,
) -> None:
    """Raise InputError where a pass would read what is not there, or skip a target as PAD."""
    if inputs.shape != targets.shape or inputs.ndim != 1 or offsets[-1] != len(inputs):
        raise InputError(
            f"inputs: {inputs.shape}, targets: {targets.shape}, and offsets end at {offsets[-1]}; "
            "give one input and one target per token"
        )
    for name, ids in (("inputs", inputs), ("targets", targets)):
        if ids.dtype.kind not in "iu":
            raise InputError(f"{name}: {ids.dtype}; give ids, whole numbers")
    if (bad := check_range(inputs, n_inputs)) is not None:
        raise InputError(f"inputs: id {bad}, but the network reads 0 to {n_inputs - 1}")
    if (bad := check_range(targets, n_targets)) is not None:
        raise InputError(f"targets: id {bad}, but the network predicts 0 to {n_targets - 1}")


def make_batches(
    lengths: np.ndarray, batch_size: int, draw: np.random.Generator, pool_of: int = 8
) -> list[np.ndarray]:
    """Documents in random batches of similar length, each sorted by falling length.

    `pool_of` batches at a time are drawn at random and sorted within, so padding stays small and
    the composition of batches changes from epoch to epoch. Empty documents are left out.
    """
    shuffled = draw.permutation(np.flatnonzero(lengths))
    batches = []
    for begin in range(0, len(shuffled), batch_size * pool_of):
        members = shuffled[begin : begin + batch_size * pool_of]
        batches += group_by_length(lengths, batch_size, members)
    return [batches[i] for i in draw.permutation(len(batches))]


def pad_shard(
    start: int, inputs: np.ndarray, targets: np.ndarray, offsets: np.ndarray, documents: np.ndarray
) -> Shard:
    """Documents side by side, the start symbol first and the inputs one step late."""
    x = input_columns(inputs, offsets, documents, start)
    y = columns(targets, offsets, documents, fill=PAD)
    lengths = offsets[documents + 1] - offsets[documents]
    return Shard(torch.from_numpy(x), torch.from_numpy(y), lengths)


def _window_gradient(
    network: Network,
    objective: Objective,
    shard: Shard,
    window: slice,
    generator: torch.Generator,
    bfloat16: bool,
) -> tuple[float, tuple[Tensor, ...]]:
    """Loss and gradients of one shard in one window; moves the shard's state on."""
    running = int((shard.lengths > window.start).sum())
    device = network.output.bias.device
    x = shard.inputs[window, :running].to(device)  # (T, B)
    y = shard.targets[window, :running].to(device)
    counted = y != PAD
    state = shard.state and tuple(part[:, :running] for part in shard.state)
    # Autocast is a setting of the thread that runs this.
    with torch.enable_grad(), torch.autocast(device.type, torch.bfloat16, enabled=bfloat16):
        states, state = network.states(x, state, generator)  # (T, B, H)
        states = states.flatten(0, 1)  # (T·B, H)
        if not counted.all():  # the gradient of a choice of rows costs time
            states = states.index_select(0, counted.flatten().nonzero()[:, 0])
        loss = objective(network, states, y[counted], generator)
        # Where all documents begin in this window, no word's letters have been read yet.
        gradients = torch.autograd.grad(
            loss, list(network.parameters()), allow_unused=True, materialize_grads=True
        )
    shard.state = tuple(part.detach() for part in state)
    return loss.item(), gradients
