"""The exact SE-step on a Torch device: all of its loop in Torch, so that a GPU can run it.

The same conditional as `particles.filter_topics` with one particle (equation 2), drawn from the
same uniforms by inversion of the running sum over topics; what differs is the rounding of that
sum. On a GPU the step over time is captured once as a CUDA graph and replayed, for its products
are small and launching them one by one would cost more than running them.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from lla.common.errors import InputError
from lla.common.progress import progress
from lla.common.random import stream
from lla.corpus import Corpus
from lla.inference.emission import SharedEmission
from lla.inference.filter import FilterResult
from lla.inference.stepper import Stepper
from lla.lstm import Network, State

N_LANES = 4096  # documents in lock-step


CHUNK = 64  # time steps whose words and uniforms lie on the device at once


def find_device(name: str) -> torch.device:
    """The Torch device of this name.

    Raises
    ------
    InputError
        When there is no such device here.
    """
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"device is {name!r}: not to be had here ({reason}); give 'cpu'") from None
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
    """Put the network's weights, and the optimiser's moments, on `device`."""
    network.to(device)
    if optimizer is None:
        return
    # The fused Adam counts its steps where the weights are, the other one on the CPU.
    counted = ("step",) if optimizer.defaults["fused"] else ()
    for moments in optimizer.state.values():
        for name in ("exp_avg", "exp_avg_sq", *counted):
            moments[name] = moments[name].to(device)


@torch.no_grad()
def draw_topics(logits: Tensor, likelihood: Tensor, uniforms: Tensor) -> Tensor:
    """Topics from softmax(logits) · likelihood, one a lane, by inversion; no normaliser is needed.

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
    # Rounding can lift the target to the total: the last topic that adds to it is the last to draw.
    last = torch.searchsorted(running, total.contiguous())
    return torch.minimum(found, last)[:, 0]


def dense_topics(
    network: Network,
    emission: SharedEmission,
    corpus: Corpus,
    seed: int,
    key: tuple[int, ...],
    description: str = "SE-step",
    n_lanes: int = N_LANES,
    into: FilterResult | None = None,
) -> FilterResult:
    """Draw every z_t from θ_tk φ_wk given z_<t, on the device of `network`.

    Document d draws its uniforms from the stream (seed, *key, d), as the particle filter does. What
    is drawn goes `into` arrays at hand; there is no log-evidence.
    """
    stepper = Stepper(network)
    phi = emission.phi.to(stepper.table.device)
    out = into or FilterResult(np.zeros(corpus.n_tokens, np.int32), None)
    order, changed = np.argsort(-corpus.lengths, kind="stable"), 0
    groups = [order[i : i + n_lanes] for i in range(0, len(order), n_lanes)]
    for documents in progress(groups, description=description, unit="group"):
        drawn = _draw_group(stepper, phi, corpus, documents, (seed, *key))
        changed += out.put(corpus, documents, drawn, np.zeros(drawn.shape))
    return replace(out, changed=changed)


def _draw_group(
    stepper: Stepper,
    phi: Tensor,
    corpus: Corpus,
    documents: np.ndarray,
    key: tuple[int, ...],
) -> np.ndarray:
    """Topics (T, L) of documents sorted by falling length, a chunk of time steps after another."""
    lengths, device = corpus.lengths[documents], phi.device
    words = np.zeros((lengths[0], len(documents)), np.int64)
    uniforms = np.zeros((lengths[0], len(documents)), np.float32)
    for lane, (d, length) in enumerate(zip(documents, lengths, strict=True)):
        words[:length, lane] = corpus.document(d)
        uniforms[:length, lane] = stream(*key, int(d)).random((length, 2), np.float32)[:, 0]
    drawn = np.empty(words.shape, np.int64)
    step = _Step(stepper, phi, len(documents))
    for begin in range(0, int(lengths[0]), CHUNK):
        span = slice(begin, begin + CHUNK)
        lanes = int((lengths > begin).sum())
        w, u = (torch.from_numpy(x[span, :lanes]).to(device) for x in (words, uniforms))
        drawn[span, :lanes] = step.run(w, u).cpu().numpy()
    return drawn


class _Step:
    """States of a group's lanes, and the step that moves them: words and uniforms in, topics out.

    Buffers stay where they are, so that a CUDA graph of the step can be replayed; a graph has a
    fixed number of lanes, so there every lane runs as long as the longest of its group.
    """

    def __init__(self, stepper: Stepper, phi: Tensor, n_lanes: int) -> None:
        device = phi.device
        self.stepper, self.phi = stepper, phi
        self.state: State = stepper.begin(n_lanes)  # each (L, H)
        self.word = torch.zeros(n_lanes, dtype=torch.int64, device=device)
        self.uniform = torch.zeros(n_lanes, 1, device=device)
        self.topic = torch.full_like(self.word, stepper.start)
        self.replay: Callable[[], None] | None = None
        if device.type == "cuda":
            self.replay = self._capture()

    def run(self, words: Tensor, uniforms: Tensor) -> Tensor:
        """Topics (T, L') after moving the first L' lanes over `words` and `uniforms`, (T, L')."""
        lanes = words.shape[1]
        drawn = torch.empty_like(words)
        for t in range(len(words)):
            self.word[:lanes].copy_(words[t])
            self.uniform[:lanes, 0].copy_(uniforms[t])
            if self.replay:
                self.replay()
            else:
                self._move(lanes)
            drawn[t] = self.topic[:lanes]
        return drawn

    @torch.no_grad()
    def _move(self, lanes: int) -> None:
        h, c = (part[:lanes] for part in self.state)
        self.stepper.move(self.topic[:lanes], h, c)
        logits = torch.addmm(self.stepper.bias, h, self.stepper.output)  # (L', K)
        likelihood = self.phi.index_select(0, self.word[:lanes])
        self.topic[:lanes] = draw_topics(logits, likelihood, self.uniform[:lanes])

    def _capture(self) -> Callable[[], None]:
        lanes = len(self.word)
        side = torch.cuda.Stream()  # CUDA asks for a rehearsal on a stream of its own
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            self._move(lanes)
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self._move(lanes)
        for part in self.state:
            part.zero_()
        self.topic.fill_(self.stepper.start)
        return graph.replay
