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
from lla.particles import FilterConfig, Filtered
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
) -> dict[str, float]:
    """Draw the topics of all tokens anew, `topics` (N,), in place: a second array costs memory.

    Exact: every z_t from θ_t,k p(w_t | k) given z_<t (equation 2). Filter: whole histories of a
    particle filter, which the words after a token have had a say in. On a `device` exact draws
    given topics are those of `dense_step`; all others are made on the CPU.

    Returns
    -------
    told : what the history of a fit says of the draws, the share of topics that changed first
    """
    whole, name, into = (Use.SE_STEP, *key), f"SE-step {key[0]}", Filtered(topics, None)
    kind, told = config.se_step, {}
    if kind in ("gibbs", "beam") and config.se_particles == 1:
        kind = "exact"
    if device and kind == "exact" and network.config.input == "topic" and not emission.remembers:
        with on_device(network, device):
            drawn = dense_topics(network, emission, observed, seed, whole, name, into=into)
    elif kind == "mh":
        given = (config.beta, MHConfig(config.n_mh, bfloat16=config.bfloat16), seed, whole)
        drawn = move_corpus(network, observed, topics, *given, pool, name, into=topics)
        told = {"acceptance": drawn.acceptance, "sparse_share": drawn.sparse_share}
    elif kind == "gibbs":
        carried = HistoryConfig(config.se_particles, lookahead=config.lookahead)
        given = (topics, carried, seed, whole)
        drawn = particle_gibbs(Stepper(network), emission, observed, *given, pool, name, into)
    elif kind == "beam":
        given = (config.se_particles, pool, name, into)
        drawn = beam_topics(Stepper(network), emission, observed, *given)
    else:
        n_particles = config.se_particles if kind == "filter" else 1
        carried = FilterConfig(n_particles, whole=kind == "filter")
        given = (carried, seed, whole, pool, name)
        drawn = infer(network, emission, observed, *given, into=into)
    return {"changed": drawn.changed / max(1, len(topics)), **told}
