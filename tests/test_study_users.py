"""One call a model with ranks: the numbers of the models' own functions, kept and read back."""

import numpy as np
import pytest
from simulated import sticky_split

from lla import study, study_users
from lla.errors import InputError
from lla.evaluate import perplexity
from lla.peers.popular import Popular, score_popular
from lla.peers.unigram import unigram
from lla.ranking import Ranking, metrics

SMALL = {"hidden_size": 8, "n_epochs": 2, "batch_size": 8, "window": 10}
LDA = {"n_topics": 4, "beta": 0.1, "n_sweeps": 20}


@pytest.fixture(scope="module")
def split():
    return sticky_split(4, 40, 40, 30)[0]


@pytest.fixture(scope="module")
def runs(split, tmp_path_factory):
    folder = tmp_path_factory.mktemp("fits")

    def run():
        lda, outcome = study_users.run_lda(split, LDA, 1, folder)
        gru = SMALL | {"embedding_size": 8}
        return {
            **study_users.run_counts(split),
            "popular": study_users.run_popular(split),
            "lda_updated": outcome,
            "ddlda": study_users.run_ddlda(split, lda, {"n_sweeps": 5}, 1, folder),
            "autoencoder": study_users.run_autoencoder(split, {"n_epochs": 2}, 1, folder),
            "gru4rec": study_users.run_gru4rec(split, gru, 1, folder),
            "sasrec": study_users.run_sasrec(split, SMALL, 1, folder),
        }

    return run(), run(), folder


def test_every_model_ranks_the_same_events(split, runs):
    n_events = split.n_held_out[split.reported].sum()
    for name, outcome in runs[0].items():
        assert len(outcome.ranking.positions) == n_events, name
        assert np.array_equal(outcome.ranking.positions, runs[0]["unigram"].ranking.positions)
        assert outcome.ranking_seconds > 0 and outcome.size.n_bytes > 0
        assert outcome.perplexity == perplexity(outcome.scores, split, split.reported)
        assert outcome.development == perplexity(outcome.scores, split, split.development)
        assert 0.2 < metrics(outcome.ranking, cutoffs=[20])["recall@20"] <= 1


def test_a_second_run_reads_the_fits_back(runs):
    first, again, folder = runs
    fits = [file for file in folder.glob("*.safetensors") if not file.name.startswith("ranks-")]
    assert len(fits) == 5
    for name, outcome in again.items():
        assert np.array_equal(outcome.scores, first[name].scores), name
        assert np.array_equal(outcome.ranking.best, first[name].ranking.best), name
    for name in ("gru4rec", "sasrec"):
        assert again[name].seconds == first[name].seconds > 0
        assert [row["iteration"] for row in again[name].history] == [1, 2]


def test_outcomes_are_the_studys_own(split, runs):
    plain = study.run_counts(split)
    for name, outcome in plain.items():
        assert runs[0][name].perplexity == outcome.perplexity
        assert runs[0][name].size == outcome.size


def test_settings_of_popular_are_taken_as_given(split):
    given = study_users.run_popular(split, {"half_life": 7.0, "concentration": 3.0})
    expected = score_popular(Popular(unigram(split), 3.0, 7.0), split)
    assert np.array_equal(given.scores, expected)
    half = study_users.run_popular(split, {"half_life": None})
    cache = study_users.run_counts(split)["cache_unigram"]
    assert half.perplexity == pytest.approx(cache.perplexity, rel=1e-3)
    with pytest.raises(InputError, match="decay: give half_life and concentration"):
        study_users.run_popular(split, {"decay": 1})


def test_measures_are_named_by_part(runs):
    outcome = runs[0]["popular"]
    found = outcome.measures("popular")
    every = metrics(outcome.ranking)
    assert found["ndcg@10.popular"] == every["ndcg@10"]
    by_user = metrics(outcome.ranking, "repeats", by_user=True)
    assert found["recall@5.popular.repeats.by_user"] == by_user["recall@5"]
    assert len(found) == 7 * 3 * 2


def test_a_part_without_events_has_no_measure(runs):
    rank = runs[0]["popular"].ranking
    again = np.ones(len(rank.repeat), bool)
    ranking = Ranking(rank.positions, rank.users, rank.best, rank.worst, again, rank.n_items)
    outcome = study_users.UserOutcome(1.0, 1.0, runs[0]["popular"].size, ranking=ranking)
    found = outcome.measures("x")
    assert "mrr.x.repeats" in found and "mrr.x.discoveries" not in found and len(found) == 7 * 2 * 2
