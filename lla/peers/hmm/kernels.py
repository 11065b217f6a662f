"""The HMM's Numba kernels on plain arrays: scaled forward and backward passes, expected counts.

With c_t = p(w_t | w_<t), the passes of one document are

    θ_t(k) = p(z_t = k | w_<t) = Σ_j f_{t-1}(j) A_jk,      f_t(k) = θ_t(k) φ_{w_t k} / c_t
    u_t(k) = φ_{w_t k} b_t(k) / c_t,                       b_{t-1}(j) = Σ_k A_jk u_t(k)

with θ_1 = π and b_T = 1. Then p(z_t = k | w) = θ_t(k) u_t(k) and p(z_{t-1} = j, z_t = k | w) =
f_{t-1}(j) A_jk u_t(k), so that θ and u are all that is kept. Loops run along rows of memory and
take four rows at once, which fills vector registers without changing the order of any sum.
"""

import numpy as np

from lla.common.compile import njit


@njit(nogil=True)
def times(row, matrix, out):
    """out (M,) = row (K,) times matrix (K, M)."""
    n_rows, n_columns = matrix.shape
    out[:] = 0.0
    whole = n_rows - n_rows % 4
    for i in range(0, whole, 4):
        r0, r1, r2, r3 = row[i], row[i + 1], row[i + 2], row[i + 3]
        for j in range(n_columns):
            out[j] += (
                r0 * matrix[i, j]
                + r1 * matrix[i + 1, j]
                + r2 * matrix[i + 2, j]
                + r3 * matrix[i + 3, j]
            )
    for i in range(whole, n_rows):
        for j in range(n_columns):
            out[j] += row[i] * matrix[i, j]


@njit(nogil=True)
def add_products(left, right, out):
    """out (K, M) += Σ_t left (T, K)_t right (T, M)_t: the sum of outer products."""
    n_steps, n_rows = left.shape
    whole = n_steps - n_steps % 4
    for t in range(0, whole, 4):
        for i in range(n_rows):
            l0, l1, l2, l3 = left[t, i], left[t + 1, i], left[t + 2, i], left[t + 3, i]
            for j in range(out.shape[1]):
                out[i, j] += (
                    l0 * right[t, j]
                    + l1 * right[t + 1, j]
                    + l2 * right[t + 2, j]
                    + l3 * right[t + 3, j]
                )
    for t in range(whole, n_steps):
        for i in range(n_rows):
            for j in range(out.shape[1]):
                out[i, j] += left[t, i] * right[t, j]


@njit(nogil=True)
def hmm_forward(words, initial, transition, phi, theta, evidence):
    """The forward pass over one document. Costs O(K²) per word.

    Parameters
    ----------
    words, initial, transition, phi : (T,), π (K,), A (K, K), φ (V, K)
    theta : (T, K) output, p(z_t = k | w_<t)
    evidence : (T,) output, p(w_t | w_<t)
    """
    n_topics = initial.shape[0]
    filtered = np.empty(n_topics)
    for k in range(n_topics):
        theta[0, k] = initial[k]
    for t in range(words.shape[0]):
        if t > 0:
            times(filtered, transition, theta[t])
        total = 0.0
        for k in range(n_topics):
            filtered[k] = theta[t, k] * phi[words[t], k]
            total += filtered[k]
        evidence[t] = total
        scale = 1.0 / total if total > 0.0 else 0.0
        for k in range(n_topics):
            filtered[k] *= scale


@njit(nogil=True)
def hmm_backward(words, transition_t, phi, evidence, ratio):
    """The backward pass over one document. Costs O(K²) per word.

    Parameters
    ----------
    words, transition_t, phi : (T,), the transposed A (K, K) in rows, φ (V, K)
    evidence : (T,) as `hmm_forward` leaves it
    ratio : (T, K) output, u_t(k) = p(z_t = k | w) / p(z_t = k | w_<t)
    """
    n_topics = phi.shape[1]
    backward = np.ones(n_topics)
    for t in range(words.shape[0] - 1, -1, -1):
        scale = 1.0 / evidence[t] if evidence[t] > 0.0 else 0.0
        for k in range(n_topics):
            ratio[t, k] = phi[words[t], k] * backward[k] * scale
        if t > 0:
            times(ratio[t], transition_t, backward)


@njit(nogil=True)
def hmm_count(
    words, offsets, initial, transition, transition_t, phi, n_initial, n_transition, n_emission
):
    """Add the expected counts of some documents; return their log-likelihood, nats.

    Parameters
    ----------
    words : (N,) of the whole corpus
    offsets : (B+1,) where each of the B documents starts, and where the last one ends
    initial, transition, transition_t, phi : (K,), (K, K) twice, (V, K)
    n_initial, n_emission : (K,), (V, K), to which counts are added
    n_transition : (K, K), to which Σ f_{t-1}(j) u_t(k) is added: times A_jk it is a count
    """
    n_topics = initial.shape[0]
    longest = np.max(offsets[1:] - offsets[:-1])
    theta, ratio = np.empty((longest, n_topics)), np.empty((longest, n_topics))
    evidence, log_likelihood = np.empty(longest), 0.0
    for d in range(offsets.shape[0] - 1):
        document = words[offsets[d] : offsets[d + 1]]
        length = document.shape[0]
        hmm_forward(document, initial, transition, phi, theta, evidence)
        hmm_backward(document, transition_t, phi, evidence, ratio)
        for t in range(length):
            w = document[t]
            scale = 1.0 / evidence[t] if evidence[t] > 0.0 else 0.0
            log_likelihood += np.log(evidence[t])
            for k in range(n_topics):
                posterior = theta[t, k] * ratio[t, k]
                n_emission[w, k] += posterior
                if t == 0:
                    n_initial[k] += posterior
                theta[t, k] *= phi[w, k] * scale  # from here on f_t(k)
        add_products(theta[: length - 1], ratio[1:length], n_transition)
    return log_likelihood
