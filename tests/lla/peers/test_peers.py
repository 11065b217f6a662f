"""The unigram, and the unigram with a cache of its document, against plain loops."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simulated import random_corpus, sticky_split

from lla.corpus import Corpus, Split, split_corpus
from lla.evaluate.perplexity import perplexity
from lla.peers.counts import score_cache_unigram, score_unigram, tune_concentration, unigram


@pytest.fixture(scope="module")
def sticky():
    return sticky_split(4, 50, 200, 40)[0]


def test_the_unigram_counts_observed_words_alone():
    corpus = Corpus.from_documents([[0, 0, 1, 2, 2], [1, 0]], ["a", "b", "c", "d"])
    split = split_corpus(corpus, development=0)  # observed: a a b | b a
    assert unigram(split).tolist() == [4 / 9, 3 / 9, 1 / 9, 1 / 9]
    np.testing.assert_allclose(unigram(split, 0.5), np.array([3.5, 2.5, 0.5, 0.5]) / 7)
    held_out = [2 * math.log(1 / 9), 0.0]
    np.testing.assert_allclose(score_unigram(unigram(split), split), held_out)


def test_a_uniform_unigram_has_perplexity_v():
    split = split_corpus(random_corpus())
    scores = score_unigram(np.full(12, 1 / 12), split)
    assert perplexity(scores, split, split.reported) == pytest.approx(12, rel=1e-12)


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
    p = unigram(split)
    expected = cache_by_hand(p, concentration, split)
    np.testing.assert_allclose(
        score_cache_unigram(p, concentration, split), expected, rtol=1e-10, atol=1e-12
    )


def test_the_cache_is_a_distribution_over_the_next_word():
    documents = [[0, 1, 1, 0, w] for w in range(4)]
    split = split_corpus(Corpus.from_documents(documents, "abcd"), 0.8, development=0)
    assert split.n_held_out.tolist() == [1] * 4
    p = np.array([0.1, 0.2, 0.3, 0.4])
    assert np.exp(score_cache_unigram(p, 2.5, split)).sum() == pytest.approx(1, rel=1e-12)


def test_a_cache_that_never_learns_is_the_unigram():
    split = split_corpus(random_corpus())
    p = unigram(split)
    np.testing.assert_allclose(
        score_cache_unigram(p, 1e12, split), score_unigram(p, split), rtol=1e-8
    )


def test_the_tuned_concentration_is_as_good_on_development_as_any_of_a_grid(sticky):
    p = unigram(sticky)

    def development(concentration):
        scores = score_cache_unigram(p, concentration, sticky)
        return perplexity(scores, sticky, sticky.development)

    tuned = tune_concentration(p, sticky)
    grid = np.geomspace(0.1, 1e5, 60)
    values = np.array([development(c) for c in grid])
    assert 0 < values.argmin() < 59  # neither no memory nor nothing but memory
    assert development(tuned) < values.min() * 1.0001


def test_the_cache_gains_where_documents_repeat_themselves(sticky):
    p = unigram(sticky)
    cache = score_cache_unigram(p, tune_concentration(p, sticky), sticky)
    plain = score_unigram(p, sticky)
    reported = sticky.reported
    assert perplexity(cache, sticky, reported) < 0.99 * perplexity(plain, sticky, reported)


def test_tuning_sees_development_documents_alone(sticky):
    """Other words in the reported documents' held-out parts move nothing."""
    words = sticky.corpus.words.copy()
    document = np.repeat(np.arange(sticky.corpus.n_documents), sticky.corpus.lengths)
    changed = sticky.held_out & sticky.reported[document]
    words[changed] = (words[changed] + 1) % 50
    corpus = Corpus(words, sticky.corpus.offsets, sticky.corpus.vocabulary)
    other = Split(corpus, sticky.observed, sticky.n_observed, sticky.development)
    p = unigram(sticky)
    assert np.array_equal(unigram(other), p)
    assert tune_concentration(p, other) == tune_concentration(p, sticky)
