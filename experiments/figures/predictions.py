"""Predictions event by event: how likely what is predicted is, and how well along a history."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes

from experiments.figures.curves import Measured, values_and_spreads
from experiments.report.tables import model_label
from experiments.style import (
    COLOURS,
    GREY,
    PALE_BLUE,
    curve_size,
    drawing,
    legend,
    line_styles,
    log_ticks,
)
from lla.evaluate.calibration import Reliability

if TYPE_CHECKING:
    import pandas as pd

SOURCE_LABELS = {
    "topics": "topics",
    "next": "what usually follows (next)",
    "own_next": "what follows here (own_next)",
    "recent": "what was used lately (recent)",
}
LOG_AXIS_RATIO = 10  # longest over shortest history: from there on the axis is logarithmic


def reliability(
    curves: Mapping[str, Reliability], logarithmic: bool = False, ax: Axes | None = None
) -> Axes:
    """How often what is predicted comes, against its probability; the grey line is calibration.

    Below the line a model is overconfident. Error bars are one standard error as if events were
    independent. The legend has each model's expected calibration error.

    Parameters
    ----------
    curves : model -> its curve, all with the same number of bins of the same events
    logarithmic : both axes; bins of which nothing came then lie on the lower edge, as triangles
    """
    width, height = curve_size(curves)
    title = "Reliability of predicted probabilities"
    size = (width + 0.8, max(height, 4.2))
    with drawing(ax, size, title, "predicted probability", "share that came") as ax:
        above_zero = [float(f) for curve in curves.values() for f in curve.frequency if f > 0]
        lowest = min(above_zero, default=1e-3) / 2
        if logarithmic:
            ax.set(xscale="log", yscale="log")
        handles, names = [], []
        for (name, curve), (look, marker) in zip(
            curves.items(), line_styles(len(curves)), strict=True
        ):
            none = logarithmic & (curve.frequency == 0)
            x, y, above = (
                values[~none] for values in (curve.predicted, curve.frequency, curve.standard_error)
            )
            below = np.minimum(above, y - lowest) if logarithmic else above
            line = ax.errorbar(
                x, y, yerr=np.stack([below, above]), marker=marker, ms=4, capsize=2, lw=1.4,
                elinewidth=0.8, **look,
            )  # fmt: skip
            handles.append(line)
            if none.any():
                at = np.full(none.sum(), lowest)
                ax.plot(curve.predicted[none], at, "v", mfc="none", mec=look["color"], ms=5)
            names.append(f"{model_label(name)}, ECE {curve.error:.3f}")
        highest = min(max(*ax.get_xlim(), *ax.get_ylim()), 1.0)
        ends = [lowest if logarithmic else 0.0, highest]
        ax.plot(ends, ends, color=GREY, lw=1, zorder=1)
        if not logarithmic:
            ax.set(xlim=(0, None), ylim=(0, None))
        ax.legend(
            handles, names, loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False,
            handlelength=2.6,
        )  # fmt: skip
    return ax


def ranking_over_history(
    curves: Mapping[str, Mapping[float, Measured]],
    metric: str,
    by: str = "position",
    ax: Axes | None = None,
) -> Axes:
    """A ranking metric in groups of events by their position, or by the length of their history.

    Parameters
    ----------
    curves : model -> {mean position or length of the group: (value, spread over seeds)}
    metric : its name, for the axis
    by : "position" or "length", for the axis
    """
    metric = metric.replace("ndcg", "NDCG").replace("mrr", "MRR").replace("recall", "Recall")
    x = "events of the user before" if by == "position" else "events of the user"
    title = f"{metric} by {by} (higher is better)"
    with drawing(ax, curve_size(curves), title, x, metric) as ax:
        places = sorted({at for points in curves.values() for at in points})
        wide = places[0] > 0 and places[-1] / places[0] >= LOG_AXIS_RATIO
        if wide:
            ax.set_xscale("log")
        ends = {}
        for (name, points), (look, marker) in zip(
            curves.items(), line_styles(len(curves)), strict=True
        ):
            at = sorted(points)
            values, spreads = values_and_spreads([points[place] for place in at])
            line = ax.errorbar(at, values, yerr=spreads, marker=marker, ms=5, capsize=3, **look)
            ends[name] = line, values[-1]
        ax.set_ylim(bottom=0)
        legend(ax, ends)
        if wide:  # ticks where something was measured
            log_ticks(ax, {place: f"{place:.3g}" for place in places})
    return ax


def source_shares(shares: "pd.DataFrame", title: str = "", ax: Axes | None = None) -> Axes:
    """What produced the events of a history: the share of the topics, and of each source.

    Parameters
    ----------
    shares : a row per event, from which its number is taken, a column per kind; rows sum to 1
    """
    title = title or "What produced each event"
    colours = dict(zip(SOURCE_LABELS, (PALE_BLUE, *COLOURS), strict=False))
    with drawing(ax, (8.6, 3.2), title, "event", "probability") as ax:
        ax.stackplot(
            shares.index.to_numpy(),
            *(shares[kind].to_numpy() for kind in shares),
            labels=[SOURCE_LABELS.get(kind, kind) for kind in shares],
            colors=[colours.get(kind, GREY) for kind in shares],
        )
        ax.set(xlim=(shares.index[0], shares.index[-1]), ylim=(0, 1))
        handles, labels = ax.get_legend_handles_labels()
        ax.legend(
            handles[::-1], labels[::-1], loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False
        )
    return ax
