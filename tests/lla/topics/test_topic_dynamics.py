"""What follows what: against loops over tokens, chains of known law, and the simulated world."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_prep.clicks.simulate import simulate_clicks
from data_prep.clicks.world import FLIGHTS, HOTELS, ClickConfig, make_world
from lla.common.errors import InputError
from lla.corpus.folder import offsets_of
from lla.topics.dynamics import (
    delayed_pairs,
    dwell_times,
    observed_after,
    topic_flow,
    topic_share,
    transition_counts,
    transition_lift,
    visits,
)

DOCUMENTS = st.lists(
    st.lists(st.integers(0, 3), min_size=1, max_size=9), min_size=1, max_size=6
)  # topics of tokens, K = 4


def flat(documents):
    return np.concatenate(documents).astype(np.int64), offsets_of([len(z) for z in documents])


def runs_of(documents):
    """(topic, length, whether the document ends there) of every run."""
    found = []
    for z in documents:
        start = 0
        for t in range(1, len(z) + 1):
            if t == len(z) or z[t] != z[start]:
                found.append((z[start], t - start, t == len(z)))
                start = t
    return found


@settings(max_examples=60, deadline=None)
@given(DOCUMENTS, st.integers(1, 5))
def test_transitions_are_those_of_a_loop_over_tokens(documents, lag):
    expected = np.zeros((4, 4), int)
    for z in documents:
        for t in range(len(z) - lag):
            expected[z[t], z[t + lag]] += 1
    topics, offsets = flat(documents)
    np.testing.assert_array_equal(transition_counts(topics, offsets, 4, lag), expected)
    after = observed_after(topics, offsets, 4, steps=lag)
    for k, row in enumerate(expected):
        if row.sum():
            np.testing.assert_allclose(after[lag - 1, k], row / row.sum())
        else:
            assert np.isnan(after[lag - 1, k]).all()


def test_transitions_do_not_depend_on_how_the_corpus_is_cut_into_blocks():
    """A document longer than a block, and many short ones."""
    draw = np.random.default_rng(0)
    topics = draw.integers(0, 3, size=700_000)
    offsets = np.r_[0, 300_000, np.arange(300_010, 700_001, 10)]
    document = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    pairs = document[:-2] == document[2:]
    expected = np.zeros((3, 3), int)
    np.add.at(expected, (topics[:-2][pairs], topics[2:][pairs]), 1)
    np.testing.assert_array_equal(transition_counts(topics, offsets, 3, 2), expected)


def test_lift_is_one_where_order_does_not_matter():
    share = np.array([0.5, 0.3, 0.2])
    np.testing.assert_allclose(transition_lift(np.outer(share, share) * 1e5), 1.0)
    counts = np.array([[0, 6, 0], [2, 0, 0], [0, 0, 0]])
    lift = transition_lift(counts)
    # S_01 = 8 of 16, both margins 8: 8 * 16 / (8 * 8).
    np.testing.assert_allclose(lift[:2, :2], [[0, 2], [2, 0]])
    assert np.isnan(lift[2]).all() and np.isnan(lift[:, 2]).all()


@settings(max_examples=60, deadline=None)
@given(DOCUMENTS)
def test_visits_and_dwell_times_are_those_of_a_loop_over_runs(documents):
    topics, offsets = flat(documents)
    found, runs = visits(topics, offsets), runs_of(documents)
    assert list(zip(found.topics, found.lengths, strict=True)) == [(k, n) for k, n, _ in runs]
    assert found.lengths.sum() == len(topics) and found.offsets[-1] == len(runs)
    per_document = np.split(found.lengths, found.offsets[1:-1])
    assert [part.sum() for part in per_document] == np.diff(offsets).tolist()
    dwell = dwell_times(topics, offsets, 5)
    for k in range(5):
        lengths = [n for topic, n, _ in runs if topic == k]
        assert dwell.runs[k] == len(lengths)
        assert dwell.cut[k] == sum(last for topic, _, last in runs if topic == k)
        if lengths:
            assert dwell.mean[k] == pytest.approx(np.mean(lengths))
            assert dwell.spread[k] == pytest.approx(np.std(lengths), abs=1e-6)
        else:
            assert np.isnan(dwell.mean[k])


def test_dwell_of_a_constructed_sequence():
    topics = np.array([0, 0, 0, 1, 0, 1, 1, 2])
    dwell = dwell_times(topics, np.array([0, 8]), 4)
    assert dwell.runs.tolist() == [2, 2, 1, 0] and dwell.cut.tolist() == [0, 0, 1, 0]
    assert dwell.mean[:3].tolist() == [2.0, 1.5, 1.0]
    assert dwell.spread[:2].tolist() == [1.0, 0.5]
    assert dwell.stay[:2].tolist() == [0.5, pytest.approx(1 / 3)]
    assert dwell.geometric_mean[:2] == pytest.approx([2.0, 1.5])
    assert dwell.geometric_spread[0] == pytest.approx(np.sqrt(0.5) / 0.5)
    assert np.isnan([dwell.stay[2], dwell.geometric_mean[2], dwell.mean[3]]).all()
    endless = dwell_times(np.zeros(5, int), np.array([0, 5]), 1)
    assert endless.geometric_mean[0] == np.inf and endless.stay[0] == 1.0


def test_stays_of_a_markov_chain_are_geometric_and_those_of_clicks_more_regular():
    draw = np.random.default_rng(2)
    leaves_topic = draw.random(40_000) < 0.2
    chain = np.cumsum(leaves_topic) % 2
    dwell = dwell_times(chain, np.array([0, 40_000]), 2)
    np.testing.assert_allclose(dwell.mean, 5.0, rtol=0.05)
    np.testing.assert_allclose(dwell.spread, dwell.geometric_spread, rtol=0.05)
    corpus, leaves = simulate_clicks(ClickConfig(n_users=200, max_dwell=20))
    n_leaves = len(make_world(ClickConfig()).leaves)
    clicks = dwell_times(leaves, corpus.offsets, n_leaves)
    assert (clicks.spread < 0.8 * clicks.geometric_spread).all()  # a gamma density of shape 4


def test_the_delayed_pair_of_the_simulated_world_is_flights_then_hotels():
    config = ClickConfig(n_users=400)
    corpus, leaves = simulate_clicks(config)
    names = make_world(config).leaves
    after = observed_after(leaves, corpus.offsets, len(names), 15)
    pairs = delayed_pairs(after, topic_share(leaves, len(names)), names=names, within=15)
    best = pairs.iloc[0]
    assert (best["topic"], best["then"]) == (FLIGHTS, HOTELS)
    assert best["lift_at_once"] < 0.2 and best["lift"] > 5 and 4 <= best["lag"] <= 15


def test_the_rule_of_the_delayed_lift():
    after = np.full((4, 3, 3), np.nan)
    after[:, 0] = [[0.8, 0.1, 0.1], [0.3, 0.6, 0.1], [0.1, 0.4, 0.5], [0.0, 0.1, 0.9]]
    after[:, 1] = [[0.5, 0.3, 0.2], [0.5, 0.3, 0.2], [0.5, 0.3, 0.2], [0.5, 0.3, 0.2]]
    share = np.array([0.5, 0.3, 0.2])  # topic 2 never occurs: a row of NaN
    pairs = delayed_pairs(after, share, names=["a", "b", "c"])
    assert pairs[["topic", "then"]].to_numpy().tolist() == [["a", "c"], ["a", "b"]]
    assert pairs["lag"].tolist() == [4, 2]
    assert pairs["lift"].tolist() == pytest.approx([4.5, 2.0])
    assert pairs["lift_at_once"].tolist() == pytest.approx([0.5, 1 / 3])
    assert pairs["probability"].tolist() == [0.9, 0.6]
    shorter = delayed_pairs(after, share, within=3)
    assert shorter[["topic", "then", "lag"]].to_numpy().tolist() == [[0, 2, 3], [0, 1, 2]]
    assert len(delayed_pairs(after, share, soon=2.2)) == 1
    assert len(delayed_pairs(after, share, at_once=0.4)) == 1
    assert len(delayed_pairs(after, share, min_share=0.25)) == 1


def test_flow_among_the_largest_topics():
    documents = [[0, 0, 1, 0, 2], [1, 0, 0, 3], [0, 1, 1, 1]]
    topics, offsets = flat(documents)
    flow = topic_flow(topics, offsets, 5, n_largest=2)
    assert flow.topics.tolist() == [0, 1]
    np.testing.assert_allclose(flow.share, [6 / 13, 5 / 13])
    # Runs of topic 0 lead to 1, 2, 3 and 1; those of topic 1 to 0 and 0.
    np.testing.assert_allclose(flow.moves, [[0, 0.5], [1.0, 0]])
    np.testing.assert_allclose(flow.stay, [2 / 6, 2 / 4])
    assert topic_flow(topics, offsets, 5, n_largest=10).topics.tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: transition_counts(np.array([0, 4]), np.array([0, 2]), 4), "topics: topic 4, but"),
        (
            lambda: transition_counts(np.array([0, 1]), np.array([0, 3]), 4),
            "topics: 2 topics for 3",
        ),
        (lambda: transition_counts(np.array([0]), np.array([1.0]), 4), "offsets: float64"),
        (lambda: transition_counts(np.array([0]), np.array([0, 1]), 4, 0), "lag is 0: give 1 or"),
        (lambda: transition_lift(np.zeros((2, 2))), "counts: give finite counts, 0 or more"),
        (lambda: topic_share(np.array([], int), 3), "topics: there is none"),
        (lambda: delayed_pairs(np.ones((3, 2, 2)), np.ones(3)), r"share: \(3,\); give the share"),
        (lambda: delayed_pairs(np.ones((1, 2, 2)), np.ones(2)), "after: 1 step; give 2 or more"),
        (lambda: delayed_pairs(-np.ones((3, 2, 2)), np.ones(2)), "after: give probabilities, from"),
        (
            lambda: delayed_pairs(np.ones((3, 2, 2)), np.ones(2), names=["a"]),
            "names: 1; give one for each of the 2 topics",
        ),
    ],
)
def test_what_does_not_belong_together_is_refused(call, message):
    with pytest.raises(InputError, match=f"^{message}"):
        call()
