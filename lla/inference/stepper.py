"""One LSTM step for many documents at once."""

from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from lla.lstm import ONE_DNN, Network, State
from lla.samplers.fused import move_lanes, move_lanes_short


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
