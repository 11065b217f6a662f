"""GRU4Rec and SASRec: what both must do, whichever network reads the events."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from simulated import random_corpus

from lla.common.checkpoint import OtherFitError, best_iteration
from lla.common.errors import InputError
from lla.common.parallel import thread_pool
from lla.common.random import torch_stream
from lla.corpus import Corpus, Split, split_corpus
from lla.evaluate.perplexity import perplexity
from lla.evaluate.ranking import metrics, rank_held_out
from lla.inference.objectives import SampledSoftmax, full_softmax
from lla.lstm import IdEmbedding
from lla.peers import sequence
from lla.peers.counts import Unigram, fit_unigram, unigram_probability
from lla.peers.sasrec import SASRec, SASRecConfig, fit_sasrec
from lla.peers.sequence import (
    FittedSequence,
    GRU4Rec,
    GRU4RecConfig,
    TiedOutput,
    fit_gru4rec,
)
from lla.peers.training import popularity

V = 12
TRAINING = {"batch_size": 8, "window": 5, "learning_rate": 0.01, "n_epochs": 4, "dropout": 0.2}
GRU = GRU4RecConfig(embedding_size=8, hidden_size=8, tied=True, **TRAINING)
SAS = SASRecConfig(hidden_size=8, n_heads=2, **TRAINING)
PEERS = {"gru4rec": (GRU4Rec, GRU, fit_gru4rec), "sasrec": (SASRec, SAS, fit_sasrec)}
both = pytest.mark.parametrize("peer", PEERS)


@pytest.fixture(scope="module")
def small():
    return split_corpus(random_corpus(30, V, longest=23, seed=4))


@pytest.fixture(scope="module")
def whole(small):
    """Each peer's fit, uninterrupted."""
    return {name: fit(small, config, 3) for name, (_, config, fit) in PEERS.items()}


def untrained(peer, config=None, gain=20.0):
    """A network of large weights: what it predicts depends on what it reads."""
    kind, usual, _ = PEERS[peer]
    network = kind(config or usual, np.full(V, 1 / V), torch_stream(0))
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if ("weight" in name and "norm" not in name) or name == "positions":
                parameter.mul_(gain if "input" in name or name == "positions" else 2.0)
    return network


def sized(peer, size, **options):
    """The peer's configuration with other sizes, and whatever else is said."""
    if peer == "gru4rec":
        options["embedding_size"] = size
    return replace(PEERS[peer][1], hidden_size=size, **options)


def split_of(documents, n_observed):
    corpus = Corpus.from_documents(documents, [f"i{v}" for v in range(V)])
    development = np.zeros(len(documents), bool)
    return Split(corpus, corpus, np.full(len(documents), n_observed), development)


def read(network, split, n_threads=None):
    """Logits of every held-out event, by position."""
    rows = {}

    def visit(positions, logits):
        rows.update(zip(positions.tolist(), logits.copy(), strict=True))

    FittedSequence(network, [], split.corpus.vocabulary).next_items(
        split, visit, n_threads=n_threads
    )
    return rows


def markov_split(n_users=150, length=40, seed=0):
    """Each item has one likely follower; and the perplexity of whoever knows that."""
    draw = np.random.default_rng(seed)
    transition = np.full((V, V), 0.2 / (V - 1))
    transition[np.arange(V), draw.permutation(V)] = 0.8
    documents = np.zeros((n_users, length), np.int64)
    documents[:, 0] = draw.integers(V, size=n_users)
    for t in range(1, length):
        running = transition[documents[:, t - 1]].cumsum(axis=1)
        documents[:, t] = (draw.random((n_users, 1)) > running[:, :-1]).sum(axis=1)
    split = split_corpus(Corpus.from_documents(documents, [f"i{v}" for v in range(V)]))
    log_p = np.zeros(documents.shape)
    log_p[:, 1:] = np.log(transition[documents[:, :-1], documents[:, 1:]])
    oracle = split.sum_held_out(log_p.ravel())
    return split, perplexity(oracle, split, split.reported)


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
    without = [[{**row, "seconds": None} for row in fit.history] for fit in (one, other)]
    assert without[0] == without[1]


@both
def test_scores_are_the_log_softmax_of_what_ranks(peer, small, whole):
    network = whole[peer].network
    rows, scores = read(network, small), whole[peer].score(small)
    assert sorted(rows) == np.flatnonzero(small.held_out).tolist()
    log_p = np.zeros(small.corpus.n_tokens)
    for position, logits in rows.items():
        logits = logits.astype(np.float64)
        log_p[position] = logits[small.corpus.words[position]] - np.log(np.exp(logits).sum())
    np.testing.assert_allclose(scores, small.sum_held_out(log_p), rtol=1e-5)
    assert (scores[small.n_held_out == 0] == 0).all()


@both
def test_predictions_do_not_depend_on_later_items(peer):
    """And what came before within reach does, across windows."""
    network = untrained(peer)
    items = np.random.default_rng(1).integers(V, size=18)
    before = read(network, split_of([items], 0))
    for t in range(18):
        changed = items.copy()
        changed[t:] = (changed[t:] + 1 + np.arange(18 - t) % (V - 1)) % V
        after = read(network, split_of([changed], 0))
        for position in range(t + 1):
            assert np.array_equal(before[position], after[position]), (t, position)
        if t < 17:
            assert not np.allclose(before[t + 1], after[t + 1], atol=1e-3)


@both
def test_an_empty_history_is_predicted_from_the_start_symbol_alike_for_all(peer):
    rows = read(untrained(peer), split_of([[1, 2], [5], [7, 7, 7]], 0))
    np.testing.assert_allclose(rows[0], rows[2], rtol=1e-6)
    np.testing.assert_allclose(rows[0], rows[3], rtol=1e-6)
    assert not np.allclose(rows[0], rows[1], atol=1e-3)


@both
def test_batch_composition_changes_only_rounding(monkeypatch, peer, small, whole):
    network = whole[peer].network
    together = read(network, small)
    monkeypatch.setattr(sequence, "USERS", 1)
    monkeypatch.setattr(sequence, "LOGITS", 3 * V)
    for position, logits in read(network, small).items():
        np.testing.assert_allclose(logits, together[position], rtol=1e-4, atol=1e-5)


@both
def test_initial_predictions_are_near_item_popularity(peer, small):
    kind, config, _ = PEERS[peer]
    p = popularity(small)
    assert np.array_equal(p, unigram_probability(small))
    network = kind(config, p, torch_stream(0))
    expected = Unigram(p).score(small)
    near = FittedSequence(network, [], small.corpus.vocabulary).score(small) / np.maximum(
        small.n_held_out, 1
    )
    np.testing.assert_allclose(near, expected / np.maximum(small.n_held_out, 1), atol=1.0)
    with torch.no_grad():
        network.input.weight.zero_()
    np.testing.assert_allclose(
        FittedSequence(network, [], small.corpus.vocabulary).score(small), expected, rtol=1e-5
    )


@both
@pytest.mark.parametrize("n_samples", [0, 6])
def test_order_is_learned_and_serves_unseen_events(peer, n_samples):
    split, oracle = markov_split()
    config = sized(peer, 16, n_epochs=12, dropout=0.0, n_samples=n_samples, window=16)
    fit = PEERS[peer][2](split, config, 0)
    plain = perplexity(fit_unigram(split).score(split), split, split.reported)
    ours = perplexity(fit.score(split), split, split.reported)
    assert 0.98 * oracle < ours < 1.25 * oracle < 0.4 * plain
    assert fit.history[0]["development_perplexity"] > ours
    ranking = rank_held_out(lambda visit: fit.next_items(split, visit), split)
    assert metrics(ranking, cutoffs=[1])["recall@1"] > 0.75


@both
def test_ten_sequences_are_learned_by_heart(peer):
    """The mean loss comes near the least possible: that of choosing a sequence, log 10 each."""
    items = np.random.default_rng(2).integers(V, size=(10, 12))
    corpus = Corpus.from_documents(items, [f"i{v}" for v in range(V)])
    development = np.arange(10) < 1
    split = Split(corpus, corpus, np.full(10, 6), development)
    options = {"n_epochs": 120, "patience": 120, "dropout": 0.0, "window": 6, "batch_size": 10}
    config = sized(peer, 32, **options)
    history = PEERS[peer][2](split, config, 0).history
    least = math.log(10) / 12
    assert history[0]["loss"] > 2
    assert 0.99 * least < history[-1]["loss"] < 1.3 * least


@both
def test_result_does_not_depend_on_threads(peer, small, whole):
    _, config, fit = PEERS[peer]
    fits = [fit(small, config, 3, n_threads=n) for n in (1, 2)]
    assert_same_fit(*fits)
    assert_same_fit(fits[0], whole[peer])
    one, two = (fits[0].score(small, n_threads=n) for n in (1, 2))
    assert np.array_equal(one, two)
    first, second = (read(fits[0].network, small, n) for n in (1, 2))
    assert all(np.array_equal(row, second[position]) for position, row in first.items())


@both
@pytest.mark.parametrize("epoch", [1, 3])
def test_an_interrupted_fit_ends_with_the_same_numbers(tmp_path, peer, small, whole, epoch):
    _, config, fit = PEERS[peer]
    path, seen = tmp_path / "fit.safetensors", []
    with pytest.raises(Stop):
        fit(small, config, 3, checkpoint=path, on_iteration=stop_after(epoch))
    resumed = fit(
        small, config, 3, checkpoint=path, on_iteration=lambda s: seen.append(len(s.history))
    )
    assert seen == list(range(epoch + 1, 5))
    assert_same_fit(resumed, whole[peer])


@both
@pytest.mark.parametrize("other", [{"dropout": 0.1}, {"n_samples": 3}, "seed"])
def test_a_checkpoint_of_another_fit_is_refused(tmp_path, peer, small, whole, other):
    _, config, fit = PEERS[peer]
    path = tmp_path / "fit.safetensors"
    fit(small, replace(config, n_epochs=1), 3, checkpoint=path)
    changed = replace(config, **(other if isinstance(other, dict) else {}))
    name = other if other == "seed" else next(iter(other))
    with pytest.raises(OtherFitError, match=f"holds another fit: {name} is .* there and .* here;"):
        fit(small, changed, 4 if other == "seed" else 3, checkpoint=path)
    assert_same_fit(fit(small, config, 3, checkpoint=path), whole[peer])


@both
def test_fewer_epochs_than_the_file_has_give_their_model_or_none(tmp_path, peer, small, whole):
    _, config, fit = PEERS[peer]
    path = tmp_path / "fit.safetensors"
    fit(small, config, 3, checkpoint=path)
    best = best_iteration(whole[peer].history)
    for n_epochs in range(1, len(whole[peer].history)):
        fewer = replace(config, n_epochs=n_epochs)
        if n_epochs < best:
            with pytest.raises(OtherFitError, match=f"of the best, number {best}; with n_epochs"):
                fit(small, fewer, 3, checkpoint=path)
        else:
            read = fit(small, fewer, 3, checkpoint=path, on_iteration=pytest.fail)
            assert_same_fit(read, fit(small, fewer, 3))


@both
def test_training_sees_held_out_events_of_development_users_alone(peer, small, whole):
    words = small.corpus.words.copy()
    user = np.repeat(np.arange(small.corpus.n_documents), small.corpus.lengths)
    changed = small.held_out & small.reported[user]
    words[changed] = (words[changed] + 1) % V
    corpus = Corpus(words, small.corpus.offsets, small.corpus.vocabulary)
    other = Split(corpus, small.observed, small.n_observed, small.development)
    assert_same_fit(PEERS[peer][2](other, PEERS[peer][1], 3), whole[peer])


@both
def test_a_fit_leaves_the_global_generators_alone_and_the_seed_matters(peer, small, whole):
    torch.manual_seed(1)
    before = torch.get_rng_state()
    network = PEERS[peer][2](small, replace(PEERS[peer][1], n_epochs=1), 4).network
    assert torch.equal(torch.get_rng_state(), before)
    assert not torch.equal(network.input.weight, whole[peer].network.input.weight)


@both
def test_a_fit_that_diverges_names_the_learning_rate_and_the_remedy(peer, small):
    config = replace(PEERS[peer][1], learning_rate=1e6)
    with pytest.raises(FloatingPointError, match=r"learning_rate=1000000.0; give a smaller"):
        PEERS[peer][2](small, config, 0)


def test_sampled_softmax_over_tied_weights_goes_to_the_full_one():
    """The mean gradient, of the embedding too, nears the full softmax's as samples are added."""
    embedding = IdEmbedding(V, 5)
    with torch.no_grad():
        embedding.weight.normal_(generator=torch_stream(1))
    network = torch.nn.Module()
    network.output = TiedOutput(embedding)
    with torch.no_grad():
        network.output.bias.normal_(generator=torch_stream(2))
    states, targets = torch.randn(9, 5, generator=torch_stream(3)), torch.arange(9) % V
    assert [name for name, _ in network.named_parameters()] == ["output.bias"]

    def gradient(objective, generator):
        loss = objective(network, states, targets, generator)
        found = torch.autograd.grad(loss, [embedding.weight, network.output.bias])
        return torch.cat([g.flatten() for g in found])

    full, gap = gradient(full_softmax, None), {}
    for n_samples in (2, 64):
        objective = SampledSoftmax.of_targets(targets.numpy(), V, n_samples, "unigram")
        generator = torch_stream(5)
        with thread_pool(1):  # threads would cost more than these small sums
            mean = sum(gradient(objective, generator) for _ in range(200)) / 200
        gap[n_samples] = float((mean - full).norm() / full.norm())
    assert gap[64] < 0.05 < 0.1 < gap[2]


def test_parameters_are_counted_once():
    p = np.full(V, 1 / V)
    gru = 3 * (8 * 8 + 8 * 8 + 8 + 8)

    def n_parameters(network):
        return FittedSequence(network, [], ()).size().parameters

    assert n_parameters(GRU4Rec(GRU, p, torch_stream(0))) == (V + 1) * 8 + gru + V
    untied = GRU4Rec(replace(GRU, tied=False), p, torch_stream(0))
    assert n_parameters(untied) == (V + 1) * 8 + gru + V * 8 + V
    block = 6 * (8 * 8 + 8) + 2 * 2 * 8
    expected = (V + 1) * 8 + 2 * 5 * 8 + 2 * block + 2 * 8 + V
    assert n_parameters(SASRec(SAS, p, torch_stream(0))) == expected


@pytest.mark.parametrize(
    ("config", "options", "message"),
    [
        (GRU, {"batch_size": 0}, "batch_size is 0"),
        (GRU, {"window": 0}, "window is 0"),
        (GRU, {"n_samples": -1}, "n_samples is -1"),
        (GRU, {"learning_rate": math.nan}, "learning_rate is nan"),
        (GRU, {"dropout": 1.0}, "dropout is 1.0"),
        (GRU, {"hidden_size": 2.5}, "hidden_size is 2.5"),
        (GRU, {"embedding_size": 4}, "tied weights need both the same"),
        (SAS, {"n_blocks": 0}, "n_blocks is 0"),
        (SAS, {"n_heads": 3}, "n_heads is 3: give a divisor of 8"),
    ],
)
def test_invalid_arguments_are_refused(config, options, message):
    with pytest.raises(InputError, match=message):
        replace(config, **options)


@both
def test_a_split_without_development_events_is_refused(peer):
    split = split_corpus(random_corpus(), development=0)
    with pytest.raises(InputError, match=r"^development: this split has no document to decide"):
        PEERS[peer][2](split, PEERS[peer][1], 0)
