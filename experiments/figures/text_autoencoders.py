"""What autoencoders of sentences and phrases cost and say."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes

from experiments.figures.curves import Measured, values_and_spreads
from experiments.figures.models import measured_texts, model_rows, right_column
from experiments.style import COLOURS, INK, PALE_BLUE, drawing


def sentence_bounds(
    nll: Mapping[str, Measured],
    elbo: Mapping[str, Measured],
    kl: Mapping[str, Measured],
    title: str = "Negative log-likelihood of test sentences",
    ax: Axes | None = None,
) -> Axes:
    """The negative ELBO of each model, its KL apart, and the tighter importance-weighted bound.

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
        ax.barh(rows, np.array(bound) - cost, 0.6, color=PALE_BLUE, label="-log p(words | z)")
        ax.barh(rows, cost, 0.6, np.array(bound) - cost, color=COLOURS[1], label="KL")
        ax.errorbar(
            tight, rows, xerr=spreads, fmt="o", color=INK, ms=5, capsize=3,
            label="importance-weighted bound, or exact",
        )  # fmt: skip
        ax.set_xlim(left=0.6 * min(tight))
        right_column(ax, measured_texts(tight, spreads), bold=0)
        ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.22), ncol=3, frameon=False)
    return ax
