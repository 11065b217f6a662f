"""The epoch that is kept, and the options that published implementations differ in."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from lla.common.errors import InputError
from lla.common.files import load_arrays, save_tensors
from lla.common.random import stream
from lla.peers.bags import bag_of_words, held_out_parts
from lla.peers.neural_topics import AEConfig, ProdLDAConfig, bounds, fit_neural_topics
from lla.peers.neural_topics.decoders import BatchNorm
from lla.peers.neural_topics.network import NeuralTopics, bags_of
from lla.peers.neural_topics.posteriors import Prior, gaussian_kl, gaussian_log_ratio
from lla.peers.neural_topics.published import PUBLISHED

SMALL = ProdLDAConfig(
    n_topics=4, hidden_size=8, n_epochs=6, batch_size=10, patience=9, learning_rate=0.02
)


@pytest.fixture(scope="module")
def kept(tiny_split):
    """The same training, with another epoch kept."""
    options = ("completion", "bound", "last")
    return {keep: fit_neural_topics(tiny_split, replace(SMALL, keep=keep), 3) for keep in options}


def test_what_is_kept_does_not_change_training(kept):
    losses = [[row["loss"] for row in fit.history] for fit in kept.values()]
    assert losses[0] == losses[1] == losses[2] and len(losses[0]) == SMALL.n_epochs
    assert "criterion" not in kept["completion"].history[0]


def test_the_epoch_of_the_best_development_bound_is_kept(kept, tiny_split):
    """The criterion is the bound of development documents' held-out parts, nats per word."""
    fit = kept["bound"]
    best = min(fit.history, key=lambda row: row["criterion"])
    unseen = held_out_parts(tiny_split, tiny_split.development, "development")
    found = bounds.elbo(fit, unseen, seed=3).values.sum() / unseen.n_tokens
    assert found == pytest.approx(-best["criterion"], abs=1e-9)


def test_the_last_epoch_is_kept_whatever_patience(kept, tiny_split):
    shorter = replace(SMALL, keep="last", patience=1)
    fit = fit_neural_topics(tiny_split, shorter, 3)
    assert len(fit.history) == SMALL.n_epochs and fit.fingerprint() == kept["last"].fingerprint()
    part = tiny_split.restrict(tiny_split.development)
    perplexity = np.exp(-fit.score(part).sum() / part.n_held_out.sum())
    assert perplexity == pytest.approx(fit.history[-1]["development_perplexity"])


def test_an_autoencoder_without_noise_has_no_bound_to_be_kept_by():
    with pytest.raises(InputError, match="keep is 'bound': an autoencoder without noise has none"):
        AEConfig(keep="bound")


def test_a_checkpoint_without_the_new_options_is_read(kept, tiny_split, tmp_path):
    file = tmp_path / "fit.safetensors"
    fit_neural_topics(tiny_split, replace(SMALL, n_epochs=3), 3, checkpoint=file)
    arrays, meta = load_arrays(file)
    for name in ("keep", "statistics", "running_momentum", "offset", "learn_prior"):
        del meta["config"][name]
    save_tensors(file, arrays, meta)
    resumed = fit_neural_topics(tiny_split, SMALL, 3, checkpoint=file)
    assert resumed.fingerprint() == kept["completion"].fingerprint()


def test_running_statistics_are_a_moving_average():
    norm, x = BatchNorm(2), torch.from_numpy(stream(1, 1).random((8, 2))).float()
    norm.statistics, norm.momentum = "running", 0.25
    norm(x, training=True)
    assert torch.allclose(norm.mean, 0.25 * x.mean(dim=0), atol=1e-6)
    assert torch.allclose(norm.variance, 0.75 + 0.25 * x.var(dim=0), atol=1e-6)


def network_of(config, split):
    generator = torch.Generator().manual_seed(1)
    probability = np.full(split.corpus.n_words, 1 / split.corpus.n_words)
    return NeuralTopics(config, probability, generator)


def test_statistics_of_one_document_leave_nothing_of_it(kept, tiny_split):
    """As in the authors' code: whatever is read, the prediction is the background."""
    fit = fit_neural_topics(tiny_split, replace(SMALL, keep="last", statistics="document"), 3)
    assert torch.equal(fit.network.decoder.weight, kept["last"].network.decoder.weight)
    bags = bags_of(bag_of_words(tiny_split.observed))
    rows = fit.network.decoder(fit.network.mean_theta(bags)).exp()
    background = fit.network.decoder.background.softmax(dim=0)
    assert torch.allclose(rows, background.expand_as(rows), atol=1e-6)
    other = kept["last"].network
    other.use_statistics("document")
    assert np.array_equal(fit.score(tiny_split), kept["last"].score(tiny_split))
    other.use_statistics("exact")
    assert not np.array_equal(fit.score(tiny_split), kept["last"].score(tiny_split))


def test_statistics_of_the_batch_depend_on_its_documents(kept, tiny_split):
    network = network_of(SMALL, tiny_split)
    bags = bags_of(bag_of_words(tiny_split.observed))
    few = bags_of(bag_of_words(tiny_split.observed.select(np.arange(3))))
    exact, alone = network.parameters_of(bags)[0][:3], network.parameters_of(few)[0]
    assert torch.allclose(exact, alone, atol=1e-6)
    network.use_statistics("batch")
    changed, alone = network.parameters_of(bags)[0][:3], network.parameters_of(few)[0]
    assert not torch.allclose(changed, alone, atol=1e-2)
    assert torch.allclose(alone.mean(dim=0), torch.zeros(4), atol=1e-6)


def test_offsets_that_are_left_out_stay_0(tiny_split):
    config = replace(SMALL, offset=False, background=False, learn_prior=True, n_epochs=2)
    network = fit_neural_topics(tiny_split, config, 3).network
    assert all(not offset.any() for offset in network.encoder.offsets)
    assert not network.decoder.background.any()
    start = config.prior_of().variance
    assert network.prior_mean.abs().sum() > 0 and not torch.allclose(
        network.prior.variance.float(), torch.full((4,), start)
    )


def test_the_divergence_from_a_trained_prior_is_the_mean_log_ratio():
    draw = np.random.default_rng(1)
    parameters = tuple(torch.from_numpy(draw.normal(size=(1, 3))) for _ in range(2))
    prior = Prior(torch.tensor([0.5, 1.0, 2.0]), 1.0, torch.tensor([0.3, -0.2, 0.0]))
    noise = torch.from_numpy(draw.normal(size=(40_000, 3)))
    z = parameters[0] + (0.5 * parameters[1]).exp() * noise
    ratios = -gaussian_log_ratio(parameters, prior, z).numpy()
    error = ratios.std() / np.sqrt(len(ratios))
    assert abs(ratios.mean() - float(gaussian_kl(parameters, prior))) < 5 * error


@pytest.mark.parametrize("options", [{"posterior": "dirichlet"}, {"posterior": "none"}])
def test_a_prior_that_is_not_gaussian_is_not_trained(options):
    with pytest.raises(InputError, match="learn_prior is True: the prior of the posterior"):
        ProdLDAConfig(learn_prior=True, **options)


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_settings_train(name, tiny_split):
    small = {"n_topics": 4, "hidden_size": 8, "n_epochs": 2, "warm_up": 0, "batch_size": 10}
    fit = fit_neural_topics(tiny_split, replace(PUBLISHED[name], **small), 1)
    assert np.isfinite(fit.score(tiny_split)).all()
    assert np.isfinite(bounds.elbo(fit, tiny_split.observed).values).all()
