"""Perplexity, ranking, model size; and the interface of everything that has been fitted."""

from collections.abc import Callable
from typing import Protocol

import numpy as np

from lla.corpus import Split
from lla.evaluate.size import Size

# Positions (B,) in split.corpus.words and scores (B, V) float32. Calls come one at a time.
ScoreCallback = Callable[[np.ndarray, np.ndarray], None]


class Fitted(Protocol):
    """The interface of every fitted model.

    Attributes
    ----------
    history : one row per iteration; may be empty
    seconds : of training
    """

    @property
    def history(self) -> list[dict[str, float]]: ...

    @property
    def seconds(self) -> float: ...

    def score(self, split: Split, *, seed: int = 0) -> np.ndarray:
        """log p(held-out words | observed words) of every document, (D,) nats."""
        ...

    def next_items(self, split: Split, on_scores: ScoreCallback, *, seed: int = 0) -> None:
        """Hand `on_scores` a row of scores per held-out token, batch after batch.

        Every held-out position comes once, in any order; a higher score is a likelier next item.
        """
        ...

    def size(self) -> Size:
        """Parameters and bytes."""
        ...
