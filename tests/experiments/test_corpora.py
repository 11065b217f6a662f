"""The corpora that profiles name."""

import pytest

from experiments.corpora import prepare_corpus
from lla.common.errors import InputError


def test_a_corpus_is_made_by_its_reader_and_read_back(tmp_path):
    settings = {"vocabulary": 300, "documents": ":12", "min_words": None}
    corpus = prepare_corpus("articles", tmp_path / "corpus", settings)
    assert (corpus.n_documents, corpus.n_words) == (12, 300)
    assert corpus.manifest["source"].startswith("gensim_articles: ")
    by_its_manifest = corpus.manifest["source"].partition(":")[0]
    again = prepare_corpus(by_its_manifest, tmp_path / "corpus", settings)
    assert again.fingerprint == corpus.fingerprint


def test_simulated_users_and_texts_have_one_door(tmp_path):
    users = prepare_corpus("clicks", tmp_path / "clicks", {"n_users": 20, "n_items": 100})
    assert users.n_documents == 20
    raw = prepare_corpus("wikipedia", tmp_path / "raw", {"documents": ":3", "vocabulary": 200})
    assert raw.n_documents == 3 and raw.n_words == 200


@pytest.mark.parametrize(
    ("name", "settings", "says"),
    [
        (
            "novels",
            {},
            "novels: no such corpus; choose one of wikipedia, articles, documentation, clicks",
        ),
        ("articles", {"n_users": 3}, "articles: .*n_users"),
        ("foursquare", {"n_topics": 3}, "foursquare: .*n_topics"),
    ],
)
def test_what_is_not_there_is_named(tmp_path, name, settings, says):
    with pytest.raises(InputError, match=says):
        prepare_corpus(name, tmp_path / "corpus", settings)
    assert not (tmp_path / "corpus").exists()
