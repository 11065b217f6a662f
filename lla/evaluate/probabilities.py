"""Probabilities of the next item, whatever scale a model ranks on, batch by batch.

Most models hand over probabilities. Networks hand over logits, which rank alike and say so by
``gives_logits``; their softmax is taken here, in float64, so that no two items of different logits
become equal.
"""

from typing import Any

import numpy as np

from lla.common.arrays import check_range
from lla.common.errors import (
    InputError,
    NumericalError,
    check_function,
    check_instance,
    check_seed,
    describe,
)
from lla.corpus import Split
from lla.evaluate import Fitted, ScoreCallback

MAX_EXCESS = 1e-3  # by which a row in 32 bits may sum to more or less than 1


def check_fitted(name: str, fitted: object) -> None:
    """Raise InputError unless it is a fitted model."""
    if not callable(getattr(fitted, "next_items", None)):
        raise InputError(
            f"{name} is {describe(fitted)}: give a fitted model, such as lla.fit_sem returns"
        )


def next_probabilities(
    fitted: Fitted,
    split: Split,
    on_probabilities: ScoreCallback,
    *,
    seed: int = 0,
    **options: Any,
) -> None:
    """Hand over p(w_t = v | w_<t) of all items v at every held-out event.

    Parameters
    ----------
    on_probabilities : called with positions (B,) and rows (B, V) float64, which it may change
    seed, options : of the model's `next_items`

    Raises
    ------
    InputError
        When what the model hands over are no probabilities.
    """
    check_fitted("fitted", fitted)
    check_instance("split", split, Split)
    check_function("on_probabilities", on_probabilities)
    seed = check_seed(seed)
    logits = bool(getattr(fitted, "gives_logits", False))

    def on_scores(positions: np.ndarray, scores: np.ndarray) -> None:
        on_probabilities(positions, as_probabilities(scores, logits))

    fitted.next_items(split, on_scores, seed=seed, **options)


def as_probabilities(scores: np.ndarray, logits: bool) -> np.ndarray:
    """Rows (B, V) as probabilities, a copy in float64.

    Parameters
    ----------
    logits : whether they are logarithms, up to a constant of each row

    Raises
    ------
    NumericalError
        When a score is NaN.
    InputError
        When they are to be probabilities and a row has a negative one or does not sum to 1.
    """
    rows = np.array(scores, np.float64, ndmin=2)
    if logits:
        rows -= rows.max(axis=1, keepdims=True)
        np.exp(rows, out=rows)
        rows /= rows.sum(axis=1, keepdims=True)
    total = rows.sum(axis=1)
    if not np.isfinite(total).all():
        raise NumericalError(
            "fitted: its scores have NaN: training diverged; give a smaller learning_rate"
        )
    if rows.size and (rows.min() < 0 or np.abs(total - 1).max() > MAX_EXCESS):
        raise InputError(
            "fitted: its next_items hands over no probabilities; give a model whose rows sum to 1, "
            "or one that hands over logits and says so by gives_logits"
        )
    return rows


def realised_probabilities(
    fitted: Fitted, split: Split, *, seed: int = 0, **options: Any
) -> np.ndarray:
    """p(w_t | w_<t) of the items that came, at every held-out event, (N,) float64; NaN elsewhere.

    Parameters
    ----------
    seed, options : of the model's `next_items`

    Raises
    ------
    InputError
        When an event was left out or handed over twice.
    """
    check_instance("split", split, Split)
    words, n_tokens = split.corpus.words, split.corpus.n_tokens
    found, times = np.full(n_tokens, np.nan), np.zeros(n_tokens, np.int64)

    def look_up(positions: np.ndarray, rows: np.ndarray) -> None:
        check_positions(positions, n_tokens)
        found[positions] = rows[np.arange(len(rows)), words[positions]]
        np.add.at(times, positions, 1)

    next_probabilities(fitted, split, look_up, seed=seed, **options)
    check_each_once(times, split.held_out)
    return found


def check_positions(positions: np.ndarray, n_tokens: int) -> None:
    """Raise InputError unless these are positions of tokens."""
    if (bad := check_range(np.asarray(positions), n_tokens)) is not None:
        raise InputError(f"positions: {bad}; give those of {n_tokens} tokens")


def check_each_once(times: np.ndarray, wanted: np.ndarray) -> None:
    """Raise InputError unless each of the `wanted` (N,) events was handed over once.

    Parameters
    ----------
    times : (N,) how often each was
    """
    if (times[wanted] != 1).any():
        wrong = int(np.flatnonzero(wanted & (times != 1))[0])
        raise InputError(
            f"event {wrong} was handed over {times[wrong]} times: give each event once"
        )
