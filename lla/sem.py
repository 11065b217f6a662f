"""The SE-step, however topics are drawn."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from time import perf_counter

import numpy as np
import torch

from lla.common.errors import InputError
from lla.common.progress import progress
from lla.common.random import StreamId
from lla.common.threads import thread_pool
from lla.corpus import Corpus, Split
from lla.inference.device import dense_topics, find_device, on_device
from lla.inference.emission import PersonalEmission, SharedEmission
from lla.inference.filter import FilterConfig, FilterResult, infer
from lla.inference.gradient import Objective, SampledSoftmax, full_softmax, marginal, train_epoch
from lla.inference.histories import HistoryConfig, beam_topics, particle_gibbs
from lla.inference.metropolis import MHConfig, mh_sweep
from lla.inference.stepper import Stepper
from lla.lstm import Network
from lla.model import Model
from lla.sem_config import SEMConfig
from lla.sem_state import (
    SEM,
    begin,
    best_model,
    best_weights,
    check,
    emission_of,
    identity_of,
    load_sem,
    renew_tables,
    resume,
    save,
)


def se_step(
    network: Network,
    emission: SharedEmission | PersonalEmission,
    observed: Corpus,
    topics: np.ndarray,
    config: SEMConfig,
    seed: int,
    key: tuple[int, ...],
    pool: ThreadPoolExecutor,
    device: torch.device | None = None,
) -> dict[str, float]:
    """Draw the topics of all tokens anew, `topics` (N,), in place: a second array costs memory.

    Exact: every z_t from θ_t,k p(w_t | k) given z_<t (equation 2). Filter: whole histories of a
    particle filter, which the words after a token have had a say in. On a `device` exact draws
    given topics are those of `dense_step`; all others are made on the CPU.

    Returns
    -------
    told : what the history of a fit says of the draws, the share of topics that changed first
    """
    whole, name, into = (StreamId.SE_STEP, *key), f"SE-step {key[0]}", FilterResult(topics, None)
    kind, told = config.se_step, {}
    if kind in ("gibbs", "beam") and config.se_particles == 1:
        kind = "exact"
    if (
        device
        and kind == "exact"
        and network.config.input == "topic"
        and not emission.history_dependent
    ):
        with on_device(network, device):
            drawn = dense_topics(network, emission, observed, seed, whole, name, into=into)
    elif kind == "mh":
        given = (config.beta, MHConfig(config.n_mh, bfloat16=config.bfloat16), seed, whole)
        drawn = mh_sweep(network, observed, topics, *given, pool, name, into=topics)
        told = {"acceptance": drawn.acceptance, "sparse_share": drawn.sparse_share}
    elif kind == "gibbs":
        carried = HistoryConfig(config.se_particles, lookahead=config.lookahead)
        given = (topics, carried, seed, whole)
        drawn = particle_gibbs(Stepper(network), emission, observed, *given, pool, name, into)
    elif kind == "beam":
        given = (config.se_particles, pool, name, into)
        drawn = beam_topics(Stepper(network), emission, observed, *given)
    else:
        n_particles = config.se_particles if kind == "filter" else 1
        carried = FilterConfig(n_particles, whole=kind == "filter")
        given = (carried, seed, whole, pool, name)
        drawn = infer(network, emission, observed, *given, into=into)
    return {"changed": drawn.changed / max(1, len(topics)), **told}


__all__ = ["SEM", "SEMConfig", "development_perplexity", "fit_sem", "load_sem", "m_step"]


def fit_sem(
    split: Split,
    config: SEMConfig,
    seed: int,
    *,
    start: np.ndarray | None = None,
    checkpoint: Path | None = None,
    on_iteration: Callable[[SEM], None] | None = None,
    n_threads: int | None = None,
    device: str | None = None,
) -> Model:
    """Train a model of Table 1 on the observed part of every document (Algorithm 1).

    Parameters
    ----------
    split : the observed tokens are trained on; the development documents decide when to stop
    start : (N_observed,) topics to start from, LDA's; None for an LSTM over words
    checkpoint : file to resume from, and to save to after every iteration
    on_iteration : called after each iteration
    device : a Torch device, such as "cuda", for the M-step and for topic LLA's exact SE-step; what
        it computes rounds otherwise, so draws differ now and then from those without one

    Returns
    -------
    The model of the best iteration; its history has one row per iteration (see `SEM`).

    Raises
    ------
    InputError
        When `start` does not fit the split or K, no development document has a held-out word, or
        packed windows are asked of a device.
    """
    observed = split.observed
    start = check(split, start, config)
    identity = identity_of(split, start, seed)
    state = resume(checkpoint, identity, config, observed)
    state = state or begin(observed, start, config, seed)
    place = find_device(device) if device else None
    if place and config.packed:
        raise InputError(
            f"packed and device {device} are given: packed windows are the CPU's alone"
        )
    name = f"{config.model}{', joint' if config.draws_topics else ''}, seed {seed}"
    done, most = state.iteration, config.n_iterations
    passes, gone = n_passes(config, most), n_passes(config, done)
    bar = progress(total=passes, initial=gone, description=name, unit="pass")
    with bar, thread_pool(n_threads) as pool:
        while not _finished(state, config):
            iteration, begun = state.iteration + 1, perf_counter()
            # The first LSTM learns from LDA's topics.
            told = {"changed": 0.0}
            for draw in range(config.se_steps if config.draws_topics and iteration > 1 else 0):
                emission = emission_of(state, observed, config)
                key = (iteration, draw) if draw else (iteration,)
                began = perf_counter()
                told = se_step(
                    *(state.network, emission, observed, state.topics, config, seed, key, pool),
                    device=place,
                )
                renew_tables(state, observed, config, seed, key)
                told["se_seconds"] = perf_counter() - began
            moved = on_device(state.network, place, state.optimizer) if place else nullcontext()
            with moved:
                loss = m_step(state, observed, config, seed, iteration, pool, bar.update)
            emission = emission_of(state, observed, config)
            perplexity = development_perplexity(state.network, emission, split, config, seed, pool)
            state.iteration = iteration
            row = {
                "iteration": iteration,
                "topic_loss" if config.learns_topics else "word_loss": loss,
                "changed": told.pop("changed"),
                "development_perplexity": perplexity,
                "seconds": perf_counter() - begun,
                **told,
            }
            if emission:
                row |= emission.told()
            state.history.append(row)
            if state.best_iteration == iteration:
                state.best = {}  # the old goes before the new comes
                state.best = best_weights(state)
            if checkpoint:
                save(checkpoint, identity, config, state)
            if on_iteration:
                on_iteration(state)
    return best_model(state, split, config, seed)


def n_passes(config: SEMConfig, n_iterations: int) -> int:
    """Passes over the corpus in the M-steps of so many iterations; the first has more than one."""
    return config.initial_epochs + (n_iterations - 1) * config.epochs if n_iterations else 0


def m_step(
    state: SEM,
    observed: Corpus,
    config: SEMConfig,
    seed: int,
    iteration: int,
    pool: ThreadPoolExecutor,
    after_pass: Callable[[], object] = lambda: None,
) -> float:
    """Adam on log p(targets), passes as configured; the last pass's mean loss, nats a token.

    The targets are topics, and words where topics are summed out or absent.
    """
    loss = float("nan")
    reads_topics = state.network.config.input == "topic"
    targets = state.topics if config.learns_topics else observed.words
    for epoch in range(config.initial_epochs if iteration == 1 else config.epochs):
        loss = train_epoch(
            state.network,
            state.optimizer,
            state.topics if reads_topics else observed.words,
            targets,
            observed.offsets,
            config.train,
            seed,
            (StreamId.M_STEP, iteration, epoch),
            pool,
            f"M-step {iteration}",
            objective_of(state.network, targets, config),
            config.bfloat16,
            config.packed,
        )
        after_pass()
    return loss


def objective_of(network: Network, targets: np.ndarray, config: SEMConfig) -> Objective:
    """What the M-step minimises, as configured."""
    if config.objective == "marginal":
        return marginal
    if config.train.n_samples:
        n_samples, proposal = config.train.n_samples, config.train.proposal
        n_outputs = network.config.n_outputs
        return SampledSoftmax.of_targets(targets, n_outputs, n_samples, proposal)
    return full_softmax


def development_perplexity(
    network: Network,
    emission: SharedEmission | PersonalEmission | None,
    split: Split,
    config: SEMConfig,
    seed: int,
    pool: ThreadPoolExecutor,
) -> float:
    """Perplexity of the held-out part of the development documents.

    Every iteration sees the same uniforms, so that iterations differ by their model alone.
    """
    part = split.restrict(split.development)
    particles = FilterConfig(n_particles=config.development_particles)
    key, name = (StreamId.DEVELOPMENT,), "development part"
    into = FilterResult(None, np.empty(part.corpus.n_tokens))
    infer(network, emission, part.corpus, particles, seed, key, pool, name, into=into)
    return float(np.exp(-into.log_evidence[part.held_out].mean()))


def _finished(state: SEM, config: SEMConfig) -> bool:
    waited = state.iteration - state.best_iteration
    return state.iteration >= config.n_iterations or waited >= config.patience
