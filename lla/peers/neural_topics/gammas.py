"""Gamma variables in log space, sound at shapes down to 1e-3, and what their gradients follow.

A gamma variable of shape 1e-3 is below the smallest float in most draws; its logarithm is an
ordinary number. θ = softmax(log g) is then a Dirichlet sample without a clamp.

Draws come from a NumPy generator, an argument; gradients flow to the parameters only.
"""

import numpy as np
import torch
from torch import Tensor

SERIES_BELOW = 1.0  # of x: the series is used there, Torch's approximation above
N_TERMS = 18  # of the series, whose terms fall at least like 1/n!


def pathwise_log_gamma(alpha: Tensor, draw: np.random.Generator) -> Tensor:
    """log g with g ~ Gamma(α, 1), float64, whose gradient is the implicit one.

    log g = log g' + log(u)/α with g' ~ Gamma(α + 1) and u uniform (Marsaglia and Tsang, 2000);
    d log g/dα = -(∂F/∂α) / (g f) with F the distribution function (Figurnov et al., 2018).
    """
    a = alpha.detach().double()
    boosted = torch.from_numpy(draw.standard_gamma(a.numpy() + 1.0))
    log_x = boosted.log() + _log_uniform(a.shape, draw) / a
    return log_x + (alpha.double() - a) * log_gamma_slope(a, log_x)


def log_gamma_slope(alpha: Tensor, log_x: Tensor) -> Tensor:
    """d log x / dα of a gamma variable at a fixed value of its distribution function.

    With t_n = x^n / (α (α+1) ... (α+n)) and S = Σ t_n, F = x^α e^-x S / Γ(α), so that

        d log x / dα = -S (log x - ψ(α+1)) + Σ_{n≥1} t_n Σ_{j=1..n} 1/(α+j).

    Parameters
    ----------
    alpha, log_x : float64, of one shape
    """
    x = log_x.exp()
    small = x.clamp(max=SERIES_BELOW)
    term = 1 / alpha
    total, weighted, harmonic = term, torch.zeros_like(term), torch.zeros_like(term)
    for n in range(1, N_TERMS + 1):
        term = term * small / (alpha + n)
        harmonic = harmonic + 1 / (alpha + n)
        total = total + term
        weighted = weighted + term * harmonic
    series = weighted - total * (log_x - torch.special.digamma(alpha + 1))
    large = x.clamp(min=SERIES_BELOW)
    return torch.where(x < SERIES_BELOW, series, torch._standard_gamma_grad(alpha, large) / large)


def rejection_log_gamma(
    alpha: Tensor, draw: np.random.Generator, n_augment: int
) -> tuple[Tensor, Tensor]:
    """log g by the accepted proposals of a rejection sampler, and what corrects its gradient.

    With B = `n_augment` uniforms (Naesseth et al., 2017),

        g = h(ε, α+B) Π_i u_i^{1/(α+i-1)},   h(ε, s) = (s - 1/3)(1 + ε/√(9s - 3))³,

    and gradients flow through h and the exponents alone. That the accepted ε depends on α, too,
    is left to the second value.

    Returns
    -------
    log_g : float64
    log_density : float64, log π(ε; α) of the accepted proposal up to a constant, at a fixed ε. The
        gradient of E f is that of f along the path, plus f times the gradient of this
    """
    a = alpha.double()
    shape = a + n_augment
    x = torch.from_numpy(draw.standard_gamma(shape.detach().numpy()))
    root = (9 * shape - 3).sqrt()
    center = shape - 1 / 3
    noise = (root * ((x / center) ** (1 / 3) - 1)).detach()
    log_cube_root = torch.log1p(noise / root)
    log_h = center.log() + 3 * log_cube_root
    # log q(h; s) + log |dh/dε|, whose sum is log π(ε; s) up to the proposal's own density.
    log_q = (shape - 1) * log_h - log_h.exp() - torch.lgamma(shape)
    log_density = log_q + center.log() + 2 * log_cube_root - root.log()
    log_g = log_h
    for i in range(n_augment):
        log_g = log_g + _log_uniform(a.shape, draw) / (a + i)
    return log_g, log_density


def inverse_cdf_log_gamma(alpha: Tensor, draw: np.random.Generator) -> Tensor:
    """log x = (log u + log Γ(α+1)) / α, float64: F(x) ≈ x^α/Γ(α+1), as it is for x near 0.

    Joo et al. (2020). Not a gamma variable unless α is small: at α = 1 its mean is 1/2.
    """
    a = alpha.double()
    return (_log_uniform(a.shape, draw) + torch.lgamma(a + 1)) / a


def weibull_log(shape: Tensor, scale: Tensor, draw: np.random.Generator) -> Tensor:
    """log x = log λ + log(-log u) / k, float64 (Zhang et al., 2018)."""
    exponential = np.maximum(draw.standard_exponential(shape.shape), np.finfo(float).tiny)
    return scale.double().log() + torch.from_numpy(np.log(exponential)) / shape.double()


def _log_uniform(shape: torch.Size, draw: np.random.Generator) -> Tensor:
    """log u with u uniform on (0, 1], float64."""
    return torch.from_numpy(np.log1p(-draw.random(shape)))
