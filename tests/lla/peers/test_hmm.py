"""The HMM against all topic histories, a fit in plain Python, and the models it must become."""

import math
from functools import partial

import numpy as np
import pytest
import torch
from enumeration import exact, histories, within_standard_errors
from hypothesis import given, settings
from hypothesis import strategies as st
from simulated import markov_network, random_corpus, sticky_split

from lla.common.checkpoint import OtherFitError
from lla.common.errors import InputError
from lla.common.parallel import thread_pool
from lla.corpus import Corpus, Split, split_corpus
from lla.evaluate.perplexity import perplexity
from lla.inference.emission import SharedEmission
from lla.inference.filter import FilterConfig, FilterResult, infer
from lla.model import Model
from lla.peers.counts import UnigramConfig, fit_unigram
from lla.peers.hmm import (
    HMM,
    HMMConfig,
    Parameters,
    count_parameters,
    em_step,
    fit_hmm,
    forward,
    maximise,
)
from lla.peers.hmm import kernels as hmm_kernels
from lla.peers.simulate import random_phi


def corpus_of(*documents):
    return Corpus.from_documents(documents, "abcd")


K, V = 3, 4
WORDS = corpus_of([2, 0, 3, 3, 1]).document(0)
DRAW = np.random.default_rng(5)
INITIAL, TRANSITION = DRAW.dirichlet(np.ones(K)), DRAW.dirichlet(np.ones(K), size=K)
PHI = random_phi(V, K, 0.5, seed=6)
MODEL = HMM(INITIAL, TRANSITION, PHI, vocabulary=tuple("abcd"))
SMALL = HMMConfig(n_topics=K, alpha=0.3, beta=0.2, n_iterations=9, patience=9)


def path_probabilities(words):
    """All topic histories (K^T, T), and p(z, w) of each."""
    z = histories(K, len(words))
    p = INITIAL[z[:, 0]] * PHI[words[0], z[:, 0]]
    for t in range(1, len(words)):
        p = p * TRANSITION[z[:, t - 1], z[:, t]] * PHI[words[t], z[:, t]]
    return z, p


# ----------------------------------------------------------------- against all histories


def test_evidence_and_topic_proportions_are_sums_over_all_histories():
    theta, evidence = forward(MODEL.parameters, WORDS)
    for t in range(len(WORDS)):
        joint = path_probabilities(WORDS[: t + 1])[1].sum()
        np.testing.assert_allclose(evidence[: t + 1].prod(), joint, rtol=1e-12)
        z, p = path_probabilities(WORDS[: t + 1])
        p = p / PHI[WORDS[t], z[:, t]]  # z_t before its word is seen
        expected = np.bincount(z[:, t], p, minlength=K) / p.sum()
        np.testing.assert_allclose(theta[t], expected, rtol=1e-12)


def test_scores_are_of_the_held_out_words_given_the_observed():
    split = split_corpus(corpus_of(WORDS, [1], [3, 3]), 0.6, development=0)
    both = path_probabilities(WORDS)[1].sum() / path_probabilities(WORDS[:3])[1].sum()
    last = path_probabilities([3, 3])[1].sum() / path_probabilities([3])[1].sum()
    assert split.n_held_out.tolist() == [2, 0, 0]
    np.testing.assert_allclose(MODEL.score(split), [math.log(both), 0, 0], rtol=1e-12)
    whole = Split(split.corpus, split.observed, np.array([3, 1, 1]), split.development)
    np.testing.assert_allclose(MODEL.score(whole)[2], math.log(last), rtol=1e-12)


def expected_counts(documents):
    """E of first topics, pairs of topics and words of topics, by enumeration."""
    counts = Parameters(np.zeros(K), np.zeros((K, K)), np.zeros((V, K)))
    for words in documents:
        z, p = path_probabilities(words)
        for path, weight in zip(z, p / p.sum(), strict=True):
            counts.initial[path[0]] += weight
            np.add.at(counts.transition, (path[:-1], path[1:]), weight)
            np.add.at(counts.phi, (words, path), weight)
    return counts


def test_an_iteration_counts_what_enumeration_counts():
    documents = [WORDS.tolist(), [1], [3, 3], [0, 2, 1, 0, 1, 2]]
    corpus = corpus_of(*documents)
    with thread_pool(2) as pool:
        found, row = em_step(MODEL.parameters, corpus, SMALL, pool)
    for array, expected in zip(found, maximise(expected_counts(documents), SMALL), strict=True):
        np.testing.assert_allclose(array, expected, rtol=1e-11)
    log_p = sum(math.log(path_probabilities(words)[1].sum()) for words in documents)
    assert row["loss"] == pytest.approx(-log_p / corpus.n_tokens, rel=1e-12)
    prior = 0.3 * np.log(INITIAL).sum() + 0.3 * np.log(TRANSITION).sum() + 0.2 * np.log(PHI).sum()
    assert row["objective"] == pytest.approx(-(log_p + prior) / corpus.n_tokens, rel=1e-12)
    topics = [expected_counts([words]).phi.sum(axis=0) for words in documents]
    np.testing.assert_allclose(MODEL.document_topic(corpus), topics, rtol=1e-11)


# ----------------------------------------------------------------- against plain Python


def log_sum(values):
    largest = max(values)
    return largest + math.log(sum(math.exp(value - largest) for value in values))


def baum_welch(parameters, documents, alpha, beta):
    """One iteration in logarithms, without scaling, state by state; and the log-likelihood."""
    pi, a, b = (np.log(array).tolist() for array in parameters)
    states = range(len(pi))
    first = [alpha] * len(pi)
    pairs = [[alpha] * len(pi) for _ in states]
    emitted = [[beta] * len(pi) for _ in b]
    total = 0.0
    for words in documents:
        forth = [[pi[k] + b[words[0]][k] for k in states]]
        for w in words[1:]:
            forth.append(
                [log_sum([forth[-1][j] + a[j][k] for j in states]) + b[w][k] for k in states]
            )
        back = [[0.0] * len(pi)]
        for w in reversed(words[1:]):
            back.insert(
                0, [log_sum([a[j][k] + b[w][k] + back[0][k] for k in states]) for j in states]
            )
        log_p = log_sum(forth[-1])
        total += log_p
        for t, w in enumerate(words):
            for k in states:
                posterior = math.exp(forth[t][k] + back[t][k] - log_p)
                emitted[w][k] += posterior
                first[k] += posterior if t == 0 else 0.0
                for j in states if t else ():
                    pairs[j][k] += math.exp(
                        forth[t - 1][j] + a[j][k] + b[w][k] + back[t][k] - log_p
                    )
    first, pairs, emitted = map(np.array, (first, pairs, emitted))
    return (
        Parameters(
            first / first.sum(), pairs / pairs.sum(axis=1)[:, None], emitted / emitted.sum(0)
        ),
        total,
    )


def test_iterations_are_those_of_plain_python():
    """Words of several documents, longer than an enumeration could follow."""
    corpus = random_corpus(9, n_words=V, longest=40, seed=2)
    documents = [corpus.document(d).tolist() for d in range(corpus.n_documents)]
    ours = theirs = MODEL.parameters
    with thread_pool(1) as pool:
        for _ in range(3):
            ours, row = em_step(ours, corpus, SMALL, pool)
            theirs, log_p = baum_welch(theirs, documents, SMALL.alpha, SMALL.beta)
            assert row["loss"] == pytest.approx(-log_p / corpus.n_tokens, rel=1e-10)
            for one, other in zip(ours, theirs, strict=True):
                np.testing.assert_allclose(one, other, rtol=1e-9)


@pytest.mark.parametrize("n_topics", [1, 3, 6])
def test_kernels_compiled_and_plain_agree(n_topics):
    corpus = random_corpus(4, n_words=V, seed=3)
    draw = np.random.default_rng(n_topics)
    transition = draw.dirichlet(np.ones(n_topics), size=n_topics)
    row, matrix = draw.random(n_topics), draw.random((n_topics, 5))
    out = np.empty((2, 5))
    hmm_kernels.times(row, matrix, out[0])
    hmm_kernels.times.py_func(row, matrix, out[1])
    np.testing.assert_allclose(out, [row @ matrix] * 2, rtol=1e-12)
    left, right = draw.random((7, n_topics)), draw.random((7, 5))
    sums = np.ones((2, n_topics, 5))
    hmm_kernels.add_products(left, right, sums[0])
    hmm_kernels.add_products.py_func(left, right, sums[1])
    np.testing.assert_allclose(sums, [1 + left.T @ right] * 2, rtol=1e-12)
    phi, found = np.ascontiguousarray(random_phi(V, n_topics, 0.5, seed=1)), []
    for kernel in (hmm_kernels.hmm_count, hmm_kernels.hmm_count.py_func):
        counts = (np.zeros(n_topics), np.zeros((n_topics, n_topics)), np.zeros((V, n_topics)))
        log_p = kernel(
            corpus.words,
            corpus.offsets,
            transition[0],
            transition,
            np.ascontiguousarray(transition.T),
            phi,
            *counts,
        )
        found.append((log_p, *counts))
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-11)
    words = corpus.document(0)
    passes = np.empty((2, 2, len(words), n_topics))
    for of, kind in zip(passes, ("__call__", "py_func"), strict=True):
        evidence = np.empty(len(words))
        for name, arrays in (
            ("hmm_forward", (words, transition[0], transition, phi, of[0], evidence)),
            ("hmm_backward", (words, transition.T.copy(), phi, evidence, of[1])),
        ):
            getattr(getattr(hmm_kernels, name), kind)(*arrays)
    np.testing.assert_allclose(passes[0], passes[1], rtol=1e-11)


# ------------------------------------------------------------------- first-order LLA


def lla_of(hmm):
    """An LLA whose LSTM remembers z_{t-1} alone, with the HMM's probabilities."""
    network = markov_network(np.vstack([hmm.transition, hmm.initial]))
    emission = SharedEmission(torch.from_numpy(hmm.phi.astype(np.float32)))
    return Model(network, emission, np.zeros(0, np.int32), vocabulary=hmm.vocabulary)


def test_an_lla_of_first_order_is_the_hmm():
    """Exactly, over all topic histories."""
    theirs = exact(lla_of(MODEL).network, PHI, WORDS)
    np.testing.assert_allclose(forward(MODEL.parameters, WORDS)[1], theirs.evidence, rtol=1e-5)


def test_its_particle_filter_agrees_with_the_forward_filter():
    """Evidence and expected topics of many particles; few particles are unbiased."""
    documents = [WORDS, [1], [3, 3, 0, 2, 1, 1, 1, 3, 0, 0, 2, 3]]
    corpus, model = corpus_of(*documents), lla_of(MODEL)
    counts = np.zeros((3, K))
    with thread_pool(1) as pool:
        run = partial(infer, model.network, model.emission, seed=3, key=(1,), pool=pool)
        many = FilterConfig(n_particles=20_000, n_lanes=20_000)
        out = FilterResult(
            np.zeros(corpus.n_tokens, np.int32), np.empty(corpus.n_tokens), 0, counts
        )
        run(corpus, many, out=out)
        copies = corpus_of(*[documents[2]] * 2000)
        few = run(copies, FilterConfig(n_particles=5)).log_evidence
    evidence = np.concatenate([forward(MODEL.parameters, corpus.document(d))[1] for d in range(3)])
    np.testing.assert_allclose(out.log_evidence, np.log(evidence), atol=0.02)
    np.testing.assert_allclose(counts, MODEL.document_topic(corpus), atol=0.06)
    sample = np.exp(few.reshape(2000, -1).sum(axis=1))
    assert within_standard_errors(sample, evidence[-12:].prod())


def collect(model, split, **options):
    rows = {}

    def visit(positions, scores):
        rows.update(zip(positions.tolist(), scores.copy(), strict=True))

    model.next_items(split, visit, **options)
    return np.array([rows[position] for position in sorted(rows)])


def test_both_predict_the_next_word_alike():
    split = split_corpus(corpus_of(WORDS, [3, 3, 0, 2, 1, 1, 1, 3]), 0.6, development=0)
    theirs = collect(lla_of(MODEL), split, n_particles=20_000)
    np.testing.assert_allclose(collect(MODEL, split), theirs, atol=0.01)


# ------------------------------------------------------------------- models it must become


@pytest.mark.parametrize("beta", [0.5, 2.0])
def test_one_topic_is_the_smoothed_unigram(beta):
    split = split_corpus(random_corpus())
    model = fit_hmm(split, HMMConfig(n_topics=1, beta=beta, n_iterations=2), 1)
    unigram = fit_unigram(split, UnigramConfig(beta))
    np.testing.assert_allclose(model.phi[:, 0], unigram.probability, rtol=1e-12)
    np.testing.assert_allclose(model.score(split), unigram.score(split), rtol=1e-10)
    assert model.size().parameters == 1 + 1 + split.corpus.n_words


def test_topics_that_forget_are_a_mixture_of_unigrams_per_word():
    model = HMM(INITIAL, np.tile(INITIAL, (K, 1)), PHI)
    _, evidence = forward(model.parameters, WORDS)
    np.testing.assert_allclose(evidence, PHI[WORDS] @ INITIAL, rtol=1e-12)


def test_rows_are_distributions_and_give_the_scores():
    split = split_corpus(random_corpus(6, n_words=V, seed=8), 0.5, development=0)
    model = HMM(INITIAL, TRANSITION, PHI)
    rows = collect(model, split)
    np.testing.assert_allclose(rows.sum(axis=1), 1, rtol=1e-6)
    words = split.corpus.words[split.held_out]
    log_p = np.zeros(split.corpus.n_tokens)
    log_p[split.held_out] = np.log(rows[np.arange(len(words)), words])
    np.testing.assert_allclose(model.score(split), split.sum_held_out(log_p), rtol=1e-5)


# ----------------------------------------------------------------------------- the fit


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 100), st.sampled_from([1e-3, 0.3, 2.0]), st.sampled_from([1e-3, 0.2, 1.5]))
def test_no_iteration_lowers_the_posterior(seed, alpha, beta):
    split = split_corpus(random_corpus(seed=seed), development=0.6)
    config = HMMConfig(3, alpha=alpha, beta=beta, n_iterations=12, patience=12)
    objective = [row["objective"] for row in fit_hmm(split, config, seed, n_threads=1).history]
    assert len(objective) == 12 and (np.diff(objective) <= 1e-12).all()
    assert objective[-1] < objective[0]


@pytest.fixture(scope="module")
def sticky():
    return sticky_split(3, 20, 60, 60)


def test_it_learns_what_an_lda_cannot_know(sticky):
    """The corpus is an HMM's: the fit comes close to the truth, from either start."""
    split, truth, topics = sticky
    best = HMM(*truth_of(truth), vocabulary=split.corpus.vocabulary)
    scores = best.score(split)
    plain = perplexity(fit_unigram(split).score(split), split)
    config = HMMConfig(n_topics=3, n_iterations=60)
    observed = topics[~split.held_out]
    for start in (None, observed):
        found = perplexity(fit_hmm(split, config, 2, start=start).score(split), split)
        assert found < perplexity(scores, split) * 1.03 < plain * 0.9


def truth_of(model):
    """π, A and φ of an LLA of first order."""
    logits = model.network.output.weight.detach().double().numpy().T * np.tanh(1)
    rows = np.exp(logits)
    return rows[-1], rows[:-1], model.emission.phi.numpy().astype(np.float64)


def test_a_start_from_known_topics_counts_them():
    corpus = corpus_of([0, 1, 1], [2], [3, 3])
    found = count_parameters(corpus, np.array([0, 1, 1, 2, 1, 0], np.uint16), SMALL)
    np.testing.assert_allclose(found.initial, np.array([1.3, 1.3, 1.3]) / 3.9)
    pairs = np.array([[0, 1, 0], [1, 1, 0], [0, 0, 0]]) + 0.3
    np.testing.assert_allclose(found.transition, pairs / pairs.sum(axis=1, keepdims=True))
    words = np.array([[1, 0, 0], [0, 2, 0], [0, 0, 1], [1, 1, 0]]) + 0.2
    np.testing.assert_allclose(found.phi, words / words.sum(axis=0))


def test_more_starts_find_no_lower_posterior(sticky):
    split = sticky[0]
    config = HMMConfig(n_topics=3, n_iterations=1)
    first = [
        fit_hmm(split, HMMConfig(n_topics=3, n_iterations=1, n_starts=n), 1).history[0]
        for n in (2, 4)
    ]
    assert first[1]["objective"] <= first[0]["objective"]
    assert first[0]["objective"] < fit_hmm(split, config, 1).history[0]["objective"]


def same(one, other):
    pairs = zip(one.parameters, other.parameters, strict=True)
    return all(a.tobytes() == b.tobytes() for a, b in pairs)


def test_threads_do_not_change_a_bit(sticky):
    split = sticky[0]
    one, four = (fit_hmm(split, SMALL, 1, n_threads=n) for n in (1, 4))
    assert same(one, four)
    assert one.score(split, n_threads=1).tobytes() == one.score(split, n_threads=3).tobytes()


@pytest.mark.parametrize("given", [False, True])
def test_an_interrupted_fit_ends_with_the_same_numbers(tmp_path, given):
    split, path = split_corpus(random_corpus()), tmp_path / "hmm.safetensors"
    topics = np.arange(split.observed.n_tokens) % K if given else None
    fit = partial(fit_hmm, split, SMALL, 7, start=topics)
    whole = fit()

    def stop(state):
        if len(state.history) == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(checkpoint=path, on_iteration=stop)
    done = []
    resumed = fit(checkpoint=path, on_iteration=lambda state: done.append(len(state.history)))
    assert done == [5, 6, 7, 8, 9]
    assert same(whole, resumed)
    again = fit(checkpoint=path, on_iteration=pytest.fail)
    assert same(again, resumed) and again.history == resumed.history
    with pytest.raises(OtherFitError, match="seed is 7 there and 8 here"):
        fit_hmm(split, SMALL, 8, start=topics, checkpoint=path)
    others = np.arange(split.observed.n_tokens)[::-1] % K
    with pytest.raises(OtherFitError, match="it started from other topics"):
        fit_hmm(split, SMALL, 7, start=others if given else others[::-1], checkpoint=path)
    if given:
        with pytest.raises(OtherFitError, match="it started from other topics"):
            fit_hmm(split, SMALL, 7, checkpoint=path)


def test_the_best_iteration_on_development_documents_is_kept():
    split = split_corpus(random_corpus(seed=4), seed=2)
    config = HMMConfig(n_topics=6, beta=1e-3, n_iterations=60, patience=3)
    model = fit_hmm(split, config, 1)
    rows = [row["development_perplexity"] for row in model.history]
    best = int(np.argmin(rows))
    assert len(rows) == best + 4, "random words are learned by heart"
    development = perplexity(model.score(split), split, split.development)
    assert development == pytest.approx(rows[best], rel=1e-12)


def test_what_cannot_be_is_refused():
    split = split_corpus(random_corpus())
    for options in ({"n_topics": 0}, {"alpha": 0.0}, {"beta": -1}, {"n_starts": 0}):
        with pytest.raises(InputError, match=f"^{next(iter(options))} is"):
            HMMConfig(**options)
    with pytest.raises(InputError, match="start: topic 3, but n_topics is 3"):
        fit_hmm(split, SMALL, 1, start=np.full(split.observed.n_tokens, 3))
    with pytest.raises(InputError, match="development"):
        fit_hmm(split_corpus(random_corpus(), development=0), SMALL, 1)
    with pytest.raises(InputError, match="corpus: 12 words, but the model has 4"):
        MODEL.score(split)
    for arrays in (
        (INITIAL[:2], TRANSITION, PHI),
        (INITIAL, TRANSITION[:2], PHI),
        (INITIAL, TRANSITION, PHI.T),
    ):
        with pytest.raises(InputError, match=r"^initial .*: give \(K,\), \(K, K\) and \(V, K\)"):
            HMM(*arrays)
