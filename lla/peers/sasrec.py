"""SASRec (Kang & McAuley, 2018): causal self-attention over the last events of a user.

    x ← x + drop(g(norm(x))) for g = attention, then a two-layer feed-forward net, in each block
    p(w_t | w_<t) = softmax(e(·) · norm(x_t) + b),   e the items' embedding

Differences from the paper. The loss is the cross-entropy over all items (``n_samples=0``, the
default), instead of a binary loss with one negative item per event. Klenitskiy & Vasilev (RecSys
2023, "Turning Dross Into Gold Loss") show that SASRec is at its best with this loss, ahead of
BERT4Rec, that many sampled negatives come close, and that one is what held the original back; and
only this loss has a perplexity. The sampled softmax here differs from theirs: its items are drawn
log-uniformly by rank, not uniformly, once per window, and their logits are corrected for it.
Development perplexity, not NDCG, decides when to stop. Keys and values are normalised like queries
(the formula of the paper, not its code). b starts at the items' popularity. Events are predicted in
windows of W, and each window also reads the one before it: an event sees at least W and fewer than
2W of the events before it, or all if there are fewer; the paper's sliding window would see 2W - 1
at W times the cost. Positions are learned by their place in the two windows; a history's first
window takes the place of the second.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from lla.common.eager import Uninitialised
from lla.common.errors import InputError, check_each, check_integer
from lla.common.random import StreamId, torch_stream
from lla.corpus import Split
from lla.lstm import IdEmbedding, State
from lla.peers.iterations import check_arguments
from lla.peers.sequence import FittedSequence, SequenceConfig, TiedOutput, drop, fit_sequence
from lla.peers.training import WEIGHTS, TrainingState, popularity

SCALE = 0.02  # standard deviation of embeddings at the start


Drop = Callable[[Tensor], Tensor]


@dataclass(frozen=True, repr=False)
class SASRecConfig(SequenceConfig):
    """Everything a fit depends on but the seed.

    Attributes
    ----------
    hidden_size : H, of the embedding and of every layer
    n_blocks, n_heads : blocks of attention and feed-forward net; heads per block, a divisor of H
    """

    hidden_size: int = 64
    n_blocks: int = 2
    n_heads: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        check_each(self, check_integer, "hidden_size", "n_blocks", "n_heads")
        if self.hidden_size % self.n_heads:
            raise InputError(f"n_heads is {self.n_heads}: give a divisor of {self.hidden_size}")


class Block(nn.Module):
    """One layer of causal attention and one feed-forward net, each with a residual connection."""

    def __init__(self, size: int, n_heads: int) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.attention_norm, self.feed_norm = nn.LayerNorm(size), nn.LayerNorm(size)
        self.query, self.key, self.value, self.joined = (nn.Linear(size, size) for _ in range(4))
        self.feed_in, self.feed_out = nn.Linear(size, size), nn.Linear(size, size)

    def forward(self, x: Tensor, n_last: int, drop: Drop) -> Tensor:
        """The last `n_last` steps of x (L, B, H) after this block, (n_last, B, H)."""
        n_read, last = len(x), x[-n_last:]
        normed = self.attention_norm(x)
        query = self._heads(self.query(normed[-n_last:]))  # (B, heads, n_last, H/heads)
        key, value = self._heads(self.key(normed)), self._heads(self.value(normed))
        logits = query @ key.transpose(2, 3) / math.sqrt(key.shape[3])  # (B, heads, n_last, L)
        later = torch.ones(n_last, n_read, dtype=torch.bool).triu(n_read - n_last + 1)
        weights = drop(logits.masked_fill(later, -torch.inf).softmax(dim=3))
        joined = (weights @ value).permute(2, 0, 1, 3).flatten(2)  # (n_last, B, H)
        x = last + drop(self.joined(joined))
        return x + drop(self.feed_out(drop(self.feed_in(self.feed_norm(x)).relu())))

    def _heads(self, x: Tensor) -> Tensor:
        return x.unflatten(2, (self.n_heads, -1)).permute(1, 2, 0, 3)  # (B, heads, L, H/heads)


class SASRec(nn.Module):
    """Embedding and positions, blocks, tied output; weights are drawn from `generator`.

    Parameters
    ----------
    probability : (V,) what an untrained network roughly predicts
    """

    def __init__(
        self, config: SASRecConfig, probability: np.ndarray, generator: torch.Generator
    ) -> None:
        super().__init__()
        self.config, size = config, config.hidden_size
        with Uninitialised():
            self.input = IdEmbedding(len(probability), size)
            self.positions = nn.Parameter(torch.empty(2 * config.window, size))
            self.blocks = nn.ModuleList(Block(size, config.n_heads) for _ in range(config.n_blocks))
            self.norm = nn.LayerNorm(size)
            self.output = TiedOutput(self.input)
        with torch.no_grad():
            for name, parameter in self.named_parameters():
                if name.endswith("bias"):
                    parameter.zero_()
                elif "norm" in name:
                    parameter.fill_(1.0)
                elif name in ("input.weight", "positions"):
                    parameter.normal_(0, SCALE, generator=generator)
                else:
                    nn.init.xavier_uniform_(parameter, generator=generator)
            self.output.bias.copy_(torch.from_numpy(np.log(probability)))

    def states(
        self, ids: Tensor, state: State | None = None, generator: torch.Generator | None = None
    ) -> tuple[Tensor, State]:
        """What the output reads, (T, B, H), and the state for the next window.

        Parameters
        ----------
        ids : (T, B) items w_{t-1}, T at most W; the start symbol at a history's beginning
        state : the (W, B) ids of the window before, and an empty tensor; None at the beginning
        generator : of dropout masks; None means no dropout
        """
        window, n_last = self.config.window, len(ids)
        read = ids if state is None else torch.cat([state[0], ids])  # (L, B)
        first = window + n_last - len(read)  # 0, or W where nothing stands before
        places = self.positions[first : first + len(read), None]  # (L, 1, H)

        def dropped(x: Tensor) -> Tensor:
            return drop(x, self.config.dropout, generator)

        x = dropped(self.input(read) * math.sqrt(self.config.hidden_size) + places)  # (L, B, H)
        for block in self.blocks[:-1]:
            x = block(x, len(read), dropped)
        x = self.blocks[-1](x, n_last, dropped)  # (T, B, H)
        return self.norm(x), (ids, ids[:0])


def fit_sasrec(
    split: Split,
    config: SASRecConfig,
    seed: int,
    *,
    start: None = None,
    checkpoint: str | Path | None = None,
    on_iteration: Callable[[TrainingState], None] | None = None,
    n_threads: int | None = None,
) -> FittedSequence:
    """Train on the observed part of every user's events (arguments: `lla.peers`)."""
    fit = check_arguments(
        split, config, SASRecConfig, seed, checkpoint=checkpoint, on_iteration=on_iteration
    )
    stream_id = StreamId.SASREC
    network = SASRec(config, popularity(split), torch_stream(fit.seed, stream_id, WEIGHTS))
    return fit_sequence(network, fit, name="sasrec", stream_id=stream_id, n_threads=n_threads)
