"""How collaborative recurrent networks are trained: steps per user, stopping, checkpoints."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from simulated import random_corpus
from test_crnn import CONFIGS, every
from test_sequence import Stop, assert_same_fit, markov_split, stop_after

from lla.common.errors import InputError
from lla.common.parallel import thread_pool
from lla.common.random import torch_stream
from lla.corpus import Corpus, Split, split_corpus
from lla.evaluate.perplexity import perplexity
from lla.inference.objectives import full_softmax
from lla.inference.users import RowOptimizer
from lla.peers.counts import fit_unigram
from lla.peers.crnn import CRNN, CRNNConfig, PGRUConfig, ShrunkGRUConfig, fit_crnn
from lla.peers.crnn.model import user_keys
from lla.peers.crnn.training import train_epoch
from lla.peers.training import popularity

V = 12
TRAINING = {"batch_size": 8, "learning_rate": 0.01, "n_epochs": 3, "dropout": 0.2}
both = pytest.mark.parametrize("kind", ["adam", "rmsprop"])


@pytest.fixture(scope="module")
def small():
    return split_corpus(random_corpus(30, V, longest=23, seed=4))


def config_of(name, **options):
    return replace(CONFIGS[name], **(TRAINING | options))


def optimizer_of(table, kind, rate=0.1, decay=0.9):
    return RowOptimizer([table], kind, rate, decay, own=table)


@both
def test_a_step_of_visited_rows_is_a_dense_one_for_them_and_none_for_others(kind):
    table = torch.nn.Parameter(torch.randn(5, 2, 3, generator=torch_stream(0)))
    dense = torch.nn.Parameter(table.detach().clone())
    other = torch.optim.Adam([dense], lr=0.1)
    ours, square = optimizer_of(table, kind), torch.zeros(5, 2, 3)
    for visited in ([0, 1, 2, 3, 4], [3, 1], [1]):
        gradient = torch.randn(len(visited), 2, 3, generator=torch_stream(len(visited)))
        before = table.detach().clone(), {k: v.clone() for k, v in ours.state[table].items()}
        dense.grad = torch.zeros_like(dense)
        dense.grad[visited] = gradient
        if kind == "adam":
            other.step()
        else:  # ε inside the root, where Torch has it outside
            square = 0.9 * square + 0.1 * dense.grad**2
            dense.data -= 0.1 * dense.grad / (square + 1e-8).sqrt()
        ours.update(table, gradient, torch.tensor(visited))
        absent = [row for row in range(5) if row not in visited]
        assert torch.equal(table[absent], before[0][absent])
        for moment, value in before[1].items():
            assert torch.equal(ours.state[table][moment][absent], value[absent])
        if len(visited) == 5:
            torch.testing.assert_close(table, dense)
    torch.testing.assert_close(table[1], dense[1])  # visited in every step
    if kind == "adam":
        assert ours.state[table]["step"].tolist() == [1, 3, 1, 2, 1]
        assert not torch.allclose(table[0], dense[0]), "dense Adam moves an absent row"


@both
def test_a_step_of_a_whole_parameter_is_that_of_all_its_rows(kind):
    one, other = (torch.nn.Parameter(torch.ones(4, 3)) for _ in range(2))
    whole, rows = RowOptimizer([one], kind, 0.1, 0.9), optimizer_of(other, kind)
    for seed in range(3):
        gradient = torch.randn(4, 3, generator=torch_stream(seed))
        whole.update(one, gradient)
        rows.update(other, gradient, torch.arange(4))
    assert torch.equal(one, other)


@both
def test_a_penalty_ends_at_the_least_of_loss_and_penalty(kind):
    """(w - a)² / 2 + λ w² / 2 is least at a / (1 + λ), whatever the metric of the steps."""
    target = torch.tensor([[1.0, -2.0], [0.5, 3.0]])
    precision = torch.tensor([0.5, 1e30])
    table = torch.nn.Parameter(torch.ones(2, 2))
    for rate in (0.1, 0.01, 1e-3):
        optimizer = optimizer_of(table, kind, rate)
        for _ in range(300):
            gradient = (table - target).detach()
            optimizer.update(table, gradient, torch.arange(2), precision=precision)
    expected = target / (1 + precision[:, None])
    torch.testing.assert_close(table.detach(), expected, atol=5e-3, rtol=0)


@pytest.mark.parametrize("name", ["c_gru", "low_rank"])
def test_users_who_are_not_read_keep_their_numbers(name, small):
    config = config_of(name)
    n_users = small.corpus.n_documents
    network = CRNN(config, n_users, popularity(small), torch_stream(0))
    optimizer = RowOptimizer(
        list(network.parameters()), "adam", 0.01, config.decay, own=network.own
    )
    before = network.own.detach().clone()
    chosen = small.observed.lengths > 8
    with thread_pool(1) as pool:
        train_epoch(
            network,
            optimizer,
            small.observed.select(chosen),
            np.flatnonzero(chosen),
            0,
            (1, 1),
            pool,
            objective=full_softmax,
            description="",
        )
    moved = (network.own.detach() != before).flatten(1).any(dim=1).numpy()
    assert np.array_equal(moved, chosen)
    steps = np.where(chosen, -(-small.observed.lengths // config.window), 0)
    assert np.array_equal(optimizer.state[network.own]["step"].numpy(), steps)


@every
def test_a_fit_does_not_depend_on_threads_and_resumes_with_the_same_numbers(name, small, tmp_path):
    config = config_of(name, optimizer="rmsprop" if name == "c_tanh" else "adam")
    whole = fit_crnn(small, config, 3, n_threads=2)
    assert_same_fit(fit_crnn(small, config, 3, n_threads=1), whole)
    path = tmp_path / "fit.safetensors"
    with pytest.raises(Stop):
        fit_crnn(small, config, 3, checkpoint=path, on_iteration=stop_after(2))
    resumed = fit_crnn(small, config, 3, checkpoint=path)
    assert_same_fit(resumed, whole)
    assert np.array_equal(resumed.score(small), whole.score(small, n_threads=1))
    again = fit_crnn(small, config, 4)
    assert not torch.equal(again.network.input.weight, whole.network.input.weight)
    n_trained = sum(p.numel() for p in whole.network.parameters())
    assert whole.size().parameters == n_trained


def test_the_number_of_parameters_is_the_papers_and_the_start_symbols(small):
    """4DI + 3UD² of C-GRU, 2DI + UD² of C-tanh, without a bias."""
    u, d = len(set(user_keys(small))), 4
    for name, expected in (
        ("c_gru", 4 * d * V + 3 * u * d**2 + 3 * d),
        ("c_tanh", 2 * d * V + u * d**2 + d),
        ("p_gru", 4 * d * V + 3 * d**2 + 3 * d),
    ):
        fit = fit_crnn(small, config_of(name, n_epochs=1, output_bias=False), 0)
        assert fit.size().parameters == expected
        assert not fit.network.output.bias.any()


def test_one_user_of_many_documents_is_the_pooled_network(small):
    """Events of several documents of one user, side by side, move her one matrix."""
    corpus = small.corpus
    names = ["ann"] * corpus.n_documents
    named = Corpus(corpus.words, corpus.offsets, corpus.vocabulary, names=names)
    split = replace(small, corpus=named)
    own, pooled = (fit_crnn(split, config_of(name), 3) for name in ("c_gru", "p_gru"))
    assert own.network.own.shape == (1, *pooled.network.shared.shape)
    np.testing.assert_allclose(own.score(split), pooled.score(split), rtol=1e-3)


@pytest.mark.parametrize("rank", [0, 2])
def test_an_infinite_penalty_is_the_pooled_network(small, rank):
    options = TRAINING | {"hidden_size": 4, "window": 5}
    pooled = fit_crnn(small, PGRUConfig(**options), 3)
    shrunk = fit_crnn(small, ShrunkGRUConfig(**options, penalty=1e30, rank=rank), 3)
    free = fit_crnn(small, ShrunkGRUConfig(**options, penalty=0.0, rank=rank), 3)
    np.testing.assert_allclose(shrunk.score(small), pooled.score(small), rtol=1e-3)
    assert shrunk.network.own.abs().max() < 1e-20 < free.network.own.abs().max()
    weak = fit_crnn(small, ShrunkGRUConfig(**options, penalty=1e3, rank=rank), 3)
    assert weak.network.own.norm() < free.network.own.norm()


def test_training_and_stopping_read_what_they_may_and_no_more(small):
    words = small.corpus.words.copy()
    user = np.repeat(np.arange(small.corpus.n_documents), small.corpus.lengths)
    for tail in (0.0, 0.2):
        config = config_of("c_gru", tail=tail)
        changed = small.held_out if tail else small.held_out & small.reported[user]
        other = words.copy()
        other[changed] = (other[changed] + 1) % V
        corpus = Corpus(other, small.corpus.offsets, small.corpus.vocabulary)
        split = Split(corpus, small.observed, small.n_observed, small.development)
        assert_same_fit(fit_crnn(split, config, 3), fit_crnn(small, config, 3))


def test_a_tail_is_not_trained_on():
    """The last three of each history decide when to stop: weights after one epoch are the same."""
    items = np.random.default_rng(0).integers(V, size=(6, 9))
    splits = []
    for last in (items[:, 6:], (items[:, 6:] + 1) % V):
        documents = np.concatenate([items[:, :6], last], axis=1)
        corpus = Corpus.from_documents(documents, map(str, range(V)), map(str, range(6)))
        splits.append(Split(corpus, corpus, corpus.lengths, np.zeros(6, bool)))
    config = CRNNConfig(hidden_size=3, n_epochs=1, tail=0.1)
    one, other = (fit_crnn(split, config, 0) for split in splits)
    assert one.history[0]["development_perplexity"] != other.history[0]["development_perplexity"]
    assert one.history[0]["loss"] == other.history[0]["loss"]
    assert torch.equal(one.network.own, other.network.own)
    corpus = Corpus.from_documents([[1], [2]], "abc")
    with pytest.raises(InputError, match=r"^tail: no history has two observed events"):
        fit_crnn(Split(corpus, corpus, corpus.lengths, np.zeros(2, bool)), config, 0)


@pytest.mark.parametrize("options", [{"optimizer": "rmsprop"}, {"n_samples": 6}])
def test_order_is_learned_and_serves_unseen_events(options):
    split, oracle = markov_split(n_users=60, length=40)
    config = ShrunkGRUConfig(
        hidden_size=12, n_epochs=20, dropout=0.0, window=12, learning_rate=0.02, **options
    )
    ours = perplexity(fit_crnn(split, config, 0).score(split), split)
    plain = perplexity(fit_unigram(split).score(split), split)
    assert 0.98 * oracle < ours < 1.4 * oracle < 0.5 * plain


def test_users_with_dynamics_of_their_own_are_told_apart():
    """Half go up by one item, half down by one; who is who cannot be read from a first event."""
    n_users, n_items = 12, 5
    first = np.random.default_rng(0).integers(n_items, size=(n_users, 1))
    step = np.where(np.arange(n_users) % 2, 1, -1)[:, None]
    documents = (first + step * np.arange(12)) % n_items
    names = [f"user {u}" for u in range(n_users)]
    corpus = Corpus.from_documents(documents, map(str, range(n_items)), names)
    split = split_corpus(corpus)
    one = np.ones(n_users, int)
    second = corpus.beginnings(2 * one)
    at_once = Split(second, corpus.beginnings(one), one, split.development)
    found = {}
    for config in (CRNNConfig, PGRUConfig):
        options = {"hidden_size": 8, "learning_rate": 0.05, "dropout": 0.0, "window": 4}
        fit = fit_crnn(split, config(**options, n_epochs=40, patience=40), 0)
        found[config] = perplexity(fit.score(at_once), at_once)
    assert found[CRNNConfig] < 1.3 and found[PGRUConfig] > 1.7


def test_a_fit_that_diverges_names_the_learning_rate_and_the_remedy(small):
    with pytest.raises(FloatingPointError, match=r"learning_rate=1000000.0; give a smaller"):
        fit_crnn(small, config_of("c_gru", learning_rate=1e6), 0)


def test_a_split_without_development_events_is_refused_where_they_are_needed():
    split = split_corpus(random_corpus(), development=0)
    with pytest.raises(InputError, match=r"^development: this split has no document to decide"):
        fit_crnn(split, config_of("c_gru"), 0)
    assert fit_crnn(split, config_of("c_gru", tail=0.1, n_epochs=1), 0).history
