"""Two processes of torchrun against one process on one thread, and memory of a large corpus.

    python benchmarks/workers.py [--quick] [--out FILE]
    python benchmarks/workers.py --memory TOKENS [--folder FOLDER] [--out FILE]

One process on one thread and two of them take turns, in the two processes that torchrun starts: the
second waits while the first works alone. Given are words per second of wall time, and of CPU time:
the more of both processes, exchange included, which is the speed that two free cores would reach if
exchanges took no time but that of their own work.

Rows "predicted" are a model of an iteration of stochastic EM from these costs: the SE-step and the
M-step of `experiments.rehearsal.scaling`, without the merging of counts.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np
import torch
from common import Results, argument_parser
from memory import ENVIRONMENT, LENGTH, peak_memory, write_corpus

from experiments.rehearsal.scaling import (
    WINDOW_TOKENS,
    lda_memory,
    m_step_seconds,
    se_step_seconds,
)
from lla.common.errors import run_main
from lla.common.parallel import ALONE, Workers, thread_pool
from lla.common.random import stream, torch_stream
from lla.corpus import Corpus, load_corpus
from lla.inference.config import TrainConfig
from lla.inference.distributed import Processes, torchrun_workers
from lla.inference.gradient import adam, train_epoch
from lla.inference.metropolis import MHConfig, mh_sweep
from lla.lda import LDAConfig, init_lda, next_state, sampler_of
from lla.lstm import HAS_BFLOAT16, Network, NetworkConfig
from lla.peers.simulate import random_network

K, HIDDEN, EMBEDDING, BETA = 1000, 150, 50, 0.01
TRAINED = 128  # documents of an M-step's epoch
SE_STEP = "SE-step by Metropolis-Hastings"
# Of M-steps: the names of those that this processor has, and whether each is bfloat16.
PRECISIONS = [("float32", False), ("bfloat16", True)][: 1 + HAS_BFLOAT16]
TARGET = 1.8
MEMORY_TARGET = 1.2
N_PAPER = 700_000_000  # words of the paper's Wikipedia


def parts(corpus: Corpus, topics: np.ndarray) -> dict[str, tuple[int, Callable]]:
    """The parts of a fit: how many words each reads, and what it does with a pool's threads."""
    sizes = NetworkConfig(K, K, EMBEDDING, HIDDEN)
    network, training = random_network(sizes, 0), TrainConfig(batch_size=64, window=64)
    lda_topics = init_of(corpus)
    n_trained = int(corpus.offsets[TRAINED])

    def lda(pool: object, workers: Workers) -> None:
        state = lda_topics()
        sampler = samplers.get(workers.size) or sampler_of(state, workers)
        samplers[workers.size] = sampler
        next_state(state, sampler, pool)

    samplers: dict[int, object] = {}

    def se_step(pool: object, workers: Workers) -> None:
        config = MHConfig(bfloat16=True)
        mh_sweep(network, corpus, topics.copy(), BETA, config, seed=0, key=(0,), pool=pool)

    def m_step(bfloat16: bool, pool: object, workers: Workers) -> None:
        trained = Network(sizes, torch_stream(0, 0))
        train_epoch(
            trained,
            adam(trained, training, bfloat16),
            topics[:n_trained],
            topics[:n_trained],
            corpus.offsets[: TRAINED + 1],
            training,
            0,
            (0,),
            pool,
            bfloat16=bfloat16,
        )

    return {
        "LDA sweep": (corpus.n_tokens, lda),
        SE_STEP: (corpus.n_tokens, se_step),
        **{f"M-step, {name}": (n_trained, partial(m_step, bits)) for name, bits in PRECISIONS},
    }


def init_of(corpus: Corpus) -> Callable:
    """The state that a sweep of LDA begins with; α stays as it is."""
    config = LDAConfig(K, beta=BETA, sampler="sparse", n_shards=2, alpha_every=0)
    return lambda: init_lda(corpus, config, 0)


def measure_parts(folder: Path, turns: int) -> None:
    """In every process: the costs of each part, alone and shared; the first prints them."""
    corpus = load_corpus(folder, verify=False)
    topics = (corpus.words.astype(np.int64) * 7 + stream(0).geometric(0.35, corpus.n_tokens)) % K
    topics = topics.astype(np.int32)
    with torchrun_workers() as workers:
        assert isinstance(workers, Processes)
        found = {}
        for name, (n_words, run) in parts(corpus, topics).items():
            alone, shared = [], []
            for turn in range(1 + turns):
                costs = (one_turn(run, ALONE, workers), one_turn(run, workers, workers))
                if turn:  # the first compiles, and lays the corpus out
                    alone.append(costs[0])
                    shared.append(costs[1])
            found[name] = [n_words, *map(middle, (alone, shared))]
        found["steps"] = time_of_steps(NetworkConfig(K, K, EMBEDDING, HIDDEN))
    if workers.is_first:
        print(json.dumps(found))


def one_turn(run: Callable, using: Workers, workers: Processes) -> list[float]:
    """Wall time, CPU time of the busier process and bytes sent; the first alone, or both."""
    workers.wait()
    sent = sum(workers.n_sent.values())
    start, cpu_start = time.perf_counter(), time.process_time()
    if using.size > 1 or workers.is_first:
        with thread_pool(1, using) as pool:
            run(pool, using)
    wall, cpu = time.perf_counter() - start, time.process_time() - cpu_start
    both = np.zeros((workers.size, 3))
    both[workers.rank] = wall, cpu, sum(workers.n_sent.values()) - sent
    workers.add_up(both)
    return both.max(axis=0).tolist()


def middle(turns: list[list[float]]) -> list[float]:
    """The median turn, entry by entry."""
    return [median(values) for values in zip(*turns, strict=True)]


def time_of_steps(sizes: NetworkConfig, bfloat16: bool = False) -> list[float]:
    """CPU seconds of Adam's step, and how many numbers a gradient has."""
    network = random_network(sizes, 0)
    optimizer, parameters = adam(network, TrainConfig(), bfloat16), list(network.parameters())
    for parameter in parameters:
        parameter.grad = torch.ones_like(parameter)
    torch.set_num_threads(1)
    optimizer.step()
    start = time.process_time()
    for _ in range(10):
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
    return [(time.process_time() - start) / 10, sum(p.numel() for p in parameters)]


def predicted(n_workers: int, se: float, m: float, adam_step: float, n_numbers: float) -> float:
    """Seconds of an iteration over the paper's corpus; `se` and `m` per word."""
    m_step = m_step_seconds(
        n_workers, n_tokens=N_PAPER, m=m, adam_step=adam_step, n_numbers=n_numbers
    )
    return m_step + se_step_seconds(n_workers, n_tokens=N_PAPER, se=se)


def start_processes(n: int, *arguments: str) -> str:
    """This file under torchrun, in `n` processes; what they print."""
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(n)]
    done = subprocess.run(
        [*torchrun, __file__, *arguments],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
    )
    return done.stdout


def speed(results: Results, n_documents: int, turns: int) -> None:
    """Rows of every part by wall and by CPU time, and what follows for more processes."""
    with tempfile.TemporaryDirectory() as folder:
        write_corpus(Path(folder) / "corpus", n_documents * LENGTH)
        results.progress("one process and two take turns")
        printed = start_processes(2, "--parts", f"{folder}/corpus", "--turns", str(turns))
    found = json.loads(printed.splitlines()[-1])
    adam_step, n_numbers = found.pop("steps")
    per_word = {
        name: (np.array(alone) / n_words, np.array(shared) / n_words)
        for name, (n_words, alone, shared) in found.items()
    }
    for precision, _ in PRECISIONS:
        together = zip(per_word[SE_STEP], per_word[f"M-step, {precision}"], strict=True)
        per_word[f"SE-step and M-step, {precision}"] = tuple(map(sum, together))
    for name, (alone, shared) in per_word.items():
        for clock, one, two in zip(("wall time", "CPU time"), alone, shared, strict=False):
            results.add(
                f"{name}, K=1,000, 2 processes, {clock}",
                "1 process, 1 thread",
                1 / two,
                1 / one,
                unit="words/s",
                target=TARGET,
                efficiency=one / two / 2,
                bytes_sent_per_word=shared[2],
            )
    for precision, _ in PRECISIONS:
        se, m = (per_word[part][0][1] for part in (SE_STEP, f"M-step, {precision}"))
        m -= adam_step / (2 * WINDOW_TOKENS)  # of a batch of 64 documents
        costs = {"se": se, "m": m, "adam_step": adam_step}
        one = predicted(1, **costs, n_numbers=n_numbers)
        for n in (8, 64, 512):
            many = predicted(n, **costs, n_numbers=n_numbers)
            n_steps = N_PAPER / (WINDOW_TOKENS * n)
            results.add(
                f"predicted: iteration of 0.7 billion words, {precision}, {n} processes",
                "1 process, 1 thread",
                N_PAPER / many,
                N_PAPER / one,
                unit="words/s",
                target=0.5 * n,
                efficiency=one / many / n,
                bytes_sent=2 * N_PAPER + n_steps * 8 * n_numbers * (n - 1) / n,
            )


# ---------------------------------------------------------------------------------- memory


def one_sweep(tiny: Path, folder: Path) -> None:
    """In every process: a sweep of LDA over a corpus that lies in files; its peak memory.

    A tiny corpus first has the libraries load what they keep, such as compiled kernels.
    """
    config = LDAConfig(K, beta=BETA, sampler="sparse", n_shards=2, alpha_every=0)

    def sweep(corpus: Corpus) -> None:
        state = init_lda(corpus, config, 0)
        next_state(state, sampler_of(state, workers), pool)

    with torchrun_workers() as workers, thread_pool(1, workers) as pool:
        sweep(load_corpus(tiny, verify=False))
        corpus = load_corpus(folder, verify=False)
        with peak_memory() as before:
            time.sleep(0.1)
        start = time.process_time()
        with peak_memory() as peak:
            sweep(corpus)
        seconds = time.process_time() - start
        print(
            json.dumps(
                {
                    "grown": peak[0] - before[0],
                    "whole": peak[0],
                    "resident": peak_resident(),
                    "cpu_seconds": seconds,
                    "n_documents": corpus.n_documents,
                }
            ),
            flush=True,
        )
        workers.wait()


def peak_resident() -> int:
    """Largest resident memory of this process so far, mapped files included."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    (line,) = [line for line in status.splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) * 1024


def memory(results: Results, folder: Path, n_tokens: int) -> None:
    """A sweep in two processes over a corpus of Zipf words, which is written unless it is there."""
    corpora = [folder / f"zipf{tokens}" for tokens in (100_000, n_tokens)]
    for tokens, corpus in zip((100_000, n_tokens), corpora, strict=True):
        if not corpus.exists():
            results.progress(f"writing {tokens:,} tokens")
            write_corpus(corpus, tokens)
    results.progress(f"a sweep over {n_tokens:,} tokens in 2 processes")
    lines = start_processes(2, "--sweep", *map(str, corpora)).splitlines()
    found = [json.loads(line) for line in lines if line.startswith("{")]
    worst = max(found, key=lambda of: of["grown"])
    model = lda_memory(n_tokens, worst["n_documents"], 2, 2)
    results.add(
        f"LDA sweep, {n_tokens:,} tokens, 2 processes, memory of one beside its libraries",
        "the model's prediction",
        worst["grown"] / 1e6,
        model / 1e6,
        unit="MB",
        target=MEMORY_TARGET,
        resident_with_mapped_files=worst["resident"],
        cpu_seconds=worst["cpu_seconds"],
    )


def main() -> None:
    """Speed, or memory; --parts and --sweep are what torchrun is given."""
    parser = argument_parser(__doc__)
    parser.add_argument("--memory", type=int, metavar="TOKENS", help="measure memory alone")
    parser.add_argument("--folder", type=Path, help="of the corpora for --memory")
    parser.add_argument("--parts", type=Path, help="used internally")
    parser.add_argument("--sweep", type=Path, nargs=2, help="used internally")
    parser.add_argument("--turns", type=int, default=5, help="of each way (default: 5)")
    options = parser.parse_args()
    if options.parts:
        measure_parts(options.parts, options.turns)
    elif options.sweep:
        one_sweep(*options.sweep)
    elif options.memory:
        with tempfile.TemporaryDirectory() as temporary:
            results = Results(options.out, keep=True)
            memory(results, options.folder or Path(temporary), options.memory)
    else:
        results = Results(options.out)
        speed(results, 256 if options.quick else 2000, 2 if options.quick else options.turns)
        with tempfile.TemporaryDirectory() as temporary:
            memory(results, Path(temporary), 2_000_000 if options.quick else 20_000_000)


if __name__ == "__main__":
    run_main(main)
