"""A fitted model as one reads it: its parts, its size, and its topics by name."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors.torch import save

from lla.common.arrays import as_array
from lla.common.display import Summarized
from lla.common.errors import InputError, check_instance, check_texts, describe
from lla.corpus import Corpus
from lla.evaluate import Size, size_of_counts
from lla.inference.batch import check_items, check_model
from lla.inference.emission import Emission, PersonalEmission, SharedEmission, SourceEmission
from lla.lstm import MODELS, Network
from lla.samplers.lda import document_topic_counts, topic_counts
from lla.topics.tables import TopicTables, document_table
from lla.topics.words import check_topic_tokens

if TYPE_CHECKING:
    import pandas as pd

EMISSIONS = {"shared": SharedEmission, "personal": PersonalEmission}


@dataclass(frozen=True, repr=False)
class ReadableModel(TopicTables, Summarized):
    """The parts of a model, and what they say without running the LSTM.

    Attributes
    ----------
    network : the LSTM; its weights are read once, when first asked to predict for a history
    emission : None where the LSTM predicts words
    topics : (N,), of the tokens it was trained on; empty in a model that `lla.load_model` read.
        Where sources are values of the topic, K + j is the j-th of `source_names`
    vocabulary : the V items by name
    provenance : what it was made with and from
    history : one row per iteration of the fit (see `lla.sem.SEM`); empty in a model that was read
    observed : the tokens it was trained on, to which `topics` belong; None in a model that was read
    origins : (N,) where their items came from, 0 a topic, j + 1 the j-th of `source_names`; empty
        where there are none, and in a model that was read
    """

    network: Network
    emission: Emission | None
    topics: np.ndarray
    vocabulary: tuple[str, ...] = ()
    provenance: Mapping[str, Any] = field(default_factory=dict)
    history: list[dict[str, float]] = field(default_factory=list)
    observed: Corpus | None = None
    origins: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))

    def summary_facts(self) -> dict[str, Any]:
        """Its kind, its sizes, and how well the best iteration did."""
        network, found = self.network.config, dict[str, Any](kind=self.kind)
        if self.emission is not None:
            n_topics = self.emission.phi.shape[1]
            found |= {"topics": n_topics, "emission": self.emission_kind}
            if self.source_names:
                found["sources"] = ", ".join(self.source_names)
        found |= {"words": len(self.vocabulary), "hidden_size": network.hidden_size}
        if self.history:
            found["iterations"] = len(self.history)
            rows = [row["development_perplexity"] for row in self.history]
            found["development_perplexity"] = min(rows)
        return found

    @property
    def kind(self) -> str:
        """Which model of Table 1, such as "topic_lla"."""
        predicts = "word" if self.emission is None else "topic"
        return next(k for k, of in MODELS.items() if of == (self.network.config.input, predicts))

    @property
    def emission_kind(self) -> str | None:
        """ "shared" or "personal"; None where the LSTM predicts words."""
        emission = self.emission
        of_topics = emission.topics if isinstance(emission, SourceEmission) else emission
        return next((k for k, of in EMISSIONS.items() if type(of_topics) is of), None)

    @property
    def source_names(self) -> tuple[str, ...]:
        """Sources beside the topics; most models have none."""
        return () if self.emission is None else self.emission.source_names

    def __post_init__(self) -> None:
        """Check that the parts are of one model: no kernel that it calls checks bounds."""
        check_instance("network", self.network, Network)
        if self.emission is not None:
            check_instance("emission", self.emission, Emission)
        if self.observed is not None:
            check_instance("observed", self.observed, Corpus)
        if as_array("topics", self.topics).ndim != 1:
            raise InputError(f"topics is {describe(self.topics)}: give a topic per token")
        object.__setattr__(self, "vocabulary", check_texts("vocabulary", self.vocabulary))
        phi_shape = None if self.emission is None else self.emission.shape
        n_words = self.network.config.n_outputs if phi_shape is None else phi_shape[0]
        check_model(self.network.config, phi_shape, n_words)
        if self.network.config.n_sources not in (0, len(self.source_names)):
            raise InputError(
                f"network: its gate has {self.network.config.n_sources} sources, the emission "
                f"{len(self.source_names)}; give network and emission of one fit"
            )
        if self.vocabulary:
            check_items(self.vocabulary, n_words)

    @property
    def n_words(self) -> int:
        """V."""
        config = self.network.config
        return config.n_outputs if self.emission is None else len(self.emission.phi)

    @property
    def seconds(self) -> float:
        """Of training."""
        return sum(row["seconds"] for row in self.history)

    def size(self) -> Size:
        """Parameters and bytes; a φ that was learned by gradient has no zeros."""
        state = {name: value.contiguous() for name, value in self.network.state_dict().items()}
        learned = state.pop("topic_words.weight", None)
        letters = self.network.config.input == "character"
        n_characters = len(self.network.input.weight) if letters else 0
        if learned is not None:
            phi = Size(0, learned.numel(), len(save({"phi": learned})))
        elif self.emission is None:
            phi = Size(0, 0, 0)
        elif self.observed is None or not self._has_assignments:
            raise InputError(
                "the size of φ is counted from the assignments of the observed tokens, which this "
                "model lacks: ask a model as fit_sem or load_sem returns it"
            )
        else:
            words, n_words = self.observed.words, self.observed.n_words
            own = self._counted_in_phi()
            counts = topic_counts(words[own], self.topics[own], n_words, self._phi().shape[1])
            phi = size_of_counts(counts[0])
        # Tables stand where counts do, so φ has as many non-zeros; τ and sources come on top.
        emission, n_sources, source_bytes = self.emission, 0, 0
        if isinstance(emission, SourceEmission):
            n_sources, source_bytes = emission.sources.n_parameters, emission.sources.n_bytes
            emission = emission.topics
        more = emission.arrays()[1:] if emission else ()
        n_more = sum(value.numel() for value in more)
        n_bytes = len(save(state)) + phi.n_bytes + 4 * n_more + source_bytes
        n_network = self.network.config.n_parameters(n_characters)
        return Size(n_network, phi.phi + n_more + n_sources, n_bytes)

    def fingerprint(self) -> str:
        """SHA-256 of all that predicts."""
        digest = hashlib.sha256()
        for value in self.emission.arrays() if self.emission else ():
            digest.update(value.contiguous().numpy())
        for _, value in sorted(self.network.state_dict().items()):
            digest.update(value.contiguous().numpy())
        return digest.hexdigest()

    def _topic_words(self) -> tuple[np.ndarray, tuple[str, ...]]:
        """φ (V, K), and the V words by name."""
        phi = self._phi()
        check_items(self.vocabulary, len(phi))
        return phi, self.vocabulary

    def _topic_sizes(self) -> tuple[np.ndarray | None, int]:
        """n_k (K,), None where it is not known, and the number of tokens they are a share of."""
        topic_tokens = self.topic_tokens
        if topic_tokens is None:
            return None, 0
        n_tokens = len(self.topics) or self.provenance.get("n_observed")
        return topic_tokens, n_tokens or topic_tokens.sum()

    @property
    def topic_tokens(self) -> np.ndarray | None:
        """n_k, the observed tokens of each topic, (K,); None where topics are summed out or absent.

        `lla.save_model` keeps them, although it leaves out the assignments.
        """
        if self.emission is None:
            return None
        n_topics = self._phi().shape[1]
        if self._has_assignments:
            return np.bincount(self.topics, minlength=n_topics)[:n_topics]
        saved = self.provenance.get("topic_tokens")
        return None if saved is None else check_topic_tokens("topic_tokens", saved, n_topics)

    def document_table(self) -> "pd.DataFrame":
        """Topics of the observed tokens: a row per document, by name, and a share per topic.

        Where there are sources, a share of the items per source follows, under its name; under a
        gate the shares of topics sum to 1 without them.
        """
        import pandas as pd

        n_outcomes, n_topics = self._n_outcomes(), self._phi().shape[1]
        if self.observed is None or not self._has_assignments:
            raise InputError(
                "the topics of documents are counted from the assignments of the observed tokens, "
                "which this model lacks: ask one that draws topics, as fit_sem or load_sem returns"
            )
        corpus = self.observed
        counts = document_topic_counts(corpus.offsets, self.topics, n_outcomes)
        if self.source_names:
            origins = document_topic_counts(corpus.offsets, self.origins, 1 + n_outcomes - n_topics)
            counts[:, n_topics:] = origins[:, 1:]
        table = document_table(counts / corpus.lengths[:, None], corpus.names)
        if self.source_names:
            table.columns = pd.Index([*range(n_topics), *self.source_names], name="topic")
        return table

    def source_table(self) -> "pd.DataFrame":
        """A row per source: the share of the tokens that it produced, and what it has learned.

        The share is left out where the tokens are not there, as in a model that was read.
        """
        import pandas as pd

        if not isinstance(self.emission, SourceEmission):
            raise InputError("this model has no sources; fit one with SEMConfig(sources=...)")
        names, learned = self.source_names, self.emission.sources.parameters
        table = pd.DataFrame(index=pd.Index(names, name="source"))
        if self._has_assignments:
            count = np.bincount(self.origins, minlength=1 + len(names))[1:]
            table["share"] = count / max(1, len(self.origins))
        table["concentration"] = [getattr(learned, name) for name in names]
        half_lives = [learned.half_life if name == "recent" else np.nan for name in names]
        table["half_life"] = half_lives
        return table

    def topic_embedding(self) -> np.ndarray:
        """The vectors by which the LSTM reads its topics, (K, E) float32; no start symbol."""
        if self.network.config.input != "topic":
            raise InputError(
                f"this model reads {self.network.config.input}s, it embeds no topics; ask one of "
                'kind "topic_lla"'
            )
        return self.network.input.weight[:-1].detach().numpy().copy()

    def _phi(self) -> np.ndarray:
        """φ, (V, K)."""
        if self.emission is None:
            raise InputError("this model predicts words, it has no topics; ask an LLA")
        return self.emission.phi.numpy()

    def _counted_in_phi(self) -> np.ndarray:
        """Tokens from which φ is counted, (N,) bool; a personal emission's urns hold all."""
        if self.source_names and self.emission_kind == "shared":
            return self.origins == 0
        return self.topics < self._phi().shape[1]  # the others have no topic

    def _n_outcomes(self) -> int:
        """Topics and sources, K + S."""
        return self._phi().shape[1] + len(self.source_names)

    @property
    def _has_gate(self) -> bool:
        """Whether tokens of a source have a topic, too."""
        return self.network.config.n_sources > 0

    @property
    def _has_assignments(self) -> bool:
        """Whether the tokens it was trained on are there, with topics that φ belongs to."""
        summed_out = hasattr(self.network, "topic_words")  # by the objective "marginal"
        known = self.observed is not None and len(self.topics) == self.observed.n_tokens
        return known and not summed_out
