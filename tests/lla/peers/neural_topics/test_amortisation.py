"""Posteriors fitted to each document by itself, against the best there is where that is known."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import optimize

from lla.common.errors import InputError
from lla.common.random import stream
from lla.peers.bags import bag_of_words
from lla.peers.neural_topics import AEConfig, DirichletVAEConfig, VAEConfig, bounds
from lla.peers.neural_topics.amortisation import refined_elbo, refined_parameters
from lla.peers.neural_topics.model import fit_neural_topics
from lla.peers.neural_topics.network import bags_of
from lla.peers.neural_topics.posteriors import gaussian_kl

SMALL = VAEConfig(n_topics=2, hidden_size=6, n_epochs=2, batch_size=10, learning_rate=0.01)


@pytest.fixture(scope="module")
def fitted(tiny_split):
    return fit_neural_topics(tiny_split, SMALL, 3)


@pytest.fixture(scope="module")
def few(tiny_split):
    return bounds.held_out_documents(tiny_split).select(np.arange(6))


def test_no_step_leaves_the_encoder_s_posterior(fitted, few):
    bags = bags_of(bag_of_words(few))
    network = fitted.network
    found = refined_parameters(network, bags, 0, 0.1, stream(1, 1))
    for x, expected in zip(found, network.parameters_of(bags), strict=True):
        assert torch.equal(x, expected)
    encoded, _ = refined_elbo(fitted, few, n_steps=1, n_samples=3, seed=5)
    expected = bounds.elbo(fitted, few, n_samples=3, seed=5)
    assert np.array_equal(encoded.values, expected.values)


def test_the_posterior_of_a_decoder_that_ignores_z_is_the_prior(fitted, few):
    """Then the bound is log p(x) - KL, which is best at 0, wherever it starts."""
    changed = copy.deepcopy(fitted)
    with torch.no_grad():
        changed.network.decoder.weight.zero_()
        changed.network.encoder.outputs[0].bias.fill_(1.5)
    encoded, refined = refined_elbo(changed, few, n_steps=300, learning_rate=0.1)
    assert (encoded.kl > 1).all() and (refined.kl < 1e-3).all()
    assert np.allclose(encoded.reconstruction, refined.reconstruction)


def test_the_refined_bound_is_the_best_of_its_kind(fitted, few):
    """Beside Nelder and Mead on the same bound, its expectation by Gauss and Hermite's rule."""
    network = copy.deepcopy(fitted.network)
    with torch.no_grad():
        network.decoder.weight.mul_(4.0)  # so that z says much
    points, weights = np.polynomial.hermite_e.hermegauss(20)
    grid = np.stack(np.meshgrid(points, points), axis=-1).reshape(-1, 2)  # (400, 2)
    weight = torch.from_numpy(np.outer(weights, weights).ravel() / (2 * np.pi))
    one = few.select(np.array([0]))
    bags = bags_of(bag_of_words(one))

    def bound(numbers):
        mean, log_variance = (torch.from_numpy(part).float()[None] for part in np.split(numbers, 2))
        z = mean + (0.5 * log_variance).exp() * torch.from_numpy(grid).float()
        with torch.no_grad():
            log_p = (network.decoder(z) * bags.counts).sum(dim=1).double()
            kl = gaussian_kl((mean, log_variance), network.prior)
        return float((weight * log_p).sum() - kl[0])

    def numbers_of(parameters):
        return np.concatenate([x[0].double().numpy() for x in parameters])

    with torch.no_grad():
        start = numbers_of(network.parameters_of(bags))
    options = {"maxiter": 2000, "fatol": 1e-7, "xatol": 1e-5}
    best = optimize.minimize(lambda x: -bound(x), start, method="Nelder-Mead", options=options)
    found = refined_parameters(network, bags, 400, 0.1, stream(1, 1))
    assert bound(start) < -best.fun - 0.05
    assert bound(numbers_of(found)) == pytest.approx(-best.fun, abs=0.01)


@pytest.mark.parametrize("posterior", ["dirichlet", "rejection", "inverse_cdf", "weibull"])
def test_posteriors_on_the_simplex_are_refined_too(posterior, tiny_split, few):
    config = DirichletVAEConfig(
        posterior=posterior, n_topics=3, hidden_size=6, n_epochs=2, warm_up=0, batch_size=10
    )
    fitted = fit_neural_topics(tiny_split, config, 3)
    encoded, refined = refined_elbo(fitted, few, n_steps=60, n_samples=200)
    assert refined.values.sum() > encoded.values.sum() + 1
    again = refined_elbo(fitted, few, n_steps=60, n_samples=200)[1]
    assert np.array_equal(again.values, refined.values)


def test_a_model_without_a_bound_is_refused(tiny_split, few):
    fitted = fit_neural_topics(tiny_split, AEConfig(n_topics=2, hidden_size=4, n_epochs=1), 1)
    with pytest.raises(InputError, match="an autoencoder has no bound"):
        refined_elbo(fitted, few)
    other = fit_neural_topics(tiny_split, replace(SMALL, n_epochs=1), 1)
    with pytest.raises(InputError, match="n_steps"):
        refined_elbo(other, few, n_steps=0)
