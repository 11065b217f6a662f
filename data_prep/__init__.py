"""Raw data to a corpus on disk: one file per source, shared machinery in `io`.

``python -m data_prep SOURCE --help`` on the command line; from Python `prepare_wikipedia`,
`prepare_gensim_articles`, `prepare_documentation`, `prepare_sentences`, `prepare_phrases`,
`prepare_text`, `prepare_events`, `prepare_dataset` and `prepare_clicks`, which return the corpus.
"""

from data_prep.clicks import ClickConfig, prepare_clicks
from data_prep.datasets import DATASETS, DatasetOptions, prepare_dataset
from data_prep.documentation import DocumentationOptions, prepare_documentation
from data_prep.events import EventOptions, prepare_events
from data_prep.gensim_articles import GensimArticlesOptions, prepare_gensim_articles
from data_prep.io.options import Options
from data_prep.phrases import PhraseOptions, prepare_phrases
from data_prep.sentences import SentenceOptions, prepare_sentences, split_by_part
from data_prep.text import TextOptions, prepare_text
from data_prep.wikipedia import WikipediaOptions, prepare_wikipedia

__all__ = [
    "DATASETS",
    "ClickConfig",
    "DatasetOptions",
    "DocumentationOptions",
    "EventOptions",
    "GensimArticlesOptions",
    "Options",
    "PhraseOptions",
    "SentenceOptions",
    "TextOptions",
    "WikipediaOptions",
    "prepare_clicks",
    "prepare_dataset",
    "prepare_documentation",
    "prepare_events",
    "prepare_gensim_articles",
    "prepare_phrases",
    "prepare_sentences",
    "prepare_text",
    "prepare_wikipedia",
    "split_by_part",
]
