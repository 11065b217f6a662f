"""The processes that share the work of a fit; here the only one, which does everything.

Work is cut into pieces that depend on the configuration alone (see `lla.common.threads`). Every
piece belongs to one process, which computes it; then all processes have all results, put together
in the order of the pieces. So a result does not depend on the number of processes. With one, as
here, there is nothing to exchange. `lla.inference.distributed` has those that torchrun starts.
"""

from collections.abc import Mapping, Sequence
from functools import reduce
from operator import add
from typing import Any

import numpy as np


class Workers:
    """One process, which owns every piece.

    Attributes
    ----------
    rank, size : number of this process, and of all
    """

    rank: int = 0
    size: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this process writes files and shows progress."""
        return self.rank == 0

    def owners(self, sizes: Sequence[int] | np.ndarray) -> np.ndarray:
        """The process of each piece, (n,): runs of pieces of about the same size in all."""
        ends = np.cumsum(np.asarray(sizes, np.float64))
        middle = ends - np.asarray(sizes) / 2
        return np.minimum(
            middle * self.size / max(1.0, ends[-1] if len(ends) else 0), self.size - 1
        ).astype(np.int64)

    def part(self, n: int) -> slice:
        """This process' share of 0..n-1: a run, about 1 / `size` of them."""
        return slice(n * self.rank // self.size, n * (self.rank + 1) // self.size)

    def share(
        self, array: np.ndarray, starts: np.ndarray, ends: np.ndarray, owners: np.ndarray
    ) -> None:
        """Give every process array[starts[i]:ends[i]] as its owner has it, for every piece i."""

    def add_up(self, array: np.ndarray) -> None:
        """Sum over processes, in place: of whole numbers, or of floats that one process has.

        All others must have zero where a process has a float, so that no order can matter.
        """

    def exchange(self, array: np.ndarray, cuts: np.ndarray) -> np.ndarray:
        """What all processes have for this one, process after process.

        Parameters
        ----------
        array : (n,); n may differ
        cuts : (size + 1,) from 0 to n: array[cuts[i]:cuts[i + 1]] is for process i
        """
        return array

    def mean_gradients(
        self,
        gradients: Mapping[int, Sequence[Any]],
        owners: np.ndarray,
        like: Sequence[Any],
        n_tokens: int,
    ) -> list[Any]:
        """The sum over pieces, in their order, of each of their tensors; by the number of tokens.

        Parameters
        ----------
        gradients : by piece, of those that this process owns
        owners : of all pieces
        like : tensors of the same shapes
        """
        pieces = [gradients[i] for i in sorted(gradients)]
        return [reduce(add, parts) / n_tokens for parts in zip(*pieces, strict=True)]

    def check_same(self, what: str, *values: str | np.ndarray) -> None:
        """Raise InputError unless all processes have these values."""

    def wait(self) -> None:
        """Go on once all processes have come here."""


ALONE = Workers()
