"""Events of users to a corpus: each user's items in order of time are a document."""

import logging
import os
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from data_prep.io.build import kilobytes
from data_prep.io.inputs import ReadProgress, printable
from data_prep.io.known_words import known_words
from data_prep.io.options import for_manifest
from data_prep.io.output import build_if_changed
from data_prep.tables.event_table import EventTable
from data_prep.tables.files import find_tables, hash_tables
from data_prep.tables.reader import Form, Rows, in_memory, read_table, read_tables, table_hash
from data_prep.tables.times import TimeParser
from lla.common.display import Configuration
from lla.common.errors import (
    InputError,
    check_choice,
    check_flag,
    check_instance,
    check_integer,
    check_text,
    optional,
)
from lla.common.files import folder_to_write, not_writable
from lla.common.progress import progress
from lla.corpus import Corpus
from lla.corpus.folder import CorpusWriter

log = logging.getLogger("data_prep")
CHOICES = {
    "duplicates": ("keep", "drop"),
    "incomplete": ("refuse", "drop"),
    "quotes": ("auto", "csv", "none"),
}
Read = Callable[[ReadProgress], Iterator[tuple[list[str], Rows]]]


@dataclass(frozen=True, repr=False)
class EventOptions(Configuration):
    """Which columns of a table hold events, and which events enter the corpus.

    In this order: duplicates, k-core, vocabulary, maximum length, minimum length.

    Attributes
    ----------
    user, item, time : str or None
        Columns; by default, well-known names are searched for (`data_prep.tables.reader.KNOWN`).
        Without a column of times, or with an empty name for it, rows are in order of time.
    time_format : str or None
        Format of times in the notation of `strptime`, if they are neither numbers nor ISO 8601.
    separator : str or None
        Between columns of text, such as ``";"`` or ``"::"``; by default a comma or a tab, by the
        name of the file, or, where that does not tell, by its first line.
    header : bool
        Whether text begins with the names of its columns; else `user`, `item` and `time` are
        numbers of columns, from ``"1"``.
    quotes : "auto", "csv" or "none"
        Whether quotation marks in text enclose cells, or are characters as any other; by default
        as in CSV, but where tabs separate the columns only if every mark is plainly such.
    min_user, min_item : int
        The k-core: users and items with fewer events are left out repeatedly until none remain.
    min_length : int
        Users whose remaining history is shorter are left out.
    max_length : int or None
        Longer histories are cut to their last events, the most informative about the next.
    vocabulary : int or None
        V, number of most frequent items that are kept, ties in alphabetical order; by default all.
    vocabulary_of : path or None
        A corpus whose items, in their order, are taken instead; other items are left out.
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
    header: bool = True
    quotes: str = "auto"
    min_user: int = 1
    min_item: int = 1
    min_length: int = 1
    max_length: int | None = None
    vocabulary: int | None = None
    vocabulary_of: str | Path | None = None
    duplicates: str = "keep"
    incomplete: str = "refuse"
    licence: str = "not stated"

    def __post_init__(self) -> None:
        for name in ("min_user", "min_item", "min_length"):
            self._check(check_integer, name)
        for name in ("max_length", "vocabulary"):
            self._check(optional(check_integer), name)
        if self.max_length is not None and self.max_length < self.min_length:
            raise InputError(
                f"--max-length is {self.max_length}: give --min-length, {self.min_length}, or more"
            )
        if self.vocabulary_of is not None and self.vocabulary is not None:
            raise InputError(
                f"--vocabulary is {self.vocabulary}: leave it out, --vocabulary-of names all items"
            )
        for name in ("user", "item", "time", "time_format", "separator"):
            self._check(optional(check_text), name)
        self._check(check_text, "licence")
        object.__setattr__(self, "header", check_flag("header", self.header))
        for name, choices in CHOICES.items():
            self._check(check_choice, name, choices=choices)
        self._check_separator()

    def _check(self, check: Callable[..., Any], name: str, **limits: Any) -> None:
        """Check an option, which messages name as the command line does."""
        value = check(f"--{name.replace('_', '-')}", getattr(self, name), **limits)
        object.__setattr__(self, name, value)

    def _check_separator(self) -> None:
        if self.separator is None:
            return
        object.__setattr__(self, "separator", self.separator.replace("\\t", "\t"))
        if not self.separator or set(self.separator) & set('\r\n"'):
            raise InputError(
                f"--separator is {self.separator!r}: give one or more characters, such as ; or ::"
            )
        if len(self.separator) > 1 and self.quotes == "csv":
            raise InputError(
                f"--separator is {self.separator!r}: give one character, or leave out --quotes csv"
            )

    @property
    def form(self) -> Form:
        """The format of text."""
        quoted = {"auto": None, "csv": True, "none": False}[self.quotes]
        return Form(separator=self.separator, header=self.header, quoted=quoted)

    @property
    def columns(self) -> dict[str, str | None]:
        """The requested columns by their use."""
        return {"user": self.user, "item": self.item, "time": self.time}


@dataclass(frozen=True)
class RawEvents:
    """Where the rows come from.

    Attributes
    ----------
    read : callable
        ``read(read_progress)`` yields names of columns and rows; see
        `data_prep.tables.reader.read_tables`.
    size : int
        Raw bytes, for the progress bar.
    sha256 : dict
        SHA-256 of each raw file by its name.
    files_passed_over : int
        Files of a folder that are no tables.
    left_out : Counter
        Rows that `read` leaves out, by the reason; complete once all are read.
    """

    read: Read
    size: int
    sha256: dict[str, str]
    files_passed_over: int = 0
    left_out: Counter[str] = field(default_factory=Counter)


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
        A .csv, .tsv, .jsonl, .parquet or .arrow file, or a folder of such, read in order of their
        names. Text may be compressed (.gz, .bz2, .xz, .zst, .zip); ``"-"`` is the standard input.
        The table may be larger than memory: DuckDB holds it and, above
        `data_prep.tables.event_table.MEMORY` bytes, moves parts of it to temporary files beside
        `output`. Only the names of users and items must fit in memory.
    overwrite : bool
        Whether a corpus that `output` holds, made from other sources or with other options, is
        replaced.

    Raises
    ------
    InputError
        If the table cannot be used, or no event is left.
    """
    output = folder_to_write(output, "--output")
    check_instance("options", options, EventOptions)
    drop, manifest = options.incomplete == "drop", {"licence": printable(options.licence)}
    if not isinstance(source, (str, os.PathLike)):
        if not options.header:
            raise InputError("header is False: leave it out, a frame has names of columns")
        name, table = type(source).__name__, in_memory(source, options.columns)
        read = partial(read_table, table, name, drop)
        raw = RawEvents(read, table.nbytes, {f"{name} in memory": table_hash(table)})
        return make_corpus(raw, options, output, "events", manifest, overwrite=overwrite)
    with find_tables(source) as found:
        read = partial(read_tables, found, options.form, options.columns, drop)
        raw = RawEvents(read, found.size, hash_tables(found), found.n_passed_over)
        return make_corpus(raw, options, output, "events", manifest, overwrite=overwrite)


def make_corpus(
    raw: RawEvents,
    options: EventOptions,
    output: Path,
    name: str,
    manifest: dict[str, Any],
    *,
    overwrite: bool,
) -> Corpus:
    """Build the corpus folder `output` from blocks of rows, or load it if it is current.

    Parameters
    ----------
    name : str
        Of the source.
    manifest : dict
        Licence, and what else is known of the source.
    """
    manifest = {"source": f"{name}: {', '.join(raw.sha256)}", **manifest, "raw_sha256": raw.sha256}
    manifest |= {"kind": "events", "options": for_manifest(options)}
    known: tuple[str, ...] = ()
    if options.vocabulary_of is not None:
        first = known_words(options.vocabulary_of, output)
        known, manifest["vocabulary_sha256"] = first.words, first.sha256
    manifest["tools"] = {"pyarrow": pa.__version__}

    def make() -> None:
        try:
            output.parent.mkdir(parents=True, exist_ok=True)
            _build(raw, options, output, manifest, known)
        except OSError as error:
            raise not_writable(error, output) from None

    return build_if_changed(output, manifest, make, overwrite)


def _build(
    raw: RawEvents,
    options: EventOptions,
    output: Path,
    manifest: dict[str, Any],
    known: tuple[str, ...],
) -> None:
    """Read, filter, sort, write."""
    name = ", ".join(raw.sha256)
    with EventTable(output.parent) as events:
        n_skipped, columns = _read_all(raw, options, events)
        manifest["columns"] = columns
        if not events.n:
            raise _no_event(name, n_skipped)
        n_users, n_items = events.number_names(drop_duplicates=options.duplicates == "drop")
        _say_odd_ids(events)
        counts = {"seen": events.n, "passed_over": n_skipped}
        counts |= {"users_seen": n_users, "items_seen": n_items}
        counts["files_passed_over"] = raw.files_passed_over
        counts |= raw.left_out
        counts |= _choose(events, options, name, known)
        items_left, item_ids = events.vocabulary()
        vocabulary = known or tuple(items_left)
        users, lengths = events.users()
        counts["too_short"] = counts["core_users"] - counts["no_known_item"] - len(users)
        counts["one_event"] = int((lengths == 1).sum())
        number = {item: w for w, item in enumerate(vocabulary)}
        word_ids = np.full(n_items, -1, np.int32)
        word_ids[item_ids] = [number[item] for item in items_left]
        with CorpusWriter(output, vocabulary, manifest, users) as writer:
            bar = progress(total=int(lengths.sum()), description="sorting", unit="event")
            with bar, closing(events.item_ids()) as batches:
                for items, in_block in _whole_histories(batches, lengths):
                    writer.add(word_ids[items], in_block)
                    bar.update(len(items))
            writer.manifest["counts"] = counts


def _no_event(name: str, n_skipped: int) -> InputError:
    if n_skipped:
        return InputError(
            f"{name}: all {n_skipped} rows lack a user, item or time, or have a wrong number of "
            "columns; see which with --incomplete refuse"
        )
    return InputError(f"{name}: no event in it; name a table with one row per event")


def _say_odd_ids(events: EventTable) -> None:
    """Say which ids may be meant otherwise than they are taken."""
    for role, names in events.like_missing().items():
        shown = ", ".join(map(repr, names))
        log.info("%s %s: an id as any other; only empty cells and nulls are missing", role, shown)
    for role in events.unified:
        log.info("all ids of %ss are whole numbers: 12.0 is taken as 12", role)


def _read_all(
    raw: RawEvents, options: EventOptions, events: EventTable
) -> tuple[int, dict[str, str]]:
    """Fill `events`; the number of rows left out, and the columns by their use."""
    read_progress, parser = ReadProgress(), TimeParser(options.time_format)
    columns: dict[str, str] = {}
    bar = progress(total=kilobytes(raw.size), description="reading", unit="kB")
    with bar, closing(raw.read(read_progress)) as blocks:  # type: ignore[type-var]
        for names, rows in blocks:
            if not len(rows.user):
                continue
            if rows.time is None and options.duplicates == "drop":
                raise InputError(
                    "--duplicates drop: without a column of times, duplicates cannot be told from "
                    "repeats; name one with --time, or leave the option out"
                )
            if columns and (len(names) == 3) != ("time" in columns):
                raise InputError(
                    f"{rows.place(0)}: only some of the tables have a column of times; name one "
                    'that all have with --time, or leave it out with --time ""'
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


def _choose(
    events: EventTable, options: EventOptions, name: str, known: tuple[str, ...]
) -> dict[str, int]:
    """Apply k-core, vocabulary, maximum and minimum length; what was left out."""
    n_unique = events.n_events()
    events.keep_core(options.min_user, options.min_item)
    n_core, core_users, core_items = events.n_events(), events.n_users(), events.n_items()
    if not n_core:
        asked = {"--min-user": options.min_user, "--min-item": options.min_item}
        above = {option: least for option, least in asked.items() if least > 1}
        raise InputError(
            f"{name}: no event is left with {' and '.join(f'{k} {n}' for k, n in above.items())}; "
            f"choose fewer for {' or '.join(above)}"
        )
    if options.vocabulary is not None:
        events.keep_items(options.vocabulary)
    if known:
        events.keep_named(known)
    n_known, n_known_users = events.n_events(), events.n_users() if known else core_users
    if known:
        log.info(
            "%s of %s events are of no item of %s and left out, %s users have no other",
            f"{n_core - n_known:,}",
            f"{n_core:,}",
            options.vocabulary_of,
            f"{core_users - n_known_users:,}",
        )
    if not n_known:
        raise InputError(
            f"{name}: no event has an item of {options.vocabulary_of}; give the corpus of the same "
            "items"
        )
    if options.max_length is not None:
        events.keep_last(options.max_length)
    longest = events.longest()
    events.keep_users(options.min_length)
    if not events.n_events():
        raise InputError(
            f"{name}: no user has --min-length {options.min_length} events left, the longest "
            f"history has {longest}; choose fewer"
        )
    return {
        "duplicates": events.n - n_unique,
        "core_users": core_users,
        "core_items": core_items,
        "core": n_core,
        "outside_vocabulary": n_core - n_known,
        "no_known_item": core_users - n_known_users,
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
