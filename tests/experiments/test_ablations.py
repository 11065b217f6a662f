"""Effects of changes beside a reference run, by seed."""

import pytest

from experiments import ablations
from experiments.study import Outcome
from lla.evaluate.size import Size


def outcome(value):
    return Outcome(value, value, Size(0, 0, 0))


def test_effects_are_relative_to_their_base():
    found = {
        "reference": [outcome(100), outcome(200)],
        "word": [outcome(50), outcome(50)],
        "LDA": [outcome(200), outcome(200)],
        "far": [outcome(30), outcome(60)],
        "far LDA": [outcome(60), outcome(60)],
        "worse": [outcome(110), outcome(240)],
        "word, other": [outcome(45), outcome(50)],
    }
    found = ablations.effects(found, {"word, other": "word"}, ("far", "far LDA", "LDA"))
    assert set(found) == {"worse", "word, other", "far"}
    assert found["worse"] == pytest.approx([10, 20])
    assert found["word, other"] == pytest.approx([-10, 0])
    assert found["far"] == pytest.approx([0, 0])


def test_what_matters_is_beyond_twice_its_spread():
    said = ablations.largest_effects({"a": (3.0, 1.0), "b": (-9.0, 2.0), "c": (1.0, 0.6)})
    assert said == "what matters most: b (-9.0%); a (+3.0%); 1 of 3 stay within noise"
    assert "no change" in ablations.largest_effects({"c": (1.0, 0.6)})
