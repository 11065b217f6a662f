"""The next item and the topics ahead: against all histories, and the passes over a corpus."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from served import ITEMS, KINDS, TAU, VARIANTS, K, V, exact, model

from lla.common.parallel import thread_pool
from lla.common.random import StreamId
from lla.corpus import Corpus
from lla.inference import session as session_module
from lla.inference.filter import FilterConfig, infer

WORDS = [2, 0, 2, 1]
HISTORY = [ITEMS[w] for w in WORDS]
LONG = np.random.default_rng(1).integers(V, size=60)


def next_word(asked, history, **options):
    return asked.session(history, **options).probabilities()


# ----------------------------------------------------------------- against all histories


@pytest.mark.parametrize(("kind", "tau"), VARIANTS[:4])
def test_many_particles_find_the_exact_next_item(kind, tau):
    truth, _ = exact(kind, tau, WORDS)
    ours = next_word(model(kind, tau), HISTORY, n_particles=20_000)
    np.testing.assert_allclose(ours, truth, atol=0.01)
    blind, _ = exact(kind, tau, [])
    assert abs(truth - blind).max() > 0.1, "or the history would not be seen to matter"


def test_personal_and_shared_emissions_differ():
    for kind in ("topic", "word"):
        assert abs(exact(kind, TAU, WORDS)[0] - exact(kind, None, WORDS)[0]).max() > 0.05


@pytest.mark.parametrize(("kind", "tau"), VARIANTS[:4])
def test_an_empty_history_predicts_from_the_start_exactly(kind, tau):
    truth, _ = exact(kind, None, [])
    ours = next_word(model(kind, tau), [], n_particles=3)
    np.testing.assert_allclose(ours, truth, rtol=1e-4)


def test_word_lla_needs_no_particles():
    truth, _ = exact("word", None, WORDS)
    np.testing.assert_allclose(next_word(model("word"), HISTORY), truth, rtol=1e-4)


@pytest.mark.parametrize(("kind", "tau"), VARIANTS[:4])
def test_topics_ahead_against_all_futures(kind, tau):
    _, truth = exact(kind, tau, WORDS[:3], steps=3)
    asked = model(kind, tau)
    ours = asked.topics_ahead(HISTORY[:3], 3, n_particles=20_000, n_futures=20_000)
    assert ours.shape == (3, K)
    np.testing.assert_allclose(ours.sum(axis=1), 1.0, rtol=1e-12)
    np.testing.assert_allclose(ours, truth, atol=0.01)
    assert abs(np.diff(truth, axis=0)).max() > 0.05, "or all steps would look alike"


def test_one_step_ahead_is_theta_averaged_and_gives_the_next_item():
    asked = model("topic")
    ahead = asked.topics_ahead(HISTORY, 1)
    phi = asked.emission.phi.numpy()
    np.testing.assert_allclose(phi @ ahead[0], next_word(asked, HISTORY), rtol=1e-5)


def test_few_futures_are_unbiased():
    """The mean over seeds of a forecast from 4 particles and 8 futures, at step 2."""
    asked = model("topic")
    session = asked.session(HISTORY, n_particles=5000)
    truth = session.topics_ahead(2, n_futures=50_000)[1]
    sample = np.array(
        [
            asked.topics_ahead(HISTORY, 2, n_particles=500, n_futures=8, seed=seed)[1]
            for seed in range(150)
        ]
    )
    error = sample.std(axis=0, ddof=1) / np.sqrt(len(sample))
    assert (abs(sample.mean(axis=0) - truth) < 4 * error + 0.005).all()
    assert sample.std(axis=0).max() > 0.02


# ------------------------------------------------------- against the passes over a corpus


@pytest.mark.parametrize("tau", [None, TAU])
@pytest.mark.parametrize("n_particles", [1, 5])
def test_a_session_is_the_particle_filter(n_particles, tau):
    """The same draws as `infer`, so the same probability of each event."""
    asked = model("topic", tau)
    corpus = Corpus.from_documents([LONG], ITEMS)
    with thread_pool(1) as pool:
        config = FilterConfig(n_particles)
        found = infer(
            asked.network,
            asked.emission,
            corpus,
            config,
            seed=7,
            key=(StreamId.SERVING,),
            pool=pool,
        )
    session, ours = asked.session(n_particles=n_particles, seed=7), []
    for w in LONG:
        ours.append(session.probabilities()[w])
        session.add(ITEMS[w])
    np.testing.assert_allclose(np.log(ours), found.log_evidence, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS[1:])
def test_sessions_of_models_that_read_words_agree_with_one_pass(kind):
    asked = model(kind)
    with thread_pool(1) as pool:
        corpus = Corpus.from_documents([LONG], ITEMS)
        network, emission = asked.network, asked.emission
        found = infer(network, emission, corpus, FilterConfig(), seed=0, key=(5,), pool=pool)
    ours = [next_word(asked, [ITEMS[w] for w in LONG[:t]])[w] for t, w in enumerate(LONG)]
    np.testing.assert_allclose(np.log(ours), found.log_evidence, atol=1e-4)


@pytest.mark.parametrize("kind", ["topic", "word", "character"])
def test_a_large_tau_is_the_shared_emission(kind):
    history = [ITEMS[w] for w in LONG]
    options = {"n_particles": 1 if kind == "topic" else 4}
    plain = next_word(model(kind), history, **options)
    large = next_word(model(kind, np.full(K, 1e12)), history, **options)
    np.testing.assert_allclose(large, plain, rtol=1e-4)


def test_a_small_tau_repeats_the_history():
    for kind in ("topic", "word"):
        p = next_word(model(kind, np.full(K, 1e-6)), ["cake"] * 30, n_particles=200)
        assert p[ITEMS.index("cake")] > 0.9


# ---------------------------------------------------------------------------- sessions


@pytest.mark.parametrize(("kind", "tau"), VARIANTS)
def test_a_session_equals_predicting_from_the_complete_history(kind, tau):
    asked = model(kind, tau)
    history = [ITEMS[w] for w in LONG]
    session = asked.session(history[:7], n_particles=5, seed=2)
    for item in history[7:]:
        session.add(item)
        session.recommend(2)
        if not kind.endswith("lstm"):
            session.topics_ahead(2, n_futures=4)
    assert len(session) == len(LONG)
    whole = asked.session(history, n_particles=5, seed=2)
    assert session.probabilities().tobytes() == whole.probabilities().tobytes()
    assert session.recommend(V) == asked.recommend(history, V, n_particles=5, seed=2)
    if not kind.endswith("lstm"):
        ahead = asked.topics_ahead(history, 3, n_particles=5, seed=2)
        np.testing.assert_array_equal(session.topics_ahead(3), ahead)


def test_the_stepper_is_built_once_per_model(monkeypatch):
    made = []
    real = session_module.Stepper
    monkeypatch.setattr(session_module, "Stepper", lambda network: made.append(1) or real(network))
    asked = model()
    asked.recommend(HISTORY)
    asked.topics_ahead(HISTORY)
    assert made == [1]


def test_sessions_of_one_model_do_not_touch_one_another():
    asked = model()
    one, other = asked.session(HISTORY), asked.session()
    before = one.probabilities()
    other.extend(["cake"] * 5)
    assert one.probabilities().tobytes() == before.tobytes()
    seeds = [asked.session(HISTORY, n_particles=2, seed=s).probabilities() for s in (0, 1)]
    assert (seeds[0] != seeds[1]).any()


@pytest.mark.parametrize(("kind", "tau"), VARIANTS)
def test_result_does_not_depend_on_threads_whose_number_is_restored(kind, tau):
    before, found = torch.get_num_threads(), []
    try:
        for n_threads in (1, 2):
            torch.set_num_threads(n_threads)
            found.append(next_word(model(kind, tau), HISTORY).tobytes())
            assert torch.get_num_threads() == n_threads
    finally:
        torch.set_num_threads(before)
    assert found[0] == found[1]


# --------------------------------------------------------------------------- the answer


@pytest.mark.parametrize(("kind", "tau"), VARIANTS)
def test_recommendations_are_the_largest_probabilities(kind, tau):
    asked = model(kind, tau)
    p = next_word(asked, HISTORY)
    found = asked.recommend(HISTORY, 3)
    assert found == [(ITEMS[w], float(p[w])) for w in np.argsort(-p, kind="stable")[:3]]
    everything = asked.recommend(HISTORY, V)
    assert sorted(item for item, _ in everything) == sorted(ITEMS)
    assert sum(share for _, share in everything) == pytest.approx(1.0, abs=1e-5)
    assert all(type(item) is str and type(share) is float for item, share in everything)


def test_seen_items_can_be_left_out():
    asked = model()
    everything = asked.recommend(HISTORY, V)
    unseen = asked.recommend(HISTORY, 1, exclude_seen=True)
    assert unseen == [pair for pair in everything if pair[0] not in HISTORY]


@given(st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0]), min_size=1), st.integers(1, 40))
def test_the_largest_come_first_with_stable_ties(values, k):
    values = np.array(values)
    expected = np.argsort(-values, kind="stable")[:k]
    np.testing.assert_array_equal(session_module._largest(values, k), expected)


@pytest.mark.parametrize("n", [1, 7, 1000])
def test_stratified_samples_are_proportional_to_the_weights(n):
    """Stratified: no cell is off its expectation by two or more, none of weight 0 is drawn."""
    weights = np.random.default_rng(n).dirichlet(np.full(12, 0.3)).reshape(3, 4)
    weights[1, 2] = 0
    counts = np.zeros((3, 4))
    np.add.at(
        counts, session_module._stratified_sample(weights, np.random.default_rng(0).random(n)), 1
    )
    assert (abs(counts - n * weights / weights.sum()) < 2).all() and counts[1, 2] == 0


def test_topics_are_named_by_their_items():
    asked = model()
    names = asked.topic_names(2)
    order = np.argsort(-asked.emission.phi.numpy(), axis=0, kind="stable")
    assert names == [f"{ITEMS[order[0, k]]}, {ITEMS[order[1, k]]}" for k in range(K)]
