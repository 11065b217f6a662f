"""Corpora whose truth is known, and the network that tells it."""

import numpy as np
import torch

from lla.corpus import Corpus, Split, split_corpus
from lla.inference.emission import SharedEmission
from lla.lstm import Network, NetworkConfig
from lla.model import Model
from lla.peers.simulate import random_phi, simulate


def markov_network(transition):
    """A network whose θ_t is row z_{t-1} of `transition` (K + 1, K), the last row at the start.

    Gates stand wide open and the forget gate is shut, so the state remembers one topic and
    the output layer is a table of log-probabilities.
    """
    n_topics = transition.shape[1]
    hidden = n_topics + 1
    network = Network(NetworkConfig(n_topics, n_topics, hidden, hidden), torch.Generator())
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
        network.input.weight.copy_(torch.eye(hidden))
        network.lstm.weight_ih_l0[2 * hidden : 3 * hidden] = 20 * torch.eye(hidden)
        network.lstm.bias_ih_l0.copy_(
            torch.tensor([20.0, -20.0, 0.0, 20.0]).repeat_interleave(hidden)
        )
        network.output.weight.copy_(torch.from_numpy(np.log(transition).T / np.tanh(1)))
    return network


def sticky_transition(n_topics, stay=0.85, onward=0.1):
    """Topics that stay, go on to the next one, or rarely jump; the first is uniform."""
    others = (1 - stay - onward) / (n_topics - 2)
    rows = np.full((n_topics + 1, n_topics), others)
    k = np.arange(n_topics)
    rows[k, k], rows[k, (k + 1) % n_topics] = stay, onward
    rows[n_topics] = 1 / n_topics
    return rows


def sticky_split(n_topics, n_words, n_documents, length, seed=0, beta=0.1):
    """A simulated corpus, split; the model that it was drawn from; and its topics (N,)."""
    network = markov_network(sticky_transition(n_topics))
    phi = np.ascontiguousarray(random_phi(n_words, n_topics, beta, seed))
    corpus, topics = simulate(network, phi, np.full(n_documents, length), seed)
    emission = SharedEmission(torch.from_numpy(phi.astype(np.float32)))
    return split_corpus(corpus), Model(network, emission, topics), topics


def random_corpus(n_documents=20, n_words=12, longest=15, seed=0):
    """Words without structure, documents of 1 to `longest` of them."""
    draw = np.random.default_rng(seed)
    lengths = draw.integers(1, longest + 1, size=n_documents)
    documents = [draw.integers(n_words, size=n) for n in lengths]
    return Corpus.from_documents(documents, [f"w{w}" for w in range(n_words)])


def all_observed(corpus):
    """A split that holds nothing out."""
    return Split(corpus, corpus, corpus.lengths, np.zeros(corpus.n_documents, bool))


def lda_corpus(n_documents, length, phi, alpha, seed=0):
    """A corpus by LDA's own generative story; φ (V, K), α (K,)."""
    draw = np.random.default_rng(seed)
    cumulative = np.cumsum(phi, axis=0)
    documents = []
    for theta in draw.dirichlet(alpha, size=n_documents):
        topics = draw.choice(len(alpha), size=length, p=theta)
        words = (draw.random(length) > cumulative[:, topics]).sum(axis=0)
        documents.append(np.minimum(words, len(phi) - 1))
    return Corpus.from_documents(documents, [f"w{w}" for w in range(len(phi))])
