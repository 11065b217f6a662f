"""What the beam's width is worth where the most likely topics are wanted (`model.decode`)."""

from collections.abc import Sequence

import numpy as np
import torch

from lla.corpus import Corpus
from lla.emission import SharedEmission
from lla.histories import beam_topics
from lla.lstm import Stepper
from lla.model import Model
from lla.threads import workers


def log_joint(
    stepper: Stepper, emission: SharedEmission, corpus: Corpus, topics: np.ndarray
) -> float:
    """log p(z, w) of all documents, nats, for topics (N,) at hand: a network that reads topics."""
    order = np.argsort(-corpus.lengths, kind="stable")
    lengths, first = corpus.lengths[order], corpus.offsets[order]
    (h, c), total = stepper.begin(len(order)), 0.0
    before = np.full(len(order), stepper.start, np.int64)
    for t in range(int(lengths.max(initial=0))):
        n = int(np.searchsorted(-lengths, -t, side="left"))  # longer than t
        theta = stepper.step(torch.from_numpy(before[:n]), h[:n], c[:n]).numpy()
        z, w = (values[first[:n] + t].astype(np.int64) for values in (topics, corpus.words))
        joint = theta[np.arange(n), z].astype(np.float64) * emission.phi.numpy()[w, z]
        total += float(np.log(joint).sum())
        before[:n] = z
    return total


def decoded(
    model: Model, corpus: Corpus, widths: Sequence[int], n_threads: int | None = None
) -> dict[str, float]:
    """-log p(z, w), nats a word, of topics found in several ways; lower is likelier.

    Parameters
    ----------
    model : topic LLA with a shared φ
    corpus : what it was trained on

    Returns
    -------
    "drawn", the topics that training ended with, and "beam of P" for each width
    """
    stepper, emission = Stepper(model.network), model.emission
    with workers(n_threads) as pool:
        found = {"drawn": log_joint(stepper, emission, corpus, model.topics)}
        for width in widths:
            best = beam_topics(stepper, emission, corpus, width, pool, f"beam of {width}")
            found[f"beam of {width}"] = float(best.log_evidence.sum())
    return {name: -value / corpus.n_tokens for name, value in found.items()}
