"""Any model with the user's own counts mixed in: a Dirichlet cache with recency.

    p(w_t = v | w_<t) = (m_v + c p_model(v | w_<t)) / (m + c)
    m_v = Σ_{s<t} 2^{-(t-1-s)/h} [w_s = v],   m = Σ_v m_v

c is a concentration and h a half-life, both in events; the cache unigram and the personalised most
popular items are the same with the unigram in the model's place. People return to their own items,
and a cache is a cheap way to say so (Kuhn & De Mori, 1990), so a model that claims to know habits
must be compared with peers that have one. This one weighs events by their age alone; the cache of
Grave et al. (2017), which compares a network's states, is `lla.peers.neural_cache`.

c and h are chosen on the development users: every half-life of `HALF_LIVES` with the c of lowest
perplexity. That takes the model's probabilities of the items that came, one number per event, from
a single pass of its `next_items`; (N, V) is never held.
"""

import hashlib
import json
import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any, Literal, NamedTuple

import numpy as np

from lla.common.checkpoint import check_checkpoint, only_fit, resume_fit, save_fit
from lla.common.compile import njit
from lla.common.display import Summarized
from lla.common.errors import (
    InputError,
    NumericalError,
    check_development,
    check_each,
    check_function,
    check_instance,
    check_positive,
    check_prior,
    check_seed,
    optional,
)
from lla.corpus import Split
from lla.evaluate import Fitted, ScoreCallback, Size
from lla.evaluate.probabilities import check_fitted, next_probabilities, realised_probabilities

HALF_LIVES = (None, 512.0, 256.0, 128.0, 64.0, 32.0, 16.0, 8.0, 4.0, 2.0, 1.0, 0.5)
LOG_CONCENTRATIONS = (-9.0, 16.0)  # from next to nothing but the counts to the model alone
NEGLIGIBLE = 1e-100  # weight of an event, beside 1 of the last


@dataclass(frozen=True)
class OwnCountsConfig:
    """What is fixed in advance; the rest is chosen on the development users.

    Attributes
    ----------
    half_life : h, in events; None is no decay; "tuned" chooses among `HALF_LIVES`
    concentration : c, in events; None chooses it
    """

    half_life: float | Literal["tuned"] | None = "tuned"
    concentration: float | None = None

    def __post_init__(self) -> None:
        if isinstance(self.half_life, str):
            if self.half_life != "tuned":
                raise InputError(f"half_life is {self.half_life!r}: give a number, 'tuned' or None")
        else:
            check_each(self, optional(check_positive), "half_life")
        check_each(self, optional(check_prior), "concentration")


@dataclass(frozen=True, repr=False)
class OwnCounts(Summarized):
    """A fitted model with the user's own counts mixed into its probabilities.

    Attributes
    ----------
    model : the fitted model
    concentration : c, in events
    half_life : h, in events; None for no decay
    seconds : of the model's training and of this search
    history : empty; the model's own is at ``model.history``
    """

    model: Fitted
    concentration: float
    half_life: float | None = None
    seconds: float = 0.0
    history: list[dict[str, float]] = field(default_factory=list)
    # The last probabilities of the items that came, (N,), by what they depend on.
    _realised: dict[str, np.ndarray] = field(default_factory=dict, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_fitted("model", self.model)
        check_each(self, check_prior, "concentration")
        check_each(self, optional(check_positive), "half_life")

    def summary_facts(self) -> dict[str, Any]:
        """The model's class, and both numbers."""
        return {
            "model": type(self.model).__name__,
            "concentration": self.concentration,
            "half_life": self.half_life,
        }

    def score(
        self,
        split: Split,
        *,
        seed: int = 0,
        checkpoint: str | Path | None = None,
        **options: Any,
    ) -> np.ndarray:
        """log p(held-out events) of every user, each event given all before it, (D,) nats.

        Parameters
        ----------
        checkpoint : file the scores are kept in, and read from when it is there
        options : of the model's `next_items`, such as ``n_particles=64``

        Raises
        ------
        InputError
            When the checkpoint cannot be written, holds other scores, or the model has no
            fingerprint to tell it from others.
        NumericalError
            When the model gives an item that came probability 0, and the user never had it.
        """
        check_instance("split", split, Split)
        seed = check_seed(seed)
        checkpoint = check_checkpoint(checkpoint)
        identity: dict[str, Any] = {}
        if checkpoint:
            identity = {"kind": "scores", "model": self.fingerprint()}
            identity["probabilities"] = _key(split, seed, options)
            if found := resume_fit(checkpoint, identity):
                return found[0]["log_likelihood"]
        events = Events.of(split, self.half_life, self._probabilities(split, seed, options))
        log_p = np.zeros(split.corpus.n_tokens)
        log_p[split.held_out] = log_mixture(events, self.concentration)
        if not np.isfinite(log_p).all():
            position = int(np.flatnonzero(~np.isfinite(log_p))[0])
            raise NumericalError(
                f"model: it gives event {position} probability 0; give one that rules out no item"
            )
        scores = split.sum_held_out(log_p)
        if checkpoint:
            save_fit(checkpoint, identity, {"log_likelihood": scores})
        return scores

    def next_items(
        self, split: Split, on_scores: ScoreCallback, *, seed: int = 0, **options: Any
    ) -> None:
        """Hand `on_scores` the mixed probabilities, float64, of all held-out events.

        Parameters
        ----------
        seed, options : of the model's `next_items`, whose batches these are
        """
        check_instance("split", split, Split)
        check_function("on_scores", on_scores)
        words, offsets = split.corpus.words, split.corpus.offsets
        decay = decay_of(self.half_life)

        def mix(positions: np.ndarray, rows: np.ndarray) -> None:
            document = np.searchsorted(offsets, positions, side="right") - 1
            mix_own_counts(
                rows=rows,
                positions=np.asarray(positions, np.int64),
                first=offsets[document],
                words=words,
                decay=decay,
                concentration=float(self.concentration),
            )
            on_scores(positions, rows)

        next_probabilities(self.model, split, mix, seed=seed, **options)

    def size(self) -> Size:
        """The model's, and two numbers."""
        size = self.model.size()
        return Size(size.network, size.phi + 2, size.n_bytes + 8)

    def fingerprint(self) -> str:
        """SHA-256 of all that predicts.

        Raises
        ------
        InputError
            When the model has no fingerprint itself.
        """
        of_model = _fingerprint(self.model)
        if of_model is None:
            raise InputError(
                f"model is {type(self.model).__name__}, which has no fingerprint: leave checkpoint "
                "out"
            )
        text = json.dumps([of_model, self.concentration, self.half_life])
        return hashlib.sha256(text.encode()).hexdigest()

    def _probabilities(self, split: Split, seed: int, options: dict[str, Any]) -> np.ndarray:
        """p_model of the items that came, (N,): computed once for the same split and options."""
        key = _key(split, seed, options)
        if key not in self._realised:
            found = realised_probabilities(self.model, split, seed=seed, **options)
            self._realised.clear()
            self._realised[key] = found
        return self._realised[key]


def fit_own_counts(
    split: Split,
    config: OwnCountsConfig | None = None,
    seed: int = 0,
    *,
    start: Fitted,
    checkpoint: str | Path | None = None,
    on_iteration: None = None,
    n_threads: int | None = None,
) -> OwnCounts:
    """Choose what `config` leaves open on the development users' held-out events.

    Parameters
    ----------
    split : the one that the model was fitted to
    seed : of the model's `next_items`
    start : the fitted model
    checkpoint : file that keeps the choice and the model's probabilities of the items that came,
        and that is read when it is there; left alone for a model without a fingerprint, which
        nothing tells from others
    on_iteration : unused, as is `n_threads`: the model's `next_items` runs on its default

    Raises
    ------
    InputError
        When an argument is not what it should be, no development user has a held-out event, or the
        checkpoint cannot be written, is broken, or is of another fit.
    """
    check_instance("split", split, Split)
    config = OwnCountsConfig() if config is None else config
    check_instance("config", config, OwnCountsConfig)
    check_fitted("start", start)
    seed = check_seed(seed)
    path = check_checkpoint(checkpoint)
    if config.half_life == "tuned" or config.concentration is None:
        check_development(split)
    identity = {
        "kind": "own_counts",
        "base": _fingerprint(start),
        **split.identity(),
        "config": asdict(config),
        "seed": seed,
    }
    path = path if identity["base"] else None
    key = _key(split, seed, {})
    if saved := resume_fit(path, identity):
        arrays, meta = saved
        realised = np.full(split.corpus.n_tokens, np.nan)
        realised[split.held_out] = arrays["probability"]
        choice = Choice(meta["concentration"], meta["half_life"], meta["loss"])
        return OwnCounts(
            start, choice.concentration, choice.half_life, meta["seconds"], [], {key: realised}
        )
    begin = perf_counter()
    with only_fit(path):
        realised = realised_probabilities(start, split, seed=seed)
        choice = choose(split, config, realised)
        seconds = start.seconds + perf_counter() - begin
        if path:
            meta = {**choice._asdict(), "seconds": seconds}
            save_fit(path, identity, {"probability": realised[split.held_out]}, meta)
    return OwnCounts(start, choice.concentration, choice.half_life, seconds, [], {key: realised})


class Choice(NamedTuple):
    """c and h, and the mean of -log p over the development events with them, nats per event."""

    concentration: float
    half_life: float | None
    loss: float


def choose(split: Split, config: OwnCountsConfig, realised: np.ndarray) -> Choice:
    """The concentration and half-life of lowest perplexity on the development users.

    Parameters
    ----------
    config : what is fixed
    realised : (N,) p_model of the items that came, at every held-out event
    """
    if config.half_life != "tuned" and config.concentration is not None:
        return Choice(config.concentration, config.half_life, math.nan)
    part = split.restrict(split.development)
    development = realised[np.repeat(split.development, split.corpus.lengths)]
    half_lives = HALF_LIVES if config.half_life == "tuned" else (config.half_life,)
    choices = []
    for half_life in half_lives:
        events = Events.of(part, half_life, development)
        if config.concentration is not None:
            c = config.concentration
        else:
            c = _best_concentration(events)
        choices.append(Choice(c, half_life, _loss(events, c)))
    return min(choices, key=lambda choice: choice.loss)


def _best_concentration(events: "Events") -> float:
    from scipy.optimize import minimize_scalar  # takes a quarter of a second to import

    best = minimize_scalar(
        lambda log_c: _loss(events, math.exp(log_c)),
        bounds=LOG_CONCENTRATIONS,
        method="bounded",
        options={"xatol": 0.01},
    )
    return math.exp(best.x)


def _loss(events: "Events", concentration: float) -> float:
    return -float(log_mixture(events, concentration).mean())


class Events(NamedTuple):
    """What the probability of each of n held-out events needs.

    Attributes
    ----------
    own, total : (n,) m_v of the item that came, and m
    model : (n,) p_model of it
    """

    own: np.ndarray
    total: np.ndarray
    model: np.ndarray

    @classmethod
    def of(cls, split: Split, half_life: float | None, realised: np.ndarray) -> "Events":
        """Those of the held-out events of `split`; `realised` is (N,)."""
        corpus = split.corpus
        own, total = np.empty(corpus.n_tokens), np.empty(corpus.n_tokens)
        own_weights(
            words=corpus.words,
            offsets=corpus.offsets,
            n_words=corpus.n_words,
            decay=decay_of(half_life),
            own=own,
            total=total,
        )
        held_out = split.held_out
        return cls(own[held_out], total[held_out], realised[held_out])


def log_mixture(events: Events, concentration: float) -> np.ndarray:
    """log((m_v + c p) / (m + c)) of each event, (n,) nats; -inf where neither knows the item."""
    with np.errstate(divide="ignore"):
        return np.log((events.own + concentration * events.model) / (events.total + concentration))


def decay_of(half_life: float | None) -> float:
    """The factor by which one more event shrinks a weight: 2^{-1/h}."""
    return 1.0 if half_life is None else 2.0 ** (-1.0 / half_life)


def _fingerprint(model: Any) -> str | None:
    """That of the model, where it has one."""
    fingerprint = getattr(model, "fingerprint", None)
    return fingerprint() if callable(fingerprint) else None


def _key(split: Split, seed: int, options: dict[str, Any]) -> str:
    """What probabilities depend on, as text."""
    return json.dumps([split.identity(), seed, {k: repr(v) for k, v in options.items()}])


@njit(nogil=True)
def own_weights(words, offsets, n_words, decay, own, total):
    """Fill own (N,) with m_v of each token's own item before it, and total (N,) with m.

    An item's weight is stored as of its last event, and decays when it is next read.
    """
    weight = np.zeros(n_words)
    last = np.zeros(n_words, np.int64)
    for d in range(offsets.shape[0] - 1):
        m = 0.0
        for i in range(offsets[d], offsets[d + 1]):
            w = words[i]
            own[i] = weight[w] * decay ** (i - 1 - last[w]) if weight[w] > 0.0 else 0.0
            total[i] = m
            weight[w] = own[i] * decay + 1.0
            last[w] = i
            m = m * decay + 1.0
        for i in range(offsets[d], offsets[d + 1]):
            weight[words[i]] = 0.0


@njit(nogil=True)
def mix_own_counts(rows, positions, first, words, decay, concentration):
    """Change rows (B, V) from p to (m_v + c p_v)/(m + c) in place.

    Parameters
    ----------
    positions, first : (B,) each row's event, and the first of its user
    words : (N,) items of all users
    """
    for b in range(rows.shape[0]):
        for v in range(rows.shape[1]):
            rows[b, v] *= concentration
        weight, total = 1.0, 0.0
        for j in range(positions[b] - 1, first[b] - 1, -1):
            if weight < NEGLIGIBLE:
                break
            rows[b, words[j]] += weight
            total += weight
            weight *= decay
        scale = 1.0 / (total + concentration)
        for v in range(rows.shape[1]):
            rows[b, v] *= scale
