"""Peak memory: what a fit adds to what the process holds, of every model by the same rule."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from simulated import sticky_split

from experiments import study
from experiments.studies import memory
from experiments.studies.memory import memory_of_models, one_iteration_each, peak_memory_of
from lla.lda import LDAConfig, fit_lda
from lla.sem import SEMConfig

ROOT = Path(__file__).parents[2]
MEGABYTE = 2**20
TINY = {"embedding_size": 4, "hidden_size": 5, "n_iterations": 2, "beta": 0.1}
COUNTS = {"unigram", "cache_unigram", "bigram"}
MODELS = {
    "ddlda": {"n_sweeps": 5, "scale": 4.0},
    "autoencoder": {"n_epochs": 3},
    "topic_lla": vars(SEMConfig(n_topics=4, **TINY)),
    "word_lla": TINY | {"model": "word_lla"},
    "word_lstm": TINY | {"model": "word_lstm"},
}


@pytest.fixture(scope="module")
def split():
    return sticky_split(4, 40, 40, 30)[0]


@pytest.fixture(scope="module")
def lda(split):
    return fit_lda(split, LDAConfig(n_topics=4, beta=0.1, n_sweeps=3), 1)


def test_peak_memory_is_the_increase_during_the_fit():
    kept = np.ones(10 * MEGABYTE // 8)

    def fit():
        passing = np.ones(240 * MEGABYTE // 8)
        return passing.sum()

    assert 238 * MEGABYTE < peak_memory_of(fit) < 260 * MEGABYTE
    assert kept.all()


FREED_BEFORE = """
from experiments.studies.memory import peak_memory_of

kept = []

def fit():
    pieces = [bytes(1000) for _ in range(60_000)]
    kept.append(bytes(1000))  # behind them, so that the C library gives none of them back itself
    return pieces

print(min(peak_memory_of(fit) for _ in range(3)))
"""


def test_memory_freed_before_the_fit_is_not_subtracted():
    """Small pieces freed stay with the C library, where the next fit would find them unseen.

    In a fresh process, as models are measured: one that has run many tests has gaps in its pages.
    """
    command = [sys.executable, "-c", FREED_BEFORE]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert int(done.stdout) > 50 * MEGABYTE


def test_an_error_of_the_fit_is_raised():
    def fit():
        raise ValueError("no fit")

    with pytest.raises(ValueError, match="no fit"):
        peak_memory_of(fit)


def test_every_model_is_measured_once(split, lda, tmp_path, monkeypatch):
    models = {name: MODELS[name] for name in ("ddlda", "word_lla")}
    found = memory_of_models(split, lda, models, 1, tmp_path)
    assert found.keys() == models.keys() | COUNTS | {"lda", "lda_online"}
    assert all(0 <= held < 400 * MEGABYTE for held in found.values())
    assert found["word_lla"] > 0
    monkeypatch.setattr(memory, "_measure", None)
    assert memory_of_models(split, lda, models, 1, tmp_path) == found, "measured again"
    more = models | {"wider": TINY | {"hidden_size": 6}}
    with pytest.raises(TypeError, match="callable"):  # partial(None, ...)
        memory_of_models(split, lda, more, 1, tmp_path)


def test_every_model_runs_one_iteration_of_itself(split, lda, tmp_path):
    runs = one_iteration_each(split, lda, MODELS, 1, tmp_path)
    assert len({run.cache_file for run in runs.values()}) == len(runs) - 1  # LDA has two names
    assert runs["lda"] == runs["lda_online"]
    for name, run in runs.items():
        assert run.fit(split) is not None
        if name in ("lda", "lda_online", "ddlda"):
            assert run.config.n_sweeps == 1 and run.config.n_topics == 4
        elif name == "autoencoder":
            assert run.config.n_epochs == 1
        elif name not in COUNTS:
            assert (run.config.n_iterations, run.config.initial_epochs) == (1, 1)
            assert run.config.model == name and run.config.n_topics == 4


def test_the_warm_up_is_the_same_on_few_documents(split, lda, tmp_path, monkeypatch):
    few = study.part_of(split, memory.WARMUP_SHARE)
    for name, run in one_iteration_each(split, lda, MODELS, 1, tmp_path).items():
        assert run.warm_up(split) is not None, name
    fits = []

    def fit(run, split):
        fits.append((split.observed.n_tokens, run.topics))

    monkeypatch.setattr(memory.OneIteration, "fit", fit)
    one_iteration_each(split, lda, {"a": TINY}, 1, tmp_path)["a"].warm_up(split)
    ((n_tokens, topics),) = fits
    assert n_tokens == split.observed.lengths[few].sum() < split.observed.n_tokens
    assert np.array_equal(topics, lda.topics[np.repeat(few, split.observed.lengths)])


def test_a_fit_starts_where_its_settings_say(split, lda, tmp_path):
    """From ddLDA's topics, as in `study.plan`."""
    near = {"n_sweeps": 4, "scale": 3.0}
    models = {"plain": TINY, "near": TINY | {"ddlda": near}, "lstm": TINY | {"model": "word_lstm"}}
    runs = one_iteration_each(split, lda, models, 1, tmp_path)
    moved = study.fit(split, "ddlda", near, 1, tmp_path, start=lda)
    assert np.array_equal(runs["plain"].topics, lda.topics)
    assert np.array_equal(runs["near"].topics, moved.topics)
    assert not np.array_equal(runs["plain"].topics, runs["near"].topics)
    assert runs["lstm"].topics is None


def test_own_counts_take_the_memory_of_their_model(split, lda, tmp_path):
    models = {"word_lla": MODELS["word_lla"], "word_lla_own": MODELS["word_lla"]}
    runs = one_iteration_each(split, lda, models, 1, tmp_path)
    assert runs["word_lla"].cache_file == runs["word_lla_own"].cache_file
    assert runs["word_lla_own"].config == runs["word_lla"].config
