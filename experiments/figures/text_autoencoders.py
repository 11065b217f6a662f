"""What autoencoders of sentences and phrases cost and say."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes

from experiments.figures.curves import Measured, values_and_spreads
from experiments.figures.models import measured_texts, model_rows, right_column
from experiments.style import COLOURS, INK, PALE_BLUE, drawing, style


def sentence_bounds(
    nll: Mapping[str, Measured],
    elbo: Mapping[str, Measured],
    kl: Mapping[str, Measured],
    title: str = "Negative log-likelihood of test sentences",
    ax: Axes | None = None,
) -> Axes:
    """The negative ELBO of each model, the part of it that is the KL, and the tighter bound.

    Parameters
    ----------
    nll : model -> (value, spread over seeds), nats per sentence; rows from the lowest down
    elbo : of the negative, the same for a model without a latent vector
    kl : of those with one
    """
    order = sorted(nll, key=lambda name: nll[name][0])
    with drawing(ax, (8.5, 1.4 + 0.34 * len(order)), title, "nats per sentence") as ax:
        rows = model_rows(ax, order)
        bound, _ = values_and_spreads([elbo[name] for name in order])
        cost, _ = values_and_spreads([kl.get(name, (0.0, 0.0)) for name in order])
        tight, spreads = values_and_spreads([nll[name] for name in order])
        ax.hlines(rows, bound - cost, bound, color=COLOURS[1], lw=7, label="KL")
        ax.plot(bound, rows, "|", color=COLOURS[0], ms=14, mew=2.5, label="negative ELBO")
        ax.errorbar(
            tight, rows, xerr=spreads, fmt="o", color=INK, ms=5, capsize=3,
            label="importance-weighted bound, or exact",
        )  # fmt: skip
        ax.margins(x=0.08)
        right_column(ax, measured_texts(tight, spreads), bold=0)
        ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.22), ncol=3, frameon=False)
    return ax


def latent_space(
    latent: np.ndarray,
    values: np.ndarray,
    label: str,
    title: str = "Latent vectors of phrases",
    signed: bool = False,
) -> np.ndarray:
    """Points in three dimensions from two sides, coloured by a value.

    Parameters
    ----------
    latent : (N, 3)
    values : (N,)
    label : what they are
    signed : whether the middle of the scale is neutral, as of shares of positive reviews

    Returns
    -------
    ndarray of two Axes
    """
    with style():
        figure, axes = plt.subplots(1, 2, figsize=(10, 4.6), subplot_kw={"projection": "3d"})
        figure.suptitle(title, x=0.02, ha="left", fontsize=11, fontweight="bold")
        limits = {"vmin": 0.0, "vmax": 1.0} if signed else {}
        for ax, azimuth in zip(axes, (-60, 30), strict=True):
            points = ax.scatter(
                *latent.T, c=values, cmap="coolwarm_r" if signed else "viridis", s=5, alpha=0.6,
                linewidths=0, **limits,
            )  # fmt: skip
            ax.view_init(elev=20, azim=azimuth)
            ax.set(xticklabels=[], yticklabels=[], zticklabels=[])
            for axis in "xyz":  # beside the box: no numbers stand between
                ax.tick_params(axis=axis, length=0, pad=-6)
            ax.set_xlabel("$z_1$", labelpad=-12)
            ax.set_ylabel("$z_2$", labelpad=-12)
            ax.set_zlabel("$z_3$", labelpad=-12)
        figure.colorbar(points, ax=list(axes), shrink=0.7, label=label)
    return axes


def against_base(
    values: Mapping[str, Measured], base: float, title: str, x: str, ax: Axes | None = None
) -> Axes:
    """A share by model, and as a line what it is for random pairs."""
    order = sorted(values, key=lambda name: -values[name][0])
    with drawing(ax, (8, 1.3 + 0.34 * len(order)), title, x) as ax:
        rows = model_rows(ax, order)
        means, spreads = values_and_spreads([values[name] for name in order])
        ax.barh(rows, means, 0.6, color=PALE_BLUE)
        ax.errorbar(means, rows, xerr=spreads, fmt="none", ecolor=INK, capsize=3)
        ax.axvline(base, color=COLOURS[1], ls="--", label="random pairs")
        ax.set_xlim(left=0)
        right_column(ax, measured_texts(means, spreads))
        ax.legend(loc="lower right", frameon=True, facecolor="white", framealpha=0.9)
    return ax
