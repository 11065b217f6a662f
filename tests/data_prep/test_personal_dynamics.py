"""Simulated users with dynamics of their own: the oracle against plain Python and against draws."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from enumeration import LEVEL, p_value, within_standard_errors
from hypothesis import given, settings
from hypothesis import strategies as st

from data_prep import PersonalDynamicsConfig, prepare_personal_dynamics
from data_prep.__main__ import main
from data_prep.personal_dynamics import (
    NAME,
    draw_weights,
    next_items,
    score_oracle,
    simulate_personal_dynamics,
    weights_of,
)
from experiments.families import fit_oracle, is_simulated
from lla.common.errors import InputError
from lla.corpus import Corpus, Split, load_corpus, split_corpus

TINY = PersonalDynamicsConfig(
    n_users=3, min_events=4, max_events=6, n_items=4, state_size=2, scale=1.5, seed=5
)


def log_p_by_hand(weights, user, history):
    """log p(x_t | x_<t) of one history, a loop over events, units and items."""
    size = weights.w_in.shape[1]
    state, found = [0.0] * size, []
    for item in history:
        logits = [sum(w * h for w, h in zip(row, state, strict=True)) for row in weights.w_out]
        found.append(logits[item] - math.log(sum(map(math.exp, logits))))
        matrix = weights.recurrent[user]
        state = [
            math.tanh(weights.w_in[item][i] + sum(matrix[i][j] * state[j] for j in range(size)))
            for i in range(size)
        ]
    return found


def all_held_out(corpus):
    """A split that holds out whatever a document allows: all but its first event."""
    ones = np.ones(corpus.n_documents, np.int64)
    return Split(corpus, corpus.beginnings(ones), ones, np.zeros(corpus.n_documents, bool))


@given(
    st.builds(
        PersonalDynamicsConfig,
        n_users=st.integers(1, 3),
        min_events=st.integers(1, 3),
        max_events=st.integers(3, 5),
        n_items=st.integers(1, 5),
        state_size=st.integers(1, 3),
        scale=st.floats(0, 20),
        seed=st.integers(0, 10**6),
    )
)
@settings(max_examples=25, deadline=None)
def test_the_oracle_is_the_recurrence_written_out(config):
    corpus = simulate_personal_dynamics(config)
    assert config.min_events <= corpus.lengths.min() <= corpus.lengths.max() <= config.max_events
    weights, split = weights_of(corpus), split_corpus(corpus, development=0.0)
    by_hand = np.concatenate(
        [log_p_by_hand(weights, u, corpus.document(u)) for u in range(corpus.n_documents)]
    )
    expected = split.sum_held_out(by_hand)
    np.testing.assert_allclose(score_oracle(weights, split), expected, rtol=1e-9, atol=1e-9)


def test_the_probabilities_of_all_histories_sum_to_one():
    weights = draw_weights(TINY)
    histories = list(itertools.product(range(TINY.n_items), repeat=3))
    for user in range(TINY.n_users):
        total = sum(math.exp(sum(log_p_by_hand(weights, user, h))) for h in histories)
        assert total == pytest.approx(1, rel=1e-12)


def test_next_items_are_the_probabilities_that_scores_are_made_of():
    corpus = simulate_personal_dynamics(TINY)
    split, weights = split_corpus(corpus), weights_of(corpus)
    log_p = np.zeros(corpus.n_tokens)

    def on_scores(positions, rows):
        np.testing.assert_allclose(rows.sum(axis=1), 1, rtol=1e-6)
        log_p[positions] = np.log(rows[np.arange(len(positions)), corpus.words[positions]])

    next_items(weights, split, on_scores)
    assert np.array_equal(log_p < 0, split.held_out)
    np.testing.assert_allclose(split.sum_held_out(log_p), score_oracle(weights, split), rtol=1e-5)


@pytest.fixture(scope="module")
def many():
    """Many short histories, each of another user."""
    config = replace(TINY, n_users=4000, min_events=3, max_events=3, state_size=2)
    return simulate_personal_dynamics(config)


def test_histories_are_drawn_from_the_probabilities(many):
    """Every user has another distribution, so cells are ranks of the events, not items."""
    weights = weights_of(many)
    items = many.words.reshape(-1, 3).astype(int)
    states = np.zeros((many.n_documents, 2))
    users = np.arange(many.n_documents)
    for t in range(3):
        p = np.exp(weights.log_p(states))  # (U, I)
        assert p_value(np.bincount(items[:, t], minlength=4), p.mean(axis=0)) > LEVEL
        order = np.argsort(p, axis=1)
        rank = np.argmax(order == items[:, t, None], axis=1)
        expected = np.take_along_axis(p, order, axis=1).mean(axis=0)
        assert p_value(np.bincount(rank, minlength=4), expected) > LEVEL
        states = weights.next_states(states, items[:, t], users)


def test_log_evidence_is_the_entropy_on_average(many):
    """E[-log p(x_2, x_3 | x_1)] is the mean of the conditional entropies on the way."""
    split, weights = all_held_out(many), weights_of(many)
    entropy = np.zeros(many.n_documents)

    def on_scores(positions, rows):
        p = rows.astype(np.float64)
        entropy[positions // 3] -= (p * np.log(np.maximum(p, 1e-30))).sum(axis=1)

    next_items(weights, split, on_scores)
    assert within_standard_errors(-score_oracle(weights, split) - entropy, 0.0)


def test_a_scale_of_zero_is_uniform_and_users_do_not_depend_on_others():
    flat = simulate_personal_dynamics(replace(TINY, scale=0.0))
    split = split_corpus(flat)
    expected = -split.n_held_out * np.log(TINY.n_items)
    np.testing.assert_allclose(score_oracle(weights_of(flat), split), expected)
    corpus, fewer = (simulate_personal_dynamics(replace(TINY, n_users=n)) for n in (3, 2))
    assert [fewer.items(d) for d in (0, 1)] == [corpus.items(d) for d in (0, 1)]
    assert simulate_personal_dynamics(TINY).fingerprint == corpus.fingerprint
    assert simulate_personal_dynamics(replace(TINY, seed=6)).fingerprint != corpus.fingerprint


def test_the_command_line_and_the_oracle_of_the_families(tmp_path, capsys):
    command = [NAME, "--output", str(tmp_path / "c"), "--users", "3", "--min-events", "4"]
    assert main([*command, "--max-events", "9", "--scale", "0.5"]) == 0
    assert "users" in capsys.readouterr().out
    corpus = load_corpus(tmp_path / "c")
    assert corpus.names == ("user 1", "user 2", "user 3") and is_simulated(corpus)
    assert corpus.manifest[NAME]["scale"] == 0.5
    split = split_corpus(corpus)
    assert np.array_equal(fit_oracle(split).score(split), score_oracle(weights_of(corpus), split))
    with pytest.raises(InputError, match="made with another n_users"):
        main([NAME, "--output", str(tmp_path / "c"), "--users", "4"])


def test_what_cannot_be_is_refused(tmp_path):
    with pytest.raises(InputError, match="min_events is 5: give 4 or less"):
        PersonalDynamicsConfig(min_events=5, max_events=4)
    with pytest.raises(InputError, match="scale"):
        PersonalDynamicsConfig(scale=-1.0)
    with pytest.raises(InputError, match="PersonalDynamicsConfig"):
        prepare_personal_dynamics(tmp_path / "c", {"n_users": 3})
    other = Corpus.from_documents([[0]], ("a",))
    for ask in (weights_of, lambda c: fit_oracle(split_corpus(c))):
        with pytest.raises(InputError, match="this corpus was not simulated"):
            ask(other)
    with pytest.raises(InputError, match="simulated by another version"):
        weights_of(replace(other, manifest={NAME: {"length": 3}}))
    corpus = simulate_personal_dynamics(TINY)
    with pytest.raises(InputError, match="2 users and 4 items, the simulation has 3 and 4"):
        score_oracle(weights_of(corpus), split_corpus(corpus.select([0, 1])))
