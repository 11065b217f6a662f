"""The notebooks are thin, executed, and speak of what they hold."""

import ast
import re
from pathlib import Path

import nbformat
import pytest

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))
# Those with a number are experiments, run in order by `make reproduce`; the quickstart is not.
EXPERIMENTS = [path for path in NOTEBOOKS if path.stem[0].isdigit()]
IGNORED = "nbval-ignore-output"


def code(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def tags(cell: nbformat.NotebookNode) -> list[str]:
    return cell.metadata.get("tags", [])


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def notebook(request: pytest.FixtureRequest) -> nbformat.NotebookNode:
    return nbformat.read(request.param, as_version=4)


@pytest.fixture(params=EXPERIMENTS, ids=lambda path: path.stem)
def experiment(request: pytest.FixtureRequest) -> nbformat.NotebookNode:
    return nbformat.read(request.param, as_version=4)


def test_the_main_job_is_there():
    names = [path.stem for path in NOTEBOOKS]
    assert set(NOTEBOOKS) - set(EXPERIMENTS) == {NOTEBOOKS[0].with_name("quickstart.ipynb")}
    main = ["01_data_prep", "02_lda_initialization", "03_sem_training", "04_joint_vs_independent"]
    assert names[:4] == main


def test_twelve_to_sixteen_cells_of_at_most_fifteen_lines(notebook):
    assert 12 <= len(notebook.cells) <= 16
    assert max(len(cell.source.splitlines()) for cell in code(notebook)) <= 15


def test_one_parameters_cell_that_holds_literals_and_the_smoke_profile(experiment):
    cells = [cell for cell in code(experiment) if "parameters" in tags(cell)]
    assert len(cells) == 1
    values = {
        statement.targets[0].id: ast.literal_eval(statement.value)
        for statement in ast.parse(cells[0].source).body
    }
    assert values["profile"] == "smoke"


def test_no_function_is_defined(notebook):
    for cell in code(notebook):
        for node in ast.walk(ast.parse(cell.source)):
            assert not isinstance(node, (ast.FunctionDef, ast.ClassDef)), cell.source


def test_every_cell_was_run_in_order_without_error(notebook):
    assert [cell.execution_count for cell in code(notebook)] == list(
        range(1, len(code(notebook)) + 1)
    )
    outputs = [output for cell in code(notebook) for output in cell.outputs]
    assert not [output for output in outputs if output.output_type == "error"]
    assert not [output for output in outputs if output.get("name") == "stderr"]


def test_stored_outputs_are_compared_where_they_are_exact(notebook):
    compared = [
        cell
        for cell in code(notebook)
        if IGNORED not in tags(cell) and any(o.output_type == "stream" for o in cell.outputs)
    ]
    assert len(compared) >= 2
    assert not [cell for cell in code(notebook) if "nbval-skip" in tags(cell)]


def test_what_is_compared_holds_no_measured_decimals(notebook):
    """Decimals differ between machines; integers, shapes and verdicts do not."""
    for cell in code(notebook):
        if IGNORED in tags(cell):
            continue
        text = "".join(o.text for o in cell.outputs if o.output_type == "stream")
        assert not any(
            left.isdigit() and right.isdigit()
            for left, dot, right in zip(text, text[1:], text[2:], strict=False)
            if dot == "."
        ), text


def test_claims_are_asserted_and_deviations_listed(experiment):
    sources = [cell.source for cell in code(experiment)]
    assert any("assert " in source for source in sources)
    listed = [cell for cell in experiment.cells if "deviations" in tags(cell)]
    assert len(listed) == 1 and listed[0].source.count("\n- ") >= 2


def test_every_cell_that_draws_shows_its_figure(experiment):
    draws = re.compile(r"figures(?:_models|_users)?\.(?!style|plt)\w+\(")
    drawing = [cell for cell in code(experiment) if draws.search(cell.source)]
    assert drawing
    for cell in drawing:
        assert any("image/png" in output.get("data", {}) for output in cell.outputs), cell.source


def test_no_output_names_a_place_on_the_machine_it_ran_on(notebook):
    for cell in code(notebook):
        assert "PosixPath(" not in str(cell.outputs), cell.source


def test_the_quickstart_goes_from_a_file_to_answers_and_a_saved_model():
    path = next(path for path in NOTEBOOKS if path.stem == "quickstart")
    sources = "\n".join(cell.source for cell in code(nbformat.read(path, as_version=4)))
    steps = ("fit_lda(", "fit_sem(", ".recommend(", ".session(", ".topics_ahead(")
    for step in (*steps, "save_model(", "load_model(", "assert "):
        assert step in sources, step
