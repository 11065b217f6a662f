"""A small table of events in every form, and how it is read."""

import io
import json
import zipfile

import pyarrow as pa
import pyarrow.parquet as pq

from data_prep import EventOptions, prepare_events
from lla.corpus import Corpus

# Of u: a (1), b (2), c (3); of v: a (1).
ROWS = [("u", "c", 3), ("v", "a", 1), ("u", "a", 1), ("u", "b", 2)]
HISTORIES = {"u": ["a", "b", "c"], "v": ["a"]}


def histories(corpus: Corpus) -> dict[str, list[str]]:
    return {name: corpus.items(name) for name in corpus.names}


def read(folder, source, **options):
    """Histories of a source: written under the given name, if it is a name and its content."""
    if isinstance(source, tuple):
        name, data = source
        source = folder / name
        source.write_bytes(data if isinstance(data, bytes) else data.encode())
    corpus = prepare_events(folder / "c", EventOptions(**options), source, overwrite=True)
    return histories(corpus)


def lines(separator, header=True, rows=ROWS):
    head = [("user", "item", "time")] if header else []
    return "".join(separator.join(map(str, row)) + "\n" for row in head + rows)


def json_lines(rows, names=("user", "item", "time")):
    return "".join(json.dumps(dict(zip(names, row, strict=True))) + "\n" for row in rows)


def zipped(members):
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in members.items():
            archive.writestr(name, text)
    return sink.getvalue()


def table(columns=None):
    return pa.table(
        columns or dict(zip(("user", "item", "time"), zip(*ROWS, strict=True), strict=1))
    )


def arrow_file(**options):
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table().schema, **options) as file:
        file.write_table(table(), max_chunksize=3)
    return sink.getvalue().to_pybytes()


def parquet_file():
    sink = pa.BufferOutputStream()
    pq.write_table(table(), sink)
    return sink.getvalue().to_pybytes()
