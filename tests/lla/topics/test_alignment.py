"""Topics of two models: what corresponds, what changed, what was divided."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lla.common.errors import InputError
from lla.topics.alignment import (
    alignment_table,
    most_changed,
    split_table,
    split_topics,
    topic_contingency,
)
from lla.topics.tables import as_text

WORDS = ("strike", "union", "labour", "mine", "coal", "ore", "tax", "law")


def topic(**probability):
    """A column of φ."""
    return np.array([probability.get(word, 0.0) for word in WORDS])


@given(st.permutations(range(6)), st.integers(0, 50))
@settings(deadline=None)
def test_a_permuted_model_is_aligned_with_itself(order, seed):
    phi = np.random.default_rng(seed).dirichlet(np.full(30, 0.3), size=6).T
    words = [f"w{w}" for w in range(30)]
    table = alignment_table(phi, phi[:, order], words, 5)
    assert [order[j] for j in table["match"]] == list(range(6))
    np.testing.assert_allclose(table["overlap"], 1)
    assert all(len(text.split(", ")) == 5 for text in table["shared"])
    assert not any(table["gained"]) and not any(table["lost"])


def test_shared_gained_and_lost_words_of_a_pair():
    one = np.stack([topic(strike=0.5, union=0.3, mine=0.2), topic(tax=0.6, law=0.4)], axis=1)
    other = np.stack([topic(law=0.7, tax=0.3), topic(union=0.5, strike=0.4, labour=0.1)], axis=1)
    tokens = {"topic_tokens": np.array([70, 30]), "other_tokens": np.array([40, 60])}
    table = alignment_table(one, other, WORDS, 3, **tokens)
    first = table.loc[0]
    assert first["match"] == 1 and first["overlap"] == pytest.approx(0.4 + 0.3)
    assert (first["shared"], first["gained"], first["lost"]) == ("strike, union", "labour", "mine")
    assert table["tokens"].tolist() == [70, 30] and table["other_tokens"].tolist() == [60, 40]
    assert "lost: mine" in as_text(table) and "gained: labour" in as_text(table)


def test_the_most_changed_topics_by_their_rule():
    overlap, tokens = np.array([0.9, 0.1, 0.5, 0.3, 0.5]), np.array([900, 900, 900, 10, 900])
    assert most_changed(overlap, tokens, 9).tolist() == [1, 2, 4, 0]
    assert most_changed(overlap, tokens, 2, min_overlap=0.2).tolist() == [2, 4]
    assert most_changed(overlap, tokens, 1, min_tokens=0).tolist() == [1]
    assert most_changed(overlap, tokens, min_tokens=10_000).tolist() == []


@given(st.integers(0, 100), st.integers(1, 7))
def test_tokens_are_counted_by_both_topics(seed, size):
    draw = np.random.default_rng(seed)
    topics, other = draw.integers(3, size=20), draw.integers(4, size=20).astype(np.uint16)
    counts = topic_contingency(topics, other, 3, 4, size)
    for k, j in product(range(3), range(4)):
        assert counts[k, j] == sum(a == k and b == j for a, b in zip(topics, other, strict=True))


def test_divided_topics_are_found_and_the_evenest_comes_first():
    """Topic 0 in halves, topic 1 in 70 to 30, topic 2 kept; topic 5 takes some of every topic."""
    counts = np.array(
        [
            [400, 400, 0, 0, 0, 200],
            [0, 0, 560, 240, 0, 200],
            [0, 0, 0, 0, 800, 200],
            [30, 30, 0, 0, 0, 0],
        ]
    )
    table = split_topics(counts)
    assert list(table.index) == [0, 1] and table.index.name == "topic"
    assert table.loc[0, "parts"] == (0, 1) and table.loc[0, "shares"] == (0.4, 0.4)
    assert table.loc[1, "parts"] == (2, 3) and table.loc[1, "second_share"] == 0.24
    assert table["tokens"].tolist() == [1000, 1000]
    # Topic 5 has a fifth of all topics' tokens, which is no division.
    everything = split_topics(counts, min_ratio=0, min_tokens=0)
    assert everything.loc[2, "parts"] == (4, 5) and everything.loc[0, "n_parts"] == 3
    assert 3 in everything.index
    assert split_topics(counts, min_share=0.3).index.tolist() == [0]
    # Seen from the other model, two topics were merged.
    assert split_topics(np.array([[600, 0], [500, 0], [0, 2000]]).T).loc[0, "parts"] == (0, 1)
    empty = split_topics(np.zeros((2, 2), int), min_tokens=0)
    assert len(empty) == 0 and list(empty.columns) == list(table.columns)


def test_the_table_of_a_divided_topic_names_its_parts():
    """The paper's Table 3: strikes and mining in one topic of LDA, in two of LLA."""
    lda = np.stack([topic(strike=0.4, mine=0.35, coal=0.25), topic(tax=1.0)], axis=1)
    other = [topic(strike=0.6, union=0.4), topic(tax=1.0), topic(mine=0.6, coal=0.3, ore=0.1)]
    topics = np.repeat([0, 1], [1000, 1000])
    parts = np.repeat([0, 2, 1], [450, 550, 1000])
    counts = topic_contingency(topics, parts, 2, 3)
    table = split_table(counts, lda, np.stack(other, axis=1), WORDS, n_words=2)
    assert table.index.tolist() == [0, 0, 0]
    assert table["model"].tolist() == ["LDA", "LLA", "LLA"]
    assert table["number"].tolist() == [0, 2, 0] and table["share"].tolist() == [1, 0.55, 0.45]
    assert table["words"].tolist() == ["strike, mine", "mine, coal", "strike, union"]
    assert "words: mine, coal" in as_text(table)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: most_changed(np.ones((2, 2)), np.ones(2)), r"overlap: float64 \(2, 2\)"),
        (lambda: most_changed(np.ones(2), np.ones(3)), r"tokens: float64 \(3,\)"),
        (lambda: topic_contingency([0, 1], [0], 2, 2), "topics: 2 topics for 1 observed"),
        (lambda: topic_contingency([0, 2], [0, 1], 2, 2), "topics: topic 2, but n_topics is 2"),
        (lambda: split_topics(np.ones((2, 2))), r"counts: float64 \(2, 2\); give what"),
        (lambda: split_topics(np.ones((2, 2), int), min_share=1), "min_share is 1: give a share"),
        (
            lambda: split_table(np.ones((2, 3), int), np.ones((8, 2)), np.ones((8, 2)), WORDS),
            "other: 2 topics, but counts has 3",
        ),
    ],
)
def test_what_does_not_belong_together_is_refused(call, message):
    with pytest.raises(InputError, match=f"^{message}"):
        call()
