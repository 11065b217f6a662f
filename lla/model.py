"""A trained latent LSTM allocation: what predicts, in one value."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from lla.decoding import decode
from lla.emission import PersonalEmission, SharedEmission
from lla.errors import InputError
from lla.lstm import Network
from lla.serving import Predictor, Session
from lla.topics import top_words


@dataclass(frozen=True)
class Model:
    """The LSTM, the emission (None where the LSTM predicts words), and the assignments (N,).

    Attributes
    ----------
    network : its weights are read once, when first asked to predict for a history
    topics : of the tokens it was trained on; empty in a model that `lla.load_model` read
    vocabulary : the V items by name
    provenance : what it was made with and from
    """

    network: Network
    emission: SharedEmission | PersonalEmission | None
    topics: np.ndarray
    vocabulary: tuple[str, ...] = ()
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def fingerprint(self) -> str:
        """SHA-256 of all that predicts."""
        digest = hashlib.sha256()
        for value in self.emission.arrays() if self.emission else ():
            digest.update(value.contiguous().numpy())
        for _, value in sorted(self.network.state_dict().items()):
            digest.update(value.contiguous().numpy())
        return digest.hexdigest()

    def session(
        self, history: Iterable[str | int] = (), *, n_particles: int = 16, seed: int = 0
    ) -> Session:
        """A history that goes on: `session.add(item)` costs one step, then ask it as a model.

        Parameters
        ----------
        history : items so far, oldest first; empty is a user of whom nothing is known yet. Items
            that the model does not know are skipped, which one line of the log "lla" says
        n_particles : topic histories carried; more come closer to the model's own probabilities
        seed : of their draws

        Raises
        ------
        InputError
            When the history is no list of strings (or whole numbers), or the model has no
            vocabulary.
        """
        session = Session(self._predictor, n_particles, seed)
        session.extend(history)
        return session

    def recommend(
        self,
        history: Iterable[str | int],
        k: int = 10,
        *,
        exclude_seen: bool = False,
        n_particles: int = 16,
        seed: int = 0,
    ) -> list[tuple[str, float]]:
        """The `k` likeliest next items of any user, best first, each with its probability.

        Parameters
        ----------
        history, n_particles, seed : see `session`
        k : items wanted; when the model has fewer, it gives all, and one line of the log says so
        exclude_seen : leave out the items of the history; the others keep their probabilities
        """
        session = self.session(history, n_particles=n_particles, seed=seed)
        return session.recommend(k, exclude_seen=exclude_seen)

    def topics_ahead(
        self,
        history: Iterable[str | int],
        steps: int = 5,
        *,
        n_futures: int = 512,
        n_particles: int = 16,
        seed: int = 0,
    ) -> np.ndarray:
        """p(z_{t+h} | history) of the next `steps` events, h = 1..steps: (steps, K) float64.

        The first row is θ averaged over the particles, the others θ averaged over futures that
        are drawn on from them.

        Parameters
        ----------
        history, n_particles, seed : see `session`
        n_futures : futures drawn

        Raises
        ------
        InputError
            When the model predicts words and has no topics.
        """
        session = self.session(history, n_particles=n_particles, seed=seed)
        return session.topics_ahead(steps, n_futures=n_futures)

    def decode(self, history: Iterable[str | int], width: int = 16) -> list[tuple[str, int]]:
        """The most likely topics of a history, all at once: its items, each with its topic.

        A beam keeps the `width` histories of highest log p(z, w); what comes after an item has a
        say in its topic. Items that the model does not know are skipped (see `session`).

        Raises
        ------
        InputError
            When the model predicts words and has no topics.
        """
        words = self._predictor.words(history)
        topics = decode(self._predictor, words, width).topics
        return [(self.vocabulary[w], int(z)) for w, z in zip(words, topics, strict=True)]

    def topic_names(self, n: int = 3) -> list[str]:
        """A name for every topic: its `n` likeliest items, likeliest first."""
        if self.emission is None:
            raise InputError("this model predicts words, it has no topics; ask an LLA")
        words = top_words(self.emission.phi.numpy(), self._predictor.vocabulary, n)
        return [", ".join(names) for names in words]

    @cached_property
    def _predictor(self) -> Predictor:
        return Predictor(self.network, self.emission, self.vocabulary)
