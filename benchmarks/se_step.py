"""The SE-step by Metropolis-Hastings beside what one would write without it, in one run.

    python benchmarks/se_step.py [--quick] [--cpu-time] [--threads N] [--out FILE]

A row a case: ours and theirs are medians over repeats that take turns; `ratio` is ours over theirs
of words a second, or the growth of a cost, and `met` says whether it is on the right side of
`reach`.
"""

import argparse
import json
import math
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
import torch

from lla.common.random import stream
from lla.common.threads import thread_pool
from lla.corpus import Corpus
from lla.inference.emission import SharedEmission
from lla.inference.metropolis import MHConfig, mh_sweep
from lla.inference.stepper import LaneStates, Stepper
from lla.lstm import ONE_DNN, Network, NetworkConfig
from lla.peers.simulate import random_network

N_WORDS, HIDDEN, EMBEDDING, BETA, LANES = 50_000, 150, 50, 0.01, 1024
CHUNK = 2**17  # numbers of a (lanes, K) table that the dense loop handles at once: half a megabyte
Row = dict[str, str | float | bool]


@dataclass(frozen=True)
class Settings:
    """How long and how often: `clock` is seconds of the wall, or of the process on its cores."""

    repeats: int
    length: int
    most: int
    n_threads: int
    clock: Callable[[], float]


def synthetic(n_documents: int, length: int, n_topics: int) -> tuple[Corpus, np.ndarray]:
    """Zipf words, and assignments in which a word has a few topics, as after LDA."""
    draw, n = stream(0, n_topics), n_documents * length
    rank = 1 / np.arange(1, N_WORDS + 1)
    words = np.searchsorted(np.cumsum(rank / rank.sum()), draw.random(n)).clip(max=N_WORDS - 1)
    place = draw.geometric(0.35, size=n)  # a word's first, second ... topic
    topics = (words * 2_654_435_761 + place * 40_503_007 + place**3 * 104_729) % n_topics
    documents = words.reshape(n_documents, length)
    corpus = Corpus.from_documents(list(documents), [f"w{w}" for w in range(N_WORDS)])
    return corpus, topics.astype(np.int32)


def sizes(n_topics: int) -> NetworkConfig:
    return NetworkConfig(n_topics, n_topics, EMBEDDING, HIDDEN)


@torch.no_grad()
def plain_loop(network: Network, phi: torch.Tensor, words: torch.Tensor) -> None:
    """What one writes first: LSTMCell, softmax, multinomial; `words` (T, L)."""
    cell = torch.nn.LSTMCell(EMBEDDING, HIDDEN)
    h = c = torch.zeros(words.shape[1], HIDDEN)
    topics = torch.full(words.shape[1:], network.input.start)
    for word in words:
        h, c = cell(network.input(topics), (h, c))
        theta = network.output(h).softmax(dim=1)
        topics = torch.multinomial(theta * phi[word], 1)[:, 0]


def product(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    """x W' + b by the faster library, as in our own state update."""
    if ONE_DNN:
        return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
    return torch.nn.functional.linear(x, weight, bias)


@torch.no_grad()
def dense_loop(stepper: Stepper, phi: torch.Tensor, words: torch.Tensor, seed: int) -> None:
    """The best without sparsity: our state update, no normaliser, and chunks that stay in cache."""
    n_topics, n_lanes = stepper.output.shape[1], words.shape[1]
    size = max(16, min(n_lanes, CHUNK // n_topics))
    lanes, generator = LaneStates(stepper, n_lanes), torch.Generator().manual_seed(seed)
    weight, row = stepper.output.T.contiguous(), torch.empty(size, n_topics)
    states = torch.empty(size, HIDDEN)  # without gaps: the product is faster so, copy included
    topics = torch.full((n_lanes,), stepper.start)
    for word in words:
        lanes.advance(topics)
        uniforms = torch.rand(n_lanes, 1, generator=generator)
        for first in range(0, n_lanes, size):
            part = slice(first, min(first + size, n_lanes))
            b = row[: part.stop - first]
            h = states[: len(b)].copy_(lanes.h[part])
            a = product(h, weight, stepper.bias).exp_()
            torch.index_select(phi, 0, word[part], out=b)
            torch.cumsum(a.mul_(b), dim=1, out=b)
            found = torch.searchsorted(b, uniforms[part] * b[:, -1:], right=True)
            topics[part] = found[:, 0].clamp_(max=n_topics - 1)


def on_threads(pool: ThreadPoolExecutor, n: int, words: torch.Tensor, run: Callable) -> None:
    """`run(words, piece)` for as many groups of lanes as there are threads."""
    tasks = [pool.submit(run, part, i) for i, part in enumerate(words.chunk(n, dim=1))]
    for task in wait(tasks).done:
        task.result()


def race(settings: Settings, *runs: Callable[[], object]) -> list[float]:
    """Median seconds of each; they take turns, so that what else the machine does hits them all."""
    for run in runs:
        run()
    seconds: list[list[float]] = [[] for _ in runs]
    for _ in range(settings.repeats):
        for run, kept in zip(runs, seconds, strict=True):
            begun = settings.clock()
            run()
            kept.append(settings.clock() - begun)
    return [median(kept) for kept in seconds]


def row(case: str, peer: str, ours: float, theirs: float, unit: str, reach: float) -> Row:
    """More is better where the reach is above what a cost may grow by, else less is."""
    growth = unit == "µs a word"
    ratio = ours / theirs
    met = ratio <= reach if growth else ratio >= reach
    numbers = {"ours": ours, "theirs": theirs, "unit": unit, "ratio": ratio, "reach": reach}
    print(f"{case} | {peer} | {ours:,.2f} {theirs:,.2f} {unit} | {ratio:.2f} (reach {reach}) {met}")
    return {"case": case, "peer": peer, **numbers, "met": met}


def mover(n_topics: int, n_documents: int, length: int, short: bool) -> Callable:
    """An SE-step on a synthetic corpus, as a function of the pool."""
    corpus, topics = synthetic(n_documents, length, n_topics)
    network, config = random_network(sizes(n_topics), 0), MHConfig(bfloat16=short)
    return lambda pool: mh_sweep(network, corpus, topics, BETA, config, seed=0, key=(0,), pool=pool)


def precision(short: bool) -> str:
    return "bfloat16" if short else "float32"


def against_loops(settings: Settings, n_topics: int, reaches: dict[str, float]) -> list[Row]:
    """Words a second, ours in both precisions beside the loops that `reaches` names."""
    length = settings.length if n_topics < 5000 else max(5, settings.length // 5)
    corpus, topics = synthetic(LANES, settings.length, n_topics)
    words = torch.from_numpy(corpus.words.astype(np.int64)).view(LANES, -1).T[:length].contiguous()
    network = random_network(sizes(n_topics), 0)
    stepper, rows = Stepper(network), []
    emission = SharedEmission.from_assignments(corpus.words, topics, N_WORDS, n_topics, BETA)
    phi, n = emission.phi, settings.n_threads
    with thread_pool(n) as pool:

        def dense() -> None:
            on_threads(pool, n, words, lambda part, i: dense_loop(stepper, phi, part, i))

        def plain() -> None:
            on_threads(pool, n, words, lambda part, _: plain_loop(network, phi, part))

        peers = {"dense loop": dense, "plain loop": plain}
        ours = [mover(n_topics, LANES, settings.length, short) for short in (False, True)]
        runs = [lambda run=run: run(pool) for run in ours]
        seconds = race(settings, *runs, *(peers[name] for name in reaches))
        moved = ours[0](pool)
    print(f"K={n_topics}: acceptance {moved.acceptance:.3f}, sparse share {moved.sparse_share:.3f}")
    for short in (False, True):
        speed = corpus.n_tokens / seconds[short]
        for (peer, reach), theirs in zip(reaches.items(), seconds[2:], strict=True):
            case = f"SE-step K={n_topics:,}, {precision(short)}"
            rows.append(row(case, peer, speed, words.numel() / theirs, "words/s", reach))
    return rows


@torch.no_grad()
def state_update(settings: Settings) -> list[Row]:
    """The state update beside the bare product of states and recurrent weights, in place."""
    stepper, rows, n, steps = Stepper(random_network(sizes(1000), 0)), [], 512, 100
    ids = torch.from_numpy(stream(1).integers(1000, size=(steps, n)))
    for short in (False, True):
        lanes, kind = LaneStates(stepper, n, short), torch.bfloat16 if short else torch.float32
        weights, h = stepper.recurrent.T.contiguous().to(kind), torch.randn(n, HIDDEN).to(kind)

        def products(h=h, weights=weights) -> None:
            for _ in range(steps):
                product(h, weights, None)

        def moves(lanes=lanes) -> None:
            for inputs in ids:
                lanes.advance(inputs)

        with thread_pool(1):
            ours, theirs = race(settings, moves, products)
        case, speed = f"state update, {precision(short)}", ids.numel()
        rows.append(row(case, "its matrix product", speed / ours, speed / theirs, "words/s", 0.5))
    return rows


def growth(settings: Settings) -> list[Row]:
    """Cost a word: K, the number of documents, and threads, each against itself."""
    rows, micro = [], 1e6
    with thread_pool(settings.n_threads) as pool:
        for short in (False, True):
            few, many = (mover(k, 4 * LANES, settings.length, short) for k in (100, 10_000))
            times = race(settings, lambda run=few: run(pool), lambda run=many: run(pool))
            a, b = (micro * x / (4 * LANES * settings.length) for x in times)
            case = f"cost from K=100 to 10,000, {precision(short)}"
            rows.append(row(case, "itself", b, a, "µs a word", 1.5))
        counts = [10**i for i in range(1 + round(math.log10(settings.most)))]
        runs = [mover(1000, LANES * n, settings.length, False) for n in counts]
        times = race(settings, *(lambda run=run: run(pool) for run in runs))
        costs = [
            micro * x / (LANES * settings.length * n) for x, n in zip(times, counts, strict=True)
        ]
        for n, cost in list(zip(counts, costs, strict=True))[1:]:
            rows.append(row(f"{n} times the documents", "itself", cost, costs[0], "µs a word", 1.1))
    return rows


def threads(settings: Settings) -> list[Row]:
    """Two threads against one, on the clock of the wall."""
    run, n = mover(1000, 2 * LANES, settings.length, False), 2 * LANES * settings.length
    with thread_pool(1) as one, thread_pool(2) as two:
        times = race(settings, lambda: run(two), lambda: run(one))
    ours, theirs = (n / x for x in times)
    return [row("SE-step, 2 threads", "1 thread", ours, theirs, "words/s", 1.8)]


def main() -> None:
    """Run all cases and write the rows."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer repeats and documents")
    parser.add_argument("--cpu-time", action="store_true", help="for a machine that is shared")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, help="a JSON file for the rows")
    given = parser.parse_args()
    clock = time.process_time if given.cpu_time else time.perf_counter
    if given.quick:
        settings = Settings(3, 100, 10, given.threads, clock)
    else:
        settings = Settings(5, 200, 100, given.threads, clock)
    rows = against_loops(settings, 1000, {"plain loop": 12.0, "dense loop": 2.5})
    rows += against_loops(settings, 10_000, {"dense loop": 15.0})
    rows += state_update(settings)
    rows += growth(settings)
    # Two cores are seldom both at rest: more repeats.
    rows += threads(Settings(8 * settings.repeats, settings.length, 1, 2, time.perf_counter))
    if given.out:
        given.out.parent.mkdir(parents=True, exist_ok=True)
        given.out.write_text(json.dumps(rows, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
