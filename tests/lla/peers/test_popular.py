"""Personalised most popular against plain loops and the cache unigram that it must become."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simulated import random_corpus, sticky_split

from lla.common.errors import InputError
from lla.corpus import Corpus, Split, split_corpus
from lla.evaluate.perplexity import perplexity
from lla.peers.counts import score_cache_unigram, tune_concentration, unigram
from lla.peers.popular import (
    Popular,
    next_items_popular,
    popular_rows,
    popular_scores,
    score_popular,
    tune_popular,
)


@pytest.fixture(scope="module")
def sticky():
    return sticky_split(4, 50, 200, 40)[0]


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

    next_items_popular(model, split, visit)
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
    model = Popular(unigram(split), concentration, half_life)
    rows, scores = collect(model, split), score_popular(model, split)
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


def test_without_decay_it_is_the_cache_unigram_to_the_bit(sticky):
    p = unigram(sticky)
    for c in (0.3, 20.0, 1e4):
        ours = score_popular(Popular(p, c), sticky)
        assert np.array_equal(ours, score_cache_unigram(p, c, sticky))
    tuned = tune_popular(p, sticky, (None,))
    assert tuned.half_life is None
    assert tuned.concentration == pytest.approx(tune_concentration(p, sticky), rel=0.02)


def test_a_very_long_half_life_is_none(sticky):
    p = unigram(sticky)
    long, none = (score_popular(Popular(p, 5.0, h), sticky) for h in (1e9, None))
    np.testing.assert_allclose(long, none, rtol=1e-6)


def test_batches_do_not_show(monkeypatch, sticky):
    model = Popular(unigram(sticky), 3.0, 4.0)
    whole = collect(model, sticky)
    monkeypatch.setattr("lla.peers.popular.SCORES", 150)  # three rows at a time
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


def test_favourites_of_equal_count_stand_by_popularity_at_any_concentration():
    split = split_corpus(Corpus.from_documents([[0, 1, 2] * 30], "abc"), 0.66, development=0)
    row = collect(Popular(np.array([0.2, 0.5, 0.3]), 1e-9), split)[60]
    assert np.argsort(-row).tolist() == [1, 2, 0]


def test_kernels_compiled_and_plain_agree():
    split = split_corpus(random_corpus(6))
    corpus, p = split.corpus, unigram(split)
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


def test_recency_is_chosen_and_gains_where_only_the_last_event_tells():
    split = alternating()
    p = unigram(split)
    model = tune_popular(p, split)
    assert model.half_life is not None and model.half_life <= 3
    cache = score_cache_unigram(p, tune_concentration(p, split), split)
    ours = score_popular(model, split)
    for users in (split.reported, split.development):
        assert perplexity(ours, split, users) < 0.7 * perplexity(cache, split, users)


def test_what_is_tuned_is_as_good_on_development_as_any_of_a_grid():
    split = alternating(40)
    p = unigram(split)

    def development(model):
        return perplexity(score_popular(model, split), split, split.development)

    grid = [Popular(p, c, h) for c in np.geomspace(0.01, 100, 15) for h in (None, 10.0, 1.0)]
    tuned = development(tune_popular(p, split, (None, 10.0, 1.0)))
    assert tuned < min(map(development, grid)) * 1.0001


def test_tuning_sees_development_users_alone(sticky):
    words = sticky.corpus.words.copy()
    user = np.repeat(np.arange(sticky.corpus.n_documents), sticky.corpus.lengths)
    changed = sticky.held_out & sticky.reported[user]
    words[changed] = (words[changed] + 1) % 50
    corpus = Corpus(words, sticky.corpus.offsets, sticky.corpus.vocabulary)
    other = Split(corpus, sticky.observed, sticky.n_observed, sticky.development)
    p = unigram(sticky)
    one, two = tune_popular(p, other), tune_popular(p, sticky)
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
def test_what_cannot_be_meant_is_refused(options, message):
    with pytest.raises(InputError, match=message):
        Popular(**({"probability": np.full(2, 0.5), "concentration": 1.0} | options))


def test_a_popularity_of_other_items_is_refused(sticky):
    with pytest.raises(InputError, match="probability has 2 items"):
        score_popular(Popular(np.full(2, 0.5), 1.0), sticky)
