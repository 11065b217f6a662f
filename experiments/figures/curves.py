"""Curves: perplexity over counts, iterations and time."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from experiments.style import (
    CLOCK,
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

Measured = tuple[float, float]  # value, spread over seeds
History = Sequence[Mapping[str, float]]  # a row per iteration, as a fit keeps it
DEVELOPMENT = "Perplexity of the development part"
MARKS = "thin: a seed; thick: mean of seeds; mark: a seed's lowest"


def values_and_spreads(measures: Sequence[Measured]) -> np.ndarray:
    """(2, n): values and spreads."""
    return np.array(measures, dtype=float).reshape(-1, 2).T


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
            values, spreads = values_and_spreads([points[n] for n in counts])
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


def joint_gain(
    gains: Mapping[int, Measured], paper: float | None = None, ax: Axes | None = None
) -> Axes:
    """What joint training gains over the independent learner, against the size of the corpus.

    Parameters
    ----------
    gains : number of documents -> (percent of the independent learner's perplexity, spread)
    paper : the paper's gain, as a dashed line
    """
    title, y = "Gain of joint training", "lower perplexity than independent, %"
    with drawing(ax, curve_size({"": gains}), title, "documents", y) as ax:
        ax.set_xscale("log")
        counts = sorted(gains)
        values, spreads = values_and_spreads([gains[n] for n in counts])
        look, marker = line_styles(1)[0]
        ours = ax.errorbar(
            counts, values, yerr=spreads, marker=marker, ms=5, capsize=3, lw=1.6, **look
        )
        ends: dict[str, tuple[Any, float]] = {"ours": (ours, values[-1])}
        if paper is not None:
            line = ax.axhline(paper, color="black", lw=1, ls="--")
            ends["the paper, a million documents"] = line, paper
        ax.set_ylim(bottom=min(0, *(values - spreads)))
        legend(ax, ends)
        widen(ax)
        log_ticks(ax, {n: short(n) for n in counts})
    return ax


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
        axes[0].set(title=DEVELOPMENT, xlabel=f"SEM iteration\n{MARKS}")
        axes[1].set(title="Entropy of a topic's words (nats)", xlabel="SEM iteration")
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
        if over_time:  # its axis is logarithmic
            mean[0] = np.exp(np.mean([np.log(seed[0, :common]) for seed in seeds], axis=0))
        ax.plot(*mean, lw=2.2, zorder=3, **look)
        handle = Line2D([], [], lw=2.2, marker=marker if dots else "", ms=6, mec="white", **look)
        ends[name] = handle, mean[1, -1]
    ax.yaxis.set_major_formatter(SHORT)
    return ends


def log_likelihood_trace(traces: Mapping[str, Sequence[float]], ax: Axes | None = None) -> Axes:
    """Log-likelihood over LDA's sweeps, one line per trace; value i follows sweep i + 1."""
    title = "Log-likelihood of words and topics (nats per token)"
    with drawing(ax, (6, 3.4), title, "Gibbs sweep") as ax:
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
    for each iteration that all seeds reached: the mean of their perplexities at the geometric mean
    of their times. Set-up before the first iteration does not count.

    Parameters
    ----------
    runs : model -> one history per seed
        Rows with ``seconds`` (of that iteration alone) and ``development_perplexity``.
    """
    x = f"training time, logarithmic\n{MARKS}"
    with drawing(ax, curve_size(runs), DEVELOPMENT, x, "perplexity") as ax:
        ax.set_xscale("log")
        legend(ax, _seeds(ax, runs, "development_perplexity", over_time=True, dots=True))
        widen(ax)
        low, high = ax.get_xlim()
        round_times = {s: text for s, text in CLOCK.items() if low <= s <= high}
        log_ticks(ax, round_times or {low: f"{low:.0f} s", high: f"{high:.0f} s"})
    return ax
