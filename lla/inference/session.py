"""A trained model at work: the next item, and the topics ahead, of a history never seen before.

A history is carried as the filter carries it: P particles, each its own telling of the topics so
far (`particles.filter_topics` does the same for a whole corpus). Where the network reads words,
its state is known, and without personal counts one particle is exact.
"""

import logging
import numbers
import reprlib
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from lla.common.errors import InputError, check_integer
from lla.common.random import StreamId, stream
from lla.common.threads import one_thread
from lla.inference.emission import PersonalEmission, SharedEmission, incremental_emission, place
from lla.inference.filter import FilterConfig
from lla.inference.stepper import Stepper
from lla.lstm import Network
from lla.samplers.histories import beam_step, filter_step, trace_back

SHOWN = 3  # unknown items that a message names


log = logging.getLogger("lla")


class Predictor:
    """What all sessions of a model share, made once: the network step by step, items by name."""

    def __init__(
        self,
        network: Network,
        emission: SharedEmission | PersonalEmission | None,
        vocabulary: tuple[str, ...],
    ) -> None:
        n_words = network.config.n_outputs if emission is None else len(emission.phi)
        if len(vocabulary) != n_words:
            raise InputError(
                f"the model has {n_words} items and the vocabulary {len(vocabulary)}: give "
                "Model(..., vocabulary=corpus.vocabulary) of the corpus it was trained on"
            )
        n_topics = network.config.n_outputs
        if emission is not None and emission.phi.shape[1] != n_topics:
            raise InputError(
                f"the network predicts {n_topics} topics and φ has {emission.phi.shape[1]}: "
                "give both of one fit"
            )
        self.emission, self.vocabulary = emission, vocabulary
        self.ids = {item: w for w, item in enumerate(vocabulary)}
        self.reads_topics = network.config.input == "topic"
        self.stepper = Stepper(network)

    def words(self, history: Iterable[Any]) -> np.ndarray:
        """Ids of the known items of `history`; one line in the log names the others."""
        if isinstance(history, (str, bytes)) or not isinstance(history, Iterable):
            raise InputError(
                f"history is {reprlib.repr(history)}: give a list of items, such as ['a', 'b']"
            )
        items = [_name(item) for item in history]
        words = [self.ids[item] for item in items if item in self.ids]
        if len(words) < len(items):
            unknown = list(dict.fromkeys(item for item in items if item not in self.ids))
            log.warning(
                "skipped %d of %d items that are not in the model's vocabulary: %s%s",
                *(len(items) - len(words), len(items)),
                ", ".join(map(reprlib.repr, unknown[:SHOWN])),
                ", ..." if len(unknown) > SHOWN else "",
            )
        return np.array(words, np.int64)

    def impossible(self, word: int) -> FloatingPointError:
        """What to raise where no topic can emit `word`."""
        return FloatingPointError(
            f"item {self.vocabulary[word]!r} has probability 0 or NaN under the model: "
            "train with a β above 0, and a smaller learning rate if training diverged"
        )


def _name(item: Any) -> str:
    """An item as the vocabulary has it; whole numbers are written out."""
    if isinstance(item, str):
        return str(item)
    if isinstance(item, numbers.Integral) and not isinstance(item, (bool, np.bool_)):
        return str(int(item))
    raise InputError(f"item {reprlib.repr(item)} is a {type(item).__name__}: give items as strings")


class Session:
    """One user's history, event after event; each costs one step, however long the history.

    Asking changes nothing: neither how often nor what was asked moves a later answer, and a
    history added at once or item by item gives the same bits.

    Parameters
    ----------
    predictor : of the model
    n_particles : P; a model that reads words needs one unless its emission is personal
    seed : of the particles' draws
    """

    def __init__(self, predictor: Predictor, n_particles: int = 16, seed: int = 0) -> None:
        check_integer("seed", seed, least=0)
        self._predictor, self._config, self._seed = predictor, FilterConfig(n_particles), seed
        emission, reads_topics = predictor.emission, predictor.reads_topics
        self._words = None if emission is None else incremental_emission(emission, n_particles)
        self._draws = reads_topics or (self._words is not None and self._words.personal)
        n_particles = n_particles if self._draws else 1
        self._weights = np.full((1, n_particles), 1.0 / n_particles)
        self._draw = stream(seed, StreamId.SERVING, 0)
        self._h, self._c = predictor.stepper.begin(n_particles if reads_topics else 1)
        self._seen: list[int] = []
        with one_thread():
            self._move(torch.full((len(self._h),), predictor.stepper.start))

    def __len__(self) -> int:
        """Events so far, those that were skipped left out."""
        return len(self._seen)

    def add(self, item: str | int) -> None:
        """One more event; an unknown item is skipped, and a line in the log says so."""
        self.extend([item])

    def extend(self, history: Iterable[str | int]) -> None:
        """More events, oldest first."""
        words = self._predictor.words(history)
        uniforms = self._draw.random((len(words), self._weights.shape[1] + 1), np.float32)
        with one_thread():
            for word, u in zip(words, uniforms, strict=True):
                topics = self._weigh(int(word), u[None]) if self._draws else None
                self._seen.append(int(word))
                ids = topics if self._predictor.reads_topics else np.array([word])
                self._move(torch.from_numpy(ids))

    def probabilities(self) -> np.ndarray:
        """p(next item | history) of every item in the order of the vocabulary, (V,) float32."""
        with one_thread():
            if self._words is None:
                return self._theta()[0].copy()
            return self._words.mixed(self._topic_weights()).astype(np.float32)

    def recommend(self, k: int = 10, *, exclude_seen: bool = False) -> list[tuple[str, float]]:
        """The `k` likeliest next items with their probabilities (see `Model.recommend`)."""
        check_integer("k", k)
        p = self.probabilities()
        among = np.arange(len(p))
        if exclude_seen:
            among = np.setdiff1d(among, self._seen)
        if k > len(among):
            left = " not in the history" if exclude_seen else ""
            log.warning("k is %d: the model has %d items%s, here are all", k, len(among), left)
        vocabulary = self._predictor.vocabulary
        return [(vocabulary[w], float(p[w])) for w in among[_largest(p[among], k)]]

    def topics_ahead(self, steps: int = 5, *, n_futures: int = 512) -> np.ndarray:
        """p(z_{t+h} | w_<=t) for h = 1..steps, (steps, K) float64 (see `Model.topics_ahead`)."""
        check_integer("steps", steps)
        check_integer("n_futures", n_futures)
        if self._words is None:
            raise InputError("this model predicts words, it has no topics; ask an LLA")
        with one_thread():
            weights = self._topic_weights()  # (P, K)
            ahead = np.empty((steps, weights.shape[1]))
            ahead[0] = weights.sum(axis=0)
            self._simulate_futures(weights, n_futures, ahead)
        return ahead / ahead.sum(axis=1, keepdims=True)

    def _move(self, ids: Tensor) -> None:
        """The state after the input `ids` (P,), or (1,) where particles share a state."""
        self._predictor.stepper.move(ids, self._h, self._c)
        self._theta_now: np.ndarray | None = None

    def _theta(self) -> np.ndarray:
        """θ of the next event, (P or 1, n_outputs) float32; computed when first asked for."""
        if self._theta_now is None:
            self._theta_now = self._predictor.stepper.theta(self._h).numpy()
        return self._theta_now

    def _topic_weights(self) -> np.ndarray:
        """W_p θ_pk, (P, K) float64: the probability of particle p and next topic k."""
        return self._weights.T * self._theta().astype(np.float64)

    def _weigh(self, word: int, uniforms: np.ndarray) -> np.ndarray:
        """A step of the filter; the particles' topics of `word`, (P,). Uniforms (1, P + 1)."""
        joint = self._theta() * self._words.likelihood(word)  # (P, K)
        # The kernel knows one likelihood a lane; here each particle may have its own.
        ones = np.ones((1, joint.shape[1]), np.float32)
        weights, evidence = self._weights.copy(), np.empty(1)
        topics, ancestors = np.zeros((2, len(joint)), np.int64)
        threshold = self._config.threshold
        filter_step(joint, ones, uniforms, threshold, weights, topics, ancestors, evidence)
        if not np.isfinite(evidence[0]):
            raise self._predictor.impossible(word)
        self._weights = weights
        if (ancestors != np.arange(len(joint))).any():
            self._words = self._words.fork(ancestors)
            if self._predictor.reads_topics:
                source = torch.from_numpy(ancestors)
                self._h, self._c = self._h.index_select(0, source), self._c.index_select(0, source)
        self._words.remember(np.full(len(joint), word), topics)
        return topics

    def _simulate_futures(self, weights: np.ndarray, n_futures: int, ahead: np.ndarray) -> None:
        """Rows 1 on of `ahead`: futures drawn topic by topic, and their θ averaged."""
        stepper = self._predictor.stepper
        draw = stream(self._seed, StreamId.SERVING, 1, len(self._seen))
        words, h, c = self._words, self._h, self._c
        for row in ahead[1:]:
            source, ids = _stratified_sample(weights, draw.random(n_futures))
            if not self._predictor.reads_topics:
                words, topics = words.fork(source), ids
                ids = words.draw(topics, draw.random(n_futures))
                words.remember(ids, topics)
            # Where words are read, all particles share the state that futures part from.
            rows = torch.from_numpy(np.minimum(source, len(h) - 1))
            h, c = h.index_select(0, rows), c.index_select(0, rows)
            weights = stepper.step(torch.from_numpy(ids), h, c).numpy().astype(np.float64)
            row[:] = weights.mean(axis=0)


def _stratified_sample(weights: np.ndarray, uniforms: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """As many cells of `weights` (P, K) as `uniforms` (n,): their rows and columns, (n,) each.

    Stratified: one cell from each n-th part of the running sum. One uniform for all parts would
    be worse: where rows weigh 1/n each, all rows would draw with the same one.
    """
    n = len(uniforms)
    return np.divmod(place(weights.cumsum(), (np.arange(n) + uniforms) / n), weights.shape[1])


def _largest(values: np.ndarray, k: int) -> np.ndarray:
    """Places of the `k` largest, largest first, ties in their order; all when there are fewer."""
    if k < len(values):
        least = np.partition(values, len(values) - k)[len(values) - k]
        chosen = np.flatnonzero(values >= least)
    else:
        chosen = np.arange(len(values))
    return chosen[np.argsort(-values[chosen], kind="stable")[:k]]


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
    check_integer("width", width)
    if predictor.emission is None:
        raise InputError("this model predicts words, it has no topics; ask an LLA")
    emits, stepper = incremental_emission(predictor.emission, width), predictor.stepper
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
