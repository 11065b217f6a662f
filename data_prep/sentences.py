"""Sentences, a document each, of the documentation of installed packages or of film reviews.

A document is `START`, the words in lower case, `END`; words outside the vocabulary are `UNKNOWN`.
Modules, or reviews, are divided into parts before they are cut into sentences, so that no source
has sentences in two parts. A document is called PART/SOURCE, such as "test/numpy.linalg", and of
reviews PART/LABEL/SOURCE, such as "train/pos/train_0_9", review 0_9 of the folder train/pos.
"""

import re
import sys
import tarfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from data_prep.documentation import (
    LICENCE,
    PACKAGES,
    Module,
    documentation,
    installed_versions,
    long_modules,
)
from data_prep.io.build import Source
from data_prep.io.find import find_input, list_files
from data_prep.io.inputs import ReadProgress, as_input_error, decode_text, hash_inputs, open_raw
from data_prep.io.options import for_manifest
from data_prep.io.output import build_if_changed
from data_prep.io.workers import ordered_map
from lla.common.display import Configuration
from lla.common.errors import (
    InputError,
    check_each,
    check_instance,
    check_integer,
    check_positive,
    check_texts,
    optional,
)
from lla.common.files import folder_to_write
from lla.common.progress import progress
from lla.common.random import StreamId, stream
from lla.corpus import Corpus, Split
from lla.corpus.folder import CorpusWriter
from lla.corpus.tokens import Tokenizer

START, END, UNKNOWN = "<s>", "</s>", "<unk>"
TRAIN, DEVELOPMENT, TEST = "train", "development", "test"
PARTS = (TRAIN, DEVELOPMENT, TEST)
LABELS = ("neg", "pos")  # folders of reviews
MIN_MODULE = 200  # running words of docstrings, as of documents of modules
REVIEWS_LICENCE = "aclImdb: Large Movie Review Dataset v1.0, for research"

TOKENIZER = Tokenizer(rule="words", min_letters=1)
REVIEW = re.compile(r"(?:^|/)(train|test)/(neg|pos)/(\w+)\.txt$")
LINE_BREAK = re.compile(r"<br\s*/?>", re.IGNORECASE)
BETWEEN = re.compile(
    r"(?<=[.!?])(?<!\bMr\.)(?<!\bMrs\.)(?<!\bMs\.)(?<!\bDr\.)(?<!\bSt\.)(?<!\bvs\.)"
    r"(?<!\be\.g\.)(?<!\bi\.e\.)[\"')\]]*\s+(?=[\"'(\[]*[A-Z])"
)
# A heading or the end of a list is no sentence.
WHOLE = re.compile(r"[\"'(\[]*[A-Z].*[.!?][\"')\]]*", re.DOTALL)


@dataclass(frozen=True, repr=False)
class SentenceOptions(Configuration):
    """Which sentences and words.

    Attributes
    ----------
    min_words, max_words : sentences with fewer or more words are left out
    vocabulary : most frequent words of the training sentences, beside START, END and UNKNOWN
    packages : whose documentation is read; no option of reviews
    train, development, test : sentences drawn of each part, in the source's order; None is all
    development_share, test_share : of the sources. Reviews have their own test part
    seed : of the parts and of the sentences drawn
    """

    min_words: int = 4
    max_words: int = 20
    vocabulary: int = 5000
    packages: tuple[str, ...] = PACKAGES
    train: int | None = None
    development: int | None = None
    test: int | None = None
    development_share: float = 0.1
    test_share: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        check_each(self, check_integer, "min_words", "vocabulary")
        check_each(self, check_integer, "max_words", least=self.min_words)
        check_each(self, optional(check_integer), TRAIN, DEVELOPMENT, TEST)
        check_each(self, check_integer, "seed", least=0, most=None)
        check_each(self, check_positive, "development_share", "test_share")
        check_each(self, check_texts, "packages")
        if not self.packages:
            raise InputError("packages: none is given; give names of installed packages")
        if self.development_share + self.test_share >= 1:
            raise InputError(
                f"development_share is {self.development_share} and test_share {self.test_share}: "
                "give shares that leave sources to train on"
            )


class Text(NamedTuple):
    """A module or a review; its part is empty where it is to be drawn."""

    source: str
    text: str
    part: str


class Sentence(NamedTuple):
    """A sentence's part, its source, and its words."""

    part: str
    source: str
    words: tuple[str, ...]


def prepare_sentences(
    output: str | Path,
    options: SentenceOptions | None = None,
    path: str | Path | None = None,
    processes: int = 1,
    overwrite: bool = False,
) -> Corpus:
    """Make the corpus folder `output` of sentences, unless it exists and is current.

    A sentence begins with a capital letter and ends with a full stop, an exclamation or a question
    mark. Each is kept once, in the first of train, development and test that has it.

    Parameters
    ----------
    output : path
    options : SentenceOptions
    path : path, optional
        Reviews: the archive or the folder of aclImdb, with ``{train,test}/{pos,neg}/*.txt``. By
        default, the docstrings of the installed packages.
    processes : int
        Worker processes that parse modules; the result does not depend on their number.
    overwrite : bool
        Whether a corpus that `output` holds, made from other sources or with other options, is
        replaced.

    Raises
    ------
    InputError
        If an input cannot be used, or a part has no sentence.
    """
    output = folder_to_write(output, "--output")
    options = SentenceOptions() if options is None else options
    check_instance("options", options, SentenceOptions)
    check_integer("--processes", processes)
    if path is None:
        installed = installed_versions(options.packages)
        modules, total = long_modules(installed, MIN_MODULE)
        source = Source(
            kind="documentation",
            licence=LICENCE,
            sha256={f"docstrings of {len(installed)} packages": total},
            size=len(modules),
            details={"packages": installed},
        )
        texts: Iterable[Text] = module_texts(modules, processes)
    else:
        found = find_input(path)
        source = Source("reviews", REVIEWS_LICENCE, hash_inputs([found], ".txt"), 0)
        texts = review_texts(found)
    manifest = {
        "source": f"sentences of the {source.kind}: {', '.join(source.sha256)}",
        "licence": source.licence,
        "raw_sha256": source.sha256,
        "options": for_manifest(options),
        "tokenizer": TOKENIZER.options(),
        **source.details,
    }

    def make() -> None:
        sentences, counts = choose(texts, options)
        write(output, sentences, options, manifest | {"counts": counts})

    return build_if_changed(output=output, manifest=manifest, make=make, overwrite=overwrite)


def module_texts(modules: Sequence[Module], processes: int) -> Iterator[Text]:
    """The docstrings of each module."""
    read = ordered_map(partial(_read_module), modules, processes)
    bar = progress(read, total=len(modules), description="parsing the modules", unit="module")
    for module, text in zip(modules, bar, strict=True):
        yield Text(module.name, text, "")


def _read_module(module: Module) -> str:
    with as_input_error(module.path):
        return documentation(module.path.read_bytes())


def review_texts(path: Path) -> Iterator[Text]:
    """The reviews of a folder or an archive, in its order; LABEL/FOLDER_NAME is their source."""
    n_found = 0
    for name, content in progress(_files(path), description="reading the reviews", unit="file"):
        if match := REVIEW.search(name):
            part, label, number = match.groups()
            text = LINE_BREAK.sub("\n\n", decode_text(content, name))
            yield Text(f"{label}/{part}_{number}", text, part)
            n_found += 1
    if not n_found:
        raise InputError(
            f"{path}: no review in it; give the archive or the folder of aclImdb, which has "
            "{train,test}/{pos,neg}/*.txt"
        )


def _files(path: Path) -> Iterator[tuple[str, bytes]]:
    """Name and content of every file."""
    if path.is_dir():
        for file in list_files(path, ".txt"):
            with as_input_error(file):
                yield file.as_posix(), file.read_bytes()
        return
    with (
        open_raw(path, ReadProgress()) as content,
        as_input_error(path),
        tarfile.open(fileobj=content, mode="r|") as archive,
    ):
        for member in archive:
            if REVIEW.search(member.name) and (review := archive.extractfile(member)):
                yield member.name, review.read()


def sentences_of(text: str) -> Iterator[str]:
    """The whole sentences of a running text."""
    for paragraph in paragraphs(text):
        for sentence in BETWEEN.split(paragraph):
            if WHOLE.fullmatch(sentence.strip()):
                yield sentence.strip()


def paragraphs(text: str) -> Iterator[str]:
    """What stands between empty lines; what is indented more than the line before begins anew.

    So the description of a parameter is apart from the parameter's name.
    """
    lines: list[str] = []
    indent = 0
    for line in text.splitlines():
        here = len(line) - len(line.lstrip())
        if lines and (not line.strip() or here > indent):
            yield " ".join(lines)
            lines = []
        if line.strip():
            lines.append(line.strip())
            indent = here
    if lines:
        yield " ".join(lines)


def choose(
    texts: Iterable[Text], options: SentenceOptions
) -> tuple[list[Sentence], dict[str, int]]:
    """The sentences of all parts, the training part first, and how many were left out."""
    named: list[tuple[Text, list[tuple[str, ...]]]] = []
    counts = {"seen": 0, "wrong_length": 0, "repeated": 0, "not_selected": 0}
    for text in texts:
        kept = []
        for sentence in sentences_of(text.text):
            words = tuple(map(sys.intern, TOKENIZER.tokens(sentence)))
            counts["seen"] += 1
            if options.min_words <= len(words) <= options.max_words:
                kept.append(words)
            else:
                counts["wrong_length"] += 1
        named.append((text._replace(text=""), kept))
    parts = draw_parts([text for text, _ in named], options)
    seen: set[tuple[str, ...]] = set()
    chosen: list[Sentence] = []
    for number, part in enumerate(PARTS):
        found = []
        for (text, kept), of_text in zip(named, parts, strict=True):
            for words in kept if of_text == part else ():
                if words in seen:
                    counts["repeated"] += 1
                else:
                    seen.add(words)
                    found.append(Sentence(part, text.source, words))
        if not found:
            raise InputError(
                f"part {part}: no sentence of {options.min_words} to {options.max_words} words; "
                "give more text, or other lengths"
            )
        size = getattr(options, part)
        if size is not None and size < len(found):
            counts["not_selected"] += len(found) - size
            draw = stream(options.seed, StreamId.SPLIT, 1 + number)
            found = [found[i] for i in np.sort(draw.permutation(len(found))[:size])]
        chosen += found
    return chosen, counts


def draw_parts(texts: Sequence[Text], options: SentenceOptions) -> list[str]:
    """The part of every text: drawn, unless it has one; of a training part some are drawn."""
    parts = [text.part for text in texts]
    free = np.flatnonzero([part != TEST for part in parts])
    own_test = len(free) < len(parts)
    order = stream(options.seed, StreamId.SPLIT, 0).permutation(free)
    n_development = round(options.development_share * len(free))
    n_test = 0 if own_test else round(options.test_share * len(free))
    for place, i in enumerate(order):
        if place < n_development:
            parts[i] = DEVELOPMENT
        else:
            parts[i] = TEST if place < n_development + n_test else TRAIN
    return parts


def write(
    output: Path, sentences: Sequence[Sentence], options: SentenceOptions, manifest: dict
) -> None:
    """Write the corpus; its vocabulary is that of the training sentences."""
    frequency = Counter(w for s in sentences if s.part == TRAIN for w in s.words)
    ordered = sorted(frequency, key=lambda word: (-frequency[word], word))
    vocabulary = (START, END, UNKNOWN, *ordered[: options.vocabulary])
    ids = {word: i for i, word in enumerate(vocabulary)}
    start, end, unknown = ids[START], ids[END], ids[UNKNOWN]
    names = [f"{s.part}/{s.source}" for s in sentences]
    with CorpusWriter(output, vocabulary, manifest, names) as writer:
        for s in progress(sentences, description="writing", unit="sentence"):
            words = [start, *(ids.get(word, unknown) for word in s.words), end]
            writer.add(np.array(words), np.array([len(words)]))


def part_of(corpus: Corpus) -> np.ndarray:
    """(D,) the part of every document, by its name.

    Raises
    ------
    InputError
        When a document has no part in its name.
    """
    parts = np.array([name.partition("/")[0] for name in corpus.names])
    if not len(parts) or not np.isin(parts, PARTS).all():
        raise InputError(
            "corpus: its documents are not named by train, development and test; make it with "
            "prepare_sentences or prepare_phrases"
        )
    return parts


def review_labels(corpus: Corpus) -> np.ndarray:
    """(D,) 1 for a positive review, 0 for a negative one, -1 where there is no label."""
    labels = [name.split("/")[1] for name in corpus.names]
    return np.array([LABELS.index(label) if label in LABELS else -1 for label in labels])


def split_by_part(corpus: Corpus) -> Split:
    """Training sentences are observed whole; of the others START alone.

    The score of a model is then log p(sentence), END included, and the perplexity is per word and
    END.
    """
    parts = part_of(corpus)
    lengths = np.where(parts == TRAIN, corpus.lengths, 1)
    return Split(corpus, corpus.beginnings(lengths), lengths, parts == DEVELOPMENT)
