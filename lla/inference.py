"""p(w_t | w_<t) and topics of every token, whatever the network reads.

A network that reads topics needs their histories: the particle filter. One that reads words is
given its inputs, so the whole document is one pass, and Σ_k θ_tk φ_wk is exact.
"""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from lla.corpus import Corpus
from lla.emission import SharedEmission
from lla.lstm import Network, Stepper
from lla.particles import FilterConfig, Filtered, filter_topics
from lla.progress import progress
from lla.samplers import filter_step
from lla.streams import stream

WINDOW = 32  # tokens of a document that are predicted at once
LANES = 64  # documents side by side, at most
LOGITS = 2**22  # logits held at once


def infer(
    network: Network,
    emission: SharedEmission | None,
    corpus: Corpus,
    config: FilterConfig,
    seed: int,
    key: tuple[int, ...],
    pool: ThreadPoolExecutor,
    description: str,
) -> Filtered:
    """Topics and log p(w_t | w_<t) of every token of `corpus`.

    Parameters
    ----------
    emission : None where the network's outputs are words themselves
    config : of the particle filter; a network that reads words has no use for it
    """
    if network.config.input == "topic":
        stepper = Stepper(network)
        return filter_topics(stepper, emission, corpus, config, seed, key, pool, description)
    return read_words(network, emission, corpus, seed, key, pool, description)


@torch.no_grad()
def read_words(
    network: Network,
    emission: SharedEmission | None,
    corpus: Corpus,
    seed: int,
    key: tuple[int, ...],
    pool: ThreadPoolExecutor,
    description: str = "reading",
) -> Filtered:
    """Every document in one pass, its own words as inputs.

    Document d draws from the stream (seed, *key, d). Without an emission nothing is drawn, and
    topics are 0.
    """
    out = Filtered(np.zeros(corpus.n_tokens, np.int32), np.empty(corpus.n_tokens))
    table = network.input.table()  # (V + 1, E), each word encoded once
    order = np.argsort(-corpus.lengths, kind="stable")
    size = min(LANES, max(1, LOGITS // (WINDOW * network.config.n_outputs)))
    groups = [order[i : i + size] for i in range(0, len(order), size)]
    tasks = [
        pool.submit(_read_group, network, emission, table, corpus, group, (seed, *key), out)
        for group in groups
    ]
    for task in progress(tasks, description=description, unit="group"):
        task.result()
    return out


@torch.no_grad()
def _read_group(
    network: Network,
    emission: SharedEmission | None,
    table: Tensor,
    corpus: Corpus,
    documents: np.ndarray,
    key: tuple[int, ...],
    out: Filtered,
) -> None:
    """Documents sorted by falling length, window after window."""
    lengths = corpus.lengths[documents]
    words = np.full((lengths[0] + 1, len(documents)), network.input.start, np.int64)
    uniforms = np.zeros((lengths[0], len(documents), 2), np.float32)
    for lane, (d, length) in enumerate(zip(documents, lengths, strict=True)):
        words[1 : length + 1, lane] = corpus.document(d)
        uniforms[:length, lane] = stream(*key, int(d)).random((length, 2), np.float32)
    log_evidence = np.empty((lengths[0], len(documents)))
    topics = np.zeros((lengths[0], len(documents)), np.int64)
    ids, state = torch.from_numpy(words), None
    for begin in range(0, lengths[0], WINDOW):
        lanes = int((lengths > begin).sum())
        span = slice(begin, min(begin + WINDOW, lengths[0]))
        state = state and (state[0][:, :lanes].contiguous(), state[1][:, :lanes].contiguous())
        embedded = F.embedding(ids[span, :lanes], table)  # (T, B, E): the words one step late
        states, state = network.lstm(embedded, state)  # (T, B, H)
        target = ids[span.start + 1 : span.stop + 1, :lanes]  # (T, B)
        # Past a document's end stands the start symbol; what is computed there is thrown away.
        target = target.clamp(max=corpus.n_words - 1)
        logits = network.output(states)  # (T, B, n_outputs)
        if emission is None:
            log_p = logits.gather(2, target[..., None])[..., 0] - logits.logsumexp(dim=2)
            log_evidence[span, :lanes] = log_p.numpy()
            continue
        topics[span, :lanes], log_evidence[span, :lanes] = _draw(
            logits.softmax(dim=2), emission, target, uniforms[span, :lanes]
        )
    for lane, (d, length) in enumerate(zip(documents, lengths, strict=True)):
        place = slice(corpus.offsets[d], corpus.offsets[d + 1])
        out.topics[place] = topics[:length, lane]
        out.log_evidence[place] = log_evidence[:length, lane]
        if not np.isfinite(out.log_evidence[place]).all():
            raise FloatingPointError(
                f"document {d} has probability 0 or NaN under the model: use a β above 0, "
                "and a smaller learning rate if training diverged"
            )


def _draw(
    theta: Tensor, emission: SharedEmission, words: Tensor, uniforms: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """z_t ~ θ_tk φ_wk and log Σ_k θ_tk φ_wk, (T, B) each; θ (T, B, K), words (T, B)."""
    n_tokens, n_topics = words.numel(), theta.shape[2]
    topics, ancestors = np.zeros(n_tokens, np.int64), np.empty(n_tokens, np.int64)
    log_evidence = np.empty(n_tokens)
    filter_step(
        theta.view(n_tokens, n_topics).numpy(),
        emission.likelihood(words.flatten()).numpy(),
        np.ascontiguousarray(uniforms).reshape(n_tokens, 2),
        0.0,
        np.ones((n_tokens, 1)),
        topics,
        ancestors,
        log_evidence,
    )
    return topics.reshape(words.shape), log_evidence.reshape(words.shape)
