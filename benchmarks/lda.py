"""LDA beside tomotopy: time to the same log-likelihood, and two threads beside one.

Run: python benchmarks/lda.py --corpus FOLDER (needs tomotopy 0.14, which the project does not)
"""

import argparse
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from time import perf_counter, process_time
from typing import Any

import numpy as np

from lla.common.errors import InputError, run_main
from lla.common.files import write_json
from lla.common.random import StreamId, stream
from lla.corpus import Corpus, load_corpus, split_corpus
from lla.lda import SparseSampler, document_topic_counts, joint_log_likelihood
from lla.samplers.lda import lda_sweep, topic_counts

ALPHA, BETA = 0.1, 0.01
TURNS = 100  # sweeps on one thread, and on two: the machine may have neighbours
Row = dict[str, Any]


def zipf_corpus(n_documents: int = 1000, length: int = 400, n_words: int = 5000) -> Corpus:
    """A corpus by LDA's own story whose words are as uneven as those of a language."""
    draw = stream(0, StreamId.SIMULATE)
    base = 1 / np.arange(1, n_words + 1)
    phi = np.cumsum(draw.dirichlet(0.2 * n_words * base / base.sum(), size=50), axis=1)
    documents = []
    for theta in draw.dirichlet(np.full(50, 0.1), size=n_documents):
        topics = draw.choice(50, size=length, p=theta)
        found = [np.searchsorted(phi[k], u) for k, u in zip(topics, draw.random(length))]  # noqa: B905
        documents.append(np.minimum(found, n_words - 1))
    return Corpus.from_documents(documents, [f"w{w}" for w in range(n_words)])


def log_likelihood(corpus: Corpus, words: np.ndarray, topics: np.ndarray, n_topics: int) -> float:
    """log p(w, z | α, β) a token, nats, of whoever's assignments to `words`."""
    counts = topic_counts(words, topics, corpus.n_words, n_topics)
    document_topic = document_topic_counts(corpus, topics, n_topics)
    alpha = np.full(n_topics, ALPHA)
    return joint_log_likelihood(document_topic, *counts, alpha, BETA) / len(words)


def theirs(corpus: Corpus, n_topics: int, sweeps: int, workers: int, seed: int) -> Row:
    """tomotopy: the clock starts when its corpus is loaded and its topics are drawn."""
    try:
        import tomotopy
    except ModuleNotFoundError:
        raise InputError("tomotopy is not installed: pip install tomotopy==0.14.0") from None
    model = tomotopy.LDAModel(k=n_topics, alpha=ALPHA, eta=BETA, seed=seed)
    model.optim_interval = 0  # α stays, as ours does
    for d in range(corpus.n_documents):
        model.add_doc([str(w) for w in corpus.document(d)])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # two workers are not reproducible
        model.train(0, workers=workers)
        begun, cpu = perf_counter(), process_time()
        model.train(sweeps, workers=workers)
        seconds, cpu = perf_counter() - begun, process_time() - cpu
    name = np.array([int(word) for word in model.used_vocabs])
    words = name[np.concatenate([document.words for document in model.docs])]
    topics = np.concatenate([document.topics for document in model.docs]).astype(np.int32)
    value = log_likelihood(corpus, words, topics, n_topics)
    return {"seconds": seconds, "cpu": cpu, "sweeps": sweeps, "log_likelihood": value}


def begin(corpus: Corpus, n_topics: int, seed: int) -> np.ndarray:
    draw = stream(seed, StreamId.LDA_INITIAL)
    return draw.integers(n_topics, size=corpus.n_tokens, dtype=np.int32)


def laid_out(corpus: Corpus, n_topics: int, n_shards: int, seed: int) -> SparseSampler:
    tokens = (corpus.words, corpus.offsets, corpus.n_words, begin(corpus, n_topics, seed))
    return SparseSampler(*tokens, n_topics, BETA, n_shards)


def ours(corpus: Corpus, n_topics: int, target: float, threads: int, seed: int, most: int) -> Row:
    """Ours until `target`: layout and sweeps are timed, the look at the likelihood is not."""
    alpha = np.full(n_topics, ALPHA)
    begun, cpu_begun = perf_counter(), process_time()
    sampler = laid_out(corpus, n_topics, threads, seed)
    seconds, cpu, value, sweep = perf_counter() - begun, process_time() - cpu_begun, -np.inf, 0
    with ThreadPoolExecutor(threads) as pool:
        while value < target and sweep < most:
            sweep += 1
            begun, cpu_begun = perf_counter(), process_time()
            sampler.sweep(alpha, (seed, StreamId.LDA_SWEEP, sweep), pool)
            seconds, cpu = seconds + perf_counter() - begun, cpu + process_time() - cpu_begun
            value = sampler.log_likelihood(alpha, pool) / corpus.n_tokens
    reached = value >= target
    return {"seconds": seconds if reached else np.inf, "cpu": cpu, "sweeps": sweep,
            "log_likelihood": value}  # fmt: skip


def dense_rate(corpus: Corpus, n_topics: int, sweeps: int) -> float:
    """Words a second of `lda_sweep`, one thread."""
    topics = begin(corpus, n_topics, 0)
    counts = topic_counts(corpus.words, topics, corpus.n_words, n_topics)
    seconds = []
    for sweep in range(sweeps):
        uniforms = stream(0, StreamId.LDA_SWEEP, sweep).random(corpus.n_tokens, np.float32)
        begun = perf_counter()
        tokens = (corpus.words, corpus.offsets, topics)
        lda_sweep(*tokens, *counts, np.full(n_topics, ALPHA), BETA, uniforms)
        seconds.append(perf_counter() - begun)
    return corpus.n_tokens / median(seconds)


def thread_rates(corpus: Corpus, n_topics: int, turns: int, burn_in: float = 5.0) -> list[float]:
    """Words a second with one thread and with two: the same sampler, turn about.

    A core that has been idle can take seconds to come to its speed, so both are busy for `burn_in`
    seconds before.
    """
    sampler, alpha = laid_out(corpus, n_topics, 2, 0), np.full(n_topics, ALPHA)
    seconds: tuple[list[float], list[float]] = ([], [])
    with ThreadPoolExecutor(1) as one, ThreadPoolExecutor(2) as two:
        sweep, end = 0, perf_counter() + burn_in
        while perf_counter() < end:
            sampler.sweep(alpha, (0, StreamId.LDA_SWEEP, sweep), two)
            sweep += 1
        for turn in range(2 * turns):
            begun = perf_counter()
            sampler.sweep(alpha, (0, StreamId.LDA_SWEEP, sweep + turn), (one, two)[turn % 2])
            seconds[turn % 2].append(perf_counter() - begun)
    return [corpus.n_tokens / median(s) for s in seconds]


def row(case: str, peer: str, values: tuple[float, float], unit: str, reach: float) -> Row:
    """A line of the table; of seconds `reach` is the most, of a rate the least."""
    ratio = values[0] / values[1]
    met = bool(ratio <= reach if unit == "s" else ratio >= reach)
    keys = ("case", "peer", "ours", "theirs", "unit", "ratio", "reach", "met")
    return dict(zip(keys, (case, peer, *values, unit, ratio, reach, met), strict=True))


def race(corpus: Corpus, n_topics: int, reach: float, options: argparse.Namespace) -> Row:
    """Time to the log-likelihood that tomotopy has after its sweeps, medians over repeats."""
    times: list[tuple[float, float]] = []
    for seed in range(options.repeats):
        peer = theirs(corpus, n_topics, options.sweeps, 2, seed)
        mine = ours(corpus, n_topics, peer["log_likelihood"], 2, seed, 3 * options.sweeps)
        for name, run in (("tomotopy", peer), ("sparse", mine)):
            rate = corpus.n_tokens * run["sweeps"] / 1e6
            print(
                f"K={n_topics} {name}: {run['seconds']:.2f} s, {run['cpu']:.2f} s of CPU, "
                f"{run['sweeps']} sweeps, {run['log_likelihood']:.4f} nats a word, "
                f"{rate / run['seconds']:.2f} M words/s, {rate / run['cpu']:.2f} a core",
                flush=True,
            )
        times.append((mine["seconds"], peer["seconds"]))
    case = f"LDA, K={n_topics}, time to the log-likelihood after {options.sweeps} sweeps"
    middle = tuple(median(column) for column in zip(*times, strict=True))
    return row(case, "tomotopy 0.14, 2 workers", middle, "s", reach)


def warm_up() -> None:
    """Compile everything, so that no clock sees it."""
    corpus = zipf_corpus(20, 20, 50)
    ours(corpus, 4, np.inf, 2, 0, 2)
    dense_rate(corpus, 4, 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--corpus", type=Path, help="folder of a corpus; default: a simulated one")
    parser.add_argument("--topics", type=int, nargs="+", default=[100, 1000])
    parser.add_argument("--sweeps", type=int, default=100, help="of tomotopy")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path("results/bench/lda.json"))
    options = parser.parse_args()
    corpus = split_corpus(load_corpus(options.corpus)).observed if options.corpus else zipf_corpus()
    warm_up()
    rows = []
    for n_topics in options.topics:
        # First, for it keeps both cores busy: `thread_rates` says why.
        raced = race(corpus, n_topics, 1.4 if n_topics < 1000 else 0.5, options)
        rates = thread_rates(corpus, n_topics, TURNS)
        case, both = f"LDA, K={n_topics}, 2 threads against 1", (rates[1], rates[0])
        rows.append(row(case, "itself", both, "words/s", 1.8))
        dense = dense_rate(corpus, n_topics, options.repeats)
        case = f"LDA, K={n_topics}, a sweep on 1 thread"
        rows.append(row(case, "lda_sweep, dense", (rates[0], dense), "words/s", 1.0))
        rows.append(raced)
        for line in rows[-3:]:
            print(line, flush=True)
    write_json(options.out, rows)


if __name__ == "__main__":
    run_main(main)
