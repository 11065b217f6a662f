"""A published archive of labelled documents, read as a stream: training first, then test.

A document is called ``PART/LABEL/NAME``, as in ``train/sci.space/60191``: labels and the published
split are kept in the names, which stay with the documents whatever is selected.
"""

import logging
import tarfile
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from re import Match, Pattern
from typing import Any, NamedTuple

import numpy as np

from data_prep.io.build import Source, prepare
from data_prep.io.find import data_dir, find_input, is_hidden_path
from data_prep.io.inputs import ReadProgress, hash_inputs, open_raw
from data_prep.io.options import Document, Options
from lla.common.errors import InputError, check_choice, check_instance
from lla.common.files import folder_to_write
from lla.corpus import Corpus
from lla.corpus.tokens import Tokenizer

log = logging.getLogger("data_prep")

PARTS = ("train", "test")


@dataclass(frozen=True, repr=False)
class LabelledOptions(Options):
    """Which documents and words.

    Attributes
    ----------
    part : "all", "train" or "test"
        Of the published split.
    """

    part: str = "all"

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check(check_choice, "part", choices=("all", *PARTS))

    @property
    def parts(self) -> tuple[str, ...]:
        """The parts that are read, in this order."""
        return PARTS if self.part == "all" else (self.part,)


class Member(NamedTuple):
    """A file in an archive; `place` names it in messages, `found` is the match of its path."""

    place: str
    found: Match[str]
    content: bytes


# The documents of a member that belongs to the part: their names and their words.
Read = Callable[[Member, Tokenizer], Iterator[Document]]


@dataclass(frozen=True)
class PublishedArchive:
    """A tar archive of documents in two parts.

    Attributes
    ----------
    kind : str
        Name of the source in manifests and on the command line.
    title, licence, citation, page : str
    files : tuple of str
        Names looked for in the folder ``LLA_DATA``, in this order.
    member : pattern
        Of the paths of documents in the archive, from their end; the group ``part`` is the part.
    details : dict
        Further entries of the manifest.
    """

    kind: str
    title: str
    licence: str
    citation: str
    page: str
    files: tuple[str, ...]
    member: Pattern[str]
    details: dict[str, Any] = field(default_factory=dict)


def prepare_archive(
    output: str | Path,
    options: LabelledOptions,
    path: str | Path | None,
    overwrite: bool,
    archive: PublishedArchive,
    read_member: Read,
) -> Corpus:
    """Make the corpus folder `output` from an archive, unless it exists and is current.

    Parameters
    ----------
    output : path
    options : of the source, which has defaults for all
    path : path, optional
        The archive; by default, the one in the folder ``LLA_DATA``.
    overwrite : bool
        Whether a corpus that `output` holds, made from another file or with other options, is
        replaced.
    archive, read_member
        Of the source.

    Raises
    ------
    InputError
        If the archive is missing or damaged, or no document is left.
    """
    output = folder_to_write(output, "--output")
    found = find_archive(archive, path)
    source = Source(
        kind=archive.kind,
        licence=archive.licence,
        sha256=hash_inputs([found]),
        # The archive is read once per part, so that training comes first whatever its order.
        size=found.stat().st_size * len(options.parts),
        details={"citation": archive.citation, "page": archive.page, **archive.details},
    )

    def read(tokenizer: Tokenizer, read_progress: ReadProgress) -> Iterator[Document]:
        for part in options.parts:
            empty = True
            with closing(members(found, archive, read_progress)) as opened:
                for member in opened:
                    if member.found["part"] == part:
                        for document in read_member(member, tokenizer):
                            empty = False
                            yield document
            if empty:
                raise InputError(f"{found}: no document of its {part} part; {_give(archive)}")

    return prepare(read, source, options, output, overwrite)


def check_options(options: LabelledOptions | None, kind: type[LabelledOptions]) -> LabelledOptions:
    """The options of a source, or its defaults."""
    options = kind() if options is None else options
    check_instance("options", options, kind)
    return options


def find_archive(archive: PublishedArchive, path: str | Path | None) -> Path:
    """The archive that is named, or the one in the folder ``LLA_DATA``."""
    if path is not None:
        found = find_input(path)
        if found.is_dir():
            raise InputError(f"{found}: a folder; {_give(archive)}")
        return found
    folder = data_dir()
    candidates = [folder / name for name in archive.files] if folder else []
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    where = f"LLA_DATA={folder} has no such file" if folder else "LLA_DATA is not set"
    raise InputError(
        f"{archive.kind}: {archive.files[0]}: {where}; get it ({archive.page}), then name its "
        "folder in LLA_DATA or give its path"
    )


def _give(archive: PublishedArchive) -> str:
    return f"give {' or '.join(archive.files)} as published"


def members(
    path: Path, archive: PublishedArchive, read_progress: ReadProgress
) -> Generator[Member, None, None]:
    """The documents' files of an archive, in its order."""
    with open_raw(path, read_progress) as content:
        if content.peek(512)[257:262] != b"ustar":
            raise InputError(f"{path}: not a tar archive; {_give(archive)}")
        with tarfile.open(fileobj=content, mode="r|") as opened:
            for entry in opened:
                found = archive.member.search(entry.name)
                if found and entry.isfile() and not is_hidden_path(entry.name):
                    file = opened.extractfile(entry)
                    assert file is not None  # a file, not a folder or a link
                    yield Member(f"{path}: {entry.name}", found, file.read())


class Labels(NamedTuple):
    """Labels of documents, and the part of the published split that they belong to.

    Attributes
    ----------
    label : (D,) int64
        Number of each document's label in `names`.
    names : tuple of str
        The labels that occur, in alphabetical order.
    is_test : (D,) bool
    """

    label: np.ndarray
    names: tuple[str, ...]
    is_test: np.ndarray


def labels_of(corpus: Corpus) -> Labels:
    """Labels and parts of the documents of a labelled corpus, or of a selection of them.

    Raises
    ------
    InputError
        When the documents' names are not ``PART/LABEL/NAME``.
    """
    check_instance("corpus", corpus, Corpus)
    parts = [name.split("/", 2) for name in corpus.names]
    wrong = [name for name, p in zip(corpus.names, parts, strict=True) if not _is_labelled(p)]
    if wrong or not parts:
        what = f"its document {wrong[0]!r} has no label" if wrong else "its documents have no names"
        raise InputError(f"corpus: {what}; give one made of news20_clean, newsgroups or imdb")
    names, label = np.unique([p[1] for p in parts], return_inverse=True)
    is_test = np.array([p[0] == "test" for p in parts])
    return Labels(label.astype(np.int64), tuple(map(str, names)), is_test)


def _is_labelled(parts: list[str]) -> bool:
    return len(parts) == 3 and parts[0] in PARTS
