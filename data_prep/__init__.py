"""Raw data to a corpus on disk: one file per source, shared machinery in `io`.

``python -m data_prep SOURCE --help`` on the command line; from Python `prepare_wikipedia`,
`prepare_gensim_articles`, `prepare_documentation`, `prepare_sentences`, `prepare_phrases`,
`prepare_text`, `prepare_events`, `prepare_dataset`, `prepare_newsgroups`, `prepare_news20_clean`,
`prepare_imdb`, `prepare_clicks` and `prepare_personal_dynamics`, which return the corpus.
`labels_of` has the labels of 20 Newsgroups and of movie reviews; `select_users` chooses users and
items as Ko, Maystre and Grossglauser (2016) do.
"""

from data_prep.clicks import ClickConfig, prepare_clicks
from data_prep.datasets import DATASETS, DatasetOptions, prepare_dataset
from data_prep.documentation import DocumentationOptions, prepare_documentation
from data_prep.events import EventOptions, prepare_events
from data_prep.gensim_articles import GensimArticlesOptions, prepare_gensim_articles
from data_prep.io.options import Options
from data_prep.labelled.archive import Labels, labels_of
from data_prep.labelled.imdb import ImdbOptions, prepare_imdb
from data_prep.labelled.news20_clean import News20CleanOptions, prepare_news20_clean
from data_prep.labelled.newsgroups import NewsgroupsOptions, prepare_newsgroups
from data_prep.personal_dynamics import PersonalDynamicsConfig, prepare_personal_dynamics
from data_prep.phrases import PhraseOptions, prepare_phrases
from data_prep.selection import (
    SelectionOptions,
    drop_homogeneous,
    drop_rare,
    drop_unseen,
    select_users,
)
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
    "ImdbOptions",
    "Labels",
    "News20CleanOptions",
    "NewsgroupsOptions",
    "Options",
    "PersonalDynamicsConfig",
    "PhraseOptions",
    "SelectionOptions",
    "SentenceOptions",
    "TextOptions",
    "WikipediaOptions",
    "drop_homogeneous",
    "drop_rare",
    "drop_unseen",
    "labels_of",
    "prepare_clicks",
    "prepare_dataset",
    "prepare_documentation",
    "prepare_events",
    "prepare_gensim_articles",
    "prepare_imdb",
    "prepare_news20_clean",
    "prepare_newsgroups",
    "prepare_personal_dynamics",
    "prepare_phrases",
    "prepare_sentences",
    "prepare_text",
    "prepare_wikipedia",
    "select_users",
    "split_by_part",
]
