"""How objects show themselves: one line at a prompt, a small table in a notebook."""

import numbers
from collections.abc import Mapping, Sequence, Set
from dataclasses import MISSING, fields, is_dataclass
from html import escape
from typing import Any

MAX_LINE = 120  # characters
MAX_TEXT = 40  # of one value


class Summarized:
    """Base of what holds arrays; a dataclass says ``repr=False`` to keep its line."""

    def summary_facts(self) -> dict[str, Any]:
        """What to show, in order: a number, a name or the shape of an array each."""
        if not is_dataclass(self):
            return {}
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def __repr__(self) -> str:
        return one_line(type(self).__name__, self.summary_facts())

    def _repr_html_(self) -> str:
        return html_table(type(self).__name__, self.summary_facts())


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
        return one_line(type(self).__name__, changed)


def one_line(name: str, facts: Mapping[str, Any]) -> str:
    """``NAME(fact=value, ...)``, of at most `MAX_LINE` characters."""
    parts = []
    for fact, value in facts.items():
        parts.append(f"{fact}={_text(value, quoted=True)}")
        if len(f"{name}({', '.join(parts)}, ...)") > MAX_LINE:
            parts[-1] = "..."
            break
    return f"{name}({', '.join(parts)})"


def html_table(name: str, facts: Mapping[str, Any]) -> str:
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
