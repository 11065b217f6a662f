"""Call functions with generated arguments: each returns, or raises `InputError`, and nothing else.

An entrance says for every argument which values it admits and which it must refuse. A call takes
admissible values, and then replaces some of them by refused ones or by values of any kind.
"""

import reprlib
import traceback
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lla.common.errors import InputError

UNCHANGED = 0.15  # share of calls with admissible values alone


@dataclass(frozen=True)
class Argument:
    """What one argument may be.

    Attributes
    ----------
    admitted : values that a call may have
    refused : values that must raise `InputError` beside admitted ones
    anything : whether values of any kind are tried too; else only `admitted` and `refused`
    """

    admitted: Sequence[Any]
    refused: Sequence[Any] = ()
    anything: bool = True


@dataclass(frozen=True)
class Entrance:
    """A public function, and what its arguments may be, by name."""

    name: str
    call: Callable[..., Any]
    arguments: dict[str, Argument] = field(default_factory=dict)


@dataclass(frozen=True)
class Failure:
    """A call that raised something else, or returned where it must not."""

    entrance: str
    arguments: str
    reason: str


def draw_call(
    entrance: Entrance, junk: Sequence[Any], draw: np.random.Generator
) -> tuple[dict[str, Any], bool]:
    """Arguments by name, and whether one of them must be refused."""
    chosen = {name: pick(of.admitted, draw) for name, of in entrance.arguments.items()}
    if draw.random() < UNCHANGED:
        return chosen, False
    changed, n_refused = draw.permutation(list(chosen))[: draw.integers(1, 3)], 0
    for name in changed:
        of = entrance.arguments[name]
        if len(of.refused) and (not of.anything or draw.random() < 0.5):
            chosen[name] = pick(of.refused, draw)
            n_refused += 1
        elif of.anything:
            chosen[name] = pick(junk, draw)
    return chosen, n_refused == len(changed) == 1  # two wrong values may fit each other


def pick(values: Sequence[Any], draw: np.random.Generator) -> Any:
    """One of the values; by its place, for NumPy would make an array of them."""
    return values[int(draw.integers(len(values)))]


def failure_of(entrance: Entrance, arguments: dict[str, Any], must_refuse: bool) -> Failure | None:
    """What is wrong with a call; None if nothing is."""
    try:
        entrance.call(**arguments)
    except InputError as error:
        line = str(error)
        reason = "a message of several lines" if "\n" in line or not line else ""
    except Exception:  # a traceback of any kind is what is looked for
        reason = traceback.format_exc()
    else:
        reason = "it returned, and must refuse" if must_refuse else ""
    return Failure(entrance.name, describe(arguments), reason) if reason else None


def describe(arguments: dict[str, Any]) -> str:
    """The arguments in one line."""
    return ", ".join(f"{name}={reprlib.repr(value)}" for name, value in arguments.items())


def fuzz(
    entrances: Sequence[Entrance],
    junk: Sequence[Any],
    n_calls: int,
    seed: int,
    watch: Callable[[Iterable[int]], Iterable[int]] = iter,
) -> list[Failure]:
    """The failures among `n_calls` calls; each is drawn from its own stream, so it can be repeated.

    Parameters
    ----------
    watch : wraps the loop, to show its progress
    """
    failures = []
    for number in watch(range(n_calls)):
        draw = np.random.default_rng([seed, number])
        entrance = entrances[number % len(entrances)]
        arguments, must_refuse = draw_call(entrance, junk, draw)
        if failure := failure_of(entrance, arguments, must_refuse):
            failures.append(failure)
    return failures
