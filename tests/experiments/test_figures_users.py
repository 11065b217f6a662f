"""Figures of users show the numbers they were given, and leave nothing behind."""

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest

from experiments import figures_users


@pytest.fixture(autouse=True)
def drawn_without_a_trace():
    plt.close("all")
    before = dict(mpl.rcParams)
    yield
    for number in plt.get_fignums():
        plt.figure(number).canvas.draw()
    plt.close("all")
    assert dict(mpl.rcParams) == before


def test_forecasts_show_the_topics_that_somebody_expects():
    draw = np.random.default_rng(0)
    names = [f"leaf {k}" for k in range(12)]
    sure = np.zeros((5, 12))
    sure[:, 7] = 1.0
    vague = draw.dirichlet(np.full(12, 5.0), size=5)
    axes = figures_users.topics_ahead({"oracle": sure, "LDA": vague}, names, n_shown=4)
    assert [ax.get_title(loc="left") for ax in axes] == ["oracle", "LDA"]
    shown = [label.get_text() for label in axes[0].get_yticklabels()]
    assert len(shown) == 4 and "leaf 7" in shown
    image = axes[0].images[0].get_array()
    assert image.shape == (4, 5)
    np.testing.assert_array_equal(image[shown.index("leaf 7")], 1.0)
    texts = [text.get_text() for text in axes[0].texts]
    assert texts == ["1.00"] * 5


def test_ranking_bars_are_sorted_and_parts_are_marked():
    models = {
        "weak": {"all": (0.1, 0.01), "repeats": (0.2, 0.0), "novel": (0.05, 0.0)},
        "strong": {"all": (0.4, 0.02), "repeats": (0.6, 0.0)},
        "middle": {"all": (0.3, 0.0), "repeats": (0.5, 0.0), "novel": (0.1, 0.0)},
    }
    ax = figures_users.ranking_bars(models, "NDCG@10")
    assert [label.get_text() for label in ax.get_yticklabels()] == ["weak", "middle", "strong"]
    assert [bar.get_width() for bar in ax.patches] == [0.1, 0.3, 0.4]
    marks = {line.get_label(): line.get_xdata().tolist() for line in ax.lines}
    assert marks["repeats"] == [0.2, 0.5, 0.6]
    assert marks["novel"] == [0.05, 0.1]
