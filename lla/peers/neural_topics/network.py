"""The network: an encoder of bags of words, a posterior, a decoder."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
import torch
from scipy.sparse import csr_array
from torch import Tensor, nn
from torch.nn.functional import embedding_bag, relu, softplus

from lla.common.eager import Uninitialised
from lla.peers.bags import dense, drop
from lla.peers.neural_topics.config import NeuralTopicsConfig
from lla.peers.neural_topics.decoders import BatchNorm, MixtureDecoder, ProductDecoder
from lla.peers.neural_topics.objectives import log_likelihood
from lla.peers.neural_topics.posteriors import POSTERIORS, Draw, Parameters, Prior
from lla.peers.training import draw_weights

ACTIVATION: dict[str, Callable[[Tensor], Tensor]] = {
    "softplus": softplus,
    "relu": relu,
    "tanh": torch.tanh,
}


class Bags(NamedTuple):
    """Documents of a batch as the encoder reads them, and their counts (B, V).

    words, offsets, values : distinct words, where each document's begin, how often each is there
    """

    words: Tensor
    offsets: Tensor
    values: Tensor
    counts: Tensor


def bags_of(
    counts: csr_array, input_dropout: float = 0.0, draw: np.random.Generator | None = None
) -> Bags:
    """The batch of `counts` (B, V); with `draw` a share of its words is hidden from the encoder."""
    read = drop(counts, input_dropout, draw) if draw is not None and input_dropout else counts
    return Bags(
        torch.from_numpy(read.indices.astype(np.int64)),
        torch.from_numpy(read.indptr[:-1].astype(np.int64)),
        torch.from_numpy(read.data),
        dense(counts),
    )


class Encoder(nn.Module):
    """Bag of words -> hidden layers -> the posterior's parameters, unconstrained."""

    def __init__(
        self, config: NeuralTopicsConfig, n_words: int, generator: torch.Generator
    ) -> None:
        super().__init__()
        hidden, n_topics = config.hidden_size, config.n_topics
        n_outputs = POSTERIORS[config.posterior].n_parameters
        self.config = config
        with Uninitialised():
            self.weight = nn.Parameter(torch.empty(n_words, hidden))
            self.bias = nn.Parameter(torch.zeros(hidden))
            self.layers = nn.ModuleList(
                nn.Linear(hidden, hidden) for _ in range(config.n_layers - 1)
            )
            self.outputs = nn.ModuleList(nn.Linear(hidden, n_topics) for _ in range(n_outputs))
        draw_weights(self, generator)
        self.norms = nn.ModuleList(
            BatchNorm(n_topics) for _ in range(n_outputs if config.batch_norm else 0)
        )
        self.offsets = nn.ParameterList(
            nn.Parameter(torch.zeros(n_topics), requires_grad=config.offset) for _ in self.norms
        )

    def raw(self, bags: Bags, draw: np.random.Generator | None = None) -> Parameters:
        """Outputs before normalisation, (B, K) each; with `draw` there is dropout."""
        activation = ACTIVATION[self.config.activation]
        # The product of the counts with the first weights, without the words that are not there.
        h = embedding_bag(
            bags.words, self.weight, bags.offsets, mode="sum", per_sample_weights=bags.values
        )  # (B, H)
        h = activation(h + self.bias)
        for layer in self.layers:
            h = activation(layer(h))
        h = dropout(h, self.config.dropout, draw)
        return tuple(output(h) for output in self.outputs)

    def normalise(self, raw: Parameters, training: bool = False) -> Parameters:
        """The same after batch normalisation, where there is one."""
        if not len(self.norms):
            return raw
        parts = zip(raw, self.norms, self.offsets, strict=True)
        return tuple(norm(x, training) + offset for x, norm, offset in parts)


class NeuralTopics(nn.Module):
    """One model. What is drawn, dropout too, comes from generators that are handed over.

    Statistics of batches are used in `training_step` alone, so no evaluation can depend on which
    documents stand in a batch.
    """

    def __init__(
        self, config: NeuralTopicsConfig, probability: np.ndarray, generator: torch.Generator
    ) -> None:
        super().__init__()
        self.config = config
        self.posterior = POSTERIORS[config.posterior]
        self.encoder = Encoder(config, len(probability), generator)
        kind = ProductDecoder if config.decoder == "product" else MixtureDecoder
        self.decoder = kind(
            config.n_topics,
            probability,
            generator,
            normalised=config.batch_norm,
            background=config.background,
        )
        if config.learn_prior:
            start = torch.full((config.n_topics,), float(np.log(config.prior_of().variance)))
            self.prior_mean = nn.Parameter(torch.zeros(config.n_topics))
            self.prior_log_variance = nn.Parameter(start)
        self.use_statistics(config.statistics)

    def use_statistics(self, statistics: str) -> None:
        """Normalise outside training as one of `STATISTICS` says.

        A network trained with "exact" ones can so be evaluated as with "batch" or "document".
        """
        for module in self.modules():
            if isinstance(module, BatchNorm):
                module.statistics, module.momentum = statistics, self.config.running_momentum

    @property
    def prior(self) -> Prior:
        """The prior, as trained or as configured."""
        prior = self.config.prior_of()
        if not self.config.learn_prior:
            return prior
        mean, log_variance = self.prior_mean.double(), self.prior_log_variance.double()
        return prior._replace(mean=mean, variance=log_variance.exp())

    def parameters_of(self, bags: Bags) -> Parameters:
        """The posterior's parameters, (B, K) each, without dropout."""
        return self.posterior.constrain(self.encoder.normalise(self.encoder.raw(bags)))

    def sample(self, parameters: Parameters, draw: np.random.Generator) -> Draw:
        """z (B, K)."""
        return self.posterior.sample(parameters, draw, self.config.n_augment)

    def theta(self, z: Tensor) -> Tensor:
        """What the decoder reads, (B, K): softmax(z) on the simplex, else z."""
        return z.softmax(dim=-1).float() if self.posterior.on_simplex else z

    def mean_theta(self, bags: Bags) -> Tensor:
        """The posterior's mean, (B, K)."""
        return self.posterior.mean(self.parameters_of(bags)).float()

    def likelihood(self, bags: Bags, z: Tensor) -> Tensor:
        """log p(x | z) of every document at z (B, K), (B,) float64."""
        log_p = self.decoder(self.theta(z))
        return log_likelihood(self.config.objective, log_p, bags.counts, torch.float64)

    @torch.no_grad()
    def bound(
        self, bags: Bags, draw: np.random.Generator, n_samples: int = 1
    ) -> tuple[np.ndarray, np.ndarray]:
        """E_q log p(x | z) from `n_samples` draws, and the divergence, (B,) float64 each."""
        return self.bound_of(bags, self.parameters_of(bags), draw, n_samples)

    @torch.no_grad()
    def bound_of(
        self, bags: Bags, parameters: Parameters, draw: np.random.Generator, n_samples: int = 1
    ) -> tuple[np.ndarray, np.ndarray]:
        """The same with other parameters of the posterior than the encoder's."""
        fit = np.zeros(len(bags.counts))
        for _ in range(n_samples):
            fit += self.likelihood(bags, self.sample(parameters, draw).z).numpy()
        return fit / n_samples, self.posterior.kl(parameters, self.prior).numpy()

    def training_step(self, bags: Bags, draw: np.random.Generator) -> tuple[Tensor, Tensor, Draw]:
        """log p(w | z) (B, V), KL (B,) and the draw, with dropout and statistics of the batch."""
        raw = self.encoder.normalise(self.encoder.raw(bags, draw), training=True)
        parameters = self.posterior.constrain(raw)
        drawn = self.sample(parameters, draw)
        if self.config.gradient != "pathwise":
            z = drawn.z.detach()
            # log p(z) has no gradient here: z is fixed, and so is this prior.
            log_ratio = self.posterior.log_ratio(parameters, self.config.prior_of(), z)
            drawn = Draw(z, -log_ratio)
        theta = dropout(self.theta(drawn.z), self.config.topic_dropout, draw)
        log_p = self.decoder(theta, training=True)
        return log_p, self.posterior.kl(parameters, self.prior), drawn

    @torch.no_grad()
    def set_statistics(self, batches: Iterable[Bags], draw: np.random.Generator) -> None:
        """Exact statistics of normalisation: one pass over the training documents, no dropout."""
        if not self.config.batch_norm or self.config.statistics != "exact":
            return
        parts = [self.encoder.raw(bags) for bags in batches]
        raw = tuple(torch.cat(list(of_head)) for of_head in zip(*parts, strict=True))  # (D, K)
        for x, norm in zip(raw, self.encoder.norms, strict=True):
            assert isinstance(norm, BatchNorm)
            norm.set_statistics(x.mean(dim=0), x.var(dim=0, correction=0))
        parameters = self.posterior.constrain(self.encoder.normalise(raw))
        self.decoder.set_statistics(self.theta(self.sample(parameters, draw).z))


def dropout(x: Tensor, share: float, draw: np.random.Generator | None) -> Tensor:
    """Leave out a share of the entries and scale the others up; all stay without `draw`."""
    if draw is None or not share:
        return x
    kept = torch.from_numpy(draw.random(x.shape, np.float32) >= share)
    return x * kept / (1 - share)
