"""Wikipedia: a MediaWiki dump, WikiExtractor's output, or the articles included in gensim."""

import html
import io
import os
import re
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import IO, Any, BinaryIO, NamedTuple, cast
from xml.etree.ElementTree import Element, iterparse

from data_prep.io.build import Source, prepare
from data_prep.io.find import is_hidden_path, list_files, open_inputs, say_passed_over
from data_prep.io.inputs import (
    REMEDY,
    ReadProgress,
    as_input_error,
    decode_text,
    decoded_lines,
    hash_inputs,
    json_objects,
    open_raw,
    text_of,
)
from data_prep.io.options import Document, Options
from data_prep.io.workers import ordered_map
from lla.common.errors import InputError, check_instance, check_integer, check_list
from lla.common.files import folder_to_write
from lla.corpus import Corpus
from lla.corpus.tokens import Tokenizer

EMBEDDED = "enwiki-latest-pages-articles1.xml-p000000010p000030302-shortened.bz2"
LICENCE = "Wikipedia: CC BY-SA and GFDL"
FORMS = "a MediaWiki dump (pages-articles.xml.bz2) or WikiExtractor text (a file, folder or tar)"

TAG = re.compile(r"<[^<>\n]*>")
DOC = re.compile(rb'<doc id="[^"]*".*? title="(.*)">\s*$')

BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class Page(NamedTuple):
    """A page as it is in the file; `text` is empty if it is no article."""

    title: str
    text: str
    markup: bool


@dataclass(frozen=True, repr=False)
class WikipediaOptions(Options):
    """Which articles and words; the defaults are the paper's (4.1), and gensim's words."""

    min_words: int = 500
    tokens: str = "gensim"


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
    output = folder_to_write(output, "--output")
    options = WikipediaOptions() if options is None else options
    check_instance("options", options, WikipediaOptions)
    check_integer("--processes", processes)
    names = (
        [path]
        if isinstance(path, (str, os.PathLike))
        else check_list("input", [] if path is None else path)
    )
    with open_inputs(names or [datapath(EMBEDDED)]) as paths:
        for one in paths:
            say_passed_over(one)
        source = Source("wikipedia", LICENCE, hash_inputs(paths), sum(map(_size, paths)))

        def read(tokenizer: Tokenizer, read_progress: ReadProgress) -> Iterator[Document]:
            return read_articles(paths, tokenizer, read_progress, processes)

        return prepare(read, source, options, output, overwrite)


# gensim takes a second to import: it is where a dump is read, not in whatever imports this file.
def datapath(name: str) -> str:
    """Path of a file that gensim ships for its tests."""
    from gensim.test.utils import datapath as path_of

    return path_of(name)


@cache
def ignored_titles(talk: bool = False) -> tuple[str, ...]:
    """How the titles of pages begin that are no articles; `talk` adds those of talk pages."""
    from gensim.corpora.wikicorpus import IGNORED_NAMESPACES as names

    ignored = tuple(f"{name}:" for name in names)
    if not talk:
        return ignored
    return (*ignored, "Talk:", "User:", *(f"{name} talk:" for name in (*names, "User")))


def read_articles(
    paths: Sequence[Path], tokenizer: Tokenizer, read_progress: ReadProgress, processes: int = 1
) -> Iterator[Document]:
    """The title and the words of each article."""
    read = partial(_read, tokenizer=tokenizer)
    # Counted here, in order; pages may be read a few batches ahead.
    for document in ordered_map(read, _all_pages(paths, read_progress), processes):
        if document is None:
            read_progress.skipped += 1
        else:
            yield document


def _all_pages(paths: Sequence[Path], read_progress: ReadProgress) -> Iterator[Page]:
    for path in paths:
        found = False
        for page in _pages(path, read_progress):
            if page.title.startswith(ignored_titles()):
                page = page._replace(text="")
            found = found or bool(page.text)
            yield page
        if not found:
            raise InputError(f"{path}: no article in it; give {FORMS}")


def _read(page: Page, tokenizer: Tokenizer) -> Document | None:
    if not page.text:
        return None
    from gensim.corpora.wikicorpus import filter_wiki

    text = filter_wiki(page.text) if page.markup else _plain(page)
    return Document(page.title, tokenizer.tokens(text), tokenizer.misreads(text))


def _size(path: Path) -> int:
    return sum(file.stat().st_size for file in list_files(path))


def _pages(path: Path, read_progress: ReadProgress) -> Iterator[Page]:
    for file in list_files(path):
        with open_raw(file, read_progress) as content:
            start = content.peek(512)
            if start[257:262] == b"ustar":
                yield from _tar(content, file)
            elif start.removeprefix(BYTE_ORDER_MARK).lstrip().startswith((b"<doc ", b"{")):
                yield from _extracted(content, file)
            elif start.removeprefix(BYTE_ORDER_MARK).lstrip().startswith((b"<?xml", b"<mediawiki")):
                yield from _dump(content, file)
            elif start or not path.is_dir():
                raise InputError(f"{file}: not {FORMS}; give one of these")


def _tar(content: BinaryIO, path: Path) -> Iterator[Page]:
    with tarfile.open(fileobj=content, mode="r|") as archive:
        for member in archive:
            if member.isfile() and not is_hidden_path(member.name):
                content_of_member = archive.extractfile(member)
                assert content_of_member is not None  # a file, not a folder or a link
                buffered = io.BufferedReader(cast(io.RawIOBase, content_of_member))
                yield from _extracted(buffered, f"{path}: {member.name}")


def _extracted(content: "io.BufferedReader[Any]", name: Path | str) -> Iterator[Page]:
    """WikiExtractor's output, with or without its option ``--json``."""
    start = content.peek(512).removeprefix(BYTE_ORDER_MARK).lstrip()
    yield from (_json if start.startswith(b"{") else _docs)(content, name)


def _json(content: "io.BufferedReader[Any]", name: Path | str) -> Iterator[Page]:
    """A JSON object per line, with the fields title and text."""
    for number, record in json_objects(decoded_lines(content, name), name):
        place = f"{name}: line {number}"
        if missing := {"title", "text"} - set(record):
            raise InputError(
                f"{place} has no field {min(missing)!r}, so it is not WikiExtractor's; give {FORMS}"
            )
        title = text_of(record["title"], f"{place}, field 'title'")
        yield Page(title, text_of(record["text"], f"{place}, field 'text'"), markup=False)


def _docs(content: IO[bytes], name: Path | str) -> Iterator[Page]:
    """``<doc id url title>``, the title again, the text, ``</doc>``."""
    title, position, start = None, 0, 0
    body: list[bytes] = []
    for line in content:
        if title is None:
            line = line.removeprefix(BYTE_ORDER_MARK)
            if header := DOC.match(line):
                title = html.unescape(decode_text(header[1], name, position))
                body, start = [], position + len(line)
            elif line.startswith(b"<doc "):
                raise InputError(
                    f"{name}: byte {position} begins no article as WikiExtractor does, with "
                    f'<doc id="..." title="...">; give {FORMS}'
                )
        elif (last := line.rstrip()).endswith(b"</doc>"):
            body.append(last.removesuffix(b"</doc>"))
            yield Page(title, decode_text(b"".join(body), name, start), markup=False)
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
        ns, _, name = root.tag.rpartition("}")
        if name != "mediawiki":
            raise InputError(
                f"{path}: not a MediaWiki dump but other XML (<{root.tag}>); give {FORMS}"
            )
        ns += "}" if ns else ""
        prefixes: tuple[str, ...] = ()
        for event, element in events:
            if event == "end" and element.tag == f"{ns}siteinfo":
                prefixes = _prefixes(element, ns)
            elif event == "end" and element.tag == f"{ns}page":
                title = element.findtext(f"{ns}title") or ""
                yield Page(title, _article(element, ns, prefixes), markup=True)
                root.clear()


def _prefixes(siteinfo: Element, ns: str) -> tuple[str, ...]:
    """How titles outside the main namespace begin in the language of the dump."""
    found = siteinfo.iter(f"{ns}namespace")
    return tuple(f"{space.text}:" for space in found if space.get("key") != "0" and space.text)


def _article(page: Element, ns: str, prefixes: tuple[str, ...]) -> str:
    """Markup of a page; empty for redirects and pages outside the main namespace."""
    text = page.findtext(f"{ns}revision/{ns}text") or ""
    space = page.findtext(f"{ns}ns")
    if space is None:  # dumps from before 2011: the title tells
        title = page.findtext(f"{ns}title") or ""
        space = "1" if title.startswith((*prefixes, *ignored_titles(talk=True))) else "0"
    if space.strip() != "0":
        return ""
    # Dumps from before 2010 have no <redirect>.
    if page.find(f"{ns}redirect") is not None or text.lstrip()[:9].upper() == "#REDIRECT":
        return ""
    return text
