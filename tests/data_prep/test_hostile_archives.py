"""Archives of strangers: nothing leaves them, and none floods the memory."""

import bz2
import gzip
import io
import lzma
import os
import tarfile

import pytest
from event_forms import lines, zipped

from data_prep import EventOptions, TextOptions, prepare_events, prepare_text
from data_prep.io import inputs
from data_prep.io.spreadsheet import SHEET, STRINGS, sheet_rows
from data_prep.wikipedia import WikipediaOptions, prepare_wikipedia
from lla.common.errors import InputError

BOMB = 2**19  # unpacked


@pytest.fixture
def small_limits(monkeypatch):
    monkeypatch.setattr(inputs, "ANY_SIZE", 2**16)
    monkeypatch.setattr(inputs, "LONGEST_LINE", 2**15)


def refused(make, path):
    folder = path.parent
    with pytest.raises(InputError) as caught:
        make(folder / "c", path)
    assert sorted(os.listdir(folder)) == [path.name]
    return str(caught.value)


def texts(output, path):
    prepare_text(output, TextOptions(), path)


def events(output, path):
    prepare_events(output, EventOptions(), path)


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
def test_a_file_that_unpacks_to_far_more_than_it_can_hold_is_refused(tmp_path, small_limits, pack):
    (path := tmp_path / "t.txt.packed").write_bytes(pack(b"a b\n" * (BOMB // 4)))
    assert "t.txt.packed: unpacks to more than 200 times its size; unpack it" in refused(
        texts, path
    )
    path.unlink()
    (path := tmp_path / "e.csv").write_bytes(pack((lines(",") + "u,a,1\n" * (BOMB // 6)).encode()))
    assert "e.csv: unpacks to more than 200 times its size" in refused(events, path)


def test_honest_text_of_any_size_is_read(tmp_path, small_limits):
    words = "\n".join(f"word{n} other{n * n} third{n**3}" for n in range(4000))
    assert len(words) > inputs.ANY_SIZE
    (path := tmp_path / "t.txt.gz").write_bytes(gzip.compress(words.encode()))
    prepare_text(tmp_path / "c", TextOptions(min_words=1), path)


def test_a_table_in_an_archive_that_is_a_bomb_is_refused(tmp_path, small_limits):
    content = lines(",") + "u,a,1\n" * (BOMB // 6)
    (path := tmp_path / "e.zip").write_bytes(zipped({"e.csv": content}))
    assert "e.csv: unpacks to more than 200 times its size" in refused(events, path)


def test_a_spreadsheet_that_is_a_bomb_is_refused(small_limits):
    row = '<row><c r="A1" t="s"><v>0</v></c></row>'
    good = '<sheetData xmlns="x">{}</sheetData>'
    strings = '<sst xmlns="x"><si><t>a</t></si>{}</sst>'
    laughs = '<!DOCTYPE z [<!ENTITY a "ha"><!ENTITY b "{}">]>'.format("&a;" * 9)
    assert list(sheet_rows(io.BytesIO(zipped({SHEET: good.format(row), STRINGS: strings})), "x"))
    bombs = {
        SHEET: {SHEET: good.format(row + " " * BOMB), STRINGS: strings},
        STRINGS: {
            SHEET: good.format(row),
            STRINGS: strings.format("<si><t>b</t></si>" * (BOMB // 17)),
        },
    }
    for members in bombs.values():
        with pytest.raises(InputError, match="x: unpacks to more than 200 times its size"):
            list(sheet_rows(io.BytesIO(zipped(members)), "x"))
    entity = {SHEET: laughs + good.format(row), STRINGS: strings}
    assert len(list(sheet_rows(io.BytesIO(zipped(entity)), "x"))) == 1, "no entity is used"


def test_a_line_without_end_is_refused(tmp_path, small_limits):
    (path := tmp_path / "t.txt").write_bytes(b"a " * 2**15)
    assert "t.txt: a line of more than 32,768 bytes; break it" in refused(texts, path)


def tar(members, links=()):
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w") as archive:
        for name, text in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(text)
            archive.addfile(info, io.BytesIO(text))
        for name, target in links:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, target
            archive.addfile(info)
    return sink.getvalue()


def test_names_in_archives_that_lead_out_of_them_lead_nowhere(tmp_path):
    """Archives are read as streams: what their members are called is no path of ours."""
    (inner := tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "secret").write_text("<doc>secret</doc>")
    page = b'<doc id="1" url="u" title="T">\nwords of a page\n</doc>\n'
    names = ["../../escaped", "/tmp/lla-escaped", "A/wiki_00"]
    links = [("A/wiki_01", str(tmp_path / "secret")), ("A/wiki_02", "../../secret")]
    (path := inner / "w.tar").write_bytes(tar(dict.fromkeys(names, page), links))
    corpus = prepare_wikipedia(inner / "c", WikipediaOptions(min_words=1), path)
    assert "secret" not in corpus.vocabulary and corpus.n_documents >= 1
    assert sorted(os.listdir(tmp_path)) == ["a", "secret"] and not os.path.exists(
        "/tmp/lla-escaped"
    )
    table = lines(",")
    members = {"../../escaped.csv": table, "/x/e.csv": table}
    (path := inner / "e.zip").write_bytes(zipped(members))
    prepare_events(inner / "d", EventOptions(min_user=1, min_item=1, min_length=1), path)
    assert sorted(os.listdir(tmp_path)) == ["a", "secret"]
    assert sorted(os.listdir(inner)) == ["c", "d", "e.zip", "w.tar"]


def test_a_member_without_a_name_is_no_table(tmp_path):
    content = zipped({"e.csv": lines(",")}).replace(b"e.csv", b"\0.csv")
    (path := tmp_path / "e.zip").write_bytes(content)  # a name ends at a zero byte
    assert "e.zip: no table in this archive but nothing; unpack it" in refused(events, path)
