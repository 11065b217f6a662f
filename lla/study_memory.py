"""How much memory the fit of each model takes: the largest resident set, beyond what there was.

Fits are read back, go on where they were cut off, and stand on what other fits have left behind; so
none is watched where it is made. Each is begun anew for this alone, for one pass, after what is
free has been given back, and thrown away.
"""

import ctypes
import gc
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import psutil

from lla.corpus import Split
from lla.lda import LDA, fit_lda
from lla.peers import autoencoder, bigram, ddlda
from lla.peers.unigram import tune_concentration, unigram
from lla.sem import fit_sem
from lla.sem_config import SEMConfig
from lla.store import read_json, write_json
from lla.study import Settings, beginning, file_of

SECONDS_BETWEEN_LOOKS = 0.002


def memory_of_models(
    split: Split, lda: LDA, models: Mapping[str, Settings], seed: int, folder: Path
) -> dict[str, int]:
    """Bytes that one pass of each model's fit held at most, beyond what there was.

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
    counts = {"unigram": _unigram, "cache_unigram": _cache_unigram, "bigram": _bigram}
    found = {name: _kept(folder, name, {}, 0, partial(fit, split)) for name, fit in counts.items()}
    sweeps = replace(lda.config, n_sweeps=1)
    found["lda"] = found["lda_updated"] = _kept(
        folder, "lda", asdict(sweeps), seed, lambda: fit_lda(split.observed, sweeps, seed)
    )
    for name, settings in models.items():
        of = {"ddlda": _of_ddlda, "autoencoder": _of_autoencoder}.get(name, _of_table_1)
        found[name] = of(split, lda, settings, seed, folder)
    return found


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


def _kept(folder: Path, name: str, settings: Settings, seed: int, fit: Callable[[], object]) -> int:
    """The number of these settings, measured where it is not there."""
    file = file_of(folder, f"memory-{name}", settings, seed).with_suffix(".json")
    if not file.exists():
        write_json(file, {"bytes": peak_memory_of(fit)})
    return int(read_json(file)["bytes"])


def _unigram(split: Split) -> object:
    return unigram(split)


def _cache_unigram(split: Split) -> object:
    return (p := unigram(split)), tune_concentration(p, split)


def _bigram(split: Split) -> object:
    p, pairs = unigram(split), bigram.fit_bigram(split)
    return p, pairs, bigram.tune_bigram(pairs, p, split)


def _of_ddlda(split: Split, lda: LDA, settings: Settings, seed: int, folder: Path) -> int:
    given = {"n_topics": lda.config.n_topics} | settings | {"n_sweeps": 1}
    config = ddlda.DDLDAConfig(**given)

    def fit() -> object:
        return ddlda.fit_ddlda(split.observed, config, seed, lda.topics)

    return _kept(folder, "ddlda", given, seed, fit)


def _of_autoencoder(split: Split, lda: LDA, settings: Settings, seed: int, folder: Path) -> int:
    config = autoencoder.AutoencoderConfig(**(settings | {"n_epochs": 1}))

    def fit() -> object:
        return autoencoder.fit_autoencoder(split, config, seed)

    return _kept(folder, "autoencoder", asdict(config), seed, fit)


def _of_table_1(split: Split, lda: LDA, settings: Settings, seed: int, folder: Path) -> int:
    start, rest = beginning(split, lda, settings, seed, folder)
    given = {"n_topics": lda.config.n_topics} | rest
    config = SEMConfig.flat(**given).but(initial_epochs=1, n_iterations=1)
    topics = start.topics if config.has_topics else None

    def fit() -> object:
        return fit_sem(split, topics, config, seed)

    return _kept(folder, config.model, asdict(config), seed, fit)
