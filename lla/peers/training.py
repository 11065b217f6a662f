"""What peers with weights share: epochs, early stopping on development documents, checkpoints."""

import hashlib
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lla.common.errors import InputError
from lla.common.files import load_tensors, save_tensors
from lla.common.progress import progress
from lla.corpus import Split
from lla.evaluate.perplexity import perplexity

History = list[dict[str, float]]


@dataclass
class FitState:
    """All that an interrupted fit needs to go on.

    Attributes
    ----------
    module, optimizer : the network and Adam's moments
    best : weights of the epoch with the lowest development perplexity
    history : one dict an epoch: iteration, loss (nats an observed word, with dropout),
        development_perplexity, seconds
    """

    module: nn.Module
    optimizer: torch.optim.Adam
    best: dict[str, Tensor]
    history: History

    @property
    def best_iteration(self) -> int:
        """Epoch with the lowest development perplexity, 0 before the first."""
        if not self.history:
            return 0
        return int(min(self.history, key=lambda row: row["development_perplexity"])["iteration"])


def begin_fit(module: nn.Module, learning_rate: float) -> FitState:
    """A fit that has done nothing yet."""
    # Fused is one pass over memory in place of eight: a third of the autoencoder's time.
    optimizer = torch.optim.Adam(module.parameters(), lr=learning_rate, fused=True)
    return FitState(module, optimizer, {}, [])


def fit_epochs(
    state: FitState,
    config: Any,
    identity: dict[str, Any],
    train: Callable[[int], float],
    score: Callable[[], tuple[np.ndarray, Split]],
    name: str,
    checkpoint: Path | None = None,
    on_iteration: Callable[[FitState], None] | None = None,
) -> tuple[nn.Module, History]:
    """Train until development perplexity has stopped falling; the module of the best epoch.

    Parameters
    ----------
    state : from `begin_fit`; goes on from the checkpoint when that is this fit's
    config : has learning_rate, n_epochs and patience
    identity : what a checkpoint must have been made with (`identity_of`)
    train : epoch, from 1 on -> loss, nats an observed word
    score : () -> log p of the development documents' held-out words, and the split of these
    on_iteration : called after each epoch

    Raises
    ------
    FloatingPointError
        When training diverges.
    """
    resume(checkpoint, identity, state)
    bar = progress(
        total=config.n_epochs, initial=len(state.history), description=name, unit="epoch"
    )
    with bar:
        while not finished(state, config):
            epoch, begun = len(state.history) + 1, perf_counter()
            loss = train(epoch)
            scores, part = score()
            with np.errstate(over="ignore"):
                development = perplexity(scores, part, part.development)
            check_converging(development, config.learning_rate)
            row = {"iteration": epoch, "loss": loss, "development_perplexity": development}
            state.history.append(row | {"seconds": perf_counter() - begun})
            if state.best_iteration == epoch:
                weights = state.module.state_dict()
                state.best = {key: value.detach().clone() for key, value in weights.items()}
            if checkpoint:
                save(checkpoint, identity, state)
            if on_iteration:
                on_iteration(state)
            bar.update()
    state.module.load_state_dict(state.best)
    return state.module, state.history


def finished(state: FitState, config: Any) -> bool:
    """Whether all epochs are done, or `patience` of them without a better one."""
    done = len(state.history)
    return done >= config.n_epochs or done - state.best_iteration >= config.patience


def check_converging(value: float, learning_rate: float) -> None:
    """Refuse a loss or a perplexity that is no number."""
    if not np.isfinite(value):
        raise FloatingPointError(
            f"training diverged at learning_rate={learning_rate}; give a smaller learning_rate"
        )


def check_development(split: Split) -> None:
    """Refuse a split that cannot say when to stop."""
    if not split.n_held_out[split.development].any():
        raise InputError(
            "development: none of its documents has a held-out word to decide when to stop; "
            "split with a development part, such as 0.1, and documents of 3 words or more"
        )


def identity_of(kind: str, split: Split, config: Any, seed: int) -> dict[str, Any]:
    """What a checkpoint must have been made with, as JSON gives it back."""
    return {
        "kind": kind,
        "corpus": split.corpus.fingerprint,
        "development": hashlib.sha256(np.packbits(split.development)).hexdigest(),
        "n_observed": hashlib.sha256(split.n_observed).hexdigest(),
        # More epochs, or more patience, continue the same run.
        "config": asdict(replace(config, n_epochs=1, patience=1)),
        "seed": seed,
    }


def save(path: Path, identity: dict[str, Any], state: FitState) -> None:
    """Write all of `state` to `path`."""
    tensors = {f"best.{name}": value for name, value in state.best.items()}
    for name, parameter in state.module.named_parameters():
        tensors[f"module.{name}"] = parameter.detach()
        for moment, value in state.optimizer.state[parameter].items():
            tensors[f"adam.{name}.{moment}"] = value
    save_tensors(path, tensors, identity | {"history": state.history})


def resume(path: Path | None, identity: dict[str, Any], state: FitState) -> None:
    """Move `state` on to what is saved at `path`, unless nothing is, or that of another fit."""
    if path is None or not path.exists():
        return
    tensors, meta = load_tensors(path)
    if any(meta.get(name) != value for name, value in identity.items()):
        return
    state.history = meta["history"]
    state.best = {name: tensors[f"best.{name}"] for name in state.module.state_dict()}
    for name, parameter in state.module.named_parameters():
        parameter.data.copy_(tensors[f"module.{name}"])
        prefix = f"adam.{name}."
        state.optimizer.state[parameter] = {
            key.removeprefix(prefix): value
            for key, value in tensors.items()
            if key.startswith(prefix)
        }
