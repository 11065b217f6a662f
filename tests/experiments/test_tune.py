"""The search for settings: what it tries, what it keeps, and that it looks at nothing reported."""

import json
import shutil

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from simulated import sticky_split

from experiments import notebook, results, tune
from lla.common.errors import InputError
from lla.corpus import Corpus, save_corpus

GRIDS = {
    "seed": 1,
    "lda": {"n_topics": [3], "n_sweeps": [20], "beta": [0.1, 0.5]},
    "joint": {
        **{"hidden_size": [4], "n_iterations": [2], "beta": [0.1, 0.2]},
        "ddlda": [None, {"n_sweeps": 3}],
    },
    "independent": {"joint": [False], "hidden_size": [4], "n_iterations": [2], "beta": [0.1]},
    "word_lstm": {"model": ["word_lstm"], "hidden_size": [4], "n_iterations": [2]},
    "ddlda": {"n_sweeps": [3], "scale": [5.0, 2.0]},
    "autoencoder": {"n_epochs": [2], "dropout": [0.0, 0.5]},
    "popular": {"half_life": [None, 10.0]},
    "gru4rec": {"n_epochs": [2], "hidden_size": [4], "tied": [False], "n_samples": [0, 5]},
    "sasrec": {"n_epochs": [2], "hidden_size": [4], "n_blocks": [1, 2]},
}


@given(
    st.dictionaries(st.sampled_from("abcd"), st.lists(st.integers(0, 9), min_size=1, unique=True)),
    st.integers(0, 2**32),
)
@settings(max_examples=60, deadline=None)
def test_the_search_keeps_the_best_it_has_tried(grid, seed):
    draw = np.random.default_rng(seed)
    weight = {name: draw.normal() for name in "abcd"}
    chosen, trials = tune.search(grid, lambda s: sum(weight[n] * v for n, v in s.items()))
    best = min(trial["perplexity"] for trial in trials)
    assert best == pytest.approx(sum(weight[n] * v for n, v in chosen.items()))
    assert trials[0]["settings"] == {name: values[0] for name, values in grid.items()}
    assert len(trials) == 1 + sum(len(values) - 1 for values in grid.values())
    # Where every setting counts by itself, one pass finds the best of all combinations.
    for name, values in grid.items():
        assert weight[name] * chosen[name] == pytest.approx(min(weight[name] * v for v in values))


def test_none_is_as_if_a_setting_were_not_named():
    assert tune._key({"b": None, "a": 1}) == tune._key({"a": 1}) != tune._key({"a": 0})


@pytest.fixture
def root(tmp_path, monkeypatch):
    for name, folder in (("CONFIGS", "configs"), ("RESULTS", "results")):
        monkeypatch.setattr(results, name, tmp_path / folder)
    (tmp_path / "configs" / "tuning").mkdir(parents=True)
    write(tmp_path, GRIDS)
    save_corpus(sticky_split(3, 30, 30, 25)[0].corpus, results.work_dir("small") / "corpus")
    return tmp_path


def write(root, grids):
    (root / "configs" / "tuning" / "small.yaml").write_text(yaml.safe_dump(grids, sort_keys=False))


def result(root):
    return json.loads((root / "results" / "small" / "run" / "tuning.json").read_text())


def test_every_stage_is_searched_reproducibly(root, capsys):
    assert tune.main(["--profile", "small"]) == 0
    first = result(root)
    assert list(first["config"]) == [name for name in GRIDS if name != "seed"]
    assert first["config"]["lda"]["beta"] in (0.1, 0.5)
    for stage, tried in first["extra"]["trials"].items():
        best = min(tried, key=lambda trial: trial["perplexity"])
        assert first["config"][stage] == best["settings"]
        measure = first["measures"][f"development_perplexity.{stage}"]
        assert measure["value"] == best["perplexity"]
    assert "joint: hidden_size=4" in capsys.readouterr().out
    tune.main(["--profile", "small", "--fresh"])
    assert result(root)["extra"] == first["extra"]


def test_recorded_trials_are_not_run_again(root, monkeypatch):
    write(root, {name: GRIDS[name] for name in ("seed", "lda", "autoencoder")})
    tune.main(["--profile", "small"])
    first = result(root)
    shutil.rmtree(results.work_dir("small") / "tuning")
    more = GRIDS["autoencoder"] | {"dropout": [0.0, 0.5, 0.2]}
    write(root, {"seed": 1, "lda": GRIDS["lda"], "autoencoder": more})
    tried = []

    def score(split, stage, settings, *rest):
        if stage != "autoencoder":
            return real(split, stage, settings, *rest)
        tried.append(settings)
        return 1e9

    real = tune.development_perplexity
    monkeypatch.setattr(tune, "development_perplexity", score)
    tune.main(["--profile", "small"])
    assert [settings["dropout"] for settings in tried] == [0.2]
    assert result(root)["config"] == first["config"]
    # Another LDA is another start: what was measured from the last one does not count.
    write(root, {"seed": 1, "lda": {"n_topics": [2], "n_sweeps": [3]}, "autoencoder": more})
    tune.main(["--profile", "small"])
    assert len(tried) == 4


def test_a_data_set_of_users_has_its_own_grids_and_result(root):
    grids = {name: GRIDS[name] for name in ("seed", "lda", "autoencoder")}
    (root / "configs" / "tuning" / "small-shop.yaml").write_text(yaml.safe_dump(grids))
    folder = results.work_dir("small") / "users" / "shop" / "corpus"
    save_corpus(sticky_split(3, 25, 30, 20)[0].corpus, folder)
    tune.main(["--profile", "small", "--data", "shop"])
    there = json.loads((root / "results" / "small" / "run" / "tuning_shop.json").read_text())
    assert list(there["config"]) == ["lda", "autoencoder"]
    assert not (root / "results" / "small" / "run" / "tuning.json").exists()
    with pytest.raises(InputError, match=r"experiments/configs/tuning/small-other.yaml: not there"):
        tune.tune("small", data="other")


def test_tuning_does_not_read_reported_words(root):
    """Held-out words of reported documents are shuffled: every trial's number stays the same."""
    tune.main(["--profile", "small"])
    first = result(root)
    folder = results.work_dir("small") / "corpus"
    split = tune.split_corpus(tune.load_corpus(folder))
    words = split.corpus.words.copy()
    hidden = split.held_out & np.repeat(split.reported, split.corpus.lengths)
    words[hidden] = words[hidden][::-1]
    assert (words != split.corpus.words).any()
    documents = np.split(words, split.corpus.offsets[1:-1])
    save_corpus(Corpus.from_documents(documents, split.corpus.vocabulary), folder)
    tune.main(["--profile", "small"])
    assert result(root)["extra"] == first["extra"]
    assert result(root)["environment"]["corpus"] != first["environment"]["corpus"]


@pytest.mark.parametrize(
    ("grids", "says"),
    [
        ({"lda": {}}, "needs a seed"),
        ({"seed": 1}, "needs a seed and a stage lda"),
        (GRIDS | {"joint": {"beta": 0.1}}, "joint: beta is 0.1; give a list"),
        (GRIDS | {"joint": {"beta": []}}, "give a list"),
        (GRIDS | {"joint": {"gamma": [1]}}, "gamma is no option of SEMConfig"),
    ],
)
def test_grids_that_cannot_be_searched_are_named(root, grids, says):
    write(root, grids)
    with pytest.raises(InputError, match=says):
        tune.tune("small")


def test_a_profile_without_grids_is_an_error(root):
    with pytest.raises(InputError, match=r"experiments/configs/tuning/medium.yaml: not there"):
        tune.tune("medium")


@pytest.mark.parametrize("profile", ["small", "medium"])
def test_profiles_use_the_tuned_settings(profile):
    """The settings of experiments/configs/PROFILE.yaml are those of the committed search."""
    chosen = json.loads((results.ROOT / f"results/{profile}/tuning.json").read_text())["config"]
    blocks = notebook.read_profile(profile)
    run = {"lda": blocks["02_lda_initialization"], "joint": blocks["03_sem_training"]}
    run |= notebook.settings(profile, "04_joint_vs_independent")["models"]
    run |= notebook.settings(profile, "06_accuracy_vs_size")["models"]
    limits = {
        "n_iterations",
        "n_epochs",
        "patience",
        "joint",
    }  # a run has other passes than a trial
    compared = ("lda", "joint", "independent", "word_lla", "word_lstm", "ddlda", "autoencoder")
    for stage in compared:
        for name, value in chosen[stage].items():
            assert name in limits or run[stage][name] == value, f"{stage}: {name}"


SEARCHES = sorted(results.RESULTS.glob("*/tuning_*.json"))


@pytest.mark.parametrize("file", SEARCHES, ids=lambda file: f"{file.parent.name}-{file.stem}")
def test_user_profiles_use_the_tuned_settings(file):
    """The settings of notebook 10, and what it changes for a data set, are those of its search."""
    profile, data = file.parent.name, file.stem.removeprefix("tuning_")
    chosen = json.loads(file.read_text())["config"]
    found = notebook.settings(profile, "10_user_modeling", data=data)
    run = {"lda": found["lda"]} | found["models"]
    changes = notebook.read_profile(profile)["10_user_modeling"].get("changes", {})
    assert data in found["corpora"] and changes.keys() <= found["corpora"].keys()
    assert len(chosen) >= 9 and changes.get(data, {}).keys() <= run.keys()
    limits = {"n_iterations", "n_epochs"}  # a run may be shorter than a trial
    for stage in chosen.keys() & run.keys():
        for name, value in chosen[stage].items():
            assert name in limits or run[stage].get(name) == value, f"{data}, {stage}: {name}"
    assert {"topic_lla", "independent", "sasrec", "lda"} <= chosen.keys() & run.keys()


def test_a_search_on_simulated_users_is_there():
    assert results.RESULTS / "small/tuning_clicks.json" in SEARCHES
