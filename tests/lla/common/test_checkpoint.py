"""Where a checkpoint can be written, and what is no checkpoint: known before a fit begins."""

import os
import pickle
import sys
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from simulated import all_observed, random_corpus
from small_sem import SMALL, small_fit, small_split, start_topics

from lla.common.checkpoint import OtherFitError, resume_fit, save_fit
from lla.common.errors import InputError
from lla.common.files import load_arrays, save_tensors
from lla.corpus import split_corpus
from lla.inference.config import SEMConfig
from lla.lda import LDAConfig, fit_lda
from lla.peers.autoencoder import AutoencoderConfig, fit_autoencoder
from lla.peers.crnn import CRNNConfig, fit_crnn
from lla.peers.ddlda import DDLDAConfig, fit_ddlda
from lla.peers.factorization import FactorizationConfig, fit_factorization
from lla.peers.hmm import HMMConfig, fit_hmm
from lla.peers.sasrec import SASRecConfig, fit_sasrec
from lla.peers.sequence import GRU4RecConfig, fit_gru4rec
from lla.sem import config_of, fit_sem, load_sem


def fits():
    """Every function that takes a checkpoint, given all but that."""
    split = small_split()
    topics, stop = start_topics(split), {"on_iteration": pytest.fail}
    sweeps = {"n_topics": 2, "n_sweeps": 1}
    model = small_fit(n_iterations=1)
    return {
        "lda": partial(fit_lda, split, LDAConfig(**sweeps), 0, **stop),
        "ddlda": partial(fit_ddlda, split, DDLDAConfig(**sweeps), 0, **stop),
        "sem": partial(fit_sem, split, SMALL, 0, start=topics, **stop),
        "factorization": partial(fit_factorization, split, FactorizationConfig(), 0, **stop),
        "hmm": partial(fit_hmm, split, HMMConfig(2), 0, **stop),
        "autoencoder": partial(fit_autoencoder, split, AutoencoderConfig(), 0, **stop),
        "gru4rec": partial(fit_gru4rec, split, GRU4RecConfig(), 0, **stop),
        "sasrec": partial(fit_sasrec, split, SASRecConfig(), 0, **stop),
        "c_gru": partial(fit_crnn, split, CRNNConfig(), 0, **stop),
        "score": partial(model.score, split),
    }


@pytest.fixture(scope="module")
def all_fits():
    return fits()


KINDS = ["lda", "ddlda", "sem", "factorization", "hmm", "autoencoder", "gru4rec", "sasrec"]
KINDS += ["c_gru", "score"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_place_that_cannot_be_written_is_refused_before_the_fit(tmp_path, all_fits, kind):
    (tmp_path / "file").write_text("mine")
    places = {
        tmp_path: "a folder: give the name of a file in it",
        str(tmp_path): "a folder: give the name of a file in it",
        tmp_path / "missing" / "fit": "there is no folder .*missing; make it, or name another",
        tmp_path / "file" / "fit": "there is no folder .*file; make it, or name another",
        tmp_path / ("a" * 250): "cannot be written .*; name a file in a folder that you may write",
        "": "give the name of a file or folder",
        3: "give the name of a file or folder",
    }
    if sys.platform == "linux":  # where nobody, not even root, may write
        places["/proc/fit"] = "cannot be written .*; name a file in a folder that you may write"
    for place, line in places.items():
        with pytest.raises(InputError, match=f"^checkpoint is .*{line}") as caught:
            all_fits[kind](checkpoint=place)
        assert "\n" not in str(caught.value)
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_that_is_no_checkpoint_is_refused_and_left_alone(tmp_path, all_fits, kind):
    path = tmp_path / "notes.txt"
    for text in ("", "a day's work, and more of it than a header would need to have"):
        path.write_text(text)
        with pytest.raises(InputError, match=r"notes\.txt: not whole .*; give another file, or"):
            all_fits[kind](checkpoint=path)
        assert path.read_text() == text
    save_tensors(path, {"a": np.zeros(1)}, {"kind": "model"})
    before = path.read_bytes()
    with pytest.raises(OtherFitError, match="holds the weights of a saved model, and here"):
        all_fits[kind](checkpoint=str(path))
    save_tensors(path, {"a": np.zeros(1)}, {})
    with pytest.raises(OtherFitError, match="holds another model, and here"):
        all_fits[kind](checkpoint=path)
    assert path.read_bytes() != before


def test_options_that_are_not_known_make_another_fit(tmp_path):
    path = tmp_path / "fit"
    identity = {"kind": "sem", "seed": 1, "config": {"a": 1}}
    save_fit(path, identity, {"x": np.zeros(1)}, {"config": {"speed": 3}})

    def read(saved):
        return SEMConfig.from_dict(saved).effective()

    line = r"this version of lla does not read its options \(speed is no option of SEMConfig"
    with pytest.raises(OtherFitError, match=line):
        resume_fit(path, identity, read)


def test_a_refusal_passes_from_one_process_to_another():
    error = pickle.loads(pickle.dumps(OtherFitError("fit: holds another fit")))
    assert str(error) == "fit: holds another fit" and isinstance(error, InputError)


def test_a_fit_of_lda_is_no_lla_to_read(tmp_path):
    path, split = tmp_path / "lda", all_observed(random_corpus())
    fit_lda(split, LDAConfig(n_topics=2, n_sweeps=1), 0, checkpoint=path)
    with pytest.raises(InputError, match="lda: not an LLA; give a file that fit_sem"):
        config_of(path)
    with pytest.raises(InputError, match="lda: not an LLA of this corpus and split"):
        load_sem(path, split_corpus(split.corpus))


RESUMED = {  # fits that have ended: what they save is all that they read back
    "lda": partial(fit_lda, config=LDAConfig(2, n_sweeps=2), seed=0),
    "ddlda": partial(fit_ddlda, config=DDLDAConfig(2, n_sweeps=1), seed=0),
    "gru4rec": partial(
        fit_gru4rec, config=GRU4RecConfig(embedding_size=3, hidden_size=3, n_epochs=1), seed=0
    ),
    "hmm": partial(fit_hmm, config=HMMConfig(2, n_iterations=1, n_starts=1), seed=0),
    "sem": partial(fit_sem, config=replace(SMALL, n_iterations=1, patience=1), seed=0),
}


@pytest.mark.parametrize("kind", RESUMED)
def test_a_checkpoint_that_lacks_or_changes_what_a_fit_saves_is_refused(tmp_path, kind):
    """Kernels check no bounds, and Torch would stretch a number over a whole matrix."""
    split, path = small_split(), tmp_path / "fit.safetensors"
    options = {"start": start_topics(split)} if kind == "sem" else {}
    RESUMED[kind](split, checkpoint=path, **options)
    arrays, meta = load_arrays(path)
    changed = [{}]
    for name, array in arrays.items():
        rest = {other: value for other, value in arrays.items() if other != name}
        if name == "topics":
            changed += [{**rest, name: array + 2**14}, {**rest, name: array[:-1]}, rest]
        elif name.startswith(("network.", "module.", "last.")):
            changed += [{**rest, name: array.reshape(-1)[:1]}, rest]
    for other in changed:
        save_tensors(path, other, meta)
        before = path.read_bytes()
        with pytest.raises(InputError, match=r"fit\.safetensors: does not hold what this fit sav"):
            RESUMED[kind](split, checkpoint=path, **options)
        assert path.read_bytes() == before
    without = {key: value for key, value in meta.items() if key not in ("history", "sweep")}
    save_tensors(path, arrays, without)
    with pytest.raises(InputError, match=r"\(KeyError: '(history|sweep)'\); delete it and run ag"):
        RESUMED[kind](split, checkpoint=path, **options)
