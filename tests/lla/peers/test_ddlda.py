"""ddLDA: LDA where nothing decays, plain loops elsewhere, a gain where topics stay for a while."""

import math

import numpy as np
import pytest
from enumeration import LEVEL, histories, history_number, p_value
from hypothesis import given, settings
from hypothesis import strategies as st
from simulated import all_observed, random_corpus, sticky_split

from lla.common.errors import InputError
from lla.common.random import StreamId, stream
from lla.corpus import Corpus, split_corpus
from lla.evaluate.perplexity import perplexity
from lla.lda import LDAConfig, fit_lda
from lla.peers.counts import fit_unigram
from lla.peers.ddlda import DDLDAConfig, Predictor, decay_table, fit_ddlda
from lla.peers.ddlda import kernels as ddlda_kernels
from lla.peers.ddlda.kernels import ddlda_fold_in, ddlda_predict, ddlda_sweep
from lla.samplers.lda import fold_in_sweep, lda_predict, lda_sweep, topic_counts

SMALL = DDLDAConfig(n_topics=3, alpha=0.3, beta=0.1, scale=4.0, n_sweeps=12)
NO_DECAY = DDLDAConfig(3, decay="window", window=None)
DECAYS = [
    DDLDAConfig(decay="exponential", scale=1.5),
    DDLDAConfig(decay="exponential", scale=20.0, window=2),
    DDLDAConfig(decay="window", window=1),
]


def draw(seed):
    return np.random.Generator(np.random.Philox(seed))


def tokens(seed, n_topics=3, lengths=(6, 1, 9), n_words=5):
    """Words, offsets, assignments and their counts."""
    rng, offsets = draw(seed), np.concatenate([[0], np.cumsum(lengths)])
    words = rng.integers(n_words, size=offsets[-1]).astype(np.uint16)
    topics = rng.integers(n_topics, size=offsets[-1]).astype(np.int32)
    return words, offsets, topics, *topic_counts(words, topics, n_words, n_topics)


def random_phi(seed, n_words=5, n_topics=3):
    return draw(seed).dirichlet(np.ones(n_words), size=n_topics).T.copy()


# ------------------------------------------------------------------------------------ the decay


def f(config, d):
    """The decay by its formula."""
    if config.window is not None and d > config.window:
        return 0.0
    return math.exp(-d / config.scale) if config.decay == "exponential" else 1.0


@settings(max_examples=100, deadline=None)
@given(
    st.sampled_from(["exponential", "window"]),
    st.floats(0.05, 80),
    st.none() | st.integers(1, 60),
    st.integers(1, 200),
)
def test_the_decay_table_equals_the_formula_without_negligible_terms(decay, scale, window, longest):
    config = DDLDAConfig(decay=decay, scale=scale, window=window)
    table = decay_table(config, longest)
    expected = np.array([0.0] + [f(config, d) for d in range(1, longest)])
    np.testing.assert_allclose(table, expected[: len(table)], rtol=1e-12)
    assert (expected[len(table) :] <= 1.0001e-6 * expected[1:2].sum()).all()
    assert table.dtype == np.float64 and table[0] == 0 and (np.diff(table[1:]) <= 0).all()
    assert (table[1:] >= 0.999e-6 * expected[1:2].sum()).all()


def test_a_document_of_one_word_needs_no_decay():
    assert decay_table(SMALL, 1).tolist() == [0.0]
    assert decay_table(DDLDAConfig(scale=1e-3), 9).tolist() == [0.0], "exp(-1000) is 0"


# ------------------------------------------------------------------------------------ the sweep


@pytest.mark.parametrize("form", [ddlda_sweep, ddlda_sweep.py_func])
def test_without_decay_it_is_lda_to_the_bit(form):
    """α is dyadic, so that α plus a count is exact in whatever order it is summed."""
    ours, theirs = (tokens(1, 4, (30, 1, 17, 60), 9) for _ in range(2))
    alpha, decay = np.array([0.125, 0.5, 0.25, 0.125]), decay_table(NO_DECAY, 60)
    rng, seen = draw(2), []
    for _ in range(10):
        uniforms = rng.random(108)
        form(*ours, alpha, 0.07, decay, uniforms)
        lda_sweep(*theirs, alpha, 0.07, uniforms)
        for one, other in zip(ours, theirs, strict=True):
            assert np.array_equal(one, other)
        seen.append(ours[2].copy())
    assert len(np.unique(seen, axis=0)) == 10


@pytest.mark.parametrize("form", [ddlda_fold_in, ddlda_fold_in.py_func])
def test_without_decay_the_fold_in_is_ldas_to_the_bit(form):
    words, _, ours, _, _ = tokens(3, lengths=(40,))
    theirs, phi, alpha = ours.copy(), random_phi(4), np.array([0.125, 0.5, 0.25])
    uniforms, total = draw(5).random((8, 40)), np.zeros((1, 3))
    responsibility = np.zeros((45, 3))
    form(words, ours, phi, alpha, decay_table(NO_DECAY, 50), uniforms, responsibility)
    for u in uniforms:
        fold_in_sweep(words, np.array([0, 40]), theirs, phi, alpha, u, total)
    assert np.array_equal(ours, theirs)
    np.testing.assert_array_equal(8 * responsibility.sum(axis=0), total[0])
    np.testing.assert_array_equal(responsibility[:40].sum(axis=1), 1)
    assert not responsibility[40:].any()


def nearby(topics, offsets, i, alpha, config):
    """α_k + Σ f(|i - s|) [z_s = k] over the other words of i's document."""
    first = offsets[np.searchsorted(offsets, i, side="right") - 1]
    last = offsets[np.searchsorted(offsets, i, side="right")]
    weight = alpha.copy()
    for s in range(first, last):
        if s != i:
            weight[topics[s]] += f(config, abs(i - s))
    return weight


def conditional(i, words, offsets, topics, alpha, beta, config):
    """p(z_i = k | all others) by counting everything again, without token i."""
    others = np.arange(len(words)) != i
    word_topic, topic_total = topic_counts(words[others], topics[others], 5, len(alpha))
    weight = nearby(topics, offsets, i, alpha, config)
    weight = weight * (word_topic[words[i]] + beta) / (topic_total + 5 * beta)
    return weight / weight.sum()


@pytest.mark.parametrize("config", DECAYS)
def test_a_sweep_draws_from_its_conditionals(config):
    """Of all 2^6 assignments of two documents, each as often as its chain of conditionals says."""
    words, offsets, start, word_topic, topic_total = tokens(6, 2, (4, 2))
    alpha, decay = np.array([0.2, 0.5]), decay_table(config, 4)
    paths, p = histories(2, 6), np.ones(2**6)
    for path in range(2**6):
        z = start.copy()
        for i in range(6):
            k = paths[path, i]
            p[path] *= conditional(i, words, offsets, z, alpha, 0.3, config)[k]
            z[i] = k
    ends = []
    for uniforms in draw(7).random((20_000, 6)):
        z, counts = start.copy(), (word_topic.copy(), topic_total.copy())
        ddlda_sweep(words, offsets, z, *counts, alpha, 0.3, decay, uniforms)
        ends.append(z)
    assert p_value(np.bincount(history_number(ends, 2), minlength=2**6), p) > LEVEL


@pytest.mark.parametrize("config", DECAYS)
def test_the_fold_in_draws_each_word_from_its_conditional(config):
    words, offsets, start, _, _ = tokens(8, lengths=(9,))
    phi, alpha, decay = random_phi(9), np.array([0.3, 0.5, 1.1]), decay_table(config, 9)
    for uniforms in draw(10).random((50, 1, 9)):
        replay, topics, responsibility = start.copy(), start.copy(), np.zeros((9, 3))
        ddlda_fold_in(words, topics, phi, alpha, decay, uniforms, responsibility)
        assert np.array_equal(responsibility, np.eye(3)[topics])
        for i, u in enumerate(uniforms[0]):
            p = nearby(replay, offsets, i, alpha, config) * phi[words[i]]
            below, p = p[: topics[i]].sum() / p.sum(), p / p.sum()
            assert below - 1e-12 <= u <= below + p[topics[i]] + 1e-12
            replay[i] = topics[i]


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000), st.integers(1, 5), st.sampled_from(DECAYS))
def test_counts_are_conserved(seed, n_topics, config):
    corpus = random_corpus(8, seed=seed)
    config = DDLDAConfig(**(vars(config) | {"n_topics": n_topics, "n_sweeps": 2}))
    state = fit_ddlda(all_observed(corpus), config, seed)
    np.testing.assert_allclose(state.phi().sum(axis=0), 1, rtol=1e-12)
    word_topic, topic_total = counts = state.counts()
    topics, rng = state.topics.copy(), draw(seed)
    for _ in range(3):
        tail = (state.alpha, 0.1, decay_table(config, 15), rng.random(corpus.n_tokens, np.float32))
        ddlda_sweep(corpus.words, corpus.offsets, topics, *counts, *tail)
        assert word_topic.sum() == topic_total.sum() == corpus.n_tokens
        assert np.array_equal(word_topic.sum(axis=1), np.bincount(corpus.words, minlength=12))
        recounted = topic_counts(corpus.words, topics, 12, n_topics)
        assert np.array_equal(word_topic, recounted[0])
        assert np.array_equal(topic_total, recounted[1])


def cases():
    """Arguments for each kernel."""
    words, offsets, topics, word_topic, topic_total = tokens(11)
    alpha, decay, phi = np.array([0.3, 0.5, 0.2]), decay_table(SMALL, 9), random_phi(12)
    given = draw(13).dirichlet(np.ones(3), size=16)
    return {
        "_popularity": (topics, 7, 16, 9, alpha, decay, np.zeros(3)),
        "ddlda_sweep": (
            words, offsets, topics, word_topic, topic_total, alpha, 0.1, decay, draw(14).random(16),
        ),
        "ddlda_fold_in": (
            words, topics, phi, alpha, decay, draw(15).random((4, 16)), np.zeros((16, 3)),
        ),
        "ddlda_predict": (words, 7, phi, alpha, decay, given, np.zeros(9)),
        "ddlda_theta": (7, alpha, decay, given, np.zeros((9, 3))),
    }  # fmt: skip


def test_every_kernel_has_a_case():
    assert cases().keys() == {n for n, k in vars(ddlda_kernels).items() if hasattr(k, "py_func")}


@pytest.mark.parametrize("name", cases())
def test_compiled_and_plain_agree(name):
    compiled, plain = cases()[name], cases()[name]
    kernel = getattr(ddlda_kernels, name)
    kernel(*compiled), kernel.py_func(*plain)
    for ours, theirs in zip(compiled, plain, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-13, atol=0)
    assert any(not np.array_equal(a, b) for a, b in zip(compiled, cases()[name], strict=True))


# --------------------------------------------------------------------------------- the predictive


def predict(words, n_observed, phi, alpha, config, given):
    """log p of each held-out word, and all responsibilities."""
    responsibility = np.full((len(words), len(alpha)), np.nan)
    responsibility[:n_observed] = given
    log_p, decay = np.empty(len(words) - n_observed), decay_table(config, len(words))
    ddlda_predict(words, n_observed, phi, alpha, decay, responsibility, log_p)
    return log_p, responsibility


@pytest.mark.parametrize("config", [*DECAYS, NO_DECAY])
def test_the_predictive_is_the_plain_loop(config):
    words, phi, alpha = tokens(16, lengths=(14,))[0], random_phi(17), np.array([0.3, 0.5, 1.1])
    r = list(given := draw(18).dirichlet(np.ones(3), size=6))
    expected = []
    for t in range(6, 14):
        weight = alpha + sum(f(config, t - s) * r[s] for s in range(t))
        theta = weight / weight.sum()
        expected.append(math.log(theta @ phi[words[t]]))
        r.append(theta * phi[words[t]] / (theta @ phi[words[t]]))
    log_p, responsibility = predict(words, 6, phi, alpha, config, given)
    # Beyond a millionth of f(1) the table stops; the loop does not.
    np.testing.assert_allclose(log_p, expected, rtol=1e-5)
    np.testing.assert_allclose(responsibility, r, rtol=1e-5)


@pytest.mark.parametrize("n_observed", [0, 1, 9, 14])
def test_without_decay_the_predictive_is_ldas(n_observed):
    words, phi, alpha = tokens(19, lengths=(14,))[0], random_phi(20), np.array([0.3, 0.5, 1.1])
    given, theirs = draw(21).dirichlet(np.ones(3), size=n_observed), np.empty(1)
    ours = predict(words, n_observed, phi, alpha, NO_DECAY, given)[0]
    span = (np.array([n_observed]), np.array([14]))
    lda_predict(words, *span, phi, alpha, given.sum(axis=0)[None], True, theirs)
    np.testing.assert_allclose(ours.sum(), theirs[0], rtol=1e-12)


@pytest.mark.parametrize("config", DECAYS)
def test_it_is_a_distribution_over_the_next_word_at_every_place(config):
    words, phi, alpha = tokens(22, lengths=(12,))[0], random_phi(23), np.array([0.3, 0.5, 1.1])
    given = draw(24).dirichlet(np.ones(3), size=5)
    for t in range(5, 12):
        each = [
            predict(np.append(words[:t], w).astype(np.uint16), 5, phi, alpha, config, given)[0][-1]
            for w in range(5)
        ]
        assert np.exp(each).sum() == pytest.approx(1, rel=1e-12)


def test_scores_do_not_depend_on_threads():
    split = split_corpus(random_corpus(40, longest=30))
    fit = fit_ddlda(split, SMALL, 0)
    one = fit.score(split, n_threads=1)
    assert one.tobytes() == fit.score(split, n_threads=2).tobytes()
    assert one.tobytes() != fit.score(split, n_threads=1, seed=1).tobytes()
    none = split.n_held_out == 0
    assert none.any() and (one[none] == 0.0).all() and (one[~none] < 0).all()


def test_some_documents_are_scored_as_a_split_of_their_own():
    split = split_corpus(random_corpus(20, longest=30))
    fit, chosen = fit_ddlda(split, SMALL, 0), split.development
    some = fit.score(split, seed=3, documents=chosen)
    topics = fit.topics[np.repeat(chosen, split.observed.lengths)]
    decay = decay_table(SMALL, int(split.corpus.lengths.max()))
    alone = Predictor(fit.phi(), fit.alpha, topics, decay, split.restrict(chosen), seed=3)
    assert np.array_equal(some[chosen], alone.score()) and not some[~chosen].any()


def test_other_observed_words_are_refused():
    fit = fit_ddlda(split_corpus(random_corpus()), SMALL, 0)
    with pytest.raises(InputError, match="fitted to other observed words"):
        fit.score(split_corpus(random_corpus(seed=1)))


def test_documents_of_one_word():
    corpus = Corpus.from_documents([[0], [1], [0]], ["a", "b"])
    split = split_corpus(corpus, development=0)
    assert fit_ddlda(split, SMALL, 0).score(split).tolist() == [0.0] * 3


def test_without_decay_every_score_is_ldas_of_the_same_draws():
    split = split_corpus(random_corpus(12, longest=30))
    observed, alpha = split.observed, np.full(3, 0.125)
    start = draw(25).integers(3, size=observed.n_tokens).astype(np.int32)
    phi, decay, theirs = random_phi(26, 12), decay_table(NO_DECAY, 30), np.empty(12)
    ours = Predictor(phi, alpha, start, decay, split, seed=5, n_sweeps=7).score(n_threads=1)
    for d in range(12):
        topics, words = start[slice(*observed.offsets[d : d + 2])].copy(), observed.document(d)
        uniforms = stream(5, StreamId.DDLDA_FOLD_IN, d).random((7, len(words)), np.float32)
        total, ends = np.zeros((1, 3)), np.array([0, len(words)])
        for u in uniforms:
            fold_in_sweep(words, ends, topics, phi, alpha, u, total)
        whole, span = split.corpus.document(d), (ends[1:], split.corpus.lengths[d : d + 1])
        lda_predict(whole, *span, phi, alpha, total / 7, True, theirs[d : d + 1])
    np.testing.assert_allclose(ours, theirs, rtol=1e-12)


def test_a_short_decay_gains_where_topics_stay_for_a_while():
    split = sticky_split(4, 50, 200, 40)[0]
    lda = fit_lda(split, LDAConfig(4, n_sweeps=100), 0)
    config = DDLDAConfig(4, alpha=0.1, beta=0.05, scale=4.0, n_sweeps=60)
    near = fit_ddlda(split, config, 0, start=lda.topics)
    scores = {
        "ddlda": near.score(split),
        "lda": lda.score(split),
        "unigram": fit_unigram(split).score(split),
    }
    values = {name: perplexity(s, split, split.reported) for name, s in scores.items()}
    assert values["ddlda"] < 0.85 * min(values["lda"], values["unigram"]), values
