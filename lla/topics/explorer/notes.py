"""What the page says about itself: which numbers are approximate, what is left out."""

from collections.abc import Mapping
from typing import Any

from lla.corpus import Corpus
from lla.topics.explorer.sources import PageSources
from lla.topics.explorer.weights import SparsePhi


def notes_of(
    model: Any,
    corpus: Corpus,
    phi: SparsePhi,
    n_top: int,
    facts: Mapping[str, Any],
    sources: PageSources | None = None,
) -> list[str]:
    """A sentence or two each, for the end of the page.

    Parameters
    ----------
    model : an `ExplorableModel`
    phi : what the page holds of φ
    n_top : likeliest words of each topic that are kept in any case
    facts : "documents" of the corpus, how many were "read", and whether their topics were "drawn"
    sources : beside the topics
    """
    notes = ["The weights of the LSTM and the entries of φ are rounded to 16 bits."]
    personal = model.emission_kind == "personal"
    notes.append(_reading(model.network.config.input, personal))
    if personal:
        notes.append(
            "The emission is personal: words of the text so far, with the likeliest topic of each, "
            "are likelier to come again. The words of a topic and the topics of a word are φ's."
        )
    if model.network.config.running_counts:
        notes.append(
            "The next topic also depends on how often each topic has come so far; here the "
            "likeliest topic of each word is counted."
        )
    if sources is not None:
        notes.append(_sources(model.emission.sources, sources))
    notes.append(
        "Two and more places ahead, the LSTM is given the expected input in place of a drawn one; "
        "the model averages over futures that it draws."
    )
    notes += [_phi(phi, n_top), *_words(corpus, phi), _topics(facts)]
    return notes


def _reading(reads: str, personal: bool) -> str:
    """How a text is read."""
    if reads == "topic":
        return (
            "As a text is read, the LSTM is given the likeliest topic of each word. The model "
            "carries many possible histories of topics (particles), so its forecast differs where "
            "topics are uncertain."
        )
    text = (
        f"The LSTM reads {reads}s; the page looks up the embedding of each word and cannot read "
        "words that it does not know. The next topics are those of the model, apart from rounding"
    )
    if personal:
        return f"{text}; the next words are not: the model carries many histories of topics."
    return f"{text}."


def _sources(counted: Any, sources: PageSources) -> str:
    """What sources are, and what the page keeps of their counts."""
    n, total = len(sources.followers), int(counted.count.sum())
    text = (
        f"Beside the topics, a word may come from a source: {', '.join(sources.names)}. A text is "
        "taken as new to the model, also one of the corpus it was trained on"
    )
    if total == 0:
        return f"{text}."
    share = float(sources.counts.sum()) / total
    return (
        f"{text}. Of the pairs of neighbours that were counted, the page holds {n:,}, which are "
        f"{share:.0%} of their occurrences; the others follow the frequency of words."
    )


def _phi(phi: SparsePhi, n_top: int) -> str:
    """What is kept of φ."""
    n_words, n_topics = len(phi.offsets) - 1, len(phi.rest)
    size, n = n_words * n_topics, len(phi.values)
    if n == size:
        return f"All {size:,} entries of φ are in the page."
    left = 1.0 - float(phi.values.sum()) / n_topics
    return (
        f"The page holds {n:,} of {size:,} entries of φ: the {n_top} likeliest words of every "
        "topic, the likeliest topics of every word, and the largest others. All other words of a "
        f"topic share its remaining probability equally; it is {left:.0%} on average."
    )


def _words(corpus: Corpus, phi: SparsePhi) -> list[str]:
    """Which words are left out."""
    n_words = len(phi.offsets) - 1
    if n_words == corpus.n_words:
        return []
    return [
        f"The page knows the {n_words:,} most frequent of {corpus.n_words:,} words. The others are "
        "left out of passages and texts, and φ is renormalised over the known words."
    ]


def _topics(facts: Mapping[str, Any]) -> str:
    """Where the topics of the corpus come from."""
    n, of = facts["read"], facts["documents"]
    which = f"all {n:,} documents" if n == of else f"{n:,} of {of:,} documents"
    how = (
        "drawn in training"
        if facts["drawn"]
        else "the likeliest given the words before, by the page's rule"
    )
    return (
        f"Sizes of topics, passages and what follows what are counted in {which}; the topics of "
        f"their words were {how}."
    )


def tokenizer_of(model: Any, corpus: Corpus) -> dict[str, Any] | None:
    """How a typed text becomes words; None where items are given, one per line."""
    found = corpus.manifest.get("tokenizer") or (model.provenance.get("data") or {}).get(
        "tokenizer"
    )
    if not isinstance(found, Mapping):
        return None
    return {"rule": str(found.get("rule")), "keep_case": bool(found.get("keep_case"))}
