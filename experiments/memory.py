"""How much memory the fit of each model takes: the largest resident set, beyond what there was.

Fits are read back, go on where they were cut off, and stand on what other fits have left behind; so
none is watched where it is made. For this alone each is begun anew in a process of its own, on one
thread, for one pass, and thrown away. A pass over a few documents goes before it, so that what
libraries take once and for all is not counted.
"""

import ctypes
import gc
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import psutil

from experiments.processes import run_parallel
from experiments.study import Settings, beginning, file_of, part_of
from lla.common.files import read_json, write_json
from lla.corpus import Corpus, Split
from lla.lda import LDA, fit_lda
from lla.peers import autoencoder, ddlda
from lla.peers import counts as bigram
from lla.peers.counts import tune_concentration, unigram
from lla.sem import SEMConfig, fit_sem

SECONDS_BETWEEN_LOOKS = 0.002


SHARE_BEFORE = 0.01  # of the documents, in the pass that is not counted


class Pass(NamedTuple):
    """One pass of a fit, and the file its peak memory is kept in."""

    kept: Path
    fit: partial


def memory_of_models(
    split: Split, lda: LDA, models: Mapping[str, Settings], seed: int, folder: Path
) -> dict[str, int]:
    """Bytes that one pass of each model's fit holds at most, beyond what there was.

    Parameters
    ----------
    lda : the fit whose sizes LDA has, and whose topics others begin with
    models : settings by name, as `study` takes them; `ddlda` and `autoencoder` are those models,
        any other name is a model of Table 1
    folder : where the numbers are kept, each under its settings

    Returns
    -------
    name -> bytes, of `models`, of LDA (`lda`, `lda_updated`) and of the models that only count
    """
    passes = passes_of(split, lda, models, seed, folder)
    missing = {one.kept: one.fit for one in passes.values() if not one.kept.exists()}
    calls = [partial(_keep_peak, fit, _few(fit, split), kept) for kept, fit in missing.items()]
    run_parallel(calls, "memory, model by model", fresh=True)
    return {name: int(read_json(one.kept)["bytes"]) for name, one in passes.items()}


def peak_memory_of(fit: Callable[[], object]) -> int:
    """Most bytes this process holds while `fit` runs, above what it held at the start."""
    _give_back()
    process = psutil.Process()
    start = largest = process.memory_info().rss
    done = threading.Event()

    def look() -> None:
        nonlocal largest
        while not done.wait(SECONDS_BETWEEN_LOOKS):
            largest = max(largest, process.memory_info().rss)

    watcher = threading.Thread(target=look, daemon=True)
    watcher.start()
    try:
        result = fit()  # held until it has been weighed
    finally:
        done.set()
        watcher.join()
    largest = max(largest, process.memory_info().rss)
    del result
    return largest - start


def _give_back() -> None:
    """What is free goes to the system, where the C library can: else a fit could hold it unseen."""
    gc.collect()
    with suppress(AttributeError, OSError):  # glibc alone has it
        ctypes.CDLL(None).malloc_trim(0)


def _keep_peak(fit: partial, before: partial, kept: Path) -> None:
    before()
    write_json(kept, {"bytes": peak_memory_of(fit)})


def _few(fit: partial, split: Split) -> partial:
    """The same call on a few documents."""
    chosen = part_of(split, SHARE_BEFORE)
    part, tokens = split.restrict(chosen), np.repeat(chosen, split.observed.lengths)

    def less(given: object) -> object:
        if isinstance(given, Split):
            return part
        if isinstance(given, Corpus):
            return part.observed
        return given[tokens] if isinstance(given, np.ndarray) else given

    given = {name: less(value) for name, value in fit.keywords.items()}
    return partial(fit.func, *map(less, fit.args), **given)


def passes_of(
    split: Split, lda: LDA, models: Mapping[str, Settings], seed: int, folder: Path
) -> dict[str, Pass]:
    """What `memory_of_models` runs, by name."""

    def of(
        name: str, settings: Settings, fit: Callable[..., object], *given: object, **named: object
    ) -> Pass:
        file = file_of(folder, f"memory-{name}", settings, seed).with_suffix(".json")
        return Pass(file, partial(fit, *given, **named))

    config = replace(lda.config, n_sweeps=1)
    lda_pass = of("lda", asdict(config), fit_lda, split, config, seed)
    found = {
        "unigram": of("unigram", {}, unigram, split),
        "cache_unigram": of("cache_unigram", {}, _cache_unigram, split),
        "bigram": of("bigram", {}, _bigram, split),
        "lda": lda_pass,
        "lda_updated": lda_pass,
    }
    for name, settings in models.items():
        if name == "ddlda":
            near = {"n_topics": config.n_topics} | settings | {"n_sweeps": 1}
            given = split.observed, ddlda.DDLDAConfig(**near), seed, lda.topics
            found[name] = of(name, near, ddlda.fit_ddlda, *given)
        elif name == "autoencoder":
            one = autoencoder.AutoencoderConfig(**(settings | {"n_epochs": 1}))
            found[name] = of(name, asdict(one), autoencoder.fit_autoencoder, split, one, seed)
        else:
            start, rest = beginning(split, lda, settings, seed, folder)
            sem = SEMConfig.from_options(**({"n_topics": config.n_topics} | rest))
            sem = sem.replace(initial_epochs=1, n_iterations=1)
            topics = start.topics if sem.has_topics else None
            found[name] = of(sem.model, asdict(sem), fit_sem, split, sem, seed, start=topics)
    return found


def _cache_unigram(split: Split) -> object:
    return (p := unigram(split)), tune_concentration(p, split)


def _bigram(split: Split) -> object:
    p, pairs = unigram(split), bigram.fit_bigram(split)
    return p, pairs, bigram.tune_bigram(pairs, p, split)
