"""Particle Gibbs against the posterior over all K^T histories, and the beam against its maximum."""

import numpy as np
import pytest
import torch
from enumeration import LEVEL, exact, histories, history_number, p_value

from lla.common.errors import InputError
from lla.common.parallel import thread_pool
from lla.corpus import Corpus
from lla.inference.batch import Stepper
from lla.inference.emission import SharedEmission
from lla.inference.filter import FilterConfig, infer
from lla.inference.histories import HistoryConfig, beam_topics, particle_gibbs
from lla.lstm import NetworkConfig
from lla.peers.simulate import random_network, random_phi
from lla.samplers import histories as history_samplers

K, V = 3, 4
WORDS = [2, 0, 3, 1]
NETWORK = random_network(NetworkConfig(K, K, 4, 5), seed=3, gain=12.0)
PHI = random_phi(V, K, 0.5, seed=4)
EXACT = exact(NETWORK, PHI, WORDS)
POSTERIOR = EXACT.joint / EXACT.joint.sum()
PATHS = histories(K, len(WORDS))


def emission(phi=PHI):
    return SharedEmission(torch.tensor(np.asarray(phi), dtype=torch.float32))


def corpus_of(documents):
    return Corpus.from_documents(documents, [f"w{w}" for w in range(V)])


def gibbs(documents, topics, seed=0, key=(1,), threads=1, **config):
    with thread_pool(threads) as pool:
        return particle_gibbs(
            Stepper(NETWORK),
            emission(),
            corpus_of(documents),
            np.concatenate(topics).astype(np.int32),
            HistoryConfig(**config),
            seed=seed,
            key=key,
            pool=pool,
        )


def mixed_documents(seed=0):
    draw = np.random.default_rng(seed)
    documents = [draw.integers(V, size=n) for n in draw.integers(1, 30, size=25)]
    return documents, [draw.integers(K, size=len(words)) for words in documents]


CASES = [
    {"n_particles": 2, "lookahead": 9, "threshold": 1.0},
    {"n_particles": 5, "lookahead": 9, "threshold": 1.0},
    {"n_particles": 4, "lookahead": 9, "threshold": 0.7},
    {"n_particles": 3, "lookahead": -1, "threshold": 1.0},
    {"n_particles": 3, "lookahead": -1, "threshold": 0.6},
]


@pytest.mark.parametrize("config", CASES)
def test_particle_gibbs_leaves_the_posterior_invariant(config):
    """Histories drawn from p(z | w), moved once, are still drawn from it: all 81 are counted."""
    n = 20_000
    start = PATHS[np.random.default_rng(1).choice(len(PATHS), size=n, p=POSTERIOR)]
    moved = gibbs([WORDS] * n, start, **config).topics.reshape(n, -1)
    assert (moved != start).any(axis=1).mean() > 0.1, "nothing moves"
    counts = np.bincount(history_number(moved, K), minlength=len(PATHS))
    assert p_value(counts, POSTERIOR) > LEVEL


@pytest.mark.parametrize(("config", "n_moves"), [(CASES[1], 8), (CASES[2], 8), (CASES[3], 30)])
def test_the_posterior_is_reached_from_anywhere(config, n_moves):
    """Many moves from the least likely history: what is left is p(z | w), and not the filter's."""
    n, topics = 4_000, np.tile(PATHS[POSTERIOR.argmin()], (4_000, 1))
    for move in range(n_moves):
        topics = gibbs([WORDS] * n, topics, key=(move,), **config).topics.reshape(n, -1)
    counts = np.bincount(history_number(topics, K), minlength=len(PATHS))
    assert p_value(counts, POSTERIOR) > LEVEL
    assert p_value(counts, EXACT.drawn) < LEVEL, "the test could not tell them apart"


def test_geweke():
    """z | w by particle Gibbs and w | z by φ, again and again: topics keep their prior."""
    n, length = 12_000, 3
    draw = np.random.default_rng(2)
    paths = histories(K, length)
    prior = np.ones(len(paths))
    tables = exact(NETWORK, np.full((V, K), 1 / V), [0] * length)
    for row, path in enumerate(paths):
        prior[row] = np.prod([tables.theta[row, t, k] for t, k in enumerate(path)])
    np.testing.assert_allclose(prior.sum(), 1.0)
    topics = paths[draw.choice(len(paths), size=n, p=prior)]
    cumulative = np.cumsum(PHI, axis=0)
    for round_ in range(4):
        words = (draw.random((n, length)) > cumulative[:, topics]).sum(axis=0)
        words = np.minimum(words, V - 1)
        found = gibbs(list(words), topics, key=(7, round_), n_particles=3, threshold=0.9)
        topics = found.topics.reshape(n, length)
    counts = np.bincount(history_number(topics, K), minlength=len(paths))
    assert p_value(counts, prior) > LEVEL


def test_lookahead_past_the_end_changes_nothing_and_a_short_one_does():
    documents, topics = mixed_documents()
    full, longer = (gibbs(documents, topics, lookahead=n, threshold=1.0) for n in (40, 400))
    short = gibbs(documents, topics, lookahead=0, threshold=1.0)
    assert full.topics.tobytes() == longer.topics.tobytes()
    assert (full.topics != short.topics).any()


def test_one_particle_is_the_reference():
    documents, topics = mixed_documents()
    found = gibbs(documents, topics, n_particles=1)
    assert found.topics.tolist() == np.concatenate(topics).tolist()


def test_threads_do_not_change_the_result_and_groups_only_its_rounding():
    documents, topics = mixed_documents()
    one, two = (gibbs(documents, topics, threads=n, n_lanes=32) for n in (1, 2))
    assert one.topics.tobytes() == two.topics.tobytes()
    assert one.log_evidence.tobytes() == two.log_evidence.tobytes()
    # Another group of lanes multiplies other matrices: the same but for float rounding.
    other = gibbs(documents, topics, n_lanes=512)
    assert (one.topics != other.topics).mean() < 0.05


@pytest.mark.parametrize("width", [81, 200])
def test_a_wide_beam_finds_the_likeliest_history(width):
    with thread_pool(1) as pool:
        found = beam_topics(Stepper(NETWORK), emission(), corpus_of([WORDS]), width, pool=pool)
    best = int(EXACT.joint.argmax())
    assert found.topics.tolist() == PATHS[best].tolist()
    assert found.log_evidence.sum() == pytest.approx(np.log(EXACT.joint[best]), rel=1e-5)


def test_a_beam_of_one_is_greedy():
    document = [1, 3, 3, 0, 2, 1]
    with thread_pool(1) as pool:
        found = beam_topics(Stepper(NETWORK), emission(), corpus_of([document]), 1, pool=pool)
    stepper = Stepper(NETWORK)
    (h, c), z = stepper.initial_state(1), stepper.start
    for word, topic in zip(document, found.topics, strict=True):
        theta = stepper.step(torch.tensor([z]), h, c).numpy()[0]
        z = int((theta * PHI[word]).argmax())
        assert z == topic


def test_a_wider_beam_finds_likelier_histories():
    documents, _ = mixed_documents(3)
    with thread_pool(1) as pool:
        scores = [
            beam_topics(
                Stepper(NETWORK), emission(), corpus_of(documents), width, pool=pool
            ).log_evidence.sum()
            for width in (1, 4, 16)
        ]
    assert scores[0] < scores[1] <= scores[2]


def test_the_beam_keeps_the_best_of_all_extensions():
    """The kernel against sorting all P·K extensions, zero weights among them."""
    draw = np.random.default_rng(0)
    for step in (history_samplers.beam_step, history_samplers.beam_step.py_func):
        for _ in range(20):
            width, n_topics = draw.integers(1, 6, size=2)
            theta = draw.dirichlet(np.ones(n_topics), size=2 * width).astype(np.float32)
            likelihood = draw.random((2, n_topics)) * (draw.random((2, n_topics)) > 0.3)
            scores = np.sort(draw.normal(size=(2, width)), axis=1)[:, ::-1].copy()
            topics, ancestors = (np.empty(2 * width, np.int64) for _ in range(2))
            after = scores.copy()
            step(theta, likelihood, after, topics, ancestors)
            for lane in range(2):
                rows = slice(lane * width, (lane + 1) * width)
                with np.errstate(divide="ignore"):
                    every = scores[lane][:, None] + np.log(
                        theta[rows].astype(np.float64) * likelihood[lane]
                    )
                best = np.sort(every.ravel())[::-1][:width]
                np.testing.assert_allclose(after[lane][: len(best)], best, rtol=1e-6)
                for p in np.flatnonzero(np.isfinite(after[lane])):
                    source = ancestors[rows][p] - lane * width
                    assert every[source, topics[rows][p]] == pytest.approx(after[lane][p], rel=1e-6)


@pytest.mark.parametrize("name", ["weigh_particles", "conditional_step", "trace_paths"])
def test_compiled_kernels_are_the_plain_ones(name, monkeypatch):
    documents, topics = mixed_documents(5)
    documents, topics = documents[:6], topics[:6]
    compiled = gibbs(documents, topics, n_particles=4, threshold=0.8)
    kernel = getattr(history_samplers, name)
    monkeypatch.setattr(f"lla.inference.histories.{name}", kernel.py_func)
    plain = gibbs(documents, topics, n_particles=4, threshold=0.8)
    assert compiled.topics.tobytes() == plain.topics.tobytes()


def test_the_evidence_is_the_filters_where_nothing_is_resampled():
    """One word: θ is the same for all particles, so the estimate is p(w_1), as the filter's."""
    documents = [[w] for w in range(V)]
    found = gibbs(documents, [np.zeros(1, int)] * V, n_particles=4)
    with thread_pool(1) as pool:
        other = infer(
            NETWORK,
            emission(),
            corpus_of(documents),
            FilterConfig(4),
            seed=0,
            key=(1,),
            pool=pool,
        )
    np.testing.assert_allclose(found.log_evidence, other.log_evidence, rtol=1e-6)


def test_lookahead_is_a_whole_number():
    with pytest.raises(InputError, match="lookahead is -2"):
        HistoryConfig(lookahead=-2)
