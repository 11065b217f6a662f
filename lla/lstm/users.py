"""Recurrences of users' own: every user, or document, moves the LSTM a little differently.

Ko, Maystre and Grossglauser (2016) give each user a recurrent matrix. Here it is the shared one and
a difference of low rank R,

    W^(u) = W_hh + A diag(d_u) B,

so a user is R numbers d_u. B reads the state and a constant, so that the bias of the gates is the
user's own, too. A and B are shared; their columns and rows have length √(4H) and √(H + 1), so that
d_u is of the size of the entries of the difference, and a penalty on d_u shrinks it. A user who was
not trained on has d_u = 0, which is the LSTM without users.
"""

import torch
from torch import Tensor, nn
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

        d_u ∘ (B s_{t-1}) enters as R more inputs, which A weights.

        Parameters
        ----------
        inputs : (T, B, E)
        h, c : (1, B, H)
        users : (B,) rows of `own`, -1 for an unknown user
        """
        a, b = self.factors()
        own, hidden = self.of(users), h.shape[2]
        weights = (
            torch.cat([lstm.weight_ih_l0, a], dim=1),  # (4H, E + R)
            lstm.weight_hh_l0,
            lstm.bias_ih_l0,
            lstm.bias_hh_l0,
        )
        read, constant = b[:, :hidden].T, b[:, hidden]
        state, states = (h[0], c[0]), []
        for x in inputs.unbind(0):
            moved = own * torch.addmm(constant, state[0], read)  # (B, R)
            state = torch.lstm_cell(torch.cat([x, moved], dim=1), state, *weights)
            states.append(state[0])
        return torch.stack(states), (state[0][None], state[1][None])
