"""Topics, documents and forecasts as pandas tables that people can read."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from lla.common.errors import InputError, check_integer
from lla.topics.words import check_phi

if TYPE_CHECKING:
    import pandas as pd


def topic_table(
    phi: np.ndarray, vocabulary: Sequence[str], n: int = 10, share: np.ndarray | None = None
) -> "pd.DataFrame":
    """A row per topic: its share of the tokens, and its `n` likeliest words with p(word | topic).

    Parameters
    ----------
    phi : (V, K)
    share : (K,); the largest topic comes first. Without it the column is left out, and topics
        are in the order of their numbers
    """
    import pandas as pd

    check_integer("n", n)
    check_phi(phi, len(vocabulary))
    if share is not None and np.shape(share) != phi.shape[1:]:
        raise InputError(f"share: {np.shape(share)}; give one of each of the {phi.shape[1]} topics")
    order = np.argsort(-phi, axis=0, kind="stable")[:n]  # (n, K)
    columns = {
        rank: [f"{vocabulary[w]} ({phi[w, k]:.3f})" for k, w in enumerate(words)]
        for rank, words in enumerate(order, start=1)
    }
    table = pd.DataFrame(columns, index=pd.RangeIndex(phi.shape[1], name="topic"))
    if share is None:
        return table
    table.insert(0, "share", np.asarray(share, np.float64))
    return table.sort_values("share", ascending=False, kind="stable")


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
