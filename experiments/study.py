"""Fit a model or read it back, score it, rank with it, measure its size: the same for all families.

Held-out words are the same for every model, and parameters, bytes and seconds of training are
counted alike (`studies.memory` measures peak memory). Fits, scores and ranks are cached in a folder
and read back when nothing they depend on has changed.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from experiments.claims.bootstrap import student_interval
from experiments.families import (
    FAMILIES,
    LDA,
    Family,
    Settings,
    base_of,
    baselines_of,
    family_of,
    suffix_of,
)
from experiments.results import cached
from lla.common.checkpoint import best_iteration, hash_of_topics
from lla.common.display import Summarized
from lla.common.errors import InputError
from lla.common.files import load_tensors, save_tensors
from lla.corpus import Split
from lla.evaluate import Fitted, ScoreCallback, Size
from lla.evaluate.perplexity import perplexity
from lla.evaluate.ranking import Ranking, rank_held_out, ranking_of

RANKS = ("best", "worst", "seen_higher", "seen_tied")  # arrays of a `Ranking` that are kept
History = list[dict[str, float]]


@dataclass(frozen=True, repr=False)
class Outcome(Summarized):
    """Measurements of one fit.

    Attributes
    ----------
    perplexity : of the reported documents' held-out words
    development : the same of the development documents
    size : parameters and bytes
    seconds : of training; LDA's are not counted in models that start from it
    history : one row per iteration, where the model has them
    scores : (D,) log-probability of each document's held-out words, nats
    ranking : of the reported documents' held-out words, where it was asked for
    ranking_seconds : time that ranking took
    """

    perplexity: float
    development: float
    size: Size
    seconds: float = 0.0
    history: History = field(default_factory=list)
    scores: np.ndarray = field(default_factory=lambda: np.empty(0))
    ranking: Ranking | None = None
    ranking_seconds: float = 0.0

    def summary_facts(self) -> dict[str, Any]:
        """The numbers, without what they follow from."""
        return {
            "perplexity": self.perplexity,
            "development": self.development,
            "parameters": self.size.parameters,
            "seconds": self.seconds,
            "iterations": len(self.history),
        }


@dataclass(frozen=True)
class Plan:
    """One fit before it is run: everything it depends on, and its checkpoint.

    Attributes
    ----------
    topics : (N_observed,) assignments it starts from, or None
    base : the fit that it mixes own counts or a cache into, or None
    """

    family: Family
    config: Any
    seed: int
    topics: np.ndarray | None
    checkpoint: Path
    base: "Plan | None" = None

    def fit(self, split: Split) -> Any:
        """The fit, run or read back: a `Fitted`, with whatever else its family offers."""
        start = self.base.fit(split) if self.base else self.topics
        return cached(
            self.family.fit,
            split,
            self.config,
            self.seed,
            start=start,
            checkpoint=self.checkpoint,
        )

    def outcome(
        self, split: Split, fitted: Fitted, *, n_particles: int = 16, ranks: bool = False
    ) -> Outcome:
        """The fit's measurements; scores of particle filters and ranks are cached."""
        name, particles = self.checkpoint.name, self.family.particles
        options: Settings = {"n_particles": n_particles} if particles else {}
        cached: Settings = {}
        if particles:
            cached["checkpoint"] = self.checkpoint.with_name(f"score-{n_particles}-{name}")
            name = f"{n_particles}-{name}"
        found = outcome_of(split, fitted, seed=self.seed, **options, **cached)
        if not ranks:
            return found

        def next_items(on_scores: ScoreCallback) -> None:
            fitted.next_items(split, on_scores, seed=self.seed, **options)

        return with_ranks(found, split, next_items, self.checkpoint.with_name(f"ranks-{name}"))


def plan(
    split: Split,
    name: str,
    settings: Settings,
    seed: int,
    cache_dir: Path,
    *,
    start: Any = None,
) -> Plan:
    """How `run` fits the model `name`.

    Parameters
    ----------
    name : of a family, of one of its variants, or any for a model of Table 1; with ``_own`` at
        its end, that model with the user's own counts mixed in, with ``_cache`` a neural cache
    settings : of its configuration; a setting named like a family, as ``ddlda: {...}``, means that
        topics start from a fit of that family
    start : the fit, of the family's `start`, whose K and topics it takes
    """
    family = family_of(name)
    if base_name := base_of(name):
        base = plan(split, base_name, settings, seed, cache_dir, start=start)
        prefix = suffix_of(name).removeprefix("_")
        file = base.checkpoint.with_name(f"{prefix}-{base.checkpoint.name}")
        return Plan(family, family.configure({}), seed, None, file, base)
    start, settings = initial_fit(split, start, settings, seed, cache_dir)
    config = family.configure(settings, start)
    topics = None
    if family.needs_start(config) and start is not None:
        topics = start.topics
    file_name, key = family.file_key(config, settings)
    if topics is not None:
        key = key | {"start": hash_of_topics(topics)}
    return Plan(family, config, seed, topics, checkpoint_path(cache_dir, file_name, key, seed))


def initial_fit(
    split: Split, start: Any, settings: Settings, seed: int, cache_dir: Path
) -> tuple[Any, Settings]:
    """The fit whose topics a model starts from, and its other settings (see `plan`).

    LDA knows which topics a document has but not where; the paper starts from it. The topics of
    ddLDA depend on the words nearby.
    """
    rest = {name: value for name, value in settings.items() if name not in FAMILIES}
    for name, moved in settings.items():
        if name in FAMILIES and moved:
            if start is None:
                raise InputError(
                    f"{name} is given, which starts from another fit: give that, or leave it out"
                )
            start = fit(split, name, moved, seed, cache_dir, start=start)
    return start, rest


def fit(
    split: Split,
    name: str,
    settings: Settings,
    seed: int,
    cache_dir: Path,
    *,
    start: Any = None,
) -> Any:
    """The model `name`, fitted or read back (see `plan`)."""
    return plan(split, name, settings, seed, cache_dir, start=start).fit(split)


def run(
    split: Split,
    name: str,
    settings: Settings,
    seed: int,
    cache_dir: Path,
    *,
    start: Any = None,
    n_particles: int = 16,
    ranks: bool = False,
) -> Outcome:
    """Fit the model `name`, or read it back, and measure it (see `plan`).

    Parameters
    ----------
    n_particles : of the filter that scores models whose topics are hidden
    ranks : rank all items at the held-out words, too
    """
    planned = plan(split, name, settings, seed, cache_dir, start=start)
    fitted = planned.fit(split)
    return planned.outcome(split, fitted, n_particles=n_particles, ranks=ranks)


def run_baselines(
    split: Split, cache_dir: Path, *, users: bool = False, ranks: bool = False
) -> dict[str, Outcome]:
    """The baselines that need no settings and draw nothing (`families.baselines_of`)."""
    return {
        family.key: run(split, family.key, {}, 0, cache_dir, ranks=ranks)
        for family in baselines_of(split, users)
    }


def outcome_of(split: Split, fitted: Fitted, *, seed: int, **options: Any) -> Outcome:
    """Measurements of a fit at hand; `options` go to its `score`."""
    if "checkpoint" in options:
        scores = cached(fitted.score, split, seed=seed, **options)
    else:
        scores = fitted.score(split, seed=seed, **options)
    return Outcome(
        perplexity=perplexity(scores, split, split.reported),
        development=perplexity(scores, split, split.development),
        size=fitted.size(),
        seconds=fitted.seconds,
        history=fitted.history,
        scores=scores,
    )


def with_ranks(
    outcome: Outcome,
    split: Split,
    next_items: Callable[[ScoreCallback], None],
    cache_file: Path | None = None,
) -> Outcome:
    """The same outcome with the ranks of the reported users' held-out events.

    Parameters
    ----------
    next_items : hands its argument the scores of all held-out events
    cache_file : the ranks' file; those of the same scores are read from it
    """
    start = perf_counter()
    identity = {
        "kind": "ranks",
        "scores": hashlib.sha256(outcome.scores).hexdigest(),
        "corpus": split.corpus.fingerprint,
        "users": hashlib.sha256(split.reported).hexdigest(),
    }
    if cache_file and cache_file.exists():
        tensors, meta = load_tensors(cache_file)
        if identity.items() <= meta.items() and tensors.keys() >= set(RANKS):
            ranking = ranking_of(split, **{name: tensors[name].numpy() for name in RANKS})
            return replace(outcome, ranking=ranking, ranking_seconds=meta["seconds"])
    ranking = rank_held_out(next_items, split)
    seconds = perf_counter() - start
    if cache_file:
        ranks = {name: getattr(ranking, name) for name in RANKS}
        save_tensors(cache_file, ranks, identity | {"seconds": seconds})
    return replace(outcome, ranking=ranking, ranking_seconds=seconds)


def development_perplexity(planned: Plan, split: Split, fitted: Fitted) -> float:
    """Perplexity of the development documents: the best of the history, where it has them."""
    name = "development_perplexity"
    if rows := [row for row in fitted.history if name in row]:
        best = best_iteration(rows)
        return next(row[name] for row in rows if row["iteration"] == best)
    part = {"documents": split.development} if planned.family.scores_part else {}
    scores = fitted.score(split, seed=planned.seed, **part)
    return perplexity(scores, split, split.development)


def checkpoint_path(cache_dir: Path, name: str, settings: Settings, seed: int) -> Path:
    """A file for these settings and this seed; the corpus is not in its name (see `cached`)."""
    text = json.dumps([settings, seed], sort_keys=True)
    cache_dir.mkdir(parents=True, exist_ok=True)
    return cache_dir / f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:10]}-{seed}.safetensors"


def lda_history(split: Split, config: Any, seed: int, sweeps: Sequence[int]) -> History:
    """LDA's development perplexity, θ updated, after each of `sweeps`, and the seconds between."""
    rows: History = []

    def measure(state: Any) -> None:
        if state.sweep not in sweeps:
            return
        scores = state.score(split, seed=seed, documents=split.development)
        before = sum(row["seconds"] for row in rows)
        rows.append(
            {
                "iteration": state.sweep,
                "seconds": state.seconds - before,
                "development_perplexity": perplexity(scores, split, split.development),
            }
        )

    LDA.fit(split, replace(config, n_sweeps=max(sweeps)), seed, on_iteration=measure)
    return rows


def mean_in_histories(outcomes: Sequence[Outcome], name: str) -> list[float]:
    """Mean of one number over the rows that have it, a value per fit; empty where none has it."""
    rows = [[row[name] for row in outcome.history if name in row] for outcome in outcomes]
    return [sum(values) / len(values) for values in rows if values]


def development_histories(outcomes: Mapping[str, Sequence[Outcome]]) -> dict[str, list[History]]:
    """Histories, by model, of those that measured development perplexity as they were trained."""
    return {
        name: [run.history for run in runs]
        for name, runs in outcomes.items()
        if runs[0].history and "development_perplexity" in runs[0].history[0]
    }


def add_startup_seconds(histories: Sequence[History], seconds: Sequence[float]) -> list[History]:
    """The same histories, with the time of the fits they start from in their first rows."""
    return [
        [{**row, "seconds": row["seconds"] + (more if i == 0 else 0)} for i, row in enumerate(rows)]
        for rows, more in zip(histories, seconds, strict=True)
    ]


def time_to_converge(history: History, within: float) -> float:
    """Seconds until development perplexity is first at most 1 + `within` times its lowest."""
    lowest = min(row["development_perplexity"] for row in history)
    seconds = 0.0
    for row in history:
        seconds += row["seconds"]
        if row["development_perplexity"] <= (1 + within) * lowest:
            break
    return seconds


def part_of(split: Split, share: float) -> np.ndarray:
    """(D,) bool: the first `share` of the development documents, and of the others.

    A smaller share is part of a larger one.
    """
    if not 0 < share <= 1:
        raise InputError(f"part is {share}: give a share above 0, at most 1")
    chosen = np.zeros(split.corpus.n_documents, bool)
    for group in (split.development, split.reported):
        members = np.flatnonzero(group)
        chosen[members[: max(1, round(share * len(members)))]] = True
    return chosen


def effects(
    outcomes: Mapping[str, Sequence[Outcome]], bases: Mapping[str, str], base: str = "reference"
) -> dict[str, list[float]]:
    """Relative change of perplexity by seed, in percent, of every outcome that is no base.

    Parameters
    ----------
    bases : what a change is compared with, where it is not `base`
    """
    runs = {label: _perplexities(of_seeds) for label, of_seeds in outcomes.items()}
    no_change = {base, *bases.values()}
    return {
        label: _percent(values / runs[bases.get(label, base)])
        for label, values in runs.items()
        if label not in no_change
    }


def effects_on_gain(
    changes: Mapping[str, tuple[Sequence[Outcome], Sequence[Outcome]]],
    reference: Sequence[Outcome],
    lda: Sequence[Outcome],
) -> dict[str, list[float]]:
    """Relative change by seed, in percent, of perplexity over LDA's, for changes of the corpus.

    Parameters
    ----------
    changes : by label, the model and LDA on the other corpus
    reference, lda : the model and LDA here
    """
    here = _perplexities(reference) / _perplexities(lda)
    return {
        label: _percent(_perplexities(there) / _perplexities(lda_there) / here)
        for label, (there, lda_there) in changes.items()
    }


def _perplexities(outcomes: Sequence[Outcome]) -> np.ndarray:
    return np.array([outcome.perplexity for outcome in outcomes])


def _percent(ratios: np.ndarray) -> list[float]:
    return (100 * (ratios - 1)).tolist()


def largest_effects(effects: Mapping[str, Sequence[float]]) -> str:
    """A sentence: the changes whose 95% interval over seeds leaves zero out, the largest first.

    Parameters
    ----------
    effects : relative change of perplexity by seed, in percent, as `effects` gives them
    """
    means, clear = {}, []
    for label, values in effects.items():
        ratios = 1 + np.array(values) / 100
        interval = student_interval(ratios, np.ones_like(ratios))
        means[label] = float(np.mean(values))
        if interval is not None and interval.low * interval.high > 0:
            clear.append(label)
    if not clear:
        return "no change has an effect beyond its 95% interval over seeds"
    order = sorted(clear, key=lambda label: -abs(means[label]))
    largest = "; ".join(f"{label} ({means[label]:+.1f}%)" for label in order[:5])
    n_noise = len(effects) - len(clear)
    return f"what matters most: {largest}; {n_noise} of {len(effects)} stay within noise"
