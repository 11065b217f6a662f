"""The phrase autoencoder measured: reconstruction, neighbours, opposites, the centre, sentiment."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from data_prep.phrases import PhraseOptions, phrase_counts, prepare_phrases
from data_prep.sentences import DEVELOPMENT, TEST, TRAIN, part_of
from experiments.families import Settings
from experiments.results import cached, measure
from experiments.studies.parallel import run_models
from experiments.study import checkpoint_path
from lla.common.errors import InputError
from lla.common.random import family_stream, stream
from lla.corpus import Corpus, Split
from lla.evaluate import Size
from lla.peers.counts import fit_trigram
from lla.peers.text_autoencoders import (
    FittedPhraseAutoencoder,
    PhraseConfig,
    fit_phrase_autoencoder,
)
from lla.peers.text_autoencoders.neighbours import METRICS, base_rate, n_shared, nearest
from lla.peers.text_autoencoders.phrase_autoencoder import phrase_words

STREAM = family_stream("phrases of a study")
RANDOM = "random pairs"
N_QUERIES = 1000  # test phrases whose neighbours are looked at, at most
COMMON = 2  # words of a neighbour that make it alike
CHANCE = "chance"
SENTIMENTS = (  # the positive word first
    ("best", "worst"), ("great", "terrible"), ("good", "bad"), ("better", "worse"),
    ("excellent", "awful"), ("wonderful", "horrible"), ("amazing", "dreadful"),
    ("beautiful", "ugly"), ("love", "hate"), ("loved", "hated"), ("funny", "boring"),
    ("interesting", "dull"),
)  # fmt: skip
OPPOSITES = (  # in texts without sentiment
    ("first", "last"), ("minimum", "maximum"), ("smallest", "largest"), ("lower", "upper"),
    ("less", "greater"), ("before", "after"), ("input", "output"), ("start", "end"),
    ("true", "false"), ("left", "right"), ("same", "different"), ("negative", "positive"),
    ("source", "target"), ("row", "column"), ("rows", "columns"), ("without", "with"),
)  # fmt: skip


@dataclass(frozen=True)
class PhraseOutcome:
    """Measurements of one fit.

    Attributes
    ----------
    values : by metric: of test phrases ``cross_entropy`` (nats per word given the phrase's own
        vector) and ``exact``, both again of ``unseen`` phrases alone; ``shared`` and
        ``shared_cosine``, the share of nearest training phrases with two words or more in common;
        those of `centre_measures` and `opposite_measures`; with labels also ``purity`` of
        neighbours and ``auc`` of a logistic probe
    size : parameters and bytes
    seconds : of training
    """

    values: Mapping[str, float]
    size: Size
    seconds: float


def prepare(folder: Path, settings: Settings, sentences: Path) -> Corpus:
    """The phrases of a corpus of sentences, made or read back."""
    try:
        options = PhraseOptions(**settings)
    except TypeError as error:
        raise InputError(f"phrases: {error}; see the options of PhraseOptions") from None
    return prepare_phrases(folder, options, sentences, overwrite=True)


def corpus_facts(corpus: Corpus) -> dict[str, float]:
    """Phrases of each part, and the entropy of a training phrase by its count, nats per word."""
    parts, (count, _) = part_of(corpus), phrase_counts(corpus)
    facts: dict[str, float] = {p: int((parts == p).sum()) for p in (TRAIN, DEVELOPMENT, TEST)}
    share = count[parts == TRAIN] / count[parts == TRAIN].sum()
    n_words = phrase_words(corpus).shape[1]
    facts["entropy_per_word"] = float(-(share * np.log(share)).sum() / n_words)
    facts["unseen"] = int(is_unseen(corpus)[parts == TEST].sum())
    return facts


def is_unseen(corpus: Corpus) -> np.ndarray:
    """(D,) whether the phrase is not in the training part."""
    words = phrase_words(corpus)
    trained = {tuple(row) for row in words[part_of(corpus) == TRAIN].tolist()}
    return np.array([tuple(row) not in trained for row in words.tolist()])


def positive_share(corpus: Corpus) -> np.ndarray | None:
    """(D,) share of a phrase's occurrences in positive reviews; None without labels."""
    count, positive = phrase_counts(corpus)
    return None if positive is None else positive / count


def configs_of(models: Mapping[str, Settings], labelled: bool) -> dict[str, PhraseConfig]:
    """Configurations by model; those with a head are left out where there are no labels."""
    configs = {name: PhraseConfig(**settings) for name, settings in models.items()}
    return {name: config for name, config in configs.items() if labelled or config.head == "none"}


def fit(
    split: Split, name: str, config: PhraseConfig, seed: int, cache_dir: Path
) -> FittedPhraseAutoencoder:
    """The fit of a model, run or read back."""
    labels = positive_share(split.corpus) if config.head != "none" else None
    return cached(
        fit_phrase_autoencoder,
        split,
        config,
        seed,
        positive=labels,
        checkpoint=checkpoint_path(cache_dir, "phrases", {"name": name}, seed),
    )


def compare(
    split: Split,
    configs: Mapping[str, PhraseConfig],
    seeds: Sequence[int],
    cache_dir: Path,
    n_neighbours: int,
) -> dict[str, list[PhraseOutcome]]:
    """Measurements of every model, one per seed; fits are read back where they were run before."""
    run = partial(_run, split, cache_dir, n_neighbours)
    return run_models(run, configs, seeds)


def _run(
    split: Split, cache_dir: Path, n_neighbours: int, name: str, config: PhraseConfig, seed: int
) -> PhraseOutcome:
    fitted, corpus = fit(split, name, config, seed, cache_dir), split.corpus
    test, words = part_of(corpus) == TEST, phrase_words(corpus)
    loss = -fitted.log_p(corpus.select(test)) / words.shape[1]
    right = (fitted.reconstruct(corpus.select(test)) == words[test]).all(axis=1)
    values = {"cross_entropy": float(loss.mean()), "exact": float(right.mean())}
    if (unseen := is_unseen(corpus)[test]).any():
        values["cross_entropy_unseen"] = float(loss[unseen].mean())
        values["exact_unseen"] = float(right[unseen].mean())
    latent = fitted.encode(corpus)
    values |= neighbour_measures(corpus, latent, n_neighbours)
    values |= centre_measures(latent[part_of(corpus) == TRAIN], _train_counts(corpus))
    values |= opposite_measures(fitted, corpus, latent)
    return PhraseOutcome(values, fitted.size(), fitted.seconds)


def neighbour_measures(corpus: Corpus, latent: np.ndarray, n_neighbours: int) -> dict[str, float]:
    """What the nearest training phrases of test phrases have in common with them.

    Parameters
    ----------
    latent : (D, L)
    """
    queries, trained, own = _queries(corpus)
    words, share = phrase_words(corpus), positive_share(corpus)
    values = {}
    for metric in METRICS:
        near = nearest(latent[queries], latent[trained], n_neighbours, metric=metric, own=own)
        shared = n_shared(words[queries][:, None], words[trained][near])
        name = "shared" if metric == METRICS[0] else f"shared_{metric}"
        values[name] = float((shared >= COMMON).mean())
        if share is not None and metric == METRICS[0]:
            signs = share > 0.5
            values["purity"] = float((signs[queries][:, None] == signs[trained][near]).mean())
            values["auc"] = probe_auc(latent, corpus)
    return values


def _train_counts(corpus: Corpus) -> np.ndarray:
    """How often each training phrase occurs."""
    return phrase_counts(corpus)[0][part_of(corpus) == TRAIN]


def centre_measures(latent: np.ndarray, count: np.ndarray) -> dict[str, float]:
    """Whether phrases crowd at the centre of the latent space, and which stand there.

    ``central`` is the share of phrases within half the root mean square distance from the mean, by
    Mahalanobis, and ``central_gaussian`` that share of a Gaussian; ``inner`` is how often the more
    frequent of two phrases is nearer to the mean, by Euclid (`inner_share`).

    Parameters
    ----------
    latent, count : (P, L), (P,) how often each phrase occurs
    """
    centred = latent - latent.mean(axis=0)
    size = latent.shape[1]
    precision = np.linalg.pinv(np.cov(centred.T).reshape(size, size))
    squared = ((centred @ precision) * centred).sum(axis=1)  # whose mean is L
    values = {
        "central": float((squared < size / 4).mean()),
        "central_gaussian": float(stats.chi2.cdf(size / 4, size)),
    }
    inner = inner_share(np.linalg.norm(centred, axis=1), count)
    return values | ({} if inner is None else {"inner": inner})


def inner_share(distance: np.ndarray, count: np.ndarray) -> float | None:
    """Of all pairs with different counts, how often the more frequent has the smaller distance.

    It is (1 - γ)/2 with γ, Goodman and Kruskal's rank correlation of distance and count, from
    Kendall's τ_b = (C - D) / √(n_x n_y); n_x and n_y are the pairs that are no ties in either.
    None where all counts are the same.

    Parameters
    ----------
    distance, count : (P,); ties in distance count half
    """
    n_pairs = len(count) * (len(count) - 1) / 2
    untied = n_pairs - _n_ties(count)
    if not untied:
        return None
    scale = np.sqrt(untied * (n_pairs - _n_ties(distance)))
    difference = stats.kendalltau(distance, count).statistic * scale  # C - D
    return float((1 - difference / untied) / 2)


def _n_ties(values: np.ndarray) -> float:
    """Pairs of equal values."""
    n = np.unique(values, return_counts=True)[1].astype(np.float64)
    return float((n * (n - 1)).sum() / 2)


def opposite_measures(
    fitted: FittedPhraseAutoencoder, corpus: Corpus, latent: np.ndarray
) -> dict[str, float]:
    """How far a phrase moves when one of its words becomes the opposite.

    ``opposites`` is the mean distance over that to the phrase with a random word in the same place;
    with a head, ``parted`` is how often it gives the phrase with the positive word the higher
    probability. Neither is there without such phrases.

    Parameters
    ----------
    latent : (D, L) of the phrases
    """
    pairs = OPPOSITES if positive_share(corpus) is None else SENTIMENTS
    rows, opposite, random, is_first = swapped(corpus, pairs)
    if not len(rows):
        return {}
    parts = [phrases_of(words, corpus.vocabulary) for words in (opposite, random)]
    moved = [np.linalg.norm(fitted.encode(part) - latent[rows], axis=1) for part in parts]
    values = {"opposites": float(moved[0].mean() / moved[1].mean())}
    if fitted.network.config.head != "none":
        own, other = fitted.positive(corpus.select(rows)), fitted.positive(parts[0])
        values["parted"] = float(((own > other) == is_first).mean())
    return values


def swapped(
    corpus: Corpus, pairs: Sequence[tuple[str, str]]
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Phrases with one word of these pairs, with its opposite, and with a random word there.

    Returns
    -------
    rows : (Q,) numbers of the phrases; those with two such words are left out
    opposite, random : (Q, n) their words after the swap. The random word is what stands in the
        same place of a phrase drawn
    is_first : (Q,) bool, whether the phrase's own word is the first of its pair
    """
    ids = {word: i for i, word in enumerate(corpus.vocabulary)}
    known = [(ids[a], ids[b]) for a, b in pairs if a in ids and b in ids]
    of = {a: b for a, b in known} | {b: a for a, b in known}
    table = np.full(corpus.n_words, -1)
    table[list(of)] = list(of.values())
    words = phrase_words(corpus)
    rows = np.flatnonzero((table[words] >= 0).sum(axis=1) == 1)
    place = (table[words[rows]] >= 0).argmax(axis=1)
    own = words[rows, place]
    drawn = stream(0, STREAM, 2).integers(len(words), size=len(rows))
    parts = []
    for word in (table[own], words[drawn, place]):
        changed = words[rows].copy()
        changed[np.arange(len(rows)), place] = word
        parts.append(changed)
    first = {a for a, _ in known}
    return rows, parts[0], parts[1], np.isin(own, list(first))


def phrases_of(words: np.ndarray, vocabulary: Sequence[str]) -> Corpus:
    """A corpus of phrases from their words (D, n), the start symbol before each."""
    rows = np.concatenate([np.zeros((len(words), 1), np.int64), words], axis=1)
    return Corpus.from_documents(rows, vocabulary)


def _queries(corpus: Corpus) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Test phrases drawn, all training phrases, and where among these a query itself stands."""
    parts, words = part_of(corpus), phrase_words(corpus)
    test, trained = np.flatnonzero(parts == TEST), np.flatnonzero(parts == TRAIN)
    queries = np.sort(stream(0, STREAM).permutation(test)[:N_QUERIES])
    places = {tuple(row): i for i, row in enumerate(words[trained].tolist())}
    own = np.array([places.get(tuple(row), -1) for row in words[queries].tolist()])
    return queries, trained, own


def probe_auc(latent: np.ndarray, corpus: Corpus) -> float:
    """Area under the ROC curve of a logistic regression on the latent vectors, on unseen reviews.

    Every occurrence of a phrase is a case, its review's label the answer.
    """
    from sklearn.linear_model import LogisticRegression

    parts = part_of(corpus)
    count, positive = phrase_counts(corpus)
    assert positive is not None
    rows = np.flatnonzero(parts == TRAIN)
    model = LogisticRegression()
    labels = np.repeat([1, 0], len(rows))
    weights = np.concatenate([positive[rows], (count - positive)[rows]])
    model.fit(np.concatenate([latent[rows]] * 2), labels, sample_weight=weights)
    return occurrence_auc(model.decision_function(latent), corpus)


def occurrence_auc(scores: np.ndarray, corpus: Corpus) -> float:
    """Area under the ROC curve of scores (D,) over all occurrences of test phrases."""
    from sklearn.metrics import roc_auc_score

    rows = np.flatnonzero(part_of(corpus) == TEST)
    count, positive = phrase_counts(corpus)
    assert positive is not None
    labels = np.repeat([1, 0], len(rows))
    weights = np.concatenate([positive[rows], (count - positive)[rows]])
    return float(roc_auc_score(labels, np.tile(scores[rows], 2), sample_weight=weights))


def baselines(split: Split) -> dict[str, float]:
    """What the measures are without an autoencoder.

    ``cross_entropy.trigram`` is of test phrases that the trigram has not read, so it is of another
    kind than an autoencoder's; ``shared.``, ``purity.random pairs`` are of test phrases beside
    random training phrases. With labels ``auc.own share`` ranks test phrases by their own labels:
    no function of the words can be above it. ``inner.``, ``parted.chance`` and
    ``opposites.random pairs`` are what they are where nothing is to be found.
    """
    corpus = split.corpus
    test, words = part_of(corpus) == TEST, phrase_words(corpus)
    values = {
        "cross_entropy.trigram": float(
            -fit_trigram(split).score(split)[test].mean() / words.shape[1]
        )
    }
    queries, trained, _ = _queries(corpus)
    pairs = stream(0, STREAM, 1).choice(trained, len(queries))
    values |= {f"inner.{CHANCE}": 0.5, f"opposites.{RANDOM}": 1.0}
    values[f"shared.{RANDOM}"] = float((n_shared(words[queries], words[pairs]) >= COMMON).mean())
    if (share := positive_share(corpus)) is not None:
        values[f"parted.{CHANCE}"] = 0.5
        values[f"purity.{RANDOM}"] = base_rate(share[part_of(corpus) == TRAIN] > 0.5)
        values["auc.own share"] = occurrence_auc(share, corpus)
    return values


def measures_of(
    found: Mapping[str, Sequence[PhraseOutcome]], base: Mapping[str, float]
) -> dict[str, Any]:
    """Measures of a result file: one value per seed of every model, and the baselines."""
    n_seeds = len(next(iter(found.values())))
    measures = {
        name: measure([value] * n_seeds, name.partition(".")[0]) for name, value in base.items()
    }
    for model, runs in found.items():
        for name in runs[0].values:
            measures[f"{name}.{model}"] = measure([run.values[name] for run in runs], name)
        measures[f"parameters.{model}"] = measure([r.size.parameters for r in runs], "parameters")
        measures[f"seconds.{model}"] = measure([r.seconds for r in runs], "seconds")
    return measures


def query_corpus(corpus: Corpus, queries: Sequence[str]) -> Corpus:
    """The phrases asked for, as documents.

    Raises
    ------
    InputError
        When one has another number of words, or a word that is not known.
    """
    ids = {word: i for i, word in enumerate(corpus.vocabulary)}
    n_words, rows = phrase_words(corpus).shape[1], []
    for query in queries:
        words = query.lower().split()
        if unknown := [word for word in words if word not in ids]:
            raise InputError(f"query {query!r}: {unknown[0]} is no word of the phrases; ask others")
        if len(words) != n_words:
            raise InputError(f"query {query!r}: {len(words)} words; give {n_words}")
        rows.append([0, *(ids[word] for word in words)])
    return Corpus.from_documents(rows, corpus.vocabulary)


def nearest_phrases(
    fits: Mapping[str, FittedPhraseAutoencoder],
    corpus: Corpus,
    queries: Sequence[str],
    n_neighbours: int,
    metric: str = METRICS[0],
) -> pd.DataFrame:
    """The nearest training phrases of every query but itself, a column per model."""
    asked = query_corpus(corpus, queries)
    trained = corpus.select(part_of(corpus) == TRAIN)
    words = phrase_words(trained)
    places = {tuple(row): i for i, row in enumerate(words.tolist())}
    own = np.array([places.get(tuple(row), -1) for row in phrase_words(asked).tolist()])
    columns = {}
    for name, fitted in fits.items():
        near = nearest(
            fitted.encode(asked), fitted.encode(trained), n_neighbours, metric=metric, own=own
        )
        columns[name] = [
            " ".join(corpus.vocabulary[w] for w in words[i]) for row in near for i in row
        ]
    index = pd.MultiIndex.from_product([queries, range(1, n_neighbours + 1)])
    return pd.DataFrame(columns, index=index)


def excludes_queries(
    fits: Mapping[str, FittedPhraseAutoencoder], corpus: Corpus, n_queries: int = 5
) -> bool:
    """Whether the first training phrases are not among their own neighbours."""
    words = phrase_words(corpus.select(part_of(corpus) == TRAIN))[:n_queries]
    queries = [" ".join(corpus.vocabulary[w] for w in row) for row in words]
    table = nearest_phrases(fits, corpus, queries, 3)
    return all((table[name].loc[query] != query).all() for name in table for query in queries)
