"""The word LSTM with LLA's sources under the same gate: what topics add is measured against it.

    p(w_t | w_<t) = π_0 softmax(W_p s_t + b_p)[w_t] + Σ_j π_j p_j(w_t | w_<t)
    π = softmax of S + 1 more logits of the state s_t

The sources are those of topic LLA (`lla.inference.emission.sources`), with the same counts and
smoothing. In training each token's own contribution to the counts is left out, and that of the
later tokens of its document. There is no latent topic, so log p(w) is exact, and it is what the
gradient climbs: the softmax over the vocabulary is never sampled. In the first epochs the softmax
learns all words by itself, as LLA's first pass learns LDA's topics: otherwise the sources explain
most words before it has learned any, and it learns slowly what is left to it.

Concentrations and half-life are learned as LLA's are, by the M-step of `source_fit`, from how far
each source produced each token; that is read off during the pass (one incremental E-step per
epoch), where LLA draws it. They start where expectation maximisation ends beside the unigram alone.
"""

import hashlib
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lla.common.checkpoint import WARM_UP, best_iteration
from lla.common.errors import InputError, check_choice, check_each, check_integer, check_texts
from lla.common.parallel import thread_pool
from lla.common.random import family_stream, torch_stream
from lla.corpus import Corpus, Split
from lla.evaluate import ScoreCallback, Size
from lla.evaluate.perplexity import one_at_a_time
from lla.inference.config import SOURCES
from lla.inference.emission.source_emission import add_to_scores
from lla.inference.emission.source_fit import draw_initial, fit_parameters, token_probabilities
from lla.inference.emission.sources import SMOOTHING, SourceParameters, Sources
from lla.inference.gradient import train_epoch
from lla.lstm import IdEmbedding, Network, NetworkConfig, SoftmaxOutput, State
from lla.peers.iterations import check_arguments
from lla.peers.sequence import FittedSequence, SequenceConfig, predict_held_out
from lla.peers.training import WEIGHTS, TrainingState, fit_epochs, initial_state

NAME = "word_lstm_sources"


@dataclass(frozen=True, repr=False)
class SourceLSTMConfig(SequenceConfig):
    """Everything a fit depends on but the seed.

    Attributes
    ----------
    embedding_size, hidden_size : E and H
    initial_epochs : in which the softmax learns by itself (see `SourceMixture`); their loss is of
        both, the mixture's and the softmax's
    sources : of "next", "own_next" and "recent", one at least
    """

    embedding_size: int = 50
    hidden_size: int = 150
    window: int = 64
    initial_epochs: int = 10
    sources: tuple[str, ...] = SOURCES

    def __post_init__(self) -> None:
        super().__post_init__()
        check_each(self, check_integer, "embedding_size", "hidden_size")
        check_each(self, check_integer, "initial_epochs", least=0)
        if self.n_samples:
            raise InputError(
                f"n_samples is {self.n_samples}: the mixture with sources needs the whole softmax; "
                "give n_samples 0"
            )
        if isinstance(self.sources, str):
            raise InputError(f"sources is {self.sources!r}: give a list of names, such as ['next']")
        names = check_texts("sources", self.sources)
        for name in names:
            check_choice("sources", name, choices=SOURCES)
        if not names or len({*names}) < len(names):
            raise InputError(f"sources: {', '.join(names) or 'none'}; name one or more, each once")
        object.__setattr__(self, "sources", names)


class SourceLSTM(nn.Module):
    """The word LSTM of Table 1 with 1 + S more outputs, the gate; weights are from `generator`."""

    def __init__(self, config: SourceLSTMConfig, n_words: int, generator: torch.Generator) -> None:
        super().__init__()
        self.config, n_sources = config, len(config.sources)
        sizes = NetworkConfig(
            n_inputs=n_words,
            n_outputs=n_words + n_sources,
            embedding_size=config.embedding_size,
            hidden_size=config.hidden_size,
            dropout=config.dropout,
            input="word",
            n_sources=n_sources,
        )
        self.lstm = Network(sizes, generator)

    @property
    def input(self) -> IdEmbedding:
        """The words' embedding."""
        assert isinstance(self.lstm.input, IdEmbedding)
        return self.lstm.input

    @property
    def output(self) -> SoftmaxOutput:
        """Logits (..., V + 1 + S): of the words, then of the gate."""
        return self.lstm.output

    def states(
        self, ids: Tensor, state: State | None = None, generator: torch.Generator | None = None
    ) -> tuple[Tensor, State]:
        """See `lla.lstm.Network.states`."""
        return self.lstm.states(ids, state, generator)


def log_joint(
    logits: Tensor, words: Tensor, log_sources: Tensor, apart: bool = False
) -> tuple[Tensor, Tensor]:
    """log of π_0 softmax[w] and of π_j p_j(w) of M words, (M, 1 + S); and log softmax[w], (M,).

    Parameters
    ----------
    logits : (M, V + 1 + S)
    words : (M,) ids
    log_sources : (M, S) log p_j(w)
    apart : the first is of the softmax as it stands: no gradient reaches it from there
    """
    n_words = logits.shape[1] - 1 - log_sources.shape[1]
    log_word = -F.cross_entropy(logits[:, :n_words], words, reduction="none")
    log_gate = logits[:, n_words:].log_softmax(dim=1)
    first = log_word.detach() if apart else log_word
    return log_gate + torch.cat([first[:, None], log_sources], dim=1), log_word


@dataclass(frozen=True)
class SourceMixture:
    """The objective -Σ log p(w_t | w_<t); its targets are the tokens' positions.

    Attributes
    ----------
    words : (N,) int64 of all tokens
    log_sources : (N, S) log p_j(w_t)
    responsibility : (N, S) float64, filled as tokens are read: p(source j | w_1, ..., w_t)
    apart : add -Σ log softmax[w_t], and leave the softmax out of the gradient of the mixture
    """

    words: Tensor
    log_sources: Tensor
    responsibility: np.ndarray
    apart: bool = False

    @classmethod
    def of_corpus(cls, observed: Corpus, sources: Sources, apart: bool = False) -> "SourceMixture":
        """Of the corpus that the sources were counted from."""
        p = token_probabilities(observed, sources)
        words = torch.from_numpy(observed.words.astype(np.int64))
        return cls(words, torch.from_numpy(p).log().float(), np.zeros(p.shape), apart)

    @property
    def n_targets(self) -> int:
        """Positions."""
        return len(self.words)

    def __call__(
        self, network: Any, states: Tensor, targets: Tensor, generator: torch.Generator
    ) -> Tensor:
        logits = network.output(states)  # (M, V + 1 + S)
        joint, log_word = log_joint(
            logits, self.words[targets], self.log_sources[targets], self.apart
        )
        log_p = joint.logsumexp(dim=1)  # (M,)
        share = (joint[:, 1:] - log_p[:, None]).detach().exp()
        self.responsibility[targets.numpy()] = share.numpy()
        return -(log_p + log_word).sum() if self.apart else -log_p.sum()


class FittedSourceLSTM(FittedSequence):
    """A trained word LSTM beside sources.

    Attributes
    ----------
    sources : counts of the observed tokens, with the parameters of the best epoch
    """

    gives_logits = False
    network: SourceLSTM

    def __init__(
        self,
        network: SourceLSTM,
        history: list[dict[str, float]],
        vocabulary: tuple[str, ...],
        sources: Sources,
    ) -> None:
        super().__init__(network, history, vocabulary)
        self.sources = sources

    def score(self, split: Split, *, seed: int = 0, n_threads: int | None = None) -> np.ndarray:
        """log p(held-out events) of every user, each event given all before it, (D,) nats.

        The observed tokens are taken for those that the sources were counted from.
        """
        self.check_split(split)
        with thread_pool(n_threads) as pool:
            return score_mixture(self.network, self.sources, split, pool)

    def next_items(
        self,
        split: Split,
        on_scores: ScoreCallback,
        *,
        seed: int = 0,
        n_threads: int | None = None,
    ) -> None:
        """Hand `on_scores` the probabilities (B, V), float32, of all held-out events."""
        self.check_split(split)
        call, n_words = one_at_a_time(on_scores), len(self.vocabulary)

        def mix(positions: np.ndarray, logits: Tensor) -> None:
            gate = logits[:, n_words:].softmax(dim=1)  # (B, 1 + S)
            scores = (gate[:, :1] * logits[:, :n_words].softmax(dim=1)).numpy()
            share = gate[:, 1:].double().numpy()
            add_to_scores(self.sources, split.corpus, positions, share, scores)
            call(positions, scores)

        with thread_pool(n_threads) as pool:
            predict_held_out(self.reader_of(split), split, pool, mix)

    def fingerprint(self) -> str:
        """SHA-256 of the weights, and of what sources have counted and learned."""
        digest = hashlib.sha256(super().fingerprint().encode())
        for value in self.sources.tensors().values():
            digest.update(value.contiguous().numpy())
        return digest.hexdigest()

    def size(self) -> Size:
        """Trained numbers, counted as those of Table 1; and what sources hold, as LLA's."""
        n_network, sources = self.network.lstm.config.n_parameters(), self.sources
        return Size(n_network, sources.n_parameters, super().size().n_bytes + sources.n_bytes)


def score_mixture(
    network: SourceLSTM, sources: Sources, split: Split, pool: ThreadPoolExecutor
) -> np.ndarray:
    """log p(held-out events) of every document, (D,) nats."""
    corpus, log_p = split.corpus, np.zeros(split.corpus.n_tokens)
    p = token_probabilities(corpus, sources, counted=~split.held_out)
    log_sources = torch.from_numpy(p).log().float()  # (N, S)

    def look_up(positions: np.ndarray, logits: Tensor) -> None:
        words = torch.from_numpy(corpus.words[positions].astype(np.int64))
        joint, _ = log_joint(logits, words, log_sources[torch.from_numpy(positions)])
        log_p[positions] = joint.logsumexp(dim=1).numpy()

    predict_held_out(lambda documents: network, split, pool, look_up)
    return split.sum_held_out(log_p)


def first_sources(observed: Corpus, names: tuple[str, ...], seed: int) -> Sources:
    """Counts, and the parameters that expectation maximisation finds beside the unigram."""
    sources = Sources.from_corpus(observed, names)
    no_topic = np.zeros(observed.n_tokens, np.int64)
    return draw_initial(observed, no_topic, sources, SMOOTHING, n_topics=1, seed=seed)[1]


def _columns(parameters: SourceParameters) -> dict[str, float]:
    """What an epoch has learned of the sources, as entries of its row."""
    return {f"source_{name}": float(value) for name, value in vars(parameters).items()}


def _phase(epoch: int, config: SourceLSTMConfig) -> dict[str, float]:
    """What tells the first epochs, which decide neither when to stop nor which is the best."""
    return {WARM_UP: 1.0} if epoch <= config.initial_epochs else {}


def _learned(row: Mapping[str, float]) -> SourceParameters:
    """What `_columns` gave."""
    names = SourceParameters.__dataclass_fields__
    return SourceParameters(**{name: row[f"source_{name}"] for name in names})


def fit_source_lstm(
    split: Split,
    config: SourceLSTMConfig,
    seed: int,
    *,
    start: None = None,
    checkpoint: str | Path | None = None,
    on_iteration: Callable[[TrainingState], None] | None = None,
    n_threads: int | None = None,
) -> FittedSourceLSTM:
    """Train on the observed part of every document (arguments: `lla.peers`)."""
    fit = check_arguments(
        split, config, SourceLSTMConfig, seed, checkpoint=checkpoint, on_iteration=on_iteration
    )
    observed, stream_id = split.observed, family_stream(NAME)
    network = SourceLSTM(config, split.corpus.n_words, torch_stream(fit.seed, stream_id, WEIGHTS))
    state = initial_state(network, config.learning_rate)
    first = learned = first_sources(observed, config.sources, fit.seed)
    with thread_pool(n_threads) as pool:

        def train(epoch: int) -> float:
            nonlocal learned
            if state.history:  # also those of an interrupted fit
                learned = first.replace(_learned(state.history[-1]))
            apart = epoch <= config.initial_epochs
            objective = SourceMixture.of_corpus(observed, learned, apart)
            loss = train_epoch(
                state.network,
                state.optimizer,
                inputs=observed.words,
                targets=np.arange(observed.n_tokens),
                offsets=observed.offsets,
                config=config.training(),
                seed=fit.seed,
                key=(stream_id, epoch),
                pool=pool,
                description=f"{NAME}, epoch {epoch}",
                objective=objective,
            )
            learned = fit_parameters(observed, learned, objective.responsibility)
            return loss

        fit_epochs(
            state,
            fit,
            identity=fit.identity(NAME),
            name=NAME,
            train=train,
            score=lambda: score_mixture(network, learned, fit.part, pool),
            more=lambda epoch: _columns(learned.parameters) | _phase(epoch, config),
        )
    best = state.history[best_iteration(state.history) - 1]
    sources = first.replace(_learned(best))
    return FittedSourceLSTM(network, state.history, split.corpus.vocabulary, sources)
