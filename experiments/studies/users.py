"""What a comparison on the data of users measures: perplexity and ranks of next items."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from experiments.claims import Scores, scores_of
from experiments.results import committed_result, measure
from experiments.study import Outcome
from lla.common.errors import InputError
from lla.corpus import Corpus, Split
from lla.evaluate.ranking import (
    EVENTS,
    N_GROUPS,
    event_metrics,
    history_values,
    metrics,
    metrics_by,
)

NOVEL = ("novel", "unseen")  # of `EVENTS`, both of the same events


def ranking_metrics(outcome: Outcome, name: str) -> dict[str, float]:
    """``recall@10.NAME`` and so on, over all events; more names for the parts.

    ``ndcg@10.NAME.repeats``, ``.novel``, ``.unseen`` (novel items among those not seen before), and
    ``.by_user`` for the mean of users' means; a part without events is left out.
    """
    assert outcome.ranking is not None
    found: dict[str, float] = {}
    repeat = outcome.ranking.repeat
    for events in EVENTS:
        if (events == "repeats" and not repeat.any()) or (events in NOVEL and repeat.all()):
            continue
        part = "" if events == "all" else f".{events}"
        for by_user, suffix in ((False, ""), (True, ".by_user")):
            values = metrics(outcome.ranking, events, by_user)
            found |= {f"{metric}.{name}{part}{suffix}": x for metric, x in values.items()}
    return found


def measures_of(found: Mapping[str, Sequence[Outcome]]) -> dict[str, dict[str, object]]:
    """Measures of a result file: one value per seed of every model's outcome.

    ``perplexity.``, ``parameters.``, ``seconds.MODEL``; ``recall@k.``, ``ndcg@k.`` and
    ``mrr.MODEL`` over all events, and the parts of ``ndcg@10.MODEL`` (`ranking_metrics`).
    """
    measures: dict[str, dict[str, object]] = {}
    for model, outcomes in found.items():
        values: dict[str, tuple[str, list[float]]] = {
            f"perplexity.{model}": ("perplexity", [o.perplexity for o in outcomes]),
            f"parameters.{model}": ("parameters", [o.size.parameters for o in outcomes]),
            f"seconds.{model}": ("seconds", [o.seconds for o in outcomes]),
        }
        ranks = [ranking_metrics(outcome, model) for outcome in outcomes]
        for name in ranks[0]:
            metric, _, part = name.partition(f".{model}")
            if not part or metric == "ndcg@10":
                values[name] = (metric, [row[name] for row in ranks])
        measures |= {name: measure(numbers, unit) for name, (unit, numbers) in values.items()}
    return measures


def metric_over_history(
    corpus: Corpus,
    found: Mapping[str, Sequence[Outcome]],
    by: str = "position",
    metric: str = "ndcg@10",
    n_groups: int = N_GROUPS,
) -> dict[str, dict[float, tuple[float, float]]]:
    """A metric in groups of events by their position or by the length of their history.

    Parameters
    ----------
    corpus : of the whole histories
    found : by model, one outcome per seed, with its ranking; all of the same events
    by : "position" or "length" (`lla.evaluate.ranking.history_values`)

    Returns
    -------
    model -> mean position or length of the group -> (value, spread over seeds)
    """
    curves: dict[str, dict[float, tuple[float, float]]] = {}
    for model, outcomes in found.items():
        tables = []
        for ranking in (outcome.ranking for outcome in outcomes if outcome.ranking):
            values = history_values(ranking, corpus, by)
            cutoffs = [int(metric.partition("@")[2])] if "@" in metric else []
            tables.append(metrics_by(ranking, values, n_groups=n_groups, cutoffs=cutoffs))
        if tables:
            per_seed = np.array([table[metric] for table in tables])  # (seeds, groups)
            measured = [measure(values.tolist(), metric) for values in per_seed.T]
            curves[model] = {
                float(at): (float(m["value"]), float(m["spread"]))
                for at, m in zip(tables[0]["mean"], measured, strict=True)
            }
    return curves


def user_scores(
    split: Split, seeds: Sequence[int], found: Mapping[str, Sequence[Outcome]]
) -> Scores:
    """Of every user and model, the log-probability of the held-out events and the NDCG@10.

    ``perplexity.MODEL``, ``ndcg@10.MODEL`` and, of items new to the user, ``ndcg@10.MODEL.novel``
    and, among those that the user has not had, ``.unseen``.
    """
    sums: dict[str, list[np.ndarray]] = {}
    n_users, n_novel = split.corpus.n_documents, np.zeros(split.corpus.n_documents, int)
    for model, outcomes in found.items():
        sums[f"perplexity.{model}"] = [outcome.scores for outcome in outcomes]
        for ranking in (outcome.ranking for outcome in outcomes if outcome.ranking):
            gain, novel = event_metrics(ranking, [10])["ndcg@10"], ~ranking.repeat
            n_novel = np.bincount(ranking.users[novel], minlength=n_users)
            among_unseen = event_metrics(ranking, [10], among_unseen=True)["ndcg@10"]
            every = np.ones_like(novel)
            for part, chosen, gains in (
                ("", every, gain),
                (".novel", novel, gain),
                (".unseen", novel, among_unseen),
            ):
                of_users = np.bincount(ranking.users[chosen], gains[chosen], minlength=n_users)
                sums.setdefault(f"ndcg@10.{model}{part}", []).append(of_users)
    counts = {"novel": n_novel, "unseen": n_novel}
    return scores_of(split, seeds, sums, unit="users", counts=counts)


def committed_users(data: str) -> tuple[str, dict | None]:
    """The committed comparison on this data set, of the largest profile that has one."""
    try:
        return committed_result(f"user_modeling_{data}")
    except InputError:
        return "", None


def perplexities(result: Mapping[str, Any]) -> dict[str, float]:
    """Perplexity by model of a result file written from `measures_of`."""
    named = {name.partition("."): m["value"] for name, m in result["measures"].items()}
    return {model: value for (metric, _, model), value in named.items() if metric == "perplexity"}


def ranking_table(result: Mapping[str, Any]) -> pd.DataFrame:
    """Models by MRR, NDCG@10, Recall@10 and perplexity, over all events."""
    columns, measures = ("mrr", "ndcg@10", "recall@10", "perplexity"), result["measures"]
    rows = {
        model: {metric: measures[f"{metric}.{model}"]["value"] for metric in columns}
        for model in perplexities(result)
    }
    return pd.DataFrame.from_dict(rows, orient="index")


def parts_of(result: Mapping[str, Any], metric: str) -> dict[str, dict[str, tuple[float, float]]]:
    """Value and spread of a metric by model and by `EVENTS`; older results lack the last."""
    measures, parts = result["measures"], {}
    for model in perplexities(result):
        suffixes = {part: "" if part == "all" else f".{part}" for part in EVENTS}
        found = {part: measures.get(f"{metric}.{model}{end}") for part, end in suffixes.items()}
        parts[model] = {part: (m["value"], m["spread"]) for part, m in found.items() if m}
    return parts
