"""Settings chosen on the development documents alone, by a search anyone can read and repeat.

``python -m experiments.tune --profile medium`` reads ``configs/tuning/medium.yaml``: for every
stage a list of values per setting. The first value of each list is where the search starts; then
one setting after another tries its other values and keeps the best. No reported document's
held-out word is looked at. With ``--data clicks`` the search is on a data set of notebook 10.
Trials are kept in checkpoints, so an interrupted search goes on where it was; and a trial that
``results/PROFILE/tuning.json`` already holds, of the same corpus, is not run again.
"""

import argparse
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import yaml

from experiments import paths
from experiments.results import load_result, measure, save_result
from experiments.study import beginning
from lla.common.errors import InputError, run_main
from lla.common.progress import progress
from lla.corpus import Split, load_corpus, split_corpus
from lla.evaluate.perplexity import perplexity
from lla.lda import LDA, LDAConfig, fit_lda
from lla.peers.autoencoder import AutoencoderConfig, fit_autoencoder
from lla.peers.counts import unigram
from lla.peers.ddlda import DDLDAConfig, decay_table, fit_ddlda, score_ddlda
from lla.peers.popular import popular_of, score_popular
from lla.peers.sasrec import SASRecConfig, fit_sasrec
from lla.peers.sequence import GRU4RecConfig, fit_gru4rec
from lla.sem import SEMConfig, fit_sem

Settings = dict[str, Any]


def search(
    grid: dict[str, list[Any]], score: Callable[[Settings], float]
) -> tuple[Settings, list[dict[str, Any]]]:
    """Coordinate search: one setting after another takes its best value, the others kept.

    Parameters
    ----------
    grid : values a setting; the first of each list is the start
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


def development_lda(split: Split, settings: Settings, seed: int, work: Path) -> tuple[LDA, float]:
    """LDA with these settings, and its perplexity, θ updated, on the development documents."""
    config = LDAConfig(**settings)
    checkpoint = _checkpoint(work, "lda", settings, seed)
    lda = fit_lda(split, config, seed, checkpoint=checkpoint)
    scores = lda.score(split, seed=seed)
    return lda, perplexity(scores, split, split.development)


def development_sem(split: Split, lda: LDA, settings: Settings, seed: int, work: Path) -> float:
    """Lowest development perplexity of a model of Table 1 fitted with these settings."""
    key = settings | {"lda": _unusual(lda.config)}
    start, settings = beginning(split, lda, settings, seed, work)
    config = SEMConfig.from_options(**({"n_topics": lda.config.n_topics} | settings))
    topics = start.topics if config.has_topics else None
    checkpoint = _checkpoint(work, "sem", key, seed)
    model = fit_sem(split, config, seed, start=topics, checkpoint=checkpoint)
    return min(row["development_perplexity"] for row in model.history)


def development_ddlda(split: Split, lda: LDA, settings: Settings, seed: int, work: Path) -> float:
    """Perplexity of ddLDA, begun from LDA's topics, on the development documents."""
    config = DDLDAConfig(**({"n_topics": lda.config.n_topics} | settings))
    key = settings | {"lda": _unusual(lda.config)}
    checkpoint = _checkpoint(work, "ddlda", key, seed)
    fit = fit_ddlda(split.observed, config, seed, lda.topics, checkpoint)
    part = split.restrict(split.development)
    topics = fit.topics[np.repeat(split.development, split.observed.lengths)]
    decay = decay_table(config, int(split.corpus.lengths.max()))
    scores = score_ddlda(fit.phi(split.observed), fit.alpha, topics, decay, part, seed)
    return perplexity(scores, part, part.development)


def development_autoencoder(
    split: Split, lda: LDA, settings: Settings, seed: int, work: Path
) -> float:
    """Lowest development perplexity of the autoencoder; it has no use for LDA."""
    checkpoint = _checkpoint(work, "autoencoder", settings, seed)
    _, history = fit_autoencoder(split, AutoencoderConfig(**settings), seed, checkpoint)
    return min(row["development_perplexity"] for row in history)


def development_popular(split: Split, lda: LDA, settings: Settings, seed: int, work: Path) -> float:
    """Perplexity of personalised most popular on the development users; nothing is drawn."""
    model = popular_of(unigram(split), split, settings)
    part = split.restrict(split.development)
    return perplexity(score_popular(model, part), part, part.development)


def development_gru4rec(split: Split, lda: LDA, settings: Settings, seed: int, work: Path) -> float:
    """Lowest development perplexity of the GRU4Rec-style network."""
    checkpoint = _checkpoint(work, "gru4rec", settings, seed)
    _, history = fit_gru4rec(split, GRU4RecConfig(**settings), seed, checkpoint)
    return min(row["development_perplexity"] for row in history)


def development_sasrec(split: Split, lda: LDA, settings: Settings, seed: int, work: Path) -> float:
    """Lowest development perplexity of SASRec."""
    checkpoint = _checkpoint(work, "sasrec", settings, seed)
    _, history = fit_sasrec(split, SASRecConfig(**settings), seed, checkpoint)
    return min(row["development_perplexity"] for row in history)


# A stage by any other name is a model of Table 1, told by its setting `model`.
PEERS = {
    "ddlda": development_ddlda,
    "autoencoder": development_autoencoder,
    "popular": development_popular,
    "gru4rec": development_gru4rec,
    "gru4rec_sampled": development_gru4rec,
    "sasrec": development_sasrec,
    "sasrec_sampled": development_sasrec,
}


@dataclass(frozen=True)
class Search:
    """Which search: a profile's own corpus, or one of its users' data sets (notebook 10)."""

    profile: str
    data: str = ""

    @property
    def grids(self) -> Path:
        """The file of what is tried."""
        return paths.CONFIGS / "tuning" / f"{'-'.join(filter(None, vars(self).values()))}.yaml"

    @property
    def room(self) -> Path:
        """The folder of the corpus and of the trials' checkpoints."""
        work = paths.work_dir(self.profile)
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
    begun, where = perf_counter(), Search(profile, data)
    grids, seed = read_grids(where)
    work = where.room / "tuning"
    work.mkdir(parents=True, exist_ok=True)
    split = split_corpus(load_corpus(where.room / "corpus"))
    there = {} if fresh else recorded_trials(where, split.corpus.fingerprint, seed)
    trials = {stage: tried for stage, tried in there.items() if stage in grids}
    chosen: dict[str, Settings] = {}

    def run(stage: str, score: Callable[[Settings], float]) -> None:
        known = {_key(trial["settings"]): trial["perplexity"] for trial in there.get(stage, [])}

        def look(settings: Settings) -> float:
            return known[_key(settings)] if _key(settings) in known else score(settings)

        chosen[stage], trials[stage] = search(grids[stage], look)

    run("lda", lambda settings: development_lda(split, settings, seed, work)[1])
    if there and best_of(there["lda"]) != chosen["lda"]:  # the rest began from another one
        there, trials = {}, {"lda": trials["lda"]}
    lda, _ = development_lda(split, chosen["lda"], seed, work)
    for stage in list(grids)[1:]:
        score = PEERS.get(stage, development_sem)
        run(stage, lambda settings, score=score: score(split, lda, settings, seed, work))
        _save(where, split, seed, trials, perf_counter() - begun)
    _save(where, split, seed, trials, perf_counter() - begun)
    return chosen


def best_of(trials: list[dict[str, Any]]) -> Settings:
    """Settings of the first trial with the lowest perplexity."""
    return min(trials, key=lambda trial: trial["perplexity"])["settings"]


def recorded_trials(where: Search, corpus: str, seed: int) -> dict[str, list[dict[str, Any]]]:
    """Trials by stage of the result file; none where it tells of another corpus or seed."""
    if not (paths.profile_dir(where.profile) / f"{where.result}.json").exists():
        return {}
    there = load_result(where.profile, where.result)
    if there["environment"].get("corpus") != corpus or there["seeds"] != [seed]:
        return {}
    return there["extra"]["trials"]


def _save(
    where: Search, split: Split, seed: int, trials: dict[str, list[dict[str, Any]]], seconds: float
) -> None:
    measures = {
        f"development_perplexity.{stage}": measure(
            [min(trial["perplexity"] for trial in tried)], "perplexity"
        )
        for stage, tried in trials.items()
    }
    chosen = {stage: best_of(tried) for stage, tried in trials.items()}
    about = {"config": chosen, "seeds": [seed], "measures": measures, "claims": []}
    about |= {"corpus": split.corpus.fingerprint, "extra": {"trials": trials}}
    save_result(where.profile, where.result, seconds=seconds, **about)


def _key(settings: Settings) -> str:
    """One text for the same settings; what is None is as if it were not named."""
    given = {name: value for name, value in settings.items() if value is not None}
    return json.dumps(given, sort_keys=True)


def read_grids(where: Search) -> tuple[dict[str, dict[str, list[Any]]], int]:
    """The grids of a search by stage, LDA first, and the seed."""
    paths.profile_dir(where.profile)
    file = where.grids
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


def _unusual(config: LDAConfig) -> Settings:
    """What differs from the defaults: a file's name does not change when options are added."""
    usual = asdict(LDAConfig())
    return {name: value for name, value in asdict(config).items() if value != usual[name]}


def _checkpoint(work: Path, kind: str, settings: Settings, seed: int) -> Path:
    text = json.dumps([settings, seed], sort_keys=True, default=str)
    return work / f"{kind}-{hashlib.sha256(text.encode()).hexdigest()[:12]}.safetensors"


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m experiments.tune", description=__doc__)
    parser.add_argument("--profile", default="small", help="whose corpus and grids (small)")
    parser.add_argument("--data", default="", help="a data set of notebook 10, such as clicks")
    parser.add_argument("--fresh", action="store_true", help="run recorded trials again")
    given = parser.parse_args(argv)
    for stage, settings in tune(given.profile, given.fresh, given.data).items():
        print(f"{stage}:", *(f"{name}={value}" for name, value in settings.items()))
    return 0


if __name__ == "__main__":
    run_main(main)
