"""YAML of strangers is read in bounded time and memory, or refused in one line."""

import pytest

from lla.common.errors import InputError
from lla.common.yaml_file import MAX_FILE, read_yaml


def read(folder, text):
    path = folder / "s.yaml"
    path.write_text(text, encoding="utf-8")
    return read_yaml(path, "s.yaml", max_depth=4)


def test_aliases_and_merges_are_read(tmp_path):
    text = "a: &a {x: 1, y: [2]}\nb: {<<: *a, x: 3}\nc: *a\n"
    found = read(tmp_path, text)
    assert found == {"a": {"x": 1, "y": [2]}, "b": {"x": 3, "y": [2]}, "c": {"x": 1, "y": [2]}}


LAUGHS = "".join(f"a{i}: &a{i} [{','.join(9 * [f'*a{i - 1}'])}]\n" for i in range(1, 12))


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (f"a0: &a0 [x, x]\n{LAUGHS}", "s.yaml: more than 100,000 values, aliases written out;"),
        ("a: &a [*a, *a]", None),
        ("[[[[[1]]]]]", "s.yaml: nested 5 deep; "),
        (10**5 * "[", "s.yaml: nested 5 deep; "),
        ("a: 1\nb: 2\na: 3", "s.yaml, line 3: 'a' stands twice; correct the YAML"),
        ("a: [1, 2", "s.yaml, line 1: expected ',' or ']', "),
        ("x: !!timestamp y", "s.yaml: no YAML that can be read (AttributeError); correct it"),
        ("x: 2001-13-45", "s.yaml: no YAML that can be read (ValueError); correct it"),
        ("x: !!python/object:os.system y", "s.yaml, line 1: could not determine a constructor"),
        (f"x: {'9' * 5000}", "s.yaml: no YAML that can be read (ValueError); correct it"),
        ("#" * (MAX_FILE + 1), "s.yaml: larger than 262,144 bytes; name a YAML file"),
        ("x: \0", "s.yaml: no YAML that can be read (ReaderError); correct it"),
    ],
)
def test_what_is_no_settings_is_one_line(tmp_path, text, line):
    if line is None:  # a list of itself is a value, which no option has
        assert isinstance(read(tmp_path, text)["a"], list)
        return
    with pytest.raises(InputError) as caught:
        read(tmp_path, text)
    assert str(caught.value).startswith(line) and "\n" not in str(caught.value)
