"""Networks that read a user's items and predict the next one: training, perplexity, ranking.

GRU4Rec and SASRec share all of it. Such a network is a module with

    input.start                      id of the start symbol, read before the first item
    states(ids, state, generator)    (T, B) ids of a window -> (T, B, H), and the state to carry on
    output                           (..., H) -> logits (..., V), with weight (V, H) and bias (V,)

so `train.train_epoch` serves it as it serves the LSTM: windows, shards, threads that change no bit.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lla.common.errors import InputError, check_integer, check_positive
from lla.common.progress import progress
from lla.common.random import StreamId, torch_stream
from lla.common.threads import thread_pool
from lla.corpus import Split
from lla.evaluate import ScoreCallback
from lla.inference.gradient import PROPOSALS, SampledSoftmax, TrainConfig, full_softmax, train_epoch
from lla.lstm import IdEmbedding, SoftmaxOutput, State
from lla.peers.training import (
    FitState,
    History,
    begin_fit,
    check_development,
    fit_epochs,
    identity_of,
)

WEIGHTS = 0  # in a stream's key where an epoch has its number, from 1 on


LANES = 64  # users side by side


LOGITS = 2**21  # logits held at once by a thread, 8 MiB


@dataclass(frozen=True)
class SequenceConfig:
    """How a network is trained, whichever it is.

    Attributes
    ----------
    dropout : share of units dropped
    learning_rate, batch_size : of Adam; users a batch
    window : events predicted at once
    n_samples : items sampled for the softmax's normaliser; 0 computes all of it
    proposal : what they are sampled from, "log_uniform" or "unigram"
    n_epochs : passes over the users at most
    patience : stop after so many epochs without a better development perplexity
    """

    dropout: float = 0.3
    learning_rate: float = 2e-3
    batch_size: int = 32
    window: int = 50
    n_samples: int = 0
    proposal: str = "log_uniform"
    n_epochs: int = 60
    patience: int = 4

    def __post_init__(self) -> None:
        for name in ("batch_size", "window", "n_epochs", "patience"):
            check_integer(name, getattr(self, name))
        check_integer("n_samples", self.n_samples, least=0)
        check_positive("learning_rate", self.learning_rate)
        if not 0 <= self.dropout < 1:
            raise InputError(f"dropout is {self.dropout}: give a share from 0 to below 1")
        if self.proposal not in PROPOSALS:
            raise InputError(f"proposal is {self.proposal!r}: choose one of {', '.join(PROPOSALS)}")

    def training(self) -> TrainConfig:
        """The same as `train_epoch` takes it."""
        names = ("learning_rate", "batch_size", "window", "n_samples", "proposal")
        return TrainConfig(**{name: getattr(self, name) for name in names})


class TiedOutput(nn.Module):
    """The items' own embedding read backwards: logit_v = e_v · s + b_v."""

    def __init__(self, embedding: IdEmbedding) -> None:
        super().__init__()
        self._embedding = (embedding,)  # in a tuple, so that its weights are counted once
        self.bias = nn.Parameter(torch.empty(embedding.start))

    @property
    def weight(self) -> Tensor:
        """(V, H): all rows but the start symbol's."""
        return self._embedding[0].weight[:-1]

    def forward(self, states: Tensor) -> Tensor:
        return F.linear(states, self.weight, self.bias)  # (..., V)


def popularity(split: Split) -> np.ndarray:
    """(V,) share of each item in the observed part, one added: what networks predict at first."""
    counts = np.bincount(split.observed.words, minlength=split.corpus.n_words) + 1.0
    return counts / counts.sum()


def drop(x: Tensor, dropout: float, generator: torch.Generator | None) -> Tensor:
    """Dropout whose masks come from `generator`; without one, none."""
    if generator is None or dropout == 0.0:
        return x
    # Uniforms and a comparison take a third of the time of Torch's Bernoulli draws.
    kept = torch.empty(x.shape).uniform_(generator=generator).ge_(dropout)
    return x * kept.div_(1.0 - dropout)


def fit_sequence(
    network: nn.Module,
    split: Split,
    config: SequenceConfig,
    seed: int,
    use: StreamId,
    checkpoint: Path | None = None,
    on_iteration: Callable[[FitState], None] | None = None,
    n_threads: int | None = None,
) -> tuple[nn.Module, History]:
    """Train on the observed part of every user's events, from the network as it was drawn.

    Parameters
    ----------
    split : the development users' held-out events decide when to stop
    use : names the streams of batch order, dropout and sampled items, and the checkpoint
    checkpoint : file to go on from, and to save to after every epoch
    n_threads : changes no result

    Returns
    -------
    network, history : that of the best epoch; one row an epoch (see `FitState`)

    Raises
    ------
    InputError
        When no development user has a held-out event, or the checkpoint is broken.
    FloatingPointError
        When training diverges.
    """
    check_development(split)
    part, name = split.restrict(split.development), use.name.lower()
    state, training = begin_fit(network, config.learning_rate), config.training()
    words, offsets = split.observed.words, split.observed.offsets
    objective = full_softmax
    if config.n_samples:
        options = (split.corpus.n_words, config.n_samples, config.proposal)
        objective = SampledSoftmax.of_targets(words, *options)
    with thread_pool(n_threads) as pool:

        def train(epoch: int) -> float:
            data, key = (words, words, offsets), (use, epoch)
            return train_epoch(
                network,
                state.optimizer,
                *data,
                training,
                seed,
                key,
                pool,
                description=f"{name}, epoch {epoch}",
                objective=objective,
            )

        return fit_epochs(
            state,
            config,
            identity_of(name, split, config, seed),
            train,
            lambda: (_score(network, part, pool), part),
            f"{name}, seed {seed}",
            checkpoint,
            on_iteration,
        )


def score_sequence(network: nn.Module, split: Split, n_threads: int | None = None) -> np.ndarray:
    """log p(held-out events) of every user, each event given all before it, (D,) nats."""
    with thread_pool(n_threads) as pool:
        return _score(network, split, pool)


def next_items_sequence(
    network: nn.Module,
    split: Split,
    visit: ScoreCallback,
    n_threads: int | None = None,
) -> None:
    """Call `visit(positions (B,), logits (B, V) float32)` for all held-out events, any order.

    `visit` is called from several threads, never twice for a position.
    """
    with thread_pool(n_threads) as pool:
        _read(network, split, pool, lambda positions, logits: visit(positions, logits.numpy()))


def _score(network: nn.Module, split: Split, pool: ThreadPoolExecutor) -> np.ndarray:
    log_p = np.zeros(split.corpus.n_tokens)

    def visit(positions: np.ndarray, logits: Tensor) -> None:
        targets = torch.from_numpy(split.corpus.words[positions].astype(np.int64))
        log_p[positions] = -F.cross_entropy(logits, targets, reduction="none").numpy()

    _read(network, split, pool, visit)
    return split.sum_held_out(log_p)


def _read(
    network: nn.Module,
    split: Split,
    pool: ThreadPoolExecutor,
    visit: Callable[[np.ndarray, Tensor], None],
) -> None:
    """Logits of all held-out events. Groups hang on the lengths alone, so threads change no bit."""
    users = np.flatnonzero(split.n_held_out)
    order = users[np.argsort(-split.corpus.lengths[users], kind="stable")]
    groups = [order[i : i + LANES] for i in range(0, len(order), LANES)]
    tasks = [pool.submit(_read_group, network, split, group, visit) for group in groups]
    for task in progress(tasks, description="reading", unit="group"):
        task.result()


@torch.no_grad()
def _read_group(
    network: nn.Module,
    split: Split,
    users: np.ndarray,
    visit: Callable[[np.ndarray, Tensor], None],
) -> None:
    """Users sorted by falling length, window after window; what follows an item changes nothing."""
    corpus, window = split.corpus, network.config.window
    lengths, starts = corpus.lengths[users], corpus.offsets[users]
    items = np.full((lengths[0], len(users)), network.input.start, np.int64)
    for lane, (d, length) in enumerate(zip(users, lengths, strict=True)):
        items[1:length, lane] = corpus.document(d)[:-1]
    time = np.arange(lengths[0])[:, None]
    held_out = (time >= split.n_observed[users]) & (time < lengths)  # (T, B)
    ids, state, step = torch.from_numpy(items), None, max(1, LOGITS // corpus.n_words)
    for begin in range(0, lengths[0], window):
        lanes = int((lengths > begin).sum())
        span = slice(begin, begin + window)
        state = state and (state[0][:, :lanes].contiguous(), state[1][:, :lanes].contiguous())
        states, state = network.states(ids[span, :lanes], state, None)  # (T, B, H)
        asked = held_out[span, :lanes]
        positions = (starts[:lanes] + time[span])[asked]
        states = states[torch.from_numpy(asked)]  # (M, H)
        for i in range(0, len(positions), step):
            visit(positions[i : i + step], network.output(states[i : i + step]))


@dataclass(frozen=True)
class GRU4RecConfig(SequenceConfig):
    """What a fit depends on, the seed apart.

    Attributes
    ----------
    embedding_size, hidden_size : E and H
    tied : read the items' embedding backwards as output weights, which takes E = H
    """

    embedding_size: int = 64
    hidden_size: int = 128
    tied: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("embedding_size", "hidden_size"):
            check_integer(name, getattr(self, name))
        if self.tied and self.embedding_size != self.hidden_size:
            raise InputError(
                f"embedding_size is {self.embedding_size}, hidden_size {self.hidden_size}: "
                "tied weights need both the same"
            )


class GRU4Rec(nn.Module):
    """Embedding, GRU, output; weights are drawn from `generator`.

    Parameters
    ----------
    probability : (V,) what it predicts before it has learnt anything, about
    """

    def __init__(
        self, config: GRU4RecConfig, probability: np.ndarray, generator: torch.Generator
    ) -> None:
        super().__init__()
        self.config, n_items = config, len(probability)
        with torch.device("meta"):  # the default initialisers would draw from the global generator
            self.input = IdEmbedding(n_items, config.embedding_size)
            self.gru = nn.GRU(config.embedding_size, config.hidden_size)
            self.output = (
                TiedOutput(self.input)
                if config.tied
                else SoftmaxOutput(config.hidden_size, n_items)
            )
        self.to_empty(device="cpu")
        bound = config.hidden_size**-0.5
        with torch.no_grad():
            for name, parameter in self.named_parameters():
                if "bias" in name:
                    parameter.zero_()
                else:
                    parameter.uniform_(-bound, bound, generator=generator)
            self.output.bias.copy_(torch.from_numpy(np.log(probability)))

    def states(
        self, ids: Tensor, state: State | None = None, generator: torch.Generator | None = None
    ) -> tuple[Tensor, State]:
        """What the output reads, (T, B, H), and the state for the next window.

        Parameters
        ----------
        ids : (T, B) items w_{t-1}, the start symbol at a history's beginning
        state : h (1, B, H), and nothing where an LSTM has its cell; None is s_0 = 0
        generator : where dropout masks come from; None means no dropout
        """
        embedded = self._drop(self.input(ids), generator)  # (T, B, E)
        states, h = self.gru(embedded, state and state[0])  # (T, B, H)
        return self._drop(states, generator), (h, h[..., :0])

    def _drop(self, x: Tensor, generator: torch.Generator | None) -> Tensor:
        mask = drop(torch.ones(1, *x.shape[1:]), self.config.dropout, generator)
        return x * mask  # one mask for all T steps

    def n_parameters(self) -> int:
        """Number of trained numbers."""
        return sum(p.numel() for p in self.parameters())


def fit_gru4rec(
    split: Split,
    config: GRU4RecConfig,
    seed: int,
    checkpoint: Path | None = None,
    on_iteration: Callable[[FitState], None] | None = None,
    n_threads: int | None = None,
) -> tuple[GRU4Rec, History]:
    """Train on the observed part of every user's events (see `sequence.fit_sequence`)."""
    network = GRU4Rec(config, popularity(split), torch_stream(seed, StreamId.GRU4REC, WEIGHTS))
    about = (seed, StreamId.GRU4REC, checkpoint, on_iteration, n_threads)
    return fit_sequence(network, split, config, *about)
