"""All measures of a profile, and all comparisons of all claims, as CSV."""

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean
from typing import Any

from experiments import claims
from experiments.claims import Judged, Row
from experiments.report.claims_tables import particle_counts
from experiments.report.inputs import SOURCES, ReportInputs
from lla.common.display import spreadsheet

MEASURES = ("result", "measure", "model", "value", "spread", "n", "unit")
CLAIMS = (
    *("source", "claim", "profile", "result", "data", "comparison", "unit", "model", "reference"),
    *("model_value", "reference_value", "difference", "low", "high", "at_most", "margin"),
    *("verdict", "n_documents", "n_users", "n_seeds", "particles", "evidence"),
)


def measures_csv(found: Mapping[str, Mapping[str, Any]]) -> str:
    """All measures of a profile, one per line."""
    rows = []
    for name, result in sorted(found.items()):
        for key, m in result["measures"].items():
            numbers = (f"{float(m[k]):.10g}" for k in ("value", "spread"))
            rows.append((name, *key.partition(".")[::2], *numbers, m["n_seeds"], m["unit"]))
    return _csv(MEASURES, rows)


def claims_csv(inputs: ReportInputs) -> str:
    """All comparisons, one per line: that of `model` with `reference`, of which lower is better.

    ``difference`` is the mean over seeds of model / reference - 1, ``low`` and ``high`` its 95%
    interval. The claim is that it is below ``at_most``, by ``margin`` of the reference at least.
    Models are named by their measure; where a claim is of what a measure lacks to 1, that is it.
    """
    rows = [
        _claim_row(source, row, profile, judged, inputs.results[profile])
        for source in SOURCES
        for row in claims.rows(source)
        for profile in inputs.profiles
        for judged in inputs.judged[row.id][profile]
    ]
    return _csv(CLAIMS, rows)


def _claim_row(
    source: str,
    row: Row,
    profile: str,
    judged: Judged,
    found: Mapping[str, Mapping[str, Any]],
) -> tuple[Any, ...]:
    claim = judged.claim
    # An interval that reaches low reductions reaches high values of the model.
    ends = (claim.measured, claim.high, claim.low)
    differences = ("" if x is None else _number(claim.times * (1 - x) - 1) for x in ends)
    counted = {unit: re.search(rf"(\d+) {unit}", claim.evidence) for unit in ("documents", "users")}
    return (
        *(source, row.id, profile, judged.result, claims.data_of(row, judged.result, found)),
        *(judged.check.get("label", ""), claims.unit_of(judged.lower), judged.lower, judged.higher),
        *(f"{fmean(values):.10g}" for values in judged.values),
        *differences,
        *(_number(claim.times - 1), _number(claim.margin), claim.verdict),
        *(match[1] if match else "" for match in counted.values()),
        min(map(len, judged.values)),
        ";".join(map(str, particle_counts(judged, found))),
        claim.evidence,
    )


def _number(value: float) -> str:
    """Fewer digits than resampling may change from one machine to another; no -0."""
    return f"{value + 0.0:.6g}"


def _cell(value: Any) -> Any:
    """A value that no spreadsheet calculates: texts that begin as a formula are marked."""
    if isinstance(value, str):
        try:
            float(value)
        except ValueError:
            return spreadsheet(value)
    return value


def _csv(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(header)
    writer.writerows([_cell(value) for value in row] for row in rows)
    return file.getvalue()
