"""A figure shows the numbers it was given: they are read back from what was drawn."""

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest

from experiments import figures


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


def history(perplexities, entropies):
    return [
        {"iteration": i, "development_perplexity": p, "topic_entropy": e, "changed": 0.1}
        for i, (p, e) in enumerate(zip(perplexities, entropies, strict=True), start=1)
    ]


def texts(ax):
    return [text.get_text() for text in ax.texts]


def errors(container):
    """(low, high) ends of the error bars along their own axis."""
    (bars,) = container[2]
    return np.array([np.ptp(segment, axis=0).max() for segment in bars.get_segments()])


def test_learning_curves_show_seeds_their_mean_and_the_kept_iterations():
    runs = {
        "joint": [history([9, 5, 7], [3, 2, 1]), history([8, 7, 4, 6], [5, 4, 3, 2])],
        "independent": [history([9, 8], [3, 3])],
    }
    left, right = figures.learning_curves(runs)
    lines = [line.get_xydata() for line in left.lines]
    for seed in (0, 1):
        drawn = [row["development_perplexity"] for row in runs["joint"][seed]]
        assert any(np.array_equal(line[:, 1], drawn) for line in lines)
    # The mean runs over the iterations that every seed reached.
    assert any(np.array_equal(line, [[1, 8.5], [2, 6.0], [3, 5.5]]) for line in lines)
    kept = [tuple(line.get_xydata()[0]) for line in left.lines if line.get_marker() == "o"]
    assert kept == [(2, 5), (3, 4), (2, 8)]
    assert not any(line.get_marker() == "o" for line in right.lines)
    assert any(np.array_equal(line.get_ydata(), [4.0, 3.0, 2.0]) for line in right.lines)
    assert sorted(texts(left)) == sorted(texts(right)) == ["independent", "joint"]
    assert "nats" in right.get_title(loc="left") and left.get_xlabel() == "SEM iteration"


def test_learning_curves_of_a_single_iteration():
    left, _ = figures.learning_curves({"joint": [history([5.0], [1.0])]})
    assert left.lines[0].get_xydata().tolist() == [[1, 5.0]]


def test_log_likelihood_trace_counts_sweeps_from_one():
    traces = {"seed 0": [-3e6, -2e6, -1.5e6], "seed 1": np.array([-3.1e6, -2e6])}
    ax = figures.log_likelihood_trace(traces)
    assert ax.lines[0].get_xydata().tolist() == [[1, -3e6], [2, -2e6], [3, -1.5e6]]
    assert ax.lines[1].get_xydata().tolist() == [[1, -3.1e6], [2, -2e6]]
    assert "nats" in ax.get_title(loc="left")
    ax.figure.canvas.draw()
    assert "-2M" in [label.get_text() for label in ax.get_yticklabels()]


def test_table4_bars_print_values_spreads_and_the_papers_value():
    measures = {"LDA": (2594.0, 12.0), "independent": (2135.0, 20.0), "joint": (1975.0, 14.0)}
    ax = figures.table4_bars(measures, {"independent": 2119.0})
    assert [bar.get_width() for bar in ax.patches] == [2594.0, 2135.0, 1975.0]
    assert errors(ax.containers[1]).tolist() == pytest.approx([24.0, 40.0, 28.0])
    assert [label.get_text() for label in ax.get_yticklabels()] == list(measures)
    assert texts(ax) == ["2,594 ± 12", "2,135 ± 20   (paper 2,119)", "1,975 ± 14"]
    diamonds = [line.get_xydata().tolist() for line in ax.lines if line.get_marker() == "D"]
    assert diamonds == [[[2119.0, 1]]]
    # The first model stands on top, and bars start at zero: a cut axis exaggerates.
    assert ax.yaxis_inverted() and ax.get_xlim()[0] == 0
    # Only the best bar is emphasised.
    shades = [bar.get_facecolor() for bar in ax.patches]
    assert shades[0] == shades[1] != shades[2]


def test_table4_bars_fit_a_paper_value_beyond_ours():
    ax = figures.table4_bars({"joint": (100.0, 1.0)}, {"joint": 1785.0, "not measured": 9999.0})
    assert ax.get_xlim()[1] > 1785


def test_table4_bars_without_the_paper():
    ax = figures.table4_bars({"joint": (100.0, 0.0)})
    assert texts(ax) == ["100 ± 0"]


def test_particles_curve_is_ordered_and_logarithmic():
    curves = {"joint": {16: (2000.0, 5.0), 1: (2074.0, 9.0), 4: (2024.0, 7.0)}}
    ax = figures.particles_curve(curves)
    assert ax.lines[0].get_xydata().tolist() == [[1, 2074.0], [4, 2024.0], [16, 2000.0]]
    assert errors(ax.containers[0]).tolist() == pytest.approx([18.0, 14.0, 10.0])
    assert ax.get_xscale() == "log" and ax.xaxis.get_transform().base == 2
    assert [label.get_text() for label in ax.get_xticklabels()] == ["1", "4", "16"]
    assert texts(ax) == ["joint"]


def test_topic_words_compare_before_and_after_on_one_scale():
    before = [(["a", "b"], [0.2, 0.1]), (["c", "d"], [0.5, 0.4])]
    after = [(["a", "e"], [0.4, 0.3])]
    axes = figures.topic_words({"LDA": before, "SEM": after})
    assert axes.shape == (2, 2)
    assert texts(axes[0, 0]) == ["a", "b"] and texts(axes[1, 0]) == ["a", "e"]
    assert [bar.get_width() for bar in axes[0, 1].patches] == [0.5, 0.4]
    assert [bar.get_width() for bar in axes[1, 0].patches] == [0.4, 0.3]
    assert axes[0, 0].get_xlim() == axes[1, 0].get_xlim() and axes[0, 0].get_xlim()[1] > 0.4
    assert axes[0, 0].get_title(loc="left") == "LDA, topic 1"
    assert not axes[1, 1].axison and not axes[1, 1].patches
    assert axes[0, 0].yaxis_inverted()


def test_document_lengths_count_every_document():
    lengths = np.r_[np.full(30, 500), np.arange(500, 1000, 10)]
    ax = figures.document_lengths(lengths, observed=0.6)
    assert sum(bar.get_height() for bar in ax.patches) == len(lengths)
    assert ax.get_title(loc="left") == "80 documents, the first 60% of each observed"
    assert set(ax.lines[0].get_xdata()) == {np.median(lengths)}
    assert texts(ax) == [f"median {np.median(lengths):,.0f}"]
    assert ax.get_xlabel() == "words in a document"


def test_documents_of_one_length():
    ax = figures.document_lengths([7, 7, 7])
    assert sum(bar.get_height() for bar in ax.patches) == 3


def test_word_frequencies_rank_and_leave_out_what_never_occurs():
    ax = figures.word_frequencies([0, 5, 100, 20, 0])
    drawn, zipf = ax.lines
    assert drawn.get_xydata().tolist() == [[1, 100], [2, 20], [3, 5]]
    assert ax.get_xscale() == ax.get_yscale() == "log"
    # Zipf's line has the same number of words, spread as 1 / rank.
    assert zipf.get_ydata().sum() == pytest.approx(125)
    assert zipf.get_ydata() * zipf.get_xdata() == pytest.approx(zipf.get_ydata()[0])
    assert ax.get_title(loc="left") == "3 words by frequency"


@pytest.mark.parametrize(
    ("draw", "argument"),
    [
        (figures.log_likelihood_trace, {"a": [1.0, 2.0]}),
        (figures.table4_bars, {"a": (1.0, 0.1)}),
        (figures.particles_curve, {"a": {1: (1.0, 0.1), 4: (0.9, 0.1)}}),
        (figures.document_lengths, [1, 2, 3]),
        (figures.word_frequencies, [1, 2, 3]),
    ],
)
def test_figures_draw_where_they_are_told_and_close_nothing(draw, argument):
    other = plt.figure()
    figure, (left, right) = plt.subplots(1, 2)
    assert draw(argument, ax=right) is right
    assert plt.get_fignums() == [other.number, figure.number]
    assert right.has_data() and not left.has_data()
    new = draw(argument)
    assert new.figure not in (other, figure)
    assert plt.get_fignums() == [other.number, figure.number, new.figure.number]


def test_panels_draw_where_they_are_told():
    figure, axes = plt.subplots(1, 2)
    assert figures.learning_curves({"a": [history([1.0], [1.0])]}, axes=axes)[1] is axes[1]
    assert figures.topic_words({"LDA": [(["a"], [1.0])] * 2}, axes=axes)[0, 1] is axes[1]
    assert plt.get_fignums() == [figure.number]


@pytest.mark.parametrize("n", [2, 5])
def test_names_of_lines_that_end_together_stay_apart_and_in_order(n):
    traces = {f"seed {i}": [0.0, 1.0 + 1e-4 * i] for i in range(n)}
    ax = figures.log_likelihood_trace(traces)
    ax.figure.canvas.draw()
    boxes = {text.get_text(): text.get_window_extent() for text in ax.texts}
    heights = [boxes[f"seed {i}"].y0 for i in range(n)]
    assert heights == sorted(heights)
    points = np.diff(heights) * 72 / ax.figure.dpi
    assert points.min() >= figures.LABEL_HEIGHT - 0.5
    # In a figure that fits its content, no name runs out of the picture.
    assert max(box.x1 for box in boxes.values()) <= ax.figure.bbox.x1


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (950, "950"), (2_000, "2,000"), (25_000, "25k"), (-9.2e6, "-9.2M"), (1.5e9, "1.5B")],
)
def test_short_numbers(value, text):
    assert figures.short(value) == text


def test_a_figure_leaves_what_a_notebook_set_while_it_was_made():
    before = mpl.rcParams["font.size"], mpl.is_interactive()
    try:
        with figures.style():
            mpl.interactive(True)
        assert mpl.is_interactive()
        assert mpl.rcParams["font.size"] == before[0]
    finally:
        mpl.interactive(before[1])
