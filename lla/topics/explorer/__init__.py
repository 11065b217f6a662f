"""A model as one HTML page: its topics, their words and order, and its forecast as a text is read.

`rule.py` is what the page calculates, `rule.js` the same in the page, and a test compares them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from lla.common.arrays import count_ids
from lla.common.display import Summarized
from lla.common.errors import InputError, check_integer, check_path, check_text, describe
from lla.common.files import atomic_write, check_writable
from lla.corpus import Corpus, check_same_vocabulary
from lla.topics.explorer.contents import (
    assigned_topics,
    followers,
    histories,
    passages,
)
from lla.topics.explorer.notes import notes_of, tokenizer_of
from lla.topics.explorer.page import (
    counts_data,
    excerpts_data,
    followers_data,
    page_name,
    page_text,
    phi_data,
    short_numbers,
    sources_data,
    weights_data,
)
from lla.topics.explorer.rule import Rule
from lla.topics.explorer.sources import PageSources, page_sources
from lla.topics.explorer.weights import Weights, count_weights_of, sparse_phi, weights_of

__all__ = ["ExplorableModel", "Explorer", "explore"]

MAX_BYTES = 3_000_000
MAX_IDS = 2**16  # topics, and words of a page: their numbers have 16 bits
WORDS_SHARE = 0.4  # of the page, at most, for words and what the LSTM reads of them
PAIRS_SHARE = 0.2  # of the page, at most, for what follows what, where there are sources
PAIR_BYTES = 4 * 4 / 3  # follower and count of 16 bits each, in base64
SOURCE_WORD_BYTES = 10 * 4 / 3  # of each word: its pairs, its total, p(w)
N_TOP = 30  # words of each topic that are on the page in any case, where there is room
MIN_TOP = 10
ENTRY_BYTES = 4 * 4 / 3  # of φ: topic and value of 16 bits each, in base64
N_HISTORIES, HISTORY = 40, 120
FRAME_HEIGHT = 900  # pixels, in a notebook


class ExplorableModel(Protocol):
    """What `explore` needs of a model; `lla.model.Model` has it."""

    @property
    def kind(self) -> str:
        """Such as "topic_lla"."""

    @property
    def emission_kind(self) -> str | None:
        """ "shared" or "personal"; None where the LSTM predicts words."""

    @property
    def network(self) -> Any:
        """A `lla.lstm.Network`."""

    @property
    def emission(self) -> Any:
        """It has φ, `phi` (V, K), and a personal one `tau` (K,), as tensors.

        With sources it has `sources`, a `lla.inference.emission.sources.Sources`, and its `topics`
        has τ.
        """

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """The V words."""

    @property
    def topics(self) -> np.ndarray:
        """Of the tokens of `observed`, (N,)."""

    @property
    def observed(self) -> Corpus | None:
        """What the model was trained on, where it is known."""

    @property
    def provenance(self) -> Mapping[str, Any]:
        """What it was made from; "data" may hold the tokenizer."""


@dataclass(frozen=True, repr=False)
class Explorer(Summarized):
    """A page that was written; at the end of a notebook's cell it is shown.

    Attributes
    ----------
    path : of the file, to be opened in a browser; it needs no network
    page : its text, HTML
    """

    path: Path
    page: str

    def summary_facts(self) -> dict[str, Any]:
        """Where it is, and how large."""
        return {"path": str(self.path), "bytes": len(self.page.encode("utf-8"))}

    def _repr_html_(self) -> str:
        """The page in a frame that can reach nothing outside itself."""
        return (
            f'<iframe title="{escape(str(self.path))}" sandbox="allow-scripts" '
            f'style="width:100%;height:{FRAME_HEIGHT}px;border:0" srcdoc="{escape(self.page)}">'
            "</iframe>"
        )


def explore(
    model: ExplorableModel,
    corpus: Corpus,
    path: str | Path,
    *,
    title: str = "",
    max_bytes: int = MAX_BYTES,
) -> Explorer:
    """Write one HTML page to look at a model's topics, and to watch it read and forecast.

    The page opens from the disk and loads nothing else. What it calculates is `rule.Rule`, with
    weights of 16 bits; it says itself what is approximate.

    Parameters
    ----------
    model : an LLA of any input, as `lla.fit_sem` or `lla.load_model` returns it; also with running
        counts, or with sources behind a gate
    corpus : where passages and histories are taken from. Where it is `model.observed`, tokens keep
        the topics that were drawn for them; else each has the likeliest given the words before
    path : of the file, usually ending in ``.html``; replaced if there
    title : of the page
    max_bytes : size of the page; entries of φ, and of a large vocabulary the rarest words, are left
        out until it fits

    Raises
    ------
    InputError
        When the model has no topics, or sources that are values of the topic; the corpus has other
        words, or the path cannot be written; or when the network alone does not fit into
        `max_bytes`.
    """
    phi = _check(model, corpus)
    check_text("title", title)
    check_integer("max_bytes", max_bytes)
    path = check_path("path", path)
    check_writable("path", path)
    page = _page(model, corpus, phi, title or "Topics and forecasts", max_bytes)
    with atomic_write(path, "w") as file:
        file.write(page)
    return Explorer(path, page)


def _check(model: ExplorableModel, corpus: Corpus) -> np.ndarray:
    """φ (V, K) of the model, which must be one of the corpus' words."""
    needed = ("kind", "emission_kind", "network", "emission", "vocabulary", "topics", "observed")
    if isinstance(model, type) or not all(hasattr(model, name) for name in needed):
        raise InputError(f"model is {describe(model)}: give an LLA, such as lla.fit_sem returns")
    if model.emission is None:
        raise InputError("model: it predicts words, it has no topics; give an LLA")
    names = getattr(model.emission, "source_names", ())
    if names and not getattr(model.network.config, "n_sources", 0):
        raise InputError(
            f"model: the sources {', '.join(names)} are values of the topic, which the page cannot "
            "show; give one with source_form 'gate'"
        )
    if getattr(model.network.config, "user_rank", 0):
        raise InputError(
            "model: its topics depend on the user, whom the page does not know; give one that was "
            "fitted without"
        )
    phi = model.emission.phi.numpy()
    check_same_vocabulary(corpus, model.vocabulary, len(phi))
    if phi.shape[1] > MAX_IDS:
        raise InputError(f"model: {phi.shape[1]} topics; the page shows {MAX_IDS} or fewer")
    return phi


def _page(
    model: ExplorableModel, corpus: Corpus, phi: np.ndarray, title: str, max_bytes: int
) -> str:
    """The page, of at most `max_bytes` bytes."""
    weights, counted = weights_of(model.network, phi), getattr(model.emission, "sources", None)
    chosen = _page_words(corpus, weights, max_bytes, has_sources=counted is not None)
    if len(chosen) < len(phi):
        weights, phi = weights.select(chosen), _scaled(phi[chosen])
    sources = None
    if counted is not None:
        sources = page_sources(counted, chosen, int(PAIRS_SHARE * max_bytes / PAIR_BYTES))
    parts = _parts(model, corpus, weights, phi, chosen, sources)
    data: dict[str, Any] = {"title": title, **parts}
    empty = data | {"phi": "", "notes": ["x" * 2000]}
    left = max_bytes - len(page_text(title, empty).encode("utf-8")) - 2 * len(phi) * 4 // 3
    left -= 12 * phi.shape[1]  # the value of the other words, as text
    n_entries = min(int(left / ENTRY_BYTES), phi.size)
    n_top = min(N_TOP, len(phi), n_entries // phi.shape[1])
    if n_top < min(MIN_TOP, len(phi)):
        # With more room the page knows more words, in this part of it.
        needed = max_bytes - left + (MIN_TOP + 1) * phi.shape[1] * ENTRY_BYTES
        least = int(needed / (1 - WORDS_SHARE - (PAIRS_SHARE if sources else 0)))
        raise InputError(
            f"max_bytes is {max_bytes}: the page of this model needs more; give {least} or more"
        )
    kept = sparse_phi(phi, n_entries, n_top)
    notes = notes_of(model, corpus, kept, n_top, parts["facts"], sources)
    return page_text(title, data | {"phi": phi_data(kept), "notes": notes})


def _scaled(phi: np.ndarray) -> np.ndarray:
    """Columns that sum to 1."""
    total = phi.sum(axis=0)
    return phi / np.where(total > 0, total, 1.0)


def _page_words(corpus: Corpus, weights: Weights, max_bytes: int, has_sources: bool) -> np.ndarray:
    """Ids of the words that the page knows, in their order: all, or the most frequent."""
    names = [len(page_name(word).encode("utf-8")) + 3 for word in corpus.vocabulary]
    cost = np.array(names, np.float64) + 2 * 4 / 3
    if weights.word_input is not None:
        cost += weights.word_input.shape[1] * 2 * 4 / 3
    if has_sources:
        cost += SOURCE_WORD_BYTES
    order = np.argsort(-count_ids(corpus.words, corpus.n_words), kind="stable")
    n_fit = int(np.searchsorted(np.cumsum(cost[order]), WORDS_SHARE * max_bytes, side="right"))
    return np.sort(order[: min(max(n_fit, 1), MAX_IDS)])


def _parts(
    model: ExplorableModel,
    corpus: Corpus,
    weights: Weights,
    phi: np.ndarray,
    chosen: np.ndarray,
    sources: PageSources | None,
) -> dict[str, Any]:
    """All that the page holds beside φ."""
    n_topics = phi.shape[1]
    page_word = np.full(corpus.n_words, -1)
    page_word[chosen] = np.arange(len(chosen))
    every = sparse_phi(phi, phi.size, 1) if phi.size <= 2**22 else sparse_phi(phi, 2**22, MIN_TOP)
    own = _own_topics(model, corpus)
    counts = count_weights_of(model.network)
    rule = Rule(weights, every, _tau(model), sources, counts)
    assigned = assigned_topics(corpus, own, rule, page_word)
    share = np.bincount(assigned.topics, minlength=n_topics) / max(len(assigned.topics), 1)
    excerpts = passages(assigned, n_topics, 3 if n_topics <= 300 else 2)
    return {
        "kind": model.kind,
        "facts": {
            "words": corpus.n_words,
            "documents": corpus.n_documents,
            "read": len(assigned.documents),
            "drawn": own is not None,
        },
        "tokenizer": tokenizer_of(model, corpus),
        "vocabulary": [page_name(corpus.vocabulary[w]) for w in chosen],
        "share": short_numbers(share),
        "follows": followers_data(followers(assigned, n_topics)),
        "passages": excerpts_data(excerpts, corpus.names),
        "histories": excerpts_data(histories(assigned, N_HISTORIES, HISTORY), corpus.names),
        "weights": weights_data(weights),
        "tau": None if rule.tau is None else short_numbers(rule.tau),
        "sources": None if sources is None else sources_data(sources),
        "counts": None if counts is None else counts_data(counts),
    }


def _tau(model: ExplorableModel) -> np.ndarray | None:
    """τ (K,) of a personal emission; None where φ is shared."""
    if model.emission_kind != "personal":
        return None
    of_topics = getattr(model.emission, "topics", model.emission)
    return of_topics.tau.numpy().astype(np.float64)


def _own_topics(model: ExplorableModel, corpus: Corpus) -> np.ndarray | None:
    """The topics that were drawn for the corpus' tokens; None where there are none."""
    observed, topics = model.observed, model.topics
    # With the objective "marginal", φ is learned by itself and the topics are not its own.
    if observed is None or hasattr(model.network, "topic_words"):
        return None
    if len(topics) != corpus.n_tokens or observed.n_documents != corpus.n_documents:
        return None
    return topics if observed.fingerprint == corpus.fingerprint else None
