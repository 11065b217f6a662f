"""The report, made of result files and nothing else.

``python -m experiments.report`` writes REPRODUCIBILITY.md, ``results/FINDINGS.md``,
``results/claims.csv``, ``results/PROFILE/measures.csv``, the figure of Table 4, and the generated
parts of README.md, benchmarks/README.md and experiments/configs/paper.yaml. With ``--check`` it
writes nothing and tells whether they are current.
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from experiments import claims, results
from experiments.rehearsal import text as rehearsal
from experiments.report.csv_text import claims_csv, measures_csv
from experiments.report.findings import findings
from experiments.report.inputs import PROFILES, ReportInputs, load
from experiments.report.reproducibility import cost, reproducibility
from experiments.report.table4 import HEADER, TABLE_4, table4
from experiments.report.tables import (
    DATA_LABELS,
    NONE,
    NOT_RUN,
    model_label,
    particles_of,
    table,
)
from experiments.results import format_number
from lla.common.errors import InputError
from lla.common.files import atomic_write

# Table 4 of the paper and what stands around it.
HEADLINE = "joint_vs_independent"
HEADLINE_DATA = frozenset({"text", "wikipedia", "documentation", "articles", "clicks"})
HEADLINE_ROWS = (
    (HEADLINE, "unigram"),
    (HEADLINE, "lda_online"),
    (HEADLINE, "independent"),
    (HEADLINE, "topic_lla"),
    ("accuracy_vs_size", "word_lstm"),
    (HEADLINE, "cache_unigram"),
)


# -------------------------------------------------------------- parts of files, between markers


def headline_block(inputs: ReportInputs) -> str:
    """The figure of the largest profile, and the paper's Table 4 with a row per corpus."""
    profile = _largest(inputs)
    figure = f"![Perplexity by model]({_figure_path(profile)})\n\n" if profile else ""
    rows = table4(inputs.results, HEADLINE_DATA)
    return f"{figure}{table(HEADER, rows)}\n\n{_headline_note(inputs)}".rstrip()


def _headline_note(inputs: ReportInputs) -> str:
    """Seeds and particles."""
    found = [
        inputs.results[profile][result]
        for profile in inputs.profiles
        for row_id in TABLE_4
        for result in claims.paper(row_id).results
        if result in inputs.results[profile]
    ]
    counts = sorted({n for n in map(particles_of, found) if n})
    seeds = sorted({len(result["seeds"]) for result in found})
    return (
        f"Perplexities, mean ± standard deviation over {_listed(seeds)} seeds; lower is better. "
        f"Those of topic LLA are estimated with {_listed(counts)} particles. In brackets the 95% "
        "interval, then its evidence and the verdict on better joint training."
    )


def _listed(numbers: Sequence[int]) -> str:
    """Such as "2 or 3"; a dash for none."""
    texts = [*map(str, numbers)] or [NONE]
    return " or ".join(filter(None, (", ".join(texts[:-1]), texts[-1])))


def _largest(inputs: ReportInputs) -> str:
    """The largest profile that has the headline's result; "" where none has."""
    return next((p for p in reversed(PROFILES) if HEADLINE in inputs.results.get(p, {})), "")


def topics_block(inputs: ReportInputs) -> str:
    """Three topics and one forecast of a fitted model."""
    if "showcase" not in inputs.results["small"]:
        return NOT_RUN
    shown = inputs.results["small"]["showcase"]["extra"]
    topics = (f"topic {t['number']:>3}   {'  '.join(t['words'])}" for t in shown["topics"])
    forecast = " | ".join(
        f"{t['probability']:.0%} {' '.join(t['words'])}" for t in shown["forecast"]
    )
    return "\n".join(
        (
            "```text",
            *topics,
            f"after       {'  '.join(shown['history'])}",
            f"expected    {forecast}",
            "```",
        )
    )


def commands_block(inputs: ReportInputs) -> str:
    """The two commands, with what the committed run of the default profile took."""
    small = inputs.results["small"]
    took = (
        f"{cost(small, inputs.seconds['small'])}; resumes after Ctrl-C"
        if small
        else "resumes after Ctrl-C"
    )
    lines = f"make reproduce   # {took}", "make test        # lint, tests, stored notebook outputs"
    return "\n".join(("```sh", *lines, "```"))


def bench_block(inputs: ReportInputs) -> str:
    """Speed and memory beside a baseline, each pair measured in one run."""
    rows = (
        (
            row["case"],
            row["peer"],
            *(f"{format_number(row[side])} {row['unit']}" for side in ("ours", "theirs")),
            f"{row['ratio']:.2f}",
        )
        for row in inputs.bench
    )
    return table(("case", "baseline", "ours", "baseline's", "ratio"), rows)


def rehearsal_block(inputs: ReportInputs) -> str:
    """What one of everything took at the paper's sizes, and the whole would take."""
    return rehearsal.block(inputs.rehearsal)


def profile_block(inputs: ReportInputs) -> str:
    """The same as a comment of the profile `paper`."""
    lines = rehearsal.yaml_block(inputs.rehearsal).splitlines()
    return "\n".join(f"# {line}".rstrip() for line in lines)


BLOCKS = {
    "README.md": {"headline": headline_block, "commands": commands_block, "topics": topics_block},
    "benchmarks/README.md": {"benchmarks": bench_block, "rehearsal": rehearsal_block},
    "experiments/configs/paper.yaml": {"rehearsal": profile_block},
}
MARKERS = {  # around a generated part, by the ending of its file, and the space beside them
    ".md": ("<!-- generated:{} -->", "\n\n"),
    ".yaml": ("# generated:{}", "\n"),
}


def fill(path: Path, blocks: Mapping[str, Any], inputs: ReportInputs) -> str:
    """The file's text with what stands between its markers made anew."""
    text = path.read_text(encoding="utf-8")
    marker, gap = MARKERS[path.suffix]
    for name, make in blocks.items():
        begin, end = marker.format(name), marker.format("end")
        before, found, rest = text.partition(begin)
        _, closed, after = rest.partition(end)
        if not (found and closed):
            raise InputError(f"{path}: lacks {begin} or {end}; put both lines in")
        text = f"{before}{begin}{gap}{make(inputs)}{gap}{end}{after}"
    return text


def texts(root: Path, inputs: ReportInputs) -> dict[Path, str]:
    """What every written text file should say; a README that does not exist is not written."""
    wanted = {
        root / "REPRODUCIBILITY.md": reproducibility(inputs),
        root / "results" / "FINDINGS.md": findings(inputs),
        root / "results" / "claims.csv": claims_csv(inputs),
    }
    for profile, found in inputs.results.items():
        if found:
            wanted[root / "results" / profile / "measures.csv"] = measures_csv(found)
    for name, blocks in BLOCKS.items():
        if (root / name).is_file():
            wanted[root / name] = fill(root / name, blocks, inputs)
    return wanted


def _figure_path(profile: str) -> str:
    return f"results/{profile}/table4.png"


def figure_of_table_4(root: Path, inputs: ReportInputs) -> tuple[Path, str] | None:
    """Where the figure stands and the numbers it should show, as JSON; None without a result."""
    if not (profile := _largest(inputs)):
        return None
    bars = {}
    for result, model in HEADLINE_ROWS:
        measure = inputs.results[profile].get(result, {}).get("measures", {})
        if found := measure.get(f"perplexity.{model}"):
            bars[model_label(model)] = [found["value"], found["spread"]]
    bars = dict(sorted(bars.items(), key=lambda bar: -bar[1][0]))
    corpus = claims.corpus_of(inputs.results[profile])
    title = f"Perplexity on {DATA_LABELS.get(corpus, corpus)} ({profile}; lower is better)"
    paper = {model_label(model): value for model, value in claims.paper(TABLE_4[0]).numbers.items()}
    shown = {"title": title, "bars": bars, "paper": paper}
    return root / _figure_path(profile), json.dumps(shown)


def _drawn(path: Path) -> str:
    """The numbers that a figure of ours says it shows."""
    from PIL import Image

    if not path.is_file():
        return ""
    with Image.open(path) as image:
        return image.info.get("Description", "")


def _draw(path: Path, numbers: str) -> None:
    from matplotlib import pyplot as plt

    from experiments import figures

    shown = json.loads(numbers)
    bars = {name: tuple(pair) for name, pair in shown["bars"].items()}
    ax = figures.table4_bars(bars, paper=shown["paper"], title=shown["title"])
    results.save_figure(ax, path, about=numbers)
    plt.close(ax.get_figure(root=True))


def stale(root: Path | None = None) -> list[str]:
    """Names of files that are missing or that say something else than the results."""
    root = root or results.ROOT
    inputs = load(root)
    names = [
        path.relative_to(root).as_posix()
        for path, text in texts(root, inputs).items()
        if not path.is_file() or path.read_text(encoding="utf-8") != text
    ]
    names += [name for name in BLOCKS if not (root / name).is_file()]
    if (figure := figure_of_table_4(root, inputs)) and _drawn(figure[0]) != figure[1]:
        names.append(figure[0].relative_to(root).as_posix())
    return names


def write_report(root: Path | None = None) -> list[str]:
    """Write every file of the report that is not current; returns their names."""
    root = root or results.ROOT
    inputs = load(root)
    written = []
    for path, text in texts(root, inputs).items():
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            with atomic_write(path, "w") as file:
                file.write(text)
            written.append(path.relative_to(root).as_posix())
    # A figure is drawn anew for new numbers only: other machines draw other bytes.
    if figure := figure_of_table_4(root, inputs):
        picture, numbers = figure
        if _drawn(picture) != numbers:
            _draw(picture, numbers)
            written.append(picture.relative_to(root).as_posix())
    return written


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m experiments.report", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if not current")
    if not parser.parse_args(argv).check:
        print(f"wrote {', '.join(write_report()) or 'nothing: the report is current'}")
    elif names := stale():
        print(f"{', '.join(names)}: not current; run `make report`", file=sys.stderr)
        return 1
    return 0
