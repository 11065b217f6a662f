"""What an id and a time are, alike in every form that tables come in; options of a wrong type."""

import datetime
import decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from event_forms import HISTORIES, ROWS, json_lines, lines, read, table

import data_prep.tables.delimited as delimited
from data_prep import EventOptions, prepare_events
from lla.common.errors import InputError

# ------------------------------------------------------------------------------ ids

IDS = {
    "spaces": ([" a", "a ", "a", "\tb c\u3000"], ["a", "a", "a", "b c"]),
    "marks of missing values": (["NULL", "NaN", "NA", "None"], ["NULL", "NaN", "NA", "None"]),
    "whole numbers": (["12.0", "12", "-3.00", "007"], ["12", "12", "-3", "007"]),
    "not all whole": (["12.0", "12", "1.5", "x"], ["12.0", "12", "1.5", "x"]),
    "versions": (["1.0", "1.0.0", "1", "1"], ["1.0", "1.0.0", "1", "1"]),
}


def of_text(items):
    """The same texts as ids in every format."""
    rows = [("u", item, i) for i, item in enumerate(items)]
    frame = pd.DataFrame(rows, columns=["user", "item", "time"])
    quoted = "user,item,time\n" + "".join(f'u,"{item}",{i}\n' for _, item, i in rows)
    yield "csv", ("x.csv", lines(",", rows=rows))
    yield "quoted csv", ("x.csv", quoted)
    yield "one by one", ("x.csv", lines(",", rows=rows))
    yield "tsv", ("x.tsv", lines("\t", rows=[(u, i.strip("\t"), t) for u, i, t in rows]))
    yield "json", ("x.jsonl", json_lines(rows))
    yield "parquet", frame
    yield "pandas", frame.astype({"item": object})
    yield "categories", frame.astype({"item": "category"})
    for kind in (pa.string(), pa.large_string(), pa.string_view(), pa.large_binary(), pa.binary()):
        yield str(kind), table({"user": ["u"] * len(rows), "item": pa.array(items).cast(kind)})


@pytest.mark.parametrize("name", IDS)
def test_text_is_the_same_id_in_every_format(tmp_path, monkeypatch, name):
    items, expected = IDS[name]
    for form, source in of_text(items):
        if form == "parquet":
            source.to_parquet(tmp_path / "x.parquet")
            source = tmp_path / "x.parquet"
        with monkeypatch.context() as patched:
            if form == "one by one":
                patched.setattr(delimited, "_parse", lambda *_, **__: None)
            assert read(tmp_path, source) == {"u": expected}, form


def test_whole_numbers_of_every_type_are_digits(tmp_path):
    numbers = [12, 13, 12]
    decimals = [decimal.Decimal(n).quantize(decimal.Decimal("0.01")) for n in numbers]
    columns = [
        *(pa.array(numbers, kind) for kind in (pa.int8(), pa.uint64(), pa.int64())),
        *(pa.array(numbers, kind) for kind in (pa.float16(), pa.float32(), pa.float64())),
        *(pa.array(decimals, kind) for kind in (pa.decimal128(9, 2), pa.decimal256(50, 2))),
        pa.array(numbers).dictionary_encode(),
        pa.array([12.0, 13.0, 12.0]).dictionary_encode(),
        pa.compute.run_end_encode(pa.array(numbers)),
        pa.array(["12.0", "13", "12.0"]),
    ]
    for column in columns:
        source = table({"user": pa.array([1.0, 1.0, 1.0]), "item": column})
        assert read(tmp_path, source) == {"1": ["12", "13", "12"]}, column.type
    frame = pd.DataFrame({"user": [1.0] * 4, "item": [12.0, 13.0, None, 12.0]})
    frame.to_csv(tmp_path / "x.csv", index=False)
    frame.to_json(tmp_path / "x.jsonl", orient="records", lines=True)
    frame.to_parquet(tmp_path / "x.parquet")
    sources = [
        frame,
        frame.convert_dtypes(),
        *(tmp_path / f"x.{e}" for e in ("csv", "jsonl", "parquet")),
    ]
    for source in sources:
        with pytest.raises(InputError, match=r"(line 3|line 4|row 3) lacks its item; fix it"):
            read(tmp_path, source)
        assert read(tmp_path, source, incomplete="drop") == {"1": ["12", "13", "12"]}


def test_ids_that_may_mean_something_else_are_said(tmp_path, caplog):
    with caplog.at_level("INFO"):
        read(tmp_path, ("x.csv", "user,item\nNULL,1.0\nnan,2\n\\N,2.0\n"))
    assert r"user 'NULL', 'nan', '\\N': an id as any other; only empty cells" in caplog.text
    assert "all ids of items are whole numbers: 12.0 is taken as 12" in caplog.text


NO_ID = {
    "a fraction": (pa.array([1.0, 2.5]), "row 2: column 'item' holds 2.5; give ids as text"),
    "infinite": (pa.array([1.0, np.inf]), "row 2: column 'item' holds inf"),
    "digits lost": (
        pa.array([1.0, 2.0**53 + 2]),
        "holds .*, a float that has lost digits; give ids",
    ),
    "a decimal": (pa.array([decimal.Decimal("1.5")] * 2), "row 1: column 'item' holds 1.5; give"),
    "bytes": (pa.array([b"a", b"\xff"]), r"row 2: column 'item' holds b'\\xff'; give ids as text"),
    "truth": (pa.array([True, False]), "row 1: column 'item' holds bool; give ids"),
    "a day": (pa.array([datetime.date(2024, 1, 1)] * 2), "column 'item' holds date32"),
    "lists": (pa.array([[1], [2]]), "column 'item' holds list"),
    "dictionary of lists": (
        pa.array([1.5, 2]).dictionary_encode(),
        "row 1: column 'item' holds 1.5",
    ),
}


@pytest.mark.parametrize("name", NO_ID)
def test_what_is_no_id(tmp_path, name):
    column, message = NO_ID[name]
    with pytest.raises(InputError, match=message):
        read(tmp_path, table({"user": ["u", "v"], "item": column}))


# ------------------------------------------------------------------------------ times


def as_views(source):
    """As polars hands over its frames: text as views, categories as dictionaries of them."""
    view = source["item"].combine_chunks().cast(pa.string_view())
    codes = source["user"].combine_chunks().dictionary_encode()
    user = pa.DictionaryArray.from_arrays(
        codes.indices.cast(pa.uint32()), codes.dictionary.cast(pa.large_string())
    )
    return {"user": user, "item": view, "time": source["time"]}


def test_the_index_of_a_frame_may_be_a_column(tmp_path):
    frame = table().to_pandas()
    for columns in (["user"], ["time"], ["user", "time"], ["item", "user", "time"]):
        assert read(tmp_path, frame.set_index(columns)) == HISTORIES
    frame.index.name = "user"
    assert read(tmp_path, frame) == HISTORIES


class Stream:
    """A frame of a library that is not known here."""

    def __init__(self, source):
        self.source = source

    def __arrow_c_stream__(self, requested_schema=None):
        return self.source.__arrow_c_stream__(requested_schema)


def test_frames_of_other_libraries(tmp_path):
    views = pa.table(as_views(table()))
    batch = pa.record_batch({name: views[name].combine_chunks() for name in views.column_names})
    reader = pa.RecordBatchReader.from_batches(batch.schema, [batch.slice(0, 3), batch.slice(3)])
    for source in (views, batch, reader, Stream(views), as_views(table())):
        assert read(tmp_path, source) == HISTORIES
    pq.write_table(views, tmp_path / "x.parquet")
    assert read(tmp_path, tmp_path / "x.parquet") == HISTORIES
    nulls = {"user": pa.array(["u", None], pa.string_view()), "item": pa.array(["a", "b"])}
    assert read(tmp_path, pa.table(nulls), incomplete="drop") == {"u": ["a"]}


@pytest.mark.parametrize(
    "times",
    [
        pa.array(["3", "1", "1", "2"]).cast(pa.string_view()),
        pa.array([" 3", "1 ", "1", "\t2"]),
        pa.array([3, 1, 1, 2]).dictionary_encode(),
        pa.array(["2024-01-03", "2024-01-01", "2024-01-01", "2024-01-02"]).dictionary_encode(),
        pa.array([3, 1, 1, 2], pa.uint8()),
        pa.array([3, 1, 1, 2], pa.float16()),
        pa.array([3, 1, 1, 2], pa.timestamp("s", "UTC")),
        pa.array([decimal.Decimal(f"1700000000.00000000{n}") for n in (3, 1, 1, 2)]),
        pa.array([decimal.Decimal(f"1700000000000000{n}") for n in (303, 301, 301, 302)]),
        pa.compute.run_end_encode(pa.array([3, 1, 1, 2])),
    ],
)
def test_times_of_every_type(tmp_path, times):
    source = table().set_column(2, "time", times)
    assert read(tmp_path, source) == HISTORIES


def test_a_column_of_times_without_any(tmp_path):
    source = table().set_column(2, "time", pa.nulls(4))
    message = 'row 1 lacks its time; .* leave out the column of times with --time ""'
    pq.write_table(source, tmp_path / "x.parquet")
    (tmp_path / "x.jsonl").write_text(json_lines([(u, i, None) for u, i, _ in ROWS]))
    (tmp_path / "x.csv").write_text(lines(",", rows=[(u, i, " ") for u, i, _ in ROWS]))
    for one in (source, *(tmp_path / f"x.{e}" for e in ("parquet", "jsonl", "csv"))):
        with pytest.raises(InputError, match=message.replace("row 1", r"(row 1|line 1|line 2)")):
            read(tmp_path, one)
        with pytest.raises(InputError, match="all 4 rows lack a user, item or time"):
            read(tmp_path, one, incomplete="drop")
        with pytest.raises(InputError, match="all 4 rows lack"):
            read(tmp_path, one, incomplete="drop", time_format="%Y")
        assert read(tmp_path, one, time="") == {"u": ["c", "a", "b"], "v": ["a"]}
    mixed = pa.concat_tables([table(), source], promote_options="permissive")
    assert read(tmp_path, mixed, incomplete="drop") == HISTORIES


def test_times_in_some_files_only(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "1.csv").write_text(lines(","))
    (folder / "2.csv").write_text("user,item\nu,d\n")
    with pytest.raises(InputError, match=r"2.csv: line 2: only some of the tables .* --time"):
        read(tmp_path, folder)
    assert read(tmp_path, folder, time="") == {"u": ["c", "a", "b", "d"], "v": ["a"]}


# ------------------------------------------------------------------------------ options

WRONG = [
    ({"min_user": "5"}, "--min-user is '5': give a whole number"),
    ({"min_item": 2.5}, "--min-item is 2.5: give a whole number"),
    ({"min_length": True}, "--min-length is True: give a whole number"),
    ({"min_length": None}, "--min-length is None: give a whole number"),
    ({"vocabulary": [5]}, "--vocabulary is a list: give a whole number"),
    ({"vocabulary": -1}, "--vocabulary is -1: give 1 or more"),
    ({"max_length": 2**40}, "--max-length is .*: give 2147483647 or less"),
    ({"user": 1}, "--user is 1: give text, such as '1'"),
    ({"item": ["a"]}, "--item is a list: give text"),
    ({"time": 3.5}, "--time is 3.5: give text"),
    ({"time_format": 5}, "--time-format is 5: give text"),
    ({"separator": 5}, "--separator is 5: give text"),
    ({"licence": None}, "--licence is None: give text"),
    ({"duplicates": ["drop"]}, "--duplicates is a list: choose one of keep, drop"),
    ({"duplicates": ""}, "--duplicates is '': choose one of keep, drop"),
    ({"incomplete": True}, "--incomplete is True: choose one of refuse, drop"),
    ({"quotes": None}, "--quotes is None: choose one of auto, csv, none"),
    ({"header": "no"}, "header is 'no': give True or False"),
    ({"separator": "a\nb"}, "--separator is"),
]


@pytest.mark.parametrize(("options", "message"), WRONG)
def test_options_of_a_wrong_type(options, message):
    with pytest.raises(InputError, match=message):
        EventOptions(**options)


def test_numbers_of_numpy_are_written_as_numbers(tmp_path):
    options = EventOptions(min_user=np.int64(1), vocabulary=np.int32(2))
    corpus = prepare_events(tmp_path / "c", options, table())
    assert corpus.manifest["options"]["vocabulary"] == 2


@pytest.mark.parametrize("options", [None, {}, "x", EventOptions])
def test_options_that_are_none(tmp_path, options):
    with pytest.raises(InputError, match=r"options is .*: give an EventOptions"):
        prepare_events(tmp_path / "c", options, table())


@pytest.mark.parametrize("source", [None, 5, [1], [("u", "i")], b"x.csv", np.zeros((2, 2)), {1, 2}])
def test_sources_that_are_none(tmp_path, source):
    with pytest.raises(InputError, match=r"the source is .*: give a path, a pandas DataFrame"):
        prepare_events(tmp_path / "c", EventOptions(), source)
