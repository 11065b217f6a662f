"""What the benchmarks share: the command line, runs that take turns, rows written as they come.

A row compares two measurements of one run: `ratio` is ours over theirs. A rate (a unit that ends
in "/s") passes when the ratio is at least `target`, so does what is better when it is higher;
everything else (seconds, bytes, the growth of a cost) when it is at most that.
"""

import argparse
import os
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from lla.common.files import read_json, write_json

# Bars would cost time where it is measured; `Results.progress` prints what is going on.
os.environ.setdefault("LLA_PROGRESS", os.devnull)

Row = dict[str, Any]


def argument_parser(description: str | None) -> argparse.ArgumentParser:
    """A parser with the two options of every benchmark; `description` is a module's docstring."""
    parser = argparse.ArgumentParser(description=(description or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="smaller sizes, fewer repeats")
    parser.add_argument("--out", type=Path, help="a JSON file for the rows")
    return parser


class Results:
    """The rows of one benchmark. The file is complete after every row.

    Parameters
    ----------
    out : Path, optional
        JSON file; without one the rows are only printed.
    keep : bool
        Keep the rows that the file has; those measured again are replaced.
    """

    def __init__(self, out: Path | None, keep: bool = False) -> None:
        self.out, self.start = out, time.perf_counter()
        kept = keep and out is not None and out.exists()
        self.rows: list[Row] = read_json(out) if kept else []

    def progress(self, text: str) -> None:
        """Print what is being measured, with the seconds since the start."""
        print(f"[{time.perf_counter() - self.start:4.0f} s] {text}", flush=True)

    def add(
        self,
        case: str,
        peer: str,
        ours: float,
        theirs: float,
        *,
        unit: str,
        target: float,
        higher: bool = False,
        **more: Any,
    ) -> Row:
        """Print and write one comparison; `more` are further columns.

        `higher` says that a higher number is better, as it is of a rate.
        """
        ratio = ours / theirs
        passed = bool(ratio >= target if higher or unit.endswith("/s") else ratio <= target)
        row = {"case": case, "peer": peer, "ours": ours, "theirs": theirs, "unit": unit}
        row |= {"ratio": ratio, "target": target, "passed": passed} | more
        same = [i for i, old in enumerate(self.rows) if (old["case"], old["peer"]) == (case, peer)]
        if same:
            self.rows[same[0]] = row
        else:
            self.rows.append(row)
        verdict = "passed" if passed else "FAILED"
        self.progress(
            f"{case} | {peer} | {ours:,.2f} : {theirs:,.2f} {unit} | "
            f"ratio {ratio:.2f}, target {target:g}: {verdict}"
        )
        if self.out:
            write_json(self.out, self.rows)
        return row


def take_turns(
    *runs: Callable[[], object],
    repeats: int,
    clock: Callable[[], float] = time.perf_counter,
    after: Callable[[], object] = lambda: None,
) -> list[float]:
    """Median seconds of each run, after one that is not counted.

    The runs take turns, so that whatever else the machine does affects all of them. `after` belongs
    to a run's time: a GPU's work is waited for there.
    """
    seconds: list[list[float]] = [[] for _ in runs]
    for repeat in range(1 + repeats):
        for run, measured in zip(runs, seconds, strict=True):
            start = clock()
            run()
            after()
            if repeat:
                measured.append(clock() - start)
    return [median(measured) for measured in seconds]
