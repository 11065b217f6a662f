"""The trigram, interpolated with the bigram and the unigram by Dirichlet priors.

    p(w | u v) = (n_uvw + c3 p(w | v)) / (n_uv + c3)
    p(w | v)   = (n_vw  + c2 p(w))     / (n_v  + c2)

MacKay and Peto's (1995) hierarchy: what follows a pair is expected to be what follows its second
word. p(w) counts words that follow another, so that a start symbol has none to predict.
"""

from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np

from lla.common.errors import check_each, check_function, check_positive, check_prior, optional
from lla.corpus import Corpus, Split
from lla.evaluate import ScoreCallback, Size
from lla.peers.counts.bigram import Bigram, count_pairs, pair_probability
from lla.peers.counts.shared import Counted, best_concentration, check_split, checked


@dataclass(frozen=True)
class TrigramConfig:
    """What is fixed in advance.

    Attributes
    ----------
    bigram, trigram : c2 and c3, in words; None chooses it on the development documents, c2 first
    """

    bigram: float | None = None
    trigram: float | None = None

    def __post_init__(self) -> None:
        check_each(self, optional(check_prior), "bigram", "trigram")


@dataclass(frozen=True, repr=False)
class Trigram(Counted):
    """The interpolated trigram.

    Attributes
    ----------
    triples : (M,) int64, sorted codes (u V + v) V + w of the triples seen
    counts : (M,) n_uvw
    base : the bigram that it falls back on; it alone predicts a document's second word
    concentration : c3, in words
    """

    triples: np.ndarray
    counts: np.ndarray
    base: Bigram
    concentration: float

    def __post_init__(self) -> None:
        check_positive("concentration", self.concentration)

    def score(self, split: Split, *, seed: int = 0) -> np.ndarray:
        """log p(held-out words) of every document, each word given the two before it, nats."""
        check_split(split, self.vocabulary, self.base.probability)
        corpus = split.corpus
        token = np.flatnonzero(split.held_out)
        log_p = np.zeros(corpus.n_tokens)
        step = 2**18
        for i in range(0, len(token), step):
            part = token[i : i + step]
            log_p[part] = np.log(self._probability_of(corpus, part))
        return split.sum_held_out(log_p)

    def next_items(self, split: Split, on_scores: ScoreCallback, *, seed: int = 0) -> None:
        """Hand `on_scores` the probabilities, float64, for all held-out words."""
        check_split(split, self.vocabulary, self.base.probability)
        check_function("on_scores", on_scores)
        words, n_words = split.corpus.words.astype(np.int64), split.corpus.n_words
        second = np.zeros(split.corpus.n_tokens, bool)
        second[split.corpus.offsets[:-1]] = True

        def mix(positions: np.ndarray, rows: np.ndarray) -> None:
            for row, t in zip(rows, positions, strict=True):
                if t < 2 or second[t] or second[t - 1]:
                    continue
                first = (words[t - 2] * n_words + words[t - 1]) * n_words
                seen = slice(*np.searchsorted(self.triples, [first, first + n_words]))
                row *= self.concentration
                row[self.triples[seen] - first] += self.counts[seen]
                row /= self.counts[seen].sum() + self.concentration
            on_scores(positions, rows)

        self.base.next_items(split, mix)

    def size(self) -> Size:
        """Counts above zero of triples and pairs, and the unigram; a triple is 8 bytes and 4."""
        base = self.base.size()
        return Size(
            0, len(self.triples) + base.parameters + 1, 12 * len(self.triples) + base.n_bytes
        )

    def _probability_of(self, corpus: Corpus, token: np.ndarray) -> np.ndarray:
        """p of the words at these places, (M,), given the two before each."""
        words, n_words = corpus.words.astype(np.int64), corpus.n_words
        document = np.searchsorted(corpus.offsets, token, side="right") - 1
        place = token - corpus.offsets[document]
        after = words[token]
        before = np.where(place > 0, words[token - 1], -1)
        p = pair_probability(self.base, before, after)
        third = place > 1
        pair = words[token[third] - 2] * n_words + before[third]
        ends = np.concatenate([[0], np.cumsum(self.counts)])  # counts before each triple
        n = _count(self.triples, ends, pair * n_words + after[third], 1)
        of_pair = _count(self.triples, ends, pair * n_words, n_words)
        p[third] = (n + self.concentration * p[third]) / (of_pair + self.concentration)
        return p


def _count(codes: np.ndarray, ends: np.ndarray, first: np.ndarray, n: int) -> np.ndarray:
    """How often codes from `first` (Q,) to `first` + n occur, (Q,)."""
    return ends[np.searchsorted(codes, first + n)] - ends[np.searchsorted(codes, first)]


def fit_trigram(
    split: Split, config: TrigramConfig | None = None, seed: int = 0, **unused: object
) -> Trigram:
    """Count pairs and triples within the observed part of each document; choose c2, then c3."""
    config = checked(split, config, TrigramConfig, seed, unused)
    begin = perf_counter()
    pairs = count_pairs(split)
    n_after = np.asarray(pairs.sum(axis=0), np.float64) + 1.0
    probability = n_after / n_after.sum()
    triples, counts = count_triples(split.observed)
    names: dict[str, Any] = {"vocabulary": split.corpus.vocabulary}
    c2, c3 = config.bigram, config.trigram
    if c2 is None:
        c2 = best_concentration(split, lambda c: Bigram(pairs, probability, c, **names))
    base = Bigram(pairs, probability, c2, **names)
    if c3 is None:
        c3 = best_concentration(split, lambda c: Trigram(triples, counts, base, c, **names))
    seconds = perf_counter() - begin
    return Trigram(triples, counts, base, c3, seconds=seconds, vocabulary=split.corpus.vocabulary)


def count_triples(corpus: Corpus) -> tuple[np.ndarray, np.ndarray]:
    """Codes of the triples inside documents, sorted, and how often each occurs."""
    document = np.repeat(np.arange(corpus.n_documents), corpus.lengths)
    inside = document[2:] == document[:-2]
    w = corpus.words.astype(np.int64)
    codes = (w[:-2][inside] * corpus.n_words + w[1:-1][inside]) * corpus.n_words + w[2:][inside]
    return np.unique(codes, return_counts=True)
