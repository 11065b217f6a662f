"""Settings chosen on the development documents alone, by a coordinate search.

``python -m experiments.tune --profile medium`` reads ``configs/tuning/medium.yaml``: for every
stage, which is the name of a model (`experiments.families`), a list of values per setting. The
search starts from the first value of each list; then one setting after another tries its other
values and keeps the best. Held-out words of reported documents are never used. With ``--data
clicks`` the search is on a data set of notebook 10. Trials have checkpoints, so an interrupted
search resumes; a trial that ``results/PROFILE/run/tuning.json`` or the committed
``results/PROFILE/tuning.json`` has, of the same corpus, is not run again.
"""

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import yaml

from experiments import results, study
from experiments.families import LDA, Settings
from experiments.results import measure, save_result
from lla.common.errors import InputError, run_main
from lla.common.files import read_json
from lla.common.progress import progress
from lla.corpus import Split, load_corpus, split_corpus


def search(
    grid: dict[str, list[Any]], score: Callable[[Settings], float]
) -> tuple[Settings, list[dict[str, Any]]]:
    """Coordinate search: one setting after another takes its best value, the others kept.

    Parameters
    ----------
    grid : values per setting; the first of each list is the start
    score : settings -> development perplexity

    Returns
    -------
    chosen, trials : the best settings; every trial with its settings and perplexity, in order
    """
    chosen = {name: values[0] for name, values in grid.items()}
    best = score(chosen)
    trials = [{"settings": chosen, "perplexity": best}]
    rest = [(name, value) for name, values in grid.items() for value in values[1:]]
    for name, value in progress(rest, description="tuning", unit="trial"):
        settings = chosen | {name: value}
        found = score(settings)
        trials.append({"settings": settings, "perplexity": found})
        if found < best:
            chosen, best = settings, found
    return chosen, trials


def development_perplexity(
    split: Split, stage: str, settings: Settings, seed: int, work: Path, start: Any = None
) -> float:
    """Development perplexity of the model `stage`, fitted with these settings or read back."""
    planned = study.plan(split, stage, settings, seed, work, start=start)
    return study.development_perplexity(planned, split, planned.fit(split))


@dataclass(frozen=True)
class Search:
    """Which search: on a profile's own corpus, or on one of its users' data sets (notebook 10)."""

    profile: str
    data: str = ""

    @property
    def grids(self) -> Path:
        """The file of the values to try."""
        return results.CONFIGS / "tuning" / f"{'-'.join(filter(None, vars(self).values()))}.yaml"

    @property
    def folder(self) -> Path:
        """The folder of the corpus and of the trials' checkpoints."""
        work = results.work_dir(self.profile)
        return work / "users" / self.data if self.data else work

    @property
    def result(self) -> str:
        """Name of the result file."""
        return f"tuning_{self.data}" if self.data else "tuning"


def tune(profile: str, fresh: bool = False, data: str = "") -> dict[str, Settings]:
    """Run the searches of ``configs/tuning/PROFILE.yaml``; writes and returns what they chose.

    The result file is written after every stage. With `fresh` no trial is taken from it.

    Parameters
    ----------
    data : a data set of notebook 10, whose grids are in ``configs/tuning/PROFILE-DATA.yaml``
    """
    start_time = perf_counter()
    target = Search(profile, data)
    grids, seed = read_grids(target)
    work = target.folder / "tuning"
    work.mkdir(parents=True, exist_ok=True)
    split = split_corpus(load_corpus(target.folder / "corpus"))
    recorded = {} if fresh else recorded_trials(target, split.corpus.fingerprint, seed)
    trials = {stage: tried for stage, tried in recorded.items() if stage in grids}
    chosen: dict[str, Settings] = {}

    def run(stage: str, start: Any = None) -> None:
        known = {_key(trial["settings"]): trial["perplexity"] for trial in recorded.get(stage, [])}

        def score(settings: Settings) -> float:
            if _key(settings) in known:
                return known[_key(settings)]
            return development_perplexity(split, stage, settings, seed, work, start)

        chosen[stage], trials[stage] = search(grids[stage], score)

    run(LDA.key)
    if recorded and best_of(recorded[LDA.key]) != chosen[LDA.key]:
        recorded, trials = {}, {LDA.key: trials[LDA.key]}  # the other stages had another start
    start = study.fit(split, LDA.key, chosen[LDA.key], seed, work)
    for stage in list(grids)[1:]:
        run(stage, start)
        _save(target, split, seed, trials, perf_counter() - start_time)
    _save(target, split, seed, trials, perf_counter() - start_time)
    return chosen


def best_of(trials: list[dict[str, Any]]) -> Settings:
    """Settings of the first trial with the lowest perplexity."""
    return min(trials, key=lambda trial: trial["perplexity"])["settings"]


def recorded_trials(target: Search, corpus: str, seed: int) -> dict[str, list[dict[str, Any]]]:
    """Trials by stage of the run's result file, or of the committed one.

    None if both are of another corpus or seed.
    """
    for folder in (results.run_dir(target.profile), results.profile_dir(target.profile)):
        file = folder / f"{target.result}.json"
        result = read_json(file) if file.exists() else {}
        if result and result["environment"].get("corpus") == corpus and result["seeds"] == [seed]:
            return result["extra"]["trials"]
    return {}


def _save(
    target: Search, split: Split, seed: int, trials: dict[str, list[dict[str, Any]]], seconds: float
) -> None:
    measures = {
        f"development_perplexity.{stage}": measure(
            [min(trial["perplexity"] for trial in tried)], "perplexity"
        )
        for stage, tried in trials.items()
    }
    save_result(
        target.profile,
        target.result,
        config={stage: best_of(tried) for stage, tried in trials.items()},
        seeds=[seed],
        measures=measures,
        claims=[],
        corpus=split.corpus.fingerprint,
        seconds=seconds,
        extra={"trials": trials},
    )


def _key(settings: Settings) -> str:
    """One text for the same settings; a setting of None is as if it were not named."""
    named = {name: value for name, value in settings.items() if value is not None}
    return json.dumps(named, sort_keys=True)


def read_grids(target: Search) -> tuple[dict[str, dict[str, list[Any]]], int]:
    """The grids of a search by stage, LDA first, and the seed."""
    results.profile_dir(target.profile)
    file = target.grids
    label = f"experiments/configs/tuning/{file.name}"
    try:
        grids = yaml.safe_load(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{label}: not there; write it to tune this profile") from None
    except yaml.YAMLError as error:
        raise InputError(f"{label}: not valid YAML ({error}); correct it") from None
    if not isinstance(grids, dict) or "seed" not in grids or "lda" not in grids:
        raise InputError(f"{label}: needs a seed and a stage lda; add them")
    seed = grids.pop("seed")
    for stage, grid in grids.items():
        for name, values in grid.items():
            if not isinstance(values, list) or not values:
                raise InputError(f"{label}: {stage}: {name} is {values!r}; give a list of values")
    return {"lda": grids.pop("lda"), **grids}, seed


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m experiments.tune", description=__doc__)
    parser.add_argument("--profile", default="small", help="whose corpus and grids (small)")
    parser.add_argument("--data", default="", help="a data set of notebook 10, such as clicks")
    parser.add_argument("--fresh", action="store_true", help="run recorded trials again")
    options = parser.parse_args(argv)
    chosen = tune(options.profile, options.fresh, options.data)
    for stage, settings in chosen.items():
        print(f"{stage}:", *(f"{name}={value}" for name, value in settings.items()))
    return 0


if __name__ == "__main__":
    run_main(main)
