"""Sentence VAEs beside language models: bounds, what the latent vector says, paths of sentences."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from data_prep.sentences import DEVELOPMENT, END, START, TEST, TRAIN, UNKNOWN, part_of
from experiments import study
from experiments.claims import Scores, scores_of
from experiments.families import Settings
from experiments.results import measure
from experiments.studies.parallel import run_models
from lla.common.random import family_stream, stream
from lla.corpus import Corpus, Split
from lla.evaluate import Fitted, Size
from lla.evaluate.perplexity import perplexity
from lla.peers.text_autoencoders import FittedSentenceVAE
from lla.peers.text_autoencoders.measures import (
    active_units,
    exact_share,
    mean_kl,
    mutual_information,
    word_accuracy,
)

STREAM = family_stream("sentences of a study")
REPRODUCED = ("exact", "accuracy")  # of autoencoders, too
LATENT = ("kl", "mutual_information", "active_units", *REPRODUCED)  # of VAEs alone
LANGUAGE_MODEL, TRIGRAM = "sentence_lm", "trigram"  # by which decoded sentences are judged


@dataclass(frozen=True)
class SentenceOutcome:
    """Measurements of one fit on the test sentences.

    Attributes
    ----------
    scores : (R,) importance-weighted bound of every sentence, nats; exact without a latent vector.
        A plain autoencoder has no bound, and nothing here
    elbo : (R,) the same at one sample
    latent : `LATENT` measures; empty for a model without a latent vector, of a plain autoencoder
        `REPRODUCED` alone
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
    if is_plain(settings):
        found = latent_measures(fitted, test.corpus, seed)
        kept = {name: found[name] for name in REPRODUCED}
        none = np.empty(0)
        return SentenceOutcome(none, none, kept, fitted.size(), fitted.seconds)
    scores = fitted.score(test, seed=seed)
    elbo, latent = scores, {}
    if isinstance(fitted, FittedSentenceVAE) and fitted.network.config.latent_size:
        elbo = fitted.score(test, seed=seed, n_samples=1)
        latent = latent_measures(fitted, test.corpus, seed)
    return SentenceOutcome(scores, elbo, latent, fitted.size(), fitted.seconds)


def is_plain(settings: Settings) -> bool:
    """Whether these are a plain autoencoder's, whose latent vector has no prior."""
    return settings.get("beta") == 0


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
        } if len(runs[0].scores) else {}  # fmt: skip
        values["parameters"] = [r.size.parameters for r in runs]
        values["seconds"] = [r.seconds for r in runs]
        values |= {name: [r.latent[name] for r in runs] for name in runs[0].latent}
        measures |= {f"{name}.{model}": measure(row, name) for name, row in values.items()}
    return measures


def sentence_scores(
    split: Split, seeds: Sequence[int], found: Mapping[str, Sequence[SentenceOutcome]]
) -> Scores:
    """Of every test sentence and model, the bound that the perplexity is computed from."""
    rows = {m: [r.scores for r in runs] for m, runs in found.items() if len(runs[0].scores)}
    return scores_of(split, seeds, rows, unit="sentences", documents=is_reported(split))


def decoded_measures(
    split: Split,
    models: Mapping[str, Settings],
    seeds: Sequence[int],
    cache_dir: Path,
    n_sentences: int,
    n_steps: int,
) -> dict[str, Any]:
    """Measures of sentences on paths between test sentences, and of sentences from the prior.

    See `path_row` and `prior_row`; nothing where the models that judge them are not run.

    Parameters
    ----------
    n_sentences : drawn from the prior, and at both ends of paths
    n_steps : sentences decoded on a path, its ends counted
    """
    if not {LANGUAGE_MODEL, TRIGRAM} <= models.keys():
        return {}
    test = test_sentences(split.corpus)
    rows: dict[str, list[dict[str, float]]] = {}
    for seed in seeds:
        fits = {
            name: study.fit(split, name, settings, seed, cache_dir)
            for name, settings in models.items()
        }
        judges = fits[LANGUAGE_MODEL], fits[TRIGRAM]
        for name, fitted in fits.items():
            if not isinstance(fitted, FittedSentenceVAE):
                continue
            row = prior_row(fitted, judges[1], test, n_sentences, seed)
            if fitted.network.config.latent_size:
                row |= path_row(fitted, judges[0], test, n_sentences // 2, n_steps, seed)
            rows.setdefault(name, []).append(row)
    return {
        f"{metric}.{name}": measure([row[metric] for row in of_seeds], metric)
        for name, of_seeds in rows.items()
        for metric in of_seeds[0]
    }


def prior_row(
    fitted: FittedSentenceVAE, trigram: Fitted, corpus: Corpus, n: int, seed: int
) -> dict[str, float]:
    """What is decoded at z ~ N(0, I).

    ``prior_perplexity`` is the trigram's, of sentences whose words are drawn, and
    ``prior_repeated`` the share of them that repeat another; ``prior_distinct`` is the share of
    greedy sentences, which z alone decides, that differ. The unknown word is never decoded.
    """
    first, last, unknown = marks_of(corpus)
    z = stream(seed, STREAM, 2).standard_normal((n, fitted.network.config.latent_size))
    drawn = fitted.sample(z, first, last, seed, without=[unknown])
    row = {
        "prior_perplexity": perplexity_under(trigram, as_split(drawn, corpus)),
        "prior_repeated": 1 - n_distinct(drawn) / n,
    }
    if fitted.network.config.latent_size:
        greedy = fitted.decode(z, first, last, without=[unknown])
        row["prior_distinct"] = n_distinct(greedy) / n
    return row


def path_row(
    fitted: FittedSentenceVAE,
    language_model: Fitted,
    corpus: Corpus,
    n_paths: int,
    n_steps: int,
    seed: int,
) -> dict[str, float]:
    """Greedy sentences between the latent means of two sentences, the ends of the line left out.

    ``path_perplexity`` is the language model's; ``path_shared`` how much they have in common with
    the two sentences (`shared_words`, a mean over both); ``path_distinct`` the share of a path's
    sentences, ends of the line counted, that differ.
    """
    first, last, unknown = marks_of(corpus)
    n_paths = min(n_paths, corpus.n_documents // 2)
    drawn = stream(seed, STREAM, 3).permutation(corpus.n_documents)[: 2 * n_paths]
    ends, _ = fitted.posterior(corpus.select(drawn))  # (2P, L)
    share = np.linspace(0, 1, n_steps)[:, None]
    lines = [(1 - share) * a + share * b for a, b in zip(ends[::2], ends[1::2], strict=True)]
    decoded = fitted.decode(np.concatenate(lines), first, last, without=[unknown])
    on_paths = [decoded[i : i + n_steps] for i in range(0, len(decoded), n_steps)]
    pairs = zip(drawn[::2].tolist(), drawn[1::2].tolist(), strict=True)
    shared = [
        shared_words(sentence, corpus.document(d)[1:-1].tolist())
        for on_path, of_ends in zip(on_paths, pairs, strict=True)
        for sentence in on_path[1:-1]
        for d in of_ends
    ]
    inner = [sentence for on_path in on_paths for sentence in on_path[1:-1]]
    return {
        "path_perplexity": perplexity_under(language_model, as_split(inner, corpus)),
        "path_shared": float(np.mean(shared)),
        "path_distinct": float(np.mean([n_distinct(on_path) / n_steps for on_path in on_paths])),
    }


def shared_words(one: Sequence[int], other: Sequence[int]) -> float:
    """Different words in both over different words in either, 0 where neither has one."""
    either = set(one) | set(other)
    return len(set(one) & set(other)) / len(either) if either else 0.0


def n_distinct(sentences: Sequence[Sequence[int]]) -> int:
    """How many of the sentences differ."""
    return len({tuple(sentence) for sentence in sentences})


def marks_of(corpus: Corpus) -> tuple[int, int, int]:
    """The ids of the start, the end and the unknown word."""
    first, last, unknown = (corpus.vocabulary.index(mark) for mark in (START, END, UNKNOWN))
    return first, last, unknown


def as_split(sentences: Sequence[Sequence[int]], corpus: Corpus) -> Split:
    """Sentences of words of a corpus, each to be predicted from its start to its end."""
    first, last, _ = marks_of(corpus)
    made = Corpus.from_documents([[first, *s, last] for s in sentences], corpus.vocabulary)
    n_observed = np.ones(len(sentences), np.int64)
    nothing = np.zeros(len(sentences), bool)
    return Split(made, made.beginnings(n_observed), n_observed, nothing)


def perplexity_under(fitted: Fitted, split: Split) -> float:
    """Per word and end of sentence."""
    return perplexity(fitted.score(split), split)


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
