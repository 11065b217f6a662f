"""A figure shows the numbers it was given: they are read back from what was drawn."""

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_hex
from readable import assert_readable

from experiments import figures
from experiments import style as look
from experiments.style import COLOURS, GREY

NAMES = [
    *("unigram", "bigram, Dirichlet prior", "LDA", "ddLDA, exponential decay", "autoencoder"),
    *("topic LLA, independent", "topic LLA", "topic LLA, personal", "word LLA", "char LLA"),
    *("word LSTM", "char LSTM", "char LSTM, sampled softmax", "word LSTM, large"),
]
EFFECTS = {f"one of the changes, number {i}": (i - 12.0, 0.5 + i % 3) for i in range(25)}


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


def models(n):
    return {
        name: {"perplexity": (3200.0 - 100 * i, 5.0 + i), "parameters": 10_000 * 2**i}
        for i, name in enumerate(NAMES[:n])
    }


def sweep(n, places=(16, 32, 64, 128)):
    """All but one of the models end within ten units of perplexity."""
    return {
        name: {x: (2000.0 + i - 100 * np.log2(x) + 900 * (i == 0), 3.0 + i) for x in places}
        for i, name in enumerate(NAMES[:n])
    }


def timed(perplexities, seconds):
    return [
        {"iteration": i, "development_perplexity": p, "seconds": s}
        for i, (p, s) in enumerate(zip(perplexities, seconds, strict=True), start=1)
    ]


def runs(n):
    decay = 1000 * 0.5 ** np.arange(8)
    return {
        name: [timed(decay + 1500 + i + seed, [0.5 * 2**i] * 8) for seed in range(3)]
        for i, name in enumerate(NAMES[:n])
    }


def lines(ax):
    return [line.get_xydata() for line in ax.lines]


def drawn(ax, points):
    return any(np.allclose(line, points) for line in lines(ax) if line.shape == np.shape(points))


def named(ax):
    """Names in the legend, from top to bottom."""
    return [text.get_text() for text in ax.get_legend().get_texts()]


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
    kept = [tuple(line.get_xydata()[0]) for line in left.lines if line.get_marker() in "os"]
    assert sorted(kept) == [(2, 5), (2, 8), (3, 4)]
    assert not any(line.get_marker() == "o" for line in right.lines)
    assert any(np.array_equal(line.get_ydata(), [4.0, 3.0, 2.0]) for line in right.lines)
    # From top to bottom as the lines end; keys of models are shown as their names.
    assert named(right) == ["independent topic LLA", "joint"]
    assert "nats" in right.get_title(loc="left") and left.get_xlabel().startswith("SEM iteration\n")


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
    assert "−2M" in [label.get_text() for label in ax.get_yticklabels()]


def test_table4_bars_print_values_spreads_and_the_papers_value():
    measures = {"LDA": (2594.0, 12.0), "independent": (2135.0, 20.0), "joint": (1975.0, 14.0)}
    ax = figures.table4_bars(measures, {"independent": 2119.0})
    assert [bar.get_width() for bar in ax.patches] == [2594.0, 2135.0, 1975.0]
    assert errors(ax.containers[1]).tolist() == pytest.approx([24.0, 40.0, 28.0])
    names = [label.get_text() for label in ax.get_yticklabels()]
    assert names == ["LDA", "independent topic LLA", "joint"]
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
    assert texts(ax) == ["100"]  # every seed the same


def test_particles_curve_is_ordered_and_logarithmic():
    curves = {"joint": {16: (2000.0, 5.0), 1: (2074.0, 9.0), 4: (2024.0, 7.0)}}
    ax = figures.particles_curve(curves)
    assert ax.lines[0].get_xydata().tolist() == [[1, 2074.0], [4, 2024.0], [16, 2000.0]]
    assert errors(ax.containers[0]).tolist() == pytest.approx([18.0, 14.0, 10.0])
    assert ax.get_xscale() == "log" and ax.xaxis.get_transform().base == 2
    assert [label.get_text() for label in ax.get_xticklabels()] == ["1", "4", "16"]
    assert named(ax) == ["joint"]


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


def aligned_phi():
    """Topics of two models over seven words; topic 1 of the first is topic 0 of the second."""
    phi, other = np.zeros((7, 2)), np.zeros((7, 2))
    phi[[0, 1, 2], 1], other[[1, 0, 3], 0] = (0.5, 0.3, 0.2), (0.6, 0.3, 0.1)
    phi[[4, 5, 6], 0], other[[4, 5, 6], 1] = (0.5, 0.3, 0.2), (0.5, 0.3, 0.2)
    return phi, other


def test_aligned_topics_mark_what_was_gained_and_lost():
    phi, other = aligned_phi()
    axes = figures.aligned_topics(phi, other, "abcdefg", [(1, 0), (0, 1)], ("LDA", "SEM"), n=3)
    assert texts(axes[0, 0]) == ["a", "b", "− c"] and texts(axes[1, 0]) == ["b", "a", "+ d"]
    assert [bar.get_width() for bar in axes[0, 0].patches] == [0.5, 0.3, 0.2]
    assert [bar.get_width() for bar in axes[1, 0].patches] == [0.6, 0.3, 0.1]
    upper, lower = ([to_hex(bar.get_facecolor()) for bar in ax.patches] for ax in axes[:, 0])
    assert upper == [to_hex(COLOURS[i]) for i in (0, 0, 1)]
    assert lower == [to_hex(COLOURS[i]) for i in (0, 0, 2)]
    assert axes[0, 0].get_title(loc="left") == "LDA, topic 1"
    assert axes[1, 0].get_title(loc="left") == "SEM, topic 0"
    assert axes[1, 0].get_xlabel() == "overlap 0.60" and axes[1, 1].get_xlabel() == "overlap 1.00"
    (legend,) = axes[0, 0].figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["shared", "+ gained", "− lost"]


@pytest.mark.parametrize("n_pairs", [1, 4])
@pytest.mark.parametrize("word", ["a", "METAL SIGN TAKE IT OR LEAVE IT (21171)"])
def test_aligned_topics_can_be_read_at_the_width_of_a_notebook(n_pairs, word):
    phi, other = np.random.default_rng(0).dirichlet(np.full(40, 0.3), size=(2, 8)).swapaxes(1, 2)
    words = [f"{word} {w}" for w in range(40)]
    axes = figures.aligned_topics(phi, other, words, [(k, k + 1) for k in range(n_pairs)])
    assert axes[0, 0].figure.get_figwidth() <= 9.5
    assert_readable(axes[0, 0].figure)


def test_document_lengths_count_every_document():
    lengths = np.r_[np.full(30, 500), np.arange(500, 1000, 10)]
    ax = figures.document_lengths(lengths, observed=0.6)
    assert sum(bar.get_height() for bar in ax.patches) == len(lengths)
    assert ax.get_title(loc="left") == "80 documents, the first 60% of each observed"
    assert set(ax.lines[0].get_xdata()) == {np.median(lengths)}
    assert named(ax) == [f"median {np.median(lengths):,.0f}"]
    assert ax.get_xlabel() == "words in a document"


def test_documents_of_one_length():
    ax = figures.document_lengths([7, 7, 7])
    assert sum(bar.get_height() for bar in ax.patches) == 3


def test_word_frequencies_are_ranked_without_unused_words():
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
def test_figures_draw_into_given_axes_and_close_no_figure(draw, argument):
    other = plt.figure()
    figure, (left, right) = plt.subplots(1, 2)
    assert draw(argument, ax=right) is right
    assert plt.get_fignums() == [other.number, figure.number]
    assert right.has_data() and not left.has_data()
    new = draw(argument)
    assert new.figure not in (other, figure)
    assert plt.get_fignums() == [other.number, figure.number, new.figure.number]


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (950, "950"), (2_000, "2,000"), (25_000, "25k"), (-9.2e6, "−9.2M"), (1.5e9, "1.5B")],
)
def test_short_numbers(value, text):
    assert look.short(value) == text


def test_figures_restore_matplotlib_settings():
    before = mpl.rcParams["font.size"], mpl.is_interactive()
    try:
        with figures.style():
            mpl.interactive(True)
        assert mpl.is_interactive()
        assert mpl.rcParams["font.size"] == before[0]
    finally:
        mpl.interactive(before[1])


def test_accuracy_vs_size_draws_each_model_in_the_order_given():
    given = models(3)
    left, right = figures.accuracy_vs_size(given)
    assert drawn(left, [[3200, 0], [3100, 1], [3000, 2]])
    # Models have no order: a line through them would draw a trend that does not exist.
    assert {line.get_linestyle() for line in left.lines} == {"None"}
    assert errors(left.containers[0]) / 2 == pytest.approx([5, 6, 7])
    assert [bar.get_width() for bar in right.patches] == [10_000, 20_000, 40_000]
    assert [label.get_text() for label in left.get_yticklabels()] == NAMES[:3]
    assert left.yaxis_inverted() and left.get_ylim() == right.get_ylim()
    assert right.get_xscale() == "log" and right.get_xlim()[0] < 10_000
    assert texts(left) == ["3,200 ± 5", "3,100 ± 6", "3,000 ± 7"]
    assert texts(right) == ["10k", "20k", "40k"]
    assert [text.get_fontweight() for text in left.texts] == ["normal", "normal", "bold"]


@pytest.mark.parametrize(("lowest", "scale"), [(6.0, "log"), (400.0, "linear")])
def test_perplexities_of_two_magnitudes_use_a_logarithmic_axis(lowest, scale):
    values = {"a": lowest, "b": 900.0, "c": 2500.0}
    given = {n: {"perplexity": (x, 1.0), "parameters": 10} for n, x in values.items()}
    left = figures.accuracy_vs_size(given)[0]
    assert left.get_xscale() == scale
    assert ("logarithmic" in left.get_xlabel()) == (scale == "log")
    low, high = left.get_xlim()
    assert low < min(values.values()) and high > max(values.values())
    assert len([t for t in left.get_xticks() if low <= t <= high]) >= 2


@pytest.mark.parametrize(
    ("lowest", "highest", "ticks"),
    [
        (6.0, 250.0, ["5", "10", "20", "50", "100", "200"]),
        (400.0, 20_000.0, ["500", "1,000", "2,000", "5,000", "10k", "20k"]),
        (10.0, 1e6, ["10", "100", "1,000", "10k", "100k", "1M"]),
    ],
)
def test_a_logarithmic_axis_has_ticks_at_1_2_and_5_or_at_powers_of_ten(lowest, highest, ticks):
    values = {"a": lowest, "b": highest}
    given = {n: {"perplexity": (x, 0.0), "parameters": 10} for n, x in values.items()}
    left = figures.accuracy_vs_size(given)[0]
    assert [tick.get_text() for tick in left.get_xticklabels()] == ticks
    assert_readable(left.figure)


@pytest.mark.parametrize(
    ("parameters", "text"),
    [(1_234_567, "1.23M"), (950, "950"), (9_999, "10k"), (2.5e9, "2.5B"), (1_000_000, "1M")],
)
def test_sizes_are_short(parameters, text):
    _, right = figures.accuracy_vs_size({"a": {"perplexity": (9, 0), "parameters": parameters}})
    assert texts(right) == [text]
    low, high = right.get_xlim()
    assert low < parameters <= high


@pytest.mark.parametrize(
    ("perplexity", "text"),
    [((3.14, 0.02), "3.140 ± 0.020"), ((25.91, 0), "25.9"), ((1975.4, 14), "1,975 ± 14")],
)
def test_small_perplexities_keep_their_decimals(perplexity, text):
    left, _ = figures.accuracy_vs_size({"a": {"perplexity": perplexity, "parameters": 10}})
    assert texts(left) == [text]


@pytest.mark.parametrize(
    ("draw", "base"),
    [(figures.topics_sweep, 2), (figures.learning_curve, 10)],
    ids=["topics", "corpus"],
)
def test_curves_are_sorted_with_ticks_where_something_was_measured(draw, base):
    curves = {"LDA": {200: (2000.0, 5.0), 20: (2074.0, 0.0)}, "LLA": {50: (1900.0, 7.0)}}
    ax = draw(curves)
    assert drawn(ax, [[20, 2074], [200, 2000]]) and drawn(ax, [[50, 1900]])
    assert errors(ax.containers[0]) / 2 == pytest.approx([0, 5])
    assert errors(ax.containers[1]) / 2 == pytest.approx([7])
    assert ax.get_xscale() == "log" and ax.xaxis.get_transform().base == base
    assert ax.get_xticks().tolist() == [20, 50, 200]
    assert [label.get_text() for label in ax.get_xticklabels()] == ["20", "50", "200"]
    assert named(ax) == ["LDA", "LLA"]


def test_the_gain_of_joint_training_is_drawn_beside_the_paper_s():
    ax = figures.joint_gain({5000: (9.0, 1.0), 500: (-2.0, 2.0)}, paper=15.8)
    assert drawn(ax, [[500, -2], [5000, 9]])
    assert errors(ax.containers[0]) / 2 == pytest.approx([2, 1])
    assert [line.get_ydata() for line in ax.lines if line.get_linestyle() == "--"] == [[15.8, 15.8]]
    assert named(ax) == ["the paper, a million documents", "ours"]
    assert ax.get_ylim()[0] == -4
    assert ax.get_xticks().tolist() == [500, 5000]
    assert named(figures.joint_gain({500: (3.0, 1.0)})) == ["ours"]


def test_ticks_too_close_to_be_read_are_left_out():
    places = [100, 106, 1000, 1001, 50_000]
    ax = figures.learning_curve(sweep(2, places))
    assert ax.get_xticks().tolist() == [106, 1001, 50_000]
    assert ax.get_xticklabels()[-1].get_text() == "50k"
    # What was measured is drawn, tick or not.
    assert lines(ax)[0][:, 0].tolist() == places


def test_convergence_accumulates_time_and_averages_iterations_common_to_all_seeds():
    first = timed([9.0, 5.0, 7.0], [2.0, 2.0, 4.0])
    second = timed([7.0, 6.0, 4.0, 6.0], [4.0, 6.0, 10.0, 20.0])
    ax = figures.convergence({"LLA": [first, second]})
    thin = [line for line in ax.lines if line.get_linewidth() == 0.8]
    assert [line.get_xydata().tolist() for line in thin] == [
        [[2, 9], [4, 5], [8, 7]],
        [[4, 7], [10, 6], [20, 4], [40, 6]],
    ]
    (thick,) = [line for line in ax.lines if line.get_linewidth() > 2 and len(line.get_xdata()) > 1]
    # Perplexities are averaged; times, whose axis is logarithmic, by their geometric mean.
    times = [(2 * 4) ** 0.5, (4 * 10) ** 0.5, (8 * 20) ** 0.5]
    assert np.allclose(thick.get_xydata(), np.transpose([times, [8, 5.5, 5.5]]))
    kept = [line.get_xydata().tolist() for line in ax.lines if line.get_marker() == "o"]
    assert kept == [[[4, 5]], [[20, 4]]]
    assert ax.get_xscale() == "log" and named(ax) == ["LLA"]


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        ([1.0] * 7000, ["1 s", "2 s", "5 s", "20 s", "1 min", "5 min", "20 min", "1 h", "2 h"]),
        ([20.0, 20.0, 50.0], ["20 s", "30 s", "1 min"]),
        ([0.2, 0.2], ["0.2 s"]),
    ],
)
def test_time_ticks_use_usual_units(seconds, expected):
    ax = figures.convergence({"LLA": [timed(np.linspace(9, 5, len(seconds)), seconds)]})
    tick_labels = [label.get_text() for label in ax.get_xticklabels()]
    assert tick_labels == expected
    clock = {text: second for second, text in look.CLOCK.items()}
    assert ax.get_xticks().tolist() == [clock[text] for text in tick_labels]


@pytest.mark.parametrize(
    "draw", [figures.convergence, figures.topics_sweep], ids=["convergence", "topics"]
)
def test_fourteen_models_have_distinct_line_styles(draw):
    ax = draw(runs(14) if draw is figures.convergence else sweep(14))
    curves = [line for line in ax.lines if line.get_linestyle() != "None"]
    assert len({(line.get_color(), line.get_linestyle()) for line in curves}) == 14
    assert len(named(ax)) == 14


def test_ablation_effects_are_sorted_and_coloured_by_significance():
    effects = {
        "better": (-3.0, 1.0),
        "unsure": (0.5, 0.8),
        "worse": (12.0, 2.0),
        "edge": (2.0, 2.0),
    }
    ax = figures.ablation_effects(effects)
    assert [label.get_text() for label in ax.get_yticklabels()] == [
        *("worse", "edge", "unsure", "better"),
    ]
    assert ax.yaxis_inverted() and not ax.xaxis_inverted()
    dots = [bars.lines[0] for bars in ax.containers]
    assert [dot.get_xydata().tolist() for dot in dots] == [
        *([[12.0, 0]], [[2.0, 1]], [[0.5, 2]], [[-3.0, 3]]),
    ]
    assert [errors(bars)[0] / 2 for bars in ax.containers] == pytest.approx([2.0, 2.0, 0.8, 1.0])
    # A bar that only touches zero includes it.
    assert [to_hex(dot.get_color()).upper() for dot in dots] == [
        *(COLOURS[1], GREY, GREY, COLOURS[0]),
    ]
    assert texts(ax) == ["+12.0 ± 2.0", "+2.0 ± 2.0", "+0.5 ± 0.8", "−3.0 ± 1.0"]
    assert any(set(line.get_xdata()) == {0} and len(line.get_xdata()) == 2 for line in ax.lines)


def test_better_and_worse_are_labelled_on_either_side_of_zero():
    ax = figures.ablation_effects(EFFECTS)
    ax.figure.canvas.draw()
    box, zero = ax.xaxis.label.get_window_extent(), ax.transData.transform((0, 0))[0]
    assert (box.x0 + box.x1) / 2 == pytest.approx(zero, abs=2)


def test_more_rows_make_a_higher_figure():
    few = figures.ablation_effects(dict(list(EFFECTS.items())[:5])).figure
    lots = figures.ablation_effects(EFFECTS).figure
    assert lots.get_figheight() > 3 * few.get_figheight()


@pytest.mark.parametrize(
    ("draw", "argument"),
    [
        (figures.accuracy_vs_size, models(14)),
        (figures.topics_sweep, sweep(14)),
        (figures.convergence, runs(14)),
        (figures.ablation_effects, EFFECTS),
        (figures.learning_curve, sweep(14, (106, 500, 1000, 2000, 5000, 100_000))),
        (figures.accuracy_vs_size, {"a": {"perplexity": (9.0, 0.0), "parameters": 10}}),
        (figures.topics_sweep, {"a": {20: (9.0, 0.0)}}),
        (figures.convergence, {"a": [timed([9.0], [1.0])]}),
        (figures.ablation_effects, {"a": (0.0, 0.0)}),
        (figures.learning_curve, {"a": {106: (9.0, 0.0)}}),
    ],
    ids=lambda value: value.__name__ if callable(value) else str(len(value)),
)
def test_every_text_can_be_read_with_many_models_and_with_one(draw, argument):
    ax = np.ravel(draw(argument))[0]
    assert_readable(ax.figure)


def test_a_single_measurement_lies_within_the_axes():
    for ax in (
        figures.topics_sweep({"a": {20: (9, 0)}}),
        figures.learning_curve({"a": {106: (9, 0)}}),
    ):
        (low, high), (x, _) = ax.get_xlim(), lines(ax)[0][0]
        assert 1.1 * low < x < high / 1.1


def test_legend_order_follows_the_ends_of_the_lines():
    assert named(figures.topics_sweep(sweep(14))) == [NAMES[0], *NAMES[:0:-1]]


@pytest.mark.parametrize(
    ("draw", "argument"),
    [
        (figures.topics_sweep, sweep(2)),
        (figures.learning_curve, sweep(2)),
        (figures.convergence, runs(2)),
        (figures.ablation_effects, EFFECTS),
    ],
)
def test_curves_and_effects_draw_into_given_axes(draw, argument):
    other = plt.figure()
    figure, (left, right) = plt.subplots(1, 2)
    assert draw(argument, ax=right) is right
    assert plt.get_fignums() == [other.number, figure.number]
    assert right.has_data() and not left.has_data()
    new = draw(argument)
    assert plt.get_fignums() == [other.number, figure.number, new.figure.number]


def test_forecasts_show_the_topics_that_any_model_expects():
    draw = np.random.default_rng(0)
    names = [f"leaf {k}" for k in range(12)]
    sure = np.zeros((5, 12))
    sure[:, 7] = 1.0
    vague = draw.dirichlet(np.full(12, 5.0), size=5)
    axes = figures.topics_ahead({"oracle": sure, "LDA": vague}, names, n_shown=4)
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
    ax = figures.ranking_bars(models, "NDCG@10")
    assert [label.get_text() for label in ax.get_yticklabels()] == ["strong", "middle", "weak"]
    assert [bar.get_width() for bar in ax.patches] == [0.4, 0.3, 0.1]
    marks = {line.get_label(): line.get_xdata().tolist() for line in ax.lines}
    assert marks["repeats"] == [0.6, 0.5, 0.2]
    assert marks["novel"] == [0.1, 0.05]
