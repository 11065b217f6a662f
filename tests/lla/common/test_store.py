"""Files are whole or not there; results say where they come from; bad files give one line."""

import errno
import io
import json
import math
import os
import threading
from dataclasses import dataclass
from functools import partial

import numpy as np
import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

from experiments import paths
from experiments import results as store
from lla.common import files
from lla.common.errors import InputError


@pytest.fixture
def results(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    monkeypatch.setattr(paths, "RESULTS", tmp_path / "results")
    return tmp_path / "results"


def assert_one_line(caught, *parts):
    message = str(caught.value)
    assert "\n" not in message
    for part in parts:
        assert str(part) in message


@pytest.mark.parametrize(("mode", "old", "new"), [("wb", b"old", b"new"), ("w", "old", "né\n")])
def test_a_file_is_replaced_whole(tmp_path, mode, old, new):
    path = tmp_path / "made" / "file"
    for content in (old, new):
        with files.atomic_write(path, mode) as file:
            file.write(content)
    assert path.read_bytes() == (new if mode == "wb" else new.encode())
    assert os.listdir(path.parent) == ["file"]


@pytest.mark.parametrize("stop", [RuntimeError, KeyboardInterrupt])
def test_a_failure_inside_the_block_leaves_the_old_file_and_nothing_else(tmp_path, stop):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with pytest.raises(stop), files.atomic_write(path) as file:
        file.write(b"half of the new")
        raise stop
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize("where", ["write", "fsync", "replace"])
def test_a_full_disk_names_the_file_and_the_remedy(tmp_path, monkeypatch, where):
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    if where != "write":
        monkeypatch.setattr(os, where, full)
    with pytest.raises(InputError) as caught, files.atomic_write(path) as file:
        file.write(b"half of the new")
        if where == "write":
            full()
    assert_one_line(caught, path, "no space left", "free some space")
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


class Full(io.RawIOBase):
    """A disk without room: what a buffer hands over is refused."""

    def writable(self):
        return True

    def write(self, _):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


on_linux = pytest.mark.skipif(not os.path.exists("/dev/full"), reason="a device of Linux")
FULL_DISKS = {
    "buffer": lambda: io.BufferedWriter(Full()),
    "device": partial(open, "/dev/full", "wb"),
}


@pytest.mark.parametrize("disk", ["buffer", pytest.param("device", marks=on_linux)])
def test_a_disk_that_is_full_while_closing(tmp_path, monkeypatch, disk):
    """The last bytes leave the buffer only in flush; that is where a real disk refuses."""
    path = tmp_path / "file"
    real = open

    def open_full(name, mode, **options):
        real(name, mode, **options).close()
        return FULL_DISKS[disk]()

    monkeypatch.setattr(store, "open", open_full, raising=False)
    with pytest.raises(InputError) as caught, files.atomic_write(path) as file:
        file.write(b"lost")
    assert_one_line(caught, path, "no space left")
    assert os.listdir(tmp_path) == []


def test_an_error_of_another_file_keeps_its_own_words(tmp_path):
    with pytest.raises(FileNotFoundError), files.atomic_write(tmp_path / "file"):
        open(tmp_path / "elsewhere").close()
    assert os.listdir(tmp_path) == []


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError) as caught, files.atomic_write(tmp_path / "file" / "inside"):
        pass
    assert_one_line(caught, tmp_path / "file" / "inside", "cannot be written")
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError) as caught, files.atomic_write(tmp_path / "folder") as file:
        file.write(b"x")
    assert_one_line(caught, tmp_path / "folder", "cannot be written")
    assert sorted(os.listdir(tmp_path)) == ["file", "folder"]


def test_writers_at_once_leave_one_whole_file(tmp_path):
    """Whoever reads at any moment sees the whole text of one writer, never a mixture."""
    path = tmp_path / "file"
    contents = [bytes([letter]) * 100_000 for letter in b"abcd"]

    def write(content):
        for _ in range(5):
            with files.atomic_write(path) as file:
                file.write(content)

    writers = [threading.Thread(target=write, args=(content,)) for content in contents]
    for writer in writers:
        writer.start()
    seen = []
    while any(writer.is_alive() for writer in writers):
        if path.exists():
            seen.append(path.read_bytes())
    for writer in writers:
        writer.join()
    assert all(content in contents for content in [*seen, path.read_bytes()])
    assert os.listdir(tmp_path) == ["file"]


def test_an_unknown_mode_is_refused(tmp_path):
    with pytest.raises(ValueError, match="choose 'wb' or 'w'"), files.atomic_write("x", "a"):
        pass


def test_json_takes_what_measurements_are_made_of(tmp_path):
    @dataclass(frozen=True)
    class Config:
        beta: float = 0.01

    path = tmp_path / "file.json"
    files.write_json(path, {"a": np.float32(0.5), "b": np.arange(3), "c": Config(), "d": path})
    assert files.read_json(path) == {
        "a": 0.5, "b": [0, 1, 2], "c": {"beta": 0.01}, "d": str(path)
    }  # fmt: skip


def test_json_refuses_nan_and_strangers_and_leaves_nothing(tmp_path):
    path = tmp_path / "file.json"
    with pytest.raises(ValueError, match="not JSON compliant"):
        files.write_json(path, {"loss": math.nan})
    with pytest.raises(TypeError, match="no JSON form"):
        files.write_json(path, {"what": object()})
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("content", [b'{"a": [1, 2', b"", b"\xff\xfe\x00", b"not json"])
def test_broken_json_gives_one_line(tmp_path, content):
    path = tmp_path / "file.json"
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        files.read_json(path)
    assert_one_line(caught, path, "delete it")


def test_missing_json_gives_one_line(tmp_path):
    with pytest.raises(InputError) as caught:
        files.read_json(tmp_path / "none.json")
    assert_one_line(caught, tmp_path / "none.json", "no such file")
    with pytest.raises(InputError) as caught:
        files.read_json(tmp_path)
    assert_one_line(caught, tmp_path, "cannot be read")


def test_tensors_come_back_bit_for_bit(tmp_path):
    path = tmp_path / "model.safetensors"
    read_only = np.arange(6, dtype=np.uint16)
    read_only.flags.writeable = False
    weight = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
    given = {
        "words": read_only,
        "offsets": np.array([0, 2**40], dtype=np.int64),
        "phi": np.asfortranarray(np.eye(3)),
        "weight": weight.T.requires_grad_(),
        "tied": weight,
        "step": torch.tensor(7),
        "empty": np.zeros((0, 3), dtype=np.float32),
    }
    meta = {"seed": 3, "state": 2**128 + 1, "name": "φ", "history": [{"loss": 0.1}]}
    files.save_tensors(path, given, meta)
    tensors, read = files.load_tensors(path)
    assert read == meta
    assert set(tensors) == set(given)
    for name, tensor in tensors.items():
        expected = torch.as_tensor(np.array(given[name].detach().numpy())
                                   if isinstance(given[name], torch.Tensor)
                                   else np.array(given[name]))  # fmt: skip
        assert tensor.dtype == expected.dtype
        assert torch.equal(tensor, expected)
    tensors["weight"].zero_()
    assert files.load_tensors(path)[0]["weight"].abs().sum() > 0


def test_a_model_that_does_not_fit_the_disk_leaves_the_old_one(tmp_path, monkeypatch):
    path = tmp_path / "model.safetensors"
    files.save_tensors(path, {"a": np.arange(100)}, {})
    old = path.read_bytes()

    def full(tensors, name, metadata):
        raise SafetensorError("Error while serializing: No space left on device (os error 28)")

    monkeypatch.setattr("safetensors.numpy.save_file", full)
    with pytest.raises(InputError) as caught:
        files.save_tensors(path, {"a": np.arange(200)}, {})
    assert_one_line(caught, path, "no space left", "free some space")
    assert path.read_bytes() == old and os.listdir(tmp_path) == [path.name]


def test_models_have_the_mode_of_any_other_file(tmp_path):
    files.save_tensors(tmp_path / "model", {"a": np.arange(3)}, {})
    (tmp_path / "other").write_text("x")
    modes = [(tmp_path / name).stat().st_mode for name in ("model", "other")]
    assert modes[0] == modes[1]


def test_a_model_file_cut_anywhere_gives_one_line(tmp_path):
    path = tmp_path / "model.safetensors"
    files.save_tensors(path, {"a": np.arange(100)}, {"k": 1})
    whole = path.read_bytes()
    for length in (0, 4, 8, 40, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(InputError) as caught:
            files.load_tensors(path)
        assert_one_line(caught, path, "delete it and run again")


def test_a_model_of_another_kind_or_version_gives_one_line(tmp_path, monkeypatch):
    path = tmp_path / "model.safetensors"
    path.write_text("these are words, and many more of them than a header needs")
    with pytest.raises(InputError) as caught:
        files.load_tensors(path)
    assert_one_line(caught, path, "not whole safetensors")
    save_file({"a": torch.zeros(1)}, path)
    with pytest.raises(InputError) as caught:
        files.load_tensors(path)
    assert_one_line(caught, path, "not a model of lla")
    with monkeypatch.context() as patch:
        patch.setattr(files, "FORMAT", "0")
        files.save_tensors(path, {"a": torch.zeros(1)}, {})
    with pytest.raises(InputError) as caught:
        files.load_tensors(path)
    assert_one_line(caught, path, "format 0", "format 1 is needed")
    with pytest.raises(InputError) as caught:
        files.load_tensors(tmp_path / "none")
    assert_one_line(caught, tmp_path / "none", "no such file")
    with pytest.raises(InputError) as caught:
        files.load_tensors(tmp_path)
    assert_one_line(caught, tmp_path, "cannot be read")


def test_measure_is_mean_and_sample_deviation():
    three = store.measure([1.0, 2.0, 6.0], "perplexity")
    assert three["value"] == 3.0
    assert three["spread"] == pytest.approx(math.sqrt(7))
    assert (three["n_seeds"], three["unit"], three["values"]) == (3, "perplexity", [1.0, 2.0, 6.0])
    assert store.measure(np.array([5]), "s")["spread"] == 0.0
    for bad in ([], [1.0, math.nan], [math.inf]):
        with pytest.raises(ValueError, match="at least one value"):
            store.measure(bad, "perplexity")


def save(**changes):
    options = {
        "config": {"n_topics": 20},
        "seeds": np.arange(3),
        "measures": {"perplexity.lda": store.measure([3.0, 4.0], "perplexity")},
        "claims": [],
        "corpus": "f1n6e7",
        "seconds": 12.34,
    }
    return store.save_result("small", "joint", **(options | changes))


def test_a_result_says_where_it_comes_from(results, monkeypatch):
    monkeypatch.setenv("LLA_THREADS", "3")
    (results.parent / "requirements.lock").write_text("numpy==2\n")
    path = save(extra={"curve": np.arange(2)})
    assert path == results / "small" / "joint.json"
    result = store.load_result("small", "joint")
    assert result == json.loads(path.read_text())
    assert list(result) == [
        "config", "seeds", "measures", "claims", "environment", "seconds", "peak_memory", "extra"
    ]  # fmt: skip
    assert result["seeds"] == [0, 1, 2]
    assert result["extra"] == {"curve": [0, 1]}
    around = result["environment"]
    assert around["corpus"] == "f1n6e7"
    assert around["threads"] == 3
    assert around["packages"]["torch"] == torch.__version__
    assert around["cpu"] and around["cores"] >= 1 and len(around["lock"]) == 64
    # Any Python with Torch in it holds more than 30 MB; a wrong unit would be off by 1024.
    assert 30e6 < result["peak_memory"] < 1e12


def test_the_same_measurement_gives_the_same_bytes_but_for_memory(results):
    def without_memory():
        result = json.loads(save().read_text())
        del result["peak_memory"]
        return result

    assert without_memory() == without_memory()


def test_a_result_that_says_too_little_is_refused(results):
    with pytest.raises(ValueError, match=r"perplexity\.lda: n_seeds, spread, unit missing"):
        save(measures={"perplexity.lda": {"value": 1.0}})
    with pytest.raises(ValueError, match="not JSON compliant"):
        save(seconds=math.nan)
    assert not results.exists()


def test_a_missing_result_names_the_command(results):
    with pytest.raises(InputError) as caught:
        store.load_result("medium", "joint")
    assert_one_line(caught, "joint.json", "make reproduce PROFILE=medium")
    with pytest.raises(InputError) as caught:
        store.load_result("huge", "joint")
    assert_one_line(caught, "'huge'")
