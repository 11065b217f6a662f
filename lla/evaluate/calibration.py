"""Calibration of predicted probabilities: of what is predicted with 20%, does a fifth come?

A prediction is an event and an item, with the probability p that the model gave it and whether it
came. Predictions are sorted by p and cut into B bins of about the same number. Bin b has n_b of
them, of mean probability p̄_b, and a share f_b came. The reliability curve is f_b against p̄_b, and
the expected calibration error is

    ECE = Σ_b n_b/n |f_b - p̄_b|

(Naeini, Cooper & Hauskrecht, 2015; Guo et al., 2017, with bins of the same width; bins of the same
number are due to Nguyen & O'Connor, 2015, as nearly all probabilities of many items are small).

Of every event the `top` likeliest items count, by default the likeliest alone, which is the usual
confidence calibration; a larger number judges smaller probabilities, too. The ECE tends to rise
with B, and of finitely many predictions it is above 0 even where the model is calibrated: compare
models by the same B on the same events.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from lla.common.arrays import as_array, check_mask
from lla.common.display import Summarized
from lla.common.errors import InputError, check_instance, check_integer
from lla.corpus import Split
from lla.evaluate import Fitted
from lla.evaluate.probabilities import check_each_once, check_positions, next_probabilities

if TYPE_CHECKING:
    import pandas as pd

N_BINS = 15


@dataclass(frozen=True, repr=False)
class Reliability(Summarized):
    """The reliability curve, in bins of rising probability.

    Attributes
    ----------
    count : (B,) predictions in each bin
    predicted : (B,) p̄, their mean probability
    frequency : (B,) f, the share of them that came
    """

    count: np.ndarray
    predicted: np.ndarray
    frequency: np.ndarray

    @property
    def error(self) -> float:
        """The expected calibration error, from 0 to 1."""
        return float(np.average(np.abs(self.frequency - self.predicted), weights=self.count))

    @property
    def excess(self) -> float:
        """Mean probability minus frequency over all predictions: above 0 is overconfident."""
        return float(np.average(self.predicted - self.frequency, weights=self.count))

    @property
    def standard_error(self) -> np.ndarray:
        """Of each frequency as if predictions were independent, (B,); those of a user are not."""
        return np.sqrt(self.frequency * (1 - self.frequency) / self.count)

    def summary_facts(self) -> dict[str, Any]:
        """How many predictions, and the errors."""
        return {
            "predictions": int(self.count.sum()),
            "bins": len(self.count),
            "error": self.error,
            "excess": self.excess,
        }

    def table(self) -> "pd.DataFrame":
        """A row per bin: ``predictions``, ``predicted``, ``frequency``, ``standard_error``."""
        import pandas as pd

        return pd.DataFrame(
            {
                "predictions": self.count,
                "predicted": self.predicted,
                "frequency": self.frequency,
                "standard_error": self.standard_error,
            }
        )


def reliability(
    probability: np.ndarray | Sequence[float],
    came: np.ndarray | Sequence[bool],
    n_bins: int = N_BINS,
) -> Reliability:
    """The reliability curve of predictions in bins of about the same number.

    Equal probabilities are never in different bins, so there are fewer where many are equal.

    Parameters
    ----------
    probability : (n,) from 0 to 1
    came : (n,) bool
    n_bins : B

    Raises
    ------
    InputError
        When there is no prediction, or the arguments are not such arrays.
    """
    p, came = _check_predictions(probability, came)
    n_bins, n = check_integer("n_bins", n_bins), len(p)
    order = np.argsort(p, kind="stable")
    p, came = p[order], came[order]
    cuts = np.arange(n_bins) * n // n_bins
    starts = np.unique(np.searchsorted(p, p[cuts], side="left"))
    count = np.diff(np.append(starts, n))
    predicted = np.add.reduceat(p, starts) / count
    frequency = np.add.reduceat(came.astype(np.float64), starts) / count
    return Reliability(count, predicted, frequency)


def _check_predictions(
    probability: np.ndarray | Sequence[float], came: np.ndarray | Sequence[bool]
) -> tuple[np.ndarray, np.ndarray]:
    p, came = as_array("probability", probability), as_array("came", came)
    if p.ndim != 1 or p.dtype.kind not in "fiu" or not len(p):
        raise InputError(f"probability: {p.dtype} {p.shape}; give one or more numbers in a row")
    if not ((p >= 0) & (p <= 1)).all():  # NaN included
        wrong = int(np.flatnonzero(~((p >= 0) & (p <= 1)))[0])
        raise InputError(f"probability: entry {wrong} is {p[wrong]}; give numbers from 0 to 1")
    if came.shape != p.shape or came.dtype != bool:
        raise InputError(f"came: {came.dtype} {came.shape}; give {len(p)} booleans")
    return p.astype(np.float64), came


def top_predictions(
    fitted: Fitted,
    split: Split,
    *,
    top: int = 1,
    users: np.ndarray | None = None,
    seed: int = 0,
    **options: Any,
) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities of the likeliest items at every held-out event, and whether each came.

    Parameters
    ----------
    top : items per event, at most V
    users : (D,) bool, whose events count; `split.reported` unless given
    options : of the model's `next_items`

    Returns
    -------
    probability, came : (n_events, top) float64 and bool; in no order within a row
    """
    check_instance("split", split, Split)
    top = min(check_integer("top", top), split.corpus.n_words)
    users = split.reported if users is None else users
    check_mask("users", users, split.corpus.n_documents)
    words, n_tokens = split.corpus.words, split.corpus.n_tokens
    wanted = split.held_out & np.repeat(np.asarray(users), split.corpus.lengths)
    if not wanted.any():
        raise InputError("split: these users have no held-out event; give histories of 3 or more")
    row_of, n_events = wanted.cumsum() - 1, int(wanted.sum())
    probability, came = np.empty((n_events, top)), np.zeros((n_events, top), bool)
    times = np.zeros(n_tokens, np.int64)

    def keep(positions: np.ndarray, rows: np.ndarray) -> None:
        check_positions(positions, n_tokens)
        chosen = wanted[positions]
        positions, rows = positions[chosen], rows[chosen]
        items = np.argpartition(-rows, top - 1, axis=1)[:, :top]
        found = np.take_along_axis(rows, items, axis=1)
        probability[row_of[positions]] = np.minimum(found, 1.0)  # by rounding it may be above
        came[row_of[positions]] = items == words[positions][:, None]
        np.add.at(times, positions, 1)

    next_probabilities(fitted, split, keep, seed=seed, **options)
    check_each_once(times, wanted)
    return probability, came


def evaluate_calibration(
    fitted: Fitted,
    split: Split,
    *,
    top: int = 1,
    n_bins: int = N_BINS,
    users: np.ndarray | None = None,
    seed: int = 0,
    **options: Any,
) -> Reliability:
    """How far a model's probabilities of the next item are from the frequency of what comes.

    Parameters
    ----------
    fitted : an LDA, an LLA or one of `lla.peers`
    split : the one it was fitted to
    top : of every held-out event so many of the likeliest items count; 17 bytes are held for each
    n_bins : B
    users : (D,) bool, whose events count; `split.reported` unless given
    options : of the model's `next_items`, such as ``n_particles=64``
    """
    n_bins = check_integer("n_bins", n_bins)  # before the work
    probability, came = top_predictions(fitted, split, top=top, users=users, seed=seed, **options)
    return reliability(probability.ravel(), came.ravel(), n_bins)
