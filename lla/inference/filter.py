"""Topic histories: the particle filter, whose one-particle case is the SE-step as printed.

Documents stand side by side as lanes and move through time in lock-step: Torch moves the state
of all of them (`Stepper`), Numba draws (`samplers.filter_step`). Lanes are ordered by length, so
that those still running are always the first rows.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from lla.common.errors import check_integer
from lla.common.progress import progress
from lla.common.random import stream
from lla.corpus import Corpus
from lla.inference.emission import PersonalEmission, SharedEmission
from lla.inference.stepper import Stepper
from lla.lstm import Network
from lla.samplers.histories import filter_step, trace_paths

# Called before each token of a group: its places in the corpus, and what gives the probabilities
# of all words there, (B, V), for chosen numbers (B,) of these places.
Look = Callable[[np.ndarray, Callable[[np.ndarray], Tensor]], None]


@dataclass(frozen=True)
class FilterConfig:
    """How histories are carried.

    Attributes
    ----------
    n_particles : P
    threshold : resample when the effective number of particles falls below this share of P
    n_lanes : particles in lock-step; decides speed, and how documents are grouped
    whole : yield whole histories, each a particle's own way back from a document's end, which
        later words have chosen; otherwise what the first particle drew at each token
    """

    n_particles: int = 1
    threshold: float = 0.5
    n_lanes: int = 512
    whole: bool = False

    def __post_init__(self) -> None:
        check_integer("n_particles", self.n_particles)
        check_integer("n_lanes", self.n_lanes)


@dataclass(frozen=True)
class FilterResult:
    """What a pass over a corpus yields, and where it is put; None is not kept.

    Attributes
    ----------
    topics : (N,) topic of each token in the first particle's draw; one history with P = 1, or
        where whole ones were asked for
    log_evidence : (N,) log p̂(w_t | w_<t), nats; its sum estimates log p(w_d), and the
        exponential of that sum is unbiased
    changed : tokens whose topic is another than the one that stood there before
    """

    topics: np.ndarray | None
    log_evidence: np.ndarray | None
    changed: int = 0

    @classmethod
    def room(cls, n_tokens: int) -> "FilterResult":
        """For all that there is, every topic 0 as yet."""
        return cls(np.zeros(n_tokens, np.int32), np.empty(n_tokens))

    def put(
        self,
        corpus: Corpus,
        documents: np.ndarray,
        topics: np.ndarray,
        log_evidence: np.ndarray,
    ) -> int:
        """Take what was found for `documents` side by side, (T, L) each; topics that changed."""
        changed = 0
        for lane, d in enumerate(documents):
            span, length = slice(corpus.offsets[d], corpus.offsets[d + 1]), corpus.lengths[d]
            if not np.isfinite(log_evidence[:length, lane]).all():
                raise FloatingPointError(
                    f"document {d} has probability 0 or NaN under the model: use a β above 0, "
                    "and a smaller learning rate if training diverged"
                )
            if self.log_evidence is not None:
                self.log_evidence[span] = log_evidence[:length, lane]
            if self.topics is not None:
                changed += int(np.count_nonzero(self.topics[span] != topics[:length, lane]))
                self.topics[span] = topics[:length, lane]
        return changed

    def gather(self, tasks: Sequence["Future[int]"], description: str) -> "FilterResult":
        """Wait for groups of documents, each of which says how many topics `put` changed."""
        changed = 0
        for task in progress(tasks, description=description, unit="group"):
            changed += task.result()
        return replace(self, changed=changed)


class Particles:
    """P topic histories of every document of a group: drawn, weighed and resampled.

    Document d draws its uniforms from the stream (*key, d).

    Attributes
    ----------
    words : (T, L) int64 ids, a document a column, 0 past its end
    running : (T,) lanes whose document is longer than t; they are the first ones
    weights : (L, P) float64
    topics, ancestors : (L·P,) int64 what the last step drew
    history, log_evidence : (T, L) the first particle's draws, and log p̂(w_t | w_<t)
    traced : (2, T, L·P) topics and ancestors of every step, where whole histories are wanted
    """

    def __init__(
        self,
        emission: SharedEmission | PersonalEmission,
        corpus: Corpus,
        documents: np.ndarray,
        config: FilterConfig,
        key: tuple[int, ...],
    ) -> None:
        lengths, p = corpus.lengths[documents], config.n_particles
        steps, n_lanes = int(lengths[0]), len(documents)
        self.threshold, self.first = config.threshold, corpus.offsets[documents]
        self.words = np.zeros((steps, n_lanes), np.int64)
        self.uniforms = np.empty((steps, n_lanes, p + 1), np.float32)
        self.lengths, self.ends = lengths, np.empty(n_lanes)
        for lane, (d, length) in enumerate(zip(documents, lengths, strict=True)):
            draw = stream(*key, int(d))
            self.words[:length, lane] = corpus.document(d)
            self.uniforms[:length, lane] = draw.random((length, p + 1), np.float32)
            self.ends[lane] = draw.random()
        self.running = np.searchsorted(-lengths, -np.arange(steps), side="left")
        self.emission = emission.begin(self.words, lengths, p)
        self.weights = np.full((n_lanes, p), 1.0 / p)
        self.topics, self.ancestors = np.zeros((2, n_lanes * p), np.int64)
        self.history = np.empty((steps, n_lanes), np.int32)
        self.log_evidence = np.empty((steps, n_lanes))
        self.traced = np.empty((2, steps, n_lanes * p), np.int32) if config.whole else None

    def step(self, t: int, theta: Tensor, look: Look | None = None) -> None:
        """Draw the topics of token t; θ is (L·P, K), or (L, K) shared by a lane's particles."""
        lanes, p = self.running[t], self.weights.shape[1]
        rows = lanes * p
        weights, topics, ancestors = self.weights[:lanes], self.topics[:rows], self.ancestors[:rows]
        if look:
            look(
                self.first[:lanes] + t,
                lambda chosen: self.emission.predict(t, chosen, theta, weights),
            )
        filter_step(
            theta.numpy(),
            self.emission.likelihood(t, lanes),
            self.uniforms[t, :lanes],
            self.threshold,
            weights,
            topics,
            ancestors,
            self.log_evidence[t, :lanes],
        )
        self.emission.advance(t, topics, ancestors)
        self.history[t, :lanes] = topics[::p]
        if self.traced is not None:
            self.traced[:, t, :rows] = topics, ancestors

    def histories(self) -> np.ndarray:
        """Topics after the last step, (T, L): whole histories, or the first particle's draws."""
        if self.traced is not None:
            trace_paths(*self.traced, self.lengths, self.weights, self.ends, self.history)
        return self.history


def filter_topics(
    stepper: Stepper,
    emission: SharedEmission | PersonalEmission,
    corpus: Corpus,
    config: FilterConfig,
    seed: int,
    key: tuple[int, ...],
    pool: ThreadPoolExecutor,
    description: str = "filtering",
    look: Look | None = None,
    into: FilterResult | None = None,
) -> FilterResult:
    """Run the fully adapted particle filter over every document of `corpus`.

    Document d draws its uniforms from the stream (seed, *key, d), so a result depends neither on
    the number of threads nor on which thread took which group. It goes `into` arrays at hand.
    """
    out = into or FilterResult.room(corpus.n_tokens)
    order = np.argsort(-corpus.lengths, kind="stable")
    size = max(1, config.n_lanes // config.n_particles)

    def run(documents: np.ndarray) -> int:
        particles = Particles(emission, corpus, documents, config, (seed, *key))
        _filter_group(stepper, particles, look)
        return out.put(corpus, documents, particles.histories(), particles.log_evidence)

    groups = [order[i : i + size] for i in range(0, len(order), size)]
    return out.gather([pool.submit(run, group) for group in groups], description)


def _filter_group(stepper: Stepper, particles: Particles, look: Look | None) -> None:
    """The lock-step loop over time for documents sorted by falling length."""
    n_lanes, n_particles = particles.weights.shape
    h, c = stepper.begin(n_lanes * n_particles)  # each (L·P, H)
    particles.topics[:] = stepper.start
    ids = torch.from_numpy(particles.topics)
    for t, lanes in enumerate(particles.running):
        rows = lanes * n_particles
        theta = stepper.step(ids[:rows], h[:rows], c[:rows])  # (rows, K)
        particles.step(t, theta, look)
        if n_particles > 1:
            source = torch.from_numpy(particles.ancestors[:rows])
            h[:rows], c[:rows] = h.index_select(0, source), c.index_select(0, source)


WINDOW = 32  # tokens of a document that are predicted at once


LANES = 64  # documents side by side, at most


LOGITS = 2**22  # logits held at once


def infer(
    network: Network,
    emission: SharedEmission | PersonalEmission | None,
    corpus: Corpus,
    config: FilterConfig,
    seed: int,
    key: tuple[int, ...],
    pool: ThreadPoolExecutor,
    description: str,
    look: Look | None = None,
    into: FilterResult | None = None,
) -> FilterResult:
    """Topics and log p(w_t | w_<t) of every token of `corpus`.

    Parameters
    ----------
    emission : None where the network's outputs are words themselves
    config : of the particle filter; a network that reads words has no use for it, unless the
        emission depends on topics
    look : is shown the probabilities of all words before each token
    into : arrays at hand that take what is found
    """
    if network.config.input == "topic":
        given = (Stepper(network), emission, corpus, config, seed, key, pool, description)
        return filter_topics(*given, look, into)
    return read_words(network, emission, corpus, seed, key, pool, description, config, look, into)


@torch.no_grad()
def read_words(
    network: Network,
    emission: SharedEmission | PersonalEmission | None,
    corpus: Corpus,
    seed: int,
    key: tuple[int, ...],
    pool: ThreadPoolExecutor,
    description: str = "reading",
    config: FilterConfig | None = None,
    look: Look | None = None,
    into: FilterResult | None = None,
) -> FilterResult:
    """Every document in one pass, its own words as inputs.

    Document d draws from the stream (seed, *key, d). Without an emission nothing is drawn, and
    topics are 0.
    """
    out = into or FilterResult.room(corpus.n_tokens)
    table = network.input.table()  # (V + 1, E), each word encoded once
    config = config if config and emission and emission.history_dependent else FilterConfig()
    order = np.argsort(-corpus.lengths, kind="stable")
    size = min(LANES, max(1, LOGITS // (WINDOW * network.config.n_outputs)))

    @torch.no_grad()
    def run(documents: np.ndarray) -> int:
        windows = _outputs(network, table, corpus, documents)
        if emission is None:
            log_evidence = _score_words(windows, corpus, documents, look)
            topics = np.zeros(log_evidence.shape, np.int32)
        else:
            particles = Particles(emission, corpus, documents, config, (seed, *key))
            for begin, logits in windows:
                for t, theta in enumerate(logits.softmax(dim=2), begin):
                    particles.step(t, theta[: particles.running[t]], look)
            topics, log_evidence = particles.histories(), particles.log_evidence
        return out.put(corpus, documents, topics, log_evidence)

    groups = [order[i : i + size] for i in range(0, len(order), size)]
    return out.gather([pool.submit(run, group) for group in groups], description)


def _outputs(
    network: Network, table: Tensor, corpus: Corpus, documents: np.ndarray
) -> Iterator[tuple[int, Tensor]]:
    """Where each window begins, and its logits (T, B, n_outputs) for the B documents it reaches.

    Documents are sorted by falling length; what stands past a document's end means nothing.
    """
    lengths = corpus.lengths[documents]
    words = np.full((lengths[0], len(documents)), network.input.start, np.int64)
    for lane, (d, length) in enumerate(zip(documents, lengths, strict=True)):
        words[1:length, lane] = corpus.document(d)[:-1]  # one step late
    ids, state = torch.from_numpy(words), None
    for begin in range(0, lengths[0], WINDOW):
        lanes = int((lengths > begin).sum())
        state = state and (state[0][:, :lanes].contiguous(), state[1][:, :lanes].contiguous())
        embedded = F.embedding(ids[begin : begin + WINDOW, :lanes], table)  # (T, B, E)
        states, state = network.lstm(embedded, state)  # (T, B, H)
        yield begin, network.output(states)


def _score_words(
    windows: Iterator[tuple[int, Tensor]],
    corpus: Corpus,
    documents: np.ndarray,
    look: Look | None,
) -> np.ndarray:
    """log p(w_t | w_<t) where outputs are words, (T, L)."""
    lengths, first = corpus.lengths[documents], corpus.offsets[documents]
    words = np.zeros((lengths[0], len(documents)), np.int64)
    for lane, (d, length) in enumerate(zip(documents, lengths, strict=True)):
        words[:length, lane] = corpus.document(d)
    log_evidence = np.empty(words.shape)
    for begin, logits in windows:
        span, lanes = slice(begin, begin + len(logits)), logits.shape[1]
        target = torch.from_numpy(words[span, :lanes])
        log_p = logits.gather(2, target[..., None])[..., 0] - logits.logsumexp(dim=2)
        log_evidence[span, :lanes] = log_p.numpy()
        for t, row in enumerate(logits if look else (), begin):
            running = int((lengths > t).sum())
            look(first[:running] + t, lambda chosen, row=row: row[chosen].softmax(dim=1))
    return log_evidence
