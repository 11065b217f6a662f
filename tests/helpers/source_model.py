"""Sources by definition, in plain Python, and tiny models with them."""

import itertools

import numpy as np
import torch
from personal_model import PHI, TAU, K, V, personal

from lla.corpus import Corpus
from lla.inference.config import SOURCES
from lla.inference.emission import SharedEmission, SourceEmission
from lla.inference.emission.sources import SMOOTHING, SourceParameters, Sources
from lla.lstm import NetworkConfig
from lla.peers.simulate import random_network

ITEMS = tuple(f"w{w}" for w in range(V))
DOCUMENTS = [[0, 1, 2, 1, 2], [2, 2, 0], [3], [1, 2, 1, 0, 0, 2], [0, 1]]
LEARNED = SourceParameters(next=0.7, own_next=0.4, recent=0.9, half_life=1.5)


def corpus_of(documents, n_words=V):
    return Corpus.from_documents(documents, [f"w{w}" for w in range(n_words)])


def by_definition(documents, history, w, parameters, left_out=None, n_words=V):
    """p(w | history) of next, own_next and recent, from nothing but lists.

    Parameters
    ----------
    documents : lists of ids, what is counted over all documents
    left_out : (d, t) of a token that is not counted, nor what follows it in its document
    """
    n_w = np.zeros(n_words)
    n_vw = np.zeros((n_words, n_words))
    for d, document in enumerate(documents):
        for t, word in enumerate(document):
            if left_out is not None and d == left_out[0] and t >= left_out[1]:
                break
            n_w[word] += 1
            if t > 0:
                n_vw[document[t - 1], word] += 1
    p = (n_w + SMOOTHING) / (n_w.sum() + SMOOTHING * n_words)
    p_next = p_own = p
    if len(history) > 0:
        v = history[-1]
        p_next = (n_vw[v] + parameters.next * p) / (n_vw[v].sum() + parameters.next)
        m_vw = np.zeros(n_words)
        for before, after in itertools.pairwise(history):
            m_vw[after] += before == v
        p_own = (m_vw + parameters.own_next * p_next) / (m_vw.sum() + parameters.own_next)
    m_w = np.zeros(n_words)
    for age, word in enumerate(reversed(history)):
        m_w[word] += 0.5 ** (age / parameters.half_life)
    p_recent = (m_w + parameters.recent * p) / (m_w.sum() + parameters.recent)
    return np.array([p_next, p_own, p_recent])[:, w]


def table_of(documents, words, names=SOURCES, parameters=LEARNED, counted=None):
    """p(w_t | source) of a document, (T, S); `counted` is its number where it is one of them."""
    rows = [
        by_definition(
            documents, words[:t], w, parameters, None if counted is None else (counted, t)
        )
        for t, w in enumerate(words)
    ]
    return np.array(rows)[:, [SOURCES.index(name) for name in names]]


def sources_of(documents=DOCUMENTS, names=SOURCES, parameters=LEARNED):
    return Sources.from_corpus(corpus_of(documents), tuple(names)).replace(parameters)


def emission_with(tau=None, names=SOURCES, documents=DOCUMENTS):
    phi = torch.tensor(PHI, dtype=torch.float32)
    topics = SharedEmission(phi) if tau is None else personal(PHI, TAU)
    return SourceEmission(topics, sources_of(documents, names))


def network_with(reads, n_sources=3, gain=12.0, seed=3, gate=False):
    n_outcomes = K + n_sources
    n_inputs = V if reads == "word" else K * (1 + n_sources) if gate else n_outcomes
    config = NetworkConfig(
        n_inputs, n_outcomes, 4, 5, input=reads, n_sources=n_sources if gate else 0
    )
    return random_network(config, seed=seed, gain=gain)
