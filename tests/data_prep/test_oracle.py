"""The oracle against all hidden paths written out, against what it drew, and against models."""

from dataclasses import replace

import numpy as np
import pytest
from enumeration import LEVEL, p_value
from hidden_paths import emission, leaf_masses
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from data_prep.clicks import kernels
from data_prep.clicks.oracle import (
    forward_pass,
    leaves_ahead,
    next_items,
    score_oracle,
    topics_ahead,
)
from data_prep.clicks.simulate import draw_histories, simulate_clicks, world_of
from data_prep.clicks.world import HOTELS, SMOKE, TRACE, ClickConfig, make_world
from lla.common.errors import InputError
from lla.corpus import Corpus, Split, split_corpus
from lla.evaluate.perplexity import perplexity
from lla.lda import LDAConfig, fit_lda
from lla.peers.counts import fit_bigram, fit_cache_unigram, fit_unigram
from lla.peers.ddlda import DDLDAConfig, fit_ddlda

TREE = {
    "travel": (2.0, {"flights": (), "hotels": (), "sights": ("map.example",)}),
    "social": (1.5, {"friends": ("map.example",)}),
}
TINY = ClickConfig(
    *(3, 5, 5, 8, 2),
    **{"shared": 0.5, "max_dwell": 3, "habit": 1.5, "within": 0.6, "seed": 3},
)


# ----------------------------------------------------------------------- all hidden paths


def check_against_all_paths(world, words, steps=2):
    """Evidence, leaves, leaves ahead and the last event's item probabilities of one history."""
    mass = leaf_masses(world, words, len(words) + steps)
    leaf = mass / mass.sum(axis=1, keepdims=True)
    leaves = range(len(world.leaves))

    def probability(t, w):
        return sum(leaf[t, k] * emission(world, words[:t], w, k) for k in leaves)

    corpus = Corpus.from_documents([words], world.vocabulary)
    log_evidence, found = forward_pass(world, corpus, 1)
    expected = [np.log(probability(t, w)) for t, w in enumerate(words)]
    np.testing.assert_allclose(log_evidence, expected, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(found, leaf[: len(words)], rtol=1e-8, atol=1e-12)
    ahead = leaves_ahead(world, corpus, steps, 1)
    np.testing.assert_allclose(ahead[-1], leaf[len(words) :], rtol=1e-8, atol=1e-12)
    np.testing.assert_allclose(ahead[:-1, 0], found[1:], rtol=1e-9, atol=1e-12)
    out = np.empty((1, len(world.vocabulary)))
    phi = np.ascontiguousarray(world.phi.T)
    last = len(words) - 1
    kernels.item_probabilities(corpus.words, last, found, phi, world.rho, world.habit, out)
    items = range(len(world.vocabulary))
    np.testing.assert_allclose(out[0], [probability(last, w) for w in items], rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize("seed", range(4))
def test_the_oracle_is_the_sum_over_all_paths(seed):
    world = make_world(replace(TINY, seed=seed), TREE)
    words, _, lengths = draw_histories(world)
    for history in np.split(words, np.cumsum(lengths)[:-1]):
        check_against_all_paths(world, history.tolist())


@settings(max_examples=40, deadline=None)
@given(
    st.builds(
        ClickConfig,
        n_users=st.just(1),
        min_events=st.integers(1, 3),
        max_events=st.just(3),
        n_items=st.integers(7, 9),
        n_types=st.integers(1, 2),
        preference=st.floats(0.1, 5),
        within=st.floats(0.1, 0.9),
        hotel_pull=st.floats(0.1, 1),
        shared=st.floats(0, 1),
        zipf=st.floats(0, 2),
        min_repeat=st.floats(0, 0.5),
        max_repeat=st.floats(0.5, 1),
        habit=st.floats(0, 5),
        max_dwell=st.integers(1, 3),
        seed=st.integers(0, 10**6),
    )
)
def test_forward_pass_agrees_with_enumeration_for_any_configuration(config):
    world = make_world(config, TREE)
    check_against_all_paths(world, draw_histories(world)[0].tolist(), steps=1)


def test_the_probabilities_of_all_histories_sum_to_one():
    world = make_world(replace(TINY, seed=1), TREE)
    n = len(world.vocabulary)
    pairs = [[a, b] for a in range(n) for b in range(n)]
    total = 0.0
    for pair in pairs:
        try:
            corpus = Corpus.from_documents([pair], world.vocabulary)
            total += np.exp(forward_pass(world, corpus, 1)[0].sum())
        except InputError:  # impossible, as a flight and a hotel side by side
            continue
    assert total == pytest.approx(1, rel=1e-12)


# --------------------------------------------------------------------------- calibration


@pytest.fixture(scope="module")
def stream():
    """Simulated users, split; their true leaves; and what the oracle says of every event."""
    config = replace(SMOKE, n_users=400, max_dwell=10, seed=7)
    corpus, leaves = simulate_clicks(config)
    split = split_corpus(corpus)
    return split, leaves, world_of(corpus)


def predictions(world, split):
    """p(w_t | w_<t) of all held-out events in their order, (n, V)."""
    rows = []
    next_items(world, split, lambda positions, scores: rows.append((positions, scores)))
    positions = np.concatenate([part for part, _ in rows])
    np.testing.assert_array_equal(positions, np.flatnonzero(split.held_out))
    return np.concatenate([scores for _, scores in rows])


def surprise(p, words):
    """z of Σ log p(w_t) against -Σ entropy: martingale differences, if p is the truth."""
    log_p = np.log(np.where(p > 0, p, 1.0).astype(np.float64))
    mean = (p * log_p).sum(axis=1)
    variance = (p * (log_p - mean[:, None]) ** 2).sum()
    return (log_p[np.arange(len(p)), words] - mean).sum() / np.sqrt(variance)


def rank_p_value(p, words, bins=20):
    """Of the chi-square test that the items' place by falling probability is as p says."""
    order = np.argsort(-p, axis=1)
    place = np.argmax(order == words[:, None], axis=1)
    running = np.cumsum(np.take_along_axis(p, order, axis=1), axis=1, dtype=np.float64)
    rows = np.arange(len(p))
    own = p[rows, words]
    uniform = np.random.Generator(np.random.Philox(1)).random(len(p))
    value = running[rows, place] - own * uniform
    counts = np.bincount((value * bins).astype(int).clip(0, bins - 1), minlength=bins)
    return p_value(counts, np.full(bins, 1 / bins))


def test_event_frequencies_match_the_oracle(stream):
    split, _, world = stream
    words = split.corpus.words[split.held_out]
    p = predictions(world, split)
    np.testing.assert_allclose(p.sum(axis=1, dtype=np.float64), 1, rtol=1e-5)
    log_p = np.zeros(split.corpus.n_tokens)
    log_p[split.held_out] = np.log(p[np.arange(len(p)), words])
    np.testing.assert_allclose(split.sum_held_out(log_p), score_oracle(world, split), rtol=1e-5)
    limit = stats.norm.isf(LEVEL / 2)
    assert abs(surprise(p, words)) < limit and rank_p_value(p, words) > LEVEL
    wrong = predictions(replace(world, rho=world.rho * 0.5), split)
    assert abs(surprise(wrong, words)) > limit and rank_p_value(wrong, words) < LEVEL, "it can fail"


def test_leaf_frequencies_match_the_oracle(stream):
    split, leaves, world = stream
    _, p = forward_pass(world, split.corpus)
    np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-9)
    came = leaves[:, None] == np.arange(20)
    z = (came - p).sum(axis=0) / np.sqrt((p * (1 - p)).sum(axis=0))
    assert (abs(z) < stats.norm.isf(LEVEL / 40)).all()
    steps = 4
    ahead = leaves_ahead(world, split.corpus, steps)
    # Four events on, errors of one user hang together: users are what is counted.
    document = np.repeat(np.arange(split.corpus.n_documents), split.corpus.lengths)
    inside = document[steps:] == document[:-steps]
    error = (came[steps:] - ahead[:-steps, steps - 1])[inside]
    for k in range(20):
        by_user = np.bincount(document[steps:][inside], error[:, k])
        assert abs(by_user.sum()) < stats.norm.isf(LEVEL / 40) * np.sqrt((by_user**2).sum())


def test_no_other_truth_predicts_better(stream):
    """Every part of the world counts: without it, the same events are less likely."""
    split, _, world = stream
    best = score_oracle(world, split)
    r = np.arange(1, world.dwell.shape[1] + 1)
    mean = world.dwell @ r
    geometric = (1 - 1 / mean[:, None]) ** r
    others = {
        "no repeats": {"rho": 0 * world.rho},
        "Markov": {"dwell": geometric / geometric.sum(axis=1, keepdims=True)},
        "one type": {
            "transition": np.broadcast_to(world.transition.mean(0), world.transition.shape)
        },
        "no habit": {"habit": 0 * world.habit},
    }
    for name, change in others.items():
        gain = best - score_oracle(replace(world, **change), split)
        assert gain.sum() > 3 * np.sqrt(len(gain)) * gain.std(), name


def test_the_oracle_beats_every_baseline(stream):
    split, _, world = stream
    lda = fit_lda(split, LDAConfig(n_topics=20, beta=0.05, n_sweeps=60), seed=1)
    near = fit_ddlda(split, DDLDAConfig(n_topics=20, n_sweeps=10), 1, start=lda.topics)
    scores = {
        "unigram": fit_unigram(split).score(split),
        "cache": fit_cache_unigram(split).score(split),
        "bigram": fit_bigram(split).score(split),
        "LDA": lda.score(split, seed=1, update=False),
        "LDA, updated": lda.score(split, seed=1),
        "ddLDA": near.score(split, seed=1),
    }
    found = {name: perplexity(s, split, split.reported) for name, s in scores.items()}
    oracle = perplexity(score_oracle(world, split), split, split.reported)
    assert oracle < 0.7 * min(found.values()), found
    assert found["LDA, updated"] < 0.9 * found["unigram"], "topics"
    assert found["cache"] < 0.9 * found["unigram"], "favourites"
    assert found["bigram"] < 0.9 * found["unigram"], "order"


# ------------------------------------------------------------------- histories by hand


WORLD = make_world(ClickConfig())


def test_after_flights_hotels_become_likelier_later():
    hotels, flights = WORLD.leaves.index(HOTELS), WORLD.leaves.index("travel/flights")
    items = [WORLD.vocabulary[w] for w in np.argsort(-WORLD.phi[:, flights])]
    only = [i for i in items if np.count_nonzero(WORLD.phi[WORLD.vocabulary.index(i)]) == 1]
    ahead = topics_ahead(WORLD, only[:4], 30)
    np.testing.assert_allclose(ahead.sum(axis=1), 1, rtol=1e-9)
    assert ahead[0, hotels] == 0, "not at once"
    assert ahead[:, hotels].argmax() > 3 and ahead[:, hotels].max() > 0.2
    assert ahead[0, flights] > 0.3 and ahead[:, flights].min() < ahead[0, flights] / 3
    assert (topics_ahead(WORLD, ["hotels.example"], 1)[0, hotels]) > 0.5
    for later in ("hotels.example", "flights.example"):
        between = [only[0], *(later == "flights.example") * ["friends.example"], later]
        with pytest.raises(InputError, match=f"event {len(between) - 1}: '{later}' is impossible"):
            topics_ahead(WORLD, between, 1)


def test_the_trace_of_the_paper_can_be_scored():
    ahead = topics_ahead(WORLD, TRACE, 5)
    first = [WORLD.leaves[k] for k in np.argsort(-ahead[0])]
    assert first[0] == "home improvement/tools"
    stays = ahead[:, [leaf.startswith("home") for leaf in WORLD.leaves]].sum(axis=1)
    assert (stays > 0.5).all()
    ambiguous = topics_ahead(WORLD, ["pinterest.com"], 1)[0]
    assert (ambiguous > 0.05).sum() >= 3


# ------------------------------------------------------------ threads, plain Python, errors


def test_two_threads_give_identical_results(stream):
    split, _, world = stream
    for one, two in zip(*(forward_pass(world, split.corpus, n) for n in (1, 2)), strict=True):
        np.testing.assert_array_equal(one, two)


def run_kernels(world, words, plain):
    """The forward pass and the last event's items, kernels compiled or as plain Python."""
    n_leaves = len(world.leaves)
    leaf, log_evidence = np.empty((len(words), n_leaves)), np.empty(len(words))
    ahead, out = np.empty((len(words), 2, n_leaves)), np.empty((1, len(world.vocabulary)))
    arrays = (world.initial, world.transition, world.dwell, world.node_leaf)
    habit, phi = world.habit, np.ascontiguousarray(world.phi.T)
    forward, items = kernels.forward_history, kernels.item_probabilities
    if plain:
        forward, items = forward.py_func, items.py_func
    forward(words, *arrays, world.phi, world.rho, habit, leaf, log_evidence, ahead)
    items(words, len(words) - 1, leaf, phi, world.rho, habit, out)
    return leaf, log_evidence, ahead, out


def test_compiled_as_plain_python(monkeypatch):
    world = make_world(TINY, TREE)
    words = Corpus.from_documents([draw_histories(world)[0][:5]], world.vocabulary).words
    compiled = run_kernels(world, words, plain=False)
    for name in ("start", "advance", "leaf_mass", "emit", "remember"):
        monkeypatch.setattr(kernels, name, getattr(kernels, name).py_func)
    for one, two in zip(compiled, run_kernels(world, words, plain=True), strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-12, atol=1e-15)


def test_a_user_with_one_event_and_a_split_without_held_out_ones():
    world = make_world(replace(TINY, seed=1), TREE)
    split = split_corpus(Corpus.from_documents([[0], [1]], world.vocabulary))
    assert score_oracle(world, split).tolist() == [0, 0]
    next_items(world, split, lambda *_: pytest.fail("nothing is held out"))


def test_unsupported_oracle_queries_are_refused(stream):
    split, _, world = stream
    with pytest.raises(InputError, match="are not in the order of the corpus"):
        score_oracle(make_world(world.config), split)
    with pytest.raises(InputError, match="the history is empty"):
        topics_ahead(world, [], 1)
    with pytest.raises(InputError, match="'néw\\\\t' is no item of this world"):
        topics_ahead(world, ["zola.com", "néw\t"], 1)
    with pytest.raises(InputError, match="steps is 0: give 1 or more"):
        topics_ahead(world, ["zola.com"], 0)
    bad = Corpus.from_documents(
        [[0], [world.vocabulary.index(x) for x in ("flights.example", "hotels.example")]],
        world.vocabulary,
    )
    n = np.array([1, 1])
    with pytest.raises(InputError, match=r"user 1, event 1: 'hotels\.example' is impossible"):
        score_oracle(world, Split(bad, bad, n, np.array([False, False])))
