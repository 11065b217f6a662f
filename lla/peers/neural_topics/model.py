"""Training, and the fitted model: its topics, document proportions, scores and assignments."""

from collections.abc import Callable, Iterator
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import torch
from scipy.sparse import csr_array

from lla.common.arrays import allocate_tokens, id_dtype
from lla.common.checkpoint import CRITERION, WARM_UP
from lla.common.eager import Adam
from lla.common.errors import InputError, check_instance
from lla.common.parallel import check_threads
from lla.common.random import family_stream, stream, torch_stream
from lla.corpus import Corpus, Split, check_same_vocabulary
from lla.peers.bags import FittedBags, OnRows, bag_of_words, held_out_parts, score_rows
from lla.peers.iterations import check_arguments
from lla.peers.neural_topics.config import NeuralTopicsConfig
from lla.peers.neural_topics.network import Bags, NeuralTopics, bags_of
from lla.peers.neural_topics.objectives import log_likelihood, surrogate
from lla.peers.training import (
    WEIGHTS,
    TrainingState,
    check_finite,
    check_loss,
    fit_epochs,
    popularity,
)

FAMILY = family_stream("neural_topics")
ORDER, STEP, STATISTICS, TOPICS, BOUND, REFINED = range(
    1, 7
)  # what a stream is for, after the family


class FittedNeuralTopics(FittedBags):
    """A trained neural topic model.

    Attributes
    ----------
    config, seed : what it was made with
    observed : the documents it was trained on
    """

    network: NeuralTopics

    def __init__(
        self,
        network: NeuralTopics,
        history: list[dict[str, float]],
        observed: Corpus,
        seed: int,
    ) -> None:
        super().__init__(network, history, observed.vocabulary)
        self.config, self.observed, self.seed = network.config, observed, seed

    def predict(self, observed: Corpus, on_rows: OnRows) -> None:
        """Call `on_rows(documents, log p (B, V))`, batch by batch, with θ the posterior's mean."""
        _predict(self.network, observed, on_rows)

    @torch.no_grad()
    def phi(self) -> np.ndarray:
        """φ (V, K) float64: p(w) of a document that has one topic alone, background included.

        A mixture's topics. In a product of experts, topics are weights and not distributions:
        `weights` orders words without the background.
        """
        phi = self.network.decoder.topics().double().numpy().T
        return np.ascontiguousarray(phi / phi.sum(axis=0))

    def weights(self) -> np.ndarray:
        """softmax over words of w_k, (V, K) float64: topics with the background apart."""
        weight = self.network.decoder.weight.detach().double()
        return np.ascontiguousarray(weight.softmax(dim=1).numpy().T)

    @torch.no_grad()
    def theta(self, corpus: Corpus) -> np.ndarray:
        """Posterior mean of every document, (D, K) float32: proportions, or z off the simplex."""
        check_instance("corpus", corpus, Corpus)
        check_same_vocabulary(corpus, self.vocabulary, len(self.vocabulary))
        batches = batches_of(bag_of_words(corpus), self.config.batch_size)
        return np.concatenate([self.network.mean_theta(bags).numpy() for _, bags in batches])

    @cached_property
    def topics(self) -> np.ndarray:
        """(N,) assignments of the training tokens, drawn from p(z | w, θ) ∝ θ_dz φ_wz.

        Algorithm 1 can start from them in place of LDA's.
        """
        if not self.network.posterior.on_simplex:
            raise InputError(
                f"posterior is {self.config.posterior!r}: its documents have no proportions of "
                "topics to draw assignments from; give a posterior on the simplex"
            )
        return draw_topics(self.observed, self.theta(self.observed), self.phi(), self.seed)


def draw_topics(observed: Corpus, theta: np.ndarray, phi: np.ndarray, seed: int) -> np.ndarray:
    """(N,) one topic per token from p(z | w, θ) ∝ θ_dz φ_wz.

    Parameters
    ----------
    theta, phi : (D, K), (V, K)
    """
    topics = allocate_tokens(observed.n_tokens, id_dtype(phi.shape[1]))
    uniform = stream(seed, FAMILY, TOPICS).random(observed.n_tokens)
    for d in range(observed.n_documents):
        tokens = slice(observed.offsets[d], observed.offsets[d + 1])
        cumulative = np.cumsum(theta[d] * phi[observed.words[tokens]], axis=1)  # (n, K)
        at = uniform[tokens, None] * cumulative[:, -1:]
        topics[tokens] = np.minimum((cumulative <= at).sum(axis=1), phi.shape[1] - 1)
    return topics


def fit_neural_topics(
    split: Split,
    config: NeuralTopicsConfig,
    seed: int,
    *,
    start: None = None,
    checkpoint: str | Path | None = None,
    on_iteration: Callable[[TrainingState], None] | None = None,
    n_threads: int | None = None,
) -> FittedNeuralTopics:
    """Train on the observed part of every document, on one thread; `config.keep` says when to stop.

    Arguments: `lla.peers`.
    """
    fit = check_arguments(
        split, config, NeuralTopicsConfig, seed, checkpoint=checkpoint, on_iteration=on_iteration
    )
    check_threads(n_threads)
    if config.warm_up >= config.n_epochs:
        raise InputError(
            f"warm_up is {config.warm_up}: give less than n_epochs, which is {config.n_epochs}"
        )
    generator = torch_stream(fit.seed, FAMILY, WEIGHTS)
    network = NeuralTopics(config, popularity(split), generator)
    betas = (config.momentum, config.second_momentum)
    optimizer = Adam(network.parameters(), lr=config.learning_rate, betas=betas, fused=True)
    state, counts = TrainingState(network, optimizer), bag_of_words(split.observed)
    unseen = held_out_parts(split, split.development, "development")
    kl: dict[int, float] = {}

    def train(epoch: int) -> float:
        loss, kl[epoch] = _train_epoch(state, counts, fit.seed, epoch)
        return loss

    def more(epoch: int) -> dict[str, float]:
        row = {"kl": kl[epoch], "kl_weight": config.kl_weight(epoch)}
        if epoch <= config.warm_up:
            row[WARM_UP] = 1.0
        if config.keep == "bound":
            row[CRITERION] = -_mean_bound(network, unseen, fit.seed)
            check_finite(row[CRITERION], config.learning_rate)
        elif config.keep == "last":
            row[CRITERION] = -epoch
        return row

    fit_epochs(
        state,
        fit,
        identity=fit.identity("neural_topics"),
        name=f"{config.posterior} posterior, {config.decoder}",
        train=train,
        score=partial(score_rows, fit.part, partial(_predict, network, fit.part.observed)),
        more=more,
        on_own_thread=True,
    )
    return FittedNeuralTopics(network, state.history, split.observed, fit.seed)


def batches_of(
    counts: csr_array, batch_size: int, order: np.ndarray | None = None
) -> Iterator[tuple[np.ndarray, Bags]]:
    """Documents and their bags, batch by batch, in this order; no batch is short."""
    for documents in batch_numbers(counts.shape[0], batch_size, order):
        yield documents, bags_of(counts[documents])


def batch_numbers(n: int, batch_size: int, order: np.ndarray | None = None) -> list[np.ndarray]:
    """Numbers 0 to n - 1, or `order`, in batches of `batch_size` or more, as equal as can be."""
    order = np.arange(n) if order is None else order
    return np.array_split(order, max(1, n // batch_size))


def _train_epoch(
    state: TrainingState, counts: csr_array, seed: int, epoch: int
) -> tuple[float, float]:
    """One pass; mean of -log p(x | z), nats per word, and of the divergence, nats per document.

    At its end the statistics of normalisation are those of all training documents.
    """
    network, config = state.network, state.network.config
    n_documents, n_words = counts.shape
    order = stream(seed, FAMILY, ORDER, epoch).permutation(n_documents)
    total, divergence = 0.0, 0.0
    for number, documents in enumerate(batch_numbers(n_documents, config.batch_size, order)):
        draw = stream(seed, FAMILY, STEP, epoch, number)
        bags = bags_of(counts[documents], config.input_dropout, draw)
        log_p, kl, drawn = network.training_step(bags, draw)
        fit = log_likelihood(config.objective, log_p, bags.counts)
        value = surrogate(
            fit,
            kl,
            config.kl_weight(epoch),
            drawn,
            correct=config.correction or config.gradient != "pathwise",
            baseline=config.gradient != "score_function",
        )
        state.optimizer.zero_grad()
        (-value).backward()
        state.optimizer.step()
        total -= float((bags.counts * log_p.detach()).sum())
        divergence += float(kl.detach().sum())
        check_finite(total + divergence, config.learning_rate)
    batches = (bags for _, bags in batches_of(counts, config.batch_size))
    network.set_statistics(batches, stream(seed, FAMILY, STATISTICS, epoch))
    mean = total / max(1.0, float(counts.sum(dtype=np.float64)))
    return check_loss(mean, n_words, config.learning_rate), divergence / n_documents


def _mean_bound(network: NeuralTopics, corpus: Corpus, seed: int) -> float:
    """The evidence lower bound, nats per word; its noise is the same in every epoch."""
    total = 0.0
    for number, (_, bags) in enumerate(batches_of(bag_of_words(corpus), network.config.batch_size)):
        fit, kl = network.bound(bags, stream(seed, FAMILY, BOUND, number))
        total += float((fit - kl).sum())
    return total / corpus.n_tokens


@torch.no_grad()
def _predict(network: NeuralTopics, observed: Corpus, on_rows: OnRows) -> None:
    """Call `on_rows(documents, log p (B, V))`, batch by batch, with θ the posterior's mean."""
    for documents, bags in batches_of(bag_of_words(observed), network.config.batch_size):
        log_p = network.decoder(network.mean_theta(bags)).double()
        on_rows(range(int(documents[0]), int(documents[-1]) + 1), log_p.log_softmax(1).numpy())
