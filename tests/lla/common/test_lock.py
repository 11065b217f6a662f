"""A lock that one process holds at a time; whoever comes second learns who the first is."""

import errno
import fcntl
import os
import re
import signal
import socket

import pytest

from lla.common import lock
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


def answer(number):
    """What a disk says that takes no locks."""

    def flock(descriptor, operation):
        raise OSError(number, os.strerror(number))

    return flock


@pytest.fixture(params=["ENOLCK", "EOPNOTSUPP", "ENOSYS"])
def no_locks(request, monkeypatch):
    """Such a disk, on which nothing was locked before."""
    lock._warn_of.cache_clear()
    with monkeypatch.context() as patched:
        patched.setattr(fcntl, "flock", answer(getattr(errno, request.param)))
        yield patched


def test_on_a_disk_without_locks_the_file_is_the_lock(tmp_path, no_locks, caplog):
    file = tmp_path / "a.fit"
    who = rf"\(process {os.getpid()} on {re.escape(socket.gethostname())}, since [^)]+\)"
    for hold, path in ((exclusive, tmp_path / LOCK), (exclusive_file, lock_of(file))):
        given = tmp_path if hold is exclusive else file
        for _ in range(2):  # it is free again afterwards
            with hold(given):
                line = (
                    f"^{given}: another run is in progress {who}, or was killed; wait for it or "
                    f"stop it, and where none runs delete {path}: its disk has no locks$"
                )
                with pytest.raises(InputError, match=line), hold(given):
                    raise AssertionError
                assert path.exists(), "who is refused leaves the lock alone"
        with pytest.raises(ZeroDivisionError), hold(given):
            raise ZeroDivisionError
    assert os.listdir(tmp_path) == []
    (record,) = caplog.records
    line = f"{tmp_path}: its disk has no locks; a file stands for one, and a run that is killed "
    assert (record.levelname, record.getMessage()) == ("WARNING", f"{line}leaves it")


def test_there_a_killed_process_leaves_a_lock_that_is_deleted_by_hand(tmp_path, no_locks):
    file = tmp_path / "a.fit"
    if not (child := os.fork()):
        held = exclusive_file(file)
        held.__enter__()
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    line = rf"^{file}: another run is in progress \(process {child} on .* delete {lock_of(file)}: "
    for _ in range(2):
        with pytest.raises(InputError, match=line):
            exclusive_file(file).__enter__()
    no_locks.undo()  # the disk can lock now: a run that began before has the file all the same
    with pytest.raises(InputError, match=line):
        exclusive_file(file).__enter__()
    lock_of(file).unlink()
    with exclusive_file(file):
        pass
    assert os.listdir(tmp_path) == []


def test_a_lock_that_the_disk_holds_for_another_is_not_taken_by_name(tmp_path, monkeypatch):
    """One machine may have locks where another has none."""
    with exclusive(tmp_path):
        monkeypatch.setattr(fcntl, "flock", answer(errno.ENOLCK))
        with pytest.raises(InputError, match=f"delete {tmp_path / LOCK}: "), exclusive(tmp_path):
            raise AssertionError


def test_another_answer_of_the_disk_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr(fcntl, "flock", answer(errno.EIO))
    line = r"\.lock: cannot be locked \(Input/output error\); name a folder on a local disk$"
    with pytest.raises(InputError, match=line), exclusive(tmp_path):
        raise AssertionError
