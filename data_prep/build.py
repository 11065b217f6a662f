"""Token lists to a corpus folder, in one pass over the raw data and bounded memory.

Tokens go to a temporary file as provisional ids; once the whole vocabulary is counted, that file
is read block by block and written again as word ids. Memory holds the types, the lengths of the
documents and one block, never the corpus.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from gensim.parsing.preprocessing import STOPWORDS

from data_prep.inputs import Reading
from data_prep.spill import Spill
from lla.common.errors import InputError
from lla.common.files import check_replaceable, not_writable
from lla.common.progress import progress
from lla.corpus import USERS_HASH, Corpus, CorpusWriter, load_corpus, load_users

log = logging.getLogger("data_prep")
MAX_VOCABULARY = 2**31


@dataclass(frozen=True)
class Options:
    """Which documents and words make the corpus.

    Attributes
    ----------
    min_words : int
        Documents with fewer words are left out; counted after stop words are removed.
    max_words : int or None
        Longer documents are cut after this many words.
    vocabulary : int
        V, the most frequent words of the chosen documents; of equally frequent ones the first in
        alphabetical order.
    stop_words : "remove" or "keep"
        gensim's list of 337 English words.
    documents : str
        ``"A:B"``, Python's slice of the documents long enough; either end may be left out.
    sample : int or None
        This many of them, drawn at random with `seed`, in the source's order.
    """

    min_words: int = 1
    max_words: int | None = None
    vocabulary: int = 50_000
    stop_words: str = "remove"
    documents: str = ":"
    sample: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.min_words < 1:
            raise InputError(f"--min-words {self.min_words}: choose 1 or more")
        if self.max_words is not None and self.max_words < self.min_words:
            raise InputError(
                f"--max-words {self.max_words}: below --min-words {self.min_words}; choose more"
            )
        if not 1 <= self.vocabulary <= MAX_VOCABULARY:
            raise InputError(f"--vocabulary {self.vocabulary}: choose 1 to {MAX_VOCABULARY}")
        if self.stop_words not in ("remove", "keep"):
            raise InputError(f"--stop-words {self.stop_words}: choose remove or keep")
        if self.sample is not None and self.sample < 1:
            raise InputError(f"--sample {self.sample}: choose 1 or more")
        if self.seed < 0:
            raise InputError(f"--seed {self.seed}: choose 0 or more")
        _ = self.bounds

    @property
    def bounds(self) -> tuple[int, int | None]:
        """First document, and the one after the last or None, of `documents`."""
        first, colon, last = self.documents.partition(":")
        try:
            start, stop = int(first or 0), int(last) if last else None
        except ValueError:
            colon, start, stop = "", 0, None
        if not colon or start < 0 or (stop is not None and stop <= start):
            raise InputError(
                f"--documents {self.documents}: give A:B with 0 <= A < B, such as 0:500"
            )
        return start, stop


@dataclass(frozen=True)
class Source:
    """Where documents come from.

    Attributes
    ----------
    kind : str
    licence : str
    sha256 : dict
        Of each raw file, by its name.
    size : int
        Raw bytes, for the progress bar.
    """

    kind: str
    licence: str
    sha256: dict[str, str]
    size: int


def prepare(
    read: Callable[[Reading], Iterator[list[str]]],
    source: Source,
    options: Options,
    output: str | Path,
) -> Corpus:
    """Build the corpus folder `output`, or load it when it was built from the same before."""
    output = Path(output)
    manifest = {
        "source": f"{source.kind}: {', '.join(source.sha256)}",
        "licence": source.licence,
        "raw_sha256": source.sha256,
        "options": asdict(options),
        # Another version may cut other tokens.
        "tools": {"gensim": version("gensim")},
    }
    return made_once(output, manifest, lambda: build(read, source, options, output, manifest))


def made_once(output: Path, manifest: dict[str, Any], make: Callable[[], None]) -> Corpus:
    """The corpus in `output` when it was made from the same, by `manifest`; else what `make` does.

    Folders that `make` leaves empty are removed when it fails.
    """
    check_replaceable(output)
    if (corpus := _existing(output, manifest)) is not None:
        log.info("%s: already there, made from the same files and options", output)
        return corpus
    made = [p for p in (output.parent, *output.parent.parents) if not p.exists()]
    try:
        make()
    except BaseException:
        for folder in made:
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()
        raise
    return load_corpus(output, verify=False)


def _existing(folder: Path, manifest: dict[str, Any]) -> Corpus | None:
    """The corpus in `folder` when it is whole and was made from the same."""
    try:
        corpus = load_corpus(folder)
        if USERS_HASH in corpus.manifest:
            load_users(folder)
    except InputError:
        return None
    same = all(corpus.manifest.get(key) == value for key, value in manifest.items())
    return corpus if same else None


def build(
    read: Callable[[Reading], Iterator[list[str]]],
    source: Source,
    options: Options,
    output: Path,
    manifest: dict[str, Any],
) -> None:
    """Read, choose documents and vocabulary, write."""
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        with Spill(output.parent) as spill:
            counts = _read_all(read, source, options, spill)
            _check_found(counts, source, options)
            chosen = _sample(len(spill.lengths), options)
            frequency = spill.count(chosen)
            ids = most_frequent(frequency, spill.words, options.vocabulary)
            if not len(ids):
                raise InputError(f"{_names(source)}: no document has a known word; give more text")
            vocabulary = [spill.words[i] for i in ids]
            with CorpusWriter(output, vocabulary, manifest) as writer:
                counts |= _write(spill, chosen, ids, writer)
                counts["not_selected"] = counts["kept"] - int(chosen.sum())
                writer.manifest["counts"] = counts
    except OSError as error:
        raise not_writable(error, output) from None


def _read_all(
    read: Callable[[Reading], Iterator[list[str]]], source: Source, options: Options, spill: Spill
) -> dict[str, int]:
    """Fill `spill` with the documents long enough and inside the slice."""
    reading = Reading()
    stop_words = STOPWORDS if options.stop_words == "remove" else frozenset()
    start, stop = options.bounds
    seen = kept = cut = n_words = longest = 0
    bar = progress(total=kilobytes(source.size), description="reading", unit="kB")
    # Bytes are read ahead; documents go on while they stand still.
    bar.miniters = 0
    with bar, closing(read(reading)) as documents:
        for tokens in documents:
            seen += 1
            # Lower case, for words whose capitals were kept.
            words = [w for w in tokens if w.lower() not in stop_words]
            longest = max(longest, len(words))
            if len(words) >= options.min_words:
                if kept >= start:
                    spill.add(words[: options.max_words])
                    n_words += len(words)
                    cut += max(0, len(words) - (options.max_words or len(words)))
                kept += 1
            bar.set_description_str(
                f"reading, {seen:,} documents, {n_words:,} words", refresh=False
            )
            bar.update(min(kilobytes(reading.position), bar.total) - bar.n)
            if kept == stop:
                break
    return {
        "seen": seen,
        "passed_over": reading.passed_over,
        "too_short": seen - kept,
        "kept": kept,
        "cut": cut,
        "longest": longest,
    }


def _check_found(counts: dict[str, int], source: Source, options: Options) -> None:
    name, start = _names(source), options.bounds[0]
    if not counts["seen"]:
        raise InputError(f"{name}: no document in it; name a file that has some")
    if not counts["kept"]:
        raise InputError(
            f"{name}: all {counts['seen']} documents have fewer than --min-words "
            f"{options.min_words}, the longest has {counts['longest']} words; choose fewer"
        )
    if counts["kept"] <= start:
        raise InputError(
            f"--documents {options.documents}: {name} has {counts['kept']} documents of --min-words"
            f" {options.min_words}; choose a slice among them"
        )


def _sample(n_documents: int, options: Options) -> np.ndarray:
    """Which documents to use, (n_documents,) bool."""
    size = n_documents if options.sample is None else options.sample
    if size > n_documents:
        raise InputError(f"--sample {size}: only {n_documents} documents are left; choose fewer")
    chosen = np.zeros(n_documents, bool)
    draw = np.random.Generator(np.random.Philox(options.seed))
    chosen[draw.permutation(n_documents)[:size]] = True
    return chosen


def most_frequent(frequency: np.ndarray, words: list[str], size: int) -> np.ndarray:
    """Ids of the `size` most frequent words, the most frequent first."""
    seen = np.flatnonzero(frequency)
    if len(seen) > size:
        least = np.partition(frequency[seen], len(seen) - size)[len(seen) - size]
        seen = seen[frequency[seen] >= least]
    return np.array(sorted(seen, key=lambda i: (-frequency[i], words[i]))[:size], np.int64)


def _write(
    spill: Spill, chosen: np.ndarray, ids: np.ndarray, writer: CorpusWriter
) -> dict[str, int]:
    """Write the chosen documents in words of the vocabulary; drop those left without one."""
    rank = np.full(len(spill.words) + 1, -1, np.int32)  # the last entry is for forgotten words
    rank[ids] = np.arange(len(ids))
    documents = tokens = dropped = outside = 0
    blocks = progress(spill.blocks(chosen), description="writing", unit="block")
    for types, lengths in blocks:
        words = rank[types]
        known = words >= 0
        document = np.repeat(np.arange(len(lengths)), lengths)
        left = np.bincount(document[known], minlength=len(lengths))
        writer.add(words[known], left[left > 0])
        documents += int((left > 0).sum())
        tokens += int(left.sum())
        dropped += int((left == 0).sum())
        outside += int((~known).sum())
    return {
        "no_known_word": dropped,
        "documents": documents,
        "tokens": tokens,
        "words": len(ids),
        "outside_vocabulary": outside,
        "types": len(spill.index),
        "types_forgotten": spill.n_forgotten,
    }


def _names(source: Source) -> str:
    return ", ".join(source.sha256)


def kilobytes(size: int) -> int:
    return -(-size // 1000)
