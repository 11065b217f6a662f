"""Perplexity: what counts, degenerate models, and scores kept in a file."""

import numpy as np
import pytest
import torch
from simulated import markov_network, random_corpus, sticky_split, sticky_transition

from lla.common.checkpoint import OtherFitError
from lla.common.errors import InputError
from lla.corpus import Corpus, Split, split_corpus
from lla.evaluate.perplexity import perplexity, user_error
from lla.inference.emission import SharedEmission
from lla.lda.prediction import score_held_out
from lla.lstm import Network, NetworkConfig
from lla.model import Model
from lla.peers.counts import Unigram, fit_unigram, unigram_probability


def shared(phi):
    return SharedEmission(torch.from_numpy(np.ascontiguousarray(phi, np.float32)))


def random_model(phi, seed=0):
    n_topics = phi.shape[1]
    generator = torch.Generator().manual_seed(seed)
    network = Network(NetworkConfig(n_topics, n_topics, 5, 7), generator)
    return Model(network, shared(phi), np.zeros(0, np.int32))


def random_phi(n_words=12, n_topics=3, seed=0):
    return np.random.default_rng(seed).dirichlet(np.full(n_words, 0.5), size=n_topics).T


@pytest.fixture
def split():
    return split_corpus(random_corpus(), development=0.2)


def change_development(split):
    """The same split with other held-out words in its development documents."""
    words = split.corpus.words.copy()
    document = np.repeat(np.arange(split.corpus.n_documents), split.corpus.lengths)
    changed = split.held_out & split.development[document]
    assert changed.any()
    words[changed] = (words[changed] + 1) % split.corpus.n_words
    corpus = Corpus(words, split.corpus.offsets, split.corpus.vocabulary)
    return Split(corpus, split.observed, split.n_observed, split.development)


def test_perplexity_counts_the_words_of_the_chosen_documents(split):
    scores = -np.arange(20.0)
    for documents in (split.reported, split.development, np.arange(20) == 8):
        n_words = sum(
            split.corpus.lengths[d] - split.n_observed[d] for d in np.flatnonzero(documents)
        )
        expected = np.exp(sum(np.flatnonzero(documents)) / n_words)
        assert perplexity(scores, split, documents) == pytest.approx(expected, rel=1e-12)
    assert perplexity(scores, split) == perplexity(scores, split, split.reported)


def test_the_users_error_is_a_mean_over_users_of_means_over_events():
    """Ko et al. (2016), equation 3: by hand, and where it differs from the perplexity."""
    corpus = Corpus.from_documents([[0, 1], [1], [0, 1, 1, 0]], "ab")
    split = Split(corpus, corpus, np.array([1, 1, 1]), np.zeros(3, bool))
    scores = np.array([-0.5, 0.0, -6.0])
    assert user_error(scores, split) == pytest.approx((0.5 + 6 / 3) / 2)  # one has no event
    assert np.log(perplexity(scores, split)) == pytest.approx(6.5 / 4)
    assert user_error(scores, split, np.array([True, True, False])) == 0.5
    development = Split(corpus, corpus, split.n_observed, np.array([True, False, False]))
    assert user_error(scores, development) == 2.0
    uniform = -np.log(2) * split.n_held_out
    assert user_error(uniform, split) == pytest.approx(np.log(2))


def test_no_held_out_word_is_an_error_and_not_a_number():
    split = split_corpus(Corpus.from_documents([[0], [1]], "ab"))
    for measure in (perplexity, user_error):
        with pytest.raises(ValueError, match="none of those that count has a held-out word"):
            measure(np.zeros(2), split, split.reported)


@pytest.mark.parametrize("n_particles", [1, 5])
def test_a_uniform_model_has_perplexity_v(split, n_particles):
    uniform = np.full((12, 3), 1 / 12)
    scores = random_model(uniform).score(split, n_particles=n_particles)
    assert perplexity(scores, split, split.reported) == pytest.approx(12, rel=1e-5)
    for update in (False, True):
        scores = score_held_out(uniform, np.full(3, 0.2), np.zeros((20, 3)), split, update)
        assert perplexity(scores, split, split.reported) == pytest.approx(12, rel=1e-12)


def test_lda_with_one_topic_is_the_unigram(split):
    p = unigram_probability(split, 0.1)
    counts = split.observed.lengths[:, None].astype(float)
    for update in (False, True):
        scores = score_held_out(p[:, None], np.array([0.3]), counts, split, update)
        np.testing.assert_allclose(scores, Unigram(p).score(split), rtol=1e-12, atol=1e-12)


def lda_by_hand(phi, alpha, document_topic, split, update):
    scores = []
    for d in range(split.corpus.n_documents):
        counts, score = document_topic[d] + alpha, 0.0
        for w in split.corpus.document(d)[split.n_observed[d] :]:
            joint = counts / counts.sum() * phi[w]
            score += np.log(joint.sum())
            if update:
                counts = counts + joint / joint.sum()
        scores.append(score)
    return scores


@pytest.mark.parametrize("update", [False, True])
def test_lda_scores_are_the_plain_loop(split, update):
    draw = np.random.default_rng(1)
    arguments = random_phi(), np.array([0.1, 0.5, 1.2]), draw.gamma(1.0, size=(20, 3)), split
    expected = lda_by_hand(*arguments, update)
    np.testing.assert_allclose(score_held_out(*arguments, update), expected, rtol=1e-10, atol=1e-12)


def test_development_documents_enter_no_reported_figure(split):
    """Other held-out words there change their own scores and no reported one."""
    other, phi = change_development(split), random_phi()
    counts = np.random.default_rng(2).gamma(1.0, size=(20, 3))

    def scores(part):
        yield fit_unigram(part).score(part)
        yield score_held_out(phi, np.full(3, 0.2), counts, part, True)
        yield random_model(phi).score(part, n_particles=3)

    for one, two in zip(scores(split), scores(other), strict=True):
        assert perplexity(one, split, split.reported) == perplexity(two, other, other.reported)
        assert perplexity(one, split, split.development) != perplexity(
            two, other, other.development
        )
    one[split.development] = -1e6
    assert perplexity(one, split, split.reported) == perplexity(two, other, other.reported)


def test_a_network_without_memory_scores_as_frozen_lda():
    """θ the same at every step: one particle is exact, and so is LDA with that θ."""
    split, theta, phi = split_corpus(random_corpus()), np.array([0.5, 0.3, 0.2]), random_phi()
    model = Model(markov_network(np.tile(theta, (4, 1))), shared(phi), np.zeros(0, np.int32))
    scores = model.score(split, n_particles=1)
    expected = score_held_out(phi, theta, np.zeros((20, 3)), split, False)
    np.testing.assert_allclose(scores, expected, rtol=1e-5, atol=1e-6)


def forward(transition, phi, document):
    """Exact log p(w_t | w_<t) of a hidden Markov model, (T,)."""
    belief, log_p = transition[-1], []
    for w in document:
        joint = belief * phi[w]
        log_p.append(np.log(joint.sum()))
        belief = joint / joint.sum() @ transition[:-1]
    return np.array(log_p)


@pytest.fixture(scope="module")
def sticky():
    return sticky_split(4, 50, 60, 30)


def test_perplexity_decreases_to_the_exact_value_with_particles(sticky):
    """The network of `sticky_split` is a hidden Markov model, and that has an exact answer."""
    split, model, _ = sticky
    transition, phi = sticky_transition(4), model.emission.phi.double().numpy()
    exact = [
        forward(transition, phi, split.corpus.document(d))[split.n_observed[d] :].sum()
        for d in range(60)
    ]
    exact = perplexity(np.array(exact), split, split.reported)
    mean = {
        n: np.mean(
            [
                perplexity(model.score(split, seed=seed, n_particles=n), split, split.reported)
                for seed in range(4)
            ]
        )
        for n in (1, 4, 16, 256)
    }
    assert mean[1] > 1.02 * mean[4] > 1.02 * mean[16]
    assert mean[256] == pytest.approx(exact, rel=0.01)
    assert mean[1] > 1.1 * exact


def test_scores_follow_the_seed_and_not_the_threads(sticky):
    split, model, _ = sticky
    one, two = (model.score(split, n_threads=n) for n in (1, 2))
    assert one.tobytes() == two.tobytes()
    assert one.tobytes() != model.score(split, seed=1).tobytes()


def test_scores_are_read_the_second_time(split, tmp_path, monkeypatch):
    path, model = tmp_path / "scores.safetensors", random_model(random_phi())
    first = model.score(split, n_particles=4, checkpoint=path)
    monkeypatch.setattr("lla.model.infer", None)  # whoever calls it fails
    again = model.score(split, n_particles=4, checkpoint=path)
    assert first.tobytes() == again.tobytes()


def other_weights(model):
    return random_model(random_phi(), seed=1)


def other_phi(model):
    return random_model(random_phi(seed=1))


@pytest.mark.parametrize(
    ("change", "difference"),
    [
        (other_weights, "they are of another model"),
        (other_phi, "they are of another model"),
        ("particles", "n_particles is 4 there and 5 here"),
        ("seed", "seed is 0 there and 1 here"),
        ("split", "another part of the documents was observed"),
    ],
)
def test_scores_of_something_else_are_refused_and_left_alone(split, tmp_path, change, difference):
    path, model = tmp_path / "scores.safetensors", random_model(random_phi())
    model.score(split, n_particles=4, checkpoint=path)
    usual = {"n_particles": 4, "seed": 0}
    options = usual | {"particles": {"n_particles": 5}, "seed": {"seed": 1}}.get(change, {})
    split = split_corpus(split.corpus, 0.5) if change == "split" else split
    model = change(model) if callable(change) else model
    before = path.read_bytes()
    with pytest.raises(OtherFitError, match=f"holds other scores: {difference}; give checkpoint"):
        model.score(split, **options, checkpoint=path)
    assert path.read_bytes() == before


def test_a_broken_file_of_scores_gives_one_line(split, tmp_path):
    path, model = tmp_path / "scores.safetensors", random_model(random_phi())
    model.score(split, checkpoint=path)
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(InputError, match=r"scores\.safetensors: .*delete it") as caught:
        model.score(split, checkpoint=path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("n_particles", [0, -4])
def test_particles_out_of_range_are_named(split, n_particles):
    with pytest.raises(ValueError, match=f"n_particles is {n_particles}: give 1 or more"):
        random_model(random_phi()).score(split, n_particles=n_particles)


def test_the_fingerprint_does_not_depend_on_memory_layout():
    phi = random_phi().astype(np.float32)
    model = random_model(phi)
    turned = Model(model.network, SharedEmission(torch.from_numpy(phi.T.copy()).T), model.topics)
    assert turned.fingerprint() == model.fingerprint()
    assert other_phi(model).fingerprint() != model.fingerprint()
    assert other_weights(model).fingerprint() != model.fingerprint()
