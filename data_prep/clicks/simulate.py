"""Simulated clicks: histories drawn from a known distribution, as an ordinary corpus."""

from dataclasses import asdict

import numpy as np

from data_prep.clicks.world import INTERESTS, ClickConfig, Tree, World, config_of, make_world
from lla.common.arrays import as_readonly, id_dtype
from lla.common.compile import njit
from lla.common.errors import InputError
from lla.common.random import StreamId, stream
from lla.corpus import Corpus
from lla.corpus.folder import offsets_of
from lla.samplers.histories import draw_index

SOURCE = "simulated clicks"


def simulate_clicks(config: ClickConfig, tree: Tree = INTERESTS) -> tuple[Corpus, np.ndarray]:
    """Draw a corpus; every user has a stream of draws that does not depend on the others.

    Returns
    -------
    corpus, leaves : all items, the most frequent first and those never clicked last, with a
        manifest that names the configuration; and the leaf of each event, (N,) int32
    """
    world = make_world(config, tree)
    words, leaves, lengths = draw_histories(world)
    frequency = np.bincount(words, minlength=config.n_items)
    order = np.array(
        sorted(range(config.n_items), key=lambda i: (-frequency[i], world.vocabulary[i]))
    )
    rank = np.empty(config.n_items, id_dtype(config.n_items))
    rank[order] = np.arange(config.n_items)
    vocabulary = tuple(world.vocabulary[i] for i in order)
    manifest = {
        "source": SOURCE,
        "licence": "none needed: drawn from a seed",
        "clicks": asdict(config),
    }
    return Corpus(as_readonly(rank[words]), offsets_of(lengths), vocabulary, manifest), leaves


def world_of(corpus: Corpus) -> World:
    """The world that a simulated corpus was drawn from, its items in the order of the corpus.

    Raises
    ------
    InputError
        When the manifest has no configuration, or one of another version.
    """
    config = _config(corpus)
    return make_world(config).in_order(corpus.vocabulary)


def true_leaves(corpus: Corpus) -> np.ndarray:
    """The leaf of each event of a simulated corpus, (N,) int32, by drawing it again.

    Raises
    ------
    InputError
        When the corpus is not exactly the one that its manifest describes.
    """
    drawn, leaves = simulate_clicks(_config(corpus))
    if drawn.fingerprint != corpus.fingerprint:
        raise InputError(
            "the corpus is not what its configuration and seed draw here; make it again with "
            "python -m data_prep clicks"
        )
    return leaves


def draw_histories(world: World) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Items (N,) int64 in the world's order, leaves (N,) int32, and histories' lengths (D,)."""
    config = world.config
    words, leaves = [], []
    phi = np.ascontiguousarray(world.phi.T)  # (L, V)
    for d in range(config.n_users):
        draw = stream(config.seed, StreamId.CLICKS, 1, d)
        length = int(draw.integers(config.min_events, config.max_events + 1))
        words.append(np.empty(length, np.int64))
        leaves.append(np.empty(length, np.int32))
        draw_user(
            initial=world.initial,
            transition=world.transition,
            dwell=world.dwell,
            node_leaf=world.node_leaf,
            phi=phi,
            rho=world.rho,
            habit=world.habit,
            uniforms=draw.random((length, 4)),
            words=words[-1],
            leaves=leaves[-1],
        )
    lengths = np.array([len(part) for part in words])
    return np.concatenate(words), np.concatenate(leaves), lengths


@njit(nogil=True)
def draw_user(initial, transition, dwell, node_leaf, phi, rho, habit, uniforms, words, leaves):
    """One history: type and first node, then stays, each event a repeat or new.

    Parameters
    ----------
    initial, transition, stay, node_leaf, rho, habit : as in `World`
    phi : (L, V)
    uniforms : (T, 4) in [0, 1): the next node, the stay there, whether to repeat, which item
    words, leaves : (T,) outputs
    """
    n_nodes = node_leaf.shape[0]
    first = draw_index(initial.ravel(), uniforms[0, 0])
    kind, node = first // n_nodes, first % n_nodes
    left = 0
    for t in range(words.shape[0]):
        if left == 0:
            if t > 0:
                node = draw_index(transition[kind, node], uniforms[t, 0])
            left = draw_index(dwell[node_leaf[node]], uniforms[t, 1]) + 1
        left -= 1
        k = node_leaf[node]
        n_own = 0
        for i in range(t):
            if phi[k, words[i]] > 0.0:
                n_own += 1
        if n_own > 0 and uniforms[t, 2] < rho[k] * n_own / (n_own + habit[k]):
            # One of the earlier events, uniformly: an item repeats in proportion to its count.
            chosen = int(uniforms[t, 3] * n_own)
            for i in range(t):
                if phi[k, words[i]] > 0.0:
                    if chosen == 0:
                        words[t] = words[i]
                        break
                    chosen -= 1
        else:
            words[t] = draw_index(phi[k], uniforms[t, 3])
        leaves[t] = k


def _config(corpus: Corpus) -> ClickConfig:
    values = corpus.manifest.get("clicks")
    if corpus.manifest.get("source") != SOURCE or not isinstance(values, dict):
        raise InputError(
            "this corpus was not simulated, so its distribution is not known; make one with "
            "python -m data_prep clicks"
        )
    return config_of(values)
