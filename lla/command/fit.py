"""``python -m lla fit``: LDA, stochastic EM, held-out perplexity, and a model with its card.

Checkpoints stand beside the model to be, in MODEL.unfinished, which is locked while it is in use.
The model takes its name when it is whole; the checkpoints are deleted then.
"""

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm.std import tqdm

from lla.command.data import read_corpus
from lla.command.settings import RunConfig, Settings, read_file, settings_of
from lla.common.checkpoint import OtherFitError, first_difference
from lla.common.errors import InputError, check_development, check_path, describe
from lla.common.files import (
    check_holds_only,
    folder_to_write,
    not_writable,
    remove_abandoned,
)
from lla.common.lock import LOCK, exclusive, lock_of
from lla.common.parallel import ALONE, Workers, check_threads
from lla.corpus import Corpus, Split, split_corpus
from lla.evaluate.perplexity import perplexity
from lla.inference.device import find_device
from lla.inference.distributed import local_device, torchrun_workers
from lla.lda import LDA, fit_lda
from lla.model import Model
from lla.model.folder import CARD, META, WEIGHTS, load_model, save_model
from lla.peers.counts.unigram import fit_unigram
from lla.sem import SEM, fit_sem

LDA_FILE, SEM_FILE, SCORES_FILE = "lda.safetensors", "sem.safetensors", "scores.safetensors"
CHECKPOINT_EVERY = 10  # sweeps of LDA
MAX_FILES = 20  # of a corpus, named on the card


def fit(
    *,
    corpus: str,
    output: str,
    config: Path | None,
    overwrite: bool,
    threads: int | None,
    device: str | None,
    about: str,
    **flags: Any,
) -> None:
    """Train and write a model, unless it is there.

    Parameters
    ----------
    flags : of the settings, by key (`settings.Option`)
    """
    with torchrun_workers(device) as workers:
        if not workers.is_first:
            os.environ["LLA_PROGRESS"] = os.devnull
        settings = settings_of(read_file(config) if config else {}, flags, config)
        folder = folder_to_write(output, "--output")
        check_threads(threads)
        if device is not None:
            find_device(device)
        _check_reading(corpus, settings.run)
        read = read_corpus(corpus, settings.run.min_count, settings.run.vocabulary)
        made_from = {
            "corpus": read.fingerprint,
            "settings": settings.as_options(),
            "device": device or "cpu",
        }
        resources = Resources(threads, local_device(device), workers)
        with _work_folder(folder, workers) as work:
            if _exists(folder, made_from, overwrite, workers):
                say(f"{folder}: exists, made from the same corpus and settings", workers)
                if workers.is_first:
                    remove_abandoned(folder)
                    _discard(work)
                return
            trained, scores = _train_and_score(read, settings, work, resources, overwrite)
            if not workers.is_first:
                return
            details = {
                **made_from,
                "corpus_path": corpus,
                "manifest": _manifest(read),
                "evaluation": scores,
                "seconds": trained.seconds,
            }
            of_model = next(iter(scores["perplexity"].values()))
            save_model(trained.model, folder, perplexity=of_model, about=about, details=details)
            _discard(work)
    print(folder)
    for name, value in scores["perplexity"].items():
        print(f"{value:12,.2f}  perplexity of {name}")


@dataclass(frozen=True)
class Resources:
    """What a fit runs on; it changes no result but for the rounding of a device.

    Attributes
    ----------
    n_threads : of each process; None for all that there are
    device : of Torch; None for the CPU
    workers : the processes
    """

    n_threads: int | None
    device: str | None
    workers: Workers


def _train_and_score(
    corpus: Corpus, settings: Settings, work: Path, resources: Resources, overwrite: bool
) -> tuple["Trained", dict[str, Any]]:
    """The model and its scores; both go on from what lies in the folder `work`."""
    run = settings.run
    split = split_corpus(corpus, run.observed, run.development, run.seed)
    _check_split(split)
    say(
        f"corpus: {corpus.n_documents:,} documents, {corpus.n_tokens:,} tokens, "
        f"{corpus.n_words:,} words; {int(split.development.sum()):,} documents decide when to stop",
        resources.workers,
    )
    try:
        trained = _trained(split, settings, work, resources, overwrite)
        return trained, evaluate(trained, split, settings, work, resources)
    except KeyboardInterrupt:
        begun = any((work / name).exists() for name in (LDA_FILE, SEM_FILE))
        how = f"goes on from {work}" if begun else "starts again"
        raise KeyboardInterrupt(f"stopped; the same command {how}") from None


@dataclass(frozen=True)
class Trained:
    """`lda` is None where the model does not start from topics."""

    model: Model
    lda: LDA | None

    @property
    def seconds(self) -> float:
        """Of training."""
        return self.model.seconds + (self.lda.seconds if self.lda else 0.0)


def _trained(
    split: Split,
    settings: Settings,
    work: Path,
    resources: Resources,
    overwrite: bool,
) -> Trained:
    """`train`; checkpoints of another fit are refused, or with `overwrite` deleted."""
    try:
        return train(split, settings, work, resources)
    except OtherFitError as error:
        if not overwrite:
            what = str(error).rsplit("; give", 1)[0]
            raise InputError(
                f"{what}; give --overwrite to begin anew, or --output another folder"
            ) from None
    _remove(work, (LDA_FILE, SEM_FILE, SCORES_FILE), resources.workers)
    return train(split, settings, work, resources)


def train(split: Split, settings: Settings, work: Path, resources: Resources) -> Trained:
    """LDA where the model has topics, then stochastic EM; both go on from their checkpoints."""
    seed, lda, workers = settings.run.seed, None, resources.workers
    if settings.sem.has_topics:
        lda = fit_lda(
            split,
            settings.lda,
            seed,
            checkpoint=work / LDA_FILE,
            checkpoint_every=CHECKPOINT_EVERY,
            n_threads=resources.n_threads,
            workers=workers,
        )
        say(f"LDA: {lda.sweep} sweeps, {lda.seconds:.0f} s", workers)
    model = fit_sem(
        split,
        settings.sem,
        seed,
        start=None if lda is None else lda.topics,
        checkpoint=work / SEM_FILE,
        on_iteration=say_iteration if workers.is_first else None,
        n_threads=resources.n_threads,
        device=resources.device,
        workers=workers,
    )
    return Trained(model, lda)


def say_iteration(state: SEM) -> None:
    """One line for what an iteration of stochastic EM has reached."""
    row = state.history[-1]
    say(
        f"iteration {row['iteration']}: development perplexity "
        f"{row['development_perplexity']:,.2f}, {row['seconds']:.0f} s"
    )


def evaluate(
    trained: Trained, split: Split, settings: Settings, work: Path, resources: Resources
) -> dict[str, Any]:
    """Perplexities of the held-out words of the reported documents, the model's first.

    The processes share the model's; those of LDA and the unigram are the first one's alone.
    """
    run, model, workers = settings.run, trained.model, resources.workers

    def score() -> Any:
        return model.score(
            split,
            seed=run.seed,
            n_particles=run.n_particles,
            checkpoint=work / SCORES_FILE,
            n_threads=resources.n_threads,
            workers=workers,
        )

    try:
        log_likelihood = score()
    except OtherFitError:  # of this fit after fewer iterations, or of another number of particles
        _remove(work, (SCORES_FILE,), workers)
        log_likelihood = score()
    if not workers.is_first:
        return {}
    found = {f"this model, {model.kind}": perplexity(log_likelihood, split)}
    if trained.lda is not None:
        name = "LDA, which it started from"
        found[name] = perplexity(trained.lda.score(split, seed=run.seed), split)
    found["unigram"] = perplexity(fit_unigram(split).score(split), split)
    counted = split.reported & (split.n_held_out > 0)
    return {
        "perplexity": found,
        "n_words": int(split.n_held_out[counted].sum()),
        "n_documents": int(counted.sum()),
    }


def _check_reading(corpus: str, run: RunConfig) -> None:
    """Refuse options of text files for a corpus whose vocabulary is made."""
    if not check_path("CORPUS", corpus).is_dir():
        return
    for name in ("min_count", "vocabulary"):
        if getattr(run, name) != getattr(RunConfig, name):
            raise InputError(
                f"{name} is {getattr(run, name)}, which is for text files, and {corpus} is a "
                "folder: leave it out, or give it to python -m data_prep"
            )


def _check_split(split: Split) -> None:
    """Refuse what could not be trained or reported, before an hour of training."""
    check_development(split)
    if not split.n_held_out[split.reported].any():
        raise InputError(
            "CORPUS: no document that is reported has a held-out word; give longer documents, or "
            "a smaller observed part"
        )


@contextmanager
def _work_folder(folder: Path, workers: Workers) -> Iterator[Path]:
    """The folder of checkpoints, locked; it is removed where nothing is left in it.

    The first process makes it, and holds the lock for all.
    """
    work = folder.with_name(f"{folder.name}.unfinished")
    if not workers.is_first:
        workers.wait()
        yield work
        return
    try:
        check_holds_only(folder, (WEIGHTS, META, CARD), "model")
        work.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise not_writable(error, work) from None
    with exclusive(work, str(folder)):
        workers.wait()
        try:
            yield work
        finally:
            if work.is_dir() and [path.name for path in work.iterdir()] == [LOCK]:
                _discard(work)


def _discard(work: Path) -> None:
    """Delete the checkpoints and the lock, and the folder unless something else lies in it."""
    _remove(work, (LDA_FILE, SEM_FILE, SCORES_FILE))
    (work / LOCK).unlink(missing_ok=True)
    with suppress(OSError):
        work.rmdir()


def _remove(work: Path, names: Sequence[str], workers: Workers = ALONE) -> None:
    """Delete checkpoints, and what a killed process left of one, once no process reads them."""
    workers.wait()
    for name in names if workers.is_first else ():
        for path in (work / name, lock_of(work / name)):
            path.unlink(missing_ok=True)
        remove_abandoned(work / name)
    workers.wait()


def _exists(folder: Path, made_from: Mapping[str, Any], overwrite: bool, workers: Workers) -> bool:
    """Whether the model is there, in the eyes of every process."""
    found = _holds_model(folder, made_from, overwrite)
    workers.check_same("--output folder", str(found))
    return found


def _holds_model(folder: Path, made_from: Mapping[str, Any], overwrite: bool) -> bool:
    """Whether the model is there; raise InputError where another is that must not be replaced."""
    if not (folder / META).exists():
        return False
    try:
        found = load_model(folder).provenance
    except InputError:
        if overwrite:
            return False
        raise
    there = {name: found.get(name) for name in made_from}
    difference = first_difference(there, made_from)
    if difference is None or overwrite:
        return difference is None
    name, old, new = difference
    if name == "corpus":
        reason = "of another corpus"
    elif name == "settings":
        reason = "that was not made by this command"
    else:
        of = name.removeprefix("settings.")
        reason = f"of other settings: {of} is {describe(old)} there and {describe(new)} here"
    raise InputError(
        f"{folder}: holds a model {reason}; give --overwrite to replace it, or --output another "
        "folder"
    )


def _manifest(corpus: Corpus) -> dict[str, Any]:
    """What the card shows of a corpus: its counts, and what it was made from."""
    counts = {"documents": corpus.n_documents, "tokens": corpus.n_tokens, "words": corpus.n_words}
    manifest = corpus.manifest
    kept = {"counts": counts}
    kept |= {name: manifest[name] for name in ("source", "licence", "options") if name in manifest}
    files = manifest.get("raw_sha256") or {}
    if 0 < len(files) <= MAX_FILES:
        kept["raw_sha256"] = files
    return kept


def say(line: str, workers: Workers = ALONE) -> None:
    """A line of progress, above a bar where there is one; of the first process alone."""
    if workers.is_first:
        tqdm.write(line, file=sys.stderr)
