"""The gate beside the topics: against all histories of topics and origins, and its limits."""

import numpy as np
import pytest
import torch
from enumeration import LEVEL, exact, history_number, p_value, within_standard_errors
from personal_model import PHI, TAU, K, V
from simulated import random_corpus
from source_model import DOCUMENTS, ITEMS, corpus_of, emission_with, network_with, table_of
from torch.nn import functional as F

from lla.common.errors import InputError
from lla.common.parallel import thread_pool
from lla.common.random import StreamId, torch_stream
from lla.corpus import split_corpus
from lla.inference.batch import Stepper
from lla.inference.config import SOURCES
from lla.inference.emission import SharedEmission, SourceEmission
from lla.inference.emission.sources import SourceParameters, Sources
from lla.inference.filter import FilterConfig, FilterResult, ScoreRequest, infer
from lla.inference.objectives import GatedSoftmax
from lla.inference.session import decode
from lla.lstm import NetworkConfig, probabilities
from lla.model import Model
from lla.model.dynamics import expected_after, memory_curve
from lla.peers.counts import BigramConfig, Popular, fit_bigram, unigram_probability
from lla.peers.simulate import random_network, random_phi

S = len(SOURCES)
VALUES = K * (1 + S)  # k + K c
WORDS = [2, 1, 2]
EMISSIONS = [("topic", None), ("topic", TAU), ("word", None), ("word", TAU)]


def run(documents, network, emission, seed=0, out=None, request=None, key=(5,), **config):
    with thread_pool(1) as pool:
        return infer(
            network,
            emission,
            corpus_of(documents) if isinstance(documents, list) else documents,
            FilterConfig(**config),
            seed=seed,
            key=key,
            pool=pool,
            out=out,
            request=request,
        )


def truth_of(reads, tau, words=WORDS):
    """By enumeration, with sources counted over `DOCUMENTS`."""
    return exact(network_with(reads, gate=True), PHI, words, tau, table_of(DOCUMENTS, list(words)))


def values_of(length):
    """All histories of values, (VALUES^T, T), as in `truth_of`."""
    return np.array(list(np.ndindex(*(VALUES,) * length)))


def model(reads="topic", tau=None):
    network = network_with(reads, gate=True)
    return Model(network, emission_with(tau), np.zeros(0, np.int32), ITEMS)


# ------------------------------------------------------------------- against all histories


@pytest.mark.parametrize(("reads", "tau"), EMISSIONS)
def test_the_se_step_draws_topics_and_origins_given_the_past(reads, tau):
    n, truth = 20_000, truth_of(reads, tau)
    network, emission = network_with(reads, gate=True), emission_with(tau)
    values = run([WORDS] * n, network, emission, seed=11).topics.reshape(n, len(WORDS))
    numbers = history_number(values, VALUES)
    assert p_value(np.bincount(numbers, minlength=len(truth.drawn)), truth.drawn) > LEVEL
    theta, first = truth.theta[0, 0, :K], values[:, 0]
    of_sources = np.bincount(first[first >= K] % K, minlength=K)
    assert p_value(of_sources, theta / theta.sum()) < 1e-6, "drawn given the word, not by θ alone"


@pytest.mark.parametrize(("reads", "tau"), EMISSIONS)
@pytest.mark.parametrize("n_particles", [1, 7])
def test_the_evidence_is_unbiased(reads, tau, n_particles):
    found = run(
        [WORDS] * 3000,
        network_with(reads, gate=True),
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
    """Of topics, which all tokens have, and of sources."""
    counts = np.zeros((1, K + S))
    out = FilterResult(topics=None, log_evidence=None, topic_counts=counts)
    network, emission = network_with(reads, gate=True), emission_with(tau)
    run([WORDS], network, emission, 3, out, n_particles=20_000, threshold=1.1, n_lanes=20_000)
    truth, values = truth_of(reads, tau), values_of(len(WORDS))
    posterior = truth.joint / truth.joint.sum()
    of_topics = [(posterior @ (values % K == k)).sum() for k in range(K)]
    of_sources = [(posterior @ (values // K == j + 1)).sum() for j in range(S)]
    np.testing.assert_allclose(counts[0], [*of_topics, *of_sources], atol=0.05)


@pytest.mark.parametrize(("reads", "tau"), EMISSIONS)
def test_probabilities_of_the_next_item_sum_to_one(reads, tau):
    """And the item that came has the probability that the filter gave it."""
    corpus, wanted = corpus_of([[1, 2, 1, 1, 3], [2], [0, 0, 0], [3, 1]]), {}
    request = ScoreRequest(
        np.ones(corpus.n_tokens, bool),
        lambda at, p: wanted.update(zip(at.tolist(), p.copy(), strict=True)),
        2,
    )
    network, emission = network_with(reads, gate=True), emission_with(tau)
    found = run(corpus, network, emission, request=request, n_particles=4)
    p = np.array([wanted[i] for i in range(corpus.n_tokens)])
    np.testing.assert_allclose(p.sum(axis=1), 1.0, rtol=1e-5)
    of_words = p[np.arange(len(p)), corpus.words]
    np.testing.assert_allclose(np.log(of_words), found.log_evidence, atol=1e-5)


# -------------------------------------------------------------------- serving one history


@pytest.mark.parametrize(("reads", "tau"), EMISSIONS)
@pytest.mark.parametrize("n_particles", [1, 5])
def test_a_session_is_the_batch(reads, tau, n_particles):
    asked, words = model(reads, tau), np.random.default_rng(1).integers(V, size=100)
    found = run(
        [words],
        asked.network,
        asked.emission,
        7,
        key=(StreamId.SERVING,),
        n_particles=n_particles,
    )
    session, ours = asked.session(n_particles=n_particles, seed=7), []
    for w in words:
        ours.append(session.probabilities()[w])
        session.add(ITEMS[w])
    np.testing.assert_allclose(np.log(ours), found.log_evidence, atol=2e-5)


@pytest.mark.parametrize(("reads", "tau"), EMISSIONS)
def test_explanations_are_the_posterior_of_each_event(reads, tau):
    """p(c_t | w_1..t), and of topics that produced the item, by enumeration."""
    table = model(reads, tau).explain([ITEMS[w] for w in WORDS], n_particles=20_000)
    for t in range(1, len(WORDS) + 1):
        truth, last = truth_of(reads, tau, WORDS[:t]), values_of(t)[:, -1]
        p = np.bincount(last // K, truth.joint, minlength=1 + S) / truth.joint.sum()
        found = [table.loc[t, name] for name in ("topics", *SOURCES)]
        np.testing.assert_allclose(found, p, atol=0.02)


@pytest.mark.parametrize(("reads", "tau"), EMISSIONS)
def test_the_beam_finds_the_most_likely_history(reads, tau):
    """Of topics and of where the items came from; a model decodes its topics."""
    asked, truth = model(reads, tau), truth_of(reads, tau).joint
    best = values_of(len(WORDS))[truth.argmax()]
    found = decode(asked._predictor, np.array(WORDS), width=VALUES**2)
    assert found.topics.tolist() == (best % K).tolist()
    assert found.origins.tolist() == (best // K).tolist()
    np.testing.assert_allclose(found.log_joint, np.log(truth.max()), atol=1e-5)
    decoded = asked.decode([ITEMS[w] for w in WORDS], width=VALUES**2)
    assert [z for _, z in decoded] == found.topics.tolist()


@pytest.mark.parametrize(("reads", "tau"), EMISSIONS)
def test_outcomes_ahead_by_enumeration(reads, tau):
    """Of the next event, and of the one after it whatever item comes between."""
    history = [2, 1]
    asked = model(reads, tau)
    ahead = asked.topics_ahead([ITEMS[w] for w in history], 2, n_futures=20_000, n_particles=500)
    expected = np.zeros((2, K + S))
    for row, futures in zip(expected, [[()], [(v,) for v in range(V)]], strict=True):
        for words in ([*history, *future] for future in futures):
            joint = truth_of(reads, tau, words).joint
            theta = truth_of(reads, tau, [*words, 0]).theta[::VALUES, -1]  # it knows no last value
            row += joint @ theta
    expected /= expected.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(ahead, expected, atol=0.03)


# ----------------------------------------------------------------- what it must become


def always(source, n_sources):
    """A network of one topic whose gate always chooses the topic, 0, or one source."""
    config = NetworkConfig(1 + n_sources, 1 + n_sources, 4, 5, n_sources=n_sources)
    network = random_network(config, seed=1)
    with torch.no_grad():
        network.output.weight.zero_()
        network.output.bias.fill_(-60.0)
        network.output.bias[1 + source] = 0.0
    return network


def only(split, name, parameters):
    sources = Sources.from_corpus(split.observed, (name,)).replace(parameters)
    n_words = split.corpus.n_words
    phi = SharedEmission(torch.full((n_words, 1), 1.0 / n_words))
    emission = SourceEmission(phi, sources)
    return Model(always(1, 1), emission, np.zeros(0, np.int32), split.corpus.vocabulary)


def test_a_gate_of_one_source_is_a_baseline():
    """`next` alone is the smoothed bigram, `recent` alone the cache with recency."""
    split = split_corpus(random_corpus(30, longest=25))
    ours = only(split, "next", SourceParameters(next=0.3))
    bigram = fit_bigram(split, BigramConfig(0.3))
    np.testing.assert_allclose(ours.score(split), bigram.score(split), rtol=1e-5)
    ours = only(split, "recent", SourceParameters(recent=2.0, half_life=3.0))
    cache = Popular(unigram_probability(split), 2.0, 3.0)
    np.testing.assert_allclose(ours.score(split), cache.score(split), rtol=1e-5)


@pytest.mark.parametrize("reads", ["topic", "word"])
@pytest.mark.parametrize("n_particles", [1, 3])
def test_a_closed_gate_changes_nothing(reads, n_particles):
    corpus, phi = random_corpus(longest=40), random_phi(12, 3, 0.5, 6)
    shared = SharedEmission(torch.tensor(phi).float())
    n_inputs = 3 if reads == "topic" else 12
    network = random_network(NetworkConfig(n_inputs, 3, 4, 5, input=reads), seed=2, gain=9.0)
    n_pairs = 6 if reads == "topic" else 12
    config = NetworkConfig(n_pairs, 4, 4, 5, input=reads, n_sources=1)
    more = random_network(config, seed=2, gain=9.0)
    with torch.no_grad():
        for name, value in network.named_parameters():
            more.get_parameter(name)[: len(value)] = value
        more.output.weight[3:] = 0.0
        more.output.bias[3:] = torch.tensor([0.0, -200.0])
    emission = SourceEmission(shared, Sources.from_corpus(corpus, ("recent",)))
    ours = run(corpus, more, emission, n_particles=n_particles)
    theirs = run(corpus, network, shared, n_particles=n_particles)
    np.testing.assert_array_equal(ours.topics, theirs.topics)
    np.testing.assert_allclose(ours.log_evidence, theirs.log_evidence, atol=1e-5)


def test_both_softmaxes():
    logits = torch.tensor([[0.3, -1.0, 2.0, 0.5, -0.5]])
    theta, pi = logits[:, :3].softmax(dim=1), logits[:, 3:].softmax(dim=1)
    p = probabilities(logits, 1)
    np.testing.assert_allclose(p[:, :3], pi[:, :1] * theta, rtol=1e-6)
    np.testing.assert_allclose(p[:, 3:], pi[:, 1:], rtol=1e-6)
    assert torch.equal(probabilities(logits), logits.softmax(dim=1))


def test_the_loss_is_of_topics_and_origins():
    network, n = network_with("topic", gate=True), 20
    states = torch.randn(n, 5, generator=torch_stream(1))
    targets = torch.arange(n) % VALUES
    logits = network.output(states)
    log_theta, log_pi = F.log_softmax(logits[:, :K], dim=1), F.log_softmax(logits[:, K:], dim=1)
    rows = torch.arange(n)
    expected = -(log_theta[rows, targets % K] + log_pi[rows, targets // K]).sum()
    objective = GatedSoftmax(K, S)
    assert objective.n_targets == VALUES
    found = objective(network, states, targets, torch_stream(0))
    torch.testing.assert_close(found, expected)


def test_a_word_that_nothing_can_emit_is_refused():
    phi = torch.tensor(PHI).float()
    phi[3] = 0.0
    sources = emission_with().sources
    network = always(0, S)
    with torch.no_grad():
        network.output.bias[2:] = -torch.inf
    emission = SourceEmission(SharedEmission(phi[:, :1]), sources)
    with pytest.raises(ArithmeticError, match="document 0 has probability 0"):
        run([[3, 1]], network, emission)


def test_dynamics_are_of_the_topics_alone():
    """Topics follow topics as without sources: θ, and not what the gate makes of it."""
    network, emission, corpus = (
        network_with("topic", gate=True),
        emission_with(),
        corpus_of(DOCUMENTS),
    )
    topics = (np.arange(corpus.n_tokens) % K).astype(np.int32)
    origins = np.arange(corpus.n_tokens) % (1 + S)
    asked = Model(network, emission, topics, ITEMS, observed=corpus, origins=origins)
    after = expected_after(asked, 2, n_futures=32)
    assert after.shape == (2, K, K)
    np.testing.assert_allclose(after.sum(axis=2), 1.0)
    assert len(memory_curve(asked, 2).effect) == 2
    stepper = Stepper(network, sources=False)
    states = torch.randn(3, 5, generator=torch_stream(2))
    theta = F.softmax(network.output(states)[:, :K], dim=1)
    torch.testing.assert_close(stepper.theta(states), theta.detach())


def test_network_and_emission_of_other_sources_are_refused():
    emission = emission_with(names=("next",))
    network = random_network(NetworkConfig(3 * (K - 1), K + 1, 4, 5, n_sources=2), seed=1)
    with pytest.raises(InputError, match="its gate has 2 sources, the emission 1"):
        Model(network, emission, np.zeros(0, np.int32), ITEMS)
    with pytest.raises(InputError, match="n_sources is 2 and n_outputs 2"):
        NetworkConfig(2, 2, n_sources=2)


def test_the_lstm_reads_where_an_item_came_from():
    """A pair is read as its topic's vector and its source's; without a source as the topic."""
    network = network_with("topic", gate=True)
    topics, origins = torch.arange(VALUES) % K, torch.arange(VALUES) // K
    expected = network.input.weight[topics].detach().clone()
    expected[K:] += network.input.origin[origins[K:] - 1].detach()
    torch.testing.assert_close(network.input(torch.arange(VALUES)).detach(), expected)
    assert network.input.start == VALUES == len(network.input.table()) - 1
    start = network.input(torch.tensor(VALUES))
    assert torch.equal(start, network.input.weight[K])
    asked = model()
    np.testing.assert_array_equal(asked.topic_embedding(), network.input.weight[:K].detach())
    n_input = network.config.n_parameters() - 4 * 5 * (4 + 5 + 1) - (K + S + 1) * (5 + 1)
    assert n_input == (K + S) * 4
