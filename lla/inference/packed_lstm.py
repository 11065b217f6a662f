"""An LSTM without padding: sequences side by side, each step as wide as sequences still run.

    i, f, g, o = W_hh h_{t-1} + (W_ih e_x + b_ih + b_hh),   c_t = σ(f) c_{t-1} + σ(i) tanh(g),
    h_t = σ(o) tanh(c_t)

The sum in brackets is a row of a table made once for every distinct input; the rest of a step is a
product and one pass over memory, forward and back. `nn.LSTM` needs padding to be as fast: of words
read by their letters, whose inputs are few and whose lengths are not alike, this is the faster.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from lla.samplers.fused import gate_rows, gradient_rows

State = tuple[Tensor, Tensor]  # h and c, each (B, H)


def gate_table(lstm: nn.LSTM, embedded: Tensor, suffix: str = "") -> Tensor:
    """W_ih e + b_ih + b_hh of embeddings (M, E): (M, 4H) float32, in the order i, f, g, o.

    Parameters
    ----------
    suffix : "_reverse" for the LSTM that reads backwards
    """
    weight, *biases = (
        getattr(lstm, f"{name}_l0{suffix}") for name in ("weight_ih", "bias_ih", "bias_hh")
    )
    return torch.addmm(sum(biases), embedded, weight.T).float()


def packed_lstm(
    table: Tensor, recurrent: Tensor, ids: Tensor, sizes: Sequence[int], state: State | None = None
) -> State:
    """States and cells after every input, (N, H) each, one step after another. On the CPU.

    Parameters
    ----------
    table : (M, 4H) float32 of `gate_table`
    recurrent : (4H, H) W_hh
    ids : (N,) int64 rows of the table: those of step 1, then of step 2, ...
    sizes : (T,) sequences that run at each step, falling; they are always the first ones
    state : h and c at the beginning, (B, H) each, where no gradient goes; None is 0
    """
    if state is None:
        state = (table.new_zeros(sizes[0], recurrent.shape[1]),) * 2
    if torch.is_grad_enabled():
        return PackedLSTM.apply(table, recurrent, ids, sizes, *state)
    return _run(table, recurrent, ids, sizes, *state, keep=False)[:2]


def last_states(states: Tensor, sizes: Sequence[int], lengths: Tensor) -> Tensor:
    """h after the last input of each sequence: (N, H), lengths (B,) -> (B, H)."""
    first = torch.tensor([0, *sizes]).cumsum(0)  # where each step's rows begin
    return states[first[lengths - 1] + torch.arange(len(lengths))]


class PackedLSTM(torch.autograd.Function):
    """`packed_lstm`, and the way back through time, which can be gone once."""

    @staticmethod
    def forward(ctx, table, recurrent, ids, sizes, h, c):
        """See `packed_lstm`; the cells bring no gradient back."""
        states, cells, ctx.gates = _run(table, recurrent, ids, sizes, h, c, keep=True)
        ctx.save_for_backward(table, recurrent, ids, h, c, states, cells)
        ctx.sizes = sizes
        ctx.mark_non_differentiable(cells)
        return states, cells

    @staticmethod
    @once_differentiable
    def backward(ctx, of_states, _):
        """Gradients of the table and of W_hh."""
        table, recurrent, ids, h, c, states, cells = ctx.saved_tensors
        gates, ctx.gates = ctx.gates, None  # each is overwritten by the gradient of its sum
        of_table, before = torch.zeros_like(table), torch.empty_like(states)
        of_next, of_cell = torch.zeros(2, ctx.sizes[0], recurrent.shape[1])
        whole = ids, gates, cells, of_states.contiguous(), states, before
        steps = list(zip(*(part.split(ctx.sizes) for part in whole), strict=True))
        pasts = [(h, c), *((step[4], step[2]) for step in steps[:-1])]
        for (own, gate, cell, of_state, _, late), past in zip(
            reversed(steps), reversed(pasts), strict=True
        ):
            n = len(own)
            given = of_next[:n], of_state, of_cell[:n], gate, cell, past[1][:n], own, of_table
            gradient_rows(*(part.numpy() for part in given))
            torch.mm(gate, recurrent, out=of_next[:n])
            late.copy_(past[0][:n])
        return of_table, gates.T @ before, None, None, None, None


def _run(
    table: Tensor,
    recurrent: Tensor,
    ids: Tensor,
    sizes: Sequence[int],
    h: Tensor,
    c: Tensor,
    keep: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """States, cells and, where they are kept, all gates (N, 4H)."""
    n_rows, hidden = len(ids), recurrent.shape[1]
    states, cells = torch.empty(2, n_rows, hidden)
    gates = torch.empty(n_rows if keep else sizes[0], 4 * hidden)
    product, weights, known = torch.empty(sizes[0], 4 * hidden), recurrent.T, table.detach().numpy()
    room = gates.split(sizes) if keep else [gates[:n] for n in sizes]
    for own, gate, cell, state in zip(
        ids.split(sizes), room, cells.split(sizes), states.split(sizes), strict=True
    ):
        n = len(own)
        torch.mm(h[:n], weights, out=product[:n])
        given = own, c[:n], gate, cell, state
        gate_rows(product[:n].numpy(), known, *(part.numpy() for part in given))
        h, c = state, cell
    return states, cells, gates
