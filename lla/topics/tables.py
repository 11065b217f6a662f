"""Topics, documents and forecasts as pandas tables that people can read."""

import numbers
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from lla.common.arrays import as_array
from lla.common.errors import InputError, check_instance, check_integer
from lla.topics.words import check_phi, top_word_ids, top_words, word_lift

if TYPE_CHECKING:
    import pandas as pd


def topic_table(
    phi: np.ndarray,
    vocabulary: Sequence[str],
    n: int = 10,
    share: np.ndarray | None = None,
    *,
    by: str = "probability",
    relevance: float = 0.6,
    topic_tokens: np.ndarray | None = None,
    min_count: float = 5,
) -> "pd.DataFrame":
    """A row per topic: its share of the tokens, and its first `n` words.

    Each word is followed by p(word | topic), and where words are ordered by lift by how many
    times as likely it is in the topic as in all tokens, such as 12.3×.

    Parameters
    ----------
    phi : (V, K)
    share : (K,); the largest topic comes first. Without it the column is left out, and topics
        are in the order of their numbers
    by, relevance, topic_tokens, min_count : the order of the words, see
        `lla.topics.words.top_word_ids`
    """
    import pandas as pd

    check_integer("n", n)
    check_phi(phi, len(vocabulary))
    if share is not None and np.shape(share) != phi.shape[1:]:
        raise InputError(f"share: {np.shape(share)}; give one of each of the {phi.shape[1]} topics")
    order = top_word_ids(
        phi, n, by=by, relevance=relevance, topic_tokens=topic_tokens, min_count=min_count
    )
    shown, form = phi, "{} ({:.3f})"  # (V, K)
    if by == "lift" and topic_tokens is not None:
        shown, form = word_lift(phi, topic_tokens), "{} ({:.1f}×)"
    columns = {
        rank: [form.format(vocabulary[w], shown[w, k]) for k, w in enumerate(words)]
        for rank, words in enumerate(order, start=1)
    }
    table = pd.DataFrame(columns, index=pd.RangeIndex(phi.shape[1], name="topic"))
    if share is None:
        return table
    table.insert(0, "share", np.asarray(share, np.float64))
    return table.sort_values("share", ascending=False, kind="stable")


class TopicTables:
    """Topics by their words: base of the models that have topics, LDA and LLA."""

    def _topic_words(self) -> tuple[np.ndarray, Sequence[str]]:
        """φ (V, K), and the V words by name."""
        raise NotImplementedError

    def _topic_sizes(self) -> tuple[np.ndarray | None, int]:
        """n_k (K,), None where it is not known, and the number of tokens they are a share of."""
        raise NotImplementedError

    def topic_names(self, n: int = 3) -> list[str]:
        """A name for every topic: its `n` likeliest words, likeliest first."""
        phi, vocabulary = self._topic_words()
        return [", ".join(words) for words in top_words(phi, vocabulary, n)]

    def topic_table(
        self,
        n: int = 10,
        *,
        by: str = "probability",
        relevance: float = 0.6,
        min_count: float = 5,
    ) -> "pd.DataFrame":
        """A row per topic, the largest first: its share of the tokens, and its `n` top words.

        Where it is not known how many tokens each topic has, as in a model that sums topics out,
        the share is left out, and words can be ordered by probability alone.

        Parameters
        ----------
        by, relevance, min_count : the order of the words: "probability", "lift" or "relevance"
            (see `lla.topics.words.top_word_ids`)
        """
        phi, vocabulary = self._topic_words()
        topic_tokens, n_tokens = self._topic_sizes()
        return topic_table(
            phi,
            vocabulary,
            n,
            share=None if topic_tokens is None else topic_tokens / n_tokens,
            by=by,
            relevance=relevance,
            topic_tokens=topic_tokens,
            min_count=min_count,
        )


def as_text(table: "pd.DataFrame", width: int = 100) -> str:
    """Any table of this folder as plain text, for a terminal or a log.

    A row begins with its name and its numbers. Its words follow, indented: those in columns
    numbered 1, 2, ... together, any other text after the name of its column.

    Parameters
    ----------
    width : characters per line; longer lines are broken between words
    """
    import pandas as pd

    check_instance("table", table, pd.DataFrame)
    check_integer("width", width, least=20)
    is_text = [not pd.api.types.is_numeric_dtype(kind) for kind in table.dtypes]
    lines: list[str] = []
    for label, row in zip(table.index, table.itertuples(index=False, name=None), strict=True):
        cells = list(zip(table.columns, row, is_text, strict=True))
        numbers = [f"{name} {_number(value)}" for name, value, text in cells if not text]
        ranked = [str(value) for name, value, text in cells if text and _is_rank(name)]
        named = [
            f"{name}: {value}"
            for name, value, text in cells
            if text and not _is_rank(name) and str(value)
        ]
        title = f"{table.index.name or 'row'} {label}"
        lines += _wrapped("   ".join([title, *numbers]), width, "")
        for line in [", ".join(ranked), *named]:
            lines += _wrapped(line, width, "    ")
    return "\n".join(lines)


def _is_rank(name: object) -> bool:
    """Whether a column is numbered: the first, the second, ... word."""
    return isinstance(name, numbers.Integral)


def _number(value: object) -> str:
    return f"{value:,}" if isinstance(value, numbers.Integral) else f"{value:.3f}"


def _wrapped(line: str, width: int, indent: str) -> list[str]:
    return textwrap.wrap(
        line,
        width,
        initial_indent=indent,
        subsequent_indent=indent + ("  " if indent else ""),
        break_long_words=False,
        break_on_hyphens=False,
    )


def document_table(proportions: np.ndarray, names: Sequence[str] = ()) -> "pd.DataFrame":
    """A row per document, a column per topic.

    Parameters
    ----------
    proportions : (D, K)
    names : of the documents; their numbers where they have none
    """
    import pandas as pd

    if proportions.ndim != 2 or len(names) not in (0, len(proportions)):
        raise InputError(f"proportions: {proportions.shape}; give (D, K) of {len(names)} documents")
    n_documents, n_topics = proportions.shape
    index = pd.Index(names, dtype=object) if len(names) else pd.RangeIndex(n_documents)
    columns = pd.RangeIndex(n_topics, name="topic")
    return pd.DataFrame(proportions, index=index.rename("document"), columns=columns)


def explanation_table(
    probability: np.ndarray,
    items: Sequence[str],
    topic_names: Sequence[str],
    source_names: Sequence[str] = (),
) -> "pd.DataFrame":
    """A row per event: its item, what produced it, and the probabilities of topics and sources.

    Parameters
    ----------
    probability : (T, K + S) of the K topics, then of the S sources
    items : (T,) names
    topic_names, source_names : K and S; a source is named as it is, a topic by its number, too
    """
    import pandas as pd

    probability, n_topics = as_array("probability", probability), len(topic_names)
    if probability.shape != (len(items), n_topics + len(source_names)):
        raise InputError(
            f"probability: {probability.shape}; give ({len(items)}, {n_topics} topics and "
            f"{len(source_names)} sources)"
        )
    names = [f"topic {k}: {name}" for k, name in enumerate(topic_names)] + [*source_names]
    likeliest = probability.argmax(axis=1)
    columns: dict[str, object] = {
        "item": list(items),
        "produced by": [names[k] for k in likeliest],
        "probability": probability.max(axis=1),
        "topics": probability[:, :n_topics].sum(axis=1),
    }
    for j, name in enumerate(source_names, n_topics):
        columns[name] = probability[:, j]
    return pd.DataFrame(columns, index=pd.RangeIndex(1, len(items) + 1, name="event"))


def forecast_table(ahead: np.ndarray, names: Sequence[str], n: int = 3) -> "pd.DataFrame":
    """A row per step, and its `n` likeliest topics by name, each with its probability.

    Parameters
    ----------
    ahead : (steps, K), as `Model.topics_ahead` returns it
    names : of the K topics
    """
    import pandas as pd

    check_integer("n", n)
    if ahead.ndim != 2 or ahead.shape[1] != len(names):
        raise InputError(f"ahead: {ahead.shape}; give (steps, K) of the {len(names)} topics")
    order = np.argsort(-ahead, axis=1, kind="stable")[:, :n]  # (steps, n)
    rows = [
        [f"{p[k]:.0%} {names[k]}" for k in likeliest]
        for p, likeliest in zip(ahead, order, strict=True)
    ]
    index = pd.RangeIndex(1, len(ahead) + 1, name="step")
    return pd.DataFrame(rows, index=index, columns=range(1, order.shape[1] + 1))
