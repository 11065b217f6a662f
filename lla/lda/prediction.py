"""LDA with φ fixed: the topics of observed words, and the held-out words that follow them."""

import numpy as np

from lla.common.arrays import blocks, check_topics
from lla.common.errors import InputError, check_integer
from lla.common.progress import progress
from lla.common.random import StreamId, stream
from lla.corpus import Corpus, Split
from lla.evaluate import ScoreCallback
from lla.evaluate.perplexity import mix_topics
from lla.samplers.lda import fold_in_sweep, lda_predict, lda_theta


def expected_document_topic(
    corpus: Corpus,
    start: np.ndarray,
    phi: np.ndarray,
    alpha: np.ndarray,
    seed: int,
    n_sweeps: int = 30,
) -> np.ndarray:
    """E[n_dk | w_d, φ, α], (D, K): the mean of `n_sweeps` Gibbs sweeps with φ fixed.

    Parameters
    ----------
    start : (N,) assignments that the sweeps start from
    phi, alpha : (V, K), (K,)
    """
    check_phi(phi, alpha, corpus)
    start = check_topics("start", start, corpus.n_tokens, len(alpha))
    check_integer("n_sweeps", n_sweeps)
    total = np.zeros((corpus.n_documents, len(alpha)))
    topics = start.copy()
    for sweep in progress(range(n_sweeps), description="fold in", unit="sweep"):
        draw = stream(seed, StreamId.FOLD_IN, sweep)
        for documents, tokens in blocks(corpus.offsets, 0, corpus.n_documents):
            fold_in_sweep(
                corpus.words[tokens],
                corpus.offsets[documents.start : documents.stop + 1] - tokens.start,
                topics[tokens],
                phi,
                alpha,
                draw.random(tokens.stop - tokens.start, np.float32),
                total[documents],
            )
    return total / n_sweeps


def score_held_out(
    phi: np.ndarray, alpha: np.ndarray, document_topic: np.ndarray, split: Split, update: bool
) -> np.ndarray:
    """`LDA.score` from φ (V, K), α (K,) and the expected n_dk (D, K) of the observed words."""
    corpus = split.corpus
    check_phi(phi, alpha, corpus)
    if document_topic.shape != (corpus.n_documents, len(alpha)):
        raise InputError(
            f"document_topic: {document_topic.shape}; give expected counts of "
            f"{corpus.n_documents} documents and {len(alpha)} topics"
        )
    log_likelihood = np.empty(corpus.n_documents)
    lda_predict(
        corpus.words,
        corpus.offsets[:-1] + split.n_observed,
        corpus.offsets[1:],
        phi,
        alpha,
        document_topic,
        update,
        log_likelihood,
    )
    return log_likelihood


def rank_held_out(
    phi: np.ndarray,
    alpha: np.ndarray,
    document_topic: np.ndarray,
    split: Split,
    on_scores: ScoreCallback,
    n_threads: int | None,
) -> None:
    """`LDA.next_items` from φ (V, K), α (K,) and the expected n_dk (D, K) of the observed words."""

    def theta_of(d: int) -> np.ndarray:
        words = split.corpus.document(d)[split.n_observed[d] :]
        theta = np.empty((len(words), len(alpha)))
        lda_theta(words, phi, alpha, document_topic[d], theta)
        return theta

    mix_topics(theta_of, phi, split, on_scores, n_threads=n_threads, name="LDA")


def check_phi(phi: np.ndarray, alpha: np.ndarray, corpus: Corpus) -> None:
    """Raise InputError unless φ (V, K) and α (K,) are of the corpus' words and of one model."""
    if alpha.ndim != 1 or phi.shape != (corpus.n_words, len(alpha)):
        raise InputError(
            f"phi: {phi.shape} and alpha: {alpha.shape}, but V is {corpus.n_words}; "
            "give both of an LDA of this corpus"
        )
