"""The words of a first corpus, for a second one that a model of the first can read."""

from pathlib import Path
from typing import Any, NamedTuple

from data_prep.io.options import Options
from lla.common.errors import InputError, check_path
from lla.corpus import load_corpus
from lla.corpus.tokens import Tokenizer


class KnownWords(NamedTuple):
    """The words of a corpus, in the order of their ids.

    Attributes
    ----------
    folder : str
        Of the corpus, for messages.
    words : tuple of str
    sha256 : str
        Of the file of its vocabulary.
    tokenizer : dict or None
        Options of its tokenizer; None where it was not made of texts.
    """

    folder: str
    words: tuple[str, ...]
    sha256: str
    tokenizer: Any


def known_words(folder: str | Path, output: Path) -> KnownWords:
    """The words of the corpus in `folder`, for another one in `output`.

    Raises
    ------
    InputError
        When there is no corpus in `folder`, or `output` is the same folder.
    """
    path = check_path("--vocabulary-of", folder)
    if output.resolve() == path.resolve():
        raise InputError(
            f"--vocabulary-of is {folder}, and so is --output: name another folder for the second"
        )
    corpus = load_corpus(path)
    sha256 = corpus.manifest["sha256"]["vocabulary.txt"]
    return KnownWords(str(folder), corpus.vocabulary, sha256, corpus.manifest.get("tokenizer"))


def tokenizer_of(known: KnownWords, options: Options) -> Tokenizer:
    """The tokenizer of the first corpus, which the second one's options must not contradict."""
    if known.tokenizer is None:
        raise InputError(
            f"--vocabulary-of is {known.folder}: its manifest names no tokenizer; give a corpus of "
            "texts, made again if an earlier version made it"
        )
    tokenizer = Tokenizer.from_options(known.tokenizer)
    if options.says_how_to_read() and options.tokenizer() != tokenizer:
        raise InputError(
            f"--vocabulary-of is {known.folder}, whose tokenizer is taken: leave out --tokens, "
            "--keep-case, --min-letters and --stop-words"
        )
    return tokenizer
