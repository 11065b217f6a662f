"""Simulated users with recurrent dynamics of their own: the world of a collaborative RNN.

The generator of the code of Ko, Maystre and Grossglauser (2016), in form: items' input and output
weights are shared, the recurrent matrix is the user's own, and all of them are normal draws:

    h_0 = 0,   h_t = tanh(W_in[x_t] + W^(u) h_{t-1}),   p(x_{t+1} | x_<=t, u) = softmax(W_out h_t)

The oracle knows all matrices, and a state is a function of the events before: its probabilities are
exact. Draws go through exponentials, so another machine may draw other histories from some event
on; the oracle's probabilities of a given history do not depend on that beyond rounding.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from data_prep.io.output import check_output
from lla.common.arrays import as_readonly, id_dtype
from lla.common.display import Configuration
from lla.common.errors import (
    InputError,
    check_instance,
    check_integer,
    check_not_negative,
    check_seed,
)
from lla.common.files import folder_to_write
from lla.common.random import family_stream, stream
from lla.corpus import Corpus, Split, load_corpus, save_corpus
from lla.corpus.folder import offsets_of

NAME = "personal_dynamics"
SOURCE = "simulated personal dynamics"
STREAM = family_stream(NAME)
OF_ITEMS, OF_USER, OF_HISTORY = 0, 1, 2  # what a stream's draws are


@dataclass(frozen=True, repr=False)
class PersonalDynamicsConfig(Configuration):
    """Options of the simulation.

    Attributes
    ----------
    n_users, min_events, max_events : U, and the range that the length of a history is drawn from
    n_items : I
    state_size : D
    scale : s, standard deviation of every weight; 0 makes all events uniform
    seed : of the weights and of all histories
    """

    n_users: int = 60
    min_events: int = 250
    max_events: int = 350
    n_items: int = 40
    state_size: int = 8
    scale: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("n_users", "min_events", "max_events", "n_items", "state_size"):
            check_integer(name, getattr(self, name))
        check_not_negative("scale", self.scale)
        check_seed(self.seed)
        if self.min_events > self.max_events:
            raise InputError(f"min_events is {self.min_events}: give {self.max_events} or less")


class Weights(NamedTuple):
    """The true parameters, float64.

    Attributes
    ----------
    w_in, w_out : (I, D), items in the order of the corpus
    recurrent : (U, D, D)
    """

    w_in: np.ndarray
    w_out: np.ndarray
    recurrent: np.ndarray

    def next_states(self, states: np.ndarray, items: np.ndarray, users: np.ndarray) -> np.ndarray:
        """h_t of users (B,) who were in `states` (B, D) and read `items` (B,)."""
        moved = np.einsum("bij,bj->bi", self.recurrent[users], states)
        return np.tanh(self.w_in[items] + moved)

    def log_p(self, states: np.ndarray) -> np.ndarray:
        """log p of the next item, (B, I), in `states` (B, D)."""
        logits = np.einsum("bd,id->bi", states, self.w_out)
        logits -= logits.max(axis=1, keepdims=True)
        return logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))


def prepare_personal_dynamics(
    output: str | Path, config: PersonalDynamicsConfig | None = None, overwrite: bool = False
) -> Corpus:
    """Write the corpus folder `output`; the manifest has all options.

    Parameters
    ----------
    overwrite : bool
        Whether a corpus that `output` holds, made from other sources or with other options, is
        replaced.

    Raises
    ------
    InputError
        When `output` holds something that is no corpus, or cannot be written.
    """
    output = folder_to_write(output, "--output")
    config = PersonalDynamicsConfig() if config is None else config
    check_instance("config", config, PersonalDynamicsConfig)
    corpus = simulate_personal_dynamics(config)
    check_output(output, corpus.manifest, overwrite)
    save_corpus(corpus, output)
    return load_corpus(output, verify=False)


def simulate_personal_dynamics(config: PersonalDynamicsConfig) -> Corpus:
    """Draw a corpus: users ``user 1`` to ``user U``, items ``item 1`` to ``item I``.

    Every user's weights and draws have streams of their own: they do not depend on other users.
    """
    weights = draw_weights(config)
    lengths = np.empty(config.n_users, np.int64)
    uniforms = np.empty((config.n_users, config.max_events))
    for u in range(config.n_users):
        draw = stream(config.seed, STREAM, OF_HISTORY, u)
        lengths[u] = draw.integers(config.min_events, config.max_events + 1)
        uniforms[u] = draw.random(config.max_events)
    items = np.empty((config.n_users, config.max_events), np.int64)
    states, users = np.zeros((config.n_users, config.state_size)), np.arange(config.n_users)
    for t in range(config.max_events):
        cumulative = np.cumsum(np.exp(weights.log_p(states)), axis=1)  # (U, I)
        items[:, t] = (uniforms[:, t, None] * cumulative[:, -1:] >= cumulative).sum(axis=1)
        states = weights.next_states(states, items[:, t], users)
    kept = np.arange(config.max_events) < lengths[:, None]
    return Corpus(
        words=as_readonly(items[kept].astype(id_dtype(config.n_items))),
        offsets=offsets_of(lengths),
        vocabulary=tuple(f"item {i}" for i in range(1, config.n_items + 1)),
        manifest={
            "kind": "events",
            "source": SOURCE,
            "licence": "none needed: drawn from a seed",
            NAME: asdict(config),
        },
        names=tuple(f"user {u}" for u in range(1, config.n_users + 1)),
    )


def draw_weights(config: PersonalDynamicsConfig) -> Weights:
    """The true parameters: independent normal draws of standard deviation `scale`."""
    size, shape = config.state_size, (2, config.n_items, config.state_size)
    w_in, w_out = stream(config.seed, STREAM, OF_ITEMS).standard_normal(shape)
    recurrent = [
        stream(config.seed, STREAM, OF_USER, u).standard_normal((size, size))
        for u in range(config.n_users)
    ]
    return Weights(*(config.scale * w for w in (w_in, w_out, np.array(recurrent))))


def weights_of(corpus: Corpus) -> Weights:
    """The parameters that a simulated corpus was drawn from.

    Raises
    ------
    InputError
        When the manifest has no configuration, or one of another version.
    """
    values = corpus.manifest.get(NAME)
    if not isinstance(values, dict):
        raise InputError(
            "this corpus was not simulated, so its distribution is not known; make one with "
            f"python -m data_prep {NAME}"
        )
    try:
        return draw_weights(PersonalDynamicsConfig(**values))
    except TypeError as error:
        raise InputError(
            f"corpus: simulated by another version ({error}); make it again with "
            f"python -m data_prep {NAME} --overwrite"
        ) from None


def score_oracle(weights: Weights, split: Split) -> np.ndarray:
    """log p(held-out items | observed items) of every user under the truth, (D,) nats."""
    corpus = split.corpus
    log_p = np.empty(corpus.n_tokens)

    def on_step(positions: np.ndarray, rows: np.ndarray) -> None:
        log_p[positions] = rows[np.arange(len(positions)), corpus.words[positions]]

    _run(weights, corpus, on_step)
    return split.sum_held_out(log_p)


def next_items(
    weights: Weights, split: Split, on_scores: Callable[[np.ndarray, np.ndarray], None]
) -> None:
    """Hand `on_scores` the exact p(x_t | x_<t) of all held-out events, step by step.

    Parameters
    ----------
    on_scores : called with positions (B,) in ``split.corpus.words`` and scores (B, V) float32
    """
    held_out = split.held_out

    def on_step(positions: np.ndarray, rows: np.ndarray) -> None:
        wanted = held_out[positions]
        if wanted.any():
            on_scores(positions[wanted], np.exp(rows[wanted]).astype(np.float32))

    _run(weights, split.corpus, on_step)


def _run(
    weights: Weights, corpus: Corpus, on_step: Callable[[np.ndarray, np.ndarray], None]
) -> None:
    """Read all histories side by side; `on_step` gets positions (B,) and log p of items (B, I)."""
    sizes, expected = (
        (corpus.n_documents, corpus.n_words),
        (len(weights.recurrent), len(weights.w_in)),
    )
    if sizes != expected:
        raise InputError(
            f"corpus: {sizes[0]} users and {sizes[1]} items, the simulation has {expected[0]} and "
            f"{expected[1]}; give the whole corpus"
        )
    states = np.zeros((corpus.n_documents, weights.w_in.shape[1]))
    for t in range(int(corpus.lengths.max())):
        users = np.flatnonzero(corpus.lengths > t)
        positions = corpus.offsets[users] + t
        on_step(positions, weights.log_p(states[users]))
        states[users] = weights.next_states(states[users], corpus.words[positions], users)
