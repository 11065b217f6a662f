"""UCI's Online Retail: purchases at a British gift shop, cleaned, with readable names of items.

Left out, in this order: invoices that were cancelled (their numbers begin with C), rows without a
customer, and codes of no product. A product has a code of five digits, which letters may follow for
its variants; others are postage, fees, discounts, manual entries.

The name of an item is the description that most rows of its code have, ties in alphabetical order.
Where several codes have the same name, each is followed by its code in parentheses.
"""

from collections import Counter
from functools import partial
from pathlib import Path
from typing import IO
from zipfile import ZipFile

import pandas as pd
import pyarrow as pa
from pyarrow.parquet import read_table as read_parquet

from data_prep.io.inputs import as_input_error
from data_prep.io.spreadsheet import sheet_rows
from lla.common.errors import InputError
from lla.common.progress import progress

COLUMNS = ("InvoiceNo", "StockCode", "Description", "InvoiceDate", "CustomerID", "Country")
PRODUCT = r"\d{5}[A-Z]*"
TIME_FORMATS = ("ISO8601", "%m/%d/%y %H:%M", "%m/%d/%Y %H:%M")
FIRST_DAY = "1899-12-30"  # day 0 of a spreadsheet
FORMS = "give the published .zip or .xlsx, or its rows as .csv or .parquet with the same columns"


def read_online_retail(path: Path, left_out: Counter[str]) -> pd.DataFrame:
    """The purchases of products by known customers, in the order of the file.

    Parameters
    ----------
    path : Path
        The published archive, the spreadsheet in it, or its rows as .csv or .parquet.
    left_out : Counter
        Is given the numbers of rows that are left out, by the reason.

    Returns
    -------
    DataFrame
        Texts in the columns of `COLUMNS`, except for ``InvoiceDate``, which holds times.
    """
    with as_input_error(path):
        frame = _read(path)
    if missing := [name for name in COLUMNS if name not in frame.columns]:
        raise InputError(f"{path}: no column {missing[0]!r}; {FORMS}")
    frame = frame[list(COLUMNS)]
    for name in COLUMNS:
        if not pd.api.types.is_datetime64_any_dtype(frame[name]):
            frame[name] = _as_text(frame[name])
    frame["StockCode"] = frame["StockCode"].str.upper()
    frame = _purchases(frame, left_out).reset_index(drop=True)
    if frame.empty:
        raise InputError(f"{path}: no purchase of a product by a customer in it; {FORMS}")
    frame["Description"] = item_names(frame["StockCode"], frame["Description"])
    frame["InvoiceDate"] = _times(frame["InvoiceDate"], path)
    return frame


def _read(path: Path) -> pd.DataFrame:
    """The table of a file, as it is; what the file is, its first bytes tell."""
    with open(path, "rb") as file:
        start = file.read(4)
        if start.startswith(b"PK"):
            return _of_archive(file, path)
    if start == b"PAR1":
        try:
            return read_parquet(path).to_pandas()
        except (pa.ArrowException, OSError) as error:
            reason = str(error).splitlines()[0]
            raise InputError(f"{path}: not a complete Parquet file ({reason}); {FORMS}") from None
    read = partial(pd.read_csv, path, dtype=str, keep_default_na=False)
    try:
        try:
            return read(encoding="utf-8-sig")
        except UnicodeDecodeError:  # as some publish it again
            return read(encoding="latin-1")
    except (pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{path}: not a whole .csv ({reason}); {FORMS}") from None


def _of_archive(file: IO[bytes], path: Path) -> pd.DataFrame:
    """The spreadsheet in an archive, or, as it is an archive itself, the spreadsheet `path`."""
    with ZipFile(file) as archive:
        inside = [name for name in archive.namelist() if name.lower().endswith(".xlsx")]
        if not inside:
            return _spreadsheet(file, path)
        with archive.open(inside[0]) as content:
            return _spreadsheet(content, f"{path}: {inside[0]}")


def _spreadsheet(file: IO[bytes], name: Path | str) -> pd.DataFrame:
    rows = sheet_rows(file, name)
    header = next(rows, {})
    cells: dict[str, list[str]] = {letters: [] for letters in header}
    for row in progress(rows, description="reading the spreadsheet", unit="row"):
        for letters, column in cells.items():
            column.append(row.get(letters, ""))
    return pd.DataFrame({header[letters]: column for letters, column in cells.items()}, dtype=str)


def _as_text(column: pd.Series) -> pd.Series:
    """Texts without white space around them; whole numbers as digits, missing values empty."""
    return column.astype("string").fillna("").str.strip().str.replace(r"\.0$", "", regex=True)


def _purchases(frame: pd.DataFrame, left_out: Counter[str]) -> pd.DataFrame:
    reasons = {
        "cancelled": frame["InvoiceNo"].str.upper().str.startswith("C"),
        "without_customer": frame["CustomerID"] == "",
        "not_products": ~frame["StockCode"].str.fullmatch(PRODUCT),
    }
    kept = pd.Series(True, index=frame.index)
    for reason, rows in reasons.items():
        left_out[reason] = int((kept & rows).sum())
        kept &= ~rows
    return frame[kept]


def item_names(codes: pd.Series, descriptions: pd.Series) -> pd.Series:
    """One name per code, and no name for two codes.

    Parameters
    ----------
    codes, descriptions : Series of text, one value per row
    """
    plain = descriptions.str.replace(r"\s+", " ", regex=True).str.strip()
    counted = pd.DataFrame({"code": codes, "name": plain}).value_counts().rename("n").reset_index()
    counted["empty"] = counted["name"] == ""
    order = ["empty", "n", "name"]
    counted = counted.sort_values(order, ascending=[True, False, True]).drop_duplicates("code")
    names = counted["name"].where(~counted["empty"], counted["code"])
    shared = names.duplicated(keep=False)
    names = names.where(~shared, names + " (" + counted["code"] + ")")
    return codes.map(dict(zip(counted["code"], names, strict=True)))


def _times(column: pd.Series, path: Path) -> pd.Series:
    """Times of invoices, from whatever form a copy has them in."""
    if pd.api.types.is_datetime64_any_dtype(column):
        return column
    days = pd.to_numeric(column, errors="coerce")
    if days.notna().all():
        return pd.to_datetime(days, unit="D", origin=FIRST_DAY).dt.round("s")
    wrong = column
    for form in TIME_FORMATS:
        times = pd.to_datetime(column, format=form, errors="coerce")
        if times.notna().all():
            return times
        wrong = min(wrong, column[times.isna()], key=len)
    raise InputError(
        f"{path}: InvoiceDate is {wrong.iloc[0]!r}: give times such as 2010-12-01T08:26 or "
        "12/1/2010 8:26, month first, all in one form"
    )
