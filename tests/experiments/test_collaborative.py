"""Errors of users: equation 3 of Ko et al. (2016), groups by entropy, and their evidence."""

from dataclasses import dataclass, field, replace
from itertools import pairwise

import matplotlib.pyplot as plt
import numpy as np
import pytest
from readable import assert_readable
from simulated import sticky_split

from data_prep.clicks.simulate import simulate_clicks
from data_prep.clicks.world import ClickConfig
from data_prep.selection import entropies
from experiments import claims, figures, results, study
from experiments.claims import Row
from experiments.studies.other_papers import collaborative
from experiments.studies.other_papers.collaborative import GROUPS
from lla.corpus import load_corpus, split_corpus, split_last
from lla.evaluate import Size
from lla.evaluate.perplexity import perplexity, user_error

SEEDS = (1, 2)
C_GRU = {"hidden_size": 4, "n_epochs": 2}


@pytest.fixture(scope="module")
def split():
    return sticky_split(4, 40, 30, 30)[0]


@dataclass
class Run:
    """As much of an outcome as is read."""

    scores: np.ndarray
    perplexity: float = 10.0
    seconds: float = 1.5
    size: Size = field(default_factory=lambda: Size(0, 7, 28))
    history: list = field(default_factory=lambda: [{"seconds": 1.0}, {"seconds": 2.0}])


@pytest.fixture(scope="module")
def found(split):
    """Two models, of which C-GRU is better by 0.1 nats per event; and one of another size."""
    rng = np.random.default_rng(0)
    of_users = rng.normal(3, 0.5, len(split.n_held_out))
    runs = {}
    for model, more in {"c_gru": 0.0, "bigram_additive": 0.1, "c_gru@2": 0.2}.items():
        rows = [-split.n_held_out * (of_users + more + 0.01 * seed) for seed in SEEDS]
        runs[model] = [Run(row, perplexity(row, split, split.reported)) for row in rows]
    return runs


def test_groups_are_of_equal_size_and_in_the_order_of_observed_entropy(split):
    groups = collaborative.entropy_groups(split)
    assert np.array_equal(np.sum(groups, axis=0), split.reported & (split.n_held_out > 0))
    sizes = [group.sum() for group in groups]
    assert max(sizes) - min(sizes) <= 1
    nats = entropies(split.observed)
    for below, above in pairwise(groups):
        assert nats[below].max() <= nats[above].min()


def test_groups_know_no_held_out_event(split):
    words = split.corpus.words.copy()
    words[split.held_out] = words[split.held_out][::-1]
    other = replace(split, corpus=replace(split.corpus, words=words))
    same = zip(
        collaborative.entropy_groups(split), collaborative.entropy_groups(other), strict=True
    )
    assert all(np.array_equal(a, b) for a, b in same)


def test_measures_are_equation_3_and_its_parts(split, found):
    measures = collaborative.measures_of(split, found)
    for model, runs in found.items():
        expected = [user_error(run.scores, split) for run in runs]
        assert measures[f"error.{model}"]["values"] == expected
        assert measures[f"seconds.{model}"]["values"] == [1.5, 1.5]
    sizes = [group.sum() for group in collaborative.entropy_groups(split)]
    means = [measures[f"error.c_gru.{group}"]["value"] for group in GROUPS]
    whole = measures["error.c_gru"]["value"]
    assert np.average(means, weights=sizes) == pytest.approx(whole)
    members = collaborative.entropy_groups(split)[2]
    run = found["bigram_additive"][0]
    errors = -(run.scores / split.n_held_out)[members]
    expected = np.abs(errors - np.median(errors)).mean()
    assert measures["deviation.bigram_additive.high"]["values"][0] == pytest.approx(expected)
    assert measures["seconds_per_epoch.c_gru@2"]["value"] == 1.5
    assert "seconds_per_epoch.bigram_additive" not in measures
    assert "error.c_gru@2.low" not in measures


def test_tables_and_curves_read_the_measures(split, found):
    measures = collaborative.measures_of(split, found)
    assert collaborative.of_models(measures, "error").keys() == {"c_gru", "bigram_additive"}
    by_size = collaborative.by_state_size(measures, {"c_gru": C_GRU}, "error")
    assert {n: value for n, (value, _) in by_size["c_gru"].items()} == {
        2: measures["error.c_gru@2"]["value"],
        4: measures["error.c_gru"]["value"],
    }
    table = collaborative.error_table(measures)
    assert list(table.index) == ["c_gru", "bigram_additive"]
    assert table.loc["c_gru", "exp(error)"] == pytest.approx(np.exp(table.loc["c_gru", "error"]))
    assert table.loc["c_gru", "perplexity"] == measures["perplexity.c_gru"]["value"]
    curve = collaborative.error_by_entropy(split, found, n_groups=len(GROUPS))["c_gru"]
    means = [measures[f"error.c_gru.{group}"]["value"] for group in GROUPS]
    assert [value for value, _ in curve.values()] == pytest.approx(means)
    assert list(curve) == sorted(curve)


def test_a_verdict_on_the_error_rests_on_users(split, found, monkeypatch):
    measures, name = collaborative.measures_of(split, found), "collaborative_rnn_clicks"
    scores = collaborative.user_scores(split, SEEDS, found)
    scores.check_belongs_to({"measures": measures}, "scores")
    for measure in ("error.c_gru", "error.c_gru.low", "deviation.c_gru.low", "perplexity.c_gru"):
        assert scores.values(measure) == pytest.approx(measures[measure]["values"], rel=1e-5)
    n_users = int((split.reported & (split.n_held_out > 0)).sum())
    assert scores.n_documents("error.c_gru") == n_users
    assert scores.n_documents("error.c_gru.low") == collaborative.entropy_groups(split)[0].sum()
    results = {name: {"measures": measures, "scores": scores}}
    check = {"lower": "error.c_gru", "higher": "error.bigram_additive"}
    row = Row("x", "C-GRU is better", "16_collaborative_rnn", results=(name,), checks=(check,))
    (judged,) = claims.judge(row, results)
    assert judged.claim.verdict == "holds"
    assert f"{n_users} users, 2 seeds" in judged.claim.ours and " error (" in judged.claim.ours


def test_other_sizes_and_models_beside():
    models = {"c_gru": C_GRU, "hmm": {"n_topics": 3}}
    found = collaborative.of_other_sizes(models, ["c_gru"], [2, 4])
    assert found == {"c_gru@2": {"hidden_size": 2, "n_epochs": 2}}
    clicks = split_corpus(simulate_clicks(ClickConfig(n_users=20, n_items=200))[0])
    more = collaborative.models_beside(clicks, {"topic_lla": {"a": 1}}, ["topic_lla", "none"])
    assert more == {"topic_lla": {"a": 1}, "oracle": {}}


def test_sizes_of_data_are_a_row_each(split):
    row = collaborative.data_table({"toy": split.corpus}).loc["toy"]
    assert row["users"] * row["events per user"] == split.corpus.n_tokens == row["events"]
    assert np.exp(row["error, uniform"]) == pytest.approx(split.corpus.n_words)


def test_only_models_with_a_fit_of_every_seed_were_fitted_before(split, tmp_path):
    lda, models = {"n_topics": 3, "n_sweeps": 2}, {"p_gru": C_GRU, "c_tanh": C_GRU}
    for name, seed in (("p_gru", 1), ("p_gru", 2), ("c_tanh", 1)):
        study.plan(split, name, C_GRU, seed, tmp_path).checkpoint.touch()
    found = collaborative.fitted_before(split, lda, models, SEEDS, tmp_path)
    assert found == {"p_gru": C_GRU}
    changed = {"p_gru": C_GRU | {"hidden_size": 5}}
    assert not collaborative.fitted_before(split, lda, changed, SEEDS, tmp_path)


@pytest.fixture
def closed():
    """Figures are closed after the test."""
    yield
    plt.close("all")


def measured(n, places):
    names = ["c_gru", "p_gru", *(f"another model, number {i}" for i in range(12))][:n]
    return {
        name: {x: (5.0 + 0.1 * i + x / 100, 0.02) for x in places} for i, name in enumerate(names)
    }


def points_of(ax):
    return [np.array(line.get_xydata()) for line in ax.lines if len(line.get_xydata())]


def test_figures_show_errors_and_can_be_read(closed):
    errors = {name: points[8] for name, points in measured(12, [8]).items()}
    perplexities = {name: (np.exp(value + 0.3), 1.0) for name, (value, _) in errors.items()}
    ax = figures.errors_by_model(errors, perplexities)
    marks, values = points_of(ax)[:2], [value for value, _ in errors.values()]
    assert marks[0][:, 0] == pytest.approx(np.array(values) + 0.3)
    assert marks[1][:, 0] == pytest.approx(values)
    assert_readable(ax.figure)
    curves = measured(12, [2.5, 3.0, 4.0])
    ax = figures.errors_by_entropy(curves)
    assert all(np.allclose(a[:, 0], [2.5, 3.0, 4.0]) for a in points_of(ax))
    assert_readable(ax.figure)


def test_errors_and_seconds_stand_beside_each_other(closed):
    curves = measured(2, [8, 16, 64])
    axes = figures.errors_by_state_size(curves, measured(2, [16, 8, 64]))
    for ax in axes:
        first = points_of(ax)[0]
        assert first[:, 0].tolist() == [8, 16, 64] and first[2, 1] == pytest.approx(5.64)
    assert_readable(axes[0].figure)


def test_the_gap_to_the_oracle_is_closed_in_nats():
    values = {"topic_lla": 8.0, "topic_lla_counts": 4.0, "oracle": 2.0, "personal_lla": 4.0}
    measures = {f"perplexity.{m}": {"value": x, "spread": 0.0} for m, x in values.items()}
    assert collaborative.gap_closed(measures) == {"topic_lla": pytest.approx(0.5)}
    measures.pop("perplexity.oracle")
    assert collaborative.gap_closed(measures) == {}


def test_data_are_made_here_or_before_and_users_selected(tmp_path, monkeypatch):
    monkeypatch.setattr(results, "RESULTS", tmp_path)
    options = {"n_users": 12, "min_events": 20, "max_events": 30, "n_items": 8, "state_size": 3}
    split, folder = collaborative.data_of("smoke", "personal_dynamics", options)
    corpus = load_corpus(folder / "corpus")
    assert split.identity() == split_corpus(corpus).identity()
    again, _ = collaborative.data_of("smoke", "personal_dynamics", None)
    assert again.identity() == split.identity()
    core = options | {"dataset": "personal_dynamics", "selection": {"core": 5, "development": 0.2}}
    chosen, other = collaborative.data_of("smoke", "core", core)
    assert other != folder and chosen.n_held_out.tolist() == [3] * 12
    expected = split_last(corpus, development=0.2)
    assert np.array_equal(chosen.n_observed, expected.n_observed)
    with pytest.raises(results.NotRunYet, match="10_user_modeling"):
        collaborative.data_of("smoke", "absent", None)
