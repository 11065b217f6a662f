"""The figures that follow from result files alone, drawn as the notebooks draw them.

A result to which models were added gets its figure anew without a run of its notebook. Figures
that show more than a result's numbers (topics' words, latent planes) have no entry here.
"""

from collections.abc import Callable, Mapping
from typing import Any

import matplotlib.pyplot as plt
import numpy as np

from experiments import figures
from experiments.claims import paper
from experiments.notebook import Measured, by_count, by_model, perplexity_and_size
from experiments.report.tables import DATA_LABELS
from experiments.results import belongs_to
from experiments.studies import users
from experiments.studies.other_papers import collaborative

Results = Mapping[str, Mapping[str, Any]]  # by name
Figures = dict[str, Any]  # by suffix, as `results.publish` takes them
Draw = Callable[[Results, str, str], Figures]  # of results, the name of one, and its data set


def figures_of(name: str, results: Results) -> Figures:
    """The figures of a result, by suffix; empty where they show more than its numbers.

    Parameters
    ----------
    results : of the profile, this one among them
    """
    studies = [study for study in DRAWN if belongs_to(name, study)]
    if not studies:
        return {}
    study = max(studies, key=len)
    return DRAWN[study](results, name, name.removeprefix(study).removeprefix("_"))


def _label(data: str) -> str:
    return DATA_LABELS.get(data, data)


def _joint_vs_independent(results: Results, name: str, data: str) -> Figures:
    if data:
        return {}  # more corpora are rows of Table 4 and have no figure of their own
    measures = results[name]["measures"]
    with figures.style():
        figure, (left, right) = plt.subplots(1, 2, figsize=(12, 3.6))
    bars = sorted(by_model(measures).items(), key=lambda pair: -pair[1][0])
    figures.table4_bars(dict(bars), ax=left)
    figures.particles_curve(by_count(measures), ax=right)
    return {"": figure}


def _ablations(results: Results, name: str, data: str) -> Figures:
    return {"": figures.ablation_effects(by_model(results[name]["measures"], "effect"))}


def _accuracy_vs_size(results: Results, name: str, data: str) -> Figures:
    axes = figures.accuracy_vs_size(perplexity_and_size(results[name]["measures"]))
    if data:
        axes[0].figure.suptitle(_label(data))
    return {"": axes}


def _topics_sweep(results: Results, name: str, data: str) -> Figures:
    by_size = {
        model: {int(n): (value, spread) for n, (value, spread) in curve.items()}
        for model, curve in results[name]["extra"]["by_size"].items()
    }
    return {
        "": figures.topics_sweep(by_count(results[name]["measures"])),
        "documents": figures.learning_curve(by_size),
    }


def _convergence(results: Results, name: str, data: str) -> Figures:
    return {"": figures.convergence(results[name]["extra"]["history"])}


def _next_topics(results: Results, name: str, data: str) -> Figures:
    extra = results[name]["extra"]
    forecasts = {model: np.array(rows) for model, rows in extra["forecasts"].items()}
    return {"": figures.topics_ahead(forecasts, extra["leaves"])}


def _recommendation(results: Results, name: str, data: str) -> Figures:
    """The bars of every data set, from the comparison on it, where that is among the results."""
    config = results[name]["config"]
    ranked = {of: results.get(f"user_modeling_{of}") for of in config["data"]}
    return {
        of: figures.ranking_bars(
            users.parts_of(result, config["metric"]), f"{config['metric'].upper()}, {_label(of)}"
        )
        for of, result in ranked.items()
        if result
    }


def _sources(results: Results, name: str, data: str) -> Figures:
    return {"": figures.own_counts_effect(by_model(results[name]["measures"]), _label(data))}


def _collaborative_rnn(results: Results, name: str, data: str) -> Figures:
    measures = results[name]["measures"]
    error, title = collaborative.of_models(measures, "error"), f"Error of users, {_label(data)}"
    return {"": figures.errors_by_model(error, by_model(measures), title)}


def _neural_topic_models(results: Results, name: str, data: str) -> Figures:
    metrics = ("perplexity", "npmi", "diversity")
    columns = [by_model(results[name]["measures"], metric) for metric in metrics]
    return {"": figures.completion_and_topics(*columns)}


def _sentence_vae(results: Results, name: str, data: str) -> Figures:
    nll, elbo, kl = (by_model(results[name]["measures"], m) for m in ("nll", "elbo", "kl"))
    return {"": figures.sentence_bounds(nll, elbo, kl)}


def _corpus_size(results: Results, name: str, data: str) -> Figures:
    measures = results[name]["measures"]
    gains: dict[int, Measured] = {
        int(key.rpartition("=")[2]): (measured["value"], measured["spread"])
        for key, measured in measures.items()
        if key.startswith("gain@documents=")
    }
    with figures.style():
        figure, (left, right) = plt.subplots(1, 2, figsize=(12, 3.6))
    curves = by_count(measures)  # those of models that were fitted to every part
    curves = {model: curve for model, curve in curves.items() if curve.keys() >= gains.keys()}
    figures.learning_curve(curves, ax=left)
    printed = paper("table-4-wikipedia").numbers
    of_paper = 100 * (1 - printed["topic_lla"] / printed["independent"])
    figures.joint_gain(gains, of_paper, ax=right)
    return {"": figure}


DRAWN: dict[str, Draw] = {
    "joint_vs_independent": _joint_vs_independent,
    "ablations": _ablations,
    "accuracy_vs_size": _accuracy_vs_size,
    "topics_sweep": _topics_sweep,
    "convergence": _convergence,
    "samplers": _convergence,
    "user_modeling": _accuracy_vs_size,
    "next_topics": _next_topics,
    "recommendation": _recommendation,
    "sources": _sources,
    "collaborative_rnn": _collaborative_rnn,
    "neural_topic_models": _neural_topic_models,
    "sentence_vae": _sentence_vae,
    "corpus_size": _corpus_size,
}
