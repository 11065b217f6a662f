"""A fitted C-RNN: which user a document is of, how it is trained, and what it predicts."""

from collections.abc import Callable, Hashable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from lla.common.errors import InputError
from lla.common.parallel import thread_pool
from lla.common.random import family_stream, torch_stream
from lla.corpus import Split, split_last
from lla.inference.objectives import softmax_of
from lla.inference.users import RowOptimizer
from lla.peers.crnn.network import CRNN, CRNNConfig, Reader
from lla.peers.crnn.training import train_epoch
from lla.peers.iterations import check_arguments
from lla.peers.sequence import FittedSequence, ReaderOf, score_held_out
from lla.peers.training import WEIGHTS, TrainingState, fit_epochs, popularity


class FittedCRNN(FittedSequence):
    """A trained network of users.

    Attributes
    ----------
    users : row of every user's own numbers, by what `user_keys` gives
    """

    network: CRNN

    def __init__(
        self,
        network: CRNN,
        history: list[dict[str, float]],
        vocabulary: tuple[str, ...],
        users: Mapping[Hashable, int],
    ) -> None:
        super().__init__(network, history, vocabulary)
        self.users = users

    def rows_of(self, split: Split) -> np.ndarray:
        """The row of every document's user, (D,) int64; -1 for one who is not known."""
        return np.array([self.users.get(key, -1) for key in user_keys(split)], np.int64)

    def reader_of(self, split: Split) -> ReaderOf:
        """The network with the matrices of the documents' users."""
        return _reader_of(self.network, self.rows_of(split))


def _reader_of(network: CRNN, rows: np.ndarray) -> ReaderOf:
    def reader(documents: np.ndarray) -> Reader:
        return network.of_users(rows[documents])

    return reader


def user_keys(split: Split) -> list[Hashable]:
    """What tells each document's user: its name or, without names, its observed events."""
    if split.corpus.names:
        return list(split.corpus.names)
    observed = split.observed
    words = np.ascontiguousarray(observed.words, np.int32)
    spans = zip(observed.offsets[:-1], observed.offsets[1:], strict=True)
    return [words[first:end].tobytes() for first, end in spans]


def fit_crnn(
    split: Split,
    config: CRNNConfig,
    seed: int,
    *,
    start: None = None,
    checkpoint: str | Path | None = None,
    on_iteration: Callable[[TrainingState], None] | None = None,
    n_threads: int | None = None,
) -> FittedCRNN:
    """Train on the observed part of every user's events, development users' too.

    `lla.peers` has the arguments that are not here.

    Parameters
    ----------
    config : its class says which of the four models
    split : the development users' held-out events decide when to stop, unless `config.tail` cuts
        them from the observed part
    """
    fit = check_arguments(
        split,
        config,
        CRNNConfig,
        seed,
        checkpoint=checkpoint,
        on_iteration=on_iteration,
        needs_development=not getattr(config, "tail", 0.0),
    )
    users: dict[Hashable, int] = {}
    rows = np.array([users.setdefault(key, len(users)) for key in user_keys(split)])
    if config.tail:
        part = _cut_tail(split, config.tail)
        part_rows, trained = rows, part
    else:
        part = fit.part
        part_rows, trained = rows[split.development], split
    # One for all four: with the same seed they start alike and see the users in the same order.
    stream_id = family_stream("crnn")
    generator = torch_stream(fit.seed, stream_id, WEIGHTS)
    network = CRNN(config, len(users), popularity(trained), generator)
    optimizer = RowOptimizer(
        list(network.parameters()),
        config.optimizer,
        config.learning_rate,
        config.decay,
        own=network.own,
    )
    state = TrainingState(network, optimizer)
    objective = softmax_of(trained.observed.words, split.corpus.n_words, config.n_samples)
    with thread_pool(n_threads) as pool:

        def train(epoch: int) -> float:
            return train_epoch(
                network,
                optimizer,
                trained.observed,
                rows,
                fit.seed,
                (stream_id, epoch),
                pool,
                objective=objective,
                description=f"{config.key}, epoch {epoch}",
            )

        fit_epochs(
            state,
            fit,
            identity=fit.identity(config.key),
            name=config.key,
            train=train,
            score=lambda: score_held_out(_reader_of(network, part_rows), part, pool),
            part=part,
        )
    return FittedCRNN(network, state.history, split.corpus.vocabulary, users)


def _cut_tail(split: Split, tail: float) -> Split:
    """The observed events, the last of each history for development; all documents take part."""
    part = split_last(split.observed, held_out=tail, development=0.0)
    if not part.n_held_out.any():
        raise InputError(
            "tail: no history has two observed events, one to train on and one to decide when to "
            "stop; give longer histories, or tail=0"
        )
    return replace(part, development=np.ones(split.corpus.n_documents, bool))
