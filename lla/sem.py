"""Stochastic EM (Algorithm 1): topics of LDA start it, then SE-step and M-step take turns.

    topics = those of LDA
    M-step: the LSTM learns log p(topics); φ in closed form from their counts
    repeat
        SE-step: draw every topic z_t given the LSTM and φ
        M-step
    until the development perplexity no longer falls

What can be configured is `SEMConfig` (`lla.inference.config`), what changes is `SEM`
(`lla.inference.state`).
"""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from time import perf_counter

import numpy as np
import torch

from lla.common.checkpoint import check_checkpoint, only_fit, restoring, stops
from lla.common.errors import (
    InputError,
    check_callback,
    check_development,
    check_instance,
    check_seed,
)
from lla.common.files import load_arrays
from lla.common.parallel import ALONE, Pool, Workers, thread_pool
from lla.common.progress import progress
from lla.common.random import StreamId
from lla.corpus import DESCRIPTION, Corpus, Split
from lla.inference.batch import Stepper
from lla.inference.config import EARLIER_DEFAULTS, SEMConfig, saved_config
from lla.inference.device import dense_topics, find_device, on_device
from lla.inference.emission import Emission, SharedEmission
from lla.inference.filter import FilterConfig, FilterResult, infer
from lla.inference.gradient import averaged_weights, check_bfloat16, train_epoch
from lla.inference.histories import HistoryConfig, beam_topics, particle_gibbs
from lla.inference.metropolis import MHConfig, MHResult, mh_sweep
from lla.inference.objectives import GatedSoftmax, Objective, marginal, softmax_of
from lla.inference.state import (
    SEM,
    best_weights,
    check_start,
    count_weights,
    emission_of,
    identity_of,
    initial_state,
    origins_of,
    renew_sources,
    renew_tables,
    restore,
    restore_sampled,
    resume,
    sampled_arrays,
    save,
    source_shares,
    split_identity,
    topics_of,
    user_spread,
)
from lla.lstm import Network
from lla.model import Model

__all__ = ["EARLIER_DEFAULTS", "SEM", "SEMConfig", "config_of", "fit_sem", "load_sem"]


def fit_sem(
    split: Split,
    config: SEMConfig,
    seed: int,
    *,
    start: np.ndarray | None = None,
    checkpoint: str | Path | None = None,
    on_iteration: Callable[[SEM], None] | None = None,
    n_threads: int | None = None,
    device: str | None = None,
    workers: Workers = ALONE,
) -> Model:
    """Train a model of Table 1 on the observed part of every document (Algorithm 1).

    Parameters
    ----------
    split : the observed tokens are trained on; the development documents decide when to stop
    start : (N_observed,) topics to start from, LDA's; None for an LSTM over words
    checkpoint : file to save to after every iteration, and to go on from when it is there
    on_iteration : called after each iteration
    device : a Torch device, such as "cuda", for the M-step and for topic LLA's exact SE-step; its
        rounding differs, so draws differ now and then from those of the CPU
    workers : the processes that share the fit, which does not depend on their number. All call this
        with the same arguments, all return the same model; the first writes the checkpoint

    Returns
    -------
    The model of the best iteration; its history has one row per iteration (see `SEM`).

    Raises
    ------
    InputError
        When an argument is not what it should be; when `start` does not fit the split or K, no
        development document has a held-out word, or the checkpoint cannot be written, is broken, is
        of another fit, or is in use by one that runs.
    """
    check_instance("split", split, Split)
    check_instance("config", config, SEMConfig)
    check_callback("on_iteration", on_iteration)
    check_instance("workers", workers, Workers)
    seed = check_seed(seed)
    checkpoint = check_checkpoint(checkpoint)
    observed, config = split.observed, config.resolved()
    start = check_start(split, start, config)
    check_development(split)
    torch_device = None if device is None else find_device(device)
    check_bfloat16(bool(config.bfloat16), torch_device or torch.device("cpu"))
    identity = identity_of(split, start, seed)
    state = resume(checkpoint, identity, config, observed)
    state = state or initial_state(observed, start, config, seed)
    workers.check_same("corpus, setting or checkpoint", f"{identity} {config} {state.iteration}")
    bar = progress(
        total=n_passes(config, config.n_iterations),
        initial=n_passes(config, state.iteration),
        description=f"{config.model}{', joint' if config.draws_topics else ''}, seed {seed}",
        unit="pass",
    )
    written = checkpoint if workers.is_first else None
    only = only_fit(written, finished(state, config))
    with bar, only, thread_pool(n_threads, workers) as pool:
        while not finished(state, config):
            iteration, iteration_start = state.iteration + 1, perf_counter()
            info = {"changed": 0.0}
            if config.draws_topics and iteration > 1:  # the first LSTM learns from LDA's topics
                with averaged_weights(state.network, state.optimizer):
                    info = se_steps(state, observed, config, seed, pool, torch_device)
            with on_device(state.network, torch_device, state.optimizer):
                loss = m_step(state, observed, config, seed, pool, bar.update)
            weights = state.network.state_dict().values()
            workers.check_same("network", *(value.numpy() for value in weights))
            with averaged_weights(state.network, state.optimizer):
                emission = emission_of(state, observed, config, workers)
                perplexity = development_perplexity(
                    state.network, emission, split, config, seed, pool
                )
                state.iteration = iteration
                row = {
                    "iteration": iteration,
                    "topic_loss" if config.learns_topics else "word_loss": loss,
                    "changed": info.pop("changed"),
                    "development_perplexity": perplexity,
                    "seconds": perf_counter() - iteration_start,
                    **info,
                    **source_shares(state, config),
                    **count_weights(state),
                    **user_spread(state),
                    **(emission.summary() if emission else {}),
                }
                state.history.append(row)
                if state.best_iteration == iteration:
                    state.best = {}  # free the old copy first
                    state.best = best_weights(state)
            if written:
                save(written, identity, config, state)
            if on_iteration:
                on_iteration(state)
    return best_model(state, split, config, seed)


def se_steps(
    state: SEM,
    observed: Corpus,
    config: SEMConfig,
    seed: int,
    pool: Pool,
    device: torch.device | None,
) -> dict[str, float]:
    """The SE-steps of an iteration, the emission renewed after each; diagnostics of the last."""
    info = {"changed": 0.0}
    reads_emission = config.resolved().se_step != "mh"
    for number in range(config.se_steps):
        emission = emission_of(state, observed, config, pool.workers) if reads_emission else None
        key = (state.iteration + 1, number) if number else (state.iteration + 1,)
        se_start = perf_counter()
        info = se_step(
            state.network,
            emission,
            observed,
            state.topics,
            config,
            seed=seed,
            key=key,
            pool=pool,
            device=device,
        )
        renew_tables(state, observed, config, seed, key)
        renew_sources(state, observed, config)
        info["se_seconds"] = perf_counter() - se_start
    return info


def se_step(
    network: Network,
    emission: Emission | None,
    observed: Corpus,
    topics: np.ndarray,
    config: SEMConfig,
    *,
    seed: int,
    key: tuple[int, ...],
    pool: Pool,
    device: torch.device | None = None,
) -> dict[str, float]:
    """Draw the topics of all tokens anew, in place: `topics` (N,) may be large.

    The samplers: "exact", every z_t from θ_t,k p(w_t | k) given z_<t (equation 2), on a `device` in
    Torch where topics are read and φ is shared; "filter", full trajectories of a particle filter,
    so later words influence earlier topics; "gibbs" and "beam" (see `inference.histories`); "mh"
    (see `inference.metropolis`).

    Parameters
    ----------
    emission : p(w | z, history); None for "mh", which counts φ from the topics itself

    Returns
    -------
    info : the share of topics that changed, then the diagnostics of the sampler
    """
    config = config.resolved()
    sampler, stream_key = config.se_step, (StreamId.SE_STEP, *key)
    users = np.arange(observed.n_documents)
    if sampler in ("gibbs", "beam") and config.se_particles == 1:
        sampler = "exact"  # a single history is drawn, or chosen, token by token
    description = f"SE-step {key[0]}"
    out = FilterResult(topics, log_evidence=None)
    reads_topics = network.config.input == "topic"
    result: FilterResult | MHResult
    if sampler == "mh":
        result = mh_sweep(
            network,
            observed,
            topics,
            config.beta,
            MHConfig(config.n_mh, bfloat16=bool(config.bfloat16)),
            seed=seed,
            key=stream_key,
            pool=pool,
            description=description,
            out=topics,
        )
    elif sampler == "gibbs":
        assert isinstance(emission, SharedEmission), "SEMConfig allows no other"
        result = particle_gibbs(
            Stepper(network, users=users),
            emission,
            observed,
            topics,
            HistoryConfig(config.se_particles),
            seed=seed,
            key=stream_key,
            pool=pool,
            description=description,
            out=out,
        )
    elif sampler == "beam":
        assert isinstance(emission, SharedEmission), "SEMConfig allows no other"
        result = beam_topics(
            Stepper(network, users=users),
            emission,
            observed,
            config.se_particles,
            pool=pool,
            description=description,
            out=out,
        )
    elif sampler == "exact" and device and reads_topics and isinstance(emission, SharedEmission):
        with on_device(network, device):
            result = dense_topics(
                network,
                emission,
                observed,
                seed=seed,
                key=stream_key,
                workers=pool.workers,
                description=description,
                out=out,
                users=users,
            )
    else:
        assert emission is not None, "a model that draws topics has one"
        n_particles = config.se_particles if sampler == "filter" else 1
        result = infer(
            network,
            emission,
            observed,
            FilterConfig(n_particles, trajectories=sampler == "filter"),
            seed=seed,
            key=stream_key,
            pool=pool,
            description=description,
            out=out,
            counted=np.ones(len(topics), bool) if config.sources else None,
            users=users,
        )
    return {"changed": result.changed / max(1, len(topics)), **result.info}


def m_step(
    state: SEM,
    observed: Corpus,
    config: SEMConfig,
    seed: int,
    pool: Pool,
    after_pass: Callable[[], object] = lambda: None,
) -> float:
    """Adam on log p(targets), passes as configured; the last pass's mean loss, nats per token.

    The targets are topics, and words where topics are summed out or absent. φ in closed form is
    `emission_of`.
    """
    iteration, loss = state.iteration + 1, float("nan")
    reads_topics = state.network.config.input == "topic"
    targets = state.topics if config.learns_topics else observed.words
    inputs = state.topics if reads_topics else observed.words
    for epoch in range(config.initial_epochs if iteration == 1 else config.epochs):
        loss = train_epoch(
            state.network,
            state.optimizer,
            inputs=inputs,
            targets=targets,
            offsets=observed.offsets,
            config=config.train,
            seed=seed,
            key=(StreamId.M_STEP, iteration, epoch),
            pool=pool,
            description=f"M-step {iteration}",
            objective=objective_of(state.network, targets, config),
            bfloat16=bool(config.bfloat16),
        )
        after_pass()
    return loss


def objective_of(network: Network, targets: np.ndarray, config: SEMConfig) -> Objective:
    """What the M-step minimises, as configured."""
    if config.objective == "marginal":
        return marginal
    if config.has_gate:
        return GatedSoftmax(config.n_topics, len(config.sources))
    return softmax_of(targets, network.config.n_outputs, config.train.n_samples)


def n_passes(config: SEMConfig, n_iterations: int) -> int:
    """Passes over the corpus in the M-steps of so many iterations; the first has its own number."""
    return config.initial_epochs + (n_iterations - 1) * config.epochs if n_iterations else 0


def finished(state: SEM, config: SEMConfig) -> bool:
    """Whether all iterations are done, or `patience` of them brought no better model."""
    return stops(state.history, config.n_iterations, config.patience)


def development_perplexity(
    network: Network,
    emission: Emission | None,
    split: Split,
    config: SEMConfig,
    seed: int,
    pool: Pool,
) -> float:
    """Perplexity of the held-out part of the development documents.

    Every iteration sees the same uniforms, so that iterations differ by their model alone.
    """
    part = split.restrict(split.development)
    log_evidence = np.empty(part.corpus.n_tokens)
    infer(
        network,
        emission,
        part.corpus,
        FilterConfig(n_particles=config.development_particles),
        seed=seed,
        key=(StreamId.DEVELOPMENT,),
        pool=pool,
        description="development part",
        out=FilterResult(topics=None, log_evidence=log_evidence),
        counted=~part.held_out if config.sources else None,
        scored=part.held_out,
        users=np.flatnonzero(split.development),
    )
    return float(np.exp(-log_evidence[part.held_out].mean()))


def best_model(state: SEM, split: Split, config: SEMConfig, seed: int) -> Model:
    """The model of the best iteration; the state's network takes its weights."""
    weights = dict(state.best)
    sampled = {name: weights.pop(name).numpy() for name in sampled_arrays(state)}
    restore_sampled(state, sampled)
    state.network.load_state_dict(weights)
    corpus = split.corpus
    return Model(
        state.network,
        emission_of(state, split.observed, config),
        topics_of(state, config),
        vocabulary=corpus.vocabulary,
        provenance={
            "corpus": corpus.fingerprint,
            "data": {name: corpus.manifest.get(name) for name in DESCRIPTION},
            "n_documents": corpus.n_documents,
            "n_observed": split.observed.n_tokens,
            "seed": seed,
            "iteration": state.best_iteration,
            "config": asdict(config),
        },
        history=state.history,
        observed=split.observed,
        origins=origins_of(state, config) if config.sources else np.empty(0, np.int64),
    )


def load_sem(path: str | Path, split: Split) -> Model:
    """The best model that `fit_sem` saved at `path`.

    Raises
    ------
    InputError
        When the file is missing or broken, or was fitted to another corpus or split.
    """
    check_instance("split", split, Split)
    arrays, meta = load_arrays(path)
    if not split_identity(split).items() <= meta.items():
        raise InputError(f"{path}: not an LLA of this corpus and split; fit it again")
    with restoring(Path(path)):
        config = saved_config(meta["config"])
        state = restore(arrays, meta, config, split.observed)
        return best_model(state, split, config, meta["seed"])


def config_of(path: str | Path) -> SEMConfig:
    """The configuration of the fit that `fit_sem` saved at `path`."""
    _, meta = load_arrays(path)
    if meta.get("kind") != "sem":
        raise InputError(f"{path}: not an LLA; give a file that fit_sem(checkpoint=...) wrote")
    with restoring(Path(path)):
        return saved_config(meta["config"])
