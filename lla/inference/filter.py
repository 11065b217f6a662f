"""The particle filter over topic histories; with one particle it is the SE-step as printed.

The documents of a group run in lock-step (see `batch`): Torch updates the states of all lanes
(`Stepper`), Numba draws the topics (`samplers.histories.filter_step`).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from threading import Lock

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from lla.common.arrays import check_mask
from lla.common.errors import (
    InputError,
    NumericalError,
    check_each,
    check_flag,
    check_function,
    check_integer,
    check_not_negative,
)
from lla.common.parallel import Pool
from lla.corpus import Corpus
from lla.inference.batch import (
    Stepper,
    check_pass,
    check_users,
    columns,
    document_uniforms,
    first_lanes,
    group_documents,
    input_columns,
    run_groups,
    run_shared,
    running_lanes,
)
from lla.inference.emission import Emission
from lla.lstm import Network, probabilities
from lla.samplers.histories import (
    choose_rows,
    count_paths,
    filter_step,
    topics_of_sources,
    trace_paths,
)

WINDOW = 32  # tokens of a document that are predicted at once
MAX_LANES = 64  # documents side by side where words are read
MAX_LOGITS = 2**22  # logits held at once per thread


@dataclass(frozen=True)
class FilterConfig:
    """Settings of the particle filter.

    Attributes
    ----------
    n_particles : P
    threshold : resample when the effective number of particles falls below this share of P
    n_lanes : particles in lock-step; decides speed, and how documents are grouped
    trajectories : return full trajectories traced back from the last step, which later words
        have influenced; otherwise the first particle's draw at each token
    """

    n_particles: int = 1
    threshold: float = 0.5
    n_lanes: int = 512
    trajectories: bool = False

    def __post_init__(self) -> None:
        check_each(self, check_integer, "n_particles", "n_lanes")
        check_each(self, check_not_negative, "threshold")
        check_each(self, check_flag, "trajectories")


@dataclass(frozen=True)
class FilterResult:
    """Topics and evidence of every token; an array that is None is not kept.

    Attributes
    ----------
    topics : (N,) the first particle's draws, or one full trajectory per document; k + K c where
        the network has a gate: topic k, c = 0 where it produced the item, j + 1 where source j did
    log_evidence : (N,) log p̂(w_t | w_<t), nats; its sum estimates log p(w_d), and the
        exponential of that sum is unbiased
    changed : tokens whose topic differs from the one that was in `topics` before
    topic_counts : (D, K + S) E[n_dk | w_d], the topics of all trajectories by their weights, then
        the same of the sources; exact where topics do not depend on each other
    """

    topics: np.ndarray | None
    log_evidence: np.ndarray | None
    changed: int = 0
    topic_counts: np.ndarray | None = None

    @property
    def info(self) -> dict[str, float]:
        """Diagnostics of the draws: none."""
        return {}

    @classmethod
    def empty(cls, n_tokens: int) -> "FilterResult":
        """Arrays for all results; topics are 0."""
        return cls(np.zeros(n_tokens, np.int32), np.empty(n_tokens))

    def store(
        self,
        corpus: Corpus,
        documents: np.ndarray,
        topics: np.ndarray,
        log_evidence: np.ndarray,
    ) -> int:
        """Write the results of `documents`, (T, L) each; return how many topics changed.

        Raises
        ------
        FloatingPointError
            When the model gives a document probability 0 or NaN.
        """
        changed = 0
        for lane, d in enumerate(documents):
            span = slice(corpus.offsets[d], corpus.offsets[d + 1])
            length = corpus.lengths[d]
            if not np.isfinite(log_evidence[:length, lane]).all():
                raise NumericalError(
                    f"document {d} has probability 0 or NaN under the model: train with a smaller "
                    "learning_rate if training diverged, or a larger beta if φ holds zeros"
                )
            if self.log_evidence is not None:
                self.log_evidence[span] = log_evidence[:length, lane]
            if self.topics is not None:
                changed += int(np.count_nonzero(self.topics[span] != topics[:length, lane]))
                self.topics[span] = topics[:length, lane]
        return changed


def check_result(result: FilterResult, corpus: Corpus) -> None:
    """Raise `InputError` unless the arrays to write to have a place per token."""
    for name in ("topics", "log_evidence"):
        array = getattr(result, name)
        if array is not None and array.shape != (corpus.n_tokens,):
            raise InputError(
                f"out.{name}: {array.shape}; give room for the corpus' {corpus.n_tokens} tokens"
            )


def check_topic_counts(result: FilterResult, corpus: Corpus, n_topics: int | None) -> None:
    """Raise `InputError` unless expected counts, where wanted, have a row per document."""
    if result.topic_counts is None:
        return
    if n_topics is None:
        raise InputError("this model predicts words, it has no topics; ask an LLA")
    if result.topic_counts.shape != (corpus.n_documents, n_topics):
        raise InputError(
            f"out.topic_counts: {result.topic_counts.shape}; give room for {corpus.n_documents} "
            f"documents and {n_topics} topics"
        )


@dataclass(frozen=True)
class ScoreRequest:
    """Which tokens' predictions a pass hands over, and to whom.

    Attributes
    ----------
    wanted : (N,) bool, the tokens before which all words are scored
    on_scores : a `lla.evaluate.ScoreCallback`; called one batch at a time, from any thread
    max_rows : rows per call
    """

    wanted: np.ndarray
    on_scores: Callable[[np.ndarray, np.ndarray], None]
    max_rows: int
    _lock: Lock = field(default_factory=Lock, repr=False)

    def __post_init__(self) -> None:
        check_function("on_scores", self.on_scores)

    def send(self, positions: np.ndarray, predict: Callable[[np.ndarray], Tensor]) -> None:
        """Hand over p(w_t = v | w_<t) at the wanted ones of `positions` (L,).

        Parameters
        ----------
        predict : gives the probabilities of all words (B, V) for lanes (B,)
        """
        chosen = np.flatnonzero(self.wanted[positions])
        for first in range(0, len(chosen), self.max_rows):
            lanes = chosen[first : first + self.max_rows]
            scores = predict(lanes).numpy()
            with self._lock:
                self.on_scores(positions[lanes], scores)


class Particles:
    """P topic histories of every document of a group: drawn, weighted and resampled.

    Document d draws its uniforms from the stream (*key, d), or (*key, streams[d]).

    Attributes
    ----------
    running : (T,) number of lanes whose document is longer than t
    weights : (L, P) float64
    topics, ancestors : (L·P,) int64, drawn by the last step; k + K c where there is a gate
    drawn, log_evidence : (T, L) the first particle's topics, and log p̂(w_t | w_<t)
    traced : (2, T, L·P) topics and ancestors of every step, where full trajectories are wanted; as
        in `drawn`, a topic is k + K c where there is a gate (see `FilterResult`)
    expected : (L, K + S) sum of p(z_t | w_t) so far, where one particle is exact and that is wanted
    n_gated : S of the sources where the network has a gate for them, else 0
    """

    def __init__(
        self,
        emission: Emission,
        corpus: Corpus,
        documents: np.ndarray,
        config: FilterConfig,
        key: tuple[int, ...],
        request: ScoreRequest | None = None,
        streams: np.ndarray | None = None,
        sum_posteriors: bool = False,
        counted: np.ndarray | None = None,
        n_gated: int = 0,
    ) -> None:
        n_lanes, n_particles = len(documents), config.n_particles
        self.n_gated, self.n_topics = n_gated, emission.shape[1] - n_gated
        self.lengths = corpus.lengths[documents]
        self.running = running_lanes(self.lengths)
        self.threshold = config.threshold
        self.first_token = corpus.offsets[documents]
        self.request = request
        self.uniforms, self.last_uniform = document_uniforms(
            documents if streams is None else streams[documents],
            self.lengths,
            n_particles + 1,
            key,
        )
        words = columns(corpus.words, corpus.offsets, documents)
        if counted is not None:
            counted = columns(counted, corpus.offsets, documents).astype(bool)
        self.emission = emission.lanes(words, self.lengths, n_particles, counted)
        self.weights = np.full((n_lanes, n_particles), 1.0 / n_particles)
        self.topics, self.ancestors = np.zeros((2, n_lanes * n_particles), np.int64)
        self.drawn = np.empty(words.shape, np.int32)
        self.log_evidence = np.empty(words.shape)
        self.traced = None
        if config.trajectories:
            self.traced = np.empty((2, len(words), n_lanes * n_particles), np.int32)
        self.expected = np.zeros((n_lanes, emission.shape[1])) if sum_posteriors else None

    def step(self, t: int, theta: Tensor) -> None:
        """Draw the topics of token t; θ is (L·P, K), or (L, K) shared by a lane's particles."""
        n_lanes, n_particles = self.running[t], self.weights.shape[1]
        n_rows = n_lanes * n_particles
        weights = self.weights[:n_lanes]
        topics, ancestors = self.topics[:n_rows], self.ancestors[:n_rows]
        if self.request:
            self.request.send(
                self.first_token[:n_lanes] + t,
                lambda chosen: self.emission.predict(chosen, theta, weights),
            )
        likelihood = self.emission.likelihood(n_lanes)
        filter_step(
            theta.numpy(),
            likelihood,
            self.uniforms[t, :n_lanes],
            self.threshold,
            weights,
            topics,
            ancestors,
            self.log_evidence[t, :n_lanes],
        )
        if self.n_gated:
            topics_of_sources(
                theta.numpy(),
                likelihood,
                self.uniforms[t, :n_lanes],
                self.n_topics,
                topics,
                ancestors,
            )
        self.drawn[t, :n_lanes] = topics[::n_particles]
        if self.traced is not None:
            self.traced[:, t, :n_rows] = topics, ancestors
        self.emission.advance(topics % self.n_topics if self.n_gated else topics, ancestors)
        if self.expected is not None:
            joint = theta.numpy().astype(np.float64) * likelihood
            total = joint.sum(axis=1, keepdims=True)  # 0 is refused when the results are stored
            posterior = joint / np.where(total > 0, total, 1.0)
            if self.n_gated:  # the topic does not depend on where the item came from
                of_topics = posterior[:, : self.n_topics]
                total = of_topics.sum(axis=1, keepdims=True)
                of_topics /= np.where(total > 0, total, 1.0)
            self.expected[:n_lanes] += posterior

    def histories(self) -> np.ndarray:
        """Topics after the last step, (T, L): trajectories, or the first particle's draws."""
        if self.traced is not None:
            topics, ancestors = self.traced
            last = np.empty(len(self.lengths), np.int64)
            choose_rows(self.weights, self.last_uniform, last)
            trace_paths(topics, ancestors, self.lengths, last, self.drawn)
        return self.drawn

    def topic_counts(self) -> np.ndarray:
        """E[n_k | w_1..w_T] of each lane's document, (L, K + S); needs `traced` or `expected`."""
        if self.expected is not None:
            return self.expected
        assert self.traced is not None
        counts = np.zeros((len(self.lengths), self.n_topics * (1 + self.n_gated)))
        topics, ancestors = self.traced
        count_paths(topics, ancestors, self.lengths, self.weights, counts)
        if self.n_gated == 0:
            return counts
        by_origin = counts.reshape(len(counts), 1 + self.n_gated, self.n_topics)
        return np.concatenate([by_origin.sum(axis=1), by_origin[:, 1:].sum(axis=2)], axis=1)


def infer(
    network: Network,
    emission: Emission | None,
    corpus: Corpus,
    config: FilterConfig,
    *,
    seed: int,
    key: tuple[int, ...],
    pool: Pool,
    description: str = "filtering",
    request: ScoreRequest | None = None,
    out: FilterResult | None = None,
    streams: np.ndarray | None = None,
    counted: np.ndarray | None = None,
    scored: np.ndarray | None = None,
    users: np.ndarray | None = None,
) -> FilterResult:
    """Topics and log p(w_t | w_<t) of every token of `corpus`.

    A network that reads topics needs the fully adapted particle filter. One that reads words is
    run once over every document; it needs particles only where the emission depends on the topic
    history.

    Parameters
    ----------
    emission : None where the network's outputs are words themselves; then topics are 0
    config : of the particle filter
    seed, key : document d draws its uniforms from the stream (seed, *key, d), so a result depends
        neither on the number of threads and processes nor on which took which group
    request : which predictions of the next word to hand over
    out : arrays to write to
    streams : (D,) numbers that take the place of d in the key of a document's stream
    counted : (N,) bool, tokens that the emission was counted from (see `Emission.lanes`)
    scored : (N,) bool, tokens whose log-evidence is wanted; None for all. Where outputs are words
        that of the others is 0, which saves their softmax over the vocabulary
    users : (D,) the user of every document, -1 for an unknown one, where the network knows its
        users (see `lla.lstm.users`); None: all are unknown
    """
    phi_shape = None if emission is None else emission.shape
    if counted is not None:
        check_mask("counted", counted, corpus.n_tokens)
    if scored is not None:
        check_mask("scored", scored, corpus.n_tokens)
    check_pass(network.config, phi_shape, corpus)
    check_users(users, corpus.n_documents, network.config)
    result = out or FilterResult.empty(corpus.n_tokens)
    check_result(result, corpus)
    check_topic_counts(result, corpus, phi_shape[1] if phi_shape else None)
    reads_topics = network.config.input == "topic"
    counts_topics = result.topic_counts is not None
    needs_particles = reads_topics or (emission is not None and emission.history_dependent)
    if not needs_particles:
        config = FilterConfig()  # one particle is exact
    elif counts_topics:
        config = replace(config, trajectories=True)
    if reads_topics:
        stepper = Stepper(network, users=users)
        group_size = max(1, config.n_lanes // config.n_particles)
    else:
        with torch.no_grad():
            table = network.input.table()  # (V + 1, E), each word encoded once
        group_size = min(MAX_LANES, max(1, MAX_LOGITS // (WINDOW * network.config.n_outputs)))

    @torch.no_grad()
    def run(documents: np.ndarray) -> int:
        if emission is None:
            windows = _read_windows(network, table, corpus, documents)
            log_evidence = _score_words(network, windows, corpus, documents, request, scored)
            topics = np.zeros(log_evidence.shape, np.int32)
            return result.store(corpus, documents, topics, log_evidence)
        particles = Particles(
            emission,
            corpus,
            documents,
            config,
            (seed, *key),
            request,
            streams,
            sum_posteriors=counts_topics and not needs_particles,
            counted=counted,
            n_gated=network.config.n_sources,
        )
        if reads_topics:
            _filter_topics(stepper, particles, documents)
        else:
            for first, states in _read_windows(network, table, corpus, documents):
                window = probabilities(network.output(states), network.config.n_sources)
                for t, theta in enumerate(window, first):
                    particles.step(t, theta[: particles.running[t]])
        if result.topic_counts is not None:
            result.topic_counts[documents] = particles.topic_counts()
        return result.store(corpus, documents, particles.histories(), particles.log_evidence)

    groups, arrays = group_documents(corpus, group_size), (result.topics, result.log_evidence)
    (changed,) = run_shared(
        lambda own: run_groups(run, own, pool, description), groups, corpus, pool.workers, arrays
    )
    return replace(result, changed=int(changed))


def _filter_topics(stepper: Stepper, particles: Particles, documents: np.ndarray) -> None:
    """The lock-step loop over time where the network reads each particle's own topics."""
    n_lanes, n_particles = particles.weights.shape
    of_particles = np.repeat(documents, n_particles)
    h, c = stepper.initial_state(n_lanes * n_particles, of_particles)  # each (L·P, H)
    particles.topics[:] = stepper.start
    ids = torch.from_numpy(particles.topics)
    for t, running in enumerate(particles.running):
        rows = running * n_particles
        theta = stepper.step(ids[:rows], h[:rows], c[:rows])  # (rows, K)
        particles.step(t, theta)
        if n_particles > 1:
            source = torch.from_numpy(particles.ancestors[:rows])
            h[:rows], c[:rows] = h.index_select(0, source), c.index_select(0, source)


def _read_windows(
    network: Network, table: Tensor, corpus: Corpus, documents: np.ndarray
) -> Iterator[tuple[int, Tensor]]:
    """First token of each window, and its states (T, B, H) for the B lanes that reach it.

    States past a document's end are meaningless.
    """
    words = input_columns(corpus.words, corpus.offsets, documents, network.input.start)
    ids, running = torch.from_numpy(words), running_lanes(corpus.lengths[documents])
    state = None
    for first in range(0, len(words), WINDOW):
        state = first_lanes(state, running[first])
        embedded = F.embedding(ids[first : first + WINDOW, : running[first]], table)  # (T, B, E)
        states, state = network.lstm(embedded, state)  # (T, B, H)
        yield first, states


def _score_words(
    network: Network,
    windows: Iterator[tuple[int, Tensor]],
    corpus: Corpus,
    documents: np.ndarray,
    request: ScoreRequest | None,
    scored: np.ndarray | None,
) -> np.ndarray:
    """log p(w_t | w_<t) where outputs are words, (T, L); 0 where it is not `scored`."""
    words = columns(corpus.words, corpus.offsets, documents)
    lengths, firsts = corpus.lengths[documents], corpus.offsets[documents]
    wanted = np.arange(len(words))[:, None] < lengths  # (T, L)
    if scored is not None:
        wanted &= columns(scored, corpus.offsets, documents).astype(bool)
    log_evidence = np.zeros(words.shape)
    for first, states in windows:
        span, n_lanes = slice(first, first + len(states)), states.shape[1]
        t, lanes = np.nonzero(wanted[span, :n_lanes])  # (M,) both
        if not len(t):
            continue
        logits = network.output(states[t, lanes])  # (M, V)
        target = torch.from_numpy(words[span][t, lanes])
        log_p = logits.gather(1, target[:, None])[:, 0] - logits.logsumexp(dim=1)
        log_evidence[first + t, lanes] = log_p.numpy()
        if request:
            request.send(firsts[lanes] + first + t, partial(_word_probabilities, logits))
    return log_evidence


def _word_probabilities(logits: Tensor, rows: np.ndarray) -> Tensor:
    """The softmax of some rows, (B, V)."""
    return logits[rows].softmax(dim=1)
