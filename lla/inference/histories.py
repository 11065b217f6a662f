"""Whole topic histories: particle Gibbs with ancestor sampling, and the beam.

The SE-step as printed draws z_t given the past alone. Particle Gibbs (Andrieu et al., 2010) draws
a whole history from a kernel that leaves p(z | w) invariant: a particle filter one of whose
particles is the last history. Ancestor sampling (Lindsten, Jordan & Schön, 2014; for LSTMs, Zheng
et al., 2017) lets that one change its past, which keeps the kernel mixing with few particles. The
beam keeps the histories of highest probability instead, and draws nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch

from lla.common.arrays import check_topics
from lla.common.errors import InputError, check_each, check_integer
from lla.common.parallel import Pool
from lla.corpus import Corpus
from lla.inference.batch import (
    Stepper,
    check_pass,
    columns,
    document_uniforms,
    group_documents,
    run_groups,
    run_shared,
    running_lanes,
)
from lla.inference.emission import SharedEmission
from lla.inference.filter import FilterConfig, FilterResult, check_result
from lla.samplers.histories import (
    ConditionalWeights,
    beam_step,
    choose_rows,
    conditional_step,
    trace_paths,
    weigh_particles,
)


@dataclass(frozen=True)
class HistoryConfig(FilterConfig):
    """Settings of particle Gibbs and of the beam.

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
        check_each(self, check_integer, "lookahead", least=-1)


def particle_gibbs(
    stepper: Stepper,
    emission: SharedEmission,
    corpus: Corpus,
    topics: np.ndarray,
    config: HistoryConfig,
    *,
    seed: int,
    key: tuple[int, ...],
    pool: Pool,
    description: str = "particle Gibbs",
    out: FilterResult | None = None,
) -> FilterResult:
    """One draw of every document's history given its last one, `topics` (N,).

    Parameters
    ----------
    seed, key : document d draws its uniforms from the stream (seed, *key, d)
    out : arrays to write to; `out.topics` may be `topics` itself
    """

    check_topics("topics", topics, corpus.n_tokens, stepper.config.n_outputs)

    setting = _Setting(stepper, emission, corpus, config)

    def of_group(documents: np.ndarray) -> _Gibbs:
        return _Gibbs(setting, documents, topics, (seed, *key))

    return _run(setting, of_group, pool, description, out)


def beam_topics(
    stepper: Stepper,
    emission: SharedEmission,
    corpus: Corpus,
    width: int,
    *,
    pool: Pool,
    description: str = "beam",
    out: FilterResult | None = None,
) -> FilterResult:
    """The most likely history of every document that a beam of `width` finds.

    Its log_evidence is that of the best history alone, log p(z_t, w_t | z_<t, w_<t): a decoder's
    score, no estimate of p(w).
    """
    setting = _Setting(stepper, emission, corpus, HistoryConfig(n_particles=width))

    def of_group(documents: np.ndarray) -> _Beam:
        return _Beam(setting, documents)

    return _run(setting, of_group, pool, description, out)


@dataclass(frozen=True)
class _Setting:
    """What all documents of a pass have in common."""

    stepper: Stepper
    emission: SharedEmission
    corpus: Corpus
    config: HistoryConfig


class _Histories:
    """P histories of each document of a group; a subclass says what happens at a word.

    Attributes
    ----------
    words : (T, L)
    h, c : (L·P, H)
    current_topics, ancestors : (L·P,) drawn by the last step
    traced : (2, T, L·P) topics and ancestors of every step
    """

    def __init__(self, setting: _Setting, documents: np.ndarray) -> None:
        stepper, corpus, config = setting.stepper, setting.corpus, setting.config
        self.stepper, self.config = stepper, config
        self.lengths = corpus.lengths[documents]
        self.running = running_lanes(self.lengths)
        words = columns(corpus.words, corpus.offsets, documents)
        n_rows = len(documents) * config.n_particles
        self.emission = setting.emission.lanes(words, self.lengths, config.n_particles)
        self.h, self.c = stepper.initial_state(n_rows, np.repeat(documents, config.n_particles))
        self.current_topics = np.full(n_rows, stepper.start, np.int64)
        self.ancestors = np.empty(n_rows, np.int64)
        self.traced = np.zeros((2, len(words), n_rows), np.int32)
        self.log_evidence = np.zeros(words.shape)

    def run(self) -> tuple[np.ndarray, np.ndarray]:
        """Topics and log-evidence of every lane, (T, L) each."""
        n_particles, ids = self.config.n_particles, torch.from_numpy(self.current_topics)
        for t, n_lanes in enumerate(self.running):
            rows = n_lanes * n_particles
            theta = self.stepper.step(ids[:rows], self.h[:rows], self.c[:rows])  # (rows, K)
            likelihood = self.emission.likelihood(n_lanes)  # (n_lanes, K)
            self.step(t, theta.numpy(), likelihood)
            topics, ancestors = self.current_topics[:rows], self.ancestors[:rows]
            self.emission.advance(topics, ancestors)
            source = torch.from_numpy(ancestors)
            self.h[:rows] = self.h.index_select(0, source)
            self.c[:rows] = self.c.index_select(0, source)
            self.traced[:, t, :rows] = topics, ancestors
        paths = np.zeros(self.log_evidence.shape, np.int32)
        trace_paths(self.traced[0], self.traced[1], self.lengths, self.last_rows(), paths)
        return paths, self.log_evidence

    def step(self, t: int, theta: np.ndarray, likelihood: np.ndarray) -> None:
        """Fill current topics and ancestors, and the log-evidence of token t.

        Parameters
        ----------
        theta, likelihood : (rows, K) of the particles, (lanes, K) of the documents that run
        """
        raise NotImplementedError

    def last_rows(self) -> np.ndarray:
        """The particle of each lane whose history is returned, (L,) rows."""
        raise NotImplementedError


class _Gibbs(_Histories):
    """Particle 0 of every lane follows the reference, its last history."""

    def __init__(
        self, setting: _Setting, documents: np.ndarray, topics: np.ndarray, key: tuple[int, ...]
    ) -> None:
        super().__init__(setting, documents)
        n_lanes, n_particles = len(documents), self.config.n_particles
        self.reference = columns(topics, setting.corpus.offsets, documents)
        self.uniforms, self.last_uniform = document_uniforms(
            documents, self.lengths, 2 * n_particles, key
        )
        self.ancestor_weights = np.zeros((n_lanes, n_particles))
        self.particles = ConditionalWeights(
            weights=np.full((n_lanes, n_particles), 1.0 / n_particles),
            before=np.empty((n_lanes, n_particles)),
            mass=np.empty((n_lanes, n_particles)),
            resample=np.zeros(n_lanes, bool),
        )

    def step(self, t: int, theta: np.ndarray, likelihood: np.ndarray) -> None:
        threshold = self.config.threshold
        weigh_particles(theta, likelihood, threshold, self.particles, self.log_evidence[t])
        due = np.flatnonzero(self.particles.resample[: len(likelihood)])
        if len(due) and self.config.lookahead >= 0:
            self.ancestor_weights[due] = self._weigh_ancestors(t, due, theta)
        elif len(due):  # the reference keeps its own past
            self.ancestor_weights[due] = np.eye(1, self.config.n_particles)
        conditional_step(
            theta,
            likelihood,
            self.uniforms[t],
            self.particles,
            self.ancestor_weights,
            self.reference[t],
            self.current_topics[: len(theta)],
            self.ancestors[: len(theta)],
        )

    def _weigh_ancestors(self, t: int, due: np.ndarray, theta: np.ndarray) -> np.ndarray:
        """W_p p(reference's next topics | particle p's past), (lanes due, P), not normalised."""
        n_particles = self.config.n_particles
        rows = (due[:, None] * n_particles + np.arange(n_particles)).ravel()
        lanes = np.repeat(due, n_particles)
        source = torch.from_numpy(rows)
        h, c = self.h.index_select(0, source), self.c.index_select(0, source)  # copies
        end = min(t + 1 + self.config.lookahead, len(self.reference))
        with np.errstate(divide="ignore"):  # log 0 = -inf is intended
            score = np.log(self.particles.before[due]).ravel()
            score += np.log(theta[rows, self.reference[t, lanes]].astype(np.float64))
            for s in range(t + 1, end):
                alive = int((self.lengths[lanes] > s).sum())  # lanes are sorted by falling length
                if alive == 0:
                    break
                ids = torch.from_numpy(self.reference[s - 1, lanes[:alive]])
                ahead = self.stepper.step(ids, h[:alive], c[:alive]).numpy()
                chosen = ahead[np.arange(alive), self.reference[s, lanes[:alive]]]
                score[:alive] += np.log(chosen.astype(np.float64))
        score = score.reshape(len(due), n_particles)
        return np.exp(score - score.max(axis=1, keepdims=True))

    def last_rows(self) -> np.ndarray:
        rows = np.empty(len(self.lengths), np.int64)
        choose_rows(self.particles.weights, self.last_uniform, rows)
        return rows


class _Beam(_Histories):
    """The P most likely histories of every lane, the best first."""

    def __init__(self, setting: _Setting, documents: np.ndarray) -> None:
        super().__init__(setting, documents)
        self.scores = np.full((len(documents), self.config.n_particles), -np.inf)
        self.scores[:, 0] = 0.0  # one history, the empty one

    def step(self, t: int, theta: np.ndarray, likelihood: np.ndarray) -> None:
        scores = self.scores[: len(likelihood)]
        best_before = scores[:, 0].copy()
        rows = slice(len(theta))
        beam_step(theta, likelihood, scores, self.current_topics[rows], self.ancestors[rows])
        with np.errstate(invalid="ignore"):
            self.log_evidence[t, : len(scores)] = scores[:, 0] - best_before

    def last_rows(self) -> np.ndarray:
        return np.arange(len(self.lengths)) * self.config.n_particles


def _run(
    setting: _Setting,
    of_group: Callable[[np.ndarray], _Histories],
    pool: Pool,
    description: str,
    out: FilterResult | None,
) -> FilterResult:
    corpus, network = setting.corpus, setting.stepper.config
    check_pass(network, setting.emission.shape, corpus)
    if network.input != "topic":
        raise InputError(
            f"network: it reads {network.input}s; give one that reads topics, for its "
            "histories are those of topics"
        )
    result = out or FilterResult.empty(corpus.n_tokens)
    check_result(result, corpus)

    def run(documents: np.ndarray) -> int:
        topics, log_evidence = of_group(documents).run()
        return result.store(corpus, documents, topics, log_evidence)

    groups = group_documents(corpus, max(1, setting.config.n_lanes // setting.config.n_particles))
    arrays = (result.topics, result.log_evidence)
    (changed,) = run_shared(
        lambda own: run_groups(run, own, pool, description), groups, corpus, pool.workers, arrays
    )
    return replace(result, changed=int(changed))
