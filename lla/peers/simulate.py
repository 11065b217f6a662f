"""Corpora drawn from the model: the generative process of section 3.1."""

from collections.abc import Sequence

import numpy as np
import torch

from lla.common.random import StreamId, stream, torch_stream
from lla.corpus import Corpus
from lla.inference.batch import Stepper
from lla.inference.emission import PersonalEmission, SharedEmission
from lla.lstm import Network, NetworkConfig
from lla.samplers.histories import draw_index


def random_network(config: NetworkConfig, seed: int, gain: float = 8.0) -> Network:
    """A network whose topic sequences have structure: random weights, scaled up by `gain`.

    With the small weights that training starts from, topics would be almost uniform.
    """
    network = Network(config, torch_stream(seed, StreamId.SIMULATE, 0))
    with torch.no_grad():
        network.input.weight.mul_(gain)
        network.output.weight.mul_(gain)
    return network


def random_phi(n_words: int, n_topics: int, beta: float, seed: int) -> np.ndarray:
    """φ (V, K): every column drawn from a symmetric Dirichlet(β)."""
    draw = stream(seed, StreamId.SIMULATE, 1)
    return draw.dirichlet(np.full(n_words, beta), size=n_topics).T


def simulate(
    network: Network,
    phi: np.ndarray,
    lengths: Sequence[int],
    seed: int,
    tau: np.ndarray | None = None,
) -> tuple[Corpus, np.ndarray]:
    """Draw a topic LLA corpus, one document for each of `lengths`.

    Parameters
    ----------
    network : LSTM over topics
    phi : (V, K)
    lengths : words of each document
    tau : (K,) of the personal emission; None for the shared one

    Returns
    -------
    corpus, topics : the words, and the (N,) topics that they were drawn from
    """
    stepper = Stepper(network)
    draw = stream(seed, StreamId.SIMULATE, 2)
    longest, n_documents = max(lengths), len(lengths)
    shared = SharedEmission(torch.from_numpy(np.ascontiguousarray(phi)))
    emission = shared if tau is None else PersonalEmission(shared.phi, torch.from_numpy(tau))
    lanes = emission.growing_lanes(n_particles=1, n_lanes=n_documents)
    itself = np.arange(n_documents)  # the only particle of a document is its own ancestor
    topics = np.empty((longest, n_documents), np.int64)
    words = np.empty((longest, n_documents), np.int64)
    h, c = stepper.initial_state(n_documents)
    ids = torch.full((n_documents,), stepper.start)
    for t in range(longest):
        theta = stepper.step(ids, h, c).numpy()  # (D, K)
        uniforms = draw.random((2, n_documents))
        for d in range(n_documents):
            topics[t, d] = draw_index(theta[d], uniforms[0, d] * theta[d].sum())
        words[t] = lanes.draw(topics[t], uniforms[1])
        lanes.append(words[t])
        lanes.advance(topics[t], itself)
        ids = torch.from_numpy(topics[t])
    vocabulary = tuple(f"w{w}" for w in range(phi.shape[0]))
    documents = [words[:n, d].tolist() for d, n in enumerate(lengths)]
    corpus = Corpus.from_documents(documents, vocabulary)
    drawn = np.concatenate([topics[:n, d] for d, n in enumerate(lengths)])
    return corpus, drawn.astype(np.int32)
