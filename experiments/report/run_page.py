"""The report of one's own run: its numbers beside the committed ones, and the table at its end."""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from experiments import claims, results
from experiments.claims import Judged, Row
from experiments.report.comparison import Comparison, compare, pairs_of
from experiments.report.csv_text import measures_csv
from experiments.report.inputs import read_results
from experiments.report.reproducibility import cost, duration
from experiments.report.tables import NONE, means, table
from experiments.results import format_measure
from lla.common.errors import InputError
from lla.common.files import atomic_write

Found = Mapping[str, Mapping[str, Any]]
NAME = "REPORT.md"


def closing_table(profile: str) -> str:
    """What `make reproduce` prints at its end: every claim's verdict, and what differs."""
    committed, own = read_both(profile)
    judged_all = list(_judged("paper", committed, own))
    judged_all.sort(key=lambda judged: _paper(judged[0]) == NONE)  # first what the paper measured
    rows = [
        (
            _claim_label(row, judged),
            _paper(row),
            ours(judged),
            judged.claim.verdict + _was(judged, before),
        )
        for row, judged, before in judged_all
    ]
    header = ("claim", "paper", f"ours, {profile}", "verdict")
    claims_table = table(header, rows, aligned=True) if rows else "No claim is tested yet."
    return f"{claims_table}\n\n{compare(committed, own).summary()}"


def write(profile: str) -> Path:
    """Write ``results/PROFILE/run/REPORT.md`` and ``measures.csv`` there; returns the first."""
    committed, own = read_both(profile)
    folder = results.run_dir(profile)
    for name, text in (("measures.csv", measures_csv(own)), (NAME, page(profile, committed, own))):
        with atomic_write(folder / name, "w") as file:
            file.write(text)
    return folder / NAME


def read_both(profile: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The committed results of a profile, and those of its run."""
    own = read_results(results.run_dir(profile))
    if not own:
        raise InputError(f"{profile}: not run; run `make reproduce PROFILE={profile}`")
    return read_results(results.profile_dir(profile)), own


def page(profile: str, committed: Found, own: Found) -> str:
    """The text of the report."""
    found = compare(committed, own)
    parts = (
        f"# A run of the profile `{profile}`, beside the committed results",
        "Written by `make reproduce`. Means ± standard deviation over seeds; lower is better for "
        "perplexities. After a comparison stand the relative difference, its 95% interval, and "
        "what the interval rests on: documents or users and seeds, or seeds alone.",
        found.summary(most=0),
        f"- This run: {cost(own)}\n- Committed: {cost(committed) if committed else NONE}",
        f"## The paper's claims\n\n{_claims('paper', committed, own)}",
        f"## Our own findings\n\n{_claims('findings', committed, own)}",
        f"## Measures that differ\n\n{_differences(found)}",
        f"## Time and memory\n\n{_costs(committed, own)}",
        f"## All measures\n\n{_measures(committed, own)}",
        f"## The notebooks as they ran\n\n{_notebooks(profile)}",
    )
    return "\n\n".join(parts) + "\n"


def ours(judged: Judged) -> str:
    """Both means of a comparison, their relative difference with its interval, and the evidence."""
    return f"{means(judged)}, {judged.claim.evidence}"


def _judged(
    source: str, committed: Found, own: Found
) -> Iterator[tuple[Row, Judged, Judged | None]]:
    """Every check that the run can judge, with the same check on the committed results."""
    for row in claims.rows(source):
        before = {(j.result, j.claim.name): j for j in claims.judge(row, committed)}
        for judged in claims.judge(row, own):
            yield row, judged, before.get((judged.result, judged.claim.name))


def _claim_label(row: Row, judged: Judged) -> str:
    compared = judged.claim.name.split(": ", 1)[-1]
    return f"{row.where or row.states}: {compared}"


def _paper(row: Row) -> str:
    return row.paper if "->" in row.paper else NONE


def _was(judged: Judged, before: Judged | None) -> str:
    """The committed verdict where it is another."""
    if before is None or before.claim.verdict == judged.claim.verdict:
        return ""
    return f" (committed: {before.claim.verdict})"


def _claims(source: str, committed: Found, own: Found) -> str:
    rows = [
        (
            _claim_label(row, judged),
            *([_paper(row)] if source == "paper" else []),
            ours(before) if before else NONE,
            before.claim.verdict if before else NONE,
            ours(judged),
            judged.claim.verdict,
        )
        for row, judged, before in _judged(source, committed, own)
    ]
    first = ["claim", "paper"] if source == "paper" else ["finding"]
    header = (*first, "committed", "verdict", "this run", "verdict")
    return table(header, rows) if rows else "None is tested yet."


def _differences(found: Comparison) -> str:
    rows = [
        (
            pair.result,
            pair.name,
            _cell(pair.committed),
            _cell(pair.own),
            f"{100 * pair.change:.2g}%" if math.isfinite(pair.change) else NONE,
        )
        for pair in found.differing
    ]
    header = ("result", "measure", "committed", "this run", "largest difference")
    return table(header, rows) if rows else "None, times and memory apart."


def _costs(committed: Found, own: Found) -> str:
    rows = (
        (
            name,
            *(
                f"{duration(r['seconds'])}, {r['peak_memory'] / 1e9:.1f} GB" if r else NONE
                for r in (committed.get(name), result)
            ),
        )
        for name, result in own.items()
    )
    return table(("result", "committed", "this run"), rows)


def _measures(committed: Found, own: Found) -> str:
    both = list(pairs_of(committed, own))
    rows = [(pair.result, pair.name, _cell(pair.committed), _cell(pair.own)) for pair in both]
    for name in own.keys() - committed.keys():
        rows += [(name, key, NONE, _cell(m)) for key, m in own[name]["measures"].items()]
    return table(("result", "measure", "committed", "this run"), rows)


def _cell(measure: Mapping[str, Any] | None) -> str:
    return format_measure(measure) if measure else NONE


def _notebooks(profile: str) -> str:
    copies = sorted((results.run_dir(profile) / "notebooks").glob("[0-9]*.ipynb"))
    return "\n".join(f"- [{p.stem}](notebooks/{p.name})" for p in copies) or NONE
