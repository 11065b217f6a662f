"""Simulated clicks: the generative process, at the configured rates."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
from enumeration import LEVEL, p_value
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from data_prep import prepare_clicks
from data_prep.__main__ import main
from data_prep.clicks.simulate import (
    draw_histories,
    draw_user,
    simulate_clicks,
    true_leaves,
    world_of,
)
from data_prep.clicks.world import (
    FLIGHTS,
    FORMER_NAMES,
    HOTELS,
    INTERESTS,
    SMOKE,
    TRACE,
    ClickConfig,
    config_of,
    make_world,
)
from lla.common.errors import InputError
from lla.common.random import StreamId, stream
from lla.corpus import Corpus, load_corpus, save_corpus
from lla.topics.words import true_topics

CONFIG = ClickConfig(n_users=600, n_items=400, seed=2)
WORLD = make_world(CONFIG)
WORDS, LEAVES, LENGTHS = draw_histories(WORLD)
ENDS = np.cumsum(LENGTHS)
USERS = list(zip(np.split(WORDS, ENDS[:-1]), np.split(LEAVES, ENDS[:-1]), strict=True))


def stays(leaves):
    """(start, leaf, events) of each stay of a history."""
    starts = np.flatnonzero(np.diff(leaves, prepend=-1))
    return list(zip(starts, leaves[starts], np.diff(starts, append=len(leaves)), strict=True))


# ------------------------------------------------------------------------------- the world


def test_the_tree_has_readable_leaves_and_the_items_of_the_papers_trace():
    assert (len(WORLD.roots), len(WORLD.leaves)) == (7, 20)
    assert all(re.fullmatch(r"[a-z ]+/[a-z]+", leaf) for leaf in WORLD.leaves)
    assert [WORLD.roots[r] for r in WORLD.leaf_root] == [x.split("/")[0] for x in WORLD.leaves]
    assert set(TRACE) <= set(WORLD.vocabulary)
    named = [item for item in WORLD.vocabulary if "." in item]
    assert len(named) == 23 and len(set(WORLD.vocabulary)) == CONFIG.n_items
    assert all(re.fullmatch("[0-9a-f]{12}", i) for i in WORLD.vocabulary if i not in named)
    of = {
        item: [WORLD.leaves[k] for k in np.flatnonzero(WORLD.phi[i])]
        for i, item in enumerate(WORLD.vocabulary)
    }
    for site in TRACE[:4]:
        assert of[site] == ["wedding/planning"]
    assert len(of["pinterest.com"]) == 4 and of["food.com"] == ["food/recipes"]
    assert of["doityourself.com"] == ["home improvement/tools"]


def test_items_follow_zipf_and_some_belong_to_several_leaves():
    np.testing.assert_allclose(WORLD.phi.sum(axis=0), 1, rtol=1e-12)
    for column in WORLD.phi.T:
        p = np.sort(column[column > 0])[::-1]
        np.testing.assert_allclose(p[0] / p, np.arange(1, len(p) + 1), rtol=1e-12)
    several = (np.count_nonzero(WORLD.phi, axis=1) > 1).sum()
    # A second leaf may be drawn that is the first: one time in twenty, or less.
    drawn = CONFIG.n_items - 23
    assert abs(several - 0.95 * CONFIG.shared * drawn) < 4 * np.sqrt(0.13 * drawn) + 1


def test_zipf_zero_is_uniform_and_without_sharing_each_item_has_one_leaf():
    world = make_world(replace(SMOKE, zipf=0.0, shared=0.0))
    for column in world.phi.T:
        assert len(np.unique(column[column > 0])) == 1
    assert np.count_nonzero(world.phi, axis=1)[23:].tolist() == [1] * (SMOKE.n_items - 23)


def test_a_hotel_is_owed_from_flights_to_hotels_and_nowhere_else():
    """The nodes against the rule in words: no move may break it, or forget it."""
    flights, hotels = WORLD.leaves.index(FLIGHTS), WORLD.leaves.index(HOTELS)
    for s, (leaf, pending_hotel) in enumerate(
        zip(WORLD.node_leaf, WORLD.pending_hotel, strict=True)
    ):
        assert pending_hotel or leaf != flights
        assert not pending_hotel or leaf != hotels
        reached = WORLD.transition[:, s] > 0
        to = {
            (WORLD.node_leaf[n], bool(WORLD.pending_hotel[n]))
            for n in np.flatnonzero(reached.any(axis=0))
        }
        others = set(range(20)) - {leaf, flights, hotels}
        if leaf == flights:
            assert to == {(k, True) for k in others}
        elif pending_hotel:
            assert to == {(k, True) for k in others} | {(hotels, False)}
            to_hotels = WORLD.transition[:, s, WORLD.node_leaf == hotels]
            np.testing.assert_allclose(to_hotels, CONFIG.hotel_pull, rtol=1e-12)
        else:
            free = {(k, k == flights) for k in set(range(20)) - {leaf}}
            assert to == free


def test_most_moves_stay_in_the_root():
    free = np.flatnonzero(~WORLD.pending_hotel)
    root = WORLD.leaf_root[WORLD.node_leaf]
    for s in free:
        inside = WORLD.transition[:, s, root == root[s]].sum(axis=1)
        np.testing.assert_allclose(inside, CONFIG.within, rtol=1e-12)


TREES = [
    INTERESTS,
    {"a": (2.0, {"x": (), "y": ("s", "t")})},
    {"a": (2.0, {"x": ("s",)}), "b": (1.0, {"y": ("s",)}), "c": (4.0, {"z": ()})},
    {"travel": (2.0, {"flights": (), "hotels": (), "sights": ()})},
    {"travel": (2.0, {"flights": (), "hotels": ()}), "b": (1.5, {"y": ()})},
    {"travel": (2.0, {"flights": (), "a": (), "b": ()}), "c": (3.0, {"d": ()})},
]
configs = st.builds(
    ClickConfig,
    n_users=st.integers(1, 4),
    min_events=st.integers(1, 5),
    max_events=st.integers(5, 9),
    n_items=st.integers(43, 60),
    n_types=st.integers(1, 4),
    preference=st.floats(0.01, 50),
    within=st.floats(0.01, 0.99),
    hotel_pull=st.floats(0, 1),
    shared=st.floats(0, 1),
    zipf=st.floats(0, 3),
    min_repeat=st.floats(0, 0.5),
    max_repeat=st.floats(0.5, 1),
    habit=st.floats(0, 20),
    max_dwell=st.integers(1, 9),
    seed=st.integers(0, 2**70),
)


@settings(max_examples=60, deadline=None)
@given(configs, st.sampled_from(TREES))
def test_every_world_has_valid_probabilities_and_draws_from_their_support(config, tree):
    world = make_world(config, tree)
    for rows in (world.phi.T, world.dwell, world.transition):
        assert (rows >= 0).all()
        np.testing.assert_allclose(rows.sum(axis=-1), 1, rtol=1e-9)
    np.testing.assert_allclose(world.initial.sum(axis=1), 1 / config.n_types, rtol=1e-9)
    words, leaves, lengths = draw_histories(world)
    assert len(lengths) == config.n_users and (lengths >= config.min_events).all()
    assert (lengths <= config.max_events).all() and (world.phi[words, leaves] > 0).all()


# -------------------------------------------------------------------------- what is drawn


@pytest.mark.parametrize("k", range(20))
def test_stays_have_the_leafs_own_lengths(k):
    """Of stays begun early enough to end: which ones these are does not depend on their length."""
    longest = CONFIG.max_dwell
    lengths = [
        n
        for _, leaves in USERS
        for start, leaf, n in stays(leaves)
        if leaf == k and start <= len(leaves) - longest
    ]
    counts = np.bincount(lengths, minlength=longest + 1)[1:]
    assert counts.sum() > 100
    assert p_value(counts, WORLD.dwell[k]) > LEVEL
    mean = WORLD.dwell[k] @ np.arange(1, longest + 1)
    geometric = stats.geom.pmf(np.arange(1, longest + 1), 1 / mean)
    assert p_value(counts, geometric / geometric.sum()) < LEVEL, "not Markov"


def test_a_flight_is_followed_by_a_hotel_though_not_at_once_and_by_no_second_flight():
    flights, hotels = WORLD.leaves.index(FLIGHTS), WORLD.leaves.index(HOTELS)
    n_owed, came, changes = 0, 0, []
    for _, leaves in USERS:
        path = [leaf for _, leaf, _ in stays(leaves)]
        since = None  # stays since the flight
        for leaf in path:
            if since is not None:
                assert leaf != flights, "a second flight before a hotel"
                assert leaf != hotels or since > 0, "a hotel at once"
                if since > 0:
                    changes.append(leaf == hotels)
                since = None if leaf == hotels else since + 1
                came += leaf == hotels
            elif leaf == flights:
                since, n_owed = 0, n_owed + 1
    assert n_owed > 100 and came > 0.7 * n_owed
    assert stats.binomtest(sum(changes), len(changes), CONFIG.hotel_pull).pvalue > LEVEL


def test_own_items_are_repeated_with_probability_rho():
    """ρ n/(n + h) of the events repeat; a new draw hits one of the own by chance as well."""
    found, expected, variance = np.zeros((3, 20))
    for words, leaves in USERS:
        for t, (w, k) in enumerate(zip(words, leaves, strict=True)):
            own = words[:t][WORLD.phi[words[:t], k] > 0]
            if len(own):
                rate = WORLD.rho[k] * len(own) / (len(own) + CONFIG.habit)
                p = rate + (1 - rate) * WORLD.phi[np.unique(own), k].sum()
                found[k] += w in own
                expected[k] += p
                variance[k] += p * (1 - p)
    z = (found - expected) / np.sqrt(variance)
    assert (abs(z) < stats.norm.isf(LEVEL / 40)).all()
    assert np.ptp(WORLD.rho) > 0.3, "leaves differ"


def test_with_rho_one_and_no_habit_the_first_item_of_a_leaf_is_repeated():
    """A leaf's first item is the only one it ever draws, unless another leaf brings one."""
    world = make_world(
        replace(SMOKE, min_repeat=1.0, max_repeat=1.0, habit=0.0, shared=0.0),
        {"a": (3.0, {"x": (), "y": ()})},
    )
    words, leaves, lengths = draw_histories(world)
    for part in np.split(np.stack([words, leaves]), np.cumsum(lengths)[:-1], axis=1):
        assert all(len(set(part[0, part[1] == k])) <= 1 for k in (0, 1))


def test_without_repeats_items_follow_phi():
    world = make_world(replace(CONFIG, min_repeat=0.0, max_repeat=0.0))
    words, leaves, _ = draw_histories(world)
    for k in range(20):
        counts = np.bincount(words[leaves == k], minlength=CONFIG.n_items)
        assert p_value(counts, world.phi[:, k]) > LEVEL


# ----------------------------------------------------------------- seeds, kernels, corpora


def test_same_seed_gives_same_histories_whatever_the_number_of_users():
    again = draw_histories(make_world(CONFIG))
    for one, two in zip((WORDS, LEAVES, LENGTHS), again, strict=True):
        np.testing.assert_array_equal(one, two)
    few = draw_histories(make_world(replace(CONFIG, n_users=30)))
    np.testing.assert_array_equal(few[0], WORDS[: ENDS[29]])
    other = simulate_clicks(replace(SMOKE, seed=5))[0].fingerprint
    assert other != simulate_clicks(SMOKE)[0].fingerprint == simulate_clicks(SMOKE)[0].fingerprint


def test_compiled_draws_as_plain_python():
    phi = np.ascontiguousarray(WORLD.phi.T)
    uniforms = stream(1, StreamId.CLICKS).random((60, 4))
    found = []
    for kernel in (draw_user, draw_user.py_func):
        words, leaves = np.empty(60, np.int64), np.empty(60, np.int32)
        arrays = (WORLD.initial, WORLD.transition, WORLD.dwell, WORLD.node_leaf, phi, WORLD.rho)
        kernel(*arrays, WORLD.habit, uniforms, words, leaves)
        found.append((words.tolist(), leaves.tolist()))
    assert found[0] == found[1]


def test_the_corpus_has_the_frequent_first_and_every_item():
    corpus, leaves = simulate_clicks(CONFIG)
    world = world_of(corpus)
    frequency = np.bincount(corpus.words, minlength=CONFIG.n_items)
    assert (np.diff(frequency) <= 0).all() and sorted(corpus.vocabulary) == sorted(world.vocabulary)
    assert [corpus.vocabulary[w] for w in corpus.words] == [WORLD.vocabulary[w] for w in WORDS]
    np.testing.assert_array_equal(leaves, LEAVES)
    np.testing.assert_array_equal(world.phi[corpus.words], WORLD.phi[WORDS])


def test_the_command_makes_a_corpus_whose_truth_can_be_found_again(tmp_path, capsys):
    arguments = ["clicks", "--output", str(tmp_path / "c"), "--profile", "smoke", "--users", "9"]
    assert main([*arguments, "--seed", "4", "--habit", "2"]) == 0
    assert ["users", "9"] in [line.split() for line in capsys.readouterr().out.splitlines()]
    corpus = load_corpus(tmp_path / "c")
    config = replace(SMOKE, n_users=9, seed=4, habit=2.0)
    expected, leaves = simulate_clicks(config)
    assert corpus.fingerprint == expected.fingerprint
    assert world_of(corpus).config == config
    np.testing.assert_array_equal(true_leaves(corpus), leaves)
    again = prepare_clicks(tmp_path / "c", SMOKE, overwrite=True)
    assert again.n_documents == SMOKE.n_users


def test_true_topics_turn_a_forecast_into_one_over_leaves():
    share = true_topics(np.array([0, 0, 2, 0]), np.array([1, 1, 0, 0]), 3, 2)
    np.testing.assert_allclose(share, [[1 / 3, 2 / 3], [0.5, 0.5], [1, 0]])


# ------------------------------------------------------------------------------ bad input


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"n_users": 0}, r"n_users is 0: give 1 or more"),
        ({"seed": -1}, r"seed is -1: give 0 or more"),
        ({"min_events": 9, "max_events": 8}, r"min_events is 9: give max_events or less"),
        ({"min_repeat": 0.9}, r"min_repeat is 0.9: give max_repeat or less"),
        ({"hotel_pull": 1.5}, r"pull is 1.5: give a probability, at most 1"),
        ({"within": 1.0}, r"within is 1: give less"),
        ({"within": 0.0}, r"within is 0.0: give a number above 0"),
        ({"shared": float("nan")}, r"shared is nan: give a number, 0 or more"),
        ({"habit": "x"}, r"habit is 'x': give a number, 0 or more"),
        ({"zipf": 11}, r"zipf is 11: give 10 or less"),
        ({"n_items": 42}, r"n_items is 42: give 43 or more"),
    ],
)
def test_settings_that_cannot_be_are_named(values, message):
    with pytest.raises(InputError, match=message):
        make_world(ClickConfig(**values))


@pytest.mark.parametrize(
    "tree", [{"a": (1.0, {"x": ()})}, {"travel": (1.0, {"flights": (), "x": ()})}]
)
def test_a_tree_with_nowhere_to_go_is_refused(tree):
    with pytest.raises(InputError, match="leaves: give at least two"):
        make_world(SMOKE, tree)


def test_other_corpora_have_no_known_truth(tmp_path, monkeypatch):
    corpus, _ = simulate_clicks(SMOKE)
    plain = Corpus(corpus.words, corpus.offsets, corpus.vocabulary)
    with pytest.raises(InputError, match="was not simulated"):
        world_of(plain)
    old = json.loads(json.dumps(corpus.manifest))
    del old["clicks"]["habit"]
    with pytest.raises(InputError, match="simulated with habit, which this version"):
        config_of(old["clicks"])
    renamed = (*corpus.vocabulary[:-1], "other")
    with pytest.raises(InputError, match="not the 300 items of the world"):
        world_of(Corpus(corpus.words, corpus.offsets, renamed, corpus.manifest))
    changed = np.array(corpus.words)
    changed[0] = (changed[0] + 1) % 300
    save_corpus(replace(corpus, words=changed), tmp_path / "c")
    with pytest.raises(InputError, match="not what its configuration and seed draw here"):
        true_leaves(load_corpus(tmp_path / "c"))


def test_manifests_of_the_earlier_names_are_read():
    values = json.loads(json.dumps(vars(replace(SMOKE, hotel_pull=0.6))))
    for old, new in FORMER_NAMES.items():
        values[old] = values.pop(new)
    assert set(FORMER_NAMES) < set(values)
    assert config_of(values) == replace(SMOKE, hotel_pull=0.6)
