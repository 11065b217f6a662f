"""The probabilities of all next words: distributions, exact where that can be, and the evidence."""

import numpy as np
import pytest
import torch
from enumeration import exact
from personal_model import NETWORKS, PHI, TAU, any_network, personal
from simulated import random_corpus

from lla.common.errors import InputError
from lla.common.random import torch_stream
from lla.corpus import Corpus, split_corpus
from lla.inference.emission import SharedEmission
from lla.inference.filter import ScoreRequest
from lla.lstm import Network, NetworkConfig
from lla.model import Model
from lla.peers.simulate import random_phi

V, K = 12, 4
NO_TOPICS = np.zeros(0, np.int32)


def model(reads, emission, n_words=V):
    if emission == "words":
        network = Network(NetworkConfig(n_words, n_words, 5, 6, 0.0, "word"), torch_stream(1))
        return Model(network, None, NO_TOPICS)
    phi = random_phi(n_words, K, 0.3, seed=6)
    says = personal(phi, [0.5, 2.0, 8.0, 30.0])
    says = says if emission == "personal" else SharedEmission(says.phi)
    return Model(any_network(reads, n_words, K), says, NO_TOPICS)


MODELS = [(reads, e) for reads in ("topic", "word", "character") for e in ("shared", "personal")]
MODELS.append(("word", "words"))


def collect(of, split, n_particles, n_threads=1, seed=3):
    """Scores of all held-out tokens, (N, V), NaN elsewhere, and how often each was shown."""
    scores = np.full((split.corpus.n_tokens, split.corpus.n_words), np.nan, np.float32)
    times = np.zeros(split.corpus.n_tokens, int)

    def visit(positions, found):
        assert found.shape == (len(positions), split.corpus.n_words)
        assert found.dtype == np.float32
        scores[positions] = found
        np.add.at(times, positions, 1)

    of.next_items(split, visit, seed=seed, n_particles=n_particles, n_threads=n_threads)
    return scores, times


@pytest.mark.parametrize(("reads", "emission"), MODELS)
@pytest.mark.parametrize("n_particles", [1, 3])
def test_rows_sum_to_one_and_equal_the_evidence(reads, emission, n_particles):
    """Every held-out token once; its own word's probability is what perplexity is made of."""
    split = split_corpus(random_corpus(25, longest=70, seed=2))
    of = model(reads, emission)
    scores, times = collect(of, split, n_particles)
    np.testing.assert_array_equal(times, split.held_out)
    held_out = np.flatnonzero(split.held_out)
    assert (scores[held_out] > 0).all()
    np.testing.assert_allclose(scores[held_out].sum(axis=1), 1.0, rtol=1e-5)
    own = np.zeros(len(times))
    own[held_out] = np.log(scores[held_out, split.corpus.words[held_out]].astype(np.float64))
    expected = of.score(split, seed=3, n_particles=n_particles)
    np.testing.assert_allclose(split.sum_held_out(own), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("reads", "emission"), [("word", "words"), ("topic", "shared")])
def test_tokens_that_are_not_scored_change_none_that_are(reads, emission):
    corpus = random_corpus(25, longest=70, seed=2)
    of, wanted = model(reads, emission), np.random.default_rng(0).random(corpus.n_tokens) < 0.3
    wanted[corpus.offsets[3] : corpus.offsets[4]] = False  # a document of which none is
    whole = of.log_evidence(corpus, seed=1, key=(7,), n_particles=2)
    part = of.log_evidence(corpus, seed=1, key=(7,), n_particles=2, scored=wanted)
    np.testing.assert_allclose(part[wanted], whole[wanted], rtol=1e-5)
    assert (whole < 0).all() and (emission != "words" or (part[~wanted] == 0).all())
    with pytest.raises(InputError, match="scored"):
        of.log_evidence(corpus, seed=1, key=(7,), scored=wanted[1:])


@pytest.mark.parametrize(("reads", "emission"), MODELS)
def test_result_does_not_depend_on_threads_or_batches(reads, emission, monkeypatch):
    split = split_corpus(random_corpus(150, longest=30, seed=2))
    of = model(reads, emission)
    one, _ = collect(of, split, 2)
    two, _ = collect(of, split, 2, n_threads=2)
    assert one.tobytes() == two.tobytes()
    monkeypatch.setattr("lla.model.WORD_SCORES", 5 * V)
    few, times = collect(of, split, 2)
    assert times.max() == 1
    np.testing.assert_allclose(few, one, rtol=1e-5)


@pytest.mark.parametrize("reads", ["topic", "word"])
@pytest.mark.parametrize("tau", [None, TAU])
def test_many_particles_approach_the_exact_probabilities(reads, tau):
    """p(w_4 = v | w_1, w_2, w_3) by enumeration, for every v."""
    network, words = NETWORKS[reads], [2, 0, 2]
    says = personal(PHI, TAU) if tau is not None else SharedEmission(personal(PHI, 1.0).phi)
    corpus = Corpus.from_documents([[*words, 1]], [f"w{w}" for w in range(4)])
    found = []
    request = ScoreRequest(np.arange(4) == 3, lambda positions, scores: found.append(scores), 9)
    model = Model(network, says, NO_TOPICS)
    model.log_evidence(corpus, seed=0, key=(5,), n_particles=20_000, request=request)
    p = np.array([exact(network, PHI, [*words, v], tau).joint.sum() for v in range(4)])
    np.testing.assert_allclose(found[0][0], p / p.sum(), atol=0.01)


def test_a_word_that_was_never_seen_has_a_probability_and_own_words_gain():
    split = split_corpus(Corpus.from_documents([[0, 0, 0, 0, 1]], [f"w{w}" for w in range(V)]))
    own, _ = collect(model("topic", "personal"), split, 4)
    shared, _ = collect(model("topic", "shared"), split, 4)
    assert (own[-1] > 0).all()
    assert own[-1, 0] > 1.5 * shared[-1, 0]
    assert (own[-1, 1:] < shared[-1, 1:]).all()


def test_particles_out_of_range_are_named():
    split = split_corpus(random_corpus())
    with pytest.raises(InputError, match=r"^n_particles is 0: give 1 or more$"):
        model("topic", "shared").next_items(split, lambda *_: None, n_particles=0)


def test_exceptions_of_the_callback_are_raised():
    def refuse(positions, scores):
        raise KeyError("mine")

    split = split_corpus(random_corpus())
    with pytest.raises(KeyError, match="mine"):
        model("word", "shared").next_items(split, refuse, n_particles=1)


def test_kept_scores_are_the_callers_own():
    """A batch that is kept does not change when the next one comes."""
    split, kept = split_corpus(random_corpus(longest=30)), []

    def keep(positions, scores):
        kept.append((positions, scores, scores.copy()))

    with torch.no_grad():
        model("topic", "personal").next_items(split, keep, n_particles=2, n_threads=1)
    assert len(kept) > 5
    assert all(np.array_equal(scores, copy) for _, scores, copy in kept)
