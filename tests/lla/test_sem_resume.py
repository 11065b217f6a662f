"""A fit that was stopped, killed or started from another file ends with the same numbers."""

import mmap
import os
import re
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from simulated import random_corpus
from small_sem import (
    SMALL,
    Stop,
    assert_same_fit,
    small_fit,
    small_split,
    start_topics,
    stop_after,
    whole_fit,
)

from lla import sem
from lla.common import arrays
from lla.common.checkpoint import OtherFitError
from lla.common.files import load_tensors, save_tensors
from lla.common.parallel import thread_pool
from lla.common.progress import progress
from lla.corpus import split_corpus
from lla.lda import LDAConfig, fit_lda
from lla.sem import fit_sem, load_sem


@pytest.fixture(scope="module")
def whole():
    return whole_fit()


@pytest.mark.parametrize("iteration", [1, 2, 3, 4, 5])
def test_an_interrupted_fit_ends_with_the_same_numbers(tmp_path, whole, iteration):
    path = tmp_path / "sem.safetensors"
    with pytest.raises(Stop):
        small_fit(path, stop_after(iteration))
    seen = []
    resumed = small_fit(path, lambda state: seen.append(state.iteration), n_threads=2)
    assert seen == list(range(iteration + 1, 6))
    assert_same_fit(resumed, whole)
    assert_same_fit(load_sem(path, small_split()), whole)


def test_an_interrupted_fit_with_averaged_weights_ends_with_the_same_numbers(tmp_path):
    """The file holds the weights that are trained; the model kept has their average."""
    path, whole = tmp_path / "sem.safetensors", whole_fit(average=0.9)
    with pytest.raises(Stop):
        small_fit(path, stop_after(3), average=0.9)
    assert_same_fit(small_fit(path, n_threads=2, average=0.9), whole)
    tensors, _ = load_tensors(path)
    assert not torch.equal(tensors["network.output.bias"], tensors["adam.output.bias.average"])
    last = whole.history[-1]["development_perplexity"]
    assert last != whole_fit().history[-1]["development_perplexity"]


def test_more_iterations_continue_the_same_run(tmp_path, whole):
    path = tmp_path / "sem.safetensors"
    small_fit(path, n_iterations=2)
    seen = []
    assert_same_fit(small_fit(path, lambda state: seen.append(state.iteration)), whole)
    assert seen == [3, 4, 5]


def test_every_iteration_draws_anew():
    """The same network and φ, other uniforms: other topics in every SE-step."""
    split = small_split()
    model = whole_fit(n_iterations=1)
    draws = [model.topics.copy() for _ in range(3)]
    with thread_pool(1) as pool:
        for iteration, topics in zip((2, 3, 2), draws, strict=True):
            given = model.network, model.emission, split.observed, topics, SMALL
            info = sem.se_step(*given, seed=3, key=(iteration,), pool=pool)
            assert info["changed"] == np.mean(topics != model.topics)
    assert np.array_equal(draws[0], draws[2])
    assert (draws[0] != draws[1]).mean() > 0.2


@pytest.mark.parametrize(
    ("options", "difference"),
    [
        ({"seed": 4}, "seed is 3 there and 4 here"),
        ({"beta": 0.06}, "beta is 0.05 there and 0.06 here"),
        ({"joint": False}, "joint is True there and False here"),
        ({"dropout": 0.0}, "dropout is 0.2 there and 0.0 here"),
        ({"learning_rate": 0.01}, "learning_rate is 0.02 there and 0.01 here"),
        ({"development_particles": 3}, "development_particles is 2 there and 3 here"),
        ({"emission": "personal"}, "emission is 'shared' there and 'personal' here"),
        ({"model": "word_lla"}, "model is 'topic_lla' there and 'word_lla' here"),
    ],
)
def test_a_checkpoint_of_another_fit_is_refused_and_left_alone(
    tmp_path, whole, options, difference
):
    path = tmp_path / "sem.safetensors"
    small_fit(path, n_iterations=2)
    before = path.read_bytes()
    line = (
        f"{path}: holds another fit: {difference}; give checkpoint another file name, or delete "
        "this file"
    )
    with pytest.raises(OtherFitError, match=f"^{re.escape(line)}$"):
        small_fit(path, **options)
    assert path.read_bytes() == before
    assert_same_fit(small_fit(path), whole)


def test_a_checkpoint_from_other_topics_or_another_split_is_refused(tmp_path):
    path, split = tmp_path / "sem.safetensors", small_split()
    topics, config = start_topics(split), replace(SMALL, n_iterations=2)
    other_split = split_corpus(split.corpus, seed=9)
    assert not np.array_equal(other_split.development, split.development)
    small_fit(path, n_iterations=2)
    other_topics = np.where(topics == 0, 1, topics)
    with pytest.raises(OtherFitError, match="holds another fit: it started from other topics"):
        fit_sem(split, config, 3, start=other_topics, checkpoint=path)
    with pytest.raises(OtherFitError, match="fit: it has other development documents"):
        fit_sem(other_split, config, 3, start=topics, checkpoint=path)
    other = split_corpus(random_corpus(30, longest=25, seed=5))
    with pytest.raises(OtherFitError, match="fit: it is of another corpus"):
        fit_sem(other, config, 3, start=start_topics(other), checkpoint=path)
    fit_lda(split, LDAConfig(n_topics=3, n_sweeps=1), 3, checkpoint=tmp_path / "lda")
    with pytest.raises(
        OtherFitError, match="lda: holds a fit of LDA, and here is a fit of fit_sem; give"
    ):
        small_fit(tmp_path / "lda")


@pytest.mark.parametrize(
    "options",
    [
        {"tau": 3.0, "learn_tau": False},  # of the personal emission
        {"n_mh": 4},  # of Metropolis-Hastings
        {"se_particles": 2},
        {"se_step": "beam", "se_particles": 1},  # which is the exact step
        {"characters": replace(SMALL.characters, hidden_size=7)},
        {"patience": 9},
    ],
)
def test_a_setting_without_effect_does_not_keep_a_fit_from_going_on(tmp_path, whole, options):
    path, seen = tmp_path / "sem.safetensors", []
    small_fit(path, n_iterations=2)
    made = small_fit(path, lambda state: seen.append(state.iteration), **options)
    assert seen == [3, 4, 5]
    assert_same_fit(made, whole)


def test_what_a_language_model_lacks_does_not_tell_its_fits_apart(tmp_path):
    path, seen = tmp_path / "sem.safetensors", []
    small_fit(path, model="word_lstm", n_iterations=1)
    config = replace(SMALL, model="word_lstm", n_iterations=2, n_topics=2, beta=0.7, joint=False)
    fit_sem(
        small_split(),
        config,
        3,
        checkpoint=path,
        on_iteration=lambda state: seen.append(state.iteration),
    )
    assert seen == [2], "it has no topics, no φ and no SE-step"


@pytest.mark.parametrize(
    ("limits", "ends"),
    [
        ({"n_iterations": 1}, None),
        ({"n_iterations": 3}, None),
        ({"n_iterations": 4}, 4),
        ({"n_iterations": 6}, 6),
        ({"patience": 1}, None),  # it would have stopped after the third
        ({"patience": 2}, 6),
        ({"patience": 3}, 7),
        ({"n_iterations": 5, "patience": 2}, 5),
    ],
)
def test_a_file_that_has_gone_further_gives_the_same_model_or_none(
    tmp_path, monkeypatch, limits, ends
):
    """The best iteration's weights alone are kept: here those of the fourth."""
    path, perplexities = tmp_path / "sem.safetensors", [5.0, 3.0, 4.0, 2.0, 4.0, 4.0, 4.0]
    measured = iter(perplexities)
    monkeypatch.setattr(sem, "development_perplexity", lambda *_: next(measured))
    long = {"n_iterations": 7, "patience": 7}
    small_fit(path, **long)
    before = path.read_bytes()
    if ends is None:
        line = r"holds 7 iterations, and weights of the best, number 4; .*; give more, checkpoint"
        with pytest.raises(OtherFitError, match=line):
            small_fit(path, **(long | limits))
    else:
        read = small_fit(path, pytest.fail, **(long | limits))
        measured = iter(perplexities)
        assert_same_fit(read, small_fit(**(long | limits)))
        assert len(read.history) == ends
    assert path.read_bytes() == before


def test_a_file_name_is_a_text_or_a_path_and_a_seed_may_be_numpys(tmp_path, whole):
    seen = []
    small_fit(str(tmp_path / "fit"), n_iterations=2, seed=np.int64(3))
    assert_same_fit(small_fit(tmp_path / "fit", lambda state: seen.append(state.iteration)), whole)
    assert seen == [3, 4, 5]
    assert_same_fit(load_sem(str(tmp_path / "fit"), small_split()), whole)


PERSONAL = {"emission": "personal", "tau_per_topic": True}
KILL_IN_TRAINING = """
train_epoch, calls = sem.train_epoch, []
def killed(*arguments, **options):
    loss = train_epoch(*arguments, **options)
    calls.append(loss)
    if len(calls) == 4:  # two epochs in iteration 1, one in iteration 2, then the third M-step
        os.kill(os.getpid(), signal.SIGKILL)
    return loss
sem.train_epoch = killed
"""
KILL_WHILE_SAVING = """
replace, calls = os.replace, []
def killed(*arguments):
    calls.extend(a for a in arguments[1:] if str(a) == sys.argv[1])  # Numba replaces files too
    if len(calls) == 3:  # the third checkpoint is written, and has not taken its name
        os.kill(os.getpid(), signal.SIGKILL)
    return replace(*arguments)
os.replace = killed
"""


@pytest.mark.parametrize(
    ("kill", "options"),
    [(KILL_IN_TRAINING, {}), (KILL_WHILE_SAVING, {}), (KILL_WHILE_SAVING, PERSONAL)],
)
def test_a_killed_process_started_again_ends_with_the_same_numbers(tmp_path, kill, options):
    path = tmp_path / "sem.safetensors"
    lines = [
        "import os, signal, sys",
        "from pathlib import Path",
        "from lla import sem",
        "import small_sem",
        kill,
        f"small_sem.small_fit(Path(sys.argv[1]), **{options})",
    ]
    root = Path(__file__).parents[2]
    search = os.pathsep.join([str(root), str(root / "tests" / "helpers")])
    child = subprocess.run(
        [sys.executable, "-c", "\n".join(lines), str(path)],
        env=os.environ | {"PYTHONPATH": search},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert child.returncode == -signal.SIGKILL, child.stderr
    assert len(load_sem(path, small_split()).history) == 2  # the file is whole, two iterations old
    seen = []
    resumed = small_fit(path, lambda state: seen.append(state.iteration), **options)
    assert_same_fit(resumed, whole_fit(**options))
    assert seen == [3, 4, 5]


def test_a_checkpoint_without_a_newer_option_resumes(tmp_path):
    """An option the file does not name had the value that is now its default."""
    path, whole = tmp_path / "fit.safetensors", whole_fit()
    with pytest.raises(Stop):
        small_fit(path, stop_after(2))
    tensors, meta = load_tensors(path)
    later = ("se_steps", "model", "objective", "emission", "tau", "learn_tau", "se_step")
    for name in later:
        del meta["config"][name]
    meta["config"] |= {"packed": False, "lookahead": 16}  # options of an earlier version
    in_train = ("learning_rate", "batch_size", "window", "clip", "n_shards", "n_samples")
    train = {name: meta["config"].pop(name) for name in in_train}
    meta["config"]["train"] = train | {"proposal": "log_uniform"}
    meta["config"]["characters"] = {"least_words": 2, "longest": 40}
    for name in ("topics", "best.topics"):  # of twice as many bytes
        assert tensors[name].dtype == torch.uint16
        tensors[name] = tensors[name].int()
    save_tensors(path, tensors, meta)
    seen = []
    assert_same_fit(whole, small_fit(path, lambda state: seen.append(state.iteration)))
    assert seen[0] == 3, "the file was not used"


@pytest.mark.parametrize("se_step", ["mh", "gibbs", "beam", "filter"])
def test_every_se_step_resumes_to_the_same_result(se_step, tmp_path):
    options = {"se_step": se_step, "se_particles": 3}
    path, whole = tmp_path / "fit.safetensors", whole_fit(**options)
    with pytest.raises(Stop):
        small_fit(path, stop_after(3), **options)
    assert_same_fit(whole, small_fit(path, n_threads=2, **options))
    assert whole.topics.tobytes() != whole_fit().topics.tobytes()


@pytest.mark.parametrize("se_step", ["gibbs", "beam", "filter"])
def test_with_one_particle_histories_are_the_papers_step(se_step):
    assert_same_fit(small_fit(se_step=se_step, se_particles=1), whole_fit())


def test_more_se_steps_draw_more_and_go_on_to_the_same_end(tmp_path):
    path, whole = tmp_path / "fit.safetensors", small_fit(se_steps=3)
    one = whole_fit()
    assert (
        whole.history[0]["topic_loss"] == one.history[0]["topic_loss"]
    )  # nothing is drawn before it
    assert whole.history[1]["topic_loss"] != one.history[1]["topic_loss"]
    with pytest.raises(Stop):
        small_fit(path, stop_after(2), se_steps=3)
    assert_same_fit(whole, small_fit(path, se_steps=3))


@pytest.mark.parametrize(("se_step", "n_read"), [("exact", 6), ("mh", 0)])
def test_phi_is_built_only_for_an_se_step_that_reads_it(monkeypatch, se_step, n_read):
    """Beside the development perplexity of each iteration and the final model."""
    built, build = [], sem.emission_of
    monkeypatch.setattr(sem, "emission_of", lambda *args: built.append(1) or build(*args))
    small_fit(se_step=se_step, se_steps=3, n_iterations=3)
    assert len(built) == n_read + 3 + 1


def test_the_progress_bar_counts_passes_of_a_resumed_fit(tmp_path, monkeypatch):
    """The first iteration has two passes of six: what is left would be reckoned twice too long."""
    path, bars = tmp_path / "fit.safetensors", []

    def watched(**options):
        bars.append(progress(**options))
        return bars[-1]

    monkeypatch.setattr(sem, "progress", watched)
    with pytest.raises(Stop):
        small_fit(path, stop_after(2))
    small_fit(path)
    assert [(bar.initial, bar.n, bar.total) for bar in bars] == [(0, 3, 6), (3, 6, 6)]


def test_topics_of_many_tokens_stay_in_a_file_also_when_a_fit_is_resumed(monkeypatch, tmp_path):
    monkeypatch.setattr(arrays, "SPILL_BYTES", 1)
    checkpoint, seen = tmp_path / "fit.safetensors", []

    def look(state):
        seen.append(is_mapped(state.topics))
        if len(seen) == 2:
            raise Stop

    with pytest.raises(Stop):
        small_fit(checkpoint, look)
    assert_same_fit(
        small_fit(checkpoint, lambda state: seen.append(is_mapped(state.topics))), whole_fit()
    )
    assert seen == 5 * [True]


def is_mapped(array):
    while isinstance(array.base, np.ndarray):
        array = array.base
    return isinstance(array.base, mmap.mmap)
