"""The 250 Wikipedia articles that gensim ships for its tests: stemmed, without stop words."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from data_prep.io.build import Source, prepare
from data_prep.io.inputs import ReadProgress, decoded_lines, hash_inputs, open_raw
from data_prep.io.options import Document, Options
from data_prep.wikipedia import LICENCE, datapath
from lla.common.errors import InputError, check_instance
from lla.common.files import folder_to_write
from lla.corpus import Corpus
from lla.corpus.tokens import Tokenizer

log = logging.getLogger("data_prep")

FILE = "head500.noblanks.cor"
SHA256 = "af9892fa37eef66079a8fcd5d25090104ee7e588f6121ee43817d82131f12474"


@dataclass(frozen=True, repr=False)
class GensimArticlesOptions(Options):
    """Which articles and words; the words are taken as they stand in the file."""

    tokens: str = "split"


def prepare_gensim_articles(
    output: str | Path, options: GensimArticlesOptions | None = None, overwrite: bool = False
) -> Corpus:
    """Make the corpus folder `output` from gensim's articles, unless it exists and is current.

    The file holds an article per line and no titles: documents are called by their numbers.

    Parameters
    ----------
    output : path
    options : GensimArticlesOptions
    overwrite : bool
        Whether a corpus that `output` holds, made from another file or with other options, is
        replaced.

    Raises
    ------
    InputError
        If the file is missing, or no document is left.
    """
    output = folder_to_write(output, "--output")
    options = GensimArticlesOptions() if options is None else options
    check_instance("options", options, GensimArticlesOptions)
    path = Path(datapath(FILE))
    if not path.is_file():
        raise InputError(
            f"{path}: no such file, which gensim ships; install gensim again, with its tests"
        )
    sha256 = hash_inputs([path])
    if sha256[FILE] != SHA256:
        log.warning(
            "%s: not the file that gensim 4.4.0 ships (its SHA-256 is %s), but read all the same: "
            "results differ from published ones",
            path,
            sha256[FILE],
        )
    source = Source("gensim_articles", LICENCE, sha256, path.stat().st_size)

    def read(tokenizer: Tokenizer, read_progress: ReadProgress) -> Iterator[Document]:
        with open_raw(path, read_progress) as content:
            for number, line in enumerate(decoded_lines(content, path), 1):
                yield Document(f"article {number}", tokenizer.tokens(line))

    return prepare(read, source, options, output, overwrite)
