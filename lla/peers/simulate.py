"""Corpora drawn from the model itself: the generative story of section 3.1."""

from collections.abc import Sequence

import numpy as np
import torch

from lla.common.random import StreamId, stream, torch_stream
from lla.corpus import Corpus
from lla.inference.stepper import Stepper
from lla.lstm import Network, NetworkConfig
from lla.samplers.random import draw_index


def random_network(config: NetworkConfig, seed: int, gain: float = 8.0) -> Network:
    """A network whose topic sequences have structure: random weights, scaled up by `gain`.

    Weights as small as those training starts from would draw topics almost uniformly.
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
    """Draw a topic LLA corpus, a document for each of `lengths`.

    Parameters
    ----------
    network : LSTM over topics
    phi : (V, K)
    lengths : words of each document
    tau : (K,) of the personal emission: each document draws from its own urns; None shares φ

    Returns
    -------
    corpus, topics : the words, and the (N,) topics that emitted them
    """
    stepper = Stepper(network)
    draw = stream(seed, StreamId.SIMULATE, 2)
    lengths = np.asarray(lengths)
    longest, n_documents = int(lengths.max()), len(lengths)
    topics = np.empty((longest, n_documents), np.int64)
    words = np.empty((longest, n_documents), np.int64)
    h, c = stepper.begin(n_documents)
    ids = torch.full((n_documents,), stepper.start)
    for t in range(longest):
        theta = stepper.step(ids, h, c).numpy()  # (D, K)
        u = draw.random((2, n_documents))
        for d in range(n_documents):
            topics[t, d] = draw_index(theta[d], u[0, d] * theta[d].sum())
            k = topics[t, d]
            own = words[:t, d][topics[:t, d] == k] if tau is not None else ()
            words[t, d] = _draw_word(phi[:, k], own, tau[k] if len(own) else 0.0, u[1, d])
        ids = torch.from_numpy(topics[t])
    columns = [words[:n, d] for d, n in enumerate(lengths)]
    vocabulary = tuple(f"w{w}" for w in range(phi.shape[0]))
    corpus = Corpus.from_documents(columns, vocabulary)
    return corpus, np.concatenate([topics[:n, d] for d, n in enumerate(lengths)]).astype(np.int32)


def _draw_word(phi: np.ndarray, own: Sequence[int], tau: float, uniform: float) -> int:
    """One of a document's own n words with probability n/(n + τ), else one from φ (V,)."""
    if len(own) == 0:
        return draw_index(phi, uniform)
    place = uniform * (len(own) + tau)
    return own[int(place)] if place < len(own) else draw_index(phi, (place - len(own)) / tau)
