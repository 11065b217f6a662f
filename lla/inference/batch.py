"""Documents side by side: sorted by length, put into groups, padded into columns.

The documents of a group move through time in lock-step. Each is a lane: column l of an array
(T, L), whose row t holds token t of all of them. Lanes stand by falling length, so the ones still
running are always the first.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np
from torch import Tensor

from lla.common.progress import progress
from lla.common.random import stream

Result = TypeVar("Result")


def sort_by_length(lengths: np.ndarray, documents: np.ndarray | None = None) -> np.ndarray:
    """Numbers of the documents (all, or the given ones) by falling length, ties in their order."""
    if documents is None:
        documents = np.arange(len(lengths))
    return documents[np.argsort(-lengths[documents], kind="stable")]


def group_by_length(
    lengths: np.ndarray, size: int, documents: np.ndarray | None = None
) -> list[np.ndarray]:
    """`sort_by_length` in groups of `size` documents; the last may be smaller."""
    order = sort_by_length(lengths, documents)
    return [order[first : first + size] for first in range(0, len(order), size)]


def running_lanes(lengths: np.ndarray) -> np.ndarray:
    """Number of lanes longer than t, for t = 0..T-1; `lengths` (L,) fall."""
    return np.searchsorted(-lengths, -np.arange(int(lengths[0])), side="left")


def columns(
    values: np.ndarray, offsets: np.ndarray, documents: np.ndarray, fill: int = 0
) -> np.ndarray:
    """What `values` (N,) holds for the documents, (T, L) int64; `fill` past a document's end.

    Parameters
    ----------
    offsets : (D+1,) where each document starts
    documents : (L,) by falling length
    """
    firsts, ends = offsets[documents], offsets[documents + 1]
    table = np.full((int(ends[0] - firsts[0]), len(documents)), fill, np.int64)
    for lane, (first, end) in enumerate(zip(firsts, ends, strict=True)):
        table[: end - first, lane] = values[first:end]
    return table


def input_columns(
    values: np.ndarray, offsets: np.ndarray, documents: np.ndarray, start: int
) -> np.ndarray:
    """`columns` one step late, the start symbol first: what an LSTM reads before each token."""
    firsts, ends = offsets[documents], offsets[documents + 1]
    table = np.full((int(ends[0] - firsts[0]), len(documents)), start, np.int64)
    for lane, (first, end) in enumerate(zip(firsts, ends, strict=True)):
        table[1 : end - first, lane] = values[first : end - 1]
    return table


def document_uniforms(
    documents: np.ndarray, lengths: np.ndarray, n_per_token: int, key: Sequence[int]
) -> tuple[np.ndarray, np.ndarray]:
    """Uniforms of every token, and one more of every document.

    Document d draws them from the stream (*key, d), so they depend neither on the group nor on
    the thread.

    Returns
    -------
    tokens, last : (T, L, n_per_token) float32, zeros past a document's end; (L,) float64
    """
    tokens = np.zeros((int(lengths[0]), len(documents), n_per_token), np.float32)
    last = np.empty(len(documents))
    for lane, (d, length) in enumerate(zip(documents, lengths, strict=True)):
        draw = stream(*key, int(d))
        tokens[:length, lane] = draw.random((length, n_per_token), np.float32)
        last[lane] = draw.random()
    return tokens, last


def first_lanes(state: tuple[Tensor, Tensor] | None, n_lanes: int) -> tuple[Tensor, Tensor] | None:
    """h and c of the first lanes, (1, L', H) each, as Torch's LSTM takes them; None stays None."""
    if state is None:
        return None
    h, c = state
    return h[:, :n_lanes].contiguous(), c[:, :n_lanes].contiguous()


def run_groups(
    work: Callable[[np.ndarray], Result],
    groups: Sequence[np.ndarray],
    pool: ThreadPoolExecutor,
    description: str,
) -> Iterator[Result]:
    """`work(group)` of every group on the pool's threads; results in the order of the groups."""
    tasks = [pool.submit(work, group) for group in groups]
    for task in progress(tasks, description=description, unit="group"):
        yield task.result()
