"""The files of claims: what nothing would read is refused, by file, row, key and remedy."""

import re
from importlib import import_module

import pytest

from experiments.claims import rows
from lla.common.errors import InputError

ROW = "  - {id: first, states: a, notebook: 01_here"


@pytest.fixture
def read(tmp_path, monkeypatch):
    """Rows of a file with this text; each test has a name of its own, as rows are cached."""
    monkeypatch.setattr(import_module("experiments.claims.rows"), "FOLDER", tmp_path)

    def read(text):
        (tmp_path / f"{tmp_path.name}.yaml").write_text(f"rows:\n{text}\n", encoding="utf-8")
        return rows(tmp_path.name)

    return read


def test_a_row_has_what_it_says(read):
    check = "{lower: a.x, higher: a.y, margin: 0.1, times: 2, label: l}"
    (row,) = read(f"{ROW}, checks: [{check}]}}")
    assert (row.id, row.results, row.show) == ("first", ("here",), ())
    assert dict(row.checks[0])["margin"] == 0.1


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (
            f"{ROW}, checks: [{{lower: a.x, higher: a.y}}, {{lower: b, higher: c, margn: 1}}]}}",
            "row first, check 2: margn is no key; there are lower, higher, label, margin, times",
        ),
        (
            f"{ROW}, checks: [{{lower: a.x}}]}}",
            "row first, check 1: lacks higher; give lower, higher",
        ),
        (
            f"{ROW}, checks: [a.x]}}",
            "row first, check 1: 'a.x' has no keys; give lower, higher",
        ),
        (
            f"{ROW}, check: []}}",
            "row first: check is no key; there are id, states, notebook, where, numbers, results, "
            "checks, show, untested, needs",
        ),
        (
            f"{ROW}}}\n  - {{states: a}}",
            "row 2: lacks id; give id, states, notebook",
        ),
        (
            f"{ROW}, checks: [{{lower: a.x, lower: a.y, higher: b}}]}}",
            "line 2: 'lower' stands twice; correct the YAML",
        ),
    ],
)
def test_what_nothing_reads_is_refused_in_one_line(read, tmp_path, text, line):
    with pytest.raises(InputError, match=rf"^experiments/{tmp_path.name}.yaml, {re.escape(line)}$"):
        read(text)
