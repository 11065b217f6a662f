"""The README: its lines on own data run as written, and its sentences are what was measured."""

import json
import re
from pathlib import Path

import numpy as np

from data_prep.__main__ import main as data_prep
from experiments import claims
from experiments.report import pages as report

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
INPUTS = report.load(ROOT)


def test_the_lines_on_own_data_run_as_written(tmp_path, monkeypatch, capsys):
    """On a small file of events; only the corpus is smaller than a reader's."""
    monkeypatch.chdir(tmp_path)
    draw = np.random.default_rng(1)
    rows = [
        f"{user},{'abc'[(user + step) % 3]}{draw.integers(4)},{step}"
        for user in range(60)
        for step in range(20)
    ]
    Path("my_clicks.csv").write_text("\n".join(["user,item,time", *rows]))
    (command,) = re.findall(r"^python -m data_prep (.+?) +#", README, re.MULTILINE)
    assert data_prep(command.split()) == 0
    capsys.readouterr()
    (code,) = re.findall(r"```python\n(.+?)```", README, re.DOTALL)
    assert len([line for line in code.splitlines() if line and "import" not in line]) == 15
    exec(compile(code, "README.md", "exec"), {})
    out = capsys.readouterr().out
    # Each event is one of four items, and which four is known from the event before.
    assert float(re.search(r"perplexity: ([\d.]+)", out)[1]) < 5
    assert float(re.search(r"^all +\d+ +([\d.]+)", out, re.MULTILINE)[1]) > 0.95
    assert re.search(r"^5 +\d+% \w\d, \w\d, \w\d ", out, re.MULTILINE), "topics by name"
    assert re.search(r"^\[\[[01]\.\d* +[01]\.\d*\]$", out, re.MULTILINE), "topics of texts"
    assert max(map(len, out.splitlines())) <= 120, "no raw arrays"
    assert (tmp_path / "my_model").is_dir()


def test_the_readme_is_one_screen_and_a_half():
    assert len(README.splitlines()) <= 130
    assert len(README.encode()) <= 9000


def verdicts(row_id, source):
    """(result, verdict, relative reduction) of a row's checks, over all profiles."""
    (row,) = (row for row in claims.rows(source) if row.id == row_id)
    return {
        (profile, judged.result): (judged.claim.verdict, judged.claim.measured)
        for profile in report.PROFILES
        for judged in claims.judge(row, INPUTS.results[profile])
    }


def test_statements_of_the_readme_agree_with_the_results():
    joint = verdicts("table-4-wikipedia", "paper")
    assert joint["medium", report.HEADLINE][0] == "holds"
    assert joint["small", report.HEADLINE][0] == "holds"
    assert joint["small", f"{report.HEADLINE}_articles"][0] == "undecided"
    users, personal = verdicts("table-4-clicks", "paper"), verdicts("personal-shared", "findings")
    assert [verdict for verdict, _ in users.values()].count("holds") > len(users) / 2
    assert all(verdict == "holds" for verdict, _ in personal.values())
    more = [reduction > users[key][1] for key, (_, reduction) in personal.items()]
    assert sum(more) > len(more) / 2


def test_figure_table_and_commands_come_first():
    lines = README.splitlines()
    assert next(i for i, line in enumerate(lines) if line.startswith("![")) < 20
    assert next(i for i, line in enumerate(lines) if line.startswith("make test")) < 40


def test_every_notebook_and_every_link_of_the_readme_is_there():
    links = re.findall(r"\]\(([^)#:]+)\)", README)
    assert all((ROOT / link).exists() for link in links)
    names = {f"notebooks/{path.name}" for path in (ROOT / "notebooks").glob("*.ipynb")}
    assert names <= set(links)


def test_the_layout_in_the_readme_names_existing_files():
    picture = re.search(r"^(lla/ .+?)```", README, re.DOTALL | re.MULTILINE)[1]
    named = re.findall(r"(?:^|  )([\w.]+(?:\.py|/))(?= )", picture, re.MULTILINE)
    assert len(named) > 10
    for name in named:
        assert (ROOT / name).exists() or (ROOT / "lla" / name).exists(), name


def test_topics_and_forecast_are_those_of_the_committed_result():
    shown = json.loads((ROOT / "results/small/showcase.json").read_text())["extra"]
    assert len(shown["topics"]) == 3
    assert all(len(topic["words"]) == 5 for topic in shown["topics"])
    assert all("  ".join(topic["words"]) in README for topic in shown["topics"])
