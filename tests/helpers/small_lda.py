"""Small corpora laid out for the sparse sampler."""

import numpy as np
from simulated import random_corpus

from lla.lda.sparse import SparseSampler


def draw(seed):
    return np.random.Generator(np.random.Philox(seed))


def laid_out(corpus, topics, n_topics, beta=0.2, n_shards=1):
    tokens = (corpus.words, corpus.offsets, corpus.n_words, np.asarray(topics, np.int32))
    return SparseSampler(*tokens, n_topics, beta, n_shards)


def sampler_of(seed, n_topics, n_shards=1, n_documents=8, n_words=12):
    corpus = random_corpus(n_documents, n_words, seed=seed)
    topics = draw(seed).integers(n_topics, size=corpus.n_tokens)
    return corpus, laid_out(corpus, topics, n_topics, n_shards=n_shards)
