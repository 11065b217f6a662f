"""Memory: bytes that a fit holds at most for each token more, and the curve over corpus sizes.

Run: python benchmarks/memory.py

Every size is fitted in a process of its own, from a corpus on disk, and the most memory that it
held noted, files that are mapped left out: those the system takes back when it needs the room. A
small one goes before them, so that none has kernels to compile, which takes more than a fit. The
slope of a line through the sizes is what an observed token costs, whatever Torch itself takes. The
sparse counts, a topic and a number a pair, are taken off and told.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import psutil

from lla.common.errors import InputError, run_main
from lla.common.files import write_json
from lla.common.progress import progress
from lla.common.random import stream
from lla.corpus import Corpus, CorpusWriter, load_corpus, split_corpus
from lla.lda import LDAConfig, fit_lda, init_lda
from lla.sem import SEMConfig, fit_sem

Row = dict[str, Any]
SIZES = (4_000_000, 12_000_000, 24_000_000)  # tokens
FIRST = 100_000  # tokens of the fit that compiles
LENGTH, N_WORDS, K, BETA = 500, 10_000, 100, 0.01
PAIR = {"LLA": 8, "LDA": 4}  # bytes of a sparse count, a topic and a number, as each stores it
AIM = 8.0  # bytes a token of words and topics together
LEAST = 2.0  # of topics alone
BLOCK = 2**20  # tokens written at once
# What is freed goes back to the system, not into a store of the C library (glibc) for later.
AT_ONCE = os.environ | {"MALLOC_MMAP_THRESHOLD_": "65536"}


def write_corpus(folder: Path, n_tokens: int) -> None:
    """Zipf words in documents of `LENGTH`, block after block."""
    draw, p = stream(0), 1 / np.arange(1, N_WORDS + 1)
    running = np.cumsum(p / p.sum())
    with CorpusWriter(folder, [f"w{w}" for w in range(N_WORDS)], {"source": "Zipf"}) as writer:
        for first in range(0, n_tokens, BLOCK // LENGTH * LENGTH):
            n = min(BLOCK // LENGTH * LENGTH, n_tokens - first)
            words = np.minimum(np.searchsorted(running, draw.random(n)), N_WORDS - 1)
            writer.add(words, np.full(n // LENGTH, LENGTH))


@contextmanager
def most_held() -> Iterator[list[int]]:
    """A list whose one number is the most bytes held so far, mapped files left out."""
    process, done, most = psutil.Process(), threading.Event(), [0]

    def look() -> None:
        while not done.wait(0.005):
            info = process.memory_info()
            most[0] = max(most[0], info.rss - getattr(info, "shared", 0))

    watcher = threading.Thread(target=look, daemon=True)
    watcher.start()
    try:
        yield most
    finally:
        done.set()
        watcher.join()


def fit(what: str, corpus: Corpus, folder: Path) -> Row:
    """One fit with its checkpoints: bytes held at most, and the pairs that it counts."""
    split = split_corpus(corpus, development=2000 / corpus.n_tokens)  # four documents
    lda = LDAConfig(K, beta=BETA, n_sweeps=2, alpha_from=1, alpha_every=1, sampler="sparse")
    with most_held() as most:
        if what == "LDA":
            file = folder / "lda.safetensors"
            topics = fit_lda(split, lda, 0, checkpoint=file, checkpoint_every=1).topics
        else:
            topics = init_lda(split.observed, lda, 0).topics
            options = {"embedding_size": 8, "hidden_size": 8, "batch_size": 64, "se_step": "mh"}
            options |= {"initial_epochs": 1, "n_iterations": 2}
            config = SEMConfig.from_options(n_topics=K, beta=BETA, **options)
            file = folder / "sem.safetensors"
            topics = fit_sem(split, config, 0, start=topics, checkpoint=file).topics
    pairs = int(np.minimum(split.observed.lengths, K).sum())  # of document and topic: LDA's room
    if what == "LLA":  # of word and topic
        pairs = len(np.unique(split.observed.words.astype(np.int64) * K + topics))
    return {"tokens": split.observed.n_tokens, "bytes": most[0], "pairs": pairs}


def curve(what: str, sizes: tuple[int, ...]) -> list[Row]:
    """A fit of each size, each in a process of its own."""
    points = []
    for n in progress((FIRST, *sizes), description=f"memory of {what}", unit="corpus"):
        with tempfile.TemporaryDirectory() as folder:
            write_corpus(Path(folder) / "corpus", n)
            command = [sys.executable, __file__, "--fit", what, "--folder", folder]
            done = subprocess.run(command, check=True, capture_output=True, text=True, env=AT_ONCE)
            points.append(json.loads(done.stdout.splitlines()[-1]))
        print(what, points[-1])
    return points[1:]


def row_of(what: str, points: list[Row]) -> Row:
    """Bytes an observed token from the slopes, its sparse counts taken off.

    Raises
    ------
    InputError
        When that is less than topics alone take: what was held was something else.
    """
    tokens = [point["tokens"] for point in points]
    slopes = (np.polyfit(tokens, [p[name] for p in points], 1)[0] for name in ("bytes", "pairs"))
    held, pairs = (float(slope) for slope in slopes)
    ours = held - PAIR[what] * pairs
    if ours < LEAST:
        raise InputError(
            f"memory of {what}: {ours:.1f} bytes a token, of which topics alone take {LEAST:.0f}: "
            "something else was measured; give other --sizes, larger or further apart"
        )
    case = f"memory of {what}, sparse counts ({PAIR[what] * pairs:.1f}) apart"
    numbers = {"ours": ours, "theirs": AIM, "unit": "bytes a token", "ratio": ours / AIM}
    return {"case": case, "peer": "the aim", **numbers, "reach": 1.0, "met": ours <= AIM}


def draw(curves: dict[str, list[Row]], file: Path) -> None:
    """Bytes beyond those of the smallest corpus over observed tokens, and the aim."""
    figure, ax = plt.subplots(figsize=(6, 4), layout="constrained")
    for what, points in curves.items():
        x = np.array([point["tokens"] for point in points]) / 1e6
        y = np.array([point["bytes"] - PAIR[what] * point["pairs"] for point in points]) / 1e6
        ax.plot(x, y - y[0], "o-", label=what)
    ax.plot(x, AIM * (x - x[0]), "k--", label=f"{AIM:.0f} bytes a token")
    ax.set(xlabel="observed tokens, millions", ylabel="MB beyond the smallest, counts apart")
    ax.legend(frameon=False)
    figure.savefig(file, dpi=110)


def main() -> None:
    """Run all sizes; write the rows and, beside them, the curve."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fit", help="one fit, of the corpus in --folder")
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="tokens")
    parser.add_argument("--out", type=Path, help="a JSON file for the rows")
    given = parser.parse_args()
    if given.fit:
        corpus = load_corpus(given.folder / "corpus", verify=False)
        print(json.dumps(fit(given.fit, corpus, given.folder)))
        return
    curves = {what: curve(what, tuple(given.sizes)) for what in ("LLA", "LDA")}
    rows = [row_of(what, points) for what, points in curves.items()]
    print(*rows, sep="\n")
    if given.out:
        write_json(given.out, rows)
        draw(curves, given.out.with_suffix(".png"))


if __name__ == "__main__":
    run_main(main)
