"""The state of stochastic EM: what it depends on, and what an interrupted run needs to go on."""

import hashlib
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lla.common.errors import InputError
from lla.common.files import load_tensors, save_tensors
from lla.common.random import StreamId, torch_stream
from lla.corpus import Corpus, Split, allocate_tokens, id_dtype
from lla.inference.emission import PersonalEmission, SharedEmission, Tables, TauConfig, draw_tables
from lla.inference.gradient import TopicWords, adam
from lla.lda import hash_of_topics
from lla.lstm import Network, spell
from lla.model import Model
from lla.sem_config import SEMConfig

SPILL_THRESHOLD_BYTES = 2**22  # larger arrays that are only kept for the end go to a file


FIRST_SWEEPS, SWEEPS = 20, 5  # of the tables, at the start and whenever topics have changed


@dataclass
class SEM:
    """A state of the algorithm: all that an interrupted run needs to go on.

    Attributes
    ----------
    iteration : iterations done
    topics : (N,) assignments of the observed tokens, uint16 where K allows (`id_dtype`)
    network, optimizer : the LSTM and Adam's moments
    best : weights, assignments and tables of the iteration with the lowest development perplexity
    history : one dict an iteration: iteration, topic_loss (nats a token), topic_entropy (nats),
        changed (share of tokens whose topic moved in the last SE-step), development_perplexity,
        seconds; topic_entropy is missing where there are no topics; acceptance and sparse_share
        (of the proposals) are there where an SE-step by Metropolis-Hastings was; tau, its mean
        over topics, where the emission is personal
    tables : what the personal emission follows from, besides the topics
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
        if not self.history:
            return 0
        return int(min(self.history, key=lambda row: row["development_perplexity"])["iteration"])


def check(split: Split, start: np.ndarray | None, config: SEMConfig) -> np.ndarray:
    """The topics to start from, 0 where a model has none; refuse what the kernels cannot take.

    The kernels look at no bounds.
    """
    n_tokens, n_topics = split.observed.n_tokens, config.n_topics
    if start is None:
        if config.has_topics:
            raise InputError(f"start: {config.model} starts from topics; give those of an LDA")
        start = np.zeros(n_tokens, np.int32)
    if start.shape != (n_tokens,):
        raise InputError(
            f"start: {start.size} topics for {n_tokens} observed tokens; "
            "give those of an LDA of this split"
        )
    if config.has_topics and (start.min() < 0 or start.max() >= n_topics):
        raise InputError(
            f"start: topics {start.min()} to {start.max()}, but n_topics is {n_topics}; "
            "give both the same number of topics"
        )
    if not split.n_held_out[split.development].any():
        raise InputError(
            "development: none of its documents has a held-out word to decide when to stop; "
            "split with a development part, such as 0.1, and documents of 3 words or more"
        )
    return start


def emission_of(
    state: SEM, observed: Corpus, config: SEMConfig
) -> SharedEmission | PersonalEmission | None:
    """φ in closed form from the counts of the topics, or as the gradient left it; None without."""
    if not config.has_topics:
        return None
    if config.objective == "marginal":
        return SharedEmission(state.network.topic_words.log_phi().detach().exp())
    if state.tables:
        tables, counted = state.tables, (observed.words, state.topics)
        return PersonalEmission.from_tables(
            *counted, tables.opened, tables.tau, observed.n_words, config.beta
        )
    return _counted(observed, state.topics, config)


def renew_tables(
    state: SEM, observed: Corpus, config: SEMConfig, seed: int, key: tuple[int, ...]
) -> None:
    """Draw the tables of the state's topics anew, and τ, where the emission is personal."""
    if config.emission != "personal":
        return
    first = state.tables is None
    tau = np.full(config.n_topics, float(config.tau)) if first else state.tables.tau
    state.tables = draw_tables(
        observed.words,
        observed.offsets,
        state.topics,
        observed.n_words,
        config.beta,
        tau,
        TauConfig(config.tau, config.tau_per_topic, config.learn_tau),
        FIRST_SWEEPS if first else SWEEPS,
        seed,
        key,
    )


def _counted(observed: Corpus, topics: np.ndarray, config: SEMConfig) -> SharedEmission:
    return SharedEmission.from_assignments(
        observed.words, topics, observed.n_words, config.n_topics, config.beta
    )


def begin(observed: Corpus, topics: np.ndarray, config: SEMConfig, seed: int) -> SEM:
    """LDA's assignments, their tables, and an untrained LSTM."""
    state = _untrained(observed, topics, config, seed)
    renew_tables(state, observed, config, seed, (0,))
    return state


def _untrained(observed: Corpus, topics: np.ndarray, config: SEMConfig, seed: int) -> SEM:
    letters = config.network(1).input == "character"
    spelling = spell(observed.vocabulary, config.characters) if letters else None
    sizes = config.network(observed.n_words)
    network = Network(sizes, torch_stream(seed, StreamId.WEIGHTS), spelling)
    if config.objective == "marginal":
        network.topic_words = TopicWords(_counted(observed, topics, config).phi)
    optimizer = adam(network, config.train, config.bfloat16)
    return SEM(0, topics.astype(id_dtype(config.n_topics)), network, optimizer, {}, [])


def best_weights(state: SEM) -> dict[str, Tensor]:
    """A copy of the weights, and of all that the emission follows from; much of it in a file."""
    copies = {name: value.detach().clone() for name, value in state.network.state_dict().items()}
    for name, value in _drawn(state).items():
        room = allocate_tokens(len(value), value.dtype, SPILL_THRESHOLD_BYTES)
        room[:] = value
        copies[name] = torch.from_numpy(room)
    return copies


def _drawn(state: SEM) -> dict[str, np.ndarray]:
    """The assignments, and what else the emission follows from."""
    more = {"opened": state.tables.opened, "tau": state.tables.tau} if state.tables else {}
    return {"topics": state.topics, **more}


def _take(state: SEM, tensors: dict[str, Tensor]) -> None:
    """Put back what `_drawn` gave; it is taken out of `tensors`."""
    # A file may be older than the smaller type.
    state.topics = tensors.pop("topics").numpy().astype(state.topics.dtype, copy=False)
    if "opened" in tensors:
        state.tables = Tables(*(tensors.pop(name).numpy() for name in ("opened", "tau")))


def best_model(state: SEM, split: Split, config: SEMConfig, seed: int) -> Model:
    """The model of the best iteration; the state's network takes its weights."""
    weights = dict(state.best)
    _take(state, weights)
    state.network.load_state_dict(weights)
    emission = emission_of(state, split.observed, config)
    provenance = {
        "corpus": split.corpus.fingerprint,
        "data": {name: split.corpus.manifest.get(name) for name in ("source", "licence")},
        "n_documents": split.corpus.n_documents,
        "n_observed": split.observed.n_tokens,
        "seed": seed,
        "iteration": state.best_iteration,
        "config": asdict(config),
    }
    return Model(
        network=state.network,
        emission=emission,
        topics=state.topics,
        vocabulary=split.corpus.vocabulary,
        provenance=provenance,
        history=state.history,
        observed=split.observed,
    )


def _split_identity(split: Split) -> dict[str, str]:
    return {
        "corpus": split.corpus.fingerprint,
        "development": hashlib.sha256(np.packbits(split.development)).hexdigest(),
        "n_observed": hashlib.sha256(split.n_observed).hexdigest(),
    }


def identity_of(split: Split, topics: np.ndarray, seed: int) -> dict[str, object]:
    """What a checkpoint must have been made with, its configuration apart."""
    about = {"initial_topics": hash_of_topics(topics), "seed": seed}
    return {"kind": "sem", **_split_identity(split), **about}


def _continues(options: dict[str, Any], config: SEMConfig) -> bool:
    """Whether the options of a saved run are `config`'s, or differ in when to stop alone.

    More iterations, or more patience, continue the same run; an option that the file does not have
    yet had the value that is now its default.
    """
    saved = SEMConfig.from_dict(options)
    return replace(saved, n_iterations=1, patience=1) == replace(config, n_iterations=1, patience=1)


def save(path: Path, identity: dict[str, object], config: SEMConfig, state: SEM) -> None:
    """Write the whole state to `path`, with what it was made from."""
    tensors: dict[str, Tensor | np.ndarray] = dict(_drawn(state))
    tensors |= {f"best.{name}": value for name, value in state.best.items()}
    for name, parameter in state.network.named_parameters():
        tensors[f"network.{name}"] = parameter.detach()
        for moment, value in state.optimizer.state[parameter].items():
            tensors[f"adam.{name}.{moment}"] = value
    meta = {**identity, "config": asdict(config), "history": state.history}
    save_tensors(path, tensors, meta)


def load_sem(path: Path, split: Split) -> Model:
    """The best model that `fit_sem` saved at `path`.

    Raises
    ------
    InputError
        When the file is missing or broken, or was fitted to another corpus or split.
    """
    tensors, meta = load_tensors(path)
    if not {"kind": "sem", **_split_identity(split)}.items() <= meta.items():
        raise InputError(f"{path}: not an LLA of this corpus and split; fit it again")
    config = SEMConfig.from_dict(meta["config"])
    state = _restore(tensors, meta, config, split.observed)
    return best_model(state, split, config, meta["seed"])


def config_of(path: Path) -> SEMConfig:
    """The configuration of the fit that `fit_sem` saved at `path`."""
    return SEMConfig.from_dict(load_tensors(path)[1]["config"])


def resume(
    path: Path | None, identity: dict[str, object], config: SEMConfig, observed: Corpus
) -> SEM | None:
    """The state saved at `path`; None when there is none, or it belongs to another fit."""
    if path is None or not path.exists():
        return None
    tensors, meta = load_tensors(path)
    if any(meta.get(name) != value for name, value in identity.items()):
        return None
    if not _continues(meta["config"], config):
        return None
    return _restore(tensors, meta, config, observed)


def _restore(
    tensors: dict[str, Tensor], meta: dict[str, Any], config: SEMConfig, observed: Corpus
) -> SEM:
    state = _untrained(observed, tensors["topics"].numpy(), config, meta["seed"])
    _take(state, tensors)
    state.history = meta["history"]
    state.iteration = len(state.history)
    for name, value in tensors.items():
        if name.startswith("best."):
            state.best[name.removeprefix("best.")] = value
    for name, parameter in state.network.named_parameters():
        parameter.data.copy_(tensors[f"network.{name}"])
        prefix = f"adam.{name}."
        state.optimizer.state[parameter] = {
            key.removeprefix(prefix): value
            for key, value in tensors.items()
            if key.startswith(prefix)
        }
    return state
