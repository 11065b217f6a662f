"""Unigram, cache unigram, personalised most popular and bigram, against plain loops."""

import math
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simulated import random_corpus, sticky_split

from lla.common.errors import InputError
from lla.corpus import Corpus, Split, split_corpus
from lla.evaluate.perplexity import perplexity
from lla.peers.counts import (
    Bigram,
    BigramConfig,
    CacheUnigram,
    Popular,
    PopularConfig,
    Unigram,
    count_pairs,
    fit_bigram,
    fit_cache_unigram,
    fit_popular,
    fit_uniform,
    fit_unigram,
    popular_rows,
    popular_scores,
    unigram_probability,
)


@pytest.fixture(scope="module")
def sticky():
    return sticky_split(4, 50, 200, 40)[0]


def test_the_unigram_counts_observed_words_alone():
    corpus = Corpus.from_documents([[0, 0, 1, 2, 2], [1, 0]], ["a", "b", "c", "d"])
    split = split_corpus(corpus, development=0)  # observed: a a b | b a
    assert unigram_probability(split).tolist() == [4 / 9, 3 / 9, 1 / 9, 1 / 9]
    np.testing.assert_allclose(unigram_probability(split, 0.5), np.array([3.5, 2.5, 0.5, 0.5]) / 7)
    held_out = [2 * math.log(1 / 9), 0.0]
    np.testing.assert_allclose(fit_unigram(split).score(split), held_out)


def test_the_uniform_distribution_has_perplexity_v_and_no_parameter():
    split = split_corpus(random_corpus())
    model = fit_uniform(split)
    assert perplexity(model.score(split), split, split.reported) == pytest.approx(12, rel=1e-12)
    assert model.size().parameters == 0
    assert all((row == np.float32(1 / 12)).all() for row in collect(model, split).values())


def cache_by_hand(probability, concentration, split):
    scores = []
    for d in range(split.corpus.n_documents):
        document = split.corpus.document(d).tolist()
        score = 0.0
        for t in range(split.n_observed[d], len(document)):
            seen = document[:t].count(document[t])
            score += math.log(
                (seen + concentration * probability[document[t]]) / (t + concentration)
            )
        scores.append(score)
    return scores


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 200), st.floats(1e-3, 1e4), st.floats(0.1, 0.9))
def test_the_cache_is_the_plain_loop(seed, concentration, observed):
    split = split_corpus(random_corpus(8, seed=seed), observed)
    p = unigram_probability(split)
    expected = cache_by_hand(p, concentration, split)
    np.testing.assert_allclose(
        CacheUnigram(p, concentration).score(split), expected, rtol=1e-10, atol=1e-12
    )


def test_the_cache_is_a_distribution_over_the_next_word():
    documents = [[0, 1, 1, 0, w] for w in range(4)]
    split = split_corpus(Corpus.from_documents(documents, "abcd"), 0.8, development=0)
    assert split.n_held_out.tolist() == [1] * 4
    p = np.array([0.1, 0.2, 0.3, 0.4])
    assert np.exp(CacheUnigram(p, 2.5).score(split)).sum() == pytest.approx(1, rel=1e-12)


def test_a_cache_that_never_learns_is_the_unigram():
    split = split_corpus(random_corpus())
    p = unigram_probability(split)
    np.testing.assert_allclose(
        CacheUnigram(p, 1e12).score(split), Unigram(p).score(split), rtol=1e-8
    )


def test_the_tuned_cache_is_as_good_on_development_as_any_of_a_grid(sticky):
    p = unigram_probability(sticky)

    def development(concentration):
        scores = CacheUnigram(p, concentration).score(sticky)
        return perplexity(scores, sticky, sticky.development)

    tuned = fit_cache_unigram(sticky).concentration
    grid = np.geomspace(0.1, 1e5, 60)
    values = np.array([development(c) for c in grid])
    assert 0 < values.argmin() < 59  # neither no memory nor nothing but memory
    assert development(tuned) < values.min() * 1.0001


def test_the_cache_gains_where_documents_repeat_themselves(sticky):
    p = unigram_probability(sticky)
    cache = fit_cache_unigram(sticky).score(sticky)
    plain = Unigram(p).score(sticky)
    reported = sticky.reported
    assert perplexity(cache, sticky, reported) < 0.99 * perplexity(plain, sticky, reported)


def test_tuning_the_cache_uses_development_documents_only(sticky):
    """Other words in the reported documents' held-out parts move nothing."""
    words = sticky.corpus.words.copy()
    document = np.repeat(np.arange(sticky.corpus.n_documents), sticky.corpus.lengths)
    changed = sticky.held_out & sticky.reported[document]
    words[changed] = (words[changed] + 1) % 50
    corpus = Corpus(words, sticky.corpus.offsets, sticky.corpus.vocabulary)
    other = Split(corpus, sticky.observed, sticky.n_observed, sticky.development)
    p = unigram_probability(sticky)
    assert np.array_equal(unigram_probability(other), p)
    assert fit_cache_unigram(other).concentration == fit_cache_unigram(sticky).concentration


# ---------------------------------------------------------------------- personalised most popular


def by_hand(model, history):
    """p(v | history), (V,), as the formula has it."""
    weight = np.zeros(len(model.probability))
    for age, item in enumerate(reversed(history)):
        weight[item] += 1.0 if model.half_life is None else 2 ** (-age / model.half_life)
    total = weight.sum() + model.concentration
    return (weight + model.concentration * model.probability) / total


def collect(model, split):
    rows = {}

    def visit(positions, scores):
        rows.update(zip(positions.tolist(), scores.copy(), strict=True))

    model.next_items(split, visit)
    return rows


@settings(max_examples=25, deadline=None)
@given(
    st.integers(0, 200),
    st.floats(1e-3, 1e4),
    st.one_of(st.none(), st.floats(0.05, 1e3)),
    st.floats(0.1, 0.9),
)
def test_rows_and_scores_are_the_formula(seed, concentration, half_life, observed):
    split = split_corpus(random_corpus(8, seed=seed), observed)
    model = Popular(unigram_probability(split), concentration, half_life)
    rows, scores = collect(model, split), model.score(split)
    assert sorted(rows) == np.flatnonzero(split.held_out).tolist()
    for d, score in enumerate(scores):
        words, first = split.corpus.document(d).tolist(), split.corpus.offsets[d]
        expected = 0.0
        for t in range(split.n_observed[d], len(words)):
            p = by_hand(model, words[:t])
            np.testing.assert_allclose(rows[first + t], p, rtol=1e-9)
            assert rows[first + t].sum() == pytest.approx(1, rel=1e-9)
            expected += math.log(p[words[t]])
        assert score == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_without_decay_it_is_tuned_like_the_cache_unigram(sticky):
    tuned = fit_popular(sticky, PopularConfig(half_life=None))
    assert tuned.half_life is None
    assert tuned.concentration == pytest.approx(fit_cache_unigram(sticky).concentration, rel=0.02)


def test_a_very_long_half_life_is_none(sticky):
    p = unigram_probability(sticky)
    long, none = (Popular(p, 5.0, h).score(sticky) for h in (1e9, None))
    np.testing.assert_allclose(long, none, rtol=1e-6)


def test_batches_do_not_show(monkeypatch, sticky):
    model = Popular(unigram_probability(sticky), 3.0, 4.0)
    whole = collect(model, sticky)
    monkeypatch.setattr("lla.peers.counts.popular.SCORES", 150)  # three rows at a time
    for position, row in collect(model, sticky).items():
        np.testing.assert_allclose(row, whole[position], rtol=1e-12)


def test_own_items_come_by_frequency_or_by_recency_then_all_others_by_popularity():
    documents = [[3, 3, 3, 2, 2, 1, 0], [4, 4, 4, 5, 5, 0, 0]]
    split = split_corpus(Corpus.from_documents(documents, "abcdef"), 0.8, development=0)
    p = np.array([0.1, 0.05, 0.2, 0.15, 0.3, 0.2])
    last = split.corpus.offsets[1] - 1
    frequent = collect(Popular(p, 1e-6), split)[last]
    assert np.argsort(-frequent)[:4].tolist() == [3, 2, 1, 4]
    for half_life in (1.0, 0.5):
        recent = collect(Popular(p, 1e-6, half_life), split)[last]
        assert np.argsort(-recent)[:4].tolist() == [1, 2, 3, 4]


def test_items_of_equal_count_are_ordered_by_popularity():
    split = split_corpus(Corpus.from_documents([[0, 1, 2] * 30], "abc"), 0.66, development=0)
    row = collect(Popular(np.array([0.2, 0.5, 0.3]), 1e-9), split)[60]
    assert np.argsort(-row).tolist() == [1, 2, 0]


def test_kernels_compiled_and_plain_agree():
    split = split_corpus(random_corpus(6))
    corpus, p = split.corpus, unigram_probability(split)
    for decay in (1.0, 0.7):
        found = np.empty((2, corpus.n_documents))
        arrays = (corpus.words, corpus.offsets, split.n_observed, p, 2.5, decay)
        popular_scores(*arrays, found[0])
        popular_scores.py_func(*arrays, found[1])
        np.testing.assert_allclose(*found, rtol=1e-12)
        longest = corpus.document(int(corpus.lengths.argmax()))
        rows = np.empty((2, 3, corpus.n_words))
        for kernel, out in zip((popular_rows, popular_rows.py_func), rows, strict=True):
            kernel(longest, len(longest) - 3, p, 2.5, decay, out)
        np.testing.assert_allclose(*rows, rtol=1e-12)


def alternating(n_users=60, length=60, n_items=40, seed=0):
    """Users who stay with one item for a while and then never come back to it."""
    draw = np.random.default_rng(seed)
    documents = [np.repeat(draw.permutation(n_items)[: length // 6], 6) for _ in range(n_users)]
    return split_corpus(Corpus.from_documents(documents, [f"i{v}" for v in range(n_items)]))


def test_recency_is_chosen_when_only_the_last_event_is_informative():
    split = alternating()
    model = fit_popular(split)
    assert model.half_life is not None and model.half_life <= 3
    cache = fit_cache_unigram(split).score(split)
    ours = model.score(split)
    for users in (split.reported, split.development):
        assert perplexity(ours, split, users) < 0.7 * perplexity(cache, split, users)


def test_what_is_tuned_is_as_good_on_development_as_any_of_a_grid():
    split = alternating(40)
    p = unigram_probability(split)

    def development(model):
        return perplexity(model.score(split), split, split.development)

    grid = [Popular(p, c, h) for c in np.geomspace(0.01, 100, 15) for h in (None, 10.0, 1.0)]
    tuned = development(fit_popular(split))
    assert tuned < min(map(development, grid)) * 1.0001


def test_tuning_the_half_life_uses_development_users_only(sticky):
    words = sticky.corpus.words.copy()
    user = np.repeat(np.arange(sticky.corpus.n_documents), sticky.corpus.lengths)
    changed = sticky.held_out & sticky.reported[user]
    words[changed] = (words[changed] + 1) % 50
    corpus = Corpus(words, sticky.corpus.offsets, sticky.corpus.vocabulary)
    other = Split(corpus, sticky.observed, sticky.n_observed, sticky.development)
    one, two = fit_popular(other), fit_popular(sticky)
    assert (one.half_life, one.concentration) == (two.half_life, two.concentration)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"concentration": 0.0}, "concentration is 0.0"),
        ({"half_life": -1.0}, "half_life is -1.0"),
        ({"half_life": math.nan}, "half_life is nan"),
        ({"probability": np.array([0.5, 0.6])}, "probability: give one above 0"),
        ({"probability": np.array([0.0, 1.0])}, "probability: give one above 0"),
    ],
)
def test_invalid_arguments_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        Popular(**({"probability": np.full(2, 0.5), "concentration": 1.0} | options))


def test_a_popularity_of_other_items_is_refused(sticky):
    with pytest.raises(InputError, match="corpus: 50 words, but the model has 2"):
        Popular(np.full(2, 0.5), 1.0).score(sticky)


# ----------------------------------------------------------------------------------------- bigram


def markov_split(n_words=30, n_documents=150, length=40, seed=0):
    """Each word has a few favourites that follow it; the unigram sees next to nothing of that."""
    draw = np.random.default_rng(seed)
    transition = draw.dirichlet(np.full(n_words, 0.1), size=n_words).cumsum(axis=1)
    words = np.empty((n_documents, length), np.int64)
    words[:, 0] = draw.integers(n_words, size=n_documents)
    for t in range(1, length):
        below = draw.random((n_documents, 1)) > transition[words[:, t - 1]]
        words[:, t] = np.minimum(below.sum(axis=1), n_words - 1)
    return split_corpus(Corpus.from_documents(words, [f"w{w}" for w in range(n_words)]))


@pytest.fixture(scope="module")
def markov():
    return markov_split()


def bigram_by_hand(probability, concentration, split):
    pairs, firsts = Counter(), Counter()
    for d in range(split.corpus.n_documents):
        observed = split.observed.document(d).tolist()
        pairs.update(pairwise(observed))
        firsts.update(observed[:-1])
    scores = []
    for d in range(split.corpus.n_documents):
        document, score = split.corpus.document(d).tolist(), 0.0
        for t in range(split.n_observed[d], len(document)):
            w = document[t]
            if t == 0:
                score += math.log(probability[w])
                continue
            v = document[t - 1]
            count = pairs[v, w] + concentration * probability[w]
            score += math.log(count / (firsts[v] + concentration))
        scores.append(score)
    return scores


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 200), st.floats(1e-3, 1e4), st.floats(0.1, 0.9), st.booleans())
def test_the_bigram_is_the_plain_loop(seed, concentration, observed, from_nothing):
    split = split_corpus(random_corpus(8, seed=seed), observed)
    if from_nothing:  # the first two documents are predicted from their first word on
        n_observed = split.n_observed.copy()
        n_observed[:2] = 0
        split = Split(split.corpus, split.observed, n_observed, split.development)
    p = unigram_probability(split)
    np.testing.assert_allclose(
        Bigram(count_pairs(split), p, concentration).score(split),
        bigram_by_hand(p, concentration, split),
        rtol=1e-10,
        atol=1e-12,
    )


def test_pairs_are_counted_within_the_observed_part_of_one_document():
    corpus = Corpus.from_documents([[0, 1, 0, 1, 2, 2], [2, 0], [1]], ["a", "b", "c"])
    split = split_corpus(corpus, 0.6, development=0)  # observed: a b a b | c a | b
    counts = count_pairs(split)
    assert counts.toarray().tolist() == [[0, 2, 0], [1, 0, 0], [1, 0, 0]]
    assert Bigram(counts, unigram_probability(split), 1.0).size().parameters == 3 + 3
    p = np.array([0.5, 0.3, 0.2])
    # after b, seen once before another word: c, and then c after c, also seen once
    expected = math.log(2.0 * 0.2 / (1 + 2.0)) + math.log(2.0 * 0.2 / (1 + 2.0))
    np.testing.assert_allclose(Bigram(counts, p, 2.0).score(split), [expected, 0.0, 0.0])


def test_every_row_is_a_distribution_over_the_next_word():
    """Words and predecessors that were never seen included: one document a pair (v, w)."""
    n_words = 5
    documents = [[0, 1, 0, v, w] for v in range(n_words) for w in range(n_words)]
    split = split_corpus(Corpus.from_documents(documents, "abcde"), 0.8, development=0)
    assert set(split.n_held_out.tolist()) == {1}
    seen = split_corpus(Corpus.from_documents([[0, 1, 0, 1, 2]], "abcde"), 0.8, development=0)
    counts = count_pairs(seen)  # no word after c, d or e; c, d and e never second
    p = unigram_probability(seen)
    rows = np.exp(Bigram(counts, p, 0.7).score(split)).reshape(n_words, n_words)
    assert rows.min() > 0
    np.testing.assert_allclose(rows.sum(axis=1), 1, rtol=1e-12)
    np.testing.assert_allclose(rows[2:], np.tile(p, (3, 1)), rtol=1e-12)


def test_a_bigram_that_never_trusts_its_counts_is_the_unigram(markov):
    p = unigram_probability(markov)
    np.testing.assert_allclose(
        Bigram(count_pairs(markov), p, 1e12).score(markov), Unigram(p).score(markov), rtol=1e-8
    )


def test_a_uniform_prior_is_additive_smoothing(markov):
    """Ko et al. (2016), equation 7, with ε = c/V; the best ε of a grid is no better."""
    counts = count_pairs(markov).toarray()
    words = markov.corpus.words.astype(int)
    log_p = np.zeros((markov.corpus.n_tokens, 40))
    grid = np.append(np.geomspace(1e-3, 10, 39), fit_additive(markov).concentration / 30)
    for column, epsilon in zip(log_p.T, grid, strict=True):
        p = (counts + epsilon) / (counts + epsilon).sum(axis=1, keepdims=True)
        column[1:] = np.log(p[words[:-1], words[1:]])
    scores = np.array([markov.sum_held_out(column) for column in log_p.T])
    np.testing.assert_allclose(fit_additive(markov).score(markov), scores[-1], rtol=1e-10)
    found = [perplexity(row, markov, markov.development) for row in scores]
    assert found[-1] <= min(found) * 1.0001 and 0 < np.argmin(found[:-1]) < 38


def fit_additive(split):
    return fit_bigram(split, BigramConfig(prior="uniform"))


def test_the_bigram_gains_when_words_predict_the_next(markov):
    p, reported = unigram_probability(markov), markov.reported
    bigram = fit_bigram(markov).score(markov)
    plain = Unigram(p).score(markov)
    assert perplexity(bigram, markov, reported) < 0.6 * perplexity(plain, markov, reported)


def test_the_tuned_bigram_is_as_good_on_development_as_any_of_a_grid():
    split = sticky_split(4, 50, 200, 40)[0]
    p, counts = unigram_probability(split), count_pairs(split)

    def development(concentration):
        scores = Bigram(counts, p, concentration).score(split)
        return perplexity(scores, split, split.development)

    tuned = fit_bigram(split).concentration
    values = np.array([development(c) for c in np.geomspace(0.1, 1e5, 60)])
    assert 0 < values.argmin() < 59  # neither the counts alone nor the unigram alone
    assert development(tuned) < values.min() * 1.0001


def test_tuning_the_bigram_uses_development_documents_only(markov):
    """Other words in the reported documents' held-out parts move nothing."""
    words = markov.corpus.words.copy()
    document = np.repeat(np.arange(markov.corpus.n_documents), markov.corpus.lengths)
    changed = markov.held_out & markov.reported[document]
    words[changed] = (words[changed] + 1) % 30
    corpus = Corpus(words, markov.corpus.offsets, markov.corpus.vocabulary)
    other = Split(corpus, markov.observed, markov.n_observed, markov.development)
    assert (count_pairs(other) != count_pairs(markov)).nnz == 0
    assert fit_bigram(other).concentration == fit_bigram(markov).concentration


def test_documents_without_held_out_words_score_nothing():
    split = split_corpus(Corpus.from_documents([[0], [1]], "ab"), development=0)
    model = Bigram(count_pairs(split), unigram_probability(split), 1.0)
    assert model.score(split).tolist() == [0.0, 0.0]


@pytest.mark.parametrize("concentration", [0.0, -1.0, math.inf, math.nan])
def test_a_concentration_that_is_no_number_above_0_is_refused(markov, concentration):
    with pytest.raises(InputError, match="concentration is"):
        Bigram(count_pairs(markov), unigram_probability(markov), concentration).score(markov)


def test_counts_of_another_vocabulary_are_refused(markov):
    other = split_corpus(random_corpus())
    for counted, popular in ((other, markov), (markov, other)):
        with pytest.raises(InputError, match=r"counts: .*; give those of \d+ words"):
            Bigram(count_pairs(counted), unigram_probability(popular), 1.0)
    with pytest.raises(InputError, match=r"corpus: 30 words, but the model has 12"):
        Bigram(count_pairs(other), unigram_probability(other), 1.0).score(markov)
