"""Entrances of what judges predictions: groups of events, calibration, own counts."""

from collections.abc import Iterator

import numpy as np
from entrance_world import V, World
from fuzzing import Argument, Entrance

from lla.evaluate import calibration, probabilities, ranking
from lla.peers.own_counts import OwnCounts, OwnCountsConfig, fit_own_counts

COUNT = Argument([1, 4, 100], [0, -1, 1.5, "a"])
SEED = Argument([0, 7], [-1, 0.5, "a"])


def ignore(positions: np.ndarray, scores: np.ndarray) -> None:
    """A callback that keeps nothing."""


def of_groups(world: World) -> Iterator[Entrance]:
    split = world.split
    found = ranking.rank_held_out(lambda call: world.lda.next_items(split, call), split)
    n = len(found.users)
    position = ranking.history_values(found, split.corpus, "position")
    ranked = Argument([found], [split, "a"])
    yield Entrance(
        "history_values",
        ranking.history_values,
        {
            "ranking": ranked,
            "corpus": Argument([split.corpus], [split, split.corpus.select([0])]),
            "by": Argument(["position", "length"], ["kind", 3, None]),
        },
    )
    values = Argument([position], [position[:-1], position / 2, position[:, None], [], ["a"] * n])
    yield Entrance(
        "group_starts",
        ranking.group_starts,
        {"values": Argument([position, [3]], [position / 2, [], "a"]), "n_groups": COUNT},
    )
    yield Entrance(
        "metrics_by",
        ranking.metrics_by,
        {
            "ranking": ranked,
            "values": values,
            "starts": Argument([None, [0, 3]], [[3, 3], [9, 1], [10**6], [], "a", [0.5]]),
            "n_groups": COUNT,
            "by_user": Argument([True, False], [3, "a"]),
            "cutoffs": Argument([(5,)], [(0,), (1.5,), 3]),
        },
    )


def of_calibration(world: World) -> Iterator[Entrance]:
    split, n = world.split, world.corpus.n_documents
    models = [world.lda, world.models["topic"], *(world.fits[k] for k in ("bigram", "sasrec"))]
    judged = {
        "fitted": Argument(models, [split, "a", None]),
        "split": Argument([split], [world.corpus, *world.other_splits]),
        "top": COUNT,
        "users": Argument([None, split.reported], [split.reported[:-1], np.zeros(n, bool)]),
        "seed": SEED,
    }
    yield Entrance("top_predictions", calibration.top_predictions, judged)
    yield Entrance(
        "evaluate_calibration", calibration.evaluate_calibration, judged | {"n_bins": COUNT}
    )
    p = np.random.default_rng(0).random(20)
    yield Entrance(
        "reliability",
        calibration.reliability,
        {
            "probability": Argument(
                [p, p.round(1)], [p + 1, -p, p[:-1], p[:, None], [], p * np.nan]
            ),
            "came": Argument([p > 0.5], [p, p[:-1] > 0.5, (p > 0.5).astype(int)]),
            "n_bins": COUNT,
        },
    )
    asked = {name: judged[name] for name in ("fitted", "split", "seed")}
    yield Entrance("realised_probabilities", probabilities.realised_probabilities, asked)
    yield Entrance(
        "next_probabilities",
        probabilities.next_probabilities,
        asked | {"on_probabilities": Argument([ignore], [None, 3, "a"], anything=False)},
    )
    rows = np.random.default_rng(1).dirichlet(np.ones(V), size=3)
    yield Entrance(
        "as_probabilities",
        probabilities.as_probabilities,
        {
            "scores": Argument([rows], [2 * rows, -rows, rows * np.nan], anything=False),
            "logits": Argument([False], anything=False),
        },
    )


def of_own_counts(world: World) -> Iterator[Entrance]:
    split = world.split
    models = [world.lda, world.models["personal"], *(world.fits[k] for k in ("bigram", "gru4rec"))]
    starts = Argument(models, [split, "a", None, world.start])
    fixed = OwnCountsConfig(2.0, 3.0)
    yield Entrance(
        "fit_own_counts",
        fit_own_counts,
        {
            "split": Argument([split], [world.corpus, *world.others, *world.other_splits]),
            "config": Argument([None, OwnCountsConfig(), OwnCountsConfig(2.0)], [3, "a"]),
            "seed": SEED,
            "start": starts,
            "checkpoint": Argument([None], [3], anything=False),
        },
    )
    yield Entrance(
        "OwnCounts",
        OwnCounts,
        {
            "model": starts,
            "concentration": Argument([1, 0.5], [0, -1, "a", float("nan"), None]),
            "half_life": Argument([None, 2.0], [0, -1, "a", float("inf")]),
        },
    )
    for model in models:
        mixed = fit_own_counts(split, fixed, start=model)
        scored = {
            "split": Argument([split], [world.corpus, *world.other_splits]),
            "seed": SEED,
        }
        name = type(model).__name__
        yield Entrance(f"own counts of {name}: score", mixed.score, scored)
        callback = {"on_scores": Argument([ignore], [None, 3, "a"], anything=False)}
        yield Entrance(f"own counts of {name}: next_items", mixed.next_items, scored | callback)
