"""One epoch of the M-step against `nn.LSTM` and the full softmax, measured in one run.

    python benchmarks/m_step.py [--quick] [--threads N] [--out FILE]

Both train on the same documents of LDA-like topics, K = 1,000, H = 150, from the same weights, with
as many steps of Adam. The peer pads each batch, runs `nn.LSTM` and cross-entropy over windows of
the same length, and leaves threads to Torch. Losses on unseen documents are given per seed of
weights and batches: how they vary over seeds is the noise level.
"""

import itertools
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from statistics import median
from typing import Any

import numpy as np
import torch
from common import Results, argument_parser
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence

from lla.common.parallel import one_thread, thread_pool
from lla.common.random import stream, torch_stream
from lla.corpus import Corpus
from lla.inference.config import TrainConfig
from lla.inference.gradient import PAD, adam, make_batches, train_epoch
from lla.inference.objectives import SampledSoftmax
from lla.lstm import HAS_BFLOAT16, CharacterEmbedding, Network, NetworkConfig, spell

N_TOPICS, HIDDEN, EMBEDDING, N_SAMPLES = 1000, 150, 50, 200
CONFIG = TrainConfig(batch_size=64, window=64)


def topic_sequences(n_documents: int, seed: int = 0) -> tuple[Corpus, np.ndarray]:
    """Documents of 100 to 500 tokens whose topics mostly stay, or move to a neighbour."""
    rng = stream(seed, 99)
    lengths = rng.integers(100, 500, size=n_documents)
    documents = []
    for length in lengths:
        moves = np.where(rng.random(length) < 0.7, 0, rng.integers(-3, 4, size=length))
        documents.append((rng.integers(N_TOPICS) + np.cumsum(moves)) % N_TOPICS)
    corpus = Corpus.from_documents(documents, [f"z{k}" for k in range(N_TOPICS)])
    return corpus, corpus.words.astype(np.int32)


def initial_network(seed: int) -> Network:
    """The same initial weights for every implementation."""
    sizes = NetworkConfig(N_TOPICS, N_TOPICS, EMBEDDING, HIDDEN)
    return Network(sizes, torch_stream(seed, 0))


class Peer:
    """The epoch as textbooks write it."""

    def __init__(self, corpus: Corpus, topics: np.ndarray, seed: int, n_threads: int):
        self.corpus, self.seed, self.n_threads = corpus, seed, n_threads
        self.ids = torch.from_numpy(topics.astype(np.int64))
        self.network = initial_network(seed)
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=CONFIG.learning_rate)

    def __call__(self, epoch: int) -> None:
        batches = make_batches(self.corpus.lengths, CONFIG.batch_size, stream(self.seed, epoch))
        torch.set_num_threads(self.n_threads)
        for batch in batches:
            self.train_batch(batch)
        torch.set_num_threads(1)  # as `thread_pool` sets it: ours has threads of its own

    def train_batch(self, batch: np.ndarray) -> None:
        """A padded batch, `nn.LSTM` and cross-entropy over its windows."""
        offsets, network = self.corpus.offsets, self.network
        spans = [self.ids[offsets[d] : offsets[d + 1]] for d in batch]
        targets = torch.nn.utils.rnn.pad_sequence(spans, padding_value=PAD)  # (T, B)
        first_input = torch.full_like(targets[:1], network.input.start)
        inputs = torch.cat([first_input, targets[:-1].clamp(min=0)])
        state = None
        for first in range(0, len(targets), CONFIG.window):
            x, y = (part[first : first + CONFIG.window] for part in (inputs, targets))
            states, state = network.lstm(network.input(x), state)
            state = tuple(part.detach() for part in state)
            logits = network.output(states)
            loss = F.cross_entropy(logits.flatten(0, 1), y.flatten(), ignore_index=PAD)
            self.optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), CONFIG.clip)
            self.optimizer.step()


class Ours:
    """Our epoch: `train_epoch` with options, over all topics or a sample of them."""

    def __init__(
        self,
        pool: ThreadPoolExecutor,
        corpus: Corpus,
        topics: np.ndarray,
        seed: int,
        *,
        sampled: bool = False,
        bfloat16: bool = False,
    ):
        self.pool, self.corpus, self.topics, self.seed = pool, corpus, topics, seed
        self.network = initial_network(seed)
        self.optimizer = adam(self.network, CONFIG, bfloat16)
        self.options: dict[str, Any] = {"bfloat16": bfloat16}
        if sampled:
            self.options["objective"] = SampledSoftmax.of_targets(
                topics, N_TOPICS, N_SAMPLES, "unigram"
            )

    def __call__(self, epoch: int) -> float:
        return train_epoch(
            self.network,
            self.optimizer,
            self.topics,
            self.topics,
            self.corpus.offsets,
            CONFIG,
            self.seed,
            (epoch,),
            self.pool,
            **self.options,
        )


class NoStep:
    """An optimizer that changes nothing."""

    def step(self) -> None:
        pass


def full_loss(
    pool: ThreadPoolExecutor, network: Network, corpus: Corpus, topics: np.ndarray
) -> float:
    """Loss over all topics, without training: every variant is compared by this one."""
    return train_epoch(
        network,
        NoStep(),
        topics,
        topics,
        corpus.offsets,
        CONFIG,
        1,
        (10**6,),
        pool,
        description="scoring",
    )


def epochs(results: Results, n_documents: int, n_epochs: int, seeds: range, threads: int) -> None:
    """Words per second of an epoch of each variant, all taking turns, and their losses."""
    corpus, topics = topic_sequences(n_documents)
    unseen, unseen_topics = topic_sequences(128, 1)
    variants: dict[str, dict[str, bool]] = {
        "float32": {},
        "bfloat16": {"bfloat16": True},
        f"float32, {N_SAMPLES} sampled topics": {"sampled": True},
        f"bfloat16, {N_SAMPLES} sampled topics": {"sampled": True, "bfloat16": True},
    }
    if not HAS_BFLOAT16:
        results.progress("no rows in bfloat16, which this processor does not have")
        variants = {name: of for name, of in variants.items() if "bfloat16" not in of}
    seconds: dict[str, list[float]] = {name: [] for name in ("peer", *variants)}
    losses: dict[str, list[float]] = {name: [] for name in seconds}
    with thread_pool(threads) as pool:
        for seed in seeds:
            results.progress(f"{n_epochs} epochs of {len(topics):,} topics, seed {seed}")
            runs: dict[str, Any] = {"peer": Peer(corpus, topics, seed, threads)}
            for name, options in variants.items():
                runs[name] = Ours(pool, corpus, topics, seed, **options)
            for epoch, (name, run) in itertools.product(range(n_epochs), runs.items()):
                start = time.perf_counter()
                run(epoch)
                seconds[name].append(time.perf_counter() - start)
            for name, run in runs.items():
                losses[name].append(full_loss(pool, run.network, unseen, unseen_topics))
    speed = {name: len(topics) / median(spent) for name, spent in seconds.items()}
    for name in variants:
        results.add(
            f"M-step epoch K=1,000, {name}",
            "nn.LSTM, full softmax",
            speed[name],
            speed["peer"],
            unit="words/s",
            target=2.0,
            losses=losses[name],
            peer_losses=losses["peer"],
        )


def packed_words(encoder: CharacterEmbedding, words: torch.Tensor) -> torch.Tensor:
    """`encoder.encode` by `nn.LSTM` on packed sequences."""
    lengths, order = encoder.lengths[words].sort(descending=True, stable=True)
    letters = F.embedding(encoder.characters[words[order], : lengths[0]].T, encoder.weight)
    _, (h, _) = encoder.lstm(pack_padded_sequence(letters, lengths))  # (2, U, H_c)
    sums = torch.addmm(encoder.bias, h[0], encoder.combine_forward.T)
    sums = torch.addmm(sums, h[1], encoder.combine_backward.T)
    return sums.index_select(0, order.argsort())


def character_encoder(results: Results, n_words: int = 400, repeats: int = 9) -> None:
    """Words read letter by letter, forward and back, on one thread, against packed sequences."""
    results.progress("words read by letters")
    rng = stream(1, 99)
    alphabet, lengths = list("etaoinshrdlu"), rng.integers(2, 13, size=n_words)
    words = ["".join(rng.choice(alphabet, size=n)) for n in lengths]
    sizes = NetworkConfig(n_words, N_TOPICS, EMBEDDING, HIDDEN, input="character")
    encoder = Network(sizes, torch_stream(1, 0), spell(words, sizes.characters)).input
    ids = torch.arange(n_words)
    encoders = {"ours": encoder.encode, "theirs": partial(packed_words, encoder)}
    seconds: dict[str, list[float]] = {name: [] for name in encoders}
    with one_thread():
        for _ in range(repeats):
            for name, encode in encoders.items():
                start = time.perf_counter()
                encode(ids).sum().backward()
                seconds[name].append(time.perf_counter() - start)
    speed = {name: n_words / median(spent) for name, spent in seconds.items()}
    results.add(
        f"{n_words} words read by letters, forward and back",
        "nn.LSTM, packed sequences",
        speed["ours"],
        speed["theirs"],
        unit="words/s",
        target=1.0,
    )


def main() -> None:
    """Run all cases."""
    parser = argument_parser(__doc__)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    results = Results(options.out)
    character_encoder(results)
    if options.quick:
        epochs(results, n_documents=128, n_epochs=3, seeds=range(1, 2), threads=options.threads)
    else:
        epochs(results, n_documents=512, n_epochs=4, seeds=range(1, 4), threads=options.threads)


if __name__ == "__main__":
    main()
