"""The folder of a corpus: never replaced without being asked, whatever the source is."""

import json
import os
from functools import partial

import pandas as pd
import pytest

from data_prep import (
    DatasetOptions,
    EventOptions,
    TextOptions,
    WikipediaOptions,
    prepare_clicks,
    prepare_dataset,
    prepare_events,
    prepare_text,
    prepare_wikipedia,
)
from data_prep.__main__ import main
from data_prep.clicks.world import ClickConfig
from lla.common.errors import InputError
from lla.corpus.folder import FILES

FEW = {"n_users": 3, "n_items": 300, "min_events": 5, "max_events": 9}
ARTICLE = '<doc id="1" url="x" title="T">\nT\n\notters swim\n</doc>\n'
TABLE = "user,item,time\nu,a,1\nu,b,2\nv,a,1\n"


def text(folder, output, size, **more):
    (folder / "x.txt").write_text("otters swim\notters dive\n")
    return prepare_text(output, TextOptions(vocabulary=size), folder / "x.txt", **more)


def wikipedia(folder, output, size, **more):
    (folder / "wiki").write_text(ARTICLE)
    options = WikipediaOptions(min_words=1, vocabulary=size)
    return prepare_wikipedia(output, options, folder / "wiki", **more)


def events(folder, output, size, **more):
    (folder / "x.csv").write_text(TABLE)
    return prepare_events(output, EventOptions(vocabulary=size), folder / "x.csv", **more)


def dataset(folder, output, size, **more):
    (folder / "train-item-views.csv").write_text("sessionId;itemId;timeframe\n1;a;1\n1;b;2\n")
    options = DatasetOptions(vocabulary=size)
    path = folder / "train-item-views.csv"
    return prepare_dataset(output, options, "diginetica", path, **more)


def clicks(folder, output, size, **more):
    return prepare_clicks(output, ClickConfig(**FEW, seed=size), **more)


SOURCES = {f.__name__: f for f in (text, wikipedia, events, dataset, clicks)}
of_every_source = pytest.mark.parametrize("source", SOURCES)


def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@of_every_source
def test_other_options_are_refused_unless_asked_to_replace(tmp_path, source):
    make = partial(SOURCES[source], tmp_path, tmp_path / "c")
    make(1)
    before = content(tmp_path / "c")
    name = "seed" if source == "clicks" else "vocabulary"
    message = rf"c: exists, made with another {name} \(there 1, here 2\): give --overwrite .*folder"
    with pytest.raises(InputError, match=message) as error:
        make(2)
    assert "\n" not in str(error.value) and content(tmp_path / "c") == before
    replaced = make(2, overwrite=True)
    options = replaced.manifest["clicks" if source == "clicks" else "options"]
    assert options[name] == 2
    make(2)
    with pytest.raises(InputError, match=r"there 2, here 1"):
        make(1)


@of_every_source
def test_the_same_options_need_no_permission_and_mend_a_damaged_corpus(tmp_path, source):
    make = partial(SOURCES[source], tmp_path, tmp_path / "c")
    make(1)
    before = content(tmp_path / "c")
    for name in FILES:
        (tmp_path / "c" / name).write_bytes(b"\0")
        make(1)
        assert content(tmp_path / "c") == before, name
    make(1, overwrite=True)
    assert content(tmp_path / "c") == before


def test_other_sources_are_refused(tmp_path):
    events(tmp_path, tmp_path / "c", 5)
    path = tmp_path / "x.csv"
    path.write_text(TABLE + "v,b,2\n")
    options = EventOptions(vocabulary=5)
    with pytest.raises(InputError, match=r"c: exists, made when x.csv had other content: give"):
        prepare_events(tmp_path / "c", options, path)
    path.rename(tmp_path / "y.csv")
    with pytest.raises(InputError, match=r"\(there 'events: x.csv', here 'events: y.csv'\): give"):
        prepare_events(tmp_path / "c", options, tmp_path / "y.csv")
    with pytest.raises(InputError, match=r"\(there 'events: x.csv', here 'text: x.txt'\): give"):
        text(tmp_path, tmp_path / "c", 5)
    corpus = prepare_events(tmp_path / "c", options, tmp_path / "y.csv", overwrite=True)
    assert corpus.n_tokens == 4
    frame = pd.read_csv(tmp_path / "y.csv")
    with pytest.raises(InputError, match=r"here 'events: DataFrame in memory'\): give"):
        prepare_events(tmp_path / "c", options, frame)


def test_a_corpus_of_another_version_is_made_anew(tmp_path, caplog):
    """Options that only one version has, and versions of tools, are no choice of the user's."""
    events(tmp_path, tmp_path / "c", 5)
    before = content(tmp_path / "c")
    path = tmp_path / "c" / "manifest.json"
    manifest = json.loads(path.read_text())
    for change in (
        {"tools": {"pyarrow": "1.0"}},
        {"options": {"former": 1} | manifest["options"]},
        {"options": {name: value for name, value in manifest["options"].items() if value}},
    ):
        path.write_text(json.dumps(manifest | change))
        caplog.clear()
        with caplog.at_level("INFO"):
            events(tmp_path, tmp_path / "c", 5)
        assert content(tmp_path / "c") == before
        assert "c: exists, made by another version of the programs: is made anew" in caplog.text


def test_files_of_others_are_never_deleted(tmp_path):
    """A manifest.json does not make a corpus; nor may a table lie in the folder to replace."""
    site = tmp_path / "site"
    site.mkdir()
    (site / "manifest.json").write_text('{"name": "site"}')
    with pytest.raises(InputError, match=r"site: its manifest.json is not that of a corpus; name"):
        events(tmp_path, site, 5, overwrite=True)
    corpus = tmp_path / "c"
    events(tmp_path, corpus, 5)
    (tmp_path / "x.csv").rename(corpus / "raw.csv")
    with pytest.raises(InputError, match=r"c: holds raw.csv, not of a corpus"):
        prepare_events(corpus, EventOptions(), corpus / "raw.csv", overwrite=True)
    assert (corpus / "raw.csv").read_text() == TABLE and (site / "manifest.json").exists()


@of_every_source
def test_names_of_folders(tmp_path, monkeypatch, source):
    make, home = partial(SOURCES[source], tmp_path), tmp_path / "home"
    (home / "work" / "below").mkdir(parents=True)
    monkeypatch.chdir(home / "work")
    monkeypatch.setenv("HOME", str(home))
    assert make("~/c", 1).n_documents and make("../d", 1).n_documents
    assert make(home / "work" / "below" / ".." / "e", 1).n_documents
    assert {path.name for path in home.iterdir()} == {"c", "d", "work"}
    assert {path.name for path in (home / "work").iterdir()} == {"below", "e"}
    for name in (".", "", " ", "..", "/", "../..", "~", "below/..", None, 5, b"c", "a\0b", ["c"]):
        with pytest.raises(InputError, match=r"--output is .*(give|name) ") as error:
            make(name, 1)
        assert "\n" not in str(error.value)
    with pytest.raises(InputError, match="--output is ~nobody-here/c: no usable name"):
        make("~nobody-here/c", 1)
    with pytest.raises(InputError, match=r"name too long|cannot be written"):
        make("x" * 300, 1)
    assert os.listdir(home / "work" / "below") == []


def test_command_line_refuses_and_replaces(tmp_path, capsys):
    (tmp_path / "x.csv").write_text(TABLE)
    line = ["events", str(tmp_path / "x.csv"), "--output", str(tmp_path / "c")]
    assert main(line) == 0
    assert main([*line, "--min-user", "1"]) == 0
    with pytest.raises(InputError, match=r"another min_user \(there 1, here 2\).*--overwrite"):
        main([*line, "--min-user", "2"])
    assert main([*line, "--min-user", "2", "--overwrite"]) == 0
    click = ["clicks", "--output", str(tmp_path / "k"), "--profile", "smoke", "--users", "2"]
    assert main(click) == 0
    with pytest.raises(InputError, match="another seed"):
        main([*click, "--seed", "3"])
    assert main([*click, "--seed", "3", "--overwrite"]) == 0
    capsys.readouterr()
