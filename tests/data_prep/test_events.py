"""A table of events becomes the same histories in every form, as plain Python would have them."""

import csv
import gzip
import io
import re
import tracemalloc
from collections import Counter
from unittest.mock import patch

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import data_prep.tables.delimited as delimited
import data_prep.tables.event_table as event_table
import data_prep.tables.reader as tables
from data_prep import EventOptions, prepare_events
from data_prep.__main__ import main
from data_prep.io.inputs import ReadProgress
from data_prep.tables.files import find_tables
from data_prep.tables.times import TimeParser
from lla.corpus import load_corpus
from lla.corpus.folder import FILES
from lla.corpus.folder import NAMES as DOCUMENT_NAMES

NAMES = ("user", "item", "time")
letters = st.characters(exclude_categories=["Cs"], exclude_characters="\n")
ids = st.text(letters, min_size=1).filter(str.strip)
few = st.sampled_from(["a", "b", " b\u3000", "ä\tb", "日本", "NA", "1", "1.0", "01.00"]) | ids
events = st.lists(st.tuples(few, few, st.integers(-3, 3)), min_size=1, max_size=60)
choices = st.fixed_dictionaries(
    {
        "min_user": st.integers(1, 4),
        "min_item": st.integers(1, 4),
        "min_length": st.integers(1, 3),
        "max_length": st.none() | st.integers(3, 6),
        "vocabulary": st.none() | st.integers(1, 5),
        "duplicates": st.sampled_from(["keep", "drop"]),
    }
)


def plain(rows, min_user=1, min_item=1, min_length=1, max_length=None, vocabulary=None, **more):
    """Histories of items by user, step by step as `EventOptions` tells it."""
    users, items, times = zip(*rows, strict=True)
    rows = list(zip(as_ids(users), as_ids(items), times, strict=True))
    if more.get("duplicates") == "drop":
        rows = list(dict.fromkeys(rows))
    frame = pd.DataFrame(rows, columns=NAMES)
    while True:
        n = len(frame)
        frame = frame[frame.groupby("user")["item"].transform("size") >= min_user]
        frame = frame[frame.groupby("item")["user"].transform("size") >= min_item]
        if len(frame) == n:
            break
    counts = Counter(frame["item"])
    best = sorted(counts, key=lambda item: (-counts[item], item))[:vocabulary]
    found = {}
    for user in dict.fromkeys(user for user, *_ in rows):
        mine = frame[(frame["user"] == user) & frame["item"].isin(best)]
        history = [item for _, item in sorted(zip(mine.time, mine["item"], strict=True), key=first)]
        if len(history) >= min_length:
            found[user] = history[-(max_length or len(history)) :]
    return found


def as_ids(texts):
    """Without white space around them; 12.0 is 12 where all are whole numbers."""
    texts = [text.strip() for text in texts]
    if all(re.fullmatch(r"-?[0-9]+(\.0+)?", text) for text in texts):
        return [text.partition(".")[0] for text in texts]
    return texts


def first(pair):
    return pair[0]


def found_in(folder):
    corpus = load_corpus(folder)
    words = np.array(corpus.vocabulary, object)
    documents = [words[corpus.document(d)].tolist() for d in range(corpus.n_documents)]
    return dict(zip(corpus.names, documents, strict=True))


def write_text(rows, separator=","):
    text = io.StringIO()
    csv.writer(text, delimiter=separator).writerows([NAMES, *rows])
    return text.getvalue().encode()


def in_every_form(rows, folder):
    """The same rows as files and as frames."""
    frame = pd.DataFrame(rows, columns=NAMES)
    (folder / "x.csv").write_bytes(write_text(rows))
    (folder / "x.tsv.gz").write_bytes(gzip.compress(write_text(rows, "\t")))
    zst = pa.compress(write_text(rows, "\t"), codec="zstd", asbytes=True)
    (folder / "x.tsv.zst").write_bytes(zst)
    frame.to_parquet(folder / "x.parquet", row_group_size=7)
    (folder / "parts").mkdir()
    for i in range(0, len(rows), 25):
        frame[i : i + 25].to_parquet(folder / "parts" / f"part-{i:03}.parquet")
    files = [folder / name for name in ("x.csv", "x.tsv.gz", "x.tsv.zst", "x.parquet", "parts")]
    return [*files, frame, frame.astype({"user": "category"}), pa.table(frame)]


@given(events, choices)
@settings(max_examples=60, deadline=None)
def test_histories_agree_with_plain_python(tmp_path_factory, rows, options):
    """Order, duplicates, k-core, vocabulary and lengths; the empty result is refused."""
    folder = tmp_path_factory.mktemp("plain") / "c"
    expected = plain(rows, **options)
    try:
        corpus = prepare_events(folder, EventOptions(**options), pd.DataFrame(rows, columns=NAMES))
    except ValueError as error:
        assert not expected and "choose fewer" in str(error)
        return
    assert found_in(folder) == expected
    assert list(found_in(folder)) == list(expected), "users in the order of the table"
    counts = Counter(item for history in expected.values() for item in history)
    order = sorted(counts, key=lambda item: (-counts[item], item))
    assert list(corpus.vocabulary) == order, "the most frequent first, every item in use"
    assert corpus.manifest["counts"]["one_event"] == sum(len(h) == 1 for h in expected.values())


@given(events, st.integers(1, 4), st.integers(1, 4))
@settings(max_examples=40, deadline=None)
def test_the_k_core_is_the_largest_fixed_point(tmp_path_factory, rows, n_user, n_item):
    # None is a whole number, which would be written otherwise the second time.
    rows = [(f"u{user}", f"i{item}", time) for user, item, time in rows]
    frame = pd.DataFrame(rows, columns=NAMES)
    folder = tmp_path_factory.mktemp("core")
    try:
        prepare_events(folder / "c", EventOptions(min_user=n_user, min_item=n_item), frame)
    except ValueError:
        assert not plain(rows, n_user, n_item)
        return
    once = found_in(folder / "c")
    counts = Counter(item for history in once.values() for item in history)
    assert min(map(len, once.values())) >= n_user and min(counts.values()) >= n_item
    again = [(user, item, t) for user, history in once.items() for t, item in enumerate(history)]
    assert plain(again, n_user, n_item) == once
    assert once == plain(rows, n_user, n_item)


@given(events)
@settings(max_examples=15, deadline=None)
def test_every_form_gives_the_same_corpus(tmp_path_factory, rows):
    folder = tmp_path_factory.mktemp("forms")
    n_items = len(set(as_ids([item for _, item, _ in rows])))
    options = EventOptions(min_item=2) if n_items < len(rows) else None
    for i, source in enumerate(in_every_form(rows, folder)):
        try:
            prepare_events(folder / f"c{i}", options or EventOptions(), source)
        except ValueError as error:
            assert "choose fewer" in str(error) and not plain(rows, min_item=2)
            return
        for name in (*FILES[:3], DOCUMENT_NAMES):
            assert (folder / f"c{i}" / name).read_bytes() == (folder / "c0" / name).read_bytes()


@given(events, choices, st.integers(1, 99), st.integers(1, 9), st.integers(1, 9))
@settings(max_examples=40, deadline=None)
def test_result_does_not_depend_on_block_sizes(
    tmp_path_factory, rows, options, n_bytes, n_rows, n_batch
):
    folder = tmp_path_factory.mktemp("blocks")
    path = folder / "x.csv"
    path.write_bytes(write_text(rows))
    expected = plain(rows, **options)
    with (
        patch.object(delimited, "BLOCK", n_bytes),
        patch.object(delimited, "ROWS", n_rows),
        patch.object(event_table, "BATCH", n_batch),
    ):
        try:
            prepare_events(folder / "c", EventOptions(**options), path)
        except ValueError as error:
            assert not expected and "choose fewer" in str(error)
            return
    assert found_in(folder / "c") == expected


def test_without_times_the_table_is_in_order(tmp_path):
    frame = pd.DataFrame({"session": [1, 2, 1, 1], "product_id": ["z", "y", "x", "z"]})
    prepare_events(tmp_path / "c", EventOptions(), frame)
    assert found_in(tmp_path / "c") == {"1": ["z", "x", "z"], "2": ["y"]}
    frame["Time-Stamp"] = [4, 3, 2, 1]
    prepare_events(tmp_path / "d", EventOptions(), frame)
    assert found_in(tmp_path / "d") == {"1": ["z", "x", "z"], "2": ["y"]}
    assert load_corpus(tmp_path / "d").manifest["columns"]["time"] == "Time-Stamp"
    prepare_events(tmp_path / "e", EventOptions(time=""), frame)
    assert load_corpus(tmp_path / "e").fingerprint == load_corpus(tmp_path / "c").fingerprint


@pytest.mark.parametrize(
    ("times", "form"),
    [
        (["1700000000000000001", "1700000000000000002", "1700000000000000003"], None),
        (["9", "10", "11"], None),
        (["-1.5", "-1", "1e3"], None),
        (["0.25", "0.5", "7"], None),
        (["2010-10-17", "2010-10-17 00:00:01", "2010-10-17T00:00:01.5"], None),
        (["2010-10-17T23:00:00Z", "2010-10-18T08:30:00+09:00", "2010-10-17T23:31:00Z"], None),
        ([1.5, 2.0, 10.0], None),
        (pd.to_datetime(["2024-01-01", "2024-01-02", "2025-01-01"]), None),
        (pd.to_datetime(["2024-01-01", "2024-01-02", "2025-01-01"]).date, None),
        (
            [f"Tue Apr 03 18:0{i}:09 +0000 2012" for i in (0, 1, 2)],
            "%a %b %d %H:%M:%S %z %Y",
        ),
        (["01/02/2024", "02/01/2024", "01/01/2025"], "%m/%d/%Y"),
        ([f"01/02/1969 10:00:00.00000000{i}" for i in (1, 2, 3)], "%d/%m/%Y %H:%M:%S.%f"),
    ],
)
def test_times_of_every_kind_sort(tmp_path, times, form):
    frame = pd.DataFrame({"user": "u", "item": ["c", "a", "b"], "time": [*times[2:], *times[:2]]})
    prepare_events(tmp_path / "c", EventOptions(time_format=form), frame)
    assert found_in(tmp_path / "c") == {"u": ["a", "b", "c"]}


@given(st.lists(st.floats(-1e18, 1e18) | st.integers(-(2**62), 2**62), min_size=1))
def test_keys_of_numbers_are_exact(numbers):
    """Whole numbers of any size and fractions, as text, sort as they are."""
    texts = pa.array([str(n) if isinstance(n, int) else repr(n) for n in numbers])
    whole, part = TimeParser().keys(texts, str)
    assert all(-1 < p < 1 for p in part)
    got = sorted(range(len(numbers)), key=lambda i: (whole[i], part[i]))
    exact = [int(w) == n and p == 0 for w, p, n in zip(whole, part, numbers, strict=True)]
    assert all(e for e, n in zip(exact, numbers, strict=True) if isinstance(n, int))
    assert [numbers[i] for i in got] == sorted(numbers)


def test_the_same_table_is_read_once(tmp_path, monkeypatch):
    frame = pd.DataFrame({"user": [1, 1, 2], "item": [5, 6, 5], "time": [1, 2, 3]})
    frame.to_csv(tmp_path / "x.csv", index=False)
    sources = [tmp_path / "x.csv", frame, pa.table(frame)]
    for i, source in enumerate(sources):
        prepare_events(tmp_path / f"c{i}", EventOptions(), source)
    with monkeypatch.context() as patched:
        patched.setattr("data_prep.events._build", None)
        for i, source in enumerate(sources):
            assert prepare_events(tmp_path / f"c{i}", EventOptions(), source).n_tokens == 3
        (tmp_path / "c0" / DOCUMENT_NAMES).unlink()
        with pytest.raises(TypeError):
            prepare_events(tmp_path / "c0", EventOptions(), tmp_path / "x.csv")
    frame.loc[0, "item"] = 7
    again = prepare_events(tmp_path / "c1", EventOptions(), frame, overwrite=True)
    assert again.vocabulary == ("5", "6", "7")
    assert load_corpus(tmp_path / "c1").manifest["kind"] == "events"


def test_memory_does_not_grow_with_the_table(tmp_path):
    """Fifteen times the events of the same users and items."""
    peaks, arrow = [], []
    for n in (10_000, 150_000):
        draw = np.random.default_rng(1)
        table = pa.table({c: draw.integers(0, 500, n) for c in NAMES})
        path = tmp_path / f"{n}.parquet"
        pa.parquet.write_table(table, path, row_group_size=2000)
        tracemalloc.start()
        with patch.object(tables, "ROWS", 2048), patch.object(event_table, "BATCH", 2048):
            prepare_events(tmp_path / f"c{n}", EventOptions(), path)
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
            # Arrow's memory is not Python's: what it holds while the blocks are read.
            with find_tables(path) as found:
                wanted = dict.fromkeys(NAMES)
                read = tables.read_tables(found, tables.Form(), wanted, False, ReadProgress())
            before = pa.total_allocated_bytes()
            arrow.append(max(pa.total_allocated_bytes() - before for _ in read))
    assert peaks[1] < 1.5 * peaks[0]
    assert arrow[1] < 1.5 * arrow[0]


def test_the_command_line(tmp_path, capsys):
    (tmp_path / "x.csv").write_bytes(b"who;what;when\nu;a;2\nu;b;1\nv;a;1\n")
    line = ["events", str(tmp_path / "x.csv"), "--output", str(tmp_path / "c"), "--separator", ";"]
    assert main([*line, "--user", "who", "--item", "what", "--time", "when"]) == 0
    shown = capsys.readouterr().out
    lines = [line.split() for line in shown.splitlines()[1:4]]
    assert lines == [["users", "2"], ["events", "3"], ["items", "2"]]
    assert found_in(tmp_path / "c") == {"u": ["b", "a"], "v": ["a"]}
