"""Figures and word lists of the lecture on neural topic models (Fellenz, 2025).

Samples of the Dirichlet and of the Dirichlet process are drawn as on its slides; its lists of words
stand beside ours where stop words were left in.

The lecture shows topics of restaurant reviews: collapsed ones, which share their words; topics of
stop words; and good ones. ``stop_words.MODEL`` is the share of stop words among the top words of a
model's topics, and ``stop_words.chance`` that among all words of the vocabulary.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from experiments.results import measure
from lla.common.random import family_stream, stream
from lla.corpus import Corpus, Split
from lla.peers.neural_topics import FittedNeuralTopics, bounds
from lla.topics.coherence import topic_npmi, window_counts
from lla.topics.quality import english_stop_words, stop_word_share
from lla.topics.words import top_words

STREAM = family_stream("lecture")
SLIDES = ((0.01, 0.01, 0.01), (100.0, 100.0, 100.0), (5.0, 50.0, 100.0))  # α of the samples shown
COMMON = ("and", "of", "the")  # in a vocabulary with stop words
LISTS = {  # what the lecture calls its lists, and the first of each
    "component collapsing": (
        "find ordered menu want got little great bar vegas went",
        "try best pretty think love good wait staff want bar",
        "wait good try new came minutes ordered better order food",
    ),
    "extreme component collapsing": (
        "time want great food going got [UNK] place wait order",
        "food order like people want ordered wait think time good",
        "got went good people time great place going service order",
    ),
    "stop words": (
        "is are they your do buy always enjoy go favorite",
        "to look 's really so have looking pretty burger see",
        "we warm our were us first ordered stopped potato __num__",
    ),
    "good topics": (
        "Thai soup rice tuna roll",
        "Bartender tables drinks server restaurant",
        "Coffee breakfast cute brunch cafe",
    ),
}
OURS = {  # the model whose topics are shown beside them
    "component collapsing": "prodlda_dropout",
    "extreme component collapsing": "prodlda_collapsed",
    "stop words": "prodlda_dropout",
    "good topics": "prodlda",
}


def dirichlet_draws(n: int = 200) -> dict[str, np.ndarray]:
    """Samples of Dir(α), (n, 3), for each α of the slides."""
    draw = stream(0, STREAM)
    return {f"α = ({', '.join(f'{a:g}' for a in alpha)})": draw.dirichlet(alpha, n)
            for alpha in SLIDES}  # fmt: skip


def process_atoms(
    concentrations: Sequence[float] = (1.0, 5.0, 25.0), n_atoms: int = 200, n: int = 200
) -> dict[str, np.ndarray]:
    """Sizes of a Dirichlet process's atoms, largest first, (n_atoms,), means of `n` samples.

    By breaking a stick (Sethuraman, 1994): π_k = v_k Π_{j<k} (1 - v_j), v ~ Beta(1, α).
    """
    draw, sizes = stream(0, STREAM, 1), {}
    for alpha in concentrations:
        v = draw.beta(1, alpha, (n, n_atoms))
        left = np.cumprod(1 - v, axis=1) / (1 - v)  # of the stick before each break
        sizes[f"α = {alpha:g}"] = -np.sort(-v * left, axis=1).mean(axis=0)
    return sizes


def keeps_stop_words(corpus: Corpus) -> bool:
    """Whether stop words were left in."""
    return set(COMMON) <= set(corpus.vocabulary)


def stop_word_measures(
    split: Split, fits: Mapping[str, Sequence[FittedNeuralTopics]], n_words: int = 10
) -> dict[str, Any]:
    """``stop_words.MODEL`` and ``stop_words.chance``, a value per seed; none without stop words."""
    if not keeps_stop_words(split.corpus) or not fits:
        return {}
    vocabulary = split.corpus.vocabulary
    measures = {
        f"stop_words.{name}": measure(
            [_share(top_words(fit.weights(), vocabulary, n_words)) for fit in of_seeds],
            "stop_words",
        )
        for name, of_seeds in fits.items()
    }
    chance = _share([vocabulary])
    n_seeds = len(next(iter(fits.values())))
    return measures | {"stop_words.chance": measure([chance] * n_seeds, "stop_words")}


def beside_the_lecture(
    split: Split, fits: Mapping[str, Sequence[FittedNeuralTopics]], n_words: int = 10
) -> pd.DataFrame:
    """The lecture's lists and the topics of ours that show the same most, of the first seed."""
    part, rows = bounds.held_out_documents(split), []
    for kind, lists in LISTS.items():
        if OURS[kind] not in fits:
            continue
        words = top_words(fits[OURS[kind]][0].weights(), part.vocabulary, n_words)
        order = np.argsort(-_shows(kind, words, part), kind="stable")
        for theirs, k in zip(lists, order.tolist(), strict=False):
            rows.append([kind, theirs, " ".join(words[k]), OURS[kind]])
    return pd.DataFrame(rows, columns=["list", "the lecture", "ours", "model"])


def _shows(kind: str, words: Sequence[Sequence[str]], part: Corpus) -> np.ndarray:
    """How much each topic is of a kind, (K,)."""
    if kind == "good topics":
        return np.nan_to_num(topic_npmi(window_counts(words, part, None)), nan=-1.0)
    if kind == "stop words":
        return np.array([_share([of_topic]) for of_topic in words])
    count = Counter(word for of_topic in words for word in of_topic)
    return np.array([sum(count[word] > 1 for word in of_topic) for of_topic in words])


def _share(words: Sequence[Sequence[str]]) -> float:
    return stop_word_share(words, english_stop_words())
