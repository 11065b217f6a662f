"""A whole comparison: every model, every seed, on the data of users; fits side by side."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from experiments import study_users
from experiments.gap import run_gap
from experiments.processes import run_parallel
from experiments.study import Settings, beginning
from experiments.study_users import UserOutcome
from lla.common.threads import default_threads
from lla.corpus import Split
from lla.lda import LDA

PEERS = {
    "autoencoder": study_users.run_autoencoder,
    "gru4rec": study_users.run_gru4rec,
    "gru4rec_sampled": study_users.run_gru4rec,  # by its settings' n_samples
    "sasrec": study_users.run_sasrec,
}


def run_seeds(
    split: Split,
    lda: Settings,
    models: Mapping[str, Settings],
    peers: Mapping[str, Settings],
    seeds: Sequence[int],
    folder: Path,
    n_particles: int = 16,
) -> dict[str, list[UserOutcome]]:
    """Outcomes of every model of a comparison on one corpus, one a seed.

    Models that only count come to the same for every seed; simulated clicks bring their oracle. As
    many fits run at once as there are threads, never more than seeds.

    Parameters
    ----------
    models : of Table 1, settings by name
    peers : settings of ddlda and of `PEERS`; those not named are left out
    """
    counts = study_users.run_counts(split) | {"popular": study_users.run_popular(split)}
    if "clicks" in split.corpus.manifest:
        counts["oracle"] = study_users.run_oracle(split)
    found = {name: [outcome] * len(seeds) for name, outcome in counts.items()}
    # What others begin with comes first: two processes would fit it twice.
    ways = [settings for settings in models.values() if settings.get("ddlda")]
    first = [partial(_begin, split, lda, ways, seed, folder) for seed in seeds]
    at_once = min(default_threads(), len(seeds))
    starts = run_parallel(first, "what models begin with", at_once)
    found["lda_updated"] = [outcome for _, outcome in starts]
    # The last ones read and weigh every item, and take longest: begun first, so that at the end no
    # process is left alone with one.
    names = list(reversed(models | peers))
    calls = [
        partial(_run, split, start, name, (models | peers)[name], seed, folder, n_particles)
        for name in names
        for seed, (start, _) in zip(seeds, starts, strict=True)
    ]
    outcomes = iter(run_parallel(calls, "models, seed by seed", at_once))
    fits = {name: [next(outcomes) for _ in seeds] for name in names}
    return found | {name: fits[name] for name in models | peers}


def run_gaps(
    split: Split, settings: Settings, seeds: Sequence[int], folder: Path, n_particles: int = 16
) -> list[dict[str, float]]:
    """`study_gap.run_gap` for every seed, side by side."""
    calls = [partial(run_gap, split, settings, seed, folder, n_particles) for seed in seeds]
    return run_parallel(calls, "between oracle and personal LLA")


def _begin(
    split: Split, lda: Settings, models: Sequence[Settings], seed: int, folder: Path
) -> tuple[LDA, UserOutcome]:
    """LDA, and what else these models begin with."""
    start, outcome = study_users.run_lda(split, lda, seed, folder)
    for settings in models:
        beginning(split, start, settings, seed, folder)
    return start, outcome


def _run(
    split: Split,
    start: LDA,
    name: str,
    settings: Settings,
    seed: int,
    folder: Path,
    n_particles: int,
) -> UserOutcome:
    if name == "ddlda":
        return study_users.run_ddlda(split, start, settings, seed, folder)
    if name in PEERS:
        return PEERS[name](split, settings, seed, folder)
    return study_users.run_model(split, start, settings, seed, folder, n_particles)
