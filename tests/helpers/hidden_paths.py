"""Simulated clicks with every hidden path written out, from the story and in plain Python."""

import numpy as np

from data_prep.clicks.world import FLIGHTS, HOTELS


def emission(world, history, w, k):
    """p(w | leaf k, history), from the story: repeat an own item of the leaf, or draw a new one."""
    own = [v for v in history if world.phi[v, k] > 0]
    if not own:
        return world.phi[w, k]
    repeat = world.rho[k] * len(own) / (len(own) + world.habit[k])
    return repeat * own.count(w) / len(own) + (1 - repeat) * world.phi[w, k]


def next_leaf(world, kind, leaf, pending_hotel):
    """p(next leaf | leaf, whether a hotel is pending), at whichever node the leaf is entered."""
    (node,) = np.flatnonzero((world.node_leaf == leaf) & (world.pending_hotel == pending_hotel))
    return np.bincount(world.node_leaf, world.transition[kind, node], len(world.leaves))


def leaf_masses(world, words, length):
    """p(w_1..w_t-1, leaf_t = k) for t = 1..length, (length, L), events after `words` not seen.

    Sums over types and over all sequences of stays and their lengths; whether a hotel is pending
    follows from the leaves before.
    """
    mass = np.zeros((length, len(world.leaves)))

    def dwell(kind, t, k, p, pending_hotel):
        pending_hotel = (pending_hotel or world.leaves[k] == FLIGHTS) and world.leaves[k] != HOTELS
        for r, p_r in enumerate(world.dwell[k], 1):
            q = p * p_r
            for i in range(t, min(t + r, length)):
                mass[i, k] += q
                q *= emission(world, words[:i], words[i], k) if i < len(words) else 1.0
            if t + r < length and q > 0:
                for new, move in enumerate(next_leaf(world, kind, k, pending_hotel)):
                    if move > 0:
                        dwell(kind, t + r, new, q * move, pending_hotel)

    for kind, first in enumerate(world.initial):
        for k, p in enumerate(np.bincount(world.node_leaf, first, len(world.leaves))):
            dwell(kind, 0, k, p, False)
    return mass
