"""What ranks is what scores: the visited probability of each held-out word is the one it scored."""

import numpy as np
import pytest
from simulated import random_corpus, sticky_split

from lla.common.errors import InputError
from lla.corpus import Corpus, split_corpus
from lla.lda import LDAConfig, fit_lda
from lla.peers.autoencoder import AutoencoderConfig, fit_autoencoder
from lla.peers.counts import Bigram, bigram_rows, count_pairs, fit_unigram, unigram_probability
from lla.peers.ddlda import DDLDAConfig, fit_ddlda
from lla.peers.factorization import FactorizationConfig, fit_factorization
from lla.peers.hmm import HMMConfig, fit_hmm

V = 30


@pytest.fixture(scope="module")
def split():
    """Users of 1 to 40 events, some of them without a held-out one."""
    return split_corpus(random_corpus(25, V, longest=40, seed=1))


def fit(name, split):
    """A fitted model."""
    if name == "unigram":
        return fit_unigram(split)
    if name == "bigram":
        return Bigram(count_pairs(split), unigram_probability(split), 3.0)
    if name == "autoencoder":
        return fit_autoencoder(split, AutoencoderConfig(8, 4, n_epochs=2, batch_size=8), 0)
    if name == "ddlda":
        return fit_ddlda(split, DDLDAConfig(n_topics=3, scale=4.0, n_sweeps=5), 0)
    if name == "hmm":
        return fit_hmm(split, HMMConfig(3, n_iterations=3), 0)
    if name == "factorization":
        return fit_factorization(split, FactorizationConfig(3, n_iterations=2), 0)
    return fit_lda(split, LDAConfig(n_topics=4, beta=0.1, n_sweeps=10), 0)


def collect(fitted, split, **options):
    """Scores of every held-out position, each handed over once."""
    rows = {}

    def visit(positions, scores):
        assert len(positions) == len(scores)
        assert not rows.keys() & set(positions.tolist())
        rows.update(zip(positions.tolist(), scores.copy(), strict=True))

    fitted.next_items(split, visit, **options)
    return rows


PEERS = ("unigram", "bigram", "lda", "ddlda", "hmm", "factorization", "autoencoder")


@pytest.mark.parametrize("batch", [2**21, 3 * V])
@pytest.mark.parametrize("name", PEERS)
def test_the_score_is_that_of_the_visited_probabilities(monkeypatch, split, name, batch):
    rooms = ("counts.unigram", "counts.bigram")
    for room in ("evaluate.perplexity", *(f"peers.{name}" for name in rooms)):
        monkeypatch.setattr(f"lla.{room}.SCORES", batch)
    fitted = fit(name, split)
    scores, rows = fitted.score(split), collect(fitted, split)
    assert sorted(rows) == np.flatnonzero(split.held_out).tolist()
    log_p = np.zeros(split.corpus.n_tokens)
    for position, row in rows.items():
        p = np.exp(row) if name == "autoencoder" else row
        assert p.sum() == pytest.approx(1, rel=1e-5)
        log_p[position] = np.log(p[split.corpus.words[position]])
    np.testing.assert_allclose(split.sum_held_out(log_p), scores, rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("name", PEERS)
def test_predictions_do_not_depend_on_later_words(name):
    """The last held-out event of each user takes another value, and what predicted it stays."""
    split = sticky_split(4, V, 20, 20)[0]
    last = split.corpus.offsets[1:] - 1
    words = split.corpus.words.copy()
    words[last] = (words[last] + 7) % V
    documents = np.split(words, split.corpus.offsets[1:-1])
    other = split_corpus(Corpus.from_documents(documents, split.corpus.vocabulary))
    before, after = (collect(fit(name, s), s) for s in (split, other))
    assert all(np.array_equal(row, after[position]) for position, row in before.items())


@pytest.mark.parametrize("name", ["lda", "ddlda"])
def test_result_does_not_depend_on_threads(split, name):
    fitted = fit(name, split)
    one, two = (collect(fitted, split, n_threads=n) for n in (1, 2))
    assert all(np.array_equal(row, two[position]) for position, row in one.items())


def test_a_first_event_follows_nothing_in_a_bigram():
    corpus = Corpus.from_documents([[0, 1, 0, 1], [1, 1]], ["a", "b"])
    split = split_corpus(corpus, development=0)
    nothing_seen = type(split)(corpus, corpus, np.zeros(2, np.int64), split.development)
    p = np.array([0.3, 0.7])
    rows = collect(Bigram(count_pairs(split), p, 2.0), nothing_seen)
    for position in (0, 4):
        np.testing.assert_allclose(rows[position], p)
    counts = count_pairs(split).toarray()
    np.testing.assert_allclose(rows[1], (counts[0] + 2 * p) / (counts[0].sum() + 2))


def test_rows_of_a_bigram_compiled_and_plain_agree(split):
    counts, p = count_pairs(split), unigram_probability(split)
    before = np.array([3, -1, 0, 29])
    found = np.empty((2, 4, V))
    for kernel, rows in zip((bigram_rows, bigram_rows.py_func), found, strict=True):
        kernel(before, counts.indptr, counts.indices, counts.data, p, 2.5, rows)
    np.testing.assert_allclose(*found, rtol=1e-13)
    np.testing.assert_allclose(found[0, 1], p)


def test_a_bigram_of_other_items_is_refused(split):
    with pytest.raises(InputError, match="give those of 3 words"):
        Bigram(count_pairs(split), np.full(3, 1 / 3), 2.0).next_items(split, print)
