"""Figures of predictions show the numbers they were given."""

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from readable import assert_readable

from experiments import figures
from lla.evaluate.calibration import Reliability, reliability


@pytest.fixture(autouse=True)
def drawn_without_a_trace():
    """Every figure can be drawn (warnings are errors), and no setting is left behind."""
    plt.close("all")
    before = dict(mpl.rcParams)
    yield
    for number in plt.get_fignums():
        plt.figure(number).canvas.draw()
    plt.close("all")
    assert dict(mpl.rcParams) == before


def lines(ax):
    return [np.array(line.get_xydata()) for line in ax.lines]


def drawn(ax, points):
    return any(np.allclose(line, points) for line in lines(ax) if line.shape == np.shape(points))


def named(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def curves(n=2, scale=0.5):
    draw = np.random.default_rng(0)
    names = ["sasrec", "sasrec_own", *(f"another model, number {i}" for i in range(12))]
    found = {}
    for i, name in enumerate(names[:n]):
        p = scale * draw.random(3000)
        found[name] = reliability(p, draw.random(3000) < p ** (1 + i / 10), 8)
    return found


@pytest.mark.parametrize("logarithmic", [False, True])
def test_reliability_shows_each_curve_its_error_and_the_diagonal(logarithmic):
    found = curves()
    ax = figures.reliability(found, logarithmic)
    for curve in found.values():
        shown = curve.frequency > 0
        points = np.stack([curve.predicted, curve.frequency], axis=1)
        assert drawn(ax, points[shown] if logarithmic else points)
    errors = [curve.error for curve in found.values()]
    assert named(ax) == [
        f"SASRec, ECE {errors[0]:.3f}",
        f"SASRec + own counts, ECE {errors[1]:.3f}",
    ]
    (diagonal,) = [line for line in lines(ax) if len(line) == 2 and (line[0] == line[0, 0]).all()]
    assert (diagonal[1] == diagonal[1, 0]).all() and diagonal[1, 0] > 0.45
    assert ax.get_xscale() == ("log" if logarithmic else "linear")
    assert_readable(ax.figure)


def test_bins_of_which_nothing_came_lie_on_the_edge_of_a_logarithmic_figure():
    curve = Reliability(np.array([50, 50]), np.array([0.01, 0.2]), np.array([0.0, 0.1]))
    ax = figures.reliability({"a": curve}, logarithmic=True)
    assert drawn(ax, [[0.01, 0.05]]) and drawn(ax, [[0.2, 0.1]])
    nothing = Reliability(np.array([50]), np.array([0.01]), np.array([0.0]))
    for logarithmic in (False, True):
        assert figures.reliability({"a": nothing}, logarithmic).has_data()


def over_history(n=3, places=(2.5, 8.0, 31.0)):
    names = ["bigram", "bigram_own", *(f"another model, number {i}" for i in range(12))]
    return {
        name: {at: (0.1 + 0.02 * i + at / 300, 0.01) for at in places}
        for i, name in enumerate(names[:n])
    }


def test_ranking_over_a_history_shows_each_group_and_names_the_axis():
    found = over_history()
    ax = figures.ranking_over_history(found, "ndcg@10")
    for points in found.values():
        assert drawn(ax, [[at, value] for at, (value, _) in points.items()])
    assert named(ax) == ["another model, number 0", "bigram + own counts", "bigram"]
    assert ax.get_ylabel() == "NDCG@10" and ax.get_xlabel() == "events of the user before"
    assert ax.get_xscale() == "log" and ax.get_ylim()[0] == 0
    near = figures.ranking_over_history(over_history(2, (20.0, 30.0)), "mrr", "length")
    assert near.get_xscale() == "linear" and near.get_xlabel() == "events of the user"
    start = figures.ranking_over_history(over_history(1, (0.0, 30.0)), "mrr")
    assert start.get_xscale() == "linear", "no logarithm of a first event"


@pytest.mark.parametrize(
    ("draw", "argument"),
    [
        (figures.reliability, curves(14)),
        (figures.reliability, curves(1, 0.01)),
        (lambda argument: figures.ranking_over_history(argument, "ndcg@10"), over_history(14)),
        (lambda argument: figures.ranking_over_history(argument, "mrr"), over_history(1)),
    ],
)
def test_every_text_can_be_read_with_many_models_and_with_one(draw, argument):
    assert_readable(draw(argument).figure)


def test_they_draw_into_given_axes():
    _, (left, right) = plt.subplots(1, 2)
    assert figures.reliability(curves(), ax=right) is right
    assert figures.ranking_over_history(over_history(), "mrr", ax=left) is left


def test_shares_of_sources_fill_the_figure():
    draw = np.random.default_rng(0).dirichlet(np.ones(4), 12)
    names = ["topics", "next", "own_next", "recent"]
    shares = pd.DataFrame(draw, columns=names, index=pd.RangeIndex(1, 13, name="event"))
    ax = figures.source_shares(shares, "A user")
    assert named(ax) == [
        "what was used lately (recent)",
        "what follows here (own_next)",
        "what usually follows (next)",
        "topics",
    ]
    assert (ax.get_xlim(), ax.get_ylim()) == ((1, 12), (0, 1))
    tops = [area.get_paths()[0].vertices[:, 1].max() for area in ax.collections]
    assert np.allclose(tops, draw.cumsum(axis=1).max(axis=0))
    assert_readable(ax.figure)


def test_own_counts_are_shown_beside_each_model():
    measures = {
        "sasrec": (124.3, 2.0),
        "sasrec_own": (110.0, 1.0),
        "bigram": (270.2, 0.0),
        "bigram_own": (200.0, 0.0),
        "personal_lla": (80.25, 0.5),
    }
    ax = figures.own_counts_effect(measures, "Simulated clicks")
    rows = [label.get_text() for label in ax.get_yticklabels()]
    assert rows == ["personal topic LLA", "SASRec", "bigram"]
    texts = {text.get_text(): text.get_fontweight() for text in ax.texts}
    assert texts == {"80.25 ± 0.50": "bold", "110 ± 1": "normal", "200": "normal"}
    assert drawn(ax, [(80.25, 0), (124.3, 1), (270.2, 2)]) and drawn(ax, [(110, 1), (200, 2)])
    assert_readable(ax.figure)
    alone = figures.own_counts_effect({"bigram": (270.2, 1.0)})
    assert named(alone) == ["alone"]


def test_a_logarithmic_axis_of_perplexities_has_plain_numbers_that_stand_apart():
    """Powers of ten with minor ticks would read 60, 100, 200, 3×10², 4×10², 600."""
    values = {"personal_lla": 55.3, "sasrec": 130.0, "bigram": 315.0, "unigram": 591.0}
    ax = figures.own_counts_effect({name: (value, 1.0) for name, value in values.items()})
    assert ax.get_xscale() == "log"
    assert [t.get_text() for t in ax.get_xticklabels()] == ["50", "100", "200", "500"]
    assert ax.get_xticks(minor=True).size == 0
    assert_readable(ax.figure)
