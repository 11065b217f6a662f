"""Recurrences of users' own: against all histories, against the plain LSTM, and a world of them."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from enumeration import LEVEL, exact, history_number, p_value, within_standard_errors
from personal_model import PHI, TAU, K, V, personal
from source_model import DOCUMENTS, SOURCES, corpus_of, emission_with, table_of

import lla
from data_prep.personal_dynamics import PersonalDynamicsConfig, simulate_personal_dynamics
from lla.common.eager import Adam
from lla.common.errors import InputError
from lla.common.parallel import thread_pool
from lla.common.random import torch_stream
from lla.corpus import split_corpus
from lla.inference.batch import Stepper
from lla.inference.config import TrainConfig
from lla.inference.device import dense_topics
from lla.inference.emission import SharedEmission
from lla.inference.filter import FilterConfig, infer
from lla.inference.gradient import adam, train_epoch
from lla.inference.histories import HistoryConfig, particle_gibbs
from lla.inference.users import UserSteps
from lla.lstm import Network, NetworkConfig
from lla.model.dynamics import expected_after
from lla.peers.simulate import random_network
from lla.sem import SEMConfig, fit_sem

WORDS = [2, 1, 2]
S, R, USER = len(SOURCES), 2, 1
KINDS = [("plain", None), ("plain", TAU), ("gate", TAU)]


def network_of(kind="plain", counts=False, seed=3):
    """Users differ much in it, so that histories do."""
    gate = kind == "gate"
    n_inputs, n_outputs = (K * (1 + S), K + S) if gate else (K, K)
    config = NetworkConfig(
        n_inputs,
        n_outputs,
        4,
        5,
        n_sources=S if gate else 0,
        running_counts=counts,
        user_rank=R,
        n_users=3,
    )
    network = random_network(config, seed=seed, gain=8.0)
    with torch.no_grad():
        assert network.users is not None
        network.users.own.copy_(torch.tensor([[0.0, 0.4], [1.5, -0.9], [-0.7, 0.2]]))
    return network


def emission_of(kind, tau):
    if kind == "gate":
        return emission_with(tau)
    return SharedEmission(torch.tensor(PHI).float()) if tau is None else personal(PHI, TAU)


def truth_of(kind, tau, user=USER):
    sources = table_of(DOCUMENTS, WORDS) if kind == "gate" else None
    return exact(network_of(kind, tau is not None), PHI, WORDS, tau, sources, user)


def run(n, kind, tau, seed, users=USER, **config):
    network, emission = network_of(kind, tau is not None), emission_of(kind, tau)
    with thread_pool(1) as pool:
        return infer(
            network,
            emission,
            corpus_of([WORDS] * n),
            FilterConfig(**config),
            seed=seed,
            key=(5,),
            pool=pool,
            users=None if users is None else np.full(n, users),
        )


# ------------------------------------------------------------------- against all histories


@pytest.mark.parametrize(("kind", "tau"), KINDS)
def test_the_se_step_knows_the_user(kind, tau):
    n, truth = 6000, truth_of(kind, tau)
    numbers = history_number(
        run(n, kind, tau, seed=11).topics.reshape(n, -1), network_of(kind).config.n_inputs
    )
    counts = np.bincount(numbers, minlength=len(truth.drawn))
    assert p_value(counts, truth.drawn) > LEVEL
    assert p_value(counts, truth_of(kind, tau, user=2).drawn) < LEVEL, "another user's differ"


@pytest.mark.parametrize(("kind", "tau"), KINDS)
@pytest.mark.parametrize("user", [USER, -1])
def test_the_evidence_is_unbiased(kind, tau, user):
    """With particles that are resampled; -1 is a new user, whose d is 0."""
    found = run(1500, kind, tau, seed=13, users=user, n_particles=4, threshold=1.1)
    sample = np.exp(found.log_evidence.reshape(1500, -1).sum(axis=1))
    truth = truth_of(kind, tau, user=user if user >= 0 else None)
    assert within_standard_errors(sample, truth.joint.sum())


def test_particle_gibbs_keeps_the_users_posterior():
    n, truth = 6000, truth_of("plain", None)
    posterior = truth.joint / truth.joint.sum()
    z = np.array(list(np.ndindex(*(K,) * len(WORDS))))
    before = z[np.random.default_rng(1).choice(len(z), size=n, p=posterior)].astype(np.int32)
    with thread_pool(1) as pool:
        found = particle_gibbs(
            Stepper(network_of(), users=np.full(n, USER)),
            emission_of("plain", None),
            corpus_of([WORDS] * n),
            before.ravel(),
            HistoryConfig(3),
            seed=5,
            key=(1,),
            pool=pool,
        )
    numbers = history_number(found.topics.reshape(n, -1), K)
    assert p_value(np.bincount(numbers, minlength=len(z)), posterior) > LEVEL


# -------------------------------------------------------------------------- the LSTM itself


def test_windows_and_single_steps_give_the_same_logits():
    """Of known users and a new one, in windows of fewer and fewer lanes, with running counts."""
    network, users = network_of("gate", counts=True), np.array([2, -1, 0])
    ids = torch.randint(network.config.n_inputs, (9, 3), generator=torch_stream(2))
    ids[0] = network.input.start
    at_first = network.first_state(torch.from_numpy(users))
    whole, _ = network(ids, at_first)
    first, state = network(ids[:4], at_first)
    second, _ = network(ids[4:, :2], tuple(part[:, :2] for part in state))
    torch.testing.assert_close(torch.cat([first[:, :2], second]), whole[:, :2])
    stepper = Stepper(network, users=users)
    h, c = stepper.initial_state(3, np.arange(3))
    for t in range(9):
        stepper.advance(ids[t], h, c)
        torch.testing.assert_close(stepper.logits(h), whole[t].detach(), atol=1e-5, rtol=1e-5)


def test_users_who_are_all_alike_are_the_plain_lstm():
    """The same weights by the same draws, and the same logits where d = 0 or is not known."""
    sizes = NetworkConfig(K, K, 4, 5)
    plain = Network(sizes, torch_stream(7))
    ours = Network(replace(sizes, user_rank=R, n_users=3), torch_stream(7))
    weights = ours.state_dict()
    assert all(torch.equal(weights[name], value) for name, value in plain.state_dict().items())
    assert plain.first_state(torch.arange(2)) is None
    ids = torch.randint(K, (6, 2), generator=torch_stream(2))
    expected, _ = plain(ids)
    for state in (None, ours.first_state(torch.tensor([0, 2]))):
        torch.testing.assert_close(ours(ids, state)[0], expected)
    with torch.no_grad():
        assert ours.users is not None
        ours.users.own.fill_(2.0)
    torch.testing.assert_close(ours(ids, ours.first_state(torch.tensor([-1, -1])))[0], expected)
    extra = ours.config.n_parameters() - plain.config.n_parameters()
    assert extra == ours.n_parameters() - plain.n_parameters()


def test_gradients_against_finite_differences():
    network = network_of(counts=True).double()
    ids = torch.randint(K, (5, 3), generator=torch_stream(2))
    state = network.first_state(torch.tensor([1, 0, -1]))

    def loss():
        return torch.nn.functional.cross_entropy(network(ids, state)[0].flatten(0, 1), ids.ravel())

    names = [name for name, _ in network.named_parameters() if "users" in name or "hh" in name]
    found = dict(zip(names, torch.autograd.grad(loss(), values_of(network, names)), strict=True))
    for name, value in zip(names, values_of(network, names), strict=True):
        for place in (0, value.numel() // 2, value.numel() - 1):
            numeric = []
            for step in (1e-5, -1e-5):
                value.data.view(-1)[place] += step
                numeric.append(loss().item())
                value.data.view(-1)[place] -= step
            slope = (numeric[0] - numeric[1]) / 2e-5
            np.testing.assert_allclose(found[name].reshape(-1)[place], slope, atol=1e-8, rtol=1e-5)


def values_of(network, names):
    parameters = dict(network.named_parameters())
    return [parameters[name] for name in names]


def test_absent_users_stay_and_present_ones_take_a_step_of_adam():
    own = torch.nn.Parameter(torch.tensor([[0.1, -0.2], [0.3, 0.4], [0.5, 0.6]]))
    alone = torch.nn.Parameter(own.detach()[1:2].clone())
    shared = torch.nn.Parameter(torch.zeros(1))
    steps = UserSteps(
        own,
        Adam([shared]),
        np.array([2, 9, 6]),
        learning_rate=0.1,
        penalty=0.0,
        clip=100.0,
    )
    reference = Adam([alone], lr=0.1)
    for window, gradient in ((slice(6, 12), 3.0), (slice(6, 8), -1.0)):
        steps.step(torch.full((3, 2), gradient), [np.array([1, 0]), np.array([2])], window)
        n_read = min(9, window.stop) - 6
        alone.grad = torch.full((1, 2), gradient / n_read)
        reference.step()
    torch.testing.assert_close(own[1:2], alone, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(own[[0, 2]].detach(), torch.tensor([[0.1, -0.2], [0.5, 0.6]]))


def test_a_penalty_without_bound_leaves_all_users_alike():
    corpus, config = corpus_of([WORDS * 3] * 3), TrainConfig(user_penalty=1e12)
    network = network_of()
    with thread_pool(1) as pool:
        train_epoch(
            network,
            adam(network, config),
            corpus.words,
            corpus.words,
            corpus.offsets,
            config,
            0,
            (1,),
            pool,
        )
    assert network.users is not None and network.users.own.abs().max() < 1e-6


# ------------------------------------------------------------------------------- a whole fit


@pytest.fixture(scope="module")
def world():
    """Users with a matrix each; φ is the identity."""
    sizes = {"n_users": 24, "min_events": 60, "max_events": 60, "n_items": 6, "state_size": 3}
    options = PersonalDynamicsConfig(**sizes, scale=2.0, seed=1)
    return split_corpus(simulate_personal_dynamics(options))


CONFIG = SEMConfig(
    n_topics=6,
    joint=False,
    n_iterations=2,
    initial_epochs=30,
    epochs=10,
    embedding_size=6,
    hidden_size=8,
    learning_rate=0.02,
    batch_size=12,
    window=20,
    n_shards=1,
)


def score(model, split, **options):
    """Nats per held-out event."""
    return model.score(split, n_particles=1, **options).sum() / split.n_held_out.sum()


def test_users_dynamics_are_learned_kept_and_known_again(world, tmp_path):
    """The loss on held-out events falls; a fit that was stopped ends the same; so does a file."""
    start = world.observed.words.astype(np.int32)
    config, path = CONFIG.replace(user_rank=4, user_penalty=0.03), tmp_path / "fit.safetensors"
    plain = fit_sem(world, CONFIG, 1, start=start)
    fit_sem(world, config.replace(n_iterations=1), 1, start=start, checkpoint=path)
    ours = fit_sem(world, config, 1, start=start, checkpoint=path)
    assert score(ours, world) - score(plain, world) > 0.05
    assert score(ours, world) - score(ours, world, new_documents=True) > 0.2
    assert ours.history[-1]["user_spread"] > 0.05 and "user_spread" not in plain.history[-1]
    again = fit_sem(world, config, 1, start=start)
    assert again.fingerprint() == ours.fingerprint()
    saved = lla.load_model(lla.save_model(ours, tmp_path / "model"))
    np.testing.assert_array_equal(saved.score(world), ours.score(world))
    history = world.corpus.items(0)
    part = world.corpus.beginnings(np.full(24, 10))  # of another corpus: its users are new
    log_p = saved.log_evidence(part, seed=0, key=(1,), n_particles=1)
    p = saved.session(history[:9], n_particles=1).probabilities()[part.document(0)[9]]
    np.testing.assert_allclose(np.log(p), log_p[9], atol=1e-5)
    assert ours.size().network == ours.network.config.n_parameters()


@pytest.mark.parametrize(
    "options",
    [
        {"emission": "personal", "sources": ("next", "recent"), "se_step": "filter"},
        {"running_counts": True, "se_step": "gibbs", "average": 0.9},
    ],
)
def test_a_joint_fit(world, options):
    config = CONFIG.replace(
        user_rank=2, joint=True, initial_epochs=1, epochs=1, se_particles=2, **options
    )
    ours = fit_sem(world, config, 1, start=world.observed.words.astype(np.int32))
    assert np.isfinite(ours.score(world, n_particles=2)).all()
    assert expected_after(ours, 2, n_futures=8).shape == (2, 6, 6)


def test_torch_and_the_filter_draw_the_same_topics(world):
    """As on a device: from the same uniforms."""
    network = random_network(NetworkConfig(6, 6, 4, 5, user_rank=R, n_users=24), seed=1, gain=8.0)
    with torch.no_grad():
        assert network.users is not None
        network.users.own.normal_(generator=torch_stream(4))
    emission = SharedEmission(torch.full((6, 6), 0.1) + 0.4 * torch.eye(6))
    users, options = np.arange(24), {"seed": 5, "key": (1,)}
    with thread_pool(1) as pool:
        corpus = world.observed
        exact_topics = infer(
            network, emission, corpus, FilterConfig(), pool=pool, users=users, **options
        ).topics
    dense = dense_topics(network, emission, corpus, users=users, **options).topics
    assert (dense == exact_topics).mean() > 0.995
    other = dense_topics(network, emission, corpus, **options).topics
    assert (dense == other).mean() < 0.95


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model": "word_lla"}, "user_rank is 2 and model 'word_lla': give model 'topic_lla'"),
        ({"bfloat16": True}, "user_rank is 2 and bfloat16 True: give bfloat16 False"),
        ({"se_step": "mh"}, "user_rank is 2 and se_step 'mh': give 'exact', 'filter'"),
        ({"user_penalty": -1.0}, "user_penalty is -1.0"),
        ({"user_rank": -1}, "user_rank is -1"),
    ],
)
def test_what_knows_no_user_is_refused(options, message):
    with pytest.raises(InputError, match=message):
        SEMConfig(**{"user_rank": 2, **options})


def test_a_network_knows_all_users_or_none():
    with pytest.raises(InputError, match="give both and input 'topic', or 0 twice"):
        NetworkConfig(V, K, input="word", user_rank=2, n_users=3)
    with pytest.raises(InputError, match="user_rank is 2, n_users 0"):
        NetworkConfig(K, K, user_rank=2)


@pytest.mark.parametrize(
    ("users", "message"),
    [
        ([0], "give 2 whole numbers, one of each"),
        ([0.0, 1.0], "users: float64"),
        ([3, 0], "the network knows no user 3; give 0 to 2, or -1"),
        ([-2, 0], "no user -2"),
    ],
)
def test_users_who_are_not_there_are_refused(users, message):
    options = {"seed": 0, "key": (1,), "users": np.array(users)}
    with pytest.raises(InputError, match=message):
        dense_topics(network_of(), emission_of("plain", None), corpus_of([WORDS] * 2), **options)


def test_a_pass_is_over_all_users_of_the_network():
    network, config, corpus = network_of(), TrainConfig(), corpus_of([WORDS] * 4)
    read = (corpus.words, corpus.words, corpus.offsets, config, 0, (1,))
    with (
        thread_pool(1) as pool,
        pytest.raises(InputError, match="knows 3 users, but there are 4 documents"),
    ):
        train_epoch(network, adam(network, config), *read, pool)


def test_rank_zero_is_the_fit_without_users():
    """The same options tell fits apart as before there were users; many topics: MH only then."""
    assert SEMConfig(user_penalty=3.0).effective() == SEMConfig().effective()
    assert SEMConfig(n_topics=1000, user_rank=2).resolved().se_step == "exact"
    assert SEMConfig(n_topics=1000).resolved().se_step == "mh"
