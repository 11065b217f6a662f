"""Words by probability, lift and relevance: against their formulas, written out word by word."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_sem import small_fit, small_split

import lla
from lla.common.errors import InputError
from lla.topics.tables import as_text, topic_table
from lla.topics.words import top_word_ids, top_words, word_lift


def random_phi(n_words, n_topics, seed):
    draw = np.random.default_rng(seed)
    return draw.dirichlet(np.full(n_words, 0.5), size=n_topics).T


def by_hand(phi, tokens, weight, min_count):
    """The order of every topic's words, from λ log φ + (1 - λ) log (φ / p(w))."""
    n_words, n_topics = phi.shape
    share = [n / sum(tokens) for n in tokens]
    p = [sum(share[k] * phi[w, k] for k in range(n_topics)) for w in range(n_words)]
    orders = []
    for k in range(n_topics):

        def key(w, k=k):
            if phi[w, k] * tokens[k] < min_count:
                return 1, -phi[w, k]
            log_lift = math.log(phi[w, k] / p[w])
            return 0, -(weight * math.log(phi[w, k]) + (1 - weight) * log_lift)

        orders.append(sorted(range(n_words), key=key))
    return np.array(orders).T


@given(st.integers(0, 200), st.floats(0, 1), st.sampled_from([0, 3, 40]))
@settings(max_examples=40, deadline=None)
def test_relevance_is_its_formula_and_has_both_ends(seed, weight, min_count):
    phi, draw = random_phi(12, 4, seed), np.random.default_rng(seed)
    tokens = draw.integers(1, 300, size=4)
    options = {"topic_tokens": tokens, "min_count": min_count}
    found = top_word_ids(phi, 12, by="relevance", relevance=weight, **options)
    np.testing.assert_array_equal(found, by_hand(phi, tokens, weight, min_count))
    one = top_word_ids(phi, 12, by="relevance", relevance=1, **options)
    np.testing.assert_array_equal(one, top_word_ids(phi, 12))
    zero = top_word_ids(phi, 12, by="relevance", relevance=0, **options)
    np.testing.assert_array_equal(zero, top_word_ids(phi, 12, by="lift", **options))


def test_lift_is_how_much_likelier_a_word_is_in_the_topic():
    phi = np.array([[0.5, 0.5], [0.5, 0.0], [0.0, 0.5], [0.0, 0.0]])
    lift = word_lift(phi, np.array([30, 10]))
    np.testing.assert_allclose(lift, [[1, 1], [1 / 0.75, 0], [0, 1 / 0.25], [0, 0]])
    order = top_word_ids(phi, 4, by="lift", topic_tokens=np.array([30, 10]), min_count=0)
    assert order.T.tolist() == [[1, 0, 2, 3], [2, 0, 1, 3]]


def test_a_word_that_occurs_once_does_not_head_the_lift():
    """Smoothed counts: of words that one topic alone has, the more frequent has more lift."""
    beta, counts = 0.05, np.array([[400, 0], [1, 0], [40, 0], [500, 450], [0, 500]])
    tokens = counts.sum(axis=0)
    phi = (counts + beta) / (tokens + len(counts) * beta)
    lift = word_lift(phi, tokens)
    assert lift[0, 0] > lift[2, 0] > lift[1, 0] > lift[3, 0]
    free = top_word_ids(phi, 5, by="lift", topic_tokens=tokens, min_count=0)
    assert free[:, 0].tolist()[:3] == [0, 2, 1]
    # One token of a word is chance, which the minimum count puts last.
    held = top_word_ids(phi, 5, by="lift", topic_tokens=tokens)
    assert held[:, 0].tolist() == [0, 2, 3, 1, 4]


def test_the_table_shows_what_the_words_are_ordered_by():
    phi, tokens = np.array([[0.6, 0.6], [0.3, 0.0], [0.1, 0.4]]), np.array([100, 300])
    words = ("the", "sea", "sky")
    assert topic_table(phi, words, 1)[1].tolist() == ["the (0.600)", "the (0.600)"]
    lifted = topic_table(phi, words, 1, by="lift", topic_tokens=tokens)
    assert lifted[1].tolist() == ["sea (4.0×)", "sky (1.2×)"]
    middle = topic_table(phi, words, 2, by="relevance", relevance=0.3, topic_tokens=tokens)
    assert middle.loc[0].tolist() == ["sea (0.300)", "the (0.600)"]
    assert top_words(phi, words, 1, by="lift", topic_tokens=tokens) == [["sea"], ["sky"]]


def test_models_order_their_words_by_their_own_tokens(tmp_path):
    split = small_split()
    lda = lla.fit_lda(split, lla.LDAConfig(3, n_sweeps=3), seed=1)
    model = small_fit(n_iterations=1)
    phis = {"lda": lda.phi(), "model": model.emission.phi.numpy()}
    for name, of in (("lda", lda), ("model", model)):
        tokens = np.bincount(of.topics, minlength=3)
        table = of.topic_table(4, by="relevance", relevance=0.2, min_count=2)
        order = by_hand(phis[name].astype(float), tokens, 0.2, 2)
        for k in range(3):
            names = [cell.split(" (")[0] for cell in table.loc[k, [1, 2, 3, 4]]]
            assert names == [split.corpus.vocabulary[w] for w in order[:4, k]]
        assert "×" in of.topic_table(1, by="lift").loc[0, 1]
    read = lla.load_model(lla.save_model(model, tmp_path / "model"))
    pd.testing.assert_frame_equal(read.topic_table(by="lift"), model.topic_table(by="lift"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"by": "rank"}, "by is 'rank': choose one of probability, lift, relevance"),
        ({"relevance": 1.5}, "relevance is 1.5: give a number from 0 to 1"),
        ({"by": "lift"}, "by is 'lift', which compares a topic with all tokens"),
        ({"by": "lift", "topic_tokens": [1]}, r"topic_tokens: int64 \(1,\); give the tokens"),
        ({"by": "lift", "topic_tokens": [0, 0]}, "topic_tokens: give finite numbers, 0 or more"),
        ({"min_count": -1}, "min_count is -1: give a number, 0 or more"),
    ],
)
def test_orders_that_cannot_be_are_refused(options, message):
    with pytest.raises(InputError, match=f"^{message}"):
        top_word_ids(random_phi(4, 2, 0), **options)


def test_a_table_as_text_keeps_within_its_width():
    phi, words = random_phi(30, 2, 1), [f"word{w:02d}" for w in range(30)]
    table = topic_table(phi, words, 9, share=np.array([0.25, 0.75]))
    text = as_text(table, width=50)
    assert max(map(len, text.splitlines())) <= 50
    assert text.splitlines()[0] == "topic 1   share 0.750"
    assert [line for line in text.splitlines() if line.startswith("topic")][1].startswith("topic 0")
    together = " ".join(text.split())
    assert ", ".join(table.loc[0, range(1, 10)]) in together
    with pytest.raises(InputError, match="table is 'a': give a DataFrame"):
        as_text("a")
