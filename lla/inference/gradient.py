"""The M-step: passes of Adam over all documents, in windows of truncated back-propagation."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from lla.common.arrays import check_range
from lla.common.eager import Adam
from lla.common.errors import InputError, diverged
from lla.common.parallel import Pool
from lla.common.progress import progress
from lla.common.random import stream, torch_stream
from lla.inference.batch import columns, group_by_length, input_columns
from lla.inference.config import TrainConfig
from lla.inference.objectives import Objective, full_softmax, marginal
from lla.inference.users import UserSteps
from lla.lstm import HAS_BFLOAT16, Network, State

AVERAGE = "average"  # its name in the optimiser's state, and so in checkpoints
SORTED_TOGETHER = 8  # batches whose documents are sorted by length among one another
PAD = -100  # a target that counts neither in the loss nor in its gradient


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


def check_bfloat16(bfloat16: bool, device: torch.device) -> None:
    """Raise InputError where passes in bfloat16 are wanted of a processor that has none."""
    if bfloat16 and device.type == "cpu" and not HAS_BFLOAT16:
        raise InputError(
            "bfloat16 is True: this processor, or this build of Torch, trains no LSTM in bfloat16; "
            "give False"
        )


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
    offsets : (D+1,); where the network knows its users, document d is the d-th of them
    seed, key : name the streams of batch order, dropout masks and sampled outputs
    objective : -log p(target) summed over tokens; by default the full softmax
    bfloat16 : round the factors of matrix products to 8 bits; weights, sums over tokens and Adam's
        moments stay float32

    Raises
    ------
    InputError
        When ids are not of this network, or the processor has no `bfloat16`.
    NumericalError
        When training diverges: a gradient that is not finite, or a loss far above chance.
    """
    check_bfloat16(bfloat16, network.output.bias.device)
    sums_topics_out = objective is marginal
    n_targets = len(network.topic_words.weight if sums_topics_out else network.output.bias)
    n_targets = getattr(objective, "n_targets", n_targets)  # where they are no outputs
    _check_ids(inputs, targets, offsets, network.input.start, n_targets)
    own = own_parameter(network)
    parameters, workers = list(network.parameters()), pool.workers
    shared = [parameter for parameter in parameters if parameter is not own]
    steps = _user_steps(network, optimizer, np.diff(offsets), config)
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
            mean = workers.mean_gradients(
                {i: gradients for i, (_, gradients) in results.items()},
                owners[running],
                parameters,
                n_tokens,
            )
            for parameter, gradient in zip(parameters, mean, strict=True):
                parameter.grad = gradient
            norm = torch.nn.utils.clip_grad_norm_(shared, config.clip)
            if not torch.isfinite(norm):
                raise diverged(config.learning_rate, f"gradient norm {norm.item()}")
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
    _check_loss(loss, network, targets, config)
    return loss


def _user_steps(
    network: Network, optimizer: torch.optim.Adam, lengths: np.ndarray, config: TrainConfig
) -> UserSteps | None:
    """The steps of users' own weights, for documents of `lengths` (D,); None where it has none."""
    own = own_parameter(network)
    if own is None or network.users is None:
        return None
    if len(own) != len(lengths):
        raise InputError(
            f"network: it knows {len(own)} users, but there are {len(lengths)} documents; "
            "give those it was made for"
        )
    return UserSteps(
        own,
        optimizer,
        lengths,
        learning_rate=config.learning_rate,
        penalty=config.user_penalty * network.users.n_entries,
        clip=config.clip,
    )


def _check_loss(loss: float, network: Network, targets: np.ndarray, config: TrainConfig) -> None:
    """Raise NumericalError where a pass ends far above chance.

    Clipped gradients stay finite while the weights run away; an untrained network has the log of
    the number of outputs.
    """
    n_outputs = max(network.output.bias.numel(), int(targets.max(initial=0)) + 1)
    if not loss <= 2 * np.log(n_outputs) + 5:
        raise diverged(config.learning_rate, f"loss {loss:.3g} nats per token")


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
    lengths: np.ndarray, batch_size: int, draw: np.random.Generator
) -> list[np.ndarray]:
    """Documents in random batches of similar length, each sorted by falling length.

    `SORTED_TOGETHER` batches at a time are drawn at random and sorted within, so padding stays
    small and the composition of batches changes from epoch to epoch. Empty documents are left out.
    """
    shuffled = draw.permutation(np.flatnonzero(lengths))
    batches = []
    for begin in range(0, len(shuffled), batch_size * SORTED_TOGETHER):
        members = shuffled[begin : begin + batch_size * SORTED_TOGETHER]
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
