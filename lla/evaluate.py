"""Perplexity of the held-out 40% of every document, words in order (paper, 4.1).

Every function returns the log-probability of each document's held-out words, (D,) nats, so that
all models are put through one `perplexity` on the same documents.
"""

import hashlib
from pathlib import Path
from time import perf_counter

import numpy as np

from lla.corpus import Split
from lla.inference import infer
from lla.model import Model
from lla.particles import FilterConfig
from lla.samplers import lda_predict
from lla.store import load_tensors, save_tensors
from lla.streams import Use
from lla.threads import workers


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
    with workers(n_threads) as pool:
        result = infer(
            model.network,
            model.emission,
            split.corpus,
            FilterConfig(n_particles),
            seed,
            (Use.PERPLEXITY, n_particles),
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
