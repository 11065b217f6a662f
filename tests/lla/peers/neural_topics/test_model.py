"""Training, scoring and bounds of neural topic models."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import integrate, stats

from lla.common.errors import InputError
from lla.corpus import Corpus, Split, split_corpus
from lla.evaluate.perplexity import perplexity
from lla.peers.counts import UnigramConfig, fit_unigram
from lla.peers.neural_topics import (
    AEConfig,
    DAEConfig,
    DirichletInverseCDFConfig,
    DirichletRSVIConfig,
    DirichletVAEConfig,
    GSMConfig,
    NVDMConfig,
    NVLDAConfig,
    ProdLDAConfig,
    VAEConfig,
    WeibullVAEConfig,
    bounds,
    fit_neural_topics,
)
from lla.peers.neural_topics.model import draw_topics

PRESETS = (
    ProdLDAConfig,
    NVLDAConfig,
    NVDMConfig,
    GSMConfig,
    DirichletVAEConfig,
    DirichletRSVIConfig,
    DirichletInverseCDFConfig,
    WeibullVAEConfig,
    VAEConfig,
    AEConfig,
    DAEConfig,
)
SMALL = DirichletVAEConfig(
    n_topics=4, hidden_size=8, n_epochs=4, warm_up=1, batch_size=10, patience=9, learning_rate=0.01
)


@pytest.fixture(scope="module")
def whole(tiny_split):
    return fit_neural_topics(tiny_split, SMALL, 3)


@pytest.fixture(scope="module")
def ten():
    """Ten documents, each of two words of its own, all for development, too."""
    documents = [[2 * d, 2 * d + 1] * 10 for d in range(10)]
    corpus = Corpus.from_documents(documents, [f"w{w}" for w in range(20)])
    n_observed = np.full(10, 15)
    observed = corpus.beginnings(n_observed)
    return Split(corpus, observed, n_observed, np.ones(10, bool))


@pytest.mark.parametrize("kind", PRESETS)
def test_each_model_learns_ten_documents_by_heart(kind, ten):
    """The perplexity of a document's two words is 2, that of all twenty is 20."""
    config = kind(
        n_topics=10,
        hidden_size=32,
        n_epochs=60,
        warm_up=0,
        batch_size=10,
        patience=60,
        learning_rate=0.03,
        momentum=0.9,
        dropout=0.0,
        topic_dropout=0.0,
        input_dropout=0.0,
        beta=0.1,
        keep="completion",
    )
    fitted = fit_neural_topics(ten, config, 1)
    assert perplexity(fitted.score(ten), ten, ten.development) < 5
    rows = fitted.history
    assert min(row["loss"] for row in rows) < np.log(8) < np.log(17) < rows[0]["loss"]


def test_held_out_words_are_predicted_better_than_by_the_unigram(tiny_split):
    config = replace(SMALL, n_epochs=40, warm_up=5, patience=40)
    fitted = fit_neural_topics(tiny_split, config, 1)
    unigram = fit_unigram(tiny_split, UnigramConfig(), 0)
    found = [perplexity(fit.score(tiny_split), tiny_split) for fit in (fitted, unigram)]
    assert found[0] < found[1]


def test_one_topic_of_a_mixture_is_the_unigram(tiny_split):
    config = replace(SMALL, decoder="mixture", n_topics=1, n_epochs=30, patience=30)
    fitted = fit_neural_topics(tiny_split, config, 1)
    unigram = fit_unigram(tiny_split, UnigramConfig(), 0)
    assert np.allclose(fitted.phi()[:, 0], unigram.probability, atol=0.01)
    corpus = bounds.held_out_documents(tiny_split)
    bound = bounds.elbo(fitted, corpus)
    assert np.allclose(bound.kl, 0.0)
    log_phi = np.log(fitted.phi()[:, 0])
    exact = [log_phi[corpus.document(d)].sum() for d in range(corpus.n_documents)]
    assert np.allclose(bound.reconstruction, exact, atol=1e-3)


def test_scores_are_those_of_the_rows_handed_over(whole, tiny_split):
    corpus, found = tiny_split.corpus, np.zeros(tiny_split.corpus.n_tokens)

    def on_scores(positions, rows):
        assert np.allclose(np.exp(rows).sum(axis=1), 1)
        found[positions] = rows[np.arange(len(rows)), corpus.words[positions]]

    whole.next_items(tiny_split, on_scores)
    assert np.allclose(tiny_split.sum_held_out(found), whole.score(tiny_split))


def test_the_order_and_the_company_of_documents_do_not_change_a_score(whole, tiny_split):
    scores = whole.score(tiny_split)
    order = np.random.default_rng(1).permutation(tiny_split.corpus.n_documents)
    assert np.allclose(whole.score(tiny_split.restrict(order)), scores[order], atol=1e-4)
    alone = np.arange(tiny_split.corpus.n_documents) == 7
    assert np.allclose(whole.score(tiny_split.restrict(alone)), scores[7], atol=1e-4)


def test_held_out_words_of_reported_documents_do_not_reach_training(whole, tiny_split):
    words = np.array(tiny_split.corpus.words)
    reported = np.repeat(tiny_split.reported, tiny_split.corpus.lengths)
    words[tiny_split.held_out & reported] = 0
    changed = Corpus(words, tiny_split.corpus.offsets, tiny_split.corpus.vocabulary)
    other = replace(tiny_split, corpus=changed)
    assert_same(fit_neural_topics(other, SMALL, 3), whole)


def assert_same(one, other):
    for name, value in one.network.state_dict().items():
        assert torch.equal(value, other.network.state_dict()[name]), name
    histories = [[{**row, "seconds": 0} for row in fit.history] for fit in (one, other)]
    assert histories[0] == histories[1]


class Stop(Exception):
    """Raised from inside a fit."""


@pytest.mark.parametrize("epoch", [1, 3])
def test_a_fit_that_was_stopped_goes_on_to_the_same_result(whole, tiny_split, tmp_path, epoch):
    def stop(state):
        if len(state.history) == epoch:
            raise Stop

    file = tmp_path / "fit.safetensors"
    with pytest.raises(Stop):
        fit_neural_topics(tiny_split, SMALL, 3, checkpoint=file, on_iteration=stop)
    resumed = fit_neural_topics(tiny_split, SMALL, 3, checkpoint=file)
    assert_same(resumed, whole)
    assert_same(fit_neural_topics(tiny_split, SMALL, 3, checkpoint=file), whole)
    assert np.array_equal(resumed.topics, whole.topics)


def test_no_epoch_of_the_warm_up_is_kept(tiny_split):
    config = replace(SMALL, n_epochs=5, warm_up=3, patience=1, keep="completion")
    fitted = fit_neural_topics(tiny_split, config, 3)
    assert [row.get("warm_up", 0) for row in fitted.history[:4]] == [1, 1, 1, 0]
    assert [row["kl_weight"] for row in fitted.history[:4]] == [0.25, 0.5, 0.75, 1]
    kept = min(fitted.history[3:], key=lambda row: row["development_perplexity"])
    part = tiny_split.restrict(tiny_split.development)
    found = perplexity(fitted.score(part), part, part.development)
    assert found == pytest.approx(kept["development_perplexity"])
    with pytest.raises(InputError, match="warm_up is 3: give less than n_epochs, which is 3"):
        fit_neural_topics(tiny_split, replace(config, n_epochs=3), 3)


def test_topics_are_distributions_and_assignments_follow_them(whole, tiny_split):
    for phi in (whole.phi(), whole.weights()):
        assert phi.shape == (30, 4) and np.allclose(phi.sum(axis=0), 1)
    assert len(whole.topics) == tiny_split.observed.n_tokens and whole.topics.max() < 4
    corpus = Corpus.from_documents([[0] * 9_000 + [1] * 1_000], ["a", "b"])
    theta, phi = np.array([[0.25, 0.75]]), np.array([[0.9, 0.1], [0.1, 0.9]])
    topics = draw_topics(corpus, theta, phi, 1)
    share = 0.25 * 0.9 / (0.25 * 0.9 + 0.75 * 0.1)
    found = (topics[:9_000] == 0).mean()
    assert abs(found - share) < 5 * np.sqrt(share * (1 - share) / 9_000)


def test_a_posterior_off_the_simplex_gives_no_assignments(tiny_split):
    config = VAEConfig(n_topics=2, hidden_size=4, n_epochs=1)
    fitted = fit_neural_topics(tiny_split, config, 1)
    with pytest.raises(InputError, match="posterior is 'gaussian': its documents have no prop"):
        _ = fitted.topics


def test_bounds_rise_to_the_likelihood():
    """Two topics: log p(x) by quadrature over θ_1, which is a Beta variable."""
    documents = [[0, 0, 1], [2, 1, 2, 2], [0, 2, 1], [1, 1, 2]]
    split = split_corpus(Corpus.from_documents(documents * 5, "abc"), 0.5, 0.2, seed=1)
    config = replace(SMALL, decoder="mixture", n_topics=2, n_epochs=2, prior=0.5)
    fitted = fit_neural_topics(split, config, 2)
    corpus = Corpus.from_documents(documents, "abc")
    phi, prior = fitted.phi(), stats.beta(0.5, 0.5)
    exact = []
    for document in documents:

        def likelihood(t, words=document):
            theta = prior.ppf(t)
            return np.prod(phi[words] @ [theta, 1 - theta])

        exact.append(np.log(integrate.quad(likelihood, 0, 1, epsabs=1e-10)[0]))
    found = bounds.importance_bound(fitted, corpus, [1, 10, 1_000])
    assert np.allclose(found[1_000], exact, atol=0.1)
    many = bounds.elbo(fitted, corpus, n_samples=200)
    assert (many.values <= np.array(exact) + 0.1).all()
    assert found[1].sum() < found[1_000].sum() + 1 and sorted(found) == [1, 10, 1_000]


def test_both_perplexities_of_a_bound():
    bound = bounds.Bound(np.array([-2.0, -8.0]), np.array([1.0, 1.0]), np.array([1, 9]))
    assert bound.perplexity == pytest.approx(np.exp(12 / 10))
    assert bound.document_perplexity == pytest.approx(np.exp((3 + 1) / 2))
    hopeless = bounds.Bound(np.array([-1e4]), np.zeros(1), np.ones(1))
    assert np.isinf(hopeless.perplexity) and np.isinf(hopeless.document_perplexity)


def test_held_out_documents_are_the_reported_ones(tiny_split):
    found = bounds.held_out_documents(tiny_split)
    assert found.n_documents == tiny_split.reported.sum()
    assert found.n_tokens == tiny_split.n_held_out[tiny_split.reported].sum()
    d = int(np.flatnonzero(tiny_split.reported)[0])
    expected = tiny_split.corpus.document(d)[tiny_split.n_observed[d] :]
    assert np.array_equal(found.document(0), expected)


def test_units_and_topics_in_use():
    means = np.array([[0.0, 1.0], [0.0, -1.0]])
    assert bounds.active_units(means) == 1
    theta = np.array([[1.0, 0.0, 0.0], [0.5, 0.5, 0.0]])
    assert bounds.topic_usage(theta) == pytest.approx(2 / 3)
    assert bounds.effective_topics(theta) == pytest.approx(1.5)
    assert bounds.effective_topics(np.full((1, 3), 1 / 3)) == pytest.approx(3)


def test_an_autoencoder_has_no_bound(tiny_split):
    fitted = fit_neural_topics(tiny_split, AEConfig(n_topics=2, hidden_size=4, n_epochs=1), 1)
    for bound in (bounds.elbo, bounds.importance_bound):
        with pytest.raises(InputError, match="posterior is 'none': an autoencoder has no bound"):
            bound(fitted, tiny_split.observed, n_samples=[1] if bound is not bounds.elbo else 1)
