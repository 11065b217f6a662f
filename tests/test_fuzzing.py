"""The fuzz of the public entrances: a few of its calls, and that it finds what it looks for."""

import numpy as np
import pytest
from entrance_world import JUNK, World
from entrances import entrances
from fuzzing import Argument, Entrance, fuzz

from lla.common.errors import InputError


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return World(tmp_path_factory.mktemp("world"))


def test_public_entrances_return_or_say_what_is_wrong(world, monkeypatch):
    monkeypatch.chdir(world.folder)
    found = entrances(world)
    assert len(found) > 100
    assert fuzz(found, JUNK, n_calls=len(found), seed=11) == []


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (lambda x: [0, 1][x], "IndexError"),
        (lambda x: None, "it returned, and must refuse"),
        (lambda x: 1 / 0, "ZeroDivisionError"),
    ],
)
def test_a_traceback_or_a_silent_return_is_a_failure(function, reason):
    entrance = Entrance("planted", function, {"x": Argument([0], [7], anything=False)})
    failures = fuzz([entrance], JUNK, n_calls=40, seed=0)
    assert failures and all(reason in failure.reason for failure in failures)
    assert failures[0].entrance == "planted" and "x=" in failures[0].arguments


def test_a_refusal_is_none():
    def careful(x):
        if x != 0:
            raise InputError(f"x is {x}: give 0")

    entrance = Entrance("careful", careful, {"x": Argument([0], [7], anything=False)})
    assert fuzz([entrance], JUNK, n_calls=40, seed=0) == []


def test_a_call_is_repeated_by_its_seed():
    seen = []
    entrance = Entrance("any", lambda x: seen.append(x), {"x": Argument(list(range(9)))})
    for _ in range(2):
        fuzz([entrance], [10, 11], n_calls=20, seed=3)
    assert seen[:20] == seen[20:] and len(np.unique(seen)) > 3
