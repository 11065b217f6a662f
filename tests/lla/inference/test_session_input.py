"""Whatever a history holds: a distribution, or one line that says what to do."""

import logging

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from served import ITEMS, VARIANTS, V, emission, model, network

from lla.common.errors import InputError
from lla.corpus import Corpus
from lla.model import Model

HISTORY = [ITEMS[w] for w in (2, 0, 2, 1)]
NO_TOPICS = "this model predicts words, it has no topics; ask an LLA"


def said(caplog):
    """The lines of the log since the last look."""
    lines = [record.getMessage() for record in caplog.records]
    assert all(record.levelno == logging.WARNING for record in caplog.records)
    assert not any("\n" in line for line in lines)
    caplog.clear()
    return lines


@pytest.mark.parametrize("kind", ["topic", "word_lstm"])
def test_unknown_items_are_skipped_and_one_line_says_so(kind, caplog):
    asked = model(kind)
    strange = ["new", *HISTORY[:2], "new", "a\tb\nc", "7", "x" * 500, *HISTORY[2:]]
    assert asked.recommend(strange, 2) == asked.recommend(HISTORY, 2)
    names = r"'new', 'a\tb\nc', '7', ..."
    line = f"skipped 5 of 9 items that are not in the model's vocabulary: {names}"
    assert said(caplog) == [line]
    assert asked.recommend(["new", "x" * 500], 2) == asked.recommend([], 2)
    assert [len(line) < 120 for line in said(caplog)] == [True]
    asked.session(HISTORY)
    assert not said(caplog)


def test_k_above_the_number_of_items_returns_all_with_a_warning(caplog):
    asked = model()
    assert asked.recommend(HISTORY, 99) == asked.recommend(HISTORY, V)
    assert said(caplog) == ["k is 99: the model has 4 items, here are all"]
    assert asked.recommend(ITEMS, 2, exclude_seen=True) == []
    assert said(caplog) == ["k is 2: the model has 0 items not in the history, here are all"]


def test_items_come_from_any_sequence():
    asked = model()
    expected = asked.recommend(["42", "tea"])
    for history in (
        ("42", "tea"),
        np.array(["42", "tea"]),
        iter(["42", "tea"]),
        pd.Series(["42", "tea"], dtype="category"),
    ):
        assert asked.recommend(history) == expected


def test_ids_are_not_taken_for_names():
    """A shop whose items are numbers: an id taken for a name would recommend the wrong items."""
    corpus = Corpus.from_documents([[2, 0], [1]], ["1", "2", "0", "42"])
    asked = Model(network("topic"), emission(), np.empty(0, np.int32), corpus.vocabulary)
    ids = corpus.document(0)
    for wrong in (list(ids), ids.tolist(), [42, "1"]):
        with pytest.raises(InputError, match=r"is no name: give items as strings, such as corpus"):
            asked.recommend(wrong)
    assert corpus.items(0) == ["0", "1"]
    lettered = Model(network("topic"), emission(), np.empty(0, np.int32), ("a", "b", "c", "d"))
    expected = lettered.session(["c", "a"]).probabilities()  # of ids 2 and 0
    assert np.array_equal(asked.session(corpus.items(0)).probabilities(), expected)


@pytest.mark.parametrize("history", ["tea", b"tea", None, 7, {"tea"}, {"tea": 1}])
def test_a_history_that_is_not_a_list(history):
    with pytest.raises(InputError, match=r"^history is .*: give a list of items, such as \["):
        model().recommend(history)


@pytest.mark.parametrize("dtype", [np.uint16, np.int32, np.int64])
def test_word_ids_are_no_history_of_items(dtype):
    """Item "42" may have the id 0, and the id 42 be that of another item."""
    ids = np.array([0, 2], dtype)
    for ask in (model().recommend, model().topics_ahead, model().session, model().decode):
        with pytest.raises(InputError, match=f"^history is an array of {ids.dtype}: give items by"):
            ask(ids)
    assert model().recommend(np.array([42], dtype).astype(str)) == model().recommend(["42"])


@pytest.mark.parametrize("item", [None, 1.0, float("nan"), True, b"tea", ["tea"], 7])
def test_items_that_are_no_strings(item):
    session = model().session(HISTORY)
    before = session.probabilities()
    with pytest.raises(InputError, match=r"^item .* is no name: give items as strings"):
        session.extend(["tea", item])
    assert len(session) == len(HISTORY), "nothing of a bad list is taken"
    assert session.probabilities().tobytes() == before.tobytes()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: m.recommend([], 0), "k is 0: give 1 or more"),
        (lambda m: m.recommend([], 2.5), "k is 2.5: give a whole number, 1 or more"),
        (lambda m: m.recommend([], n_particles=0), "n_particles is 0: give 1 or more"),
        (lambda m: m.recommend([], seed=-1), "seed is -1: give 0 or more"),
        (lambda m: m.topics_ahead([], 0), "steps is 0: give 1 or more"),
        (lambda m: m.topics_ahead([], 2, n_futures=0), "n_futures is 0: give 1 or more"),
    ],
)
def test_numbers_out_of_range(call, message):
    with pytest.raises(InputError) as caught:
        call(model())
    assert str(caught.value) == message


def test_an_lstm_over_words_has_no_topics():
    for ask in (lambda m: m.topics_ahead(HISTORY), lambda m: m.topic_names()):
        with pytest.raises(InputError) as caught:
            ask(model("word_lstm"))
        assert str(caught.value) == NO_TOPICS


def test_network_emission_and_vocabulary_must_match():
    none = np.zeros(0, np.int32)
    for names in ((), ITEMS[:3]):
        with pytest.raises(InputError, match=rf"4 items and the vocabulary {len(names)}: give "):
            Model(network("topic"), emission(), none, names).recommend([])
    with pytest.raises(InputError, match=r"phi: .* predicts 4 topics; give both of one fit"):
        Model(network("word_lstm"), emission(), none, ITEMS).recommend([])


def test_an_item_the_model_cannot_emit_is_named_and_the_session_continues():
    asked = model()
    asked.emission.phi[1] = 0.0
    session = asked.session(["tea"])
    before = session.probabilities()
    with pytest.raises(FloatingPointError, match=r"^item 'cake' has probability 0 or NaN under"):
        session.add("cake")
    assert session.probabilities().tobytes() == before.tobytes() and len(session) == 1
    session.add("tea")
    assert np.isfinite(session.probabilities()).all()


ASKED = [model(*variant) for variant in VARIANTS]


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(ASKED),
    st.lists(st.sampled_from(ITEMS) | st.text(max_size=4), max_size=12),
    st.integers(1, 6),
    st.integers(1, 4),
)
def test_any_history_gives_a_distribution(asked, history, k, n_particles):
    options = {"n_particles": n_particles}
    found = asked.recommend(history, k, **options)
    known = [item for item in history if item in ITEMS]
    assert found == asked.recommend(known, k, **options)
    shares = [share for _, share in found]
    assert len(found) == min(k, V) and shares == sorted(shares, reverse=True)
    assert all(0 <= share <= 1 for share in shares) and sum(shares) <= 1 + 1e-5
    p = asked.session(history, **options).probabilities()
    assert p.sum() == pytest.approx(1.0, abs=1e-5)
    if asked.emission is not None:
        ahead = asked.topics_ahead(history, 2, n_futures=8, **options)
        np.testing.assert_allclose(ahead.sum(axis=1), 1.0)
        assert (ahead >= 0).all()
