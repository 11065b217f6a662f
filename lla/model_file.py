"""A trained model as a folder: weights (safetensors), what they mean (JSON), and a model card.

    model.safetensors    the network's weights and the emission
    model.json           format, kind, sizes, provenance, vocabulary, SHA-256 of the weights
    MODEL_CARD.md        the same for people

The folder takes its name only when it is whole; nothing in it can run code.
"""

import shutil
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lla.characters import CharacterConfig, spell
from lla.corpus_folder import (
    check_vocabulary,
    file_hash,
    not_writable,
    replace_folder,
    temporary_sibling,
)
from lla.emission import PersonalEmission, SharedEmission
from lla.errors import InputError, check_positive
from lla.lstm import Network, NetworkConfig
from lla.model import Model
from lla.model_card import card
from lla.objectives import TopicWords
from lla.sem_config import MODELS
from lla.store import (
    atomic_write,
    environment,
    load_tensors,
    package_version,
    read_json,
    save_tensors,
    write_json,
)

FORMAT = 1
WEIGHTS, META, CARD = "model.safetensors", "model.json", "MODEL_CARD.md"
EMISSIONS = {"shared": SharedEmission, "personal": PersonalEmission}
AGAIN = "save the model again, or take another copy"


def save_model(
    model: Model, folder: str | Path, *, perplexity: float | None = None, about: str = ""
) -> Path:
    """Write all that predicts to `folder`, whole or not at all.

    The assignments of the training tokens are left out: they are the training data's, not needed.

    Parameters
    ----------
    folder : made when missing; a model that stands there is replaced, anything else left alone
    perplexity : of held-out words, for the card
    about : what the model is for and what it was trained on, for the card

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    InputError
        When the model has no vocabulary, or `folder` holds something else or cannot be written.
    """
    model.session()  # what cannot predict is not worth keeping
    given: dict[str, Any] = {"about": " ".join(about.split())} if about else {}
    if perplexity is not None:
        check_positive("perplexity", perplexity)
        given["perplexity"] = float(perplexity)
    folder = Path(folder)
    temporary = temporary_sibling(folder)
    try:
        _check_replaceable(folder)
        temporary.mkdir(parents=True)
        save_tensors(temporary / WEIGHTS, _tensors(model), {"kind": "model"})
        meta = _describe(model, given, temporary / WEIGHTS)
        write_json(temporary / META, meta)
        with atomic_write(temporary / CARD, "w") as file:
            file.write(card(meta, folder.resolve().name))
        replace_folder(temporary, folder)
    except OSError as error:
        raise not_writable(error, folder) from None
    except InputError as error:  # it names the file by the folder's passing name
        raise InputError(str(error).replace(str(temporary), str(folder))) from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return folder


def load_model(folder: str | Path) -> Model:
    """The model that `save_model` wrote to `folder`; it predicts the same to the last bit.

    Raises
    ------
    InputError
        When there is none, or it is of another format, damaged or cut short.
    """
    folder = Path(folder)
    if folder.is_file() and folder.name in (WEIGHTS, META, CARD):
        folder = folder.parent
    meta = _read_meta(folder)
    path = folder / WEIGHTS
    try:
        found = file_hash(path)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); {AGAIN}") from None
    if found != meta.get("sha256"):
        raise InputError(f"{path}: cut short or not the weights of {META} beside it; {AGAIN}")
    tensors, _ = load_tensors(path)
    try:
        return _build(meta, tensors)
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise InputError(f"{folder / META}: does not fit its weights ({reason}); {AGAIN}") from None


def _check_replaceable(folder: Path) -> None:
    """Refuse a folder that holds more than a model: nothing of anybody's is deleted."""
    if not folder.exists():
        return
    if not folder.is_dir():
        raise InputError(f"{folder}: is a file; name a folder for the model")
    others = sorted({path.name for path in folder.iterdir()} - {WEIGHTS, META, CARD})
    if others:
        raise InputError(f"{folder}: holds {others[0]}, which is no model's; name another folder")


def _tensors(model: Model) -> dict[str, Tensor]:
    tensors = {f"network.{name}": value for name, value in model.network.state_dict().items()}
    if model.emission is not None:
        names = [part.name for part in fields(model.emission)]
        tensors |= {f"emission.{name}": getattr(model.emission, name) for name in names}
    return tensors


def _describe(model: Model, given: dict[str, Any], weights: Path) -> dict[str, Any]:
    """What model.json holds."""
    versions = {"lla": package_version("lla")} | environment()["packages"]
    predicts = "word" if model.emission is None else "topic"
    kinds = {of: kind for kind, of in MODELS.items()}
    emissions = {of: name for name, of in EMISSIONS.items()}
    return {
        "format": FORMAT,
        "kind": kinds[model.network.config.input, predicts],
        "network": asdict(model.network.config),
        "emission": None if model.emission is None else emissions[type(model.emission)],
        "n_parameters": model.network.n_parameters(),
        "n_bytes": weights.stat().st_size,
        "fingerprint": model.fingerprint(),
        "sha256": file_hash(weights),
        "provenance": {"versions": versions, **model.provenance, **given},
        "vocabulary": list(model.vocabulary),
    }


def _read_meta(folder: Path) -> dict[str, Any]:
    """model.json, once it is clear that it is one of this format and of a kind we know."""
    if folder.is_file():
        raise InputError(
            f"{folder}: a file, not a model's folder; give the folder that lla.save_model wrote "
            "(lla.load_sem reads a checkpoint of fit_sem)"
        )
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; write one with lla.save_model")
    path = folder / META
    if not path.exists():
        other = "a corpus (lla.load_corpus reads it)" if (folder / "manifest.json").exists() else ""
        raise InputError(f"{path}: no such file, so this is {other or 'no model'}; {AGAIN}")
    meta = read_json(path, AGAIN)
    if not isinstance(meta, dict) or "format" not in meta:
        raise InputError(f"{path}: not what lla.save_model writes; {AGAIN}")
    if meta["format"] != FORMAT:
        written = meta.get("provenance", {}).get("versions", {}).get("lla", "another version")
        raise InputError(
            f"{path}: format {meta['format']}, this version of lla reads format {FORMAT}; "
            f"use the one that wrote it ({written})"
        )
    if meta.get("kind") not in MODELS:
        there = ", ".join(MODELS)
        raise InputError(f"{path}: kind {meta.get('kind')!r} is not one of {there}; {AGAIN}")
    return meta


def _build(meta: dict[str, Any], tensors: dict[str, Tensor]) -> Model:
    vocabulary = tuple(meta["vocabulary"])
    check_vocabulary(vocabulary, "vocabulary")
    characters = CharacterConfig(**meta["network"]["characters"])
    config = NetworkConfig(**(meta["network"] | {"characters": characters}))
    spelling = spell(vocabulary, characters) if config.input == "character" else None
    network = Network(config, torch.Generator(), spelling)
    groups: dict[str, dict[str, Tensor]] = {"network": {}, "emission": {}}
    for name, value in tensors.items():
        group, _, rest = name.partition(".")
        groups[group][rest] = value
    if "topic_words.weight" in groups["network"]:  # φ that was learned by gradient
        network.topic_words = TopicWords(torch.ones_like(groups["network"]["topic_words.weight"]))
    network.load_state_dict(groups["network"])
    emission = EMISSIONS[meta["emission"]](**groups["emission"]) if meta["emission"] else None
    model = Model(network, emission, np.empty(0, np.int32), vocabulary, meta["provenance"])
    model.session()
    return model
