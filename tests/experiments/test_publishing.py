"""`make publish`: a whole run of this code becomes the committed one; anything else is refused."""

import json

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from experiments import publishing, results, steps
from experiments.report import pages
from lla.common.errors import InputError


@pytest.fixture
def house(tmp_path, monkeypatch):
    """A project with two notebooks, their committed results and a run of both."""
    for name, folder in (("ROOT", ""), ("RESULTS", "results"), ("NOTEBOOKS", "notebooks")):
        monkeypatch.setattr(results, name, tmp_path / folder)
    monkeypatch.setattr(results, "CONFIGS", tmp_path / "experiments" / "configs")
    monkeypatch.setattr(pages, "write_report", lambda: ["README.md"])
    for folder in ("experiments/configs", "notebooks", "results/small/run/notebooks"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "experiments" / "notebooks.yaml").write_text("lla: [01_first]\nmore: [02_more]\n")
    (tmp_path / "experiments" / "configs" / "small.yaml").write_text("01_first:\n02_more:\n")
    for name in ("01_first", "02_more"):
        cell = new_code_cell("size = 1", metadata={"tags": ["parameters"]})
        nbformat.write(new_notebook(cells=[cell]), tmp_path / "notebooks" / f"{name}.ipynb")
    for name in ("first.json", "first_old.json", "more.json", "measures.csv"):
        write(tmp_path / "results" / "small" / name, "committed")
    for name in ("first.json", "first.png", "more.json", "REPORT.md", "work.txt"):
        write(tmp_path / "results" / "small" / "run" / name, "run")
    finish()
    return tmp_path


def write(path, corpus):
    path.write_text(json.dumps({"environment": {"corpus": corpus}}))


def finish():
    """Record that both notebooks have run to their ends."""
    loaded = steps.load_steps("small")
    for step in loaded:
        fingerprint = steps.fingerprints(loaded)[step.name]
        step.stamp.write_text(json.dumps({"fingerprint": fingerprint, "sha256": step.hashes()}))


def committed(house):
    """Which files stand among the committed results, and whose content they have."""
    files = [path for path in (house / "results" / "small").iterdir() if path.is_file()]
    return {path.name: json.loads(path.read_text())["environment"]["corpus"] for path in files}


def test_a_run_becomes_the_committed_one(house):
    changed = publishing.publish_run("small")
    assert changed == [
        "results/small/first.json",
        "results/small/first.png",
        "-results/small/first_old.json",
        "README.md",
    ]
    # The other set and what no notebook makes stay as they were.
    assert committed(house) == {
        "first.json": "run",
        "first.png": "run",
        "more.json": "committed",
        "measures.csv": "committed",
    }
    assert publishing.publish_run("small") == ["README.md"]
    assert publishing.publish_run("small", of_set="all") == ["results/small/more.json", "README.md"]
    assert not list(house.glob("results/small/.tmp*"))


def test_the_time_that_notebooks_took_becomes_the_committed_one(house):
    first, more = steps.load_steps("small")
    folder = house / "results" / "small"
    results.write_seconds(folder, {"01_first": 20, "02_more": 30.4})
    stamp = steps.read_stamp(first.stamp)
    first.stamp.write_text(json.dumps(stamp | {"seconds": 12.3}))
    assert first.seconds_before == 20 and first.seconds_taken == 12.3
    publishing.publish_run("small", of_set="all")
    assert results.read_seconds(folder) == {"01_first": 12, "02_more": 30}
    assert (first.seconds_before, more.seconds_before) == (12, 30)
    (folder / results.SECONDS_FILE).unlink()
    assert (first.seconds_before, more.seconds_before) == (12.3, 0)


def test_scores_go_with_their_result_and_stale_ones_are_removed(house):
    scores = house / "results" / "small" / "run" / "first.safetensors"
    write(scores, "run")
    finish()
    assert "results/small/first.safetensors" in publishing.publish_run("small")
    assert committed(house)["first.safetensors"] == "run"
    scores.unlink()
    assert refused(house).startswith("01_first: its files in the run are not those it wrote")
    finish()
    assert publishing.publish_run("small") == ["-results/small/first.safetensors", "README.md"]
    assert "first.safetensors" not in committed(house)


def test_one_notebook_may_be_published_alone(house):
    assert publishing.publish_run("small", only=["02"]) == ["results/small/more.json", "README.md"]
    assert committed(house)["first.json"] == "committed"


def refused(house, **options):
    before = committed(house)
    with pytest.raises(InputError) as caught:
        publishing.publish_run("small", **options)
    assert committed(house) == before
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_run_that_is_not_whole_is_refused(house):
    steps.Step("small", "02_more", {}).stamp.unlink()
    assert refused(house, of_set="all") == (
        "02_more has no whole run in profile small: "
        "run `make reproduce PROFILE=small ONLY=02` first"
    )


def test_a_run_of_other_code_or_configuration_is_refused(house):
    (house / "experiments" / "configs" / "small.yaml").write_text("01_first: {size: 2}\n02_more:\n")
    message = refused(house)
    assert message.startswith("01_first was run by other code or configuration than the checkout's")
    assert message.endswith("run `make reproduce PROFILE=small ONLY=01` first")
    # What builds on it is of another configuration, too.
    assert refused(house, only=["02"]).startswith("02_more was run by other code")


def test_files_that_the_notebook_did_not_write_are_refused(house):
    write(house / "results" / "small" / "run" / "first.png", "edited")
    assert refused(house).startswith("01_first: its files in the run are not those it wrote: run")


def test_results_beside_the_notebooks_go_along_if_they_are_of_the_same_corpus(house):
    tuning = house / "results" / "small" / "run" / "tuning.json"
    write(tuning, "another")
    assert refused(house).startswith("results/small/run/tuning.json is of another corpus")
    write(tuning, "run")
    assert "results/small/tuning.json" not in publishing.publish_run("small", only=["01"])
    assert "results/small/tuning.json" in publishing.publish_run("small")


def test_smoke_is_never_published():
    with pytest.raises(InputError, match="profile is 'smoke': give one of small, medium"):
        publishing.publish_run("smoke")


def test_the_command_line_prints_what_changed(house, capsys):
    assert publishing.main(["--profile", "small", "--only", "01"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "README.md"
