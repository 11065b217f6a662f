"""The LSTM one step at a time, without gradients, for many lanes at once (see `batch`)."""

from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from lla.lstm import ONE_DNN, Network, State
from lla.samplers.fused import step_lanes, step_lanes_bf16


class Stepper:
    """The network in lock-step over lanes; the caller holds the states.

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
    def table_bf16(self) -> np.ndarray:
        """The table in bfloat16, (n_inputs + 1, 4H) as uint16."""
        return self.table.bfloat16().view(torch.uint16).numpy()

    def initial_state(self, n_lanes: int) -> State:
        """s_0 = 0: h and c, each (L, H)."""
        h = self.table.new_zeros(n_lanes, self.hidden_size)
        return h, torch.zeros_like(h)

    def step(self, ids: Tensor, h: Tensor, c: Tensor) -> Tensor:
        """Update h and c (L, H) in place by the inputs `ids` (L,); return θ (L, n_outputs)."""
        self.advance(ids, h, c)
        return self.theta(h)

    @torch.no_grad()
    def theta(self, h: Tensor) -> Tensor:
        """θ = softmax(W_p s + b_p) of states (L, H): (L, n_outputs)."""
        return torch.addmm(self.bias, h, self.output).softmax(dim=1)

    @torch.no_grad()
    def advance(self, ids: Tensor, h: Tensor, c: Tensor) -> None:
        """Update h and c (L, H) in place by the inputs `ids` (L,)."""
        hidden = self.hidden_size
        gates = torch.addmm(self.table.index_select(0, ids), h, self.recurrent)  # (L, 4H)
        gates[:, : 3 * hidden].sigmoid_()
        gates[:, 3 * hidden :].tanh_()
        i, f, o, g = gates.split(hidden, dim=1)  # each (L, H)
        c.mul_(f).addcmul_(i, g)
        torch.mul(o, torch.tanh(c), out=h)


class LaneStates:
    """The states of many lanes, for long loops: one product a step, then one pass over the rest.

    The same update as `Stepper.advance` but for rounding.

    Parameters
    ----------
    bfloat16 : round states, recurrent weights, their product and the table of inputs to bfloat16,
        which halves the memory traffic; sums stay float32

    Attributes
    ----------
    h : (n_lanes, H) states, s_0 = 0; a view of `padded`
    padded : (n_lanes, H and zeros up to a multiple of ALIGN)
    cell : (n_lanes, H)
    """

    ALIGN = 16  # floats in the longest vector register: every row of `padded` begins at one

    def __init__(self, stepper: Stepper, n_lanes: int, bfloat16: bool = False) -> None:
        hidden = stepper.hidden_size
        dtype = torch.bfloat16 if bfloat16 else torch.float32
        self._table = stepper.table_bf16 if bfloat16 else stepper.table.numpy()
        self._recurrent = stepper.recurrent.T.contiguous().to(dtype)
        self.padded = torch.zeros(n_lanes, hidden + -hidden % self.ALIGN)
        self.h = self.padded[:, :hidden]
        self.cell = torch.zeros(n_lanes, hidden)
        # The product is faster on rows without a gap, even with the copy.
        self._dense = torch.empty(n_lanes, hidden, dtype=dtype)
        self._product_bf16 = torch.empty(n_lanes, 4 * hidden, dtype=dtype) if bfloat16 else None

    @torch.no_grad()
    def advance(self, ids: Tensor) -> None:
        """Update the first len(`ids`) lanes by the inputs `ids`."""
        n = len(ids)
        dense = self._dense[:n].copy_(self.h[:n])
        inputs, h, cell = ids.numpy(), self.padded[:n].numpy(), self.cell[:n].numpy()
        if self._product_bf16 is None:
            step_lanes(self._product(dense).numpy(), self._table, inputs, h, cell)
        else:
            product = torch.mm(dense, self._recurrent.T, out=self._product_bf16[:n])
            bits = product.view(torch.uint16).numpy()
            step_lanes_bf16(bits, self._table, inputs, h, cell)

    def _product(self, h: Tensor) -> Tensor:
        if ONE_DNN:
            return torch.ops.mkldnn._linear_pointwise(h, self._recurrent, None, "none", [], "")
        return torch.mm(h, self._recurrent.T)
