"""q(z | x) of a neural topic model: how it is drawn, its mean, and its divergence from the prior.

    none               z = m                        AE; DAE where the input is noisy
    gaussian           z ~ N(m, σ²)                 VAE, NVDM
    gaussian_softmax   θ = softmax(z), z as above   GSM
    laplace            the same; the prior is the Laplace approximation of a Dirichlet: ProdLDA
    dirichlet          θ ~ Dir(a)                   implicit (pathwise) gradients
    rejection          θ ~ Dir(a)                   gradients of a rejection sampler (RSVI)
    inverse_cdf        θ = x / Σx, x an approximation of gamma variables
    weibull            θ = x / Σx, x ~ Weibull(k, λ)

All are functions of parameters, tensors (B, K), and of a generator. A draw is z (B, K); on the
simplex θ = softmax(z), and z are the logarithms of gamma variables, or of what stands for them.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import softplus

from lla.peers.neural_topics.gammas import (
    inverse_cdf_log_gamma,
    pathwise_log_gamma,
    rejection_log_gamma,
    weibull_log,
)

LEAST_CONCENTRATION = 1e-3
LEAST_SHAPE = 0.1  # of a Weibull variable: at a smaller one its moments overflow
EULER = float(np.euler_gamma)

Parameters = tuple[Tensor, ...]  # (B, K) each


class Prior(NamedTuple):
    """A prior of K latent numbers: Dir(`alpha`), or N(`mean`, `variance`), (K,) where trained."""

    variance: float | Tensor
    alpha: float
    mean: float | Tensor = 0.0

    @property
    def log_variance(self) -> float | Tensor:
        """log of the variance."""
        variance = self.variance
        return variance.log() if isinstance(variance, Tensor) else float(np.log(variance))


class Draw(NamedTuple):
    """A draw z (B, K) and, of a rejection sampler, log π(ε; a) (B,) of its accepted proposals."""

    z: Tensor
    log_density: Tensor | None = None


@dataclass(frozen=True)
class Posterior:
    """One kind of posterior.

    Attributes
    ----------
    n_parameters : tensors (B, K) that the encoder gives
    on_simplex : whether θ = softmax(z); else the decoder reads z itself
    is_gaussian : whether the prior is, too
    constrain : from the encoder's outputs to the parameters
    sample : (parameters, generator, n_augment) -> Draw
    mean : parameters -> θ (B, K), or z where it is not on the simplex. Of a softmax of Gaussians it
        is that of the mean; of Weibull variables the normalised means
    kl : (parameters, prior) -> (B,) KL(q ‖ p), nats, float64. Of `inverse_cdf` and `weibull` it is
        that of the unnormalised variables from independent Gamma(α, 1), an upper bound of the one
        on the simplex
    log_ratio : (parameters, prior, z) -> (B,) log p(z) - log q(z), whose mean is -kl
    """

    n_parameters: int
    on_simplex: bool
    constrain: Callable[[Parameters], Parameters]
    sample: Callable[[Parameters, np.random.Generator, int], Draw]
    mean: Callable[[Parameters], Tensor]
    kl: Callable[[Parameters, Prior], Tensor]
    log_ratio: Callable[[Parameters, Prior, Tensor], Tensor]
    is_gaussian: bool = False


def laplace_variance(alpha: float, n_topics: int) -> float:
    """σ² of the Laplace approximation of Dir(α) in the softmax basis, (1 - 1/K)/α; its mean is 0.

    Srivastava and Sutton (2017), equation 3, for a symmetric prior.
    """
    return (1 - 1 / n_topics) / alpha


# No noise


def _same(parameters: Parameters) -> Parameters:
    return parameters


def _first(parameters: Parameters) -> Tensor:
    return parameters[0]


def _no_noise(parameters: Parameters, draw: np.random.Generator, n_augment: int) -> Draw:
    return Draw(parameters[0])


def _zero(parameters: Parameters, prior: Prior) -> Tensor:
    return torch.zeros(len(parameters[0]), dtype=torch.float64)


def _zero_ratio(parameters: Parameters, prior: Prior, z: Tensor) -> Tensor:
    return _zero(parameters, prior)


# Gaussian: mean and log variance


def gaussian_sample(parameters: Parameters, draw: np.random.Generator, n_augment: int = 0) -> Draw:
    """z = m + σ ε."""
    mean, log_variance = parameters
    noise = torch.from_numpy(draw.standard_normal(mean.shape, np.float32)).to(mean.dtype)
    return Draw(mean + (0.5 * log_variance).exp() * noise)


def gaussian_kl(parameters: Parameters, prior: Prior) -> Tensor:
    """½ Σ_k ((σ² + (m - μ)²)/s - 1 - log σ² + log s), μ and s the prior's mean and variance."""
    mean, log_variance = (parameter.double() for parameter in parameters)
    ratio = (log_variance.exp() + (mean - prior.mean) ** 2) / prior.variance
    return 0.5 * (ratio - 1 - log_variance + prior.log_variance).sum(dim=-1)


def gaussian_log_ratio(parameters: Parameters, prior: Prior, z: Tensor) -> Tensor:
    """log N(z; μ, s) - log N(z; m, σ²), summed over k."""
    mean, log_variance = (parameter.double() for parameter in parameters)
    z = z.double()
    prior_term = (z - prior.mean) ** 2 / prior.variance + prior.log_variance
    posterior_term = (z - mean) ** 2 / log_variance.exp() + log_variance
    return 0.5 * (posterior_term - prior_term).sum(dim=-1)


def _softmax_of_mean(parameters: Parameters) -> Tensor:
    return parameters[0].softmax(dim=-1)


# Dirichlet: concentrations


def _concentrations(parameters: Parameters) -> Parameters:
    return (softplus(parameters[0]) + LEAST_CONCENTRATION,)


def dirichlet_sample(parameters: Parameters, draw: np.random.Generator, n_augment: int = 0) -> Draw:
    """Log-gammas with implicit gradients."""
    return Draw(pathwise_log_gamma(parameters[0], draw))


def rejection_sample(parameters: Parameters, draw: np.random.Generator, n_augment: int) -> Draw:
    """Log-gammas by a rejection sampler with `n_augment` uniforms each."""
    z, log_density = rejection_log_gamma(parameters[0], draw, n_augment)
    return Draw(z, log_density.sum(dim=-1))


def dirichlet_mean(parameters: Parameters) -> Tensor:
    """a / Σa."""
    return parameters[0] / parameters[0].sum(dim=-1, keepdim=True)


def dirichlet_kl(parameters: Parameters, prior: Prior) -> Tensor:
    """KL(Dir(a) ‖ Dir(α))."""
    a = parameters[0].double()
    total = a.sum(dim=-1)
    difference = torch.special.digamma(a) - torch.special.digamma(total).unsqueeze(-1)
    normalisers = torch.lgamma(total) - torch.lgamma(a).sum(dim=-1)
    return (
        normalisers
        + log_beta(prior.alpha, a.shape[-1])
        + ((a - prior.alpha) * difference).sum(dim=-1)
    )


def log_beta(alpha: float, n_topics: int) -> float:
    """log Γ(α)^K / Γ(Kα), the normaliser of a symmetric Dirichlet."""
    shape = torch.tensor([alpha, n_topics * alpha], dtype=torch.float64)
    one, total = torch.lgamma(shape).tolist()
    return n_topics * one - total


def dirichlet_log_ratio(parameters: Parameters, prior: Prior, z: Tensor) -> Tensor:
    """log Dir(θ; α) - log Dir(θ; a) at θ = softmax(z)."""
    a, log_theta = parameters[0].double(), z.double().log_softmax(dim=-1)
    normalisers = torch.lgamma(a).sum(dim=-1) - torch.lgamma(a.sum(dim=-1))
    prior_normaliser = log_beta(prior.alpha, a.shape[-1])
    return normalisers - prior_normaliser + ((prior.alpha - a) * log_theta).sum(dim=-1)


# Approximate inverse distribution function: log x = (log u + log Γ(a+1)) / a


def inverse_cdf_sample(
    parameters: Parameters, draw: np.random.Generator, n_augment: int = 0
) -> Draw:
    """Logarithms of approximate gamma variables."""
    return Draw(inverse_cdf_log_gamma(parameters[0], draw))


def inverse_cdf_kl(parameters: Parameters, prior: Prior) -> Tensor:
    """KL of what is drawn from Gamma(α, 1), summed over k.

    q(x) = a x^(a-1) / Γ(a+1) on (0, Γ(a+1)^(1/a)); E log x = (log Γ(a+1) - 1)/a.
    """
    a = parameters[0].double()
    log_x = (torch.lgamma(a + 1) - 1) / a
    x = (torch.lgamma(a + 1) / a).exp() * a / (a + 1)
    log_q = a.log() - torch.lgamma(a + 1) + (a - 1) * log_x
    return (log_q - _gamma_log_density(prior.alpha, log_x, x)).sum(dim=-1)


def inverse_cdf_log_ratio(parameters: Parameters, prior: Prior, z: Tensor) -> Tensor:
    """log Gamma(x; α, 1) - log q(x), summed over k, at x = exp(z)."""
    a, z = parameters[0].double(), z.double()
    log_q = a.log() - torch.lgamma(a + 1) + (a - 1) * z
    return (_gamma_log_density(prior.alpha, z, z.exp()) - log_q).sum(dim=-1)


# Weibull: shape k and scale λ


def _shape_and_scale(parameters: Parameters) -> Parameters:
    shape, scale = parameters
    return softplus(shape) + LEAST_SHAPE, softplus(scale) + LEAST_CONCENTRATION


def weibull_sample(parameters: Parameters, draw: np.random.Generator, n_augment: int = 0) -> Draw:
    """Logarithms of Weibull variables."""
    shape, scale = parameters
    return Draw(weibull_log(shape, scale, draw))


def weibull_mean(parameters: Parameters) -> Tensor:
    """E x_k / Σ_j E x_j with E x = λ Γ(1 + 1/k)."""
    shape, scale = (parameter.double() for parameter in parameters)
    return (scale.log() + torch.lgamma(1 + 1 / shape)).softmax(dim=-1)


def weibull_kl(parameters: Parameters, prior: Prior) -> Tensor:
    """KL(Weibull(k, λ) ‖ Gamma(α, 1)), summed over k (Zhang et al., 2018)."""
    shape, scale = (parameter.double() for parameter in parameters)
    log_x = scale.log() - EULER / shape
    x = scale * torch.lgamma(1 + 1 / shape).exp()
    log_q = shape.log() - shape * scale.log() + (shape - 1) * log_x - 1
    return (log_q - _gamma_log_density(prior.alpha, log_x, x)).sum(dim=-1)


def weibull_log_ratio(parameters: Parameters, prior: Prior, z: Tensor) -> Tensor:
    """log Gamma(x; α, 1) - log Weibull(x; k, λ), summed over k, at x = exp(z)."""
    shape, scale = (parameter.double() for parameter in parameters)
    z = z.double()
    power = (shape * (z - scale.log())).exp()
    log_q = shape.log() - shape * scale.log() + (shape - 1) * z - power
    return (_gamma_log_density(prior.alpha, z, z.exp()) - log_q).sum(dim=-1)


def _gamma_log_density(alpha: float, log_x: Tensor, x: Tensor) -> Tensor:
    """log Gamma(x; α, 1), or its mean where both are means."""
    return (alpha - 1) * log_x - x - torch.lgamma(torch.tensor(alpha, dtype=torch.float64))


_GAUSSIAN = Posterior(
    n_parameters=2,
    on_simplex=False,
    constrain=_same,
    sample=gaussian_sample,
    mean=_first,
    kl=gaussian_kl,
    log_ratio=gaussian_log_ratio,
    is_gaussian=True,
)
_SOFTMAX = replace(_GAUSSIAN, on_simplex=True, mean=_softmax_of_mean)
_DIRICHLET = Posterior(
    n_parameters=1,
    on_simplex=True,
    constrain=_concentrations,
    sample=dirichlet_sample,
    mean=dirichlet_mean,
    kl=dirichlet_kl,
    log_ratio=dirichlet_log_ratio,
)
POSTERIORS = {
    "none": replace(
        _GAUSSIAN,
        n_parameters=1,
        sample=_no_noise,
        kl=_zero,
        log_ratio=_zero_ratio,
        is_gaussian=False,
    ),
    "gaussian": _GAUSSIAN,
    "gaussian_softmax": _SOFTMAX,
    "laplace": _SOFTMAX,
    "dirichlet": _DIRICHLET,
    "rejection": replace(_DIRICHLET, sample=rejection_sample),
    "inverse_cdf": replace(
        _DIRICHLET,
        sample=inverse_cdf_sample,
        kl=inverse_cdf_kl,
        log_ratio=inverse_cdf_log_ratio,
    ),
    "weibull": Posterior(
        n_parameters=2,
        on_simplex=True,
        constrain=_shape_and_scale,
        sample=weibull_sample,
        mean=weibull_mean,
        kl=weibull_kl,
        log_ratio=weibull_log_ratio,
    ),
}
