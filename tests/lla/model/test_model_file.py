"""A model that was saved predicts the same; whatever else lies there gives one line."""

import errno
import json
import os
import re
import shutil
from importlib.metadata import version

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from served import ITEMS, TAU, K, V, model
from small_sem import SMALL, small_fit, small_split, start_topics

import lla
from lla.common.errors import InputError
from lla.corpus import save_corpus
from lla.model import Model
from lla.model import folder as model_file
from lla.sem import fit_sem, load_sem

HISTORY = ["cake", "42", "cake"]
FILES = {"model.safetensors", "model.json", "MODEL_CARD.md"}
VARIANTS = [
    *(("topic", None), ("topic", TAU), ("word", None), ("character", None)),
    *(("word_lstm", None), ("character_lstm", None)),
]


@pytest.fixture(scope="module")
def fitted():
    return small_fit()


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def edit(folder, **changes):
    path = folder / "model.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def assert_same(one, other):
    assert one.fingerprint() == other.fingerprint()
    assert one.vocabulary == other.vocabulary
    history = list(one.vocabulary[:3]) * 2
    assert one.recommend(history, 99) == other.recommend(history, 99)
    if one.emission is not None:
        ahead = one.topics_ahead(history, 3), other.topics_ahead(history, 3)
        assert ahead[0].tobytes() == ahead[1].tobytes()


# ---------------------------------------------------------------------- there and back


@pytest.mark.parametrize(("kind", "tau"), VARIANTS)
def test_a_saved_model_is_the_same_to_the_last_bit(tmp_path, kind, tau):
    made = model(kind, tau)
    folder = lla.save_model(made, tmp_path / "new" / "m")
    assert files(folder).keys() == FILES
    read = lla.load_model(folder)
    assert_same(made, read)
    assert type(read.emission) is type(made.emission) and len(read.topics) == 0
    assert_same(read, lla.load_model(lla.save_model(read, tmp_path / "again")))
    assert_same(made, lla.load_model(folder / "model.json"))


@pytest.mark.parametrize(
    "options", [{"model": "word_lla", "objective": "marginal"}, {"emission": "personal"}]
)
def test_models_of_other_configurations_are_restored(tmp_path, options):
    """φ learned by gradient, a weight of the network; φ and τ from tables."""
    made = small_fit(**options)
    assert_same(made, lla.load_model(lla.save_model(made, tmp_path / "m")))


def test_a_fitted_model_records_its_provenance(tmp_path, fitted):
    split = small_split()
    folder = lla.save_model(fitted, tmp_path / "m", perplexity=7.25, about="Small\nand random.")
    read = lla.load_model(folder)
    made = read.provenance
    assert made["corpus"] == split.corpus.fingerprint and made["seed"] == 3
    assert made["n_observed"] == split.observed.n_tokens
    assert lla.SEMConfig.from_dict(made["config"]) == SMALL.resolved()
    assert made["versions"]["torch"] == version("torch")
    assert (made["perplexity"], made["about"]) == (7.25, "Small and random.")
    scores = [m.score(split, seed=1, n_particles=4, n_threads=1) for m in (fitted, read)]
    assert scores[0].tobytes() == scores[1].tobytes()
    again = lla.load_model(lla.save_model(read, tmp_path / "again"))
    assert again.provenance == made, "nothing is lost by saving what was loaded"
    assert again.vocabulary == split.corpus.vocabulary


def test_a_checkpoint_read_back_knows_its_vocabulary(tmp_path):
    path, split = tmp_path / "sem.safetensors", small_split()
    topics = start_topics(split)
    made = fit_sem(split, SMALL, 3, start=topics, checkpoint=path, n_threads=1)
    read = load_sem(path, split)
    assert_same(made, read)
    assert read.provenance == made.provenance


def test_the_size_of_a_loaded_model_equals_that_before_saving(tmp_path, fitted):
    assert fitted.size().phi > 0
    read = lla.load_model(lla.save_model(fitted, tmp_path / "m"))
    with pytest.raises(InputError, match=r"which this model lacks"):
        read.size()


def test_the_model_card_is_complete_and_its_code_runs(tmp_path, monkeypatch, fitted):
    folder = lla.save_model(fitted, tmp_path / "my model", perplexity=7.25, about="For tests | a.")
    text = (folder / "MODEL_CARD.md").read_text(encoding="utf-8")
    corpus = small_split().corpus
    for part in ("# my model\n", "For tests | a.", "topic_lla", corpus.fingerprint, "| 7.2 |"):
        assert part in text
    for part in (fitted.fingerprint(), f"| {len(corpus.vocabulary)} |", "not stated", "## Limits"):
        assert part in text
    assert "{" not in text and "None" not in text
    lines = re.search(r"```python\n(.*?)```", text, re.DOTALL)[1]
    assert len(lines.splitlines()) == 3
    monkeypatch.chdir(tmp_path)
    known = lines.replace("an item", "w0").replace("the next one", "w1")
    exec(known, {"print": lambda found: found[9]})


def test_a_card_of_a_word_lstm_promises_no_topics(tmp_path):
    folder = lla.save_model(model("word_lstm"), tmp_path / "m")
    text = (folder / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert "topics" not in text and "n_particles" not in text


# ------------------------------------------------------------------------ where to save


def test_a_model_replaces_a_model_and_nothing_else(tmp_path):
    folder = lla.save_model(model("topic"), tmp_path / "m")
    lla.save_model(model("word"), folder)
    assert lla.load_model(folder).network.config.input == "word"
    (folder / "notes.txt").write_text("mine")
    before = files(folder)
    with pytest.raises(InputError, match=r"m: holds notes\.txt, not of a model; name another"):
        lla.save_model(model("topic"), folder)
    assert files(folder) == before
    with pytest.raises(InputError, match=r"notes\.txt: is a file; name a folder for the model$"):
        lla.save_model(model("topic"), folder / "notes.txt")
    assert files(folder) == before and os.listdir(tmp_path) == ["m"]


@pytest.mark.parametrize("where", ["save_tensors", "write_json", "replace_folder"])
@pytest.mark.parametrize("stop", [OSError(errno.ENOSPC, "full"), KeyboardInterrupt()])
def test_a_save_that_fails_leaves_the_model_before_it(tmp_path, monkeypatch, where, stop):
    folder = lla.save_model(model("topic"), tmp_path / "m")
    before = files(folder)

    def fails(*_):
        raise stop

    monkeypatch.setattr(model_file, where, fails)
    expected = InputError if isinstance(stop, OSError) else KeyboardInterrupt
    with pytest.raises(expected) as caught:
        lla.save_model(model("word"), folder)
    if expected is InputError:
        assert str(caught.value).startswith(f"{folder}: no space left on the disk; free some")
    assert files(folder) == before and os.listdir(tmp_path) == ["m"]


def test_write_errors_name_the_folder_not_the_temporary_name(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"file/m: cannot be written \(.*\); name a folder that"):
        lla.save_model(model(), tmp_path / "file" / "m")


def test_invalid_models_are_not_saved(tmp_path):
    made = model()
    bare = Model(made.network, made.emission, made.topics)
    with pytest.raises(InputError, match=r"has 4 items and the vocabulary 0: give Model\("):
        lla.save_model(bare, tmp_path / "m")
    for value in (0, float("nan"), -1.0):
        with pytest.raises(InputError, match=r"^perplexity is .*: give a number above 0$"):
            lla.save_model(made, tmp_path / "m", perplexity=value)
    assert not os.listdir(tmp_path)


# ------------------------------------------------------------------------- what to load


@pytest.fixture
def saved(tmp_path):
    return lla.save_model(model(), tmp_path / "m")


def refused(path):
    """The one line that `load_model` refuses `path` with; nothing on the disk changes."""
    root = path if path.is_dir() else path.parent
    before = {p: p.read_bytes() for p in root.rglob("*") if p.is_file()}
    with pytest.raises(InputError) as caught:
        lla.load_model(path)
    assert {p: p.read_bytes() for p in root.rglob("*") if p.is_file()} == before
    line = str(caught.value)
    assert "\n" not in line and line.startswith(str(path))
    return line.removeprefix(str(path))


def test_what_is_no_model(tmp_path, saved):
    assert refused(tmp_path / "none") == ": no such folder; write one with lla.save_model"
    (tmp_path / "empty").mkdir()
    assert "model.json: no such file, so this is no model; save" in refused(tmp_path / "empty")
    save_corpus(small_split().corpus, tmp_path / "corpus")
    assert "so this is a corpus (lla.load_corpus reads it);" in refused(tmp_path / "corpus")
    shutil.copy(saved / "model.safetensors", tmp_path / "sem.safetensors")
    assert "a file, not a model's folder; give the folder that lla.save_model wrote" in refused(
        tmp_path / "sem.safetensors"
    )
    (saved / "model.json").write_text("[1, 2]")
    assert "model.json: not what lla.save_model writes; save" in refused(saved)


def test_another_version_and_another_kind(saved):
    edit(saved, format=2, provenance={"versions": {"lla": "9.1"}})
    assert refused(saved) == (
        "/model.json: format 2, this version of lla reads format 1; use the one that wrote it (9.1)"
    )
    edit(saved, format=1, kind="gru")
    assert refused(saved).startswith("/model.json: kind 'gru' is not one of topic_lla, word_lla, ")


def test_any_cut_of_the_description_is_noticed(saved):
    text = (saved / "model.json").read_bytes()
    for n in {0, 1, 10, len(text) // 2, len(text) - 3}:
        (saved / "model.json").write_bytes(text[:n])
        assert "model.json: not whole JSON (" in refused(saved)


def test_any_cut_or_changed_byte_of_the_weights_is_noticed(saved):
    weights = (saved / "model.safetensors").read_bytes()
    changed = weights[:-5] + bytes([weights[-5] ^ 1]) + weights[-4:]
    for bad in (b"", weights[:7], weights[: len(weights) // 2], weights[:-1], changed):
        (saved / "model.safetensors").write_bytes(bad)
        assert "model.safetensors: cut short or not the weights of model.json" in refused(saved)
    (saved / "model.safetensors").unlink()
    assert "model.safetensors: cannot be read (No such file or directory); save" in refused(saved)


def test_weights_of_another_model(tmp_path, saved):
    other = lla.save_model(model("word"), tmp_path / "other")
    shutil.copy(other / "model.safetensors", saved)
    assert "not the weights of model.json beside it; save the model again" in refused(saved)


@pytest.mark.parametrize(
    "changes",
    [
        {"vocabulary": list(ITEMS[:3])},
        {"vocabulary": ["a", "a", "b", "c"]},
        {"vocabulary": None},
        {"emission": "other"},
        {"emission": None},
        {"network": {}},
    ],
)
def test_a_description_that_does_not_fit_its_weights(saved, changes):
    edit(saved, **changes)
    assert "model.json: does not fit its weights (" in refused(saved)


def test_sizes_that_are_not_those_of_the_weights(saved):
    network = json.loads((saved / "model.json").read_text())["network"]
    edit(saved, network=network | {"hidden_size": 6})
    assert "does not fit its weights (InputError: network: its sizes need more" in refused(saved)
    edit(saved, network=network | {"hidden_size": 4})
    assert "does not fit its weights (RuntimeError: " in refused(saved)


WORDS = st.lists(st.text(min_size=1).filter(lambda s: "\n" not in s), min_size=V, max_size=V)


@settings(max_examples=25, deadline=None)
@given(WORDS.filter(lambda words: len(set(words)) == V))
def test_items_in_any_script_are_restored(tmp_path_factory, words):
    made = model()
    named = Model(made.network, made.emission, np.zeros(0, np.int32), tuple(words))
    folder = lla.save_model(named, tmp_path_factory.getbasetemp() / "scripts")
    read = lla.load_model(folder)
    assert read.vocabulary == tuple(words)
    assert read.recommend(words[:2], V) == named.recommend(words[:2], V)
    assert read.topic_names(K) == named.topic_names(K)


@pytest.mark.parametrize("folder", [".", "", "..", "/"])
def test_a_model_is_not_saved_over_the_current_folder(tmp_path, monkeypatch, folder):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"^folder is .*: "):
        lla.save_model(model(), folder)
    assert not any(tmp_path.iterdir())
