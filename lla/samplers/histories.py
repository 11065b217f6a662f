"""Kernels over topic histories: particle filter, conditional filter (particle Gibbs), beam.

Arrays hold L lanes (documents) of P particles: row l·P + p is particle p of lane l.
"""

import math
from typing import NamedTuple

import numpy as np

from lla.common.compile import njit


@njit(nogil=True)
def draw_index(weights, target):
    """Index k at which the running sum of `weights` first exceeds `target`.

    Rounding can leave the last running sum below `target`; then the last index of positive
    weight is returned, so that an index of weight zero is never drawn.
    """
    running = 0.0
    last = 0
    for k in range(weights.shape[0]):
        if weights[k] > 0.0:
            running += weights[k]
            last = k
            if running > target:
                return k
    return last


@njit(nogil=True)
def systematic_resample(weights, uniform, ancestors):
    """Systematic resampling: ancestor p is the particle at (p + uniform)/P of the running sum."""
    n_particles = weights.shape[0]
    running = weights[0]
    source = 0
    for p in range(n_particles):
        target = (p + uniform) / n_particles
        while running <= target and source < n_particles - 1:
            source += 1
            running += weights[source]
        ancestors[p] = source


@njit(nogil=True)
def predictive_masses(theta, likelihood, lane, n_lanes, mass):
    """m_p = Σ_k θ_pk p(w | k) of one lane's particles, into `mass` (P,)."""
    n_particles = mass.shape[0]
    theta_shared = theta.shape[0] == n_lanes
    likelihood_shared = likelihood.shape[0] == n_lanes
    for p in range(n_particles):
        i = lane if theta_shared else lane * n_particles + p
        j = lane if likelihood_shared else lane * n_particles + p
        m = 0.0
        for k in range(theta.shape[1]):
            m += theta[i, k] * likelihood[j, k]
        mass[p] = m


@njit(nogil=True)
def update_weights(weights, mass, threshold):
    """Weights W_p m_p of one lane's particles, normalised in place.

    Returns
    -------
    log_evidence, resample : log Σ_p W_p m_p, -inf when no topic can emit the word; whether the
        effective number of particles falls below `threshold`·P
    """
    n_particles = weights.shape[0]
    total = 0.0
    for p in range(n_particles):
        weights[p] *= mass[p]
        total += weights[p]
    if not total > 0.0:
        return -math.inf, False
    squares = 0.0
    for p in range(n_particles):
        weights[p] /= total
        squares += weights[p] * weights[p]
    return math.log(total), n_particles > 1 and 1.0 / squares < threshold * n_particles


@njit(nogil=True)
def filter_step(theta, likelihood, uniforms, threshold, weights, topics, ancestors, log_evidence):
    """One time step of the fully adapted particle filter over topics, for L lanes of P particles.

    A particle's predictive probability of the word is m_p = Σ_k θ_pk p(w | k); the evidence is
    Σ_p W_p m_p; W_p m_p are the new weights; where their effective number falls below
    `threshold`·P they are resampled, and then z_p is drawn from θ_pk p(w | k) / m_p, equation 2
    of the paper. P = 1 is the SE-step as printed.

    Parameters
    ----------
    theta, likelihood : topic proportions and p(w | z = k) of each lane's word, (L·P, K) each; or
        (L, K) where a lane's particles share it
    uniforms : (L, P + 1) in [0, 1); the last column resamples
    threshold : share of P in [0, 1]
    weights : (L, P) float64, updated
    topics, ancestors : (L·P,) int64 outputs; `ancestors` are rows
    log_evidence : (L,) output, nats; -inf when no topic can emit the word, and then nothing is
        drawn in that lane
    """
    n_lanes, n_particles = weights.shape
    n_topics = theta.shape[1]
    theta_shared = theta.shape[0] == n_lanes
    likelihood_shared = likelihood.shape[0] == n_lanes
    mass = np.empty(n_particles)
    source = np.empty(n_particles, np.int64)
    joint = np.empty(n_topics)
    for lane in range(n_lanes):
        first = lane * n_particles
        predictive_masses(theta, likelihood, lane, n_lanes, mass)
        log_evidence[lane], resample = update_weights(weights[lane], mass, threshold)
        if log_evidence[lane] == -math.inf:
            for p in range(first, first + n_particles):
                ancestors[p] = p
            continue
        for p in range(n_particles):
            source[p] = p
        if resample:
            systematic_resample(weights[lane], uniforms[lane, n_particles], source)
            weights[lane] = 1.0 / n_particles
        for p in range(n_particles):
            row = first + source[p]
            ancestors[first + p] = row
            i = lane if theta_shared else row
            j = lane if likelihood_shared else row
            for k in range(n_topics):
                joint[k] = theta[i, k] * likelihood[j, k]
            topics[first + p] = draw_index(joint, uniforms[lane, p] * mass[source[p]])


@njit(nogil=True)
def topics_of_sources(theta, likelihood, uniforms, n_topics, topics, ancestors):
    """Draw the topic of every particle whose item `filter_step` found to come from a source.

    Topic k has probability θ_k p(w | k) / Σ_l θ_l p(w | l), as where a topic produced the item.
    Where `filter_step` drew source j, outcome K + j, there stands k + K (j + 1) afterwards.

    Parameters
    ----------
    theta, likelihood : as in `filter_step`: of K topics, then of the sources
    uniforms : those of `filter_step`; within the share of one source a uniform is uniform again
    n_topics : K
    topics, ancestors : (L·P,) int64, as `filter_step` left them; `topics` is updated
    """
    n_lanes = uniforms.shape[0]
    n_particles = topics.shape[0] // n_lanes
    theta_shared = theta.shape[0] == n_lanes
    likelihood_shared = likelihood.shape[0] == n_lanes
    joint = np.empty(theta.shape[1])
    for row in range(topics.shape[0]):
        outcome = topics[row]
        if outcome < n_topics:
            continue
        lane, p = row // n_particles, row % n_particles
        i = lane if theta_shared else ancestors[row]
        j = lane if likelihood_shared else ancestors[row]
        mass, of_topics, before = 0.0, 0.0, 0.0
        for k in range(joint.shape[0]):
            joint[k] = theta[i, k] * likelihood[j, k]
            if k == outcome:
                before = mass
            mass += joint[k]
            if k < n_topics:
                of_topics = mass
        if not joint[outcome] > 0.0:  # no outcome could emit the word, and none was drawn
            topics[row] = 0
            continue
        again = (uniforms[lane, p] * mass - before) / joint[outcome]
        k = draw_index(joint[:n_topics], min(max(again, 0.0), 1.0) * of_topics)
        topics[row] = k + n_topics * (outcome - n_topics + 1)


class ConditionalWeights(NamedTuple):
    """What `weigh_particles` finds and `conditional_step` uses, for L or more lanes.

    weights : (L, P) float64 W_p after this word; where a lane resamples, what it resamples from
    before : (L, P) float64 W_p before this word
    mass : (L, P) float64 m_p = Σ_k θ_pk p(w | k)
    resample : (L,) bool
    """

    weights: np.ndarray
    before: np.ndarray
    mass: np.ndarray
    resample: np.ndarray


@njit(nogil=True)
def weigh_particles(theta, likelihood, threshold, particles, log_evidence):
    """Weights after this word, and which lanes are to be resampled.

    Parameters
    ----------
    theta, likelihood : (L·P, K) topic proportions; (L, K) p(w | z = k) of each lane's word
    threshold : share of P below which the effective number of particles must not fall
    particles : ConditionalWeights, updated
    log_evidence : (L,) output, log Σ_p W_p m_p
    """
    weights, before, mass, resample = particles
    n_lanes = likelihood.shape[0]
    for lane in range(n_lanes):
        for p in range(weights.shape[1]):
            before[lane, p] = weights[lane, p]
        predictive_masses(theta, likelihood, lane, n_lanes, mass[lane])
        log_evidence[lane], resample[lane] = update_weights(weights[lane], mass[lane], threshold)


@njit(nogil=True)
def conditional_step(
    theta, likelihood, uniforms, particles, ancestor_weights, reference, topics, ancestors
):
    """Ancestors and topics of every particle; particle 0 takes the reference's topic.

    Where a lane resamples, particles 1 to P - 1 draw ancestors by their weights and particle 0 by
    `ancestor_weights`, ancestor sampling (Lindsten, Jordan & Schön, 2014); then all have equal
    weights. Topics of the others are drawn from θ_pk p(w | k) / m_p, equation 2 of the paper.

    Parameters
    ----------
    theta, likelihood : as in `weigh_particles`
    uniforms : (L, 2P) in [0, 1): P for ancestors, P for topics
    particles : ConditionalWeights, as `weigh_particles` leaves them; `weights` are updated
    ancestor_weights : (L, P) not normalised: how well each particle's past fits the reference's
        future
    reference : (L,) topics of the conditional history at this word
    topics, ancestors : (L·P,) int64 outputs; `ancestors` are rows
    """
    weights, _, mass, resample = particles
    n_lanes, n_topics = likelihood.shape
    n_particles = weights.shape[1]
    joint = np.empty(n_topics)
    for lane in range(n_lanes):
        first = lane * n_particles
        for p in range(n_particles):
            source = p
            if resample[lane]:
                probabilities = ancestor_weights[lane] if p == 0 else weights[lane]
                source = draw_index(probabilities, uniforms[lane, p] * probabilities.sum())
            row = first + source
            ancestors[first + p] = row
            if p == 0:
                topics[first] = reference[lane]
                continue
            for k in range(n_topics):
                joint[k] = theta[row, k] * likelihood[lane, k]
            target = uniforms[lane, n_particles + p] * mass[lane, source]
            topics[first + p] = draw_index(joint, target)
        if resample[lane]:
            weights[lane] = 1.0 / n_particles


@njit(nogil=True)
def beam_step(theta, likelihood, scores, topics, ancestors):
    """Extend every history by every topic and keep the P of highest log p(z, w).

    Parameters
    ----------
    theta, likelihood : (L·P, K) each, or (L, K) where a lane's histories share it
    scores : (L, P) log p(z, w) so far, -inf for places not filled; updated, the best first
    topics, ancestors : (L·P,) int64 outputs; `ancestors` are rows of `theta`
    """
    n_lanes, width = scores.shape
    n_topics = theta.shape[1]
    theta_shared = theta.shape[0] == n_lanes
    likelihood_shared = likelihood.shape[0] == n_lanes
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
            i = lane if theta_shared else first + p
            j = lane if likelihood_shared else first + p
            for k in range(n_topics):
                joint = theta[i, k] * likelihood[j, k]
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
        for p in range(width):
            scores[lane, p] = best[p]


@njit(nogil=True)
def choose_rows(weights, uniforms, rows):
    """One particle of each lane by its weight, as a row.

    Parameters
    ----------
    weights : (L, P)
    uniforms : (L,) in [0, 1)
    rows : (L,) int64 output
    """
    n_lanes, n_particles = weights.shape
    for lane in range(n_lanes):
        target = uniforms[lane] * weights[lane].sum()
        rows[lane] = lane * n_particles + draw_index(weights[lane], target)


@njit(nogil=True)
def trace_paths(topics, ancestors, lengths, rows, paths):
    """The history that ends in one particle of each lane, followed back through its ancestors.

    Parameters
    ----------
    topics, ancestors : (T, L·P) what every step drew
    lengths : (L,) tokens of each lane's document
    rows : (L,) the particle after the last token
    paths : (T, L) output; entries past a document's end are left as they are
    """
    for lane in range(lengths.shape[0]):
        row = rows[lane]
        for t in range(lengths[lane] - 1, -1, -1):
            paths[t, lane] = topics[t, row]
            row = ancestors[t, row]


@njit(nogil=True)
def count_paths(topics, ancestors, lengths, weights, counts):
    """How often each topic occurs in the histories of a lane's particles, by their weights.

    Parameters
    ----------
    topics, ancestors : (T, L·P) what every step drew
    lengths : (L,) tokens of each lane's document
    weights : (L, P) after the last token
    counts : (L, K) output, added to
    """
    n_particles = weights.shape[1]
    for lane in range(lengths.shape[0]):
        for p in range(n_particles):
            row = lane * n_particles + p
            for t in range(lengths[lane] - 1, -1, -1):
                counts[lane, topics[t, row]] += weights[lane, p]
                row = ancestors[t, row]
