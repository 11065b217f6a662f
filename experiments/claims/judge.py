"""Claims compared with result files.

A verdict rests on per-document values where a result has them (`scores`), else on its values per
seed; a claim says on which.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from experiments.claims.bootstrap import Interval, bootstrap_interval
from experiments.claims.claim import Claim, compare
from experiments.claims.rows import Row, rows
from experiments.claims.scores import ALL, OF_DOCUMENTS, SEED, Scores
from lla.common.random import StreamId, stream

# By name, as `load_result` returns them; a result's `Scores`, if it has them, under "scores".
Results = Mapping[str, Mapping[str, Any]]
# The studies that are run on several data sets, which the names of their results end with.
STUDIES = (
    "^(joint_vs_independent|user_modeling|sources|collaborative_rnn|autoencoders"
    "|neural_topic_models)_?"
)
# Of a result and a measure of it; None where it was not measured.
LookUp = Callable[[str, str], np.ndarray | None]


@dataclass(frozen=True)
class Judged:
    """One check of a row on one result.

    Attributes
    ----------
    result : name of the result
    check : the check as the row has it
    lower, higher : the two measures, with ``@min`` and ``@max`` resolved
    values : of both, one per seed
    claim : the verdict
    """

    result: str
    check: Mapping[str, Any]
    lower: str
    higher: str
    values: tuple[list[float], list[float]]
    claim: Claim


def judge(row: Row, results: Results, only: str = "") -> list[Judged]:
    """Every check of a row whose measures are among these results.

    Parameters
    ----------
    only : name of the result whose checks are wanted; all of them if empty
    """
    judged = []
    for result in row.results:
        for check in row.checks if only in ("", result) else ():
            lower, higher = (resolve(check[side], result, results) for side in ("lower", "higher"))
            names = (_model_name(measure, result) for measure in (lower, higher))
            label = check.get("label") or " below ".join(names)
            data = data_of(row, result, results)
            claim = compare_measures(
                f"{row.id}: {label}{f', {data}' if data else ''}",
                row.states,
                lower,
                higher,
                result=result,
                results=results,
                paper=row.paper,
                margin=check.get("margin"),
                times=check.get("times", 1),
            )
            if claim is not None:
                better, worse = (values_of(m, result, results) or [] for m in (lower, higher))
                judged.append(Judged(result, check, lower, higher, (better, worse), claim))
    return judged


def data_of(row: Row, result: str, results: Results) -> str:
    """The data set that a result is of, where a row has several; "" where it has one.

    A notebook's result without more in its name is of the profile's own corpus of text, which is
    named like its source.
    """
    if len(row.results) == 1:
        return ""
    return re.sub(STUDIES, "", result) or corpus_of(results)


def corpus_of(results: Results) -> str:
    """The source of the profile's corpus of text, such as "wikipedia"; "text" if not known."""
    source = results.get("data_prep", {}).get("extra", {}).get("source", "")
    return str(source).partition(":")[0] or "text"


def compare_measures(
    name: str,
    statement: str,
    lower: str,
    higher: str,
    *,
    result: str,
    results: Results,
    paper: str = "",
    margin: float | None = None,
    times: float = 1,
) -> Claim | None:
    """Judge the claim that one measure is below another, on all the evidence there is.

    Parameters
    ----------
    lower, higher : as the rows write them, such as "perplexity.topic_lla"
    result : the one whose measures they are
    results : this one, and others that the measures may name
    paper, margin, times : see `compare`

    Returns
    -------
    Claim or None
        None where one was not measured, or not with as many seeds and without scores.
    """
    better, worse = (values_of(measure, result, results) for measure in (lower, higher))
    if better is None or worse is None:
        return None
    leaves = {*leaves_of(lower, result), *leaves_of(higher, result)}
    interval, evidence = None, ""
    if scored := _scores_of(leaves, results):
        interval = _interval((lower, higher), result, scored, times)
        evidence = _evidence(leaves, scored, min(len(better), len(worse)))
    elif len(better) != len(worse):
        return None
    elif all(measure.startswith(OF_DOCUMENTS) for _, measure in leaves) and len(better) > 1:
        evidence = f"{len(better)} seeds alone"
    return compare(
        name,
        statement,
        paper,
        better,
        worse,
        unit=unit_of(lower),
        margin=margin,
        times=times,
        interval=interval,
        evidence=evidence,
    )


def _scores_of(leaves: set[tuple[str, str]], results: Results) -> dict[str, Scores]:
    """By result, the scores of all these measures; empty where one has none worth resampling."""
    found = {}
    for result, measure in leaves:
        scores = results[result].get("scores")
        if scores is None or measure not in scores.sums or scores.n_documents(measure) < 2:
            return {}
        found[result] = scores
    return found


def _interval(
    measures: tuple[str, str], result: str, scored: Mapping[str, Scores], times: float
) -> Interval:
    """The bootstrap's interval of 1 - lower / (times * higher) over documents and seeds."""
    sides = []
    for measure, factor in zip(measures, (1, times), strict=True):
        at_all = evaluate(measure, result, lambda name, leaf: scored[name].values(leaf))
        resampled = evaluate(measure, result, lambda name, leaf: scored[name].resampled(leaf))
        assert at_all is not None and resampled is not None
        sides.append((factor * at_all, factor * resampled))
    (lower, lower_resampled), (higher, higher_resampled) = sides
    return bootstrap_interval(
        lower,
        higher,
        lower_resampled,
        higher_resampled,
        n_documents=min(len(scores.counts[ALL]) for scores in scored.values()),
        rng=stream(SEED, StreamId.BOOTSTRAP),
    )


def _evidence(leaves: set[tuple[str, str]], scored: Mapping[str, Scores], n_seeds: int) -> str:
    """Such as "2520 documents, 3 seeds"; of two corpora "809 users, 2520 documents, 3 seeds"."""
    corpora: dict[str, tuple[str, int]] = {}
    for result, measure in sorted(leaves):
        scores = scored[result]
        n = scores.n_documents(measure)
        corpora[scores.corpus] = (scores.unit, max(n, corpora.get(scores.corpus, ("", 0))[1]))
    parts = [f"{n} {unit}" for unit, n in sorted(corpora.values(), reverse=True)]
    return ", ".join([*parts, "1 seed" if n_seeds == 1 else f"{n_seeds} seeds"])


def compared_measures(result: str, results: Results) -> set[str]:
    """The measures of a result that claims compare."""
    return {
        measure
        for source in ("paper", "findings")
        for row in rows(source)
        for own in row.results
        for check in row.checks
        for side in ("lower", "higher")
        for name, measure in leaves_of(resolve(check[side], own, results), own)
        if name == result
    }


def claims_of(result: str, results: Results) -> list[Claim]:
    """All claims, the paper's first, that are tested on one result."""
    return [
        judged.claim
        for source in ("paper", "findings")
        for row in rows(source)
        for judged in judge(row, results, only=result)
    ]


def resolve(measure: str, result: str, results: Results) -> str:
    """A measure with every ``@min`` or ``@max`` replaced by the count that was run.

    The count is of topics, or of what stands before it: ``@documents=max``.
    """
    keys = results.get(result, {}).get("measures", {})

    def counted(match: re.Match[str]) -> str:
        prefix = match[1]
        counts = [key.removeprefix(prefix) for key in keys if key.startswith(prefix)]
        found = [int(count) for count in counts if count.isdecimal()]
        return f"{prefix}{(min if match[2] == 'min' else max)(found)}" if found else match[0]

    parts = measure.split(" / ")
    return " / ".join(re.sub(r"^(.+@(?:\w+=)?)(min|max)$", counted, part) for part in parts)


def evaluate(measure: str, result: str, look_up: LookUp) -> np.ndarray | None:
    """The values of a measure as the rows write it, computed from those that it names."""
    if " / " in measure:
        above, below = (evaluate(part, result, look_up) for part in measure.split(" / "))
        if above is None or below is None or len(above) != len(below):
            return None
        return above / below
    if measure.startswith("1 - "):
        found = evaluate(measure.removeprefix("1 - "), result, look_up)
        return None if found is None else 1 - found
    ((name, leaf),) = leaves_of(measure, result)
    return look_up(name, leaf)


def leaves_of(measure: str, result: str) -> list[tuple[str, str]]:
    """The results and measures that a measure as the rows write it is computed from."""
    found = []
    for part in measure.removeprefix("1 - ").split(" / "):
        name, named, leaf = part.rpartition(":")
        # A colon may also stand in a measure's own name: "perplexity.word LLA: other objective".
        of_other = named and re.fullmatch(r"\w+", name)
        found.append((name, leaf) if of_other else (result, part))
    return found


def values_of(measure: str, result: str, results: Results) -> list[float] | None:
    """One value per seed of a measure as the rows write it; None where it was not measured."""

    def look_up(name: str, leaf: str) -> np.ndarray | None:
        measures = results.get(name, {}).get("measures", {})
        return np.array(measures[leaf]["values"], np.float64) if leaf in measures else None

    found = evaluate(measure, result, look_up)
    return None if found is None else found.tolist()


def unit_of(measure: str) -> str:
    """What the values of a measure as the rows write it are."""
    if " / " in measure:
        return "ratio of perplexities"
    if measure.startswith("1 - "):
        return f"1 - {unit_of(measure.removeprefix('1 - '))}"
    name = measure.split(":", 1)[-1].split(".", 1)[0]
    named = {"se_seconds": "seconds", "seconds_to_converge": "seconds", "decoded": "nats"}
    return (named | {"seconds_per_epoch": "seconds per epoch"}).get(name, name)


def _model_name(measure: str, result: str) -> str:
    """The model of a measure as the rows write it, by its name for people."""
    from experiments.report.tables import model_label  # which reads claims in its turn

    if " / " in measure:
        return " / ".join(_model_name(part, result) for part in measure.split(" / "))
    metric, _, rest = measure.removeprefix("1 - ").split(":")[-1].partition(".")
    model, _, part = (rest or metric).partition(".")
    return model_label(model, metric, result) + (f", {part}" if part else "")
