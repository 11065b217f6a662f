"""ddLDA's Numba kernels on plain arrays; uniforms are passed as arrays, one per token."""

import numpy as np

from lla.common.compile import njit


@njit(nogil=True)
def _popularity(topics, first, last, i, alpha, decay, weight):
    """weight_k = α_k + Σ_{s≠i} f(|i - s|) [z_s = k] over the document at first..last-1."""
    reach = decay.shape[0] - 1
    for k in range(alpha.shape[0]):
        weight[k] = alpha[k]
    for s in range(max(first, i - reach), min(last, i + reach + 1)):
        weight[topics[s]] += decay[abs(i - s)]  # decay[0] is 0


@njit(nogil=True)
def ddlda_sweep(words, offsets, topics, word_topic, topic_total, alpha, beta, decay, uniforms):
    """One sweep of Gibbs sampling, in place.

    Every z_t is drawn from (α_k + Σ_{s≠t} f(|t-s|) [z_s = k]) (n_wk + β) / (n_k + Vβ), its own
    count taken out. Where f = 1 this is `lda.lda_sweep` to the bit, if the sums of α and
    counts are exact. Costs O(W + K) per token.

    Parameters
    ----------
    words, topics, uniforms : (N,); `topics` is updated in place
    offsets : (D+1,) where each document starts
    word_topic, topic_total : (V, K) and (K,) counts, kept in step with `topics`
    alpha, beta, decay : (K,), scalar, (W+1,)
    """
    n_words, n_topics = word_topic.shape
    v_beta = n_words * beta
    scale = 1.0 / (topic_total + v_beta)  # divisions happen only where a count changes
    weight, running = np.empty(n_topics), np.empty(n_topics)
    for d in range(offsets.shape[0] - 1):
        for i in range(offsets[d], offsets[d + 1]):
            _popularity(topics, offsets[d], offsets[d + 1], i, alpha, decay, weight)
            w, old = words[i], topics[i]
            word_topic[w, old] -= 1
            topic_total[old] -= 1
            scale[old] = 1.0 / (topic_total[old] + v_beta)
            total = 0.0
            for k in range(n_topics):
                total += weight[k] * (word_topic[w, k] + beta) * scale[k]
                running[k] = total
            new = min(np.searchsorted(running, uniforms[i] * total, side="right"), n_topics - 1)
            topics[i] = new
            word_topic[w, new] += 1
            topic_total[new] += 1
            scale[new] = 1.0 / (topic_total[new] + v_beta)


@njit(nogil=True, error_model="numpy")
def ddlda_fold_in(words, topics, phi, alpha, decay, uniforms, responsibility):
    """S Gibbs sweeps over one document with φ fixed; how often each word had each topic.

    Parameters
    ----------
    words, topics, uniforms : (L,), (L,), (S, L); `topics` is updated in place
    phi, alpha, decay : (V, K), (K,), (W+1,)
    responsibility : (L or more, K) zeros; row s becomes the share of sweeps with z_s = k
    """
    n_words, n_topics = words.shape[0], phi.shape[1]
    weight, running = np.empty(n_topics), np.empty(n_topics)
    begin = np.int64(0)  # for the constant 0 the function would be compiled once more
    for sweep in range(uniforms.shape[0]):
        for i in range(n_words):
            _popularity(topics, begin, n_words, i, alpha, decay, weight)
            total = 0.0
            for k in range(n_topics):
                total += weight[k] * phi[words[i], k]
                running[k] = total
            new = np.searchsorted(running, uniforms[sweep, i] * total, side="right")
            topics[i] = min(new, n_topics - 1)
            responsibility[i, topics[i]] += 1.0
    for i in range(n_words):
        for k in range(n_topics):
            responsibility[i, k] /= uniforms.shape[0]


@njit(nogil=True, error_model="numpy")
def ddlda_predict(words, n_observed, phi, alpha, decay, responsibility, log_probability):
    """log p(w_t | w_<t) of one document's words from `n_observed` on. Costs O(W K) per word.

    Parameters
    ----------
    words, phi, alpha, decay : (T,), (V, K), (K,), (W+1,)
    responsibility : (T, K); the rows of observed words are given, the others are filled in
    log_probability : (T - n_observed,) output, nats
    """
    n_topics, reach = phi.shape[1], decay.shape[0] - 1
    weight = np.empty(n_topics)
    for t in range(n_observed, words.shape[0]):
        for k in range(n_topics):
            weight[k] = alpha[k]
        for s in range(max(0, t - reach), t):
            for k in range(n_topics):
                weight[k] += decay[t - s] * responsibility[s, k]
        for k in range(n_topics):
            responsibility[t, k] = weight[k] * phi[words[t], k]
        p = responsibility[t].sum()
        for k in range(n_topics):
            responsibility[t, k] /= p
        log_probability[t - n_observed] = np.log(p / weight.sum())


@njit(nogil=True)
def ddlda_theta(n_observed, alpha, decay, responsibility, theta):
    """θ_t of one document's positions from `n_observed` on, each given the words before it.

    Parameters
    ----------
    alpha, decay : (K,), (W+1,)
    responsibility : (T, K) as `ddlda_predict` leaves it
    theta : (T - n_observed, K) output
    """
    for t in range(n_observed, responsibility.shape[0]):
        weight = theta[t - n_observed]
        for k in range(alpha.shape[0]):
            weight[k] = alpha[k]
        for s in range(max(0, t - decay.shape[0] + 1), t):
            for k in range(alpha.shape[0]):
                weight[k] += decay[t - s] * responsibility[s, k]
        weight /= weight.sum()
