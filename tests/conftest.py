"""Settings of every test: few threads, no progress bar, no window, none of the user's own data."""

import gc
import os
from collections import Counter

import pytest

# Before any test module imports NumPy, Numba or Torch. Two threads: enough to catch a result that
# depends on their number, few enough that small matrices do not wait for one another.
for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_variable, "2")
# Idle threads sleep: with two worker processes (`pytest -n 2`) they would take the other's core.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ["LLA_PROGRESS"] = os.devnull
os.environ.pop("LLA_DATA", None)
os.environ.pop("LLA_ROOT", None)
os.environ.pop("MPLBACKEND", None)

import matplotlib  # noqa: E402 - with NumPy, which reads the variables above

# In this process alone: with MPLBACKEND set, the notebooks' kernels would show no figures.
matplotlib.use("agg")


@pytest.hookimpl(wrapper=True)
def pytest_collection():
    """Garbage is searched seldom: a million objects of modules and tests stay to the end.

    It took a tenth of the time.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.set_threshold(20_000, 20, 100)
        gc.enable()


def unit_of_work(nodeid: str) -> str:
    """What one worker runs in order: a test file, or the notebooks that read one another's files.

    The experiments on text are numbered 01 to 09, those on users from 10; the quickstart is alone.
    """
    file = nodeid.split("::", 1)[0]
    folder, _, name = file.rpartition("/")
    return f"{folder}/{name[0]}*.ipynb" if name.endswith(".ipynb") else file


# The longest first, so that no worker is alone at the end; of the rest, those with most tests. The
# second and the third compile no kernel: until the notebooks on users begin, those on text have
# compiled what both need.
LONGEST = (
    "notebooks/0*.ipynb",
    "tests/experiments/test_reproduce.py",
    "tests/test_types.py",
    "notebooks/1*.ipynb",
    "tests/lla/test_table1.py",
    "tests/experiments/test_parallel.py",
    "tests/experiments/test_users.py",
    "tests/lla/model/test_estimator.py",
    "tests/lla/test_sem_personal.py",
    "tests/lla/inference/test_histories.py",
    "tests/experiments/test_processes.py",
)


def pytest_collection_modifyitems(config, items):
    """With `pytest -n 2`, units of work in the order in which they begin."""
    if not hasattr(config, "workerinput"):
        return
    sizes = Counter(unit_of_work(item.nodeid) for item in items)

    def place(item: pytest.Item) -> tuple[int, int]:
        unit = unit_of_work(item.nodeid)
        return LONGEST.index(unit) if unit in LONGEST else len(LONGEST), -sizes[unit]

    items.sort(key=place)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """With `pytest -n 2`, whole units of work go to the workers, in the order they were put in."""
    from xdist.scheduler import LoadScopeScheduling

    class Scheduler(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return unit_of_work(nodeid)

    config.option.loadscopereorder = False
    return Scheduler(config, log)
