"""The runner, on two tiny notebooks: current, stale, refused, failing, killed, resumed."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from experiments import results
from experiments.display import Display, clock
from lla.common.errors import InputError
from lla.common.progress import progress

CODE = Path(__file__).parents[2]

# The first notebook counts its runs in a file, and writes its result; the second reads the first.
FIRST = """
import os
from pathlib import Path

root = Path(os.environ["LLA_ROOT"])
folder = root / "results" / profile / "run"
with open(root / "runs.txt", "a") as file:
    file.write(f"first {size} {Path.cwd().name}\\n")
(folder / "work" / "first.txt").write_text(str(size))
"""
SECOND = """
import os
import time
from pathlib import Path

root = Path(os.environ["LLA_ROOT"])
folder = root / "results" / profile / "run"
with open(root / "runs.txt", "a") as file:
    file.write("second\\n")
size = int((folder / "work" / "first.txt").read_text())
checkpoint = folder / "work" / "second.txt"
steps = int(checkpoint.read_text()) if checkpoint.exists() else 0
(root / "kernel.pid").write_text(str(os.getpid()))
"""
LOOP = """
while steps < last:
    steps += 1
    checkpoint.write_text(str(steps))
    time.sleep(pause)
"""
RESULT = """
import json

(folder / "{name}.json").write_text(json.dumps({{"seconds": 1.0, "size": size}}))
"""


def notebook(parameters: str, *cells: str) -> nbformat.NotebookNode:
    tagged = new_code_cell(parameters, metadata={"tags": ["parameters"]})
    metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}
    code = [new_code_cell(cell.strip()) for cell in cells]
    question = new_markdown_cell("# A question\n\n![Answer](../results/small/answer.png)")
    return new_notebook(cells=[question, tagged, *code], metadata=metadata)


@pytest.fixture
def house(tmp_path):
    """A project folder with a profile of two notebooks."""
    for folder in ("experiments/configs", "notebooks"):
        (tmp_path / folder).mkdir(parents=True)
    first = notebook('profile = "none"\nsize = 1', FIRST, RESULT.format(name="first"))
    second = notebook(
        'profile = "none"\nlast: int = 2\npause = 0.0', SECOND, LOOP, RESULT.format(name="second")
    )
    nbformat.write(first, tmp_path / "notebooks" / "01_first.ipynb")
    nbformat.write(second, tmp_path / "notebooks" / "02_second.ipynb")
    configure(tmp_path)
    # A grammar of addresses that jsonschema does without: to build it takes a second in each run.
    (tmp_path / "without").mkdir()
    (tmp_path / "without" / "rfc3987_syntax.py").write_text("raise ImportError\n")
    return tmp_path


def configure(house: Path, first: str = "{size: 3}", second: str = "") -> None:
    (house / "experiments" / "notebooks.yaml").write_text("lla: [01_first, 02_second]\n")
    text = f"02_second: {second}\n01_first: {first}\n"
    (house / "experiments" / "configs" / "smoke.yaml").write_text(text)


def command(house: Path, *options: str) -> subprocess.Popen:
    environment = {k: v for k, v in os.environ.items() if k != "LLA_PROGRESS"}
    path = os.pathsep.join([str(house / "without"), str(CODE)])
    environment |= {"LLA_ROOT": str(house), "PYTHONPATH": path}
    return subprocess.Popen(
        [sys.executable, "-m", "experiments.runner", "--profile", "smoke", *options],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(house: Path, *options: str) -> tuple[int, str, str]:
    process = command(house, *options)
    out, err = process.communicate(timeout=120)
    return process.returncode, out, err


def runs(house: Path) -> list[str]:
    file = house / "runs.txt"
    return file.read_text().splitlines() if file.exists() else []


def refused(house: Path, *options: str) -> str:
    """The message of a run that is refused before any notebook starts."""
    status, out, err = run(house, *options)
    assert (status, out) == (2, "")
    assert err.startswith("error: ") and err.count("\n") == 1, err
    assert not runs(house)
    return err


def git(house: Path, *arguments: str) -> str:
    command = ["git", "-C", str(house), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def test_a_run_leaves_the_checkout_clean_and_the_next_runs_what_changed(house):
    shutil.copy(CODE / ".gitignore", house)
    committed = house / "results" / "smoke" / "first.json"
    committed.parent.mkdir(parents=True)
    committed.write_text("{}")
    (house / "README.md").write_text("# By hand\n")
    git(house, "init", "--quiet")
    git(house, "add", "--all")
    status, out, err = run(house)
    assert status == 0, err
    # In the order of notebooks.yaml, with the profile's values, in the notebooks' folder.
    assert runs(house) == ["first 3 notebooks", "second"]
    made = house / "results" / "smoke" / "run"
    assert json.loads((made / "second.json").read_text())["size"] == 3
    assert "in total" in out
    assert "[1/2] 01_first  done in" in err and "[2/2] 02_second  done in" in err
    copy = made / "notebooks" / "02_second.ipynb"
    link = re.search(r"\]\((.+)\)", nbformat.read(copy, as_version=4).cells[0].source)[1]
    assert (copy.parent / link).resolve() == house / "results" / "small" / "answer.png"
    # Nothing changed but what these notebooks leave on purpose.
    lines = git(house, "status", "--short").splitlines()
    assert sorted(line for line in lines if line[:2] != "A ") == ["?? kernel.pid", "?? runs.txt"]
    assert [path.name for path in (house / "results").iterdir()] == ["smoke"]

    status, out, err = run(house)
    assert status == 0
    assert err.count("up to date") == 2
    assert len(runs(house)) == 2

    # A parameter of the second leaves the first alone; one of the first stales both.
    configure(house, second="{last: 1}")
    assert run(house)[0] == 0
    assert runs(house)[2:] == ["second"]
    # A result that is not the one the run wrote is made again.
    (made / "second.json").write_text("{}")
    assert run(house)[0] == 0
    assert runs(house)[3:] == ["second"]
    configure(house, first="{size: 4}", second="{last: 1}")
    assert run(house)[0] == 0
    assert runs(house)[4:] == ["first 4 notebooks", "second"]


def test_only_and_force_choose_the_notebooks(house):
    status, out, _ = run(house, "--only", "01")
    assert status == 0 and "Not run yet in this profile: 02_second." in out
    assert runs(house) == ["first 3 notebooks"]
    assert run(house, "--only", "01_first", "--force")[0] == 0
    assert runs(house) == ["first 3 notebooks"] * 2
    assert "--only 07: no such notebook" in run(house, "--only", "07")[2]


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ("01_first: {sise: 3}", "01_first has no parameter 'sise'; it has profile, size"),
        ("01_first: {size: 1e-3}", "size='1e-3' is text"),
        ("01_first: {profile: medium}", "leave it out"),
        ("01_first: [size]", "give a mapping of parameters"),
        ("03_third: {}", "notebooks/03_third.ipynb: no such file"),
        ("01_first: {size: ", "experiments/configs/smoke.yaml, line 1: expected"),
        ("", "must map notebook names to parameters"),
        (None, "experiments/configs/smoke.yaml: no such file"),
    ],
)
def test_a_wrong_configuration_is_one_line(house, config, words, monkeypatch):
    from experiments import steps

    monkeypatch.setattr(results, "CONFIGS", house / "experiments" / "configs")
    monkeypatch.setattr(results, "NOTEBOOKS", house / "notebooks")
    file = house / "experiments" / "configs" / "smoke.yaml"
    file.unlink() if config is None else file.write_text(config)
    with pytest.raises(InputError) as caught:
        steps.load_steps("smoke")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_mappings_are_settings_and_not_passed_to_cells(house, monkeypatch):
    from experiments import steps

    monkeypatch.setattr(results, "CONFIGS", house / "experiments" / "configs")
    monkeypatch.setattr(results, "NOTEBOOKS", house / "notebooks")
    fingerprints = set()
    for n_topics in (5, 6):
        configure(house, first=f"{{size: 3, models: {{lda: {{n_topics: {n_topics}}}}}}}")
        first, _ = loaded = steps.load_steps("smoke")
        assert first.parameters == {"size": 3, "profile": "smoke"}
        assert first.settings == {"models": {"lda": {"n_topics": n_topics}}}
        fingerprints.add(steps.fingerprints(loaded)["01_first"])
    assert len(fingerprints) == 2


def test_the_command_line_refuses_in_one_line(house):
    nbformat.write(notebook("size ="), house / "notebooks" / "01_first.ipynb")
    assert "parameters cell is not Python" in refused(house)


def test_a_profile_is_one_of_those_there_are():
    with pytest.raises(InputError, match="profile 'tiny' does not exist; choose one of"):
        results.profile_dir("tiny")


def test_a_failing_cell_is_named_and_finished_notebooks_are_kept(house):
    code = (
        "from lla.common.errors import InputError\nraise InputError('words.npy: too short; fix it')"
    )
    nbformat.write(notebook("size = 1", "1", code), house / "notebooks" / "02_second.ipynb")
    status, out, err = run(house)
    assert (status, out) == (1, "")
    # Cell 4 as the reader counts: the cell papermill injects does not shift it.
    assert err.splitlines()[-1] == (
        "error: 02_second, cell 4: words.npy: too short; fix it "
        "(executed copy: results/smoke/run/notebooks/02_second.ipynb)"
    )
    nbformat.write(notebook("size = 1", "1 / 0"), house / "notebooks" / "02_second.ipynb")
    _, _, err = run(house)
    assert "02_second, cell 3: ZeroDivisionError: division by zero" in err.splitlines()[-1]
    nbformat.write(notebook("size = 1", "1"), house / "notebooks" / "02_second.ipynb")
    _, _, err = run(house)
    assert "it wrote no results/smoke/run/second.json" in err.splitlines()[-1]
    assert runs(house) == ["first 3 notebooks"]


def wait_for(condition, seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # A zombie that nobody has reaped yet is no longer at work.
    stat = Path(f"/proc/{pid}/stat")
    return not (stat.exists() and stat.read_text().rsplit(")", 1)[1].split()[0] == "Z")


@pytest.mark.parametrize("blow", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_an_interrupted_run_resumes_and_leaves_no_kernel(house, blow):
    configure(house, second="{last: 600, pause: 0.1}")
    process = command(house)
    checkpoint = house / "results" / "smoke" / "run" / "work" / "second.txt"
    try:
        wait_for(lambda: checkpoint.exists() and checkpoint.read_text() not in ("", "1", "2"))
    finally:
        process.send_signal(blow)
    out, err = process.communicate(timeout=60)
    assert out == ""
    if blow != signal.SIGKILL:
        assert process.returncode == 128 + blow
        words = "stopped in 02_second; the same command resumes from its last checkpoint"
        assert err.splitlines()[-1] == words
        assert "Traceback" not in err and "Task" not in err
    pid = int((house / "kernel.pid").read_text())
    wait_for(lambda: not is_alive(pid))

    # The same parameters, a faster clock: the work that was done is not done again.
    done = int(checkpoint.read_text())
    assert 2 < done < 600
    checkpoint.write_text("599")
    assert run(house)[0] == 0
    assert runs(house) == ["first 3 notebooks", "second", "second"]
    assert checkpoint.read_text() == "600"


def test_two_runs_of_one_profile_are_refused(house):
    configure(house, second="{last: 600, pause: 0.1}")
    process = command(house, "--only", "02")
    (house / "results" / "smoke" / "run" / "work").mkdir(parents=True, exist_ok=True)
    (house / "results" / "smoke" / "run" / "work" / "first.txt").write_text("1")
    try:
        wait_for(lambda: (house / "kernel.pid").exists())
        status, _, err = run(house)
        assert status == 2 and "another run is in progress" in err
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    assert process.returncode == 143


def test_the_progress_file_is_written_atomically_and_read_by_the_display(tmp_path, monkeypatch):
    file = tmp_path / "progress.json"
    monkeypatch.setenv("LLA_PROGRESS", str(file))
    seen = [
        json.loads(file.read_text()) for _ in progress(range(4), description="seed 2: iteration")
    ]
    assert {line["description"] for line in seen} == {"seed 2: iteration"}
    assert all(line["total"] == 4 and 0 <= line["n"] <= 4 for line in seen)
    assert list(tmp_path.iterdir()) == [file]

    file.write_text('{"description": "iteration", "n": 4, "total": 12, "elapsed": 40.0}')
    display = Display(["01_a", "02_b", "03_c"], {"02_b": 100.0, "03_c": 300.0}, file)
    display.cell = (7, 13)
    line = display.line(display.begin + 60.0)
    # The loop needs 80 s more, which is later than the 40 s that an earlier run's 100 s leave.
    words = "[2/3] 02_b  cell 7/13  iteration 4/12  1:00 elapsed, about 6:20 left"
    assert line == words
    narrow = display.line(display.begin + 60.0, width=62)
    assert narrow == "[2/3] 02_b  cell 7/13  iterati…  1:00 elapsed, about 6:20 left"
    assert display.line(display.begin + 60.0, width=52).endswith(
        "/13  1:00 elapsed, about 6:20 left"
    )
    display.expected["03_c"] = 0.0
    assert "about 1:20 left in this loop" in display.line(display.begin + 60.0)
    file.unlink()
    assert display.line(display.begin + 60.0) == "[2/3] 02_b  cell 7/13  1:00 elapsed"


def test_time_left_scales_with_the_speed_of_finished_notebooks(tmp_path):
    display = Display(["01_a", "02_b"], {"01_a": 10.0, "02_b": 100.0}, tmp_path / "none")
    display.left.pop(0)
    display.finished.append((10.0, 30.0))
    assert display.line(display.begin).endswith("about 5:00 left")


def test_a_log_says_from_the_start_what_runs_and_how_long(tmp_path, capsys):
    expected = {"02_b": 100.0, "03_c": 200.0}
    with Display(["01_a", "02_b", "03_c"], expected, tmp_path / "none") as display:
        display.note("01_a", "up to date")
        display.start()
        display.step_begin -= 50.0
        display.end(calibrates=False)  # half of it was done before: no measure of the pace
        display.start()
    assert capsys.readouterr().err.splitlines() == [
        "2 of 3 notebooks to run, about 5:00 left",
        "[1/3] 01_a  up to date",
        "[2/3] 02_b  starting  0:00 elapsed, about 5:00 left",
        "[2/3] 02_b  done in 0:50",
        "[3/3] 03_c  starting  0:00 elapsed, about 3:20 left",
    ]
    with Display(["01_a"], {}, tmp_path / "none"):
        pass
    assert capsys.readouterr().err == "0 of 1 notebooks to run\n"


def test_progress_to_nowhere_writes_nothing(monkeypatch):
    monkeypatch.setenv("LLA_PROGRESS", os.devnull)
    before = os.stat(os.devnull)
    with progress(total=3, description="x") as bar:
        bar.update(3)
    assert os.stat(os.devnull).st_ino == before.st_ino


def test_clock():
    assert [clock(s) for s in (-3, 0, 59.6, 61, 3725)] == [
        "0:00",
        "0:00",
        "1:00",
        "1:01",
        "1:02:05",
    ]


def test_a_step_is_stale_when_the_code_it_imports_changes_and_not_otherwise(tmp_path, monkeypatch):
    from experiments import steps

    code = tmp_path / "code"
    for folder in ("lla", "data_prep", "experiments", "experiments/claims"):
        (code / folder).mkdir(parents=True)
        (code / folder / "__init__.py").write_text("")
    (code / "experiments" / "study.py").write_text("from experiments import claims, deeper\n")
    (code / "experiments" / "claims" / "__init__.py").write_text(
        "from experiments.claims.judge import judge\n"
    )
    for name in ("deeper", "report", "claims/judge"):
        (code / "experiments" / f"{name}.py").write_text("value = 1\n")
    (tmp_path / "notebooks").mkdir()
    nbformat.write(
        notebook("size = 1", "from experiments import study"), tmp_path / "notebooks/01_first.ipynb"
    )
    monkeypatch.setattr(steps, "CODE", code)
    monkeypatch.setattr(results, "NOTEBOOKS", tmp_path / "notebooks")
    step = steps.Step("smoke", "01_first", {})

    def fingerprint():
        return steps.fingerprints([step])["01_first"]

    before = fingerprint()
    (code / "experiments" / "report.py").write_text("value = 2\n")
    assert fingerprint() == before
    for place in (
        "lla/__init__.py",
        "experiments/study.py",
        "experiments/deeper.py",
        "experiments/claims/__init__.py",
        "experiments/claims/judge.py",
    ):
        last = fingerprint()
        with open(code / place, "a") as file:
            file.write("# changed\n")
        assert fingerprint() != last, place


def test_the_table_and_the_report_end_a_real_profile(house, monkeypatch, capsys):
    from experiments import report, results, runner, steps

    monkeypatch.setattr(results, "ROOT", house)
    monkeypatch.setattr(results, "RESULTS", house / "results")
    monkeypatch.setattr(results, "NOTEBOOKS", house / "notebooks")
    for name in ("04_table", "05_tableau"):
        (house / "notebooks" / f"{name}.ipynb").touch()
    folder = results.run_dir("small")
    calls = []
    stub = SimpleNamespace(
        write=lambda p: calls.append(p) or folder / "REPORT.md",
        closing_table=lambda p: f"paper | ours ({p})",
    )
    monkeypatch.setitem(sys.modules, "experiments.report.run_page", stub)
    monkeypatch.setattr(report, "run_page", stub, raising=False)
    table, tableau = (steps.Step("small", name, {}) for name in ("04_table", "05_tableau"))
    current = {"04_table": "f1", "05_tableau": "f2"}
    runner.show_results("small", [table], current, 1.0)
    assert "Nothing has run in this profile." in capsys.readouterr().out and not calls
    folder.mkdir(parents=True)
    (folder / "tableau.json").write_text("{}")  # another notebook's
    assert table.results == []
    for name in ("table.json", "table_users.json", "table.png", "measures.csv"):
        (folder / name).write_text("{}")
    assert [file.name for file in table.results] == ["table.json", "table_users.json"]
    assert list(table.hashes()) == ["table.json", "table.png", "table_users.json"]
    table.stamp.parent.mkdir()
    table.stamp.write_text(json.dumps({"fingerprint": "f1", "sha256": table.hashes()}))
    runner.show_results("small", [table, tableau], current, 61.0)
    out, err = capsys.readouterr()
    assert calls == ["small"] and "Writing the report" in err
    assert "paper | ours (small)" in out
    assert "The report of this run: results/small/run/REPORT.md" in out
    assert "Made by other code or settings than the present: 05_tableau." in out
    assert out.endswith("1:01 in total.\n")


def test_sets_of_other_papers_run_on_request(house, monkeypatch):
    from experiments import steps

    monkeypatch.setattr(results, "CONFIGS", house / "experiments" / "configs")
    monkeypatch.setattr(results, "NOTEBOOKS", house / "notebooks")
    for name in ("03_trees", "04_maps"):
        nbformat.write(notebook("size = 1"), house / "notebooks" / f"{name}.ipynb")
    configure(house)
    config = house / "experiments" / "configs" / "smoke.yaml"
    config.write_text(config.read_text() + "03_trees:\n04_maps:\n")
    order = house / "experiments" / "notebooks.yaml"
    order.write_text("lla: [01_first, 02_second]\ntrees: [03_trees]\nmaps: [04_maps]\n")
    loaded = steps.load_steps("smoke")

    def names(**options):
        return [step.name[:2] for step in steps.choose(loaded, **options)]

    assert names() == ["01", "02"]
    assert names(of_set="all") == ["01", "02", "03", "04"]
    assert names(of_set="maps") == ["01", "02", "04"]
    assert names(only=["03"]) == ["03"]
    with pytest.raises(InputError, match="--set mops: no such set; choose one of lla, trees, maps"):
        names(of_set="mops")
    # A change of one set leaves the others current; one of the set lla stales all after it.
    before = steps.fingerprints(loaded)
    nbformat.write(notebook("size = 2"), house / "notebooks" / "03_trees.ipynb")
    changed = steps.fingerprints(loaded)
    assert [name for name in before if before[name] != changed[name]] == ["03_trees"]
    nbformat.write(notebook("size = 2"), house / "notebooks" / "02_second.ipynb")
    assert set(steps.fingerprints(loaded).values()) & set(changed.values()) == {before["01_first"]}
    order.write_text("lla: [01_first, 02_second]\n")
    with pytest.raises(InputError, match="03_trees is in no set; name it in experiments/notebook"):
        steps.load_steps("smoke")
    order.write_text("trees: [03_trees]\n")
    with pytest.raises(InputError, match="must list notebooks by set, the set lla first"):
        steps.load_steps("smoke")


def test_every_notebook_is_in_a_set():
    from experiments import steps

    numbered = [path.stem for path in sorted((CODE / "notebooks").glob("[0-9]*.ipynb"))]
    assert sorted(steps.read_order()) == numbered
