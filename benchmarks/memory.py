"""Memory: bytes per token that a fit adds to its peak, and the curve over corpus sizes.

    python benchmarks/memory.py [--quick] [--sizes N ...] [--out FILE]

Every size is fitted in a fresh process, from a corpus on disk, and its peak memory is recorded
without mapped files, which the system reclaims when it needs the space. A tiny corpus is fitted
first, since compiling the kernels takes more memory than a fit. The slope of a line through the
sizes is the cost of an observed token, whatever Torch itself takes. Sparse counts (a topic and a
number per pair) are subtracted and given apart.
"""

import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import psutil
from common import Results, argument_parser

from lla.common.errors import InputError, run_main
from lla.common.random import stream
from lla.corpus import Corpus, load_corpus, split_corpus
from lla.corpus.folder import CorpusWriter
from lla.lda import LDAConfig, fit_lda, init_lda
from lla.sem import SEMConfig, fit_sem

# Tokens. The topics kept for the end go to a file in a corpus of more than 7 million tokens, so
# smaller sizes would not lie on the same line.
SIZES, QUICK_SIZES = (8_000_000, 16_000_000, 24_000_000), (8_000_000, 12_000_000)
COMPILING_SIZE = 100_000  # tokens of the fit that compiles the kernels
LENGTH, N_WORDS, K, BETA = 500, 10_000, 100, 0.01
PAIR_BYTES = {"LLA": 8, "LDA": 4}  # of a sparse count, as each model stores it
TARGET = 8.0  # bytes per token, words and topics together
MIN_PLAUSIBLE = 2.0  # bytes per token of topics alone
BLOCK = 2**20  # tokens written at once
# glibc returns freed memory to the system at once instead of keeping it for later.
ENVIRONMENT = os.environ | {"MALLOC_MMAP_THRESHOLD_": "65536"}


@dataclass(frozen=True)
class Point:
    """One fit: its observed tokens, its peak in bytes, and the pairs that it counts."""

    tokens: int
    peak: int
    pairs: int


def write_corpus(folder: Path, n_tokens: int) -> None:
    """Zipf words in documents of `LENGTH`, written block by block."""
    rng, p = stream(0), 1 / np.arange(1, N_WORDS + 1)
    cumulative = np.cumsum(p / p.sum())
    with CorpusWriter(folder, [f"w{w}" for w in range(N_WORDS)], {"source": "Zipf"}) as writer:
        for first in range(0, n_tokens, BLOCK // LENGTH * LENGTH):
            n = min(BLOCK // LENGTH * LENGTH, n_tokens - first)
            words = np.minimum(np.searchsorted(cumulative, rng.random(n)), N_WORDS - 1)
            writer.add(words, np.full(n // LENGTH, LENGTH))


@contextmanager
def peak_memory() -> Iterator[list[int]]:
    """A list whose single entry is the peak so far in bytes, without mapped files."""
    process, done, peak = psutil.Process(), threading.Event(), [0]

    def watch() -> None:
        while not done.wait(0.005):
            info = process.memory_info()
            peak[0] = max(peak[0], info.rss - getattr(info, "shared", 0))

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield peak
    finally:
        done.set()
        watcher.join()


def fit(model: str, corpus: Corpus, folder: Path) -> Point:
    """One fit with its checkpoints."""
    split = split_corpus(corpus, development=2000 / corpus.n_tokens)  # four documents
    lda = LDAConfig(K, beta=BETA, n_sweeps=2, alpha_from=1, alpha_every=1, sampler="sparse")
    with peak_memory() as peak:
        if model == "LDA":
            file = folder / "lda.safetensors"
            topics = fit_lda(split, lda, 0, checkpoint=file, checkpoint_every=1).topics
        else:
            topics = init_lda(split.observed, lda, 0).topics
            options = {"embedding_size": 8, "hidden_size": 8, "batch_size": 256, "se_step": "mh"}
            options |= {"initial_epochs": 1, "n_iterations": 2}
            config = SEMConfig(n_topics=K, beta=BETA, **options)
            file = folder / "sem.safetensors"
            topics = fit_sem(split, config, 0, start=topics, checkpoint=file).topics
    if model == "LDA":  # pairs of document and topic, for which room is set aside
        pairs = int(np.minimum(split.observed.lengths, K).sum())
    else:  # of word and topic
        pairs = len(np.unique(split.observed.words.astype(np.int64) * K + topics))
    return Point(split.observed.n_tokens, peak[0], pairs)


def measure(model: str, n_tokens: int) -> Point:
    """`fit` in a fresh process, on a corpus in a temporary folder."""
    with tempfile.TemporaryDirectory() as folder:
        write_corpus(Path(folder) / "corpus", n_tokens)
        command = [sys.executable, __file__, "--fit", model, "--folder", folder]
        done = subprocess.run(
            command, check=True, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT
        )
        return Point(**json.loads(done.stdout.splitlines()[-1]))


def curve(results: Results, model: str, sizes: Sequence[int]) -> list[Point]:
    """A fit of each size; the first, tiny one only compiles."""
    measure(model, COMPILING_SIZE)
    points = []
    for n_tokens in sizes:
        results.progress(f"{model}: a corpus of {n_tokens:,} tokens")
        points.append(measure(model, n_tokens))
        results.progress(f"  {points[-1].tokens:,} observed, peak {points[-1].peak / 1e6:.0f} MB")
    return points


def bytes_per_token(model: str, points: list[Point]) -> tuple[float, float]:
    """Slopes over the observed tokens: of the peak without sparse counts, and of those counts.

    Raises
    ------
    InputError
        When the first is less than topics alone take: something else was measured.
    """
    tokens = [point.tokens for point in points]
    peak = float(np.polyfit(tokens, [point.peak for point in points], 1)[0])
    counts = PAIR_BYTES[model] * float(np.polyfit(tokens, [point.pairs for point in points], 1)[0])
    if peak - counts < MIN_PLAUSIBLE:
        raise InputError(
            f"memory of {model}: {peak - counts:.1f} bytes per token, of which topics alone take "
            f"{MIN_PLAUSIBLE:.0f}: something else was measured; give larger --sizes, or sizes "
            "further apart"
        )
    return peak - counts, counts


def draw(curves: dict[str, list[Point]], file: Path) -> None:
    """Bytes beyond those of the smallest corpus over observed tokens, and the target."""
    figure, ax = plt.subplots(figsize=(6, 4), layout="constrained")
    for model, points in curves.items():
        x = np.array([point.tokens for point in points]) / 1e6
        y = np.array([p.peak - PAIR_BYTES[model] * p.pairs for p in points]) / 1e6
        ax.plot(x, y - y[0], "o-", label=model)
    ax.plot(x, TARGET * (x - x[0]), "k--", label=f"{TARGET:.0f} bytes per token")
    ax.set(xlabel="observed tokens, millions", ylabel="MB above the smallest, without counts")
    ax.legend(frameon=False)
    figure.savefig(file, dpi=110)
    plt.close(figure)


def main() -> None:
    """Fit all sizes; write the rows and, beside them, the curve."""
    parser = argument_parser(__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", help="tokens")
    parser.add_argument("--fit", choices=sorted(PAIR_BYTES), help="one fit, used internally")
    parser.add_argument("--folder", type=Path, help="of the corpus for --fit")
    options = parser.parse_args()
    if options.fit:
        corpus = load_corpus(options.folder / "corpus", verify=False)
        print(json.dumps(vars(fit(options.fit, corpus, options.folder))))
        return
    sizes = options.sizes or (QUICK_SIZES if options.quick else SIZES)
    results, curves = Results(options.out), {}
    for model in PAIR_BYTES:
        curves[model] = curve(results, model, sizes)
        ours, counts = bytes_per_token(model, curves[model])
        case = f"memory of {model}, without sparse counts ({counts:.1f})"
        results.add(case, "the target", ours, TARGET, unit="bytes per token", target=1.0)
        if options.out:
            draw(curves, options.out.with_suffix(".png"))


if __name__ == "__main__":
    run_main(main)
