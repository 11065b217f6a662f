"""Topics: their words, and those expected next."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Patch

from experiments.report.tables import model_label
from experiments.style import (
    COLOURS,
    style,
)
from lla.topics.alignment import word_changes
from lla.topics.words import top_words

PANEL_WIDTH = 2.3  # inches
LONGEST_WORD = 26  # characters that fit into a panel
# Shared, gained and lost words: signs tell what colours say.
CHANGES = {
    "shared": (COLOURS[0], ""),
    "gained": (COLOURS[2], "+ "),
    "lost": (COLOURS[1], "− "),
}


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
    size = PANEL_WIDTH * n_columns, (0.5 + 0.2 * longest) * n_rows
    with style():
        # One scale per topic, so that a bar before and a bar after compare.
        axes = plt.subplots(n_rows, n_columns, figsize=size, squeeze=False, sharex="col")[1]
        for (stage, panels), row, colour in zip(topics.items(), axes, COLOURS, strict=False):
            for k, (ax, (words, weights)) in enumerate(zip(row, panels, strict=False)):
                _word_panel(ax, words, weights, [colour] * len(words))
                ax.set_title(f"{stage}, topic {k + 1}", fontsize=9)
            for ax in row[len(panels) :]:
                ax.set_axis_off()
        _scale_of_columns(axes)
    return axes


def aligned_topics(
    phi: np.ndarray,
    other: np.ndarray,
    vocabulary: Sequence[str],
    pairs: Sequence[tuple[int, int]],
    names: Sequence[str] = ("LDA", "LLA"),
    n: int = 10,
) -> np.ndarray:
    """Top words of corresponding topics of two models, by what the second gained and lost.

    Parameters
    ----------
    phi, other : (V, K), (V, L) of the two models
    pairs : topic of the first model and its topic of the second, a column of panels each; four fit
        the width of a notebook
    names : of the two models
    n : words of each topic

    Returns
    -------
    ndarray (2, pairs) of Axes
        Words that the first model alone has are marked − and vermilion, those that the second
        alone has + and green, the others are blue.
    """
    before, after = top_words(phi, vocabulary, n), top_words(other, vocabulary, n)
    # A column has room for its titles, and the legend for its three entries.
    width = max(PANEL_WIDTH * len(pairs), 4.6)
    size = width, 2 * (0.45 + 0.2 * n) + 0.4
    with style():
        figure, axes = plt.subplots(2, len(pairs), figsize=size, squeeze=False, sharex="col")
        for (k, j), (upper, lower) in zip(pairs, axes.T, strict=True):
            shared, gained, lost = word_changes(before[k], after[j])
            kind_of = dict.fromkeys(shared, "shared") | dict.fromkeys(gained, "gained")
            kind_of |= dict.fromkeys(lost, "lost")
            for ax, words, weights, name, topic in (
                (upper, before[k], phi[:, k], names[0], k),
                (lower, after[j], other[:, j], names[1], j),
            ):
                kinds = [CHANGES[kind_of[word]] for word in words]
                signed = [sign + word for word, (_, sign) in zip(words, kinds, strict=True)]
                largest = np.sort(weights)[::-1][: len(words)]
                _word_panel(ax, signed, largest, [colour for colour, _ in kinds])
                ax.set_title(f"{model_label(name)}, topic {topic}", fontsize=9)
            overlap = np.minimum(phi[:, k], other[:, j]).sum()
            lower.set_xlabel(f"overlap {overlap:.2f}", fontsize=9)
        _scale_of_columns(axes, label=False)
        handles = [
            Patch(color=colour, alpha=0.4, label=f"{sign}{kind}")
            for kind, (colour, sign) in CHANGES.items()
        ]
        title = "bars: probability of the word in the topic"
        figure.legend(
            handles=handles, title=title, ncols=3, loc="outside lower center", frameon=False,
            fontsize=9, title_fontsize=8,
        )  # fmt: skip
    return axes


def _scale_of_columns(axes: np.ndarray, label: bool = True) -> None:
    """Two numbers below each column of panels, which share one scale."""
    for ax in axes[-1]:
        widest = ax.get_xlim()[1]
        ax.set_xticks([0, widest], ["0", f"{widest:.2g}"], fontsize=8)
        for text, side in zip(ax.get_xticklabels(), ("left", "right"), strict=True):
            text.set_horizontalalignment(side)  # within the panel: its neighbour begins close by
    if label:
        axes[-1, 0].set_xlabel("probability of the word in the topic", fontsize=8, loc="left")


def _word_panel(
    ax: Axes, words: Sequence[str], weights: Sequence[float] | np.ndarray, colours: Sequence[str]
) -> None:
    """Bars, one per word, which is written on it; long words are cut to the panel's width."""
    rows = np.arange(len(words))
    ax.barh(rows, weights, 0.8, color=colours, alpha=0.25)
    ax.set(yticks=[], ylim=(len(words) - 0.5, -0.5))
    ax.grid(visible=False)
    ax.spines[["bottom", "left"]].set_visible(False)
    for row, word in zip(rows, words, strict=True):
        text = word if len(word) <= LONGEST_WORD else f"{word[: LONGEST_WORD - 1]}…"
        ax.annotate(text, (0, row), (3, 0), textcoords="offset points", va="center", fontsize=9)


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
