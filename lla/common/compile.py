"""Numba's compiler, with its cache on disk wherever there is a place for one.

Numba refuses to define a function with a cache where neither the folder of its file nor the user's
cache folder can be written, as in a read-only installation that runs without a home. Such a process
compiles for itself.

Kernels copy a row in a loop. For ``a[:] = b`` and ``a[i] = b`` Numba would also compile the text of
the error about their shapes, which takes up to three seconds in each process that compiles one.
"""

from collections.abc import Callable
from typing import Any

import numba

NO_PLACE = "cannot cache function"  # how Numba's RuntimeError begins


def njit(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """`numba.njit(cache=True, **options)`, without a cache where it can have none."""

    def compiled(function: Callable[..., Any]) -> Any:
        try:
            return numba.njit(cache=True, **options)(function)
        except RuntimeError as error:
            if not str(error).startswith(NO_PLACE):
                raise
            return numba.njit(**options)(function)

    return compiled
