"""Token lists to a corpus folder, in one pass over the raw data with bounded memory.

Tokens go to a temporary file as provisional ids. Once the vocabulary is counted, that file is read
block by block and written as word ids. Memory holds the types, the lengths of the documents and
one block, never the corpus.
"""

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from gensim.parsing.preprocessing import STOPWORDS

from data_prep.io.inputs import ReadProgress
from data_prep.io.output import build_if_changed
from data_prep.io.token_file import TokenFile
from lla.common.corpus_folder import CorpusWriter
from lla.common.errors import InputError
from lla.common.files import not_writable
from lla.common.progress import progress
from lla.common.summary import Configuration
from lla.corpus import Corpus

MAX_VOCABULARY = 2**31


@dataclass(frozen=True, repr=False)
class Options(Configuration):
    """Which documents and words enter the corpus.

    Attributes
    ----------
    min_words : int
        Documents with fewer words, not counting removed stop words, are left out.
    max_words : int or None
        Longer documents are truncated to this many words.
    vocabulary : int
        V, number of most frequent words of the chosen documents that are kept, ties in
        alphabetical order.
    stop_words : "remove" or "keep"
        gensim's list of 337 English words.
    documents : str
        ``"A:B"``, Python's slice of the documents that are long enough; either end is optional.
    sample : int or None
        Number of documents drawn from them at random with `seed`, in the source's order.
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
        """Start and stop of `documents`; stop is None without a limit."""
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
    """The source of documents.

    Attributes
    ----------
    kind : str
    licence : str
    sha256 : dict
        SHA-256 of each raw file by its name.
    size : int
        Raw bytes, for the progress bar.
    """

    kind: str
    licence: str
    sha256: dict[str, str]
    size: int


def prepare(
    read: Callable[[ReadProgress], Iterator[list[str]]],
    source: Source,
    options: Options,
    output: Path,
    overwrite: bool = False,
) -> Corpus:
    """Build the corpus folder `output`, or load it if it was built from the same sources."""
    manifest = {
        "source": f"{source.kind}: {', '.join(source.sha256)}",
        "licence": source.licence,
        "raw_sha256": source.sha256,
        "options": asdict(options),
        # Tokens may depend on the version.
        "tools": {"gensim": version("gensim")},
    }
    return build_if_changed(
        output=output,
        manifest=manifest,
        make=lambda: build(read, source, options, output, manifest),
        overwrite=overwrite,
    )


def build(
    read: Callable[[ReadProgress], Iterator[list[str]]],
    source: Source,
    options: Options,
    output: Path,
    manifest: dict[str, Any],
) -> None:
    """Read, choose documents and vocabulary, write."""
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        with TokenFile(output.parent) as token_file:
            counts = _read_all(read, source, options, token_file)
            _check_found(counts, source, options)
            chosen = _sample(len(token_file.lengths), options)
            frequency = token_file.count(chosen)
            ids = most_frequent(frequency, token_file.words, options.vocabulary)
            if not len(ids):
                raise InputError(f"{_names(source)}: no document has a known word; give more text")
            vocabulary = [token_file.words[i] for i in ids]
            with CorpusWriter(output, vocabulary, manifest) as writer:
                counts |= _write(token_file, chosen, ids, writer)
                counts["not_selected"] = counts["kept"] - int(chosen.sum())
                writer.manifest["counts"] = counts
    except OSError as error:
        raise not_writable(error, output) from None


def _read_all(
    read: Callable[[ReadProgress], Iterator[list[str]]],
    source: Source,
    options: Options,
    token_file: TokenFile,
) -> dict[str, int]:
    """Fill `token_file` with the documents that are long enough and in the slice."""
    read_progress = ReadProgress()
    stop_words = STOPWORDS if options.stop_words == "remove" else frozenset()
    start, stop = options.bounds
    seen = kept = cut = n_words = longest = 0
    bar = progress(total=kilobytes(source.size), description="reading", unit="kB")
    # Bytes are read ahead, so documents may advance while the position does not.
    bar.miniters = 0
    with bar, closing(read(read_progress)) as documents:  # type: ignore[type-var]
        for tokens in documents:
            seen += 1
            # The stop words are in lower case, the words may not be.
            words = [w for w in tokens if w.lower() not in stop_words]
            longest = max(longest, len(words))
            if len(words) >= options.min_words:
                if kept >= start:
                    token_file.add(words[: options.max_words])
                    n_words += len(words)
                    cut += max(0, len(words) - (options.max_words or len(words)))
                kept += 1
            bar.set_description_str(
                f"reading, {seen:,} documents, {n_words:,} words", refresh=False
            )
            bar.update(min(kilobytes(read_progress.position), bar.total) - bar.n)
            if kept == stop:
                break
    return {
        "seen": seen,
        "passed_over": read_progress.skipped,
        "too_short": seen - kept,
        "kept": kept,
        "cut": cut,
        "longest": longest,
    }


def _check_found(counts: dict[str, int], source: Source, options: Options) -> None:
    name, start = _names(source), options.bounds[0]
    if not counts["seen"]:
        raise InputError(f"{name}: no document in it; name a file with documents")
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
    """Mask of the documents to use, (n_documents,) bool."""
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
    token_file: TokenFile, chosen: np.ndarray, ids: np.ndarray, writer: CorpusWriter
) -> dict[str, int]:
    """Write the chosen documents as word ids; leave out documents without a known word."""
    rank = np.full(len(token_file.words) + 1, -1, np.int32)  # the last entry is for dropped words
    rank[ids] = np.arange(len(ids))
    documents = tokens = dropped = outside = 0
    blocks = progress(token_file.blocks(chosen), description="writing", unit="block")
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
        "types": len(token_file.index),
        "types_forgotten": token_file.n_dropped,
    }


def _names(source: Source) -> str:
    return ", ".join(source.sha256)


def kilobytes(size: int) -> int:
    return -(-size // 1000)
