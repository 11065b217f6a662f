"""A network in the manner of GRU4Rec (Hidasi et al., 2016): item embedding, GRU, all items out.

    s_t = GRU(e(w_{t-1}), s_{t-1}),   p(w_t | w_<t) = softmax(W s_t + b),   s_0 = 0

Differences from the paper, which trains on short sessions: its ranking losses are replaced by the
cross-entropy that perplexity measures, over all items or a sample of them, as its authors' later
versions offer too; the state lives through a user's whole history, with gradients cut at windows;
Adam instead of AdaGrad; one dropout mask a user and window; b starts at the items' popularity.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from lla.corpus import Split
from lla.errors import InputError, check_whole
from lla.lstm import IdEmbedding, SoftmaxOutput, State
from lla.peers.fitting import FitState, History
from lla.peers.sequence import (
    WEIGHTS,
    SequenceConfig,
    TiedOutput,
    drop,
    fit_sequence,
    popularity,
)
from lla.streams import Use, torch_stream


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
            check_whole(name, getattr(self, name))
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
    network = GRU4Rec(config, popularity(split), torch_stream(seed, Use.GRU4REC, WEIGHTS))
    about = (seed, Use.GRU4REC, checkpoint, on_iteration, n_threads)
    return fit_sequence(network, split, config, *about)
