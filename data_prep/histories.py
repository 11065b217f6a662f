"""Events on disk: sorted into a history a user, filtered to the k-core, cut."""

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np

from data_prep.spill import Records, Spill
from lla.common.progress import progress

EVENT = np.dtype(
    [("user", np.int32), ("item", np.int32), ("whole", np.int64), ("part", np.float64)]
)
# Events sorted at once; more only where one user has more.
SORT = 1 << 20


def sort_events(
    events: Records, lengths: np.ndarray, folder: Path, drop_repeats: bool
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Items, flat, and lengths of the users' histories, a range of users at a time.

    Parameters
    ----------
    events : Records of EVENT
        In the order of the table; of equal times, which comes first stays first.
    lengths : (U,) int64
        Events of each user.
    folder : Path
        Where there is room for the events once more.
    drop_repeats : bool
        Of events alike in user, item and time, keep the first.
    """
    starts = np.concatenate([[0], np.cumsum(lengths)])
    bounds = _ranges(starts)
    with Records(folder, EVENT) as parted:
        if len(bounds) > 2:
            _partition(events, bounds, starts[bounds], parted)
        source = parted if len(bounds) > 2 else events
        ranges = list(pairwise(bounds.tolist()))
        for first, last in progress(ranges, description="sorting", unit="block"):
            block = source.read(int(starts[first]), int(starts[last] - starts[first]))
            block = block[np.lexsort((block["part"], block["whole"], block["user"]))]
            if drop_repeats:
                block = block[_first_of_each(block)]
            yield block["item"], np.bincount(block["user"] - first, minlength=last - first)


def _ranges(starts: np.ndarray) -> np.ndarray:
    """Bounds of ranges of users with about SORT events each, at least one user in a range."""
    bounds = [0]
    while bounds[-1] < len(starts) - 1:
        first = bounds[-1]
        last = int(np.searchsorted(starts, starts[first] + SORT, side="right")) - 1
        bounds.append(max(first + 1, last))
    return np.array(bounds)


def _partition(events: Records, bounds: np.ndarray, cursors: np.ndarray, parted: Records) -> None:
    """Copy `events` so that each range of users stands together, in the order of the table."""
    cursors = cursors.copy()
    for block in progress(events.blocks(), description="parting", unit="block"):
        part = np.searchsorted(bounds, block["user"], side="right") - 1
        order = np.argsort(part, kind="stable")
        ends = np.cumsum(np.bincount(part, minlength=len(bounds)))
        for p in np.unique(part):
            first = ends[p - 1] if p else 0
            parted.write(int(cursors[p]), block[order[first : ends[p]]])
            cursors[p] += ends[p] - first


def _first_of_each(block: np.ndarray) -> np.ndarray:
    """Which of the sorted events are the first with their user, time and item, (n,) bool."""
    keys = [block[name] for name in ("item", "part", "whole", "user")]
    order = np.lexsort(keys)
    new = np.ones(len(block), bool)
    # Lexsort is stable, so the first of those alike is the first of the table.
    new[order[1:]] = np.any([key[order[1:]] != key[order[:-1]] for key in keys], axis=0)
    return new


def k_core(spill: Spill, min_user: int, min_item: int) -> tuple[np.ndarray, np.ndarray]:
    """The largest set of users and items that have enough events among themselves.

    Parameters
    ----------
    spill : Spill
        A document a user.
    min_user, min_item : int
        Events that each user, and each item, has at least; repeats count.

    Returns
    -------
    users : (U,) bool
    items : (V,) bool
    """
    users = np.frombuffer(spill.lengths, np.int64) > 0
    items = np.ones(len(spill.words), bool)
    with progress(description="filtering", unit="pass") as bar:
        while True:
            n_user, n_item = _count_within(spill, users, items)
            fewer_users, fewer_items = n_user >= max(1, min_user), n_item >= max(1, min_item)
            if (fewer_users == users).all() and (fewer_items == items).all():
                return users, items
            users, items = fewer_users, fewer_items
            bar.update()


def _count_within(
    spill: Spill, users: np.ndarray, items: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Events of each user and of each item, of those between chosen users and chosen items."""
    n_user, n_item = np.zeros(len(users), np.int64), np.zeros(len(items), np.int64)
    rank = np.where(items, np.arange(len(items)), -1)
    left = []
    for words, lengths, _ in histories(spill, users, rank):
        n_item += np.bincount(words, minlength=len(items))
        left.append(lengths)
    n_user[users] = np.concatenate(left) if left else 0
    return n_user, n_item


def histories(
    spill: Spill,
    users: np.ndarray,
    rank: np.ndarray,
    min_length: int = 0,
    max_length: int | None = None,
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Blocks of what is left of the chosen users' histories.

    Parameters
    ----------
    users : (U,) bool
    rank : (V,) int
        The new id of each item; events of an item of rank -1 are left out.
    min_length, max_length : int
        Only the last `max_length` events of a user stay; users with fewer than `min_length` go.

    Yields
    ------
    words : (n,) int
    lengths : (d,) int64
    enough : (b,) bool
        Which of the chosen users of this block are among the d.
    """
    for items, lengths in spill.blocks(users):
        words = rank[items]
        known = words >= 0
        user = np.repeat(np.arange(len(lengths)), lengths)[known]
        left = np.bincount(user, minlength=len(lengths))
        words = words[known]
        if max_length is not None:
            words = words[np.cumsum(left)[user] - np.arange(len(words)) <= max_length]
            left = np.minimum(left, max_length)
        enough = left >= min_length
        yield words[np.repeat(enough, left)], left[enough], enough
