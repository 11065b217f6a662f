"""What the report is made of: the results of the real profiles, the notebooks, the pictures."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments import paths
from experiments.results import MEASURE_KEYS
from lla.common.errors import InputError
from lla.common.files import read_json

PROFILES = ("small", "medium")


NOT_RUN = "not run here"


BENCH_KEYS = {"case", "peer", "ours", "theirs", "unit", "ratio", "target", "passed"}


RESULT_KEYS = {"measures", "claims", "seeds", "environment", "seconds", "peak_memory"}


@dataclass(frozen=True)
class Notebook:
    """A notebook's file name without ending, its first heading, and its deviations."""

    name: str
    title: str
    deviations: tuple[str, ...]

    @property
    def result(self) -> str:
        """Name of its result file: the notebook's without its number."""
        return self.name.split("_", 1)[-1]

    @property
    def link(self) -> str:
        """The notebook in Markdown."""
        return f"[{self.name}](notebooks/{self.name}.ipynb)"


@dataclass(frozen=True)
class Material:
    """What the report is made of: results[profile][name], notebooks in order, pictures' paths.

    `bench` holds the rows of results/bench/*.json, each with the keys `BENCH_KEYS`.
    """

    results: dict[str, dict[str, dict[str, Any]]]
    notebooks: tuple[Notebook, ...]
    pictures: tuple[str, ...]
    bench: tuple[dict[str, Any], ...] = ()

    @property
    def names(self) -> list[str]:
        """Names of all results, in the order of the notebooks."""
        order = {notebook: i for i, notebook in enumerate(self.notebooks)}
        names = {name for results in self.results.values() for name in results}
        return sorted(names, key=lambda name: (order.get(self.maker(name), len(order)), name))

    def maker(self, name: str) -> Notebook | None:
        """The notebook that makes the result of this name."""
        return next((n for n in self.notebooks if made_by(name, n.result)), None)

    def link(self, name: str) -> str:
        """Its link, or "none"."""
        maker = self.maker(name)
        return maker.link if maker else "none"

    def claims(self, name: str) -> dict[str, dict[str, dict[str, Any]]]:
        """claims[claim][profile] of one result."""
        found: dict[str, dict[str, dict[str, Any]]] = {}
        for profile in PROFILES:
            for claim in self.results[profile].get(name, {"claims": ()})["claims"]:
                found.setdefault(claim["name"], {})[profile] = claim
        return found


def made_by(name: str, notebook: str) -> bool:
    """Whether a result belongs to a notebook: it has its name, or that and what it is of."""
    return name == notebook or name.startswith(f"{notebook}_")


def gather(root: Path | None = None) -> Material:
    """Read the real profiles' results and the notebooks; `InputError` for what is neither."""
    root = root or paths.ROOT
    folders = {profile: root / "results" / profile for profile in PROFILES}
    results = {
        profile: {file.stem: _read_result(file) for file in sorted(folder.glob("*.json"))}
        for profile, folder in folders.items()
    }
    notebooks = map(_read_notebook, sorted((root / "notebooks").glob("[0-9]*.ipynb")))
    files = sorted(file for folder in folders.values() for file in folder.glob("*"))
    pictures = (f.relative_to(root).as_posix() for f in files if f.suffix in (".png", ".csv"))
    files = sorted((root / "results" / "bench").glob("*.json"))
    bench = tuple(row for file in files for row in _read_bench(file))
    return Material(results, tuple(notebooks), tuple(pictures), bench)


def _read_bench(file: Path) -> list[dict[str, Any]]:
    rows = read_json(file)
    if not isinstance(rows, list) or any(BENCH_KEYS - row.keys() for row in rows):
        raise InputError(f"{file}: not rows of a benchmark; run `make bench` again or remove it")
    return rows


def _read_result(file: Path) -> dict[str, Any]:
    result = read_json(file)
    whole = isinstance(result, dict) and result.keys() >= RESULT_KEYS
    if not whole or any(MEASURE_KEYS - set(m) for m in result["measures"].values()):
        raise InputError(f"{file}: not a result of lla; run its notebook again or remove it")
    return result


def _read_notebook(file: Path) -> Notebook:
    try:
        cells = [
            (cell["metadata"].get("tags", ()), "".join(cell["source"]))
            for cell in read_json(file)["cells"]
            if cell["cell_type"] == "markdown"
        ]
    except (KeyError, TypeError, AttributeError):
        raise InputError(f"{file}: not a notebook; restore it") from None
    headings = [m[1] for _, text in cells if (m := re.search(r"^#\s+(.+)$", text, re.M))]
    deviations: list[str] = []
    for text in (text for tags, text in cells if "deviations" in tags):
        if not (bullets := _bullets(text)):
            raise InputError(f"{file}: the cell `deviations` has no bullet; make it a list")
        deviations += bullets
    return Notebook(file.stem, headings[0] if headings else file.stem, tuple(deviations))


def _bullets(markdown: str) -> list[str]:
    """The items of a Markdown list, each on one line; what follows a blank line ends an item."""
    items: list[str] = []
    inside = False
    for line in markdown.splitlines():
        if match := re.match(r"[-*+]\s+(.*)", line):
            items.append(match[1].strip())
        elif inside and line.strip():
            items[-1] += f" {line.strip()}"
        inside = bool(match) or (inside and bool(line.strip()))
    return items
