"""Next-item ranking: Recall, NDCG and MRR over all items, without sampled negatives.

Every held-out event has one right answer, so with its rank r among all V items Recall@k is
[r ≤ k], NDCG@k is [r ≤ k]/log₂(1 + r), and MRR is 1/r. Items with the same score share the ranks
`best` to `worst`, and an event counts as the mean over them, the expectation of random tie-breaking
(McSherry & Najork, 2008). So a constant scorer gets Recall@k = k/V in any order of the vocabulary.

Events are told apart by whether their item is a repeat or novel to the user, by their position in
the user's history, and by the length of that history. A novel item has a second rank, among the
items that its user has not had: a list of these is what `recommend(exclude_seen=True)` gives, and
there a model loses nothing by expecting habits first.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from lla.common.arrays import as_array, check_mask, check_range
from lla.common.compile import njit
from lla.common.display import Summarized
from lla.common.errors import (
    InputError,
    NumericalError,
    check_choice,
    check_flag,
    check_function,
    check_instance,
    check_integer,
    check_list,
)
from lla.corpus import Corpus, Split
from lla.evaluate import Fitted, ScoreCallback
from lla.evaluate.probabilities import check_fitted

if TYPE_CHECKING:
    import pandas as pd

CUTOFFS = (5, 10, 20)
EVENTS = ("all", "repeats", "novel", "unseen")
BY = ("kind", "position", "length")
N_GROUPS = 5


@dataclass(frozen=True, repr=False)
class Ranking(Summarized):
    """Ranks of held-out events, by position.

    Attributes
    ----------
    positions : (n,) flat token positions in the corpus, increasing
    users : (n,) whose event it is
    best, worst : (n,) first and last of the ranks that the event's item shares, from 1 on
    seen_higher, seen_tied : (n,) items that the user had before with a higher score than the
        event's item, and with the same
    repeat : (n,) bool, the item occurred earlier in this user's sequence; else it is novel
    n_items : V
    """

    positions: np.ndarray
    users: np.ndarray
    best: np.ndarray
    worst: np.ndarray
    seen_higher: np.ndarray
    seen_tied: np.ndarray
    repeat: np.ndarray
    n_items: int


def evaluate_ranking(
    fitted: Fitted,
    split: Split,
    *,
    cutoffs: Sequence[int] = CUTOFFS,
    by: str = "kind",
    by_user: bool = False,
    users: np.ndarray | None = None,
    seed: int = 0,
    **options: Any,
) -> "pd.DataFrame":
    """How well a model ranks the next item at every held-out event, given all before it.

    Parameters
    ----------
    fitted : an LDA, an LLA or one of `lla.peers`
    split : the one it was fitted to
    cutoffs, by_user : see `metrics`
    by : "kind" tells repeats from novel items, "position" and "length" make groups of events of
        about the same number (see `history_values` and `metrics_by`)
    users : (D,) bool, whose events count; `split.reported` unless given
    options : of the model's `next_items`, such as ``n_particles=64``

    Returns
    -------
    A row for all events, one for repeats (items that this user had before), one for novel ones, and
    one for these ranked among unseen items alone; or a row for each group. Columns are their
    number, ``recall@k`` and ``ndcg@k`` of each cutoff, and ``mrr``.
    NaN where there is none.
    """
    import pandas as pd

    check_fitted("fitted", fitted)
    check_instance("split", split, Split)
    check_cutoffs(cutoffs)  # before the work
    check_choice("by", by, BY)
    check_flag("by_user", by_user)
    users = split.reported if users is None else users
    check_mask("users", users, split.corpus.n_documents)
    users = np.asarray(users)
    if not split.n_held_out[users].any():
        raise InputError("split: these users have no held-out event; give histories of 3 or more")
    ranking = rank_held_out(partial(fitted.next_items, split, seed=seed, **options), split, users)
    if by != "kind":
        values = history_values(ranking, split.corpus, by)
        return metrics_by(ranking, values, by_user=by_user, cutoffs=cutoffs)
    n_events = {events: len(ranking.users[_chosen(ranking, events)]) for events in EVENTS}
    rows = {
        events: {"events": n} | (metrics(ranking, events, by_user, cutoffs) if n else {})
        for events, n in n_events.items()
    }
    return pd.DataFrame.from_dict(rows, orient="index")


def ranks(scores: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First and last rank that each target shares with the items of equal score, (B,) each.

    Parameters
    ----------
    scores : (B, V) float; only their order in a row matters, -inf is allowed
    targets : (B,) items 0 to V-1

    Raises
    ------
    NumericalError
        When a score is NaN, which has no rank.
    """
    scores, targets = np.asarray(scores), np.asarray(targets)
    if scores.ndim != 2 or targets.shape != scores.shape[:1]:
        raise InputError(f"scores {scores.shape}, targets {targets.shape}: give (B, V) and (B,)")
    if len(targets) and not 0 <= targets.min() <= targets.max() < scores.shape[1]:
        raise InputError(f"targets: give items of 0 to {scores.shape[1] - 1}")
    best, worst = np.empty(len(targets), np.int64), np.empty(len(targets), np.int64)
    count_ranks(np.ascontiguousarray(scores), targets.astype(np.int64), best, worst)
    if (best == 0).any():
        raise NumericalError(
            f"scores of row {int(np.argmin(best))} have NaN: training diverged; "
            "give a smaller learning_rate"
        )
    return best, worst


@njit(nogil=True)
def count_ranks(scores, targets, best, worst):
    """Ranks `best` to `worst` of targets (B,) in rows of scores (B, V); 0 where a score is NaN."""
    for b in range(targets.shape[0]):
        own = scores[b, targets[b]]
        higher, tied, unknown = 0, 0, 0
        for v in range(scores.shape[1]):
            score = scores[b, v]
            higher += score > own
            tied += score == own
            unknown += score != score
        best[b] = 0 if unknown else higher + 1
        worst[b] = 0 if unknown else higher + tied


@njit(nogil=True)
def count_seen(scores, positions, start, words, novel, higher, tied):
    """Of each token's earlier items, how many score higher than its own, and how many the same.

    Parameters
    ----------
    scores : (B, V) of the tokens at `positions` (B,)
    start : (N,) where each token's history begins
    words, novel : (N,) items, and whether they are their user's first of the kind
    higher, tied : (N,) the numbers, written at `positions`
    """
    for b in range(positions.shape[0]):
        position = positions[b]
        own = scores[b, words[position]]
        higher[position], tied[position] = 0, 0
        for t in range(start[position], position):
            if novel[t]:
                score = scores[b, words[t]]
                higher[position] += score > own
                tied[position] += score == own


def rank_held_out(
    next_items: Callable[[ScoreCallback], None], split: Split, users: np.ndarray | None = None
) -> Ranking:
    """Rank the held-out events of `users` batch by batch, without an N x V array.

    Parameters
    ----------
    next_items : calls its argument for all held-out events of the split, batch after batch in any
        order: positions (B,) and scores (B, V). A score may depend on all that comes before its
        position, and on nothing from there on.
    users : (D,) bool; `split.reported` unless given

    Raises
    ------
    InputError
        When an event was left out or ranked twice.
    """
    check_function("next_items", next_items)
    check_instance("split", split, Split)
    users = split.reported if users is None else users
    check_mask("users", users, split.corpus.n_documents)
    words, n_tokens = split.corpus.words, split.corpus.n_tokens
    user = np.repeat(np.arange(split.corpus.n_documents), split.corpus.lengths)
    wanted = split.held_out & users[user]
    start = np.repeat(split.corpus.offsets[:-1], split.corpus.lengths)
    novel = ~is_repeat(split.corpus)
    best, worst = np.zeros(n_tokens, np.int64), np.zeros(n_tokens, np.int64)
    seen_higher, seen_tied = np.zeros(n_tokens, np.int64), np.zeros(n_tokens, np.int64)
    times_ranked = np.zeros(n_tokens, np.int64)

    def on_scores(positions: np.ndarray, scores: np.ndarray) -> None:
        if (bad := check_range(np.asarray(positions), n_tokens)) is not None:
            raise InputError(f"positions: {bad}; give those of {n_tokens} tokens")
        positions = np.asarray(positions, np.int64)
        chosen = wanted[positions]
        if not chosen.all():
            positions, scores = positions[chosen], scores[chosen]
        best[positions], worst[positions] = ranks(scores, words[positions])
        count_seen(
            np.ascontiguousarray(scores), positions, start, words, novel, seen_higher, seen_tied
        )
        np.add.at(times_ranked, positions, 1)

    next_items(on_scores)
    if (times_ranked[wanted] != 1).any():
        wrong = int(np.flatnonzero(wanted & (times_ranked != 1))[0])
        raise InputError(
            f"event {wrong} was ranked {times_ranked[wrong]} times: rank each event once"
        )
    return ranking_of(
        split,
        best=best[wanted],
        worst=worst[wanted],
        seen_higher=seen_higher[wanted],
        seen_tied=seen_tied[wanted],
        users=users,
    )


def ranking_of(
    split: Split,
    *,
    best: np.ndarray,
    worst: np.ndarray,
    seen_higher: np.ndarray,
    seen_tied: np.ndarray,
    users: np.ndarray | None = None,
) -> Ranking:
    """The ranks (n,) of all held-out events of `users`, by position (see `Ranking`)."""
    check_instance("split", split, Split)
    users = split.reported if users is None else users
    check_mask("users", users, split.corpus.n_documents)
    user = np.repeat(np.arange(split.corpus.n_documents), split.corpus.lengths)
    found = np.flatnonzero(split.held_out & users[user])
    return Ranking(
        positions=found,
        users=user[found],
        best=best,
        worst=worst,
        seen_higher=seen_higher,
        seen_tied=seen_tied,
        repeat=is_repeat(split.corpus)[found],
        n_items=split.corpus.n_words,
    )


def is_repeat(corpus: Corpus) -> np.ndarray:
    """Whether each token's item occurred earlier in its user's sequence, (N,) bool."""
    user = np.repeat(np.arange(corpus.n_documents), corpus.lengths)
    _, first = np.unique(user * corpus.n_words + corpus.words, return_index=True)
    repeat = np.ones(corpus.n_tokens, bool)
    repeat[first] = False
    return repeat


def metrics(
    ranking: Ranking,
    events: str = "all",
    by_user: bool = False,
    cutoffs: Sequence[int] = CUTOFFS,
) -> dict[str, float]:
    """``recall@k`` and ``ndcg@k`` of each cutoff, and ``mrr``; each from 0 to 1.

    Parameters
    ----------
    events : "all", "repeats", "novel", or "unseen": novel items, ranked among those that the user
        has not had
    by_user : mean over users of each one's mean, so that long histories weigh no more than short
        ones; users without such an event do not count. Else the mean over events.

    Raises
    ------
    InputError
        When there is no such event.
    """
    check_instance("ranking", ranking, Ranking)
    check_choice("events", events, EVENTS)
    check_flag("by_user", by_user)
    chosen = _chosen(ranking, events)
    users = ranking.users[chosen]
    if not len(users):
        raise InputError(f"events is {events!r}: there is none among those ranked; choose another")
    values = event_metrics(ranking, cutoffs, among_unseen=events == "unseen")
    return {name: _mean(value[chosen], users, by_user) for name, value in values.items()}


def _chosen(ranking: Ranking, events: str) -> np.ndarray:
    """Which events are meant, (n,) bool."""
    if events == "all":
        return np.ones(len(ranking.users), bool)
    return ranking.repeat if events == "repeats" else ~ranking.repeat


def _mean(values: np.ndarray, users: np.ndarray, by_user: bool) -> float:
    """Mean of values (n,) over events, or over users of each one's mean."""
    if not by_user:
        return float(values.mean())
    n_events = np.bincount(users)
    means = np.bincount(users, values)[n_events > 0] / n_events[n_events > 0]
    return float(means.mean())


def history_values(ranking: Ranking, corpus: Corpus, by: str) -> np.ndarray:
    """Where each event stands in its user's history, or how long that is, (n,) int64.

    Parameters
    ----------
    by : "position", how many events of the user came before, which is all that a model may read;
        or "length", how many events the user has, those after it included
    """
    check_instance("ranking", ranking, Ranking)
    check_instance("corpus", corpus, Corpus)
    check_choice("by", by, BY[1:])
    users, positions = ranking.users, ranking.positions
    if len(users) and (users.max() >= corpus.n_documents or positions.max() >= corpus.n_tokens):
        raise InputError("corpus: it has fewer users or events than were ranked; give split.corpus")
    if by == "length":
        return corpus.lengths[users]
    return positions - corpus.offsets[users]


def group_starts(values: np.ndarray, n_groups: int = N_GROUPS) -> np.ndarray:
    """The lowest value of each group, rising: groups of about as many events, (G,), G ≤ n_groups.

    Equal values are never in different groups, so there are fewer groups where many are equal.

    Parameters
    ----------
    values : (n,) of the events
    """
    values, n_groups = _check_values(values), check_integer("n_groups", n_groups)
    ordered = np.sort(values)
    return np.unique(ordered[np.arange(n_groups) * len(ordered) // n_groups])


def metrics_by(
    ranking: Ranking,
    values: np.ndarray,
    *,
    starts: Sequence[int] | np.ndarray | None = None,
    n_groups: int = N_GROUPS,
    by_user: bool = False,
    cutoffs: Sequence[int] = CUTOFFS,
) -> "pd.DataFrame":
    """The metrics of groups of events that lie near one another in some value.

    Parameters
    ----------
    values : (n,) a whole number per event, such as `history_values`
    starts : the lowest value of each group, rising; `group_starts` with `n_groups` unless given.
        Models are compared over the same groups. Events below the first are left out.
    by_user, cutoffs : see `metrics`

    Returns
    -------
    A row per group that has events: ``from`` and ``to``, its lowest and highest value, ``mean`` of
    the values, ``events``, ``users``, then the metrics.
    """
    import pandas as pd

    check_instance("ranking", ranking, Ranking)
    check_flag("by_user", by_user)
    n_groups = check_integer("n_groups", n_groups)
    values = _check_values(values)
    if len(values) != len(ranking.users):
        raise InputError(f"values: {len(values)}; give one for each of {len(ranking.users)} events")
    starts = group_starts(values, n_groups) if starts is None else _check_values(starts, "starts")
    if (np.diff(starts) <= 0).any():
        raise InputError("starts: they do not rise; give the lowest value of each group in order")
    group, found = (
        np.searchsorted(starts, values, side="right") - 1,
        event_metrics(ranking, cutoffs),
    )
    rows = []
    for g in range(len(starts)):
        chosen = group == g
        if chosen.any():
            users, inside = ranking.users[chosen], values[chosen]
            row = {"from": inside.min(), "to": inside.max(), "mean": inside.mean()}
            row |= {"events": len(users), "users": len(np.unique(users))}
            rows.append(row | {m: _mean(x[chosen], users, by_user) for m, x in found.items()})
    if not rows:
        raise InputError(f"starts: all events lie below {starts[0]}; give a lower one")
    return pd.DataFrame(rows)


def _check_values(values: np.ndarray | Sequence[int], name: str = "values") -> np.ndarray:
    """`values` as an array; raise InputError unless they are one or more whole numbers in a row."""
    array = as_array(name, values)
    if array.ndim != 1 or array.dtype.kind not in "iu" or not len(array):
        raise InputError(f"{name}: {array.dtype} {array.shape}; give a row of whole numbers")
    return array


def check_cutoffs(cutoffs: Sequence[int]) -> None:
    """Raise InputError unless these are numbers of items."""
    for k in check_list("cutoffs", cutoffs, "a list of whole numbers, such as [5, 10]"):
        check_integer("cutoff", k)


def event_metrics(
    ranking: Ranking, cutoffs: Sequence[int] = CUTOFFS, among_unseen: bool = False
) -> dict[str, np.ndarray]:
    """The metrics of each event, (n,); ties as their mean.

    Parameters
    ----------
    among_unseen : rank novel items among those that the user has not had; repeats are NaN
    """
    check_cutoffs(cutoffs)
    best, worst = ranking.best, ranking.worst
    if among_unseen:  # of a repeat the item itself is among those seen: any rank, then NaN
        best = np.where(ranking.repeat, 1, best - ranking.seen_higher)
        worst = np.where(ranking.repeat, 1, worst - ranking.seen_higher - ranking.seen_tied)
    rank = np.arange(1, ranking.n_items + 1)
    gains = {f"recall@{k}": (rank <= k) * 1.0 for k in cutoffs}
    gains |= {f"ndcg@{k}": (rank <= k) / np.log2(1 + rank) for k in cutoffs}
    gains["mrr"] = 1 / rank
    found, n_tied = {}, worst - best + 1
    for name, gain in gains.items():
        total = np.concatenate([[0.0], gain.cumsum()])
        found[name] = (total[worst] - total[best - 1]) / n_tied
        if among_unseen:
            found[name][ranking.repeat] = np.nan
    return found
