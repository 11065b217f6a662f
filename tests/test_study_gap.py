"""The steps from the oracle to personal LLA: a truth that is an urn, interests that are known."""

from dataclasses import replace

import numpy as np
import pytest

from lla import study
from lla.click_world import ClickConfig
from lla.clicks import simulate_clicks, true_leaves, world_of
from lla.corpus import Corpus, split_corpus
from lla.emission import topic_counts
from lla.errors import InputError
from lla.oracle import filter_corpus, score_oracle
from lla.study_gap import known_interests, run_gap, told, with_urn

MODEL = {"emission": "personal", "hidden_size": 6, "embedding_size": 6, "n_iterations": 2}
URN = ClickConfig(  # repeats of this truth are the urn's: ρ = 1, τ = 6
    n_users=300, n_items=300, n_types=2, least_repeats=1.0, most_repeats=1.0, habit=6.0, shared=0.0
)


@pytest.fixture(scope="module")
def split():
    return split_corpus(simulate_clicks(URN)[0])


def test_the_urn_of_a_truth_that_is_one_changes_nothing(split):
    world = world_of(split.corpus)
    same = with_urn(world, np.full(len(world.leaves), 6.0, np.float32))
    assert np.array_equal(score_oracle(same, split), score_oracle(world, split))
    other = with_urn(world, np.full(len(world.leaves), 60.0))
    assert score_oracle(other, split).sum() < score_oracle(world, split).sum() - 100


def test_the_oracles_urn_is_the_models():
    """One leaf at a time known for sure: p(w | leaf, history) is (n_dw + τ φ_w) / (n_d + τ)."""
    world = world_of(simulate_clicks(replace(URN, n_users=2))[0])
    k = 3
    only = np.zeros_like(world.initial)
    only[0, np.flatnonzero(world.node_leaf == k)[0]] = 1.0
    stay = np.zeros_like(world.stay)
    stay[:, -1] = 1.0  # nobody leaves within the history below
    tau = np.linspace(2.0, 9.0, len(world.leaves))
    truth = replace(with_urn(world, tau), initial=only, stay=stay)
    items = np.flatnonzero(world.phi[:, k])[:3]
    words = items[[0, 1, 0, 2, 0, 1]]
    log_p, _ = filter_corpus(truth, Corpus.from_documents([words], world.vocabulary), 1)
    for t, w in enumerate(words):
        own = (words[:t] == w).sum()
        expected = (own + tau[k] * world.phi[w, k]) / (t + tau[k])
        assert np.exp(log_p[t]) == pytest.approx(expected, rel=1e-12)


def test_known_interests_are_those_that_were_drawn(split):
    start = known_interests(split, 1)
    leaves = true_leaves(split.corpus)
    d = 7
    first, n = split.corpus.offsets[d], split.n_observed[d]
    mine = slice(*split.observed.offsets[d : d + 2])
    assert np.array_equal(start.topics[mine], leaves[first : first + n])
    world = world_of(split.corpus)
    counts, _ = topic_counts(split.observed.words, start.topics, 300, start.config.n_topics)
    assert not counts[world.phi == 0].any()


def test_known_interests_stay_and_their_urns_are_found(split, tmp_path):
    found = run_gap(split, MODEL | {"tau_per_topic": True}, 1, tmp_path, 2)
    start = known_interests(split, 1)
    given = MODEL | {"tau_per_topic": True, "joint": False}
    (model, _), _ = study.model_of(split, start, given, 1, tmp_path)
    assert np.array_equal(model.topics, start.topics)
    many = np.bincount(start.topics, minlength=len(model.emission.tau)) > 600
    tau = model.emission.tau.numpy()[many]
    assert many.sum() > 8 and abs(np.log(tau / 6.0)).max() < 0.4
    oracle = score_oracle(world_of(split.corpus), split)
    best = study.outcome_of(split, oracle, found["known"].size).perplexity
    assert best < found["oracle_urn"].perplexity * 1.001 < 1.02 * best  # the truth is an urn
    assert found["known"].perplexity > found["oracle_urn"].perplexity
    again = run_gap(
        split, MODEL | {"tau_per_topic": True, "ddlda": {"n_sweeps": 3}}, 1, tmp_path, 2
    )
    assert again["known"].perplexity == found["known"].perplexity


def test_a_model_without_an_urn_is_refused(split, tmp_path):
    with pytest.raises(InputError, match="give emission: personal"):
        run_gap(split, {"hidden_size": 6}, 1, tmp_path)


def test_a_line_tells_each_steps_part_of_the_whole_way():
    assert told([50.0, 100.0, 200.0, 800.0]) == (
        "the oracle 50.0 -> with an urn 100.0 (25% of the gap) -> interests known 200.0 (25% of "
        "the gap) -> personal LLA 800.0 (50% of the gap)"
    )
