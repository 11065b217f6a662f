"""One function per figure: numbers go in, Axes come out. Nothing is saved, shown or closed here.

Every function draws into the Axes it is given, or into a new figure, and returns what it drew on.
Models may be given by their keys in result files; they are labelled with their names for people.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

from experiments.report.tables import model_label
from experiments.results import format_measure
from experiments.style import (
    CLOCK,
    COLOURS,
    GREY,
    INK,
    PALE_BLUE,
    SHORT,
    curve_size,
    drawing,
    legend,
    line_styles,
    log_ticks,
    short,
    style,
    widen,
)

__all__ = [
    "ablation_effects",
    "accuracy_vs_size",
    "convergence",
    "document_lengths",
    "learning_curve",
    "learning_curves",
    "log_likelihood_trace",
    "particles_curve",
    "ranking_bars",
    "style",
    "table4_bars",
    "topic_words",
    "topics_ahead",
    "topics_sweep",
    "word_frequencies",
]

LOG_AXIS_RATIO = 10  # highest over lowest: from there on a linear axis would squeeze the others
PERPLEXITY = "Perplexity (lower is better)"
Measured = tuple[float, float]  # value, spread over seeds
History = Sequence[Mapping[str, float]]  # a row per iteration, as a fit keeps it


def _pairs(measures: Sequence[Measured]) -> np.ndarray:
    """(2, n): values and spreads."""
    return np.array(measures, dtype=float).reshape(-1, 2).T


def _model_rows(ax: Axes, names: Sequence[str]) -> np.ndarray:
    """Name the rows, the first on top; returns their heights."""
    rows = np.arange(len(names))
    ax.grid(axis="y", visible=False)
    ax.set_yticks(rows, [model_label(name) for name in names], color=INK)
    ax.tick_params(axis="y", length=0)
    ax.set_ylim(len(names) - 0.5, -0.5)
    return rows


def _right_column(ax: Axes, texts: Sequence[str], bold: int = -1) -> None:
    """One text per row, right of the Axes, where no bar can run through it."""
    for row, text in enumerate(texts):
        ax.annotate(
            text, (1, row), (8, 0), xycoords=ax.get_yaxis_transform(), textcoords="offset points",
            va="center", annotation_clip=False, fontweight="bold" if row == bold else "normal",
        )  # fmt: skip


def _printed(values: np.ndarray, spreads: np.ndarray) -> list[str]:
    pairs = zip(values, spreads, strict=True)
    return [format_measure({"value": value, "spread": spread}) for value, spread in pairs]


def table4_bars(
    measures: Mapping[str, Measured],
    paper: Mapping[str, float] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Perplexity of each model as a bar with its spread; the paper's value as a diamond.

    Parameters
    ----------
    measures : model -> (value, spread over seeds), drawn from top to bottom
    paper : model -> the value the paper prints, for the models that have one
    """
    paper = {model: value for model, value in (paper or {}).items() if model in measures}
    with drawing(ax, (8, 0.9 + 0.45 * len(measures)), PERPLEXITY, "perplexity") as ax:
        rows = _model_rows(ax, list(measures))
        values, spreads = _pairs(list(measures.values()))
        best = np.argmin(values)
        ax.barh(rows, values, 0.62, color=[COLOURS[0] if r == best else PALE_BLUE for r in rows])
        ax.errorbar(values, rows, xerr=spreads, fmt="none", ecolor=INK, elinewidth=1.2, capsize=3)
        ax.set_xlim(0, 1.25 * max(*(values + spreads), *paper.values(), 0.0))
        ax.xaxis.set_major_formatter(SHORT)
        for row, (model, text) in enumerate(zip(measures, _printed(values, spreads), strict=True)):
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
            _model_rows(ax, list(models))
        axes[1].set_yticks(range(len(models)), [""] * len(models))
        _perplexity_points(axes[0], _pairs([model["perplexity"] for model in models.values()]))
        sizes = [float(model["parameters"]) for model in models.values()]
        _size_bars(axes[1], np.array(sizes))
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
        ax.xaxis.set_minor_locator(NullLocator())
    ticks = LogLocator(numticks=6) if wide else MaxNLocator(5, steps=[1, 2, 5, 10])
    ax.xaxis.set_major_locator(ticks)
    ax.xaxis.set_major_formatter(SHORT)
    _right_column(ax, _printed(values, spreads), bold=int(np.argmin(values)))


def _size_bars(ax: Axes, sizes: np.ndarray) -> None:
    ax.set(title="Model size", xlabel="parameters, logarithmic")
    ax.set_xscale("log")
    ax.barh(np.arange(len(sizes)), sizes, 0.62, color=PALE_BLUE)
    # Whole powers of ten, so that even sizes close together have two ticks to be read by.
    ax.set_xlim(10 ** (np.ceil(np.log10(sizes.min())) - 1), 10 ** np.ceil(np.log10(sizes.max())))
    ax.xaxis.set_major_locator(LogLocator(numticks=6))
    ax.xaxis.set_major_formatter(SHORT)
    ax.xaxis.set_minor_locator(NullLocator())
    _right_column(ax, [short(float(f"{size:.3g}")) for size in sizes])


def ablation_effects(effects: Mapping[str, Measured], ax: Axes | None = None) -> Axes:
    """What each change does to the perplexity, in percent of the unchanged model's.

    Rows are sorted, the change that hurts most on top; worse lies right of zero. Vermilion is
    worse, blue is better, grey is a change whose bar includes zero.

    Parameters
    ----------
    effects : change -> (relative change of perplexity in percent, spread), in any order
    """
    names = sorted(effects, key=lambda name: effects[name][0], reverse=True)
    with drawing(
        ax, (8, 1.0 + 0.27 * len(effects)), "Change of perplexity (%)", "← better      worse →"
    ) as ax:
        _model_rows(ax, names)
        ax.axvline(0, color=INK, lw=1)
        values, spreads = _pairs([effects[name] for name in names])
        for row, (value, spread) in enumerate(zip(values, spreads, strict=True)):
            clear = abs(value) > spread
            colour = (COLOURS[1] if value > 0 else COLOURS[0]) if clear else GREY
            ax.errorbar(value, row, xerr=spread, color=colour, marker="o", ms=6, capsize=3, lw=1.5)
        # The words stand on either side of zero, wherever that is.
        low, high = ax.get_xlim()
        ax.xaxis.label.set_x(-low / (high - low))
        signed = [f"{v:+.1f} ± {s:.1f}" for v, s in zip(values, spreads, strict=True)]
        _right_column(ax, [text.replace("-", "−") for text in signed])
    return ax


def ranking_bars(
    models: Mapping[str, Mapping[str, Measured]], metric: str, ax: Axes | None = None
) -> Axes:
    """A ranking metric of each model over all events, and over repeats and novel items.

    Parameters
    ----------
    models : model -> {"all", "repeats", "novel": (value, spread over seeds)}; a part that has no
        events is missing
    metric : its name, for the title

    Returns
    -------
    Axes
        Models from the best over all events on top; bars are all events, marks their parts.
    """
    order = sorted(models, key=lambda name: models[name]["all"][0], reverse=True)
    metric = metric.replace("ndcg", "NDCG").replace("mrr", "MRR").replace("recall", "Recall")
    with drawing(ax, (7.5, 1.2 + 0.3 * len(order)), f"{metric} (higher is better)", metric) as ax:
        rows = _model_rows(ax, order)
        values, spreads = _pairs([models[name]["all"] for name in order])
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


def measured_curves(
    curves: Mapping[str, Mapping[int, Measured]],
    title: str,
    x: str,
    base: int = 2,
    ax: Axes | None = None,
) -> Axes:
    """Perplexity against a count, on a logarithmic axis with ticks where something was measured.

    Parameters
    ----------
    curves : model -> {count: (value, spread over seeds)}; models need not share their counts
    title, x : of the figure and of the axis of counts
    base : of the logarithm
    """
    with drawing(ax, curve_size(curves), title, x, "perplexity") as ax:
        ax.set_xscale("log", base=base)
        ends = {}
        for (name, points), (look, marker) in zip(
            curves.items(), line_styles(len(curves)), strict=True
        ):
            counts = sorted(points)
            values, spreads = _pairs([points[n] for n in counts])
            line = ax.errorbar(
                counts, values, yerr=spreads, marker=marker, ms=5, capsize=3, lw=1.6, **look
            )  # fmt: skip
            ends[name] = line, values[-1]
        ax.yaxis.set_major_formatter(SHORT)
        legend(ax, ends)
        widen(ax)
        log_ticks(ax, {n: short(n) for points in curves.values() for n in points})
    return ax


def topics_sweep(curves: Mapping[str, Mapping[int, Measured]], ax: Axes | None = None) -> Axes:
    """Perplexity against the number of topics K, as in the paper's Figure 5."""
    return measured_curves(curves, "Perplexity by number of topics", "topics K", ax=ax)


def learning_curve(curves: Mapping[str, Mapping[int, Measured]], ax: Axes | None = None) -> Axes:
    """Perplexity against the number of training documents."""
    return measured_curves(curves, "Perplexity by size of the corpus", "documents", base=10, ax=ax)


def particles_curve(curves: Mapping[str, Mapping[int, Measured]], ax: Axes | None = None) -> Axes:
    """Perplexity against the number of particles P."""
    return measured_curves(curves, "Perplexity by number of particles", "particles P", ax=ax)


def learning_curves(runs: Mapping[str, Sequence[History]]) -> np.ndarray:
    """Perplexity on the development part, and topic entropy, over iterations.

    Parameters
    ----------
    runs : model -> one history per seed
        Rows with ``iteration``, ``development_perplexity`` and ``topic_entropy`` (nats).

    Returns
    -------
    ndarray of two Axes
        Thin lines are seeds, the thick line is their mean over the iterations that all of them
        reached; a dot marks where each seed's perplexity is lowest, the model that is kept.
    """
    with style():
        axes = plt.subplots(1, 2, figsize=(9, 3.4))[1]
        axes[0].set(title="Perplexity, development part", xlabel="SEM iteration")
        axes[1].set(title="Mean topic entropy (nats)", xlabel="SEM iteration")
        _seeds(axes[0], runs, "development_perplexity", dots=True)
        legend(axes[1], _seeds(axes[1], runs, "topic_entropy"))
        for ax in axes:
            ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    return axes


def _seeds(
    ax: Axes,
    runs: Mapping[str, Sequence[History]],
    y: str,
    over_time: bool = False,
    dots: bool = False,
) -> dict[str, tuple[Any, float]]:
    """Draw each run's seeds thin, and their mean over what all reached thick; lines and ends."""
    ends = {}
    for (name, histories), (look, marker) in zip(runs.items(), line_styles(len(runs)), strict=True):
        seeds = [
            np.array([[row["seconds" if over_time else "iteration"], row[y]] for row in rows]).T
            for rows in histories
        ]
        for seed in seeds:
            seed[0] = np.cumsum(seed[0]) if over_time else seed[0]
            ax.plot(*seed, lw=0.8, alpha=0.5, **look)
            if dots:
                best = seed[:, np.argmin(seed[1])]
                ax.plot(*best, marker, color=look["color"], ms=6, mec="white", zorder=4)
        common = min(seed.shape[1] for seed in seeds)
        mean = np.mean([seed[:, :common] for seed in seeds], axis=0)
        ends[name] = ax.plot(*mean, lw=2.2, zorder=3, **look)[0], mean[1, -1]
    ax.yaxis.set_major_formatter(SHORT)
    return ends


def log_likelihood_trace(traces: Mapping[str, Sequence[float]], ax: Axes | None = None) -> Axes:
    """Log-likelihood over LDA's sweeps, one line per trace; value i follows sweep i + 1."""
    with drawing(ax, (6, 3.4), "Log-likelihood of words and topics (nats)", "Gibbs sweep") as ax:
        ends = {}
        for (name, trace), (look, _) in zip(traces.items(), line_styles(len(traces)), strict=True):
            (line,) = ax.plot(np.arange(1, len(trace) + 1), trace, **look)
            ends[name] = line, float(trace[-1])
        ax.yaxis.set_major_formatter(SHORT)
        legend(ax, ends)
    return ax


def convergence(runs: Mapping[str, Sequence[History]], ax: Axes | None = None) -> Axes:
    """Perplexity on the development part against training time, as in the paper's Figure 8.

    A thin line is a seed, with a dot where its perplexity is lowest. The thick line has one point
    for each iteration that all seeds reached: the mean of their perplexities at the mean of their
    times. Set-up before the first iteration does not count.

    Parameters
    ----------
    runs : model -> one history per seed
        Rows with ``seconds`` (of that iteration alone) and ``development_perplexity``.
    """
    title, x = "Perplexity, development part", "training time, logarithmic"
    with drawing(ax, curve_size(runs), title, x, "perplexity") as ax:
        ax.set_xscale("log")
        legend(ax, _seeds(ax, runs, "development_perplexity", over_time=True, dots=True))
        widen(ax)
        low, high = ax.get_xlim()
        round_times = {s: text for s, text in CLOCK.items() if low <= s <= high}
        log_ticks(ax, round_times or {low: f"{low:.0f} s", high: f"{high:.0f} s"})
    return ax


def topic_words(
    topics: Mapping[str, Sequence[tuple[Sequence[str], Sequence[float]]]],
) -> np.ndarray:
    """Top words of a few topics, each a small panel of bars, one row of panels per stage.

    Parameters
    ----------
    topics : stage -> one (words, weights) per topic, words from likeliest to least likely
        For example {"LDA": [...], "after SEM": [...]}, the same topics in the same order.

    Returns
    -------
    ndarray (stages, topics) of Axes
    """
    n_rows, n_columns = len(topics), max(map(len, topics.values()))
    longest = max(len(words) for panels in topics.values() for words, _ in panels)
    size = 2.3 * n_columns, (0.5 + 0.2 * longest) * n_rows
    with style():
        # One scale per topic, so that a bar before and a bar after compare.
        axes = plt.subplots(n_rows, n_columns, figsize=size, squeeze=False, sharex="col")[1]
        for (stage, panels), row, colour in zip(topics.items(), axes, COLOURS, strict=False):
            for k, (ax, (words, weights)) in enumerate(zip(row, panels, strict=False)):
                _word_panel(ax, words, weights, colour)
                ax.set_title(f"{stage}, topic {k + 1}", fontsize=9)
            for ax in row[len(panels) :]:
                ax.set_axis_off()
        for ax in axes[-1]:
            widest = ax.get_xlim()[1]
            ax.set_xticks([0, widest], ["0", f"{widest:.2g}"], fontsize=8)
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


def topics_ahead(
    forecasts: Mapping[str, np.ndarray], names: Sequence[str], n_shown: int = 8
) -> np.ndarray:
    """What each model expects of the next events, side by side: rows are topics, columns steps.

    Parameters
    ----------
    forecasts : model -> (steps, L) probabilities of the same L topics
    names : (L,) of the topics
    n_shown : topics that have a row: those that any model expects most, at any step

    Returns
    -------
    ndarray of Axes, one per model
    """
    peak = np.max([forecast.max(axis=0) for forecast in forecasts.values()], axis=0)  # (L,)
    shown = np.sort(np.argsort(-peak, kind="stable")[:n_shown])
    size = (2.2 + 1.9 * len(forecasts), 0.8 + 0.34 * len(shown))
    with style():
        axes = plt.subplots(1, len(forecasts), figsize=size, sharey=True, squeeze=False)[1][0]
        for ax, (model, forecast) in zip(axes, forecasts.items(), strict=True):
            _heat_map(ax, forecast[:, shown].T)
            ax.set(title=model_label(model), xlabel="events ahead")
        axes[0].set_yticks(np.arange(len(shown)), [names[k] for k in shown])
    return axes


def _heat_map(ax: Axes, values: np.ndarray) -> None:
    """Probabilities (topics, steps) as shades, those worth reading as numbers too."""
    ax.imshow(values, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    ax.grid(False)
    ax.set_xticks(np.arange(values.shape[1]), [str(h + 1) for h in range(values.shape[1])])
    for (row, column), value in np.ndenumerate(values):
        if value >= 0.05:
            colour = "white" if value > 0.6 else "black"
            text = f"{value:.2f}".lstrip("0")
            ax.text(column, row, text, ha="center", va="center", fontsize=7, color=colour)


def document_lengths(
    lengths: Sequence[int], observed: float | None = None, ax: Axes | None = None
) -> Axes:
    """How many documents have how many words; a line at the median.

    Parameters
    ----------
    lengths : (D,) words of each document
    observed : share of every document that is observed, named in the title when given
    """
    n_words = np.asarray(lengths)
    part = "" if observed is None else f", the first {observed:.0%} of each observed"
    title = f"{len(lengths):,} documents{part}"
    with drawing(ax, (6, 3.2), title, "words in a document", "documents") as ax:
        n_bins = min(40, max(5, round(len(n_words) ** 0.5)))
        ax.hist(n_words, bins=n_bins, color=COLOURS[0], alpha=0.8, edgecolor="white", linewidth=0.5)
        median = float(np.median(n_words))
        ax.axvline(median, color=COLOURS[1], lw=1.5, label=f"median {median:,.0f}")
        ax.legend(frameon=False)
        for axis in (ax.xaxis, ax.yaxis):
            axis.set_major_formatter(SHORT)
        ax.yaxis.set_major_locator(MaxNLocator(integer=True))
    return ax


def word_frequencies(counts: Sequence[int], ax: Axes | None = None) -> Axes:
    """Words by rank of frequency on logarithmic axes, beside Zipf's law: count ∝ 1 / rank.

    Parameters
    ----------
    counts : (V,) how often each word occurs, in any order; words that never occur are left out
    """
    occurring = np.sort(np.asarray(counts))[::-1]
    occurring = occurring[occurring > 0]
    ranks = np.arange(1, len(occurring) + 1)
    with drawing(
        ax, (6, 3.4), f"{len(occurring):,} words by frequency", "rank", "occurrences"
    ) as ax:
        # Zipf's line with the same total, so that the two are comparable.
        zipf = occurring.sum() / (1 / ranks).sum() / ranks
        ax.loglog(ranks, occurring, color=COLOURS[0], label="words")
        ax.loglog(ranks, zipf, color=GREY, lw=1, ls="--", label="Zipf: 1 / rank")
        for axis in (ax.xaxis, ax.yaxis):
            axis.set_major_formatter(SHORT)
        ax.legend(frameon=False)
    return ax
