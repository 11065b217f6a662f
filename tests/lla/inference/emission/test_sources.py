"""Sources beside the topics: against their definitions and against all histories over K + S."""

import numpy as np
import pytest
import torch
from enumeration import LEVEL, exact, history_number, p_value, within_standard_errors
from hypothesis import given, settings
from hypothesis import strategies as st
from personal_model import PHI, TAU, K, V
from simulated import all_observed, random_corpus
from source_model import (
    DOCUMENTS,
    ITEMS,
    LEARNED,
    by_definition,
    corpus_of,
    emission_with,
    network_with,
    sources_of,
    table_of,
)

from lla.common.errors import InputError
from lla.common.parallel import thread_pool
from lla.common.random import StreamId
from lla.corpus import Corpus, split_corpus
from lla.inference.config import SOURCES
from lla.inference.emission import SharedEmission, SourceEmission
from lla.inference.emission.source_fit import (
    draw_initial,
    evidence_of_corpus,
    fit_parameters,
    token_probabilities,
)
from lla.inference.emission.sources import SourceParameters, Sources
from lla.inference.filter import FilterConfig, FilterResult, ScoreRequest, infer
from lla.lstm import NetworkConfig
from lla.model import Model
from lla.peers.counts import BigramConfig, Popular, fit_bigram, unigram_probability
from lla.peers.simulate import random_network, random_phi

WORDS = [2, 1, 2, 1]
EMISSIONS = [("topic", None), ("topic", TAU), ("word", None), ("word", TAU)]


def run(documents, network, emission, seed=0, threads=1, counted=None, **config):
    corpus = documents if isinstance(documents, Corpus) else corpus_of(documents)
    with thread_pool(threads) as pool:
        return infer(
            network,
            emission,
            corpus,
            FilterConfig(**config),
            seed=seed,
            key=(5,),
            pool=pool,
            counted=counted,
        )


def truth_of(reads, tau, words=WORDS):
    """By enumeration, with sources counted over `DOCUMENTS`."""
    return exact(network_with(reads), PHI, words, tau, table_of(DOCUMENTS, list(words)))


# ------------------------------------------------------------------ probabilities of sources

same_each_time = settings(derandomize=True, deadline=None, max_examples=40)

documents = st.lists(
    st.lists(st.integers(0, V - 1), min_size=1, max_size=9), min_size=1, max_size=4
)
parameters = st.builds(
    SourceParameters,
    next=st.floats(0.01, 100.0),
    own_next=st.floats(0.01, 100.0),
    recent=st.floats(0.01, 100.0),
    half_life=st.floats(0.2, 100.0),
)


@same_each_time
@given(documents, parameters)
def test_leaving_tokens_out_is_counting_without_them(documents, parameters):
    """Every counted token by brute force: counted anew without it and what follows it."""
    sources = sources_of(documents, parameters=parameters)
    found = token_probabilities(corpus_of(documents), sources)
    each = [table_of(documents, words, SOURCES, parameters, d) for d, words in enumerate(documents)]
    np.testing.assert_allclose(found, np.concatenate(each), rtol=1e-9)


@same_each_time
@given(documents, documents, parameters)
def test_lanes_have_the_probabilities_by_definition(counted, read, parameters):
    """Of documents that were not counted, side by side, and growing word by word."""
    read = sorted(read, key=len, reverse=True)
    emission = SourceEmission(
        SharedEmission(torch.tensor(PHI).float()), sources_of(counted, parameters=parameters)
    )
    words = np.zeros((len(read[0]), len(read)), np.int64)
    for lane, document in enumerate(read):
        words[: len(document), lane] = document
    lanes = emission.lanes(words, np.array([len(document) for document in read]), 1)
    for t in range(len(words)):
        running = sum(len(document) > t for document in read)
        found = lanes.likelihood(running)
        for lane in range(running):
            expected = by_definition(counted, read[lane][:t], read[lane][t], parameters)
            np.testing.assert_allclose(found[lane, K:], expected, rtol=1e-6)
            np.testing.assert_allclose(found[lane, :K], PHI[read[lane][t]], rtol=1e-6)
        lanes.advance(np.zeros(running, np.int64), np.arange(running))
    alone = emission.growing_lanes(1)
    for t, w in enumerate(read[0]):
        every = np.zeros(K + len(SOURCES))
        for j in range(len(SOURCES)):
            weights = np.zeros((1, K + len(SOURCES)))
            weights[0, K + j] = 1.0
            p = alone.predictive(weights)
            expected = [by_definition(counted, read[0][:t], v, parameters)[j] for v in range(V)]
            np.testing.assert_allclose(p, expected, rtol=1e-6, atol=1e-12)
            every[K + j] = p[w]
        alone.append(np.array([w]))
        np.testing.assert_allclose(alone.likelihood(1)[0, K:], every[K:], rtol=1e-6)
        alone.advance(np.zeros(1, np.int64), np.zeros(1, np.int64))


@same_each_time
@given(documents)
def test_counts_are_conserved(documents):
    corpus = corpus_of(documents)
    sources = Sources.from_corpus(corpus, SOURCES)
    assert sources.word_count.sum() == corpus.n_tokens
    assert sources.count.sum() == corpus.n_tokens - corpus.n_documents
    counts = sources.counts()
    assert counts.pair_total.sum() == sources.count.sum()
    lasts = np.bincount([words[-1] for words in documents], minlength=V)
    np.testing.assert_array_equal(counts.pair_total, sources.word_count - lasts)
    evidence = evidence_of_corpus(corpus, sources)
    assert (evidence[:, 1] <= evidence[:, 2]).all() and (evidence[:, 3] <= evidence[:, 4]).all()
    assert (evidence >= 0).all()


def test_only_recent_needs_no_pairs():
    sources = Sources.from_corpus(corpus_of(DOCUMENTS), ("recent",))
    assert len(sources.count) == 0 and (np.diff(sources.first) == 0).all()


# ----------------------------------------------------------------- what they must become


def always(outcome, n_outcomes, n_inputs, reads="topic"):
    """A network that gives one value of z all probability."""
    network = random_network(NetworkConfig(n_inputs, n_outcomes, 4, 5, input=reads), seed=1)
    with torch.no_grad():
        network.output.weight.zero_()
        network.output.bias.fill_(-200.0)
        network.output.bias[outcome] = 0.0
    return network


def only(split, name, parameters):
    """LLA whose z is always this source."""
    sources = Sources.from_corpus(split.observed, (name,)).replace(parameters)
    n_words = split.corpus.n_words
    phi = torch.full((n_words, 1), 1.0 / n_words)
    emission = SourceEmission(SharedEmission(phi), sources)
    return Model(always(1, 2, 2), emission, np.zeros(0, np.int32), split.corpus.vocabulary)


def rows(model, split):
    found = {}
    model.next_items(split, lambda at, p: found.update(zip(at.tolist(), p.copy(), strict=True)))
    return np.array([found[i] for i in sorted(found)])


@pytest.mark.parametrize("c", [0.3, 20.0])
def test_only_next_is_the_bigram(c):
    split = split_corpus(random_corpus(30, longest=25))
    bigram = fit_bigram(split, BigramConfig(c))
    ours = only(split, "next", SourceParameters(next=c))
    np.testing.assert_allclose(ours.score(split), bigram.score(split), rtol=1e-5)
    np.testing.assert_allclose(rows(ours, split), rows(bigram, split), rtol=1e-5)


@pytest.mark.parametrize(("c", "half_life"), [(0.3, 0.7), (20.0, 30.0), (2.0, 1e9)])
def test_only_recent_is_the_cache_with_recency(c, half_life):
    split = split_corpus(random_corpus(30, longest=25))
    cache = Popular(unigram_probability(split), c, half_life)
    ours = only(split, "recent", SourceParameters(recent=c, half_life=half_life))
    np.testing.assert_allclose(ours.score(split), cache.score(split), rtol=1e-5)
    np.testing.assert_allclose(rows(ours, split), rows(cache, split), rtol=1e-5)


@pytest.mark.parametrize("reads", ["topic", "word"])
@pytest.mark.parametrize("n_particles", [1, 3])
def test_a_source_that_never_speaks_changes_nothing(reads, n_particles):
    corpus, phi = random_corpus(longest=40), random_phi(12, 3, 0.5, 6)
    shared = SharedEmission(torch.tensor(phi).float())
    network = random_network(
        NetworkConfig(3 if reads == "topic" else 12, 3, 4, 5, input=reads), seed=2, gain=9.0
    )
    more = random_network(
        NetworkConfig(4 if reads == "topic" else 12, 4, 4, 5, input=reads), seed=2, gain=9.0
    )
    with torch.no_grad():
        for name, value in more.named_parameters():
            value[: len(network.get_parameter(name))] = network.get_parameter(name)
        if reads == "topic":
            more.input.weight[4] = network.input.weight[3]
        more.output.weight[3] = 0.0
        more.output.bias[3] = -1e9
    emission = SourceEmission(shared, Sources.from_corpus(corpus, ("recent",)))
    ours = run(corpus, more, emission, n_particles=n_particles)
    theirs = run(corpus, network, shared, n_particles=n_particles)
    np.testing.assert_array_equal(ours.topics, theirs.topics)
    np.testing.assert_allclose(ours.log_evidence, theirs.log_evidence, atol=1e-5)


# ------------------------------------------------------------------- against all histories


@pytest.mark.parametrize(("reads", "tau"), EMISSIONS)
def test_the_se_step_draws_topics_and_sources_given_the_past(reads, tau):
    n, n_outcomes = 20_000, K + len(SOURCES)
    topics = run([WORDS] * n, network_with(reads), emission_with(tau), seed=11).topics
    counts = np.bincount(history_number(topics.reshape(n, 4), n_outcomes), minlength=n_outcomes**4)
    assert p_value(counts, truth_of(reads, tau).drawn) > LEVEL
    other = exact(network_with(reads), PHI, WORDS, tau, np.full((4, 3), 0.25)).drawn
    assert p_value(counts, other) < 1e-12, "the test would see sources without a history"


def test_the_se_step_of_counted_tokens_leaves_each_out():
    """A document of the counts themselves: many copies are read, one was counted."""
    words, n = DOCUMENTS[1], 20_000
    network, emission = network_with("topic"), emission_with()
    counted = np.ones(3 * n, bool)
    found = run([words] * n, network, emission, seed=12, counted=counted).topics.reshape(n, 3)
    counts = np.bincount(history_number(found, 6), minlength=6**3)
    without = table_of(DOCUMENTS, words, counted=1)
    assert p_value(counts, exact(network, PHI, words, None, without).drawn) > LEVEL
    held = table_of(DOCUMENTS, words)
    assert p_value(counts, exact(network, PHI, words, None, held).drawn) < 1e-12


@pytest.mark.parametrize(("reads", "tau"), EMISSIONS)
@pytest.mark.parametrize("n_particles", [1, 7])
def test_the_evidence_is_unbiased(reads, tau, n_particles):
    found = run(
        [WORDS] * 3000,
        network_with(reads),
        emission_with(tau),
        n_particles=n_particles,
        threshold=1.1,
        seed=13,
    )
    sample = np.exp(found.log_evidence.reshape(3000, -1).sum(axis=1))
    truth = truth_of(reads, tau).joint.sum()
    if reads == "word" and tau is None:
        np.testing.assert_allclose(sample, truth, rtol=1e-5)
    else:
        assert within_standard_errors(sample, truth)


@pytest.mark.parametrize(("reads", "tau"), EMISSIONS)
def test_trajectories_have_the_posterior(reads, tau):
    """Σ over K + S of every history: the expected counts of topics and sources."""
    counts = np.zeros((1, K + len(SOURCES)))
    with thread_pool(1) as pool:
        infer(
            network_with(reads),
            emission_with(tau),
            corpus_of([WORDS]),
            FilterConfig(20_000, threshold=1.1, n_lanes=20_000),
            seed=3,
            key=(1,),
            pool=pool,
            out=FilterResult(topics=None, log_evidence=None, topic_counts=counts),
        )
    truth = truth_of(reads, tau)
    z = np.array(list(np.ndindex(*(6,) * 4)))
    posterior = truth.joint / truth.joint.sum()
    expected = [(posterior @ (z == k)).sum() for k in range(6)]
    np.testing.assert_allclose(counts[0], expected, atol=0.05)


@pytest.mark.parametrize(("reads", "tau"), EMISSIONS)
def test_probabilities_of_the_next_item_sum_to_one(reads, tau):
    """And the item that came has the probability that the filter gave it."""
    documents = [[1, 2, 1, 1, 3], [2], [0, 0, 0], [3, 1]]
    corpus, wanted = corpus_of(documents), {}
    request = ScoreRequest(
        np.ones(corpus.n_tokens, bool),
        lambda at, p: wanted.update(zip(at.tolist(), p.copy(), strict=True)),
        2,
    )
    with thread_pool(1) as pool:
        found = infer(
            network_with(reads),
            emission_with(tau),
            corpus,
            FilterConfig(4),
            seed=1,
            key=(5,),
            pool=pool,
            request=request,
        )
    p = np.array([wanted[i] for i in range(corpus.n_tokens)])
    np.testing.assert_allclose(p.sum(axis=1), 1.0, rtol=1e-5)
    np.testing.assert_allclose(
        np.log(p[np.arange(len(p)), corpus.words]), found.log_evidence, atol=1e-5
    )


# -------------------------------------------------------------------- serving one history


def model(reads="topic", tau=None):
    return Model(network_with(reads), emission_with(tau), np.zeros(0, np.int32), ITEMS)


@pytest.mark.parametrize(("reads", "tau"), EMISSIONS)
@pytest.mark.parametrize("n_particles", [1, 5])
def test_a_session_is_the_batch(reads, tau, n_particles):
    """Longer than the first capacity of a growing lane, so that it is doubled."""
    asked, words = model(reads, tau), np.random.default_rng(1).integers(V, size=150)
    with thread_pool(1) as pool:
        found = infer(
            asked.network,
            asked.emission,
            corpus_of([words]),
            FilterConfig(n_particles),
            seed=7,
            key=(StreamId.SERVING,),
            pool=pool,
        )
    session, ours = asked.session(n_particles=n_particles, seed=7), []
    for w in words:
        ours.append(session.probabilities()[w])
        session.add(ITEMS[w])
    np.testing.assert_allclose(np.log(ours), found.log_evidence, atol=2e-5)


@pytest.mark.parametrize(("reads", "tau"), EMISSIONS)
def test_explanations_are_the_posterior_of_each_event(reads, tau):
    """p(z_t | w_1..t), by enumeration."""
    table = model(reads, tau).explain([ITEMS[w] for w in WORDS], n_particles=20_000)
    assert list(table["item"]) == [ITEMS[w] for w in WORDS]
    for t in range(1, 5):
        truth = truth_of(reads, tau, WORDS[:t])
        z = np.array(list(np.ndindex(*(6,) * t)))[:, -1]
        p = np.array([truth.joint[z == k].sum() for k in range(6)]) / truth.joint.sum()
        row = table.loc[t]
        found = [row["topics"], *(row[name] for name in SOURCES)]
        np.testing.assert_allclose(found, [p[:K].sum(), *p[K:]], atol=0.02)
        assert row["probability"] == pytest.approx(p.max(), abs=0.02)


def test_explanations_without_events_and_of_unknown_ones(caplog):
    asked = model()
    assert len(asked.explain([])) == 0
    table = asked.explain(["w1", "unknown", "w2"])
    assert list(table["item"]) == ["w1", "w2"] and "unknown" in caplog.text
    np.testing.assert_allclose(table[["topics", *SOURCES]].sum(axis=1), 1.0)
    plain = Model(
        network_with("word", 0), SharedEmission(torch.tensor(PHI).float()), np.zeros(0, int), ITEMS
    )
    table = plain.explain(["w1"])
    assert list(table.columns) == ["item", "produced by", "probability", "topics"]
    assert table["topics"][1] == pytest.approx(1.0)


@pytest.mark.parametrize(("reads", "tau"), EMISSIONS)
def test_the_beam_finds_the_most_likely_history(reads, tau):
    decoded = model(reads, tau).decode([ITEMS[w] for w in WORDS], width=6**3)
    truth = truth_of(reads, tau)
    best = np.array(list(np.ndindex(*(6,) * 4)))[truth.joint.argmax()]
    assert [z for _, z in decoded] == best.tolist()


@pytest.mark.parametrize("tau", [None, TAU])
@pytest.mark.parametrize("source", range(len(SOURCES)))
def test_words_are_drawn_from_the_sources(tau, source):
    """Also of forks, each in a lane of its own."""
    lanes, n = emission_with(tau).growing_lanes(1), 20_000
    for w in WORDS:
        lanes.append(np.array([w]))
        lanes.advance(np.zeros(1, np.int64), np.zeros(1, np.int64))
    forked = lanes.fork(np.zeros(n, np.int64))
    uniforms = np.random.default_rng(source).random(n)
    drawn = forked.draw(np.full(n, K + source), uniforms)
    expected = [by_definition(DOCUMENTS, WORDS, v, LEARNED)[source] for v in range(V)]
    assert p_value(np.bincount(drawn, minlength=V), np.array(expected)) > LEVEL


def test_words_of_topics_and_sources_are_drawn_together():
    lanes = emission_with().growing_lanes(2)
    words = lanes.draw(np.array([0, K + 1]), np.array([0.2, 0.999999]))
    assert words.shape == (2,) and words[1] == V - 1


@pytest.mark.parametrize("reads", ["topic", "word"])
def test_futures_go_on_with_sources(reads):
    ahead = model(reads, TAU).topics_ahead(["w2", "w1"], 4, n_futures=64)
    assert ahead.shape == (4, 6)
    np.testing.assert_allclose(ahead.sum(axis=1), 1.0)


# --------------------------------------------------------------------------- learning them


def log_likelihood(corpus, sources, produced, learned):
    p = token_probabilities(corpus, sources.replace(learned))
    return (produced * np.log(p)).sum()


def recency_corpus(half_life, n_words=40, c=0.5):
    """Documents that `recent` alone produced, its base uniform."""
    rng = np.random.default_rng(5)
    documents = []
    for _ in range(80):
        words = [rng.integers(n_words)]
        for _ in range(60):
            weight = 0.5 ** (np.arange(len(words))[::-1] / half_life)
            if rng.random() < c / (c + weight.sum()):
                words.append(rng.integers(n_words))
            else:
                words.append(words[rng.choice(len(words), p=weight / weight.sum())])
        documents.append(words)
    return corpus_of(documents, n_words)


def test_the_m_step_finds_a_maximum():
    """No other value of any one parameter is better, its prior included."""
    corpus = recency_corpus(3.0)
    sources = Sources.from_corpus(corpus, SOURCES)
    choice = np.random.default_rng(2).integers(4, size=corpus.n_tokens)
    produced = (choice[:, None] == np.arange(3)).astype(float)
    fitted = sources
    for _ in range(8):  # a parameter at a time
        fitted = fit_parameters(corpus, fitted, produced)
    best, first = fitted.parameters, SourceParameters()

    def posterior(learned):
        prior = 0.0
        for name in SOURCES:
            c, mean = getattr(learned, name), getattr(first, name)
            prior += np.log(c) - c / mean
        return log_likelihood(corpus, sources, produced, learned) + prior

    values = dict(zip(("next", "own_next", "recent", "half_life"), best.array(), strict=True))
    for name, value in values.items():
        for factor in (0.7, 0.95, 1.05, 1.4):
            other = SourceParameters(**(values | {name: value * factor}))
            assert posterior(other) <= posterior(best) + 1e-6, (name, factor)


@pytest.mark.parametrize("half_life", [1.0, 8.0])
def test_the_half_life_is_recovered(half_life):
    corpus = recency_corpus(half_life)
    sources = Sources.from_corpus(corpus, ("recent",))
    for _ in range(5):
        sources = fit_parameters(corpus, sources, np.ones((corpus.n_tokens, 1)))
    assert sources.parameters.half_life == pytest.approx(half_life, rel=0.25)
    assert sources.parameters.recent == pytest.approx(0.5, rel=0.35)


def test_a_source_that_produced_nothing_keeps_its_parameters():
    corpus = random_corpus()
    sources = Sources.from_corpus(corpus, SOURCES).replace(LEARNED)
    kept = fit_parameters(corpus, sources, np.zeros((corpus.n_tokens, 3)))
    assert kept.parameters == LEARNED


def test_the_first_assignments_are_of_the_likeliest():
    """A corpus of a strict cycle is given to `next`, one of noise keeps its topics."""
    cycle = corpus_of([np.arange(30) % 10] * 20, 10)
    noise = corpus_of(list(np.random.default_rng(0).integers(10, size=(20, 30))), 10)
    share = []
    for corpus in (cycle, noise):
        topics = np.zeros(corpus.n_tokens, np.int32)
        sources = Sources.from_corpus(corpus, ("next",))
        origins, learned = draw_initial(corpus, topics, sources, 0.1, 2, 1)
        again, _ = draw_initial(corpus, topics, sources, 0.1, 2, 1)
        np.testing.assert_array_equal(origins, again)
        assert set(np.unique(origins)) <= {0, 1}
        share.append(origins.mean())
        assert (learned.parameters.next < 1.0) == (corpus is cycle)
    assert share[0] > 0.9 > 0.7 > share[1]


# ---------------------------------------------------------------------------------- arguments


def test_parts_that_do_not_fit_are_refused():
    with pytest.raises(InputError, match="sources: 5 words, but φ has 4"):
        SourceEmission(
            SharedEmission(torch.tensor(PHI).float()),
            Sources.from_corpus(corpus_of([[0, 1]], 5), ("next",)),
        )
    good = sources_of()
    with pytest.raises(InputError, match="id 9 follows, but V is 4"):
        Sources(good.names, good.first, good.follower * 0 + 9, good.count, good.word_count)
    with pytest.raises(InputError, match="give the counts of one corpus"):
        Sources(good.names, good.first[:-1], good.follower, good.count, good.word_count)
    with pytest.raises(InputError, match="words: id 7, but V is 4"):
        emission_with().lanes(np.array([[7]]), np.array([1]), 1)
    with pytest.raises(InputError, match="counted"):
        run([[0, 1]], network_with("topic"), emission_with(), counted=np.ones(3, bool))


def test_threads_do_not_change_a_result():
    rng = np.random.default_rng(3)
    documents = [rng.integers(V, size=n) for n in [1, 30, 7, 80, 1, 2, 19] * 6]
    one, two = (
        run(
            documents,
            network_with("topic"),
            emission_with(TAU),
            threads=n,
            n_particles=3,
            n_lanes=8,
        )
        for n in (1, 2)
    )
    assert one.topics.tobytes() == two.topics.tobytes()
    assert one.log_evidence.tobytes() == two.log_evidence.tobytes()


def test_score_takes_the_observed_tokens_for_counted():
    split = split_corpus(corpus_of(DOCUMENTS * 3), seed=1)
    asked = Model(
        network_with("topic"),
        SourceEmission(
            SharedEmission(torch.tensor(PHI).float()),
            Sources.from_corpus(split.observed, SOURCES).replace(LEARNED),
        ),
        np.zeros(0, np.int32),
        ITEMS,
    )
    counted = asked.log_evidence(
        split.corpus, seed=0, key=(StreamId.PERPLEXITY, 16), counted=~split.held_out
    )
    np.testing.assert_array_equal(asked.score(split), split.sum_held_out(counted))
    new = asked.log_evidence(split.corpus, seed=0, key=(StreamId.PERPLEXITY, 16))
    assert (counted != new).any()
    nothing = all_observed(split.corpus)
    np.testing.assert_array_equal(asked.score(nothing), 0.0)
