"""The tables of the last run: results/torture.json, and README.md beside this file, made of it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from experiments.report.pages import fill
from experiments.report.tables import table
from lla.common.files import atomic_write, read_json, write_json

ROOT = Path(__file__).parents[2]
RESULT, PAGE = ROOT / "results" / "torture.json", Path(__file__).with_name("README.md")
PARTS = ("faults", "notebooks", "inputs")


def text_of(rows: Sequence[Mapping[str, Any]], aligned: bool = False) -> str:
    """A table with a row per fault, or per kind of input."""
    header = [name.replace("_", " ") for name in rows[0]]
    return table(header, [list(row.values()) for row in rows], aligned)


def page_of(tables: Mapping[str, Any]) -> str:
    """README.md with these tables."""

    def block(_: Any) -> str:
        return "\n\n".join(text_of(tables[part]) for part in PARTS if tables[part])

    return fill(PAGE, {"torture": block}, None)  # type: ignore[arg-type]


def write(tables: Mapping[str, Any]) -> None:
    """Both files; of a part that did not run, the rows of the last one are kept."""
    before = read_json(RESULT) if RESULT.exists() else {}
    kept = {part: before[part] for part in PARTS if not tables[part] and part in before}
    write_json(RESULT, {**tables, **kept})
    page = page_of(read_json(RESULT))
    with atomic_write(PAGE, "w") as file:
        file.write(page)
