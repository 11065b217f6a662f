"""From autoencoders to variational ones: what is learned by heart, and how gradients are estimated.

Estimators of the gradient of E_q f with respect to q's parameters: pathwise, along the draw, and
the score function's, f ∇ log q, alone or with the mean f of other draws subtracted.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from scipy import optimize
from torch import Tensor

from experiments.results import measure
from lla.common.parallel import one_thread
from lla.common.random import family_stream, stream
from lla.corpus import Corpus, Split
from lla.peers.bags import bag_of_words
from lla.peers.neural_topics import FittedNeuralTopics
from lla.peers.neural_topics.network import bags_of
from lla.peers.neural_topics.objectives import log_likelihood

STREAM = family_stream("autoencoders")
N_NEIGHBOURS = 5
DRAWN = 20  # draws of a gradient at once
ESTIMATORS = {
    "pathwise": "pathwise (reparameterisation)",
    "score_function": "score function",
    "score_function_baseline": "score function, baseline subtracted",
}


def groups_of(corpus: Corpus) -> list[str]:
    """The group of each document by its name: what stands before the first dot or slash."""
    return [name.replace("/", ".").split(".", 1)[0] for name in corpus.names]


def plane_of(points: np.ndarray) -> np.ndarray:
    """(D, 2) coordinates along the two main directions of `points` (D, K)."""
    centred = points - points.mean(axis=0)
    if centred.shape[1] < 2:
        centred = np.pad(centred, ((0, 0), (0, 2 - centred.shape[1])))
    directions = np.linalg.svd(centred, full_matrices=False)[2][:2]
    return centred @ directions.T


def purity(points: np.ndarray, groups: Sequence[str], n: int = N_NEIGHBOURS) -> float:
    """Share of the `n` nearest documents, by cosine, that are of a document's own group."""
    unit = points - points.mean(axis=0)
    unit = unit / np.maximum(np.linalg.norm(unit, axis=1, keepdims=True), 1e-12)
    similar = unit @ unit.T
    np.fill_diagonal(similar, -np.inf)
    nearest = np.argsort(-similar, axis=1, kind="stable")[:, :n]
    labels = np.asarray(groups)
    return float((labels[nearest] == labels[:, None]).mean())


def base_rate(groups: Sequence[str]) -> float:
    """How often two different documents are of one group."""
    counts = np.unique(np.asarray(groups), return_counts=True)[1]
    n = counts.sum()
    return float((counts * (counts - 1)).sum() / (n * (n - 1)))


def measures_of(
    split: Split, fits: Mapping[str, Sequence[FittedNeuralTopics]], groups: Sequence[str] = ()
) -> dict[str, Any]:
    """``entropy.MODEL``, of p(w | document) in nats, ``gap.MODEL`` and ``purity.MODEL``.

    The gap is the perplexity of held-out words over that of the observed words, which the model
    has read. Purity is measured where documents have groups, and ``purity.chance`` beside it.
    """
    measures: dict[str, Any] = {}
    for name, of_seeds in fits.items():
        rows = [_row(fit, split, groups) for fit in of_seeds]
        for metric in rows[0]:
            measures[f"{metric}.{name}"] = measure([row[metric] for row in rows], metric)
    if groups and measures:
        n_seeds = len(next(iter(fits.values())))
        measures["purity.chance"] = measure([base_rate(groups)] * n_seeds, "purity")
    return measures


def _row(fitted: FittedNeuralTopics, split: Split, groups: Sequence[str]) -> dict[str, float]:
    reported = split.restrict(split.reported)
    counts = bag_of_words(reported.observed)
    with one_thread(), torch.no_grad():
        theta = torch.from_numpy(fitted.theta(reported.observed))
        log_p = fitted.network.decoder(theta).double().numpy()
    read = float(counts.multiply(log_p).sum() / reported.observed.n_tokens)
    held_out = float(fitted.score(reported).sum() / reported.n_held_out.sum())
    row = {
        "entropy": float(-(np.exp(log_p) * log_p).sum(axis=1).mean()),
        "gap": float(np.exp(read - held_out)),
    }
    if groups:
        row["purity"] = purity(fitted.theta(split.observed), groups)
    return row


def gaussian_fits(n: int = 2001) -> tuple[np.ndarray, np.ndarray, dict[str, tuple[float, float]]]:
    """Two Gaussians mixed, and the Gaussian q nearest to them by KL(p ‖ q) and by KL(q ‖ p).

    The first, forward, divergence is least where the moments agree; the other is minimised on a
    grid of points, from the larger mode.

    Returns
    -------
    x, density : (n,)
    fits : label -> (mean, standard deviation)
    """
    x = np.linspace(-6, 8, n)
    step = x[1] - x[0]
    density = 0.6 * _gaussian(x, -1.5, 0.8) + 0.4 * _gaussian(x, 3.0, 1.0)
    mean = float((x * density).sum() * step)
    deviation = float(np.sqrt(((x - mean) ** 2 * density).sum() * step))

    def reverse(parameters: np.ndarray) -> float:
        q = _gaussian(x, parameters[0], np.exp(parameters[1]))
        log_ratio = np.log(np.maximum(q, 1e-300)) - np.log(np.maximum(density, 1e-300))
        return float((q * log_ratio).sum() * step)

    best = optimize.minimize(reverse, np.array([-1.0, 0.0]), method="Nelder-Mead").x
    fits = {
        "forward KL(p ‖ q): stretches": (mean, deviation),
        "reverse KL(q ‖ p): squeezes": (float(best[0]), float(np.exp(best[1]))),
    }
    return x, density, fits


def _gaussian(x: np.ndarray, mean: float, deviation: float) -> np.ndarray:
    return np.exp(-0.5 * ((x - mean) / deviation) ** 2) / (deviation * np.sqrt(2 * np.pi))


def gradient_draws(
    fitted: FittedNeuralTopics, corpus: Corpus, n_draws: int = 400, seed: int = 0
) -> dict[str, np.ndarray]:
    """Estimates of the gradient of E_q log p(x | z) with respect to the mean of a Gaussian q.

    Returns
    -------
    estimator -> (n_draws, D, K); the baseline is the mean over the other draws
    """
    network, draw = fitted.network, stream(seed, STREAM)
    bags = bags_of(bag_of_words(corpus))
    parts: dict[str, list[np.ndarray]] = {"signal": [], "score": [], "path": []}
    with one_thread():
        with torch.no_grad():
            mean, log_variance = network.parameters_of(bags)
        for first in range(0, n_draws, DRAWN):
            n = min(DRAWN, n_draws - first)
            repeated = mean.repeat(n, 1).requires_grad_()  # (n D, K)
            z = network.sample((repeated, log_variance.repeat(n, 1)), draw).z
            log_p = network.decoder(network.theta(z))  # (n D, V)
            fit = log_likelihood("categorical", log_p, bags.counts.repeat(n, 1))
            # ∇ log q with respect to the mean, at a fixed z.
            score = (z - repeated) / log_variance.repeat(n, 1).exp()
            parts["path"].append(_gradient(fit, repeated).reshape(n, *mean.shape))
            parts["signal"].append(fit.detach().double().numpy().reshape(n, -1, 1))
            parts["score"].append(score.detach().double().numpy().reshape(n, *mean.shape))
    signal, scores, path = (np.concatenate(parts[name]) for name in ("signal", "score", "path"))
    others = (signal.sum(axis=0) - signal) / (n_draws - 1)
    return {
        "pathwise": path,
        "score_function": signal * scores,
        "score_function_baseline": (signal - others) * scores,
    }


def _gradient(fit: Tensor, leaf: Tensor) -> np.ndarray:
    return torch.autograd.grad(fit.sum(), leaf)[0].double().numpy()


def variance_measures(
    fits: Sequence[FittedNeuralTopics], corpus: Corpus, n_draws: int = 400
) -> dict[str, Any]:
    """``variance.ESTIMATOR``: variance of one draw's gradient, mean over documents and units."""
    draws = [gradient_draws(fit, corpus, n_draws, seed) for seed, fit in enumerate(fits)]
    variances = {n: [float(of[n].var(axis=0).mean()) for of in draws] for n in ESTIMATORS}
    return {f"variance.{n}": measure(values, "variance") for n, values in variances.items()}


def estimators_agree(draws: Mapping[str, np.ndarray], n_errors: float = 5.0) -> bool:
    """Whether the estimators' means are equal: within this many standard errors, over all units."""
    reference = draws["pathwise"]
    for name in ("score_function", "score_function_baseline"):
        difference = (draws[name] - reference).mean(axis=(1, 2))
        error = difference.std(ddof=1) / np.sqrt(len(difference))
        if abs(difference.mean()) > n_errors * error:
            return False
    return True
