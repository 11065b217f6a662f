"""LDA: counts, likelihood, the law of the sampler, α, going on after a stop; gensim beside it."""

import itertools
import os
import re
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from gensim.models import LdaModel
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, optimize, stats
from scipy.special import softmax
from simulated import all_observed, lda_corpus, random_corpus

import lla.lda
from lla.common.arrays import blocks
from lla.common.checkpoint import OtherFitError
from lla.common.errors import InputError
from lla.common.parallel import Workers
from lla.corpus import Corpus, split_corpus
from lla.evaluate.perplexity import perplexity
from lla.lda import LDAConfig, fit_lda, load_lda
from lla.lda.prediction import expected_document_topic, score_held_out
from lla.peers.counts import fit_unigram
from lla.samplers.lda import document_topic_counts, joint_log_likelihood, topic_counts, update_alpha
from lla.topics.words import match_topics

SMALL = LDAConfig(n_topics=3, alpha=0.3, beta=0.1, n_sweeps=12, alpha_every=3, alpha_from=4)


def joint(corpus, topics, alpha, beta):
    n_topics = len(alpha)
    counts = topic_counts(corpus.words, topics, corpus.n_words, n_topics)
    return joint_log_likelihood(
        document_topic_counts(corpus.offsets, topics, n_topics), *counts, np.asarray(alpha), beta
    )


def urn_log_likelihood(corpus, topics, alpha, beta):
    """log p(w, z) token by token: each drawn with the predictive probability given those before."""
    word_topic = np.zeros((corpus.n_words, len(alpha)))
    total = 0.0
    for d in range(corpus.n_documents):
        document_topic = np.zeros(len(alpha))
        for i in range(corpus.offsets[d], corpus.offsets[d + 1]):
            w, k = corpus.words[i], topics[i]
            p_topic = (document_topic + alpha) / (document_topic + alpha).sum()
            p_word = (word_topic[:, k] + beta) / (word_topic[:, k] + beta).sum()
            total += np.log(p_topic[k]) + np.log(p_word[w])
            document_topic[k] += 1
            word_topic[w, k] += 1
    return total


def assert_same_fit(one, other):
    assert one.topics.tobytes() == other.topics.tobytes()
    assert one.alpha.tobytes() == other.alpha.tobytes()
    assert one.log_likelihood == other.log_likelihood
    assert (one.config, one.seed, one.sweep) == (other.config, other.seed, other.sweep)


def test_block_size_does_not_change_draws(monkeypatch):
    corpus, config = random_corpus(30, seed=4), LDAConfig(3, n_sweeps=4)
    fits, folded = [], []
    for most in (2**20, 7):
        for module in (lla.lda, lla.lda.dense, lla.lda.prediction):
            monkeypatch.setattr(module, "blocks", partial(blocks, max_places=most))
        fits.append(fit_lda(all_observed(corpus), config, seed=2, n_threads=1))
        folded.append(fits[-1].document_topic(seed=2))
    assert_same_fit(*fits)
    assert folded[0].tobytes() == folded[1].tobytes()


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000), st.integers(1, 5), st.integers(0, 3))
def test_counts_add_up_after_every_sweep(seed, n_topics, n_sweeps):
    corpus = random_corpus(8, seed=seed)
    config = LDAConfig(n_topics, alpha=0.5, n_sweeps=n_sweeps, alpha_every=1, alpha_from=2)

    def check(state):
        document_topic = document_topic_counts(corpus.offsets, state.topics, n_topics)
        word_topic, topic_total = topic_counts(corpus.words, state.topics, 12, n_topics)
        assert np.array_equal(document_topic.sum(axis=1), corpus.lengths)
        assert np.array_equal(document_topic.sum(axis=0), topic_total)
        assert np.array_equal(word_topic.sum(axis=0), topic_total)
        assert np.array_equal(
            word_topic.sum(axis=1), np.bincount(corpus.words, minlength=corpus.n_words)
        )
        # The trace is computed from the sampler's running counts: they must be those of `topics`.
        fresh = joint(corpus, state.topics, state.alpha, config.beta) / corpus.n_tokens
        assert state.log_likelihood[-1] == pytest.approx(fresh, rel=1e-12)

    state = fit_lda(all_observed(corpus), config, seed, on_iteration=check)
    assert len(state.log_likelihood) == state.sweep == n_sweeps
    phi = state.phi()
    assert phi.shape == (12, n_topics) and (phi > 0).all()
    np.testing.assert_allclose(phi.sum(axis=0), 1, rtol=1e-12)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000), st.floats(0.01, 3), st.floats(0.01, 3))
def test_log_likelihood_is_the_product_of_predictive_probabilities(seed, concentration, beta):
    corpus = random_corpus(6, seed=seed)
    draw = np.random.default_rng(seed)
    topics = draw.integers(3, size=corpus.n_tokens)
    alpha = concentration * np.array([0.5, 1.0, 2.0])
    expected = urn_log_likelihood(corpus, topics, alpha, beta)
    assert joint(corpus, topics, alpha, beta) == pytest.approx(expected, rel=1e-10)


def test_log_likelihood_integrates_phi_and_theta_out():
    """Two words, two topics: every Dirichlet is a Beta, integrated by quadrature."""
    corpus = Corpus.from_documents([[0, 1, 1], [1, 0]], ["a", "b"])
    topics, alpha, beta = np.array([0, 0, 1, 1, 1]), np.array([0.7, 1.9]), 1.3

    def integral(first, second, a, b):
        density = stats.beta(a, b).pdf
        return integrate.quad(lambda x: x**first * (1 - x) ** second * density(x), 0, 1)[0]

    theta = integral(2, 1, *alpha) * integral(0, 2, *alpha)
    phi = integral(1, 1, beta, beta) * integral(1, 2, beta, beta)  # topic 0: a b; topic 1: b b a
    assert joint(corpus, topics, alpha, beta) == pytest.approx(np.log(theta * phi), rel=1e-6)


def test_the_sampler_visits_assignments_by_their_posterior():
    corpus = Corpus.from_documents([[0, 1, 0], [1, 1]], ["a", "b"])
    config = LDAConfig(2, alpha=0.8, beta=0.5, n_sweeps=4000, alpha_every=0)
    paths = np.array(list(itertools.product(range(2), repeat=5)))
    posterior = softmax([joint(corpus, z, np.full(2, 0.8), 0.5) for z in paths])
    visits = np.zeros(len(paths))

    def count(state):
        visits[state.topics @ [16, 8, 4, 2, 1]] += 1

    fit_lda(all_observed(corpus), config, 0, on_iteration=count)
    # 32 states, 4000 dependent draws: half the L1 distance of independent ones would be near 0.03.
    assert 0.5 * np.abs(visits / visits.sum() - posterior).sum() < 0.07
    assert posterior.max() > 3 * posterior.min()  # a uniform sampler would be found out


def test_alpha_converges_to_the_maximum():
    """The fixed point climbs the Dirichlet-multinomial likelihood to scipy's optimum."""
    draw = np.random.default_rng(0)
    truth = np.array([0.2, 0.7, 2.0])
    sizes = draw.integers(5, 60, size=300)
    theta = draw.dirichlet(truth, size=300)
    counts = np.array([draw.multinomial(n, p) for n, p in zip(sizes, theta, strict=True)])

    def log_likelihood(alpha):
        return stats.dirichlet_multinomial(alpha, sizes).logpmf(counts).sum()

    alpha = np.full(3, 0.1)
    climb = [log_likelihood(alpha)]
    for _ in range(12):
        alpha = update_alpha(counts, alpha)
        climb.append(log_likelihood(alpha))
    assert (np.diff(climb) > 0).all()
    found = optimize.minimize(lambda x: -log_likelihood(np.exp(x)), np.zeros(3))
    alpha = update_alpha(counts, alpha, n_steps=500)
    np.testing.assert_allclose(alpha, np.exp(found.x), rtol=1e-3)
    np.testing.assert_allclose(alpha, truth, rtol=0.25)


def test_alpha_of_an_unused_topic_stays_positive():
    counts = np.array([[5, 0, 3], [1, 0, 6]])
    alpha = update_alpha(counts, np.full(3, 0.1), n_steps=50)
    assert alpha[1] == 1e-4 and (alpha[[0, 2]] > 0.1).all()


def truth(n_topics=5, n_words=60, seed=3):
    draw = np.random.default_rng(seed)
    return draw.dirichlet(np.full(n_words, 0.1), size=n_topics).T, np.full(n_topics, 0.3)


@pytest.fixture(scope="module")
def simulated():
    """A corpus by LDA's own story, split, and our fit of its observed part."""
    phi, alpha = truth()
    split = split_corpus(lda_corpus(300, 60, phi, alpha))
    config = LDAConfig(5, alpha=0.1, beta=0.05, n_sweeps=150, alpha_every=10, alpha_from=30)
    return split, fit_lda(split, config, 0)


def test_topics_are_found_again(simulated):
    _, lda = simulated
    phi, alpha = truth()
    match, overlap = match_topics(phi, lda.phi())
    assert sorted(match) == list(range(5))
    assert overlap.min() > 0.85
    np.testing.assert_allclose(lda.alpha[match], alpha, rtol=0.5)
    assert lda.alpha.tolist() != [0.1] * 5


def test_the_trace_rises_from_the_random_start_and_settles(simulated):
    split, lda = simulated
    trace = np.array(lda.log_likelihood)
    start = np.random.default_rng(1).integers(5, size=split.observed.n_tokens)
    at_random = joint(split.observed, start, np.full(5, 0.1), 0.05) / split.observed.n_tokens
    assert trace[0] > at_random
    assert trace[-20:].mean() > trace[:5].mean() + 0.2
    assert np.ptp(trace[-20:]) < 0.05


def gensim_bags(corpus):
    return [sorted(Counter(corpus.document(d).tolist()).items()) for d in range(corpus.n_documents)]


def frozen_perplexity(split, phi, theta):
    """Perplexity of the reported documents when θ (D, K) stays as it is; plain NumPy."""
    document = np.repeat(np.arange(split.corpus.n_documents), split.corpus.lengths)
    p = np.einsum("nk,nk->n", phi[split.corpus.words], theta[document])
    return perplexity(split.sum_held_out(np.log(p)), split, split.reported)


def ours(split, lda, update=False):
    np.testing.assert_allclose(lda.document_topic().sum(axis=1), split.observed.lengths)
    scores = lda.score(split, update=update)
    return perplexity(scores, split, split.reported)


def test_gensim_infers_the_same_proportions_from_our_topics(simulated):
    """Another library's variational θ on our φ and α, the same held-out words."""
    split, lda = simulated
    phi = lda.phi()
    model = LdaModel(
        id2word=dict(enumerate(split.corpus.vocabulary)),
        num_topics=5,
        alpha=lda.alpha.astype(np.float32),
        dtype=np.float64,
        random_state=0,
    )
    model.expElogbeta = phi.T
    gamma, _ = model.inference(gensim_bags(split.observed))
    theirs = frozen_perplexity(split, phi, gamma / gamma.sum(axis=1, keepdims=True))
    assert ours(split, lda) == pytest.approx(theirs, rel=0.01)


def test_held_out_perplexity_is_at_least_as_good_as_gensims_own_fit(simulated):
    split, lda = simulated
    model = LdaModel(
        gensim_bags(split.observed),
        id2word=dict(enumerate(split.corpus.vocabulary)),
        num_topics=5,
        passes=30,
        alpha="auto",
        eta=0.05,
        dtype=np.float64,
        random_state=0,
    )
    gamma, _ = model.inference(gensim_bags(split.observed))
    theirs = frozen_perplexity(split, model.get_topics().T, gamma / gamma.sum(1, keepdims=True))
    baseline = perplexity(fit_unigram(split).score(split), split, split.reported)
    assert ours(split, lda) < 1.01 * theirs
    assert ours(split, lda) < 0.8 * baseline
    assert ours(split, lda, update=True) < ours(split, lda)


def test_the_seed_decides_everything():
    split = all_observed(random_corpus())
    one, again, other = (fit_lda(split, SMALL, seed) for seed in (0, 0, 1))
    assert_same_fit(one, again)
    assert not np.array_equal(one.topics, other.topics)
    assert one.log_likelihood != other.log_likelihood


class Stop(Exception):
    pass


def stop_after(sweep):
    def stop(state):
        if state.sweep == sweep:
            raise Stop

    return stop


@pytest.mark.parametrize("sweep", [1, 3, 5, 8, 11, 12])
def test_an_interrupted_fit_ends_with_the_same_numbers(tmp_path, sweep):
    split, path = all_observed(random_corpus()), tmp_path / "lda.safetensors"
    whole = fit_lda(split, SMALL, 7)
    with pytest.raises(Stop):
        fit_lda(
            split, SMALL, 7, checkpoint=path, checkpoint_every=3, on_iteration=stop_after(sweep)
        )
    sweeps = []
    resumed = fit_lda(
        split,
        SMALL,
        7,
        checkpoint=path,
        checkpoint_every=3,
        on_iteration=lambda s: sweeps.append(s.sweep),
    )
    assert sweeps == list(range(sweep // 3 * 3 + 1, 13))  # from the last saved sweep on
    assert_same_fit(resumed, whole)
    assert_same_fit(load_lda(path, split), whole)


def test_a_checkpoint_of_another_fit_is_refused_and_left_alone(tmp_path):
    split, path = all_observed(random_corpus()), tmp_path / "lda.safetensors"
    done, zeros = fit_lda(split, SMALL, 7, checkpoint=path), np.zeros(split.observed.n_tokens, int)
    before = path.read_bytes()
    others = {
        "it is of another corpus or split": (all_observed(random_corpus(seed=1)), SMALL, 7, None),
        f"beta is {SMALL.beta} there and 0.2 here": (split, replace(SMALL, beta=0.2), 7, None),
        "n_topics is 3 there and 4 here": (split, replace(SMALL, n_topics=4), 7, None),
        "sampler is 'dense' there and 'sparse' here": (
            split,
            replace(SMALL, sampler="sparse"),
            7,
            None,
        ),
        "seed is 7 there and 8 here": (split, SMALL, 8, None),
        "it started from other topics": (split, SMALL, 7, zeros),
    }
    for difference, (other, config, seed, start) in others.items():
        line = f"{path}: holds another fit: {difference}; give checkpoint another file name, or"
        with pytest.raises(OtherFitError, match=f"^{re.escape(line)} delete this file$"):
            fit_lda(other, config, seed, start=start, checkpoint=path)
        assert path.read_bytes() == before
    assert_same_fit(fit_lda(split, SMALL, 7, checkpoint=path), done)


def test_a_second_fit_is_refused_while_the_first_one_writes_the_checkpoint(tmp_path):
    """From another thread; of several processes only the first one writes, and so locks."""
    split, path = all_observed(random_corpus()), tmp_path / "lda.safetensors"

    class Second(Workers):
        rank, size = 1, 1

    fit = partial(fit_lda, split, SMALL, 7, checkpoint=path, checkpoint_every=1)
    with ThreadPoolExecutor(1) as pool:

        def interfere(state):
            if state.sweep == 2:
                line = rf"^{path}: another run is in progress \(process {os.getpid()} .*stop it$"
                with pytest.raises(InputError, match=line):
                    pool.submit(fit).result()
                assert pool.submit(partial(fit, workers=Second())).result().sweep == 12

        done = fit(on_iteration=interfere)
    assert os.listdir(tmp_path) == [path.name]
    assert_same_fit(done, fit_lda(split, SMALL, 7))


@pytest.mark.parametrize("sampler", ["dense", "sparse"])
def test_more_sweeps_go_on_and_fewer_are_refused(tmp_path, sampler):
    split, path = all_observed(random_corpus()), tmp_path / "lda.safetensors"
    config = replace(SMALL, sampler=sampler, alpha_every=2, alpha_from=3)
    fit_lda(split, replace(config, n_sweeps=5), 7, checkpoint=str(path))
    sweeps = []
    longer = fit_lda(
        split, config, 7, checkpoint=path, on_iteration=lambda state: sweeps.append(state.sweep)
    )
    assert sweeps == list(range(6, SMALL.n_sweeps + 1))
    assert_same_fit(longer, fit_lda(split, config, 7))
    before = path.read_bytes()
    line = r"holds a fit after 12 sweeps, .* n_sweeps is 5; give n_sweeps=12 or more, checkpoint"
    with pytest.raises(OtherFitError, match=line):
        fit_lda(split, replace(config, n_sweeps=5), 7, checkpoint=path)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("saved", "same", "differs"),
    [
        ({"alpha_every": 0, "alpha_from": 4}, {"alpha_from": 9}, {"alpha_every": 3}),
        ({"alpha_every": 5, "alpha_from": 6}, {"alpha_from": 10}, {"alpha_from": 11}),
        ({"alpha_every": 5, "alpha_from": 0}, {"alpha_from": 5}, {"alpha_from": 6}),
        ({"n_shards": 1}, {"n_shards": 3}, {"sampler": "sparse"}),
    ],
)
def test_options_without_effect_do_not_tell_fits_apart(tmp_path, saved, same, differs):
    split, path = all_observed(random_corpus()), tmp_path / "lda.safetensors"
    config = replace(SMALL, **saved)
    fit_lda(split, replace(config, n_sweeps=4), 7, checkpoint=path)
    other = replace(config, **same)
    assert_same_fit(fit_lda(split, other, 7, checkpoint=path), fit_lda(split, other, 7))
    with pytest.raises(OtherFitError, match=f"{next(iter(differs))} is "):
        fit_lda(split, replace(config, **differs), 7, checkpoint=path)


def test_a_finished_fit_is_read_and_not_run_again(tmp_path):
    split, path = all_observed(random_corpus()), tmp_path / "lda.safetensors"
    done = fit_lda(split, SMALL, 7, checkpoint=path)
    sweeps = []
    again = fit_lda(split, SMALL, 7, checkpoint=path, on_iteration=sweeps.append)
    assert sweeps == [] and again.seconds == done.seconds
    assert_same_fit(again, done)


def test_files_that_cannot_be_used_give_one_line(tmp_path):
    split, path = all_observed(random_corpus()), tmp_path / "lda.safetensors"
    with pytest.raises(InputError, match=r"lda\.safetensors: no such file"):
        load_lda(path, split)
    fit_lda(split, SMALL, 7, checkpoint=path)
    with pytest.raises(
        InputError, match=r"lda\.safetensors: not an LDA of this corpus and split; fit it"
    ):
        load_lda(path, all_observed(random_corpus(seed=1)))
    path.write_bytes(path.read_bytes()[:-5])
    for broken in (
        lambda: load_lda(path, split),
        lambda: fit_lda(split, SMALL, 7, checkpoint=path),
    ):
        with pytest.raises(InputError, match=r"lda\.safetensors: .*delete it") as caught:
            broken()
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("n_topics", 0),
        ("n_topics", -3),
        ("alpha", 0.0),
        ("alpha", float("nan")),
        ("beta", 0),
        ("beta", -0.01),
        ("n_sweeps", -1),
        ("alpha_every", -1),
    ],
)
def test_options_out_of_range_are_named(option, value):
    with pytest.raises(InputError, match=f"^{option} is {value}: give"):
        LDAConfig(**{option: value})


@pytest.mark.parametrize("update", [True, False])
def test_some_documents_are_scored_as_a_corpus_of_them(update):
    split = split_corpus(random_corpus(30, seed=3))
    lda, chosen = fit_lda(split, SMALL, 1), np.arange(30) % 3 == 1
    found = lda.score(split, seed=2, update=update, documents=chosen)
    part = split.restrict(chosen)
    topics = lda.topics[np.repeat(chosen, split.observed.lengths)]
    counts = expected_document_topic(part.observed, topics, lda.phi(), lda.alpha, 2)
    expected = score_held_out(lda.phi(), lda.alpha, counts, part, update)
    assert np.array_equal(found[chosen], expected) and (found[~chosen] == 0).all()
    every = lda.score(split, seed=2, update=update, documents=np.ones(30, bool))
    assert np.array_equal(every, lda.score(split, seed=2, update=update))
    with pytest.raises(InputError, match="documents: none is chosen"):
        lda.score(split, documents=np.zeros(30, bool))
