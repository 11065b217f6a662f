"""Fits side by side: every seed of a model, or every model and seed on one corpus.

As many fits run at once as there are threads, never more than seeds, each on one thread; those of
a single seed run one after another, on all threads. A fit leaves its checkpoint, scores and ranks
in the cache folder, and an interrupted comparison goes on from there.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from experiments import study
from experiments.families import LDA_ONLINE, Settings, base_of
from experiments.processes import run_cached, run_parallel
from experiments.results import cached
from experiments.study import Outcome
from lla.common.parallel import default_threads
from lla.corpus import Split
from lla.evaluate.perplexity import perplexity
from lla.lda import LDA
from lla.model import Model

T = TypeVar("T")
LDA_KEY = "lda"


def fit_seeds(
    fit: Callable[..., T],
    split: Split,
    config: Any,
    seeds: Sequence[int],
    checkpoints: Sequence[Path],
    starts: Sequence[Any] | None = None,
    name: str = "",
) -> list[T]:
    """One fit per seed, or what was left of it in its checkpoint.

    Parameters
    ----------
    fit : `lla.fit_lda` or `lla.fit_sem`
    checkpoints, starts : one per seed; `starts` are fits whose topics these begin with
    name : of the model, which the progress line shows
    """
    calls = [
        partial(cached, fit, split, config, seed, checkpoint=checkpoint)
        for seed, checkpoint in zip(seeds, checkpoints, strict=True)
    ]
    if starts is not None:
        calls = [
            partial(call, start=start.topics) for call, start in zip(calls, starts, strict=True)
        ]
    return run_cached(calls, names=[f"{name}, seed {seed}" for seed in seeds])


def run_models(
    run: Callable[[str, Any, int], T], models: Mapping[str, Any], seeds: Sequence[int]
) -> dict[str, list[T]]:
    """What `run(name, settings, seed)` returns, of every model one per seed."""
    runs = [(name, settings, seed) for name, settings in models.items() for seed in seeds]
    calls = [partial(run, name, settings, seed) for name, settings, seed in runs]
    labels = [f"{name}, seed {seed}" for name, _, seed in runs]
    n_processes = min(default_threads(), len(seeds))
    found = iter(run_parallel(calls, "models, seed by seed", n_processes, names=labels))
    return {name: [next(found) for _ in seeds] for name in models}


def particle_scores(
    split: Split,
    fits: Mapping[str, Sequence[Model]],
    seeds: Sequence[int],
    particles: Sequence[int],
    cache_dir: Path,
) -> dict[str, dict[int, list[np.ndarray]]]:
    """Log-probabilities of the held-out words, (D,) per seed, by model and number of particles."""
    runs = [
        (name, n, seed, model)
        for name, models in fits.items()
        for n in sorted(particles)
        for seed, model in zip(seeds, models, strict=True)
    ]
    calls = [
        partial(
            cached,
            model.score,
            split,
            seed=seed,
            n_particles=n,
            checkpoint=cache_dir / f"score-{name}-{n}-{seed}.safetensors",
        )
        for name, n, seed, model in runs
    ]
    labels = [f"scoring {name}, P = {n}, seed {seed}" for name, n, seed, _ in runs]
    n_processes = min(default_threads(), len(seeds))
    found: dict[str, dict[int, list[np.ndarray]]] = {name: {} for name in fits}
    scores = run_parallel(calls, "scores", n_processes, names=labels)
    for (name, n, *_), nats in zip(runs, scores, strict=True):
        found[name].setdefault(n, []).append(nats)
    return found


def compare_models(
    split: Split,
    lda: Settings | Sequence[LDA],
    models: Mapping[str, Settings],
    seeds: Sequence[int],
    cache_dir: Path,
    n_particles: int = 16,
    *,
    users: bool = False,
    particles_of: Mapping[str, int] | None = None,
) -> dict[str, list[Outcome]]:
    """Outcomes of every model on one corpus, one per seed.

    LDA, θ frozen and updated, and the baselines that need no settings are among them; those that
    draw nothing are the same for every seed.

    Parameters
    ----------
    lda : settings of the LDA whose topics the models start from, or fits of it, one per seed
    models : settings by name (`study.plan`)
    n_particles : of the filter that scores models whose topics are hidden
    users : whether documents are users' histories: more baselines, and ranks of next items
    particles_of : in place of `n_particles`, by name
    """
    n_processes = min(default_threads(), len(seeds))
    baselines = study.run_baselines(split, cache_dir, users=users, ranks=users)
    found = {name: [outcome] * len(seeds) for name, outcome in baselines.items()}
    # Fits that others start from come first: otherwise two processes would run the same one.
    starts: list[Any] = [lda] * len(seeds) if isinstance(lda, Mapping) else list(lda)
    first = [
        partial(_run_first, split, start, list(models.values()), seed, cache_dir, users)
        for seed, start in zip(seeds, starts, strict=True)
    ]
    labels = [f"lda, seed {seed}" for seed in seeds]
    ldas = run_parallel(first, "fits that models start from", n_processes, names=labels)
    found |= {name: [outcomes[name] for outcomes in ldas] for name in ldas[0]}
    # Those with own counts read the fits of the others back, so they come after them.
    fits: dict[str, list[Outcome]] = {}
    for own_counts in (False, True):
        # The last models have networks over words and take longest: they are run first, so that
        # no process is left alone with one at the end.
        names = [name for name in models if bool(base_of(name)) == own_counts][::-1]
        calls = [
            partial(
                _run_model,
                split,
                start,
                name,
                models[name],
                seed,
                cache_dir,
                (particles_of or {}).get(name, n_particles),
                users,
            )
            for name in names
            for seed, start in zip(seeds, starts, strict=True)
        ]
        labels = [f"{name}, seed {seed}" for name in names for seed in seeds]
        description = "models with own counts" if own_counts else "models, seed by seed"
        outcomes = iter(run_parallel(calls, description, n_processes, names=labels))
        fits |= {name: [next(outcomes) for _ in seeds] for name in names}
    return found | {name: fits[name] for name in models}


def _fit_lda(split: Split, lda: Settings | LDA, seed: int, cache_dir: Path) -> LDA:
    """The LDA at hand, or the one of these settings, read back if it has been fitted."""
    if isinstance(lda, Mapping):
        return study.fit(split, LDA_KEY, lda, seed, cache_dir)
    return lda


def _run_first(
    split: Split,
    lda: Settings | LDA,
    models: Sequence[Settings],
    seed: int,
    cache_dir: Path,
    users: bool,
) -> dict[str, Outcome]:
    """LDA, and whatever else these models start from."""
    start = _fit_lda(split, lda, seed, cache_dir)
    for settings in models:
        study.initial_fit(split, start, settings, seed, cache_dir)
    online = study.outcome_of(split, start, seed=seed)
    if users:
        ranks = partial(start.next_items, split, seed=seed)
        return {LDA_ONLINE: study.with_ranks(online, split, ranks)}
    return {"lda": study.outcome_of(split, start, seed=seed, update=False), LDA_ONLINE: online}


def _run_model(
    split: Split,
    lda: Settings | LDA,
    name: str,
    settings: Settings,
    seed: int,
    cache_dir: Path,
    n_particles: int,
    users: bool,
) -> Outcome:
    start = _fit_lda(split, lda, seed, cache_dir)
    return study.run(
        split,
        name,
        settings,
        seed,
        cache_dir,
        start=start,
        n_particles=n_particles,
        ranks=users,
    )


def learning_curve(
    split: Split,
    shares: Sequence[float],
    lda: Settings,
    models: Mapping[str, Settings],
    seeds: Sequence[int],
    cache_dir: Path,
    n_particles: int,
) -> dict[tuple[str, int], list[float]]:
    """Perplexity by seed of LDA and of models trained on more and more documents.

    Every fit is scored on the same words: those of the reported documents in the smallest part.

    Returns
    -------
    (model, number of documents) -> one perplexity per seed
    """
    scored = study.part_of(split, min(shares)) & split.reported
    found: dict[tuple[str, int], list[float]] = {}
    for share in shares:
        chosen = study.part_of(split, share)
        part = split.restrict(chosen)
        # The corpus is not in a file's name: fits of a part would overwrite those of the whole.
        folder = cache_dir if chosen.all() else cache_dir / f"{part.corpus.n_documents}-documents"
        outcomes = compare_models(part, lda, models, seeds, folder, n_particles)
        for name in (LDA_ONLINE, *models):
            scores = np.zeros((len(seeds), len(chosen)))
            scores[:, chosen] = [outcome.scores for outcome in outcomes[name]]
            found[name, part.corpus.n_documents] = [
                perplexity(of_seed, split, scored) for of_seed in scores
            ]
    return found
