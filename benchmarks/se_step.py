"""The SE-step by Metropolis-Hastings against straightforward loops, measured in one run.

    python benchmarks/se_step.py [--quick] [--cpu-time] [--threads N] [--only CASES] [--out FILE]

Speeds are medians over repeats that take turns. The costs that must not grow (with K, with the
number of documents) are compared with themselves, and the filtered SE-step under the personal
emission with that under the shared one.
"""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from common import Results, argument_parser, take_turns

from lla.common.parallel import thread_pool
from lla.common.random import stream
from lla.corpus import Corpus
from lla.inference.batch import ONE_DNN, LaneStates, Stepper
from lla.inference.config import SEMConfig
from lla.inference.emission import SharedEmission
from lla.inference.metropolis import MHConfig, mh_sweep
from lla.inference.state import initial_state
from lla.lstm import Network, NetworkConfig
from lla.peers.simulate import random_network
from lla.sem import se_steps

N_WORDS, HIDDEN, EMBEDDING, BETA = 50_000, 150, 50, 0.01
LANES = 1024  # documents that the loops read side by side
CHUNK = 2**17  # entries of a (lanes, K) table the dense loop handles at once: half a megabyte
ARTICLE = 500  # tokens of a document that repeats its own words


@dataclass(frozen=True)
class Settings:
    """How much is measured; `clock` counts seconds of wall time, or of CPU on a shared machine."""

    repeats: int
    length: int  # tokens of a document
    loop_steps: int  # tokens of a document that the loops read: their speed is the same for any
    corpus_growth: tuple[int, ...]  # multiples of the number of documents
    thread_turns: int  # of one thread and of two: two cores are seldom both free
    n_articles: int  # documents that repeat their own words
    n_threads: int
    clock: Callable[[], float]


def synthetic(n_documents: int, length: int, n_topics: int) -> tuple[Corpus, np.ndarray]:
    """Zipf words, and assignments in which a word has a few topics, as after LDA."""
    rng = stream(0, n_topics)
    return with_topics(zipf(rng, n_documents, length), n_topics, rng)


def zipf(rng: np.random.Generator, n_documents: int, length: int) -> np.ndarray:
    """Words, (n_documents, length)."""
    rank = 1 / np.arange(1, N_WORDS + 1)
    uniforms = rng.random((n_documents, length))
    return np.searchsorted(np.cumsum(rank / rank.sum()), uniforms).clip(max=N_WORDS - 1)


def with_topics(
    words: np.ndarray, n_topics: int, rng: np.random.Generator
) -> tuple[Corpus, np.ndarray]:
    """The corpus of words (n_documents, length), and assignments."""
    choice = rng.geometric(0.35, size=words.size)  # a word's first, second ... topic
    which = words.ravel() * 2_654_435_761 + choice * 40_503_007 + choice**3 * 104_729
    corpus = Corpus.from_documents(list(words), [f"w{w}" for w in range(N_WORDS)])
    return corpus, (which % n_topics).astype(np.int32)


def articles(n_documents: int, n_topics: int) -> tuple[Corpus, np.ndarray]:
    """Zipf words of which 45% repeat an earlier token of their document, and assignments."""
    rng = stream(1, n_topics)
    words, rows = zipf(rng, n_documents, ARTICLE), np.arange(n_documents)
    repeats, place = rng.random(words.shape) < 0.45, rng.random(words.shape)
    for t in range(1, ARTICLE):
        earlier = words[rows, (place[:, t] * t).astype(np.int64)]
        words[:, t] = np.where(repeats[:, t], earlier, words[:, t])
    return with_topics(words, n_topics, rng)


def network_config(n_topics: int) -> NetworkConfig:
    return NetworkConfig(n_topics, n_topics, EMBEDDING, HIDDEN)


@torch.no_grad()
def plain_loop(network: Network, phi: torch.Tensor, words: torch.Tensor) -> None:
    """The textbook loop: LSTMCell, softmax, multinomial; `words` (T, L)."""
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
    """The best loop without sparsity: our state update, no normaliser, chunks fit the cache."""
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


def on_threads(
    pool: ThreadPoolExecutor, n: int, words: torch.Tensor, run: Callable[[torch.Tensor, int], None]
) -> None:
    """`run(words, group)` for as many groups of lanes as there are threads."""
    tasks = [pool.submit(run, part, i) for i, part in enumerate(words.chunk(n, dim=1))]
    for task in wait(tasks).done:
        task.result()


def make_step(n_topics: int, n_documents: int, length: int, *, bfloat16: bool) -> Callable:
    """An SE-step on a synthetic corpus, as a function of the pool."""
    corpus, topics = synthetic(n_documents, length, n_topics)
    network, config = random_network(network_config(n_topics), 0), MHConfig(bfloat16=bfloat16)
    return lambda pool: mh_sweep(network, corpus, topics, BETA, config, seed=0, key=(0,), pool=pool)


def precision(bfloat16: bool) -> str:
    return "bfloat16" if bfloat16 else "float32"


def against_loops(
    results: Results, settings: Settings, n_topics: int, targets: dict[str, float]
) -> None:
    """Words per second, ours in both precisions against the loops that `targets` names."""
    results.progress(f"SE-step K={n_topics:,} against {', '.join(targets)}")
    steps = settings.loop_steps if n_topics < 5000 else max(5, settings.loop_steps // 5)
    corpus, topics = synthetic(LANES, settings.length, n_topics)
    words = torch.from_numpy(corpus.words.astype(np.int64)).view(LANES, -1).T[:steps].contiguous()
    network = random_network(network_config(n_topics), 0)
    stepper = Stepper(network)
    emission = SharedEmission.from_assignments(corpus.words, topics, N_WORDS, n_topics, BETA)
    phi, n = emission.phi, settings.n_threads
    with thread_pool(n) as pool:
        loops: dict[str, Callable[[torch.Tensor, int], None]] = {
            "dense loop": lambda part, group: dense_loop(stepper, phi, part, group),
            "plain loop": lambda part, _: plain_loop(network, phi, part),
        }
        peers = [partial(on_threads, pool, n, words, loops[name]) for name in targets]
        ours = [
            partial(make_step(n_topics, LANES, settings.length, bfloat16=bfloat16), pool)
            for bfloat16 in (False, True)
        ]
        seconds = take_turns(*ours, *peers, repeats=settings.repeats, clock=settings.clock)
        step = ours[0]()
    results.progress(f"acceptance {step.acceptance:.3f}, sparse share {step.sparse_share:.3f}")
    for bfloat16 in (False, True):
        speed = corpus.n_tokens / seconds[bfloat16]
        for (peer, target), spent in zip(targets.items(), seconds[2:], strict=True):
            case = f"SE-step K={n_topics:,}, {precision(bfloat16)}"
            results.add(case, peer, speed, words.numel() / spent, unit="words/s", target=target)


@torch.no_grad()
def state_update(results: Results, settings: Settings) -> None:
    """The state update against the bare product of states and recurrent weights, in place."""
    stepper, n, n_steps = Stepper(random_network(network_config(1000), 0)), 512, 100
    ids = torch.from_numpy(stream(1).integers(1000, size=(n_steps, n)))
    for bfloat16 in (False, True):
        lanes = LaneStates(stepper, n, bfloat16)
        kind = torch.bfloat16 if bfloat16 else torch.float32
        weights, h = stepper.recurrent.T.contiguous().to(kind), torch.randn(n, HIDDEN).to(kind)

        def products(h=h, weights=weights) -> None:
            for _ in range(n_steps):
                product(h, weights, None)

        def updates(lanes=lanes) -> None:
            for inputs in ids:
                lanes.advance(inputs)

        with thread_pool(1):
            ours, theirs = take_turns(
                updates, products, repeats=3 * settings.repeats, clock=settings.clock
            )
        case, speed = f"state update, {precision(bfloat16)}", ids.numel()
        results.add(
            case, "its matrix product", speed / ours, speed / theirs, unit="words/s", target=0.5
        )


def growth_with_topics(results: Results, settings: Settings) -> None:
    """Cost per word at K=10,000 against K=100."""
    results.progress("cost per word over K")
    n_documents, length = 2 * LANES, settings.length // 2
    with thread_pool(settings.n_threads) as pool:
        for bfloat16 in (False, True):
            few, many = take_turns(
                *(
                    partial(make_step(k, n_documents, length, bfloat16=bfloat16), pool)
                    for k in (100, 10_000)
                ),
                repeats=settings.repeats,
                clock=settings.clock,
            )
            micro = 1e6 / (n_documents * length)
            case = f"cost from K=100 to 10,000, {precision(bfloat16)}"
            results.add(case, "itself", micro * many, micro * few, unit="µs per word", target=1.5)


def growth_with_documents(results: Results, settings: Settings) -> None:
    """Cost per word with many documents against the cost with few."""
    results.progress("cost per word over the number of documents")
    length, multiples = 50, (1, *settings.corpus_growth)
    with thread_pool(settings.n_threads) as pool:
        seconds = take_turns(
            *(
                partial(make_step(1000, LANES * multiple, length, bfloat16=False), pool)
                for multiple in multiples
            ),
            repeats=3,
            clock=settings.clock,
        )
    costs = [
        1e6 * spent / (LANES * length * multiple)
        for spent, multiple in zip(seconds, multiples, strict=True)
    ]
    for multiple, cost in list(zip(multiples, costs, strict=True))[1:]:
        case = f"{multiple} times the documents"
        results.add(case, "itself", cost, costs[0], unit="µs per word", target=1.1)


def two_threads(results: Results, settings: Settings) -> None:
    """Two threads against one, in wall time."""
    results.progress("two threads against one")
    n_documents, length = 2 * LANES, settings.length // 2
    step = make_step(1000, n_documents, length, bfloat16=False)
    with thread_pool(1) as one, thread_pool(2) as two:
        ours, theirs = take_turns(
            partial(step, two), partial(step, one), repeats=settings.thread_turns
        )
    n = n_documents * length
    results.add("SE-step, 2 threads", "1 thread", n / ours, n / theirs, unit="words/s", target=1.8)


def personal_emission(results: Results, settings: Settings) -> None:
    """A filtered SE-step with tables and τ against one under the shared emission, K=100."""
    results.progress("filtered SE-step, personal emission against shared")
    corpus, topics = articles(settings.n_articles, 100)
    with thread_pool(settings.n_threads) as pool:
        steps = []
        for emission in ("personal", "shared"):
            config = SEMConfig(
                n_topics=100,
                beta=BETA,
                embedding_size=EMBEDDING,
                hidden_size=HIDDEN,
                se_step="filter",
                emission=emission,
                tau_per_topic=True,
            ).resolved()
            state = initial_state(corpus, topics, config, seed=0)
            state.network = random_network(network_config(100), 0)
            steps.append(partial(se_steps, state, corpus, config, 0, pool, None))
        ours, theirs = take_turns(*steps, repeats=settings.repeats, clock=settings.clock)
    micro, case = 1e6 / corpus.n_tokens, "filtered SE-step, personal emission"
    results.add(
        case, "shared emission", micro * ours, micro * theirs, unit="µs per word", target=1.5
    )


def loops(results: Results, settings: Settings) -> None:
    """Both numbers of topics against the loops."""
    against_loops(results, settings, 1000, {"plain loop": 12.0, "dense loop": 2.5})
    against_loops(results, settings, 10_000, {"dense loop": 15.0})


CASES: dict[str, Callable[[Results, Settings], None]] = {
    "loops": loops,
    "state": state_update,
    "topics": growth_with_topics,
    "documents": growth_with_documents,
    "threads": two_threads,
    "personal": personal_emission,
}


def main() -> None:
    """Run all cases, or some of them."""
    parser = argument_parser(__doc__)
    parser.add_argument("--cpu-time", action="store_true", help="for a machine that is shared")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument(
        "--only", nargs="+", choices=CASES, help="measure these; the file keeps its other rows"
    )
    options = parser.parse_args()
    settings = Settings(
        repeats=3 if options.quick else 5,
        length=80 if options.quick else 200,
        loop_steps=40 if options.quick else 100,
        corpus_growth=(10,) if options.quick else (10, 100),
        thread_turns=8 if options.quick else 20,
        n_articles=64 if options.quick else 256,
        n_threads=options.threads,
        clock=time.process_time if options.cpu_time else time.perf_counter,
    )
    results = Results(options.out, keep=options.only is not None)
    for name in options.only or CASES:
        CASES[name](results, settings)


if __name__ == "__main__":
    main()
