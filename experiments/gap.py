"""Why personal LLA stays above the oracle on simulated clicks, step by step.

    the oracle               knows the truth
    the oracle with an urn   but predicts repeats as personal LLA does
    interests known          personal LLA: φ and the LSTM learned from every event's true interest
    personal LLA             finds the interests, too

Each step has one piece of knowledge less, and its perplexity rises by what that is worth. What the
third one lacks is taken apart once more, exactly: with all interests known, an event's loss is that
of the next interest and that of its item (`losses_where_known`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from data_prep.clicks import kernels as oracle_kernels
from data_prep.clicks import oracle
from data_prep.clicks.simulate import true_leaves, world_of
from data_prep.clicks.world import World
from experiments import study
from experiments.results import measure
from experiments.study import Settings
from experiments.study_users import committed_users
from lla.common.errors import InputError
from lla.corpus import Corpus, Split
from lla.evaluate.perplexity import perplexity
from lla.inference.emission import SharedEmission
from lla.lda import LDA, LDAConfig, init_lda
from lla.model import Model

STEPS = ("the oracle", "with an urn", "interests known", "personal LLA")


def with_urn(world: World, tau: np.ndarray) -> World:
    """The same world whose users repeat as a Pólya urn of τ_k (L,) says: ρ = 1, h = τ."""
    return replace(world, rho=np.ones_like(world.rho), habit=tau.astype(np.float64))


def known_interests(split: Split, seed: int) -> LDA:
    """The true interest of every observed event, in the place of an LDA's topics."""
    leaves = true_leaves(split.corpus)
    starts, ends = split.corpus.offsets[:-1], split.corpus.offsets[:-1] + split.n_observed
    spans = [leaves[a:b] for a, b in zip(starts, ends, strict=True)]
    start = init_lda(split.observed, LDAConfig(n_topics=len(world_of(split.corpus).leaves)), seed)
    return replace(start, topics=np.concatenate(spans).astype(start.topics.dtype))


def run_gap(
    split: Split, settings: Settings, seed: int, folder: Path, n_particles: int = 16
) -> dict[str, float]:
    """Perplexities ``oracle_urn`` and ``known``, the two steps between the oracle and personal LLA.

    And, of that second model, what `losses_where_known` gives.

    Parameters
    ----------
    split : of simulated clicks
    settings : of personal LLA (`study.model_of`); interests that are known are not drawn anew

    Raises
    ------
    InputError
        When the emission of `settings` is not personal.
    """
    if settings.get("emission") != "personal":
        raise InputError("settings of a model without an urn: give emission: personal")
    given = {name: value for name, value in settings.items() if name != "ddlda"} | {"joint": False}
    start = known_interests(split, seed)
    known = study.run_model(split, start, given, seed, folder, n_particles)
    model, _ = study.model_of(split, start, given, seed, folder)
    world = with_urn(world_of(split.corpus), model.emission.tau.numpy())
    scores = oracle.score_oracle(world, split)
    urn = perplexity(scores, split, split.reported)
    return {"oracle_urn": urn, "known": known.perplexity} | losses_where_known(split, model)


def losses_where_known(split: Split, model: Model) -> dict[str, float]:
    """What an event costs where all interests are known, its own too; nats a held-out event.

    ``next.exact`` and ``next.lstm``: -log p(interest | interests before), of the truth and of the
    model's LSTM. ``item.exact``, ``item.urn``, ``item.own``, ``item.learned``: -log p(item |
    interest, history), by `oracle_kernels.item_losses`. Both add up to an event's loss.

    Parameters
    ----------
    model : personal LLA whose topics are the interests
    """
    world, leaves = world_of(split.corpus), true_leaves(split.corpus)
    n_leaves, offsets = len(world.leaves), split.corpus.offsets
    # Histories of interests are clicks, too: of a world whose leaf k emits item k alone.
    bare = replace(
        world, vocabulary=world.leaves, phi=np.eye(n_leaves), rho=np.zeros_like(world.rho)
    )
    corpus = Corpus(leaves, offsets, world.leaves)
    interests = replace(split, corpus=corpus)
    exact, _ = oracle.filter_corpus(bare, corpus)
    lstm = Model(model.network, SharedEmission(torch.eye(n_leaves)), leaves[:0])
    of_lstm = lstm.score(interests, n_particles=1)  # one history is all there is
    items = np.empty((split.corpus.n_tokens, 4))
    truth, learned = (np.ascontiguousarray(x.T) for x in (world.phi, model.emission.phi.numpy()))
    tau = model.emission.tau.numpy().astype(np.float64)
    for part in map(slice, offsets[:-1], offsets[1:]):
        given = (split.corpus.words[part], leaves[part], truth, learned)
        oracle_kernels.item_losses(*given, world.rho, world.habit, tau, items[part])
    sums = {"next.exact": -split.sum_held_out(exact), "next.lstm": -of_lstm}
    ways = ("exact", "urn", "own", "learned")
    sums |= {f"item.{way}": split.sum_held_out(items[:, i]) for i, way in enumerate(ways)}
    n_events = split.n_held_out[split.reported].sum()
    return {name: float(x[split.reported].sum() / n_events) for name, x in sums.items()}


def measures_of(runs: Sequence[dict[str, float]]) -> dict[str, dict[str, object]]:
    """Measures of a result file: ``between.NAME``, a value a seed of what `run_gap` gave."""
    units = {name: "perplexity" if name in ("oracle_urn", "known") else "nats" for name in runs[0]}
    return {
        f"between.{name}": measure([run[name] for run in runs], unit)
        for name, unit in units.items()
    }


def told(perplexities: Sequence[float]) -> str:
    """One line: perplexities in the order of `STEPS`, each rise as part of log(last / first)."""
    rises = np.diff(np.log(perplexities))
    rises = rises / rises.sum()
    steps = zip(STEPS[1:], perplexities[1:], rises, strict=True)
    line = [f"{name} {value:.1f} ({part:.0%} of the gap)" for name, value, part in steps]
    return " -> ".join([f"{STEPS[0]} {perplexities[0]:.1f}", *line])


def told_where_known(nats: Mapping[str, float]) -> str:
    """One line: what `losses_where_known` gave, each way above the one before, in per cent."""
    ways = {
        "next.lstm": ("next.exact", "the LSTM's next interest"),
        "item.urn": ("item.exact", "an urn's repeats"),
        "item.own": ("item.urn", "no own item of another interest in it"),
        "item.learned": ("item.own", "φ learned"),
    }
    rises = {says: nats[name] - nats[before] for name, (before, says) in ways.items()}
    return ", ".join(f"{says} +{np.expm1(rise):.1%}" for says, rise in rises.items())


def committed_gap() -> str:
    """`told` of the committed comparison on simulated clicks, how far it is in all, and why."""
    _, result = committed_users("clicks")
    if result is None:
        raise InputError("no committed result of user_modeling_clicks: run notebook 10")
    values = {name: of["value"] for name, of in result["measures"].items()}
    names = ("perplexity.oracle", "between.oracle_urn", "between.known", "perplexity.personal_lla")
    way = [values[name] for name in names]
    known = {
        name.removeprefix("between."): x
        for name, x in values.items()
        if name.startswith(("between.next.", "between.item."))
    }
    return (
        f"{way[-1] / way[0] - 1:.0%} above the oracle: {told(way)}; "
        f"where all interests are known, an event's perplexity: {told_where_known(known)}"
    )
