"""The report: REPRODUCIBILITY.md and the README's table, made of the result files and nothing else.

``python -m lla.report`` writes both; ``python -m lla.report --check`` tells whether they are so.
"""

import argparse
import itertools
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lla import paths
from lla.errors import InputError, run_main
from lla.markdown import duration, number, shown, size, table
from lla.store import MEASURE_KEYS, atomic_write, read_json

PROFILES = ("small", "medium")
REPORT, README = "REPRODUCIBILITY.md", "README.md"
BEGIN, END = "<!-- generated:table -->", "<!-- generated:end -->"
NOT_RUN, NO_NUMBER = "not run here", "no number printed"
RESULT_KEYS = {"measures", "claims", "seeds", "environment", "seconds", "peak_memory"}

# Table 4 of the paper and what stands around it: measure, label, the value the paper prints.
HEADLINE = "joint_vs_independent"
PAPER = "paper (Wikipedia, 1M documents, K=1,000)"
ROWS = (
    ("unigram", "unigram", NO_NUMBER),
    ("cache_unigram", "cache unigram (a baseline the paper lacks)", NO_NUMBER),
    ("lda", "LDA, θ frozen", NO_NUMBER),
    ("lda_updated", "LDA, θ updated as words are revealed", NO_NUMBER),
    ("independent", "independent learner (LSTM on LDA's topics)", "2119"),
    ("topic_lla", "topic LLA, joint", "1785"),
)
INTRODUCTION = """\
# Reproducibility

Every claim, table and figure: the notebook that makes it, the file that holds its numbers, the
paper's value, ours, and the verdict. `make report` writes this page from `results/`; edits made
here are lost. Spread is the standard deviation over seeds. A claim *holds* when the measured
difference is beyond its margin, *does not hold* when it is beyond it the other way, and is
*undecided* between; the margin is twice the standard deviation over seeds of the relative
difference, unless the claim's notebook states another. The development documents, one in ten,
are in no number here."""


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
    """What the report is made of: results[profile][name], notebooks in order, pictures' paths."""

    results: dict[str, dict[str, dict[str, Any]]]
    notebooks: tuple[Notebook, ...]
    pictures: tuple[str, ...]

    @property
    def names(self) -> list[str]:
        """Names of all results, in the order of the notebooks."""
        order = {notebook.result: i for i, notebook in enumerate(self.notebooks)}
        names = {name for results in self.results.values() for name in results}
        return sorted(names, key=lambda name: (order.get(name, len(order)), name))

    def claims(self, name: str) -> dict[str, dict[str, dict[str, Any]]]:
        """claims[claim][profile] of one result."""
        found: dict[str, dict[str, dict[str, Any]]] = {}
        for profile in PROFILES:
            for claim in self.results[profile].get(name, {"claims": ()})["claims"]:
                found.setdefault(claim["name"], {})[profile] = claim
        return found


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
    return Material(results, tuple(notebooks), tuple(pictures))


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


def headline_table(profile: str, root: Path | None = None) -> str:
    """Two tables for one profile: model | paper | ours, and claim | paper | ours | verdict."""
    if profile not in PROFILES:
        raise InputError(f"profile {profile!r} stands in no table; choose {' or '.join(PROFILES)}")
    material = gather(root)
    if not material.results[profile]:
        raise InputError(f"{profile}: {NOT_RUN}; run `make reproduce PROFILE={profile}`")
    found = (claims for name in material.names for claims in material.claims(name).values())
    keys = ("name", "paper", "ours", "verdict")
    judged = ([claims[profile][key] for key in keys] for claims in found if profile in claims)
    return f"{_models(material, (profile,))}\n\n{table(('claim', *keys[1:]), judged)}"


def _models(material: Material, profiles: Sequence[str]) -> str:
    """Table 4 beside ours."""

    def ours(profile: str, key: str) -> str:
        if HEADLINE not in material.results[profile]:
            return NOT_RUN
        measure = material.results[profile][HEADLINE]["measures"].get(f"perplexity.{key}")
        return shown(measure) if measure else "not measured"

    rows = ((label, paper, *(ours(p, key) for p in profiles)) for key, label, paper in ROWS)
    return table(("model", PAPER, *(f"ours, {p}" for p in profiles)), rows)


def readme_block(material: Material) -> str:
    """What stands between the README's two markers."""
    verdicts = (
        (name, next(iter(found.values()))["paper"], *(_verdict(found.get(p)) for p in PROFILES))
        for name, found in material.claims(HEADLINE).items()
    )
    made = {notebook.result for notebook in material.notebooks}
    runs = {
        p: {name: result for name, result in material.results[p].items() if name in made}
        for p in PROFILES
    }
    costs = (f"- `make reproduce PROFILE={p}`: {_cost(runs[p])}" for p in PROFILES)
    parts = (
        "Perplexity of the last 40% of every document; lower is better. The paper's corpus is far "
        "larger than ours: compare the order and the relative differences, not the levels.",
        _models(material, PROFILES),
        table(("claim", "paper", *PROFILES), verdicts),
        _corpora(material),
        "\n".join(costs),
    )
    return "\n\n".join(part for part in parts if part)


def _corpora(material: Material) -> str:
    """How large each profile's corpus is, and its K."""
    counted = ("documents", "vocabulary", "observed", "held_out")
    rows = []
    for profile in PROFILES:
        results = material.results[profile]
        if not results.keys() >= {"data_prep", "lda_initialization"}:
            continue
        measures = results["data_prep"]["measures"]
        sizes = [f"{measures[name]['value']:,.0f}" for name in counted]
        rows.append((profile, *sizes, results["lda_initialization"]["config"]["n_topics"]))
    header = ("profile", "articles", "V", "words observed", "words to predict", "K")
    return table(header, rows) if rows else ""


def _verdict(claim: dict[str, Any] | None) -> str:
    return f"{claim['ours']}: **{claim['verdict']}**" if claim else NOT_RUN


def _cost(results: dict[str, dict[str, Any]]) -> str:
    if not results:
        return NOT_RUN
    seconds = sum(result["seconds"] for result in results.values())
    memory = max(result["peak_memory"] for result in results.values())
    machines = dict.fromkeys(_machine(result) for result in results.values())
    return f"{duration(seconds)}, at most {size(memory)} of memory ({'; '.join(machines)})"


def _machine(result: dict[str, Any]) -> str:
    around = result["environment"]
    return f"{around['cpu']}, cores: {around['cores']}, threads: {around['threads']}"


def reproducibility(material: Material) -> str:
    """The text of REPRODUCIBILITY.md."""
    links = {notebook.result: notebook.link for notebook in material.notebooks}
    claims = (
        _claim_row(material, links.get(name, "none"), name, claim, found)
        for name in material.names
        for claim, found in material.claims(name).items()
    )
    ours = (f"ours ({profile})" for profile in PROFILES)
    header = "claim", "notebook", "result file", "paper", *ours, "verdict"
    made = ((n.link, n.title, _files(material, n.result)) for n in material.notebooks)
    parts = [
        INTRODUCTION,
        "\n".join(f"- {p}: {NOT_RUN}" for p in PROFILES if not material.results[p]),
        f"## Claims\n\n{table(header, claims)}",
        f"## Notebooks\n\n{table(('notebook', 'question', 'files'), made)}",
        "## Measures",
    ]
    for name, profile in itertools.product(material.names, PROFILES):
        if result := material.results[profile].get(name):
            parts.append(_result_section(profile, name, result))
    parts.append("## Deviations")
    for notebook in material.notebooks:
        bullets = "\n".join(f"- {deviation}" for deviation in notebook.deviations)
        parts.append(f"### {notebook.link}\n\n{bullets}" if bullets else "")
    return "\n\n".join(part for part in parts if part) + "\n"


def _claim_row(
    material: Material, link: str, name: str, claim: str, found: dict[str, dict[str, Any]]
) -> tuple[str, ...]:
    best = list(found.values())[-1]
    ours = (found[p]["ours"] if p in found else NOT_RUN for p in PROFILES)
    verdict = "; ".join(f"{profile}: {claim['verdict']}" for profile, claim in found.items())
    return (
        f"**{claim}**: {best['statement']}",
        link,
        _files(material, name, ("json",)),
        best["paper"],
        *ours,
        verdict,
    )


def _files(material: Material, name: str, kinds: Sequence[str] = ("json", "png", "csv")) -> str:
    """Links to a result's JSON, and to the pictures and tables named after it."""
    files = [f"results/{p}/{name}.json" for p in PROFILES if name in material.results[p]]
    files += [file for file in material.pictures if Path(file).name.startswith(name)]
    chosen = (file for file in files if file.endswith(tuple(kinds)))
    return ", ".join(f"[{file.removeprefix('results/')}]({file})" for file in chosen) or NOT_RUN


def _result_section(profile: str, name: str, result: dict[str, Any]) -> str:
    around = result["environment"]
    versions = (f"{package} {version}" for package, version in around["packages"].items())
    marks = (f"{key} `{(around.get(key) or 'none')[:12]}`" for key in ("corpus", "lock"))
    python = f"Python {around['python']}, {', '.join(versions)}, {around['platform']}"
    measures = ((key, shown(m), m["unit"]) for key, m in result["measures"].items())
    keys = ("name", "measured", "margin", "verdict")
    claims = [[number(c[key]) for key in keys] for c in result["claims"]]
    parts = (
        f"### {name} ({profile})",
        table(("measure", "value ± spread", "unit"), measures),
        table(("claim", *keys[1:]), claims) if claims else "",
        f"Seeds {', '.join(map(str, result['seeds']))}; {duration(result['seconds'])}, "
        f"{size(result['peak_memory'])} of memory at most. "
        f"{python}, {_machine(result)}, {', '.join(marks)}.",
    )
    return "\n\n".join(part for part in parts if part)


def texts(root: Path) -> dict[Path, str]:
    """What REPRODUCIBILITY.md and, where there is one, the README should say."""
    material = gather(root)
    wanted = {root / REPORT: reproducibility(material)}
    if (old := _text(root / README)) is not None:
        before, begin, rest = old.partition(BEGIN)
        _, end, after = rest.partition(END)
        if not end:
            raise InputError(f"{root / README}: lacks {BEGIN} or {END}; put both lines in")
        wanted[root / README] = f"{before}{begin}\n\n{readme_block(material)}\n\n{end}{after}"
    return wanted


def _text(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.is_file() else None


def stale(root: Path | None = None) -> list[str]:
    """Names of the files that are missing or say something else than the results."""
    wanted = texts(root or paths.ROOT)
    missing = [] if any(path.name == README for path in wanted) else [README]
    return [path.name for path, text in wanted.items() if _text(path) != text] + missing


def write_report(root: Path | None = None) -> list[str]:
    """Write the report and, where there is a README, its block; returns the names of both."""
    wanted = texts(root or paths.ROOT)
    for path, text in wanted.items():
        with atomic_write(path, "w") as file:
            file.write(text)
    return [path.name for path in wanted]


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m lla.report", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if not current")
    if not parser.parse_args(argv).check:
        print(f"wrote {' and '.join(write_report())}")
    elif names := stale():
        print(f"{', '.join(names)}: not current; run `make report`", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    run_main(main)
