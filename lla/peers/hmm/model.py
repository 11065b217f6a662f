"""The fit of the hidden Markov model, which the folder describes."""

from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from lla.common.arrays import check_topics
from lla.common.checkpoint import hash_of_topics
from lla.common.display import Configuration, Summarized
from lla.common.errors import InputError, check_each, check_instance, check_integer, check_prior
from lla.common.parallel import thread_pool
from lla.common.progress import progress
from lla.common.random import family_stream, stream
from lla.corpus import Corpus, Split, check_same_vocabulary
from lla.evaluate import ScoreCallback, Size
from lla.evaluate.perplexity import mix_topics
from lla.peers.hmm.kernels import hmm_backward, hmm_count, hmm_forward
from lla.peers.iterations import (
    Arrays,
    IterationState,
    Row,
    check_arguments,
    fit_arrays,
    history_facts,
)
from lla.samplers.lda import phi_from_counts, topic_counts

N_SHARDS = 8  # parts of the documents, whose counts are summed in their order
SHORT_RUN = 5  # iterations after which random starts are compared


@dataclass(frozen=True, repr=False)
class HMMConfig(Configuration):
    """What a fit depends on, besides the seed.

    Attributes
    ----------
    n_topics : K, the hidden states
    alpha : α, added to the expected count of every first topic and of every pair of topics
    beta : β, added to the expected count of every word in every topic
    n_iterations : of expectation maximisation, at most
    patience : stop after so many iterations without a better development perplexity
    n_starts : random starts; the one of highest posterior after `SHORT_RUN` iterations goes on
    """

    n_topics: int = 50
    alpha: float = 0.1
    beta: float = 0.01
    n_iterations: int = 200
    patience: int = 5
    n_starts: int = 1

    def __post_init__(self) -> None:
        check_each(self, check_integer, "n_topics", "n_iterations", "patience", "n_starts")
        check_each(self, check_prior, "alpha", "beta")


class Parameters(NamedTuple):
    """π (K,), A (K, K) and φ (V, K), all above 0."""

    initial: np.ndarray
    transition: np.ndarray
    phi: np.ndarray

    def log_prior(self, config: HMMConfig) -> float:
        """log of the Dirichlet densities, without their constants."""
        chain = np.log(self.initial).sum() + np.log(self.transition).sum()
        return float(config.alpha * chain + config.beta * np.log(self.phi).sum())


class HMM(Summarized):
    """A fitted HMM.

    Attributes
    ----------
    initial, transition, phi : π (K,), A (K, K) and φ (V, K) of the best iteration
    history : one row per iteration: iteration; loss, -log p(w) in nats per observed word, and
        objective, the same with the prior, both of the parameters that the iteration started from;
        development_perplexity; seconds
    vocabulary : the V words it was fitted to; empty where they are not known
    seconds : of training
    """

    def __init__(
        self,
        initial: np.ndarray,
        transition: np.ndarray,
        phi: np.ndarray,
        *,
        history: list[Row] | None = None,
        vocabulary: tuple[str, ...] = (),
        seconds: float = 0.0,
    ) -> None:
        self.initial, self.transition, self.phi = (
            np.ascontiguousarray(array, np.float64) for array in (initial, transition, phi)
        )
        n_topics, shapes = self.initial.size, [array.shape for array in self.parameters]
        if shapes != [(n_topics,), (n_topics, n_topics), (len(self.phi), n_topics)]:
            raise InputError(
                f"initial {shapes[0]}, transition {shapes[1]}, phi {shapes[2]}: give (K,), (K, K) "
                "and (V, K)"
            )
        self.history, self.vocabulary, self.seconds = history or [], vocabulary, seconds

    @property
    def parameters(self) -> Parameters:
        """π, A and φ."""
        return Parameters(self.initial, self.transition, self.phi)

    def summary_facts(self) -> dict[str, Any]:
        """Counts, and how well the best iteration did."""
        sizes = {"topics": len(self.initial), "words": len(self.phi)}
        return sizes | history_facts(self.history)

    def size(self) -> Size:
        """π and A beside φ, which has no zeros."""
        chain = self.initial.size + self.transition.size
        return Size(chain, self.phi.size, 4 * (chain + self.phi.size))

    def score(self, split: Split, *, seed: int = 0, n_threads: int | None = None) -> np.ndarray:
        """log p(held-out words) of every document, each word given all before it, (D,) nats."""
        self._check_split(split)
        with thread_pool(n_threads) as pool:
            return _score(self.parameters, split, pool)

    def next_items(
        self,
        split: Split,
        on_scores: ScoreCallback,
        *,
        seed: int = 0,
        n_threads: int | None = None,
    ) -> None:
        """Hand over p(w_t = v | w_<t) of all words v at every held-out token (see `Fitted`)."""
        self._check_split(split)

        def theta_of(d: int) -> np.ndarray:
            theta, _ = forward(self.parameters, split.corpus.document(d))
            return theta[split.n_observed[d] :]

        mix_topics(theta_of, self.phi, split, on_scores, n_threads=n_threads, name="HMM")

    def document_topic(self, corpus: Corpus, *, n_threads: int | None = None) -> np.ndarray:
        """E[n_dk | w_d], the expected number of words of each topic in any documents, (D, K)."""
        check_instance("corpus", corpus, Corpus)
        check_same_vocabulary(corpus, self.vocabulary, len(self.phi))
        transition_t = np.ascontiguousarray(self.transition.T)

        def expected(d: int) -> np.ndarray:
            words = corpus.document(d)
            theta, evidence = forward(self.parameters, words)
            ratio = np.empty_like(theta)
            hmm_backward(words, transition_t, self.phi, evidence, ratio)
            return (theta * ratio).sum(axis=0)

        with thread_pool(n_threads) as pool:
            return np.stack(list(pool.map(expected, range(corpus.n_documents))))

    def _check_split(self, split: Split) -> None:
        """Raise InputError unless the split has the words of the fit."""
        check_instance("split", split, Split)
        check_same_vocabulary(split.corpus, self.vocabulary, len(self.phi))


def fit_hmm(
    split: Split,
    config: HMMConfig,
    seed: int,
    *,
    start: np.ndarray | None = None,
    checkpoint: str | Path | None = None,
    on_iteration: Callable[[IterationState], None] | None = None,
    n_threads: int | None = None,
) -> HMM:
    """Fit the observed part of all documents; keep the iteration of lowest development perplexity.

    `lla.peers` has the arguments that are not here.

    Parameters
    ----------
    seed : of the random starts
    start : (N_observed,) topics that the first parameters are counted from, such as LDA's; by
        default parameters are drawn
    """
    fit = check_arguments(
        split, config, HMMConfig, seed, checkpoint=checkpoint, on_iteration=on_iteration
    )
    observed, identity = split.observed, fit.identity("hmm") | {"start": ""}
    if start is not None:
        start = check_topics("start", start, observed.n_tokens, config.n_topics)
        identity["start"] = hash_of_topics(start)
    with thread_pool(n_threads) as pool:

        def first() -> Arrays:
            if start is not None:
                return count_parameters(observed, start, config)._asdict()
            return draw_start(observed, config, fit.seed, pool)._asdict()

        def step(arrays: Arrays) -> tuple[Arrays, Row]:
            parameters, row = em_step(Parameters(**arrays), observed, config, pool)
            return parameters._asdict(), row

        state = fit_arrays(
            first,
            step,
            lambda arrays: _score(Parameters(**arrays), fit.part, pool),
            fit,
            identity=identity,
            name="HMM",
            remedy="give a larger beta",
        )
    return HMM(
        **state.best,
        history=state.history,
        vocabulary=split.corpus.vocabulary,
        seconds=state.seconds,
    )


def em_step(
    parameters: Parameters, observed: Corpus, config: HMMConfig, pool: Executor
) -> tuple[Parameters, Row]:
    """Parameters after one iteration, and how well those before it did.

    The documents are cut into `N_SHARDS` parts, whose counts are added in their order.
    """
    transition_t = np.ascontiguousarray(parameters.transition.T)

    def count(shard: slice) -> tuple[float, Parameters]:
        counts = Parameters(*map(np.zeros_like, parameters))
        log_likelihood = hmm_count(
            words=observed.words,
            offsets=observed.offsets[shard],
            initial=parameters.initial,
            transition=parameters.transition,
            transition_t=transition_t,
            phi=parameters.phi,
            n_initial=counts.initial,
            n_transition=counts.transition,
            n_emission=counts.phi,
        )
        return log_likelihood, counts

    log_likelihood, total = 0.0, Parameters(*map(np.zeros_like, parameters))
    for part, counts in pool.map(count, shards(observed)):
        log_likelihood += part
        for array, added in zip(total, counts, strict=True):
            array += added
    pairs = total.transition * parameters.transition
    row = {
        "loss": -log_likelihood / observed.n_tokens,
        "objective": -(log_likelihood + parameters.log_prior(config)) / observed.n_tokens,
    }
    return maximise(Parameters(total.initial, pairs, total.phi), config), row


def maximise(counts: Parameters, config: HMMConfig) -> Parameters:
    """The mode of π, A and φ given (expected) counts of first topics, pairs and words."""
    initial, transition = counts.initial + config.alpha, counts.transition + config.alpha
    return Parameters(
        initial / initial.sum(),
        transition / transition.sum(axis=1, keepdims=True),
        phi_from_counts(counts.phi, counts.phi.sum(axis=0), config.beta),
    )


def shards(observed: Corpus) -> list[slice]:
    """Documents of about equally many words, as slices of `observed.offsets`."""
    ends = np.linspace(0, observed.n_tokens, N_SHARDS + 1)
    cuts = np.unique(np.searchsorted(observed.offsets, ends)).tolist()
    return [slice(first, last + 1) for first, last in pairwise(cuts)]


def count_parameters(observed: Corpus, topics: np.ndarray, config: HMMConfig) -> Parameters:
    """Parameters from topics (N,) of the observed words, as if these were known."""
    n_topics, topics = config.n_topics, topics.astype(np.int64)
    is_first = np.zeros(len(topics), bool)
    is_first[observed.offsets[:-1]] = True
    pairs = (topics[:-1] * n_topics + topics[1:])[~is_first[1:]]
    counts = Parameters(
        np.bincount(topics[is_first], minlength=n_topics),
        np.bincount(pairs, minlength=n_topics**2).reshape(n_topics, n_topics),
        topic_counts(observed.words, topics, observed.n_words, n_topics)[0],
    )
    return maximise(counts, config)


def draw_start(observed: Corpus, config: HMMConfig, seed: int, pool: Executor) -> Parameters:
    """Random parameters; of several the ones of highest posterior after a short run."""
    drawn = [draw_parameters(observed, config, seed, s) for s in range(config.n_starts)]
    if len(drawn) == 1:
        return drawn[0]
    step = partial(em_step, observed=observed, config=config, pool=pool)
    reached = []
    for start in progress(drawn, description=f"starts of the HMM, seed {seed}", unit="start"):
        parameters, row = step(start)
        for _ in range(SHORT_RUN - 1):
            parameters, row = step(parameters)
        reached.append((row["objective"], parameters))
    return min(reached, key=lambda start: start[0])[1]


def draw_parameters(observed: Corpus, config: HMMConfig, seed: int, number: int) -> Parameters:
    """π and the rows of A half uniform, half drawn; φ the unigram, each entry times an exponential.

    The uniform half keeps entries away from 0, where EM would hold them for long.
    """
    n_topics, n_words = config.n_topics, observed.n_words
    draw = stream(seed, family_stream("hmm"), number)
    chain = 0.5 / n_topics + 0.5 * draw.dirichlet(np.ones(n_topics), size=n_topics + 1)
    counts = np.bincount(observed.words, minlength=n_words)[:, None] / n_topics
    counts = counts * draw.standard_exponential((n_words, n_topics))
    phi = phi_from_counts(counts, counts.sum(axis=0), config.beta)
    return Parameters(chain[0], np.ascontiguousarray(chain[1:]), phi)


def forward(parameters: Parameters, words: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """p(z_t = k | w_<t), (T, K), and p(w_t | w_<t), (T,), of one document."""
    theta, evidence = np.empty((len(words), len(parameters.initial))), np.empty(len(words))
    hmm_forward(
        words=words,
        initial=parameters.initial,
        transition=parameters.transition,
        phi=parameters.phi,
        theta=theta,
        evidence=evidence,
    )
    return theta, evidence


def _score(parameters: Parameters, split: Split, pool: Executor) -> np.ndarray:
    """log p(held-out words) of every document, (D,) nats."""
    corpus = split.corpus

    def score(d: int) -> float:
        if not split.n_held_out[d]:
            return 0.0
        evidence = forward(parameters, corpus.document(d))[1]
        with np.errstate(divide="ignore"):
            return float(np.log(evidence[split.n_observed[d] :]).sum())

    return np.fromiter(pool.map(score, range(corpus.n_documents)), np.float64, corpus.n_documents)
