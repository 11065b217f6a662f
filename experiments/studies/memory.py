"""Peak memory of each model's fit: the largest resident set, beyond that of the process before.

It is measured in a fresh process, on one thread, for one iteration from the start: cached or
resumed fits would hide it. An iteration on a few documents runs first, so that memory which
libraries take once is not counted.
"""

import ctypes
import gc
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, fields, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import psutil

from experiments import study
from experiments.families import LDA, LDA_ONLINE, Family, Settings, baselines_of
from experiments.processes import run_parallel
from lla.common.files import read_json, write_json
from lla.corpus import Split

SAMPLING_SECONDS = 0.002
WARMUP_SHARE = 0.01  # of the documents, in the iteration that is not counted
ITERATIONS = ("n_sweeps", "n_epochs", "initial_epochs", "n_iterations")  # options that count them


class OneIteration(NamedTuple):
    """One iteration of a fit, and the file its peak memory is cached in."""

    cache_file: Path
    family: Family
    config: Any
    seed: int
    topics: np.ndarray | None

    def fit(self, split: Split) -> object:
        """Run it."""
        return self.family.fit(split, self.config, self.seed, start=self.topics)

    def warm_up(self, split: Split) -> object:
        """The same on a few documents."""
        chosen = study.part_of(split, WARMUP_SHARE)
        topics = self.topics
        if topics is not None:
            topics = topics[np.repeat(chosen, split.observed.lengths)]
        return self._replace(topics=topics).fit(split.restrict(chosen))


def memory_of_models(
    split: Split, lda: Any, models: Mapping[str, Settings], seed: int, cache_dir: Path
) -> dict[str, int]:
    """Bytes that one iteration of each model's fit holds at most, beyond those held before.

    Parameters
    ----------
    lda : the fit whose K other models take, and whose topics they start from
    models : settings by name (`study.plan`)
    cache_dir : where the numbers are cached, each under its settings

    Returns
    -------
    name -> bytes, of `models`, of LDA (`lda`, `lda_online`) and of the baselines
    """
    runs = one_iteration_each(split, lda, models, seed, cache_dir)
    missing = {run.cache_file: run for run in runs.values() if not run.cache_file.exists()}
    calls = [partial(_measure, run, split) for run in missing.values()]
    by_file = {run.cache_file: name for name, run in runs.items()}
    names = [f"memory of {by_file[file]}" for file in missing]
    run_parallel(calls, "memory, model by model", fresh=True, names=names)
    return {name: int(read_json(run.cache_file)["bytes"]) for name, run in runs.items()}


def one_iteration_each(
    split: Split, lda: Any, models: Mapping[str, Settings], seed: int, cache_dir: Path
) -> dict[str, OneIteration]:
    """What `memory_of_models` runs, by name."""

    def of(name: str, settings: Settings) -> OneIteration:
        planned = study.plan(split, name, settings, seed, cache_dir, start=lda)
        planned = planned.base or planned  # to mix own counts in is no training
        config = one_iteration(planned.config)
        file_name, _ = planned.family.file_key(planned.config, settings)
        file = study.checkpoint_path(cache_dir, f"memory-{file_name}", asdict(config), seed)
        return OneIteration(file.with_suffix(".json"), planned.family, config, seed, planned.topics)

    found = {family.key: of(family.key, {}) for family in baselines_of(split)}
    found[LDA.key] = found[LDA_ONLINE] = of(LDA.key, asdict(lda.config))
    return found | {name: of(name, settings) for name, settings in models.items()}


def one_iteration(config: Any) -> Any:
    """The same configuration for one iteration."""
    names = [option.name for option in fields(config) if option.name in ITERATIONS]
    return replace(config, **dict.fromkeys(names, 1))


def peak_memory_of(fit: Callable[[], object]) -> int:
    """Most bytes this process holds while `fit` runs, above what it held at the start."""
    _release_free_memory()
    process = psutil.Process()
    start = largest = process.memory_info().rss
    done = threading.Event()

    def sample() -> None:
        nonlocal largest
        while not done.wait(SAMPLING_SECONDS):
            largest = max(largest, process.memory_info().rss)

    sampler = threading.Thread(target=sample, daemon=True)
    sampler.start()
    try:
        result = fit()  # held until the last measurement
    finally:
        done.set()
        sampler.join()
    largest = max(largest, process.memory_info().rss)
    del result
    return largest - start


def _release_free_memory() -> None:
    """Return free memory to the system, so that a fit cannot reuse it unseen."""
    gc.collect()
    with suppress(AttributeError, OSError):  # only glibc has it
        ctypes.CDLL(None).malloc_trim(0)


def _measure(run: OneIteration, split: Split) -> None:
    run.warm_up(split)
    write_json(run.cache_file, {"bytes": peak_memory_of(lambda: run.fit(split))})
