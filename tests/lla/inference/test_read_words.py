"""Models that read words: one pass is exact, whatever the grouping."""

import itertools

import numpy as np
import pytest
import torch
from scipy.stats import chisquare
from simulated import random_corpus

from lla.common.parallel import thread_pool
from lla.common.random import torch_stream
from lla.corpus import Corpus
from lla.inference import filter as inference
from lla.inference.batch import Stepper
from lla.inference.emission import SharedEmission
from lla.inference.filter import FilterConfig, infer
from lla.lstm import CharacterConfig, Network, NetworkConfig, spell

N_WORDS, N_TOPICS = 12, 4
LETTERS = CharacterConfig(embedding_size=3, hidden_size=3, min_words=1)


def network(reads="word", n_outputs=N_TOPICS, n_words=N_WORDS):
    config = NetworkConfig(n_words, n_outputs, 5, 6, 0.0, reads, LETTERS)
    spelling = spell([f"w{w}" for w in range(n_words)], LETTERS) if reads == "character" else None
    net = Network(config, torch_stream(0), spelling)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.mul_(3)
    return net


def emission(n_words=N_WORDS, seed=1):
    phi = torch.rand(n_words, N_TOPICS, generator=torch_stream(seed))
    return SharedEmission(phi / phi.sum(dim=0))


def read(net, says, corpus, seed=0, n_threads=1, key=(7,)):
    with thread_pool(n_threads) as pool:
        return infer(net, says, corpus, FilterConfig(), seed=seed, key=key, pool=pool)


def predicted(net, document):
    """Output probabilities before each word of a document, one step at a time; (T, n_outputs)."""
    stepper = Stepper(net)
    h, c = stepper.initial_state(1)
    inputs = [stepper.start, *document[:-1]]
    return torch.cat([stepper.step(torch.tensor([int(x)]), h, c) for x in inputs])


@pytest.mark.parametrize("reads", ["word", "character"])
def test_lla_is_the_step_by_step_loop(reads):
    corpus, net, says = random_corpus(longest=70), network(reads), emission()
    result = read(net, says, corpus)
    for d in range(corpus.n_documents):
        words = corpus.document(d).astype(np.int64)
        p = (predicted(net, words) * says.phi[words]).sum(dim=1)
        span = slice(corpus.offsets[d], corpus.offsets[d + 1])
        np.testing.assert_allclose(result.log_evidence[span], p.log(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("reads", ["word", "character"])
def test_a_language_model_is_the_step_by_step_loop(reads):
    corpus, net = random_corpus(longest=70), network(reads, n_outputs=N_WORDS)
    result = read(net, None, corpus)
    for d in range(corpus.n_documents):
        words = corpus.document(d).astype(np.int64)
        p = predicted(net, words)[torch.arange(len(words)), words]
        span = slice(corpus.offsets[d], corpus.offsets[d + 1])
        np.testing.assert_allclose(result.log_evidence[span], p.log(), rtol=1e-4, atol=1e-5)


def test_the_likelihood_is_the_sum_over_all_topic_paths():
    words = [3, 0, 7, 3]
    corpus = Corpus.from_documents([words], [f"w{w}" for w in range(N_WORDS)])
    net, says = network(), emission()
    theta = predicted(net, np.array(words)).double().numpy()
    phi = says.phi.double().numpy()
    total = 0.0
    for path in itertools.product(range(N_TOPICS), repeat=len(words)):
        total += np.prod(
            [theta[t, k] * phi[w, k] for t, (k, w) in enumerate(zip(path, words, strict=True))]
        )
    assert read(net, says, corpus).log_evidence.sum() == pytest.approx(np.log(total), rel=1e-5)


def test_next_word_probabilities_sum_to_one():
    for net, says in ((network(), emission()), (network(n_outputs=N_WORDS), None)):
        corpus = Corpus.from_documents(
            [[4, 2, w] for w in range(N_WORDS)], [f"w{w}" for w in range(N_WORDS)]
        )
        last = read(net, says, corpus).log_evidence[2::3]
        assert np.exp(last).sum() == pytest.approx(1.0, abs=1e-5)


def test_topics_are_drawn_from_the_posterior():
    """Chi-square of z_t ~ θ_tk φ_wk / Σ over many copies of one document."""
    copies, words = 4000, [5, 1, 9]
    corpus = Corpus.from_documents([words] * copies, [f"w{w}" for w in range(N_WORDS)])
    net, says = network(), emission()
    drawn = read(net, says, corpus).topics.reshape(copies, 3)
    posterior = predicted(net, np.array(words)).double().numpy() * says.phi[words].double().numpy()
    posterior /= posterior.sum(axis=1, keepdims=True)
    for t in range(3):
        counts = np.bincount(drawn[:, t], minlength=N_TOPICS)
        assert chisquare(counts, copies * posterior[t]).pvalue > 1e-4
    pairs = drawn[:, 0] * N_TOPICS + drawn[:, 1]  # given the words, topics are independent
    expected = copies * np.outer(posterior[0], posterior[1]).ravel()
    assert chisquare(np.bincount(pairs, minlength=16), expected).pvalue > 1e-4


def test_result_does_not_depend_on_threads_or_groups(monkeypatch):
    corpus, net, says = random_corpus(90, longest=40), network(), emission()
    one, two = read(net, says, corpus), read(net, says, corpus, n_threads=2)
    assert one.topics.tobytes() == two.topics.tobytes()
    assert one.log_evidence.tobytes() == two.log_evidence.tobytes()
    monkeypatch.setattr(inference, "WINDOW", 7)
    monkeypatch.setattr(inference, "MAX_LANES", 5)
    other = read(net, says, corpus)
    np.testing.assert_allclose(other.log_evidence, one.log_evidence, rtol=1e-5)


def test_other_seeds_draw_other_topics_from_the_same_evidence():
    corpus, net, says = random_corpus(), network(), emission()
    one, other = read(net, says, corpus, seed=0), read(net, says, corpus, seed=1)
    assert (one.topics != other.topics).any()
    assert one.log_evidence.tobytes() == other.log_evidence.tobytes()


def test_infer_follows_the_networks_input():
    corpus, says = random_corpus(), emission()
    key, config = (3,), FilterConfig()
    with thread_pool(1) as pool:
        words = infer(network(), says, corpus, config, seed=0, key=key, pool=pool)
        assert (
            words.log_evidence.tobytes()
            == read(network(), says, corpus, key=key).log_evidence.tobytes()
        )
        topic_net = network("topic", n_words=N_TOPICS)
        one, other = (
            infer(topic_net, says, corpus, config, seed=s, key=key, pool=pool) for s in (0, 1)
        )
    # A sampled history decides what comes after it; the first word has none.
    assert (one.log_evidence[corpus.offsets[:-1]] == other.log_evidence[corpus.offsets[:-1]]).all()
    assert (one.log_evidence != other.log_evidence).any()


def test_a_word_no_topic_emits_is_named():
    says = emission()
    says.phi[5] = 0
    corpus = Corpus.from_documents([[1, 2], [3, 5, 1]], [f"w{w}" for w in range(N_WORDS)])
    with pytest.raises(FloatingPointError, match="document 1 has probability 0"):
        read(network(), says, corpus)
