"""Configurations: posterior × decoder × objective, and the models that are known by a name."""

from dataclasses import dataclass

from lla.common.display import Configuration
from lla.common.errors import (
    InputError,
    check_choice,
    check_each,
    check_flag,
    check_integer,
    check_not_negative,
    check_positive,
    check_prior,
    check_share,
)
from lla.peers.neural_topics.decoders import STATISTICS
from lla.peers.neural_topics.posteriors import POSTERIORS, Prior, laplace_variance

DECODERS = ("product", "mixture")
OBJECTIVES = ("categorical", "squared_error")
KEPT = ("completion", "bound", "last")
GRADIENTS = ("pathwise", "score_function", "score_function_baseline")
ACTIVATIONS = ("softplus", "relu", "tanh")


@dataclass(frozen=True, repr=False)
class NeuralTopicsConfig(Configuration):
    """Everything a fit depends on but the seed. The defaults are ProdLDA's.

    Attributes
    ----------
    posterior, decoder, objective : see `POSTERIORS`, `DECODERS`, `OBJECTIVES`
    n_topics : K, the size of the latent vector
    hidden_size, n_layers, activation : of the encoder
    batch_norm : of the encoder's outputs and of the decoder, with an offset and without a scale
    statistics : of batch normalisation outside training, see `STATISTICS`; "exact" alone is right
    running_momentum : weight of the newest batch in "running" statistics
    offset : whether the encoder's outputs have an offset after normalisation
    background : whether the decoder has an offset per word, at first the words' log frequencies
    dropout : share of the encoder's last hidden units left out in training
    topic_dropout : the same of θ; not with a mixture, whose p(w) would no longer sum to 1
    input_dropout : share of the distinct words hidden from the encoder in training (denoising)
    prior : α of the Dirichlet, or of the one that `laplace` approximates; the Gaussian is N(0, I)
    learn_prior : whether mean and variance of a Gaussian prior are trained, too
    beta : weight of the divergence from the prior
    warm_up : epochs in which that weight rises from 0; none of them is the one that is kept
    gradient : of E log p(x | z) with respect to the encoder. "pathwise": along the draw;
        "score_function": log p(x | z) ∇ log q(z | x), REINFORCE; "score_function_baseline": the
        same with the mean log p(x | z) of the other documents of the batch subtracted
    n_augment, correction : of the posterior `rejection`: uniforms per gamma variable, and whether
        the correction of the gradient is added
    learning_rate, momentum, second_momentum : of Adam; the momenta are its β1 and β2
    batch_size : documents per step, at least; a rest is spread over the batches
    keep : the epoch that is kept. "completion": the one that predicts development documents'
        held-out words best from their observed words; "bound": the one with the best evidence
        lower bound of these held-out parts, each a document of its own, at a weight of 1; "last"
    n_epochs, patience : at most so many passes; stop after so many without a better one; "last"
        has no patience
    """

    posterior: str = "laplace"
    decoder: str = "product"
    objective: str = "categorical"
    n_topics: int = 50
    hidden_size: int = 100
    n_layers: int = 2
    activation: str = "softplus"
    batch_norm: bool = True
    statistics: str = "exact"
    running_momentum: float = 0.1
    offset: bool = True
    background: bool = True
    dropout: float = 0.2
    topic_dropout: float = 0.2
    input_dropout: float = 0.0
    prior: float = 1.0
    learn_prior: bool = False
    beta: float = 1.0
    warm_up: int = 0
    gradient: str = "pathwise"
    n_augment: int = 10
    correction: bool = False
    learning_rate: float = 2e-3
    momentum: float = 0.99
    second_momentum: float = 0.999
    batch_size: int = 200
    keep: str = "completion"
    n_epochs: int = 200
    patience: int = 30

    def __post_init__(self) -> None:
        check_each(self, check_choice, "posterior", choices=tuple(POSTERIORS))
        check_each(self, check_choice, "decoder", choices=DECODERS)
        check_each(self, check_choice, "objective", choices=OBJECTIVES)
        check_each(self, check_choice, "activation", choices=ACTIVATIONS)
        check_each(self, check_choice, "statistics", choices=tuple(STATISTICS))
        check_each(self, check_choice, "keep", choices=KEPT)
        check_each(self, check_choice, "gradient", choices=GRADIENTS)
        check_each(self, check_integer, "n_topics", "hidden_size", "n_layers", "n_augment")
        check_each(self, check_integer, "batch_size", "n_epochs", "patience")
        check_each(self, check_integer, "warm_up", least=0)
        check_each(self, check_flag, "batch_norm", "offset", "background")
        check_each(self, check_flag, "correction", "learn_prior")
        check_each(self, check_share, "dropout", "topic_dropout", "input_dropout")
        check_each(self, check_share, "momentum", "second_momentum", "running_momentum")
        check_each(self, check_prior, "prior")
        check_each(self, check_not_negative, "beta")
        check_each(self, check_positive, "learning_rate")
        if self.decoder == "mixture" and self.topic_dropout:
            raise InputError(
                f"topic_dropout is {self.topic_dropout}: p(w) of a mixture would not sum to 1; "
                "give 0, or decoder='product'"
            )
        if self.decoder == "mixture" and not POSTERIORS[self.posterior].on_simplex:
            raise InputError(
                f"posterior is {self.posterior!r}: a mixture needs proportions; give a posterior "
                "on the simplex, or decoder='product'"
            )
        if self.correction and self.posterior != "rejection":
            raise InputError(
                "correction is True: it is the posterior 'rejection' alone that has one; leave it "
                "out, or give posterior='rejection'"
            )
        if self.gradient != "pathwise" and (self.posterior == "none" or self.correction):
            raise InputError(
                f"gradient is {self.gradient!r}: it needs noise, and replaces the correction of a "
                "rejection sampler; give 'pathwise'"
            )
        if self.learn_prior and not POSTERIORS[self.posterior].is_gaussian:
            raise InputError(
                f"learn_prior is True: the prior of the posterior {self.posterior!r} is not "
                "Gaussian; leave it out"
            )
        if self.keep == "bound" and self.posterior == "none":
            raise InputError(
                "keep is 'bound': an autoencoder without noise has none; give 'completion' or "
                "'last'"
            )

    def prior_of(self) -> Prior:
        """The prior of the posterior's kind."""
        laplace = self.posterior == "laplace"
        variance = laplace_variance(self.prior, self.n_topics) if laplace else 1.0
        # One topic leaves nothing to be divided; its variance must not be 0.
        return Prior(variance=variance or 1.0, alpha=self.prior)

    def kl_weight(self, epoch: int) -> float:
        """Weight of the divergence in an epoch, from 1 on: it rises to `beta` during warm-up."""
        return self.beta * min(1.0, epoch / (self.warm_up + 1))


@dataclass(frozen=True, repr=False)
class ProdLDAConfig(NeuralTopicsConfig):
    """A product of experts, a Gaussian for the Dirichlet (Srivastava & Sutton, 2017).

    With `learn_prior`, no `topic_dropout` and the Dirichlet VAE's other settings of training,
    topics are more coherent at the same diversity.
    """


@dataclass(frozen=True, repr=False)
class NVLDAConfig(NeuralTopicsConfig):
    """The same with a mixture of topics, as in LDA."""

    decoder: str = "mixture"
    topic_dropout: float = 0.0
    learning_rate: float = 5e-3


@dataclass(frozen=True, repr=False)
class VAEConfig(NeuralTopicsConfig):
    """A Gaussian posterior and a categorical likelihood (Kingma & Welling, 2014)."""

    posterior: str = "gaussian"
    activation: str = "relu"
    batch_norm: bool = False
    dropout: float = 0.0
    topic_dropout: float = 0.0
    learning_rate: float = 1e-3
    momentum: float = 0.9


@dataclass(frozen=True, repr=False)
class NVDMConfig(VAEConfig):
    """A Gaussian document vector (Miao, Yu & Blunsom, 2016), trained jointly."""

    hidden_size: int = 500
    n_layers: int = 1
    activation: str = "tanh"
    learning_rate: float = 5e-4


@dataclass(frozen=True, repr=False)
class GSMConfig(NVDMConfig):
    """Gaussian softmax (Miao, Grefenstette & Blunsom, 2017): proportions over a mixture."""

    posterior: str = "gaussian_softmax"
    decoder: str = "mixture"
    dropout: float = 0.2


@dataclass(frozen=True, repr=False)
class DirichletVAEConfig(NeuralTopicsConfig):
    """A Dirichlet posterior with pathwise gradients (Burkhardt & Kramer, 2019).

    By the prediction of held-out words, epochs soon after the warm-up would be kept, whose bound is
    far worse; on development documents of three corpora the bound loses less.
    """

    posterior: str = "dirichlet"
    activation: str = "relu"
    dropout: float = 0.25
    topic_dropout: float = 0.0
    prior: float = 0.02
    warm_up: int = 100
    learning_rate: float = 1e-3
    momentum: float = 0.9
    keep: str = "bound"


@dataclass(frozen=True, repr=False)
class DirichletRSVIConfig(DirichletVAEConfig):
    """The same with the gradients of a rejection sampler (Naesseth et al., 2017)."""

    posterior: str = "rejection"


@dataclass(frozen=True, repr=False)
class DirichletInverseCDFConfig(DirichletVAEConfig):
    """The same with an approximate inverse distribution function (Joo et al., 2020)."""

    posterior: str = "inverse_cdf"


@dataclass(frozen=True, repr=False)
class WeibullVAEConfig(DirichletVAEConfig):
    """Normalised Weibull variables in place of gamma variables (Zhang et al., 2018)."""

    posterior: str = "weibull"


@dataclass(frozen=True, repr=False)
class AEConfig(VAEConfig):
    """An autoencoder: no noise, no prior, squared error."""

    posterior: str = "none"
    objective: str = "squared_error"


@dataclass(frozen=True, repr=False)
class DAEConfig(AEConfig):
    """A denoising autoencoder: words are hidden from the encoder."""

    input_dropout: float = 0.3
