"""Every number of the report comes from a result file, and the committed report is current."""

import json
import re
import sys
from pathlib import Path

import pytest

from experiments import paths, report
from experiments import results as store
from experiments.claims import compare
from lla.common import files
from lla.common.errors import InputError

ROOT = Path(__file__).parents[2]
README = "# Title\n\n<!-- generated:table -->\nold\n<!-- generated:end -->\n\nHand-written.\n"
PERPLEXITIES = {
    "unigram": (5280.0, 5281.0, 5279.0),
    "lda": (2594.0, 2600.0, 2588.0),
    "lda_updated": (2402.0, 2404.0, 2400.0),
    "independent": (2135.0, 2145.0, 2125.0),
    "topic_lla": (1975.0, 1990.0, 1960.0),
}


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    monkeypatch.setattr(paths, "RESULTS", tmp_path / "results")
    (tmp_path / "README.md").write_text(README, encoding="utf-8")
    add_notebook(
        tmp_path, "04_joint_vs_independent", "# Does *joint* | win?", "- K is 100, not\n  1,000\n"
    )
    return tmp_path


def add_notebook(root, name, title, deviations, tag="deviations"):
    cells = [
        {"cell_type": "markdown", "metadata": {}, "source": [f"{title}\n", "- no deviation"]},
        {"cell_type": "code", "metadata": {"tags": ["deviations"]}, "source": ["- code"]},
        {"cell_type": "markdown", "metadata": {"tags": [tag]}, "source": deviations},
    ]
    (root / "notebooks").mkdir(exist_ok=True)
    (root / "notebooks" / f"{name}.ipynb").write_text(json.dumps({"cells": cells}))


def add_result(profile, name="joint_vs_independent", factor=1.0, **changes):
    values = {key: [factor * x for x in xs] for key, xs in PERPLEXITIES.items()}
    claim = compare(
        "joint beats independent", "joint | better", "2119 -> 1785",
        values["topic_lla"], values["independent"],
    )  # fmt: skip
    options = {
        "config": {},
        "seeds": [0, 1, 2],
        "measures": {
            f"perplexity.{key}": store.measure(xs, "perplexity") for key, xs in values.items()
        },
        "claims": [claim],
        "corpus": "0123456789abcdef" * 4,
        "seconds": 600,
    }
    return store.save_result(profile, name, **(options | changes))


def row(text, start):
    """Cells of the table row whose first cell begins with `start`."""
    line = next(line for line in text.splitlines() if line.startswith(f"| {start}"))
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def read(root, name):
    return (root / name).read_text(encoding="utf-8")


def test_the_readme_shows_paper_beside_ours_and_says_what_was_not_run(root):
    add_result("small")
    assert report.write_report() == ["REPRODUCIBILITY.md", "README.md"]
    text = read(root, "README.md")
    assert row(text, "topic LLA")[1:] == ["1785", "1975 ± 15 (3 seeds)", "not run here"]
    assert row(text, "independent")[1:] == ["2119", "2135 ± 10 (3 seeds)", "not run here"]
    assert row(text, "LDA, θ frozen")[1:3] == ["no number printed", "2594 ± 6 (3 seeds)"]
    assert row(text, "cache unigram")[2] == "not measured"
    found = "2135 -> 1975 perplexity (-7.5%, 3 seeds): **holds**"
    assert row(text, "joint beats independent")[1:] == ["2119 -> 1785", found, "not run here"]
    assert "`make reproduce PROFILE=small`: 10 min 0 s, at most" in text
    assert "`make reproduce PROFILE=medium`: not run here" in text
    assert text.startswith("# Title\n\n<!-- generated:table -->\n")
    assert text.endswith("<!-- generated:end -->\n\nHand-written.\n")
    assert "\nold\n" not in text


def test_the_readme_shows_the_verdict_of_each_profile(root):
    add_result("small")
    claims = [compare("joint beats independent", "s", "p", [20.0, 21.0], [10.0, 10.0])]
    add_result("medium", factor=0.5, claims=claims, seconds=7_300)
    report.write_report()
    text = read(root, "README.md")
    assert row(text, "topic LLA")[2:] == ["1975 ± 15 (3 seeds)", "988 ± 8 (3 seeds)"]
    small, medium = row(text, "joint beats independent")[2:]
    assert small.endswith("**holds**") and medium.endswith("**does not hold**")
    assert "2 h 1 min" in text
    assert row(read(root, "REPRODUCIBILITY.md"), "**joint")[-1] == (
        "small: holds; medium: does not hold"
    )


def test_the_report_leads_from_claim_to_notebook_to_file_to_value(root):
    add_result("small")
    (root / "results/small/joint_vs_independent.png").touch()
    report.write_report()
    text = read(root, "REPRODUCIBILITY.md")
    claim, notebook, file, paper, small, medium, verdict = row(text, "**joint beats")
    assert claim == r"**joint beats independent**: joint \| better"
    assert notebook == "[04_joint_vs_independent](notebooks/04_joint_vs_independent.ipynb)"
    assert file == "[small/joint_vs_independent.json](results/small/joint_vs_independent.json)"
    assert (paper, medium, verdict) == ("2119 -> 1785", "not run here", "small: holds")
    assert small == "2135 -> 1975 perplexity (-7.5%, 3 seeds)"
    assert "- medium: not run here" in text
    assert row(text, "perplexity.lda ")[1:] == ["2594 ± 6 (3 seeds)", "perplexity"]
    assert "corpus `0123456789ab`" in text and "0123456789abc" not in text
    assert "Seeds 0, 1, 2; 10 min 0 s" in text
    _, title, files = row(text, "[04_")
    assert title == r"Does *joint* \| win?"
    assert "(results/small/joint_vs_independent.png)" in files
    links = re.findall(r"\]\(([^)]+)\)", text)
    assert links and all((root / link).is_file() for link in links)


def test_deviations_are_gathered_by_notebook(root):
    add_notebook(
        root, "01_data_prep", "# Data", "## What differs\n\n- Stop words\n  out\n* β\n\nEnd"
    )
    add_notebook(root, "02_more", "# More", "- not tagged", tag="other")
    report.write_report()
    text = read(root, "REPRODUCIBILITY.md").split("## Deviations")[1]
    assert text == (
        "\n\n### [01_data_prep](notebooks/01_data_prep.ipynb)\n\n- Stop words out\n- β\n"
        "\n### [04_joint_vs_independent](notebooks/04_joint_vs_independent.ipynb)\n\n"
        "- K is 100, not 1,000\n"
    )


def test_without_results_the_report_says_so(root):
    report.write_report()
    text = read(root, "REPRODUCIBILITY.md")
    assert "- small: not run here\n- medium: not run here" in text
    assert row(read(root, "README.md"), "topic LLA")[1:] == ["1785", "not run here", "not run here"]


def test_what_no_notebook_made_is_named_and_smoke_is_left_out(root):
    add_result("smoke")
    add_result("small", name="stray")
    report.write_report()
    text = read(root, "REPRODUCIBILITY.md")
    assert row(text, "**joint beats")[1] == "none"
    assert "smoke" not in text


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ([1975.0, 1990.0, 1960.0], "1975 ± 15 (3 seeds)"),
        ([1975.4], "1975 (1 seed)"),
        ([2.0, 2.02], "2.010 ± 0.014 (2 seeds)"),
        ([0.125], "0.125 (1 seed)"),
        ([106.0], "106 (1 seed)"),
        ([3.0, 3.0], "3 (the same, 2 seeds)"),
        ([0.0], "0 (1 seed)"),
        ([1_000_123.0], "1,000,123 (1 seed)"),
        ([10.0, 20.0], "15.0 ± 7.1 (2 seeds)"),
    ],
)
def test_a_measure_shows_the_digits_its_spread_allows(values, text):
    assert report.shown(store.measure(values, "u")) == text


def test_the_runner_prints_models_and_verdicts_of_one_profile(root):
    add_result("small")
    text = report.headline_table("small")
    assert row(text, "topic LLA") == ["topic LLA, joint", "1785", "1975 ± 15 (3 seeds)"]
    assert row(text, "joint beats")[-1] == "holds"
    for block in text.split("\n\n"):
        assert len({len(line) for line in block.splitlines()}) == 1, "columns are not aligned"
    with pytest.raises(InputError, match="make reproduce PROFILE=medium"):
        report.headline_table("medium")
    with pytest.raises(InputError, match="'smoke' stands in no table"):
        report.headline_table("smoke")


def test_check_names_what_is_not_current_in_one_line(root, capsys):
    add_result("small")
    assert report.main(["--check"]) == 1
    error = capsys.readouterr().err
    assert error == "REPRODUCIBILITY.md, README.md: not current; run `make report`\n"
    assert report.main([]) == 0
    assert capsys.readouterr().out == "wrote REPRODUCIBILITY.md and README.md\n"
    assert report.main(["--check"]) == 0
    assert capsys.readouterr().err == ""
    (root / "README.md").unlink()
    assert report.main(["--check"]) == 1
    assert capsys.readouterr().err == "README.md: not current; run `make report`\n"
    assert report.write_report() == ["REPRODUCIBILITY.md"]


def test_a_new_number_makes_the_report_stale_and_writing_twice_changes_nothing(root):
    add_result("small")
    report.write_report()
    texts = [read(root, name) for name in ("README.md", "REPRODUCIBILITY.md")]
    report.write_report()
    assert texts == [read(root, name) for name in ("README.md", "REPRODUCIBILITY.md")]
    assert report.stale() == []
    add_result("small", factor=1.1)
    assert report.stale() == ["REPRODUCIBILITY.md", "README.md"]


@pytest.mark.parametrize("text", ["# No markers", report.BEGIN, report.END + report.BEGIN])
def test_a_readme_without_its_markers_gives_one_line_and_nothing_is_written(root, text):
    (root / "README.md").write_text(text)
    with pytest.raises(InputError, match="put both lines in"):
        report.write_report()
    assert not (root / "REPRODUCIBILITY.md").exists()
    assert read(root, "README.md") == text


@pytest.mark.parametrize("content", ["{}", "[]", '{"measures": {', "null"])
def test_a_broken_result_gives_one_line(root, content):
    path = add_result("small")
    path.write_text(content)
    with pytest.raises(InputError, match=re.escape(str(path))):
        report.write_report()


def test_a_broken_notebook_gives_one_line(root):
    path = root / "notebooks" / "05_broken.ipynb"
    path.write_text('{"cells": 3}')
    with pytest.raises(InputError, match=r"05_broken\.ipynb: not a notebook"):
        report.write_report()
    path.unlink()
    add_notebook(root, "05_broken", "# Title", "Nothing differs.")
    with pytest.raises(InputError, match="no bullet"):
        report.write_report()


def test_the_command_line_ends_with_one_line_and_status_2(root, monkeypatch, capsys):
    (root / "README.md").write_text("no markers")
    monkeypatch.setattr(sys, "argv", ["report"])
    with pytest.raises(SystemExit) as stop:
        report.run_main(report.main)
    assert stop.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_the_committed_report_is_current():
    names = report.stale(ROOT)
    if not list((ROOT / "notebooks").glob("[0-9]*.ipynb")):
        # Before the first notebook there is nothing yet for a README to show.
        names = [name for name in names if name != "README.md"]
    assert names == [], f"{', '.join(names)}: run `make report` and commit"


def test_the_readme_shows_all_models_best_first_and_the_corpora(root):
    values = {"perplexity.word_lstm": 3000.0, "perplexity.topic_lla": 1900.0}
    values |= {"parameters.word_lstm": 1234567.0, "parameters.topic_lla": 4321.0}
    measures = {name: store.measure([x], name.split(".")[0]) for name, x in values.items()}
    add_result("small", "accuracy_vs_size", measures=measures, claims=[])
    counts = {"documents": 87, "vocabulary": 5000, "observed": 83658, "held_out": 49749}
    counted = {name: store.measure([n], "tokens") for name, n in counts.items()}
    add_result("small", "data_prep", measures=counted, claims=[])
    add_result("small", "lda_initialization", config={"n_topics": 80}, claims=[])
    report.write_report()
    text = read(root, "README.md")
    assert row(text, "word LSTM") == ["word LSTM, sampled softmax", "3000 (1 seed)", "1,234,567"]
    assert text.index("| topic LLA  ") < text.index("| word LSTM")
    assert row(text, "small") == ["small", "87", "5,000", "83,658", "49,749", "80"]


def test_the_readme_shows_benchmarks_and_which_missed_their_aim(root):
    folder = root / "results" / "bench"
    rows = [
        {"case": "fast", "peer": "loop", "ours": 480e3, "theirs": 40e3, "unit": "words/s"},
        {"case": "slow", "peer": "loop", "ours": 2.0, "theirs": 1.0, "unit": "s"},
    ]
    ends = ({"ratio": 12.0, "target": 10, "passed": True}, {"ratio": 2.0, "target": 1, "passed": False})
    rows = [one | end for one, end in zip(rows, ends, strict=True)]
    files.write_json(folder / "se_step.json", rows)
    report.write_report()
    text = read(root, "README.md")
    assert row(text, "fast") == [
        "fast",
        "loop",
        "480,000 words/s",
        "40,000 words/s",
        "12.00",
        "10",
        "yes",
    ]
    assert row(text, "slow")[-1] == "**no**"
    assert "memory.png" not in text
    files.write_json(folder / "memory.json", [rows[0] | {"case": "memory of LLA"}])
    report.write_report()
    assert "](results/bench/memory.png)" in read(root, "README.md")
    files.write_json(folder / "se_step.json", [{"case": "half"}])
    with pytest.raises(InputError, match=r"se_step.json: not rows of a benchmark"):
        report.write_report()


def user_measures(models, shift=0.0):
    metrics = [("perplexity", 50.0), ("ndcg@10", 0.2), *((f"recall@{k}", 0.3) for k in range(30))]
    return {
        f"{metric}.{model}": store.measure([value * (1 + i) + shift], metric)
        for i, model in enumerate(models)
        for metric, value in metrics
    }


def test_users_have_a_table_a_link_to_their_notebook_and_a_line_a_model(root):
    add_notebook(root, "10_user_modeling", "# Users?", "- one\n- two")
    for data, models in (("clicks", ("oracle", "personal_lla")), ("shop", ("personal_lla", "odd"))):
        add_result("small", f"user_modeling_{data}", measures=user_measures(models))
    report.write_report()
    readme = (root / "README.md").read_text(encoding="utf-8")
    rows = [re.split(r"\s*\|\s*", line)[1:-1] for line in readme.splitlines() if "|" in line]
    rows = [row for row in rows if len(row) == 5]
    assert rows[0][1:] == [
        *("perplexity, clicks", "NDCG@10, clicks", "perplexity, shop", "NDCG@10, shop")
    ]
    assert [row[0] for row in rows[2:]] == [
        *("the oracle, who knows the truth", "**personal topic LLA** (new here)", "odd")
    ]
    assert rows[2][1].startswith("50") and rows[2][3] == report.NOT_RUN
    text = (root / "REPRODUCIBILITY.md").read_text(encoding="utf-8")
    assert "[10_user_modeling](notebooks/10_user_modeling.ipynb)" in text
    assert "results/small/user_modeling_shop.json" in text
    (line,) = [line for line in text.splitlines() if line.startswith("| odd ")]
    assert line.count("|") == 34  # 32 metrics and the model's name
