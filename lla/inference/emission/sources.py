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
`lla.inference.emission.source_fit`.
"""

import math
from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor

from lla.common.arrays import check_range
from lla.common.display import Summarized
from lla.common.errors import InputError
from lla.corpus import Corpus
from lla.inference.config import SOURCES
from lla.samplers.sources import Counts

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
