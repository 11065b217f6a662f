"""YAML that people wrote, or strangers: read in bounded time and memory, or refused in one line."""

from pathlib import Path
from typing import Any

import yaml

from lla.common.errors import InputError

MAX_FILE = 2**18  # bytes
MAX_VALUES = 100_000  # with what aliases repeat
# What the constructors of PyYAML raise for tags that do not fit their values.
UNREADABLE = (yaml.YAMLError, ValueError, OverflowError, AttributeError, TypeError, RecursionError)


class _UniqueKeys(yaml.SafeLoader):
    """Refuses a key that stands twice, of which YAML would silently keep the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """A dictionary."""
        names = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                if key.value in names:
                    what = f"{key.value[:40]!r} stands twice"
                    raise yaml.constructor.ConstructorError(None, None, what, key.start_mark)
                names.add(key.value)
        return super().construct_mapping(node, deep)


def read_yaml(path: Path, label: str | Path, *, max_depth: int, kind: str = "a YAML file") -> Any:
    """What a YAML file holds.

    Parameters
    ----------
    label : what messages call the file
    max_depth : of lists and mappings inside one another
    kind : what the file should be, in a few words

    Raises
    ------
    InputError
        When it cannot be read, is too large or too deep, or is no YAML; FileNotFoundError passes.
    """
    try:
        with open(path, "rb") as file:
            content = file.read(MAX_FILE + 1)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise InputError(f"{label}: cannot be read ({error.strerror}); name a YAML file") from None
    if len(content) > MAX_FILE:
        raise InputError(f"{label}: larger than {MAX_FILE:,} bytes; name {kind}")
    try:
        _check_size(content.decode("utf-8"), label, max_depth)
        return yaml.load(content, Loader=_UniqueKeys)
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise InputError(f"{label}{line}: {error.problem}; correct the YAML") from None
    except InputError:
        raise
    except UNREADABLE as error:
        reason = type(error).__name__
        raise InputError(f"{label}: no YAML that can be read ({reason}); correct it") from None


def _check_size(text: str, label: str | Path, max_depth: int) -> None:
    """Refuse what is nested deeper than is wanted, or is a flood once its aliases are written out.

    Both before a parser loses its time with it.
    """
    values, sizes = 0, dict[str, int]()  # so far; and of what has an anchor
    inside: list[tuple[str | None, int]] = []  # anchors of what is begun, values before it
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        if isinstance(event, yaml.AliasEvent):
            values += sizes.get(event.anchor, 1)
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before = inside.pop()
            if anchor is not None:
                sizes[anchor] = values - before
        elif isinstance(event, yaml.NodeEvent):
            if isinstance(event, yaml.CollectionStartEvent):
                inside.append((event.anchor, values))
            values += 1
        if len(inside) > max_depth:
            raise InputError(
                f"{label}: nested {len(inside)} deep; write options and values as in --help"
            )
        if values > MAX_VALUES:
            raise InputError(
                f"{label}: more than {MAX_VALUES:,} values, aliases written out; write few"
            )
