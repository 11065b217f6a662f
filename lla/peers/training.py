"""What peers with weights share: epochs, early stopping on development documents, checkpoints."""

import hashlib
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from lla.common.checkpoint import (
    best_iteration,
    cut_history,
    only_fit,
    restore_training,
    restoring,
    resume_fit,
    save_fit,
    stops,
    training_arrays,
)
from lla.common.display import Summarized
from lla.common.eager import Adam
from lla.common.errors import check_instance, diverged
from lla.common.parallel import thread_pool
from lla.common.progress import progress
from lla.corpus import Split, check_same_vocabulary
from lla.evaluate import Size
from lla.evaluate.perplexity import perplexity
from lla.peers.iterations import FitArguments

T = TypeVar("T")
LEGACY_OPTIONS = {"proposal": "log_uniform"}  # of earlier checkpoints
FORMER = {  # what checkpoints without these options were made with
    "keep": "completion",
    "statistics": "exact",
    "running_momentum": 0.1,
    "offset": True,
    "learn_prior": False,
    "second_momentum": 0.999,
    "gradient": "pathwise",
    "beta": 1.0,
}
LEAST_DIVERGED = 5.0  # nats above twice those of the uniform distribution
WEIGHTS = 0  # in a stream's key where an epoch has its number, from 1 on


class FittedNetwork(Summarized):
    """A trained network; families add `score` and `next_items`.

    Attributes
    ----------
    network : the module of the best epoch
    history : one row per epoch (see `TrainingState`)
    vocabulary : the words it was trained on
    gives_logits : what `next_items` hands over, not probabilities
    """

    gives_logits = True

    def __init__(
        self,
        network: nn.Module,
        history: list[dict[str, float]],
        vocabulary: tuple[str, ...],
    ) -> None:
        self.network, self.history, self.vocabulary = network, history, vocabulary

    def check_split(self, split: Split) -> None:
        """Raise InputError unless the split has the words that it was trained on."""
        check_instance("split", split, Split)
        check_same_vocabulary(split.corpus, self.vocabulary, len(self.vocabulary))

    def summary_facts(self) -> dict[str, Any]:
        """The network's class, its size, and how well the best epoch did."""
        found: dict[str, Any] = {
            "network": type(self.network).__name__,
            "parameters": sum(p.numel() for p in self.network.parameters()),
            "epochs": len(self.history),
        }
        if self.history:
            best = self.history[best_iteration(self.history) - 1]
            found["development_perplexity"] = best["development_perplexity"]
        return found

    @property
    def seconds(self) -> float:
        """Time of training, interruptions left out."""
        return sum(row["seconds"] for row in self.history)

    def fingerprint(self) -> str:
        """SHA-256 of the network's class and weights."""
        digest = hashlib.sha256(type(self.network).__name__.encode())
        for name, value in sorted(self.network.state_dict().items()):
            digest.update(name.encode())
            digest.update(value.contiguous().numpy())
        return digest.hexdigest()

    def size(self) -> Size:
        """Trained numbers, and their bytes."""
        parameters = [p for p in self.network.parameters() if p.requires_grad]
        n_bytes = sum(p.numel() * p.element_size() for p in parameters)
        return Size(sum(p.numel() for p in parameters), 0, n_bytes)


@dataclass
class TrainingState:
    """All that an interrupted fit needs to resume.

    Attributes
    ----------
    network, optimizer : the network and the optimiser's moments
    best : weights of the epoch with the lowest development perplexity
    history : one dict per epoch: iteration, loss (nats per observed word, with dropout),
        development_perplexity, seconds
    """

    network: Any  # the family's nn.Module, with attributes of its own
    optimizer: Any  # Adam, or an optimiser of the family's own
    best: dict[str, Tensor] = field(default_factory=dict)
    history: list[dict[str, float]] = field(default_factory=list)


def initial_state(network: nn.Module, learning_rate: float) -> TrainingState:
    """The state before the first epoch."""
    # The fused optimizer passes over memory once instead of eight times: a third of the
    # autoencoder's time.
    optimizer = Adam(network.parameters(), lr=learning_rate, fused=True)
    return TrainingState(network, optimizer)


def fit_epochs(
    state: TrainingState,
    fit: FitArguments,
    *,
    identity: dict[str, Any],
    name: str,
    train: Callable[[int], float],
    score: Callable[[], np.ndarray],
    more: Callable[[int], dict[str, float]] | None = None,
    part: Split | None = None,
    on_own_thread: bool = False,
) -> None:
    """Train `state` until development perplexity stops falling; its network is the best epoch's.

    What decides is the row's criterion, where `more` gives one (`lla.common.checkpoint`).

    Parameters
    ----------
    state : from `initial_state`; resumed from the checkpoint when the file is there
    fit : its config has learning_rate, n_epochs and patience
    identity : `fit.identity`, and what else a checkpoint must have been made with
    name : of the model, in the progress
    train : epoch, from 1 on -> loss, nats per observed word
    score : () -> log p of the held-out words of the documents of `part`
    more : epoch -> further entries of its row
    part : documents that decide when to stop; by default the development documents
    on_own_thread : call `train`, `score` and `more` on another thread, with Torch on one thread

    Raises
    ------
    OtherFitError
        When the checkpoint is of another fit.
    InputError
        When another fit with this checkpoint runs.
    NumericalError
        When training diverges.
    """
    config, checkpoint, part = fit.config, fit.checkpoint, part or fit.part
    resume(checkpoint, identity, state, config)
    bar = progress(
        total=config.n_epochs,
        initial=len(state.history),
        description=f"{name}, seed {fit.seed}",
        unit="epoch",
    )

    def is_finished() -> bool:
        return stops(state.history, config.n_epochs, config.patience)

    def call(function: Callable[[], T]) -> T:
        return pool.submit(function).result() if pool else function()

    pool_or_none = thread_pool(1) if on_own_thread else nullcontext()
    with pool_or_none as pool, bar, only_fit(checkpoint, is_finished()):
        while not is_finished():
            start = perf_counter()
            epoch = len(state.history) + 1
            loss = call(partial(train, epoch))
            scores = call(score)
            with np.errstate(over="ignore"):
                development = perplexity(scores, part, part.development)
            check_finite(development, config.learning_rate)
            row = {"iteration": epoch, "loss": loss, "development_perplexity": development}
            if more:
                row |= call(partial(more, epoch))
            state.history.append(row | {"seconds": perf_counter() - start})
            if best_iteration(state.history) == epoch:
                weights = state.network.state_dict()
                state.best = {key: value.detach().clone() for key, value in weights.items()}
            if checkpoint:
                save(checkpoint, identity, state)
            if fit.on_iteration:
                fit.on_iteration(state)
            bar.update()
    state.network.load_state_dict(state.best)


def check_finite(value: float, learning_rate: float) -> None:
    """Raise NumericalError for a loss or a perplexity that is NaN or infinite."""
    if not np.isfinite(value):
        raise diverged(learning_rate)


def check_loss(mean: float, n_words: int, learning_rate: float) -> float:
    """The mean loss, nats per word; NumericalError where training has diverged.

    Weights can diverge while the loss stays finite; the uniform distribution has log V.
    """
    diverged = not mean <= 2 * np.log(n_words) + LEAST_DIVERGED
    check_finite(np.inf if diverged else mean, learning_rate)
    return float(mean)


def draw_weights(module: nn.Module, generator: torch.Generator) -> None:
    """Uniform weights (Glorot & Bengio, 2010); what is called a bias becomes 0."""
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if name.endswith("bias"):
                parameter.zero_()
            else:
                nn.init.xavier_uniform_(parameter, generator=generator)


def popularity(split: Split) -> np.ndarray:
    """(V,) share of each item in the observed part, one added: what networks predict at first."""
    counts = np.bincount(split.observed.words, minlength=split.corpus.n_words) + 1.0
    return counts / counts.sum()


def save(path: Path, identity: dict[str, Any], state: TrainingState) -> None:
    """Write all of `state` to `path`."""
    arrays = training_arrays(state.network, state.optimizer, state.best, prefix="module")
    save_fit(path, identity, arrays, {"history": state.history})


def resume(path: Path | None, identity: dict[str, Any], state: TrainingState, config: Any) -> None:
    """Restore `state` from `path`, as far as `config` goes, unless there is no file."""

    def without_former(saved: Mapping[str, Any]) -> dict[str, Any]:
        former = {name: x for name, x in FORMER.items() if name in identity["config"]}
        return former | dict(item for item in saved.items() if item not in LEGACY_OPTIONS.items())

    saved = resume_fit(path, identity, without_former)
    if path is None or saved is None:
        return
    arrays, meta = saved
    with restoring(path):
        state.history = cut_history(
            path, meta["history"], config.n_epochs, config.patience, option="n_epochs"
        )
        state.best = restore_training(arrays, state.network, state.optimizer, prefix="module")
