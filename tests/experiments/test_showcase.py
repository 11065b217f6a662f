"""What the README shows of a model: the topics of named words, and the likeliest next topics."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from experiments.studies.showcase import show
from lla.common.errors import InputError

VOCABULARY = ("acid", "base", "letter", "vowel", "crew", "orbit", "moon")
PHI = np.array(
    [
        [0.4, 0.0, 0.0, 0.9],
        [0.3, 0.0, 0.0, 0.1],
        [0.1, 0.6, 0.0, 0.0],
        [0.1, 0.4, 0.0, 0.0],
        [0.1, 0.0, 0.5, 0.0],
        [0.0, 0.0, 0.3, 0.0],
        [0.0, 0.0, 0.2, 0.0],
    ]
)


def model(emission=True):
    """Topic 3 gives `acid` the most probability, yet hardly a token belongs to it."""
    return SimpleNamespace(
        emission=SimpleNamespace(phi=torch.from_numpy(PHI)) if emission else None,
        vocabulary=VOCABULARY,
        topics=np.repeat([0, 1, 2, 3], [50, 30, 20, 1]),
        topics_ahead=lambda history, steps, seed: np.array([[0.1, 0.2, 0.65, 0.05]]),
    )


def test_topics_are_chosen_by_word_and_forecasts_are_sorted():
    shown = show(model(), ("acid", "letter"), ("crew",))
    assert [topic["number"] for topic in shown["topics"]] == [0, 1]
    assert shown["topics"][0]["words"] == ["acid", "base", "letter", "vowel", "crew"]
    assert [topic["number"] for topic in shown["forecast"]] == [2, 1, 0]
    assert shown["forecast"][0] == {
        "number": 2,
        "words": ["crew", "orbit", "moon"],
        "probability": 0.65,
    }
    assert shown["history"] == ["crew"]


def test_a_word_it_does_not_know_and_a_model_without_topics_give_one_line():
    with pytest.raises(InputError, match="no word 'sun'; name another"):
        show(model(), ("acid",), ("crew", "sun"))
    with pytest.raises(InputError, match="has no topics"):
        show(model(emission=False), ("acid",), ("crew",))
