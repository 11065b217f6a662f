"""p(w_t | w_<t) and topics of every token, whatever the network reads.

A network that reads topics needs their histories: the particle filter. One that reads words is
given its inputs, so the whole document is one pass, and Σ_k θ_tk p(w_t | k) is exact; unless the
emission remembers topics, and then they are filtered with the θ that the words give.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from lla.corpus import Corpus
from lla.emission import PersonalEmission, SharedEmission
from lla.lstm import Network, Stepper
from lla.particles import FilterConfig, Filtered, Look, Particles, filter_topics

WINDOW = 32  # tokens of a document that are predicted at once
LANES = 64  # documents side by side, at most
LOGITS = 2**22  # logits held at once


def infer(
    network: Network,
    emission: SharedEmission | PersonalEmission | None,
    corpus: Corpus,
    config: FilterConfig,
    seed: int,
    key: tuple[int, ...],
    pool: ThreadPoolExecutor,
    description: str,
    look: Look | None = None,
    into: Filtered | None = None,
) -> Filtered:
    """Topics and log p(w_t | w_<t) of every token of `corpus`.

    Parameters
    ----------
    emission : None where the network's outputs are words themselves
    config : of the particle filter; a network that reads words has no use for it, unless the
        emission remembers topics
    look : is shown the probabilities of all words before each token
    into : arrays at hand that take what is found
    """
    if network.config.input == "topic":
        given = (Stepper(network), emission, corpus, config, seed, key, pool, description)
        return filter_topics(*given, look, into)
    return read_words(network, emission, corpus, seed, key, pool, description, config, look, into)


@torch.no_grad()
def read_words(
    network: Network,
    emission: SharedEmission | PersonalEmission | None,
    corpus: Corpus,
    seed: int,
    key: tuple[int, ...],
    pool: ThreadPoolExecutor,
    description: str = "reading",
    config: FilterConfig | None = None,
    look: Look | None = None,
    into: Filtered | None = None,
) -> Filtered:
    """Every document in one pass, its own words as inputs.

    Document d draws from the stream (seed, *key, d). Without an emission nothing is drawn, and
    topics are 0.
    """
    out = into or Filtered.room(corpus.n_tokens)
    table = network.input.table()  # (V + 1, E), each word encoded once
    config = config if config and emission and emission.remembers else FilterConfig()
    order = np.argsort(-corpus.lengths, kind="stable")
    size = min(LANES, max(1, LOGITS // (WINDOW * network.config.n_outputs)))

    @torch.no_grad()
    def run(documents: np.ndarray) -> int:
        windows = _outputs(network, table, corpus, documents)
        if emission is None:
            log_evidence = _score_words(windows, corpus, documents, look)
            topics = np.zeros(log_evidence.shape, np.int32)
        else:
            particles = Particles(emission, corpus, documents, config, (seed, *key))
            for begin, logits in windows:
                for t, theta in enumerate(logits.softmax(dim=2), begin):
                    particles.step(t, theta[: particles.running[t]], look)
            topics, log_evidence = particles.histories(), particles.log_evidence
        return out.put(corpus, documents, topics, log_evidence)

    groups = [order[i : i + size] for i in range(0, len(order), size)]
    return out.gather([pool.submit(run, group) for group in groups], description)


def _outputs(
    network: Network, table: Tensor, corpus: Corpus, documents: np.ndarray
) -> Iterator[tuple[int, Tensor]]:
    """Where each window begins, and its logits (T, B, n_outputs) for the B documents it reaches.

    Documents are sorted by falling length; what stands past a document's end means nothing.
    """
    lengths = corpus.lengths[documents]
    words = np.full((lengths[0], len(documents)), network.input.start, np.int64)
    for lane, (d, length) in enumerate(zip(documents, lengths, strict=True)):
        words[1:length, lane] = corpus.document(d)[:-1]  # one step late
    ids, state = torch.from_numpy(words), None
    for begin in range(0, lengths[0], WINDOW):
        lanes = int((lengths > begin).sum())
        state = state and (state[0][:, :lanes].contiguous(), state[1][:, :lanes].contiguous())
        embedded = F.embedding(ids[begin : begin + WINDOW, :lanes], table)  # (T, B, E)
        states, state = network.lstm(embedded, state)  # (T, B, H)
        yield begin, network.output(states)


def _score_words(
    windows: Iterator[tuple[int, Tensor]],
    corpus: Corpus,
    documents: np.ndarray,
    look: Look | None,
) -> np.ndarray:
    """log p(w_t | w_<t) where outputs are words, (T, L)."""
    lengths, first = corpus.lengths[documents], corpus.offsets[documents]
    words = np.zeros((lengths[0], len(documents)), np.int64)
    for lane, (d, length) in enumerate(zip(documents, lengths, strict=True)):
        words[:length, lane] = corpus.document(d)
    log_evidence = np.empty(words.shape)
    for begin, logits in windows:
        span, lanes = slice(begin, begin + len(logits)), logits.shape[1]
        target = torch.from_numpy(words[span, :lanes])
        log_p = logits.gather(2, target[..., None])[..., 0] - logits.logsumexp(dim=2)
        log_evidence[span, :lanes] = log_p.numpy()
        for t, row in enumerate(logits if look else (), begin):
            running = int((lengths > t).sum())
            look(first[:running] + t, lambda chosen, row=row: row[chosen].softmax(dim=1))
    return log_evidence
