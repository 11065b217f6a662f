"""The same events in every form that tables come in: files, folders, pipes."""

import gzip
import os
import subprocess
import sys
import threading
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from event_forms import (
    HISTORIES,
    ROWS,
    arrow_file,
    histories,
    json_lines,
    lines,
    parquet_file,
    read,
    table,
    zipped,
)

import data_prep.tables.delimited as delimited
from data_prep import EventOptions, prepare_events
from data_prep.tables import json_rows
from lla.common.errors import InputError

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
    """u.data and ratings.dat as in data_prep/README.md: columns user, item, rating, time."""
    from data_prep.__main__ import main

    times = "1::1193::5::978300760\n1::661::3::978302109\n1::914::3::978301968\n"
    options = {"header": False, "user": "1", "item": "2", "time": "4"}
    found = read(tmp_path, ("ratings.dat", times), **options)
    assert found == {"1": ["1193", "914", "661"]}
    (tmp_path / "u.data").write_text("196\t242\t3\t881250949\n186\t302\t3\t1\n196\t377\t1\t2\n")
    line = ["events", str(tmp_path / "u.data"), "--no-header", "--user", "1", "--item", "2"]
    assert main([*line, "--time", "4", "--output", str(tmp_path / "d")]) == 0
    capsys.readouterr()
    assert read(tmp_path, tmp_path / "u.data", **options) == {
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
    "array": ("[\n", "line 1 is not JSON"),
    "array on a line": ('[{"user": 1}]\n', "line 1 is not a JSON object; give one"),
    "half": ('{"user": 1, "item": 1}\n{"user": \n', "line 2 is not JSON"),
    "text": ('{"user": 1, "item": 1}\nhello\n', "line 2 is not JSON"),
    "deep": ('{"user": ' + "[" * 100_000 + "\n", "line 1 is not JSON"),
    "list": ('{"user": [1], "item": 1}\n', r"line 1: field 'user' holds \[1\]; give ids as text"),
    "truth": ('{"user": 1, "item": true}\n', "line 1: field 'item' holds true; give ids"),
    "fraction": ('{"user": 1.5, "item": 1}\n', "line 1: field 'user' holds 1.5; give ids"),
    "time": ('{"user": 1, "item": 1, "time": {}}\n', r"line 1: its time is \{\}; give text or a"),
    "surrogate": (
        '{"user": "\\ud83d\\ude00", "item": 1}\n\n{"user": "\\ud800", "item": 1}\n',
        "line 3: an id or time has half a character",
    ),
    "digits": ('{"user": ' + "1" * 5000 + "}\n", "line 1 is not JSON"),
    "break": ('{"user": "a\\nb", "item": 1}\n', r"line 1: user 'a\\nb' contains a line break"),
    "twice": (
        '{"user": 1, "item": 1}\n{"user": 1, "item": 1, "user": 1}\n',
        r"x\.jsonl: line 2: field 'user' stands twice; leave one of them$",
    ),
    "twice inside": ('{"user": 1, "item": {"a": 1, "a": 2}}\n', "line 1: field 'a' stands twice"),
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
    "tar": (lambda: bytes(257) + b"ustar" + bytes(99), "a tar archive, not text; unpack it"),
    "database": (lambda: b"SQLite format 3\0", "a database, not text; export"),
    "packed parquet": (lambda: gzip.compress(parquet_file()), "a Parquet file inside another"),
    "packed zip": (
        lambda: gzip.compress(zipped({"x.csv": lines(",")})),
        "a zip archive or a spreadsheet, not",
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
        "not whole UTF-16",
    ),
    "parquet cut": (lambda: parquet_file()[:99], "not a complete Parquet file"),
    "arrow damaged": (
        # Offsets of the first column: 0, 1, 2, 3.
        lambda: arrow_file().replace(
            bytes([0, 0, 0, 0, 1, 0, 0, 0, 2]), bytes([0] * 6 + [9, 0, 2])
        ),
        "not a complete Arrow file .*offset",
    ),
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
    assert corpus.manifest["counts"]["files_passed_over"] == 8
    assert f"{folder}: passed over: 1 broken links (gone.csv); 4 hidden (" in caplog.text
    assert "1 links to folders (linked/); 2 no table (README.md, notes)" in caplog.text
    # The corpus inside its own input is neither read nor part of what was read.
    again = prepare_events(folder / "corpus", EventOptions(), folder)
    assert again.manifest == corpus.manifest
    (folder / "README.md").write_text("more")
    prepare_events(folder / "corpus", EventOptions(), folder)
    (folder / "b.csv").write_text(lines(","))
    with pytest.raises(InputError, match="made when in had other content"):
        prepare_events(folder / "corpus", EventOptions(), folder)


def test_the_same_table_twice_is_said(tmp_path, caplog):
    (tmp_path / "in").mkdir()
    for name in ("a.csv", "b.csv"):
        (tmp_path / "in" / name).write_text(lines(","))
    with caplog.at_level("INFO"):
        assert read(tmp_path, tmp_path / "in")["v"] == ["a", "a"]
    assert "b.csv: has the same content as" in caplog.text


@pytest.mark.parametrize("kind", [pa.bool_(), pa.list_(pa.int8()), pa.null(), pa.string_view()])
def test_tables_without_rows(tmp_path, kind):
    source = pa.schema({"user": kind, "item": kind, "time": kind}).empty_table()
    pq.write_table(source, tmp_path / "x.parquet")
    for one in (source, tmp_path / "x.parquet"):
        with pytest.raises(InputError, match="no event in it; name a table"):
            read(tmp_path, one)


def test_names_that_are_not_utf_8(tmp_path, caplog):
    caplog.set_level("INFO", "data_prep")
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
    assert caplog.text.encode() and "exists, made from the same" in caplog.text
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
    from data_prep.tables import files

    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(files, "file_hash", refuse)
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
