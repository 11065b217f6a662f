"""Figures of users: which topics are expected next, and how high the next item stood.

As in `lla.figures`: one function a figure, nothing is saved, shown or closed here.
"""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes

from experiments.figures import COLOURS, GREY, Measured, axes_or_new, describe, style


def topics_ahead(
    forecasts: Mapping[str, np.ndarray], names: Sequence[str], n_shown: int = 8
) -> np.ndarray:
    """What each model expects of the next events, side by side: rows are topics, columns steps.

    Parameters
    ----------
    forecasts : model -> (steps, L) probabilities of the same L topics
    names : (L,) of the topics
    n_shown : topics that have a row: those of which any model expects most, at any step

    Returns
    -------
    ndarray of Axes, one a model
    """
    peak = np.max([forecast.max(axis=0) for forecast in forecasts.values()], axis=0)  # (L,)
    shown = np.sort(np.argsort(-peak, kind="stable")[:n_shown])
    with style():
        axes = plt.subplots(
            1,
            len(forecasts),
            figsize=(2.2 + 1.9 * len(forecasts), 0.8 + 0.34 * len(shown)),
            sharey=True,
            squeeze=False,
        )[1]
        for ax, (model, forecast) in zip(axes[0], forecasts.items(), strict=True):
            _heat(ax, forecast[:, shown].T)
            describe(ax, model, "events ahead")
        axes[0, 0].set_yticks(np.arange(len(shown)), [names[k] for k in shown])
    return axes[0]


def _heat(ax: Axes, values: np.ndarray) -> None:
    """Probabilities (topics, steps) as shades, those worth reading as numbers too."""
    ax.imshow(values, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    ax.grid(False)
    ax.set_xticks(np.arange(values.shape[1]), [str(h + 1) for h in range(values.shape[1])])
    for (row, column), value in np.ndenumerate(values):
        if value >= 0.05:
            colour = "white" if value > 0.6 else "black"
            text = f"{value:.2f}".lstrip("0")
            ax.text(column, row, text, ha="center", va="center", fontsize=7, color=colour)


def ranking_bars(
    models: Mapping[str, Mapping[str, Measured]], metric: str, ax: Axes | None = None
) -> Axes:
    """A ranking metric of each model over all events, and over repeats and novel items.

    Parameters
    ----------
    models : model -> {"all", "repeats", "novel": (value, spread over seeds)}; a part that
        has no events is missing
    metric : its name, for the title

    Returns
    -------
    Axes
        Models from the best over all events on top; bars are all events, marks their parts.
    """
    order = sorted(models, key=lambda name: models[name]["all"][0])
    rows = np.arange(len(order))
    with style():
        ax = axes_or_new(ax, (7.5, 1.2 + 0.3 * len(order)))
        describe(ax, f"{metric} (higher is better)", metric)
        values, spreads = np.array([models[name]["all"] for name in order], float).T
        error = {"ecolor": GREY, "capsize": 2}
        ax.barh(rows, values, 0.6, xerr=spreads, color="#A9C4DA", error_kw=error, label="all")
        for part, colour, marker in zip(("repeats", "novel"), COLOURS[:2], ("o", "D"), strict=True):
            there = [(row, models[n][part][0]) for row, n in enumerate(order) if part in models[n]]
            if there:
                y, x = np.array(there).T
                ax.plot(x, y, marker, color=colour, ms=5, label=part)
        ax.set_yticks(rows, order)
        ax.set_xlim(left=0)
        ax.legend(loc="lower right", frameon=False)
    return ax
