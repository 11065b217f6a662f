"""Metropolis-Hastings kernels: each against what it must draw, and one token's whole transition."""

import itertools

import numpy as np
import pytest
from draws import ALMOST_ONE, always_the_same, counted, draw, unit, weights_with_zeros
from enumeration import LEVEL, p_value
from hypothesis import given
from hypothesis import strategies as st

from lla.samplers import metropolis
from lla.samplers.metropolis import (
    Alias,
    Output,
    Proposal,
    Rows,
    TokenLanes,
    acceptance_weight,
    draw_alias,
    fill_alias,
    find,
    first_above,
    logit,
    merge_rows,
    move_topics,
    row_weights,
    scaled_exp,
    sparse_rows,
    target_over_proposal,
)

K, V, H, BETA = 5, 4, 16, 0.3
WORD = 2
LANES = 3


def problem(seed=0, n_topics=K, gain=2.0):
    """A model of K topics and all that `move_topics` takes, as named arrays; tokens of a word.

    The last topic is never that of the word: its row has a hole.
    """
    rng = draw(seed)
    words = np.append(rng.integers(V, size=40), [WORD] * LANES).astype(np.uint16)
    words.flags.writeable = False  # as a corpus has them: the kernel is compiled for these alone
    topics = rng.integers(n_topics, size=len(words)).astype(np.int32)
    topics[(words == WORD) & (topics == n_topics - 1)] = 0
    starts, row_topics, counts, total = sparse_rows(words, topics, V, n_topics, 1)
    row_phi = (counts / (total[row_topics] + V * BETA)).astype(np.float32)
    dense = BETA / (total + V * BETA)
    keep, other = np.empty(n_topics), np.empty(n_topics, np.int32)
    fill_alias(dense, keep, other)
    weight = np.zeros((n_topics, H), np.float32)
    weight[:, : H - 3] = gain * rng.normal(size=(n_topics, H - 3))
    return {
        "weight": weight, "bias": rng.normal(size=n_topics).astype(np.float32),
        "starts": starts, "row_topics": row_topics, "row_phi": row_phi,
        "dense": dense, "keep": keep, "other": other, "dense_total": dense.sum(),
        "log_scale": 0.4, "words": words, "topics": topics,
        "position": np.arange(len(words) - LANES, len(words)),
        "states": np.tile(rng.uniform(-0.5, 0.5, size=H).astype(np.float32), (LANES, 1)),
        "uniforms": rng.random((LANES, 2, 4)), "column": 1, "lstm_inputs": words,
        "drawn": np.full(len(words), -7, np.int32), "inputs": np.full(LANES, -7),
        "scaled": np.zeros(n_topics), "running": np.zeros(n_topics),
    }  # fmt: skip


def arguments(p):
    """The same for `move_topics`."""
    proposal = Proposal(
        Output(p["weight"], p["bias"]),
        Rows(p["starts"], p["row_topics"], p["row_phi"]),
        Alias(p["dense"], p["keep"], p["other"]),
        p["dense_total"],
        p["log_scale"],
    )
    lanes = TokenLanes(**{name: p[name] for name in TokenLanes._fields})
    rest = [p[name] for name in ("column", "lstm_inputs", "drawn")]
    return (proposal, p["words"], p["topics"], lanes, *rest)


def conditional(p, word=WORD):
    """π, (K,), by NumPy in float64: exp(o_k) (n_wk + β) / (n_k + Vβ)."""
    word_topic, total = counted(p["words"], p["topics"], V, len(p["dense"]))
    o = p["weight"].astype(np.float64) @ p["states"][0].astype(np.float64) + p["bias"]
    pi = np.exp(o - o.max()) * (word_topic[word] + BETA) / (total + V * BETA)
    return pi / pi.sum()


def row(p, word=WORD):
    return p["starts"][word], p["starts"][word + 1]


def parts(p, word=WORD):
    """What the kernels make of one token: running sums over its row, acceptance weights."""
    begin, end = row(p, word)
    output, rows = (p["weight"], p["bias"]), (p["row_topics"], p["row_phi"], begin, end)
    where = (p["states"], 0, p["log_scale"])
    total = row_weights(*output, *rows, *where, p["scaled"], p["running"])
    weights = [
        acceptance_weight(*output, *rows, p["dense"], k, *where, p["scaled"])
        for k in range(len(p["dense"]))
    ]
    return total, p["running"][: end - begin], np.array(weights)


def alias_probabilities(keep, other):
    """Of each topic, from the table alone."""
    found = keep / len(keep)
    np.add.at(found, other, (1 - keep) / len(keep))
    return found


def transition(p, word=WORD):
    """One step's matrix, (K, K): proposals and acceptances as the kernels compute them."""
    total, running, weights = parts(p, word)
    begin, end = row(p, word)
    proposal = alias_probabilities(p["keep"], p["other"]) * p["dense_total"]
    proposal[p["row_topics"][begin:end]] += np.diff(running, prepend=0.0)
    proposal /= total + p["dense_total"]
    matrix = proposal[None, :] * np.minimum(1.0, weights[None, :] / weights[:, None])
    np.fill_diagonal(matrix, 0.0)
    return matrix + np.diag(1.0 - matrix.sum(axis=1))


def chain(p, n_lanes, n_mh, seed, start=None):
    """The topic of each of `n_lanes` tokens of one word after n_mh steps from a topic of its row.

    Counts stand still: the tokens all point at one of the corpus.
    """
    tokens, topics = np.full(n_lanes, WORD, np.uint16), np.full(n_lanes, start, np.int32)
    p = p | {
        "words": tokens, "lstm_inputs": tokens, "topics": topics, "position": np.arange(n_lanes),
        "states": np.tile(p["states"][:1], (n_lanes, 1)), "column": 0,
        "uniforms": draw(seed).random((n_lanes, 1, 2 * n_mh)),
        "drawn": np.empty(n_lanes, np.int32), "inputs": np.empty(n_lanes, np.int64),
    }  # fmt: skip
    counts = move_topics(*arguments(p))
    return p["drawn"], counts


# -------------------------------------------------------------------------------- invariance


@pytest.mark.parametrize("log_scale", [-30.0, -3.0, 0.0, 1.5, 6.0, 30.0])
@pytest.mark.parametrize(("n_topics", "seed"), [(5, 0), (2, 1), (1, 2), (11, 3)])
def test_one_step_leaves_the_conditional_as_it_is(n_topics, seed, log_scale):
    """By enumeration, for any scale: the whole matrix, its balance topic by topic."""
    p = problem(seed, n_topics) | {"log_scale": log_scale}
    pi, matrix = conditional(p), transition(p)
    np.testing.assert_allclose(matrix.sum(axis=1), 1.0, rtol=1e-12)
    assert matrix.min() > -1e-12
    flow = pi[:, None] * matrix
    np.testing.assert_allclose(flow, flow.T, rtol=0, atol=1e-6 * flow.max())
    np.testing.assert_allclose(pi @ matrix, pi, rtol=0, atol=1e-6)


def test_a_wrong_scale_breaks_the_balance():
    p = problem()
    pi, matrix = conditional(p), transition(p)
    p["dense_total"] *= 1.3  # the coin and the proposals no longer agree with the weights
    assert abs(pi @ transition(p) - pi).max() > 1e-3
    assert abs(pi @ matrix - pi).max() < 1e-6
    assert np.ptp(pi) > 0.2, "a conditional worth the name"


@pytest.mark.parametrize("log_scale", [-2.0, 0.4, 2.0])
@pytest.mark.parametrize("n_mh", [1, 2, 3])
def test_steps_follow_the_matrix(n_mh, log_scale):
    """The kernel's draws from every topic against the enumerated steps, and their tallies."""
    p, n = problem() | {"log_scale": log_scale}, 20_000
    steps = np.linalg.matrix_power(transition(p), n_mh)
    for start in range(K):
        drawn, _ = chain(p, n, n_mh, seed=start, start=start)
        assert p_value(np.bincount(drawn, minlength=K), steps[start]) > LEVEL


def test_long_chains_end_in_the_conditional():
    p = problem()
    drawn, (_, sparse, changed, failed) = chain(p, 20_000, 40, seed=9, start=K - 1)
    assert p_value(np.bincount(drawn, minlength=K), conditional(p)) > LEVEL
    total, _, _ = parts(p)
    share = total / (total + p["dense_total"])
    assert abs(sparse / 800_000 - share) < 5e-3 and 0.1 < share < 0.9 and failed == -1
    assert changed == np.count_nonzero(drawn != K - 1)


def test_tallies():
    """Where p and q are the same everything is accepted; without rows nothing is sparse."""
    p = problem() | {"log_scale": 0.0}
    p["weight"][:], p["bias"][:] = 0.0, 0.0
    _, (accepted, sparse, *_) = chain(p, 1000, 2, seed=1, start=0)
    assert accepted == 2000 and 0 < sparse < 2000
    p["starts"][:] = 0
    drawn, (_, sparse, *_) = chain(p, 20_000, 1, seed=2, start=0)
    assert sparse == 0
    assert p_value(np.bincount(drawn, minlength=K), p["dense"] / p["dense"].sum()) > LEVEL


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_token_without_probabilities_is_reported(value):
    p = problem()
    p["states"][1] = value
    *_, failed = move_topics(*arguments(p))
    assert failed == len(p["words"]) - 2


# ------------------------------------------------------------------------------- the kernels


@pytest.mark.parametrize(
    "weights", [[1.0], [0.2, 0.8], [0.0, 3.0], [0.0, 2.0, 0.0, 0.5, 1.5, 0.0, 4.0], [0.2] * 11]
)
@pytest.mark.parametrize("form", ["plain", "compiled"])
def test_alias_draws_follow_the_weights(form, weights):
    fill, pick = (f.py_func if form == "plain" else f for f in (fill_alias, draw_alias))
    weights = np.array(weights)
    keep, other = np.empty(len(weights)), np.empty(len(weights), np.int32)
    fill(weights, keep, other)
    drawn = [pick(keep, other, u) for u in draw(3).random(20_000)]
    counts = np.bincount(drawn, minlength=len(weights))
    assert not counts[weights == 0].any()
    if (weights > 0).sum() > 1:
        assert p_value(counts, weights / weights.sum()) > LEVEL


@always_the_same
@given(weights_with_zeros, unit)
def test_alias_tables_are_exact(weights, u):
    if not weights.sum() > 0:
        weights = weights + 1.0
    keep, other = np.empty(len(weights)), np.empty(len(weights), np.int32)
    fill_alias(weights, keep, other)
    np.testing.assert_allclose(
        alias_probabilities(keep, other), weights / weights.sum(), rtol=1e-9, atol=1e-12
    )
    for uniform in (u, 0.0, float(ALMOST_ONE), np.nextafter(1.0, 0.0), 1.0):
        assert weights[draw_alias(keep, other, uniform)] > 0


@always_the_same
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 6)), min_size=1, max_size=60))
def test_rows_are_the_counts(pairs):
    words, topics = (np.array(x, np.uint16) for x in zip(*pairs, strict=True))
    words.flags.writeable = False
    forms = itertools.product((sparse_rows, sparse_rows.py_func), (1, 16), ("i4", "u2"))
    for form, n_pieces, kind in forms:
        starts, row_topics, counts, total = form(words, topics.astype(kind), 5, 7, n_pieces)
        found = np.zeros((5, 7), np.int64)
        found[np.repeat(np.arange(5), np.diff(starts)), row_topics] = counts
        word_topic, topic_total = counted(words, topics, 5, 7)
        np.testing.assert_array_equal(found, word_topic)
        np.testing.assert_array_equal(total, topic_total)
        assert counts.min() > 0 and counts.sum() == len(words)
        for w in range(5):
            assert (np.diff(row_topics[starts[w] : starts[w + 1]]) > 0).all()


@always_the_same
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 4), st.integers(0, 6)), min_size=1))
def test_merged_rows_of_parts_are_those_of_the_whole(tokens):
    part, words, topics = np.array(tokens, np.int32).T
    rows = [sparse_rows(words[part == p], topics[part == p], 5, 7, 1) for p in range(3)]
    lengths = np.stack([np.diff(starts) for starts, *_ in rows])
    row_topics, counts = (np.concatenate([of[i] for of in rows]) for i in (1, 2))
    starts, *whole, _ = sparse_rows(words, topics, 5, 7, 1)
    for form in (merge_rows, merge_rows.py_func):
        length, *merged = form(lengths, row_topics, counts, 7)
        np.testing.assert_array_equal(length, np.diff(starts))
        for found, expected in zip(merged, whole, strict=True):
            np.testing.assert_array_equal(found, expected)


@always_the_same
@given(st.sets(st.integers(0, 20)), st.integers(0, 20))
def test_find(row_topics, k):
    topics = np.array([3, *sorted(row_topics), 1], np.int32)  # the neighbours' rows do not count
    for form in (find, find.py_func):
        i = form(topics, 1, len(topics) - 1, k)
        assert (i >= 1 and topics[i] == k) if k in row_topics else i == -1


@always_the_same
@given(weights_with_zeros, unit)
def test_first_above(weights, u):
    running = np.cumsum(weights)
    target = u * running[-1]
    above = np.flatnonzero(running > target)
    expected = above[0] if len(above) else len(running) - 1
    assert first_above(running, len(running), target) == expected
    assert first_above.py_func(running, len(running), target) == expected


def test_scalars():
    assert scaled_exp(2.0, 2.0) == 1.0
    assert np.isfinite(scaled_exp(1e30, 0.0)) and scaled_exp(-1e30, 0.0) == 0.0
    np.testing.assert_allclose(target_over_proposal(2.0, 0.5, 0.25), 1.5 / 1.25)
    assert target_over_proposal(2.0, 0.0, 0.25) == 2.0
    p = problem()
    o = p["weight"] @ p["states"][0] + p["bias"]
    for form in (logit, logit.py_func):
        found = [form(p["weight"], p["bias"], k, p["states"], 0) for k in range(K)]
        np.testing.assert_allclose(found, o, rtol=1e-5)


CASES = {
    "sparse_rows": lambda p: (p["words"], p["topics"], V, K, 4),
    "gather_topics": lambda p: (
        p["words"], p["topics"], np.cumsum([0, *np.bincount(p["words"], minlength=V)]), 1,
        np.zeros(len(p["words"]) - 1, np.int32),
    ),
    "merge_rows": lambda p: (
        np.array([[1, 0], [2, 1]]), np.array([3, 0, 3, 1], np.int32),
        np.array([2, 1, 1, 4], np.int32), K,
    ),
    "fill_alias": lambda p: (p["dense"], np.zeros(K), np.zeros(K, np.int32)),
    "draw_alias": lambda p: (p["keep"], p["other"], 0.37),
    "logit": lambda p: (p["weight"], p["bias"], 1, p["states"], 0),
    "scaled_exp": lambda p: (1.7, 0.3),
    "target_over_proposal": lambda p: (1.7, 0.3, 0.1),
    "find": lambda p: (p["row_topics"], *row(p), 1),
    "first_above": lambda p: (np.cumsum(p["dense"]), K, 0.4 * p["dense_total"]),
    "row_weights": lambda p: (
        p["weight"], p["bias"], p["row_topics"], p["row_phi"], *row(p), p["states"], 0, 0.4,
        p["scaled"], p["running"],
    ),
    "acceptance_weight": lambda p: (
        p["weight"], p["bias"], p["row_topics"], p["row_phi"], *row(p), p["dense"], K - 1,
        p["states"], 0, 0.4, p["scaled"],
    ),
    "move_topics": arguments,
}  # fmt: skip


def flat(values):
    """All numbers of nested tuples of arrays, in one array."""
    if isinstance(values, tuple):
        return np.concatenate([flat(value) for value in values])
    return np.ravel(values).astype(np.float64)


def test_every_kernel_has_a_case():
    assert CASES.keys() == {n for n, f in vars(metropolis).items() if hasattr(f, "py_func")}


@pytest.mark.parametrize("name", CASES)
def test_compiled_and_plain_agree(name):
    """Sums in another order, so to float32's accuracy; draws and their counts to the last one."""
    compiled, plain, before = (CASES[name](problem()) for _ in range(3))
    kernel = getattr(metropolis, name)
    ours, theirs = kernel(*compiled), kernel.py_func(*plain)
    if ours is not None:
        np.testing.assert_allclose(flat(ours), flat(theirs), rtol=2e-6)
    np.testing.assert_allclose(flat(compiled), flat(plain), rtol=2e-6, atol=0)
    changed = not np.array_equal(flat(compiled), flat(before))
    assert changed == (name in ("gather_topics", "fill_alias", "row_weights", "move_topics"))
