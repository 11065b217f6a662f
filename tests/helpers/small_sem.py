"""A small fit of stochastic EM, and what it means for two fits to be the same."""

import tempfile
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import torch
from simulated import random_corpus

from lla.corpus import split_corpus
from lla.sem import SEMConfig, fit_sem

SMALL = SEMConfig(
    n_topics=3,
    beta=0.05,
    n_iterations=5,
    initial_epochs=2,
    patience=5,
    development_particles=2,
    embedding_size=5,
    hidden_size=6,
    dropout=0.2,
    learning_rate=0.02,
    batch_size=8,
    window=6,
)


def small_split():
    return split_corpus(random_corpus(30, longest=25, seed=4))


def start_topics(split, n_topics=3):
    return np.random.default_rng(5).integers(n_topics, size=split.observed.n_tokens, dtype=np.int32)


def small_fit(checkpoint=None, on_iteration=None, n_threads=1, seed=3, **options):
    split = small_split()
    config = replace(SMALL, **options)
    topics = start_topics(split, config.n_topics)
    return fit_sem(
        split,
        config,
        seed,
        start=topics,
        checkpoint=checkpoint,
        on_iteration=on_iteration,
        n_threads=n_threads,
    )


@cache
def whole_fit(**options):
    """`small_fit` from start to end: made once for all tests that compare with it, none changes it.

    Not for tests that replace a part of the fit.
    """
    return small_fit(**options)


@cache
def checkpoints(**options):
    """The fit of `whole_fit`, and its checkpoint after each iteration: number -> bytes."""
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "sem.safetensors"

        def keep(state):
            found[state.iteration] = path.read_bytes()

        return small_fit(path, keep, **options), found


def without_seconds(history):
    return [{k: v for k, v in row.items() if not k.endswith("seconds")} for row in history]


def assert_same_fit(one, other):
    """Models and histories are the same to the last bit, the time they took apart."""
    assert without_seconds(one.history) == without_seconds(other.history)
    assert one.topics.tobytes() == other.topics.tobytes()
    assert one.emission.phi.numpy().tobytes() == other.emission.phi.numpy().tobytes()
    weights, others = one.network.state_dict(), other.network.state_dict()
    assert weights.keys() == others.keys()
    assert all(torch.equal(weights[name], others[name]) for name in weights)
    assert one.fingerprint() == other.fingerprint()


class Stop(Exception):
    pass


def stop_after(iteration):
    def stop(state):
        if state.iteration == iteration:
            raise Stop

    return stop
