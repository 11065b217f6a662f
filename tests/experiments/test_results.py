"""Result files say where they come from; a notebook's bookkeeping is one call."""

import json
import math
from importlib.metadata import version
from xml.etree import ElementTree

import numpy as np
import pytest

from experiments import results
from experiments.claims import compare
from lla.common.errors import InputError
from lla.common.files import write_json


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(results, "ROOT", tmp_path)
    monkeypatch.setattr(results, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(results, "NOTEBOOKS", tmp_path / "notebooks")
    (tmp_path / "notebooks").mkdir()
    for name in ("02_joint", "10_users"):
        (tmp_path / "notebooks" / f"{name}.ipynb").touch()
    return tmp_path / "results"


def assert_one_line(caught, *parts):
    message = str(caught.value)
    assert "\n" not in message
    for part in parts:
        assert str(part) in message


def test_measure_is_mean_and_sample_deviation():
    three = results.measure([1.0, 2.0, 6.0], "perplexity")
    assert three["value"] == 3.0
    assert three["spread"] == pytest.approx(math.sqrt(7))
    assert (three["n_seeds"], three["unit"], three["values"]) == (3, "perplexity", [1.0, 2.0, 6.0])
    assert results.measure(np.array([5]), "s")["spread"] == 0.0
    for bad in ([], [1.0, math.nan], [math.inf]):
        with pytest.raises(ValueError, match="at least one value"):
            results.measure(bad, "perplexity")


def save(**changes):
    options = {
        "config": {"n_topics": 20},
        "seeds": np.arange(3),
        "measures": {"perplexity.lda": results.measure([3.0, 4.0], "perplexity")},
        "claims": [],
        "corpus": "f1n6e7",
        "seconds": 12.34,
    }
    return results.save_result("small", "joint", **(options | changes))


def test_a_result_records_its_provenance(folder, monkeypatch):
    monkeypatch.setenv("LLA_THREADS", "3")
    (folder.parent / "requirements.lock").write_text("numpy==2\n")
    path = save(extra={"curve": np.arange(2)})
    assert path == folder / "small" / "run" / "joint.json"
    result = results.load_result("small", "joint")
    assert result == json.loads(path.read_text())
    assert list(result) == [
        "config", "seeds", "measures", "claims", "environment", "seconds", "peak_memory", "extra"
    ]  # fmt: skip
    assert result["seeds"] == [0, 1, 2]
    assert result["extra"] == {"curve": [0, 1]}
    around = result["environment"]
    assert around["corpus"] == "f1n6e7"
    assert around["threads"] == 3
    assert around["packages"]["torch"] == version("torch")
    assert around["cpu"] and around["cores"] >= 1 and len(around["lock"]) == 64
    # Any Python with Torch in it holds more than 30 MB; a wrong unit would be off by 1024.
    assert 30e6 < result["peak_memory"] < 1e12


def test_equal_measurements_give_equal_bytes_except_memory(folder):
    def without_memory():
        result = json.loads(save().read_text())
        del result["peak_memory"]
        return result

    assert without_memory() == without_memory()


def test_an_incomplete_result_is_refused(folder):
    with pytest.raises(ValueError, match=r"perplexity\.lda: n_seeds, spread, unit missing"):
        save(measures={"perplexity.lda": {"value": 1.0}})
    with pytest.raises(ValueError, match="not JSON compliant"):
        save(seconds=math.nan)
    assert not folder.exists()


def test_a_missing_result_names_the_notebook_to_run(folder):
    with pytest.raises(results.NotRunYet) as caught:
        results.load_result("medium", "joint")
    assert_one_line(
        caught,
        "results/medium/run/joint.json is missing: run notebooks/02_joint.ipynb first",
        "make reproduce PROFILE=medium ONLY=02",
    )
    assert caught.value._render_traceback_() == [str(caught.value)]  # what Jupyter shows
    with pytest.raises(results.NotRunYet, match=r"run notebooks/10_users\.ipynb first"):
        results.load_result("smoke", "users_clicks")
    with pytest.raises(InputError) as caught:
        results.load_result("huge", "joint")
    assert_one_line(caught, "'huge'")


def test_a_missing_predecessor_is_named(folder):
    corpus = folder / "smoke" / "run" / "work" / "corpus"
    with pytest.raises(results.NotRunYet) as caught:
        results.require("smoke", "corpus", "01_data_prep")
    missing = f"{corpus.relative_to(folder).as_posix()} is missing"
    assert_one_line(caught, missing, "notebooks/01_data_prep.ipynb first")
    corpus.mkdir(parents=True)
    assert results.require("smoke", "corpus", "01_data_prep") == corpus


def publish(**changes):
    measures = {
        "perplexity.topic_lla": [1900.0, 1910.0],
        "perplexity.independent": [2100.0, 2120.0],
        "iterations": results.measure([3, 4], "iterations"),
    }
    options = {"config": {}, "seeds": [1, 2], "measures": measures, "corpus": "f1n6e7"}
    options |= {"seconds": 1.0, "name": "joint_vs_independent", "profile": "small"}
    return results.publish(**(options | changes))


def test_one_call_judges_the_paper_s_claims_saves_and_prints(folder, capsys):
    (claim,) = publish()
    assert claim.name.startswith("table-4-wikipedia") and claim.verdict == "holds"
    assert claim.paper == "2119 -> 1785 (-15.8%)"
    saved = results.load_result("small", "joint_vs_independent")
    assert saved["claims"][0]["verdict"] == "holds"
    assert saved["measures"]["perplexity.topic_lla"]["unit"] == "perplexity"
    assert saved["measures"]["iterations"]["value"] == 3.5
    out = capsys.readouterr().out
    assert out == f"{claim}\nsaved results/small/run/joint_vs_independent.json\n"


def test_publish_accepts_several_claims_and_figures(folder):
    from matplotlib import pyplot as plt

    own = compare("own", "ours", "", [1.0, 1.0], [2.0, 2.0], unit="x")
    axes = plt.subplots(1, 2)[1]
    publish(claims=[own], figure=axes)
    (folder / "small" / "run" / "joint_vs_independent.png").unlink()
    claims = publish(claims=[own], figure={"": axes[0].figure, "extra": axes[0]})
    assert claims[-1] is own and str(own).endswith("(-50.0%, 2 seeds) -> holds")
    assert sorted(path.name for path in folder.glob("small/run/*.png")) == [
        "joint_vs_independent.png",
        "joint_vs_independent_extra.png",
    ]
    for place, kind in ((".", "png"), ("svg", "svg")):
        file = folder / "small" / "run" / place / f"joint_vs_independent.{kind}"
        publish(figure=axes)
        first = file.read_bytes()
        publish(figure=axes)
        assert file.read_bytes() == first
    plt.close("all")


def test_the_svg_of_a_figure_keeps_its_lines_and_is_none_of_the_results(folder):
    from matplotlib import pyplot as plt

    ax = plt.subplots()[1]
    ax.plot([1, 2, 3], gid="curve")
    publish(figure=ax)
    drawn = ElementTree.parse(folder / "small" / "run" / "svg" / "joint_vs_independent.svg")
    assert drawn.getroot().tag == "{http://www.w3.org/2000/svg}svg"
    assert [element.get("id") for element in drawn.iter()].count("curve") == 1
    beside = sorted(file.suffix for file in folder.glob("small/run/joint_vs_independent.*"))
    assert beside == [".json", ".png"]
    plt.close("all")


def test_a_claim_may_compare_with_another_result(folder):
    publish()
    clicks = {"perplexity.topic_lla": [80.0, 81.0], "perplexity.independent": [100.0, 100.0]}
    claims = publish(name="user_modeling_clicks", measures=clicks)
    assert [claim.name.split(":")[0] for claim in claims] == ["table-4-clicks", "section-4.4"]
    assert claims[1].verdict == "holds"


def test_a_run_neither_reads_nor_replaces_committed_results(folder):
    committed = folder / "small" / "joint.json"
    write_json(committed, {"seeds": [7]})
    with pytest.raises(results.NotRunYet, match=r"results/small/run/joint\.json is missing"):
        results.load_result("small", "joint")
    assert results.committed_result("joint") == ("small", {"seeds": [7]})
    save()
    assert results.load_result("small", "joint")["seeds"] == [0, 1, 2]
    assert results.committed_result("joint") == ("small", {"seeds": [7]})
    # A result that is committed nowhere is a run's.
    committed.unlink()
    assert results.committed_result("joint")[1]["seeds"] == [0, 1, 2]
    with pytest.raises(results.NotRunYet, match=r"results/smoke/run/users\.json is missing"):
        results.committed_result("users")
