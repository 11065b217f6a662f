"""The SE-step by Metropolis-Hastings as a whole: what it draws, its lanes, and fits that use it."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from draws import always_the_same
from enumeration import LEVEL, exact, history_number, lstm_logits, p_value, softmax
from hypothesis import given
from hypothesis import strategies as st
from simulated import random_corpus, sticky_split
from small_sem import Stop, assert_same_fit, small_fit, stop_after

from lla.common.errors import InputError
from lla.common.parallel import thread_pool
from lla.corpus import Corpus
from lla.inference import metropolis as mh
from lla.inference.metropolis import (
    PILOT_DOCUMENTS,
    PILOT_TOKENS,
    MHConfig,
    MHTarget,
    estimate_log_scale,
    mh_sweep,
    schedule,
)
from lla.lda import LDAConfig, fit_lda
from lla.lstm import HAS_BFLOAT16, NetworkConfig
from lla.peers.simulate import random_network
from lla.samplers.lda import phi_from_counts, topic_counts
from lla.sem import SEMConfig, fit_sem

K, V = 3, 4
WORDS = [2, 0, 3, 1]
NETWORK = random_network(NetworkConfig(K, K, 4, 5), seed=3, gain=12.0)
READER = random_network(NetworkConfig(V, K, 4, 5, input="word"), seed=3, gain=12.0)


def copies(n):
    """`n` documents of the same words, and last assignments: no word has been in every topic."""
    corpus = Corpus.from_documents([WORDS] * n, [f"w{w}" for w in range(V)])
    either = np.random.default_rng(6).integers(2, size=(n, 4))
    return corpus, (np.add(either, [0, 1, 2, 1]) % K).astype(np.int32).ravel()


def beta_of(corpus):
    """A β that shows beside so many tokens: the dense part is no rounding error."""
    return corpus.n_tokens / 30


def run(corpus, topics, network=NETWORK, threads=1, seed=0, **config):
    beta, config = beta_of(corpus), MHConfig(**config)
    with thread_pool(threads) as pool:
        return mh_sweep(network, corpus, topics, beta, config, seed=seed, key=(5,), pool=pool)


def phi_of(corpus, topics):
    counts = topic_counts(corpus.words, topics, corpus.n_words, K)
    return phi_from_counts(*counts, beta_of(corpus))


# ---------------------------------------------------------------------------- what it draws


def test_many_steps_approach_the_exact_conditional():
    """Equation 2 over all K^T histories: what the exact SE-step draws."""
    n = 20_000
    corpus, topics = copies(n)
    moved = run(corpus, topics, n_mh=25)
    truth = exact(NETWORK, phi_of(corpus, topics), WORDS)
    assert truth.drawn.max() < 0.5, "many histories are likely"
    numbers = history_number(moved.topics.reshape(n, 4), K)
    assert p_value(np.bincount(numbers, minlength=K**4), truth.drawn) > LEVEL
    assert 0.1 < moved.acceptance < 1 and 0.1 < moved.sparse_share < 1


def test_a_network_that_reads_words():
    n = 20_000
    corpus, topics = copies(n)
    moved = run(corpus, topics, READER, n_mh=25).topics.reshape(n, 4)
    logits = lstm_logits(READER, np.array([[V], *[[w] for w in WORDS[:-1]]]))[:, 0]
    pi = softmax(logits) * phi_of(corpus, topics)[WORDS]
    for t in range(4):
        assert p_value(np.bincount(moved[:, t], minlength=K), pi[t] / pi[t].sum()) > LEVEL


def test_one_step_moves_less_than_many():
    corpus, topics = copies(4000)
    pi = exact(NETWORK, phi_of(corpus, topics), WORDS).theta[0, 0]  # of the first token
    pi = pi * phi_of(corpus, topics)[WORDS[0]]
    pi /= pi.sum()
    first = [run(corpus, topics, n_mh=n).topics[::4] for n in (1, 2, 8)]
    distance = [abs(np.bincount(z, minlength=K) / 4000 - pi).sum() for z in first]
    assert distance[0] > distance[1] > distance[2]


def test_the_scale_is_the_mean_of_the_exponentials():
    corpus = random_corpus(50, V, 30, seed=2)
    topics = np.random.default_rng(3).integers(K, size=corpus.n_tokens, dtype=np.int32)
    target = MHTarget.from_counts(NETWORK, corpus, topics, 0.5)
    expected = []
    for d in np.unique(np.linspace(0, 49, PILOT_DOCUMENTS).astype(int)):
        z = topics[corpus.offsets[d] : corpus.offsets[d + 1]][:PILOT_TOKENS]
        logits = lstm_logits(NETWORK, np.array([[K], *[[k] for k in z[:-1]]]))[:, 0]
        dense = 1 / (np.bincount(topics, minlength=K) + V * 0.5)
        expected.extend(np.log(np.exp(logits) @ dense / dense.sum()))
    np.testing.assert_allclose(
        estimate_log_scale(target, corpus, topics), np.mean(expected), rtol=1e-4
    )


# --------------------------------------------------------------------------- lanes, threads


@always_the_same
@given(st.lists(st.integers(1, 30), min_size=1, max_size=40), st.integers(1, 9))
def test_a_schedule_runs_every_document_once_and_leaves_no_lane_idle(lengths, n_lanes):
    lengths = np.sort(lengths)[::-1]
    lanes, begins, totals = schedule(lengths, n_lanes)
    assert len(totals) == min(n_lanes, len(lengths)) and (np.diff(totals) <= 0).all()
    for lane, total in enumerate(totals):
        busy = np.zeros(total, int)
        for d in np.flatnonzero(lanes == lane):
            busy[begins[d] : begins[d] + lengths[d]] += 1
        assert (busy == 1).all()
    assert totals[0] - totals[-1] <= lengths[0]


SOFT = random_network(NetworkConfig(K, K, 4, 5), seed=3, gain=3.0)  # every draw is open
MIXED = random_corpus(60, V, 200, seed=7)
START = np.random.default_rng(8).integers(K, size=MIXED.n_tokens, dtype=np.int32)


@pytest.mark.parametrize("n_lanes", [3, 512])
def test_two_threads_and_the_same_seed_give_identical_results(n_lanes):
    one, two, other = (
        run(MIXED, START, SOFT, threads=n, seed=s, n_lanes=n_lanes)
        for n, s in ((1, 0), (2, 0), (2, 1))
    )
    np.testing.assert_array_equal(one.topics, two.topics)
    assert (one.acceptance, one.sparse_share) == (two.acceptance, two.sparse_share)
    assert np.mean(one.topics == other.topics) < 0.6


def test_topics_updated_in_place_as_uint16_are_the_same():
    apart, small = run(MIXED, START, SOFT), START.astype(np.uint16)
    with thread_pool(2) as pool:
        inside = mh_sweep(
            SOFT, MIXED, small, beta_of(MIXED), MHConfig(), seed=0, key=(5,), pool=pool, out=small
        )
    assert inside.topics is small
    np.testing.assert_array_equal(small, apart.topics)
    assert inside.changed == apart.changed == np.count_nonzero(apart.topics != START) > 0


@pytest.mark.parametrize("n_lanes", [1, 3, 512])
def test_refilled_lanes_draw_the_same_as_one_document_per_lane(monkeypatch, n_lanes):
    """But for a draw that the rounding of a higher matrix product may flip."""
    refilled = run(MIXED, START, SOFT, n_lanes=n_lanes)
    monkeypatch.setattr(mh, "busy_lanes", lambda lengths, n_lanes: len(lengths))
    one_a_lane = run(MIXED, START, SOFT, n_lanes=n_lanes)
    assert np.mean(one_a_lane.topics != refilled.topics) < 1e-3
    assert refilled.acceptance == pytest.approx(one_a_lane.acceptance, abs=1e-3)


def test_lanes_are_as_many_as_can_be_busy():
    assert mh.busy_lanes(np.array([9, 9, 9]), 512) == 3
    assert mh.busy_lanes(np.array([9, 9, 9]), 2) == 2
    assert mh.busy_lanes(np.array([100, 30, 30, 30, 20]), 512) == 3


def test_topics_are_conserved_and_the_last_ones_left_alone():
    before = START.copy()
    moved = run(MIXED, START).topics
    np.testing.assert_array_equal(START, before)
    assert moved.dtype == np.int32 and moved.shape == (MIXED.n_tokens,)
    assert moved.min() >= 0 and moved.max() < K
    word_topic, total = topic_counts(MIXED.words, moved, V, K)
    np.testing.assert_array_equal(word_topic.sum(axis=1), np.bincount(MIXED.words, minlength=V))
    assert total.sum() == MIXED.n_tokens


def test_bfloat16_draws_nearly_the_same():
    full, short = (run(MIXED, START, SOFT, bfloat16=b) for b in (False, True))
    assert np.mean(full.topics == short.topics) > 0.9


def test_a_network_without_probabilities_is_refused():
    network = random_network(NetworkConfig(K, K, 4, 5), seed=3)
    with torch.no_grad():
        network.output.bias[1] = np.nan
    with pytest.raises(FloatingPointError, match=r"^document \d+ has no probabilities"):
        run(MIXED, START, network)


# ------------------------------------------------------------------------------------- fits


def test_an_interrupted_fit_ends_with_the_same_numbers(tmp_path):
    whole = small_fit(se_step="mh")
    path = tmp_path / "sem.safetensors"
    with pytest.raises(Stop):
        small_fit(path, stop_after(3), se_step="mh")
    assert_same_fit(small_fit(path, n_threads=2, se_step="mh"), whole)
    rows = whole.history
    assert "acceptance" not in rows[0], "the first iteration has no SE-step"
    assert all(0 < row["acceptance"] <= 1 and 0 < row["sparse_share"] < 1 for row in rows[1:])
    assert "acceptance" not in small_fit(n_iterations=2).history[1]
    others = (small_fit(se_step="mh", n_mh=3), small_fit())
    assert all((whole.topics != other.topics).any() for other in others)


def test_word_lla_by_metropolis_hastings():
    model = small_fit(se_step="mh", model="word_lla", n_iterations=3, se_steps=2)
    assert model.history[-1]["acceptance"] > 0 and model.topics.max() < 3


def test_a_fit_comes_near_the_exact_steps():
    """Development perplexity on a corpus with a known truth."""
    split, _, _ = sticky_split(4, 50, 400, 40)
    lda = fit_lda(split, LDAConfig(4, beta=0.05, n_sweeps=60), 0)
    config = SEMConfig(
        n_topics=4, beta=0.05, n_iterations=5, initial_epochs=2, patience=5, embedding_size=16,
        hidden_size=32, learning_rate=5e-3, batch_size=16,
    )  # fmt: skip
    best = {}
    every = [{}, {"se_step": "mh"}, {"se_step": "mh", "bfloat16": True}]
    for options in every[: 2 + HAS_BFLOAT16]:
        history = fit_sem(split, replace(config, **options), 0, start=lda.topics).history
        best[tuple(options)] = min(row["development_perplexity"] for row in history)
        first = history[0]["development_perplexity"]
    exactly = best.pop(())
    assert exactly < 0.97 * first
    np.testing.assert_allclose(list(best.values()), exactly, rtol=0.01)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"se_step": "best"}, "se_step is 'best': choose one of"),
        ({"n_mh": 0}, "n_mh is 0: give 1 or more"),
    ],
)
def test_options_out_of_range(options, message):
    with pytest.raises(InputError, match=f"^{message}"):
        SEMConfig(**options)
    with pytest.raises(InputError, match=r"^n_lanes is 0: give 1 or more$"):
        MHConfig(n_lanes=0)
