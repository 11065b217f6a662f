"""Recurrences of users' own: every user, or document, moves the LSTM a little differently.

Ko, Maystre and Grossglauser (2016) give each user a recurrent matrix. Here it is the shared one and
a difference of low rank R,

    W^(u) = W_hh + A diag(d_u) B,

so a user is R numbers d_u. B reads the state and a constant, so that the bias of the gates is the
user's own, too. A and B are shared; their columns and rows have length √(4H) and √(H + 1), so that
d_u is of the size of the entries of the difference, and a penalty on its norm, which is about
√(4H(H + 1)) ‖d_u‖, shrinks it. A user who was not trained on has d_u = 0, which is the LSTM without
users.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F


class UserRecurrence(nn.Module):
    """A, B and the d_u of all users.

    Attributes
    ----------
    own : (U, R) d_u
    reading : (R, H + 1) B before its rows are scaled, the last column that of the constant
    writing : (4H, R) A before its columns are scaled, gates in the order i, f, g, o
    """

    def __init__(self, n_users: int, rank: int, hidden_size: int) -> None:
        super().__init__()
        self.own = nn.Parameter(torch.empty(n_users, rank))
        self.reading = nn.Parameter(torch.empty(rank, hidden_size + 1))
        self.writing = nn.Parameter(torch.empty(4 * hidden_size, rank))

    @torch.no_grad()
    def reset(self) -> None:
        """Begin with users who are all alike."""
        self.own.zero_()

    @property
    def n_entries(self) -> int:
        """Entries of a user's difference, 4H(H + 1): ‖A diag(d) B‖² is about so many times ‖d‖²."""
        return len(self.writing) * self.reading.shape[1]

    def factors(self) -> tuple[Tensor, Tensor]:
        """A (4H, R) and B (R, H + 1)."""
        a = F.normalize(self.writing, dim=0) * len(self.writing) ** 0.5
        b = F.normalize(self.reading, dim=1) * self.reading.shape[1] ** 0.5
        return a, b

    def of(self, users: Tensor) -> Tensor:
        """d_u of rows (B,), -1 for an unknown user: (B, R)."""
        known = (users >= 0)[:, None]
        return F.embedding(users.clamp(min=0), self.own) * known

    def run(
        self, lstm: nn.LSTM, inputs: Tensor, h: Tensor, c: Tensor, users: Tensor
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """States of a window, (T, B, H), and the last h and c, as `lstm` gives them.

        Parameters
        ----------
        inputs : (T, B, E)
        h, c : (1, B, H)
        users : (B,) rows of `own`, -1 for an unknown user
        """
        a, b = self.factors()
        own, hidden = self.of(users), h.shape[2]
        weights = dict(lstm.named_parameters())
        bias = weights["bias_ih_l0"] + weights["bias_hh_l0"]
        x = F.linear(inputs, weights["weight_ih_l0"], bias)  # (T, B, 4H)
        states, cells = _Recurrence.apply(
            x, h[0], c[0], own, weights["weight_hh_l0"], a, b[:, :hidden], b[:, hidden]
        )
        return states, (states[-1:], cells[-1:])


class _Recurrence(torch.autograd.Function):
    """States and cells of all steps, (T, B, H) each; no gradient goes back through the cells.

    Gradients are written out: Torch's own would be of each step by itself, which is several times
    slower with few lanes.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        h: Tensor,
        c: Tensor,
        own: Tensor,
        w: Tensor,
        a: Tensor,
        b: Tensor,
        constant: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Of summed inputs x (T, B, 4H), d (B, R), W_hh (4H, H), A (4H, R) and B (R, H), (R,)."""
        n_steps, hidden = len(x), h.shape[1]
        states, cells = (v.new_empty(n_steps + 1, *v.shape) for v in (h, c))
        states[0], cells[0] = h, c
        read = x.new_empty(n_steps, *own.shape)  # B s_{t-1}
        gates = torch.empty_like(x)
        for t in range(n_steps):
            h, gate = states[t], gates[t]
            torch.addmm(constant, h, b.T, out=read[t])
            torch.addmm(x[t], h, w.T, out=gate).addmm_(own * read[t], a.T)
            i_and_f, g, o = gate.split([2 * hidden, hidden, hidden], dim=1)
            i, f = i_and_f.sigmoid_().split(hidden, dim=1)
            torch.mul(f, cells[t], out=cells[t + 1]).addcmul_(i, g.tanh_())
            torch.mul(o.sigmoid_(), cells[t + 1].tanh(), out=states[t + 1])
        ctx.save_for_backward(states, cells, gates, read, own, w, a, b)
        last = cells[1:]
        ctx.mark_non_differentiable(last)
        return states[1:], last

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        states, cells, gates, read, own, w, a, b = ctx.saved_tensors
        before, hidden = states[:-1], states.shape[2]
        i, f, g, o = gates.split(hidden, dim=2)
        tanh_c = cells[1:].tanh()
        of_cell = o * (1 - tanh_c.square())  # ∂s_t/∂c_t
        of_o = tanh_c * o * (1 - o)
        # ∂c_t by the sums that enter i, f and g, side by side
        of_gates = [g * i * (1 - i), cells[:-1] * f * (1 - f), i * (1 - g.square())]
        of_ifg = torch.stack(of_gates, dim=2)  # (T, B, 3, H)
        grad_x = torch.empty_like(gates)
        grad_read = torch.empty_like(read)
        grad_moved = torch.empty_like(read)  # of d ∘ (B s_{t-1})
        grad_h = torch.zeros_like(states[0])
        grad_c = torch.zeros_like(grad_h)
        for t in reversed(range(len(grad))):
            grad_h.add_(grad[t])
            grad_c.addcmul_(grad_h, of_cell[t])
            of_x = grad_x[t]
            torch.mul(grad_h, of_o[t], out=of_x[:, 3 * hidden :])
            of_x[:, : 3 * hidden] = (grad_c[:, None] * of_ifg[t]).flatten(1)
            grad_c.mul_(f[t])
            torch.mm(of_x, a, out=grad_moved[t])
            torch.mul(grad_moved[t], own, out=grad_read[t])
            grad_h = torch.mm(of_x, w).addmm_(grad_read[t], b)
        sums, rows = grad_x.flatten(0, 1), grad_read.flatten(0, 1)
        return (
            grad_x,
            None,
            None,
            (grad_moved * read).sum(dim=0),
            sums.T @ before.flatten(0, 1),
            sums.T @ (own * read).flatten(0, 1),
            rows.T @ before.flatten(0, 1),
            rows.sum(dim=0),
        )
