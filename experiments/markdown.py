"""Numbers and tables as Markdown."""

import math
from collections.abc import Iterable, Sequence
from typing import Any


def shown(measure: dict[str, Any]) -> str:
    """A measure as text: mean ± spread (seeds); one seed, or the same value for all, has none."""
    value, spread, n = float(measure["value"]), float(measure["spread"]), measure["n_seeds"]
    decimals = 0
    if abs(value) < 100 and not (spread == 0 and value.is_integer()):
        # Two digits of the spread, or three of the value.
        scale = math.floor(math.log10(spread or abs(value) / 10))
        decimals = min(6, max(0, 1 - scale))
    mean = f"{value:.{decimals}f}" if abs(value) < 10_000 else f"{value:,.0f}"
    if n == 1:
        return f"{mean} (1 seed)"
    return (
        f"{mean} ± {spread:.{decimals}f} ({n} seeds)" if spread else f"{mean} (the same, {n} seeds)"
    )


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table whose columns are aligned, so that it reads well as plain text too."""
    cells = [[" ".join(str(x).split()).replace("|", "\\|") for x in row] for row in (header, *rows)]
    widths = [max(3, *(len(row[i]) for row in cells)) for i in range(len(header))]
    cells.insert(1, ["-" * width for width in widths])
    lines = (" | ".join(map(str.ljust, row, widths)) for row in cells)
    return "\n".join(f"| {line} |" for line in lines)


def duration(seconds: float) -> str:
    """Hours and minutes, minutes and seconds, or seconds."""
    minutes, rest = divmod(round(seconds), 60)
    if minutes >= 60:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{minutes} min {rest} s" if minutes else f"{seconds:.1f} s"


def size(n_bytes: int) -> str:
    """Bytes in GB."""
    return f"{n_bytes / 1e9:.2f} GB"


def number(value: object) -> object:
    """A float with three digits; anything else as it is."""
    return f"{value:.3g}" if isinstance(value, float) else value
