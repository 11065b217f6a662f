"""A corpus and its counts for sweeps token by token (`lla.samplers.lda`)."""

from concurrent.futures import Executor

import numpy as np

from lla.common.arrays import blocks, check_tokens
from lla.common.random import stream
from lla.samplers.lda import (
    document_topic_counts,
    joint_log_likelihood,
    lda_sweep,
    topic_counts,
    update_alpha,
)


class DenseSampler:
    """All K weights of every token, token after token: the readable reference.

    Parameters
    ----------
    words, offsets : (N,) word ids and (D+1,) where each document starts
    topics : (N,) assignments to start from; updated in place
    n_words, n_topics : V and K
    beta : Dirichlet parameter of a topic's words
    """

    def __init__(
        self,
        words: np.ndarray,
        offsets: np.ndarray,
        n_words: int,
        topics: np.ndarray,
        n_topics: int,
        beta: float,
    ) -> None:
        check_tokens(words, offsets, n_words, topics, n_topics)
        self.words, self.offsets, self.topics, self.beta = words, offsets, topics, beta
        self.word_topic, self.topic_total = topic_counts(words, topics, n_words, n_topics)

    def sweep(self, alpha: np.ndarray, key: tuple[int, ...], pool: Executor) -> None:
        """Draw every token once; `key` is the seed and the stream of the uniforms.

        It runs on one thread, without the pool.
        """
        draw = stream(*key)
        for documents, tokens in blocks(self.offsets, 0, len(self.offsets) - 1):
            lda_sweep(
                self.words[tokens],
                self.offsets[documents.start : documents.stop + 1] - tokens.start,
                self.topics[tokens],
                self.word_topic,
                self.topic_total,
                alpha,
                self.beta,
                draw.random(tokens.stop - tokens.start, np.float32),
            )
        self.document_topic = document_topic_counts(self.offsets, self.topics, len(alpha))

    def update_alpha(self, alpha: np.ndarray) -> np.ndarray:
        """α (K,) after Minka's fixed point; once a sweep has been done."""
        return update_alpha(self.document_topic, alpha)

    def log_likelihood(self, alpha: np.ndarray, pool: Executor) -> float:
        """log p(w, z | α, β), nats; once a sweep has been done."""
        return joint_log_likelihood(
            self.document_topic, self.word_topic, self.topic_total, alpha, self.beta
        )

    def to_document_order(self) -> None:
        """The topics are in the corpus' order already."""
