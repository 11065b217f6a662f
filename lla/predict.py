"""What comes next: the probability of every word at every held-out token, for rankings."""

from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Lock

import numpy as np
from torch import Tensor

from lla.corpus import Corpus, Split
from lla.errors import check_whole
from lla.evaluate import Visit
from lla.inference import infer
from lla.model import Model
from lla.particles import FilterConfig
from lla.streams import Use
from lla.threads import workers

SCORES = 2**22  # probabilities held at once, a thread


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
    key = (Use.PERPLEXITY, n_particles)
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
    check_whole("n_particles", n_particles)
    shown = _Shown(wanted, visit, max(1, SCORES // corpus.n_words))
    with workers(n_threads) as pool:
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
