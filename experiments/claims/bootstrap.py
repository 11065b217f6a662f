"""Confidence intervals of relative differences: pure functions of arrays.

Two models are compared by 1 - lower / higher, the mean over seeds of what the first has less of a
measure. That number would be another with other documents and with other seeds, so both are drawn
again with replacement: the same documents for both models, and the same seeds where both have
seeds. The interval is the bootstrap's percentile interval, with two corrections that matter for
few seeds: the bootstrap underestimates a variance by (n - 1) / n, and its percentiles are those of
a normal distribution where Student's t would be right, with as many degrees of freedom as Welch
and Satterthwaite give (Hesterberg, 2015: *What Teachers Should Know About the Bootstrap*). With
many documents and no seeds it is the plain interval; with seeds alone it is about Student's.
Deviations are those of log(lower / higher), so that no interval reaches a change below -100%.
"""

from dataclasses import dataclass

import numpy as np

from lla.common.errors import InputError

N_RESAMPLES = 2000
LEVEL = 0.95
BLOCK = 2**20  # weights of documents held at once, 8 MiB


@dataclass(frozen=True)
class Interval:
    """A relative difference, 1 - lower / higher, and its confidence interval."""

    estimate: float
    low: float
    high: float


def resample_sums(values: np.ndarray, n_resamples: int, rng: np.random.Generator) -> np.ndarray:
    """Sums of each row over documents drawn with replacement, the same documents for all rows.

    Parameters
    ----------
    values : (M, D) a row per measure and seed, or a row of counts

    Returns
    -------
    (n_resamples, M) float64
    """
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 2 or not values.size:
        raise InputError(f"values has shape {values.shape}: give (M, D), neither of them 0")
    n_documents = values.shape[1]
    sums = np.empty((n_resamples, len(values)))
    step = max(1, BLOCK // n_documents)
    for first in range(0, n_resamples, step):
        n = min(step, n_resamples - first)
        drawn = rng.integers(n_documents, size=(n, n_documents))
        drawn += n_documents * np.arange(n)[:, None]  # so that one count serves all resamples
        weights = np.bincount(drawn.ravel(), minlength=n * n_documents)
        sums[first : first + n] = weights.reshape(n, n_documents).astype(np.float64) @ values.T
    return sums


def bootstrap_interval(
    lower: np.ndarray,
    higher: np.ndarray,
    lower_resampled: np.ndarray,
    higher_resampled: np.ndarray,
    *,
    n_documents: int,
    rng: np.random.Generator,
    level: float = LEVEL,
) -> Interval:
    """The interval over documents and seeds.

    Parameters
    ----------
    lower, higher : (S,) and (T,) positive values of the two measures, one per seed
        S = T pairs them seed by seed. One of them may be 1: a model that draws nothing. Otherwise
        seeds of the two are drawn apart.
    lower_resampled, higher_resampled : (B, S) and (B, T) the same on resampled documents; row b of
        both is of the same documents. A row that is not finite is left out.
    n_documents : D, of the smaller of two sets of documents where they differ
    """
    usable = np.isfinite(lower_resampled).all(axis=1) & np.isfinite(higher_resampled).all(axis=1)
    lower_resampled, higher_resampled = lower_resampled[usable], higher_resampled[usable]
    if not len(lower_resampled):
        raise InputError("resampled values: none is finite; give documents with something to count")
    at_all = _log_ratio(lower[None], higher[None])[0]
    by_documents = _log_ratio(lower_resampled, higher_resampled)
    drawn_lower, drawn_higher = _draw_seeds(len(lower), len(higher), len(by_documents), rng)
    by_both = _log_ratio(
        np.take_along_axis(lower_resampled, drawn_lower, axis=1),
        np.take_along_axis(higher_resampled, drawn_higher, axis=1),
    )
    n_seeds = min((n for n in (len(lower), len(higher)) if n > 1), default=1)
    deviation, variances = np.zeros_like(by_documents), []
    for part, n in ((by_documents - at_all, n_documents), (by_both - by_documents, n_seeds)):
        if n > 1:  # one document, or one seed, says nothing about others
            scaled = np.sqrt(n / (n - 1)) * part
            deviation += scaled
            variances.append((float(scaled.var()), n - 1))
    tail = (1 - level) / 2
    low, high = np.quantile(_t_over_normal(variances, level) * deviation, [tail, 1 - tail])
    return _interval(at_all, low, high)


def _log_ratio(lower: np.ndarray, higher: np.ndarray) -> np.ndarray:
    """(B,) log of the mean over seeds of lower / higher, (B, S) and (B, T); of all pairs, S ≠ T."""
    if lower.shape[1] == higher.shape[1]:
        return np.log((lower / higher).mean(axis=1))
    return np.log(lower.mean(axis=1) * (1 / higher).mean(axis=1))


def _interval(log_ratio: float, low: float, high: float) -> Interval:
    """The interval of 1 - lower / higher from that of the deviations of log(lower / higher)."""
    estimate, least, most = (1 - float(np.exp(log_ratio + x)) for x in (0.0, high, low))
    return Interval(estimate, least, most)


def _draw_seeds(
    n_lower: int, n_higher: int, n_resamples: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Indices of drawn seeds, (B, S) and (B, T); the same where S = T."""
    drawn = rng.integers(n_lower, size=(n_resamples, n_lower))
    if n_lower == n_higher:
        return drawn, drawn
    return drawn, rng.integers(n_higher, size=(n_resamples, n_higher))


def _t_over_normal(variances: list[tuple[float, int]], level: float) -> float:
    """How much farther out Student's quantile lies than the normal one.

    Parameters
    ----------
    variances : of independent parts, each with its degrees of freedom
    """
    from scipy import stats

    total = sum(variance for variance, _ in variances)
    if total == 0:
        return 1.0
    freedom = total**2 / sum(variance**2 / n for variance, n in variances)
    tail = (1 + level) / 2
    return float(stats.t.ppf(tail, freedom) / stats.norm.ppf(tail))


def student_interval(
    lower: np.ndarray, higher: np.ndarray, level: float = LEVEL
) -> Interval | None:
    """The interval over seeds alone: Student's t of the relative differences, seed by seed.

    Parameters
    ----------
    lower, higher : (S,) positive values of the two measures, in the same order of seeds

    Returns
    -------
    Interval or None
        None for one seed, which says nothing about others.
    """
    from scipy import stats

    ratios = np.asarray(lower, np.float64) / np.asarray(higher, np.float64)
    n = len(ratios)
    if n < 2:
        return None
    quantile = stats.t.ppf((1 + level) / 2, n - 1)
    half = float(quantile * np.log(ratios).std(ddof=1) / np.sqrt(n))
    return _interval(float(np.log(ratios.mean())), -half, half)
