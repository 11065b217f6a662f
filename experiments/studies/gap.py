"""Why personal LLA stays above the oracle on simulated clicks, step by step.

    the oracle               the distribution that the clicks were drawn from
    the oracle with an urn   the same, but repeats are predicted as in personal LLA
    interests known          personal LLA: φ and the LSTM learned from every event's true interest
    personal LLA             infers the interests, too

Each step has one piece of knowledge less, and the rise of its perplexity is what that is worth.
What the third one lacks is decomposed exactly: with all interests known, an event's loss is that of
the next interest plus that of its item (`losses_where_known`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch

from data_prep.clicks import kernels, oracle
from data_prep.clicks.simulate import true_leaves, world_of
from data_prep.clicks.world import World
from experiments import study
from experiments.families import FAMILIES, LDA, LLA, Settings
from experiments.processes import run_parallel
from experiments.results import measure
from experiments.studies.users import committed_users
from lla.common.errors import InputError
from lla.corpus import Corpus, Split
from lla.evaluate import Fitted
from lla.evaluate.perplexity import perplexity
from lla.inference.emission import PersonalEmission, SharedEmission
from lla.model import Model

STEPS = ("the oracle", "with an urn", "interests known", "personal LLA")


def with_urn(world: World, tau: np.ndarray) -> World:
    """The same world whose users repeat as a Pólya urn of τ_k (L,) says: ρ = 1, h = τ."""
    return replace(world, rho=np.ones_like(world.rho), habit=tau.astype(np.float64))


def known_interests(split: Split, seed: int) -> Fitted:
    """The true interest of every observed event, in place of LDA's topics."""
    leaves = true_leaves(split.corpus)[~split.held_out]
    config = LDA.configure({"n_topics": len(world_of(split.corpus).leaves), "n_sweeps": 0})
    return LDA.fit(split, config, seed, start=leaves)


def run_gaps(
    split: Split,
    settings: Settings,
    seeds: Sequence[int],
    cache_dir: Path,
    n_particles: int = 16,
) -> list[dict[str, float]]:
    """`run_gap` for every seed, in parallel."""
    calls = [partial(run_gap, split, settings, seed, cache_dir, n_particles) for seed in seeds]
    names = [f"between oracle and personal LLA, seed {seed}" for seed in seeds]
    return run_parallel(calls, "between oracle and personal LLA", names=names)


def run_gap(
    split: Split, settings: Settings, seed: int, cache_dir: Path, n_particles: int = 16
) -> dict[str, float]:
    """Perplexities ``oracle_urn`` and ``known``, the two steps between the oracle and personal LLA.

    And, of that second model, what `losses_where_known` gives.

    Parameters
    ----------
    split : of simulated clicks
    settings : of personal LLA (`study.plan`); interests that are known are not sampled

    Raises
    ------
    InputError
        When the emission of `settings` is not personal.
    """
    if settings.get("emission") != "personal":
        raise InputError("settings of a model without an urn: give emission: personal")
    of_known = {name: value for name, value in settings.items() if name not in FAMILIES}
    of_known |= {"joint": False}
    start = known_interests(split, seed)
    planned = study.plan(split, LLA.key, of_known, seed, cache_dir, start=start)
    model = planned.fit(split)
    assert isinstance(model, Model) and isinstance(model.emission, PersonalEmission)
    known = planned.outcome(split, model, n_particles=n_particles)
    world = with_urn(world_of(split.corpus), model.emission.tau.numpy())
    scores = oracle.score_oracle(world, split)
    urn = perplexity(scores, split, split.reported)
    return {"oracle_urn": urn, "known": known.perplexity} | losses_where_known(split, model)


def losses_where_known(split: Split, model: Model) -> dict[str, float]:
    """Loss of an event where all interests are known, its own too; nats per held-out event.

    ``next.exact`` and ``next.lstm``: -log p(interest | interests before), of the truth and of the
    model's LSTM. ``item.exact``, ``item.urn``, ``item.own``, ``item.learned``: -log p(item |
    interest, history), by `kernels.item_losses`. Both add up to an event's loss.

    Parameters
    ----------
    model : personal LLA whose topics are the interests
    """
    assert isinstance(model.emission, PersonalEmission)
    world, leaves = world_of(split.corpus), true_leaves(split.corpus)
    n_leaves, offsets = len(world.leaves), split.corpus.offsets
    # Histories of interests are clicks, too: of a world whose leaf k emits item k alone.
    interest_world = replace(
        world, vocabulary=world.leaves, phi=np.eye(n_leaves), rho=np.zeros_like(world.rho)
    )
    corpus = Corpus(leaves, offsets, world.leaves)
    observed = corpus.beginnings(split.n_observed)
    interests = replace(split, corpus=corpus, observed=observed)
    exact, _ = oracle.forward_pass(interest_world, corpus)
    emission = model.emission
    if not isinstance(emission, PersonalEmission):
        raise InputError("the model has no urns: give personal LLA")
    lstm = Model(model.network, SharedEmission(torch.eye(n_leaves)), leaves[:0])
    of_lstm = lstm.score(interests, n_particles=1)  # topics are observed, so one path is exact
    items = np.empty((split.corpus.n_tokens, 4))
    phi = np.ascontiguousarray(world.phi.T)
    learned = np.ascontiguousarray(emission.phi.numpy().T)
    tau = emission.tau.numpy().astype(np.float64)
    for part in map(slice, offsets[:-1], offsets[1:]):
        kernels.item_losses(
            words=split.corpus.words[part],
            leaves=leaves[part],
            phi=phi,
            learned=learned,
            rho=world.rho,
            habit=world.habit,
            tau=tau,
            out=items[part],
        )
    sums = {"next.exact": -split.sum_held_out(exact), "next.lstm": -of_lstm}
    names = ("item.exact", "item.urn", "item.own", "item.learned")
    sums |= {name: split.sum_held_out(items[:, i]) for i, name in enumerate(names)}
    n_events = split.n_held_out[split.reported].sum()
    return {name: float(x[split.reported].sum() / n_events) for name, x in sums.items()}


def measures_of(runs: Sequence[dict[str, float]]) -> dict[str, dict[str, object]]:
    """Measures of a result file: ``between.NAME``, one value per seed from `run_gap`."""
    units = {name: "perplexity" if name in ("oracle_urn", "known") else "nats" for name in runs[0]}
    return {
        f"between.{name}": measure([run[name] for run in runs], unit)
        for name, unit in units.items()
    }


def format_gap(perplexities: Sequence[float]) -> str:
    """One line: perplexities in the order of `STEPS`, each rise as a part of log(last / first)."""
    rises = np.diff(np.log(perplexities))
    parts = rises / rises.sum()
    steps = zip(STEPS[1:], perplexities[1:], parts, strict=True)
    line = [f"{name} {value:.1f} ({part:.0%} of the gap)" for name, value, part in steps]
    return " -> ".join([f"{STEPS[0]} {perplexities[0]:.1f}", *line])


def format_known(nats: Mapping[str, float]) -> str:
    """One line: the results of `losses_where_known`, each above the one before, in percent."""
    steps = {
        "next.lstm": ("next.exact", "the LSTM's next interest"),
        "item.urn": ("item.exact", "an urn's repeats"),
        "item.own": ("item.urn", "no own item of another interest in it"),
        "item.learned": ("item.own", "φ learned"),
    }
    rises = {text: nats[name] - nats[before] for name, (before, text) in steps.items()}
    return ", ".join(f"{text} +{np.expm1(rise):.1%}" for text, rise in rises.items())


def committed_gap() -> str:
    """`format_gap` of the committed comparison on simulated clicks, its total, and its causes."""
    _, result = committed_users("clicks")
    if result is None:
        raise InputError("no committed result of user_modeling_clicks: run notebook 10")
    values = {name: measured["value"] for name, measured in result["measures"].items()}
    names = ("perplexity.oracle", "between.oracle_urn", "between.known", "perplexity.personal_lla")
    perplexities = [values[name] for name in names]
    known = {
        name.removeprefix("between."): value
        for name, value in values.items()
        if name.startswith(("between.next.", "between.item."))
    }
    return (
        f"{perplexities[-1] / perplexities[0] - 1:.0%} above the oracle: "
        f"{format_gap(perplexities)}; "
        f"where all interests are known, an event's perplexity: {format_known(known)}"
    )
