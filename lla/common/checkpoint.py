"""Checkpoints: save a fit to one file, and resume it.

A file holds what the fit was made from (its identity: data, start, seed, configuration), arrays
(assignments, weights, Adam's moments, the best iteration) and its history. A file of another fit is
never read and never replaced: `OtherFitError` says in what they differ.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lla.common.errors import InputError, check_path, describe
from lla.common.files import check_writable, load_arrays, save_tensors
from lla.common.lock import exclusive_file

if TYPE_CHECKING:
    import torch

Identity = Mapping[str, Any]

KINDS = {  # what a file can hold, by the kind that is written in it
    "lda": "a fit of LDA",
    "sem": "a fit of fit_sem",
    "ddlda": "a fit of ddLDA",
    "autoencoder": "a fit of the autoencoder",
    "gru4rec": "a fit of GRU4Rec",
    "sasrec": "a fit of SASRec",
    "hmm": "a fit of the HMM",
    "factorization": "a fit of matrix factorisation",
    "c_gru": "a fit of C-GRU",
    "c_tanh": "a fit of C-tanh",
    "p_gru": "a fit of P-GRU",
    "shrunk_gru": "a fit of the shrunk C-GRU",
    "neural_topics": "a fit of a neural topic model",
    "sentence_vae": "a fit of a sentence VAE or language model",
    "phrase_autoencoder": "a fit of the phrase autoencoder",
    "word_lstm_sources": "a fit of the word LSTM with sources",
    "own_counts": "a choice of own counts",
    "neural_cache": "a choice of a neural cache",
    "scores": "scores of a model",
    "ranks": "ranks of held-out events",
    "model": "the weights of a saved model",
}
WARM_UP = "warm_up"  # in rows of a history: not the whole objective was trained yet
CRITERION = "criterion"  # in rows of a history: what decides in place of development perplexity
OTHER = {  # differences whose values are hashes
    "corpus": "it is of another corpus or split",
    "development": "it has other development documents",
    "n_observed": "another part of the documents was observed",
    "initial_topics": "it started from other topics",
    "start": "it started from other topics",
    "model": "they are of another model",
    "base": "it is of another model",
}


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


class OtherFitError(InputError):
    """A checkpoint's file is another fit's, and so nothing was read from it."""


def _other_fit(path: Path, what: str, remedy: str = "give") -> OtherFitError:
    return OtherFitError(
        f"{path}: {what}; {remedy} checkpoint another file name, or delete this file"
    )


@contextmanager
def restoring(path: Path | None) -> Iterator[None]:
    """Turn what a file lacks or holds in excess, as a fit is restored from it, into one line."""
    try:
        yield
    except OtherFitError:
        raise
    except (LookupError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise InputError(
            f"{path}: does not hold what this fit saves ({reason}); delete it and run again"
        ) from None


def check_checkpoint(checkpoint: str | Path | None) -> Path | None:
    """The file of a checkpoint, or None where none is wanted.

    Raises
    ------
    InputError
        When no file of this name can be written: before a fit, not after its first hour.
    """
    if checkpoint is None:
        return None
    path = check_path("checkpoint", checkpoint)
    check_writable("checkpoint", path)
    return path


@contextmanager
def only_fit(path: Path | None, is_finished: bool = False) -> Iterator[None]:
    """Keep other fits from the checkpoint at `path` while this one runs; without a path do nothing.

    A fit that is finished is only read back, which any number may do at once.

    Raises
    ------
    InputError
        When another fit with this checkpoint runs, in whatever process or thread.
    """
    with nullcontext() if path is None or is_finished else exclusive_file(path):
        yield


def resume_fit(
    path: Path | None,
    identity: Identity,
    read_config: Callable[[Mapping[str, Any]], Mapping[str, Any]] = dict,
) -> tuple[dict[str, np.ndarray], dict[str, Any]] | None:
    """Arrays and meta saved at `path`; None when there is no file.

    Parameters
    ----------
    identity : must be the saved one; it may have a "config", the options that tell fits apart
    read_config : from the saved options to those that tell fits apart

    Raises
    ------
    OtherFitError
        When the file is of another fit: the line names the first difference.
    """
    if path is None or not path.exists():
        return None
    arrays, meta = load_arrays(path)
    kind = identity["kind"]
    if meta.get("kind") != kind:
        there, here = (KINDS.get(str(of), "another model") for of in (meta.get("kind"), kind))
        raise _other_fit(path, f"holds {there}, and here is {here}")
    what = "other scores" if kind == "scores" else "another fit"
    for name, value in identity.items():
        if name != "config" and (saved := meta.get(name)) != value:
            reason = OTHER.get(name) or f"{name} is {saved} there and {value} here"
            raise _other_fit(path, f"holds {what}: {reason}")
    if "config" in identity:
        _check_config(path, meta, identity["config"], read_config)
    return arrays, meta


def _check_config(
    path: Path,
    meta: Mapping[str, Any],
    config: Mapping[str, Any],
    read_config: Callable[[Mapping[str, Any]], Mapping[str, Any]],
) -> None:
    """Raise OtherFitError where the saved options are not these."""
    try:
        saved = read_config(meta["config"])
    except (KeyError, TypeError, ValueError) as error:
        reason = f"this version of lla does not read its options ({error})"
        raise _other_fit(path, f"holds another fit: {reason}") from None
    if difference := first_difference(saved, config):
        name, there, here = difference
        reason = f"{name} is {describe(there)} there and {describe(here)} here"
        raise _other_fit(path, f"holds another fit: {reason}")


def first_difference(
    saved: Mapping[str, Any], here: Mapping[str, Any], prefix: str = ""
) -> tuple[str, object, object] | None:
    """Name and both values of the first option that differs; None when none does."""
    for name in [*here, *(name for name in saved if name not in here)]:
        one, other = saved.get(name), here.get(name)
        if isinstance(one, Mapping) and isinstance(other, Mapping):
            # An optimiser's options stand beside the model's where people write them.
            inner = "" if name == "train" else f"{name}."
            if difference := first_difference(one, other, inner):
                return difference
        elif one != other:
            return f"{prefix}{name}", one, other
    return None


def check_not_beyond(path: Path | None, n_saved: int, n_sweeps: int) -> None:
    """Raise OtherFitError when the `n_saved` sweeps of a file are more than are wanted."""
    if path is not None and n_saved > n_sweeps:
        raise _other_fit(
            path,
            f"holds a fit after {n_saved} sweeps, not as it was before, and n_sweeps is {n_sweeps}",
            f"give n_sweeps={n_saved} or more,",
        )


def cut_history(
    path: Path,
    history: list[dict[str, float]],
    n_iterations: int,
    patience: int,
    option: str = "n_iterations",
) -> list[dict[str, float]]:
    """A history as far as a fit with these limits goes, whose best iteration is the saved one.

    Parameters
    ----------
    n_iterations, patience : when to stop (see `stops`)
    option : the name of the first of them

    Raises
    ------
    OtherFitError
        When the best iteration within the limits is not the one whose weights were saved.
    """
    for n in range(1, len(history)):
        if stops(history[:n], n_iterations, patience):
            best = best_iteration(history)
            if best > n:
                raise _other_fit(
                    path,
                    f"holds {len(history)} iterations, and weights of the best, number {best}; "
                    f"with {option}={n_iterations} and patience={patience} a fit ends after {n}",
                    "give more,",
                )
            return history[:n]
    return history


def stops(history: list[dict[str, float]], n_iterations: int, patience: int) -> bool:
    """Whether all iterations are done, or `patience` of them brought no better model.

    Iterations whose row says ``warm_up`` are not counted by `patience`.
    """
    n_done = len(history)
    if n_done >= n_iterations or (history and history[-1].get(WARM_UP)):
        return n_done >= n_iterations
    return n_done - best_iteration(history) >= patience


def training_arrays(
    network: "torch.nn.Module",
    optimizer: "torch.optim.Optimizer",
    best: Mapping[str, "torch.Tensor"],
    prefix: str = "network",
) -> dict[str, Any]:
    """Weights, the optimiser's moments and the best iteration's weights, by names in a file."""
    arrays: dict[str, Any] = {f"best.{name}": value for name, value in best.items()}
    for name, parameter in network.named_parameters():
        arrays[f"{prefix}.{name}"] = parameter
        for moment, value in optimizer.state[parameter].items():
            arrays[f"adam.{name}.{moment}"] = value
    return arrays


def restore_training(
    arrays: Mapping[str, np.ndarray],
    network: "torch.nn.Module",
    optimizer: "torch.optim.Optimizer",
    prefix: str = "network",
) -> dict[str, "torch.Tensor"]:
    """Put back what `training_arrays` gave; the best iteration's weights are returned.

    `ValueError` says which array has another shape than the parameter that it is of.
    """
    import torch  # here: LDA's checkpoints need no Torch

    groups: dict[str, dict[str, torch.Tensor]] = {}
    for name, value in arrays.items():
        group, _, rest = name.partition(".")
        groups.setdefault(group, {})[rest] = torch.from_numpy(value)
    best = groups.get("best", {})
    for name, parameter in network.named_parameters():
        start = f"{name}."
        moments = {
            key.removeprefix(start): value
            for key, value in groups.get("adam", {}).items()
            if key.startswith(start)
        }
        saved = groups[prefix][name]
        alike = [saved, best.get(name, saved)]  # what an optimiser counts may have its own shape
        alike += [value for key, value in moments.items() if key.startswith("exp_avg")]
        if any(array.shape != parameter.shape for array in alike):
            raise ValueError(f"{name} is of another shape than {tuple(parameter.shape)}")
        parameter.data.copy_(saved)
        optimizer.state[parameter] = moments
    return best


def best_iteration(history: list[dict[str, float]]) -> int:
    """The first iteration with the lowest development perplexity, or criterion; 0 before any.

    Those of a warm-up, in which another objective is trained, count as long as there are no others.
    """
    if not history:
        return 0
    rows = [row for row in history if not row.get(WARM_UP)] or history
    best = min(rows, key=lambda row: row.get(CRITERION, row["development_perplexity"]))
    return int(best["iteration"])


def hash_of_topics(topics: np.ndarray, size: int = 2**20) -> str:
    """SHA-256 of assignments, the same whatever their type; `size` of them at a time."""
    digest = hashlib.sha256()
    for i in range(0, len(topics), size):
        digest.update(np.ascontiguousarray(topics[i : i + size], np.int32))
    return digest.hexdigest()
