"""What the explorer's page calculates: against the model, against Torch, and by hand."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from explored import (
    K,
    certain_model,
    corpus,
    counts_model,
    personal_model,
    personal_source_model,
    source_model,
    topic_model,
    word_model,
    word_source_model,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from personal_model import personal

from lla.common.errors import NumericalError
from lla.corpus import Corpus
from lla.peers.simulate import random_phi
from lla.topics.explorer.contents import (
    PASSAGE,
    Assigned,
    assigned_topics,
    followers,
    histories,
    passages,
    spread_documents,
)
from lla.topics.explorer.rule import Rule
from lla.topics.explorer.sources import Trail, page_sources
from lla.topics.explorer.weights import count_weights_of, sparse_phi, to_half, weights_of


def rule_of(model):
    phi, sources = model.emission.phi.numpy(), None
    if model.source_names:
        sources = page_sources(model.emission.sources, np.arange(len(phi)), 10**6)
    return Rule(
        weights_of(model.network, phi),
        sparse_phi(phi, phi.size, 1),
        sources=sources,
        counts=count_weights_of(model.network),
    )


def column(words):
    return np.array(words, np.int64)[:, None]


@pytest.mark.parametrize("reads", ["word", "character"])
def test_next_topics_are_the_models_own_where_it_reads_words(reads):
    model = word_model(reads=reads)
    words = [3, 17, 17, 0, 9]
    found = rule_of(model).read(column(words)).theta[:, 0]
    for n in range(len(words) + 1):
        history = [model.vocabulary[w] for w in words[:n]]
        exact = model.topics_ahead(history, 1, n_futures=1)[0]
        np.testing.assert_allclose(found[n], exact, atol=2e-3)
    assert np.abs(found[1] - found[-1]).max() > 0.05, "the words read must matter"


def test_topic_lla_is_read_exactly_where_topics_are_certain():
    model = certain_model()
    words = [0, 5, 6, 19]
    reading = rule_of(model).read(column(words))
    np.testing.assert_allclose(reading.posterior[:, 0], np.eye(K)[[0, 1, 1, 4]], atol=1e-12)
    exact = model.topics_ahead([model.vocabulary[w] for w in words], 1, n_futures=1)[0]
    np.testing.assert_allclose(reading.theta[-1, 0], exact, atol=2e-3)


def test_reading_is_one_pass_of_torch_over_the_likeliest_topics():
    model, words = topic_model(), [4, 4, 21, 8, 11, 29]
    reading, phi = rule_of(model).read(column(words)), model.emission.phi.double().numpy()
    topics = reading.posterior[:, 0].argmax(axis=1)
    ids = torch.tensor([model.network.input.start, *topics])[:, None]
    with torch.no_grad():
        theta = model.network(ids)[0].softmax(dim=-1).double().numpy()[:, 0]
    np.testing.assert_allclose(reading.theta[:, 0], theta, atol=3e-3)
    joint = theta[:-1] * phi[words]
    posterior = joint / joint.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(reading.posterior[:, 0], posterior, atol=3e-3)


def test_word_lla_with_sources_is_read_exactly():
    """Forecasts, next words, and what produced each word, against a session of the model."""
    model, words = word_source_model(), [3, 17, 17, 0, 17, 17, 9]
    rule = rule_of(model)
    reading = rule.read(column(words))
    session = model.session()
    for t, w in enumerate(words):
        expected = session.topics_ahead(1)[0]
        found = reading.gate[t, 0, :1] * reading.theta[t, 0]
        np.testing.assert_allclose(found, expected[:K], atol=2e-3)
        np.testing.assert_allclose(reading.gate[t, 0, 1:], expected[K:], atol=2e-3)
        produced = session.explain_next(model.vocabulary[w])
        np.testing.assert_allclose(reading.origin[t, 0, 1:], produced[K:], atol=5e-3)
        found = reading.origin[t, 0, 0] * reading.posterior[t, 0]
        np.testing.assert_allclose(found, produced[:K], atol=5e-3)
        session.add(model.vocabulary[w])
    np.testing.assert_allclose(rule.next_words(reading), session.probabilities(), atol=2e-3)
    assert reading.origin[..., 1:].max() > 0.5, "sources must matter"


@pytest.mark.parametrize("make", [counts_model, source_model, personal_source_model])
def test_counts_and_sources_are_one_pass_of_torch_over_the_likeliest(make):
    model, words = make(), [4, 4, 21, 4, 4, 29]
    rule = rule_of(model)
    reading = rule.read(column(words))
    topics = reading.posterior[:, 0].argmax(axis=1)
    ids = topics + K * reading.origin[:, 0].argmax(axis=1)
    with torch.no_grad():
        logits = model.network(torch.tensor([model.network.input.start, *ids])[:, None])[0][:, 0]
    theta = logits[:, :K].softmax(dim=1).numpy()
    np.testing.assert_allclose(reading.theta[:, 0], theta, atol=5e-3)
    if model.source_names:
        gate = logits[:, K:].softmax(dim=1).numpy()
        np.testing.assert_allclose(reading.gate[:, 0], gate, atol=5e-3)
    assert rule.ahead(reading.state, 3).sum(axis=2) == pytest.approx(1.0)
    assert rule.next_words(reading).sum() == pytest.approx(1.0, abs=1e-3)


def test_running_counts_of_a_page_matter():
    model, words = counts_model(), [4] * 6
    with_counts, without = rule_of(model), rule_of(model)
    without.counts = None
    found = [rule.read(column(words)).theta[-1, 0] for rule in (with_counts, without)]
    assert np.abs(found[0] - found[1]).max() > 0.05


@pytest.mark.parametrize("n_pairs", [10**6, 12])
def test_sources_of_a_page_are_distributions_and_keep_the_commonest_pairs(n_pairs):
    of = corpus(n_documents=30, vocabulary=[f"w{w}" for w in range(8)])
    counted = source_model(of).emission.sources
    kept = page_sources(counted, np.arange(8), n_pairs)
    assert len(kept.followers) == min(n_pairs, len(counted.follower))
    assert kept.counts.min() >= np.sort(counted.count)[-len(kept.counts)]
    trail = Trail(kept)
    for word in (3, 1, 3, 1, 7):
        rows = np.array([trail.likelihood(w) for w in range(8)])
        np.testing.assert_allclose(rows.sum(axis=0), 1.0, rtol=1e-6)
        trail.add(word)


def test_words_that_a_page_leaves_out_leave_its_sources_distributions():
    counted = source_model().emission.sources
    kept = page_sources(counted, np.array([2, 3, 5, 7, 11]), 10**6)
    trail = Trail(kept)
    for word in (0, 4, 0, 4):
        trail.add(word)
        rows = np.array([trail.likelihood(w) for w in range(5)])
        np.testing.assert_allclose(rows.sum(axis=0), 1.0, rtol=1e-6)


def test_a_personal_emission_is_exact_where_topics_are_certain():
    """An item of the history comes again as often as the model itself says."""
    shared = certain_model()
    phi, tau = shared.emission.phi.numpy(), np.array([0.5, 2.0, 7.0, 1.0, 3.0])
    model = replace(shared, emission=personal(phi, tau))
    words = [0, 5, 5, 6, 5, 19]
    rule = rule_of(shared)
    rule.tau = tau
    exact = model.session([model.vocabulary[w] for w in words]).probabilities()
    found = rule.next_words(rule.read(column(words)))
    np.testing.assert_allclose(found, exact, atol=2e-3)
    assert found[5] > 1.5 * rule_of(shared).next_words(rule_of(shared).read(column(words)))[5]


def test_topics_of_a_personal_emission_follow_the_urn():
    model = personal_model()
    rule, tau = rule_of(model), model.emission.tau.numpy()
    rule.tau = tau
    words, phi = [4, 4, 21, 4, 21], model.emission.phi.double().numpy()
    reading = rule.read(column(words))
    topics = reading.posterior[:, 0].argmax(axis=1)
    for t, w in enumerate(words):
        n = np.bincount(topics[:t], minlength=K)
        own = np.bincount(topics[:t][np.array(words[:t], int) == w], minlength=K)
        joint = reading.theta[t, 0] * (own + tau * phi[w]) / (n + tau)
        np.testing.assert_allclose(reading.posterior[t, 0], joint / joint.sum(), atol=1e-3)
    assert rule.next_words(reading).sum() == pytest.approx(1, abs=1e-3)
    table, lengths = np.tile(column(words), (1, 2)), np.array([5, 3])
    assert rule.likeliest(table, lengths)[:, 0].tolist() == topics.tolist()


@pytest.mark.parametrize("make", [topic_model, word_model])
def test_steps_ahead_read_the_expected_embedding(make):
    model = make()
    network, phi = model.network, model.emission.phi
    rule = rule_of(model)
    found = rule.ahead(rule.begin(1), 4)[:, 0]
    with torch.no_grad():
        table = network.input.table()
        of_topic = table[:-1] if make is topic_model else phi.T @ table[:-1]
        x, state = table[-1], None
        for row in found:
            states, state = network.lstm(x[None, None], state)
            theta = network.output(states)[0, 0].softmax(dim=-1)
            np.testing.assert_allclose(row, theta.numpy(), atol=3e-3)
            x = theta @ of_topic


def test_after_a_topic_is_as_if_it_had_been_read():
    model = certain_model()
    rule = rule_of(model)
    found = rule.after_topics(3)
    for k in range(K):
        state = rule.read(column([4 * k])).state
        np.testing.assert_allclose(found[:, k], rule.ahead(state, 3)[:, 0], atol=1e-12)


def test_documents_side_by_side_are_read_as_each_alone():
    rule, of = rule_of(topic_model()), corpus()
    lengths = np.array([20, 20, 11, 3, 1])
    table = np.stack([of.document(d) for d in range(5)], axis=1).astype(int)
    found = rule.likeliest(table, lengths)
    for lane, n in enumerate(lengths):
        alone = rule.read(column(of.document(lane)[:n])).posterior[:, 0].argmax(axis=1)
        assert found[:n, lane].tolist() == alone.tolist()


def test_a_word_that_no_topic_emits_changes_nothing_by_itself():
    phi = np.array([[0.5, 0.0], [0.5, 1.0], [0.0, 0.0]])
    rule = rule_of(topic_model(corpus(vocabulary=["a", "b", "c"]), n_topics=2))
    rule.phi = sparse_phi(phi, phi.size, 1)
    theta, gate = np.array([[0.3, 0.7]]), np.ones((1, 1))
    for word, expected in ((2, theta.tolist()), (0, [[1.0, 0.0]])):
        posterior, origin = rule.assign(theta, gate, np.array([word]), rule.begin_memory(1))
        assert posterior.tolist() == expected and origin.tolist() == [[1.0]]


@settings(max_examples=40, deadline=None)
@given(
    n_words=st.integers(1, 25),
    n_topics=st.integers(1, 6),
    part=st.floats(0, 1),
    seed=st.integers(0),
)
def test_sparse_phi_keeps_what_matters_and_columns_sum_to_one(n_words, n_topics, part, seed):
    phi = random_phi(n_words, n_topics, 0.2, seed=seed % 1000)
    n_top = min(2, n_words)
    n_entries = n_top * n_topics + int(part * (phi.size - n_top * n_topics))
    kept = sparse_phi(phi, n_entries, n_top)
    rows = kept.rows(np.arange(n_words))
    np.testing.assert_allclose(rows.sum(axis=0), 1, atol=1e-3)
    assert len(kept.values) <= n_entries and (kept.rest >= 0).all()
    for k in range(n_topics):
        best = np.argsort(-phi[:, k], kind="stable")[:n_top]
        np.testing.assert_allclose(rows[best, k], phi[best, k], rtol=1e-3, atol=1e-8)
    if n_entries == phi.size:
        np.testing.assert_allclose(rows, phi, rtol=1e-3, atol=1e-8)
    theta = np.random.default_rng(seed).dirichlet(np.ones(n_topics))
    np.testing.assert_allclose(kept.mix(theta), rows @ theta, atol=1e-12)


def test_a_word_keeps_its_likeliest_topics():
    phi = random_phi(40, 8, 0.1, seed=3)
    kept = sparse_phi(phi, 8 + 2 * 40 + 30, 1)
    best = phi.argmax(axis=1)
    rows = kept.rows(np.arange(40))
    words = np.arange(40)
    np.testing.assert_allclose(rows[words, best], phi[words, best], rtol=1e-3)


def test_weights_that_16_bits_cannot_hold_are_refused():
    assert to_half("it", np.array([0.1, -3.0])).dtype == np.float16
    for bad in (1e5, np.inf, np.nan):
        with pytest.raises(NumericalError, match="a weight of it is not finite in 16 bits"):
            to_half("it", np.array([0.0, bad]))


def assigned(documents):
    """Documents given by their topics; a word is its topic's number times ten, and its place."""
    offsets = np.concatenate([[0], np.cumsum([len(d) for d in documents])])
    topics = np.concatenate(documents)
    return Assigned(np.arange(len(documents)) + 5, offsets, np.arange(len(topics)), topics)


def test_what_follows_what_is_counted_within_documents():
    # 0 -> 1 three times, 1 -> 0 twice, 0 -> 0 once; the ends of documents lead nowhere.
    found = followers(assigned([[0, 1, 0, 1], [0, 0, 1, 0], [2], [3, 3]]), 5)
    n = 7  # transitions: 0>1 0>1 0>1, 1>0 1>0, 0>0, 3>3
    np.testing.assert_allclose(found.stays[[0, 1, 3]], [1 / 4, 0, 1])
    assert np.isnan(found.stays[[2, 4]]).all()
    assert found.others[0] == [(1, pytest.approx((3 / 4) / (3 / n)), 3)]
    assert found.others[1] == [], "two transitions are too few"


def test_no_transition_leads_nowhere():
    found = followers(assigned([[0], [1]]), 2)
    assert np.isnan(found.stays).all() and found.others == [[], []]


def test_a_follower_that_comes_as_often_elsewhere_is_left_out():
    topics = np.random.default_rng(0).integers(2, size=4000)
    found = followers(assigned([topics, [0, 1] * 200]), 2)
    assert [row[0][0] for row in found.others] == [1, 0]
    stuck = followers(assigned([np.repeat([0, 1], 50), [1, 0] * 3]), 2)
    assert stuck.others[0] == stuck.others[1] == []


def test_passages_hold_most_words_of_their_topic_and_come_from_different_documents():
    one = [0] * 2 * PASSAGE + [1] * PASSAGE + [1] * 5
    other = [1] * 10 + [0] * 14 + [2]
    found = passages(assigned([one, other]), 4, 2)
    assert found.topic.tolist() == [0, 0, 1, 1, 2]
    assert found.document.tolist() == [5, 6, 5, 6, 6]
    assert found.lengths.tolist() == [PASSAGE, PASSAGE, PASSAGE, PASSAGE, 1]
    ends = np.cumsum(found.lengths)
    assert found.words[: ends[0]].tolist() == list(range(PASSAGE))
    assert found.words[ends[1] : ends[2]].tolist() == list(range(2 * PASSAGE, 3 * PASSAGE))
    assert found.topics[ends[1] : ends[2]].tolist() == [1] * PASSAGE


def test_histories_are_beginnings_spread_over_the_documents():
    found = histories(assigned([[0, 1]] * 3 + [[2, 2, 2]]), 2, 2)
    assert found.document.tolist() == [5, 7] and found.lengths.tolist() == [2, 2]
    assert found.words.tolist() == [0, 1, 4, 5]


def test_a_part_of_a_large_corpus_is_spread_over_it():
    of = corpus(n_documents=100, length=10)
    assert spread_documents(of, 50).tolist() == [0, 20, 40, 60, 80]
    assert len(spread_documents(of, 10**6)) == 100
    assert spread_documents(of, 1).tolist() == [0]


def test_own_topics_are_kept_and_unknown_words_left_out():
    of = Corpus.from_documents([[0, 1, 2], [2, 2], [1, 0]], ["a", "b", "c"])
    page_word = np.array([0, 1, -1])
    own = np.array([4, 3, 2, 1, 1, 0, 3])
    found = assigned_topics(of, own, rule_of(topic_model(of)), page_word)
    assert found.documents.tolist() == [0, 2] and found.offsets.tolist() == [0, 2, 4]
    assert found.words.tolist() == [0, 1, 1, 0] and found.topics.tolist() == [4, 3, 0, 3]


def test_topics_by_the_rule_are_those_of_reading_each_document():
    of, rule = corpus(), rule_of(topic_model())
    found = assigned_topics(of, None, rule, np.arange(of.n_words))
    alone = [rule.read(column(of.document(d))).posterior[:, 0].argmax(1) for d in range(12)]
    assert found.topics.tolist() == np.concatenate(alone).tolist()
