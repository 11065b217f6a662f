"""The quickstart on files of one's own: numbers as items, other names of columns, texts."""

import json
from pathlib import Path

import nbformat
import numpy as np
import papermill
import pytest

import lla
from data_prep import TextOptions, prepare_text

ROOT = Path(__file__).parents[1]
NOTEBOOK = ROOT / "notebooks" / "quickstart.ipynb"


@pytest.fixture(autouse=True)
def kernel_with_this_code(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


def test_a_table_of_ones_own(tmp_path):
    draw = np.random.default_rng(1)
    rows = [
        f"{1000 + client},{500 + draw.integers(9)},2024-01-{day:02d}"
        for client in range(12)
        for day in range(1, 9)
    ]
    file = tmp_path / "sales.csv"
    file.write_text("\n".join(["client,article no,bought", *rows]))
    ran = run(
        tmp_path,
        file=str(file),
        user_column="client",
        item_column="article no",
        time_column="bought",
        min_events=1,
        n_topics=2,
        steps=1,
    )
    assert "12 users, 96 events, 9 items" in ran
    model = lla.load_model(tmp_path / "out" / "my_model")
    assert set(model.vocabulary) == {str(item) for item in range(500, 509)}
    assert lla.load_corpus(tmp_path / "out" / "corpus").names[0] == "1000"
    card = (tmp_path / "out" / "my_model" / "MODEL_CARD.md").read_text()
    assert str(file) in card


def test_a_corpus_of_texts(tmp_path):
    draw, words = np.random.default_rng(2), np.array(["acid", "base", "moon", "orbit", "vowel"])
    (tmp_path / "texts").mkdir()
    for number in range(10):
        text = " ".join(draw.choice(words, 20))
        (tmp_path / "texts" / f"{number}.txt").write_text(text)
    prepare_text(tmp_path / "corpus", TextOptions(), tmp_path / "texts")
    ran = run(tmp_path, file=str(tmp_path / "corpus"), n_topics=2)
    assert "10 users, 200 events, 5 items" in ran
    assert set(lla.load_model(tmp_path / "out" / "my_model").vocabulary) == set(words)


def run(folder: Path, **parameters) -> str:
    """All that the notebook prints with these parameters."""
    executed = folder / "executed.ipynb"
    papermill.execute_notebook(
        NOTEBOOK,
        executed,
        parameters={"output": str(folder / "out"), **parameters},
        cwd=folder,
        kernel_name="python3",
        progress_bar=False,
    )
    notebook = nbformat.read(executed, as_version=4)
    assert "widgets" not in json.dumps(notebook.metadata)
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert "%|" not in json.dumps(outputs), "a progress bar"
    return "\n".join(output.get("text", "") for output in outputs)
