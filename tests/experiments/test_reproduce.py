"""The runner, on two tiny notebooks: current, stale, refused, failing, killed, resumed."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from experiments.display import Display, clock
from lla.common.progress import progress

CODE = Path(__file__).parents[2]

# The first notebook counts its runs in a file, and writes its result; the second reads the first.
FIRST = """
import os
from pathlib import Path

root = Path(os.environ["LLA_ROOT"])
folder = root / "results" / profile
with open(root / "runs.txt", "a") as file:
    file.write(f"first {size} {Path.cwd().name}\\n")
(folder / "work" / "first.txt").write_text(str(size))
"""
SECOND = """
import os
import time
from pathlib import Path

root = Path(os.environ["LLA_ROOT"])
folder = root / "results" / profile
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
    return new_notebook(cells=[new_markdown_cell("# A question"), tagged, *code], metadata=metadata)


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
    return tmp_path


def configure(house: Path, first: str = "{size: 3}", second: str = "") -> None:
    text = f"02_second: {second}\n01_first: {first}\n"
    (house / "experiments" / "configs" / "smoke.yaml").write_text(text)


def command(house: Path, *options: str) -> subprocess.Popen:
    environment = {k: v for k, v in os.environ.items() if k != "LLA_PROGRESS"}
    environment |= {"LLA_ROOT": str(house), "PYTHONPATH": str(CODE)}
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


def test_only_changed_notebooks_run_again(house):
    before = (house / "notebooks" / "01_first.ipynb").read_bytes()
    status, out, err = run(house)
    assert status == 0, err
    # In the order of the file names, with the profile's values, in the notebooks' folder.
    assert runs(house) == ["first 3 notebooks", "second"]
    assert json.loads((house / "results" / "smoke" / "second.json").read_text())["size"] == 3
    assert "in total" in out
    assert "[1/2] 01_first  done in" in err and "[2/2] 02_second  done in" in err
    assert (house / "results" / "smoke" / "notebooks" / "02_second.ipynb").is_file()
    assert (house / "notebooks" / "01_first.ipynb").read_bytes() == before

    status, out, err = run(house)
    assert status == 0
    assert err.count("up to date") == 2
    assert len(runs(house)) == 2

    # A parameter of the second leaves the first alone; one of the first stales both.
    configure(house, second="{last: 1}")
    assert run(house)[0] == 0
    assert runs(house)[2:] == ["second"]
    # A result that is not the one the run wrote is made again.
    (house / "results" / "smoke" / "second.json").write_text("{}")
    assert run(house)[0] == 0
    assert runs(house)[3:] == ["second"]
    configure(house, first="{size: 4}", second="{last: 1}")
    assert run(house)[0] == 0
    assert runs(house)[4:] == ["first 4 notebooks", "second"]


def test_only_and_force_choose_the_notebooks(house):
    status, out, _ = run(house, "--only", "01")
    assert status == 0 and "02_second has not run" in out
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
        ("01_first: {size: ", "experiments/configs/smoke.yaml: not valid YAML"),
        ("", "must map notebook names to parameters"),
        (None, "experiments/configs/smoke.yaml: no such file"),
    ],
)
def test_a_wrong_configuration_is_one_line(house, config, words, monkeypatch):
    from experiments import results, runner
    from lla.common import errors

    monkeypatch.setattr(results, "CONFIGS", house / "experiments" / "configs")
    monkeypatch.setattr(results, "NOTEBOOKS", house / "notebooks")
    file = house / "experiments" / "configs" / "smoke.yaml"
    file.unlink() if config is None else file.write_text(config)
    with pytest.raises(errors.InputError) as caught:
        runner.load_steps("smoke")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_mappings_are_settings_and_not_passed_to_cells(house, monkeypatch):
    from experiments import results, runner

    monkeypatch.setattr(results, "CONFIGS", house / "experiments" / "configs")
    monkeypatch.setattr(results, "NOTEBOOKS", house / "notebooks")
    fingerprints = set()
    for n_topics in (5, 6):
        configure(house, first=f"{{size: 3, models: {{lda: {{n_topics: {n_topics}}}}}}}")
        first, _ = steps = runner.load_steps("smoke")
        assert first.parameters == {"size": 3, "profile": "smoke"}
        assert first.settings == {"models": {"lda": {"n_topics": n_topics}}}
        fingerprints.add(runner.fingerprints(steps)["01_first"])
    assert len(fingerprints) == 2


def test_the_command_line_refuses_in_one_line(house):
    assert "profile 'tiny' does not exist; choose one of" in refused(house, "--profile", "tiny")
    nbformat.write(notebook("size ="), house / "notebooks" / "01_first.ipynb")
    assert "parameters cell is not Python" in refused(house)


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
        "(executed copy: results/smoke/notebooks/02_second.ipynb)"
    )
    nbformat.write(notebook("size = 1", "1 / 0"), house / "notebooks" / "02_second.ipynb")
    _, _, err = run(house)
    assert "02_second, cell 3: ZeroDivisionError: division by zero" in err.splitlines()[-1]
    nbformat.write(notebook("size = 1", "1"), house / "notebooks" / "02_second.ipynb")
    _, _, err = run(house)
    assert "it wrote no results/smoke/second.json" in err.splitlines()[-1]
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


@pytest.mark.parametrize("blow", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_run_resumes_and_leaves_no_kernel(house, blow):
    configure(house, second="{last: 600, pause: 0.1}")
    process = command(house)
    checkpoint = house / "results" / "smoke" / "work" / "second.txt"
    try:
        wait_for(lambda: checkpoint.exists() and checkpoint.read_text() not in ("", "1", "2"))
    finally:
        process.send_signal(blow)
    out, err = process.communicate(timeout=60)
    assert out == ""
    if blow == signal.SIGINT:
        assert process.returncode == 130
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
    (house / "results" / "smoke" / "work").mkdir(parents=True, exist_ok=True)
    (house / "results" / "smoke" / "work" / "first.txt").write_text("1")
    try:
        wait_for(lambda: (house / "kernel.pid").exists())
        status, _, err = run(house)
        assert status == 2 and "another run is in progress" in err
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    assert process.returncode == 130


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
    from experiments import results, runner

    code = tmp_path / "code"
    for folder in ("lla", "data_prep", "experiments"):
        (code / folder).mkdir(parents=True)
        (code / folder / "__init__.py").write_text("")
    (code / "experiments" / "study.py").write_text("from experiments import deeper\n")
    for name in ("deeper", "report"):
        (code / "experiments" / f"{name}.py").write_text("value = 1\n")
    (tmp_path / "notebooks").mkdir()
    nbformat.write(
        notebook("size = 1", "from experiments import study"), tmp_path / "notebooks/01_first.ipynb"
    )
    monkeypatch.setattr(runner, "CODE", code)
    monkeypatch.setattr(results, "NOTEBOOKS", tmp_path / "notebooks")
    step = runner.Step("smoke", "01_first", {})

    def fingerprint():
        return runner.fingerprints([step])["01_first"]

    before = fingerprint()
    (code / "experiments" / "report.py").write_text("value = 2\n")
    assert fingerprint() == before
    for place in ("lla/__init__.py", "experiments/study.py", "experiments/deeper.py"):
        last = fingerprint()
        with open(code / place, "a") as file:
            file.write("# changed\n")
        assert fingerprint() != last, place


def test_the_table_and_the_report_end_a_real_profile(house, monkeypatch, capsys):
    from types import SimpleNamespace

    from experiments import report, results, runner

    monkeypatch.setattr(results, "ROOT", house)
    monkeypatch.setattr(results, "RESULTS", house / "results")
    calls = []
    stub = SimpleNamespace(
        write_report=lambda: calls.append("report"), headline_table=lambda p: f"paper | ours ({p})"
    )
    monkeypatch.setitem(sys.modules, "experiments.report.pages", stub)
    monkeypatch.setattr(report, "pages", stub, raising=False)
    step = runner.Step("small", "04_table", {})
    runner.show_results("small", [step], 1.0)
    assert "No table yet: 04_table" in capsys.readouterr().out and not calls
    (folder := results.profile_dir("small")).mkdir(parents=True)
    (folder / "tableau.json").write_text("{}")  # another notebook's
    assert step.results == []
    for name in ("table.json", "table_users.json"):
        (folder / name).write_text("{}")
    assert [file.name for file in step.results] == ["table.json", "table_users.json"]
    runner.show_results("small", [step], 61.0)
    out = capsys.readouterr().out
    assert calls == ["report"]
    assert "paper | ours (small)" in out and "REPRODUCIBILITY.md" in out and "1:01 in total" in out
