"""Slow functions in several processes, from a script as people write it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

BARE = """
from data_prep.io.workers import ordered_map
from lla.common.errors import InputError
try:
    print(*ordered_map(len, ["a", "bc"] * 40, {processes}))
except InputError as error:
    print("error:", error)
"""
GUARDED = """
from data_prep.io.workers import ordered_map
if __name__ == "__main__":
    print(*ordered_map(len, ["a", "bc"] * 40, {processes}))
"""


@pytest.mark.parametrize(
    ("script", "processes", "works"),
    [(BARE, 2, False), (BARE, 1, True), (GUARDED, 2, True)],
)
def test_a_script_works_or_is_told_what_it_lacks(tmp_path, script, processes, works):
    path = tmp_path / "script.py"
    path.write_text(script.format(processes=processes))
    done = subprocess.run(
        [sys.executable, str(path)],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        timeout=100,
    )
    line = f"error: {path}: every new process would run this script again; put its lines under "
    line += '`if __name__ == "__main__":`, or give processes=1'
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.strip() == (" ".join(["1", "2"] * 40) if works else line)
