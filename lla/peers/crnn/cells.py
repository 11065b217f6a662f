"""The recurrences of Ko et al. (2016), users side by side, each with a matrix of her own.

Inputs enter as sums W_in δ_x, one row per gate; W is (B, H, G·H), one matrix per lane, or (H, G·H),
the same for all lanes. Rows of states are multiplied from the left, so W is the transpose of the
paper's.

    C-tanh (17, 18)   h_t = tanh(h_{t-1} W + x_t)
    C-GRU (21 to 24)  z_t = σ(h_{t-1} W_z + x_t^z),   r_t = σ(h_{t-1} W_r + x_t^r)
                      c_t = tanh((r_t ∘ h_{t-1}) W_c + x_t^c)
                      h_t = (1 - z_t) ∘ h_{t-1} + z_t ∘ c_t

Equation 23 is printed with the softmax and without the user; meant are tanh and W_c^(u), as the
count of 3UD² parameters says. The reset gate acts before the product, as printed; Torch's own GRU
applies it after.

Gradients are written out (31 to 38): Torch would add a (B, H, G·H) gradient of W in every step,
where one product over all steps does.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


def product(h: Tensor, w: Tensor) -> Tensor:
    """Rows (B, H) times each its own matrix (B, H, M), or all the same (H, M): (B, M)."""
    return h @ w if w.dim() == 2 else torch.bmm(h[:, None], w)[:, 0]


def matrix_gradient(states: Tensor, gradients: Tensor, w: Tensor) -> Tensor:
    """Σ_t s_tᵀ g_t per lane, (B, H, M), or over all lanes, (H, M); (T, B, H) and (T, B, M)."""
    if w.dim() == 2:
        return states.flatten(0, 1).T @ gradients.flatten(0, 1)
    return torch.bmm(states.permute(1, 2, 0), gradients.transpose(0, 1))


class Tanh(torch.autograd.Function):
    """h_t of C-tanh for inputs x (T, B, H), the first state h (B, H) and W: (T, B, H)."""

    n_gates = 1

    @staticmethod
    def forward(ctx: Any, x: Tensor, h: Tensor, w: Tensor) -> Tensor:
        states = x.new_empty(len(x) + 1, *h.shape)
        states[0] = h
        for t in range(len(x)):
            torch.add(x[t], product(states[t], w), out=states[t + 1]).tanh_()
        ctx.save_for_backward(states, w)
        return states[1:]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        states, w = ctx.saved_tensors
        back = w.transpose(-1, -2)
        grad_x = torch.empty_like(grad)  # ∇_{a_t} L, (31) to (33)
        grad_h = torch.zeros_like(states[0])
        for t in reversed(range(len(grad))):
            h = states[t + 1]
            torch.mul(grad_h.add_(grad[t]), 1 - h * h, out=grad_x[t])
            grad_h = product(grad_x[t], back)
        return grad_x, grad_h, matrix_gradient(states[:-1], grad_x, w)


class GRU(torch.autograd.Function):
    """h_t of C-GRU for inputs x (T, B, 3H) in the order z, r, c; h (B, H) and W: (T, B, H)."""

    n_gates = 3

    @staticmethod
    def forward(ctx: Any, x: Tensor, h: Tensor, w: Tensor) -> Tensor:
        hidden = h.shape[1]
        w_gates, w_candidate = w[..., : 2 * hidden], w[..., 2 * hidden :]
        states = x.new_empty(len(x) + 1, *h.shape)
        states[0] = h
        gates = torch.empty_like(x)  # z, r, c of every step
        enters = x.split([2 * hidden, hidden], dim=2)
        leaves = gates.split([2 * hidden, hidden], dim=2)
        steps = zip(
            *(part.unbind() for part in (*enters, *leaves)), states[1:].unbind(), strict=True
        )
        for x_gates, x_candidate, z_and_r, c, following in steps:
            torch.add(x_gates, product(h, w_gates), out=z_and_r).sigmoid_()
            z, r = z_and_r.split(hidden, dim=1)
            torch.add(x_candidate, product(r * h, w_candidate), out=c).tanh_()
            h = torch.lerp(h, c, z, out=following)
        ctx.save_for_backward(states, gates, w)
        return states[1:]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        states, gates, w = ctx.saved_tensors
        hidden = states.shape[2]
        back_gates = w[..., : 2 * hidden].transpose(-1, -2)
        back_candidate = w[..., 2 * hidden :].transpose(-1, -2)
        grad_x = torch.empty_like(gates)
        grad_h = torch.zeros_like(states[0])
        before = states[:-1]
        z, r, c = gates.split(hidden, dim=2)
        # What does not depend on later steps is computed for all steps at once.
        factors = (z, 1 - c * c, c - before, z * (1 - z), before, r * (1 - r), r, 1 - z)
        sums = (*grad_x.split(hidden, dim=2), grad_x[..., : 2 * hidden])
        steps = zip(*(part.unbind() for part in (grad, *factors, *sums)), strict=True)
        for (
            grad_t,
            z_t,
            of_tanh,
            c_less_h,
            of_z,
            h,
            of_r,
            r_t,
            kept,
            grad_z,
            grad_r,
            grad_c,
            grad_gates,
        ) in reversed(list(steps)):
            grad_h = grad_h + grad_t
            torch.mul(grad_h * z_t, of_tanh, out=grad_c)
            torch.mul(grad_h * c_less_h, of_z, out=grad_z)
            grad_reset = product(grad_c, back_candidate)  # of r ∘ h
            torch.mul(grad_reset * h, of_r, out=grad_r)
            grad_h = torch.addcmul(grad_reset * r_t, grad_h, kept) + product(grad_gates, back_gates)
        reset = r * before
        grad_w = torch.cat(
            [
                matrix_gradient(before, grad_x[..., : 2 * hidden], w),
                matrix_gradient(reset, grad_x[..., 2 * hidden :], w),
            ],
            dim=-1,
        )
        return grad_x, grad_h, grad_w


CELLS: dict[str, Any] = {"gru": GRU, "tanh": Tanh}
