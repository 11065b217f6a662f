"""Online prediction for one history: the next item, and the topics ahead.

A history has P particles, each with its own topics so far (`filter.infer` does the same for a
whole corpus). Where the network reads words, its state is known, and with a shared emission
no particle is needed.
"""

import logging
import reprlib
from collections.abc import Iterable, Mapping, Set
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from lla.common.arrays import check_range
from lla.common.display import Summarized
from lla.common.errors import (
    InputError,
    NumericalError,
    check_flag,
    check_integer,
    check_seed,
    describe,
)
from lla.common.parallel import one_thread
from lla.common.random import StreamId, stream
from lla.inference.batch import Stepper, check_items, check_model
from lla.inference.emission import Emission, Lanes
from lla.inference.emission.shared import inverse_cdf
from lla.inference.filter import FilterConfig
from lla.lstm import Network
from lla.samplers.histories import (
    beam_step,
    choose_rows,
    filter_step,
    topics_of_sources,
    trace_paths,
)

MAX_NAMED = 3  # unknown items that a message names


log = logging.getLogger("lla")


class Predictor:
    """What all sessions of a model share, made once: the stepper, and the ids of the items."""

    def __init__(
        self,
        network: Network,
        emission: Emission | None,
        vocabulary: tuple[str, ...],
    ) -> None:
        phi_shape = None if emission is None else emission.shape
        n_words = network.config.n_outputs if phi_shape is None else phi_shape[0]
        check_items(vocabulary, n_words)
        check_model(network.config, phi_shape, n_words)
        self.emission, self.vocabulary = emission, vocabulary
        self.ids = {item: w for w, item in enumerate(vocabulary)}
        self.reads_topics = network.config.input == "topic"
        self.has_gate = network.config.n_sources > 0
        self.stepper = Stepper(network)

    def words(self, history: Iterable[str]) -> np.ndarray:
        """Ids of the known items of `history`; one line in the log names the others."""
        no_sequence = (str, bytes, Set, Mapping)  # a set has no order
        if isinstance(history, no_sequence) or not isinstance(history, Iterable):
            raise InputError(
                f"history is {reprlib.repr(history)}: give a list of items, such as ['a', 'b']"
            )
        # Ids and items that are numbers cannot be told apart, and both would be looked up by name.
        if isinstance(history, np.ndarray) and history.dtype.kind in "iu":
            raise InputError(
                f"history is an array of {history.dtype}: give items by name, as corpus.items(0) "
                "for word ids, or as text, as in history.astype(str), for items that are numbers"
            )
        if isinstance(history, np.ndarray):  # one of no dimension cannot be walked through
            history = np.atleast_1d(history)
        items = [_name(item) for item in history]
        words = [self.ids[item] for item in items if item in self.ids]
        if len(words) < len(items):
            unknown = list(dict.fromkeys(item for item in items if item not in self.ids))
            log.warning(
                "skipped %d of %d items that are not in the model's vocabulary: %s%s",
                len(items) - len(words),
                len(items),
                ", ".join(map(reprlib.repr, unknown[:MAX_NAMED])),
                ", ..." if len(unknown) > MAX_NAMED else "",
            )
        return np.array(words, np.int64)

    def impossible(self, word: int) -> NumericalError:
        """The error to raise where no topic can emit `word`."""
        return NumericalError(
            f"item {self.vocabulary[word]!r} has probability 0 or NaN under the model: "
            "train with a smaller learning_rate if training diverged, or a larger beta if φ holds "
            "zeros"
        )


def _name(item: object) -> str:
    """An item as the vocabulary spells it.

    Numbers are refused: an id (`Corpus.document` gives them) and the name of an item that looks
    like a number could not be told apart, and one taken for the other would go unnoticed.
    """
    if isinstance(item, str):
        return str(item)
    raise InputError(
        f"item {describe(item)} of the history is no name: give items as strings, such as "
        "corpus.items(0) or ['17', '42']"
    )


class Session(Summarized):
    """One user's history, event after event; each costs one step, however long the history.

    Queries change nothing: neither how often nor what was asked changes a later answer, and a
    history added at once or item by item gives the same bits.

    Parameters
    ----------
    predictor : of the model
    n_particles : P; a model that reads words needs one unless its emission is personal
    seed : of the particles' draws
    """

    def __init__(self, predictor: Predictor, n_particles: int = 16, seed: int = 0) -> None:
        seed = check_seed(seed)
        self._predictor, self._config, self._seed = predictor, FilterConfig(n_particles), seed
        emission, reads_topics = predictor.emission, predictor.reads_topics
        self._draws = reads_topics or (emission is not None and emission.history_dependent)
        n_particles = n_particles if self._draws else 1
        self._lanes = None if emission is None else emission.growing_lanes(n_particles)
        self._weights = np.full((1, n_particles), 1.0 / n_particles)
        self._uniforms = stream(seed, StreamId.SERVING, 0)
        self._h, self._c = predictor.stepper.initial_state(n_particles if reads_topics else 1)
        self._seen: list[int] = []
        with one_thread():
            self._advance(torch.full((len(self._h),), predictor.stepper.start))

    def summary_facts(self) -> dict[str, int]:
        """Counts."""
        return {
            "events": len(self),
            "words": len(self._predictor.vocabulary),
            "particles": self._weights.shape[1],
            "seed": self._seed,
        }

    def __len__(self) -> int:
        """Events so far, without those that were skipped."""
        return len(self._seen)

    def add(self, item: str) -> None:
        """One more event; an unknown item is skipped, and a line in the log says so."""
        self.extend([item])

    def extend(self, history: Iterable[str]) -> None:
        """More events, oldest first."""
        words = self._predictor.words(history)
        uniforms = self._uniforms.random((len(words), self._weights.shape[1] + 1), np.float32)
        lanes, emission = self._lanes, self._predictor.emission
        with one_thread():
            for word, u in zip(words, uniforms, strict=True):
                ids = np.array([word])
                if lanes is not None and self._draws:
                    topics = self._filter(lanes, int(word), u[None])
                    ids = topics if self._predictor.reads_topics else ids
                elif lanes is not None and emission is not None and emission.reads_words:
                    lanes.append(ids)
                    lanes.advance(np.zeros(1, np.int64), np.zeros(1, np.int64))
                self._seen.append(int(word))
                self._advance(torch.from_numpy(ids))

    def probabilities(self) -> np.ndarray:
        """p(next item | history) of every item in the order of the vocabulary, (V,) float32."""
        with one_thread():
            if self._lanes is None:
                return self._theta()[0].copy()
            return self._lanes.predictive(self._topic_weights()).astype(np.float32)

    def explain_next(self, item: str) -> np.ndarray:
        """p(z | history, item): what would have produced `item` if it were the next event.

        Returns
        -------
        (K + S,) float64, topics first, then sources; zeros where the item is unknown
        """
        words = self._predictor.words([item])
        if self._lanes is None:
            raise InputError("this model predicts words, it has no topics; ask an LLA")
        with one_thread():
            weights = self._topic_weights()  # (P, K + S)
            if len(words) == 0:
                return np.zeros(weights.shape[1])
            self._lanes.append(words)
            joint = (weights * self._lanes.likelihood(1)).sum(axis=0)
        if not joint.sum() > 0:
            raise self._predictor.impossible(int(words[0]))
        return joint / joint.sum()

    def recommend(self, k: int = 10, *, exclude_seen: bool = False) -> list[tuple[str, float]]:
        """The `k` most likely next items with their probabilities (see `Model.recommend`)."""
        check_integer("k", k)
        check_flag("exclude_seen", exclude_seen)
        p = self.probabilities()
        candidates = np.arange(len(p))
        if exclude_seen:
            candidates = np.setdiff1d(candidates, self._seen)
        if k > len(candidates):
            left = " not in the history" if exclude_seen else ""
            log.warning("k is %d: the model has %d items%s, here are all", k, len(candidates), left)
        vocabulary = self._predictor.vocabulary
        return [(vocabulary[w], float(p[w])) for w in candidates[_largest(p[candidates], k)]]

    def topics_ahead(self, steps: int = 5, *, n_futures: int = 512) -> np.ndarray:
        """p(z_{t+h} | w_<=t) for h = 1..steps, (steps, K) float64 (see `Model.topics_ahead`)."""
        check_integer("steps", steps)
        check_integer("n_futures", n_futures)
        if self._lanes is None:
            raise InputError("this model predicts words, it has no topics; ask an LLA")
        with one_thread():
            weights = self._topic_weights()  # (P, K)
            ahead = np.empty((steps, weights.shape[1]))
            ahead[0] = weights.sum(axis=0)
            self._simulate_futures(self._lanes, weights, n_futures, ahead)
        return ahead / ahead.sum(axis=1, keepdims=True)

    def _advance(self, ids: Tensor) -> None:
        """Update the state by the input `ids` (P,), or (1,) where particles share a state."""
        self._predictor.stepper.advance(ids, self._h, self._c)
        self._cached_theta: np.ndarray | None = None

    def _theta(self) -> np.ndarray:
        """θ of the next event, (P or 1, n_outputs) float32; computed on first use."""
        if self._cached_theta is None:
            self._cached_theta = self._predictor.stepper.theta(self._h).numpy()
        return self._cached_theta

    def _topic_weights(self) -> np.ndarray:
        """W_p θ_pk, (P, K) float64: the probability of particle p and next topic k."""
        return self._weights.T * self._theta().astype(np.float64)

    def _filter(self, lanes: Lanes, word: int, uniforms: np.ndarray) -> np.ndarray:
        """A step of the filter; the particles' topics of `word`, (P,). Uniforms (1, P + 1).

        Under a gate k + K c: topic k, and where the item came from.
        """
        lanes.append(np.array([word]))
        weights, log_evidence = self._weights.copy(), np.empty(1)
        topics, ancestors = np.zeros((2, weights.shape[1]), np.int64)
        theta, likelihood = self._theta(), lanes.likelihood(1)
        filter_step(
            theta,
            likelihood,
            uniforms,
            self._config.threshold,
            weights,
            topics,
            ancestors,
            log_evidence,
        )
        if not np.isfinite(log_evidence[0]):
            raise self._predictor.impossible(word)
        self._weights = weights
        n_topics = self._predictor.stepper.config.n_topics
        if self._predictor.has_gate:
            topics_of_sources(theta, likelihood, uniforms, n_topics, topics, ancestors)
            lanes.advance(topics % n_topics, ancestors)
        else:
            lanes.advance(topics, ancestors)
        if self._predictor.reads_topics and (ancestors != np.arange(len(ancestors))).any():
            source = torch.from_numpy(ancestors)
            self._h, self._c = self._h.index_select(0, source), self._c.index_select(0, source)
        return topics

    def _simulate_futures(
        self, lanes: Lanes, weights: np.ndarray, n_futures: int, ahead: np.ndarray
    ) -> None:
        """Fill rows 1 on of `ahead`: futures are drawn topic by topic and their θ averaged."""
        stepper = self._predictor.stepper
        draw = stream(self._seed, StreamId.SERVING, 1, len(self._seen))
        h, c = self._h, self._c
        for row in ahead[1:]:
            source, ids = _stratified_sample(weights, draw.random(n_futures))
            if self._predictor.has_gate or not self._predictor.reads_topics:
                outcomes, lanes = ids, lanes.fork(source)
                words = lanes.draw(outcomes, draw.random(n_futures))
                lanes.append(words)
                topics = origins = outcomes
                if self._predictor.has_gate:
                    joint = weights[source] * lanes.likelihood(n_futures)
                    topics = self._topics_given_words(outcomes, joint, draw.random(n_futures))
                    origins = np.maximum(outcomes - stepper.config.n_topics + 1, 0)
                lanes.advance(topics, np.arange(n_futures))
                pairs = topics + stepper.config.n_topics * origins
                ids = pairs if self._predictor.reads_topics else words
            # Where words are read, all particles share the state that futures start from.
            rows = torch.from_numpy(np.minimum(source, len(h) - 1))
            h, c = h.index_select(0, rows), c.index_select(0, rows)
            weights = stepper.step(torch.from_numpy(ids), h, c).numpy().astype(np.float64)
            row[:] = weights.mean(axis=0)

    def _topics_given_words(
        self, outcomes: np.ndarray, joint: np.ndarray, uniforms: np.ndarray
    ) -> np.ndarray:
        """Topics (n,) where an outcome is a topic or a source; joint (n, K + S) with the word."""
        n_topics, rows = self._predictor.stepper.config.n_topics, np.empty(len(joint), np.int64)
        choose_rows(joint[:, :n_topics].copy(), uniforms, rows)
        drawn = rows - np.arange(len(joint)) * n_topics
        return np.where(outcomes < n_topics, outcomes, drawn)


def _stratified_sample(weights: np.ndarray, uniforms: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """As many cells of `weights` (P, K) as `uniforms` (n,): their rows and columns, (n,) each.

    One cell is drawn from each n-th part of the running sum, each by its own uniform. One uniform
    for all parts would be worse: where rows weigh 1/n each, all rows would draw with the same one.
    """
    n = len(uniforms)
    cells = inverse_cdf(weights.cumsum(), (np.arange(n) + uniforms) / n)
    return np.divmod(cells, weights.shape[1])


def _largest(values: np.ndarray, k: int) -> np.ndarray:
    """Indices of the `k` largest, largest first, ties in their order; all if there are fewer."""
    if k < len(values):
        kth = np.partition(values, len(values) - k)[len(values) - k]
        chosen = np.flatnonzero(values >= kth)
    else:
        chosen = np.arange(len(values))
    return chosen[np.argsort(-values[chosen], kind="stable")[:k]]


def _joint_of_pairs(
    theta: np.ndarray, likelihood: np.ndarray, n_topics: int
) -> tuple[np.ndarray, np.ndarray]:
    """p(z_t = k, c_t = c, w_t) of pairs k + K c, (P, K(1 + S)), and ones in place of a likelihood.

    A topic's share of the word is the same wherever the item came from.
    """
    joint = (theta * likelihood).astype(np.float64)  # (P, K + S)
    of_topics, of_sources = joint[:, :n_topics], joint[:, n_topics:]
    total = of_topics.sum(axis=1, keepdims=True)
    share = of_topics / np.where(total > 0, total, 1.0)
    of_pairs = (of_sources[:, :, None] * share[:, None, :]).reshape(len(joint), -1)
    pairs = np.concatenate([of_topics, of_pairs], axis=1)
    return pairs, np.ones((1, pairs.shape[1]))


class Decoded(NamedTuple):
    """The most likely history that a beam has found.

    topics : (T,) int32
    origins : (T,) int32 under a gate where each item came from, 0 a topic, j + 1 source j; else 0
    log_joint : log p(z, w), or under a gate log p(z, c, w), nats
    """

    topics: np.ndarray
    origins: np.ndarray
    log_joint: float


def decode(predictor: Predictor, words: np.ndarray, width: int) -> Decoded:
    """Keep the `width` most likely topic histories of `words` (T,) ids, word after word.

    Exact when no history was ever left out, so from a width of K^(T-1); and at any width where the
    network reads words and φ is shared, for topics do not depend on each other there. Under a gate
    histories are of topics and of where the items came from.

    Raises
    ------
    InputError
        When the model has no topics, or `width` is not an integer of 1 or more.
    """
    check_integer("width", width)
    if predictor.emission is None:
        raise InputError("this model predicts words, it has no topics; ask an LLA")
    if (bad := check_range(words, len(predictor.vocabulary))) is not None:
        raise InputError(f"words: the model has no word {bad}; give the ids of its vocabulary")
    stepper, reads_topics = predictor.stepper, predictor.reads_topics
    lanes, n_topics = predictor.emission.growing_lanes(width), stepper.config.n_topics
    h, c = stepper.initial_state(width if reads_topics else 1)  # (P, H); (1, H) if words are read
    ids = np.full(len(h), stepper.start)
    scores = np.full((1, width), -np.inf)
    scores[0, 0] = 0.0  # one history, the empty one
    topics, ancestors = np.empty((2, width), np.int64)
    traced = np.zeros((2, len(words), width), np.int32)
    with one_thread():
        for t, word in enumerate(words):
            theta = stepper.step(torch.from_numpy(ids), h, c).numpy()
            lanes.append(np.array([word]))
            likelihood = lanes.likelihood(1)
            if predictor.has_gate:
                theta, likelihood = _joint_of_pairs(theta, likelihood, n_topics)
            beam_step(theta, likelihood, scores, topics, ancestors)
            if scores[0, 0] == -np.inf:
                raise predictor.impossible(word)
            traced[:, t] = topics, ancestors
            lanes.advance(topics % n_topics if predictor.has_gate else topics, ancestors)
            if reads_topics:
                source = torch.from_numpy(ancestors)
                h, c = h.index_select(0, source), c.index_select(0, source)
            ids = topics if reads_topics else np.array([word])
    path, best = np.zeros((len(words), 1), np.int32), np.zeros(1, np.int64)
    trace_paths(traced[0], traced[1], np.array([len(words)]), best, path)
    values = path[:, 0]
    if predictor.has_gate:
        return Decoded(values % n_topics, values // n_topics, float(scores[0, 0]))
    return Decoded(values, np.zeros_like(values), float(scores[0, 0]))
