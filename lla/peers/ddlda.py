"""ddLDA: a word takes its topic by the popularity of the topics of nearby words.

The paper's baseline (4.1): a fixed-dimensional approximation of the distance-dependent Dirichlet
process (Blei & Frazier, 2011). With a decay f of the distance in words,

    p(z_t = k | other topics) ∝ α_k + Σ_{s≠t} f(|t - s|) [z_s = k].

LDA is the case f = 1 (`decay="window", window=None`). While fitting, nearby words on both sides
count, as the paper's sentence says. For f = 1 these are the conditionals of one joint
distribution, LDA's. For another decay they are a pseudo-likelihood, not the exact conditionals of
a process that only looks back, in which the topics after t would also weigh how well z_t explains
them. Prediction looks back only and is a proper distribution.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter

import numpy as np
from scipy.special import expit

from lla.common.errors import InputError, check_integer, check_positive
from lla.common.files import load_tensors, save_tensors
from lla.common.progress import progress
from lla.common.random import StreamId, stream
from lla.common.threads import thread_pool
from lla.corpus import Corpus, Split
from lla.evaluate import ScoreCallback
from lla.evaluate.perplexity import mix_topics
from lla.samplers.ddlda import ddlda_fold_in, ddlda_predict, ddlda_sweep, ddlda_theta
from lla.samplers.lda import phi_from_counts, topic_counts

DECAYS = ("exponential", "window", "logistic")


NEGLIGIBLE = 1e-6  # of f(1): words further away are not visited


@dataclass(frozen=True)
class DDLDAConfig:
    """What a fit depends on, the seed apart. The paper states K, and that the decay is exponential.

    Attributes
    ----------
    n_topics : K
    alpha : α of one topic
    beta : β of one word
    decay : f(d) of Blei & Frazier (2011): "exponential", exp(-d/scale); "window", 1;
        "logistic", 1/(1 + exp(d - scale)), which is a window with a soft edge
    scale : words, above 0; "window" does not look at it
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
        check_integer("n_topics", self.n_topics)
        check_integer("n_sweeps", self.n_sweeps, least=0)
        for name in ("alpha", "beta", "scale"):
            check_positive(name, getattr(self, name))
        if self.window is not None:
            check_integer("window", self.window)
        if self.decay not in DECAYS:
            raise InputError(f"decay is {self.decay!r}: choose one of {', '.join(DECAYS)}")


@dataclass(frozen=True)
class DDLDA:
    """A state of the sampler.

    Attributes
    ----------
    config, seed : what it was made with
    sweep : sweeps done
    topics : (N,) int32 assignments of the tokens
    seconds : time the sweeps took
    """

    config: DDLDAConfig
    seed: int
    sweep: int
    topics: np.ndarray
    seconds: float = 0.0

    @property
    def alpha(self) -> np.ndarray:
        """α (K,), the same for all topics."""
        return np.full(self.config.n_topics, float(self.config.alpha))

    def counts(self, corpus: Corpus) -> tuple[np.ndarray, np.ndarray]:
        """n_wk (V, K) and n_k (K,) of this state."""
        return topic_counts(corpus.words, self.topics, corpus.n_words, self.config.n_topics)

    def phi(self, corpus: Corpus) -> np.ndarray:
        """φ (V, K) float64 from the counts of this state."""
        return phi_from_counts(*self.counts(corpus), self.config.beta)


def decay_table(config: DDLDAConfig, longest: int) -> np.ndarray:
    """f(d) for d = 0..W, (W+1,) float64; f(0) is 0: no word counts itself.

    Parameters
    ----------
    longest : words of the longest document that the table is for: the whole documents when the
        table is to score with. W is the window, or less where no two words are as far apart or
        f(d) has fallen below a millionth of f(1).
    """
    check_integer("longest", longest)
    reach = longest - 1 if config.window is None else min(config.window, longest - 1)
    distance = np.arange(reach + 1, dtype=np.float64)
    table = np.ones(reach + 1)
    if config.decay == "exponential":
        table = np.exp(-distance / config.scale)
    elif config.decay == "logistic":
        table = expit(config.scale - distance)
    table[0] = 0.0
    return table[: 1 + np.count_nonzero(table[1:] > NEGLIGIBLE * table[1:2])]


def fit_ddlda(
    corpus: Corpus,
    config: DDLDAConfig,
    seed: int,
    topics: np.ndarray | None = None,
    checkpoint: Path | None = None,
    checkpoint_every: int = 25,
    on_iteration: Callable[[DDLDA], None] | None = None,
) -> DDLDA:
    """Run the sampler for `config.n_sweeps` sweeps.

    Parameters
    ----------
    corpus : the tokens to assign
    seed : every draw follows from it
    topics : (N,) assignments to start from; None for uniform ones
    checkpoint : file to go on from, and to save to every `checkpoint_every` sweeps; it belongs to
        this corpus, configuration, seed and start
    on_iteration : called after each sweep

    Raises
    ------
    InputError
        When `topics` are not one of 0..K-1 for each token, or the checkpoint is broken.
    """
    check_integer("checkpoint_every", checkpoint_every)
    if topics is None:
        draw = stream(seed, StreamId.DDLDA_INITIAL)
        topics = draw.integers(config.n_topics, size=corpus.n_tokens, dtype=np.int32)
    _check_topics(np.asarray(topics), corpus.n_tokens, config.n_topics)
    start = np.array(topics, np.int32)
    identity = {"kind": "ddlda", "corpus": corpus.fingerprint, "config": vars(config), "seed": seed}
    identity["start"] = hashlib.sha256(start).hexdigest()
    state = _resume(checkpoint, DDLDA(config, seed, 0, start), identity)
    decay = decay_table(config, int(corpus.lengths.max()))
    counts = state.counts(corpus)
    name, done = f"ddLDA, seed {seed}", state.sweep
    with progress(total=config.n_sweeps, initial=done, description=name, unit="sweep") as bar:
        while state.sweep < config.n_sweeps:
            sweep, begun, topics = state.sweep + 1, perf_counter(), state.topics.copy()
            uniforms = stream(seed, StreamId.DDLDA_SWEEP, sweep).random(corpus.n_tokens, np.float32)
            tokens = (corpus.words, corpus.offsets, topics)
            ddlda_sweep(*tokens, *counts, state.alpha, config.beta, decay, uniforms)
            seconds = state.seconds + perf_counter() - begun
            state = replace(state, sweep=sweep, topics=topics, seconds=seconds)
            last = state.sweep == config.n_sweeps
            if checkpoint and (last or state.sweep % checkpoint_every == 0):
                meta = identity | {"sweep": state.sweep, "seconds": state.seconds}
                save_tensors(checkpoint, {"topics": state.topics}, meta)
            if on_iteration:
                on_iteration(state)
            bar.update()
    return state


def score_ddlda(
    phi: np.ndarray,
    alpha: np.ndarray,
    topics: np.ndarray,
    decay: np.ndarray,
    split: Split,
    seed: int,
    n_sweeps: int = 30,
    n_threads: int | None = None,
) -> np.ndarray:
    """log p(held-out words) of every document, word after word, (D,) nats.

    p(w_t | w_<t) = Σ_k θ_tk φ_wk with θ_tk ∝ α_k + Σ_{s<t} f(t - s) r_sk. The responsibility r_s
    of an observed word is the mean of its topic over Gibbs sweeps with φ fixed; that of a revealed
    word is θ_sk φ_wk / Σ as it was scored (assumed-density filtering).

    Parameters
    ----------
    phi, alpha : (V, K), (K,), all above 0
    topics : assignments of the tokens of `split.observed`, where the sweeps start
    decay : (W+1,) from `decay_table` for the longest document of `split.corpus`
    n_sweeps : Gibbs sweeps over the observed part
    n_threads : documents scored at once; changes no result
    """
    read = _reader(phi, alpha, topics, decay, split, seed, n_sweeps)

    def score(d: int) -> float:
        return read(d)[0].sum() if split.n_held_out[d] else 0.0

    with thread_pool(n_threads) as pool:
        scores, size = pool.map(score, range(split.corpus.n_documents)), split.corpus.n_documents
        bar = progress(scores, total=size, description="score ddLDA", unit="document")
        return np.fromiter(bar, np.float64, size)


def next_items_ddlda(
    phi: np.ndarray,
    alpha: np.ndarray,
    topics: np.ndarray,
    decay: np.ndarray,
    split: Split,
    seed: int,
    visit: ScoreCallback,
    n_sweeps: int = 30,
    n_threads: int | None = None,
) -> None:
    """Call `visit(positions (B,), p (B, V) float32)` for all held-out words (see `score_ddlda`)."""
    read = _reader(phi, alpha, topics, decay, split, seed, n_sweeps)
    phi_by_topic = np.ascontiguousarray(phi.T, np.float32)  # (K, V)
    alpha, decay = np.asarray(alpha, np.float64), np.asarray(decay, np.float64)

    def rank(d: int) -> None:
        n_observed, responsibility = int(split.n_observed[d]), read(d)[1]
        theta = np.empty((split.n_held_out[d], len(alpha)))
        ddlda_theta(n_observed, alpha, decay, responsibility, theta)
        mix_topics(theta, phi_by_topic, split.corpus.offsets[d] + n_observed, visit)

    with thread_pool(n_threads) as pool:
        tasks = [pool.submit(rank, d) for d in np.flatnonzero(split.n_held_out)]
        for task in progress(tasks, description="rank ddLDA", unit="document"):
            task.result()


def _reader(
    phi: np.ndarray,
    alpha: np.ndarray,
    topics: np.ndarray,
    decay: np.ndarray,
    split: Split,
    seed: int,
    n_sweeps: int,
) -> Callable[[int], tuple[np.ndarray, np.ndarray]]:
    """A function of a document with held-out words: their log p (n,), responsibilities (T, K)."""
    phi, alpha, decay = (np.ascontiguousarray(a, dtype=np.float64) for a in (phi, alpha, decay))
    _check_model(phi, alpha, decay, split.corpus.n_words)
    topics = np.asarray(topics)
    _check_topics(topics, split.observed.n_tokens, len(alpha))
    check_integer("n_sweeps", n_sweeps)
    corpus, observed = split.corpus, split.observed

    def read(d: int) -> tuple[np.ndarray, np.ndarray]:
        first, last = observed.offsets[d : d + 2]
        n_observed, start = last - first, np.array(topics[first:last], np.int32)
        uniforms = stream(seed, StreamId.DDLDA_FOLD_IN, d).random(
            (n_sweeps, n_observed), np.float32
        )
        responsibility = np.zeros((corpus.lengths[d], len(alpha)))
        ddlda_fold_in(observed.document(d), start, phi, alpha, decay, uniforms, responsibility)
        log_p = np.empty(split.n_held_out[d])
        ddlda_predict(corpus.document(d), n_observed, phi, alpha, decay, responsibility, log_p)
        return log_p, responsibility

    return read


def _check_topics(topics: np.ndarray, n_tokens: int, n_topics: int) -> None:
    """The kernels look at no bounds, so whatever reaches them is looked at here."""
    if topics.shape != (n_tokens,) or topics.dtype.kind not in "iu":
        raise InputError(f"topics are {topics.dtype} {topics.shape}: give {n_tokens} whole numbers")
    low, high = topics.min(), topics.max()
    if low < 0 or high >= n_topics:
        raise InputError(f"topics go from {low} to {high}: give topics of 0 to {n_topics - 1}")


def _check_model(phi: np.ndarray, alpha: np.ndarray, decay: np.ndarray, n_words: int) -> None:
    if alpha.ndim != 1 or phi.shape != (n_words, len(alpha)):
        raise InputError(f"phi is {phi.shape}, alpha {alpha.shape}: give ({n_words}, K) and (K,)")
    if not all(((a > 0) & (a < np.inf)).all() for a in (phi, alpha)):
        raise InputError("phi or alpha has entries that are not above 0: give them smoothed")
    fits = decay.ndim == 1 and len(decay) > 0 and decay[0] == 0
    if not fits or not ((decay >= 0) & (decay < np.inf)).all():
        raise InputError(f"decay of shape {decay.shape}: give what `decay_table` returns")


def _resume(path: Path | None, start: DDLDA, identity: dict[str, object]) -> DDLDA:
    """The state saved at `path`; `start` when there is none, or it belongs to another fit."""
    if path is None or not path.exists():
        return start
    tensors, meta = load_tensors(path)
    if any(meta.get(name) != value for name, value in identity.items()):
        return start
    topics = tensors["topics"].numpy()
    return replace(start, sweep=meta["sweep"], topics=topics, seconds=meta["seconds"])
