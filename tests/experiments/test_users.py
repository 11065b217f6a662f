"""Ranks of next items: those of the models' own scores, cached and read back."""

from dataclasses import replace

import numpy as np
import pytest
from simulated import sticky_split

from data_prep.clicks.simulate import simulate_clicks
from data_prep.clicks.world import SMOKE
from experiments import study
from experiments.studies import parallel, users
from lla.corpus import split_corpus
from lla.evaluate.perplexity import perplexity
from lla.evaluate.ranking import history_values, metrics, metrics_by
from lla.peers.counts import Popular, fit_unigram, unigram_probability

SMALL = {"hidden_size": 8, "n_epochs": 2, "batch_size": 8, "window": 10}
LDA = {"n_topics": 4, "beta": 0.1, "n_sweeps": 20}


@pytest.fixture(scope="module")
def split():
    return sticky_split(4, 40, 40, 30)[0]


@pytest.fixture(scope="module")
def runs(split, tmp_path_factory):
    folder = tmp_path_factory.mktemp("fits")
    settings = {
        "ddlda": {"n_sweeps": 5},
        "autoencoder": {"n_epochs": 2},
        "gru4rec": SMALL | {"embedding_size": 8},
        "sasrec": SMALL,
    }

    def run():
        lda = study.fit(split, "lda", LDA, 1, folder)
        return {
            **study.run_baselines(split, folder, users=True, ranks=True),
            "lda_online": study.run(split, "lda", LDA, 1, folder, ranks=True),
            **{
                name: study.run(split, name, of_name, 1, folder, start=lda, ranks=True)
                for name, of_name in settings.items()
            },
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


def test_ranking_does_not_change_other_measures(split, runs, tmp_path):
    for name, outcome in study.run_baselines(split, tmp_path).items():
        assert outcome.ranking is None
        assert runs[0][name].perplexity == outcome.perplexity
        assert runs[0][name].size == outcome.size


def test_settings_of_popular_are_taken_as_given(split, tmp_path):
    def run(settings):
        return study.run(split, "popular", settings, 0, tmp_path)

    fixed = run({"half_life": 7.0, "concentration": 3.0})
    assert np.array_equal(fixed.scores, Popular(unigram_probability(split), 3.0, 7.0).score(split))
    cache = study.run(split, "cache_unigram", {}, 0, tmp_path)
    assert run({"half_life": None}).perplexity == pytest.approx(cache.perplexity, rel=1e-3)


def test_measures_are_named_by_part(runs):
    outcome = runs[0]["popular"]
    found = users.ranking_metrics(outcome, "popular")
    every = metrics(outcome.ranking)
    assert found["ndcg@10.popular"] == every["ndcg@10"]
    by_user = metrics(outcome.ranking, "repeats", by_user=True)
    assert found["recall@5.popular.repeats.by_user"] == by_user["recall@5"]
    unseen = metrics(outcome.ranking, "unseen")
    assert found["mrr.popular.unseen"] == unseen["mrr"] > found["mrr.popular.novel"]
    assert len(found) == 7 * 4 * 2


def test_a_part_without_events_has_no_measure(runs):
    rank = runs[0]["popular"].ranking
    again = np.ones(len(rank.repeat), bool)
    ranking = replace(rank, repeat=again)
    outcome = study.Outcome(1.0, 1.0, runs[0]["popular"].size, ranking=ranking)
    found = users.ranking_metrics(outcome, "x")
    assert "mrr.x.repeats" in found and "mrr.x.novel" not in found
    assert "mrr.x.unseen" not in found and len(found) == 7 * 2 * 2


MODEL = {"hidden_size": 6, "embedding_size": 6, "n_iterations": 2, "batch_size": 8}


def test_a_model_of_table_1_is_scored_and_ranked_by_its_own_probabilities(split, tmp_path):
    lda = study.fit(split, "lda", LDA, 1, tmp_path)
    for change in ({}, {"emission": "personal"}, {"model": "word_lstm"}):
        planned = study.plan(split, "lla", MODEL | change, 1, tmp_path, start=lda)
        model = planned.fit(split)
        outcome = planned.outcome(split, model, n_particles=4, ranks=True)
        plain = planned.outcome(split, model, n_particles=4)
        assert outcome.perplexity == plain.perplexity
        best = np.zeros(split.corpus.n_tokens, np.int64)

        def visit(positions, scores, best=best):
            own = scores[np.arange(len(positions)), split.corpus.words[positions]]
            best[positions] = 1 + (scores > own[:, None]).sum(axis=1)

        model.next_items(split, visit, seed=1, n_particles=4)
        assert np.array_equal(outcome.ranking.best, best[outcome.ranking.positions])


def test_cached_ranks_are_reused_only_for_the_same_scores(split, tmp_path):
    unigram, visits = fit_unigram(split), []
    outcome = study.outcome_of(split, unigram, seed=0)

    def hook(visit):
        visits.append(1)
        unigram.next_items(split, visit)

    file = tmp_path / "ranks.safetensors"
    first = study.with_ranks(outcome, split, hook, file)
    again = study.with_ranks(outcome, split, hook, file)
    assert len(visits) == 1
    for name in ("positions", "users", "best", "worst", "repeat"):
        assert np.array_equal(getattr(first.ranking, name), getattr(again.ranking, name))
    other = replace(outcome, scores=outcome.scores - 1.0)
    study.with_ranks(other, split, hook, file)
    assert len(visits) == 2


def test_a_comparison_runs_all_models_and_reports_their_measures(tmp_path):
    corpus, _ = simulate_clicks(replace(SMOKE, n_users=40))
    split = split_corpus(corpus)
    models = {"topic_lla": MODEL, "personal_lla": MODEL | {"emission": "personal"}}
    gru = SMALL | {"embedding_size": 8}
    peers = {"ddlda": {"n_sweeps": 3}, "gru4rec": gru, "gru4rec_sampled": gru | {"n_samples": 5}}
    peers |= {"gru4rec_own": gru, "bigram_own": {}, "lda_online_own": LDA}
    found = parallel.compare_models(split, LDA, models | peers, [1, 2], tmp_path, 2, users=True)
    names = {"unigram", "cache_unigram", "bigram", "popular", "lda_online", "oracle"}
    assert set(found) == names | set(models) | set(peers)
    assert min(found, key=lambda name: found[name][0].perplexity) == "oracle"
    lda = study.fit(split, "lda", LDA, 2, tmp_path)
    personal = models["personal_lla"]
    alone = study.run(split, "personal_lla", personal, 2, tmp_path, start=lda, n_particles=2)
    assert np.array_equal(found["personal_lla"][1].scores, alone.scores)
    for name in ("gru4rec", "bigram", "lda_online"):
        plain, own = (found[of][0].development for of in (name, f"{name}_own"))
        assert own < plain, name
    assert list(found)[-len(models | peers) :] == list(models | peers), "the order of the settings"
    alone = study.run(split, "gru4rec_own", gru, 1, tmp_path)
    assert np.array_equal(found["gru4rec_own"][0].scores, alone.scores)
    alone = study.run(split, "gru4rec", peers["gru4rec"], 1, tmp_path)
    assert np.array_equal(found["gru4rec"][0].scores, alone.scores)
    assert not np.array_equal(found["gru4rec_sampled"][0].scores, alone.scores)
    measures = users.measures_of(found)
    value = measures["ndcg@10.topic_lla"]["values"]
    assert value == [metrics(outcome.ranking)["ndcg@10"] for outcome in found["topic_lla"]]
    assert {"ndcg@10.oracle.repeats", "recall@5.bigram", "mrr.popular"} <= set(measures)
    result = {"measures": measures}
    assert set(users.perplexities(result)) == set(found)
    table = users.ranking_table(result)
    assert table.loc["bigram", "mrr"] == measures["mrr.bigram"]["value"]
    parts = users.parts_of(result, "ndcg@10")
    assert parts["popular"]["repeats"][0] == measures["ndcg@10.popular.repeats"]["value"]


def test_scores_of_users_give_the_measures(split, runs):
    """Perplexity and NDCG@10 of the result file follow from what is kept of every user."""
    found = {name: [outcome, outcome] for name, outcome in runs[0].items()}
    scores, measures = users.user_scores(split, [1, 2], found), users.measures_of(found)
    assert scores.unit == "users" and len(scores.documents) == split.reported.sum()
    scores.check_belongs_to({"measures": measures}, "scores")
    for model in found:
        for name in (f"perplexity.{model}", f"ndcg@10.{model}"):
            assert scores.values(name) == pytest.approx(measures[name]["values"], rel=1e-5)
    n_novel = (~runs[0]["unigram"].ranking.repeat).sum()
    assert scores.counts["novel"].sum() == n_novel
    for model in found:
        for name in (f"ndcg@10.{model}.novel", f"ndcg@10.{model}.unseen"):
            assert scores.values(name) == pytest.approx(measures[name]["values"], rel=1e-5)


@pytest.mark.parametrize("by", ["position", "length"])
def test_a_metric_over_the_history_is_that_of_each_group(split, runs, by):
    found = {name: [runs[0][name], runs[1][name]] for name in ("bigram", "sasrec")}
    curves = users.metric_over_history(split.corpus, found, by, n_groups=3)
    assert curves.keys() == found.keys()
    assert curves["bigram"].keys() == curves["sasrec"].keys()
    for name, curve in curves.items():
        ranking = runs[0][name].ranking
        table = metrics_by(ranking, history_values(ranking, split.corpus, by), n_groups=3)
        assert list(curve) == table["mean"].tolist()
        assert list(curve.values()) == [(value, 0.0) for value in table["ndcg@10"]]
    of_mrr = users.metric_over_history(split.corpus, found, by, metric="mrr", n_groups=1)
    ((value, _),) = of_mrr["sasrec"].values()
    assert value == pytest.approx(metrics(runs[0]["sasrec"].ranking)["mrr"], rel=1e-12)
