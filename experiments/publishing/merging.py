"""A committed result, and beside it what a run of a part of its notebook measured.

Such a run fits some models again only because others start from them (LDA) or for the assertions
of its notebook (counts). What is committed stays, and what is new is added:

    measures     new ones; those committed stay, their seconds too, which were measured in one run
    scores       per document: of new measures, and of those that are committed without any
    extra        its mappings key by key, such as the history of every model
    config       new models; what is new in its lists (data sets, counts), at their ends
    claims       judged anew on the measures and scores that are then there, since the run's compare
                 its own fits alone; of those that a notebook states by itself, new ones
    seconds      the sum: what both runs took, models that were fitted twice included
    peak_memory  the larger one
    environment  stays; that of a run stands with the names of its measures under "added"

For the new to stand beside the committed, both must have the same seeds, and where they share
measures also the same corpus, settings and values: within rounding, or within what seeds make.
"""

import reprlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from experiments.claims import Claim, Scores, claims_of, rows
from experiments.report.comparison import ROUNDING, Pair
from experiments.report.inputs import SOURCES
from lla.common.errors import InputError

Result = Mapping[str, Any]  # as read from its file, and under "scores" those beside it, if any

# How many committed standard deviations a mean may be off: as far as where mean ± deviation of both
# overlap, had both the committed one. The run's own counts for nothing: it may be that of a broken
# fit. Means of three seeds that differ by chance alone are within it in six of seven cases.
SPREADS = 2
SCORES = 1e-4  # relative rounding of what single precision adds up to, as of scores in their file
REMEDY = "run it with the committed settings and data, or run all of it and publish without --add"


def merge_results(committed: Result, run: Result, name: str) -> dict[str, Any] | None:
    """The committed result with what is new in a run's, None where nothing is.

    Its claims are still the committed ones (`claims_after`).

    Parameters
    ----------
    name : of the result, for messages

    Raises
    ------
    InputError
        When the new cannot stand beside the committed: one line that says why, with the remedy.
    """
    if committed["seeds"] != run["seeds"]:
        raise InputError(f"{name}: seeds {run['seeds']}, but {committed['seeds']} are committed")
    _check_shared(committed, run, name)
    measures = committed["measures"] | _new(committed["measures"], run["measures"])
    extra = _merge_extra(committed["extra"], run["extra"])
    config = _merge_configs(committed["config"], run["config"], name)
    scores = _merge_scores(committed.get("scores"), run.get("scores"), measures, name)
    merged = dict(committed) if scores is None else {**committed, "scores": scores}
    if (measures, extra) == (committed["measures"], committed["extra"]):
        return merged if scores is not committed.get("scores") else None
    added = {
        "measures": sorted(_new(committed["measures"], run["measures"])),
        "environment": run["environment"],
        "seconds": run["seconds"],
    }
    return merged | {
        "config": config,
        "measures": measures,
        "seconds": round(committed["seconds"] + run["seconds"], 1),
        "peak_memory": max(committed["peak_memory"], run["peak_memory"]),
        "extra": extra,
        "added": [*committed.get("added", []), added],
    }


def _check_shared(committed: Result, run: Result, name: str) -> None:
    """Raise `InputError` unless what both measured is the same but for times and chance."""
    pairs = [
        Pair(name, measure, committed["measures"][measure], run["measures"][measure])
        for measure in committed["measures"]
        if measure in run["measures"]
    ]
    corpora = [result["environment"]["corpus"] for result in (committed, run)]
    if pairs and corpora[0] != corpora[1]:
        raise InputError(f"{name}: of another corpus than the committed result: run it on that one")
    if differing := [pair for pair in pairs if not _agree(pair)]:
        measure, own = differing[0].name, run["measures"][differing[0].name]
        before = committed["measures"][measure]
        more = f", and {len(differing) - 1} more differ" if len(differing) > 1 else ""
        raise InputError(
            f"{name}: {measure} is {own['value']:.7g} in the run, but {before['value']:.7g} ± "
            f"{before['spread']:.2g} is committed{more}: {REMEDY}"
        )


def _agree(pair: Pair) -> bool:
    """Whether a measure of both is a time, or the same within rounding or what seeds make."""
    if pair.is_cost or pair.change <= ROUNDING:
        return True
    assert pair.committed is not None and pair.own is not None
    apart = abs(pair.own["value"] - pair.committed["value"])
    return bool(apart <= SPREADS * pair.committed["spread"])


def _merge_configs(
    committed: Mapping[str, Any], run: Mapping[str, Any], name: str
) -> dict[str, Any]:
    """New models, and what is new in lists; `InputError` where another setting differs."""
    merged = dict(committed) | _new(committed, run)
    for key in [key for key in committed if key in run]:
        before, after = committed[key], run[key]
        if isinstance(before, list) and isinstance(after, list):
            merged[key] = before + [entry for entry in after if entry not in before]
            continue
        for setting, one, other in _differing(before, after, key):
            raise InputError(
                f"{name}: {setting} is {reprlib.repr(other)} in the run, but {reprlib.repr(one)} "
                f"is committed: {REMEDY}"
            )
        if key == "models":
            merged[key] = before | _new(before, after)
    return merged


def _differing(one: Any, other: Any, place: str) -> Iterator[tuple[str, Any, Any]]:
    """Settings that both have, with the values of both, where these differ."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        for key in [key for key in one if key in other]:
            yield from _differing(one[key], other[key], f"{place}.{key}")
    elif one != other:
        yield place, one, other


def _merge_extra(committed: Any, run: Any) -> Any:
    """Mappings key by key, of anything else the first."""
    if not (isinstance(committed, Mapping) and isinstance(run, Mapping)):
        return committed
    both = {key: _merge_extra(committed[key], run[key]) for key in committed if key in run}
    return {**committed, **both, **_new(committed, run)}


def _new(committed: Mapping[str, Any], run: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in run.items() if key not in committed}


def _merge_scores(
    committed: Scores | None, run: Scores | None, measures: Mapping[str, Any], name: str
) -> Scores | None:
    """The committed scores, and those of the run's that such a measure is the mean of."""
    if run is None:
        return committed
    base = replace(run, sums={}) if committed is None else committed
    same = (base.corpus, base.unit, base.seeds) == (run.corpus, run.unit, run.seeds)
    counts = [(base.counts[kind], run.counts[kind]) for kind in base.counts if kind in run.counts]
    pairs = [(base.documents, run.documents), *counts]
    if not same or not all(np.array_equal(one, other) for one, other in pairs):
        what = f"seeds than the committed ones, or of other {base.unit}"
        raise InputError(f"{name}: its scores per document are of other {what}: {REMEDY}")
    new = {
        measure: rows
        for measure, rows in run.sums.items()
        if measure not in base.sums
        and np.allclose(run.values(measure), measures[measure]["values"], rtol=SCORES)
    }
    if not new:
        return committed
    return replace(
        base,
        counts={**run.counts, **base.counts},
        sizes={**run.sizes, **base.sizes},
        sums={**base.sums, **new},
    )


def claims_after(
    name: str, results: Mapping[str, Result], run: Result
) -> list[Claim | Mapping[str, Any]]:
    """The claims of a merged result.

    Parameters
    ----------
    results : the profile's by name, the merged one among them
    run : whose own statements are added
    """
    ids = {row.id for source in SOURCES for row in rows(source)}
    own = {
        claim["name"]: claim
        for claim in (*run["claims"], *results[name]["claims"])  # of two the committed one
        if claim["name"].partition(":")[0] not in ids
    }
    return [*claims_of(name, results), *own.values()]
