"""Fits side by side come to what they come to one after another, and are stopped together."""

import os
import time
from functools import partial
from multiprocessing import active_children

import numpy as np
import pytest
from simulated import all_observed, random_corpus

from experiments import processes
from experiments.processes import run_parallel
from lla.common.errors import InputError
from lla.common.threads import default_threads
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
