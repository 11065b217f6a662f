"""20 Newsgroups as the authors of ProdLDA preprocessed it: counts of words, in no order."""

import re
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from io import BytesIO
from pathlib import Path

import numpy as np

from data_prep.io.inputs import REMEDY, ReadProgress, decoded_lines
from data_prep.io.options import Document
from data_prep.labelled.archive import (
    PARTS,
    LabelledOptions,
    Member,
    PublishedArchive,
    check_options,
    find_archive,
    members,
    prepare_archive,
)
from lla.common.errors import InputError, check_flag
from lla.corpus import Corpus
from lla.corpus.tokens import Tokenizer

END_MARK = "_eos_"
PAIR = re.compile(r"[0-9]{1,9}:[0-9]{1,6}")
NEWS20_CLEAN = PublishedArchive(
    kind="news20_clean",
    title="20 Newsgroups as the authors of ProdLDA preprocessed it: counts of words, in no order",
    licence="none stated",
    citation="A. Srivastava, C. Sutton: Autoencoding Variational Inference for Topic Models, "
    "ICLR 2017",
    page="https://github.com/akashgit/autoencoding_vi_for_topic_models",
    files=("20news_clean.tar.xz",),
    member=re.compile(r"(?:^|/)(?P<part>train|test)\.feat$"),
    details={"order": "none: the source has counts, each document's words are shuffled"},
)
VOCABULARY = replace(NEWS20_CLEAN, member=re.compile(r"(?:^|/)vocab\.new$"))


@dataclass(frozen=True, repr=False)
class News20CleanOptions(LabelledOptions):
    """Which documents and words; the words are taken as they stand in the file.

    Attributes
    ----------
    keep_end_marks : bool
        Keep ``_eos_``, a mark of the end of a sentence, which the published vocabulary contains.
    """

    tokens: str = "split"
    keep_end_marks: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check(check_flag, "keep_end_marks")


def prepare_news20_clean(
    output: str | Path,
    options: News20CleanOptions | None = None,
    path: str | Path | None = None,
    overwrite: bool = False,
) -> Corpus:
    """Make the corpus folder `output` from ProdLDA's files, unless it exists and is current.

    A row is a label and pairs ``id:count``. A document repeats each word as often as its row
    counts it, in a random order that is always the same: its first part is then a sample of its
    words, as `lla.split_corpus` needs it, but nothing can be learnt from the order. Documents are
    called ``train/1/row 17``; see `data_prep.labels_of`. The vocabulary, as published, was chosen
    on training and test documents.

    Parameters and errors are those of `data_prep.labelled.archive.prepare_archive`.
    """
    chosen = check_options(options, News20CleanOptions)
    assert isinstance(chosen, News20CleanOptions)
    found = find_archive(NEWS20_CLEAN, path)
    words = np.array(read_vocabulary(found), dtype=object)
    kept = np.array([chosen.keep_end_marks or word != END_MARK for word in words])
    read_rows = partial(_read_rows, words=words, kept=kept)
    return prepare_archive(output, chosen, found, overwrite, NEWS20_CLEAN, read_rows)


def read_vocabulary(path: Path) -> list[str]:
    """The words of the archive, in the order of their ids; what follows a word is a count."""
    with closing(members(path, VOCABULARY, ReadProgress())) as opened:
        for member in opened:
            lines = list(decoded_lines(BytesIO(member.content), member.place))
            empty = [i for i, line in enumerate(lines, 1) if not line.strip()]
            if empty or not lines:
                raise InputError(f"{member.place}: line {(empty or [1])[0]} is empty; {REMEDY}")
            return [line.split()[0] for line in lines]
    raise InputError(f"{path}: no vocab.new in it; give {NEWS20_CLEAN.files[0]} as published")


def _read_rows(
    member: Member, tokenizer: Tokenizer, words: np.ndarray, kept: np.ndarray
) -> Iterator[Document]:
    part = member.found["part"]
    for number, line in enumerate(decoded_lines(BytesIO(member.content), member.place), 1):
        label, *pairs = line.split() or [""]
        ids = row_ids(pairs, len(words), f"{member.place}: row {number}")
        # A stream per row: no document depends on which others are read.
        draw = np.random.Generator(np.random.Philox(key=[PARTS.index(part), number]))
        ids = draw.permutation(ids[kept[ids]])
        tokens = tokenizer.tokens(" ".join(words[ids]))
        yield Document(f"{part}/{label}/row {number}", tokens)


def row_ids(pairs: list[str], n_words: int, place: str) -> np.ndarray:
    """Word ids from 0, each as often as its pair ``id:count`` says, (n_tokens,) int64."""
    wrong = next((pair for pair in pairs if not PAIR.fullmatch(pair)), None)
    if wrong is not None:
        raise InputError(f"{place} holds {wrong[:40]!r}, not id:count; {REMEDY}")
    numbers = [pair.split(":") for pair in pairs]
    ids, counts = np.array(numbers, np.int64).reshape(-1, 2).T
    if len(ids) and not 1 <= ids.min() <= ids.max() <= n_words:
        unknown = ids[(ids < 1) | (ids > n_words)][0]
        raise InputError(f"{place} holds word {unknown}, the vocabulary has {n_words}; {REMEDY}")
    return np.repeat(ids - 1, counts)
