"""How much a latent vector says: its KL, mutual information, active units, reconstructions."""

from collections.abc import Sequence

import numpy as np
from scipy.special import logsumexp

ACTIVE = 0.01  # variance of a dimension's means from which it is in use (Burda et al., 2016)


def mean_kl(mean: np.ndarray, variance: np.ndarray) -> float:
    """Mean over sentences of KL(q(z | words) ‖ N(0, I)), nats; mean and variance are (N, L)."""
    return float(0.5 * (mean**2 + variance - 1 - np.log(variance)).sum(axis=1).mean())


def active_units(mean: np.ndarray) -> int:
    """Dimensions whose posterior means (N, L) vary over sentences by more than `ACTIVE`."""
    return int((mean.var(axis=0) > ACTIVE).sum())


def mutual_information(mean: np.ndarray, variance: np.ndarray, noise: np.ndarray) -> float:
    """Nats that z tells about which of N sentences it is of, at most log N.

    The mean of log q(z | words) - log q(z) at one z of each sentence, q(z) being the mixture of all
    N posteriors (Hoffman & Johnson, 2016).

    Parameters
    ----------
    mean, variance, noise : (N, L), the last standard normal
    """
    z = mean + np.sqrt(variance) * noise
    # Of every pair: z of the one sentence under the other's posterior, without the constant.
    log_q = -0.5 * np.log(variance).sum(axis=1)[None].repeat(len(z), axis=0)
    for j in range(z.shape[1]):
        log_q -= 0.5 * (z[:, j, None] - mean[None, :, j]) ** 2 / variance[None, :, j]
    mixture = logsumexp(log_q, axis=1) - np.log(len(z))
    return float((np.diagonal(log_q) - mixture).mean())


def exact_share(decoded: Sequence[Sequence[int]], words: Sequence[np.ndarray]) -> float:
    """Share of sentences of which every word is decoded in its place, and no other."""
    pairs = zip(decoded, words, strict=True)
    return float(np.mean([list(d) == w.tolist() for d, w in pairs]))


def word_accuracy(decoded: Sequence[Sequence[int]], words: Sequence[np.ndarray]) -> float:
    """Share of all words that are decoded in their place."""
    pairs = list(zip(decoded, words, strict=True))
    right = sum(a == b for d, w in pairs for a, b in zip(d, w.tolist(), strict=False))
    return right / sum(len(w) for _, w in pairs)
