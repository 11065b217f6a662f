"""The steps from the oracle to personal LLA: a truth that is an urn, interests that are known."""

from dataclasses import replace

import numpy as np
import pytest

from data_prep.clicks.kernels import item_losses, item_probabilities
from data_prep.clicks.oracle import forward_pass, score_oracle
from data_prep.clicks.simulate import simulate_clicks, true_leaves, world_of
from data_prep.clicks.world import ClickConfig
from experiments import study
from experiments.studies import gap
from experiments.studies.gap import format_gap, known_interests, run_gap, with_urn
from lla.common.errors import InputError
from lla.corpus import Corpus, split_corpus
from lla.evaluate.perplexity import perplexity
from lla.samplers.lda import topic_counts

MODEL = {"emission": "personal", "hidden_size": 6, "embedding_size": 6, "n_iterations": 2}
URN = ClickConfig(  # repeats of this truth are the urn's: ρ = 1, τ = 6
    n_users=300, n_items=300, n_types=2, min_repeat=1.0, max_repeat=1.0, habit=6.0, shared=0.0
)


@pytest.fixture(scope="module")
def split():
    return split_corpus(simulate_clicks(URN)[0])


def test_the_urn_is_exact_when_the_truth_is_an_urn(split):
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
    dwell = np.zeros_like(world.dwell)
    dwell[:, -1] = 1.0  # nobody leaves within the history below
    tau = np.linspace(2.0, 9.0, len(world.leaves))
    truth = replace(with_urn(world, tau), initial=only, dwell=dwell)
    items = np.flatnonzero(world.phi[:, k])[:3]
    words = items[[0, 1, 0, 2, 0, 1]]
    log_p, _ = forward_pass(truth, Corpus.from_documents([words], world.vocabulary), 1)
    for t, w in enumerate(words):
        own = (words[:t] == w).sum()
        expected = (own + tau[k] * world.phi[w, k]) / (t + tau[k])
        assert np.exp(log_p[t]) == pytest.approx(expected, rel=1e-12)


def test_known_interests_equal_the_drawn_ones(split):
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
    model = study.fit(split, "lla", given, 1, tmp_path, start=start)
    assert np.array_equal(model.topics, start.topics)
    many = np.bincount(start.topics, minlength=len(model.emission.tau)) > 600
    tau = model.emission.tau.numpy()[many]
    assert many.sum() > 8 and abs(np.log(tau / 6.0)).max() < 0.4
    best = perplexity(score_oracle(world_of(split.corpus), split), split, split.reported)
    assert best < found["oracle_urn"] * 1.001 < 1.02 * best  # the truth is an urn
    assert found["known"] > found["oracle_urn"]
    assert found["next.exact"] < found["next.lstm"]
    assert 0 < found["item.own"] - found["item.urn"] < 0.03  # few items are of two leaves
    assert (
        found["item.exact"] < found["item.urn"] * 1.001
        and found["item.own"] < found["item.learned"]
    )
    again = run_gap(
        split, MODEL | {"tau_per_topic": True, "ddlda": {"n_sweeps": 3}}, 1, tmp_path, 2
    )
    assert again == found


def test_next_interest_follows_the_hidden_chain(split):
    """Another way: the stays of all types and nodes carried on, one user, interests seen."""
    world, leaves = world_of(split.corpus), true_leaves(split.corpus)
    interest_world = replace(
        world, vocabulary=world.leaves, phi=np.eye(len(world.leaves)), rho=np.zeros_like(world.rho)
    )
    mine = leaves[: split.corpus.offsets[1]]
    found, _ = forward_pass(interest_world, Corpus.from_documents([mine], world.leaves), 1)
    dwell = world.dwell[world.node_leaf]  # (S, R)
    belief = world.initial[:, :, None] * dwell  # (U, S, R), R events of the stay still to come
    for t, leaf in enumerate(mine):
        here = np.where((world.node_leaf == leaf)[:, None], belief, 0.0)
        assert found[t] == pytest.approx(np.log(here.sum()), abs=1e-9)
        here /= here.sum()
        moved = np.einsum("us,usv->uv", here[:, :, 0], world.transition)
        belief = moved[:, :, None] * dwell
        belief[:, :, :-1] += here[:, :, 1:]


@pytest.mark.parametrize("kernel", [item_losses, item_losses.py_func])
def test_item_losses_given_interests_agree_with_counting(kernel):
    corpus, leaves = simulate_clicks(replace(URN, n_users=1, shared=0.9, habit=3.0, zipf=0.5))
    world, words = world_of(corpus), corpus.words.astype(np.int64)
    rng, n_leaves = np.random.default_rng(2), len(world.leaves)
    tau, learned = rng.uniform(1, 9, n_leaves), rng.dirichlet(np.ones(300), n_leaves)
    phi, found = np.ascontiguousarray(world.phi.T), np.empty((len(words), 4))
    kernel(words, leaves, phi, learned, world.rho, world.habit, tau, found)
    scores = np.empty((len(words), 300))
    about = (words, 0, np.eye(n_leaves)[leaves], phi)
    differ = 0
    for way, (rho, habit) in enumerate(
        ((world.rho, world.habit), (np.ones_like(tau), tau))
    ):  # the oracle's own kernel, given the leaf of every event
        item_probabilities(*about, rho, habit, scores)
        expected = -np.log(scores[np.arange(len(words)), words])
        np.testing.assert_allclose(found[:, way], expected, rtol=1e-10)
    for t, (w, k) in enumerate(zip(words, leaves, strict=True)):
        own = words[:t][leaves[:t] == k]
        for way, base in ((2, phi), (3, learned)):
            p = ((own == w).sum() + tau[k] * base[k, w]) / (len(own) + tau[k])
            assert found[t, way] == pytest.approx(-np.log(p), rel=1e-10)
        differ += found[t, 1] != found[t, 2]
    assert differ > 10, "items of several leaves are repeated"


def test_a_model_without_an_urn_is_refused(split, tmp_path):
    with pytest.raises(InputError, match="give emission: personal"):
        run_gap(split, {"hidden_size": 6}, 1, tmp_path)


def test_the_gap_line_shows_the_share_of_each_step():
    assert format_gap([50.0, 100.0, 200.0, 800.0]) == (
        "the oracle 50.0 -> with an urn 100.0 (25% of the gap) -> interests known 200.0 (25% of "
        "the gap) -> personal LLA 800.0 (50% of the gap)"
    )


def test_the_loss_line_shows_the_cost_of_each_unknown():
    nats = {"next.exact": 0.7, "next.lstm": 0.7 + np.log(1.034)}
    nats |= {"item.exact": 3.0, "item.urn": 3.0 + np.log(1.016)}
    nats |= {"item.own": nats["item.urn"] + np.log(1.07)}
    nats |= {"item.learned": nats["item.own"] + np.log(1.02)}
    assert gap.format_known(nats) == (
        "the LSTM's next interest +3.4%, an urn's repeats +1.6%, "
        "no own item of another interest in it +7.0%, φ learned +2.0%"
    )


def test_measures_hold_one_value_per_seed():
    runs = [{"known": 64.0, "next.exact": 0.7}, {"known": 66.0, "next.exact": 0.7}]
    found = gap.measures_of(runs)
    assert found["between.known"]["values"] == [64.0, 66.0]
    assert {name: of["unit"] for name, of in found.items()} == {
        "between.known": "perplexity",
        "between.next.exact": "nats",
    }
