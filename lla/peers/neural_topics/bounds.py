"""Bounds on log p(document), and what they do not show: units and topics in use.

Three kinds of perplexity must not be mixed. The evidence lower bound reads the whole document that
it scores; the importance-weighted bound does, too, and is tighter; the prediction of held-out
words (`FittedNeuralTopics.score`) reads the observed words alone.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from lla.common.errors import InputError, check_instance, check_integer
from lla.common.parallel import one_thread
from lla.common.random import stream
from lla.corpus import Corpus, Split, check_same_vocabulary
from lla.peers.bags import bag_of_words, held_out_parts
from lla.peers.neural_topics.model import BOUND, FAMILY, FittedNeuralTopics, batches_of
from lla.peers.neural_topics.network import Bags, NeuralTopics
from lla.peers.neural_topics.posteriors import Parameters

N_DOCUMENTS = 200  # that are scored at once
LEAST_VARIANCE = 0.01  # of an active unit (Burda, Grosse & Salakhutdinov, 2016)


@dataclass(frozen=True)
class Bound:
    """The evidence lower bound of every document, nats, at a weight of 1 whatever was trained.

    Attributes
    ----------
    reconstruction : (D,) E_q log p(x | z)
    kl : (D,) KL(q(z | x) ‖ p(z))
    lengths : (D,) words
    """

    reconstruction: np.ndarray
    kl: np.ndarray
    lengths: np.ndarray

    @property
    def values(self) -> np.ndarray:
        """(D,) reconstruction - kl."""
        return self.reconstruction - self.kl

    @property
    def perplexity(self) -> float:
        """exp(-Σ bound / Σ words): every word counts the same."""
        return corpus_perplexity(self.values, self.lengths)

    @property
    def document_perplexity(self) -> float:
        """exp of the mean over documents of -bound / words: every document counts the same."""
        return document_perplexity(self.values, self.lengths)


def corpus_perplexity(values: np.ndarray, lengths: np.ndarray) -> float:
    """exp(-Σ values / Σ lengths), both (D,); infinite where that is too large."""
    with np.errstate(over="ignore"):
        return float(np.exp(-values.sum() / lengths.sum()))


def document_perplexity(values: np.ndarray, lengths: np.ndarray) -> float:
    """exp(-mean(values / lengths)), both (D,); infinite where that is too large."""
    with np.errstate(over="ignore"):
        return float(np.exp(-(values / lengths).mean()))


def held_out_documents(split: Split) -> Corpus:
    """The held-out part of every reported document as a document of its own: never trained on."""
    return held_out_parts(split, split.reported, "reported")


def elbo(fitted: FittedNeuralTopics, corpus: Corpus, *, n_samples: int = 1, seed: int = 0) -> Bound:
    """The evidence lower bound of documents, z drawn `n_samples` times."""
    check_fitted(fitted, corpus)
    check_integer("n_samples", n_samples)
    network = fitted.network
    fit, kl = np.zeros(corpus.n_documents), np.zeros(corpus.n_documents)
    with one_thread(), torch.no_grad():
        for number, (documents, bags) in enumerate(batches(corpus)):
            draw = stream(seed, FAMILY, BOUND, number)
            fit[documents], kl[documents] = network.bound(bags, draw, n_samples)
    return Bound(fit, kl, np.asarray(corpus.lengths))


def importance_bound(
    fitted: FittedNeuralTopics, corpus: Corpus, n_samples: Sequence[int], *, seed: int = 0
) -> dict[int, np.ndarray]:
    """log of the mean of p(x, z) / q(z | x) over samples, (D,) nats by number of samples.

    With more samples it rises to log p(x) (Burda, Grosse & Salakhutdinov, 2016). Fewer samples are
    the first of the many.
    """
    check_fitted(fitted, corpus)
    sizes = sorted({check_integer("n_samples", n) for n in n_samples})
    found = {n: np.zeros(corpus.n_documents) for n in sizes}
    network = fitted.network
    with one_thread(), torch.no_grad():
        for number, (documents, bags) in enumerate(batches(corpus)):
            draw = stream(seed, FAMILY, BOUND, number)
            parameters = network.parameters_of(bags)
            total = np.full(len(documents), -np.inf)
            for n in range(1, sizes[-1] + 1):
                fit, ratio = _likelihood_and_ratio(network, bags, parameters, draw)
                total = np.logaddexp(total, fit + ratio)
                if n in found:
                    found[n][documents] = total - np.log(n)
    return found


def _likelihood_and_ratio(
    network: NeuralTopics, bags: Bags, parameters: Parameters, draw: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """log p(x | z) and log p(z) - log q(z | x) at one draw, (B,) each, float64."""
    z = network.sample(parameters, draw).z
    ratio = network.posterior.log_ratio(parameters, network.prior, z)
    return network.likelihood(bags, z).numpy(), ratio.numpy()


def active_units(means: np.ndarray) -> int:
    """How many latent numbers depend on the document: their posterior means vary over documents.

    Parameters
    ----------
    means : (D, K) of a Gaussian posterior; proportions are on another scale
    """
    return int((means.var(axis=0) > LEAST_VARIANCE).sum())


def topic_usage(theta: np.ndarray) -> float:
    """Share of topics whose mean proportion is above 1/(5K); θ (D, K)."""
    return float((theta.mean(axis=0) > 1 / (5 * theta.shape[1])).mean())


def effective_topics(theta: np.ndarray) -> float:
    """Mean over documents of exp(entropy of θ_d), the number of topics a document has; θ (D, K)."""
    positive = np.where(theta > 0, theta, 1.0)
    return float(np.exp(-(theta * np.log(positive)).sum(axis=1)).mean())


def batches(corpus: Corpus) -> Iterator[tuple[np.ndarray, Bags]]:
    """Documents and their bags, `N_DOCUMENTS` or more at a time."""
    return batches_of(bag_of_words(corpus), N_DOCUMENTS)


def check_fitted(fitted: FittedNeuralTopics, corpus: Corpus) -> None:
    """Raise InputError unless the model has a bound, and knows the words of the corpus."""
    check_instance("fitted", fitted, FittedNeuralTopics)
    check_instance("corpus", corpus, Corpus)
    check_same_vocabulary(corpus, fitted.vocabulary, len(fitted.vocabulary))
    if fitted.config.posterior == "none":
        raise InputError("posterior is 'none': an autoencoder has no bound; give another model")
