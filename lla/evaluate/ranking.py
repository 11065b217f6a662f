"""Next-item ranking: Recall, NDCG and MRR over all items, without sampled negatives.

Every held-out event has one right answer, so with its rank r among all V items Recall@k is
[r ≤ k], NDCG@k is [r ≤ k]/log₂(1 + r), and MRR is 1/r. Items with the same score share the ranks
`best` to `worst`, and an event counts as the mean over them, the expectation of random tie-breaking
(McSherry & Najork, 2008). So a constant scorer gets Recall@k = k/V in any order of the vocabulary.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from lla.common.arrays import check_mask, check_range
from lla.common.compile import njit
from lla.common.errors import (
    InputError,
    NumericalError,
    check_choice,
    check_flag,
    check_function,
    check_instance,
    check_integer,
    check_list,
    describe,
)
from lla.common.summary import Summarized
from lla.corpus import Corpus, Split
from lla.evaluate import Fitted, ScoreCallback

if TYPE_CHECKING:
    import pandas as pd

CUTOFFS = (5, 10, 20)
EVENTS = ("all", "repeats", "novel")


@dataclass(frozen=True, repr=False)
class Ranking(Summarized):
    """Ranks of held-out events, by position.

    Attributes
    ----------
    positions : (n,) flat token positions in the corpus, increasing
    users : (n,) whose event it is
    best, worst : (n,) first and last of the ranks that the event's item shares, from 1 on
    repeat : (n,) bool, the item occurred earlier in this user's sequence; else it is novel
    n_items : V
    """

    positions: np.ndarray
    users: np.ndarray
    best: np.ndarray
    worst: np.ndarray
    repeat: np.ndarray
    n_items: int


def evaluate_ranking(
    fitted: Fitted,
    split: Split,
    *,
    cutoffs: Sequence[int] = CUTOFFS,
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
    users : (D,) bool, whose events count; `split.reported` unless given
    options : of the model's `next_items`, such as ``n_particles=64``

    Returns
    -------
    A row for all events, one for repeats (items that this user had before) and one for novel ones:
    their number, ``recall@k`` and ``ndcg@k`` of each cutoff, and ``mrr``. NaN where there is none.
    """
    import pandas as pd

    if not callable(getattr(fitted, "next_items", None)):
        raise InputError(
            f"fitted is {describe(fitted)}: give a fitted model, such as lla.fit_sem returns"
        )
    check_instance("split", split, Split)
    check_cutoffs(cutoffs)  # before the work
    check_flag("by_user", by_user)
    users = split.reported if users is None else users
    check_mask("users", users, split.corpus.n_documents)
    users = np.asarray(users)
    if not split.n_held_out[users].any():
        raise InputError("split: these users have no held-out event; give histories of 3 or more")
    ranking = rank_held_out(partial(fitted.next_items, split, seed=seed, **options), split, users)
    n_events = {
        "all": len(ranking.users),
        "repeats": int(ranking.repeat.sum()),
        "novel": int((~ranking.repeat).sum()),
    }
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
    best, worst = np.zeros(n_tokens, np.int64), np.zeros(n_tokens, np.int64)
    times_ranked = np.zeros(n_tokens, np.int64)

    def on_scores(positions: np.ndarray, scores: np.ndarray) -> None:
        if (bad := check_range(np.asarray(positions), n_tokens)) is not None:
            raise InputError(f"positions: {bad}; give those of {n_tokens} tokens")
        chosen = wanted[positions]
        if not chosen.all():
            positions, scores = positions[chosen], scores[chosen]
        best[positions], worst[positions] = ranks(scores, words[positions])
        np.add.at(times_ranked, positions, 1)

    next_items(on_scores)
    if (times_ranked[wanted] != 1).any():
        wrong = int(np.flatnonzero(wanted & (times_ranked != 1))[0])
        raise InputError(
            f"event {wrong} was ranked {times_ranked[wrong]} times: rank each event once"
        )
    return ranking_of(split, best[wanted], worst[wanted], users)


def ranking_of(
    split: Split, best: np.ndarray, worst: np.ndarray, users: np.ndarray | None = None
) -> Ranking:
    """Ranks (n,) of all held-out events of `users`, by position."""
    check_instance("split", split, Split)
    users = split.reported if users is None else users
    check_mask("users", users, split.corpus.n_documents)
    user = np.repeat(np.arange(split.corpus.n_documents), split.corpus.lengths)
    found = np.flatnonzero(split.held_out & users[user])
    repeat = is_repeat(split.corpus)[found]
    return Ranking(found, user[found], best, worst, repeat, split.corpus.n_words)


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
    events : "all", "repeats" or "novel"
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
    selections: dict[str, Any] = {
        "all": slice(None),
        "repeats": ranking.repeat,
        "novel": ~ranking.repeat,
    }
    chosen = selections[events]
    users = ranking.users[chosen]
    if not len(users):
        raise InputError(f"events is {events!r}: there is none among those ranked; choose another")
    found = {}
    for name, value in event_metrics(ranking, cutoffs).items():
        if by_user:
            n_events = np.bincount(users)
            means = np.bincount(users, value[chosen])[n_events > 0] / n_events[n_events > 0]
            found[name] = float(means.mean())
        else:
            found[name] = float(value[chosen].mean())
    return found


def check_cutoffs(cutoffs: Sequence[int]) -> None:
    """Raise InputError unless these are numbers of items."""
    for k in check_list("cutoffs", cutoffs, "a list of whole numbers, such as [5, 10]"):
        check_integer("cutoff", k)


def event_metrics(ranking: Ranking, cutoffs: Sequence[int] = CUTOFFS) -> dict[str, np.ndarray]:
    """The metrics of each event, (n,); ties as their mean."""
    check_cutoffs(cutoffs)
    rank = np.arange(1, ranking.n_items + 1)
    gains = {f"recall@{k}": (rank <= k) * 1.0 for k in cutoffs}
    gains |= {f"ndcg@{k}": (rank <= k) / np.log2(1 + rank) for k in cutoffs}
    gains["mrr"] = 1 / rank
    found, n_tied = {}, ranking.worst - ranking.best + 1
    for name, gain in gains.items():
        total = np.concatenate([[0.0], gain.cumsum()])
        found[name] = (total[ranking.worst] - total[ranking.best - 1]) / n_tied
    return found
