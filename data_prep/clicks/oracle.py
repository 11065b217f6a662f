"""The oracle: exact predictions under the distribution that clicks were simulated from.

It knows the world but no user: types, leaves and stays are hidden, and are filtered out of the
clicks exactly (hidden semi-Markov model, forward pass). On average no model that sees the same
events predicts better.
"""

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from data_prep.clicks.kernels import forward_history, item_probabilities
from data_prep.clicks.world import World
from lla.common.errors import InputError, check_integer
from lla.common.parallel import thread_pool
from lla.common.progress import progress
from lla.corpus import Corpus, Split

USERS = 32  # per task


def score_oracle(world: World, split: Split, n_threads: int | None = None) -> np.ndarray:
    """log p(held-out items | observed items) of every user, (D,) nats."""
    log_evidence, _ = forward_pass(world, split.corpus, n_threads)
    return split.sum_held_out(log_evidence)


def forward_pass(
    world: World, corpus: Corpus, n_threads: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """The forward pass over every history.

    Parameters
    ----------
    world : with its items in the order of the corpus (`simulate.world_of`)

    Returns
    -------
    log_evidence, leaf : log p(w_t | w_<t), (N,) nats; and p(leaf_t | w_<t), (N, L)

    Raises
    ------
    InputError
        When the vocabularies differ, or an event is impossible in this world.
    """
    log_evidence, leaf, _ = _forward(world, corpus, 0, n_threads)
    return log_evidence, leaf


def leaves_ahead(
    world: World, corpus: Corpus, steps: int, n_threads: int | None = None
) -> np.ndarray:
    """p(leaf_t+h | w_<=t) for h = 1..steps after every event of `corpus`, (N, steps, L)."""
    check_integer("steps", steps)
    return _forward(world, corpus, steps, n_threads)[2]


def topics_ahead(world: World, history: Sequence[str], steps: int) -> np.ndarray:
    """p(leaf | history) of the next 1..steps events of one user, (steps, L).

    Parameters
    ----------
    history : items by name, the earliest first; `world.TRACE` is the paper's
    """
    number = {item: w for w, item in enumerate(world.vocabulary)}
    if not len(history):
        raise InputError("the history is empty: give at least one item")
    if missing := [item for item in history if item not in number]:
        raise InputError(f"{missing[0]!r} is no item of this world; give one of its vocabulary")
    corpus = Corpus.from_documents([[number[item] for item in history]], world.vocabulary)
    return leaves_ahead(world, corpus, steps, 1)[-1]


def next_items(
    world: World, split: Split, on_scores: Callable[[np.ndarray, np.ndarray], None]
) -> None:
    """Hand `on_scores` the exact p(w_t | w_<t) of all held-out events, user by user.

    Parameters
    ----------
    on_scores : called with positions (B,) in ``split.corpus.words`` and scores (B, V) float32
    """
    corpus = split.corpus
    _, leaf = forward_pass(world, corpus)
    phi = np.ascontiguousarray(world.phi.T)
    users = np.flatnonzero(split.n_held_out)
    for d in progress(users, description="oracle, next items", unit="user"):
        words, first = corpus.document(d), split.n_observed[d]
        held_out = np.arange(corpus.offsets[d] + first, corpus.offsets[d + 1])
        scores = np.empty((len(held_out), corpus.n_words))
        item_probabilities(
            words=words,
            first=first,
            leaf=leaf[corpus.offsets[d] : corpus.offsets[d + 1]],
            phi=phi,
            rho=world.rho,
            habit=world.habit,
            out=scores,
        )
        on_scores(held_out, scores.astype(np.float32))


def _forward(
    world: World, corpus: Corpus, steps: int, n_threads: int | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    if corpus.vocabulary != world.vocabulary:
        raise InputError(
            "the world's items are not in the order of the corpus: give simulate.world_of(corpus)"
        )
    n_leaves = len(world.leaves)
    log_evidence = np.empty(corpus.n_tokens)
    leaf = np.empty((corpus.n_tokens, n_leaves))
    ahead = np.empty((corpus.n_tokens, steps, n_leaves))
    transition = np.ascontiguousarray(world.transition)

    def run(users: Iterable[int]) -> None:
        for d in users:
            span = slice(corpus.offsets[d], corpus.offsets[d + 1])
            forward_history(
                words=corpus.words[span],
                initial=world.initial,
                transition=transition,
                dwell=world.dwell,
                node_leaf=world.node_leaf,
                phi=world.phi,
                rho=world.rho,
                habit=world.habit,
                leaf=leaf[span],
                log_evidence=log_evidence[span],
                ahead=ahead[span],
            )

    batches = [
        range(first, min(first + USERS, corpus.n_documents))
        for first in range(0, corpus.n_documents, USERS)
    ]
    with thread_pool(n_threads) as pool:
        tasks = [pool.submit(run, batch) for batch in batches]
        for task in progress(tasks, description="oracle", unit="batch"):
            task.result()
    if not np.isfinite(log_evidence).all():
        i = int(np.argmin(np.isfinite(log_evidence)))
        d = int(np.searchsorted(corpus.offsets, i, side="right")) - 1
        raise InputError(
            f"user {d}, event {i - corpus.offsets[d]}: {corpus.vocabulary[corpus.words[i]]!r} is "
            "impossible after the events before; give histories that this world can generate"
        )
    return log_evidence, leaf, ahead
