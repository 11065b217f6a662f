"""Intervals against mathematics: coverage, degenerate cases, pairing, a plain loop."""

import random
from statistics import fmean
from time import perf_counter

import numpy as np
import pytest
from scipy import stats

from experiments.claims.bootstrap import (
    N_RESAMPLES,
    bootstrap_interval,
    resample_sums,
    student_interval,
)
from lla.common.errors import InputError


def perplexities(scores, counts):
    """(..., S) of (..., S) sums of log-probabilities and (...,) counts."""
    return np.exp(-scores / counts[..., None])


def interval_of(lower, higher, counts, seed=0, n_resamples=N_RESAMPLES):
    """The interval for scores (S, D) and (T, D) of two models on documents of (D,) words."""
    rng = np.random.default_rng(seed)
    sums = resample_sums(np.concatenate([lower, higher, counts[None]]), n_resamples, rng)
    resampled = np.split(sums[:, :-1], [len(lower)], axis=1)
    n_words = counts.sum(dtype=float)
    return bootstrap_interval(
        perplexities(lower.sum(axis=1), n_words),
        perplexities(higher.sum(axis=1), n_words),
        *(perplexities(part, sums[:, -1]) for part in resampled),
        n_documents=len(counts),
        rng=rng,
    )


def simulate(rng, n_seeds, n_documents, *, seed_spread=0.0, document_spread=0.1, gain=0.05):
    """Scores of two models: log-perplexity differs by `gain` in the mean, varies by both."""
    counts = rng.integers(20, 60, n_documents)
    difficulty = rng.normal(7, 1, n_documents)  # common to both, far larger than their difference
    of_seeds = rng.normal(gain, seed_spread, (n_seeds, 1))
    of_documents = rng.normal(0, document_spread, n_documents)
    higher = -counts * np.broadcast_to(difficulty, (n_seeds, n_documents))
    lower = higher + counts * (of_seeds + of_documents)
    return lower, higher, counts


@pytest.mark.parametrize(
    ("n_seeds", "seed_spread", "document_spread"),
    [(1, 0.0, 0.3), (3, 0.0, 0.3), (3, 0.03, 0.0), (3, 0.03, 0.3), (8, 0.02, 0.2)],
    ids=["one seed", "documents alone", "seeds alone", "both", "many seeds"],
)
def test_the_interval_covers_the_truth_as_often_as_it_says(n_seeds, seed_spread, document_spread):
    rng, hits, n_trials = np.random.default_rng(1), 0, 300
    spreads = {"seed_spread": seed_spread, "document_spread": document_spread}
    for trial in range(n_trials):
        found = interval_of(*simulate(rng, n_seeds, 80, **spreads), seed=trial, n_resamples=400)
        hits += found.low < 1 - np.exp(-0.05) < found.high
    assert 0.90 < hits / n_trials < 0.99


def test_without_a_correction_three_seeds_would_not_do():
    """The plain percentile interval of three seeds lies between the least and the largest."""
    lower, higher, counts = simulate(
        np.random.default_rng(2), 3, 50, seed_spread=0.02, document_spread=0
    )
    found = interval_of(lower, higher, counts)
    n_words = counts.sum(dtype=float)
    by_seed = [perplexities(scores.sum(axis=1), n_words) for scores in (lower, higher)]
    student = student_interval(*by_seed)
    assert found.high - found.low == pytest.approx(student.high - student.low, rel=0.25)
    reductions = 1 - by_seed[0] / by_seed[1]
    assert found.low < reductions.min() and reductions.max() < found.high


def test_a_difficulty_common_to_both_models_does_not_widen_the_interval():
    rng = np.random.default_rng(3)
    counts = rng.integers(20, 60, 100)
    higher = -7.0 * counts * np.ones((3, 1))
    lower = higher + counts * rng.normal(0.05, 0.02, (3, 100))
    shift = counts * rng.normal(0, 2, 100)
    easy, hard = (
        interval_of(lower, higher, counts),
        interval_of(lower + shift, higher + shift, counts),
    )
    assert hard.high - hard.low < 1.5 * (easy.high - easy.low)
    apart = interval_of(lower + rng.permutation(shift), higher + shift, counts)
    assert apart.high - apart.low > 10 * (hard.high - hard.low)


def test_a_spread_of_seeds_common_to_both_models_does_not_widen_the_interval():
    rng = np.random.default_rng(4)
    lower, higher, counts = simulate(rng, 3, 100)
    luck = counts * np.array([[-0.5], [0.0], [0.5]])
    calm, paired = (
        interval_of(lower, higher, counts),
        interval_of(lower + luck, higher + luck, counts),
    )
    assert (paired.low, paired.high) == pytest.approx((calm.low, calm.high), abs=1e-3)


@pytest.mark.parametrize("n_seeds", [1, 3])
def test_equal_models_differ_by_nothing(n_seeds):
    _, scores, counts = simulate(np.random.default_rng(5), n_seeds, 40)
    found = interval_of(scores, scores, counts)
    assert (found.estimate, found.low, found.high) == pytest.approx((0, 0, 0), abs=1e-12)


def test_one_document_and_one_seed_are_a_point_and_one_document_leaves_the_seeds():
    counts = np.array([10])
    found = interval_of(np.array([[-50.0]]), np.array([[-60.0]]), counts)
    assert found.low == found.high == found.estimate == pytest.approx(1 - np.exp(-1.0))
    found = interval_of(np.array([[-50.0], [-51.0]]), np.array([[-60.0], [-60.0]]), counts)
    assert found.low < found.estimate < found.high


def test_a_model_that_draws_nothing_has_one_seed():
    lower, higher, counts = simulate(np.random.default_rng(6), 3, 60, seed_spread=0.02)
    once, repeated = interval_of(lower, higher[:1], counts), interval_of(lower, higher, counts)
    assert once.estimate == pytest.approx(repeated.estimate)
    assert (once.low, once.high) == pytest.approx((repeated.low, repeated.high), rel=0.1)


def test_seeds_that_do_not_pair_are_drawn_apart():
    rng = np.random.default_rng(7)
    lower, higher, counts = simulate(rng, 4, 60)
    luck = counts * np.array([[-0.05], [0.05], [0.02], [-0.02]])
    paired = interval_of(lower + luck, higher + luck, counts)
    apart = interval_of((lower + luck)[:3], higher + luck, counts)
    assert apart.high - apart.low > 1.5 * (paired.high - paired.low)


def test_a_plain_loop_finds_the_same_interval():
    """Everything written out once more, with Python's own random numbers."""
    lower, higher, counts = simulate(np.random.default_rng(8), 3, 40, seed_spread=0.02)
    draw, n_seeds, n_documents = random.Random(1), 3, 40

    def log_ratio(seeds, documents):
        n = sum(int(counts[d]) for d in documents)
        ratios = []
        for s in seeds:
            of_lower, of_higher = (sum(m[s][d] for d in documents) for m in (lower, higher))
            ratios.append(np.exp(-of_lower / n) / np.exp(-of_higher / n))
        return float(np.log(fmean(ratios)))

    everyone = log_ratio(range(n_seeds), range(n_documents))
    parts = []
    for _ in range(3000):
        documents = [draw.randrange(n_documents) for _ in range(n_documents)]
        seeds = [draw.randrange(n_seeds) for _ in range(n_seeds)]
        of_documents = log_ratio(range(n_seeds), documents)
        parts.append((of_documents - everyone, log_ratio(seeds, documents) - of_documents))
    by_documents = np.sqrt(40 / 39) * np.array([part[0] for part in parts])
    by_seeds = np.sqrt(3 / 2) * np.array([part[1] for part in parts])
    variances = by_documents.var(), by_seeds.var()
    freedom = sum(variances) ** 2 / (variances[0] ** 2 / 39 + variances[1] ** 2 / 2)
    factor = stats.t.ppf(0.975, freedom) / stats.norm.ppf(0.975)
    low, high = np.quantile(factor * (by_documents + by_seeds), [0.025, 0.975])
    found = interval_of(lower, higher, counts)
    assert found.estimate == pytest.approx(1 - np.exp(everyone))
    width = found.high - found.low
    assert found.low == pytest.approx(1 - np.exp(everyone + high), abs=0.1 * width)
    assert found.high == pytest.approx(1 - np.exp(everyone + low), abs=0.1 * width)


def test_resampled_sums_are_sums_over_as_many_documents():
    values = np.stack([np.ones(30), np.arange(30.0)])
    sums = resample_sums(values, 500, np.random.default_rng(1))
    assert sums.shape == (500, 2) and (sums[:, 0] == 30).all()
    assert sums[:, 1].mean() == pytest.approx(values[1].sum(), rel=0.02)
    # A sum of n draws has n times the variance of one.
    assert sums[:, 1].var() == pytest.approx(30 * values[1].var(), rel=0.2)


@pytest.mark.parametrize("shape", [(0, 3), (2, 0), (4,)])
def test_nothing_to_resample_is_refused(shape):
    with pytest.raises(InputError, match="give \\(M, D\\)"):
        resample_sums(np.ones(shape), 10, np.random.default_rng(1))


def test_resamples_without_anything_to_count_are_left_out():
    lower, higher = np.array([2.0]), np.array([4.0])
    some = np.array([[2.0], [np.nan], [2.1]])
    found = bootstrap_interval(
        lower, higher, some, 2 * some, n_documents=3, rng=np.random.default_rng(1)
    )
    assert found.estimate == found.low == found.high == pytest.approx(0.5)
    with pytest.raises(InputError, match="none is finite"):
        bootstrap_interval(
            lower, higher, some[1:2], some[1:2], n_documents=3, rng=np.random.default_rng(1)
        )


def test_student_s_interval_by_hand():
    """Ratios 0.9, 0.8, 0.7: t of 2 degrees of freedom is 4.303."""
    found = student_interval(np.array([9.0, 8.0, 7.0]), np.full(3, 10.0))
    logs = np.log([0.9, 0.8, 0.7])
    half = 4.3027 * logs.std(ddof=1) / np.sqrt(3)
    assert found.estimate == pytest.approx(0.2)
    assert found.low == pytest.approx(1 - 0.8 * np.exp(half), abs=1e-4)
    assert found.high == pytest.approx(1 - 0.8 * np.exp(-half), abs=1e-4)
    assert student_interval(np.array([1.0]), np.array([2.0])) is None


def test_the_same_seed_gives_the_same_interval_and_it_takes_a_moment():
    data = simulate(np.random.default_rng(9), 3, 2200, seed_spread=0.01)
    start = perf_counter()
    first = interval_of(*data)
    assert perf_counter() - start < 5  # a third of a second on a machine that is idle
    assert first == interval_of(*data)
    assert first != interval_of(*data, seed=1)
