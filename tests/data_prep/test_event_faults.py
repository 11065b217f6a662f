"""Whatever is wrong with a table of events is one line that says where, and leaves nothing."""

import errno
import gzip
import lzma
import zipfile

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from data_prep import DatasetOptions, EventOptions, prepare_dataset, prepare_events
from data_prep.__main__ import main
from data_prep.tables.event_table import EventTable
from lla.common.errors import InputError
from lla.corpus import folder as corpus_folder
from lla.corpus import load_corpus, save_corpus
from lla.corpus.folder import NAMES

HEAD = b"user,item,time\n"
NOISE = bytes((i * i * 7919 + i) % 251 for i in range(60_000)).hex().encode()

TEXT = {
    "no columns": (b"a,b\n1,2\n", {}, "no column that is known to hold the user; it has 'a', 'b'"),
    "named": (HEAD + b"u,i,1\n", {"item": "sku"}, "no column 'sku'; it has 'user', 'item', 'time'"),
    "separator": (b"user;item\nu;i\n", {}, "it has 'user;item': .* --separator"),
    "twice": (b"user,user,item\nu,u,i\n", {}, "2 columns are 'user'"),
    "two uses": (HEAD + b"u,i,1\n", {"item": "user"}, "one column for two uses"),
    "nothing": (b"", {}, "empty; name a file with a header"),
    "only a header": (HEAD, {}, "no event in it"),
    "short row": (HEAD + b"u,i,1\n\nu,i\n", {}, "line 4 has 2 of 3 columns; fix it, or .* drop"),
    "long row": (HEAD + b"u,i,1,2\n", {}, "line 2 has 4 of 3 columns"),
    "no user": (
        HEAD + b'u,"i\tj",1\n,i,2\n',
        {},
        "line 3 lacks its user; fix it, or",
    ),
    "no time": (
        HEAD + b"u,i,\n",
        {},
        'line 2 lacks its time; .*drop, or .* --time ""',
    ),
    "all incomplete": (
        HEAD + b"u,,1\n",
        {"incomplete": "drop"},
        "all 1 rows lack",
    ),
    "quote": (HEAD + b'u,"i,1\nv,j,2\n', {}, "truncated or damaged"),
    "encoding": (HEAD + b"u,\xe9,1\n", {}, "byte 17 is not UTF-8; convert"),
    "time": (HEAD + b"u,i,1\nu,i,soon\n", {}, "line 3: time 'soon' is neither a number nor ISO"),
    "first time": (HEAD + b"u,i,soon\n", {}, "line 2: time 'soon' is neither .* --time-format"),
    "not a number": (HEAD + b"u,i,1\nu,i,nan\n", {}, "line 3: time 'nan' is neither"),
    "huge": (HEAD + b"u,i,1\nu,i,9999999999999999999\n", {}, "line 3: time '9999999999999999999'"),
    "mixed": (
        HEAD + b"u,i,1\nu,i,2\nu,i,2024-01-01\n",
        {},
        r"line 4: time '2024-01-01' is a time without a zone, the first \(.*line 2: 1\) is a "
        "number; use one format for all",
    ),
    "mixed zones": (
        HEAD + b"u,i,2024-01-01T00:00:00Z\nu,i,2024-01-01T00:00:00\n",
        {},
        "line 3: .* is a time without a zone, the first .* is a time with a zone",
    ),
    "format": (
        HEAD + b"u,i,1.2.24\nu,j,2\n",
        {"time_format": "%d.%m.%y"},
        "line 3: time '2' does not match",
    ),
    "bad format": (HEAD + b"u,i,1\n", {"time_format": "%Q"}, "--time-format is '%Q'"),
    "break": (HEAD + b'u,a,1\nu,"a\nb",2\n', {}, r"line 4: item 'a\\nb' contains a line break"),
    "user break": (HEAD + b'"u\nv",a,1\n', {}, r"line 3: user 'u\\nv' contains a line break"),
    "core": (
        HEAD + b"u,i,1\n",
        {"min_user": 2},
        "--min-user 2; choose fewer for --min-user$",
    ),
    "length": (
        HEAD + b"u,i,1\n",
        {"min_length": 2},
        "--min-length 2 .*, the longest history has 1; choose",
    ),
    "duplicates": (
        b"user,item\nu,i\n",
        {"duplicates": "drop"},
        "--duplicates drop: without a column",
    ),
}


def half(data):
    return data[: len(data) // 2]


def refused(tmp_path, source, options, message):
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(InputError, match=message) as error:
        prepare_events(tmp_path / "new" / "c", EventOptions(**options), source)
    assert "\n" not in str(error.value)
    assert sorted(tmp_path.rglob("*")) == before, "nothing is left, no empty folder either"


@pytest.mark.parametrize("name", TEXT)
def test_faults_of_text(tmp_path, name):
    data, options, message = TEXT[name]
    path = tmp_path / "table.csv"
    path.write_bytes(data)
    refused(
        tmp_path, path, options, message if "--" in message[:4] else f"(?s)table.csv.*{message}"
    )


FRAMES = {
    "missing": ({"user": ["u", None], "item": [1, 2]}, "DataFrame: row 2 lacks its user"),
    "gap": ({"user": [1.0, np.nan], "item": [1, 2]}, "DataFrame: row 2 lacks its user"),
    "fraction": ({"user": [1.5], "item": [1]}, "row 1: column 'user' holds 1.5; give ids"),
    "list": ({"user": [[1]], "item": [1]}, "column 'user' holds list"),
    "bool": ({"user": [True], "item": [1]}, "column 'user' holds bool"),
    "mixed ids": ({"user": [1, "x"], "item": [1, 2]}, "the DataFrame: .*one type of values"),
    "surrogate": (
        {"user": pd.Series(["\ud800"], dtype=object), "item": [1]},
        "the DataFrame: .*surrogates",
    ),
    "duration": (
        {"user": [1], "item": [1], "time": [pd.Timedelta(1)]},
        "row 1: its time has type duration",
    ),
    "no time": (
        {"user": [1, 2], "item": [1, 2], "time": [pd.Timestamp(0), pd.NaT]},
        "row 2 lacks its time",
    ),
    "columns": ({"user": [1]}, "known to hold the item; it has 'user'"),
    "nothing": ({}, "known to hold the user; it has none"),
    "no row": ({"user": [], "item": []}, "no event in it"),
}


@pytest.mark.parametrize("name", FRAMES)
def test_faults_of_frames(tmp_path, name):
    columns, message = FRAMES[name]
    refused(tmp_path, pd.DataFrame(columns), {}, message)


def test_faults_of_files(tmp_path):
    frame = pd.DataFrame({"user": ["u"], "item": ["i"], "time": ["2024-01-01"]})
    frame.to_parquet(tmp_path / "a.parquet")
    frame.assign(time=1).to_parquet(tmp_path / "b.parquet")
    refused(tmp_path, tmp_path, {}, r"b.parquet: row 1: time '1' is a number, the first \(.*a.parq")
    refused(tmp_path, tmp_path / "none.csv", {}, "no such file or folder")
    refused(tmp_path, tmp_path / "a.parquet", {"user": "who"}, "no column 'who'; it has 'user'")
    refused(tmp_path, 5, {}, "the source is int: give a path, a pandas DataFrame, or an Arrow")
    (tmp_path / "empty").mkdir()
    refused(tmp_path, tmp_path / "empty", {}, "no table in this folder")
    for name, data, message in (
        ("x.parquet", b"PAR1", "not a complete Parquet file"),
        ("x.txt", b"user item\n", "not a table: .* or give --separator"),
        ("empty/README.md", b"hello", "no table in this folder"),
        ("x.csv.gz", half(gzip.compress(HEAD + NOISE)), "truncated"),
        ("x.csv.xz", half(lzma.compress(HEAD + NOISE)), "truncated"),
        ("x.csv.zst", half(pa.compress(HEAD + NOISE, "zstd", asbytes=True)), "x.csv.zst: "),
    ):
        (tmp_path / name).write_bytes(data)
        target = tmp_path / name
        refused(tmp_path, target.parent if name.startswith("empty") else target, {}, message)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"min_user": 0}, "--min-user is 0: give 1 or more"),
        ({"vocabulary": -1}, "--vocabulary is -1: give 1"),
        ({"max_length": 2, "min_length": 3}, "--max-length is 2: give --min-length, 3, or more"),
        ({"separator": ""}, "--separator is '': give one or more characters"),
        ({"separator": "::", "quotes": "csv"}, "--separator is '::': give one character"),
        ({"separator": "\n"}, "--separator"),
        ({"duplicates": "maybe"}, "--duplicates is 'maybe': choose one of keep, drop"),
        ({"incomplete": "keep"}, "--incomplete is 'keep': choose one of refuse, drop"),
    ],
)
def test_options_out_of_range(options, message):
    with pytest.raises(InputError, match=message):
        EventOptions(**options)


def test_a_full_disk_leaves_nothing(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    (tmp_path / "x.csv").write_bytes(HEAD + b"u,i,1\n")
    for place in ((EventTable, "_run"), (corpus_folder, "flush")):
        with monkeypatch.context() as patched:
            patched.setattr(*place, full)
            refused(tmp_path, tmp_path / "x.csv", {}, "new/c: no space left on the disk; free")


def test_unused_columns_may_hold_any_value(tmp_path):
    frame = pd.DataFrame({"user": [1, 2], "item": [3, 4], "more": [{"a": 1}, "x"], 5: [1, None]})
    corpus = prepare_events(tmp_path / "c", EventOptions(), frame)
    assert corpus.vocabulary == ("3", "4")


def test_incomplete_rows_are_counted_when_dropped(tmp_path):
    (tmp_path / "x.csv").write_bytes(HEAD + b"u,i,1\n,i,2\nu,j\nu,k,\nu,j,5\n")
    corpus = prepare_events(tmp_path / "c", EventOptions(incomplete="drop"), tmp_path / "x.csv")
    assert corpus.vocabulary == ("i", "j") and corpus.n_tokens == 2
    assert corpus.manifest["counts"]["passed_over"] == 3
    frame = pd.DataFrame({"user": ["u", None, "u"], "item": ["i", "j", ""], "time": [1.0, 2, 3]})
    corpus = prepare_events(tmp_path / "d", EventOptions(incomplete="drop"), frame)
    assert corpus.n_tokens == 1 and corpus.manifest["counts"]["passed_over"] == 2


def test_names_of_any_letters_survive(tmp_path):
    odd = ["a\tb", "a\rb", "日本 語", "x", "é", "a\u2028b", "NA", "null", '"q"', "\x00", "\\n"]
    frame = pd.DataFrame({"user": odd, "item": odd[::-1]})
    corpus = prepare_events(tmp_path / "c", EventOptions(), frame)
    assert sorted(corpus.vocabulary) == sorted(odd)
    assert corpus.names == load_corpus(tmp_path / "c").names == tuple(odd)


def test_users_of_a_corpus(tmp_path):
    frame = pd.DataFrame({"user": ["u", "v"], "item": ["i", "j"]})
    corpus = prepare_events(tmp_path / "c", EventOptions(), frame)
    save_corpus(corpus, tmp_path / "d")
    assert load_corpus(tmp_path / "d").names == ("u", "v")
    (tmp_path / "c" / NAMES).write_text("u\nw\n")
    with pytest.raises(InputError, match=r"documents.txt: missing, or its SHA-256"):
        load_corpus(tmp_path / "c")


def test_command_line_errors_are_one_line(tmp_path, capsys):
    (tmp_path / "x.csv").write_bytes(HEAD + b"u,i,soon\n")
    with pytest.raises(InputError, match=r"x.csv: line 2: time 'soon'"):
        main(["events", str(tmp_path / "x.csv"), "--output", str(tmp_path / "c")])
    with pytest.raises(SystemExit):
        main(["events", str(tmp_path / "x.csv")])
    assert "--output" in capsys.readouterr().err


def test_a_data_set_cut_short(tmp_path):
    path = tmp_path / "dataset_tsmc2014.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", NOISE)
    options = DatasetOptions()
    with pytest.raises(InputError, match=r"no dataset_TSMC2014_TKY.txt in this archive"):
        prepare_dataset(tmp_path / "c", options, "foursquare", path)
    with pytest.raises(InputError, match="data set 'mars': not known; choose one of brightkite"):
        prepare_dataset(tmp_path / "c", options, "mars")
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
