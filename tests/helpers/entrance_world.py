"""A small corpus, others that do not fit it, and fitted models of every kind, for the fuzz."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from simulated import random_corpus
from small_sem import SMALL

import lla
from experiments.families import FAMILIES
from lla.corpus import Corpus, split_corpus
from lla.lstm import Network
from lla.model import Model

K, V = 3, 12
SMALL_SEM = replace(SMALL, n_iterations=2, patience=1)
SETTINGS: dict[str, dict[str, Any]] = {  # of the families, so that a fit takes no time
    "lda": {"n_topics": K, "n_sweeps": 3},
    "ddlda": {"n_topics": K, "n_sweeps": 2},
    "factorization": {"n_factors": 3, "zero_weight": 0.1, "n_iterations": 2},
    "hmm": {"n_topics": K, "n_iterations": 2, "n_starts": 2},
    "hmm_from_lda": {"n_topics": K, "n_iterations": 2},
    "autoencoder": {"hidden_size": 5, "code_size": 3, "n_epochs": 2},
    "gru4rec": {"embedding_size": 4, "hidden_size": 5, "n_epochs": 2},
    "sasrec": {"hidden_size": 4, "n_heads": 2, "n_blocks": 1, "n_epochs": 2},
    "c_gru": {"hidden_size": 3, "n_epochs": 2, "tail": 0.2},
    "c_tanh": {"hidden_size": 3, "n_epochs": 1, "optimizer": "rmsprop"},
    "p_gru": {"hidden_size": 3, "n_epochs": 1},
    "shrunk_gru": {"hidden_size": 3, "rank": 2, "n_epochs": 2},
    **{
        key: {"n_topics": K, "hidden_size": 4, "n_epochs": 2}
        for key in ("prodlda", "nvlda", "nvdm", "gsm", "ae", "dae", "vae")
    },
    **{
        key: {"n_topics": K, "hidden_size": 4, "n_epochs": 2, "warm_up": 1}
        for key in ("dirichlet_vae", "dirichlet_rsvi", "dirichlet_inverse_cdf", "weibull_vae")
    },
    "sentence_vae": {"latent_size": 2, "hidden_size": 4, "n_epochs": 1, "n_samples": 2},
    "lla": {"n_topics": K, "n_iterations": 2, "embedding_size": 4, "hidden_size": 5},
}
# Values of every kind. What is huge is so in its size alone: nothing of that size is allocated.
JUNK: list[Any] = [
    *(None, True, -1, 0, 1, 2.5, -0.5, 10**30, -(10**30), float("nan"), float("inf"), 1e-44),
    *("", "w1", "3", b"w1", [], ["w1"], [[1, 2], [3]], [["a"], ["b"]], {}, {"w1": 1}, (), object()),
    *(np.int64(2), np.float32(0.5), np.bool_(True), np.array(3), np.array([]), np.array(["a"])),
    *(np.array([1, -1]), np.array([np.nan]), np.zeros((2, 2)), np.zeros(5, bool), np.arange(7)),
    *(Path("no such folder/x"), "no such folder/x", print, int, Exception("x"), range(3), {1, 2}),
]


def other_corpora(corpus: Corpus) -> list[Corpus]:
    """The same documents under other words: as many, in another order, fewer, more."""
    documents = [corpus.document(d) for d in range(corpus.n_documents)]
    renamed = [f"other {w}" for w in range(V)]
    more = [f"w{w}" for w in range(3 * V)]
    fewer = [f"w{w}" for w in range(V - 4)]
    return [
        Corpus.from_documents(documents, renamed),
        Corpus.from_documents(documents, corpus.vocabulary[::-1]),
        Corpus.from_documents([2 * words + 1 for words in documents], more),
        Corpus.from_documents([words % len(fewer) for words in documents], fewer),
    ]


def wrong_topics(n_tokens: int) -> list[Any]:
    """What must not be taken for assignments of `n_tokens` tokens to K topics."""
    good = np.zeros(n_tokens, np.int32)
    return [
        *(good + K, good - 1, good[:-1], np.append(good, 0), good + 10**6, good.astype(float)),
        *(good.astype(str), good[:, None], np.full(n_tokens, np.nan), np.full(n_tokens, 2**40)),
    ]


class World:
    """A corpus, its split, others that do not fit, and models of every kind."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.corpus = random_corpus(14, n_words=V, longest=9, seed=4)
        self.split = split_corpus(self.corpus, seed=1)
        self.others = other_corpora(self.corpus)
        self.other_splits = [split_corpus(corpus, seed=1) for corpus in self.others]
        self.lda = lla.fit_lda(self.split, lla.LDAConfig(K, n_sweeps=3), 1)
        self.start = self.lda.topics
        self.models = dict(self._models())
        self.fits = dict(self._fits())

    def _models(self) -> Iterator[tuple[str, Model]]:
        kinds: dict[str, dict[str, Any]] = {
            "topic": {},
            "personal": {"emission": "personal"},
            "word": {"model": "word_lla"},
            "lstm": {"model": "word_lstm"},
            "letters": {"model": "char_lla"},
            "sources": {"sources": ("next", "own_next", "recent"), "emission": "personal"},
            "gate of words": {"sources": ("recent",), "model": "word_lla"},
            "topic form": {"sources": ("next", "recent"), "source_form": "topic"},
        }
        for name, options in kinds.items():
            config = replace(SMALL_SEM, **options)
            start = self.start if config.has_topics else None
            yield name, lla.fit_sem(self.split, config, 1, start=start)

    def _fits(self) -> Iterator[tuple[str, Any]]:
        for key, family in FAMILIES.items():
            if key != "oracle":
                config = family.configure(SETTINGS.get(key, {}))
                start = {"start": self.start} if family.needs_start(config) else {}
                yield key, family.fit(self.split, config, 1, **start)

    def network(self, name: str) -> Network:
        """Of one of the models."""
        return self.models[name].network
