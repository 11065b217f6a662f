"""Bounds of log p(words) of a sentence VAE: importance weights, and what they estimate."""

import math
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from lla.common.random import stream
from lla.corpus import Corpus
from lla.peers.text_autoencoders.layers import Batch, batch_of, in_groups
from lla.peers.text_autoencoders.sentence_network import SentenceVAE

ROWS = 512  # sentences times samples decoded at once
NOISE = 2**20  # in a stream's key where an epoch has its number

Noise = Callable[[np.ndarray, int], Tensor]  # documents (B,), S -> (B, S, L)


def noise_of(seed: int, stream_id: int, latent_size: int) -> Noise:
    """Standard normal draws of each document's own stream: batches change none of them."""

    def draw(documents: np.ndarray, n_samples: int) -> Tensor:
        rows = [
            stream(seed, stream_id, NOISE, int(d)).standard_normal((n_samples, latent_size))
            for d in documents
        ]
        return torch.from_numpy(np.array(rows, np.float32))

    return draw


@torch.no_grad()
def log_weights(network: SentenceVAE, batch: Batch, noise: Tensor) -> Tensor:
    """log p(words | z) + log p(z) - log q(z | words) for z = μ + σ · noise, (B, S).

    Parameters
    ----------
    noise : (B, S, L) standard normal
    """
    n_samples = noise.shape[1]
    mean, log_variance = network.encode(batch)
    z = mean[:, None] + (0.5 * log_variance).exp()[:, None] * noise  # (B, S, L)
    # The constants of both normal densities cancel.
    prior = -0.5 * (z**2).sum(dim=2)
    proposal = -0.5 * (noise**2 + log_variance[:, None]).sum(dim=2)
    log_p = network.log_p(batch.repeat(n_samples), z.flatten(0, 1)).view(-1, n_samples)
    return log_p + prior - proposal


def log_mean_exp(log_weights: Tensor) -> Tensor:
    """log mean exp over the samples, (B,) from (B, S)."""
    return log_weights.double().logsumexp(dim=1) - math.log(log_weights.shape[1])


def importance_bound(
    network: SentenceVAE, corpus: Corpus, noise: Noise, n_samples: int
) -> np.ndarray:
    """Lower bound of log p(words after the first) of every document, (D,) nats.

    The importance-weighted bound of Burda et al. (2016): its mean is the ELBO at one sample, and
    it rises to log p. A language model's is exact. Documents of
    one token have nothing to predict, 0.
    """
    found = np.zeros(corpus.n_documents)
    for documents, batch in batches(corpus, max(1, ROWS // n_samples)):
        if network.config.latent_size:
            values = log_mean_exp(log_weights(network, batch, noise(documents, n_samples)))
        else:
            with torch.no_grad():
                values = network.log_p(batch, torch.empty(len(documents), 0))
        found[documents] = values.numpy()
    return found


def batches(corpus: Corpus, size: int) -> Iterator[tuple[np.ndarray, Batch]]:
    """All documents of two tokens or more, by falling length."""
    for documents in in_groups(np.arange(corpus.n_documents), corpus.lengths, size):
        yield documents, batch_of(corpus, documents)


def log_predictive(network: SentenceVAE, words: Tensor, n_observed: int, noise: Tensor) -> Tensor:
    """log p(w_t | w_<t) of all words at every held-out place of one document, (T - n_observed, V).

    z is drawn from q(z | observed words), or from the prior where the first token alone is
    observed; its draws are weighted by how well they predicted the words so far.

    Parameters
    ----------
    words : (T,) the whole document
    noise : (S, L) standard normal
    """
    n_samples, z, weights = len(noise), noise, torch.zeros(len(noise))
    whole = one_document(words).repeat(n_samples)
    if n_observed > 1 and network.config.latent_size:
        mean, log_variance = network.encode(one_document(words[:n_observed]))
        z = mean + (0.5 * log_variance).exp() * noise
        weights = 0.5 * (noise**2 + log_variance - z**2).sum(dim=1)
    log_p = network.logits(whole, z).log_softmax(dim=1).view(len(words) - 1, n_samples, -1)
    of_targets = log_p.gather(2, words[1:, None, None].expand(-1, n_samples, 1))[..., 0]
    before = torch.cat([torch.zeros(1, n_samples), of_targets.cumsum(dim=0)[:-1]])  # (T-1, S)
    weights = (weights + before)[n_observed - 1 :].log_softmax(dim=1)
    return (log_p[n_observed - 1 :] + weights[..., None]).logsumexp(dim=1)


def one_document(words: Tensor) -> Batch:
    """A batch of one document, words (T,)."""
    targets = words[1:, None]
    return Batch(
        words[:-1, None], targets, torch.ones_like(targets, dtype=torch.bool),
        torch.tensor([len(targets)]),
    )  # fmt: skip
