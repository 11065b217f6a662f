"""One call a model with ranks: the numbers of the models' own functions, kept and read back."""

from dataclasses import replace

import numpy as np
import pytest
from experiments.study_seeds import run_seeds
from lla.peers.popular import Popular, score_popular
from simulated import sticky_split

from data_prep.clicks.simulate import simulate_clicks
from data_prep.clicks.world import SMOKE
from experiments import study, study_users
from lla.common.errors import InputError
from lla.corpus import split_corpus
from lla.evaluate.perplexity import perplexity
from lla.evaluate.ranking import Ranking, metrics
from lla.peers.counts import next_items_unigram, unigram

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


MODEL = {"hidden_size": 6, "embedding_size": 6, "n_iterations": 2, "batch_size": 8}


def test_a_model_of_table_1_is_scored_and_ranked_by_its_own_probabilities(split, tmp_path):
    lda, _ = study_users.run_lda(split, LDA, 1, tmp_path)
    for change in ({}, {"emission": "personal"}, {"model": "word_lstm"}):
        outcome = study_users.run_model(split, lda, MODEL | change, 1, tmp_path, 4)
        plain = study.run_model(split, lda, MODEL | change, 1, tmp_path, 4)
        assert outcome.perplexity == plain.perplexity
        model, _ = study.model_of(split, lda, MODEL | change, 1, tmp_path)
        best = np.zeros(split.corpus.n_tokens, np.int64)

        def visit(positions, scores, best=best):
            own = scores[np.arange(len(positions)), split.corpus.words[positions]]
            best[positions] = 1 + (scores > own[:, None]).sum(axis=1)

        model.next_items(split, visit, seed=1, n_particles=4)
        assert np.array_equal(outcome.ranking.best, best[outcome.ranking.positions])


def test_kept_ranks_are_those_of_these_scores_alone(split, tmp_path):
    outcome, visits = study.run_counts(split)["unigram"], []

    def hook(visit):
        visits.append(1)
        next_items_unigram(unigram(split), split, visit)

    file = tmp_path / "ranks.safetensors"
    first = study_users.with_ranks(outcome, split, hook, file)
    again = study_users.with_ranks(outcome, split, hook, file)
    assert len(visits) == 1
    for name in ("positions", "users", "best", "worst", "repeat"):
        assert np.array_equal(getattr(first.ranking, name), getattr(again.ranking, name))
    other = replace(outcome, scores=outcome.scores - 1.0)
    study_users.with_ranks(other, split, hook, file)
    assert len(visits) == 2


def test_all_models_of_a_comparison_and_what_a_result_says_of_them(tmp_path):
    corpus, _ = simulate_clicks(replace(SMOKE, n_users=40))
    split = split_corpus(corpus)
    models = {"topic_lla": MODEL, "personal_lla": MODEL | {"emission": "personal"}}
    gru = SMALL | {"embedding_size": 8}
    peers = {"ddlda": {"n_sweeps": 3}, "gru4rec": gru, "gru4rec_sampled": gru | {"n_samples": 5}}
    found = run_seeds(split, LDA, models, peers, [1, 2], tmp_path, 2)
    names = {"unigram", "cache_unigram", "bigram", "popular", "lda_updated", "oracle"}
    assert set(found) == names | set(models) | set(peers)
    assert min(found, key=lambda name: found[name][0].perplexity) == "oracle"
    lda, _ = study_users.run_lda(split, LDA, 2, tmp_path)
    alone = study_users.run_model(split, lda, models["personal_lla"], 2, tmp_path, 2)
    assert np.array_equal(found["personal_lla"][1].scores, alone.scores)
    alone = study_users.run_gru4rec(split, peers["gru4rec"], 1, tmp_path)
    assert np.array_equal(found["gru4rec"][0].scores, alone.scores)
    assert not np.array_equal(found["gru4rec_sampled"][0].scores, alone.scores)
    measures = study_users.measures_of(found)
    value = measures["ndcg@10.topic_lla"]["values"]
    assert value == [metrics(outcome.ranking)["ndcg@10"] for outcome in found["topic_lla"]]
    assert {"ndcg@10.oracle.repeats", "recall@5.bigram", "mrr.popular"} <= set(measures)
    checks = [("a", "says", "oracle", "unigram"), ("b", "says", "nobody", "unigram")]
    (claim,) = study_users.claims_of(checks, "clicks", measures)
    assert claim.verdict == "holds" and claim.name == "a, clicks"
    result = {"measures": measures}
    assert set(study_users.perplexities(result)) == set(found)
    table = study_users.ranking_table(result)
    assert table.loc["bigram", "mrr"] == measures["mrr.bigram"]["value"]
    parts = study_users.parts_of(result, "ndcg@10")
    assert parts["popular"]["repeats"][0] == measures["ndcg@10.popular.repeats"]["value"]
