"""The most likely topics of one history: a beam over its topic histories, and nothing drawn.

`histories.beam_topics` does the same for a whole corpus where φ is shared. Here a beam's every
history may have counts of its own, and the network may read words.
"""

from typing import NamedTuple

import numpy as np
import torch

from lla.errors import InputError, check_whole
from lla.history_samplers import beam_step, trace_back
from lla.next_word import words_of
from lla.serving import Predictor
from lla.threads import one_thread


class Decoded(NamedTuple):
    """The likeliest history that a beam has found.

    topics : (T,) int32
    log_joint : log p(z, w), nats
    """

    topics: np.ndarray
    log_joint: float


def decode(predictor: Predictor, words: np.ndarray, width: int) -> Decoded:
    """Keep the `width` likeliest topic histories of `words` (T,) ids, word after word.

    Exact when no history was ever left out, so from a width of K^(T-1); and at any width where the
    network reads words and φ is shared, for topics do not depend on each other there.

    Raises
    ------
    InputError
        When the model has no topics, or `width` is no whole number of 1 or more.
    """
    check_whole("width", width)
    if predictor.emission is None:
        raise InputError("this model predicts words, it has no topics; ask an LLA")
    emits, stepper = words_of(predictor.emission, width), predictor.stepper
    reads_topics, n_topics = predictor.reads_topics, predictor.emission.phi.shape[1]
    h, c = stepper.begin(width if reads_topics else 1)  # each (P, H); (1, H) where words are read
    ids, ones = np.full(len(h), stepper.start), np.ones((1, n_topics), np.float32)
    scores = np.full((1, width), -np.inf)
    scores[0, 0] = 0.0  # one history, the empty one
    topics, before = np.empty((2, width), np.int64)
    drawn, origin = np.zeros((2, len(words), 1, width), np.int32)
    with one_thread():
        for t, word in enumerate(words):
            theta = stepper.step(torch.from_numpy(ids), h, c).numpy()
            joint = np.empty((width, n_topics), np.float32)
            joint[:] = theta * emits.likelihood(int(word))
            beam_step(joint, ones, scores, topics, before)
            if scores[0, 0] == -np.inf:
                raise predictor.impossible(word)
            drawn[t, 0], origin[t, 0] = topics, before
            emits = emits.fork(before)
            emits.remember(np.full(width, word), topics)
            if reads_topics:
                source = torch.from_numpy(before)
                h, c = h.index_select(0, source), c.index_select(0, source)
            ids = topics if reads_topics else np.array([word])
    path = np.zeros((len(words), 1), np.int32)
    trace_back(drawn, origin, np.array([len(words)]), np.zeros(1, np.int64), path)
    return Decoded(path[:, 0], float(scores[0, 0]))
