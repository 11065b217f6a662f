"""Figures that set many models side by side: size, topics, time, parts taken away, documents.

As in `lla.figures`: one function a figure, nothing is saved, shown or closed here.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator
from scipy.optimize import isotonic_regression

from experiments.figures import (
    COLOURS,
    GREY,
    LABEL_HEIGHT,
    PAPER,
    Measured,
    axes_or_new,
    describe,
    short,
    style,
)

# Six colours times four kinds of line: enough for 24 models that one can tell apart.
DASHES = ("-", "--", ":", "-.")


MARKERS = ("o", "s", "^", "D")


WIDE = 10  # times the lowest: from there on the highest would leave the others no room


CLOCK = {
    **{n: f"{n:g} s" for n in (0.01, 0.1, 1, 10)},
    **{60 * n: f"{n} min" for n in (1, 10)},
    **{3600 * n: f"{n} h" for n in (1, 10)},
    **{86400 * n: f"{n} d" for n in (4, 40)},
}


FINE_CLOCK = {
    **{n: f"{n:g} s" for n in (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30)},
    **{60 * n: f"{n} min" for n in (1, 2, 5, 10, 20, 30)},
    **{3600 * n: f"{n} h" for n in (1, 2, 5, 10)},
    **{86400 * n: f"{n} d" for n in (1, 2, 4, 10, 20, 40)},
}


class _End(NamedTuple):
    """Where a line ends, and how it looks."""

    name: str
    look: dict[str, Any]
    x: float
    y: float


def accuracy_vs_size(
    models: Mapping[str, Mapping[str, Any]],
    axes: Sequence[Axes] | None = None,
    paper_order: Sequence[str] | None = None,
) -> np.ndarray:
    """Perplexity and number of parameters of each model: the paper's Figures 1 and 4.

    Models are rows, so that long names are read without turning the head. A curve with error bars
    is the perplexity, left, on a logarithmic axis where the lowest would be lost beside the
    highest; bars on a logarithmic axis are the sizes, right. Such an axis has no zero: bars start
    at a power of ten below the smallest, and only their ends mean something.

    Parameters
    ----------
    models : name -> {"perplexity": (value, spread over seeds), "parameters": count}
        Drawn from top to bottom in this order. The lowest perplexity is printed bold.
    axes : two Axes, left and right, with rows shared or not
    paper_order : names in the order of the paper's figure
        These come first; the other models follow as given. Names without a model are passed over.

    Returns
    -------
    ndarray of two Axes
    """
    first = [name for name in paper_order or () if name in models]
    names = [*first, *(name for name in models if name not in first)]
    rows = np.arange(len(names))
    with style():
        if axes is None:
            size = (9.5, 1.1 + 0.3 * len(names))
            axes = plt.subplots(1, 2, figsize=size, width_ratios=(4, 3))[1]
        axes = np.asarray(axes)
        _perplexity_rows(axes[0], [models[name]["perplexity"] for name in names])
        _size_rows(axes[1], np.array([models[name]["parameters"] for name in names], dtype=float))
        for ax in axes:
            ax.grid(axis="y", visible=False)
            ax.tick_params(axis="y", length=0)
            ax.set_ylim(len(names) - 0.5, -0.5)
        axes[0].set_yticks(rows, names, color=PAPER)
        axes[1].set_yticks(rows, [""] * len(names))
    return axes


def _perplexity_rows(ax: Axes, measures: Sequence[Measured]) -> None:
    values, spreads = np.array(measures, dtype=float).reshape(-1, 2).T
    wide = values.max() > WIDE * values.min()
    describe(
        ax, "Perplexity (lower is better)", "perplexity, logarithmic" if wide else "perplexity"
    )
    rows, best = np.arange(len(values)), int(np.argmin(values))
    ax.errorbar(
        values, rows, xerr=spreads, color=COLOURS[0], lw=1.2, marker="o", ms=6, capsize=3
    )  # fmt: skip
    if wide:
        ax.set_xscale("log")
        ax.set_xlim(values.min() / 1.5, values.max() * 1.5)
        ax.xaxis.set_minor_locator(NullLocator())
    ticks = LogLocator(numticks=6) if wide else MaxNLocator(5, steps=[1, 2, 5, 10])
    ax.xaxis.set_major_locator(ticks)
    ax.xaxis.set_major_formatter(FuncFormatter(short))
    decimals = _decimals(values)
    _right_column(
        ax,
        [f"{v:,.{decimals}f} ± {s:,.{decimals}f}" for v, s in zip(values, spreads, strict=True)],
        ["bold" if row == best else "normal" for row in rows],
    )


def _size_rows(ax: Axes, sizes: np.ndarray) -> None:
    describe(ax, "Model size", "parameters, logarithmic")
    ax.set_xscale("log")
    ax.barh(np.arange(len(sizes)), sizes, 0.62, color="#A9C4DA")
    # Whole powers of ten, so that even sizes close together have two ticks to be read by.
    ax.set_xlim(10 ** (np.ceil(np.log10(sizes.min())) - 1), 10 ** np.ceil(np.log10(sizes.max())))
    ax.xaxis.set_major_locator(LogLocator(numticks=6))
    ax.xaxis.set_major_formatter(FuncFormatter(short))
    ax.xaxis.set_minor_locator(NullLocator())
    for row, size in enumerate(sizes):
        ax.annotate(
            short(float(f"{size:.3g}")), (size, row), (5, 0), textcoords="offset points",
            va="center", annotation_clip=False,
        )  # fmt: skip


def topics_sweep(curves: Mapping[str, Mapping[int, Measured]], ax: Axes | None = None) -> Axes:
    """Perplexity against the number of topics K, as in the paper's Figure 5.

    Parameters
    ----------
    curves : model -> {K: (value, spread over seeds)}; models need not share their K
    """
    with style():
        ax = axes_or_new(ax, _size(curves))
        describe(ax, "Perplexity by number of topics", "topics K", "perplexity")
        ax.set_xscale("log", base=2)
        _measured_curves(ax, curves)
    return ax


def learning_curve(curves: Mapping[str, Mapping[int, Measured]], ax: Axes | None = None) -> Axes:
    """Perplexity against the number of training documents.

    Parameters
    ----------
    curves : model -> {documents: (value, spread over seeds)}; models need not share their sizes
    """
    with style():
        ax = axes_or_new(ax, _size(curves))
        describe(ax, "Perplexity by size of the corpus", "documents", "perplexity")
        ax.set_xscale("log")
        _measured_curves(ax, curves)
    return ax


def _measured_curves(ax: Axes, curves: Mapping[str, Mapping[int, Measured]]) -> None:
    """A line with error bars for each model, ticks where something was measured."""
    ends = []
    for (name, points), (look, marker) in zip(curves.items(), _looks(len(curves)), strict=True):
        x = sorted(points)
        values, spreads = np.array([points[n] for n in x], dtype=float).reshape(-1, 2).T
        ax.errorbar(x, values, yerr=spreads, marker=marker, ms=5, capsize=3, lw=1.6, **look)
        ends.append(_End(name, look, x[-1], values[-1]))
    ax.yaxis.set_major_formatter(FuncFormatter(short))
    _name_ends(ax, ends)
    _log_ticks(ax, {n: short(n) for points in curves.values() for n in points})


def convergence(
    runs: Mapping[str, Sequence[Sequence[Mapping[str, float]]]],
    ax: Axes | None = None,
    best: bool = True,
) -> Axes:
    """Perplexity on the development part against training time, as in the paper's Figure 8.

    A thin line is a seed. The thick line has one point for each iteration that all seeds reached:
    the mean of their perplexities at the mean of their times. No value between iterations, where
    there is no model, is made up. Only what the rows count is time: not the set-up before them.

    Parameters
    ----------
    runs : model -> one history a seed
        Rows with ``seconds`` (of that iteration alone) and ``development_perplexity``.
    best : mark with a dot where each seed's perplexity is lowest, the model that is kept
    """
    with style():
        ax = axes_or_new(ax, _size(runs))
        describe(ax, "Perplexity, development part", "training time, logarithmic", "perplexity")
        ax.set_xscale("log")
        ends = []
        for (name, histories), (look, marker) in zip(runs.items(), _looks(len(runs)), strict=True):
            seeds = [_time_and_perplexity(history) for history in histories]
            for seed in seeds:
                ax.plot(*seed, lw=0.8, alpha=0.5, **look)
                if best:
                    lowest = seed[:, np.argmin(seed[1])]
                    ax.plot(
                        *lowest, marker, color=look["color"], ms=6, mec="white", zorder=4
                    )  # fmt: skip
            common = min(seed.shape[1] for seed in seeds)
            mean = np.mean([seed[:, :common] for seed in seeds], axis=0)
            ax.plot(*mean, lw=2.2, zorder=3, **look)
            ends.append(_End(name, look, *mean[:, -1]))
        ax.yaxis.set_major_formatter(FuncFormatter(short))
        _name_ends(ax, ends)
        _log_ticks(ax, _clock(*ax.get_xlim()))
    return ax


def _time_and_perplexity(history: Sequence[Mapping[str, float]]) -> np.ndarray:
    """(2, iterations): seconds since the start, and development perplexity."""
    seconds = np.cumsum([row["seconds"] for row in history])
    return np.array([seconds, [row["development_perplexity"] for row in history]])


def _clock(low: float, high: float) -> dict[float, str]:
    """Seconds, minutes, hours, days as people count them; finer for a short stretch of time."""
    for clock in (CLOCK, FINE_CLOCK):
        within = {second: text for second, text in clock.items() if low <= second <= high}
        if len(within) > 2:
            return within
    return within or {low: f"{low:.2g} s", high: f"{high:.2g} s"}


def ablation_effects(effects: Mapping[str, Measured], ax: Axes | None = None) -> Axes:
    """What each change does to the perplexity, in percent of the unchanged model's.

    Rows are sorted, the change that hurts most on top; worse lies right of zero. Vermilion is
    worse, blue is better, grey is a change whose bar includes zero.

    Parameters
    ----------
    effects : change -> (relative change of perplexity in percent, spread), in any order
    """
    names = sorted(effects, key=lambda name: effects[name][0], reverse=True)
    with style():
        ax = axes_or_new(ax, (8, 1.0 + 0.27 * len(effects)))
        describe(ax, "Change of perplexity (%)", "← better      worse →")
        ax.grid(axis="y", visible=False)
        ax.axvline(0, color=PAPER, lw=1)
        values, spreads = np.array([effects[name] for name in names], dtype=float).reshape(-1, 2).T
        for row, (value, spread) in enumerate(zip(values, spreads, strict=True)):
            clear = abs(value) > spread
            colour = (COLOURS[1] if value > 0 else COLOURS[0]) if clear else GREY
            ax.errorbar(value, row, xerr=spread, color=colour, marker="o", ms=6, capsize=3, lw=1.5)
        ax.set_yticks(range(len(names)), names, color=PAPER)
        ax.set_ylim(len(names) - 0.5, -0.5)
        ax.tick_params(axis="y", length=0)
        # The words stand on either side of zero, wherever that is.
        ax.xaxis.label.set_x(ax.transLimits.transform((0, 0))[0])
        signed = [f"{v:+.1f} ± {s:.1f}" for v, s in zip(values, spreads, strict=True)]
        _right_column(ax, [text.replace("-", "−") for text in signed])
    return ax


def _size(lines: Mapping[str, Any]) -> tuple[float, float]:
    """Width and height in inches that leave room to name these lines at their ends."""
    return 6.0 + 0.08 * max(map(len, lines)), max(3.6, 1.2 + 0.2 * len(lines))


def _looks(n: int) -> list[tuple[dict[str, Any], str]]:
    """Colour, kind of line and marker of n models: where colours repeat, the others change."""
    looks = []
    for i in range(n):
        turn = i // len(COLOURS) % len(DASHES)
        looks.append(({"color": COLOURS[i % len(COLOURS)], "ls": DASHES[turn]}, MARKERS[turn]))
    return looks


def _decimals(values: np.ndarray) -> int:
    """Decimals of printed perplexities: none from 100 on, else as many as show a difference."""
    return int(np.clip(2 - np.floor(np.log10(np.abs(values).min())), 0, 2))


def _log_ticks(ax: Axes, ticks: Mapping[float, str]) -> None:
    """Ticks on the logarithmic x axis, as many of those given as there is room for."""
    points = 72 / _laid_out(ax).dpi
    kept: list[float] = []
    room = np.inf
    for place in sorted(ticks, reverse=True):
        # About six points a character, and as much again between two texts.
        half = 3.0 * (len(ticks[place]) + 1)
        middle = ax.transData.transform((place, ax.get_ylim()[0]))[0] * points
        if middle + half <= room:
            kept.append(place)
            room = middle - half
    kept.reverse()
    ax.set_xticks(kept, [ticks[place] for place in kept])
    ax.xaxis.set_minor_locator(NullLocator())


def _laid_out(ax: Axes) -> Figure:
    """The figure, after its layout: only then are places in points what they will be."""
    figure = ax.get_figure(root=True)
    figure.draw_without_rendering()
    return figure


def _right_column(ax: Axes, texts: Sequence[str], weights: Sequence[str] | None = None) -> None:
    """One text a row, right of the Axes, where no curve or bar can run through it."""
    for row, text in enumerate(texts):
        ax.annotate(
            text, (1, row), (8, 0), xycoords=ax.get_yaxis_transform(), textcoords="offset points",
            va="center", annotation_clip=False, fontweight=weights[row] if weights else "normal",
        )  # fmt: skip


def _name_ends(ax: Axes, ends: Sequence[_End]) -> None:
    """Name each line right of the Axes, tied to its end by a piece of that line."""
    low, right = ax.get_xlim()
    if right < 1.1 * low:  # All at one place: an axis needs some width.
        low, right = low / 2, 2 * right
    points = 72 / _laid_out(ax).dpi
    ends = sorted(ends, key=lambda end: end.y)
    box = ax.get_window_extent()
    natural = [(ax.transData.transform((e.x, e.y))[1] - box.y0) * points for e in ends]
    moved = _spread(np.array(natural), box.height * points)
    for end, offset in zip(ends, moved - natural, strict=True):
        colour, dashes = end.look["color"], end.look["ls"]
        ax.hlines(end.y, end.x, right, color=colour, lw=0.7, ls=(0, (1, 3)), alpha=0.8)
        ax.annotate(
            end.name, (1, end.y), (28, offset), xycoords=ax.get_yaxis_transform(),
            textcoords="offset points", color=colour, va="center", annotation_clip=False,
            arrowprops={
                "arrowstyle": "-", "color": colour, "ls": dashes, "lw": 1.6,
                "shrinkA": 1, "shrinkB": 1, "relpos": (0, 0.5),
            },
        )  # fmt: skip
    ax.set_xlim(low, right)


def _spread(heights: np.ndarray, top: float) -> np.ndarray:
    """Ascending heights moved apart as little as possible (least squares), within 0 and top."""
    steps = LABEL_HEIGHT * np.arange(len(heights))
    ascending = isotonic_regression(heights - steps).x
    return steps + np.clip(ascending, 0, max(0.0, top - steps[-1]))
