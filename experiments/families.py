"""The only list of models: what each is called, how it is configured, and how it is fitted.

A new family takes one file in `lla/peers`, one line in `FAMILIES`, one test file, and its settings
in each profile that runs it. Study, ranking, tuning, memory, report and figures loop over this
list. Settings are a dict, as YAML has it. A name that is neither in `FAMILIES` nor in `VARIANTS`
is a model of Table 1, which its settings tell apart (`model`, `emission`, `joint`).

A name that ends in ``_own``, such as ``sasrec_own``, is the model of the name before it with the
user's own counts mixed into its probabilities; its settings are that model's, and so is its fit.
The same holds of ``_cache``, a neural cache on a network over words.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

import numpy as np

from data_prep import personal_dynamics
from data_prep.clicks import oracle
from data_prep.clicks.simulate import world_of
from lla.common.errors import InputError
from lla.corpus import Corpus, Split
from lla.evaluate import Fitted, ScoreCallback, Size
from lla.inference.config import TRAIN_OPTIONS
from lla.lda import LDAConfig, fit_lda
from lla.peers.autoencoder import AutoencoderConfig, fit_autoencoder
from lla.peers.counts import (
    BigramConfig,
    CacheUnigramConfig,
    PopularConfig,
    TrigramConfig,
    UniformConfig,
    UnigramConfig,
    fit_bigram,
    fit_cache_unigram,
    fit_popular,
    fit_trigram,
    fit_uniform,
    fit_unigram,
)
from lla.peers.crnn import CRNNConfig, CTanhConfig, PGRUConfig, ShrunkGRUConfig, fit_crnn
from lla.peers.ddlda import DDLDAConfig, fit_ddlda
from lla.peers.factorization import FactorizationConfig, fit_factorization
from lla.peers.hmm import HMMConfig, fit_hmm
from lla.peers.neural_cache import NeuralCacheConfig, fit_neural_cache
from lla.peers.neural_topics import (
    AEConfig,
    DAEConfig,
    DirichletInverseCDFConfig,
    DirichletRSVIConfig,
    DirichletVAEConfig,
    GSMConfig,
    NVDMConfig,
    NVLDAConfig,
    ProdLDAConfig,
    VAEConfig,
    WeibullVAEConfig,
    fit_neural_topics,
)
from lla.peers.own_counts import OwnCountsConfig, fit_own_counts
from lla.peers.sasrec import SASRecConfig, fit_sasrec
from lla.peers.sequence import GRU4RecConfig, fit_gru4rec
from lla.peers.source_lstm import SourceLSTMConfig, fit_source_lstm
from lla.peers.text_autoencoders import SentenceVAEConfig, fit_sentence_vae
from lla.sem import EARLIER_DEFAULTS, SEMConfig, fit_sem

Settings = dict[str, Any]


@dataclass(frozen=True)
class OracleConfig:
    """The oracle has no settings."""


@dataclass(frozen=True)
class Simulation:
    """What is known of the corpora of one simulation.

    Attributes
    ----------
    truth_of : the parameters that a corpus was drawn from
    score : as `Fitted.score`, given these
    next_items : as `Fitted.next_items`, given these
    """

    truth_of: Callable[[Corpus], Any]
    score: Callable[[Any, Split], np.ndarray]
    next_items: Callable[[Any, Split, ScoreCallback], None]


# By the entry of a manifest that says how a corpus was drawn.
SIMULATIONS: Mapping[str, Simulation] = {
    "clicks": Simulation(world_of, oracle.score_oracle, oracle.next_items),
    personal_dynamics.NAME: Simulation(
        personal_dynamics.weights_of, personal_dynamics.score_oracle, personal_dynamics.next_items
    ),
}


def is_simulated(corpus: Corpus) -> bool:
    """Whether the distribution that a corpus was drawn from is known."""
    return not SIMULATIONS.keys().isdisjoint(corpus.manifest)


@dataclass(frozen=True)
class Oracle:
    """Exact predictions under the distribution that simulated histories were drawn from."""

    simulation: Simulation
    truth: Any
    seconds: float = 0.0
    history: list[dict[str, float]] = field(default_factory=list)

    def score(self, split: Split, *, seed: int = 0) -> np.ndarray:
        """log p(held-out items | observed items) of every user, (D,) nats."""
        return self.simulation.score(self.truth, split)

    def next_items(self, split: Split, on_scores: ScoreCallback, *, seed: int = 0) -> None:
        """Hand over the exact p(w_t | w_<t), float32, of all held-out events."""
        self.simulation.next_items(self.truth, split, on_scores)

    def size(self) -> Size:
        """Nothing was learned."""
        return Size(0, 0, 0)


def fit_oracle(
    split: Split, config: OracleConfig | None = None, seed: int = 0, **_: object
) -> Oracle:
    """The oracle of a simulated corpus, whose manifest says how it was drawn."""
    if not is_simulated(split.corpus):
        raise InputError(
            "oracle: this corpus was not simulated, so its distribution is not known; make one "
            f"with python -m data_prep {' or '.join(SIMULATIONS)}"
        )
    name = next(name for name in SIMULATIONS if name in split.corpus.manifest)
    simulation = SIMULATIONS[name]
    return Oracle(simulation, simulation.truth_of(split.corpus))


@dataclass(frozen=True)
class Family:
    """How one kind of model is configured and fitted.

    Attributes
    ----------
    key : its name in files
    label : its name for people
    config : class of its configuration
    fit : `(split, config, seed, *, start, checkpoint, on_iteration, n_threads) -> Fitted`
    start : key of the family whose topics a fit starts from; "" if it needs none
    runs_on : the data it is a baseline of without being asked for: "text" (also run for users),
        "users", "simulated" ones or ""
    draws : False where every seed gives the same fit
    particles : whether scores are a particle filter's
    scores_part : whether `score` takes the documents to score
    """

    key: str
    label: str
    config: type
    fit: Callable[..., Fitted]
    start: str = ""
    runs_on: str = ""
    draws: bool = True
    particles: bool = False
    scores_part: bool = False

    def configure(self, settings: Settings, start: Any = None) -> Any:
        """The configuration of `settings`; K is that of the fit it starts from, unless given."""
        names = [option.name for option in fields(self.config)]
        if unknown := [name for name in settings if name not in names]:
            raise InputError(f"{unknown[0]} is no setting of {self.label}: choose of {names}")
        return self.config(**(self._inherited(start) | settings))

    def needs_start(self, config: Any) -> bool:
        """Whether this configuration starts from another fit's topics."""
        return bool(self.start)

    def file_key(self, config: Any, settings: Settings) -> tuple[str, Settings]:
        """Name of a fit's file and the settings that tell it from others of the name."""
        return self.key, settings

    def _inherited(self, start: Any) -> Settings:
        return {"n_topics": start.config.n_topics} if self.start and start is not None else {}


class DistanceFamily(Family):
    """ddLDA: every option is in the name of its file."""

    def file_key(self, config: Any, settings: Settings) -> tuple[str, Settings]:
        return self.key, asdict(config)


class Table1Family(Family):
    """The models of Table 1."""

    def configure(self, settings: Settings, start: Any = None) -> SEMConfig:
        return SEMConfig.from_dict(self._inherited(start) | settings)

    def needs_start(self, config: SEMConfig) -> bool:
        """All but an LSTM over words."""
        return config.has_topics

    def file_key(self, config: SEMConfig, settings: Settings) -> tuple[str, Settings]:
        """The options that are not the default; without those that only say when to stop.

        So more iterations, or more patience, continue the same fit, and the names of files stay
        when options are added.
        """
        options = _with_former_names(replace(config, n_iterations=1, patience=1).resolved())
        default = _with_former_names(SEMConfig()) | EARLIER_DEFAULTS
        changed = {name: value for name, value in options.items() if value != default[name]}
        return config.model, {"start": ""} | changed


def _with_former_names(config: SEMConfig) -> Settings:
    """Options as in the file names of earlier versions, so that fits are found again."""
    options = asdict(config)
    letters = options["characters"]
    options["characters"] = {
        {"min_words": "least_words", "max_chars": "longest"}.get(name, name): value
        for name, value in letters.items()
    }
    train = {name: options.pop(name) for name in TRAIN_OPTIONS}
    if not train["average"]:
        del train["average"]
    options["train"] = train | {"proposal": "log_uniform"}
    return options


LLA = Table1Family("lla", "LLA", SEMConfig, fit_sem, start="lda", particles=True)
LDA = Family("lda", "LDA", LDAConfig, fit_lda)
_FAMILIES = (
    Family("uniform", "uniform", UniformConfig, fit_uniform, draws=False),
    Family("unigram", "unigram", UnigramConfig, fit_unigram, runs_on="text", draws=False),
    Family(
        "cache_unigram",
        "cache unigram",
        CacheUnigramConfig,
        fit_cache_unigram,
        runs_on="text",
        draws=False,
    ),
    Family("bigram", "bigram", BigramConfig, fit_bigram, runs_on="text", draws=False),
    Family("trigram", "trigram", TrigramConfig, fit_trigram, draws=False),
    Family(
        "popular",
        "personalised most popular",
        PopularConfig,
        fit_popular,
        runs_on="users",
        draws=False,
    ),
    Family("oracle", "oracle", OracleConfig, fit_oracle, runs_on="simulated", draws=False),
    LDA,
    DistanceFamily("ddlda", "ddLDA", DDLDAConfig, fit_ddlda, start="lda", scores_part=True),
    Family("factorization", "matrix factorisation", FactorizationConfig, fit_factorization),
    Family("hmm", "HMM", HMMConfig, fit_hmm),
    Family("hmm_from_lda", "HMM started from LDA", HMMConfig, fit_hmm, start="lda"),
    Family("autoencoder", "autoencoder", AutoencoderConfig, fit_autoencoder),
    Family("gru4rec", "GRU4Rec", GRU4RecConfig, fit_gru4rec),
    Family("sasrec", "SASRec", SASRecConfig, fit_sasrec),
    Family("word_lstm_sources", "word LSTM with sources", SourceLSTMConfig, fit_source_lstm),
    Family("c_gru", "C-GRU", CRNNConfig, fit_crnn),
    Family("c_tanh", "C-tanh", CTanhConfig, fit_crnn),
    Family("p_gru", "P-GRU", PGRUConfig, fit_crnn),
    Family("shrunk_gru", "shrunk C-GRU", ShrunkGRUConfig, fit_crnn),
    Family("prodlda", "ProdLDA", ProdLDAConfig, fit_neural_topics),
    Family("nvlda", "NVLDA", NVLDAConfig, fit_neural_topics),
    Family("nvdm", "NVDM", NVDMConfig, fit_neural_topics),
    Family("gsm", "GSM", GSMConfig, fit_neural_topics),
    Family("dirichlet_vae", "Dirichlet VAE, pathwise", DirichletVAEConfig, fit_neural_topics),
    Family("dirichlet_rsvi", "Dirichlet VAE, rejection", DirichletRSVIConfig, fit_neural_topics),
    Family(
        "dirichlet_inverse_cdf",
        "Dirichlet VAE, inverse CDF",
        DirichletInverseCDFConfig,
        fit_neural_topics,
    ),
    Family("weibull_vae", "Weibull VAE", WeibullVAEConfig, fit_neural_topics),
    Family("ae", "AE", AEConfig, fit_neural_topics),
    Family("dae", "DAE", DAEConfig, fit_neural_topics),
    Family("vae", "VAE", VAEConfig, fit_neural_topics),
    Family("sentence_vae", "sentence VAE", SentenceVAEConfig, fit_sentence_vae),
    LLA,
)
FAMILIES: Mapping[str, Family] = {family.key: family for family in _FAMILIES}

# These start from a fit of another family: `base_of` says of which.
OWN_COUNTS = Family("own_counts", "own counts", OwnCountsConfig, fit_own_counts)
NEURAL_CACHE = Family("neural_cache", "neural cache", NeuralCacheConfig, fit_neural_cache)
OWN, CACHE = "_own", "_cache"
WRAPPERS = {OWN: OWN_COUNTS, CACHE: NEURAL_CACHE}

LDA_ONLINE = "lda_online"  # LDA scored with θ updated by every revealed word

# Other names of a family in files, where its settings differ; and what people read.
VARIANTS = {
    "bigram_additive": ("bigram", "bigram, additive smoothing"),
    "factorization_zeros": ("factorization", "matrix factorisation, zeros weighted"),
    "gru4rec_sampled": ("gru4rec", "GRU4Rec, sampled softmax"),
    "sasrec_sampled": ("sasrec", "SASRec, sampled softmax"),
    "sentence_lm": ("sentence_vae", "LSTM language model"),
    "sentence_lm_inputless": ("sentence_vae", "LSTM language model, inputless"),
    "sentence_vae_annealed": ("sentence_vae", "sentence VAE, annealed"),
    "sentence_vae_cyclic": ("sentence_vae", "sentence VAE, cyclic"),
    "sentence_vae_words": ("sentence_vae", "sentence VAE, annealed, word dropout"),
    "sentence_vae_bits": ("sentence_vae", "sentence VAE, free bits"),
    "sentence_ae": ("sentence_vae", "sentence autoencoder"),
    "sentence_vae_inputless": ("sentence_vae", "sentence VAE, annealed, inputless"),
    LDA_ONLINE: ("lda", "LDA, θ updated"),
    "ae_categorical": ("ae", "AE, categorical"),
    "dae_categorical": ("dae", "DAE, categorical"),
    "vae_small_steps": ("vae", "VAE, small steps"),
    "vae_score": ("vae", "VAE, small steps, score function"),
    "vae_score_baseline": ("vae", "VAE, small steps, score function with a baseline"),
    "dirichlet_mixture": ("dirichlet_vae", "Dirichlet VAE, mixture"),
    "prodlda_no_background": ("prodlda", "ProdLDA, no background"),
    "prodlda_collapsed": ("prodlda", "ProdLDA, no batch norm, no dropout"),
    "prodlda_batch_norm": ("prodlda", "ProdLDA, no dropout"),
    "prodlda_dropout": ("prodlda", "ProdLDA, no batch norm"),
    "prodlda_dirichlet": ("prodlda", "ProdLDA, Dirichlet posterior"),
    "independent": ("lla", "independent topic LLA"),
    "topic_lla": ("lla", "topic LLA"),
    "topic_lla_from_ddlda": ("lla", "topic LLA started from ddLDA"),
    "topic_lla_from_prodlda": ("lla", "topic LLA started from ProdLDA"),
    "personal_lla": ("lla", "personal topic LLA"),
    "topic_lla_counts": ("lla", "topic LLA with running counts"),
    "personal_lla_counts": ("lla", "personal topic LLA with running counts"),
    "topic_lla_users": ("lla", "topic LLA with users' recurrences"),
    "personal_lla_users": ("lla", "personal topic LLA with users' recurrences"),
    "topic_lla_sources": ("lla", "topic LLA with sources"),
    "topic_lla_sources_topic": ("lla", "topic LLA, sources as topics"),
    "personal_lla_sources": ("lla", "personal topic LLA with sources"),
    "personal_lla_sources_counts": ("lla", "personal topic LLA with sources and running counts"),
    "word_lla": ("lla", "word LLA"),
    "word_lla_marginal": ("lla", "word LLA, marginal objective"),
    "personal_word_lla": ("lla", "personal word LLA"),
    "char_lla": ("lla", "char LLA"),
    "word_lstm": ("lla", "word LSTM"),
    "word_lstm_full": ("lla", "word LSTM, full softmax"),
    "char_lstm": ("lla", "char LSTM"),
    f"word_lstm{CACHE}": ("lla", "word LSTM + neural cache"),
}


def with_own_counts(labels: Mapping[str, str]) -> dict[str, str]:
    """The same labels, and those of the models with own counts.

    θ is updated where LDA predicts item by item, so there is one LDA with own counts.
    """
    own = {
        f"{name}{OWN}": f"{label} + own counts" for name, label in labels.items() if name != "lda"
    }
    return {**labels, **own}


_LABELS = (
    {key: family.label for key, family in FAMILIES.items() if family is not LLA}
    | {"lda": "LDA, θ frozen"}
    | {name: label for name, (_, label) in VARIANTS.items()}
)
LABELS: Mapping[str, str] = with_own_counts(_LABELS)
# The studies on text name the softmax, which differs there.
TEXT_LABELS: Mapping[str, str] = with_own_counts(
    _LABELS | {"word_lstm": "word LSTM, sampled softmax", "char_lstm": "char LSTM, sampled softmax"}
)


def suffix_of(name: str) -> str:
    """The key of `WRAPPERS` at the end of a model's name, as "_own" of "sasrec_own"; else ""."""
    model = name.partition("@")[0]
    return next((suffix for suffix in WRAPPERS if model.endswith(suffix)), "")


def base_of(name: str) -> str:
    """Name of the model that a wrapper starts from, as "sasrec" of "sasrec_own"; else ""."""
    model, at, count = name.partition("@")
    suffix = suffix_of(name)
    return f"{model.removesuffix(suffix)}{at}{count}" if suffix else ""


def family_of(name: str) -> Family:
    """The family of a model by its name in files; a model of Table 1 may have any name.

    What follows an ``@``, such as a number of topics, is not part of it.
    """
    if suffix := suffix_of(name):
        # A network over words needs no particles.
        particles = suffix == OWN and family_of(base_of(name)).particles
        return replace(WRAPPERS[suffix], particles=particles)
    name = name.partition("@")[0]
    key, _ = VARIANTS.get(name, (name, ""))
    return FAMILIES.get(key, LLA)


def baselines_of(split: Split, users: bool = False) -> list[Family]:
    """The families that run on this data without being asked for."""
    kinds = {"text"}
    if users:
        kinds.add("users")
    if users and is_simulated(split.corpus):
        kinds.add("simulated")
    return [family for family in FAMILIES.values() if family.runs_on in kinds]
