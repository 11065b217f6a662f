"""The state of stochastic EM: what it depends on, and what an interrupted run needs to go on."""

import hashlib
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lla.characters import CharacterConfig, spell
from lla.corpus import Corpus, Split
from lla.emission import SharedEmission
from lla.errors import InputError, check_positive, check_whole
from lla.lstm import Network, NetworkConfig
from lla.model import Model
from lla.objectives import TopicWords
from lla.store import load_tensors, save_tensors
from lla.streams import Use, torch_stream
from lla.train import TrainConfig

# Table 1: what the LSTM reads, and what it predicts.
MODELS = {
    "topic_lla": ("topic", "topic"),
    "word_lla": ("word", "topic"),
    "char_lla": ("character", "topic"),
    "word_lstm": ("word", "word"),
    "char_lstm": ("character", "word"),
}
OBJECTIVES = ("sem", "marginal")
SE_STEPS = ("exact", "mh")


@dataclass(frozen=True)
class SEMConfig:
    """What a fit depends on, the seed and LDA's assignments apart.

    Attributes
    ----------
    n_topics : K; an LSTM over words has none
    beta : β of one word
    joint : draw topics anew in every iteration; False is the independent learner
    n_iterations : iterations at most
    initial_epochs : passes over LDA's topics before the first SE-step ("initialize φ and LSTM")
    epochs : passes over the documents in every later M-step
    se_steps : SE-steps an iteration, φ counted anew between them; the paper has one
    patience : stop after so many iterations without a better development perplexity
    development_particles : particles of that perplexity
    embedding_size, hidden_size, dropout, train : the LSTM and its optimiser
    model : one of Table 1: topic_lla, word_lla, char_lla, word_lstm, char_lstm
    objective : "sem", or "marginal": topics summed out, for word and char LLA; no topic is drawn
    characters : sizes of the character encoder
    se_step : "exact", or "mh": by Metropolis-Hastings, faster where topics are many; a few steps
        leave a token nearer to its last topic than exact draws do
    n_mh, bfloat16 : of Metropolis-Hastings (see `MHConfig`)
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
    model: str = "topic_lla"
    objective: str = "sem"
    characters: CharacterConfig = field(default_factory=CharacterConfig)
    se_steps: int = 1
    se_step: str = "exact"
    n_mh: int = 2
    bfloat16: bool = False

    def __post_init__(self) -> None:
        for name in ("n_iterations", "initial_epochs", "epochs", "patience", "se_steps", "n_mh"):
            check_whole(name, getattr(self, name))
        check_whole("n_topics", self.n_topics)
        check_whole("development_particles", self.development_particles)
        check_positive("beta", self.beta)
        if self.model not in MODELS:
            raise InputError(f"model is {self.model!r}: choose one of {', '.join(MODELS)}")
        if self.objective not in OBJECTIVES:
            raise InputError(f"objective is {self.objective!r}: choose one of {OBJECTIVES}")
        if self.se_step not in SE_STEPS:
            raise InputError(f"se_step is {self.se_step!r}: choose one of {SE_STEPS}")
        if self.objective == "marginal" and self.model not in ("word_lla", "char_lla"):
            raise InputError(
                f"objective is 'marginal' and model {self.model!r}: give word or char LLA"
            )
        self.network(n_words=1)  # has its own checks

    @classmethod
    def from_dict(cls, options: dict[str, Any]) -> "SEMConfig":
        """The configuration that `dataclasses.asdict`, or a result file, wrote."""
        nested = {"train": TrainConfig, "characters": CharacterConfig}
        made = {name: of(**options[name]) for name, of in nested.items() if name in options}
        return cls(**(options | made))

    @classmethod
    def flat(cls, **options: Any) -> "SEMConfig":
        """From options of the model and of its optimiser side by side, as files and people write.

        Raises
        ------
        InputError
            When there is no such option.
        """
        of_train = TrainConfig.__dataclass_fields__.keys()
        of_model = cls.__dataclass_fields__.keys() - {"train"}
        if unknown := sorted(options.keys() - of_train - of_model):
            there = ", ".join(sorted(of_train | of_model))
            raise InputError(f"{unknown[0]} is no setting of a model; there are {there}")
        if isinstance(options.get("characters"), dict):
            options["characters"] = CharacterConfig(**options["characters"])
        train = {name: options.pop(name) for name in of_train & options.keys()}
        return cls(train=TrainConfig(**train), **options)

    def but(self, **options: Any) -> "SEMConfig":
        """The same configuration with some options changed, the optimiser's among them."""
        own = {name: getattr(self, name) for name in self.__dataclass_fields__ if name != "train"}
        return self.flat(**(own | asdict(self.train) | options))

    @property
    def has_topics(self) -> bool:
        """Whether the network predicts topics, and an emission the words."""
        return MODELS[self.model][1] == "topic"

    @property
    def learns_topics(self) -> bool:
        """Whether the M-step's targets are topics, and not words."""
        return self.has_topics and self.objective == "sem"

    @property
    def draws_topics(self) -> bool:
        """Whether iterations begin with an SE-step."""
        return self.joint and self.learns_topics

    def network(self, n_words: int) -> NetworkConfig:
        """Sizes of the network for a vocabulary of V words."""
        reads, predicts = MODELS[self.model]
        return NetworkConfig(
            self.n_topics if reads == "topic" else n_words,
            self.n_topics if predicts == "topic" else n_words,
            self.embedding_size,
            self.hidden_size,
            self.dropout,
            reads,
            self.characters,
        )


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
        changed (share of tokens whose topic moved), development_perplexity, seconds;
        topic_entropy is missing where there are no topics; acceptance and sparse_share (of the
        proposals) are there where an SE-step by Metropolis-Hastings was
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
    if config.has_topics and (topics.min() < 0 or topics.max() >= n_topics):
        raise InputError(
            f"topics: {topics.min()} to {topics.max()}, but n_topics is {n_topics}; "
            "give both the same number of topics"
        )
    if not split.n_held_out[split.development].any():
        raise InputError(
            "development: none of its documents has a held-out word to decide when to stop; "
            "split with a development part, such as 0.1, and documents of 3 words or more"
        )


def emission_of(state: SEM, observed: Corpus, config: SEMConfig) -> SharedEmission | None:
    """φ in closed form from the counts of the topics, or as the gradient left it; None without."""
    if not config.has_topics:
        return None
    if config.objective == "marginal":
        return SharedEmission(state.network.topic_words.log_phi().detach().exp())
    return _counted(observed, state.topics, config)


def _counted(observed: Corpus, topics: np.ndarray, config: SEMConfig) -> SharedEmission:
    return SharedEmission.from_assignments(
        observed.words, topics, observed.n_words, config.n_topics, config.beta
    )


def begin(observed: Corpus, topics: np.ndarray, config: SEMConfig, seed: int) -> SEM:
    """LDA's assignments and an untrained LSTM."""
    letters = config.network(1).input == "character"
    spelling = spell(observed.vocabulary, config.characters) if letters else None
    sizes = config.network(observed.n_words)
    network = Network(sizes, torch_stream(seed, Use.WEIGHTS), spelling)
    if config.objective == "marginal":
        network.topic_words = TopicWords(_counted(observed, topics, config).phi)
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
    state.topics = topics
    return Model(state.network, emission_of(state, observed, config), topics)


def _split_identity(split: Split) -> dict[str, str]:
    return {
        "corpus": split.corpus.fingerprint,
        "development": hashlib.sha256(np.packbits(split.development)).hexdigest(),
        "n_observed": hashlib.sha256(split.n_observed).hexdigest(),
    }


def _identity(split: Split, topics: np.ndarray, seed: int) -> dict[str, object]:
    """What a checkpoint must have been made with, its configuration apart."""
    return {
        "kind": "sem",
        **_split_identity(split),
        "initial_topics": hashlib.sha256(np.ascontiguousarray(topics, np.int32)).hexdigest(),
        "seed": seed,
    }


def _continues(options: dict[str, Any], config: SEMConfig) -> bool:
    """Whether the options of a saved run are `config`'s, or differ in when to stop alone.

    More iterations, or more patience, continue the same run; an option that the file does not have
    yet had the value that is now its default.
    """
    saved = SEMConfig.from_dict(options)
    return replace(saved, n_iterations=1, patience=1) == replace(config, n_iterations=1, patience=1)


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
    meta = {**_identity(split, topics, seed), "config": asdict(config), "history": state.history}
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
    state = _restore(tensors, meta, config, split.observed)
    return best_model(state, split.observed, config), state.history


def resume(
    path: Path | None, split: Split, topics: np.ndarray, config: SEMConfig, seed: int
) -> SEM | None:
    """The state saved at `path`; None when there is none, or it belongs to another fit."""
    if path is None or not path.exists():
        return None
    tensors, meta = load_tensors(path)
    wanted = _identity(split, topics, seed)
    if any(meta.get(name) != value for name, value in wanted.items()):
        return None
    if not _continues(meta["config"], config):
        return None
    return _restore(tensors, meta, config, split.observed)


def _restore(
    tensors: dict[str, Tensor], meta: dict[str, Any], config: SEMConfig, observed: Corpus
) -> SEM:
    state = begin(observed, tensors["topics"].numpy(), config, meta["seed"])
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
