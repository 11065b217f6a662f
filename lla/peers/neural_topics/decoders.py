"""From topic proportions to p(w): a product of experts with a background, or a mixture.

    product    p(· | θ) = softmax(norm(θ W) + b)      θ may be any vector
    mixture    p(· | θ) = Σ_k θ_k softmax(norm(w_k) + b)

b is the background. In the original code it is the offset of the decoder's batch normalisation,
which forks that normalise without an offset have lost. There is no scale. In a mixture the
normalisation is over the topics of each word, so that it depends on the weights alone.
"""

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import batch_norm

EPSILON = 1e-5  # added to a variance
STATISTICS = {  # of batch normalisation outside training; the others are defects of published code
    "exact": "of all training documents, in one pass without dropout",
    "running": "a moving average over training batches",
    "batch": "of the documents that are evaluated together, as in training",
    "document": "of the one document that is evaluated, so that nothing of it is left",
}
SMALLEST = 1e-37  # of a probability in a mixture


class BatchNorm(nn.Module):
    """(x - mean) / std, of the batch in training, else as `statistics` says; no scale.

    Attributes
    ----------
    statistics : one of `STATISTICS`
    mean, variance : (n,) set by `set_statistics`, or a moving average where it is "running"
    momentum : of that average, the weight of the newest batch
    """

    mean: Tensor
    variance: Tensor

    statistics = "exact"
    momentum = 0.1

    def __init__(self, n: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(n))
        self.register_buffer("variance", torch.ones(n))

    def forward(self, x: Tensor, training: bool) -> Tensor:
        """x (B, n)."""
        if not training and self.statistics in ("exact", "running"):
            return batch_norm(x, self.mean, self.variance, eps=EPSILON)
        if len(x) == 1 or (not training and self.statistics == "document"):
            return x - x  # its own mean, which Torch refuses
        if self.statistics != "running":
            return batch_norm(x, None, None, training=True, eps=EPSILON)
        return batch_norm(
            x, self.mean, self.variance, training=True, momentum=self.momentum, eps=EPSILON
        )

    def set_statistics(self, mean: Tensor, variance: Tensor) -> None:
        """What `forward` uses outside training, (n,) each."""
        self.mean.copy_(mean)
        self.variance.copy_(variance)


class Decoder(nn.Module):
    """Weights W (K, V) and a background (V,).

    Parameters
    ----------
    probability : (V,) the unigram, where the background starts
    normalised : whether there is batch normalisation
    background : whether there is one; without it b = 0
    """

    background: Tensor

    def __init__(
        self,
        n_topics: int,
        probability: np.ndarray,
        generator: torch.Generator,
        *,
        normalised: bool,
        background: bool,
    ) -> None:
        super().__init__()
        n_words = len(probability)
        self.normalised = normalised
        self.weight = nn.Parameter(torch.empty(n_topics, n_words))
        nn.init.xavier_uniform_(self.weight, generator=generator)
        if background:
            self.background = nn.Parameter(torch.from_numpy(np.log(probability)).float())
        else:
            self.register_buffer("background", torch.zeros(n_words))
        self.norm = self._norm(n_words) if normalised else None

    def _norm(self, n_words: int) -> BatchNorm | None:
        return None

    def forward(self, theta: Tensor, training: bool = False) -> Tensor:
        """log p(w | θ), (B, V)."""
        raise NotImplementedError

    def set_statistics(self, theta: Tensor) -> None:
        """Set the statistics of normalisation from θ (D, K) of all training documents."""

    def topics(self) -> Tensor:
        """φ (K, V): p(w) of a document that has one topic alone."""
        return self(torch.eye(len(self.weight))).exp()


class ProductDecoder(Decoder):
    """A product of experts."""

    def _norm(self, n_words: int) -> BatchNorm | None:
        return BatchNorm(n_words)

    def forward(self, theta: Tensor, training: bool = False) -> Tensor:
        logits = theta @ self.weight  # (B, V)
        if self.norm is not None:
            logits = self.norm(logits, training)
        return (logits + self.background).log_softmax(dim=1)

    def set_statistics(self, theta: Tensor) -> None:
        """The mean and variance of θ W follow from those of θ: no pass over words is needed."""
        if self.norm is None:
            return
        theta, weight = theta.double(), self.weight.double()
        mean = theta.mean(dim=0)  # (K,)
        centred = theta - mean
        covariance = centred.T @ centred / len(theta)  # (K, K)
        variance = (weight * (covariance @ weight)).sum(dim=0).clamp(min=0)
        self.norm.set_statistics(mean @ weight, variance)


class MixtureDecoder(Decoder):
    """A mixture of topics."""

    def forward(self, theta: Tensor, training: bool = False) -> Tensor:
        # Neither term can be 0 unless a softmax underflows; the floor only keeps log p finite.
        return (theta.float() @ self.topics()).clamp(min=SMALLEST).log()

    def topics(self) -> Tensor:
        """φ (K, V)."""
        weight: Tensor = self.weight
        if self.normalised:
            variance = weight.var(dim=0, correction=0)
            weight = (weight - weight.mean(dim=0)) / (variance + EPSILON).sqrt()
        return (weight + self.background).softmax(dim=1)
