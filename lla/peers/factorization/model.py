"""The fit by alternating least squares, which the folder describes."""

from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from scipy.sparse import coo_array, csr_array

from lla.common.display import Configuration, Summarized
from lla.common.errors import (
    InputError,
    check_each,
    check_function,
    check_instance,
    check_integer,
    check_positive,
    check_prior,
    check_share,
)
from lla.common.parallel import thread_pool
from lla.common.random import family_stream, stream
from lla.corpus import Corpus, Split, check_same_vocabulary
from lla.evaluate import ScoreCallback, Size
from lla.evaluate.perplexity import perplexity, repeat_row
from lla.peers.factorization.kernels import (
    als_rows,
    held_out_log_p,
    item_logits,
    squared_errors,
)
from lla.peers.iterations import (
    Arrays,
    IterationState,
    Row,
    check_arguments,
    fit_arrays,
    history_facts,
)

BLOCK = 256  # rows per task; they do not depend on each other
LOG_TEMPERATURES = (-4.0, 4.0)


@dataclass(frozen=True, repr=False)
class FactorizationConfig(Configuration):
    """What a fit depends on, besides the seed. The paper states neither D nor λ.

    Attributes
    ----------
    n_factors : D
    penalty : λ
    zero_weight : of an item that a user has not met, beside 1; 0 is the paper's form
    temperature : T; 1 is the paper's form, "tuned" chooses it on the development users
    n_iterations : of both half-steps, at most
    patience : stop after so many iterations without a better development perplexity
    """

    n_factors: int = 32
    penalty: float = 0.1
    zero_weight: float = 0.0
    temperature: float | Literal["tuned"] = 1.0
    n_iterations: int = 50
    patience: int = 5

    def __post_init__(self) -> None:
        check_each(self, check_integer, "n_factors", "n_iterations", "patience")
        check_each(self, check_prior, "penalty")
        check_each(self, check_share, "zero_weight")
        if isinstance(self.temperature, str):
            if self.temperature != "tuned":
                raise InputError(f"temperature is {self.temperature!r}: give a number or 'tuned'")
        else:
            check_each(self, check_positive, "temperature")


class Entries(NamedTuple):
    """m_iu in sparse rows: of users (U, V), and of items (V, U)."""

    users: csr_array
    items: csr_array


class Factorization(Summarized):
    """A fitted matrix factorisation.

    Attributes
    ----------
    config : what it was made with
    items : v, (V, D)
    temperature : T
    history : one row per iteration: iteration; loss, Σ (m_iu - v_i·u_u)² per entry; objective, all
        that is minimised, per entry; temperature; development_perplexity; seconds
    vocabulary : the V items it was fitted to
    seconds : of training
    """

    def __init__(
        self,
        config: FactorizationConfig,
        items: np.ndarray,
        temperature: float,
        *,
        history: list[Row] | None = None,
        vocabulary: tuple[str, ...] = (),
        seconds: float = 0.0,
    ) -> None:
        self.config, self.temperature = config, temperature
        self.items = np.ascontiguousarray(items, np.float64)
        self.history, self.vocabulary, self.seconds = history or [], vocabulary, seconds

    def summary_facts(self) -> dict[str, Any]:
        """Counts, and how well the best iteration did."""
        sizes = {"items": len(self.items), "factors": self.items.shape[1]}
        return sizes | {"temperature": self.temperature} | history_facts(self.history)

    def size(self) -> Size:
        """The items' factors and T; users' follow from their observed parts."""
        return Size(self.items.size + 1, 0, 4 * (self.items.size + 1))

    def users(self, observed: Corpus, n_threads: int | None = None) -> np.ndarray:
        """u of the documents of any corpus of the same vocabulary, (U, D)."""
        check_instance("observed", observed, Corpus)
        check_same_vocabulary(observed, self.vocabulary, len(self.items))
        with thread_pool(n_threads) as pool:
            return solve_rows(log_counts(observed).users, self.items, self.config, pool)

    def score(self, split: Split, *, seed: int = 0, n_threads: int | None = None) -> np.ndarray:
        """log p(held-out words) of every document, (D,) nats."""
        check_instance("split", split, Split)
        users = self.users(split.observed, n_threads)
        check_same_vocabulary(split.corpus, self.vocabulary, len(self.items))
        with thread_pool(n_threads) as pool:
            return _score(users, self.items, self.temperature, split, pool)

    def next_items(
        self,
        split: Split,
        on_scores: ScoreCallback,
        *,
        seed: int = 0,
        n_threads: int | None = None,
    ) -> None:
        """Hand over the same probabilities, float64, at all held-out tokens of a document."""
        check_instance("split", split, Split)
        check_function("on_scores", on_scores)
        users = self.users(split.observed, n_threads)
        check_same_vocabulary(split.corpus, self.vocabulary, len(self.items))
        items_t, logits = np.ascontiguousarray(self.items.T), np.empty(len(self.items))
        for d in np.flatnonzero(split.n_held_out).tolist():
            item_logits(users[d], items_t, 1.0 / self.temperature, logits)
            row = np.exp(logits - logits.max())
            repeat_row(row / row.sum(), split, d, on_scores)


def fit_factorization(
    split: Split,
    config: FactorizationConfig,
    seed: int,
    *,
    start: object = None,
    checkpoint: str | Path | None = None,
    on_iteration: Callable[[IterationState], None] | None = None,
    n_threads: int | None = None,
) -> Factorization:
    """Factorise the observed counts; keep the iteration of lowest development perplexity.

    `lla.peers` has the arguments that are not here.

    Parameters
    ----------
    split : its development documents decide when to stop, and the temperature where it is tuned
    seed : of the items' first factors
    """
    fit = check_arguments(
        split, config, FactorizationConfig, seed, checkpoint=checkpoint, on_iteration=on_iteration
    )
    entries, developing = log_counts(split.observed), log_counts(fit.part.observed).users
    with thread_pool(n_threads) as pool:

        def first() -> Arrays:
            draw = stream(fit.seed, family_stream("factorization"))
            shape = (split.corpus.n_words, config.n_factors)
            return {"items": draw.standard_normal(shape) / config.n_factors**0.5}

        def step(arrays: Arrays) -> tuple[Arrays, Row]:
            users = solve_rows(entries.users, arrays["items"], config, pool)
            items = solve_rows(entries.items, users, config, pool)
            loss, objective = losses(entries.users, users, items, config)
            temperature = config.temperature
            if temperature == "tuned":
                users_of_part = solve_rows(developing, items, config, pool)
                temperature = _tune(users_of_part, items, fit.part, pool)
            row = {"loss": loss, "objective": objective, "temperature": float(temperature)}
            return {"items": items, "temperature": np.array([temperature], np.float64)}, row

        def score(arrays: Arrays) -> np.ndarray:
            users = solve_rows(developing, arrays["items"], config, pool)
            return _score(users, arrays["items"], float(arrays["temperature"][0]), fit.part, pool)

        state = fit_arrays(
            first,
            step,
            score,
            fit,
            identity=fit.identity("factorization"),
            name="matrix factorisation",
            remedy="give a larger penalty",
        )
    return Factorization(
        config,
        state.best["items"],
        float(state.best["temperature"][0]),
        history=state.history,
        vocabulary=split.corpus.vocabulary,
        seconds=state.seconds,
    )


def log_counts(observed: Corpus) -> Entries:
    """m_iu = log(c_iu + 1) of the items of every document."""
    document = np.repeat(np.arange(observed.n_documents), observed.lengths)
    shape = (observed.n_documents, observed.n_words)
    ones = np.ones(observed.n_tokens)
    counts = coo_array((ones, (document, observed.words.astype(np.int64))), shape).tocsr()
    counts.sum_duplicates()
    counts.data = np.log1p(counts.data)
    return Entries(counts, counts.T.tocsr())


def solve_rows(
    entries: csr_array, fixed: np.ndarray, config: FactorizationConfig, pool: Executor
) -> np.ndarray:
    """Factors (R, D) of the rows of `entries` (R, C) that are best with `fixed` (C, D)."""
    solved = np.empty((entries.shape[0], fixed.shape[1]))
    # A sum of products per pair of factors, in a fixed order: no library's threads decide it.
    gram = np.einsum("ca,cb->ab", fixed, fixed) if config.zero_weight else np.zeros((1, 1))
    gram = np.broadcast_to(gram, (fixed.shape[1],) * 2).copy()

    def solve(first: int) -> None:
        als_rows(
            indptr=entries.indptr,
            indices=entries.indices,
            data=entries.data,
            fixed=fixed,
            gram=gram,
            zero_weight=float(config.zero_weight),
            penalty=float(config.penalty),
            first=first,
            last=min(first + BLOCK, len(solved)),
            solved=solved,
        )

    list(pool.map(solve, range(0, len(solved), BLOCK)))
    return solved


def losses(
    entries: csr_array, users: np.ndarray, items: np.ndarray, config: FactorizationConfig
) -> tuple[float, float]:
    """Squared error of the entries, and all that is minimised; both per entry."""
    errors, products = squared_errors(entries.indptr, entries.indices, entries.data, users, items)
    # Over all pairs Σ (u·v)² needs no loop over them, so neither does the sum over zeros.
    all_products = np.sum(
        np.einsum("ua,ub->ab", users, users) * np.einsum("ia,ib->ab", items, items)
    )
    weight = config.zero_weight
    n_items = np.diff(entries.indptr)  # of each user, and so on
    n_users = np.bincount(entries.indices, minlength=len(items))
    norms = (n_items + weight * (len(items) - n_items)) @ (users**2).sum(axis=1)
    norms += (n_users + weight * (len(users) - n_users)) @ (items**2).sum(axis=1)
    total = errors + weight * (all_products - products) + config.penalty * norms
    return float(errors / entries.nnz), float(total / entries.nnz)


def _tune(users: np.ndarray, items: np.ndarray, part: Split, pool: Executor) -> float:
    """The temperature of lowest perplexity on the development documents `part`."""
    from scipy.optimize import minimize_scalar  # takes a quarter of a second to import

    def loss(log_temperature: float) -> float:
        scores = _score(users, items, float(np.exp(log_temperature)), part, pool)
        return np.log(perplexity(scores, part, part.development))

    best = minimize_scalar(loss, bounds=LOG_TEMPERATURES, method="bounded", options={"xatol": 0.01})
    return float(np.exp(best.x))


def _score(
    users: np.ndarray, items: np.ndarray, temperature: float, split: Split, pool: Executor
) -> np.ndarray:
    """log p(held-out words) of every document, (D,) nats, from factors (D, F) and (V, F)."""
    corpus, items_t = split.corpus, np.ascontiguousarray(items.T)
    scores = np.empty(corpus.n_documents)

    def fill(first: int) -> None:
        block = slice(first, first + BLOCK)
        held_out_log_p(
            words=corpus.words,
            offsets=corpus.offsets[first : first + BLOCK + 1],
            n_observed=split.n_observed[block],
            users=users[block],
            items_t=items_t,
            scale=1.0 / temperature,
            scores=scores[block],
        )

    list(pool.map(fill, range(0, len(scores), BLOCK)))
    return scores
