"""Collaborative recurrent networks: what they compute, against loops and sums written out."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from simulated import random_corpus
from test_sequence import split_of

from lla.common.random import torch_stream
from lla.corpus import Corpus, Split, split_corpus
from lla.inference.gradient import pad_shard
from lla.inference.objectives import full_softmax
from lla.peers.crnn import CRNN, CRNNConfig, CTanhConfig, FittedCRNN, PGRUConfig, ShrunkGRUConfig
from lla.peers.crnn.cells import CELLS
from lla.peers.crnn.training import Lanes, window_gradient

V, H = 12, 4
SMALL = {"hidden_size": H, "window": 5, "dropout": 0.0}
CONFIGS = {
    "c_gru": CRNNConfig(**SMALL),
    "c_tanh": CTanhConfig(**SMALL),
    "p_gru": PGRUConfig(**SMALL),
    "shrunk_gru": ShrunkGRUConfig(**SMALL),
    "low_rank": ShrunkGRUConfig(**SMALL, rank=2),
}
every = pytest.mark.parametrize("name", CONFIGS)


def untrained(name, n_users=3, n_items=V, **options):
    """A network of large weights: what it predicts depends on user and history."""
    probability = np.arange(1.0, n_items + 1) / (n_items * (n_items + 1) / 2)
    config = replace(CONFIGS[name], **options)
    network = CRNN(config, n_users, probability, torch_stream(0))
    with torch.no_grad():
        network.output.weight.mul_(3.0)
        network.input.weight.mul_(2.0)
        if name in ("shrunk_gru", "low_rank"):
            network.own.normal_(generator=torch_stream(1))
    return network


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def double(tensor):
    return tensor.detach().double().numpy()


def matrix_by_hand(network, user):
    """W^(u), (H, G·H)."""
    if network.own is None:
        return double(network.shared)
    own = double(network.own)[user]
    if network.shared is None:
        return own
    if network.basis is not None:
        basis = double(network.basis)
        own = own @ (basis / np.sqrt((basis**2).sum(axis=1, keepdims=True)))
    return double(network.shared) + own


def log_p_by_hand(network, user, items):
    """log p of each item given all before it; equations 17 to 24 as meant, in float64."""
    w, table = matrix_by_hand(network, user), double(network.input.weight)
    h, found = np.zeros(w.shape[0]), []
    for read, item in zip([len(table) - 1, *items[:-1]], items, strict=True):
        x = table[read]
        if network.config.cell == "tanh":
            h = np.tanh(h @ w + x)
        else:
            z = sigmoid(h @ w[:, :H] + x[:H])
            r = sigmoid(h @ w[:, H : 2 * H] + x[H : 2 * H])
            candidate = np.tanh((r * h) @ w[:, 2 * H :] + x[2 * H :])
            h = (1 - z) * h + z * candidate
        y = double(network.output.weight) @ h + double(network.output.bias)
        found.append(y[item] - np.log(np.exp(y).sum()))
    return np.array(found)


def fitted(network, users):
    return FittedCRNN(network, [], tuple(f"i{v}" for v in range(V)), users)


def named_split(documents, names, n_items=V, n_observed=0):
    corpus = Corpus.from_documents(documents, [f"i{v}" for v in range(n_items)], names)
    return Split(
        corpus, corpus, np.full(len(documents), n_observed), np.zeros(len(documents), bool)
    )


@pytest.mark.parametrize("one_for_all", [False, True])
@pytest.mark.parametrize("cell", CELLS)
def test_gradients_of_the_recurrences_are_those_of_their_steps(cell, one_for_all):
    draw = torch_stream(2)
    width = CELLS[cell].n_gates * 2
    x, h, w = (
        torch.randn(*shape, generator=draw, dtype=torch.float64).requires_grad_()
        for shape in ((4, 3, width), (3, 2), (2, width) if one_for_all else (3, 2, width))
    )
    assert torch.autograd.gradcheck(CELLS[cell].apply, (x, h, w))


@every
@pytest.mark.parametrize("length", [1, 5, 13])
def test_scores_are_the_cell_written_by_hand(name, length):
    """Users of several lengths side by side, in windows; with one user, too."""
    draw = np.random.default_rng(length)
    for n_users in (1, 3):
        network = untrained(name, n_users)
        items = [draw.integers(V, size=max(1, length - 2 * u)).tolist() for u in range(n_users)]
        split = named_split(items, [f"user {u}" for u in range(n_users)])
        scores = fitted(network, {f"user {u}": u for u in range(n_users)}).score(split)
        expected = [log_p_by_hand(network, u, items[u]).sum() for u in range(n_users)]
        np.testing.assert_allclose(scores, expected, rtol=1e-5)


@every
def test_probabilities_of_all_sequences_of_three_items_sum_to_one(name):
    """Which fails where an item is predicted from a state that has read it (equation 20)."""
    network = untrained(name, n_items=3)
    sequences = list(itertools.product(range(3), repeat=3))
    split = named_split(sequences, ["ann"] * 27, n_items=3)
    model = FittedCRNN(network, [], split.corpus.vocabulary, {"ann": 1})
    scores = model.score(split)
    assert np.exp(scores).sum() == pytest.approx(1, rel=1e-5)
    expected = [log_p_by_hand(network, 1, items).sum() for items in sequences]
    np.testing.assert_allclose(scores, expected, rtol=1e-5)


def test_gradient_of_a_three_item_toy_is_that_of_the_appendix():
    """Equations 31 to 38, with W_h from the right and the start symbol's row of W_in."""
    network = untrained("c_tanh", n_users=2, n_items=3)
    items, user = np.array([2, 0, 1, 1]), 1
    read = np.array([3, *items[:-1]])
    w, w_in, w_out = (
        double(p) for p in (network.own[user], network.input.weight, network.output.weight)
    )
    states = [np.zeros(H)]
    for x in read:
        states.append(np.tanh(states[-1] @ w + w_in[x]))
    grad_w, grad_in, grad_out = np.zeros_like(w), np.zeros_like(w_in), np.zeros_like(w_out)
    grad_a = np.zeros(H)
    for t in reversed(range(4)):
        h = states[t + 1]
        p = np.exp(w_out @ h + double(network.output.bias))
        error = np.eye(3)[items[t]] - p / p.sum()  # ∇_{y_t} ℓ_t
        grad_a = (error @ w_out + grad_a @ w.T) * (1 - h**2)
        grad_w += np.outer(states[t], grad_a)
        grad_in[read[t]] += grad_a
        grad_out += np.outer(error, h)
    corpus = Corpus.from_documents([items], "abc")
    shard = pad_shard(3, items, items, corpus.offsets, np.array([0]))
    own = network.own.detach()[[user]].requires_grad_()
    lanes = Lanes(shard, np.array([user]), torch_stream(0))
    _, gradients = window_gradient(network, full_softmax, lanes, slice(0, 5), own, np.array([0]))
    names = [name for name, _ in network.named_parameters() if name != "own"]
    found = dict(zip([*names, "own"], gradients, strict=True))
    for name, expected in (
        ("own", grad_w[None]),
        ("input.weight", grad_in),
        ("output.weight", grad_out),
    ):
        np.testing.assert_allclose(-found[name].numpy(), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", ["c_gru", "shrunk_gru", "low_rank"])
def test_users_with_the_same_matrix_are_a_pooled_network(name):
    pooled, network = untrained("p_gru"), untrained(name)
    with torch.no_grad():
        for part in ("input", "output"):
            getattr(network, part).load_state_dict(getattr(pooled, part).state_dict())
        if name == "c_gru":
            network.own.copy_(pooled.shared)
        else:
            network.shared.copy_(pooled.shared)
            network.own.zero_()
    items = [np.random.default_rng(n).integers(V, size=n) for n in (17, 3, 9)]
    split = named_split(items, "abc")
    expected = fitted(pooled, {}).score(split)
    np.testing.assert_allclose(
        fitted(network, {"a": 0, "b": 2, "c": 1}).score(split), expected, rtol=1e-5
    )


@every
def test_predictions_do_not_depend_on_later_items(name):
    network = untrained(name)
    items = np.random.default_rng(1).integers(V, size=13)

    def rows(items):
        found = {}
        model = fitted(network, {"ann": 2})
        model.next_items(
            named_split([items], ["ann"]),
            lambda positions, logits: found.update(
                zip(positions.tolist(), logits.copy(), strict=True)
            ),
        )
        return found

    before = rows(items)
    for t in range(13):
        changed = items.copy()
        changed[t:] = (changed[t:] + 1 + np.arange(13 - t) % (V - 1)) % V
        after = rows(changed)
        assert all(np.array_equal(before[s], after[s]) for s in range(t + 1))
        if t < 12:
            assert not np.allclose(before[t + 1], after[t + 1], atol=1e-3)


@every
def test_scores_are_the_log_softmax_of_what_ranks(name):
    network = untrained(name)
    corpus = random_corpus(9, V, longest=14, seed=3)
    names = tuple(f"user {d % 4}" for d in range(9))  # one is not known, others have several
    split = split_corpus(Corpus(corpus.words, corpus.offsets, corpus.vocabulary, names=names))
    model = FittedCRNN(network, [], corpus.vocabulary, {f"user {u}": u for u in range(3)})
    log_p = np.zeros(corpus.n_tokens)

    def visit(positions, logits):
        words = corpus.words[positions].astype(int)
        logits = logits.astype(np.float64)
        log_p[positions] = logits[np.arange(len(words)), words]
        log_p[positions] -= np.log(np.exp(logits).sum(axis=1))

    model.next_items(split, visit)
    np.testing.assert_allclose(model.score(split), split.sum_held_out(log_p), rtol=1e-5)


def test_an_unknown_user_is_read_with_what_is_shared_or_the_mean():
    rows = np.array([-1, 2])
    for name in ("c_gru", "c_tanh"):
        network = untrained(name)
        unknown, known = network.of_users(rows).matrices
        torch.testing.assert_close(unknown, network.own.mean(dim=0))
        assert torch.equal(known, network.own[2])
    for name in ("shrunk_gru", "low_rank"):
        network = untrained(name)
        unknown, known = network.of_users(rows).matrices
        assert torch.equal(unknown, network.shared) and not torch.equal(known, unknown)
        np.testing.assert_allclose(known.detach(), matrix_by_hand(network, 2), rtol=1e-5)


def test_a_user_is_known_by_name_or_by_what_was_observed():
    documents = [[1, 2, 3, 4, 5], [1, 2, 3, 7], [6, 6]]
    split = split_of(documents, 1)
    model = fitted(untrained("c_gru"), {np.int32(1).tobytes(): 1})
    split = replace(split, observed=split.corpus.beginnings(np.ones(3, int)))
    assert model.rows_of(split).tolist() == [1, 1, -1]
    named = named_split(documents, ["b", "a", "c"])
    model = fitted(untrained("c_gru"), {"a": 0, "b": 2})
    assert model.rows_of(named).tolist() == [2, 0, -1]
    assert model.rows_of(named.restrict(np.array([2, 1]))).tolist() == [-1, 0]
    part = np.array([False, True, True])
    np.testing.assert_allclose(model.score(named)[part], model.score(named.restrict(part)))
