"""Errors of users, as in Table 2 and Figures 1 and 2 of Ko et al. (2016); nats per event."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes

from experiments.figures.curves import Measured, values_and_spreads
from experiments.figures.models import measured_texts, model_rows, right_column
from experiments.style import (
    COLOURS,
    PALE_BLUE,
    curve_size,
    drawing,
    legend,
    line_styles,
    log_ticks,
    short,
    style,
    widen,
)

NATS = "nats per event (lower is better)"


def errors_by_model(
    errors: Mapping[str, Measured],
    perplexities: Mapping[str, Measured],
    title: str = "Error of users",
    ax: Axes | None = None,
) -> Axes:
    """The error of each model, a mean over users, beside the mean over all their events.

    Parameters
    ----------
    errors : model -> (value, spread over seeds). Rows are drawn from the lowest down; the error is
        printed, the lowest bold
    perplexities : of the same models; drawn as their logarithms
    """
    order = sorted(errors, key=lambda name: errors[name][0])
    with drawing(ax, (8, 1.3 + 0.3 * len(order)), title, NATS) as ax:
        rows = model_rows(ax, order)
        values, spreads = values_and_spreads([errors[name] for name in order])
        events = np.log([perplexities[name][0] for name in order])
        ax.hlines(rows, values, events, color=PALE_BLUE, lw=2.5, zorder=1)
        ax.plot(events, rows, "s", mfc="white", mec=COLOURS[1], ms=6, label="mean over events")
        ax.errorbar(
            values, rows, xerr=spreads, fmt="o", color=COLOURS[0], ms=6, capsize=3,
            label="mean over users (error)",
        )  # fmt: skip
        right_column(ax, measured_texts(values, spreads), bold=0)
        ax.legend(loc="lower left", frameon=True, facecolor="white", framealpha=0.9)
    return ax


def errors_by_entropy(
    curves: Mapping[str, Mapping[float, Measured]],
    title: str = "Error by entropy of users",
    ax: Axes | None = None,
) -> Axes:
    """The error in groups of users by the entropy of what was observed of them.

    Parameters
    ----------
    curves : model -> {mean entropy of the group: (value, spread over seeds)}
    """
    with drawing(ax, curve_size(curves), title, "entropy of the user's items, nats", NATS) as ax:
        ends = {}
        for (name, points), (look, marker) in zip(
            curves.items(), line_styles(len(curves)), strict=True
        ):
            at = sorted(points)
            values, spreads = values_and_spreads([points[place] for place in at])
            line = ax.errorbar(at, values, yerr=spreads, marker=marker, ms=5, capsize=3, **look)
            ends[name] = line, values[-1]
        legend(ax, ends)
    return ax


def errors_by_state_size(
    errors: Mapping[str, Mapping[int, Measured]], seconds: Mapping[str, Mapping[int, Measured]]
) -> np.ndarray:
    """Error and seconds per epoch against the state size.

    Parameters
    ----------
    errors, seconds : model -> {state size: (value, spread over seeds)}

    Returns
    -------
    ndarray of two Axes
    """
    with style():
        axes = plt.subplots(1, 2, figsize=(9, 3.4))[1]
        parts = ((errors, "Error", "nats per event"), (seconds, "Time of training", "s per epoch"))
        for ax, (curves, title, y) in zip(axes, parts, strict=True):
            ax.set(title=title, xlabel="state size", ylabel=y)
            ax.set_xscale("log", base=2)
            ends = {}
            for (name, points), (look, marker) in zip(
                curves.items(), line_styles(len(curves)), strict=True
            ):
                sizes = sorted(points)
                values, spreads = values_and_spreads([points[n] for n in sizes])
                line = ax.errorbar(
                    sizes, values, yerr=spreads, marker=marker, ms=5, capsize=3, **look
                )
                ends[name] = line, values[-1]
            ax.set_ylim(bottom=None if curves is errors else 0)
            widen(ax)
        legend(ax, ends)
        for ax in axes:
            log_ticks(ax, {n: short(n) for points in errors.values() for n in points})
    return axes
