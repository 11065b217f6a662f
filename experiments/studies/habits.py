"""Sources beside the topics: what produced each event, and what own counts add to peers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from experiments import study
from experiments.families import CACHE, LDA, LDA_ONLINE, OWN, Settings
from experiments.studies import users
from lla.corpus import Split
from lla.evaluate.calibration import Reliability, evaluate_calibration
from lla.evaluate.ranking import EVENTS
from lla.model import Model


def models_to_compare(
    of_users: Settings,
    more: Mapping[str, Settings],
    base: Sequence[str],
    own: Sequence[str],
    cached: Sequence[str] = (),
) -> dict[str, Settings]:
    """Settings by model: `base` models, `more` (those with sources), and `own` with own counts.

    Parameters
    ----------
    of_users : the settings of notebook 10, as `settings` returns them, whose fits are read back
    own : names of its models or of baselines without settings; LDA has those of the LDA
    cached : names of its networks over words that get a neural cache
    """
    models = of_users["models"]
    known = {LDA_ONLINE: of_users["lda"], **models}
    chosen = {name: models[name] for name in (*base, *own, *cached) if name in models}
    caches = {f"{name}{CACHE}": models[name] for name in cached if name in models}
    own_counts = {f"{name}{OWN}": known.get(name, {}) for name in own}
    return chosen | dict(more) | caches | own_counts


def mean_explanation(
    model: Model, split: Split, *, n_users: int = 20, n_events: int = 50, n_particles: int = 4
) -> pd.DataFrame:
    """Mean probability that the topics, or each source, produced the t-th event of a user.

    Parameters
    ----------
    n_users : the first of the reported users, whose held-out events the model has not seen
    n_events : of each user, at most; a row is the mean over those users who have that event
    """
    corpus, tables = split.corpus, []
    for d in np.flatnonzero(split.reported)[:n_users]:
        history = corpus.items(int(d))[:n_events]
        table = model.explain(history, n_particles=n_particles)
        tables.append(table[["topics", *model.source_names]])
    return pd.concat(tables).groupby(level=0).mean()


@dataclass(frozen=True)
class Fits:
    """The fits of one seed on one data set, read back from their checkpoints.

    Attributes
    ----------
    lda : settings of the LDA that models start from
    models : settings by name, as they were fitted (`study.plan`)
    """

    split: Split
    lda: Settings
    models: Mapping[str, Settings]
    seed: int
    folder: Path

    def of(self, name: str) -> Any:
        """The fit of a model."""
        start = study.fit(self.split, LDA.key, self.lda, self.seed, self.folder)
        return study.fit(self.split, name, self.models[name], self.seed, self.folder, start=start)

    def calibration(self, name: str, top: int, n_bins: int) -> Reliability:
        """The reliability curve; of every event the `top` likeliest items count."""
        fitted = self.of(name)
        return evaluate_calibration(fitted, self.split, top=top, n_bins=n_bins, seed=self.seed)


def pair_with_own_counts(values: Mapping[str, Any]) -> pd.DataFrame:
    """A row per model: its value alone, and with the user's own counts mixed in, where measured."""
    bases = [name for name in values if not name.endswith(OWN)]
    rows = {
        name: {"alone": values[name], "with own counts": values.get(f"{name}{OWN}", np.nan)}
        for name in bases
    }
    return pd.DataFrame.from_dict(rows, orient="index").sort_values("alone")


def comparison_table(result: Mapping[str, Any]) -> pd.DataFrame:
    """A row per model, lowest perplexity first: alone and with own counts, parameters, NDCG@10.

    Parameters
    ----------
    result : of notebook 15; NDCG@10 is over all events, repeats, items new to the user, and these
        among items that the user has not had
    """
    measures = result["measures"]
    perplexities = users.perplexities(result)
    table = pair_with_own_counts(perplexities).round(1)
    table["parameters"] = [int(measures[f"parameters.{name}"]["value"]) for name in table.index]
    parts = users.parts_of(result, "ndcg@10")
    for part in EVENTS:
        found = [parts[name].get(part, (np.nan, 0.0))[0] for name in table.index]
        table[f"NDCG@10, {part}"] = np.round(found, 3)
    return table
