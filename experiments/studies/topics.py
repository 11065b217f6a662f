"""What notebooks on topics share: a reference corpus, and quality seed by seed."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from experiments import study
from experiments.corpora import prepare_corpus
from experiments.families import Settings
from experiments.results import load_result, measure, work_dir
from lla.common.errors import InputError
from lla.corpus import Corpus, Split
from lla.lda import LDA
from lla.topics.quality import topic_quality

REFERENCE_VOCABULARY = 50_000
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
        raise InputError(f"{source}: its documents have no names, by which others can be told apart")
    others = ~np.isin(whole.names, corpus.names)
    if not others.any():
        raise InputError(f"{source}: all of its documents are in the corpus; give `documents` fewer")
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
