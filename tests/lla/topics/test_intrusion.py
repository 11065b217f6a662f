"""The word intrusion test: every question has one intruder, and the key tells where."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lla.common.errors import InputError
from lla.topics.intrusion import intrusion_score, intrusion_test, questions_text


def random_phi(n_words, n_topics, seed):
    return np.random.default_rng(seed).dirichlet(np.full(n_words, 0.2), size=n_topics).T


@given(st.integers(0, 100), st.integers(0, 5))
@settings(max_examples=30, deadline=None)
def test_a_question_is_the_top_words_of_a_topic_and_one_that_is_unlikely_there(seed, number):
    phi, words = random_phi(60, 8, number), [f"w{w}" for w in range(60)]
    questions, key = intrusion_test(phi, words, seed, n_questions=6, n_words=4)
    assert len(questions) == len(key) == 6
    for question, of in zip(questions, key, strict=True):
        assert question[of.place] == of.word and len(set(question)) == 5
        top = {words[w] for w in np.argsort(-phi[:, of.topic])[:4]}
        assert set(question) - {of.word} == top
        others = {words[w] for w in np.argsort(-phi[:, of.other])[:4]}
        assert of.other != of.topic and of.word in others
        rank = np.sum(phi[:, of.topic] > phi[words.index(of.word), of.topic])
        assert rank >= 30
    assert len({of.topic for of in key}) == len({of.word for of in key}) == 6


def test_the_seed_decides_the_test():
    phi, words = random_phi(60, 8, 0), [f"w{w}" for w in range(60)]
    assert intrusion_test(phi, words, 3, 5) == intrusion_test(phi, words, 3, 5)
    assert intrusion_test(phi, words, 3, 5) != intrusion_test(phi, words, 4, 5)
    places = {of.place for seed in range(20) for of in intrusion_test(phi, words, seed, 5)[1]}
    assert places == set(range(6))


def test_the_score_is_the_share_of_intruders_found():
    phi, words = random_phi(60, 8, 0), [f"w{w}" for w in range(60)]
    questions, key = intrusion_test(phi, words, 1, 4)
    right = [of.place for of in key]
    assert intrusion_score(key, right) == 1
    assert intrusion_score(key, [(right[0] + 1) % 6, *right[1:]]) == 0.75
    lines = questions_text(questions).splitlines()
    assert len(lines) == 4 and f"{key[2].place} {key[2].word}" in lines[2]
    with pytest.raises(InputError, match="answers: 1 to 4 questions; give one to each"):
        intrusion_score(key, [0])


def test_topics_without_an_intruder_are_passed_over():
    """All topics alike: what is likely in another is likely here."""
    phi, words = np.tile(random_phi(20, 1, 0), 3), [f"w{w}" for w in range(20)]
    with pytest.raises(InputError, match="n_questions is 1: 0 of 3 topics have an intruder"):
        intrusion_test(phi, words, 0, 1)
    with pytest.raises(InputError, match="n_questions is 9: 8 of 8 topics have an intruder"):
        intrusion_test(random_phi(60, 8, 0), [f"w{w}" for w in range(60)], 0, 9)
