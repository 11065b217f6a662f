"""A lock that one process holds at a time; whoever comes second learns who the first is."""

import os
import re
import signal
import socket

import pytest

from lla.common.errors import InputError
from lla.common.lock import LOCK, exclusive, exclusive_file, lock_of


def test_the_second_is_told_who_holds_the_lock(tmp_path):
    """Each `open` of the file is a holder of its own, so one process shows both sides."""
    with exclusive(tmp_path):
        with pytest.raises(InputError) as caught, exclusive(tmp_path, "my_model"):
            raise AssertionError
        day = r"since \d{4}-\d\d-\d\d \d\d:\d\d:\d\d"
        who = rf"\(process {os.getpid()} on {re.escape(socket.gethostname())}, {day}\)"
        line = rf"my_model: another run is in progress {who}; wait for it or stop it"
        assert re.fullmatch(line, str(caught.value))
        with pytest.raises(InputError, match=f"^{tmp_path}: another run"), exclusive(tmp_path):
            raise AssertionError
    with exclusive(tmp_path):
        pass


def test_it_ends_with_an_error_and_with_the_process(tmp_path):
    with pytest.raises(ZeroDivisionError), exclusive(tmp_path):
        raise ZeroDivisionError
    if not (child := os.fork()):
        held = exclusive(tmp_path)
        held.__enter__()
        os._exit(0)
    os.waitpid(child, 0)
    with exclusive(tmp_path):
        pass


def test_the_lock_of_a_file_leaves_nothing_and_is_of_that_file_alone(tmp_path):
    file, other = tmp_path / "a.fit", tmp_path / "b.fit"
    with exclusive_file(file), exclusive_file(other):
        with pytest.raises(InputError, match=rf"^{file}: another run is in progress \(process"):
            exclusive_file(file).__enter__()
        assert lock_of(file).exists()
    assert os.listdir(tmp_path) == []
    with pytest.raises(ZeroDivisionError), exclusive_file(file):
        raise ZeroDivisionError
    assert os.listdir(tmp_path) == []


def test_the_lock_of_a_file_ends_with_a_killed_process_and_is_cleared_by_the_next(tmp_path):
    file = tmp_path / "a.fit"
    if not (child := os.fork()):
        held = exclusive_file(file)
        held.__enter__()
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    assert os.listdir(tmp_path) == [lock_of(file).name]
    with exclusive_file(file):
        pass
    assert os.listdir(tmp_path) == []


def test_who_ends_does_not_take_away_the_lock_of_another(tmp_path):
    file = tmp_path / "a.fit"
    first, second = exclusive_file(file), exclusive_file(file)
    first.__enter__()
    lock_of(file).unlink()  # by hand
    second.__enter__()
    first.__exit__(None, None, None)
    with pytest.raises(InputError, match="another run"):
        exclusive_file(file).__enter__()
    second.__exit__(None, None, None)


@pytest.mark.parametrize("content", ["", "{}", "[[", 4000 * "[", '{"pid": 1, "host": "a"}', "\x00"])
def test_a_file_that_does_not_say_who_is_no_trouble(tmp_path, content):
    with exclusive(tmp_path):
        (tmp_path / LOCK).write_text(content)
        line = f"^{tmp_path}: another run is in progress; wait for it or stop it$"
        with pytest.raises(InputError, match=line), exclusive(tmp_path):
            raise AssertionError


def test_a_lock_whose_file_was_deleted_holds_no_more(tmp_path):
    """As a fit deletes its work folder at its end: the next one must not lock a deleted file."""
    with exclusive(tmp_path):
        (tmp_path / LOCK).unlink()
        with exclusive(tmp_path), pytest.raises(InputError), exclusive(tmp_path):
            raise AssertionError


def test_what_cannot_be_locked_is_one_line(tmp_path):
    (tmp_path / "target").write_text("kept")
    (tmp_path / LOCK).symlink_to(tmp_path / "target")
    with pytest.raises(InputError, match=r"\.lock: cannot be locked \(.*\); remove it$"):
        exclusive(tmp_path).__enter__()
    assert (tmp_path / "target").read_text() == "kept"
    with pytest.raises(InputError, match=r"none/\.lock: cannot be locked \(No such file"):
        exclusive(tmp_path / "none").__enter__()
