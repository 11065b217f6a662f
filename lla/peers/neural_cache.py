"""The neural cache of Grave, Joulin and Usunier (ICLR 2017), on a word LSTM that is fitted already.

    p(w_t = v) = (1 - λ) softmax(W_p s_t + b_p)[v] + λ Σ_i a_ti [w_i = v]
    a_ti ∝ exp(θ s_t · s_i),  i < t, at most `size` words back

The document's words so far come again, each as far as the state before it resembles the state now
(equations 3 to 5). `own_counts` is the other cache: it weighs earlier words by their age alone, and
needs no states. θ = 0 here is the cache of counts over the last `size` words.

As in the paper θ and λ are chosen on development documents, by a grid; the network is not trained
anew. Differences: λ is 0 before a document's first word, where the cache is empty; and a document
is a cache of its own, where theirs runs on over the whole text.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from lla.common.checkpoint import check_checkpoint, only_fit, resume_fit, save_fit
from lla.common.display import Configuration, Summarized
from lla.common.errors import (
    InputError,
    check_development,
    check_each,
    check_function,
    check_instance,
    check_integer,
    check_not_negative,
    check_seed,
    check_share,
)
from lla.common.progress import progress
from lla.corpus import Corpus, Split
from lla.evaluate import ScoreCallback, Size
from lla.inference.batch import input_columns
from lla.lstm import Network
from lla.model import Model

FLATNESS = (0.0, 0.03, 0.1, 0.3, 1.0, 3.0)
SHARES = tuple(np.linspace(0.0, 0.95, 20).round(2).tolist())
LOGITS = 2**21  # held at once


@dataclass(frozen=True, repr=False)
class NeuralCacheConfig(Configuration):
    """What is fixed in advance.

    Attributes
    ----------
    size : words that a cache holds at most; the paper tries 100 to 10,000
    """

    size: int = 2000

    def __post_init__(self) -> None:
        check_each(self, check_integer, "size")


@dataclass(frozen=True, repr=False)
class NeuralCache(Summarized):
    """A word LSTM with a neural cache.

    Attributes
    ----------
    model : the fitted word or character LSTM
    flatness : θ
    share : λ
    cache_size : words that a cache holds at most
    seconds : of the model's training and of this search
    history : empty; the model's own is at ``model.history``
    """

    model: Model
    flatness: float
    share: float
    cache_size: int = NeuralCacheConfig.size
    seconds: float = 0.0
    history: list[dict[str, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        _check_model(self.model)
        check_each(self, check_not_negative, "flatness")
        check_each(self, check_share, "share")
        check_each(self, check_integer, "cache_size")

    def summary_facts(self) -> dict[str, Any]:
        """The model's kind, and what was chosen."""
        return {"model": self.model.kind, "flatness": self.flatness, "share": self.share}

    def score(self, split: Split, *, seed: int = 0) -> np.ndarray:
        """log p(held-out words) of every document, each word given all before it, (D,) nats."""
        log_p = np.zeros(split.corpus.n_tokens)

        def look_up(positions: np.ndarray, rows: np.ndarray) -> None:
            came = rows[np.arange(len(rows)), split.corpus.words[positions]]
            log_p[positions] = np.log(came.astype(np.float64))

        self.next_items(split, look_up, seed=seed)
        return split.sum_held_out(log_p)

    def next_items(self, split: Split, on_scores: ScoreCallback, *, seed: int = 0) -> None:
        """Hand `on_scores` the probabilities (B, V), float32, of all held-out words."""
        check_instance("split", split, Split)
        check_function("on_scores", on_scores)
        n_words = split.corpus.n_words
        for part in read_parts(self.model.network, split):
            rows = part.logits.softmax(dim=1)  # (B, V)
            if self.share:
                weights = attention(part, self.flatness, self.cache_size)  # (B, T)
                cached = weights.new_zeros(len(rows), n_words)
                cached.index_add_(1, torch.from_numpy(part.words), weights)
                share = self.share * (weights.sum(dim=1, keepdim=True) > 0)
                rows = (1 - share) * rows + share * cached
            on_scores(part.positions, rows.numpy())

    def size(self) -> Size:
        """The model's, and two numbers."""
        size = self.model.size()
        return Size(size.network, size.phi + 2, size.n_bytes + 8)

    def fingerprint(self) -> str:
        """SHA-256 of all that predicts."""
        numbers = [self.flatness, self.share, self.cache_size]
        return hashlib.sha256(
            f"{self.model.fingerprint()}{json.dumps(numbers)}".encode()
        ).hexdigest()


class Part(NamedTuple):
    """Some held-out words of one document.

    Attributes
    ----------
    positions : (B,) in the corpus
    time : (B,) in the document
    logits : (B, V)
    states : (T, H) before each word of the document
    words : (T,) int64 of the document
    """

    positions: np.ndarray
    time: Tensor
    logits: Tensor
    states: Tensor
    words: np.ndarray


@torch.no_grad()
def read_parts(network: Network, split: Split) -> Iterator[Part]:
    """All held-out words, document by document."""
    corpus: Corpus = split.corpus
    step = max(1, LOGITS // corpus.n_words)
    documents = np.flatnonzero(split.n_held_out)
    for d in progress(documents, description="reading with a cache", unit="document"):
        ids = input_columns(corpus.words, corpus.offsets, np.array([d]), network.input.start)
        states = network.states(torch.from_numpy(ids))[0][:, 0]  # (T, H)
        words = corpus.document(int(d)).astype(np.int64)
        for first in range(int(split.n_observed[d]), len(words), step):
            time = torch.arange(first, min(first + step, len(words)))
            positions = int(corpus.offsets[d]) + time.numpy()
            yield Part(positions, time, network.output(states[time]), states, words)


def attention(part: Part, flatness: float, size: int) -> Tensor:
    """a_ti of every word of the document, (B, T); zeros where no word came before."""
    age = part.time[:, None] - torch.arange(len(part.states))  # (B, T)
    logits = flatness * (part.states[part.time] @ part.states.T)
    logits = logits.masked_fill((age < 1) | (age > size), -torch.inf)
    return logits.softmax(dim=1).nan_to_num()  # the first word has none before it


class Choice(NamedTuple):
    """θ and λ, and the mean of -log p over the development words with them, nats per word."""

    flatness: float
    share: float
    loss: float


def choose(network: Network, split: Split, size: int) -> Choice:
    """θ and λ of lowest perplexity on the development documents, among `FLATNESS` and `SHARES`."""
    development = split.restrict(split.development)
    of_vocabulary, of_cache, empty = [], [], []
    for part in read_parts(network, development):
        came = torch.from_numpy(part.words)[part.time]  # (B,)
        probability = part.logits.double().softmax(dim=1)
        of_vocabulary.append(probability.gather(1, came[:, None])[:, 0])
        same = came[:, None] == torch.from_numpy(part.words)  # (B, T)
        found = [(attention(part, theta, size) * same).sum(dim=1).double() for theta in FLATNESS]
        of_cache.append(torch.stack(found))
        empty.append(part.time == 0)
    vocabulary, cached = torch.cat(of_vocabulary).numpy(), torch.cat(of_cache, dim=1).numpy()
    no_cache = torch.cat(empty).numpy()
    choices = []
    for theta, of_theta in zip(FLATNESS, cached, strict=True):
        for share in SHARES:
            mixed = np.where(no_cache, vocabulary, (1 - share) * vocabulary + share * of_theta)
            choices.append(Choice(theta, share, -float(np.log(mixed).mean())))
    return min(choices, key=lambda choice: choice.loss)


def fit_neural_cache(
    split: Split,
    config: NeuralCacheConfig | None = None,
    seed: int = 0,
    *,
    start: Model,
    checkpoint: str | Path | None = None,
    on_iteration: None = None,
    n_threads: int | None = None,
) -> NeuralCache:
    """Choose θ and λ on the development documents' held-out words.

    Parameters
    ----------
    split : the one that the model was fitted to
    start : a fitted word or character LSTM
    checkpoint : file that keeps the choice, and that is read when it is there
    on_iteration : unused, as is `n_threads`

    Raises
    ------
    InputError
        When an argument is not what it should be, no development document has a held-out word, or
        the checkpoint cannot be written, is broken, or is of another fit.
    """
    check_instance("split", split, Split)
    config = NeuralCacheConfig() if config is None else config
    check_instance("config", config, NeuralCacheConfig)
    _check_model(start)
    seed = check_seed(seed)
    check_development(split)
    path = check_checkpoint(checkpoint)
    identity = {
        "kind": "neural_cache",
        "base": start.fingerprint(),
        **split.identity(),
        "config": asdict(config),
        "seed": seed,
    }
    if saved := resume_fit(path, identity):
        meta = saved[1]
        return NeuralCache(start, meta["flatness"], meta["share"], config.size, meta["seconds"])
    begin = perf_counter()
    with only_fit(path):
        choice = choose(start.network, split, config.size)
        seconds = start.seconds + perf_counter() - begin
        if path:
            meta = {**choice._asdict(), "seconds": seconds}
            save_fit(path, identity, {"loss": np.array([choice.loss])}, meta)
    return NeuralCache(start, choice.flatness, choice.share, config.size, seconds)


def _check_model(model: object) -> None:
    check_instance("model", model, Model)
    assert isinstance(model, Model)
    if model.emission is not None:
        raise InputError(f"model is a {model.kind}: give a word or character LSTM")
