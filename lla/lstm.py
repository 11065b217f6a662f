"""Torch: the models of Table 1 as an input transform, one LSTM, and an output transform.

    s_t = LSTM(input(x_{t-1}), s_{t-1}),   θ_t = softmax(W_p s_t + b_p),   s_0 = 0   (paper, 3.1)

The input before the first token is a start symbol, one more row of the embedding. `Network` is
what training differentiates (whole windows at a time), `Stepper` the same function one step at a
time for the samplers; a test holds the two together.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lla.characters import CharacterConfig, CharacterEmbedding, Spelling
from lla.errors import InputError, check_whole
from lla.packed_lstm import gate_table, packed_lstm
from lla.vector_kernels import move_lanes, move_lanes_short

INPUTS = ("topic", "word", "character")
# Twice as fast as MKL's product on processors of another maker; not every build of Torch has it.
ONE_DNN = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")
State = tuple[Tensor, Tensor]  # h and c, each (1, B, H)


@dataclass(frozen=True)
class NetworkConfig:
    """Sizes of a network; the paper searches embedding and state sizes in {50, 150, 250}.

    Attributes
    ----------
    n_inputs : number of distinct inputs (K for topic LLA, else V); the start symbol comes on top
    n_outputs : number of distinct outputs (K for every LLA, V for a language model)
    embedding_size, hidden_size : E and H
    dropout : share of embedding and state units dropped, one mask a document and window
    input : what an input is: a topic, a word, or a word read letter by letter
    characters : sizes of the encoder that reads letters
    """

    n_inputs: int
    n_outputs: int
    embedding_size: int = 50
    hidden_size: int = 150
    dropout: float = 0.0
    input: str = "topic"
    characters: CharacterConfig = field(default_factory=CharacterConfig)

    def __post_init__(self) -> None:
        for name in ("n_inputs", "n_outputs", "embedding_size", "hidden_size"):
            check_whole(name, getattr(self, name))
        if not 0 <= self.dropout < 1:
            raise InputError(f"dropout is {self.dropout}: give a share from 0 to below 1")
        if self.input not in INPUTS:
            raise InputError(f"input is {self.input!r}: choose one of {', '.join(INPUTS)}")


class IdEmbedding(nn.Module):
    """Input transform by table look-up: topic or word ids; the last row is the start symbol."""

    def __init__(self, n_inputs: int, embedding_size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(n_inputs + 1, embedding_size))

    @property
    def start(self) -> int:
        """Id of the start symbol."""
        return self.weight.shape[0] - 1

    def forward(self, ids: Tensor) -> Tensor:
        return F.embedding(ids, self.weight)  # (..., E)

    def table(self) -> Tensor:
        """Embedding of every id, (n_inputs + 1, E)."""
        return self.weight


class SoftmaxOutput(nn.Module):
    """Output transform θ = softmax(W_p s + b_p): over topics (LLA) or over words (LSTM)."""

    def __init__(self, hidden_size: int, n_outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(n_outputs, hidden_size))  # W_p
        self.bias = nn.Parameter(torch.empty(n_outputs))  # b_p

    def forward(self, states: Tensor) -> Tensor:
        return F.linear(states, self.weight, self.bias)  # (..., n_outputs), logits


class Network(nn.Module):
    """Input transform, LSTM, output transform; parameters are drawn from `generator`.

    Parameters
    ----------
    spelling : characters of the V words; needed when they are the input
    """

    def __init__(
        self, config: NetworkConfig, generator: torch.Generator, spelling: Spelling | None = None
    ) -> None:
        super().__init__()
        self.config = config
        letters, embedding = config.input == "character", config.embedding_size
        if letters and (spelling is None or len(spelling.lengths) != config.n_inputs):
            raise InputError(
                f"input is 'character': give the spelling of all {config.n_inputs} words"
            )
        with torch.device("meta"):  # the default initialisers would draw from the global generator
            if letters:
                self.input = CharacterEmbedding(spelling, config.characters, embedding)
            else:
                self.input = IdEmbedding(config.n_inputs, embedding)
            self.lstm = nn.LSTM(embedding, config.hidden_size)
            self.output = SoftmaxOutput(config.hidden_size, config.n_outputs)
        self.to_empty(device="cpu")
        if letters:
            self.input.attach(spelling)
        self.reset(generator)

    @torch.no_grad()
    def reset(self, generator: torch.Generator) -> None:
        """Uniform ±1/√H weights, zero biases, forget gates open (bias 1); letters apart."""
        bound = self.config.hidden_size**-0.5
        for name, parameter in self.named_parameters():
            if "bias" in name:
                parameter.zero_()
                if "bias_ih" in name:  # gates stand in the order i, f, g, o
                    parameter.view(4, -1)[1] = 1.0
            else:
                parameter.uniform_(-bound, bound, generator=generator)
        if isinstance(self.input, CharacterEmbedding):
            self.input.reset(generator)

    def forward(
        self, ids: Tensor, state: State | None = None, generator: torch.Generator | None = None
    ) -> tuple[Tensor, State]:
        """Logits after each input of a window, (T, B, n_outputs), and the state to carry on."""
        states, state = self.states(ids, state, generator)
        return self.output(states), state

    def states(
        self, ids: Tensor, state: State | None = None, generator: torch.Generator | None = None
    ) -> tuple[Tensor, State]:
        """What the output transform reads, (T, B, H), and the state for the next window.

        Parameters
        ----------
        ids : (T, B) inputs x_{t-1}, the start symbol at a document's beginning
        state : h, c, each (1, B, H); None is s_0 = 0
        generator : where dropout masks come from; None means no dropout
        """
        embedded = self.input(ids)  # (T, B, E)
        states, state = self.lstm(self._drop(embedded, generator), state)  # (T, B, H)
        return self._drop(states, generator), state

    def packed_states(
        self,
        ids: Tensor,
        sizes: Sequence[int],
        state: State | None = None,
        generator: torch.Generator | None = None,
    ) -> tuple[Tensor, State]:
        """`states` without padding, on the CPU: (N, H), one step after another.

        Parameters
        ----------
        ids : (N,) inputs of step 1, then of step 2, ...
        sizes : (T,) documents that run at each step, falling; they are always the first ones
        state, generator : as in `states`; the state that comes back is of those that run last
        """
        lane = torch.cat([torch.arange(n) for n in sizes])  # (N,) whose input each is
        distinct, rows = torch.unique(ids, return_inverse=True)
        if generator is None or self.config.dropout == 0:
            table = gate_table(self.lstm, self.input(distinct))  # (M, 4H)
        else:  # a mask a document: no two have an input in common
            mask = self._mask(sizes[0], self.config.embedding_size, generator)
            dropped = self.input(distinct).index_select(0, rows) * mask.index_select(0, lane)
            table, rows = gate_table(self.lstm, dropped), torch.arange(len(ids))  # (N, 4H)
        given = state and (state[0][0], state[1][0])
        states, cells = packed_lstm(table, self.lstm.weight_hh_l0, rows, sizes, given)
        after = states[-sizes[-1] :][None], cells[-sizes[-1] :][None]
        if generator is not None and self.config.dropout > 0:
            mask = self._mask(sizes[0], self.config.hidden_size, generator)
            states = states * mask.index_select(0, lane)
        return states, after

    def _drop(self, x: Tensor, generator: torch.Generator | None) -> Tensor:
        if generator is None or self.config.dropout == 0:
            return x
        return x * self._mask(*x.shape[1:], generator).to(x.device)  # one for all T steps

    def _mask(self, n_documents: int, n_units: int, generator: torch.Generator) -> Tensor:
        """0 or 1 / (1 - dropout), one a document and unit (Gal & Ghahramani, 2016)."""
        keep = 1.0 - self.config.dropout
        return torch.empty(n_documents, n_units).bernoulli_(keep, generator=generator) / keep

    def n_parameters(self) -> int:
        """Number of trained numbers; φ is counted apart."""
        return sum(p.numel() for p in self.parameters())


class Stepper:
    """The network one step at a time, without gradients, for lanes in lock-step.

    Inputs enter as rows of a table (n_inputs + 1, 4H), computed once: W_ih e_x + b_ih + b_hh.
    Gates are kept in the order i, f, o, g, so that one sigmoid covers three of them.
    """

    def __init__(self, network: Network) -> None:
        lstm, hidden = network.lstm, network.config.hidden_size
        order = torch.arange(4 * hidden).view(4, hidden)[[0, 1, 3, 2]].flatten()
        with torch.no_grad():
            bias = lstm.bias_ih_l0 + lstm.bias_hh_l0
            table = torch.addmm(bias, network.input.table(), lstm.weight_ih_l0.T)
            self.table = table[:, order].contiguous()  # (n_inputs + 1, 4H)
            self.recurrent = lstm.weight_hh_l0[order].T.contiguous()  # (H, 4H)
            self.output = network.output.weight.T.contiguous()  # (H, n_outputs)
            self.bias = network.output.bias.clone()  # (n_outputs,)
        self.hidden_size = hidden
        self.start = network.input.start

    @cached_property
    def short_table(self) -> np.ndarray:
        """The table in bfloat16, (n_inputs + 1, 4H) uint16."""
        return self.table.bfloat16().view(torch.uint16).numpy()

    def begin(self, n_lanes: int) -> State:
        """s_0 = 0: h and c, each (L, H)."""
        h = self.table.new_zeros(n_lanes, self.hidden_size)
        return h, torch.zeros_like(h)

    def step(self, ids: Tensor, h: Tensor, c: Tensor) -> Tensor:
        """Move h and c (L, H) on by the inputs `ids` (L,), in place; return θ (L, n_outputs)."""
        self.move(ids, h, c)
        return self.theta(h)

    @torch.no_grad()
    def theta(self, h: Tensor) -> Tensor:
        """θ = softmax(W_p s + b_p) of states (L, H): (L, n_outputs)."""
        return torch.addmm(self.bias, h, self.output).softmax(dim=1)

    @torch.no_grad()
    def move(self, ids: Tensor, h: Tensor, c: Tensor) -> None:
        """Move h and c (L, H) on by the inputs `ids` (L,), in place."""
        hidden = self.hidden_size
        gates = torch.addmm(self.table.index_select(0, ids), h, self.recurrent)  # (L, 4H)
        gates[:, : 3 * hidden].sigmoid_()
        gates[:, 3 * hidden :].tanh_()
        i, f, o, g = gates.split(hidden, dim=1)  # each (L, H)
        c.mul_(f).addcmul_(i, g)
        torch.mul(o, torch.tanh(c), out=h)


class Lanes:
    """`Stepper.move` for long loops: a product, and one pass over all the rest.

    Parameters
    ----------
    bfloat16 : round states, recurrent weights, their product and the table of inputs to 8 bits, of
        which half as much has to come from memory; sums stay float32

    Attributes
    ----------
    h : (n_lanes, H) states, s_0 = 0; rows stand a multiple of `ALIGN` floats apart
    cell : (n_lanes, H)
    """

    ALIGN = 16  # rows of h begin where a vector register does; the rest of a row stays 0

    def __init__(self, stepper: Stepper, n_lanes: int, bfloat16: bool = False) -> None:
        hidden, kind = stepper.hidden_size, torch.bfloat16 if bfloat16 else torch.float32
        self._table = stepper.short_table if bfloat16 else stepper.table.numpy()
        self._recurrent = stepper.recurrent.T.contiguous().to(kind)
        self.padded = torch.zeros(n_lanes, hidden + -hidden % self.ALIGN)
        self.h, self.cell = self.padded[:, :hidden], torch.zeros(n_lanes, hidden)
        # The product is faster on rows without a gap, the copy included.
        self._dense = torch.empty(n_lanes, hidden, dtype=kind)
        self._short = torch.empty(n_lanes, 4 * hidden, dtype=kind) if bfloat16 else None

    @torch.no_grad()
    def move(self, ids: Tensor) -> None:
        """Move the first len(`ids`) lanes on by the inputs `ids`."""
        n = len(ids)
        dense = self._dense[:n].copy_(self.h[:n])
        tail = self._table, ids.numpy(), self.padded[:n].numpy(), self.cell[:n].numpy()
        if self._short is not None:
            product = torch.mm(dense, self._recurrent.T, out=self._short[:n])
            move_lanes_short(product.view(torch.uint16).numpy(), *tail)
        else:
            move_lanes(self._product(dense).numpy(), *tail)

    def _product(self, h: Tensor) -> Tensor:
        if ONE_DNN:
            return torch.ops.mkldnn._linear_pointwise(h, self._recurrent, None, "none", [], "")
        return torch.mm(h, self._recurrent.T)
