"""Fits side by side come to what they come to one after another, and are stopped together."""

import multiprocessing
import os
import subprocess
import sys
import time
from functools import partial
from multiprocessing import active_children
from pathlib import Path

import numpy as np
import psutil
import pytest
from simulated import all_observed, random_corpus

from experiments import processes
from experiments.processes import run_parallel, running
from lla.common.errors import InputError
from lla.common.parallel import default_threads
from lla.common.progress import _FileBar
from lla.lda import LDAConfig, fit_lda


def about(value):
    return value, os.getpid(), default_threads(), os.environ["LLA_PROGRESS"]


def wait_or_fail(folder, name):
    """One call waits until the other has begun, so that there are two at work when it fails."""
    (folder / name).touch()
    end = time.monotonic() + 60
    while len(list(folder.iterdir())) < 2 and time.monotonic() < end:
        time.sleep(0.05)
    if name == "fails":
        raise InputError("beta is -1: give a number above 0")
    time.sleep(60)


def test_results_keep_the_order_of_calls_and_processes_use_one_thread():
    found = run_parallel([partial(about, value) for value in range(5)], n_processes=2)
    assert [value for value, *_ in found] == [0, 1, 2, 3, 4]
    assert os.getpid() not in {pid for _, pid, *_ in found}
    assert {tuple(rest) for _, _, *rest in found} == {(1, os.devnull)}
    assert not active_children()


def test_the_calls_that_run_are_named(tmp_path, monkeypatch):
    names = ["lda, seed 1", "lda, seed 2", "lda, seed 3"]
    assert running(names, [False] * 3, 2) == "lda, seed 1 | lda, seed 2"
    assert running(names, [False, True, False], 2) == "lda, seed 1 | lda, seed 3"
    assert running((), [False], 2) == running(names, [True] * 3, 2) == ""
    shown = []
    monkeypatch.setenv("LLA_PROGRESS", str(tmp_path / "progress.json"))
    monkeypatch.setattr(_FileBar, "report", lambda bar, n: shown.append(bar.desc))
    run_parallel([partial(about, value) for value in range(3)], "fits", 2, names=names)
    assert shown[0] == "lda, seed 1 | lda, seed 2"


@pytest.mark.parametrize(("n_calls", "n_processes"), [(1, 2), (3, 1)])
def test_one_alone_and_one_thread_stay_in_this_process(n_calls, n_processes):
    calls = [os.getpid for _ in range(n_calls)]
    assert run_parallel(calls, n_processes=n_processes) == [os.getpid()] * n_calls


def test_fresh_ones_are_a_process_each():
    found = run_parallel([os.getpid] * 3, n_processes=2, fresh=True)
    assert len({*found, os.getpid()}) == 4
    assert run_parallel([os.getpid], n_processes=1, fresh=True) != [os.getpid()]


def test_the_number_of_processes_is_limited(monkeypatch):
    class Asked(Exception):
        pass

    def pool(n, *_, **__):
        raise Asked(n)

    monkeypatch.setattr(processes, "ProcessPoolExecutor", pool)
    with pytest.raises(Asked, match=r"^4$"):
        run_parallel([os.getpid] * 100, n_processes=64)


def test_no_calls_give_no_results():
    assert run_parallel([]) == run_parallel([], fresh=True) == []


def test_an_error_stops_the_others(tmp_path):
    begun = time.monotonic()
    with pytest.raises(InputError, match="beta is -1"):
        run_parallel([partial(wait_or_fail, tmp_path, n) for n in ("waits", "fails")], "", 2)
    assert time.monotonic() - begun < 50, "the other went on"
    assert not active_children(), "it came back before they had ended"


def test_a_fit_does_not_depend_on_its_process():
    split, config = all_observed(random_corpus()), LDAConfig(n_topics=3, n_sweeps=4)
    calls = [partial(fit_lda, split, config, seed) for seed in (1, 2)]
    for here, there in zip([call() for call in calls], run_parallel(calls, "", 2), strict=True):
        assert np.array_equal(here.topics, there.topics)
        assert np.array_equal(here.alpha, there.alpha)


SCRIPT = """
import os
{before}
from experiments.processes import run_parallel
from lla.common.errors import InputError
from lla.common.progress import _FileBar
print("started", flush=True)
{guard}
try:
    print(len(set(run_parallel([os.getpid] * 4, n_processes=2))) in (1, 2))
except InputError as error:
    print("error:", error)
"""


def run_script(folder, guard="", before=""):
    """What a script prints that starts processes; nothing on its standard error."""
    script = folder / "script.py"
    text = SCRIPT.format(guard=guard, before=before)
    if guard.startswith("if"):
        head, body = text.split(guard)
        text = head + guard + body.replace("\n", "\n    ")
    script.write_text(text)
    root = str(Path(__file__).parents[2])
    done = subprocess.run(
        [sys.executable, str(script)],
        env=os.environ | {"PYTHONPATH": root},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


def test_a_script_without_a_main_guard_is_told_so_before_a_process_starts(tmp_path):
    line = f"error: {tmp_path / 'script.py'}: every new process would run this script again; put "
    line += 'its lines under `if __name__ == "__main__":`'
    assert run_script(tmp_path) == ["started", line]


def test_a_script_with_a_main_guard_works(tmp_path):
    found = run_script(tmp_path, guard='if __name__ == "__main__":')
    assert found[0] == "started" and found[-1] == "True" and "error" not in str(found)


def test_a_call_beside_the_main_guard_ends_in_one_line(tmp_path):
    found = run_script(tmp_path, before='if __name__ == "__main__":\n    pass')
    errors = [line for line in found if line.startswith("error")]
    assert errors == [
        "error: a process ended before its work was done: give it more memory, or, where a script "
        'starts it, put its lines under `if __name__ == "__main__":`'
    ], found


def test_a_process_that_is_killed_is_one_line():
    with pytest.raises(InputError, match=r"^a process ended before its work was done: give"):
        run_parallel([partial(os._exit, 1)] * 2, n_processes=2)
    assert not active_children()


def note_and_wait(folder, name):
    (folder / name).write_text(str(os.getpid()))
    time.sleep(60)


def two_that_wait(folder):
    run_parallel([partial(note_and_wait, folder, name) for name in "ab"], n_processes=2)


def test_processes_end_with_a_caller_that_is_killed(tmp_path):
    caller = multiprocessing.get_context("spawn").Process(target=two_that_wait, args=(tmp_path,))
    caller.start()
    end = time.monotonic() + 60
    while len(numbers := [path.read_text() for path in tmp_path.iterdir()]) < 2 or "" in numbers:
        assert time.monotonic() < end, "they never began"
        time.sleep(0.05)
    assert all(psutil.pid_exists(int(number)) for number in numbers)
    caller.kill()
    caller.join()
    end = time.monotonic() + 10
    while alive := [number for number in numbers if psutil.pid_exists(int(number))]:
        assert time.monotonic() < end, f"{alive} go on"
        time.sleep(0.05)


@pytest.mark.parametrize("n_processes", [0, -1, 2.0, "2", True])
def test_a_number_of_processes_is_a_number(n_processes):
    with pytest.raises(InputError, match=r"^n_processes is .*: give"):
        run_parallel([os.getpid] * 2, n_processes=n_processes)
