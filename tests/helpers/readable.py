"""Whether the texts of a figure can be read."""

import itertools

from matplotlib.text import Text


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
