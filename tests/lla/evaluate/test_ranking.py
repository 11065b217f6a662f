"""Ranks and metrics against sorting, all orders of ties, and trec_eval."""

import itertools
import platform
import re
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from simulated import random_corpus

from lla.common.errors import InputError
from lla.corpus import Corpus, split_corpus
from lla.evaluate.ranking import (
    Ranking,
    count_ranks,
    count_seen,
    evaluate_ranking,
    event_metrics,
    group_starts,
    history_values,
    is_repeat,
    metrics,
    metrics_by,
    rank_held_out,
    ranks,
)

V = 12


@pytest.fixture(scope="module")
def split():
    return split_corpus(random_corpus(25, V, longest=30, seed=2), development=0.2)


def random_scorer(split, seed=0, digits=None, batch=7):
    """A `next_items` of random scores, rounded so that many tie; and the scores by position."""
    positions = np.flatnonzero(split.held_out)
    draw = np.random.default_rng(seed)
    scores = draw.normal(size=(len(positions), split.corpus.n_words)).astype(np.float32)
    if digits is not None:
        scores = scores.round(digits)
    order = draw.permutation(len(positions))

    def next_items(visit):
        for begin in range(0, len(order), batch):
            rows = order[begin : begin + batch]
            visit(positions[rows], scores[rows])

    return next_items, dict(zip(positions.tolist(), scores, strict=True))


@settings(max_examples=60, deadline=None)
@given(
    hnp.arrays(np.float32, (5, 9), elements=st.sampled_from([-np.inf, -1.0, 0.0, 0.5, 2.0])),
    hnp.arrays(np.int64, 5, elements=st.integers(0, 8)),
)
def test_ranks_are_the_first_and_last_place_in_a_sorted_list(scores, targets):
    best, worst = ranks(scores, targets)
    for row, target, low, high in zip(scores, targets, best, worst, strict=True):
        falling = sorted(row.tolist(), reverse=True)
        places = [i + 1 for i, score in enumerate(falling) if score == row[target]]
        assert (low, high) == (places[0], places[-1])


def test_compiled_and_plain_agree_in_either_precision():
    draw = np.random.default_rng(0)
    targets = draw.integers(6, size=20)
    for kind in (np.float32, np.float64):
        scores = draw.normal(size=(20, 6)).round(0).astype(kind)
        scores[3, 2] = np.nan
        found = np.empty((2, 2, 20), np.int64)
        count_ranks(scores, targets, *found[0])
        count_ranks.py_func(scores, targets, *found[1])
        assert np.array_equal(*found)
        assert found[0, :, 3].tolist() == [0, 0] and (np.delete(found[0], 3, axis=1) > 0).all()


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(0, 1))
def test_novel_items_are_ranked_among_those_the_user_has_not_had(seed, digits):
    """By leaving the items of the history out of each row, one event at a time."""
    split = split_corpus(random_corpus(8, V, longest=12, seed=seed % 50), development=0.2)
    next_items, scores = random_scorer(split, seed, digits)
    ranking = rank_held_out(next_items, split)
    words = split.corpus.words
    kept = {"best": [], "worst": [], "repeat": []}
    for position, user in zip(ranking.positions, ranking.users, strict=True):
        history = set(words[split.corpus.offsets[user] : position].tolist())
        unseen = [v for v in range(V) if v not in history]
        kept["repeat"].append(words[position] in history)
        if not kept["repeat"][-1]:
            row, target = scores[position][None, unseen], unseen.index(words[position])
            best, worst = ranks(row, np.array([target]))
            kept["best"].append(best[0])
            kept["worst"].append(worst[0])
    novel = ~ranking.repeat
    assert ranking.repeat.tolist() == kept["repeat"]
    assert (ranking.best - ranking.seen_higher)[novel].tolist() == kept["best"]
    last = ranking.worst - ranking.seen_higher - ranking.seen_tied
    assert last[novel].tolist() == kept["worst"]
    gains = event_metrics(ranking, [3], among_unseen=True)["mrr"]
    assert np.isnan(gains[ranking.repeat]).all()
    if novel.any():
        every = metrics(ranking, "unseen", cutoffs=[3])
        assert every["mrr"] == pytest.approx(gains[novel].mean())
        assert every["mrr"] >= metrics(ranking, "novel", cutoffs=[3])["mrr"]


def test_seen_items_are_counted_alike_by_the_plain_kernel():
    draw = np.random.default_rng(0)
    words = draw.integers(5, size=20).astype(np.uint16)
    options = {
        "scores": draw.normal(size=(6, 5)).round(),
        "positions": np.array([3, 19, 8, 10, 0, 11]),
        "start": np.repeat([0, 10], 10),
        "words": words,
        "novel": draw.random(20) < 0.5,
    }
    counts = np.zeros((2, 2, 20), np.int64)
    count_seen(**options, higher=counts[0, 0], tied=counts[0, 1])
    count_seen.py_func(**options, higher=counts[1, 0], tied=counts[1, 1])
    assert np.array_equal(*counts) and counts[0].any()


def one_event(row, target):
    best, worst = ranks(np.array([row]), np.array([target]))
    return made_of(users=np.zeros(1, np.int64), best=best, worst=worst, n_items=len(row))


def made_of(*, users, best, worst, n_items):
    """A ranking whose events are all new to users without a history."""
    zeros = np.zeros(len(best), np.int64)
    return Ranking(
        positions=zeros,
        users=users,
        best=best,
        worst=worst,
        seen_higher=zeros,
        seen_tied=zeros,
        repeat=np.zeros(len(best), bool),
        n_items=n_items,
    )


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 2), min_size=5, max_size=5), st.integers(0, 4), st.integers(1, 7))
def test_a_tie_counts_as_the_mean_over_all_orders(scores, target, k):
    expected = np.zeros(3)
    orders = list(itertools.permutations(range(5)))
    for order in orders:  # ties are broken by the place in the order
        falling = sorted(range(5), key=lambda v: (-scores[v], order[v]))
        rank = falling.index(target) + 1
        expected += [rank <= k, (rank <= k) / np.log2(rank + 1), 1 / rank]
    found = metrics(one_event(scores, target), cutoffs=[k])
    np.testing.assert_allclose(
        [found[f"recall@{k}"], found[f"ndcg@{k}"], found["mrr"]], expected / len(orders), atol=1e-12
    )


@pytest.mark.parametrize("value", [0.0, -np.inf])
def test_a_constant_scorer_is_chance_whatever_the_items(split, value):
    def constant(visit):
        positions = np.flatnonzero(split.held_out)
        visit(positions, np.full((len(positions), V), value, np.float32))

    found = metrics(rank_held_out(constant, split), cutoffs=[1, 5, V, 3 * V])
    for k in (1, 5, V, 3 * V):
        assert found[f"recall@{k}"] == pytest.approx(min(k, V) / V, rel=1e-12)
    assert found["mrr"] == pytest.approx((1 / np.arange(1, V + 1)).mean(), rel=1e-12)


def test_a_perfect_scorer_gets_everything(split):
    def perfect(visit):
        positions = np.flatnonzero(split.held_out)
        visit(positions, np.eye(V, dtype=np.float32)[split.corpus.words[positions]])

    found = metrics(rank_held_out(perfect, split), cutoffs=[1, 5])
    assert found == {name: 1.0 for name in ("recall@1", "recall@5", "ndcg@1", "ndcg@5", "mrr")}


# Where pyproject.toml installs pytrec-eval its absence is an error, not a reason to pass over this.
INSTALLED = platform.machine() == "x86_64" or sys.platform == "darwin"


@pytest.mark.skipif(not INSTALLED, reason="pytrec-eval has no build for this machine")
@pytest.mark.parametrize("by_user", [False, True])
@pytest.mark.parametrize("events", ["all", "repeats", "novel"])
def test_metrics_are_those_of_trec_eval(split, events, by_user):
    """The evaluation program of the TREC conferences, fed with the whole ranked list."""
    import pytrec_eval

    next_items, scores = random_scorer(split)
    ranking = rank_held_out(next_items, split)
    wanted = {"recall.5,10,20", "ndcg_cut.5,10,20", "recip_rank"}
    words = split.corpus.words
    asked = {str(p): {f"i{words[p]}": 1} for p in ranking.positions}
    runs = {str(p): {f"i{v}": float(s) for v, s in enumerate(scores[p])} for p in ranking.positions}
    judged = pytrec_eval.RelevanceEvaluator(asked, wanted).evaluate(runs)
    theirs = {"mrr": "recip_rank"}
    theirs |= {f"recall@{k}": f"recall_{k}" for k in (5, 10, 20)}
    theirs |= {f"ndcg@{k}": f"ndcg_cut_{k}" for k in (5, 10, 20)}
    found = metrics(ranking, events, by_user)
    assert set(found) == set(theirs)
    for name, value in found.items():
        by = {}
        for d in np.flatnonzero(split.reported):
            history = split.corpus.document(d).tolist()
            for t in range(split.n_observed[d], len(history)):
                kind = "repeats" if history[t] in history[:t] else "novel"
                if events in ("all", kind):
                    by.setdefault(d, []).append(
                        judged[str(split.corpus.offsets[d] + t)][theirs[name]]
                    )
        means = [np.mean(values) for values in by.values()]
        expected = np.mean(means) if by_user else np.mean(np.concatenate([*by.values()]))
        assert value == pytest.approx(expected, rel=1e-9), name


def test_repeats_and_novel_events_are_all(split):
    ranking = rank_held_out(random_scorer(split, digits=0)[0], split)
    assert 0 < ranking.repeat.sum() < len(ranking.repeat)
    share = ranking.repeat.mean()
    every, again, new = (metrics(ranking, e) for e in ("all", "repeats", "novel"))
    for name, value in every.items():
        assert value == pytest.approx(share * again[name] + (1 - share) * new[name], rel=1e-12)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.lists(st.integers(0, 4), min_size=1, max_size=8), min_size=1, max_size=6))
def test_a_repeat_occurred_before_in_the_same_sequence(documents):
    corpus = Corpus.from_documents(documents, "abcde")
    expected = [w in d[:t] for d in documents for t, w in enumerate(d)]
    assert is_repeat(corpus).tolist() == expected


def test_reported_users_count_and_others_on_demand(split):
    next_items, _ = random_scorer(split)
    ours = rank_held_out(next_items, split)
    assert split.reported[ours.users].all()
    assert len(ours.positions) == split.n_held_out[split.reported].sum()
    others = rank_held_out(next_items, split, split.development)
    assert set(others.users) == set(np.flatnonzero(split.development & (split.n_held_out > 0)))
    user = np.searchsorted(split.corpus.offsets, ours.positions, side="right") - 1
    assert np.array_equal(user, ours.users)


def test_batches_and_their_order_do_not_show(split):
    one = rank_held_out(random_scorer(split, batch=1)[0], split)
    other = rank_held_out(random_scorer(split, batch=1000)[0], split)
    for name in ("positions", "users", "best", "worst", "repeat"):
        assert np.array_equal(getattr(one, name), getattr(other, name))


def test_every_user_weighs_the_same_by_user():
    """One user with one hit; one with three misses."""
    rank = np.array([1, 50, 50, 50])
    ranking = made_of(users=np.array([2, 7, 7, 7]), best=rank, worst=rank, n_items=100)
    assert metrics(ranking)["recall@5"] == 0.25
    assert metrics(ranking, by_user=True)["recall@5"] == 0.5
    assert event_metrics(ranking)["mrr"] == pytest.approx([1, 0.02, 0.02, 0.02])


def test_events_left_out_or_ranked_twice_are_no_ranking(split):
    positions = np.flatnonzero(split.held_out & np.repeat(split.reported, split.corpus.lengths))
    scores = np.zeros((len(positions), V), np.float32)
    with pytest.raises(ValueError, match=rf"event {positions[0]} was ranked 0 times"):
        rank_held_out(lambda visit: visit(positions[1:], scores[1:]), split)
    with pytest.raises(ValueError, match="was ranked 2 times"):
        rank_held_out(lambda visit: [visit(positions, scores), visit(positions, scores)], split)


def test_nan_scores_are_refused(split):
    scores = np.ones((3, V))
    scores[1, 4] = np.nan
    with pytest.raises(FloatingPointError, match="scores of row 1 have NaN"):
        ranks(scores, np.array([0, 4, 0]))


def test_bad_input_is_one_line(split):
    ranking = rank_held_out(random_scorer(split)[0], split)
    with pytest.raises(InputError, match="events is 'new'"):
        metrics(ranking, "new")
    with pytest.raises(InputError, match="cutoff is 0"):
        metrics(ranking, cutoffs=[0])
    with pytest.raises(InputError, match="targets: give items of 0 to 3"):
        ranks(np.zeros((1, 4)), np.array([4]))
    with pytest.raises(InputError, match="give \\(B, V\\) and \\(B,\\)"):
        ranks(np.zeros((2, 4)), np.array([1]))
    only = Corpus.from_documents([[0, 0, 0, 0]], "ab")
    repeats = split_corpus(only, development=0)

    def constant(visit):
        positions = np.flatnonzero(repeats.held_out)
        visit(positions, np.zeros((len(positions), 2)))

    with pytest.raises(InputError, match="events is 'novel': there is none"):
        metrics(rank_held_out(constant, repeats), "novel")


class Favourite:
    """Item 0 likeliest, then 1, and so on, whatever came before."""

    history, seconds = (), 0.0

    def score(self, split, *, seed=0):
        raise NotImplementedError

    size = score

    def next_items(self, split, on_scores, *, seed=0, n_particles=1):
        positions = np.flatnonzero(split.held_out)
        scores = -np.arange(split.corpus.n_words, dtype=np.float32)
        on_scores(positions, np.tile(scores, (len(positions), 1)))


def favourites_split():
    """Held out: user a 1 (novel) and 0 (a repeat), user b 2 (novel); user c has one event."""
    documents = [[0, 0, 1, 0], [3, 3, 2], [1]]
    corpus = Corpus.from_documents(documents, ["w", "x", "y", "z"], ["a", "b", "c"])
    return split_corpus(corpus, observed=0.5, development=0)


def test_a_model_is_ranked_on_own_data_in_one_call():
    table = evaluate_ranking(Favourite(), favourites_split(), cutoffs=[1, 2])
    assert list(table.columns) == ["events", "recall@1", "recall@2", "ndcg@1", "ndcg@2", "mrr"]
    assert table["events"].to_dict() == {"all": 3, "repeats": 1, "novel": 2, "unseen": 2}
    # Among the items that they have not had, a's is the first and b's the last of three.
    recall_1 = {"all": 1 / 3, "repeats": 1, "novel": 0, "unseen": 0.5}
    assert table["recall@1"].to_dict() == pytest.approx(recall_1)
    recall_2 = {"all": 2 / 3, "repeats": 1, "novel": 0.5, "unseen": 0.5}
    assert table["recall@2"].to_dict() == pytest.approx(recall_2)
    ndcg = {"all": (1 + 1 / np.log2(3)) / 3, "repeats": 1, "novel": 0.5 / np.log2(3), "unseen": 0.5}
    assert table["ndcg@2"].to_dict() == pytest.approx(ndcg)
    assert table.loc["all", "mrr"] == pytest.approx((1 + 1 / 2 + 1 / 3) / 3)
    by_user = evaluate_ranking(Favourite(), favourites_split(), by_user=True, n_particles=4)
    assert by_user.loc["all", "mrr"] == pytest.approx((3 / 4 + 1 / 3) / 2)


def test_kinds_of_events_that_do_not_occur_are_empty():
    table = evaluate_ranking(Favourite(), favourites_split(), users=[False, True, False])
    assert table["events"].to_dict() == {"all": 1, "repeats": 0, "novel": 1, "unseen": 1}
    assert table.loc["repeats"].drop("events").isna().all()
    assert table.loc["novel", "mrr"] == pytest.approx(1 / 3)


# -------------------------------------------------------------------- position and length


def test_position_and_length_are_those_of_a_plain_loop(split):
    ranking = rank_held_out(random_scorer(split)[0], split)
    position = history_values(ranking, split.corpus, "position")
    length = history_values(ranking, split.corpus, "length")
    expected = [
        (t, split.corpus.lengths[d])
        for d in np.flatnonzero(split.reported)
        for t in range(split.n_observed[d], split.corpus.lengths[d])
    ]
    assert list(zip(position, length, strict=True)) == expected


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(-3, 6), min_size=1, max_size=25), st.integers(1, 8))
def test_groups_hold_all_events_and_equal_values_stay_together(values, n_groups):
    starts = group_starts(values, n_groups)
    assert starts[0] == min(values) and (np.diff(starts) > 0).all() and len(starts) <= n_groups
    assert set(starts) <= set(values)
    distinct = group_starts(np.arange(len(values)), n_groups)
    sizes = np.diff([*distinct, len(values)])
    assert sizes.max() - sizes.min() <= 1


@pytest.mark.parametrize("by_user", [False, True])
@pytest.mark.parametrize("by", ["position", "length"])
def test_groups_are_the_metrics_of_their_events_alone(split, by, by_user):
    ranking = rank_held_out(random_scorer(split, digits=0)[0], split)
    values = history_values(ranking, split.corpus, by)
    table = metrics_by(ranking, values, n_groups=3, by_user=by_user, cutoffs=[2, 5])
    assert len(table) == 3 and table["events"].sum() == len(values)
    for _, row in table.iterrows():
        inside = (values >= row["from"]) & (values <= row["to"])
        arrays = {name: value for name, value in vars(ranking).items() if name != "n_items"}
        part = {name: array[inside] for name, array in arrays.items()}
        alone = Ranking(**part, n_items=ranking.n_items)
        for name, value in metrics(alone, by_user=by_user, cutoffs=[2, 5]).items():
            assert row[name] == pytest.approx(value, rel=1e-12), name
        assert row["events"] == inside.sum()
        assert row["users"] == len(set(ranking.users[inside]))
        assert row["mean"] == pytest.approx(values[inside].mean())
    if not by_user:
        every = (table["ndcg@5"] * table["events"]).sum() / table["events"].sum()
        assert every == pytest.approx(metrics(ranking, cutoffs=[5])["ndcg@5"], rel=1e-12)


def test_groups_may_be_given_and_empty_ones_are_left_out(split):
    ranking = rank_held_out(random_scorer(split)[0], split)
    values = history_values(ranking, split.corpus, "position")
    table = metrics_by(ranking, values, starts=[3, 8, 10_000], cutoffs=[5])
    assert table["from"].tolist() == [values[values >= 3].min(), values[values >= 8].min()]
    assert table["events"].sum() == (values >= 3).sum()


def test_a_model_is_ranked_by_position_and_by_length_in_one_call():
    """Position 2: 1 of user a and 2 of user b; position 3: 0 of user a."""
    model, split = Favourite(), favourites_split()
    table = evaluate_ranking(model, split, by="position", cutoffs=[1])
    assert list(table.columns) == [
        "from",
        "to",
        "mean",
        "events",
        "users",
        "recall@1",
        "ndcg@1",
        "mrr",
    ]
    assert table["from"].tolist() == table["to"].tolist() == [2, 3]
    assert table["events"].tolist() == [2, 1] and table["users"].tolist() == [2, 1]
    assert table["mrr"].tolist() == pytest.approx([(1 / 2 + 1 / 3) / 2, 1])
    table = evaluate_ranking(model, split, by="length", cutoffs=[1])
    assert table["from"].tolist() == [3, 4] and table["events"].tolist() == [1, 2]
    assert table["mrr"].tolist() == pytest.approx([1 / 3, 3 / 4])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"values": [1, 2]}, "values: 2; give one for each of"),
        ({"values": 0.5}, "values: float64 (); give a row of whole numbers"),
        ({"starts": [4, 4]}, "starts: they do not rise"),
        ({"starts": [10_000]}, "starts: all events lie below 10000"),
        ({"starts": []}, "starts: float64 (0,); give a row of whole numbers"),
        ({"n_groups": 0}, "n_groups is 0: give 1 or more"),
    ],
)
def test_groups_that_cannot_be_made_are_named(split, options, message):
    ranking = rank_held_out(random_scorer(split)[0], split)
    values = history_values(ranking, split.corpus, "position")
    with pytest.raises(InputError, match=f"^{re.escape(message)}"):
        metrics_by(**({"ranking": ranking, "values": values} | options))
    with pytest.raises(InputError, match=r"^by is 'age'"):
        history_values(ranking, split.corpus, "age")
    with pytest.raises(InputError, match=r"^corpus: it has fewer users or events"):
        history_values(ranking, split.corpus.select([0]), "length")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"by": "age"}, "by is 'age': choose"),
        ({"fitted": np.zeros(3)}, "fitted is a ndarray: give a fitted model, such as lla.fit"),
        (
            {"split": favourites_split().corpus},
            "split is a Corpus: give a Split, such as lla.split_corpus",
        ),
        ({"cutoffs": 5}, "cutoffs is 5: give a list of whole numbers"),
        ({"cutoffs": [0]}, "cutoff is 0: give 1 or more"),
        ({"users": [0, 1]}, "users: int64 (2,); give 3 booleans, such as"),
        ({"users": [False, False, True]}, "split: these users have no held-out event; give"),
    ],
)
def test_what_cannot_be_ranked_is_named(options, message):
    arguments = {"fitted": Favourite(), "split": favourites_split()} | options
    with pytest.raises(InputError, match=f"^{re.escape(message)}"):
        evaluate_ranking(**arguments)
