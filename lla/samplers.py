"""Numba kernels on plain arrays: every draw of a topic in the project happens here.

Uniforms come in as arrays, one row a token, so that a result does not depend on how many threads
ran. Each kernel has a plain Python form (`kernel.py_func`) that the tests compare with the
compiled one. All of them release the GIL: callers run disjoint documents in parallel.
"""

import math

import numpy as np
from numba import njit


@njit(nogil=True, cache=True)
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


@njit(nogil=True, cache=True)
def count_topics(words, topics, word_topic, topic_total):
    """Fill n_wk, `word_topic` (V, K), and n_k, `topic_total` (K,), from the assignments."""
    word_topic[:] = 0
    topic_total[:] = 0
    for i in range(words.shape[0]):
        word_topic[words[i], topics[i]] += 1
        topic_total[topics[i]] += 1


@njit(nogil=True, cache=True)
def lda_sweep(words, offsets, topics, word_topic, topic_total, alpha, beta, uniforms):
    """One sweep of collapsed Gibbs sampling for LDA (Griffiths & Steyvers, 2004), in place.

    Every z_i is drawn from (n_dk + α_k) (n_wk + β) / (n_k + Vβ), its own count taken out.

    Parameters
    ----------
    words, topics : (N,) word ids and topic assignments
    offsets : (D+1,) where each document starts
    word_topic, topic_total : (V, K) and (K,) counts, kept in step with `topics`
    alpha : (K,) Dirichlet parameters of a document's topics
    beta : Dirichlet parameter of a topic's words
    uniforms : (N,) in [0, 1)
    """
    n_words, n_topics = word_topic.shape
    v_beta = n_words * beta
    scale = np.empty(n_topics)  # 1 / (n_k + Vβ): divisions happen only where a count changes
    for k in range(n_topics):
        scale[k] = 1.0 / (topic_total[k] + v_beta)
    doc_topic = np.empty(n_topics)
    running = np.empty(n_topics)
    for d in range(offsets.shape[0] - 1):
        doc_topic[:] = alpha
        for i in range(offsets[d], offsets[d + 1]):
            doc_topic[topics[i]] += 1.0
        for i in range(offsets[d], offsets[d + 1]):
            w = words[i]
            old = topics[i]
            doc_topic[old] -= 1.0
            word_topic[w, old] -= 1
            topic_total[old] -= 1
            scale[old] = 1.0 / (topic_total[old] + v_beta)
            total = 0.0
            for k in range(n_topics):
                total += doc_topic[k] * (word_topic[w, k] + beta) * scale[k]
                running[k] = total
            new = np.searchsorted(running, uniforms[i] * total, side="right")
            new = min(new, n_topics - 1)
            topics[i] = new
            doc_topic[new] += 1.0
            word_topic[w, new] += 1
            topic_total[new] += 1
            scale[new] = 1.0 / (topic_total[new] + v_beta)


@njit(nogil=True, cache=True)
def fold_in_sweep(words, offsets, topics, phi, alpha, uniforms, document_topic):
    """One Gibbs sweep over documents with φ fixed; adds the counts n_dk it ends with.

    Parameters
    ----------
    words, topics : (N,); `topics` is updated in place
    phi : (V, K) probability of a word in a topic
    alpha : (K,)
    uniforms : (N,) in [0, 1)
    document_topic : (D, K) float64, to which this sweep's n_dk are added
    """
    n_topics = phi.shape[1]
    counts = np.empty(n_topics)
    running = np.empty(n_topics)
    for d in range(offsets.shape[0] - 1):
        counts[:] = 0.0
        for i in range(offsets[d], offsets[d + 1]):
            counts[topics[i]] += 1.0
        for i in range(offsets[d], offsets[d + 1]):
            counts[topics[i]] -= 1.0
            total = 0.0
            for k in range(n_topics):
                total += (counts[k] + alpha[k]) * phi[words[i], k]
                running[k] = total
            new = np.searchsorted(running, uniforms[i] * total, side="right")
            topics[i] = min(new, n_topics - 1)
            counts[topics[i]] += 1.0
        for k in range(n_topics):
            document_topic[d, k] += counts[k]


@njit(nogil=True, cache=True)
def lda_predict(words, starts, ends, phi, alpha, document_topic, update, log_likelihood):
    """Log-probability of words[starts[d]:ends[d]] for every document, word after word, under LDA.

    θ_dk is proportional to n_dk + α_k. With `update` the expected count of each word's topic,
    θ_k φ_wk / Σ, is added once the word has been scored (assumed-density filtering); without,
    θ stays what the observed part made it.

    Parameters
    ----------
    starts, ends : (D,) positions in `words`
    document_topic : (D, K) expected n_dk of the observed part
    log_likelihood : (D,) output, nats
    """
    n_topics = phi.shape[1]
    weight = np.empty(n_topics)
    joint = np.empty(n_topics)
    for d in range(starts.shape[0]):
        norm = 0.0
        for k in range(n_topics):
            weight[k] = document_topic[d, k] + alpha[k]
            norm += weight[k]
        total = 0.0
        for i in range(starts[d], ends[d]):
            p = 0.0
            for k in range(n_topics):
                joint[k] = weight[k] * phi[words[i], k]
                p += joint[k]
            total += math.log(p / norm)
            if update:
                for k in range(n_topics):
                    weight[k] += joint[k] / p
                norm += 1.0
        log_likelihood[d] = total


@njit(nogil=True, cache=True)
def lda_theta(words, phi, alpha, document_topic, theta):
    """θ before each of one document's held-out words, as `lda_predict` with `update` has it.

    Parameters
    ----------
    words : (n,) the held-out words, in order
    phi, alpha : (V, K), (K,)
    document_topic : (K,) expected n_dk of the observed part
    theta : (n, K) output
    """
    weight = document_topic + alpha
    for i in range(words.shape[0]):
        theta[i] = weight / weight.sum()
        joint = weight * phi[words[i]]
        weight += joint / joint.sum()


@njit(nogil=True, cache=True)
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
