"""Topics and the sources beside them, as one emission (see `lla.inference.emission.sources`)."""

from dataclasses import dataclass, field

import numpy as np
from torch import Tensor

from lla.common.arrays import check_range
from lla.common.errors import InputError
from lla.corpus import Corpus
from lla.inference.batch import columns, sort_by_length
from lla.inference.emission.personal import PersonalEmission
from lla.inference.emission.shared import (
    FIRST_CAPACITY,
    Emission,
    Lanes,
    SharedEmission,
    inverse_cdf,
    mean_theta,
)
from lla.inference.emission.sources import Sources
from lla.samplers.sources import (
    N_SOURCES,
    Counts,
    Trail,
    add_sources,
    append_word,
    count_left,
    draw_from_sources,
    fill_trail,
    lane_probabilities,
    row_probabilities,
)


@dataclass(frozen=True, repr=False)
class SourceEmission(Emission):
    """Topics and sources: an outcome k < K emits as topic k does, K + j as source j.

    Attributes
    ----------
    topics : how the K topics emit
    sources : S of them
    phi : (V, K) of the topics alone
    """

    phi: Tensor = field(init=False)
    topics: SharedEmission | PersonalEmission
    sources: Sources

    def __post_init__(self) -> None:
        object.__setattr__(self, "phi", self.topics.phi)
        n_words, n_counted = len(self.phi), len(self.sources.word_count)
        if n_words != n_counted:
            raise InputError(f"sources: {n_counted} words, but φ has {n_words}; give both of a fit")

    @property
    def history_dependent(self) -> bool:
        """Of the topics: the sources depend on words alone."""
        return self.topics.history_dependent

    @property
    def reads_words(self) -> bool:
        """Sources depend on the words before."""
        return True

    @property
    def source_names(self) -> tuple[str, ...]:
        """Names of the outcomes K, K + 1, ..."""
        return self.sources.names

    def arrays(self) -> tuple[Tensor, ...]:
        """All parameters, φ first."""
        return (*self.topics.arrays(), *self.sources.tensors().values())

    def tensors(self) -> dict[str, Tensor]:
        """All parameters by name, as they are saved."""
        return self.topics.tensors() | self.sources.tensors()

    def summary(self) -> dict[str, float]:
        """Their columns of a fit's history."""
        return self.topics.summary() | self.sources.summary()

    def lanes(
        self,
        words: np.ndarray,
        lengths: np.ndarray,
        n_particles: int,
        counted: np.ndarray | None = None,
    ) -> "SourceLanes":
        """Documents side by side: `words` (T, L) int64 of `lengths` (L,), which fall."""
        if (bad := check_range(words.ravel(), len(self.phi))) is not None:
            raise InputError(f"words: id {bad}, but V is {len(self.phi)}; give known words alone")
        trail = trail_of(words, lengths, self.sources)
        if counted is not None:
            count_left(trail, lengths, np.ascontiguousarray(counted.T))
        topics = self.topics.lanes(words, lengths, n_particles)
        lanes = SourceLanes(self, topics, trail, n_particles)
        lanes.tabulate(lengths)
        return lanes

    def growing_lanes(self, n_particles: int, n_lanes: int = 1) -> "SourceLanes":
        """Documents whose words come one by one (`append`)."""
        topics = self.topics.growing_lanes(n_particles, n_lanes)
        return SourceLanes(self, topics, empty_trail(n_lanes, FIRST_CAPACITY), n_particles)


class SourceLanes:
    """Documents side by side, each with the trail of its own words; see `SharedLanes`.

    Attributes
    ----------
    topics : the state of the topics' emission
    table : (T, L, S) float32 p(w_t | source); of documents that grow, the current word's alone
    """

    def __init__(
        self, emission: SourceEmission, topics: Lanes, trail: Trail, n_particles: int, t: int = 0
    ) -> None:
        self.emission, self.topics, self.trail, self.t = emission, topics, trail, t
        self.n_particles = n_particles
        self._counts, self._kinds = emission.sources.counts(), emission.sources.kinds
        self._concentration = emission.sources.parameters.concentration
        self._decay = emission.sources.parameters.decay
        self.table = np.zeros((1, len(trail.words), len(self._kinds)), np.float32)
        self._grows = True

    def tabulate(self, lengths: np.ndarray) -> None:
        """Compute all tokens' probabilities at once."""
        n_lanes, n_tokens = self.trail.words.shape
        self.table = np.zeros((n_tokens, n_lanes, len(self._kinds)), np.float32)
        self._grows = False
        lane_probabilities(
            self.trail,
            lengths,
            self._counts,
            self._concentration,
            self._decay,
            self._kinds,
            self.table,
        )

    def append(self, words: np.ndarray) -> None:
        """The next word of every lane, (L,); replaced by another `append` before `advance`."""
        self.topics.append(words)
        if self.t == self.trail.words.shape[1]:
            more = empty_trail(*self.trail.words.shape)
            pairs = zip(self.trail, more, strict=True)
            self.trail = Trail(*(np.concatenate(pair, axis=1) for pair in pairs))
        append_word(self.trail, self.t, words, self._decay)
        row_probabilities(
            self.trail,
            self.t,
            self._counts,
            self._concentration,
            self._decay,
            self._kinds,
            self.table[0],
        )

    def likelihood(self, n_lanes: int) -> np.ndarray:
        """p(w_t | z_t) of the first lanes' words for topics and sources, (rows, K + S) float32.

        A row per lane, or per particle where topics have a history.
        """
        of_topics = self.topics.likelihood(n_lanes)
        of_sources = self.table[0 if self._grows else self.t, :n_lanes]
        if len(of_topics) > n_lanes:
            of_sources = np.repeat(of_sources, self.n_particles, axis=0)
        return np.concatenate([of_topics, of_sources], axis=1)

    def advance(self, topics: np.ndarray, ancestors: np.ndarray) -> None:
        """Go on to the next token; from K on a value is no topic."""
        self.topics.advance(topics, ancestors)
        self.t += 1

    def predict(self, lanes: np.ndarray, theta: Tensor, weights: np.ndarray) -> Tensor:
        """p(w_t = v | w_<t) of all words v, (B, V); see `SharedLanes.predict`."""
        n_topics = self.emission.phi.shape[1]
        scores = self.topics.predict(lanes, theta[:, :n_topics].contiguous(), weights)
        share = mean_theta(theta[:, n_topics:].contiguous(), weights, lanes)  # (B, S)
        self._add(lanes, share.numpy().astype(np.float64), scores.numpy())
        return scores

    def predictive(self, weights: np.ndarray) -> np.ndarray:
        """Σ_p Σ_k weights_pk p(v | k, history), (V,); see `SharedLanes.predictive`."""
        n_topics = self.emission.phi.shape[1]
        of_topics = self.topics.predictive(np.ascontiguousarray(weights[:, :n_topics]))
        scores = of_topics.astype(np.float64)[None]
        share = weights[:, n_topics:].sum(axis=0, keepdims=True).astype(np.float64)
        self._add(np.zeros(1, np.int64), share, scores)
        return scores[0]

    def _add(self, lanes: np.ndarray, share: np.ndarray, scores: np.ndarray) -> None:
        """Add what the sources say, with probabilities `share` (B, S), to `scores` (B, V)."""
        _add_at(self.emission.sources, self._counts, self.trail, self.t, lanes, share, scores)

    def draw(self, topics: np.ndarray, uniforms: np.ndarray) -> np.ndarray:
        """A word of each row's topic or source, (L·P,) ids."""
        n_topics = self.emission.phi.shape[1]
        of_source = topics >= n_topics
        words = self.topics.draw(np.where(of_source, 0, topics), uniforms)
        rows = np.flatnonzero(of_source)
        drawn, rest = np.empty(len(rows), np.int64), np.empty(len(rows))
        draw_from_sources(
            self.trail,
            self.t,
            rows // self.n_particles,
            self._kinds[topics[rows] - n_topics],
            uniforms[rows],
            self._counts,
            self._concentration,
            self._decay,
            drawn,
            rest,
        )
        new = drawn < 0
        cumulative = np.cumsum(self.emission.sources.unigram())
        drawn[new] = inverse_cdf(cumulative, rest[new])
        words[rows] = drawn
        return words

    def fork(self, rows: np.ndarray) -> "SourceLanes":
        """A copy for the particles `rows` (M,), each in a lane of its own."""
        lanes = rows // self.n_particles
        trail = Trail(*(values[lanes] for values in self.trail))
        return SourceLanes(self.emission, self.topics.fork(rows), trail, 1, self.t)


def add_to_scores(
    sources: Sources, corpus: Corpus, positions: np.ndarray, share: np.ndarray, scores: np.ndarray
) -> None:
    """Add Σ_j share_j p_j(v | w_<t) of all words v to `scores` (B, V), float32 or float64.

    Parameters
    ----------
    positions : (B,) tokens of the corpus, of which none was counted
    share : (B, S) probability of each source
    """
    documents = np.searchsorted(corpus.offsets, positions, side="right") - 1
    chosen = sort_by_length(corpus.lengths, np.unique(documents))  # (L,)
    lane_of = np.argsort(chosen)
    lanes = lane_of[np.searchsorted(chosen, documents, sorter=lane_of)]
    words = columns(corpus.words, corpus.offsets, chosen)  # (T, L)
    trail = trail_of(words, corpus.lengths[chosen], sources)
    counts, time = sources.counts(), positions - corpus.offsets[documents]
    for t in np.unique(time):
        rows = np.flatnonzero(time == t)
        part = scores[rows]
        _add_at(sources, counts, trail, int(t), lanes[rows], share[rows], part)
        scores[rows] = part


def _add_at(
    sources: Sources,
    counts: Counts,
    trail: Trail,
    t: int,
    lanes: np.ndarray,
    share: np.ndarray,
    scores: np.ndarray,
) -> None:
    """Add Σ_j share_j p_j(v | w_<t) to `scores` (B, V), for rows that are all at step t."""
    by_kind, base_share = np.zeros((len(lanes), N_SOURCES)), np.empty(len(lanes))
    by_kind[:, sources.kinds] = share
    add_sources(
        trail,
        t,
        np.asarray(lanes, np.int64),
        by_kind,
        counts,
        sources.parameters.concentration,
        sources.parameters.decay,
        base_share,
        scores,
    )
    unigram = sources.unigram().astype(scores.dtype)
    scores += base_share.astype(scores.dtype)[:, None] * unigram


def trail_of(words: np.ndarray, lengths: np.ndarray, sources: Sources) -> Trail:
    """The trails of whole documents, words (T, L) int64 of `lengths` (L,)."""
    trail = empty_trail(*words.T.shape)
    trail.words[:] = words.T
    last = np.full(len(sources.word_count), -1, np.int64)
    fill_trail(trail, lengths, sources.parameters.decay, last)
    return trail


def empty_trail(n_lanes: int, n_tokens: int) -> Trail:
    """Trails of no words yet, with room for `n_tokens` each."""
    shape = (n_lanes, n_tokens)
    return Trail(
        words=np.zeros(shape, np.int64),
        previous=np.zeros(shape, np.int32),
        seen=np.zeros(shape, np.int32),
        pairs=np.zeros(shape, np.int32),
        weight=np.zeros(shape),
        mass=np.zeros(shape),
        same_pair=np.zeros(shape, np.int32),
        token_left=np.zeros(shape, np.int32),
        word_left=np.zeros(shape, np.int32),
        pair_left=np.zeros(shape, np.int32),
        follower_left=np.zeros(shape, np.int32),
    )
