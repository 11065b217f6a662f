"""Algorithm 2 of Ko et al. (2016) with users side by side: blocks of events, state carried on."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import reduce

import numpy as np
import torch
from torch import Tensor

from lla.common.errors import diverged
from lla.common.progress import progress
from lla.common.random import stream, torch_stream
from lla.corpus import Corpus
from lla.inference.gradient import PAD, Shard, make_batches, pad_shard
from lla.inference.objectives import Objective
from lla.inference.users import RowOptimizer
from lla.peers.crnn.network import CRNN, Reader

N_SHARDS = 2  # parts of a batch whose gradients are computed separately; changes the rounding
CLIP = 1.0  # largest norm of a gradient: of what all users share, and of one user's own


@dataclass
class Lanes:
    """Part of a batch: its users, sorted by falling length.

    Attributes
    ----------
    shard : their events, and their states at the start of the next window
    rows : (B,) of the users' own numbers
    generator : of dropout masks and sampled items
    """

    shard: Shard
    rows: np.ndarray
    generator: torch.Generator

    def running(self, begin: int) -> int:
        """How many of the users have events from `begin` on: they are the first."""
        return int((self.shard.lengths > begin).sum())


def train_epoch(
    network: CRNN,
    optimizer: RowOptimizer,
    corpus: Corpus,
    rows: np.ndarray,
    seed: int,
    key: tuple[int, ...],
    pool: ThreadPoolExecutor,
    *,
    objective: Objective,
    description: str,
) -> float:
    """One pass over all users; the mean of -log p, nats per event.

    Parameters
    ----------
    rows : (D,) the row of `network.own` of every document's user
    seed, key : name the streams of batch order, dropout masks and sampled items
    objective : -log p(target) summed over events

    Raises
    ------
    NumericalError
        When training diverges.
    """
    config, words, offsets = network.config, corpus.words, corpus.offsets
    n_events = np.bincount(rows, corpus.lengths)  # per row
    batches = make_batches(corpus.lengths, config.batch_size, stream(seed, *key))
    total = 0.0
    for number, documents in enumerate(progress(batches, description=description, unit="batch")):
        parts = [documents[i::N_SHARDS] for i in range(min(N_SHARDS, len(documents)))]
        batch = [
            Lanes(
                pad_shard(network.input.start, words, words, offsets, part),
                rows[part],
                torch_stream(seed, *key, number, i),
            )
            for i, part in enumerate(parts)
        ]
        longest = max(int(lanes.shard.lengths[0]) for lanes in batch)
        for begin in range(0, longest, config.window):
            window = slice(begin, begin + config.window)
            total += _train_window(network, optimizer, batch, window, n_events, objective, pool)
    loss = total / corpus.n_tokens
    # Clipped gradients stay finite while the weights run away; chance has log V.
    if not loss <= 2 * np.log(corpus.n_words) + 5:
        raise diverged(config.learning_rate, f"loss {loss:.3g} nats per event")
    return loss


def _train_window(
    network: CRNN,
    optimizer: RowOptimizer,
    batch: Sequence[Lanes],
    window: slice,
    n_events: np.ndarray,
    objective: Objective,
    pool: ThreadPoolExecutor,
) -> float:
    """One step from the events of one window; their -log p, summed."""
    n_running = [lanes.running(window.start) for lanes in batch]
    running = np.concatenate([lanes.rows[:n] for lanes, n in zip(batch, n_running, strict=True)])
    lengths = np.concatenate(
        [lanes.shard.lengths[:n] for lanes, n in zip(batch, n_running, strict=True)]
    )
    visited, places = np.unique(running, return_inverse=True)  # two documents may be one user's
    own = None
    if network.own is not None:
        own = network.own.detach()[torch.from_numpy(visited)].requires_grad_()
    ends = np.cumsum(n_running)
    tasks = [
        pool.submit(window_gradient, network, objective, lanes, window, own, places[end - n : end])
        for lanes, n, end in zip(batch, n_running, ends, strict=True)
        if n
    ]
    results = [task.result() for task in tasks]
    gradients = [reduce(torch.add, parts) for parts in zip(*(r[1] for r in results), strict=True)]
    n_read = np.minimum(lengths - window.start, window.stop - window.start)
    if own is not None:
        per_user = np.bincount(places, n_read)
        _step_own(network, optimizer, gradients.pop(), visited, per_user, n_events[visited])
    _step_common(network, optimizer, gradients, int(n_read.sum()))
    return sum(result[0] for result in results)


def _step_own(
    network: CRNN,
    optimizer: RowOptimizer,
    gradient: Tensor,
    rows: np.ndarray,
    n_read: np.ndarray,
    n_events: np.ndarray,
) -> None:
    """One step of the visited users' own numbers.

    Algorithm 2 takes users one by one, so a user's gradient is the mean over her own events.

    Parameters
    ----------
    gradient : (R, ...) summed over events
    rows, n_read, n_events : (R,) of `network.own`; events of the window, and of all training
    """
    config, own = network.config, network.own
    assert own is not None
    gradient = gradient / torch.from_numpy(n_read).float().view(-1, 1, 1)
    norms = torch.linalg.vector_norm(gradient, dim=(1, 2), keepdim=True)
    _check_norm(norms.max(), config.learning_rate)
    penalty = getattr(config, "penalty", 0.0)
    optimizer.update(
        own,
        gradient.mul_((CLIP / norms.clamp(min=1e-30)).clamp(max=1.0)),
        torch.from_numpy(rows),
        rate=config.user_rate,
        precision=torch.from_numpy(penalty / n_events).float() if penalty else None,
    )


def _step_common(
    network: CRNN, optimizer: RowOptimizer, gradients: list[Tensor], n_read: int
) -> None:
    """One step of what users share, from gradients summed over `n_read` events."""
    for gradient in gradients:
        gradient.div_(n_read)
    norm = torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(g) for g in gradients]))
    _check_norm(norm, network.config.learning_rate)
    clip = (CLIP / norm.clamp(min=1e-30)).clamp(max=1.0)
    for parameter, gradient in zip(network.common_parameters(), gradients, strict=True):
        optimizer.update(parameter, gradient.mul_(clip))


def window_gradient(
    network: CRNN,
    objective: Objective,
    lanes: Lanes,
    window: slice,
    own: Tensor | None,
    places: np.ndarray,
) -> tuple[float, list[Tensor]]:
    """Loss of one window, and its gradients; moves the lanes' state on.

    Parameters
    ----------
    own : (R, ...) numbers of the users that the whole batch visits; None for P-GRU
    places : (B',) of the running lanes' users among them

    Returns
    -------
    loss, gradients : the sum of -log p; of `network.common_parameters()` and of `own`, if there is
        one
    """
    shard, n = lanes.shard, len(places)
    targets = shard.targets[window, :n]
    counted = targets != PAD
    state = shard.state and (shard.state[0][:, :n], shard.state[1][:, :n])
    wanted = list[Tensor](network.common_parameters()) + ([] if own is None else [own])
    with torch.enable_grad():
        lane_own = None if own is None else own.index_select(0, torch.from_numpy(places))
        reader = Reader(network, network.matrices(lane_own))
        states, (h, c) = reader.states(shard.inputs[window, :n], state, lanes.generator)
        states = states.flatten(0, 1)  # (T·B, H)
        if not counted.all():
            states = states.index_select(0, counted.flatten().nonzero()[:, 0])
        loss = objective(network, states, targets[counted], lanes.generator)  # type: ignore[arg-type]
        gradients = torch.autograd.grad(loss, wanted)
    shard.state = (h.detach(), c.detach())
    return loss.item(), list(gradients)


def _check_norm(norm: Tensor, learning_rate: float) -> None:
    if not torch.isfinite(norm):
        raise diverged(learning_rate, f"gradient norm {norm.item()}")
