"""The autoencoder against NumPy, against what it cannot beat, and against itself started again."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from simulated import lda_corpus, random_corpus

from lla.common.checkpoint import OtherFitError
from lla.common.errors import InputError
from lla.common.random import stream, torch_stream
from lla.corpus import Corpus, Split, split_corpus
from lla.evaluate.perplexity import perplexity
from lla.peers import training
from lla.peers.autoencoder import (
    Autoencoder,
    AutoencoderConfig,
    FittedAutoencoder,
    fit_autoencoder,
    reconstruction_loss,
    scale,
)
from lla.peers.bags import bag_of_words, dense, drop
from lla.peers.counts import Unigram, fit_unigram, unigram_probability
from lla.peers.simulate import random_phi

SMALL = AutoencoderConfig(
    hidden_size=16, code_size=6, learning_rate=0.01, batch_size=8, n_epochs=5, patience=5
)


def topic_split(n_documents=300, length=60, n_words=60, n_topics=4):
    phi = random_phi(n_words, n_topics, 0.1, 1)
    return split_corpus(lda_corpus(n_documents, length, phi, np.full(n_topics, 0.2)))


@pytest.fixture(scope="module")
def topics():
    return topic_split()


@pytest.fixture(scope="module")
def small():
    return topic_split(40, 30, 30)


@pytest.fixture(scope="module")
def whole(small):
    return fit_autoencoder(small, SMALL, 3)


class Stop(Exception):
    """What a test raises from inside a fit."""


def stop_after(epoch):
    def on_iteration(state):
        if len(state.history) == epoch:
            raise Stop

    return on_iteration


def assert_same_fit(one, other):
    for name, value in one.network.state_dict().items():
        assert torch.equal(value, other.network.state_dict()[name]), name
    assert without_seconds(one) == without_seconds(other)


def without_seconds(fit):
    return [{**row, "seconds": None} for row in fit.history]


def numpy_log_probability(module, counts):
    """log p(w | d), (D, V), in float64 and in plain NumPy."""
    w = {name: value.double().numpy() for name, value in module.state_dict().items()}
    x = np.log(1 + counts)
    x /= np.sqrt((x**2).sum(axis=1, keepdims=True))
    for layer in ("encoder.0", "encoder.2", "decoder.0"):
        x = np.tanh(x @ w[f"{layer}.weight"].T + w[f"{layer}.bias"])
    logits = x @ w["decoder.2.weight"].T + w["decoder.2.bias"]
    return logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))


def numpy_counts(corpus):
    documents = (corpus.document(d) for d in range(corpus.n_documents))
    return np.array([np.bincount(d, minlength=corpus.n_words) for d in documents], np.float64)


def test_loss_and_scores_are_those_of_a_plain_forward_pass(small, whole):
    module, counts = whole.network, numpy_counts(small.observed)
    bags = bag_of_words(small.observed)
    assert np.array_equal(bags.toarray(), counts)
    log_p = numpy_log_probability(module, counts)
    expected = -(counts * log_p).sum()
    loss = reconstruction_loss(module(dense(scale(bags))), dense(bags))
    assert loss.item() == pytest.approx(expected, rel=1e-5)
    held_out = numpy_counts(small.corpus) - counts
    scores = (held_out * log_p).sum(axis=1)
    np.testing.assert_allclose(whole.score(small), scores, rtol=1e-5)


def test_an_epoch_reports_nats_an_observed_word(small):
    """With steps too small to matter, the loss of the network as it was drawn."""
    fit = fit_autoencoder(small, replace(SMALL, learning_rate=1e-12, dropout=0.0, n_epochs=1), 3)
    history = fit.history
    counts = numpy_counts(small.observed)
    expected = -(counts * numpy_log_probability(fit.network, counts)).sum() / counts.sum()
    assert history[0]["loss"] == pytest.approx(expected, rel=1e-5)
    assert set(history[0]) == {"iteration", "loss", "development_perplexity", "seconds"}


def test_it_starts_near_the_unigram_and_at_it_with_no_weights(small):
    p = unigram_probability(small)
    module = Autoencoder(SMALL, p, torch_stream(0))
    x = scale(bag_of_words(small.observed))
    drawn = module(dense(x)).detach().softmax(dim=1).numpy()
    assert np.abs(np.log(drawn / p)).max() < 1.0
    with torch.no_grad():
        module.decoder[-1].weight.zero_()
    fit = FittedAutoencoder(module, [], small.corpus.vocabulary)
    np.testing.assert_allclose(fit.score(small), Unigram(p).score(small), rtol=1e-6)


def test_it_overfits_ten_documents():
    split = split_corpus(random_corpus(10, n_words=40, longest=80), 0.9)
    config = AutoencoderConfig(64, 32, 0.0, 0.01, batch_size=10, n_epochs=300, patience=300)
    history = fit_autoencoder(split, config, 0).history
    counts = numpy_counts(split.observed)
    share = counts / counts.sum(axis=1, keepdims=True)
    entropy = -(counts * np.log(share, where=counts > 0, out=np.zeros_like(share))).sum()
    entropy /= counts.sum()
    assert history[0]["loss"] > 1.1 * entropy
    assert entropy * 0.9999 < history[-1]["loss"] < 1.02 * entropy


def test_it_beats_the_unigram_on_held_out_words_of_documents_with_topics(topics):
    config = AutoencoderConfig(50, 10, 0.3, 3e-3, batch_size=32, n_epochs=40)
    fit = fit_autoencoder(topics, config, 0)
    plain = fit_unigram(topics).score(topics)
    scores = fit.score(topics)
    for documents in (topics.reported, topics.development):
        ours, theirs = perplexity(scores, topics, documents), perplexity(plain, topics, documents)
        assert ours < 0.85 * theirs


def test_the_output_is_one_distribution_over_all_words(whole):
    """One document for each held-out word; all observe the same."""
    documents = [[0, 1, 1, 0, w] for w in range(30)]
    corpus = Corpus.from_documents(documents, [f"w{w}" for w in range(30)])
    split = split_corpus(corpus, 0.8, development=0)
    p = np.exp(whole.score(split))
    assert p.min() > 0
    assert p.sum() == pytest.approx(1, rel=1e-12)


def test_result_does_not_depend_on_earlier_held_out_words(whole):
    """The distribution is frozen: words score alone, whatever stands around them."""
    documents = [[0, 1, 1, *rest] for rest in ([4, 5], [5, 4], [4, 4], [5, 5])]
    corpus = Corpus.from_documents(documents, [f"w{w}" for w in range(30)])
    a, b, c, d = whole.score(split_corpus(corpus, 0.6, development=0))
    assert a == pytest.approx(b, rel=1e-12)
    assert a == pytest.approx((c + d) / 2, rel=1e-12)


def test_unused_words_have_finite_gradients_and_positive_probability():
    documents = [[0, 1, 2, 1, 3]] * 6  # 3 is held out everywhere, 4 is nowhere
    split = split_corpus(Corpus.from_documents(documents, "abcde"), 0.8)
    module = Autoencoder(SMALL, unigram_probability(split), torch_stream(0))
    counts = bag_of_words(split.observed)
    assert not counts.toarray()[:, 3:].any()
    reconstruction_loss(module(dense(scale(counts))), dense(counts)).backward()
    for name, parameter in module.named_parameters():
        assert torch.isfinite(parameter.grad).all(), name
    fitted = fit_autoencoder(split, SMALL, 0)
    scores = fitted.score(split)
    assert np.isfinite(scores).all() and (scores < 0).all()


def test_bags_have_length_one_and_empty_ones_stay_empty():
    corpus = Corpus.from_documents([[0, 0, 0, 1], [2]], "abc")
    counts = bag_of_words(corpus)
    expected = np.array([math.log(4), math.log(2), 0])
    np.testing.assert_allclose(
        scale(counts).toarray(), [expected / np.linalg.norm(expected), [0, 0, 1]], rtol=1e-6
    )
    counts.data[:] = 0
    assert np.array_equal(scale(counts).toarray(), np.zeros((2, 3)))


def test_dropping_words_keeps_the_mean_and_the_given_bags():
    corpus = random_corpus(400, n_words=50, longest=60)
    bags = scale(bag_of_words(corpus))
    before = bags.toarray()
    after = drop(bags, 0.25, stream(0)).toarray()
    assert np.array_equal(bags.toarray(), before)
    kept = after > 0
    np.testing.assert_allclose(after[kept], before[kept] / 0.75, rtol=1e-6)
    share = kept.sum() / (before > 0).sum()
    assert abs(share - 0.75) < 5 * math.sqrt(0.75 * 0.25 / (before > 0).sum())
    assert np.array_equal(drop(bags, 0.0, stream(0)).toarray(), before)


def test_the_best_epoch_on_development_is_kept_and_patience_ends_the_fit(small):
    config = replace(SMALL, learning_rate=0.05, dropout=0.0, n_epochs=100, patience=4)
    fit = fit_autoencoder(small, config, 0)
    history = fit.history
    values = [row["development_perplexity"] for row in history]
    assert [row["iteration"] for row in history] == list(range(1, len(history) + 1))
    assert len(history) == int(np.argmin(values)) + 1 + 4 < 100
    scores = fit.score(small)
    assert perplexity(scores, small, small.development) == pytest.approx(min(values), rel=1e-5)


def test_training_sees_held_out_words_of_development_documents_alone(small, whole):
    words = small.corpus.words.copy()
    document = np.repeat(np.arange(small.corpus.n_documents), small.corpus.lengths)
    changed = small.held_out & small.reported[document]
    words[changed] = (words[changed] + 1) % 30
    corpus = Corpus(words, small.corpus.offsets, small.corpus.vocabulary)
    other = Split(corpus, small.observed, small.n_observed, small.development)
    assert_same_fit(fit_autoencoder(other, SMALL, 3), whole)


@pytest.mark.parametrize("epoch", [1, 3, 5])
def test_an_interrupted_fit_ends_with_the_same_numbers(tmp_path, small, whole, epoch):
    path = tmp_path / "autoencoder.safetensors"
    with pytest.raises(Stop):
        fit_autoencoder(small, SMALL, 3, checkpoint=path, on_iteration=stop_after(epoch))
    seen = []
    resumed = fit_autoencoder(
        small, SMALL, 3, checkpoint=path, on_iteration=lambda s: seen.append(len(s.history))
    )
    assert seen == list(range(epoch + 1, 6))
    assert_same_fit(resumed, whole)


def test_more_epochs_continue_the_same_fit(tmp_path, small, whole):
    path, seen = tmp_path / "autoencoder.safetensors", []
    fit_autoencoder(small, replace(SMALL, n_epochs=2, patience=1), 3, checkpoint=path)
    fit = fit_autoencoder(
        small, SMALL, 3, checkpoint=path, on_iteration=lambda s: seen.append(len(s.history))
    )
    assert_same_fit(fit, whole)
    assert seen == [3, 4, 5]


@pytest.mark.parametrize(
    ("other", "difference"),
    [
        ({"dropout": 0.1}, "dropout is .* there and 0.1 here"),
        ({"code_size": 5}, "code_size is .* there and 5 here"),
        ("seed", "seed is 3 there and 4 here"),
        ("split", "it has other development documents"),
    ],
)
def test_a_checkpoint_of_another_fit_is_refused(tmp_path, small, whole, other, difference):
    path = tmp_path / "autoencoder.safetensors"
    fit_autoencoder(small, replace(SMALL, n_epochs=2), 3, checkpoint=path)
    config = replace(SMALL, **(other if isinstance(other, dict) else {}))
    split = split_corpus(small.corpus, seed=9) if other == "split" else small
    with pytest.raises(OtherFitError, match=f"holds another fit: {difference}; give checkpoint"):
        fit_autoencoder(split, config, 4 if other == "seed" else 3, checkpoint=path)
    assert_same_fit(fit_autoencoder(small, SMALL, 3, checkpoint=str(path)), whole)


def test_another_seed_is_another_fit(small, whole):
    other = fit_autoencoder(small, SMALL, 4).network
    assert not torch.equal(other.encoder[0].weight, whole.network.encoder[0].weight)


def test_result_does_not_depend_on_torch_threads():
    split = topic_split(100, 60, 1500)
    config = AutoencoderConfig(80, 40, n_epochs=2)
    before, fits, scores = torch.get_num_threads(), [], []
    try:
        for n_threads in (1, 2):
            torch.set_num_threads(n_threads)
            fits.append(fit_autoencoder(split, config, 0))
            scores.append(fits[-1].score(split))
            assert torch.get_num_threads() == n_threads
    finally:
        torch.set_num_threads(before)
    assert_same_fit(*fits)
    assert np.array_equal(*scores)


def test_a_fit_leaves_the_global_generators_alone(small):
    torch.manual_seed(1)
    before = torch.get_rng_state()
    fit_autoencoder(small, replace(SMALL, n_epochs=1), 0)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("learning_rate", [100.0, 1e30])
def test_a_fit_that_diverges_names_the_learning_rate_and_the_remedy(small, learning_rate):
    config = replace(SMALL, learning_rate=learning_rate)
    message = rf"learning_rate={learning_rate}; give a smaller learning_rate".replace("+", r"\+")
    with pytest.raises(FloatingPointError, match=message):
        fit_autoencoder(small, config, 0)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_development_part_out_of_bounds_is_a_divergence(monkeypatch, small, value):
    monkeypatch.setattr(training, "perplexity", lambda *_: value)
    with pytest.raises(FloatingPointError, match="give a smaller learning_rate"):
        fit_autoencoder(small, SMALL, 0)


def test_parameters_are_counted():
    module = Autoencoder(AutoencoderConfig(7, 3), np.full(11, 1 / 11), torch_stream(0))
    layers = (11 * 7 + 7) + (7 * 3 + 3) + (3 * 7 + 7) + (7 * 11 + 11)
    assert FittedAutoencoder(module, [], ()).size().parameters == layers


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hidden_size": 0}, "hidden_size is 0"),
        ({"code_size": 2.5}, "code_size is 2.5"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"n_epochs": 0}, "n_epochs is 0"),
        ({"patience": 0}, "patience is 0"),
        ({"learning_rate": 0.0}, "learning_rate is 0.0"),
        ({"learning_rate": math.nan}, "learning_rate is nan"),
        ({"dropout": 1.0}, "dropout is 1.0"),
        ({"dropout": -0.1}, "dropout is -0.1"),
    ],
)
def test_invalid_arguments_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        AutoencoderConfig(**options)


def test_a_split_without_development_words_is_refused():
    split = split_corpus(random_corpus(), development=0)
    with pytest.raises(InputError, match=r"^development: this split has no document to decide"):
        fit_autoencoder(split, SMALL, 0)
