"""Peak memory: what a fit adds to what the process holds, of every model by the same rule."""

from functools import partial

import numpy as np
import pytest
from simulated import sticky_split

from experiments import memory as study_memory
from experiments import study
from experiments.memory import memory_of_models, passes_of, peak_memory_of
from lla.lda import LDAConfig, fit_lda
from lla.sem import SEMConfig

MEGABYTE = 2**20
TINY = {"embedding_size": 4, "hidden_size": 5, "n_iterations": 2, "beta": 0.1}
CONFIGS = (LDAConfig, SEMConfig, study_memory.ddlda.DDLDAConfig)
CONFIGS += (study_memory.autoencoder.AutoencoderConfig,)
COUNTS = {"unigram", "cache_unigram", "bigram"}
MODELS = {
    "ddlda": {"n_sweeps": 5, "scale": 4.0},
    "autoencoder": {"n_epochs": 3},
    "topic_lla": SEMConfig.from_options(n_topics=4, **TINY).to_options(),
    "word_lla": TINY | {"model": "word_lla"},
    "word_lstm": TINY | {"model": "word_lstm"},
}


@pytest.fixture(scope="module")
def split():
    return sticky_split(4, 40, 40, 30)[0]


@pytest.fixture(scope="module")
def lda(split):
    return fit_lda(split, LDAConfig(n_topics=4, beta=0.1, n_sweeps=3), 1)


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


def test_every_model_is_measured_once(split, lda, tmp_path, monkeypatch):
    models = {name: MODELS[name] for name in ("ddlda", "word_lla")}
    found = memory_of_models(split, lda, models, 1, tmp_path)
    assert found.keys() == models.keys() | COUNTS | {"lda", "lda_updated"}
    assert all(0 <= held < 400 * MEGABYTE for held in found.values())
    assert found["word_lla"] > 0
    monkeypatch.setattr(study_memory, "_keep_peak", None)
    assert memory_of_models(split, lda, models, 1, tmp_path) == found, "measured again"
    more = models | {"wider": TINY | {"hidden_size": 6}}
    with pytest.raises(TypeError, match="callable"):  # partial(None, ...)
        memory_of_models(split, lda, more, 1, tmp_path)


def test_every_model_runs_one_pass_of_itself(split, lda, tmp_path, monkeypatch):
    ran = []
    for room, name in (
        (study_memory, "fit_lda"),
        (study_memory, "fit_sem"),
        (study_memory.ddlda, "fit_ddlda"),
        (study_memory.autoencoder, "fit_autoencoder"),
        (study_memory.bigram, "fit_bigram"),
    ):
        fit = getattr(room, name)
        monkeypatch.setattr(
            room,
            name,
            partial(lambda f, *given, **named: ran.append(given) or f(*given, **named), fit),
        )
    passes = passes_of(split, lda, MODELS, 1, tmp_path)
    assert len({one.kept for one in passes.values()}) == len(passes) - 1  # LDA has two names
    for name, one in passes.items():
        assert one.fit() is not None
        if name in COUNTS:
            continue
        config = next(x for x in ran[-1] if isinstance(x, CONFIGS))
        if name in ("lda", "lda_updated", "ddlda"):
            assert config.n_sweeps == 1 and config.n_topics == 4
        elif name == "autoencoder":
            assert config.n_epochs == 1
        else:
            assert (config.n_iterations, config.initial_epochs) == (1, 1)
            assert config.model == name and config.n_topics == 4
    assert len(ran) == 1 + 2 + len(MODELS)


def test_the_pass_before_is_the_same_on_few_documents(split, lda, tmp_path):
    few = study.part_of(split, study_memory.SHARE_BEFORE)
    n_tokens = split.observed.lengths[few].sum()
    for name, one in passes_of(split, lda, MODELS, 1, tmp_path).items():
        before = study_memory._few(one.fit, split)
        assert before.func == one.fit.func and len(before.args) == len(one.fit.args), name
        corpus = getattr(before.args[0], "observed", before.args[0])
        assert corpus.n_tokens == n_tokens < split.observed.n_tokens, name
        assert before() is not None, name
    topics = passes_of(split, lda, {"a": TINY}, 1, tmp_path)["a"]
    begun = study_memory._few(topics.fit, split).keywords["start"]
    assert np.array_equal(begun, lda.topics[np.repeat(few, split.observed.lengths)])


def test_a_fit_begins_where_its_settings_say(split, lda, tmp_path):
    """Topics moved by ddLDA first: the same as in `study.model_of`."""
    near = {"n_sweeps": 4, "scale": 3.0}
    given = {"plain": TINY, "near": TINY | {"ddlda": near}, "lstm": TINY | {"model": "word_lstm"}}
    passes = passes_of(split, lda, given, 1, tmp_path)
    begun = {name: passes[name].fit.keywords["start"] for name in given}
    assert np.array_equal(begun["plain"], lda.topics)
    assert np.array_equal(begun["near"], study.ddlda_of(split, lda, near, 1, tmp_path)[0].topics)
    assert not np.array_equal(begun["plain"], begun["near"])
    assert begun["lstm"] is None
