"""What the encoder's guess costs: the posterior of every document fitted by itself.

The amortisation gap (Cremer, Li & Duvenaud, 2018) is the evidence lower bound with the best q of a
kind for each document, less that with the encoder's q. The decoder and the prior stay as they are.
"""

import numpy as np
import torch

from lla.common.eager import Adam
from lla.common.errors import check_integer, check_positive
from lla.common.parallel import one_thread
from lla.common.random import stream
from lla.corpus import Corpus
from lla.peers.neural_topics.bounds import Bound, batches, check_fitted
from lla.peers.neural_topics.model import BOUND, FAMILY, REFINED, FittedNeuralTopics
from lla.peers.neural_topics.network import Bags, NeuralTopics
from lla.peers.neural_topics.posteriors import Parameters


def refined_elbo(
    fitted: FittedNeuralTopics,
    corpus: Corpus,
    *,
    n_steps: int = 50,
    learning_rate: float = 0.3,
    n_samples: int = 10,
    seed: int = 0,
) -> tuple[Bound, Bound]:
    """The evidence lower bound with the encoder's posteriors, and after steps of Adam on them.

    Both are estimated from the same random numbers.

    Parameters
    ----------
    n_steps : of Adam on the parameters of every document, before they are constrained; each step
        draws z anew
    learning_rate : at the first step; it falls to 0 along a line
    n_samples : of z in the estimates of both bounds
    """
    check_fitted(fitted, corpus)
    check_integer("n_steps", n_steps)
    check_integer("n_samples", n_samples)
    check_positive("learning_rate", learning_rate)
    network, lengths = fitted.network, np.asarray(corpus.lengths)
    fits, divergences = np.zeros((2, corpus.n_documents)), np.zeros((2, corpus.n_documents))
    with one_thread():
        for number, (documents, bags) in enumerate(batches(corpus)):
            draw = stream(seed, FAMILY, REFINED, number)
            pair = (
                network.parameters_of(bags),
                refined_parameters(network, bags, n_steps, learning_rate, draw),
            )
            for i, parameters in enumerate(pair):
                draw = stream(seed, FAMILY, BOUND, number)
                fit, kl = network.bound_of(bags, parameters, draw, n_samples)
                fits[i, documents], divergences[i, documents] = fit, kl
    encoded, refined = (Bound(fits[i], divergences[i], lengths) for i in range(2))
    return encoded, refined


def refined_parameters(
    network: NeuralTopics,
    bags: Bags,
    n_steps: int,
    learning_rate: float,
    draw: np.random.Generator,
) -> Parameters:
    """The posterior's parameters, (B, K) each, after steps of Adam from the encoder's.

    Adam works on every number by itself, so the documents of a batch share nothing but `draw`.
    """
    with torch.no_grad():
        start = network.encoder.normalise(network.encoder.raw(bags))
    free = [x.clone().requires_grad_() for x in start]
    optimizer = Adam(free, lr=learning_rate)
    for step in range(n_steps):
        optimizer.param_groups[0]["lr"] = learning_rate * (1 - step / n_steps)
        parameters = network.posterior.constrain(tuple(free))
        z = network.sample(parameters, draw).z
        bound = network.likelihood(bags, z) - network.posterior.kl(parameters, network.prior)
        gradients = torch.autograd.grad(-bound.sum(), free)
        for x, gradient in zip(free, gradients, strict=True):
            x.grad = gradient
        optimizer.step()
    with torch.no_grad():
        return network.posterior.constrain(tuple(x.detach() for x in free))
