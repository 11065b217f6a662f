"""What notebooks on topics share: a reference corpus, and quality seed by seed."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from data_prep.clicks.simulate import true_leaves, world_of
from experiments import study
from experiments.corpora import prepare_corpus
from experiments.families import Settings
from experiments.results import load_result, measure, require, work_dir
from lla.common.errors import InputError
from lla.corpus import Corpus, Split, load_corpus, split_corpus
from lla.lda import LDA
from lla.model import Model
from lla.model.dynamics import MemoryCurve
from lla.samplers.lda import document_topic_counts
from lla.topics.hierarchy import (
    Hierarchy,
    cooccurrence_embedding,
    cophenetic_correlation,
    topic_hierarchy,
)
from lla.topics.proximity import sequence_proximity
from lla.topics.quality import topic_quality
from lla.topics.words import true_topics

REFERENCE_VOCABULARY = 50_000
LEVEL = 0.05  # of a permutation test
UNITS = {
    "npmi": "NPMI",
    "c_v": "C_V",
    "diversity": "share of words",
    "uniqueness": "uniqueness",
    "stop_words": "share of words",
    "junk": "share of words",
}


def reference_corpus(profile: str, corpus: Corpus, inputs: Sequence[str] = ()) -> Corpus:
    """The documents of the corpus's source that are not in it, with all of their words.

    Coherence on the training text would reward what a model has learned by heart; these are other
    texts of the same kind.

    Parameters
    ----------
    corpus : the profile's corpus of text, whose documents have names
    inputs : of a source that reads files, as in notebook 01

    Raises
    ------
    InputError
        When documents have no names, or none is left.
    """
    prepared = load_result(profile, "data_prep")
    source = prepared["extra"]["source"].partition(":")[0]
    settings = prepared["config"] | {
        "documents": ":",
        "sample": None,
        "max_words": None,
        "vocabulary": REFERENCE_VOCABULARY,
    }
    whole = prepare_corpus(source, work_dir(profile) / "reference", settings, inputs)
    if not corpus.names or not whole.names:
        raise InputError(
            f"{source}: its documents have no names, by which others can be told apart"
        )
    others = ~np.isin(whole.names, corpus.names)
    if not others.any():
        raise InputError(
            f"{source}: all of its documents are in the corpus; give `documents` fewer"
        )
    return whole.select(others)


def phis_of(
    split: Split,
    name: str,
    settings: Settings,
    seeds: Sequence[int],
    cache_dir: Path,
    ldas: Sequence[LDA],
) -> list[np.ndarray]:
    """φ (V, K) of a model for each seed, fitted or read back; of an LLA or of ddLDA."""
    found = []
    for seed, lda in zip(seeds, ldas, strict=True):
        fit = study.fit(split, name, settings, seed, cache_dir, start=lda)
        found.append(fit.phi() if hasattr(fit, "phi") else fit.emission.phi.numpy())
    return found


def quality_measures(
    models: Mapping[str, Sequence[np.ndarray]], training: Corpus, reference: Corpus, n: int = 10
) -> dict[str, dict[str, object]]:
    """Measures ``METRIC.MODEL``, a value per seed; stability over seeds has one value.

    Parameters
    ----------
    models : name -> φ (V, K) of each seed
    n : words of each topic
    """
    table = topic_quality(models, training, reference, n=n)
    measures = {}
    for name, phis in models.items():
        alone = [topic_quality({name: [phi]}, training, reference, n=n).loc[name] for phi in phis]
        for metric, unit in UNITS.items():
            measures[f"{metric}.{name}"] = measure([row[metric] for row in alone], unit)
        if len(phis) > 1:
            stability = float(table.loc[name, "stability"])
            measures[f"stability.{name}"] = measure([stability], "share of words")
    return measures


def proximity_measures(
    models: Sequence[Model],
    ldas: Sequence[LDA],
    offsets: np.ndarray,
    lags: Sequence[int],
    n_permutations: int,
) -> dict[str, dict[str, object]]:
    """Rank correlation of closeness in embedding and sequence, ``proximity.EMBEDDING@LAG``.

    With the p-value of each, ``p_value.EMBEDDING@LAG``, a value per seed. The embeddings are
    topic LLA's own, and those of its topics and of LDA's by the documents that they share.
    """
    found: dict[str, list[float]] = {}
    for model, lda in zip(models, ldas, strict=True):
        own = model.topic_embedding()
        counts = document_topic_counts(offsets, model.topics, len(own))
        embeddings = {
            "topic_lla": (own, model.topics),
            "co-occurrence of its topics": (cooccurrence_embedding(counts), model.topics),
            "co-occurrence of LDA's topics": (
                cooccurrence_embedding(lda.document_topic()),
                lda.topics,
            ),
        }
        for name, (embedding, topics) in embeddings.items():
            table = sequence_proximity(
                embedding, topics, offsets, lags=lags, n_permutations=n_permutations
            )
            for lag in lags:
                row = table.loc[lag]
                found.setdefault(f"proximity.{name}@{lag}", []).append(float(row["correlation"]))
                found.setdefault(f"p_value.{name}@{lag}", []).append(float(row["p_value"]))
    return {
        name: measure(values, "rank correlation" if name.startswith("proximity") else "p-value")
        for name, values in found.items()
    } | {"p_value.level": measure([LEVEL] * len(models), "p-value")}


def memory_measures(curve: MemoryCurve, distances: Sequence[int] = (1, 2, 5, 10, 20)) -> dict:
    """Effect of one past topic on the prediction, ``memory.topic_lla@DISTANCE``."""
    return {
        f"memory.topic_lla@{distance}": measure([float(effect)], "total variation")
        for distance, effect in zip(curve.distance, curve.effect, strict=True)
        if distance in distances
    }


class UsersTree(NamedTuple):
    """The hierarchy of a users' model: its topics' names, and how far it is the true one.

    measures : ``tree.MODEL``, the cophenetic correlation with the true tree of interests, where
        users are simulated; empty elsewhere
    """

    hierarchy: Hierarchy
    names: list[str]
    measures: dict[str, dict[str, object]]


def users_tree(profile: str, data: str, name: str = "topic_lla") -> UsersTree:
    """The hierarchy of the topics that a model of notebook 10 has learned, of its first seed.

    Topics of simulated users are named by the interest that most of their events have.
    """
    result = load_result(profile, f"user_modeling_{data}")
    folder = require(profile, f"users/{data}/corpus", "10_user_modeling").parent
    split = split_corpus(load_corpus(folder / "corpus"))
    config, seed = result["config"], result["seeds"][0]
    lda = study.fit(split, "lda", config["lda"], seed, folder)
    model: Model = study.fit(split, name, config["models"][name], seed, folder, start=lda)
    hierarchy = topic_hierarchy(model.topic_embedding())
    if "clicks" not in split.corpus.manifest:
        return UsersTree(hierarchy, model.topic_names(3), {})
    world, leaves = world_of(split.corpus), true_leaves(split.corpus)[~split.held_out]
    n_topics = len(model.topic_embedding())
    of_leaf = true_topics(model.topics, leaves, n_topics, len(world.leaves))  # (K, leaves)
    of_root = of_leaf @ (world.leaf_root[:, None] == np.arange(len(world.roots)))  # (K, roots)
    # How probable it is that events of two topics are of different roots.
    truth = 1 - of_root @ of_root.T
    agreement = cophenetic_correlation(hierarchy.cophenetic(), truth)
    names = [world.leaves[k] for k in of_leaf.argmax(axis=1)]
    measures = {f"tree.{name}": measure([agreement], "cophenetic correlation")}
    return UsersTree(hierarchy, names, measures)
