"""Why personal LLA stays above the oracle on simulated clicks, step by step.

    the oracle               knows the truth
    the oracle with an urn   but predicts repeats as personal LLA does
    interests known          personal LLA: φ and the LSTM learned from every event's true interest
    personal LLA             finds the interests, too

Each step has one piece of knowledge less, and its perplexity rises by what that is worth.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from lla import oracle, study
from lla.click_world import World
from lla.clicks import true_leaves, world_of
from lla.corpus import Split
from lla.errors import InputError
from lla.lda import LDA, LDAConfig, begin_lda
from lla.sizes import Size
from lla.study import Outcome, Settings, outcome_of
from lla.study_users import committed_users

STEPS = ("the oracle", "with an urn", "interests known", "personal LLA")


def with_urn(world: World, tau: np.ndarray) -> World:
    """The same world whose users repeat as a Pólya urn of τ_k (L,) says: ρ = 1, h = τ."""
    return replace(world, rho=np.ones_like(world.rho), habit=tau.astype(np.float64))


def known_interests(split: Split, seed: int) -> LDA:
    """The true interest of every observed event, in the place of an LDA's topics."""
    leaves = true_leaves(split.corpus)
    starts, ends = split.corpus.offsets[:-1], split.corpus.offsets[:-1] + split.n_observed
    spans = [leaves[a:b] for a, b in zip(starts, ends, strict=True)]
    start = begin_lda(split.observed, LDAConfig(n_topics=len(world_of(split.corpus).leaves)), seed)
    return replace(start, topics=np.concatenate(spans).astype(start.topics.dtype))


def run_gap(
    split: Split, settings: Settings, seed: int, folder: Path, n_particles: int = 16
) -> dict[str, Outcome]:
    """The two steps between the oracle and personal LLA: ``oracle_urn`` and ``known``.

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
    (model, _), _ = study.model_of(split, start, given, seed, folder)
    world = with_urn(world_of(split.corpus), model.emission.tau.numpy())
    urn = outcome_of(split, oracle.score_oracle(world, split), Size(0, 0, 0))
    return {"oracle_urn": urn, "known": known}


def told(perplexities: Sequence[float]) -> str:
    """One line: perplexities in the order of `STEPS`, each rise as part of log(last / first)."""
    rises = np.diff(np.log(perplexities))
    rises = rises / rises.sum()
    steps = zip(STEPS[1:], perplexities[1:], rises, strict=True)
    line = [f"{name} {value:.1f} ({part:.0%} of the gap)" for name, value, part in steps]
    return " -> ".join([f"{STEPS[0]} {perplexities[0]:.1f}", *line])


def committed_gap() -> str:
    """`told` of the committed comparison on simulated clicks, and how far it is in all."""
    _, result = committed_users("clicks")
    if result is None:
        raise InputError("no committed result of user_modeling_clicks: run notebook 10")
    names = ("perplexity.oracle", "between.oracle_urn", "between.known", "perplexity.personal_lla")
    values = [result["measures"][name]["value"] for name in names]
    return f"{values[-1] / values[0] - 1:.0%} above the oracle: {told(values)}"
