"""Times as sortable keys: numbers, ISO 8601, a custom format, typed columns."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from lla.common.errors import InputError

NUMBERS, TIMES, ZONED = "a number", "a time without a zone", "a time with a zone"
INTEGER = r"^-?[0-9]{1,19}$"
ARROW = {TIMES: pa.timestamp("ns"), ZONED: pa.timestamp("ns", "UTC")}
NOT_A_TIME = (
    "is neither a number nor ISO 8601 of the years 1678 to 2261 (2024-01-31T18:05:00); fix it, "
    "choose another column with --time, or give its format with --time-format"
)


class TimeParser:
    """Converts columns of times, all of the same kind as the first value, to keys.

    Parameters
    ----------
    form : str, optional
        Format of the times, in the notation of Python's `strptime`; UTC where it has no zone.

    Notes
    -----
    A key is a pair (integer int64, fraction float64 in (-1, 1)): integers keep all their digits, so
    that nanoseconds since 1970 remain distinct, and fractions of a second count too.
    """

    def __init__(self, form: str | None = None) -> None:
        self._form = form
        self._kind, self._first = "", ""

    def keys(self, column: pa.Array, place: Callable[[int], str]) -> tuple[np.ndarray, np.ndarray]:
        """Integer and fraction of the key of each time, (n,) each.

        Parameters
        ----------
        column : Arrow array without nulls
            Text without white space around it, numbers, dates or timestamps.
        place : callable
            File and row of the i-th value, for the error message.
        """
        if not len(column):
            return np.empty(0, np.int64), np.empty(0)
        if self._form is not None:
            return self._formatted(column, place)
        kind, column = _kind_of_type(column, place)
        if not self._kind:
            self._kind = kind or _kind_of(column[0])
            self._first = f"{place(0)}: {column[0].as_py()!s}"
            if not self._kind:
                raise self._mixed(column[0], "", place(0))
        if kind not in ("", self._kind):
            raise self._mixed(column[0], kind, place(0))
        try:
            return _numbers(column) if self._kind == NUMBERS else _instants(column, self._kind)
        except (pa.ArrowInvalid, OverflowError):
            raise self._fault(column, place) from None

    def _formatted(self, column: pa.Array, place: Callable) -> tuple[np.ndarray, np.ndarray]:
        texts = _kind_of_type(column, place)[1].cast(pa.string()).to_pylist()
        try:
            times = pd.to_datetime(pd.Series(texts), format=self._form, utc=True, errors="coerce")
        except ValueError as error:
            raise InputError(
                f"--time-format is {self._form!r}: {error}; give one as strptime takes it, such as "
                "%Y-%m-%d"
            ) from None
        if (bad := times.isna().to_numpy()).any():
            i = int(np.argmax(bad))
            raise InputError(
                f"{place(i)}: time {texts[i]!r} does not match --time-format {self._form!r}; "
                "fix one of the two"
            )
        # Whole microseconds, which reach all years, and what is left of a nanosecond's digits.
        microseconds = times.dt.as_unit("us").astype(np.int64).to_numpy()
        return microseconds, times.dt.nanosecond.to_numpy() / 1000

    def _fault(self, column: pa.Array, place: Callable) -> InputError:
        """The error for the first value of another kind than the very first."""
        for i, value in enumerate(column):
            kind = _kind_of(value)
            if kind != self._kind:
                return self._mixed(value, kind, place(i))
        raise AssertionError("each value can be converted by itself")

    def _mixed(self, value: pa.Scalar, kind: str, where: str) -> InputError:
        if not kind:
            return InputError(f"{where}: time {str(value.as_py())!r} {NOT_A_TIME}")
        return InputError(
            f"{where}: time {str(value.as_py())!r} is {kind}, the first ({self._first}) is "
            f"{self._kind}; use one format for all"
        )


def _kind_of_type(column: pa.Array, place: Callable) -> tuple[str, pa.Array]:
    """The kind of a column by its type, empty for text; and the column ready for conversion."""
    kind = column.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return "", column.cast(pa.large_string())
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return NUMBERS, column
    if pa.types.is_date(kind):
        return TIMES, column
    if pa.types.is_timestamp(kind):
        return (ZONED if kind.tz else TIMES), column
    raise InputError(
        f"{place(0)}: its time has type {kind}; give text, numbers, dates or timestamps"
    )


def _kind_of(value: pa.Scalar) -> str:
    """The kind of a single value; empty if it is no time."""
    one = pa.array([value.as_py()], value.type)
    for kind in (NUMBERS, TIMES, ZONED):
        try:
            _numbers(one) if kind == NUMBERS else _instants(one, kind)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OverflowError):
            continue
        return kind
    return ""


def _numbers(column: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    if pa.types.is_large_string(column.type):
        integers = _integers(column)
        if integers is not None:
            return integers, np.zeros(len(column))
        is_integer = pc.match_substring_regex(column, INTEGER)
        integer = (
            pc.if_else(is_integer, column, "0").cast(pa.int64()).to_numpy(zero_copy_only=False)
        )
        floats = pc.if_else(is_integer, "0", column).cast(pa.float64())
        rounded, fraction = _truncate(floats.to_numpy(zero_copy_only=False))
        return integer + rounded, fraction
    if pa.types.is_integer(column.type):
        return column.cast(pa.int64()).to_numpy(zero_copy_only=False), np.zeros(len(column))
    if pa.types.is_decimal(column.type):
        # A float has not all digits of nanoseconds since 1970.
        whole = pc.trunc(column)
        fraction = pc.subtract(column, whole).cast(pa.float64())
        return whole.cast(pa.int64()).to_numpy(), fraction.to_numpy()
    return _truncate(column.cast(pa.float64()).to_numpy(zero_copy_only=False))


def _integers(column: pa.Array) -> np.ndarray | None:
    """Texts that are all integers as numbers, None if any may be something else."""
    buffer = column.buffers()[2]
    text = buffer.to_pybytes() if buffer else b""
    # Arrow's cast also accepts hexadecimal numbers.
    if b"x" in text or b"X" in text:
        return None
    try:
        return column.cast(pa.int64()).to_numpy(zero_copy_only=False)
    except pa.ArrowInvalid:
        return None


def _truncate(numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    # NaN and infinity fail this too.
    if not (np.abs(numbers) < 2.0**63).all():
        raise OverflowError
    # Rounding towards zero leaves an exact remainder, also just below zero.
    integer = np.trunc(numbers)
    return integer.astype(np.int64), numbers - integer


def _instants(column: pa.Array, kind: str) -> tuple[np.ndarray, np.ndarray]:
    nanoseconds = column.cast(ARROW[kind]).cast(pa.int64())
    return nanoseconds.to_numpy(zero_copy_only=False), np.zeros(len(column))
