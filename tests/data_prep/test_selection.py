"""Which users and items the rules of Ko et al. (2016) leave, on cases made by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_prep import (
    SelectionOptions,
    drop_homogeneous,
    drop_rare,
    drop_unseen,
    select_users,
)
from data_prep.selection import entropies
from lla.common.errors import InputError
from lla.corpus import Corpus, Split, split_last


def corpus_of(histories, n_items):
    names = [f"user {u}" for u in range(len(histories))]
    return Corpus.from_documents(histories, [f"i{i}" for i in range(n_items)], names)


def test_items_come_first_and_users_need_more_than_the_core():
    # Item 1 has two events and goes; then user 0 has four events left, user 1 exactly three.
    corpus = corpus_of([[0, 1, 0, 2, 2], [0, 0, 2, 1]], 3)
    assert drop_rare(corpus, core=3).names == ("user 0",)
    with pytest.raises(InputError, match="core is 4: no user has more events of frequent items"):
        drop_rare(corpus, core=4)


def test_one_pass_leaves_items_that_users_took_away():
    # User 1 has too few events, and with them item 1 loses one of its two; it stays all the same.
    kept = drop_rare(corpus_of([[0, 1, 2, 0], [1, 0]], 3), core=2)
    assert (kept.names, kept.vocabulary) == (("user 0",), ("i0", "i1"))
    assert kept.items(0) == ["i0", "i1", "i0"]


@given(st.lists(st.lists(st.integers(0, 4), min_size=1, max_size=8), min_size=1, max_size=6))
@settings(max_examples=50, deadline=None)
def test_the_rule_written_out(histories):
    events = [item for history in histories for item in history]
    short = [[item for item in history if events.count(item) >= 3] for history in histories]
    expected = {f"user {u}": h for u, h in enumerate(short) if len(h) > 3}
    corpus = corpus_of(histories, 5)
    if not expected:
        with pytest.raises(InputError, match="core is 3"):
            drop_rare(corpus, core=3)
        return
    kept = drop_rare(corpus, core=3)
    found = {name: [int(item[1:]) for item in kept.items(name)] for name in kept.names}
    assert found == expected
    assert set(kept.vocabulary) == {f"i{i}" for history in expected.values() for i in history}


def test_homogeneous_users_are_those_of_the_observed_events_alone():
    # User 0 is varied in what is held out only, user 1 in what is observed only.
    corpus = corpus_of([[0] * 6 + [1, 2, 3], [0, 1] * 3 + [1, 1, 1], [0, 1, 2, 3] * 3], 4)
    split = split_last(corpus, held_out=0.1, least=3, development=0.0)
    assert entropies(split.observed)[:2] == pytest.approx([0, np.log(2)])
    assert drop_homogeneous(split, 0.0).corpus.names == ("user 1", "user 2")
    left = drop_homogeneous(split, 0.7)
    assert left.corpus.names == ("user 2",) and left.n_observed.tolist() == [9]
    with pytest.raises(InputError, match=r"nats is 9.0: no user's observed events"):
        drop_homogeneous(split, 9.0)
    with pytest.raises(InputError, match="nats"):
        drop_homogeneous(split, -1.0)


def test_entropy_is_that_of_the_shares_of_items():
    words = np.array([0, 0, 0, 1, 2, 2, 1], np.int32)
    corpus = Corpus(words, np.array([0, 2, 4, 7]), ("a", "b", "c"))
    two_thirds = np.log(3) - 2 / 3 * np.log(2)
    assert entropies(corpus) == pytest.approx([0, np.log(2), two_thirds])


def test_items_are_those_that_someone_was_trained_on():
    # Item 3 is in held-out parts alone: its events go, and user 1 keeps none of hers.
    corpus = corpus_of([[0, 2, 0, 3, 2], [2, 0, 3], [0, 0, 2]], 4)
    split = Split(corpus, corpus.beginnings(held := np.array([3, 2, 2])), held, np.zeros(3, bool))
    left = drop_unseen(split)
    assert left.corpus.vocabulary == left.observed.vocabulary == ("i0", "i2")
    assert left.n_held_out.tolist() == [1, 0, 1]
    assert [left.corpus.items(d) for d in range(3)] == [
        ["i0", "i2", "i0", "i2"],
        ["i2", "i0"],
        ["i0", "i0", "i2"],
    ]
    assert left.observed.items(0) == ["i0", "i2", "i0"]


def test_the_whole_selection_is_its_parts():
    draw = np.random.default_rng(3)
    histories = [draw.integers(draw.integers(1, 40) + 1, size=60) for _ in range(30)]
    corpus = corpus_of(histories, 41)
    found = select_users(corpus, SelectionOptions(core=8, nats=1.5, held_out=0.1, development=0.2))
    split = split_last(drop_rare(corpus, core=8), held_out=0.1, least=3, most=500, development=0.2)
    expected = drop_unseen(drop_homogeneous(split, 1.5))
    assert found.identity() == expected.identity() and found.corpus.n_documents < 30
    whole = select_users(corpus, SelectionOptions(core=8, held_out=0.1))
    assert whole.corpus.n_documents == split.corpus.n_documents
    for options, message in (({"core": 0}, "core is 0"), ({"nats": -1.0}, "nats is -1.0")):
        with pytest.raises(InputError, match=message):
            SelectionOptions(**options)
    with pytest.raises(InputError, match="options is None"):
        select_users(corpus, None)
