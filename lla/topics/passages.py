"""Passages that show what a topic is about: found in the corpus, as text, as coloured HTML."""

import html
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lla.common.arrays import as_array, blocks, check_topics
from lla.common.errors import InputError, check_instance, check_integer, check_list, check_texts
from lla.corpus import Corpus

# Paul Tol's "light" scheme: backgrounds of black text that people with any colour vision tell
# apart. The first is for the topic that was asked for; topics beyond the eighth are grey.
PALETTE = (
    *("#EE8866", "#77AADD", "#EEDD88", "#44BB99", "#FFAABB", "#99DDFF", "#BBCC33", "#AAAA00"),
)
OTHER = "#DDDDDD"


@dataclass(frozen=True)
class Passage:
    """Consecutive tokens of one document.

    Attributes
    ----------
    topic : that the passage was chosen for
    document, name : number of the document, and its name ("" where it has none)
    start : place of the first token in the document, from 0
    share : of its tokens that have the topic; with weights, their mean
    words, topics : of its tokens
    """

    topic: int
    document: int
    name: str
    start: int
    share: float
    words: tuple[str, ...]
    topics: tuple[int, ...]


def topic_passages(
    corpus: Corpus,
    topics: np.ndarray,
    topic: int,
    n_topics: int,
    *,
    length: int = 20,
    n: int = 5,
    weights: np.ndarray | None = None,
) -> list[Passage]:
    """The windows of tokens in which a topic is most frequent, at most one per document.

    Documents are compared by the sum over their best window; a document that is shorter than a
    window is one. Of equal windows the first in the corpus is taken. Fewer than `n` passages are
    returned where fewer documents have the topic.

    Parameters
    ----------
    corpus : D documents, N tokens
    topics : (N,) assignments of its tokens
    topic : what is looked for, 0 to `n_topics` - 1
    length : tokens of a window
    n : passages wanted
    weights : (N,) what a token counts, 0 or more, such as p(z_t = topic | w); by default 1 if the
        token has the topic, else 0
    """
    check_instance("corpus", corpus, Corpus)
    check_integer("n_topics", n_topics)
    check_integer("topic", topic, least=0, most=n_topics - 1)
    check_integer("length", length)
    check_integer("n", n)
    topics = check_topics("topics", topics, corpus.n_tokens, n_topics)
    if weights is not None:
        weights = _check_weights(weights, corpus.n_tokens)
    best = np.zeros(corpus.n_documents)  # sum over the best window of each document
    start = np.zeros(corpus.n_documents, np.int64)
    for documents, places in blocks(corpus.offsets, 0, corpus.n_documents):
        value = topics[places] == topic if weights is None else weights[places]
        offsets = corpus.offsets[documents.start : documents.stop + 1] - places.start
        best[documents], start[documents] = _best_windows(value, offsets, length)
    # Sums of floats differ in their last bits from place to place; such windows are equal.
    order = np.argsort(-best.round(9), kind="stable")[:n]
    return [
        _passage(corpus, topics, int(topic), int(d), int(start[d]), length, float(best[d]))
        for d in order
        if best[d] > 0
    ]


def _best_windows(
    values: np.ndarray, offsets: np.ndarray, length: int
) -> tuple[np.ndarray, np.ndarray]:
    """The largest sum over `length` consecutive tokens of each document, and where it starts.

    Parameters
    ----------
    values : (N,)
    offsets : (D+1,)

    Returns
    -------
    best, start : (D,), (D,) the first of the best windows, counted from the document's start
    """
    n_tokens = len(values)
    total = np.concatenate([[0.0], np.cumsum(values, dtype=np.float64)])
    document = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    # A window that starts late in a document ends with it. It is within the last whole one, which
    # starts before it and so is taken first.
    end = np.minimum(np.arange(n_tokens) + length, offsets[1:][document])
    window = total[end] - total[:-1]
    best = np.maximum.reduceat(window, offsets[:-1])
    close = window.round(9) >= best[document].round(9)
    place = np.where(close, np.arange(n_tokens), n_tokens)
    start = np.minimum.reduceat(place, offsets[:-1]) - offsets[:-1]
    return best, start


def passages_text(passages: Sequence[Passage], names: Sequence[str] = ()) -> str:
    """Passages as plain text: words of the topic that was asked for in brackets.

    Parameters
    ----------
    names : of the K topics, for the heading; their numbers where there are none
    """
    passages = _check_passages(passages)
    names = check_texts("names", names)
    lines = []
    for passage in passages:
        words = [
            f"[{word}]" if topic == passage.topic else word
            for word, topic in zip(passage.words, passage.topics, strict=True)
        ]
        lines += [_heading(passage, names), f"    {' '.join(words)}"]
    return "\n".join(lines)


def passages_html(passages: Sequence[Passage], names: Sequence[str] = ()) -> str:
    """Passages as HTML for a notebook, as ``IPython.display.HTML`` shows it.

    Every word stands on the colour of its topic, and says the topic when it is pointed at; the
    topic that was asked for is underlined, too. The eight most frequent topics have colours of
    their own. All texts are escaped.

    Parameters
    ----------
    names : of the K topics, for heading and legend; their numbers where there are none
    """
    passages = _check_passages(passages)
    names = check_texts("names", names)
    asked = dict.fromkeys(passage.topic for passage in passages)
    count = Counter(topic for passage in passages for topic in passage.topics)
    order = [*asked, *(k for k, _ in sorted(count.items(), key=_by_count) if k not in asked)]
    colours = dict(zip(order, PALETTE, strict=False))
    legend = " ".join(_coloured(_topic_name(k, names), k, colours, names) for k in colours)
    if len(order) > len(colours):
        legend += " " + _span("other topics", f"background:{OTHER}", "other topics")
    parts = ['<div style="line-height:1.9;max-width:60em">', f"<p>{legend}</p>"]
    for passage in passages:
        words = " ".join(
            _coloured(word, topic, colours, names, mark=topic == passage.topic)
            for word, topic in zip(passage.words, passage.topics, strict=True)
        )
        parts.append(f"<p><b>{html.escape(_heading(passage, names))}</b><br>{words}</p>")
    return "\n".join([*parts, "</div>"])


def _passage(
    corpus: Corpus,
    topics: np.ndarray,
    topic: int,
    document: int,
    start: int,
    length: int,
    weight: float,
) -> Passage:
    first = int(corpus.offsets[document]) + start
    end = min(first + length, int(corpus.offsets[document + 1]))
    return Passage(
        topic=topic,
        document=document,
        name=corpus.names[document] if corpus.names else "",
        start=start,
        share=weight / (end - first),
        words=tuple(corpus.vocabulary[w] for w in corpus.words[first:end]),
        topics=tuple(topics[first:end].tolist()),
    )


def _heading(passage: Passage, names: Sequence[str]) -> str:
    document = passage.name or f"document {passage.document}"
    place = f"words {passage.start + 1} to {passage.start + len(passage.words)}"
    return f"{_topic_name(passage.topic, names)} · {document}, {place} · {passage.share:.0%}"


def _topic_name(topic: int, names: Sequence[str]) -> str:
    return f"{topic}: {names[topic]}" if topic < len(names) else f"topic {topic}"


def _coloured(
    text: str, topic: int, colours: dict[int, str], names: Sequence[str], mark: bool = False
) -> str:
    style = f"background:{colours.get(topic, OTHER)}"
    if mark:
        style += ";text-decoration:underline"
    return _span(text, style, _topic_name(topic, names))


def _span(text: str, style: str, title: str) -> str:
    """Black on its background, also where the notebook's theme is dark."""
    style = f"color:#111;{style};padding:1px 3px;border-radius:3px"
    return f'<span style="{style}" title="{html.escape(title)}">{html.escape(text)}</span>'


def _by_count(entry: tuple[int, int]) -> tuple[int, int]:
    """The most frequent topic first, of equally frequent ones the lower number."""
    topic, count = entry
    return -count, topic


def _check_passages(passages: Sequence[Passage]) -> tuple[Passage, ...]:
    found = check_list("passages", passages, "a list, such as topic_passages returns")
    for passage in found:
        check_instance("passages", passage, Passage)
    return found


def _check_weights(weights: np.ndarray, n_tokens: int) -> np.ndarray:
    """`weights` as (N,) numbers; raise InputError unless they are finite and 0 or more."""
    array = as_array("weights", weights)
    if array.shape != (n_tokens,) or array.dtype.kind not in "fiu":
        raise InputError(
            f"weights: {array.dtype} {array.shape}; give a number for each of the {n_tokens} tokens"
        )
    if not np.isfinite(array).all() or (array < 0).any():
        raise InputError("weights: give finite numbers, 0 or more")
    return array
