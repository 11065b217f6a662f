"""Small models for the explorer's page, and a corpus whose names try to break out of it."""

from dataclasses import replace

import numpy as np
import torch
from personal_model import personal
from simulated import markov_network, sticky_transition

from lla.common.random import torch_stream
from lla.corpus import Corpus
from lla.inference.config import SOURCES
from lla.inference.emission import SharedEmission, SourceEmission
from lla.inference.emission.sources import SourceParameters, Sources
from lla.lstm import CharacterConfig, Network, NetworkConfig, spell
from lla.model import Model
from lla.peers.simulate import random_network, random_phi

K, V = 5, 30
HOSTILE = (
    "</script><img src=x onerror=window.broken=1>",
    "<!--<script>",
    "{{script}}",
    'a"b&amp;c',
    "line\u2028separator",
    "<b>bold</b>",
)


def corpus(n_documents=12, length=20, vocabulary=None, seed=0):
    """Documents of random words."""
    draw = np.random.default_rng(seed)
    words = vocabulary or [f"w{w}" for w in range(V)]
    documents = [draw.integers(len(words), size=length) for _ in range(n_documents)]
    return Corpus.from_documents(documents, words, [f"reader {d}" for d in range(n_documents)])


def model_of(network, phi, vocabulary=()):
    """A model without training."""
    emission = SharedEmission(torch.from_numpy(np.ascontiguousarray(phi, np.float32)))
    return Model(network, emission, np.empty(0, np.int32), tuple(vocabulary))


def topic_model(of=None, n_topics=K, seed=1):
    """Topic LLA with random weights, large enough that the state matters."""
    of = of or corpus()
    network = random_network(NetworkConfig(n_topics, n_topics, 6, 8), seed=seed, gain=8.0)
    return model_of(network, random_phi(of.n_words, n_topics, 0.3, seed=seed), of.vocabulary)


def word_model(of=None, reads="word"):
    """Word or character LLA with random weights."""
    of = of or corpus()
    letters = CharacterConfig(embedding_size=3, hidden_size=4, min_words=1)
    config = NetworkConfig(of.n_words, K, 6, 8, 0.0, reads, letters)
    network = Network(config, torch_stream(2), spell(of.vocabulary, letters))
    with torch.no_grad():  # large enough that the words read matter
        for weight in (
            network.input.bias if reads == "character" else network.input.weight,
            *network.lstm.parameters(),
            network.output.weight,
        ):
            weight.mul_(4)
    return model_of(network, random_phi(of.n_words, K, 0.3, seed=2), of.vocabulary)


def personal_model(of=None):
    """The same with a personal emission, whose τ differ by topic."""
    model = topic_model(of)
    return replace(model, emission=personal(model.emission.phi.numpy(), np.arange(1, K + 1) / 2))


def certain_model(n_each=4):
    """Topic LLA in which the topic of every word is certain: topics share no word."""
    phi = np.repeat(np.eye(K), n_each, axis=0) / n_each
    vocabulary = [f"t{w // n_each}-{w % n_each}" for w in range(len(phi))]
    return model_of(markov_network(sticky_transition(K)), phi, vocabulary)


def counts_model(of=None):
    """Topic LLA whose topics depend on running counts."""
    of = of or corpus()
    network = random_network(NetworkConfig(K, K, 6, 8, running_counts=True), seed=4, gain=8.0)
    with_counts(network)
    return model_of(network, random_phi(of.n_words, K, 0.3, seed=4), of.vocabulary)


def with_counts(network):
    """Give running counts weight enough to matter."""
    with torch.no_grad():
        network.output.exponent.fill_(0.8)
        network.output.log_prior.fill_(-0.7)


def source_model(of=None, reads="topic", tau=None, running_counts=False):
    """An LLA with sources counted over a corpus, and random weights."""
    of, n = of or corpus(), len(SOURCES)
    n_inputs = K * (1 + n) if reads == "topic" else of.n_words
    config = NetworkConfig(
        n_inputs, K + n, 6, 8, input=reads, n_sources=n, running_counts=running_counts
    )
    network = random_network(config, seed=5, gain=8.0)
    if running_counts:
        with_counts(network)
    phi = random_phi(of.n_words, K, 0.3, seed=5)
    topics = SharedEmission(torch.from_numpy(np.ascontiguousarray(phi, np.float32)))
    if tau is not None:
        topics = personal(phi, tau)
    learned = SourceParameters(next=2.0, own_next=0.5, recent=0.7, half_life=3.0)
    emission = SourceEmission(topics, Sources.from_corpus(of, SOURCES).replace(learned))
    return Model(network, emission, np.empty(0, np.int32), of.vocabulary)


def topic_form_model(of=None):
    """With sources that are further values of the topic."""
    of, emission = of or corpus(), source_model(of).emission
    n_outcomes = K + len(SOURCES)
    network = random_network(NetworkConfig(n_outcomes, n_outcomes, 6, 8), seed=6)
    return Model(network, emission, np.empty(0, np.int32), of.vocabulary)


def personal_source_model(of=None):
    """With a personal emission, sources and running counts, all at once."""
    return source_model(of, tau=np.arange(1, K + 1) / 2, running_counts=True)


def word_source_model(of=None):
    """Word LLA with sources: exact but for rounding."""
    return source_model(of, reads="word")
