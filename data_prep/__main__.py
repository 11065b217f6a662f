"""Make a corpus folder from raw data: ``python -m data_prep SOURCE [INPUT] --output FOLDER``."""

import argparse
import logging
from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from functools import partial

from data_prep import (
    DATASETS,
    DatasetOptions,
    DocumentationOptions,
    EventOptions,
    GensimArticlesOptions,
    ImdbOptions,
    News20CleanOptions,
    NewsgroupsOptions,
    PersonalDynamicsConfig,
    PhraseOptions,
    SentenceOptions,
    TextOptions,
    WikipediaOptions,
    prepare_dataset,
    prepare_documentation,
    prepare_events,
    prepare_gensim_articles,
    prepare_imdb,
    prepare_news20_clean,
    prepare_newsgroups,
    prepare_personal_dynamics,
    prepare_phrases,
    prepare_sentences,
    prepare_text,
    prepare_wikipedia,
)
from data_prep.clicks import PROFILES, add_options, prepare_clicks
from data_prep.io.find import printable
from data_prep.io.options import Options
from data_prep.labelled.archive import PARTS, LabelledOptions, PublishedArchive
from data_prep.labelled.imdb import IMDB
from data_prep.labelled.news20_clean import NEWS20_CLEAN
from data_prep.labelled.newsgroups import NEWSGROUPS
from data_prep.sentences import PARTS as SENTENCE_PARTS
from data_prep.summary import summary
from lla.common.errors import run_main
from lla.corpus import Corpus
from lla.corpus.tokens import RULES


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line."""
    logging.basicConfig(format="%(message)s")
    logging.getLogger("data_prep").setLevel(logging.INFO)
    options = vars(_parser().parse_args(arguments))
    run, path, output = options.pop("run"), options.pop("input"), options.pop("output")
    overwrite = options.pop("overwrite")
    try:
        corpus = run(output, options, path, overwrite)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            f"stopped; nothing was written to {printable(output)}, the same command starts again"
        ) from None
    print(f"{printable(output)}\n{summary(corpus)}")
    return 0


def _wikipedia(output: str, options: dict, path: list[str], overwrite: bool) -> Corpus:
    processes = options.pop("processes")
    return prepare_wikipedia(output, WikipediaOptions(**options), path, processes, overwrite)


def _gensim_articles(output: str, options: dict, _: None, overwrite: bool) -> Corpus:
    return prepare_gensim_articles(output, GensimArticlesOptions(**options), overwrite)


def _documentation(output: str, options: dict, _: None, overwrite: bool) -> Corpus:
    processes = options.pop("processes")
    return prepare_documentation(output, DocumentationOptions(**options), processes, overwrite)


def _sentences(output: str, options: dict, path: str | None, overwrite: bool) -> Corpus:
    processes = options.pop("processes")
    if not options["packages"]:
        del options["packages"]
    return prepare_sentences(output, SentenceOptions(**options), path, processes, overwrite)


def _phrases(output: str, options: dict, path: str, overwrite: bool) -> Corpus:
    return prepare_phrases(output, PhraseOptions(**options), path, overwrite)


def _text(output: str, options: dict, path: str, overwrite: bool) -> Corpus:
    return prepare_text(output, TextOptions(**options), path, overwrite)


# The archives of labelled documents, their options, and what reads them.
LABELLED: tuple[tuple[PublishedArchive, type[LabelledOptions], Callable[..., Corpus]], ...] = (
    (NEWSGROUPS, NewsgroupsOptions, prepare_newsgroups),
    (NEWS20_CLEAN, News20CleanOptions, prepare_news20_clean),
    (IMDB, ImdbOptions, prepare_imdb),
)


def _labelled(
    output: str,
    options: dict,
    path: str | None,
    overwrite: bool,
    kind: type[LabelledOptions],
    prepare: Callable[..., Corpus],
) -> Corpus:
    return prepare(output, kind(**options), path, overwrite)


def _clicks(output: str, options: dict, _: None, overwrite: bool) -> Corpus:
    config = PROFILES[options.pop("profile")]
    settings = {name: value for name, value in options.items() if value is not None}
    return prepare_clicks(output, replace(config, **settings), overwrite)


def _personal_dynamics(output: str, options: dict, _: None, overwrite: bool) -> Corpus:
    return prepare_personal_dynamics(output, PersonalDynamicsConfig(**options), overwrite)


def _events(output: str, options: dict, path: str, overwrite: bool) -> Corpus:
    return prepare_events(output, EventOptions(**options), path, overwrite)


def _dataset(output: str, options: dict, path: str | None, overwrite: bool, name: str) -> Corpus:
    return prepare_dataset(output, DatasetOptions(**options), name, path, overwrite)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m data_prep", description=__doc__)
    sources = parser.add_subparsers(title="sources", metavar="SOURCE", required=True)
    add = _adder(sources)
    wikipedia = add(
        "wikipedia",
        WikipediaOptions,
        _wikipedia,
        "a MediaWiki dump, WikiExtractor's output, or the articles included in gensim",
    )
    wikipedia.add_argument(
        "input",
        nargs="*",
        metavar="INPUT",
        help="pages-articles.xml.bz2, or a WikiExtractor file, folder or tar; several are read in "
        "this order; names that do not exist are looked up in the folder LLA_DATA; default: the "
        "106 articles included in gensim",
    )
    _add_processes(wikipedia)
    articles = "the 250 Wikipedia articles that gensim ships, stemmed and without stop words"
    add("gensim_articles", GensimArticlesOptions, _gensim_articles, articles).set_defaults(
        input=None
    )
    docstrings = "the docstrings of the installed packages, a document per module"
    documentation = add("documentation", DocumentationOptions, _documentation, docstrings)
    documentation.set_defaults(input=None)
    _add_processes(documentation)
    _add_sentences(sources)
    text = add("text", TextOptions, _text, "your own text, or sequences of items")
    text.add_argument(
        "input",
        metavar="INPUT",
        help="a folder of .txt files, or a .jsonl, .csv, .tsv or .parquet file, or a file with one "
        "document per line; all but Parquet may be compressed",
    )
    text.add_argument("--field", default="text", help="field of JSON Lines (default: %(default)s)")
    text.add_argument(
        "--column", default="text", help="column of CSV or Parquet (default: %(default)s)"
    )
    text.add_argument(
        "--name",
        metavar="NAME",
        help="field or column with the documents' names (default: a well-known one, such as id or "
        "title; files of a folder have their own)",
    )
    text.add_argument("--licence", default="not stated", help="copied into the manifest")
    _add_labelled(add)
    clicks = sources.add_parser(
        "clicks",
        help="simulated click histories with known probabilities",
        description="Make a corpus folder of simulated click histories with known probabilities.",
    )
    clicks.set_defaults(run=_clicks, input=None)
    _add_output(clicks)
    add_options(clicks)
    _add_personal_dynamics(sources)
    _add_events(sources)
    return parser


def _add_labelled(add) -> None:
    for archive, kind, prepare in LABELLED:
        run = partial(_labelled, kind=kind, prepare=prepare)
        parser = add(archive.kind, kind, run, archive.title)
        parser.epilog = f"Licence: {archive.licence}. Cite: {archive.citation}. See {archive.page}."
        parser.add_argument(
            "input",
            nargs="?",
            metavar="INPUT",
            help=f"the archive (default: {' or '.join(archive.files)} in the folder LLA_DATA)",
        )
        parser.add_argument(
            "--part",
            choices=["all", *PARTS],
            default="all",
            help="part of the published split (default: all)",
        )
        if kind is News20CleanOptions:
            parser.add_argument(
                "--keep-end-marks",
                action="store_true",
                help="keep _eos_, the mark of the end of a sentence",
            )


def _add_personal_dynamics(sources) -> None:
    summary = "simulated users, each with recurrent dynamics of their own, with known probabilities"
    parser = sources.add_parser(
        "personal_dynamics", help=summary, description=f"Make a corpus folder of {summary}."
    )
    parser.set_defaults(run=_personal_dynamics, input=None)
    _add_output(parser)
    texts = {
        "n_users": "users to draw",
        "min_events": "shortest history",
        "max_events": "longest history",
        "n_items": "items in all",
        "state_size": "size of a user's hidden state",
        "scale": "standard deviation of every weight; the larger, the surer the next item",
        "seed": "seed of all draws",
    }
    for option in fields(PersonalDynamicsConfig):
        parser.add_argument(
            "--" + option.name.removeprefix("n_").replace("_", "-"),
            dest=option.name,
            type=option.type,
            default=option.default,
            metavar="N" if option.type is int else "X",
            help=f"{texts[option.name]} (default: {option.default})",
        )


def _add_sentences(sources) -> None:
    about = "sentences, a document each, for autoencoders of text"
    sentences = sources.add_parser("sentences", help=about, description=f"From texts to {about}.")
    sentences.set_defaults(run=_sentences)
    sentences.add_argument(
        "input",
        nargs="?",
        metavar="INPUT",
        help="reviews: the archive or the folder of aclImdb; a name that does not exist is looked "
        "up in the folder LLA_DATA; default: the docstrings of the installed packages",
    )
    _add_output(sentences)
    _add_processes(sentences)
    sentences.add_argument(
        "--packages",
        nargs="+",
        default=(),
        metavar="NAME",
        help="read the docstrings of these alone (default: some fifty)",
    )
    _add_fields(
        sentences,
        SentenceOptions,
        {
            "min_words": "leave out shorter sentences",
            "max_words": "leave out longer sentences",
            "vocabulary": "most frequent words of the training sentences; others are one word",
            **{part: f"draw this many {part} sentences" for part in SENTENCE_PARTS},
            "development_share": "share of the modules, or of the training reviews",
            "test_share": "share of the modules; reviews have their own test part",
            "seed": "of what is drawn",
        },
    )
    about = "phrases of a few words from a corpus of sentences, a document each"
    phrases = sources.add_parser("phrases", help=about, description=f"Make {about}.")
    phrases.set_defaults(run=_phrases)
    phrases.add_argument("input", metavar="INPUT", help="a corpus folder of sentences")
    _add_output(phrases)
    _add_fields(
        phrases,
        PhraseOptions,
        {
            "n_words": "words per phrase",
            "vocabulary": "most frequent words; phrases with others are left out",
            **{part: f"draw this many {part} phrases" for part in SENTENCE_PARTS},
            "seed": "of what is drawn",
        },
    )


def _add_fields(parser: argparse.ArgumentParser, kind: type, texts: dict[str, str]) -> None:
    """An argument for each of these options, whose default is a number or None."""
    default = {field.name: field.default for field in fields(kind)}
    for name, text in texts.items():
        value = default[name]
        parser.add_argument(
            f"--{name.replace('_', '-')}",
            type=float if isinstance(value, float) else int,
            default=value,
            metavar="N",
            help=f"{text} (default: {'all' if value is None else value})",
        )


def _add_events(sources) -> None:
    summary = "a table of events: per row a user, an item and, optionally, a time"
    events = sources.add_parser("events", help=summary, description=f"From {summary}.")
    events.set_defaults(run=_events)
    events.add_argument(
        "input",
        metavar="INPUT",
        help="a .csv, .tsv, .jsonl, .parquet or .arrow file, or a folder of such; text may be "
        "compressed (.gz, .bz2, .xz, .zst, .zip); - is the standard input",
    )
    _add_event_options(events)
    events.add_argument(
        "--separator",
        metavar="C",
        help="separator of columns in text, such as ; or :: (default: by the name of the file, "
        "else by its first line)",
    )
    events.add_argument(
        "--no-header",
        dest="header",
        action="store_false",
        help="text has no header: --user, --item and --time are numbers of columns, from 1",
    )
    events.add_argument(
        "--quotes",
        choices=["auto", "csv", "none"],
        default="auto",
        help="whether quotation marks in text enclose cells, or are ordinary characters (default: "
        "as in CSV; between tabs only if every mark is plainly such)",
    )
    events.add_argument("--licence", default="not stated", help="copied into the manifest")
    for name, dataset in DATASETS.items():
        parser = sources.add_parser(
            name,
            help=dataset.title,
            description=f"{dataset.title}. Licence: {dataset.licence}. Size: {dataset.size}. "
            f"Cite: {dataset.citation}. See {dataset.page}.",
        )
        parser.add_argument(
            "input",
            nargs="?",
            metavar="INPUT",
            help=f"your own copy (default: one of {', '.join(dataset.files)} in the folder "
            "LLA_DATA" + (f", else downloaded from {dataset.url})" if dataset.url else ")"),
        )
        _add_event_options(parser)
        # At last: an argument's own default would replace an earlier one.
        parser.set_defaults(run=partial(_dataset, name=name), incomplete="drop")


def _add_event_options(parser: argparse.ArgumentParser) -> None:
    _add_output(parser)
    texts = {
        "--user": "column of users (default: a well-known name)",
        "--item": "column of items (default: a well-known name)",
        "--time": 'column of times or ranks (default: a well-known name; "": the order of rows)',
        "--time-format": "format of times for strptime (default: numbers or ISO 8601)",
    }
    for name, text in texts.items():
        parser.add_argument(name, metavar="NAME" if "f" not in name else "FORMAT", help=text)
    numbers = {
        "--min-user": "k-core: leave out users with fewer events, including repeats",
        "--min-item": "the same for items; both repeated until all have enough",
        "--min-length": "leave out users whose remaining history is shorter",
        "--max-length": "keep only this many last events of each history",
        "--vocabulary": "V, number of most frequent items to keep",
    }
    default = {field.name: field.default for field in fields(EventOptions)}
    for name, text in numbers.items():
        value = default[name[2:].replace("-", "_")]
        shown = f"{text} (default: {value or 'all'})"
        parser.add_argument(name, type=int, default=value, metavar="N", help=shown)
    _add_vocabulary_of(parser)
    parser.add_argument(
        "--duplicates",
        choices=["keep", "drop"],
        default="keep",
        help="identical (user, item, time) rows (default: %(default)s)",
    )
    parser.add_argument(
        "--incomplete",
        choices=["refuse", "drop"],
        default="refuse",
        help="rows without user, item or time, or with a wrong number of columns "
        "(default: refuse; in the public data sets: drop)",
    )


def _add_processes(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--processes",
        type=int,
        default=1,
        metavar="N",
        help="worker processes (the result does not depend on it; default: 1)",
    )


def _adder(sources):
    def add(name: str, kind: type[Options], run, summary: str) -> argparse.ArgumentParser:
        parser = sources.add_parser(
            name, help=summary, description=f"Make a corpus folder from {summary}."
        )
        default = {field.name: field.default for field in fields(kind)}
        parser.set_defaults(run=run)
        _add_options(parser, default)
        return parser

    return add


def _add_output(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--output", required=True, metavar="FOLDER", help="the corpus folder")
    parser.add_argument(
        "--overwrite",
        action="store_true",
        help="replace a corpus that FOLDER holds, made from other sources or with other options",
    )


def _add_options(parser: argparse.ArgumentParser, default: dict) -> None:
    _add_output(parser)
    numbers = {
        "--min-words": "leave out documents with fewer words, not counting removed stop words",
        "--max-words": "truncate longer documents to this many words",
        "--vocabulary": "V, number of most frequent words to keep",
        "--sample": "draw this many documents at random",
        "--seed": "seed of that draw",
    }
    for name, text in numbers.items():
        value = default[name[2:].replace("-", "_")]
        shown = "all" if value is None else value
        parser.add_argument(
            name, type=int, default=value, metavar="N", help=f"{text} (default: {shown})"
        )
    _add_tokenizer(parser, default)
    parser.add_argument(
        "--documents",
        default=default["documents"],
        metavar="A:B",
        help="slice of the documents that are long enough, in the source's order (default: all)",
    )


def _add_tokenizer(parser: argparse.ArgumentParser, default: dict) -> None:
    usual = "2, and 1 for split tokens"
    parser.add_argument(
        "--tokens",
        choices=RULES,
        default=default["tokens"],
        help="words: letters, digits and marks of any script; split: what stands between white "
        "space, unchanged; gensim: letters alone, as in gensim's WikiCorpus (default: %(default)s)",
    )
    parser.add_argument("--keep-case", action="store_true", help="keep capital letters in words")
    parser.add_argument(
        "--min-letters",
        type=int,
        default=default["min_letters"],
        metavar="N",
        help=f"leave out shorter words (default: {default['min_letters'] or usual})",
    )
    parser.add_argument(
        "--stop-words",
        default=default["stop_words"],
        metavar="CHOICE",
        help="remove or english: gensim's English ones; keep; or a file with one word per line "
        "(default: remove from words, keep in split tokens)",
    )
    _add_vocabulary_of(parser)


def _add_vocabulary_of(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--vocabulary-of",
        metavar="CORPUS",
        help="take the words of this corpus, with their numbers, for a model that was trained on "
        "it; texts are read with its tokenizer",
    )


if __name__ == "__main__":
    run_main(main)
