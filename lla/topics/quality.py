"""The quality of topics in numbers: coherence, diversity, junk, and stability over seeds."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

from lla.common.errors import InputError, check_instance, check_integer, check_list, check_texts
from lla.corpus import Corpus
from lla.topics.coherence import (
    CV_WINDOW,
    NPMI_WINDOW,
    check_topic_words,
    topic_cv,
    topic_npmi,
    window_counts,
)
from lla.topics.words import check_phi, top_word_ids, top_words

if TYPE_CHECKING:
    import pandas as pd

SHORT_WORD = 2  # letters


def topic_quality(
    models: Mapping[str, Sequence[np.ndarray]],
    training: Corpus,
    reference: Corpus,
    *,
    n: int = 10,
    stop_words: Collection[str] | None = None,
    npmi_window: int | None = NPMI_WINDOW,
    cv_window: int | None = CV_WINDOW,
) -> "pd.DataFrame":
    """A row per model: how good its topics are, by their `n` likeliest words.

    Parameters
    ----------
    models : name -> φ (V, K) of each seed
    training : the corpus that the models were fitted to
    reference : other documents, in which words that belong together occur together; a corpus that
        contains the training text would reward what a model has learned by heart
    n : words of each topic
    stop_words : by default gensim's 337 English ones
    npmi_window, cv_window : tokens of the sliding window; None counts documents

    Returns
    -------
    DataFrame
        Means over topics and seeds, of topics with two or more words that the reference has:
        `npmi`, `c_v`, and their standard deviations over seeds (`npmi_std`, `c_v_std`, NaN for
        one seed). Then `unrated`, the share of the other topics, and `missing`, the share of top
        words that the reference lacks; both are left out of the coherence. `diversity`,
        `uniqueness`, `stop_words` and `junk` are described at the functions of these names;
        `stability` over seeds is NaN for one.

    Raises
    ------
    InputError
        When the reference is the training corpus, or has its documents, observed or whole.
    """
    import pandas as pd

    check_instance("training", training, Corpus)
    check_reference(reference, training)
    check_integer("n", n, least=2)
    excluded = english_stop_words() if stop_words is None else check_texts("stop_words", stop_words)
    fits = _check_models(models, training.n_words)
    words = [top_words(phi, training.vocabulary, n) for of in fits.values() for phi in of]
    every = [of_topic for topics in words for of_topic in topics]
    near = window_counts(every, reference, npmi_window)
    rated = {"npmi": topic_npmi(near)}
    rated["c_v"] = topic_cv(window_counts(every, reference, cv_window))
    seeds, first_topic, rows = iter(words), 0, {}
    for name, phis in fits.items():
        of_seeds = []
        for _ in phis:
            topics = next(seeds)
            part = slice(first_topic, first_topic + len(topics))
            first_topic = part.stop
            coherence = {key: values[part] for key, values in rated.items()}
            of_seeds.append(_of_one_seed(topics, coherence, near.known[part], excluded))
        rows[name] = _over_seeds(of_seeds) | {"stability": stability(phis, n)}
    table = pd.DataFrame.from_dict(rows, orient="index")
    table.index.name = "model"
    return table


def diversity(topics: Sequence[Sequence[str]]) -> float:
    """Share of distinct words among all top words (Dieng, Ruiz and Blei, 2020)."""
    every = [word for words in check_topic_words(topics) for word in words]
    return len(set(every)) / len(every)


def diverse_topics(topics: Sequence[Sequence[str]], least: float) -> np.ndarray:
    """Numbers of the topics left, in order, when their `diversity` is to be at least `least`.

    One by one the topic is left out that shares most words with the others, the last one of
    several. Models that repeat words can then be compared with others at the same diversity.
    """
    words = check_topic_words(topics)
    left = list(range(len(words)))
    while len(left) > 1 and diversity([words[k] for k in left]) < least:
        count = Counter(word for k in left for word in words[k])
        left.remove(max(left, key=lambda k: (sum(count[word] > 1 for word in words[k]), k)))
    return np.array(left)


def uniqueness(topics: Sequence[Sequence[str]]) -> float:
    """Topic uniqueness of Nan et al. (2019): the mean of 1 / (topics that have the word).

    From 1/K, where all topics have the same words, to 1, where no two share any.
    """
    words = check_topic_words(topics)
    count = Counter(word for of_topic in words for word in of_topic)
    means = [np.mean([1 / count[word] for word in of_topic]) for of_topic in words if of_topic]
    return float(np.mean(means))


def stop_word_share(topics: Sequence[Sequence[str]], stop_words: Collection[str]) -> float:
    """Share of stop words among all top words, in either case."""
    excluded = {word.lower() for word in check_texts("stop_words", stop_words)}
    every = [word for words in check_topic_words(topics) for word in words]
    return sum(word.lower() in excluded for word in every) / len(every)


def junk_share(topics: Sequence[Sequence[str]]) -> float:
    """Share of words of one or two letters, or with a digit, among all top words.

    It means something for words of alphabetic scripts, and nothing for items of users.
    """
    every = [word for words in check_topic_words(topics) for word in words]
    return sum(is_junk(word) for word in every) / len(every)


def is_junk(word: str) -> bool:
    """Whether a word has one or two characters, or a digit."""
    return len(word) <= SHORT_WORD or any(character.isdigit() for character in word)


def stability(phis: Sequence[np.ndarray], n: int = 10) -> float:
    """How well topics are found again with another seed: from 0 to 1; NaN for one seed.

    For every pair of seeds topics are matched one to one so that the sum of the Jaccard indices
    |A ∩ B| / |A ∪ B| of their `n` likeliest words is largest; the mean over topics and pairs.

    Parameters
    ----------
    phis : (V, K) of each seed
    """
    phis = check_list("phis", phis, "a list of φ, one per seed")
    check_integer("n", n)
    if not phis:
        raise InputError("phis: there is none; give φ of two seeds or more")
    for phi in phis:
        check_phi(phi)
        if phi.shape != phis[0].shape:
            raise InputError(f"phis: {phi.shape} and {phis[0].shape}; give one (V, K) for all")
    found = [matched_jaccard(one, other, n) for one, other in combinations(phis, 2)]
    return float(np.mean(found)) if found else float("nan")


def matched_jaccard(phi: np.ndarray, other: np.ndarray, n: int = 10) -> float:
    """Mean Jaccard index of the top words of matched topics of two models, (V, K) both."""
    from scipy.optimize import linear_sum_assignment

    check_integer("n", n)
    check_phi(phi)
    check_phi(other, len(phi))
    shared = _has_words(phi, n).T @ _has_words(other, n)  # (K, K) words in common
    shared = shared.toarray()
    jaccard = shared / (2 * min(n, len(phi)) - shared)
    rows, columns = linear_sum_assignment(jaccard, maximize=True)
    return float(jaccard[rows, columns].mean())


def english_stop_words() -> frozenset[str]:
    """gensim's 337 English stop words."""
    from gensim.parsing.preprocessing import STOPWORDS

    return STOPWORDS


def check_reference(reference: Corpus, training: Corpus) -> None:
    """Raise InputError if the reference is the training corpus, or holds its documents."""
    check_instance("reference", reference, Corpus)
    remedy = "give other documents, which no model was trained on"
    if reference.fingerprint == training.fingerprint:
        raise InputError(f"reference: it is the training corpus; {remedy}")
    # The whole documents whose beginnings were the training corpus.
    if (
        reference.vocabulary == training.vocabulary
        and reference.n_documents == training.n_documents
        and (reference.lengths >= training.lengths).all()
        and np.array_equal(reference.beginnings(training.lengths).words, training.words)
    ):
        raise InputError(f"reference: its documents begin with those of the training; {remedy}")


def _of_one_seed(
    topics: Sequence[Sequence[str]],
    coherence: Mapping[str, np.ndarray],
    known: np.ndarray,
    stop_words: Collection[str],
) -> dict[str, float]:
    """The numbers of one φ.

    Parameters
    ----------
    coherence : measure -> (K,) per topic, NaN where it cannot be told
    known : (K, n) whether the reference has the word
    """
    rated = known.sum(axis=1) >= 2
    values = {
        key: float(of_topic[rated].mean()) if rated.any() else float("nan")
        for key, of_topic in coherence.items()
    }
    return values | {
        "unrated": float(1 - rated.mean()),
        "missing": float(1 - known.mean()),
        "diversity": diversity(topics),
        "uniqueness": uniqueness(topics),
        "stop_words": stop_word_share(topics, stop_words),
        "junk": junk_share(topics),
    }


def _over_seeds(of_seeds: Sequence[Mapping[str, float]]) -> dict[str, Any]:
    """Means over seeds, and of the coherence the standard deviations."""
    row: dict[str, Any] = {"seeds": len(of_seeds)}
    for key in of_seeds[0]:
        values = [numbers[key] for numbers in of_seeds]
        row[key] = float(np.mean(values))
        if key in ("npmi", "c_v"):
            spread = float(np.std(values, ddof=1)) if len(values) > 1 else float("nan")
            row[f"{key}_std"] = spread
    return row


def _has_words(phi: np.ndarray, n: int) -> Any:
    """1 where a word is among the first `n` of a topic, sparse (V, K)."""
    from scipy.sparse import csc_array

    ids = top_word_ids(phi, n)  # (n, K)
    column = np.broadcast_to(np.arange(phi.shape[1]), ids.shape)
    return csc_array((np.ones(ids.size), (ids.ravel(), column.ravel())), shape=phi.shape)


def _check_models(
    models: Mapping[str, Sequence[np.ndarray]], n_words: int
) -> dict[str, tuple[np.ndarray, ...]]:
    """φ of every seed of every model."""
    check_instance("models", models, Mapping)
    if not models:
        raise InputError("models: there is none; give name -> [φ of each seed]")
    found = {}
    for name, of in models.items():
        if isinstance(of, np.ndarray):
            raise InputError(f"models: {name!r} is an array; give a list of φ, one per seed")
        phis = check_list(f"models: {name!r}", of, "a list of φ, one per seed")
        if not phis:
            raise InputError(f"models: {name!r} has no φ; give one per seed")
        for phi in phis:
            check_phi(phi, n_words)
        found[name] = phis
    return found
