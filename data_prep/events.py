"""Events of users to a corpus: each user's items in order of time are a document."""

import logging
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from data_prep.io.build import MAX_VOCABULARY, kilobytes
from data_prep.io.event_table import EventTable
from data_prep.io.inputs import ReadProgress, find_inputs, hash_inputs, list_files
from data_prep.io.output import build_if_changed, output_folder
from data_prep.io.tables import Form, Rows, in_memory, read_path, read_table, table_hash
from data_prep.io.times import TimeParser
from lla.common.corpus_folder import CorpusWriter
from lla.common.errors import InputError
from lla.common.files import not_writable
from lla.common.progress import progress
from lla.corpus import Corpus

log = logging.getLogger("data_prep")
Read = Callable[[ReadProgress], Iterator[tuple[list[str], Rows]]]


@dataclass(frozen=True)
class EventOptions:
    """Which columns of a table hold events, and which events enter the corpus.

    In this order: duplicates, k-core, vocabulary, maximum length, minimum length.

    Attributes
    ----------
    user, item, time : str or None
        Columns; by default, well-known names are searched for (`data_prep.io.tables.KNOWN`).
        Without a column of times, or with an empty name for it, rows are in order of time.
    time_format : str or None
        Format of times in the notation of `strptime`, if they are neither numbers nor ISO 8601.
    separator : str or None
        Between columns of text; by default a comma or a tab, by the name of the file.
    min_user, min_item : int
        The k-core: users and items with fewer events are left out repeatedly until none remain.
    min_length : int
        Users whose remaining history is shorter are left out.
    max_length : int or None
        Longer histories are cut to their last events, the most informative about the next.
    vocabulary : int or None
        V, number of most frequent items that are kept, ties in alphabetical order; by default all.
    duplicates : "keep" or "drop"
        What to do with identical (user, item, time) rows.
    incomplete : "refuse" or "drop"
        What to do with rows without user, item or time, or with a wrong number of columns.
    licence : str
        Copied into the manifest.
    """

    user: str | None = None
    item: str | None = None
    time: str | None = None
    time_format: str | None = None
    separator: str | None = None
    min_user: int = 1
    min_item: int = 1
    min_length: int = 1
    max_length: int | None = None
    vocabulary: int | None = None
    duplicates: str = "keep"
    incomplete: str = "refuse"
    licence: str = "not stated"

    def __post_init__(self) -> None:
        for name in ("min_user", "min_item", "min_length", "max_length", "vocabulary"):
            value, option = getattr(self, name), f"--{name.replace('_', '-')}"
            if value is not None and not 1 <= value <= MAX_VOCABULARY:
                raise InputError(f"{option} {value}: choose 1 to {MAX_VOCABULARY}")
        if self.max_length is not None and self.max_length < self.min_length:
            raise InputError(
                f"--max-length {self.max_length}: below --min-length {self.min_length}; choose more"
            )
        if self.separator is not None:
            object.__setattr__(self, "separator", self.separator.replace("\\t", "\t"))
            if len(self.separator) != 1 or self.separator in '\r\n"':
                raise InputError(f"--separator {self.separator!r}: give one character, such as ;")
        for name, choices in (("duplicates", "keep drop"), ("incomplete", "refuse drop")):
            if getattr(self, name) not in choices.split():
                allowed = choices.replace(" ", " or ")
                raise InputError(f"--{name} {getattr(self, name)}: choose {allowed}")

    @property
    def columns(self) -> dict[str, str | None]:
        """The requested columns by their use."""
        return {"user": self.user, "item": self.item, "time": self.time}


def prepare_events(
    output: str | Path, options: EventOptions, source: Any, overwrite: bool = False
) -> Corpus:
    """Make the corpus folder `output` from a table of events, unless it exists and is current.

    Users are in the order of their first row; `Corpus.names` are the users.
    Events at the same time remain in the order of the table.

    Parameters
    ----------
    output : path
    options : EventOptions
    source : path, pandas DataFrame, pyarrow Table or another Arrow frame
        A .csv, .tsv or .parquet file, or a folder of such, read in order of their names. Text may
        be compressed (.gz, .bz2, .xz, .zst). The table may be larger than memory: DuckDB holds it
        and, above `data_prep.io.event_table.MEMORY` bytes, moves parts of it to temporary files
        beside `output`. Only the names of users and items must fit in memory.
    overwrite : bool
        Whether a corpus that `output` holds, made from other sources or with other options, is
        replaced.

    Raises
    ------
    InputError
        If the table cannot be used, or no event is left.
    """
    output, drop = output_folder(output), options.incomplete == "drop"
    if isinstance(source, (str, Path)):
        (path,) = find_inputs([source])
        form = Form(separator=options.separator)
        read = partial(read_path, path, form, options.columns, drop)
        size, hashes = sum(file.stat().st_size for file in list_files(path)), hash_inputs([path])
    else:
        name, table = type(source).__name__, in_memory(source, options.columns)
        read = partial(read_table, table, name, drop)
        size, hashes = table.nbytes, {f"{name} in memory": table_hash(table)}
    manifest = {"source": f"events: {', '.join(hashes)}", "licence": options.licence}
    return make_corpus(
        read=read,
        size=size,
        options=options,
        output=output,
        manifest=manifest | {"raw_sha256": hashes},
        overwrite=overwrite,
    )


def make_corpus(
    read: Read,
    size: int,
    options: EventOptions,
    output: Path,
    manifest: dict[str, Any],
    overwrite: bool,
) -> Corpus:
    """Build the corpus folder `output` from blocks of rows, or load it if it is current.

    Parameters
    ----------
    read : callable
        ``read(read_progress)`` yields names of columns and rows; see
        `data_prep.io.tables.read_path`.
    size : int
        Raw bytes, for the progress bar.
    manifest : dict
        Source of the rows.
    """
    manifest |= {"kind": "events", "options": asdict(options)}
    manifest["tools"] = {"pyarrow": pa.__version__}

    def make() -> None:
        try:
            output.parent.mkdir(parents=True, exist_ok=True)
            _build(read, size, options, output, manifest)
        except OSError as error:
            raise not_writable(error, output) from None

    return build_if_changed(output, manifest, make, overwrite)


def _build(
    read: Read, size: int, options: EventOptions, output: Path, manifest: dict[str, Any]
) -> None:
    """Read, filter, sort, write."""
    name = ", ".join(manifest["raw_sha256"])
    with EventTable(output.parent) as events:
        n_skipped, columns = _read_all(read, size, options, events)
        manifest["columns"] = columns
        if not events.n:
            raise InputError(f"{name}: no event in it; name a table with one row per event")
        n_users, n_items = events.number_names(drop_duplicates=options.duplicates == "drop")
        counts = {"seen": events.n, "passed_over": n_skipped}
        counts |= {"users_seen": n_users, "items_seen": n_items}
        counts |= _choose(events, options, name)
        vocabulary, item_ids = events.vocabulary()
        users, lengths = events.users()
        counts["too_short"] = counts["core_users"] - len(users)
        counts["one_event"] = int((lengths == 1).sum())
        word_ids = np.full(n_items, -1, np.int32)
        word_ids[item_ids] = np.arange(len(item_ids))
        with CorpusWriter(output, vocabulary, manifest, users) as writer:
            bar = progress(total=int(lengths.sum()), description="sorting", unit="event")
            with bar, closing(events.item_ids()) as batches:
                for items, in_block in _whole_histories(batches, lengths):
                    writer.add(word_ids[items], in_block)
                    bar.update(len(items))
            writer.manifest["counts"] = counts


def _read_all(
    read: Read, size: int, options: EventOptions, events: EventTable
) -> tuple[int, dict[str, str]]:
    """Fill `events`; the number of rows left out, and the columns by their use."""
    read_progress, parser = ReadProgress(), TimeParser(options.time_format)
    columns: dict[str, str] = {}
    bar = progress(total=kilobytes(size), description="reading", unit="kB")
    with bar, closing(read(read_progress)) as blocks:  # type: ignore[type-var]
        for names, rows in blocks:
            if len(names) == 2 and options.duplicates == "drop":
                raise InputError(
                    "--duplicates drop: without a column of times, duplicates cannot be told from "
                    "repeats; name one with --time"
                )
            columns = dict(zip(("user", "item", "time"), names, strict=False))
            _check_names(rows.user, "user", rows.place)
            _check_names(rows.item, "item", rows.place)
            integer, fraction = np.zeros(len(rows.user), np.int64), np.zeros(len(rows.user))
            if rows.time is not None:
                integer, fraction = parser.keys(rows.time, rows.place)
            events.append(rows.user, rows.item, integer, fraction)
            bar.set_description_str(f"reading, {events.n:,} events", refresh=False)
            bar.update(min(kilobytes(read_progress.position), bar.total) - bar.n)
    if events.n and "time" not in columns:
        log.info("no column of times: the order of the table is taken as the order of time")
    return read_progress.skipped, columns


def _check_names(names: pa.Array, role: str, place: Callable[[int], str]) -> None:
    """Refuse line breaks in names: the files of a corpus hold one name per line."""
    broken = pc.match_substring(names, "\n")
    if pc.any(broken).as_py():
        i = broken.index(True).as_py()
        raise InputError(
            f"{place(i)}: {role} {names[i].as_py()!r} contains a line break, which is not allowed "
            "in a name; replace it"
        )


def _choose(events: EventTable, options: EventOptions, name: str) -> dict[str, int]:
    """Apply k-core, vocabulary, maximum and minimum length; what was left out."""
    n_unique = events.n_events()
    events.keep_core(options.min_user, options.min_item)
    n_core, core_users, core_items = events.n_events(), events.n_users(), events.n_items()
    if not n_core:
        raise InputError(
            f"{name}: no user with --min-user {options.min_user} events of items with --min-item "
            f"{options.min_item}; choose fewer"
        )
    if options.vocabulary is not None:
        events.keep_items(options.vocabulary)
    n_known = events.n_events()
    if options.max_length is not None:
        events.keep_last(options.max_length)
    events.keep_users(options.min_length)
    if not events.n_events():
        raise InputError(
            f"{name}: no user has --min-length {options.min_length} events left; choose fewer"
        )
    return {
        "duplicates": events.n - n_unique,
        "core_users": core_users,
        "core_items": core_items,
        "core": n_core,
        "outside_vocabulary": n_core - n_known,
    }


def _whole_histories(
    batches: Iterator[np.ndarray], lengths: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Items cut anywhere, as blocks of whole histories and the lengths of these.

    Parameters
    ----------
    batches : iterator of (n,) int
        The items of all histories, one after the other.
    lengths : (U,) int64
        Items of each history.
    """
    ends = np.cumsum(lengths)
    rest: list[np.ndarray] = []
    first = n_given = n_read = 0
    for batch in batches:
        rest.append(batch)
        n_read += len(batch)
        last = int(np.searchsorted(ends, n_read, side="right"))
        if last > first:
            items = np.concatenate(rest)
            n_whole = int(ends[last - 1]) - n_given
            yield items[:n_whole], lengths[first:last]
            rest, first, n_given = [items[n_whole:]], last, int(ends[last - 1])
