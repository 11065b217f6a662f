"""LDA's kernels: every draw follows its conditional; compiled and plain agree."""

import itertools

import numpy as np
import pytest
from draws import counted, draw
from enumeration import LEVEL, histories, history_number, p_value
from scipy.special import gammaln

from lla.samplers import lda as lda_kernels
from lla.samplers.lda import count_topics, fold_in_sweep, lda_predict, lda_sweep


def tokens(seed, n_words=5, n_topics=3, lengths=(6, 1, 9)):
    """A random corpus with its assignments and their counts."""
    rng = draw(seed)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    words = rng.integers(n_words, size=offsets[-1]).astype(np.uint16)
    topics = rng.integers(n_topics, size=offsets[-1]).astype(np.int32)
    return words, offsets, topics, *counted(words, topics, n_words, n_topics)


def random_phi(seed, n_words=5, n_topics=3):
    return draw(seed).dirichlet(np.ones(n_words), size=n_topics).T.copy()


def cases():
    """Arguments for each kernel, all in float64: NumPy's scalars would round to float32."""
    rng = draw(1)
    words, offsets, topics, word_topic, topic_total = tokens(2)
    alpha, uniforms = np.array([0.3, 0.5, 0.2]), rng.random(len(words))
    phi, document_topic = random_phi(3), rng.random((3, 3))
    return {
        "count_topics": (words, topics, word_topic + 7, topic_total + 7),
        "lda_sweep": (words, offsets, topics, word_topic, topic_total, alpha, 0.1, uniforms),
        "fold_in_sweep": (words, offsets, topics, phi, alpha, uniforms, document_topic),
        "lda_predict": (
            words, offsets[:-1], offsets[1:], phi, alpha, document_topic, True, np.zeros(3),
        ),
        "lda_theta": (words, phi, alpha, document_topic[0], np.zeros((len(words), 3))),
    }  # fmt: skip


def test_every_kernel_has_a_case():
    assert cases().keys() == {n for n, f in vars(lda_kernels).items() if hasattr(f, "py_func")}


@pytest.mark.parametrize("name", cases())
def test_compiled_and_plain_agree(name):
    compiled, plain, before = cases()[name], cases()[name], cases()[name]
    kernel = getattr(lda_kernels, name)
    assert kernel(*compiled) == kernel.py_func(*plain)
    for ours, theirs in zip(compiled, plain, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-14, atol=0)
    changed = [not np.array_equal(a, b) for a, b in zip(compiled, before, strict=True)]
    assert any(changed)


# -------------------------------------------------------------------- count_topics, lda_sweep


def test_counts_are_conserved():
    words, _, topics, word_topic, topic_total = tokens(7)
    ours, total = np.full_like(word_topic, -5), np.full_like(topic_total, -5)
    count_topics(words, topics, ours, total)
    np.testing.assert_array_equal(ours, word_topic)
    np.testing.assert_array_equal(total, topic_total)
    assert ours.sum() == total.sum() == len(words)
    np.testing.assert_array_equal(ours.sum(axis=1), np.bincount(words, minlength=5))


@pytest.mark.parametrize("n_topics", [1, 2, 5])
def test_lda_sweep_keeps_the_counts_in_step(n_topics):
    words, offsets, topics, word_topic, topic_total = tokens(8, 6, n_topics, (4, 1, 30, 7))
    rng, alpha, seen = draw(9), np.full(n_topics, 0.4), set()
    for _ in range(20):
        uniforms = rng.random(len(words), np.float32)
        lda_sweep(words, offsets, topics, word_topic, topic_total, alpha, 0.1, uniforms)
        recounted = counted(words, topics, 6, n_topics)
        np.testing.assert_array_equal(word_topic, recounted[0])
        np.testing.assert_array_equal(topic_total, recounted[1])
        seen |= set(topics.tolist())
    assert seen == set(range(n_topics)), "with one topic everything stays at 0"


def lda_conditional(i, words, document, topics, alpha, beta, n_words):
    """p(z_i = k | all others) by counting everything again, without token i."""
    others = np.arange(len(words)) != i
    word_topic, topic_total = counted(words[others], topics[others], n_words, len(alpha))
    n_dk = np.bincount(topics[others & (document == document[i])], minlength=len(alpha))
    weights = (n_dk + alpha) * (word_topic[words[i]] + beta) / (topic_total + n_words * beta)
    return weights / weights.sum()


def test_lda_sweep_draws_each_token_from_its_exact_conditional():
    """Replayed token by token: u must fall in the interval of the topic that was drawn."""
    words, offsets, start, word_topic, topic_total = tokens(10)
    document, alpha = np.repeat(np.arange(3), np.diff(offsets)), np.array([0.3, 0.5, 1.1])
    for seed in range(50):
        uniforms, topics = draw(seed).random(len(words)), start.copy()
        lda_sweep(
            words, offsets, topics, word_topic.copy(), topic_total.copy(), alpha, 0.2, uniforms
        )
        replay = start.copy()
        for i, u in enumerate(uniforms):
            p = lda_conditional(i, words, document, replay, alpha, 0.2, 5)
            below = p[: topics[i]].sum()
            assert below - 1e-12 <= u <= below + p[topics[i]] + 1e-12
            replay[i] = topics[i]


def test_lda_chain_has_the_collapsed_posterior():
    """The long-run distribution over all 2^7 assignments of a corpus of seven tokens."""
    words, offsets = np.array([0, 1, 1, 2, 2, 0, 2]), np.array([0, 2, 5, 7])
    alpha, beta, n_words = np.array([0.8, 1.3]), 0.6, 3
    document = np.repeat(np.arange(3), np.diff(offsets))
    log_p = []
    for z in histories(2, 7):
        n_dk = np.zeros((3, 2))
        np.add.at(n_dk, (document, z), 1)
        n_wk, n_k = counted(words, z, n_words, 2)
        words_given_z = gammaln(n_wk + beta).sum() - gammaln(n_k + n_words * beta).sum()
        log_p.append(gammaln(n_dk + alpha).sum() + words_given_z)
    p = np.exp(np.array(log_p) - max(log_p))

    topics, uniforms = np.zeros(7, np.int32), draw(11).random((120_000, 7), np.float32)
    word_topic, topic_total = counted(words, topics, n_words, 2)
    kept = []
    for sweep, u in enumerate(uniforms):
        lda_sweep(words, offsets, topics, word_topic, topic_total, alpha, beta, u)
        if sweep % 6 == 5:  # by then the sweeps have forgotten one another
            kept.append(topics.copy())
    counts = np.bincount(history_number(kept, 2), minlength=2**7)
    assert p_value(counts, p / p.sum()) > LEVEL


# ---------------------------------------------------------------- fold_in_sweep, lda_predict


def test_fold_in_chain_has_the_posterior_given_phi():
    """Pólya's urn times φ, over all 3^4 assignments; the documents do not touch one another."""
    words, offsets = np.array([2, 0, 1, 2, 0]), np.array([0, 4, 5])
    phi, alpha = random_phi(12, 3), np.array([0.5, 1.0, 0.8])
    z = histories(3, 4)
    n_dk = (z[:, :, None] == np.arange(3)).sum(axis=1)
    p = np.exp(gammaln(n_dk + alpha).sum(axis=1)) * phi[words[:4], z].prod(axis=1)
    p /= p.sum()

    topics, total = np.zeros(5, np.int32), np.zeros((2, 3))
    kept, n_sweeps = [], 120_000
    for sweep, u in enumerate(draw(13).random((n_sweeps, 5), np.float32)):
        fold_in_sweep(words, offsets, topics, phi, alpha, u, total)
        if sweep % 6 == 5:
            kept.append(topics.copy())
    kept = np.array(kept)
    assert p_value(np.bincount(history_number(kept[:, :4], 3), minlength=81), p) > LEVEL
    alone = alpha * phi[0] / (alpha @ phi[0])
    assert p_value(np.bincount(kept[:, 4], minlength=3), alone) > LEVEL
    np.testing.assert_array_equal(total.sum(axis=1), [4 * n_sweeps, n_sweeps])
    np.testing.assert_allclose(total / n_sweeps, [p @ n_dk, alone], atol=0.03)


def test_fold_in_draws_each_token_from_its_exact_conditional():
    words, offsets, start, _, _ = tokens(20)
    document, alpha = np.repeat(np.arange(3), np.diff(offsets)), np.array([0.3, 0.5, 1.1])
    phi = random_phi(21)
    for seed in range(50):
        uniforms, topics = draw(seed).random(len(words)), start.copy()
        fold_in_sweep(words, offsets, topics, phi, alpha, uniforms, np.zeros((3, 3)))
        replay = start.copy()
        for i, u in enumerate(uniforms):
            others = (document == document[i]) & (np.arange(len(words)) != i)
            p = (np.bincount(replay[others], minlength=3) + alpha) * phi[words[i]]
            below, p = p[: topics[i]].sum() / p.sum(), p / p.sum()
            assert below - 1e-12 <= u <= below + p[topics[i]] + 1e-12
            replay[i] = topics[i]


def test_fold_in_adds_the_counts_it_ends_with():
    words, offsets, topics, _, _ = tokens(14)
    total = np.full((3, 3), 100.0)
    fold_in_sweep(
        words, offsets, topics, random_phi(15), np.full(3, 0.1), draw(16).random(16), total
    )
    ends = [np.bincount(topics[a:b], minlength=3) for a, b in itertools.pairwise(offsets)]
    np.testing.assert_array_equal(total - 100.0, ends)


def predict(update, n_topics=3):
    words, offsets, _, _, _ = tokens(17, lengths=(6, 2, 9))
    phi, alpha = random_phi(18, 5, n_topics), np.linspace(0.2, 1.0, n_topics)
    n_dk = draw(19).random((3, n_topics)) * 4
    starts, ends = (
        offsets[:-1] + np.array([3, 2, 1]),
        offsets[1:],
    )  # nothing of the second is predicted
    ours = np.full(3, np.nan)
    lda_predict(words, starts, ends, phi, alpha, n_dk, update, ours)
    parts = [words[a:b] for a, b in zip(starts, ends, strict=True)]
    return ours, parts, phi, n_dk + alpha


def test_lda_predict_with_frozen_theta_is_the_closed_form():
    ours, parts, phi, weight = predict(False)
    theta = weight / weight.sum(axis=1, keepdims=True)
    closed = [np.log(phi[w] @ theta[d]).sum() for d, w in enumerate(parts)]
    np.testing.assert_allclose(ours, closed, rtol=1e-12)
    assert ours[1] == 0.0


def test_lda_predict_with_update_counts_each_word_after_scoring_it():
    ours, parts, phi, weight = predict(True)
    for d, w in enumerate(parts):
        n, total = weight[d].copy(), 0.0
        for word in w:
            joint = n / n.sum() * phi[word]
            total += np.log(joint.sum())
            n += joint / joint.sum()
        np.testing.assert_allclose(ours[d], total, rtol=1e-12)
    assert not np.allclose(ours, predict(False)[0])


@pytest.mark.parametrize("update", [False, True])
def test_lda_predict_with_one_topic_is_the_unigram(update):
    ours, parts, phi, _ = predict(update, n_topics=1)
    np.testing.assert_allclose(ours, [np.log(phi[w, 0]).sum() for w in parts], rtol=1e-12)
