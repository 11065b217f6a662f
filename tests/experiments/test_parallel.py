"""Fits side by side: the numbers of the same fits alone, whatever they start from."""

import numpy as np
import pytest
from simulated import sticky_split

import lla
from experiments import study
from experiments.studies import parallel

LDA = {"n_topics": 4, "beta": 0.1, "n_sweeps": 30}
TINY = {"embedding_size": 4, "hidden_size": 5, "n_iterations": 2, "beta": 0.1}


@pytest.fixture(scope="module")
def split():
    return sticky_split(4, 40, 40, 30)[0]


@pytest.fixture(scope="module")
def ldas(split, tmp_path_factory):
    folder = tmp_path_factory.mktemp("ldas")
    files = [folder / f"lda-{seed}.safetensors" for seed in (1, 2)]
    config = lla.LDAConfig(**LDA)
    return parallel.fit_seeds(lla.fit_lda, split, config, [1, 2], files, name="LDA")


def test_fits_of_several_seeds_are_those_of_each_alone(split, ldas, tmp_path):
    config = lla.SEMConfig(n_topics=4, **TINY)
    files = [tmp_path / f"{seed}.safetensors" for seed in (1, 2)]
    models = parallel.fit_seeds(lla.fit_sem, split, config, [1, 2], files, starts=ldas)
    for seed, start, model in zip((1, 2), ldas, models, strict=True):
        alone = lla.fit_sem(split, config, seed, start=start.topics)
        assert model.fingerprint() == alone.fingerprint()
    scores = parallel.particle_scores(split, {"joint": models}, [1, 2], [3, 1], tmp_path)
    assert list(scores["joint"]) == [1, 3]
    assert np.array_equal(scores["joint"][3][1], models[1].score(split, seed=2, n_particles=3))


def test_a_comparison_on_text_has_lda_both_ways_and_no_ranks(split, ldas, tmp_path):
    models = {"independent": TINY | {"joint": False}, "few": TINY}
    found = parallel.compare_models(split, LDA, models, [1], tmp_path, 2, particles_of={"few": 1})
    assert set(found) == {
        *("unigram", "cache_unigram", "bigram", "lda", "lda_online", "independent", "few")
    }
    assert all(run.ranking is None for (run,) in found.values())
    frozen = ldas[0].score(split, seed=1, update=False)
    assert np.array_equal(found["lda"][0].scores, frozen)
    assert found["lda_online"][0].perplexity < found["lda"][0].perplexity
    alone = study.run(split, "few", TINY, 1, tmp_path / "own", start=ldas[0], n_particles=1)
    assert np.array_equal(found["few"][0].scores, alone.scores)


def test_a_comparison_starts_from_the_ldas_it_is_given(split, ldas, tmp_path):
    models = {"model": TINY, "other K": TINY | {"lda": LDA | {"n_topics": 3}}}
    given = parallel.compare_models(split, ldas, models, [1, 2], tmp_path / "given", 1)
    made = parallel.compare_models(split, LDA, models, [1, 2], tmp_path / "made", 1)
    for name in given:
        for one, other in zip(given[name], made[name], strict=True):
            assert np.array_equal(one.scores, other.scores), name
    assert not list((tmp_path / "given").glob("lda-*-1.safetensors"))[1:], "only that of K = 3"


def test_lda_may_be_among_the_models_at_other_numbers_of_topics(split, tmp_path):
    models = {f"lda_online@{k}": LDA | {"n_topics": k} for k in (2, 4)}
    found = parallel.compare_models(split, LDA, models, [1], tmp_path, 1)
    assert np.array_equal(found["lda_online@4"][0].scores, found["lda_online"][0].scores)
    assert not np.array_equal(found["lda_online@2"][0].scores, found["lda_online"][0].scores)


def test_the_learning_curve_scores_the_same_words_at_every_size(split, tmp_path, monkeypatch):
    counted = []
    real = parallel.perplexity

    def look(scores, of, documents):
        counted.append((of.corpus.n_documents, documents.tobytes()))
        return real(scores, of, documents)

    models = {"word_lla": TINY | {"model": "word_lla"}}
    monkeypatch.setattr(parallel, "perplexity", look)
    found = parallel.learning_curve(split, (0.5, 1.0), LDA, models, [1, 2], tmp_path, 1)
    wanted = (split.corpus.n_documents, (study.part_of(split, 0.5) & split.reported).tobytes())
    assert counted == [wanted] * 8  # two sizes, two models, two seeds
    sizes = {n for _, n in found}
    assert max(sizes) == split.corpus.n_documents
    assert set(found) == {(name, n) for name in ("lda_online", "word_lla") for n in sizes}
    assert all(len(values) == 2 for values in found.values())


def test_a_second_learning_curve_trains_nothing(split, tmp_path):
    """Nor a model without topics, whose settings are the same on every part."""

    def curve():
        models = {"word_lstm": TINY | {"model": "word_lstm"}}
        return parallel.learning_curve(split, (0.5, 1.0), LDA, models, [1], tmp_path, 1)

    first = curve()
    fits = {f: f.stat().st_mtime_ns for f in tmp_path.rglob("*.safetensors")}
    assert len(fits) == 6  # two sizes of LDA, LSTM, and the LSTM's scores
    assert curve() == first
    assert fits == {f: f.stat().st_mtime_ns for f in tmp_path.rglob("*.safetensors")}
