"""State of stochastic EM: topics, LSTM, emission; what is saved of it and put back."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lla.common.checkpoint import best_iteration, restore_training, training_arrays
from lla.common.random import StreamId, torch_stream
from lla.corpus import Corpus, allocate_tokens, id_dtype
from lla.inference.emission import PersonalEmission, SharedEmission, Tables, TauConfig, draw_tables
from lla.inference.gradient import TopicWords, adam
from lla.lstm import Network, spell

SPILL_THRESHOLD_BYTES = 2**22  # larger arrays that are only kept for the end go to a file
FIRST_SWEEPS, SWEEPS = 20, 5  # over the tables, at the start and whenever topics have changed

Config = Any  # lla.sem.SEMConfig, resolved; lla.sem imports this module


@dataclass
class SEM:
    """A state of the algorithm: all that an interrupted run needs to go on.

    Attributes
    ----------
    iteration : iterations done
    topics : (N,) assignments of the observed tokens, uint16 where K allows (`id_dtype`)
    network, optimizer : the LSTM and Adam's moments
    best : weights, assignments and tables of the iteration with the lowest development perplexity
    history : one dict per iteration: iteration, topic_loss (nats per token), topic_entropy (nats),
        changed (share of tokens whose topic moved in the last SE-step), development_perplexity,
        seconds; topic_entropy is missing where there are no topics; acceptance and sparse_share
        (of the proposals) are there where an SE-step by Metropolis-Hastings was; tau, its mean
        over topics, where the emission is personal
    tables : what the personal emission is computed from, besides the topics
    """

    iteration: int
    topics: np.ndarray
    network: Network
    optimizer: torch.optim.Adam
    best: dict[str, Tensor]
    history: list[dict[str, float]]
    tables: Tables | None = None

    @property
    def best_iteration(self) -> int:
        """Iteration with the lowest development perplexity, 0 before the first."""
        return best_iteration(self.history)


def initial_state(observed: Corpus, start: np.ndarray, config: Config, seed: int) -> SEM:
    """LDA's assignments, their tables, and an untrained LSTM."""
    state = _untrained(observed, start, config, seed)
    renew_tables(state, observed, config, seed, (0,))
    return state


def _untrained(observed: Corpus, topics: np.ndarray, config: Config, seed: int) -> SEM:
    sizes = config.network(observed.n_words)
    letters = sizes.input == "character"
    spelling = spell(observed.vocabulary, config.characters) if letters else None
    network = Network(sizes, torch_stream(seed, StreamId.WEIGHTS), spelling)
    if config.objective == "marginal":
        network.topic_words = TopicWords(_shared_emission(observed, topics, config).phi)
    optimizer = adam(network, config.train, bool(config.bfloat16))
    return SEM(0, topics.astype(id_dtype(config.n_topics)), network, optimizer, {}, [])


def emission_of(
    state: SEM, observed: Corpus, config: Config
) -> SharedEmission | PersonalEmission | None:
    """φ in closed form from the counts of the topics, or as the gradient left it; None without."""
    if not config.has_topics:
        return None
    if config.objective == "marginal":
        return SharedEmission(state.network.topic_words.log_phi().detach().exp())
    if state.tables is None:
        return _shared_emission(observed, state.topics, config)
    return PersonalEmission.from_tables(
        observed.words,
        state.topics,
        state.tables.opened,
        state.tables.tau,
        observed.n_words,
        config.beta,
    )


def _shared_emission(observed: Corpus, topics: np.ndarray, config: Config) -> SharedEmission:
    return SharedEmission.from_assignments(
        observed.words, topics, observed.n_words, config.n_topics, config.beta
    )


def renew_tables(
    state: SEM, observed: Corpus, config: Config, seed: int, key: tuple[int, ...]
) -> None:
    """Draw the tables of the state's topics anew, and τ, where the emission is personal."""
    if config.emission != "personal":
        return
    first = state.tables is None
    state.tables = draw_tables(
        observed.words,
        observed.offsets,
        state.topics,
        n_words=observed.n_words,
        beta=config.beta,
        tau=np.full(config.n_topics, float(config.tau)) if first else state.tables.tau,
        config=TauConfig(config.tau, config.tau_per_topic, config.learn_tau),
        n_sweeps=FIRST_SWEEPS if first else SWEEPS,
        seed=seed,
        key=key,
    )


def best_weights(state: SEM) -> dict[str, Tensor]:
    """A copy of the weights, and of all that the emission follows from; much of it in a file."""
    copies = {name: value.detach().clone() for name, value in state.network.state_dict().items()}
    for name, value in sampled_arrays(state).items():
        copy = allocate_tokens(len(value), value.dtype, SPILL_THRESHOLD_BYTES)
        copy[:] = value
        copies[name] = torch.from_numpy(copy)
    return copies


def sampled_arrays(state: SEM) -> dict[str, np.ndarray]:
    """The assignments, and what else the emission is computed from."""
    more = {"opened": state.tables.opened, "tau": state.tables.tau} if state.tables else {}
    return {"topics": state.topics, **more}


def restore_sampled(state: SEM, arrays: Mapping[str, np.ndarray]) -> None:
    """Put back what `_sampled_arrays` gave."""
    # A file may be older than the smaller type.
    state.topics = arrays["topics"].astype(state.topics.dtype, copy=False)
    if "opened" in arrays:
        state.tables = Tables(arrays["opened"], arrays["tau"])


def arrays_of(state: SEM) -> dict[str, Any]:
    """All arrays of a checkpoint, by name."""
    return {
        **sampled_arrays(state),
        **training_arrays(state.network, state.optimizer, state.best),
    }


def restore(
    arrays: dict[str, np.ndarray], meta: dict[str, Any], config: Config, observed: Corpus
) -> SEM:
    """The state that was saved with these `arrays_of` and this meta (seed, history)."""
    state = _untrained(observed, arrays["topics"], config, meta["seed"])
    restore_sampled(state, arrays)
    state.history = meta["history"]
    state.iteration = len(state.history)
    state.best = restore_training(arrays, state.network, state.optimizer)
    return state
