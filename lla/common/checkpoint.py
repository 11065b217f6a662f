"""Checkpoints: save a fit to one file, and resume it.

A file holds what the fit was made from (its identity: data, start, seed, configuration), arrays
(assignments, weights, Adam's moments, the best iteration) and its history. A file of another fit is
not an error: the new fit starts from the beginning and replaces it.
"""

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lla.common.files import load_arrays, save_tensors

if TYPE_CHECKING:
    import torch

Identity = Mapping[str, Any]


def save_fit(
    path: Path,
    identity: Identity,
    arrays: Mapping[str, Any],
    meta: Mapping[str, Any] | None = None,
) -> None:
    """Write a fit to `path`, whole or not at all.

    Parameters
    ----------
    identity : what the fit was made from, as JSON gives it back
    arrays : numpy.ndarray or torch.Tensor by name
    meta : what else is needed to resume
    """
    save_tensors(path, arrays, {**identity, **(meta or {})})


def resume_fit(
    path: Path | None,
    identity: Identity,
    continues: Callable[[dict[str, Any]], bool] = lambda meta: True,
) -> tuple[dict[str, np.ndarray], dict[str, Any]] | None:
    """Arrays and meta saved at `path`; None when there are none, or they are another fit's.

    Parameters
    ----------
    identity : must be the saved one
    continues : whether the configuration in the saved meta may be resumed
    """
    if path is None or not path.exists():
        return None
    arrays, meta = load_arrays(path)
    if any(meta.get(name) != value for name, value in identity.items()):
        return None
    return (arrays, meta) if continues(meta) else None


def training_arrays(
    network: "torch.nn.Module",
    optimizer: "torch.optim.Adam",
    best: Mapping[str, "torch.Tensor"],
    prefix: str = "network",
) -> dict[str, Any]:
    """Weights, Adam's moments and the best iteration's weights, under the names of a file."""
    arrays: dict[str, Any] = {f"best.{name}": value for name, value in best.items()}
    for name, parameter in network.named_parameters():
        arrays[f"{prefix}.{name}"] = parameter
        for moment, value in optimizer.state[parameter].items():
            arrays[f"adam.{name}.{moment}"] = value
    return arrays


def restore_training(
    arrays: Mapping[str, np.ndarray],
    network: "torch.nn.Module",
    optimizer: "torch.optim.Adam",
    prefix: str = "network",
) -> dict[str, "torch.Tensor"]:
    """Put back what `training_arrays` gave; the best iteration's weights are returned."""
    import torch  # here: LDA's checkpoints need no Torch

    groups: dict[str, dict[str, torch.Tensor]] = {}
    for name, value in arrays.items():
        group, _, rest = name.partition(".")
        groups.setdefault(group, {})[rest] = torch.from_numpy(value)
    for name, parameter in network.named_parameters():
        parameter.data.copy_(groups[prefix][name])
        start = f"{name}."
        optimizer.state[parameter] = {
            key.removeprefix(start): value
            for key, value in groups.get("adam", {}).items()
            if key.startswith(start)
        }
    return groups.get("best", {})


def best_iteration(history: list[dict[str, float]]) -> int:
    """The first iteration with the lowest development perplexity; 0 before any."""
    if not history:
        return 0
    return int(min(history, key=lambda row: row["development_perplexity"])["iteration"])


def hash_of_topics(topics: np.ndarray, size: int = 2**20) -> str:
    """SHA-256 of assignments, the same whatever their type; `size` of them at a time."""
    digest = hashlib.sha256()
    for i in range(0, len(topics), size):
        digest.update(np.ascontiguousarray(topics[i : i + size], np.int32))
    return digest.hexdigest()
