"""What a folder holds and is not read, names of documents, and inputs that are no plain text."""

import gzip
import json
import os
import subprocess
import sys
import threading
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import data_prep.io.find as find
from data_prep import TextOptions, WikipediaOptions, prepare_text, prepare_wikipedia
from data_prep.__main__ import main
from lla.common.errors import InputError
from lla.common.files import folder_to_write
from lla.corpus import load_corpus, save_corpus

SPLIT = TextOptions(tokens="split")


def texts(corpus):
    return [[corpus.vocabulary[w] for w in corpus.document(d)] for d in range(corpus.n_documents)]


def prepared(tmp_path, name, data, options=SPLIT):
    path = tmp_path / name
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    output = tmp_path / "out" / f"{len(list(tmp_path.glob('out/*')))}"
    return prepare_text(output, options, path)


# ---------------------------------------------------------------------- folders


@pytest.fixture
def folder(tmp_path):
    raw = tmp_path / "raw"
    for name in (".git", ".ipynb_checkpoints", "__MACOSX", "sub"):
        (raw / name).mkdir(parents=True)
        (raw / name / "a.txt").write_text(f"in {name}")
    (raw / "a.txt").write_text("one")
    (raw / "._a.txt").write_text("hidden")
    (raw / "B.TXT").write_text("two")
    (raw / "c.txt.gz").write_bytes(gzip.compress(b"three"))
    (raw / "a.txt.gz").write_bytes(gzip.compress(b"one"))
    (raw / "notes.md").write_text("notes")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "d.txt").write_text("four")
    (raw / "d.txt").symlink_to(tmp_path / "outside" / "d.txt")
    (raw / "twice.txt").symlink_to(raw / "a.txt")
    (raw / "broken.txt").symlink_to(raw / "none.txt")
    (raw / "linked").symlink_to(tmp_path / "outside")
    os.mkfifo(raw / "pipe.txt")
    return raw


def test_a_folder_is_read_once_and_the_rest_is_said(folder, tmp_path, caplog):
    with caplog.at_level("INFO", logger="data_prep"):
        corpus = prepare_text(tmp_path / "c", SPLIT, folder)
    assert texts(corpus) == [["two"], ["one"], ["three"], ["four"], ["in", "sub"]]
    assert corpus.names == ("B.TXT", "a.txt", "c.txt.gz", "d.txt", "sub/a.txt")
    (line,) = [r.getMessage() for r in caplog.records if "passed over" in r.getMessage()]
    assert line == (
        f"{folder}: passed over: 1 broken links (broken.txt); "
        "1 compressed beside the same uncompressed (a.txt.gz); "
        "4 hidden (._a.txt, .git/, .ipynb_checkpoints/, ...); "
        "1 links to folders (linked/); 1 links to other files here (twice.txt); "
        "1 no regular files (pipe.txt); 1 not .txt (notes.md)"
    )


def test_a_corpus_inside_its_input_is_not_read(tmp_path):
    (tmp_path / "a.txt").write_text("one two")
    options = TextOptions(tokens="split", vocabulary=2)
    first = prepare_text(tmp_path / "out" / "c", SPLIT, tmp_path)
    assert prepare_text(tmp_path / "d", options, tmp_path).fingerprint == first.fingerprint
    before = (tmp_path / "d" / "manifest.json").stat().st_mtime_ns
    prepare_text(tmp_path / "d", options, tmp_path)
    assert (tmp_path / "d" / "manifest.json").stat().st_mtime_ns == before, "nothing has changed"
    with pytest.raises(InputError, match=r"d: is a corpus already; load it with lla.load_corpus"):
        prepare_text(tmp_path / "e", SPLIT, tmp_path / "d")


def test_a_folder_with_other_files_alone(tmp_path):
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "a.csv").write_text("text\nhello\n")
    with pytest.raises(InputError, match=r"no \.txt file in this folder, but 1 not \.txt \(a.csv"):
        prepare_text(tmp_path / "c", SPLIT, tmp_path / "raw")


def test_links_into_a_hidden_folder_are_read(tmp_path):
    """As git-annex and DataLad keep files."""
    raw = tmp_path / "raw"
    (raw / ".git").mkdir(parents=True)
    (raw / ".git" / "object.txt").write_text("one")
    (raw / "a.txt").symlink_to(raw / ".git" / "object.txt")
    assert texts(prepare_text(tmp_path / "c", SPLIT, raw)) == [["one"]]


def test_what_cannot_be_read(tmp_path, monkeypatch):
    raw = tmp_path / "raw"
    raw.mkdir()
    (raw / "a.txt").write_text("one")
    opened = open

    def refuse(path, *arguments, **options):
        if str(path).endswith("a.txt"):
            raise PermissionError(13, "Permission denied", str(path))
        return opened(path, *arguments, **options)

    def refuse_folder(top, onerror, **_):
        onerror(PermissionError(13, "Permission denied", f"{top}/sub"))
        return iter([])

    monkeypatch.setattr("builtins.open", refuse)
    with pytest.raises(InputError, match=r"raw/a.txt: cannot be read .*denied.*; make it readable"):
        prepare_text(tmp_path / "c", SPLIT, raw)
    monkeypatch.setattr(find.os, "walk", refuse_folder)
    with pytest.raises(InputError, match=r"raw/sub: cannot be read .*denied.*; make it readable"):
        prepare_text(tmp_path / "c", SPLIT, raw)


# ---------------------------------------------------------------------- names


def test_names_that_are_no_utf8_or_break_lines_are_escaped(tmp_path):
    raw = tmp_path / "raw"
    raw.mkdir()
    for name in (b"caf\xe9.txt", b"two\nlines.txt", "für.txt".encode()):
        Path(os.fsdecode(os.fsencode(raw) + b"/" + name)).write_text("one word")
    corpus = prepare_text(tmp_path / "c", SPLIT, raw)
    assert corpus.names == ("caf\\xe9.txt", "für.txt", "two\\nlines.txt")
    assert load_corpus(tmp_path / "c").names == corpus.names
    assert corpus.items("caf\\xe9.txt") == ["one", "word"]


def test_inputs_and_outputs_whose_names_are_no_utf8(tmp_path, capsys):
    path, output = (os.fsdecode(os.fsencode(tmp_path) + name) for name in (b"/\xe9", b"/c\xe9"))
    Path(path).write_text("one word")
    assert main(["text", path, "--output", output]) == 0
    assert capsys.readouterr().out.startswith(f"{tmp_path}/c\\xe9\n  documents  1\n")
    manifest = load_corpus(output).manifest
    assert manifest["source"] == "text: \\xe9"


NAMED = pd.DataFrame(
    {"ID": ["a", None, "b\nc"], "text": ["one", "two", "three"], "title": ["x", "y", "z"]}
)


@pytest.mark.parametrize("form", ["csv", "tsv", "jsonl", "parquet"])
def test_rows_are_named_by_their_ids(tmp_path, form):
    path = tmp_path / f"x.{form}"
    if form == "parquet":
        NAMED.to_parquet(path)
    elif form == "jsonl":
        NAMED.to_json(path, orient="records", lines=True)
    else:
        NAMED.to_csv(path, index=False, sep="\t" if form == "tsv" else ",")
    row = "line 2" if form == "jsonl" else "row 2"
    assert prepare_text(tmp_path / "c", SPLIT, path).names == ("a", row, "b\\nc")
    titled = TextOptions(tokens="split", name="title")
    assert prepare_text(tmp_path / "t", titled, path).names == ("x", "y", "z")
    with pytest.raises(InputError, match=r"no column 'who'; choose with --name one of ID, text"):
        prepare_text(tmp_path / "w", TextOptions(name="who"), path)


def test_ids_that_are_numbers_are_the_same_in_every_form(tmp_path):
    frame = pd.DataFrame({"id": [1, 20], "text": ["one", "two"]})
    frame.to_csv(tmp_path / "x.csv", index=False)
    frame.to_parquet(tmp_path / "x.parquet")
    frame.astype({"id": float}).to_parquet(tmp_path / "float.parquet")
    frame.to_json(tmp_path / "x.jsonl", orient="records", lines=True)
    for path in list(tmp_path.iterdir()):
        assert prepare_text(tmp_path / "c" / path.name, SPLIT, path).names == ("1", "20")


def test_lines_are_named_by_their_numbers(tmp_path):
    options = TextOptions(tokens="split", min_words=2, documents="1:", vocabulary=4)
    corpus = prepared(tmp_path, "x.txt", "a b\n\nshort\nc d\nc d\nx y\n", options)
    assert corpus.names == ("line 4", "line 5", "line 6")
    other = prepared(tmp_path, "y.txt", "a a\nx\nb b\n", TextOptions(tokens="split", vocabulary=2))
    assert (texts(other), other.names) == ([["a", "a"], ["b", "b"]], ("line 1", "line 3"))
    with pytest.raises(InputError, match=r"--name is id: .*x.txt has no columns; leave it out"):
        prepare_text(tmp_path / "d", TextOptions(name="id"), tmp_path / "x.txt")


def test_sampled_documents_keep_their_names(tmp_path):
    lines = "".join(f"w{i} x\n" for i in range(1, 41))
    corpus = prepared(tmp_path, "x.txt", lines, TextOptions(tokens="split", sample=7, seed=3))
    assert [f"line {words[0][1:]}" for words in texts(corpus)] == list(corpus.names)


# ---------------------------------------------------------------------- forms


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "utf-8-sig"])
@pytest.mark.parametrize("name", ["x.txt", "x.csv", "x.jsonl", "x.csv.gz", "folder"])
def test_every_unicode_encoding_with_its_mark_is_read(tmp_path, encoding, name):
    content = {"x.txt": "für alle\n", "x.jsonl": '{"text": "für alle"}\n', "folder": "für\nalle"}
    data = content.get(name, "text\r\nfür alle\r\n").encode(encoding)
    path = tmp_path / name
    if name == "folder":
        path.mkdir()
        (path / "a.txt").write_bytes(data)
    else:
        path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    assert texts(prepare_text(tmp_path / "c", SPLIT, path)) == [["für", "alle"]]


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf16_without_a_mark_is_read_where_it_is_plain(tmp_path, encoding):
    assert texts(prepared(tmp_path, "x.txt", "für alle\n".encode(encoding))) == [["für", "alle"]]
    with pytest.raises(InputError, match=r"byte \d+ is 0, .* UTF-16 without a byte order mark"):
        prepared(tmp_path, "x.txt", "我 hello world\n".encode("utf-16-le"))
    with pytest.raises(InputError, match=r"x\.txt: not whole UTF-16"):
        prepared(tmp_path, "x.txt", "hello".encode("utf-16")[:-1])
    with pytest.raises(InputError, match=r"byte 1003 is 0"):
        prepared(tmp_path, "x.txt", "abc\n" * 250 + "abc\0")


def test_lines_that_end_in_carriage_returns(tmp_path):
    assert texts(prepared(tmp_path, "x.txt", "a b\rc d\r")) == [["a", "b"], ["c", "d"]]
    assert texts(prepared(tmp_path, "x.csv", "text\ra b\r")) == [["a", "b"]]


def zip_file(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.txt", "hello")
    return path.read_bytes()


@pytest.mark.parametrize("name", ["x.csv", "x.txt", "x.jsonl", "folder/a.txt"])
@pytest.mark.parametrize(
    ("start", "message"),
    [
        (b"PK\x03\x04", "a zip archive or a spreadsheet, not text; unpack it, or save"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old spreadsheet or Word file, not text"),
        (b"PAR1", r"a Parquet file, not text; give it a name that ends in \.parquet"),
        (b"%PDF-1.7", "a PDF file, not text; convert it"),
        (b"\x89PNG\r\n", "a picture, not text"),
        (b"7z\xbc\xaf\x27\x1c", "a 7z archive, not text"),
        (b"a.txt".ljust(257, b"\0") + b"ustar\x0000", "a tar archive, not text; unpack it"),
        (b"\x7fELF\0\0", "byte 4 is 0, so this is no text"),
    ],
)
def test_archives_and_the_like_under_the_name_of_a_text(tmp_path, name, start, message):
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(start + bytes(300))
    source = path.parent if name.startswith("folder") else path
    with pytest.raises(InputError, match=message) as error:
        prepare_text(tmp_path / "c", SPLIT, source)
    assert str(path) in str(error.value)


def test_a_real_zip_archive(tmp_path):
    data = zip_file(tmp_path / "a.zip")
    with pytest.raises(InputError, match=r"x\.csv: a zip archive or a spreadsheet"):
        prepared(tmp_path, "x.csv", data)
    with pytest.raises(InputError, match="Parquet is compressed inside, not as a whole; unpack"):
        prepared(tmp_path, "x.parquet.gz", gzip.compress(data))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("text\nHello brave, new world\n", "line 2 has 2 cells, the header 1; put text that con"),
        ("id,text\n1,a\n2,Hello brave, new world\n", "line 3 has 3 cells, the header 2"),
        ("id,text,text\n1,a,b\n", "2 columns are 'text'; rename them"),
        ('text\n"a "quoted" word"\n', "line 2, truncated or damaged .*those inside are doubled"),
    ],
)
def test_cells_beyond_the_header_are_refused(tmp_path, data, message):
    with pytest.raises(InputError, match=message):
        prepared(tmp_path, "x.csv", data)


def test_cells_of_a_csv_that_hold_nothing_or_are_not_needed(tmp_path):
    corpus = prepared(tmp_path, "x.csv", "id, text ,label\n1,a b,x,,\n2,c\n")
    assert texts(corpus) == [["a", "b"], ["c"]]
    assert corpus.names == ("1", "2")


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("name", ["x.csv", "x.tsv", "x.csv.gz"])
def test_the_header_tells_the_separator(tmp_path, name, separator):
    data = f'"id"{separator} text\n7{separator}"a{separator}b c"\n'
    coded = gzip.compress(data.encode()) if name.endswith(".gz") else data
    corpus = prepared(tmp_path, name, coded, TextOptions(min_letters=1, stop_words="keep"))
    assert (texts(corpus), corpus.names) == ([["a", "b", "c"]], ("7",))
    wide = data + f"8{separator}brave{separator}new world\n"
    coded = gzip.compress(wide.encode()) if name.endswith(".gz") else wide
    with pytest.raises(InputError, match=r"line 3 has 3 cells, the header 2; put text that cont"):
        prepared(tmp_path, name, coded)


def test_options_of_another_kind(tmp_path):
    for options in (None, {}, WikipediaOptions()):
        with pytest.raises(InputError, match=r"options is .*: give a TextOptions"):
            prepare_text(tmp_path / "c", options, tmp_path)
    with pytest.raises(InputError, match=r"options is a TextOptions: give a WikipediaOptions"):
        prepare_wikipedia(tmp_path / "c", TextOptions())
    with pytest.raises(InputError, match="input is 5: give a list"):
        prepare_wikipedia(tmp_path / "c", None, 5)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("keep_case", "yes", "--keep-case is 'yes': give True or False"),
        ("min_words", "5", "--min-words is '5': give a whole number"),
        ("vocabulary", None, "--vocabulary is None: give a whole number"),
        ("tokens", ["words"], "--tokens is .*: choose one of words, split, gensim"),
        ("documents", 5, "--documents is 5: give text"),
        ("stop_words", ["a"], "--stop-words is .*: give text"),
        ("stop_words", "x" * 5000, "--stop-words is x.*: give remove or english"),
        ("vocabulary_of", 5, "--vocabulary-of is 5: give text"),
        ("field", None, "--field is None: give text"),
        ("licence", 5, "--licence is 5: give text, such as '5'"),
        ("name", 5, "--name is 5: give text"),
    ],
)
def test_options_of_the_wrong_type(name, value, message):
    with pytest.raises(InputError, match=message):
        TextOptions(**{name: value})


def test_numbers_of_numpy_are_numbers(tmp_path):
    options = TextOptions(tokens="split", max_words=np.int64(1), seed=np.int32(2))
    assert texts(prepared(tmp_path, "x.txt", "a b\n", options)) == [["a"]]


def test_json_of_great_depth_is_one_line(tmp_path):
    data = '{"text": "a"}\n{"text": ' + "[" * 100_000 + "]" * 100_000 + "}\n"
    with pytest.raises(InputError, match=r"line 2 is not JSON \(nested too deeply\); give one"):
        prepared(tmp_path, "x.jsonl", data)


def test_a_field_that_stands_twice_is_refused_by_its_name(tmp_path):
    data = '{"text": "a b"}\n{"text": "a", "text": "b"}\n'
    line = r"x\.jsonl: line 2: field 'text' stands twice; leave one of them$"
    with pytest.raises(InputError, match=line):
        prepared(tmp_path, "x.jsonl", data)


# ---------------------------------------------------------------------- names of paths


def feed(pipe, data):
    """Write `data` into a named pipe, from a thread that waits for the reader."""
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(data,), daemon=True)
    writer.start()
    return writer


def test_pipes_are_read_as_files_are(tmp_path):
    writer = feed(tmp_path / "x.csv", b"text,id\na b,7\n")
    corpus = prepare_text(tmp_path / "c", SPLIT, tmp_path / "x.csv")
    writer.join()
    assert (texts(corpus), corpus.names) == ([["a", "b"]], ("7",))
    assert corpus.manifest["source"] == "text: x.csv"
    article = b'<doc id="1" url="x" title="Otters">\notters swim\n</doc>\n'
    writer = feed(tmp_path / "wiki", article)
    articles = prepare_wikipedia(tmp_path / "w", WikipediaOptions(min_words=1), tmp_path / "wiki")
    writer.join()
    assert (texts(articles), articles.names) == ([["otters", "swim"]], ("Otters",))
    with pytest.raises(InputError, match="/dev/null: no regular file, which cannot be read twice"):
        prepare_text(tmp_path / "d", SPLIT, "/dev/null")


def test_the_standard_input(tmp_path):
    command = [sys.executable, "-m", "data_prep", "text", "-", "--output", str(tmp_path / "c")]
    root = Path(__file__).parents[2]
    subprocess.run(command, cwd=root, input=b"otters swim\n", check=True, capture_output=True)
    corpus = load_corpus(tmp_path / "c")
    assert (texts(corpus), corpus.names) == ([["otters", "swim"]], ("line 1",))
    assert corpus.manifest["source"] == "text: standard input"


@pytest.mark.parametrize("name", ["", "~nobody-of-this-name/x", "x" * 5000, "a\0b", None, 5])
def test_names_that_no_input_has(tmp_path, name):
    with pytest.raises(InputError) as error:
        prepare_text(tmp_path / "c", SPLIT, name)
    assert len(str(error.value).splitlines()) == 1


def test_an_input_or_output_in_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "x.txt").write_text("one two")
    corpus = prepare_text("~/out/c", SPLIT, "~/x.txt")
    assert load_corpus(tmp_path / "out" / "c").fingerprint == corpus.fingerprint
    save_corpus(corpus, "~/copy")
    assert load_corpus(tmp_path / "copy").fingerprint == corpus.fingerprint


@pytest.mark.parametrize("output", [".", "", "..", "/", "sub/..", "~nobody-of-this-name/x", None])
def test_outputs_that_would_replace_the_current_folder(tmp_path, monkeypatch, output):
    (tmp_path / "here" / "sub").mkdir(parents=True)
    (tmp_path / "x.txt").write_text("one two")
    monkeypatch.chdir(tmp_path / "here")
    with pytest.raises(InputError, match=r"^--output is "):
        prepare_text(output, SPLIT, tmp_path / "x.txt")
    assert [p.name for p in (tmp_path / "here").iterdir()] == ["sub"]
    with pytest.raises(InputError, match=r"folder is .*name a folder"):
        folder_to_write(output)


def test_an_output_beside_the_current_folder(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    (tmp_path / "x.txt").write_text("one two")
    monkeypatch.chdir(tmp_path / "here")
    prepare_text("../c/sub/..", SPLIT, "../x.txt")
    assert np.array_equal(load_corpus(tmp_path / "c").words, [0, 1])


# ---------------------------------------------------------------------- stop words and letters


def test_stop_words_of_a_file(tmp_path):
    (tmp_path / "stop").write_text("\ufeffDer\r\nfu\u0308r\n\nit's\n", encoding="utf-16")
    options = TextOptions(stop_words=tmp_path / "stop")
    corpus = prepared(tmp_path, "x.txt", "Der Hund läuft für it’s Leben the\n", options)
    assert texts(corpus) == [["hund", "läuft", "leben", "the"]]
    assert corpus.manifest["tokenizer"]["stop_words"] == "der fu\u0308r für it it's"
    assert corpus.manifest["options"]["stop_words"] == str(tmp_path / "stop")
    (tmp_path / "stop").write_text("hund\n")
    output, path = tmp_path / "out" / "0", tmp_path / "x.txt"
    with pytest.raises(InputError, match="made with another stop_words"):
        prepare_text(output, options, path)
    again = prepare_text(output, options, path, overwrite=True)
    assert "hund" not in again.vocabulary and "der" in again.vocabulary, "the file has changed"


def test_english_stop_words_and_their_contractions(tmp_path):
    line = "Don't the it's I'm WE’RE can't Dogs' bark s t _ c x\n"
    assert texts(prepared(tmp_path, "x.txt", line, TextOptions())) == [["dogs", "bark"]]
    for choice in ("english", "remove", "EN"):
        options = TextOptions(stop_words=choice)
        assert texts(prepared(tmp_path, "x.txt", line, options)) == [["dogs", "bark"]]
    keep = TextOptions(stop_words="keep", min_letters=4)
    assert texts(prepared(tmp_path, "x.txt", line, keep)) == [
        ["don't", "we're", "can't", "dogs", "bark"]
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "--stop-words is .*stop: give remove or english .* or a file with one word per"),
        ("two words\n", "stop: line 1 is 'two words': give one word per line"),
        ("\n \n", "stop: no word in it; give one word per line"),
        (b"\xe9\n", "stop: byte 0 is not UTF-8"),
    ],
)
def test_files_that_hold_no_stop_words(tmp_path, content, message):
    path = tmp_path / "stop"
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError, match=message):
        TextOptions(stop_words=str(path))


def test_texts_without_spaces_are_said(tmp_path, caplog):
    corpus = prepared(tmp_path, "x.txt", "我爱北京天安门\n", TextOptions())
    assert texts(corpus) == [list("我爱北京天安门")]
    assert "100% of the tokens are single characters of scripts that set no spaces" in caplog.text
    caplog.clear()
    prepared(tmp_path, "y.txt", "我爱 北京\n", SPLIT)
    prepared(
        tmp_path,
        "z.txt",
        "otters swim, eat fish, dive, sleep, play, hunt crabs, love rivers: 我\n",
        TextOptions(),
    )
    prepared(tmp_path, "g.txt", "हिन्दी भाषा\n", TextOptions())
    assert not caplog.text
    prepared(tmp_path, "g.txt", "हिन्दी भाषा कमल\n", TextOptions(tokens="gensim"))
    assert "in 1 of 1 documents --tokens gensim tears words" in caplog.text


def test_the_manifest_says_how_words_were_made(tmp_path):
    corpus = prepared(
        tmp_path, "x.txt", "Otters swim\n", TextOptions(min_letters=3, keep_case=True)
    )
    options = corpus.manifest["tokenizer"]
    assert (options["rule"], options["keep_case"], options["min_letters"]) == ("words", True, 3)
    assert len(options["stop_words"].split()) > 337
    assert (
        json.loads((tmp_path / "out" / "0" / "manifest.json").read_text())["tokenizer"] == options
    )
