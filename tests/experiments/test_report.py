"""Every number of the report comes from a result file, and the committed report is current."""

import csv
import json
import re
import sys
from pathlib import Path

import pytest

from experiments import claims, results
from experiments.report import csv_text
from experiments.report import pages as report
from experiments.report.table4 import table4
from lla.common import files
from lla.common.errors import InputError, run_main

ROOT = Path(__file__).parents[2]
README = "# Title\n" + "".join(
    f"\n<!-- generated:{name} -->\nold\n<!-- generated:end -->\n"
    for name in ("headline", "commands", "topics")
)
BENCH = "# Speed\n\n<!-- generated:benchmarks -->\n<!-- generated:end -->\n\nBy hand.\n"
BENCH += "\n<!-- generated:rehearsal -->\n<!-- generated:end -->\n"
PROFILE = "# By hand.\n# generated:rehearsal\n# generated:end\n01_data_prep:\n"
PERPLEXITIES = {
    "unigram": (5280.0, 5280.0, 5280.0),
    "lda": (2594.0, 2600.0, 2588.0),
    "lda_online": (2402.0, 2404.0, 2400.0),
    "independent": (2135.0, 2145.0, 2125.0),
    "topic_lla": (1975.0, 1990.0, 1960.0),
}


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setattr(results, "ROOT", tmp_path)
    monkeypatch.setattr(results, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(results, "run_dir", results.profile_dir)  # as `make publish` leaves it
    (tmp_path / "benchmarks").mkdir()
    (tmp_path / "README.md").write_text(README, encoding="utf-8")
    (tmp_path / "benchmarks" / "README.md").write_text(BENCH, encoding="utf-8")
    (tmp_path / "experiments" / "configs").mkdir(parents=True)
    (tmp_path / "experiments" / "configs" / "paper.yaml").write_text(PROFILE, encoding="utf-8")
    add_notebook(tmp_path, "04_joint_vs_independent", "- K is 100, not\n  1,000\n")
    return tmp_path


@pytest.fixture(scope="module")
def committed():
    """What the committed report is made of; its claims are judged once."""
    return report.load(ROOT)


def add_notebook(root, name, deviations, tag="deviations"):
    cells = [
        {"cell_type": "markdown", "metadata": {}, "source": ["# Title\n", "- no deviation"]},
        {"cell_type": "code", "metadata": {"tags": ["deviations"]}, "source": ["- code"]},
        {"cell_type": "markdown", "metadata": {"tags": [tag]}, "source": deviations},
    ]
    (root / "notebooks").mkdir(exist_ok=True)
    (root / "notebooks" / f"{name}.ipynb").write_text(json.dumps({"cells": cells}))


def add_result(profile, name="joint_vs_independent", factor=1.0, **changes):
    options = {
        "config": {},
        "seeds": [0, 1, 2],
        "measures": {
            f"perplexity.{key}": results.measure([factor * x for x in values], "perplexity")
            for key, values in PERPLEXITIES.items()
        },
        "claims": [],
        "corpus": "0123456789abcdef" * 4,
        "seconds": 600,
        "extra": {"particles": [1, 64]},
    }
    return results.save_result(profile, name, **(options | changes))


def row(text, start):
    """Cells of the table row whose first cell begins with `start`."""
    line = next(line for line in text.splitlines() if line.startswith(f"| {start}"))
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def read(root, name):
    return (root / name).read_text(encoding="utf-8")


def test_the_readme_shows_paper_and_own_numbers_and_marks_missing_runs(root):
    add_result("small")
    assert report.write_report() == [
        "REPRODUCIBILITY.md", "results/FINDINGS.md", "results/claims.csv",
        "results/small/measures.csv", "README.md", "benchmarks/README.md",
        "experiments/configs/paper.yaml", "results/small/table4.png",
    ]  # fmt: skip
    text = read(root, "README.md")
    assert "](results/small/table4.png)" in text
    assert row(text, "**paper**, Wikipedia")[1:] == ["–", "2,119", "1,785", "−15.8%"]
    assert row(text, "`small`, text")[1:] == [
        *("2,402 ± 2", "2,135 ± 10", "1,975 ± 15"),
        "−7.5% [−8.2, −6.8], 3 seeds alone: holds",
    ]
    assert row(text, "**paper**, user clicks")[1:] == ["–", "1,572", "927", "−41.0%"]
    assert "`medium`" not in text
    assert "over 3 seeds" in text and "are estimated with 64 particles." in text
    assert "make reproduce   # 10 min of training, at most" in text
    assert text.startswith("# Title\n\n<!-- generated:headline -->\n")
    assert "\nold\n" not in text


def test_a_row_of_the_report_has_the_paper_ours_the_verdict_and_the_notebook(root):
    add_result("small")
    worse = {"perplexity.topic_lla": [2000.0, 2001.0], "perplexity.independent": [1000.0, 1001.0]}
    measured = {key: results.measure(v, "perplexity") for key, v in worse.items()}
    add_result("medium", measures=measured, extra={})
    report.write_report()
    text = read(root, "REPRODUCIBILITY.md")
    paper, small, medium, notebook = row(text, "Table 4, Wikipedia")[1:]
    assert "2119 → 1785 (−16%)" in paper
    assert small == "**holds**<br>text: 2,135 → 1,975 (−7.5% [−8.2, −6.8])†"
    assert medium == "**does not hold**<br>text: 1,000 → 2,000 (+100.0% [+99.3, +100.6])†"
    assert notebook == "[04]" and "\n[04]: notebooks/04_joint_vs_independent.ipynb\n" in text
    assert row(text, "Figures 6 and 7")[2:4] == ["not run", "not run"]
    assert row(text, "Figure 8, Section 4.2")[1].startswith("LLA variants converge")
    assert row(text, " | LLA variants take only")[3:] == ["not run", "[08]"], "of the same figure"
    assert "| where | the paper | ours, small | ours, medium | notebook |" in text
    assert row(text, "small |") == ["small", "2", "2", "0", "0", "3", "3", "0", "0"]
    assert row(text, "medium |") == ["medium", "1", "0", "0", "1", "1", "0", "1", "0"]
    assert "\n- Table 4, joint learning beats the independent learner: 2119 → 1785 (−16%) " in text
    assert text.count("(small: holds; medium: does not hold)") == 1
    links = re.findall(r"(?:\]\(|\]: )((?:notebooks/04|results)[^)\s]+)", text)
    assert len(links) > 3 and all((root / link).is_file() for link in links)


def test_findings_are_on_a_page_of_their_own(root):
    add_result("small")
    report.write_report()
    text = read(root, "results/FINDINGS.md")
    cells = row(text, "an LSTM on LDA's own topics")
    assert cells[1].startswith("**holds**<br>vs LDA, θ frozen: 2,594 → 2,135 (−17.7%")
    assert cells[2:] == ["not run", "[04]"]
    assert "\n[04]: ../notebooks/04_joint_vs_independent.ipynb\n" in text
    assert "| finding | ours, small | ours, medium | notebook |" in text
    assert row(text, "**all**") == ["**all**", "1 of 1 claims hold, 2 of 2 comparisons", "not run"]
    assert "an LSTM on LDA's own topics" not in read(root, "REPRODUCIBILITY.md")
    for heading in re.findall(r"\]\(#([^)]+)\)", text):
        assert re.search(rf"^## {heading.replace('-', '.')}", text, re.I | re.M), heading


def test_table_4_has_a_row_per_corpus(root):
    """Named by its data set; the profile's own corpus by the source of its text."""
    add_result("small")
    add_result("small", "joint_vs_independent_articles", factor=2.0)
    add_result("small", "data_prep", extra={"source": "documentation: of 54 packages"})
    rows = {line.corpus: line for line in table4(report.load(root).results)}
    assert list(rows) == [
        *("**paper**, Wikipedia", "`small`, documentation", "`small`, 250 Wikipedia articles"),
        "**paper**, user clicks",
    ]
    assert rows["`small`, 250 Wikipedia articles"].joint == "3,950 ± 30"
    only = table4(report.load(root).results, frozenset({"articles"}))
    assert [line.corpus for line in only if "paper" not in line.corpus] == [list(rows)[2]]
    report.write_report()
    cell = row(read(root, "REPRODUCIBILITY.md"), "Table 4, Wikipedia")[2]
    assert "<br>documentation: 2,135 → 1,975 (" in cell and "articles: 4,270 → 3,950 (" in cell


def test_every_row_says_what_the_paper_states_and_reads_measures_that_exist(committed):
    """On the committed results: no key is misspelt, no notebook is missing."""
    for source in ("paper", "findings"):
        for line in claims.rows(source):
            assert line.states and bool(line.where) == (source == "paper")
            assert (ROOT / "notebooks" / f"{line.notebook}.ipynb").is_file(), line.id
            judged = [j for of in committed.judged[line.id].values() for j in of]
            measured = {(j.check["lower"], j.check["higher"]) for j in judged}
            checked = {(c["lower"], c["higher"]) for c in line.checks}
            assert measured == checked or (line.needs and not measured), line.id
            assert bool(line.checks) + bool(line.show) + bool(line.untested) == 1, line.id
            for key in line.show:
                assert any(
                    claims.values_of(key, line.results[0], committed.results[p])
                    for p in report.PROFILES
                ), (line.id, key)


def test_recomputed_verdicts_agree_with_the_result_files(committed):
    compared = 0
    for profile, found in committed.results.items():
        for judged in (j for of in committed.judged.values() for j in of[profile]):
            for claim in found[judged.result]["claims"]:
                if claim["measured"] == pytest.approx(judged.claim.measured, abs=1e-12):
                    assert claim["verdict"] == judged.claim.verdict, claim["name"]
                    compared += 1
    assert compared >= 60


def test_the_committed_pages_are_short():
    assert 15_000 < len((ROOT / "REPRODUCIBILITY.md").read_bytes()) < 22_000
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(readme.splitlines()) <= 130 and len(readme.encode()) <= 9_000
    for name in ("REPRODUCIBILITY.md", "results/FINDINGS.md"):
        lines = [line for line in read(ROOT, name).splitlines() if line.startswith("| ")]
        assert len(lines) > 30
        for line in lines:
            assert len(line) <= 1_000 and all(len(cell) <= 400 for cell in line.split(" | ")), line


def test_deviations_are_listed_by_notebook(root):
    add_notebook(root, "01_data_prep", "## What differs\n\n- Stop words\n  out\n* β\n\nEnd")
    add_notebook(root, "02_more", "- not tagged", tag="other")
    report.write_report()
    text = read(root, "REPRODUCIBILITY.md")
    assert text.split("FINDINGS.md).\n\n")[1].split("\n\n## 4.")[0] == (
        "**[01_data_prep][01]**\n\n- Stop words out\n- β\n\n"
        "**[04_joint_vs_independent][04]**\n\n- K is 100, not 1,000"
    )
    assert "[01]: notebooks/01_data_prep.ipynb\n" in text and "[02]" not in text


def test_deviations_of_other_papers_and_of_notebooks_on_findings_alone_stand_with_these(root):
    (root / "experiments" / "notebooks.yaml").write_text("another_paper: [90_other]\n")
    add_notebook(root, "90_other", "- another split")
    add_notebook(root, "12_recommendation", "- ranks")
    report.write_report()
    paper, found = read(root, "REPRODUCIBILITY.md"), read(root, "results/FINDINGS.md")
    assert "another split" not in paper and "- ranks" not in paper and "- K is 100" in paper
    ranking, other = found.split("## Ranking the next item")[1].split("## Another paper")
    assert "**[12_recommendation][12]**\n\n- ranks\n" in ranking
    assert "**[90_other][90]**\n\n- another split\n\n" in other and "- K is 100" not in found


def test_the_report_works_without_results(root):
    report.write_report()
    text = read(root, "REPRODUCIBILITY.md")
    assert "- small: not run\n- medium: not run" in text
    assert row(read(root, "results/FINDINGS.md"), "**all**")[1:] == ["not run", "not run"]
    assert read(root, "results/claims.csv").count("\n") == 1
    assert row(read(root, "README.md"), "**paper**, Wikipedia")[3] == "1,785"
    assert not list(root.glob("results/*/*.csv"))


def test_smoke_is_left_out(root):
    add_result("smoke")
    report.write_report()
    assert "smoke" not in read(root, "REPRODUCIBILITY.md")
    assert not (root / "results" / "smoke" / "measures.csv").exists()


def test_provenance_is_one_line_and_all_measures_are_one_table(root):
    add_result("small")
    counts = {"documents": 87, "vocabulary": 5000, "tokens": 139369}
    counted = {name: results.measure([n], "tokens") for name, n in counts.items()}
    source = {"source": "documentation"}
    add_result("small", "data_prep", measures=counted, seeds=[0], extra=source)
    add_result("small", "lda_initialization", config={"n_topics": 80}, measures={})
    report.write_report()
    text = read(root, "REPRODUCIBILITY.md")
    assert row(text, "paper")[1:] == ["Wikipedia", "1,000,000", "50,000", "700,000,000", "1,000"]
    sizes = text.split("## 4. How it was run")[1]
    assert row(sizes, "small") == ["small", "documentation", "87", "5,000", "139,369", "80"]
    (line,) = [line for line in text.splitlines() if line.startswith("- small: ")]
    assert line.startswith("- small: 30 min of training, at most") and "seeds 1, 2; Py" in line
    assert line.endswith("corpora documentation `0123456789ab`")
    results.write_seconds(root / "results" / "small", {"01_data_prep": 59.6, "02_lda": 121})
    report.write_report()
    (line,) = [x for x in read(root, "REPRODUCIBILITY.md").splitlines() if x.startswith("- small")]
    assert line.startswith("- small: 3 min, at most")
    with open(root / "results" / "small" / "measures.csv", encoding="utf-8") as file:
        measures = list(csv.DictReader(file))
    assert len(measures) == 8
    (lla,) = [m for m in measures if m["model"] == "topic_lla"]
    assert lla == {
        "result": "joint_vs_independent", "measure": "perplexity", "model": "topic_lla",
        "value": "1975", "spread": "15", "n": "3", "unit": "perplexity",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ([1975.0, 1990.0, 1960.0], "1,975 ± 15"),
        ([1975.4], "1,975"),
        ([2.0, 2.02], "2.010 ± 0.014"),
        ([0.125], "0.125"),
        ([106.0], "106"),
        ([107.7, 108.3, 108.0], "108.0 ± 0.3"),
        ([1810.0, 1811.5], "1,811 ± 1"),
        ([3.0, 3.0], "3"),
        ([0.0], "0"),
        ([1_000_123.0], "1,000,123"),
        ([10.0, 20.0], "15.0 ± 7.1"),
    ],
)
def test_measures_are_rounded_by_their_spread(values, text):
    assert results.format_measure(results.measure(values, "u")) == text


def test_check_lists_outdated_files_in_one_line(root, capsys):
    add_result("small")
    assert report.main(["--check"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("REPRODUCIBILITY.md, results/FINDINGS.md, results/claims.csv, ")
    assert error.endswith("results/small/table4.png: not current; run `make report`\n")
    assert report.main([]) == 0
    assert capsys.readouterr().out.startswith("wrote REPRODUCIBILITY.md, ")
    assert report.main([]) == 0
    assert capsys.readouterr().out == "wrote nothing: the report is current\n"
    assert report.main(["--check"]) == 0
    assert capsys.readouterr().err == ""
    (root / "README.md").unlink()
    assert report.main(["--check"]) == 1
    assert capsys.readouterr().err == "README.md: not current; run `make report`\n"


def test_a_new_number_outdates_the_report_and_writing_is_idempotent(root):
    add_result("small")
    report.write_report()
    assert report.write_report() == [] and report.stale() == []
    figure = (root / "results" / "small" / "table4.png").read_bytes()
    add_result("small", factor=1.1)
    assert "results/small/table4.png" in report.stale() and "README.md" in report.stale()
    report.write_report()
    assert report.stale() == []
    assert (root / "results" / "small" / "table4.png").read_bytes() != figure


@pytest.mark.parametrize("text", ["# No markers", README.replace("end -->", "x -->")])
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
    add_notebook(root, "05_broken", "Nothing differs.")
    with pytest.raises(InputError, match="no bullet"):
        report.write_report()


def test_the_command_line_ends_with_one_line_and_status_2(root, monkeypatch, capsys):
    (root / "README.md").write_text("no markers")
    monkeypatch.setattr(sys, "argv", ["report"])
    with pytest.raises(SystemExit) as stop:
        run_main(report.main)
    assert stop.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_the_committed_report_is_current():
    names = report.stale(ROOT)  # which reads and judges everything anew
    assert names == [], f"{', '.join(names)}: run `make report` and commit"


def test_the_readme_shows_three_topics_and_a_forecast(root):
    topics = [{"number": 3, "words": ["river", "water"]}, {"number": 12, "words": ["album"]}]
    forecast = [{"probability": 0.614, "words": ["song", "chart"]}]
    extra = {"topics": topics, "history": ["band", "guitar"], "forecast": forecast}
    add_result("small", "showcase", measures={}, extra=extra)
    report.write_report()
    text = read(root, "README.md")
    assert "topic   3   river  water\ntopic  12   album\n" in text
    assert "after       band  guitar\nexpected    61% song chart\n" in text


def test_benchmarks_are_shown_with_their_baseline(root):
    line = {"case": "fast", "peer": "loop", "unit": "words/s", "ratio": 12.0}
    line |= {"ours": 480e3, "theirs": 40e3}
    files.write_json(root / "results" / "bench" / "se_step.json", [line])
    report.write_report()
    text = read(root, "benchmarks/README.md")
    assert row(text, "fast") == ["fast", "loop", "480,000 words/s", "40,000 words/s", "12.00"]
    assert text.startswith("# Speed\n") and "\n\nBy hand.\n\n<!-- generated:rehearsal" in text
    files.write_json(root / "results" / "bench" / "se_step.json", [{"case": "half"}])
    with pytest.raises(InputError, match=r"se_step.json: not rows of a benchmark"):
        report.write_report()


def test_texts_in_csv_are_no_formulas_and_numbers_stay_numbers():
    measures = {"=1+1.@model": results.measure([-2.5], "-unit"), "a.b": results.measure([3], "+")}
    first, second = csv.DictReader(
        csv_text.measures_csv({"r": {"measures": measures}}).splitlines()
    )
    assert [first[key] for key in ("measure", "model", "unit")] == ["'=1+1", "'@model", "'-unit"]
    assert first["value"] == "-2.5" and second["value"] == "3" and second["unit"] == "'+"
