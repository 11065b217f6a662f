"""Notebooks are thin, executed, and state what they found, what they need and what to change."""

import ast
import os
import re
import sys
from pathlib import Path

import nbclient
import nbformat
import pytest

from experiments import results
from experiments.report.tables import model_label

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
# Those with a number are experiments, run in order by `make reproduce`; the quickstart is not.
EXPERIMENTS = [path for path in NOTEBOOKS if path.stem[0].isdigit()]
IGNORED = "nbval-ignore-output"
KEYS = ("lda_online", "topic_lla", "word_lla", "personal_lla", "cache_unigram", "word_lstm")


def read(path: Path) -> nbformat.NotebookNode:
    return nbformat.read(path, as_version=4)


def code(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def source_of(notebook: nbformat.NotebookNode) -> str:
    """All code of a notebook."""
    return "\n".join(cell.source for cell in code(notebook))


def tags(cell: nbformat.NotebookNode) -> list[str]:
    return cell.metadata.get("tags", [])


def parameters(notebook: nbformat.NotebookNode) -> dict[str, object]:
    """Names and values of the one cell of parameters; literals only."""
    (cell,) = [cell for cell in code(notebook) if "parameters" in tags(cell)]
    return {
        statement.targets[0].id: ast.literal_eval(statement.value)
        for statement in ast.parse(cell.source).body
    }


def printed(cell: nbformat.NotebookNode) -> str:
    """All text that a code cell has put out."""
    parts = []
    for output in cell.outputs:
        parts.append(output.get("text", ""))
        parts += [text for kind, text in output.get("data", {}).items() if kind.startswith("text/")]
    return "\n".join(parts)


def predecessors(source: str) -> set[str]:
    """Numbers of the notebooks whose files a notebook's code asks for."""
    found = set(
        re.findall(r'"(\d\d)_\w+"', "\n".join(re.findall(r"exp\.require\(.*?\)", source, re.S)))
    )
    for name in re.findall(r'exp\.load_result\(profile, f?"(\w+)', source):
        found.add(results.notebook_of(name.rstrip("_")).split("_", 1)[0])
    return found


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def notebook(request: pytest.FixtureRequest) -> nbformat.NotebookNode:
    return read(request.param)


@pytest.fixture(params=EXPERIMENTS, ids=lambda path: path.stem)
def experiment(request: pytest.FixtureRequest) -> nbformat.NotebookNode:
    return read(request.param)


def test_the_main_experiments_come_first():
    names = [path.stem for path in NOTEBOOKS]
    assert set(NOTEBOOKS) - set(EXPERIMENTS) == {NOTEBOOKS[0].with_name("quickstart.ipynb")}
    main = ["01_data_prep", "02_lda_initialization", "03_sem_training", "04_joint_vs_independent"]
    assert names[:4] == main


def test_twelve_to_sixteen_cells_of_at_most_fifteen_lines(notebook):
    assert 12 <= len(notebook.cells) <= 16
    assert max(len(cell.source.splitlines()) for cell in code(notebook)) <= 15


def test_parameters_are_scalars_and_short_lists(notebook):
    scalars = (type(None), bool, int, float, str)
    for name, value in parameters(notebook).items():
        values = value if isinstance(value, list) else [value]
        assert len(values) <= 8 and all(isinstance(x, scalars) for x in values), name


def test_each_list_may_be_given_as_text(experiment):
    """What ``papermill -p seeds "[1, 2]"`` passes on is a text."""
    source = source_of(experiment)
    for name, value in parameters(experiment).items():
        if isinstance(value, list):
            by_settings = name == "models" and re.search(r'only["]?[=:] ?models', source)
            assert by_settings or f'exp.as_list("{name}", {name}, ' in source, name


def test_stored_outputs_are_those_of_smoke(experiment):
    assert parameters(experiment)["profile"] == "smoke"


def test_the_first_cell_answers_with_a_committed_figure(experiment):
    first = experiment.cells[0].source
    for part in ("**Question.**", "**Answer.**", "Run before: ", "Time: "):
        assert part in first, part
    links = re.findall(r"!\[[^\]]+\]\(\.\./(results/(?:small|medium|large)/\w+\.png)\)", first)
    assert links
    for link in links:
        assert (ROOT / link).is_file(), link


def test_each_notebook_names_its_predecessors(experiment):
    said = re.search(r"Run before: (.*?)[.:]? *(?:Time|which)", experiment.cells[0].source)[1]
    assert predecessors(source_of(experiment)) <= set(re.findall(r"\d\d", said))


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


def test_compared_outputs_hold_no_measured_decimals(notebook):
    """Decimals differ between machines; integers, shapes and verdicts do not."""
    for cell in code(notebook):
        if IGNORED not in tags(cell):
            text = "".join(o.text for o in cell.outputs if o.output_type == "stream")
            assert not re.search(r"\d\.\d", text), text


def test_bookkeeping_is_one_call(experiment):
    source = source_of(experiment)
    assert source.count("exp.publish(") == 1
    for other in ("save_result(", "savefig(", "environment("):
        assert other not in source, other


def test_invariants_are_asserted_and_deviations_listed(experiment):
    assert any("assert " in cell.source for cell in code(experiment))
    listed = [cell for cell in experiment.cells if "deviations" in tags(cell)]
    assert len(listed) == 1 and listed[0].source.count("\n- ") >= 2


def test_two_or_three_changes_to_try_are_named(notebook):
    (cell,) = [c for c in notebook.cells if c.source.startswith("**Try this.**")]
    assert 2 <= cell.source.count("\n- ") <= 3


def test_every_cell_that_draws_shows_its_figure(experiment):
    draws = re.compile(r"figures\.(?!style)\w+\(")
    drawing = [cell for cell in code(experiment) if draws.search(cell.source)]
    assert drawing
    for cell in drawing:
        assert any("image/png" in output.get("data", {}) for output in cell.outputs), cell.source


def test_models_have_their_names_for_people(notebook):
    assert all(model_label(key) != key for key in KEYS)
    for cell in code(notebook):
        for key in KEYS:
            assert key not in printed(cell), cell.source


def test_no_output_names_a_place_on_the_machine_it_ran_on(notebook):
    places = ("PosixPath(", str(ROOT), str(Path.home()) + os.sep, "/tmp/")
    for cell in code(notebook):
        for place in places:
            assert place not in printed(cell), cell.source


@pytest.fixture
def empty(tmp_path, monkeypatch):
    """A project folder without results."""
    monkeypatch.setattr(results, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(results, "ROOT", tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    "path",
    [path for path in EXPERIMENTS if predecessors(source_of(read(path)))],
    ids=lambda path: path.stem,
)
def test_a_missing_predecessor_is_one_line_that_names_it(path, empty):
    first = min(predecessors(source_of(read(path))))
    namespace = {}
    with pytest.raises(results.NotRunYet) as caught:
        for cell in code(read(path)):
            exec(compile(cell.source, path.stem, "exec"), namespace)
    assert re.search(rf"missing: run notebooks/{first}_\w+\.ipynb first, or", str(caught.value))
    assert "\n" not in str(caught.value)


def test_jupyter_shows_that_line_and_no_traceback(tmp_path, monkeypatch):
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments" / "configs").symlink_to(ROOT / "experiments" / "configs")
    (tmp_path / "notebooks").symlink_to(ROOT / "notebooks")
    monkeypatch.setenv("LLA_ROOT", str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("JUPYTER_PATH", str(Path(sys.prefix) / "share" / "jupyter"))
    notebook = read(ROOT / "notebooks" / "06_accuracy_vs_size.ipynb")
    with pytest.raises(nbclient.exceptions.CellExecutionError):
        nbclient.NotebookClient(notebook, kernel_name="python3").execute()
    errors = [o for cell in code(notebook) for o in cell.outputs if o.output_type == "error"]
    (line,) = errors[0].traceback
    corpus = Path("results", "smoke", "run", "work", "corpus").as_posix()
    assert line.startswith(f"{corpus} is missing: run notebooks/01_data_prep.ipynb")


def test_the_quickstart_goes_from_a_file_to_answers_and_a_saved_model():
    path = next(path for path in NOTEBOOKS if path.stem == "quickstart")
    sources = source_of(read(path))
    steps = ("fit_lda(", "fit_sem(", ".recommend(", ".session(", ".topics_ahead(")
    for step in (*steps, "save_model(", "load_model(", "assert "):
        assert step in sources, step
