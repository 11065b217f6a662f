"""What an LSTM expects after a topic, and how far back it remembers: against enumeration."""

import itertools

import numpy as np
import pytest
import torch
from enumeration import lstm_logits, softmax, within_standard_errors
from simulated import markov_network, random_corpus, sticky_split, sticky_transition
from small_sem import small_fit

import lla
from lla.common.errors import InputError
from lla.corpus import Corpus
from lla.inference.batch import Stepper
from lla.inference.emission import SharedEmission
from lla.lstm import Network, NetworkConfig
from lla.model import Model
from lla.model.dynamics import _states_before, expected_after, memory_curve
from lla.peers.simulate import random_network
from lla.topics.dynamics import observed_after


def model_of(network, documents):
    """A model whose tokens have these topics; words play no part."""
    n_topics = network.config.n_outputs
    corpus = Corpus.from_documents([np.zeros(len(z), int) for z in documents], ["w"])
    emission = SharedEmission(torch.ones(1, n_topics))
    topics = np.concatenate(documents).astype(np.int32)
    return Model(network, emission, topics, ("w",), observed=corpus)


def small_network(n_topics, seed=10):
    return random_network(NetworkConfig(n_topics, n_topics, 4, 5), seed)


def theta_after(network, history):
    """θ after topics are read, float64 and by the textbook equations."""
    ids = np.array([[network.config.n_inputs, *history]]).T
    return softmax(lstm_logits(network, ids))[-1, 0]


def exact_after(network, documents, steps):
    """E[θ_{t+h} | z_t = k] by enumeration of all futures of all contexts, (steps, K, K)."""
    n_topics = network.config.n_outputs
    total, count = np.zeros((steps, n_topics, n_topics)), np.zeros(n_topics)
    for z in documents:
        for t, k in enumerate(z):
            count[k] += 1
            for h in range(steps):
                for future in itertools.product(range(n_topics), repeat=h):
                    history, weight = list(z[: t + 1]), 1.0
                    for topic in future:
                        weight *= theta_after(network, history)[topic]
                        history.append(topic)
                    total[h, k] += weight * theta_after(network, history)
    return total / count[:, None]


@pytest.mark.parametrize(
    ("n_topics", "documents", "steps"),
    [(2, [[0, 1, 1], [1, 0]], 4), (3, [[2, 0, 1, 0], [1], [2, 2]], 3)],
)
def test_expected_topics_are_those_of_enumeration(n_topics, documents, steps):
    network = small_network(n_topics)
    exact = exact_after(network, documents, steps)
    assert np.ptp(exact, axis=1).max() > 0.1  # topics differ in what follows them
    model = model_of(network, documents)
    # Multiples of the numbers of occurrences: every context has equally many futures.
    runs = np.array([expected_after(model, steps, n_futures=240, seed=s) for s in range(40)])
    np.testing.assert_allclose(runs[0, 0], exact[0], atol=1e-6)
    np.testing.assert_allclose(runs.sum(axis=3), 1.0)
    for place in np.ndindex(*exact.shape):
        if place[0] > 0:
            assert within_standard_errors(runs[(slice(None), *place)], exact[place]), place
    # The tolerance is small enough to tell the steps apart.
    assert np.abs(exact[1] - exact[2]).max() > 10 * runs[:, 1].std(axis=0).max() / 40**0.5


def test_after_a_markov_chain_come_the_powers_of_its_matrix():
    transition = sticky_transition(4, stay=0.6, onward=0.3)
    model = model_of(markov_network(transition), [[0, 1, 2, 3] * 5])
    after = expected_after(model, 6, n_futures=3000)
    power = np.eye(4)
    for h in range(6):
        power = power @ transition[:4]
        np.testing.assert_allclose(after[h], power, atol=0.03)
    np.testing.assert_allclose(after[0], transition[:4], atol=1e-5)


def test_expected_and_observed_agree_on_what_the_model_itself_has_drawn():
    split, model, topics = sticky_split(4, 30, 300, 80)
    fitted = Model(
        model.network, model.emission, topics, split.corpus.vocabulary, observed=split.corpus
    )
    after = expected_after(fitted, 10, n_futures=1000)
    seen = observed_after(topics, split.corpus.offsets, 4, 10)
    np.testing.assert_allclose(after, seen, atol=0.06)


def test_expected_topics_depend_on_the_seed_alone():
    model = model_of(small_network(3), [[2, 0, 1, 0], [1], [2, 2]])
    one, other = (expected_after(model, 4, n_futures=7, seed=5, n_threads=n) for n in (1, 2))
    assert one.tobytes() == other.tobytes()
    assert (expected_after(model, 4, n_futures=7, seed=6) != one).any()


def test_after_a_topic_without_tokens_nothing_is_known():
    after = expected_after(model_of(small_network(3), [[2, 0, 0]]), 2, n_futures=5)
    assert np.isnan(after[:, 1]).all() and not np.isnan(after[:, [0, 2]]).any()


def test_states_are_those_of_the_network_at_any_place(monkeypatch):
    monkeypatch.setattr("lla.model.dynamics.GROUP", 3)
    corpus = random_corpus(11, longest=9, seed=2)
    topics = np.random.default_rng(0).integers(3, size=corpus.n_tokens)
    network = small_network(3)
    places = np.random.default_rng(1).permutation(corpus.n_tokens)[:40]
    places = np.append(places, places[:5])  # a place may be asked for twice
    h, _ = _states_before(Stepper(network), corpus, topics, places)
    theta = Stepper(network).theta(h).numpy()
    for place, found in zip(places, theta, strict=True):
        first = corpus.offsets[np.searchsorted(corpus.offsets, place, side="right") - 1]
        np.testing.assert_allclose(found, theta_after(network, topics[first:place]), atol=1e-5)


def test_memory_is_the_mean_over_replacements_of_one_topic():
    """With two topics a replaced topic is the other one, so there is nothing to draw."""
    network = small_network(2)
    z = np.array([0, 1, 1, 0, 1, 0, 0, 1])
    curve = memory_curve(model_of(network, [z]), 3, n_positions=99)
    assert curve.distance.tolist() == [1, 2, 3]
    for distance, effect, error in zip(*curve[:3], strict=True):
        changes = []
        for t in range(3, len(z)):  # the position that is predicted
            other = z[:t].copy()
            other[t - distance] = 1 - other[t - distance]
            difference = theta_after(network, z[:t]) - theta_after(network, other)
            changes.append(np.abs(difference).sum() / 2)
        assert effect == pytest.approx(np.mean(changes), abs=1e-5) and effect > 1e-3
        assert error == pytest.approx(np.std(changes, ddof=1) / 5**0.5, abs=1e-5)


def test_replacements_are_other_topics_by_their_frequency():
    """A network that reads the last topic alone: the effect tells which one replaced it."""
    transition = np.full((5, 4), 0.01)
    transition[np.arange(4), np.arange(4)] = 0.97
    transition[4] = 0.25
    z = np.r_[np.zeros(300, int), np.ones(100, int)]
    curve = memory_curve(model_of(markov_network(transition), [z]), 1, n_positions=399)
    assert curve.effect[0] == pytest.approx(0.96, abs=1e-3)  # never by itself: always far
    assert curve.standard_error[0] < 1e-4


def test_a_markov_chain_remembers_one_topic_and_nothing_more():
    model = model_of(markov_network(sticky_transition(4)), [[0, 1, 2, 3] * 6])
    curve = memory_curve(model, 5)
    assert curve.effect[0] > 0.5 and (curve.effect[1:] < 1e-6).all()
    assert curve.unrelated > 0.3


def test_a_network_that_ignores_history_remembers_nothing():
    network = Network(NetworkConfig(3, 3, 4, 5), torch.Generator())
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
        network.output.bias.copy_(torch.tensor([0.5, 0.1, -1.0]))
    curve = memory_curve(model_of(network, [[0, 1, 2] * 7]), 6)
    assert (curve.effect == 0).all() and (curve.standard_error == 0).all() and curve.unrelated == 0
    after = expected_after(model_of(network, [[0, 1, 2] * 7]), 3, n_futures=4)
    np.testing.assert_allclose(
        after, np.broadcast_to(softmax(np.array([0.5, 0.1, -1.0])), (3, 3, 3))
    )


def test_the_embedding_of_topics_is_what_the_network_reads():
    model = small_fit(n_iterations=1)
    embedding = model.topic_embedding()
    assert embedding.shape == (3, 5) and embedding.dtype == np.float32
    weight = model.network.input.weight.detach().numpy()
    np.testing.assert_array_equal(embedding, weight[:3])
    embedding[:] = 0.0  # a copy: the model stays as it was
    assert model.topic_embedding().any()


@pytest.mark.parametrize(("kind", "reads"), [("word_lla", "word"), ("word_lstm", "word")])
def test_models_that_read_words_embed_no_topics(kind, reads):
    model = small_fit(model=kind, n_iterations=1)
    with pytest.raises(InputError, match=f"this model reads {reads}s, it embeds no topics"):
        model.topic_embedding()
    for ask in (expected_after, memory_curve):
        with pytest.raises(InputError, match=f"model: it reads {reads}s, so topics do not follow"):
            ask(model)


def test_a_model_that_was_read_has_an_embedding_and_no_dynamics(tmp_path):
    model = small_fit(n_iterations=1)
    read = lla.load_model(lla.save_model(model, tmp_path / "model"))
    np.testing.assert_array_equal(read.topic_embedding(), model.topic_embedding())
    for ask in (expected_after, memory_curve):
        with pytest.raises(InputError, match="model: it lacks the topics of the tokens it was"):
            ask(read)


def test_a_distance_beyond_the_longest_document_is_refused():
    model = model_of(small_network(3), [[0, 1, 2]])
    assert len(memory_curve(model, 2).effect) == 2
    with pytest.raises(InputError, match="max_distance is 3: the longest document has 3 tokens"):
        memory_curve(model, 3)
    with pytest.raises(InputError, match="model: it has one topic, and no other to replace it by"):
        memory_curve(model_of(small_network(1), [[0, 0, 0]]), 2)
