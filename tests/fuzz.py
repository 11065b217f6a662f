"""Call every public entrance with generated arguments, the kernels compiled with bounds checks.

    python tests/fuzz.py --calls 2000

It ends with 1 and prints each failure if a call raised anything but `InputError`, or returned
where it must refuse. A failure's number and the seed repeat it.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import warnings
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[1]


def run(n_calls: int, seed: int, only: str) -> int:
    """The calls, in this process."""
    sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "helpers")]
    warnings.simplefilter("error")
    from entrance_world import JUNK, World
    from entrances import entrances
    from fuzzing import fuzz

    from lla.common.progress import progress

    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        found = [e for e in entrances(World(Path(folder))) if only in e.name]
        failures = fuzz(
            found,
            JUNK,
            n_calls,
            seed,
            lambda calls: progress(calls, total=n_calls, description="fuzzing", unit="call"),
        )
    for failure in failures:
        print(f"{failure.entrance}({failure.arguments})\n{failure.reason}\n", file=sys.stderr)
    print(f"{n_calls} calls of {len(found)} entrances: {len(failures)} failures")
    for name, n in Counter(failure.entrance for failure in failures).most_common():
        print(f"  {n:4d} {name}")
    return 1 if failures else 0


def main() -> int:
    """Start a process in which kernels are compiled anew, with bounds checks."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--calls", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="entrances whose name has this in it")
    options = parser.parse_args()
    if os.environ.get("NUMBA_BOUNDSCHECK") == "1":
        return run(options.calls, options.seed, options.only)
    # Compiled kernels are cached without regard to this variable, so they get a cache of their own.
    with tempfile.TemporaryDirectory() as cache:
        checked = {"NUMBA_BOUNDSCHECK": "1", "NUMBA_CACHE_DIR": cache}
        return subprocess.run([sys.executable, *sys.argv], env={**os.environ, **checked}).returncode


if __name__ == "__main__":
    sys.exit(main())
