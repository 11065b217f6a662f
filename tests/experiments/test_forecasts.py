"""Forecasts of the next interests: distributions over the true ones, the truth's own the best."""

from dataclasses import replace

import numpy as np
import pytest

from data_prep.clicks.oracle import leaves_ahead
from data_prep.clicks.simulate import simulate_clicks, true_leaves, world_of
from data_prep.clicks.world import SMOKE, TRACE
from experiments import study
from experiments.studies import forecasts
from lla.corpus import split_corpus
from lla.topics.words import true_topics

LDA = {"n_topics": 5, "beta": 0.1, "n_sweeps": 10}
MODELS = {"topic_lla": {"hidden_size": 6, "n_iterations": 2, "batch_size": 8}}
STEPS = 3


@pytest.fixture(scope="module")
def split():
    return split_corpus(simulate_clicks(replace(SMOKE, n_users=40))[0])


@pytest.fixture(scope="module")
def histories(split):
    ids = {item: w for w, item in enumerate(split.corpus.vocabulary)}
    return [np.array([ids[item] for item in TRACE]), split.observed.document(3)]


def test_forecasts_are_model_forecasts_mapped_to_true_leaves(split, histories, tmp_path):
    found = forecasts.forecasts(split, LDA, MODELS, {"n_sweeps": 3}, 1, tmp_path, histories, STEPS)
    assert list(found) == ["LDA", "ddLDA", "topic_lla"]
    for ahead in found.values():
        assert ahead.shape == (2, STEPS, 20)
        np.testing.assert_allclose(ahead.sum(axis=2), 1, atol=1e-6)
    np.testing.assert_array_equal(found["LDA"][:, 0], found["LDA"][:, 2])
    lda = study.fit(split, "lda", LDA, 1, tmp_path)
    model = study.fit(split, "topic_lla", MODELS["topic_lla"], 1, tmp_path, start=lda)
    truth = true_leaves(split.corpus)[~split.held_out]
    leaves = true_topics(model.topics, truth, 5, 20)
    own = model.topics_ahead([split.corpus.vocabulary[w] for w in histories[1]], STEPS)
    np.testing.assert_allclose(found["topic_lla"][1], own @ leaves)


def test_the_oracle_forecast_agrees_with_its_forward_pass(split, histories):
    best = forecasts.best_forecasts(split, histories, STEPS)
    after = leaves_ahead(world_of(split.corpus), split.observed, STEPS)
    np.testing.assert_allclose(best[1], after[split.observed.offsets[4] - 1])


def test_of_users_compared_with_the_oracle_each_counts_once(split):
    values = {"distance@1.LDA": [np.array([0.2, 0.4]), np.array([0.1, 0.6])]}
    scores = forecasts.scores_of_first(split, [1, 2], values)
    assert scores.documents.tolist() == np.flatnonzero(split.reported)[:2].tolist()
    assert scores.values("distance@1.LDA") == pytest.approx([0.3, 0.35])
