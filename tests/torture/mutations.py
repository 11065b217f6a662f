"""Valid files made wrong: bytes, numbers and words in texts, values in JSON."""

import json
import re
from collections.abc import Callable
from typing import Any

import numpy as np

Draw = np.random.Generator

NUMBERS = (
    "-1",
    "0",
    "1e308",
    "1e999",
    "nan",
    "-inf",
    "9223372036854775808",
    "0x7f",
    "2.5",
    "9" * 5000,
)
WORDS = (
    "",
    "\0",
    "\ud7ff",
    "=1+1",
    "<script>",
    "../../x",
    "\x1b[2J",
    "a" * 70_000,
    '"',
    "'",
    "\u202e",
)
TOKEN = re.compile(rb"-?\d+(?:\.\d+)?|[A-Za-z_]+")


def deep(levels: int) -> Any:
    """A list in a list, and so on."""
    value: Any = []
    for _ in range(levels):
        value = [value]
    return value


JUNK: tuple[Any, ...] = (
    *(None, True, False, -1, 0, 1, 3, 2**31, 2**63, -(2**63), 10**400, 1e308, 0.5, -0.0),
    *("", "x", "nan", "../..", "/", "a" * 10_000, "\0", "=1+1", "\ud800"),
    *([], {}, [None], [[]], {"a": 1}, [1, 2, 3], ["a", "a"], [-1], deep(50), list(range(1000))),
)


def pick(values: Any, draw: Draw) -> Any:
    """One of them."""
    return values[int(draw.integers(len(values)))]


# ------------------------------------------------------------------------------------ bytes


def flip(data: bytes, draw: Draw) -> bytes:
    """One to eight bits."""
    changed = bytearray(data)
    for _ in range(int(draw.integers(1, 9))):
        changed[int(draw.integers(len(changed)))] ^= 1 << int(draw.integers(8))
    return bytes(changed)


def cut(data: bytes, draw: Draw) -> bytes:
    """The first part."""
    return data[: int(draw.integers(len(data)))]


def drop(data: bytes, draw: Draw) -> bytes:
    """Without a piece."""
    a, b = sorted(int(x) for x in draw.integers(len(data) + 1, size=2))
    return data[:a] + data[b:]


def double(data: bytes, draw: Draw) -> bytes:
    """A piece twice, or many times."""
    a, b = sorted(int(x) for x in draw.integers(len(data) + 1, size=2))
    return data[:b] + data[a:b] * int(pick((1, 1, 100), draw)) + data[b:]


def insert(data: bytes, draw: Draw) -> bytes:
    """Random bytes, zeros or ones between."""
    at, n = int(draw.integers(len(data) + 1)), int(pick((1, 8, 300), draw))
    more = pick((draw.bytes(n), n * b"\0", n * b"\xff", n * b"[", n * b"{", n * b"\n"), draw)
    return data[:at] + more + data[at:]


def overwrite(data: bytes, draw: Draw) -> bytes:
    """A number of 8 bytes in place of others: sizes and offsets that are not so."""
    at = int(draw.integers(max(1, min(len(data), 200) - 8)))
    number = pick((0, 1, 255, 2**16, 2**31, 2**32 - 1, 2**40, 2**63, 2**64 - 1), draw)
    return data[:at] + int(number).to_bytes(8, "little") + data[at + 8 :]


def token(data: bytes, draw: Draw) -> bytes:
    """Another number or word in place of one."""
    found = list(TOKEN.finditer(data[:100_000]))
    if not found:
        return flip(data, draw)
    place = pick(found, draw)
    new = pick((*NUMBERS, *WORDS), draw).encode()
    return data[: place.start()] + new + data[place.end() :]


def nothing(data: bytes, draw: Draw) -> bytes:
    """An empty file, or one of another kind."""
    other = (b"", b"\0" * 100, b"PK\x03\x04", b"\x93NUMPY", b"\x1f\x8b\x08", b"PAR1", b"{}", b"[]")
    return pick((*other, b"[" * 100_000, draw.bytes(400), b"\xff\xfe" + data), draw)


BYTES = (flip, cut, drop, double, insert, overwrite, token, token, nothing)


def bytes_of(data: bytes, draw: Draw) -> bytes:
    """Any of them."""
    return pick(BYTES, draw)(data or b" ", draw)


# ------------------------------------------------------------------------------------- JSON


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Paths of all values inside a value."""
    found = [path] if path else []
    pairs: Any = ()
    if isinstance(value, dict):
        pairs = value.items()
    elif isinstance(value, list):
        pairs = enumerate(value[:20])
    for key, inner in pairs:
        found += places(inner, (*path, key))
    return found


def value_of(value: Any, draw: Draw) -> Any:
    """The same JSON with a value replaced, left out, added, or moved one level in."""
    copy = json.loads(json.dumps(value))
    found = places(copy)
    if not found or draw.random() < 0.03:
        return pick(JUNK, draw)
    *outer, last = pick(found, draw)
    place = copy
    for key in outer:
        place = place[key]
    how = int(draw.integers(8))
    if how == 0:
        del place[last]
    elif how == 1:
        place[last] = [place[last]]
    elif how == 2 and isinstance(place, dict):
        place[pick(("x", "", "a" * 1000, "__class__"), draw)] = pick(JUNK, draw)
    elif how == 3 and isinstance(place[last], int | float):
        place[last] = pick(
            (-place[last], place[last] + 1, place[last] * 10**6, str(place[last])), draw
        )
    else:
        place[last] = pick(JUNK, draw)
    return copy


def json_of(data: bytes, draw: Draw) -> bytes:
    """A JSON file with another value in it; some of the time, with other bytes."""
    if draw.random() < 0.25:
        return bytes_of(data, draw)
    return json.dumps(value_of(json.loads(data), draw)).encode()


Mutation = Callable[[bytes, Draw], bytes]
