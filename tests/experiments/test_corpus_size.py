"""Models on more and more documents: the same fits as alone, scored on the same words."""

import numpy as np
import pytest
from simulated import sticky_split

from experiments import study
from experiments.studies.corpus_size import scores_by_size
from lla.common.errors import InputError

LDA = {"n_topics": 4, "beta": 0.1, "n_sweeps": 30}
TINY = {"embedding_size": 4, "hidden_size": 5, "beta": 0.1}
SHARES = (0.5, 1.0)


@pytest.fixture(scope="module")
def split():
    return sticky_split(4, 40, 40, 30)[0]


@pytest.fixture(scope="module")
def scored(split):
    return study.part_of(split, 0.5) & split.reported


@pytest.fixture
def run(split, scored, tmp_path):
    def _run(iterations=(3, 2)):
        options = {"lda": LDA, "models": {"topic_lla": TINY}, "cache_dir": tmp_path / "run"}
        options |= {"seeds": [1, 2], "n_particles": 2, "iterations": iterations}
        return scores_by_size(split, scored, shares=SHARES, **options)

    return _run


def test_every_size_has_every_model_and_is_scored_on_the_same_documents(run, split, scored):
    found = run()
    counts = [int(study.part_of(split, share).sum()) for share in SHARES]
    assert set(found) == {
        f"{name}@documents={n}" for name in ("lda_online", "topic_lla") for n in counts
    }
    for of_seeds in found.values():
        assert len(of_seeds) == 2
        for run in of_seeds:
            assert (run.scores[scored] < 0).all() and not run.scores[~scored].any()
            assert run.seconds > 0


def test_the_fits_are_those_of_each_part_alone(run, split, scored, tmp_path):
    found = run()
    for share, n_iterations in zip(SHARES, (3, 2), strict=True):
        chosen = study.part_of(split, share)
        part, name = split.restrict(chosen), f"documents={chosen.sum()}"
        lda = study.fit(part, "lda", LDA, 2, tmp_path / name)
        wanted = lda.score(part, seed=2)
        ours = found[f"lda_online@{name}"][1].scores[chosen]
        assert np.allclose(ours[scored[chosen]], wanted[scored[chosen]], rtol=0.02)
        settings = TINY | {"n_iterations": n_iterations}
        model = study.fit(part, "topic_lla", settings, 2, tmp_path / name, start=lda)
        wanted = model.score(part.restrict(scored[chosen]), seed=2, n_particles=2)
        ours = found[f"topic_lla@{name}"][1].scores
        assert np.array_equal(ours[scored], wanted)


def test_a_second_run_reads_back_what_the_first_has_left(run, tmp_path):
    first = run()
    files = {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*.safetensors")}
    again = run()
    for name, of_seeds in first.items():
        for one, other in zip(of_seeds, again[name], strict=True):
            assert np.array_equal(one.scores, other.scores) and one.seconds == other.seconds
    assert files == {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*.safetensors")}


def test_sizes_without_a_number_of_iterations_are_refused(run):
    with pytest.raises(InputError, match=r"iterations is \[3\]: give one for each of \[0.5, 1.0\]"):
        run(iterations=(3,))
