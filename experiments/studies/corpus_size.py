"""The same models on more and more documents of one corpus: what joint training gains by size.

All fits are scored on the same words, the held-out ones of documents that every part contains.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from experiments import study
from experiments.families import LDA_ONLINE, Settings
from experiments.processes import run_parallel
from experiments.results import cached
from lla.common.errors import InputError
from lla.common.parallel import default_threads
from lla.corpus import Split
from lla.lda import LDA

LDA_KEY = "lda"


@dataclass(frozen=True)
class Scored:
    """Scores of one fit, (D,) nats, 0 in documents that are not scored; its seconds of training."""

    scores: np.ndarray
    seconds: float


def scores_by_size(
    split: Split,
    scored: np.ndarray,
    *,
    shares: Sequence[float],
    lda: Settings,
    models: Mapping[str, Settings],
    iterations: Sequence[int],
    seeds: Sequence[int],
    cache_dir: Path,
    n_particles: int = 16,
) -> dict[str, list[Scored]]:
    """Log-probabilities of the words held out, by model and number of documents trained on.

    Parameters
    ----------
    scored : (D,) bool, documents of every part (`experiments.study.part_of`)
    shares : parts of the documents, each trained on by itself
    lda : settings of LDA, fitted to every part: the others start from it, and it is scored, too
    models : settings by name (`experiments.study.plan`)
    iterations : most iterations on each part, for models whose settings do not say it. A small part
        needs more passes for as many steps of Adam
    n_particles : of the filter that scores models whose topics are hidden

    Returns
    -------
    dict
        ``MODEL@documents=COUNT`` -> the scores of each seed

    Raises
    ------
    InputError
        When there are not as many `iterations` as `shares`.
    """
    if len(iterations) != len(shares):
        raise InputError(f"iterations is {list(iterations)}: give one for each of {list(shares)}")
    n_processes = min(default_threads(), len(seeds))
    found: dict[str, list[Scored]] = {}
    # The largest part first: what is left of the time is then best known.
    for share, n_iterations in sorted(zip(shares, iterations, strict=True), reverse=True):
        chosen = study.part_of(split, share)
        part, n_documents = split.restrict(chosen), int(chosen.sum())
        options = {
            "part": part,
            "lda": lda,
            "scored": scored[chosen],
            "cache_dir": cache_dir / f"{n_documents}-documents",
            "n_particles": n_particles,
        }
        for name in (LDA_ONLINE, *models):
            settings = {"n_iterations": n_iterations} | models.get(name, {})
            calls = [
                partial(_scores, name=name, settings=settings, seed=seed, **options)
                for seed in seeds
            ]
            labels = [f"{name}, {n_documents} documents, seed {seed}" for seed in seeds]
            of_part = run_parallel(calls, "seeds", n_processes, names=labels)
            found[f"{name}@documents={n_documents}"] = [
                replace(run, scores=_in_all(run.scores, chosen)) for run in of_part
            ]
    return found


def _in_all(values: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """The values of the documents `chosen` (D,) bool among those of all, (D,); 0 elsewhere."""
    every = np.zeros(len(chosen))
    every[chosen] = values
    return every


def _scores(
    *,
    part: Split,
    lda: Settings,
    name: str,
    settings: Settings,
    scored: np.ndarray,
    seed: int,
    cache_dir: Path,
    n_particles: int,
) -> Scored:
    """One fit's scores of the documents `scored` (D,) bool; LDA's time counts as LDA's alone."""
    start: LDA = study.fit(part, LDA_KEY, lda, seed, cache_dir)
    if name == LDA_ONLINE:
        return Scored(start.score(part, seed=seed, documents=scored), start.seconds)
    planned = study.plan(part, name, settings, seed, cache_dir, start=start)
    model, file = planned.fit(part), planned.checkpoint
    scores = cached(
        model.score,
        part.restrict(scored),
        seed=seed,
        n_particles=n_particles,
        checkpoint=file.with_name(f"score-{n_particles}-{file.name}"),
    )
    return Scored(_in_all(scores, scored), model.seconds)
