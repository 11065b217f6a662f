"""Loops within loops: the runner sees the outermost, which can estimate the time left."""

import json

import nbformat
import pytest
from nbclient import NotebookClient

from experiments.display import Display
from lla.common import progress as module
from lla.common.progress import progress


@pytest.fixture
def file(tmp_path, monkeypatch):
    path = tmp_path / "progress.json"
    monkeypatch.setenv("LLA_PROGRESS", str(path))
    monkeypatch.setattr(module, "SECONDS_BETWEEN_WRITES", 0.0)
    return path


def test_an_inner_loop_counts_as_part_of_the_outer_loops_step(file):
    seen = []
    with progress(total=3, description="iteration") as outer:
        outer.update()
        with progress(total=4, description="batch") as inner:
            for _ in range(2):
                inner.update()
                inner.refresh()
                seen.append(json.loads(file.read_text()))
    assert [line["description"] for line in seen] == ["iteration", "iteration"]
    assert [line["n"] for line in seen] == [1.25, 1.5]
    assert {line["total"] for line in seen} == {3}


def test_a_loop_that_was_left_early_does_not_speak_for_the_next(file):
    for step in progress(range(5), description="left early"):
        if step == 1:
            break
    del step
    with progress(total=2, description="next") as bar:
        bar.update()
        bar.refresh()
        assert json.loads(file.read_text())["description"] == "next"


def test_time_left_of_a_resumed_loop_uses_the_steps_since_resuming(file):
    with progress(total=12, initial=8, description="iteration") as bar:
        bar.update(2)
        bar.refresh()
        line = json.loads(file.read_text())
    assert (line["n"], line["initial"], line["total"]) == (10, 8, 12)
    file.write_text(json.dumps(line | {"elapsed": 30.0}))
    display = Display(["01_a"], {"01_a": 0.0}, file)
    assert "iteration 10/12" in display.line(display.begin)
    assert "about 0:30 left in this loop" in display.line(display.begin)


@pytest.fixture
def no_terminal(monkeypatch):
    monkeypatch.delenv("LLA_PROGRESS", raising=False)
    monkeypatch.setattr(module, "SECONDS_BETWEEN_LINES", 0.0)
    monkeypatch.setattr(module, "SECONDS_BETWEEN_WRITES", 0.0)


def test_without_a_terminal_there_are_plain_lines(no_terminal, capsys):
    with progress(total=4, description="LDA", unit="sweep") as outer:
        for _ in range(2):
            list(progress(range(3), description="block"))
            outer.update()
            outer.refresh()
    lines = capsys.readouterr().err
    assert lines and all(line.isprintable() for line in lines.splitlines())
    assert "LDA: 2/4 sweep, 00:00 elapsed, 00:00 remaining" in lines
    assert "block" not in lines, "the outermost loop is reported"


def test_a_short_loop_prints_nothing_without_a_terminal(monkeypatch, capsys):
    monkeypatch.delenv("LLA_PROGRESS", raising=False)
    list(progress(range(1000), description="short"))
    with progress(total=2, description="short") as bar:
        bar.update(2)
        bar.refresh()
    assert capsys.readouterr().err == ""


LOOPS = """
from lla.common import progress
progress.SECONDS_BEFORE_A_BAR = progress.SECONDS_BETWEEN_WRITES = 0.0
for name in ("LDA", "LSTM"):
    with progress.progress(total=3, description=name) as bar:
        for _ in range(3):
            list(progress.progress(range(4), description="block"))
            bar.update()
            bar.refresh()
print("done")
"""


@pytest.mark.parametrize("reader", [False, True], ids=["executed by a program", "with a reader"])
def test_a_saved_notebook_holds_no_bar(reader, monkeypatch):
    monkeypatch.delenv("LLA_PROGRESS", raising=False)
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(LOOPS)])
    client, shown = NotebookClient(notebook, kernel_name="python3"), []
    with client.setup_kernel():
        client.kc.allow_stdin = reader  # as a person's front end has it
        update = client.process_message

        def process_message(message, *others):
            shown.append(message["content"].get("data", {}).get("text/plain", ""))
            return update(message, *others)

        client.process_message = process_message
        client.execute_cell(notebook.cells[0], 0)
    outputs = notebook.cells[0].outputs
    assert "widgets" not in notebook.metadata
    assert [output["text"] for output in outputs if output.output_type == "stream"] == ["done\n"]
    lines = [output["data"] for output in outputs if output.output_type == "display_data"]
    assert lines == ([{"text/plain": ""}] if reader else []), "one line per cell, blank at the end"
    bars = [text for text in shown if text]
    assert any("LDA" in bar and "3.0/3" in bar for bar in bars) is reader
    assert not [bar for bar in bars if "block" in bar], "the outermost loop is shown"
