"""The phrase autoencoder against loops and NumPy, what it learns, and itself started again."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

from data_prep.sentences import DEVELOPMENT, TEST, TRAIN, split_by_part
from lla.common.checkpoint import OtherFitError
from lla.common.errors import InputError
from lla.corpus import Corpus
from lla.peers.text_autoencoders import (
    FittedPhraseAutoencoder,
    PhraseAutoencoder,
    PhraseConfig,
    fit_phrase_autoencoder,
)
from lla.peers.text_autoencoders.neighbours import base_rate, n_shared, nearest
from lla.peers.text_autoencoders.phrase_autoencoder import phrase_words, set_statistics
from lla.peers.text_autoencoders.phrase_network import loss_of

N_WORDS = 9
SMALL = PhraseConfig(
    latent_size=3, embedding_size=6, hidden_size=12, batch_size=8, n_epochs=3, patience=3
)


def phrases(n, seed=0, parts=None):
    words = np.random.default_rng(seed).integers(1, N_WORDS, (n, 3))
    documents = np.concatenate([np.zeros((n, 1), np.int64), words], axis=1)
    names = [f"{part}/1" for part in parts or [TRAIN] * n]
    return Corpus.from_documents(documents, ["<s>", *(f"w{i}" for i in range(1, N_WORDS))], names)


@pytest.fixture(scope="module")
def split():
    return split_by_part(phrases(40, parts=[TRAIN] * 30 + [DEVELOPMENT] * 5 + [TEST] * 5))


@pytest.fixture(scope="module")
def fitted(split):
    return fit_phrase_autoencoder(split, SMALL, 1)


def test_statistics_are_those_of_all_training_phrases(split, fitted):
    words = torch.from_numpy(phrase_words(split.corpus)[:30])
    network = copy.deepcopy(fitted.network)
    states = network.final_states(words).detach()
    torch.testing.assert_close(network.norm.mean, states.mean(dim=0))
    torch.testing.assert_close(network.norm.variance, states.var(dim=0, unbiased=False))
    # With them one phrase is encoded as within its batch, and the whole batch as in training.
    alone = network.encode(words[:1])
    torch.testing.assert_close(network.encode(words)[:1], alone)
    network.train()
    torch.testing.assert_close(network.encode(words)[:1], alone, atol=1e-5, rtol=1e-4)
    set_statistics(network, words)
    torch.testing.assert_close(network.norm.mean, fitted.network.norm.mean)


def test_batch_normalisation_is_that_of_pytorch(fitted):
    norm = copy.deepcopy(fitted.network.norm).train()
    theirs = torch.nn.BatchNorm1d(len(norm.mean))
    with torch.no_grad():
        theirs.weight.copy_(norm.scale)
        theirs.bias.copy_(norm.shift)
    x = torch.randn(7, len(norm.mean), generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(norm(x), theirs(x))


def test_the_loss_is_the_mean_per_word_and_that_of_the_sentiment(split):
    words = torch.from_numpy(phrase_words(split.corpus)[:6])
    share = torch.tensor([0.0, 1.0, 0.5, 0.25, 1.0, 0.0])
    for head in ("decoder", "latent"):
        config = replace(SMALL, head=head, head_weight=0.7)
        probability = np.full(N_WORDS, 1 / N_WORDS)
        network = PhraseAutoencoder(config, probability, torch.Generator().manual_seed(2)).eval()
        total, per_word = loss_of(network, words, share)
        z = network.encode(words)
        logits, last = network.decode(z, 3)
        log_p = logits.log_softmax(dim=2).detach().numpy()
        picked = [log_p[t, b, words[b, t]] for b in range(6) for t in range(3)]
        assert per_word.item() == pytest.approx(-np.mean(picked), rel=1e-5)
        p = torch.sigmoid(network.positive_logit(z, last))
        cost = -(share * p.log() + (1 - share) * (1 - p).log()).mean()
        assert total.item() == pytest.approx((per_word + 0.7 * cost).item(), rel=1e-5)


def test_the_decoder_is_a_loop_over_cells_that_read_the_same_vector(fitted):
    network, z = fitted.network, torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    logits, last = network.decode(z, 3)
    cell = torch.nn.LSTMCell(SMALL.hidden_size, SMALL.hidden_size)
    cell.load_state_dict(
        {name.removesuffix("_l0"): value for name, value in network.decoder.state_dict().items()}
    )
    state, x = None, network.from_latent(z)
    for t in range(3):
        state = cell(x, state)
        torch.testing.assert_close(
            network.output(network.before_output(state[0]).relu()), logits[t]
        )
    torch.testing.assert_close(state[0], last)


def test_what_is_reported_agrees_with_itself(split, fitted):
    log_p = fitted.log_p(split.corpus)
    assert log_p.shape == (40,) and (log_p < 0).all()
    part = split.corpus.select(split.development)
    expected = np.exp(-fitted.log_p(part).sum() / part.n_documents / 3)
    best = min(row["development_perplexity"] for row in fitted.history)
    assert best == pytest.approx(expected, rel=1e-5)
    decoded = fitted.reconstruct(split.corpus)
    assert decoded.shape == (40, 3)
    assert fitted.encode(split.corpus).shape == (40, 3)
    with pytest.raises(InputError, match="this fit has no sentiment"):
        fitted.positive(split.corpus)


def test_it_reproduces_ten_phrases_and_learns_their_sentiment():
    parts = [TRAIN] * 10 + [DEVELOPMENT]
    split = split_by_part(phrases(11, seed=3, parts=parts))
    positive = np.arange(11) % 2.0
    config = replace(SMALL, head="decoder", hidden_size=24, n_epochs=80, patience=80)
    last = {}

    def keep(state):
        if len(state.history) == config.n_epochs:
            last["network"] = copy.deepcopy(state.network)

    fit_phrase_autoencoder(
        split, replace(config, learning_rate=0.02, batch_size=10), 1, positive=positive,
        on_iteration=keep,
    )  # fmt: skip
    fitted = FittedPhraseAutoencoder(last["network"], [], split.corpus.vocabulary)
    ten = split.corpus.select(np.arange(10))
    assert (fitted.reconstruct(ten) == phrase_words(ten)).all(axis=1).mean() >= 0.9
    assert ((fitted.positive(ten) > 0.5) == (positive[:10] == 1)).mean() >= 0.9


def test_a_resumed_fit_is_the_uninterrupted_one(split, tmp_path):
    positive = np.linspace(0, 1, 40)
    config = replace(SMALL, head="latent")
    whole = fit_phrase_autoencoder(split, config, 2, positive=positive)
    options = {"positive": positive, "checkpoint": tmp_path / "fit.safetensors"}
    fit_phrase_autoencoder(split, replace(config, n_epochs=1), 2, **options)
    resumed = fit_phrase_autoencoder(split, config, 2, **options)
    assert resumed.fingerprint() == whole.fingerprint()
    read_back = fit_phrase_autoencoder(split, config, 2, **options)
    assert np.array_equal(read_back.encode(split.corpus), whole.encode(split.corpus))
    with pytest.raises(OtherFitError):
        fit_phrase_autoencoder(split, config, 2, **(options | {"positive": positive**2}))


def test_bad_input_is_one_line(split):
    with pytest.raises(InputError, match="these phrases have no labels"):
        fit_phrase_autoencoder(split, replace(SMALL, head="decoder"), 1)
    with pytest.raises(InputError, match="head"):
        PhraseConfig(head="both")
    with pytest.raises(InputError, match="not phrases of one length"):
        phrase_words(Corpus.from_documents([[0, 1], [0, 1, 2]], ["a", "b", "c"]))


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_nearest_are_those_of_all_distances(metric):
    draw = np.random.default_rng(0)
    points = draw.standard_normal((50, 3))
    own = np.array([3, 17, -1])
    queries = np.concatenate([points[own[:2]], draw.standard_normal((1, 3))])
    found = nearest(queries, points, 5, metric=metric, own=own)
    for query, row, mine in zip(queries, found, own, strict=True):
        if metric == "cosine":
            products = points @ query
            distance = -products / np.linalg.norm(points, axis=1)
        else:
            distance = np.linalg.norm(points - query, axis=1)
        if mine >= 0:
            distance[mine] = np.inf
        assert row.tolist() == np.argsort(distance)[:5].tolist()


def test_shared_words_and_the_base_rate():
    one, other = np.array([[1, 2, 3], [4, 4, 5]]), np.array([[3, 2, 9], [4, 6, 7]])
    assert n_shared(one, other).tolist() == [2, 2]
    assert n_shared(one[:1], one[:1]).tolist() == [3]
    signs = np.array([True, True, True, False])
    pairs = [a == b for a in signs for b in signs]
    assert base_rate(signs) == pytest.approx(np.mean(pairs))
