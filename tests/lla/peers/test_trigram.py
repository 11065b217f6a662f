"""The trigram against loops, its own sums, and the bigram that it becomes."""

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from simulated import random_corpus

from lla.common.errors import InputError
from lla.corpus import split_corpus
from lla.peers.counts import Bigram, TrigramConfig, fit_trigram

FIXED = TrigramConfig(bigram=2.0, trigram=3.0)


@pytest.fixture(scope="module")
def split():
    return split_corpus(random_corpus(n_documents=30, n_words=5, longest=12, seed=1))


def by_loops(split, c2, c3):
    """log p of the held-out words of every document, by dictionaries of counts."""
    n_words = split.corpus.n_words
    pairs, triples = Counter(), Counter()
    for d in range(split.corpus.n_documents):
        words = split.observed.document(d).tolist()
        pairs.update(pairwise(words))
        triples.update(zip(words, words[1:], words[2:], strict=False))
    after = [1 + sum(n for (_, w), n in pairs.items() if w == v) for v in range(n_words)]

    def bigram(v, w):
        prior = after[w] / sum(after)
        n = sum(pairs[v, x] for x in range(n_words))
        return (pairs[v, w] + c2 * prior) / (n + c2)

    found = []
    for d in range(split.corpus.n_documents):
        words, total = split.corpus.document(d).tolist(), 0.0
        for t in range(split.n_observed[d], len(words)):
            p = bigram(words[t - 1], words[t])
            if t > 1:
                u, v, w = words[t - 2 : t + 1]
                n = sum(triples[u, v, x] for x in range(n_words))
                p = (triples[u, v, w] + c3 * p) / (n + c3)
            total += np.log(p)
        found.append(total)
    return found


def test_scores_are_those_of_loops(split):
    fitted = fit_trigram(split, FIXED)
    assert fitted.score(split) == pytest.approx(by_loops(split, 2.0, 3.0))


def test_probabilities_sum_to_one_and_are_those_of_the_scores(split):
    fitted, log_p = fit_trigram(split, FIXED), np.zeros(split.corpus.n_tokens)

    def on_scores(positions, rows):
        assert rows.sum(axis=1) == pytest.approx(np.ones(len(rows)))
        log_p[positions] = np.log(rows[np.arange(len(rows)), split.corpus.words[positions]])

    fitted.next_items(split, on_scores)
    assert split.sum_held_out(log_p) == pytest.approx(fitted.score(split))


def test_with_a_large_concentration_it_is_its_bigram(split):
    fitted = fit_trigram(split, TrigramConfig(bigram=2.0, trigram=1e9))
    assert isinstance(fitted.base, Bigram)
    assert fitted.score(split) == pytest.approx(fitted.base.score(split), abs=1e-6)


def test_concentrations_are_chosen_on_development_documents(split):
    fitted = fit_trigram(split)
    part = split.restrict(split.development)
    best = fitted.score(part).sum()
    for factor in (0.5, 2.0):
        config = TrigramConfig(fitted.base.concentration, factor * fitted.concentration)
        assert fit_trigram(split, config).score(part).sum() <= best + 1e-3
    with pytest.raises(InputError, match="bigram"):
        TrigramConfig(bigram=-1.0)
    assert fitted.size().parameters == len(fitted.triples) + fitted.base.size().parameters + 1
