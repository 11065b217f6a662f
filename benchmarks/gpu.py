"""SE-step and M-step on a GPU, words a second beside the products they cannot avoid.

    python benchmarks/gpu.py [--device cuda] [--out FILE]

K = 1,000, H = 150, V = 50,000, 4,096 lanes. Without such a device it says so and measures nothing;
`--device cpu` rehearses the same code on a few documents.
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import torch
from m_step import CONFIG
from se_step import BETA, HIDDEN, N_WORDS, Row, row, sizes, synthetic

from lla.common.errors import InputError
from lla.common.threads import thread_pool
from lla.inference.device import N_LANES, dense_topics, find_device
from lla.inference.emission import SharedEmission
from lla.inference.gradient import train_epoch
from lla.peers.simulate import random_network

N_TOPICS = 1000


def timed(run: Callable[[], object], device: torch.device, repeats: int) -> float:
    """Median seconds, after one run that is not counted."""
    seconds = []
    for _ in range(1 + repeats):
        begun = time.perf_counter()
        run()
        if device.type == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - begun)
    return median(seconds[1:])


def product_rate(device: torch.device, lanes: int) -> float:
    """Words a second of the two products of an SE-step alone: recurrent, and over topics."""
    h = torch.randn(lanes, HIDDEN, device=device)
    recurrent = torch.randn(HIDDEN, 4 * HIDDEN, device=device)
    output = torch.randn(HIDDEN, N_TOPICS, device=device)

    def products() -> None:
        for _ in range(50):
            torch.mm(h, recurrent)
            torch.mm(h, output)

    return 50 * lanes / timed(products, device, 5)


def main() -> None:
    """Measure, and write the rows."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--out", type=Path, help="a JSON file for the rows")
    given = parser.parse_args()
    try:
        device = find_device(given.device)
    except InputError as error:
        print(f"{error}: speed on a GPU is not measured")
        return
    rehearsal = device.type == "cpu"
    lanes, length, repeats = (64, 8, 1) if rehearsal else (N_LANES, 500, 5)
    corpus, topics = synthetic(lanes, length, N_TOPICS)
    emission = SharedEmission.from_assignments(corpus.words, topics, N_WORDS, N_TOPICS, BETA)
    network = random_network(sizes(N_TOPICS), 0).to(device)
    optimizer = torch.optim.Adam(network.parameters(), lr=CONFIG.learning_rate)
    limit, ids, offsets = product_rate(device, lanes), topics, corpus.offsets
    rows: list[Row] = []
    se = timed(lambda: dense_topics(network, emission, corpus, seed=0, key=(0,)), device, repeats)
    case = f"SE-step K=1,000, {device.type}"
    rows.append(row(case, "its matrix products", len(ids) / se, limit, "words/s", 0.5))
    with thread_pool(1) as pool:
        for short in (False, True):
            spent = timed(
                lambda short=short: train_epoch(
                    *(network, optimizer, ids, ids, offsets, CONFIG, 0, (0,), pool), bfloat16=short
                ),
                device,
                repeats,
            )
            case = f"M-step epoch K=1,000, {device.type}, {'bfloat16' if short else 'float32'}"
            # Forward and backward: three times the products, and those of the inputs.
            rows.append(
                row(case, "its matrix products", len(ids) / spent, limit / 3, "words/s", 0.5)
            )
    if given.out and not rehearsal:
        given.out.parent.mkdir(parents=True, exist_ok=True)
        given.out.write_text(json.dumps(rows, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
