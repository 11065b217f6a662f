"""A fitted model of Table 1: it scores, ranks, recommends, and names its topics."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors.torch import save

from lla.common.arrays import as_array
from lla.common.checkpoint import check_checkpoint, resume_fit, save_fit
from lla.common.errors import (
    InputError,
    check_instance,
    check_integer,
    check_seed,
    check_texts,
    describe,
)
from lla.common.random import StreamId
from lla.common.summary import Summarized
from lla.common.threads import thread_pool
from lla.common.tokens import read_known
from lla.common.workers import ALONE, Workers
from lla.corpus import Corpus, Split, check_same_vocabulary
from lla.evaluate import ScoreCallback, Size, size_of_counts
from lla.inference.batch import check_model
from lla.inference.emission import Emission, PersonalEmission, SharedEmission
from lla.inference.filter import FilterConfig, FilterResult, ScoreRequest, infer
from lla.inference.session import Predictor, Session, decode
from lla.inference.sources import SourceEmission
from lla.lstm import MODELS, Network
from lla.samplers.lda import document_topic_counts, topic_counts
from lla.topics.tables import document_table, explanation_table, forecast_table, topic_table
from lla.topics.words import check_topic_tokens, top_words

if TYPE_CHECKING:
    import pandas as pd

WORD_SCORES = 2**22  # probabilities held at once per thread
EMISSIONS = {"shared": SharedEmission, "personal": PersonalEmission}


@dataclass(frozen=True, repr=False)
class Model(Summarized):
    """The LSTM, the emission (None where the LSTM predicts words), and the assignments (N,).

    Where the LSTM knows its users (`SEMConfig.user_rank`), these are the documents of the corpus
    that it was trained on, and only where that corpus is given. The documents of any other corpus,
    and the histories of `session` and of what is made from it, are those of new users, d = 0.

    Attributes
    ----------
    network : its weights are read once, when first asked to predict for a history
    topics : of the tokens it was trained on; empty in a model that `lla.load_model` read. Where
        sources are values of the topic, K + j is the j-th of `source_names`
    vocabulary : the V items by name
    provenance : what it was made with and from
    history : one row per iteration of the fit (see `lla.sem.SEM`); empty in a model that was read
    observed : the tokens it was trained on, to which `topics` belong; None in a model that was read
    origins : (N,) where their items came from, 0 a topic, j + 1 the j-th of `source_names`; empty
        where there are none, and in a model that was read
    """

    network: Network
    emission: Emission | None
    topics: np.ndarray
    vocabulary: tuple[str, ...] = ()
    provenance: Mapping[str, Any] = field(default_factory=dict)
    history: list[dict[str, float]] = field(default_factory=list)
    observed: Corpus | None = None
    origins: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))

    def summary_facts(self) -> dict[str, Any]:
        """Its kind, its sizes, and how well the best iteration did."""
        network, found = self.network.config, dict[str, Any](kind=self.kind)
        if self.emission is not None:
            n_topics = self.emission.phi.shape[1]
            found |= {"topics": n_topics, "emission": self.emission_kind}
            if self.source_names:
                found["sources"] = ", ".join(self.source_names)
        found |= {"words": len(self.vocabulary), "hidden_size": network.hidden_size}
        if self.history:
            found["iterations"] = len(self.history)
            rows = [row["development_perplexity"] for row in self.history]
            found["development_perplexity"] = min(rows)
        return found

    @property
    def kind(self) -> str:
        """Which model of Table 1, such as "topic_lla"."""
        predicts = "word" if self.emission is None else "topic"
        return next(k for k, of in MODELS.items() if of == (self.network.config.input, predicts))

    @property
    def emission_kind(self) -> str | None:
        """ "shared" or "personal"; None where the LSTM predicts words."""
        emission = self.emission
        of_topics = emission.topics if isinstance(emission, SourceEmission) else emission
        return next((k for k, of in EMISSIONS.items() if type(of_topics) is of), None)

    @property
    def source_names(self) -> tuple[str, ...]:
        """Sources beside the topics; most models have none."""
        return () if self.emission is None else self.emission.source_names

    def __post_init__(self) -> None:
        """Check that the parts are of one model: no kernel that it calls checks bounds."""
        check_instance("network", self.network, Network)
        if self.emission is not None:
            check_instance("emission", self.emission, Emission)
        if self.observed is not None:
            check_instance("observed", self.observed, Corpus)
        if as_array("topics", self.topics).ndim != 1:
            raise InputError(f"topics is {describe(self.topics)}: give a topic per token")
        object.__setattr__(self, "vocabulary", check_texts("vocabulary", self.vocabulary))
        phi_shape = None if self.emission is None else self.emission.shape
        n_words = self.network.config.n_outputs if phi_shape is None else phi_shape[0]
        check_model(self.network.config, phi_shape, n_words)
        if self.network.config.n_sources not in (0, len(self.source_names)):
            raise InputError(
                f"network: its gate has {self.network.config.n_sources} sources, the emission "
                f"{len(self.source_names)}; give network and emission of one fit"
            )
        if self.vocabulary and len(self.vocabulary) != n_words:
            raise InputError(
                f"the model has {n_words} items and the vocabulary {len(self.vocabulary)}: give "
                "Model(..., vocabulary=corpus.vocabulary) of the corpus it was trained on"
            )

    @property
    def n_words(self) -> int:
        """V."""
        config = self.network.config
        return config.n_outputs if self.emission is None else len(self.emission.phi)

    @property
    def seconds(self) -> float:
        """Of training."""
        return sum(row["seconds"] for row in self.history)

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

    def size(self) -> Size:
        """Parameters and bytes; a φ that was learned by gradient has no zeros."""
        state = {name: value.contiguous() for name, value in self.network.state_dict().items()}
        learned = state.pop("topic_words.weight", None)
        letters = self.network.config.input == "character"
        n_characters = len(self.network.input.weight) if letters else 0
        if learned is not None:
            phi = Size(0, learned.numel(), len(save({"phi": learned})))
        elif self.emission is None:
            phi = Size(0, 0, 0)
        elif self.observed is None or not self._has_assignments:
            raise InputError(
                "the size of φ is counted from the assignments of the observed tokens, which this "
                "model lacks: ask a model as fit_sem or load_sem returns it"
            )
        else:
            words, n_words = self.observed.words, self.observed.n_words
            own = self._counted_in_phi()
            counts = topic_counts(words[own], self.topics[own], n_words, self._phi().shape[1])
            phi = size_of_counts(counts[0])
        # Tables stand where counts do, so φ has as many non-zeros; τ and sources come on top.
        emission, n_sources, source_bytes = self.emission, 0, 0
        if isinstance(emission, SourceEmission):
            n_sources, source_bytes = emission.sources.n_parameters, emission.sources.n_bytes
            emission = emission.topics
        more = emission.arrays()[1:] if emission else ()
        n_more = sum(value.numel() for value in more)
        n_bytes = len(save(state)) + phi.n_bytes + 4 * n_more + source_bytes
        n_network = self.network.config.n_parameters(n_characters)
        return Size(n_network, phi.phi + n_more + n_sources, n_bytes)

    def fingerprint(self) -> str:
        """SHA-256 of all that predicts."""
        digest = hashlib.sha256()
        for value in self.emission.arrays() if self.emission else ():
            digest.update(value.contiguous().numpy())
        for _, value in sorted(self.network.state_dict().items()):
            digest.update(value.contiguous().numpy())
        return digest.hexdigest()

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

    def source_table(self) -> "pd.DataFrame":
        """A row per source: the share of the tokens that it produced, and what it has learned.

        The share is left out where the tokens are not there, as in a model that was read.
        """
        import pandas as pd

        if not isinstance(self.emission, SourceEmission):
            raise InputError("this model has no sources; fit one with SEMConfig(sources=...)")
        names, learned = self.source_names, self.emission.sources.parameters
        table = pd.DataFrame(index=pd.Index(names, name="source"))
        if self._has_assignments:
            count = np.bincount(self.origins, minlength=1 + len(names))[1:]
            table["share"] = count / max(1, len(self.origins))
        table["concentration"] = [getattr(learned, name) for name in names]
        half_lives = [learned.half_life if name == "recent" else np.nan for name in names]
        table["half_life"] = half_lives
        return table

    def topic_names(self, n: int = 3) -> list[str]:
        """A name for every topic: its `n` likeliest items, likeliest first."""
        words = top_words(self._phi(), self._predictor.vocabulary, n)
        return [", ".join(names) for names in words]

    def topic_table(
        self,
        n: int = 10,
        *,
        by: str = "probability",
        relevance: float = 0.6,
        min_count: float = 5,
    ) -> "pd.DataFrame":
        """A row per topic, the largest first: its share of the tokens, and its `n` top words.

        Where it is not known how many tokens each topic has (`topic_tokens`), the share is left
        out, and words can be ordered by probability alone.

        Parameters
        ----------
        by, relevance, min_count : the order of the words: "probability", "lift" or "relevance"
            (see `lla.topics.words.top_word_ids`)
        """
        phi, topic_tokens, share = self._phi(), self.topic_tokens, None
        if topic_tokens is not None:
            n_tokens = len(self.topics) or self.provenance.get("n_observed")
            share = topic_tokens / (n_tokens or topic_tokens.sum())
        return topic_table(
            phi,
            self._predictor.vocabulary,
            n,
            share=share,
            by=by,
            relevance=relevance,
            topic_tokens=topic_tokens,
            min_count=min_count,
        )

    def document_table(self) -> "pd.DataFrame":
        """Topics of the observed tokens: a row per document, by name, and a share per topic.

        Where there are sources, a share of the items per source follows, under its name; under a
        gate the shares of topics sum to 1 without them.
        """
        import pandas as pd

        n_outcomes, n_topics = self._n_outcomes(), self._phi().shape[1]
        if self.observed is None or not self._has_assignments:
            raise InputError(
                "the topics of documents are counted from the assignments of the observed tokens, "
                "which this model lacks: ask one that draws topics, as fit_sem or load_sem returns"
            )
        corpus = self.observed
        counts = document_topic_counts(corpus.offsets, self.topics, n_outcomes)
        if self.source_names:
            origins = document_topic_counts(corpus.offsets, self.origins, 1 + n_outcomes - n_topics)
            counts[:, n_topics:] = origins[:, 1:]
        table = document_table(counts / corpus.lengths[:, None], corpus.names)
        if self.source_names:
            table.columns = pd.Index([*range(n_topics), *self.source_names], name="topic")
        return table

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

    @property
    def topic_tokens(self) -> np.ndarray | None:
        """n_k, the observed tokens of each topic, (K,); None where topics are summed out or absent.

        `lla.save_model` keeps them, although it leaves out the assignments.
        """
        if self.emission is None:
            return None
        n_topics = self._phi().shape[1]
        if self._has_assignments:
            return np.bincount(self.topics, minlength=n_topics)[:n_topics]
        saved = self.provenance.get("topic_tokens")
        return None if saved is None else check_topic_tokens("topic_tokens", saved, n_topics)

    def topic_embedding(self) -> np.ndarray:
        """The vectors by which the LSTM reads its topics, (K, E) float32; no start symbol."""
        if self.network.config.input != "topic":
            raise InputError(
                f"this model reads {self.network.config.input}s, it embeds no topics; ask one of "
                'kind "topic_lla"'
            )
        return self.network.input.weight[:-1].detach().numpy().copy()

    def _phi(self) -> np.ndarray:
        """φ, (V, K)."""
        if self.emission is None:
            raise InputError("this model predicts words, it has no topics; ask an LLA")
        return self.emission.phi.numpy()

    def _counted_in_phi(self) -> np.ndarray:
        """Tokens from which φ is counted, (N,) bool; a personal emission's urns hold all."""
        if self.source_names and self.emission_kind == "shared":
            return self.origins == 0
        return self.topics < self._phi().shape[1]  # the others have no topic

    def _n_outcomes(self) -> int:
        """Topics and sources, K + S."""
        return self._phi().shape[1] + len(self.source_names)

    @property
    def _has_gate(self) -> bool:
        """Whether tokens of a source have a topic, too."""
        return self.network.config.n_sources > 0

    @property
    def _has_assignments(self) -> bool:
        """Whether the tokens it was trained on are there, with topics that φ belongs to."""
        summed_out = hasattr(self.network, "topic_words")  # by the objective "marginal"
        known = self.observed is not None and len(self.topics) == self.observed.n_tokens
        return known and not summed_out

    @cached_property
    def _predictor(self) -> Predictor:
        return Predictor(self.network, self.emission, self.vocabulary)


def _streams_of_words(corpus: Corpus) -> np.ndarray:
    """A number for each document that follows from its words alone, (D,) uint64."""
    documents = (corpus.document(d).astype("<i8") for d in range(corpus.n_documents))
    hashes = (hashlib.sha256(words).digest()[:8] for words in documents)
    return np.array([int.from_bytes(first, "little") for first in hashes], np.uint64)
