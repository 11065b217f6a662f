"""Topics: their words, and those expected next."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes

from experiments.report.tables import model_label
from experiments.style import (
    COLOURS,
    style,
)


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
