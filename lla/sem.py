"""Algorithm 1: stochastic EM for latent LSTM allocation.

`fit_sem` is the whole of it. LDA's assignments come in; then SE-step and M-step alternate until
the development part no longer gains. Without the SE-step the same loop is the independent
learner of section 4.4: an LSTM on LDA's topics.
"""

import hashlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lla.corpus import Corpus, Split
from lla.emission import SharedEmission
from lla.errors import InputError
from lla.lstm import Network, NetworkConfig, Stepper
from lla.model import Model
from lla.particles import FilterConfig, filter_topics
from lla.progress import progress
from lla.store import load_tensors, save_tensors
from lla.streams import Use, torch_stream
from lla.threads import workers
from lla.train import TrainConfig, train_epoch


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
        for name, value in asdict(self).items():
            if isinstance(value, int) and value < 1 and not isinstance(value, bool):
                raise InputError(f"{name} is {value}: give 1 or more")
        if not self.beta > 0:
            raise InputError(f"beta is {self.beta}: give a number above 0")

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


def fit_sem(
    split: Split,
    topics: np.ndarray,
    config: SEMConfig,
    seed: int,
    checkpoint: Path | None = None,
    on_iteration: Callable[[SEM], None] | None = None,
    n_threads: int | None = None,
) -> tuple[Model, list[dict[str, float]]]:
    """Train topic LLA on the observed part of every document (Algorithm 1).

    Parameters
    ----------
    split : the observed tokens are trained on; the development documents decide when to stop
    topics : (N_observed,) assignments to start from, LDA's
    checkpoint : file to go on from, and to save to after every iteration
    on_iteration : called after each iteration

    Returns
    -------
    model, history : the model of the best iteration; one row an iteration (see `SEM`)
    """
    observed = split.observed
    state = _resume(checkpoint, split, topics, config, seed) or _begin(topics, config, seed)
    bar = progress(total=config.n_iterations, description=_name(config, seed), unit="iteration")
    bar.update(state.iteration)
    with workers(n_threads) as pool:
        while not _finished(state, config):
            iteration, begun = state.iteration + 1, perf_counter()
            emission = _emission(observed, state.topics, config)
            before = state.topics
            if config.joint and iteration > 1:  # the first LSTM learns from LDA's topics
                state.topics = se_step(state.network, emission, observed, seed, iteration, pool)
                emission = _emission(observed, state.topics, config)
            loss = m_step(state, observed, config, seed, iteration, pool)
            perplexity = development_perplexity(state.network, emission, split, config, seed, pool)
            state.iteration = iteration
            state.history.append(
                {
                    "iteration": iteration,
                    "topic_loss": loss,
                    "topic_entropy": emission.entropy(),
                    "changed": float(np.mean(state.topics != before)),
                    "development_perplexity": perplexity,
                    "seconds": perf_counter() - begun,
                }
            )
            if state.best_iteration == iteration:
                state.best = _weights(state)
            if checkpoint:
                _save(checkpoint, split, topics, config, seed, state)
            if on_iteration:
                on_iteration(state)
            bar.update()
    bar.close()
    return _best_model(state, observed, config), state.history


def se_step(
    network: Network,
    emission: SharedEmission,
    observed: Corpus,
    seed: int,
    iteration: int,
    pool: ThreadPoolExecutor,
) -> np.ndarray:
    """Draw every z_t from θ_t,k φ_{w_t,k} given z_<t (equation 2); (N,) int32."""
    key = (Use.SE_STEP, iteration)
    stepper = Stepper(network)
    result = filter_topics(
        stepper, emission, observed, FilterConfig(), seed, key, pool, f"SE-step {iteration}"
    )
    return result.topics


def m_step(
    state: SEM,
    observed: Corpus,
    config: SEMConfig,
    seed: int,
    iteration: int,
    pool: ThreadPoolExecutor,
) -> float:
    """Adam on log p(z), passes as configured; the last pass's mean loss, nats a token."""
    loss = float("nan")
    for epoch in range(config.initial_epochs if iteration == 1 else config.epochs):
        loss = train_epoch(
            state.network,
            state.optimizer,
            state.topics,
            state.topics,
            observed.offsets,
            config.train,
            seed,
            (Use.M_STEP, iteration, epoch),
            pool,
            f"M-step {iteration}",
        )
    return loss


def development_perplexity(
    network: Network,
    emission: SharedEmission,
    split: Split,
    config: SEMConfig,
    seed: int,
    pool: ThreadPoolExecutor,
) -> float:
    """Perplexity of the held-out part of the development documents.

    Every iteration sees the same uniforms, so that iterations differ by their model alone.
    """
    part = split.restrict(split.development)
    particles = FilterConfig(n_particles=config.development_particles)
    key = (Use.DEVELOPMENT,)
    result = filter_topics(
        Stepper(network), emission, part.corpus, particles, seed, key, pool, "development part"
    )
    return float(np.exp(-result.log_evidence[part.held_out].mean()))


def _name(config: SEMConfig, seed: int) -> str:
    return f"{'joint' if config.joint else 'independent'}, seed {seed}"


def _emission(observed: Corpus, topics: np.ndarray, config: SEMConfig) -> SharedEmission:
    return SharedEmission.from_assignments(
        observed.words, topics, observed.n_words, config.n_topics, config.beta
    )


def _finished(state: SEM, config: SEMConfig) -> bool:
    waited = state.iteration - state.best_iteration
    return state.iteration >= config.n_iterations or waited >= config.patience


def _begin(topics: np.ndarray, config: SEMConfig, seed: int) -> SEM:
    network = Network(config.network(), torch_stream(seed, Use.WEIGHTS))
    optimizer = torch.optim.Adam(network.parameters(), lr=config.train.learning_rate)
    return SEM(0, topics.astype(np.int32), network, optimizer, {}, [])


def _weights(state: SEM) -> dict[str, Tensor]:
    weights = {name: value.detach().clone() for name, value in state.network.state_dict().items()}
    return {"topics": torch.from_numpy(state.topics.copy()), **weights}


def _best_model(state: SEM, observed: Corpus, config: SEMConfig) -> Model:
    weights = dict(state.best)
    topics = weights.pop("topics").numpy()
    state.network.load_state_dict(weights)
    return Model(state.network, _emission(observed, topics, config), topics)


def _identity(split: Split, topics: np.ndarray, config: SEMConfig, seed: int) -> dict[str, object]:
    """What a checkpoint must have been made with, as JSON gives it back."""
    return {
        "kind": "sem",
        "corpus": split.corpus.fingerprint,
        "initial_topics": hashlib.sha256(np.ascontiguousarray(topics, np.int32)).hexdigest(),
        "development": hashlib.sha256(np.packbits(split.development)).hexdigest(),
        "n_observed": hashlib.sha256(split.n_observed).hexdigest(),
        # More iterations, or more patience, continue the same run.
        "config": asdict(replace(config, n_iterations=1, patience=1)),
        "seed": seed,
    }


def _save(
    path: Path, split: Split, topics: np.ndarray, config: SEMConfig, seed: int, state: SEM
) -> None:
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
        When the file is missing or broken, or was fitted to another corpus.
    """
    tensors, meta = load_tensors(path)
    if meta.get("kind") != "sem" or meta["corpus"] != split.corpus.fingerprint:
        raise InputError(f"{path}: not an LLA of this corpus; fit it again (notebook 03)")
    config = SEMConfig.from_dict(meta["config"])
    state = _restore(tensors, meta, config)
    return _best_model(state, split.observed, config), state.history


def _resume(
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
    state = _begin(tensors["topics"].numpy(), config, meta["seed"])
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
