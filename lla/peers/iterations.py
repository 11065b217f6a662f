"""What all iterative fits share: their arguments. And peers of plain arrays: the iterations."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from lla.common.checkpoint import (
    best_iteration,
    check_checkpoint,
    cut_history,
    only_fit,
    restoring,
    resume_fit,
    save_fit,
    stops,
)
from lla.common.errors import (
    NumericalError,
    check_callback,
    check_development,
    check_instance,
    check_seed,
)
from lla.common.progress import progress
from lla.corpus import Split
from lla.evaluate.perplexity import perplexity

Arrays = dict[str, np.ndarray]
Row = dict[str, float]
LIMITS = ("n_iterations", "n_epochs", "patience")  # with more of them the same run goes on


@dataclass(frozen=True)
class FitArguments:
    """What a fit was called with, checked; the folder says what each argument is."""

    split: Split
    config: Any
    seed: int
    checkpoint: Path | None
    on_iteration: Callable[[Any], None] | None

    @cached_property
    def part(self) -> Split:
        """The development documents, whose held-out words decide when to stop."""
        return self.split.restrict(self.split.development)

    def identity(self, kind: str) -> dict[str, Any]:
        """What a checkpoint of this kind must have been made with, as JSON gives it back."""
        options = {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in asdict(self.config).items()
        }
        options |= {name: 1 for name in LIMITS if name in options}
        return {"kind": kind, **self.split.identity(), "config": options, "seed": self.seed}


def check_arguments(
    split: Split,
    config: Any,
    kind: type,
    seed: int,
    *,
    checkpoint: str | Path | None,
    on_iteration: Callable[[Any], None] | None,
    needs_development: bool = True,
) -> FitArguments:
    """Check what a fit is called with, before anything is made.

    Parameters
    ----------
    kind : class that `config` must have
    needs_development : whether development documents' held-out words decide when to stop

    Raises
    ------
    InputError
        When one of them is not what it should be, no development document has a held-out word, or
        the checkpoint cannot be written.
    """
    check_instance("split", split, Split)
    check_instance("config", config, kind)
    check_callback("on_iteration", on_iteration)
    if needs_development:
        check_development(split)
    seed = check_seed(seed)
    return FitArguments(split, config, seed, check_checkpoint(checkpoint), on_iteration)


@dataclass
class IterationState:
    """All that an interrupted fit needs to resume.

    Attributes
    ----------
    arrays : parameters after the last iteration, by name
    best : those of the iteration with the lowest development perplexity
    history : one dict per iteration: iteration, what the step reports, development_perplexity,
        seconds
    """

    arrays: Arrays
    best: Arrays = field(default_factory=dict)
    history: list[Row] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        """Time of all iterations, interruptions left out."""
        return sum(row["seconds"] for row in self.history)


def history_facts(history: list[Row]) -> dict[str, Any]:
    """What a fit's summary says of its iterations: how many, and how well the best one did."""
    found: dict[str, Any] = {"iterations": len(history)}
    if history:
        found["development_perplexity"] = min(row["development_perplexity"] for row in history)
    return found


def fit_arrays(
    start: Callable[[], Arrays],
    step: Callable[[Arrays], tuple[Arrays, Row]],
    score: Callable[[Arrays], np.ndarray],
    fit: FitArguments,
    *,
    identity: dict[str, Any],
    name: str,
    remedy: str,
) -> IterationState:
    """Repeat `step` until development perplexity stops falling.

    Parameters
    ----------
    start : () -> parameters before the first iteration; not called where a fit is resumed
    step : parameters -> those after one more iteration, in new arrays, and what to report
    score : parameters -> log p of the held-out words of the documents of `fit.part`
    fit : its config has n_iterations and patience
    identity : `fit.identity`, and what else a checkpoint must have been made with
    name : of the model
    remedy : what to do where the numbers are not finite

    Raises
    ------
    OtherFitError
        When the checkpoint is of another fit.
    InputError
        When another fit with this checkpoint runs.
    NumericalError
        When the development perplexity is not finite.
    """
    begin = perf_counter()
    config, checkpoint, name = fit.config, fit.checkpoint, f"{name}, seed {fit.seed}"
    state = _resume(checkpoint, identity, config) or IterationState(start())
    bar = progress(
        total=config.n_iterations, initial=len(state.history), description=name, unit="iteration"
    )

    def is_finished() -> bool:
        return stops(state.history, config.n_iterations, config.patience)

    with bar, only_fit(checkpoint, is_finished()):
        while not is_finished():
            if state.history:  # else the search for a start is time of the first iteration
                begin = perf_counter()
            iteration = len(state.history) + 1
            state.arrays, report = step(state.arrays)
            with np.errstate(over="ignore", invalid="ignore"):
                development = perplexity(score(state.arrays), fit.part, fit.part.development)
            if not np.isfinite(development):
                raise NumericalError(f"{name}: probabilities of 0 or NaN; {remedy}")
            row = {"iteration": iteration, **report, "development_perplexity": development}
            state.history.append(row | {"seconds": perf_counter() - begin})
            if best_iteration(state.history) == iteration:
                state.best = state.arrays
            if checkpoint:
                _save(checkpoint, identity, state)
            if fit.on_iteration:
                fit.on_iteration(state)
            bar.update()
    return state


def _save(path: Path, identity: dict[str, Any], state: IterationState) -> None:
    arrays = {f"last.{name}": value for name, value in state.arrays.items()}
    arrays |= {f"best.{name}": value for name, value in state.best.items()}
    save_fit(path, identity, arrays, {"history": state.history})


def _resume(path: Path | None, identity: dict[str, Any], config: Any) -> IterationState | None:
    """The state saved at `path`, as far as `config` goes; None when there is no file."""
    saved = resume_fit(path, identity)
    if path is None or saved is None:
        return None
    groups: dict[str, Arrays] = {"last": {}, "best": {}}
    with restoring(path):
        for name, value in saved[0].items():
            group, _, rest = name.partition(".")
            groups[group][rest] = value
        last, best = ({k: a.shape for k, a in group.items()} for group in groups.values())
        if not last or last != best:
            raise ValueError(f"arrays {', '.join(last)} of the last iteration are not the best's")
        history = cut_history(path, saved[1]["history"], config.n_iterations, config.patience)
    return IterationState(groups["last"], groups["best"], history)
