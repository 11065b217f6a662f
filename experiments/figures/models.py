"""Models beside one another: perplexity, sizes, effects and ranks."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

from experiments.figures.curves import Measured, values_and_spreads
from experiments.report.tables import model_label
from experiments.results import format_measure
from experiments.style import (
    COLOURS,
    GREY,
    INK,
    PALE_BLUE,
    SHORT,
    drawing,
    log_numbers,
    short,
    style,
)

LOG_AXIS_RATIO = 10  # highest over lowest: from there on a linear axis would squeeze the others
PERPLEXITY = "Perplexity (lower is better)"


def model_rows(ax: Axes, names: Sequence[str]) -> np.ndarray:
    """Name the rows, the first on top; returns their heights."""
    rows = np.arange(len(names))
    ax.grid(axis="y", visible=False)
    ax.set_yticks(rows, [model_label(name) for name in names], color=INK)
    ax.tick_params(axis="y", length=0)
    ax.set_ylim(len(names) - 0.5, -0.5)
    return rows


def right_column(ax: Axes, texts: Sequence[str], bold: int = -1) -> None:
    """One text per row, right of the Axes, where no bar can run through it."""
    for row, text in enumerate(texts):
        ax.annotate(
            text, (1, row), (8, 0), xycoords=ax.get_yaxis_transform(), textcoords="offset points",
            va="center", annotation_clip=False, fontweight="bold" if row == bold else "normal",
        )  # fmt: skip


def measured_texts(values: np.ndarray, spreads: np.ndarray) -> list[str]:
    """Values with their spreads as texts; of a small spread one digit, so that columns are even."""
    texts = []
    for value, spread in zip(values, spreads, strict=True):
        text = format_measure({"value": value, "spread": spread})
        if spread and len(text.partition("± ")[2].partition(".")[2]) > 3:
            decimals = max(3, -math.floor(math.log10(spread)))
            text = f"{value:,.{decimals}f} ± {spread:.{decimals}f}"
        texts.append(text.replace("-", "−"))
    return texts


def table4_bars(
    measures: Mapping[str, Measured],
    paper: Mapping[str, float] | None = None,
    ax: Axes | None = None,
    title: str = PERPLEXITY,
) -> Axes:
    """Perplexity of each model as a bar with its spread; the paper's value as a diamond.

    Parameters
    ----------
    measures : model -> (value, spread over seeds), drawn from top to bottom
    paper : model -> the value the paper prints, for the models that have one
    """
    paper = {model: value for model, value in (paper or {}).items() if model in measures}
    with drawing(ax, (8, 0.9 + 0.45 * len(measures)), title, "perplexity") as ax:
        rows = model_rows(ax, list(measures))
        values, spreads = values_and_spreads(list(measures.values()))
        best = np.argmin(values)
        ax.barh(rows, values, 0.62, color=[COLOURS[0] if r == best else PALE_BLUE for r in rows])
        ax.errorbar(values, rows, xerr=spreads, fmt="none", ecolor=INK, elinewidth=1.2, capsize=3)
        ax.set_xlim(0, 1.25 * max(*(values + spreads), *paper.values(), 0.0))
        ax.xaxis.set_major_formatter(SHORT)
        for row, (model, text) in enumerate(
            zip(measures, measured_texts(values, spreads), strict=True)
        ):
            right = values[row] + spreads[row]
            if (printed := paper.get(model)) is not None:
                ax.plot(printed, row, "D", mec=COLOURS[1], mfc="none", mew=1.8, ms=8, zorder=4)
                text, right = f"{text}   (paper {printed:,.0f})", max(right, printed)
            ax.annotate(text, (right, row), (9, 0), textcoords="offset points", va="center")
    return ax


def accuracy_vs_size(models: Mapping[str, Mapping[str, Any]]) -> np.ndarray:
    """Perplexity and number of parameters of each model: the paper's Figures 1 and 4.

    Models are rows. Points with error bars are perplexities, on a logarithmic axis where the
    lowest would be lost beside the highest; no line joins them, for the models have no order.
    Bars on a logarithmic axis are the sizes; they start at a power of ten below the smallest.

    Parameters
    ----------
    models : model -> {"perplexity": (value, spread over seeds), "parameters": count}
        Drawn from top to bottom in this order. The lowest perplexity is printed bold.

    Returns
    -------
    ndarray of two Axes
    """
    with style():
        size = (9.5, 1.1 + 0.3 * len(models))
        axes = plt.subplots(1, 2, figsize=size, width_ratios=(4, 3))[1]
        for ax in axes:
            model_rows(ax, list(models))
        axes[1].set_yticks(range(len(models)), [""] * len(models))
        perplexities = [model["perplexity"] for model in models.values()]
        _perplexity_points(axes[0], values_and_spreads(perplexities))
        sizes = [float(model["parameters"]) for model in models.values()]
        _size_bars(axes[1], np.array(sizes))
        if axes[0].get_xscale() == "log":
            log_numbers(axes[0])  # once the layout is known
    return axes


def _perplexity_points(ax: Axes, measures: np.ndarray) -> None:
    values, spreads = measures
    wide = values.max() > LOG_AXIS_RATIO * values.min()
    ax.set(title=PERPLEXITY, xlabel="perplexity, logarithmic" if wide else "perplexity")
    ax.errorbar(
        values, np.arange(len(values)), xerr=spreads, color=COLOURS[0], fmt="o", ms=6, capsize=3,
        lw=1.2,
    )  # fmt: skip
    if wide:
        ax.set_xscale("log")
        ax.set_xlim(values.min() / 1.5, values.max() * 1.5)
    else:
        ax.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
        ax.xaxis.set_major_formatter(SHORT)
    right_column(ax, measured_texts(values, spreads), bold=int(np.argmin(values)))


def _size_bars(ax: Axes, sizes: np.ndarray) -> None:
    ax.set(title="Model size", xlabel="parameters, logarithmic")
    ax.set_xscale("log")
    ax.barh(np.arange(len(sizes)), sizes, 0.62, color=PALE_BLUE)
    # Whole powers of ten, so that even sizes close together have two ticks to be read by.
    ax.set_xlim(10 ** (np.ceil(np.log10(sizes.min())) - 1), 10 ** np.ceil(np.log10(sizes.max())))
    ax.xaxis.set_major_locator(LogLocator(numticks=6))
    ax.xaxis.set_major_formatter(SHORT)
    ax.xaxis.set_minor_locator(NullLocator())
    right_column(ax, [short(float(f"{size:.3g}")) for size in sizes])


def ablation_effects(effects: Mapping[str, Measured], ax: Axes | None = None) -> Axes:
    """What each change does to the perplexity, in percent of the unchanged model's.

    Rows are sorted, the change that hurts most on top; worse lies right of zero. Vermilion is
    worse, blue is better, grey is a change whose bar, a standard deviation each way, includes zero.

    Parameters
    ----------
    effects : change -> (relative change of perplexity in percent, spread), in any order
    """
    names = sorted(effects, key=lambda name: effects[name][0], reverse=True)
    title = "Change of perplexity (%), mean ± standard deviation"
    with drawing(ax, (8, 1.0 + 0.27 * len(effects)), title, "← better      worse →") as ax:
        model_rows(ax, names)
        ax.axvline(0, color=INK, lw=1)
        values, spreads = values_and_spreads([effects[name] for name in names])
        for row, (value, spread) in enumerate(zip(values, spreads, strict=True)):
            clear = abs(value) > spread
            colour = (COLOURS[1] if value > 0 else COLOURS[0]) if clear else GREY
            ax.errorbar(value, row, xerr=spread, color=colour, marker="o", ms=6, capsize=3, lw=1.5)
        # The words stand on either side of zero, wherever that is.
        low, high = ax.get_xlim()
        ax.xaxis.label.set_x(-low / (high - low))
        signed = [f"{v:+.1f} ± {s:.1f}" for v, s in zip(values, spreads, strict=True)]
        right_column(ax, [text.replace("-", "−") for text in signed])
    return ax


def ranking_bars(
    models: Mapping[str, Mapping[str, Measured]], metric: str, ax: Axes | None = None
) -> Axes:
    """A ranking metric of each model over all events, and over repeats and novel items.

    Parameters
    ----------
    models : model -> {"all", "repeats", "novel": (value, spread over seeds)}; a part that has no
        events is missing
    metric : its name, for the axis; for the title a comma and the data set may follow

    Returns
    -------
    Axes
        Models from the best over all events on top; bars are all events, marks their parts.
    """
    order = sorted(models, key=lambda name: models[name]["all"][0], reverse=True)
    metric = metric.replace("ndcg", "NDCG").replace("mrr", "MRR").replace("recall", "Recall")
    name, title = metric.split(",")[0], f"{metric} (higher is better)"
    with drawing(ax, (7.5, 1.2 + 0.3 * len(order)), title, name) as ax:
        rows = model_rows(ax, order)
        values, spreads = values_and_spreads([models[name]["all"] for name in order])
        error = {"ecolor": GREY, "capsize": 2}
        ax.barh(rows, values, 0.6, xerr=spreads, color=PALE_BLUE, error_kw=error, label="all")
        for part, colour, marker in zip(("repeats", "novel"), COLOURS[:2], "oD", strict=True):
            points = [(r, models[n][part][0]) for r, n in enumerate(order) if part in models[n]]
            if points:
                y, x = np.array(points).T
                ax.plot(x, y, marker, color=colour, ms=5, label=part)
        ax.set_xlim(left=0)
        ax.legend(loc="lower right", frameon=False)
    return ax


def own_counts_effect(
    measures: Mapping[str, Measured], title: str = PERPLEXITY, ax: Axes | None = None
) -> Axes:
    """Perplexity of each model alone, and with the user's own counts mixed in, where measured.

    Parameters
    ----------
    measures : model -> (value, spread over seeds); ``MODEL_own`` is MODEL with own counts. Rows are
        drawn from the lowest down; the better of the two is printed, the lowest of all bold
    """
    from experiments.families import OWN  # loads Torch and Numba, so only when it is needed

    pairs = {
        model: [measures[name] for name in (model, f"{model}{OWN}") if name in measures]
        for model in measures
        if not model.endswith(OWN)
    }
    pairs = dict(sorted(pairs.items(), key=lambda pair: min(value for value, _ in pair[1])))
    with drawing(ax, (8, 1.3 + 0.34 * len(pairs)), title, "perplexity (lower is better)") as ax:
        rows = model_rows(ax, list(pairs))
        looks = (("alone", "o", COLOURS[1]), ("with own counts", "s", COLOURS[0]))
        for row, measured in zip(rows, pairs.values(), strict=True):
            ends = [value for value, _ in measured]
            ax.plot(ends, [row] * len(ends), color=PALE_BLUE, lw=2.5, zorder=1)
        for which, (label, marker, colour) in enumerate(looks):
            shown = [
                row for row, pair in zip(rows, pairs.values(), strict=True) if which < len(pair)
            ]
            points = [pair[which] for pair in pairs.values() if which < len(pair)]
            if points:
                values, spreads = values_and_spreads(points)
                ax.errorbar(
                    values, shown, xerr=spreads, fmt=marker, color=colour, ms=6, capsize=3,
                    label=label,
                )  # fmt: skip
        best = values_and_spreads([min(pair) for pair in pairs.values()])
        if best[0].max() > LOG_AXIS_RATIO * best[0].min():
            ax.set_xscale("log")
        ax.xaxis.set_major_formatter(SHORT)
        right_column(ax, measured_texts(*best), bold=0)
        ax.legend(loc="upper right", frameon=True, facecolor="white", framealpha=0.9)
        if ax.get_xscale() == "log":
            log_numbers(ax)
    return ax
