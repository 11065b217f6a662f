"""A text becomes words, by rules that can be written down and followed again for a new text."""

import logging
import re
import unicodedata
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from functools import cache
from typing import Any

from lla.common.display import JOINERS
from lla.common.errors import InputError, check_integer

log = logging.getLogger("lla")

# Apostrophes as people type them, and what is inside a word without being seen: soft hyphens, byte
# order marks, marks of direction.
PLAIN = {
    **dict.fromkeys(map(ord, "\u2018\u2019\u02bc\uff07\u00b4`"), "'"),
    **dict.fromkeys(map(ord, "\u00ad\u2060\ufeff\u200e\u200f"), None),
    **dict.fromkeys((*range(0x202A, 0x202F), *range(0x2066, 0x206A)), None),
}
# Between two letters these join: an apostrophe, an underscore, the dot of Catalan, the geresh and
# gershayim of Hebrew.
JOINING = "'_\u00b7\u05f3\u05f4"
# The short forms before an apostrophe of French, Italian and Catalan, and the 's of English.
ELISION = re.compile(
    r"(?:(?:[cdjlmnst]|qu|jusqu|lorsqu|puisqu|quoiqu|un|all|dall|dell|nell|sull|coll|gl|agl|dagl"
    r"|degl|negl|sugl)')+(?=[^\W_]{2})",
    re.IGNORECASE,
)
POSSESSIVE = re.compile(rf"(?:'s[{JOINERS}]*)+$", re.IGNORECASE)
ASCII_WORD = re.compile(r"[^\W_]+(?:['_][^\W_]+)*")  # as `_Patterns.word`, but faster
LETTERS = re.compile(r"[^\W\d]+")  # as in gensim: letters and underscores
GENSIM_MAX_LETTERS = 15
# Scripts that set no spaces between words: Han, Hiragana, Thai, Lao, Burmese, Khmer and Tai.
SPACELESS = (
    (0x0E01, 0x0EFF),
    (0x1000, 0x109F),
    (0x1780, 0x17FF),
    (0x1950, 0x19DF),
    (0x1A20, 0x1AAF),
    (0x3005, 0x3007),
    (0x3041, 0x309F),
    (0x3400, 0x4DBF),
    (0x4E00, 0x9FFF),
    (0xA9E0, 0xA9FF),
    (0xAA60, 0xAADF),
    (0xF900, 0xFAFF),
)
HAN_SUPPLEMENT = "\U00020000-\U0003ffff"
KATAKANA = "\u30a1-\u30fa\u30fc-\u30ff\u31f0-\u31ff\uff66-\uff9f"
MARKS_END = 0x1F000  # above are emoji, Han, and the marks of the next line
VARIATION_SELECTORS = "\U000e0100-\U000e01ef"
RULES = ("words", "split", "gensim")


@dataclass(frozen=True)
class Tokenizer:
    """How a text becomes words.

    Attributes
    ----------
    rule : "words", "split" or "gensim"
        "words": runs of letters, digits and combining marks with at least one letter, in Unicode's
        NFC. Apostrophes and single underscores inside a word stay; a final 's and the elided
        article of Romance languages (l'eau) are left off. In scripts that set no spaces every
        character is a word with its marks (Han, Hiragana, Thai, Lao, Burmese, Khmer), and a run of
        Katakana is one, as in Unicode's UAX #29.
        "split": everything between white space, unchanged.
        "gensim": runs of letters and underscores, at most 15 long, as in gensim's WikiCorpus.
    keep_case : bool
        Keep capital letters; "split" always does.
    min_letters : int
        Shorter words are left out; characters of scripts without spaces never are.
    stop_words : str
        Words to leave out, in lower case, separated by spaces.
    """

    rule: str = "words"
    keep_case: bool = False
    min_letters: int = 2
    stop_words: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.keep_case, bool):
            raise InputError(f"keep_case is {self.keep_case!r}: give True or False")
        if self.rule not in RULES:
            raise InputError(f"rule is {self.rule!r}: give one of {', '.join(RULES)}")
        check_integer("min_letters", self.min_letters)
        if not isinstance(self.stop_words, str):
            raise InputError(
                f"stop_words is a {type(self.stop_words).__name__}: give one text, words separated "
                "by spaces"
            )

    @classmethod
    def from_options(cls, options: Any) -> "Tokenizer":
        """The tokenizer that `options` describes, as the method of that name gave them."""
        names = {field.name for field in fields(cls)}
        if not isinstance(options, Mapping) or set(options) != names:
            raise InputError(
                f"the tokenizer is {options!r:.80}: give {', '.join(sorted(names))}, as "
                "Tokenizer.options() does"
            )
        return cls(**options)

    def options(self) -> dict[str, Any]:
        """All that is needed to read another text the same way, for JSON."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def tokens(self, text: str) -> list[str]:
        """The words of `text`, in order, without stop words."""
        if self.rule == "split":
            words: Iterable[str] = text.split()
        elif self.rule == "gensim":
            words = _letters(text if self.keep_case else text.lower(), self.min_letters)
        else:
            words = _words(_normalised(text, self.keep_case))
        if self.rule != "gensim" and self.min_letters > 1:
            # At most every second character joins two others.
            surely = 2 * self.min_letters
            words = (word for word in words if len(word) >= surely or self._is_long_enough(word))
        if not (stop_words := _as_set(self.stop_words)):
            return list(words)
        if self.rule != "split" and not self.keep_case:
            return [word for word in words if word not in stop_words]
        return [word for word in words if word.lower() not in stop_words]

    def misreads(self, text: str) -> bool:
        """Whether `text` is in a script whose words the rule "gensim" tears or runs together."""
        if self.rule != "gensim" or text.isascii():
            return False
        return len(_patterns().misread.findall(text)) > len(text) / 50

    def _is_long_enough(self, word: str) -> bool:
        n_letters = sum(c not in JOINING and c not in JOINERS for c in word)
        return n_letters >= self.min_letters or (self.rule == "words" and is_character(word))


def read_known(text: str | Iterable[str], options: Any, known: Container[str]) -> list[str]:
    """The `known` words of a new text, in order; one line in the log counts the others.

    Parameters
    ----------
    text : a text as it was written, or a list of words, of which the known ones stay as they are
    options : of the tokenizer of the corpus that a model was trained on; None where it has none
    known : the words of the model
    """
    if options is None:
        raise InputError(
            "this model has no tokenizer: it was trained on events, or on texts by an earlier "
            "version; give its items as a list to recommend, topics_ahead, decode or session"
        )
    tokenizer = Tokenizer.from_options(options)
    if isinstance(text, str):
        words = tokenizer.tokens(text)
    elif isinstance(text, (bytes, Mapping)) or not isinstance(text, Iterable):
        raise InputError(f"text is a {type(text).__name__}: give a str, or a list of words")
    else:
        words = []
        for word in text:
            if not isinstance(word, str):
                raise InputError(f"a word of the text is {word!r:.40}: give words as str")
            words += [str(word)] if word in known else tokenizer.tokens(word)
    read = [word for word in words if word in known]
    if n_unknown := len(words) - len(read):
        log.warning("%d of %d words are unknown to the model: left out", n_unknown, len(words))
    return read


def is_character(word: str) -> bool:
    """Whether `word` is one character, with its marks, of a script that sets no spaces."""
    return not word.isascii() and _patterns().character.fullmatch(word) is not None


def _normalised(text: str, keep_case: bool) -> str:
    text = text.translate(PLAIN)
    if not keep_case:
        text = text.lower()
    return unicodedata.normalize("NFC", text)


def _words(text: str) -> Iterator[str]:
    if text.isascii():
        found = ASCII_WORD.findall(text)
    else:
        patterns = _patterns()
        found = patterns.word.findall(patterns.apart.sub(r" \g<0> ", text))
    for word in found:
        if "'" in word:
            word = POSSESSIVE.sub("", word)
            if elided := ELISION.match(word):
                word = word[elided.end() :]
        if word.isalpha():
            yield word
        elif any(map(str.isalpha, word)):
            yield word.rstrip(JOINERS)


def _letters(text: str, min_letters: int) -> list[str]:
    return [
        word
        for word in LETTERS.findall(text)
        if min_letters <= len(word) <= GENSIM_MAX_LETTERS and not word.startswith("_")
    ]


@cache
def _as_set(words: str) -> frozenset[str]:
    return frozenset(words.split())


@dataclass(frozen=True)
class _Patterns:
    """Regular expressions made of Unicode's categories.

    Attributes
    ----------
    word : a letter or digit with its marks, more of them, joined or not
    apart : a character of a script without spaces, or a run of Katakana
    character : the former alone
    misread : one mark, or one letter of a script without spaces
    """

    word: re.Pattern[str]
    apart: re.Pattern[str]
    character: re.Pattern[str]
    misread: re.Pattern[str]


@cache  # made when first used: it takes longer than importing this file
def _patterns() -> _Patterns:
    marks = VARIATION_SELECTORS + _class_of(
        range(0x300, MARKS_END), lambda c: unicodedata.category(c)[0] == "M"
    )
    in_spaceless = (i for first, last in SPACELESS for i in range(first, last + 1))
    spaceless = HAN_SUPPLEMENT + _class_of(in_spaceless, _is_letter)
    inside = f"[{marks}{JOINERS}]*"
    # The mark that stacks the next consonant of Burmese, Khmer and Tai Tham joins the two.
    character = f"[{spaceless}](?:[{marks}]|(?<=[\u1039\u17d2\u1a60])[{spaceless}])*"
    return _Patterns(
        word=re.compile(rf"[^\W_]{inside}(?:[{JOINING}]?[^\W_]{inside})*"),
        apart=re.compile(f"{character}|[{KATAKANA}][{KATAKANA}{marks}]*"),
        character=re.compile(character),
        misread=re.compile(f"[{marks}{spaceless}]"),
    )


def _is_letter(character: str) -> bool:
    return unicodedata.category(character) in ("Lo", "Lm", "Nl")


def _class_of(codes: Any, belongs: Callable[[str], bool]) -> str:
    """The inside of a regular expression's class: the characters that belong, as ranges."""
    ranges: list[list[int]] = []
    for code in codes:
        if belongs(chr(code)):
            if ranges and ranges[-1][1] == code - 1:
                ranges[-1][1] = code
            else:
                ranges.append([code, code])
    return "".join(f"{chr(first)}-{chr(last)}" for first, last in ranges)
