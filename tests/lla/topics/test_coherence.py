"""Coherence: counts against all windows written out, measures against gensim and the formula."""

import math
from itertools import combinations

import numpy as np
import pytest
from gensim.corpora.dictionary import Dictionary
from gensim.models.coherencemodel import CoherenceModel
from gensim.topic_coherence.direct_confirmation_measure import log_ratio_measure
from gensim.topic_coherence.indirect_confirmation_measure import cosine_similarity
from hypothesis import given, settings
from hypothesis import strategies as st
from simulated import random_corpus

from lla.common.errors import InputError
from lla.corpus import Corpus
from lla.topics import coherence as module
from lla.topics.coherence import npmi, topic_cv, topic_npmi, window_counts

TOPICS = [["w0", "w3", "w5"], ["w1", "absent", "w2"], ["w4", "absent", "lost"]]


def windows_of(corpus, size):
    """The set of words of every window."""
    found = []
    for d in range(corpus.n_documents):
        words = corpus.items(d)
        size_here = len(words) if size is None else size
        found += [set(words[s : s + size_here]) for s in range(max(1, len(words) - size_here + 1))]
    return found


@given(st.integers(0, 300), st.sampled_from([1, 2, 3, 5, 30, None]), st.sampled_from([1, 2**18]))
@settings(max_examples=60, deadline=None)
def test_windows_are_counted_as_if_each_were_written_out(seed, size, block):
    corpus = random_corpus(6, n_words=7, longest=14, seed=seed)
    with pytest.MonkeyPatch.context() as patch:  # also where every document is a block
        whole = module.blocks
        patch.setattr(module, "blocks", lambda *of: whole(*of, max_places=block))
        counts = window_counts(TOPICS, corpus, size)
    windows = windows_of(corpus, size)
    assert counts.n_windows == len(windows)
    for k, words in enumerate(TOPICS):
        for i, one in enumerate(words):
            for j, other in enumerate(words):
                both = sum(one in window and other in window for window in windows)
                assert counts.together[k, i, j] == both


def brute_force_npmi(words, windows):
    def p(*of):
        return sum(set(of) <= window for window in windows) / len(windows)

    known = [word for word in words if p(word)]
    values = []
    for a, b in combinations(known, 2):
        pair = p(a, b)
        if pair == 1:
            values.append(1.0)
        else:
            ratio = math.log((pair + 1e-12) / (p(a) * p(b)))
            values.append(ratio / -math.log(pair + 1e-12))
    return sum(values) / len(values) if values else math.nan


@given(st.integers(0, 300), st.sampled_from([2, 4, None]))
@settings(max_examples=40, deadline=None)
def test_npmi_is_that_of_a_brute_force_count(seed, size):
    corpus = random_corpus(5, n_words=8, longest=12, seed=seed)
    found = topic_npmi(window_counts(TOPICS, corpus, size))
    windows = windows_of(corpus, size)
    np.testing.assert_allclose(
        found, [brute_force_npmi(words, windows) for words in TOPICS], rtol=1e-9, atol=1e-9
    )


def test_npmi_of_words_that_always_and_never_meet():
    documents = [[0, 1], [2], [3], [0, 1]]
    corpus = Corpus.from_documents(documents, ["a", "b", "c", "d"])
    always, never = npmi(window_counts([["a", "b"], ["c", "d"]], corpus, None))[:, 0, 1]
    assert always == pytest.approx(1)
    # ε keeps it above -1: log(1e-12 / (1/4 · 1/4)) / log(1e12).
    assert never == pytest.approx(-1 + math.log(16) / math.log(1e12))
    one = Corpus.from_documents([[0, 1]], ["a", "b"])
    assert topic_npmi(window_counts([["a", "b"]], one, None)).tolist() == [1]


def test_words_that_the_reference_lacks_are_left_out():
    corpus = random_corpus(6, n_words=7, longest=14, seed=1)
    counts = window_counts(TOPICS, corpus, 4)
    assert counts.known.tolist() == [[True] * 3, [True, False, True], [True, False, False]]
    without = window_counts([["w1", "w2"]], corpus, 4)
    assert topic_npmi(counts)[1] == topic_npmi(without)[0]
    assert topic_cv(counts)[1] == pytest.approx(topic_cv(without)[0])
    assert np.isnan([topic_npmi(counts)[2], topic_cv(counts)[2]]).all()


def distinct_texts(seed=0):
    """Texts without a repeated word, on which gensim counts right."""
    draw = np.random.default_rng(seed)
    words = np.array([f"w{w}" for w in range(14)])
    return [draw.permutation(words)[: draw.integers(3, 13)].tolist() for _ in range(60)]


@pytest.mark.parametrize("size", [3, 5, 10])
def test_npmi_and_cv_are_those_of_gensim(size):
    texts = distinct_texts()
    vocabulary = sorted({word for text in texts for word in text})
    ids = {word: w for w, word in enumerate(vocabulary)}
    reference = Corpus.from_documents([[ids[w] for w in text] for text in texts], vocabulary)
    topics = [vocabulary[:4], vocabulary[3:7], vocabulary[8:12]]
    counts = window_counts(topics, reference, size)
    for name, ours in (("c_npmi", topic_npmi(counts)), ("c_v", topic_cv(counts))):
        theirs = CoherenceModel(
            topics=topics,
            texts=texts,
            dictionary=Dictionary(texts),
            coherence=name,
            window_size=size,
            processes=1,
        )
        np.testing.assert_allclose(ours, theirs.get_coherence_per_topic(), rtol=1e-9)


class Counted:
    """Our counts of one topic, as gensim's measures ask for them."""

    def __init__(self, counts):
        self.together, self.num_docs = counts.together[0], counts.n_windows

    def __getitem__(self, ids):
        one, other = ids if isinstance(ids, tuple) else (ids, ids)
        return self.together[one, other]


@pytest.mark.parametrize("size", [3, 10])
def test_measures_of_the_same_counts_are_those_of_gensim_where_words_repeat(size):
    reference = random_corpus(40, n_words=30, longest=25, seed=2)
    words = ["w1", "w4", "w7", "w9", "w12"]
    counts = window_counts([words], reference, size)
    pairs = [[(i, j) for i in range(5) for j in range(5) if i != j]]
    direct = log_ratio_measure(pairs, Counted(counts), normalize=True)
    np.testing.assert_allclose(topic_npmi(counts), direct, rtol=1e-9)
    segments = [[(i, np.arange(5)) for i in range(5)]]
    indirect = cosine_similarity(segments, Counted(counts), [np.arange(5)])
    np.testing.assert_allclose(topic_cv(counts), indirect, rtol=1e-9)


@pytest.mark.parametrize(
    ("topics", "size", "message"),
    [
        ([["a", "a"]], 3, "topic 0: a word is there twice"),
        ([], 3, "topics: there are no words"),
        (["ab"], 3, "topic 0 is 'ab': give a list of words"),
        ([["w1"]], 0, "window is 0: give 1 or more"),
    ],
)
def test_topics_and_windows_that_cannot_be_counted_are_refused(topics, size, message):
    with pytest.raises(InputError, match=f"^{message}"):
        window_counts(topics, random_corpus(3, seed=0), size)
