"""Neural topic models: words predicted, topics that can be read, and what a setting changes."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np

from experiments.figures.curves import Measured, values_and_spreads
from experiments.figures.models import measured_texts, model_rows, right_column
from experiments.style import COLOURS, GREY, PALE_BLUE, line_styles, style


def completion_and_topics(
    perplexity: Mapping[str, Measured],
    npmi: Mapping[str, Measured],
    diversity: Mapping[str, Measured],
) -> np.ndarray:
    """Completion perplexity of every model; coherence and diversity of those that have topics.

    Returns
    -------
    ndarray of three Axes, models as rows from the lowest perplexity down
    """
    order = sorted(perplexity, key=lambda name: perplexity[name][0])
    parts = (
        ("Held-out words", "perplexity (lower is better)", perplexity),
        ("Coherence", "NPMI (higher is better)", npmi),
        ("Diversity", "share of different top words", diversity),
    )
    with style():
        size = (11, 1.2 + 0.28 * len(order))
        axes = plt.subplots(1, 3, figsize=size, width_ratios=(4, 3, 3))[1]
        for i, (ax, (title, label, values)) in enumerate(zip(axes, parts, strict=True)):
            model_rows(ax, order)
            ax.set(title=title, xlabel=label)
            if i:
                ax.set_yticklabels([])
            rows = [row for row, name in enumerate(order) if name in values]
            found, spreads = values_and_spreads([values[order[row]] for row in rows])
            ax.errorbar(found, rows, xerr=spreads, fmt="o", color=COLOURS[i], ms=6, capsize=3)
            texts = dict(zip(rows, measured_texts(found, spreads), strict=True))
            right_column(ax, [texts.get(row, "") for row in range(len(order))])
    return axes


def setting_sweep(
    curves: Mapping[str, Mapping[float, Measured]], setting: str, titles: Mapping[str, str]
) -> np.ndarray:
    """One panel per metric: its value at each value of a setting, on a logarithmic axis.

    Parameters
    ----------
    curves : metric -> {value of the setting: (value, spread over seeds)}
    titles : metric -> title of its panel
    """
    with style():
        axes = plt.subplots(1, len(curves), figsize=(2.9 * len(curves), 2.8), squeeze=False)[1][0]
        for ax, (metric, points) in zip(axes, curves.items(), strict=True):
            places = sorted(points)
            values, spreads = values_and_spreads([points[x] for x in places])
            ax.errorbar(places, values, yerr=spreads, color=COLOURS[0], marker="o", capsize=3)
            ax.set_xscale("symlog" if min(places) == 0 else "log", **_threshold(places))
            ax.set(title=titles[metric], xlabel=setting)
            ax.set_xticks(places, [f"{x:g}" for x in places])
            ax.minorticks_off()
    return axes


def _threshold(places: Sequence[float]) -> dict[str, float]:
    """Where a symmetric logarithmic axis begins to be linear; none without a 0."""
    return {"linthresh": min(x for x in places if x > 0)} if min(places) == 0 else {}


def collapse_panels(
    measures: Mapping[str, Mapping[str, Measured]], titles: Mapping[str, str]
) -> np.ndarray:
    """The same models in every panel, a panel per metric: what sees collapse and what does not.

    Parameters
    ----------
    measures : metric -> model -> (value, spread over seeds)
    """
    names = list(next(iter(measures.values())))
    with style():
        size = (2.6 + 2.1 * len(measures), 1.1 + 0.36 * len(names))
        axes = plt.subplots(1, len(measures), figsize=size, squeeze=False)[1][0]
        for i, (ax, (metric, of)) in enumerate(zip(axes, measures.items(), strict=True)):
            rows = model_rows(ax, names)
            if i:
                ax.set_yticklabels([])
            values, spreads = values_and_spreads([of[name] for name in names])
            ax.barh(rows, values, 0.6, color=PALE_BLUE)
            ax.errorbar(values, rows, xerr=spreads, fmt="none", ecolor=GREY, capsize=3)
            ax.set(title=titles[metric])
    return axes


def latent_planes(
    planes: Mapping[str, np.ndarray], groups: Sequence[str], n_groups: int = 6
) -> np.ndarray:
    """Documents in the plane of their latent means' two main directions, a panel per model.

    Parameters
    ----------
    planes : title -> (D, 2)
    groups : of each document; the largest `n_groups` have a colour, all others are grey
    """
    names, counts = np.unique(np.asarray(groups), return_counts=True)
    largest = names[np.argsort(-counts, kind="stable")][:n_groups]
    with style():
        size = (3.1 * len(planes) + 1.4, 3.2)
        axes = plt.subplots(1, len(planes), figsize=size, squeeze=False)[1][0]
        for ax, (title, points) in zip(axes, planes.items(), strict=True):
            for colour, group in zip(COLOURS, largest, strict=False):
                chosen = np.asarray(groups) == group
                ax.scatter(*points[chosen].T, s=9, color=colour, label=group)
            if (others := ~np.isin(groups, largest)).any():
                ax.scatter(*points[others].T, s=5, color="#E5E7EB", label="all others", zorder=0)
            ax.set(title=title, xticks=[], yticks=[], xlabel="main direction 1")
        axes[0].set_ylabel("main direction 2")
        axes[-1].legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False, markerscale=2)
    return axes


def divergence_fits(
    x: np.ndarray, density: np.ndarray, fits: Mapping[str, tuple[float, float]]
) -> plt.Axes:
    """A density and the Gaussians that are nearest to it in each direction of the divergence.

    Parameters
    ----------
    fits : label -> (mean, standard deviation)
    """
    with style():
        ax = plt.subplots(figsize=(6.4, 2.8))[1]
        ax.fill_between(x, density, color="#E5E7EB", label="p, the target")
        for (label, (mean, deviation)), (look, _) in zip(
            fits.items(), line_styles(len(fits)), strict=True
        ):
            height = np.exp(-0.5 * ((x - mean) / deviation) ** 2) / (deviation * np.sqrt(2 * np.pi))
            ax.plot(x, height, label=label, **look)
        ax.set(title="The nearest Gaussian", xlabel="z", ylabel="density")
        ax.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    return ax


def dirichlet_samples(
    draws: Mapping[str, np.ndarray], atoms: Mapping[str, np.ndarray], n_atoms: int = 20
) -> np.ndarray:
    """Samples of Dirichlet distributions on the simplex, and sizes of a process's atoms.

    Parameters
    ----------
    draws : label -> (n, 3) proportions
    atoms : label -> sizes, largest first, of which `n_atoms` are drawn
    """
    corners = np.array([[0, 0], [1, 0], [0.5, 0.75**0.5]])
    with style():
        n = len(draws) + 1
        axes = plt.subplots(1, n, figsize=(2.6 * n, 2.6), width_ratios=[1] * len(draws) + [1.4])[1]
        for ax, (label, points) in zip(axes, draws.items(), strict=False):
            ax.fill(*corners.T, facecolor="none", edgecolor=GREY)
            ax.plot(*(points @ corners).T, "o", color=COLOURS[0], ms=4, alpha=0.3, mew=0)
            ax.set(title=label, aspect="equal")
            ax.axis("off")
        ax, ranks = axes[-1], np.arange(1, n_atoms + 1)
        for (label, sizes), (look, _) in zip(atoms.items(), line_styles(len(atoms)), strict=True):
            ax.plot(ranks, sizes[:n_atoms], label=label, **look)
        ax.set(title="Dirichlet process", xlabel="atom, by size", ylabel="size")
        ax.legend(frameon=False)
    return axes


def estimator_variances(variances: Mapping[str, Measured]) -> plt.Axes:
    """Variance of gradient estimators of one expectation, on a logarithmic axis."""
    with style():
        ax = plt.subplots(figsize=(7, 0.9 + 0.36 * len(variances)))[1]
        rows = model_rows(ax, list(variances))
        values, spreads = values_and_spreads(list(variances.values()))
        ax.barh(rows, values, 0.6, color=PALE_BLUE)
        ax.errorbar(values, rows, xerr=spreads, fmt="none", ecolor=GREY, capsize=3)
        ax.set_xscale("log")
        ax.set(title="Variance of one draw's gradient", xlabel="mean over latent numbers")
        right_column(ax, measured_texts(values, spreads))
    return ax
