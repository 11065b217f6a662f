"""LDA by collapsed Gibbs sampling: where LLA's topics start, and a baseline.

The dense sampler (`lda.dense`) is the readable reference; the sparse one (`lda.sparse`) is faster
where topics are many. Both draw from the same conditional, in another order.
"""

from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import replace
from pathlib import Path
from time import perf_counter

import numpy as np

from lla.common.arrays import allocate_tokens, blocks, check_topics, id_dtype
from lla.common.checkpoint import check_checkpoint, only_fit
from lla.common.errors import check_callback, check_instance, check_integer, check_seed
from lla.common.parallel import ALONE, Workers, thread_pool
from lla.common.progress import progress
from lla.common.random import StreamId, stream
from lla.corpus import Corpus, Split
from lla.lda.checkpoint import identity_of, load_lda, resume, save
from lla.lda.dense import DenseSampler
from lla.lda.model import LDA, SAMPLERS, SPARSE_FROM, LDAConfig
from lla.lda.sparse import SparseSampler

__all__ = [
    "LDA",
    "SAMPLERS",
    "SPARSE_FROM",
    "LDAConfig",
    "fit_lda",
    "init_lda",
    "load_lda",
    "next_state",
    "sampler_of",
]


def init_lda(
    observed: Corpus, config: LDAConfig, seed: int, start: np.ndarray | None = None
) -> LDA:
    """The state before the first sweep: topics `start` (N,), by default uniform over topics."""
    topics = allocate_tokens(observed.n_tokens, id_dtype(config.n_topics))
    if start is None:
        draw = stream(seed, StreamId.LDA_INITIAL)
        for _, tokens in blocks(observed.offsets, 0, observed.n_documents):
            size = tokens.stop - tokens.start
            topics[tokens] = draw.integers(config.n_topics, size=size, dtype=np.int32)
    else:
        topics[:] = check_topics("start", start, observed.n_tokens, config.n_topics)
    return LDA(config, seed, observed, 0, topics, np.full(config.n_topics, config.alpha))


def fit_lda(
    split: Split,
    config: LDAConfig,
    seed: int,
    *,
    start: np.ndarray | None = None,
    checkpoint: str | Path | None = None,
    checkpoint_every: int = 25,
    on_iteration: Callable[[LDA], None] | None = None,
    n_threads: int | None = None,
    workers: Workers = ALONE,
) -> LDA:
    """Run the sampler over the observed words for `config.n_sweeps` sweeps.

    Parameters
    ----------
    split : its observed tokens are assigned
    seed : every draw follows from it
    start : (N_observed,) topics to start from; by default uniform draws
    checkpoint : file to save to every `checkpoint_every` sweeps, and to go on from when it is there
    on_iteration : called after each sweep
    n_threads : for the shards of the sparse sampler; does not change the result
    workers : the processes that share these shards; their number does not change the result. All
        call this with the same arguments, and all return the same state; the first writes the
        checkpoint. The dense sampler runs whole in each of them

    Raises
    ------
    InputError
        When an argument is not what it should be; when the checkpoint cannot be written, is broken,
        is of another fit or of more sweeps, or is in use by one that runs.
    """
    check_instance("split", split, Split)
    check_instance("config", config, LDAConfig)
    check_callback("on_iteration", on_iteration)
    check_instance("workers", workers, Workers)
    seed = check_seed(seed)
    check_integer("checkpoint_every", checkpoint_every)
    checkpoint = check_checkpoint(checkpoint)
    observed, config = split.observed, config.resolved()
    if start is not None:
        start = check_topics("start", start, observed.n_tokens, config.n_topics)
    identity = identity_of(observed, seed, start)
    state = resume(checkpoint, observed, identity, config)
    state = state or init_lda(observed, config, seed, start)
    workers.check_same("corpus, setting or checkpoint", f"{identity} {config} {state.sweep}")
    bar = progress(
        total=config.n_sweeps, initial=state.sweep, description=f"LDA, seed {seed}", unit="sweep"
    )
    written = checkpoint if workers.is_first else None
    only = only_fit(written, state.sweep >= config.n_sweeps)
    with bar, only, thread_pool(n_threads) as pool:
        sampler = sampler_of(state, workers)
        while state.sweep < config.n_sweeps:
            state = next_state(state, sampler, pool)
            due = state.sweep == config.n_sweeps or state.sweep % checkpoint_every == 0
            if (checkpoint and due) or on_iteration:
                sampler.to_document_order()
            if written and due:
                save(written, identity, state)
            if on_iteration:
                on_iteration(state)
            bar.update()
        sampler.to_document_order()
    return state


def sampler_of(state: LDA, workers: Workers = ALONE) -> DenseSampler | SparseSampler:
    """The sampler that the configuration names, over the state's topics, which it overwrites."""
    observed, config = state.observed, state.config
    if config.sampler == "sparse":
        return SparseSampler(
            words=observed.words,
            offsets=observed.offsets,
            n_words=observed.n_words,
            topics=state.topics,
            n_topics=config.n_topics,
            beta=config.beta,
            n_shards=config.n_shards,
            workers=workers,
        )
    return DenseSampler(
        words=observed.words,
        offsets=observed.offsets,
        n_words=observed.n_words,
        topics=state.topics,
        n_topics=config.n_topics,
        beta=config.beta,
    )


def next_state(state: LDA, sampler: DenseSampler | SparseSampler, pool: Executor) -> LDA:
    """The state after one more sweep of `sampler`, α updated when its turn has come.

    Its topics are in the corpus' order after `sampler.to_document_order`.
    """
    config, alpha = state.config, state.alpha
    sweep, start = state.sweep + 1, perf_counter()
    sampler.sweep(alpha, (state.seed, StreamId.LDA_SWEEP, sweep), pool)
    if config.alpha_every and sweep >= config.alpha_from and sweep % config.alpha_every == 0:
        alpha = sampler.update_alpha(alpha)
    joint = sampler.log_likelihood(alpha, pool)
    return replace(
        state,
        sweep=sweep,
        alpha=alpha,
        log_likelihood=(*state.log_likelihood, joint / max(1, len(state.topics))),
        seconds=state.seconds + perf_counter() - start,
    )
