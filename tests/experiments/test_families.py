"""The only list of models: every one of them fits and serves the one interface."""

import ast
import os
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import yaml
from simulated import sticky_split

from data_prep.clicks.simulate import simulate_clicks
from data_prep.clicks.world import SMOKE
from experiments import results, study, tune
from experiments.families import (
    FAMILIES,
    LABELS,
    LDA,
    LLA,
    OWN,
    TEXT_LABELS,
    VARIANTS,
    Family,
    base_of,
    baselines_of,
    family_of,
)
from experiments.studies import memory, users
from lla.common.errors import InputError
from lla.common.lock import exclusive_file
from lla.common.progress import _OuterBar
from lla.corpus import split_corpus
from lla.evaluate import Size
from lla.evaluate.perplexity import perplexity
from lla.evaluate.ranking import metrics

NEURAL_TOPICS = (
    *("prodlda", "nvlda", "nvdm", "gsm", "ae", "dae", "vae"),
    *("dirichlet_vae", "dirichlet_rsvi", "dirichlet_inverse_cdf", "weibull_vae"),
)
SETTINGS = {
    "lda": {"n_topics": 3, "n_sweeps": 5},
    "ddlda": {"n_sweeps": 3, "scale": 4.0},
    "factorization": {"n_factors": 3, "zero_weight": 0.1, "n_iterations": 3},
    "hmm": {"n_topics": 3, "n_iterations": 3},
    "hmm_from_lda": {"n_iterations": 3},
    "autoencoder": {"hidden_size": 8, "code_size": 4, "n_epochs": 2},
    "gru4rec": {"embedding_size": 4, "hidden_size": 4, "n_epochs": 2},
    "sasrec": {"hidden_size": 4, "n_epochs": 2},
    "word_lstm_sources": {"embedding_size": 4, "hidden_size": 4, "n_epochs": 2},
    "c_gru": {"hidden_size": 4, "n_epochs": 2},
    "c_tanh": {"hidden_size": 4, "n_epochs": 2},
    "p_gru": {"hidden_size": 4, "n_epochs": 2},
    "shrunk_gru": {"hidden_size": 4, "n_epochs": 2},
    **{
        key: {"n_topics": 3, "hidden_size": 4, "n_epochs": 2, "batch_size": 20}
        | ({"warm_up": 1} if "dirichlet" in key or "weibull" in key else {})
        for key in NEURAL_TOPICS
    },
    "sentence_vae": {"latent_size": 2, "hidden_size": 4, "n_epochs": 1, "n_samples": 3},
    "lla": {"embedding_size": 4, "hidden_size": 4, "n_iterations": 2},
}


@pytest.fixture(scope="module")
def clicks():
    return split_corpus(simulate_clicks(replace(SMOKE, n_users=30))[0])


@pytest.fixture(scope="module")
def lda(clicks):
    return LDA.fit(clicks, LDA.configure(SETTINGS["lda"]), 1)


def check_only_fit(fit, checkpoint):
    """What is finished is read back by any number of fits; of others only one runs at a time."""
    if not checkpoint.exists():
        return  # a family that keeps none
    assert os.listdir(checkpoint.parent) == [checkpoint.name]
    with exclusive_file(checkpoint):
        fit()
        checkpoint.unlink()
        with pytest.raises(InputError, match=rf"^{checkpoint}: another run is in progress \("):
            fit()
    assert os.listdir(checkpoint.parent) == []
    assert not _OuterBar._open, (
        "a fit that is refused leaves no bar, in which others would be nested"
    )


@pytest.mark.parametrize("key", FAMILIES)
def test_every_family_fits_scores_ranks_and_has_a_size(key, clicks, lda, tmp_path):
    family = FAMILIES[key]
    assert family.key == key and family.label
    config = family.configure(SETTINGS.get(key, {}), lda)
    start = lda.topics if family.needs_start(config) else None
    fit = partial(family.fit, clicks, config, 1, start=start, checkpoint=tmp_path / "fit")
    fitted = fit()
    check_only_fit(fit, tmp_path / "fit")
    scores = fitted.score(clicks, seed=1)
    assert scores.shape == (clicks.corpus.n_documents,) and (scores <= 0).all()
    assert 1 < perplexity(scores, clicks, clicks.reported) <= 1.000001 * clicks.corpus.n_words
    seen = np.zeros(clicks.corpus.n_tokens, int)

    def on_scores(positions, rows):
        assert rows.shape == (len(positions), clicks.corpus.n_words)
        seen[positions] += 1

    fitted.next_items(clicks, on_scores, seed=1)
    assert np.array_equal(seen, clicks.held_out.astype(int))
    assert fitted.size().parameters >= 0 and fitted.size().n_bytes >= 0
    assert fitted.seconds >= 0 and isinstance(fitted.history, list)
    again = family.fit(clicks, config, 2, start=start)
    assert np.array_equal(again.score(clicks, seed=1), scores) or family.draws


def test_baselines_run_on_their_data_alone(clicks):
    text = sticky_split(4, 40, 20, 20)[0]

    def keys(split, users):
        return [family.key for family in baselines_of(split, users)]

    assert keys(text, False) == ["unigram", "cache_unigram", "bigram"]
    assert keys(text, True) == [*keys(text, False), "popular"]
    assert keys(clicks, True) == [*keys(text, True), "oracle"]
    assert keys(clicks, False) == keys(text, False)


def test_a_name_is_a_family_a_variant_or_a_model_of_table_1():
    assert family_of("gru4rec_sampled") is FAMILIES["gru4rec"]
    assert family_of("any name") is family_of("topic_lla") is LLA
    assert {key for key, _ in VARIANTS.values()} <= FAMILIES.keys()
    named = (FAMILIES.keys() | VARIANTS.keys()) - {LLA.key}
    own = {f"{name}{OWN}" for name in named - {"lda"}}
    assert LABELS.keys() == TEXT_LABELS.keys() == named | own
    assert len(set(LABELS.values())) == len(LABELS)


def test_a_name_with_own_counts_is_the_model_before_it():
    assert base_of("sasrec_own") == "sasrec" and base_of("sasrec") == ""
    assert base_of("lda_online_own@20") == "lda_online@20"
    assert LABELS["sasrec_own"] == "SASRec + own counts"
    assert TEXT_LABELS["word_lstm_own"] == "word LSTM, sampled softmax + own counts"
    assert family_of("personal_lla_own").particles and not family_of("bigram_own").particles
    assert family_of("personal_lla_own").key == family_of("bigram_own").key == "own_counts"


def test_a_neural_cache_is_put_on_the_same_fit_of_a_word_lstm(clicks, tmp_path):
    settings = SETTINGS["lla"] | {"model": "word_lstm"}
    assert base_of("word_lstm_cache@3") == "word_lstm@3" and base_of("cache_unigram") == ""
    assert base_of("word_lstm_cache_own") == "word_lstm_cache"
    assert not family_of("word_lstm_cache").particles
    base = study.run(clicks, "word_lstm", settings, 1, tmp_path)
    fits = set(tmp_path.iterdir())
    cached = study.run(clicks, "word_lstm_cache", settings, 1, tmp_path, ranks=True)
    assert cached.size.parameters == base.size.parameters + 2
    assert cached.development <= base.development and fits < set(tmp_path.iterdir())
    planned = study.plan(clicks, "word_lstm_cache", settings, 1, tmp_path)
    assert planned.checkpoint.name == f"cache-{planned.base.checkpoint.name}"


OWN_NAMES = {
    "bigram": "bigram",
    "lda_online": "lda",
    "ddlda": "ddlda",
    "factorization": "factorization",
    "hmm": "hmm",
    "autoencoder": "autoencoder",
    "gru4rec": "gru4rec",
    "sasrec": "sasrec",
    "c_gru": "c_gru",
    "word_lstm": "lla",
    "topic_lla": "lla",
    "personal_lla": "lla",
}
MODEL = {
    "word_lstm": {"model": "word_lstm"},
    "personal_lla": {"emission": "personal"},
    "topic_lla": {"ddlda": {"n_sweeps": 2}},
}


@pytest.mark.parametrize("name", OWN_NAMES)
def test_own_counts_are_mixed_into_the_same_fit_of_every_model(name, clicks, lda, tmp_path):
    of_name = SETTINGS.get(OWN_NAMES[name], {}) | MODEL.get(name, {})
    options = {"start": lda, "n_particles": 2}
    base = study.run(clicks, name, of_name, 1, tmp_path, ranks=True, **options)
    fits = {file: file.stat().st_mtime_ns for file in tmp_path.iterdir()}
    own = study.run(clicks, f"{name}{OWN}", of_name, 1, tmp_path, ranks=True, **options)
    assert {file: file.stat().st_mtime_ns for file in fits} == fits, "the model was fitted again"
    assert own.size.parameters == base.size.parameters + 2
    assert own.development < base.development
    assert own.ranking.positions.tolist() == base.ranking.positions.tolist()
    again = study.run(clicks, f"{name}{OWN}", of_name, 1, tmp_path, ranks=True, **options)
    assert np.array_equal(own.scores, again.scores)
    assert np.array_equal(own.ranking.best, again.ranking.best)
    planned = study.plan(clicks, f"{name}{OWN}", of_name, 1, tmp_path, start=lda)
    assert (
        planned.base.checkpoint
        == study.plan(clicks, name, of_name, 1, tmp_path, start=lda).checkpoint
    )
    tuned = study.development_perplexity(planned, clicks, planned.fit(clicks))
    if name not in ("topic_lla", "personal_lla"):  # there by another number of particles
        assert tuned == own.development


@pytest.mark.parametrize("file", sorted(results.CONFIGS.glob("*.yaml")), ids=lambda file: file.stem)
def test_every_model_of_a_profile_has_a_label(file):
    config = yaml.safe_load(file.read_text(encoding="utf-8"))
    for notebook in ("06_accuracy_vs_size", "07_topics_sweep", "10_user_modeling"):
        of_notebook = config.get(notebook, {})
        names = {*of_notebook.get("models", {}), *of_notebook.get("peers", {})}
        assert names <= LABELS.keys(), notebook


def test_only_the_list_of_models_imports_them():
    """Study, ranking, tuning and memory go through the interface."""
    folder = Path(results.__file__).parent
    for name in ("study", "tune", "studies/users", "studies/memory"):
        tree = ast.parse((folder / f"{name}.py").read_text("utf-8"))
        modules = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        assert not [m for m in modules if m.startswith(("lla.peers", "lla.lda", "lla.sem"))], name


@dataclass(frozen=True)
class FlatConfig:
    smoothing: float = 1.0


class Flat:
    """All items alike: what a new file in lla/peers has to bring."""

    seconds, history = 0.5, ()

    def score(self, split, *, seed=0):
        return -split.n_held_out * np.log(split.corpus.n_words)

    def next_items(self, split, on_scores, *, seed=0):
        positions = np.flatnonzero(split.held_out)
        on_scores(positions, np.ones((len(positions), split.corpus.n_words), np.float32))

    def size(self):
        return Size(0, 0, 0)


def fit_flat(split, config, seed, **_):
    return Flat()


def test_a_new_family_is_one_entry(clicks, tmp_path, monkeypatch):
    family = Family("flat", "flat", FlatConfig, fit_flat)
    monkeypatch.setitem(FAMILIES, "flat", family)
    outcome = study.run(clicks, "flat", {}, 1, tmp_path, ranks=True)
    n_items = clicks.corpus.n_words
    assert outcome.perplexity == pytest.approx(n_items)
    assert metrics(outcome.ranking, cutoffs=[10])["recall@10"] == pytest.approx(10 / n_items)
    tuned = tune.development_perplexity(clicks, "flat", {"smoothing": 2.0}, 1, tmp_path)
    assert tuned == pytest.approx(n_items)
    lda = LDA.fit(clicks, LDA.configure(SETTINGS["lda"]), 1)
    runs = memory.one_iteration_each(clicks, lda, {"flat": {}}, 1, tmp_path)
    assert isinstance(runs["flat"].fit(clicks), Flat)
    measures = users.measures_of({"flat": [outcome]})
    assert measures["seconds.flat"]["values"] == [0.5]
