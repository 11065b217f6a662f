"""Trainings that take a moment and still do everything: checkpoints, scores, a written model."""

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from small_text import FLAGS, write_text

from experiments.families import FAMILIES
from lla.command import main
from lla.common.files import load_arrays, save_tensors
from lla.corpus import Corpus, Split, split_corpus
from lla.lda import LDAConfig, fit_lda

CHECKPOINT, RESULT = "fit.safetensors", "result.safetensors"
LLA_FIT = "python -m lla fit"
MORE = ["--n-iterations", "6", "--patience", "6", "--lda-n-sweeps", "40"]
SETTINGS: dict[str, dict[str, Any]] = {  # of families, by their keys
    "lda": {"n_topics": 3, "n_sweeps": 30},
    "lla": {
        "n_topics": 3,
        "n_iterations": 6,
        "embedding_size": 4,
        "hidden_size": 5,
        "batch_size": 8,
        "emission": "personal",
    },
    "ddlda": {"n_topics": 3, "n_sweeps": 12},
    "gru4rec": {"embedding_size": 4, "hidden_size": 5, "n_epochs": 8, "batch_size": 8},
}


@dataclass(frozen=True)
class Training:
    """A training whose end can be compared.

    Attributes
    ----------
    name : for people
    run : trains in a folder, which has its `texts.txt`
    """

    name: str
    run: Callable[[Path], object]


def trainings() -> list[Training]:
    """The command line, and the library for LDA, stochastic EM, ddLDA and GRU4Rec."""
    found = [Training(LLA_FIT, fit_by_command)]
    for key in SETTINGS:

        def run(folder: Path, key: str = key) -> None:
            fit_by_library(key, folder)

        found.append(Training(f"fit of {FAMILIES[key].label}", run))
    return found


def command(folder: Path) -> list[str]:
    """The arguments of ``python -m lla``."""
    paths = [str(folder / "texts.txt"), "--output", str(folder / "m"), "--threads", "1"]
    return ["fit", *paths, *FLAGS, *MORE]


def fit_by_command(folder: Path) -> int:
    """LDA, stochastic EM, scores, and a model with its card."""
    return main(command(folder))


def small_split() -> Split:
    """Thirty documents of 6 to 14 words."""
    draw = np.random.default_rng(1)
    documents = [draw.integers(12, size=draw.integers(6, 15)) for _ in range(30)]
    return split_corpus(Corpus.from_documents(documents, [f"w{w}" for w in range(12)]), seed=1)


def fit_by_library(key: str, folder: Path) -> None:
    """A family's fit with a checkpoint, and a file of its scores."""
    split, family = small_split(), FAMILIES[key]
    options: dict[str, Any] = {"checkpoint": folder / CHECKPOINT, "n_threads": 1}
    if key == "lda":
        fitted = fit_lda(split, LDAConfig(**SETTINGS[key]), 1, checkpoint_every=3, **options)
    else:
        config = family.configure(SETTINGS[key])
        if family.needs_start(config):
            n = split.observed.n_tokens
            options["start"] = np.random.default_rng(5).integers(3, size=n, dtype=np.int32)
        fitted = family.fit(split, config, 1, **options)
    save_tensors(folder / RESULT, {"scores": fitted.score(split, seed=1)}, {})


def prepare(folder: Path) -> Path:
    """A new folder for a training."""
    folder.mkdir(parents=True)
    write_text(folder / "texts.txt")
    return folder


def checkpoints(folder: Path) -> list[Path]:
    """The files that a training would go on from."""
    files = sorted(folder.rglob("*.safetensors"))
    return [f for f in files if f.name[0] != "." and f.name != RESULT and f.parent.name != "m"]


def state(folder: Path) -> dict[str, Any]:
    """All files of a folder, by their paths, without what differs from run to run: seconds."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            found[str(path.relative_to(folder))] = content(path, folder)
    return found


def content(path: Path, folder: Path) -> Any:
    """A file of `folder` as `state` compares it."""
    if path.name == RESULT or (path.parent.name == "m" and path.suffix == ".safetensors"):
        return path.read_bytes()
    if path.suffix == ".safetensors":
        arrays, meta = load_arrays(path)
        named = {name: (a.dtype.str, a.shape, a.tobytes()) for name, a in arrays.items()}
        return named, _without_seconds(meta)
    if path.suffix == ".json":
        text = path.read_text(encoding="utf-8").replace(f"{folder}{os.sep}", "")
        return _without_seconds(json.loads(text))
    if path.name == "MODEL_CARD.md":
        lines = path.read_text(encoding="utf-8").splitlines()
        return [line for line in lines if "seconds" not in line]
    return path.read_bytes()


def _without_seconds(value: Any) -> Any:
    """JSON without entries of time."""
    if isinstance(value, dict):
        return {k: _without_seconds(v) for k, v in value.items() if not k.endswith("seconds")}
    return [_without_seconds(v) for v in value] if isinstance(value, list) else value
