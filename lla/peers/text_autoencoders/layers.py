"""What both autoencoders of text are made of: batches, LSTM encoders, weights, gradients."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lla.common.errors import diverged
from lla.corpus import Corpus
from lla.inference.batch import columns

CLIP = 5.0  # largest norm of a gradient
PAD = 0  # what stands past a document's end; masks say what counts


class Batch(NamedTuple):
    """Documents side by side, sorted by falling length.

    The first token of a document is given, never predicted: of a sentence it is the start symbol.

    Attributes
    ----------
    inputs, targets : (T, B) int64, all tokens but the last and all but the first
    counted : (T, B) bool, which targets are there
    lengths : (B,) int64, targets per document
    """

    inputs: Tensor
    targets: Tensor
    counted: Tensor
    lengths: Tensor

    def repeat(self, n: int) -> "Batch":
        """Every document n times, copies side by side."""
        parts = (part.repeat_interleave(n, dim=-1) for part in self)
        return Batch(*parts)


def batch_of(corpus: Corpus, documents: np.ndarray) -> Batch:
    """A batch of documents of two tokens or more, by falling length."""
    table = torch.from_numpy(columns(corpus.words, corpus.offsets, documents, fill=PAD))
    lengths = torch.from_numpy(corpus.lengths[documents] - 1)
    counted = torch.arange(len(table) - 1)[:, None] < lengths  # (T, B)
    return Batch(table[:-1], table[1:], counted, lengths)


def last_states(lstm: nn.LSTM, x: Tensor, lengths: Tensor) -> Tensor:
    """The state after the last input of every document, (B, H), from x (T, B, E).

    What stands past a document's end comes after that state and does not change it.
    """
    states, _ = lstm(x)  # (T, B, H)
    return states[lengths - 1, torch.arange(len(lengths))]


def reversed_in_time(x: Tensor, lengths: Tensor) -> Tensor:
    """x (T, B, E) with every document's own inputs in the opposite order, the rest in place."""
    time = torch.arange(len(x))[:, None]
    source = torch.where(time < lengths, lengths - 1 - time, time)  # (T, B)
    return x[source, torch.arange(x.shape[1])]


class Encoder(nn.Module):
    """The final states of an LSTM in one direction or both, (B, H) or (B, 2H).

    In both directions they are the forward state after the last word and the backward state after
    the first, not the outputs at the last position, where the backward LSTM has read one word.
    """

    def __init__(self, embedding_size: int, hidden_size: int, bidirectional: bool) -> None:
        super().__init__()
        self.forwards = nn.LSTM(embedding_size, hidden_size)
        self.backwards = nn.LSTM(embedding_size, hidden_size) if bidirectional else None
        self.output_size = hidden_size * (2 if bidirectional else 1)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """From embeddings x (T, B, E) of documents of `lengths` (B,), at least 1."""
        state = last_states(self.forwards, x, lengths)
        if self.backwards is None:
            return state
        backwards = last_states(self.backwards, reversed_in_time(x, lengths), lengths)
        return torch.cat([state, backwards], dim=1)


@torch.no_grad()
def reset_parameters(network: nn.Module, generator: torch.Generator) -> None:
    """Zero biases, forget gates open (bias 1), matrices by Glorot and Bengio's uniform rule."""
    for name, parameter in network.named_parameters():
        if parameter.ndim == 1:
            parameter.zero_()
            if "bias_ih" in name:  # gates stand in the order i, f, g, o
                parameter.view(4, -1)[1] = 1.0
        elif "embedding" in name:
            parameter.uniform_(-0.1, 0.1, generator=generator)
        else:
            nn.init.xavier_uniform_(parameter, generator=generator)


def step(optimizer: Any, loss: Tensor, parameters: Sequence[nn.Parameter], rate: float) -> None:
    """One step of the optimiser from a loss, its gradient clipped.

    Raises
    ------
    NumericalError
        When the gradient is not finite.
    """
    optimizer.zero_grad()
    loss.backward()
    gradients = [p.grad for p in parameters if p.grad is not None]
    norm = torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(g) for g in gradients]))
    if not torch.isfinite(norm):
        raise diverged(rate, f"gradient norm {norm.item()}")
    if norm > CLIP:
        for gradient in gradients:
            gradient.mul_(CLIP / norm)
    optimizer.step()


def sum_by_document(values: Tensor, counted: Tensor) -> Tensor:
    """(B,) sums of values (M,) of the counted places of (T, B), in their order."""
    lane = torch.arange(counted.shape[1]).expand_as(counted)[counted]
    return values.new_zeros(counted.shape[1]).index_add(0, lane, values)


def target_log_p(logits: Tensor, targets: Tensor) -> Tensor:
    """(M,) log softmax(logits (M, V)) at targets (M,)."""
    return -F.cross_entropy(logits, targets, reduction="none")


def in_groups(documents: np.ndarray, lengths: np.ndarray, size: int) -> Iterator[np.ndarray]:
    """Documents of two tokens or more in groups of `size`, by falling length."""
    documents = documents[lengths[documents] > 1]
    order = documents[np.argsort(-lengths[documents], kind="stable")]
    for first in range(0, len(order), size):
        yield order[first : first + size]
