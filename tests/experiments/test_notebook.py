"""What notebooks read from a profile and show of a result."""

from types import SimpleNamespace

import pytest

from experiments import notebook, results
from lla.common.errors import InputError

PROFILE = """
05_sizes:
  seeds: [1, 2]
  lda: {n_topics: 10, beta: 0.1}
  common: {hidden_size: 16, n_iterations: 4}
  models:
    topic_lla: {}
    word_lla: {model: word_lla, hidden_size: 32}
  peers:
    ddlda: {n_sweeps: 20}
  changes:
    shop:
      lda: {beta: 0.5}
      word_lla: {dropout: 0.2}
      ddlda: {scale: 2.0}
06_plain: {seeds: [1]}
"""


@pytest.mark.parametrize(
    ("value", "kind", "found"),
    [
        ("[1, 2]", int, [1, 2]),
        ("[1,2]", int, [1, 2]),
        ("1, 2", int, [1, 2]),
        ("1 2", int, [1, 2]),
        ("(1, 2)", int, [1, 2]),
        ("3", int, [3]),
        (3, int, [3]),
        ([1, 2], int, [1, 2]),
        ((1, 2), int, [1, 2]),
        ("[0.5, 1]", float, [0.5, 1.0]),
        (0.5, float, [0.5]),
        ("[1e-3]", float, [0.001]),
        ("['word_lla', \"ddlda\"]", str, ["word_lla", "ddlda"]),
        ("[word_lla, ddlda]", str, ["word_lla", "ddlda"]),
        ("word_lla", str, ["word_lla"]),
        ("no,2015", str, ["no", "2015"]),
        ("my dump.xml", str, ["my dump.xml"]),
    ],
)
def test_a_list_may_arrive_as_text(value, kind, found):
    read = notebook.as_list("seeds", value, kind)
    assert read == found and all(type(entry) in (kind, int) for entry in read)


@pytest.mark.parametrize("value", [[], (), "[]", "", " "])
def test_a_list_may_be_empty_where_that_says_something(value):
    assert notebook.as_list("models", value, str, empty=True) == []
    with pytest.raises(InputError, match=r"^models is .*: give a list of one or more names$"):
        notebook.as_list("models", value, str)


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ("[1, x]", int),
        ("{1: 2}", int),
        ("[[1], [2]]", int),
        ([1.5], int),
        ("1.5", int),
        ([True], int),
        (True, int),
        ([-1], int),
        (["1"], int),
        ({1}, int),
        (None, int),
        (["half"], float),
        ([float("nan")], float),
        ("inf", float),
        ([1], str),
        (None, str),
        ([""], str),
    ],
)
def test_what_is_no_such_list_is_refused(value, kind):
    with pytest.raises(InputError, match=r"^seeds is .*: give a list of one or more ") as caught:
        notebook.as_list("seeds", value, kind)
    assert "\n" not in str(caught.value)


@pytest.fixture
def profile(tmp_path, monkeypatch):
    monkeypatch.setattr(results, "CONFIGS", tmp_path)
    (tmp_path / "small.yaml").write_text(PROFILE)
    return "small"


def test_settings_of_a_model_are_common_ones_then_its_own(profile):
    found = notebook.settings(profile, "05_sizes")
    assert found == {
        "lda": {"n_topics": 10, "beta": 0.1},
        "models": {
            "topic_lla": {"hidden_size": 16, "n_iterations": 4},
            "word_lla": {"hidden_size": 32, "n_iterations": 4, "model": "word_lla"},
            "ddlda": {"n_sweeps": 20},
        },
    }


def test_parameters_that_are_set_replace_settings_of_table_1_alone(profile):
    found = notebook.settings(profile, "05_sizes", hidden_size=8, n_iterations=None)["models"]
    assert [found[name]["hidden_size"] for name in ("topic_lla", "word_lla")] == [8, 8]
    assert found["topic_lla"]["n_iterations"] == 4
    assert found["ddlda"] == {"n_sweeps": 20}


def test_a_data_set_changes_settings(profile):
    found = notebook.settings(profile, "05_sizes", data="shop")
    assert found["lda"] == {"n_topics": 10, "beta": 0.5}
    assert found["models"]["word_lla"]["dropout"] == 0.2
    assert found["models"]["ddlda"] == {"n_sweeps": 20, "scale": 2.0}
    assert notebook.settings(profile, "05_sizes", data="other") == notebook.settings(
        profile, "05_sizes"
    )


def test_some_models_alone(profile):
    found = notebook.settings(profile, "05_sizes", only=["ddlda", "topic_lla"])["models"]
    assert list(found) == ["ddlda", "topic_lla"]
    with pytest.raises(InputError, match=r"gru4rec: no such model .*; it has topic_lla, word_lla"):
        notebook.settings(profile, "05_sizes", only=["gru4rec"])


def test_a_notebook_without_settings_is_an_error(profile):
    assert notebook.settings(profile, "06_plain") == {"models": {}}
    with pytest.raises(InputError, match=r"small.yaml: 07_more has no settings there; it has 05"):
        notebook.settings(profile, "07_more")
    with pytest.raises(InputError, match="'huge' does not exist"):
        notebook.settings("huge", "05_sizes")


def test_the_largest_profile_runs_notebooks_that_exist():
    assert notebook.read_profile("large").keys() <= notebook.read_profile("smoke").keys()


@pytest.mark.parametrize("name", ["smoke", "small", "medium"])
def test_every_profile_has_the_same_notebooks(name):
    blocks = notebook.read_profile(name)
    experiments = {file.stem for file in results.NOTEBOOKS.glob("[0-9]*.ipynb")}
    # Traces are simulated clicks, which `medium` does not have.
    assert experiments - blocks.keys() <= ({"11_next_topics"} if name == "medium" else set())
    assert blocks.keys() <= experiments


def run(perplexity, parameters=10, seconds=1.0):
    size = SimpleNamespace(parameters=parameters, n_bytes=4 * parameters)
    return SimpleNamespace(perplexity=perplexity, size=size, seconds=seconds)


def test_measures_of_outcomes():
    outcomes = {"lda": [run(20.0), run(22.0)], "topic_lla": [run(10.0, 30), run(11.0, 30)]}
    measures = notebook.measures_of(outcomes, "perplexity", "bytes")
    assert list(measures) == [
        "perplexity.lda",
        "perplexity.topic_lla",
        "bytes.lda",
        "bytes.topic_lla",
    ]
    assert measures["perplexity.lda"] == results.measure([20.0, 22.0], "perplexity")
    assert measures["bytes.topic_lla"]["value"] == 120
    assert notebook.by_model(measures, "bytes") == {"lda": (40, 0), "topic_lla": (120, 0)}


def test_seconds_are_those_of_training_or_of_this_process():
    assert notebook.seconds_of([run(1.0, seconds=1e9), run(1.0, seconds=1e9)]) == 2e9
    ranked = SimpleNamespace(seconds=1e9, ranking_seconds=5e8)
    assert notebook.seconds_of({"sasrec": [ranked]}) == 1.5e9
    assert 0 < notebook.seconds_of([]) < 1e6


def test_models_and_counts_are_distinguished():
    measures = {
        "perplexity.topic_lla@4": [12.0],
        "perplexity.topic_lla@16": [10.0],
        "perplexity.topic_lla": [10.0],
        "parameters.topic_lla": [5],
        "parameters.unigram": [0],
        "perplexity.unigram": [40.0],
    }
    assert notebook.by_model(measures) == {"topic_lla": (10, 0), "unigram": (40, 0)}
    assert notebook.by_count(measures) == {"topic_lla": {4: (12, 0), 16: (10, 0)}}
    # A model without parameters has no place on a logarithmic axis.
    assert notebook.perplexity_and_size(measures) == {
        "topic_lla": {"perplexity": (10, 0), "parameters": 5}
    }


def test_tables_name_models_for_people_and_start_with_the_lowest():
    measures = {
        "perplexity.lda_online": [20.0, 22.0],
        "perplexity.topic_lla": [10.0, 10.0],
        "seconds.topic_lla": [3.0],
    }
    table = notebook.table(measures, "perplexity", "seconds")
    assert list(table.index) == ["topic LLA", "LDA, θ updated"]
    assert table.loc["LDA, θ updated"].tolist() == ["21.0 ± 1.4", ""]
    assert table.loc["topic LLA", "seconds"] == "3"
    table = notebook.table({"documents": results.measure([12345], "documents")})
    assert table.loc["documents"].tolist() == ["12,345", "documents"]


def test_the_committed_run_is_judged_by_its_numbers(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(results, "RESULTS", tmp_path)
    monkeypatch.setattr(results, "run_dir", results.profile_dir)  # as `make publish` leaves it
    measures = {"perplexity.topic_lla": [10.0, 11.0], "perplexity.independent": [20.0, 21.0]}
    measures["perplexity.lda"] = [30.0, 31.0]
    options = {"config": {}, "seeds": [1, 2], "corpus": "f1n6e7", "seconds": 1.0}
    results.publish("joint_vs_independent", "small", measures=measures, **options)
    capsys.readouterr()
    result = notebook.committed("joint_vs_independent", "table-4-wikipedia")
    assert result["seeds"] == [1, 2]
    first, second = capsys.readouterr().out.splitlines()
    assert first == "joint_vs_independent, profile small, 2 seeds"
    assert second.startswith(
        "table-4-wikipedia: topic LLA below independent topic LLA, text: 20.5 -> "
    )
    assert second.endswith(", paper: 2119 -> 1785 (-15.8%) -> holds")
