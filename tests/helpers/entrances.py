"""The public entrances of `lla`, with values that each argument admits and values it refuses."""

import inspect
from collections.abc import Iterator
from dataclasses import fields
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from entrance_world import SETTINGS, SMALL_SEM, K, V, World, wrong_topics
from evaluation_entrances import of_calibration, of_groups, of_own_counts
from fuzzing import Argument, Entrance
from pass_entrances import of_passes
from peer_entrances import of_peers
from topic_entrances import of_topics
from topic_map_entrances import of_topic_map

import data_prep
import lla
from experiments.families import FAMILIES
from lla.corpus import Corpus, Split, split_corpus, split_last
from lla.evaluate import perplexity, ranking
from lla.inference import filter, gradient, histories, metropolis
from lla.lda import init_lda
from lla.lda.prediction import expected_document_topic, score_held_out
from lla.lstm import Network
from lla.model import Model
from lla.peers.own_counts import OwnCountsConfig
from lla.peers.text_autoencoders import PhraseConfig
from lla.samplers.lda import document_topic_counts
from lla.topics import tables, words


def entrances(world: World) -> list[Entrance]:
    """All of them."""
    return [
        *of_corpora(world),
        *of_configurations(),
        *of_families(world),
        *of_models(world),
        *of_sessions(world),
        *of_estimators(),
        *of_evaluation(world),
        *of_groups(world),
        *of_calibration(world),
        *of_own_counts(world),
        *of_peers(world),
        *of_reading(world),
        *of_topics(world),
        *of_topic_map(world),
        *of_passes(world),
        *of_raw_data(world),
    ]


def of_corpora(world: World) -> Iterator[Entrance]:
    corpus, split = world.corpus, world.split
    bad_words = [corpus.words.astype(int) + V, -corpus.words.astype(int) - 1, corpus.words[:-1]]
    bad_offsets = [
        corpus.offsets[::-1],
        corpus.offsets[:-1],
        corpus.offsets + 1,
        corpus.offsets * 2,
    ]
    n = corpus.n_documents
    yield Entrance(
        "Corpus",
        Corpus,
        {
            "words": Argument([corpus.words], bad_words),
            "offsets": Argument([corpus.offsets], bad_offsets),
            "vocabulary": Argument([corpus.vocabulary], [corpus.vocabulary[:3]]),
            "names": Argument([(), tuple(map(str, range(n)))], [("one",)]),
        },
    )
    documents = [corpus.document(d).tolist() for d in range(n)]
    yield Entrance(
        "Corpus.from_documents",
        Corpus.from_documents,
        {
            "documents": Argument([documents], [[[0], [V]], [[-1]], [[]], [], [["w1"]], [[0.5]]]),
            "vocabulary": Argument([corpus.vocabulary], [(), ("a", "a"), ("",)]),
        },
    )
    numbers = Argument([0, n - 1, np.int64(3)], [n, -1, 1.0, "w1", True])
    yield Entrance("Corpus.document", corpus.document, {"d": numbers})
    yield Entrance("Corpus.items", corpus.items, {"document": numbers})
    masks = Argument(
        [np.arange(n) < 4, np.array([2, 0]), [1, 2]],
        [np.zeros(n, bool), np.array([n]), np.array([-1]), np.ones(n + 1, bool), np.array([0.5])],
    )
    yield Entrance("Corpus.select", corpus.select, {"documents": masks})
    yield Entrance("Split.restrict", split.restrict, {"documents": masks})
    values = Argument([np.zeros(corpus.n_tokens)], [np.zeros(3), np.zeros((2, 2))])
    yield Entrance("Split.sum_held_out", split.sum_held_out, {"values": values})
    yield Entrance(
        "Split",
        Split,
        {
            "corpus": Argument([corpus], [world.others[0], world.others[2]]),
            "observed": Argument([split.observed], world.others),
            "n_observed": Argument([split.n_observed], [split.n_observed - 9, corpus.lengths + 1]),
            "development": Argument([split.development], [split.development.astype(int)]),
        },
    )
    yield Entrance(
        "split_corpus",
        split_corpus,
        {
            "corpus": Argument([corpus, *world.others], [split]),
            "observed": Argument([0.6, 0.01, 0.99], [0, 1, 1.5, -1]),
            "development": Argument([0, 0.1, 0.9], [1, -0.1]),
            "seed": Argument([0, 5], [-1, 0.5, "a"]),
        },
    )
    yield Entrance(
        "split_last",
        split_last,
        {
            "corpus": Argument([corpus, *world.others], [split]),
            "held_out": Argument([0.025, 0.99], [0, 1, 1.5, -1]),
            "least": Argument([1, 3], [0, -1, 0.5]),
            "most": Argument([3, 500], [0, -1, 0.5]),
            "development": Argument([0, 0.1, 0.9], [1, -0.1]),
            "seed": Argument([0, 5], [-1, 0.5, "a"]),
        },
    )
    saved = world.folder / "corpus"
    lla.save_corpus(corpus, saved)
    yield Entrance("load_corpus", lla.load_corpus, {"folder": Argument([saved, str(saved)], [""])})
    yield Entrance(
        "save_corpus",
        lla.save_corpus,
        {
            "corpus": Argument([corpus], [split]),
            "folder": Argument([world.folder / "other"], [world.folder, "", "."], anything=False),
        },
    )


def of_configurations() -> Iterator[Entrance]:
    """Every option by itself is tried with values of every kind."""
    classes = [lla.LDAConfig, lla.SEMConfig, gradient.TrainConfig, metropolis.MHConfig]
    classes += [filter.FilterConfig, histories.HistoryConfig, OwnCountsConfig]
    classes += [family.config for family in FAMILIES.values()]
    classes += [data_prep.EventOptions, data_prep.TextOptions, data_prep.WikipediaOptions]
    classes += [data_prep.DatasetOptions, data_prep.ClickConfig]
    classes += [data_prep.SentenceOptions, data_prep.PhraseOptions, PhraseConfig]
    for kind in dict.fromkeys(classes):
        default = kind()
        options = {f.name: Argument([getattr(default, f.name)]) for f in fields(kind) if f.init}
        if options:
            yield Entrance(kind.__name__, kind, options)
    options = {name: Argument([value]) for name, value in vars(SMALL_SEM).items()}
    yield Entrance("SEMConfig.replace", SMALL_SEM.replace, options)


def of_families(world: World) -> Iterator[Entrance]:
    """`fit`, `score` and `next_items` of every family."""
    splits = Argument([world.split], [world.corpus, *world.others])
    wrong = wrong_topics(world.split.observed.n_tokens)
    for key, family in FAMILIES.items():
        if key == "oracle":
            continue
        config = family.configure(SETTINGS.get(key, {}))
        other = lla.SEMConfig() if key == "lda" else lla.LDAConfig()
        arguments = {
            "split": splits,
            "config": Argument([config], [other, "lda"]),
            "seed": Argument([0, 3, np.int32(2)], [-1, 0.5, "a", True]),
        }
        parameters = inspect.signature(family.fit).parameters
        if "checkpoint" in parameters:
            arguments["checkpoint"] = Argument([None], [world.folder, 3], anything=False)
            arguments["n_threads"] = Argument([None, 1, 2], [0, -1, "a"])
        if family.needs_start(config):
            # Without one, topics of ddLDA or parameters of the HMM are drawn.
            drawn: list[Any] = [] if key == "lla" else [None]
            missing = [None] if key == "lla" else []
            arguments["start"] = Argument([world.start, *drawn], [*missing, *wrong, world.lda])
        yield Entrance(f"fit_{key}", family.fit, arguments)
        fitted = world.fits[key]
        scored = {
            "split": Argument([world.split], [world.corpus, *world.other_splits]),
            "seed": Argument([0, 1]),
        }
        yield Entrance(f"{key}.score", fitted.score, scored)
        callback = {"on_scores": Argument([ignore], [None, 3, "a"], anything=False)}
        yield Entrance(f"{key}.next_items", fitted.next_items, scored | callback)


def ignore(positions: np.ndarray, scores: np.ndarray) -> None:
    """A callback that keeps nothing."""


HISTORY = Argument(
    [["w1"], [], ["w2", "w2", "unknown"], ("w0",)], ["w1", 3, None, [0.5], [None], [["w1"]]]
)
PARTICLES = Argument([1, 4], [0, -1, 2.5, "a"])
SEED = Argument([0, 7], [-1, 0.5, "a"])


def of_models(world: World) -> Iterator[Entrance]:
    split = Argument([world.split], [world.corpus, *world.other_splits])
    for name, model in world.models.items():
        read = {"history": HISTORY, "n_particles": PARTICLES, "seed": SEED}
        size = Argument([1, 5], [0, -1, 1.5])
        yield Entrance(
            f"{name}.score", model.score, {"split": split, "seed": SEED, "n_particles": PARTICLES}
        )
        yield Entrance(
            f"{name}.log_evidence",
            model.log_evidence,
            {
                "corpus": Argument([world.corpus], [world.split, *world.others]),
                "seed": SEED,
                "key": Argument([(1, 2)], anything=False),
                "counted": Argument(
                    [None, ~world.split.held_out], [~world.split.held_out[1:], world.start, "a"]
                ),
            },
        )
        yield Entrance(
            f"{name}.topic_proportions",
            model.topic_proportions,
            {
                "corpus": Argument([world.corpus], [world.split, *world.others]),
                "n_particles": PARTICLES,
                "seed": SEED,
                "n_threads": Argument([None, 1, 2], [0, -1, "a"]),
            },
        )
        yield Entrance(f"{name}.recommend", model.recommend, read | {"k": size})
        ahead = read | {"steps": size, "n_futures": size}
        yield Entrance(f"{name}.topics_ahead", model.topics_ahead, ahead)
        yield Entrance(f"{name}.forecast_table", model.forecast_table, ahead | {"n": size})
        decoded = {"history": HISTORY, "width": size}
        yield Entrance(f"{name}.decode", model.decode, decoded)
        yield Entrance(f"{name}.explain", model.explain, read | {"n": size})
        yield Entrance(f"{name}.source_table", model.source_table)
        yield Entrance(f"{name}.topic_names", model.topic_names, {"n": size})
        yield Entrance(f"{name}.topic_table", model.topic_table, {"n": size})
        yield Entrance(f"{name}.document_table", model.document_table)
        yield Entrance(f"{name}.size", model.size)
        yield Entrance(
            f"Model of {name}",
            Model,
            {
                "network": Argument([model.network], [other_network(world, name)]),
                "emission": Argument([model.emission], anything=False),
                "topics": Argument([model.topics]),
                "vocabulary": Argument([model.vocabulary], [model.vocabulary[:-1]]),
            },
        )
    saved = world.folder / "model"
    lla.save_model(world.models["topic"], saved)
    yield Entrance("load_model", lla.load_model, {"folder": Argument([saved], [world.folder])})
    yield Entrance(
        "save_model",
        lla.save_model,
        {
            "model": Argument([world.models["topic"]], [world.lda]),
            "folder": Argument([saved], [world.folder / "corpus", "", ".", ".."], anything=False),
            "perplexity": Argument([None, 3.0], [-1, 0, "a"]),
            "about": Argument(["", "what for"], [3]),
        },
    )


def other_network(world: World, name: str) -> Network:
    """A network that does not belong to the emission of the model `name`."""
    return world.network("topic" if name == "lstm" else "lstm")


def of_sessions(world: World) -> Iterator[Entrance]:
    for name, model in world.models.items():

        def extended(history: Any, k: Any, exclude_seen: Any, model: Model = model) -> Any:
            state = model.session(["w3"])
            state.extend(history)
            return state.recommend(k, exclude_seen=exclude_seen)

        arguments = {
            "history": HISTORY,
            "k": Argument([1, 30], [0, 1.5]),
            "exclude_seen": Argument([True, False]),
        }
        yield Entrance(f"session of {name}", extended, arguments)


def of_estimators() -> Iterator[Entrance]:
    """The estimator of scikit-learn: documents, and every parameter by itself."""
    least: dict[str, Any] = {"n_topics": 2, "n_sweeps": 1, "n_iterations": 1, "hidden_size": 3}
    default = lla.LatentLSTMAllocation(**least, n_particles=2, random_state=1, n_threads=1)
    documents = Argument(
        [["a text of words", "and one more"], [["w1", "w2"], [1, 2, 1], []]],
        ["a text", np.eye(2), [], [None], [["w1", 0.5]], [[b"w1"]], iter(["a text"])],
    )
    options = {name: Argument([value]) for name, value in default.get_params().items()}

    def fit(X: Any, **parameters: Any) -> Any:
        return lla.LatentLSTMAllocation(**parameters).fit(X)

    yield Entrance("LatentLSTMAllocation.fit", fit, {"X": documents, **options})
    fitted = fit(["a text of words", "and one more"], **default.get_params())
    for method in (fitted.transform, fitted.score, fitted.perplexity):
        texts = Argument([["a text"], [["and", "more", "unknown"], []]], documents.refused)
        yield Entrance(f"LatentLSTMAllocation.{method.__name__}", method, {"X": texts})


def of_evaluation(world: World) -> Iterator[Entrance]:
    split = world.split
    n = world.corpus.n_documents
    scores = world.lda.score(split)
    mask = Argument([split.reported], [split.reported[:-1], np.arange(n), np.zeros(n, bool)])
    for measure in (perplexity.perplexity, perplexity.user_error):
        yield Entrance(
            measure.__name__,
            measure,
            {
                "log_likelihood": Argument([scores], [scores[:-1], "a"]),
                "split": Argument([split], [world.corpus]),
                "documents": mask,
            },
        )
    yield Entrance(
        "evaluate_ranking",
        lla.evaluate_ranking,
        {
            "fitted": Argument([world.lda, world.models["topic"], world.fits["bigram"]], [split]),
            "split": Argument([split], [world.corpus, *world.other_splits]),
            "cutoffs": Argument([(1, 5), [3]], [(0,), (-1,), ("a",), 3]),
            "by": Argument(["kind", "position", "length"], ["age", 3, None]),
            "by_user": Argument([True, False]),
            "users": Argument([None, split.reported], [split.reported[:-1], np.zeros(n, bool)]),
        },
    )
    rows = np.random.default_rng(1).random((4, V))
    yield Entrance(
        "ranks",
        ranking.ranks,
        {
            "scores": Argument([rows], [rows[0], rows[:3], np.full((4, V), np.nan)]),
            "targets": Argument([np.arange(4)], [np.full(4, V), np.full(4, -1), np.arange(3)]),
        },
    )
    yield Entrance(
        "rank_held_out",
        ranking.rank_held_out,
        {
            "next_items": Argument(
                [lambda on_scores: world.lda.next_items(split, on_scores)],
                [None, lambda on_scores: on_scores(np.array([10**6]), rows[:1])],
                anything=False,
            ),
            "split": Argument([split], [world.corpus]),
            "users": Argument([None, split.reported], [split.reported[:-1]]),
        },
    )
    found = ranking.rank_held_out(lambda call: world.lda.next_items(split, call), split)
    chosen = {"cutoffs": Argument([(5,)], [(0,), (1.5,), 3])}
    every = {"ranking": Argument([found], anything=False), **chosen}
    yield Entrance("metrics", ranking.metrics, every | {"events": Argument(["all"], ["some", 3])})
    yield Entrance("event_metrics", ranking.event_metrics, every)


def of_reading(world: World) -> Iterator[Entrance]:
    split, corpus, lda = world.split, world.corpus, world.lda
    phi, alpha, observed = lda.phi(), lda.alpha, split.observed
    n_tokens = observed.n_tokens
    wrong_phi = [phi[:-1], phi[:, :-1], phi.T]
    start = Argument([lda.topics], wrong_topics(n_tokens), anything=False)
    arrays = {
        "phi": Argument([phi], wrong_phi, anything=False),
        "alpha": Argument([alpha], [alpha[:-1], phi], anything=False),
    }
    yield Entrance(
        "expected_document_topic",
        expected_document_topic,
        {
            "corpus": Argument([observed], [*world.others, corpus], anything=False),
            "start": start,
            **arrays,
            "seed": SEED,
            "n_sweeps": Argument([1, 2], [0, -1, 1.5]),
        },
    )
    expected = lda.document_topic()
    yield Entrance(
        "score_held_out",
        score_held_out,
        {
            **arrays,
            "document_topic": Argument([expected], [expected[:-1], expected.T], anything=False),
            "split": Argument([split], world.other_splits[2:], anything=False),
            "update": Argument([True, False], anything=False),
        },
    )
    counted = {"offsets": Argument([observed.offsets], anything=False), "topics": start}
    yield Entrance(
        "document_topic_counts",
        document_topic_counts,
        counted | {"n_topics": Argument([K], [1, 0], anything=False)},
    )
    yield Entrance(
        "init_lda",
        init_lda,
        {
            "observed": Argument([observed], anything=False),
            "config": Argument([lda.config], anything=False),
            "seed": Argument([1], anything=False),
            "start": Argument([None, lda.topics], wrong_topics(n_tokens)),
        },
    )
    yield Entrance("LDA.document_topic", lda.document_topic, {"seed": SEED})
    yield Entrance("LDA.topic_table", lda.topic_table, {"n": Argument([1, 40], [0, "a"])})
    yield Entrance("LDA.document_table", lda.document_table, {"seed": SEED})
    n = Argument([1, 40], [0, -1, 1.5])
    vocabulary = Argument([corpus.vocabulary], [corpus.vocabulary[:-1]], anything=False)
    matrix = {"phi": Argument([phi], [phi[0]], anything=False), "vocabulary": vocabulary}
    yield Entrance("top_words", words.top_words, matrix | {"n": n})
    yield Entrance("topic_table", tables.topic_table, matrix | {"n": n})
    yield Entrance(
        "match_topics",
        words.match_topics,
        {
            "phi": Argument([phi], wrong_phi, anything=False),
            "other": Argument([phi], anything=False),
        },
    )
    ids = Argument([np.array([0, 3])], [np.array([V]), np.array([-1])], anything=False)
    of_one = arrays | {"phi": Argument([phi], [phi.T, phi[:, :-1]], anything=False)}
    yield Entrance("lda_ahead", words.lda_ahead, of_one | {"words": ids, "steps": n})
    models, file = world.models, world.folder / "page.html"
    refused = [models["lstm"], lda, models["lstm"].network]
    yield Entrance(
        "explore",
        lla.explore,
        {
            "model": Argument([models[k] for k in models if k != "lstm"], refused),
            "corpus": Argument([corpus, observed], [split, *world.others]),
            "path": Argument([file, str(file)], [world.folder, "", 3, None], anything=False),
            "title": Argument(["", "of one"], [3, None]),
            "max_bytes": Argument([3_000_000], [0, -1, 1000, 1e6]),
        },
    )
    yield Entrance(
        "true_topics",
        words.true_topics,
        {
            "topics": start,
            "truth": start,
            "n_topics": Argument([K], [1], anything=False),
            "n_true": Argument([K], anything=False),
        },
    )


def of_raw_data(world: World) -> Iterator[Entrance]:
    """Tables and texts to a corpus."""
    frame = pd.DataFrame({"user": [1, 1, 2], "item": ["a", "b", "a"], "time": [3.0, 1.0, 2.0]})
    odd = [frame[["item"]], frame.iloc[:0], frame.assign(user=None), frame.assign(time="soon")]
    table = world.folder / "events.csv"
    frame.to_csv(table, index=False)
    text = world.folder / "text.txt"
    text.write_text("tea cake tea\nmilk tea cake\n")
    binary = world.folder / "binary.txt"
    binary.write_bytes(bytes(range(256)))
    folder = Argument([world.folder / "made", str(world.folder / "made")], ["", ".", world.folder])
    flag = Argument([True], [3, "yes"])
    yield Entrance(
        "prepare_events",
        data_prep.prepare_events,
        {
            "output": folder,
            "options": Argument([data_prep.EventOptions()], [data_prep.TextOptions(), "a"]),
            "source": Argument([frame, table, pa.table(frame)], [*odd, binary, world.folder / "x"]),
            "overwrite": flag,
        },
    )
    yield Entrance(
        "prepare_text",
        data_prep.prepare_text,
        {
            "output": folder,
            "options": Argument([data_prep.TextOptions()], [data_prep.EventOptions(), None]),
            "path": Argument([text, str(text)], [binary, world.folder / "x", 3, None]),
            "overwrite": flag,
        },
    )
