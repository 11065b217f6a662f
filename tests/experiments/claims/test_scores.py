"""Per-document values: what is saved beside a result, and that verdicts rest on it."""

import numpy as np
import pytest
from simulated import sticky_split

from experiments import claims, results
from experiments.claims import Row, compare_measures, read_scores, scores_of, write_scores
from lla.common.errors import InputError
from lla.common.files import save_tensors
from lla.evaluate.perplexity import perplexity

SEEDS = (1, 2, 3)


@pytest.fixture(scope="module")
def split():
    return sticky_split(4, 40, 60, 30)[0]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(results, "ROOT", tmp_path)
    monkeypatch.setattr(results, "RESULTS", tmp_path / "results")
    return tmp_path / "results"


def found_scores(split, gain=0.05, seed=0):
    """Scores (D,) per seed of four models: the difference of the first two is `gain` per word."""
    rng, n = np.random.default_rng(seed), split.n_held_out
    difficulty = rng.normal(5, 1, len(n))
    luck = rng.normal(0, 0.01, len(SEEDS))
    noise = rng.normal(0, 0.03, (len(SEEDS), len(n)))
    independent = [-n * (difficulty + x) for x in luck]
    joint = [x + n * (gain + e) for x, e in zip(independent, noise, strict=True)]
    unigram = [-n * (difficulty + 1)] * len(SEEDS)
    return {"topic_lla": joint, "independent": independent, "unigram": unigram, "lda": unigram}


def measured(split, found):
    return {
        f"perplexity.{name}": results.measure(
            [perplexity(row, split, split.reported) for row in rows], "perplexity"
        )
        for name, rows in found.items()
    }


def test_measures_follow_from_scores(split):
    found = found_scores(split)
    scores = scores_of(split, SEEDS, found)
    for name, measure in measured(split, found).items():
        assert scores.values(name) == pytest.approx(measure["values"], rel=1e-6)
        assert scores.resampled(name).shape == (2000, 3)
        assert scores.resampled(name).mean(axis=0) == pytest.approx(measure["values"], rel=0.1)
    assert len(scores.sums["perplexity.unigram"]) == 1, "a model that draws nothing has one seed"
    assert np.array_equal(scores.documents, np.flatnonzero(split.reported))


def test_scores_are_read_back_as_they_were(split, tmp_path):
    found = found_scores(split)
    scores = scores_of(split, SEEDS, found, unit="users", counts={"novel": split.n_held_out // 2})
    write_scores(tmp_path / "here.safetensors", scores)
    again = read_scores(tmp_path / "here.json", {"measures": measured(split, found)})
    assert (again.seeds, again.unit, again.corpus) == (SEEDS, "users", split.corpus.fingerprint)
    assert again.counts.keys() == scores.counts.keys() and again.sums.keys() == scores.sums.keys()
    for name, rows in scores.sums.items():
        assert np.array_equal(again.sums[name], rows)
        assert np.array_equal(again.resampled(name), scores.resampled(name))


def test_scores_of_another_run_are_refused(split, tmp_path):
    found = found_scores(split)
    write_scores(tmp_path / "here.safetensors", scores_of(split, SEEDS, found))
    other = {"measures": measured(split, found_scores(split, seed=1))}
    for result in (other, {"measures": {}}):
        with pytest.raises(InputError, match=r"here\.safetensors: perplexity\.\w+ is .*run the"):
            read_scores(tmp_path / "here.json", result)
    save_tensors(tmp_path / "here.safetensors", {"a": np.ones(2)}, {"kind": "fit"})
    with pytest.raises(InputError, match="not scores of a result"):
        read_scores(tmp_path / "here.json", other)
    assert read_scores(tmp_path / "elsewhere.json", other) is None


def judged(split, found, lower="perplexity.topic_lla", higher="perplexity.independent", **options):
    result = {"measures": measured(split, found), "scores": scores_of(split, SEEDS, found)}
    return compare_measures(
        "name", "states", lower, higher, result="here", results={"here": result}, **options
    )


def test_a_verdict_rests_on_documents_and_seeds_where_it_can(split):
    found, n = found_scores(split), int(split.reported.sum())
    claim = judged(split, found)
    assert claim.verdict == "holds" and claim.evidence == f"{n} documents, 3 seeds"
    assert claim.low < claim.measured < claim.high
    assert claim.measured == pytest.approx(1 - np.exp(-0.05), abs=0.02)
    assert claim == judged(split, found), "the same every time"
    assert judged(split, found, "perplexity.independent", "perplexity.topic_lla").verdict == (
        "does not hold"
    )
    assert judged(split, found, times=0.5).verdict == "does not hold"
    assert judged(split, found, margin=0.5).verdict == "undecided"
    equal = judged(split, found, "perplexity.unigram", "perplexity.lda")
    assert (equal.verdict, equal.low, equal.high) == ("undecided", 0, 0)


def test_a_measure_without_scores_is_judged_over_seeds_alone(split):
    found = found_scores(split)
    result = {"measures": measured(split, found)}
    claim = compare_measures(
        "name",
        "states",
        "perplexity.topic_lla",
        "perplexity.independent",
        result="here",
        results={"here": result | {"scores": scores_of(split, SEEDS, found).only(["x"])}},
    )
    assert claim.evidence == "3 seeds alone" and "3 seeds alone" in str(claim)
    assert judged(split, found, "perplexity.nobody") is None


def test_results_on_two_corpora_are_compared_with_documents_of_both(split):
    other = sticky_split(5, 40, 50, 30)[0]
    found = {
        "here": found_scores(split, gain=0.3),
        "there": found_scores(other, gain=0.05),
    }
    splits = {"here": split, "there": other}
    given = {
        name: {
            "measures": measured(splits[name], of),
            "scores": scores_of(
                splits[name], SEEDS, of, unit="users" if name == "here" else "documents"
            ),
        }
        for name, of in found.items()
    }
    ratio = "perplexity.topic_lla / perplexity.independent"
    there = " / ".join(f"there:{part}" for part in ratio.split(" / "))
    row = Row(
        "id", "states", "01_here", results=("here",), checks=({"lower": ratio, "higher": there},)
    )
    ((judged),) = claims.judge(row, given)
    assert judged.claim.verdict == "holds"
    n_users, n_documents = int(split.reported.sum()), int(other.reported.sum())
    assert judged.claim.evidence == f"{n_users} users, {n_documents} documents, 3 seeds"


def test_a_metric_is_a_mean_over_the_words_it_counts(split):
    """NDCG of novel items: their sum per user, over their number."""
    rng = np.random.default_rng(1)
    novel = rng.integers(0, 3, len(split.n_held_out))
    ndcg = [novel * rng.uniform(0, 1, len(novel)) for _ in SEEDS]
    name = "ndcg@10.personal_lla.novel"
    scores = scores_of(split, SEEDS, {name: ndcg}, counts={"novel": novel})
    kept = split.reported
    assert scores.values(name) == pytest.approx([x[kept].sum() / novel[kept].sum() for x in ndcg])
    assert scores.n_documents(name) == (novel[kept] > 0).sum()


def test_many_documents_are_kept_as_sums_over_groups(split, monkeypatch):
    """The measures stay what they are, and so does the width of an interval."""
    found = found_scores(split)
    (whole,), groups = (judged(split, found),), 20
    monkeypatch.setattr(claims.scores, "MAX_GROUPS", groups)
    scores, grouped = scores_of(split, SEEDS, found), judged(split, found)
    assert scores.counts["all"].shape == (groups,) and scores.n_documents("perplexity.lda") == 54
    kept = np.flatnonzero(split.reported)[3::groups]
    assert scores.counts["all"][3] == split.n_held_out[kept].sum()
    assert grouped.measured == pytest.approx(whole.measured, abs=1e-6)
    assert grouped.evidence == whole.evidence
    assert grouped.high - grouped.low == pytest.approx(whole.high - whole.low, rel=0.3)


def test_publishing_saves_what_claims_compare_and_removes_what_is_stale(split, folder, capsys):
    found = found_scores(split)
    options = {
        "config": {},
        "seeds": SEEDS,
        "measures": measured(split, found),
        "corpus": split.corpus,
        "seconds": 1.0,
    }
    (first, *_) = results.publish(
        "joint_vs_independent", "small", scores=scores_of(split, SEEDS, found), **options
    )
    assert (
        "documents, 3 seeds" in first.evidence and "documents, 3 seeds" in capsys.readouterr().out
    )
    path = folder / "small" / "run" / "joint_vs_independent.safetensors"
    saved = results.with_scores(path.with_suffix(".json"), {"measures": options["measures"]})
    assert saved["scores"].sums.keys() == {
        f"perplexity.{name}" for name in ("topic_lla", "independent", "lda")
    }, "the unigram is in no claim of this notebook"
    again = results.publish("joint_vs_independent", "small", **options)
    assert again[0].evidence == "3 seeds alone" and not path.exists()
