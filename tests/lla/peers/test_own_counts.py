"""Own counts mixed into a model: the formula, its degenerate cases, and how it is tuned."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simulated import random_corpus, sticky_split
from small_sem import SMALL

from lla.common.errors import InputError, NumericalError
from lla.corpus import Corpus, Split, split_corpus
from lla.evaluate import Size
from lla.evaluate.perplexity import perplexity
from lla.evaluate.probabilities import realised_probabilities
from lla.evaluate.ranking import metrics, rank_held_out
from lla.lda import LDAConfig, fit_lda
from lla.peers.autoencoder import AutoencoderConfig, fit_autoencoder
from lla.peers.counts import (
    Bigram,
    CacheUnigram,
    Popular,
    Unigram,
    count_pairs,
    fit_bigram,
    fit_unigram,
    unigram_probability,
)
from lla.peers.ddlda import DDLDAConfig, fit_ddlda
from lla.peers.own_counts import (
    HALF_LIVES,
    OwnCounts,
    OwnCountsConfig,
    fit_own_counts,
    mix_own_counts,
    own_weights,
)
from lla.peers.sasrec import SASRecConfig, fit_sasrec
from lla.peers.sequence import GRU4RecConfig, fit_gru4rec
from lla.sem import fit_sem

V = 12


@pytest.fixture(scope="module")
def split():
    """Users of 1 to 30 events, some of them without a held-out one."""
    return split_corpus(random_corpus(25, V, longest=30, seed=2), development=0.2)


def fit(name, split):
    """A fitted model of each kind that is compared."""
    lda = fit_lda(split, LDAConfig(3, n_sweeps=3), 1)
    sem = SMALL.replace(n_topics=3, n_iterations=1)
    fits = {
        "bigram": lambda: Bigram(count_pairs(split), unigram_probability(split), 3.0),
        "lda": lambda: lda,
        "ddlda": lambda: fit_ddlda(split, DDLDAConfig(3, scale=4.0, n_sweeps=3), 0),
        "autoencoder": lambda: fit_autoencoder(split, AutoencoderConfig(8, 4, n_epochs=2), 0),
        "gru4rec": lambda: fit_gru4rec(split, GRU4RecConfig(embedding_size=4, n_epochs=2), 0),
        "sasrec": lambda: fit_sasrec(split, SASRecConfig(hidden_size=4, n_epochs=2), 0),
        "topic_lla": lambda: fit_sem(split, sem, 1, start=lda.topics),
        "personal_lla": lambda: fit_sem(
            split, sem.replace(emission="personal"), 1, start=lda.topics
        ),
        "word_lstm": lambda: fit_sem(split, sem.replace(model="word_lstm"), 1),
    }
    return fits[name]()


MODELS = (
    *("bigram", "lda", "ddlda", "autoencoder", "gru4rec", "sasrec"),
    *("topic_lla", "personal_lla", "word_lstm"),
)


def collect(fitted, split, **options):
    """Rows of every held-out position, each handed over once."""
    rows = {}

    def visit(positions, scores):
        assert not rows.keys() & set(positions.tolist())
        rows.update(zip(positions.tolist(), scores.copy(), strict=True))

    fitted.next_items(split, visit, **options)
    return rows


def by_hand(p, concentration, half_life, history):
    """(m_v + c p_v)/(m + c), (V,), as the formula has it."""
    weight = np.zeros(len(p))
    for age, item in enumerate(reversed(history)):
        weight[item] += 1.0 if half_life is None else 2 ** (-age / half_life)
    return (weight + concentration * p) / (weight.sum() + concentration)


@pytest.mark.parametrize("name", MODELS)
def test_rows_and_scores_are_the_formula_for_every_model(split, name):
    model = fit(name, split)
    rows = collect(model, split, seed=3)
    mixed = OwnCounts(model, concentration=2.5, half_life=3.0)
    found, expected = collect(mixed, split, seed=3), np.zeros(split.corpus.n_documents)
    assert sorted(found) == np.flatnonzero(split.held_out).tolist()
    for d in range(split.corpus.n_documents):
        words, first = split.corpus.document(d).tolist(), split.corpus.offsets[d]
        for t in range(split.n_observed[d], len(words)):
            p = rows[first + t].astype(np.float64)
            if name in ("autoencoder", "gru4rec", "sasrec"):
                p = np.exp(p - np.logaddexp.reduce(p))
            row = by_hand(p, 2.5, 3.0, words[:t])
            np.testing.assert_allclose(found[first + t], row, rtol=1e-9)
            assert found[first + t].sum() == pytest.approx(1, rel=1e-5)
            expected[d] += math.log(row[words[t]])
    np.testing.assert_allclose(mixed.score(split, seed=3), expected, rtol=1e-9, atol=1e-12)


@settings(max_examples=25, deadline=None)
@given(
    st.integers(0, 200),
    st.floats(1e-3, 1e4),
    st.one_of(st.none(), st.floats(0.05, 1e3)),
    st.floats(0.1, 0.9),
)
def test_a_unigram_with_own_counts_is_personalised_most_popular(
    seed, concentration, half_life, observed
):
    split = split_corpus(random_corpus(8, seed=seed), observed)
    p = unigram_probability(split)
    mixed = OwnCounts(Unigram(p), concentration, half_life)
    popular = Popular(p, concentration, half_life)
    np.testing.assert_allclose(mixed.score(split), popular.score(split), rtol=1e-6, atol=1e-12)
    rows, expected = collect(mixed, split), collect(popular, split)
    for position, row in rows.items():  # the unigram's rows are in 32 bits
        np.testing.assert_allclose(row, expected[position], rtol=1e-5)


def test_counts_that_weigh_nothing_leave_the_model_and_a_model_that_weighs_nothing_the_counts(
    split,
):
    model = fit("bigram", split)
    none = OwnCounts(model, concentration=1e12).score(split)
    np.testing.assert_allclose(none, model.score(split), rtol=1e-6)
    rows = collect(OwnCounts(model, concentration=1e-12), split)
    for position, row in rows.items():
        d = np.searchsorted(split.corpus.offsets, position, side="right") - 1
        history = split.corpus.words[split.corpus.offsets[d] : position]
        counts = np.bincount(history, minlength=V) / len(history)
        np.testing.assert_allclose(row, counts, atol=1e-9)


@pytest.mark.parametrize("name", MODELS)
def test_ranks_are_those_of_the_mixed_rows(split, name):
    mixed = OwnCounts(fit(name, split), concentration=1.0, half_life=4.0)
    ranking = rank_held_out(lambda visit: mixed.next_items(split, visit), split)
    rows = collect(mixed, split)
    for position, best in zip(ranking.positions, ranking.best, strict=True):
        row = rows[position]
        assert best == 1 + (row > row[split.corpus.words[position]]).sum()


@pytest.mark.parametrize("name", ["bigram", "sasrec", "personal_lla"])
def test_predictions_do_not_depend_on_later_items(split, name):
    """The last held-out event of each user takes another item, and what predicted it stays."""
    model = fit(name, split)
    last = split.corpus.offsets[1:][split.n_held_out > 0] - 1
    words = split.corpus.words.copy()
    words[last] = (words[last] + 5) % V
    corpus = Corpus(words, split.corpus.offsets, split.corpus.vocabulary)
    other = Split(corpus, split.observed, split.n_observed, split.development)
    mixed = OwnCounts(model, concentration=1.0, half_life=2.0)
    before, after = collect(mixed, split), collect(mixed, other)
    assert all(np.array_equal(row, after[position]) for position, row in before.items())


def test_kernels_compiled_and_plain_agree():
    split = split_corpus(random_corpus(6))
    corpus = split.corpus
    for decay in (1.0, 0.7):
        found = np.empty((2, 2, corpus.n_tokens))
        for kernel, (own, total) in zip((own_weights, own_weights.py_func), found, strict=True):
            kernel(corpus.words, corpus.offsets, corpus.n_words, decay, own, total)
        np.testing.assert_allclose(*found, rtol=1e-12)
        positions = np.flatnonzero(split.held_out)[:5]
        first = corpus.offsets[np.searchsorted(corpus.offsets, positions, side="right") - 1]
        rows = np.tile(np.random.default_rng(0).dirichlet(np.ones(corpus.n_words)), (2, 5, 1))
        for kernel, out in zip((mix_own_counts, mix_own_counts.py_func), rows, strict=True):
            kernel(out, positions, first, corpus.words, decay, 2.5)
        np.testing.assert_allclose(*rows, rtol=1e-12)


# ------------------------------------------------------------------------------------- tuning


def returning(n_users=80, length=40, n_items=60, seed=0):
    """Users who keep to a few items of their own, and change them half-way."""
    draw = np.random.default_rng(seed)
    documents = [
        np.concatenate([draw.choice(draw.permutation(n_items)[:3], length // 4) for _ in range(4)])
        for _ in range(n_users)
    ]
    return split_corpus(Corpus.from_documents(documents, [f"i{v}" for v in range(n_items)]))


def development(model, split):
    return perplexity(model.score(split), split, split.development)


def test_what_is_tuned_is_as_good_on_development_as_any_of_a_grid():
    split = returning()
    model = fit_bigram(split)
    tuned = fit_own_counts(split, start=model)
    grid = {
        (c, h): development(OwnCounts(model, c, h), split)
        for c in np.geomspace(0.01, 1000, 21)
        for h in HALF_LIVES
    }
    assert development(tuned, split) < min(grid.values()) * 1.0001
    best = min(grid, key=grid.get)
    assert tuned.half_life == best[1] is not None, "recency matters here"
    assert 0.01 < best[0] < 1000, "neither the model alone nor the counts alone"


def test_own_counts_gain_where_users_return_and_cost_nothing_where_they_do_not():
    split = returning()
    model = fit_bigram(split)
    mixed = fit_own_counts(split, start=model)
    ours, plain = (perplexity(m.score(split), split) for m in (mixed, model))
    assert ours < 0.6 * plain
    ranked = [
        rank_held_out(lambda visit, m=m: m.next_items(split, visit), split) for m in (mixed, model)
    ]
    ours, plain = (metrics(ranking)["ndcg@10"] for ranking in ranked)
    assert ours > 1.3 * plain
    draw = np.random.default_rng(0)
    never = [draw.permutation(60)[:20] for _ in range(80)]
    split = split_corpus(Corpus.from_documents(never, [f"i{v}" for v in range(60)]))
    model = fit_unigram(split)
    mixed = fit_own_counts(split, start=model)
    ours, plain = (perplexity(m.score(split), split) for m in (mixed, model))
    assert ours < 1.001 * plain
    assert mixed.concentration > 1e5


def test_a_fixed_number_is_kept_and_the_other_is_chosen():
    split = returning(40)
    model = fit_unigram(split)
    half_life = fit_own_counts(split, OwnCountsConfig(concentration=3.0), start=model)
    assert half_life.concentration == 3.0
    values = {h: development(OwnCounts(model, 3.0, h), split) for h in HALF_LIVES}
    assert half_life.half_life == min(values, key=values.get)
    free = fit_own_counts(split, OwnCountsConfig(half_life=None), start=model)
    cache = [CacheUnigram(model.probability, c) for c in np.geomspace(0.1, 100, 30)]
    assert development(free, split) < min(development(m, split) for m in cache) * 1.0001
    fixed = fit_own_counts(split, OwnCountsConfig(2.0, 4.0), start=model)
    assert (fixed.concentration, fixed.half_life) == (4.0, 2.0)


def test_tuning_uses_development_users_only():
    """Other items in the reported users' held-out parts move nothing."""
    split = returning(60)
    words = split.corpus.words.copy()
    user = np.repeat(np.arange(split.corpus.n_documents), split.corpus.lengths)
    changed = split.held_out & split.reported[user]
    words[changed] = (words[changed] + 1) % 60
    corpus = Corpus(words, split.corpus.offsets, split.corpus.vocabulary)
    other = Split(corpus, split.observed, split.n_observed, split.development)
    one, two = (fit_own_counts(s, start=fit_bigram(s)) for s in (split, other))
    assert (one.concentration, one.half_life) == (two.concentration, two.half_life)


def test_the_model_is_asked_once_for_the_choice_and_the_scores(split):
    model, asked = fit("bigram", split), []

    class Counting:
        seconds = 2.0

        def next_items(self, split, on_scores, *, seed=0, **options):
            asked.append((seed, options))
            model.next_items(split, on_scores, seed=seed)

        def size(self):
            return Size(1, 2, 3)

    mixed = fit_own_counts(split, seed=5, start=Counting())
    mixed.score(split, seed=5)
    assert asked == [(5, {})]
    mixed.score(split, seed=5, n_particles=3)
    mixed.score(split, seed=5, n_particles=3)
    mixed.score(split, seed=6)
    assert asked[1:] == [(5, {"n_particles": 3}), (6, {})]
    part = split.restrict(split.reported)
    np.testing.assert_allclose(
        mixed.score(part, seed=6), mixed.score(split, seed=6)[split.reported], rtol=1e-12
    )
    assert mixed.size() == Size(1, 4, 11)
    assert mixed.seconds > 2.0 and mixed.history == []
    with pytest.raises(InputError, match="model is Counting, which has no fingerprint"):
        mixed.fingerprint()


def test_a_choice_is_read_back(split, tmp_path, monkeypatch):
    model = fit("topic_lla", split)
    file, scores = tmp_path / "own.safetensors", tmp_path / "scores.safetensors"
    first = fit_own_counts(split, None, 1, start=model, checkpoint=file)
    expected = first.score(split, seed=1, n_particles=4, checkpoint=scores)
    assert np.array_equal(expected, first.score(split, seed=1, n_particles=4))
    own = first.score(split, seed=1)
    with pytest.raises(InputError, match="holds another fit: it is of another model"):
        fit_own_counts(split, None, 1, start=fit("word_lstm", split), checkpoint=file)
    with pytest.raises(InputError, match="holds other scores"):
        OwnCounts(model, 7.0).score(split, seed=1, n_particles=4, checkpoint=scores)
    monkeypatch.setattr(type(model), "next_items", None)
    monkeypatch.setattr("lla.peers.own_counts.check_fitted", lambda *_: None)
    again = fit_own_counts(split, None, 1, start=model, checkpoint=file)
    assert (again.concentration, again.half_life) == (first.concentration, first.half_life)
    assert again.seconds == first.seconds
    assert np.array_equal(again.score(split, seed=1), own)
    read = again.score(split, seed=1, n_particles=4, checkpoint=scores)
    assert np.array_equal(read, expected)


def test_a_model_without_a_fingerprint_leaves_no_file(split, tmp_path):
    fit_own_counts(split, start=fit("bigram", split), checkpoint=tmp_path / "own.safetensors")
    assert not list(tmp_path.iterdir())


# -------------------------------------------------------------------------------------- faults


class Given:
    """Hands over the same row for all held-out events."""

    seconds, history = 0.0, ()

    def __init__(self, row, gives_logits=False, times=1):
        self.row, self.gives_logits, self.times = np.array(row), gives_logits, times

    def next_items(self, split, on_scores, *, seed=0):
        positions = np.flatnonzero(split.held_out)
        for _ in range(self.times):
            on_scores(positions, np.tile(self.row, (len(positions), 1)))


def tiny():
    corpus = Corpus.from_documents([[0, 0, 1, 2], [1, 1, 0, 0]], "abc")
    return split_corpus(corpus, 0.5, development=0.5)


def test_logits_are_made_probabilities():
    logits = np.array([-900.0, 3.0, 2.0])
    found = realised_probabilities(Given(logits, gives_logits=True), tiny())
    p = np.exp(logits - 3) / np.exp(logits - 3).sum()
    assert found[tiny().held_out].tolist() == pytest.approx(p[[1, 2, 0, 0]].tolist(), abs=1e-300)
    assert np.isnan(found[~tiny().held_out]).all()


@pytest.mark.parametrize(
    ("model", "error", "message"),
    [
        (Given([0.5, 0.6, 0.2]), InputError, "fitted: its next_items hands over no probabilities"),
        (Given([1.5, -0.5, 0.0]), InputError, "fitted: its next_items hands over no probabilities"),
        (Given([0.5, np.nan, 0.5]), NumericalError, "fitted: its scores have NaN"),
        (Given([0.5, np.nan, 0.5], True), NumericalError, "fitted: its scores have NaN"),
        (Given([0.5, 0.5, 0.0], times=0), InputError, "event 2 was handed over 0 times"),
        (Given([0.5, 0.5, 0.0], times=2), InputError, "event 2 was handed over 2 times"),
        (Given([0.5, 0.5, 0.0]), NumericalError, "model: it gives event 3 probability 0"),
        ("sasrec", InputError, "model is 'sasrec': give a fitted model"),
    ],
)
def test_what_cannot_be_mixed_is_named(model, error, message):
    with pytest.raises(error, match=f"^{message}"):
        OwnCounts(model, 1.0).score(tiny())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"half_life": "long"}, "half_life is 'long': give a number, 'tuned' or None"),
        ({"half_life": 0}, "half_life is 0: give a number above 0"),
        ({"concentration": -1.0}, "concentration is -1.0: give a number above 0"),
    ],
)
def test_invalid_options_are_refused(options, message):
    with pytest.raises(InputError, match=f"^{message}"):
        OwnCountsConfig(**options)


def test_a_split_without_development_events_needs_both_numbers():
    corpus = sticky_split(4, V, 6, 8)[0].corpus
    split = split_corpus(corpus, development=0)
    with pytest.raises(InputError, match=r"^development: this split has no document to decide"):
        fit_own_counts(split, start=fit_unigram(split))
    fixed = fit_own_counts(split, OwnCountsConfig(1.0, 2.0), start=fit_unigram(split))
    assert np.isfinite(fixed.score(split)).all()


def test_a_network_and_its_own_counts_are_told_from_others(split):
    def fitted(seed):
        return fit_gru4rec(split, GRU4RecConfig(embedding_size=4, n_epochs=1), seed)

    one, same, other = fitted(0), fitted(0), fitted(1)
    assert one.fingerprint() == same.fingerprint() != other.fingerprint()
    own = [
        OwnCounts(one, 1.0),
        OwnCounts(same, 1.0),
        OwnCounts(one, 1.0, 2.0),
        OwnCounts(other, 1.0),
    ]
    prints = [mixed.fingerprint() for mixed in own]
    assert prints[0] == prints[1] and len(set(prints)) == 3
