"""Events: a CSV file to histories, beside pandas in memory: CPU time, wall time and peak memory.

Run: python benchmarks/events.py [--quick] [--events N] [--repeats N] [--out FILE]

Both read the file, sort events by user and time, keep the 5-core and number users and items; ours
also checks every row, may use the disk, and writes the corpus. Every run is a process of its own,
in turn, without the time of imports; the rows hold medians.
"""

import json
import resource
import subprocess
import sys
import tempfile
from importlib import import_module
from pathlib import Path
from statistics import median
from time import perf_counter, process_time
from typing import Any

import numpy as np
import pyarrow as pa
from common import Results, argument_parser
from pyarrow import csv

from lla.common.errors import InputError, run_main

Row = dict[str, Any]
EVENTS, EVENTS_QUICK = 10_000_000, 500_000
N_ITEMS, EVENTS_PER_USER, CORE = 50_000, 50, 5
BLOCK = 2**20  # events written at once
# What is compared, its unit, and the largest ratio to pandas that passes.
MEASURES = {
    "cpu": ("CPU time", "µs per event", 1.1),
    "wall": ("wall time", "µs per event", 1.1),
    "memory": ("peak memory", "MB", 1.0),
}


def write_events(file: Path, n_events: int) -> None:
    """A CSV file in order of time; some users and items have many more events than others."""
    draw = np.random.default_rng(0)
    n_users = max(1, n_events // EVENTS_PER_USER)
    numbers = draw.permutation(n_users)
    names = pa.array([f"B{i:07d}" for i in range(N_ITEMS)])
    columns = pa.schema({"user": pa.int64(), "item": pa.string(), "time": pa.int64()})
    with csv.CSVWriter(file, columns, write_options=csv.WriteOptions(quoting_style="none")) as out:
        for first in range(0, n_events, BLOCK):
            n = min(BLOCK, n_events - first)
            users = numbers[(n_users * draw.random(n) ** 1.5).astype(int)]
            items = names.take(pa.array((N_ITEMS * draw.random(n) ** 3).astype(int)))
            times = 1_600_000_000 + (first + np.sort(draw.integers(0, n, n))) * 10
            out.write_table(pa.table([users, items, times], schema=columns))


def run_ours(file: Path, folder: Path) -> Row:
    """Our reader, up to the corpus on disk."""
    from data_prep import EventOptions, prepare_events

    begun, cpu_begun = perf_counter(), process_time()
    options = EventOptions(min_user=CORE, min_item=CORE)
    corpus = prepare_events(folder / "corpus", options, file)
    seconds, cpu = perf_counter() - begun, process_time() - cpu_begun
    sizes = [corpus.n_tokens, corpus.n_documents, corpus.n_words]
    return {"wall": seconds, "cpu": cpu, "sizes": sizes}


def run_pandas(file: Path, _: Path) -> Row:
    """The same in pandas, up to arrays in memory."""
    import pandas as pd

    begun, cpu_begun = perf_counter(), process_time()
    frame = pd.read_csv(file)
    frame = frame.sort_values(["user", "time"], kind="stable", ignore_index=True)
    n_before = None
    while n_before != len(frame):
        n_before = len(frame)
        for column in ("user", "item"):
            counts = frame[column].map(frame[column].value_counts())
            frame = frame[counts >= CORE]
    users, items = pd.factorize(frame["user"]), pd.factorize(frame["item"])
    seconds, cpu = perf_counter() - begun, process_time() - cpu_begun
    # Ids of all events, and names.
    sizes = [len(items[0]), len(users[1]), len(items[1])]
    return {"wall": seconds, "cpu": cpu, "sizes": sizes}


RUNS = {"ours": run_ours, "pandas": run_pandas}


def run_apart(name: str, file: Path) -> Row:
    """One run in a process of its own."""
    with tempfile.TemporaryDirectory(dir=file.parent) as folder:
        command = [sys.executable, __file__, "--run", name, "--file", str(file), "--folder", folder]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def peak_memory() -> int:
    """Most bytes that this process has held; the system counts kB, macOS bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def compare(results: Results, n_events: int, repeats: int) -> None:
    """Rows of `MEASURES`, medians over repeats."""
    runs: dict[str, list[Row]] = {name: [] for name in RUNS}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "events.csv"
        results.progress(f"writing {n_events:,} events")
        write_events(file, n_events)
        for name in [name for _ in range(repeats) for name in RUNS]:
            results.progress(f"reading them: {name}")
            runs[name].append(run_apart(name, file))
    if runs["ours"][0]["sizes"] != runs["pandas"][0]["sizes"]:
        raise InputError("ours and pandas keep different events; one of them is wrong")
    for key, (what, unit, target) in MEASURES.items():
        scale = 1e-6 if key == "memory" else 1e6 / n_events
        ours, theirs = (scale * median(run[key] for run in runs[name]) for name in RUNS)
        case = f"{n_events:,} events from CSV, {what}"
        results.add(case, "pandas in memory", ours, theirs, unit=unit, target=target)


def main() -> None:
    """Compare, print the rows and write them."""
    parser = argument_parser(__doc__)
    parser.add_argument("--events", type=int, help=f"rows of the file (default: {EVENTS:,})")
    parser.add_argument("--repeats", type=int, help="runs of each (default: 3)")
    parser.add_argument("--run", choices=RUNS, help="a single run, on --file")
    parser.add_argument("--file", type=Path)
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    if options.run:
        # Before the clock starts; pandas without what ours imports, which takes memory.
        import_module("data_prep" if options.run == "ours" else "pandas")
        run = RUNS[options.run](options.file, options.folder)
        print(json.dumps(run | {"memory": peak_memory()}))
        return
    n_events = options.events or (EVENTS_QUICK if options.quick else EVENTS)
    repeats = options.repeats or (1 if options.quick else 3)
    compare(Results(options.out), n_events, repeats)


if __name__ == "__main__":
    run_main(main)
