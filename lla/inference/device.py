"""The exact SE-step on a Torch device: the whole loop in Torch, so that a GPU can run it.

The same conditional as `filter.infer` with one particle (equation 2), drawn from the same
uniforms by inversion of the running sum over topics; only the rounding of that sum differs. On a
GPU the time step is captured once as a CUDA graph and replayed: its products are small, and
launching them one by one would cost more than running them.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from lla.common.errors import InputError
from lla.common.parallel import ALONE, Workers
from lla.common.progress import progress
from lla.corpus import Corpus
from lla.inference.batch import (
    Stepper,
    check_pass,
    check_users,
    columns,
    document_uniforms,
    group_documents,
    run_shared,
    running_lanes,
)
from lla.inference.emission import SharedEmission
from lla.inference.filter import FilterResult, check_result
from lla.lstm import Network, State

N_LANES = 4096  # documents in lock-step


WINDOW = 64  # time steps whose words and uniforms are on the device at once


def find_device(name: str) -> torch.device:
    """The Torch device of this name.

    Raises
    ------
    InputError
        When it is not available.
    """
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, TypeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"device is {name!r}: not available ({reason}); give 'cpu'") from None
    return device


@contextmanager
def on_device(
    network: Network, device: torch.device | None, optimizer: torch.optim.Adam | None = None
) -> Iterator[None]:
    """Have the network, and the optimiser's moments, on `device`; afterwards on the CPU again.

    None leaves them where they are.
    """
    if device is None:
        yield
        return
    move(network, optimizer, device)
    try:
        yield
    finally:
        move(network, optimizer, torch.device("cpu"))


def move(network: Network, optimizer: torch.optim.Adam | None, device: torch.device) -> None:
    """Move the network's weights, and the optimiser's moments, to `device`."""
    network.to(device)
    if optimizer is None:
        return
    # The fused Adam counts its steps where the weights are, the other one on the CPU; a user's own
    # steps are counted in a vector.
    for moments in optimizer.state.values():
        for name, value in moments.items():
            if name != "step" or optimizer.defaults["fused"] or value.dim():
                moments[name] = value.to(device)


@torch.no_grad()
def draw_topics(logits: Tensor, likelihood: Tensor, uniforms: Tensor) -> Tensor:
    """Topics from softmax(logits) · likelihood, one per lane, by inversion, without a normaliser.

    Parameters
    ----------
    logits, likelihood : (L, K)
    uniforms : (L, 1) in [0, 1)

    Returns
    -------
    (L,) int64; never a topic of weight zero, unless all of a lane's are
    """
    weights = (logits - logits.amax(dim=1, keepdim=True)).exp_().mul_(likelihood)  # (L, K)
    running = weights.cumsum_(dim=1)
    total = running[:, -1:]
    found = torch.searchsorted(running, (uniforms * total).contiguous(), right=True)
    # Rounding can lift the target to the total: no draw beyond the last topic of positive weight.
    last = torch.searchsorted(running, total.contiguous())
    return torch.minimum(found, last)[:, 0]


def dense_topics(
    network: Network,
    emission: SharedEmission,
    corpus: Corpus,
    *,
    seed: int,
    key: tuple[int, ...],
    workers: Workers = ALONE,
    description: str = "SE-step",
    n_lanes: int = N_LANES,
    out: FilterResult | None = None,
    users: np.ndarray | None = None,
) -> FilterResult:
    """Draw every z_t from θ_tk φ_wk given z_<t, on the device of `network`.

    Document d draws its uniforms from the stream (seed, *key, d), as in the particle filter; there
    is no log-evidence. `users` (D,) as in the filter.
    """
    check_pass(network.config, emission.shape, corpus)
    check_users(users, corpus.n_documents, network.config)
    stepper = Stepper(network, users=users)
    phi = emission.phi.to(stepper.table.device)
    result = out or FilterResult(np.zeros(corpus.n_tokens, np.int32), None)
    check_result(result, corpus)

    def run(groups: list[np.ndarray]) -> Iterator[int]:
        for documents in progress(groups, description=description, unit="group"):
            drawn = _draw_group(stepper, phi, corpus, documents, (seed, *key))
            yield result.store(corpus, documents, drawn, np.zeros(drawn.shape))

    groups, arrays = group_documents(corpus, n_lanes), (result.topics, result.log_evidence)
    (changed,) = run_shared(run, groups, corpus, workers, arrays)
    return replace(result, changed=int(changed))


def _draw_group(
    stepper: Stepper,
    phi: Tensor,
    corpus: Corpus,
    documents: np.ndarray,
    key: tuple[int, ...],
) -> np.ndarray:
    """Topics (T, L) of a group of documents, window after window."""
    lengths = corpus.lengths[documents]
    running = running_lanes(lengths)
    words = columns(corpus.words, corpus.offsets, documents)
    # Two uniforms per token, as the filter of one particle draws them; resampling needs none here.
    uniforms = document_uniforms(documents, lengths, 2, key)[0][:, :, 0]
    drawn = np.empty(words.shape, np.int64)
    step = _Step(stepper, phi, documents)
    for first in range(0, len(words), WINDOW):
        window, n_lanes = slice(first, first + WINDOW), running[first]
        window_words = torch.from_numpy(words[window, :n_lanes]).to(phi.device)
        window_uniforms = torch.from_numpy(uniforms[window, :n_lanes]).to(phi.device)
        drawn[window, :n_lanes] = step.run(window_words, window_uniforms).cpu().numpy()
    return drawn


class _Step:
    """States of a group's lanes and their update: words and uniforms in, topics out.

    Buffers keep their addresses, so that a CUDA graph of the step can be replayed; a graph has a
    fixed number of lanes, so on a GPU every lane runs as long as the longest of its group.
    """

    def __init__(self, stepper: Stepper, phi: Tensor, documents: np.ndarray) -> None:
        device, n_lanes = phi.device, len(documents)
        self.stepper, self.phi = stepper, phi
        self.state: State = stepper.initial_state(n_lanes, documents)  # each (L, H)
        self.word = torch.zeros(n_lanes, dtype=torch.int64, device=device)
        self.uniform = torch.zeros(n_lanes, 1, device=device)
        self.topic = torch.full_like(self.word, stepper.start)
        self.replay: Callable[[], None] | None = None
        if device.type == "cuda":
            self.replay = self._capture(documents)

    def run(self, words: Tensor, uniforms: Tensor) -> Tensor:
        """Topics (T, L') after the first L' lanes have read `words` and `uniforms`, (T, L')."""
        n_lanes = words.shape[1]
        drawn = torch.empty_like(words)
        for t in range(len(words)):
            self.word[:n_lanes].copy_(words[t])
            self.uniform[:n_lanes, 0].copy_(uniforms[t])
            if self.replay:
                self.replay()
            else:
                self._draw(n_lanes)
            drawn[t] = self.topic[:n_lanes]
        return drawn

    @torch.no_grad()
    def _draw(self, n_lanes: int) -> None:
        h, c = (part[:n_lanes] for part in self.state)
        self.stepper.advance(self.topic[:n_lanes], h, c)
        logits = self.stepper.logits(h)  # (L', K)
        likelihood = self.phi.index_select(0, self.word[:n_lanes])
        self.topic[:n_lanes] = draw_topics(logits, likelihood, self.uniform[:n_lanes])

    def _capture(self, documents: np.ndarray) -> Callable[[], None]:
        n_lanes = len(self.word)
        side = torch.cuda.Stream()  # CUDA requires a warm-up on a side stream before the capture
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            self._draw(n_lanes)
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self._draw(n_lanes)
        for part, first in zip(
            self.state, self.stepper.initial_state(n_lanes, documents), strict=True
        ):
            part.copy_(first)
        self.topic.fill_(self.stepper.start)
        return graph.replay
