"""What users have of their own is trained when they are visited: RMSProp and Adam of rows.

An optimiser that takes all of a table moves absent users too: Adam by their momentum, both by
forgetting what it knows of their gradients. Here every row has moments and a count of steps of its
own, as if Algorithm 2 of Ko, Maystre and Grossglauser (2016) had an optimiser per user.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from lla.common.eager import Adam

EPSILON = 1e-8
BETAS = (0.9, 0.999)  # of Adam


class RowOptimizer(torch.optim.Optimizer):
    """Steps of single parameters, or of some of their rows.

    RMSProp (Tieleman & Hinton, 2012):  v ← ρ v + (1 - ρ) g²,   w ← w - η g / √(v + ε),   v_0 = 0

    Adam has both moments corrected by the row's own number of steps.

    Parameters
    ----------
    kind : "adam" or "rmsprop"
    learning_rate : η
    decay : ρ of RMSProp
    own : the parameter whose rows are users', or None
    """

    add_param_group = Adam.add_param_group  # Torch's own loads its compiler

    def __init__(
        self,
        parameters: list[nn.Parameter],
        kind: str,
        learning_rate: float,
        decay: float,
        own: nn.Parameter | None = None,
    ) -> None:
        super().__init__(parameters, {"lr": learning_rate})
        self._adam, self._learning_rate = kind == "adam", learning_rate
        self._decay = BETAS[1] if self._adam else decay
        self._own = own

    @torch.no_grad()
    def update(
        self,
        parameter: nn.Parameter,
        gradient: Tensor,
        rows: Tensor | None = None,
        *,
        rate: float = 1.0,
        precision: Tensor | None = None,
    ) -> None:
        """One step of a parameter, or of different `rows` (R,) of it; `gradient` is of these.

        Parameters
        ----------
        rate : times the learning rate
        precision : (R,) λ' of a penalty (λ'/2) ‖w‖² beside the loss. It is taken into account after
            the step, in the step's own metric, w ← w s / (s + η λ'), with s what the gradient was
            divided by: stable and exact for any λ', where its gradient would be neither.
        """
        state = self.state[parameter]
        if not state:
            state["square"] = torch.zeros_like(parameter)
            if self._adam:
                n_counts = len(parameter) if parameter is self._own else 1
                state["mean"] = torch.zeros_like(parameter)
                state["step"] = parameter.new_zeros(n_counts)
        part = {name: value if rows is None else value[rows] for name, value in state.items()}
        value = parameter.data if rows is None else parameter.data[rows]
        per_row = (-1,) + (1,) * (parameter.dim() - 1)

        size, direction = self._learning_rate * rate, gradient
        square = (
            part["square"].mul_(self._decay).addcmul_(gradient, gradient, value=1 - self._decay)
        )
        if self._adam:
            step = part["step"].add_(1).view(per_row)
            scale = (square / (1 - BETAS[1] ** step)).sqrt_().add_(EPSILON)
            direction = part["mean"].lerp_(gradient, 1 - BETAS[0]) / (1 - BETAS[0] ** step)
        else:
            scale = (square + EPSILON).sqrt_()
        value.addcdiv_(direction, scale, value=-size)
        if precision is not None:
            value.mul_(scale / (scale + size * precision.view(per_row)))
        if rows is not None:
            parameter.data[rows] = value
            for name, moment in part.items():
                state[name][rows] = moment


class UserSteps:
    """Steps of Adam on the d_u of a network's users, each the mean over the user's own tokens.

    Algorithm 2 takes users one by one. What users share has Adam as other networks do; its state
    holds the moments of d_u, too, so that one checkpoint has all.

    Parameters
    ----------
    own : (U, R) d_u; document d is user d
    optimizer : of what users share
    lengths : (U,) tokens that each user is trained on
    penalty : λ' of (λ'/2) ‖d_u‖², beside the sum of -log p over the user's tokens
    clip : largest norm of a user's gradient
    """

    def __init__(
        self,
        own: nn.Parameter,
        optimizer: torch.optim.Optimizer,
        lengths: np.ndarray,
        *,
        learning_rate: float,
        penalty: float,
        clip: float,
    ) -> None:
        self._own, self._lengths, self._clip, self._penalty = own, lengths, clip, penalty
        self._rows = RowOptimizer([own], "adam", learning_rate, BETAS[1], own=own)
        self._rows.state = optimizer.state

    def step(self, gradient: Tensor, documents: Sequence[np.ndarray], window: slice) -> None:
        """One step of the users who have tokens in a window.

        Parameters
        ----------
        gradient : (U, R) of -log p, summed over the window's tokens
        documents : of the batch; the window is the same part of each
        """
        visited = np.concatenate(list(documents))
        visited = np.sort(visited[self._lengths[visited] > window.start])
        lengths = self._lengths[visited]
        n_read = np.minimum(lengths, window.stop) - window.start
        rows = torch.from_numpy(visited).to(gradient.device)
        mean = gradient[rows] / torch.from_numpy(n_read).to(gradient)[:, None]
        norms = torch.linalg.vector_norm(mean, dim=1, keepdim=True)
        self._rows.update(
            self._own,
            mean.mul_((self._clip / norms.clamp(min=1e-30)).clamp(max=1.0)),
            rows,
            precision=torch.from_numpy(self._penalty / lengths).to(gradient),
        )
