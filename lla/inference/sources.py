"""Sources beside the topics: where an item comes from when no interest explains it.

A source is a distribution over items that follows from the words before (`lla.samplers.sources`
has the formulas).

    next        what follows the last item in all documents
    own_next    the same in the user's own history; what that does not know, `next` adds
    recent      the user's own items, weights halving every h events

There are two forms (`SEMConfig.source_form`). Under a *gate* two softmaxes read the state: θ_t over
K topics, and π_t over where the item comes from, the topics (0) or source j (j + 1).

    c_t ~ π_t                                  where the item comes from
    c_t = 0:      z_t ~ θ_t, then w_t ~ p(w | z_t)
    c_t = j + 1:  w_t ~ p_j(w | w_<t), then z_t ~ θ_tk p(w_t | k) / Σ_l θ_tl p(w_t | l)

So an item that habit repeats has a topic, too: the one that it would have had without the habit.
The LSTM of topic LLA reads both, z_t and c_t. Given w_t and the past, they are independent,

    p(w_t | past) = π_0 Σ_k θ_k p(w_t | k) + Σ_j π_{j+1} p_j(w_t),

and z_t has the conditional of the model without sources. The M-step fits θ to the topics of all
tokens and π to c; a shared φ counts the tokens with c = 0, those that topics produced. The urns of
the personal emission hold all tokens, which is more than the likelihood asks for: they tell what a
user likes within a topic, wherever the item came from.

In the other form, *topic*, z_t has K + S values, of which the last S are the sources: one softmax
chooses among them, the LSTM reads that a source spoke, and tokens of a source have no topic.

In both, `SourceEmission` holds p(w_t | k) and p_j(w_t) side by side, and the LSTM learns when a
person follows habit and when an interest. How concentrations and the half-life are learned is
`lla.inference.source_fit`.
"""

import math
from dataclasses import dataclass, field, fields

import numpy as np
import torch
from torch import Tensor

from lla.common.arrays import check_range
from lla.common.errors import InputError
from lla.common.summary import Summarized
from lla.corpus import Corpus
from lla.inference.batch import columns, sort_by_length
from lla.inference.emission import (
    FIRST_CAPACITY,
    Emission,
    Lanes,
    PersonalEmission,
    SharedEmission,
    inverse_cdf,
    mean_theta,
)
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

SOURCES = ("next", "own_next", "recent")  # in the order of the kernels' columns
SMOOTHING = 1.0  # a of the unigram, as in the count baselines


@dataclass(frozen=True)
class SourceParameters:
    """What is learned of the sources.

    Attributes
    ----------
    next, own_next, recent : c of each, in events: after c of them, counts weigh as much as the base
    half_life : h, in events
    """

    next: float = 10.0
    own_next: float = 1.0
    recent: float = 1.0
    half_life: float = 10.0

    def __post_init__(self) -> None:
        for one in fields(self):
            value = getattr(self, one.name)
            if not 0 < value < math.inf:
                raise InputError(
                    f"sources: {one.name} is {value}; give the numbers above 0 that were learned"
                )

    @property
    def concentration(self) -> np.ndarray:
        """c of every source, (N_SOURCES,)."""
        return np.array([self.next, self.own_next, self.recent])

    @property
    def decay(self) -> float:
        """The factor by which one more event shrinks a weight: 2^{-1/h}."""
        return float(2.0 ** (-1.0 / self.half_life))

    def array(self) -> np.ndarray:
        """All of it, (4,) float64, as it is saved."""
        return np.array([self.next, self.own_next, self.recent, self.half_life])


@dataclass(frozen=True, repr=False)
class Sources(Summarized):
    """The sources of a model: counts over all documents, and what is learned of them.

    Attributes
    ----------
    names : of the S sources, in the order of their values of z
    first, follower, count : (V + 1,) int64, (pairs,) int32 twice: n_vw in sparse rows; of no pair
        where no source needs them
    word_count : (V,) int64 n_w
    parameters : concentrations and half-life
    """

    names: tuple[str, ...]
    first: np.ndarray
    follower: np.ndarray
    count: np.ndarray
    word_count: np.ndarray
    parameters: SourceParameters = SourceParameters()

    def __post_init__(self) -> None:
        """Check what the kernels index: they check no bounds."""
        first, n_words, n_pairs = self.first, len(self.word_count), len(self.follower)
        arrays = (first, self.follower, self.count, self.word_count)
        whole = all(array.ndim == 1 and array.dtype.kind in "iu" for array in arrays)
        rows = len(first) == n_words + 1 and first[0] == 0 and first[-1] == n_pairs
        if not whole or not rows or (first[1:] < first[:-1]).any() or len(self.count) != n_pairs:
            raise InputError(
                f"sources: {len(first)} rows of {n_pairs} pairs and {n_words} words do not fit; "
                "give the counts of one corpus"
            )
        if (bad := check_range(self.follower, n_words)) is not None:
            raise InputError(f"sources: id {bad} follows, but V is {n_words}; give known words")

    @classmethod
    def from_corpus(cls, corpus: Corpus, names: tuple[str, ...]) -> "Sources":
        """Count the words and the pairs of neighbours of all documents; no pair crosses two."""
        words, n_words = corpus.words.astype(np.int64), corpus.n_words
        word_count = np.bincount(words, minlength=n_words).astype(np.int64)
        inside = np.ones(max(len(words) - 1, 0), bool)
        starts = corpus.offsets[1:-1]
        inside[starts[(starts > 0) & (starts < len(words))] - 1] = False
        if not {"next", "own_next"} & {*names}:
            inside[:] = False
        pair, count = np.unique(
            words[:-1][inside] * n_words + words[1:][inside], return_counts=True
        )
        before, after = np.divmod(pair, n_words)
        first = np.searchsorted(before, np.arange(n_words + 1)).astype(np.int64)
        return cls(names, first, after.astype(np.int32), count.astype(np.int32), word_count)

    def replace(self, parameters: SourceParameters) -> "Sources":
        """The same counts under other parameters."""
        return Sources(
            self.names, self.first, self.follower, self.count, self.word_count, parameters
        )

    @property
    def kinds(self) -> np.ndarray:
        """Column of each source in the kernels' tables, (S,) int64."""
        return np.array([SOURCES.index(name) for name in self.names], np.int64)

    def counts(self) -> Counts:
        """What the kernels read."""
        running = np.append(0, np.cumsum(self.count, dtype=np.int64))
        return Counts(
            first=self.first,
            follower=self.follower,
            pair_count=self.count,
            pair_total=running[self.first[1:]] - running[self.first[:-1]],
            word_count=self.word_count,
            n_tokens=int(self.word_count.sum()),
            smoothing=SMOOTHING,
        )

    def unigram(self) -> np.ndarray:
        """p(w) = (n_w + a)/(N + V a), (V,) float64."""
        total = self.word_count.sum() + SMOOTHING * len(self.word_count)
        return (self.word_count + SMOOTHING) / total

    def tensors(self) -> dict[str, Tensor]:
        """All that predicts, by name."""
        arrays = {
            "source_first": self.first,
            "source_follower": self.follower,
            "source_count": self.count,
            "source_word_count": self.word_count,
            "source_parameters": self.parameters.array(),
        }
        return {name: torch.from_numpy(value) for name, value in arrays.items()}

    @classmethod
    def from_tensors(cls, names: tuple[str, ...], tensors: dict[str, Tensor]) -> "Sources":
        """From what `tensors` gave."""
        if not names or not {*names} <= {*SOURCES}:
            raise ValueError(f"sources {names}: choose among {', '.join(SOURCES)}")

        def whole(name: str, dtype: type) -> np.ndarray:
            array = tensors[name].numpy()
            if array.dtype.kind not in "iu":
                raise ValueError(f"{name} is of {array.dtype}: whole numbers are needed")
            return array.astype(dtype, copy=False)  # kernels are compiled for these types alone

        return cls(
            names,
            whole("source_first", np.int64),
            whole("source_follower", np.int32),
            whole("source_count", np.int32),
            whole("source_word_count", np.int64),
            SourceParameters(*tensors["source_parameters"].tolist()),
        )

    def summary(self) -> dict[str, float]:
        """Their columns of a fit's history."""
        found = {f"concentration_{name}": getattr(self.parameters, name) for name in self.names}
        return found | ({"half_life": self.parameters.half_life} if "recent" in self.names else {})

    @property
    def n_parameters(self) -> int:
        """Pairs that occur, words, and what is learned."""
        return len(self.count) + len(self.word_count) + len(self.summary())

    @property
    def n_bytes(self) -> int:
        """As it is saved, in four bytes per number: a pair is a word and a count."""
        n_rows = len(self.first) if len(self.count) else 0
        return 4 * (2 * len(self.count) + n_rows + len(self.word_count) + len(self.summary()))


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
        trail = _trail_of(words, lengths, self.sources)
        if counted is not None:
            count_left(trail, lengths, np.ascontiguousarray(counted.T))
        topics = self.topics.lanes(words, lengths, n_particles)
        lanes = SourceLanes(self, topics, trail, n_particles)
        lanes.tabulate(lengths)
        return lanes

    def growing_lanes(self, n_particles: int, n_lanes: int = 1) -> "SourceLanes":
        """Documents whose words come one by one (`append`)."""
        topics = self.topics.growing_lanes(n_particles, n_lanes)
        return SourceLanes(self, topics, _empty_trail(n_lanes, FIRST_CAPACITY), n_particles)


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
            more = _empty_trail(*self.trail.words.shape)
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
    trail = _trail_of(words, corpus.lengths[chosen], sources)
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


def _trail_of(words: np.ndarray, lengths: np.ndarray, sources: Sources) -> Trail:
    """The trails of whole documents, words (T, L) int64 of `lengths` (L,)."""
    trail = _empty_trail(*words.T.shape)
    trail.words[:] = words.T
    last = np.full(len(sources.word_count), -1, np.int64)
    fill_trail(trail, lengths, sources.parameters.decay, last)
    return trail


def _empty_trail(n_lanes: int, n_tokens: int) -> Trail:
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
