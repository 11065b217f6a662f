"""Folders from strangers whose files say what is not so: one line, no crash, no flood of memory."""

import hashlib
import json
import os
import resource
import shutil
import sys
from contextlib import contextmanager

import numpy as np
import psutil
import pytest
from small_sem import small_fit, small_split

import lla
from lla.common.errors import InputError
from lla.common.files import load_arrays, read_json, save_tensors
from lla.corpus import save_corpus
from lla.inference.config import SOURCES


@contextmanager
def little_memory(more=2**31):
    """Two gigabytes more of address space than now: what floods it fails at once."""
    if sys.platform != "linux":  # elsewhere there is no such limit
        yield
        return
    used = psutil.Process().memory_info().vms
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used + more, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A model with counts and urns, all that kernels index by."""
    model = small_fit(n_iterations=1, emission="personal", sources=SOURCES)
    return lla.save_model(model, tmp_path_factory.mktemp("hostile") / "m")


@pytest.fixture
def copy(saved, tmp_path):
    return shutil.copytree(saved, tmp_path / "m")


def change(folder, changes, tensors=None):
    """Change entries of model.json by their path, and tensors by name; the hash fits again."""
    path = folder / "model.json"
    meta = json.loads(path.read_text())
    if tensors:
        arrays, more = load_arrays(folder / "model.safetensors")
        save_tensors(folder / "model.safetensors", arrays | tensors, more)
        weights = (folder / "model.safetensors").read_bytes()
        meta["sha256"] = hashlib.sha256(weights).hexdigest()
    for name, value in changes.items():
        *outer, last = name.split(".")
        place = meta
        for key in outer:
            place = place[key]
        place[last] = value
    path.write_text(json.dumps(meta))


def refused(load, folder):
    with pytest.raises(InputError) as caught, little_memory():
        load(folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    "changes",
    [
        {"network.hidden_size": 200_000},
        {"network.embedding_size": 2**31 - 1},
        {"network.n_inputs": 2**31 - 1},
        {"network.input": "character", "network.characters.max_chars": 2**31 - 1},
        {"network.input": "character", "network.characters.embedding_size": 2**31 - 1},
        {"network.hidden_size": -5},
        {"network.hidden_size": "6"},
        {"kind": ["topic_lla"]},
        {"provenance": []},
        {"provenance.data": [1]},
        {"provenance.topic_tokens": [1, 2]},
        {"provenance.topic_tokens": ["a", "b", "c"]},
        {"provenance.topic_tokens": [-1, 2, 3]},
        {"provenance.n_observed": "12"},
        {"vocabulary": [1, 2, 3]},
        {"vocabulary": ["a", "\ud800", "b"]},
        {"sources": ["next", "own_next", "other"]},
    ],
)
def test_descriptions_that_lie(copy, changes):
    change(copy, changes)
    assert "model.json: " in refused(lla.load_model, copy)


TOP = np.iinfo(np.int64).max


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("emission.tau", lambda tau: tau[:-1]),
        ("emission.tau", lambda tau: tau.astype(np.float64)),
        ("emission.phi", lambda phi: phi[:, :-1]),
        ("emission.phi", lambda phi: phi.astype(np.int32)),
        ("emission.source_follower", lambda ids: ids + 10**6),
        ("emission.source_follower", lambda ids: -ids - 1),
        ("emission.source_first", lambda first: first.astype(np.float64)),
        ("emission.source_first", lambda first: np.r_[0, TOP, -2, first[3:]]),
        ("emission.source_word_count", lambda count: count[:-1]),
        ("emission.source_parameters", lambda numbers: numbers * 0),
        ("emission.source_parameters", lambda numbers: numbers * np.nan),
        ("network.output.weight", lambda weight: weight[:-1]),
    ],
)
def test_tensors_that_kernels_would_read_beyond(copy, name, make):
    arrays, _ = load_arrays(copy / "model.safetensors")
    change(copy, {}, {name: np.ascontiguousarray(make(arrays[name]))})
    assert "model.json: does not fit its weights (" in refused(lla.load_model, copy)


def test_what_is_nested_without_end(copy, tmp_path):
    (copy / "model.json").write_text(10**6 * "[")
    assert "model.json: not whole JSON (RecursionError" in refused(lla.load_model, copy)
    save_corpus(small_split().corpus, tmp_path / "c")
    (tmp_path / "c" / "manifest.json").write_text(10**6 * "[")
    assert "manifest.json: not whole JSON; " in refused(lla.load_corpus, tmp_path / "c")
    (tmp_path / "deep.json").write_text(10**6 * '{"a":')
    assert "deep.json: not whole JSON (" in refused(read_json, tmp_path / "deep.json")
    save_tensors(path := tmp_path / "deep.safetensors", {"a": np.zeros(1)}, {"b": "fill"})
    header = path.read_bytes()
    assert b'{\\"b\\": \\"fill\\"}' in header  # JSON in JSON: of the same length when it is broken
    broken = header.replace(b'{\\"b\\": \\"fill\\"}', b"[[[[[[[[[[[[[[[[[["[:17])
    path.write_bytes(broken)
    assert "deep.safetensors: damaged, its checksum is another" in refused(load_arrays, path)
    path.write_bytes(broken.replace(b"crc32", b"other"))  # as a file without one
    assert "deep.safetensors: not whole safetensors" in refused(load_arrays, path)


def test_pipes_are_no_files(copy, tmp_path):
    """Reading one would wait without end."""
    for name in ("model.json", "model.safetensors"):
        (copy / name).unlink()
        os.mkfifo(copy / name)
        refused(lla.load_model, copy)
    save_corpus(small_split().corpus, tmp_path / "c")
    (tmp_path / "c" / "words.npy").unlink()
    os.mkfifo(tmp_path / "c" / "words.npy")
    assert "words.npy missing" in refused(lla.load_corpus, tmp_path / "c")


def corpus_with(folder, **files):
    """A corpus folder whose arrays were replaced, and whose hashes fit again."""
    save_corpus(small_split().corpus, folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    for name, content in files.items():
        path = folder / f"{name}.npy"
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            np.save(path, content)
        manifest["sha256"][path.name] = hashlib.sha256(path.read_bytes()).hexdigest()
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def header(descr, shape):
    text = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}".encode()
    text += (117 - len(text)) * b" " + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


N = small_split().corpus.n_tokens


@pytest.mark.parametrize(
    "files",
    [
        {"offsets": np.array([0, TOP, -2, N])},  # each difference is above 0 when it overflows
        {"offsets": np.array([0, TOP])},
        {"offsets": np.array([0, -TOP - 1, N])},
        {"offsets": header("<i8", f"({10**12},)")},
        {"offsets": header("<i8", f"({2**62},)")},
        {"offsets": header("<i8", "(-1,)")},
        {"words": header("<u2", f"({10**12},)")},
        {"words": header("<u2", f"({2**63},)")},
        {"words": header("|O", "(1,)")},
        {"words": np.full(N, 60_000, np.uint16)},
        {"words": b""},
        {"words": b"PK\x03\x04 no archive"},
        {"offsets": header("<i8", "((")},
    ],
    ids=range(13),
)
def test_corpora_whose_headers_and_offsets_lie(tmp_path, files):
    folder = corpus_with(tmp_path / "c", **files)
    assert str(folder) in refused(lla.load_corpus, folder)


def test_a_link_in_place_of_a_model_is_replaced_and_what_it_leads_to_is_kept(saved, tmp_path):
    target = shutil.copytree(saved, tmp_path / "target")
    (link := tmp_path / "m").symlink_to(target)
    lla.save_model(lla.load_model(saved), link)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m", "target"]
    assert not link.is_symlink() and len(list(target.iterdir())) == 3
