"""What a model of Table 1 is, and how it is trained: the configuration of a fit."""

from dataclasses import asdict, dataclass, field
from typing import Any

from lla.common.errors import InputError, check_integer, check_positive
from lla.inference.gradient import TrainConfig
from lla.lstm import CharacterConfig, NetworkConfig

# Table 1: what the LSTM reads, and what it predicts.
MODELS = {
    "topic_lla": ("topic", "topic"),
    "word_lla": ("word", "topic"),
    "char_lla": ("character", "topic"),
    "word_lstm": ("word", "word"),
    "char_lstm": ("character", "word"),
}


OBJECTIVES = ("sem", "marginal")


EMISSIONS = ("shared", "personal")


SE_STEPS = ("exact", "mh", "gibbs", "beam", "filter")


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
        leave a token nearer to its last topic than exact draws do; "gibbs", particle Gibbs;
        "beam"; or "filter", a whole history of a particle filter that resamples
    n_mh : steps a token of Metropolis-Hastings (see `MHConfig`)
    bfloat16 : round the factors of matrix products to 8 bits, in the M-step and in the SE-step by
        Metropolis-Hastings; sums stay float32
    packed : read the M-step's windows without padding, their inputs as rows of a table; the same
        but for rounding (see `train_epoch`). On the CPU, in float32
    se_particles : histories carried by "gibbs", "beam" and "filter"; 1 is the exact step
    lookahead : of particle Gibbs, in tokens; -1 for the whole document (see `HistoryConfig`)
    emission : "shared", the paper's φ; or "personal", a Pólya urn a document and topic with φ as
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
    se_step: str = "exact"
    n_mh: int = 2
    bfloat16: bool = False
    packed: bool = False
    se_particles: int = 8
    lookahead: int = 16
    emission: str = "shared"
    tau: float = 10.0
    tau_per_topic: bool = False
    learn_tau: bool = True

    def __post_init__(self) -> None:
        for name in ("n_iterations", "initial_epochs", "epochs", "patience", "se_steps", "n_mh"):
            check_integer(name, getattr(self, name))
        check_integer("n_topics", self.n_topics)
        check_integer("development_particles", self.development_particles)
        check_positive("beta", self.beta)
        if self.model not in MODELS:
            raise InputError(f"model is {self.model!r}: choose one of {', '.join(MODELS)}")
        if self.objective not in OBJECTIVES:
            raise InputError(f"objective is {self.objective!r}: choose one of {OBJECTIVES}")
        if self.se_step not in SE_STEPS:
            raise InputError(f"se_step is {self.se_step!r}: choose one of {SE_STEPS}")
        if self.se_step in ("gibbs", "beam") and self.model != "topic_lla":
            raise InputError(
                f"se_step is {self.se_step!r} and model {self.model!r}: histories of topics are "
                "topic_lla's alone; give se_step 'exact' or 'mh'"
            )
        check_integer("se_particles", self.se_particles)
        check_integer("lookahead", self.lookahead, least=-1)
        if self.objective == "marginal" and self.model not in ("word_lla", "char_lla"):
            raise InputError(
                f"objective is 'marginal' and model {self.model!r}: give word or char LLA"
            )
        if self.emission not in EMISSIONS:
            raise InputError(f"emission is {self.emission!r}: choose one of {EMISSIONS}")
        if self.packed and self.bfloat16:
            raise InputError("packed and bfloat16 are given: packed windows are float32, give one")
        check_positive("tau", self.tau)
        if self.emission == "personal":
            self._check_personal()
        self.network(n_words=1)  # has its own checks

    def _check_personal(self) -> None:
        """Refuse what knows no history of a document's words."""
        if not self.has_topics:
            raise InputError(
                f"emission is 'personal' and model {self.model!r}: it has no topics to emit from; "
                "give topic, word or char LLA"
            )
        for name, wanted in (("se_step", ("exact", "filter")), ("objective", ("sem",))):
            if (value := getattr(self, name)) not in wanted:
                choices = " or ".join(map(repr, wanted))
                raise InputError(
                    f"emission is 'personal' and {name} {value!r}: give {name} {choices}"
                )

    @classmethod
    def from_dict(cls, options: dict[str, Any]) -> "SEMConfig":
        """The configuration that `dataclasses.asdict`, or a result file, wrote."""
        nested = {"train": TrainConfig, "characters": CharacterConfig}
        made = {name: of(**options[name]) for name, of in nested.items() if name in options}
        return cls(**(options | made))

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
        if isinstance(options.get("characters"), dict):
            options["characters"] = CharacterConfig(**options["characters"])
        train = {name: options.pop(name) for name in of_train & options.keys()}
        return cls(train=TrainConfig(**train), **options)

    def replace(self, **options: Any) -> "SEMConfig":
        """The same configuration with some options changed, the optimiser's among them."""
        return self.from_options(**(self.options() | options))

    def options(self) -> dict[str, Any]:
        """What `flat` makes this configuration of."""
        own = {name: getattr(self, name) for name in self.__dataclass_fields__ if name != "train"}
        return own | asdict(self.train)

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
