"""How objects and names are shown: at a prompt, in a notebook, in Markdown, in a spreadsheet.

An object shows itself in one line, or in a small table. The names of items come from data, and so
from strangers: one that holds control characters, markup or a formula is written as the characters
it consists of.
"""

import numbers
import re
from collections.abc import Mapping, Sequence, Set
from dataclasses import MISSING, fields, is_dataclass
from html import escape
from typing import Any

MAX_LINE = 120  # characters of an object
MAX_TEXT = 40  # of one value of it
MAX_NAME = 80  # characters of a name in a table
MARKUP = re.compile(
    r"[\\`*{}\[\]#|~$<>&\"@]"
    r"|(?<![^\W_])_|_(?![^\W_])"  # between letters it is none
    r"|:(?=\S)"  # the start of an address
    r"|(?<=www)\.",
    re.IGNORECASE,
)
FORMULA = tuple("=+-@＝＋－＠")  # a spreadsheet calculates what starts so, in any of its widths
JOINERS = "\u200c\u200d"  # invisible, inside words of Persian and of the scripts of India


class Summarized:
    """Base of what holds arrays; a dataclass says ``repr=False`` to keep its line."""

    def summary_facts(self) -> dict[str, Any]:
        """What to show, in order: a number, a name or the shape of an array each."""
        if not is_dataclass(self):
            return {}
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def __repr__(self) -> str:
        return _summary_line(type(self).__name__, self.summary_facts())

    def _repr_html_(self) -> str:
        return _summary_table(type(self).__name__, self.summary_facts())


class Configuration(Summarized):
    """Base of configurations: the line has the options that differ from their defaults."""

    def __repr__(self) -> str:
        changed = {}
        for field in fields(self):  # type: ignore[arg-type]
            default = field.default
            if field.default_factory is not MISSING:
                default = field.default_factory()
            if (value := getattr(self, field.name)) != default:
                changed[field.name] = value
        return _summary_line(type(self).__name__, changed)


def _summary_line(name: str, facts: Mapping[str, Any]) -> str:
    """``NAME(fact=value, ...)``, of at most `MAX_LINE` characters."""
    parts = []
    for fact, value in facts.items():
        parts.append(f"{fact}={_text(value, quoted=True)}")
        if len(f"{name}({', '.join(parts)}, ...)") > MAX_LINE:
            parts[-1] = "..."
            break
    return f"{name}({', '.join(parts)})"


def _summary_table(name: str, facts: Mapping[str, Any]) -> str:
    """A row per fact, its name and its value."""
    rows = "".join(
        f"<tr><th style='text-align:left'>{escape(fact)}</th>"
        f"<td style='text-align:left'>{escape(_text(value, quoted=False))}</td></tr>"
        for fact, value in facts.items()
    )
    return f"<table><caption>{escape(name)}</caption><tbody>{rows}</tbody></table>"


def _text(value: Any, *, quoted: bool) -> str:
    """A value in a few characters; arrays by their shape, collections by their length."""
    if value is None or isinstance(value, (bool, Configuration)):
        return repr(value)
    if isinstance(value, numbers.Integral):
        return str(int(value)) if quoted else f"{int(value):,}"
    if isinstance(value, numbers.Real):
        return f"{float(value):.6g}"
    if isinstance(value, str):
        line = " ".join(value.split()).encode("utf-8", "replace").decode()  # lone surrogates: "?"
        short = line if len(line) <= MAX_TEXT else f"{line[: MAX_TEXT - 3]}..."
        return repr(short) if quoted else short
    if shape := getattr(value, "shape", None):
        return str(tuple(shape))
    if isinstance(value, (Mapping, Sequence, Set)):
        return f"{len(value):,} entries"
    return type(value).__name__


def one_line(text: str) -> str:
    """`text` with control characters, line breaks and invisible marks as escape sequences."""
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() or c in JOINERS else c.encode("unicode_escape").decode() for c in text
    )


def markdown(text: str, most: int = MAX_NAME) -> str:
    """`text` so that Markdown and HTML show it as it is, in one line of at most `most` characters.

    What could be markup is written as a numeric character reference, which never is.
    """
    line = one_line(" ".join(text.split()))
    if len(line) > most:
        line = f"{line[: most - 1]}…"
    return MARKUP.sub(lambda found: f"&#{ord(found[0])};", line)


def spreadsheet(text: str) -> str:
    """`text` for a cell of CSV: what a spreadsheet would calculate has an apostrophe before it."""
    line = one_line(text)
    return f"'{line}" if line.lstrip().startswith(FORMULA) else line
