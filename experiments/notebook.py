"""What notebooks take from a profile and show: settings, tables of measures, the committed run.

``experiments/configs/PROFILE.yaml`` has a block per notebook. Numbers, texts and lists in it are
the notebook's parameters, which the runner passes on. Mappings are settings of models, which the
notebook reads with `settings`.
"""

import math
import re
import reprlib
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from time import perf_counter
from typing import Any, TypeVar

import pandas as pd

from experiments import results
from experiments.claims import claims_of
from experiments.report.inputs import PROFILES, read_results
from experiments.report.table4 import HEADER, table4
from experiments.report.tables import model_label
from lla.common.errors import InputError, describe
from lla.common.yaml_file import read_yaml

T = TypeVar("T")

MAX_DEPTH = 12  # of a profile, or of the list of notebooks

START = perf_counter()

Measures = Mapping[str, Any]  # by name: as `results.measure` returns it, or one value per seed
Measured = tuple[float, float]  # value, spread over seeds


def read_profile(profile: str) -> dict[str, Any]:
    """The blocks of ``experiments/configs/PROFILE.yaml``, by notebook.

    Raises
    ------
    InputError
        When there is no such profile, or its file is missing or not as it should be.
    """
    results.profile_dir(profile)
    file = results.CONFIGS / f"{profile}.yaml"
    label = f"experiments/configs/{file.name}"
    try:
        blocks = read_yaml(file, label, max_depth=MAX_DEPTH, kind="a profile")
    except FileNotFoundError:
        existing = ", ".join(sorted(f.stem for f in results.CONFIGS.glob("*.yaml"))) or "none"
        raise InputError(f"{label}: no such file; write it, or choose from {existing}") from None
    if not isinstance(blocks, dict) or not blocks:
        raise InputError(f"{label}: must map notebook names to parameters; correct it")
    return blocks


def settings(
    profile: str,
    notebook: str,
    *,
    data: str = "",
    only: Sequence[str] = (),
    **options: Any,
) -> dict[str, Any]:
    """The settings that a profile gives a notebook, those of each model written out in full.

    Parameters
    ----------
    notebook : such as "06_accuracy_vs_size"
    data : the data set, whose ``changes`` of models are made
    only : the models wanted, by name; all of them if empty
    options : of every model of Table 1, in place of the profile's; None leaves the profile's

    Returns
    -------
    dict
        The block's mappings. ``models`` has every model's settings: those of Table 1 are
        ``common``, then the model's own, then `options`; those of other families (``peers`` in
        the file) stand as they are.

    Raises
    ------
    InputError
        When the profile has no such notebook, or `only` names a model that it does not have.
    """
    blocks, label = read_profile(profile), f"experiments/configs/{profile}.yaml"
    if not blocks.get(notebook):
        raise InputError(f"{label}: {notebook} has no settings there; it has {', '.join(blocks)}")
    only = as_list("models", only, str, empty=True)
    block = _mapping(f"{label}: {notebook}", blocks[notebook])
    found = {name: value for name, value in block.items() if isinstance(value, dict)}
    common, peers = found.pop("common", {}), found.pop("peers", {})
    changes = found.pop("changes", {}).get(data, {})
    for values in (peers, changes, found.get("models", {})):
        for name, own in _mapping(f"{label}: {notebook}", values).items():
            _mapping(f"{label}: {notebook}: {name}", own)
    given = {name: value for name, value in options.items() if value is not None}
    models = {
        name: common | own | changes.get(name, {}) | given
        for name, own in found.get("models", {}).items()
    }
    models |= {name: own | changes.get(name, {}) for name, own in peers.items()}
    if unknown := [name for name in only if name not in models]:
        raise InputError(f"{unknown[0]}: no such model in {label}; it has {', '.join(models)}")
    found["models"] = {name: models[name] for name in (only or models)}
    if "lda" in found:
        found["lda"] = found["lda"] | changes.get("lda", {})
    return found


def _mapping(place: str, value: Any) -> dict[str, Any]:
    """`value`; raise InputError unless it is a mapping."""
    if not isinstance(value, dict):
        raise InputError(f"{place} is {describe(value)}; give a mapping of settings")
    return value


def as_list(name: str, value: Any, kind: type[T], *, empty: bool = False) -> list[T]:
    """A notebook's parameter that is a list, also where papermill passed it on as text.

    ``-p seeds "[1, 2]"``, ``-p seeds 1,2`` and ``-p seeds 1`` arrive as a text or a number.

    Parameters
    ----------
    kind : of its entries: int (0 or more), float (0 or more) or str
    empty : whether there may be none

    Raises
    ------
    InputError
        When it is no such list.
    """
    wanted = {int: "whole numbers, such as [1, 2]", float: "numbers, such as [0.5, 1]"}
    remedy = f"give a list of {'' if empty else 'one or more '}{wanted.get(kind, 'names')}"
    entries = _entries(value, kind) if isinstance(value, (str, int, float)) else value
    right = isinstance(entries, (list, tuple)) and (empty or len(entries) > 0)
    if not right or not all(_is_entry(entry, kind) for entry in entries):
        raise InputError(f"{name} is {reprlib.repr(value)}: {remedy}")
    return list(entries)


def _is_entry(entry: Any, kind: type) -> bool:
    if kind is str:
        return isinstance(entry, str) and bool(entry)
    of_kind = isinstance(entry, int) or (kind is float and isinstance(entry, float))
    return of_kind and not isinstance(entry, bool) and 0 <= entry < math.inf


def _entries(value: Any, kind: type) -> list[Any]:
    """The entries of a list that is written as "[1, 2]", "1, 2" or "1 2"; names may have quotes."""
    if not isinstance(value, str):
        return [value]
    text = value.strip()
    if text[:1] + text[-1:] in ("[]", "()"):
        text = text[1:-1]
    parts = text.split(",") if kind is str else re.split(r"[,\s]+", text.strip())
    parts = [part.strip().strip("'\"") for part in parts if part.strip()]
    try:
        return [kind(part) for part in parts]
    except ValueError:
        return [None]


def measures_of(outcomes: Mapping[str, Sequence[Any]], *metrics: str) -> dict[str, Any]:
    """Measures ``METRIC.MODEL`` of study outcomes, one value per seed.

    Parameters
    ----------
    outcomes : by model, one `study.Outcome` per seed
    metrics : of "perplexity", "parameters", "bytes", "seconds"
    """
    read = {
        "perplexity": lambda outcome: outcome.perplexity,
        "parameters": lambda outcome: outcome.size.parameters,
        "bytes": lambda outcome: outcome.size.n_bytes,
        "seconds": lambda outcome: outcome.seconds,
    }
    return {
        f"{metric}.{model}": results.measure([read[metric](run) for run in runs], metric)
        for metric in metrics
        for model, runs in outcomes.items()
    }


def seconds_of(fits: Mapping[str, Sequence[Any]] | Iterable[Any]) -> float:
    """Seconds of training, in this process or before; at least the time since it began."""
    runs: Iterable[Any] = chain.from_iterable(fits.values()) if isinstance(fits, Mapping) else fits
    trained = sum(run.seconds + getattr(run, "ranking_seconds", 0.0) for run in runs)
    return max(trained, perf_counter() - START)


def by_model(measures: Measures, metric: str = "perplexity") -> dict[str, Measured]:
    """Value and spread of ``METRIC.MODEL`` by model; those at a count (``@``) are left out."""
    found = {}
    for name, measured in measures.items():
        of, _, model = name.partition(".")
        if of == metric and model and "@" not in model:
            found[model] = _pair(measured, metric)
    return found


def by_count(measures: Measures, metric: str = "perplexity") -> dict[str, dict[int, Measured]]:
    """Value and spread of ``METRIC.MODEL@COUNT``, or ``@OPTION=COUNT``, by model and count."""
    found: dict[str, dict[int, Measured]] = {}
    for name, measured in measures.items():
        of, _, model = name.partition(".")
        model, at, count = model.partition("@")
        count = count.rpartition("=")[2]
        if of == metric and at and count.isdecimal():
            found.setdefault(model, {})[int(count)] = _pair(measured, metric)
    return found


def perplexity_and_size(measures: Measures) -> dict[str, dict[str, Any]]:
    """What `figures.accuracy_vs_size` draws: the smallest model first, none without parameters."""
    perplexity, sizes = by_model(measures), by_model(measures, "parameters")
    return {
        model: {"perplexity": perplexity[model], "parameters": size}
        for model, (size, _) in sorted(sizes.items(), key=lambda pair: pair[1][0])
        if size and model in perplexity
    }


def _pair(measured: Any, metric: str) -> Measured:
    if not isinstance(measured, Mapping):
        measured = results.measure(measured, metric)
    return measured["value"], measured["spread"]


def table(measures: Measures, *metrics: str) -> pd.DataFrame:
    """Measures as text: a row per model, the lowest in the first metric on top.

    Without `metrics` a row per measure, with its unit.
    """
    if not metrics:
        rows = {
            name: {"measured": results.format_measure(measured), "unit": measured["unit"]}
            for name, measured in measures.items()  # as `results.measure` returns them
        }
        return pd.DataFrame.from_dict(rows, orient="index")
    columns = {metric: by_model(measures, metric) for metric in metrics}
    order = sorted(columns[metrics[0]], key=lambda model: columns[metrics[0]][model][0])
    rows = {
        model_label(model): {
            metric: results.format_measure(
                dict(zip(("value", "spread"), found[model], strict=True))
            )
            for metric, found in columns.items()
            if model in found
        }
        for model in order
    }
    return pd.DataFrame.from_dict(rows, orient="index", columns=list(metrics)).fillna("")


def committed(name: str, *rows: str) -> dict[str, Any]:
    """The committed result of the largest profile that has one; our verdicts on it are printed.

    Parameters
    ----------
    rows : ids of those rows of ``paper.yaml`` and ``findings.yaml`` alone
    """
    path = results.committed_path(name)
    profile, result = results.committed_result(name)
    seeds = len(result["seeds"])
    print(f"{name}, profile {profile}, {seeds} {'seed' if seeds == 1 else 'seeds'}")
    beside = results.results_beside(path.parent, name, result["measures"])
    beside[name] = results.with_scores(path, result)
    judged = claims_of(name, beside)
    chosen = [claim for claim in judged if not rows or claim.name.split(":")[0] in rows]
    if chosen:
        print(*chosen, sep="\n")
    return result


def committed_table4() -> pd.DataFrame:
    """The paper's Table 4 with a row per corpus, from the committed results of all profiles."""
    found = {p: read_results(results.profile_dir(p)) for p in PROFILES}
    rows = [[cell.replace("*", "").replace("`", "") for cell in row] for row in table4(found)]
    return pd.DataFrame(rows, columns=list(HEADER)).set_index(HEADER[0])
