"""Neural topic models: a posterior, a decoder and an objective, each chosen on its own.

    model                 posterior q(z | x)                     decoder    objective
    AE, DAE               none; the DAE's input is noisy         product    squared error
    VAE, NVDM             Gaussian                               product    categorical
    GSM                   softmax of a Gaussian                  mixture    categorical
    NVLDA                 the same, a Dirichlet approximated     mixture    categorical
    ProdLDA               the same                               product    categorical
    Dirichlet VAEs        Dirichlet: pathwise gradients,         product    categorical
                          rejection sampling, inverse CDF;
                          Weibull

All read bags of words and maximise E_q log p(x | z) - β KL(q(z | x) ‖ p(z)), the weight rising
during a warm-up. Gradients go along the draw of z, or by its score function (`gradient`).

What differs from the published code. The decoder's offset of batch normalisation is kept, as a
background. Statistics of normalisation are those of all training documents, found in one pass
without dropout, and never a moving average: scoring does not depend on which documents stand in a
batch. Development documents, no test document, decide which epoch is kept: by the prediction of
their held-out words, or by the bound of those, which is the Dirichlet VAEs' default. The last short
batch is spread over the others. NVDM's encoder and decoder are trained jointly; GSM has no linear
map before its softmax. ProdLDA's divergence is from the logistic normal that approximates the
Dirichlet, so bounds of models with other priors compare models with their priors. The divergence
of the inverse-CDF and the Weibull posterior is that of the unnormalised variables, an upper bound.
"""

from lla.peers.neural_topics.config import (
    AEConfig,
    DAEConfig,
    DirichletInverseCDFConfig,
    DirichletRSVIConfig,
    DirichletVAEConfig,
    GSMConfig,
    NeuralTopicsConfig,
    NVDMConfig,
    NVLDAConfig,
    ProdLDAConfig,
    VAEConfig,
    WeibullVAEConfig,
)
from lla.peers.neural_topics.model import FittedNeuralTopics, fit_neural_topics

__all__ = [
    "AEConfig",
    "DAEConfig",
    "DirichletInverseCDFConfig",
    "DirichletRSVIConfig",
    "DirichletVAEConfig",
    "FittedNeuralTopics",
    "GSMConfig",
    "NVDMConfig",
    "NVLDAConfig",
    "NeuralTopicsConfig",
    "ProdLDAConfig",
    "VAEConfig",
    "WeibullVAEConfig",
    "fit_neural_topics",
]
