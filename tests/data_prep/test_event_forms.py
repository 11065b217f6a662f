"""The same events in every form that tables come in, and what an id is, alike in each."""

import datetime
import decimal
import gzip
import io
import json
import os
import subprocess
import sys
import threading
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import data_prep.io.delimited as delimited
from data_prep import EventOptions, prepare_events
from data_prep.io import json_rows
from lla.common.errors import InputError
from lla.corpus import Corpus

# Of u: a (1), b (2), c (3); of v: a (1).
ROWS = [("u", "c", 3), ("v", "a", 1), ("u", "a", 1), ("u", "b", 2)]
HISTORIES = {"u": ["a", "b", "c"], "v": ["a"]}


def histories(corpus: Corpus) -> dict[str, list[str]]:
    return {name: corpus.items(name) for name in corpus.names}


def read(folder, source, **options):
    """Histories of a source: written under the given name, if it is a name and its content."""
    if isinstance(source, tuple):
        name, data = source
        source = folder / name
        source.write_bytes(data if isinstance(data, bytes) else data.encode())
    corpus = prepare_events(folder / "c", EventOptions(**options), source, overwrite=True)
    return histories(corpus)


def lines(separator, header=True, rows=ROWS):
    head = [("user", "item", "time")] if header else []
    return "".join(separator.join(map(str, row)) + "\n" for row in head + rows)


def json_lines(rows, names=("user", "item", "time")):
    return "".join(json.dumps(dict(zip(names, row, strict=True))) + "\n" for row in rows)


def zipped(members):
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in members.items():
            archive.writestr(name, text)
    return sink.getvalue()


def table(columns=None):
    return pa.table(
        columns or dict(zip(("user", "item", "time"), zip(*ROWS, strict=True), strict=1))
    )


def arrow_file(**options):
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table().schema, **options) as file:
        file.write_table(table(), max_chunksize=3)
    return sink.getvalue().to_pybytes()


def parquet_file():
    sink = pa.BufferOutputStream()
    pq.write_table(table(), sink)
    return sink.getvalue().to_pybytes()


# ------------------------------------------------------------------------------ files

NO_HEADER = {"header": False, "user": "1", "item": "2", "time": "3"}
FILES = {
    "csv": lambda: ("x.csv", lines(",")),
    "upper case": lambda: ("X.CSV", lines(",")),
    "tab": lambda: ("x.tab", lines("\t")),
    "json lines": lambda: ("x.jsonl", json_lines(ROWS)),
    "ndjson, packed": lambda: ("x.ndjson.gz", gzip.compress(json_lines(ROWS).encode())),
    "json": lambda: ("x.json", "\n" + json_lines(ROWS)),
    "json under a wrong name": lambda: ("x.csv", json_lines(ROWS)),
    "parquet": lambda: ("x.parquet", parquet_file()),
    "parquet under a wrong name": lambda: ("x.csv", parquet_file()),
    "arrow": lambda: ("x.arrow", arrow_file()),
    "feather": lambda: (
        "x.feather",
        arrow_file(options=pa.ipc.IpcWriteOptions(compression="zstd")),
    ),
    "zip": lambda: (
        "x.zip",
        zipped({"x.csv": lines(","), "read.me": "about", "__MACOSX/x.csv": "no"}),
    ),
    "zip of json": lambda: ("x.zip", zipped({"in/x.jsonl": json_lines(ROWS)})),
    "zip of one file": lambda: ("x.zip", zipped({"ratings.dat": lines("::")})),
    "zip under a wrong name": lambda: ("x.csv", zipped({"x.tsv": lines("\t")})),
    "gzip without its ending": lambda: ("x.csv", gzip.compress(lines(",").encode())),
    "utf-16": lambda: ("x.csv", lines(",").encode("utf-16")),
    "utf-16, other order": lambda: ("x.tsv", b"\xfe\xff" + lines("\t").encode("utf-16-be")),
    "utf-16 without a mark": lambda: ("x.tsv", lines("\t").encode("utf-16-le")),
    "utf-32": lambda: ("x.csv", lines(",").encode("utf-32")),
    "utf-8 with a mark": lambda: ("x.csv", lines(",").encode("utf-8-sig")),
    "other line ends": lambda: ("x.csv", lines(",").replace("\n", "\r\n")),
    "old line ends": lambda: ("x.csv", lines(",").replace("\n", "\r")),
    "no ending": lambda: ("table", lines("\t")),
    "semicolons": lambda: ("x.txt", lines(";")),
    "bars": lambda: ("x.dat", lines("|")),
    "colons": lambda: ("ratings.dat", lines("::")),
}


@pytest.mark.parametrize("name", FILES)
def test_forms_of_files(tmp_path, name):
    assert read(tmp_path, FILES[name]()) == HISTORIES


@pytest.mark.parametrize(
    ("name", "separator", "options"),
    [
        ("u.data", "\t", {}),
        ("ratings.dat", "::", {}),
        ("ratings.csv", "::", {"separator": "::"}),
        ("x.csv", ",", {}),
        ("x.csv", " ", {"separator": " "}),
        ("x.txt", "→", {"separator": "→"}),
        ("x.csv", "\x1f", {"separator": "\x1f"}),
    ],
)
@pytest.mark.parametrize("block", [1 << 24, 9])
def test_text_without_a_header(tmp_path, monkeypatch, name, separator, options, block):
    monkeypatch.setattr(delimited, "BLOCK", block)
    data = lines(separator, header=False)
    assert read(tmp_path, (name, data), **NO_HEADER, **options) == HISTORIES
    corpus = prepare_events(
        tmp_path / "d", EventOptions(header=False, user="2", item="1", **options), tmp_path / name
    )
    assert histories(corpus) == {"c": ["u"], "a": ["v", "u"], "b": ["u"]}
    assert corpus.manifest["columns"] == {"user": "2", "item": "1"}


def test_movielens(tmp_path, capsys):
    """u.data as in data_prep/README.md: columns user, item, rating, time."""
    from data_prep.__main__ import main

    (tmp_path / "u.data").write_text("196\t242\t3\t881250949\n186\t302\t3\t1\n196\t377\t1\t2\n")
    line = ["events", str(tmp_path / "u.data"), "--no-header", "--user", "1", "--item", "2"]
    assert main([*line, "--time", "4", "--output", str(tmp_path / "c")]) == 0
    capsys.readouterr()
    assert read(tmp_path, tmp_path / "u.data", header=False, user="1", item="2", time="4") == {
        "196": ["377", "242"],
        "186": ["302"],
    }


HEADERLESS = {
    "hint": ("u.data", "196\t242\t3\n", {}, "or, if its first line is an event, give --no-header"),
    "no numbers": ("x.csv", "1,2\n", {"header": False}, "no header; name its columns by number: "),
    "beyond": ("x.csv", "1,2\n", NO_HEADER, "no column '3'; it has '1', '2': name one with --time"),
    "a header": ("x.csv", "user,item\nu,i\n", {"header": False}, "first line is a header; leave"),
    "json": ("x.jsonl", '{"user": 1}\n', NO_HEADER, "has names of fields; leave out --no-header"),
    "nothing": ("x.csv", "", NO_HEADER, "empty; name a file"),
    "parquet": ("x.parquet", None, NO_HEADER, "has names of columns; leave out --no-header"),
}


@pytest.mark.parametrize("name", HEADERLESS)
def test_faults_without_a_header(tmp_path, name):
    file, data, options, message = HEADERLESS[name]
    with pytest.raises(InputError, match=message):
        read(tmp_path, (file, parquet_file() if data is None else data), **options)
    with pytest.raises(InputError, match="header is False: leave it out"):
        read(tmp_path, table(), **NO_HEADER)


# ------------------------------------------------------------------------------ quotation marks

UNQUOTED = 'user\titem\ttime\nu\t12" vinyl\t3\nu\t"Heroes\t1\nv\tLow"\t1\nu\t"Boys" (live)\t2\n'
QUOTED = 'user\titem\ttime\nu\t"12"" vinyl"\t3\nu\t"""Heroes"\t1\nv\t"Low"""\t1\nu\t"a\tb"\t2\n'


def test_quotation_marks_between_tabs(tmp_path, caplog):
    with caplog.at_level("INFO"):
        assert read(tmp_path, ("x.tsv", UNQUOTED)) == {
            "u": ['"Heroes', '"Boys" (live)', '12" vinyl'],
            "v": ['Low"'],
        }
    assert "x.tsv: its quotation marks are taken as ordinary characters" in caplog.text
    assert read(tmp_path, ("x.tsv", QUOTED)) == {
        "u": ['"Heroes', "a\tb", '12" vinyl'],
        "v": ['Low"'],
    }
    # None opens a cell, so they are ordinary for Python's csv, too.
    assert read(tmp_path, ("x.tsv", 'user\titem\nu\t5" a\nu\tb\n')) == {"u": ['5" a', "b"]}
    assert read(tmp_path, ("x.tsv", '"user"\t"item"\nu\t5" a\n')) == {"u": ['5" a']}


def test_quotation_marks_can_be_told(tmp_path):
    text = 'user\titem\nu\t"a"\n'
    assert read(tmp_path, ("x.tsv", text)) == {"u": ["a"]}
    assert read(tmp_path, ("x.tsv", text), quotes="none") == {"u": ['"a"']}
    commas = 'user,item\nu,"Heroes\nv,b\n'
    with pytest.raises(InputError, match=r"line 3: truncated or damaged .*give --quotes none"):
        read(tmp_path, ("x.csv", commas))
    assert read(tmp_path, ("x.csv", commas), quotes="none") == {"u": ['"Heroes'], "v": ["b"]}
    with pytest.raises(InputError, match=r"line \d: truncated or damaged"):
        read(tmp_path, ("x.tsv", UNQUOTED), quotes="csv")


def test_a_quoted_cell_may_cross_blocks(tmp_path, monkeypatch):
    """Whether marks are quotes is decided by the first block; a cell may end in the second."""
    text = "user\titem\tnote\nu\ta\t\n" + 'u\tb\t"one\ntwo"\n' * 3
    for size in (22, 30, 38, 1 << 20):
        monkeypatch.setattr(delimited, "BLOCK", size)
        assert read(tmp_path, ("x.tsv", text)) == {"u": ["a", "b", "b", "b"]}


# ------------------------------------------------------------------------------ ids

IDS = {
    "spaces": ([" a", "a ", "a", "\tb c\u3000"], ["a", "a", "a", "b c"]),
    "marks of missing values": (["NULL", "NaN", "NA", "None"], ["NULL", "NaN", "NA", "None"]),
    "whole numbers": (["12.0", "12", "-3.00", "007"], ["12", "12", "-3", "007"]),
    "not all whole": (["12.0", "12", "1.5", "x"], ["12.0", "12", "1.5", "x"]),
    "versions": (["1.0", "1.0.0", "1", "1"], ["1.0", "1.0.0", "1", "1"]),
}


def of_text(items):
    """The same texts as ids in every format."""
    rows = [("u", item, i) for i, item in enumerate(items)]
    frame = pd.DataFrame(rows, columns=["user", "item", "time"])
    quoted = "user,item,time\n" + "".join(f'u,"{item}",{i}\n' for _, item, i in rows)
    yield "csv", ("x.csv", lines(",", rows=rows))
    yield "quoted csv", ("x.csv", quoted)
    yield "one by one", ("x.csv", lines(",", rows=rows))
    yield "tsv", ("x.tsv", lines("\t", rows=[(u, i.strip("\t"), t) for u, i, t in rows]))
    yield "json", ("x.jsonl", json_lines(rows))
    yield "parquet", frame
    yield "pandas", frame.astype({"item": object})
    yield "categories", frame.astype({"item": "category"})
    for kind in (pa.string(), pa.large_string(), pa.string_view(), pa.large_binary(), pa.binary()):
        yield str(kind), table({"user": ["u"] * len(rows), "item": pa.array(items).cast(kind)})


@pytest.mark.parametrize("name", IDS)
def test_text_is_the_same_id_in_every_format(tmp_path, monkeypatch, name):
    items, expected = IDS[name]
    for form, source in of_text(items):
        if form == "parquet":
            source.to_parquet(tmp_path / "x.parquet")
            source = tmp_path / "x.parquet"
        with monkeypatch.context() as patched:
            if form == "one by one":
                patched.setattr(delimited, "_parse", lambda *_, **__: None)
            assert read(tmp_path, source) == {"u": expected}, form


def test_whole_numbers_of_every_type_are_digits(tmp_path):
    numbers = [12, 13, 12]
    decimals = [decimal.Decimal(n).quantize(decimal.Decimal("0.01")) for n in numbers]
    columns = [
        *(pa.array(numbers, kind) for kind in (pa.int8(), pa.uint64(), pa.int64())),
        *(pa.array(numbers, kind) for kind in (pa.float16(), pa.float32(), pa.float64())),
        *(pa.array(decimals, kind) for kind in (pa.decimal128(9, 2), pa.decimal256(50, 2))),
        pa.array(numbers).dictionary_encode(),
        pa.array([12.0, 13.0, 12.0]).dictionary_encode(),
        pa.compute.run_end_encode(pa.array(numbers)),
        pa.array(["12.0", "13", "12.0"]),
    ]
    for column in columns:
        source = table({"user": pa.array([1.0, 1.0, 1.0]), "item": column})
        assert read(tmp_path, source) == {"1": ["12", "13", "12"]}, column.type
    frame = pd.DataFrame({"user": [1.0] * 4, "item": [12.0, 13.0, None, 12.0]})
    frame.to_csv(tmp_path / "x.csv", index=False)
    frame.to_json(tmp_path / "x.jsonl", orient="records", lines=True)
    frame.to_parquet(tmp_path / "x.parquet")
    sources = [
        frame,
        frame.convert_dtypes(),
        *(tmp_path / f"x.{e}" for e in ("csv", "jsonl", "parquet")),
    ]
    for source in sources:
        with pytest.raises(InputError, match=r"(line 3|line 4|row 3) lacks its item; fix it"):
            read(tmp_path, source)
        assert read(tmp_path, source, incomplete="drop") == {"1": ["12", "13", "12"]}


def test_ids_that_may_mean_something_else_are_said(tmp_path, caplog):
    with caplog.at_level("INFO"):
        read(tmp_path, ("x.csv", "user,item\nNULL,1.0\nnan,2\n\\N,2.0\n"))
    assert r"user 'NULL', 'nan', '\\N': an id as any other; only empty cells" in caplog.text
    assert "all ids of items are whole numbers: 12.0 is taken as 12" in caplog.text


NO_ID = {
    "a fraction": (pa.array([1.0, 2.5]), "row 2: column 'item' holds 2.5; give ids as text"),
    "infinite": (pa.array([1.0, np.inf]), "row 2: column 'item' holds inf"),
    "digits lost": (
        pa.array([1.0, 2.0**53 + 2]),
        "holds .*, a float that has lost digits; give ids",
    ),
    "a decimal": (pa.array([decimal.Decimal("1.5")] * 2), "row 1: column 'item' holds 1.5; give"),
    "bytes": (pa.array([b"a", b"\xff"]), r"row 2: column 'item' holds b'\\xff'; give ids as text"),
    "truth": (pa.array([True, False]), "row 1: column 'item' holds bool; give ids"),
    "a day": (pa.array([datetime.date(2024, 1, 1)] * 2), "column 'item' holds date32"),
    "lists": (pa.array([[1], [2]]), "column 'item' holds list"),
    "dictionary of lists": (
        pa.array([1.5, 2]).dictionary_encode(),
        "row 1: column 'item' holds 1.5",
    ),
}


@pytest.mark.parametrize("name", NO_ID)
def test_what_is_no_id(tmp_path, name):
    column, message = NO_ID[name]
    with pytest.raises(InputError, match=message):
        read(tmp_path, table({"user": ["u", "v"], "item": column}))


# ------------------------------------------------------------------------------ times


def as_views(source):
    """As polars hands over its frames: text as views, categories as dictionaries of them."""
    view = source["item"].combine_chunks().cast(pa.string_view())
    codes = source["user"].combine_chunks().dictionary_encode()
    user = pa.DictionaryArray.from_arrays(
        codes.indices.cast(pa.uint32()), codes.dictionary.cast(pa.large_string())
    )
    return {"user": user, "item": view, "time": source["time"]}


class Stream:
    """A frame of a library that is not known here."""

    def __init__(self, source):
        self.source = source

    def __arrow_c_stream__(self, requested_schema=None):
        return self.source.__arrow_c_stream__(requested_schema)


def test_frames_of_other_libraries(tmp_path):
    views = pa.table(as_views(table()))
    batch = pa.record_batch({name: views[name].combine_chunks() for name in views.column_names})
    reader = pa.RecordBatchReader.from_batches(batch.schema, [batch.slice(0, 3), batch.slice(3)])
    for source in (views, batch, reader, Stream(views), as_views(table())):
        assert read(tmp_path, source) == HISTORIES
    pq.write_table(views, tmp_path / "x.parquet")
    assert read(tmp_path, tmp_path / "x.parquet") == HISTORIES
    nulls = {"user": pa.array(["u", None], pa.string_view()), "item": pa.array(["a", "b"])}
    assert read(tmp_path, pa.table(nulls), incomplete="drop") == {"u": ["a"]}


@pytest.mark.parametrize(
    "times",
    [
        pa.array(["3", "1", "1", "2"]).cast(pa.string_view()),
        pa.array([" 3", "1 ", "1", "\t2"]),
        pa.array([3, 1, 1, 2]).dictionary_encode(),
        pa.array(["2024-01-03", "2024-01-01", "2024-01-01", "2024-01-02"]).dictionary_encode(),
        pa.array([3, 1, 1, 2], pa.uint8()),
        pa.array([3, 1, 1, 2], pa.float16()),
        pa.array([3, 1, 1, 2], pa.timestamp("s", "UTC")),
        pa.array([decimal.Decimal(f"1700000000.00000000{n}") for n in (3, 1, 1, 2)]),
        pa.array([decimal.Decimal(f"1700000000000000{n}") for n in (303, 301, 301, 302)]),
        pa.compute.run_end_encode(pa.array([3, 1, 1, 2])),
    ],
)
def test_times_of_every_type(tmp_path, times):
    source = table().set_column(2, "time", times)
    assert read(tmp_path, source) == HISTORIES


def test_a_column_of_times_without_any(tmp_path):
    source = table().set_column(2, "time", pa.nulls(4))
    message = 'row 1 lacks its time; .* leave out the column of times with --time ""'
    pq.write_table(source, tmp_path / "x.parquet")
    (tmp_path / "x.jsonl").write_text(json_lines([(u, i, None) for u, i, _ in ROWS]))
    (tmp_path / "x.csv").write_text(lines(",", rows=[(u, i, " ") for u, i, _ in ROWS]))
    for one in (source, *(tmp_path / f"x.{e}" for e in ("parquet", "jsonl", "csv"))):
        with pytest.raises(InputError, match=message.replace("row 1", r"(row 1|line 1|line 2)")):
            read(tmp_path, one)
        with pytest.raises(InputError, match="all 4 rows lack a user, item or time"):
            read(tmp_path, one, incomplete="drop")
        with pytest.raises(InputError, match="all 4 rows lack"):
            read(tmp_path, one, incomplete="drop", time_format="%Y")
        assert read(tmp_path, one, time="") == {"u": ["c", "a", "b"], "v": ["a"]}
    mixed = pa.concat_tables([table(), source], promote_options="permissive")
    assert read(tmp_path, mixed, incomplete="drop") == HISTORIES


def test_times_in_some_files_only(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "1.csv").write_text(lines(","))
    (folder / "2.csv").write_text("user,item\nu,d\n")
    with pytest.raises(InputError, match=r"2.csv: line 2: only some of the tables .* --time"):
        read(tmp_path, folder)
    assert read(tmp_path, folder, time="") == {"u": ["c", "a", "b", "d"], "v": ["a"]}


# ------------------------------------------------------------------------------ JSON Lines


def test_json_lines_need_not_have_all_fields_in_order(tmp_path, monkeypatch):
    text = '{"item": 7, "user": "u"}\n\n{"time": 1.5, "user": "u", "item": "8", "more": [1]}\n'
    assert read(tmp_path, ("x.jsonl", text), time="") == {"u": ["7", "8"]}
    with pytest.raises(InputError, match=r"x.jsonl: line 1 lacks its time"):
        read(tmp_path, ("x.jsonl", text))
    assert read(tmp_path, ("x.jsonl", text), incomplete="drop") == {"u": ["8"]}
    monkeypatch.setattr(json_rows, "ROWS", 3)
    assert read(tmp_path, ("x.jsonl", json_lines(ROWS))) == HISTORIES


JSON_FAULTS = {
    "array": ("[\n", "line 1 begins a JSON array; give one JSON object per line"),
    "array on a line": ('[{"user": 1}]\n', "line 1 is not a JSON object; give one"),
    "half": ('{"user": 1, "item": 1}\n{"user": \n', "line 2 is not JSON"),
    "text": ('{"user": 1, "item": 1}\nhello\n', "line 2 is not JSON"),
    "deep": ('{"user": ' + "[" * 100_000 + "\n", "line 1 is (nested too deeply|not JSON)"),
    "list": ('{"user": [1], "item": 1}\n', r"line 1: field 'user' holds \[1\]; give ids as text"),
    "truth": ('{"user": 1, "item": true}\n', "line 1: field 'item' holds true; give ids"),
    "fraction": ('{"user": 1.5, "item": 1}\n', "line 1: field 'user' holds 1.5; give ids"),
    "time": ('{"user": 1, "item": 1, "time": {}}\n', r"line 1: its time is \{\}; give text or a"),
    "surrogate": ('{"user": "\\ud800", "item": 1}\n', "half a character"),
    "digits": ('{"user": ' + "1" * 5000 + "}\n", "line 1 is not JSON"),
    "break": ('{"user": "a\\nb", "item": 1}\n', r"line 1: user 'a\\nb' contains a line break"),
    "no field": ('{"who": 1}\n', "no column that is known to hold the user; it has 'who'"),
    "nothing": ("\n\n", "no event in it"),
    "encoding": (b'{"user": "\xe9"}\n', "byte 10 is not UTF-8"),
}


@pytest.mark.parametrize("name", JSON_FAULTS)
def test_faults_of_json(tmp_path, name):
    text, message = JSON_FAULTS[name]
    with pytest.raises(InputError, match=message) as error:
        read(tmp_path, ("x.jsonl", text))
    assert "\n" not in str(error.value) and len(str(error.value)) < 400


# ------------------------------------------------------------------------------ other contents

FOREIGN = {
    "xlsx": (lambda: zipped({"[Content_Types].xml": ""}), "a spreadsheet"),
    "ods": (
        lambda: zipped({"mimetype": "", "content.xml": ""}),
        "a spreadsheet; save the sheet",
    ),
    "xls": (lambda: b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(99), "an old spreadsheet"),
    "pdf": (lambda: b"%PDF-1.7\n%\xe2\xe3\n", "a PDF file"),
    "web page": (lambda: b"\n<!DOCTYPE html>\n<html></html>", "a web page"),
    "tar": (lambda: bytes(257) + b"ustar" + bytes(99), "a tar archive; unpack it"),
    "database": (lambda: b"SQLite format 3\0", "an SQLite database; export"),
    "packed parquet": (lambda: gzip.compress(parquet_file()), "a Parquet file inside another"),
    "packed zip": (
        lambda: gzip.compress(zipped({"x.csv": lines(",")})),
        "a zip archive inside another",
    ),
    "half a zip": (lambda: zipped({"x.csv": lines(",")})[:60], "truncated or damaged"),
    "empty zip": (lambda: zipped({}), "no table in this archive but nothing"),
    "no table": (
        lambda: zipped({"a.md": "", "b.md": ""}),
        "no table in this archive but a.md, b.md; unpack",
    ),
    "parquet in zip": (lambda: zipped({"x.parquet": ""}), "x.parquet is no bare text; unpack"),
    "broken utf-16": (
        lambda: lines(",").encode("utf-16")[:-1],
        "begins as UTF-16.*, but is truncated",
    ),
    "parquet cut": (lambda: parquet_file()[:99], "not a complete Parquet file"),
    "arrow cut": (lambda: arrow_file()[:99], "not a complete Arrow file"),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_what_is_no_table(tmp_path, name):
    make, message = FOREIGN[name]
    with pytest.raises(InputError, match=rf"x.csv: .*{message}") as error:
        read(tmp_path, ("x.csv", make()))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["x.parquet", "x.arrow", "x.zip"])
def test_text_under_the_name_of_something_else(tmp_path, name):
    for data in (lines(","), "", gzip.compress(lines(",").encode())):
        with pytest.raises(InputError, match=f"no {name[2:]} file by its content; make it again"):
            read(tmp_path, (name, data))


# ------------------------------------------------------------------------------ folders and pipes


def test_folders(tmp_path, caplog):
    folder = tmp_path / "in"
    for name, text in {
        "b.csv": lines(",", rows=ROWS[:2]),
        "sub/a.jsonl": json_lines(ROWS[2:]),
        ".hidden.csv": "broken",
        ".ipynb_checkpoints/b-checkpoint.csv": lines(","),
        ".git/x.csv": lines(","),
        "__MACOSX/x.csv": "broken",
        "README.md": "about",
        "notes": "mine",
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    (folder / "gone.csv").symlink_to(folder / "nowhere.csv")
    (folder / "linked").symlink_to(folder / "sub")
    with caplog.at_level("INFO"):
        corpus = prepare_events(folder / "corpus", EventOptions(), folder)
    assert histories(corpus) == HISTORIES
    assert corpus.manifest["counts"]["files_passed_over"] == 4
    assert (
        f"{folder}: 4 passed over, no table: README.md, gone.csv, linked and 1 more" in caplog.text
    )
    # The corpus inside its own input is neither read nor part of what was read.
    again = prepare_events(folder / "corpus", EventOptions(), folder)
    assert again.manifest == corpus.manifest
    (folder / "README.md").write_text("more")
    prepare_events(folder / "corpus", EventOptions(), folder)
    (folder / "b.csv").write_text(lines(","))
    with pytest.raises(InputError, match="made when in had other content"):
        prepare_events(folder / "corpus", EventOptions(), folder)


def test_names_that_are_not_utf_8(tmp_path):
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/in\xff"))
    folder.mkdir()
    (folder / os.fsdecode(b"caf\xe9.csv")).write_text(lines(","))
    output = Path(os.fsdecode(os.fsencode(tmp_path) + b"/out\xfe"))
    for i, source in enumerate((folder, next(folder.iterdir()))):
        corpus = prepare_events(output / str(i), EventOptions(), source)
        assert histories(corpus) == HISTORIES
        name = [r"in\xff", r"caf\xe9.csv"][i]
        assert corpus.manifest["source"] == f"events: {name}"
        prepare_events(output / str(i), EventOptions(), source)
    (folder / os.fsdecode(b"caf\xe9.csv")).write_text("user,item\nu\n")
    with pytest.raises(InputError, match=r"caf\\xe9.csv: line 2 has 1 of 2 columns"):
        read(tmp_path, folder)
    run = [sys.executable, "-m", "data_prep", "events", folder, "--output", output / "2"]
    root = Path(__file__).parents[2]
    done = subprocess.run(run, cwd=root, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "") and done.stderr.count("\n") == 1
    (folder / os.fsdecode(b"caf\xe9.csv")).write_text(lines(","))
    done = subprocess.run(run, cwd=root, capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.startswith(f"{tmp_path}/out\\xfe/2\n")


def test_unreadable_files_are_named(tmp_path, monkeypatch):
    """As root may read everything, the refusal is made up."""
    from data_prep.io import table_files

    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(table_files, "file_hash", refuse)
    with pytest.raises(
        InputError, match=r"x.csv: cannot be read \(Permission denied\); make it re"
    ):
        read(tmp_path, ("x.csv", lines(",")))


@pytest.mark.parametrize("data", [lines(","), lines("\t"), json_lines(ROWS)])
def test_a_pipe_is_read_once(tmp_path, data):
    os.mkfifo(tmp_path / "pipe")
    thread = threading.Thread(target=(tmp_path / "pipe").write_text, args=(data,))
    thread.start()
    corpus = prepare_events(tmp_path / "c", EventOptions(), tmp_path / "pipe")
    thread.join()
    assert histories(corpus) == HISTORIES
    assert corpus.manifest["source"] == f"events: {tmp_path / 'pipe'}"


@pytest.mark.parametrize("name", ["-", "/dev/stdin"])
def test_the_standard_input(tmp_path, name):
    root = Path(__file__).parents[2]
    run = [sys.executable, "-m", "data_prep", "events", name, "--output", str(tmp_path / "c")]
    data = gzip.compress(lines(";").encode())
    done = subprocess.run(run, cwd=root, input=data, capture_output=True)
    assert (done.returncode, done.stdout.splitlines()[1].split()) == (0, [b"users", b"2"])
    done = subprocess.run([*run, "--overwrite"], cwd=root, input=b"", capture_output=True)
    assert done.returncode == 2 and done.stderr.endswith(b"one row per event\n")
    shown = "standard input" if name == "-" else name
    assert f"error: {shown}: empty; name a file".encode() in done.stderr


# ------------------------------------------------------------------------------ options

WRONG = [
    ({"min_user": "5"}, "--min-user is '5': give a whole number"),
    ({"min_item": 2.5}, "--min-item is 2.5: give a whole number"),
    ({"min_length": True}, "--min-length is True: give a whole number"),
    ({"min_length": None}, "--min-length is None: give a whole number"),
    ({"vocabulary": [5]}, "--vocabulary is a list: give a whole number"),
    ({"vocabulary": -1}, "--vocabulary is -1: give 1 or more"),
    ({"max_length": 2**40}, "--max-length is .*: give 2147483647 or less"),
    ({"user": 1}, "--user is 1: give text, such as '1'"),
    ({"item": ["a"]}, "--item is a list: give text"),
    ({"time": 3.5}, "--time is 3.5: give text"),
    ({"time_format": 5}, "--time-format is 5: give text"),
    ({"separator": 5}, "--separator is 5: give text"),
    ({"licence": None}, "--licence is None: give text"),
    ({"duplicates": ["drop"]}, "--duplicates is a list: choose one of keep, drop"),
    ({"duplicates": ""}, "--duplicates is '': choose one of keep, drop"),
    ({"incomplete": True}, "--incomplete is True: choose one of refuse, drop"),
    ({"quotes": None}, "--quotes is None: choose one of auto, csv, none"),
    ({"header": "no"}, "header is 'no': give True or False"),
    ({"separator": "a\nb"}, "--separator is"),
]


@pytest.mark.parametrize(("options", "message"), WRONG)
def test_options_of_a_wrong_type(options, message):
    with pytest.raises(InputError, match=message):
        EventOptions(**options)


def test_numbers_of_numpy_are_written_as_numbers(tmp_path):
    options = EventOptions(min_user=np.int64(1), vocabulary=np.int32(2))
    corpus = prepare_events(tmp_path / "c", options, table())
    assert corpus.manifest["options"]["vocabulary"] == 2


@pytest.mark.parametrize("options", [None, {}, "x", EventOptions])
def test_options_that_are_none(tmp_path, options):
    with pytest.raises(InputError, match=r"options is .*: give an EventOptions"):
        prepare_events(tmp_path / "c", options, table())


@pytest.mark.parametrize("source", [None, 5, [1], [("u", "i")], b"x.csv", np.zeros((2, 2)), {1, 2}])
def test_sources_that_are_none(tmp_path, source):
    with pytest.raises(InputError, match=r"the source is .*: give a path, a pandas DataFrame"):
        prepare_events(tmp_path / "c", EventOptions(), source)
