"""The file of an LDA: a fit is saved to it, resumed from it, and read from it."""

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from lla.common.arrays import check_topics, id_dtype
from lla.common.checkpoint import (
    check_not_beyond,
    hash_of_topics,
    restoring,
    resume_fit,
    save_fit,
)
from lla.common.errors import InputError, check_instance, check_integer, check_not_negative
from lla.common.files import load_arrays
from lla.corpus import Corpus, Split
from lla.lda.model import LDA, LDAConfig

EARLIER_DEFAULTS = {"sampler": "dense"}  # of files written before there was a choice


def identity_of(observed: Corpus, seed: int, start: np.ndarray | None) -> dict[str, object]:
    """What a checkpoint must have been made from, besides its configuration."""
    initial_topics = None if start is None else hash_of_topics(start)
    return {
        "kind": "lda",
        "corpus": observed.fingerprint,
        "seed": seed,
        "initial_topics": initial_topics,
    }


def save(path: Path, identity: dict[str, object], state: LDA) -> None:
    """Write the state, and what it was made from."""
    arrays = {
        "topics": state.topics,
        "alpha": state.alpha,
        "log_likelihood": np.array(state.log_likelihood),
    }
    meta = {"config": asdict(state.config), "sweep": state.sweep, "seconds": state.seconds}
    save_fit(path, identity, arrays, meta)


def load_lda(path: str | Path, split: Split) -> LDA:
    """The state that `fit_lda` saved at `path`.

    Raises
    ------
    InputError
        When the file is missing or broken, or was fitted to another corpus.
    """
    check_instance("split", split, Split)
    arrays, meta = load_arrays(path)
    if meta.get("kind") != "lda" or meta.get("corpus") != split.observed.fingerprint:
        raise InputError(f"{path}: not an LDA of this corpus and split; fit it again")
    with restoring(Path(path)):
        return _restore(arrays, meta, split.observed)


def _saved_config(options: Mapping[str, Any]) -> LDAConfig:
    """Of a checkpoint; an option that it does not name had what was the default then."""
    return LDAConfig(**{**EARLIER_DEFAULTS, **options})


def _restore(arrays: dict[str, np.ndarray], meta: dict[str, Any], observed: Corpus) -> LDA:
    config = _saved_config(meta["config"])
    topics = check_topics("topics", arrays["topics"], observed.n_tokens, config.n_topics)
    alpha = arrays["alpha"]
    if alpha.shape != (config.n_topics,) or alpha.dtype != np.float64 or not (alpha > 0).all():
        raise InputError(f"alpha: not {config.n_topics} numbers above 0; fit it again")
    sweep = check_integer("sweep", meta["sweep"], least=0)
    return LDA(
        config=config,
        seed=meta["seed"],
        observed=observed,
        sweep=sweep,
        topics=topics.astype(id_dtype(config.n_topics), copy=False),
        alpha=alpha,
        log_likelihood=tuple(arrays["log_likelihood"].tolist()),
        seconds=check_not_negative("seconds", meta["seconds"]),
    )


def resume(
    path: Path | None, observed: Corpus, identity: dict[str, object], config: LDAConfig
) -> LDA | None:
    """The state saved at `path`; None when there is no file."""
    identity = identity | {"config": config.effective()}
    found = resume_fit(path, identity, lambda saved: _saved_config(saved).effective())
    if found is None:
        return None
    with restoring(path):
        state = replace(_restore(*found, observed), config=config)
    check_not_beyond(path, state.sweep, config.n_sweeps)
    return state
