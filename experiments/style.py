"""The look of all figures: colours, line styles, numbers on axes, ticks, legends."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, NullLocator

from experiments.report.tables import model_label

# Okabe and Ito's colours, which people with any kind of colour vision tell apart.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
PALE_BLUE, GREY, INK = "#A9C4DA", "#6B7280", "#111827"
# Six colours times four kinds of line: enough for 24 models that one can tell apart.
DASHES = ("-", "--", ":", "-.")
MARKERS = ("o", "s", "^", "D")

STYLE: dict[str, Any] = {
    "figure.dpi": 110,
    "figure.constrained_layout.use": True,
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": GREY,
    "axes.labelcolor": GREY,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#E5E7EB",
    "grid.linewidth": 0.8,
    "lines.linewidth": 2.0,
}

# Seconds as people count them.
CLOCK: dict[float, str] = {
    **{n: f"{n:g} s" for n in (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30)},
    **{60 * n: f"{n} min" for n in (1, 2, 5, 10, 20, 30)},
    **{3600 * n: f"{n} h" for n in (1, 2, 5, 10)},
    **{86400 * n: f"{n} d" for n in (1, 2, 4, 10, 20, 40)},
}
MOST_FOR_1_2_5 = 1000  # highest over lowest end of an axis


@contextmanager
def style() -> Iterator[None]:
    """The look of all figures, as a context: ``with style(): ...``."""
    # Not mpl.rc_context: a notebook turns interactive on when the first figure is made, and the
    # context would turn it off again, so that later figures were never shown.
    settings: dict[Any, Any] = mpl.rcParams
    before = {name: settings[name] for name in STYLE}
    settings.update(STYLE)
    try:
        yield
    finally:
        settings.update(before)


def short(value: float, _: Any = None) -> str:
    """1,500 as 1,500 and 1,500,000 as 1.5M: numbers on an axis."""
    text = f"{value:,.6g}"
    for size, unit in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= max(size, 1e4):
            text = f"{value / size:.6g}{unit}"
            break
    return text.replace("-", "−")


SHORT = FuncFormatter(short)


@contextmanager
def drawing(
    ax: Axes | None, size: tuple[float, float], title: str, x: str, y: str = ""
) -> Iterator[Axes]:
    """In our style, the Axes given or those of a new figure of this size in inches, described."""
    with style():
        ax = plt.subplots(figsize=size)[1] if ax is None else ax
        ax.set(title=title, xlabel=x, ylabel=y)
        yield ax


def line_styles(n: int) -> list[tuple[dict[str, Any], str]]:
    """Colour, kind of line and marker of n models: where colours repeat, the others change."""
    turns = [(i % len(COLOURS), i // len(COLOURS) % len(DASHES)) for i in range(n)]
    return [({"color": COLOURS[c], "ls": DASHES[turn]}, MARKERS[turn]) for c, turn in turns]


def legend(ax: Axes, ends: Mapping[str, tuple[Any, float]]) -> None:
    """Name the lines right of the Axes, in the order of the heights at which they end."""
    order = sorted(ends, key=lambda name: ends[name][1], reverse=True)
    ax.legend(
        [ends[name][0] for name in order], [model_label(name) for name in order],
        loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, handlelength=2.6,
    )  # fmt: skip


def curve_size(lines: Mapping[str, Any]) -> tuple[float, float]:
    """Width and height in inches of a figure with these lines and a legend beside it."""
    longest = max(len(model_label(name)) for name in lines)
    return 6.0 + 0.08 * longest, max(3.6, 1 + 0.24 * len(lines))


def widen(ax: Axes) -> None:
    """Give a logarithmic axis some width where all lies at one place."""
    low, high = ax.get_xlim()
    if high < 1.3 * low:
        ax.set_xlim(low / 2, 2 * high)


def log_ticks(ax: Axes, ticks: Mapping[float, str]) -> None:
    """Ticks on the logarithmic x axis, as many of those given as can be read."""
    figure = ax.get_figure(root=True)
    assert figure is not None
    figure.draw_without_rendering()  # only after its layout are places what they will be
    kept: list[float] = []
    limit = np.inf
    for place in sorted(ticks, reverse=True):
        # About six points per character, and as much again between two texts.
        half = 3.0 * (len(ticks[place]) + 1)
        middle = ax.transData.transform((place, ax.get_ylim()[0]))[0] * 72 / figure.dpi
        if middle + half <= limit:
            kept.insert(0, place)
            limit = middle - half
    ax.set_xticks(kept, [ticks[place] for place in kept])
    ax.xaxis.set_minor_locator(NullLocator())


def log_numbers(ax: Axes) -> None:
    """Ticks on the logarithmic x axis at 1, 2 and 5 times powers of ten, in plain numbers.

    Where that would be too many only powers of ten have one.
    """
    low, high = sorted(ax.get_xlim())
    digits = (1, 2, 5) if high / low < MOST_FOR_1_2_5 else (1,)
    powers = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
    places = [digit * 10.0**power for power in powers for digit in digits]
    log_ticks(ax, {place: short(place) for place in places if low <= place <= high})
