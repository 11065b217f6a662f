"""Files are whole or not there; bad files give one line."""

import errno
import io
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

from lla.common import files
from lla.common.errors import InputError


def assert_one_line(caught, *parts):
    message = str(caught.value)
    assert "\n" not in message
    for part in parts:
        assert str(part) in message


@pytest.mark.parametrize(("mode", "old", "new"), [("wb", b"old", b"new"), ("w", "old", "né\n")])
def test_a_file_is_replaced_atomically(tmp_path, mode, old, new):
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

    monkeypatch.setattr(files, "open", open_full, raising=False)
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


def test_concurrent_writers_leave_one_complete_file(tmp_path):
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


def test_json_accepts_numpy_numbers_arrays_and_dataclasses(tmp_path):
    @dataclass(frozen=True)
    class Config:
        beta: float = 0.01

    path = tmp_path / "file.json"
    files.write_json(path, {"a": np.float32(0.5), "b": np.arange(3), "c": Config(), "d": path})
    assert files.read_json(path) == {
        "a": 0.5, "b": [0, 1, 2], "c": {"beta": 0.01}, "d": str(path)
    }  # fmt: skip


def test_json_refuses_nan_and_unknown_types_and_leaves_no_file(tmp_path):
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


def test_equal_tensors_make_equal_files(tmp_path):
    """The library writes the entries of a header in an order that changes from call to call."""
    found, meta = set(), {"name": 'né \x01\x7f\n"\\/ 日本 \U0001f600'}
    for i in range(12):
        files.save_tensors(tmp_path / str(i), {"b": np.arange(3), "a": np.ones((2, 2))}, meta)
        found.add((tmp_path / str(i)).read_bytes())
    assert len(found) == 1
    arrays, read = files.load_arrays(tmp_path / "0")
    assert read == meta and arrays["b"].tolist() == [0, 1, 2] and arrays["a"].sum() == 4


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


def test_any_bit_that_flips_in_a_file_is_seen(tmp_path):
    """What is read from a damaged file is what was written, or nothing."""
    path = tmp_path / "fit.safetensors"
    given = {"a": np.arange(6, dtype=np.int32), "b": np.array(0.5), "c": np.zeros((0, 2), np.uint8)}
    meta = {"kind": "lda", "history": [{"loss": 0.25}]}
    files.save_tensors(path, given, meta)
    whole, n_refused = path.read_bytes(), 0
    for byte in range(len(whole)):
        changed = bytearray(whole)
        changed[byte] ^= 1 << byte % 8
        path.write_bytes(changed)
        try:
            arrays, read = files.load_arrays(path)
        except InputError as error:
            assert str(error).endswith("; give another file, or delete it and run again")
            n_refused += 1
        else:
            assert read == meta and arrays.keys() == given.keys()
            for name, array in arrays.items():
                assert array.dtype == given[name].dtype
                np.testing.assert_array_equal(array, given[name], strict=True)
    assert n_refused > 0.9 * len(whole), "all but the checksum's own name, and blanks"


def test_a_file_of_an_earlier_version_has_no_checksum_and_is_read(tmp_path):
    path = tmp_path / "fit.safetensors"
    header = {"lla_format": "1", "meta": '{"kind": "lda"}'}
    save_file({"a": torch.arange(3)}, path, header)
    arrays, meta = files.load_arrays(path)
    assert arrays["a"].tolist() == [0, 1, 2] and meta == {"kind": "lda"}


def test_what_killed_processes_left_is_removed_by_the_next_write_and_nothing_else(tmp_path):
    dead, alive = 999_999_999, os.getppid()
    path = tmp_path / "a.json"
    kept = {f".tmp-a.json-{alive}-0123abcd", f".tmp-b.json-{dead}-0123abcd", ".tmp-a.json-x"}
    for name in (*kept, f".tmp-a.json-{dead}-0123abcd"):
        (tmp_path / name).write_text("half")
    (tmp_path / f".tmp-a.json-{dead}-00000000").mkdir()
    (tmp_path / f".tmp-a.json-{dead}-00000000" / "inside").write_text("half")
    files.write_json(path, {})
    assert set(os.listdir(tmp_path)) == {*kept, "a.json"}
