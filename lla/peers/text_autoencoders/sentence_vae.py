"""A fitted sentence VAE or LSTM language model: training, scores, latent means, sentences."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch

from lla.common.checkpoint import CRITERION
from lla.common.errors import InputError, check_function, check_integer
from lla.common.parallel import check_threads, on_one_thread
from lla.common.progress import progress
from lla.common.random import family_stream, stream, torch_stream
from lla.corpus import Corpus, Split, check_same_vocabulary
from lla.evaluate import ScoreCallback
from lla.inference.gradient import make_batches
from lla.peers.iterations import check_arguments
from lla.peers.text_autoencoders import decoding
from lla.peers.text_autoencoders.bounds import (
    batches,
    importance_bound,
    log_predictive,
    noise_of,
)
from lla.peers.text_autoencoders.layers import batch_of, step
from lla.peers.text_autoencoders.sentence_network import (
    SentenceVAE,
    SentenceVAEConfig,
    negative_elbo,
)
from lla.peers.training import (
    WEIGHTS,
    FittedNetwork,
    TrainingState,
    check_loss,
    fit_epochs,
    initial_state,
    popularity,
)

STREAM = family_stream("sentence_vae")
ENCODED = 128  # sentences encoded at once
SAMPLED = 2**21  # in a stream's key where an epoch has its number


class FittedSentenceVAE(FittedNetwork):
    """A trained sentence VAE, or language model where `latent_size` is 0."""

    network: SentenceVAE

    def score(self, split: Split, *, seed: int = 0, n_samples: int | None = None) -> np.ndarray:
        """log p(held-out words | observed words) of every document, (D,) nats.

        The difference of two importance-weighted bounds, of the whole document and of what is
        observed. Of a sentence the start symbol alone is observed and the second is 0, so it is a
        lower bound; of a language model it is exact.

        Parameters
        ----------
        n_samples : of z per document; by default the configuration's
        """
        self.check_split(split)
        if n_samples is not None:
            check_integer("n_samples", n_samples)
        return on_one_thread(partial(_score, self.network, split, seed, n_samples))

    def next_items(self, split: Split, on_scores: ScoreCallback, *, seed: int = 0) -> None:
        """Hand `on_scores` log p (B, V), float32, of all held-out words, document by document."""
        self.check_split(split)
        check_function("on_scores", on_scores)
        on_one_thread(partial(_predict, self.network, split, on_scores, seed))

    def posterior(self, corpus: Corpus) -> tuple[np.ndarray, np.ndarray]:
        """μ and σ² of q(z | words) of every document, (D, L) each; of one token the prior's."""
        self._check_corpus(corpus)
        size = self.network.config.latent_size
        mean, variance = np.zeros((corpus.n_documents, size)), np.ones((corpus.n_documents, size))
        with torch.no_grad():
            for documents, batch in batches(corpus, ENCODED):
                mu, log_variance = self.network.encode(batch)
                mean[documents], variance[documents] = mu.numpy(), log_variance.exp().numpy()
        return mean, variance

    def decode(
        self,
        z: np.ndarray,
        first: int,
        last: int,
        *,
        beam: int = 1,
        max_words: int = 30,
        without: Sequence[int] = (),
    ) -> list[list[int]]:
        """The likeliest words after `first`, up to and without `last`, for every z of (B, L).

        Parameters
        ----------
        beam : hypotheses kept; 1 is greedy
        without : words that are not decoded, such as the unknown one
        """
        check_integer("beam", beam)
        check_integer("max_words", max_words)
        latent = torch.from_numpy(np.asarray(z, np.float32))
        search = decoding.greedy if beam == 1 else decoding.beam_search
        return search(self.network, latent, first, last, max_words, beam, [first, *without])

    def sample(
        self,
        z: np.ndarray,
        first: int,
        last: int,
        seed: int,
        *,
        max_words: int = 30,
        without: Sequence[int] = (),
    ) -> list[list[int]]:
        """Words after `first` drawn one by one, up to and without `last`, for every z of (B, L).

        Parameters
        ----------
        without : words that are not drawn, such as the unknown one
        """
        check_integer("max_words", max_words)
        latent = torch.from_numpy(np.asarray(z, np.float32))
        generator = torch_stream(seed, STREAM, SAMPLED)
        hidden = [first, *without]
        return decoding.sample(self.network, latent, first, last, max_words, hidden, generator)

    def reconstruct(self, corpus: Corpus, *, beam: int = 1) -> list[list[int]]:
        """Every document decoded from its latent mean, without its first and its last token."""
        mean, _ = self.posterior(corpus)
        found: list[list[int]] = []
        for begin in range(0, len(mean), ENCODED):
            part = mean[begin : begin + ENCODED]
            ends = corpus.offsets[begin + 1 : begin + 1 + len(part)] - 1
            first, last = (_only(corpus.words[at]) for at in (corpus.offsets[:-1], ends))
            found += self.decode(part, first, last, beam=beam)
        return found

    def interpolate(
        self,
        corpus: Corpus,
        documents: tuple[int, int],
        n_steps: int,
        *,
        beam: int = 1,
        without: Sequence[int] = (),
    ) -> list[list[int]]:
        """Sentences decoded from points on the line between two documents' latent means."""
        check_integer("n_steps", n_steps, least=2)
        ends, _ = self.posterior(corpus.select(np.array(documents)))
        share = np.linspace(0, 1, n_steps)[:, None]
        z = (1 - share) * ends[0] + share * ends[1]
        tokens = corpus.document(documents[0])
        return self.decode(z, int(tokens[0]), int(tokens[-1]), beam=beam, without=without)

    def _check_corpus(self, corpus: Corpus) -> None:
        check_same_vocabulary(corpus, self.vocabulary, len(self.vocabulary))
        if not self.network.config.latent_size:
            raise InputError("latent_size is 0: a language model has no latent vector; fit a VAE")


def _only(words: np.ndarray) -> int:
    """The one word that all documents begin, or end, with."""
    if len(np.unique(words)) != 1:
        raise InputError("corpus: its documents do not all begin and end alike; give sentences")
    return int(words[0])


def fit_sentence_vae(
    split: Split,
    config: SentenceVAEConfig,
    seed: int,
    *,
    start: None = None,
    checkpoint: str | Path | None = None,
    on_iteration: Callable[[TrainingState], None] | None = None,
    n_threads: int | None = None,
) -> FittedSentenceVAE:
    """Train on the observed part of every document, whose first token is given, on one thread.

    `lla.peers` has the arguments that are not here.

    Parameters
    ----------
    split : such as `data_prep.sentences.split_by_part` makes; the development documents' ELBO
        decides when to stop, or how well they are reproduced where `beta` is 0. A document of two
        words or more is needed
    """
    fit = check_arguments(
        split, config, SentenceVAEConfig, seed, checkpoint=checkpoint, on_iteration=on_iteration
    )
    check_threads(n_threads)
    if split.observed.lengths.max() < 2:
        raise InputError("split: no document has two observed words; give more to train on")
    generator = torch_stream(fit.seed, STREAM, WEIGHTS)
    network = SentenceVAE(config, popularity(split), generator)
    state = initial_state(network, config.learning_rate)
    name = "sentence VAE" if config.latent_size else "LSTM language model"

    def more(epoch: int) -> dict[str, float]:
        plain = config.latent_size and not config.beta
        return {CRITERION: -_reconstruction(network, fit.part.corpus)} if plain else {}

    fit_epochs(
        state,
        fit,
        identity=fit.identity("sentence_vae"),
        name=name,
        train=partial(_train_epoch, state, split.observed, fit.seed, name),
        score=partial(_score, network, fit.part, fit.seed, 1),
        more=more,
        on_own_thread=True,
    )
    return FittedSentenceVAE(network, state.history, split.corpus.vocabulary)


def _train_epoch(state: TrainingState, corpus: Corpus, seed: int, name: str, epoch: int) -> float:
    """One pass over all documents of two words or more; -log p(words | z), nats per word."""
    network, config = state.network, state.network.config
    parameters = list(network.parameters())
    lengths = corpus.lengths - 1
    groups = make_batches(lengths, config.batch_size, stream(seed, STREAM, epoch))
    total = 0.0
    bar = progress(groups, description=f"{name}, epoch {epoch}", unit="batch")
    for number, documents in enumerate(bar):
        generator = torch_stream(seed, STREAM, epoch, number)
        weight = config.kl_weight(epoch - 1 + number / len(groups))
        batch = batch_of(corpus, documents)
        objective, loss = negative_elbo(network, batch, weight, generator)
        step(state.optimizer, objective / len(documents), parameters, config.learning_rate)
        total += loss.item()
    return check_loss(total / lengths.sum(), corpus.n_words, config.learning_rate)


@torch.no_grad()
def _reconstruction(network: SentenceVAE, corpus: Corpus) -> float:
    """log p(words | μ), nats per document."""
    total = 0.0
    for _, batch in batches(corpus, ENCODED):
        total += float(network.log_p(batch, network.encode(batch)[0]).double().sum())
    return total / corpus.n_documents


def _score(
    network: SentenceVAE, split: Split, seed: int, n_samples: int | None = None
) -> np.ndarray:
    n_samples = n_samples or network.config.n_samples
    noise = noise_of(seed, STREAM, network.config.latent_size)
    scores = np.zeros(split.corpus.n_documents)
    scored = np.flatnonzero(split.n_held_out)
    if len(scored):
        parts = (part.select(scored) for part in (split.corpus, split.observed))
        whole, observed = (importance_bound(network, part, noise, n_samples) for part in parts)
        scores[scored] = whole - observed
    return scores


@torch.no_grad()
def _predict(network: SentenceVAE, split: Split, on_scores: ScoreCallback, seed: int) -> None:
    corpus, config = split.corpus, network.config
    draw = noise_of(seed, STREAM, config.latent_size)
    n_samples = config.n_samples if config.latent_size else 1
    for d in np.flatnonzero(split.n_held_out).tolist():
        words = torch.from_numpy(corpus.document(d).astype(np.int64))
        noise = draw(np.array([d]), n_samples)[0]
        n_observed = int(split.n_observed[d])
        log_p = log_predictive(network, words, n_observed, noise)
        on_scores(np.arange(corpus.offsets[d] + n_observed, corpus.offsets[d + 1]), log_p.numpy())
