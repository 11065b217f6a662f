"""Table 4 on more corpora than the profile's own: joint against independent training on each."""

from collections.abc import Mapping, Sequence
from typing import Any

from experiments.claims import scores_of
from experiments.families import Settings
from experiments.notebook import measures_of, seconds_of
from experiments.results import publish, require
from experiments.studies.parallel import compare_models
from experiments.study import Outcome
from lla.corpus import load_corpus, split_corpus


def run_corpora(
    profile: str, corpora: Mapping[str, Settings], seeds: Sequence[int], n_particles: int
) -> dict[str, dict[str, list[Outcome]]]:
    """Outcomes by corpus and model; each corpus is published as ``joint_vs_independent_NAME``.

    Parameters
    ----------
    corpora : by the name that notebook 01 gave it, the settings of `lda` and of `models`
    """
    found = {}
    for name, settings in corpora.items():
        folder = require(profile, f"{name}/corpus", "01_data_prep")
        split = split_corpus(load_corpus(folder))
        outcomes: dict[str, list[Outcome]] = compare_models(
            split, settings["lda"], settings["models"], seeds, folder.parent, n_particles
        )
        config: dict[str, Any] = {**settings, "particles": n_particles}
        publish(
            f"joint_vs_independent_{name}",
            profile,
            config=config,
            seeds=seeds,
            measures=measures_of(outcomes, "perplexity", "seconds"),
            scores=scores_of(split, seeds, outcomes),
            corpus=split.corpus,
            seconds=seconds_of(outcomes),
            extra={"particles": n_particles},
        )
        found[name] = outcomes
    return found
