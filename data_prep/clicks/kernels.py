"""Exact filtering over type, node and remaining stay: Numba kernels on plain arrays.

`belief` (U, S, R) is p(type, node, events left of the stay | w_1..w_t): at r the present event and
r more. Arrays of a world have the names and shapes of `world.World`.
"""

import math

import numpy as np

from lla.common.compile import njit


@njit(nogil=True)
def start(initial, dwell, node_leaf, belief):
    """The belief before the first event."""
    for u in range(belief.shape[0]):
        for s in range(belief.shape[1]):
            for r in range(belief.shape[2]):
                belief[u, s, r] = initial[u, s] * dwell[node_leaf[s], r]


@njit(nogil=True)
def advance(transition, dwell, node_leaf, belief, enter):
    """Move one event ahead, in place: the stay gets shorter, or ends and another begins.

    Parameters
    ----------
    enter : (S,) work space
    """
    n_types, n_nodes, longest = belief.shape
    for u in range(n_types):
        enter[:] = 0.0
        for s in range(n_nodes):
            over = belief[u, s, 0]
            if over > 0.0:
                for new in range(n_nodes):
                    enter[new] += over * transition[u, s, new]
        for s in range(n_nodes):
            k = node_leaf[s]
            for r in range(longest - 1):
                belief[u, s, r] = belief[u, s, r + 1] + enter[s] * dwell[k, r]
            belief[u, s, longest - 1] = enter[s] * dwell[k, longest - 1]


@njit(nogil=True)
def leaf_mass(belief, node_leaf, out):
    """p(leaf), the belief summed over everything else, into `out` (L,)."""
    out[:] = 0.0
    for u in range(belief.shape[0]):
        for s in range(belief.shape[1]):
            total = 0.0
            for r in range(belief.shape[2]):
                total += belief[u, s, r]
            out[node_leaf[s]] += total


@njit(nogil=True)
def emit(w, phi, rho, habit, own, own_total, out):
    """p(w | leaf, history) for all leaves, into `out` (L,).

    Parameters
    ----------
    own : (V,) n_dw, the user's earlier events by item
    own_total : (L,) number of these that each leaf can emit
    """
    for k in range(out.shape[0]):
        out[k] = phi[w, k]
        if out[k] > 0.0 and own_total[k] > 0.0:
            repeat = rho[k] / (own_total[k] + habit[k])  # of each own event
            out[k] = repeat * own[w] + (1.0 - repeat * own_total[k]) * out[k]


@njit(nogil=True)
def remember(w, phi, own, own_total):
    """Count item `w` as one of the user's own."""
    own[w] += 1.0
    for k in range(own_total.shape[0]):
        if phi[w, k] > 0.0:
            own_total[k] += 1.0


@njit(nogil=True)
def forward_history(
    words, initial, transition, dwell, node_leaf, phi, rho, habit, leaf, log_evidence, ahead
):
    """The forward pass over one history.

    Parameters
    ----------
    words : (T,)
    leaf : (T, L) output, p(leaf_t | w_<t)
    log_evidence : (T,) output, log p(w_t | w_<t), nats; -inf from an impossible event on
    ahead : (T, steps, L) output, p(leaf_t+h | w_<=t) for h = 1..steps; steps may be 0
    """
    shape = (initial.shape[0], initial.shape[1], dwell.shape[1])
    belief = np.empty(shape)
    enter = np.empty(shape[1])
    likelihood = np.empty(phi.shape[1])
    own, own_total = np.zeros(phi.shape[0]), np.zeros(phi.shape[1])
    log_evidence[:] = -np.inf
    start(initial, dwell, node_leaf, belief)
    for t in range(words.shape[0]):
        if t > 0:
            advance(transition, dwell, node_leaf, belief, enter)
        leaf_mass(belief, node_leaf, leaf[t])
        emit(words[t], phi, rho, habit, own, own_total, likelihood)
        evidence = 0.0
        for k in range(likelihood.shape[0]):
            evidence += leaf[t, k] * likelihood[k]
        if not evidence > 0.0:
            return
        log_evidence[t] = math.log(evidence)
        for s in range(shape[1]):
            factor = likelihood[node_leaf[s]] / evidence
            for u in range(shape[0]):
                for r in range(shape[2]):
                    belief[u, s, r] *= factor
        remember(words[t], phi, own, own_total)
        if ahead.shape[1] > 0:
            later = belief.copy()
            for h in range(ahead.shape[1]):
                advance(transition, dwell, node_leaf, later, enter)
                leaf_mass(later, node_leaf, ahead[t, h])


@njit(nogil=True)
def item_probabilities(words, first, leaf, phi, rho, habit, out):
    """p(w_t = w | w_<t) of every item, for the events of one history from `first` on.

    Parameters
    ----------
    words : (T,)
    leaf : (T, L) p(leaf_t | w_<t), as `forward_history` gives it
    phi : (L, V), transposed as against `World.phi`
    out : (T - first, V) output, float64
    """
    n_leaves, n_items = phi.shape
    own_total = np.zeros(n_leaves)
    for t in range(words.shape[0]):
        if t >= first:
            row = out[t - first]
            row[:] = 0.0
            for k in range(n_leaves):
                new = leaf[t, k]
                if own_total[k] > 0.0:
                    repeat = new * rho[k] / (own_total[k] + habit[k])
                    new -= repeat * own_total[k]
                    for i in range(t):
                        if phi[k, words[i]] > 0.0:
                            row[words[i]] += repeat
                for w in range(n_items):
                    row[w] += new * phi[k, w]
        for k in range(n_leaves):
            if phi[k, words[t]] > 0.0:
                own_total[k] += 1.0


@njit(nogil=True)
def item_losses(words, leaves, phi, learned, rho, habit, tau, out):
    """-log p(w_t | leaf_t, earlier items and their leaves) of one history, nats, in four ways.

    Parameters
    ----------
    words, leaves : (T,)
    phi, learned : (L, V) the true φ, and another
    tau : (L,) of an urn, in place of `rho` and `habit` (L,)
    out : (T, 4) output: the truth, which repeats whatever the leaf can emit; an urn; an urn that
        holds only own events of the same leaf, as in personal LLA; that with `learned`
    """
    for t in range(words.shape[0]):
        w, k = words[t], leaves[t]
        n, n_w, m, m_w = 0, 0, 0, 0  # own events the leaf can emit, and of the leaf; w among them
        for i in range(t):
            if phi[k, words[i]] > 0.0:
                n += 1
                n_w += words[i] == w
            if leaves[i] == k:
                m += 1
                m_w += words[i] == w
        repeat = rho[k] / (n + habit[k]) if n > 0 else 0.0
        out[t, 0] = -math.log(repeat * n_w + (1.0 - repeat * n) * phi[k, w])
        out[t, 1] = -math.log((n_w + tau[k] * phi[k, w]) / (n + tau[k]))
        out[t, 2] = -math.log((m_w + tau[k] * phi[k, w]) / (m + tau[k]))
        out[t, 3] = -math.log((m_w + tau[k] * learned[k, w]) / (m + tau[k]))
