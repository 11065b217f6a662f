"""The sentence VAE against loops, enumeration and quadrature, and against itself started again."""

import copy
import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.special import logsumexp

from data_prep.sentences import DEVELOPMENT, TEST, TRAIN, split_by_part
from lla.common.checkpoint import OtherFitError
from lla.common.errors import InputError
from lla.corpus import Corpus
from lla.peers.text_autoencoders import (
    FittedSentenceVAE,
    SentenceVAE,
    SentenceVAEConfig,
    decoding,
    fit_sentence_vae,
)
from lla.peers.text_autoencoders.bounds import (
    importance_bound,
    log_mean_exp,
    log_predictive,
    log_weights,
    noise_of,
    one_document,
)
from lla.peers.text_autoencoders.layers import Encoder, batch_of, reset_parameters
from lla.peers.text_autoencoders.measures import (
    active_units,
    exact_share,
    mean_kl,
    mutual_information,
    word_accuracy,
)
from lla.peers.text_autoencoders.sentence_network import gaussian_kl, negative_elbo

START, END = 0, 1
WORDS = ("<s>", "</s>", "a", "b")
TINY = SentenceVAEConfig(latent_size=1, embedding_size=3, hidden_size=4)


def network_of(config=TINY, n_words=4, seed=3, scale=4.0):
    """A network whose predictions are far from uniform."""
    probability = np.full(n_words, 1 / n_words)
    network = SentenceVAE(config, probability, torch.Generator().manual_seed(seed))
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.ndim > 1:
                parameter *= scale
    return network


def sentences(*texts, parts=None, vocabulary=WORDS):
    ids = {word: i for i, word in enumerate(vocabulary)}
    documents = [[START, *(ids[w] for w in text.split()), END] for text in texts]
    parts = parts or [TRAIN] * len(texts)
    names = [f"{part}/{i}" for i, part in enumerate(parts)]
    return Corpus.from_documents(documents, vocabulary, names)


def test_states_in_both_directions_are_those_of_a_loop_over_cells():
    generator = torch.Generator().manual_seed(0)
    encoder = Encoder(embedding_size=3, hidden_size=5, bidirectional=True)
    reset_parameters(encoder, generator)
    lengths = torch.tensor([6, 4, 1])
    x = torch.randn(6, 3, 3, generator=generator)
    found = encoder(x, lengths)

    def loop(lstm, inputs):
        cell = torch.nn.LSTMCell(3, 5)
        cell.load_state_dict({k.removesuffix("_l0"): v for k, v in lstm.state_dict().items()})
        state = None
        for one in inputs:
            state = cell(one[None], state)
        return state[0][0]

    for b, n in enumerate(lengths.tolist()):
        forwards = loop(encoder.forwards, x[:n, b])
        backwards = loop(encoder.backwards, x[:n, b].flip(0))
        torch.testing.assert_close(found[b], torch.cat([forwards, backwards]))
    # Padding is not read, and PyTorch's own packed LSTM has the same final states.
    packed = torch.nn.utils.rnn.pack_padded_sequence(x, lengths)
    for half, lstm, rows in ((slice(5), encoder.forwards, packed),):
        torch.testing.assert_close(found[:, half], lstm(rows)[1][0][0])


@pytest.mark.parametrize(
    "config", [TINY, replace(TINY, latent_size=0), replace(TINY, bidirectional=True)]
)
def test_a_padded_batch_is_the_sentences_one_by_one(config):
    network = network_of(config)
    corpus = sentences("a b a b b", "b a b", "a")
    z = torch.randn(3, config.latent_size, generator=torch.Generator().manual_seed(1))
    batch = batch_of(corpus, np.arange(3))
    together = network.log_p(batch, z)
    for d in range(3):
        alone = batch_of(corpus, np.array([d]))
        torch.testing.assert_close(network.log_p(alone, z[d : d + 1])[0], together[d])
        if config.latent_size:
            for one, all_ in zip(network.encode(alone), network.encode(batch), strict=True):
                torch.testing.assert_close(one[0], all_[d])


@pytest.mark.parametrize("word_dropout", [0.0, 1.0])
def test_probabilities_of_all_short_sentences_sum_to_one(word_dropout):
    """All of up to 4 words, and what those share that have not ended by then."""
    network = network_of(replace(TINY, word_dropout=word_dropout), scale=2.0)
    z = torch.tensor([[0.7]])
    total = 0.0
    longest = 4
    for n in range(longest + 1):
        for words in itertools.product((START, 2, 3), repeat=n):
            ids = [START, *words]
            if n == longest:  # the next word may be any
                log_p = network.log_p(one_document(torch.tensor(ids)), z)
            else:
                log_p = network.log_p(one_document(torch.tensor([*ids, END])), z)
            total += log_p.exp().item()
    assert total == pytest.approx(1, rel=1e-5)


def test_a_decoder_that_sees_no_word_ignores_its_input():
    network = network_of(replace(TINY, word_dropout=1.0))
    z = torch.tensor([[0.3], [0.3]])
    batch = batch_of(sentences("a b a", "b a a"), np.arange(2))
    logits = network.logits(batch, z).view(4, 2, -1)
    torch.testing.assert_close(logits[:, 0], logits[:, 1])
    seen = network_of().logits(batch, z).view(4, 2, -1)
    assert not torch.allclose(seen[:, 0], seen[:, 1])


def test_words_are_hidden_in_training_alone_unless_all_are():
    network = network_of(replace(TINY, word_dropout=0.5))
    batch, z = batch_of(sentences("a b a b"), np.array([0])), torch.zeros(1, 1)
    draws = {network.log_p(batch, z, torch.Generator().manual_seed(i)).item() for i in range(8)}
    assert len(draws) > 3
    assert network.log_p(batch, z).item() == network_of().log_p(batch, z).item()


def log_p_by_quadrature(network, batch, n=2001):
    """log p(words) with one latent dimension, exactly up to the grid."""
    z = torch.linspace(-8, 8, n)[:, None]
    with torch.no_grad():
        log_p = network.log_p(batch.repeat(n), z).double()
    log_prior = -0.5 * z[:, 0].double() ** 2 - 0.5 * np.log(2 * np.pi)
    return float((log_p + log_prior).logsumexp(0) + np.log(16 / (n - 1)))


def test_the_bound_is_below_log_p_and_rises_to_it_with_samples():
    network = network_of()
    batch = batch_of(sentences("a b b a"), np.array([0]))
    exact = log_p_by_quadrature(network, batch)
    with torch.no_grad():
        mean, log_variance = network.encode(batch)
        noise = torch.randn(1, 20_000, 1, generator=torch.Generator().manual_seed(0))
        weights = log_weights(network, batch, noise)  # (1, 20,000)
        kl = gaussian_kl(mean, log_variance).sum().item()
        z = mean[:, None] + (0.5 * log_variance).exp()[:, None] * noise
        log_p = network.log_p(batch.repeat(20_000), z.flatten(0, 1))
    # One sample averages to the ELBO with the KL in closed form.
    error = weights.std().item() / 20_000**0.5
    elbo = log_p.mean().item() - kl
    assert weights.mean().item() == pytest.approx(elbo, abs=5 * error + 1e-4)
    bounds = [log_mean_exp(weights.view(-1, n)).mean().item() for n in (1, 10, 100, 1000)]
    assert bounds == sorted(bounds) and bounds[0] < exact - 0.001
    assert log_mean_exp(weights).item() == pytest.approx(exact, abs=0.02)
    assert bounds[-1] <= exact + 0.01


def test_next_words_are_those_of_quadrature_over_the_latent():
    network, n = network_of(), 2001
    words = torch.tensor([START, 2, 3, 3, END])
    noise = torch.randn(30_000, 1, generator=torch.Generator().manual_seed(0))
    for n_observed in (1, 3):
        with torch.no_grad():
            found = log_predictive(network, words, n_observed, noise)
            z = torch.linspace(-8, 8, n)[:, None]
            rows = network.logits(one_document(words).repeat(n), z).log_softmax(1).view(4, n, 4)
        log_weight = (-0.5 * z[:, 0] ** 2).numpy().astype(float)
        for t in range(4):
            if t >= n_observed - 1:
                expected = logsumexp(log_weight[:, None] + rows[t].numpy(), axis=0)
                expected -= logsumexp(expected)
                assert found[t - n_observed + 1].exp().numpy() == pytest.approx(
                    np.exp(expected), abs=0.015
                )
            log_weight = log_weight + rows[t, :, words[t + 1]].numpy()


def test_scores_are_bounds_and_a_language_model_is_exact():
    corpus = sentences("a b", "b b a", "a", "b", parts=[TRAIN, TEST, DEVELOPMENT, TEST])
    split = split_by_part(corpus)
    for latent_size in (0, 1):
        config = replace(TINY, latent_size=latent_size, n_epochs=1, n_samples=200)
        fitted = fit_sentence_vae(split, config, seed=1)
        scores = fitted.score(split)
        assert scores[0] == 0 and (scores[1:] < 0).all()
        for d in (1, 2, 3):
            batch = batch_of(corpus, np.array([d]))
            if latent_size:
                expected = log_p_by_quadrature(fitted.network, batch)
            else:
                expected = fitted.network.log_p(batch, torch.empty(1, 0)).item()
            assert scores[d] == pytest.approx(expected, abs=0.02)
        found = []
        fitted.next_items(split, lambda at, rows, to=found: to.append((at, rows)))
        total = sum(rows[np.arange(len(at)), corpus.words[at]].sum() for at, rows in found)
        assert total == pytest.approx(scores.sum(), abs=0.15)


def test_a_document_s_noise_depends_on_no_batch():
    noise = noise_of(5, 1, 3)
    both = noise(np.array([4, 7]), 2)
    torch.testing.assert_close(noise(np.array([7]), 2)[0], both[1])
    network = network_of()
    corpus = sentences("a b", "b", "a a a")
    together = importance_bound(network, corpus, noise_of(1, 1, 1), 20)
    assert together == pytest.approx(
        [
            importance_bound(
                network,
                corpus.select(np.array([d])),
                lambda _, n, d=d: noise_of(1, 1, 1)(np.array([d]), n),
                20,
            )[0]
            for d in range(3)
        ],
        rel=1e-5,
    )


def test_the_weight_of_the_kl_rises_and_begins_anew():
    assert TINY.kl_weight(0) == 1
    linear = replace(TINY, warm_up=2.0)
    assert [linear.kl_weight(t) for t in (0, 1, 2, 5)] == [0, 0.5, 1, 1]
    cyclic = replace(TINY, warm_up=1.0, cycle=2.0)
    assert [cyclic.kl_weight(t) for t in (0, 0.5, 1, 1.9, 2, 2.5)] == [0, 0.5, 1, 1, 0, 0.5]


def test_free_bits_cost_what_the_kl_is_above_them():
    network = network_of()
    batch = batch_of(sentences("a b", "b b"), np.arange(2))

    def objective(config, weight=1.0):
        network.config = config
        value, loss = negative_elbo(network, batch, weight, torch.Generator().manual_seed(0))
        return (value - loss).item()

    kl = objective(TINY)
    mean, log_variance = network.encode(batch)
    assert kl == pytest.approx(gaussian_kl(mean, log_variance).sum().item(), rel=1e-4)
    assert objective(TINY, 0.5) == pytest.approx(0.5 * kl, rel=1e-4)
    assert objective(replace(TINY, free_bits=50.0)) == pytest.approx(100.0, rel=1e-5)
    assert objective(replace(TINY, free_bits=1e-6)) == pytest.approx(kl, rel=1e-4)


def test_without_a_kl_the_latent_mean_is_what_is_decoded(ten):
    config = replace(TINY, beta=0.0, n_epochs=3)
    network = network_of(config)
    batch = batch_of(sentences("a b", "b b"), np.arange(2))
    value, loss = negative_elbo(network, batch, 0.0, torch.Generator().manual_seed(0))
    exact = -network.log_p(batch, network.encode(batch)[0]).sum()
    assert value.item() == loss.item() == pytest.approx(exact.item())
    fitted = fit_sentence_vae(ten, config, seed=1)
    part = ten.restrict(ten.development).corpus
    batch = batch_of(part, np.arange(part.n_documents))
    with torch.no_grad():
        log_p = fitted.network.log_p(batch, fitted.network.encode(batch)[0])
    best = min(row["criterion"] for row in fitted.history)
    assert best == pytest.approx(-log_p.mean().item(), rel=1e-5)
    assert "criterion" not in fit_sentence_vae(ten, replace(TINY, n_epochs=1), 1).history[0]


def test_half_the_weight_of_the_kl_is_half_of_it_at_any_time():
    half = replace(TINY, beta=0.5, warm_up=2.0)
    assert [half.kl_weight(t) for t in (0, 1, 2, 5)] == [0, 0.25, 0.5, 0.5]


def test_words_are_drawn_with_their_probabilities():
    """First words of many sentences; one left out is never drawn, and the others share its part."""
    network, n = network_of(n_words=5), 20_000
    fitted = FittedSentenceVAE(network, [], ("<s>", "</s>", "a", "b", "c"))
    z = np.full((n, 1), 0.4)
    found = fitted.sample(z, START, END, 7, max_words=1, without=[3])
    first = np.array([sentence[0] if sentence else END for sentence in found])
    with torch.no_grad():
        states, _ = network.read(
            torch.tensor([[START]]),
            torch.tensor([[0.4]]),
            network.first_state(torch.tensor([[0.4]])),
        )
        logits = network.output(states)[0, 0]
    logits[[START, 3]] = -torch.inf
    p = logits.softmax(dim=0).double().numpy()
    share = np.bincount(first, minlength=5) / n
    assert (abs(share - p) < 4.5 * np.sqrt(p * (1 - p) / n) + 1e-12).all()
    assert found == fitted.sample(z, START, END, 7, max_words=1, without=[3])
    assert found != fitted.sample(z, START, END, 8, max_words=1, without=[3])
    whole = fitted.sample(z[:50], START, END, 7, max_words=6)
    assert max(map(len, whole)) <= 6 and not {START, END} & {w for s in whole for w in s}


TEN = ["a b", "b a", "a a b", "b b b a", "a", "b", "a b a b a", "b a b", "a a a", "b b"]


@pytest.fixture(scope="module")
def ten():
    parts = [TRAIN] * 10 + [DEVELOPMENT] * 2
    return split_by_part(sentences(*TEN, "a b", "b b", parts=parts))


@pytest.fixture(scope="module")
def overfitted(ten):
    """An autoencoder of ten sentences: the KL weighs nothing, and the last epoch is taken."""
    config = SentenceVAEConfig(
        latent_size=6,
        embedding_size=8,
        hidden_size=24,
        bidirectional=True,
        warm_up=1e9,
        learning_rate=0.02,
        batch_size=10,
        n_epochs=120,
        patience=120,
    )
    last = {}

    def keep(state):
        if len(state.history) == config.n_epochs:
            last["network"] = copy.deepcopy(state.network)

    fit_sentence_vae(ten, config, 1, on_iteration=keep)
    network = last["network"]
    return FittedSentenceVAE(network, [], WORDS), ten.corpus.select(np.arange(10))


def test_it_reproduces_ten_sentences(overfitted):
    fitted, corpus = overfitted
    words = [corpus.document(d)[1:-1] for d in range(10)]
    for beam in (1, 3):
        decoded = fitted.reconstruct(corpus, beam=beam)
        assert exact_share(decoded, words) >= 0.9 and word_accuracy(decoded, words) > 0.9
    assert [decoded[0]] == fitted.interpolate(corpus, (0, 6), 4, beam=3)[:1]
    path = fitted.interpolate(corpus, (0, 6), 4)
    assert len(path) == 4 and path[-1] == fitted.reconstruct(corpus)[6]
    mean, variance = fitted.posterior(corpus)
    noise = np.random.default_rng(0).standard_normal(mean.shape)
    assert active_units(mean) >= 3 and mean_kl(mean, variance) > 3
    assert mutual_information(mean, variance, noise) == pytest.approx(np.log(10), abs=0.1)


def test_a_beam_finds_what_is_at_least_as_likely_per_word_as_greedy_words():
    network = network_of(n_words=5, scale=6.0)
    z = torch.linspace(-2, 2, 12)[:, None]
    words = decoding.greedy(network, z, START, END, max_words=6)
    better = decoding.beam_search(network, z, START, END, max_words=6, beam=200)

    def log_p(sentence, one):
        log_p = network.log_p(one_document(torch.tensor([START, *sentence, END])), one[None])
        return log_p.item() / (len(sentence) + 1)

    ended = [len(x) < 6 and len(y) < 6 for x, y in zip(words, better, strict=True)]
    gains = [log_p(y, c) - log_p(x, c) for x, y, c in zip(words, better, z, strict=True)]
    assert any(ended) and min(np.array(gains)[ended]) > -1e-4


def test_words_left_out_are_not_decoded():
    network, z = network_of(n_words=5, scale=6.0), torch.linspace(-2, 2, 5)[:, None]
    for search, beam in ((decoding.greedy, 1), (decoding.beam_search, 3)):
        found = search(network, z, START, END, 6, beam, [START, 3])
        assert not {START, 3} & {word for sentence in found for word in sentence}


def test_mutual_information_of_equal_posteriors_is_none():
    noise = np.random.default_rng(0).standard_normal((50, 3))
    mean, variance = np.zeros((50, 3)), np.ones((50, 3))
    assert mutual_information(mean, variance, noise) == pytest.approx(0, abs=1e-12)
    assert active_units(mean) == 0 and mean_kl(mean, variance) == 0
    assert mean_kl(np.full((2, 1), 2.0), np.ones((2, 1))) == pytest.approx(2.0)


def test_a_resumed_fit_is_the_uninterrupted_one(ten, tmp_path):
    config = SentenceVAEConfig(
        latent_size=2, embedding_size=4, hidden_size=5, word_dropout=0.3, dropout=0.2, warm_up=2.0,
        batch_size=4, n_epochs=4, patience=4, n_samples=5,
    )  # fmt: skip
    whole = fit_sentence_vae(ten, config, 2)
    file = tmp_path / "fit.safetensors"
    fit_sentence_vae(ten, replace(config, n_epochs=2), 2, checkpoint=file)
    resumed = fit_sentence_vae(ten, config, 2, checkpoint=file)
    assert resumed.fingerprint() == whole.fingerprint()
    assert np.array_equal(resumed.score(ten), whole.score(ten))
    with pytest.raises(OtherFitError):
        fit_sentence_vae(ten, config, 3, checkpoint=file)


def test_bad_settings_and_sentences_are_one_line(ten, overfitted):
    for options, words in (
        ({"word_dropout": 1.5}, "word_dropout is 1.5: give a number from 0 to 1"),
        ({"warm_up": 3.0, "cycle": 2.0}, "would never reach 1"),
        ({"latent_size": -1}, "latent_size"),
    ):
        with pytest.raises(InputError, match=words):
            SentenceVAEConfig(**options)
    fitted, corpus = overfitted
    with pytest.raises(InputError, match="do not all begin and end alike"):
        fitted.reconstruct(Corpus.from_documents([[0, 2, 1], [2, 0, 1]], WORDS))
    model = fit_sentence_vae(ten, replace(TINY, latent_size=0, n_epochs=1), 1)
    with pytest.raises(InputError, match="has no latent vector"):
        model.posterior(corpus)
