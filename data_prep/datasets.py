"""Public data sets of events by name: fetched, checked and read as they were published."""

import logging
import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import BinaryIO

import pooch

from data_prep.events import EventOptions, make_corpus
from data_prep.inputs import (
    Reading,
    data_dir,
    find_inputs,
    hash_inputs,
    lines_of,
    one_line,
    open_raw,
)
from data_prep.tables import Form, Rows, is_parquet, is_table, read_path, read_text
from lla.common.errors import InputError, is_disk_full
from lla.common.progress import progress
from lla.corpus import Corpus

log = logging.getLogger("data_prep")


@dataclass(frozen=True)
class Dataset:
    """A public data set.

    Attributes
    ----------
    title, licence, citation : str
    page : str
        Where its publisher describes it.
    url : str or None
        The file itself; None where it has no address that is free to all.
    checksum : str or None
        As its publisher states it, ``"md5:..."`` or ``"sha256:..."``. None where none is stated:
        what is fetched is then not verified, and its SHA-256 is only recorded in the manifest.
    size : str
        Of that file.
    member : str
        The file inside the archive, and the name it has when taken out of it.
    copies : tuple of str
        Other files looked for in the folder ``LLA_DATA``: tables with a header.
    form, columns, time_format
        How the original is written.
    """

    title: str
    licence: str
    citation: str
    page: str
    url: str | None
    checksum: str | None
    size: str
    member: str
    copies: tuple[str, ...]
    form: Form
    columns: dict[str, str]
    time_format: str | None = None

    @property
    def files(self) -> tuple[str, ...]:
        """Names of files that hold it, the original first."""
        original = (self.url.rpartition("/")[2],) if self.url else ()
        return tuple(dict.fromkeys((*original, self.member, *self.copies)))


DATASETS = {
    # Its place of 32 zeros is an unknown one, and stays an item as the publisher has it.
    "brightkite": Dataset(
        title="Brightkite check-ins, 2008 to 2010",
        licence="none stated by SNAP, which publishes it for research",
        citation="E. Cho, S. A. Myers, J. Leskovec: Friendship and Mobility, KDD 2011",
        page="https://snap.stanford.edu/data/loc-brightkite.html",
        url="https://snap.stanford.edu/data/loc-brightkite_totalCheckins.txt.gz",
        checksum=None,
        size="4,491,143 check-ins",
        member="loc-brightkite_totalCheckins.txt",
        copies=("brightkite_top100.tsv.xz",),
        form=Form("\t", ("user", "time", "latitude", "longitude", "location"), quoted=False),
        columns={"user": "user", "item": "location", "time": "time"},
    ),
    "lastfm1k": Dataset(
        title="Last.fm-1K listening histories, 2005 to 2009",
        licence="non-commercial use, with permission of Last.fm",
        citation="Ò. Celma: Music Recommendation and Discovery in the Long Tail, Springer 2010",
        page="https://zenodo.org/records/6090214",
        url="https://zenodo.org/records/6090214/files/lastfm-dataset-1K.tar.gz",
        checksum="md5:a79a6808f54f73354789a9fb02cb1e41",
        size="673 MB",
        member="userid-timestamp-artid-artname-traid-traname.tsv",
        copies=(),
        form=Form("\t", ("user", "time", "artist_id", "artist", "track_id", "track"), quoted=False),
        # Every play has the artist's name, many lack the id.
        columns={"user": "user", "item": "artist", "time": "time"},
    ),
    "foursquare": Dataset(
        title="Foursquare check-ins in Tokyo, 2012 to 2013",
        licence="none stated; its authors ask for the citation",
        citation="D. Yang, D. Zhang, V. W. Zheng, Z. Yu: Modeling User Activity Preference by "
        "Leveraging User Spatial Temporal Characteristics in LBSNs, IEEE TSMC 45(1), 2015",
        page="https://sites.google.com/site/yangdingqi/home/foursquare-dataset",
        url="http://www-public.imtbs-tsp.eu/~zhang_da/pub/dataset_tsmc2014.zip",
        checksum=None,
        size="about 25 MB",
        member="dataset_TSMC2014_TKY.txt",
        copies=("foursquare_tky.tsv.xz",),
        form=Form(
            "\t",
            (
                *("user", "venue", "category_id", "category", "latitude", "longitude"),
                *("timezone_offset", "utc_time"),
            ),
            quoted=False,
            encoding="latin-1",
        ),
        columns={"user": "user", "item": "venue", "time": "utc_time"},
        time_format="%a %b %d %H:%M:%S %z %Y",
    ),
    "diginetica": Dataset(
        title="Diginetica shop clicks, a session a user (CIKM Cup 2016, track 2)",
        licence="none stated; released for the CIKM Cup 2016",
        citation="CIKM Cup 2016 Track 2: Personalized E-Commerce Search Challenge",
        page="https://competitions.codalab.org/competitions/11161",
        url=None,
        checksum=None,
        size="about 41 MB",
        member="train-item-views.csv",
        copies=("diginetica_clicks.tsv.xz",),
        form=Form(";"),
        columns={"user": "sessionId", "item": "itemId", "time": "timeframe"},
    ),
}


@dataclass(frozen=True)
class DatasetOptions(EventOptions):
    """As `EventOptions`; the few broken rows of the originals are passed over and counted."""

    incomplete: str = "drop"


def prepare_dataset(
    output: str | Path, options: EventOptions, name: str, path: str | Path | None = None
) -> Corpus:
    """Make the corpus folder `output` from a public data set, unless it is there already.

    Parameters
    ----------
    output : path
    options : EventOptions
        The columns left open are the data set's own.
    name : str
        One of ``DATASETS``.
    path : path, optional
        A copy of one's own: the original file or archive, or a table with a header. Without it,
        the copy in the folder ``LLA_DATA``, else the original, fetched once and kept in the
        user's cache.

    Raises
    ------
    InputError
        When there is no such data set, it cannot be fetched, or is not what it was.
    """
    if name not in DATASETS:
        raise InputError(f"data set {name!r}: not known; choose one of {', '.join(DATASETS)}")
    dataset = DATASETS[name]
    (path,) = find_inputs([path]) if path is not None else [_found(dataset) or _fetch(name)]
    log.info("%s: %s, from %s", name, dataset.title, path)
    hashes = hash_inputs([path])
    manifest = {"source": f"{name}: {', '.join(hashes)}", "licence": dataset.licence}
    manifest |= {"citation": dataset.citation, "page": dataset.page, "raw_sha256": hashes}
    drop = options.incomplete == "drop"
    if _is_copy(path, dataset):
        read = partial(read_path, path, Form(separator=options.separator), options.columns, drop)
    else:
        given = {role: column for role, column in options.columns.items() if column is not None}
        given["time_format"] = options.time_format or dataset.time_format
        options = replace(options, **(dataset.columns | given))
        read = partial(_read_original, path, dataset, options.columns, drop)
    return make_corpus(read, path.stat().st_size, options, output, manifest)


def _found(dataset: Dataset) -> Path | None:
    folder = data_dir()
    here = (folder / name for name in dataset.files) if folder else ()
    return next((path for path in here if path.is_file()), None)


def _fetch(name: str) -> Path:
    dataset = DATASETS[name]
    by_hand = (
        f"get {dataset.files[0]} by hand ({dataset.page}), then put it in the folder LLA_DATA or "
        f"give its path: python -m data_prep {name} FILE --output FOLDER"
    )
    if dataset.url is None:
        raise InputError(f"{name}: no address from which all may fetch it; {by_hand}")
    log.info("%s: %s (%s), licence: %s", name, dataset.url, dataset.size, dataset.licence)
    # Its own lines would stand between ours.
    pooch.get_logger().setLevel(logging.ERROR)
    bar = progress(total=1, description=f"fetching {dataset.files[0]}", unit="B")
    fetch = pooch.HTTPDownloader(progressbar=bar, timeout=60)
    try:
        with bar:
            path = pooch.retrieve(
                dataset.url,
                known_hash=dataset.checksum,
                fname=dataset.files[0],
                path=pooch.os_cache("lla"),
                downloader=fetch,
            )
    except ValueError:
        raise InputError(
            f"{name}: what {dataset.url} gives has not the checksum {dataset.checksum}, it was cut "
            f"short or has changed; try again, or {by_hand}"
        ) from None
    except OSError as error:
        if is_disk_full(error):
            raise
        answer = getattr(error, "response", None)
        reason = error.strerror or "the server cannot be reached"
        reason = reason if answer is None else f"{answer.status_code} {answer.reason}"
        raise InputError(
            f"{name}: {dataset.url} cannot be fetched ({reason}); try again, or {by_hand}"
        ) from None
    return Path(path)


def _is_copy(path: Path, dataset: Dataset) -> bool:
    """Whether `path` is a table with a header of its own, and not the original."""
    if path.is_dir() or not is_table(path):
        return path.is_dir()
    if is_parquet(path):
        return True
    with open_raw(path, Reading()) as content:
        first = next(lines_of(content, path), "").split("\t")
    return {"user", "item"} <= {cell.strip().lower() for cell in first}


def _read_original(
    path: Path, dataset: Dataset, wanted: dict[str, str | None], drop: bool, reading: Reading
) -> Iterator[tuple[list[str], Rows]]:
    with _open_member(path, dataset.member, reading) as content:
        form = dataset.form
        yield from read_text(content, path, form.separator, form, wanted, drop, reading)


@contextmanager
def _open_member(path: Path, member: str, reading: Reading) -> Iterator[BinaryIO]:
    """The file `member` of an archive, or `path` itself when it is none, decompressed."""
    with one_line(path):
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                inside = next((n for n in archive.namelist() if Path(n).name == member), None)
                if inside is None:
                    raise _lacks(path, member)
                with archive.open(inside) as content:
                    yield content
            return
    with open_raw(path, reading) as content:
        if content.peek(512)[257:262] != b"ustar":
            yield content
            return
        with tarfile.open(fileobj=content, mode="r|") as archive:
            for entry in archive:
                if Path(entry.name).name == member and entry.isfile():
                    yield archive.extractfile(entry)
                    return
        raise _lacks(path, member)


def _lacks(path: Path, member: str) -> InputError:
    return InputError(f"{path}: no {member} in this archive; give the one that was published")
