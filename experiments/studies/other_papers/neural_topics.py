"""Neural topic models beside LDA: three kinds of perplexity, and the topics themselves.

Kinds are never mixed. ``perplexity.MODEL`` is of held-out words given the observed ones, as of all
models here; ``elbo.MODEL`` and ``bound.MODEL@N`` are of the held-out part of every reported
document as a document that is read and scored whole. Coherence is counted in those parts, too:
nothing was trained on them. A model's name may end in ``@OPTION=N``, another value of the option
that is swept, in hundredths. Three things are measured of the bound itself: whether it puts models
in the same order as completion does (`order_measures`), what the encoder's guess costs
(`amortisation_measures`), and how much more samples tighten it (`bound_measures`).
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from experiments import study
from experiments.families import LDA, Settings, family_of
from experiments.notebook import Measured, Measures, by_count, by_model
from experiments.report.tables import HUNDREDTHS
from experiments.results import measure
from experiments.study import Outcome
from lla.corpus import Corpus, Split
from lla.peers.neural_topics import FittedNeuralTopics, bounds, fit_neural_topics
from lla.peers.neural_topics.amortisation import refined_elbo
from lla.topics.coherence import topic_npmi, window_counts
from lla.topics.quality import diversity
from lla.topics.words import top_words

COLUMNS = {  # of the table: how a measure is called there
    "perplexity": "completion",
    "elbo": "ELBO",
    "elbo_document": "ELBO, per document",
    "kl": "KL",
    "npmi": "NPMI",
    "diversity": "diversity",
    "usage": "topics used",
    "effective": "topics per document",
    "largest": "largest θ",
    "active": "active units",
}

TITLES = {  # of a panel that shows one kind of number
    "perplexity": "Completion, perplexity",
    "elbo": "ELBO, perplexity",
    "kl": "KL, nats",
    "npmi": "NPMI",
    "diversity": "Diversity",
    "effective": "Topics per document",
    "active": "Active units",
}


def sweep(
    models: Mapping[str, Settings], name: str, option: str, values: Sequence[float]
) -> dict[str, Settings]:
    """Settings of ``NAME@OPTION=N``: the option at each of `values`, N in hundredths."""
    if name not in models:
        return {}
    base = models[name]
    return {f"{name}@{option}={round(HUNDREDTHS * x)}": base | {option: float(x)} for x in values}


def is_neural(name: str) -> bool:
    """Whether a model is one of `lla.peers.neural_topics`."""
    return family_of(name).fit is fit_neural_topics


def neural_fits(
    split: Split, models: Mapping[str, Settings], seeds: Sequence[int], cache_dir: Path
) -> dict[str, list[FittedNeuralTopics]]:
    """The fits of the neural models, one per seed, read back from the folder or made."""
    return {
        name: [study.fit(split, name, settings, seed, cache_dir) for seed in seeds]
        for name, settings in models.items()
        if is_neural(name)
    }


def measures_of(
    split: Split,
    found: Mapping[str, Sequence[Outcome]],
    fits: Mapping[str, Sequence[FittedNeuralTopics]],
    n_words: int = 10,
) -> dict[str, Any]:
    """Measures of a result file, a value per seed; see `COLUMNS` for those of a neural model."""
    part = bounds.held_out_documents(split)
    measures = {
        f"{metric}.{name}": measure([read(run) for run in runs], metric)
        for name, runs in found.items()
        for metric, read in (
            ("perplexity", lambda run: run.perplexity),
            ("seconds", lambda run: run.seconds),
        )
    }
    for name, of_seeds in fits.items():
        rows = [model_row(fit, split, part, n_words) for fit in of_seeds]
        for metric in rows[0]:
            values = [row[metric] for row in rows]
            if np.isfinite(values).all():  # the ELBO of a model that has hardly been trained is not
                measures[f"{metric}.{name}"] = measure(values, metric)
    return measures


def model_row(
    fitted: FittedNeuralTopics, split: Split, part: Corpus, n_words: int = 10
) -> dict[str, float]:
    """The numbers of one neural model but its completion.

    Parameters
    ----------
    part : documents that were not trained on, on which bounds and coherence are measured
    """
    theta, row = fitted.theta(split.observed), {}
    if fitted.config.posterior != "none" and fitted.config.objective == "categorical":
        bound = bounds.elbo(fitted, part)
        row = {
            "elbo": bound.perplexity,
            "elbo_document": bound.document_perplexity,
            "kl": float(bound.kl.mean()),
        }
    row |= topic_row(fitted.weights(), part, n_words)
    if fitted.network.posterior.on_simplex:
        row |= proportion_row(theta)
    else:
        row["active"] = float(bounds.active_units(theta))
    return row


def topic_row(phi: np.ndarray, part: Corpus, n_words: int = 10) -> dict[str, float]:
    """NPMI and diversity of the top words of topics φ (V, K)."""
    words = top_words(phi, part.vocabulary, n_words)
    rated = topic_npmi(window_counts(words, part, None))
    return {"npmi": float(np.nanmean(rated)), "diversity": diversity(words)}


def proportion_row(theta: np.ndarray) -> dict[str, float]:
    """Which topics documents use, from θ (D, K)."""
    return {
        "usage": bounds.topic_usage(theta),
        "effective": bounds.effective_topics(theta),
        "largest": float(theta.max(axis=1).mean()),
    }


def lda_measures(
    split: Split, lda: Settings, seeds: Sequence[int], cache_dir: Path, n_words: int = 10
) -> dict[str, Any]:
    """The same measures of LDA's topics and proportions; it has no bound here."""
    part, rows = bounds.held_out_documents(split), []
    for seed in seeds:
        fit = study.fit(split, LDA.key, lda, seed, cache_dir)
        weight = fit.document_topic(seed) + fit.alpha
        theta = weight / weight.sum(axis=1, keepdims=True)
        rows.append(topic_row(fit.phi(), part, n_words) | proportion_row(theta))
    return {f"{m}.{LDA.key}": measure([row[m] for row in rows], m) for m in rows[0]}


def bound_measures(
    split: Split,
    fits: Mapping[str, Sequence[FittedNeuralTopics]],
    n_samples: Sequence[int],
    n_documents: int = 50,
) -> dict[str, Any]:
    """``bound.MODEL@N``: perplexity by the importance-weighted bound of N samples, first seed."""
    part = bounds.held_out_documents(split)
    part = part.select(np.arange(min(n_documents, part.n_documents)))
    measures = {}
    for name, of_seeds in fits.items():
        if of_seeds[0].config.posterior == "none" or "@" in name:
            continue
        found = bounds.importance_bound(of_seeds[0], part, n_samples)
        for n, values in found.items():
            value = bounds.corpus_perplexity(values, part.lengths)
            if np.isfinite(value):
                measures[f"bound.{name}@{n}"] = measure([value], "bound")
    return measures


def amortisation_measures(
    split: Split,
    fits: Mapping[str, Sequence[FittedNeuralTopics]],
    n_steps: int,
    n_documents: int = 50,
) -> dict[str, Any]:
    """``encoded.MODEL`` and ``refined.MODEL``: perplexity by the ELBO, a value per seed.

    With the encoder's posteriors, and with these fitted to each document by itself
    (`amortisation.refined_elbo`), on the same documents and from the same random numbers.
    """
    part = bounds.held_out_documents(split)
    part = part.select(np.arange(min(n_documents, part.n_documents)))
    measures = {}
    for name, of_seeds in fits.items():
        if of_seeds[0].config.posterior == "none" or "@" in name:
            continue
        pairs = [refined_elbo(fit, part, n_steps=n_steps) for fit in of_seeds]
        for metric, of_metric in zip(("encoded", "refined"), zip(*pairs, strict=True), strict=True):
            values = [bound.perplexity for bound in of_metric]
            if np.isfinite(values).all():
                measures[f"{metric}.{name}"] = measure(values, metric)
    return measures


def order_measures(measures: Measures) -> dict[str, Any]:
    """How alike bounds and completion order the models that have both, a value per seed.

    ``same_order.elbo`` is the share of pairs of models that both put in the same order, and
    ``rank_correlation.elbo`` Spearman's coefficient; the same of ``encoded`` and ``refined``, the
    bounds of `amortisation_measures`. ``same_order.seed`` and ``rank_correlation.seed`` compare a
    seed's completion with the next seed's, which is as alike as orders can be here; there is none
    for one seed, and nothing for fewer than two models.
    """
    bounds_there = [m for m in ("elbo", "encoded", "refined") if by_model(measures, m)]
    wanted = ("perplexity", *bounds_there)
    names = [n for n in by_model(measures) if all(f"{m}.{n}" in measures for m in wanted)]
    if len(names) < 2 or not bounds_there:
        return {}
    values = {
        metric: np.array([measures[f"{metric}.{n}"]["values"] for n in names]).T
        for metric in wanted
    }  # (S, M)
    completion = values["perplexity"]
    pairs = {metric: (values[metric], completion) for metric in bounds_there}
    if len(completion) > 1:
        pairs["seed"] = (completion, np.roll(completion, -1, axis=0))
    compared = {"same_order": same_order, "rank_correlation": rank_correlation}
    return {
        f"{metric}.{name}": measure([call(x, y) for x, y in zip(*pair, strict=True)], metric)
        for name, pair in pairs.items()
        for metric, call in compared.items()
    }


def same_order(x: np.ndarray, y: np.ndarray) -> float:
    """Share of pairs that x (M,) and y (M,) put in the same order; a tie counts half."""
    first, second = np.triu_indices(len(x), 1)
    signs = np.sign(x[first] - x[second]) * np.sign(y[first] - y[second])
    return float((1 + signs.mean()) / 2)


def rank_correlation(x: np.ndarray, y: np.ndarray) -> float:
    """Spearman's coefficient of x (M,) and y (M,); ties have their mean rank."""
    return float(stats.spearmanr(x, y).statistic)


def model_table(measures: Measures) -> pd.DataFrame:
    """Models by completion; a column per kind of number, empty where a model has none."""
    columns = {title: by_model(measures, metric) for metric, title in COLUMNS.items()}
    table = pd.DataFrame({t: {m: x[0] for m, x in of.items()} for t, of in columns.items() if of})
    return table.sort_values("completion")


def bound_table(measures: Measures) -> pd.DataFrame:
    """Perplexity by the importance-weighted bound: a row per model, a column per N."""
    curves = by_count(measures, "bound")
    rows = {name: {n: x[0] for n, x in sorted(of.items())} for name, of in curves.items()}
    return pd.DataFrame.from_dict(rows, orient="index")


def by_value(measures: Measures, metric: str, name: str) -> dict[float, Measured]:
    """A metric of ``NAME@OPTION=N`` by the swept option's value, N/100."""
    found = by_count(measures, metric).get(name, {})
    return {n / HUNDREDTHS: measured for n, measured in sorted(found.items())}


def topic_lists(
    fits: Mapping[str, Sequence[FittedNeuralTopics]],
    names: Sequence[str],
    n_topics: int = 5,
    n_words: int = 8,
) -> pd.DataFrame:
    """Top words of the first topics, a column per model; weights with the background apart."""
    columns = {}
    for name in names:
        if name in fits:
            fit = fits[name][0]
            words = top_words(fit.weights(), fit.vocabulary, n_words)[:n_topics]
            columns[name] = [" ".join(of_topic) for of_topic in words]
    return pd.DataFrame(columns)
