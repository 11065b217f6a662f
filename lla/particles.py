"""Topic histories: the particle filter, whose one-particle case is the SE-step as printed.

Documents stand side by side as lanes and move through time in lock-step: Torch moves the state
of all of them (`Stepper`), Numba draws (`samplers.filter_step`). Lanes are ordered by length, so
that those still running are always the first rows.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch

from lla.corpus import Corpus
from lla.emission import SharedEmission
from lla.errors import check_whole
from lla.lstm import Stepper
from lla.progress import progress
from lla.samplers import filter_step
from lla.streams import stream


@dataclass(frozen=True)
class FilterConfig:
    """How histories are carried.

    Attributes
    ----------
    n_particles : P
    threshold : resample when the effective number of particles falls below this share of P
    n_lanes : particles in lock-step; decides speed, and how documents are grouped
    """

    n_particles: int = 1
    threshold: float = 0.5
    n_lanes: int = 512

    def __post_init__(self) -> None:
        check_whole("n_particles", self.n_particles)
        check_whole("n_lanes", self.n_lanes)


@dataclass(frozen=True)
class Filtered:
    """What a pass over a corpus yields.

    Attributes
    ----------
    topics : (N,) int32 topic of each token in the first particle's draw; with P = 1 one history
    log_evidence : (N,) log p̂(w_t | w_<t), nats; its sum estimates log p(w_d), and the
        exponential of that sum is unbiased
    """

    topics: np.ndarray
    log_evidence: np.ndarray


def filter_topics(
    stepper: Stepper,
    emission: SharedEmission,
    corpus: Corpus,
    config: FilterConfig,
    seed: int,
    key: tuple[int, ...],
    pool: ThreadPoolExecutor,
    description: str = "filtering",
) -> Filtered:
    """Run the fully adapted particle filter over every document of `corpus`.

    Document d draws its uniforms from the stream (seed, *key, d), so a result depends neither on
    the number of threads nor on which thread took which group.
    """
    out = Filtered(np.empty(corpus.n_tokens, np.int32), np.empty(corpus.n_tokens))
    order = np.argsort(-corpus.lengths, kind="stable")
    size = max(1, config.n_lanes // config.n_particles)
    groups = [order[i : i + size] for i in range(0, len(order), size)]
    tasks = [
        pool.submit(_filter_group, stepper, emission, corpus, group, config, (seed, *key), out)
        for group in groups
    ]
    for task in progress(tasks, description=description, unit="group"):
        task.result()
    return out


def _filter_group(
    stepper: Stepper,
    emission: SharedEmission,
    corpus: Corpus,
    documents: np.ndarray,
    config: FilterConfig,
    key: tuple[int, ...],
    out: Filtered,
) -> None:
    """The lock-step loop over time for documents sorted by falling length."""
    n_particles = config.n_particles
    lengths = corpus.lengths[documents]
    steps, n_lanes = int(lengths[0]), len(documents)
    words = np.zeros((steps, n_lanes), np.int64)
    uniforms = np.empty((steps, n_lanes, n_particles + 1), np.float32)
    for lane, d in enumerate(documents):
        words[: lengths[lane], lane] = corpus.document(d)
        draws = stream(*key, int(d)).random((lengths[lane], n_particles + 1), np.float32)
        uniforms[: lengths[lane], lane] = draws
    running = np.searchsorted(-lengths, -np.arange(steps), side="left")  # lanes with length > t

    h, c = stepper.begin(n_lanes * n_particles)  # each (L·P, H)
    weights = np.full((n_lanes, n_particles), 1.0 / n_particles)
    topics = np.full(n_lanes * n_particles, stepper.start, np.int64)
    ancestors = np.empty_like(topics)
    log_evidence = np.empty((steps, n_lanes))
    history = np.empty((steps, n_lanes), np.int32)
    word_ids, ids = torch.from_numpy(words), torch.from_numpy(topics)
    for t in range(steps):
        lanes = running[t]
        rows = lanes * n_particles
        theta = stepper.step(ids[:rows], h[:rows], c[:rows])  # (rows, K)
        filter_step(
            theta.numpy(),
            emission.likelihood(word_ids[t, :lanes]).numpy(),  # (lanes, K)
            uniforms[t, :lanes],
            config.threshold,
            weights[:lanes],
            topics[:rows],
            ancestors[:rows],
            log_evidence[t, :lanes],
        )
        if n_particles > 1:
            source = torch.from_numpy(ancestors[:rows])
            h[:rows], c[:rows] = h.index_select(0, source), c.index_select(0, source)
        history[t, :lanes] = topics[:rows:n_particles]

    for lane, d in enumerate(documents):
        span = slice(corpus.offsets[d], corpus.offsets[d + 1])
        out.topics[span] = history[: lengths[lane], lane]
        out.log_evidence[span] = log_evidence[: lengths[lane], lane]
        if not np.isfinite(out.log_evidence[span]).all():
            raise FloatingPointError(
                f"document {d} has probability 0 or NaN under the model: use a β above 0, "
                "and a smaller learning rate if training diverged"
            )
