"""Word lists of the lecture beside ours, where stop words were left in (Fellenz, 2025).

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
from lla.corpus import Corpus, Split
from lla.peers.neural_topics import FittedNeuralTopics, bounds
from lla.topics.coherence import topic_npmi, window_counts
from lla.topics.quality import english_stop_words, stop_word_share
from lla.topics.words import top_words

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
