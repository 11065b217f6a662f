"""The corpora that profiles name: of text, of simulated users and of real ones."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from data_prep import (
    DATASETS,
    ClickConfig,
    DatasetOptions,
    DocumentationOptions,
    GensimArticlesOptions,
    ImdbOptions,
    News20CleanOptions,
    NewsgroupsOptions,
    PersonalDynamicsConfig,
    SentenceOptions,
    WikipediaOptions,
    prepare_clicks,
    prepare_dataset,
    prepare_documentation,
    prepare_gensim_articles,
    prepare_imdb,
    prepare_news20_clean,
    prepare_newsgroups,
    prepare_personal_dynamics,
    prepare_sentences,
    prepare_wikipedia,
)
from lla.common.errors import InputError
from lla.common.parallel import default_threads
from lla.corpus import Corpus

MANIFEST_NAMES = {"gensim_articles": "articles"}  # as the corpus itself names its source
CLICKS = "clicks"


def prepare_corpus(
    name: str, folder: Path, settings: Mapping[str, Any], inputs: Sequence[str] = ()
) -> Corpus:
    """Make a corpus, or read it back when the folder has it from the same settings.

    Parameters
    ----------
    name : "wikipedia" (dumps or archives; without `inputs` the raw articles that gensim ships),
        "articles" (250 of Wikipedia, stemmed, which gensim ships), "documentation" (docstrings of
        the installed packages), "sentences" (of the documentation, or of reviews), "newsgroups",
        "news20_clean" or "imdb" (labelled documents, from the folder ``LLA_DATA``), "clicks" or
        "personal_dynamics" (simulated users), or a data set of real users
    settings : of its options, such as ``{"vocabulary": 6000}``; those that are None are left out
    inputs : of "wikipedia"; of "sentences" the archive of reviews, if any

    Raises
    ------
    InputError
        When there is no such corpus, or it has no such setting.
    """
    # gensim's sample is read sooner than new processes have started.
    processes = default_threads() if inputs or name != "wikipedia" else 1
    makers: dict[str, tuple[type, Callable[..., Corpus]]] = {
        "wikipedia": (
            WikipediaOptions,
            partial(prepare_wikipedia, path=list(inputs), processes=processes),
        ),
        "articles": (GensimArticlesOptions, prepare_gensim_articles),
        "documentation": (
            DocumentationOptions,
            partial(prepare_documentation, processes=processes),
        ),
        CLICKS: (ClickConfig, prepare_clicks),
        "personal_dynamics": (PersonalDynamicsConfig, prepare_personal_dynamics),
        "newsgroups": (NewsgroupsOptions, prepare_newsgroups),
        "news20_clean": (News20CleanOptions, prepare_news20_clean),
        "imdb": (ImdbOptions, prepare_imdb),
        **{data: (DatasetOptions, partial(prepare_dataset, name=data)) for data in DATASETS},
        "sentences": (
            SentenceOptions,
            partial(prepare_sentences, path=next(iter(inputs), None), processes=processes),
        ),
    }
    name = MANIFEST_NAMES.get(name, name)
    if name not in makers:
        raise InputError(f"{name}: no such corpus; choose one of {', '.join(makers)}")
    kind, prepare = makers[name]
    given = {key: value for key, value in settings.items() if value is not None}
    try:
        options = kind(**given)
    except TypeError as error:
        raise InputError(f"{name}: {error}; see the options of {kind.__name__}") from None
    return prepare(folder, options, overwrite=True)
