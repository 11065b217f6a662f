"""One function a figure: a result goes in, Axes come out. Nothing is saved, shown or closed here.

Every function draws into the Axes it is given, or into a new figure, and returns what it drew on.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator

# Okabe and Ito's colours, which people with any kind of colour vision tell apart.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")


GREY, PAPER = "#6B7280", "#111827"


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


# Points between two names at the end of lines, at least.
LABEL_HEIGHT = 13.0


Measured = tuple[float, float]


@contextmanager
def style() -> Iterator[None]:
    """The look of all figures, as a context: ``with style(): ...``."""
    # Not mpl.rc_context: a notebook turns interactive on when the first figure is made, and the
    # context would turn it off again, so that later figures were never shown.
    before = {name: mpl.rcParams[name] for name in STYLE}
    mpl.rcParams.update(STYLE)
    try:
        yield
    finally:
        mpl.rcParams.update(before)


def learning_curves(
    runs: Mapping[str, Sequence[Sequence[Mapping[str, float]]]],
    axes: Sequence[Axes] | None = None,
) -> np.ndarray:
    """Perplexity on the development part, and topic entropy, over iterations.

    Parameters
    ----------
    runs : for each named run, one history a seed, as `fit_sem` returns it
        Rows with ``iteration``, ``development_perplexity`` and ``topic_entropy`` (nats).
    axes : two Axes, left and right

    Returns
    -------
    ndarray of two Axes
        Thin lines are seeds, the thick line is their mean over the iterations that all of them
        reached; a dot marks where each seed's perplexity is lowest, the model that is kept.
    """
    with style():
        axes = plt.subplots(1, 2, figsize=(9, 3.4))[1] if axes is None else np.asarray(axes)
        titles = ("Perplexity, development part", "Mean topic entropy (nats)")
        for ax, title in zip(axes, titles, strict=True):
            describe(ax, title, "SEM iteration")
            ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        ends: tuple[list, list] = ([], [])
        for (name, histories), colour in zip(runs.items(), _colours(len(runs)), strict=True):
            for ax, key, end in zip(
                axes, ("development_perplexity", "topic_entropy"), ends, strict=True
            ):
                end.append((name, colour, _seeds_and_mean(ax, histories, key, colour)))
            for history in histories:
                best = min(history, key=lambda row: row["development_perplexity"])
                axes[0].plot(
                    best["iteration"], best["development_perplexity"], "o", color=colour, ms=5,
                    mec="white", zorder=4,
                )  # fmt: skip
        for ax, end in zip(axes, ends, strict=True):
            _label_ends(ax, end)
    return axes


def _seeds_and_mean(
    ax: Axes, histories: Sequence[Sequence[Mapping[str, float]]], key: str, colour: str
) -> float:
    """Draw every seed and their mean; returns the height at which the mean ends."""
    for history in histories:
        x = [row["iteration"] for row in history]
        ax.plot(x, [row[key] for row in history], color=colour, lw=0.8, alpha=0.5)
    shortest = min(histories, key=len)
    x = [row["iteration"] for row in shortest]
    mean = np.mean([[row[key] for row in history[: len(x)]] for history in histories], axis=0)
    ax.plot(x, mean, color=colour, zorder=3)
    return float(mean[-1])


def log_likelihood_trace(traces: Mapping[str, Sequence[float]], ax: Axes | None = None) -> Axes:
    """Log-likelihood over LDA's sweeps, one line a trace; value i follows sweep i + 1."""
    with style():
        ax = axes_or_new(ax, (6, 3.4))
        describe(ax, "Log-likelihood of words and topics (nats)", "Gibbs sweep")
        ends = []
        for (name, trace), colour in zip(traces.items(), _colours(len(traces)), strict=True):
            x = np.arange(1, len(trace) + 1)
            ax.plot(x, trace, color=colour)
            ends.append((name, colour, float(trace[-1])))
        ax.yaxis.set_major_formatter(FuncFormatter(short))
        _label_ends(ax, ends)
    return ax


def table4_bars(
    measures: Mapping[str, Measured],
    paper: Mapping[str, float] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Perplexity of each model as a bar with its spread; the paper's value as a diamond.

    Parameters
    ----------
    measures : label -> (value, spread over seeds), drawn from top to bottom
    paper : label -> the value the paper prints, for the labels that have one
    """
    paper = paper or {}
    with style():
        ax = axes_or_new(ax, (8, 0.9 + 0.45 * len(measures)))
        describe(ax, "Perplexity (lower is better)", "perplexity")
        ax.grid(axis="y", visible=False)
        rows = np.arange(len(measures))
        values, spreads = np.array(list(measures.values()), dtype=float).reshape(-1, 2).T
        best = np.argmin(values)
        colours = [COLOURS[0] if row == best else "#A9C4DA" for row in rows]
        ax.barh(rows, values, 0.62, color=colours)
        ax.errorbar(values, rows, xerr=spreads, fmt="none", ecolor=PAPER, elinewidth=1.2, capsize=3)
        ax.set_yticks(rows, list(measures), color=PAPER)
        ax.tick_params(axis="y", length=0)
        ax.invert_yaxis()
        highest = max(*(values + spreads), *paper.values(), 0.0)
        ax.set_xlim(0, 1.2 * highest)
        for row, (label, value, spread) in enumerate(zip(measures, values, spreads, strict=True)):
            text, right = f"{value:,.0f} ± {spread:,.0f}", value + spread
            if (printed := paper.get(label)) is not None:
                ax.plot(printed, row, "D", mec=COLOURS[1], mfc="none", mew=1.8, ms=8, zorder=4)
                text, right = f"{text}   (paper {printed:,.0f})", max(right, printed)
            ax.annotate(text, (right, row), (9, 0), textcoords="offset points", va="center")
    return ax


def particles_curve(curves: Mapping[str, Mapping[int, Measured]], ax: Axes | None = None) -> Axes:
    """Perplexity against the number of particles P: label -> {P: (value, spread over seeds)}."""
    with style():
        ax = axes_or_new(ax, (6, 3.6))
        describe(ax, "Perplexity by number of particles", "particles P", "perplexity")
        ax.set_xscale("log", base=2)
        ends = []
        for (name, points), colour in zip(curves.items(), _colours(len(curves)), strict=True):
            x = sorted(points)
            values, spreads = np.array([points[p] for p in x], dtype=float).T
            ax.errorbar(x, values, yerr=spreads, color=colour, marker="o", ms=5, capsize=3)
            ends.append((name, colour, float(values[-1])))
        counts = sorted({p for points in curves.values() for p in points})
        ax.set_xticks(counts, [f"{p:d}" for p in counts])
        ax.xaxis.set_minor_locator(NullLocator())
        _label_ends(ax, ends)
    return ax


def topic_words(
    topics: Mapping[str, Sequence[tuple[Sequence[str], Sequence[float]]]],
    axes: np.ndarray | None = None,
) -> np.ndarray:
    """Top words of a few topics, each a small panel of bars, one row of panels a stage.

    Parameters
    ----------
    topics : stage -> one (words, weights) a topic, words from likeliest to least likely
        For example {"LDA": [...], "after SEM": [...]}, the same topics in the same order.
    axes : (stages, topics) Axes

    Returns
    -------
    ndarray (stages, topics) of Axes
    """
    n_columns = max(map(len, topics.values()))
    longest = max(len(words) for panels in topics.values() for words, _ in panels)
    with style():
        if axes is None:
            size = (2.3 * n_columns, (0.5 + 0.2 * longest) * len(topics))
            axes = plt.subplots(len(topics), n_columns, figsize=size, squeeze=False)[1]
        axes = np.asarray(axes).reshape(len(topics), n_columns)
        for (stage, panels), row, colour in zip(
            topics.items(), axes, _colours(len(topics)), strict=True
        ):
            for k, (ax, (words, weights)) in enumerate(zip(row, panels, strict=False)):
                _word_panel(ax, words, weights, colour)
                ax.set_title(f"{stage}, topic {k + 1}", fontsize=9)
            for ax in row[len(panels) :]:
                ax.set_axis_off()
        # One scale a topic, so that a bar before and a bar after compare.
        for column in axes.T:
            widest = max((bar.get_width() for ax in column for bar in ax.patches), default=1.0)
            for ax in column:
                ax.set(xlim=(0, 1.02 * widest), xticks=[])
            column[-1].set_xticks([0, widest], ["0", f"{widest:.2g}"], fontsize=8)
        axes[-1, 0].set_xlabel("probability of the word in the topic", fontsize=8, loc="left")
    return axes


def _word_panel(ax: Axes, words: Sequence[str], weights: Sequence[float], colour: str) -> None:
    rows = np.arange(len(words))
    ax.barh(rows, weights, 0.8, color=colour, alpha=0.25)
    ax.set(yticks=[], ylim=(len(words) - 0.5, -0.5))
    ax.grid(visible=False)
    ax.spines[["bottom", "left"]].set_visible(False)
    for row, word in zip(rows, words, strict=True):
        ax.annotate(word, (0, row), (3, 0), textcoords="offset points", va="center", fontsize=9)


def document_lengths(
    lengths: Sequence[int], observed: float | None = None, ax: Axes | None = None
) -> Axes:
    """How many documents have how many words; a line at the median.

    Parameters
    ----------
    lengths : (D,) words of each document
    observed : share of every document that is observed, named in the title when given
    """
    lengths = np.asarray(lengths)
    with style():
        ax = axes_or_new(ax, (6, 3.2))
        title = f"{len(lengths):,} documents"
        if observed is not None:
            title += f", the first {observed:.0%} of each observed"
        describe(ax, title, "words in a document", "documents")
        bins = np.histogram_bin_edges(lengths, bins=min(40, max(5, round(len(lengths) ** 0.5))))
        ax.hist(lengths, bins=bins, color=COLOURS[0], alpha=0.8, edgecolor="white", linewidth=0.5)
        median = float(np.median(lengths))
        ax.axvline(median, color=COLOURS[1], lw=1.5)
        late = median > sum(ax.get_xlim()) / 2
        ax.set_ylim(0, 1.15 * ax.get_ylim()[1])
        ax.annotate(
            f"median {median:,.0f}", (median, 1), (-5 if late else 5, -4), color=COLOURS[1],
            xycoords=ax.get_xaxis_transform(), textcoords="offset points", va="top",
            ha="right" if late else "left",
        )  # fmt: skip
        ax.xaxis.set_major_formatter(FuncFormatter(short))
        ax.yaxis.set_major_locator(MaxNLocator(integer=True))
    return ax


def word_frequencies(counts: Sequence[int], ax: Axes | None = None) -> Axes:
    """Words by rank of frequency on logarithmic axes, beside Zipf's law: count ∝ 1 / rank.

    Parameters
    ----------
    counts : (V,) how often each word occurs, in any order; words that never occur are left out
    """
    counts = np.sort(np.asarray(counts))[::-1]
    counts = counts[counts > 0]
    ranks = np.arange(1, len(counts) + 1)
    with style():
        ax = axes_or_new(ax, (6, 3.4))
        describe(ax, f"{len(counts):,} words by frequency", "rank", "occurrences")
        ax.loglog(ranks, counts, color=COLOURS[0])
        # Zipf's line with the same total, so that the two are comparable.
        zipf = counts.sum() / (1 / ranks).sum() / ranks
        ax.loglog(ranks, zipf, color=GREY, lw=1, ls="--")
        middle = len(ranks) // 20
        ax.annotate(
            "Zipf: 1 / rank", (ranks[middle], zipf[middle]), (-6, -6), ha="right", va="top",
            textcoords="offset points", color=GREY,
        )  # fmt: skip
    return ax


def axes_or_new(ax: Axes | None, size: tuple[float, float]) -> Axes:
    """The Axes given, or those of a new figure of this size in inches."""
    return plt.subplots(figsize=size)[1] if ax is None else ax


def describe(ax: Axes, title: str, x: str, y: str = "") -> None:
    """Title and the names of both axes."""
    ax.set(title=title, xlabel=x, ylabel=y)


def _colours(n: int) -> list[str]:
    return [COLOURS[i % len(COLOURS)] for i in range(n)]


def _label_ends(ax: Axes, ends: Sequence[tuple[str, str, float]]) -> None:
    """Name each line right of the Axes at the height where it ends, moved apart if too close."""
    ax.autoscale_view()
    ends = sorted(ends, key=lambda end: end[-1])
    height = ax.get_window_extent().height * 72 / ax.get_figure().dpi
    natural = [ax.transLimits.transform((0, y))[1] * height for _, _, y in ends]
    for (name, colour, y), there, moved in zip(ends, natural, _apart(natural, height), strict=True):
        ax.annotate(
            name, (1, y), (5, moved - there), xycoords=ax.get_yaxis_transform(),
            textcoords="offset points", color=colour, va="center", annotation_clip=False,
        )  # fmt: skip


def _apart(heights: Sequence[float], top: float) -> np.ndarray:
    """Ascending heights moved up where two are too close, then down where that went too high."""
    moved = np.array(heights)
    for i in range(1, len(moved)):
        moved[i] = max(moved[i], moved[i - 1] + LABEL_HEIGHT)
    ceilings = top - LABEL_HEIGHT * np.arange(len(moved))[::-1]
    return np.minimum(moved, ceilings)


def short(value: float, _: Any = None) -> str:
    """1,500,000 as 1.5M: what an axis has room for."""
    for size, unit in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= max(size, 1e4):
            return f"{value / size:.6g}{unit}"
    return f"{value:,.6g}"
