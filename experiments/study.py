"""One call a model: fit it, score it, weigh it. What notebooks 05 to 08 put in loops.

Whatever the model, its held-out words are the same ones, in the same order, and it is counted
alike: parameters, bytes, seconds of training; `study_memory` weighs what they hold. Fits and scores
are kept in a folder and read back when nothing they depend on has changed.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from lla.common.checkpoint import hash_of_topics
from lla.common.errors import InputError
from lla.corpus import Split
from lla.evaluate.perplexity import perplexity
from lla.evaluate.size import Size, size_of_counts
from lla.lda import LDA, LDAConfig, fit_lda
from lla.model import Model
from lla.peers import autoencoder, ddlda
from lla.peers import counts as bigram
from lla.peers.counts import score_cache_unigram, score_unigram, tune_concentration, unigram
from lla.sem import SEMConfig, fit_sem

Settings = dict[str, Any]


History = list[dict[str, float]]


@dataclass(frozen=True)
class Outcome:
    """What one fit of one model came to.

    Attributes
    ----------
    perplexity : of the reported documents' held-out words
    development : the same of the development documents
    size : parameters and bytes
    seconds : of training; LDA's are not counted in models that begin with it
    history : a row an iteration, where the model has them
    scores : (D,) log-probability of each document's held-out words, nats
    """

    perplexity: float
    development: float
    size: Size
    seconds: float = 0.0
    history: History = field(default_factory=list)
    scores: np.ndarray = field(default_factory=lambda: np.empty(0), repr=False)


def run_lda(split: Split, settings: Settings, seed: int, folder: Path) -> tuple[LDA, Outcome]:
    """LDA, θ updated as words are revealed, and the fit others begin with."""
    file = file_of(folder, "lda", settings, seed)
    lda = fit_lda(split, LDAConfig(**settings), seed, checkpoint=file)
    return lda, outcome_of_lda(split, lda)


def outcome_of_lda(split: Split, lda: LDA, update: bool = True) -> Outcome:
    """An LDA at hand, scored; θ learns from revealed words unless `update` is False."""
    scores = lda.score(split, seed=lda.seed, update=update)
    return outcome_of(split, scores, lda.size(), lda.seconds)


def run_model(
    split: Split,
    lda: LDA | None,
    settings: Settings,
    seed: int,
    folder: Path,
    n_particles: int = 16,
) -> Outcome:
    """A model of Table 1; see `model_of`."""
    fit, file = model_of(split, lda, settings, seed, folder)
    kept = file.with_name(f"score-{n_particles}-{file.name}")
    return outcome_of_model(split, fit, n_particles, seed, kept)


def model_of(
    split: Split, lda: LDA | None, settings: Settings, seed: int, folder: Path
) -> tuple[Model, Path]:
    """A model of Table 1, fitted or read back, and the file it is kept in.

    Parameters
    ----------
    lda : where topics begin; an LSTM over words needs none
    settings : of the model and its optimiser (`SEMConfig.flat`); K is LDA's. With `ddlda`, settings
        of that model, topics begin where it takes LDA's
    """
    lda, settings = beginning(split, lda, settings, seed, folder)
    given = {"n_topics": lda.config.n_topics} if lda else {}
    config = SEMConfig.from_options(**(given | settings))
    topics = lda.topics if config.has_topics else None
    start = hash_of_topics(topics) if config.has_topics else ""
    # More iterations, or more patience, continue the same fit; what is not said is not named.
    same, usual = asdict(replace(config, n_iterations=1, patience=1)), asdict(SEMConfig())
    told = {name: value for name, value in same.items() if value != usual[name]}
    file = file_of(folder, config.model, told | {"start": start}, seed)
    return fit_sem(split, config, seed, start=topics, checkpoint=file), file


def beginning(
    split: Split, lda: LDA | None, settings: Settings, seed: int, folder: Path
) -> tuple[LDA | ddlda.DDLDA | None, Settings]:
    """The fit whose topics a model of Table 1 begins with, and its other settings (`model_of`).

    LDA knows what is in a document, not where; the paper begins with it. ddLDA's topics are those
    of what stands near.
    """
    rest = {name: value for name, value in settings.items() if name != "ddlda"}
    if not settings.get("ddlda"):
        return lda, rest
    if lda is None:
        raise InputError(
            "ddlda is given, which moves the topics of an LDA: give that, or leave it out"
        )
    return ddlda_of(split, lda, settings["ddlda"], seed, folder)[0], rest


def outcome_of_model(
    split: Split,
    model: Model,
    n_particles: int,
    seed: int,
    kept: Path | None = None,
) -> Outcome:
    """A model of Table 1 at hand, scored; `kept` is the scores' checkpoint."""
    scores = model.score(split, seed=seed, n_particles=n_particles, checkpoint=kept)
    return outcome_of(split, scores, model.size(), model.seconds, model.history)


def run_ddlda(split: Split, lda: LDA, settings: Settings, seed: int, folder: Path) -> Outcome:
    """ddLDA, begun from LDA's topics."""
    fit, table = ddlda_of(split, lda, settings, seed, folder)
    phi = fit.phi(split.observed)
    scores = ddlda.score_ddlda(phi, fit.alpha, fit.topics, table, split, seed)
    size = size_of_counts(fit.counts(split.observed)[0])
    return outcome_of(split, scores, size, fit.seconds)


def ddlda_of(
    split: Split, lda: LDA, settings: Settings, seed: int, folder: Path
) -> tuple[ddlda.DDLDA, np.ndarray]:
    """ddLDA fitted, or read back; the decay of whole documents."""
    config = ddlda.DDLDAConfig(**({"n_topics": lda.config.n_topics} | settings))
    start = hash_of_topics(lda.topics)
    file = file_of(folder, "ddlda", asdict(config) | {"start": start}, seed)
    fit = ddlda.fit_ddlda(split.observed, config, seed, lda.topics, file)
    return fit, ddlda.decay_table(config, int(split.corpus.lengths.max()))


def run_autoencoder(split: Split, settings: Settings, seed: int, folder: Path) -> Outcome:
    """The autoencoder."""
    module, history = autoencoder_of(split, settings, seed, folder)
    scores = autoencoder.score_autoencoder(module, split)
    weights = sum(p.numel() * p.element_size() for p in module.parameters())
    size = Size(module.n_parameters(), 0, weights)
    seconds = sum(row["seconds"] for row in history)
    return outcome_of(split, scores, size, seconds, history)


def autoencoder_of(
    split: Split, settings: Settings, seed: int, folder: Path
) -> tuple[autoencoder.Autoencoder, History]:
    """The autoencoder and its history, fitted or read back."""
    file = file_of(folder, "autoencoder", settings, seed)
    return autoencoder.fit_autoencoder(split, autoencoder.AutoencoderConfig(**settings), seed, file)


def run_counts(split: Split) -> dict[str, Outcome]:
    """The models that only count: unigram, cache unigram, bigram; none of them draws."""
    begun, v = perf_counter(), split.corpus.n_words
    p = unigram(split)
    found = {"unigram": (score_unigram(p, split), v, 4 * v)}
    cache = score_cache_unigram(p, tune_concentration(p, split), split)
    found["cache_unigram"] = (cache, v + 1, 4 * v + 4)
    pairs = bigram.fit_bigram(split)
    scores = bigram.score_bigram(pairs, p, bigram.tune_bigram(pairs, p, split), split)
    # A pair is a word and a count, rows begin at V + 1 places.
    n_pairs = bigram.n_parameters(pairs)
    found["bigram"] = (scores, n_pairs, 8 * pairs.nnz + 4 * (2 * v + 1))
    seconds = perf_counter() - begun
    return {
        name: outcome_of(split, scores, Size(0, size, n_bytes), seconds)
        for name, (scores, size, n_bytes) in found.items()
    }


def outcome_of(
    split: Split,
    scores: np.ndarray,
    size: Size,
    seconds: float = 0.0,
    history: History | None = None,
) -> Outcome:
    """The outcome of a model at hand whose documents have these scores, (D,) nats."""
    found = [perplexity(scores, split, of) for of in (split.reported, split.development)]
    return Outcome(*found, size, seconds, history or [], scores)


def file_of(folder: Path, name: str, settings: Settings, seed: int) -> Path:
    """A file for these settings alone: changed ones never meet another fit's checkpoint."""
    text = json.dumps([settings, seed], sort_keys=True)
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:10]}-{seed}.safetensors"


def lda_history(
    split: Split, config: LDAConfig, seed: int, sweeps: Sequence[int]
) -> list[dict[str, float]]:
    """LDA's development perplexity, θ updated, after each of `sweeps`, and the seconds between."""
    wanted, rows = set(sweeps), []

    def look(state: LDA) -> None:
        if state.sweep not in wanted:
            return
        scores = state.score(split, seed=seed)
        before = sum(row["seconds"] for row in rows)
        rows.append(
            {
                "iteration": state.sweep,
                "seconds": state.seconds - before,
                "development_perplexity": perplexity(scores, split, split.development),
            }
        )

    fit_lda(split, replace(config, n_sweeps=max(sweeps)), seed, on_iteration=look)
    return rows


def mean_in_histories(outcomes: Sequence[Outcome], name: str) -> list[float]:
    """Mean of one number over the rows that have it, a value a fit; empty where none has it."""
    rows = [[row[name] for row in outcome.history if name in row] for outcome in outcomes]
    return [sum(values) / len(values) for values in rows if values]


def add_startup_seconds(histories: Sequence[History], seconds: Sequence[float]) -> list[History]:
    """The same histories, their first rows longer by what had to be done before."""
    return [
        [{**row, "seconds": row["seconds"] + (more if i == 0 else 0)} for i, row in enumerate(rows)]
        for rows, more in zip(histories, seconds, strict=True)
    ]


def time_to_converge(history: History, within: float) -> float:
    """Seconds until development perplexity is first at most 1 + `within` times its lowest."""
    lowest = min(row["development_perplexity"] for row in history)
    seconds = 0.0
    for row in history:
        seconds += row["seconds"]
        if row["development_perplexity"] <= (1 + within) * lowest:
            break
    return seconds


def part_of(split: Split, share: float) -> np.ndarray:
    """(D,) bool: the first `share` of the development documents, and of the others.

    A smaller share is part of a larger one.
    """
    if not 0 < share <= 1:
        raise InputError(f"part is {share}: give a share above 0, at most 1")
    chosen = np.zeros(split.corpus.n_documents, bool)
    for group in (split.development, split.reported):
        members = np.flatnonzero(group)
        chosen[members[: max(1, round(share * len(members)))]] = True
    return chosen


def learning_curve(
    split: Split,
    shares: Sequence[float],
    lda: Settings,
    models: Mapping[str, Settings],
    seeds: Sequence[int],
    folder: Path,
    n_particles: int,
) -> dict[tuple[str, int], list[float]]:
    """Perplexity by seed of LDA and of models trained on more and more documents.

    Every fit is scored on the same words: those of the reported documents in the smallest part.

    Returns
    -------
    (model, number of documents) -> one perplexity a seed
    """
    scored = part_of(split, min(shares)) & split.reported
    found: dict[tuple[str, int], list[float]] = {}
    for share in shares:
        chosen = part_of(split, share)
        part, scores = split.restrict(chosen), np.zeros(len(chosen))
        # A file's name does not tell the corpus: fits of a part would take the whole's place.
        room = folder if chosen.all() else folder / f"{part.corpus.n_documents}-documents"
        for seed in seeds:
            fit, outcome = run_lda(part, lda, seed, room)
            runs = {"lda_updated": outcome}
            for name, settings in models.items():
                runs[name] = run_model(part, fit, settings, seed, room, n_particles)
            for name, run in runs.items():
                scores[chosen] = run.scores
                value = perplexity(scores, split, scored)
                found.setdefault((name, part.corpus.n_documents), []).append(value)
    return found
