"""Training by the score function: the same mean gradient as along the draw, and what is refused."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from lla.common.errors import InputError
from lla.common.files import load_arrays, save_tensors
from lla.common.random import stream
from lla.peers.bags import bag_of_words
from lla.peers.neural_topics import AEConfig, DirichletRSVIConfig, VAEConfig, fit_neural_topics
from lla.peers.neural_topics.config import GRADIENTS
from lla.peers.neural_topics.network import NeuralTopics, bags_of
from lla.peers.neural_topics.objectives import log_likelihood, surrogate

SMALL = VAEConfig(n_topics=2, hidden_size=4, n_epochs=3, batch_size=10, learning_rate=0.01)
N_COPIES, N_REPEATS = 400, 60


def gradients_of(config, corpus, repeats=N_REPEATS):
    """Of the mean bound of one document with respect to the encoder's two biases, (R, 2K)."""
    counts = bag_of_words(corpus.select(np.zeros(N_COPIES, np.int64)))
    probability = np.full(corpus.n_words, 1 / corpus.n_words)
    network = NeuralTopics(config, probability, torch.Generator().manual_seed(1))
    biases = [output.bias for output in network.encoder.outputs]
    bags, found = bags_of(counts), []
    for repeat in range(repeats):
        log_p, kl, drawn = network.training_step(bags, stream(1, 1, repeat))
        likelihood = log_likelihood("categorical", log_p, bags.counts)
        value = surrogate(
            likelihood,
            kl,
            1.0,
            drawn,
            correct=config.gradient != "pathwise",
            baseline=config.gradient != "score_function",
        )
        found.append(torch.cat(torch.autograd.grad(value, biases)).double().numpy())
    return np.array(found)


@pytest.mark.parametrize("posterior", ["gaussian", "dirichlet"])
def test_the_mean_gradient_is_that_along_the_draw(posterior, tiny_split):
    config = replace(SMALL, posterior=posterior, prior=0.5)
    short = tiny_split.observed.select(np.arange(1)).beginnings(np.array([6]))
    found = {name: gradients_of(replace(config, gradient=name), short) for name in GRADIENTS}
    means = {name: x.mean(axis=0) for name, x in found.items()}
    errors = {name: x.std(axis=0, ddof=1) / np.sqrt(N_REPEATS) for name, x in found.items()}
    for name in GRADIENTS[1:]:
        error = np.hypot(errors[name], errors["pathwise"])
        assert (abs(means[name] - means["pathwise"]) < 4.5 * error).all(), name
    assert (errors["pathwise"] < errors["score_function_baseline"]).all()
    assert (errors["score_function_baseline"] < errors["score_function"]).all()
    # And it can be told from none.
    assert (abs(means["pathwise"]) > 5 * errors["pathwise"]).any()


def test_the_decoder_learns_alike_whatever_the_encoder_follows(tiny_split):
    """z and the decoder's gradient are the same; the encoder's is not."""
    bags = bags_of(bag_of_words(tiny_split.observed))
    found = {}
    for name in ("pathwise", "score_function"):
        config = replace(SMALL, gradient=name)
        probability = np.full(tiny_split.corpus.n_words, 1 / tiny_split.corpus.n_words)
        network = NeuralTopics(config, probability, torch.Generator().manual_seed(1))
        log_p, kl, drawn = network.training_step(bags, stream(1, 1))
        likelihood = log_likelihood("categorical", log_p, bags.counts)
        value = surrogate(likelihood, kl, 1.0, drawn, correct=name != "pathwise", baseline=False)
        value.backward()
        found[name] = value.item(), network.decoder.weight.grad, network.encoder.weight.grad
    (value, decoder, encoder), (other, same, changed) = found.values()
    assert value == pytest.approx(other) and torch.allclose(decoder, same)
    assert not torch.allclose(encoder, changed)


def test_a_fit_by_the_score_function_resumes_and_old_checkpoints_are_read(tiny_split, tmp_path):
    config = replace(SMALL, gradient="score_function_baseline")
    whole, file = fit_neural_topics(tiny_split, config, 3), tmp_path / "fit.safetensors"
    fit_neural_topics(tiny_split, replace(config, n_epochs=2), 3, checkpoint=file)
    resumed = fit_neural_topics(tiny_split, config, 3, checkpoint=file)
    assert resumed.fingerprint() == whole.fingerprint()
    pathwise = fit_neural_topics(tiny_split, SMALL, 3)
    assert pathwise.fingerprint() != whole.fingerprint()
    old = tmp_path / "old.safetensors"
    fit_neural_topics(tiny_split, replace(SMALL, n_epochs=2), 3, checkpoint=old)
    arrays, meta = load_arrays(old)
    del meta["config"]["gradient"]
    save_tensors(old, arrays, meta)
    resumed = fit_neural_topics(tiny_split, SMALL, 3, checkpoint=old)
    assert resumed.fingerprint() == pathwise.fingerprint()


def test_without_noise_or_beside_a_correction_it_is_refused():
    for kind, options in ((AEConfig, {}), (DirichletRSVIConfig, {"correction": True})):
        with pytest.raises(InputError, match="gradient is 'score_function': it needs noise"):
            kind(gradient="score_function", **options)
    with pytest.raises(InputError, match="gradient"):
        VAEConfig(gradient="straight_through")
