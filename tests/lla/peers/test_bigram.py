"""The bigram with a Dirichlet prior, against plain loops over words."""

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
    fit_bigram,
    n_parameters,
    score_bigram,
    score_unigram,
    tune_bigram,
    unigram,
)


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


def by_hand(probability, concentration, split):
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
        corpus, n_observed = split.corpus, split.n_observed.copy()
        n_observed[:2] = 0
        split = Split(corpus, corpus._cut(np.arange(8), n_observed), n_observed, split.development)
    p = unigram(split)
    np.testing.assert_allclose(
        score_bigram(fit_bigram(split), p, concentration, split),
        by_hand(p, concentration, split),
        rtol=1e-10,
        atol=1e-12,
    )


def test_pairs_are_counted_within_the_observed_part_of_one_document():
    corpus = Corpus.from_documents([[0, 1, 0, 1, 2, 2], [2, 0], [1]], ["a", "b", "c"])
    split = split_corpus(corpus, 0.6, development=0)  # observed: a b a b | c a | b
    counts = fit_bigram(split)
    assert counts.toarray().tolist() == [[0, 2, 0], [1, 0, 0], [1, 0, 0]]
    assert n_parameters(counts) == 3 + 3
    p = np.array([0.5, 0.3, 0.2])
    # after b, seen once before another word: c, and then c after c, also seen once
    expected = math.log(2.0 * 0.2 / (1 + 2.0)) + math.log(2.0 * 0.2 / (1 + 2.0))
    np.testing.assert_allclose(score_bigram(counts, p, 2.0, split), [expected, 0.0, 0.0])


def test_every_row_is_a_distribution_over_the_next_word():
    """Words and predecessors that were never seen included: one document a pair (v, w)."""
    n_words = 5
    documents = [[0, 1, 0, v, w] for v in range(n_words) for w in range(n_words)]
    split = split_corpus(Corpus.from_documents(documents, "abcde"), 0.8, development=0)
    assert set(split.n_held_out.tolist()) == {1}
    seen = split_corpus(Corpus.from_documents([[0, 1, 0, 1, 2]], "abcde"), 0.8, development=0)
    counts = fit_bigram(seen)  # no word after c, d or e; c, d and e never second
    p = unigram(seen)
    rows = np.exp(score_bigram(counts, p, 0.7, split)).reshape(n_words, n_words)
    assert rows.min() > 0
    np.testing.assert_allclose(rows.sum(axis=1), 1, rtol=1e-12)
    np.testing.assert_allclose(rows[2:], np.tile(p, (3, 1)), rtol=1e-12)


def test_a_bigram_that_never_trusts_its_counts_is_the_unigram(markov):
    p = unigram(markov)
    np.testing.assert_allclose(
        score_bigram(fit_bigram(markov), p, 1e12, markov), score_unigram(p, markov), rtol=1e-8
    )


def test_the_bigram_gains_where_a_word_tells_of_the_next(markov):
    p, counts, reported = unigram(markov), fit_bigram(markov), markov.reported
    bigram = score_bigram(counts, p, tune_bigram(counts, p, markov), markov)
    plain = score_unigram(p, markov)
    assert perplexity(bigram, markov, reported) < 0.6 * perplexity(plain, markov, reported)


def test_the_tuned_concentration_is_as_good_on_development_as_any_of_a_grid():
    split = sticky_split(4, 50, 200, 40)[0]
    p, counts = unigram(split), fit_bigram(split)

    def development(concentration):
        scores = score_bigram(counts, p, concentration, split)
        return perplexity(scores, split, split.development)

    tuned = tune_bigram(counts, p, split)
    values = np.array([development(c) for c in np.geomspace(0.1, 1e5, 60)])
    assert 0 < values.argmin() < 59  # neither the counts alone nor the unigram alone
    assert development(tuned) < values.min() * 1.0001


def test_tuning_sees_development_documents_alone(markov):
    """Other words in the reported documents' held-out parts move nothing."""
    words = markov.corpus.words.copy()
    document = np.repeat(np.arange(markov.corpus.n_documents), markov.corpus.lengths)
    changed = markov.held_out & markov.reported[document]
    words[changed] = (words[changed] + 1) % 30
    corpus = Corpus(words, markov.corpus.offsets, markov.corpus.vocabulary)
    other = Split(corpus, markov.observed, markov.n_observed, markov.development)
    p, counts = unigram(markov), fit_bigram(markov)
    assert (fit_bigram(other) != counts).nnz == 0
    assert tune_bigram(counts, p, other) == tune_bigram(counts, p, markov)


def test_documents_without_held_out_words_score_nothing():
    split = split_corpus(Corpus.from_documents([[0], [1]], "ab"), development=0)
    assert score_bigram(fit_bigram(split), unigram(split), 1.0, split).tolist() == [0.0, 0.0]


@pytest.mark.parametrize("concentration", [0.0, -1.0, math.inf, math.nan])
def test_a_concentration_that_is_no_number_above_0_is_refused(markov, concentration):
    with pytest.raises(InputError, match="concentration is"):
        score_bigram(fit_bigram(markov), unigram(markov), concentration, markov)


def test_counts_of_another_vocabulary_are_refused(markov):
    other = split_corpus(random_corpus())
    with pytest.raises(InputError, match=r"the 30 words of this split"):
        score_bigram(fit_bigram(other), unigram(markov), 1.0, markov)
    with pytest.raises(InputError, match=r"the 30 words of this split"):
        score_bigram(fit_bigram(markov), unigram(other), 1.0, markov)
