"""Perplexity of held-out words, and scores of all words handed over batch by batch."""

from threading import Lock

import numpy as np

from lla.common.arrays import check_mask
from lla.common.errors import InputError
from lla.corpus import Split
from lla.evaluate import ScoreCallback

SCORES = 2**21  # held at once per thread, 8 MiB


def perplexity(log_likelihood: np.ndarray, split: Split, documents: np.ndarray) -> float:
    """exp(-Σ_d log p(held-out words of d) / number of those words).

    Parameters
    ----------
    log_likelihood : (D,) nats, one entry per document of `split`
    documents : (D,) bool, those that count; `split.reported` for every published figure

    Raises
    ------
    InputError
        When the entries are not one per document, or no document that counts has a held-out word.
    """
    n_documents = split.corpus.n_documents
    if np.shape(log_likelihood) != (n_documents,):
        raise InputError(
            f"log_likelihood: {np.shape(log_likelihood)}; give {n_documents}, one per document"
        )
    check_mask("documents", documents, n_documents)
    n_words = int(split.n_held_out[documents].sum())
    if n_words == 0:
        raise InputError(
            "documents: none of those that count has a held-out word; split at a smaller "
            "`observed`, or give longer documents"
        )
    return float(np.exp(-log_likelihood[documents].sum() / n_words))


def one_at_a_time(on_scores: ScoreCallback) -> ScoreCallback:
    """The same callback, for several threads: it is never called twice at once."""
    lock = Lock()

    def call(positions: np.ndarray, scores: np.ndarray) -> None:
        with lock:
            on_scores(positions, scores)

    return call


def mix_topics(
    theta: np.ndarray, phi_by_topic: np.ndarray, first: int, on_scores: ScoreCallback
) -> None:
    """Hand over Σ_k θ_tk φ_wk, float32, of the positions from `first` on; θ (n, K), φ (K, V).

    Call it in a thread of `thread_pool`, where Torch does not split the product over threads: then
    its rounding is always the same.
    """
    import torch  # here: LDA is fitted and scored without it

    step = max(1, SCORES // phi_by_topic.shape[1])
    phi = torch.from_numpy(phi_by_topic)
    for i in range(0, len(theta), step):
        mixed = torch.from_numpy(theta[i : i + step].astype(np.float32)) @ phi  # (B, V)
        on_scores(first + i + np.arange(len(mixed)), mixed.numpy())
