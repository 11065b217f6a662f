"""Perplexity of held-out words, and predictions of the next word."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from time import perf_counter

import numpy as np
import torch
from torch import Tensor

from lla.common.errors import check_integer
from lla.common.files import load_tensors, save_tensors
from lla.common.progress import progress
from lla.common.random import StreamId
from lla.common.threads import thread_pool
from lla.corpus import Corpus, Split
from lla.inference.filter import FilterConfig, infer
from lla.model import Model
from lla.samplers.lda import lda_predict, lda_theta

SCORES = 2**21  # held at once by a thread, 8 MiB


# What a model that can rank calls for batches of held-out words: positions (B,), scores (B, V).
Visit = Callable[[np.ndarray, np.ndarray], None]


def perplexity(log_likelihood: np.ndarray, split: Split, documents: np.ndarray) -> float:
    """exp(-Σ_d log p(held-out words of d) / number of those words).

    Parameters
    ----------
    log_likelihood : (D,) nats, one entry a document of `split`
    documents : (D,) bool, those that count; `split.reported` for every published figure
    """
    n_words = int(split.n_held_out[documents].sum())
    if n_words == 0:
        raise ValueError(
            "no held-out word: give documents of 3 words or more, and choose at least one"
        )
    return float(np.exp(-log_likelihood[documents].sum() / n_words))


def score_model(
    model: Model,
    split: Split,
    n_particles: int,
    seed: int,
    checkpoint: Path | None = None,
    n_threads: int | None = None,
) -> tuple[np.ndarray, float]:
    """log p(held-out words | observed words) of every document under a model of Table 1, (D,).

    Exact where the LSTM reads words. For topic LLA the particle filter's: log of a ratio of two
    unbiased estimates, of p(w_1:N) and p(w_1:n); in expectation the perplexity is too high, and
    falls to the model's own as particles are added.

    Parameters
    ----------
    checkpoint : file the scores are kept in; scores of the same model are read from it

    Returns
    -------
    log_likelihood, seconds : (D,) nats, and the time it took when it was computed
    """
    identity = {
        "kind": "scores",
        "model": model.fingerprint(),
        "corpus": split.corpus.fingerprint,
        "n_observed": hashlib.sha256(split.n_observed).hexdigest(),
        "n_particles": n_particles,
        "seed": seed,
    }
    if checkpoint and checkpoint.exists():
        tensors, meta = load_tensors(checkpoint)
        if all(meta.get(name) == value for name, value in identity.items()):
            return tensors["log_likelihood"].numpy(), meta["seconds"]
    begun = perf_counter()
    with thread_pool(n_threads) as pool:
        result = infer(
            model.network,
            model.emission,
            split.corpus,
            FilterConfig(n_particles),
            seed,
            (StreamId.PERPLEXITY, n_particles),
            pool,
            f"perplexity, {n_particles} particles, seed {seed}",
        )
    log_likelihood = split.sum_held_out(result.log_evidence)
    seconds = perf_counter() - begun
    if checkpoint:
        tensors = {"log_likelihood": log_likelihood}
        save_tensors(checkpoint, tensors, {**identity, "seconds": seconds})
    return log_likelihood, seconds


def score_lda(
    phi: np.ndarray, alpha: np.ndarray, document_topic: np.ndarray, split: Split, update: bool
) -> np.ndarray:
    """log p(held-out words) of every document under LDA, (D,) nats.

    Parameters
    ----------
    phi, alpha : (V, K), (K,)
    document_topic : (D, K) expected n_dk of the observed part (`lda.expected_document_topic`)
    update : let θ learn from each held-out word once it has been scored; without, θ is frozen
    """
    corpus = split.corpus
    log_likelihood = np.empty(corpus.n_documents)
    starts = corpus.offsets[:-1] + split.n_observed
    lda_predict(
        corpus.words, starts, corpus.offsets[1:], phi, alpha, document_topic, update, log_likelihood
    )
    return log_likelihood


def next_items_lda(
    phi: np.ndarray,
    alpha: np.ndarray,
    document_topic: np.ndarray,
    split: Split,
    visit: Visit,
    n_threads: int | None = None,
) -> None:
    """Call `visit(positions (B,), p (B, V) float32)` for all held-out words under LDA.

    θ learns from each held-out word before the next is ranked; the other parameters are those of
    `score_lda`. `visit` is called from several threads, never twice for a position.
    """
    phi_by_topic, corpus = np.ascontiguousarray(phi.T, np.float32), split.corpus  # (K, V)

    def rank(d: int) -> None:
        words = corpus.document(d)[split.n_observed[d] :]
        theta = np.empty((len(words), len(alpha)))
        lda_theta(words, phi, alpha, document_topic[d], theta)
        mix_topics(theta, phi_by_topic, corpus.offsets[d] + split.n_observed[d], visit)

    with thread_pool(n_threads) as pool:
        tasks = [pool.submit(rank, d) for d in np.flatnonzero(split.n_held_out)]
        for task in progress(tasks, description="rank LDA", unit="document"):
            task.result()


def mix_topics(theta: np.ndarray, phi_by_topic: np.ndarray, first: int, visit: Visit) -> None:
    """Visit Σ_k θ_tk φ_wk, float32, of the positions from `first` on; θ (n, K), φ (K, V).

    For a thread of `workers`: there Torch's product is not split, so its rounding is always the
    same.
    """
    step = max(1, SCORES // phi_by_topic.shape[1])
    phi = torch.from_numpy(phi_by_topic)
    for i in range(0, len(theta), step):
        mixed = torch.from_numpy(theta[i : i + step].astype(np.float32)) @ phi  # (B, V)
        visit(first + i + np.arange(len(mixed)), mixed.numpy())


WORD_SCORES = 2**22  # probabilities held at once, a thread


def next_items(
    model: Model,
    split: Split,
    n_particles: int,
    seed: int,
    visit: Visit,
    n_threads: int | None = None,
) -> None:
    """Show `visit` the probabilities p(w_t = v | w_<t) of all words v at every held-out token.

    Whatever Table 1's model: exact where `score_model` is, else by the same particle filter with
    the same draws, so that the true words' probabilities are those that perplexity is made of.

    Parameters
    ----------
    visit : called with positions (B,) in `split.corpus.words` and scores (B, V) float32, batch
        after batch until every held-out position was there once. Calls come one at a time, in
        an order that hangs on the threads; the scores do not, and are the caller's to keep
    """
    key = (StreamId.PERPLEXITY, n_particles)
    next_words(model, split.corpus, split.held_out, n_particles, seed, key, visit, n_threads)


def next_words(
    model: Model,
    corpus: Corpus,
    wanted: np.ndarray,
    n_particles: int,
    seed: int,
    key: tuple[int, ...],
    visit: Visit,
    n_threads: int | None = None,
) -> np.ndarray:
    """`next_items` at the places `wanted` (N,) bool; returns log p(w_t | w_<t) everywhere, (N,).

    Document d draws from the stream (seed, *key, d).
    """
    check_integer("n_particles", n_particles)
    shown = _Shown(wanted, visit, max(1, WORD_SCORES // corpus.n_words))
    with thread_pool(n_threads) as pool:
        found = infer(
            model.network,
            model.emission,
            corpus,
            FilterConfig(n_particles),
            seed,
            key,
            pool,
            f"next words, {n_particles} particles, seed {seed}",
            shown,
        )
    return found.log_evidence


@dataclass(frozen=True)
class _Shown:
    """Asks for the probabilities at the wanted places and hands them on, `most` at a time."""

    wanted: np.ndarray
    visit: Visit
    most: int
    lock: Lock = field(default_factory=Lock)

    def __call__(self, positions: np.ndarray, scores_of: Callable[[np.ndarray], Tensor]) -> None:
        chosen = np.flatnonzero(self.wanted[positions])
        for begin in range(0, len(chosen), self.most):
            part = chosen[begin : begin + self.most]
            scores = scores_of(part).numpy()
            with self.lock:
                self.visit(positions[part], scores)
