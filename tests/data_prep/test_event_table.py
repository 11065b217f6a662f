"""Event tables on disk, with threads and Ctrl-C; text parsed by Arrow as by Python's csv."""

import io
import os
import re
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path
from unittest.mock import patch

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import data_prep.tables.delimited as delimited
import data_prep.tables.event_table as event_table
from data_prep import EventOptions, prepare_events
from data_prep.io.inputs import ReadProgress, as_input_error
from data_prep.tables.delimited import Layout, TextFile, read_rows
from data_prep.tables.event_table import EventTable
from data_prep.tables.times import TimeParser
from lla.common.errors import InputError
from lla.corpus.folder import FILES, NAMES

OPTIONS = EventOptions(
    min_user=5, min_item=5, max_length=40, vocabulary=500, duplicates="drop", min_length=3
)


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """300,000 events, many of them at equal times."""
    draw, n = np.random.default_rng(0), 300_000
    columns = {
        "user": pa.array(draw.integers(0, 5000, n)).cast(pa.string()),
        "item": pa.array(draw.zipf(1.3, n) % 900).cast(pa.string()),
        "time": draw.integers(0, 3000, n),
    }
    path = tmp_path_factory.mktemp("table") / "x.parquet"
    pq.write_table(pa.table(columns), path)
    return path


@pytest.fixture(scope="module")
def in_memory(table):
    return contents(table, table.parent / "c")


def contents(source, folder):
    prepare_events(folder, OPTIONS, source)
    return {name: (folder / name).read_bytes() for name in (*FILES, NAMES)}


def test_on_disk_the_corpus_is_the_same(table, in_memory, tmp_path, monkeypatch):
    monkeypatch.setattr(event_table, "MEMORY", 32 << 20)
    monkeypatch.setenv("LLA_THREADS", "1")
    spilled = []
    run = EventTable._run

    def watched(self, *arguments, **parameters):
        found = run(self, *arguments, **parameters)
        spilled.extend(path.stat().st_size for path in tmp_path.glob(".tmp-*/*"))
        return found

    monkeypatch.setattr(EventTable, "_run", watched)
    assert contents(table, tmp_path / "c") == in_memory
    assert sum(spilled) > 0
    assert [path.name for path in tmp_path.iterdir()] == ["c"]


@pytest.mark.parametrize("n_threads", [1, 2, 4])
def test_result_does_not_depend_on_threads(table, in_memory, tmp_path, monkeypatch, n_threads):
    monkeypatch.setenv("LLA_THREADS", str(n_threads))
    assert contents(table, tmp_path / "c") == in_memory


def test_too_little_memory_is_an_error_of_one_line(table, tmp_path, monkeypatch):
    monkeypatch.setattr(event_table, "MEMORY", 1 << 20)
    with pytest.raises(InputError, match="more than 1 MiB of memory"):
        prepare_events(tmp_path / "new" / "c", OPTIONS, table)
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (RuntimeError("Query interrupted"), KeyboardInterrupt),
        (duckdb.IOException("IO Error: No space left on device"), OSError),
        (duckdb.OutOfMemoryException("exceeds the 'max_temp_directory_size'"), OSError),
        (RuntimeError("another"), RuntimeError),
    ],
)
def test_errors_of_the_engine(error, expected):
    with pytest.raises(expected), event_table._as_builtin_errors():
        raise error


# Ctrl-C 0.1 s into the first statement on names, and while sorted events are read.
INTERRUPTED = """
import os, signal, threading
import data_prep.tables.event_table as event_table
from data_prep.__main__ import main
from lla.common.errors import run_main

event_table.MEMORY = 40 << 20
number_names, item_ids = event_table.EventTable.number_names, event_table.EventTable.item_ids

def interrupt():
    os.kill(os.getpid(), signal.SIGINT)

def interrupted_numbering(self, **options):
    threading.Timer(0.1, interrupt).start()
    return number_names(self, **options)

def interrupted_sorting(self):
    for ids in item_ids(self):
        interrupt()
        yield ids

STAGE
run_main(main)
"""
STAGES = {
    "numbering": "event_table.EventTable.number_names = interrupted_numbering",
    "sorting": "event_table.EventTable.item_ids = interrupted_sorting",
}


@pytest.mark.parametrize("stage", STAGES)
def test_an_interrupted_run_leaves_nothing(tmp_path, stage):
    draw, n = np.random.default_rng(0), 1_000_000
    source, output = tmp_path / "x.parquet", tmp_path / "new" / "c"
    columns = {name: draw.integers(0, 50_000, n) for name in ("user", "item", "time")}
    pq.write_table(pa.table(columns), source)
    code = INTERRUPTED.replace("STAGE", STAGES[stage])
    run = subprocess.run(
        [sys.executable, "-c", code, "events", str(source), "--output", str(output)],
        cwd=Path(__file__).parents[2],
        env=os.environ | {"LLA_PROGRESS": os.devnull},
        capture_output=True,
        text=True,
        # Processes started in the background of a shell ignore Ctrl-C, and so would this one.
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )
    message = f"stopped; nothing was written to {output}, the same command starts again\n"
    assert (run.returncode, run.stdout, run.stderr) == (130, "", message)
    assert [path.name for path in tmp_path.iterdir()] == ["x.parquet"]


quoted_cells = ['"a"', '"a,b"', '"a""b"', '""', '"a\nb"', '"a\r\nb"', 'a"b', '"a"b', '"']
plain_cells = ["a", "b", "", "é", " ", "\\", "'", "#", "NA", "x" * 30]
control_cells = ["\r", "\x00", "\ufeff", "\x0b", "\u2028"]
cells = st.sampled_from([*quoted_cells, *plain_cells, *control_cells])
rows = st.lists(st.tuples(cells, cells, cells), max_size=8) | st.lists(
    st.lists(cells, max_size=4), max_size=8
)


def read_all(data, layout):
    """Rows with their places and the number skipped, or the error."""
    text = TextFile(io.BufferedReader(io.BytesIO(data)), layout.path, layout.encoding)
    read_progress, found = ReadProgress(), []
    try:
        with as_input_error(layout.path):
            for block in read_rows(text, layout, read_progress):
                columns = (block.user, block.item, block.time)
                found += zip(*(column.to_pylist() for column in columns), strict=True)
                found += [block.place(i) for i in range(len(block.user))]
    except InputError as error:
        return str(error)
    return found, read_progress.skipped


@given(
    rows,
    st.sampled_from(["\n", "\r\n"]),
    st.booleans(),
    st.booleans(),
    st.sampled_from(["utf-8", "latin-1"]),
)
@settings(max_examples=300, deadline=None)
def test_arrow_reads_text_as_python_does(rows, line_end, quoted, drop, encoding):
    """A block at a time by Arrow where it may, and all rows one by one."""
    data = (line_end.join(",".join(row) for row in rows) + line_end).encode()
    layout = Layout(
        path="x",
        width=3,
        chosen=[2, 0, 1],
        separator=",",
        quoted=quoted,
        encoding=encoding,
        drop=drop,
    )
    by_arrow = read_all(data, layout)
    with patch.object(delimited, "_parse", return_value=None):
        assert read_all(data, layout) == by_arrow


@pytest.mark.parametrize(
    "text",
    [
        "u,i,1\nv,j,2\n",
        "u,i,1\r\n\r\nv,j,2",
        'u,"i,j",1\n"v","a ""b""",2\n',
        'u,"",1\n"v\nw",j,"2"\r\n',
    ],
)
def test_usual_text_is_parsed_by_arrow(text):
    layout = Layout("x", 3, [0, 1, 2], ",", quoted=True, encoding="utf-8", drop=True)
    assert delimited._parse(text.encode(), layout, is_start=True) is not None


DATE = re.compile(r"\d{4}-\d{2}")


@given(st.lists(st.text("0123456789-+xX.e", min_size=1, max_size=21), min_size=1, max_size=3))
@settings(max_examples=300, deadline=None)
def test_integers_in_text_are_digits_alone(texts):
    """`0x10` and the like are no times, though Arrow would read them as integers."""
    column = pa.array(texts)
    try:
        whole, part = TimeParser().keys(column, str)
    except InputError:
        return
    if any(DATE.match(text) for text in texts):  # such as 1700-01-01, seconds before 1970
        return
    for text, w, p in zip(texts, whole, part, strict=True):
        assert "x" not in text.lower() and abs(w + p - float(text)) <= 1e-12 * abs(float(text))
