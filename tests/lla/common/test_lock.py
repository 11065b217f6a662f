"""A lock that one process holds at a time; whoever comes second learns who the first is."""

import os
import re
import socket

import pytest

from lla.common.errors import InputError
from lla.common.lock import LOCK, exclusive


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
