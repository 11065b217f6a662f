"""Wikipedia: a MediaWiki dump, WikiExtractor's output, or the articles included in gensim."""

import html
import re
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, BinaryIO, NamedTuple
from xml.etree.ElementTree import Element, iterparse

from gensim.corpora.wikicorpus import IGNORED_NAMESPACES, filter_wiki, get_namespace, tokenize
from gensim.test.utils import datapath

from data_prep.io.build import Options, Source, prepare
from data_prep.io.inputs import (
    REMEDY,
    ReadProgress,
    as_input_error,
    decode,
    find_inputs,
    hash_inputs,
    list_files,
    open_raw,
)
from data_prep.io.output import output_folder
from data_prep.io.workers import ordered_map
from lla.common.errors import InputError
from lla.corpus import Corpus

EMBEDDED = "enwiki-latest-pages-articles1.xml-p000000010p000030302-shortened.bz2"
LICENCE = "Wikipedia: CC BY-SA and GFDL"
FORMS = "a MediaWiki dump (pages-articles.xml.bz2) or WikiExtractor text (a file, folder or tar)"

TAG = re.compile(r"<[^<>\n]*>")
DOC = re.compile(rb'<doc id="[^"]*".*? title="(.*)">\s*$')

IGNORED_TITLES = tuple(f"{name}:" for name in IGNORED_NAMESPACES)


class Page(NamedTuple):
    """A page as it is in the file; `text` is empty if it is no article."""

    title: str
    text: str
    markup: bool


@dataclass(frozen=True, repr=False)
class WikipediaOptions(Options):
    """Which articles and words; the defaults are the paper's (4.1)."""

    min_words: int = 500


def prepare_wikipedia(
    output: str | Path,
    options: WikipediaOptions | None = None,
    path: str | Path | Sequence[str | Path] | None = None,
    processes: int = 1,
    overwrite: bool = False,
) -> Corpus:
    """Make the corpus folder `output` from Wikipedia, unless it exists and is current.

    Parameters
    ----------
    output : path
    options : WikipediaOptions
    path : path or sequence of paths, optional
        Dumps, WikiExtractor files, folders or tar archives, read in this order. By default, the
        106 articles of gensim's test data.
    processes : int
        Worker processes that remove markup; the result does not depend on their number.
    overwrite : bool
        Whether a corpus that `output` holds, made from other sources or with other options, is
        replaced.

    Raises
    ------
    InputError
        If an input cannot be used, or no document is left.
    """
    output = output_folder(output)
    if processes < 1:
        raise InputError(f"--processes {processes}: choose 1 or more")
    if path is None or path == []:
        path = datapath(EMBEDDED)
    paths = find_inputs([path] if isinstance(path, (str, Path)) else path)
    source = Source("wikipedia", LICENCE, hash_inputs(paths), sum(map(_size, paths)))
    options = options or WikipediaOptions()
    return prepare(
        read=lambda read_progress: read_articles(paths, read_progress, processes),
        source=source,
        options=options,
        output=output,
        overwrite=overwrite,
    )


def read_articles(
    paths: Sequence[Path], read_progress: ReadProgress, processes: int = 1
) -> Iterator[list[str]]:
    """The tokens of each article, as in gensim's WikiCorpus: lower case, 2 to 15 letters."""
    # Counted here, in order; pages may be read a few batches ahead.
    for tokens in ordered_map(_tokens, _all_pages(paths, read_progress), processes):
        if tokens is None:
            read_progress.skipped += 1
        else:
            yield tokens


def _all_pages(paths: Sequence[Path], read_progress: ReadProgress) -> Iterator[Page]:
    for path in paths:
        found = False
        for page in _pages(path, read_progress):
            if page.title.startswith(IGNORED_TITLES):
                page = page._replace(text="")
            found = found or bool(page.text)
            yield page
        if not found:
            raise InputError(f"{path}: no article in it; give {FORMS}")


def _tokens(page: Page) -> list[str] | None:
    if not page.text:
        return None
    return tokenize(filter_wiki(page.text) if page.markup else _plain(page))


def _size(path: Path) -> int:
    return sum(file.stat().st_size for file in list_files(path))


def _pages(path: Path, read_progress: ReadProgress) -> Iterator[Page]:
    for file in list_files(path):
        with open_raw(file, read_progress) as content:
            start = content.peek(512)
            if start[257:262] == b"ustar":
                yield from _tar(content, file)
            elif start.lstrip().startswith(b"<doc "):
                yield from _extracted(content, file)
            elif start.removeprefix(b"\xef\xbb\xbf").lstrip().startswith((b"<?xml", b"<mediawiki")):
                yield from _dump(content, file)
            elif start or not path.is_dir():
                raise InputError(f"{file}: not {FORMS}; give one of these")


def _tar(content: BinaryIO, path: Path) -> Iterator[Page]:
    with tarfile.open(fileobj=content, mode="r|") as archive:
        for member in archive:
            if member.isfile():
                content_of_member = archive.extractfile(member)
                assert content_of_member is not None  # a file, not a folder or a link
                yield from _extracted(content_of_member, f"{path}: {member.name}")


def _extracted(content: IO[bytes], name: Path | str) -> Iterator[Page]:
    """WikiExtractor: ``<doc id url title>``, the title again, the text, ``</doc>``."""
    title, position, start = None, 0, 0
    body: list[bytes] = []
    for line in content:
        if title is None:
            if header := DOC.match(line):
                title = html.unescape(decode(header[1], name, position))
                body, start = [], position + len(line)
        elif (last := line.rstrip()).endswith(b"</doc>"):
            body.append(last.removesuffix(b"</doc>"))
            yield Page(title, decode(b"".join(body), name, start), markup=False)
            title = None
        else:
            body.append(line)
        position += len(line)
    if title is not None:
        raise InputError(f"{name}: ends inside the article {title!r}, it is truncated; {REMEDY}")


def _plain(page: Page) -> str:
    text = html.unescape(TAG.sub(" ", page.text))
    first, _, rest = text.lstrip().partition("\n")
    return rest if first.strip() == page.title.strip() else text


def _dump(content: BinaryIO, path: Path) -> Iterator[Page]:
    """Pages of a MediaWiki dump; articles are those of gensim's WikiCorpus.

    gensim's own `extract_pages` keeps an empty element per page, gigabytes for a complete dump;
    here the root element is cleared.
    """
    events = iterparse(content, events=("start", "end"))
    with as_input_error(path):
        _, root = next(events)
        try:
            ns = f"{{{get_namespace(root.tag)}}}"
        except ValueError:
            raise InputError(
                f"{path}: not a MediaWiki dump but other XML (<{root.tag}>); give {FORMS}"
            ) from None
        for event, page in events:
            if event == "end" and page.tag == f"{ns}page":
                yield Page(page.findtext(f"{ns}title") or "", _article(page, ns), markup=True)
                root.clear()


def _article(page: Element, ns: str) -> str:
    """Markup of a page; empty for redirects and pages outside the main namespace."""
    text = page.findtext(f"{ns}revision/{ns}text") or ""
    if page.findtext(f"{ns}ns") != "0":
        return ""
    # Dumps from before 2010 have no <redirect>.
    if page.find(f"{ns}redirect") is not None or text.lstrip()[:9].upper() == "#REDIRECT":
        return ""
    return text
