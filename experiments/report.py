"""The report: REPRODUCIBILITY.md and the README's table, made of the result files and nothing else.

``python -m experiments.report`` writes both; with ``--check`` it tells whether they are current.
"""

import argparse
import itertools
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from experiments import paths
from experiments.markdown import duration, number, shown, size, table
from experiments.material import NOT_RUN, PROFILES, Material, gather, made_by
from experiments.readme import headline_table, machine, readme_block
from lla.common.errors import InputError, run_main
from lla.common.files import atomic_write

__all__ = ["headline_table", "stale", "texts", "write_report"]


REPORT, README = "REPRODUCIBILITY.md", "README.md"


MANY = 60  # measures, from which on a result's table has a line a model


BEGIN, END = "<!-- generated:table -->", "<!-- generated:end -->"


INTRODUCTION = """\
# Reproducibility

Every claim, table and figure: the notebook that makes it, the file that holds its numbers, the
paper's value, ours, and the verdict. `make report` writes this page from `results/`; edits made
here are lost. Spread is the standard deviation over seeds. A claim *holds* when the measured
difference is beyond its margin, *does not hold* when it is beyond it the other way, and is
*undecided* between; the margin is twice the standard deviation over seeds of the relative
difference, unless the claim's notebook states another. The development documents, one in ten,
are in no number here."""


def reproducibility(material: Material) -> str:
    """The text of REPRODUCIBILITY.md."""
    claims = (
        _claim_row(material, material.link(name), name, claim, found)
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
    files = [
        f"results/{p}/{there}.json"
        for p in PROFILES
        for there in material.results[p]
        if made_by(there, name)
    ]
    files += [file for file in material.pictures if Path(file).name.startswith(name)]
    chosen = (file for file in files if file.endswith(tuple(kinds)))
    return ", ".join(f"[{file.removeprefix('results/')}]({file})" for file in chosen) or NOT_RUN


def _result_section(profile: str, name: str, result: dict[str, Any]) -> str:
    around = result["environment"]
    versions = (f"{package} {version}" for package, version in around["packages"].items())
    marks = (f"{key} `{(around.get(key) or 'none')[:12]}`" for key in ("corpus", "lock"))
    python = f"Python {around['python']}, {', '.join(versions)}, {around['platform']}"
    keys = ("name", "measured", "margin", "verdict")
    claims = [[number(c[key]) for key in keys] for c in result["claims"]]
    parts = (
        f"### {name} ({profile})",
        _measures(result["measures"]),
        table(("claim", *keys[1:]), claims) if claims else "",
        f"Seeds {', '.join(map(str, result['seeds']))}; {duration(result['seconds'])}, "
        f"{size(result['peak_memory'])} of memory at most. "
        f"{python}, {machine(result)}, {', '.join(marks)}.",
    )
    return "\n\n".join(part for part in parts if part)


def _measures(measures: dict[str, dict[str, Any]]) -> str:
    """A line a measure; of very many, named METRIC.MODEL, a line a model."""
    if len(measures) <= MANY:
        rows = ((key, shown(m), m["unit"]) for key, m in measures.items())
        return table(("measure", "value ± spread", "unit"), rows)
    split = {key.partition(".")[::2]: shown(m) for key, m in measures.items()}
    metrics, models = (dict.fromkeys(names) for names in zip(*split, strict=True))
    lines = ((model, *(split.get((metric, model), "") for metric in metrics)) for model in models)
    return table(("model", *metrics), lines)


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
    parser = argparse.ArgumentParser(prog="python -m experiments.report", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if not current")
    if not parser.parse_args(argv).check:
        print(f"wrote {' and '.join(write_report())}")
    elif names := stale():
        print(f"{', '.join(names)}: not current; run `make report`", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    run_main(main)
