"""The harness of `make torture`: some of its inputs, what it must find, its committed tables."""

import os
import signal
import time
from types import SimpleNamespace

import nbformat
import pytest
from bad_inputs import memory_limit, run_input, values_of
from children import Child, Moment
from faults import FAULTS, SIGNALS, Failure, check_stopped, refer, refusal, run_trial
from mutations import bytes_of, json_of, value_of
from nbformat.v4 import new_code_cell, new_notebook
from readers import Kind, kinds
from tables import PAGE, PARTS, RESULT, page_of
from trainings import Training

import notebooks
from lla.common.errors import InputError
from lla.common.files import atomic_write, read_json

EACH = 25  # inputs of each kind


@pytest.mark.parametrize("kind", kinds(), ids=lambda kind: kind.name)
def test_bad_inputs_are_read_or_refused_in_one_line(tmp_path, kind):
    (valid := tmp_path / "valid").mkdir()
    kind.make(valid)
    if kind.loads_kernels:
        kind.read(valid)
    with memory_limit():
        found = [run_input(n, 7, kind, valid, tmp_path / "input") for n in range(EACH)]
    assert [result.failure for result in found if result.failure] == []
    row = values_of(found, kind.name)
    assert row["refused"] > 0 and row["refused"] + row["read"] == EACH


def planted(read):
    def make(folder):
        (folder / "a.txt").write_text("a")

    return Kind("planted", make, lambda folder, draw: None, read)


def leave(folder):
    (folder / "out").mkdir()
    (folder / "out" / "half").write_text("x")
    raise InputError("a.txt: no; give another")


def wait(folder):
    while True:
        pass


@pytest.mark.parametrize(
    ("read", "reason"),
    [
        (lambda folder: 1 / 0, "ZeroDivisionError"),
        (leave, "refused, and yet written: out, out/half"),
        (lambda folder: (folder / ".tmp-a").touch(), "half-written: .tmp-a"),
        (lambda folder: (folder / "a.txt").write_text("b"), "it changed what it was to read"),
        (wait, "TooLong"),
    ],
)
def test_what_must_not_happen_to_an_input_is_a_failure(tmp_path, monkeypatch, read, reason):
    monkeypatch.setattr("bad_inputs.SECONDS", 0.05)
    kind = planted(read)
    (tmp_path / "valid").mkdir()
    kind.make(tmp_path / "valid")
    assert reason in run_input(0, 0, kind, tmp_path / "valid", tmp_path / "input").failure


def test_mutations_follow_from_the_draw_alone():
    import numpy as np

    data = b'{"a": [1, 2.5, "x"], "b": {"c": null}}'
    for change in (bytes_of, json_of, value_of):
        of = {"a": [1, {"b": 2}]} if change is value_of else data
        found = [[change(of, np.random.default_rng([s, 1])) for s in range(40)] for _ in range(2)]
        assert repr(found[0]) == repr(found[1]) and len(set(map(repr, found[0]))) > 10


# ---------------------------------------------------- trainings: planted ones, without Torch


def careful(folder):
    """Counts to 40 with a checkpoint, and writes what it has counted."""
    path = folder / "fit.txt"
    done = int(path.read_text()) if path.exists() else 0
    for n in range(done + 1, 41):
        with atomic_write(path, "w") as file:
            file.write(str(n))


def careless(folder):
    """The same, but a file stands half-written for a while."""
    path = folder / "fit.txt"
    done = int(path.read_text() or -1) if path.exists() else 0
    for n in range(done + 1, 41):
        path.write_text("")
        open(folder / "fit.txt", "a").close()
        path.write_text(str(n))
    if done == -1:
        path.write_text("other")


@pytest.fixture
def reference(tmp_path):
    def make(run):
        return refer(Training("planted", run), tmp_path / "reference")

    return make


def test_a_training_with_checkpoints_passes_at_every_call_of_the_file_system(tmp_path, reference):
    found = reference(careful)
    assert found.file_calls == 80 and found.end["fit.txt"] == b"40"
    numbers = [n for n in range(4 * len(FAULTS)) if n % len(FAULTS) < 3]
    trials = [run_trial(n, 0, [found], tmp_path / "trial") for n in numbers]
    assert [trial.failure for trial in trials if trial.failure] == []
    assert any(trial.resumed for trial in trials)


def test_a_training_that_is_not_resumed_the_same_fails(tmp_path, reference):
    found = reference(careless)
    trials = [run_trial(n, 0, [found], tmp_path / "trial") for n in range(0, 70, len(FAULTS))]
    assert any("fit.txt differ" in trial.failure for trial in trials)


def test_a_child_is_stopped_at_the_file_call_and_says_how_it_ended(tmp_path):
    (folder := tmp_path / "w").mkdir()

    def job():
        for n in range(9):
            (folder / str(n)).touch()
            os.mkdir(folder / f"d{n}")

    end = Child(job, folder, tmp_path / "notes", Moment(signal.SIGTERM, file_call=5)).wait()
    assert end.status == 143 and end.err == "stopped; the same command resumes\n"
    assert sum(path.is_dir() for path in folder.iterdir()) <= 6
    check_stopped(end, Moment(signal.SIGTERM))
    with pytest.raises(Failure, match="status 143"):
        check_stopped(end, Moment(signal.SIGINT))

    def refuse():
        raise InputError("a: no; give b")

    assert refusal(Child(refuse, folder, tmp_path / "notes").wait()) == "error: a: no; give b"
    with pytest.raises(Failure, match="ZeroDivisionError"):
        refusal(Child(lambda: 1 / 0, folder, tmp_path / "notes").wait())


def test_a_child_that_hangs_is_ended(tmp_path, monkeypatch):
    monkeypatch.setattr("children.LIMIT", 0.1)
    end = Child(lambda: time.sleep(60), tmp_path, tmp_path / "notes").wait()
    with pytest.raises(Failure, match="it hung"):
        refusal(end)


# A notebook that waits to be stopped, goes on from its checkpoint, and writes a result.
STEP = """
import json, os, time
from pathlib import Path

folder = Path(os.environ["LLA_ROOT"]) / "results" / profile / "run"
checkpoint = folder / "work" / "fit.txt"
if not checkpoint.exists():
    checkpoint.write_text("7")
    time.sleep(600)
perplexity = {"values": [float(checkpoint.read_text())], "unit": "perplexity"}
seconds = {"values": [time.time()], "unit": "seconds"}
measures = {"perplexity.lda": perplexity, "seconds.lda": seconds}
(folder / "step.json").write_text(json.dumps({"measures": measures, "seconds": 1.0}))
"""


def test_a_run_of_notebooks_that_is_stopped_ends_with_the_same_measures(tmp_path):
    for folder in ("experiments/configs", "notebooks"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "experiments" / "notebooks.yaml").write_text("lla: [01_step]\n")
    (tmp_path / "experiments" / "configs" / "smoke.yaml").write_text("01_step: {}\n")
    parameters = new_code_cell('profile = "none"', metadata={"tags": ["parameters"]})
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}
    cells = [parameters, new_code_cell(STEP.strip())]
    nbformat.write(new_notebook(cells=cells, metadata=kernel), tmp_path / "notebooks/01_step.ipynb")
    project = notebooks.Project(tmp_path, only=(), begins="work/fit.txt")
    wanted = {"perplexity.lda": {"values": [7.0], "unit": "perplexity"}}
    # The moment is drawn up to this many seconds; the notebook would wait for longer.
    trial = notebooks.run_trial(1, 0, project, {"step.json": wanted}, seconds=2.0)
    assert (trial.failure, trial.fault, trial.resumed) == ("", "SIGTERM", True)


def test_a_run_of_notebooks_that_leaves_something_else_fails(tmp_path):
    project = notebooks.Project(tmp_path)
    (project.run / "work").mkdir(parents=True)
    (project.run / "step.json").write_text('{"measures": {"a": {"values": [1.0]}}}')
    (project.run / "work" / ".lock").touch()
    assert notebooks.state(project) == {"step.json": {"a": {"values": [1.0]}}}
    ended = SimpleNamespace(
        run=project.run, start=lambda: SimpleNamespace(wait=lambda _: 0), said=list
    )
    notebooks._finish(ended, {"step.json": {"a": {"values": [1.0]}}})
    with pytest.raises(Failure, match=r"^step\.json differ$"):
        notebooks._finish(ended, {"step.json": {"a": {"values": [2.0]}}})
    ended.start = lambda: SimpleNamespace(wait=lambda _: 2)
    with pytest.raises(Failure, match=r"^it cannot be started again"):
        notebooks._finish(ended, {})
    (project.run / "work" / ".tmp-fit.safetensors-1-0").touch()
    with pytest.raises(Failure, match=r"^half-written: \.tmp-fit"):
        notebooks.state(project)


def test_the_committed_tables_are_those_of_the_last_run():
    tables = read_json(RESULT)
    assert page_of(tables) == PAGE.read_text(encoding="utf-8")
    assert [row["fault"] for row in tables["faults"]] == list(FAULTS)
    assert sum(row["moments"] for row in tables["faults"]) == 200
    assert [row["run of notebooks"] for row in tables["notebooks"]] == list(SIGNALS)
    assert all(row["moments"] > 0 for row in tables["notebooks"])
    assert [row["kind"] for row in tables["inputs"]] == [kind.name for kind in kinds()]
    assert sum(row["inputs"] for row in tables["inputs"]) == 10_000
    assert all(row["failures"] == 0 for part in PARTS for row in tables[part])
