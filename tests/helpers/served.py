"""Tiny models that are asked for the next item, and their exact answers in plain Python."""

import itertools

import numpy as np
import torch
from enumeration import lstm_logits, softmax

from lla.common.random import torch_stream
from lla.inference.emission import PersonalEmission, SharedEmission
from lla.lstm import CharacterConfig, Network, NetworkConfig, spell
from lla.model import Model
from lla.peers.simulate import random_network, random_phi

K, V = 3, 4
ITEMS = ("tea", "cake", "thé vert", "42")
PHI = random_phi(V, K, 0.5, seed=4)
TAU = np.array([0.7, 2.0, 5.0])
VARIANTS = [
    *(("topic", None), ("topic", TAU), ("word", None), ("word", TAU), ("character", TAU)),
    *(("word_lstm", None), ("character_lstm", None)),
]
KINDS = ("topic", "word", "character", "word_lstm", "character_lstm")


def emission(tau=None):
    phi = torch.from_numpy(PHI.astype(np.float32))
    return SharedEmission(phi) if tau is None else PersonalEmission(phi, torch.tensor(tau).float())


def network(kind, gain=25.0):
    reads, _, predicts_words = kind.partition("_")
    sizes = (K if reads == "topic" else V, V if predicts_words else K, 4, 5)
    if reads != "character":
        return random_network(NetworkConfig(*sizes, input=reads), seed=3, gain=gain)
    config = NetworkConfig(*sizes, input=reads, characters=CharacterConfig(3, 3, 1))
    made = Network(config, torch_stream(3, 0), spell(ITEMS, config.characters))
    with torch.no_grad():
        made.output.weight.mul_(gain)
        made.input.weight.mul_(gain)
    return made


def model(kind="topic", tau=None):
    emits = None if kind.endswith("lstm") else emission(tau)
    return Model(network(kind), emits, np.zeros(0, np.int32), ITEMS)


def exact(kind, tau, words, steps=1):
    """p(next word | words) (V,), and p(topic h steps ahead | words) (steps, K), by enumeration.

    Every history of topics and, past the end of `words`, of words is written out; the emission is
    counted anew for each: (n_wk + τ φ_wk)/(n_k + τ), or φ where τ is None.
    """
    of = network(kind)
    total, next_word, ahead = 0.0, np.zeros(V), np.zeros((steps, K))
    length = len(words)
    for topics in itertools.product(range(K), repeat=length):
        _walk(of, kind, tau, list(words), topics, 1.0, next_word, ahead, steps)
    total = next_word.sum()
    return next_word / total, ahead / total


def _walk(of, kind, tau, words, topics, weight, next_word, ahead, steps):
    inputs = list(topics) if kind == "topic" else words
    start = K if kind == "topic" else V
    theta = softmax(lstm_logits(of, np.array([[start, *inputs]]).T))[:, 0]
    for t, (w, z) in enumerate(zip(words, topics, strict=True)):
        weight = weight * theta[t, z] * word_given_topic(tau, words[:t], topics[:t])[w, z]
    emits = word_given_topic(tau, words, topics)
    next_word += weight * emits @ theta[-1]
    ahead[0] += weight * theta[-1]
    futures = [(w, z) for w in range(V) for z in range(K)] if steps > 1 else []
    _simulate_futures(of, kind, tau, words, topics, weight, ahead, 1, futures)


def _simulate_futures(of, kind, tau, words, topics, weight, ahead, step, futures):
    """All ways on: the topic, and the word that it emits."""
    if step == len(ahead):
        return
    inputs = list(topics) if kind == "topic" else words
    start = K if kind == "topic" else V
    theta = softmax(lstm_logits(of, np.array([[start, *inputs]]).T))[-1, 0]
    emits = word_given_topic(tau, words, topics)
    for w, z in futures:
        p = weight * theta[z] * emits[w, z]
        further, then = [*words, w], (*topics, z)
        inputs = list(then) if kind == "topic" else further
        ahead[step] += p * softmax(lstm_logits(of, np.array([[start, *inputs]]).T))[-1, 0]
        _simulate_futures(of, kind, tau, further, then, p, ahead, step + 1, futures)


def word_given_topic(tau, words, topics):
    """p(w | z = k, history), (V, K), by its formula."""
    if tau is None:
        return PHI
    own = np.zeros((V, K))
    for w, z in zip(words, topics, strict=True):
        own[w, z] += 1
    return (own + tau * PHI) / (own.sum(axis=0) + tau)
