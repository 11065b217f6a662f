"""Kernels are cached where there is a place for it, and run without a cache elsewhere."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numba
import numpy as np
import pytest
from simulated import all_observed, random_corpus

from lla.common import compile as compiler
from lla.lda import LDAConfig, fit_lda
from lla.samplers.lda import lda_sweep

ROOT = Path(__file__).parents[3]
FIT = """
import sys
import numpy as np
import lla.samplers.lda
from lla.lda import LDAConfig, fit_lda
from simulated import all_observed, random_corpus
assert lla.__file__.startswith(sys.argv[1]), lla.__file__
assert type(lla.samplers.lda.lda_sweep._cache).__name__ == "NullCache"
fitted = fit_lda(all_observed(random_corpus()), LDAConfig(n_topics=3, n_sweeps=3), 7)
print(*fitted.topics)
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
    environment["PYTHONPATH"] = os.pathsep.join([str(tmp_path), str(ROOT / "tests" / "helpers")])
    done = subprocess.run(
        [sys.executable, "-c", FIT, str(tmp_path)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    here = fit_lda(all_observed(random_corpus()), LDAConfig(n_topics=3, n_sweeps=3), 7)
    assert np.array_equal(np.array(done.stdout.split(), int), here.topics)


def test_another_error_of_the_compiler_is_shown(monkeypatch):
    def fails(**_):
        raise RuntimeError("something else")

    monkeypatch.setattr(numba, "njit", fails)
    with pytest.raises(RuntimeError, match="something else"):
        compiler.njit(nogil=True)(len)
