"""REPRODUCIBILITY.md: the paper that is replicated, figure by figure, and how it was run."""

from collections.abc import Iterable, Mapping
from typing import Any

from experiments import claims
from experiments.rehearsal.text import summary
from experiments.report.claims_tables import (
    claims_table,
    glance,
    in_no_comparison,
    link_targets,
    notebook_link,
)
from experiments.report.inputs import MAIN_SET, Notebook, ReportInputs
from experiments.report.tables import DATA_LABELS, NONE, NOT_RUN, table
from experiments.results import belongs_to

INTRODUCTION = """\
# Reproducibility

Written by `make report` from the files in `results/`; edits made here are lost. This page is about
the paper that is replicated, Zaheer, Ahmed and Smola (2017). [Findings](results/FINDINGS.md) has
ours, and statements of other papers. `small` is what `make reproduce` runs; `medium` has more
articles and real histories of users (section 4)."""
DEVIATIONS_ELSEWHERE = """\
For notebooks on findings alone see [FINDINGS.md](results/FINDINGS.md)."""
HOW_TO_READ = """\
A line compares another model with that of the claim, by perplexity on the last 40% of every
document unless a unit is named: *other → model of the claim (relative difference [95% interval])*,
or the difference alone. Values are means over seeds; so are differences, each of one seed. Where
higher is better, a difference is of *misses*, 1 minus the measure. A claim *holds* when the whole
interval is on its side (beyond the margin, where it has one), *does not hold* when all of it is on
the other side, else it is *undecided*. An interval that prints as one number is left out.

Intervals are of a paired bootstrap: the same documents (or users) and seeds are drawn again for
both models, corrected for few seeds (`experiments/claims/bootstrap.py`). Those with † are Student's
t over seeds alone: sizes and times have no documents, and of some results no values per document
were saved.
[results/claims.csv](results/claims.csv) has both values of every comparison, `difference` (model /
reference − 1) with its interval, and numbers of documents, seeds and particles.

The paper's corpora are far larger: compare orders and relative differences, not levels.
The development documents, one in ten, are in no number here."""


def reproducibility(inputs: ReportInputs) -> str:
    """The text of REPRODUCIBILITY.md."""
    rows = claims.rows("paper")
    glanced = glance(inputs, rows, "claims tested")
    if unsupported := in_no_comparison(inputs, rows):
        glanced += f"\n\nThese hold in no comparison of a profile:\n\n{unsupported}"
    runs = (
        f"- {profile}: {provenance(inputs.results[profile], inputs.seconds[profile])}"
        for profile in inputs.profiles
    )
    parts = (
        INTRODUCTION,
        f"## 1. At a glance\n\n{glanced}",
        f"## 2. The paper, figure by figure\n\n{HOW_TO_READ}",
        claims_table(inputs, rows),
        f"## 3. What differs from the paper, and why\n\n{DEVIATIONS_ELSEWHERE}",
        deviations(n for n in inputs.notebooks if is_of_paper(n)),
        "## 4. How it was run",
        corpora_table(inputs),
        "\n".join((*runs, f"- paper: {summary(inputs.rehearsal)}")),
        f"## 5. All measures\n\n{_files(inputs)}",
    )
    text = "\n\n".join(part for part in parts if part)
    return "\n\n".join(filter(None, (text, link_targets(inputs, text)))) + "\n"


def _files(inputs: ReportInputs) -> str:
    """Where every number is."""
    profiles = (profile for profile in inputs.profiles if inputs.results[profile])
    files = [f"[{profile}](results/{profile}/measures.csv)" for profile in profiles]
    measures = ", ".join(files) or NONE
    return (
        f"Mean and spread over seeds of everything measured: {measures}. The values per seed, "
        "settings, histories and environments are in `results/*/*.json`."
    )


def is_of_paper(notebook: Notebook) -> bool:
    """Whether a notebook's deviations stand on this page and not with the findings.

    It is one of the main set, and does not test findings alone.
    """
    tests_findings = notebook.name in {row.notebook for row in claims.rows("findings")}
    tests_paper = notebook.name in {row.notebook for row in claims.rows("paper")}
    return notebook.set == MAIN_SET and (tests_paper or not tests_findings)


def deviations(notebooks: Iterable[Notebook]) -> str:
    """What each notebook says of where it differs from its paper."""
    return "\n\n".join(
        f"**{notebook_link(notebook.name, named=True)}**\n\n"
        + "\n".join(f"- {text}" for text in notebook.deviations)
        for notebook in notebooks
        if notebook.deviations
    )


def corpora_table(inputs: ReportInputs) -> str:
    """How large the paper's corpus of text is, and each profile's."""
    paper = claims.paper_corpora()["Wikipedia"]
    rows = [
        (
            "paper",
            "Wikipedia",
            *(f"{paper[k]:,}" for k in ("documents", "vocabulary", "tokens", "topics")),
        )
    ]
    for profile in inputs.profiles:
        found = inputs.results[profile]
        counts = found.get("data_prep", {}).get("measures", {})
        if counts.keys() >= {"documents", "vocabulary", "tokens"}:
            sizes = (f"{counts[k]['value']:,.0f}" for k in ("documents", "vocabulary", "tokens"))
            rows.append((profile, _text_of(found), *sizes, _n_topics(found)))
    return table(("profile", "text", "documents", "V", "tokens", "K"), rows)


def _n_topics(found: Mapping[str, Mapping[str, Any]]) -> Any:
    """K of the profile's LDA: of notebook 02, or of 21 where 02 has not been run."""
    if "lda_initialization" in found:
        return found["lda_initialization"]["config"]["n_topics"]
    return found["corpus_size"]["config"]["lda"]["n_topics"] if "corpus_size" in found else NONE


def _text_of(found: Mapping[str, Mapping[str, Any]]) -> str:
    """What a profile's own corpus of text is, for people."""
    source = claims.corpus_of(found)
    return DATA_LABELS.get(source, source)


def provenance(found: Mapping[str, Mapping[str, Any]], wall_seconds: float) -> str:
    """One line: time, memory, machine, versions, and hashes of the lock file and the corpora."""
    if not found:
        return NOT_RUN
    around = [result["environment"] for result in found.values()]
    last = max(around, key=lambda environment: environment["threads"])
    versions = ", ".join(f"{name} {version}" for name, version in last["packages"].items())
    corpora = {
        DATA_LABELS.get(name.removeprefix("user_modeling_"), _text_of(found)): r["environment"][
            "corpus"
        ]
        for name, r in found.items()
        if name == "data_prep" or name.startswith("user_modeling_")
    }
    hashes = ", ".join(f"{name} `{corpus[:12]}`" for name, corpus in sorted(corpora.items()))
    locks = sorted({(environment.get("lock") or "none")[:12] for environment in around})
    seeds = sorted({seed for result in found.values() for seed in result["seeds"]} - {0})
    return (
        f"{cost(found, wall_seconds)}; seeds {', '.join(map(str, seeds))}; "
        f"Python {last['python']}, {versions}, {last['platform']}; "
        f"requirements.lock {', '.join(f'`{lock}`' for lock in locks)}; "
        f"corpora {hashes or NONE}"
    )


def cost(found: Mapping[str, Mapping[str, Any]], wall_seconds: float = 0.0) -> str:
    """Time and memory of a profile's notebooks (not of `make tune` and the showcase); machine.

    Without the time from start to end, it is that of training, fits side by side counted each.
    """
    run = {
        name: result
        for name, result in found.items()
        if name != "showcase" and not belongs_to(name, "tuning")
    } or found
    seconds = sum(result["seconds"] for result in run.values())
    memory = max(result["peak_memory"] for result in run.values()) / 1e9
    machines = dict.fromkeys(
        f"{r['environment']['cpu']}, {r['environment']['cores']} cores" for r in run.values()
    )
    time = duration(wall_seconds) if wall_seconds else f"{duration(seconds)} of training"
    return f"{time}, at most {memory:.1f} GB of memory ({'; '.join(machines)})"


def duration(seconds: float) -> str:
    """Hours and minutes, minutes, or seconds."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"
