"""Topics and a forecast of a fitted LLA for the README, as ``results/PROFILE/run/showcase.json``.

``python -m experiments.studies.showcase`` reads the joint model of the first seed that notebooks
01 to 03 leave in the profile's work folder. Run `make reproduce ONLY="01 02 03"` before.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from experiments.results import measure, require, save_result
from lla import Model, load_corpus, load_sem, split_corpus
from lla.common.errors import InputError, run_main
from lla.topics.words import top_words

THEMES = ("probability", "http", "polynomial")
HISTORY = ("figure", "axes", "legend")
SEED = 1
N_WORDS = 5


def show(model: Model, themes: Sequence[str], history: Sequence[str]) -> dict[str, Any]:
    """The topic that uses each theme's word most, and the likeliest topics after `history`."""
    if unknown := [word for word in (*themes, *history) if word not in model.vocabulary]:
        raise InputError(f"the model has no word {unknown[0]!r}; name another")
    if model.emission is None:
        raise InputError("this model predicts words and has no topics; show an LLA")
    phi = model.emission.phi.numpy()
    n_tokens = np.bincount(model.topics, minlength=phi.shape[1])
    shown = [int(np.argmax(phi[model.vocabulary.index(word)] * n_tokens)) for word in themes]
    words = top_words(phi, model.vocabulary, N_WORDS)
    expected = model.topics_ahead(history, steps=1, seed=SEED)[0]
    return {
        "topics": [{"number": k, "words": words[k]} for k in shown],
        "history": list(history),
        "forecast": [
            {"number": int(k), "words": words[k][:3], "probability": round(float(expected[k]), 4)}
            for k in np.argsort(-expected, kind="stable")[:3]
        ],
    }


def write_showcase(
    profile: str, themes: Sequence[str] = THEMES, history: Sequence[str] = HISTORY
) -> Path:
    """Write ``results/PROFILE/run/showcase.json``; returns its path."""
    split = split_corpus(load_corpus(require(profile, "corpus", "01_data_prep")))
    path = require(profile, f"joint-{SEED}.safetensors", "03_sem_training")
    model = load_sem(path, split)
    kept = min(row["development_perplexity"] for row in model.history)
    return save_result(
        profile,
        "showcase",
        config={"themes": list(themes), "history": list(history)},
        seeds=[SEED],
        measures={"development_perplexity.topic_lla": measure([kept], "perplexity")},
        claims=[],
        corpus=split.corpus.fingerprint,
        seconds=model.seconds,
        extra=show(model, themes, history),
    )


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments.studies.showcase", description=__doc__
    )
    parser.add_argument("--profile", default="small")
    parser.add_argument("--themes", nargs="+", default=THEMES, metavar="WORD")
    parser.add_argument("--history", nargs="+", default=HISTORY, metavar="WORD")
    options = parser.parse_args(argv)
    print(f"wrote {write_showcase(options.profile, options.themes, options.history)}")
    return 0


if __name__ == "__main__":
    run_main(main)
