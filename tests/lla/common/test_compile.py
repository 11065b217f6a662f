"""Kernels are cached where there is a place for it, and run without a cache elsewhere."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numba
import pytest

from lla.common import compile as compiler
from lla.samplers.lda import lda_sweep

ROOT = Path(__file__).parents[3]
COUNT = """
import sys
import numpy as np
from lla.samplers import lda
assert lda.__file__.startswith(sys.argv[1]), lda.__file__
for kernel in (lda.count_topics, lda.lda_sweep):
    assert type(kernel._cache).__name__ == "NullCache"
words, topics = np.array([0, 1, 1, 2], np.int32), np.array([1, 0, 0, 1], np.int32)
print(*lda.topic_counts(words, topics, 3, 2))
"""


def test_kernels_have_a_cache_their_documentation_and_their_python():
    assert lda_sweep._cache.cache_path
    assert lda_sweep.__doc__.startswith("One sweep of collapsed Gibbs sampling")
    assert lda_sweep.py_func.__name__ == "lda_sweep"


def test_a_read_only_installation_without_a_home_runs_without_a_cache(tmp_path):
    """A file in the place of each cache folder: root may write to folders that are read-only."""
    shutil.copytree(ROOT / "lla", tmp_path / "lla", ignore=shutil.ignore_patterns("__pycache__"))
    for folder in ("lla", *(path for path in (tmp_path / "lla").iterdir() if path.is_dir())):
        (tmp_path / folder / "__pycache__").touch()
    home = tmp_path / "home"
    home.touch()
    environment = {name: value for name, value in os.environ.items() if "NUMBA" not in name}
    environment |= {name: str(home / "in") for name in ("HOME", "XDG_CACHE_HOME", "IPYTHONDIR")}
    environment["PYTHONPATH"] = str(tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", COUNT, str(tmp_path)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "[[0 1]\n [2 0]\n [0 1]] [2 2]\n"


def test_another_error_of_the_compiler_is_shown(monkeypatch):
    def fails(**_):
        raise RuntimeError("something else")

    monkeypatch.setattr(numba, "njit", fails)
    with pytest.raises(RuntimeError, match="something else"):
        compiler.njit(nogil=True)(len)
