"""Sentence VAEs beside language models: bounds, what the latent vector says, paths of sentences."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from data_prep.sentences import DEVELOPMENT, TEST, TRAIN, UNKNOWN, part_of
from experiments import study
from experiments.claims import Scores, scores_of
from experiments.families import Settings
from experiments.results import measure
from experiments.studies.parallel import run_models
from lla.common.random import family_stream, stream
from lla.corpus import Corpus, Split
from lla.evaluate import Size
from lla.peers.text_autoencoders import FittedSentenceVAE
from lla.peers.text_autoencoders.measures import (
    active_units,
    exact_share,
    mean_kl,
    mutual_information,
    word_accuracy,
)

STREAM = family_stream("sentences of a study")
LATENT = ("kl", "mutual_information", "active_units", "exact", "accuracy")  # of VAEs alone


@dataclass(frozen=True)
class SentenceOutcome:
    """Measurements of one fit on the test sentences.

    Attributes
    ----------
    scores : (R,) importance-weighted bound of every sentence, nats; exact without a latent vector
    elbo : (R,) the same at one sample
    latent : `LATENT` measures; empty for a model without a latent vector
    size : parameters and bytes
    seconds : of training
    """

    scores: np.ndarray
    elbo: np.ndarray
    latent: Mapping[str, float]
    size: Size
    seconds: float


def compare(
    split: Split, models: Mapping[str, Settings], seeds: Sequence[int], cache_dir: Path
) -> dict[str, list[SentenceOutcome]]:
    """Measurements of every model, one per seed; fits are read back where they were run before."""
    return run_models(partial(_run, split, cache_dir), models, seeds)


def _run(
    split: Split, cache_dir: Path, name: str, settings: Settings, seed: int
) -> SentenceOutcome:
    fitted = study.fit(split, name, settings, seed, cache_dir)
    test = split.restrict(is_reported(split))
    scores = fitted.score(test, seed=seed)
    elbo, latent = scores, {}
    if isinstance(fitted, FittedSentenceVAE) and fitted.network.config.latent_size:
        elbo = fitted.score(test, seed=seed, n_samples=1)
        latent = latent_measures(fitted, test.corpus, seed)
    return SentenceOutcome(scores, elbo, latent, fitted.size(), fitted.seconds)


def is_reported(split: Split) -> np.ndarray:
    """(D,) bool, the test sentences."""
    return split.reported & (split.n_held_out > 0)


def test_sentences(corpus: Corpus) -> Corpus:
    """The sentences of the test part."""
    return corpus.select(part_of(corpus) == TEST)


def latent_measures(fitted: FittedSentenceVAE, corpus: Corpus, seed: int) -> dict[str, float]:
    """`LATENT`: nats, nats, dimensions, and the shares of sentences and of words reproduced."""
    mean, variance = fitted.posterior(corpus)
    noise = stream(seed, STREAM).standard_normal(mean.shape)
    decoded = fitted.reconstruct(corpus)
    words = [corpus.document(d)[1:-1] for d in range(corpus.n_documents)]
    return {
        "kl": mean_kl(mean, variance),
        "mutual_information": mutual_information(mean, variance, noise),
        "active_units": active_units(mean),
        "exact": exact_share(decoded, words),
        "accuracy": word_accuracy(decoded, words),
    }


def with_state_size(models: Mapping[str, Settings], hidden_size: int) -> dict[str, Settings]:
    """The same settings with another state size, for the models that have one."""
    return {
        name: of | ({"hidden_size": hidden_size} if "hidden_size" in of else {})
        for name, of in models.items()
    }


def sources_are_apart(corpus: Corpus) -> bool:
    """Whether no module or review has sentences in two parts."""
    pairs = {tuple(name.split("/", 1)) for name in corpus.names}
    return len({source for _, source in pairs}) == len(pairs)


def corpus_facts(corpus: Corpus) -> dict[str, int]:
    """Sentences of each part, words without their marks, and the vocabulary."""
    parts = part_of(corpus)
    counts = {part: int((parts == part).sum()) for part in (TRAIN, DEVELOPMENT, TEST)}
    unknown = int((corpus.words == corpus.vocabulary.index(UNKNOWN)).sum())
    n_words = corpus.n_tokens - 2 * corpus.n_documents
    return {**counts, "words": n_words, "unknown": unknown, "vocabulary": corpus.n_words - 3}


def measures_of(split: Split, found: Mapping[str, Sequence[SentenceOutcome]]) -> dict[str, Any]:
    """Measures of a result file: one value per seed of every model.

    ``perplexity.`` per word and end, ``nll.`` and ``elbo.`` (of its negative) in nats per sentence,
    ``parameters.``, ``seconds.MODEL``, and `LATENT` of VAEs.
    """
    n_words = split.n_held_out[is_reported(split)].sum()
    measures: dict[str, Any] = {}
    for model, runs in found.items():
        values = {
            "perplexity": [np.exp(-r.scores.sum() / n_words) for r in runs],
            "nll": [-r.scores.mean() for r in runs],
            "elbo": [-r.elbo.mean() for r in runs],
            "parameters": [r.size.parameters for r in runs],
            "seconds": [r.seconds for r in runs],
        }
        values |= {name: [r.latent[name] for r in runs] for name in LATENT if runs[0].latent}
        measures |= {f"{name}.{model}": measure(row, name) for name, row in values.items()}
    return measures


def sentence_scores(
    split: Split, seeds: Sequence[int], found: Mapping[str, Sequence[SentenceOutcome]]
) -> Scores:
    """Of every test sentence and model, the bound that the perplexity is computed from."""
    rows = {model: [r.scores for r in runs] for model, runs in found.items()}
    return scores_of(split, seeds, rows, unit="sentences", documents=is_reported(split))


def paths(
    fitted: FittedSentenceVAE, corpus: Corpus, n_paths: int, n_steps: int, seed: int, beam: int = 1
) -> pd.DataFrame:
    """Sentences decoded on the line between the latent means of two sentences, a column per path.

    The ends are printed as they were written, in the rows "from" and "to". Sentences with an
    unknown word are not drawn, and none is decoded.
    """
    unknown = corpus.vocabulary.index(UNKNOWN)
    known = [d for d in range(corpus.n_documents) if unknown not in corpus.document(d)]
    drawn: list[int] = stream(seed, STREAM, 1).permutation(known)[: 2 * n_paths].tolist()
    rows = ["from", *(f"{i / (n_steps - 1):.2f}" for i in range(n_steps)), "to"]
    columns = {}
    for number, (a, b) in enumerate(zip(drawn[::2], drawn[1::2], strict=True), 1):
        decoded = fitted.interpolate(corpus, (a, b), n_steps, beam=beam, without=[unknown])
        ends = [corpus.document(d)[1:-1].tolist() for d in (a, b)]
        sentences = [ends[0], *decoded, ends[1]]
        columns[f"path {number}"] = [" ".join(corpus.vocabulary[w] for w in s) for s in sentences]
    return pd.DataFrame(columns, index=rows)


def distinct_share(table: pd.DataFrame) -> float:
    """Mean share of a path's decoded sentences that differ."""
    inner = table.iloc[1:-1]
    return float(np.mean([inner[path].nunique() / len(inner) for path in inner]))
