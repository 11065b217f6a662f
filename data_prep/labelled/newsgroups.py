"""20 Newsgroups, sorted by date: what people wrote, without headers, quotations and signatures."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

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

NEWSGROUPS = PublishedArchive(
    kind="newsgroups",
    title="20 Newsgroups, sorted by date, without headers, quotations and signatures",
    licence="none stated; widely used for research",
    citation="K. Lang: NewsWeeder: Learning to Filter Netnews, ICML 1995",
    page="http://qwone.com/~jason/20Newsgroups/",
    files=("20newsgroups_bydate.tar.xz", "20news-bydate.tar.gz"),
    member=re.compile(r"(?:^|/)20news-bydate-(?P<part>train|test)/(?P<label>[^/]+)/(?P<id>[^/]+)$"),
)

# A line that is quoted: its mark may follow the initials of whoever wrote it ("JD> I think").
QUOTED = re.compile(r"\s*(?:[A-Za-z]{0,4}>|[|:}])")
# The line that announces a quotation, and the beginning of one that is broken in two.
ANNOUNCES = re.compile(
    r"\b(?:writes|wrote|says|said|asks|asked|responds|responded)\b[^.?!:]{0,20}(?::|\.\.+)\s*$"
    r"|\b(?:writes|wrote)\s*$|^\s*in (?:article|message) ",
    re.IGNORECASE,
)
RULE = re.compile(r"\s*([-_=*~#])\1+\s*$|--\s")  # a line of one mark, or the start of a signature
SIGNATURE = 12  # lines that a signature has at most, its rule not counted


@dataclass(frozen=True, repr=False)
class NewsgroupsOptions(LabelledOptions):
    """Which messages and words; messages with no word left are left out."""


def prepare_newsgroups(
    output: str | Path,
    options: NewsgroupsOptions | None = None,
    path: str | Path | None = None,
    overwrite: bool = False,
) -> Corpus:
    """Make the corpus folder `output` from 20 Newsgroups, unless it exists and is current.

    Documents are called ``train/sci.space/60191``; see `data_prep.labels_of`. The vocabulary is
    chosen on messages for training, unless only those for test are read.

    Parameters and errors are those of `data_prep.labelled.archive.prepare_archive`.
    """
    chosen = check_options(options, NewsgroupsOptions)
    return prepare_archive(output, chosen, path, overwrite, NEWSGROUPS, _read_message)


def _read_message(member: Member, tokenizer: Tokenizer) -> Iterator[Document]:
    text = message_text(member.content.decode("latin-1"))
    part, label, name = member.found.group("part", "label", "id")
    yield Document(f"{part}/{label}/{name}", tokenizer.tokens(text), is_test=part == "test")


def message_text(message: str) -> str:
    """What the author of a message wrote: no header, quotation or signature.

    In copies whose lines end in tabs, tabs are line ends.
    """
    message = message.replace("\r\n", "\n").replace("\r", "\n").rstrip("\n")
    if "\n" not in message:
        message = message.replace("\t", "\n")
    _, _, body = message.partition("\n\n")
    lines = [line for line in _without_signature(body.split("\n")) if not QUOTED.match(line)]
    return "\n".join(line for line in lines if not ANNOUNCES.search(line)).strip()


def _without_signature(lines: list[str]) -> list[str]:
    """The lines before the last rule, if what follows is as short as a signature."""
    while lines and not lines[-1].strip():
        lines = lines[:-1]
    first = max(0, len(lines) - SIGNATURE - 1)
    rules = [i for i in range(first, len(lines)) if RULE.match(lines[i])]
    if not rules:
        return lines
    # A signature may stand between two rules.
    closed = rules[-1] == len(lines) - 1 and len(rules) > 1
    return lines[: rules[-2] if closed else rules[-1]]
