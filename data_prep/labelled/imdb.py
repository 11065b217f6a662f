"""The Large Movie Review Dataset: reviews in lower case, stop words included."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from data_prep.io.inputs import decode_text
from data_prep.io.options import Document
from data_prep.labelled.archive import (
    LabelledOptions,
    Member,
    PublishedArchive,
    check_options,
    prepare_archive,
)
from lla.corpus import Corpus
from lla.corpus.tokens import Tokenizer

IMDB = PublishedArchive(
    kind="imdb",
    title="Large Movie Review Dataset v1.0, its labelled half",
    licence="none stated; its authors ask for the citation",
    citation="A. L. Maas, R. E. Daly, P. T. Pham, D. Huang, A. Y. Ng, C. Potts: Learning Word "
    "Vectors for Sentiment Analysis, ACL 2011",
    page="https://ai.stanford.edu/~amaas/data/sentiment/",
    files=("aclImdb.tar.xz", "aclImdb_v1.tar.gz"),
    member=re.compile(r"(?:^|/)(?P<part>train|test)/(?P<label>pos|neg)/(?P<id>[^/]+)\.txt$"),
)
BREAK = re.compile(r"<br\s*/?>", re.IGNORECASE)
# A number by itself: 35, 7.5, 1,000; not the digits of a word such as 10th.
NUMERAL = re.compile(r"(?<![^\W_])\d+(?:[.,]\d+)*(?![^\W_])")
NUMBER = "__num__"


@dataclass(frozen=True, repr=False)
class ImdbOptions(LabelledOptions):
    """Which reviews and words; by default, the 5,000 most frequent ones, stop words among them."""

    vocabulary: int = 5000
    min_letters: int | None = 1
    stop_words: str | Path = "keep"


def prepare_imdb(
    output: str | Path,
    options: ImdbOptions | None = None,
    path: str | Path | None = None,
    overwrite: bool = False,
) -> Corpus:
    """Make the corpus folder `output` from movie reviews, unless it exists and is current.

    Every number is the word ``__num__``. Documents are called ``train/pos/127_7``, the review's
    number and its rating; see `data_prep.labels_of`. The vocabulary is chosen on reviews for
    training, unless only those for test are read.

    Parameters and errors are those of `data_prep.labelled.archive.prepare_archive`.
    """
    chosen = check_options(options, ImdbOptions)
    return prepare_archive(output, chosen, path, overwrite, IMDB, _read_review)


def _read_review(member: Member, tokenizer: Tokenizer) -> Iterator[Document]:
    text = decode_text(member.content, member.place)
    part, label, name = member.found.group("part", "label", "id")
    words = review_words(text, tokenizer)
    yield Document(f"{part}/{label}/{name}", words, is_test=part == "test")


def review_words(text: str, tokenizer: Tokenizer) -> list[str]:
    """The words of a review, in order; no tokenizer of words keeps numbers, so they stand apart."""
    first, *others = NUMERAL.split(BREAK.sub(" ", text))
    words = tokenizer.tokens(first)
    for piece in others:
        words.append(NUMBER)
        words += tokenizer.tokens(piece)
    return words
