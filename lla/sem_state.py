"""The state of stochastic EM: what it depends on, and what an interrupted run needs to go on."""

import hashlib
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lla.corpus import Corpus, Split
from lla.emission import SharedEmission
from lla.errors import InputError, check_positive, check_whole
from lla.lstm import Network, NetworkConfig
from lla.model import Model
from lla.store import load_tensors, save_tensors
from lla.streams import Use, torch_stream
from lla.train import TrainConfig


@dataclass(frozen=True)
class SEMConfig:
    """What a fit depends on, the seed and LDA's assignments apart.

    Attributes
    ----------
    n_topics : K
    beta : β of one word
    joint : draw topics anew in every iteration; False is the independent learner
    n_iterations : iterations at most
    initial_epochs : passes over LDA's topics before the first SE-step ("initialize φ and LSTM")
    epochs : passes over the documents in every later M-step
    patience : stop after so many iterations without a better development perplexity
    development_particles : particles of that perplexity
    embedding_size, hidden_size, dropout, train : the LSTM and its optimiser
    """

    n_topics: int = 1000
    beta: float = 0.01
    joint: bool = True
    n_iterations: int = 30
    initial_epochs: int = 1
    epochs: int = 1
    patience: int = 3
    development_particles: int = 4
    embedding_size: int = 50
    hidden_size: int = 150
    dropout: float = 0.0
    train: TrainConfig = field(default_factory=TrainConfig)

    def __post_init__(self) -> None:
        for name in ("n_iterations", "initial_epochs", "epochs", "patience"):
            check_whole(name, getattr(self, name))
        check_whole("n_topics", self.n_topics)
        check_whole("development_particles", self.development_particles)
        check_positive("beta", self.beta)
        self.network()  # has its own checks

    @classmethod
    def from_dict(cls, options: dict[str, Any]) -> "SEMConfig":
        """The configuration that `dataclasses.asdict`, or a result file, wrote."""
        return cls(**(options | {"train": TrainConfig(**options["train"])}))

    def network(self) -> NetworkConfig:
        """Sizes of topic LLA: topics in, topics out."""
        k = self.n_topics
        return NetworkConfig(k, k, self.embedding_size, self.hidden_size, self.dropout)


@dataclass
class SEM:
    """A state of the algorithm: all that an interrupted run needs to go on.

    Attributes
    ----------
    iteration : iterations done
    topics : (N,) int32 assignments of the observed tokens
    network, optimizer : the LSTM and Adam's moments
    best : weights and assignments of the iteration with the lowest development perplexity
    history : one dict an iteration: iteration, topic_loss (nats a token), topic_entropy (nats),
        changed (share of tokens whose topic moved), development_perplexity, seconds
    """

    iteration: int
    topics: np.ndarray
    network: Network
    optimizer: torch.optim.Adam
    best: dict[str, Tensor]
    history: list[dict[str, float]]

    @property
    def best_iteration(self) -> int:
        """Iteration with the lowest development perplexity, 0 before the first."""
        if not self.history:
            return 0
        return int(min(self.history, key=lambda row: row["development_perplexity"])["iteration"])


def check(split: Split, topics: np.ndarray, config: SEMConfig) -> None:
    """Refuse what the kernels, which look at no bounds, would run into."""
    n_tokens, n_topics = split.observed.n_tokens, config.n_topics
    if topics.shape != (n_tokens,):
        raise InputError(
            f"topics: {topics.size} assignments for {n_tokens} observed tokens; "
            "give those of an LDA of this split"
        )
    if topics.min() < 0 or topics.max() >= n_topics:
        raise InputError(
            f"topics: {topics.min()} to {topics.max()}, but n_topics is {n_topics}; "
            "give both the same number of topics"
        )
    if not split.n_held_out[split.development].any():
        raise InputError(
            "development: none of its documents has a held-out word to decide when to stop; "
            "split with a development part, such as 0.1, and documents of 3 words or more"
        )


def emission_of(observed: Corpus, topics: np.ndarray, config: SEMConfig) -> SharedEmission:
    """The closed-form half of the M-step: φ from the counts of `topics` (N,)."""
    return SharedEmission.from_assignments(
        observed.words, topics, observed.n_words, config.n_topics, config.beta
    )


def begin(topics: np.ndarray, config: SEMConfig, seed: int) -> SEM:
    """LDA's assignments and an untrained LSTM."""
    network = Network(config.network(), torch_stream(seed, Use.WEIGHTS))
    optimizer = torch.optim.Adam(network.parameters(), lr=config.train.learning_rate)
    return SEM(0, topics.astype(np.int32), network, optimizer, {}, [])


def best_weights(state: SEM) -> dict[str, Tensor]:
    """A copy of the weights, and of the assignments that φ follows from."""
    weights = {name: value.detach().clone() for name, value in state.network.state_dict().items()}
    return {"topics": torch.from_numpy(state.topics.copy()), **weights}


def best_model(state: SEM, observed: Corpus, config: SEMConfig) -> Model:
    """The model of the best iteration; the state's network takes its weights."""
    weights = dict(state.best)
    topics = weights.pop("topics").numpy()
    state.network.load_state_dict(weights)
    return Model(state.network, emission_of(observed, topics, config), topics)


def _split_identity(split: Split) -> dict[str, str]:
    return {
        "corpus": split.corpus.fingerprint,
        "development": hashlib.sha256(np.packbits(split.development)).hexdigest(),
        "n_observed": hashlib.sha256(split.n_observed).hexdigest(),
    }


def _identity(split: Split, topics: np.ndarray, config: SEMConfig, seed: int) -> dict[str, object]:
    """What a checkpoint must have been made with, as JSON gives it back."""
    return {
        "kind": "sem",
        **_split_identity(split),
        "initial_topics": hashlib.sha256(np.ascontiguousarray(topics, np.int32)).hexdigest(),
        # More iterations, or more patience, continue the same run.
        "config": asdict(replace(config, n_iterations=1, patience=1)),
        "seed": seed,
    }


def save(
    path: Path, split: Split, topics: np.ndarray, config: SEMConfig, seed: int, state: SEM
) -> None:
    """Write the whole state to `path`, with what it was made from."""
    tensors: dict[str, Tensor | np.ndarray] = {"topics": state.topics}
    tensors |= {f"best.{name}": value for name, value in state.best.items()}
    for name, parameter in state.network.named_parameters():
        tensors[f"network.{name}"] = parameter.detach()
        for moment, value in state.optimizer.state[parameter].items():
            tensors[f"adam.{name}.{moment}"] = value
    meta = {**_identity(split, topics, config, seed), "history": state.history}
    save_tensors(path, tensors, meta)


def load_sem(path: Path, split: Split) -> tuple[Model, list[dict[str, float]]]:
    """The best model that `fit_sem` saved at `path`, and its history.

    Raises
    ------
    InputError
        When the file is missing or broken, or was fitted to another corpus or split.
    """
    tensors, meta = load_tensors(path)
    if not {"kind": "sem", **_split_identity(split)}.items() <= meta.items():
        raise InputError(f"{path}: not an LLA of this corpus and split; fit it again (notebook 03)")
    config = SEMConfig.from_dict(meta["config"])
    state = _restore(tensors, meta, config)
    return best_model(state, split.observed, config), state.history


def resume(
    path: Path | None, split: Split, topics: np.ndarray, config: SEMConfig, seed: int
) -> SEM | None:
    """The state saved at `path`; None when there is none, or it belongs to another fit."""
    if path is None or not path.exists():
        return None
    tensors, meta = load_tensors(path)
    wanted = _identity(split, topics, config, seed)
    if any(meta.get(name) != value for name, value in wanted.items()):
        return None
    return _restore(tensors, meta, config)


def _restore(tensors: dict[str, Tensor], meta: dict[str, Any], config: SEMConfig) -> SEM:
    state = begin(tensors["topics"].numpy(), config, meta["seed"])
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
