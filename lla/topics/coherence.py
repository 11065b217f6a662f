"""NPMI and C_V: how often the top words of a topic occur together in a reference corpus.

The measures are those of Röder, Both and Hinneburg (2015) and of gensim's `CoherenceModel`, with
exact counts. gensim 4.4 forgets a word that occurs twice in a window as soon as its first
occurrence leaves it, so its counts are too low where words repeat.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lla.common.arrays import blocks
from lla.common.errors import InputError, check_instance, check_integer, check_list, check_texts
from lla.common.progress import progress
from lla.corpus import Corpus

if TYPE_CHECKING:
    from scipy.sparse import csc_array

EPSILON = 1e-12  # added to the probability of a pair, as Röder et al. and gensim do
NPMI_WINDOW, CV_WINDOW = 10, 110  # tokens, as Röder et al. chose


@dataclass(frozen=True)
class WindowCounts:
    """In how many windows of the reference the words of each topic occur.

    Attributes
    ----------
    n_windows : of the reference
    together : (K, n, n) int64 windows with both words of a topic; on the diagonal, with the word
    """

    n_windows: int
    together: np.ndarray

    @property
    def known(self) -> np.ndarray:
        """Whether the reference has the word, (K, n) bool."""
        return np.diagonal(self.together, axis1=1, axis2=2) > 0


def window_counts(
    topics: Sequence[Sequence[str]], reference: Corpus, window: int | None
) -> WindowCounts:
    """Count windows of `window` consecutive tokens with a topic's words, alone and in pairs.

    The window moves by one token; a document that is shorter is one window.

    Parameters
    ----------
    topics : the words of each topic; shorter lists are filled up with words that never occur
    reference : its vocabulary may be another than the topics'
    window : tokens; None counts documents instead
    """
    words = check_topic_words(topics)
    check_instance("reference", reference, Corpus)
    window = reference.n_tokens if window is None else check_integer("window", window)
    vocabulary = {word: w for w, word in enumerate(reference.vocabulary)}
    relevant = sorted({vocabulary[word] for of in words for word in of if word in vocabulary})
    column_of = {reference.vocabulary[w]: column for column, w in enumerate(relevant)}
    columns = np.full(reference.n_words, -1, np.int64)
    columns[relevant] = np.arange(len(relevant))
    size = max(map(len, words))
    places = [[i for i, word in enumerate(of) if word in column_of] for of in words]
    chosen = [[column_of[word] for word in of if word in column_of] for of in words]
    together = np.zeros((len(words), size, size), np.int64)
    parts = list(blocks(reference.offsets, 0, reference.n_documents))
    for documents, tokens in progress(parts, description="windows of the reference", unit="part"):
        offsets = reference.offsets[documents.start : documents.stop + 1] - tokens.start
        column = columns[reference.words[tokens]]
        occurs, length = _window_segments(column, offsets, window, len(relevant))
        for k, (rows, of_topic) in enumerate(zip(places, chosen, strict=True)):
            if rows:
                part = occurs[:, of_topic]
                counts = (part.T @ part.multiply(length[:, None])).toarray()
                together[k][np.ix_(rows, rows)] += np.rint(counts).astype(np.int64)
    n_windows = int(np.maximum(reference.lengths - window + 1, 1).sum())
    return WindowCounts(n_windows, together)


def _window_segments(
    column: np.ndarray, offsets: np.ndarray, window: int, n_columns: int
) -> tuple["csc_array", np.ndarray]:
    """Runs of neighbouring windows with the same words of interest, S in all.

    Parameters
    ----------
    column : (N,) of each token, -1 where its word is of no interest
    offsets : (D+1,)
    window : tokens

    Returns
    -------
    occurs : (S, n_columns) 1 where the windows of a run have the word
    length : (S,) windows of each run
    """
    from scipy.sparse import csc_array

    document = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    place = np.flatnonzero(column >= 0)
    word, document = column[place], document[place]
    # A token is in the windows that start at `first` to `last`.
    first = np.maximum(offsets[document], place - window + 1)
    last = np.minimum(place, np.maximum(offsets[1:][document] - window, offsets[document]))
    order = np.lexsort((place, word))
    word, first, last = word[order], first[order], last[order]
    # Where windows of the word's previous token go on, only those after them are new.
    again = word[1:] == word[:-1]
    first[1:][again] = np.maximum(first[1:][again], last[:-1][again] + 1)
    new = first <= last
    word, first, stop = word[new], first[new], last[new] + 1
    bounds = np.unique(np.concatenate([first, stop]))
    low, high = np.searchsorted(bounds, first), np.searchsorted(bounds, stop)
    n_rows = high - low
    row = np.arange(n_rows.sum()) + np.repeat(low - np.cumsum(n_rows) + n_rows, n_rows)
    entries = (np.ones(len(row)), (row, np.repeat(word, n_rows)))
    length = np.diff(bounds)
    return csc_array(entries, shape=(len(length), n_columns)), length


def npmi(counts: WindowCounts) -> np.ndarray:
    """NPMI of all pairs of a topic's words, (K, n, n); NaN where the reference lacks one.

    log((p_ij + ε) / (p_i p_j)) / -log(p_ij + ε). With ε = 1e-12 a pair that never occurs has a
    value above -1, the closer to it the more frequent its words are.
    """
    check_instance("counts", counts, WindowCounts)
    known = counts.known
    pairs = known[:, :, None] & known[:, None, :]
    p = counts.together / counts.n_windows  # (K, n, n)
    single = np.diagonal(p, axis1=1, axis2=2)
    independent = np.where(pairs, single[:, :, None] * single[:, None, :], 1.0)
    value = np.log((p + EPSILON) / independent)
    # Words that are in every window together are as dependent as can be; the ratio would be 0/0.
    always = counts.together == counts.n_windows
    value = np.where(always, 1.0, value / -np.where(always, 1.0, np.log(p + EPSILON)))
    return np.where(pairs, value, np.nan)


def topic_npmi(counts: WindowCounts) -> np.ndarray:
    """Mean NPMI of the pairs of each topic's words, (K,); NaN with fewer than two known words."""
    values, size = npmi(counts), counts.together.shape[1]
    above = values[:, *np.triu_indices(size, 1)]  # (K, pairs)
    n_pairs = np.isfinite(above).sum(axis=1)
    return np.where(n_pairs, np.nansum(above, axis=1), np.nan) / np.maximum(n_pairs, 1)


def topic_cv(counts: WindowCounts) -> np.ndarray:
    """C_V of each topic, (K,); NaN with fewer than two known words.

    A word's vector holds its NPMI with every known word of the topic, itself included; C_V is the
    mean cosine of the words' vectors with their sum.
    """
    values, known = npmi(counts), counts.known
    vectors = np.where(np.isnan(values), 0.0, values)  # (K, n, n)
    total = vectors.sum(axis=1, keepdims=True)  # (K, 1, n)
    norms = np.linalg.norm(vectors, axis=2) * np.linalg.norm(total, axis=2)  # (K, n)
    cosine = np.divide(
        (vectors * total).sum(axis=2), norms, out=np.zeros(norms.shape), where=norms > 0
    )
    n_known = known.sum(axis=1)
    mean = cosine.sum(axis=1, where=known) / np.maximum(n_known, 1)
    return np.where(n_known >= 2, mean, np.nan)


def check_topic_words(topics: Sequence[Sequence[str]]) -> list[tuple[str, ...]]:
    """The words of each topic; raise InputError unless there are some, and none twice."""
    found = []
    for k, words in enumerate(check_list("topics", topics, "the words of each topic")):
        of_topic = check_texts(f"topic {k}", check_list(f"topic {k}", words, "a list of words"))
        if len(set(of_topic)) < len(of_topic):
            raise InputError(f"topic {k}: a word is there twice; give each once")
        found.append(of_topic)
    if not any(found):
        raise InputError("topics: there are no words; give those of one topic or more")
    return found
