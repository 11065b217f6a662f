"""Running counts of topics beside the state: against all histories, and its limits."""

import numpy as np
import pytest
import torch
from enumeration import LEVEL, exact, history_number, p_value, within_standard_errors
from personal_model import PHI, TAU, K, V, personal
from simulated import random_corpus
from source_model import DOCUMENTS, ITEMS, SOURCES, corpus_of, emission_with, table_of

import lla
from lla.common.errors import InputError
from lla.common.parallel import thread_pool
from lla.common.random import StreamId, stream, torch_stream
from lla.corpus import Corpus, split_corpus
from lla.inference.batch import Stepper
from lla.inference.emission import SharedEmission
from lla.inference.filter import FilterConfig, infer
from lla.inference.histories import HistoryConfig, particle_gibbs
from lla.inference.session import decode
from lla.lstm import CountingOutput, Network, NetworkConfig
from lla.model import Model
from lla.model.dynamics import expected_after, memory_curve
from lla.peers.simulate import random_network, random_phi
from lla.sem import SEMConfig, fit_sem

WORDS = [2, 1, 2]
KINDS = [("plain", None), ("plain", TAU), ("gate", None), ("gate", TAU), ("topic", None)]
S = len(SOURCES)


def network_of(kind, seed=3):
    """Counts have large weights in it, so that histories differ by them."""
    n_outputs = K if kind == "plain" else K + S
    n_inputs = {"plain": K, "gate": K * (1 + S), "topic": K + S}[kind]
    n_sources = S if kind == "gate" else 0
    config = NetworkConfig(n_inputs, n_outputs, 4, 5, n_sources=n_sources, running_counts=True)
    network = random_network(config, seed=seed, gain=8.0)
    with torch.no_grad():
        network.output.exponent.copy_(torch.tensor([1.3, -0.8])[: len(config.softmax_sizes)])
        network.output.log_prior.copy_(torch.tensor([-0.7, 0.4])[: len(config.softmax_sizes)])
    return network


def emission_of(kind, tau):
    if kind != "plain":
        return emission_with(tau)
    return SharedEmission(torch.tensor(PHI).float()) if tau is None else personal(PHI, TAU)


def truth_of(kind, tau, words=WORDS):
    sources = None if kind == "plain" else table_of(DOCUMENTS, list(words))
    return exact(network_of(kind), PHI, words, tau, sources)


def n_values(kind):
    return network_of(kind).config.n_inputs


def run(documents, kind, tau, seed=0, key=(5,), **config):
    network, emission = network_of(kind), emission_of(kind, tau)
    with thread_pool(1) as pool:
        return infer(
            network,
            emission,
            corpus_of(documents),
            FilterConfig(**config),
            seed=seed,
            key=key,
            pool=pool,
        )


# ------------------------------------------------------------------- against all histories


@pytest.mark.parametrize(("kind", "tau"), KINDS)
def test_the_se_step_draws_given_the_past(kind, tau):
    n, truth = 20_000, truth_of(kind, tau)
    values = run([WORDS] * n, kind, tau, seed=11).topics.reshape(n, len(WORDS))
    numbers = history_number(values, n_values(kind))
    assert p_value(np.bincount(numbers, minlength=len(truth.drawn)), truth.drawn) > LEVEL


@pytest.mark.parametrize(("kind", "tau"), KINDS)
def test_the_evidence_is_unbiased(kind, tau):
    """With particles that are resampled, whose counts move with them."""
    options = {"n_particles": 4, "threshold": 1.1, "seed": 13}
    found = run([WORDS] * 3000, kind, tau, **options)
    sample = np.exp(found.log_evidence.reshape(3000, -1).sum(axis=1))
    assert within_standard_errors(sample, truth_of(kind, tau).joint.sum())


@pytest.mark.parametrize(("kind", "tau"), KINDS)
def test_a_session_is_the_batch(kind, tau):
    words = np.random.default_rng(1).integers(V, size=60)
    options = {"key": (StreamId.SERVING,), "n_particles": 5}
    found = run([words], kind, tau, 7, **options)
    asked = Model(network_of(kind), emission_of(kind, tau), np.zeros(0, np.int32), ITEMS)
    session, ours = asked.session(n_particles=5, seed=7), []
    for w in words:
        ours.append(session.probabilities()[w])
        session.add(ITEMS[w])
    np.testing.assert_allclose(np.log(ours), found.log_evidence, atol=2e-5)


@pytest.mark.parametrize(("kind", "tau"), KINDS)
def test_the_beam_finds_the_most_likely_history(kind, tau):
    asked = Model(network_of(kind), emission_of(kind, tau), np.zeros(0, np.int32), ITEMS)
    found = decode(asked._predictor, np.array(WORDS), width=n_values(kind) ** 2)
    best = truth_of(kind, tau).joint.max()
    np.testing.assert_allclose(found.log_joint, np.log(best), atol=1e-5)


def test_topics_ahead_by_enumeration():
    asked = Model(network_of("plain"), emission_of("plain", None), np.zeros(0, np.int32), ITEMS)
    options = {"n_futures": 20_000, "n_particles": 500}
    ahead = asked.topics_ahead([ITEMS[w] for w in [2, 1]], 2, **options)
    joint = np.array([truth_of("plain", None, [2, 1, w]).joint for w in range(V)]).sum(axis=0)
    theta = truth_of("plain", None, [2, 1, 0, 0]).theta[::K, -1]  # it knows no last topic
    np.testing.assert_allclose(ahead[1], joint @ theta / joint.sum(), atol=0.03)


def test_particle_gibbs_keeps_the_posterior():
    """Started from the posterior, a step of it leaves the posterior as it is."""
    n, truth = 20_000, truth_of("plain", None)
    posterior = truth.joint / truth.joint.sum()
    z = np.array(list(np.ndindex(*(K,) * len(WORDS))))
    before = z[stream(1).choice(len(z), size=n, p=posterior)].astype(np.int32)
    with thread_pool(1) as pool:
        found = particle_gibbs(
            Stepper(network_of("plain")),
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


# --------------------------------------------------------------------- the transform itself


def test_windows_carry_the_counts_on():
    """Read in windows, also of fewer lanes, or step by step: the same logits."""
    network, n_steps = network_of("gate"), 9
    ids = torch.randint(network.config.n_inputs, (n_steps, 3), generator=torch_stream(2))
    ids[0] = network.input.start
    whole, _ = network(ids)
    first, state = network(ids[:4])
    second, _ = network(ids[4:, :2], tuple(part[:, :2] for part in state))
    torch.testing.assert_close(torch.cat([first[:, :2], second]), whole[:, :2])
    stepper = Stepper(network)
    h, c = stepper.initial_state(3)
    for t in range(n_steps):
        stepper.advance(ids[t], h, c)
        torch.testing.assert_close(stepper.logits(h), whole[t].detach(), atol=1e-5, rtol=1e-5)


def test_an_exponent_of_zero_changes_nothing():
    plain = random_network(NetworkConfig(3, 3, 4, 5), seed=2, gain=9.0)
    more = random_network(NetworkConfig(3, 3, 4, 5, running_counts=True), seed=2, gain=9.0)
    weights = dict(more.named_parameters())
    with torch.no_grad():
        for name, value in plain.named_parameters():
            weights[name].copy_(value)
        weights["output.exponent"].zero_()
    corpus = random_corpus(longest=40)
    emission = SharedEmission(torch.tensor(random_phi(12, 3, 0.5, 6)).float())
    with thread_pool(1) as pool:
        options = {"seed": 0, "key": (1,), "pool": pool}
        ours = infer(more, emission, corpus, FilterConfig(3), **options)
        theirs = infer(plain, emission, corpus, FilterConfig(3), **options)
    np.testing.assert_array_equal(ours.topics, theirs.topics)
    np.testing.assert_allclose(ours.log_evidence, theirs.log_evidence, atol=1e-6)


def test_counts_alone_are_the_predictive_distribution_of_a_dirichlet():
    """W_p = b_p = 0 and η = 1: θ_k = (n_k + α)/(n + Kα)."""
    output = CountingOutput(5, (4,))
    with torch.no_grad():
        output.weight.zero_()
        output.bias.zero_()
        output.exponent.fill_(1.0)
        output.log_prior.fill_(float(np.log(0.3)))
    counts = torch.tensor([[0.0, 0, 0, 0], [3, 0, 1, 2]])
    states = torch.cat([torch.randn(2, 5, generator=torch_stream(1)), counts], dim=1)
    expected = (counts + 0.3) / (counts.sum(dim=1, keepdim=True) + 4 * 0.3)
    torch.testing.assert_close(output(states).softmax(dim=1).detach(), expected)


def test_gradients_against_finite_differences():
    config = NetworkConfig(3, 3, 2, 3, running_counts=True)
    network = Network(config, torch_stream(1)).double()
    with torch.no_grad():
        network.output.exponent.fill_(0.4)
    ids = torch.randint(3, (6, 2), generator=torch_stream(2))

    def loss(exponent, log_prior):
        with torch.no_grad():
            network.output.exponent.copy_(exponent)
            network.output.log_prior.copy_(log_prior)
        return torch.nn.functional.cross_entropy(network(ids)[0].flatten(0, 1), ids.flatten())

    at = (torch.tensor([0.4]).double(), torch.tensor([0.1]).double())
    network.zero_grad()
    loss(*at).backward()
    found = network.output.exponent.grad.item(), network.output.log_prior.grad.item()
    for i, (value, gradient) in enumerate(zip(at, found, strict=True)):
        ends = [[*at[:i], value + step, *at[i + 1 :]] for step in (1e-4, -1e-4)]
        numeric = (loss(*ends[0]) - loss(*ends[1])).item() / 2e-4
        np.testing.assert_allclose(gradient, numeric, rtol=1e-5)


# ------------------------------------------------------------------------------- a whole fit


@pytest.fixture(scope="module")
def mixtures():
    """Documents whose topics come in no order, from few topics each; φ is the identity."""
    draw = np.random.default_rng(1)
    documents = []
    for _ in range(120):
        theta = draw.dirichlet(np.full(8, 0.1))
        documents.append(draw.choice(8, size=60, p=theta))
    corpus = Corpus.from_documents(documents, [f"w{w}" for w in range(8)])
    return split_corpus(corpus)


CONFIG = SEMConfig(
    n_topics=8,
    joint=False,
    n_iterations=6,
    initial_epochs=6,
    patience=6,
    embedding_size=4,
    hidden_size=8,
    beta=0.01,
    learning_rate=0.02,
    batch_size=16,
)


def test_counts_are_learned_where_documents_are_mixtures(mixtures, tmp_path):
    """η nears 1, the perplexity falls, and a fit that was stopped ends the same."""
    start = mixtures.observed.words.astype(np.int32)
    plain = fit_sem(mixtures, CONFIG, 1, start=start)
    config, path = CONFIG.replace(running_counts=True), tmp_path / "fit.safetensors"
    ours = fit_sem(mixtures, config, 1, start=start)
    last = ours.history[-1]
    assert last["count_exponent"] > 0.5 and 0 < last["count_prior"] < 1.0
    held_out = mixtures.n_held_out.sum()
    gain = (ours.score(mixtures).sum() - plain.score(mixtures).sum()) / held_out
    assert gain > 0.05, "nats per word"
    fit_sem(mixtures, config.replace(n_iterations=2), 1, start=start, checkpoint=path)
    resumed = fit_sem(mixtures, config, 1, start=start, checkpoint=path)
    assert resumed.fingerprint() == ours.fingerprint()
    saved = lla.load_model(lla.save_model(ours, tmp_path / "model"))
    history = mixtures.corpus.items(0)
    assert saved.recommend(history) == ours.recommend(history)
    assert ours.size().network == ours.network.config.n_parameters()


@pytest.mark.parametrize("sources", [(), ("next", "recent")])
def test_a_joint_fit(mixtures, sources):
    config = CONFIG.replace(
        running_counts=True, joint=True, n_iterations=2, se_step="filter", sources=sources
    )
    start = mixtures.observed.words.astype(np.int32)
    ours = fit_sem(mixtures, config, 1, start=start)
    assert np.isfinite(ours.score(mixtures)).all()
    assert expected_after(ours, 2, n_futures=8).shape == (2, 8, 8)
    assert memory_curve(ours, 3, n_positions=20).effect.shape == (3,)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model": "word_lla"}, "running_counts is True and model 'word_lla': give model"),
        ({"n_samples": 5}, "running_counts is True and n_samples 5: give n_samples 0"),
        ({"bfloat16": True}, "running_counts is True and bfloat16 True: give bfloat16 False"),
        ({"se_step": "mh"}, "running_counts is True and se_step 'mh': give 'exact', 'filter'"),
        ({"running_counts": 2}, "running_counts is 2"),
    ],
)
def test_what_cannot_be_counted_is_refused(options, message):
    with pytest.raises(InputError, match=message):
        SEMConfig(**{"running_counts": True, **options})
    with pytest.raises(InputError, match="only topics that are read can be counted"):
        NetworkConfig(12, 3, input="word", running_counts=True)


def test_many_topics_are_drawn_exactly():
    resolved = SEMConfig(n_topics=1000, running_counts=True).resolved()
    assert (resolved.se_step, resolved.bfloat16) == ("exact", False)
