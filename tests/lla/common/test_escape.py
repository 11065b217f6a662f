"""Names of strangers: nothing in them is markup, a formula, or moves a terminal's cursor."""

import csv
import io
import re
from html import unescape

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lla.common.escape import MAX_NAME, markdown, one_line, spreadsheet

HOSTILE = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "[a](javascript:alert(1))",
    "![a](https://example.org/a.png)",
    "a | b",
    "**bold** __bold__ _it_ ~~gone~~ `code`",
    "&lt;b&gt;",
    "https://example.org www.example.org mail@example.org",
    "# title\n- list\n```",
    "$$x$$ {{ liquid }}",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_markdown_shows_a_name_as_it_is(name):
    text = markdown(name)
    assert unescape(text) == " ".join(name.split())
    assert not re.search(r"[<>`*\[\]|~\\${}\"@]|&(?!#\d+;)|://|www\.|(?<!\w)_|_(?!\w)", text)


@given(st.text(max_size=200))
def test_any_name_is_one_line_without_control_characters(name):
    for shown in (one_line(name), unescape(markdown(name, 300)), spreadsheet(name)):
        assert all(c.isprintable() or c in "\u200c\u200d" for c in shown)
        shown.encode("utf-8")
    assert len(unescape(markdown(name))) <= MAX_NAME


def test_ordinary_names_stay_as_they_are():
    for name in ("user_id", "naïve", "نامه‌ها", "a-b, c's (d)", "text: a.txt", "日本語"):
        assert one_line(name) == markdown(name) == spreadsheet(name) == name
    assert one_line("a\x1b[2Jb\u202ec\n") == r"a\x1b[2Jb\u202ec\n"


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@a", " =1", "＝1+1", '=HYPERLINK("a")'])
def test_no_cell_is_a_formula(name):
    text = io.StringIO()
    csv.writer(text).writerow([spreadsheet(name)])
    (row,) = csv.reader(io.StringIO(text.getvalue()))
    assert row == [f"'{name}"]
    assert spreadsheet("\t=1") == "\\t=1", "a tab is shown, and what follows is no start"
