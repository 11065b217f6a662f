"""Small models for the explorer's page, and a corpus whose names try to break out of it."""

from dataclasses import replace

import numpy as np
import torch
from personal_model import personal
from simulated import markov_network, sticky_transition

from lla.common.random import torch_stream
from lla.corpus import Corpus
from lla.inference.emission import SharedEmission
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
    "\ud800 half",
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
