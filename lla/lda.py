"""LDA by collapsed Gibbs sampling: where LLA's topics start, and a baseline.

The dense sampler (`samplers.lda`) is the readable reference; the sparse one (`samplers.sparse_lda`)
is faster where topics are many. Both draw from the same conditional, in another order.
"""

from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from lla.common.arrays import allocate_tokens, blocks, check_topics, id_dtype
from lla.common.checkpoint import (
    check_checkpoint,
    check_not_beyond,
    hash_of_topics,
    only_fit,
    restoring,
    resume_fit,
    save_fit,
)
from lla.common.errors import (
    InputError,
    check_callback,
    check_choice,
    check_each,
    check_flag,
    check_instance,
    check_integer,
    check_not_negative,
    check_prior,
    check_seed,
)
from lla.common.files import load_arrays
from lla.common.progress import progress
from lla.common.random import StreamId, stream
from lla.common.summary import Configuration, Summarized
from lla.common.threads import thread_pool
from lla.common.workers import ALONE, Workers
from lla.corpus import Corpus, Split
from lla.evaluate import ScoreCallback, Size, size_of_counts
from lla.evaluate.perplexity import mix_topics, one_at_a_time
from lla.samplers.lda import (
    DenseSampler,
    fold_in_sweep,
    lda_predict,
    lda_theta,
    phi_from_counts,
    topic_counts,
)
from lla.samplers.sparse_lda import SparseSampler
from lla.topics.tables import document_table, topic_table
from lla.topics.words import top_words

if TYPE_CHECKING:
    import pandas as pd

SAMPLERS = ("auto", "dense", "sparse")
SPARSE_FROM = 100  # topics: 1.2 times as fast there on one thread, 1.7 times at 200, 0.8 at 20
LARGEST_ALPHA = 1e10  # beside a larger one counts vanish, and with them its updates
EARLIER_DEFAULTS = {"sampler": "dense"}  # of files written before there was a choice


@dataclass(frozen=True, repr=False)
class LDAConfig(Configuration):
    """What a fit depends on, besides the seed. The paper states only K.

    Attributes
    ----------
    n_topics : K
    alpha : α of one topic, at the start
    beta : β of one word
    n_sweeps : sweeps over all tokens
    alpha_every, alpha_from : from sweep `alpha_from` on, every `alpha_every` sweeps, α is set by
        Minka's fixed point (an asymmetric α, Wallach et al., 2009); 0 leaves it alone
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
class LDA(Summarized):
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

    def topic_names(self, n: int = 3) -> list[str]:
        """A name for every topic: its `n` likeliest words, likeliest first."""
        return [", ".join(words) for words in top_words(self.phi(), self.observed.vocabulary, n)]

    def topic_table(
        self,
        n: int = 10,
        *,
        by: str = "probability",
        relevance: float = 0.6,
        min_count: float = 5,
    ) -> "pd.DataFrame":
        """A row per topic, the largest first: its share of the tokens, and its `n` top words.

        Parameters
        ----------
        by, relevance, min_count : the order of the words: "probability", "lift" or "relevance"
            (see `lla.topics.words.top_word_ids`)
        """
        topic_tokens = self.counts()[1]
        return topic_table(
            self.phi(),
            self.observed.vocabulary,
            n,
            share=topic_tokens / self.observed.n_tokens,
            by=by,
            relevance=relevance,
            topic_tokens=topic_tokens,
            min_count=min_count,
        )

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
        import torch  # noqa: F401  here: before the pool, which sets Torch's threads

        self._check_split(split)
        phi = self.phi()
        corpus, document_topic = split.corpus, self.document_topic(seed)
        phi_by_topic = np.ascontiguousarray(phi.T, np.float32)  # (K, V)
        on_scores = one_at_a_time(on_scores)

        def rank(d: int) -> None:
            words = corpus.document(d)[split.n_observed[d] :]
            theta = np.empty((len(words), len(self.alpha)))
            lda_theta(words, phi, self.alpha, document_topic[d], theta)
            mix_topics(theta, phi_by_topic, corpus.offsets[d] + split.n_observed[d], on_scores)

        with thread_pool(n_threads) as pool:
            tasks = [pool.submit(rank, d) for d in np.flatnonzero(split.n_held_out).tolist()]
            for task in progress(tasks, description="rank LDA", unit="document"):
                task.result()

    def _check_split(self, split: Split) -> None:
        """Raise InputError when the observed words are not those that it was fitted to."""
        check_instance("split", split, Split)
        mine, theirs = self.observed, split.observed
        if mine is not theirs and mine.fingerprint != theirs.fingerprint:
            raise InputError(
                "this LDA was fitted to other observed words: give the split of fit_lda"
            )


def init_lda(
    observed: Corpus, config: LDAConfig, seed: int, start: np.ndarray | None = None
) -> LDA:
    """The state before the first sweep: topics `start` (N,), by default uniform over topics."""
    topics = allocate_tokens(observed.n_tokens, id_dtype(config.n_topics))
    if start is None:
        draw = stream(seed, StreamId.LDA_INITIAL)
        for _, tokens in blocks(observed.offsets, 0, observed.n_documents):
            size = tokens.stop - tokens.start
            topics[tokens] = draw.integers(config.n_topics, size=size, dtype=np.int32)
    else:
        topics[:] = check_topics("start", start, observed.n_tokens, config.n_topics)
    return LDA(config, seed, observed, 0, topics, np.full(config.n_topics, config.alpha))


def fit_lda(
    split: Split,
    config: LDAConfig,
    seed: int,
    *,
    start: np.ndarray | None = None,
    checkpoint: str | Path | None = None,
    checkpoint_every: int = 25,
    on_iteration: Callable[[LDA], None] | None = None,
    n_threads: int | None = None,
    workers: Workers = ALONE,
) -> LDA:
    """Run the sampler over the observed words for `config.n_sweeps` sweeps.

    Parameters
    ----------
    split : its observed tokens are assigned
    seed : every draw follows from it
    start : (N_observed,) topics to start from; by default uniform draws
    checkpoint : file to save to every `checkpoint_every` sweeps, and to go on from when it is there
    on_iteration : called after each sweep
    n_threads : for the shards of the sparse sampler; does not change the result
    workers : the processes that share these shards; their number does not change the result. All
        call this with the same arguments, and all return the same state; the first writes the
        checkpoint. The dense sampler runs whole in each of them

    Raises
    ------
    InputError
        When an argument is not what it should be; when the checkpoint cannot be written, is broken,
        is of another fit or of more sweeps, or is in use by one that runs.
    """
    check_instance("split", split, Split)
    check_instance("config", config, LDAConfig)
    check_callback("on_iteration", on_iteration)
    check_instance("workers", workers, Workers)
    seed = check_seed(seed)
    check_integer("checkpoint_every", checkpoint_every)
    checkpoint = check_checkpoint(checkpoint)
    observed, config = split.observed, config.resolved()
    if start is not None:
        start = check_topics("start", start, observed.n_tokens, config.n_topics)
    identity = identity_of(observed, seed, start)
    state = _resume(checkpoint, observed, identity, config)
    state = state or init_lda(observed, config, seed, start)
    workers.check_same("corpus, setting or checkpoint", f"{identity} {config} {state.sweep}")
    bar = progress(
        total=config.n_sweeps, initial=state.sweep, description=f"LDA, seed {seed}", unit="sweep"
    )
    written = checkpoint if workers.is_first else None
    only = only_fit(written, state.sweep >= config.n_sweeps)
    with only, bar, thread_pool(n_threads) as pool:
        sampler = sampler_of(state, workers)
        while state.sweep < config.n_sweeps:
            state = next_state(state, sampler, pool)
            due = state.sweep == config.n_sweeps or state.sweep % checkpoint_every == 0
            if (checkpoint and due) or on_iteration:
                sampler.to_document_order()
            if written and due:
                _save(written, identity, state)
            if on_iteration:
                on_iteration(state)
            bar.update()
        sampler.to_document_order()
    return state


def sampler_of(state: LDA, workers: Workers = ALONE) -> DenseSampler | SparseSampler:
    """The sampler that the configuration names, over the state's topics, which it overwrites."""
    observed, config = state.observed, state.config
    if config.sampler == "sparse":
        return SparseSampler(
            words=observed.words,
            offsets=observed.offsets,
            n_words=observed.n_words,
            topics=state.topics,
            n_topics=config.n_topics,
            beta=config.beta,
            n_shards=config.n_shards,
            workers=workers,
        )
    return DenseSampler(
        words=observed.words,
        offsets=observed.offsets,
        n_words=observed.n_words,
        topics=state.topics,
        n_topics=config.n_topics,
        beta=config.beta,
    )


def next_state(state: LDA, sampler: DenseSampler | SparseSampler, pool: Executor) -> LDA:
    """The state after one more sweep of `sampler`, α updated when its turn has come.

    Its topics are in the corpus' order after `sampler.to_document_order`.
    """
    config, alpha = state.config, state.alpha
    sweep, start = state.sweep + 1, perf_counter()
    sampler.sweep(alpha, (state.seed, StreamId.LDA_SWEEP, sweep), pool)
    if config.alpha_every and sweep >= config.alpha_from and sweep % config.alpha_every == 0:
        alpha = sampler.update_alpha(alpha)
    joint = sampler.log_likelihood(alpha, pool)
    return replace(
        state,
        sweep=sweep,
        alpha=alpha,
        log_likelihood=(*state.log_likelihood, joint / max(1, len(state.topics))),
        seconds=state.seconds + perf_counter() - start,
    )


def expected_document_topic(
    corpus: Corpus,
    start: np.ndarray,
    phi: np.ndarray,
    alpha: np.ndarray,
    seed: int,
    n_sweeps: int = 30,
) -> np.ndarray:
    """E[n_dk | w_d, φ, α], (D, K): the mean of `n_sweeps` Gibbs sweeps with φ fixed.

    Parameters
    ----------
    start : (N,) assignments that the sweeps start from
    phi, alpha : (V, K), (K,)
    """
    check_phi(phi, alpha, corpus)
    start = check_topics("start", start, corpus.n_tokens, len(alpha))
    check_integer("n_sweeps", n_sweeps)
    total = np.zeros((corpus.n_documents, len(alpha)))
    topics = start.copy()
    for sweep in progress(range(n_sweeps), description="fold in", unit="sweep"):
        draw = stream(seed, StreamId.FOLD_IN, sweep)
        for documents, tokens in blocks(corpus.offsets, 0, corpus.n_documents):
            fold_in_sweep(
                corpus.words[tokens],
                corpus.offsets[documents.start : documents.stop + 1] - tokens.start,
                topics[tokens],
                phi,
                alpha,
                draw.random(tokens.stop - tokens.start, np.float32),
                total[documents],
            )
    return total / n_sweeps


def score_held_out(
    phi: np.ndarray, alpha: np.ndarray, document_topic: np.ndarray, split: Split, update: bool
) -> np.ndarray:
    """`LDA.score` from φ (V, K), α (K,) and the expected n_dk (D, K) of the observed words."""
    corpus = split.corpus
    check_phi(phi, alpha, corpus)
    if document_topic.shape != (corpus.n_documents, len(alpha)):
        raise InputError(
            f"document_topic: {document_topic.shape}; give expected counts of "
            f"{corpus.n_documents} documents and {len(alpha)} topics"
        )
    log_likelihood = np.empty(corpus.n_documents)
    lda_predict(
        corpus.words,
        corpus.offsets[:-1] + split.n_observed,
        corpus.offsets[1:],
        phi,
        alpha,
        document_topic,
        update,
        log_likelihood,
    )
    return log_likelihood


def check_phi(phi: np.ndarray, alpha: np.ndarray, corpus: Corpus) -> None:
    """Raise InputError unless φ (V, K) and α (K,) are of the corpus' words and of one model."""
    if alpha.ndim != 1 or phi.shape != (corpus.n_words, len(alpha)):
        raise InputError(
            f"phi: {phi.shape} and alpha: {alpha.shape}, but V is {corpus.n_words}; "
            "give both of an LDA of this corpus"
        )


def identity_of(observed: Corpus, seed: int, start: np.ndarray | None) -> dict[str, object]:
    """What a checkpoint must have been made from, besides its configuration."""
    initial_topics = None if start is None else hash_of_topics(start)
    return {
        "kind": "lda",
        "corpus": observed.fingerprint,
        "seed": seed,
        "initial_topics": initial_topics,
    }


def _save(path: Path, identity: dict[str, object], state: LDA) -> None:
    arrays = {
        "topics": state.topics,
        "alpha": state.alpha,
        "log_likelihood": np.array(state.log_likelihood),
    }
    meta = {"config": asdict(state.config), "sweep": state.sweep, "seconds": state.seconds}
    save_fit(path, identity, arrays, meta)


def load_lda(path: str | Path, split: Split) -> LDA:
    """The state that `fit_lda` saved at `path`.

    Raises
    ------
    InputError
        When the file is missing or broken, or was fitted to another corpus.
    """
    check_instance("split", split, Split)
    arrays, meta = load_arrays(path)
    if meta.get("kind") != "lda" or meta.get("corpus") != split.observed.fingerprint:
        raise InputError(f"{path}: not an LDA of this corpus and split; fit it again")
    with restoring(Path(path)):
        return _restore(arrays, meta, split.observed)


def _saved_config(options: Mapping[str, Any]) -> LDAConfig:
    """Of a checkpoint; an option that it does not name had what was the default then."""
    return LDAConfig(**{**EARLIER_DEFAULTS, **options})


def _restore(arrays: dict[str, np.ndarray], meta: dict[str, Any], observed: Corpus) -> LDA:
    config = _saved_config(meta["config"])
    topics = check_topics("topics", arrays["topics"], observed.n_tokens, config.n_topics)
    alpha = arrays["alpha"]
    if alpha.shape != (config.n_topics,) or alpha.dtype != np.float64 or not (alpha > 0).all():
        raise InputError(f"alpha: not {config.n_topics} numbers above 0; fit it again")
    sweep = check_integer("sweep", meta["sweep"], least=0)
    return LDA(
        config=config,
        seed=meta["seed"],
        observed=observed,
        sweep=sweep,
        topics=topics.astype(id_dtype(config.n_topics), copy=False),
        alpha=alpha,
        log_likelihood=tuple(arrays["log_likelihood"].tolist()),
        seconds=check_not_negative("seconds", meta["seconds"]),
    )


def _resume(
    path: Path | None, observed: Corpus, identity: dict[str, object], config: LDAConfig
) -> LDA | None:
    """The state saved at `path`; None when there is no file."""
    identity = identity | {"config": config.effective()}
    found = resume_fit(path, identity, lambda saved: _saved_config(saved).effective())
    if found is None:
        return None
    with restoring(path):
        state = replace(_restore(*found, observed), config=config)
    check_not_beyond(path, state.sweep, config.n_sweeps)
    return state
