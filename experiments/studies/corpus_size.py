"""The same models on more and more documents of one corpus: what joint training gains by size.

All fits are scored on the same words, the held-out ones of documents that every part contains.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from experiments import study
from experiments.families import LDA_ONLINE, Settings
from experiments.processes import run_parallel
from experiments.results import cached
from lla.common.errors import InputError
from lla.common.threads import default_threads
from lla.corpus import Split
from lla.lda import LDA

LDA_KEY = "lda"
Scores = dict[str, list[np.ndarray]]  # MODEL@documents=COUNT -> (D,) nats per seed


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
) -> Scores:
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
        ``MODEL@documents=COUNT`` -> one (D,) array per seed; 0 in documents that are not scored.

    Raises
    ------
    InputError
        When there are not as many `iterations` as `shares`.
    """
    if len(iterations) != len(shares):
        raise InputError(f"iterations is {list(iterations)}: give one for each of {list(shares)}")
    n_processes = min(default_threads(), len(seeds))
    found: Scores = {}
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
            rows = np.zeros((len(seeds), len(chosen)))
            rows[:, chosen] = of_part
            found[f"{name}@documents={n_documents}"] = list(rows)
    return found


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
) -> np.ndarray:
    """One fit's scores of the documents `scored` (D,) bool, (D,) nats; the others are 0."""
    start: LDA = study.fit(part, LDA_KEY, lda, seed, cache_dir)
    if name == LDA_ONLINE:
        return start.score(part, seed=seed, documents=scored)
    planned = study.plan(part, name, settings, seed, cache_dir, start=start)
    model, file = planned.fit(part), planned.checkpoint
    scores = np.zeros(part.corpus.n_documents)
    scores[scored] = cached(
        model.score,
        part.restrict(scored),
        seed=seed,
        n_particles=n_particles,
        checkpoint=file.with_name(f"score-{n_particles}-{file.name}"),
    )
    return scores
