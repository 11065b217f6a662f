"""Online Retail: what is no purchase is left out, items are called by their names."""

from collections import Counter

import pandas as pd
import pytest
from spreadsheet import HEADER, PURCHASES, spreadsheet

from data_prep import DatasetOptions, prepare_dataset
from data_prep.__main__ import main
from data_prep.online_retail import item_names, read_online_retail
from lla.common.errors import InputError


def frame():
    table = pd.DataFrame(PURCHASES[1:], columns=HEADER)
    times = pd.to_datetime(table["InvoiceDate"], unit="D", origin="1899-12-30").dt.round("min")
    return table.astype({"InvoiceNo": str, "StockCode": str}).assign(InvoiceDate=times)


def write(path, form, table=None):
    table = frame() if table is None else table
    if form in ("%m/%d/%y %H:%M", "%m/%d/%Y %H:%M"):
        table["InvoiceDate"] = table["InvoiceDate"].dt.strftime(form)
    if path.suffix == ".parquet":
        table.to_parquet(path)
    else:
        table.to_csv(path, index=False, encoding="latin-1")
    return path


def found_in(corpus):
    return {name: corpus.items(name) for name in corpus.names}


EXPECTED = {
    "17850": ["WHITE LANTERN", "HEART HOLDER (21814)", "HEART HOLDER (85118)"],
    "13047": ["WHITE LANTERN"],
}


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
@pytest.mark.parametrize("form", ["typed", "%m/%d/%y %H:%M", "%m/%d/%Y %H:%M"])
def test_copies_in_every_form_give_the_same_purchases(tmp_path, suffix, form):
    path = write(tmp_path / f"x{suffix}", form)
    corpus = prepare_dataset(tmp_path / "c", DatasetOptions(), "online_retail", path)
    assert found_in(corpus) == EXPECTED
    counts = corpus.manifest["counts"]
    assert [counts[name] for name in ("cancelled", "without_customer", "not_products")] == [1, 1, 1]
    assert corpus.manifest["licence"] == "CC BY 4.0"


def test_a_copy_is_found_and_what_is_left_out_is_printed(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("LLA_DATA", str(tmp_path))
    write(tmp_path / "online_retail_2010_2011.parquet", "%m/%d/%y %H:%M")
    assert main(["online_retail", "--output", str(tmp_path / "c")]) == 0
    out = capsys.readouterr().out
    for reason in ("of cancelled invoices", "without a customer", "of codes that are no product"):
        assert f"rows {reason}" in out


def test_other_columns_can_be_users_and_items(tmp_path):
    path = tmp_path / "x.xlsx"
    path.write_bytes(spreadsheet(PURCHASES))
    options = DatasetOptions(user="InvoiceNo", item="StockCode")
    corpus = prepare_dataset(tmp_path / "c", options, "online_retail", path)
    assert found_in(corpus) == {
        "536366": ["21814"],
        "536365": ["85123A"],
        "536367": ["85118"],
        "536369": ["85123A"],
    }
    with pytest.raises(InputError, match="no column 'sky'"):
        prepare_dataset(tmp_path / "d", DatasetOptions(item="sky"), "online_retail", path)


def test_times_of_a_spreadsheet_are_days_since_1899(tmp_path):
    path = tmp_path / "x.xlsx"
    path.write_bytes(spreadsheet(PURCHASES))
    left_out = Counter()
    times = read_online_retail(path, left_out)["InvoiceDate"]
    assert str(times[1]) == "2010-12-01 08:24:00"
    assert left_out == {"cancelled": 1, "without_customer": 1, "not_products": 1}


def test_a_name_is_the_most_frequent_description_and_never_that_of_two_codes():
    rows = [
        ("1", "MUG"),
        ("1", "MUG  "),
        ("1", "CUP"),
        ("2", "MUG"),
        ("3", "b"),
        ("3", "a"),
        ("4", ""),
        ("4", "PAN"),
        ("4", ""),
        ("5", ""),
    ]
    table = pd.DataFrame(rows, columns=["code", "name"])
    names = item_names(table["code"], table["name"])
    assert dict(zip(table["code"], names, strict=True)) == {
        "1": "MUG (1)",
        "2": "MUG (2)",
        "3": "a",
        "4": "PAN",
        "5": "5",
    }


def test_what_cannot_be_used_is_one_line(tmp_path):
    cases = {
        "no column 'CustomerID'": frame().drop(columns="CustomerID"),
        "no purchase of a product": frame().assign(CustomerID=None),
        "InvoiceDate is 'soon': give times": frame().assign(InvoiceDate="soon"),
    }
    for number, (message, table) in enumerate(cases.items()):
        path = write(tmp_path / f"{number}.csv", "typed", table)
        with pytest.raises(InputError, match=message) as error:
            prepare_dataset(tmp_path / "c", DatasetOptions(), "online_retail", path)
        assert "\n" not in str(error.value)
    for name, content, message in (
        ("a.xlsx", spreadsheet(PURCHASES, sheet="other.xml"), "no xl/worksheets/sheet1.xml"),
        ("b.xlsx", spreadsheet(PURCHASES)[:-30], "truncated or damaged"),
        ("empty.csv", b"", "not a whole .csv"),
        ("c.parquet", b"PAR1 and no more", "not a complete Parquet file"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=message) as error:
            prepare_dataset(tmp_path / "c", DatasetOptions(), "online_retail", tmp_path / name)
        assert "\n" not in str(error.value)
    with pytest.raises(InputError, match="--time-format is %Y: leave it out"):
        path = write(tmp_path / "x.csv", "typed")
        prepare_dataset(tmp_path / "c", DatasetOptions(time_format="%Y"), "online_retail", path)
    with pytest.raises(InputError, match="a folder; name the file in it"):
        prepare_dataset(tmp_path / "c", DatasetOptions(), "online_retail", tmp_path)
