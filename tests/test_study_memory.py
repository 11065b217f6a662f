"""Peak memory: what a fit adds to what the process holds, of every model by the same rule."""

from time import sleep

import numpy as np
import pytest
from simulated import sticky_split

from lla import study, study_memory
from lla.lda import LDAConfig, fit_lda
from lla.sem_config import SEMConfig
from lla.study_memory import memory_of_models, peak_memory_of

MEGABYTE = 2**20
TINY = {"embedding_size": 4, "hidden_size": 5, "n_iterations": 2, "beta": 0.1}


@pytest.fixture(scope="module")
def split():
    return sticky_split(4, 40, 40, 30)[0]


@pytest.fixture(scope="module")
def lda(split):
    return fit_lda(split.observed, LDAConfig(n_topics=4, beta=0.1, n_sweeps=3), 1)


def test_it_is_what_a_fit_adds():
    kept = np.ones(10 * MEGABYTE // 8)

    def fit():
        passing = np.ones(240 * MEGABYTE // 8)
        return passing.sum()

    assert 238 * MEGABYTE < peak_memory_of(fit) < 260 * MEGABYTE
    assert kept.all()


def test_what_lies_free_is_not_taken_for_nothing():
    """Small pieces freed stay with the C library, where the next fit would find them unseen."""

    def fit():
        return [bytes(1000) for _ in range(60_000)]

    assert min(peak_memory_of(fit) for _ in range(3)) > 50 * MEGABYTE


def test_an_error_of_the_fit_comes_through():
    def fit():
        raise ValueError("no fit")

    with pytest.raises(ValueError, match="no fit"):
        peak_memory_of(fit)


def test_every_model_is_begun_anew_once(split, lda, tmp_path, monkeypatch):
    """One pass each, 30 MB wider than it is; what is kept is not measured again."""
    ran = []

    def watched(name, fit):
        def more(*given, **options):
            held, result = np.ones(30 * MEGABYTE // 8), fit(*given, **options)
            sleep(0.05)  # looked at now and then, not always
            assert held.all()
            ran.append((name, given))
            return result

        return more

    for room, name in (
        (study_memory, "fit_lda"),
        (study_memory, "fit_sem"),
        (study_memory.ddlda, "fit_ddlda"),
        (study_memory.autoencoder, "fit_autoencoder"),
        (study_memory.bigram, "fit_bigram"),
    ):
        monkeypatch.setattr(room, name, watched(name, getattr(room, name)))
    models = {
        "ddlda": {"n_sweeps": 5, "scale": 4.0},
        "autoencoder": {"n_epochs": 3},
        "topic_lla": SEMConfig.flat(n_topics=4, **TINY).options(),
        "word_lla": TINY | {"model": "word_lla"},
        "word_lstm": TINY | {"model": "word_lstm"},
    }
    found = memory_of_models(split, lda, models, 1, tmp_path)
    counts = {"unigram", "cache_unigram", "bigram"}
    assert found.keys() == models.keys() | counts | {"lda", "lda_updated"}
    assert min(of for name, of in found.items() if name not in counts) > 25 * MEGABYTE
    assert found["bigram"] > 25 * MEGABYTE > found["unigram"] >= 0
    names = [name for name, _ in ran]
    assert names == [
        *("fit_bigram", "fit_lda", "fit_ddlda", "fit_autoencoder", "fit_sem", "fit_sem", "fit_sem")
    ]
    configs = {name: given[1] for name, given in ran if name in ("fit_lda", "fit_ddlda")}
    assert {config.n_sweeps for config in configs.values()} == {1}
    assert {given[2].n_iterations for name, given in ran if name == "fit_sem"} == {1}
    assert memory_of_models(split, lda, models, 1, tmp_path) == found
    assert len(ran) == len(names), "measured twice"


def test_a_fit_begins_where_its_settings_say(split, lda, tmp_path, monkeypatch):
    """Topics moved by ddLDA first: the same as in `study.model_of`."""
    begun = []
    monkeypatch.setattr(study_memory, "fit_sem", lambda split, topics, *rest: begun.append(topics))
    near = {"n_sweeps": 4, "scale": 3.0}
    given = {"plain": TINY, "near": TINY | {"ddlda": near, "hidden_size": 6}}
    memory_of_models(split, lda, given, 1, tmp_path)
    assert np.array_equal(begun[0], lda.topics)
    assert np.array_equal(begun[1], study.ddlda_of(split, lda, near, 1, tmp_path)[0].topics)
    assert not np.array_equal(begun[0], begun[1])
