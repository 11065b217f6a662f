"""Perplexity of held-out words, and scores of all words handed over batch by batch."""

from threading import Lock

import numpy as np

from lla.common.arrays import as_array, check_mask
from lla.common.errors import InputError, check_function, check_instance
from lla.corpus import Split
from lla.evaluate import ScoreCallback

SCORES = 2**21  # held at once per thread, 8 MiB


def perplexity(
    log_likelihood: np.ndarray, split: Split, documents: np.ndarray | None = None
) -> float:
    """exp(-Σ_d log p(held-out words of d) / number of those words).

    Parameters
    ----------
    log_likelihood : (D,) nats, one entry per document of `split`
    documents : (D,) bool, those that count; unless given `split.reported`, as in every published
        figure

    Raises
    ------
    InputError
        When the entries are not one per document, or no document that counts has a held-out word.
    """
    log_likelihood, documents = _checked(log_likelihood, split, documents)
    return float(np.exp(-log_likelihood[documents].sum() / split.n_held_out[documents].sum()))


def user_error(
    log_likelihood: np.ndarray, split: Split, documents: np.ndarray | None = None
) -> float:
    """Mean over documents of -log p(held-out words of d) / number of those words, nats.

    Equation 3 of Ko, Maystre and Grossglauser (2016): every user counts the same, where in the
    perplexity every word does. A document without a held-out word is left out.

    Parameters
    ----------
    log_likelihood, documents : as of `perplexity`

    Raises
    ------
    InputError
        As of `perplexity`.
    """
    log_likelihood, documents = _checked(log_likelihood, split, documents)
    counted = documents & (split.n_held_out > 0)
    return float(-(log_likelihood[counted] / split.n_held_out[counted]).mean())


def _checked(
    log_likelihood: np.ndarray, split: Split, documents: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """Both as arrays, (D,) each, where some document that counts has a held-out word."""
    check_instance("split", split, Split)
    n_documents = split.corpus.n_documents
    log_likelihood = as_array("log_likelihood", log_likelihood)
    if log_likelihood.shape != (n_documents,) or log_likelihood.dtype.kind not in "fiu":
        raise InputError(
            f"log_likelihood: {log_likelihood.dtype} {log_likelihood.shape}; give {n_documents} "
            "numbers, one per document"
        )
    documents = split.reported if documents is None else documents
    check_mask("documents", documents, n_documents)
    if not split.n_held_out[documents].any():
        raise InputError(
            "documents: none of those that count has a held-out word; split at a smaller "
            "`observed`, or give longer documents"
        )
    return log_likelihood, np.asarray(documents)


def one_at_a_time(on_scores: ScoreCallback) -> ScoreCallback:
    """The same callback, for several threads: it is never called twice at once."""
    check_function("on_scores", on_scores)
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
