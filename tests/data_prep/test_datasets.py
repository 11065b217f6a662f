"""Public data sets by name: read as they were published, found, fetched, or one line says why."""

import gc
import gzip
import hashlib
import io
import tarfile
import threading
import warnings
import zipfile
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer

import pooch
import pytest
from spreadsheet import PURCHASES, spreadsheet

import data_prep.datasets as datasets
from data_prep import DATASETS, DatasetOptions, prepare_dataset
from data_prep.__main__ import main
from lla.common.errors import InputError
from lla.corpus import load_corpus

BRIGHTKITE = (
    b"0\t2010-10-17T01:48:53Z\t39.747652\t-104.99251\t88c46bf20db295831bd2d1718ad7e6f5\n"
    b"0\t2010-10-16T06:02:04Z\t39.891383\t-105.070814\t7a0f88982aa015062b95e3b4843f9ca2\n"
    b"0\t2010-10-16T06:02:04Z\t39.89\t-105.07\tdd7cd3d264c2d063832db506fba8bf79\n"
    b"1\t\t\t\t\n"
    b"1\t2008-03-20T11:31:12Z\t0.0\t0.0\t00000000000000000000000000000000\n"
)
# Unpaired quotation marks, an id that lacks, a name of two parts, a row that is broken.
LASTFM = (
    "user_000001\t2009-05-04T23:08:57Z\tf1b1cf71\tDeep Dish\t\tFuck Me Im Famous\n"
    'user_000001\t2009-05-04T13:54:10Z\t\t"Ryuichi Sakamoto\tab\tComposition 0919 12" mix\n'
    "user_000001\t2009-05-04T13:52:04Z\ta7f7df4a\t坂本龍一\t\tMc2 "
    "(Live)\textra\n"
    "user_000002\t2006-08-13T14:59:59Z\ta7f7df4a\t坂本龍一\t\tHibari\n"
).encode()
TOKYO = (
    b"1541\t4f0fd5a8e4b03856eeb6c8cb\t4bf58\tCaf\xe9 & Bar\t35.7\t139.6\t540\t"
    b"Tue Apr 03 18:00:09 +0000 2012\n"
    b"868\t4b7b884ff964a5207d662fe3\t4bf58\tRamen\t35.7\t139.6\t540\t"
    b"Tue Apr 03 18:00:25 +0000 2012\n"
    b"1541\t4c16fdda96040f477cc473a5\t4d954\tPark\t35.7\t139.6\t540\t"
    b"Sun Jan 01 00:00:00 +0000 2012\n"
)
VIEWS = (
    b"sessionId;userId;itemId;timeframe;eventdate\n"
    b"1;NA;81766;526309;2016-05-09\n1;NA;31331;1031018;2016-05-09\n1;NA;32118;243569;2016-05-09\n"
    b"2;7;9654;75848;2016-05-09\n"
)


def tar_gz(name, data):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        for member, content in (("userid-profile.tsv", b"x"), (name, data)):
            info = tarfile.TarInfo(f"lastfm-dataset-1K/{member}")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return stream.getvalue()


def zipped(name, data):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("dataset_tsmc2014/dataset_TSMC2014_NYC.txt", b"")
        archive.writestr(f"dataset_tsmc2014/{name}", data)
    return stream.getvalue()


def original(name):
    """A tiny file as the publisher writes it."""
    member = DATASETS[name].member
    return {
        # Without the time, which would change the checksum from one second to the next.
        "brightkite": lambda: gzip.compress(BRIGHTKITE, mtime=0),
        "lastfm1k": lambda: tar_gz(member, LASTFM),
        "foursquare": lambda: zipped(member, TOKYO),
        "diginetica": lambda: VIEWS,
        "online_retail": lambda: zipped(member, UNPACKED[name]),
    }[name]()


HISTORIES = {
    "brightkite": {
        "0": [
            "7a0f88982aa015062b95e3b4843f9ca2",
            "dd7cd3d264c2d063832db506fba8bf79",
            "88c46bf20db295831bd2d1718ad7e6f5",
        ],
        "1": ["00000000000000000000000000000000"],
    },
    "lastfm1k": {"user_000001": ['"Ryuichi Sakamoto', "Deep Dish"], "user_000002": ["坂本龍一"]},
    "foursquare": {
        "1541": ["4c16fdda96040f477cc473a5", "4f0fd5a8e4b03856eeb6c8cb"],
        "868": ["4b7b884ff964a5207d662fe3"],
    },
    "diginetica": {"1": ["32118", "81766", "31331"], "2": ["9654"]},
    "online_retail": {
        "17850": ["WHITE LANTERN", "HEART HOLDER (21814)", "HEART HOLDER (85118)"],
        "13047": ["WHITE LANTERN"],
    },
}
UNPACKED = {
    "brightkite": BRIGHTKITE,
    "lastfm1k": LASTFM,
    "foursquare": TOKYO,
    "diginetica": VIEWS,
    "online_retail": spreadsheet(PURCHASES),
}


def found_in(folder):
    corpus = load_corpus(folder)
    documents = [
        [corpus.vocabulary[w] for w in corpus.document(d)] for d in range(len(corpus.lengths))
    ]
    return dict(zip(corpus.names, documents, strict=True))


@pytest.mark.parametrize("name", DATASETS)
def test_originals_are_read_packed_and_unpacked(tmp_path, monkeypatch, name):
    dataset = DATASETS[name]
    path = tmp_path / dataset.files[0]
    path.write_bytes(original(name))
    corpus = prepare_dataset(tmp_path / "c", DatasetOptions(), name, path)
    assert found_in(tmp_path / "c") == HISTORIES[name]
    assert corpus.manifest["licence"] == dataset.licence
    assert corpus.manifest["citation"] == dataset.citation
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    assert corpus.manifest["raw_sha256"] == {path.name: sha256}
    bare = tmp_path / "data" / dataset.member
    bare.parent.mkdir()
    bare.write_bytes(UNPACKED[name])
    monkeypatch.setenv("LLA_DATA", str(bare.parent))
    prepare_dataset(tmp_path / "d", DatasetOptions(), name)
    assert found_in(tmp_path / "d") == HISTORIES[name]


def test_incomplete_rows_of_originals_are_counted(tmp_path):
    for name in ("brightkite", "lastfm1k"):
        path = tmp_path / DATASETS[name].files[0]
        path.write_bytes(original(name))
        corpus = prepare_dataset(tmp_path / name, DatasetOptions(), name, path)
        assert corpus.manifest["counts"]["passed_over"] == 1
        with pytest.raises(InputError, match=r"line [34] .*--incomplete drop"):
            prepare_dataset(tmp_path / "c", DatasetOptions(incomplete="refuse"), name, path)
        assert main([name, str(path), "--output", str(tmp_path / f"{name}2")]) == 0


@pytest.mark.parametrize("name", ["brightkite", "foursquare", "diginetica"])
def test_a_copy_with_a_header_is_found_and_read(tmp_path, monkeypatch, capsys, name):
    monkeypatch.setenv("LLA_DATA", str(tmp_path))
    table = b"user\titem\torder\nu\tb\t2\nu\ta\t1\nv\ta\t1\n"
    (tmp_path / "LICENCE").write_bytes(b"")
    (tmp_path / DATASETS[name].copies[0].removesuffix(".xz")).write_bytes(table)
    monkeypatch.setitem(
        datasets.DATASETS,
        name,
        replace(DATASETS[name], copies=(DATASETS[name].copies[0].removesuffix(".xz"),)),
    )
    assert main([name, "--output", str(tmp_path / "c"), "--min-user", "2"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[1:4] == [
        ["users", "1"],
        ["events", "2"],
        ["items", "2"],
    ]
    assert found_in(tmp_path / "c") == {"u": ["a", "b"]}


def test_other_columns_of_an_original(tmp_path):
    path = tmp_path / "dataset_tsmc2014.zip"
    path.write_bytes(original("foursquare"))
    prepare_dataset(tmp_path / "c", DatasetOptions(item="category"), "foursquare", path)
    assert found_in(tmp_path / "c") == {"1541": ["Park", "Café & Bar"], "868": ["Ramen"]}
    with pytest.raises(InputError, match="no column 'sky'; it has 'user', 'venue'"):
        prepare_dataset(tmp_path / "d", DatasetOptions(item="sky"), "foursquare", path)


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        data = original("brightkite") if self.path.startswith("/there/") else None
        self.send_response(200 if data else 404)
        self.send_header("Content-Length", str(len(data or b"")))
        self.end_headers()
        self.wfile.write(data or b"")

    def log_message(self, *_):
        pass


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A publisher on this machine, and a cache of our own."""
    monkeypatch.setattr(pooch, "os_cache", lambda _: tmp_path / "cache")
    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()
    with warnings.catch_warnings():
        # Pooch leaves the answer to a failed request open.
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


def published(monkeypatch, url, checksum=None):
    changed = replace(DATASETS["brightkite"], url=url, checksum=checksum)
    monkeypatch.setitem(datasets.DATASETS, "brightkite", changed)


def test_the_original_is_fetched_once(tmp_path, monkeypatch, server):
    right = f"md5:{hashlib.md5(original('brightkite')).hexdigest()}"
    for i, checksum in enumerate((None, right)):
        published(monkeypatch, f"{server}/there/{i}.txt.gz", checksum)
        prepare_dataset(tmp_path / f"c{i}", DatasetOptions(), "brightkite")
        assert found_in(tmp_path / f"c{i}") == HISTORIES["brightkite"]
    monkeypatch.setattr(pooch.HTTPDownloader, "__call__", None)
    prepare_dataset(tmp_path / "again", DatasetOptions(), "brightkite")


@pytest.mark.parametrize(
    ("path", "checksum", "message"),
    [
        (
            "/gone/x.gz",
            None,
            r"http.*/gone/x.gz cannot be downloaded \(404 Not Found\).*by hand \(https://snap",
        ),
        ("/there/x.gz", "md5:0", "/there/x.gz does not have the checksum md5:0"),
        (
            None,
            None,
            r"downloaded \(the server cannot be reached\).*put it in the folder LLA_DATA",
        ),
    ],
)
def test_a_missing_or_changed_source_is_refused(
    tmp_path, monkeypatch, server, path, checksum, message
):
    url = f"{server}{path}" if path else "http://127.0.0.1:9/x.gz"
    published(monkeypatch, url, checksum)
    with pytest.raises(InputError, match=message) as error:
        prepare_dataset(tmp_path / "new" / "c", DatasetOptions(), "brightkite")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "new").exists()
    assert not any((tmp_path / "cache").glob("*"))


def test_diginetica_has_no_address(tmp_path):
    with pytest.raises(InputError, match=r"no public address.*train-item-views.csv by hand \(http"):
        prepare_dataset(tmp_path / "c", DatasetOptions(), "diginetica")


def test_every_data_set_names_source_and_licence():
    for dataset in DATASETS.values():
        assert dataset.licence and dataset.citation and dataset.page.startswith("https://")
        assert dataset.checksum is None or dataset.checksum.startswith(("md5:", "sha256:"))
        assert set(dataset.columns) == {"user", "item", "time"}
