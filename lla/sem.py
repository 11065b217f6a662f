"""Stochastic EM (Algorithm 1): topics of LDA start it, then SE-step and M-step take turns.

topics = those of LDA
M-step: the LSTM learns log p(topics); φ in closed form from their counts
repeat
    SE-step: draw every topic z_t given the LSTM and φ
    M-step
until the development perplexity no longer falls
"""

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch

from lla.common.checkpoint import (
    hash_of_topics,
    resume_fit,
    save_fit,
)
from lla.common.errors import InputError, check_integer, check_positive, without_legacy
from lla.common.files import load_arrays
from lla.common.progress import progress
from lla.common.random import StreamId
from lla.common.threads import thread_pool
from lla.corpus import Corpus, Split
from lla.inference.device import dense_topics, find_device, on_device
from lla.inference.emission import PersonalEmission, SharedEmission
from lla.inference.filter import FilterConfig, FilterResult, infer
from lla.inference.gradient import (
    Objective,
    SampledSoftmax,
    TrainConfig,
    full_softmax,
    marginal,
    train_epoch,
)
from lla.inference.histories import HistoryConfig, beam_topics, particle_gibbs
from lla.inference.metropolis import MHConfig, MHResult, mh_sweep
from lla.inference.state import (
    SEM,
    arrays_of,
    best_weights,
    emission_of,
    initial_state,
    renew_tables,
    restore,
    restore_sampled,
    sampled_arrays,
)
from lla.inference.stepper import Stepper
from lla.lstm import MODELS, CharacterConfig, Network, NetworkConfig
from lla.model import Model

OBJECTIVES = ("sem", "marginal")
EMISSIONS = ("shared", "personal")
SE_STEPS = ("auto", "exact", "mh", "gibbs", "beam", "filter")
MANY_TOPICS = 500  # from this K on, "auto" takes Metropolis-Hastings and bfloat16
LEGACY_OPTIONS = {"packed": False, "lookahead": 16}  # that earlier checkpoints name
EARLIER_DEFAULTS = {"se_step": "exact", "bfloat16": False}  # of checkpoints that do not name them


@dataclass(frozen=True)
class SEMConfig:
    """What a fit depends on, besides the seed and the topics it starts from.

    Attributes
    ----------
    model : one of Table 1 (`lla.lstm.MODELS`)
    n_topics : K; an LSTM over words has none
    beta : β of one word
    joint : draw topics anew in every iteration; False is the independent learner
    objective : "sem", or "marginal": topics summed out, for word and char LLA; no topic is drawn
    n_iterations : iterations at most
    initial_epochs : passes over LDA's topics before the first SE-step ("initialize φ and LSTM")
    epochs : passes over the documents in every later M-step
    patience : stop after so many iterations without a better development perplexity
    development_particles : particles of that perplexity
    embedding_size, hidden_size, dropout, characters, train : the LSTM and its optimiser
    se_step : "exact"; "mh": Metropolis-Hastings, faster where topics are many, though few steps mix
        more slowly; "gibbs": particle Gibbs; "beam"; "filter": a whole history of a particle filter
        that resamples; "auto": "mh" from K = `MANY_TOPICS` on where the emission is shared, else
        "exact"
    se_steps : SE-steps per iteration, φ counted anew between them; the paper has one
    n_mh : Metropolis-Hastings steps per token (see `MHConfig`)
    se_particles : histories carried by "gibbs", "beam" and "filter"; 1 is the exact step
    bfloat16 : round the factors of matrix products to 8 bits, in the M-step and in the SE-step by
        Metropolis-Hastings; sums stay float32. None: from K = `MANY_TOPICS` on
    emission : "shared", the paper's φ; or "personal", a Pólya urn per document and topic with φ as
        its base (`PersonalEmission`)
    tau, tau_per_topic, learn_tau : of the personal emission: where τ starts, whether every topic
        has its own, and whether it is learned
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
    se_step: str = "auto"
    n_mh: int = 2
    bfloat16: bool | None = None
    se_particles: int = 8
    emission: str = "shared"
    tau: float = 10.0
    tau_per_topic: bool = False
    learn_tau: bool = True

    def __post_init__(self) -> None:
        for name in ("n_iterations", "initial_epochs", "epochs", "patience", "se_steps", "n_mh"):
            check_integer(name, getattr(self, name))
        for name in ("n_topics", "development_particles", "se_particles"):
            check_integer(name, getattr(self, name))
        for name in ("beta", "tau"):
            check_positive(name, getattr(self, name))
        choices = {"model": MODELS, "objective": OBJECTIVES, "emission": EMISSIONS}
        for name, allowed in (choices | {"se_step": SE_STEPS}).items():
            if (value := getattr(self, name)) not in allowed:
                raise InputError(f"{name} is {value!r}: choose one of {', '.join(allowed)}")
        if self.se_step in ("gibbs", "beam") and self.model != "topic_lla":
            raise InputError(
                f"se_step is {self.se_step!r} and model {self.model!r}: histories of topics are "
                "topic_lla's alone; give se_step 'exact' or 'mh'"
            )
        if self.objective == "marginal" and self.model not in ("word_lla", "char_lla"):
            raise InputError(
                f"objective is 'marginal' and model {self.model!r}: give word or char LLA"
            )
        if self.emission == "personal":
            self._check_personal()
        self.network(n_words=1)  # has its own checks

    def _check_personal(self) -> None:
        """Refuse what does not keep a document's history of words."""
        if not self.has_topics:
            raise InputError(
                f"emission is 'personal' and model {self.model!r}: it has no topics to emit from; "
                "give topic, word or char LLA"
            )
        allowed = {"se_step": ("exact", "filter"), "objective": ("sem",)}
        for name, values in allowed.items():
            if (value := getattr(self, name)) not in (*values, "auto"):
                choices = " or ".join(map(repr, values))
                raise InputError(
                    f"emission is 'personal' and {name} {value!r}: give {name} {choices}"
                )

    @classmethod
    def from_dict(cls, options: Mapping[str, Any]) -> "SEMConfig":
        """From what `dataclasses.asdict`, or a result file, wrote; also an earlier version's."""
        options = without_legacy(options, LEGACY_OPTIONS)
        nested = {"train": TrainConfig, "characters": CharacterConfig}
        parts = {
            name: of.from_dict(options[name]) for name, of in nested.items() if name in options
        }
        return cls(**(options | parts))

    @classmethod
    def from_options(cls, **options: Any) -> "SEMConfig":
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
        if isinstance(options.get("characters"), Mapping):
            options["characters"] = CharacterConfig.from_dict(options["characters"])
        train = {name: options.pop(name) for name in of_train & options.keys()}
        return cls(train=TrainConfig(**train), **options)

    def to_options(self) -> dict[str, Any]:
        """What `from_options` makes this configuration of."""
        own = {name: getattr(self, name) for name in self.__dataclass_fields__ if name != "train"}
        return own | asdict(self.train)

    def replace(self, **options: Any) -> "SEMConfig":
        """The same configuration with some options changed, the optimiser's among them."""
        return self.from_options(**(self.to_options() | options))

    def resolved(self) -> "SEMConfig":
        """The same with what is left to choose chosen, from the configuration alone."""
        many = self.learns_topics and self.n_topics >= MANY_TOPICS
        chosen = "mh" if many and self.emission == "shared" else "exact"
        return replace(
            self,
            se_step=chosen if self.se_step == "auto" else self.se_step,
            bfloat16=many if self.bfloat16 is None else self.bfloat16,
        )

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
        """Whether iterations start with an SE-step."""
        return self.joint and self.learns_topics

    def network(self, n_words: int) -> NetworkConfig:
        """Sizes of the network for a vocabulary of V words."""
        reads, predicts = MODELS[self.model]
        return NetworkConfig(
            n_inputs=self.n_topics if reads == "topic" else n_words,
            n_outputs=self.n_topics if predicts == "topic" else n_words,
            embedding_size=self.embedding_size,
            hidden_size=self.hidden_size,
            dropout=self.dropout,
            input=reads,
            characters=self.characters,
        )


def fit_sem(
    split: Split,
    config: SEMConfig,
    seed: int,
    *,
    start: np.ndarray | None = None,
    checkpoint: Path | None = None,
    on_iteration: Callable[[SEM], None] | None = None,
    n_threads: int | None = None,
    device: str | None = None,
) -> Model:
    """Train a model of Table 1 on the observed part of every document (Algorithm 1).

    Parameters
    ----------
    split : the observed tokens are trained on; the development documents decide when to stop
    start : (N_observed,) topics to start from, LDA's; None for an LSTM over words
    checkpoint : file to resume from, and to save to after every iteration
    on_iteration : called after each iteration
    device : a Torch device, such as "cuda", for the M-step and for topic LLA's exact SE-step; its
        rounding differs, so draws differ now and then from those of the CPU

    Returns
    -------
    The model of the best iteration; its history has one row per iteration (see `SEM`).

    Raises
    ------
    InputError
        When `start` does not fit the split or K, or no development document has a held-out word.
    """
    observed, config = split.observed, config.resolved()
    start = check_start(split, start, config)
    identity = identity_of(split, start, seed)
    state = resume(checkpoint, identity, config, observed)
    state = state or initial_state(observed, start, config, seed)
    torch_device = find_device(device) if device else None
    bar = progress(
        total=n_passes(config, config.n_iterations),
        initial=n_passes(config, state.iteration),
        description=f"{config.model}{', joint' if config.draws_topics else ''}, seed {seed}",
        unit="pass",
    )
    with bar, thread_pool(n_threads) as pool:
        while not finished(state, config):
            iteration, iteration_start = state.iteration + 1, perf_counter()
            info = {"changed": 0.0}
            if config.draws_topics and iteration > 1:  # the first LSTM learns from LDA's topics
                info = se_steps(state, observed, config, seed, pool, torch_device)
            with on_device(state.network, torch_device, state.optimizer):
                loss = m_step(state, observed, config, seed, pool, bar.update)
            emission = emission_of(state, observed, config)
            perplexity = development_perplexity(state.network, emission, split, config, seed, pool)
            state.iteration = iteration
            row = {
                "iteration": iteration,
                "topic_loss" if config.learns_topics else "word_loss": loss,
                "changed": info.pop("changed"),
                "development_perplexity": perplexity,
                "seconds": perf_counter() - iteration_start,
                **info,
                **(emission.summary() if emission else {}),
            }
            state.history.append(row)
            if state.best_iteration == iteration:
                state.best = {}  # free the old copy first
                state.best = best_weights(state)
            if checkpoint:
                save(checkpoint, identity, config, state)
            if on_iteration:
                on_iteration(state)
    return best_model(state, split, config, seed)


def se_steps(
    state: SEM,
    observed: Corpus,
    config: SEMConfig,
    seed: int,
    pool: ThreadPoolExecutor,
    device: torch.device | None,
) -> dict[str, float]:
    """The SE-steps of an iteration, the emission renewed after each; diagnostics of the last."""
    info = {"changed": 0.0}
    for number in range(config.se_steps):
        emission = emission_of(state, observed, config)
        key = (state.iteration + 1, number) if number else (state.iteration + 1,)
        se_start = perf_counter()
        info = se_step(
            state.network,
            emission,
            observed,
            state.topics,
            config,
            seed=seed,
            key=key,
            pool=pool,
            device=device,
        )
        renew_tables(state, observed, config, seed, key)
        info["se_seconds"] = perf_counter() - se_start
    return info


def se_step(
    network: Network,
    emission: SharedEmission | PersonalEmission,
    observed: Corpus,
    topics: np.ndarray,
    config: SEMConfig,
    *,
    seed: int,
    key: tuple[int, ...],
    pool: ThreadPoolExecutor,
    device: torch.device | None = None,
) -> dict[str, float]:
    """Draw the topics of all tokens anew, in place: `topics` (N,) may be large.

    The samplers: "exact", every z_t from θ_t,k p(w_t | k) given z_<t (equation 2), on a `device` in
    Torch where topics are read and φ is shared; "filter", full trajectories of a particle filter,
    so later words influence earlier topics; "gibbs" and "beam" (see `inference.histories`); "mh"
    (see `inference.metropolis`).

    Returns
    -------
    info : the share of topics that changed, then the diagnostics of the sampler
    """
    config = config.resolved()
    sampler, stream_key = config.se_step, (StreamId.SE_STEP, *key)
    if sampler in ("gibbs", "beam") and config.se_particles == 1:
        sampler = "exact"  # a single history is drawn, or chosen, token by token
    description = f"SE-step {key[0]}"
    out = FilterResult(topics, log_evidence=None)
    reads_topics = network.config.input == "topic"
    result: FilterResult | MHResult
    if sampler == "mh":
        result = mh_sweep(
            network,
            observed,
            topics,
            config.beta,
            MHConfig(config.n_mh, bfloat16=config.bfloat16),
            seed=seed,
            key=stream_key,
            pool=pool,
            description=description,
            out=topics,
        )
    elif sampler == "gibbs":
        result = particle_gibbs(
            Stepper(network),
            emission,
            observed,
            topics,
            HistoryConfig(config.se_particles),
            seed=seed,
            key=stream_key,
            pool=pool,
            description=description,
            out=out,
        )
    elif sampler == "beam":
        result = beam_topics(
            Stepper(network),
            emission,
            observed,
            config.se_particles,
            pool=pool,
            description=description,
            out=out,
        )
    elif sampler == "exact" and device and reads_topics and not emission.history_dependent:
        with on_device(network, device):
            result = dense_topics(
                network,
                emission,
                observed,
                seed=seed,
                key=stream_key,
                description=description,
                out=out,
            )
    else:
        n_particles = config.se_particles if sampler == "filter" else 1
        result = infer(
            network,
            emission,
            observed,
            FilterConfig(n_particles, trajectories=sampler == "filter"),
            seed=seed,
            key=stream_key,
            pool=pool,
            description=description,
            out=out,
        )
    return {"changed": result.changed / max(1, len(topics)), **result.info}


def m_step(
    state: SEM,
    observed: Corpus,
    config: SEMConfig,
    seed: int,
    pool: ThreadPoolExecutor,
    after_pass: Callable[[], object] = lambda: None,
) -> float:
    """Adam on log p(targets), passes as configured; the last pass's mean loss, nats per token.

    The targets are topics, and words where topics are summed out or absent. φ in closed form is
    `emission_of`.
    """
    iteration, loss = state.iteration + 1, float("nan")
    reads_topics = state.network.config.input == "topic"
    targets = state.topics if config.learns_topics else observed.words
    for epoch in range(config.initial_epochs if iteration == 1 else config.epochs):
        loss = train_epoch(
            state.network,
            state.optimizer,
            inputs=state.topics if reads_topics else observed.words,
            targets=targets,
            offsets=observed.offsets,
            config=config.train,
            seed=seed,
            key=(StreamId.M_STEP, iteration, epoch),
            pool=pool,
            description=f"M-step {iteration}",
            objective=objective_of(state.network, targets, config),
            bfloat16=bool(config.bfloat16),
        )
        after_pass()
    return loss


def objective_of(network: Network, targets: np.ndarray, config: SEMConfig) -> Objective:
    """What the M-step minimises, as configured."""
    if config.objective == "marginal":
        return marginal
    if config.train.n_samples:
        n_outputs = network.config.n_outputs
        return SampledSoftmax.of_targets(targets, n_outputs, config.train.n_samples)
    return full_softmax


def n_passes(config: SEMConfig, n_iterations: int) -> int:
    """Passes over the corpus in the M-steps of so many iterations; the first has its own number."""
    return config.initial_epochs + (n_iterations - 1) * config.epochs if n_iterations else 0


def finished(state: SEM, config: SEMConfig) -> bool:
    """Whether all iterations are done, or `patience` of them brought no better model."""
    waited = state.iteration - state.best_iteration
    return state.iteration >= config.n_iterations or waited >= config.patience


def development_perplexity(
    network: Network,
    emission: SharedEmission | PersonalEmission | None,
    split: Split,
    config: SEMConfig,
    seed: int,
    pool: ThreadPoolExecutor,
) -> float:
    """Perplexity of the held-out part of the development documents.

    Every iteration sees the same uniforms, so that iterations differ by their model alone.
    """
    part = split.restrict(split.development)
    log_evidence = np.empty(part.corpus.n_tokens)
    infer(
        network,
        emission,
        part.corpus,
        FilterConfig(n_particles=config.development_particles),
        seed=seed,
        key=(StreamId.DEVELOPMENT,),
        pool=pool,
        description="development part",
        out=FilterResult(topics=None, log_evidence=log_evidence),
    )
    return float(np.exp(-log_evidence[part.held_out].mean()))


def check_start(split: Split, start: np.ndarray | None, config: SEMConfig) -> np.ndarray:
    """The topics to start from, 0 where a model has none.

    The kernels check no bounds, so this does.
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


def best_model(state: SEM, split: Split, config: SEMConfig, seed: int) -> Model:
    """The model of the best iteration; the state's network takes its weights."""
    weights = dict(state.best)
    sampled = {name: weights.pop(name).numpy() for name in sampled_arrays(state)}
    restore_sampled(state, sampled)
    state.network.load_state_dict(weights)
    return Model.from_fit(
        state.network,
        emission_of(state, split.observed, config),
        state.topics,
        split=split,
        history=state.history,
        provenance={"seed": seed, "iteration": state.best_iteration, "config": asdict(config)},
    )


def identity_of(split: Split, start: np.ndarray, seed: int) -> dict[str, object]:
    """What a checkpoint must have been made from, besides its configuration."""
    return {**_kind(split), "initial_topics": hash_of_topics(start), "seed": seed}


def _kind(split: Split) -> dict[str, object]:
    return {"kind": "sem", **split.identity()}


def save(path: Path, identity: dict[str, object], config: SEMConfig, state: SEM) -> None:
    """Write the whole state to `path`, with what it was made from."""
    meta = {"config": asdict(config), "history": state.history}
    save_fit(path, identity, arrays_of(state), meta)


def resume(
    path: Path | None, identity: dict[str, object], config: SEMConfig, observed: Corpus
) -> SEM | None:
    """The state saved at `path`; None when there is none, or it belongs to another fit."""
    found = resume_fit(path, identity, lambda meta: _continues(_saved_config(meta), config))
    return found and restore(*found, config, observed)


def _continues(saved: SEMConfig, config: SEMConfig) -> bool:
    """Whether they differ only in when to stop: more iterations continue the same run."""
    return replace(saved, n_iterations=1, patience=1) == replace(config, n_iterations=1, patience=1)


def load_sem(path: Path, split: Split) -> Model:
    """The best model that `fit_sem` saved at `path`.

    Raises
    ------
    InputError
        When the file is missing or broken, or was fitted to another corpus or split.
    """
    arrays, meta = load_arrays(path)
    if not _kind(split).items() <= meta.items():
        raise InputError(f"{path}: not an LLA of this corpus and split; fit it again")
    config = _saved_config(meta)
    return best_model(restore(arrays, meta, config, split.observed), split, config, meta["seed"])


def config_of(path: Path) -> SEMConfig:
    """The configuration of the fit that `fit_sem` saved at `path`."""
    return _saved_config(load_arrays(path)[1])


def _saved_config(meta: dict[str, Any]) -> SEMConfig:
    """Of a checkpoint; an option that it does not name had what was the default then."""
    return SEMConfig.from_dict(EARLIER_DEFAULTS | meta["config"])
