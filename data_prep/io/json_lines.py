"""JSON Lines: an object per line."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from lla.common.errors import InputError


def json_objects(lines: Iterable[str], path: Path | str) -> Iterator[tuple[int, dict[str, Any]]]:
    """The objects of JSON Lines, each with the number of its line."""
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        place = f"{path}: line {number}"
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            reason = "nested too deeply" if isinstance(error, RecursionError) else error
            raise InputError(
                f"{place} is not JSON ({reason}); give one JSON object per line"
            ) from None
        if not isinstance(record, dict):
            raise InputError(f"{place} is not a JSON object; give one JSON object per line")
        yield number, record


def text_of(value: Any, place: str) -> str:
    """A value that should be text; nothing is the empty text."""
    if value is None:
        return ""
    if not isinstance(value, str):
        raise InputError(f"{place} holds {type(value).__name__}, not text; choose another")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise InputError(f"{place} holds half a character (a lone surrogate); fix it") from None
    return value
