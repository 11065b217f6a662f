"""Figures of many models show the numbers they were given, and every name can be read."""

import itertools

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.text import Text

from experiments import figures
from experiments import figures_models as many

NAMES = [
    *("unigram", "bigram, Dirichlet prior", "LDA", "ddLDA, exponential decay", "autoencoder"),
    *("topic LLA, independent", "topic LLA", "topic LLA, personal", "word LLA", "char LLA"),
    *("word LSTM", "char LSTM", "char LSTM, sampled softmax", "word LSTM, large"),
]
EFFECTS = {f"one of the changes, number {i}": (i - 12.0, 0.5 + i % 3) for i in range(25)}


@pytest.fixture(autouse=True)
def drawn_without_a_trace(monkeypatch):
    """Every figure can be drawn (warnings are errors), none is shown, no setting is left behind."""
    plt.close("all")
    monkeypatch.setattr(plt, "show", lambda *_, **__: pytest.fail("shown"))
    before = dict(mpl.rcParams)
    yield
    for number in plt.get_fignums():
        plt.figure(number).canvas.draw()
    plt.close("all")
    assert dict(mpl.rcParams) == before


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


def history(perplexities, seconds):
    return [
        {"iteration": i, "development_perplexity": p, "seconds": s}
        for i, (p, s) in enumerate(zip(perplexities, seconds, strict=True), start=1)
    ]


def runs(n):
    decay = 1000 * 0.5 ** np.arange(8)
    return {
        name: [history(decay + 1500 + i + seed, [0.5 * 2**i] * 8) for seed in range(3)]
        for i, name in enumerate(NAMES[:n])
    }


def shown(ax):
    return [text.get_text() for text in ax.texts]


def spreads(container):
    """Half the length of each error bar."""
    (bars,) = container[2]
    return [np.ptp(segment, axis=0).max() / 2 for segment in bars.get_segments()]


def lines(ax):
    return [line.get_xydata() for line in ax.lines]


def drawn(ax, points):
    return any(np.allclose(line, points) for line in lines(ax) if line.shape == np.shape(points))


def assert_readable(figure):
    """No two texts overlap and none leaves the picture, whatever Axes they belong to."""
    figure.canvas.draw()
    # A tick beyond the ends of its axis has a text too, which is never drawn.
    beyond = {
        tick.label1
        for ax in figure.axes
        for axis in (ax.xaxis, ax.yaxis)
        for tick in axis.get_major_ticks()
        if not min(ends := axis.get_view_interval()) <= tick.get_loc() <= max(ends)
    }
    found = [
        (text.get_text(), Text.get_window_extent(text))
        for text in figure.findobj(Text)
        if text.get_text() and text.get_visible() and text not in beyond
    ]
    for name, box in found:
        assert figure.bbox.x0 - 1 <= box.x0 and box.x1 <= figure.bbox.x1 + 1, name
        assert figure.bbox.y0 - 1 <= box.y0 and box.y1 <= figure.bbox.y1 + 1, name
    for (name, box), (other, beside) in itertools.combinations(found, 2):
        # Boxes of text include room above and below the letters: two pixels may be shared.
        assert not box.padded(-1).overlaps(beside.padded(-1)), (name, other)


def test_accuracy_vs_size_draws_each_model_in_the_order_given():
    given = models(3)
    left, right = many.accuracy_vs_size(given)
    assert drawn(left, [[3200, 0], [3100, 1], [3000, 2]])
    assert spreads(left.containers[0]) == pytest.approx([5, 6, 7])
    assert [bar.get_width() for bar in right.patches] == [10_000, 20_000, 40_000]
    assert [label.get_text() for label in left.get_yticklabels()] == NAMES[:3]
    assert left.yaxis_inverted() and left.get_ylim() == right.get_ylim()
    assert right.get_xscale() == "log" and right.get_xlim()[0] < 10_000
    assert shown(left) == ["3,200 ± 5", "3,100 ± 6", "3,000 ± 7"]
    assert shown(right) == ["10k", "20k", "40k"]
    assert [text.get_fontweight() for text in left.texts] == ["normal", "normal", "bold"]


@pytest.mark.parametrize(("lowest", "scale"), [(6.0, "log"), (400.0, "linear")])
def test_perplexities_of_two_magnitudes_stand_on_a_logarithmic_axis(lowest, scale):
    values = {"a": lowest, "b": 900.0, "c": 2500.0}
    given = {n: {"perplexity": (x, 1.0), "parameters": 10} for n, x in values.items()}
    left = many.accuracy_vs_size(given)[0]
    assert left.get_xscale() == scale
    assert ("logarithmic" in left.get_xlabel()) == (scale == "log")
    low, high = left.get_xlim()
    assert low < min(values.values()) and high > max(values.values())
    assert len([t for t in left.get_xticks() if low <= t <= high]) >= 2


def test_accuracy_vs_size_follows_the_papers_order_first():
    order = ["LDA", "not measured", "unigram"]
    left, right = many.accuracy_vs_size(models(4), paper_order=order)
    assert [label.get_text() for label in left.get_yticklabels()] == [
        *("LDA", "unigram", "bigram, Dirichlet prior", "ddLDA, exponential decay"),
    ]
    assert [bar.get_width() for bar in right.patches] == [40_000, 10_000, 20_000, 80_000]
    assert lines(left)[0][:, 0].tolist() == [3000, 3200, 3100, 2900]


@pytest.mark.parametrize(
    ("parameters", "text"),
    [(1_234_567, "1.23M"), (950, "950"), (9_999, "10k"), (2.5e9, "2.5B"), (1_000_000, "1M")],
)
def test_sizes_are_short(parameters, text):
    _, right = many.accuracy_vs_size({"a": {"perplexity": (9, 0), "parameters": parameters}})
    assert shown(right) == [text]
    low, high = right.get_xlim()
    assert low < parameters <= high


@pytest.mark.parametrize(
    ("perplexity", "text"),
    [((3.14, 0.02), "3.14 ± 0.02"), ((25.91, 0), "25.9 ± 0.0"), ((1975.4, 14), "1,975 ± 14")],
)
def test_small_perplexities_keep_their_decimals(perplexity, text):
    left, _ = many.accuracy_vs_size({"a": {"perplexity": perplexity, "parameters": 10}})
    assert shown(left) == [text]


@pytest.mark.parametrize(
    ("draw", "base"), [(many.topics_sweep, 2), (many.learning_curve, 10)], ids=["topics", "corpus"]
)
def test_curves_are_sorted_with_ticks_where_something_was_measured(draw, base):
    curves = {"LDA": {200: (2000.0, 5.0), 20: (2074.0, 0.0)}, "LLA": {50: (1900.0, 7.0)}}
    ax = draw(curves)
    assert drawn(ax, [[20, 2074], [200, 2000]]) and drawn(ax, [[50, 1900]])
    assert spreads(ax.containers[0]) == pytest.approx([0, 5])
    assert spreads(ax.containers[1]) == pytest.approx([7])
    assert ax.get_xscale() == "log" and ax.xaxis.get_transform().base == base
    assert ax.get_xticks().tolist() == [20, 50, 200]
    assert [label.get_text() for label in ax.get_xticklabels()] == ["20", "50", "200"]
    assert sorted(shown(ax)) == ["LDA", "LLA"]


def test_ticks_too_close_to_be_read_are_left_out():
    places = [100, 106, 1000, 1001, 50_000]
    ax = many.learning_curve(sweep(2, places))
    assert ax.get_xticks().tolist() == [106, 1001, 50_000]
    assert ax.get_xticklabels()[-1].get_text() == "50k"
    # What was measured is drawn, tick or not.
    assert lines(ax)[0][:, 0].tolist() == places


def test_convergence_adds_up_time_and_averages_what_all_seeds_reached():
    first = history([9.0, 5.0, 7.0], [2.0, 2.0, 4.0])
    second = history([7.0, 6.0, 4.0, 6.0], [4.0, 6.0, 10.0, 20.0])
    ax = many.convergence({"LLA": [first, second]})
    thin = [line for line in ax.lines if line.get_linewidth() == 0.8]
    assert [line.get_xydata().tolist() for line in thin] == [
        [[2, 9], [4, 5], [8, 7]],
        [[4, 7], [10, 6], [20, 4], [40, 6]],
    ]
    (thick,) = [line for line in ax.lines if line.get_linewidth() > 2 and len(line.get_xdata()) > 1]
    assert thick.get_xydata().tolist() == [[3, 8], [7, 5.5], [14, 5.5]]
    kept = [line.get_xydata().tolist() for line in ax.lines if line.get_marker() == "o"]
    assert kept == [[[4, 5]], [[20, 4]]]
    assert ax.get_xscale() == "log" and shown(ax) == ["LLA"]


def test_convergence_without_dots():
    ax = many.convergence(runs(7), best=False)
    assert {line.get_marker() for line in ax.lines} == {"None"}


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        ([1.0] * 7000, ["1 s", "10 s", "1 min", "10 min", "1 h"]),
        ([20.0, 20.0, 50.0], ["20 s", "30 s", "1 min"]),
        ([0.2, 0.2], ["0.2 s"]),
    ],
)
def test_time_is_told_as_people_tell_it(seconds, expected):
    ax = many.convergence({"LLA": [history(np.linspace(9, 5, len(seconds)), seconds)]})
    told = [label.get_text() for label in ax.get_xticklabels()]
    assert told == expected
    clock = {text: second for second, text in many.FINE_CLOCK.items()}
    assert ax.get_xticks().tolist() == [clock[text] for text in told]


def test_an_axis_of_time_between_all_round_numbers_has_its_ends_marked():
    assert many._clock(121.0, 180.0) == {121.0: "1.2e+02 s", 180.0: "1.8e+02 s"}


@pytest.mark.parametrize(
    "draw", [many.convergence, many.topics_sweep], ids=["convergence", "topics"]
)
def test_no_two_of_fourteen_models_look_the_same(draw):
    ax = draw(runs(14) if draw is many.convergence else sweep(14))
    looks = [(text.get_color(), text.arrow_patch.get_linestyle()) for text in ax.texts]
    assert len(set(looks)) == 14
    curves = [line for line in ax.lines if line.get_linestyle() != "None"]
    assert {(line.get_color(), line.get_linestyle()) for line in curves} == set(looks)


def test_ablation_effects_are_sorted_and_coloured_by_what_is_sure():
    effects = {
        "better": (-3.0, 1.0),
        "unsure": (0.5, 0.8),
        "worse": (12.0, 2.0),
        "edge": (2.0, 2.0),
    }
    ax = many.ablation_effects(effects)
    assert [label.get_text() for label in ax.get_yticklabels()] == [
        *("worse", "edge", "unsure", "better"),
    ]
    assert ax.yaxis_inverted() and not ax.xaxis_inverted()
    dots = [bars.lines[0] for bars in ax.containers]
    assert [dot.get_xydata().tolist() for dot in dots] == [
        *([[12.0, 0]], [[2.0, 1]], [[0.5, 2]], [[-3.0, 3]]),
    ]
    assert [spreads(bars)[0] for bars in ax.containers] == pytest.approx([2.0, 2.0, 0.8, 1.0])
    # A bar that only touches zero includes it.
    assert [to_hex(dot.get_color()).upper() for dot in dots] == [
        *(figures.COLOURS[1], figures.GREY, figures.GREY, figures.COLOURS[0]),
    ]
    assert shown(ax) == ["+12.0 ± 2.0", "+2.0 ± 2.0", "+0.5 ± 0.8", "−3.0 ± 1.0"]
    assert any(set(line.get_xdata()) == {0} and len(line.get_xdata()) == 2 for line in ax.lines)


def test_the_words_better_and_worse_stand_on_either_side_of_zero():
    ax = many.ablation_effects(EFFECTS)
    ax.figure.canvas.draw()
    box, zero = ax.xaxis.label.get_window_extent(), ax.transData.transform((0, 0))[0]
    assert (box.x0 + box.x1) / 2 == pytest.approx(zero, abs=2)


def test_more_rows_make_a_higher_figure():
    few = many.ablation_effects(dict(list(EFFECTS.items())[:5])).figure
    lots = many.ablation_effects(EFFECTS).figure
    assert lots.get_figheight() > 3 * few.get_figheight()


@pytest.mark.parametrize(
    ("draw", "argument"),
    [
        (many.accuracy_vs_size, models(14)),
        (many.topics_sweep, sweep(14)),
        (many.convergence, runs(14)),
        (many.ablation_effects, EFFECTS),
        (many.learning_curve, sweep(14, (106, 500, 1000, 2000, 5000, 100_000))),
        (many.accuracy_vs_size, {"a": {"perplexity": (9.0, 0.0), "parameters": 10}}),
        (many.topics_sweep, {"a": {20: (9.0, 0.0)}}),
        (many.convergence, {"a": [history([9.0], [1.0])]}),
        (many.ablation_effects, {"a": (0.0, 0.0)}),
        (many.learning_curve, {"a": {106: (9.0, 0.0)}}),
    ],
    ids=lambda value: value.__name__ if callable(value) else str(len(value)),
)
def test_every_text_can_be_read_with_many_models_and_with_one(draw, argument):
    ax = np.ravel(draw(argument))[0]
    assert_readable(ax.figure)


def test_one_measurement_lies_within_its_axes():
    for ax in (many.topics_sweep({"a": {20: (9, 0)}}), many.learning_curve({"a": {106: (9, 0)}})):
        (low, high), (x, _) = ax.get_xlim(), lines(ax)[0][0]
        assert 1.1 * low < x < high / 1.1


def test_names_are_in_the_order_of_the_ends_of_lines_and_within_the_height():
    ax = many.topics_sweep(sweep(14))
    ax.figure.canvas.draw()
    boxes = {text.get_text(): Text.get_window_extent(text) for text in ax.texts}
    by_height = sorted(boxes, key=lambda name: boxes[name].y0)
    assert by_height == [*NAMES[1:], NAMES[0]]
    assert np.diff(sorted(box.y0 for box in boxes.values())).min() > 0


@pytest.mark.parametrize(
    ("heights", "top", "moved"),
    [
        ([10, 50, 90], 100, [10, 50, 90]),
        ([50, 50], 100, [43.5, 56.5]),
        ([0, 0, 80], 100, [0, 13, 80]),
        ([99, 99], 100, [87, 100]),
    ],
)
def test_names_move_no_more_than_they_must(heights, top, moved):
    assert many._spread(np.array(heights, dtype=float), top).tolist() == pytest.approx(moved)


@pytest.mark.parametrize(
    ("draw", "argument"),
    [
        (many.topics_sweep, sweep(2)),
        (many.learning_curve, sweep(2)),
        (many.convergence, runs(2)),
        (many.ablation_effects, EFFECTS),
    ],
)
def test_figures_draw_where_they_are_told_and_close_nothing(draw, argument):
    other = plt.figure()
    figure, (left, right) = plt.subplots(1, 2)
    assert draw(argument, ax=right) is right
    assert plt.get_fignums() == [other.number, figure.number]
    assert right.has_data() and not left.has_data()
    new = draw(argument)
    assert plt.get_fignums() == [other.number, figure.number, new.figure.number]


def test_panels_draw_where_they_are_told():
    figure, axes = plt.subplots(1, 2)
    drawn_on = many.accuracy_vs_size(models(2), axes=axes)
    assert drawn_on.tolist() == axes.tolist()
    assert plt.get_fignums() == [figure.number]
