"""Topics as a whole: their tree, their map, what follows what, how far back a model remembers."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import LogNorm
from matplotlib.lines import Line2D
from matplotlib.patches import FancyArrowPatch
from matplotlib.patheffects import withStroke
from matplotlib.ticker import NullFormatter
from matplotlib.transforms import Bbox
from scipy.cluster.hierarchy import leaves_list, linkage, optimal_leaf_ordering
from scipy.spatial.distance import squareform

from experiments.style import (
    COLOURS,
    GREY,
    INK,
    SHORT,
    drawing,
    legend,
    line_styles,
)
from lla.common.errors import InputError
from lla.model.dynamics import MemoryCurve
from lla.topics.dynamics import Flow
from lla.topics.hierarchy import Hierarchy, TopicMap

LONGEST_NAME = 60  # characters of a name that are shown
ROUNDS = 8  # of finding room for names
LARGEST_LIFT = 16.0  # where the darkest shade begins


def _check_names(names: Sequence[str], n: int, longest: int = LONGEST_NAME) -> list[str]:
    """Names as they are drawn: cut where long, and no formula where they have dollar signs."""
    if len(names) != n:
        raise InputError(f"names: {len(names)}; give one for each of {n}")
    texts = [name if len(name) <= longest else name[: longest - 1] + "…" for name in names]
    return [text.replace("$", r"\$") for text in texts]


def topic_dendrogram(
    hierarchy: Hierarchy,
    names: Sequence[str],
    n_clusters: int | None = None,
    title: str = "Hierarchy of topics",
    ax: Axes | None = None,
) -> Axes:
    """The tree of topics, as in the paper's Figures 6 and 7; for many topics, its upper part.

    Parameters
    ----------
    names : (K,) of the topics; where the tree is cut, (n_clusters,) of the clusters, as
        `Hierarchy.cut` numbers them
    n_clusters : clusters that the tree is cut into, each shown as one leaf with the number of its
        topics; None shows every topic
    """
    n_leaves = hierarchy.n_topics if n_clusters is None else n_clusters
    labels = hierarchy.cut(n_leaves)  # in the order of the leaves
    texts = _check_names(names, n_leaves)
    if n_clusters is None:
        texts = [texts[k] for k in hierarchy.order]
    else:
        sizes = np.bincount(labels)
        texts = [f"({size})  {text}" for size, text in zip(sizes, texts, strict=True)]
    top, floor = float(hierarchy.heights[-1]), 0.0
    if 1 < n_leaves < hierarchy.n_topics:  # leaves begin a little below the lowest merge shown
        lowest = float(hierarchy.heights[hierarchy.n_topics - n_leaves])
        floor = max(0.0, lowest - 0.05 * (top - lowest))
    lines, colours = _branches(hierarchy, labels, floor)
    size = (7.6, 1.0 + 0.17 * n_leaves)
    x = "distance at which clusters merge"
    x += "" if n_clusters is None else "; (n): topics"
    with drawing(ax, size, title, x) as ax:
        ax.add_collection(LineCollection(lines, colors=colours, linewidths=1.1))
        left = top + 0.03 * (top - floor) if top > floor else floor + 1.0
        ax.set(xlim=(left, floor), ylim=(n_leaves - 0.4, -0.6))
        ax.yaxis.tick_right()
        ax.set_yticks(np.arange(n_leaves), texts, fontsize=7.5, color=INK)
        ax.tick_params(axis="y", length=0)
        ax.grid(visible=False, axis="y")
        ax.spines["left"].set_visible(False)
    return ax


def _branches(
    hierarchy: Hierarchy, labels: np.ndarray, floor: float
) -> tuple[list[np.ndarray], list[str]]:
    """Lines (4, 2) of the merges of clusters, which begin at `floor`, and their colours."""
    n_topics, n_leaves = hierarchy.n_topics, int(labels.max()) + 1
    below = n_topics - n_leaves  # merges inside clusters
    groups = hierarchy.cut(min(len(COLOURS), n_leaves))
    place = np.zeros(2 * n_topics - 1)
    height = np.zeros(2 * n_topics - 1)
    height[n_topics:] = hierarchy.heights
    group = np.full(2 * n_topics - 1, -1)  # of a node all of whose topics are in one, else -1
    place[:n_topics], group[:n_topics] = labels, groups
    lines, colours = [], []
    for i, (one, other) in enumerate(hierarchy.merges[:, :2].astype(int)):
        node = n_topics + i
        place[node] = (place[one] + place[other]) / 2
        group[node] = group[one] if group[one] == group[other] else -1
        if i >= below:
            inner = np.array([one, other]) >= n_topics + below  # made by a merge that is shown
            ends = np.where(inner, height[[one, other]], floor)
            x = [ends[0], height[node], height[node], ends[1]]
            lines.append(np.column_stack([x, place[[one, one, other, other]]]))
            colours.append(GREY if group[node] < 0 else COLOURS[group[node] % len(COLOURS)])
    return lines, colours


def topic_plane(
    found: TopicMap,
    names: Sequence[str],
    share: np.ndarray,
    labels: np.ndarray | None = None,
    n_named: int = 60,
    title: str = "Map of topics",
    ax: Axes | None = None,
) -> Axes:
    """Topics on the plane of their two principal axes; the area of a dot is the topic's share.

    Names are written where there is room, the largest topics first. A name that would cover another
    one, or the dot of a topic that may have a name, is left out; the title says how many are there.

    Parameters
    ----------
    names, share : (K,)
    labels : (K,) clusters, shown by colour; such as `Hierarchy.cut(6)`
    n_named : names written at most
    """
    n_topics = len(found.places)
    texts = _check_names(names, n_topics, 30)
    cluster = np.zeros(n_topics, int) if labels is None else np.asarray(labels)
    colours = [COLOURS[c % len(COLOURS)] for c in cluster]
    largest = 180.0 * min(1.0, 200 / n_topics)  # square points
    area = 8.0 + largest * np.asarray(share) / max(1.0 / n_topics, float(np.max(share)))
    axes = [f"axis {i}: {part:.0%} of the variance" for i, part in enumerate(found.explained, 1)]
    with drawing(ax, (8.4, 6.6), title, axes[0], axes[1]) as ax:
        x, y = found.places.T
        ax.scatter(x, y, s=area, c=colours, alpha=0.6, linewidths=0, zorder=2)
        ax.margins(0.12)
        ax.set_aspect("equal", adjustable="datalim")
        order = np.argsort(-np.asarray(share), kind="stable")[:n_named]
        n_written = _write_names(ax, found.places, texts, order, np.sqrt(area / np.pi))
        if n_written < n_topics:
            ax.set_title(f"{title} ({n_written} of {n_topics} named)")
    return ax


def _write_names(
    ax: Axes, places: np.ndarray, texts: Sequence[str], order: np.ndarray, radius: np.ndarray
) -> int:
    """Write names beside their dots where they cover nothing; how many were written.

    Parameters
    ----------
    places : (K, 2)
    order : topics whose names are tried, first those that matter most
    radius : (K,) of the dots, points
    """
    figure = ax.get_figure(root=True)
    assert figure is not None
    figure.draw_without_rendering()  # only after its layout are places what they will be
    scale = figure.dpi / 72  # pixels per point
    centres, frame = ax.transData.transform(places) / scale, ax.get_window_extent()
    limits = Bbox(np.array(frame) / scale)
    halo = [withStroke(linewidth=2, foreground="white")] if len(order) < len(places) else []
    written, sizes = {}, {}
    for k in order:
        written[k] = ax.annotate(
            texts[k], tuple(places[k]), (0, 0), textcoords="offset points", fontsize=7, color=INK,
            zorder=4, path_effects=halo,
        )  # fmt: skip
        written[k].set_in_layout(False)
        extent = written[k].get_window_extent()
        sizes[k] = np.array([extent.width, extent.height]) / scale
    best: dict[int, tuple[np.ndarray, bool]] = {}
    attempt = list(order)
    for _ in range(ROUNDS):
        found = _find_room(centres, sizes, attempt, radius, limits)
        best = found if len(found) > len(best) else best
        left_out = [k for k in attempt if k not in found]
        if not left_out:
            break
        attempt = left_out + [k for k in attempt if k in found]  # where it is tight goes first
    for k, text in written.items():
        if k not in best:
            text.remove()
            continue
        corner, far = best[k]
        text.set_position(tuple(corner))
        if far:
            _leader(ax, places[k], np.clip(0.0, corner, corner + sizes[k]))
    return len(best)


def _find_room(
    centres: np.ndarray,
    sizes: Mapping[int, np.ndarray],
    order: Sequence[int],
    radius: np.ndarray,
    limits: Bbox,
) -> dict[int, tuple[np.ndarray, bool]]:
    """Lower left corner of each name from its dot's centre, and whether it needs a line to it.

    Everything is in points; a name for which there is no room is left out.

    Parameters
    ----------
    centres : (K, 2) of the dots
    sizes : width and height of each name
    """
    taken = [_square(centres[k], 0.8 * radius[k]) for k in order]
    found = {}
    for k in order:
        for corner, far in _corners(radius[k], *sizes[k]):
            low = centres[k] + corner
            box = Bbox.from_extents(*low, *(low + sizes[k])).padded(0.7)
            nearest = np.clip(0.0, corner, corner + sizes[k])  # point of the name's box
            line = _along(centres[k], nearest, radius[k]) if far else []
            inside = limits.x0 < box.x0 and box.x1 < limits.x1
            inside = inside and limits.y0 < box.y0 and box.y1 < limits.y1
            if inside and not any(new.count_overlaps(taken) for new in (box, *line)):
                taken += [box, *line]
                found[k] = corner, far
                break
    return found


def _square(centre: np.ndarray, half: float) -> Bbox:
    return Bbox.from_extents(*(centre - half), *(centre + half))


def _along(start: np.ndarray, step: np.ndarray, skip: float) -> list[Bbox]:
    """Small boxes along a line, from where it leaves the dot to where the name begins."""
    length = max(float(np.linalg.norm(step)), 1e-9)
    return [_square(start + step * way / length, 0.7) for way in np.arange(skip + 1, length - 2, 2)]


def _corners(radius: float, width: float, height: float) -> list[tuple[np.ndarray, bool]]:
    """Where a name's lower left corner may lie from its dot's centre, points, nearest first."""
    found = []
    for gap in (1.0, 6.0, 14.0, 24.0, 36.0, 50.0):
        r = radius + gap
        beside = [(r, -height / 2), (-r - width, -height / 2)]
        across = [-0.5 * width, 0.7 * r, -0.7 * r - width, -0.15 * width, -0.85 * width]
        over = [(x, y) for x in across for y in (0.9 * r, -0.9 * r - height)]
        found += [(np.array(corner), gap > 6.0) for corner in (*beside, *over)]
    return found


def _leader(ax: Axes, place: np.ndarray, step: np.ndarray) -> None:
    """A thin line from a dot to its name, `step` points away."""
    line = ax.annotate(
        "", tuple(place), tuple(step), textcoords="offset points", zorder=1,
        arrowprops={"arrowstyle": "-", "color": GREY, "lw": 0.5, "shrinkA": 0, "shrinkB": 0},
    )  # fmt: skip
    line.set_in_layout(False)


def memory_curves(curves: Mapping[str, MemoryCurve], ax: Axes | None = None) -> Axes:
    """How much one past topic changes the prediction, by its distance; both axes logarithmic.

    Bands are two standard errors. A dotted line is the distance of two unrelated predictions.

    Parameters
    ----------
    curves : model -> what `lla.model.dynamics.memory_curve` returns
    """
    title = "Effect of one past topic on the next topics expected"
    x, y = "tokens back", "total variation"
    with drawing(ax, (6.6, 3.8), title, x, y) as ax:
        ends: dict[str, tuple[Any, float]] = {}
        for (name, curve), (look, _) in zip(curves.items(), line_styles(len(curves)), strict=True):
            line = ax.plot(curve.distance, curve.effect, **look)[0]
            ends[name] = line, float(curve.effect[-1])
            low, high = (curve.effect + sign * 2 * curve.standard_error for sign in (-1, 1))
            floor = curve.effect / 10  # where the band reaches 0, which has no logarithm
            ax.fill_between(
                curve.distance, np.fmax(low, floor), high, color=look["color"], alpha=0.18, lw=0
            )
            ax.axhline(curve.unrelated, color=look["color"], ls=":", lw=1)
        ax.set_xscale("log")
        if any((curve.effect > 0).any() for curve in curves.values()):
            ax.set_yscale("log")
        ax.xaxis.set_major_formatter(SHORT)
        ax.xaxis.set_minor_formatter(NullFormatter())
        legend(ax, ends)
    return ax


def what_follows(
    after: np.ndarray,
    share: np.ndarray,
    names: Sequence[str],
    order: np.ndarray | None = None,
    title: str = "What follows",
    ax: Axes | None = None,
) -> Axes:
    """Lift of every topic after every other; white is no more often than its share of all tokens.

    Parameters
    ----------
    after : (K, K) probabilities of one lag, from and to, such as ``expected_after(model)[0]``; NaN,
        where nothing is known, is grey
    share : (K,) of the tokens
    names : (K,) of the topics, written beside their rows; columns have their numbers
    order : topics that are shown, in this order, such as `Hierarchy.order`; all by default
    """
    texts = _check_names(names, len(share), 32)
    shown = np.arange(len(share)) if order is None else np.asarray(order)
    rows, base = after[np.ix_(shown, shown)], np.asarray(share, float)[shown]
    lift = np.full(rows.shape, np.nan)
    np.divide(rows, base, out=lift, where=(base > 0) & ~np.isnan(rows))
    n = len(shown)
    size = (3.6 + max(2.2, 0.16 * n), 1.4 + max(1.4, 0.16 * n))
    with drawing(ax, size, title, "then (number of the topic)") as ax:
        ax.set_facecolor("#D1D5DB")
        norm = LogNorm(1.0, LARGEST_LIFT, clip=True)
        image = ax.imshow(np.maximum(lift, 1.0), cmap="Blues", norm=norm, aspect="auto")
        ax.grid(visible=False)
        ax.set_yticks(np.arange(n), [f"{texts[k]}  {k}" for k in shown])
        ax.set_xticks(np.arange(n), [str(k) for k in shown], rotation=90)
        ax.tick_params(length=0, labelsize=6.5 if n > 15 else 8, labelcolor=INK)
        figure = ax.get_figure(root=True)
        assert figure is not None
        ticks = 2.0 ** np.arange(np.log2(LARGEST_LIFT) + 1)
        bar = figure.colorbar(image, ax=ax, shrink=0.6, aspect=30, pad=0.02)
        bar.set_ticks(ticks.tolist(), labels=[f"{tick:g}×" for tick in ticks])
        bar.ax.minorticks_off()
        bar.ax.tick_params(labelsize=8)
        bar.set_label("times its share of all tokens", fontsize=8, color=GREY)
    return ax


def topic_flow(
    flow: Flow,
    names: Sequence[str],
    min_move: float = 0.1,
    title: str = "Where the largest topics lead",
    ax: Axes | None = None,
) -> Axes:
    """The largest topics on a circle; an arrow's width is the share of runs that end there.

    Parameters
    ----------
    flow : as `lla.topics.dynamics.topic_flow` returns it
    names : (n,) of its topics, in its order
    min_move : smallest share that has an arrow
    """
    n = len(flow.topics)
    texts = _check_names(names, n, 36)
    with drawing(ax, (8.2, 5.6), title, "") as ax:
        ax.set_axis_off()
        ax.set_aspect("equal")
        ax.set(xlim=(-2.3, 2.3), ylim=(-1.3, 1.3), xticks=[], yticks=[])
        position = np.argsort(_around(flow.moves))  # of each topic, on the circle
        colours = [COLOURS[p % len(COLOURS)] for p in position]
        angle = np.pi / 2 - 2 * np.pi * position / n
        places = np.column_stack([np.cos(angle), np.sin(angle)])
        radius = 4.0 + 10.0 * np.sqrt(flow.share / flow.share.max())  # points
        for i, j in np.argwhere(flow.moves >= min_move):
            _arrow(
                ax,
                places=(places[i], places[j]),
                radius=(radius[i], radius[j]),
                move=flow.moves[i, j],
                colour=colours[i],
            )
        for i, (text, (right, up)) in enumerate(zip(texts, places, strict=True)):
            ax.plot(right, up, "o", ms=2 * radius[i], color=colours[i], mec="white", zorder=3)
            stay = "" if np.isnan(flow.stay[i]) else f", stays {flow.stay[i]:.0%}"
            side = "center" if abs(right) < 0.2 else "left" if right > 0 else "right"
            ax.annotate(
                f"{text}\n{flow.share[i]:.1%} of tokens{stay}", (right, up),
                ((radius[i] + 5) * right, (radius[i] + 5) * up), textcoords="offset points",
                ha=side, va="bottom" if up > 0.5 else "top" if up < -0.5 else "center",
                fontsize=7.5, color=INK, linespacing=1.3,
            )  # fmt: skip
        sizes = [size for size in (min_move, 3 * min_move) if size <= 1]
        key = [Line2D([], [], color=GREY, lw=_width(size)) for size in sizes]
        ax.legend(
            key, [f"{size:.0%} of a topic's runs lead there" for size in sizes],
            loc="upper center", bbox_to_anchor=(0.5, 0.0), ncols=2, frameon=False, fontsize=7.5,
        )  # fmt: skip
    return ax


def _width(move: float) -> float:
    """Of an arrow, points."""
    return 10.0 * move


def _arrow(
    ax: Axes,
    places: tuple[np.ndarray, np.ndarray],
    radius: tuple[float, float],
    move: float,
    colour: str,
) -> None:
    """From one dot to another, of these radii in points."""
    start, end = (tuple(place) for place in places)
    ax.add_patch(
        FancyArrowPatch(
            start, end, connectionstyle="arc3,rad=0.2", arrowstyle="-|>",
            mutation_scale=6 + 0.8 * _width(move), lw=_width(move), color=colour, alpha=0.5,
            shrinkA=radius[0], shrinkB=radius[1] + 1, zorder=2, joinstyle="miter", capstyle="butt",
        )
    )  # fmt: skip


def _around(moves: np.ndarray) -> np.ndarray:
    """An order in which topics that lead to each other stand together, (n,)."""
    n = len(moves)
    if n < 3:
        return np.arange(n)
    both = (moves + moves.T) / 2
    distance = squareform(both.max() - both + 1e-9, checks=False)
    return leaves_list(optimal_leaf_ordering(linkage(distance, "average"), distance))
