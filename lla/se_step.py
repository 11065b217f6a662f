"""The SE-step, however topics are drawn."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch

from lla.corpus import Corpus
from lla.dense_step import dense_topics, on_device
from lla.emission import PersonalEmission, SharedEmission
from lla.histories import HistoryConfig, beam_topics, particle_gibbs
from lla.inference import infer
from lla.lstm import Network, Stepper
from lla.metropolis_step import MHConfig, move_corpus
from lla.particles import FilterConfig
from lla.sem_config import SEMConfig
from lla.streams import Use


def se_step(
    network: Network,
    emission: SharedEmission | PersonalEmission,
    observed: Corpus,
    topics: np.ndarray,
    config: SEMConfig,
    seed: int,
    key: tuple[int, ...],
    pool: ThreadPoolExecutor,
    device: torch.device | None = None,
) -> tuple[np.ndarray, dict[str, float]]:
    """New topics of all tokens, `topics` (N,) being the last ones.

    Exact: every z_t from θ_t,k p(w_t | k) given z_<t (equation 2). Filter: whole histories of a
    particle filter, which the words after a token have had a say in. On a `device` exact draws
    given topics are those of `dense_step`; all others are made on the CPU.

    Returns
    -------
    topics, told : (N,) int32, and what the history of a fit says of the draws
    """
    whole, name = (Use.SE_STEP, *key), f"SE-step {key[0]}"
    kind = config.se_step
    if kind in ("gibbs", "beam") and config.se_particles == 1:
        kind = "exact"
    if device and kind == "exact" and network.config.input == "topic" and not emission.remembers:
        with on_device(network, device):
            return dense_topics(network, emission, observed, seed, whole, name), {}
    if kind == "mh":
        steps = MHConfig(config.n_mh, bfloat16=config.bfloat16)
        moved = move_corpus(network, observed, topics, config.beta, steps, seed, whole, pool, name)
        told = {"acceptance": moved.acceptance, "sparse_share": moved.sparse_share}
        return moved.topics, told
    if kind == "gibbs":
        carried = HistoryConfig(config.se_particles, lookahead=config.lookahead)
        drawn = particle_gibbs(
            Stepper(network), emission, observed, topics, carried, seed, whole, pool, name
        )
    elif kind == "beam":
        drawn = beam_topics(Stepper(network), emission, observed, config.se_particles, pool, name)
    else:
        n_particles = config.se_particles if kind == "filter" else 1
        carried = FilterConfig(n_particles, whole=kind == "filter")
        drawn = infer(network, emission, observed, carried, seed, whole, pool, name)
    return drawn.topics, {}
