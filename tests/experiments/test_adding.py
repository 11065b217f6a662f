"""`--add`: a run of a part of a notebook is added to the committed result and replaces nothing."""

import json
from dataclasses import replace

import nbformat
import numpy as np
import pytest
from matplotlib import pyplot as plt
from nbformat.v4 import new_code_cell, new_notebook

from experiments import figures, publishing, results
from experiments.claims import Scores, read_scores, write_scores
from experiments.publishing import drawing
from experiments.report import pages
from lla.common.errors import InputError

NOTEBOOKS = ("06_accuracy_vs_size", "12_recommendation", "13_topics")
SEEDS = [1, 2, 3]
COUNTS = np.array([10, 20, 30, 40], np.int32)  # held-out words of four documents


@pytest.fixture
def house(tmp_path, monkeypatch):
    """A project with three notebooks and, yet without results, the folders of a profile."""
    for name, folder in (("ROOT", ""), ("RESULTS", "results"), ("NOTEBOOKS", "notebooks")):
        monkeypatch.setattr(results, name, tmp_path / folder)
    monkeypatch.setattr(results, "CONFIGS", tmp_path / "experiments" / "configs")
    monkeypatch.setattr(pages, "write_report", list)
    for folder in ("experiments/configs", "notebooks", "results/small/run"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "experiments" / "notebooks.yaml").write_text(f"lla: [{', '.join(NOTEBOOKS)}]\n")
    config = "".join(f"{name}:\n" for name in NOTEBOOKS)
    (tmp_path / "experiments" / "configs" / "small.yaml").write_text(config)
    for name in NOTEBOOKS:
        cell = new_code_cell("size = 1", metadata={"tags": ["parameters"]})
        nbformat.write(new_notebook(cells=[cell]), tmp_path / "notebooks" / f"{name}.ipynb")
    return tmp_path / "results" / "small"


def result(perplexities, seconds=5.0, **changes):
    """A result of notebook 06: of each model three perplexities, its size and its time."""
    measures = {}
    for model, values in perplexities.items():
        measures[f"perplexity.{model}"] = results.measure(values, "perplexity")
        measures[f"parameters.{model}"] = results.measure([100 * len(model)] * 3, "parameters")
        measures[f"seconds.{model}"] = results.measure([seconds] * 3, "seconds")
    made = {
        "config": {"models": {m: {"size": 1} for m in perplexities}, "particles": 4},
        "seeds": SEEDS,
        "measures": measures,
        "claims": [],
        "environment": {"corpus": "one", "cpu": "idle"},
        "seconds": 10.0,
        "peak_memory": 5,
        "extra": {"history": {m: [[{"seconds": seconds}]] * 3 for m in perplexities}},
    }
    return made | changes


OLD = {"lda": [100.0, 101.0, 102.0], "word_lstm": [80.0, 80.5, 81.0]}
NEW = {"lda": [100.1, 101.1, 102.1], "personal_lla": [60.0, 60.5, 61.0]}


def save(path, content, scores=None):
    path.write_text(json.dumps(content))
    write_scores(path.with_suffix(".safetensors"), scores)
    return content


def load(path):
    return json.loads(path.read_text())


@pytest.fixture
def both(house):
    """A committed result of LDA and the word LSTM; on a busy machine a run of LDA and another."""
    committed = save(house / "accuracy_vs_size.json", result(OLD))
    environment = {"corpus": "one", "cpu": "busy"}
    run = result(NEW, seconds=50.0, environment=environment, peak_memory=7)
    save(house / "run" / "accuracy_vs_size.json", run)
    return house, committed, run


def test_what_is_committed_stays_and_what_is_new_is_added(both):
    house, committed, run = both
    assert publishing.add_run("small", ["06"]) == ["results/small/accuracy_vs_size.json"]
    found = load(house / "accuracy_vs_size.json")
    assert list(found["measures"]) == [
        *committed["measures"],
        *(f"{metric}.personal_lla" for metric in ("perplexity", "parameters", "seconds")),
    ]
    for name, measure in found["measures"].items():
        made_by = committed if name in committed["measures"] else run
        assert measure == made_by["measures"][name], name
    assert found["extra"]["history"] == run["extra"]["history"] | committed["extra"]["history"]
    assert found["config"]["models"].keys() == {*OLD, *NEW}
    assert found["environment"] == committed["environment"]
    assert found["seconds"] == 20 and found["peak_memory"] == 7
    (added,) = found["added"]
    names = ["parameters.personal_lla", "perplexity.personal_lla", "seconds.personal_lla"]
    assert added == {"measures": names, "environment": run["environment"], "seconds": 10.0}


def test_a_run_that_is_added_twice_is_added_once(both, capsys):
    house, _, _ = both
    publishing.add_run("small", ["06"])
    after = (house / "accuracy_vs_size.json").read_bytes()
    assert publishing.main(["--only", "06", "--add"]) == 0
    assert capsys.readouterr().out == "The run has nothing new to add.\n"
    assert (house / "accuracy_vs_size.json").read_bytes() == after


def test_a_new_result_is_the_runs(house):
    files = [house / "run" / f"accuracy_vs_size.{end}" for end in ("json", "safetensors", "png")]
    made = result(NEW)
    save(files[0], made, scores_of(NEW))
    files[2].write_bytes(b"drawn by the notebook")
    changed = publishing.add_run("small", ["06"])
    assert sorted(changed) == sorted(f"results/small/{file.name}" for file in files)
    assert load(house / files[0].name) == made
    assert all((house / file.name).read_bytes() == file.read_bytes() for file in files)


def refused(house, message):
    before = {path: path.read_bytes() for path in house.iterdir() if path.is_file()}
    with pytest.raises(InputError, match=message) as caught:
        publishing.add_run("small", ["06"])
    assert "\n" not in str(caught.value)
    assert before == {path: path.read_bytes() for path in house.iterdir() if path.is_file()}


def change_run(house, change):
    file = house / "run" / "accuracy_vs_size.json"
    run = load(file)
    change(run)
    file.write_text(json.dumps(run))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda run: run.update(seeds=[1]), r"seeds \[1\], but \[1, 2, 3\] are committed"),
        (lambda run: run["environment"].update(corpus="two"), "of another corpus than the"),
        (lambda run: run["config"].update(particles=8), "particles is 8 in the run, but 4 is"),
        (
            lambda run: run["config"]["models"]["lda"].update(size=2),
            "models.lda.size is 2 in the run, but 1 is committed: run it with the committed",
        ),
        (
            lambda run: run["measures"]["parameters.lda"].update(value=301, values=[301] * 3),
            "parameters.lda is 301 in the run, but 300 ± 0 is committed: run it",
        ),
    ],
)
def test_what_cannot_be_compared_is_not_added(both, change, message):
    house, _, _ = both
    change_run(house, change)
    refused(house, f"^accuracy_vs_size: {message}")


def set_run(house, measure, values):
    """Replace what the run measured."""
    unit = measure.partition(".")[0]
    change_run(house, lambda run: run["measures"].update({measure: results.measure(values, unit)}))


def test_a_model_of_both_must_have_the_committed_value_within_what_seeds_make(both):
    house, _, _ = both
    set_run(house, "perplexity.lda", [102.1, 103.1, 104.1])  # committed are 101 ± 1
    refused(house, "lda is 103.1 in the run, but 101 ± 1 is committed: run it with the committed")
    set_run(house, "parameters.lda", [400, 400, 400])
    refused(
        house,
        "^accuracy_vs_size: perplexity.lda is 103.1 .* is committed, and 1 more differ: run it",
    )
    set_run(house, "parameters.lda", [300 + 1e-5, 300, 300])  # rounded
    refused(house, "101 ± 1 is committed: run it")
    set_run(house, "perplexity.lda", [101.9, 102.9, 103.9])
    publishing.add_run("small", ["06"])
    kept = load(house / "accuracy_vs_size.json")["measures"]
    assert kept["perplexity.lda"]["value"] == 101 and kept["parameters.lda"]["value"] == 300


def test_the_spread_of_a_run_excuses_nothing(both):
    """One seed that has gone wrong is far off, however much the run's seeds then differ."""
    house, _, _ = both
    set_run(house, "perplexity.lda", [100, 101, 120])
    refused(house, "lda is 107 in the run, but 101 ± 1 is committed")


def test_data_sets_are_added(house):
    """Of another corpus, where nothing was measured twice; the data sets become one list."""
    sets = {}
    for folder, data in ((house, "clicks"), (house / "run", "foursquare")):
        sets[data] = f"ndcg@10.lda@{data}"
        save(
            folder / "recommendation.json",
            result(
                {},
                config={"data": [data], "metric": "ndcg@10"},
                environment={"corpus": data},
                measures={sets[data]: results.measure([0.1, 0.2, 0.3], "ndcg@10")},
                claims=[{"name": f"LDA is best, {data}", "verdict": "holds"}],
            ),
        )
    publishing.add_run("small", ["12"])
    found = load(house / "recommendation.json")
    assert found["config"]["data"] == ["clicks", "foursquare"]
    assert found["measures"].keys() == set(sets.values())
    assert {claim["name"] for claim in found["claims"]} == {
        "LDA is best, clicks",
        "LDA is best, foursquare",
    }


# ------------------------------------------------------------------------------------- claims


ROW = "personal-lstm-text: personal topic LLA below word LSTM"


def test_claims_compare_the_new_with_what_is_committed(both):
    """The run's verdict on personal LLA and LDA is not taken, and one can now be judged."""
    house, _, _ = both
    stale = {"name": "personal-lstm-text: personal topic LLA below LDA", "verdict": "undecided"}
    own = [{"name": "sizes rise", "verdict": verdict} for verdict in ("holds", "undecided")]
    committed = load(house / "accuracy_vs_size.json")
    save(house / "accuracy_vs_size.json", committed | {"claims": [own[0]]})
    change_run(house, lambda run: run.update(claims=[stale, own[1]]))
    publishing.add_run("small", ["06"])
    claims = {c["name"]: c for c in load(house / "accuracy_vs_size.json")["claims"]}
    assert stale["name"] not in claims and claims["sizes rise"] == own[0]
    assert claims[ROW]["evidence"] == "3 seeds alone"
    expected = np.mean(1 - np.array(NEW["personal_lla"]) / OLD["word_lstm"])
    assert claims[ROW]["measured"] == pytest.approx(expected)


# ------------------------------------------------------------------------------------- scores


def scores_of(perplexities, **changes):
    """Scores of four documents whose perplexities are these."""
    sums = {
        f"perplexity.{model}": -np.log(values)[:, None].astype(np.float32) * COUNTS
        for model, values in perplexities.items()
    }
    scores = Scores(
        corpus="one", unit="documents", seeds=tuple(SEEDS), documents=np.arange(4, dtype=np.int32),
        counts={"all": COUNTS}, sums=sums, sizes={"all": 4},
    )  # fmt: skip
    return replace(scores, **changes)


def merged_scores(house):
    return read_scores(house / "accuracy_vs_size.json", load(house / "accuracy_vs_size.json"))


def test_scores_of_new_models_are_added_and_claims_rest_on_them(both):
    house, committed, run = both
    save(house / "accuracy_vs_size.json", committed, scores_of(OLD))
    save(house / "run" / "accuracy_vs_size.json", run, scores_of(NEW))
    changed = publishing.add_run("small", ["06"])
    assert changed == [f"results/small/accuracy_vs_size.{end}" for end in ("json", "safetensors")]
    scores = merged_scores(house)
    assert scores.sums.keys() == {f"perplexity.{model}" for model in {*OLD, *NEW}}
    for model, values in (NEW | OLD).items():
        assert scores.values(f"perplexity.{model}") == pytest.approx(values, rel=1e-5), model
    claims = {c["name"]: c for c in load(house / "accuracy_vs_size.json")["claims"]}
    assert claims[ROW]["evidence"] == "4 documents, 3 seeds"
    assert publishing.add_run("small", ["06"]) == []


def test_scores_that_belong_to_a_committed_value_are_added_others_are_not(both):
    """Of LDA, which is committed without scores: those of its very value alone."""
    house, committed, run = both
    save(house / "accuracy_vs_size.json", committed, scores_of({"word_lstm": OLD["word_lstm"]}))
    save(house / "run" / "accuracy_vs_size.json", run, scores_of(NEW))
    publishing.add_run("small", ["06"])
    scored = {"perplexity.word_lstm", "perplexity.personal_lla"}
    assert merged_scores(house).sums.keys() == scored
    same = result(NEW | {"lda": OLD["lda"]})
    save(house / "run" / "accuracy_vs_size.json", same, scores_of(NEW | {"lda": OLD["lda"]}))
    assert "results/small/accuracy_vs_size.safetensors" in publishing.add_run("small", ["06"])
    assert merged_scores(house).sums.keys() == {*scored, "perplexity.lda"}
    assert len(load(house / "accuracy_vs_size.json")["added"]) == 1


def test_scores_may_be_the_first_ones_of_a_result(both):
    house, _, run = both
    save(house / "run" / "accuracy_vs_size.json", run, scores_of(NEW))
    publishing.add_run("small", ["06"])
    assert merged_scores(house).sums.keys() == {"perplexity.personal_lla"}


@pytest.mark.parametrize(
    "changes",
    [
        {"documents": np.array([0, 1, 2, 4], np.int32)},
        {"seeds": (1, 2, 4)},
        {"corpus": "two"},
        {"unit": "users"},
        {"counts": {"all": COUNTS[[1, 0, 2, 3]]}},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_scores_of_other_documents_or_seeds_are_refused(both, changes):
    house, committed, run = both
    save(house / "accuracy_vs_size.json", committed, scores_of(OLD))
    save(house / "run" / "accuracy_vs_size.json", run, scores_of(NEW, **changes))
    refused(house, "^accuracy_vs_size: its scores per document are of other seeds than the com")


# ------------------------------------------------------------------------------------ figures


def test_a_figure_is_drawn_anew_from_the_merged_result(both, monkeypatch):
    house, _, _ = both
    drawn = []
    for folder in (house, house / "run"):
        (folder / "accuracy_vs_size.png").write_bytes(b"old")
    draw = drawing.figures.accuracy_vs_size

    def remember(models):
        drawn.append(list(models))
        return draw(models)

    monkeypatch.setattr(drawing.figures, "accuracy_vs_size", remember)
    assert "results/small/accuracy_vs_size.png" in publishing.add_run("small", ["06"])
    assert drawn == [["lda", "word_lstm", "personal_lla"]]  # by size
    assert plt.imread(house / "accuracy_vs_size.png").ndim == 3
    assert not plt.get_fignums()
    assert publishing.add_run("small", ["06"]) == [] and len(drawn) == 1


def test_a_figure_that_shows_more_than_numbers_stays_and_a_line_says_so(house):
    for folder, measured in ((house, OLD), (house / "run", NEW)):
        save(folder / "topics.json", result(measured))
        (folder / "topics.png").write_bytes(str(folder).encode())
    save(house / "topics_sweep.json", result(OLD))  # another notebook's
    (house / "topics_sweep.png").write_bytes(b"")
    lines = publishing.add_run("small", ["13"])
    assert lines == [
        "results/small/topics.json",
        "results/small/topics.png stays: it shows more than the numbers of its result",
    ]
    assert (house / "topics.png").read_bytes() == str(house).encode()


def committed_figures():
    """Names of the committed results of the profile small that have figures to be drawn anew."""
    folder = results.ROOT / "results" / "small"
    names = [file.stem for file in folder.glob("*.json")]
    return sorted(n for n in names if any(results.belongs_to(n, study) for study in drawing.DRAWN))


@pytest.mark.parametrize("name", committed_figures())
def test_figures_are_drawn_by_the_functions_that_the_notebooks_call(name, monkeypatch):
    folder, called = results.ROOT / "results" / "small", set()

    class Recorded:
        """`experiments.figures`, which notes what is taken from it."""

        def __getattr__(self, function):
            called.add(function)
            return getattr(figures, function)

    monkeypatch.setattr(drawing, "figures", Recorded())
    drawn = drawing.figures_of(name, {file.stem: load(file) for file in folder.glob("*.json")})
    plt.close("all")
    pictures = {f"{'_'.join(filter(None, (name, suffix)))}.png" for suffix in drawn}
    assert pictures == {
        file.name for file in folder.glob("*.png") if results.belongs_to(file.stem, name)
    }
    notebook = results.NOTEBOOKS / f"{results.notebook_of(name)}.ipynb"
    source = "".join(
        "".join(cell["source"]) for cell in load(notebook)["cells"] if cell["cell_type"] == "code"
    )
    assert all(f"figures.{function}(" in source for function in called)


def test_a_model_that_was_fitted_to_one_part_of_the_corpus_alone_is_no_curve(monkeypatch):
    """As in notebook 21, whose figure has the models that were fitted to every part."""
    measured = {"value": 10.0, "spread": 1.0}
    names = [f"{model}@documents={n}" for model in ("independent", "topic_lla") for n in (10, 100)]
    measures = {f"perplexity.{name}": measured for name in names}
    measures |= {f"gain@documents={n}": measured for n in (10, 100)}
    measures["perplexity.personal_lla@documents=100"] = measured
    curves = {}
    monkeypatch.setattr(drawing.figures, "learning_curve", lambda drawn, ax: curves.update(drawn))
    drawing.figures_of("corpus_size", {"corpus_size": {"measures": measures}})
    plt.close("all")
    assert curves.keys() == {"independent", "topic_lla"}
