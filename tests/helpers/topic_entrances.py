"""Entrances of what reads topics: tables, alignment, passages, quality, intrusion."""

from collections.abc import Iterator

import numpy as np
import pandas as pd
from entrance_world import K, V, World, wrong_topics
from fuzzing import Argument, Entrance

from lla.topics import alignment, coherence, intrusion, passages, quality, tables, words

N = Argument([1, 40], [0, -1, 1.5])
ORDER = {
    "by": Argument(["probability", "lift", "relevance"], ["rank", 3]),
    "relevance": Argument([0, 0.6, 1], [-0.1, 1.1, "a"]),
    "min_count": Argument([0, 5], [-1, "a"]),
}


def of_topics(world: World) -> Iterator[Entrance]:
    """All of them."""
    yield from _of_words(world)
    yield from _of_two_models(world)
    yield from _of_passages(world)
    yield from _of_quality(world)


def _of_words(world: World) -> Iterator[Entrance]:
    corpus, lda = world.corpus, world.lda
    phi, topic_tokens = lda.phi(), lda.counts()[1]
    tokens = Argument([topic_tokens], [topic_tokens[:-1], -topic_tokens - 1, "a", np.zeros(K)])
    matrix = Argument([phi], [phi[0], phi.astype(str)])
    vocabulary = Argument([corpus.vocabulary], [corpus.vocabulary[:-1]], anything=False)
    yield Entrance("word_lift", words.word_lift, {"phi": matrix, "topic_tokens": tokens})
    ordered = {"n": N, **ORDER, "topic_tokens": Argument([topic_tokens])}
    yield Entrance("top_word_ids", words.top_word_ids, {"phi": matrix, **ordered})
    named = {"phi": Argument([phi], [phi[:-1], phi.T]), "vocabulary": vocabulary, **ordered}
    yield Entrance("top_words by order", words.top_words, named)
    yield Entrance("topic_table by order", tables.topic_table, named)
    yield Entrance("LDA.topic_table by order", lda.topic_table, {"n": N, **ORDER})
    model = world.models["topic"]
    yield Entrance("Model.topic_table by order", model.topic_table, {"n": N, **ORDER})
    explained = {
        "probability": Argument([np.full((2, K), 1 / K)], [np.zeros((2, K + 1)), np.zeros(3)]),
        "items": Argument([["a", "b"]], [["a"]], anything=False),
        "topic_names": Argument([["x"] * K], [["x"]], anything=False),
        "source_names": Argument([()], [("next",)], anything=False),
    }
    yield Entrance("explanation_table", tables.explanation_table, explained)
    frame = Argument([lda.topic_table(3), pd.DataFrame()], ["a"])
    widths = Argument([20, 100], [0, "a"])
    yield Entrance("as_text", tables.as_text, {"table": frame, "width": widths})


def _of_two_models(world: World) -> Iterator[Entrance]:
    corpus, lda = world.corpus, world.lda
    phi, topic_tokens, n_tokens = lda.phi(), lda.counts()[1], world.split.observed.n_tokens
    other = world.models["topic"].emission.phi.numpy()
    vocabulary = Argument([corpus.vocabulary], [corpus.vocabulary[:-1]], anything=False)
    tokens = Argument([topic_tokens], [topic_tokens[:-1], -topic_tokens - 1, "a"])
    pair = {
        "phi": Argument([phi], [phi[:-1], phi[:, :-1]]),
        "other": Argument([other]),
        "vocabulary": vocabulary,
    }
    yield Entrance(
        "alignment_table",
        alignment.alignment_table,
        {**pair, "n": N, "topic_tokens": tokens, "other_tokens": tokens},
    )
    lists = Argument([["a", "b"], []], [3, None, [0.5]])
    yield Entrance("word_changes", alignment.word_changes, {"before": lists, "after": lists})
    yield Entrance(
        "most_changed",
        alignment.most_changed,
        {
            "overlap": Argument([np.ones(K)], [np.ones((K, 1)), "a", None]),
            "tokens": tokens,
            "n": N,
            "min_tokens": Argument([0, 500], [-1, "a"]),
            "min_overlap": Argument([0, 0.5], [-1, 1, "a"]),
        },
    )
    topics = Argument([world.start], wrong_topics(n_tokens))
    n_topics = Argument([K], [1, 0, "a"])
    yield Entrance(
        "topic_contingency",
        alignment.topic_contingency,
        {"topics": topics, "other": topics, "n_topics": n_topics, "n_other": n_topics, "size": N},
    )
    counts = alignment.topic_contingency(world.start, world.start, K, K)
    rule = {
        "counts": Argument([counts], [counts[0], counts - n_tokens - 1, counts / 2]),
        "min_share": Argument([0, 0.2], [1, -0.1, "a"]),
        "min_ratio": Argument([0, 2.0], [-1, "a"]),
        "min_tokens": Argument([0, 500], [-1, "a"]),
    }
    yield Entrance("split_topics", alignment.split_topics, rule)
    names = Argument([("LDA", "LLA")], [("LDA",), "a", 3, [1, 2]])
    table = {**rule, **pair, "n_topics": N, "n_words": N, "names": names}
    yield Entrance("split_table", alignment.split_table, table)


def _of_passages(world: World) -> Iterator[Entrance]:
    observed = world.split.observed
    ones = np.ones(observed.n_tokens)
    yield Entrance(
        "topic_passages",
        passages.topic_passages,
        {
            "corpus": Argument([observed], [world.split, world.corpus]),
            "topics": Argument([world.start], wrong_topics(observed.n_tokens)),
            "topic": Argument([0, K - 1], [K, -1, "a"]),
            "n_topics": Argument([K], [0, "a"]),
            "length": N,
            "n": N,
            "weights": Argument([None, ones], [ones[:-1], -ones, ones * np.nan, "a"]),
        },
    )
    found = passages.topic_passages(observed, world.start, 0, K)
    shown = {
        "passages": Argument([found, []], ["a", ["a"], found[0]]),
        "names": Argument([(), ["a", "b", "c"]], [3, [None]]),
    }
    yield Entrance("passages_text", passages.passages_text, shown)
    yield Entrance("passages_html", passages.passages_html, shown)


def _of_quality(world: World) -> Iterator[Entrance]:
    corpus, phi = world.corpus, world.lda.phi()
    observed, elsewhere = world.split.observed, world.others[1]
    vocabulary = Argument([corpus.vocabulary], [corpus.vocabulary[:-1]], anything=False)
    windows = Argument([None, 1, 5, 110], [0, -1, "a"])
    top = words.top_words(phi, corpus.vocabulary, 4)
    lists = Argument([top, [["a"], []]], [[], [["a", "a"]], [[]], "a", [3]])
    references = Argument([elsewhere], [world.split, "a"])
    counted = {"topics": lists, "reference": references, "window": windows}
    yield Entrance("window_counts", coherence.window_counts, counted)
    counts = Argument([coherence.window_counts(top, elsewhere, 5)], [phi])
    for measure in (coherence.npmi, coherence.topic_npmi, coherence.topic_cv):
        yield Entrance(measure.__name__, measure, {"counts": counts})
    for share in (quality.diversity, quality.uniqueness, quality.junk_share):
        yield Entrance(share.__name__, share, {"topics": lists})
    excluded = Argument([["the"], (), {"w1"}], [3, [0.5]])
    stop = {"topics": lists, "stop_words": excluded}
    yield Entrance("stop_word_share", quality.stop_word_share, stop)
    phis = Argument([[phi], [phi, phi]], [[], [phi, phi[:-1]], [phi, phi[:, :-1]], phi[0], "a"])
    yield Entrance("stability", quality.stability, {"phis": phis, "n": N})
    models = {"LDA": [phi, phi], "LLA": [phi[:, :2]]}
    yield Entrance(
        "topic_quality",
        quality.topic_quality,
        {
            "models": Argument([models], [{}, {"LDA": phi}, {"LDA": []}, {"LDA": [phi[:-1]]}]),
            "training": Argument([observed], [world.split]),
            "reference": Argument([elsewhere], [world.split, observed, corpus]),
            "n": Argument([2, 40], [1, 0, "a"]),
            "stop_words": Argument([None, ["the"]], [3]),
            "npmi_window": windows,
            "cv_window": windows,
        },
    )
    yield Entrance(
        "intrusion_test",
        intrusion.intrusion_test,
        {
            "phi": Argument([phi], [phi[:-1], phi[0]]),
            "vocabulary": vocabulary,
            "seed": Argument([0, 7], [-1, 0.5, "a"]),
            "n_questions": Argument([1], [0, V, "a"]),
            "n_words": Argument([1, 2], [0, "a"]),
        },
    )
    questions, key = intrusion.intrusion_test(phi, corpus.vocabulary, 1, n_questions=1, n_words=2)
    asked = Argument([questions, []], [3, None, [3]])
    yield Entrance("questions_text", intrusion.questions_text, {"questions": asked})
    answers = Argument([[0], [2]], [[], [0, 1], [-1], ["a"], 3])
    keys = Argument([key], [[], ["a"], 3])
    yield Entrance("intrusion_score", intrusion.intrusion_score, {"key": keys, "answers": answers})
