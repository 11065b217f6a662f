"""Text of one's own in all its forms; whatever cannot be used is one line and leaves nothing."""

import bz2
import csv
import errno
import gzip
import io
import json
import lzma
import os
import signal
import subprocess
import sys
import tarfile
import time
from functools import partial
from pathlib import Path

import pandas as pd
import pytest

import data_prep.text as text
from data_prep import Options, TextOptions, WikipediaOptions, prepare_text, prepare_wikipedia
from data_prep.__main__ import main
from data_prep.io.token_file import IdFile
from lla.common.errors import InputError, run_main
from lla.corpus import folder as corpus_folder

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 8
ARTICLE = b'<doc id="1" url="x" title="One">\nOne\n\nwords of an article\n</doc>\n'
XMLNS = b'<mediawiki xmlns="http://www.mediawiki.org/xml/export-0.10/"><siteinfo/>'
PAGE = (
    b"<page><title>One</title><ns>0</ns><id>1</id>"
    b"<revision><text>some words</text></revision></page>"
)
DOCUMENTS = ["Otters swim, they do", 'a "quoted" word', "naïve ÉCOLE otters"]
TOKENS = [["otters", "swim"], ["quoted", "word"], ["naïve", "école", "otters"]]


def texts(corpus):
    return [[corpus.vocabulary[w] for w in corpus.document(d)] for d in range(corpus.n_documents)]


def write_folder(path):
    path.mkdir()
    (path / "sub").mkdir()
    for name, document in zip(("a.txt", "b.txt", "sub/a.txt"), DOCUMENTS, strict=True):
        (path / name).write_text(document, encoding="utf-8-sig")
    (path / ".hidden.txt").write_text("hidden")
    (path / "notes.md").write_text("notes")


def write_lines(path):
    path.write_text("\n\n".join(DOCUMENTS), encoding="utf-8-sig")


def write_json(path):
    path.write_text("\n".join(json.dumps({"text": d, "id": 1}) for d in DOCUMENTS))


def write_csv(path):
    with open(path, "w", newline="", encoding="utf-8") as file:
        separator = "\t" if path.suffix == ".tsv" else ","
        writer = csv.writer(file, delimiter=separator)
        # A line break inside a cell, and a cell longer than the csv module's own limit.
        rows = [(i, d.replace(" ", "\n", 1)) for i, d in enumerate(DOCUMENTS)]
        writer.writerows([("id", "text"), *rows, (9, "the " * 50_000)])


def write_gz(path):
    plain = path.with_suffix("")
    write_csv(plain)
    path.write_bytes(gzip.compress(plain.read_bytes()))


def write_parquet(path):
    pd.DataFrame({"id": range(4), "text": [*DOCUMENTS, None]}).to_parquet(path)


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("folder", write_folder),
        ("lines.txt", write_lines),
        ("x.jsonl", write_json),
        ("x.csv", write_csv),
        ("x.tsv", write_csv),
        ("x.csv.gz", write_gz),
        ("x.parquet", write_parquet),
    ],
)
def test_every_form_of_text_gives_its_documents(tmp_path, name, write):
    write(tmp_path / name)
    corpus = prepare_text(tmp_path / "c", TextOptions(licence="mine"), tmp_path / name)
    assert texts(corpus) == TOKENS
    assert corpus.manifest["licence"] == "mine"
    assert corpus.manifest["source"] == f"text: {name}"


def test_parquet_of_many_rows_is_read_in_batches(tmp_path, monkeypatch):
    monkeypatch.setattr(text, "ROWS", 3)
    rows = [f"w{i}" for i in range(20)]
    pd.DataFrame({"item": rows}).to_parquet(tmp_path / "x.parquet")
    options = TextOptions(tokens="split", column="item")
    assert texts(prepare_text(tmp_path / "c", options, tmp_path / "x.parquet")) == [
        [w] for w in rows
    ]


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        (Options, {"vocabulary": 0}, "--vocabulary is 0"),
        (Options, {"vocabulary": 2**31 + 1}, "--vocabulary is 2147483649"),
        (Options, {"min_words": 0}, "--min-words is 0"),
        (Options, {"min_words": 9, "max_words": 8}, "--max-words is 8: give --min-words 9"),
        (Options, {"documents": "5"}, "--documents is 5: give A:B"),
        (Options, {"documents": "5:5"}, "--documents is 5:5"),
        (Options, {"documents": "-5:"}, "--documents is -5:"),
        (Options, {"documents": "a:b"}, "--documents is a:b"),
        (Options, {"documents": "1:2:3"}, "--documents is 1:2:3"),
        (Options, {"sample": 0}, "--sample is 0"),
        (Options, {"seed": -1}, "--seed is -1"),
        (Options, {"stop_words": "no"}, "--stop-words is no"),
        (TextOptions, {"tokens": "bytes"}, "--tokens is 'bytes'"),
    ],
)
def test_options_out_of_range(kind, options, message):
    with pytest.raises(InputError, match=message):
        kind(**options)


def half(data):
    return data[: len(data) // 2]


def tar_of(members):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return stream.getvalue()


NOISE = bytes((i * i * 7919 + i) % 251 for i in range(60_000))
LONG = ARTICLE.replace(b"words", NOISE.hex().encode())
WIKI_FAULTS = {
    "missing.xml.bz2": (None, "no such file or folder .LLA_DATA"),
    "cut.xml.bz2": (half(bz2.compress(XMLNS + PAGE * 99 + b"</mediawiki>")), "truncated"),
    "cut.tar.xz": (half(lzma.compress(tar_of({"AA/wiki_00": LONG}))), "truncated"),
    "cut.tar": (half(tar_of({"AA/wiki_00": LONG})), "truncated"),
    "cut.gz": (half(gzip.compress(LONG)), "truncated"),
    "flipped.bz2": (bz2.compress(LONG)[:-200] + bytes(200), "cannot be read|truncated"),
    "picture.png": (PNG, "not a MediaWiki dump"),
    "picture.xml.bz2": (bz2.compress(PNG), "not a MediaWiki dump"),
    "page.xml": (
        b"<?xml version='1.0'?><html><p>x</p></html>",
        "not a MediaWiki dump but other XML .<html>",
    ),
    "cut.xml": (XMLNS + PAGE, "not well-formed XML"),
    "empty.xml": (XMLNS + b"</mediawiki>", "no article in it"),
    "talk.xml": (XMLNS + PAGE.replace(b"<ns>0", b"<ns>1") + b"</mediawiki>", "no article in it"),
    "nothing": (b"", "not a MediaWiki dump"),
    "other.tar": (tar_of({"README": b"hello"}), "no article in it"),
    "cut.txt": (ARTICLE[:-8], "ends inside the article 'One'"),
    "short.txt": (ARTICLE, "have fewer than --min-words 500; the longest has 2, choose"),
    "latin1.txt": (ARTICLE.replace(b"of", b"\xe9"), "latin1.txt: byte 44 is not UTF-8"),
    "latin1.tar": (
        tar_of({"w": ARTICLE + ARTICLE.replace(b"of", b"\xe9")}),
        f"w: byte {65 + 44} is not",
    ),
}


@pytest.mark.parametrize("name", WIKI_FAULTS)
def test_faults_of_wikipedia(tmp_path, name):
    data, message = WIKI_FAULTS[name]
    if data is not None:
        (tmp_path / name).write_bytes(data)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(InputError, match=message) as error:
        prepare_wikipedia(tmp_path / "new" / "c", WikipediaOptions(), tmp_path / name)
    assert name in str(error.value)
    assert sorted(tmp_path.iterdir()) == before, "nothing is left, no empty folder either"


SPLIT = TextOptions(tokens="split")
TEXT_FAULTS = {
    "x.jsonl": [
        (b'{"text": "a"}\n{"text": ', SPLIT, "line 2 is not JSON"),
        (b"[1]\n", SPLIT, "line 1 is not a JSON object"),
        (
            b'{"text": "a"}',
            TextOptions(field="body"),
            "no field 'body'; choose with --field one of text",
        ),
        (b'{"text": 5}', SPLIT, "field 'text' holds int"),
        (b'{"text": "\\ud800"}', SPLIT, "lone surrogate"),
        (b'{"text": "a"}\n{"text": "\xe9"}', SPLIT, "byte 24 is not UTF-8; convert"),
    ],
    "x.csv": [
        (b"id,title\n1,a\n", SPLIT, "no column 'text'; choose with --column one of id, title"),
        (b"id,text\n1\n", SPLIT, "line 2 has 1 of 2 columns"),
        (b'id,text\n1,"a', SPLIT, "truncated or damaged"),
        (b"", SPLIT, "no column 'text'"),
        (b"id,text\n1,\xe9\n", SPLIT, "byte 10 is not UTF-8"),
    ],
    "x.csv.gz": [(half(gzip.compress(b"text\n" + NOISE.hex().encode())), SPLIT, "truncated")],
    "x.parquet": [(PNG, SPLIT, "not a complete Parquet file")],
    "x.txt": [
        (b"", SPLIT, "no document in it"),
        (b"\n \n", SPLIT, "no document in it"),
        (b"the and\n", TextOptions(), "no word is left in its documents .1.; .* --stop-words keep"),
        (b"ok\n\xff\n", SPLIT, "byte 3 is not UTF-8"),
        (b"a b\n", TextOptions(tokens="split", sample=2), "--sample is 2: give at most 1"),
        (
            b"a b\n",
            TextOptions(tokens="split", documents="1:"),
            "--documents is 1:: give a slice of the 1",
        ),
    ],
}


@pytest.mark.parametrize(
    ("name", "data", "options", "message"),
    [(name, *fault) for name, faults in TEXT_FAULTS.items() for fault in faults],
)
def test_faults_of_text(tmp_path, name, data, options, message):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(InputError, match=message) as error:
        prepare_text(tmp_path / "c", options, tmp_path / name)
    assert "\n" not in str(error.value)
    assert [p.name for p in tmp_path.iterdir()] == [name]


def test_parquet_without_the_column(tmp_path):
    write_parquet(tmp_path / "x.parquet")
    with pytest.raises(InputError, match=r"no column 'body'; choose with --column one of id, text"):
        prepare_text(tmp_path / "c", TextOptions(column="body"), tmp_path / "x.parquet")
    with pytest.raises(InputError, match=r"row 1, column 'id' holds int"):
        prepare_text(tmp_path / "c", TextOptions(column="id"), tmp_path / "x.parquet")


def test_a_folder_without_text(tmp_path):
    with pytest.raises(InputError, match=r"no \.txt file in this folder"):
        prepare_text(tmp_path / "c", SPLIT, tmp_path)


@pytest.mark.parametrize("place", [(IdFile, "write"), (corpus_folder, "flush")])
@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), 2, "error: {}: no space left"),
        (OSError(errno.EROFS, "Read-only file system"), 2, "error: {}: cannot be written"),
        (KeyboardInterrupt(), 130, "stopped; nothing was written to {}"),
    ],
)
def test_a_full_disk_or_ctrl_c_leaves_nothing(
    tmp_path, monkeypatch, capsys, place, error, code, line
):
    def fail(*_):
        raise error

    (tmp_path / "x.txt").write_text("ab cd\n")
    monkeypatch.setattr(*place, fail)
    output = tmp_path / "new" / "c"
    with pytest.raises(SystemExit) as stop:
        run_main(lambda: main(["text", str(tmp_path / "x.txt"), "--output", str(output)]))
    assert stop.value.code == code
    shown = capsys.readouterr().err
    assert shown.startswith(line.format(output))
    assert shown.count("\n") == 1
    assert [p.name for p in tmp_path.iterdir()] == ["x.txt"]


def test_an_output_that_is_no_corpus_is_left_alone(tmp_path):
    (tmp_path / "x.txt").write_text("a b\n")
    (tmp_path / "file").write_text("mine")
    for output in (tmp_path, tmp_path / "file"):
        with pytest.raises(InputError, match="exists and is no corpus"):
            prepare_text(output, SPLIT, tmp_path / "x.txt")
    with pytest.raises(InputError, match="cannot be written"):
        prepare_text(tmp_path / "file" / "c", SPLIT, tmp_path / "x.txt")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "x.txt"]


def command(*arguments, **options):
    root = Path(__file__).parents[2]
    line = [sys.executable, "-m", "data_prep", *map(str, arguments)]
    # What a shell starts in the background ignores Ctrl-C, and so would its children.
    options["preexec_fn"] = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    return subprocess.Popen(
        line, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options
    )


def test_the_command_line(tmp_path):
    (tmp_path / "x.txt").write_text("otters swim\nthe otters\n")
    good = command("text", tmp_path / "x.txt", "--output", tmp_path / "c")
    bad = command("wikipedia", tmp_path / "x.txt", "--output", tmp_path / "d")
    out, err = good.communicate()
    assert (good.returncode, err) == (0, "")
    lines = [line.split() for line in out.splitlines()[1:4]]
    assert lines == [["documents", "2"], ["tokens", "3"], ["words", "2"]]
    out, err = bad.communicate()
    assert (bad.returncode, out) == (2, "")
    assert err.startswith(f"error: {tmp_path / 'x.txt'}: not a MediaWiki dump")
    assert err.count("\n") == 1


@pytest.mark.parametrize("processes", [1, 2])
def test_ctrl_c_while_reading(tmp_path, processes):
    """The embedded dump takes a while; its progress says when it is being read."""
    shown, output = tmp_path / "progress", tmp_path / "new" / "c"
    environment = os.environ | {"LLA_PROGRESS": str(shown)}
    run = command("wikipedia", "--output", output, "--processes", processes, env=environment)
    while run.poll() is None and not (shown.exists() and "reading" in shown.read_text()):
        time.sleep(0.01)
    run.send_signal(signal.SIGINT)
    out, err = run.communicate()
    assert (run.returncode, out) == (130, "")
    assert err == f"stopped; nothing was written to {output}, the same command starts again\n"
    assert [p.name for p in tmp_path.iterdir()] == ["progress"]
