"""LDA against tomotopy: time to the same log-likelihood; also two threads against one.

    python benchmarks/lda.py [--quick] [--corpus FOLDER] [--out FILE]

The race needs tomotopy, a package for developers; without it, only our own speeds are measured.
"""

import argparse
import importlib.util
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from time import perf_counter, process_time

import numpy as np
from common import Results, argument_parser, take_turns

from lla.common.errors import run_main
from lla.common.random import StreamId, stream
from lla.corpus import Corpus, load_corpus, split_corpus
from lla.lda.sparse import SparseSampler
from lla.samplers.lda import document_topic_counts, joint_log_likelihood, lda_sweep, topic_counts

ALPHA, BETA = 0.1, 0.01


@dataclass(frozen=True)
class Settings:
    """How much is measured for each K."""

    n_sweeps: int  # of tomotopy, whose log-likelihood is the goal
    repeats: int  # of the race, a seed each
    turns: int  # sweeps on one thread, and on two
    burn_in: float  # seconds before those, with both cores busy


@dataclass(frozen=True)
class Run:
    """One fit: `seconds` is infinite when the goal was not reached."""

    seconds: float
    cpu_seconds: float
    n_sweeps: int
    log_likelihood: float  # nats per token


def zipf_corpus(n_documents: int = 1000, length: int = 400, n_words: int = 5000) -> Corpus:
    """A corpus drawn from LDA whose word frequencies are as uneven as those of a language."""
    rng = stream(0, StreamId.SIMULATE)
    base = 1 / np.arange(1, n_words + 1)
    phi = np.cumsum(rng.dirichlet(0.2 * n_words * base / base.sum(), size=50), axis=1)
    documents = []
    for theta in rng.dirichlet(np.full(50, 0.1), size=n_documents):
        topics = rng.choice(50, size=length, p=theta)
        uniforms = rng.random(length)
        words = [np.searchsorted(phi[k], u) for k, u in zip(topics, uniforms, strict=True)]
        documents.append(np.minimum(words, n_words - 1))
    return Corpus.from_documents(documents, [f"w{w}" for w in range(n_words)])


def log_likelihood(corpus: Corpus, words: np.ndarray, topics: np.ndarray, n_topics: int) -> float:
    """log p(w, z | α, β) per token, nats, for the assignments of either implementation."""
    counts = topic_counts(words, topics, corpus.n_words, n_topics)
    document_topic = document_topic_counts(corpus.offsets, topics, n_topics)
    alpha = np.full(n_topics, ALPHA)
    return joint_log_likelihood(document_topic, *counts, alpha, BETA) / len(words)


def run_tomotopy(corpus: Corpus, n_topics: int, n_sweeps: int, n_workers: int, seed: int) -> Run:
    """Timed from when tomotopy has loaded the corpus and drawn the initial topics."""
    import tomotopy

    model = tomotopy.LDAModel(k=n_topics, alpha=ALPHA, eta=BETA, seed=seed)
    model.optim_interval = 0  # α stays fixed, as ours does here
    for d in range(corpus.n_documents):
        model.add_doc([str(w) for w in corpus.document(d)])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # two workers are not reproducible
        model.train(0, workers=n_workers)
        start, cpu_start = perf_counter(), process_time()
        model.train(n_sweeps, workers=n_workers)
        seconds, cpu_seconds = perf_counter() - start, process_time() - cpu_start
    word_ids = np.array([int(word) for word in model.used_vocabs])
    words = word_ids[np.concatenate([document.words for document in model.docs])]
    topics = np.concatenate([document.topics for document in model.docs]).astype(np.int32)
    value = log_likelihood(corpus, words, topics, n_topics)
    return Run(seconds, cpu_seconds, n_sweeps, value)


def initial_topics(corpus: Corpus, n_topics: int, seed: int) -> np.ndarray:
    rng = stream(seed, StreamId.LDA_INITIAL)
    return rng.integers(n_topics, size=corpus.n_tokens, dtype=np.int32)


def sparse_sampler(corpus: Corpus, n_topics: int, n_shards: int, seed: int) -> SparseSampler:
    return SparseSampler(
        words=corpus.words,
        offsets=corpus.offsets,
        n_words=corpus.n_words,
        topics=initial_topics(corpus, n_topics, seed),
        n_topics=n_topics,
        beta=BETA,
        n_shards=n_shards,
    )


def run_ours(
    corpus: Corpus, n_topics: int, goal: float, n_threads: int, seed: int, max_sweeps: int
) -> Run:
    """Sweeps until log-likelihood `goal`: layout and sweeps are timed, the evaluation is not."""
    alpha = np.full(n_topics, ALPHA)
    start, cpu_start = perf_counter(), process_time()
    sampler = sparse_sampler(corpus, n_topics, n_threads, seed)
    seconds, cpu_seconds = perf_counter() - start, process_time() - cpu_start
    value, sweep = -np.inf, 0
    with ThreadPoolExecutor(n_threads) as pool:
        while value < goal and sweep < max_sweeps:
            sweep += 1
            start, cpu_start = perf_counter(), process_time()
            sampler.sweep(alpha, (seed, StreamId.LDA_SWEEP, sweep), pool)
            seconds += perf_counter() - start
            cpu_seconds += process_time() - cpu_start
            value = sampler.log_likelihood(alpha, pool) / corpus.n_tokens
    return Run(seconds if value >= goal else np.inf, cpu_seconds, sweep, value)


def race(
    results: Results, settings: Settings, corpus: Corpus, n_topics: int, target: float
) -> None:
    """Time to the log-likelihood that tomotopy has after its sweeps, medians over repeats."""
    if importlib.util.find_spec("tomotopy") is None:
        results.progress(f"K={n_topics}: tomotopy is not installed, no race")
        return
    results.progress(f"K={n_topics}: race against tomotopy")
    ours, theirs = [], []
    for seed in range(settings.repeats):
        peer = run_tomotopy(corpus, n_topics, settings.n_sweeps, 2, seed)
        own = run_ours(corpus, n_topics, peer.log_likelihood, 2, seed, 3 * settings.n_sweeps)
        for name, run in (("tomotopy", peer), ("ours", own)):
            words = corpus.n_tokens * run.n_sweeps / 1e6
            results.progress(
                f"  {name}: {run.seconds:.2f} s, {run.n_sweeps} sweeps, "
                f"{run.log_likelihood:.4f} nats per word, {words / run.seconds:.2f} M words/s, "
                f"{words / run.cpu_seconds:.2f} per core"
            )
        ours.append(own.seconds)
        theirs.append(peer.seconds)
    results.add(
        f"LDA, K={n_topics}, time to the log-likelihood after {settings.n_sweeps} sweeps",
        "tomotopy 0.14, 2 workers",
        median(ours),
        median(theirs),
        unit="s",
        target=target,
    )


def own_speed(results: Results, settings: Settings, corpus: Corpus, n_topics: int) -> None:
    """Words per second: two threads against one, and the sparse sweep against the dense one.

    A core that has been idle can take seconds to reach its speed, hence the burn-in.
    """
    results.progress(f"K={n_topics}: sweeps on one and two threads, and the dense sweep")
    sampler, alpha = sparse_sampler(corpus, n_topics, 2, 0), np.full(n_topics, ALPHA)
    keys = iter(range(10**9))

    def sweep(pool: ThreadPoolExecutor) -> None:
        sampler.sweep(alpha, (0, StreamId.LDA_SWEEP, next(keys)), pool)

    with ThreadPoolExecutor(1) as one, ThreadPoolExecutor(2) as two:
        end = perf_counter() + settings.burn_in
        while perf_counter() < end:
            sweep(two)
        times = take_turns(partial(sweep, one), partial(sweep, two), repeats=settings.turns)
    single, double = (corpus.n_tokens / spent for spent in times)
    case = f"LDA, K={n_topics}, 2 threads against 1"
    results.add(case, "itself", double, single, unit="words/s", target=1.8)
    dense = dense_speed(corpus, n_topics, n_sweeps=5)
    case = f"LDA, K={n_topics}, a sweep on 1 thread"
    results.add(case, "lda_sweep, dense", single, dense, unit="words/s", target=1.0)


def dense_speed(corpus: Corpus, n_topics: int, n_sweeps: int) -> float:
    """Words per second of `lda_sweep`, one thread."""
    topics = initial_topics(corpus, n_topics, 0)
    word_topic, topic_total = topic_counts(corpus.words, topics, corpus.n_words, n_topics)
    alpha, seconds = np.full(n_topics, ALPHA), []
    for sweep in range(n_sweeps):
        uniforms = stream(0, StreamId.LDA_SWEEP, sweep).random(corpus.n_tokens, np.float32)
        start = perf_counter()
        lda_sweep(
            corpus.words, corpus.offsets, topics, word_topic, topic_total, alpha, BETA, uniforms
        )
        seconds.append(perf_counter() - start)
    return corpus.n_tokens / median(seconds)


def compile_kernels() -> None:
    """Run everything once on a tiny corpus, so that no compilation is timed."""
    corpus = zipf_corpus(20, 20, 50)
    run_ours(corpus, n_topics=4, goal=np.inf, n_threads=2, seed=0, max_sweeps=2)
    dense_speed(corpus, n_topics=4, n_sweeps=1)


def parse_options() -> argparse.Namespace:
    parser = argument_parser(__doc__)
    parser.add_argument("--corpus", type=Path, help="folder of a corpus; default: a simulated one")
    parser.add_argument("--topics", type=int, nargs="+", default=[100, 1000])
    return parser.parse_args()


def main() -> None:
    """Run all cases."""
    options = parse_options()
    if options.quick:
        settings = Settings(n_sweeps=40, repeats=1, turns=20, burn_in=2.0)
    else:
        settings = Settings(n_sweeps=100, repeats=3, turns=100, burn_in=5.0)
    results = Results(options.out)
    results.progress("corpus and kernels")
    corpus = split_corpus(load_corpus(options.corpus)).observed if options.corpus else zipf_corpus()
    compile_kernels()
    topics: Sequence[int] = options.topics
    for n_topics in topics:
        race(results, settings, corpus, n_topics, target=1.4 if n_topics < 1000 else 0.5)
        own_speed(results, settings, corpus, n_topics)


if __name__ == "__main__":
    run_main(main)
