"""Sources and own counts: what is compared, and means over users of what produced their events."""

import numpy as np
import pandas as pd
import pytest
from small_sem import small_split, whole_fit

from experiments.studies import habits

SOURCES = ("next", "own_next")


def test_models_are_those_of_the_users_with_more_and_with_own_counts():
    of_users = {
        "lda": {"n_topics": 4},
        "models": {"sasrec": {"n_epochs": 3}, "topic_lla": {"a": 1}, "word_lstm": {"b": 2}},
    }
    more = {"topic_lla_sources": {"sources": SOURCES}}
    found = habits.models_to_compare(
        of_users,
        more,
        ["topic_lla", "no_such"],
        ["bigram", "sasrec", "lda_online"],
        ["word_lstm", "no_such"],
    )
    assert found == {
        "topic_lla": {"a": 1},
        "sasrec": {"n_epochs": 3},
        "word_lstm": {"b": 2},
        "word_lstm_cache": {"b": 2},
        "topic_lla_sources": {"sources": SOURCES},
        "bigram_own": {},
        "sasrec_own": {"n_epochs": 3},
        "lda_online_own": {"n_topics": 4},
    }


def test_a_mean_explanation_is_that_of_the_users_who_have_the_event():
    model, split = whole_fit(sources=SOURCES), small_split()
    found = habits.mean_explanation(model, split, n_users=3, n_events=20)
    assert list(found.columns) == ["topics", *SOURCES]
    np.testing.assert_allclose(found.sum(axis=1), 1.0, atol=1e-5)
    users = np.flatnonzero(split.reported)[:3]
    tables = [model.explain(split.corpus.items(int(d))[:20], n_particles=4) for d in users]
    assert len(found) == max(map(len, tables))
    for event in (1, len(found)):
        there = [table.loc[event, "next"] for table in tables if event in table.index]
        assert found.loc[event, "next"] == pytest.approx(np.mean(there))


def test_a_model_and_itself_with_own_counts_are_one_row():
    found = habits.pair_with_own_counts({"sasrec": 120.0, "sasrec_own": 110.0, "bigram": 90.0})
    expected = pd.DataFrame(
        {"alone": [90.0, 120.0], "with own counts": [np.nan, 110.0]}, index=["bigram", "sasrec"]
    )
    pd.testing.assert_frame_equal(found, expected)


def test_a_comparison_has_perplexities_parameters_and_parts_of_the_ranking():
    measures = {
        "perplexity.sasrec": 120.04,
        "perplexity.sasrec_own": 110.0,
        "parameters.sasrec": 64.0,
        "perplexity.bigram": 90.0,
        "parameters.bigram": 7.0,
        "ndcg@10.sasrec": 0.5,
        "ndcg@10.sasrec.repeats": 0.75,
        "ndcg@10.bigram": 0.4,
        "ndcg@10.bigram.novel": 0.125,
    }
    result = {"measures": {name: {"value": x, "spread": 0.0} for name, x in measures.items()}}
    found = habits.comparison_table(result)
    assert found.loc["sasrec"].tolist()[:5] == [120.0, 110.0, 64, 0.5, 0.75]
    assert found.loc["bigram", "NDCG@10, novel"] == 0.125 and found.index[0] == "bigram"
    assert np.isnan(found.loc["bigram", "NDCG@10, repeats"])
