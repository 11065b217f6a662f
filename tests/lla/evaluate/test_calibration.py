"""Calibration: brute force, a predictor that is calibrated, and ones that are not."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simulated import random_corpus, sticky_split

from lla.common.errors import InputError
from lla.corpus import split_corpus
from lla.evaluate.calibration import (
    Reliability,
    evaluate_calibration,
    reliability,
    top_predictions,
)
from lla.peers.counts import fit_bigram

V = 12


@pytest.fixture(scope="module")
def split():
    return split_corpus(random_corpus(25, V, longest=30, seed=2), development=0.2)


class Given:
    """Hands over given rows, by position; in batches of seven, in any order."""

    seconds, history = 0.0, ()

    def __init__(self, rows, gives_logits=False):
        self.rows, self.gives_logits = rows, gives_logits

    def next_items(self, split, on_scores, *, seed=0):
        positions = np.random.default_rng(0).permutation(np.flatnonzero(split.held_out))
        for i in range(0, len(positions), 7):
            on_scores(positions[i : i + 7], self.rows[positions[i : i + 7]])


def binned_by_hand(p, came, n_bins):
    """Bins of sorted predictions: a new one starts where a cut falls, at the run of its value."""
    order = sorted(range(len(p)), key=lambda i: p[i])
    firsts = {
        min(j for j in order if p[j] == p[order[b * len(p) // n_bins]]) for b in range(n_bins)
    }
    values = sorted({p[j] for j in firsts})
    bins = []
    for low, high in zip(values, [*values[1:], np.inf], strict=True):
        inside = [i for i in order if low <= p[i] < high]
        bins.append((len(inside), [p[i] for i in inside], [came[i] for i in inside]))
    return bins


@settings(max_examples=80, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from([0.0, 0.1, 0.25, 0.3, 0.5, 0.9, 1.0]), st.booleans()),
        min_size=1,
        max_size=20,
    ),
    st.integers(1, 8),
)
def test_bins_and_error_are_those_of_a_plain_loop(predictions, n_bins):
    p, came = map(list, zip(*predictions, strict=True))
    found = reliability(p, came, n_bins)
    bins = binned_by_hand(p, came, n_bins)
    assert found.count.tolist() == [n for n, _, _ in bins]
    np.testing.assert_allclose(found.predicted, [np.mean(ps) for _, ps, _ in bins], atol=1e-12)
    np.testing.assert_allclose(found.frequency, [np.mean(cs) for _, _, cs in bins], atol=1e-12)
    gaps = [n * abs(np.mean(cs) - np.mean(ps)) for n, ps, cs in bins]
    assert found.error == pytest.approx(sum(gaps) / len(p), abs=1e-12)
    assert found.excess == pytest.approx(np.mean(p) - np.mean(came), abs=1e-12)
    assert len(bins) <= n_bins and found.count.sum() == len(p)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000), st.integers(1, 20))
def test_the_error_is_at_least_the_excess_and_grows_with_nested_bins(seed, n_bins):
    draw = np.random.default_rng(seed)
    p, came = draw.random(120), draw.random(120) < 0.4
    few, many = reliability(p, came, n_bins), reliability(p, came, 120)
    assert abs(few.excess) - 1e-12 <= few.error <= many.error + 1e-12 <= 1
    assert few.excess == pytest.approx(many.excess, abs=1e-12)
    order = draw.permutation(120)
    assert reliability(p[order], came[order], n_bins).error == pytest.approx(few.error, abs=1e-12)


def test_distinct_probabilities_fill_bins_of_the_same_number():
    p = np.random.default_rng(0).permutation(1000) / 1000
    found = reliability(p, p > 0.5, 8)
    assert found.count.tolist() == [125] * 8
    assert (np.diff(found.predicted) > 0).all()
    one = reliability(np.full(1000, 0.25), p > 0.5, 8)
    assert one.count.tolist() == [1000] and one.predicted.tolist() == [0.25]


def test_a_calibrated_predictor_has_an_error_near_0_and_others_have_their_own():
    """p², or its root, of what comes with p: what they lack to p is known."""
    draw = np.random.default_rng(3)
    p = draw.random(200_000)
    came = draw.random(200_000) < p
    assert reliability(p, came).error < 0.005
    high = reliability(np.sqrt(p), came)
    assert high.error == pytest.approx(2 / 3 - 1 / 2, abs=0.01)  # ∫ √p - p
    assert high.excess == pytest.approx(high.error, abs=1e-6)
    low = reliability(p**2, came)
    assert low.error == pytest.approx(1 / 2 - 1 / 3, abs=0.01)
    assert low.excess == pytest.approx(-low.error, abs=1e-6)
    assert np.abs(reliability(p, came).frequency - reliability(p, came).predicted).max() < 0.02


# ----------------------------------------------------------------------- predictions of a model


def world(n_events=40, n_users=300, seed=0):
    """Events drawn from known rows: the split, and the rows by position."""
    draw = np.random.default_rng(seed)
    split = split_corpus(random_corpus(n_users, V, longest=n_events, seed=seed))
    rows = draw.dirichlet(np.full(V, 0.3), size=split.corpus.n_tokens)
    below = draw.random((len(rows), 1)) > rows.cumsum(axis=1)
    words = np.minimum(below.sum(axis=1), V - 1)
    documents = np.split(words, split.corpus.offsets[1:-1])
    corpus = type(split.corpus).from_documents(documents, split.corpus.vocabulary)
    return split_corpus(corpus), rows


def sharpened(rows, power):
    """The same order, with more of the mass on the likeliest items."""
    raised = rows**power
    return raised / raised.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("top", [1, 3, V])
def test_the_true_distribution_is_calibrated_and_a_sharper_one_is_overconfident(top):
    split, rows = world()
    true = evaluate_calibration(Given(rows), split, top=top, n_bins=10)
    sharp = evaluate_calibration(Given(sharpened(rows, 3.0)), split, top=top, n_bins=10)
    assert true.error < 0.03
    assert sharp.error > 2 * true.error
    if top == 1:
        flat = evaluate_calibration(Given(sharpened(rows, 0.4)), split, n_bins=10)
        assert sharp.excess > 0.05 and flat.excess < -0.05
    if top == V:  # all of the mass, so there is no excess
        assert sharp.excess == pytest.approx(0, abs=1e-12)
        assert sharp.count.sum() == V * split.n_held_out[split.reported].sum()


def test_the_likeliest_items_are_those_of_a_sorted_list(split):
    rows = np.random.default_rng(1).dirichlet(np.ones(V), size=split.corpus.n_tokens)
    positions = np.flatnonzero(split.held_out & np.repeat(split.reported, split.corpus.lengths))
    for top in (1, 4, V, 3 * V):
        probability, came = top_predictions(Given(rows), split, top=top)
        assert probability.shape == came.shape == (len(positions), min(top, V))
        for position, found, hit in zip(positions, probability, came, strict=True):
            best = sorted(range(V), key=lambda v: -rows[position, v])[:top]
            assert sorted(found, reverse=True) == [rows[position, v] for v in best]
            assert hit.sum() == (split.corpus.words[position] in best)
            if hit.any():
                assert found[hit] == rows[position, split.corpus.words[position]]
    with_logits = Given(np.log(rows) + 5.0, gives_logits=True)
    np.testing.assert_allclose(
        np.sort(top_predictions(with_logits, split, top=2)[0]),
        np.sort(top_predictions(Given(rows), split, top=2)[0]),
        rtol=1e-12,
    )


def test_users_are_chosen(split):
    rows = np.random.default_rng(1).dirichlet(np.ones(V), size=split.corpus.n_tokens)
    both = [
        top_predictions(Given(rows), split, users=users)[0]
        for users in (split.reported, split.development)
    ]
    every = top_predictions(Given(rows), split, users=np.ones(25, bool))[0]
    assert [len(part) for part in both] == [
        split.n_held_out[users].sum() for users in (split.reported, split.development)
    ]
    assert sorted(np.concatenate(both).ravel()) == sorted(every.ravel())


def test_a_fitted_model_is_judged_in_one_call():
    split = sticky_split(4, 40, 60, 40)[0]
    found = evaluate_calibration(fit_bigram(split), split, top=5)
    assert found.count.sum() == 5 * split.n_held_out[split.reported].sum()
    assert 0 < found.error < 0.1
    table = found.table()
    assert list(table.columns) == ["predictions", "predicted", "frequency", "standard_error"]
    f, n = table["frequency"], table["predictions"]
    np.testing.assert_allclose(table["standard_error"], np.sqrt(f * (1 - f) / n))
    assert "error=" in repr(found)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([], []), "probability: float64 (0,); give one or more numbers"),
        (([0.5, 1.5], [True, False]), "probability: entry 1 is 1.5; give numbers from 0 to 1"),
        (([0.5, np.nan], [True, False]), "probability: entry 1 is nan; give numbers from 0"),
        (([0.5], [1]), "came: int64 (1,); give 1 booleans"),
        (([0.5], [True, False]), "came: bool (2,); give 1 booleans"),
        (([0.5], [True], 0), "n_bins is 0: give 1 or more"),
    ],
)
def test_invalid_predictions_are_refused(arguments, message):
    with pytest.raises(InputError, match=f"^{re.escape(message)}"):
        reliability(*arguments)


def test_what_cannot_be_judged_is_named(split):
    rows = np.full((split.corpus.n_tokens, V), 1 / V)
    with pytest.raises(InputError, match=r"^top is 0: give 1 or more"):
        evaluate_calibration(Given(rows), split, top=0)
    with pytest.raises(InputError, match=r"^split: these users have no held-out event"):
        evaluate_calibration(Given(rows), split, users=split.n_held_out == 0)
    with pytest.raises(InputError, match=r"^fitted is an? ndarray: give a fitted model"):
        evaluate_calibration(rows, split)
    with pytest.raises(InputError, match="hands over no probabilities"):
        evaluate_calibration(Given(3 * rows), split)


def test_a_curve_without_a_gap_has_no_error():
    curve = Reliability(np.array([3, 1]), np.array([0.2, 0.8]), np.array([0.2, 0.8]))
    assert curve.error == curve.excess == 0
