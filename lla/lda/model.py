"""LDA's configuration, and a state of its sampler: a fitted LDA after the last sweep."""

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from lla.common.display import Configuration, Summarized
from lla.common.errors import (
    InputError,
    check_choice,
    check_each,
    check_flag,
    check_instance,
    check_integer,
    check_prior,
)
from lla.corpus import Corpus, Split
from lla.evaluate import ScoreCallback, Size, size_of_counts
from lla.lda.prediction import expected_document_topic, rank_held_out, score_held_out
from lla.samplers.lda import phi_from_counts, topic_counts
from lla.topics.tables import TopicTables, document_table

if TYPE_CHECKING:
    import pandas as pd

SAMPLERS = ("auto", "dense", "sparse")
SPARSE_FROM = 100  # topics: 1.2 times as fast there on one thread, 1.7 times at 200, 0.8 at 20
LARGEST_ALPHA = 1e10  # beside a larger one counts vanish, and with them its updates


@dataclass(frozen=True, repr=False)
class LDAConfig(Configuration):
    """What a fit depends on, besides the seed. The paper states only K.

    Attributes
    ----------
    n_topics : K
    alpha : α of one topic, at the start
    beta : β of one word
    n_sweeps : sweeps over all tokens
    alpha_every : sweeps from one update of α to the next, by Minka's fixed point (an asymmetric α,
        Wallach et al., 2009); 0 keeps α as it is
    alpha_from : the first sweep after which α may be updated
    sampler : "dense", K operations per token on one thread; "sparse", as many as a document has
        topics; "auto", the sparse one from K = `SPARSE_FROM` on
    n_shards : parts of the corpus that the sparse sampler draws in parallel; 1 is exact, with more
        the totals n_k lag within 1/n_shards of a sweep
    """

    n_topics: int = 1000
    alpha: float = 0.1
    beta: float = 0.01
    n_sweeps: int = 200
    alpha_every: int = 10
    alpha_from: int = 50
    sampler: str = "auto"
    n_shards: int = 2

    def __post_init__(self) -> None:
        check_each(self, check_integer, "n_topics", "n_shards")
        check_each(self, check_integer, "n_sweeps", "alpha_every", "alpha_from", least=0)
        check_each(self, check_prior, "alpha", most=LARGEST_ALPHA)
        check_each(self, check_prior, "beta")
        check_each(self, check_choice, "sampler", choices=SAMPLERS)

    def resolved(self) -> "LDAConfig":
        """The same with "auto" replaced by the sampler for this K."""
        if self.sampler != "auto":
            return self
        return replace(self, sampler="sparse" if self.n_topics >= SPARSE_FROM else "dense")

    def effective(self) -> dict[str, Any]:
        """The options that decide what a sweep draws: those of the same fit are equal."""
        options = asdict(self.resolved())
        del options["n_sweeps"]
        if options["sampler"] == "dense":  # which has no shards
            del options["n_shards"]
        if every := self.alpha_every:  # the first update is what `alpha_from` decides
            options["alpha_from"] = -(-max(self.alpha_from, 1) // every) * every
        else:
            del options["alpha_from"]
        return options


@dataclass(frozen=True, repr=False)
class LDA(TopicTables, Summarized):
    """A state of the sampler: a fitted LDA after its last sweep.

    Attributes
    ----------
    config, seed : what it was made with
    observed : the tokens it was fitted to
    sweep : sweeps done
    topics : (N,) assignments of these tokens, uint16 where K allows (`id_dtype`); the next sweep
        overwrites them
    alpha : (K,)
    log_likelihood : log p(w, z | α, β) per token after each sweep, nats
    seconds : time the sweeps took
    """

    config: LDAConfig
    seed: int
    observed: Corpus
    sweep: int
    topics: np.ndarray
    alpha: np.ndarray
    log_likelihood: tuple[float, ...] = ()
    seconds: float = 0.0

    def summary_facts(self) -> dict[str, Any]:
        """Counts, and how far it was fitted."""
        found: dict[str, Any] = {
            "topics": self.config.n_topics,
            "words": self.observed.n_words,
            "documents": self.observed.n_documents,
            "tokens": self.observed.n_tokens,
            "sweeps": self.sweep,
            "seed": self.seed,
        }
        if self.log_likelihood:
            found["log_likelihood"] = self.log_likelihood[-1]
        return found

    @property
    def history(self) -> list[dict[str, float]]:
        """The log-likelihood after each sweep."""
        rows = enumerate(self.log_likelihood, start=1)
        return [{"iteration": sweep, "log_likelihood": value} for sweep, value in rows]

    def counts(self) -> tuple[np.ndarray, np.ndarray]:
        """n_wk (V, K) and n_k (K,) of this state."""
        observed = self.observed
        return topic_counts(observed.words, self.topics, observed.n_words, self.config.n_topics)

    def phi(self) -> np.ndarray:
        """φ (V, K) float64 from the counts of this state."""
        return phi_from_counts(*self.counts(), self.config.beta)

    def size(self) -> Size:
        """φ's non-zero counts, as the paper counts parameters, and their bytes."""
        return size_of_counts(self.counts()[0])

    def document_topic(self, seed: int = 0, n_sweeps: int = 30) -> np.ndarray:
        """E[n_dk | w_d, φ, α] of the observed words, (D, K): the mean of Gibbs sweeps with φ fixed.

        The sweeps start from the fitted assignments, so none is thrown away.
        """
        return expected_document_topic(
            self.observed, self.topics, self.phi(), self.alpha, seed, n_sweeps
        )

    def _topic_words(self) -> tuple[np.ndarray, tuple[str, ...]]:
        """φ (V, K), and the V words by name."""
        return self.phi(), self.observed.vocabulary

    def _topic_sizes(self) -> tuple[np.ndarray, int]:
        """n_k (K,), and N."""
        return self.counts()[1], self.observed.n_tokens

    def document_table(self, seed: int = 0) -> "pd.DataFrame":
        """E[θ_dk | w_d]: a row per document, by name, and a column per topic."""
        weight = self.document_topic(seed) + self.alpha
        return document_table(weight / weight.sum(axis=1, keepdims=True), self.observed.names)

    def score(
        self,
        split: Split,
        *,
        seed: int = 0,
        update: bool = True,
        documents: np.ndarray | None = None,
    ) -> np.ndarray:
        """log p(held-out words) of every document, word after word, (D,) nats.

        Parameters
        ----------
        split : the one it was fitted to
        seed : of the Gibbs sweeps over the observed words
        update : let θ learn from each held-out word once it has been scored; else θ is frozen
        documents : (D,) bool, score these alone, with the draws of a corpus of them; others are 0
        """
        self._check_split(split)
        check_flag("update", update)
        if documents is None:
            return score_held_out(self.phi(), self.alpha, self.document_topic(seed), split, update)
        scores = np.zeros(split.corpus.n_documents)
        chosen = np.zeros(len(scores), bool)
        chosen[split.corpus.document_numbers(documents)] = True
        part = split.restrict(chosen)
        start = self.topics[np.repeat(chosen, split.observed.lengths)]
        counts = expected_document_topic(part.observed, start, self.phi(), self.alpha, seed)
        scores[chosen] = score_held_out(self.phi(), self.alpha, counts, part, update)
        return scores

    def next_items(
        self,
        split: Split,
        on_scores: ScoreCallback,
        *,
        seed: int = 0,
        n_threads: int | None = None,
    ) -> None:
        """Hand over p(w_t = v | w_<t) of all words v at every held-out token (see `Fitted`).

        θ learns from each held-out word before the next is ranked, as in `score`.
        """
        self._check_split(split)
        rank_held_out(
            self.phi(), self.alpha, self.document_topic(seed), split, on_scores, n_threads
        )

    def _check_split(self, split: Split) -> None:
        """Raise InputError when the observed words are not those that it was fitted to."""
        check_instance("split", split, Split)
        mine, theirs = self.observed, split.observed
        if mine is not theirs and mine.fingerprint != theirs.fingerprint:
            raise InputError(
                "this LDA was fitted to other observed words: give the split of fit_lda"
            )
