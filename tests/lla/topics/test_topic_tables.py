"""Topics, documents and forecasts as tables: the numbers of the model under the right names."""

from dataclasses import replace

import numpy as np
import pytest
from small_sem import small_fit, small_split, start_topics

import lla
from lla.common.errors import InputError
from lla.corpus import Corpus, split_corpus
from lla.lda import init_lda
from lla.topics.tables import document_table, forecast_table, topic_table

PHI = np.array([[0.5, 0.1], [0.2, 0.1], [0.3, 0.8]])
WORDS = ("a", "b", "c d")


def test_a_row_per_topic_the_largest_first():
    table = topic_table(PHI, WORDS, 2, share=np.array([0.25, 0.75]))
    assert list(table.columns) == ["share", 1, 2]
    assert table.index.name == "topic" and list(table.index) == [1, 0]
    assert table.loc[0].tolist() == [0.25, "a (0.500)", "c d (0.300)"]
    assert table.loc[1].tolist() == [0.75, "c d (0.800)", "a (0.100)"]
    assert topic_table(PHI, WORDS).loc[0].tolist() == ["a (0.500)", "c d (0.300)", "b (0.200)"]
    with pytest.raises(InputError, match="n is 0: give 1 or more"):
        topic_table(PHI, WORDS, 0)


def test_a_row_per_document_under_its_name():
    theta = np.array([[0.9, 0.1], [0.4, 0.6]])
    table = document_table(theta, ("user 1", "7"))
    assert table.loc["7"].tolist() == [0.4, 0.6]
    assert (table.index.name, table.columns.name) == ("document", "topic")
    assert document_table(theta).loc[0, 1] == 0.1


def test_a_row_per_step_with_topics_by_name():
    ahead = np.array([[0.1, 0.7, 0.2], [0.5, 0.1, 0.4]])
    table = forecast_table(ahead, ["x, y", "z", "w"], 2)
    assert table.index.name == "step" and list(table.index) == [1, 2]
    assert table.to_numpy().tolist() == [["70% z", "20% w"], ["50% x, y", "40% w"]]
    assert forecast_table(ahead, ["x, y", "z", "w"], 9).shape == (2, 3)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: topic_table(PHI, WORDS[:2]), r"phi: \(3, 2\); give \(V, K\) of the 2 words"),
        (lambda: topic_table(PHI, WORDS, share=[1.0]), r"share: \(1,\); give one of each of the 2"),
        (lambda: document_table(PHI, ["a"]), r"proportions: \(3, 2\); give \(D, K\) of 1 document"),
        (lambda: forecast_table(PHI, ["a"]), r"ahead: \(3, 2\); give \(steps, K\) of the 1 topic"),
    ],
)
def test_tables_of_parts_that_do_not_belong_together_are_refused(call, message):
    with pytest.raises(InputError, match=f"^{message}"):
        call()


@pytest.fixture(scope="module")
def split():
    """Every document has a name of its own."""
    corpus = small_split().corpus
    names = tuple(f"user {d}" for d in reversed(range(corpus.n_documents)))
    return split_corpus(replace(corpus, names=names))


def test_the_tables_of_an_lda(split):
    lda = lla.fit_lda(split, lla.LDAConfig(3, beta=0.05, n_sweeps=5), seed=1)
    table, phi = lda.topic_table(4), lda.phi()
    assert table.shape == (3, 5) and table["share"].is_monotonic_decreasing
    assert table["share"].sum() == pytest.approx(1)
    n_of_topic = np.bincount(lda.topics, minlength=3)
    assert table.loc[2, "share"] == n_of_topic[2] / split.observed.n_tokens
    best = int(phi[:, 2].argmax())
    assert table.loc[2, 1] == f"{split.corpus.vocabulary[best]} ({phi[best, 2]:.3f})"
    assert lda.topic_names(2)[2].split(", ")[0] == split.corpus.vocabulary[best]
    documents = lda.document_table()
    assert tuple(documents.index) == split.corpus.names
    np.testing.assert_allclose(documents.sum(axis=1), 1)
    expected = lda.document_topic()[4] + lda.alpha
    np.testing.assert_allclose(documents.loc[split.corpus.names[4]], expected / expected.sum())


def test_documents_of_one_topic_have_it_in_their_row():
    """Two words that never meet in a document, two topics."""
    corpus = Corpus.from_documents([[0] * 30, [1] * 30] * 5, ["a", "b"], map(str, range(10)))
    split = split_corpus(corpus, development=0)
    start = np.array(split.observed.words, np.int32)
    lda = init_lda(split.observed, lla.LDAConfig(2, alpha=0.01), 1, start)
    table = lda.document_table()
    assert (table.loc["0", 0], table.loc["1", 1]) == pytest.approx((0.9994, 0.9994), abs=1e-3)
    assert lda.topic_table(1)[1].tolist() == ["a (1.000)", "b (1.000)"]


@pytest.fixture(scope="module")
def model(split):
    config = lla.SEMConfig(n_topics=3, hidden_size=5, embedding_size=4, n_iterations=2)
    return lla.fit_sem(split, config, 1, start=start_topics(split))


def test_the_tables_of_a_model(split, model):
    table = model.topic_table(2)
    n_of_topic = np.bincount(model.topics, minlength=3)
    assert table.loc[1, "share"] == n_of_topic[1] / split.observed.n_tokens
    assert [cell.split()[0] for cell in table.loc[1, [1, 2]]] == model.topic_names(2)[1].split(", ")
    documents = model.document_table()
    assert tuple(documents.index) == split.corpus.names
    first = split.observed.lengths[0]
    own = np.bincount(model.topics[:first], minlength=3) / first
    np.testing.assert_allclose(documents.loc[split.corpus.names[0]], own)


def test_a_forecast_by_name_is_that_of_the_model(split, model):
    history = split.corpus.items(split.corpus.names[0])
    ahead, names = model.topics_ahead(history, 2, seed=3), model.topic_names()
    table = model.forecast_table(history, 2, 1, seed=3)
    likeliest = ahead.argmax(axis=1)
    expected = [f"{p[k]:.0%} {names[k]}" for p, k in zip(ahead, likeliest, strict=True)]
    assert table[1].tolist() == expected


def test_what_a_model_that_was_read_still_has(model, tmp_path):
    read = lla.load_model(lla.save_model(model, tmp_path / "model"))
    for options in ({}, {"by": "lift"}, {"by": "relevance", "min_count": 2}):
        assert read.topic_table(**options).equals(model.topic_table(**options))
    with pytest.raises(InputError, match="counted from the assignments of the observed tokens"):
        read.document_table()


def test_models_without_topics_of_tokens_say_so():
    words = small_fit(model="word_lstm", n_iterations=1)
    for ask in (words.topic_table, words.document_table):
        with pytest.raises(InputError, match="this model predicts words, it has no topics"):
            ask()
    summed = small_fit(model="word_lla", objective="marginal", n_iterations=1)
    assert "share" not in summed.topic_table()
    with pytest.raises(InputError, match="which this model lacks: ask one that draws topics"):
        summed.document_table()
