"""Perplexity of held-out words, and scores of all words handed over batch by batch."""

from collections.abc import Callable
from threading import Lock

import numpy as np

from lla.common.arrays import as_array, check_mask
from lla.common.errors import InputError, check_function, check_instance
from lla.common.parallel import thread_pool
from lla.common.progress import progress
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


def repeat_row(row: np.ndarray, split: Split, document: int, on_scores: ScoreCallback) -> None:
    """Hand over the same `row` (V,) at every held-out token of a document."""
    first, last = split.corpus.offsets[document : document + 2]
    step = max(1, SCORES // len(row))
    for i in range(first + split.n_observed[document], last, step):
        positions = np.arange(i, min(i + step, last))
        on_scores(positions, np.tile(row, (len(positions), 1)))


def mix_topics(
    theta_of: Callable[[int], np.ndarray],
    phi: np.ndarray,
    split: Split,
    on_scores: ScoreCallback,
    *,
    n_threads: int | None,
    name: str,
) -> None:
    """Hand over Σ_k θ_tk φ_vk of all words v, float32, at every held-out token.

    Parameters
    ----------
    theta_of : document -> θ_t of its held-out tokens, (n, K)
    phi : φ (V, K)
    name : of the model, in the progress
    """
    import torch  # here: LDA is fitted and scored without it

    corpus, on_scores = split.corpus, one_at_a_time(on_scores)
    step = max(1, SCORES // len(phi))
    phi_by_topic = torch.from_numpy(np.ascontiguousarray(phi.T, np.float32))  # (K, V)

    def rank(d: int) -> None:
        theta = torch.from_numpy(theta_of(d).astype(np.float32))
        first = int(corpus.offsets[d] + split.n_observed[d])
        for i in range(0, len(theta), step):
            mixed = theta[i : i + step] @ phi_by_topic  # (B, V)
            on_scores(first + i + np.arange(len(mixed)), mixed.numpy())

    # In its threads Torch does not split a product further: the rounding is always the same.
    with thread_pool(n_threads) as pool:
        tasks = [pool.submit(rank, d) for d in np.flatnonzero(split.n_held_out).tolist()]
        for task in progress(tasks, description=f"rank {name}", unit="document"):
            task.result()
