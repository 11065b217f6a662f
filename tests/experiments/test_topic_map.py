"""The figures of topics: numbers are read back from what was drawn, and every text can be read."""

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.text import Text
from readable import assert_readable

from experiments import figures
from experiments.style import COLOURS, GREY
from lla.common.errors import InputError
from lla.model.dynamics import MemoryCurve
from lla.topics.dynamics import Flow, topic_flow
from lla.topics.hierarchy import TopicMap, topic_hierarchy, topic_map

WORDS = [
    *("state", "nation", "country", "government", "law", "party", "war", "army", "battle", "king"),
    *("empire", "roman", "greek", "film", "album", "song", "actor", "player", "team", "ball"),
]


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


def names_of(n, n_words=3):
    draw = np.random.default_rng(0)
    return [", ".join(draw.choice(WORDS, n_words, replace=False)) for _ in range(n)]


def clustered(n_topics, n_clusters=8, seed=0):
    """Topics around centres, as a trained embedding has them."""
    draw = np.random.default_rng(seed)
    centres = draw.normal(size=(n_clusters, 12))
    return centres[draw.integers(n_clusters, size=n_topics)] + 0.6 * draw.normal(
        size=(n_topics, 12)
    )


def shares_of(n):
    return np.random.default_rng(1).dirichlet(np.full(n, 0.5))


def test_the_dendrogram_has_every_merge_at_its_height_and_every_name_in_its_place():
    tree, names = topic_hierarchy(clustered(12)), [f"topic {k}" for k in range(12)]
    ax = figures.topic_dendrogram(tree, names)
    shown = [label.get_text() for label in ax.get_yticklabels()]
    assert shown == [names[k] for k in tree.order]
    lines = ax.collections[0].get_segments()
    assert [line[:, 0].max() for line in lines] == pytest.approx(tree.heights.tolist())
    # Two topics are under one line from the height at which they merge: cophenetic distance.
    place = {int(k): y for y, k in enumerate(tree.order)}
    one, other = tree.merges[0, :2].astype(int)
    assert sorted(lines[0][[0, -1], 1]) == sorted([place[one], place[other]])
    assert ax.yaxis_inverted() and ax.xaxis_inverted() and ax.get_xlim()[1] == 0
    assert_readable(ax.figure)


def test_the_dendrogram_of_a_cut_shows_clusters_with_their_sizes():
    tree = topic_hierarchy(clustered(300), "ward")
    ax = figures.topic_dendrogram(tree, names_of(40), n_clusters=40)
    sizes = np.bincount(tree.cut(40))
    shown = [label.get_text() for label in ax.get_yticklabels()]
    expected = [f"({n})  {name}" for n, name in zip(sizes, names_of(40), strict=True)]
    assert shown == expected and sizes.sum() == 300
    lines = ax.collections[0].get_segments()
    heights = [line[:, 0].max() for line in lines]
    assert heights == pytest.approx(tree.heights[-39:].tolist())
    assert min(line[:, 0].min() for line in lines) >= ax.get_xlim()[1]
    assert_readable(ax.figure)


def test_branches_are_coloured_by_cluster():
    tree = topic_hierarchy(clustered(30))
    ax = figures.topic_dendrogram(tree, names_of(30))
    colours = {mpl.colors.to_hex(c).upper() for c in ax.collections[0].get_colors()}
    assert GREY.upper() in colours and len(colours & {*COLOURS}) >= 3
    assert mpl.colors.to_hex(ax.collections[0].get_colors()[-1]).upper() == GREY.upper()  # root


@pytest.mark.parametrize("n", [2, 50])
def test_a_dendrogram_can_be_read(n):
    assert_readable(figures.topic_dendrogram(topic_hierarchy(clustered(n)), names_of(n)).figure)


def test_a_dendrogram_of_one_cluster_and_of_topics_at_one_place():
    tree = topic_hierarchy(np.ones((4, 2)))
    figures.topic_dendrogram(tree, names_of(4))
    figures.topic_dendrogram(tree, ["all"], n_clusters=1)


@pytest.mark.parametrize(("n", "n_all"), [(2, 2), (24, 24), (50, 50), (400, 60)])
def test_names_on_the_map_cover_nothing(n, n_all):
    share = shares_of(n)
    found = topic_map(clustered(n))
    ax = figures.topic_plane(found, names_of(n, 2), share, n_named=60)
    written = [text for text in ax.texts if text.get_text()]
    assert 0.8 * n_all <= len(written) <= n_all
    assert_readable(ax.figure)
    ax.figure.canvas.draw()
    boxes = [Text.get_window_extent(text) for text in written]
    frame = ax.get_window_extent()
    assert all(frame.x0 <= box.x0 and box.x1 <= frame.x1 for box in boxes)
    largest = np.argsort(-share)[:60]
    centres = ax.transData.transform(found.places[largest])
    assert not any(box.contains(*centre) for box in boxes for centre in centres)
    title = ax.get_title(loc="left")
    assert title == "Map of topics" + (
        f" ({len(written)} of {n} named)" if len(written) < n else ""
    )


def test_the_map_draws_places_sizes_and_clusters():
    found = TopicMap(np.array([[0.0, 0.0], [1.0, 0.5], [-1.0, 0.2]]), np.array([0.6, 0.25]))
    labels = np.array([0, 1, 0])
    ax = figures.topic_plane(found, ["a", "b", "c"], np.array([0.2, 0.5, 0.3]), labels)
    dots = ax.collections[0]
    np.testing.assert_array_equal(dots.get_offsets(), found.places)
    size = dots.get_sizes()
    assert size[1] > size[2] > size[0]
    colours = [mpl.colors.to_hex(c).upper() for c in dots.get_facecolors()]
    assert colours == [COLOURS[0], COLOURS[1], COLOURS[0]]
    assert ax.get_xlabel() == "axis 1: 60% of the variance"
    named = {text.get_text(): text.xy for text in ax.texts if text.get_text()}
    assert named == {"a": (0.0, 0.0), "b": (1.0, 0.5), "c": (-1.0, 0.2)}
    assert ax.get_aspect() == 1


def memory(effect, unrelated=0.6):
    effect = np.array(effect)
    return MemoryCurve(np.arange(1, len(effect) + 1), effect, effect / 10, unrelated)


def test_memory_curves_have_a_band_and_a_scale():
    curves = {"topic_lla": memory([0.5, 0.1, 0.02]), "b": memory([0.05, 0.04, 0.03], 0.3)}
    ax = figures.memory_curves(curves)
    np.testing.assert_allclose(ax.lines[0].get_xydata(), [[1, 0.5], [2, 0.1], [3, 0.02]])
    assert ax.lines[1].get_ydata() == [0.6, 0.6]
    band = ax.collections[0].get_paths()[0].vertices
    assert band[:, 1].max() == pytest.approx(0.6) and band[:, 1].min() == pytest.approx(0.016)
    assert ax.get_xscale() == ax.get_yscale() == "log"
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["b", "topic LLA"]
    assert_readable(ax.figure)


def test_a_model_without_memory_has_a_curve_too():
    ax = figures.memory_curves({"a": memory([0.0, 0.0], 0.0)})
    assert ax.get_yscale() == "linear" and ax.lines[0].get_ydata().tolist() == [0.0, 0.0]
    figures.memory_curves({"a": memory([0.5, 0.0])})
    one = MemoryCurve(np.array([1]), np.array([0.5]), np.array([np.nan]), float("nan"))
    figures.memory_curves({"of one position": one})


def test_what_follows_shows_lift_by_row_and_column():
    after = np.array([[0.5, 0.4, 0.1], [0.2, 0.2, 0.6], [np.nan] * 3])
    share = np.array([0.5, 0.1, 0.4])
    ax = figures.what_follows(after, share, ["a", "b", "c"], np.array([2, 0, 1]))
    assert [label.get_text() for label in ax.get_yticklabels()] == ["c  2", "a  0", "b  1"]
    assert [label.get_text() for label in ax.get_xticklabels()] == ["2", "0", "1"]
    image = ax.images[0].get_array()
    assert np.ma.getmaskarray(image)[0].all()
    np.testing.assert_allclose(image[1:], [[1.0, 1.0, 4.0], [1.5, 1.0, 2.0]])
    assert_readable(ax.figure)


@pytest.mark.parametrize("n", [3, 50])
def test_what_follows_can_be_read(n):
    after = np.random.default_rng(0).dirichlet(np.full(n, 0.2), size=n)
    assert_readable(figures.what_follows(after, shares_of(n), names_of(n, 2)).figure)


def arrows(ax):
    return [patch for patch in ax.patches if isinstance(patch, mpl.patches.FancyArrowPatch)]


def test_the_flow_has_an_arrow_for_every_large_move():
    moves = np.array([[0, 0.6, 0.05], [0.2, 0, 0.1], [0.0, 0.0, 0]])
    flow = Flow(np.array([4, 0, 2]), np.array([0.4, 0.3, 0.1]), moves, np.array([0.8, 0.5, np.nan]))
    ax = figures.topic_flow(flow, ["a", "b", "c"], min_move=0.1)
    widths = sorted(arrow.get_linewidth() for arrow in arrows(ax))
    assert widths == pytest.approx([1.0, 2.0, 6.0])
    texts = [text.get_text() for text in ax.texts]
    assert texts[0] == "a\n40.0% of tokens, stays 80%" and texts[2] == "c\n10.0% of tokens"
    assert_readable(ax.figure)


@pytest.mark.parametrize("n", [1, 2, 10])
def test_a_flow_can_be_read(n):
    topics = np.random.default_rng(0).choice(14, p=shares_of(14), size=3000)
    flow = topic_flow(topics, np.array([0, 3000]), 14, n_largest=n)
    ax = figures.topic_flow(flow, names_of(n, 4), min_move=0.05)
    assert len(arrows(ax)) == (flow.moves >= 0.05).sum()
    assert_readable(ax.figure)


def test_names_that_look_like_formulas_are_drawn_as_they_are():
    tree = topic_hierarchy(np.eye(3))
    ax = figures.topic_dendrogram(tree, ["$1, $2 {", "x" * 90, "b"])
    shown = {label.get_text() for label in ax.get_yticklabels()}
    assert shown == {r"\$1, \$2 {", "x" * 59 + "…", "b"}


@pytest.mark.parametrize("kind", ["dendrogram", "plane", "follows", "flow"])
def test_a_name_too_few_is_refused(kind):
    names, share = ["a", "b"], np.full(3, 1 / 3)
    calls = {
        "dendrogram": lambda: figures.topic_dendrogram(topic_hierarchy(np.eye(3)), names),
        "plane": lambda: figures.topic_plane(topic_map(np.eye(3)), names, share),
        "follows": lambda: figures.what_follows(np.eye(3), share, names),
        "flow": lambda: figures.topic_flow(Flow(np.arange(3), share, np.eye(3), share), names),
    }
    with pytest.raises(InputError, match="names: 2; give one for each of 3"):
        calls[kind]()


def draw_each():
    """Every figure of six topics, by name: a function of the Axes."""
    embedding, names, share = clustered(6), names_of(6), shares_of(6)
    flow = Flow(np.arange(6), share, np.full((6, 6), 0.2), share)
    tree, found = topic_hierarchy(embedding), topic_map(embedding)
    return {
        "dendrogram": lambda ax: figures.topic_dendrogram(tree, names, ax=ax),
        "plane": lambda ax: figures.topic_plane(found, names, share, ax=ax),
        "follows": lambda ax: figures.what_follows(np.eye(6), share, names, ax=ax),
        "flow": lambda ax: figures.topic_flow(flow, names, ax=ax),
        "memory": lambda ax: figures.memory_curves({"a": memory([0.5, 0.2])}, ax=ax),
    }


@pytest.mark.parametrize("kind", list(draw_each()))
def test_figures_draw_into_given_axes(kind):
    _, (left, right) = plt.subplots(1, 2, figsize=(14, 5))
    assert draw_each()[kind](right) is right
    assert not left.has_data() and len(plt.get_fignums()) == 1
