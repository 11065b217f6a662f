"""What training maximises: a log-likelihood minus a weighted divergence from the prior."""

import torch
from torch import Tensor

from lla.peers.neural_topics.posteriors import Draw


def log_likelihood(
    objective: str, log_p: Tensor, counts: Tensor, dtype: torch.dtype | None = None
) -> Tensor:
    """log p(x | z) of every document, (B,) nats.

    Parameters
    ----------
    objective : "categorical", Σ_w n_w log p_w, the words in their order; "squared_error",
        -½ Σ_w (n_w - n p_w)², a Gaussian of variance 1 up to a constant
    log_p, counts : (B, V)
    dtype : in which words are summed
    """
    if objective == "categorical":
        return (counts * log_p).sum(dim=1, dtype=dtype)
    length = counts.sum(dim=1, keepdim=True)
    return -0.5 * ((counts - length * log_p.exp()) ** 2).sum(dim=1, dtype=dtype)


def surrogate(
    likelihood: Tensor,
    kl: Tensor,
    weight: float,
    draw: Draw,
    *,
    correct: bool,
    baseline: bool = True,
) -> Tensor:
    """What is maximised, a number whose gradient is that of the mean bound.

    With `correct`, the gradient of E f has the term f ∇ log π, where log π is the draw's log
    density: of a rejection sampler's proposals, or by the score function of z itself, which has
    then no gradient of its own. Since E ∇ log π = 0, the mean f of the other documents may be
    subtracted, which lowers its variance.

    Parameters
    ----------
    likelihood, kl : (B,) nats
    weight : of the divergence
    baseline : whether that mean is subtracted
    """
    value = (likelihood - weight * kl).mean()
    if not correct or draw.log_density is None:
        return value
    signal = likelihood.detach()
    if baseline and (n := len(signal)) > 1:
        signal = signal - (signal.sum() - signal) / (n - 1)
    # The difference is 0: the value stays, and the gradient of the second factor is added.
    change = draw.log_density - draw.log_density.detach()
    return value + (signal * change).mean()
