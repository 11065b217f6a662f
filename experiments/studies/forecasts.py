"""Forecasts of the next interests, in the true interests (leaves) of simulated clicks.

A model's topics are its own. p(leaf | z = k), counted where the truth is known, turns a forecast
over topics into one over the true leaves, which can be compared with the oracle's.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from data_prep.clicks import oracle
from data_prep.clicks.simulate import true_leaves, world_of
from experiments import study
from experiments.claims import Scores, scores_of
from experiments.families import FAMILIES, LDA, Settings
from lla.common.errors import InputError
from lla.common.parallel import thread_pool
from lla.common.progress import progress
from lla.corpus import Corpus, Split
from lla.inference.batch import Stepper, columns, running_lanes, sort_by_length
from lla.inference.emission import SharedEmission
from lla.inference.histories import beam_topics
from lla.model import Model
from lla.peers.ddlda import decay_table
from lla.topics.words import ddlda_ahead, lda_ahead, true_topics


def forecasts(
    split: Split,
    lda: Settings,
    models: Mapping[str, Settings],
    ddlda: Settings,
    seed: int,
    cache_dir: Path,
    histories: Sequence[np.ndarray],
    steps: int,
) -> dict[str, np.ndarray]:
    """p(leaf_t+h | history), h = 1..steps, by each model: (histories, steps, L) by name.

    Parameters
    ----------
    split : of simulated clicks
    models : of Table 1, settings by name (`study.plan`); fits in `cache_dir` are read back
    histories : ids of items, the earliest first; none is empty
    """
    start = study.fit(split, LDA.key, lda, seed, cache_dir)
    moved = study.fit(split, FAMILIES["ddlda"].key, ddlda, seed, cache_dir, start=start)
    longest = max(int(split.corpus.lengths.max()), max(map(len, histories)) + steps)
    phi, phi_moved, decay = start.phi(), moved.phi(), decay_table(moved.config, longest)
    ahead = {
        "LDA": [lda_ahead(phi, start.alpha, history, steps) for history in histories],
        "ddLDA": [
            ddlda_ahead(phi_moved, moved.alpha, decay, history, steps) for history in histories
        ],
    }
    topics = {"LDA": start.topics, "ddLDA": moved.topics}
    names = [[split.corpus.vocabulary[w] for w in history] for history in histories]
    for name, settings in models.items():
        model = study.fit(split, name, settings, seed, cache_dir, start=start)
        bar = progress(names, description=f"{name}, seed {seed}, ahead", unit="history")
        ahead[name] = [model.topics_ahead(history, steps) for history in bar]
        topics[name] = model.topics
    return {name: _in_leaves(split, topics[name], of_name) for name, of_name in ahead.items()}


def best_forecasts(split: Split, histories: Sequence[np.ndarray], steps: int) -> np.ndarray:
    """The oracle's, (histories, steps, L)."""
    world, vocabulary = world_of(split.corpus), split.corpus.vocabulary
    named = ([vocabulary[w] for w in history] for history in histories)
    return np.array([oracle.topics_ahead(world, history, steps) for history in named])


def scores_of_first(
    split: Split, seeds: Sequence[int], values: Mapping[str, Sequence[np.ndarray]]
) -> Scores:
    """Values (n,) per seed, by measure, of the first n reported users; every user counts once."""
    n = len(next(iter(values.values()))[0])
    first = split.reported & (split.reported.cumsum() <= n)
    once = {"all": np.ones(split.corpus.n_documents)}
    return scores_of(split, seeds, values, unit="users", counts=once, documents=first)


def _in_leaves(split: Split, topics: np.ndarray, ahead: Sequence[np.ndarray]) -> np.ndarray:
    """Forecasts over topics, (histories, steps, K), in true leaves; `topics` of observed tokens."""
    truth = true_leaves(split.corpus)[~split.held_out]
    n_topics, n_leaves = np.shape(ahead)[-1], len(world_of(split.corpus).leaves)
    return np.array(ahead) @ true_topics(topics, truth, n_topics, n_leaves)


def log_joint(
    stepper: Stepper, emission: SharedEmission, corpus: Corpus, topics: np.ndarray
) -> float:
    """log p(z, w) of all documents, nats, for given topics (N,); the network reads topics."""
    order = sort_by_length(corpus.lengths)
    z = columns(topics, corpus.offsets, order)
    w = columns(corpus.words, corpus.offsets, order)
    phi = emission.phi.numpy()
    h, c = stepper.initial_state(len(order))
    before = np.full(len(order), stepper.start, np.int64)
    total = 0.0
    for t, n in enumerate(running_lanes(corpus.lengths[order])):
        theta = stepper.step(torch.from_numpy(before[:n]), h[:n], c[:n]).numpy()
        joint = theta[np.arange(n), z[t, :n]].astype(np.float64) * phi[w[t, :n], z[t, :n]]
        total += float(np.log(joint).sum())
        before[:n] = z[t, :n]
    return total


def decoded(
    model: Model, corpus: Corpus, widths: Sequence[int], n_threads: int | None = None
) -> dict[str, float]:
    """-log p(z, w), nats per word, of topics found in several ways; lower is likelier.

    Parameters
    ----------
    model : topic LLA with a shared φ
    corpus : what it was trained on

    Returns
    -------
    "drawn", the topics that training ended with, and "beam of P" for each width
    """
    emission = model.emission
    if not isinstance(emission, SharedEmission):
        raise InputError("the model has no shared φ: give a topic LLA with emission shared")
    stepper = Stepper(model.network)
    with thread_pool(n_threads) as pool:
        found = {"drawn": log_joint(stepper, emission, corpus, model.topics)}
        for width in widths:
            best = beam_topics(
                stepper, emission, corpus, width, pool=pool, description=f"beam of {width}"
            )
            assert best.log_evidence is not None
            found[f"beam of {width}"] = float(best.log_evidence.sum())
    return {name: -value / corpus.n_tokens for name, value in found.items()}
