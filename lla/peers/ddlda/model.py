"""The fit and the predictor of ddLDA, which the folder describes."""

import hashlib
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from lla.common.arrays import check_topics
from lla.common.checkpoint import (
    check_checkpoint,
    check_not_beyond,
    only_fit,
    restoring,
    resume_fit,
    save_fit,
)
from lla.common.display import Configuration, Summarized
from lla.common.errors import (
    InputError,
    check_callback,
    check_choice,
    check_each,
    check_instance,
    check_integer,
    check_positive,
    check_prior,
    check_seed,
    optional,
)
from lla.common.parallel import check_threads, thread_pool
from lla.common.progress import progress
from lla.common.random import StreamId, stream
from lla.corpus import Corpus, Split
from lla.evaluate import ScoreCallback, Size, size_of_counts
from lla.evaluate.perplexity import mix_topics
from lla.peers.ddlda.kernels import ddlda_fold_in, ddlda_predict, ddlda_sweep, ddlda_theta
from lla.samplers.lda import phi_from_counts, topic_counts

DECAYS = ("exponential", "window")
NEGLIGIBLE = 1e-6  # of f(1): words further away are not visited


@dataclass(frozen=True, repr=False)
class DDLDAConfig(Configuration):
    """Everything a fit depends on but the seed. The paper states K and the exponential decay.

    Attributes
    ----------
    n_topics : K
    alpha : α of one topic
    beta : β of one word
    decay : f(d) of Blei & Frazier (2011): "exponential", exp(-d/scale); "window", 1
    scale : words, above 0; "window" does not use it
    window : largest distance in words that counts; None for the whole document
    n_sweeps : sweeps over all tokens
    """

    n_topics: int = 1000
    alpha: float = 0.1
    beta: float = 0.01
    decay: str = "exponential"
    scale: float = 50.0
    window: int | None = None
    n_sweeps: int = 200

    def __post_init__(self) -> None:
        check_each(self, check_integer, "n_topics")
        check_each(self, check_integer, "n_sweeps", least=0)
        check_each(self, check_prior, "alpha", "beta")
        check_each(self, check_positive, "scale")
        check_each(self, optional(check_integer), "window")
        check_each(self, check_choice, "decay", choices=DECAYS)

    def effective(self) -> dict[str, Any]:
        """The options that decide what a sweep draws: those of the same fit are equal."""
        unused = {"n_sweeps", "scale"} if self.decay == "window" else {"n_sweeps"}
        return {name: value for name, value in asdict(self).items() if name not in unused}


@dataclass(frozen=True, repr=False)
class DDLDA(Summarized):
    """A state of the sampler: a fitted ddLDA after its last sweep.

    Attributes
    ----------
    config, seed : what it was made with
    observed : the tokens it was fitted to
    sweep : sweeps done
    topics : (N,) int32 assignments of these tokens
    seconds : time the sweeps took
    history : empty; no likelihood is computed between sweeps
    """

    config: DDLDAConfig
    seed: int
    observed: Corpus
    sweep: int
    topics: np.ndarray
    seconds: float = 0.0
    history: list[dict[str, float]] = field(default_factory=list)

    def summary_facts(self) -> dict[str, int]:
        """Counts, and how far it was fitted."""
        return {
            "topics": self.config.n_topics,
            "words": self.observed.n_words,
            "documents": self.observed.n_documents,
            "tokens": self.observed.n_tokens,
            "sweeps": self.sweep,
            "seed": self.seed,
        }

    @property
    def alpha(self) -> np.ndarray:
        """α (K,), the same for all topics."""
        return np.full(self.config.n_topics, float(self.config.alpha))

    def counts(self) -> tuple[np.ndarray, np.ndarray]:
        """n_wk (V, K) and n_k (K,) of this state."""
        observed = self.observed
        return topic_counts(observed.words, self.topics, observed.n_words, self.config.n_topics)

    def phi(self) -> np.ndarray:
        """φ (V, K) float64 from the counts of this state."""
        word_topic, topic_total = self.counts()
        return phi_from_counts(word_topic, topic_total, self.config.beta)

    def size(self) -> Size:
        """φ's non-zero counts, as the paper counts parameters, and their bytes."""
        return size_of_counts(self.counts()[0])

    def score(
        self,
        split: Split,
        *,
        seed: int = 0,
        documents: np.ndarray | None = None,
        n_threads: int | None = None,
    ) -> np.ndarray:
        """log p(held-out words) of every document, word after word, (D,) nats.

        Parameters
        ----------
        split : the one it was fitted to
        seed : of the Gibbs sweeps over the observed words
        documents : (D,) bool, score these alone; the n-th of them has the n-th stream of draws
        n_threads : documents scored at once; changes no result
        """
        check_instance("split", split, Split)
        scores = np.zeros(split.corpus.n_documents)
        chosen = np.full(len(scores), documents is None)
        if documents is not None:
            chosen[split.corpus.document_numbers(documents)] = True
        scores[chosen] = self._predictor(split, seed, chosen).score(n_threads)
        return scores

    def next_items(
        self,
        split: Split,
        on_scores: ScoreCallback,
        *,
        seed: int = 0,
        n_threads: int | None = None,
    ) -> None:
        """Hand over p(w_t = v | w_<t), float32, of all held-out words, as `score` computes it."""
        check_instance("split", split, Split)
        predictor = self._predictor(split, seed, np.full(split.corpus.n_documents, True))
        mix_topics(
            predictor.theta, predictor.phi, split, on_scores, n_threads=n_threads, name="ddLDA"
        )

    def _predictor(self, split: Split, seed: int, documents: np.ndarray) -> "Predictor":
        mine, theirs = self.observed, split.observed
        if mine is not theirs and mine.fingerprint != theirs.fingerprint:
            raise InputError(
                "this ddLDA was fitted to other observed words: give the split of fit_ddlda"
            )
        return Predictor(
            phi=self.phi(),
            alpha=self.alpha,
            topics=self.topics[np.repeat(documents, mine.lengths)],
            decay=decay_table(self.config, int(split.corpus.lengths.max())),
            split=split.restrict(documents),
            seed=seed,
        )


def decay_table(config: DDLDAConfig, longest: int) -> np.ndarray:
    """f(d) for d = 0..W, (W+1,) float64; f(0) is 0: no word counts itself.

    Parameters
    ----------
    longest : words of the longest document; of whole documents where held-out words are scored.
        W is the window, or less where no two words are as far apart or f(d) has fallen below a
        millionth of f(1)
    """
    check_integer("longest", longest)
    largest = longest - 1 if config.window is None else min(config.window, longest - 1)
    distance = np.arange(largest + 1, dtype=np.float64)
    table = np.ones(largest + 1)
    if config.decay == "exponential":
        table = np.exp(-distance / config.scale)
    table[0] = 0.0
    return table[: 1 + np.count_nonzero(table[1:] > NEGLIGIBLE * table[1:2])]


def fit_ddlda(
    split: Split,
    config: DDLDAConfig,
    seed: int,
    *,
    start: np.ndarray | None = None,
    checkpoint: str | Path | None = None,
    checkpoint_every: int = 25,
    on_iteration: Callable[[DDLDA], None] | None = None,
    n_threads: int | None = None,
) -> DDLDA:
    """Run the sampler over the observed words for `config.n_sweeps` sweeps.

    Parameters
    ----------
    split : its observed tokens are assigned
    seed : every draw follows from it
    start : (N_observed,) topics to start from; by default uniform draws
    checkpoint : file to save to every `checkpoint_every` sweeps, and to go on from when it is there
    on_iteration : called after each sweep
    n_threads : unused; the sampler runs on one thread

    Raises
    ------
    InputError
        When an argument is not what it should be; when the checkpoint cannot be written, is broken,
        or is of another fit or of more sweeps.
    """
    check_instance("split", split, Split)
    check_instance("config", config, DDLDAConfig)
    check_callback("on_iteration", on_iteration)
    check_threads(n_threads)
    check_integer("checkpoint_every", checkpoint_every)
    checkpoint, seed = check_checkpoint(checkpoint), check_seed(seed)
    observed = split.observed
    n_tokens = observed.n_tokens
    state = initial_state(observed, config, seed, start)
    identity = identity_of(state)
    state = _resume(checkpoint, identity, state)
    decay = decay_table(config, int(observed.lengths.max()))
    word_topic, topic_total = state.counts()
    bar = progress(
        total=config.n_sweeps, initial=state.sweep, description=f"ddLDA, seed {seed}", unit="sweep"
    )
    with bar, only_fit(checkpoint, state.sweep >= config.n_sweeps):
        while state.sweep < config.n_sweeps:
            sweep_start = perf_counter()
            sweep = state.sweep + 1
            topics = state.topics.copy()
            ddlda_sweep(
                words=observed.words,
                offsets=observed.offsets,
                topics=topics,
                word_topic=word_topic,
                topic_total=topic_total,
                alpha=state.alpha,
                beta=config.beta,
                decay=decay,
                uniforms=stream(seed, StreamId.DDLDA_SWEEP, sweep).random(n_tokens, np.float32),
            )
            seconds = state.seconds + perf_counter() - sweep_start
            state = replace(state, sweep=sweep, topics=topics, seconds=seconds)
            last = state.sweep == config.n_sweeps
            if checkpoint and (last or state.sweep % checkpoint_every == 0):
                _save(checkpoint, identity, state)
            if on_iteration:
                on_iteration(state)
            bar.update()
    return state


def initial_state(
    observed: Corpus, config: DDLDAConfig, seed: int, start: np.ndarray | None = None
) -> DDLDA:
    """The state before the first sweep: topics `start` (N,), by default uniform over topics."""
    n_tokens = observed.n_tokens
    if start is None:
        draw = stream(seed, StreamId.DDLDA_INITIAL)
        start = draw.integers(config.n_topics, size=n_tokens, dtype=np.int32)
    start = check_topics("start", start, n_tokens, config.n_topics)
    return DDLDA(config, seed, observed, 0, np.array(start, np.int32))


def identity_of(initial: DDLDA) -> dict[str, Any]:
    """What a checkpoint must have been made from, given the state before the first sweep."""
    return {
        "kind": "ddlda",
        "corpus": initial.observed.fingerprint,
        "config": initial.config.effective(),
        "seed": initial.seed,
        "start": hashlib.sha256(initial.topics).hexdigest(),
    }


def _save(path: Path, identity: dict[str, Any], state: DDLDA) -> None:
    progressed = {"sweep": state.sweep, "seconds": state.seconds}
    save_fit(
        path, identity, {"topics": state.topics}, progressed | {"config": asdict(state.config)}
    )


def _resume(path: Path | None, identity: dict[str, Any], initial: DDLDA) -> DDLDA:
    """The state saved at `path`; the initial one when there is no file."""
    saved = resume_fit(path, identity, lambda options: DDLDAConfig(**options).effective())
    if saved is None:
        return initial
    arrays, meta = saved
    with restoring(path):
        sweep = check_integer("sweep", meta["sweep"], least=0)
        check_not_beyond(path, sweep, initial.config.n_sweeps)
        n_topics = initial.config.n_topics
        topics = check_topics("topics", arrays["topics"], len(initial.topics), n_topics)
        return replace(initial, sweep=sweep, topics=topics, seconds=meta["seconds"])


@dataclass(frozen=True)
class Predictor:
    """Predicts held-out words, document by document, with φ fixed.

    p(w_t | w_<t) = Σ_k θ_tk φ_wk with θ_tk ∝ α_k + Σ_{s<t} f(t - s) r_sk. The responsibility r_s
    of an observed word is the mean of its topic over Gibbs sweeps with φ fixed; that of a revealed
    word is θ_sk φ_wk / Σ as it was scored (assumed-density filtering).

    Attributes
    ----------
    phi, alpha : (V, K), (K,), all above 0
    topics : assignments of the tokens of `split.observed`, where the sweeps start
    decay : (W+1,) from `decay_table` for the longest document of `split.corpus`
    n_sweeps : Gibbs sweeps over the observed part
    """

    phi: np.ndarray
    alpha: np.ndarray
    topics: np.ndarray
    decay: np.ndarray
    split: Split
    seed: int
    n_sweeps: int = 30

    def __post_init__(self) -> None:
        for name in ("phi", "alpha", "decay"):
            array = np.ascontiguousarray(getattr(self, name), dtype=np.float64)
            object.__setattr__(self, name, array)
        _check_model(self.phi, self.alpha, self.decay, self.split.corpus.n_words)
        check_topics("topics", self.topics, self.split.observed.n_tokens, len(self.alpha))
        check_integer("n_sweeps", self.n_sweeps)
        if not np.array_equal(self.split.observed.lengths, self.split.n_observed):
            raise InputError("split: its observed part is not what n_observed says; split it anew")

    def score(self, n_threads: int | None = None) -> np.ndarray:
        """log p(held-out words) of every document, (D,) nats."""
        split, n_documents = self.split, self.split.corpus.n_documents

        def score(d: int) -> float:
            return self.read(d)[0].sum() if split.n_held_out[d] else 0.0

        with thread_pool(n_threads) as pool:
            scores = pool.map(score, range(n_documents))
            bar = progress(scores, total=n_documents, description="score ddLDA", unit="document")
            return np.fromiter(bar, np.float64, n_documents)

    def theta(self, d: int) -> np.ndarray:
        """θ_t of the held-out words of document d, (n, K)."""
        theta = np.empty((self.split.n_held_out[d], len(self.alpha)))
        responsibility = self.read(d)[1]
        ddlda_theta(int(self.split.n_observed[d]), self.alpha, self.decay, responsibility, theta)
        return theta

    def read(self, d: int) -> tuple[np.ndarray, np.ndarray]:
        """log p of the held-out words of document d, (n,), and responsibilities (T, K)."""
        corpus, observed = self.split.corpus, self.split.observed
        first, last = observed.offsets[d : d + 2]
        n_observed = last - first
        draw = stream(self.seed, StreamId.DDLDA_FOLD_IN, d)
        responsibility = np.zeros((corpus.lengths[d], len(self.alpha)))
        ddlda_fold_in(
            words=observed.document(d),
            topics=np.array(self.topics[first:last], np.int32),
            phi=self.phi,
            alpha=self.alpha,
            decay=self.decay,
            uniforms=draw.random((self.n_sweeps, n_observed), np.float32),
            responsibility=responsibility,
        )
        log_p = np.empty(self.split.n_held_out[d])
        ddlda_predict(
            words=corpus.document(d),
            n_observed=n_observed,
            phi=self.phi,
            alpha=self.alpha,
            decay=self.decay,
            responsibility=responsibility,
            log_probability=log_p,
        )
        return log_p, responsibility


def _check_model(phi: np.ndarray, alpha: np.ndarray, decay: np.ndarray, n_words: int) -> None:
    if alpha.ndim != 1 or phi.shape != (n_words, len(alpha)):
        raise InputError(f"phi is {phi.shape}, alpha {alpha.shape}: give ({n_words}, K) and (K,)")
    if not all(((a > 0) & (a < np.inf)).all() for a in (phi, alpha)):
        raise InputError("phi or alpha has entries that are not above 0: give them smoothed")
    fits = decay.ndim == 1 and len(decay) > 0 and decay[0] == 0
    if not fits or not ((decay >= 0) & (decay < np.inf)).all():
        raise InputError(f"decay of shape {decay.shape}: give what `decay_table` returns")
