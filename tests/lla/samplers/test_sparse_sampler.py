"""Every draw of the sparse kernels follows LDA's conditional; compiled and plain agree."""

import numpy as np
import pytest
from enumeration import LEVEL, histories, history_number, p_value
from scipy.special import gammaln
from small_lda import draw, laid_out, sampler_of

from lla.corpus import Corpus
from lla.samplers import sparse_lda as sparse_kernels
from lla.samplers.lda import document_topic_counts, topic_counts
from lla.samplers.sparse_lda import (
    CHANGES,
    RUN,
    Documents,
    block_shift,
    draw_entry,
    draw_smooth,
    set_weight,
)

ALMOST_ONE = np.float32(1 - 2**-24)  # the largest float32 below 1


def cut_out(sampler, shard=0):
    """What `sample_block` works on, copied."""
    entries = Documents(*(array.copy() for array in sampler.entries))
    return (
        *(shard, sampler.starts, sampler.topics.copy(), sampler.documents, entries),
        sampler.topic_total.copy(),
    )


# ------------------------------------------------------------------------ compiled and plain


def cases():
    _, sampler = sampler_of(1, 5)
    alpha, rng = np.linspace(0.2, 1.0, 5), draw(2)
    n = len(sampler.words)
    entries = cut_out(sampler)[4]
    word = sparse_kernels.Word(
        *(np.full(5, 3), np.full(5, 30), np.full(5, 0.03), rng.random(5), np.ones(2))
    )
    three = slice(sampler.starts[0, 4], sampler.starts[0, 5])
    word.count[:] = np.bincount(sampler.topics[three], minlength=5)
    mine = (sampler.topics[three].copy(), sampler.documents[three])
    weights = (word.weight.copy(), np.ones(2))
    emptied = Documents(entries.slots, *(np.zeros_like(a) for a in entries[1:]))
    places = (sampler.rank, sampler.starts[0, :-1].copy(), np.zeros(n, np.int64))
    whole = (0, 12, sampler.starts, sampler.topics, 5, 0.2)
    return {
        "block_shift": (17,),
        "set_weight": (*weights, 3, 0.7, alpha, 2),
        "find_topic": (entries.topic, 0, int(entries.sizes[0]), 4),
        "draw_smooth": (*weights, alpha, 2, 0.9),
        "draw_entry": (entries.topic, entries.count, 0, 3, word.weight, np.array([9.0]), 0.4),
        "sample_word": (*mine, rng.random(len(mine[0])), entries, word, alpha, 0.2, 12),
        "sample_block": (0, 12, *cut_out(sampler), alpha, 0.2, rng.random(n)),
        "sort_entries": (cut_out(sampler)[4], 0, 8),
        "count_documents": (sampler.offsets, rng.integers(5, size=n), 5, emptied),
        "find_places": (sampler.words, *places),
        "words_log_likelihood": whole,
        "documents_log_likelihood": (0, 8, entries, alpha),
    }


def test_every_kernel_has_a_case():
    assert cases().keys() == {n for n, f in vars(sparse_kernels).items() if hasattr(f, "py_func")}


def leaves(arguments):
    return [a for x in arguments for a in (x if isinstance(x, tuple) else (x,))]


@pytest.mark.parametrize("name", cases())
def test_compiled_and_plain_agree(name):
    compiled, plain, before = cases()[name], cases()[name], cases()[name]
    kernel = getattr(sparse_kernels, name)
    ours, theirs = kernel(*compiled), kernel.py_func(*plain)
    assert ours == (pytest.approx(theirs, rel=1e-14) if isinstance(theirs, float) else theirs)
    for one, other in zip(leaves(compiled), leaves(plain), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-14, atol=0)
    pairs = zip(leaves(compiled), leaves(before), strict=True)
    looks = {"block_shift", "find_topic", "draw_smooth", "draw_entry"} | {
        n for n in cases() if "log" in n
    }
    assert any(not np.array_equal(a, b) for a, b in pairs) == (name not in looks)


# ------------------------------------------------------------------- one token's conditional


def conditional(i, corpus, topics, alpha, beta):
    """p(z_i = k | all others), everything counted again without token i."""
    n_topics, others = len(alpha), np.arange(corpus.n_tokens) != i
    document = np.repeat(np.arange(corpus.n_documents), corpus.lengths)
    counts = topic_counts(corpus.words[others], topics[others], corpus.n_words, n_topics)
    n_dk = np.bincount(topics[others & (document == document[i])], minlength=n_topics)
    n_wk = counts[0][corpus.words[i]]
    weights = (n_dk + alpha) * (n_wk + beta) / (counts[1] + corpus.n_words * beta)
    return weights / weights.sum()


def one_token(seed, n_topics, length, used):
    """A shard of one document, which holds word 0 once: its block is one token. `used` topics."""
    rng = draw(seed)
    first = np.append(0, rng.integers(1, 6, size=length))
    others = [rng.integers(6, size=n) for n in (9, 1, 30)]
    corpus = Corpus.from_documents([first, *others], [f"w{w}" for w in range(6)])
    topics = rng.choice(rng.permutation(n_topics)[:used], size=corpus.n_tokens)
    sampler = laid_out(corpus, topics, n_topics, n_shards=2)
    sampler.to_document_order()
    sampler.first_document = np.array([0, 1, 4])
    sampler._find_starts()
    sampler.to_word_order()
    return corpus, topics, sampler


def drawn(sampler, alpha, uniforms, form=sparse_kernels.sample_block):
    """The topic of the one token of word 0 in document 0, for each uniform."""
    r, found = int(sampler.rank[0]), []
    for u in uniforms:
        state = cut_out(sampler)
        form(r, r + 1, *state, alpha, 0.2, np.array([u]))
        found.append(state[2][sampler.starts[0, r]])
    return np.array(found)


@pytest.mark.parametrize("used", [1, 2, 17])
@pytest.mark.parametrize("length", [0, 1, 20])
@pytest.mark.parametrize("n_topics", [1, 2, 3, 16, 17])
def test_topics_partition_the_unit_interval_by_their_conditional(n_topics, length, used):
    """Two intervals of uniforms, the document's part and the rest: a grid finds both."""
    corpus, topics, sampler = one_token(n_topics + length + used, n_topics, length, used)
    alpha, grid = draw(3).uniform(0.05, 2.0, n_topics), (np.arange(2000) + 0.5) / 2000
    p = conditional(0, corpus, topics, alpha, 0.2)
    counts = np.bincount(drawn(sampler, alpha, grid), minlength=n_topics)
    assert np.abs(counts - 2000 * p).max() <= 2
    some = np.array([0.0, 0.01, 0.3, 0.5, 0.77, 0.99, ALMOST_ONE], np.float32)
    plain = drawn(sampler, alpha, some, sparse_kernels.sample_block.py_func)
    assert np.array_equal(drawn(sampler, alpha, some), plain)


@pytest.mark.parametrize(("n_topics", "length"), [(2, 3), (7, 5), (33, 40), (90, 200)])
def test_draws_follow_the_conditional(n_topics, length):
    corpus, topics, sampler = one_token(5, n_topics, length, n_topics)
    alpha = draw(6).gamma(0.5, size=n_topics) + 0.01
    topic = drawn(sampler, alpha, draw(7).random(10_000, np.float32))
    p = conditional(0, corpus, topics, alpha, 0.2)
    assert p_value(np.bincount(topic, minlength=n_topics), p) > LEVEL


@pytest.mark.parametrize("n_topics", [2, 5, 17, 40])
def test_the_weights_after_a_word_are_ready_for_the_next(n_topics):
    """The last draw of a whole sweep, from what the draws before it made of the counts."""
    rng = draw(n_topics)
    documents = [rng.zipf(1.3, size=n) % 11 for n in (60, 1, 200, 90)]
    documents[2][17] = 11  # the last word, once
    corpus = Corpus.from_documents(documents, [f"w{w}" for w in range(12)])
    sampler = laid_out(corpus, rng.integers(n_topics, size=351), n_topics)
    alpha, uniforms = rng.uniform(0.05, 1.0, n_topics), rng.random(351)
    ((*_, places),) = sampler._places(0)
    counts, moved = np.zeros(n_topics, int), 0
    for u in (np.arange(1000) + 0.5) / 1000:
        state, uniforms[-1] = cut_out(sampler), u
        sparse_kernels.sample_block(0, 12, *state, alpha, 0.2, uniforms)
        counts[state[2][-1]] += 1
        moved = (state[2] != sampler.topics).sum()
    assert moved > 100 and places[61 + 17] == 350
    p = conditional(61 + 17, corpus, state[2][places], alpha, 0.2)
    assert np.abs(counts - 1000 * p).max() <= 2


def test_the_chain_has_the_collapsed_posterior():
    """The long-run distribution over all 2^7 assignments of a corpus of seven tokens."""
    corpus = Corpus.from_documents([[0, 1], [1, 2, 2], [0, 2]], ["a", "b", "c"])
    alpha, beta, log_p = np.array([0.8, 1.3]), 0.6, []
    for z in histories(2, 7):
        n_wk, n_k = topic_counts(corpus.words, z, 3, 2)
        words = gammaln(n_wk + beta).sum() - gammaln(n_k + 3 * beta).sum()
        log_p.append(gammaln(document_topic_counts(corpus.offsets, z, 2) + alpha).sum() + words)
    p = np.exp(np.array(log_p) - max(log_p))
    sampler = laid_out(corpus, np.zeros(7), 2, beta)
    ((*_, places),) = sampler._places(0)
    tokens = (sampler.starts, sampler.topics, sampler.documents, sampler.entries)
    kept = []
    for sweep, u in enumerate(draw(11).random((120_000, 7), np.float32)):
        sparse_kernels.sample_block(0, 3, 0, *tokens, sampler.topic_total, alpha, beta, u)
        if sweep % 6 == 5:  # by then the sweeps have forgotten one another
            kept.append(sampler.topics[places])
    counts = np.bincount(history_number(kept, 2), minlength=2**7)
    assert p_value(counts, p / p.sum()) > LEVEL


@pytest.mark.parametrize("form", [draw_smooth, draw_smooth.py_func])
@pytest.mark.parametrize("n_topics", [1, 2, 4, 5, 16, 17])
def test_tree_draws_agree_with_the_running_sum(form, n_topics):
    rng, shift = draw(n_topics), block_shift(n_topics)
    alpha, weight = rng.random(n_topics) + 0.1, rng.random(n_topics) + 0.1
    blocks = np.add.reduceat(alpha * weight, np.arange(0, n_topics, 1 << shift))
    running = np.cumsum(alpha * weight)
    for target in rng.random(200) * running[-1]:
        expected = np.searchsorted(running, target, side="right")
        assert form(weight, blocks, alpha, shift, target) == expected
    for beyond in (running[-1], running[-1] * (1 + 1e-9)):  # as rounding may have it
        assert form(weight, blocks, alpha, shift, beyond) == n_topics - 1


@pytest.mark.parametrize("form", [draw_entry, draw_entry.py_func])
@pytest.mark.parametrize("n", [1, 2, RUN - 1, RUN, RUN + 1, 2 * RUN, 5 * RUN + 3])
def test_entry_draws_agree_with_the_running_sum(form, n):
    """Entries 4..n+3 of a row; some hold nothing, and nothing is ever drawn from those."""
    rng = draw(n)
    topic, count = rng.permutation(n + 9)[: n + 4], rng.integers(0, 4, size=n + 4)
    count[4 + n // 2] = 1  # something to draw
    weight = rng.random(n + 9) + 0.1
    terms = count[4:] * weight[topic[4:]]
    runs = np.array([sum(terms[i : i + RUN].tolist()) for i in range(0, n, RUN)])
    total, running = sum(runs.tolist()), np.cumsum(terms)
    for target in rng.random(200) * total:
        expected = 4 + np.searchsorted(running, target, side="right")
        assert form(topic, count, 4, 4 + n, weight, runs, target) == expected
    for target in (0.0, np.nextafter(total, 0)):  # where rounding shows
        assert count[form(topic, count, 4, 4 + n, weight, runs, target)] > 0


def test_the_sums_drift_no_further_than_said():
    rng, n_topics = draw(8), 100
    shift, alpha, weight = block_shift(n_topics), rng.random(n_topics), np.zeros(n_topics)
    blocks, largest = np.zeros(((n_topics - 1) >> shift) + 1), 0.0
    for value in rng.random(CHANGES * n_topics) ** 8:
        set_weight(weight, blocks, rng.integers(n_topics), value, alpha, shift)
        largest = max(largest, blocks.max())
    exact = np.add.reduceat(alpha * weight, np.arange(0, n_topics, 1 << shift))
    assert np.abs(blocks - exact).max() <= 2 * CHANGES * n_topics * 2.0**-53 * largest
