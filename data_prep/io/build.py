"""Token lists to a corpus folder, in one pass over the raw data with bounded memory.

Tokens go to a temporary file as provisional ids. Once the vocabulary is counted, that file is read
block by block and written as word ids. Memory holds the types, the lengths of the documents and
one block, never the corpus.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from importlib.metadata import version
from itertools import compress, islice
from pathlib import Path
from typing import Any

import numpy as np

from data_prep.io.inputs import ReadProgress, printable
from data_prep.io.known_words import KnownWords, known_words, tokenizer_of
from data_prep.io.options import Document, Options, for_manifest
from data_prep.io.output import build_if_changed
from data_prep.io.token_file import TokenFile
from lla.common.errors import InputError
from lla.common.files import not_writable
from lla.common.progress import progress
from lla.corpus import Corpus
from lla.corpus.folder import CorpusWriter
from lla.corpus.tokens import Tokenizer, is_character

log = logging.getLogger("data_prep")
MOST = 0.1  # share of documents, or of tokens, from which a doubt is worth a line


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
    details : dict
        Further entries of the manifest.
    """

    kind: str
    licence: str
    sha256: dict[str, str]
    size: int
    details: dict[str, Any] = field(default_factory=dict)


Read = Callable[[Tokenizer, ReadProgress], Iterator[Document]]


def prepare(
    read: Read, source: Source, options: Options, output: Path, overwrite: bool = False
) -> Corpus:
    """Build the corpus folder `output`, or load it if it was built from the same sources."""
    manifest = {
        "source": f"{source.kind}: {', '.join(source.sha256)}",
        "licence": printable(str(source.licence)),
        "raw_sha256": source.sha256,
        "options": for_manifest(options),
        # Tokens may depend on the version.
        "tools": {"gensim": version("gensim")},
        **source.details,
    }
    known = None
    if options.vocabulary_of is not None:
        known = known_words(options.vocabulary_of, output)
        manifest["vocabulary_sha256"] = known.sha256
    tokenizer = options.tokenizer() if known is None else tokenizer_of(known, options)
    manifest["tokenizer"] = tokenizer.options()
    return build_if_changed(
        output=output,
        manifest=manifest,
        make=lambda: build(read, source, options, output, manifest, known=known),
        overwrite=overwrite,
    )


def build(
    read: Read,
    source: Source,
    options: Options,
    output: Path,
    manifest: dict[str, Any],
    *,
    known: KnownWords | None = None,
) -> None:
    """Read, choose documents and vocabulary, write."""
    tokenizer = Tokenizer.from_options(manifest["tokenizer"])
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        with TokenFile(output.parent, vocabulary=known.words if known else ()) as token_file:
            counts, names, is_test = _read_all(read, source, options, token_file, tokenizer)
            _check_found(counts, source, options)
            chosen = _sample(len(token_file.lengths), options)
            for_training = chosen & ~is_test
            frequency = token_file.count(for_training if for_training.any() else chosen)
            if known:
                ids = np.arange(len(known.words))
            else:
                ids = most_frequent(frequency, token_file.words, options.vocabulary)
            if not frequency.any():
                where = f"a word of {options.vocabulary_of}" if known else "a known word"
                raise InputError(f"{_names(source)}: no document has {where}; give more text")
            vocabulary = [token_file.words[i] for i in ids]
            _say_characters(vocabulary, frequency[ids], tokenizer, source)
            with CorpusWriter(output, vocabulary, manifest) as writer:
                counts |= _write(token_file, chosen, ids, writer, names)
                counts["not_selected"] = counts["kept"] - int(chosen.sum())
                writer.manifest["counts"] = counts
            if known:
                _say_unknown(counts, options)
    except OSError as error:
        raise not_writable(error, output) from None


def _read_all(
    read: Read,
    source: Source,
    options: Options,
    token_file: TokenFile,
    tokenizer: Tokenizer,
) -> tuple[dict[str, int], list[str], np.ndarray]:
    """Fill `token_file` with the documents that are long enough and in the slice.

    Returns
    -------
    counts : dict
    names : list of str
    is_test : (D,) bool
    """
    read_progress, names, is_test = ReadProgress(), [], []
    start, stop = options.bounds
    seen = kept = cut = n_words = longest = misread = 0
    bar = progress(total=kilobytes(source.size), description="reading", unit="kB")
    # Bytes are read ahead, so documents may advance while the position does not.
    bar.miniters = 0
    with bar, closing(read(tokenizer, read_progress)) as documents:  # type: ignore[type-var]
        for document in documents:
            seen += 1
            misread += document.misread
            words = document.tokens
            longest = max(longest, len(words))
            if len(words) >= options.min_words:
                if kept >= start:
                    token_file.add(words[: options.max_words])
                    names.append(printable(document.name))
                    is_test.append(document.is_test)
                    n_words += len(words)
                    cut += max(0, len(words) - (options.max_words or len(words)))
                kept += 1
            bar.set_description_str(
                f"reading, {seen:,} documents, {n_words:,} words", refresh=False
            )
            bar.update(min(kilobytes(read_progress.position), bar.total) - bar.n)
            if kept == stop:
                break
    if misread > MOST * seen:
        log.warning(
            "%s: in %s of %s documents --tokens %s tears words at combining marks, or finds no "
            "spaces between them; give --tokens words",
            _names(source),
            f"{misread:,}",
            f"{seen:,}",
            tokenizer.rule,
        )
    counts = {
        "seen": seen,
        "passed_over": read_progress.skipped,
        "too_short": seen - kept,
        "kept": kept,
        "cut": cut,
        "longest": longest,
    }
    return counts, names, np.array(is_test, bool)


def _say_characters(
    vocabulary: list[str], frequency: np.ndarray, tokenizer: Tokenizer, source: Source
) -> None:
    """One line where much of a text is in scripts without spaces."""
    if tokenizer.rule != "words":
        return
    single = sum(
        int(n) for word, n in zip(vocabulary, frequency, strict=True) if is_character(word)
    )
    if single > MOST * frequency.sum():
        log.warning(
            "%s: %.0f%% of the tokens are single characters of scripts that set no spaces between "
            "words; for words, divide the text with a tool for its language, then --tokens split",
            _names(source),
            100 * single / frequency.sum(),
        )


def _say_unknown(counts: dict[str, int], options: Options) -> None:
    """One line on what a second corpus with the first one's words leaves out."""
    total = counts["tokens"] + counts["outside_vocabulary"]
    log.info(
        "%s of %s tokens are no words of %s and left out, %s documents have no other",
        f"{counts['outside_vocabulary']:,}",
        f"{total:,}",
        options.vocabulary_of,
        f"{counts['no_known_word']:,}",
    )


def _check_found(counts: dict[str, int], source: Source, options: Options) -> None:
    name, start = _names(source), options.bounds[0]
    if not counts["seen"]:
        raise InputError(f"{name}: no document in it; name a file with documents")
    if not counts["longest"]:
        raise InputError(
            f"{name}: no word is left in its documents ({counts['seen']}); words are chosen with "
            "--tokens, --min-letters and --stop-words, such as --stop-words keep"
        )
    if not counts["kept"]:
        raise InputError(
            f"{name}: all its documents ({counts['seen']}) have fewer than --min-words "
            f"{options.min_words}; the longest has {counts['longest']}, choose as many or fewer"
        )
    if counts["kept"] <= start:
        raise InputError(
            f"--documents is {options.documents}: give a slice of the {counts['kept']} documents "
            f"of --min-words {options.min_words} in {name}"
        )


def _sample(n_documents: int, options: Options) -> np.ndarray:
    """Mask of the documents to use, (n_documents,) bool."""
    size = n_documents if options.sample is None else options.sample
    if size > n_documents:
        raise InputError(f"--sample is {size}: give at most {n_documents}, so many are left")
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
    token_file: TokenFile,
    chosen: np.ndarray,
    ids: np.ndarray,
    writer: CorpusWriter,
    names: list[str],
) -> dict[str, int]:
    """Write the chosen documents as word ids; leave out documents without a known word."""
    rank = np.full(len(token_file.words) + 1, -1, np.int32)  # the last entry is for dropped words
    rank[ids] = np.arange(len(ids))
    tokens = dropped = outside = 0
    chosen_names = compress(names, chosen)
    kept_names: list[str] = []
    blocks = progress(token_file.blocks(chosen), description="writing", unit="block")
    for types, lengths in blocks:
        words = rank[types]
        known = words >= 0
        document = np.repeat(np.arange(len(lengths)), lengths)
        left = np.bincount(document[known], minlength=len(lengths))
        writer.add(words[known], left[left > 0])
        kept_names += compress(islice(chosen_names, len(left)), left > 0)
        tokens += int(left.sum())
        dropped += int((left == 0).sum())
        outside += int((~known).sum())
    if any(kept_names):
        writer.names = kept_names
    return {
        "no_known_word": dropped,
        "documents": len(kept_names),
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
