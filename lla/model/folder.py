"""A fitted model as a folder: weights in safetensors, their meaning in JSON, a model card."""

import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lla import __version__
from lla.common.errors import (
    InputError,
    check_instance,
    check_integer,
    check_path,
    check_positive,
    check_texts,
    optional,
)
from lla.common.files import (
    atomic_write,
    check_holds_only,
    file_hash,
    folder_to_write,
    load_tensors,
    not_writable,
    package_versions,
    read_json,
    replace_folder,
    save_tensors,
    temporary_sibling,
    write_json,
)
from lla.corpus.folder import check_vocabulary
from lla.inference.emission import Emission, SourceEmission
from lla.inference.emission.sources import Sources
from lla.inference.objectives import TopicWords
from lla.lstm import MODELS, CharacterConfig, Network, NetworkConfig, spell
from lla.model import Model
from lla.model.card import card, card_topics
from lla.model.reading import EMISSIONS

FORMAT = 1
WEIGHTS, META, CARD = "model.safetensors", "model.json", "MODEL_CARD.md"
AGAIN = "save the model again, or take another copy"


def save_model(
    model: Model,
    folder: str | Path,
    *,
    perplexity: float | None = None,
    about: str = "",
    details: Mapping[str, Any] | None = None,
) -> Path:
    """Write all that predicts to `folder`, atomically, and return it; without the tokens' topics.

    Parameters
    ----------
    folder : created if missing; a model in it is replaced, anything else is left alone
    perplexity : of held-out words, for the card
    about : what the model is for and what it was trained on, for the card
    details : more of its provenance, as JSON can hold it; what the card shows of it, see
        `lla.model.card`

    Raises
    ------
    InputError
        When the model has no vocabulary, or `folder` holds something else or cannot be written.
    """
    check_instance("model", model, Model)
    folder = folder_to_write(folder)
    model.session()  # fails where it cannot predict
    (about,) = check_texts("about", [about])
    extra = dict(details or {})
    if about:
        extra["about"] = " ".join(about.split())
    if perplexity is not None:
        check_positive("perplexity", perplexity)
        extra["perplexity"] = float(perplexity)
    temporary = temporary_sibling(folder)
    try:
        check_holds_only(folder, (WEIGHTS, META, CARD), "model")
        temporary.mkdir(parents=True)
        save_tensors(temporary / WEIGHTS, _tensors(model), {"kind": "model"})
        meta = _describe(model, extra, temporary / WEIGHTS)
        write_json(temporary / META, meta)
        with atomic_write(temporary / CARD, "w") as file:
            file.write(card(meta, folder.resolve().name, card_topics(model)))
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

    `InputError` says what is wrong with one that is missing, damaged or of another format.
    """
    folder = check_path("folder", folder)
    if folder.is_file() and folder.name in (WEIGHTS, META, CARD):
        folder = folder.parent
    meta = _read_meta(folder)
    path = folder / WEIGHTS
    try:
        if path.exists() and not path.is_file():  # one that is a pipe would never end
            raise InputError(f"{path}: no file; {AGAIN}")
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


def _tensors(model: Model) -> dict[str, Tensor]:
    tensors = {f"network.{name}": value for name, value in model.network.state_dict().items()}
    if model.emission is not None:
        named = model.emission.tensors()
        tensors |= {f"emission.{name}": value for name, value in named.items()}
    return tensors


def _describe(model: Model, extra: dict[str, Any], weights: Path) -> dict[str, Any]:
    """What model.json holds."""
    sources = {"sources": list(model.source_names)} if model.source_names else {}
    tokens, counts = model.topic_tokens, {}
    if tokens is not None and tokens.any():
        counts["topic_tokens"] = tokens.astype(np.int64).tolist()
    return {
        "format": FORMAT,
        "kind": model.kind,
        "network": asdict(model.network.config),
        "emission": model.emission_kind,
        **sources,
        "n_parameters": model.network.n_parameters(),
        "n_bytes": weights.stat().st_size,
        "fingerprint": model.fingerprint(),
        "sha256": file_hash(weights),
        "provenance": {
            "versions": {"lla": __version__, **package_versions()},
            **model.provenance,
            **counts,
            **extra,
        },
        "vocabulary": list(model.vocabulary),
    }


def _read_meta(folder: Path) -> dict[str, Any]:
    """model.json, checked for its format and kind."""
    if folder.is_file():
        raise InputError(
            f"{folder}: a file, not a model's folder; give the folder that lla.save_model wrote "
            "(lla.load_sem reads a checkpoint of fit_sem)"
        )
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; write one with lla.save_model")
    path = folder / META
    if not path.is_file():
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
    if not isinstance(meta.get("kind"), str) or meta["kind"] not in MODELS:
        kinds = ", ".join(MODELS)
        raise InputError(f"{path}: kind {meta.get('kind')!r} is not one of {kinds}; {AGAIN}")
    return meta


def _build(meta: dict[str, Any], tensors: dict[str, Tensor]) -> Model:
    vocabulary = tuple(meta["vocabulary"])
    check_vocabulary(vocabulary, "vocabulary")
    characters = CharacterConfig.from_dict(meta["network"]["characters"])
    config = NetworkConfig(**(meta["network"] | {"characters": characters}))
    spelling = spell(vocabulary, characters) if config.input == "character" else None
    groups: dict[str, dict[str, Tensor]] = {"network": {}, "emission": {}}
    for name, value in tensors.items():
        group, _, rest = name.partition(".")
        groups[group][rest] = value
    n_numbers = sum(value.numel() for value in groups["network"].values())
    if config.n_parameters(spelling.n_characters if spelling else 0) > n_numbers:
        raise InputError(f"network: its sizes need more weights than the {n_numbers} there are")
    network = Network(config, torch.Generator(), spelling)
    if "topic_words.weight" in groups["network"]:  # φ that was learned by gradient
        network.topic_words = TopicWords(torch.ones_like(groups["network"]["topic_words.weight"]))
    network.load_state_dict(groups["network"])
    emission = _emission(meta, groups["emission"]) if meta["emission"] else None
    provenance = meta["provenance"]
    for found in (provenance, provenance.get("data") or {}):
        check_instance("provenance", found, dict)
    model = Model(network, emission, np.empty(0, np.int32), vocabulary, provenance)
    model.session()
    optional(check_integer)("n_observed", model.provenance.get("n_observed"))
    _ = model.topic_tokens  # fails where it is not a count per topic
    return model


def _emission(meta: dict[str, Any], tensors: dict[str, Tensor]) -> Emission:
    """The emission of model.json's kind, with its sources."""
    of_sources = {name: value for name, value in tensors.items() if name.startswith("source_")}
    of_topics = {name: value for name, value in tensors.items() if name not in of_sources}
    if any(value.dtype != torch.float32 for value in of_topics.values()):
        raise InputError("emission: its numbers are not float32")
    topics = EMISSIONS[meta["emission"]](**of_topics)
    if "sources" not in meta:
        return topics
    return SourceEmission(topics, Sources.from_tensors(tuple(meta["sources"]), of_sources))
