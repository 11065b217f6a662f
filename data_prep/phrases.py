"""Phrases of a few words, a document each, from a corpus of sentences.

A phrase is a window inside a sentence without unknown words. Every part has each of its phrases
once, after `START`. A document is called PART/COUNT, such as "train/12", for a phrase that occurs
12 times in its part, and where sentences have labels PART/COUNT/POSITIVE, with how many of these
are in positive reviews. A phrase of the test part may occur in the training part as well; its
review does not.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data_prep.io.options import for_manifest
from data_prep.io.output import build_if_changed
from data_prep.sentences import END, PARTS, START, UNKNOWN, part_of, review_labels
from lla.common.display import Configuration
from lla.common.errors import InputError, check_each, check_instance, check_integer, optional
from lla.common.files import folder_to_write
from lla.common.random import StreamId, stream
from lla.corpus import Corpus, load_corpus
from lla.corpus.folder import CorpusWriter

MARKS = (START, END, UNKNOWN)  # the first words of a corpus of sentences


@dataclass(frozen=True, repr=False)
class PhraseOptions(Configuration):
    """Which phrases.

    Attributes
    ----------
    n_words : per phrase
    vocabulary : most frequent words; None is all that the sentences know
    train, development, test : phrases drawn of each part; None is all
    seed : of that draw
    """

    n_words: int = 3
    vocabulary: int | None = None
    train: int | None = None
    development: int | None = None
    test: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        check_each(self, check_integer, "n_words", least=2)
        check_each(self, optional(check_integer), "vocabulary", *PARTS)
        check_each(self, check_integer, "seed", least=0, most=None)


def prepare_phrases(
    output: str | Path,
    options: PhraseOptions | None,
    sentences: str | Path,
    overwrite: bool = False,
) -> Corpus:
    """Make the corpus folder `output` of phrases, unless it exists and is current.

    Parameters
    ----------
    output : path
    options : PhraseOptions
    sentences : path
        A corpus folder that `prepare_sentences` has made.
    overwrite : bool
        Whether a corpus that `output` holds, made from other sentences or with other options, is
        replaced.

    Raises
    ------
    InputError
        If the corpus is not one of sentences, or a part has no phrase.
    """
    output = folder_to_write(output, "--output")
    options = PhraseOptions() if options is None else options
    check_instance("options", options, PhraseOptions)
    corpus = load_corpus(sentences)
    if corpus.vocabulary[: len(MARKS)] != MARKS:
        raise InputError(f"{sentences}: no corpus of sentences; make it with prepare_sentences")
    manifest = {
        "source": f"phrases of {corpus.manifest.get('source', 'sentences')}",
        "licence": corpus.manifest.get("licence", "not stated"),
        "raw_sha256": {"sentences": corpus.fingerprint},
        "options": for_manifest(options),
        "tokenizer": corpus.manifest.get("tokenizer"),
    }

    def make() -> None:
        write(output, corpus, options, manifest)

    return build_if_changed(output=output, manifest=manifest, make=make, overwrite=overwrite)


def write(output: Path, corpus: Corpus, options: PhraseOptions, manifest: dict) -> None:
    """Write the phrases of every part, in the order of their words' ids."""
    n_marks, n = len(MARKS), options.n_words
    words = corpus.vocabulary[n_marks:][: options.vocabulary]
    parts, labels = part_of(corpus), review_labels(corpus)
    n_left_out = 0
    with CorpusWriter(output, (START, *words), manifest) as writer:
        names: list[str] = []
        for number, part in enumerate(PARTS):
            documents = np.flatnonzero(parts == part)
            phrases, count, positive = count_phrases(
                corpus.select(documents), labels[documents], n, n_marks + len(words)
            )
            if not len(phrases):
                raise InputError(
                    f"part {part}: no phrase of {n} known words; give more sentences or words"
                )
            size = getattr(options, part) or len(phrases)
            n_left_out += max(0, len(phrases) - size)
            draw = stream(options.seed, StreamId.SPLIT, 11 + number)
            kept = np.sort(draw.permutation(len(phrases))[:size])
            rows = np.zeros((len(kept), n + 1), np.int64)
            rows[:, 1:] = phrases[kept] - n_marks + 1
            writer.add(rows.ravel(), np.full(len(kept), n + 1))
            labelled = (labels[documents] >= 0).all()
            for i in kept:
                names.append(f"{part}/{count[i]}" + (f"/{positive[i]}" if labelled else ""))
        writer.names = names
        writer.manifest["counts"] = {"not_selected": n_left_out}


def count_phrases(
    corpus: Corpus, labels: np.ndarray, n: int, end: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The phrases (P, n) of a corpus of sentences, how often each occurs, and how often positively.

    Parameters
    ----------
    labels : (D,) 1 for a positive document
    end : word ids from the marks' end up to this one are known
    """
    words = corpus.words.astype(np.int64)
    document = np.repeat(np.arange(corpus.n_documents), corpus.lengths)
    # Marks stand between sentences, so that a window without one is inside a sentence.
    known = (words >= len(MARKS)) & (words < end)
    if len(words) < n:
        return np.empty((0, n), np.int64), np.empty(0, np.int64), np.empty(0, np.int64)
    windows = np.lib.stride_tricks.sliding_window_view(words, n)
    inside = np.lib.stride_tricks.sliding_window_view(known, n).all(axis=1)
    positive = labels[document[: len(windows)]][inside] == 1
    phrases, place, count = np.unique(
        windows[inside], axis=0, return_inverse=True, return_counts=True
    )
    of_phrase = np.bincount(place.ravel(), positive, minlength=len(phrases)).astype(np.int64)
    return phrases, count, of_phrase


def phrase_counts(corpus: Corpus) -> tuple[np.ndarray, np.ndarray | None]:
    """How often each phrase occurs in its part, (D,), and positively, or None without labels."""
    part_of(corpus)
    rows = [[int(number) for number in name.split("/")[1:]] for name in corpus.names]
    if {len(row) for row in rows} == {2}:
        count, positive = np.array(rows).T
        return count, positive
    return np.array([row[0] for row in rows]), None
