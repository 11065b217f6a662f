"""SE-step and M-step on a GPU: words per second against the matrix products they cannot avoid.

    python benchmarks/gpu.py [--quick] [--device cuda] [--out FILE]

K = 1,000, H = 150, V = 50,000, 4,096 documents side by side. Without such a device nothing is
measured; `--device cpu` rehearses the same code on a few documents.
"""

from functools import partial

import torch
from common import Results, argument_parser, take_turns
from m_step import CONFIG
from se_step import BETA, HIDDEN, N_WORDS, network_config, precision, synthetic

from lla.common.errors import InputError
from lla.common.parallel import thread_pool
from lla.inference.device import N_LANES, dense_topics, find_device
from lla.inference.emission import SharedEmission
from lla.inference.gradient import train_epoch
from lla.peers.simulate import random_network

N_TOPICS, N_PRODUCTS = 1000, 50


def matrix_products(h: torch.Tensor, recurrent: torch.Tensor, output: torch.Tensor) -> None:
    """The two products of an SE-step alone: recurrent, and over topics."""
    for _ in range(N_PRODUCTS):
        torch.mm(h, recurrent)
        torch.mm(h, output)


def main() -> None:
    """Run all cases."""
    parser = argument_parser(__doc__)
    parser.add_argument("--device", default="cuda")
    options = parser.parse_args()
    try:
        device = find_device(options.device)
    except InputError as error:
        print(f"{error}: speed on a GPU is not measured")
        return
    rehearsal = device.type == "cpu"
    n_documents, length, repeats = (64, 8, 1) if rehearsal else (N_LANES, 500, 5)
    if options.quick and not rehearsal:
        length, repeats = 100, 3
    results = Results(None if rehearsal else options.out)
    wait = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    timed = partial(take_turns, repeats=repeats, after=wait)
    results.progress(f"{n_documents * length:,} tokens on {device}")
    corpus, topics = synthetic(n_documents, length, N_TOPICS)
    emission = SharedEmission.from_assignments(corpus.words, topics, N_WORDS, N_TOPICS, BETA)
    network = random_network(network_config(N_TOPICS), 0).to(device)
    optimizer = torch.optim.Adam(network.parameters(), lr=CONFIG.learning_rate)
    products, se_step = timed(
        partial(
            matrix_products,
            torch.randn(n_documents, HIDDEN, device=device),
            torch.randn(HIDDEN, 4 * HIDDEN, device=device),
            torch.randn(HIDDEN, N_TOPICS, device=device),
        ),
        partial(dense_topics, network, emission, corpus, seed=0, key=(0,)),
    )
    limit = N_PRODUCTS * n_documents / products
    case, peer = f"SE-step K=1,000, {device.type}", "its matrix products"
    results.add(case, peer, len(topics) / se_step, limit, unit="words/s", target=0.5)
    with thread_pool(1) as pool:
        for bfloat16 in (False, True):
            (epoch,) = timed(
                partial(
                    train_epoch,
                    network,
                    optimizer,
                    topics,
                    topics,
                    corpus.offsets,
                    CONFIG,
                    0,
                    (0,),
                    pool,
                    bfloat16=bfloat16,
                )
            )
            case = f"M-step epoch K=1,000, {device.type}, {precision(bfloat16)}"
            # Forward and backward: three times the products.
            results.add(case, peer, len(topics) / epoch, limit / 3, unit="words/s", target=0.5)


if __name__ == "__main__":
    main()
