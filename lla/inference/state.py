"""Stochastic EM's state: what changes during a fit, and what is saved of it."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lla.common.arrays import allocate_tokens, check_topics, id_dtype
from lla.common.checkpoint import (
    best_iteration,
    cut_history,
    hash_of_topics,
    restore_training,
    restoring,
    resume_fit,
    save_fit,
    training_arrays,
)
from lla.common.display import Summarized
from lla.common.errors import InputError, check_seed
from lla.common.parallel import ALONE, Workers
from lla.common.random import StreamId, torch_stream
from lla.corpus import Corpus, Split
from lla.inference.config import SEMConfig, saved_config
from lla.inference.emission import (
    Emission,
    PersonalEmission,
    SharedEmission,
    SourceEmission,
)
from lla.inference.emission.source_fit import draw_initial, fit_parameters
from lla.inference.emission.sources import SourceParameters, Sources
from lla.inference.emission.tables import Tables, TauConfig, draw_tables
from lla.inference.gradient import adam
from lla.inference.objectives import TopicWords
from lla.lstm import CountingOutput, Network, spell

SPILL_THRESHOLD_BYTES = 2**22  # larger arrays that are only kept for the end go to a file
FIRST_SWEEPS, SWEEPS = 20, 5  # over the tables, at the start and whenever topics have changed


@dataclass(repr=False)
class SEM(Summarized):
    """A state of the algorithm: all that is needed to resume.

    Attributes
    ----------
    iteration : iterations done
    topics : (N,) assignments of the observed tokens, uint16 where K allows (`id_dtype`). With
        sources also where the items came from: k + K c under a gate, where c is 0 for the topic and
        j + 1 for source j; else K + j for source j, and no topic
    network, optimizer : the LSTM and Adam's moments
    best : weights, assignments and tables of the iteration with the lowest development perplexity
    history : one dict per iteration: iteration, topic_loss (nats per token), topic_entropy (nats),
        changed (share of tokens whose topic moved in the last SE-step), development_perplexity,
        seconds; topic_entropy is missing where there are no topics; acceptance and sparse_share
        (of the proposals) are there where an SE-step by Metropolis-Hastings was; tau, its mean
        over topics, where the emission is personal; where there are sources, the share of the
        tokens that each produced, and its parameters
    tables : what the personal emission is computed from, besides the topics
    sources : their counts and parameters; None without
    """

    iteration: int
    topics: np.ndarray
    network: Network
    optimizer: torch.optim.Adam
    best: dict[str, Tensor]
    history: list[dict[str, float]]
    tables: Tables | None = None
    sources: Sources | None = None

    @property
    def best_iteration(self) -> int:
        """Iteration with the lowest development perplexity, 0 before the first."""
        return best_iteration(self.history)


def initial_state(observed: Corpus, start: np.ndarray, config: SEMConfig, seed: int) -> SEM:
    """LDA's assignments, their tables, and an untrained LSTM; sources take their first tokens."""
    topics = allocate_tokens(len(start), id_dtype(config.n_values))
    topics[:] = start
    state = _untrained(observed, topics, config, seed)
    if state.sources:
        origins, state.sources = draw_initial(
            observed, start, state.sources, config.beta, config.n_topics, seed
        )
        if config.has_gate:
            state.topics[:] = start + config.n_topics * origins
        else:
            state.topics[:] = np.where(origins == 0, start, config.n_topics + origins - 1)
    renew_tables(state, observed, config, seed, (0,))
    return state


def _untrained(observed: Corpus, topics: np.ndarray, config: SEMConfig, seed: int) -> SEM:
    """With these topics themselves: a copy of what all tokens have is not made lightly."""
    sizes = config.network(observed.n_words, observed.n_documents)
    letters = sizes.input == "character"
    spelling = spell(observed.vocabulary, config.characters) if letters else None
    network = Network(sizes, torch_stream(seed, StreamId.WEIGHTS), spelling)
    if config.objective == "marginal":
        counted = SharedEmission.from_assignments(
            observed.words, topics, observed.n_words, config.n_topics, config.beta
        )
        network.topic_words = TopicWords(counted.phi)
    optimizer = adam(network, config.train, bool(config.bfloat16))
    sources = Sources.from_corpus(observed, config.sources) if config.sources else None
    return SEM(0, topics, network, optimizer, {}, [], sources=sources)


def emission_of(
    state: SEM, observed: Corpus, config: SEMConfig, workers: Workers = ALONE
) -> Emission | None:
    """φ in closed form from the counts of the topics, or as the gradient left it; None without."""
    if not config.has_topics:
        return None
    if config.objective == "marginal":
        return SharedEmission(state.network.topic_words.log_phi().detach().exp())
    topics = _topic_emission(state, observed, config, workers)
    return topics if state.sources is None else SourceEmission(topics, state.sources)


def _topic_emission(
    state: SEM, observed: Corpus, config: SEMConfig, workers: Workers
) -> SharedEmission | PersonalEmission:
    words, topics = observed.words, topics_of(state, config)
    if state.tables is None:
        if state.sources is not None:
            own = origins_of(state, config) == 0
            words, topics = words[own], topics[own]
        return SharedEmission.from_assignments(
            words, topics, observed.n_words, config.n_topics, config.beta, workers
        )
    return PersonalEmission.from_tables(
        words,
        topics,
        state.tables.opened,
        state.tables.tau,
        observed.n_words,
        config.beta,
    )


def renew_tables(
    state: SEM, observed: Corpus, config: SEMConfig, seed: int, key: tuple[int, ...]
) -> None:
    """Draw the tables of the state's topics anew, and τ, where the emission is personal."""
    if config.emission != "personal":
        return
    words, offsets, topics = observed.words, observed.offsets, topics_of(state, config)
    own = topics < config.n_topics
    if not own.all():  # a token without a topic is in no urn
        offsets = np.append(0, np.cumsum(own))[offsets]
        words, topics = words[own], topics[own]
    state.tables = draw_tables(
        words,
        offsets,
        topics,
        n_words=observed.n_words,
        beta=config.beta,
        tau=state.tables.tau if state.tables else np.full(config.n_topics, float(config.tau)),
        config=TauConfig(config.tau, config.tau_per_topic, config.learn_tau),
        n_sweeps=SWEEPS if state.tables else FIRST_SWEEPS,
        seed=seed,
        key=key,
    )
    if not own.all():
        opened = np.zeros(len(own), bool)
        opened[own] = state.tables.opened
        state.tables = Tables(opened, state.tables.tau)


def renew_sources(state: SEM, observed: Corpus, config: SEMConfig) -> None:
    """Learn concentrations and half-life from the tokens that sources produced, if there are any.

    The counts are of the corpus and stay as they are.
    """
    if state.sources is None:
        return
    numbers = 1 + np.arange(len(config.sources))
    produced = (origins_of(state, config)[:, None] == numbers).astype(np.float64)
    state.sources = fit_parameters(observed, state.sources, produced)


def source_shares(state: SEM, config: SEMConfig) -> dict[str, float]:
    """The share of the tokens that each source produced, as columns of a fit's history."""
    if state.sources is None:
        return {}
    count = np.bincount(origins_of(state, config), minlength=1 + len(config.sources))[1:]
    share = count / max(1, len(state.topics))
    return {f"share_{name}": float(p) for name, p in zip(config.sources, share, strict=True)}


def count_weights(state: SEM) -> dict[str, float]:
    """η and α of the running counts of topics, as columns of a fit's history."""
    output = state.network.output
    if not isinstance(output, CountingOutput):
        return {}
    exponent, log_prior = output.exponent.detach()[0], output.log_prior.detach()[0]
    return {"count_exponent": float(exponent), "count_prior": float(log_prior.exp())}


def user_spread(state: SEM) -> dict[str, float]:
    """Root mean square of users' own numbers d_u, as a column of a fit's history."""
    users = state.network.users
    if users is None:
        return {}
    return {"user_spread": float(users.own.detach().square().mean().sqrt())}


def topics_of(state: SEM, config: SEMConfig) -> np.ndarray:
    """The tokens' topics, (N,); K and above where a token has none."""
    return state.topics % config.n_topics if config.has_gate else state.topics


def origins_of(state: SEM, config: SEMConfig) -> np.ndarray:
    """Where the tokens' items came from, (N,): 0 is the topic, j + 1 source j."""
    if config.has_gate:
        return state.topics // config.n_topics
    return np.maximum(state.topics.astype(np.int64) - config.n_topics + 1, 0)


def best_weights(state: SEM) -> dict[str, Tensor]:
    """A copy of the weights, and of all that the emission follows from; much of it in a file."""
    copies = {name: value.detach().clone() for name, value in state.network.state_dict().items()}
    for name, value in sampled_arrays(state).items():
        copy = allocate_tokens(len(value), value.dtype, SPILL_THRESHOLD_BYTES)
        copy[:] = value
        copies[name] = torch.from_numpy(copy)
    return copies


def sampled_arrays(state: SEM) -> dict[str, np.ndarray]:
    """The assignments, for the personal emission its tables and τ, and what sources learned."""
    more = {"opened": state.tables.opened, "tau": state.tables.tau} if state.tables else {}
    if state.sources:
        more["source_parameters"] = state.sources.parameters.array()
    return {"topics": state.topics, **more}


def restore_sampled(state: SEM, arrays: Mapping[str, np.ndarray]) -> None:
    """Put back what `sampled_arrays` gave."""
    state.topics = arrays["topics"].astype(state.topics.dtype, copy=False)
    if "opened" in arrays:
        state.tables = Tables(arrays["opened"], arrays["tau"])
    if "source_parameters" in arrays and state.sources:
        learned = SourceParameters(*arrays["source_parameters"].tolist())
        state.sources = state.sources.replace(learned)


def arrays_of(state: SEM) -> dict[str, Any]:
    """All arrays of a checkpoint, by name."""
    return {
        **sampled_arrays(state),
        **training_arrays(state.network, state.optimizer, state.best),
    }


def restore(
    arrays: dict[str, np.ndarray], meta: dict[str, Any], config: SEMConfig, observed: Corpus
) -> SEM:
    """The state that was saved with these `arrays_of` and this meta (seed, history).

    To be called inside `restoring`.
    """
    n_numbers = sum(array.size for name, array in arrays.items() if name.startswith("network."))
    sizes = config.network(observed.n_words, observed.n_documents)
    if sizes.n_parameters(0) > n_numbers:
        raise ValueError(f"its options need more weights than the {n_numbers} there are")
    n_values = max(1, config.n_values)
    topics = check_topics("topics", arrays["topics"], observed.n_tokens, n_values)
    topics = topics.astype(id_dtype(config.n_values), copy=False)  # a file may have a larger type
    state = _untrained(observed, topics, config, check_seed(meta["seed"]))
    restore_sampled(state, arrays)
    state.history = meta["history"]
    state.iteration = len(state.history)
    state.best = restore_training(arrays, state.network, state.optimizer)
    return state


def check_start(split: Split, start: np.ndarray | None, config: SEMConfig) -> np.ndarray:
    """The topics to start from; 0 for a model that has none, whatever is given."""
    n_tokens = split.observed.n_tokens
    if not config.has_topics:
        return np.zeros(n_tokens, np.int32)
    if start is None:
        raise InputError(
            f"start: {config.model} starts from topics; give those of an LDA, start=lda.topics"
        )
    return check_topics("start", start, n_tokens, config.n_topics)


def identity_of(split: Split, start: np.ndarray, seed: int) -> dict[str, object]:
    """What a checkpoint must have been made from, besides its configuration."""
    return {**split_identity(split), "initial_topics": hash_of_topics(start), "seed": seed}


def split_identity(split: Split) -> dict[str, object]:
    """The part of it that names the kind of fit and the split."""
    return {"kind": "sem", **split.identity()}


def save(path: Path, identity: dict[str, object], config: SEMConfig, state: SEM) -> None:
    """Write the whole state to `path`, with what it was made from."""
    meta = {"config": asdict(config), "history": state.history}
    save_fit(path, identity, arrays_of(state), meta)


def resume(
    path: Path | None, identity: dict[str, object], config: SEMConfig, observed: Corpus
) -> SEM | None:
    """The state saved at `path`, as far as this configuration goes; None when there is no file."""
    identity = identity | {"config": config.effective()}
    found = resume_fit(path, identity, lambda saved: saved_config(saved).effective())
    if path is None or found is None:
        return None
    arrays, meta = found
    with restoring(path):
        history = cut_history(path, meta["history"], config.n_iterations, config.patience)
        return restore(arrays, meta | {"history": history}, config, observed)
