"""A run beside the committed results: what is the same, what differs, and the closing table."""

import csv
import re

import numpy as np
import pytest
from simulated import sticky_split

from experiments import results
from experiments.claims import scores_of
from experiments.report import run_page
from experiments.report.comparison import compare
from lla.common.errors import InputError

PERPLEXITIES = {"topic_lla": [1975.0, 1990.0], "independent": [2135.0, 2145.0]}


def result(**measures):
    """A result whose measures are all perplexities but for those whose name says more."""
    return {
        "measures": {
            name.replace("__", "."): results.measure(values, name.split("__")[0])
            for name, values in measures.items()
        }
    }


def test_measures_are_compared_seed_by_seed():
    committed = result(perplexity__a=[10.0, 12.0], perplexity__b=[5.0], perplexity__c=[3.0])
    own = result(perplexity__a=[10.0, 12.0], perplexity__b=[5.0 + 1e-8], perplexity__c=[3.1])
    found = compare({"x": committed}, {"x": own})
    assert [pair.name for pair in found.same] == ["perplexity.a"]
    assert [pair.name for pair in found.rounded] == ["perplexity.b"]
    assert [pair.name for pair in found.differing] == ["perplexity.c"]
    assert found.differing[0].change == pytest.approx(0.1 / 3.1)
    assert found.summary() == (
        "1 of 3 measures are the same as the committed ones to the last digit, 1 but for rounding; "
        "1 differ (times and memory apart).\n"
        "Of those that differ, 0 do so within the spread over seeds.\n"
        "  x: perplexity.c, committed 3, own 3.10"
    )


@pytest.mark.parametrize(("own", "within"), [([11.0, 13.0], 1), ([13.0, 15.0], 0)])
def test_differences_within_the_spread_are_counted(own, within):
    committed = {"x": result(perplexity__a=[10.0, 12.0])}  # 11 ± 1.41
    found = compare(committed, {"x": result(perplexity__a=own)})
    assert f"Of those that differ, {within} do so within" in found.summary()


def test_another_processor_is_named():
    values = result(perplexity__a=[10.0]), result(perplexity__a=[10.5])
    old, new = {"cpu": "A", "vectors": "AVX512"}, {"cpu": "A", "vectors": "AVX2"}
    committed, own = (
        {"x": v | {"environment": e}} for v, e in zip(values, (old, new), strict=True)
    )
    assert "Committed on A (AVX512), run on A (AVX2)" in compare(committed, own).summary()
    assert "Committed on" not in compare(own, own).summary()
    without = {"x": values[0] | {"environment": {"cpu": "A"}}}
    assert "on A (vectors not recorded), run on A (AVX2)" in compare(without, own).summary()
    own["x"]["environment"] = old
    assert compare(committed, own).processors is None


def test_the_same_mean_of_other_seeds_is_a_difference():
    committed = {"x": result(perplexity__a=[10.0, 12.0], perplexity__b=[5.0, 5.0])}
    own = {"x": result(perplexity__a=[12.0, 10.0], perplexity__b=[5.0])}
    assert len(compare(committed, own).differing) == 2


def test_times_and_memory_are_not_compared():
    committed = {"x": result(seconds__a=[1.0], memory__a=[4.0], bytes__a=[8.0])}
    found = compare(committed, {"x": result(seconds__a=[2.0], memory__a=[5.0], bytes__a=[8.0])})
    assert [pair.name for pair in found.costs] == ["seconds.a", "memory.a"]
    assert found.summary().startswith("1 of 1 measures are the same")
    latency = {"measures": {"latency.a": results.measure([3.0], "ms per recommendation")}}
    assert len(compare({"x": latency}, {"x": latency}).costs) == 1


def test_what_one_side_lacks_is_named():
    committed = {"x": result(perplexity__a=[1.0]), "not_run": result(perplexity__a=[1.0])}
    own = {"x": result(perplexity__b=[2.0]), "new": result(perplexity__a=[1.0])}
    found = compare(committed, own)
    assert [str(pair) for pair in found.differing] == [
        "x: perplexity.b, committed none, own 2",
        "x: perplexity.a, committed 1, own none",
    ]
    assert found.summary(most=1).splitlines()[1:] == [
        "Of those that differ, 0 do so within the spread over seeds.",
        "  x: perplexity.b, committed none, own 2",
        "  and 1 more, which the report lists",
        "Committed nowhere yet: new.",
    ]
    assert compare({}, own).summary().startswith("0 of 0 measures are the same")
    assert compare({}, {}).same == ()


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setattr(results, "ROOT", tmp_path)
    monkeypatch.setattr(results, "RESULTS", tmp_path / "results")
    return tmp_path


def add_run(factor=1.0, better="topic_lla"):
    """Save the headline's result in the run of `small`."""
    values = {key: [factor * x for x in seeds] for key, seeds in PERPLEXITIES.items()}
    values["topic_lla"] = values[better]
    return results.save_result(
        "small",
        "joint_vs_independent",
        config={},
        seeds=[1, 2],
        measures={f"perplexity.{k}": results.measure(v, "perplexity") for k, v in values.items()},
        claims=[],
        corpus="0123456789abcdef" * 4,
        seconds=600,
        extra={"particles": [1, 64]},
    )


def commit(path):
    """Make a run's result the committed one."""
    path.rename(results.profile_dir("small") / path.name)


def cells(text, start):
    line = next(line for line in text.splitlines() if line.startswith(f"| {start}"))
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_a_run_ends_with_every_claim_s_verdict_and_what_differs(root):
    commit(add_run())
    add_run()
    text = run_page.closing_table("small")
    claim, paper, ours, verdict = cells(text, "Table 4, Wikipedia")
    assert claim == "Table 4, Wikipedia: topic LLA below independent topic LLA, text"
    assert paper == "2119 -> 1785 (-15.8%)"
    assert re.fullmatch(r"2,140 → 1,982 \(−7\.4% \[−\d\.\d, −\d\.\d\]\), 2 seeds alone", ours)
    assert verdict == "holds"
    table = text.split("\n\n")[0].splitlines()
    assert len({len(line) for line in table}) == 1, "columns are not aligned"
    assert "2 of 2 measures are the same as the committed ones to the last digit" in text
    add_run(1.1, better="independent")
    text = run_page.closing_table("small")
    assert cells(text, "Table 4, Wiki")[3] == "undecided (committed: holds)"
    assert "0 of 2 measures are the same" in text and "2 differ" in text
    assert "perplexity.topic_lla, committed 1,982 ± 11, own 2,354 ± 8" in text


def test_the_report_shows_committed_and_own_numbers_side_by_side(root):
    commit(add_run())
    add_run(1.1)
    copy = root / "results" / "small" / "run" / "notebooks" / "04_joint_vs_independent.ipynb"
    copy.parent.mkdir()
    copy.touch()
    before = {path: path.read_bytes() for path in (root / "results" / "small").glob("*.*")}
    path = run_page.write("small")
    assert path == root / "results" / "small" / "run" / "REPORT.md"
    text = path.read_text(encoding="utf-8")
    paper, committed, first, own, second = cells(text, "Table 4, Wikipedia")[1:]
    assert paper == "2119 -> 1785 (-15.8%)"
    assert committed.startswith("2,140 → 1,982") and own.startswith("2,354 → 2,181")
    assert first == second == "holds"
    all_measures = text.split("## All measures")[1]
    assert "| perplexity.topic_lla | 1,982 ± 11 | 2,181 ± 12 |" in all_measures
    assert "10 min, " in cells(text.split("## Time and memory")[1], "joint")[1]
    for link in re.findall(r"\]\(([^)]+)\)", text):
        assert (path.parent / link).is_file(), link
    rows = list(csv.DictReader(path.with_name("measures.csv").read_text().splitlines()))
    assert [row["model"] for row in rows] == ["topic_lla", "independent"]
    assert before == {file: file.read_bytes() for file in before}, "committed results are read only"


def test_claims_of_a_run_rest_on_the_scores_of_its_own_results(root, capsys):
    commit(add_run())
    split, seeds = sticky_split(4, 40, 60, 30)[0], [1, 2]
    rng, n = np.random.default_rng(0), split.n_held_out
    worse = [-n * rng.normal(5, 0.1, len(n)) for _ in seeds]
    found = {"independent": worse, "topic_lla": [row + 0.05 * n for row in worse]}
    scores = scores_of(split, seeds, found)
    results.publish(
        "joint_vs_independent",
        "small",
        config={},
        seeds=seeds,
        measures={name: scores.values(name).tolist() for name in scores.sums},
        corpus=split.corpus,
        seconds=1.0,
        scores=scores,
    )
    evidence = f"{scores.n_documents('perplexity.topic_lla')} documents, 2 seeds"
    assert evidence in capsys.readouterr().out
    ours = cells(run_page.closing_table("small"), "Table 4, Wikipedia")[2]
    assert "(−4.9%" in ours and ours.endswith(f", {evidence}")
    text = run_page.write("small").read_text(encoding="utf-8")
    committed, _, own, _ = cells(text, "Table 4, Wikipedia")[2:]
    assert committed.endswith("2 seeds alone") and own == ours
    # Without scores of its own a result does not borrow the committed ones.
    run, there = results.run_dir("small"), results.profile_dir("small")
    for suffix in (".json", ".safetensors"):
        (run / f"joint_vs_independent{suffix}").replace(there / f"joint_vs_independent{suffix}")
    add_run()
    text = run_page.write("small").read_text(encoding="utf-8")
    committed, _, own, _ = cells(text, "Table 4, Wikipedia")[2:]
    assert committed == ours and own.endswith("2 seeds alone")


def test_a_run_of_what_is_not_committed_is_shown_alone(root):
    add_run()
    text = run_page.write("small").read_text(encoding="utf-8")
    assert cells(text, "Table 4, Wikipedia")[2:4] == ["–", "–"]
    assert "Committed nowhere yet: joint_vs_independent." in run_page.closing_table("small")
    with pytest.raises(InputError, match="run `make reproduce PROFILE=medium`"):
        run_page.closing_table("medium")
    with pytest.raises(InputError, match="'huge' does not exist"):
        run_page.closing_table("huge")
