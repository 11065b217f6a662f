"""Quality in numbers: planted topics are ordered rightly, and each number is its definition."""

from dataclasses import replace

import numpy as np
import pytest

from lla.common.errors import InputError
from lla.corpus import Corpus, split_corpus
from lla.topics.quality import (
    diverse_topics,
    diversity,
    is_junk,
    junk_share,
    matched_jaccard,
    stability,
    stop_word_share,
    topic_quality,
    uniqueness,
)

K, WORDS_PER_TOPIC, V = 5, 8, 40


def planted_phi():
    """Every topic has eight words of its own."""
    phi = np.full((V, K), 1e-4)
    for k in range(K):
        phi[k * WORDS_PER_TOPIC : (k + 1) * WORDS_PER_TOPIC, k] = np.linspace(2, 1, WORDS_PER_TOPIC)
    return phi / phi.sum(axis=0)


def drawn_corpus(seed, n_documents=60):
    """Documents that change topic every ten words."""
    draw, phi = np.random.default_rng(seed), planted_phi()
    documents = []
    for _ in range(n_documents):
        topics = np.repeat(draw.integers(K, size=6), 10)
        documents.append([int(draw.choice(V, p=phi[:, z])) for z in topics])
    return Corpus.from_documents(
        documents, [f"word{letter}" for letter in map(chr, range(97, 137))]
    )


def mixed(phi, weight):
    """Every topic with a part of the next."""
    return (1 - weight) * phi + weight * np.roll(phi, 1, axis=1)


@pytest.fixture(scope="module")
def world():
    return drawn_corpus(0), drawn_corpus(1)


def test_clean_topics_are_better_than_mixed_ones_and_those_than_chance(world):
    training, reference = world
    clean, draw = planted_phi(), np.random.default_rng(3)
    half = mixed(clean, 0.45)
    noise = [draw.dirichlet(np.ones(V), size=K).T for _ in range(3)]
    models = {"clean": [clean, clean[:, ::-1], clean], "mixed": [half], "noise": noise}
    table = topic_quality(models, training, reference, n=6, stop_words=())
    assert list(table.index) == ["clean", "mixed", "noise"] and table.index.name == "model"
    for name in ("npmi", "c_v"):
        assert table[name].is_monotonic_decreasing
        assert table.loc["clean", name] > table.loc["noise", name] + 0.2
    assert table.loc["clean", "stability"] == 1 > table.loc["noise", "stability"]
    assert np.isnan(table.loc["mixed", ["stability", "npmi_std", "c_v_std"]].astype(float)).all()
    assert table.loc["clean", "npmi_std"] == pytest.approx(0, abs=1e-12)
    assert table.loc["clean", "diversity"] == 1 > table.loc["mixed", "diversity"]
    assert table["seeds"].tolist() == [3, 1, 3]
    assert (table[["unrated", "missing"]] == 0).all(axis=None)


def test_models_of_other_numbers_of_topics_stand_in_one_table(world):
    training, reference = world
    clean = planted_phi()
    both = topic_quality({"all": [clean], "two": [clean[:, :2]]}, training, reference, n=6)
    alone = topic_quality({"two": [clean[:, :2]]}, training, reference, n=6)
    np.testing.assert_array_equal(both.loc["two"], alone.loc["two"])


def test_words_that_the_reference_lacks_are_counted_and_left_out(world):
    training, reference = world
    kept = [w for w in range(V) if w not in (0, *range(8, 16))]  # of topic 1 nothing is left
    place = {w: i for i, w in enumerate(kept)}
    documents = [[place[w] for w in reference.document(d) if w in place] for d in range(60)]
    fewer = Corpus.from_documents(
        [ids for ids in documents if ids], [reference.vocabulary[w] for w in kept]
    )
    row = topic_quality({"clean": [planted_phi()]}, training, fewer, n=8).loc["clean"]
    assert row["missing"] == pytest.approx(9 / 40) and row["unrated"] == pytest.approx(1 / 5)
    assert np.isfinite([row["npmi"], row["c_v"]]).all()
    nothing = Corpus.from_documents([[0, 0]], ["elsewhere"])
    row = topic_quality({"clean": [planted_phi()]}, training, nothing, n=8).loc["clean"]
    assert row["missing"] == row["unrated"] == 1 and np.isnan(row["npmi"])


def test_the_training_text_is_no_reference(world):
    training, _ = world
    models = {"clean": [planted_phi()]}
    again = replace(training, names=tuple(map(str, range(60))))
    for own in (training, again):
        with pytest.raises(InputError, match="reference: it is the training corpus; give other"):
            topic_quality(models, training, own)
    observed = split_corpus(training, development=0).observed
    with pytest.raises(InputError, match="its documents begin with those of the training"):
        topic_quality(models, observed, training)


def test_topics_that_repeat_words_are_left_out_first():
    topics = [["a", "b"], ["c", "d"], ["a", "c"], ["e", "f"], ["a", "b"]]
    assert diverse_topics(topics, 0.0).tolist() == [0, 1, 2, 3, 4]
    assert diverse_topics(topics, 0.7).tolist() == [0, 1, 2, 3]
    assert diverse_topics(topics, 1.0).tolist() == [0, 1, 3]
    assert diverse_topics([["a"], ["a"]], 1.0).tolist() == [0]


def test_diversity_and_uniqueness_by_hand():
    topics = [["a", "b"], ["a", "c"], ["a", "c"]]
    assert diversity(topics) == 3 / 6
    assert uniqueness(topics) == pytest.approx(((1 / 3 + 1) + 2 * (1 / 3 + 1 / 2)) / 6)
    assert uniqueness([["a", "b"]] * 4) == 1 / 4 and uniqueness([["a"], ["b"]]) == 1
    assert diversity([["a", "b"]] * 4) == 1 / 4


def test_stop_words_and_junk_by_hand():
    topics = [["The", "sea", "x1", "of"], ["ab", "abc", "1984", "été"]]
    assert stop_word_share(topics, ["the", "of"]) == 2 / 8
    assert junk_share(topics) == 4 / 8
    assert [is_junk(word) for word in ("a", "to", "sea", "b2b", "co2x")] == [
        *(True, True, False, True, True)
    ]


def test_stability_is_the_best_matching_of_top_words():
    """Two topics, three words each: {0, 1, 2}, {3, 4, 5} against {3, 4, 0}, {0, 1, 5}."""

    def phi(*topics):
        columns = np.zeros((6, len(topics)))
        for k, words in enumerate(topics):
            columns[list(words), k] = 1 / 3
        return columns

    one, other = phi((0, 1, 2), (3, 4, 5)), phi((3, 4, 0), (0, 1, 5))
    assert matched_jaccard(one, other, 3) == pytest.approx((2 / 4 + 2 / 4) / 2)
    assert matched_jaccard(one, one[:, ::-1], 3) == 1
    assert stability([one, other, one], 3) == pytest.approx((0.5 + 1 + 0.5) / 3)
    assert np.isnan(stability([one]))


@pytest.mark.parametrize(
    ("models", "message"),
    [
        ({}, "models: there is none"),
        ({"a": planted_phi()}, "models: 'a' is an array; give a list of φ, one per seed"),
        ({"a": []}, "models: 'a' has no φ"),
        ({"a": [planted_phi()[:-1]]}, r"phi: \(39, 5\); give \(V, K\) of the 40 words"),
        ([planted_phi()], "models is a list: give a Mapping"),
    ],
)
def test_models_that_cannot_be_rated_are_refused(world, models, message):
    training, reference = world
    with pytest.raises(InputError, match=f"^{message}"):
        topic_quality(models, training, reference)
    with pytest.raises(InputError, match="give one \\(V, K\\) for all"):
        stability([planted_phi(), planted_phi()[:, :3]])
