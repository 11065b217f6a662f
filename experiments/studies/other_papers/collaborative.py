"""The measures of Ko, Maystre and Grossglauser (2016): every user counts the same.

Their error (equation 3) is the mean over users of the mean of -log p over a user's held-out events.
Users are told apart by the entropy of what is observed of them, in three groups of equal size.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from data_prep.selection import SelectionOptions, entropies, select_users
from experiments import study
from experiments.claims import Scores, scores_of
from experiments.claims.scores import USERS
from experiments.corpora import prepare_corpus
from experiments.families import LDA, Settings, family_of, is_simulated
from experiments.notebook import Measured, Measures, by_count, by_model
from experiments.results import measure, require, work_dir
from experiments.study import Outcome
from lla.corpus import Corpus, Split, load_corpus, split_corpus
from lla.evaluate.perplexity import user_error

GROUPS = ("low", "middle", "high")  # of users by their entropy, in rising order


def data_of(profile: str, name: str, options: Settings | None) -> tuple[Split, Path]:
    """The split of a data set, and the folder of its corpus and fits.

    Parameters
    ----------
    options : of a corpus that is made here; None for one that notebook 10 has made. ``dataset`` is
        its name for `prepare_corpus`, by default `name`, and ``selection`` the rules by which users
        are chosen and split (`data_prep.SelectionOptions`); without it all stay, and the first 60%
        of each history are observed
    """
    folder, made = work_dir(profile) / "users" / name, dict(options or {})
    selection = made.pop("selection", None)
    if options is not None:
        prepare_corpus(made.pop("dataset", name), folder / "corpus", made)
    corpus = load_corpus(require(profile, f"users/{name}/corpus", "10_user_modeling"))
    if selection is None:
        return split_corpus(corpus), folder
    return select_users(corpus, SelectionOptions(**selection)), folder


def fitted_before(
    split: Split,
    lda: Settings,
    models: Mapping[str, Settings],
    seeds: Sequence[int],
    cache_dir: Path,
) -> dict[str, Settings]:
    """Those models of which another notebook has left a fit of every seed in the folder."""
    found: dict[str, bool] = {}
    for seed in seeds:
        start = study.fit(split, LDA.key, lda, seed, cache_dir)
        for name, settings in models.items():
            there = study.plan(split, name, settings, seed, cache_dir, start=start).checkpoint
            found[name] = found.get(name, True) and there.is_file()
    return {name: settings for name, settings in models.items() if found.get(name)}


def models_beside(
    split: Split, models: Mapping[str, Settings], chosen: Sequence[str]
) -> dict[str, Settings]:
    """Settings of the chosen models, as far as there are any; of simulated users the oracle's."""
    found = {name: models[name] for name in chosen if name in models}
    return found | ({"oracle": {}} if is_simulated(split.corpus) else {})


def of_other_sizes(
    models: Mapping[str, Settings], chosen: Sequence[str], sizes: Sequence[int]
) -> dict[str, Settings]:
    """Settings of ``MODEL@SIZE``: each chosen model with another state size than its own."""
    return {
        f"{name}@{size}": models[name] | {"hidden_size": size}
        for name in chosen
        for size in sizes
        if size != models[name]["hidden_size"]
    }


def data_table(corpora: Mapping[str, Corpus]) -> pd.DataFrame:
    """Table 1 of the paper in form: sizes, and the error of the uniform distribution, log V."""
    rows = {
        name: {
            "users": corpus.n_documents,
            "items": corpus.n_words,
            "events": corpus.n_tokens,
            "events per user": corpus.n_tokens / corpus.n_documents,
            "error, uniform": np.log(corpus.n_words),
        }
        for name, corpus in corpora.items()
    }
    return pd.DataFrame.from_dict(rows, orient="index")


def entropy_groups(split: Split, n_groups: int = len(GROUPS)) -> list[np.ndarray]:
    """Users (D,) bool of each group: the reported ones that have held-out events, by entropy.

    The entropy is that of the observed events; groups are of equal size and in rising order.
    """
    counted = np.flatnonzero(split.reported & (split.n_held_out > 0))
    order = counted[np.argsort(entropies(split.observed)[counted], kind="stable")]
    groups = []
    for members in np.array_split(order, n_groups):
        group = np.zeros(split.corpus.n_documents, bool)
        group[members] = True
        groups.append(group)
    return groups


def errors_of_users(scores: np.ndarray, split: Split) -> np.ndarray:
    """(D,) mean of -log p over the held-out events of every user, nats; 0 where there is none."""
    return -scores / np.maximum(split.n_held_out, 1)


def deviations(errors: np.ndarray, members: np.ndarray) -> np.ndarray:
    """(D,) how far each member's error is from their median; 0 for others."""
    return np.where(members, np.abs(errors - np.median(errors[members])), 0.0)


def measures_of(split: Split, found: Mapping[str, Sequence[Outcome]]) -> dict[str, Any]:
    """Measures of a result file: one value per seed of every model's outcome.

    ``error.``, ``perplexity.``, ``parameters.``, ``seconds.MODEL``; where the model is trained in
    epochs ``seconds_per_epoch.MODEL``; by group of users (`GROUPS`) ``error.MODEL.GROUP``, and
    ``deviation.MODEL.GROUP``, the mean absolute deviation of users' errors from their median.
    """
    measures: dict[str, Any] = {}
    groups = dict(zip(GROUPS, entropy_groups(split), strict=True))
    for model, outcomes in found.items():
        values: dict[str, list[float]] = {
            f"error.{model}": [user_error(o.scores, split) for o in outcomes],
            f"perplexity.{model}": [o.perplexity for o in outcomes],
            f"parameters.{model}": [o.size.parameters for o in outcomes],
            f"seconds.{model}": [o.seconds for o in outcomes],
        }
        if hasattr(family_of(model).config, "n_epochs"):
            seconds = study.mean_in_histories(outcomes, "seconds")
            values[f"seconds_per_epoch.{model}"] = seconds
        for name, rows in _by_group(model, outcomes, split, groups).items():
            members = groups[name.rpartition(".")[2]]
            values[name] = [float(row[members].mean()) for row in rows]
        measures |= {name: measure(x, name.partition(".")[0]) for name, x in values.items()}
    return measures


def user_scores(
    split: Split, seeds: Sequence[int], found: Mapping[str, Sequence[Outcome]]
) -> Scores:
    """Of every user and model, what perplexity, errors and deviations are computed from."""
    sums: dict[str, list[np.ndarray]] = {}
    groups = dict(zip(GROUPS, entropy_groups(split), strict=True))
    for model, outcomes in found.items():
        sums[f"perplexity.{model}"] = [o.scores for o in outcomes]
        sums[f"error.{model}"] = [errors_of_users(o.scores, split) for o in outcomes]
        sums |= _by_group(model, outcomes, split, groups)
    counts = {USERS: split.n_held_out > 0, **groups}
    return scores_of(split, seeds, sums, unit="users", counts=counts)


def _by_group(
    model: str, outcomes: Sequence[Outcome], split: Split, groups: Mapping[str, np.ndarray]
) -> dict[str, list[np.ndarray]]:
    """Error and deviation of every user, (D,) per seed, by measure; 0 outside the group."""
    if "@" in model:  # another state size: errors of all users are enough
        return {}
    errors = [errors_of_users(o.scores, split) for o in outcomes]
    found = {}
    for group, members in groups.items():
        found[f"error.{model}.{group}"] = [e * members for e in errors]
        found[f"deviation.{model}.{group}"] = [deviations(e, members) for e in errors]
    return found


def error_by_entropy(
    split: Split, found: Mapping[str, Sequence[Outcome]], n_groups: int = 6
) -> dict[str, dict[float, Measured]]:
    """Mean error of the users in each of `n_groups` groups by entropy, as Figure 2 has it.

    Returns
    -------
    model -> mean entropy of the group -> (value, spread over seeds)
    """
    nats = entropies(split.observed)
    groups = [group for group in entropy_groups(split, n_groups) if group.any()]
    curves: dict[str, dict[float, Measured]] = {model: {} for model in found}
    for model, outcomes in found.items():
        for group in groups:
            errors = [errors_of_users(o.scores, split)[group].mean() for o in outcomes]
            measured = measure(errors, "error")
            curves[model][float(nats[group].mean())] = measured["value"], measured["spread"]
    return curves


def of_models(measures: Measures, metric: str) -> dict[str, Measured]:
    """Value and spread of a metric by model; groups of users and other state sizes left out."""
    models = by_model(measures)  # of the perplexity, which is of all users
    return {model: x for model, x in by_model(measures, metric).items() if model in models}


def by_state_size(
    measures: Measures, models: Mapping[str, Settings], metric: str
) -> dict[str, dict[int, Measured]]:
    """A metric by state size, of the models that were fitted with several."""
    curves, own = by_count(measures, metric), of_models(measures, metric)
    for name, points in curves.items():
        points[models[name]["hidden_size"]] = own[name]
    return curves


def error_table(measures: Measures) -> pd.DataFrame:
    """Models by error: the mean over users, its exponential, and the perplexity of all events."""
    columns = {metric: of_models(measures, metric) for metric in ("error", "perplexity")}
    table = pd.DataFrame({name: {m: x[0] for m, x in of.items()} for name, of in columns.items()})
    table.insert(1, "exp(error)", np.exp(table["error"]))
    return table.sort_values("error")


def gap_closed(measures: Measures, suffix: str = "_counts") -> dict[str, float]:
    """How much of a model's distance to the oracle an addition closes, in log perplexity.

    Of every MODEL that was measured beside ``MODELsuffix``; 1 reaches the oracle, and a negative
    number moves away from it. Empty where there is no oracle.
    """
    nats = {model: np.log(value) for model, (value, _) in by_model(measures).items()}
    pairs = {model: f"{model}{suffix}" for model in nats if f"{model}{suffix}" in nats}
    if "oracle" not in nats:
        return {}
    return {
        model: float((nats[model] - nats[more]) / (nats[model] - nats["oracle"]))
        for model, more in pairs.items()
    }
