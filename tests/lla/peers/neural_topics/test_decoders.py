"""Decoders and the network around them, against NumPy and against exact statistics."""

import numpy as np
import pytest
import torch

from lla.common.errors import InputError
from lla.common.random import stream
from lla.peers.bags import bag_of_words
from lla.peers.neural_topics import DirichletVAEConfig, NeuralTopicsConfig, ProdLDAConfig
from lla.peers.neural_topics.decoders import EPSILON, BatchNorm, MixtureDecoder, ProductDecoder
from lla.peers.neural_topics.model import batch_numbers
from lla.peers.neural_topics.network import NeuralTopics, bags_of, dropout
from lla.peers.neural_topics.objectives import log_likelihood

K, V = 3, 7
PROBABILITY = np.arange(1.0, V + 1) / (V * (V + 1) / 2)


def generator():
    return torch.Generator().manual_seed(1)


def decoder_of(kind, batch_norm=True, background=True, n_topics=K):
    return kind(
        n_topics, PROBABILITY, generator(), normalised=batch_norm, background=background
    ).requires_grad_(False)


def proportions(n=20):
    return torch.from_numpy(stream(1, 1).dirichlet([0.5] * K, n)).float()


@pytest.mark.parametrize("kind", [ProductDecoder, MixtureDecoder])
@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize("background", [False, True])
def test_each_row_is_a_distribution(kind, batch_norm, background):
    decoder = decoder_of(kind, batch_norm, background)
    for training in (False, True):
        p = decoder(proportions(), training).exp()
        assert torch.allclose(p.sum(dim=1), torch.ones(20), atol=1e-5)
    assert torch.allclose(decoder.topics().sum(dim=1), torch.ones(K), atol=1e-5)


def test_a_mixture_of_one_topic_is_its_background():
    decoder = decoder_of(MixtureDecoder, n_topics=1)
    p = decoder(torch.ones(2, 1)).exp()
    assert np.allclose(p.numpy(), PROBABILITY, atol=1e-6)


def test_a_mixture_is_the_sum_over_topics():
    decoder, theta = decoder_of(MixtureDecoder, batch_norm=False), proportions()
    weight = decoder.weight.double().numpy() + np.log(PROBABILITY)
    phi = np.exp(weight) / np.exp(weight).sum(axis=1, keepdims=True)
    assert np.allclose(decoder(theta).exp().numpy(), theta.numpy() @ phi, atol=1e-6)


def test_exact_statistics_are_those_of_the_logits():
    decoder, theta = decoder_of(ProductDecoder), proportions()
    decoder.set_statistics(theta)
    logits = theta @ decoder.weight
    assert torch.allclose(decoder.norm.mean, logits.mean(dim=0), atol=1e-6)
    assert torch.allclose(decoder.norm.variance, logits.var(dim=0, correction=0), atol=1e-6)
    assert torch.allclose(decoder(theta), decoder(theta, training=True), atol=1e-4)


def test_batch_normalisation_has_neither_scale_nor_offset():
    norm, x = BatchNorm(2), torch.tensor([[1.0, 5.0], [3.0, 5.0]])
    expected = torch.tensor([[-1.0, 0.0], [1.0, 0.0]]) / (1 + EPSILON) ** 0.5
    assert torch.allclose(norm(x, training=True), expected, atol=1e-4)
    assert torch.allclose(norm(x, training=False), x / (1 + EPSILON) ** 0.5)
    assert not list(norm.parameters())


def test_dropout_keeps_the_mean_and_nothing_is_left_out_in_evaluation():
    x = torch.ones(200, 200)
    assert dropout(x, 0.5, None) is x
    kept = dropout(x, 0.25, stream(1, 1))
    assert kept.mean().item() == pytest.approx(1, abs=0.02)
    assert kept.unique().tolist() == pytest.approx([0, 4 / 3])


def test_objectives():
    counts = torch.tensor([[2.0, 1.0]])
    log_p = torch.tensor([[0.25, 0.75]]).log()
    found = log_likelihood("categorical", log_p, counts).item()
    assert found == pytest.approx(2 * np.log(0.25) + np.log(0.75))
    squared = log_likelihood("squared_error", log_p, counts).item()
    assert squared == pytest.approx(-0.5 * ((2 - 0.75) ** 2 + (1 - 2.25) ** 2))


@pytest.mark.parametrize(("n", "size", "expected"), [(10, 4, [5, 5]), (3, 4, [3]), (9, 2, [3, 2])])
def test_a_rest_is_spread_over_the_batches(n, size, expected):
    sizes = [len(numbers) for numbers in batch_numbers(n, size)]
    assert sum(sizes) == n and min(sizes) >= min(n, size) and sizes[: len(expected)] == expected


@pytest.mark.parametrize("config", [ProdLDAConfig, DirichletVAEConfig])
def test_the_encoder_reads_counts_and_its_outputs_are_normalised_over_all_documents(
    config, tiny_split
):
    counts = bag_of_words(tiny_split.observed)
    n_words = tiny_split.corpus.n_words
    config = config(n_topics=K, hidden_size=5)
    network = NeuralTopics(config, np.full(n_words, 1 / n_words), generator())
    bags = bags_of(counts)
    encoder = network.encoder
    with torch.no_grad():
        first = torch.from_numpy(counts.toarray()) @ encoder.weight + encoder.bias
        activation = torch.nn.functional.softplus if config.activation == "softplus" else torch.relu
        h = activation(encoder.layers[0](activation(first)))
        expected = encoder.outputs[0](h)
        assert torch.allclose(encoder.raw(bags)[0], expected, atol=1e-5)
        halves = [bags_of(counts[:20]), bags_of(counts[20:])]
        network.set_statistics(halves, stream(1, 2))
        normalised = encoder.normalise(encoder.raw(bags))[0]
    assert torch.allclose(normalised.mean(dim=0), torch.zeros(K), atol=1e-5)
    variance = expected.var(dim=0, correction=0)
    assert torch.allclose(
        normalised.var(dim=0, correction=0), variance / (variance + EPSILON), atol=1e-4
    )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"decoder": "mixture"}, "topic_dropout is 0.2: p"),
        (
            {"decoder": "mixture", "topic_dropout": 0.0, "posterior": "gaussian"},
            "posterior is 'gaussian': a mixture needs proportions",
        ),
        ({"correction": True}, "correction is True"),
        ({"posterior": "beta"}, "posterior is 'beta': choose one of none,"),
        ({"prior": 0.0}, "prior is 0.0"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(settings, message):
    with pytest.raises(InputError, match=message):
        NeuralTopicsConfig(**settings)
