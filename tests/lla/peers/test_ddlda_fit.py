"""A fit of ddLDA that goes on after a stop; and what it refuses, in one line."""

import math
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from simulated import all_observed, random_corpus

from lla.common.checkpoint import OtherFitError
from lla.common.errors import InputError
from lla.corpus import Corpus, split_corpus
from lla.peers.ddlda import DDLDAConfig, Predictor, fit_ddlda

SMALL = DDLDAConfig(n_topics=3, alpha=0.3, beta=0.1, scale=4.0, n_sweeps=12)


def same(one, other):
    return one.topics.tobytes() == other.topics.tobytes() and one.sweep == other.sweep


@pytest.mark.parametrize("sweep", [1, 3, 5, 11, 12])
@pytest.mark.parametrize("given", [False, True])
def test_an_interrupted_fit_ends_with_the_same_numbers(tmp_path, sweep, given):
    split, path = all_observed(random_corpus()), tmp_path / "ddlda.safetensors"
    n_tokens = split.observed.n_tokens
    topics = np.random.default_rng(28).integers(3, size=n_tokens) if given else None
    fit = partial(fit_ddlda, split, SMALL, 7, start=topics)
    whole = fit()

    def stop(state):
        if state.sweep == sweep:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(checkpoint=path, checkpoint_every=3, on_iteration=stop)
    states = []
    resumed = fit(checkpoint=path, checkpoint_every=3, on_iteration=states.append)
    # From the last saved sweep on.
    assert [s.sweep for s in states] == list(range(sweep // 3 * 3 + 1, 13))
    assert same(resumed, whole)
    again = fit(checkpoint=path, on_iteration=pytest.fail)
    assert same(again, whole) and again.seconds == resumed.seconds


def test_a_checkpoint_of_another_fit_is_refused(tmp_path):
    split, path = all_observed(random_corpus()), tmp_path / "ddlda.safetensors"
    whole = fit_ddlda(split, SMALL, 7, checkpoint=str(path))
    zeros = np.zeros(split.observed.n_tokens, int)
    others = {
        "it is of another corpus": partial(
            fit_ddlda, all_observed(random_corpus(seed=1)), SMALL, 7
        ),
        "scale is 4.0 there and 3.0 here": partial(fit_ddlda, split, replace(SMALL, scale=3.0), 7),
        "seed is 7 there and 8 here": partial(fit_ddlda, split, SMALL, 8),
        "it started from other topics": partial(fit_ddlda, split, SMALL, 7, start=zeros),
    }
    for difference, other in others.items():
        with pytest.raises(OtherFitError, match=f"holds another fit: {difference}"):
            other(checkpoint=path)
    assert same(fit_ddlda(split, SMALL, 7, checkpoint=path), whole)


def test_more_sweeps_go_on_and_fewer_are_refused(tmp_path):
    split, path = all_observed(random_corpus()), tmp_path / "ddlda.safetensors"
    fit_ddlda(split, replace(SMALL, n_sweeps=5), 7, checkpoint=path)
    states = []
    longer = fit_ddlda(split, SMALL, 7, checkpoint=path, on_iteration=states.append)
    assert [state.sweep for state in states] == list(range(6, 13))
    assert same(longer, fit_ddlda(split, SMALL, 7)) and longer.config == SMALL
    with pytest.raises(OtherFitError, match=r"holds a fit after 12 sweeps, .* give n_sweeps=12 or"):
        fit_ddlda(split, replace(SMALL, n_sweeps=5), 7, checkpoint=path)


def test_a_window_has_no_scale_that_tells_fits_apart(tmp_path):
    split, path = all_observed(random_corpus()), tmp_path / "ddlda.safetensors"
    window = replace(SMALL, decay="window", window=3)
    done = fit_ddlda(split, window, 7, checkpoint=path)
    other = replace(window, scale=9.0)
    assert same(fit_ddlda(split, other, 7, checkpoint=path, on_iteration=pytest.fail), done)


@pytest.mark.parametrize(
    ("option", "value"),
    [("n_topics", 0), ("alpha", 0.0), ("beta", math.nan), ("scale", 0), ("scale", math.inf),
     ("window", 0), ("window", 2.5), ("n_sweeps", -1), ("decay", "linear")],
)  # fmt: skip
def test_options_out_of_range_are_named(option, value):
    with pytest.raises(InputError, match=f"^{option} is {value!r}: (give|choose)"):
        DDLDAConfig(**{option: value})


@pytest.mark.parametrize("topics", [[0, 1], [0, 1, 3], [0, -1, 2], [0.0, 1.0, 2.0]])
def test_topics_that_no_model_has_are_refused(topics):
    corpus = Corpus.from_documents([[0, 1, 1]], ["a", "b"])
    split, topics = split_corpus(corpus, 0.9, 0), np.array(topics)
    with pytest.raises(InputError, match=r"^start.*[:;] give"):
        fit_ddlda(split, SMALL, 0, start=topics)
    with pytest.raises(InputError, match=r"^topics.*[:;] give"):
        Predictor(np.full((2, 3), 0.5), np.ones(3), topics, np.zeros(1), split, 0)


@pytest.mark.parametrize(
    ("phi", "alpha", "decay"),
    [
        (np.full((3, 3), 0.3), np.ones(3), np.zeros(1)),
        (np.full((2, 3), 0.5), np.ones(2), np.zeros(1)),
        (np.zeros((2, 3)), np.ones(3), np.zeros(1)),
        (np.full((2, 3), 0.5), np.array([1, 1, math.nan]), np.zeros(1)),
        (np.full((2, 3), 0.5), np.ones(3), np.ones(4)),
        (np.full((2, 3), 0.5), np.ones(3), np.array([0, -1.0])),
    ],
)
def test_a_model_that_does_not_fit_is_refused(phi, alpha, decay):
    split = split_corpus(Corpus.from_documents([[0, 1, 1]], ["a", "b"]), 0.9, 0)
    with pytest.raises(InputError, match=r"^(phi|decay) .*: give"):
        Predictor(phi, alpha, np.zeros(3, int), decay, split, 0)
