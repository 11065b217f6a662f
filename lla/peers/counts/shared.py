"""What baselines of counts share: the unigram, checks, and a concentration that is tuned."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np

from lla.common.display import Summarized
from lla.common.errors import InputError, check_development, check_instance, check_seed
from lla.corpus import Split, check_same_vocabulary
from lla.evaluate import Fitted
from lla.evaluate.perplexity import perplexity

Config = TypeVar("Config")


@dataclass(frozen=True, kw_only=True, repr=False)
class Counted(Summarized):
    """What all fits of this module share: one pass over the data, without iterations.

    Attributes
    ----------
    vocabulary : the V words it was fitted to; empty where they are not known
    """

    seconds: float = 0.0
    history: list[dict[str, float]] = field(default_factory=list)
    vocabulary: tuple[str, ...] = field(default=(), repr=False)


def check_split(split: Split, vocabulary: tuple[str, ...], probability: np.ndarray) -> None:
    """Raise InputError unless the split has the words of a fit."""
    check_instance("split", split, Split)
    check_same_vocabulary(split.corpus, vocabulary, len(probability))


def unigram_probability(split: Split, smoothing: float = 1.0) -> np.ndarray:
    """p(w) = (n_w + a)/(N + Va) from the observed part of all documents, (V,)."""
    counts = np.bincount(split.observed.words, minlength=split.corpus.n_words)
    return (counts + smoothing) / (counts.sum() + smoothing * len(counts))


def checked(
    split: Split, config: Config | None, kind: type[Config], seed: int, unused: Mapping[str, object]
) -> Config:
    """The configuration, by default that of the class, once all arguments are as they should be.

    Parameters
    ----------
    unused : what other fits take; a name that none takes is refused
    """
    check_instance("split", split, Split)
    config = kind() if config is None else config
    check_instance("config", config, kind)
    check_seed(seed)
    if others := sorted(unused.keys() - {"start", "checkpoint", "on_iteration", "n_threads"}):
        raise InputError(f"{others[0]} is no argument of a fit: give options as {kind.__name__}")
    return config


def check_tunable(split: Split) -> None:
    """Refuse a split on which no concentration can be chosen."""
    try:
        check_development(split)
    except InputError as error:
        raise InputError(f"{error}; or give the config a concentration") from None


def best_concentration(split: Split, model: Callable[[float], Fitted]) -> float:
    """The concentration with which `model` predicts the development documents best."""
    check_tunable(split)
    part = split.restrict(split.development)
    best, _ = tune_concentration(
        lambda log_c: model(float(np.exp(log_c))).score(part), part, lowest=-3.0
    )
    return best


def tune_concentration(
    score: Callable[[float], np.ndarray], part: Split, lowest: float
) -> tuple[float, float]:
    """The concentration of the lowest perplexity on the development documents, and its log.

    Parameters
    ----------
    score : log concentration -> log-likelihoods of the documents of `part`
    part : the development documents
    lowest : log of the smallest concentration that is tried
    """
    from scipy.optimize import minimize_scalar  # takes a quarter of a second to import

    def loss(log_concentration: float) -> float:
        return np.log(perplexity(score(log_concentration), part, part.development))

    best = minimize_scalar(loss, bounds=(lowest, 12.0), method="bounded", options={"xatol": 0.01})
    return float(np.exp(best.x)), float(best.fun)
