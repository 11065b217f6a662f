"""Events of users to a corpus: a user's events in the order of time are a document of items."""

import logging
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from data_prep.build import MAX_VOCABULARY, kilobytes, made_once, most_frequent
from data_prep.histories import EVENT, histories, k_core, sort_events
from data_prep.inputs import Reading, files_of, find_inputs, hash_inputs
from data_prep.spill import Records, Spill
from data_prep.tables import Form, Rows, in_memory, read_path, read_table, table_hash
from data_prep.times import Clock
from lla.common.errors import InputError
from lla.common.files import not_writable
from lla.common.progress import progress
from lla.corpus import Corpus, CorpusWriter

log = logging.getLogger("data_prep")
Read = Callable[[Reading], Iterator[tuple[list[str], Rows]]]


@dataclass(frozen=True)
class EventOptions:
    """Which columns of a table hold events, and which events make the corpus.

    They are applied in this order: duplicates, k-core, vocabulary, maximum length, minimum length.

    Attributes
    ----------
    user, item, time : str or None
        Columns; left open, well-known names are looked for (`data_prep.tables.KNOWN`). Without a
        column of times, or with an empty name for it, the order of the table is that of time.
    time_format : str or None
        How times are written, as `strptime` has it, where they are neither numbers nor ISO 8601.
    separator : str or None
        Between columns of text; by the file's name, a comma or a tab.
    min_user, min_item : int
        The k-core: users and items with fewer events than this are left out until none is left.
    min_length : int
        Users whose history is shorter in the end are left out.
    max_length : int or None
        Of longer histories the last events stay, as they tell most about the next.
    vocabulary : int or None
        V, the most frequent items that stay, of equally frequent ones the first in alphabetical
        order; all of them when left open.
    duplicates : "keep" or "drop"
        What to do with events alike in user, item and time.
    incomplete : "refuse" or "drop"
        What to do with rows that lack a user, an item, a time, or have another number of columns.
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
                said = choices.replace(" ", " or ")
                raise InputError(f"--{name} {getattr(self, name)}: choose {said}")

    @property
    def columns(self) -> dict[str, str | None]:
        """The columns that were asked for, by their use."""
        return {"user": self.user, "item": self.item, "time": self.time}


def prepare_events(output: str | Path, options: EventOptions, source: Any) -> Corpus:
    """Make the corpus folder `output` from a table of events, unless it is there already.

    Users stand in the order in which the table first names them; `lla.load_users` tells who each
    document is. Events at the same time stay in the order of the table.

    Parameters
    ----------
    output : path
    options : EventOptions
    source : path, pandas DataFrame, pyarrow Table or another Arrow frame
        A .csv, .tsv or .parquet file, or a folder of such, read by their names. Text may be
        compressed (.gz, .bz2, .xz, .zst). The table may be larger than the memory, which holds
        the different ids, a length a user, a block of rows, and the events of as many users as
        make up a million events or of a single one with more; the events themselves go to
        temporary files beside `output`, 52 bytes each at most.

    Raises
    ------
    InputError
        When the table cannot be used, or no event is left.
    """
    drop = options.incomplete == "drop"
    if isinstance(source, (str, Path)):
        (path,) = find_inputs([source])
        form = Form(separator=options.separator)
        read = partial(read_path, path, form, options.columns, drop)
        size, hashes = sum(file.stat().st_size for file in files_of(path)), hash_inputs([path])
    else:
        name, table = type(source).__name__, in_memory(source, options.columns)
        read = partial(read_table, table, name, drop)
        size, hashes = table.nbytes, {f"{name} in memory": table_hash(table)}
    manifest = {"source": f"events: {', '.join(hashes)}", "licence": options.licence}
    return make_corpus(read, size, options, output, manifest | {"raw_sha256": hashes})


def make_corpus(
    read: Read, size: int, options: EventOptions, output: str | Path, manifest: dict[str, Any]
) -> Corpus:
    """Build the corpus folder `output` from blocks of rows, or load it when it is there.

    Parameters
    ----------
    read : callable
        ``read(reading)`` yields names of columns and rows, as `data_prep.tables.read_path`.
    size : int
        Raw bytes, for the progress bar.
    manifest : dict
        Where the rows come from.
    """
    output = Path(output)
    manifest |= {"kind": "events", "options": asdict(options)}
    manifest["tools"] = {"pyarrow": pa.__version__}

    def make() -> None:
        try:
            output.parent.mkdir(parents=True, exist_ok=True)
            _build(read, size, options, output, manifest)
        except OSError as error:
            raise not_writable(error, output) from None

    return made_once(output, manifest, make)


def _build(
    read: Read, size: int, options: EventOptions, output: Path, manifest: dict[str, Any]
) -> None:
    """Read, sort, filter, write."""
    name = ", ".join(manifest["raw_sha256"])
    with Spill(output.parent) as spill:
        with Records(output.parent, EVENT) as events:
            users, counts = _read_all(read, size, options, events, spill, manifest)
            if not counts["seen"]:
                raise InputError(f"{name}: no event in it; name a table with a row an event")
            lengths = counts.pop("lengths")
            drop = options.duplicates == "drop"
            for items, left in sort_events(events, lengths, output.parent, drop):
                spill.extend(items, left)
        n_events = sum(spill.lengths)
        counts["duplicates"] = counts["seen"] - n_events
        chosen, rank, more = _choose(spill, options, name)
        counts |= more
        vocabulary = [spill.words[i] for i in np.argsort(rank)[-(rank.max() + 1) :]]
        kept = [user for user, keep in zip(users, chosen, strict=True) if keep]
        with CorpusWriter(output, vocabulary, manifest, kept) as writer:
            bounds = (options.min_length, options.max_length)
            for words, left, _ in histories(spill, chosen, rank, *bounds):
                writer.add(words, left)
            writer.manifest["counts"] = counts


def _read_all(
    read: Read,
    size: int,
    options: EventOptions,
    events: Records,
    spill: Spill,
    manifest: dict[str, Any],
) -> tuple[list[str], dict[str, Any]]:
    """Fill `events` with rows in numbers and `spill` with the items' names; return the users."""
    reading, clock = Reading(), Clock(options.time_format)
    user_ids: dict[str, int] = {}
    item_ids: dict[str, int] = {}
    bar = progress(total=kilobytes(size), description="reading", unit="kB")
    with bar, closing(read(reading)) as blocks:
        for columns, rows in blocks:
            if len(columns) == 2 and options.duplicates == "drop":
                raise InputError(
                    "--duplicates drop: without a column of times nobody knows what is a "
                    "duplicate and what a repeat; name one with --time"
                )
            block = np.empty(len(rows.user), EVENT)
            block["user"] = _codes(rows.user, user_ids, "user", rows.place)
            block["item"] = _codes(rows.item, item_ids, "item", rows.place)
            block["whole"] = block["part"] = 0
            if rows.time is not None:
                block["whole"], block["part"] = clock.keys(rows.time, rows.place)
            events.append(block)
            manifest["columns"] = dict(zip(("user", "item", "time"), columns, strict=False))
            bar.set_description_str(f"reading, {events.n:,} events", refresh=False)
            bar.update(min(kilobytes(reading.position), bar.total) - bar.n)
    if events.n and "time" not in manifest["columns"]:
        log.info("no column of times: the order of the table is taken for that of time")
    spill.words = list(item_ids)
    lengths = np.zeros(len(user_ids), np.int64)
    for block in events.blocks():
        lengths += np.bincount(block["user"], minlength=len(lengths))
    counts = {"seen": events.n, "passed_over": reading.passed_over}
    counts |= {"users_seen": len(user_ids), "items_seen": len(item_ids), "lengths": lengths}
    return list(user_ids), counts


def _codes(ids: list[str], known: dict[str, int], role: str, place: Callable) -> list[int]:
    """The number of each id, in the order in which they are first met; `known` grows."""
    # Names are kept a line each.
    if "\n" in "".join(ids):
        bad = next(i for i, name in enumerate(ids) if "\n" in name)
        raise InputError(
            f"{place(bad)}: {role} {ids[bad]!r} holds a line break, which no name may; replace it"
        )
    return [known.setdefault(name, len(known)) for name in ids]


def _choose(
    spill: Spill, options: EventOptions, name: str
) -> tuple[np.ndarray, np.ndarray, dict[str, int]]:
    """Which users stay, (U,) bool; the word id of each item or -1, (V,) int32; what went."""
    users, items = k_core(spill, options.min_user, options.min_item)
    if not users.any():
        raise InputError(
            f"{name}: no user with --min-user {options.min_user} events of items with --min-item "
            f"{options.min_item}; choose fewer"
        )
    rank = np.where(items, np.arange(len(items), dtype=np.int32), np.int32(-1))
    in_core = _frequency(spill, users, rank, 0, None)[0]
    ids = most_frequent(in_core, spill.words, options.vocabulary or len(items))
    counts = {"core_users": int(users.sum()), "core_items": int(items.sum())}
    counts |= {"core": int(in_core.sum()), "outside_vocabulary": int(in_core.sum())}
    counts["outside_vocabulary"] -= int(in_core[ids].sum())
    rank[:] = -1
    rank[ids] = ids
    frequency, lengths = _frequency(spill, users, rank, options.min_length, options.max_length)
    if not frequency.any():
        raise InputError(
            f"{name}: no user has --min-length {options.min_length} events left; choose fewer"
        )
    # Items whose events have all been cut off are no words of this corpus.
    ids = most_frequent(frequency, spill.words, len(frequency))
    rank[:] = -1
    rank[ids] = np.arange(len(ids))
    chosen = users.copy()
    chosen[users] = lengths > 0
    counts["too_short"] = int(users.sum() - chosen.sum())
    counts["one_event"] = int((lengths == 1).sum())
    return chosen, rank, counts


def _frequency(
    spill: Spill, users: np.ndarray, rank: np.ndarray, min_length: int, max_length: int | None
) -> tuple[np.ndarray, np.ndarray]:
    """Events of each item in what is left, (V,); length of each chosen user's history, or 0."""
    frequency, lengths = np.zeros(len(rank), np.int64), []
    for words, left, enough in histories(spill, users, rank, min_length, max_length):
        frequency += np.bincount(words, minlength=len(rank))
        lengths.append(np.zeros(len(enough), np.int64))
        lengths[-1][enough] = left
    return frequency, np.concatenate(lengths)
