"""Wikipedia: a MediaWiki dump, WikiExtractor's output, or the real articles that gensim ships."""

import html
import re
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple
from xml.etree.ElementTree import Element, iterparse

from gensim.corpora.wikicorpus import IGNORED_NAMESPACES, filter_wiki, get_namespace, tokenize
from gensim.test.utils import datapath

from data_prep.build import Options, Source, prepare
from data_prep.inputs import (
    AGAIN,
    Reading,
    decode,
    files_of,
    find_inputs,
    hash_inputs,
    one_line,
    open_raw,
)
from data_prep.workers import ordered_map
from lla.common.errors import InputError
from lla.corpus import Corpus

EMBEDDED = "enwiki-latest-pages-articles1.xml-p000000010p000030302-shortened.bz2"
LICENCE = "Wikipedia: CC BY-SA and GFDL"
FORMS = "a MediaWiki dump (pages-articles.xml.bz2) or WikiExtractor text (a file, folder or tar)"

TAG = re.compile(r"<[^<>\n]*>")
DOC = re.compile(rb'<doc id="[^"]*".*? title="(.*)">\s*$')

IGNORED_TITLES = tuple(f"{name}:" for name in IGNORED_NAMESPACES)


class Page(NamedTuple):
    """A page as it stands in the file; `text` is empty when it is no article."""

    title: str
    text: str
    markup: bool


@dataclass(frozen=True)
class WikipediaOptions(Options):
    """Which articles and words; the defaults are the paper's (4.1)."""

    min_words: int = 500


def prepare_wikipedia(
    output: str | Path,
    options: WikipediaOptions | None = None,
    path: str | Path | Sequence[str | Path] | None = None,
    processes: int = 1,
) -> Corpus:
    """Make the corpus folder `output` from Wikipedia, unless it is there already.

    Parameters
    ----------
    output : path
    options : WikipediaOptions
    path : path or sequence of paths, optional
        Dumps, WikiExtractor files, folders or tar archives, read in this order. Without any, the
        106 articles that gensim ships among its tests.
    processes : int
        Cores that take the markup off; the result does not depend on their number.

    Raises
    ------
    InputError
        When an input cannot be used, or no document is left.
    """
    if processes < 1:
        raise InputError(f"--processes {processes}: choose 1 or more")
    if path is None or path == []:
        path = datapath(EMBEDDED)
    paths = find_inputs([path] if isinstance(path, (str, Path)) else path)
    source = Source("wikipedia", LICENCE, hash_inputs(paths), sum(map(_size, paths)))
    options = options or WikipediaOptions()
    return prepare(
        lambda reading: read_articles(paths, reading, processes), source, options, output
    )


def read_articles(
    paths: Sequence[Path], reading: Reading, processes: int = 1
) -> Iterator[list[str]]:
    """The tokens of each article, as gensim's WikiCorpus cuts them: lower case, 2 to 15 letters."""
    # Counted here, in order, and not where pages are read, which may be a few batches ahead.
    for tokens in ordered_map(_tokens, _every_page(paths, reading), processes):
        if tokens is None:
            reading.passed_over += 1
        else:
            yield tokens


def _every_page(paths: Sequence[Path], reading: Reading) -> Iterator[Page]:
    for path in paths:
        found = False
        for page in _pages(path, reading):
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
    return sum(file.stat().st_size for file in files_of(path))


def _pages(path: Path, reading: Reading) -> Iterator[Page]:
    for file in files_of(path):
        with open_raw(file, reading) as content:
            start = content.peek(512)
            if start[257:262] == b"ustar":
                yield from _tar(content, file)
            elif start.lstrip().startswith(b"<doc "):
                yield from _extracted(content, file)
            elif start.removeprefix(b"\xef\xbb\xbf").lstrip().startswith((b"<?xml", b"<mediawiki")):
                yield from _dump(content, file)
            elif start or not path.is_dir():
                raise InputError(f"{file}: not {FORMS}; name one of these")


def _tar(content: BinaryIO, path: Path) -> Iterator[Page]:
    with tarfile.open(fileobj=content, mode="r|") as archive:
        for member in archive:
            if member.isfile():
                yield from _extracted(archive.extractfile(member), f"{path}: {member.name}")


def _extracted(content: BinaryIO, name: Path | str) -> Iterator[Page]:
    """WikiExtractor: ``<doc id url title>``, the title once more, the text, ``</doc>``."""
    title, body, position, start = None, [], 0, 0
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
        raise InputError(f"{name}: ends inside the article {title!r}, it is truncated; {AGAIN}")


def _plain(page: Page) -> str:
    text = html.unescape(TAG.sub(" ", page.text))
    first, _, rest = text.lstrip().partition("\n")
    return rest if first.strip() == page.title.strip() else text


def _dump(content: BinaryIO, path: Path) -> Iterator[Page]:
    """Pages of a MediaWiki dump; what is an article is what gensim's WikiCorpus takes for one.

    gensim's own `extract_pages` keeps an empty element for every page it has passed, which for a
    whole dump is gigabytes; here the root forgets them.
    """
    events = iterparse(content, events=("start", "end"))
    with one_line(path):
        _, root = next(events)
        try:
            ns = f"{{{get_namespace(root.tag)}}}"
        except ValueError:
            raise InputError(
                f"{path}: XML of another kind (<{root.tag}>), no MediaWiki dump; give {FORMS}"
            ) from None
        for event, page in events:
            if event == "end" and page.tag == f"{ns}page":
                yield Page(page.findtext(f"{ns}title") or "", _article(page, ns), markup=True)
                root.clear()


def _article(page: Element, ns: str) -> str:
    """Markup of a page; empty when it is a redirect or stands outside the main namespace."""
    text = page.findtext(f"{ns}revision/{ns}text") or ""
    if page.findtext(f"{ns}ns") != "0":
        return ""
    # Dumps of before 2010 have no <redirect>.
    if page.find(f"{ns}redirect") is not None or text.lstrip()[:9].upper() == "#REDIRECT":
        return ""
    return text
