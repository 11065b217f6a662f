"""Kernels over topic histories: particle filter, conditional filter (particle Gibbs), beam."""

import math

import numpy as np
from numba import njit

from lla.samplers.random import draw_index, systematic_resample


@njit(nogil=True, cache=True)
def filter_step(theta, likelihood, uniforms, threshold, weights, topics, ancestors, log_evidence):
    """One time step of the fully adapted particle filter over topics, for L lanes of P particles.

    A particle's predictive probability of the word is m_p = Σ_k θ_pk p(w | k); the evidence is
    Σ_p W_p m_p; W_p m_p are the new weights; where their effective number falls below
    `threshold`·P they are resampled, and then z_p is drawn from θ_pk p(w | k) / m_p, equation 2
    of the paper. P = 1 is the SE-step as printed.

    Parameters
    ----------
    theta : (L·P, K) topic proportions, particles of a lane side by side; (L, K) where a lane's
        particles share them
    likelihood : (L, K) p(w | z = k) of each lane's word; (L·P, K) where histories matter to it
    uniforms : (L, P + 1) in [0, 1); the last column resamples
    threshold : share of P in [0, 1]
    weights : (L, P) float64, updated
    topics, ancestors : (L·P,) int64 outputs; ancestor r is particle r mod P of lane r div P
    log_evidence : (L,) output, nats; -inf when no topic can emit the word, and then nothing is
        drawn in that lane
    """
    n_lanes, n_particles = weights.shape
    n_topics = theta.shape[1]
    shares, forgets = theta.shape[0] == n_lanes, likelihood.shape[0] == n_lanes
    mass = np.empty(n_particles)
    source = np.empty(n_particles, np.int64)
    joint = np.empty(n_topics)
    for lane in range(n_lanes):
        first = lane * n_particles
        total = 0.0
        for p in range(n_particles):
            m = 0.0
            i, j = lane if shares else first + p, lane if forgets else first + p
            for k in range(n_topics):
                m += theta[i, k] * likelihood[j, k]
            mass[p] = m
            weights[lane, p] *= m
            total += weights[lane, p]
        if not total > 0.0:
            log_evidence[lane] = -np.inf
            for p in range(first, first + n_particles):
                ancestors[p] = p
            continue
        log_evidence[lane] = math.log(total)
        squares = 0.0
        for p in range(n_particles):
            weights[lane, p] /= total
            squares += weights[lane, p] * weights[lane, p]
            source[p] = p
        if n_particles > 1 and 1.0 / squares < threshold * n_particles:
            systematic_resample(weights[lane], uniforms[lane, n_particles], source)
            weights[lane] = 1.0 / n_particles
        for p in range(n_particles):
            row = first + source[p]
            ancestors[first + p] = row
            i, j = lane if shares else row, lane if forgets else row
            for k in range(n_topics):
                joint[k] = theta[i, k] * likelihood[j, k]
            topics[first + p] = draw_index(joint, uniforms[lane, p] * mass[source[p]])


@njit(nogil=True, cache=True)
def trace_paths(topics, ancestors, lengths, weights, uniforms, history):
    """One whole history of each lane: a last particle drawn by its weight, and its ancestors back.

    Parameters
    ----------
    topics, ancestors : (T, L·P) what every step of the filter drew, as `filter_step` gives them
    lengths : (L,) tokens of each lane's document
    weights : (L, P) after the last token
    uniforms : (L,) in [0, 1)
    history : (T, L) output; what stands past a document's end is left as it is
    """
    n_lanes, n_particles = weights.shape
    for lane in range(n_lanes):
        target = uniforms[lane] * weights[lane].sum()
        row = lane * n_particles + draw_index(weights[lane], target)
        for t in range(lengths[lane] - 1, -1, -1):
            history[t, lane] = topics[t, row]
            row = ancestors[t, row]


@njit(nogil=True, cache=True)
def weigh_particles(theta, likelihood, threshold, weights, mass, log_evidence, before, resample):
    """Weights after this word, and which lanes are due to resample.

    Parameters
    ----------
    theta : (L·P, K) topic proportions, particles of a lane side by side
    likelihood : (L, K) p(w | z = k) of each lane's word
    threshold : share of P below which the effective number of particles must not fall
    weights : (L, P) float64, updated; where a lane resamples, what it resamples from
    mass : (L·P,) output, m_p = Σ_k θ_pk p(w | k)
    log_evidence : (L,) output, log Σ_p W_p m_p
    before : (L, P) output, the weights as they came in
    resample : (L,) bool output
    """
    n_lanes, n_topics = likelihood.shape
    n_particles = weights.shape[1]
    for lane in range(n_lanes):
        total = 0.0
        for p in range(n_particles):
            row = lane * n_particles + p
            m = 0.0
            for k in range(n_topics):
                m += theta[row, k] * likelihood[lane, k]
            mass[row] = m
            before[lane, p] = weights[lane, p]
            weights[lane, p] *= m
            total += weights[lane, p]
        resample[lane] = False
        log_evidence[lane] = math.log(total) if total > 0.0 else -np.inf
        if not total > 0.0:
            continue
        squares = 0.0
        for p in range(n_particles):
            weights[lane, p] /= total
            squares += weights[lane, p] * weights[lane, p]
        resample[lane] = 1.0 / squares < threshold * n_particles


@njit(nogil=True, cache=True)
def conditional_step(
    theta, likelihood, uniforms, mass, resample, kin, reference, weights, topics, ancestors
):
    """Ancestors and topics of every particle; particle 0 takes the reference's topic.

    Where a lane resamples, particles 1 to P - 1 draw ancestors by their weights and particle 0 by
    `kin`, ancestor sampling (Lindsten, Jordan & Schön, 2014); then all weigh the same. Topics of
    the others are drawn from θ_pk p(w | k) / m_p, equation 2 of the paper.

    Parameters
    ----------
    uniforms : (L, 2P) in [0, 1): P for ancestors, P for topics
    resample : (L,) bool
    kin : (L, P) not normalised: how well each particle's past goes with the reference's future
    reference : (L,) topics of the conditional history at this word
    topics, ancestors : (L·P,) int64 outputs; `ancestors` are rows of `theta`
    """
    n_lanes, n_topics = likelihood.shape
    n_particles = weights.shape[1]
    joint = np.empty(n_topics)
    for lane in range(n_lanes):
        first = lane * n_particles
        for p in range(n_particles):
            source = p
            if resample[lane]:
                of = kin[lane] if p == 0 else weights[lane]
                source = draw_index(of, uniforms[lane, p] * of.sum())
            row = first + source
            ancestors[first + p] = row
            if p == 0:
                topics[first] = reference[lane]
                continue
            for k in range(n_topics):
                joint[k] = theta[row, k] * likelihood[lane, k]
            topics[first + p] = draw_index(joint, uniforms[lane, n_particles + p] * mass[row])
        if resample[lane]:
            weights[lane] = 1.0 / n_particles


@njit(nogil=True, cache=True)
def beam_step(theta, likelihood, scores, topics, ancestors):
    """Extend every history by every topic and keep the P of highest log p(z, w).

    Parameters
    ----------
    theta : (L·P, K); likelihood : (L, K)
    scores : (L, P) log p(z, w) so far, -inf for places not filled; updated, the best first
    topics, ancestors : (L·P,) int64 outputs; `ancestors` are rows of `theta`
    """
    n_lanes, n_topics = likelihood.shape
    width = scores.shape[1]
    best = np.empty(width)
    for lane in range(n_lanes):
        first = lane * width
        best[:] = -np.inf
        for p in range(width):
            ancestors[first + p] = first + p
            topics[first + p] = 0
        for p in range(width):
            if scores[lane, p] == -np.inf:
                continue
            for k in range(n_topics):
                joint = theta[first + p, k] * likelihood[lane, k]
                if not joint > 0.0:
                    continue
                score = scores[lane, p] + math.log(joint)
                if score <= best[width - 1]:
                    continue
                place = width - 1  # insertion keeps the list sorted, the first found first
                while place > 0 and best[place - 1] < score:
                    best[place] = best[place - 1]
                    topics[first + place] = topics[first + place - 1]
                    ancestors[first + place] = ancestors[first + place - 1]
                    place -= 1
                best[place] = score
                topics[first + place] = k
                ancestors[first + place] = first + p
        scores[lane] = best


@njit(nogil=True, cache=True)
def trace_back(topics, ancestors, lengths, last, path):
    """The history that ends in particle `last` of each lane.

    Parameters
    ----------
    topics, ancestors : (T, L, P) topic of each particle, and its particle one word before
    lengths, last : (L,)
    path : (T, L) output
    """
    for lane in range(lengths.shape[0]):
        p = last[lane]
        for t in range(lengths[lane] - 1, -1, -1):
            path[t, lane] = topics[t, lane, p]
            p = ancestors[t, lane, p]
