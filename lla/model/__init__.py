"""A fitted model of Table 1: it scores, ranks and recommends, and its topics can be read."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lla.common.checkpoint import check_checkpoint, resume_fit, save_fit
from lla.common.errors import check_instance, check_integer, check_seed
from lla.common.parallel import ALONE, Workers, thread_pool
from lla.common.random import StreamId
from lla.corpus import Corpus, Split, check_same_vocabulary
from lla.corpus.tokens import read_known
from lla.evaluate import ScoreCallback
from lla.inference.filter import FilterConfig, FilterResult, ScoreRequest, infer
from lla.inference.session import Predictor, Session, decode
from lla.model.reading import ReadableModel
from lla.topics.tables import explanation_table, forecast_table

if TYPE_CHECKING:
    import pandas as pd

WORD_SCORES = 2**22  # probabilities held at once per thread


@dataclass(frozen=True, repr=False)
class Model(ReadableModel):
    """A model that predicts: documents by the particle filter, one history by a session.

    Its parts are those of `ReadableModel`. Where the LSTM knows its users (`SEMConfig.user_rank`),
    these are the documents of the corpus that it was trained on, and only where that corpus is
    given. The documents of any other corpus, and the histories of `session` and of what is made
    from it, are those of new users, d = 0.
    """

    def score(
        self,
        split: Split,
        *,
        seed: int = 0,
        n_particles: int = 16,
        new_documents: bool = False,
        checkpoint: str | Path | None = None,
        n_threads: int | None = None,
        workers: Workers = ALONE,
    ) -> np.ndarray:
        """log p(held-out words | observed words) of every document, (D,) nats.

        Exact where the LSTM reads words. For topic LLA the particle filter's: log of a ratio of two
        unbiased estimates, of p(w_1:N) and p(w_1:n); in expectation the perplexity is too high, and
        falls to the model's own as particles are added.

        Parameters
        ----------
        new_documents : the model was not trained on the observed tokens. Else they are taken for
            those it was trained on: sources leave each one's own contribution out, and users of the
            training corpus are known
        checkpoint : file the scores are kept in, and read from when it is there
        workers : processes that share the documents, as in `fit_sem`

        Raises
        ------
        InputError
            When the checkpoint cannot be written, or holds other scores.
        """
        check_instance("split", split, Split)
        check_seed(seed)
        check_integer("n_particles", n_particles)
        check_same_vocabulary(split.corpus, self.vocabulary, self.n_words)
        checkpoint = check_checkpoint(checkpoint)
        identity = {
            "kind": "scores",
            "model": self.fingerprint(),
            "corpus": split.corpus.fingerprint,
            "n_observed": hashlib.sha256(split.n_observed).hexdigest(),
            "n_particles": n_particles,
            "seed": seed,
        }
        if new_documents and (self.source_names or self.network.config.user_rank):
            identity["new_documents"] = True
        if found := resume_fit(checkpoint, identity):
            return found[0]["log_likelihood"]
        log_evidence = self.log_evidence(
            split.corpus,
            seed=seed,
            key=(StreamId.PERPLEXITY, n_particles),
            n_particles=n_particles,
            n_threads=n_threads,
            counted=None if new_documents else self._counted(split),
            scored=split.held_out,
            users=None if new_documents else self._users(split.corpus),
            workers=workers,
        )
        log_likelihood = split.sum_held_out(log_evidence)
        if checkpoint and workers.is_first:
            save_fit(checkpoint, identity, {"log_likelihood": log_likelihood})
        return log_likelihood

    def next_items(
        self,
        split: Split,
        on_scores: ScoreCallback,
        *,
        seed: int = 0,
        n_particles: int = 16,
        new_documents: bool = False,
        n_threads: int | None = None,
    ) -> None:
        """Hand over the probabilities p(w_t = v | w_<t) of all words v at every held-out token.

        From the same draws as `score` with these options. The order of the
        calls depends on the threads; the scores do not, and are the caller's to keep.
        """
        check_instance("split", split, Split)
        check_integer("n_particles", n_particles)
        max_rows = max(1, WORD_SCORES // split.corpus.n_words)
        self.log_evidence(
            split.corpus,
            seed=seed,
            key=(StreamId.PERPLEXITY, n_particles),
            n_particles=n_particles,
            n_threads=n_threads,
            request=ScoreRequest(split.held_out, on_scores, max_rows),
            counted=None if new_documents else self._counted(split),
            scored=split.held_out,
            users=None if new_documents else self._users(split.corpus),
        )

    def _users(self, corpus: Corpus) -> np.ndarray | None:
        """The users (D,) of a corpus' documents; None where all are new."""
        if not self.network.config.user_rank:
            return None
        known = corpus.fingerprint == self.provenance.get("corpus")
        return np.arange(corpus.n_documents) if known else None

    def _counted(self, split: Split) -> np.ndarray | None:
        """The tokens that sources were counted from, (N,) bool; None where there are none."""
        return ~split.held_out if self.source_names else None

    def log_evidence(
        self,
        corpus: Corpus,
        *,
        seed: int,
        key: tuple[int, ...],
        n_particles: int = 16,
        n_threads: int | None = None,
        request: ScoreRequest | None = None,
        counted: np.ndarray | None = None,
        scored: np.ndarray | None = None,
        users: np.ndarray | None = None,
        workers: Workers = ALONE,
    ) -> np.ndarray:
        """log p(w_t | w_<t) of every token, (N,); document d draws from the stream (seed, *key, d).

        Where the `request` wants them, the probabilities of all words are handed over.

        Parameters
        ----------
        counted : (N,) bool, tokens that the model was trained on: their own contribution is left
            out of the sources, so their probabilities are none of a distribution. None: no token
        scored : (N,) bool, the tokens that are wanted; others may be 0. None: all
        users : (D,) the place of every document's user in training, -1 for a new one, where the
            LSTM knows its users. None: all are new
        workers : processes that share the documents, as in `fit_sem`

        Raises
        ------
        InputError
            When the corpus has other words than the model.
        """
        check_same_vocabulary(corpus, self.vocabulary, self.n_words)
        check_seed(seed)
        check_integer("n_particles", n_particles)
        with thread_pool(n_threads, workers) as pool:
            result = infer(
                self.network,
                self.emission,
                corpus,
                FilterConfig(n_particles),
                seed=seed,
                key=key,
                pool=pool,
                description=f"reading, {n_particles} particles, seed {seed}",
                request=request,
                counted=counted,
                scored=scored,
                users=users,
            )
        assert result.log_evidence is not None  # asked for by default
        return result.log_evidence

    def topic_proportions(
        self,
        corpus: Corpus,
        *,
        seed: int = 0,
        n_particles: int = 16,
        n_threads: int | None = None,
    ) -> np.ndarray:
        """E[n_dk | w_d] / N_d, the expected share of each topic in any document: (D, K) float64.

        Where there are sources, their shares of the items follow in the columns from K on. Under a
        gate all tokens have topics, so the shares of topics sum to 1 alone.

        The particle filter's posterior mean; exact where the LSTM reads words and the emission is
        shared. A document draws from the stream of its own words, so its row depends neither on the
        other documents nor on their order, but for the rounding of products of matrices.

        Parameters
        ----------
        corpus : documents of the model's vocabulary, whether it was trained on them or not
        n_particles : topic histories carried; more reduce the sampling error

        Raises
        ------
        InputError
            When the model predicts words, or the corpus has other words than the model.
        """
        check_same_vocabulary(corpus, self.vocabulary, self.n_words)
        check_seed(seed)
        check_integer("n_particles", n_particles)
        counts = np.zeros((corpus.n_documents, self._n_outcomes()))
        with thread_pool(n_threads) as pool:
            infer(
                self.network,
                self.emission,
                corpus,
                FilterConfig(n_particles),
                seed=seed,
                key=(StreamId.PROPORTIONS, n_particles),
                pool=pool,
                description=f"topics of documents, {n_particles} particles, seed {seed}",
                out=FilterResult(topics=None, log_evidence=None, topic_counts=counts),
                streams=_streams_of_words(corpus),
                users=self._users(corpus),
            )
        of_topics = counts[:, : self.network.config.n_topics] if self._has_gate else counts
        return counts / of_topics.sum(axis=1, keepdims=True)  # N_d but for rounding

    def read(self, text: str | Iterable[str]) -> list[str]:
        """The words of a text, or of a list of words, that the model knows: a history.

        They are read as the corpus was on which the model was trained, with its tokenizer and stop
        words; one line in the log "lla" counts the unknown ones.
        """
        options = (self.provenance.get("data") or {}).get("tokenizer")
        return read_known(text, options, self._predictor.ids)

    def session(
        self, history: Iterable[str] = (), *, n_particles: int = 16, seed: int = 0
    ) -> Session:
        """Online prediction for one history: `session.add(item)` costs one LSTM step.

        Parameters
        ----------
        history : items so far, oldest first; empty is a cold start. Unknown items are skipped, with
            one line in the log "lla"
        n_particles : topic histories carried; more reduce the sampling error
        seed : of their draws
        """
        session = Session(self._predictor, n_particles, seed)
        session.extend(history)
        return session

    def recommend(
        self,
        history: Iterable[str],
        k: int = 10,
        *,
        exclude_seen: bool = False,
        n_particles: int = 16,
        seed: int = 0,
    ) -> list[tuple[str, float]]:
        """The `k` likeliest next items of any user, best first, each with its probability.

        Parameters
        ----------
        history, n_particles, seed : see `session`
        k : items wanted; when the model has fewer, it gives all, and one line of the log says so
        exclude_seen : leave out the items of the history; the others keep their probabilities
        """
        session = self.session(history, n_particles=n_particles, seed=seed)
        return session.recommend(k, exclude_seen=exclude_seen)

    def topics_ahead(
        self,
        history: Iterable[str],
        steps: int = 5,
        *,
        n_futures: int = 512,
        n_particles: int = 16,
        seed: int = 0,
    ) -> np.ndarray:
        """p(z_{t+h} | history) of the next `steps` events, h = 1..steps: (steps, K) float64.

        The first row is θ averaged over the particles, the others θ averaged over futures that
        are drawn on from them.

        Parameters
        ----------
        history, n_particles, seed : see `session`
        n_futures : futures drawn
        """
        session = self.session(history, n_particles=n_particles, seed=seed)
        return session.topics_ahead(steps, n_futures=n_futures)

    def decode(self, history: Iterable[str], width: int = 16) -> list[tuple[str, int]]:
        """The most likely topics of a history, all at once: its items, each with its topic.

        Where sources are values of the topic, K + j is the j-th of `source_names`. Under a gate
        every item has a topic, and the history is the most likely one of topics and of where the
        items came from.

        A beam keeps the `width` histories of highest log p(z, w), so later items influence earlier
        topics. Unknown items are skipped (see `session`).
        """
        words = self._predictor.words(history)
        topics = decode(self._predictor, words, width).topics
        return [(self.vocabulary[w], int(z)) for w, z in zip(words, topics, strict=True)]

    def explain(
        self,
        history: Iterable[str],
        n: int = 3,
        *,
        n_particles: int = 16,
        seed: int = 0,
    ) -> "pd.DataFrame":
        """Which topic or source produced each event of a history: a row per event, in their order.

        Its item; the likeliest topic or source by name, and its probability given the events up to
        this one; the probability of all topics together, and of every source. The probabilities are
        the particle filter's, exact where the LSTM reads words and the emission is shared.

        Parameters
        ----------
        history, n_particles, seed : see `session`; the history is taken as new to the model
        n : items in the name of a topic
        """
        check_integer("n", n)
        session = self.session((), n_particles=n_particles, seed=seed)
        words = self._predictor.words(history)
        items = [self.vocabulary[w] for w in words]
        rows = np.zeros((len(items), self._n_outcomes()))
        for row, item in zip(rows, items, strict=True):
            row[:] = session.explain_next(item)
            session.add(item)
        return explanation_table(rows, items, self.topic_names(n), self.source_names)

    def forecast_table(
        self,
        history: Iterable[str],
        steps: int = 5,
        n: int = 3,
        *,
        n_futures: int = 512,
        n_particles: int = 16,
        seed: int = 0,
    ) -> "pd.DataFrame":
        """`topics_ahead` to read: a row per step, its `n` likeliest topics, by name."""
        session = self.session(history, n_particles=n_particles, seed=seed)
        ahead = session.topics_ahead(steps, n_futures=n_futures)
        return forecast_table(ahead, [*self.topic_names(), *self.source_names], n)

    @cached_property
    def _predictor(self) -> Predictor:
        return Predictor(self.network, self.emission, self.vocabulary)


def _streams_of_words(corpus: Corpus) -> np.ndarray:
    """A number for each document that follows from its words alone, (D,) uint64."""
    documents = (corpus.document(d).astype("<i8") for d in range(corpus.n_documents))
    hashes = (hashlib.sha256(words).digest()[:8] for words in documents)
    return np.array([int.from_bytes(first, "little") for first in hashes], np.uint64)
