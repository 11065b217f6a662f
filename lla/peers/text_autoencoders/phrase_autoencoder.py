"""A fitted phrase autoencoder: training, latent vectors, reconstructions, sentiment.

It is no `Fitted` of the one interface: it gives a phrase no probability (see `phrase_network`).
"""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from lla.common.arrays import array_hash
from lla.common.errors import InputError
from lla.common.parallel import one_thread
from lla.common.random import family_stream, stream, torch_stream
from lla.corpus import Corpus, Split, check_same_vocabulary
from lla.peers.iterations import check_arguments
from lla.peers.text_autoencoders.layers import step
from lla.peers.text_autoencoders.phrase_network import PhraseAutoencoder, PhraseConfig, loss_of
from lla.peers.training import (
    WEIGHTS,
    FittedNetwork,
    TrainingState,
    check_finite,
    fit_epochs,
    initial_state,
    popularity,
)

STREAM = family_stream("phrase_autoencoder")
ENCODED = 1024  # phrases at once


class FittedPhraseAutoencoder(FittedNetwork):
    """A trained phrase autoencoder."""

    network: PhraseAutoencoder

    def encode(self, corpus: Corpus) -> np.ndarray:
        """Latent vectors of all phrases, (D, L) float64."""
        return self._of_all(corpus, self.network.encode)

    def log_p(self, corpus: Corpus) -> np.ndarray:
        """log p(words | z) of all phrases, (D,) nats, each from its own latent vector."""
        return self._of_all(corpus, lambda words: reconstruction(self.network, words))

    def reconstruct(self, corpus: Corpus) -> np.ndarray:
        """The likeliest words given each phrase's latent vector, (D, n)."""

        def words_of(words: Tensor) -> Tensor:
            logits, _ = self.network.decode(self.network.encode(words), words.shape[1])
            return logits.argmax(dim=2).T

        return self._of_all(corpus, words_of).astype(np.int64)

    def positive(self, corpus: Corpus) -> np.ndarray:
        """The head's probability that a phrase is from a positive review, (D,)."""
        if self.network.config.head == "none":
            raise InputError(
                'head is "none": this fit has no sentiment; give "decoder" or "latent"'
            )

        def probability(words: Tensor) -> Tensor:
            z = self.network.encode(words)
            _, last_state = self.network.decode(z, words.shape[1])
            return self.network.positive_logit(z, last_state).sigmoid()

        return self._of_all(corpus, probability)

    def _of_all(self, corpus: Corpus, call: Callable[[Tensor], Tensor]) -> np.ndarray:
        check_same_vocabulary(corpus, self.vocabulary, len(self.vocabulary))
        with torch.no_grad(), one_thread():
            parts = [call(words) for words in batches(phrase_words(corpus))]
        return torch.cat(parts).double().numpy()


def phrase_words(corpus: Corpus) -> np.ndarray:
    """(D, n) int64, the words of phrases of one length, without the start symbol."""
    lengths = np.unique(corpus.lengths)
    if len(lengths) != 1 or lengths[0] < 2:
        raise InputError("corpus: not phrases of one length; make it with prepare_phrases")
    return corpus.words.astype(np.int64).reshape(corpus.n_documents, -1)[:, 1:]


def batches(words: np.ndarray) -> Iterator[Tensor]:
    """Rows of words (D, n), `ENCODED` at a time."""
    for begin in range(0, len(words), ENCODED):
        yield torch.from_numpy(words[begin : begin + ENCODED])


def reconstruction(network: PhraseAutoencoder, words: Tensor) -> Tensor:
    """log p(words | z(words)) of phrases (B, n), (B,) nats."""
    logits, _ = network.decode(network.encode(words), words.shape[1])
    loss = F.cross_entropy(logits.flatten(0, 1), words.T.flatten(), reduction="none")
    return -loss.view(words.shape[1], -1).sum(dim=0)


def fit_phrase_autoencoder(
    split: Split,
    config: PhraseConfig,
    seed: int,
    *,
    start: None = None,
    positive: np.ndarray | None = None,
    checkpoint: str | Path | None = None,
    on_iteration: Callable[[TrainingState], None] | None = None,
    n_threads: int | None = None,
) -> FittedPhraseAutoencoder:
    """Train on the phrases that are observed whole, on one thread; each counts once.

    `lla.peers` has the arguments that are not here.

    Parameters
    ----------
    split : of a corpus of `data_prep.phrases`, as `split_by_part` makes it; how well development
        phrases are reproduced decides when to stop
    positive : (D,) share of positive reviews among those that have a phrase; a head needs it
    """
    fit = check_arguments(
        split, config, PhraseConfig, seed, checkpoint=checkpoint, on_iteration=on_iteration
    )
    words = phrase_words(split.corpus)
    if config.head != "none" and (positive is None or np.shape(positive) != (len(words),)):
        raise InputError(
            f"positive: give a share for each of the {len(words)} phrases, or head='none': these "
            "phrases have no labels"
        )
    trained = np.flatnonzero(split.n_held_out == 0)
    if len(trained) < 2:
        raise InputError("split: fewer than two phrases are observed whole; give more to train on")
    identity = fit.identity("phrase_autoencoder")
    labels = None
    if config.head != "none":
        labels = torch.from_numpy(np.asarray(positive, np.float32))[trained]
        identity["positive"] = array_hash(labels.numpy())
    network = PhraseAutoencoder(config, popularity(split), torch_stream(fit.seed, STREAM, WEIGHTS))
    state = initial_state(network, config.learning_rate)
    of_training, of_part = (
        torch.from_numpy(words[trained]),
        torch.from_numpy(words[split.development]),
    )

    def score() -> np.ndarray:
        with torch.no_grad():
            return reconstruction(network, of_part).double().numpy()

    fit_epochs(
        state,
        fit,
        identity=identity,
        name="phrase autoencoder",
        train=partial(_train_epoch, state, of_training, labels, fit.seed),
        score=score,
        on_own_thread=True,
    )
    network.eval()
    return FittedPhraseAutoencoder(network, state.history, split.corpus.vocabulary)


def _train_epoch(
    state: TrainingState, words: Tensor, labels: Tensor | None, seed: int, epoch: int
) -> float:
    """One pass over words (D, n), then batch statistics; the mean of -log p per word."""
    network, config = state.network, state.network.config
    parameters = list(network.parameters())
    order = stream(seed, STREAM, epoch).permutation(len(words))
    # The last batch takes what would be left: of one phrase there is no variance.
    n_batches = max(1, len(words) // config.batch_size)
    total = 0.0
    network.train()
    for rows in np.array_split(order, n_batches):
        chosen = torch.from_numpy(rows)
        objective, per_word = loss_of(
            network, words[chosen], None if labels is None else labels[chosen]
        )
        step(state.optimizer, objective, parameters, config.learning_rate)
        total += per_word.item() * len(rows)
    network.eval()
    set_statistics(network, words)
    mean = total / len(words)
    check_finite(mean, config.learning_rate)
    return mean


@torch.no_grad()
def set_statistics(network: PhraseAutoencoder, words: Tensor) -> None:
    """Mean and variance of the encoder's states over all training phrases (D, n)."""
    parts = [network.final_states(part) for part in words.split(ENCODED)]
    states = torch.cat(parts)  # (D, H)
    network.norm.mean.copy_(states.mean(dim=0))
    network.norm.variance.copy_(states.var(dim=0, unbiased=False))
