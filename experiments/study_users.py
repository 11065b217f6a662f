"""One call a model, as in `study`, for users: perplexity, and where the next item stood.

Every function fits or reads back its model and returns its `study.Outcome` together with the ranks
of the reported users' held-out events, so that one table can hold them all.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path
from time import perf_counter
from typing import Any

import pandas as pd

from data_prep.clicks import oracle
from data_prep.clicks.simulate import world_of
from experiments import study
from experiments.claims import Claim, compare
from experiments.results import committed_result, measure
from experiments.study import Outcome, Settings, file_of, outcome_of
from lla.common.checkpoint import hash_of_topics
from lla.common.errors import InputError
from lla.common.files import load_tensors, save_tensors
from lla.corpus import Split
from lla.evaluate import ScoreCallback
from lla.evaluate.ranking import EVENTS, Ranking, metrics, rank_held_out, ranking_of
from lla.evaluate.size import Size
from lla.lda import LDA
from lla.peers import autoencoder, ddlda
from lla.peers import counts as bigram
from lla.peers.counts import next_items_unigram, tune_concentration, unigram
from lla.peers.popular import Popular, next_items_popular, popular_of, score_popular
from lla.peers.sasrec import SASRecConfig, fit_sasrec
from lla.peers.sequence import GRU4RecConfig, fit_gru4rec, next_items_sequence, score_sequence

NETWORKS = {"gru4rec": (GRU4RecConfig, fit_gru4rec), "sasrec": (SASRecConfig, fit_sasrec)}


@dataclass(frozen=True)
class UserOutcome(Outcome):
    """What one fit of one model came to, ranks included.

    Attributes
    ----------
    ranking : of the reported users' held-out events
    ranking_seconds : time that ranking them took
    """

    ranking: Ranking | None = None
    ranking_seconds: float = 0.0

    def measures(self, label: str) -> dict[str, float]:
        """``recall@10.LABEL`` and so on, over all events; more names for the parts.

        ``ndcg@10.LABEL.repeats``, ``.discoveries`` and ``.by_user`` for the mean of users' means;
        a part without events is left out.
        """
        found = {}
        n_repeats = int(self.ranking.repeat.sum())
        n_events = {"repeats": n_repeats, "discoveries": len(self.ranking.repeat) - n_repeats}
        for events in EVENTS:
            if n_events.get(events, 1):
                part = "" if events == "all" else f".{events}"
                for by_user, end in ((False, ""), (True, ".by_user")):
                    values = metrics(self.ranking, events, by_user)
                    found |= {f"{name}.{label}{part}{end}": x for name, x in values.items()}
        return found


def with_ranks(
    outcome: Outcome,
    split: Split,
    next_items: Callable[[ScoreCallback], None],
    kept: Path | None = None,
) -> UserOutcome:
    """The same outcome with the ranks that the model's `next_items` gives.

    Parameters
    ----------
    kept : file the ranks are kept in; those of the same scores are read from it
    """
    begun, key = perf_counter(), {"kind": "ranks", "scores": sha256(outcome.scores).hexdigest()}
    key |= {"corpus": split.corpus.fingerprint, "users": sha256(split.reported).hexdigest()}
    fields = {name: getattr(outcome, name) for name in Outcome.__dataclass_fields__}
    if kept and kept.exists():
        tensors, meta = load_tensors(kept)
        if key.items() <= meta.items():
            there = ranking_of(split, *(tensors[name].numpy() for name in ("best", "worst")))
            return UserOutcome(**fields, ranking=there, ranking_seconds=meta["seconds"])
    ranking, seconds = rank_held_out(next_items, split), perf_counter() - begun
    if kept:
        ranks = {"best": ranking.best, "worst": ranking.worst}
        save_tensors(kept, ranks, key | {"seconds": seconds})
    return UserOutcome(**fields, ranking=ranking, ranking_seconds=seconds)


def run_counts(split: Split) -> dict[str, UserOutcome]:
    """The models that only count: unigram, cache unigram, bigram."""
    p, found = unigram(split), study.run_counts(split)
    cache = Popular(p, tune_concentration(p, split))
    pairs = bigram.fit_bigram(split)
    following = (pairs, p, bigram.tune_bigram(pairs, p, split), split)
    hooks = {
        "unigram": lambda visit: next_items_unigram(p, split, visit),
        "cache_unigram": lambda visit: next_items_popular(cache, split, visit),
        "bigram": lambda visit: bigram.next_items_bigram(*following, visit),
    }
    return {name: with_ranks(found[name], split, hook) for name, hook in hooks.items()}


def run_lda(split: Split, settings: Settings, seed: int, folder: Path) -> tuple[LDA, UserOutcome]:
    """LDA, θ updated as events are revealed, and the fit others begin with."""
    lda, outcome = study.run_lda(split, settings, seed, folder)
    file = file_of(folder, "lda", settings, seed)
    kept = file.with_name(f"ranks-{file.name}")
    hook = partial(lda.next_items, split, seed=lda.seed)
    return lda, with_ranks(outcome, split, hook, kept)


def run_model(
    split: Split,
    lda: LDA | None,
    settings: Settings,
    seed: int,
    folder: Path,
    n_particles: int = 16,
) -> UserOutcome:
    """A model of Table 1, its emission shared or personal (`study.model_of`)."""
    fit, file = study.model_of(split, lda, settings, seed, folder)
    outcome = study.run_model(split, lda, settings, seed, folder, n_particles)
    kept = file.with_name(f"ranks-{n_particles}-{file.name}")
    hook = partial(fit.next_items, split, seed=seed, n_particles=n_particles)
    return with_ranks(outcome, split, hook, kept)


def run_oracle(split: Split) -> UserOutcome:
    """Who knows the truth of simulated clicks (`lla.oracle`)."""
    world = world_of(split.corpus)
    outcome = outcome_of(split, oracle.score_oracle(world, split), Size(0, 0, 0))
    return with_ranks(outcome, split, lambda visit: oracle.next_items(world, split, visit))


def run_ddlda(split: Split, lda: LDA, settings: Settings, seed: int, folder: Path) -> UserOutcome:
    """ddLDA, begun from LDA's topics."""
    outcome = study.run_ddlda(split, lda, settings, seed, folder)
    fit, table = study.ddlda_of(split, lda, settings, seed, folder)
    about = (fit.phi(split.observed), fit.alpha, fit.topics, table, split, seed)
    # Its name says where it began: the settings alone do not.
    file = file_of(folder, "ranks-ddlda", settings | {"start": hash_of_topics(lda.topics)}, seed)
    return with_ranks(outcome, split, lambda visit: ddlda.next_items_ddlda(*about, visit), file)


def run_autoencoder(split: Split, settings: Settings, seed: int, folder: Path) -> UserOutcome:
    """The autoencoder."""
    outcome = study.run_autoencoder(split, settings, seed, folder)
    module, _ = study.autoencoder_of(split, settings, seed, folder)
    hook = autoencoder.next_items_autoencoder
    return with_ranks(outcome, split, lambda visit: hook(module, split, visit))


def run_popular(split: Split, settings: Settings | None = None) -> UserOutcome:
    """Personalised most popular.

    Parameters
    ----------
    settings : half_life (None is no decay) and concentration; what is not given is chosen on the
        development users
    """
    begun, p, settings = perf_counter(), unigram(split), settings or {}
    model = popular_of(p, split, settings)
    scores, seconds = score_popular(model, split), perf_counter() - begun
    size = Size(0, len(p) + 2, 4 * len(p) + 8)
    outcome = outcome_of(split, scores, size, seconds)
    return with_ranks(outcome, split, lambda visit: next_items_popular(model, split, visit))


def run_gru4rec(split: Split, settings: Settings, seed: int, folder: Path) -> UserOutcome:
    """The GRU4Rec-style network."""
    return _run_sequence(split, "gru4rec", settings, seed, folder)


def run_sasrec(split: Split, settings: Settings, seed: int, folder: Path) -> UserOutcome:
    """SASRec."""
    return _run_sequence(split, "sasrec", settings, seed, folder)


def _run_sequence(
    split: Split, name: str, settings: Settings, seed: int, folder: Path
) -> UserOutcome:
    config_of, fit = NETWORKS[name]
    file = file_of(folder, name, settings, seed)
    network, history = fit(split, config_of(**settings), seed, file)
    scores = score_sequence(network, split)
    n_bytes = sum(p.numel() * p.element_size() for p in network.parameters())
    size = Size(network.n_parameters(), 0, n_bytes)
    seconds = sum(row["seconds"] for row in history)
    outcome = outcome_of(split, scores, size, seconds, history)
    hook, kept = next_items_sequence, file.with_name(f"ranks-{file.name}")
    return with_ranks(outcome, split, lambda visit: hook(network, split, visit), kept)


def measures_of(found: Mapping[str, Sequence[UserOutcome]]) -> dict[str, dict[str, object]]:
    """Measures of a result file: a value a seed of what each model came to.

    ``perplexity.``, ``parameters.``, ``seconds.MODEL``; ``recall@k.``, ``ndcg@k.`` and
    ``mrr.MODEL`` over all events, and ``ndcg@10.MODEL.repeats``, ``.discoveries``, ``.by_user``.
    """
    told = {}
    for model, outcomes in found.items():
        values = {
            f"perplexity.{model}": ("perplexity", [o.perplexity for o in outcomes]),
            f"parameters.{model}": ("parameters", [o.size.parameters for o in outcomes]),
            f"seconds.{model}": ("seconds", [o.seconds for o in outcomes]),
        }
        ranks = [outcome.measures(model) for outcome in outcomes]
        for name in ranks[0]:
            metric, _, part = name.partition(f".{model}")
            if not part or metric == "ndcg@10":
                values[name] = (metric, [of[name] for of in ranks])
        told |= {name: measure(numbers, unit) for name, (unit, numbers) in values.items()}
    return told


def claims_of(
    checks: Sequence[tuple[str, str, str, str]], data: str, measures: Mapping[str, dict]
) -> list[Claim]:
    """What holds on this data set of checks (name, who says so, the better model, the worse).

    A check of a model that was not run is left out.
    """
    return [
        compare(f"{name}, {data}", "users, Figure 4(b)", says, *of)
        for name, says, *pair in checks
        if all(f"perplexity.{model}" in measures for model in pair)
        for of in [[measures[f"perplexity.{model}"]["values"] for model in pair]]
    ]


def committed_users(data: str) -> tuple[str, dict | None]:
    """The committed comparison on this data set, of the largest profile that has one."""
    try:
        return committed_result(f"user_modeling_{data}")
    except InputError:
        return "", None


def perplexities(result: Mapping[str, Any]) -> dict[str, float]:
    """Perplexity by model of a result file that `measures_of` filled."""
    named = {name.partition("."): m["value"] for name, m in result["measures"].items()}
    return {model: value for (metric, _, model), value in named.items() if metric == "perplexity"}


def ranking_table(result: Mapping[str, Any]) -> pd.DataFrame:
    """Models by MRR, NDCG@10, Recall@10 and perplexity, over all events."""
    metrics_shown = ("mrr", "ndcg@10", "recall@10", "perplexity")
    names = perplexities(result)
    measures = result["measures"]
    rows = {m: {x: measures[f"{x}.{m}"]["value"] for x in metrics_shown} for m in names}
    return pd.DataFrame.from_dict(rows, orient="index")


def parts_of(result: Mapping[str, Any], metric: str) -> dict[str, dict[str, tuple[float, float]]]:
    """Value and spread of a metric over all events, repeats and discoveries, by model."""
    measures, found = result["measures"], {}
    for model in perplexities(result):
        ends = {"all": "", "repeats": ".repeats", "discoveries": ".discoveries"}
        there = {part: measures.get(f"{metric}.{model}{end}") for part, end in ends.items()}
        found[model] = {part: (m["value"], m["spread"]) for part, m in there.items() if m}
    return found
