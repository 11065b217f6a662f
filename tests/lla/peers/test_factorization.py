"""Matrix factorisation against the normal equations, plain loops, and what it must become."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simulated import lda_corpus, random_corpus

from lla.common.checkpoint import OtherFitError
from lla.common.errors import InputError, NumericalError
from lla.common.parallel import thread_pool
from lla.corpus import Corpus, Split, split_corpus
from lla.evaluate.perplexity import perplexity
from lla.peers.counts import UnigramConfig, fit_unigram
from lla.peers.factorization import (
    Factorization,
    FactorizationConfig,
    fit_factorization,
    kernels,
    log_counts,
    losses,
    solve_rows,
)
from lla.peers.simulate import random_phi

SMALL = FactorizationConfig(n_factors=3, penalty=0.2, n_iterations=8, patience=8)
FORMS = {"printed": SMALL, "zeros": replace(SMALL, zero_weight=0.1, temperature="tuned")}
DRAW = np.random.default_rng(1)
M = np.log1p(DRAW.integers(0, 3, size=(7, 5)) * (DRAW.random((7, 5)) < 0.6))  # users by items
M[6, 1:] = 0.0  # a user of one item at most


def corpus_of(matrix):
    """One whose observed counts have these logs."""
    counts = np.rint(np.expm1(matrix)).astype(int)
    documents = [np.repeat(np.arange(counts.shape[1]), row).tolist() for row in counts]
    kept = [d for d, words in enumerate(documents) if words]
    return Corpus.from_documents([documents[d] for d in kept], "abcde"), kept


CORPUS, KEPT = corpus_of(M)
M = M[KEPT]


def objective(users, items, config):
    """All that is minimised, pair by pair."""
    total = 0.0
    for u, row in enumerate(M):
        for i, m in enumerate(row):
            weight = 1.0 if m > 0 else config.zero_weight
            total += weight * (m - users[u] @ items[i]) ** 2
            total += weight * config.penalty * (users[u] @ users[u] + items[i] @ items[i])
    return total / np.count_nonzero(M)


@pytest.mark.parametrize("zero_weight", [0.0, 0.3])
def test_a_step_solves_the_normal_equations(zero_weight):
    config = replace(SMALL, zero_weight=zero_weight)
    fixed = DRAW.standard_normal((5, 3))
    with thread_pool(1) as pool:
        solved = solve_rows(log_counts(CORPUS).users, fixed, config, pool)
        other = solve_rows(log_counts(CORPUS).items, solved, config, pool)
    for rows, matrix, factors in ((solved, M, fixed), (other, M.T, solved)):
        for row, entries in zip(rows, matrix, strict=True):
            weight = np.where(entries > 0, 1.0, zero_weight)
            normal = factors.T @ (weight[:, None] * factors)
            normal += 0.2 * weight.sum() * np.eye(3)
            if weight.sum():
                expected = np.linalg.solve(normal, factors.T @ (weight * entries))
                np.testing.assert_allclose(row, expected, rtol=1e-9, atol=1e-12)
            else:
                assert not row.any(), "an item that nobody has met"


@pytest.mark.parametrize("zero_weight", [0.0, 0.3])
def test_losses_are_the_sums_over_all_pairs(zero_weight):
    config = replace(SMALL, zero_weight=zero_weight)
    users, items = DRAW.standard_normal((len(M), 3)), DRAW.standard_normal((5, 3))
    loss, total = losses(log_counts(CORPUS).users, users, items, config)
    assert loss == pytest.approx(((M - users @ items.T)[M > 0] ** 2).mean(), rel=1e-12)
    assert total == pytest.approx(objective(users, items, config), rel=1e-12)


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 100), st.sampled_from([0.01, 1.0]), st.sampled_from([0.0, 0.05, 0.9]))
def test_no_iteration_raises_the_objective(seed, penalty, zero_weight):
    split = split_corpus(random_corpus(seed=seed), development=0.6)
    config = replace(SMALL, penalty=penalty, zero_weight=zero_weight)
    rows = fit_factorization(split, config, seed, n_threads=1).history
    values = np.array([row["objective"] for row in rows])
    assert len(values) == 8 and (np.diff(values) <= 1e-12 * values[0]).all()


def test_kernels_compiled_and_plain_agree():
    draw = np.random.default_rng(4)
    root = draw.standard_normal((6, 6))
    x = draw.standard_normal(6)
    for kernel in (kernels.solve, kernels.solve.py_func):
        found, left = x.copy(), root @ root.T
        kernel(left, found)
        np.testing.assert_allclose(root @ root.T @ found, x, rtol=1e-8)
    entries, fixed = log_counts(CORPUS).users, draw.standard_normal((5, 3))
    arrays = (entries.indptr, entries.indices, entries.data)
    solved = np.zeros((2, len(M), 3))
    both = (kernels.als_rows, kernels.als_rows.py_func)
    for kernel, out in zip(both, solved, strict=True):
        kernel(*arrays, fixed, fixed.T @ fixed, 0.1, 0.2, 0, len(M), out)
    np.testing.assert_allclose(*solved, rtol=1e-9)
    both = (kernels.squared_errors, kernels.squared_errors.py_func)
    np.testing.assert_allclose(*[k(*arrays, solved[0], fixed) for k in both], rtol=1e-12)
    split = split_corpus(CORPUS, 0.5, development=0)
    scores = np.zeros((2, len(M)))
    both = (kernels.held_out_log_p, kernels.held_out_log_p.py_func)
    for kernel, out in zip(both, scores, strict=True):
        kernel(
            CORPUS.words,
            CORPUS.offsets,
            split.n_observed,
            solved[0],
            np.ascontiguousarray(fixed.T),
            0.7,
            out,
        )
    np.testing.assert_allclose(*scores, rtol=1e-12)
    logits = np.zeros((2, 5))
    for kernel, out in zip((kernels.item_logits, kernels.item_logits.py_func), logits, strict=True):
        kernel(solved[0, 0], np.ascontiguousarray(fixed.T), 0.7, out)
    np.testing.assert_allclose(logits, [0.7 * fixed @ solved[0, 0]] * 2, rtol=1e-12)


def test_a_matrix_without_a_factor_gives_no_numbers():
    x = np.ones(2)
    kernels.solve(np.array([[1.0, 0.0], [2.0, 1.0]]), x)
    assert np.isnan(x).all()


def collect(model, split):
    rows = np.zeros((split.corpus.n_tokens, split.corpus.n_words))

    def visit(positions, scores):
        rows[positions] += scores

    model.next_items(split, visit)
    return rows[split.held_out]


@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_predictions_are_the_softmax_of_equations_9_and_10(temperature, monkeypatch):
    split = split_corpus(random_corpus(6, n_words=5, seed=3), 0.5, development=0)
    items = DRAW.standard_normal((5, 3))
    model = Factorization(SMALL, items, temperature)
    users = model.users(split.observed)
    p = np.exp(users @ items.T / temperature)
    p /= p.sum(axis=1, keepdims=True)
    expected = np.repeat(p, split.n_held_out, axis=0)
    np.testing.assert_allclose(collect(model, split), expected, rtol=1e-9)
    monkeypatch.setattr("lla.evaluate.perplexity.SCORES", 10)  # two rows at a time
    np.testing.assert_allclose(collect(model, split), expected, rtol=1e-9)
    log_p = np.zeros(split.corpus.n_tokens)
    words = split.corpus.words[split.held_out]
    log_p[split.held_out] = np.log(expected[np.arange(len(words)), words])
    np.testing.assert_allclose(model.score(split), split.sum_held_out(log_p), rtol=1e-9)


def test_a_penalty_that_lets_nothing_through_is_uniform():
    split = split_corpus(random_corpus())
    scores = fit_factorization(split, replace(SMALL, penalty=1e9), 1).score(split)
    assert perplexity(scores, split) == pytest.approx(split.corpus.n_words, rel=1e-6)


def test_where_users_are_alike_zeros_of_weight_make_it_a_unigram():
    """With m = log(c + 1) fitted exactly the softmax is a ratio of counts, one added to each."""
    documents = [[0, 0, 0, 1, 1, 2] * 2] * 6
    split = split_corpus(Corpus.from_documents(documents, "abcd"), 0.5, 0.2)
    config = FactorizationConfig(n_factors=1, penalty=1e-9, zero_weight=0.5)
    rows = collect(fit_factorization(split, config, 1), split)
    np.testing.assert_allclose(rows, np.tile([4, 3, 2, 1], (len(rows), 1)) / 10, rtol=1e-4)


def test_weighted_zeros_gain_where_users_differ_and_the_printed_form_does_not():
    """Users who keep to a few items: scores of items never met are what the printed form lacks."""
    phi = random_phi(40, 4, 0.05, seed=2)
    split = split_corpus(lda_corpus(150, 30, phi, np.full(4, 0.1)))
    plain = perplexity(fit_unigram(split, UnigramConfig()).score(split), split)

    def found(**options):
        config = FactorizationConfig(n_factors=4, **options)
        return perplexity(fit_factorization(split, config, 1).score(split), split)

    ours = found(zero_weight=0.1, temperature="tuned")
    assert ours < 0.6 * plain
    assert ours < found(zero_weight=0.1) < found()


def test_the_temperature_is_as_good_on_development_as_any_of_a_grid():
    split = split_corpus(random_corpus(60, seed=5), 0.5, 0.4)
    model = fit_factorization(split, replace(FORMS["zeros"], n_iterations=1), 1)

    def development(temperature):
        other = Factorization(model.config, model.items, temperature)
        return perplexity(other.score(split), split, split.development)

    values = [development(temperature) for temperature in np.geomspace(0.03, 40, 40)]
    assert development(model.temperature) < min(values) * 1.0001
    assert model.history[0]["development_perplexity"] == pytest.approx(
        development(model.temperature), rel=1e-12
    )


def same(one, other):
    return one.items.tobytes() == other.items.tobytes() and one.temperature == other.temperature


@pytest.mark.parametrize("form", FORMS)
def test_threads_and_interruptions_do_not_change_a_bit(tmp_path, form):
    split, path = split_corpus(random_corpus(400)), tmp_path / "mf.safetensors"
    fit = partial(fit_factorization, split, FORMS[form], 7)
    whole = fit(n_threads=1)
    assert same(whole, fit(n_threads=3))

    def stop(state):
        if len(state.history) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(checkpoint=path, on_iteration=stop)
    done = []
    resumed = fit(checkpoint=path, on_iteration=lambda state: done.append(len(state.history)))
    assert done == [4, 5, 6, 7, 8] and same(whole, resumed)
    assert same(fit(checkpoint=path, on_iteration=pytest.fail), whole)
    with pytest.raises(OtherFitError, match=r"penalty is 0\.2 there and 0\.3 here"):
        fit_factorization(split, replace(FORMS[form], penalty=0.3), 7, checkpoint=path)


def test_the_revealed_words_do_not_matter():
    """The baseline is static: only a user's observed part is read."""
    split = split_corpus(random_corpus(seed=6))
    model = fit_factorization(split, SMALL, 1)
    words = split.corpus.words.copy()
    words[split.held_out] = words[split.held_out][::-1]
    other = Split(
        Corpus(words, split.corpus.offsets, split.corpus.vocabulary),
        split.observed,
        split.n_observed,
        split.development,
    )
    np.testing.assert_array_equal(collect(model, split), collect(model, other))


def test_what_cannot_be_is_refused():
    for options in (
        {"n_factors": 0},
        {"penalty": 0.0},
        {"zero_weight": 1.0},
        {"temperature": 0.0},
        {"temperature": "high"},
    ):
        with pytest.raises(InputError, match=f"^{next(iter(options))} is"):
            FactorizationConfig(**options)
    with pytest.raises(InputError, match="development"):
        fit_factorization(split_corpus(random_corpus(), development=0), SMALL, 1)
    model = fit_factorization(split_corpus(random_corpus()), SMALL, 1)
    with pytest.raises(InputError, match="corpus: 5 words, but the model has 12"):
        model.score(split_corpus(CORPUS))
    split = split_corpus(random_corpus())
    with pytest.raises(NumericalError, match="probabilities of 0 or NaN; give a larger penalty"):
        fit_factorization(split, FactorizationConfig(n_factors=30, penalty=1e-20), 1)
