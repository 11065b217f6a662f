"""A tiny model with the personal emission, and its exact probabilities by enumeration."""

import numpy as np
import torch
from enumeration import exact

from lla.common.random import torch_stream
from lla.inference.emission import PersonalEmission
from lla.lstm import CharacterConfig, Network, NetworkConfig, spell
from lla.peers.simulate import random_network, random_phi

K, V = 3, 4
WORDS = [2, 0, 2, 2]
PHI = random_phi(V, K, 0.5, seed=4)
TAU = np.array([0.4, 1.5, 6.0])
NETWORKS = {
    "topic": random_network(NetworkConfig(K, K, 4, 5), seed=3, gain=12.0),
    "word": random_network(NetworkConfig(V, K, 4, 5, input="word"), seed=5, gain=12.0),
}
EXACT = {reads: exact(network, PHI, WORDS, TAU) for reads, network in NETWORKS.items()}
READS = sorted(NETWORKS)


def personal(phi, tau):
    tau = torch.tensor(np.asarray(tau), dtype=torch.float32).expand(np.shape(phi)[1]).contiguous()
    return PersonalEmission(torch.tensor(np.asarray(phi), dtype=torch.float32), tau)


def any_network(reads, n_words=12, n_topics=4):
    letters = CharacterConfig(embedding_size=3, hidden_size=3, min_words=1)
    sizes = n_topics if reads == "topic" else n_words
    spelling = spell([f"w{w}" for w in range(n_words)], letters) if reads == "character" else None
    config = NetworkConfig(sizes, n_topics, 5, 6, 0.0, reads, letters)
    return Network(config, torch_stream(0), spelling)
