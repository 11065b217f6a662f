"""Corpora: lengths of documents, frequencies of words."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from experiments.style import COLOURS, GREY, SHORT, drawing


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
