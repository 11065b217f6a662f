"""A corpus split in observed and held-out parts, and its documents in development and reported."""

import hashlib
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

import numpy as np

from lla.common.arrays import as_array, as_readonly
from lla.common.display import Summarized
from lla.common.errors import (
    InputError,
    check_instance,
    check_integer,
    check_number,
    check_seed,
    check_share,
)
from lla.corpus.documents import Corpus, check_same_vocabulary


@dataclass(frozen=True, eq=False, repr=False)
class Split(Summarized):
    """Every document cut in an observed and a held-out part; some documents for development.

    Attributes
    ----------
    corpus : Corpus
        The whole documents.
    observed : Corpus
        The first `n_observed` tokens of each.
    n_observed : (D,) int64
    development : (D,) bool
        Documents for early stopping and tuning, never in a reported figure.
    """

    corpus: Corpus
    observed: Corpus
    n_observed: np.ndarray
    development: np.ndarray

    def __post_init__(self) -> None:
        """Check that the parts belong together: no kernel that reads a split checks bounds."""
        check_instance("corpus", self.corpus, Corpus)
        check_instance("observed", self.observed, Corpus)
        lengths, n_documents = self.corpus.lengths, self.corpus.n_documents
        n_observed = as_array("n_observed", self.n_observed)
        development = as_array("development", self.development)
        if n_observed.shape != (n_documents,) or n_observed.dtype.kind not in "iu":
            raise InputError(
                f"n_observed: {n_observed.dtype} {n_observed.shape}; "
                f"give {n_documents} whole numbers"
            )
        if ((n_observed < 0) | (n_observed > lengths)).any():
            d = int(np.argmax((n_observed < 0) | (n_observed > lengths)))
            raise InputError(
                f"n_observed: {n_observed[d]} of document {d}; give 0 to its {lengths[d]} words"
            )
        if development.shape != (n_documents,) or development.dtype != bool:
            raise InputError(
                f"development: {development.dtype} {development.shape}; give {n_documents} booleans"
            )
        if self.observed.n_documents != n_documents:
            raise InputError(
                f"observed: {self.observed.n_documents} documents, but the corpus has "
                f"{n_documents}; split it anew"
            )
        check_same_vocabulary(self.observed, self.corpus.vocabulary, self.corpus.n_words)

    def summary_facts(self) -> dict[str, int]:
        """Counts."""
        return {
            "documents": self.corpus.n_documents,
            "observed_tokens": self.observed.n_tokens,
            "held_out_tokens": self.corpus.n_tokens - self.observed.n_tokens,
            "development_documents": int(self.development.sum()),
            "words": self.corpus.n_words,
        }

    @property
    def reported(self) -> np.ndarray:
        """Documents whose held-out part is reported, (D,) bool."""
        return ~self.development

    @cached_property
    def n_held_out(self) -> np.ndarray:
        """Held-out tokens of each document, (D,) int64."""
        return as_readonly(self.corpus.lengths - self.n_observed)

    @cached_property
    def held_out(self) -> np.ndarray:
        """Which tokens are held out, (N,) bool."""
        ends = np.stack([self.n_observed, self.n_held_out], axis=1).ravel()
        return as_readonly(np.repeat(np.arange(len(ends)) % 2 == 1, ends))

    def sum_held_out(self, values: np.ndarray) -> np.ndarray:
        """Sum of `values` (N,) over each document's held-out tokens, (D,) float64."""
        values = as_array("values", values)
        if values.shape != (self.corpus.n_tokens,) or values.dtype.kind not in "biuf":
            raise InputError(
                f"values: {values.dtype} {values.shape}; give {self.corpus.n_tokens} numbers, one "
                "per token"
            )
        document = np.repeat(np.arange(self.corpus.n_documents), self.n_held_out)
        held_out = np.asarray(values)[self.held_out]
        return np.bincount(document, held_out, minlength=self.corpus.n_documents)

    def identity(self) -> dict[str, str]:
        """Hashes that identify this split, for checkpoints."""
        return {
            "corpus": self.corpus.fingerprint,
            "development": hashlib.sha256(np.packbits(self.development)).hexdigest(),
            "n_observed": hashlib.sha256(self.n_observed).hexdigest(),
        }

    def restrict(self, documents: np.ndarray) -> "Split":
        """The same split of the chosen documents alone; `documents` is (D,) bool."""
        documents = self.corpus.document_numbers(documents)
        return Split(
            self.corpus.select(documents),
            self.observed.select(documents),
            as_readonly(self.n_observed[documents]),
            as_readonly(self.development[documents]),
        )


def split_corpus(
    corpus: Corpus, observed: float = 0.6, development: float = 0.1, seed: int = 0
) -> Split:
    """Observe the first 60% of every document (paper, 4.1); draw a tenth for development.

    Parameters
    ----------
    observed : float in (0, 1)
        Part of each document, rounded up to whole tokens: a document of one token is observed.
    development : float in [0, 1)
        Part of the documents. Unless 0, at least one document, as long as one is left to report.
    seed : int
        Which documents are for development.
    """
    check_instance("corpus", corpus, Corpus)
    part = _check_part("observed", observed, such_as=0.6)
    n_observed = -(-corpus.lengths * part.numerator // part.denominator)
    return _split_at(corpus, np.clip(n_observed, 1, corpus.lengths), development, seed)


def split_last(
    corpus: Corpus,
    held_out: float = 0.025,
    least: int = 3,
    most: int = 500,
    development: float = 0.1,
    seed: int = 0,
) -> Split:
    """Hold out the end of every document, as Ko, Maystre and Grossglauser (2016) do.

    Parameters
    ----------
    held_out : float in (0, 1)
        Part of each document, rounded to whole tokens, halves to even.
    least, most : int
        Limits of the number held out; but one token of each document is always observed.
    development, seed
        As of `split_corpus`. The paper has no development documents, 0.
    """
    check_instance("corpus", corpus, Corpus)
    part = _check_part("held_out", held_out, such_as=0.025)
    least = check_integer("least", least)
    most = check_integer("most", most, least=least)
    lengths, place = np.unique(corpus.lengths, return_inverse=True)
    n_held_out = np.array([round(int(length) * part) for length in lengths])[place]
    n_held_out = np.minimum(np.clip(n_held_out, least, most), corpus.lengths - 1)
    return _split_at(corpus, corpus.lengths - n_held_out, development, seed)


def _check_part(name: str, value: object, such_as: float) -> Fraction:
    """A part above 0 and below 1, as a fraction: in floating point ceil(0.55 * 100) is 56."""
    wanted = f"a part above 0 and below 1, such as {such_as}"
    number = check_number(name, value, wanted)
    if not 0 < number < 1:
        raise InputError(f"{name} is {number}: give {wanted}")
    return Fraction(number).limit_denominator(1_000_000)


def _split_at(corpus: Corpus, n_observed: np.ndarray, development: float, seed: int) -> Split:
    """Observe the first `n_observed` (D,) tokens of each document; draw development documents."""
    seed = check_seed(seed)
    development = check_share("development", development)
    n_observed = as_readonly(n_observed)
    n_documents = corpus.n_documents
    size = max(round(development * n_documents), int(development > 0))
    draw = np.random.Generator(np.random.Philox(seed))
    chosen = np.zeros(n_documents, bool)
    chosen[draw.permutation(n_documents)[: min(size, n_documents - 1)]] = True
    first = corpus.beginnings(n_observed)
    return Split(corpus, first, n_observed, as_readonly(chosen))
