"""More threads run more pieces at once; nothing else changes, nor is left changed."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch

from lla.common.errors import InputError
from lla.common.parallel import default_threads, thread_pool

ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def torch_setting():
    """Three: neither what a pool sets nor a default."""
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("n_threads", [1, 2])
def test_torch_runs_on_one_thread_inside_and_as_before_outside(n_threads):
    with thread_pool(n_threads) as pool:
        assert torch.get_num_threads() == 1
        assert pool.submit(torch.get_num_threads).result() == 1
    assert torch.get_num_threads() == 3


def test_the_setting_is_put_back_after_an_exception():
    with pytest.raises(KeyError, match="inside"), thread_pool(2):
        raise KeyError("inside")
    assert torch.get_num_threads() == 3


def test_the_setting_is_put_back_when_a_task_fails():
    with pytest.raises(ZeroDivisionError), thread_pool(1) as pool:
        pool.submit(lambda: 1 / 0).result()
    assert torch.get_num_threads() == 3


def test_what_has_not_begun_is_dropped_after_an_interrupt():
    begun, go_on, done = threading.Event(), threading.Event(), []

    def piece(number):
        begun.set()
        go_on.wait(10)
        done.append(number)

    with pytest.raises(KeyboardInterrupt), thread_pool(1) as pool:
        tasks = [pool.submit(piece, number) for number in range(5)]
        begun.wait(10)
        threading.Timer(0.05, go_on.set).start()
        raise KeyboardInterrupt
    assert done == [0] and all(task.cancelled() for task in tasks[1:])


@pytest.mark.parametrize("n_threads", [1, 2])
def test_as_many_pieces_run_at_once_as_there_are_threads(n_threads):
    """Pieces that wait for one another can only all arrive when each has a thread."""
    barrier = threading.Barrier(n_threads)
    with thread_pool(n_threads) as pool:
        names = {
            f.result()
            for f in [
                pool.submit(lambda: (barrier.wait(10), threading.get_ident())[1])
                for _ in range(n_threads)
            ]
        }
    assert len(names) == n_threads


def test_the_variable_decides(monkeypatch):
    monkeypatch.setenv("LLA_THREADS", "5")
    assert default_threads() == 5
    with thread_pool() as pool:
        assert pool._max_workers == 5
    with thread_pool(2) as pool:
        assert pool._max_workers == 2, "what is asked for goes before the variable"


@pytest.mark.parametrize("empty", [False, True])
def test_without_the_variable_every_core_is_used(monkeypatch, empty):
    monkeypatch.delenv("LLA_THREADS", raising=False)
    if empty:
        monkeypatch.setenv("LLA_THREADS", "")
    assert 1 <= default_threads() <= os.cpu_count()


@pytest.mark.parametrize("value", ["abc", "0", "-2", "1.5", "2 cores"])
def test_a_variable_that_is_no_number_of_threads(monkeypatch, value):
    monkeypatch.setenv("LLA_THREADS", value)
    torch_before = torch.get_num_threads()
    with pytest.raises(InputError) as caught, thread_pool():
        pass
    message = str(caught.value)
    assert "LLA_THREADS" in message and value in message and "\n" not in message
    assert "1 or more" in message and "unset" in message, "the remedy"
    assert torch.get_num_threads() == torch_before


BOTH = """
import {first}
import {second}
import numpy as np

@numba.njit(parallel=True)
def total(x):
    s = 0.0
    for i in numba.prange(x.shape[0]):
        s += x[i]
    return s

numba.set_num_threads(min(2, numba.config.NUMBA_NUM_THREADS))
torch.set_num_threads(2)
x = np.ones(200_000)
for _ in range(20):
    assert total(x) == 200_000
    a = torch.ones(300, 300)
    assert float((a @ a).exp().log().mean()) > 80

from lla.lstm import NetworkConfig
from lla.peers.simulate import random_network, random_phi, simulate
from lla.inference.emission import SharedEmission
from lla.inference.filter import FilterConfig, infer
from lla.common.parallel import thread_pool

network, phi = random_network(NetworkConfig(3, 3), 0), random_phi(5, 3, 1.0, 0)
corpus, _ = simulate(network, phi, [9] * 40, 0)
with thread_pool(2) as pool:
    emission = SharedEmission(torch.tensor(phi, dtype=torch.float32))
    config = FilterConfig(2, n_lanes=16)
    infer(network, emission, corpus, config, seed=0, key=(), pool=pool)
assert total(x) == 200_000 and torch.get_num_threads() == 2
print("done", numba.threading_layer())
"""


@pytest.mark.parametrize("first", ["numba", "torch"])
def test_numba_and_torch_in_one_process(first):
    """Two OpenMP runtimes, loaded in either order: no crash, no warning, right sums."""
    second = "torch" if first == "numba" else "numba"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "LLA_PROGRESS": os.devnull}
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", BOTH.format(first=first, second=second)],
        capture_output=True, text=True, env=environment, timeout=120, check=False,
    )  # fmt: skip
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.startswith("done")
