"""Public data sets of events by name: download, check and read the published files."""

import logging
import tarfile
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import IO, Any

import pandas as pd
import pooch

from data_prep.events import EventOptions, RawEvents, Read, make_corpus
from data_prep.io.inputs import (
    ReadProgress,
    as_input_error,
    bounded,
    data_dir,
    decoded_lines,
    open_raw,
    printable,
)
from data_prep.online_retail import read_online_retail
from data_prep.tables.files import (
    ARROW,
    JSON,
    PARQUET,
    SEPARATORS,
    TableFiles,
    find_tables,
    hash_tables,
    suffix,
)
from data_prep.tables.reader import Form, Rows, in_memory, read_table, read_tables, read_text
from lla.common.errors import InputError, check_instance, is_disk_full
from lla.common.files import folder_to_write
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
        The publisher's description.
    url : str or None
        The file itself; None if it is not available without registration.
    checksum : str or None
        As stated by the publisher or by others who fetched it, ``"md5:..."`` or ``"sha256:..."``.
        If None, downloads are not verified; the SHA-256 is still recorded in the manifest.
    size : str
        Of that file.
    member : str
        Name of the file inside the archive, also accepted when extracted.
    copies : tuple of str
        Other files searched for in the folder ``LLA_DATA``: tables with a header.
    form, columns, time_format
        Format of the original.
    clean : callable or None
        Reads and cleans a data set whose rows are not all events: ``clean(path, left_out)`` is a
        frame with the columns named in `columns`, and counts in `left_out` what it leaves out.
        Copies are read by it, too.
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
    clean: Callable[[Path, Counter[str]], pd.DataFrame] | None = None

    @property
    def files(self) -> tuple[str, ...]:
        """Names of files with this data set, the original first."""
        original = (self.url.rpartition("/")[2],) if self.url else ()
        return tuple(dict.fromkeys((*original, self.member, *self.copies)))


DATASETS = {
    # The location of 32 zeros means unknown; it is kept as an item, as published.
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
        # Every play has an artist's name, but many have no id.
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
        title="Diginetica shop clicks, one session per user (CIKM Cup 2016, track 2)",
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
    "online_retail": Dataset(
        title="Online Retail: purchases at a British gift shop, 2010 to 2011",
        licence="CC BY 4.0",
        citation="D. Chen: Online Retail, UCI Machine Learning Repository, 2015, "
        "doi 10.24432/C5BW33",
        page="https://archive.ics.uci.edu/dataset/352/online+retail",
        url="https://archive.ics.uci.edu/static/public/352/online+retail.zip",
        checksum="sha256:f5385cbb54bbebf7196389109c6b0621faab0c304e3702548165e71c84aede8b",
        size="24 MB",
        member="Online Retail.xlsx",
        copies=("online_retail.parquet", "online_retail.csv", "online_retail_2010_2011.parquet"),
        form=Form(),
        columns={"user": "CustomerID", "item": "Description", "time": "InvoiceDate"},
        clean=read_online_retail,
    ),
}


@dataclass(frozen=True, repr=False)
class DatasetOptions(EventOptions):
    """As `EventOptions`; the few broken rows of the originals are skipped and counted."""

    incomplete: str = "drop"


def prepare_dataset(
    output: str | Path,
    options: EventOptions,
    name: str,
    path: str | Path | None = None,
    overwrite: bool = False,
) -> Corpus:
    """Make the corpus folder `output` from a public data set, unless it exists and is current.

    Parameters
    ----------
    output : path
    options : EventOptions
        Columns not given are the data set's own.
    name : str
        One of ``DATASETS``.
    path : path, optional
        The original file or archive, or a table with a header. By default, the copy in the folder
        ``LLA_DATA``, else the original, downloaded once to the user's cache.
    overwrite : bool
        Whether a corpus that `output` holds, made from other sources or with other options, is
        replaced.

    Raises
    ------
    InputError
        If there is no such data set, or it cannot be downloaded or has changed.
    """
    output = folder_to_write(output, "--output")
    if not isinstance(name, str) or name not in DATASETS:
        raise InputError(f"data set {name!r}: not known; choose one of {', '.join(DATASETS)}")
    check_instance("options", options, EventOptions)
    dataset = DATASETS[name]
    source = path if path is not None else _find_copy(dataset) or _fetch(name)
    manifest = {"licence": dataset.licence, "citation": dataset.citation, "page": dataset.page}
    left_out: Counter[str] = Counter()
    with find_tables(source) as found:
        log.info("%s: %s, from %s", name, dataset.title, printable(str(source)))
        read, options = _reader(dataset, found, options, left_out)
        raw = RawEvents(
            read=read,
            size=found.size,
            sha256=hash_tables(found),
            files_passed_over=found.n_passed_over,
            left_out=left_out,
        )
        return make_corpus(raw, options, output, name, manifest, overwrite=overwrite)


def _reader(
    dataset: Dataset, found: TableFiles, options: EventOptions, left_out: Counter[str]
) -> tuple[Read, EventOptions]:
    """How the rows are read, and the options with the columns of the data set."""
    drop = options.incomplete == "drop"
    if dataset.clean is None and _is_copy(found, dataset):
        return partial(read_tables, found, options.form, options.columns, drop), options
    chosen: dict[str, Any] = {
        role: column for role, column in options.columns.items() if column is not None
    }
    chosen["time_format"] = options.time_format or dataset.time_format
    options = replace(options, **(dataset.columns | chosen))
    if dataset.clean is None:
        return partial(_read_original, found, dataset, options.columns, drop), options
    if options.time_format is not None:
        raise InputError(
            f"--time-format is {options.time_format}: leave it out, the times of this data set are "
            "known"
        )
    read = partial(
        _read_cleaned,
        found=found,
        clean=dataset.clean,
        wanted=options.columns,
        left_out=left_out,
    )
    return read, options


def _find_copy(dataset: Dataset) -> Path | None:
    folder = data_dir()
    candidates = (folder / name for name in dataset.files) if folder else ()
    return next((path for path in candidates if path.is_file()), None)


def _fetch(name: str) -> Path:
    dataset = DATASETS[name]
    by_hand = (
        f"get {dataset.files[0]} by hand ({dataset.page}), then put it in the folder LLA_DATA or "
        f"give its path: python -m data_prep {name} FILE --output FOLDER"
    )
    if dataset.url is None:
        raise InputError(f"{name}: no public address; {by_hand}")
    log.info("%s: %s (%s), licence: %s", name, dataset.url, dataset.size, dataset.licence)
    # Its log lines would interrupt the progress bar.
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
            f"{name}: the file at {dataset.url} does not have the checksum {dataset.checksum}, "
            f"it is truncated or has changed; try again, or {by_hand}"
        ) from None
    except OSError as error:
        if is_disk_full(error):
            raise
        answer = getattr(error, "response", None)
        reason = error.strerror or "the server cannot be reached"
        reason = reason if answer is None else f"{answer.status_code} {answer.reason}"
        raise InputError(
            f"{name}: {dataset.url} cannot be downloaded ({reason}); try again, or {by_hand}"
        ) from None
    return Path(path)


def _is_copy(found: TableFiles, dataset: Dataset) -> bool:
    """Whether a table with a header is given instead of the original."""
    path = found.files[0][0]
    kind = suffix(path)
    if found.folder is not None or kind not in SEPARATORS:
        return found.folder is not None or kind in {*JSON, *PARQUET, *ARROW}
    with open_raw(path, ReadProgress()) as content:
        first = next(decoded_lines(content, path), "").split("\t")
    return {"user", "item"} <= {cell.strip().lower() for cell in first}


def _read_original(
    found: TableFiles,
    dataset: Dataset,
    wanted: dict[str, str | None],
    drop: bool,
    read_progress: ReadProgress,
) -> Iterator[tuple[list[str], Rows]]:
    path, name = found.files[0]
    with _open_member(path, dataset.member, read_progress) as content:
        yield from read_text(content, name, dataset.form, wanted, drop, read_progress)


def _read_cleaned(
    read_progress: ReadProgress,
    *,
    found: TableFiles,
    clean: Callable[[Path, Counter[str]], pd.DataFrame],
    wanted: dict[str, str | None],
    left_out: Counter[str],
) -> Iterator[tuple[list[str], Rows]]:
    if found.folder is not None:
        raise InputError(f"{found.folder}: a folder; name the file in it")
    path, name = found.files[0]
    table = in_memory(clean(path, left_out), wanted)
    yield from read_table(table, name, drop=True, read_progress=read_progress)


@contextmanager
def _open_member(path: Path, member: str, read_progress: ReadProgress) -> Iterator[IO[bytes]]:
    """The file `member` of an archive, or `path` itself if it is no archive, decompressed."""
    with as_input_error(path):
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                inside = next((n for n in archive.namelist() if Path(n).name == member), None)
                if inside is None:
                    raise _missing_member(path, member)
                with archive.open(inside) as content:
                    yield bounded(content, path, archive.getinfo(inside).compress_size)
            return
    with open_raw(path, read_progress) as content:
        if content.peek(512)[257:262] != b"ustar":
            yield content
            return
        with tarfile.open(fileobj=content, mode="r|") as archive:
            for entry in archive:
                if Path(entry.name).name == member and entry.isfile():
                    file = archive.extractfile(entry)
                    assert file is not None  # a file, not a folder or a link
                    yield file
                    return
        raise _missing_member(path, member)


def _missing_member(path: Path, member: str) -> InputError:
    return InputError(f"{path}: no {member} in this archive; give the published one")
