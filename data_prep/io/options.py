"""Which documents and words of a text enter its corpus."""

import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

from data_prep.io.inputs import ReadProgress, decoded_lines, find_input, open_text, printable
from lla.common.display import Configuration
from lla.common.errors import (
    InputError,
    check_choice,
    check_flag,
    check_integer,
    check_text,
    optional,
)
from lla.corpus.tokens import RULES, Tokenizer

ENGLISH = ("remove", "english", "en")
# Words of English that gensim's list lacks because its own tokenizer cuts them at the apostrophe;
# the last ones are what corpora in the style of the Penn Treebank leave of such words.
CONTRACTIONS = """
ain't aren't can't couldn't didn't doesn't don't hadn't hasn't haven't isn't mightn't mustn't
needn't shan't shouldn't wasn't weren't won't wouldn't could've might've must've should've would've
i'd i'll i'm i've you'd you'll you're you've he'd he'll she'd she'll it'd it'll we'd we'll we're
we've they'd they'll they're they've that'd that'll there'd there'll what'd what'll what're what've
who'd who'll who're who've n't ll ve
"""


class Document(NamedTuple):
    """A document as a source hands it over.

    Attributes
    ----------
    name : str
        A file, an id, a title; empty where it has none.
    tokens : list of str
        Its words, without stop words.
    misread : bool
        Whether it is in a script for which the tokenizer is not made.
    is_test : bool
        Whether its words have no part in the choice of the vocabulary, unless all documents are
        such.
    """

    name: str
    tokens: list[str]
    misread: bool = False
    is_test: bool = False


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
    vocabulary_of : path or None
        A corpus whose words, in their order, and whose tokenizer are taken instead.
    tokens : "words", "split" or "gensim"
        How a text is cut into words; see `lla.corpus.tokens.Tokenizer`.
    keep_case : bool
        Keep capital letters in words.
    min_letters : int or None
        Shorter words are left out; by default below 2, and none of split tokens.
    stop_words : "remove", "keep", "english" or a file
        Words to leave out: gensim's 337 English ones and contractions such as "don't", or those of
        a file with one word per line. By default, "remove" from words and "keep" in split tokens.
    documents : str
        ``"A:B"``, Python's slice of the documents that are long enough; either end is optional.
    sample : int or None
        Number of documents drawn from them at random with `seed`, in the source's order.
    """

    min_words: int = 1
    max_words: int | None = None
    vocabulary: int = 50_000
    vocabulary_of: str | Path | None = None
    tokens: str = "words"
    keep_case: bool = False
    min_letters: int | None = None
    stop_words: str | Path = ""
    documents: str = ":"
    sample: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("min_words", "vocabulary"):
            self._check(check_integer, name)
        for name in ("max_words", "min_letters", "sample"):
            self._check(optional(check_integer), name)
        self._check(check_integer, "seed", least=0, most=None)
        if self.max_words is not None and self.max_words < self.min_words:
            raise InputError(
                f"--max-words is {self.max_words}: give --min-words {self.min_words} or more"
            )
        self._check(check_choice, "tokens", choices=RULES)
        self._check(check_flag, "keep_case")
        self._check(check_text, "documents")
        self._check(_as_text, "stop_words")
        self._check(optional(_as_text), "vocabulary_of")
        if not self.stop_words:
            object.__setattr__(self, "stop_words", "keep" if self.tokens == "split" else "remove")
        if self.vocabulary_of is not None and self.vocabulary != type(self).vocabulary:
            raise InputError(
                f"--vocabulary is {self.vocabulary}: leave it out, --vocabulary-of names all words"
            )
        _ = self.bounds, self.tokenizer()

    def _check(self, check: Callable[..., Any], name: str, **limits: Any) -> None:
        """Check an option, which messages name as the command line does."""
        value = check(f"--{name.replace('_', '-')}", getattr(self, name), **limits)
        object.__setattr__(self, name, value)

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
                f"--documents is {self.documents}: give A:B with 0 <= A < B, such as 0:500"
            )
        return start, stop

    def tokenizer(self) -> Tokenizer:
        """How texts become words; reads the file of stop words, if one is named."""
        min_letters = self.min_letters or (1 if self.tokens == "split" else 2)
        bare = Tokenizer(self.tokens, self.keep_case, min_letters)
        return Tokenizer(self.tokens, self.keep_case, min_letters, self._stop_words(bare))

    def says_how_to_read(self) -> bool:
        """Whether one of the options that make the tokenizer was chosen."""
        names = ("tokens", "keep_case", "min_letters", "stop_words")
        default = type(self)()
        return any(getattr(self, name) != getattr(default, name) for name in names)

    def _stop_words(self, tokenizer: Tokenizer) -> str:
        """The words to leave out, sorted, in lower case, separated by spaces."""
        choice = str(self.stop_words)
        if choice == "keep":
            return ""
        from gensim.parsing.preprocessing import STOPWORDS  # takes a second to import

        words = {*STOPWORDS, *(() if self.tokens == "gensim" else CONTRACTIONS.split())}
        if choice.lower() not in ENGLISH:
            words = _words_of_file(choice, tokenizer)
        return " ".join(sorted(words))


def _as_text(name: str, value: object) -> str:
    """A text, or a path as text, which the manifest can hold."""
    return check_text(name, os.fspath(value) if isinstance(value, os.PathLike) else value)


def for_manifest(options: Any) -> dict[str, Any]:
    """The fields of a dataclass of options, as JSON in UTF-8 can hold them."""
    return {
        name: printable(os.fspath(value)) if isinstance(value, (str, os.PathLike)) else value
        for name, value in asdict(options).items()
    }


def _words_of_file(name: str, tokenizer: Tokenizer) -> set[str]:
    """The words of a file, each as it stands there and as `tokenizer` reads it."""
    if not os.path.isfile(os.path.expanduser(name)):
        raise InputError(
            f"--stop-words is {name}: give remove or english (gensim's list, no other language is "
            "included), keep, or a file with one word per line"
        )
    path = find_input(name)
    words: set[str] = set()
    with open_text(path, ReadProgress()) as content:
        for number, line in enumerate(decoded_lines(content, path), 1):
            if len(line.split()) > 1:
                raise InputError(
                    f"{path}: line {number} is {line.strip()[:40]!r}: give one word per line"
                )
            word = line.strip().lower()
            read = tokenizer.tokens(word)
            words |= {word, *(read if len(read) == 1 else ())} - {""}
    if not words:
        raise InputError(f"{path}: no word in it; give one word per line, or --stop-words keep")
    return {word for word in words if not any(map(str.isspace, word))}
