"""Whole topic histories: particle Gibbs with ancestor sampling, and the beam.

The SE-step as printed draws z_t given the past alone. Particle Gibbs (Andrieu et al., 2010) draws
a whole history from a kernel that leaves p(z | w) as it is: a particle filter one of whose
particles is the last history. Ancestor sampling (Lindsten, Jordan & Schön, 2014; for LSTMs, Zheng
et al., 2017) lets that one change its past, which keeps the kernel moving with few particles. The
beam keeps the histories of highest probability instead, and draws nothing.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch

from lla.common.errors import check_integer
from lla.common.random import stream
from lla.corpus import Corpus
from lla.inference.emission import SharedEmission
from lla.inference.filter import FilterConfig, FilterResult
from lla.inference.stepper import Stepper
from lla.samplers.histories import beam_step, conditional_step, trace_back, weigh_particles
from lla.samplers.random import draw_index


@dataclass(frozen=True)
class HistoryConfig(FilterConfig):
    """How histories are carried.

    Attributes
    ----------
    n_particles, threshold, n_lanes : as in `FilterConfig`; the beam's width is `n_particles`
    lookahead : words of the reference's future that ancestor sampling weighs after the current
        one. Exact only when it reaches every document's end: topics depend on all that came
        before, so what lies further is left out. -1 switches ancestor sampling off, which is
        exact too, and moves the beginnings of long documents rarely.
    """

    n_particles: int = 8
    lookahead: int = 16

    def __post_init__(self) -> None:
        super().__post_init__()
        check_integer("lookahead", self.lookahead, least=-1)


def particle_gibbs(
    stepper: Stepper,
    emission: SharedEmission,
    corpus: Corpus,
    topics: np.ndarray,
    config: HistoryConfig,
    seed: int,
    key: tuple[int, ...],
    pool: ThreadPoolExecutor,
    description: str = "particle Gibbs",
    into: FilterResult | None = None,
) -> FilterResult:
    """One draw of every document's history given its last one, `topics` (N,).

    Document d draws its uniforms from the stream (seed, *key, d). What is found goes `into` arrays
    at hand, among them `topics` itself if need be.
    """
    given = (stepper, emission, corpus, topics, config, (seed, *key), pool, description, into)
    return _each_group(_Gibbs, *given)


def beam_topics(
    stepper: Stepper,
    emission: SharedEmission,
    corpus: Corpus,
    width: int,
    pool: ThreadPoolExecutor,
    description: str = "beam",
    into: FilterResult | None = None,
) -> FilterResult:
    """The likeliest history of every document that a beam of `width` finds.

    Its log_evidence is that of the best history alone, log p(z_t, w_t | z_<t, w_<t): a decoder's
    score, no estimate of p(w).
    """
    config = HistoryConfig(n_particles=width)
    return _each_group(_Beam, stepper, emission, corpus, None, config, (), pool, description, into)


class _Histories:
    """Documents side by side, P histories each; what happens at a word is the subclass's."""

    def __init__(self, stepper, emission, corpus, documents, topics, config, key) -> None:
        self.stepper, self.emission, self.config = stepper, emission, config
        self.lengths = corpus.lengths[documents]
        steps, n_lanes, p = int(self.lengths[0]), len(documents), config.n_particles
        self.words = np.zeros((steps, n_lanes), np.int64)
        self.reference = np.zeros((steps, n_lanes), np.int64)
        for lane, d in enumerate(documents):
            span = slice(corpus.offsets[d], corpus.offsets[d + 1])
            self.words[: self.lengths[lane], lane] = corpus.words[span]
            if topics is not None:
                self.reference[: self.lengths[lane], lane] = topics[span]
        self.running = np.searchsorted(-self.lengths, -np.arange(steps), side="left")
        self.h, self.c = stepper.begin(n_lanes * p)  # each (L·P, H)
        self.now = np.full(n_lanes * p, stepper.start, np.int64)
        self.ancestors = np.empty(n_lanes * p, np.int64)
        self.drawn = np.zeros((steps, n_lanes, p), np.int32)
        self.origin = np.zeros((steps, n_lanes, p), np.int32)
        self.log_evidence = np.zeros((steps, n_lanes))
        self.last = np.zeros(n_lanes, np.int64)
        self.prepare(documents, key)

    def run(self) -> tuple[np.ndarray, np.ndarray]:
        """Topics and log-evidence of every lane, (T, L) each."""
        p, ids = self.config.n_particles, torch.from_numpy(self.now)
        word_ids = torch.from_numpy(self.words)
        for t, lanes in enumerate(self.running):
            rows = lanes * p
            theta = self.stepper.step(ids[:rows], self.h[:rows], self.c[:rows])  # (rows, K)
            likelihood = self.emission.likelihood(word_ids[t, :lanes]).numpy()  # (lanes, K)
            self.at(t, lanes, theta.numpy(), likelihood)
            source = torch.from_numpy(self.ancestors[:rows])
            self.h[:rows] = self.h.index_select(0, source)
            self.c[:rows] = self.c.index_select(0, source)
            self.drawn[t, :lanes] = self.now[:rows].reshape(lanes, p)
            self.origin[t, :lanes] = (self.ancestors[:rows] % p).reshape(lanes, p)
        self.finish()
        path = np.zeros(self.words.shape, np.int32)
        trace_back(self.drawn, self.origin, self.lengths, self.last, path)
        return path, self.log_evidence


class _Gibbs(_Histories):
    def prepare(self, documents: np.ndarray, key: tuple[int, ...]) -> None:
        steps, n_lanes = self.words.shape
        p = self.config.n_particles
        self.uniforms = np.empty((steps, n_lanes, 2 * p), np.float32)
        self.choose = np.empty(n_lanes)
        for lane, d in enumerate(documents):
            draws = stream(*key, int(d))
            length = self.lengths[lane]
            self.uniforms[:length, lane] = draws.random((length, 2 * p), np.float32)
            self.choose[lane] = draws.random()
        self.weights = np.full((n_lanes, p), 1.0 / p)
        self.before, self.kin = np.empty((n_lanes, p)), np.zeros((n_lanes, p))
        self.mass, self.resample = np.empty(n_lanes * p), np.zeros(n_lanes, bool)

    def at(self, t: int, lanes: int, theta: np.ndarray, likelihood: np.ndarray) -> None:
        rows, config = lanes * self.config.n_particles, self.config
        weights, resample = self.weights[:lanes], self.resample[:lanes]
        evidence, before, mass = self.log_evidence[t, :lanes], self.before[:lanes], self.mass[:rows]
        weigh_particles(
            theta, likelihood, config.threshold, weights, mass, evidence, before, resample
        )
        due = np.flatnonzero(resample)
        if len(due) and config.lookahead >= 0:
            self.kin[due] = self.kinship(t, due, theta)
        elif len(due):  # the reference keeps its own past
            self.kin[due] = np.eye(1, config.n_particles)
        conditional_step(
            theta,
            likelihood,
            self.uniforms[t, :lanes],
            mass,
            resample,
            self.kin[:lanes],
            self.reference[t, :lanes],
            weights,
            self.now[:rows],
            self.ancestors[:rows],
        )

    def kinship(self, t: int, due: np.ndarray, theta: np.ndarray) -> np.ndarray:
        """W_p p(reference's next topics | particle p's past), (lanes due, P), not normalised."""
        p = self.config.n_particles
        rows = (due[:, None] * p + np.arange(p)).ravel()
        own = torch.from_numpy(rows)
        h, c = self.h.index_select(0, own), self.c.index_select(0, own)  # copies
        lane = np.repeat(due, p)
        with np.errstate(divide="ignore"):  # a particle without weight is no kin
            score = np.log(self.before[due]).ravel()
            score += np.log(theta[rows, self.reference[t, lane]].astype(np.float64))
            end = min(t + 1 + self.config.lookahead, len(self.words))
            for s in range(t + 1, end):
                alive = int((self.lengths[lane] > s).sum())  # lanes stand by falling length
                if alive == 0:
                    break
                ids = torch.from_numpy(self.reference[s - 1, lane[:alive]])
                ahead = self.stepper.step(ids, h[:alive], c[:alive]).numpy()
                chosen = ahead[np.arange(alive), self.reference[s, lane[:alive]]]
                score[:alive] += np.log(chosen.astype(np.float64))
        score = score.reshape(len(due), p)
        return np.exp(score - score.max(axis=1, keepdims=True))

    def finish(self) -> None:
        for lane in range(len(self.last)):
            self.last[lane] = draw_index(self.weights[lane], self.choose[lane])


class _Beam(_Histories):
    def prepare(self, documents: np.ndarray, key: tuple[int, ...]) -> None:
        self.scores = np.full((len(documents), self.config.n_particles), -np.inf)
        self.scores[:, 0] = 0.0  # one history, the empty one

    def at(self, t: int, lanes: int, theta: np.ndarray, likelihood: np.ndarray) -> None:
        rows = lanes * self.config.n_particles
        before = self.scores[:lanes].copy()
        beam_step(theta, likelihood, self.scores[:lanes], self.now[:rows], self.ancestors[:rows])
        with np.errstate(invalid="ignore"):
            self.log_evidence[t, :lanes] = self.scores[:lanes, 0] - before[:, 0]

    def finish(self) -> None:
        """The best history stands first."""


def _each_group(
    kind: type[_Histories],
    stepper: Stepper,
    emission: SharedEmission,
    corpus: Corpus,
    topics: np.ndarray | None,
    config: HistoryConfig,
    key: tuple[int, ...],
    pool: ThreadPoolExecutor,
    description: str,
    into: FilterResult | None,
) -> FilterResult:
    out = into or FilterResult.room(corpus.n_tokens)
    order = np.argsort(-corpus.lengths, kind="stable")
    size = max(1, config.n_lanes // config.n_particles)

    def run(documents: np.ndarray) -> int:
        found = kind(stepper, emission, corpus, documents, topics, config, key).run()
        return out.put(corpus, documents, *found)

    groups = [order[i : i + size] for i in range(0, len(order), size)]
    return out.gather([pool.submit(run, group) for group in groups], description)
