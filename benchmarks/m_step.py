"""An epoch of the M-step beside `nn.LSTM` and the full softmax, as one writes them, in one run.

    python benchmarks/m_step.py [--quick] [--out FILE]

Both see the same documents of LDA-like topics, K = 1,000, H = 150, begin with the same weights and
take as many steps of Adam. The peer pads a batch, runs `nn.LSTM` and cross-entropy over windows of
as many tokens, and leaves the threads to Torch. Losses on unseen documents are compared over seeds
of weights and batches: noise is what they differ by from seed to seed.
"""

import argparse
import itertools
import json
import time
from pathlib import Path
from statistics import median

import numpy as np
import torch
from se_step import Row, row
from torch.nn import functional as F

from lla import lstm as characters
from lla.common.random import stream, torch_stream
from lla.common.threads import one_thread, thread_pool
from lla.corpus import Corpus
from lla.inference.gradient import PAD, SampledSoftmax, TrainConfig, adam, make_batches, train_epoch
from lla.lstm import Network, NetworkConfig, spell

N_TOPICS, HIDDEN, EMBEDDING, SAMPLES = 1000, 150, 50, 200
CONFIG = TrainConfig(batch_size=64, window=64)


def sequences(n_documents: int, seed: int = 0) -> tuple[Corpus, np.ndarray]:
    """Documents of 100 to 500 tokens whose topics mostly stay, then move to a neighbour."""
    draw = stream(seed, 99)
    lengths = draw.integers(100, 500, size=n_documents)
    documents = []
    for length in lengths:
        moves = np.where(draw.random(length) < 0.7, 0, draw.integers(-3, 4, size=length))
        documents.append((draw.integers(N_TOPICS) + np.cumsum(moves)) % N_TOPICS)
    corpus = Corpus.from_documents(documents, [f"z{k}" for k in range(N_TOPICS)])
    return corpus, corpus.words.astype(np.int32)


def begin(seed: int) -> Network:
    """The same weights for everyone."""
    sizes = NetworkConfig(N_TOPICS, N_TOPICS, EMBEDDING, HIDDEN)
    return Network(sizes, torch_stream(seed, 0))


class Peer:
    """The epoch as one writes it."""

    def __init__(self, corpus: Corpus, topics: np.ndarray, seed: int, n_threads: int):
        self.corpus, self.seed, self.n_threads = corpus, seed, n_threads
        self.ids = torch.from_numpy(topics.astype(np.int64))
        self.network = begin(seed)
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=CONFIG.learning_rate)

    def __call__(self, epoch: int) -> None:
        batches = make_batches(self.corpus.lengths, CONFIG.batch_size, stream(self.seed, epoch))
        torch.set_num_threads(self.n_threads)
        peer_epoch(self.network, self.optimizer, self.ids, self.corpus.offsets, batches)
        torch.set_num_threads(1)  # as `workers` left it: ours has its own threads


def peer_epoch(
    network: Network,
    optimizer: torch.optim.Adam,
    ids: torch.Tensor,
    offsets: np.ndarray,
    batches: list[np.ndarray],
) -> None:
    """A batch padded, `nn.LSTM` and cross-entropy over its windows."""
    start = network.input.start
    for batch in batches:
        spans = [ids[offsets[d] : offsets[d + 1]] for d in batch]
        targets = torch.nn.utils.rnn.pad_sequence(spans, padding_value=PAD)  # (T, B)
        inputs = torch.cat([torch.full_like(targets[:1], start), targets[:-1].clamp(min=0)])
        state = None
        for first in range(0, len(targets), CONFIG.window):
            x, y = (part[first : first + CONFIG.window] for part in (inputs, targets))
            states, state = network.lstm(network.input(x), state)
            state = tuple(part.detach() for part in state)
            logits = network.output(states)
            loss = F.cross_entropy(logits.flatten(0, 1), y.flatten(), ignore_index=PAD)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), CONFIG.clip)
            optimizer.step()


class Ours:
    """Our epoch: `train_epoch` with options, over all topics or a sample of them."""

    def __init__(
        self, pool, corpus: Corpus, topics: np.ndarray, seed: int, sampled: bool = False, **options
    ):
        self.pool, self.corpus, self.topics, self.more = pool, corpus, topics, options
        self.seed, self.network = seed, begin(seed)
        self.optimizer = adam(self.network, CONFIG, options.get("bfloat16", False))
        if sampled:
            made = SampledSoftmax.of_targets(topics, N_TOPICS, SAMPLES, "unigram")
            self.more = options | {"objective": made}

    def __call__(self, epoch: int) -> float:
        ids, offsets = self.topics, self.corpus.offsets
        return train_epoch(
            *(
                self.network,
                self.optimizer,
                ids,
                ids,
                offsets,
                CONFIG,
                self.seed,
                (epoch,),
                self.pool,
            ),
            **self.more,
        )


def full_loss(pool, run, corpus: Corpus, topics: np.ndarray) -> float:
    """Loss over all topics without a step: what every way of training is judged by."""

    class Still:
        def step(self) -> None:
            pass

    offsets = corpus.offsets
    return train_epoch(
        run.network, Still(), topics, topics, offsets, CONFIG, 1, (10**6,), pool, "scoring"
    )


def letters(n_words: int = 400, repeats: int = 9) -> Row:
    """Words read letter by letter, forward and back, on one thread: beside Torch's own packing."""
    draw = stream(1, 99)
    alphabet, lengths = list("etaoinshrdlu"), draw.integers(2, 13, size=n_words)
    words = ["".join(draw.choice(alphabet, size=n)) for n in lengths]
    sizes = NetworkConfig(n_words, N_TOPICS, EMBEDDING, HIDDEN, input="character")
    reader = Network(sizes, torch_stream(1, 0), spell(words, sizes.characters)).input
    ids, ours = torch.arange(n_words), characters._last_states
    times: dict[str, list[float]] = {"ours": [], "theirs": []}
    with one_thread():
        for _ in range(repeats):
            for name, way in (("ours", ours), ("theirs", characters._last_states_by_torch)):
                characters._last_states = way
                begun = time.perf_counter()
                reader.encode(ids).sum().backward()
                times[name].append(time.perf_counter() - begun)
    characters._last_states = ours
    speed = [n_words / median(spent) for spent in times.values()]
    case = f"{n_words} words read by letters, forward and back"
    return row(case, "nn.LSTM, packed sequences", *speed, "words/s", 1.0)


def main() -> None:
    """Run all cases and write the rows."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer documents and epochs")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, help="a JSON file for the rows")
    given = parser.parse_args()
    n_documents, epochs, seeds = (128, 2, (1,)) if given.quick else (512, 5, (1, 2, 3))
    corpus, topics = sequences(n_documents)
    unseen, unseen_topics = sequences(128, 1)
    times: dict[str, list[float]] = {}
    losses: dict[str, list[float]] = {}
    with thread_pool(given.threads) as pool:
        for seed in seeds:
            kept = (pool, corpus, topics, seed)
            runs = {
                "peer": Peer(*kept[1:], given.threads),
                "float32": Ours(*kept),
                "float32, packed windows": Ours(*kept, packed=True),
                "bfloat16": Ours(*kept, bfloat16=True),
                f"float32, packed windows, {SAMPLES} sampled topics": Ours(
                    *kept, sampled=True, packed=True
                ),
                f"bfloat16, {SAMPLES} sampled topics": Ours(*kept, sampled=True, bfloat16=True),
            }
            for epoch, (name, run) in itertools.product(range(epochs), runs.items()):
                begun = time.perf_counter()
                run(epoch)
                times.setdefault(name, []).append(time.perf_counter() - begun)
            for name, run in runs.items():
                loss = full_loss(pool, run, unseen, unseen_topics)
                losses.setdefault(name, []).append(loss)
    speed = {name: len(topics) / median(spent) for name, spent in times.items()}
    rows: list[Row] = []
    for name in list(runs)[1:]:
        case, peer = f"M-step epoch K=1,000, {name}", "nn.LSTM, full softmax"
        found = row(case, peer, speed[name], speed["peer"], "words/s", 2.0)
        print("  losses on unseen documents", losses[name], "the peer's", losses["peer"])
        rows.append(found | {"losses": losses[name], "peer_losses": losses["peer"]})
    rows.append(letters())
    if given.out:
        given.out.parent.mkdir(parents=True, exist_ok=True)
        given.out.write_text(json.dumps(rows, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
