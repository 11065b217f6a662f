"""Algorithm 1: stochastic EM for latent LSTM allocation.

`fit_sem` is the whole of it. LDA's assignments come in; then SE-step and M-step alternate until
the development part no longer gains. Without the SE-step the same loop is the independent
learner of section 4.4: an LSTM on LDA's topics.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import perf_counter

import numpy as np

from lla.corpus import Corpus, Split
from lla.emission import SharedEmission
from lla.lstm import Network, Stepper
from lla.model import Model
from lla.particles import FilterConfig, filter_topics
from lla.progress import progress
from lla.sem_state import (
    SEM,
    SEMConfig,
    begin,
    best_model,
    best_weights,
    check,
    emission_of,
    load_sem,
    resume,
    save,
)
from lla.streams import Use
from lla.threads import workers
from lla.train import train_epoch

__all__ = ["SEM", "SEMConfig", "development_perplexity", "fit_sem", "load_sem", "m_step", "se_step"]


def fit_sem(
    split: Split,
    topics: np.ndarray,
    config: SEMConfig,
    seed: int,
    checkpoint: Path | None = None,
    on_iteration: Callable[[SEM], None] | None = None,
    n_threads: int | None = None,
) -> tuple[Model, list[dict[str, float]]]:
    """Train topic LLA on the observed part of every document (Algorithm 1).

    Parameters
    ----------
    split : the observed tokens are trained on; the development documents decide when to stop
    topics : (N_observed,) assignments to start from, LDA's
    checkpoint : file to go on from, and to save to after every iteration
    on_iteration : called after each iteration

    Returns
    -------
    model, history : the model of the best iteration; one row an iteration (see `SEM`)

    Raises
    ------
    InputError
        When `topics` do not fit the split or K, or no development document has a held-out word.
    """
    observed = split.observed
    check(split, topics, config)
    state = resume(checkpoint, split, topics, config, seed) or begin(topics, config, seed)
    name = f"{'joint' if config.joint else 'independent'}, seed {seed}"
    done, most = state.iteration, config.n_iterations
    bar = progress(total=most, initial=done, description=name, unit="iteration")
    with bar, workers(n_threads) as pool:
        while not _finished(state, config):
            iteration, begun = state.iteration + 1, perf_counter()
            emission = emission_of(observed, state.topics, config)
            before = state.topics
            if config.joint and iteration > 1:  # the first LSTM learns from LDA's topics
                state.topics = se_step(state.network, emission, observed, seed, iteration, pool)
                emission = emission_of(observed, state.topics, config)
            loss = m_step(state, observed, config, seed, iteration, pool)
            perplexity = development_perplexity(state.network, emission, split, config, seed, pool)
            state.iteration = iteration
            state.history.append(
                {
                    "iteration": iteration,
                    "topic_loss": loss,
                    "topic_entropy": emission.entropy(),
                    "changed": float(np.mean(state.topics != before)),
                    "development_perplexity": perplexity,
                    "seconds": perf_counter() - begun,
                }
            )
            if state.best_iteration == iteration:
                state.best = best_weights(state)
            if checkpoint:
                save(checkpoint, split, topics, config, seed, state)
            if on_iteration:
                on_iteration(state)
            bar.update()
    return best_model(state, observed, config), state.history


def se_step(
    network: Network,
    emission: SharedEmission,
    observed: Corpus,
    seed: int,
    iteration: int,
    pool: ThreadPoolExecutor,
) -> np.ndarray:
    """Draw every z_t from θ_t,k φ_{w_t,k} given z_<t (equation 2); (N,) int32."""
    key = (Use.SE_STEP, iteration)
    stepper = Stepper(network)
    result = filter_topics(
        stepper, emission, observed, FilterConfig(), seed, key, pool, f"SE-step {iteration}"
    )
    return result.topics


def m_step(
    state: SEM,
    observed: Corpus,
    config: SEMConfig,
    seed: int,
    iteration: int,
    pool: ThreadPoolExecutor,
) -> float:
    """Adam on log p(z), passes as configured; the last pass's mean loss, nats a token."""
    loss = float("nan")
    for epoch in range(config.initial_epochs if iteration == 1 else config.epochs):
        loss = train_epoch(
            state.network,
            state.optimizer,
            state.topics,
            state.topics,
            observed.offsets,
            config.train,
            seed,
            (Use.M_STEP, iteration, epoch),
            pool,
            f"M-step {iteration}",
        )
    return loss


def development_perplexity(
    network: Network,
    emission: SharedEmission,
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
    key = (Use.DEVELOPMENT,)
    result = filter_topics(
        Stepper(network), emission, part.corpus, particles, seed, key, pool, "development part"
    )
    return float(np.exp(-result.log_evidence[part.held_out].mean()))


def _finished(state: SEM, config: SEMConfig) -> bool:
    waited = state.iteration - state.best_iteration
    return state.iteration >= config.n_iterations or waited >= config.patience
