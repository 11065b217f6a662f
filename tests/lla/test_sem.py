"""Algorithm 1 as a whole: what it finds, where it stops, and that a stop changes no number."""

import os
from dataclasses import asdict, replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from simulated import random_corpus, sticky_split
from small_sem import (
    SMALL,
    assert_same_fit,
    small_fit,
    small_split,
    start_topics,
    whole_fit,
    without_seconds,
)

from lla import sem
from lla.common.errors import InputError
from lla.corpus import split_corpus
from lla.evaluate.perplexity import perplexity
from lla.inference import state as state_module
from lla.inference.config import TrainConfig
from lla.lda import LDAConfig, fit_lda
from lla.lstm import CharacterConfig
from lla.peers.counts import Unigram, fit_unigram, unigram_probability
from lla.samplers.lda import topic_counts
from lla.sem import SEMConfig, fit_sem, load_sem
from lla.topics.words import match_topics


@pytest.fixture(scope="module")
def whole():
    return whole_fit()


@pytest.fixture(scope="module")
def loop():
    """A corpus with a known truth, and everything Table 4 compares fitted to it."""
    split, truth, topics = sticky_split(4, 50, 1000, 40)
    lda = fit_lda(split, LDAConfig(4, beta=0.05, n_sweeps=100, alpha_from=30), 0)
    config = SEMConfig(
        n_topics=4,
        beta=0.05,
        n_iterations=6,
        initial_epochs=2,
        patience=6,
        embedding_size=16,
        hidden_size=32,
        learning_rate=5e-3,
        batch_size=16,
    )
    joint = fit_sem(split, config, 0, start=lda.topics)
    alone = replace(config, joint=False, n_iterations=3)
    independent = fit_sem(split, alone, 0, start=lda.topics)

    def score(model):
        return model.score(split, n_particles=32)

    scores = {
        "unigram": fit_unigram(split).score(split),
        "lda": lda.score(split, update=False),
        "lda_online": lda.score(split),
        "independent": score(independent),
        "joint": score(joint),
        "oracle": score(truth),
    }
    figures = {name: perplexity(x, split, split.reported) for name, x in scores.items()}
    return SimpleNamespace(
        split=split, truth=truth, topics=topics, lda=lda, joint=joint, independent=independent,
        **{"perplexity": figures},
    )  # fmt: skip


def test_joint_training_approaches_the_oracle_and_beats_its_parts(loop):
    """Seed 0, 1000 documents of 40 words: measured 3% above the network that drew the corpus."""
    figure = loop.perplexity
    assert figure["oracle"] < figure["joint"] < 1.05 * figure["oracle"]
    assert figure["joint"] < 0.96 * figure["independent"]
    assert figure["independent"] < 0.8 * figure["lda_online"]
    assert figure["lda_online"] < figure["lda"]


def test_topics_recover_the_truth(loop):
    model, history = loop.joint, loop.joint.history
    phi = loop.truth.emission.phi.double().numpy()
    match, overlap = match_topics(phi, model.emission.phi.double().numpy())
    assert sorted(match) == list(range(4)) and overlap.min() > 0.93
    # A token's topic: a draw of the joint model is right more often than LDA's.
    observed_truth = loop.topics[~loop.split.held_out]
    lda_match, _ = match_topics(phi, loop.lda.phi())
    right = (match[observed_truth] == model.topics).mean()
    assert right > (lda_match[observed_truth] == loop.lda.topics).mean() + 0.02
    assert history[-1]["topic_entropy"] < history[0]["topic_entropy"]


def test_the_independent_learner_keeps_ldas_topics(loop):
    model, history = loop.independent, loop.independent.history
    assert np.array_equal(model.topics, loop.lda.topics)
    assert [row["changed"] for row in history] == [0.0] * 3
    assert len({row["topic_entropy"] for row in history}) == 1
    assert history[-1]["topic_loss"] < history[0]["topic_loss"]


def test_the_first_iteration_is_the_independent_learners(loop):
    """ "initialize φ and LSTM": both learn from LDA's topics first, and differ from then on."""
    joint, independent = loop.joint.history, loop.independent.history
    assert without_seconds(joint[:1]) == without_seconds(independent[:1])
    assert all(row["changed"] > 0.02 for row in joint[1:])
    assert [row["iteration"] for row in joint] == [1, 2, 3, 4, 5, 6]


def test_counts_are_conserved_in_every_iteration():
    split = small_split()
    words = np.bincount(split.observed.words, minlength=split.corpus.n_words)

    def check(state):
        assert state.topics.shape == (split.observed.n_tokens,)
        assert state.topics.min() >= 0 and state.topics.max() < 3
        word_topic, topic_total = topic_counts(split.observed.words, state.topics, 12, 3)
        assert np.array_equal(word_topic.sum(axis=1), words)
        assert np.array_equal(word_topic.sum(axis=0), topic_total)
        assert topic_total.sum() == split.observed.n_tokens

    model = small_fit(on_iteration=check)
    phi = model.emission.phi.double().numpy()
    np.testing.assert_allclose(phi.sum(axis=0), 1, rtol=1e-6)
    # φ is the closed form of the topics that come with it.
    word_topic, topic_total = topic_counts(split.observed.words, model.topics, 12, 3)
    np.testing.assert_allclose(phi, (word_topic + 0.05) / (topic_total + 12 * 0.05), rtol=1e-6)


def test_one_topic_is_the_unigram_model():
    split = small_split()
    model = small_fit(n_topics=1, beta=0.3)
    p = unigram_probability(split, smoothing=0.3)
    assert np.array_equal(model.emission.phi[:, 0].numpy(), p.astype(np.float32))
    scores = model.score(split, n_particles=3)
    np.testing.assert_allclose(scores, Unigram(p).score(split), rtol=1e-6)
    development = perplexity(Unigram(p).score(split), split, split.development)
    for row in model.history:
        assert row["development_perplexity"] == pytest.approx(development, rel=1e-6)
        assert row["topic_loss"] == row["changed"] == 0.0


def test_result_does_not_depend_on_threads(whole):
    assert_same_fit(whole, small_fit(n_threads=2))


def test_several_groups_do_not_depend_on_threads():
    """More than 512 documents: SE-step and filter run on several threads too."""
    split = split_corpus(random_corpus(700, longest=6), development=0.8)
    config = replace(SMALL, n_iterations=2, batch_size=128)
    start = start_topics(split)
    one, two = (fit_sem(split, config, 3, start=start, n_threads=n) for n in (1, 2))
    assert_same_fit(one, two)
    assert one.history[1]["changed"] > 0


def test_the_seed_changes_the_run(whole):
    assert without_seconds(whole.history) != without_seconds(small_fit(seed=4).history)


def script_perplexity(monkeypatch, values):
    """Development perplexities come from a list, so that the rule for stopping stands alone."""
    script = iter(values)
    monkeypatch.setattr(sem, "development_perplexity", lambda *_: next(script))


def remember(states):
    def on_iteration(state):
        weights = {n: p.detach().clone() for n, p in state.network.named_parameters()}
        states.append((state.topics.copy(), weights))

    return on_iteration


@pytest.mark.parametrize(
    ("perplexities", "patience", "n_done", "best"),
    [
        ([9.0, 8.0, 8.5, 8.4, 1.0], 2, 4, 2),
        ([9.0, 9.5, 1.0], 1, 2, 1),
        ([9.0, 9.5, 8.0, 8.0, 8.0], 2, 5, 3),  # the first of equals; equal is no gain
        ([5.0, 4.0, 3.0, 2.0, 1.0], 1, 5, 5),
    ],
)
def test_patience_stops_and_the_best_iteration_is_returned(
    tmp_path, monkeypatch, perplexities, patience, n_done, best
):
    path, states = tmp_path / "sem.safetensors", []
    script_perplexity(monkeypatch, perplexities)
    model = small_fit(path, remember(states), patience=patience)
    assert [row["development_perplexity"] for row in model.history] == perplexities[:n_done]
    topics, weights = states[best - 1]
    assert np.array_equal(model.topics, topics)
    for name, parameter in model.network.named_parameters():
        assert torch.equal(parameter, weights[name])
    if best < n_done:
        assert not np.array_equal(model.topics, states[-1][0])
    assert_same_fit(load_sem(path, small_split()), model)
    # Patience is a property of where the run stands: started again, it stops at once.
    assert_same_fit(small_fit(path, patience=patience), model)


@pytest.mark.parametrize("options", [{}, {"emission": "personal"}])
def test_the_best_iteration_kept_in_a_file_is_the_same(tmp_path, monkeypatch, options):
    path, usual = tmp_path / "sem.safetensors", whole_fit(**options)
    monkeypatch.setattr(state_module, "SPILL_THRESHOLD_BYTES", 1)
    assert_same_fit(small_fit(path, **options), usual)
    assert_same_fit(load_sem(path, small_split()), usual)


def test_files_that_cannot_be_used_give_one_line(tmp_path):
    path, split = tmp_path / "sem.safetensors", small_split()
    with pytest.raises(InputError, match=r"sem\.safetensors: no such file"):
        load_sem(path, split)
    small_fit(path, n_iterations=1)
    with pytest.raises(
        InputError, match=r"sem\.safetensors: not an LLA of this corpus and split; fit it"
    ):
        load_sem(path, split_corpus(random_corpus(30, longest=25, seed=6)))
    for other in ({"observed": 0.8}, {"seed": 9}):
        with pytest.raises(InputError, match="not an LLA of this corpus and split"):
            load_sem(path, split_corpus(split.corpus, **other))
    content = path.read_bytes()
    for broken in (content[:-7], content[:20], b""):
        path.write_bytes(broken)
        for use in (lambda: load_sem(path, split), lambda: small_fit(path)):
            with pytest.raises(InputError, match=r"sem\.safetensors: .*delete it") as caught:
                use()
            assert "\n" not in str(caught.value)
        assert path.read_bytes() == broken  # nobody's file is written over
    assert os.listdir(tmp_path) == [path.name]


def test_training_that_diverges_leaves_the_last_good_checkpoint(tmp_path, monkeypatch, whole):
    path = tmp_path / "sem.safetensors"

    def spoil(state):
        if state.iteration == 2:
            state.network.output.bias.data[0] = float("nan")

    with pytest.raises(FloatingPointError, match="NaN under the model"):
        small_fit(path, spoil)
    assert len(load_sem(path, small_split()).history) == 2
    assert_same_fit(small_fit(path), whole)


def test_topics_that_do_not_fit_are_refused_before_a_kernel_sees_them():
    """Kernels look at no bounds: one of these used to be a crash of the process."""
    split = small_split()
    topics, n = start_topics(split), split.observed.n_tokens
    with pytest.raises(InputError, match=f"start: {n - 5} topics for {n} observed tokens"):
        fit_sem(split, SMALL, 0, start=topics[:-5])
    with pytest.raises(InputError, match="start: topic 2, but n_topics is 2; give both"):
        fit_sem(split, replace(SMALL, n_topics=2), 0, start=topics)
    with pytest.raises(InputError, match="start: topic -1, but"):
        fit_sem(split, SMALL, 0, start=np.where(np.arange(n) == 7, -1, topics))
    with pytest.raises(InputError, match="start: topic_lla starts from topics"):
        fit_sem(split, SMALL, 0)


@pytest.mark.parametrize("share", [0.0, 0.05])
def test_a_development_part_without_a_held_out_word_is_refused(tmp_path, share):
    corpus = random_corpus(30, longest=1)
    split = split_corpus(corpus, development=share)
    with pytest.raises(InputError, match=r"^split: no document has a held-out word to decide when"):
        path = tmp_path / "sem.safetensors"
        fit_sem(split, SMALL, 0, start=start_topics(split), checkpoint=path)
    assert os.listdir(tmp_path) == []


def test_a_configuration_is_restored_from_its_dictionary():
    assert SEMConfig.from_dict(asdict(SMALL)) == SMALL


def test_options_of_the_optimiser_stand_beside_the_others():
    config = SEMConfig(learning_rate=0.01, batch_size=8)
    assert config.train == TrainConfig(learning_rate=0.01, batch_size=8)
    assert SEMConfig().train == TrainConfig()
    assert config.replace(learning_rate=2e-3) == SEMConfig(batch_size=8)
    with pytest.raises(InputError, match=r"^learning_rate is 0: give a number above 0"):
        SEMConfig(learning_rate=0)
    with pytest.raises(InputError, match=r"^learning_rat is no option of SEMConfig: "):
        config.replace(learning_rat=0.1)


def test_a_configuration_of_an_earlier_version_is_restored():
    """The optimiser's options stood under `train`."""
    letters = {"embedding_size": 4, "hidden_size": 3, "least_words": 1, "longest": 9}
    options = asdict(SMALL) | {"characters": letters}
    names = TrainConfig.__dataclass_fields__
    options["train"] = {name: options.pop(name) for name in names} | {"proposal": "log_uniform"}
    characters = CharacterConfig(4, 3, min_words=1, max_chars=9)
    assert SEMConfig.from_dict(options) == replace(SMALL, characters=characters)
    assert SMALL.train == TrainConfig(learning_rate=0.02, batch_size=8, window=6)


@pytest.mark.parametrize(
    "option",
    [
        "n_topics",
        "n_iterations",
        "initial_epochs",
        "epochs",
        "patience",
        "development_particles",
        "embedding_size",
        "hidden_size",
    ],
)
@pytest.mark.parametrize("value", [0, -2])
def test_sizes_out_of_range_are_named(option, value):
    with pytest.raises(InputError, match=f"^{option} is {value}: give 1 or more"):
        SEMConfig(**{option: value})


@pytest.mark.parametrize(
    ("option", "value"),
    [("beta", 0.0), ("beta", float("nan")), ("dropout", 1.0), ("dropout", -0.1)],
)
def test_numbers_out_of_range_are_named(option, value):
    with pytest.raises(ValueError, match=f"^{option} is {value}: give"):
        small_fit(**{option: value})


@pytest.mark.parametrize(
    ("options", "se_step", "bfloat16"),
    [
        ({"n_topics": 499}, "exact", False),
        ({"n_topics": 500}, "mh", True),
        ({"n_topics": 500, "model": "word_lla"}, "mh", True),
        ({"n_topics": 500, "emission": "personal"}, "exact", True),
        ({"n_topics": 500, "se_step": "filter", "bfloat16": False}, "filter", False),
        ({"n_topics": 500, "model": "word_lla", "objective": "marginal"}, "exact", False),
        ({"n_topics": 500, "model": "word_lstm"}, "exact", False),
    ],
)
@pytest.mark.parametrize("has", [True, False])
def test_auto_depends_on_the_configuration_and_bfloat16_on_the_processor(
    options, se_step, bfloat16, has, monkeypatch
):
    monkeypatch.setattr("lla.lstm.network.HAS_BFLOAT16", has)
    config = SEMConfig(**options).resolved()
    assert (config.se_step, config.bfloat16) == (se_step, bfloat16 and has)
    assert config.resolved() == config


def test_bfloat16_is_refused_in_one_line_where_the_processor_has_none(tmp_path, monkeypatch):
    monkeypatch.setattr("lla.inference.gradient.HAS_BFLOAT16", False)
    with pytest.raises(InputError, match=r"^bfloat16 is True: this processor, .*; give False$"):
        small_fit(bfloat16=True, checkpoint=tmp_path / "fit")
    assert not list(tmp_path.iterdir())


def test_a_fit_records_what_auto_chose():
    config = whole_fit(n_iterations=1).provenance["config"]
    assert (config["se_step"], config["bfloat16"]) == ("exact", False)


def test_an_option_that_is_gone_is_named_unless_it_was_the_default():
    options = asdict(SMALL) | {"packed": False, "lookahead": 16}
    assert SEMConfig.from_dict(options) == SMALL
    with pytest.raises(InputError, match=r"^packed is True: this version of lla can only do False"):
        SEMConfig.from_dict(options | {"packed": True})
