"""The most likely topics of a history: against the maximum over all of them."""

import itertools

import numpy as np
import pytest
import torch
from enumeration import lstm_logits, softmax
from hypothesis import given
from hypothesis import strategies as st
from served import ITEMS, TAU, VARIANTS, K, V, model, network, word_given_topic

from experiments.studies.forecasts import decoded
from lla.common.errors import InputError
from lla.common.parallel import thread_pool
from lla.corpus import Corpus
from lla.inference.batch import Stepper
from lla.inference.emission import SharedEmission
from lla.inference.histories import beam_topics
from lla.inference.session import decode
from lla.model import Model

WORDS = [2, 0, 2, 1, 1]
LONG = np.random.default_rng(5).integers(V, size=40)


def log_joint(kind, tau, words, topics):
    """log p(z, w) of one history by the textbook equations, counts made anew at every word."""
    inputs, start = (topics, K) if kind == "topic" else (words, V)
    theta = softmax(lstm_logits(network(kind), np.array([[start, *inputs]]).T))[:, 0]
    return sum(
        np.log(theta[t, z] * word_given_topic(tau, words[:t], topics[:t])[w, z])
        for t, (w, z) in enumerate(zip(words, topics, strict=True))
    )


def likeliest(kind, tau, words):
    """The best of all K^T histories and its log p(z, w)."""
    scores = {
        topics: log_joint(kind, tau, words, topics)
        for topics in itertools.product(range(K), repeat=len(words))
    }
    best = max(scores, key=scores.get)
    return best, scores[best]


@pytest.mark.parametrize(("kind", "tau"), VARIANTS[:4])
def test_a_beam_of_all_histories_finds_the_maximum(kind, tau):
    best, score = likeliest(kind, tau, WORDS)
    found = decode(model(kind, tau)._predictor, np.array(WORDS), K ** (len(WORDS) - 1))
    assert found.topics.tolist() == list(best)
    assert found.log_joint == pytest.approx(score, rel=1e-5)


def test_greedy_decoding_is_wrong_only_where_topics_are_read():
    missed = 0
    for words in itertools.product(range(V), repeat=3):
        best, score = likeliest("topic", None, words)
        found = decode(model("topic")._predictor, np.array(words), 1)
        missed += found.topics.tolist() != list(best)
        assert found.log_joint <= score + 1e-5
        best, score = likeliest("word", None, words)
        found = decode(model("word")._predictor, np.array(words), 1)
        assert found.topics.tolist() == list(best)
    assert missed > 0, "or width would not be seen to matter"


@pytest.mark.parametrize("width", [1, 3, 16])
@pytest.mark.parametrize(("kind", "tau"), VARIANTS[:5])
def test_the_score_is_that_of_the_history_found(kind, tau, width):
    found = decode(model(kind, tau)._predictor, LONG, width)
    if kind == "character":  # the plain equations here read ids
        assert np.isfinite(found.log_joint)
        return
    truth = log_joint(kind, tau, LONG.tolist(), found.topics.tolist())
    assert found.log_joint == pytest.approx(truth, rel=1e-5)


@pytest.mark.parametrize("width", [1, 4])
def test_decode_agrees_with_the_beam_over_a_corpus(width):
    asked, documents = model("topic"), [LONG.tolist(), LONG[:7].tolist(), WORDS]
    corpus = Corpus.from_documents(documents, ITEMS)
    with thread_pool(1) as pool:
        together = beam_topics(Stepper(asked.network), asked.emission, corpus, width, pool=pool)
    for d, words in enumerate(documents):
        alone = decode(asked._predictor, np.array(words), width)
        span = slice(corpus.offsets[d], corpus.offsets[d + 1])
        assert alone.topics.tolist() == together.topics[span].tolist()
        assert alone.log_joint == pytest.approx(together.log_evidence[span].sum(), rel=1e-6)


@given(st.lists(st.sampled_from([*ITEMS, "never seen"]), max_size=12), st.integers(1, 5))
def test_any_history_gets_a_topic_for_every_known_item(history, width):
    for asked in (model("topic", TAU), model("word", TAU)):
        pairs = asked.decode(history, width)
        assert [item for item, _ in pairs] == [item for item in history if item in ITEMS]
        assert all(0 <= z < K for _, z in pairs)
        assert pairs == asked.decode(history, width), "nothing is drawn"


def test_decode_refuses_word_models_and_bad_widths():
    with pytest.raises(InputError, match="predicts words, it has no topics"):
        model("word_lstm").decode(ITEMS)
    with pytest.raises(InputError, match="width is 0"):
        model("topic").decode(ITEMS, 0)
    phi = torch.zeros(V, K)
    phi[1:] = 1 / (V - 1)
    impossible = Model(network("topic"), SharedEmission(phi), np.zeros(0, np.int32), ITEMS)
    with pytest.raises(FloatingPointError, match="item 'tea' has probability 0"):
        impossible.decode([ITEMS[1], ITEMS[0]])


def test_decoders_are_compared_by_joint_probability():
    documents = [LONG.tolist(), WORDS, LONG[3:20].tolist()]
    corpus = Corpus.from_documents(documents, ITEMS)
    drawn = np.random.default_rng(2).integers(K, size=corpus.n_tokens)
    asked = Model(network("topic"), model("topic").emission, drawn.astype(np.uint16), ITEMS)
    found = decoded(asked, corpus, [1, 8])
    parts = np.split(drawn, corpus.offsets[1:-1])
    truth = sum(
        log_joint("topic", None, words, part.tolist())
        for words, part in zip(documents, parts, strict=True)
    )
    assert found["drawn"] == pytest.approx(-truth / corpus.n_tokens, rel=1e-5)
    alone = sum(decode(asked._predictor, np.array(words), 8).log_joint for words in documents)
    assert found["beam of 8"] == pytest.approx(-alone / corpus.n_tokens, rel=1e-6)
    assert found["beam of 8"] <= found["beam of 1"] < found["drawn"]
