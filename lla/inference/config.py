"""Stochastic EM's configuration: what a fit is made with, and how it is read from a file.

Loads no Torch, so that a command line can list its options at once.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from lla.common.display import Configuration
from lla.common.errors import (
    InputError,
    check_choice,
    check_each,
    check_flag,
    check_instance,
    check_integer,
    check_not_negative,
    check_options,
    check_positive,
    check_prior,
    check_share,
    check_texts,
    optional,
    without_legacy,
)
from lla.lstm import MODELS, CharacterConfig, NetworkConfig

OBJECTIVES = ("sem", "marginal")
EMISSIONS = ("shared", "personal")
SOURCES = ("next", "own_next", "recent")  # in the order of the kernels' columns
SOURCE_FORMS = ("gate", "topic")
SE_STEPS = ("auto", "exact", "mh", "gibbs", "beam", "filter")
# From this K on "auto" takes Metropolis-Hastings and bfloat16: at K = 500 (H = 150, one thread) the
# SE-step is 1.3 times and the M-step 1.8 times as fast; at K = 100 the SE-step would be slower.
MANY_TOPICS = 500
LEGACY_OPTIONS = {"packed": False, "lookahead": 16}  # that earlier checkpoints name
LEGACY_TRAIN_OPTIONS = {"proposal": "log_uniform"}
# Of checkpoints that do not name them.
EARLIER_DEFAULTS = {"se_step": "exact", "bfloat16": False, "source_form": "topic"}


@dataclass(frozen=True, repr=False)
class TrainConfig(Configuration):
    """How the LSTM is fitted; the paper states only Adam.

    Attributes
    ----------
    learning_rate : of Adam
    batch_size : documents per batch
    window : tokens per window of truncated back-propagation
    clip : largest norm of a gradient
    n_shards : parts of a batch whose gradients are computed separately; changes the rounding
    n_samples : outputs sampled for the softmax's normaliser; 0 computes all of it
    user_penalty : λ of (λ/2) ‖Δ‖² in nats, beside -log p of a user's tokens, where users' recurrent
        matrices differ by a Δ of low rank (`lla.lstm.users`)
    average : decay per step of a running average of the weights, which then predicts and draws
        topics in their place (Polyak and Juditsky, 1992); 0 keeps none
    """

    learning_rate: float = 2e-3
    batch_size: int = 64
    window: int = 64
    clip: float = 1.0
    n_shards: int = 2
    n_samples: int = 0
    average: float = 0.0
    user_penalty: float = 10.0

    def __post_init__(self) -> None:
        check_each(self, check_integer, "batch_size", "window", "n_shards")
        check_each(self, check_share, "average")
        check_each(self, check_integer, "n_samples", least=0)
        check_each(self, check_positive, "learning_rate", "clip")
        check_each(self, check_not_negative, "user_penalty")


TRAIN_OPTIONS = tuple(TrainConfig.__dataclass_fields__)


@dataclass(frozen=True, repr=False)
class SEMConfig(Configuration):
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
    embedding_size : E, of the vectors that the LSTM reads
    hidden_size : H, of the LSTM's state
    dropout : share of the units of both dropped, one mask per document and window
    characters : sizes of the encoder that reads words letter by letter (`CharacterConfig`)
    learning_rate, batch_size, window, clip, n_shards, n_samples, average : its optimiser
        (`TrainConfig`)
    se_step : "exact"; "mh": Metropolis-Hastings, faster where topics are many, though few steps mix
        more slowly; "gibbs": particle Gibbs; "beam"; "filter": a whole history of a particle filter
        that resamples; "auto": "mh" from K = `MANY_TOPICS` on where the emission is shared, else
        "exact"
    se_steps : SE-steps per iteration, φ counted anew between them; the paper has one
    n_mh : Metropolis-Hastings steps per token (see `MHConfig`)
    se_particles : histories carried by "gibbs", "beam" and "filter"; 1 is the exact step
    bfloat16 : round the factors of matrix products to 8 bits, in the M-step and in the SE-step by
        Metropolis-Hastings; sums stay float32. None: from K = `MANY_TOPICS` on, where the processor
        has it
    emission : "shared", the paper's φ; or "personal", a Pólya urn per document and topic with φ as
        its base (`PersonalEmission`)
    tau : of the personal emission: where its concentration τ starts
    tau_per_topic : whether every topic has a τ of its own
    learn_tau : whether τ is learned
    sources : what may produce an item beside the topics, of "next", "own_next" and "recent" (see
        `lla.inference.emission.sources`); none by default
    running_counts : topic LLA's next topic depends on the counts of the topics so far, too: a
        mixture of each document or user, without parameters of its own (`lla.lstm.CountingOutput`)
    user_rank : R of recurrences of the users' own: topic LLA's LSTM knows the document, or user, by
        R numbers that are learned from its observed tokens (`lla.lstm.users`); 0 without
    user_penalty : how strongly these are shrunk toward 0, the LSTM of all users (`TrainConfig`)
    source_form : "gate", every token has a topic, and a gate says which source, or whether the
        topic, produced the item; or "topic", sources are further values of the topic
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
    learning_rate: float = TrainConfig.learning_rate
    batch_size: int = TrainConfig.batch_size
    window: int = TrainConfig.window
    clip: float = TrainConfig.clip
    n_shards: int = TrainConfig.n_shards
    n_samples: int = TrainConfig.n_samples
    average: float = TrainConfig.average
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
    sources: tuple[str, ...] = ()
    source_form: str = "gate"
    running_counts: bool = False
    user_rank: int = 0
    user_penalty: float = TrainConfig.user_penalty

    def __post_init__(self) -> None:
        check_each(self, check_integer, "n_iterations", "initial_epochs", "epochs", "patience")
        check_each(self, check_integer, "n_topics", "embedding_size", "hidden_size")
        check_each(self, check_integer, "development_particles", "se_particles", "se_steps", "n_mh")
        check_each(self, check_integer, "user_rank", least=0)
        check_each(self, check_prior, "beta", "tau")
        check_each(self, check_share, "dropout")
        check_each(self, check_flag, "joint", "tau_per_topic", "learn_tau", "running_counts")
        check_each(self, optional(check_flag), "bfloat16")
        check_each(self, check_choice, "model", choices=tuple(MODELS))
        check_each(self, check_choice, "objective", choices=OBJECTIVES)
        check_each(self, check_choice, "emission", choices=EMISSIONS)
        check_each(self, check_choice, "se_step", choices=SE_STEPS)
        check_each(self, check_choice, "source_form", choices=SOURCE_FORMS)
        check_instance("characters", self.characters, CharacterConfig)
        if self.se_step in ("gibbs", "beam") and self.model != "topic_lla":
            raise InputError(
                f"se_step is {self.se_step!r} and model {self.model!r}: histories of topics are "
                "topic_lla's alone; give se_step 'exact'"
            )
        if self.objective == "marginal" and self.model not in ("word_lla", "char_lla"):
            raise InputError(
                f"objective is 'marginal' and model {self.model!r}: give word or char LLA"
            )
        if self.emission == "personal":
            self._check_asks_emission("emission is 'personal'", "to emit from")
        if self.running_counts:
            self._check_reads_topics("running_counts", n_samples=(0,))
        if self.user_rank:
            self._check_reads_topics("user_rank")
        if isinstance(self.sources, str):
            raise InputError(f"sources is {self.sources!r}: give a list of names, such as ['next']")
        object.__setattr__(self, "sources", check_texts("sources", self.sources))
        if self.sources:
            self._check_sources()
        for name, value in vars(self.train).items():  # it has its own checks
            object.__setattr__(self, name, value)

    def _check_asks_emission(self, chosen: str, topics_that: str) -> None:
        """Refuse beside what is `chosen` a model without topics, and what asks no emission."""
        if not self.has_topics:
            raise InputError(
                f"{chosen} and model {self.model!r}: it has no topics {topics_that}; give topic, "
                "word or char LLA"
            )
        allowed = {"se_step": ("exact", "filter"), "objective": ("sem",)}
        for name, values in allowed.items():
            if (value := getattr(self, name)) not in (*values, "auto"):
                choices = " or ".join(map(repr, values))
                raise InputError(f"{chosen} and {name} {value!r}: give {name} {choices}")

    def _check_reads_topics(self, option: str, **allowed: tuple[Any, ...]) -> None:
        """Refuse beside `option` what reads no topics, or knows an LSTM's own state alone."""
        chosen = f"{option} is {getattr(self, option)}"
        allowed = {"model": ("topic_lla",), **allowed, "bfloat16": (None, False)}
        for name, values in allowed.items():
            if (value := getattr(self, name)) not in values:
                raise InputError(f"{chosen} and {name} {value!r}: give {name} {values[-1]!r}")
        if self.se_step == "mh":
            raise InputError(
                f"{chosen} and se_step 'mh': give 'exact', 'filter', 'gibbs' or 'beam'"
            )

    def _check_sources(self) -> None:
        """Refuse names that are unknown or repeated, and what does not ask the emission."""
        for name in self.sources:
            check_choice("sources", name, choices=SOURCES)
        if len({*self.sources}) < len(self.sources):
            raise InputError(f"sources: {', '.join(self.sources)}; name each of them once")
        chosen = f"sources are {', '.join(self.sources)}"
        self._check_asks_emission(chosen, "that they could stand beside")
        if self.has_gate and self.n_samples:
            raise InputError(
                f"{chosen} and n_samples {self.n_samples}: a gate has two softmaxes, both of them "
                "computed in full; give n_samples 0"
            )

    @classmethod
    def from_dict(cls, options: Mapping[str, Any]) -> "SEMConfig":
        """From a dictionary: of a YAML file, of `dataclasses.asdict`, or of an earlier version.

        Raises
        ------
        InputError
            When there is no such option.
        """
        options = without_legacy(options, LEGACY_OPTIONS)
        of_train = without_legacy(options.pop("train", {}), LEGACY_TRAIN_OPTIONS)
        options = {**of_train, **options}  # earlier versions wrote the optimiser's apart
        check_options(options, cls)
        if isinstance(options.get("characters"), Mapping):
            options["characters"] = CharacterConfig.from_dict(options["characters"])
        return cls(**options)

    def replace(self, **options: Any) -> "SEMConfig":
        """The same configuration with some options changed."""
        return self.from_dict(vars(self) | options)

    @property
    def train(self) -> TrainConfig:
        """The optimiser's part."""
        return TrainConfig(**{name: getattr(self, name) for name in TRAIN_OPTIONS})

    def effective(self) -> dict[str, Any]:
        """The options that decide what an iteration computes: those of the same fit are equal."""
        config = self.resolved()
        unused = {"n_iterations", "patience"}  # they only say when to stop
        if config.emission == "shared":
            unused |= {"tau", "tau_per_topic", "learn_tau"}
        if not config.sources:
            unused |= {"source_form"}
        if not config.user_rank:
            unused |= {"user_penalty"}
        if MODELS[config.model][0] != "character":
            unused |= {"characters"}
        if not config.has_topics:
            unused |= {"n_topics", "beta"}
        if not config.learns_topics:
            unused |= {"joint"}
        alone = config.se_step in ("gibbs", "beam") and config.se_particles == 1
        se_step = "exact" if alone else config.se_step  # see `sem.se_step`
        if not config.draws_topics:
            unused |= {"se_step", "se_steps"}
        if not config.draws_topics or se_step != "mh":
            unused |= {"n_mh"}
        if not config.draws_topics or se_step in ("exact", "mh"):
            unused |= {"se_particles"}
        options = asdict(config) | {"se_step": se_step}
        return {name: value for name, value in options.items() if name not in unused}

    def resolved(self) -> "SEMConfig":
        """The same with what is left to choose chosen; bfloat16 where the processor has it."""
        many = self.learns_topics and self.n_topics >= MANY_TOPICS
        own_state = not (self.running_counts or self.user_rank)  # the LSTM's, and nothing beside
        plain = self.emission == "shared" and not self.sources and own_state
        chosen = "mh" if many and plain else "exact"
        short = many and own_state and _has_bfloat16()
        return replace(
            self,
            se_step=chosen if self.se_step == "auto" else self.se_step,
            bfloat16=short if self.bfloat16 is None else self.bfloat16,
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

    @property
    def has_gate(self) -> bool:
        """Whether tokens of a source have a topic, too."""
        return bool(self.sources) and self.source_form == "gate"

    @property
    def n_outcomes(self) -> int:
        """Topics and sources, K + S."""
        return self.n_topics + len(self.sources)

    @property
    def n_values(self) -> int:
        """Values of an assignment: under a gate pairs of a topic and an origin, K(1 + S)."""
        return self.n_topics * (1 + len(self.sources)) if self.has_gate else self.n_outcomes

    def network(self, n_words: int, n_users: int = 0) -> NetworkConfig:
        """Sizes of the network for a vocabulary of V words, and where it knows them U users."""
        reads, predicts = MODELS[self.model]
        return NetworkConfig(
            n_inputs=self.n_values if reads == "topic" else n_words,
            n_outputs=self.n_outcomes if predicts == "topic" else n_words,
            embedding_size=self.embedding_size,
            hidden_size=self.hidden_size,
            dropout=self.dropout,
            input=reads,
            characters=self.characters,
            n_sources=len(self.sources) if self.has_gate else 0,
            running_counts=self.running_counts,
            user_rank=self.user_rank,
            n_users=n_users if self.user_rank else 0,
        )


def _has_bfloat16() -> bool:
    """Whether this processor trains LSTMs in bfloat16, which Torch knows."""
    from lla.lstm.network import HAS_BFLOAT16

    return HAS_BFLOAT16


def saved_config(options: Mapping[str, Any]) -> SEMConfig:
    """Of a checkpoint; an option that it does not name had what was the default then."""
    return SEMConfig.from_dict({**EARLIER_DEFAULTS, **options})
