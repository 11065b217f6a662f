"""Sweeps keep the counts and settle where the dense ones do; no thread count and no stop shows."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simulated import all_observed, lda_corpus, random_corpus
from small_lda import draw, laid_out, sampler_of

from lla.common.checkpoint import OtherFitError
from lla.common.errors import InputError
from lla.common.files import load_tensors, save_tensors
from lla.corpus import Corpus
from lla.lda import LDAConfig, fit_lda, load_lda
from lla.lda.sparse import cut_documents, group_words
from lla.samplers import sparse_lda as sparse_kernels
from lla.samplers.lda import (
    document_topic_counts,
    joint_log_likelihood,
    topic_counts,
    update_alpha,
    update_alpha_of_entries,
)

ALMOST_ONE = np.float32(1 - 2**-24)  # the largest float32 below 1
SPARSE = LDAConfig(3, 0.3, 0.1, 12, alpha_every=3, alpha_from=4, sampler="sparse", n_shards=2)
always_the_same = settings(derandomize=True, deadline=None, max_examples=60)
POOL = ThreadPoolExecutor(1)


def assert_counts(corpus, sampler, n_topics):
    sampler.to_document_order()
    topics = sampler.topics.copy()
    sampler.to_word_order()
    document_topic = document_topic_counts(corpus.offsets, topics, n_topics)
    slots, sizes, topic, count = sampler.entries
    for d in range(corpus.n_documents):
        mine = slice(slots[d], slots[d] + sizes[d])
        assert sizes[d] <= slots[d + 1] - slots[d] and count[mine].min() > 0
        assert len(set(topic[mine])) == sizes[d]
        assert np.array_equal(np.bincount(topic[mine], count[mine], n_topics), document_topic[d])
    assert np.array_equal(sampler.topic_total, np.bincount(topics, minlength=n_topics))
    return topics, document_topic


@always_the_same
@given(st.integers(0, 1000), st.integers(1, 9), st.integers(1, 5), st.floats(0.01, 3))
def test_counts_are_conserved_and_recounted_after_every_sweep(seed, n_topics, n_shards, scale):
    corpus, sampler = sampler_of(seed, n_topics, n_shards, n_documents=1 + seed % 7)
    alpha, seen = scale * np.linspace(0.2, 1.0, n_topics), set()
    for sweep in range(4):
        sampler.to_document_order()
        before = sampler.topics.copy()
        sampler.sweep(alpha, (seed, sweep), POOL)
        topics, document_topic = assert_counts(corpus, sampler, n_topics)
        seen.add(np.array_equal(before, topics))
        counts = topic_counts(corpus.words, topics, corpus.n_words, n_topics)
        expected = joint_log_likelihood(document_topic, *counts, alpha, sampler.beta)
        assert sampler.log_likelihood(alpha, POOL) == pytest.approx(expected, rel=1e-10)
        entries = (sampler.document_topic, corpus.lengths)
        learned = update_alpha(document_topic, alpha)
        np.testing.assert_allclose(update_alpha_of_entries(*entries, alpha), learned, rtol=1e-9)
    assert False in seen or n_topics == 1 or corpus.n_tokens < 10


def test_uniforms_at_both_ends_draw_and_keep_the_counts():
    for u in (np.float32(0.0), ALMOST_ONE):
        corpus, sampler = sampler_of(3, 6)
        tokens = (sampler.starts, sampler.topics, sampler.documents, sampler.entries)
        uniforms = np.full(corpus.n_tokens, u)
        for _ in range(3):
            tail = (sampler.topic_total, np.full(6, 1e-4), 0.2, uniforms)
            sparse_kernels.sample_block(0, 12, 0, *tokens, *tail)
            assert_counts(corpus, sampler, 6)


@pytest.mark.parametrize("length", [2**16 - 1, 2**16])
def test_counts_of_the_longest_documents_do_not_overflow(length):
    """All of one document in one topic: 65,535 fits two bytes, one more does not."""
    corpus = Corpus.from_documents([np.zeros(length, int), [0, 1]], ["a", "b"])
    sampler = laid_out(corpus, np.zeros(length + 2, int), 2)
    assert sampler.entries.count.itemsize == (2 if length < 2**16 else 4)
    assert_counts(corpus, sampler, 2)
    sampler.sweep(np.array([1.0, 1e-9]), (1,), POOL)
    assert_counts(corpus, sampler, 2)


@pytest.mark.parametrize("more", [0, 1])
def test_document_numbers_do_not_overflow(more):
    """65,536 documents are numbered in two bytes, one more is not: all are drawn all the same."""
    n = 2**16 + more
    corpus = Corpus(np.arange(n) % 3, np.arange(n + 1), ["a", "b", "c"])
    sampler = laid_out(corpus, np.zeros(n, int), 4)
    assert sampler.documents.itemsize == (4 if more else 2)
    sampler.sweep(np.full(4, 1.0), (1,), POOL)
    sampler.to_document_order()
    topics, counts = zip(*sampler.document_topic(), strict=True)
    assert np.array_equal(np.concatenate(topics), sampler.topics)  # a token a document
    assert (np.concatenate(counts) == 1).all()
    assert np.array_equal(sampler.topic_total, np.bincount(sampler.topics, minlength=4))
    for part in np.array_split(sampler.topics, 16):  # the last documents as well as the first
        assert (np.bincount(part, minlength=4) > n / 16 / 20).all()


@always_the_same
@given(st.integers(0, 1000), st.integers(1, 6))
def test_reordering_by_word_and_document_is_lossless(seed, n_shards):
    corpus, sampler = sampler_of(seed, 50, n_shards)
    words, documents = np.empty(corpus.n_tokens, np.int64), sampler.documents
    by_word = sampler.topics.copy()
    sampler.to_document_order()
    begun = draw(seed).integers(50, size=corpus.n_tokens)  # what `sampler_of` begins with
    assert np.array_equal(sampler.topics, begun)
    sampler.to_document_order()
    assert np.array_equal(sampler.topics, begun)
    for _ in range(2):
        sampler.to_word_order()
        assert np.array_equal(sampler.topics, by_word)
        assert np.array_equal(sampler.documents, documents)
    for s in range(n_shards):
        for w, r in enumerate(sampler.rank):
            words[sampler.starts[s, r] : sampler.starts[s, r + 1]] = w
    for w, d in {(int(w), int(d)) for w, d in zip(words, documents, strict=True)}:
        theirs = begun[corpus.offsets[d] : corpus.offsets[d + 1]][corpus.document(d) == w]
        assert np.array_equal(by_word[(words == w) & (documents == d)], theirs)


@always_the_same
@given(st.integers(0, 1000), st.integers(1, 6))
def test_shards_and_groups_share_no_document_and_no_word(seed, n_shards):
    corpus, sampler = sampler_of(seed, 3, n_shards)
    seen = np.zeros(corpus.n_tokens, int)
    for s in range(n_shards):
        mine = np.arange(corpus.n_tokens)[sampler._tokens(s)]
        for low, high in zip(sampler.starts[s, :-1], sampler.starts[s, 1:], strict=True):
            seen[low:high] += 1
            assert not high > low or (mine[0] <= low and high - 1 <= mine[-1])
        d = sampler.documents[mine]
        first, last = sampler.first_document[s : s + 2]
        assert ((first <= d) & (d < last)).all()
    assert (seen == 1).all()
    assert np.array_equal(np.sort(sampler.rank), np.arange(corpus.n_words))
    assert (np.diff(sampler.first_word) >= 0).all() and sampler.first_word[-1] == corpus.n_words


def test_shards_and_groups_have_about_as_many_tokens_each():
    frequency = (10_000 / np.arange(1, 2001)).astype(int)
    for n in (2, 4):
        tokens = np.bincount(group_words(frequency, n), frequency)
        assert np.ptp(tokens) <= 0.001 * tokens.mean()
        offsets = np.append(0, np.cumsum(draw(1).integers(1, 100, size=1000)))
        assert np.ptp(np.diff(offsets[cut_documents(offsets, n)])) <= 200


def fits(n_documents=150, **options):
    phi = draw(4).dirichlet(np.full(60, 0.1), size=5).T
    corpus = lda_corpus(n_documents, 40, phi, np.full(5, 0.3))
    return corpus, LDAConfig(5, 0.1, 0.05, 80, alpha_from=20, **options)


def test_it_settles_where_the_dense_sampler_does():
    plateau = {}
    for name, options in {
        "dense": {},
        "exact": {"sampler": "sparse", "n_shards": 1},
        "sharded": {"sampler": "sparse", "n_shards": 4},
    }.items():
        corpus, config = fits(**options)
        traces = [fit_lda(all_observed(corpus), config, seed).log_likelihood for seed in range(7)]
        plateau[name] = np.median(np.array(traces)[:, -30:].mean(axis=1))  # some fits get stuck
        assert traces[0][-1] > traces[0][0] + 0.3
    assert max(plateau.values()) - min(plateau.values()) < 0.02


# ---------------------------------------------------------------- threads, stops, and files


@pytest.mark.parametrize("n_shards", [1, 2, 3])
def test_result_does_not_depend_on_the_number_of_threads(n_shards):
    corpus, config = fits(40, sampler="sparse", n_shards=n_shards)
    one, *others = (fit_lda(all_observed(corpus), config, 3, n_threads=n) for n in (1, 2, 3))
    for other in others:
        assert other.topics.tobytes() == one.topics.tobytes()
        assert other.alpha.tobytes() == one.alpha.tobytes()
        assert other.log_likelihood == one.log_likelihood


class Stop(Exception):
    pass


@pytest.mark.parametrize("n_shards", [1, 2])
def test_an_interrupted_fit_ends_with_the_same_numbers(tmp_path, n_shards):
    corpus, config = fits(60, sampler="sparse", n_shards=n_shards)
    path = tmp_path / "lda.safetensors"
    split = all_observed(corpus)
    whole = fit_lda(split, config, 7)

    def stop(state):
        if state.sweep == 33:
            raise Stop

    with pytest.raises(Stop):
        fit_lda(split, config, 7, checkpoint=path, checkpoint_every=15, on_iteration=stop)
    resumed = fit_lda(split, config, 7, checkpoint=path)
    assert resumed.topics.tobytes() == whole.topics.tobytes()
    assert resumed.log_likelihood == whole.log_likelihood
    assert load_lda(path, split).config == config


def test_a_file_from_before_there_was_a_choice_is_a_dense_one(tmp_path):
    split, path = all_observed(random_corpus()), tmp_path / "lda.safetensors"
    dense = LDAConfig(**(vars(SPARSE) | {"sampler": "dense"}))
    done = fit_lda(split, dense, 7, checkpoint=path)
    tensors, meta = load_tensors(path)
    old = {k: v for k, v in meta["config"].items() if k not in ("sampler", "n_shards")}
    save_tensors(path, tensors, meta | {"config": old})
    assert load_lda(path, split).config.sampler == "dense"
    for n_shards in (1, 2, 4):
        config, sweeps = LDAConfig(**(vars(dense) | {"n_shards": n_shards})), []
        again = fit_lda(split, config, 7, checkpoint=path, on_iteration=sweeps.append)
        assert sweeps == [] and again.config == config
        assert again.topics.tobytes() == done.topics.tobytes()
    with pytest.raises(OtherFitError, match="sampler is 'dense' there and 'sparse' here"):
        fit_lda(split, SPARSE, 7, checkpoint=path)
    path.unlink()
    fit_lda(split, SPARSE, 7, checkpoint=path)
    shards = LDAConfig(**(vars(SPARSE) | {"n_shards": 3}))
    with pytest.raises(OtherFitError, match=r"n_shards is . there and 3 here"):
        fit_lda(split, shards, 7, checkpoint=path)


@pytest.mark.parametrize(("n_topics", "expected"), [(99, "dense"), (100, "sparse")])
def test_the_faster_sampler_is_chosen_by_k_alone(n_topics, expected):
    config = LDAConfig(n_topics, n_sweeps=1)
    assert config.resolved().sampler == expected
    assert LDAConfig(n_topics, sampler="dense").resolved().sampler == "dense"
    split = all_observed(random_corpus())
    assert fit_lda(split, config, 0).config.sampler == expected


def test_options_out_of_range_are_named():
    with pytest.raises(InputError, match=r"^n_shards is 0: give 1 or more$"):
        LDAConfig(n_shards=0)
    with pytest.raises(InputError, match=r"^sampler is 'fast': choose one of auto, dense, sparse$"):
        LDAConfig(sampler="fast")
