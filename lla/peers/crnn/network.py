"""The network of C-GRU, C-tanh, P-GRU and their shrunk form: shared items, users' own dynamics."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lla.common.errors import (
    check_choice,
    check_each,
    check_flag,
    check_integer,
    check_not_negative,
    check_positive,
    check_share,
)
from lla.lstm import IdEmbedding, SoftmaxOutput, State
from lla.peers.crnn.cells import CELLS
from lla.peers.sequence import SequenceConfig, drop

OPTIMIZERS = ("adam", "rmsprop")


@dataclass(frozen=True, repr=False)
class CRNNConfig(SequenceConfig):
    """C-GRU, and what its relatives share: everything a fit depends on but the seed.

    Attributes
    ----------
    hidden_size : H, the paper's D
    window : B, steps through which the gradient goes back; the state is carried on
    optimizer : "adam", or "rmsprop" as in the paper; a user's moments move when she is visited
    decay : ρ of RMSProp
    user_rate : learning rate of users' own numbers, as a multiple of the others'. They are updated
        once per window of their user, the others once per window of any batch.
    tail : share of each history's observed end, at least 3 and at most 500 events, that is not
        trained on and decides when to stop, as in the paper; 0 trains on all of it and stops by the
        development users' held-out events, as other models do
    output_bias : b_v, started at the items' popularity; the paper has no biases
    """

    key: ClassVar[str] = "c_gru"
    cell: ClassVar[str] = "gru"
    users: ClassVar[str] = "own"  # or "pooled", or "shrunk"

    window: int = 128
    batch_size: int = 64
    hidden_size: int = 32
    optimizer: str = "adam"
    decay: float = 0.9
    user_rate: float = 1.0
    tail: float = 0.0
    output_bias: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        check_each(self, check_integer, "hidden_size")
        check_each(self, check_choice, "optimizer", choices=OPTIMIZERS)
        check_each(self, check_share, "decay", "tail")
        check_each(self, check_positive, "user_rate")
        check_each(self, check_flag, "output_bias")


class CTanhConfig(CRNNConfig):
    """C-tanh: no gates (17, 18)."""

    key = "c_tanh"
    cell = "tanh"


class PGRUConfig(CRNNConfig):
    """P-GRU: one matrix for all users."""

    key = "p_gru"
    users = "pooled"


@dataclass(frozen=True, repr=False)
class ShrunkGRUConfig(CRNNConfig):
    """C-GRU with W^(u) = W_0 + Δ^(u) and Δ^(u) held near 0; not in the paper.

    Attributes
    ----------
    penalty : λ of (λ/2) ‖Δ^(u)‖², beside the sum of -log p over the user's events. The larger it
        is, the nearer to P-GRU. Choose it by development perplexity.
    rank : r of Δ^(u) = A_u B, with A_u (H, r) per user and the rows of B (r, 3H) of length 1; the
        penalty is on A_u. 0 leaves Δ^(u) free.
    """

    key = "shrunk_gru"
    users = "shrunk"

    penalty: float = 30.0
    rank: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_each(self, check_not_negative, "penalty")
        check_each(self, check_integer, "rank", least=0)


class CRNN(nn.Module):
    """Weights, each drawn from N(0, 1/H) by `generator`; Δ^(u) starts at 0.

    Parameters
    ----------
    n_users : U
    probability : (V,) what an untrained network roughly predicts

    Attributes
    ----------
    input : W_in, (V + 1, G·H), the last row the start symbol's
    output : W_out (V, H) and the bias (V,)
    shared : W_0 (H, G·H); None where users have nothing in common
    basis : B (r, G·H) of low-rank differences, else None
    own : per user W^(u) or Δ^(u), (U, H, G·H), or A_u, (U, H, r); None for P-GRU
    """

    def __init__(
        self,
        config: CRNNConfig,
        n_users: int,
        probability: np.ndarray,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.config, hidden = config, config.hidden_size
        width = CELLS[config.cell].n_gates * hidden
        rank = getattr(config, "rank", 0)
        self.input = IdEmbedding(len(probability), width)
        self.output = SoftmaxOutput(hidden, len(probability))
        self.shared = self.basis = self.own = None
        if config.users != "own":
            self.shared = nn.Parameter(torch.empty(hidden, width))
        if rank:
            self.basis = nn.Parameter(torch.empty(rank, width))
        if config.users != "pooled":
            self.own = nn.Parameter(torch.empty(n_users, hidden, rank or width))
        with torch.no_grad():
            weights = [self.input.weight, self.output.weight, self.shared, self.basis]
            for parameter in [*weights, self.own if config.users == "own" else None]:
                if parameter is not None:
                    parameter.normal_(0.0, hidden**-0.5, generator=generator)
            if self.own is not None and config.users == "shrunk":
                self.own.zero_()
            self.output.bias.zero_()
            if config.output_bias:
                self.output.bias.copy_(torch.from_numpy(np.log(probability)))
        self.output.bias.requires_grad_(config.output_bias)

    def common_parameters(self) -> list[nn.Parameter]:
        """All that is trained but users' own."""
        return [p for p in self.parameters() if p is not self.own and p.requires_grad]

    def matrices(self, own: Tensor | None) -> Tensor:
        """W^(u) (B, H, G·H) of users with these rows of `own`; (H, G·H) for P-GRU."""
        if self.shared is None or own is None:
            w = self.shared if own is None else own
            assert w is not None
            return w
        return self.shared + (own if self.basis is None else own @ F.normalize(self.basis, dim=1))

    @torch.no_grad()
    def of_users(self, rows: np.ndarray) -> "Reader":
        """The network that reads these users side by side.

        Parameters
        ----------
        rows : (B,) of `own`; -1 is an unknown user, who gets W_0, or the mean of all W^(u) where
            there is no W_0
        """
        if self.own is None:
            return Reader(self, self.matrices(None))
        own = self.own[torch.from_numpy(np.maximum(rows, 0))]
        unknown = torch.from_numpy(rows < 0)
        own[unknown] = self.own.mean(dim=0) if self.shared is None else 0.0
        return Reader(self, self.matrices(own))


class Reader:
    """A network with the matrices of the users that it reads side by side.

    Parameters
    ----------
    matrices : (B, H, G·H), or (H, G·H) for all users
    """

    def __init__(self, network: CRNN, matrices: Tensor) -> None:
        self.config, self.input, self.output = network.config, network.input, network.output
        self.matrices = matrices
        self._cell = CELLS[network.config.cell]

    def states(
        self, ids: Tensor, state: State | None = None, generator: torch.Generator | None = None
    ) -> tuple[Tensor, State]:
        """What the output reads, (T, B', H), and the state for the next window.

        Parameters
        ----------
        ids : (T, B') items w_{t-1} of the first B' users, the start symbol at a history's beginning
        state : h (1, B', H), and an empty tensor in place of an LSTM's cell; None is h_0 = 0
        generator : of dropout masks on what enters and leaves the recurrence, one per step (Zaremba
            et al., 2014); None means no dropout
        """
        config, n_users = self.config, ids.shape[1]
        inputs = drop(self.input(ids), config.dropout, generator)  # (T, B', G·H)
        h = inputs.new_zeros(n_users, config.hidden_size) if state is None else state[0][0]
        w = self.matrices if self.matrices.dim() == 2 else self.matrices[:n_users]
        states = self._cell.apply(inputs, h, w)  # (T, B', H)
        return drop(states, config.dropout, generator), (states[-1:], states[-1:, :, :0])
