"""Networks that read a user's items and predict the next one: training, perplexity, ranking.

GRU4Rec (below) and SASRec share all of it. Such a network is a module with

    input.start                      id of the start symbol, read before the first item
    states(ids, state, generator)    (T, B) ids of a window -> (T, B, H), and the state to carry on
    output                           (..., H) -> logits (..., V), with weight (V, H) and bias (V,)

so `inference.gradient.train_epoch` trains it as it trains the LSTM: in windows and shards, with
threads that change no bit.

GRU4Rec (Hidasi et al., ICLR 2016; Hidasi & Karatzoglou, CIKM 2018), and what differs from the
authors' code. The architecture is theirs: embedding, one GRU layer, linear output; `tied` is their
constrained embedding, the form of most of their tuned settings. The loss is the cross-entropy over
all items, or a sampled softmax with log-uniform samples and their correction; theirs is the
cross-entropy over the other items of the batch and samples by a power of popularity, corrected or
not, or BPR-max, which has no probabilities and which they prefer on some data. They read sessions
side by side, one event of each per step, without a gradient into earlier steps; here a sequence is
a user's whole history, and the gradient goes back through a window. Adam in place of Adagrad;
dropout has one mask per window (Gal & Ghahramani, 2016); the output's bias begins at the items'
popularity, so that an untrained network predicts no worse than the unigram. Their published
numbers are of other data and a split by time, so they are not reproduced here: what can be checked
is the architecture, against its equations in a loop; that known orders are learned; and how losses
compare, BPR-max beside the full softmax and TOP1 behind, as they find.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lla.common.display import Configuration
from lla.common.eager import Uninitialised
from lla.common.errors import (
    InputError,
    check_each,
    check_flag,
    check_integer,
    check_positive,
    check_share,
)
from lla.common.parallel import thread_pool
from lla.common.random import StreamId, torch_stream
from lla.corpus import Split
from lla.evaluate import ScoreCallback
from lla.evaluate.perplexity import one_at_a_time
from lla.inference.batch import first_lanes, group_by_length, input_columns, run_groups
from lla.inference.config import TrainConfig
from lla.inference.gradient import train_epoch
from lla.inference.objectives import softmax_of
from lla.lstm import IdEmbedding, SoftmaxOutput, State
from lla.peers.iterations import FitArguments, check_arguments
from lla.peers.training import (
    WEIGHTS,
    FittedNetwork,
    TrainingState,
    fit_epochs,
    initial_state,
    popularity,
)

USERS = 64  # per batch of prediction
LOGITS = 2**21  # held at once by a thread, 8 MiB

# Documents (B,), read side by side -> the network that reads them.
ReaderOf = Callable[[np.ndarray], Any]


@dataclass(frozen=True, repr=False)
class SequenceConfig(Configuration):
    """How a network is trained, whatever its architecture.

    Attributes
    ----------
    dropout : share of units dropped
    learning_rate, batch_size : of Adam; users per batch
    window : events predicted at once
    n_samples : items sampled for the softmax's normaliser; 0 is the full softmax
    n_epochs : maximum number of passes over the users
    patience : stop after so many epochs without a better development perplexity
    """

    dropout: float = 0.3
    learning_rate: float = 2e-3
    batch_size: int = 32
    window: int = 50
    n_samples: int = 0
    n_epochs: int = 60
    patience: int = 4

    def __post_init__(self) -> None:
        check_each(self, check_integer, "batch_size", "window", "n_epochs", "patience")
        check_each(self, check_integer, "n_samples", least=0)
        check_each(self, check_positive, "learning_rate")
        check_each(self, check_share, "dropout")

    def training(self) -> TrainConfig:
        """The options of `train_epoch`."""
        return TrainConfig(
            learning_rate=self.learning_rate,
            batch_size=self.batch_size,
            window=self.window,
            n_samples=self.n_samples,
        )


class TiedOutput(nn.Module):
    """The items' embedding as output weights: logit_v = e_v · s + b_v."""

    def __init__(self, embedding: IdEmbedding) -> None:
        super().__init__()
        self._embedding = (embedding,)  # in a tuple, so that Torch counts its weights once
        self.bias = nn.Parameter(torch.empty(embedding.start))

    @property
    def weight(self) -> Tensor:
        """(V, H): all rows but the start symbol's."""
        return self._embedding[0].weight[:-1]

    def forward(self, states: Tensor) -> Tensor:
        return F.linear(states, self.weight, self.bias)  # (..., V)


def drop(x: Tensor, dropout: float, generator: torch.Generator | None) -> Tensor:
    """Dropout whose masks come from `generator`; None means no dropout."""
    if generator is None or dropout == 0.0:
        return x
    # Uniforms and a comparison take a third of the time of Torch's Bernoulli draws.
    kept = torch.empty(x.shape).uniform_(generator=generator).ge_(dropout)
    return x * kept.div_(1.0 - dropout)


class FittedSequence(FittedNetwork):
    """A trained network that predicts the next item."""

    def reader_of(self, split: Split) -> ReaderOf:
        """The network that reads documents of `split`: here the same for all."""
        return lambda documents: self.network

    def score(self, split: Split, *, seed: int = 0, n_threads: int | None = None) -> np.ndarray:
        """log p(held-out events) of every user, each event given all before it, (D,) nats."""
        self.check_split(split)
        with thread_pool(n_threads) as pool:
            return score_held_out(self.reader_of(split), split, pool)

    def next_items(
        self,
        split: Split,
        on_scores: ScoreCallback,
        *,
        seed: int = 0,
        n_threads: int | None = None,
    ) -> None:
        """Hand `on_scores` the logits (B, V), float32, of all held-out events, in any order."""
        self.check_split(split)
        call = one_at_a_time(on_scores)
        with thread_pool(n_threads) as pool:
            predict_held_out(
                self.reader_of(split),
                split,
                pool,
                lambda positions, logits: call(positions, logits.numpy()),
            )


def fit_sequence(
    network: Any, fit: FitArguments, *, name: str, stream_id: int, n_threads: int | None
) -> FittedSequence:
    """Train on the observed part of every user's events, from the network as it was initialised.

    Parameters
    ----------
    network : a module as above
    fit : its config is a `SequenceConfig`
    name : of the family, in its checkpoint and progress
    stream_id : first part of the keys of batch order, dropout and sampled items, a `StreamId` or
        `family_stream(name)`
    """
    split, config = fit.split, fit.config
    state = initial_state(network, config.learning_rate)
    words = split.observed.words
    objective = softmax_of(words, split.corpus.n_words, config.n_samples)
    with thread_pool(n_threads) as pool:

        def train(epoch: int) -> float:
            return train_epoch(
                network,
                state.optimizer,
                inputs=words,
                targets=words,
                offsets=split.observed.offsets,
                config=config.training(),
                seed=fit.seed,
                key=(stream_id, epoch),
                pool=pool,
                description=f"{name}, epoch {epoch}",
                objective=objective,
            )

        fit_epochs(
            state,
            fit,
            identity=fit.identity(name),
            name=name,
            train=train,
            score=lambda: score_held_out(lambda documents: network, fit.part, pool),
        )
    return FittedSequence(network, state.history, split.corpus.vocabulary)


def score_held_out(reader_of: ReaderOf, split: Split, pool: ThreadPoolExecutor) -> np.ndarray:
    """log p(held-out events) of every document, (D,) nats."""
    log_p = np.zeros(split.corpus.n_tokens)

    def look_up(positions: np.ndarray, logits: Tensor) -> None:
        targets = torch.from_numpy(split.corpus.words[positions].astype(np.int64))
        log_p[positions] = -F.cross_entropy(logits, targets, reduction="none").numpy()

    predict_held_out(reader_of, split, pool, look_up)
    return split.sum_held_out(log_p)


def predict_held_out(
    reader_of: ReaderOf,
    split: Split,
    pool: ThreadPoolExecutor,
    on_logits: Callable[[np.ndarray, Tensor], None],
) -> None:
    """Logits of all held-out events. Groups depend only on the lengths, so threads change no bit.

    Parameters
    ----------
    on_logits : called from several threads, once per position
    """
    users = np.flatnonzero(split.n_held_out)
    groups = group_by_length(split.corpus.lengths, USERS, users)
    for _ in run_groups(
        lambda group: _predict_group(reader_of(group), split, group, on_logits),
        groups,
        pool,
        "reading",
    ):
        pass


@torch.no_grad()
def _predict_group(
    network: Any,
    split: Split,
    users: np.ndarray,
    on_logits: Callable[[np.ndarray, Tensor], None],
) -> None:
    """Users sorted by decreasing length, window by window; later items change nothing before."""
    corpus, window = split.corpus, network.config.window
    lengths, starts = corpus.lengths[users], corpus.offsets[users]
    items = input_columns(corpus.words, corpus.offsets, users, network.input.start)
    time = np.arange(lengths[0])[:, None]
    held_out = (time >= split.n_observed[users]) & (time < lengths)  # (T, B)
    ids, state = torch.from_numpy(items), None
    step = max(1, LOGITS // corpus.n_words)
    for begin in range(0, lengths[0], window):
        n_active = int((lengths > begin).sum())
        span = slice(begin, begin + window)
        states, state = network.states(
            ids[span, :n_active], first_lanes(state, n_active), None
        )  # (T, B, H)
        wanted = held_out[span, :n_active]
        positions = (starts[:n_active] + time[span])[wanted]
        states = states[torch.from_numpy(wanted)]  # (M, H)
        for i in range(0, len(positions), step):
            on_logits(positions[i : i + step], network.output(states[i : i + step]))


@dataclass(frozen=True, repr=False)
class GRU4RecConfig(SequenceConfig):
    """Everything a fit depends on but the seed.

    Attributes
    ----------
    embedding_size, hidden_size : E and H
    tied : use the items' embedding as output weights, which needs E = H
    """

    embedding_size: int = 64
    hidden_size: int = 128
    tied: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_each(self, check_integer, "embedding_size", "hidden_size")
        check_each(self, check_flag, "tied")
        if self.tied and self.embedding_size != self.hidden_size:
            raise InputError(
                f"embedding_size is {self.embedding_size}, hidden_size {self.hidden_size}: "
                "tied weights need both the same"
            )


class GRU4Rec(nn.Module):
    """Embedding, GRU, output; weights are drawn from `generator`.

    Parameters
    ----------
    probability : (V,) what an untrained network roughly predicts
    """

    def __init__(
        self, config: GRU4RecConfig, probability: np.ndarray, generator: torch.Generator
    ) -> None:
        super().__init__()
        self.config, n_items = config, len(probability)
        with Uninitialised():
            self.input = IdEmbedding(n_items, config.embedding_size)
            self.gru = nn.GRU(config.embedding_size, config.hidden_size)
            self.output = (
                TiedOutput(self.input)
                if config.tied
                else SoftmaxOutput(config.hidden_size, n_items)
            )
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
        state : h (1, B, H), and an empty tensor in place of an LSTM's cell; None is s_0 = 0
        generator : of dropout masks; None means no dropout
        """
        embedded = self._drop(self.input(ids), generator)  # (T, B, E)
        states, h = self.gru(embedded, state and state[0])  # (T, B, H)
        return self._drop(states, generator), (h, h[..., :0])

    def _drop(self, x: Tensor, generator: torch.Generator | None) -> Tensor:
        mask = drop(torch.ones(1, *x.shape[1:]), self.config.dropout, generator)
        return x * mask  # one mask for all T steps


def fit_gru4rec(
    split: Split,
    config: GRU4RecConfig,
    seed: int,
    *,
    start: None = None,
    checkpoint: str | Path | None = None,
    on_iteration: Callable[[TrainingState], None] | None = None,
    n_threads: int | None = None,
) -> FittedSequence:
    """Train on the observed part of every user's events (arguments: `lla.peers`)."""
    fit = check_arguments(
        split, config, GRU4RecConfig, seed, checkpoint=checkpoint, on_iteration=on_iteration
    )
    stream_id = StreamId.GRU4REC
    network = GRU4Rec(config, popularity(split), torch_stream(fit.seed, stream_id, WEIGHTS))
    return fit_sequence(network, fit, name="gru4rec", stream_id=stream_id, n_threads=n_threads)
